"""Iceberg's own REST server, from the harness, over a warehouse's SQLite catalog; and PyIceberg as its client."""

import contextlib
import subprocess
import sys

import readers
from pyiceberg.catalog.rest import RestCatalog

CREDENTIAL = "upkeep:open sesame"
ACCOUNT, SECRET, REGION = "123456789012", "test", "us-east-1"


@contextlib.contextmanager
def serve(warehouse, *options):
    """The server's address, for as long as it is wanted. It ends with its standard input."""
    place = ["--db", str(warehouse.db), "--warehouse", str(warehouse.data), "--catalog", warehouse.name]
    command = readers.java_command("rest", "--credential", CREDENTIAL, *place, *options)
    with (warehouse.folder / "rest.err").open("w") as errors:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            uri = server.stdout.readline().strip()
            assert uri.startswith("http://127.0.0.1:"), (warehouse.folder / "rest.err").read_text()
            yield uri
        finally:
            server.stdin.close()
            server.wait(timeout=30)


def client(uri):
    return RestCatalog("rest", **{"uri": uri, "credential": CREDENTIAL, "oauth2-server-uri": f"{uri}/v1/oauth/tokens"})


@contextlib.contextmanager
def aws():
    """The emulated AWS, for as long as it is wanted: its address. The root caller's key is ACCOUNT, its secret `test`."""
    script = readers.ROOT / "localstack" / "mini_server.py"
    server = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(timeout=30)
