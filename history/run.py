"""Benchmark the last commits that have no results yet: `python -m history.run --last 12 --machine NAME`."""

import argparse
import subprocess
import sys
from collections.abc import Iterable

from history import RESULTS, ROOT

CODE = "fastconv", "kernels"
DESCRIBED = RESULTS / "benchmarks.json"


def pending(commits: Iterable[str], done: Iterable[str], last: int) -> list[str]:
    """The first `last` of the commits, newest first, that no result's file name begins with."""
    known = tuple({name.partition("-")[0] for name in done})
    return [commit for commit in commits if not commit.startswith(known)][:last] if known else list(commits)[:last]


def git(*arguments: str) -> list[str]:
    """Lines that git prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def main() -> int:
    """Run them, newest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--last", type=int, default=12, help="how many commits; default: 12")
    parser.add_argument("--machine", default="local", help="name of the folder in history/results; default: local")
    parser.add_argument("--quick", action="store_true", help="run each benchmark once, as installed; keep nothing")
    parser.add_argument("--bench", default=".", help="benchmarks that match this regular expression; default: all")
    args = parser.parse_args()

    if args.quick:
        # asv describes what it ran there even if it keeps no result: its page would look for graphs that nobody drew.
        described = DESCRIBED.read_bytes()
        try:
            # Forks, since most of a short measurement's time is Numba's import.
            return run(args, "--quick", "--environment", "existing:same", "--launch-method", "forkserver")
        finally:
            DESCRIBED.write_bytes(described)

    # asv shows a branch's own commits, not those of what was merged; what changes no code has nothing to measure.
    commits = git("rev-list", "--first-parent", "HEAD", "--", *CODE)
    chosen = pending(commits, [path.name for path in (RESULTS / args.machine).glob("*-*.json")], args.last)
    if not chosen:
        print("history: nothing to run")
        return 0

    # 2: a benchmark failed. Old commits may; the page shows a gap there.
    failed = run(args, "HASHFILE:-", stdin="\n".join(chosen))
    return 0 if failed == 2 else failed


def run(args: argparse.Namespace, *options: str, stdin: str = "") -> int:
    """`asv run` with the options; what it exits with."""
    from history.asv import name_machine

    name_machine(args.machine)
    command = [sys.executable, "-m", "history.asv", "run", "--machine", args.machine, "--bench", args.bench]
    return subprocess.run([*command, "--show-stderr", *options], cwd=ROOT, input=stdin, text=True).returncode


if __name__ == "__main__":
    sys.exit(main())
