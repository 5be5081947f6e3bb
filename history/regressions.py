"""Is this tree worse than the commit where it left the default branch? `python -m history.regressions` exits with 1.

Both are measured in turns, as asv's benchmarks are beside their fixed version. Bytes are compared exactly. A time
counts if it is longer in every part of every attempt, and the earlier commit takes as long as itself: where other
programs keep the machine busy, times are not judged. Cores differ, and so do processes that run the same code (where
it lies in memory): both sides of an attempt share a core, and each attempt has processes of its own.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from history import git

LIMIT = 0.1  # of times
CONTROL = 0.05  # what the earlier commit may differ by from itself
ATTEMPTS = 3
# Of memory, in words, and what may be more, a part of it and so many: the interpreter keeps an object here and there,
# some 50 bytes each, also from one call to the next.
MEMORY = {"bytes": "bytes above the output", "blocks": "blocks held at once", "workspace": "bytes of workspace kept"}
ALLOWED = {"bytes": (0.0, 0), "blocks": (0.0, 1), "workspace": (0.02, 256)}
VARIABLES = "FASTCONV_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"


def main() -> int:
    """Measure, and print what is worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="compare with this commit; default: where HEAD left the default branch")
    parser.add_argument(
        "--bench", default=".", help="families or cases that match this regular expression; default: all"
    )
    parser.add_argument("--small", action="store_true", help="a few cases, of each kind of work")
    args = parser.parse_args()

    (base,) = git("rev-parse", args.base or merge_base())
    os.environ |= {"FASTCONV_BENCHMARKS_REFERENCE": base, **dict.fromkeys(VARIABLES, "1")}  # before NumPy is imported
    cases = chosen(args.small, args.bench)
    if not cases:
        raise SystemExit(f"regressions: no case matches {args.bench}")
    found = find_worse(cases)
    print(*found, sep="\n")
    print(f"{len(cases)} cases: this tree is {'worse than' if found else 'no worse than'} {base[:8]}")
    return 1 if found else 0


def chosen(small: bool, bench: str) -> list[Any]:
    """Cases whose family, a colon and name match."""
    from asv_benchmarks import layers

    few = {*layers.SHARED, *layers.REFERENCE[:6], *layers.COMPILED[:2]}
    return [
        case
        for family, cases in layers.FAMILIES.items()
        for case in cases
        if re.search(bench, f"{family}: {case}") and (case in few or not small)
    ]


def find_worse(cases: Sequence[Any]) -> list[str]:
    """What is worse, in words."""
    from asv_benchmarks.turns import ROOT, Elsewhere

    found: list[str] = []
    with Elsewhere(folder=ROOT) as here, Elsewhere() as base:
        known = [case for case in cases if base.offers(case)]
        lost = [case for case in known if not here.offers(case)]
        found += [f"{case}: no longer runs" for case in lost]
        known = [case for case in known if case not in lost]
        for case in known:
            found += [f"{case}: {words}" for words in larger(case, here, base)]
    slower = dict.fromkeys(known, 0.0)
    for attempt in range(ATTEMPTS):
        with on_one_core(attempt), Elsewhere(folder=ROOT) as here, Elsewhere() as base:
            slower = {case: min(each) for case, each in ratios(slower, here, base).items() if min(each) > 1 + LIMIT}
        if not slower:
            return found
    with on_one_core(), Elsewhere() as twin, Elsewhere() as base:
        beside = ratios(slower, twin, base)
    for case, factor in slower.items():
        if max(beside[case]) > 1 + CONTROL or min(beside[case]) < 1 - CONTROL:
            print(f"{case}: not judged: the earlier commit beside itself differs by more than {CONTROL:.0%}")
        else:
            found.append(f"{case}: takes {factor:.2f} times as long")
    return found


@contextlib.contextmanager
def on_one_core(number: int = 0) -> Iterator[None]:
    """Processes started in here share a core, where the system lets us choose: this one of those there are, in turn."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def larger(case: Any, here: Any, base: Any) -> list[str]:
    """What takes more memory, every time: the interpreter allocates now and then, too."""
    found: list[str] = []
    for _ in range(ATTEMPTS):
        before, after = base.allocation(case), here.allocation(case)
        allowed = {name: before[name] * (1 + part) + more for name, (part, more) in ALLOWED.items()}
        names = [name for name in MEMORY if after[name] > allowed[name]]
        found = [f"{MEMORY[name]}: {before[name]} -> {after[name]}" for name in names]
        if not found:
            break
    return found


def ratios(cases: Iterable[Any], side: Any, other: Any) -> dict[Any, list[float]]:
    """By case the times of one side over those of the other."""
    from asv_benchmarks.turns import measure_times

    return {
        case: each["ratio"]["samples"] for case, each in measure_times({case: [side, other] for case in cases}).items()
    }


def merge_base() -> str:
    """Where HEAD left the default branch; on that branch, the commit before HEAD."""
    for branch in ("origin/HEAD", "main", "master"):
        try:
            (base,) = git("merge-base", branch, "HEAD")
        except subprocess.CalledProcessError:
            continue
        return base if [base] != git("rev-parse", "HEAD") else "HEAD^"
    raise SystemExit("regressions: no default branch is known; name a commit with --base")


if __name__ == "__main__":
    sys.exit(main())
