"""Is HEAD worse than the commit where it left the default branch? `python -m history.regressions` exits with 1 if so.

`asv continuous` measures both, in turns. asv has one factor for all its verdicts; here each family has its own, from
`regressions_thresholds` of asv.conf.json, and a difference counts where asv's statistics find the samples different.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from asv import results
from asv._stats import is_different
from asv.commands.compare import unroll_result
from asv.commands.continuous import Continuous
from asv.config import Config
from asv.console import log

from history.asv import name_machine
from history.run import git

MACHINE = "local"
DEFAULT_THRESHOLD = 0.05  # asv's
ATTEMPTS = 3  # only what is worse every time counts: of hundreds of benchmarks, some meet a busy moment of the machine


class Measured(NamedTuple):
    """A benchmark's result for one case: None if it failed, NaN if it was skipped."""

    value: float | None
    stats: dict[str, Any] | None
    samples: list[float] | None


def threshold(name: str, thresholds: Mapping[str, float]) -> float:
    """The largest that matches, as asv has it."""
    return max((value for regex, value in thresholds.items() if re.match(regex, name)), default=DEFAULT_THRESHOLD)


def is_worse(before: Measured, after: Measured, limit: float) -> bool:
    """Whether a result has failed that did not, or has risen by more than the limit and beyond noise."""
    if before.value is None or after.value is None:
        return after.value is None and before.value is not None
    if not after.value > before.value * (1 + limit):  # nor if either is NaN
        return False
    if before.stats is None or after.stats is None:
        return True
    return bool(is_different(before.samples, after.samples, before.stats, after.stats))


def load(folder: str, commit: str) -> Iterator[tuple[str, Measured]]:
    """Name, with the case in parentheses, and result of everything that was measured of a commit."""
    for result in results.iter_results_for_machine_and_hash(folder, MACHINE, commit):
        for name in result.get_all_result_keys():
            params = result.get_result_params(name)
            getters = result.get_result_value, result.get_result_stats, result.get_result_samples
            for case, *parts in unroll_result(name, params, *(get(name, params) for get in getters)):
                yield case, Measured(*parts)


def measure(conf: Config, base: str, head: str, bench: list[str]) -> None:
    """Run both commits in turns, and print asv's own table."""
    name_machine(MACHINE)
    log.enable(False)
    factor = 1 + min(conf.regressions_thresholds.values())
    Continuous.run(
        conf, branch=head, base=base, factor=factor, split=True, bench=bench, machine=MACHINE, record_samples=True
    )
    log.flush()


def find_worse(conf: Config, base: str, head: str) -> dict[str, str]:
    """What is worse, by name, in words."""
    before, found = dict(load(conf.results_dir, base)), {}
    for name, after in load(conf.results_dir, head):
        limit = threshold(name, conf.regressions_thresholds)
        if name in before and is_worse(before[name], after, limit):
            values = (f"{value:.4g}" if value is not None else "failed" for value in (before[name].value, after.value))
            found[name] = f"worse by more than {limit:.0%}: {name}: {' -> '.join(values)}"
    return found


def main() -> int:
    """Measure, and print what is worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="compare with this commit; default: where HEAD left the default branch")
    parser.add_argument("--bench", default=".", help="benchmarks that match this regular expression; default: all")
    args = parser.parse_args()

    base, head = git("rev-parse", args.base or merge_base(), "HEAD")
    conf = Config.load()
    conf.results_dir = ".asv/regressions"  # the stored history stays as it is
    shutil.rmtree(conf.results_dir, ignore_errors=True)
    bench = [args.bench]
    for _ in range(ATTEMPTS):
        measure(conf, base, head, bench)
        found = find_worse(conf, base, head)
        if not found:
            break
        bench = [f"^{re.escape(name)}$" for name in found]
    print(*found.values(), sep="\n")
    print(f"{head[:8]} is {'worse than' if found else 'no worse than'} {base[:8]}")
    return 1 if found else 0


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
