"""Benchmark commits, and go inside where they differ: `python -m history.run --last 12 --machine NAME`.

Each family is bisected by itself: the newest commit, the oldest, and what lies between two that differ, at places where
families meet. Of a commit only the families are run that ask for it. What is done is kept, and a later run goes on.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

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


def middle(stretch: Sequence[str], line: Sequence[str]) -> str:
    """The commit of a stretch whose place, counted from the oldest, can be halved most often.

    Stretches of several families, which end at different commits, so have it in common.
    """
    return max(stretch, key=lambda commit: (place := len(line) - line.index(commit)) & -place)


def due(
    line: list[str],
    results: Mapping[str, Values],
    families: Mapping[str, Sequence[str]],
    limits: Mapping[str, float],
    units: Mapping[str, str],
) -> dict[str, list[str]]:
    """By commit the families that are to be run on it next, those first that most families ask for."""
    found: dict[str, list[str]] = {}
    for family, names in families.items():
        done = {
            commit: {measure: value for measure, value in results[commit].items() if measure.family == family}
            for commit in line
            if is_whole(results.get(commit, {}), names)
        }
        for stretch in stretches(line, done, limits, units):
            found.setdefault(middle(stretch, line), []).append(family)
    return dict(sorted(found.items(), key=lambda each: -len(each[1])))


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
    families = {family: list(names) for family, names in groupby(sorted(wanted), lambda name: name.partition(".")[0])}
    units = {name: each.unit for name, each in wanted.items()}
    line, limits, start = commits(), thresholds(wanted), time.monotonic()
    for _ in range(most):
        results = load(machine, wanted)
        todo = due(line, results, families, limits, units)
        if not todo:
            break
        commit, asking = next(iter(todo.items()))
        print(
            f"history: {len(results.keys() & line)} of {len(line)} commits are measured, {len(todo)} are next", end=""
        )
        print(f"; {minutes(time.monotonic() - start)} so far; {commit[:8]}: {', '.join(asking)}", flush=True)
        # All cases of each benchmark: what is stored of one is whole.
        names = [name for family in asking for name in families[family]]
        # 2: a benchmark failed. Old commits may; the page says so.
        asv(machine, rf"^({'|'.join(map(re.escape, names))})(\(|$)", "--record-samples", "HASHFILE:-", stdin=commit)
        for kernels in ROOT.glob(f".asv/env/*/kernels/{commit}"):
            shutil.rmtree(kernels)
        if not is_whole(load(machine, wanted).get(commit, {}), names):
            print(f"history: {commit[:8]} could not be measured, and is left out of this run", flush=True)
            line.remove(commit)
    else:
        print(f"history: stopped after {most} commits; run it again for more")
        return
    done = len(load(machine, wanted).keys() & line)
    print(f"history: {done} of {len(line)} commits are measured: nothing changes between them")


def is_wanted(name: str, cases: list[str], bench: str) -> bool:
    """Whether asv's --bench selects it."""
    return any(re.search(bench, text) for text in (name, *(f"{name}({case})" for case in cases)))


def asv(machine: str, bench: str, *options: str, stdin: str = "") -> int:
    """`asv run` with the options; what it exits with."""
    command = [sys.executable, "-m", "history.asv", "run", "--machine", machine, "--bench", bench, "--show-stderr"]
    return subprocess.run([*command, *options], cwd=ROOT, input=stdin, text=True).returncode


if __name__ == "__main__":
    sys.exit(main())
