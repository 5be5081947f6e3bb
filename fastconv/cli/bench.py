"""Time the six sizes of the reference's log on this machine.

convolve2d, valid, float32, inputs of ones. `orig_*` is the reference's algorithm in NumPy, `opt_*` fastconv, and the
other rows are the libraries that are installed, each on one thread where it can be told so, for the sizes that it can
do. Before a row is timed, the library's result is checked against fastconv's on random numbers.

Time/Run is the median and Min/Run the minimum over many calls after a warm-up. Alloc/Run is what one call takes above
what was held before it, in bytes, the result included, as tracemalloc sees it: memory of NumPy and Python, and none of
what the other libraries take from allocators of their own (n/a). The scratch memory that fastconv keeps from call to
call is held before it.
"""

import argparse
import gc
import json
import math
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv.cli.console import progress, table
from fastconv.cli.peers import PEERS, Call, Peer
from fastconv.cli.reference_algorithm import convolve2d as reference_convolve2d

# name: shapes of x and w
SIZES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int]]] = {
    "tiny_4x4": ((1, 1, 4, 4), (1, 1, 3, 3)),
    "small_8x8": ((1, 1, 8, 8), (1, 1, 3, 3)),
    "medium_16x16": ((1, 4, 16, 16), (8, 4, 3, 3)),
    "channels_32x32": ((1, 8, 32, 32), (16, 8, 3, 3)),
    "kernel_5x5": ((1, 4, 16, 16), (8, 4, 5, 5)),
    "batch_16x16": ((4, 4, 16, 16), (8, 4, 3, 3)),
}
SAMPLE_SECONDS = 1e-3  # long enough for the clock, short enough for many samples
ROW_SECONDS = 0.25


def _reference(x: NDArray[np.float32], w: NDArray[np.float32]) -> Call:
    return lambda: reference_convolve2d(x, w)


def _fastconv(x: NDArray[np.float32], w: NDArray[np.float32]) -> Call:
    return lambda: fastconv.convolve2d(x, w)


OURS = {"orig": Peer(_reference, traced=True), "opt": Peer(_fastconv, traced=True)}


class Row(NamedTuple):
    """One line of the table."""

    name: str
    median_ns: float
    min_ns: float
    alloc_bytes: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and the configuration there too")
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", default=ROW_SECONDS, help="time for each row, default: %(default)s"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")


def _seconds(text: str) -> float:
    """The value of `--seconds`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a number above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, and write the JSON file if asked to."""
    if args.json:
        try:
            args.json.open("a").close()  # writing comes last; say now if it cannot
        except OSError as error:
            print(f"bench: cannot write the figures: {error}", file=sys.stderr)
            return 1
    libraries, missing = dict(OURS), []
    for name, load in () if args.no_peers else PEERS.items():
        try:
            libraries[name] = load()
        except ImportError:
            missing.append(name)
    rows: dict[str, list[Row]] = {name: [] for name in libraries}
    wrong: list[str] = []
    with progress(len(SIZES) * len(libraries)) as begin:
        for size, (x_shape, w_shape) in SIZES.items():
            for name, library in libraries.items():
                begin(f"{name}_{size}")
                x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
                call = library.prepare(x, w)
                if call is None:
                    continue
                if not _agrees(library, x_shape, w_shape):
                    wrong.append(f"{name}_{size}")
                    continue
                rows[name].append(measure(f"{name}_{size}", call, library.traced, args.seconds))
    config = fastconv.show_config("dicts")
    shown = ("python", "numpy", "numba", "cpu", "vector_bits", "threads")
    print(", ".join(f"{name.replace('_', ' ')} {config[name]}" for name in shown))
    for size in SIZES:
        print()
        _print_table([row for group in rows.values() for row in group if row.name.endswith(f"_{size}")])
    if missing:
        print(f"\nNot installed, left out: {', '.join(missing)}")
    if args.json:
        measured = [row._asdict() for group in rows.values() for row in group]
        report = json.dumps({"config": config, "rows": measured, "wrong": wrong}, indent=1)
        args.json.write_text(report + "\n", encoding="utf-8")
    if wrong:
        print(f"\nResult differs from fastconv's: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _agrees(library: Peer, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> bool:
    """Whether a library's result is fastconv's; ones would hide a wrong order, so on random numbers."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    call = library.prepare(x, w)
    expected = fastconv.convolve2d(x, w)
    return call is not None and np.allclose(np.asarray(call()).reshape(expected.shape), expected, rtol=1e-5, atol=1e-4)


def measure(name: str, call: Callable[[], object], traced: bool, seconds: float) -> Row:
    """Time many calls after a warm-up, for so many seconds; then trace the memory of one."""
    calls = 1
    while (sample := _time(call, calls)) < SAMPLE_SECONDS:  # the warm-up
        calls = max(2 * calls, int(calls * SAMPLE_SECONDS / max(sample, 1e-9)))
    enabled = gc.isenabled()
    gc.disable()
    try:
        samples: list[float] = []
        end = time.perf_counter() + seconds
        while len(samples) < 5 or time.perf_counter() < end:
            samples.append(_time(call, calls) / calls * 1e9)
    finally:
        if enabled:
            gc.enable()
    return Row(name, statistics.median(samples), min(samples), allocated(call) if traced else None)


def _time(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def allocated(call: Callable[[], object]) -> int:
    """Bytes that one call takes at its peak, its result included."""
    tracemalloc.start()
    try:
        call()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()


def _print_table(rows: list[Row]) -> None:
    rows = sorted(rows, key=lambda row: row.median_ns)
    cells = [
        [
            row.name,
            f"{row.median_ns:_.2f}ns",
            f"{row.min_ns:_.2f}ns",
            "n/a" if row.alloc_bytes is None else f"{row.alloc_bytes:_}B",
            f"{row.median_ns / rows[0].median_ns:.2%}",
        ]
        for row in rows
    ]
    print(table(["Name", "Time/Run", "Min/Run", "Alloc/Run", "vs Fastest"], cells))
