"""A real `icepress run` that is killed at the same table again and again: the others are served, that one is put off, and people are told.

The table's manifest list is a pipe for that time: whoever reads it hears nothing, and is killed as soon as it has begun to.
"""

import errno
import json
import os
import signal
import subprocess
import time

import cli
import pyarrow as pa
import pytest
import readers

# Leases of the dead are over before the next run has begun.
TIMES = {"lease": 1, "lease_guard": 1, "first_backoff": 600}
OTHERS = ["shop.a", "shop.b", "shop.y", "shop.z"]
DEADLY = "shop.monster"
PATIENCE = 120


def rows(number):
    return pa.table({"id": pa.array([number], pa.int64())})


@pytest.fixture
def warehouse(tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    catalog = warehouse.catalog()
    catalog.create_namespace("shop")
    for name in [*OTHERS, DEADLY]:
        table = catalog.create_table(name, rows(0).schema)
        for number in range(6):
            table.append(rows(number))
    return warehouse


def files(warehouse, name):
    return len(warehouse.load(name).inspect.files())


def write_end(pipe):
    """The pipe's end for writing, once somebody reads; None while nobody does."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def is_killed(icepress, warehouse, pipe):
    """Runs once; whether it came to read the pipe and was killed for it."""
    command = [str(cli.BINARY), *icepress.words, "--state", str(icepress.state), "run", "--once"]
    run = subprocess.Popen(command, env=icepress.environment, cwd=icepress.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while run.poll() is None:
        assert time.monotonic() < until, "it neither reads the table nor ends"
        end = write_end(pipe)
        if end is not None:
            run.send_signal(signal.SIGKILL)
            run.wait()
            os.close(end)
            return True
        time.sleep(0.01)
    return False


def test_a_run_that_is_killed_at_one_table_serves_the_others_and_puts_that_one_off(icepress, warehouse):
    icepress = icepress(warehouse)
    icepress.environment["ICEPRESS_TIMES"] = json.dumps(TIMES)
    pipe = readers.path_of(warehouse.load(DEADLY).current_snapshot().manifest_list)
    aside = pipe.with_suffix(".aside")
    pipe.rename(aside)
    os.mkfifo(pipe)

    kills = 0
    while is_killed(icepress, warehouse, pipe):
        kills += 1
        assert kills < 5, "every run dies there"
        time.sleep(2.1)
    assert kills == 2, "it was tried twice, the second time by itself"
    assert [files(warehouse, name) for name in OTHERS] == [1, 1, 1, 1]

    told = icepress.call("doctor")
    assert DEADLY in told.stdout and "never ended" in told.stdout, told.stdout
    pipe.unlink()
    aside.rename(pipe)
    explained = icepress.call("explain", DEADLY)
    assert "begun 2 times and never ended" in explained.stdout, explained.stdout
    assert files(warehouse, DEADLY) == 6, "it is put off"
    # A person who asks for it is not kept waiting.
    assert icepress.call("compact", DEADLY).returncode == 0
    assert files(warehouse, DEADLY) == 1
