"""A writer on PyIceberg that works while something else compacts: one JSON line for each commit that the catalog took.

Arguments: catalog uri, warehouse, table, append|delete, commits, first id.
"""

import json
import random
import sys
import time

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import In
from sqlalchemy.exc import OperationalError


def main(uri, warehouse, name, kind, commits, first):
    catalog = SqlCatalog("default", uri=uri, warehouse=warehouse)
    table = catalog.load_table(name)
    chance = random.Random(first)
    next_id = first
    for _ in range(commits):
        added, deleted = [], []
        table = catalog.load_table(name)
        try:
            if kind == "append":
                added = list(range(next_id, next_id + 10))
                next_id += 10
                rows = [{"id": i, "part": i % 3, "text": f"by PyIceberg {i}"} for i in added]
                table.append(pyarrow.Table.from_pylist(rows, schema=table.schema().as_arrow()))
            else:
                live = table.scan(selected_fields=("id",)).to_arrow().column(0).to_pylist()
                deleted = chance.sample(live, min(3, len(live)))
                table.delete(In("id", deleted))
            print(json.dumps({"added": added, "deleted": deleted}), flush=True)
        except (CommitFailedException, ValidationException, OperationalError) as refusal:
            # Refused for certain: PyIceberg raises another error where it does not know. A lock that SQLite did not
            # give is a statement that did not run.
            print(json.dumps({"refused": repr(refusal)[:300]}), flush=True)
        time.sleep(0.05)


main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
