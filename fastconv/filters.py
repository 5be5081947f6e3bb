"""Filters that keep an array's shape: one axis at a time, or a window over all axes. A stand-in in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[Array, Array], None]
SUM, MEAN, MAXIMUM, MINIMUM = range(4)
_EXTREMA = {MAXIMUM: np.maximum, MINIMUM: np.minimum}


class Pass(NamedTuple):
    """One filter along one axis: ``out[i] = sum_k weights[k] * x[i + k - before]``, or an extremum of these."""

    axis: int
    kind: int
    size: int
    weights: tuple[float, ...]
    before: int
    boundary: str
    cval: float


class Window(NamedTuple):
    """A filter over all axes at once.

    `weights` multiply in a sum. In an extremum they are added: to the first tap that counts in float64, to the others
    cut to the type of the input, in that type, as in SciPy. `cval` is an element of that type.
    """

    kind: int
    weights: NDArray[np.float64]
    footprint: NDArray[np.bool]
    before: tuple[int, ...]
    boundaries: tuple[str, ...]
    cval: float


def prepare_passes(x: Array, out: Array, passes: Sequence[Pass]) -> Run:
    """A function that runs the passes in their order, each rounding to the type of `out`, which may be `x`."""

    def run(x: Array, out: Array) -> None:
        for each in passes:
            out[...] = _cut(_filter_axis(x, each), out.dtype)
            x = out

    return run


def prepare_window(x: Array, out: Array, window: Window) -> Run:
    """A function that runs the window over `x`, into memory of its own."""

    def run(x: Array, out: Array) -> None:
        padded = x if window.kind in _EXTREMA else x.astype(np.float64)
        heights = window.weights.any()
        for axis, (size, before) in enumerate(zip(window.weights.shape, window.before, strict=True)):
            padded = _pad(padded, axis, before, size - 1 - before, window.boundaries[axis], window.cval)
        total: Any = None
        for taps in product(*map(range, window.weights.shape)):
            if not window.footprint[taps]:
                continue
            moved = padded[tuple(slice(tap, tap + n) for tap, n in zip(taps, x.shape, strict=True))]
            weight = window.weights[taps]
            if window.kind == SUM:
                total = moved * weight if total is None else total + moved * weight
            else:
                if heights and total is None:
                    moved = moved.astype(np.float64) + weight
                elif heights:
                    moved = (moved + _cut(weight, x.dtype)).astype(np.float64)
                total = moved if total is None else _EXTREMA[window.kind](total, moved)
        out[...] = _cut(total, out.dtype)

    return run


def _filter_axis(x: Array, each: Pass) -> Array:
    """One pass in float64, summed in the order that SciPy sums in: a middle, then pairs where they have one weight."""
    extremum = _EXTREMA.get(each.kind)
    x = np.moveaxis(x if extremum else x.astype(np.float64), each.axis, -1)
    n = x.shape[-1]
    padded = _pad(x, x.ndim - 1, each.before, each.size - 1 - each.before, each.boundary, each.cval)
    taps = [padded[..., k : k + n] for k in range(each.size)]
    w, middle = each.weights, each.size // 2
    total: Any = taps[0]
    if extremum:
        for tap in taps[1:]:
            total = extremum(total, tap)
    elif each.kind == MEAN:
        for tap in taps[1:]:
            total = total + tap
        total = total / each.size
    else:
        ends = [(w[middle + k], w[middle - k]) for k in range(1, middle + 1)] if each.size % 2 else []
        even = all(abs(a - b) <= np.finfo(float).eps for a, b in ends)
        odd = all(abs(a + b) <= np.finfo(float).eps for a, b in ends)
        if ends and (even or odd):
            total = taps[middle] * w[middle]
            for k in range(middle):
                last = taps[each.size - 1 - k]
                total = total + (taps[k] + last if even else taps[k] - last) * w[k]
        else:
            total = taps[-1] * w[-1]
            for k in range(each.size - 1):
                total = total + taps[k] * w[k]
    result: Array = np.moveaxis(total, -1, each.axis)
    return result


def _pad(x: Array, axis: int, before: int, after: int, boundary: str, cval: float) -> Array:
    widths = [(before, after) if i == axis else (0, 0) for i in range(x.ndim)]
    if boundary == "constant":
        with np.errstate(all="ignore"):
            return np.pad(x, widths, mode="constant", constant_values=np.array(cval).astype(x.dtype))
    padded: Array = np.pad(x, widths, mode=boundary)  # type: ignore[call-overload]
    return padded


def _cut(value: Array, dtype: np.dtype[Any]) -> Array:
    """Floats are cut towards zero, and wrap, where integers are asked for."""
    with np.errstate(all="ignore"):
        if dtype.kind in "iu" and value.dtype.kind == "f":
            big = value >= 2.0**63
            value = np.where(big, value - 2.0**63, value).astype(np.int64).astype(np.uint64)
            value = value + big.astype(np.uint64) * np.uint64(1 << 63)
        return value.astype(dtype)
