"""A short trial of tests/kills: the real binaries are killed and paused beside PyIceberg writers, on an emulator and on one state
file. For real: tests/kills aws --minutes 10 --seed N."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

CHAOS = pathlib.Path(__file__).resolve().parents[1] / "chaos" / "main.py"
TRIALS = {
    "aws": ["--minutes", "0.3", "--seed", "20261122", "--tables", "2", "--writers", "1", "--schedulers", "2", "--optimizers", "3"],
    "laptop": ["--minutes", "0.2", "--phases", "1,3,1", "--phase", "1", "--seed", "20261122", "--tables", "2", "--writers", "1"],
}


@pytest.mark.parametrize("place", TRIALS)
def test_what_is_killed_and_paused_loses_doubles_and_forgets_nothing(functions, place, tmp_path):
    folders = {path.parent for path in functions.values()}
    if len(folders) > 1:
        pytest.skip("the binaries lie in several folders: set ICEPRESS_BIN_DIR")
    environment = {**os.environ, "ICEPRESS_BIN_DIR": str(folders.pop())}
    command = [sys.executable, CHAOS, place, *TRIALS[place], "--keep", tmp_path / "trial"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0 and done.stdout.rstrip().endswith("all well"), done.stdout[-6000:] + done.stderr[-3000:]
    [kills] = re.findall(r"calm: (\d+) SIGKILLs", done.stdout)
    assert int(kills) > 0, done.stdout
