"""Steps: what a compiled kernel reads of one or two passes, or of windows, and what runs it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import workspace
from ..kernels.filters import extrema, sums
from ..kernels.filters import step as plan
from ..kernels.filters.blocks import VALUES
from ..kernels.shapes import BOUNDARIES, CONSTANT
from ..kernels.simd.lines import FORMATS
from ..kernels.window import write_tuple
from ..launch import entry_point
from ..problem import Array
from ..threads import get_num_threads, share
from .arithmetic import Arithmetic, converted, of_passes, of_window
from .calls import MEAN, SUM, Pass, Run, Window
from .grouping import Pair
from .layout import ONE, Extent, grouped, memory_order, merge, others, single

_SHARED = 200_000  # operations, some 50 us on one core: fewer are not worth to wake a thread
_FEW = 7, 9  # floats, and integers, that are combined one by one; of more, neighbours are folded


def pass_step(x: Array, out: Array, pair: Pair, in_place: bool) -> Run:
    """What runs a pass across lines, one along them, or both."""
    rows, line, hop, outers = _lines_of_pair(x, out, pair)
    how = of_passes(x.dtype, out.dtype, pair)
    kind = next(each.kind for each in pair if each)
    sizes = [each.size if each else 1 for each in pair]
    is_folded = kind != SUM and max(sizes) > _FEW[how.compute.kind != "f"]
    if kind == MEAN and not is_folded and not how.rounded:  # of few elements: a sum of parts
        pair = _as_sum(pair[0]), _as_sum(pair[1])
        kind = SUM
    is_folded = is_folded or kind == MEAN
    across, along = [_side(extent, each) for extent, each in zip((rows, line), pair, strict=True)]
    itemsize = how.compute.itemsize
    is_direct = not is_folded and pair[0] is not None and x.dtype == how.compute and line.x_step == itemsize
    is_direct = is_direct and not in_place and (pair[1] is None or line.size * hop * itemsize <= plan.ROW_BYTES)
    places = math.prod(outer.size for outer in outers)
    blocks = plan.cut(is_folded, across, along, hop, itemsize, 1, places, False, is_direct, in_place)
    step = plan.Step(
        is_folded=int(is_folded), x_format=_format(x), out_format=_format(out), order_across=how.orders[0],
        order_along=how.orders[1], columns=0, heights=0, more=0, together=0, settled_across=0, settled_along=0,
        is_window=0, is_direct=int(is_direct), is_plain=_is_plain(out, line, how), rounded=how.rounded,
        outers=len(outers), depth=1, taps_across=0, taps_along=0, hop=hop, across=across, along=along, blocks=blocks,
    )  # fmt: skip
    values = [each.cval if each else 0.0 for each in pair]
    if is_folded:
        tables: list[Array] = []
        weights: list[float] = []
        exact = [0.0, 0.0]
        if kind == MEAN:
            step, weights = _as_mean(step, how.rounded)
            if not how.rounded and pair[0]:
                values[1] *= pair[0].size  # what is padded along lines are sums across them
    else:
        step, tables, weights, exact = _with_taps(step, pair, how, kind)
    return _runner(step, sides_of(outers), tables, values + weights, exact, how, kind)


def _lines_of_pair(x: Array, out: Array, pair: Pair) -> tuple[Extent, Extent, int, list[Extent]]:
    """Rows, lines, the size of the groups that lines have, and the axes that are left."""
    across, along = pair
    order, hop = memory_order(out), 1
    if along is not None:
        line, used = single(x, out, along.axis), {along.axis}
        inner = order[order.index(along.axis) + 1 :]
        found = grouped(x, out, along.axis, inner) if across is None or across.axis not in inner else None
        if found:
            (line, hop), used = found, {along.axis, *inner}
    else:
        assert across is not None
        inner = order[order.index(across.axis) + 1 :] or [a for a in order if a != across.axis][-1:]
        while inner and merge(x, out, inner) is None:
            inner = inner[1:]
        line, used = merge(x, out, inner) or ONE, set(inner)
    if across is not None:
        return single(x, out, across.axis), line, hop, others(x, out, used | {across.axis})
    outers = others(x, out, used)
    return outers.pop() if outers else ONE, line, hop, outers  # each line is filtered by itself


def _as_sum(each: Pass | None) -> Pass | None:
    return each and each._replace(kind=SUM, weights=(1 / each.size,) * each.size)


def _as_mean(step: Any, rounded: int) -> tuple[Any, list[float]]:
    """A step of means: groups along lines are as many as each has elements, about."""
    across, along = step.across.kernel, step.along.kernel
    if along == 1:
        return step, []
    first = math.isqrt(along)
    scale = 1.0 if rounded else 1 / (across * along)
    return step._replace(taps_along=first), [1.0] * first + [scale] * (along // first + along % first)


def _with_taps(step: Any, pair: Pair, how: Arithmetic, kind: int) -> tuple[Any, list[Array], list[float], list[float]]:
    """A step with its taps: tables of their offsets, and weights; those by which sums are settled, after errors."""
    taps, tables, weights = [0, 0], [], []
    exact, settled = list(how.errors or (0.0, 0.0)), [0, 0]
    units = step.blocks.pitch, step.hop * how.compute.itemsize
    orders = (plan.FUSED, plan.FUSED) if how.errors else how.orders
    for i, (each, order, unit) in enumerate(zip(pair, orders, units, strict=True)):
        if each:
            taps[i] = plan.count_taps(order, each.size)
            weights += _terms(order, each.weights) if kind == SUM else [0.0] * taps[i]
        tables.append(_offsets(order, each.size if each else 0, taps[i], unit))
    at = plan.STEP_FIELDS + step.outers * plan.SIDE_FIELDS + sum(map(len, tables))
    heights = np.array([taps[0]], np.int64)
    tables.append(heights)
    together = pair[0] is not None and pair[0].size >= plan.ROWS - 1 and plan.shares_lines(orders[0])
    step = step._replace(columns=int(together), heights=at, taps_across=taps[0], taps_along=taps[1])
    at += 1
    for i, (each, order, unit) in enumerate(zip(pair, how.orders, units, strict=True)):
        if how.errors is None:
            break
        if each:
            settled[i] = at
            tables.append(_offsets(order, each.size, plan.count_taps(order, each.size), unit))
            at += len(tables[-1])
        exact += _terms(order, each.weights) if each else [0.0]
    return step._replace(settled_across=settled[0], settled_along=settled[1]), tables, weights, exact


def _terms(order: int, weights: tuple[float, ...]) -> list[float]:
    """Weights in the order of terms."""
    n = len(weights)
    return [weights[plan.tap_of(order, n, term, False)] for term in range(plan.count_taps(order, n))]


def _offsets(order: int, kernel: int, terms: int, unit: int) -> Array:
    """Offsets of taps, `unit` bytes apart, in the order of terms; rows that are made together meet further ones."""
    places = np.zeros(2 * (terms + plan.ROWS), np.int64)
    if plan.is_paired(order):
        pairs = [plan.tap_of(order, kernel, term, second) for term in range(terms) for second in (False, True)]
        places[: 2 * terms] = pairs
    elif order == plan.ROUNDED:
        places[:terms] = [plan.tap_of(order, kernel, term, False) for term in range(terms)]
    else:
        places[: terms + plan.ROWS] = range(terms + plan.ROWS)
    return places * unit


def window_step(x: Array, out: Array, window: Window) -> Run:
    """What runs windows over all axes."""
    kernel, order, kind = window.footprint.shape, memory_order(out), window.kind
    inner = [a for i, a in enumerate(order) if i and all(kernel[b] == 1 for b in order[i:])]
    lines = order[: len(order) - len(inner)]
    found = grouped(x, out, lines[-1], inner) if inner else None
    if found is None:
        lines, inner, found = order, [], (single(x, out, order[-1]), 1)
    line, hop = found
    rows = single(x, out, lines[-2]) if len(lines) > 1 else ONE
    outers = [single(x, out, a) for a in lines[:-2]]
    how = of_window(x.dtype, out.dtype, window)
    across, along, *further = [_window_side(extent, window) for extent in (rows, line, *outers)]
    depth, places = math.prod(side.kernel for side in further), math.prod(side.size for side in further)
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
    step = plan.Step(
        is_folded=0, x_format=_format(x), out_format=_format(out), order_across=how.orders[0], order_along=plan.FUSED,
        columns=len(heights), heights=at + len(taps), more=len(taps) - int(runs[-1]), together=together,
        settled_across=settled, settled_along=0, is_window=1, is_direct=0, is_plain=_is_plain(out, line, how),
        rounded=0, outers=len(outers), depth=depth, taps_across=len(taps), taps_along=0, hop=hop, across=across,
        along=along, blocks=blocks,
    )  # fmt: skip
    values = [window.cval] * VALUES + weights[chosen].tolist()
    return _runner(step, further, tables, values, exact, how, kind)


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


def _side(extent: Extent, each: Pass | None) -> Any:
    if each is None:
        return plan.Side(extent.size, extent.x_step, extent.out_step, 1, 0, CONSTANT)
    boundary = BOUNDARIES.index(each.boundary)
    return plan.Side(extent.size, extent.x_step, extent.out_step, each.size, each.before, boundary)


def _window_side(extent: Extent, window: Window) -> Any:
    if extent.axis < 0:
        return _side(extent, None)
    axis, boundary = extent.axis, BOUNDARIES.index(window.boundaries[extent.axis])
    kernel, before = window.footprint.shape[axis], window.before[axis]
    return plan.Side(extent.size, extent.x_step, extent.out_step, kernel, before, boundary)


def sides_of(outers: list[Extent]) -> list[Any]:
    """Axes over which nothing is filtered."""
    return [_side(outer, None) for outer in outers]


def _is_plain(out: Array, line: Extent, how: Arithmetic) -> int:
    return int(out.dtype == how.compute and line.out_step == how.compute.itemsize)


def _format(array: Array) -> int:
    place: int = FORMATS.index(array.dtype.name)
    return place


def _runner(
    step: Any, outers: list[Any], tables: list[Array], weights: list[float], exact: list[float], how: Arithmetic,
    kind: int,
) -> Run:  # fmt: skip
    """What runs a step."""
    head = np.zeros(plan.STEP_FIELDS + len(outers) * plan.SIDE_FIELDS, np.int64)
    at = write_tuple(head, 0, step)
    for outer in outers:
        at = write_tuple(head, at, outer)
    numbers = np.concatenate([head, *tables])
    values, exactly = converted(weights, how.compute), np.array(exact)
    kernel = sums.filter_sums if kind <= MEAN else extrema.filter_extrema
    formats = "uint8", "uint8", how.compute.name, "float64", "int64", "uint8", "int64", "intp", "intp"
    compiled, size = entry_point(kernel, *formats), step.blocks.workspace
    terms = max(step.taps_across + step.taps_along, 8)
    work = step.across.size * step.along.size * step.hop * terms * math.prod(outer.size for outer in outers)
    take, give = workspace.take, workspace.give

    def run_alone(x: Array, out: Array) -> None:
        scratch = take(size)
        compiled(x, out, values, exactly, numbers, scratch, numbers, 1, 0)
        give(scratch)

    def run(x: Array, out: Array) -> None:
        share(compiled, (x, out, values, exactly, numbers), size, get_num_threads())

    return run_alone if work < _SHARED or step.blocks.items == 1 else run
