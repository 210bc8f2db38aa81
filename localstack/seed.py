"""Makes a Glue database and an Iceberg table of many small files, with PyIceberg, on an emulator.

    python seed.py ENDPOINT [--commits N]

The table is what a stream leaves behind: each commit adds one small file to each of three days. The same script serves
MiniStack, moto and LocalStack.
"""

import argparse
import dataclasses
import datetime
import decimal
import hashlib
import json
import random

import boto3
import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform
from pyiceberg.types import DecimalType, ListType, LongType, NestedField, StringType, TimestamptzType

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "lake"
WAREHOUSE = f"s3://{BUCKET}/warehouse"
DATABASE = "shop"
DAYS = 3

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "at", TimestamptzType(), required=True),
    NestedField(3, "kind", StringType(), required=False),
    NestedField(4, "amount", DecimalType(12, 2), required=False),
    NestedField(5, "tags", ListType(element_id=6, element_type=StringType(), element_required=False), required=False),
)
SPEC = PartitionSpec(PartitionField(source_id=2, field_id=1000, transform=DayTransform(), name="at_day"))


@dataclasses.dataclass
class Seen:
    """What a reader sees of a table at one moment."""

    metadata_location: str
    operation: str | None
    data_files: int
    delete_files: int
    bytes: int
    rows: int
    fingerprint: str


def aws(service: str, endpoint: str, **session: str):
    """A boto3 client of the emulated account, or of a role's session."""
    keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "test", **session}
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **keys)


def catalog(endpoint: str) -> GlueCatalog:
    """PyIceberg's Glue catalog on the emulator."""
    keys = {"access-key-id": ACCOUNT, "secret-access-key": "test", "region": REGION, "endpoint": endpoint}
    properties = {f"{service}.{name}": value for service in ("glue", "s3") for name, value in keys.items()}
    # pyarrow's own S3 client does multipart uploads that moto refuses.
    properties["py-io-impl"] = "pyiceberg.io.fsspec.FsspecFileIO"
    return load_catalog("glue", type="glue", warehouse=WAREHOUSE, **properties)


def batch(generator: random.Random, first_id: int, rows: int) -> pa.Table:
    """`rows` events spread over the three days, with nulls in every optional column."""
    start = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    kinds = ["view", "cart", "order", "refund", None]
    return pa.Table.from_pylist(
        [
            {
                "id": first_id + row,
                "at": start + datetime.timedelta(days=row % DAYS, seconds=generator.randrange(86_400)),
                "kind": generator.choice(kinds),
                "amount": None if generator.random() < 0.1 else decimal.Decimal(generator.randrange(1_000_000)) / 100,
                "tags": None if generator.random() < 0.1 else [f"t{generator.randrange(9)}" for _ in range(generator.randrange(4))],
            }
            for row in range(rows)
        ],
        schema=SCHEMA.as_arrow(),
    )


def make(endpoint: str, name: str = "events", commits: int = 20, rows: int = 300) -> Seen:
    """Makes bucket, database and table, and appends `commits` times; the result is what was written."""
    storage = aws("s3", endpoint)
    if BUCKET not in [each["Name"] for each in storage.list_buckets()["Buckets"]]:
        storage.create_bucket(Bucket=BUCKET)
    glue = catalog(endpoint)
    glue.create_namespace_if_not_exists(DATABASE)
    table = glue.create_table((DATABASE, name), schema=SCHEMA, partition_spec=SPEC, location=f"{WAREHOUSE}/{DATABASE}.db/{name}")
    generator = random.Random(20260301)
    for commit in range(commits):
        table.append(batch(generator, commit * rows, rows))
    return look(glue.load_table((DATABASE, name)))


def look(table: Table) -> Seen:
    """Reads the whole table: its files by the metadata, its rows without regard to their order."""
    snapshot = table.current_snapshot()
    files = table.inspect.files().to_pylist()
    data_files = [file for file in files if file["content"] == 0]
    rows = table.scan().to_arrow().to_pylist()
    total = 0
    for row in rows:
        row_text = repr(sorted(row.items())).encode()
        total += int.from_bytes(hashlib.sha256(row_text).digest()[:8], "big")
    return Seen(
        metadata_location=table.metadata_location,
        operation=snapshot.summary.operation.value if snapshot and snapshot.summary else None,
        data_files=len(data_files),
        delete_files=len(files) - len(data_files),
        bytes=sum(file["file_size_in_bytes"] for file in files),
        rows=len(rows),
        fingerprint=f"{total % 2**64:016x}",
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("endpoint", help="where the emulator listens, as http://127.0.0.1:4566")
    arguments.add_argument("--commits", type=int, default=20, help="appends, each of one small file for each of three days")
    options = arguments.parse_args()
    print(json.dumps(dataclasses.asdict(make(options.endpoint, commits=options.commits))))


if __name__ == "__main__":
    main()
