"""Several `icepress run` on one state file and one SQLite catalog, each struck now and then."""

import collections
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import cli
import phases
import readers
import strikes

# The defaults are longer; so minutes hold more deaths and successions.
TIMES = {"lease": 6, "lease_guard": 1, "claim": 8, "commit": 8, "check": 8, "first_backoff": 3, "longest_backoff": 15}
# A blow that is aimed at nothing falls within so many seconds of the process's start or of the last blow.
LONGEST_LIFE = 5
# One that is aimed falls within so many seconds after the process told that it does something.
LONGEST_WORK = 0.4


class Run:
    """One `icepress run` after another: struck, and started again where it died."""

    def __init__(self, world: "Laptop", number: int):
        self.world, self.number = world, number
        self.dice = world.plan.dice()
        self.log = world.folder / f"icepress-run-{number}.log"
        self.process: subprocess.Popen | None = None
        self.thread = threading.Thread(target=self._live, daemon=True)

    def _start(self) -> None:
        self.process = self.world.launch(self.log)

    def _wait_for_work(self, seconds: float) -> None:
        """Until the process says something more, but not for ever."""
        until, size = time.monotonic() + seconds, self.log.stat().st_size
        while time.monotonic() < until and self.log.stat().st_size == size and not self.world.stopping.is_set():
            time.sleep(0.01)

    def _live(self) -> None:
        while not self.world.stopping.is_set():
            if self.process is None or self.process.poll() is not None:
                if self.process is not None and self.process.returncode != -signal.SIGKILL:
                    self.world.breakdowns[f"icepress run {self.number} ended with {self.process.returncode}"] += 1
                self._start()
            if self.world.plan.is_calm():
                self.world.stopping.wait(0.5)
                continue
            is_aimed = self.dice.random() < 0.75
            blow = strikes.after_a_time(self.dice, LONGEST_WORK if is_aimed else LONGEST_LIFE)
            if is_aimed:
                self._wait_for_work(LONGEST_LIFE)
            self.world.stopping.wait(blow.after_seconds)
            if self.world.plan.is_calm() or self.process.poll() is not None:
                continue
            self.world.plan.count(blow, "at work" if is_aimed else "at any time")
            finished = threading.Event()

            def run(process=self.process, blow=blow, finished=finished):
                try:
                    strikes.strike(process, blow)
                finally:
                    finished.set()

            self.world.plan.run(run)
            finished.wait()
            if blow.how != "pause":
                self.process.wait()
                self.world.stopping.wait(self.dice.random())


class Laptop:
    """The warehouse, the state file, and the runs."""

    def __init__(self, options, folder: pathlib.Path, plan: strikes.Plan):
        self.options, self.folder, self.plan = options, folder, plan
        self.stopping = threading.Event()
        self.breakdowns: collections.Counter = collections.Counter()
        self.errors: collections.Counter = collections.Counter()
        self.runs: list[Run] = []
        self.phases: phases.Phases | None = None
        self.mappings = []

    def __enter__(self):
        binaries = pathlib.Path(os.environ["ICEPRESS_BIN_DIR"])
        self.binary = binaries / "icepress"
        # A trial in the same folder begins anew.
        shutil.rmtree(self.folder / "lake", ignore_errors=True)
        self.warehouse = readers.Warehouse(self.folder / "lake")
        self.runner = cli.Icepress(self.warehouse)
        self.runner.environment["ICEPRESS_TIMES"] = json.dumps(TIMES)
        self.runner.environment["RUST_BACKTRACE"] = "1"
        return self

    def __exit__(self, *_):
        self.stop()

    def for_writers(self) -> dict:
        # Eight runs write the one file, and any of them may be stopped in the middle of it.
        return {"uri": f"sqlite:///{self.warehouse.db}?timeout=60", "warehouse": f"file://{self.warehouse.data}"}

    def catalog(self):
        return self.warehouse.catalog()

    def launch(self, log: pathlib.Path) -> subprocess.Popen:
        """One more `icepress run`, which logs there."""
        runner = self.runner
        command = [str(self.binary), *runner.words, "--state", str(runner.state), "--threads", "2", "--verify-rows", "all", "-vv"]
        with log.open("ab") as out:
            return subprocess.Popen(
                [*command, "run", "--interval", "1s"], env=runner.environment, cwd=runner.home, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )

    def start(self) -> None:
        self.runs = [Run(self, number) for number in range(self.options.runs)]
        for run in self.runs:
            run.thread.start()

    def stop(self) -> None:
        """Asks each for its end: one that does not come to it is stuck."""
        self._end_runs()
        if self.phases:
            self.phases.end()

    def play_phases(self, look) -> None:
        """Once there are no strikes any more: more runs and fewer, one after another."""
        self._end_runs()
        self.phases = phases.Phases(self, self.options.phases, self.plan)
        self.phases.play(self.options.phase, look)

    def _end_runs(self) -> None:
        self.stopping.set()
        for run in self.runs:
            run.thread.join(timeout=60)
            if run.process is None:
                continue
            if run.process.poll() is None:
                run.process.terminate()
                if not strikes.ended(run.process, 60):
                    self.breakdowns[f"icepress run {run.number} did not end when asked, in state {strikes.state_of(run.process)}"] += 1
            strikes.end(run.process)
        self.runs = []

    # -- what is left

    def rows(self) -> dict[str, list[dict]]:
        """Rows of the state by what they are: bucket, table, process, task, message."""
        if not self.runner.state.exists():
            return collections.defaultdict(list)
        names = {"bucket": "bucket", "table_state": "table", "process": "process", "task": "task", "message": "message"}
        with sqlite3.connect(f"file:{self.runner.state}?mode=ro", uri=True, timeout=60) as state:
            state.row_factory = sqlite3.Row
            return {kind: [dict(row) for row in state.execute(f"select * from {table}")] for table, kind in names.items()}

    def wait_for_rest(self, seconds: float) -> str:
        """Empty once nothing is due, under way or queued, for longer than a run rests between two rounds; else what it waits for."""
        until = time.monotonic() + seconds
        quiet_since = None
        while time.monotonic() < until:
            if self._waits_for():
                quiet_since = None
            elif quiet_since is None:
                quiet_since = time.monotonic()
            elif time.monotonic() > quiet_since + 6:
                return ""
            time.sleep(1)
        return self._waits_for() or "quiet that lasts"

    def _waits_for(self) -> str:
        rows = self.rows()
        waits = [f"process {row['process']} of {row['table_id']} is {row['state']}" for row in rows["process"] if row["state"] != "ended"]
        waits += [f"{row['table_id']} is due" for row in rows["table"] if row.get("due_at") is not None]
        waits += [f"{row['table_id']} has an active process" for row in rows["table"] if row.get("active_process")]
        messages = sum(not row["dead"] for row in rows["message"])
        return "; ".join(waits + ([f"{messages} messages"] if messages else []))

    def leases_held(self) -> list[str]:
        now = time.time() * 1000 - 1000 * TIMES["lease_guard"]
        return [f"bucket {row['bucket']} by {row['owner']}" for row in self.rows()["bucket"] if row["owner"] and row["expires_at"] > now]

    def locks_left(self) -> int:
        """SQLite's own catalog has no commit lock."""
        return 0

    def dead_letters(self) -> list[tuple[str, str]]:
        """Each dead letter's body, and what explains it: here the deaths of this trial, which are not told apart by message."""
        deaths = self.plan.killed() + self.plan.counts["pause"]
        return [
            (row["body"], f"{row['receive_count']} receives among {deaths} strikes" if row["receive_count"] >= 4 and deaths else "")
            for row in self.rows()["message"]
            if row["dead"]
        ]

    def files(self, location: str) -> set[str]:
        folder = readers.path_of(location)
        prefix = location.removesuffix(str(folder))
        return {f"{prefix}{path}" for path in folder.rglob("*") if path.is_file()}

    def logs(self) -> list[pathlib.Path]:
        return sorted(self.folder.glob("icepress-run-*.log"))
