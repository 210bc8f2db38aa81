"""Rows that are too old go out of files that have others, with those files' deletes, vectors and row ids as they are: PyIceberg and
Java read exactly what is left, and a writer that began before finds out by its own validation."""

import json
import time

import pyarrow as pa
import pytest
import readers
from pyiceberg.exceptions import ValidationException
from pyiceberg.expressions import EqualTo

# The column `id` is the age here: milliseconds since 1970.
TABLES = [
    "deletes.upserts",
    "deletes.global",
    "deletes.positions",
    "deletes.equality_null_keys",
    "evolve.columns_v1",
    "evolve.columns_v2",
    "v3.vectors",
    "v3.equality",
]
LINEAGE = [name for name in TABLES if name.startswith("v3.")]


def ids_of(warehouse):
    """By table, the values of `id` in its current snapshot, as Java reads it."""
    answer = json.loads(warehouse.java("expire", "--do", "ids", "--table", ",".join(TABLES)).stdout.splitlines()[-1])
    return {name: answer[name][str(warehouse.load(name).current_snapshot().snapshot_id)] for name in TABLES}


def younger(rows, place, most):
    """Those of canonical rows whose id is greater."""
    return sorted(row for row in rows if json.loads(row)[place] > most)


class Aged:
    """Tables of Java's with deletes of every kind, before and after."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder / "ours")
        warehouse.java("write", "--only", ",".join(TABLES))
        ids = ids_of(warehouse)
        self.rows, self.lineage = warehouse.java_rows(*TABLES), warehouse.java_lineage(*LINEAGE)
        self.most = {name: sorted(ids[name])[len(ids[name]) // 3] for name in TABLES}
        self.ours = icepress(warehouse)
        self.plans, self.reports, self.again = {}, {}, {}
        for name in TABLES:
            table = warehouse.load(name)
            keep = table.current_snapshot().timestamp_ms - self.most[name]
            words = {"field": "id", "keep": f"{keep}ms", "level": "row", "base": "last-commit"}
            # PyIceberg writes no tables of version 3.
            properties = ";".join(f"icepress.age-out.{word}={value}" for word, value in words.items())
            warehouse.java("expire", "--do", "set", "--table", name, "--properties", properties)
            self.plans[name] = self.ours.json("plan", name, "--only", "age-out")["age-out"]
            assert warehouse.load(name).current_snapshot() == table.current_snapshot(), "a plan commits nothing"
            self.reports[name] = self.ours.json("maintain", name, "--only", "age-out")["age-out"]
            self.again[name] = self.ours.json("maintain", name, "--only", "age-out")["age-out"]
        self.rows_after, self.lineage_after = warehouse.java_rows(*TABLES), warehouse.java_lineage(*LINEAGE)
        self.check = warehouse.java_check(*TABLES)


@pytest.fixture(scope="module")
def aged(icepress, java, tmp_path_factory):
    return Aged(tmp_path_factory.mktemp("aged"), icepress)


@pytest.mark.parametrize("name", TABLES)
def test_old_rows_go_and_no_others(aged, name):
    place = [field.name for field in aged.warehouse.load(name).schema().fields].index("id")
    expected = younger(aged.rows[name], place, aged.most[name])
    assert 0 < len(expected) < len(aged.rows[name])
    assert aged.rows_after[name] == expected
    assert not aged.check[name]["problems"], aged.check[name]
    plan, report = aged.plans[name], aged.reports[name]
    assert (plan["up_to_ms"], plan["level"]) == (aged.most[name], "row")
    assert (report["mixed"], report["old"]) == (plan["mixed"], plan["old"]), "what is planned is done"
    assert report["mixed"]["files"] > 0 and report["mixed_rows_gone"] > 0
    assert aged.again[name]["snapshot_id"] is None, "a second run finds nothing"
    snapshot = aged.warehouse.load(name).current_snapshot()
    assert (snapshot.summary.operation.value, snapshot.snapshot_id) == ("overwrite", report["snapshot_id"])


@pytest.mark.parametrize("name", LINEAGE)
def test_rows_keep_their_ids(aged, name):
    place = [field.name for field in aged.warehouse.load(name).schema().fields].index("id")
    assert aged.lineage_after[name] == younger(aged.lineage[name], place, aged.most[name])


@pytest.fixture
def stamped(icepress, java, tmp_path):
    """A table of PyIceberg's, partitioned and with a timestamp: a file that is too old, one that has both, one that is young."""
    warehouse = readers.Warehouse(tmp_path / "stamped")
    catalog = warehouse.catalog()
    catalog.create_namespace("shop")
    day = 24 * 3600 * 10**6
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("at", pa.timestamp("us"))])
    table = catalog.create_table("shop.orders", schema)
    words = {"field": "at", "keep": "7d", "level": "row", "base": "now"}
    table.transaction().set_properties({f"icepress.age-out.{word}": value for word, value in words.items()}).commit_transaction()
    now = time.time_ns() // 1000

    def append(first, ages):
        at = [None if age is None else now - age * day for age in ages]
        rows = {"id": pa.array(range(first, first + len(ages)), pa.int64()), "at": pa.array(at, pa.timestamp("us"))}
        warehouse.load("shop.orders").append(pa.table(rows, schema=schema))

    append(0, [9, 8, 30])
    append(10, [9, 1, None, 8, 6])
    append(20, [1, 2, None])
    return warehouse, icepress(warehouse), append


def ids(warehouse):
    return sorted(warehouse.load("shop.orders").scan().to_arrow().column("id").to_pylist())


def test_whole_files_and_rows_go_by_one_commit(stamped):
    warehouse, ours, _ = stamped
    before = warehouse.load("shop.orders").current_snapshot()
    plan = ours.json("plan", "shop.orders", "--only", "age-out")["age-out"]
    assert (plan["old"]["files"], plan["old"]["rows"]) == (1, 3)
    assert (plan["mixed"]["files"], plan["mixed"]["rows"]) == (1, 5)
    report = ours.json("maintain", "shop.orders", "--only", "age-out")["age-out"]
    assert report["mixed_rows_gone"] == 2
    assert ids(warehouse) == [11, 12, 14, 20, 21, 22]
    after = warehouse.load("shop.orders").current_snapshot()
    assert after.parent_snapshot_id == before.snapshot_id, "one commit"
    summary = after.summary.additional_properties
    assert (summary["deleted-records"], summary["added-records"], summary["total-records"]) == ("8", "3", "6")
    java = json.loads(warehouse.java("expire", "--do", "ids", "--table", "shop.orders").stdout)["shop.orders"]
    assert sorted(java[str(after.snapshot_id)]) == [11, 12, 14, 20, 21, 22]
    assert len(java[str(before.snapshot_id)]) == 11, "what was there can be read still"


def test_a_writer_that_began_before_fails_by_its_own_validation(stamped):
    warehouse, ours, _ = stamped
    table = warehouse.load("shop.orders")
    late = table.transaction()
    late.delete(EqualTo("id", 11))
    ours.json("maintain", "shop.orders", "--only", "age-out")
    with pytest.raises(ValidationException):
        late.commit_transaction()
    assert ids(warehouse) == [11, 12, 14, 20, 21, 22]


def test_files_that_come_late_are_left_for_the_next_run(stamped):
    warehouse, ours, append = stamped
    ours.json("maintain", "shop.orders", "--only", "age-out")
    append(30, [10, 3])
    report = ours.json("maintain", "shop.orders", "--only", "age-out")["age-out"]
    assert (report["mixed"]["files"], report["mixed_rows_gone"]) == (1, 1)
    assert ids(warehouse) == [11, 12, 14, 20, 21, 22, 31]


def test_by_file_and_by_partition_no_row_of_a_mixed_file_goes(stamped):
    warehouse, ours, _ = stamped
    table = warehouse.load("shop.orders")
    for level, left in [("partition", 11), ("file", 8)]:
        table.transaction().set_properties({"icepress.age-out.level": level}).commit_transaction()
        report = ours.json("maintain", "shop.orders", "--only", "age-out")["age-out"]
        assert (report["mixed"]["files"], report["mixed_rows_gone"]) == (0, None)
        assert len(ids(warehouse)) == left
