"""The tables of a trial, and the writers beside it: PyIceberg in processes of its own, with a journal each."""

import json
import pathlib
import random
import subprocess
import sys

import pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "part", LongType(), required=False),
    NestedField(3, "text", StringType(), required=False),
)
SPECS = [PartitionSpec(), PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "part"))]
PARTS = 3
SEEDED_COMMITS, SEEDED_ROWS = 4, 20


def text_of(row_id: int) -> str:
    """What a row with that id says: a row of another id's text was mixed up."""
    return f"row {row_id} of part {row_id % PARTS}"


def batch(ids) -> pyarrow.Table:
    rows = [{"id": row_id, "part": row_id % PARTS, "text": text_of(row_id)} for row_id in ids]
    return pyarrow.Table.from_pylist(rows, schema=SCHEMA.as_arrow())


def make(world, count: int) -> dict[str, set[int]]:
    """Makes tables of small files in two databases: table name and the ids in it."""
    catalog = world.catalog()
    made = {}
    for number in range(count):
        database, name = f"db{number % 2}", f"t{number}"
        catalog.create_namespace_if_not_exists(database)
        properties = {
            # One in five stays at version 1, which has no sequence numbers to protect it.
            "format-version": "1" if number % 5 == 4 else "2",
            "icepress.min-input-files": "3",
            "icepress.max-group-files": "6",
            "icepress.verify-rows": "all",
        }
        table = catalog.create_table((database, name), SCHEMA, partition_spec=SPECS[number % 2], properties=properties)
        ids = set()
        for start in range(0, SEEDED_COMMITS * SEEDED_ROWS, SEEDED_ROWS):
            table.append(batch(range(start, start + SEEDED_ROWS)))
            ids |= set(range(start, start + SEEDED_ROWS))
        made[f"{database}.{name}"] = ids
    return made


class Writers:
    """The writers' processes. They are never struck: what they say they did, they did."""

    def __init__(self, world, folder: pathlib.Path, options):
        self.processes = []
        dice = random.Random(options.seed)
        script = pathlib.Path(__file__).with_name("writer.py")
        for number in range(options.writers):
            journal, log = folder / f"writer-{number}.jsonl", folder / f"writer-{number}.log"
            words = {
                "place": world.for_writers(),
                "tables": [f"db{each % 2}.t{each}" for each in range(options.tables)],
                "seed": dice.getrandbits(32),
                "first_id": (number + 1) * 10_000_000,
                "pause": options.pause,
            }
            with journal.open("w") as out, log.open("w") as err:
                process = subprocess.Popen([sys.executable, script, json.dumps(words)], stdin=subprocess.PIPE, stdout=out, stderr=err)
            self.processes.append((process, journal, log))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, _, _ in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def check(self) -> None:
        for process, _, log in self.processes:
            if process.poll() not in (None, 0):
                raise RuntimeError(f"a writer broke down: {log.read_text()[-3000:]}")

    def stop(self) -> None:
        """Lets each finish the commit it is at."""
        for process, _, _ in self.processes:
            process.stdin.close()
        for process, _, _ in self.processes:
            process.wait(timeout=120)
        self.check()

    def journals(self) -> list[dict]:
        return [json.loads(line) for _, journal, _ in self.processes for line in journal.read_text().splitlines()]

    def commits(self) -> int:
        return sum(line.count('"done"') for _, journal, _ in self.processes for line in journal.open())
