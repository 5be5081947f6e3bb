"""What a step computes in, and how its sums are rounded, so that results are SciPy's.

Results of float32 are summed in float32, where that holds the input. Others are summed in float64 in SciPy's order, so
that what cancels there does so here: even ground under a derivative, say. Integers are what such sums are cut to. Where
all is a whole number, any order and modular arithmetic give them; sums of bytes are made in float32 and settled where
that could matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.filters import step as plan
from ..problem import Array
from .calls import MAXIMUM, MEAN, SUM, Pass, Window
from .grouping import is_integral

_DOUBLE, _SINGLE, _SHORT = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int16)
_MODULAR = 2.0**31  # what sums stay below that C truncates to 32 bits, and then to fewer
_UNIT = 2.0**-24  # roundoff of float32
_RARE = 2.0**-9  # an error so small that few sums are made again
_EPSILON = float(np.finfo(np.float64).eps)


class Arithmetic(NamedTuple):
    """How a step computes."""

    compute: np.dtype[Any]
    orders: tuple[int, int]  # across and along; of a window, the first
    rounded: int  # bytes of the dtype to which results between two passes are rounded, 0: not
    errors: tuple[float, float] | None = None  # of sums that are settled


def of_passes(given: np.dtype[Any], result: np.dtype[Any], pair: Sequence[Pass | None]) -> Arithmetic:
    """The arithmetic of one or two passes of a kind."""
    passes = [each for each in pair if each]
    kind, rounded = passes[0].kind, 0 if result.kind == "f" else result.itemsize
    fused = plan.FUSED, plan.FUSED
    if kind >= MAXIMUM:
        order = plan.LARGEST if kind == MAXIMUM else plan.SMALLEST
        own = given == result and all(_holds(given, each.boundary, each.cval) for each in passes)
        return Arithmetic(_own(given) if own else _DOUBLE, (order, order), 0 if own else rounded)
    if result == _SINGLE and _is_small(given):
        return Arithmetic(_SINGLE, fused, 0)
    orders = tuple(plan.order_of(each.weights, 0, each.size) if each and kind == SUM else plan.FUSED for each in pair)
    if result.kind == "f" or given.kind == "f":
        return Arithmetic(_DOUBLE, orders, rounded)
    most = max(_most(given), _most(result), *(abs(each.cval) for each in passes))
    bytes_ = max(given.itemsize, result.itemsize)
    if kind == MEAN:
        fits = bytes_ <= 2 and all(most * each.size < 1 / _UNIT and is_integral(each) for each in passes)
        return Arithmetic(_SINGLE if fits else _DOUBLE, fused, rounded)
    if all(map(is_integral, passes)):
        total = most * max(sum(map(abs, each.weights)) for each in passes)
        if bytes_ <= 2 and total < _MODULAR:
            return Arithmetic(_SHORT, fused, 0)
        if total < 1 / _EPSILON:
            return Arithmetic(_DOUBLE, fused, rounded)
    errors = tuple(_error(each.weights, most) if each else 0.0 for each in pair)
    if bytes_ == 1 and max(errors) <= _RARE:
        keeps = all(_keeps(each.weights, given, result, each) for each in passes)
        return Arithmetic(_SINGLE, orders, 0 if keeps else rounded, errors)  # type: ignore[arg-type]
    return Arithmetic(_DOUBLE, orders, rounded)


def of_window(given: np.dtype[Any], result: np.dtype[Any], window: Window) -> Arithmetic:
    """The arithmetic of a window."""
    weights = window.weights[window.footprint]
    padding = "constant" if "constant" in window.boundaries else "edge"
    if window.kind != SUM:
        highest = window.kind == MAXIMUM
        if given == result and not np.any(weights) and _holds(given, padding, window.cval):
            return Arithmetic(_own(given), (plan.LARGEST if highest else plan.SMALLEST, plan.FUSED), 0)
        wraps = given == result and given.kind in "iu" and bool(np.all(weights == np.rint(weights)))
        return Arithmetic(given if wraps else _DOUBLE, (plan.RAISED if highest else plan.LOWERED, plan.FUSED), 0)
    fused = Arithmetic(_SINGLE, (plan.FUSED, plan.FUSED), 0)
    if result == _SINGLE and _is_small(given):
        return fused
    in_order = fused._replace(compute=_DOUBLE, orders=(plan.ROUNDED, plan.FUSED))
    if result.kind == "f" or given.kind == "f":
        return in_order
    most, bytes_ = max(_most(given), _most(result), abs(window.cval)), max(given.itemsize, result.itemsize)
    if np.all(weights == np.rint(weights)) and float(window.cval).is_integer():
        total = most * float(np.abs(weights).sum())
        if bytes_ <= 2 and total < _MODULAR:
            return fused._replace(compute=_SHORT)
        if total < 1 / _EPSILON:
            return fused._replace(compute=_DOUBLE)
    error = _error(weights.tolist(), most)
    if bytes_ == 1 and error <= _RARE:
        return in_order._replace(compute=_SINGLE, errors=(error, 0.0))
    return in_order


def _error(weights: Sequence[float], most: float) -> float:
    """How far a sum in float32 may be from one in float64: a rounding of each weight, and one for each addition."""
    return (len(weights) + 2) * _UNIT * most * sum(map(abs, weights))


def _keeps(weights: Sequence[float], given: np.dtype[Any], result: np.dtype[Any], each: Pass) -> bool:
    """Whether the result's dtype holds all truncated sums of weighted elements."""
    ends = [_range(given), _range(result), (each.cval, each.cval) if each.boundary == "constant" else (0.0, 0.0)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    up, down = sum(w for w in weights if w > 0), sum(w for w in weights if w < 0)
    least, most = _range(result)
    return low * up + high * down > least - 1 and high * up + low * down < most + 1


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "b":
        return 0.0, 1.0
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def _most(dtype: np.dtype[Any]) -> float:
    return max(map(abs, _range(dtype)))


def _is_small(dtype: np.dtype[Any]) -> bool:
    """Whether float32 holds all numbers of a dtype."""
    return dtype == _SINGLE or (dtype.kind in "iub" and dtype.itemsize <= 2)


def _holds(dtype: np.dtype[Any], boundary: str, cval: float) -> bool:
    """Whether a dtype holds what the padding of an extremum does."""
    if boundary != "constant":
        return True
    if dtype.kind == "f":
        return dtype == _DOUBLE or not np.isfinite(cval) or float(np.float32(cval)) == cval
    low, high = _range(dtype)
    return float(cval).is_integer() and low <= cval <= high


def _own(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which extrema of a dtype are found."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def converted(numbers: Sequence[float], compute: np.dtype[Any]) -> Array:
    """Weights and padding as a step has them: whole numbers are wrapped to a type of integers."""
    if compute.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(numbers, compute)
    bits = 8 * compute.itemsize
    return np.array([int(number) % 2**bits for number in numbers], np.uint64).astype(compute)
