"""Files that nothing refers to, beside PyIceberg's own metadata tables: exactly what they do not name is found, on tables of Java
and PyIceberg with deletes, branches, tags, staged snapshots, statistics and specs that evolved."""

import contextlib
import json
import os
import shutil
import sqlite3
import time

import pytest
import readers
from test_expire import TABLES, expire

DAY = 24 * 3600
STRAYS = [
    "data/left.parquet",
    "data/day=2026-01-01/left.parquet",
    "data/a%20b//left.parquet",
    "metadata/left-m0.avro",
    "metadata/snap-1-1-left.avro",
    "metadata/left.stats",
    "metadata/00001-left.metadata.json",
    "notes.txt",
]
KEPT = ["_SUCCESS", "data/.staging/x.parquet", "metadata/version-hint.text"]


def there(folder):
    """Every file; Hadoop's checksums are hidden, and our own lists are ours."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in files if not path.name.startswith(".") and "icepress-" not in str(path)}


def age(folder, seconds):
    then = time.time() - seconds
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def named(table):
    """What PyIceberg says that the table needs."""
    inspect = table.inspect
    paths = {table.metadata_location}
    paths |= {entry.metadata_file for entry in table.metadata.metadata_log}
    paths |= {snapshot.manifest_list for snapshot in table.metadata.snapshots}
    paths |= set(inspect.all_manifests().to_pydict()["path"])
    paths |= set(inspect.all_files().to_pydict()["file_path"])
    statistics = [*table.metadata.statistics, *table.metadata.partition_statistics]
    paths |= {file.statistics_path for file in statistics}
    return {str(readers.path_of(path)) for path in paths}


class Searched:
    """Tables with a past and with litter, and what two runs did."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder / "ours")
        warehouse.java("write", "--only", ",".join(TABLES))
        expire(warehouse, "age")
        self.rows = expire(warehouse, "read")
        self.ours = icepress(warehouse)
        self.strays, self.needed, self.before, self.first, self.second, self.left = {}, {}, {}, {}, {}, {}
        for name in TABLES:
            table = warehouse.load(name)
            home = readers.path_of(table.location())
            self.needed[name] = named(table)
            # What Java's writers left by themselves goes too.
            for below in STRAYS + KEPT:
                path = home / below
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"left")
            age(home, 4 * DAY)
            young = home / "data" / "young.parquet"
            young.write_bytes(b"young")
            self.before[name] = there(home)
            self.strays[name] = {str(home / below) for below in STRAYS}
            self.first[name] = self.ours.json("maintain", name, "--only", "orphans")
            assert there(home) == self.before[name], "the first look deletes nothing"
            plan = self.ours.json("plan", name, "--only", "orphans")
            self.second[name] = self.ours.json("maintain", name, "--only", "orphans")
            assert self.second[name]["files"] == plan["files"]
            self.left[name] = there(home)
        self.rows_after = expire(warehouse, "read")


@pytest.fixture(scope="module")
def searched(java, icepress, tmp_path_factory):
    return Searched(tmp_path_factory.mktemp("orphans"), icepress)


@pytest.mark.parametrize("table", TABLES)
def test_c34_exactly_what_is_not_named_goes(searched, table):
    gone = searched.before[table] - searched.left[table]
    assert not gone & searched.needed[table]
    spared = {path for path in searched.left[table] - searched.needed[table]}
    kept = ("young.parquet", "_SUCCESS", "version-hint.text", ".staging/x.parquet")
    assert all(path.endswith(kept) for path in spared) and len(spared) == len(kept), spared
    assert searched.strays[table] <= gone
    report = searched.second[table]
    assert sum(counts["files"] for counts in report["files"].values()) == len(gone)
    assert report["young"]["files"] == 1 and report["waiting"] == {}
    assert searched.first[table]["unasked"] == [] and searched.first[table]["tables_asked"] >= len(TABLES) - 1


@pytest.mark.parametrize("table", TABLES)
def test_c31_every_snapshot_can_be_read_afterwards(searched, table):
    assert searched.rows_after[table] == searched.rows[table]


def test_c18_a_third_look_finds_nothing(searched):
    for table in TABLES:
        third = searched.ours.json("maintain", table, "--only", "orphans")
        assert third["files"] == {} and third["waiting"] == {}


def test_c32_a_second_catalog_with_the_same_folder_is_asked_and_named(searched, icepress, tmp_path):
    """The same files under another catalog's name, which has gone its own way since."""
    name = TABLES[0]
    other = readers.Warehouse(tmp_path / "other", catalog="other")
    shutil.copy(searched.warehouse.db, other.db)
    with contextlib.closing(sqlite3.connect(other.db)) as db, db:
        for names in "iceberg_tables", "iceberg_namespace_properties":
            db.execute(f"UPDATE {names} SET catalog_name = 'other'")
    other.load(name).transaction().set_properties(gone="its own way").commit_transaction()
    ours = icepress(searched.warehouse)
    ours.environment["PYICEBERG_CATALOG__OTHER__TYPE"] = "sql"
    ours.environment["PYICEBERG_CATALOG__OTHER__URI"] = f"sqlite:///{other.db}"
    ours.environment["PYICEBERG_CATALOG__OTHER__WAREHOUSE"] = f"file://{searched.warehouse.data}"
    ours.environment["PYICEBERG_CATALOG__DARK__TYPE"] = "rest"
    ours.environment["PYICEBERG_CATALOG__DARK__URI"] = "http://127.0.0.1:9"
    refused = ours.call("maintain", name, "--only", "orphans")
    assert refused.returncode == 2
    assert name in refused.stderr and f"other.{name}" in refused.stderr, refused.stderr
    alone = ours.json("plan", TABLES[1], "--only", "orphans", code=(0, 2))
    assert json.dumps(alone).count("dark") >= 1
