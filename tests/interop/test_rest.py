"""A REST catalog end to end: Iceberg's own server, PyIceberg writing through it, icepress keeping the tables in shape."""

import collections
import threading

import pyarrow
import pytest
import readers
import rest_server
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
        assert len(list(table.scan().plan_files())) <= 3
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
