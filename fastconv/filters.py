"""Filters over the axes of one array, as it lies: weighted sums, means and extrema, along axes or under windows.

What `fastconv.ndimage` and others are made of. Nothing is copied but lines, a block at a time: any strides are read and
written in place, any real dtype is converted on the way, and `out` may be the array itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import workspace
from .kernels.shapes import BOUNDARIES, CONSTANT
from .launch import FILTERS, entry_point, import_kernels
from .problem import Array
from .threads import get_num_threads, share

SUM, MEAN, MAXIMUM, MINIMUM = range(4)
Run = Callable[[Array, Array], None]
_SHARED = 200_000  # operations, some 50 us on one core: fewer are not worth to wake a thread
_SHORT = 64  # elements: shorter lines are filtered as groups of one long line
_EXACT = 2.0**31  # what sums of integers stay below, so that a double is truncated to 32 bits as C does


class Pass(NamedTuple):
    """A filter along one axis: `out[i]` is made of `x[i - before]` and `size - 1` elements after it."""

    axis: int
    kind: int
    size: int
    weights: tuple[float, ...]  # of a SUM, as a correlation has them
    before: int
    boundary: str  # in NumPy's words
    cval: float


class Window(NamedTuple):
    """A filter over all axes at once."""

    kind: int  # SUM, MAXIMUM or MINIMUM
    weights: Array  # float64, of as many axes as the array: factors of a SUM; for extrema they are added
    footprint: Array  # bool: the taps that count
    before: tuple[int, ...]
    boundaries: tuple[str, ...]
    cval: float


class _Axis(NamedTuple):
    """An axis, or several that lie as one, as a step sees it. Steps are in bytes."""

    size: int
    x_step: int
    out_step: int
    place: int  # the first of the array's axes


def prepare_passes(x: Array, out: Array, passes: Sequence[Pass]) -> Run:
    """What filters arrays that are like `x` and `out` in shape, strides and dtype, pass after pass.

    Results between two passes are of the dtype of `out`. If `out` is `x`, so have they to be when it runs.
    """
    import_kernels(*FILTERS)
    passes = [each for each in passes if each.kind == SUM or each.size > 1]
    if not passes:
        return _copy
    groups = _group(x, out, passes)
    in_place = _is_same(x, out)
    steps = [_pass_step(out if i or in_place else x, out, group, i > 0 or in_place) for i, group in enumerate(groups)]
    return _chain(steps)


def prepare_window(x: Array, out: Array, window: Window) -> Run:
    """What filters arrays that are like `x` and `out` in shape, strides and dtype, with windows over all axes."""
    import_kernels(*FILTERS)
    return _window_step(x, out, window)


def _copy(x: Array, out: Array) -> None:
    if x is not out:
        np.copyto(out, x, casting="unsafe")


def _chain(steps: list[Run]) -> Run:
    first, *others = steps
    if not others:
        return first

    def run(x: Array, out: Array) -> None:
        first(x, out)
        for step in others:
            step(out, out)

    return run


def _is_same(x: Array, out: Array) -> bool:
    return x is out or (
        x.__array_interface__["data"] == out.__array_interface__["data"]
        and (x.strides, x.dtype) == (out.strides, out.dtype)
    )


# ---- which passes go together


def _group(x: Array, out: Array, passes: list[Pass]) -> list[tuple[Pass | None, Pass | None]]:
    """Pairs of a pass across lines and one along them; either may be missing."""
    order = _memory_order(out)
    kinds = [_is_along(x, out, order, each.axis) for each in passes]
    groups: list[tuple[Pass | None, Pass | None]] = []
    if _commute(x.dtype, out.dtype, passes) and len({each.axis for each in passes}) == len(passes):
        across = sorted((p for p, along in zip(passes, kinds, strict=True) if not along), key=lambda p: order.index(p.axis))
        along = [p for p, is_along in zip(passes, kinds, strict=True) if is_along]
        # The pass along lines goes with the nearest pass across them.
        first = (across.pop() if across and not _is_same(x, out) else None, along.pop() if along else None)
        groups = [first] if first != (None, None) else []
        return groups + [(None, p) for p in along] + [(p, None) for p in reversed(across)]
    i = 0
    while i < len(passes):
        pair = i == 0 and len(passes) > 1 and not kinds[0] and kinds[1] and not _is_same(x, out)
        pair = pair and passes[0].kind == passes[1].kind
        if pair:
            groups.append((passes[0], passes[1]))
        else:
            groups.append((None, passes[i]) if kinds[i] else (passes[i], None))
        i += 2 if pair else 1
    return groups


def _commute(given: np.dtype[Any], result: np.dtype[Any], passes: list[Pass]) -> bool:
    """Whether the order of passes makes no difference but in the last bits of floats."""
    if len({each.kind for each in passes}) > 1:
        return False
    if any(each.boundary == "constant" and each.cval != 0 for each in passes) and passes[0].kind in (SUM, MEAN):
        return False
    if passes[0].kind in (MAXIMUM, MINIMUM):
        return given == result
    return result.kind == "f" or (given.kind in "iub" and all(map(_is_integral, passes)) and passes[0].kind == SUM)


def _is_integral(each: Pass) -> bool:
    return all(float(w).is_integer() for w in (*each.weights, each.cval))


def _memory_order(array: Array) -> list[int]:
    """Axes from the largest step to the smallest."""
    return sorted(range(array.ndim), key=lambda a: (-abs(array.strides[a]), a))


def _is_along(x: Array, out: Array, order: list[int], axis: int) -> bool:
    """Whether an axis is filtered along lines: few elements lie behind it."""
    inner = order[order.index(axis) + 1 :]
    return math.prod(x.shape[a] for a in inner) < _SHORT or not _merge(x, out, inner)


def _merge(x: Array, out: Array, axes: list[int]) -> _Axis | None:
    """Axes, in the order of memory, as one; None if they do not lie so."""
    axes = [a for a in axes if x.shape[a] > 1] or axes[-1:]
    if not axes:
        return _Axis(1, x.itemsize, out.itemsize, -1)
    for a, b in zip(axes, axes[1:]):
        if x.strides[a] != x.strides[b] * x.shape[b] or out.strides[a] != out.strides[b] * out.shape[b]:
            return None
    return _Axis(math.prod(x.shape[a] for a in axes), x.strides[axes[-1]], out.strides[axes[-1]], axes[0])


def _one(x: Array, out: Array, axis: int) -> _Axis:
    return _Axis(x.shape[axis], x.strides[axis], out.strides[axis], axis)


def _outers(x: Array, out: Array, used: set[int]) -> list[_Axis]:
    """The other axes, those that lie as one joined."""
    rest = [a for a in _memory_order(out) if a not in used and x.shape[a] > 1]
    joined: list[list[int]] = []
    for a in rest:
        if joined and _merge(x, out, [*joined[-1], a]):
            joined[-1].append(a)
        else:
            joined.append([a])
    return [axis for axis in (_merge(x, out, axes) for axes in joined) if axis is not None]


# ---- steps


def _pass_step(x: Array, out: Array, pair: tuple[Pass | None, Pass | None], in_place: bool) -> Run:
    from .kernels.filters import step as plan

    across, along = pair
    order, one = _memory_order(out), _Axis(1, 0, 0, -1)
    hop, used = 1, set()
    if along is not None:
        line = _one(x, out, along.axis)
        inner = order[order.index(along.axis) + 1 :]
        group, whole = _merge(x, out, inner), _merge(x, out, [along.axis, *inner])
        used = {along.axis}
        if inner and group and whole and (across is None or across.axis not in inner):
            hop, line, used = group.size, _Axis(line.size, whole.x_step, whole.out_step, along.axis), {along.axis, *inner}
    else:
        assert across is not None
        inner = order[order.index(across.axis) + 1 :] or [a for a in order if a != across.axis][-1:]
        line = one
        while inner:
            merged = _merge(x, out, inner)
            if merged:
                line, used = merged, set(inner)
                break
            inner = inner[1:]
    rows = one
    if across is not None:
        rows = _one(x, out, across.axis)
        used.add(across.axis)
        outers = _outers(x, out, used)
    else:
        outers = _outers(x, out, used)
        if outers:  # any will do: its lines are filtered each by itself
            rows = outers.pop()
    parts = [each for each in pair if each]
    kind = parts[0].kind
    compute, orders, rounded = _compute_type(x.dtype, out.dtype, parts)
    is_folded = kind != SUM and any(each.size > _most_terms(compute) for each in parts)
    if kind == MEAN and not is_folded and rounded == 0:  # few elements: a sum of parts
        pair = tuple(each and each._replace(kind=SUM, weights=(1 / each.size,) * each.size) for each in pair)
        across, along, kind = *pair, SUM
    is_folded = is_folded or kind == MEAN
    sides = [_side(rows, across), _side(line, along)]
    itemsize = compute.itemsize
    is_dense = x.dtype == compute and line.x_step == itemsize
    is_direct = not is_folded and across is not None and is_dense and not in_place
    is_direct = is_direct and (along is None or line.size * hop * itemsize <= plan.ROW_BYTES)
    blocks = plan.cut(
        is_folded, *sides, hop, itemsize, 1, math.prod(o.size for o in outers), False, is_direct, in_place
    )
    order_of = [plan.FUSED, plan.FUSED]
    if kind == SUM:
        order_of = [orders.get(each, plan.FUSED) if each else plan.FUSED for each in pair]
    elif kind != MEAN:
        order_of = [plan.LARGEST if kind == MAXIMUM else plan.SMALLEST] * 2
    values, taps, offsets, weights = [each.cval if each else 0.0 for each in pair], [0, 0], [], []
    if not is_folded:
        for i, (each, order, unit) in enumerate(zip(pair, order_of, (blocks.pitch, hop * itemsize), strict=True)):
            if each:
                taps[i] = plan.count_taps(order, each.size)
                weights += [each.weights[plan.tap_of(order, each.size, t, False)] for t in range(taps[i])] if kind == SUM else [0.0] * taps[i]
            offsets.append(_offsets(order, each.size if each else 0, taps[i], unit))
    elif kind == MEAN:
        if along:
            taps[1] = max(math.isqrt(along.size), 1)
            terms = along.size // taps[1] + along.size % taps[1]
            scale = 1.0 if rounded else 1 / math.prod(each.size for each in parts)
            weights = [1.0] * taps[1] + [scale] * terms
        if across and along and not rounded:
            values[1] *= across.size
    step = plan.Step(
        is_folded, _format(x), _format(out), *order_of, 0, 0, is_direct,
        out.dtype == compute and line.out_step == itemsize, rounded, len(outers), 1, *taps, hop, *sides, blocks,
    )  # fmt: skip
    return _runner(step, outers, offsets, values + weights, compute, kind)


def _most_terms(compute: np.dtype[Any]) -> int:
    """How many elements are combined one by one; of more, neighbours are folded."""
    return 7 if compute.kind == "f" else 9


def _offsets(order: int, kernel: int, terms: int, unit: int) -> Array:
    """Offsets of taps, `unit` bytes apart, in the order of terms; rows that are made together meet further ones."""
    from .kernels.filters import step as plan

    places = np.zeros(2 * (terms + plan.ROWS), np.int64)
    if plan.is_paired(order):
        for term in range(terms):
            for second in range(2):
                places[2 * term + second] = plan.tap_of(order, kernel, term, second == 1) * unit
    else:
        ends = terms if order == plan.ROUNDED else terms + plan.ROWS
        places[:ends] = [plan.tap_of(order, kernel, term, False) * unit for term in range(ends)]
    return places


def _side(axis: _Axis, each: Pass | None) -> Any:
    from .kernels.filters.step import Side

    if each is None:
        return Side(axis.size, axis.x_step, axis.out_step, 1, 0, CONSTANT)
    return Side(axis.size, axis.x_step, axis.out_step, each.size, each.before, BOUNDARIES.index(each.boundary))


def _window_step(x: Array, out: Array, window: Window) -> Run:
    from .kernels.filters import step as plan

    order, one = _memory_order(out), _Axis(1, 0, 0, -1)
    kernel = window.footprint.shape
    kind, hop = window.kind, 1
    inner = [a for a in order[1:] if all(kernel[b] == 1 for b in order[order.index(a) :])]
    group = _merge(x, out, inner)
    lines = order[: len(order) - len(inner)]
    line, used = _one(x, out, lines[-1]), {lines[-1]}
    whole = _merge(x, out, [lines[-1], *inner])
    if inner and group and whole:
        hop, line = group.size, _Axis(line.size, whole.x_step, whole.out_step, lines[-1])
        used |= set(inner)
    elif inner:
        line, lines = _one(x, out, order[-1]), order
        used = {order[-1]}
    rows = _one(x, out, lines[-2]) if len(lines) > 1 else one
    used |= set(lines[-2:])
    outers = [_one(x, out, a) for a in order if a not in used]

    def side(axis: _Axis) -> Any:
        if axis.place < 0:
            return plan.Side(axis.size, 0, 0, 1, 0, CONSTANT)
        a = axis.place
        return plan.Side(
            axis.size, axis.x_step, axis.out_step, kernel[a], window.before[a], BOUNDARIES.index(window.boundaries[a])
        )

    sides = [side(rows), side(line)]
    compute, order_across = _window_type(x.dtype, out.dtype, window)
    depth, height = math.prod(kernel[o.place] for o in outers), kernel[rows.place] if rows.place >= 0 else 1
    blocks = plan.cut(
        False, *sides, hop, compute.itemsize, depth, math.prod(o.size for o in outers), True, False, False
    )
    counted = window.footprint & (window.weights != 0) if kind == SUM else window.footprint
    axes = [*(o.place for o in outers), line.place, *([rows.place] if rows.place >= 0 else [])]
    order = [*(a for a in range(x.ndim) if a not in axes), *axes]  # groups have one tap
    counted = counted.transpose(order).reshape([kernel[a] for a in axes])
    taps = np.argwhere(counted)  # column by column
    if not len(taps):
        return lambda x, out: out.fill(0)
    planes = np.zeros(len(taps), np.int64)
    for i, o in enumerate(outers):
        planes = planes * kernel[o.place] + taps[:, i]
    offsets = planes * (blocks.rows * blocks.pitch) + taps[:, len(outers)] * (hop * compute.itemsize)
    tables = [offsets + taps[:, -1] * blocks.pitch if rows.place >= 0 else offsets]
    columns = 0
    if counted.all() and height >= plan.ROWS - 1 and plan.shares_lines(order_across):
        columns = len(taps) // height
        further = np.arange(height + plan.ROWS - 1) * blocks.pitch
        tables.append((offsets[::height, None] + further).ravel())
    weights = window.weights.transpose(order).reshape(counted.shape)[tuple(taps.T)].tolist()
    step = plan.Step(
        0, _format(x), _format(out), order_across, plan.FUSED, columns, 1, 0,
        out.dtype == compute and line.out_step == compute.itemsize, 0, len(outers), depth, len(taps), 0, hop,
        *sides, blocks,
    )  # fmt: skip
    return _runner(step, outers, tables, [window.cval] * 2 + weights, compute, kind, [side(o) for o in outers])


def _runner(
    step: Any, outers: list[_Axis], offsets: list[Array], weights: list[float], compute: np.dtype[Any], kind: int,
    sides: list[Any] | None = None,
) -> Run:  # fmt: skip
    """What runs a step."""
    from .kernels.filters import extrema, sums
    from .kernels.window import write_tuple

    sides = sides if sides is not None else [_side(outer, None) for outer in outers]
    head = np.zeros(1024, np.int64)
    at = write_tuple(head, 0, step)
    for each in sides:
        at = write_tuple(head, at, each)
    numbers = np.concatenate([head[:at], *offsets]).astype(np.int64)
    if compute.kind == "f":
        values = np.array(weights, compute)
    else:  # whole numbers, wrapped
        values = np.array([int(w) % 2 ** (8 * compute.itemsize) for w in weights], np.uint64).astype(compute)
    kernel = sums.filter_sums if kind <= MEAN else extrema.filter_extrema
    compiled = entry_point(kernel, "uint8", "uint8", compute.name, "int64", "uint8", "int64", "intp", "intp")
    blocks, size = step.blocks, step.blocks.workspace
    terms = step.taps_across + step.taps_along + step.across.kernel + step.along.kernel
    work = math.prod(each.size for each in sides) * step.across.size * step.along.size * step.hop * max(terms, 4)
    take, give = workspace.take, workspace.give
    if work < _SHARED or blocks.items == 1:

        def run(x: Array, out: Array) -> None:
            scratch = take(size)
            compiled(x, out, values, numbers, scratch, numbers, 1, 0)
            give(scratch)

    else:

        def run(x: Array, out: Array) -> None:
            share(compiled, (x, out, values, numbers), size, get_num_threads())

    return run


def _format(array: Array) -> int:
    from .kernels.simd.lines import FORMATS

    return FORMATS.index(array.dtype.name)


# ---- what is computed in which type


def _compute_type(
    given: np.dtype[Any], result: np.dtype[Any], passes: list[Pass]
) -> tuple[np.dtype[Any], dict[Pass, int], int]:
    """The type that passes compute with, how each rounds, and to how many bytes results between them are rounded."""
    from .kernels.filters import step as plan

    double, single = np.dtype(np.float64), np.dtype(np.float32)
    kind, rounded = passes[0].kind, 0 if result.kind == "f" else result.itemsize
    if kind >= MAXIMUM:
        if given == result and all(_holds(given, each) for each in passes):
            return _own(given), {}, 0
        return double, {}, rounded
    if result.kind == "f":
        return (single if result == single and _is_small(given) else double), {}, 0
    if given.kind == "f":
        return double, {each: _order(each) for each in passes}, rounded
    most = max(abs(float(np.iinfo(d).min if d.kind != "b" else 0)) + 1 for d in (given, result))
    most = max(most, max(float(np.iinfo(d).max if d.kind != "b" else 1) for d in (given, result)))
    if kind == MEAN:
        fits = max(given.itemsize, result.itemsize) <= 2 and all(most * each.size < 2**24 for each in passes)
        fits = fits and all(float(each.cval).is_integer() and abs(each.cval) <= most for each in passes)
        return (single if fits else double), {}, rounded
    if all(map(_is_integral, passes)):
        total = max(sum(map(abs, each.weights)) * max(most, abs(each.cval)) for each in passes)
        if max(given.itemsize, result.itemsize) <= 2 and total < _EXACT:
            return np.dtype(np.int16), {}, 0
        if total < 2.0**53:
            return double, {}, rounded
    return double, {each: _order(each) for each in passes}, rounded


def _order(each: Pass) -> int:
    """How SciPy adds up the terms of a sum along an axis."""
    from .kernels.filters import step as plan

    n, w, eps = each.size, each.weights, np.finfo(np.float64).eps
    if n % 2:
        if all(abs(w[i] - w[n - 1 - i]) <= eps for i in range(n // 2)):
            return plan.PAIRS
        if all(abs(w[i] + w[n - 1 - i]) <= eps for i in range(n // 2)):
            return plan.DIFFERENCES
    return plan.ROUNDED


def _window_type(given: np.dtype[Any], result: np.dtype[Any], window: Window) -> tuple[np.dtype[Any], int]:
    from .kernels.filters import step as plan

    double, single = np.dtype(np.float64), np.dtype(np.float32)
    if window.kind != SUM:
        plain = Pass(0, window.kind, 1, (), 0, "constant" if "constant" in window.boundaries else "edge", window.cval)
        flat = given == result and not np.any(window.weights[window.footprint]) and _holds(given, plain)
        if flat:
            return _own(given), plan.LARGEST if window.kind == MAXIMUM else plan.SMALLEST
        return double, plan.RAISED if window.kind == MAXIMUM else plan.LOWERED
    if result.kind == "f":
        return (single if result == single and _is_small(given) else double), plan.FUSED
    if given.kind != "f":
        weights = window.weights[window.footprint]
        if np.all(weights == np.rint(weights)) and float(window.cval).is_integer():
            most = max(float(np.iinfo(d).max if d.kind != "b" else 1) + 1 for d in (given, result))
            total = float(np.abs(weights).sum()) * max(most, abs(window.cval))
            if max(given.itemsize, result.itemsize) <= 2 and total < _EXACT:
                return np.dtype(np.int16), plan.FUSED
    return double, plan.ROUNDED


def _is_small(dtype: np.dtype[Any]) -> bool:
    return dtype == np.float32 or (dtype.kind in "iub" and dtype.itemsize <= 2)


def _holds(dtype: np.dtype[Any], each: Pass) -> bool:
    """Whether a dtype holds the constant of an extremum's padding."""
    if each.boundary != "constant" or dtype.kind == "f":
        return dtype.kind == "f" and (dtype == np.float64 or each.boundary != "constant" or each.cval == np.float32(each.cval)) or each.boundary != "constant"
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return float(each.cval).is_integer() and low <= each.cval <= high


def _own(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which extrema of a dtype are found."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype
