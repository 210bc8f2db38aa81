"""What the other tests rely on an emulator for: each of these was wrong in one of them as it comes, or must not become so."""

import concurrent.futures
import json
import pathlib
import signal
import subprocess
import sys
import time
import uuid

import pytest
import seed
from botocore.exceptions import ClientError

ROOT = pathlib.Path(__file__).resolve().parents[2]


def new(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:10]}"


def add_under_condition(endpoint: str, table: str, times: int) -> int:
    """Compare-and-swap increments of one counter, from a process of its own; the number that was accepted."""
    client, accepted = seed.aws("dynamodb", endpoint), 0
    while accepted < times:
        seen = client.get_item(TableName=table, Key={"pk": {"S": "counter"}}, ConsistentRead=True)["Item"]["n"]["N"]
        try:
            client.update_item(
                TableName=table,
                Key={"pk": {"S": "counter"}},
                UpdateExpression="SET n = :next",
                ConditionExpression="n = :seen",
                ExpressionAttributeValues={":next": {"N": str(int(seen) + 1)}, ":seen": {"N": seen}},
            )
            accepted += 1
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ConditionalCheckFailedException"
    return accepted


def replace_version(endpoint: str, database: str, table: str, times: int) -> int:
    """Increments a Glue table's parameter with VersionId, from a process of its own; the number that was accepted."""
    client, accepted = seed.aws("glue", endpoint), 0
    while accepted < times:
        seen = client.get_table(DatabaseName=database, Name=table)["Table"]
        change = {"Name": table, "Parameters": {"n": str(int(seen["Parameters"]["n"]) + 1)}}
        try:
            client.update_table(DatabaseName=database, TableInput=change, VersionId=seen["VersionId"], SkipArchive=True)
            accepted += 1
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ConcurrentModificationException"
    return accepted


def test_no_accepted_conditional_update_is_lost_between_processes(endpoint):
    client, table = seed.aws("dynamodb", endpoint), new("counter")
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.put_item(TableName=table, Item={"pk": {"S": "counter"}, "n": {"N": "0"}})
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        accepted = sum(pool.map(add_under_condition, [endpoint] * 4, [table] * 4, [25] * 4))
    assert int(client.get_item(TableName=table, Key={"pk": {"S": "counter"}})["Item"]["n"]["N"]) == accepted == 100


def test_glue_refuses_a_stale_version(endpoint):
    client, database = seed.aws("glue", endpoint), new("db")
    client.create_database(DatabaseInput={"Name": database})
    client.create_table(DatabaseName=database, TableInput={"Name": "t", "Parameters": {"n": "0"}})
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        accepted = sum(pool.map(replace_version, [endpoint] * 4, [database] * 4, ["t"] * 4, [10] * 4))
    assert int(client.get_table(DatabaseName=database, Name="t")["Table"]["Parameters"]["n"]) == accepted == 40


def test_a_repeated_transaction_token_changes_nothing(endpoint):
    client, table = seed.aws("dynamodb", endpoint), new("token")
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def add(amount: str) -> None:
        update = {"TableName": table, "Key": {"pk": {"S": "a"}}, "UpdateExpression": "ADD n :a", "ExpressionAttributeValues": {":a": {"N": amount}}}
        client.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="one-token")

    for _ in range(7):
        add("1")
    assert client.get_item(TableName=table, Key={"pk": {"S": "a"}})["Item"]["n"]["N"] == "1"
    with pytest.raises(ClientError) as refused:
        add("2")
    assert refused.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"


def test_tiering_configurations_leave_the_bucket_alone(endpoint):
    client, bucket = seed.aws("s3", endpoint), new("bucket")
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    tiers = [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]
    client.put_bucket_intelligent_tiering_configuration(
        Bucket=bucket, Id="cold", IntelligentTieringConfiguration={"Id": "cold", "Status": "Enabled", "Tierings": tiers}
    )
    found = client.get_bucket_intelligent_tiering_configuration(Bucket=bucket, Id="cold")["IntelligentTieringConfiguration"]
    assert found == {"Id": "cold", "Status": "Enabled", "Tierings": tiers}
    assert len(client.list_bucket_intelligent_tiering_configurations(Bucket=bucket)["IntelligentTieringConfigurationList"]) == 1
    client.delete_bucket_intelligent_tiering_configuration(Bucket=bucket, Id="cold")
    with pytest.raises(ClientError):
        client.get_bucket_intelligent_tiering_configuration(Bucket=bucket, Id="cold")
    assert client.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"


def test_conditional_puts_have_one_winner(endpoint):
    bucket = new("races")
    seed.aws("s3", endpoint).create_bucket(Bucket=bucket)

    def put(key: str) -> bool:
        try:
            seed.aws("s3", endpoint).put_object(Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for race in range(5):
            assert sum(pool.map(put, [f"key-{race}"] * 4)) == 1


def queue_pair(endpoint: str) -> tuple:
    """A queue with a dead-letter queue after one receive: (client, queue, dead letters, their ARN)."""
    client, name = seed.aws("sqs", endpoint), new("queue")
    dead = client.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    dead_arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
    queue = client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"]
    return client, queue, dead, dead_arn


def test_dead_letters_can_be_sent_back(endpoint):
    client, queue, dead, dead_arn = queue_pair(endpoint)
    client.send_message(QueueUrl=queue, MessageBody="again", MessageGroupId="table")
    assert len(client.receive_message(QueueUrl=queue, VisibilityTimeout=0)["Messages"]) == 1
    assert "Messages" not in client.receive_message(QueueUrl=queue)
    count = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert count["ApproximateNumberOfMessages"] == "1"
    assert client.start_message_move_task(SourceArn=dead_arn)["TaskHandle"]
    assert client.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["ApproximateNumberOfMessagesMoved"] == 1
    back = client.receive_message(QueueUrl=queue, WaitTimeSeconds=2, MessageSystemAttributeNames=["All"])["Messages"][0]
    assert back["Body"] == "again" and back["Attributes"]["ApproximateReceiveCount"] == "1"


def test_queue_policies_come_back_as_they_were_put(endpoint):
    client, queue, dead, dead_arn = queue_pair(endpoint)
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:us-east-1:123456789012:x"]}, separators=(",", ":"))
    client.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": allow})
    assert client.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]["RedriveAllowPolicy"] == allow
    client.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": ""})
    assert "RedriveAllowPolicy" not in client.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    found = client.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    assert json.loads(found) == {"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1}


def test_a_long_poll_holds_nobody_up(endpoint):
    client, queue, _, _ = queue_pair(endpoint)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.receive_message, QueueUrl=queue, WaitTimeSeconds=20)
        seed.aws("sqs", endpoint).send_message(QueueUrl=queue, MessageBody="come")
        assert [message["Body"] for message in waiting.result()["Messages"]] == ["come"]


def test_permission_to_send_one_message_is_permission_to_send_ten():
    server = subprocess.Popen([sys.executable, ROOT / "localstack" / "mini_server.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        endpoint = server.stdout.readline().strip()
        queue = seed.aws("sqs", endpoint).create_queue(QueueName="tasks")["QueueUrl"]
        iam = seed.aws("iam", endpoint)
        trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}
        role = iam.create_role(RoleName="sender", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        policy = {"Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
        iam.put_role_policy(RoleName="sender", PolicyName="send", PolicyDocument=json.dumps(policy))
        keys = seed.aws("sts", endpoint).assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        sender = seed.aws(
            "sqs",
            endpoint,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        entries = [{"Id": str(number), "MessageBody": "x"} for number in range(10)]
        assert len(sender.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == 10
        with pytest.raises(ClientError) as refused:
            sender.receive_message(QueueUrl=queue)
        assert refused.value.response["Error"]["Code"].startswith("AccessDenied")
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_alarms_are_described_whole(endpoint):
    client, name = seed.aws("cloudwatch", endpoint), new("alarm")
    put = {
        "AlarmName": name,
        "AlarmDescription": "dead letters <1 & more>",
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Statistic": "Maximum",
        "Dimensions": [{"Name": "QueueName", "Value": "q"}],
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:topic"],
    }
    client.put_metric_alarm(**put)
    found = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert len(found) == 1 and {key: found[0].get(key) for key in put} == put


@pytest.mark.parametrize("script", ["mini_server.py", "moto_server.py"])
def test_listens_on_loopback_alone_and_ends_with_its_parent(script):
    """The parent is killed outright; the server must notice by itself."""
    starter = (
        "import subprocess, sys, time\n"
        f"server = subprocess.Popen([sys.executable, {str(ROOT / 'localstack' / script)!r}], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)\n"
        "print(server.pid, server.stdout.readline().strip(), flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    server, address = parent.stdout.readline().split()
    seed.aws("s3", address).list_buckets()
    port = int(address.rsplit(":", 1)[1])
    if pathlib.Path("/proc/net/tcp").exists():
        listening = [line.split()[1] for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}") if f":{port:04X} " in line and " 0A " in line]
        assert listening == [f"0100007F:{port:04X}"]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while alive(int(server)):
        time.sleep(0.2)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_moto_sweeps_expired_rows():
    server = subprocess.Popen(
        [sys.executable, ROOT / "localstack" / "moto_server.py", "--ttl", "0.2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        client = seed.aws("dynamodb", server.stdout.readline().strip())
        client.create_table(
            TableName="rows",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        client.update_time_to_live(TableName="rows", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
        now = int(time.time())
        for name, ttl in (("past", now - 60), ("future", now + 3600)):
            client.put_item(TableName="rows", Item={"pk": {"S": "a"}, "sk": {"S": name}, "ttl": {"N": str(ttl)}})
        while len(left := client.scan(TableName="rows", ConsistentRead=True)["Items"]) > 1:
            time.sleep(0.1)
        assert [row["sk"]["S"] for row in left] == ["future"]
    finally:
        server.terminate()
        server.wait(timeout=30)
