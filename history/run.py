"""Benchmark commits, and go inside where they differ: `python -m history.run --last 12 --machine NAME`.

The newest commit comes first, then the oldest; then, again and again, the middle of the longest stretch between two
that differ. What is done is kept, and a later run goes on from there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise

from history import RESULTS, ROOT, git
from history.results import Values, compare, described, is_whole, load, thresholds, weight

CODE = "fastconv", "kernels"
ENGINE = "a8a86375"  # the first commit with register tiles: what was before is another program
NOTABLE = 1.02  # who took a few hundred bytes is not looked for: the page lists the commits that it may have been
DESCRIBED = RESULTS / "benchmarks.json"


def commits() -> list[str]:
    """Those that may be measured, newest first."""
    # asv shows a branch's own commits, not those of what was merged; what changes no code has nothing to measure.
    line = git("rev-list", "--first-parent", "HEAD", "--", *CODE)
    first = [at for at, commit in enumerate(line, 1) if commit.startswith(ENGINE)]
    return line[: first[0]] if first else line


def stretches(
    line: list[str], done: Mapping[str, Values], limits: Mapping[str, float], units: Mapping[str, str]
) -> list[list[str]]:
    """Commits that are not done yet between two that differ, and the ends, one by one; in the order of their turns."""

    def differ(new: str, old: str) -> bool:
        changes = compare(done[old], done[new], limits)
        weights = (weight(change, units[change.measure.benchmark]) for change in changes)
        return any(not 1 / NOTABLE < each < NOTABLE for each in weights)

    ends = [[commit] for commit in dict.fromkeys((line[0], line[-1])) if commit not in done] if line else []
    known = [at for at, commit in enumerate(line) if commit in done]
    inner = [line[i + 1 : j] for i, j in pairwise(known) if j - i > 1 and differ(line[i], line[j])]
    return ends + sorted(inner, key=len, reverse=True)


def minutes(seconds: float) -> str:
    """For people."""
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def main() -> int:
    """Run them, or each benchmark once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--last", type=int, default=12, help="how many commits at most; default: 12")
    parser.add_argument("--machine", default="local", help="name of the folder in history/results; default: local")
    parser.add_argument("--quick", action="store_true", help="run each benchmark once, as installed; keep nothing")
    parser.add_argument("--bench", default=".", help="benchmarks that match this regular expression; default: all")
    args = parser.parse_args()

    if args.quick:
        # asv describes what it ran there even if it keeps no result: the page would look for results of it.
        kept = DESCRIBED.read_bytes() if DESCRIBED.exists() else None
        try:
            # A shallow clone has no other version to take turns with.
            os.environ |= {
                "FASTCONV_BENCHMARKS_ROUNDS": "3",
                "FASTCONV_BENCHMARKS_REFERENCE": git("rev-parse", "HEAD")[0],
            }
            return asv(args.machine, args.bench, "--quick", "--environment", "existing:same")
        finally:
            DESCRIBED.unlink() if kept is None else DESCRIBED.write_bytes(kept)
    if args.last > 0:
        bisect(args.machine, args.bench, args.last)
    return 0


def bisect(machine: str, bench: str, most: int) -> None:
    """Measure so many commits at most, and say how far it is."""
    if asv(machine, "just-discover", "--environment", "existing:same"):
        raise SystemExit("history: asv cannot import the benchmarks")
    benchmarks = described()
    wanted = {name: each for name, each in benchmarks.items() if is_wanted(name, each.cases, bench)}
    if not wanted:
        raise SystemExit(f"history: no benchmark matches {bench}")
    line, limits, start = commits(), thresholds(wanted), time.monotonic()
    for ran in range(most):
        results = load(machine, wanted)
        done = {commit: results[commit] for commit in line if is_whole(results.get(commit, {}), wanted)}
        todo = stretches(line, done, limits, {name: each.unit for name, each in wanted.items()})
        if not todo:
            break
        elapsed, left = time.monotonic() - start, sum(map(len, todo))
        print(f"history: {len(done)} of {len(line)} commits are done, {left} more at most for now", end="")
        print(f"; {minutes(elapsed)} so far, {minutes(elapsed / ran * left)} more at most" if ran else "", flush=True)
        commit = todo[0][len(todo[0]) // 2]
        # All cases of each benchmark that it lacks, which may be those of a new family: what is stored of one is whole.
        missing = [name for name in wanted if not is_whole(results.get(commit, {}), [name])]
        selection = rf"^({'|'.join(map(re.escape, missing))})(\(|$)"
        # 2: a benchmark failed. Old commits may; the page says so.
        asv(machine, selection, "--record-samples", "HASHFILE:-", stdin=commit)
        for kernels in ROOT.glob(f".asv/env/*/kernels/{commit}"):
            shutil.rmtree(kernels)
        if not is_whole(load(machine, wanted).get(commit, {}), wanted):
            print(f"history: {commit[:8]} could not be measured, and is left out of this run", flush=True)
            line.remove(commit)
    else:
        print(f"history: stopped after {most} commits; run it again for more")
        return
    print(f"history: {len(done)} of {len(line)} commits are done: the others lie between two that do not differ")


def is_wanted(name: str, cases: list[str], bench: str) -> bool:
    """Whether asv's --bench selects it."""
    return any(re.search(bench, text) for text in (name, *(f"{name}({case})" for case in cases)))


def asv(machine: str, bench: str, *options: str, stdin: str = "") -> int:
    """`asv run` with the options; what it exits with."""
    command = [sys.executable, "-m", "history.asv", "run", "--machine", machine, "--bench", bench, "--show-stderr"]
    return subprocess.run([*command, *options], cwd=ROOT, input=stdin, text=True).returncode


if __name__ == "__main__":
    sys.exit(main())
