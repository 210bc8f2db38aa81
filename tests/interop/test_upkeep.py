"""Upkeep as a service beside writers that never rest: it gets ahead of a stream that commits each second, and of many
writers at random speeds no acknowledged change is lost, doubled or undone.

Short by default. For real: pytest tests/interop/test_upkeep.py -s --upkeep-seconds 300 --trial-seconds 600 --trial-pause 0.5
"""

import collections
import json
import subprocess
import time

import cli
import pytest
import readers
from test_writers import TABLE, Writers, seeded

# Many small files to begin with: what weeks of such a stream leave.
BACKLOG = 60


class Upkeep:
    """`icepress run` in the background."""

    def __init__(self, warehouse, *words):
        runner = cli.Icepress(warehouse)
        self.log = warehouse.folder / "upkeep.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(cli.BINARY), *runner.words, "--state", str(runner.state), "run", "--interval", "1s", *words],
                env=runner.environment,
                cwd=runner.home,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.runner = runner

    def stop(self):
        """Asks for the end, and waits for it: a commit in hand is finished, a rewrite is cut off (143) if it takes long."""
        self.process.terminate()
        assert self.process.wait(timeout=120) in (0, 1, 143), self.log.read_text()[-3000:]


def totals(warehouse):
    """Live data files, live delete files."""
    summary = warehouse.load(TABLE).metadata.current_snapshot().summary
    return int(summary["total-data-files"]), int(summary["total-delete-files"])


def by_others(warehouse):
    """Data and delete files that the writers added over all, and how often upkeep committed."""
    data = deletes = replaced = 0
    for snapshot in warehouse.load(TABLE).metadata.snapshots:
        summary = snapshot.summary
        if "icepress.process-id" in summary.additional_properties:
            replaced += 1
            continue
        data += int(summary.additional_properties.get("added-data-files", 0))
        deletes += int(summary.additional_properties.get("added-delete-files", 0))
    return data, deletes, replaced


def assert_rows(warehouse, expected, writers):
    return assert_rows_are(collections.Counter(json.loads(row)[0] for row in warehouse.java_rows(TABLE)[TABLE]), expected, writers)


def assert_rows_are(rows, expected, writers):
    added, deleted, refused = writers.acknowledged()
    live = (set(expected) | set(added)) - set(deleted)
    assert max(added.values(), default=1) == 1, "the writers gave an id twice"
    lost, doubled = live - set(rows), {id for id, count in rows.items() if count > 1}
    revived = set(rows) - live
    assert (lost, doubled, revived) == (set(), set(), set()), f"{refused} commits were refused"
    return len(added), len(deleted), refused


def test_c05_upkeep_gets_ahead_of_a_writer_that_commits_each_second(java, icepress, tmp_path, request):
    seconds = request.config.getoption("upkeep_seconds")
    warehouse = readers.Warehouse(tmp_path)
    expected = seeded(warehouse, "flat")
    before = Writers(warehouse)
    before.java("stream", BACKLOG, 50_000, pause=0)
    expected += before.acknowledged()[0]
    expected -= before.acknowledged()[1]
    start = totals(warehouse)
    samples, ahead, pause = [], [], max(1, seconds / 60)
    writers = Writers(warehouse, beside=True)
    upkeep = Upkeep(warehouse)
    try:
        writers.java("stream", 0, 500_000, seconds=seconds, pause=1)
        while writers.working():
            time.sleep(pause)
            samples.append(totals(warehouse))
            # How soon it gets ahead is the machine's affair, but then it stays so.
            if ahead or samples[-1][0] < start[0] / 2:
                ahead.append(samples[-1])
            if len(ahead) * pause > seconds / 2:
                writers.enough()
    finally:
        writers.stop()
        upkeep.stop()
    assert len(ahead) * pause > seconds / 2, f"it was not ahead for as long as it should be: {samples}"
    data, deletes, replaced = by_others(warehouse)
    print(f"\n{seconds} s: {start[0]} data files and {start[1]} delete files at first, {data} and {deletes} written in all,")
    print(f"once it was ahead {min(ahead)} to {max(ahead)} live, {samples[-1]} at the end, {replaced} commits of upkeep")
    print("live data files:", *(files for files, _ in samples))
    print("live delete files:", *(files for _, files in samples))
    assert replaced > 0
    # The backlog is gone and does not come back, while the writer goes on.
    assert max(files for files, _ in ahead) < start[0] / 2, samples
    assert min(files for _, files in ahead) < start[1] / 2, samples
    assert_rows(warehouse, expected, writers)
    upkeep.runner.run_once(code=(0, 1))
    check = warehouse.java_check(TABLE)[TABLE]
    assert check["problems"] == []


def over_time(warehouse, points=12):
    """Live data files and delete files as the snapshots' own totals have them, at so many moments; upkeep's commits and
    the others'."""
    snapshots = warehouse.load(TABLE).metadata.snapshots
    first, last = snapshots[0].timestamp_ms, snapshots[-1].timestamp_ms
    lines, upto = [], 0
    for point in range(1, points + 1):
        end = first + (last - first) * point // points
        seen = [snapshot for snapshot in snapshots if snapshot.timestamp_ms <= end]
        ours = sum("icepress.process-id" in snapshot.summary.additional_properties for snapshot in seen[upto:])
        totals = seen[-1].summary.additional_properties
        lines.append(
            f"{(end - first) / 1000:6.0f} s: {totals['total-data-files']:>4} data files, {totals['total-delete-files']:>4} delete"
            f" files; since the line before {ours} commits of upkeep, {len(seen) - upto - ours} of others"
        )
        upto = len(seen)
    return lines


# Who writes how, with the pause between commits in seconds. PyIceberg reads no equality deletes, so it only appends
# beside those; and it writes no tables of format 3.
TRIALS = {
    "java": [
        ("pyiceberg", "append", 1_000_000, 0.3),
        ("java", "append", 2_000_000, 0.1),
        ("java", "position", 3_000_000, 0.2),
        ("java", "equality", 4_000_000, 0.7),
        ("java", "overwrite", 5_000_000, 0.4),
    ],
    "pyiceberg": [
        ("java", "append", 1_000_000, 0.2),
        ("pyiceberg", "delete", 2_000_000, 0.3),
        ("pyiceberg", "overwrite", 3_000_000, 0.5),
        ("java", "position", 4_000_000, 0.6),
    ],
    "vectors": [
        ("java", "append", 1_000_000, 0.1),
        ("java", "position", 2_000_000, 0.2),
        ("java", "equality", 3_000_000, 0.7),
        ("java", "overwrite", 4_000_000, 0.4),
    ],
}
# Where Java upgrades the table before anything else.
FORMAT_3 = {"vectors"}


@pytest.mark.parametrize(("trial", "spec"), [("java", "flat"), ("pyiceberg", "parted"), ("vectors", "flat")])
def test_each_acknowledged_change_is_there_exactly_once(java, icepress, tmp_path, trial, spec, request):
    seconds, every = request.config.getoption("trial_seconds"), request.config.getoption("trial_pause")
    warehouse = readers.Warehouse(tmp_path)
    # Thousands of commits, each with a metadata file of all snapshots so far, would fill the disk.
    more = {"write.metadata.delete-after-commit.enabled": "true", "write.metadata.previous-versions-max": "100"}
    expected = seeded(warehouse, spec, **more)
    if trial in FORMAT_3:
        before = Writers(warehouse)
        # The first commit after the upgrade gives all rows their ids.
        before.java("append", 1, 900_000, more=["--format", "3"])
        expected += before.acknowledged()[0]
    writers = Writers(warehouse, beside=True)
    upkeep = Upkeep(warehouse, "--verify-rows", "all")
    try:
        for who, kind, first, pause in TRIALS[trial]:
            getattr(writers, who)(kind, 0, first, seconds=seconds, pause=pause if every is None else every)
        while writers.working():
            time.sleep(1)
            if by_others(warehouse)[2] > 0:
                writers.enough()
    finally:
        writers.stop()
        upkeep.stop()
    data, deletes, replaced = by_others(warehouse)
    added, deleted, refused = assert_rows(warehouse, expected, writers)
    print(f"\n{trial}, {seconds} s: {added} rows added, {deleted} deleted, {refused} commits refused;")
    print(f"{data} data files and {deletes} delete files written, {replaced} commits of upkeep, {totals(warehouse)} live")
    print(*over_time(warehouse), sep="\n")
    assert replaced > 0 and added > 0 and deleted > 0
    # And once more when all is quiet.
    upkeep.runner.run_once(code=(0, 1))
    assert_rows(warehouse, expected, writers)
    check = warehouse.java_check(TABLE)[TABLE]
    assert check["problems"] == []
    if trial in FORMAT_3:
        origins = json.loads(warehouse.java("origins", "--table", TABLE).stdout)
        assert origins["problems"] == []
        assert origins["rows"] > 0
    # PyIceberg, where it can: it says so itself where equality deletes are left.
    try:
        rows = collections.Counter(json.loads(row)[0] for row in warehouse.pyiceberg_rows(TABLE))
    except readers.Refused as refusal:
        print(f"not read by PyIceberg: {refusal}")
    else:
        print(f"PyIceberg reads {len(rows)} rows")
        assert_rows_are(rows, expected, writers)
