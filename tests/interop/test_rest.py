"""A REST catalog end to end: Iceberg's own server, PyIceberg writing through it, icepress keeping the tables in shape."""

import collections
import threading

import boto3
import pyarrow
import pytest
import readers
import rest_server
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "text", StringType(), required=False),
)


class Writer(threading.Thread):
    """Appends ten rows at a time; knows which appends were acknowledged, and of which nobody knows."""

    def __init__(self, uri, name, first, commits):
        super().__init__()
        self.table = rest_server.client(uri).load_table(name)
        self.next, self.commits = first, commits
        self.acknowledged, self.unknown = [], []
        self.error = None

    def run(self):
        try:
            for _ in range(self.commits):
                self.append()
        except Exception as error:  # told by the test's thread
            self.error = error

    def append(self):
        ids = list(range(self.next, self.next + 10))
        self.next += 10
        rows = [{"id": i, "text": f"row {i}"} for i in ids]
        self.table.refresh()
        try:
            self.table.append(pyarrow.Table.from_pylist(rows, schema=self.table.schema().as_arrow()))
            self.acknowledged += ids
        except CommitFailedException:
            pass
        except CommitStateUnknownException:
            self.unknown += ids


def configured(icepress, warehouse, uri, credential=rest_server.CREDENTIAL):
    """The runner with what a PyIceberg user of that server has in their file."""
    runner = icepress(warehouse, how="yaml")
    (runner.home / ".pyiceberg.yaml").write_text(
        f"catalog:\n  default:\n    type: rest\n    uri: {uri}\n    credential: '{credential}'\n"
    )
    return runner


def test_a_rest_catalog_is_kept_beside_a_writer_through_lost_answers(java, icepress, tmp_path):
    """Tokens that end after two seconds, and every fifth commit of anybody answered 504 though it took effect."""
    warehouse = readers.Warehouse(tmp_path)
    with rest_server.serve(warehouse, "--token-seconds", "2", "--lose", "5") as uri:
        catalog = rest_server.client(uri)
        for namespace in [("deep",), ("deep", "er")]:
            catalog.create_namespace(namespace)
        name = ("deep", "er", "table")
        catalog.create_table(name, SCHEMA, properties={"theirs": "kept"})
        before = Writer(uri, name, 0, 12)
        before.run()
        runner = configured(icepress, warehouse, uri)
        listed = [table["table"] for table in runner.json("tables")["tables"]]
        assert listed == ["default.deep.er.table"]
        runner.json("plan", "deep.er.table")

        beside = Writer(uri, name, 100_000, 20)
        beside.start()
        outcomes = []
        while beside.is_alive():
            # A run beside a writer may lose all its groups.
            outcomes.append(runner.run_once(code=(0, 1))["deep.er.table"]["outcome"])
        beside.join()
        assert before.error is None and beside.error is None, (before.error, beside.error)
        outcomes.append(runner.run_once()["deep.er.table"]["outcome"])
        assert "compacted" in outcomes, outcomes

        table = rest_server.client(uri).load_table(name)
        # What came after the last rewrite that won may wait, below `icepress.min-input-files`.
        assert len(list(table.scan().plan_files())) < 5
        assert table.properties["theirs"] == "kept"
        rows = collections.Counter(table.scan(selected_fields=("id",)).to_arrow().column(0).to_pylist())
        assert set(rows.values()) == {1}, "no row twice"
        acknowledged = {*before.acknowledged, *beside.acknowledged}
        assert acknowledged <= set(rows) <= acknowledged | {*before.unknown, *beside.unknown}
        assert before.unknown, "the server did lose answers"
        assert {outcome["outcome"] for outcome in runner.run_once().values()} <= {"unchanged"}
    assert warehouse.java_check()["deep.er.table"]["problems"] == []


def test_what_is_wrong_with_a_rest_catalog_is_said(java, icepress, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    with rest_server.serve(warehouse) as uri:
        wrong = configured(icepress, warehouse, uri, credential="upkeep:guessed").call("tables")
        assert wrong.returncode == 1
        assert "catalog default: access refused" in wrong.stderr and "invalid_client" in wrong.stderr
        catalog = rest_server.client(uri)
        catalog.create_namespace("some")
        catalog.create_table("some.forbidden", SCHEMA)
        runner = configured(icepress, warehouse, uri)
        refused = runner.call("plan", "some.forbidden")
        assert refused.returncode == 1 and "not for you" in refused.stderr
        assert runner.run_once(code=(1,))["some.forbidden"]["outcome"] == "failed"
        absent = runner.call("plan", "some.absent")
        assert absent.returncode == 2 and "there is no table default.some.absent" in absent.stderr
    gone = runner.call("tables")
    assert gone.returncode == 1 and uri in gone.stderr


def table_bucket(client):
    """A warehouse in S3 Tables, with its namespace."""
    arn = client("s3tables").create_table_bucket(name="lake")["arn"]
    client("s3tables").create_namespace(tableBucketARN=arn, namespace=["sales"])
    client("s3").create_bucket(Bucket="lake")
    return arn


def glue_database(client):
    client("glue").create_database(DatabaseInput={"Name": "sales"})
    return rest_server.ACCOUNT


@pytest.mark.parametrize(
    ("service", "make", "lines"),
    [
        ("s3tables", table_bucket, "type: s3tables"),
        ("glue", glue_database, f"type: rest\n    rest.signing-name: glue\n    rest.signing-region: {rest_server.REGION}"),
    ],
)
def test_the_rest_endpoints_of_aws_with_pyiceberg_writing(icepress, tmp_path, service, make, lines):
    # The chain finds no keys: those of the catalog's options are used, for all of it, or to sign with and for the files.
    keys = "".join(
        f"    {whose}.access-key-id: {rest_server.ACCOUNT}\n    {whose}.secret-access-key: {rest_server.SECRET}\n"
        for whose in (["client"] if service == "s3tables" else ["rest", "s3"])
    )
    with rest_server.aws() as url:

        def client(name):
            secret = {"aws_access_key_id": rest_server.ACCOUNT, "aws_secret_access_key": rest_server.SECRET}
            return boto3.client(name, endpoint_url=url, region_name=rest_server.REGION, **secret)

        warehouse = make(client)
        properties = {
            "type": "rest",
            "uri": f"{url}/iceberg",
            "warehouse": warehouse,
            "rest.sigv4-enabled": "true",
            "rest.signing-name": service,
            "rest.signing-region": rest_server.REGION,
            "client.region": rest_server.REGION,
            "client.access-key-id": rest_server.ACCOUNT,
            "client.secret-access-key": rest_server.SECRET,
            "s3.endpoint": url,
            "s3.access-key-id": rest_server.ACCOUNT,
            "s3.secret-access-key": rest_server.SECRET,
            "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
        }
        catalog = load_catalog("aws", **properties)
        table = catalog.create_table("sales.orders", SCHEMA)
        for first in range(0, 60, 10):
            rows = [{"id": i, "text": f"row {i}"} for i in range(first, first + 10)]
            table.append(pyarrow.Table.from_pylist(rows, schema=table.schema().as_arrow()))
        runner = icepress(readers.Warehouse(tmp_path), how="yaml")
        runner.environment.update(AWS_REGION=rest_server.REGION, AWS_EC2_METADATA_DISABLED="true")
        (runner.home / ".pyiceberg.yaml").write_text(
            f"catalog:\n  default:\n    {lines}\n    uri: {url}/iceberg\n    warehouse: '{warehouse}'\n    s3.endpoint: {url}\n{keys}"
        )
        assert runner.run_once()["sales.orders"]["outcome"] == "compacted"
        table = catalog.load_table("sales.orders")
        (task,) = table.scan().plan_files()
        assert sorted(table.scan(selected_fields=("id",)).to_arrow().column(0).to_pylist()) == list(range(60))
        bucket, _, key = task.file.file_path.removeprefix("s3://").partition("/")
        stored = client("s3").head_object(Bucket=bucket, Key=key).get("StorageClass", "STANDARD")
        # A table bucket takes no word about that.
        assert stored == ("STANDARD" if service == "s3tables" else "INTELLIGENT_TIERING")
        assert {outcome["outcome"] for outcome in runner.run_once().values()} == {"unchanged"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("type: rest", "uri: is missing: it should look like https://"),
        ("type: rest\n    uri: somewhere", "uri: is 'somewhere': it should look like https://"),
        ("type: s3tables\n    warehouse: lake", "rest.signing-region: is missing"),
        ("type: s3tables\n    warehouse: lake\n    client.region: eu-west-1", "warehouse: is 'lake': it should look like arn:"),
        ("uri: http://127.0.0.1:9\n    auth: {type: kerberos}", "rest.auth.type: is 'kerberos'"),
    ],
)
def test_wrong_properties_are_named(icepress, tmp_path, lines, said):
    runner = icepress(readers.Warehouse(tmp_path), how="yaml")
    (runner.home / ".pyiceberg.yaml").write_text(f"catalog:\n  default:\n    {lines}\n")
    result = runner.call("tables")
    assert result.returncode == 2
    assert f"catalog default: {said}" in result.stderr, result.stderr
