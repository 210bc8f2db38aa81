"""Both emulators as the project runs them, one process each for the whole session."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "localstack"))


@pytest.fixture(scope="session", params=["mini", "moto"])
def endpoint(request, tmp_path_factory):
    """Address of one of the emulators."""
    folder = tmp_path_factory.mktemp(request.param)
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, ROOT / "localstack" / f"{request.param}_server.py"], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(timeout=30)
