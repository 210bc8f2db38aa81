"""Manifests written anew, beside Java's own `rewriteManifests`: every entry says what it said, every snapshot reads as it read."""

import json
import shutil

import pytest
import readers

# Deletes of each kind, specs that evolved, partition types of all kinds, versions 1 to 3, vectors.
TABLES = [
    "deletes.upserts",
    "deletes.global",
    "deletes.positions",
    "evolve.columns_v1",
    "parts.identity",
    "parts.identity_v1",
    "parts.low_types",
    "parts.times",
    "v3.equality",
]
# What the snapshot says that Java's says too: counts of its own, and totals.
COUNTS = {"manifests-created", "manifests-kept", "manifests-replaced", "entries-processed", "changed-partition-count"}


def ask(warehouse, do):
    return json.loads(warehouse.java("manifests", "--do", do).stdout.splitlines()[-1])


def rows_by_snapshot(warehouse):
    return json.loads(warehouse.java("expire", "--do", "read").stdout.splitlines()[-1])


class Arranged:
    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder / "ours")
        warehouse.java("write", "--only", ",".join(TABLES))
        self.before, self.rows, self.read = ask(warehouse, "eager"), warehouse.java_rows(), rows_by_snapshot(warehouse)
        self.pyiceberg = self.by_pyiceberg()
        judge = readers.Warehouse(folder / "judge")
        shutil.copy(warehouse.db, judge.db)
        self.java = ask(judge, "rewrite")

        self.ours = icepress(warehouse)
        self.plans, self.reports = {}, {}
        for table in TABLES:
            self.plans[table] = self.ours.json("plan", table, "--only", "manifests")
            self.reports[table] = self.ours.json("maintain", table, "--only", "manifests")
        self.after = ask(warehouse, "entries")
        self.check = warehouse.java_check()

    def by_pyiceberg(self):
        rows = {}
        for table in TABLES:
            try:
                rows[table] = self.warehouse.pyiceberg_rows(table)
            except readers.Refused:
                pass
        return rows


@pytest.fixture(scope="module")
def arranged(java, icepress, tmp_path_factory):
    return Arranged(tmp_path_factory.mktemp("manifests"), icepress)


@pytest.mark.parametrize("table", TABLES)
def test_c24_every_entry_says_what_it_said(arranged, table):
    before, after, report = arranged.before[table], arranged.after[table], arranged.reports[table]
    assert after["entries"] == before["entries"]
    assert report["kinds"] == arranged.plans[table]["kinds"]
    chosen = [kind for kind in report["kinds"] if kind["rewrite"]]
    assert bool(chosen) == (report["rewritten"] is not None) == (report["snapshot_id"] is not None)
    for kind in chosen:
        name = f"{kind['content'].upper()} {kind['spec_id']}"
        assert after["manifests"][name] == kind["after"]["manifests"] < before["manifests"][name], name
    assert arranged.check[table]["problems"] == []


def test_most_tables_had_something_to_write_anew(arranged):
    written = [table for table in TABLES if arranged.reports[table]["rewritten"]]
    assert len(written) > len(TABLES) / 2, written
    kinds = [kind for table in TABLES for kind in arranged.reports[table]["kinds"] if kind["rewrite"]]
    assert {kind["content"] for kind in kinds} == {"data", "deletes"}


def test_the_snapshot_says_what_javas_says(arranged):
    same = 0
    for table in TABLES:
        ours, java = arranged.after[table], arranged.java[table]
        if not arranged.reports[table]["rewritten"]:
            continue
        assert ours["operation"] == java["operation"] == "replace"
        named = {key for key in ours["summary"] if not key.startswith("icepress.")}
        theirs = {key for key in java["summary"] if not key.startswith(("engine-", "iceberg-", "app-"))}
        assert named == theirs, table
        for key in named - COUNTS:
            assert ours["summary"][key] == java["summary"][key], (table, key)
            same += 1
    assert same > 10


def test_every_snapshot_reads_as_it_did(arranged):
    rows = rows_by_snapshot(arranged.warehouse)
    for table in TABLES:
        now = {snapshot: rows[table][snapshot] for snapshot in arranged.read[table]}
        assert now == arranged.read[table]
    assert arranged.warehouse.java_rows() == arranged.rows
    assert arranged.by_pyiceberg() == arranged.pyiceberg
    assert len(arranged.pyiceberg) > 3


def test_c18_the_second_run_does_nothing(arranged):
    locations = arranged.warehouse.locations()
    for table in TABLES:
        again = arranged.ours.json("maintain", table, "--only", "manifests")
        assert again["snapshot_id"] is None and again["rewritten"] is None
        assert all(not kind["rewrite"] for kind in again["kinds"])
    assert arranged.warehouse.locations() == locations
