"""Expiry beside Java's own: the same snapshots go and the same files, and every snapshot that stays can be read."""

import json
import shutil
import time

import pytest
import readers

# Deletes of each kind, partitions with odd names, a spec and a schema that evolved, vectors, a table of version 1.
TABLES = ["deletes.upserts", "deletes.positions", "parts.hive", "parts.identity_v1", "evolve.columns_v2", "v3.equality"]


def expire(warehouse, table, do, *more):
    return json.loads(warehouse.java("expire", "--table", table, "--do", do, *more).stdout.splitlines()[-1])


def there(warehouse):
    """Every file but metadata files, which each commit adds."""
    files = (path for path in warehouse.data.rglob("*") if path.is_file())
    return {str(path) for path in files if not path.name.endswith((".metadata.json", ".crc"))}


def copy_of(warehouse, folder):
    """The same tables, files and all, in a catalog that goes its own way from here."""
    other = readers.Warehouse(folder)
    shutil.copy(warehouse.db, other.db)
    return other


@pytest.mark.parametrize("table", TABLES)
def test_c31_what_goes_is_what_java_lets_go(java, icepress, tmp_path, table):
    warehouse = readers.Warehouse(tmp_path / "ours")
    warehouse.java("write", "--only", table)
    [name] = warehouse.tables()
    expire(warehouse, name, "age")
    rows = expire(warehouse, name, "read")
    ours = icepress(warehouse)

    time.sleep(0.1)
    now = int(time.time() * 1000)
    judged = copy_of(warehouse, tmp_path / "judge")
    java_says = expire(judged, name, "expire", "--older-than", str(now))

    words = ("--older-than", "0", "--keep-younger-than", "0")
    plan = ours.json("plan", name, "--only", "expire", *words)
    before = there(warehouse)
    report = ours.json("maintain", name, "--only", "expire", *words)
    gone = before - there(warehouse)
    assert there(warehouse) <= before
    assert gone == {str(readers.path_of(path)) for path in java_says["files"]}
    assert len(gone) > 5
    assert report["files"] == plan["files"]
    assert sum(counts["files"] for counts in report["files"].values()) == len(gone)
    assert report["outside"]["files"] == report["revived"]["files"] == 0
    assert not report["unfinished"]

    # Java, PyIceberg, and each snapshot that is left.
    left = expire(warehouse, name, "read")
    assert {int(snapshot) for snapshot in left} == set(java_says["snapshots"])
    assert left == {snapshot: rows[snapshot] for snapshot in left}
    metadata = warehouse.load(name).metadata
    assert sorted(metadata.refs) == java_says["refs"]
    assert {snapshot.snapshot_id for snapshot in metadata.snapshots} == set(java_says["snapshots"])
    current = str(metadata.current_snapshot_id)
    assert warehouse.java_check(name)[name]["problems"] == []
    if table != "v3.equality":
        assert len(warehouse.pyiceberg_rows(name)) == rows[current]
    # Nothing is left to do, and nothing of ours is left behind.
    again = ours.json("maintain", name, *words)
    assert again["snapshots"] == [] and again["files"] == {}
