"""The functions' real binaries on an emulator: schedulers that tick, optimizers fed from the queues, each behind its gate."""

import collections
import contextlib
import json
import os
import pathlib
import threading
import time

import emulated
import gate
import runtime_api
import seed
import strikes
from botocore.exceptions import ClientError

STATE, LOCKS, BUCKETS, NAME = "icepress-state", "icepress-locks", 4, "icepress"
MAX_RECEIVES, VISIBILITY = 4, 20
# Short, so that minutes hold many deaths and successions.
TIMES = {"lease": 6, "lease_guard": 2, "claim": 8, "commit": 8, "check": 8, "first_backoff": 3, "longest_backoff": 15}
SCHEDULER_SECONDS, OPTIMIZER_SECONDS = 40, 60


class Worker:
    """One execution environment that is struck now and then, and the thread that invokes it."""

    def __init__(self, world: "Cloud", name: str, number: int, seconds: float):
        self.world, self.label = world, f"{name}-{number}"
        self.dice = world.plan.dice()
        self.function = runtime_api.Function(
            name, world.binaries / name, {}, seconds, world.folder / f"{self.label}.log"
        )
        self.gate = gate.Gate(world.endpoint, world.plan, lambda: self.function.process)
        self.function.environment = world.function_environment(self.gate.endpoint)
        self.invocations = 0
        self.thread = threading.Thread(target=self._live, daemon=True)

    def _live(self) -> None:
        try:
            self._live_on()
        except Exception as error:  # whatever it is, the trial must hear of it
            self.world.breakdowns[f"the thread of {self.label} broke down: {error!r}"] += 1

    def _live_on(self) -> None:
        while not self.world.stopping.is_set():
            if self.dice.random() < 0.1 and not self.world.plan.is_calm() and self.function.process is not None:
                self._strike_any_time()
            self.once()
            self._look_at_exit()

    def _strike_any_time(self) -> None:
        blow, process = strikes.after_a_time(self.dice, 4), self.function.process

        def run():
            time.sleep(blow.after_seconds)
            if process.poll() is None:
                self.world.plan.count(blow, "at any time")
                strikes.strike(process, blow)

        self.world.plan.run(run)

    def _look_at_exit(self) -> None:
        """A process that ended by anything but SIGKILL broke down."""
        process = self.function.process
        if process is not None and process.poll() not in (None, -9):
            self.world.breakdowns[f"{self.label} ended with {process.returncode}"] += 1

    def once(self) -> None:
        raise NotImplementedError

    def refused(self, error: runtime_api.FunctionError) -> None:
        """Deaths are what this is about; what the function itself calls an error is kept to be shown."""
        if error.kind not in ("Runtime.ExitError", "Sandbox.Timedout"):
            self.world.errors[f"{error.kind}: {str(error)[:160]}"] += 1

    def end(self) -> None:
        self.thread.join(timeout=90)
        self.function.end()
        self.gate.end()


class Scheduler(Worker):
    """Ticks, with a short rest between."""

    def once(self) -> None:
        try:
            answer = self.function.invoke(runtime_api.scheduled_event())
            self.invocations += 1
            self.world.ticked(self, answer)
        except runtime_api.FunctionError as error:
            self.refused(error)
        time.sleep(self.dice.uniform(0.2, 2))


class Optimizer(Worker):
    """Takes messages of all queues, as many event source mappings would hand them to it."""

    def __init__(self, *words):
        super().__init__(*words)
        self.mappings = [runtime_api.Mapping(self.world.sqs, url, self.function) for url in self.world.queues]

    def once(self) -> None:
        had = False
        for mapping in self.dice.sample(self.mappings, len(self.mappings)):
            # What is left of the visibility timeout after a death: shorter than the claim, or longer.
            mapping.retry_crashed = self.dice.randint(0, 2 * TIMES["claim"])
            try:
                had |= mapping.poll(wait_seconds=0)
            except ClientError as error:
                # AWS takes an old receipt in silence, MiniStack says so: the message had come back meanwhile.
                if error.response["Error"]["Code"] != "ReceiptHandleIsInvalid":
                    raise
                had = True
        if not had:
            time.sleep(0.3)


class Cloud:
    """The emulator, what `infra/` makes there in the same layout, and the workers."""

    def __init__(self, options, folder: pathlib.Path, plan: strikes.Plan):
        self.options, self.folder, self.plan = options, folder, plan
        self.stopping = threading.Event()
        self.breakdowns: collections.Counter = collections.Counter()
        self.errors: collections.Counter = collections.Counter()
        self.workers: list[Worker] = []
        self.full_ticks: collections.Counter = collections.Counter()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.binaries = pathlib.Path(os.environ["ICEPRESS_BIN_DIR"])
            self.endpoint = stack.enter_context(emulated.emulator(self.options.emulator, self.folder))
            self._deploy()
            stack.callback(self.stop)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _deploy(self) -> None:
        seed.aws("s3", self.endpoint).create_bucket(Bucket=seed.BUCKET)
        self.dynamo = seed.aws("dynamodb", self.endpoint)
        keys = [("pk", "S", "HASH"), ("sk", "S", "RANGE")]
        due = [("due_bucket", "S", "HASH"), ("due_at", "N", "RANGE")]
        self.dynamo.create_table(
            TableName=STATE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, _, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind, _ in keys + due],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "due",
                    "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, _, kind in due],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        self.dynamo.create_table(
            TableName=LOCKS,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "entityId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "entityId", "AttributeType": "S"}],
        )
        self.sqs = seed.aws("sqs", self.endpoint)
        self.queues, self.dead = [], []
        for bucket in range(BUCKETS):
            dead = self.sqs.create_queue(QueueName=f"{NAME}-tasks-{bucket}-dlq")["QueueUrl"]
            arn = self.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
            attributes = {"VisibilityTimeout": str(VISIBILITY), "RedrivePolicy": policy}
            self.queues.append(self.sqs.create_queue(QueueName=f"{NAME}-tasks-{bucket}", Attributes=attributes)["QueueUrl"])
            self.dead.append(dead)

    def function_environment(self, endpoint: str) -> dict[str, str]:
        catalog = {"type": "glue", "lock-impl": "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager", "lock.table": LOCKS}
        return {
            "ICEPRESS_STATE_TABLE": STATE,
            "ICEPRESS_BUCKETS": str(BUCKETS),
            "ICEPRESS_QUEUE_URL_TEMPLATE": self.queues[0].removesuffix("-0") + "-{bucket}",
            "ICEPRESS_PAYLOAD_LOCATION": f"s3://{seed.BUCKET}/icepress",
            "ICEPRESS_CATALOGS": json.dumps({"lake": catalog}),
            "ICEPRESS_TIMES": json.dumps(TIMES),
            "RUST_LOG": "info",
            "RUST_BACKTRACE": "1",
            "AWS_ACCESS_KEY_ID": seed.ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": seed.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": endpoint,
        }

    def for_writers(self) -> dict:
        return {"endpoint": self.endpoint}

    def catalog(self):
        return seed.catalog(self.endpoint)

    def start(self) -> None:
        for number in range(self.options.schedulers):
            self.workers.append(Scheduler(self, "icepress-scheduler", number, SCHEDULER_SECONDS))
        for number in range(self.options.optimizers):
            self.workers.append(Optimizer(self, "icepress-optimizer", number, OPTIMIZER_SECONDS))
        self.mappings = [mapping for worker in self.workers if isinstance(worker, Optimizer) for mapping in worker.mappings]
        for worker in self.workers:
            worker.thread.start()

    def ticked(self, worker: Worker, answer: dict) -> None:
        if not answer.get("unfinished") and not answer.get("not_begun") and not answer.get("held_by_others"):
            self.full_ticks[worker.label] += 1

    def stop(self) -> None:
        self.stopping.set()
        for worker in self.workers:
            worker.end()
        self.workers = []

    # -- what is left

    def rows(self) -> dict[str, list[dict]]:
        """Rows of the state by what they are: layout, bucket, table, process, task."""
        kinds = collections.defaultdict(list)
        for page in self.dynamo.get_paginator("scan").paginate(TableName=STATE, ConsistentRead=True):
            for item in page["Items"]:
                row = {name: int(value["N"]) if "N" in value else value.get("S") for name, value in item.items()}
                kind = row["pk"].partition("#")[0]
                if kind == "process":
                    kind = "process" if row["sk"] == "process" else "task"
                if kind == "buckets":
                    kind = "layout" if row["sk"] == "layout" else "bucket"
                kinds[{"share": "table"}.get(kind, kind)].append(row)
        return kinds

    def waiting(self, urls: list[str]) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][name]) for url in urls for name in names)

    def wait_for_rest(self, seconds: float) -> str:
        """Empty once nothing is due, under way or queued, and schedulers looked twice and found it so; else what it waits for."""
        until = time.monotonic() + seconds
        quiet_at = None
        while time.monotonic() < until:
            waits = self._waits_for()
            if waits:
                quiet_at = None
            elif quiet_at is None:
                quiet_at = sum(self.full_ticks.values())
            elif sum(self.full_ticks.values()) >= quiet_at + 2 * len(self.full_ticks):
                return ""
            time.sleep(1)
        return self._waits_for() or "schedulers that complete a tick"

    def _waits_for(self) -> str:
        rows = self.rows()
        waits = [f"process {row['process']} of {row['table_id']} is {row['state']}" for row in rows["process"] if row["state"] != "ended"]
        waits += [f"{row['table_id']} is due" for row in rows["table"] if row.get("due_at") is not None]
        waits += [f"{row['table_id']} has an active process" for row in rows["table"] if row.get("active_process")]
        if messages := self.waiting(self.queues):
            waits.append(f"{messages} messages")
        return "; ".join(waits)

    def leases_held(self) -> list[str]:
        """Buckets that nobody could take now, and commit locks that were left and have not run out."""
        now = time.time() * 1000 - 1000 * TIMES["lease_guard"]
        return [f"bucket {row['sk']} by {row['owner']}" for row in self.rows()["bucket"] if row.get("owner") and row["expires_at"] > now]

    def locks_left(self) -> int:
        """A dead holder's lock row stays until the next commit of its table takes it over."""
        return len(self.dynamo.scan(TableName=LOCKS)["Items"])

    def dead_letters(self) -> list[tuple[str, str]]:
        """For each dead letter its body, and what explains it: so many receives, a worker's death among them. Empty where nothing does."""
        endings = collections.defaultdict(list)
        for mapping in self.mappings:
            for body, ending in mapping.endings:
                endings[body].append(ending.partition(";")[0])
        letters = []
        for url in self.dead:
            while received := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages"):
                for message in received:
                    seen = endings[message["Body"]]
                    is_explained = len(seen) >= MAX_RECEIVES and any(ending != "not done" for ending in seen)
                    letters.append((message["Body"], ", ".join(seen) if is_explained else ""))
        return letters

    def files(self, location: str) -> set[str]:
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        pages = seed.aws("s3", self.endpoint).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
        return {f"s3://{bucket}/{entry['Key']}" for page in pages for entry in page.get("Contents", [])}

    def logs(self) -> list[pathlib.Path]:
        return sorted(self.folder.glob("icepress-*.log"))
