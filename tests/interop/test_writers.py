"""Writers that nobody here wrote append and delete while compaction runs: no row lost, doubled or revived."""

import collections
import json
import pathlib
import subprocess
import sys

import pyarrow
import pytest
import readers
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "low_part", LongType(), required=False),
    NestedField(3, "text", StringType(), required=False),
)
SPECS = {
    "flat": PartitionSpec(),
    "parted": PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "low_part")),
}
TABLE = "live.table"


class Writers:
    """Processes that write, and what each was told that it did. Those that write `beside` something go on, once they
    have done what they were to do, until there was enough of it, up to eight times as long."""

    def __init__(self, warehouse, beside=False):
        self.warehouse = warehouse
        self.processes = []
        self.until = [str(warehouse.folder / "enough")] if beside else []

    def enough(self):
        """What they were to write beside has happened."""
        for file in self.until:
            pathlib.Path(file).touch()

    def pyiceberg(self, kind, commits, first, seconds=0, pause=0.05):
        script = pathlib.Path(__file__).with_name("pyiceberg_writer.py")
        words = [f"sqlite:///{self.warehouse.db}", f"file://{self.warehouse.data}", TABLE, kind, str(commits), str(first)]
        words += [str(seconds), str(pause), *self.until]
        self._start([sys.executable, str(script), *words])

    def java(self, kind, commits, first, seconds=0, pause=0.05, more=()):
        warehouse = ["--db", str(self.warehouse.db), "--warehouse", str(self.warehouse.data), "--catalog", "default"]
        words = ["--table", TABLE, "--kind", kind, "--commits", str(commits), "--from", str(first)]
        words += ["--seconds", str(seconds), "--pause-ms", str(int(pause * 1000))]
        words += [word for file in self.until for word in ("--until", file)]
        self._start(readers.java_command("writer", *words, *warehouse, *more))

    def _start(self, command):
        out = self.warehouse.folder / f"writer-{len(self.processes)}.out"
        err = out.with_suffix(".err")
        with out.open("w") as stdout, err.open("w") as stderr:
            self.processes.append((subprocess.Popen(command, stdout=stdout, stderr=stderr), out, err))

    def working(self):
        return any(process.poll() is None for process, _, _ in self.processes)

    def stop(self):
        for process, _, _ in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def acknowledged(self):
        """Ids added, ids deleted, commits refused. A writer that broke down is a failure of the test."""
        added, deleted, refused = collections.Counter(), collections.Counter(), 0
        for process, out, err in self.processes:
            assert process.wait() == 0, err.read_text()[-3000:]
            for line in out.read_text().splitlines():
                said = json.loads(line)
                refused += "refused" in said
                added.update(said.get("added", []))
                deleted.update(said.get("deleted", []))
        return added, deleted, refused


def seeded(warehouse, spec, **more):
    catalog = warehouse.catalog()
    catalog.create_namespace("live")
    properties = {"format-version": "2", "write.metadata.delete-after-commit.enabled": "false", **more}
    table = catalog.create_table(TABLE, SCHEMA, partition_spec=SPECS[spec], properties=properties)
    for start in range(0, 300, 25):
        rows = [{"id": i, "low_part": i % 3, "text": f"seed {i}"} for i in range(start, start + 25)]
        table.append(pyarrow.Table.from_pylist(rows, schema=SCHEMA.as_arrow()))
    return collections.Counter(range(300))


MIXES = {
    "pyiceberg-appends": [("pyiceberg", "append", 25, 10_000), ("pyiceberg", "append", 25, 20_000)],
    "pyiceberg-deletes": [("pyiceberg", "append", 25, 10_000), ("pyiceberg", "delete", 15, 1)],
    "java-positions": [("pyiceberg", "append", 25, 10_000), ("java", "position", 25, 30_000)],
    "java-equality": [("java", "append", 30, 10_000), ("java", "equality", 20, 1), ("java", "position", 20, 2)],
}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("mix", MIXES)
def test_no_acknowledged_row_is_lost_doubled_or_revived(java, icepress, tmp_path, mix, spec):
    warehouse = readers.Warehouse(tmp_path)
    expected = seeded(warehouse, spec)
    runner = icepress(warehouse)
    writers = Writers(warehouse, beside=True)
    compactions = 0
    try:
        for who, kind, commits, first in MIXES[mix]:
            getattr(writers, who)(kind, commits, first)
        while writers.working():
            # A run that lost each race to the writers may say so; it must not break down.
            outcome = runner.run_once(code=(0, 1))
            compactions += outcome.get(f"{TABLE}", {}).get("outcome") == "compacted"
            if compactions:
                writers.enough()
        added, deleted, refused = writers.acknowledged()
    finally:
        writers.stop()
    assert compactions > 0, "no compaction came through beside the writers"
    expected += added
    expected -= deleted
    # What lost its last race waits before it is tried again, unless a person asks.
    runner.json("compact", TABLE)
    runner.run_once()
    rows = collections.Counter(json.loads(row)[0] for row in warehouse.java_rows(TABLE)[TABLE])
    lost, extra = expected - rows, rows - expected
    assert (dict(lost), dict(extra)) == ({}, {}), f"{compactions} compactions, {refused} commits refused"
    check = warehouse.java_check(TABLE)[TABLE]
    assert check["problems"] == []
    assert check["needless"] == []
