"""Compile ahead what later calls need.

Every family of convolutions is compiled, and every other function called once on a small array for each way that it can
run. What is compiled is kept on disk and serves calls of any shape, strides and options, in this and later processes.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv.cli.console import progress, table
from fastconv.kernels.shapes import DTYPES, element_of
from fastconv.launch import entry_point, family_formats
from fastconv.pool import mean_dtype

Array = NDArray[Any]
MANY_AXES = 4  # more than most families take
_NO_FOLDER = "nothing can be kept: no folder is this user's alone to write; NUMBA_CACHE_DIR may name one"


class Call(NamedTuple):
    """One way to run a public function, on arrays that `ones(*shape)` makes."""

    name: str
    run: Callable[[Callable[..., Array]], Any]
    ordered: bool = False  # asks which of two elements is larger, which complex numbers do not say


def _compile_family(place: int, ones: Callable[..., Array]) -> None:
    """Compile a family of convolutions, if it takes the dtype."""
    from fastconv.kernels.convolution.choose import FAMILIES, candidates

    dtype, module = ones(1).dtype.name, FAMILIES[place].module
    if any(place in candidates(element_of(dtype), rank) for rank in (1, MANY_AXES)):
        entry_point(module.correlate, *family_formats(module, dtype, dtype))


def _transpose(channels: int, ones: Callable[..., Array]) -> None:
    """Run phases of a kernel together, of groups of so many channels."""
    from fastconv import functional

    functional.conv_transpose2d(ones(1, 32, 16, 16), ones(32, channels, 4, 4), stride=2, groups=32 // channels)


def _need(kind: str, dtype: np.dtype[Any], x: np.dtype[Any], rank: int = 0) -> None:
    """Compile what compiled callers need."""
    from fastconv.njit.linking import Needs

    Needs(kind, dtype.name, x.name, rank)


def _need_filters(ones: Callable[..., Array]) -> None:
    """What compiled callers compute sums in."""
    compute = np.dtype(np.float32 if ones(1).dtype == np.float32 else np.float64)
    _need("sums", compute, compute)


def _filter(function: str, size: int, ones: Callable[..., Array]) -> None:
    """Run a function of `fastconv.ndimage`, if it takes the dtype."""
    from fastconv import ndimage
    from fastconv.ndimage.arguments import COMPLEX, REAL

    if ones(1).dtype.name in (*REAL, *COMPLEX):
        getattr(ndimage, function)(ones(3, 3), size)


@functools.cache
def calls() -> tuple[Call, ...]:
    """All ways to run; other commands import no kernels, which would start Numba."""
    from fastconv import functional, grad
    from fastconv.kernels.convolution.choose import FAMILIES

    return (
        *(
            Call(f"correlate, convolve: {family.name}", functools.partial(_compile_family, place))
            for place, family in enumerate(FAMILIES)
        ),
        Call(
            "correlate, convolve: algorithm='im2col'",
            lambda ones: fastconv.correlate2d(ones(1, 1, 3, 3), ones(1, 1, 2, 2), algorithm="im2col"),
        ),
        Call(
            "correlate, convolve: on several threads",
            lambda ones: fastconv.correlate2d(ones(1, 64, 32, 32), ones(64, 64, 3, 3)),
        ),
        *(
            Call(
                f"functional.conv_transpose, {name}: stride=2",
                functools.partial(_transpose, channels),
            )
            for name, channels in (("depthwise", 1), ("direct", 4))
        ),
        Call("correlate, convolve: from njit code", lambda ones: _need("convolution", ones(1).dtype, ones(1).dtype, 1)),
        Call(
            "pools and patches, from njit code", lambda ones: _need("average", mean_dtype(ones(1).dtype), ones(1).dtype)
        ),
        Call("ndimage: from njit code", _need_filters),
        Call("gradients of weights, from njit code too", lambda ones: _need("weights", ones(1).dtype, ones(1).dtype)),
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
        Call(
            "other filters, 4 axes or more",
            lambda ones: fastconv.maximum_filter(ones(*[1] * 4), (1,) * 4),
            ordered=True,
        ),
        Call("ndimage: weighted sums", functools.partial(_filter, "gaussian_filter", 1)),
        Call("ndimage: sums of whole numbers", functools.partial(_filter, "sobel", 0)),
        Call("ndimage: extrema", functools.partial(_filter, "maximum_filter", 3), ordered=True),
        Call("max_unpool", lambda ones: fastconv.max_unpool1d(ones(1, 1, 1), np.zeros((1, 1, 1), np.int64), 1)),
        Call("functional.lp_pool", lambda ones: functional.lp_pool1d(ones(1, 2), 2, 2), ordered=True),
        Call(
            "grad.max_pool_input",
            lambda ones: grad.max_pool1d_input((1, 1), np.zeros((1, 1), np.int64), ones(1, 1)),
        ),
        Call("grad.avg_pool_input", lambda ones: grad.avg_pool1d_input((1, 2), ones(1, 1), 2)),
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
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="compile on every worker of a Dask cluster, given its scheduler's address"
    )


def run(args: argparse.Namespace) -> int:
    """Compile, print what took how long, and where it is kept."""
    names = sorted(_dtypes()) if args.all else args.dtype
    return _run_on_workers(args.dask, names) if args.dask else _run_here(names)


def _run_here(names: Sequence[str]) -> int:
    from fastconv.kernels.jit import cache_directory

    folder = cache_directory()
    if folder is None:
        print(f"warmup: {_NO_FOLDER}", file=sys.stderr)
        return 1
    rows, begin_all, before_all, steps = [], time.perf_counter(), _count(folder), _steps(names)
    with progress(len(steps)) as begin:
        for dtype, call in steps:
            begin(f"{dtype.name}: {call.name}")
            before, start = _count(folder), time.perf_counter()
            call.run(_ones_of(dtype))
            seconds, new = time.perf_counter() - start, _count(folder) - before
            rows.append([f"{dtype.name}: {call.name}", "compiled" if new else "was there", f"{seconds:.2f} s"])
    print(table(["Call", "", "Time"], rows))
    compiled, seconds = _count(folder) - before_all, time.perf_counter() - begin_all
    print(f"Compiled {compiled} kernels in {seconds:.1f} s; they are kept in {folder}")
    return 0


def _steps(names: Sequence[str]) -> list[tuple[np.dtype[Any], Call]]:
    known = _dtypes()
    dtypes = [known[name] for name in names]
    return [(dtype, call) for dtype in dtypes for call in calls() if not (call.ordered and dtype.kind == "c")]


def _ones_of(dtype: np.dtype[Any]) -> Callable[..., Array]:
    return lambda *shape: np.ones(shape, dtype)


def _run_on_workers(address: str, names: Sequence[str]) -> int:
    """A task for each worker, at the same time: workers that share a folder do so without harm."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        print(f"warmup: --dask needs Dask's clusters ({error}): install fastconv[dask]", file=sys.stderr)
        return 1
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        print(f"warmup: no scheduler answers at {address}: {error}", file=sys.stderr)
        return 1
    rows, failed = [], False
    with client:
        tasks = {
            client.submit(compile_all, tuple(names), workers=[worker], pure=False): worker
            for worker in client.nthreads()
        }
        with progress(len(tasks)) as begin:
            for future in as_completed(tasks):
                begin(tasks[future])
                folder, seconds = future.result()
                failed |= folder is None
                rows.append([tasks[future], f"{seconds:.1f} s", folder or _NO_FOLDER])
    print(table(["Worker", "Time", "Folder"], sorted(rows)))
    return 1 if failed or not rows else 0


def compile_all(names: Sequence[str]) -> tuple[str | None, float]:
    """Compile for dtypes in this process; the folder that keeps it, if any, and the seconds that it took."""
    from fastconv.kernels.jit import cache_directory

    begin = time.perf_counter()
    for dtype, call in _steps(names):
        call.run(_ones_of(dtype))
    return cache_directory(), time.perf_counter() - begin


def _dtypes() -> dict[str, np.dtype[Any]]:
    """Every dtype by its name; bfloat16 where ml_dtypes is installed."""
    try:
        import ml_dtypes  # noqa: F401  # NumPy knows the name from then on
    except ImportError:
        return {name: np.dtype(name) for name in set(DTYPES) - {"bfloat16"}}
    return {name: np.dtype(name) for name in DTYPES}


def _count(folder: str) -> int:
    return len(list(Path(folder).iterdir()))
