"""Growing and shrinking: one `icepress run`, then eight, then two, on one state. Of those that go half are killed where they stand, and
the others are asked to end.

What the runs do is read from the state itself: triggers of the trial keep every lease and every step of a task, with its time. So it is
known what a dead one held, who took it up and when, and whether anything that was done was done again."""

import collections
import math
import os
import re
import signal
import sqlite3
import time

import judge
import readers
import strikes

# `at` in seconds since 1970. A row is written whole at each change, so each change is an insert.
TRIGGERS = """
CREATE TABLE trial_lease (at REAL, bucket INTEGER, owner TEXT, epoch INTEGER);
CREATE TRIGGER trial_leases AFTER INSERT ON bucket WHEN NEW.owner IS NOT NULL BEGIN
  INSERT INTO trial_lease VALUES ((julianday('now') - 2440587.5) * 86400, NEW.bucket, NEW.owner, NEW.epoch);
END;
CREATE TABLE trial_task (at REAL, process TEXT, task INTEGER, attempt INTEGER, state TEXT, worker TEXT);
CREATE TRIGGER trial_tasks AFTER INSERT ON task BEGIN
  INSERT INTO trial_task VALUES ((julianday('now') - 2440587.5) * 86400, NEW.process, NEW.task_index, NEW.attempt, NEW.state, NEW.worker);
END;
"""
# Who a run is, in rows: it says so when it starts.
WORKER = re.compile(r'worker="?(icepress-[0-9a-f]{32})')
# How long a blow waits for the moment at which one of its victims is at work.
PATIENCE = 6
# How long a phase goes on at the most until each new run has held a bucket.
LATEST = 60


class Run:
    """One `icepress run`."""

    def __init__(self, world, number: int):
        self.number, self.log = number, world.folder / f"icepress-run-phase-{number}.log"
        self.log.unlink(missing_ok=True)
        self.worker, self.started_at = "", time.time()
        self.process = world.launch(self.log)

    def is_known(self) -> bool:
        """Whether it has said who it is."""
        found = WORKER.search(self.log.read_text(errors="replace"))
        self.worker = found.group(1) if found else ""
        return bool(found)


class Phases:
    """Changes the number of runs, and keeps what was seen at each change."""

    def __init__(self, world, numbers: list[int], plan: strikes.Plan):
        self.world, self.numbers, self.plan = world, numbers, plan
        self.dice = plan.dice()
        self.alive: list[Run] = []
        self.started = 0
        self.dead: dict[str, float] = {}
        self.growths: list[dict] = []
        self.deaths: list[dict] = []
        self.problems: list[str] = []
        # The state is made before anybody works on it.
        world.runner.json("tables")
        with self._state() as state:
            state.executescript(TRIGGERS)

    def _state(self) -> sqlite3.Connection:
        return sqlite3.connect(self.world.runner.state, timeout=60)

    def _rows(self, query: str, *values) -> list[sqlite3.Row]:
        with self._state() as state:
            state.row_factory = sqlite3.Row
            return state.execute(query, values).fetchall()

    def play(self, seconds: float, look) -> None:
        """All phases, of so many seconds each; `look` is called again and again."""
        for number in self.numbers:
            self._change_to(number)
            until = time.monotonic() + seconds
            while time.monotonic() < until or (time.monotonic() < until + LATEST and not self._has_spread()):
                time.sleep(0.2)
                look()
                self._look_at_exits()

    def _has_spread(self) -> bool:
        owners = {row["owner"] for row in self._rows("SELECT DISTINCT owner FROM trial_lease")}
        return all(run.worker in owners for run in self.alive)

    def _look_at_exits(self) -> None:
        for run in self.alive:
            if run.process.poll() is not None:
                self.world.breakdowns[f"icepress run {run.number} ended by itself with {run.process.returncode}"] += 1
        self.alive = [run for run in self.alive if run.process.poll() is None]

    def _change_to(self, number: int) -> None:
        before = len(self.alive)
        if number > before:
            new = [self._start() for _ in range(number - before)]
            until = time.monotonic() + 60
            while not all(run.is_known() for run in new) and time.monotonic() < until:
                time.sleep(0.02)
            self.problems += [f"icepress run {run.number} never said who it is" for run in new if not run.worker]
            self.growths.append({"at": time.time(), "from": before, "to": number, "new": {run.worker: run.started_at for run in new}})
        elif number < before:
            going = self.dice.sample(self.alive, before - number)
            killed = going[: math.ceil(len(going) / 2)]
            self._kill(killed)
            for run in going[len(killed) :]:
                run.process.terminate()
            for run in going[len(killed) :]:
                if not strikes.ended(run.process, 90):
                    self.problems.append(f"icepress run {run.number} did not end when asked")
                strikes.end(run.process)
            self.alive = [run for run in self.alive if run not in going]
        print(f"{time.strftime('%H:%M:%S')} {before} -> {number} runs", flush=True)

    def _start(self) -> Run:
        self.started += 1
        self.alive.append(Run(self.world, self.started))
        return self.alive[-1]

    def _held(self, workers: list[str]) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
        marks = ",".join("?" * len(workers))
        tasks = self._rows(f"SELECT process, task_index, attempt, worker FROM task WHERE state = 'running' AND worker IN ({marks})", *workers)
        leases = self._rows(f"SELECT bucket, epoch, owner FROM bucket WHERE owner IN ({marks})", *workers)
        return tasks, leases

    def _kill(self, victims: list[Run]) -> None:
        """At a moment when one of them works on a task, or else holds a lease, if there comes one."""
        workers = [run.worker for run in victims]
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            tasks, leases = self._held(workers)
            if tasks or (leases and time.monotonic() > until - PATIENCE / 2):
                break
            time.sleep(0.01)
        # Stopped first, so that what is seen is what they held when they died.
        for run in victims:
            run.process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        tasks, leases = self._held(workers)
        for run in victims:
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.wait()
            self.dead[run.worker] = time.time()
            self.plan.count(strikes.Strike("kill", 0.0), "at a change of the number")
        self.deaths.append({"at": time.time(), "victims": len(victims), "tasks": tasks, "leases": leases})

    def end(self) -> None:
        """Asks those that are left for their end."""
        for run in self.alive:
            run.process.terminate()
        for run in self.alive:
            if not strikes.ended(run.process, 60):
                self.world.breakdowns[f"icepress run {run.number} did not end when asked, in state {strikes.state_of(run.process)}"] += 1
            strikes.end(run.process)
        self.alive = []

    # -- what came of it

    def judge(self, made: dict) -> list[str]:
        """Every problem, as a sentence; prints how soon work spread, and what became of what the dead held."""
        leases = self._rows("SELECT min(at) AS at, bucket, owner, epoch FROM trial_lease GROUP BY bucket, epoch, owner ORDER BY at")
        steps = self._rows("SELECT * FROM trial_task ORDER BY rowid")
        problems = self.problems + self._spread(leases) + self._taken_up(leases, steps) + self._redone(steps)
        problems += self._rewritten(made, steps)
        self._shares(leases, steps)
        return problems

    def _spread(self, leases: list[sqlite3.Row]) -> list[str]:
        problems = []
        for growth in self.growths:
            first: dict[str, float] = {}
            for lease in leases:
                if lease["owner"] in growth["new"]:
                    first.setdefault(lease["owner"], lease["at"])
            waits = sorted(at - growth["new"][owner] for owner, at in first.items())
            print(f"  {growth['from']} -> {growth['to']}: from its start to its first bucket each took {', '.join(f'{wait:.1f}' for wait in waits)} s")
            if len(first) < len(growth["new"]):
                problems.append(f"{len(growth['new']) - len(first)} of {len(growth['new'])} runs that came never held a bucket")
        epochs = collections.Counter((lease["bucket"], lease["epoch"]) for lease in leases)
        problems += [f"epoch {epoch} of bucket {bucket} had two owners" for (bucket, epoch), owners in epochs.items() if owners > 1]
        return problems

    def _taken_up(self, leases: list[sqlite3.Row], steps: list[sqlite3.Row]) -> list[str]:
        problems = []
        for death in self.deaths:
            waits = {"lease": [], "task": []}
            for held in death["leases"]:
                later = [lease["at"] for lease in leases if lease["bucket"] == held["bucket"] and lease["epoch"] > held["epoch"]]
                if later:
                    waits["lease"].append(min(later) - death["at"])
                else:
                    problems.append(f"nobody took bucket {held['bucket']} up after its owner's death")
            for held in death["tasks"]:
                mine = [step for step in steps if (step["process"], step["task"]) == (held["process"], held["task_index"])]
                later = [step["at"] for step in mine if step["attempt"] > held["attempt"]]
                if later:
                    waits["task"].append(min(later) - death["at"])
                elif mine[-1]["state"] == "running":
                    # Else its process was ended otherwise, which the judge looks at.
                    problems.append(f"nobody took up task {held['task_index']} of process {held['process']} after its worker's death")
            told = "; ".join(f"{len(seconds)} {what}s taken up after {max(seconds):.1f} s at the most" for what, seconds in waits.items() if seconds)
            print(f"  {death['victims']} killed with {len(death['tasks'])} tasks in hand and {len(death['leases'])} leases{': ' if told else ''}{told}")
        return problems

    def _redone(self, steps: list[sqlite3.Row]) -> list[str]:
        """A task is tried again only where its worker died with it or gave it back, and never once it is done."""
        problems, redone = [], 0
        tasks = collections.defaultdict(list)
        for step in steps:
            tasks[step["process"], step["task"]].append(step)
        for (process, task), mine in tasks.items():
            name = f"task {task} of process {process}"
            done = [place for place, step in enumerate(mine) if step["state"] == "done"]
            if len(done) > 1:
                problems.append(f"{name} was done {len(done)} times")
            for place, (before, step) in enumerate(zip(mine, mine[1:]), start=1):
                if step["state"] != "running" or step["attempt"] == before["attempt"]:
                    continue
                if done and place > done[0]:
                    problems.append(f"{name} was claimed again after it was done")
                if before["state"] == "running":
                    redone += 1
                    if before["worker"] not in self.dead:
                        problems.append(f"{name} was taken from a worker that lives")
        held = sum(len(death["tasks"]) for death in self.deaths)
        attempts = sum(step["state"] == "running" for step in steps)
        print(f"  {len(tasks)} tasks, {redone} of them begun a second time; the dead had {held} in hand; {attempts} rows of tasks at work")
        if redone > held:
            problems.append(f"{redone} tasks were begun again, and the dead had only {held} in hand")
        return problems

    def _rewritten(self, made: dict, steps: list[sqlite3.Row]) -> list[str]:
        """Bytes that were written for nothing: by attempts that others succeeded."""
        last: dict[tuple[str, int], int] = {}
        for step in steps:
            last[step["process"], step["task"]] = step["attempt"]
        catalog, counted, lost = self.world.catalog(), 0, 0
        for name in made:
            for path in self.world.files(catalog.load_table(name).metadata.location):
                found = judge.OUTPUT.search(path)
                if found is None or (found.group(3), int(found.group(1))) not in last:
                    continue  # no file of a rewrite, or one from before the phases
                size = os.path.getsize(readers.path_of(path))
                if last[found.group(3), int(found.group(1))] == int(found.group(2)):
                    counted += size
                else:
                    lost += size
        print(f"  {counted} bytes were written by each task's last attempt, {lost} by earlier ones")
        held = sum(len(death["tasks"]) for death in self.deaths)
        return [f"{lost} bytes were written twice, and nobody died at it"] if lost and not held else []

    def _shares(self, leases: list[sqlite3.Row], steps: list[sqlite3.Row]) -> None:
        """How the work was shared in the widest phase."""
        widest = max(self.growths, key=lambda growth: growth["to"], default=None)
        if widest is None:
            return
        ends = [death["at"] for death in self.deaths if death["at"] > widest["at"]]
        end = min(ends, default=math.inf)
        within = lambda rows, who: collections.Counter(row[who] for row in rows if widest["at"] <= row["at"] < end)  # noqa: E731
        claims = {(step["process"], step["task"], step["attempt"]): step for step in steps if step["state"] == "running"}
        for what, counts in (("leases", within(leases, "owner")), ("tasks", within(claims.values(), "worker"))):
            print(f"  {what} of each of {widest['to']} runs: {', '.join(str(count) for _, count in counts.most_common())}")
