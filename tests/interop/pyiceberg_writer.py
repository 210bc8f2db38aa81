"""A writer on PyIceberg that works while something else compacts: one JSON line for each commit that the catalog took.

Arguments: catalog uri, warehouse, table, append|delete|overwrite, commits, first id, seconds (0 for so many commits),
pause in seconds, and, where it is to go on after that until there is such a file, up to eight times as long, its path.
"""

import json
import pathlib
import random
import sys
import time

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import In
from sqlalchemy.exc import OperationalError


def main(uri, warehouse, name, kind, commits, first, seconds, pause, until=None):
    catalog = SqlCatalog("default", uri=uri, warehouse=warehouse)
    table = catalog.load_table(name)
    chance = random.Random(first)
    next_id = first
    begun = time.monotonic()
    done = 0
    while True:
        times = 8 if until and not pathlib.Path(until).exists() else 1
        if time.monotonic() - begun >= times * seconds if seconds else done >= times * commits:
            break
        done += 1
        added, deleted = [], []
        table = catalog.load_table(name)
        try:
            if kind == "append":
                added = list(range(next_id, next_id + 10))
                next_id += 10
                rows = [{"id": i, "low_part": i % 3, "text": f"by PyIceberg {i}"} for i in added]
                table.append(pyarrow.Table.from_pylist(rows, schema=table.schema().as_arrow()))
            else:
                live = table.scan(selected_fields=("id",)).to_arrow().column(0).to_pylist()
                deleted = chance.sample(live, min(3, len(live)))
                if kind == "delete":
                    table.delete(In("id", deleted))
                else:
                    added = list(range(next_id, next_id + len(deleted)))
                    next_id += len(deleted)
                    rows = [{"id": i, "low_part": i % 3, "text": f"in another's place {i}"} for i in added]
                    fresh = pyarrow.Table.from_pylist(rows, schema=table.schema().as_arrow())
                    table.overwrite(fresh, overwrite_filter=In("id", deleted))
            print(json.dumps({"added": added, "deleted": deleted}), flush=True)
        except (CommitFailedException, ValidationException, OperationalError, UnicodeEncodeError) as refusal:
            # Refused for certain: PyIceberg raises another error where it does not know. A lock that SQLite did not
            # give is a statement that did not run; a text whose upper bound PyIceberg 0.12 cannot write (it counts up to
            # a surrogate) fails before anything is committed.
            print(json.dumps({"refused": repr(refusal)[:300]}), flush=True)
        time.sleep(pause)


main(*sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6]), float(sys.argv[7]), float(sys.argv[8]), *sys.argv[9:])
