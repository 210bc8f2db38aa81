"""One `icepress run --once` over tables of every shape that Iceberg Java can make, judged by three other readers."""

import json

import canon
import expected
import pytest

COMPACTED = [name for name in expected.TABLES if name not in expected.UNCHANGED]


@pytest.mark.parametrize("name", expected.TABLES)
def test_the_rows_are_the_same(before, compacted, name):
    _, after, _ = compacted
    assert before.java[name] == after.java[name], canon.difference(before.java[name], after.java[name])
    if name in after.pyiceberg:
        assert after.pyiceberg[name] == after.java_loose[name], canon.difference(
            after.java_loose[name], after.pyiceberg[name]
        )
    # A reader that could read the table before must be able to read it now.
    assert name not in after.pyiceberg_refused or name in before.pyiceberg_refused
    old, new = before.chdb[name], after.chdb[name]
    if "rows" in old:
        assert "rows" in new, new["error"]
        assert len(new["rows"]) == len(after.java[name])
        if name not in expected.CHDB_WRONG_ABOUT_DELETES:
            assert new["rows"] == old["rows"], canon.difference(old["rows"], new["rows"])


@pytest.mark.parametrize("name", expected.TABLES)
def test_manifests_say_what_the_files_hold(compacted, name):
    _, after, _ = compacted
    assert after.check[name]["problems"] == []


@pytest.mark.parametrize("name", COMPACTED)
def test_fewer_files_and_no_needless_deletes(before, compacted, name):
    outcome, after, _ = compacted
    old, new = before.check[name], after.check[name]
    assert outcome[name]["outcome"] == "compacted", outcome[name]
    assert new["data_files"] < old["data_files"]
    assert new["needless"] == []
    assert new["operation"] == "replace"
    if name not in expected.FOREIGN_FORMATS:
        assert new["delete_files"] == 0
    assert outcome[name]["files_before"] == old["data_files"]
    assert outcome[name]["files_after"] == new["data_files"]


@pytest.mark.parametrize("name", sorted(expected.FOREIGN_FORMATS))
def test_files_of_other_formats_stay(compacted, java_warehouse, name):
    files = java_warehouse.load(name).inspect.files().to_pylist()
    kept = [file for file in files if file["file_format"] != "PARQUET"]
    assert len(kept) == expected.FOREIGN_FORMATS[name]


@pytest.mark.parametrize("name", sorted(expected.UNCHANGED))
def test_a_table_with_nothing_to_gain_is_left_alone(before, compacted, name):
    outcome, after, _ = compacted
    assert outcome.get(name, {"outcome": "unchanged"})["outcome"] == "unchanged"
    assert after.locations[name] == before.locations[name]


def test_rows_of_other_snapshots_and_refs_stay(compacted, java_warehouse):
    table = java_warehouse.load("props.refs")
    assert set(table.metadata.refs) == {"main", "kept", "side"}
    assert table.scan(snapshot_id=table.metadata.refs["kept"].snapshot_id).to_arrow().num_rows == 120
    staged = java_warehouse.load("props.staged")
    assert any(snapshot.summary["wap.id"] == "trial" for snapshot in staged.snapshots() if "wap.id" in snapshot.summary)


def test_files_go_where_the_table_says(compacted, java_warehouse):
    written = {
        name: [file["file"] for file in compacted[1].check[name]["rewritten"]]
        for name in ("props.data_path", "props.object_storage")
    }
    assert written["props.data_path"] and written["props.object_storage"]
    assert all("/elsewhere/data_path/" in file for file in written["props.data_path"])
    metadata = java_warehouse.metadata_location("props.metadata_path")
    assert "/elsewhere/metadata_path/" in metadata
    assert java_warehouse.metadata_location("props.metadata_gzip").endswith(".gz.metadata.json")


def test_target_size_splits_the_output(compacted):
    files = compacted[1].check["props.small_targets"]["rewritten"]
    assert len(files) > 2
    assert all(file["bytes"] < 2 * 60_000 for file in files)


@pytest.mark.parametrize("state", ["same", "fresh"])
def test_a_second_run_plans_nothing(compacted, icepress, java_warehouse, tmp_path, state):
    _, after, first = compacted
    runner = first if state == "same" else icepress(java_warehouse, state=tmp_path / "fresh.db")
    again = runner.run_once(code=(0,))
    assert {name: table for name, table in again.items() if table["outcome"] != "unchanged"} == {}
    assert java_warehouse.locations() == after.locations


def test_verify_and_plan_agree(compacted, java_warehouse):
    _, _, runner = compacted
    for name in ("types.plain_v2", "deletes.mixed", "evolve.nested"):
        verified = runner.call("verify", name)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        plan = runner.call("--json", "plan", name)
        assert plan.returncode == 0, plan.stderr
        assert not json.loads(plan.stdout).get("groups"), plan.stdout
