"""A PyIceberg writer: appends, deletes and overwrites at random until its standard input closes.

Its argument is JSON (see tables.Writers). One JSON line for each commit on standard output, once it is known what came of it: `done`,
`refused`, or `unknown` where PyIceberg itself does not know.
"""

import json
import pathlib
import random
import select
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "localstack")]

import tables  # noqa: E402
from pyiceberg.catalog.sql import SqlCatalog  # noqa: E402
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException  # noqa: E402
from pyiceberg.expressions import In  # noqa: E402
from sqlalchemy.exc import OperationalError  # noqa: E402


def open_catalog(place: dict):
    if "endpoint" in place:
        import seed

        return seed.catalog(place["endpoint"])
    return SqlCatalog("default", **place)


def one_commit(catalog, name: str, dice: random.Random, next_id: int) -> dict:
    kind = dice.choices(["append", "delete", "overwrite"], [6, 3, 1])[0]
    said = {"table": name, "kind": kind, "added": [], "deleted": []}
    try:
        table = catalog.load_table(name)
        if kind != "append":
            live = table.scan(selected_fields=("id",)).to_arrow().column(0).to_pylist()
            said["deleted"] = sorted(dice.sample(live, min(len(live), dice.randint(1, 6))))
        if kind != "delete":
            said["added"] = list(range(next_id, next_id + dice.randint(1, 12)))
        if kind == "append":
            table.append(tables.batch(said["added"]))
        elif kind == "delete":
            table.delete(In("id", said["deleted"]))
        else:
            table.overwrite(tables.batch(said["added"]), overwrite_filter=In("id", said["deleted"]))
        return {"outcome": "done", **said}
    except CommitStateUnknownException as error:
        return {"outcome": "unknown", "error": repr(error)[:300], **said}
    except (CommitFailedException, ValidationException, OperationalError) as error:
        # Refused for certain; a lock that SQLite did not give is a statement that did not run.
        return {"outcome": "refused", "error": repr(error)[:300], **said}


def main(words: dict) -> None:
    catalog, dice = open_catalog(words["place"]), random.Random(words["seed"])
    next_id = words["first_id"]
    while not select.select([sys.stdin], [], [], words["pause"] * 2 * dice.random())[0]:
        said = one_commit(catalog, dice.choice(words["tables"]), dice, next_id)
        next_id += len(said["added"])
        print(json.dumps({**said, "at": time.time()}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
