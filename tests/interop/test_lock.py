"""Our commit lock and Java's `DynamoDbLockManager` on one lock table: they exclude each other, and outlive each other."""

import signal
import time

import beside_java
import cli
import emulated
import pytest
import readers

LOCKS = "locks"
JAVA_LEASE = 2.0
OUR_LEASE = 4.0
HOLDER = cli.BINARY.with_name("lock-holder")


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    with emulated.emulator("mini", tmp_path_factory.mktemp("locks")) as endpoint:
        yield endpoint


class Sides:
    """Both sides, each a process, on a lock of its own for every test."""

    def __init__(self, endpoint, folder, entity):
        self.endpoint, self.folder, self.entity = endpoint, folder, entity
        self.dynamodb = emulated.client("dynamodb", endpoint)
        self.processes = []

    def _start(self, command, name):
        process = emulated.Told(command, emulated.environment(self.endpoint), self.folder / f"{name}.log")
        self.processes.append(process)
        assert process.said(timeout=60)["ready"]
        return process

    def java(self, name="java"):
        words = ["--lock-table", LOCKS, "--endpoint", self.endpoint, "--lease-ms", str(int(JAVA_LEASE * 1000))]
        return self._start(readers.java_command("lock", *words, "--heartbeat-ms", "300", "--interval-ms", "200"), name)

    def ours(self, name="ours"):
        return self._start([str(HOLDER), LOCKS], name)

    def row(self):
        answer = self.dynamodb.get_item(TableName=LOCKS, Key={"entityId": {"S": self.entity}}, ConsistentRead=True)
        return answer.get("Item")

    def wait_for_owner(self, owner):
        until = time.monotonic() + 30
        while (row := self.row()) is None or row["ownerId"]["S"] != owner:
            assert time.monotonic() < until, f"{owner} never held it: {row}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def pair(java, aws, tmp_path_factory):
    """A process of each side that outlives the tests. Java first: it makes the lock table."""
    if not HOLDER.is_file():
        pytest.fail(f"{HOLDER} is missing: cargo build -p icepress-tests")
    sides = Sides(aws, tmp_path_factory.mktemp("pair"), None)
    yield sides.java(), sides.ours()
    for process in sides.processes:
        process.end()


@pytest.fixture
def sides(pair, aws, tmp_path, request):
    sides = Sides(aws, tmp_path, f"db.{request.node.name}")
    yield sides
    assert sides.row() is None, "a lock was left behind"
    for process in sides.processes:
        process.end()


def test_ours_waits_while_java_holds_and_gets_it_after(sides, pair):
    java, ours = pair
    assert java.ask(f"acquire {sides.entity} s3://java/1.metadata.json")["acquire"]
    ours.tell(f"acquire {sides.entity} s3://ours/2.metadata.json")
    # Twice Java's lease: its heartbeats alone keep us out.
    assert ours.is_waiting(2 * JAVA_LEASE)
    assert sides.row()["ownerId"]["S"] == "s3://java/1.metadata.json"
    assert java.ask(f"release {sides.entity} s3://java/1.metadata.json")["release"]
    said = ours.said()
    assert said["acquire"] and 0 < said["left"] <= OUR_LEASE / 2 * 1000
    row = sides.row()
    assert set(row) == {"entityId", "ownerId", "version", "leaseDurationMs"}
    assert row["leaseDurationMs"] == {"N": "4000"}
    ours.ask("release")
    assert sides.row() is None


def test_java_waits_while_ours_holds_and_gets_it_within_its_sleep(sides, pair):
    java, ours = pair
    assert ours.ask(f"acquire {sides.entity} s3://ours/1.metadata.json")["acquire"]
    java.tell(f"acquire {sides.entity} s3://java/2.metadata.json")
    assert java.is_waiting(0.5)
    assert ours.ask("release")["release"]
    # It sleeps the lease that it saw, then takes the row that is gone by then: no more than one such sleep.
    said = java.said()
    assert said["acquire"] and said["ms"] < 2 * OUR_LEASE * 1000
    sides.wait_for_owner("s3://java/2.metadata.json")
    assert java.ask(f"release {sides.entity} s3://java/2.metadata.json")["release"]
    assert sides.row() is None


def test_ours_takes_over_from_a_java_that_died_once_the_row_stood_still(sides):
    java, ours = sides.java(), sides.ours()
    assert java.ask(f"acquire {sides.entity} s3://java/1.metadata.json")["acquire"]
    java.process.send_signal(signal.SIGKILL)
    java.process.wait()
    said = ours.ask(f"acquire {sides.entity} s3://ours/2.metadata.json")
    assert said["acquire"]
    assert said["ms"] >= JAVA_LEASE * 1000, "not before the row stood still for the lease in it"
    ours.ask("release")
    assert sides.row() is None


def test_java_steals_from_ours_that_was_killed(sides):
    java, ours = sides.java(), sides.ours()
    assert ours.ask(f"acquire {sides.entity} s3://ours/1.metadata.json")["acquire"]
    ours.process.send_signal(signal.SIGKILL)
    ours.process.wait()
    said = java.ask(f"acquire {sides.entity} s3://java/2.metadata.json")
    assert said["acquire"] and said["ms"] >= OUR_LEASE * 1000
    assert java.ask(f"release {sides.entity} s3://java/2.metadata.json")["release"]


def test_ours_that_slept_leaves_java_s_lock_alone_and_may_change_nothing(sides, pair):
    java, ours = pair
    assert ours.ask(f"acquire {sides.entity} s3://ours/1.metadata.json")["left"] > 0
    ours.process.send_signal(signal.SIGSTOP)
    assert java.ask(f"acquire {sides.entity} s3://java/2.metadata.json")["acquire"]
    ours.process.send_signal(signal.SIGCONT)
    assert ours.ask("left")["left"] == 0
    assert ours.ask("release")["release"]
    time.sleep(0.5)
    assert sides.row()["ownerId"]["S"] == "s3://java/2.metadata.json"
    # And it still waits like everybody else.
    ours.tell(f"acquire {sides.entity} s3://ours/3.metadata.json")
    assert ours.is_waiting(JAVA_LEASE + 0.5)
    assert java.ask(f"release {sides.entity} s3://java/2.metadata.json")["release"]
    assert ours.said()["acquire"] and ours.ask("release")["release"]


def test_turns_beside_java_never_overlap_and_nobody_starves(sides, pair):
    """Both take turn after turn, as fast as they may, until each had two: ours although Java takes the lock again at
    once, Java although ours looks far more often than it."""
    processes = dict(zip(("java", "ours"), pair))
    turns = dict.fromkeys(processes, 0)
    for name, process in processes.items():
        process.tell(f"acquire {sides.entity} s3://{name}/0")
    waiting = set(processes)
    until = time.monotonic() + 90
    while waiting:
        assert time.monotonic() < until, f"one side starves: {turns}"
        for name in list(waiting):
            process = processes[name]
            if process.is_waiting(0.02):
                continue
            owner = f"s3://{name}/{turns[name]}"
            assert process.said()["acquire"], "it gave up"
            time.sleep(0.1)
            # Of a holder that took longer than half its lease nothing is promised.
            if name == "java" or process.ask("left")["left"] > 0:
                assert sides.row()["ownerId"]["S"] == owner, "overtaken within half of its lease"
            assert process.ask("release" if name == "ours" else f"release {sides.entity} {owner}")["release"]
            turns[name] += 1
            if min(turns.values()) < 2:
                process.tell(f"acquire {sides.entity} s3://{name}/{turns[name]}")
            else:
                waiting.discard(name)


# -- a whole commit, beside Java's Glue catalog with its lock manager, which sends no VersionId


def test_upkeep_under_the_lock_beside_a_java_writer_loses_nothing(java, icepress, tmp_path):
    with emulated.emulator("moto", tmp_path) as endpoint:
        lake = beside_java.Lake(
            tmp_path,
            java=["--kind", "glue", "--endpoint", endpoint, "--lock-table", LOCKS],
            ours={
                "type": "glue",
                "glue.endpoint": endpoint,
                "dynamodb.endpoint": endpoint,
                "lock-impl": "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
                "lock.table": LOCKS,
            },
        )
        lake.compacted_while_java_writes()
        assert emulated.client("dynamodb", endpoint).scan(TableName=LOCKS)["Count"] == 0
