"""A real process that deletes and is killed at chosen calls: nothing that any snapshot needs is gone, and the next run goes on. All
calls, and at random for as long as you like: tests/kills cleaner."""

import pathlib
import shutil
import sys

import conftest
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "chaos"))


@pytest.mark.parametrize("kind", ["expire", "orphans"])
def test_c36_what_is_killed_while_it_deletes_loses_nothing_and_is_gone_on_with(icepress, java, kind, tmp_path):
    if not shutil.which("cc"):
        conftest.missing("a C compiler", "install one (Debian: apt-get install gcc)")
    import cleaner

    counts = cleaner.one_by_one(tmp_path / "trial", kind, 7, 6, by_java=True)
    print(dict(counts))
    assert counts["killed"] >= 5
    assert counts["read by Java"] >= 3 * counts["killed"]
    assert kind != "expire" or counts["resumed"] > 0
