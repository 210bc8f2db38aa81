"""Kills and pauses the real binaries at random beside a PyIceberg writer, lets them come to rest, and judges what is left.

`cleaner`: who deletes dies at chosen calls (tests/kills cleaner --help). `aws`: schedulers and optimizers as functions on an emulator, each reached through a gate that strikes at a chosen request, before it
took effect or after. `laptop`: several `icepress run` on one state file, or with --phases more and fewer of them. What is struck, where and how follows from the seed; what
the processes do in between does not, so a seed is no replay.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "localstack"), str(ROOT / "tests" / "cloud"), str(ROOT / "tests" / "interop")]

import cleaner  # noqa: E402
import cloud  # noqa: E402
import judge  # noqa: E402
import laptop  # noqa: E402
import strikes  # noqa: E402
import tables  # noqa: E402


def parse() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="tests/kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("place", choices=["aws", "laptop"])
    words.add_argument("--minutes", type=float, default=10, help="how long there are strikes (default 10)")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--emulator", choices=["moto", "mini"], default="moto", help="aws: which one (mini is MiniStack)")
    words.add_argument("--schedulers", type=int, default=3, help="aws: how many (default 3)")
    words.add_argument("--optimizers", type=int, default=4, help="aws: how many (default 4)")
    words.add_argument("--runs", type=int, default=3, help="laptop: how many icepress run (default 3)")
    words.add_argument(
        "--phases", type=numbers, default=[], metavar="N,N,…", help="laptop: after the strikes so many runs one after another, as 1,8,2; half of those that go are killed"
    )
    words.add_argument("--phase", type=float, default=30, metavar="SECONDS", help="laptop: how long each of --phases lasts (default 30)")
    words.add_argument("--writers", type=int, default=2)
    words.add_argument("--tables", type=int, default=5)
    words.add_argument("--pause", type=float, default=0.3, metavar="SECONDS", help="a writer's rest between two commits (default 0.3)")
    words.add_argument("--rest", type=float, default=240, metavar="SECONDS", help="how long it may take to come to rest (default 240)")
    words.add_argument("--keep", type=pathlib.Path, metavar="DIR", help="keep logs, journals and files there")
    options = words.parse_args()
    if options.phases and options.place != "laptop":
        words.error("--phases goes with laptop")
    return options


def numbers(text: str) -> list[int]:
    found = [int(each) for each in text.split(",")]
    if not all(each > 0 for each in found):
        raise argparse.ArgumentTypeError("1 or more each")
    return found


def main() -> int:
    if sys.argv[1:2] == ["cleaner"]:
        return cleaner.main(sys.argv[2:])
    options = parse()
    # SIGTERM ends us as Ctrl-C does: by way of every `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = (options.keep or pathlib.Path(tempfile.mkdtemp(prefix="icepress-kills-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{options.place}, seed {options.seed}, {options.minutes:g} minutes; logs are in {folder}", flush=True)
    problems = ["it did not come to its end"]
    try:
        with contextlib.ExitStack() as stack:
            problems = trial(options, folder, stack)
    finally:
        if problems == [] and not options.keep:
            shutil.rmtree(folder)
    for problem in problems:
        print(f"WRONG: {problem}")
    print("all well" if not problems else f"{len(problems)} things are wrong; logs are in {folder}", flush=True)
    return 1 if problems else 0


def trial(options: argparse.Namespace, folder: pathlib.Path, stack: contextlib.ExitStack) -> list[str]:
    plan = strikes.Plan(random.Random(options.seed))
    place = cloud.Cloud if options.place == "aws" else laptop.Laptop
    world = stack.enter_context(place(options, folder, plan))
    made = tables.make(world, options.tables)
    writers = stack.enter_context(tables.Writers(world, folder, options))
    world.start()

    until = time.monotonic() + options.minutes * 60
    told = time.monotonic()
    while time.monotonic() < until:
        time.sleep(0.5)
        writers.check()
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')} {plan.summary()}; {writers.commits()} commits of writers", flush=True)
    if options.phases:
        plan.calm()
        world.play_phases(writers.check)
    writers.stop()
    plan.calm()
    print(f"calm: {plan.summary()}; by request or phase: {plan.places()}", flush=True)
    problems = []
    begun = time.monotonic()
    waits = world.wait_for_rest(options.rest)
    if waits:
        problems.append(f"it did not come to rest within {options.rest:g} s: {waits}")
    else:
        print(f"at rest {time.monotonic() - begun:.0f} s after the last strike", flush=True)
    world.stop()
    if options.phases:
        problems += world.phases.judge(made)
    return problems + judge.judge(world, made, writers.journals())


if __name__ == "__main__":
    sys.exit(main())
