"""Runs the icepress binary as a person would."""

import json
import os
import pathlib
import subprocess

import readers

BINARY = pathlib.Path(os.environ.get("ICEPRESS_BIN", readers.TARGET / "debug" / "icepress"))


class Icepress:
    """The binary over one warehouse: its configuration is what a PyIceberg user has, its state a file beside it."""

    def __init__(self, warehouse, how="environment", state=None):
        self.warehouse = warehouse
        self.state = pathlib.Path(state or warehouse.folder / "state.db")
        self.home = warehouse.folder / "home"
        self.home.mkdir(exist_ok=True)
        # Nothing of the caller's own configuration must leak in.
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYICEBERG_", "ICEPRESS_", "AWS_"))
        }
        self.environment.update(HOME=str(self.home), NO_COLOR="1")
        self.words = []
        # Tables of tests are small: by itself the command would decode their rows. That is tried everywhere else; here other
        # readers are to judge joined pages.
        (self.home / "icepress.toml").write_text('[plan]\nmerge-pages = "always"\n')
        getattr(self, "_" + how)()

    def _environment(self):
        name = self.warehouse.name.upper()
        self.environment[f"PYICEBERG_CATALOG__{name}__TYPE"] = "sql"
        self.environment[f"PYICEBERG_CATALOG__{name}__URI"] = f"sqlite:///{self.warehouse.db}"
        self.environment[f"PYICEBERG_CATALOG__{name}__WAREHOUSE"] = f"file://{self.warehouse.data}"
        self._named()

    def _yaml(self):
        (self.home / ".pyiceberg.yaml").write_text(
            f"catalog:\n  {self.warehouse.name}:\n    type: sql\n    uri: sqlite:///{self.warehouse.db}\n"
            f"    warehouse: file://{self.warehouse.data}\n"
        )
        self.environment["PYICEBERG_HOME"] = str(self.home)
        self._named()

    def _toml(self):
        with (self.home / "icepress.toml").open("a") as file:
            file.write(
            f'[catalog.{self.warehouse.name}]\ntype = "sql"\nuri = "sqlite:///{self.warehouse.db}"\n'
            f'warehouse = "file://{self.warehouse.data}"\n'
        )
        self._named()

    def _named(self):
        if self.warehouse.name != "default":
            self.words += ["--catalog", self.warehouse.name]

    def call(self, *words, timeout=600):
        return subprocess.run(
            [str(BINARY), *self.words, "--state", str(self.state), *words],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def json(self, *words, code=(0,)):
        result = self.call("--json", *words)
        assert result.returncode in code, f"{words} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
        return json.loads(result.stdout)

    def run_once(self, code=(0,)):
        """Outcome by table name, the catalog's own name taken off."""
        answer = self.json("run", "--once", code=code)
        prefix = self.warehouse.name + "."
        return {table["table"].removeprefix(prefix): table for table in answer["tables"]}
