"""What the interop tests share: the Java harness, the binary under test, warehouses in folders of their own."""

import os
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import cli  # noqa: E402
import readers  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--upkeep-seconds", type=int, default=15, help="how long upkeep runs beside a steady writer")
    parser.addoption("--trial-seconds", type=int, default=6, help="how long upkeep runs beside each set of writers")
    parser.addoption("--trial-pause", type=float, help="seconds between commits of each of these writers")


def missing(what, how):
    """A tool that the tests cannot bring along: a failure in CI, a skip on a laptop."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: {how}")
    pytest.skip(f"{what} is missing: {how}")


@pytest.fixture(scope="session")
def java():
    if not shutil.which("java"):
        missing("Java", "install a JDK of version 17 or newer (Debian: apt-get install openjdk-17-jdk-headless)")
    if not (readers.TARGET / "java" / "classes").is_dir():
        missing("the Java harness", "tests/run builds it with Maven (Debian: apt-get install maven)")
    return readers.java


@pytest.fixture(scope="session")
def icepress():
    if not cli.BINARY.is_file():
        missing(f"{cli.BINARY}", "cargo build -p icepress, or run tests/run")
    return cli.Icepress


@pytest.fixture(scope="session")
def java_warehouse(java, tmp_path_factory):
    """Every table that the harness can make. Written once; tests that change tables make their own."""
    warehouse = readers.Warehouse(tmp_path_factory.mktemp("java"))
    seed = os.environ.get("ICEPRESS_TEST_SEED", "1")
    warehouse.java("write", "--seed", seed)
    return warehouse


@pytest.fixture(scope="session")
def before(java_warehouse):
    """What the readers see of the Java tables before anything was compacted. Tests must ask for this first."""
    return readers.View(java_warehouse)


@pytest.fixture(scope="session")
def compacted(icepress, java_warehouse, before):
    """The Java tables after one run: what the run said, and what the readers see since."""
    runner = icepress(java_warehouse)
    # What became of each table is for the tests to judge, one by one.
    outcome = runner.run_once(code=(0, 1))
    return outcome, readers.View(java_warehouse), runner
