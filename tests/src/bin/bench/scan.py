"""scan.py READER full|selective FILE...: reads files of events once, and prints the CPU-seconds that it took, imports left out."""

import resource
import sys

reader, look, *files = sys.argv[1:]
full = look == "full"
FIRST, LAST = 5_000_000, 5_020_000
COLUMNS = ["event_id", "event_time", "user_id", "kind", "country", "url", "session", "price", "message", "tags", "score", "is_mobile"]


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def sql(source):
    if full:
        sums = ", ".join(f"max({column})" for column in COLUMNS if column != "tags")
        return f"SELECT {sums}, count(tags) FROM {source}"
    return f"SELECT max(url), max(session), count(*) FROM {source} WHERE event_id BETWEEN {FIRST} AND {LAST} AND country <> 'country-001'"


if reader == "pyarrow":
    import pyarrow.compute
    import pyarrow.dataset

    begun = used()
    data = pyarrow.dataset.dataset(files)
    if full:
        for batch in data.to_batches():
            assert batch.num_columns == len(COLUMNS)
    else:
        ids = pyarrow.compute.field("event_id")
        data.to_table(filter=(ids >= FIRST) & (ids <= LAST), columns=["url", "session", "country"])
elif reader == "duckdb":
    import duckdb

    begun = used()
    duckdb.sql(sql(f"read_parquet({files})")).fetchall()
else:
    import chdb

    chdb.query("SELECT 1")
    begun = used()
    for file in files:
        chdb.query(sql(f"file('{file}', Parquet)"))
print(used() - begun)
