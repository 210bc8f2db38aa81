"""A catalog and tables that PyIceberg made, with what only it makes: files without field ids, its own schema changes."""

import datetime
import decimal
import uuid

import canon
import pyarrow
import pyarrow.parquet
import pytest
import readers
from pyiceberg.expressions import EqualTo, GreaterThan
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, MonthTransform, TruncateTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    UUIDType,
)

EVENTS = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "at", TimestamptzType(), required=True),
    NestedField(3, "kind", StringType()),
    NestedField(4, "amount", DecimalType(18, 4)),
    NestedField(5, "ok", BooleanType()),
    NestedField(6, "day", DateType()),
    NestedField(7, "local", TimestampType()),
    NestedField(8, "tags", ListType(20, StringType(), element_required=False)),
    NestedField(9, "attrs", MapType(21, StringType(), 22, DoubleType(), value_required=False)),
    NestedField(
        10,
        "who",
        StructType(NestedField(23, "name", StringType()), NestedField(24, "age", IntegerType())),
    ),
    NestedField(11, "uid", UUIDType()),
)


def events(start, count):
    utc = datetime.timezone.utc
    noon = datetime.datetime(2026, 1, 30, 12, 0, 0, 123456)
    rows = []
    for i in range(start, start + count):
        at = noon + datetime.timedelta(hours=7 * i)
        rows.append(
            {
                "id": i,
                "at": at.replace(tzinfo=utc),
                "kind": None if i % 7 == 0 else f"kind-{i % 3} " + "long " * (20 * (i % 2)),
                "amount": None if i % 11 == 0 else decimal.Decimal(i * 37 - 900) / 10000,
                "ok": i % 2 == 0,
                "day": None if i % 5 == 0 else at.date(),
                "local": at,
                "tags": None if i % 6 == 0 else [f"t{j}" if j else None for j in range(i % 4)],
                "attrs": None if i % 9 == 0 else [(f"k{j}", float(j) if j != 1 else None) for j in range(i % 3)],
                "who": {"name": f"n{i % 13}", "age": None if i % 4 == 0 else i % 90},
                "uid": uuid.UUID(int=i * 7919 << 64 | i).bytes,
            }
        )
    return rows


def append(table, start, count):
    table.append(pyarrow.Table.from_pylist(events(start, count), schema=table.schema().as_arrow()))


def partitioned(*fields):
    return PartitionSpec(
        *[PartitionField(source, 1000 + i, transform, name) for i, (source, transform, name) in enumerate(fields)]
    )


def plain(catalog):
    table = catalog.create_table("py.plain", EVENTS)
    for i in range(12):
        append(table, i * 20, 20)


def parts(catalog):
    spec = partitioned((2, MonthTransform(), "month"), (3, TruncateTransform(6), "kind_trunc"))
    table = catalog.create_table("py.parts", EVENTS, partition_spec=spec)
    for i in range(8):
        append(table, i * 3, 30)


def buckets(catalog):
    spec = partitioned((1, BucketTransform(4), "id_bucket"), (5, IdentityTransform(), "ok"))
    table = catalog.create_table("py.buckets", EVENTS, partition_spec=spec)
    for i in range(7):
        append(table, i * 30, 30)


def evolved(catalog):
    table = catalog.create_table("py.evolved", EVENTS, properties={"format-version": "2"})
    for i in range(5):
        append(table, i * 20, 20)
    with table.update_schema() as update:
        update.rename_column("kind", "sort").delete_column("ok").add_column("note", StringType())
        update.add_column(("who", "mail"), StringType())
        update.update_column("who.age", LongType())
    with table.update_spec() as update:
        update.add_field("day", DayTransform(), "by_day")
    for i in range(5, 11):
        rows = events(i * 20, 20)
        for row in rows:
            row["sort"], row["note"] = row.pop("kind"), f"note {row['id']}"
            row["who"]["mail"] = "m@x"
            row["day"] = datetime.date(2026, 5, row["id"] % 2 + 1)
            del row["ok"]
        table.append(pyarrow.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    with table.update_schema() as update:
        update.add_column("ok", StringType()).move_first("note")


def deleted(catalog):
    table = catalog.create_table("py.deleted", EVENTS, properties={"write.delete.mode": "copy-on-write"})
    for i in range(10):
        append(table, i * 20, 20)
    table.delete(EqualTo("kind", "kind-1 "))
    table.delete(GreaterThan("id", 190))
    table.overwrite(
        pyarrow.Table.from_pylist(events(1000, 5), schema=table.schema().as_arrow()), overwrite_filter=EqualTo("id", 3)
    )


def added_files(catalog):
    """Files that someone else wrote, without field ids and with columns in another order, found by name mapping."""
    table = catalog.create_table(
        "py.added_files",
        Schema(
            NestedField(1, "id", LongType()),
            NestedField(2, "text", StringType()),
            NestedField(3, "at", TimestampType()),
            NestedField(4, "extra", DoubleType()),
        ),
    )
    folder = readers.path_of(table.location()) / "imported"
    folder.mkdir(parents=True)
    for i in range(8):
        columns = {
            "text": pyarrow.array([f"t{j}" for j in range(25)]),
            "id": pyarrow.array(range(i * 25, i * 25 + 25), pyarrow.int64()),
            "at": pyarrow.array([datetime.datetime(2026, 2, 1 + i, 3)] * 25, pyarrow.timestamp("us")),
        }
        if i % 2:
            columns["extra"] = pyarrow.array([0.5 * j for j in range(25)])
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"f{i}.parquet")
    for i in range(8):
        table.add_files([f"file://{folder}/f{i}.parquet"])


MAKERS = [plain, parts, buckets, evolved, deleted, added_files]
# Java's generic reader (1.11.0) passes over the table's name mapping and takes columns without ids as they come.
JAVA_READS_BY_POSITION = {"py.added_files"}
NAMES = [f"py.{maker.__name__}" for maker in MAKERS]


@pytest.fixture(scope="module")
def made(icepress, java, tmp_path_factory):
    warehouse = readers.Warehouse(tmp_path_factory.mktemp("pyiceberg"), catalog="lake")
    catalog = warehouse.catalog()
    catalog.create_namespace("py")
    for maker in MAKERS:
        maker(catalog)
    before = readers.View(warehouse)
    runner = icepress(warehouse, how="toml")
    outcome = runner.run_once()
    return warehouse, before, outcome, readers.View(warehouse), runner


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_are_the_same(made, name):
    _, before, outcome, after, _ = made
    assert outcome[name]["outcome"] == "compacted", outcome[name]
    assert after.pyiceberg[name] == before.pyiceberg[name], canon.difference(before.pyiceberg[name], after.pyiceberg[name])
    if name not in JAVA_READS_BY_POSITION:
        assert after.java[name] == before.java[name], canon.difference(before.java[name], after.java[name])
    assert after.java_loose[name] == after.pyiceberg[name]
    if "rows" in before.chdb[name]:
        assert after.chdb[name].get("rows") == before.chdb[name]["rows"], after.chdb[name].get("error")
    assert after.check[name]["problems"] == []
    assert after.check[name]["data_files"] < before.check[name]["data_files"]


def test_pyiceberg_goes_on_writing(made):
    warehouse, _, _, after, runner = made
    table = warehouse.catalog().load_table("py.plain")
    for i in range(6):
        append(table, 5000 + i * 10, 10)
    table.delete(EqualTo("id", 5003))
    outcome = runner.run_once()
    assert {name for name, seen in outcome.items() if seen["outcome"] == "compacted"} == {"py.plain"}
    rows = warehouse.pyiceberg_rows("py.plain")
    assert len(rows) == len(after.pyiceberg["py.plain"]) + 59


def test_a_second_run_plans_nothing(made, icepress, tmp_path):
    warehouse, *_, runner = made
    runner.run_once()
    locations = warehouse.locations()
    for again in (runner, icepress(warehouse, how="yaml", state=tmp_path / "fresh.db")):
        assert {table["outcome"] for table in again.run_once().values()} <= {"unchanged"}
        assert warehouse.locations() == locations
