"""Reads Iceberg tables with chDB, in a process of its own, since an engine that crashes must not take the tests along.

Standard input: a JSON object of table name to metadata file. Output: one JSON line a table, its rows or its error.
"""

import json
import pathlib
import sys

from chdb import session

# Text that does not round: integers whole, floats with the digits that tell them apart, NaN and infinities named.
FORMAT = (
    "SETTINGS use_iceberg_metadata_files_cache = 0, output_format_json_quote_64bit_integers = 1,"
    " output_format_json_quote_denormals = 1, output_format_json_quote_decimals = 1,"
    " output_format_json_validate_utf8 = 0"
)


def base_and_rest(metadata):
    """The folder that chDB calls the table, and the metadata file relative to it."""
    folder = pathlib.Path(metadata).parent
    base = folder.parent if folder.name == "metadata" else folder
    return base, pathlib.Path(metadata).relative_to(base)


def main():
    connection = session.Session()
    for name, metadata in json.load(sys.stdin).items():
        base, rest = base_and_rest(metadata)
        table = f"icebergLocal('{base}', SETTINGS iceberg_metadata_file_path = '{rest}')"
        try:
            answer = connection.query(f"SELECT * FROM {table} {FORMAT}", "JSONCompactEachRow")
            # Bytes first: text has more line breaks than JSON does.
            lines = answer.bytes().rstrip(b"\n").split(b"\n") if answer.bytes() else []
            rows = sorted(line.decode("utf-8", "backslashreplace") for line in lines)
            result = {"table": name, "rows": rows}
        except Exception as error:  # whatever the engine says is the answer
            result = {"table": name, "error": str(error)}
            # What a failed query had printed so far would come out with the next one's rows.
            connection.query("SELECT 1")
        print(json.dumps(result), flush=True)


main()
