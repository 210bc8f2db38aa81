"""Child processes that end with us, whole process groups at a time."""

import os
import pathlib
import signal
import subprocess


class Failure(Exception):
    """Something that a person has to hear of; `code` is the exit code (1: it failed, 2: something needed is not there)."""

    def __init__(self, text: str, code: int = 1):
        super().__init__(text)
        self.code = code


class Children:
    """Starts processes, each in a group of its own, and ends every group that is left."""

    def __init__(self):
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, command: list, log: pathlib.Path, environment: dict | None = None, pipe: bool = False) -> subprocess.Popen:
        """Starts `command` with its output in `log`; with `pipe` its stdout can be read instead."""
        with open(log, "ab") as output:
            self.processes[name] = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else output,
                stderr=output,
                env=environment,
                start_new_session=True,
                text=True,
            )
        return self.processes[name]

    def wait(self, name: str) -> int:
        """Waits for a process; returns its exit code."""
        return self.processes[name].wait()

    def run(self, name: str, command: list, log: pathlib.Path, environment: dict | None = None) -> int:
        """Starts a process and waits for it."""
        self.start(name, command, log, environment)
        return self.wait(name)

    def end_all(self) -> None:
        """Asks every group to end, then kills what is left of it: a function may outlive the server that started it."""
        for process in self.processes.values():
            _signal_group(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass
