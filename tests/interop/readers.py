"""The readers that nobody here wrote: PyIceberg in this process, chDB in one of its own, Iceberg Java by its harness."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import canon
from pyiceberg.catalog.sql import SqlCatalog

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Refused(Exception):
    """The reader says that it cannot read this kind of table; that is its limit, not a finding."""


class Warehouse:
    """One SQLite catalog with its folder of tables, and each reader's view of it."""

    def __init__(self, folder, catalog="default"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.db = self.folder / "catalog.db"
        self.data = self.folder / "warehouse"
        self.name = catalog
        self._pyiceberg = None

    # -- PyIceberg

    def catalog(self):
        if self._pyiceberg is None:
            self._pyiceberg = SqlCatalog(
                self.name, uri=f"sqlite:///{self.db}", warehouse=f"file://{self.data}"
            )
        return self._pyiceberg

    def load(self, name):
        return self.catalog().load_table(name)

    def tables(self):
        import sqlite3

        with sqlite3.connect(self.db) as db:
            rows = db.execute("select table_namespace, table_name from iceberg_tables order by 1, 2")
            return [f"{namespace}.{table}" for namespace, table in rows]

    def metadata_location(self, name):
        import sqlite3

        namespace, _, table = name.rpartition(".")
        with sqlite3.connect(self.db) as db:
            query = "select metadata_location from iceberg_tables where table_namespace = ? and table_name = ?"
            return db.execute(query, (namespace, table)).fetchone()[0]

    def metadata_at(self, location):
        """What a metadata file says."""
        return json.loads(path_of(location).read_bytes())

    def locations(self):
        return {name: self.metadata_location(name) for name in self.tables()}

    def pyiceberg_rows(self, name):
        """Canonical rows by PyIceberg, sorted; Refused where it says that it does not support the table."""
        table = self.load(name)
        try:
            arrow = table.scan().to_arrow()
        except ValueError as error:
            limits = ("does not yet support equality deletes", "Unsupported file format")
            if any(limit in str(error) for limit in limits):
                raise Refused(str(error)) from error
            raise
        kind = table.schema().as_struct()
        columns = [plain_column(arrow.column(i)) for i in range(arrow.num_columns)]
        rows = []
        for values in zip(*columns):
            rows.append(canon.dumps([canon.plain(v, f.field_type) for v, f in zip(values, kind.fields)]))
        return sorted(rows)

    # -- chDB

    def chdb_rows(self, names):
        """For each table its rows as chDB prints them, sorted, or the error's text in {"error": …}."""
        tables = {}
        for name in names:
            location = path_of(self.metadata_location(name))
            tables[name] = str(location)
        result = subprocess.run(
            [sys.executable, str(HERE / "chdb_rows.py")],
            # chDB reads files below its working folder only.
            cwd="/",
            input=json.dumps(tables),
            capture_output=True,
            text=True,
            timeout=600,
        )
        if result.returncode != 0:
            raise RuntimeError(f"chDB ended with {result.returncode}: {result.stderr[-2000:]}")
        answers = {}
        for line in result.stdout.splitlines():
            answer = json.loads(line)
            answers[answer.pop("table")] = answer
        return answers

    # -- Java

    def java(self, *words, check=True):
        return java(*words, "--db", str(self.db), "--warehouse", str(self.data), "--catalog", self.name, check=check)

    def java_lineage(self, *names):
        """As java_rows, each row with its row id and last updated sequence number behind."""
        return self.java_rows(*names, more=["--lineage", "yes"])

    def java_rows(self, *names, more=()):
        """For each table its canonical rows, sorted; a failure to read is a failure of the test."""
        out = self.folder / "rows"
        shutil.rmtree(out, ignore_errors=True)
        chosen = [*more, "--table", ",".join(names)] if names else [*more]
        rows = {}
        for line in self.java("rows", "--out", str(out), *chosen).stdout.splitlines():
            answer = json.loads(line)
            assert "error" not in answer, f"Java cannot read {answer['table']}: {answer['error']}"
            lines = (out / f"{answer['table']}.jsonl").read_text().splitlines()
            rows[answer["table"]] = canon.exact(lines)
        return rows

    def java_check(self, *names, schema="current"):
        """What Java finds in each table; rewritten files must be of the table's current schema, or of any it had."""
        chosen = ["--table", ",".join(names)] if names else []
        lines = self.java("check", "--schema", schema, *chosen).stdout.splitlines()
        return {answer["table"]: answer for answer in map(json.loads, lines)}


def plain_column(column):
    """Python values. Nanoseconds, which Python's own times have no room for, as numbers."""
    if str(column.type).startswith("timestamp[ns"):
        return column.cast("int64").to_pylist()
    return column.to_pylist()


def path_of(location):
    """A file location (file:/x, file:///x or a bare path) as a path."""
    return pathlib.Path("/" + location.removeprefix("file:").lstrip("/"))


def java(*words, check=True):
    result = subprocess.run(java_command(*words), capture_output=True, text=True, timeout=900)
    if check and result.returncode != 0:
        raise RuntimeError(f"harness {words[0]} ended with {result.returncode}: {result.stderr[-3000:]}")
    return result


def java_command(*words):
    home = TARGET / "java"
    jar, archive = home / "harness.jar", home / "harness.jsa"
    # The serial collector and the first compiler only: the runs are short, and two cores are shared.
    options = ["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    if archive.is_file():
        options.append(f"-XX:SharedArchiveFile={archive}")
    classpath = f"{jar if archive.is_file() else home / 'classes'}:{home / 'lib'}/*"
    return [shutil.which("java") or "java", *options, "-cp", classpath, "dev.icepress.harness.Main", *words]


class View:
    """What each reader sees of a warehouse at one moment."""

    def __init__(self, warehouse):
        self.locations = warehouse.locations()
        self.check = warehouse.java_check()
        self.java = warehouse.java_rows()
        self.chdb = warehouse.chdb_rows(self.locations)
        self.pyiceberg, self.pyiceberg_refused, self.java_loose = {}, {}, {}
        for name in self.locations:
            schema = warehouse.load(name).schema()
            self.java_loose[name] = canon.loose_rows(self.java[name], schema)
            try:
                self.pyiceberg[name] = canon.loose_rows(warehouse.pyiceberg_rows(name), schema)
            except Refused as refusal:
                self.pyiceberg_refused[name] = str(refusal)
