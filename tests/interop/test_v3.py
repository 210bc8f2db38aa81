"""Format v3, written by Iceberg Java: row lineage at every stage of a table's life, vectors, defaults, nanoseconds.

Lineage is read by Iceberg's own Parquet readers and delete filter, each row with its id and last updated sequence number.
"""

import json

import canon
import pytest
import readers

# Without a commit since the upgrade no row has an id: the rewrite's commit gives them.
UNIDENTIFIED = {"v3.some_upgraded", "v3.upgraded", "v3.upgraded_plain"}

TABLES = sorted(
    UNIDENTIFIED
    | {
        "v3.defaults",
        "v3.defaults_moments",
        "v3.defaults_nested",
        "v3.equality",
        "v3.nanos",
        "v3.nanos_bucket",
        "v3.nanos_day",
        "v3.nanos_hour",
        "v3.nanos_identity",
        "v3.nanos_month",
        "v3.nanos_year",
        "v3.nested",
        "v3.plain",
        "v3.rewritten",
        "v3.row_groups",
        "v3.some",
        "v3.unknown",
        "v3.upgraded_plain_written",
        "v3.upgraded_written",
        "v3.vectors",
        "v3.vectors_all_gone",
    }
)

# PyIceberg 0.12: no equality deletes, and no nanoseconds in a manifest's partitions.
PYICEBERG_CANNOT = {
    "v3.defaults",
    "v3.defaults_moments",
    "v3.equality",
    "v3.nanos",
    "v3.nanos_identity",
    "v3.upgraded",
    "v3.upgraded_plain",
    "v3.upgraded_plain_written",
    "v3.upgraded_written",
}

# What a commit changes in a metadata file.
MOVED_BY_A_COMMIT = {
    "current-snapshot-id",
    "last-sequence-number",
    "last-updated-ms",
    "metadata-log",
    "next-row-id",
    "refs",
    "snapshot-log",
    "snapshots",
}

REFUSED = {
    "refused.geography": "'odd' is of type geography",
    "refused.geometry": "'odd' is of type geometry",
    "refused.unknown": "'odd.element' is of type unknown",
    "refused.variant": "'odd' is of type variant",
    "refused.variant_inside": "'odd.v' is of type variant",
}


class Seen:
    """A warehouse at one moment, as Java and PyIceberg see it."""

    def __init__(self, warehouse):
        self.locations = warehouse.locations()
        self.check = warehouse.java_check()
        self.lineage = warehouse.java_lineage()
        self.pyiceberg, self.pyiceberg_refused, self.java = {}, {}, {}
        for name in TABLES:
            try:
                schema = warehouse.load(name).schema()
                self.pyiceberg[name] = canon.loose_rows(warehouse.pyiceberg_rows(name), schema)
                self.java[name] = canon.loose_rows(parts(self.lineage[name])[0], schema)
            except Exception as error:
                # Its limits are known by name (PYICEBERG_CANNOT): any other is a finding.
                self.pyiceberg_refused[name] = repr(error)


@pytest.fixture(scope="module")
def warehouse(java, tmp_path_factory):
    warehouse = readers.Warehouse(tmp_path_factory.mktemp("v3"))
    warehouse.java("write", "--only", ",".join(TABLES))
    return warehouse


@pytest.fixture(scope="module")
def seen(icepress, warehouse):
    """Before, what a run said, after, and the runner."""
    before = Seen(warehouse)
    runner = icepress(warehouse)
    outcome = runner.run_once(code=(0, 1))
    return before, outcome, Seen(warehouse), runner


def parts(lines):
    """Rows without their lineage, row ids, and rows with their last update."""
    rows = [json.loads(line) for line in lines]
    plain = sorted(canon.dumps(row[:-2]) for row in rows)
    updated = sorted(canon.dumps([*row[:-2], row[-1]]) for row in rows)
    return plain, [row[-2] for row in rows], updated


@pytest.mark.parametrize("name", TABLES)
def test_c21_rows_and_lineage_are_the_same(seen, name):
    before, outcome, after, _ = seen
    assert outcome[name]["outcome"] == "compacted", outcome[name]
    assert after.check[name]["data_files"] < before.check[name]["data_files"]
    old, new = before.lineage[name], after.lineage[name]
    if name not in UNIDENTIFIED:
        assert old == new, canon.difference(old, new)
        return
    # C22: no row had an id. Each has one now, and no two the same; what is known of its last change stays.
    (_, no_ids, old_updated), (_, ids, new_updated) = parts(old), parts(new)
    assert set(no_ids) == {None}
    assert None not in ids and len(set(ids)) == len(ids)
    assert old_updated == new_updated, canon.difference(old_updated, new_updated)


@pytest.mark.parametrize("name", TABLES)
def test_manifests_lists_and_vectors_are_right(seen, name):
    before, _, after, _ = seen
    assert before.check[name]["problems"] == []
    assert after.check[name]["problems"] == []
    assert after.check[name]["needless"] == []
    assert after.check[name]["operation"] == "replace"
    if name != "v3.some":
        assert after.check[name]["delete_files"] == 0


def test_the_limits_of_pyiceberg_are_known(seen):
    assert set(seen[0].pyiceberg_refused) == PYICEBERG_CANNOT


@pytest.mark.parametrize("name", TABLES)
def test_pyiceberg_reads_the_same_rows(seen, name):
    before, _, after, _ = seen
    assert name not in after.pyiceberg_refused or name in before.pyiceberg_refused
    if name in after.pyiceberg:
        ours, theirs = after.java[name], after.pyiceberg[name]
        assert ours == theirs, canon.difference(ours, theirs)


def test_the_second_plan_is_empty(seen, warehouse, icepress, tmp_path):
    _, _, after, first = seen
    for runner in (first, icepress(warehouse, state=tmp_path / "fresh.db")):
        again = runner.run_once()
        assert {table["outcome"] for table in again.values()} <= {"unchanged"}
    assert warehouse.locations() == after.locations


def test_what_the_rewrite_does_not_touch_stays_in_the_metadata(seen, warehouse):
    """Schemas with their defaults and docs, letter for letter; and nothing else that Java wrote is left out."""
    before, _, after, _ = seen
    for name in TABLES:
        old, new = (warehouse.metadata_at(moment.locations[name]) for moment in (before, after))
        assert new["schemas"] == old["schemas"], name
        for key in old.keys() - MOVED_BY_A_COMMIT:
            # An empty list is left out, as the specification lets us.
            assert (new.get(key) or None) == (old[key] or None), (name, key)
        kept = {snapshot["snapshot-id"]: snapshot for snapshot in new["snapshots"]}
        for snapshot in old["snapshots"]:
            assert kept[snapshot["snapshot-id"]] == snapshot, name


def test_verify_looks_at_lineage_too(seen):
    for name in ("v3.plain", "v3.vectors", "v3.rewritten", "v3.upgraded_plain", "v3.defaults", "v3.defaults_moments"):
        verified = seen[3].call("verify", name)
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_java_goes_on_where_the_rewrite_ended(seen, warehouse, icepress, tmp_path):
    """Another writer's commits on top, vectors on rewritten files among them, and a second rewrite: the ids go on."""
    names = ["v3.some", "v3.upgraded_plain"]
    before = warehouse.java_lineage(*names)
    for name in names:
        warehouse.java("writer", "--table", name, "--kind", "append", "--commits", "5", "--from", "100000")
        warehouse.java("writer", "--table", name, "--kind", "vector", "--commits", "2", "--from", "0")
    middle = warehouse.java_lineage(*names)
    outcome = icepress(warehouse, state=tmp_path / "again.db").run_once()
    after, check = warehouse.java_lineage(*names), warehouse.java_check(*names)
    for name in names:
        assert outcome[name]["outcome"] == "compacted"
        assert middle[name] != before[name]
        assert after[name] == middle[name], canon.difference(middle[name], after[name])
        assert check[name]["problems"] == []
        _, ids, _ = parts(after[name])
        assert len(set(ids)) == len(ids)


def test_what_cant_be_rewritten_is_left_alone_each_time(java, icepress, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    warehouse.java("write", "--only", ",".join([*REFUSED, "types.plain_v2"]))
    locations = warehouse.locations()
    runner = icepress(warehouse)
    for compacted in ("compacted", "unchanged"):
        outcome = runner.run_once()
        assert outcome["types.plain_v2"]["outcome"] == compacted
        for name, reason in REFUSED.items():
            assert outcome[name]["outcome"] == "refused", outcome[name]
            assert reason in outcome[name]["reason"] and "\n" not in outcome[name]["reason"]
    listed = {table["table"]: table for table in runner.json("tables")["tables"]}
    for name, reason in REFUSED.items():
        known = listed[f"default.{name}"]
        assert known["state"] == "refused" and reason in known["refused"]
        for word in ("plan", "explain"):
            said = runner.call(word, name)
            assert reason in said.stdout + said.stderr
        assert warehouse.metadata_location(name) == locations[name]
