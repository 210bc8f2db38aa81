"""AWS and PostgreSQL on loopback for the interop tests, and processes that are told what to do line by line."""

import contextlib
import glob
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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


@contextlib.contextmanager
def postgresql(folder):
    """Port of a fresh PostgreSQL with the user `ice` and the database `lake`; None where it is not installed."""
    programs = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), *os.environ["PATH"].split(":")]
    programs = next((place for place in programs if os.path.isfile(f"{place}/initdb")), None)
    if programs is None:
        yield None
        return
    # It refuses to be root, and whom it is then has to get at its folder.
    lower = []
    home = folder / "postgresql"
    home.mkdir()
    if os.geteuid() == 0:
        home = pathlib.Path(tempfile.mkdtemp())
        shutil.chown(home, 65534, 65534)
        lower = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]

    def run(program, *words):
        return [*lower, f"{programs}/{program}", *words]

    with open(folder / "postgresql.log", "wb") as log:
        options = {"cwd": home, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        initdb = ["-D", home / "data", "-U", "ice", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(run("initdb", *initdb), check=True, **options)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = ["-D", home / "data", "-h", "127.0.0.1", "-p", str(port), "-k", home, "-c", "fsync=off"]
        server = subprocess.Popen(run("postgres", *words), **options)
        try:
            connect = ["-h", "127.0.0.1", "-p", str(port), "-U", "ice"]
            until = time.monotonic() + 60
            while subprocess.run([f"{programs}/createdb", *connect, "lake"], **options).returncode != 0:
                assert time.monotonic() < until and server.poll() is None, (folder / "postgresql.log").read_text()[-2000:]
                time.sleep(0.2)
            yield port
        finally:
            # At once, without checkpoints: nothing of it is kept.
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=30)
            if lower:
                shutil.rmtree(home, ignore_errors=True)


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
