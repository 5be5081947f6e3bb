"""What asv has stored of a machine's commits, and what is different between two of them."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, product
from typing import NamedTuple

from history import RESULTS, ROOT

ERROR_ABOVE = "accuracy.Accuracy.track_error", 1.0  # the worst error over its bound
SMALL = {"bytes": 65_536, "blocks": 10}  # what an increase of memory is compared with, beside what there was
SECONDS = "seconds"  # differ from hour to hour, and are shown, but not compared


class Measure(NamedTuple):
    """A benchmark of one case."""

    benchmark: str
    case: str

    @property
    def family(self) -> str:
        """The file of `asv_benchmarks/` that it stands in."""
        return self.benchmark.partition(".")[0]


class Benchmark(NamedTuple):
    """How asv describes one: names of its cases, what it counts and in which unit, and which way of measuring it is."""

    cases: list[str]
    title: str
    unit: str
    version: str


class Value(NamedTuple):
    """A result, None where the benchmark failed, and the smallest and largest that it may as well be."""

    value: float | None
    low: float
    high: float

    @property
    def exists(self) -> bool:
        """Not so where the case was left out, since the commit lacks it."""
        return self.value is None or not math.isnan(self.value)


Values = Mapping[Measure, Value]


class Change(NamedTuple):
    """From one commit to a later one."""

    measure: Measure
    before: Value
    after: Value
    kind: str  # "error", "worse", "better"

    @property
    def factor(self) -> float:
        """The later value over the earlier; of what was 0 or is nothing, infinite."""
        if not self.before.value or self.after.value is None or math.isnan(self.after.value):
            return math.inf
        return self.after.value / self.before.value


def weight(change: Change, unit: str) -> float:
    """How much worse or better, for the order: a few hundred bytes weigh little, whatever was there before."""
    small = SMALL.get(unit, 0)
    return ((change.after.value or 0) + small) / ((change.before.value or 0) + small) if small else change.factor


def described() -> dict[str, Benchmark]:
    """The benchmarks by name, as asv last found them."""
    path = RESULTS / "benchmarks.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        name: Benchmark(
            cases_of(each["params"]),
            each["pretty_name"] or name,
            each["unit"],
            each["version"],
        )
        for name, each in found.items()
        if isinstance(each, dict)
    }


def cases_of(params: list[list[str]]) -> list[str]:
    """Names of all combinations of parameters, which asv has as Python writes them."""
    return [", ".join(each.strip("'\"") for each in case) for case in product(*params)]


def load(machine: str, benchmarks: Mapping[str, Benchmark]) -> dict[str, dict[Measure, Value]]:
    """By commit what was measured, in the way that benchmarks measure now."""
    from asv.results import Results

    commits: dict[str, dict[Measure, Value]] = {}
    for path in sorted((RESULTS / machine).glob("*-*.json")):
        result = Results.load(str(path), machine_name=machine)
        values = commits.setdefault(result.commit_hash, {})
        for name in result.get_all_result_keys():
            if name in benchmarks and result.benchmark_version.get(name) == benchmarks[name].version:
                params = result.get_result_params(name)
                numbers = result.get_result_value(name, params)
                samples = result.get_result_samples(name, params)
                values |= dict(zip((Measure(name, case) for case in cases_of(params)), map(as_value, numbers, samples)))
    return commits


def as_value(value: float | None, samples: list[float] | None) -> Value:
    """A result with the range of its samples."""
    several = samples or [math.nan if value is None else value]
    return Value(value, min(several), max(several))


def is_whole(values: Values, benchmarks: Iterable[str]) -> bool:
    """Whether all of them were run: a run of some, or one that was interrupted, does not make a commit done."""
    return set(benchmarks) <= {measure.benchmark for measure in values}


def thresholds(benchmarks: Mapping[str, Benchmark]) -> dict[str, float]:
    """By how much each that is compared may change, relative to what it was, as asv.conf.json has it."""
    from asv.config import Config

    limits: dict[str, float] = Config.load(str(ROOT / "asv.conf.json")).regressions_thresholds
    return {name: limit(name, limits) for name, each in benchmarks.items() if each.unit != SECONDS}


def limit(name: str, limits: Mapping[str, float]) -> float:
    """The largest that matches, as asv has it. What none matches is exact."""
    return max((value for regex, value in limits.items() if re.match(regex, name)), default=0.0)


def compare(before: Values, after: Values, limits: Mapping[str, float]) -> Iterator[Change]:
    """All that differs between two commits, beyond noise and by more than the limit."""
    for measure, earlier in before.items():
        if (later := after.get(measure)) and (kind := changed(measure, earlier, later, limits)):
            yield Change(measure, earlier, later, kind)


def changed(measure: Measure, before: Value, after: Value, limits: Mapping[str, float]) -> str:
    """How a value is another: "error", "worse", "better", or "" where it is not."""
    if before.value is None or not before.exists:
        return ""  # a case that is new, or that runs again
    if after.value is None or not after.exists:
        return "error"
    if measure.benchmark not in limits:
        return ""
    name, bound = ERROR_ABOVE
    if measure.benchmark == name and after.value > bound:
        return "error" if before.value <= bound else ""
    allowed = 1 + limits[measure.benchmark]
    if after.value > allowed * before.value and after.low > before.high:
        return "worse"
    if after.value * allowed < before.value and after.high < before.low:
        return "better"
    return ""


class Step(NamedTuple):
    """A change that lasted, at a commit of several; and whether what it made worse is as good again at the end."""

    at: int
    change: Change
    repaired: bool


def steps(line: list[Values], limits: Mapping[str, float]) -> Iterator[Step]:
    """What changed along commits, the oldest first, from what was not new itself, and lasted. Errors need not last."""
    for at, (before, after) in enumerate(pairwise(line), 1):
        earlier, later = line[max(at - 2, 0)], line[min(at + 1, len(line) - 1)]
        for change in compare(before, after, limits):
            measure = change.measure
            lasts = changed(measure, change.before, later.get(measure, change.after), limits)
            back = not changed(measure, earlier.get(measure, change.before), change.after, limits)
            if change.kind == "error" or (change.kind == lasts and not back):
                last = next(values[measure] for values in reversed(line) if measure in values)
                repaired = changed(measure, change.before, last, limits) not in ("error", "worse")
                yield Step(at, change, change.kind != "better" and repaired)
