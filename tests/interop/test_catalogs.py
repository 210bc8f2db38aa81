"""The catalogs that people have: Java's and PyIceberg's SQL catalogs, old and new, found by each kind of configuration."""

import sqlite3

import canon
import pytest
import readers

SOME = "types.nested,parts.evolved,deletes.mixed,deletes.positions_parts"


def compacted_right(warehouse, icepress, how):
    """One run over a small warehouse: the same rows by Java, clean manifests, and a second run that finds nothing."""
    before, old = warehouse.java_rows(), warehouse.java_check()
    runner = icepress(warehouse, how=how)
    outcome = runner.run_once()
    assert {name: table["outcome"] for name, table in outcome.items()} == {name: "compacted" for name in before}
    after, new = warehouse.java_rows(), warehouse.java_check()
    for name in before:
        assert after[name] == before[name], canon.difference(before[name], after[name])
        assert new[name]["problems"] == []
        assert new[name]["data_files"] < old[name]["data_files"]
    locations = warehouse.locations()
    again = runner.run_once()
    assert {table["outcome"] for table in again.values()} <= {"unchanged"}
    assert warehouse.locations() == locations


@pytest.mark.parametrize("how", ["environment", "yaml", "toml"])
def test_java_catalog_without_the_type_column(java, icepress, tmp_path, how):
    """Java's JdbcCatalog before views, and PyIceberg before 0.12, made the table without iceberg_type."""
    warehouse = readers.Warehouse(tmp_path, catalog="lake")
    warehouse.java("write", "--only", SOME, "--schema-version", "V0")
    with sqlite3.connect(warehouse.db) as db:
        columns = [row[1] for row in db.execute("pragma table_info(iceberg_tables)")]
        if "iceberg_type" in columns:
            db.execute("alter table iceberg_tables drop column iceberg_type")
    columns = [row[1] for row in sqlite3.connect(warehouse.db).execute("pragma table_info(iceberg_tables)")]
    assert "iceberg_type" not in columns
    # From here on Java has to open it as old as it is.
    plain = warehouse.java
    warehouse.java = lambda *words, **more: plain(*words, "--schema-version", "V0", **more)
    compacted_right(warehouse, icepress, how)


def test_a_catalog_with_two_names_in_one_file(java, icepress, tmp_path):
    """Two catalogs may share one SQLite file; each run touches its own tables only."""
    ours = readers.Warehouse(tmp_path, catalog="ours")
    theirs = readers.Warehouse(tmp_path, catalog="theirs")
    ours.java("write", "--only", "types.plain_v2")
    theirs.data = tmp_path / "theirs"
    theirs.java("write", "--only", "types.plain_v1")
    outcome = icepress(ours).run_once()
    assert set(outcome) == {"types.plain_v2"}
    assert outcome["types.plain_v2"]["outcome"] == "compacted"
    assert theirs.java_check()["types.plain_v1"]["data_files"] == 20


def test_a_view_in_the_catalog_is_no_table(java, icepress, tmp_path):
    """The catalog table lists views too, told apart by iceberg_type alone."""
    warehouse = readers.Warehouse(tmp_path)
    warehouse.java("write", "--only", "types.plain_v2")
    with sqlite3.connect(warehouse.db) as db:
        db.execute(
            "insert into iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)"
            " values ('default', 'types', 'a_view', 'file:/nowhere/view.json', 'VIEW')"
        )
    outcome = icepress(warehouse).run_once()
    assert {name: table["outcome"] for name, table in outcome.items()} == {"types.plain_v2": "compacted"}
