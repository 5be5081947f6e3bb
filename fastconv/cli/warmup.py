"""Compile ahead what later calls need.

Every public function is called once on a small array for each way that it can run. What is compiled is kept on disk and
serves calls of any shape, strides and options, in this and later processes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv.cli.console import progress, table
from fastconv.njit.linking import Needs
from fastconv.problem import DTYPES

Array = NDArray[Any]


class Call(NamedTuple):
    """One way to run a public function, on arrays that `ones(*shape)` makes."""

    name: str
    run: Callable[[Callable[..., Array]], Any]
    ordered: bool = False  # asks which of two elements is larger, which complex numbers do not say


CALLS = (
    Call("correlate, convolve", lambda ones: fastconv.correlate2d(ones(1, 1, 3, 3), ones(64, 1, 3, 3))),
    Call("the same, large kernels", lambda ones: fastconv.correlate1d(ones(1, 1, 5000), ones(4, 1, 5000))),
    Call("the same, few outputs", lambda ones: fastconv.correlate2d(ones(1, 1, 32, 32), ones(1, 1, 3, 3))),
    Call("the same, few numbers", lambda ones: fastconv.correlate2d(ones(1, 1, 3, 3), ones(1, 1, 3, 3))),
    Call("the same, 4 axes or more", lambda ones: fastconv.correlate_nd(ones(*[1] * 6), ones(*[1] * 6))),
    Call(
        "the same, algorithm='im2col'",
        lambda ones: fastconv.correlate2d(ones(1, 1, 3, 3), ones(1, 1, 2, 2), algorithm="im2col"),
    ),
    Call("the same, on several threads", lambda ones: fastconv.correlate2d(ones(1, 64, 32, 32), ones(64, 64, 3, 3))),
    Call("the same, from njit code", lambda ones: Needs("convolution", ones(1).dtype.name)),
    Call("pools and patches, from njit code", lambda ones: Needs("average", ones(1).dtype.name)),
    Call("avg_pool, uniform_filter", lambda ones: fastconv.avg_pool2d(ones(1, 1, 4, 4), 2)),
    Call("max_pool, maximum_filter", lambda ones: fastconv.max_pool2d(ones(1, 1, 4, 4), 2), ordered=True),
    Call("min_pool, minimum_filter", lambda ones: fastconv.min_pool2d(ones(1, 1, 4, 4), 2), ordered=True),
    Call(
        "max_pool with indices",
        lambda ones: fastconv.max_pool2d(ones(1, 1, 4, 4), 2, return_indices=True),
        ordered=True,
    ),
    Call(
        "min_pool with indices",
        lambda ones: fastconv.min_pool2d(ones(1, 1, 4, 4), 2, return_indices=True),
        ordered=True,
    ),
    Call("uniform_filter, 4 axes or more", lambda ones: fastconv.uniform_filter(ones(*[1] * 4), (1,) * 4)),
    Call("other filters, 4 axes or more", lambda ones: fastconv.maximum_filter(ones(*[1] * 4), (1,) * 4), ordered=True),
    Call("max_unpool", lambda ones: fastconv.max_unpool1d(ones(1, 1, 1), np.zeros((1, 1, 1), np.int64), 1)),
    Call("im2col, extract_patches", lambda ones: fastconv.im2col(ones(1, 1, 2), 1)),
    Call("col2im, combine_patches", lambda ones: fastconv.col2im(ones(1, 1, 2), (2,), 1)),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `warmup`."""
    names = sorted(_dtypes())
    types = parser.add_mutually_exclusive_group()
    types.add_argument(
        "--dtype", nargs="+", choices=names, default=["float32"], metavar="DTYPE", help=f"of {', '.join(names)}"
    )
    types.add_argument("--all", action="store_true", help="every dtype, which takes minutes; default: float32")


def run(args: argparse.Namespace) -> int:
    """Compile, print what took how long, and where it is kept."""
    from fastconv.kernels.jit import cache_directory

    folder = cache_directory()
    if folder is None:
        print("warmup: nothing can be kept: no folder can be written; NUMBA_CACHE_DIR may name one", file=sys.stderr)
        return 1
    known = _dtypes()
    dtypes = known.values() if args.all else [known[name] for name in args.dtype]
    steps = [(dtype, call) for dtype in dtypes for call in CALLS if not (call.ordered and dtype.kind == "c")]
    rows, compiled = [], 0
    begin_all = time.perf_counter()
    with progress(len(steps)) as begin:
        for dtype, call in steps:
            begin(f"{dtype.name}: {call.name}")
            before, start = _count(folder), time.perf_counter()
            call.run(lambda *shape, dtype=dtype: np.ones(shape, dtype))
            seconds, new = time.perf_counter() - start, _count(folder) - before
            compiled += new
            rows.append([f"{dtype.name}: {call.name}", "compiled" if new else "was there", f"{seconds:.2f} s"])
    print(table(["Call", "", "Time"], rows))
    print(f"Compiled {compiled} kernels in {time.perf_counter() - begin_all:.1f} s; they are kept in {folder}")
    return 0


def _dtypes() -> dict[str, np.dtype[Any]]:
    """Every dtype by its name; bfloat16 where ml_dtypes is installed."""
    try:
        import ml_dtypes  # noqa: F401  # NumPy knows the name from then on
    except ImportError:
        return {name: np.dtype(name) for name in DTYPES - {"bfloat16"}}
    return {name: np.dtype(name) for name in DTYPES}


def _count(folder: str) -> int:
    return len(list(Path(folder).iterdir()))
