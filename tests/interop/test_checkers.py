"""The readers and the checker, held against each other before anything of ours touches a table.

A checker that cannot fail shows nothing: what these tests prove is that the three readers agree on tables that Java
wrote, and that a manifest entry that lies in any of the ways we look for is found out.
"""

import canon
import pytest
import readers

# What PyIceberg 0.12 says that it cannot read: equality deletes, and Avro files.
PYICEBERG_REFUSES = {
    "props.with_avro",
    "deletes.equality",
    "deletes.equality_key_sets",
    "deletes.equality_null_keys",
    "deletes.equality_types",
    "deletes.global",
    "deletes.mixed",
    "deletes.upserts",
    "deletes.v1_upgraded",
    "evolve.with_deletes",
}


@pytest.fixture(scope="module")
def java_rows(java_warehouse):
    return java_warehouse.java_rows()


def test_java_tables_are_clean(java_warehouse):
    found = {name: check["problems"] for name, check in java_warehouse.java_check().items() if check["problems"]}
    assert found == {}


def test_pyiceberg_and_java_read_the_same_rows(java_warehouse, java_rows):
    refused, wrong = set(), {}
    for name in java_warehouse.tables():
        schema = java_warehouse.load(name).schema()
        try:
            theirs = canon.loose_rows(java_warehouse.pyiceberg_rows(name), schema)
        except readers.Refused:
            refused.add(name)
            continue
        except Exception as error:
            wrong[name] = repr(error)[:300]
            continue
        ours = canon.loose_rows(java_rows[name], schema)
        if ours != theirs:
            wrong[name] = canon.difference(ours, theirs)
    assert wrong == {}
    assert refused == PYICEBERG_REFUSES


DAMAGES = ["lower_bound", "upper_bound", "value_count", "null_count", "record_count", "size", "split_offsets"]


def test_the_check_finds_each_lie(java, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    warehouse.java("write", "--only", "types.plain_v2,parts.identity")
    assert all(not check["problems"] for check in warehouse.java_check().values())
    for count, kind in enumerate(DAMAGES, start=1):
        warehouse.java("damage", "--table", "types.plain_v2", "--kind", kind)
        problems = warehouse.java_check("types.plain_v2")["types.plain_v2"]["problems"]
        files = {problem.split()[0] for problem in problems}
        assert len(files) >= count, f"{kind} went unseen: {problems}"
    warehouse.java("damage", "--table", "parts.identity", "--kind", "partition")
    problems = warehouse.java_check("parts.identity")["parts.identity"]["problems"]
    assert any("partition: city says" in problem for problem in problems), problems
