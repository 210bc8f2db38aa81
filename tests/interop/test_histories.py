"""Random histories, judged by Iceberg Java and PyIceberg: each table of each history, after each rewrite and at the end,
has the rows of the plain list that was kept beside it, and Java finds nothing wrong with what its manifests say.

HISTORIES=N takes N histories instead of the usual number, HISTORIES_FROM=S begins with another seed.
"""

import json
import os
import subprocess

import canon
import conftest
import pytest
import readers

BINARY = readers.TARGET / "debug" / "histories"
COUNT = int(os.environ.get("HISTORIES", "20"))
FROM = int(os.environ.get("HISTORIES_FROM", "10000"))


@pytest.fixture(scope="module")
def lived(java, tmp_path_factory):
    """A warehouse of histories, and what each of its tables must hold."""
    if not BINARY.is_file():
        conftest.missing(f"{BINARY}", "cargo build -p icepress-tests, or run tests/run")
    warehouse = readers.Warehouse(tmp_path_factory.mktemp("histories"))
    command = [str(BINARY), "dump", str(COUNT), str(FROM), str(warehouse.folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = (warehouse.folder / "expected.jsonl").read_text().splitlines()
    expected = {answer.pop("table"): answer for answer in map(json.loads, lines)}
    assert sorted(expected) == warehouse.tables()
    return warehouse, expected


@pytest.fixture(scope="module")
def checked(lived):
    warehouse, _ = lived
    return warehouse.java_check(schema="any")


def told(name, after, rows, expected):
    seed = name.removeprefix("histories.h").partition("_")[0]
    return f"{name} after {after} (histories show {seed}): {canon.difference(expected, rows)}"


def test_java_reads_the_rows_of_the_plain_list(lived):
    warehouse, expected = lived
    rows = warehouse.java_rows()
    wrong = [
        told(name, answer["after"], rows[name], canon.exact(answer["rows"]))
        for name, answer in expected.items()
        if rows[name] != canon.exact(answer["rows"])
    ]
    assert not wrong, "\n".join(wrong)


def test_java_finds_nothing_wrong(lived, checked):
    _, expected = lived
    assert set(checked) == set(expected)
    wrong = {name: answer["problems"] for name, answer in checked.items() if answer["problems"]}
    assert wrong == {}
    # Else there was nothing to find. A table for each state has all the snapshots before it too.
    last = {name: answer for name, answer in checked.items() if "_" not in name}
    assert len(last) == COUNT
    assert sum(answer.get("replaces", 0) for answer in last.values()) >= COUNT


def test_the_light_tier_is_among_what_was_judged(lived):
    warehouse, _ = lived
    tally = json.loads((warehouse.folder / "tally.json").read_text())
    converted = sum(times for what, times in tally.items() if what.startswith("light groups of "))
    assert converted >= COUNT // 4, tally


def test_pyiceberg_reads_the_rows_of_the_plain_list(lived, checked):
    warehouse, expected = lived
    wrong, read = [], 0
    for name, answer in expected.items():
        schema = warehouse.load(name).schema()
        try:
            rows = canon.loose_rows(warehouse.pyiceberg_rows(name), schema)
        except readers.Refused:
            assert "equality_deletes" in checked[name].get("delete_kinds", {}), name
            continue
        read += 1
        if rows != canon.loose_rows(answer["rows"], schema):
            wrong.append(told(name, answer["after"], rows, canon.loose_rows(answer["rows"], schema)))
    assert not wrong, "\n".join(wrong)
    assert read >= COUNT
