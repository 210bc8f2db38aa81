"""Wrong input: one clear line that names the table, the other tables done, nothing lost, the right exit code."""

import http.server
import json
import shutil
import sqlite3
import subprocess
import threading

import pytest
import readers

WELL = ["types.plain_v2", "deletes.positions"]
ILL = "types.plain_v1"


@pytest.fixture(scope="module")
def pristine(java, tmp_path_factory):
    """The tables as written, and a copy of the folder to put back: tables know their place, so it stays the same."""
    warehouse = readers.Warehouse(tmp_path_factory.mktemp("wrong") / "here")
    warehouse.java("write", "--only", ",".join([*WELL, ILL]))
    rows, check = warehouse.java_rows(*WELL), warehouse.java_check(*WELL)
    copy = warehouse.folder.with_name("copy")
    shutil.copytree(warehouse.folder, copy)
    return warehouse.folder, copy, rows, check


@pytest.fixture
def warehouse(pristine):
    folder, copy, _, _ = pristine
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return readers.Warehouse(folder)


def metadata(warehouse, name=ILL):
    path = readers.path_of(warehouse.metadata_location(name))
    return path, json.loads(path.read_text())


def edit_metadata(warehouse, change):
    path, content = metadata(warehouse)
    change(content)
    path.write_text(json.dumps(content))
    crc = path.with_name(f".{path.name}.crc")
    crc.unlink(missing_ok=True)


def manifests(warehouse):
    table = warehouse.load(ILL)
    return [readers.path_of(manifest.manifest_path) for manifest in table.current_snapshot().manifests(table.io)]


def data_files(warehouse):
    return [readers.path_of(file["file_path"]) for file in warehouse.load(ILL).inspect.files().to_pylist()]


def corrupt_manifest(warehouse):
    file = manifests(warehouse)[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = b"\x07" * (len(content) - len(content) // 2)
    file.write_bytes(content)


def missing_manifest(warehouse):
    manifests(warehouse)[0].unlink()


def missing_manifest_list(warehouse):
    readers.path_of(warehouse.load(ILL).current_snapshot().manifest_list).unlink()


def truncated_parquet(warehouse):
    file = data_files(warehouse)[3]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def truncated_in_the_middle(warehouse):
    """The footer is whole, the pages are not: what a lost block looks like."""
    file = data_files(warehouse)[3]
    content = bytearray(file.read_bytes())
    content[4 : len(content) // 3] = bytes(len(content) // 3 - 4)
    file.write_bytes(content)


def vanished_data_file(warehouse):
    data_files(warehouse)[5].unlink()


def unknown_format(warehouse):
    edit_metadata(warehouse, lambda content: content.update({"format-version": 9}))


def broken_json(warehouse):
    path, _ = metadata(warehouse)
    path.write_text(path.read_text()[:200])


def vanished_metadata(warehouse):
    metadata(warehouse)[0].unlink()


def no_current_schema(warehouse):
    edit_metadata(warehouse, lambda content: content.update({"current-schema-id": 77, "schemas": [], "schema": None}))


ILLS = [
    corrupt_manifest,
    missing_manifest,
    missing_manifest_list,
    truncated_parquet,
    truncated_in_the_middle,
    vanished_data_file,
    unknown_format,
    broken_json,
    vanished_metadata,
    no_current_schema,
]


@pytest.mark.parametrize("ill", ILLS)
def test_one_ill_table_does_not_hold_up_the_others(pristine, warehouse, icepress, ill):
    _, _, before, old = pristine
    ill(warehouse)
    location = warehouse.metadata_location(ILL)
    files = sorted(str(file) for file in (warehouse.data / "types" / "plain_v1").rglob("*.parquet"))
    runner = icepress(warehouse)
    result = runner.call("run", "--once")
    said = (result.stdout + result.stderr).strip()
    refusal = ill is unknown_format
    # A format that is not known yet may be told apart from a failure: it is a refusal, and then no failure.
    assert result.returncode in ((0, 1) if refusal else (1,)), said
    lines = [line for line in said.splitlines() if "plain_v1" in line]
    assert lines, said
    assert "panicked" not in said
    assert warehouse.metadata_location(ILL) == location
    # Nothing of the table is gone, whatever was left behind.
    assert set(files) <= {str(file) for file in (warehouse.data / "types" / "plain_v1").rglob("*.parquet")}
    after, new = warehouse.java_rows(*WELL), warehouse.java_check(*WELL)
    for name in WELL:
        assert after[name] == before[name]
        assert new[name]["problems"] == []
        assert new[name]["data_files"] < old[name]["data_files"]
    again = icepress(warehouse).run_once(code=(0, 1))
    assert again[ILL]["outcome"] in ("failed", "refused"), again[ILL]
    assert again[ILL]["reason"] and "\n" not in again[ILL]["reason"]


def test_a_table_that_is_dropped_meanwhile(pristine, warehouse, icepress):
    """Dropped and purged while the run is at it: whatever was reached, the others are done and nothing breaks down."""
    _, _, before, _ = pristine
    runner = icepress(warehouse)
    command = [str(runner_binary()), "--state", str(runner.state), "run", "--once"]
    process = subprocess.Popen(
        command, env=runner.environment, cwd=runner.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    warehouse.catalog().drop_table(ILL)
    for file in (warehouse.data / "types" / "plain_v1").rglob("*"):
        if file.is_file():
            file.unlink(missing_ok=True)
    said, _ = process.communicate(timeout=300)
    assert process.returncode in (0, 1), said
    assert "panicked" not in said
    outcome = runner.run_once()
    assert ILL not in outcome or outcome[ILL]["outcome"] == "unchanged"
    assert ILL not in warehouse.tables()
    assert warehouse.java_rows(*WELL) == before


def runner_binary():
    import cli

    return cli.BINARY


class Answers(http.server.BaseHTTPRequestHandler):
    """An S3 endpoint that answers every request with one refusal."""

    status, code, headers_more = 403, "AccessDenied", {}

    def do_GET(self):
        body = f"<Error><Code>{self.code}</Code><Message>No.</Message><Region>eu-west-9</Region></Error>".encode()
        self.send_response(self.status)
        for key, value in self.headers_more.items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *_):
        pass


REFUSALS = {
    "permission": {"status": 403, "code": "AccessDenied"},
    "region": {
        "status": 301,
        "code": "PermanentRedirect",
        "headers_more": {"x-amz-bucket-region": "eu-west-9"},
    },
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_bucket_that_refuses(warehouse, icepress, refusal):
    handler = type("Handler", (Answers,), REFUSALS[refusal])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sqlite3.connect(warehouse.db) as db:
        db.execute(
            "update iceberg_tables set metadata_location = 's3://far-away/t/metadata/00001-a.metadata.json'"
            " where table_name = 'plain_v1'"
        )
    runner = icepress(warehouse)
    runner.environment.update(
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{server.server_port}",
        AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
        AWS_SECRET_ACCESS_KEY="topsecret",
        AWS_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    )
    # The tables of a catalog whose warehouse is a folder lie on this disk alone, unless it says otherwise.
    unsaid = runner.call("plan", ILL)
    assert unsaid.returncode != 0, unsaid.stdout
    assert "far-away" in unsaid.stderr and "local disk" in unsaid.stderr, unsaid.stderr
    runner.environment["PYICEBERG_CATALOG__DEFAULT__ALLOWED_LOCATIONS"] = f"file://{warehouse.data},s3://far-away"
    try:
        result = runner.call("run", "--once")
    finally:
        server.shutdown()
        server.server_close()
    said = result.stdout + result.stderr
    assert result.returncode == 1, said
    assert any("plain_v1" in line for line in said.splitlines()), said
    assert {"permission": "denied", "region": "region"}[refusal] in said.lower(), said
    assert "topsecret" not in said
    check = warehouse.java_check(*WELL)
    assert all(check[name]["operation"] == "replace" for name in WELL)


WRONG_USE = {
    "no such catalog": (["--catalog", "nowhere", "run", "--once"], 2, "nowhere"),
    "no such command": (["frobnicate"], 2, "frobnicate"),
    "no such table": (["plan", "types.nothing"], 2, "types.nothing"),
    "half a table name": (["plan", "nothing"], 2, "nothing"),
}


@pytest.mark.parametrize("use", WRONG_USE)
def test_wrong_use(warehouse, icepress, use):
    words, code, named = WRONG_USE[use]
    result = icepress(warehouse).call(*words)
    assert result.returncode == code, result.stdout + result.stderr
    assert named in result.stderr
    assert "panicked" not in result.stderr
    assert result.stdout == ""


def test_configuration_that_is_no_toml(warehouse, icepress):
    runner = icepress(warehouse)
    (runner.home / "icepress.toml").write_text("[catalog\n")
    result = runner.call("run", "--once")
    assert result.returncode == 2
    assert "icepress.toml" in result.stderr


def test_a_catalog_file_that_is_no_database(icepress, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    warehouse.db.write_bytes(b"this is no SQLite file, whatever its name" * 100)
    result = icepress(warehouse).call("run", "--once")
    assert result.returncode in (1, 2)
    assert "catalog.db" in result.stderr or "default" in result.stderr, result.stderr


def test_a_catalog_that_is_not_there_is_not_made(icepress, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    result = icepress(warehouse).call("run", "--once")
    assert result.returncode in (1, 2)
    assert not warehouse.db.exists()
