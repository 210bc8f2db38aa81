"""`localstack/up --once` to its end: schedule, queue and the real binaries compact a Glue table with no hand in it."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_once(terraform, functions):
    done = subprocess.run(
        [
            ROOT / "localstack" / "up",
            "--once",
            "--scheduler",
            functions["icepress-scheduler"],
            "--optimizer",
            functions["icepress-optimizer"],
            "--cleaner",
            functions["icepress-cleaner"],
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "all well" in done.stdout, done.stdout
    left = subprocess.run(["ps", "-axo", "pid,args"], capture_output=True, text=True, check=True).stdout
    run = next(word for line in done.stdout.splitlines() for word in line.split() if "/target/localstack/run-" in word)
    assert pathlib.Path(run).name not in left, f"processes of {run} are left:\n{left}"
