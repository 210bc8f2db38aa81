"""Upkeep of one table in a catalog of any kind, while Java's own client of that catalog appends to it."""

import json
import subprocess
import time

import cli
import emulated
import readers

TABLE = "db.shared"


class Lake:
    """A catalog as both sides are told of it: words for Java's appender, Iceberg's properties for ours."""

    name, db = "lake", None

    def __init__(self, folder, java, ours):
        self.folder = folder
        self.data = folder / "warehouse"
        self._java = ["--catalog", "lake", "--warehouse", f"file://{self.data}", "--table", TABLE, *java]
        self.runner = cli.Icepress(self, how="toml")
        ours = {"warehouse": f"file://{self.data}", **ours}
        lines = [f'"{key}" = "{value}"\n' for key, value in ours.items()]
        (self.runner.home / "icepress.toml").write_text("[catalog.lake]\n" + "".join(lines))
        aws = {key: value for key, value in emulated.environment().items() if key.startswith("AWS_")}
        self.runner.environment |= aws

    def java(self, commits, first=0):
        words = [*self._java, "--commits", str(commits), "--from", str(first), "--pause-ms", "250"]
        with (self.folder / "java.log").open("ab") as log:
            return subprocess.Popen(
                readers.java_command("appender", *words),
                env=emulated.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def said(self, process):
        """What an appender did commit by commit, and what it saw at its end."""
        lines = process.communicate(timeout=180)[0].splitlines()
        assert process.returncode == 0, (self.folder / "java.log").read_text()[-3000:]
        *commits, last = map(json.loads, lines)
        return [i for said in commits for i in said.get("added", [])], last

    def compacted_while_java_writes(self, commits=7):
        """Every row that Java was told is in is there once, in fewer files, and a last run finds nothing to do."""
        added, _ = self.said(self.java(8))
        writer = self.java(commits, first=1000)
        outcomes = []
        while writer.poll() is None:
            outcomes.append(self.runner.run_once(code=(0, 1))[TABLE]["outcome"])
            time.sleep(0.2)
        more, _ = self.said(writer)
        added += more
        outcomes.append(self.runner.run_once()[TABLE]["outcome"])
        assert "compacted" in outcomes, outcomes
        assert self.runner.run_once()[TABLE]["outcome"] == "unchanged"
        _, last = self.said(self.java(0))
        assert sorted(last["rows"]) == sorted(added)
        assert len(added) == 10 * (8 + commits), "Java tries again until it is in"
        assert last["files"] < 8 + commits
        return sorted(added)
