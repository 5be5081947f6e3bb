"""Which commits are benchmarked, what counts as a change, and what as worse."""

import math
import os
import re
from pathlib import Path

import pytest

from history import regressions, results, run
from history.results import Benchmark, Measure, Value

ROOT = Path(__file__).parent.parent
TIME, BYTES, ERROR = (
    Measure("conv.track_ratio", "3x3"),
    Measure("conv.track_bytes", "3x3"),
    Measure("accuracy.Accuracy.track_error", "3x3"),
)
SECONDS = Measure("conv.track_time", "3x3")
LIMITS = {TIME.benchmark: 0.06, BYTES.benchmark: 0.0, ERROR.benchmark: 0.0}  # seconds are not compared
UNITS = {TIME.benchmark: "x", BYTES.benchmark: "bytes", ERROR.benchmark: "x"}


def time(value, spread=0.01):
    return Value(value, value * (1 - spread), value * (1 + spread))


def exact(value):
    return Value(value, value, value)


def measured(seconds=1.0):
    return {TIME: time(seconds)}


@pytest.mark.parametrize(
    "done, expected",
    [
        ({}, [["c6"], ["c1"]]),  # the ends come first
        ({"c6": measured()}, [["c1"]]),
        ({"c6": measured(), "c1": measured()}, []),  # nothing changed between them
        ({"c6": measured(0.8), "c1": measured()}, [["c5", "c4", "c3", "c2"]]),
        ({"c6": {BYTES: exact(592)}, "c1": {BYTES: exact(584)}}, []),  # a few bytes
        ({"c6": {BYTES: exact(5840)}, "c1": {BYTES: exact(584)}}, [["c5", "c4", "c3", "c2"]]),
        ({"c6": {ERROR: exact(9)}, "c1": {ERROR: exact(0.2)}}, [["c5", "c4", "c3", "c2"]]),
        ({"c6": measured(0.8), "c5": measured(0.9), "c1": measured()}, [["c4", "c3", "c2"]]),
        ({"c6": measured(0.8), "c2": measured(0.8), "c1": measured()}, []),
        ({"c6": measured(0.8), "c4": measured(0.5), "c1": measured()}, [["c3", "c2"], ["c5"]]),  # the longest first
    ],
)
def test_commits_between_two_that_differ_are_measured(done, expected):
    assert run.stretches(["c6", "c5", "c4", "c3", "c2", "c1"], done, LIMITS, UNITS) == expected


def test_families_are_bisected_by_themselves_and_meet_at_the_same_commits():
    line = [f"c{i}" for i in range(12, 0, -1)]  # the newest first; c8 is the place that can be halved most often
    pools = Measure("pools.track_ratio", "2x2")
    families, limits, units = {"conv": [TIME.benchmark], "pools": [pools.benchmark]}, {}, {}
    for name in (TIME.benchmark, pools.benchmark):
        limits[name], units[name] = 0.06, "x"

    def due(done):
        return run.due(line, done, families, limits, units)

    ends = {"c12": {**measured(0.5), pools: time(0.5)}, "c1": {**measured(), pools: time(1)}}
    assert due({}) == {"c12": ["conv", "pools"], "c1": ["conv", "pools"]}
    assert due(ends) == {"c8": ["conv", "pools"]}
    # One has changed before it, the other behind it, and there is more to ask of one.
    assert due({**ends, "c8": {**measured(), pools: time(0.5)}}) == {"c10": ["conv"], "c4": ["pools"]}
    assert due({**ends, "c8": measured()}) == {"c10": ["conv"], "c8": ["pools"]}
    assert due({**ends, "c9": measured(), "c8": {pools: time(0.5)}}) == {"c10": ["conv"], "c4": ["pools"]}


def test_without_commits_there_is_nothing_to_measure():
    assert run.stretches([], {}, LIMITS, UNITS) == []


def test_a_run_of_some_benchmarks_does_not_make_a_commit_done():
    partial = {TIME: time(1), Measure("conv.track_ratio", "1x1"): time(1)}
    assert not results.is_whole(partial, ["conv.track_ratio", "conv.track_bytes"])
    assert results.is_whole(partial, ["conv.track_ratio"])
    assert results.is_whole({**partial, BYTES: Value(None, math.nan, math.nan)}, ["conv.track_ratio", BYTES.benchmark])
    assert not results.is_whole({}, ["conv.track_ratio"])


def test_benchmarks_are_chosen_by_name_or_case():
    assert run.is_wanted("conv.track_ratio", ["3x3 64", "1x1"], "track_ratio")
    assert run.is_wanted("conv.track_ratio", ["3x3 64", "1x1"], r"conv\.track_ratio\(1x1\)")
    assert not run.is_wanted("conv.track_ratio", ["3x3 64", "1x1"], "pools|5x5")


@pytest.mark.parametrize(
    "measure, before, after, expected",
    [
        (TIME, time(1), time(1.2), "worse"),
        (TIME, time(1), time(0.8), "better"),
        (TIME, time(1), time(1.05), ""),  # within the limit
        (TIME, time(1), time(1.2, 0.2), ""),  # within noise
        (TIME, time(1), time(math.nan), "error"),  # the commit lost it
        (TIME, time(1), Value(None, math.nan, math.nan), "error"),  # it failed
        (TIME, time(math.nan), time(1), ""),  # it is new
        (TIME, Value(None, math.nan, math.nan), time(1), ""),
        (SECONDS, time(1), time(2), ""),
        (BYTES, exact(584), exact(592), "worse"),
        (BYTES, exact(584), exact(584), ""),
        (BYTES, exact(0), exact(8), "worse"),
        (BYTES, exact(8), exact(0), "better"),
        (ERROR, exact(0.2), exact(8.5e6), "error"),
        (ERROR, exact(0.2), exact(0.4), "worse"),
        (ERROR, exact(2), exact(3), ""),  # an error already
    ],
)
def test_what_changed(measure, before, after, expected):
    assert results.changed(measure, before, after, LIMITS) == expected


def series(*values):
    return [{TIME: time(value)} for value in values]


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 1.01, 1.3, 1.29, 1.31], [(2, "worse", False)]),
        ([1, 1.3, 1, 1.01], []),  # neither up nor down lasts
        ([1, 1, 1.3], [(2, "worse", False)]),  # what comes last is listed
        ([1, 1.3, 1.3, 0.9, 0.9], [(1, "worse", True), (3, "better", False)]),
        ([1, 1.02, 1.04, 1.06, 1.08], []),
    ],
)
def test_steps_last_and_are_repaired_later(values, expected):
    found = [(step.at, step.change.kind, step.repaired) for step in results.steps(series(*values), LIMITS)]
    assert found == expected


def test_errors_need_not_last():
    line = [{ERROR: exact(value)} for value in (0.2, 100, 0.2)]
    (step,) = results.steps(line, LIMITS)
    assert (step.at, step.change.kind, step.repaired) == (1, "error", True)


def test_the_largest_limit_that_matches_holds():
    limits = {"conv": 0.1, r".*\.track_bytes": 0.02, "startup": 0.2}
    assert results.limit("conv.track_time", limits) == 0.1
    assert results.limit("conv.track_bytes", limits) == 0.1
    assert results.limit("pools.track_bytes", limits) == 0.02
    assert results.limit("elsewhere.track_blocks", limits) == 0


def test_seconds_are_not_compared():
    pytest.importorskip("asv")
    found = results.thresholds(
        {name: Benchmark([], name, unit, "1") for name, unit in (("a.b", "seconds"), ("a.c", "x"))}
    )
    assert set(found) == {"a.c"}


def test_results_are_read_as_asv_stores_them(tmp_path, monkeypatch):
    import datetime

    asv = pytest.importorskip("asv.results")
    from asv.runner import BenchmarkResult

    monkeypatch.setattr(results, "RESULTS", tmp_path)
    stored = asv.Results({"machine": "here", "python": "3"}, {}, "c" * 40, 0, "3", "env", {})
    for name, version in (("conv.track_ratio", "2"), ("conv.track_old", "1")):
        description = {"name": name, "version": version, "params": [["3x3", "'1x1'", "5x5"]]}
        samples = [[1.0, 1.2, 1.1], None, None]
        result = BenchmarkResult([1.1, math.nan, None], samples, [1, None, None], 0, "", None)
        stored.add_result(description, result, datetime.datetime.now(datetime.UTC), 1.0, record_samples=True)
    stored.save(str(tmp_path))
    benchmarks = {
        name: Benchmark(["3x3", "1x1", "5x5"], name, "x", "2") for name in ("conv.track_ratio", "conv.track_old")
    }
    ((commit, values),) = results.load("here", benchmarks).items()
    assert commit == "c" * 40
    assert {measure.benchmark for measure in values} == {"conv.track_ratio"}  # the other was measured in another way
    assert values[TIME] == Value(1.1, 1.0, 1.2)
    assert not values[Measure("conv.track_ratio", "1x1")].exists
    assert values[Measure("conv.track_ratio", "5x5")].value is None


def test_a_time_is_what_the_shortest_turns_take_in_each_group_of_rounds():
    from asv_benchmarks import turns

    quiet = [[2e-3, 1e-3]] * turns.ROUNDS
    assert turns.ratios(quiet) == [2.0] * turns.GROUPS
    disturbed = [*quiet[:-2], [9e-3, 1e-3], [2e-3, 7e-3]]
    assert turns.ratios(disturbed) == [2.0] * turns.GROUPS
    assert turns.is_done(disturbed)
    assert not turns.is_done(quiet[:-1])
    assert turns.is_done([[2.0, 1.0]] * turns.GROUPS)  # seconds
    unsteady = [[1e-3 * (2 + each % turns.GROUPS), 1e-3] for each in range(turns.MOST_ROUNDS)]
    assert not turns.is_done(unsteady[: turns.ROUNDS])
    assert turns.is_done(unsteady)
    assert turns.ratios([[3.0, 2.0, 1.0]] * turns.ROUNDS) == [3.0] * turns.GROUPS  # over the fastest of the others


def test_cases_of_a_small_comparison_are_of_every_kind():
    names = [f"{case}" for case in regressions.chosen(True, ".")]
    assert len(names) == len(set(names)) < len(regressions.chosen(False, ".")) / 2
    assert {"resnet50 3x3 64", "opt tiny_4x4", "max 3x3 stride 2", "gaussian full HD", "correlate2d 4x4"} <= set(names)
    assert {case.name for case in regressions.chosen(False, "^pools: ")} >= {"max 2x2", "average 7x7"}


def test_a_comparison_of_nothing_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["regressions", "--bench", "no such case", "--base", "HEAD"])
    monkeypatch.setattr("os.environ", os.environ.copy())  # the command sets threads, of this process for good
    monkeypatch.setattr(regressions, "git", lambda *_: ["0" * 40])
    with pytest.raises(SystemExit, match="regressions: no case matches no such case"):
        regressions.main()


def test_stored_results_name_no_machine_but_the_one_they_are_kept_for():
    """No path and no host name: only what `machine.json` says."""
    files = sorted((ROOT / "history" / "results").glob("*/*-*.json"))
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'"/(?:home|root|tmp|work|usr)\b', text), path.name
        assert f'"machine": "{path.parent.name}"' in text, path.name


class Side:
    """Where calls take a time, a case of its own apart, and so much memory."""

    def __init__(self, factors=(), offered=True, **memory):
        self.factors, self.offered, self.memory = dict(factors), offered, memory
        self.case = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def offers(self, case):
        return self.offered

    def prepare(self, case):
        self.case = case

    def seconds(self):
        return 1.0 * self.factors.get(self.case, 1)  # long ones are measured less often

    def allocation(self, case):
        return {"bytes": 584, "blocks": 3, "workspace": 0, **self.memory}


@pytest.mark.parametrize(
    "here, base, twin, expected",
    [
        (Side(), Side(), Side(), []),
        (Side({"a": 1.2}), Side(), Side(), ["a: takes 1.20 times as long"]),
        (Side({"a": 0.8}), Side(), Side(), []),
        (Side({"a": 1.05}), Side(), Side(), []),
        (Side({"a": 1.2}), Side(), Side({"a": 1.1}), []),  # a busy machine
        (
            Side(bytes=592),
            Side(),
            Side(),
            ["a: bytes above the output: 584 -> 592", "b: bytes above the output: 584 -> 592"],
        ),
        (Side(blocks=2), Side(), Side(), []),
        (Side(blocks=4), Side(), Side(), []),
        (Side(blocks=5), Side(), Side(), [f"{case}: blocks held at once: 3 -> 5" for case in "ab"]),
        (Side(workspace=1_010_000), Side(workspace=1_000_000), Side(), []),
        (Side(workspace=624), Side(workspace=568), Side(), []),
        (
            Side(workspace=1_000),
            Side(workspace=568),
            Side(),
            [f"{case}: bytes of workspace kept: 568 -> 1000" for case in "ab"],
        ),
        (Side(offered=False), Side(), Side(), ["a: no longer runs", "b: no longer runs"]),
        (Side({"a": 9}), Side(offered=False), Side(), []),  # new cases
    ],
)
def test_what_is_worse_than_the_earlier_commit(monkeypatch, capsys, here, base, twin, expected):
    from asv_benchmarks import turns

    own = iter([base] * (1 + regressions.ATTEMPTS) + [twin, base])  # processes of the earlier commit
    monkeypatch.setattr(turns, "Elsewhere", lambda folder=None: here if folder else next(own))
    assert regressions.find_worse(["a", "b"]) == expected
    assert ("not judged" in capsys.readouterr().out) == bool(twin.factors)


def test_a_process_that_is_slow_by_chance_is_not_worse(monkeypatch):
    from asv_benchmarks import turns

    here = iter([Side(), Side({"a": 1.2}), Side({"a": 1.2}), Side()])
    monkeypatch.setattr(turns, "Elsewhere", lambda folder=None: next(here) if folder else Side())
    assert regressions.find_worse(["a"]) == []
    assert not list(here)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not let a process choose its cores")
def test_both_sides_of_an_attempt_share_a_core():
    cores = os.sched_getaffinity(0)
    for number in range(len(cores) + 1):
        with regressions.on_one_core(number):
            assert os.sched_getaffinity(0) == {sorted(cores)[number % len(cores)]}
        assert os.sched_getaffinity(0) == cores
