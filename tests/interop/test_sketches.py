"""Sketches of distinct values beside those that Apache DataSketches makes of the rows that Iceberg Java reads."""

import datetime
import decimal
import json
import uuid

import pyarrow
import pytest
import readers

# All types, deletes of each kind, columns that came later or were widened, version 3 with vectors.
TABLES = [
    "types.primitives_v1",
    "types.primitives_v2",
    "types.nested",
    "deletes.upserts",
    "deletes.positions",
    "parts.evolved",
    "v3.equality",
]


class Counted:
    """What tables say of themselves after each of three runs: of all, after appends and deletes, and beside a file of Java's."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder)
        warehouse.java("write", "--only", ",".join(TABLES))
        self.tables = [name for name in warehouse.tables() if warehouse.load(name).current_snapshot()]
        self.ours = icepress(warehouse)
        self.sketches("ask", self.tables)
        self.plans = [self.ours.json("plan", name, "--only", "statistics") for name in self.tables]
        self.reports, self.judged = [], []
        self.count()

    def sketches(self, do, tables):
        answer = self.warehouse.java("sketches", "--do", do, "--table", ",".join(tables)).stdout
        return json.loads(answer.splitlines()[-1])

    def count(self):
        said = {name: self.ours.json("maintain", name, "--only", "statistics") for name in self.tables}
        self.reports.append(said)
        self.judged.append(self.sketches("read", self.tables))


@pytest.fixture(scope="module")
def counted(java, icepress, tmp_path_factory):
    return Counted(tmp_path_factory.mktemp("sketches"), icepress)


def by_field(judged):
    return {blob["fields"][0]: blob for blob in judged["blobs"] if len(blob["fields"]) == 1}


def assert_agreed(judged):
    rows, blobs = judged["rows"], by_field(judged)
    assert sorted(field for field, _ in rows.values()) == sorted(blobs)
    for name, (field, estimate) in rows.items():
        blob = blobs[field]
        assert blob["estimate"] == blob["united"] == estimate, name
        assert blob["properties"]["ndv"] == str(int(estimate)), name
        assert blob["in_metadata"] and blob["is_current"] and blob["ordered"], name
        assert blob["codec"] == "zstd"


def test_java_reads_what_java_counts(counted):
    assert len(counted.tables) >= len(TABLES)
    columns = 0
    for name in counted.tables:
        assert_agreed(counted.judged[0][name])
        columns += len(counted.judged[0][name]["rows"])
    assert columns > 40


LARGE = "py.large"


def rows_of(numbers):
    """Of each type: all distinct, few distinct, and some that are missing."""
    day = datetime.date(2026, 1, 1)
    moment = datetime.datetime(2026, 1, 1)
    some = [None if n % 7 == 0 else n for n in numbers]
    return pyarrow.table(
        {
            "int": pyarrow.array(some, pyarrow.int32()),
            "long": pyarrow.array([n << 33 for n in numbers], pyarrow.int64()),
            "string": pyarrow.array([f"number {n}" for n in numbers], pyarrow.string()),
            "word": pyarrow.array([f"word {n % 50}" for n in numbers], pyarrow.string()),
            "date": pyarrow.array([day + datetime.timedelta(n) for n in numbers], pyarrow.date32()),
            "decimal": pyarrow.array([decimal.Decimal(n * 997 - 10**6) / 100 for n in numbers], pyarrow.decimal128(18, 2)),
            "uuid": pyarrow.array([uuid.UUID(int=n * 10**30).bytes for n in numbers], pyarrow.uuid()),
            "double": pyarrow.array([n / 3 - 1000 for n in numbers], pyarrow.float64()),
            "timestamp": pyarrow.array([moment + datetime.timedelta(minutes=n) for n in numbers], pyarrow.timestamp("us")),
        }
    )


class Large:
    """One table with more values than a sketch retains, from commit to commit."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder)
        self.ours = icepress(warehouse)
        catalog = warehouse.catalog()
        catalog.create_namespace("py")
        asked = {"icepress.statistics.ndv-columns": "*", "icepress.min-input-files": "2"}
        self.table = catalog.create_table(LARGE, rows_of([]).schema, properties=asked)

    def append(self, *numbers):
        self.table.refresh()
        self.table.append(rows_of(list(range(*numbers))))

    def count(self):
        return self.ours.json("maintain", LARGE, "--only", "statistics")

    def sketches(self, do="read", *more):
        answer = self.warehouse.java("sketches", "--do", do, "--table", LARGE, *more).stdout
        return json.loads(answer.splitlines()[-1]).get(LARGE)

    def since(self):
        columns = self.ours.json("plan", LARGE, "--only", "statistics")["ndv"]["columns"]
        [since] = {column["since"] for column in columns}
        return since


def test_from_append_to_append_sketches_are_those_of_all_rows(java, icepress, tmp_path):
    large = Large(tmp_path, icepress)
    large.append(0, 12_000)
    large.append(6_000, 15_000)
    first = large.count()
    assert first["sketches"]["incremental"] == 0 and first["sketches"]["columns"] == 9
    large.append(14_000, 20_000)
    assert large.since() == first["snapshot_id"]
    before = large.count()["sketches"]
    assert before["incremental"] == 9 and before["ndv"]["word"] == 50

    # A rewrite changes no value: the sketches stay, and no data file is read for it.
    assert large.ours.json("compact", LARGE)
    plan = large.ours.json("plan", LARGE, "--only", "statistics")["ndv"]
    assert plan["write"] and plan["files"] == 0
    assert large.count()["sketches"]["ndv"] == before["ndv"]
    judged = large.sketches()
    assert_agreed(judged)
    assert by_field(judged)[2]["retained"] == 4096

    # What is deleted can't be taken out of a sketch: all is read.
    large.table.refresh()
    large.table.delete("long < 42949672960000")
    assert large.since() is None
    less = large.count()["sketches"]
    assert less["incremental"] == 0 and less["ndv"]["long"] < before["ndv"]["long"]

    # As Spark leaves it: of its sketches, by another algorithm, ours go on; what else it says of the same snapshot stays.
    large.sketches("write", "--without", "word")
    theirs = {field: blob["estimate"] for field, blob in by_field(large.sketches()).items()}
    assert sorted(theirs) == [1, 2, 3, 5, 6, 7, 8, 9]
    assert large.count()["sketches"]["incremental"] == 8
    judged = large.sketches()
    found = by_field(judged)
    assert {field: blob["estimate"] for field, blob in found.items() if field != 4} == theirs
    assert found[4]["estimate"] == judged["rows"]["word"][1] == 50
    assert [blob["bytes"] for blob in judged["blobs"] if blob["fields"] == [1, 2]] == [2]
    large.append(30_000, 33_000)
    last = large.count()["sketches"]
    assert last["incremental"] == 9
    # Of 20,000 at first 5,000 were deleted.
    for name in ["long", "string", "date", "decimal", "uuid", "double", "timestamp"]:
        assert abs(last["ndv"][name] - 18_000) <= 0.08 * 18_000, (name, last)


def test_deletes_and_later_columns(counted):
    """A past of appends and deletes, with files that claim to be sketches of the first column: they are not believed."""
    # By its metadata, its only column has a sketch already.
    counted.tables.remove("types.nested")
    counted.warehouse.java("expire", "--do", "age", "--table", ",".join(counted.tables))
    counted.count()
    for name in counted.tables:
        assert counted.reports[1][name]["sketches"] is not None
        assert sorted(by_field(counted.judged[1][name])) == sorted(by_field(counted.judged[0][name]))
        if counted.reports[1][name]["sketches"]["incremental"] == 0:
            assert_agreed(counted.judged[1][name])
    locations = counted.warehouse.locations()
    for name in counted.tables:
        assert counted.ours.json("plan", name, "--only", "statistics")["ndv"]["write"] is False
        assert counted.ours.json("maintain", name, "--only", "statistics")["sketches"] is None
    assert counted.warehouse.locations() == locations


def test_expiry_takes_sketches_along_with_their_snapshot(icepress, tmp_path):
    large = Large(tmp_path, icepress)
    paths = []
    for start in range(2):
        large.append(start * 10, start * 10 + 10)
        paths.append(readers.path_of(large.count()["sketches"]["path"]))
    assert all(path.is_file() for path in paths)
    listed = large.ours.json("plan", LARGE, "--only", "orphans")
    assert listed["files"] == {}, listed
    large.ours.json("maintain", LARGE, "--only", "expire", "--older-than", "0s", "--keep-younger-than", "0s")
    assert [path.is_file() for path in paths] == [False, True]
    assert len(large.warehouse.load(LARGE).snapshots()) == 1
