"""Steps: what a compiled kernel reads of one or two passes, or of windows, and what runs it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import workspace
from ..kernels.filters import extrema, sums
from ..kernels.filters import step as plan
from ..kernels.filters.blocks import VALUES
from ..kernels.filters.layout import find_window, single
from ..kernels.filters.passes import Filtered, Manner, room_of_passes, write_passes
from ..kernels.filters.step import Side
from ..kernels.shapes import BOUNDARIES, CONSTANT
from ..kernels.simd.lines import FORMATS
from ..kernels.window import write_tuple
from ..launch import entry_point, step_formats
from ..problem import Array
from ..team import share
from ..threads import get_num_threads
from .arithmetic import Arithmetic, converted, of_passes, of_window
from .calls import MEAN, SUM, Pass, Run, Window
from .grouping import Pair
from .layout import lying

_SHARED = 200_000  # operations, some 50 us on one core: fewer are not worth to wake a thread
_OPERATION = 0.25  # nanoseconds of it


def pass_step(x: Array, out: Array, pair: Pair, in_place: bool) -> Run:
    """What runs a pass across lines, one along them, or both."""
    how = of_passes(x.dtype, out.dtype, pair)
    kind = next(each.kind for each in pair if each)
    across, along = (_filtered(each, pair[0] if i else None) for i, each in enumerate(pair))
    count, more = room_of_passes(x.ndim, across, along)
    numbers, values, exact = np.zeros(count, np.int64), np.zeros(more), np.zeros(more)
    values[:VALUES] = [each.cval if each else 0.0 for each in pair]
    exact[:VALUES] = how.errors or 0.0
    manner = Manner(
        kind, _format(x.dtype), _format(out.dtype), _format(how.compute), how.compute.itemsize,
        how.compute.kind != "f", *how.orders, how.rounded, how.errors is not None, in_place,
    )  # fmt: skip
    weights = [weight for each in pair if each for weight in each.weights]
    step = write_passes(numbers, values, exact, lying(x, out), across, along, manner, weights)
    return _runner(step, numbers, values.tolist(), exact, how, kind)


def _filtered(each: Pass | None, first: Pass | None) -> Any:
    """A pass as kernels plan it; the weights of a second one follow the first's."""
    if each is None:
        return Filtered(-1, 1, 0, CONSTANT, 0)
    begin = len(first.weights) if first else 0
    return Filtered(each.axis, each.size, each.before, BOUNDARIES.index(each.boundary), begin)


def window_step(x: Array, out: Array, window: Window) -> Run:
    """What runs windows over all axes."""
    kernel, kind, lies = window.footprint.shape, window.kind, lying(x, out)
    rows, line, hop, count, places = find_window(lies, kernel)
    outers = [single(lies, a) for a in lies.order[:count]]
    how = of_window(x.dtype, out.dtype, window)
    across, along, *further = (_window_side(extent, window) for extent in (rows, line, *outers))
    depth = math.prod(side.kernel for side in further)
    blocks = plan.cut(False, across, along, hop, how.compute.itemsize, depth, places, True, False, False)
    counted = window.footprint & (window.weights != 0) if kind == SUM else window.footprint
    taps = np.argwhere(counted)
    if not len(taps):
        return _fill_zeros
    planes = np.zeros(len(taps), np.int64)
    for outer, side in zip(outers, further, strict=True):
        planes = planes * side.kernel + taps[:, outer.axis]
    row = planes * blocks.rows + (taps[:, rows.axis] if rows.axis >= 0 else 0)
    offsets = row * blocks.pitch + taps[:, line.axis] * (hop * how.compute.itemsize)
    weights = window.weights[counted]
    placed = np.stack([planes, taps[:, line.axis], row], axis=1)
    heights, chosen = _columns(placed) if plan.shares_lines(how.orders[0]) or how.errors else ([], np.arange(len(taps)))
    runs = np.concatenate([[0], np.cumsum(heights)]).astype(int)
    further_rows = [
        offsets[chosen[start]] + np.arange(height + plan.ROWS - 1) * blocks.pitch
        for start, height in zip(runs, heights)
    ]
    at = plan.STEP_FIELDS + len(outers) * plan.SIDE_FIELDS
    tables = [offsets[chosen], np.array(heights, np.int64), *further_rows, offsets[chosen[runs[-1] :]]]
    together = at + len(taps) + len(heights)
    settled = together + sum(map(len, tables[2:])) if how.errors else 0
    exact = [0.0, 0.0]
    if how.errors:
        tables.append(offsets)
        exact = [how.errors[0], 0.0, *weights.tolist()]
    is_plain = out.dtype == how.compute and line.out_step == how.compute.itemsize
    step = plan.Step(
        is_folded=0, x_format=_format(x.dtype), out_format=_format(out.dtype), order_across=how.orders[0],
        order_along=plan.FUSED, columns=len(heights), heights=at + len(taps), more=len(taps) - int(runs[-1]),
        together=together, settled_across=settled, settled_along=0, is_window=1, is_direct=0, is_plain=int(is_plain),
        is_mean=0, rounded=0, outers=len(outers), depth=depth, taps_across=len(taps), taps_along=0, hop=hop,
        across=across, along=along, blocks=blocks,
    )  # fmt: skip
    values = [window.cval] * VALUES + weights[chosen].tolist()
    head = np.zeros(at, np.int64)
    write_tuple(head, 0, (step, *further))
    return _runner(step, np.concatenate([head, *tables]), values, np.array(exact), how, kind)


def _columns(taps: Array) -> tuple[list[int], Array]:
    """Runs of taps below each other, of `ROWS - 1` at least: their heights, and all taps, those of runs first.

    `taps` holds plane, column and row of each.
    """
    order = np.lexsort((taps[:, 2], taps[:, 1], taps[:, 0]))
    ordered = taps[order]
    follows = (np.diff(ordered[:, :2], axis=0) == 0).all(axis=1) & (np.diff(ordered[:, 2]) == 1)
    starts = np.concatenate([[0], np.flatnonzero(~follows) + 1])
    heights = np.diff(np.append(starts, len(taps)))
    is_run = np.repeat(heights >= plan.ROWS - 1, heights)
    return heights[heights >= plan.ROWS - 1].tolist(), np.concatenate([order[is_run], order[~is_run]])


def _fill_zeros(x: Array, out: Array) -> None:
    out.fill(0)


def _window_side(extent: Any, window: Window) -> Any:
    if extent.axis < 0:
        return Side(extent.size, extent.x_step, extent.out_step, 1, 0, CONSTANT)
    axis, boundary = extent.axis, BOUNDARIES.index(window.boundaries[extent.axis])
    kernel, before = window.footprint.shape[axis], window.before[axis]
    return Side(extent.size, extent.x_step, extent.out_step, kernel, before, boundary)


def _format(dtype: np.dtype[Any]) -> int:
    number: int = FORMATS.index(dtype.name)
    return number


def _runner(step: Any, numbers: Array, weights: list[float], exact: Array, how: Arithmetic, kind: int) -> Run:
    """What runs a step."""
    values = converted(weights, how.compute)
    kernel = sums.filter_sums if kind <= MEAN else extrema.filter_extrema
    compiled, size = entry_point(kernel, *step_formats(how.compute.name)), step.blocks.workspace
    terms = max(step.taps_across + step.taps_along, 8)
    places = step.blocks.items // (step.blocks.bands * step.blocks.panels)
    work = step.across.size * step.along.size * step.hop * terms * places
    take, give = workspace.take, workspace.give

    def run_alone(x: Array, out: Array) -> None:
        scratch = take(size)
        compiled(x, out, values, exact, numbers, scratch, numbers, 1, 0)
        give(scratch)

    def run(x: Array, out: Array) -> None:
        share(compiled, (x, out, values, exact, numbers), size, get_num_threads(), _OPERATION * work)

    return run_alone if work < _SHARED or step.blocks.items == 1 else run
