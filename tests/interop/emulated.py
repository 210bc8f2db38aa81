"""AWS on loopback for the interop tests, and processes that are told what to do line by line."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time

import boto3
import readers

ACCOUNT = "123456789012"
REGION = "us-east-1"


@contextlib.contextmanager
def emulator(kind, folder):
    """Address of a fresh emulator: `mini` or `moto`."""
    script = readers.ROOT / "localstack" / f"{kind}_server.py"
    words = ["--no-auth"] if kind == "mini" else []
    with open(folder / f"{kind}.log", "wb") as log:
        server = subprocess.Popen([sys.executable, script, *words], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(timeout=30)


def environment(endpoint=None):
    """The caller's environment without his AWS, with the emulator's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ICEPRESS_", "PYICEBERG_"))}
    kept |= {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}
    kept |= {"AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    return kept | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})


def client(service, endpoint):
    keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **keys)


class Told:
    """A process that answers each line with a line of JSON."""

    def __init__(self, command, env, log):
        self._log = log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        self._unread = b""

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def said(self, timeout=60):
        """The next answer."""
        until = time.monotonic() + timeout
        while b"\n" not in self._unread:
            left = until - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not more:
                raise AssertionError(f"{'it ended' if ready else 'no answer'}: {self._log.read_text()[-3000:]}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def is_waiting(self, seconds=0.0):
        """Whether it has said nothing so far, nor for the seconds to come."""
        return b"\n" not in self._unread and not select.select([self.process.stdout], [], [], seconds)[0]

    def ask(self, line, timeout=60):
        self.tell(line)
        return self.said(timeout)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
