"""How things are measured, and what is tracked of every family. Lower is better throughout: asv knows no other way.

Nothing here reads fastconv's own tables: asv runs these files against older commits, too. What a commit does not have
yet is left out of its results.
"""

import gc
import itertools
import math
import sys
import time
import tracemalloc
import types
from abc import ABC, abstractmethod
from operator import attrgetter

import numpy as np

import fastconv

MATRIX_SIZE = 384  # three of them in float64 lie in a cache of 3 MB; larger ones take no less time for each product


def best_seconds(call, budget=0.05):
    """Time of the fastest of several calls, as many as fit into so many seconds, and three at the least."""
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def samples_of(call, budget=0.2):
    """Seconds of a call, many times, in the form that asv keeps statistics of.

    asv's own timer, that of `time_*`, fixes how many calls make a sample by the first one, which loads the kernel, and
    times single calls wherever there is a `setup`: neither tells much about calls of microseconds.
    """
    number = max(1, round(0.005 / best_seconds(call)))
    samples, end = [], time.perf_counter() + budget
    gc.disable()
    try:
        while len(samples) < 5 or time.perf_counter() < end:
            start = time.perf_counter()
            for _ in itertools.repeat(None, number):
                call()
            samples.append((time.perf_counter() - start) / number)
    finally:
        gc.enable()
    return {"samples": samples, "number": number}


def allocation(call):
    """What one call takes beside the array that it returns, as tracemalloc sees it after a warm-up.

    `bytes` above the output at the peak; `blocks` that are held at once; `workspace`: bytes that stay behind for the
    next call.
    """
    call()  # compiles
    gc.collect()
    tracemalloc.start()
    try:
        getattr(fastconv, "release_workspace", bool)()
        before = tracemalloc.get_traced_memory()[0]
        call()
        workspace = tracemalloc.get_traced_memory()[0] - before
        output_bytes = call().nbytes
        # The interpreter keeps some objects to use again, which the first of several calls still takes.
        return {
            "bytes": min(most_bytes(call) for _ in range(3)) - output_bytes,
            "blocks": min(most_blocks(call) for _ in range(3)),
            "workspace": workspace,
        }
    finally:
        tracemalloc.stop()


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


def matrix_product(dtype):
    """A call that no commit can change: NumPy's product of two matrices, `MATRIX_SIZE ** 3` multiply-accumulates."""
    a, b = np.random.default_rng(0).standard_normal((2, MATRIX_SIZE, MATRIX_SIZE)).astype(dtype)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def copy(size):
    """A call that no commit can change: so many bytes read and as many written."""
    source, target = np.ones((2, max(size, 8) // 8))
    return lambda: np.copyto(target, source)


def relative_time(case, call):
    """Time of a call over that of a yardstick, measured in turns: another or a noisier machine draws the same curve.

    The yardstick is the machine's best at what the call consists of: as many multiply-accumulates in a matrix product,
    or, where there is hardly any arithmetic, a copy as long as the input and the output.
    """
    if hasattr(case, "macs"):
        yardstick, share = matrix_product(case.dtype), case.macs / MATRIX_SIZE**3
    else:
        yardstick, share = copy((math.prod(case.x) * np.dtype(case.dtype).itemsize + call().nbytes) // 2), 1
    turns = [best_seconds(call, 0.01) / best_seconds(yardstick, 0.01) for _ in range(8)]
    return {"samples": [turn / share for turn in turns], "number": 1}


def is_offered(case):
    """Whether this commit of fastconv has the function of a case."""
    try:
        return callable(attrgetter(case.function)(fastconv))
    except AttributeError:
        return False


def measure(cases):
    """By case, all that needs one process only. What this commit of fastconv has no function for is left out."""
    found = {}
    for case in cases:
        if is_offered(case):
            call = case.call()
            found[case.name] = {**allocation(call), "relative": relative_time(case, call)}
    return found


def tracked(unit, name, rounds=1, version="1"):
    """Give a benchmark its unit, its name in the page, the number of processes that it runs in, and a version.

    A change in how something is measured needs another version, lest old and new results share a curve.
    """

    def mark(function):
        vars(function).update(unit=unit, pretty_name=name, rounds=rounds, version=version)
        return function

    return mark


class Family(ABC):
    """What is tracked of each of `cases`.

    A subclass has them and a `setup_cache`, which asv runs once for each commit in a process of its own: everything
    that needs no statistics is measured there, and the benchmarks look it up.
    """

    cases: list
    yardstick = "matrix product"
    param_names = ["case"]
    timeout = 600  # the first call compiles

    def __init_subclass__(cls):
        """Copies of the benchmarks, so that each can be called by its family."""
        cls.params = [cls.cases]
        family = cls.__module__.rpartition(".")[2]
        for name, function in vars(Family).items():
            if name.startswith("track_"):
                title = function.pretty_name.format(yardstick=cls.yardstick)
                own = types.FunctionType(function.__code__, function.__globals__, name)
                vars(own).update(vars(function), benchmark_name=f"{family}.{name}", pretty_name=f"{family}: {title}")
                setattr(cls, name, own)

    @abstractmethod
    def setup_cache(self):
        """`measure(self.cases)`; asv tells caches apart by where this is written, so that each class needs its own."""

    @tracked("seconds", "time", rounds=2)
    def track_time(self, cache, case):
        return samples_of(case.call()) if case.name in cache else math.nan

    @tracked("x", "time over a {yardstick}")
    def track_relative_time(self, cache, case):
        return cache.get(case.name, {}).get("relative", math.nan)

    @tracked("bytes", "bytes above the output")
    def track_bytes_above_output(self, cache, case):
        return cache.get(case.name, {}).get("bytes", math.nan)

    @tracked("blocks", "blocks held at once")
    def track_blocks(self, cache, case):
        return cache.get(case.name, {}).get("blocks", math.nan)

    @tracked("bytes", "workspace kept")
    def track_workspace(self, cache, case):
        return cache.get(case.name, {}).get("workspace", math.nan)
