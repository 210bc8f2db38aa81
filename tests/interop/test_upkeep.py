"""Upkeep as a service beside writers that never rest: it gets ahead of a stream that commits each second, and of many
writers at random speeds no acknowledged change is lost, doubled or undone.

Short by default. For real: pytest tests/interop/test_upkeep.py --upkeep-seconds 300 --trial-seconds 600
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
        """Asks for the end, and waits for it: work in hand is finished."""
        self.process.terminate()
        assert self.process.wait(timeout=120) in (0, 1), self.log.read_text()[-3000:]


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
    added, deleted, refused = writers.acknowledged()
    live = (set(expected) | set(added)) - set(deleted)
    assert max(added.values(), default=1) == 1, "the writers gave an id twice"
    rows = collections.Counter(json.loads(row)[0] for row in warehouse.java_rows(TABLE)[TABLE])
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
    samples = []
    writers = Writers(warehouse)
    upkeep = Upkeep(warehouse)
    try:
        writers.java("stream", 0, 500_000, seconds=seconds, pause=1)
        while writers.working():
            time.sleep(max(1, seconds / 60))
            samples.append(totals(warehouse))
    finally:
        writers.stop()
        upkeep.stop()
    data, deletes, replaced = by_others(warehouse)
    half = samples[len(samples) // 2 :]
    print(f"\n{seconds} s: {start[0]} data files and {start[1]} delete files at first, {data} and {deletes} written in all,")
    print(f"over the second half {min(half)} to {max(half)} live, {samples[-1]} at the end, {replaced} commits of upkeep")
    print("live data files:", *(files for files, _ in samples))
    print("live delete files:", *(files for _, files in samples))
    assert replaced > 0
    # The backlog is gone and does not come back, while the writer goes on.
    assert max(files for files, _ in half) < start[0] / 2, samples
    assert min(files for _, files in half) < start[1] / 2, samples
    assert_rows(warehouse, expected, writers)
    upkeep.runner.run_once(code=(0, 1))
    check = warehouse.java_check(TABLE)[TABLE]
    assert check["problems"] == []


# Who writes how, with the pause between commits in seconds. PyIceberg reads no equality deletes, so it only appends
# beside those.
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
}


@pytest.mark.parametrize(("trial", "spec"), [("java", "flat"), ("pyiceberg", "parted")])
def test_each_acknowledged_change_is_there_exactly_once(java, icepress, tmp_path, trial, spec, request):
    # Each trial has half of the time.
    seconds = max(1, request.config.getoption("trial_seconds") // 2)
    warehouse = readers.Warehouse(tmp_path)
    expected = seeded(warehouse, spec)
    writers = Writers(warehouse)
    upkeep = Upkeep(warehouse, "--verify-rows", "all")
    try:
        for who, kind, first, pause in TRIALS[trial]:
            getattr(writers, who)(kind, 0, first, seconds=seconds, pause=pause)
        while writers.working():
            time.sleep(1)
    finally:
        writers.stop()
        upkeep.stop()
    data, deletes, replaced = by_others(warehouse)
    added, deleted, refused = assert_rows(warehouse, expected, writers)
    print(f"\n{trial}, {seconds} s: {added} rows added, {deleted} deleted, {refused} commits refused;")
    print(f"{data} data files and {deletes} delete files written, {replaced} commits of upkeep, {totals(warehouse)} live")
    assert replaced > 0
    # And once more when all is quiet.
    upkeep.runner.run_once(code=(0, 1))
    assert_rows(warehouse, expected, writers)
    check = warehouse.java_check(TABLE)[TABLE]
    assert check["problems"] == []
