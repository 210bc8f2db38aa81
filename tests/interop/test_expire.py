"""Expiry beside Java's own: the same snapshots go and the same files, and every snapshot that stays can be read."""

import json
import shutil
import time

import pytest
import readers

# Deletes of each kind, a spec that evolved, schemas that evolved, a table of version 1, vectors.
TABLES = [
    "deletes.upserts",
    "deletes.global",
    "deletes.positions",
    "evolve.columns_v1",
    "evolve.columns_v2",
    "v3.equality",
]
# As everything may go that any snapshot does not need now.
ALL = ("--older-than", "0", "--keep-younger-than", "0")


def expire(warehouse, do, *more):
    return json.loads(warehouse.java("expire", "--do", do, *more).stdout.splitlines()[-1])


def there(warehouse):
    """Every file but metadata files, which each commit adds."""
    files = (path for path in warehouse.data.rglob("*") if path.is_file())
    return {str(path) for path in files if not path.name.endswith((".metadata.json", ".crc"))}


class Expired:
    """The tables with a past, what Java would let go of them, and what we did."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder / "ours")
        warehouse.java("write", "--only", ",".join(TABLES))
        expire(warehouse, "age")
        self.rows = expire(warehouse, "read")
        time.sleep(0.1)
        # The same files, in a catalog that goes its own way from here: Java only says what it would delete.
        judge = readers.Warehouse(folder / "judge")
        shutil.copy(warehouse.db, judge.db)
        self.java = expire(judge, "expire", "--older-than", str(int(time.time() * 1000)))

        self.ours = icepress(warehouse)
        self.plans, self.reports, self.gone = {}, {}, {}
        for table in TABLES:
            self.plans[table] = self.ours.json("plan", table, "--only", "expire", *ALL)
            before = there(warehouse)
            self.reports[table] = self.ours.json("maintain", table, "--only", "expire", *ALL)
            after = there(warehouse)
            assert after <= before
            self.gone[table] = before - after
        self.left = expire(warehouse, "read")
        self.check = warehouse.java_check()


@pytest.fixture(scope="module")
def expired(java, icepress, tmp_path_factory):
    return Expired(tmp_path_factory.mktemp("expire"), icepress)


@pytest.mark.parametrize("table", TABLES)
def test_c31_the_files_go_that_java_lets_go(expired, table):
    says, report = expired.java[table], expired.reports[table]
    assert expired.gone[table] == {str(readers.path_of(path)) for path in says["files"]}
    assert len(expired.gone[table]) > 5
    assert report["files"] == expired.plans[table]["files"]
    assert sum(counts["files"] for counts in report["files"].values()) == len(expired.gone[table])
    assert report["outside"]["files"] == report["revived"]["files"] == 0
    assert not report["unfinished"]


@pytest.mark.parametrize("table", TABLES)
def test_c31_every_snapshot_that_stays_can_be_read(expired, table):
    says, left = expired.java[table], expired.left[table]
    assert {int(snapshot) for snapshot in left} == set(says["snapshots"])
    assert left == {snapshot: expired.rows[table][snapshot] for snapshot in left}
    assert expired.check[table]["problems"] == []
    metadata = expired.warehouse.load(table).metadata
    assert sorted(metadata.refs) == says["refs"]
    assert {snapshot.snapshot_id for snapshot in metadata.snapshots} == set(says["snapshots"])


def test_c18_nothing_is_left_to_do(expired):
    for table in TABLES:
        before = there(expired.warehouse)
        again = expired.ours.json("maintain", table, *ALL)
        assert again["snapshots"] == [] and again["files"] == {} and again["refs"] == []
        assert there(expired.warehouse) == before
