"""Icepress on this machine as it is on AWS, without Docker.

Starts MiniStack on loopback, builds the two functions, applies infra/ to it, seeds a Glue table of many small files, and stays until
stopped (Ctrl-C or SIGTERM). From then on the schedule fires the scheduler, the queues feed the optimizer, and what changes gets
compacted with no further hand.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import bootstraps  # noqa: E402
import deployment  # noqa: E402
import seed  # noqa: E402
from children import Children, Failure  # noqa: E402


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="localstack/up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--once", action="store_true", help="wait until the seeded table is compacted, verify, end; the exit code tells")
    arguments.add_argument("--keep", action="store_true", help="with --once: stay afterwards all the same")
    arguments.add_argument("--port", type=int, default=0, help="port on loopback (default: a free one)")
    arguments.add_argument("--no-seed", action="store_true", help="make no table")
    arguments.add_argument("--wait", type=int, default=900, metavar="SECONDS", help="with --once: how long compaction may take (default 900)")
    arguments.add_argument("--scheduler", type=pathlib.Path, help="a scheduler binary to use instead of building one")
    arguments.add_argument("--optimizer", type=pathlib.Path, help="an optimizer binary to use instead of building one")
    arguments.add_argument("--cleaner", type=pathlib.Path, help="a cleaner binary to use instead of building one")
    arguments.add_argument("--emulator", choices=["ministack", "moto"], default="ministack", help="moto fires no schedule: for tests that drive the binaries themselves")
    arguments.add_argument("--mode", type=mode, default="maintain", help='maintain (default), observe, or JSON of modes by name: {"default": "observe", "table": {"glue.demo.*": "maintain"}}')
    options = arguments.parse_args()
    if options.once and (options.no_seed or options.emulator == "moto"):
        arguments.error("--once needs the seeded table and MiniStack's schedule")
    if options.once and options.mode != "maintain":
        arguments.error("--once waits for the seeded table to be compacted: what is only observed never is")
    return options


def mode(text: str) -> str | dict:
    """One word, or modes by name; infra/ says which there are."""
    return json.loads(text) if text.startswith("{") else text


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def start_emulator(children: Children, options: argparse.Namespace, run: pathlib.Path) -> str:
    """Starts the emulator; returns its address."""
    script = {"ministack": "mini_server.py", "moto": "moto_server.py"}[options.emulator]
    # Code of functions lies in the temporary folder: keep it with the run.
    environment = {**os.environ, "TMPDIR": str(run / "tmp")}
    (run / "tmp").mkdir()
    server = children.start("server", [sys.executable, HERE / script, "--port", str(options.port)], run / "server.log", environment, pipe=True)
    address = server.stdout.readline().strip()
    if not address:
        raise Failure(f"{script} did not start; see {run / 'server.log'}")
    return address


def settled(endpoint: str, stack: deployment.Deployment, before: seed.Seen, seconds: int) -> seed.Seen:
    """Waits until the table was rewritten and no task is left; returns what a reader sees then."""
    sqs, glue = seed.aws("sqs", endpoint), seed.catalog(endpoint)
    deadline = time.monotonic() + seconds
    last_location = before.metadata_location
    while time.monotonic() < deadline:
        time.sleep(3)
        table = glue.load_table((seed.DATABASE, "events"))
        if table.metadata_location != last_location:
            last_location = table.metadata_location
            snapshot = table.current_snapshot()
            say(f"the table has a new snapshot: {snapshot.summary.operation.value} {snapshot.summary.additional_properties}")
            continue
        if last_location != before.metadata_location and not any(stack.waiting(sqs)):
            return seed.look(table)
    raise Failure(f"the table was not compacted within {seconds} s")


def verify(endpoint: str, stack: deployment.Deployment, before: seed.Seen, seconds: int) -> None:
    """The whole promise, or Failure: compacted by the schedule alone, same rows, nothing left over, nothing to do again, no drift."""
    after = settled(endpoint, stack, before, seconds)
    say(f"before: {dataclasses.asdict(before)}")
    say(f"after:  {dataclasses.asdict(after)}")
    if (after.rows, after.fingerprint) != (before.rows, before.fingerprint):
        raise Failure("the rows differ after compaction")
    if after.operation != "replace":
        raise Failure(f"the last snapshot is {after.operation}, not replace")
    if after.data_files > seed.DAYS * 2:
        raise Failure(f"{after.data_files} data files are left of {before.data_files}; {seed.DAYS} partitions need no more than {seed.DAYS * 2}")
    dead = stack.dead(seed.aws("sqs", endpoint))
    if dead:
        raise Failure(f"{dead} tasks went to the dead-letter queues")
    say("rows are the same, files are fewer, no dead letters")

    answer = stack.invoke_scheduler(seed.aws("lambda", endpoint))
    say(f"one more tick says: {answer}")
    time.sleep(5)
    again = seed.catalog(endpoint).load_table((seed.DATABASE, "events"))
    if again.metadata_location != after.metadata_location or any(stack.waiting(seed.aws("sqs", endpoint))):
        raise Failure("a second tick found work in a table that was just compacted")
    say("a second tick finds nothing to do")

    data_file = table_file(endpoint)
    stack.assert_only_the_cleaner_may_delete(lambda service, **session: seed.aws(service, endpoint, **session), seed.BUCKET, data_file)
    say("each role may read a data file, and the cleaner's alone may delete one, and nothing elsewhere")

    stack.assert_no_drift()
    say("terraform plan: no changes")


def table_file(endpoint: str) -> str:
    """Key of one of the seeded table's data files."""
    table = seed.catalog(endpoint).load_table((seed.DATABASE, "events"))
    return table.inspect.files().to_pylist()[0]["file_path"].removeprefix(f"s3://{seed.BUCKET}/")


def show(endpoint: str, stack: deployment.Deployment, run: pathlib.Path, seeded: bool, once: bool) -> None:
    """How a person looks at what runs."""
    print(
        f"""
  endpoint: {endpoint}   (region {seed.REGION}, access key {seed.ACCOUNT}, secret test)

  export AWS_ENDPOINT_URL={endpoint} AWS_REGION={seed.REGION} AWS_ACCESS_KEY_ID={seed.ACCOUNT} AWS_SECRET_ACCESS_KEY=test
  aws logs tail /aws/lambda/{stack.outputs['scheduler_function_name']}
  aws logs tail /aws/lambda/{stack.outputs['optimizer_function_name']}
  aws logs tail /aws/lambda/{stack.outputs['cleaner_function_name']}
  aws dynamodb scan --table-name {stack.outputs['state_table_name']}
  server log: {run / 'server.log'}

  {f"tables under s3://{seed.BUCKET}/warehouse" if once else "tables"} in any Glue database are looked after, each minute{': ' + seed.DATABASE + '.events is there already' if seeded else ''}.
  PyIceberg: cd {HERE} && {sys.executable} -c 'import seed; print(seed.look(seed.catalog("{endpoint}").load_table(("{seed.DATABASE}", "events"))))'
""",
        flush=True,
    )


def main() -> int:
    options = parse()
    # SIGTERM ends us as Ctrl-C does: by way of `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = ROOT / "target" / "localstack" / f"run-{os.getpid()}"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    children = Children()
    endpoint = stack = None
    try:
        terraform = deployment.find_terraform()
        say(f"starting {options.emulator}; logs are in {run}")
        endpoint = start_emulator(children, options, run)
        say(f"{options.emulator} listens on {endpoint}")
        zips = bootstraps.zips(children, run, scheduler=options.scheduler, optimizer=options.optimizer, cleaner=options.cleaner)
        # --once proves that the roles suffice with no more than they need; who stays may make tables wherever they like.
        locations = [f"{seed.BUCKET}/warehouse"] if options.once else ["*"]
        stack = deployment.Deployment(children, terraform, run, endpoint, zips, platform.machine(), locations, options.mode)
        say("applying infra/ (about a minute and a half: most of it are the provider's own waits)")
        stack.begin_apply()
        before = None
        if not options.no_seed:
            before = seed.make(endpoint)
            say(f"seeded {seed.DATABASE}.events: {before.data_files} data files, {before.rows} rows")
        stack.finish_apply()
        say("infra/ is applied; the schedule ticks each minute")
        show(endpoint, stack, run, before is not None, options.once)
        if options.once:
            verify(endpoint, stack, before, options.wait)
            say("all well")
        if not options.once or options.keep:
            say("running until stopped (Ctrl-C)")
            children.wait("server")
            raise Failure(f"the emulator ended by itself; see {run / 'server.log'}")
        return 0
    except Failure as failure:
        print(f"localstack/up: {failure}", file=sys.stderr)
        if endpoint and stack and stack.outputs:
            stack.print_function_logs(seed.aws("logs", endpoint))
        tail(run / "server.log")
        return failure.code
    except KeyboardInterrupt:
        say("stopped")
        return 0 if not options.once else 130
    finally:
        children.end_all()
        for bulky in ("tmp", "src"):
            shutil.rmtree(run / bulky, ignore_errors=True)
        for bulky in run.glob("*.zip"):
            bulky.unlink()


def tail(log: pathlib.Path, lines: int = 40) -> None:
    """The end of a log, on stderr."""
    if log.exists():
        print(f"the last lines of {log}:", file=sys.stderr)
        print("\n".join(log.read_text(errors="replace").splitlines()[-lines:]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
