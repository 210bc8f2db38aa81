"""The same flow on moto, the second opinion: infra/ applied to it, and the two binaries driven over Lambda's Runtime API."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import runtime_api
import seed
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import EqualTo

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Stack:
    """infra/ on moto: the functions' environment as terraform set it, and the queues."""

    def __init__(self, endpoint: str, log_folder: pathlib.Path, functions: dict):
        self.endpoint, self.log_folder, self.functions = endpoint, log_folder, functions
        self.sqs = seed.aws("sqs", endpoint)
        # The queues of tasks: nobody here works the errands that a tick leaves for later.
        self.queues = [url for url in self.sqs.list_queues()["QueueUrls"] if "-tasks-" in url and not url.endswith("-dlq")]
        self.dead = [url for url in self.sqs.list_queues()["QueueUrls"] if url.endswith("-dlq")]

    def icepress(self, *arguments: str) -> tuple[int, dict]:
        """The command on the deployed state: its exit code and the JSON that it printed."""
        command = self.functions["icepress"]
        environment = {"HOME": str(self.log_folder), **self.environment("icepress-scheduler")}
        done = subprocess.run([command, "--deployed", "--json", *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def function(self, name: str, **extra: str) -> runtime_api.Function:
        """An execution environment of one function, with the environment that is deployed."""
        deployed = seed.aws("lambda", self.endpoint).get_function_configuration(FunctionName=name)
        environment = {**self.environment(name), **extra}
        return runtime_api.Function(name, self.functions[name], environment, deployed["Timeout"], self.log_folder / f"{name}.log")

    def environment(self, name: str) -> dict[str, str]:
        """What terraform set for a function, and what reaches the emulator."""
        deployed = seed.aws("lambda", self.endpoint).get_function_configuration(FunctionName=name)
        credentials = {"AWS_ACCESS_KEY_ID": seed.ACCOUNT, "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": seed.REGION, "AWS_ENDPOINT_URL": self.endpoint}
        return {**deployed["Environment"]["Variables"], **credentials}

    def waiting(self, urls: list[str]) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][name]) for url in urls for name in names)

    def tick(self, scheduler: runtime_api.Function) -> None:
        scheduler.invoke(runtime_api.scheduled_event())

    def drain(self, optimizer: runtime_api.Function) -> list[runtime_api.Mapping]:
        """Feeds the optimizer until no message is left that can be had now."""
        mappings = [runtime_api.Mapping(self.sqs, url, optimizer) for url in self.queues]
        while any([mapping.poll() for mapping in mappings]):
            pass
        return mappings


@pytest.fixture(scope="module")
def stack(terraform, functions, tmp_path_factory):
    """One apply for the module: it takes a minute and a half."""
    up = subprocess.Popen(
        [
            sys.executable,
            ROOT / "localstack" / "up.py",
            "--emulator",
            "moto",
            "--no-seed",
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
    )
    try:
        endpoint, printed = None, []
        for line in up.stdout:
            printed.append(line)
            if line.strip().startswith("endpoint:"):
                endpoint = line.split()[1]
            if "running until stopped" in line:
                break
        else:
            pytest.fail("localstack/up did not come up:\n" + "".join(printed))
        # What it prints from now on must not fill the pipe.
        threading.Thread(target=up.stdout.read, daemon=True).start()
        yield Stack(endpoint, tmp_path_factory.mktemp("functions"), functions)
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(timeout=60)


def test_tick_then_tasks_then_nothing(stack):
    before = seed.make(stack.endpoint, "ticked")
    with stack.function("icepress-scheduler") as scheduler, stack.function("icepress-optimizer") as optimizer:
        stack.tick(scheduler)
        assert stack.waiting(stack.queues) > 0, "the scheduler queued nothing for a table of many small files"
        mappings = stack.drain(optimizer)
        assert sum(mapping.handled for mapping in mappings) > 0
        assert [mapping.refused for mapping in mappings] == [[] for _ in mappings]

        after = seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, "ticked")))
        assert (after.rows, after.fingerprint) == (before.rows, before.fingerprint)
        assert after.operation == "replace"
        assert after.data_files == seed.DAYS < before.data_files

        stack.tick(scheduler)
        assert stack.waiting(stack.queues) == 0, "a table that was just compacted was planned again"
        again = seed.catalog(stack.endpoint).load_table((seed.DATABASE, "ticked"))
        assert again.metadata_location == after.metadata_location
    assert stack.waiting(stack.dead) == 0


def test_an_observed_table_is_reported_and_nothing_begins_until_its_mode_says_so(stack):
    before = seed.make(stack.endpoint, "observed")
    with stack.function("icepress-scheduler", ICEPRESS_MODE="observe") as scheduler:
        stack.tick(scheduler)
        assert stack.waiting(stack.queues) == 0, "a task was queued for a table that is only observed"
    code, report = stack.icepress("report")
    assert code == 0
    worth = next(table for table in report["tables"] if table["table"].endswith(".observed"))
    assert worth["state"] == "observed" and worth["would"]["files"] == before.data_files, report
    assert report["sum"]["dollars"] > 0 and report["sum"]["with_work"] >= 1, report
    assert seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, "observed"))) == before

    modes = {"default": "observe", "table": {"glue.*.observed": "maintain"}}
    with stack.function("icepress-scheduler", ICEPRESS_MODE=json.dumps(modes)) as scheduler, stack.function("icepress-optimizer") as optimizer:
        stack.tick(scheduler)
        assert stack.waiting(stack.queues) > 0, "nothing began for a table that may be worked on now"
        stack.drain(optimizer)
    after = seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, "observed")))
    assert (after.rows, after.fingerprint) == (before.rows, before.fingerprint)
    assert after.data_files == seed.DAYS < before.data_files


def test_duplicate_of_a_finished_task_is_acknowledged_and_changes_nothing(stack):
    seed.make(stack.endpoint, "doubled")
    with stack.function("icepress-scheduler") as scheduler, stack.function("icepress-optimizer") as optimizer:
        stack.tick(scheduler)
        copies = []
        for url in stack.queues:
            for message in stack.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", []):
                copies.append((url, message["Body"]))
        assert copies, "the scheduler queued nothing"
        stack.drain(optimizer)
        done = seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, "doubled")))
        assert done.operation == "replace"

        for url, body in copies:
            stack.sqs.send_message(QueueUrl=url, MessageBody=body)
        mappings = stack.drain(optimizer)
        assert sum(mapping.handled for mapping in mappings) == len(copies)
        assert [mapping.refused for mapping in mappings] == [[] for _ in mappings]
        again = seed.catalog(stack.endpoint).load_table((seed.DATABASE, "doubled"))
        assert again.metadata_location == done.metadata_location


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.5])
def test_an_optimizer_killed_at_work_is_succeeded_and_no_row_is_lost_or_doubled(stack, seconds):
    name = f"killed_{int(seconds * 100)}"
    before = seed.make(stack.endpoint, name)
    with stack.function("icepress-scheduler") as scheduler, stack.function("icepress-optimizer") as optimizer:
        stack.tick(scheduler)
        assert stack.waiting(stack.queues) > 0
        # The killed one's message comes back after its deadline, as deployed; while its claim still stands, the successor lets it rest.
        mappings = [runtime_api.Mapping(stack.sqs, url, optimizer, timeout_seconds=40, retry_crashed=42) for url in stack.queues]
        optimizer.start()
        killer = threading.Timer(seconds, optimizer.process.kill)
        killer.start()
        while stack.waiting(stack.queues) > 0:
            for mapping in mappings:
                mapping.poll()
        killer.cancel()
        # Whatever the killed one had finished and not committed, the next tick commits.
        stack.tick(scheduler)
        while stack.waiting(stack.queues) > 0:
            for mapping in mappings:
                mapping.poll()
    after = seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, name)))
    assert (after.rows, after.fingerprint) == (before.rows, before.fingerprint)
    assert after.operation == "replace"
    assert after.data_files == seed.DAYS
    assert stack.waiting(stack.dead) == 0


def test_a_writer_beside_it_loses_nothing(stack):
    """PyIceberg appends and deletes from a thread of its own while ticks and tasks run."""
    seed.make(stack.endpoint, "shared", commits=10)
    written, deleted, stop = set(range(3000)), set(), threading.Event()

    def write():
        table, generator, next_id = seed.catalog(stack.endpoint).load_table((seed.DATABASE, "shared")), random.Random(7), 1_000_000
        while not stop.is_set():
            victim = generator.randrange(3000)
            for change, effect in (
                (lambda: table.append(seed.batch(generator, next_id, 30)), lambda: written.update(range(next_id, next_id + 30))),
                (lambda: table.delete(EqualTo("id", victim)), lambda: deleted.add(victim)),
            ):
                table.refresh()
                try:
                    change()
                except (CommitFailedException, ValidationException):
                    continue  # it lost to a rewrite and changed nothing
                effect()
            next_id += 30

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with stack.function("icepress-scheduler") as scheduler, stack.function("icepress-optimizer") as optimizer:
            replaced = 0
            for _ in range(6):
                stack.tick(scheduler)
                stack.drain(optimizer)
                table = seed.catalog(stack.endpoint).load_table((seed.DATABASE, "shared"))
                replaced = sum(snapshot.summary.operation.value == "replace" for snapshot in table.snapshots())
    finally:
        stop.set()
        writer.join()
    rows = seed.catalog(stack.endpoint).load_table((seed.DATABASE, "shared")).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
    assert sorted(rows) == sorted(written - deleted)
    assert replaced > 0, "compaction never won against the writer"


def test_a_message_that_is_no_task_ends_in_the_dead_letter_queue_alone(stack):
    url = stack.queues[0]
    dead = url + "-dlq"
    stack.sqs.send_message(QueueUrl=url, MessageBody='{"not": "a task"}')
    with stack.function("icepress-optimizer") as optimizer:
        mapping = runtime_api.Mapping(stack.sqs, url, optimizer, retry_refused=0)
        while mapping.poll():
            assert len(mapping.refused) <= 5, "five receives are the most"
        assert optimizer.process.poll() is None, "one bad message must not end the function"
    assert mapping.handled == 0, "a message that is no task was acknowledged"
    assert stack.waiting([dead]) == 1
    stack.sqs.purge_queue(QueueUrl=dead)


def test_the_command_finds_the_deployed_system_well_shows_its_work_and_cancels_it(stack):
    seed.make(stack.endpoint, "cancelled")
    with stack.function("icepress-scheduler") as scheduler, stack.function("icepress-optimizer") as optimizer:
        stack.tick(scheduler)
        code, doctor = stack.icepress("doctor")
        wrong = [finding for finding in doctor["findings"] if finding["severity"] == "wrong"]
        assert (code, wrong) == (0, []), doctor
        subjects = {finding["subject"].split(" ")[0] for finding in doctor["findings"]}
        assert {"state", "queues", "clock", "catalog", "schedulers", "large", "versions", "buckets"} <= subjects, doctor
        [versions] = [finding for finding in doctor["findings"] if finding["subject"] == "versions"]
        [own] = [finding["seen"].split(" ")[1] for finding in doctor["findings"] if finding["subject"] == "icepress"]
        assert versions["severity"] == "well" and f"scheduler {own}, " in versions["seen"], versions
        # An optimizer of another build notes itself, as one does that was left out of a deployment.
        table = stack.environment("icepress-scheduler")["ICEPRESS_STATE_TABLE"]
        now = int(time.time() * 1000)
        note = {"pk": {"S": "versions"}, "sk": {"S": "optimizer#0.0.9"}, "component": {"S": "optimizer"}, "version": {"S": "0.0.9"}}
        note |= {name: {"N": str(value)} for name, value in (("first_at", now - 86_400_000), ("last_at", now), ("rev", 1))}
        seed.aws("dynamodb", stack.endpoint).put_item(TableName=table, Item=note)
        code, doctor = stack.icepress("doctor")
        told = [finding["seen"] for finding in doctor["findings"] if finding["subject"] == "versions" and finding["severity"] == "doubt"]
        assert code == 0 and "0.0.9" in told[0] and "at work together" in told[0], doctor
        assert told[1] == f"this command, {own}, is newer than the optimizer, 0.0.9", doctor
        seed.aws("dynamodb", stack.endpoint).delete_item(TableName=table, Key={name: note[name] for name in ("pk", "sk")})

        before = seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, "cancelled")))
        _, listed = stack.icepress("processes", f"{seed.DATABASE}.cancelled")
        [process] = listed["processes"]
        assert process["tasks"]["waiting"] > 0 and "optimizer" in process["waits_for"], process
        code, cancelled = stack.icepress("cancel", process["process"], "--reason", "tested")
        assert (code, cancelled["cancelled"]) == (0, True)
        stack.drain(optimizer)
        after = seed.look(seed.catalog(stack.endpoint).load_table((seed.DATABASE, "cancelled")))
        assert after == before, "a cancelled process wrote to its table"
        assert stack.icepress("processes", f"{seed.DATABASE}.cancelled")[1]["processes"] == []
    assert stack.waiting(stack.queues) == 0


def test_buckets_are_given_up_and_added_while_tasks_are_in_their_queues(stack):
    before = [seed.make(stack.endpoint, name, commits=8, rows=50) for name in ("moved_a", "moved_b", "moved_c")]
    _, shown = stack.icepress("buckets")
    number = shown["buckets"]
    assert number == len(stack.queues) > 1
    with stack.function("icepress-scheduler") as scheduler, stack.function("icepress-optimizer") as optimizer:
        stack.tick(scheduler)
        queued = stack.waiting(stack.queues)
        code, resized = stack.icepress("buckets", "resize", "1")
        assert (code, resized["before"], resized["after"]) == (0, number, 1)
        assert resized["settled"] == (resized["under_way"] == 0)
        assert stack.waiting(stack.queues) == queued, "what was queued stays where it is"
        stack.drain(optimizer)
        stack.tick(scheduler)
        code, shown = stack.icepress("buckets")
        assert (shown["buckets"], shown["moving"], len(shown["each"])) == (1, False, 1), shown
        for name, was in zip(("moved_a", "moved_b", "moved_c"), before):
            table = seed.catalog(stack.endpoint).load_table((seed.DATABASE, name))
            assert seed.look(table).fingerprint == was.fingerprint
            assert [snapshot.summary.operation.value for snapshot in table.snapshots()].count("replace") == 1

        # The functions' environment still names the old number; nothing of it counts, and only one queue is used.
        seed.make(stack.endpoint, "moved_d", commits=8, rows=50)
        stack.tick(scheduler)
        [used] = [url for url in stack.queues if stack.waiting([url])]
        assert used.endswith("-0")

        # More buckets than there are queues are refused, and change nothing; as many as there are, are not.
        refused = subprocess.run(
            [stack.functions["icepress"], "--deployed", "buckets", "resize", str(number + 1)],
            env={"HOME": str(stack.log_folder), **stack.environment("icepress-scheduler")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 2 and "Terraform" in refused.stderr, refused
        assert stack.icepress("buckets")[1]["buckets"] == 1
        code, resized = stack.icepress("buckets", "resize", str(number))
        assert (code, resized["after"], resized["settled"]) == (0, number, True)
        stack.drain(optimizer)
        stack.tick(scheduler)
        assert stack.waiting(stack.queues) == 0
    assert stack.waiting(stack.dead) == 0
