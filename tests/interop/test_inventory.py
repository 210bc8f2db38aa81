"""A search that goes by an S3 Inventory, on an emulator of S3: inventories in the very form in which S3 writes them, Parquet and ORC by
Arrow's own writers; and by every request that was sent no folder of the table is listed."""

import collections
import contextlib
import csv
import datetime
import gzip
import hashlib
import http.client
import http.server
import io
import json
import threading
import urllib.parse

import cli
import emulated
import pyarrow as pa
import pytest
from pyarrow import orc, parquet
from pyiceberg.catalog.sql import SqlCatalog

PLACE = "of/lake/all"
SCHEMAS = {
    "CSV": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass",
    "Parquet": "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); optional binary version_id (UTF8); optional boolean"
    " is_latest; optional boolean is_delete_marker; optional int64 size; optional int64 last_modified_date (TIMESTAMP_MILLIS); optional binary"
    " e_tag (UTF8); optional binary storage_class (UTF8);}",
    "ORC": "struct<bucket:string,key:string,version_id:string,is_latest:boolean,is_delete_marker:boolean,size:bigint,last_modified_date:timestamp,"
    "e_tag:string,storage_class:string>",
}
STRAYS = ["data/left.parquet", "data/a b+c/é.parquet", "metadata/left-m0.avro"]


@contextlib.contextmanager
def counted(upstream):
    """A way to the emulator that notes each request: its address, and method and path of all that came."""
    seen, address = [], urllib.parse.urlsplit(upstream).netloc

    class Way(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            seen.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            connection = http.client.HTTPConnection(address)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                    self.send_header(name, value)
            # Of an object that is only looked at the size is told, and nothing sent.
            length = answer.getheader("content-length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Way)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()


class Lake:
    """A table of PyIceberg's in a bucket, with litter, and what we asked for."""

    def __init__(self, folder, endpoint, way, seen):
        self.seen = seen
        self.s3 = emulated.client("s3", endpoint)
        for bucket in ("lake", "audits"):
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket="lake", VersioningConfiguration={"Status": "Enabled"})
        access = {"s3.endpoint": endpoint, "s3.access-key-id": emulated.ACCOUNT, "s3.secret-access-key": "test", "s3.region": emulated.REGION}
        database = f"sqlite:///{folder}/catalog.db"
        catalog = SqlCatalog("default", uri=database, warehouse="s3://lake/wh", **access)
        catalog.create_namespace("shop")
        table = catalog.create_table("shop.orders", pa.schema([("id", pa.int64())]))
        for number in range(3):
            table.append(pa.table({"id": [number]}))
        self.home = table.location().removeprefix("s3://lake/")
        for stray in STRAYS:
            self.s3.put_object(Bucket="lake", Key=f"{self.home}/{stray}", Body=b"old")
            # One that is there no more in this version.
            self.s3.put_object(Bucket="lake", Key=f"{self.home}/{stray}", Body=b"left")
        self.s3.put_object(Bucket="lake", Key=f"{self.home}/data/deleted.parquet", Body=b"gone")
        self.s3.delete_object(Bucket="lake", Key=f"{self.home}/data/deleted.parquet")
        (folder / "home").mkdir()
        (folder / "home" / "icepress.toml").write_text(
            f'[catalog.default]\ntype = "sql"\nuri = "{database}"\nwarehouse = "s3://lake/wh"\n"s3.path-style-access" = "true"\n'
            + "".join(f'"{key}" = "{value}"\n' for key, value in (access | {"s3.endpoint": way}).items())
            + f'[maintain]\norphans-inventory = "s3://audits/{PLACE}"\n'
        )
        self.ours = cli.Icepress.__new__(cli.Icepress)
        self.ours.words, self.ours.state, self.ours.home = [], folder / "state.db", folder / "home"
        self.ours.environment = emulated.environment(way) | {"HOME": str(folder / "home"), "NO_COLOR": "1"}

    def versions(self, days):
        """Everything that the bucket has, as if it were so old."""
        then = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0) - datetime.timedelta(days=days)
        listed = self.s3.list_object_versions(Bucket="lake")
        rows = [
            ("lake", it["Key"], it["VersionId"], it["IsLatest"], False, it["Size"], then, it["ETag"].strip('"'), "STANDARD")
            for it in listed["Versions"]
        ]
        markers = [("lake", it["Key"], it["VersionId"], it["IsLatest"], True, None, then, None, None) for it in listed["DeleteMarkers"]]
        return rows + markers

    def write(self, form, days=9):
        rows = self.versions(days)
        content, ending = WRITERS[form](rows)
        now = datetime.datetime.now(datetime.UTC)
        moment = now.strftime("%Y-%m-%dT%H-%MZ")
        key = f"{PLACE}/data/{form}.{ending}"
        manifest = {
            "sourceBucket": "lake",
            "destinationBucket": "arn:aws:s3:::audits",
            "version": "2016-11-30",
            "creationTimestamp": str(int(now.timestamp() * 1000)),
            "fileFormat": form,
            "fileSchema": SCHEMAS[form],
            "files": [{"key": key, "size": len(content), "MD5checksum": hashlib.md5(content).hexdigest()}],
        }
        body = json.dumps(manifest, indent=2).encode()
        self.s3.put_object(Bucket="audits", Key=key, Body=content)
        self.s3.put_object(Bucket="audits", Key=f"{PLACE}/{moment}/manifest.json", Body=body)
        self.s3.put_object(Bucket="audits", Key=f"{PLACE}/{moment}/manifest.checksum", Body=hashlib.md5(body).hexdigest().encode() + b"\n")
        self.s3.put_object(Bucket="audits", Key=f"{PLACE}/hive/dt={moment[:10]}/symlink.txt", Body=b"")

    def listings(self):
        """What was listed of the table's bucket since the last time."""
        paths = [path for method, path in self.seen if method == "GET" and path.startswith("/lake") and "list-type=2" in path]
        self.seen.clear()
        return [urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("prefix", [""])[0] for path in paths]


def as_csv(rows):
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for bucket, key, version, latest, marker, size, modified, etag, storage in rows:
        flags = [str(latest).lower(), str(marker).lower()]
        writer.writerow([bucket, urllib.parse.quote_plus(key, safe="/*"), version, *flags, size, f"{modified.isoformat()}.000Z", etag, storage])
    return gzip.compress(text.getvalue().encode()), "csv.gz"


def as_arrow(rows):
    names = ["bucket", "key", "version_id", "is_latest", "is_delete_marker", "size", "last_modified_date", "e_tag", "storage_class"]
    types = [pa.string(), pa.string(), pa.string(), pa.bool_(), pa.bool_(), pa.int64(), pa.timestamp("ms"), pa.string(), pa.string()]
    required = {"bucket", "key"}
    schema = pa.schema([pa.field(name, kind, nullable=name not in required) for name, kind in zip(names, types, strict=True)])
    return pa.Table.from_arrays([pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)], schema=schema)


def as_parquet(rows):
    sink = io.BytesIO()
    parquet.write_table(as_arrow(rows), sink)
    return sink.getvalue(), "parquet"


def as_orc(rows):
    sink = io.BytesIO()
    orc.write_table(as_arrow(rows), sink)
    return sink.getvalue(), "orc"


WRITERS = {"CSV": as_csv, "Parquet": as_parquet, "ORC": as_orc}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    if not cli.BINARY.is_file():
        pytest.skip("the binary is not built")
    folder = tmp_path_factory.mktemp("inventory")
    with emulated.emulator("moto", folder) as endpoint, counted(endpoint) as (way, seen):
        yield Lake(folder, endpoint, way, seen)


@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_an_inventory_tells_of_everything_and_nothing_is_listed(lake, form):
    lake.write(form)
    lake.listings()
    plan = lake.ours.json("plan", "shop.orders", "--only", "orphans")
    assert sorted(plan["examples"]) == sorted(f"s3://lake/{lake.home}/{stray}" for stray in STRAYS)
    assert plan["inventory"]["manifest"].startswith(f"s3://audits/{PLACE}/20")
    assert {kind: counts["files"] for kind, counts in plan["unreferenced"].items()} == {"data": 2, "manifest": 1}
    first = lake.ours.json("maintain", "shop.orders", "--only", "orphans")
    assert sum(counts["files"] for counts in first["waiting"].values()) == 3
    # The objects are younger than that inventory says: whoever asks for them once more finds out.
    second = lake.ours.json("maintain", "shop.orders", "--only", "orphans")
    assert second["files"] == {} and sum(counts["files"] for counts in second["waiting"].values()) == 3
    asked = collections.Counter(method for method, _ in lake.seen)
    assert asked["HEAD"] == 3, asked
    listed = lake.listings()
    assert listed and all("/metadata/icepress-orphans/" in prefix for prefix in listed), listed


def test_orc_is_refused_by_name(lake):
    lake.write("ORC")
    refused = lake.ours.call("plan", "shop.orders", "--only", "orphans")
    assert refused.returncode != 0
    assert "ORC" in refused.stderr and "choose CSV or Apache Parquet" in refused.stderr, refused.stderr

