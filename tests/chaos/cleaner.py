"""Kills who deletes: a real `icepress maintain` dies at a chosen one of its calls that change the disk, before that call took effect
or after it, and PyIceberg and Java judge what is left: whatever any branch, tag or snapshot refers to is there, with the rows that it had. The
next run goes on, and in the end nothing is left that nobody needs.

Where it dies is counted in the process itself (dies.c, preloaded), so that a trial with the same numbers is the same trial: also in
the midst of what SQLite writes.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

import cli
import readers
from pyiceberg.expressions import EqualTo
from pyiceberg.table.statistics import StatisticsFile
from tables import SCHEMA, SPECS, batch

HERE = pathlib.Path(__file__).resolve().parent
TABLE = "shop.orders"
DAY = 24 * 3600
KINDS = {
    # As everything may go that is nobody's now.
    "expire": ("--older-than", "0", "--keep-younger-than", "0"),
    "orphans": (),
}


def library(folder):
    """dies.c, built."""
    built = folder / "dies.so"
    if not built.is_file():
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", built, HERE / "dies.c", "-ldl"], check=True)
    return built


class World:
    """A table with a past of every kind, and what each of its snapshots holds."""

    def __init__(self, folder, seed):
        self.folder = folder
        self.dice = random.Random(seed)
        self.place, self.kept = folder / "world", folder / "kept"
        self.rows, self.next_id, self.strays = {}, 0, 0
        self.counts = collections.Counter()
        self._open()
        catalog = self.warehouse.catalog()
        catalog.create_namespace("shop")
        properties = {"write.metadata.delete-after-commit.enabled": "true", "write.metadata.previous-versions-max": "4"}
        catalog.create_table(TABLE, SCHEMA, partition_spec=SPECS[1], properties=properties)
        for _ in range(4):
            self.append()
        with self.table().manage_snapshots() as manage:
            head = self.table().current_snapshot().snapshot_id
            manage.create_tag(head, "release").create_branch(head, "audit")
        self.append("audit")
        for what in [self.overwrite, self.delete, self.count, self.append, self.compact, self.leave]:
            what()

    def _open(self):
        self.warehouse = readers.Warehouse(self.place)
        self.icepress = cli.Icepress(self.warehouse)

    def table(self):
        return self.warehouse.load(TABLE)

    def note(self):
        """Remembers what every snapshot holds that is new."""
        table = self.table()
        for snapshot in table.metadata.snapshots:
            if snapshot.snapshot_id not in self.rows:
                self.rows[snapshot.snapshot_id] = ids_of(table, snapshot.snapshot_id)

    # -- What writers do

    def append(self, branch="main"):
        ids = range(self.next_id, self.next_id + 6)
        self.next_id += 6
        self.table().append(batch(ids), branch=branch)
        self.note()

    def overwrite(self):
        ids = range(self.next_id, self.next_id + 6)
        self.next_id += 6
        self.table().overwrite(batch(ids), overwrite_filter=EqualTo("part", 1))
        self.note()

    def delete(self):
        self.table().delete(EqualTo("id", self.dice.randrange(self.next_id)))
        self.note()

    def count(self):
        """Statistics of partitions, and of the table by somebody else."""
        self.icepress.json("maintain", TABLE, "--only", "statistics")
        table = self.table()
        name = f"{table.location()}/metadata/{table.current_snapshot().snapshot_id}-{self.next_id}.stats"
        readers.path_of(name).write_bytes(b"statistics")
        file = StatisticsFile(
            **{"snapshot-id": table.current_snapshot().snapshot_id, "statistics-path": name, "file-size-in-bytes": 10},
            **{"file-footer-size-in-bytes": 4, "blob-metadata": []},
        )
        with table.update_statistics() as update:
            update.set_statistics(file)

    def compact(self):
        self.icepress.call("compact", TABLE)
        self.note()

    def leave(self):
        """What a writer that died leaves, long ago."""
        for name in ["data/part=0", "data/part=1", "metadata"]:
            folder = readers.path_of(self.table().location()) / name
            for ending in [".parquet", "-m0.avro"]:
                self.strays += 1
                path = folder / f"left-{self.strays}{ending}"
                folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"left")
                then = time.time() - 5 * DAY
                os.utime(path, (then, then))

    def anything(self):
        acts = [self.append, lambda: self.append("audit"), self.overwrite, self.delete, self.count, self.compact, self.leave]
        self.dice.choice(acts)()

    # -- Deaths

    def keep(self):
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.place, self.kept)

    def restore(self):
        shutil.rmtree(self.place)
        shutil.copytree(self.kept, self.place)
        self._open()

    def run(self, kind, at=0, when="after"):
        """Runs it, to die at a call; what it reported, or None of the dead. Beside it how many calls there were."""
        counted = self.folder / "counted"
        counted.unlink(missing_ok=True)
        command = [str(cli.BINARY), *self.icepress.words, "--state", str(self.icepress.state), "--json"]
        command += ["maintain", TABLE, "--only", kind, *KINDS[kind]]
        environment = {
            **self.icepress.environment,
            "LD_PRELOAD": str(library(self.folder)),
            "DIES_AT": str(at),
            "DIES_WHEN": when,
            "DIES_BELOW": str(self.place),
            "DIES_COUNT": str(counted),
        }
        done = subprocess.run(command, env=environment, cwd=self.icepress.home, capture_output=True, text=True, timeout=120)
        if done.returncode == -signal.SIGKILL:
            self.counts["killed"] += 1
            return None, at
        if done.returncode != 0:
            raise AssertionError(f"{kind} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return json.loads(done.stdout), int(counted.read_text())

    def finish(self, kind):
        """Runs until nothing is to be done: what the first run deleted and let go of."""
        first, _ = self.run(kind)
        # What one look at the folders finds goes with the next.
        for _ in range(2 if kind == "orphans" else 1):
            self.run(kind)
        return first

    # -- The judge

    def judge(self):
        """Every file that any snapshot refers to is there, and every snapshot has its rows."""
        table = self.table()
        missing = [path for path in needed(table) if not os.path.exists(path)]
        assert not missing, f"{len(missing)} files that the table needs are gone, {missing[0]} first"
        heads = {name: ref.snapshot_id for name, ref in table.metadata.refs.items()}
        assert {"main", "audit", "release"} <= heads.keys(), f"a branch or tag is gone: {heads}"
        snapshots = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
        for snapshot in snapshots:
            assert ids_of(table, snapshot) == self.rows[snapshot], f"snapshot {snapshot} has other rows than it had"
        return snapshots

    def judge_by_java(self):
        """Java reads the same rows of every snapshot that is left."""
        answer = json.loads(self.warehouse.java("expire", "--do", "ids", "--table", TABLE).stdout)[TABLE]
        read = {int(snapshot): tuple(sorted(ids)) for snapshot, ids in answer.items()}
        assert read.keys() == {snapshot.snapshot_id for snapshot in self.table().metadata.snapshots}, f"Java knows other snapshots: {read.keys()}"
        for snapshot, ids in read.items():
            assert ids == self.rows[snapshot], f"Java reads other rows of snapshot {snapshot} than it had"
        self.counts["read by Java"] += len(read)

    def judge_end(self, kinds):
        """Nothing is left of what the kinds see to: no dead file, and no record of one."""
        table = self.table()
        home = readers.path_of(table.location())
        left = {str(path) for path in home.rglob("*") if path.is_file()} - needed(table)
        # What was half written on this disk is as young as the trial: a search takes it in a day.
        left = {path for path in left if not path.endswith(".tmp")}
        # So does a list that was not finished: somebody may be writing it.
        left -= {path for path in left if "/icepress-orphans/" in path and not pathlib.Path(path).with_name("planned.json").exists()}
        records = {path for path in left if "/metadata/icepress-" in path}
        strays = {path for path in left - records if "/left-" in path}
        dead = left - records - strays
        if "orphans" in kinds:
            assert not left, f"{len(left)} files are left that nobody needs, {min(left)} first"
        else:
            # Metadata files are another matter, and PyIceberg leaves what it wrote for nothing.
            dead = {path for path in dead if not path.endswith(".metadata.json")} - self.litter
            assert not dead, f"{len(dead)} dead files are left, {min(dead)} first"
        assert not records, f"a record is left: {min(records)}"


def ids_of(table, snapshot):
    rows = table.scan(snapshot_id=snapshot, selected_fields=("id",)).to_arrow()
    return tuple(sorted(rows.column("id").to_pylist()))


def needed(table):
    """What PyIceberg says that the table needs, as paths."""
    inspect = table.inspect
    paths = {table.metadata_location} | {entry.metadata_file for entry in table.metadata.metadata_log}
    paths |= {snapshot.manifest_list for snapshot in table.metadata.snapshots}
    paths |= set(inspect.all_manifests().to_pydict()["path"])
    paths |= set(inspect.all_files().to_pydict()["file_path"])
    paths |= {file.statistics_path for file in [*table.metadata.statistics, *table.metadata.partition_statistics]}
    return {str(readers.path_of(path)) for path in paths}


def litter_of(world):
    """What nobody needs before anything was expired: what is left of what was never committed."""
    home = readers.path_of(world.table().location())
    return {str(path) for path in home.rglob("*") if path.is_file()} - needed(world.table())


def one_by_one(folder, kind, seed, deaths, by_java):
    """Dies at so many calls, each time on the same table as it was at first; goes on; and ends with the same files each time. Java reads
    it after each death where `by_java`."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, seed)
    world.litter = litter_of(world)
    if kind == "orphans":
        # What is found now may go with the next look.
        world.run(kind)
    world.keep()
    report, calls = world.run(kind)
    whole = sum(counts["files"] for counts in report["files"].values())
    assert whole > 5, f"nothing to speak of was deleted: {report}"
    world.judge()
    places = [(at, when) for at in range(1, calls + 1) for when in ("before", "after")]
    if deaths is not None:
        # Some of all stages.
        places = [places[len(places) * number // deaths + world.dice.randrange(len(places) // deaths)] for number in range(deaths)]
    for at, when in places:
        world.restore()
        died, _ = world.run(kind, at, when)
        if died is not None:
            # Calls of several threads come in another order, and one or two fewer.
            world.counts["survived"] += 1
            continue
        try:
            world.judge()
            if by_java:
                world.judge_by_java()
            went_on = world.finish(kind)
            world.judge()
            world.judge_end({kind})
        except AssertionError as error:
            raise AssertionError(f"killed {when} call {at} of {calls} of {kind}: {error}") from error
        deleted = sum(counts["files"] for counts in went_on["files"].values())
        # The dead had committed, and this one deleted what that let go of.
        world.counts["resumed"] += kind == "expire" and deleted > 0 and not went_on["snapshots"]
    return world.counts


def at_random(folder, minutes, seed, by_java):
    """Writes, dies and goes on by turns, for so long, on one table. Java reads it now and then where `by_java`."""
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, seed)
    world.litter = litter_of(world)
    until, rounds = time.monotonic() + minutes * 60, 0
    longest = {kind: 40 for kind in KINDS}
    while time.monotonic() < until:
        rounds += 1
        for _ in range(world.dice.randrange(3)):
            world.anything()
        kind = world.dice.choice(list(KINDS))
        report, calls = world.run(kind, world.dice.randint(1, longest[kind]), world.dice.choice(["before", "after"]))
        longest[kind] = max(5, calls if report else longest[kind])
        world.judge()
        if rounds % 10 == 0:
            for kind in ("expire", "orphans"):
                world.finish(kind)
            world.judge()
            if by_java:
                world.judge_by_java()
            world.judge_end({"expire", "orphans"})
            print(f"{rounds} rounds: {dict(world.counts)}", flush=True)
    return world.counts


def main(words):
    parser = argparse.ArgumentParser(prog="tests/kills cleaner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0, help="die at random for so long; else at every call once")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="icepress-kills-"))
    by_java = shutil.which("java") and (readers.TARGET / "java" / "classes").is_dir()
    if not by_java:
        print("Java does not judge: it takes a JDK, and the harness that tests/run builds")
    if options.minutes:
        counts = {"at random": at_random(folder / "random", options.minutes, options.seed, by_java)}
    else:
        counts = {kind: one_by_one(folder / kind, kind, options.seed, None, by_java) for kind in KINDS}
    for kind, counted in counts.items():
        print(f"{kind}: {dict(counted)}")
    print("all well")
    shutil.rmtree(folder)
    return 0
