"""What the cloud tests need: terraform, and the functions' binaries."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "localstack"), str(pathlib.Path(__file__).resolve().parent)]

import bootstraps  # noqa: E402
import deployment  # noqa: E402
from children import Failure  # noqa: E402


@pytest.fixture(scope="session")
def terraform() -> str:
    """Path of terraform. Where it is missing: a failure if CI is set, a skip that says how to get it elsewhere."""
    try:
        return deployment.find_terraform()
    except Failure as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def functions(tmp_path_factory) -> dict[str, pathlib.Path]:
    """Paths of the functions' binaries and the command by crate name, as localstack/bootstraps.py finds or builds them."""
    return bootstraps.build(tmp_path_factory.mktemp("build") / "cargo.log", (*bootstraps.NAMES, "icepress"))
