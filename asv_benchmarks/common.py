"""How things are measured, and what is tracked of every family. Lower is better throughout: asv knows no other way.

Nothing here reads fastconv's own tables: asv runs these files against older commits, too. What a commit does not have
yet is left out of its results.
"""

import gc
import math
import sys
import tracemalloc
import types
from abc import ABC, abstractmethod

import fastconv

from .turns import REFERENCE, Elsewhere, Here, Yardstick, measure_times


def allocation(call):
    """What one call takes beside the array that it returns, as tracemalloc sees it after a warm-up.

    `bytes` above the output at the peak; `blocks` that are held at once; `workspace`: bytes that stay behind for the
    next call.
    """
    call()  # compiles
    gc.collect()
    tracemalloc.start()
    try:
        workspace = min(bytes_kept(call) for _ in range(3))
        output_bytes = call().nbytes
        # The interpreter keeps some objects to use again, which the first of several calls still takes.
        return {
            "bytes": min(most_bytes(call) for _ in range(3)) - output_bytes,
            "blocks": min(most_blocks(call) for _ in range(3)),
            "workspace": workspace,
        }
    finally:
        tracemalloc.stop()


def bytes_kept(call):
    """What stays behind where nothing was kept before."""
    getattr(fastconv, "release_workspace", bool)()
    before = tracemalloc.get_traced_memory()[0]
    call()
    return tracemalloc.get_traced_memory()[0] - before


def most_bytes(call):
    """The largest amount of memory that is held at one time during a call, above that before it."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    call()
    return tracemalloc.get_traced_memory()[1] - before


def most_blocks(call):
    """The same in blocks, looked at wherever a function begins or ends."""
    counts = []

    def look(*_):
        counts.append(len(tracemalloc.take_snapshot().traces))

    look()
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return max(counts) - counts[0]


def measure(cases, threads=1):
    """By case, all that is tracked of a family. What this commit of fastconv does not offer is left out."""
    here, yardstick = Here(threads), Yardstick(threads)
    with Elsewhere(threads) as reference:
        offered = [case for case in cases if here.offers(case)]
        times = measure_times({case: [here, reference if reference.offers(case) else yardstick] for case in offered})
    return {case.name: {**here.allocation(case), **times[case]} for case in offered}


def tracked(unit, name, version="1"):
    """Give a benchmark its unit, its name in the page, and a version.

    A change in how something is measured needs another version, lest old and new results share a curve.
    """

    def mark(function):
        vars(function).update(unit=unit, pretty_name=name, rounds=1, version=version)
        return function

    return mark


class Family(ABC):
    """What is tracked of each of `cases`.

    A subclass has them and a `setup_cache`, which asv runs once for each commit in a process of its own: everything is
    measured there, and the benchmarks look it up.
    """

    cases: list
    param_names = ["case"]
    timeout = 900  # the first calls compile

    def __init_subclass__(cls):
        """Copies of the benchmarks, so that each can be called by its family."""
        cls.params = [cls.cases]
        family = cls.__module__.rpartition(".")[2]
        for name, function in vars(Family).items():
            if name.startswith("track_"):
                own = types.FunctionType(function.__code__, function.__globals__, name)
                title = f"{family}: {function.pretty_name}"
                vars(own).update(vars(function), benchmark_name=f"{family}.{name}", pretty_name=title)
                setattr(cls, name, own)

    @abstractmethod
    def setup_cache(self):
        """`measure(self.cases)`; asv tells caches apart by where this is written, so that each class needs its own."""

    @tracked("x", "time over the reference's", version=REFERENCE)
    def track_ratio(self, cache, case):
        return cache.get(case.name, {}).get("ratio", math.nan)

    @tracked("seconds", "time", version="2")
    def track_time(self, cache, case):
        return cache.get(case.name, {}).get("time", math.nan)

    @tracked("bytes", "bytes above the output")
    def track_bytes(self, cache, case):
        return cache.get(case.name, {}).get("bytes", math.nan)

    @tracked("blocks", "blocks held at once")
    def track_blocks(self, cache, case):
        return cache.get(case.name, {}).get("blocks", math.nan)

    @tracked("bytes", "workspace kept", version="2")
    def track_workspace(self, cache, case):
        return cache.get(case.name, {}).get("workspace", math.nan)
