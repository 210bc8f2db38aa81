"""The functions' zips, each of one file: `bootstrap`."""

import json
import os
import pathlib
import subprocess
import zipfile

from children import Children, Failure

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ("icepress-scheduler", "icepress-optimizer", "icepress-cleaner")


def build(log: pathlib.Path | None = None, names: tuple[str, ...] = NAMES) -> dict[str, pathlib.Path]:
    """The paths of the binaries: in ICEPRESS_BIN_DIR where that is set, else built with cargo in the profile that
    ICEPRESS_PROFILE names (default: release)."""
    if folder := os.environ.get("ICEPRESS_BIN_DIR"):
        return {name: pathlib.Path(folder) / name for name in names}
    profile = os.environ.get("ICEPRESS_PROFILE", "release")
    # The workspace's default members and not the functions alone: cargo chooses features by what it is asked to build, and by
    # another choice it would compile the dependencies once more, beside those of `cargo run --release`.
    command = ["cargo", "build", "--profile", profile, "--message-format", "json-render-diagnostics"]
    try:
        built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=None if log is None else open(log, "ab"), check=False)
    except FileNotFoundError:
        raise Failure("cargo is not there: install Rust (https://rustup.rs)", 2) from None
    if built.returncode != 0:
        raise Failure(f"the functions do not build: {' '.join(command)}" + (f"; see {log}" if log else ""))
    found = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["target"]["name"] in names:
            found[message["target"]["name"]] = pathlib.Path(message["executable"])
    return found


def zips(children: Children, run: pathlib.Path, **binaries: pathlib.Path | None) -> dict[str, pathlib.Path]:
    """Zips by function (`scheduler`, `optimizer`, `cleaner`), from the binaries given or from a build."""
    if None in binaries.values():
        print("building the functions (several minutes the first time)", flush=True)
        built = build()
        for name in binaries:
            binaries[name] = binaries[name] or built[f"icepress-{name}"]
    return {name: write_zip(binary, run / f"{name}.zip") for name, binary in binaries.items()}


def write_zip(binary: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """A zip that holds `binary` as `bootstrap`; the same binary gives the same bytes, so that a plan stays clean."""
    if not binary.is_file():
        raise Failure(f"{binary} is not there", 2)
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w", compresslevel=1) as archive:
        archive.writestr(entry, binary.read_bytes(), compresslevel=1)
    return target
