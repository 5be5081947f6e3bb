"""Pools, sliding filters and patches of Dask arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

from .. import patches, pool
from .. import problem as checks
from ..kernels.shapes import Axis
from ..problem import Array, Sliding
from .documents import describe
from .graph import Graph, Parts, as_dask, empty, standing_in
from .halo import unchanged, windows
from .region import Blocks, laid_together

_INDEX = np.dtype(np.int64)


class Slide(NamedTuple):
    """What all blocks of a pool, a filter or an extraction are made with."""

    name: str
    leading: int  # axes before those of the window
    axes: tuple[Axis, ...]  # of the whole input
    stride: tuple[int, ...]  # as it was asked for: of a window that `ceil_mode` lets hang over, it counts
    pads: bool  # filters over the last axes never do
    options: tuple[tuple[str, Any], ...] = ()
    sizes: tuple[int, ...] | None = None  # of the window's axes in the whole input, where indices count along them


def _slide(
    problem: Sliding, stride: Any, options: dict[str, Any], pads: bool = True, sizes: tuple[int, ...] | None = None
) -> Slide:
    name, axes = problem.function, problem.axes
    steps = problem.window if stride is None else checks.as_ints(name, "stride", stride, len(axes), 1)
    return Slide(name, len(problem.leading), axes, steps, pads, tuple(options.items()), sizes)


def _told(name: str, x: Any, check: Callable[[Array], Any]) -> tuple[da.Array, Any]:
    """`x` as a Dask array, and what a check says of its like; its errors tell what `x` was, if it was none."""
    given = [] if isinstance(x, da.Array) else [("x", x)]
    x = as_dask(name, "x", x)
    try:
        return x, check(checks.as_array(name, "x", standing_in(x)))
    except (TypeError, ValueError) as error:
        raise checks.told_whole(name, error, given) from None


def _of_windows(x: da.Array, problem: Sliding, slide: Slide, *dtypes: np.dtype[Any]) -> Any:
    """The result, or several, with an element for each window."""
    if 0 in problem.out_shape:
        results = tuple(empty(problem.out_shape, dtype) for dtype in dtypes)
        return results if len(dtypes) > 1 else results[0]
    before = len(problem.leading)
    plan = [*map(unchanged, x.chunks[:before]), *map(windows, x.chunks[before:], problem.axes)]
    chunks = [tuple(part.outputs for part in parts) for parts in plan]
    graph = Graph(problem.function, x, window_block, slide)
    return graph.pair(plan, chunks, dtypes) if len(dtypes) > 1 else graph.array(plan, chunks, dtypes[0])


def window_block(slide: Slide, parts: Parts, blocks: Blocks) -> Any:
    """A block with an element for each window; with indices, two."""
    with laid_together([part.pieces for part in parts], blocks) as region:
        made = _call(pool, slide, region, parts)
    kept = tuple(part.kept for part in parts)
    if slide.sizes is None:
        return made[kept]
    values, indices = made[0][kept], made[1][kept]
    return values, _moved(
        indices, region.shape[slide.leading :], slide.sizes, [p.first for p in parts[slide.leading :]]
    )


def _call(module: Any, slide: Slide, region: Array, parts: Parts) -> Any:
    options, moved = dict(slide.options), parts[slide.leading :]
    if slide.pads:
        options["dilation"] = tuple(axis.dilation for axis in slide.axes)
        options["padding"] = tuple((part.before, part.after) for part in moved)
    kernel = tuple(axis.kernel for axis in slide.axes)
    return getattr(module, slide.name)(region, kernel, stride=slide.stride, **options)


def _moved(indices: Array, region: Sequence[int], sizes: Sequence[int], first: Sequence[int]) -> Array:
    """Flat indices into a region as such into the whole; -1 stays."""
    found = np.unravel_index(np.maximum(indices, 0), region)
    whole = np.ravel_multi_index(tuple(i + begin for i, begin in zip(found, first)), sizes)
    return np.where(indices < 0, indices, whole)


def _pool(
    name: str, x: Any, rank: int, label: str, options: tuple[Any, ...], dtype: Any, check: Callable[..., None]
) -> tuple[da.Array, Sliding, Any]:
    def checked(x: Array) -> tuple[Sliding, Any]:
        asked = None if dtype is None else checks.as_dtype(name, dtype)
        if asked is not None:
            checks.result_dtype(name, asked, x=x)
        kernel_size, stride, dilation, padding, ceil_mode = options
        moved = kernel_size, stride, dilation, label, padding, ceil_mode
        problem = checks.window(name, x, rank, *moved, is_pool=True, in_chunks=True)
        check(x, asked)
        return problem, asked

    x, (problem, asked) = _told(name, x, checked)
    return x, problem, asked


def _padding(name: str, padding: Any, padding_spec: Any) -> tuple[str, Any]:
    return ("padding_spec", padding_spec) if padding is None else pool.only_padding(name, padding, padding_spec)


def _define_extremum(name: str, rank: int) -> Callable[..., Any]:
    def function(
        x: Any,
        kernel_size: Any,
        *,
        stride: Any = None,
        dilation: Any = 1,
        padding_spec: Any = checks.DEFAULT_PADDING,
        padding: Any = None,
        ceil_mode: bool = False,
        return_indices: bool = False,
        dtype: Any = None,
    ) -> Any:
        label, asked_padding = _padding(name, padding, padding_spec)
        options = kernel_size, stride, dilation, asked_padding, bool(ceil_mode)

        def check(x: Array, asked: Any) -> None:
            checks.check_ordered(name, x, asked)

        x, problem, asked = _pool(name, x, rank, label, options, dtype, check)
        result = asked or problem.dtype
        kept = {"ceil_mode": bool(ceil_mode), "dtype": result}
        if not return_indices:
            return _of_windows(x, problem, _slide(problem, stride, kept), result)
        slide = _slide(problem, stride, kept | {"return_indices": True}, sizes=x.shape[2:])
        return _of_windows(x, problem, slide, result, _INDEX)

    return _document(function, name, rank)


def _define_average(name: str, rank: int) -> Callable[..., da.Array]:
    def function(
        x: Any,
        kernel_size: Any,
        *,
        stride: Any = None,
        dilation: Any = 1,
        padding_spec: Any = checks.DEFAULT_PADDING,
        padding: Any = None,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        dtype: Any = None,
    ) -> da.Array:
        label, asked_padding = _padding(name, padding, padding_spec)
        options = kernel_size, stride, dilation, asked_padding, bool(ceil_mode)

        def check(x: Array, asked: Any) -> None:
            if asked is not None:
                checks.check_mean(name, asked)

        x, problem, asked = _pool(name, x, rank, label, options, dtype, check)
        result = asked or pool.mean_dtype(problem.dtype)
        kept = {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad), "dtype": result}
        averages: da.Array = _of_windows(x, problem, _slide(problem, stride, kept), result)
        return averages

    return _document(function, name, rank)


def _document(function: Callable[..., Any], name: str, rank: int) -> Callable[..., Any]:
    chunks = (1,), (1,), *[(1, 1, 1)] * rank
    return describe(function, getattr(pool, name), ", 2", f"{(1, 1, *[6] * rank)}", f"{chunks}")


avg_pool1d, avg_pool2d, avg_pool3d = (_define_average(f"avg_pool{rank}d", rank) for rank in (1, 2, 3))
max_pool1d, max_pool2d, max_pool3d = (_define_extremum(f"max_pool{rank}d", rank) for rank in (1, 2, 3))
min_pool1d, min_pool2d, min_pool3d = (_define_extremum(f"min_pool{rank}d", rank) for rank in (1, 2, 3))


def _define_filter(name: str, is_mean: bool) -> Callable[..., da.Array]:
    def function(x: Any, kernel_size: tuple[int, ...], *, stride: Any = None) -> da.Array:
        def checked(x: Array) -> Sliding:
            checks.check_sequence(name, "kernel_size", kernel_size)
            rank = len(kernel_size)
            checks.check_trailing(name, "x", x, rank)
            problem = checks.window(name, x, rank, kernel_size, stride, 1, "padding", 0, in_chunks=True)
            if not is_mean:
                checks.check_ordered(name, x)
            return problem

        x, problem = _told(name, x, checked)
        result = pool.mean_dtype(problem.dtype) if is_mean else problem.dtype
        made: da.Array = _of_windows(x, problem, _slide(problem, stride, {}, pads=False), result)
        return made

    return describe(function, getattr(pool, name), ", (3,), stride=1", "(4,)", "((2,),)")


maximum_filter = _define_filter("maximum_filter", False)
minimum_filter = _define_filter("minimum_filter", False)
uniform_filter = _define_filter("uniform_filter", True)


# ---- patches


def extract_patches(
    x: Any, kernel_size: tuple[int, ...], *, stride: Any = 1, dilation: Any = 1, padding: Any = 0
) -> da.Array:
    """`fastconv.extract_patches` of a Dask array, lazily: every window, as columns.

    Columns stand in the order of the windows, so that they are chunked as the first axis of the window is, and each
    block takes all that it needs along the others.

    Parameters
    ----------
    x : dask.array.Array
        In chunks of any sizes, which have to be known. A NumPy array is wrapped in one.
    kernel_size, stride, dilation, padding
        As for `fastconv.extract_patches`.

    Returns
    -------
    dask.array.Array

    Examples
    --------
    >>> import dask.array as da, fastconv.dask
    >>> fastconv.dask.extract_patches(da.arange(4, chunks=2), (2,)).compute()
    array([[0, 1, 2],
           [1, 2, 3]])
    """
    name = "extract_patches"

    def checked(x: Array) -> Sliding:
        checks.check_sequence(name, "kernel_size", kernel_size)
        checks.check_trailing(name, "x", x, len(kernel_size))
        return _patches(name, x, len(kernel_size), kernel_size, stride, dilation, padding)

    x, problem = _told(name, x, checked)
    return _columns(x, problem, stride, (*problem.leading, problem.taps, problem.positions))


def im2col(x: Any, kernel_size: Any, *, stride: Any = 1, dilation: Any = 1, padding: Any = 0) -> da.Array:
    """`fastconv.im2col` of a Dask array, lazily: every window as a column that holds all channels.

    Chunked as `extract_patches` chunks, and along the batch and the channels as `x` is.

    Parameters
    ----------
    x : dask.array.Array
        In chunks of any sizes, which have to be known. A NumPy array is wrapped in one.
    kernel_size, stride, dilation, padding
        As for `fastconv.im2col`.

    Returns
    -------
    dask.array.Array

    Examples
    --------
    >>> import dask.array as da, fastconv.dask
    >>> fastconv.dask.im2col(da.arange(4, chunks=2).reshape(1, 1, 4), 2).compute()
    array([[[0, 1, 2],
            [1, 2, 3]]])
    """
    name = "im2col"

    def checked(x: Array) -> Sliding:
        checks.check_trailing(name, "x", x, 1, more=2)
        return _patches(name, x, x.ndim - 2, kernel_size, stride, dilation, padding)

    x, problem = _told(name, x, checked)
    batch, count = problem.leading
    return _columns(x, problem, stride, (batch, count * problem.taps, problem.positions))


def _patches(name: str, x: Array, rank: int, *options: Any) -> Sliding:
    kernel_size, stride, dilation, padding = options
    problem = checks.window(name, x, rank, kernel_size, stride, dilation, "padding", padding, in_chunks=True)
    checks.check_size(name, (*problem.leading, problem.taps, problem.positions), x.itemsize, in_chunks=True)
    return problem


def _columns(x: da.Array, problem: Sliding, stride: Any, shape: tuple[int, ...]) -> da.Array:
    """Columns of windows, in the C order of their places: only chunks along the window's first axis are theirs, too."""
    if 0 in shape:
        return empty(shape, problem.dtype)
    before, rank = len(problem.leading), len(problem.axes)
    moved = [windows(n, axis, in_one=i > 0) for i, (n, axis) in enumerate(zip(x.chunks[before:], problem.axes))]
    plan = [*map(unchanged, x.chunks[:before]), *moved]
    in_row = math.prod(axis.out for axis in problem.axes[1:])
    columns = [part.outputs * in_row for part in moved[0]] if rank else [1]
    chunks = [*x.chunks[:before], [problem.taps], columns]
    joins = len(shape) == before + 1  # the window's elements are counted along with the channels
    if joins:
        chunks[before - 1 : before + 1] = [[n * problem.taps for n in x.chunks[before - 1]]]

    def place(index: tuple[int, ...]) -> tuple[int, ...]:
        column = index[before] if rank else 0
        return (*index[:before], column) if joins else (*index[:before], 0, column)

    return Graph(problem.function, x, column_block, _slide(problem, stride, {})).array(
        plan, chunks, problem.dtype, place
    )


def column_block(slide: Slide, parts: Parts, blocks: Blocks) -> Array:
    """A block of columns."""
    with laid_together([part.pieces for part in parts], blocks) as region:
        made: Array = _call(patches, slide, region, parts)
    moved = parts[slide.leading :]
    rooms = [n + part.before + part.after for n, part in zip(region.shape[slide.leading :], moved)]
    counts = [(n - a.dilation * (a.kernel - 1) - 1) // s + 1 for n, a, s in zip(rooms, slide.axes, slide.stride)]
    if counts == [part.outputs for part in moved]:
        return made
    # Windows of padding only were made on the way to one that is not.
    apart = made.reshape(*made.shape[:-1], *counts)[..., *[part.kept for part in moved]]
    return apart.reshape(*made.shape[:-1], -1)
