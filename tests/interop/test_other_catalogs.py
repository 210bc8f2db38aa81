"""Catalogs beside SQLite's, end to end: Java's own client writes to them while icepress compacts, PyIceberg reads."""

import beside_java
import boto3
import emulated
from conftest import missing
from pyiceberg.catalog.dynamodb import DynamoDbCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable


def ids(table):
    return sorted(table.scan(selected_fields=("id",)).to_arrow().column(0).to_pylist())


def test_postgresql(java, icepress, tmp_path):
    with emulated.postgresql(tmp_path) as port:
        if port is None:
            missing("PostgreSQL", "Debian: apt-get install postgresql")
        uri = f"jdbc:postgresql://127.0.0.1:{port}/lake"
        lake = beside_java.Lake(
            tmp_path,
            java=["--kind", "jdbc", "--uri", uri, "--user", "ice"],
            ours={"type": "jdbc", "uri": uri, "jdbc.user": "ice"},
        )
        added = lake.compacted_while_java_writes()
        theirs = SqlCatalog("lake", uri=f"postgresql+psycopg2://ice@127.0.0.1:{port}/lake", warehouse=f"file://{lake.data}")
        assert ids(theirs.load_table(beside_java.TABLE)) == added


def test_dynamodb(java, icepress, tmp_path, monkeypatch):
    with emulated.emulator("moto", tmp_path) as endpoint:
        lake = beside_java.Lake(
            tmp_path,
            java=["--kind", "dynamodb", "--endpoint", endpoint],
            ours={"type": "dynamodb", "dynamodb.endpoint": endpoint},
        )
        added = lake.compacted_while_java_writes()
        for name, value in emulated.environment(endpoint).items():
            monkeypatch.setenv(name, value)
        assert ids(DynamoDbCatalog("lake").load_table(beside_java.TABLE)) == added


def test_hadoop(java, icepress, tmp_path):
    """Java's commit is a look and a rename, which on a local disk replaces: so both sides take the lock."""
    with emulated.emulator("mini", tmp_path) as endpoint:
        lake = beside_java.Lake(
            tmp_path,
            java=["--kind", "hadoop", "--codec", "gzip", "--endpoint", endpoint, "--lock-table", "locks"],
            ours={
                "type": "hadoop",
                "dynamodb.endpoint": endpoint,
                "lock-impl": "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
                "lock.table": "locks",
            },
        )
        added = lake.compacted_while_java_writes()
        metadata = lake.data / "db" / "shared" / "metadata"
        newest = max(metadata.glob("v*.metadata.json"), key=lambda path: int(path.name[1:].split(".")[0]))
        assert newest.name.endswith(".gz.metadata.json")
        assert ids(StaticTable.from_metadata(str(newest))) == added


def test_a_glue_catalog_of_another_account(icepress, tmp_path):
    """moto keeps the accounts apart, and knows them by the role that was assumed there."""
    role = "arn:aws:iam::210987654321:role/upkeep"
    with emulated.emulator("moto", tmp_path) as endpoint:
        keys = emulated.client("sts", endpoint).assume_role(RoleArn=role, RoleSessionName="theirs")["Credentials"]
        theirs = boto3.client(
            "glue",
            endpoint_url=endpoint,
            region_name=emulated.REGION,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        theirs.create_database(DatabaseInput={"Name": "theirs"})
        iceberg = {"table_type": "ICEBERG", "metadata_location": f"{tmp_path}/nowhere.json"}
        theirs.create_table(DatabaseName="theirs", TableInput={"Name": "t", "Parameters": iceberg})

        def tables(more):
            lake = beside_java.Lake(tmp_path, java=[], ours={"type": "glue", **more})
            lake.runner.environment |= emulated.environment(endpoint)
            result = lake.runner.call("tables")
            assert result.returncode == 0, result.stderr
            return result.stdout

        assert "theirs" not in tables({})
        assert "lake.theirs.t" in tables({"client.assume-role.arn": role})
