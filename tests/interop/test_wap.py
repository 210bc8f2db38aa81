"""Write, audit, publish: what is staged, tagged or on another branch is as good after a rewrite as before."""

import json

import readers
from test_writers import TABLE, seeded


def refs(warehouse, do):
    return json.loads(warehouse.java("wap", "--table", TABLE, "--do", do).stdout.splitlines()[-1])


def test_a_staged_snapshot_is_published_after_a_rewrite(java, icepress, tmp_path):
    warehouse = readers.Warehouse(tmp_path)
    expected = sorted(seeded(warehouse, "parted"))
    staged = refs(warehouse, "stage")
    extra = [id for id in staged["staged"] if id >= 200_000]
    side = [id for id in staged["side"] if id >= 100_000]
    assert len(extra) == len(side) == 10
    assert staged["main"] == staged["before"] == expected

    outcome = icepress(warehouse).run_once()[TABLE]
    assert outcome["outcome"] == "compacted"
    assert outcome["files_after"] < outcome["files_before"]

    published = refs(warehouse, "publish")
    assert published["main"] == sorted(expected + extra)
    assert published["before"] == expected
    assert published["side"] == sorted(expected + side)
    assert published["staged"] == staged["staged"]
    check = warehouse.java_check(TABLE)[TABLE]
    assert check["problems"] == []
    # What was published is looked after in its turn.
    again = icepress(warehouse).run_once()[TABLE]
    assert again["outcome"] in ("compacted", "unchanged")
    assert refs_after(warehouse) == sorted(expected + extra)


def refs_after(warehouse):
    rows = warehouse.java_rows(TABLE)[TABLE]
    return sorted(json.loads(row)[0] for row in rows)
