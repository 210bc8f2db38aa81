"""Partition statistics beside Java's own: the same rows, counted whole and from earlier ones on, in files that Java reads."""

import json
import shutil

import pytest
import readers

# Deletes of each kind, specs that evolved, partition types of all kinds, versions 1 to 3, vectors. Not `parts.identity`: a
# partition's folder of which has a name that is too long for the local disk once Java writes to it again; nor `parts.truncate_dec`: Java
# can't write the smallest of its partitions to a manifest.
TABLES = [
    "deletes.upserts",
    "deletes.positions",
    "parts.low_types",
    "parts.day",
    "parts.evolved",
    "parts.many",
    "parts.source_dropped",
    "parts.void_v1",
    "parts.bucket",
    "parts.times",
    "v3.equality",
]


def ask(warehouse, do, tables):
    answer = warehouse.java("partition-stats", "--do", do, "--table", ",".join(tables)).stdout
    return json.loads(answer.splitlines()[-1])


def is_partitioned(warehouse, table):
    return any(spec.fields for spec in warehouse.load(table).specs().values())


class Counted:
    """Ours and Java's statistics of the same snapshots: at first, and after more commits."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder / "ours")
        warehouse.java("write", "--only", ",".join(TABLES))
        self.tables = [table for table in TABLES if is_partitioned(warehouse, table)]
        self.ours = icepress(warehouse)
        self.java, self.read, self.reports = [], [], []
        self.count(folder / "whole")
        warehouse.java("expire", "--do", "age")
        self.count(folder / "later")
        self.check = warehouse.java_check(*self.tables)

    def count(self, folder):
        # Java counts on the same state: from our own statistics on, where there are some.
        judge = readers.Warehouse(folder)
        shutil.copy(self.warehouse.db, judge.db)
        self.java.append(ask(judge, "compute", self.tables))
        said = {table: self.ours.json("maintain", table, "--only", "statistics") for table in self.tables}
        self.reports.append(said)
        self.read.append(ask(self.warehouse, "read", self.tables))


@pytest.fixture(scope="module")
def counted(java, icepress, tmp_path_factory):
    return Counted(tmp_path_factory.mktemp("statistics"), icepress)


def key_of(row):
    return row["spec"], row["partition"]


@pytest.mark.parametrize("when", [0, 1], ids=["whole", "later"])
def test_java_reads_what_java_counts(counted, when):
    assert len(counted.tables) > 6
    for table in counted.tables:
        # Counting on over several partition specs, Java leaves partitions out, or has two rows of one: it judges them whole.
        if when and len(counted.warehouse.load(table).specs()) > 1:
            continue
        ours, java = (sorted(rows[when][table], key=key_of) for rows in (counted.read, counted.java))
        assert len(ours) > 1, table
        for one, other in zip(ours, java, strict=True):
            assert one == other, table


def test_the_first_is_counted_whole_and_the_next_from_there_on(counted):
    for table in counted.tables:
        first, second = (reports[table] for reports in counted.reports)
        assert first["written"]["incremental"] is False and first["since"] is None
        assert second["written"]["incremental"] is True and second["since"] == first["snapshot_id"]
        assert second["written"]["partitions"] == len(counted.read[1][table])
        assert counted.check[table]["problems"] == []


def test_c18_the_second_run_does_nothing(counted):
    locations = counted.warehouse.locations()
    for table in counted.tables:
        assert counted.ours.json("plan", table, "--only", "statistics")["write"] is False
        assert counted.ours.json("maintain", table, "--only", "statistics")["written"] is None
    assert counted.warehouse.locations() == locations
