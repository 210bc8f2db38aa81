"""What a catalog costs a month for nothing: told from metadata and listings, and held against what is there."""

import os
import time

import cli
import pyarrow
import readers

GIBIBYTE = 1 << 30


def test_waste_is_what_nobody_needs(tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    catalog = warehouse.catalog()
    catalog.create_namespace("db")
    rows = pyarrow.table({"id": [1, 2, 3]})
    table = catalog.create_table("db.t", schema=rows.schema)
    for _ in range(3):
        table.append(rows)
    tidy = catalog.create_table("db.tidy", schema=rows.schema)
    tidy.append(rows)
    home = readers.path_of(table.location())
    left = home / "data" / "left.parquet"
    left.write_bytes(b"x" * 1_000_000)
    then = time.time() - 2 * 24 * 3600
    os.utime(left, (then, then))
    nobodys = home.parent / "dropped" / "data" / "f.parquet"
    nobodys.parent.mkdir(parents=True)
    nobodys.write_bytes(b"y" * 500)
    before = {path: path.stat().st_mtime for path in warehouse.data.rglob("*")}

    ours = cli.Icepress(warehouse)
    found = ours.json("waste")
    kinds = found["tables"]["default.db.t"]["kinds"]
    orphans = kinds["orphans"]
    assert (orphans["files"], orphans["bytes"]) == (1, 1_000_000)
    expected = 1_000_000 / GIBIBYTE * 0.023 + 2.5e-6
    assert abs(orphans["dollars_a_month"] - expected) < 1e-8
    assert kinds["small-files"]["files"] == 2, "three that would be one"
    assert "small-files" not in found["tables"]["default.db.tidy"]["kinds"]
    assert found["freed_by"]["orphans"] == orphans
    total = sum(table["dollars_a_month"] for table in found["tables"].values())
    assert abs(found["dollars_a_month"] - total) < 1e-8
    assert [it["folder"].rsplit("/", 1)[1] for it in found["unowned"]] == ["dropped"]
    assert found["unowned"][0]["bytes"] == 500
    assert found["unread"] == []
    assert before == {path: path.stat().st_mtime for path in warehouse.data.rglob("*")}, "nothing is written"

    assert ours.call("waste", "default", "--fail-over", "1").returncode == 0
    told = ours.call("waste", "--fail-over", "0.00001")
    assert told.returncode == 1 and "default.db.t" in told.stdout
    unlisted = ours.json("waste", "--no-listing")
    assert "orphans" not in unlisted["freed_by"] and unlisted["unowned"] == []
