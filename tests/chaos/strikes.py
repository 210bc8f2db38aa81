"""What is done to a process, where and how often: drawn from a seed, and counted."""

import collections
import dataclasses
import os
import random
import signal
import subprocess
import threading
import time


@dataclasses.dataclass
class Strike:
    """One blow. `how` is `kill`, `pause` (SIGSTOP, then SIGCONT) or `pause-kill` (SIGSTOP, then SIGKILL)."""

    how: str
    seconds: float
    # At which request of the process's life, among those whose name begins so; None strikes after a time instead.
    request: int | None = None
    of: str = ""
    # Whether the request takes effect before the blow falls, or waits for its end, or never happens.
    when: str = "before"
    after_seconds: float = 0.0


# Requests that are worth aiming at: those that decide something. The empty name is any request.
AIMS = [
    ("", 40, 4),
    ("AWSGlue.UpdateTable", 1, 3),
    ("DynamoDB.TransactWriteItems", 4, 3),
    ("DynamoDB.UpdateItem", 6, 2),
    ("DynamoDB.PutItem", 6, 2),
    ("DynamoDB.DeleteItem", 2, 1),
    ("SQS.SendMessage", 2, 1),
    ("SQS.ChangeMessageVisibility", 2, 1),
    ("S3.PUT", 12, 3),
]


class Plan:
    """Draws strikes until it is calm, and keeps count of them."""

    def __init__(self, dice: random.Random):
        self._dice = dice
        self._lock = threading.Lock()
        self._calm = threading.Event()
        self._under_way: list[threading.Thread] = []
        self.counts: collections.Counter = collections.Counter()
        self.by_place: collections.Counter = collections.Counter()

    def dice(self) -> random.Random:
        """Dice of one worker's own, which follow from the seed and the order of asking."""
        with self._lock:
            return random.Random(self._dice.getrandbits(64))

    def is_calm(self) -> bool:
        return self._calm.is_set()

    def calm(self) -> None:
        """No more strikes; returns when the last has ended."""
        self._calm.set()
        with self._lock:
            under_way = list(self._under_way)
        for thread in under_way:
            thread.join()

    def run(self, blow) -> None:
        """Runs a strike beside whoever asks, so that `calm` knows of it."""
        thread = threading.Thread(target=blow, daemon=True)
        with self._lock:
            self._under_way = [each for each in self._under_way if each.is_alive()] + [thread]
            thread.start()

    def count(self, strike: Strike, place: str) -> None:
        with self._lock:
            self.counts[strike.how] += 1
            self.by_place[f"{place} {strike.when}" if strike.request else place] += 1

    def killed(self) -> int:
        return self.counts["kill"] + self.counts["pause-kill"]

    def summary(self) -> str:
        return f"{self.killed()} SIGKILLs, {self.counts['pause'] + self.counts['pause-kill']} pauses"

    def places(self) -> str:
        return ", ".join(f"{place} {count}" for place, count in self.by_place.most_common())


def how(dice: random.Random) -> tuple[str, float]:
    """A blow, and its seconds: most pauses are short, some outlast every lease and claim."""
    kind = dice.choices(["kill", "pause", "pause-kill"], [8, 3, 1])[0]
    seconds = 0.0 if kind == "kill" else dice.choice([dice.uniform(0.05, 1), dice.uniform(1, 6), dice.uniform(6, 25)])
    return kind, seconds


def at_a_request(dice: random.Random) -> Strike:
    """The next blow at a process that is reached by requests."""
    kind, seconds = how(dice)
    name, highest, _ = dice.choices(AIMS, [weight for _, _, weight in AIMS])[0]
    return Strike(kind, seconds, request=dice.randint(1, highest), of=name, when=dice.choice(["before", "after", "late"]))


def after_a_time(dice: random.Random, longest: float) -> Strike:
    """The next blow at a process whose doing is not seen."""
    kind, seconds = how(dice)
    return Strike(kind, seconds, after_seconds=longest * dice.random() ** 2)


def strike(process: subprocess.Popen, blow: Strike) -> None:
    """Does it, and returns when it is over. A process that has ended by itself is left alone."""
    if process.poll() is not None:
        return
    if blow.how == "kill":
        process.send_signal(signal.SIGKILL)
        return
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(blow.seconds)
    finally:
        process.send_signal(signal.SIGCONT if blow.how == "pause" else signal.SIGKILL)


def state_of(process: subprocess.Popen) -> str:
    """One letter, as the kernel says it; empty where the process is gone."""
    try:
        with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def ended(process: subprocess.Popen, seconds: float) -> bool:
    """Whether it ends within so long."""
    try:
        process.wait(timeout=seconds)
        return True
    except subprocess.TimeoutExpired:
        return False


def end(process: subprocess.Popen) -> None:
    """Ends it whatever it does."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
