"""The readers and the checker, held against each other before anything of ours touches a table.

A checker that cannot fail shows nothing: what these tests prove is that the three readers agree on tables that Java
wrote, and that a manifest entry that lies in any of the ways we look for is found out.
"""

import canon
import expected
import readers

DAMAGES = ["lower_bound", "upper_bound", "value_count", "null_count", "record_count", "size", "split_offsets"]


def test_every_table_is_known(java_warehouse):
    assert sorted(java_warehouse.tables()) == expected.TABLES


def test_tables_as_java_wrote_them_are_clean(before):
    assert {name: check["problems"] for name, check in before.check.items() if check["problems"]} == {}


def test_pyiceberg_and_java_read_the_same_rows(before):
    assert set(before.pyiceberg_refused) == expected.PYICEBERG_REFUSES
    wrong = {
        name: canon.difference(before.java_loose[name], rows)
        for name, rows in before.pyiceberg.items()
        if rows != before.java_loose[name]
    }
    assert wrong == {}


def test_chdb_and_java_count_the_same_rows(before):
    assert {name for name, answer in before.chdb.items() if "error" in answer} == expected.CHDB_CANNOT
    wrong = {
        name
        for name, answer in before.chdb.items()
        if "rows" in answer and len(answer["rows"]) != len(before.java[name])
    }
    assert wrong <= expected.CHDB_WRONG_ABOUT_DELETES


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
