"""Tables that were just spoilt, set back: Java and PyIceberg read what was there before, and once it is undone, what came after."""

import pyarrow as pa
import pytest
import readers
from pyiceberg.table.refs import SnapshotRefType

# Deletes of each kind, schemas and specs that evolved, a table of version 1, vectors.
TABLES = ["deletes.upserts", "deletes.positions", "evolve.columns_v1", "evolve.columns_v2", "v3.equality"]


class Restored:
    """The tables, spoilt by one of their own commits undone by hand, and what readers saw at each step."""

    def __init__(self, folder, icepress):
        self.warehouse = warehouse = readers.Warehouse(folder / "ours")
        warehouse.java("write", "--only", ",".join(TABLES))
        self.good = {table: warehouse.load(table).metadata.current_snapshot_id for table in TABLES}
        self.before = warehouse.java_rows(*TABLES)
        # Snapshots, refs, statistics, deletes and re-added files on top.
        warehouse.java("expire", "--do", "age")
        self.spoilt = warehouse.java_rows(*TABLES)
        ours = icepress(warehouse)
        self.shown, self.done = {}, {}
        for table in TABLES:
            to = str(self.good[table])
            self.shown[table] = ours.json("restore", table, "--to", to)
            self.done[table] = ours.json("restore", table, "--to", to, "--yes")
        self.after = warehouse.java_rows(*TABLES)
        self.check = warehouse.java_check()
        self.refs = {table: warehouse.load(table).metadata.refs for table in TABLES}
        for table in TABLES:
            ours.json("restore", table, "--to", self.done[table]["kept_as"], "--yes")
        self.undone = warehouse.java_rows(*TABLES)


@pytest.fixture(scope="module")
def restored(java, icepress, tmp_path_factory):
    return Restored(tmp_path_factory.mktemp("restore"), icepress)


@pytest.mark.parametrize("table", TABLES)
def test_java_reads_what_was_there_before_and_again_what_came_after(restored, table):
    assert restored.spoilt[table] != restored.before[table]
    assert restored.after[table] == restored.before[table]
    assert restored.undone[table] == restored.spoilt[table]
    assert restored.check[table]["problems"] == []


@pytest.mark.parametrize("table", TABLES)
def test_what_is_shown_is_what_is_done(restored, table):
    shown, done = restored.shown[table], restored.done[table]
    assert not shown["restored"] and done["restored"]
    assert shown["undone"] == done["undone"] and len(done["undone"]) > 0
    assert shown["difference"] == done["difference"]
    assert done["missing"]["files"] == 0 and done["missing"]["checked"] > 0
    kept = restored.refs[table][done["kept_as"]]
    assert kept.snapshot_ref_type == SnapshotRefType.TAG
    assert kept.snapshot_id == done["from"]["snapshot_id"]
    # A week, from now.
    assert kept.max_ref_age_ms >= 7 * 24 * 3600 * 1000 - 1
    assert restored.refs[table]["main"].snapshot_id == restored.good[table]


def test_pyiceberg_reads_a_table_that_it_spoilt_itself(icepress, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    catalog = warehouse.catalog()
    catalog.create_namespace("py")
    rows = pa.table({"id": list(range(100)), "name": [f"n{i}" for i in range(100)]})
    table = catalog.create_table("py.t", rows.schema, properties={"icepress.tag.daily": "30d"})
    table.append(rows)
    ours = icepress(warehouse)
    made = ours.json("maintain", "py.t", "--only", "tags")["tags"]["created"]
    [tag] = [tag["name"] for tag in made]
    table.refresh()
    assert table.metadata.refs[tag].snapshot_ref_type == SnapshotRefType.TAG
    table.overwrite(rows.slice(0, 3))
    with table.update_schema() as update:
        update.add_column("late", table.schema().find_type("id"))
    table.append(rows.slice(0, 1).append_column("late", pa.array([1], pa.int64())))
    spoilt = table.scan().to_arrow()
    done = ours.json("restore", "py.t", "--to", tag, "--yes")
    assert len(done["undone"]) == 3
    assert done["schema"]["added"] == ["late"]
    table.refresh()
    found = table.scan().to_arrow()
    assert found.drop_columns(["late"]).sort_by("id").to_pydict() == rows.to_pydict()
    assert found["late"].null_count == 100
    # Others go on from there.
    table.append(rows.slice(0, 1).append_column("late", pa.array([2], pa.int64())))
    assert len(table.scan().to_arrow()) == 101
    ours.json("restore", "py.t", "--to", done["kept_as"], "--yes")
    table.refresh()
    assert table.scan().to_arrow().sort_by("id").to_pydict() == spoilt.sort_by("id").to_pydict()
