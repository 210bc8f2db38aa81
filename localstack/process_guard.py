"""Ends what a server started, and ends the server when the one that started it is gone.

A function that is at work outlives a killed emulator, and a test that ends must leave nothing behind. The parent is
watched by its process id: a parent-death signal would fire when the *thread* that spawned us ends.
"""

import os
import signal
import subprocess
import threading
import time


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, children before grandchildren."""
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    children: dict[int, list[int]] = {}
    for line in listing.splitlines():
        child, parent = (int(part) for part in line.split())
        children.setdefault(parent, []).append(child)
    found, pending = [], [pid]
    while pending:
        for child in children.get(pending.pop(), []):
            found.append(child)
            pending.append(child)
    return found


def end_descendants(pid: int | None = None) -> None:
    """Kills every process below `pid` (default: below this one)."""
    for child in descendants(pid or os.getpid()):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass


def end_with_parent(parent: int | None) -> None:
    """From now on, ends this process and all below it once `parent` (default: who started us) is gone."""
    watched = parent or os.getppid()

    def watch() -> None:
        while True:
            time.sleep(1)
            alive = os.getppid() == watched if parent is None else _exists(watched)
            if not alive:
                end_descendants()
                os._exit(0)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
