"""`icepress repair`: a table whose manifests are wrong about sound files is mended, as PyIceberg reads it and `icepress run` takes it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import readers
from pyiceberg.io.pyarrow import parquet_files_to_data_files
from pyiceberg.manifest import DATA_FILE_TYPE

FIELDS = [field.name for field in DATA_FILE_TYPE[2].fields]


def rows(number):
    return pa.table({"id": pa.array(range(number * 10, number * 10 + 10), pa.int64())})


def add(table, files):
    """Adds files, each with what its entry is to say wrongly."""
    with table.transaction() as transaction:
        with transaction.update_snapshot().fast_append() as append:
            for path, wrong in files:
                [file] = parquet_files_to_data_files(table.io, table.metadata, iter([path]))
                for name, value in wrong.items():
                    file._data[FIELDS.index(name)] = value
                append.append_data_file(file)


@pytest.fixture
def warehouse(tmp_path):
    return readers.Warehouse(tmp_path)


@pytest.fixture
def table(warehouse):
    """Eight files of ten rows: one with a wrong count, one with a wrong size."""
    catalog = warehouse.catalog()
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.orders", rows(0).schema)
    with table.transaction() as transaction:
        transaction.set_properties({"schema.name-mapping.default": table.schema().name_mapping.model_dump_json()})
    paths = []
    folder = readers.path_of(table.location()) / "data"
    folder.mkdir(parents=True)
    for number in range(8):
        pq.write_table(rows(number), folder / f"{number}.parquet")
        paths.append(f"{table.location()}/data/{number}.parquet")
    wrong = {2: {"record_count": 3}, 5: {"file_size_in_bytes": 20}}
    add(table, [(path, wrong.get(number, {})) for number, path in enumerate(paths)])
    return paths


def ids(warehouse):
    """The rows as PyIceberg reads them."""
    return sorted(warehouse.load("shop.orders").scan().to_arrow()["id"].to_pylist())


def test_counts_and_sizes_are_mended(icepress, warehouse, table):
    icepress = icepress(warehouse)
    before = warehouse.metadata_location("shop.orders")
    found = icepress.json("repair", "shop.orders", code=(1,))
    told = {file["path"]: {it["what"]: (it["before"], it["after"]) for it in file["corrections"]} for file in found["files"]}
    size = str(readers.path_of(table[5]).stat().st_size)
    assert told[table[2]]["record_count"] == ("3", "10")
    assert told[table[5]] == {"file_size_in_bytes": ("20", size)}
    assert len(told) == 2 and not found["duplicates"] and not found["left"] and not found["sound"]
    assert warehouse.metadata_location("shop.orders") == before, "a dry run changes nothing"

    mended = icepress.json("repair", "shop.orders", "--apply")
    assert mended["files"] == found["files"] and mended["sound"]
    loaded = warehouse.load("shop.orders")
    snapshot = loaded.current_snapshot()
    assert snapshot.snapshot_id == mended["snapshot_id"]
    assert snapshot.summary.operation.value == "replace"
    assert snapshot.summary["total-records"] == "80"
    assert loaded.scan().count() == 80, "PyIceberg counts by the manifests"
    assert ids(warehouse) == list(range(80))
    assert icepress.json("repair", "shop.orders")["sound"]

    assert icepress.run_once()["shop.orders"]["outcome"] == "compacted"
    assert ids(warehouse) == list(range(80))
    assert icepress.json("verify", "shop.orders")["same"]


def test_a_file_listed_twice_takes_a_word_of_its_own(icepress, warehouse, table):
    icepress = icepress(warehouse)
    add(warehouse.load("shop.orders"), [(table[0], {})])
    icepress.json("repair", "shop.orders", "--apply", code=(1,))
    assert len(ids(warehouse)) == 90, "PyIceberg reads the file as often as it is listed, and nobody asked to change that"
    said = icepress.call("repair", "shop.orders")
    assert said.returncode == 1 and "CHANGES WHAT READERS SEE" in said.stdout, said.stdout
    mended = icepress.json("repair", "shop.orders", "--apply", "--drop-duplicates")
    assert [it["path"] for it in mended["duplicates"]] == [table[0]]
    assert ids(warehouse) == list(range(80))
    assert warehouse.load("shop.orders").current_snapshot().summary.operation.value == "delete"
    assert readers.path_of(table[0]).is_file()
    assert icepress.run_once()["shop.orders"]["outcome"] == "compacted"
    assert ids(warehouse) == list(range(80))


def test_what_is_gone_or_cut_short_is_told(icepress, warehouse, table):
    icepress = icepress(warehouse)
    readers.path_of(table[1]).unlink()
    file = readers.path_of(table[3])
    file.write_bytes(file.read_bytes()[:100])
    mended = icepress.json("repair", "shop.orders", "--apply", code=(1,))
    left = {it["file"]: it for it in mended["left"]}
    assert set(left) == {table[1], table[3]}
    assert "not there" in left[table[1]]["what"] and "cut short" in left[table[3]]["what"]
    assert all("restore" in it["advice"] for it in left.values())
    paths = warehouse.load("shop.orders").inspect.files()["file_path"].to_pylist()
    assert sorted(paths) == sorted(table), "everything is listed still"
