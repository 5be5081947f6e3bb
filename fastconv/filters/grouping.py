"""Which passes go together: one across lines and one along them are one step, and read an array once."""

from __future__ import annotations

import math

import numpy as np

from ..problem import Array
from .calls import MAXIMUM, SUM, Pass
from .layout import memory_order, merge

Pair = tuple[Pass | None, Pass | None]  # across lines, and along them; one may be missing

_SHORT = 64  # elements: shorter lines are filtered as groups of one long line


def group(x: Array, out: Array, passes: list[Pass]) -> list[Pair]:
    """Pairs of passes, in an order in which they may run."""
    order, in_place = memory_order(out), is_same(x, out)
    is_along = [each.size == 1 or _is_along(x, out, order, each.axis) for each in passes]
    if _commute(x, out, passes):
        across = sorted(
            (each for each, along in zip(passes, is_along, strict=True) if not along),
            key=lambda each: order.index(each.axis),
        )
        along = [each for each, is_line in zip(passes, is_along, strict=True) if is_line]
        if not across:
            return [(None, each) for each in along]
        # The pass along lines goes with the nearest one across them. What is written cannot be read again.
        first: Pair = None if in_place else across.pop(), along.pop() if along else None
        further = [*((None, each) for each in along), *((each, None) for each in reversed(across))]
        return [first, *further] if first != (None, None) else further
    pairs: list[Pair] = []
    for i, (each, is_line) in enumerate(zip(passes, is_along, strict=True)):
        # Extrema are cast between passes, which those that are folded in one step are not.
        is_sum = each.kind == passes[0].kind < MAXIMUM
        if i == 1 and is_line and pairs[0][1] is None and not in_place and is_sum:
            pairs = [(passes[0], each)]
        else:
            pairs.append((None, each) if is_line else (each, None))
    return pairs


def is_same(x: Array, out: Array) -> bool:
    """Whether two arrays are one."""
    return x is out or (
        x.__array_interface__["data"] == out.__array_interface__["data"]
        and (x.strides, x.dtype) == (out.strides, out.dtype)
    )


def is_integral(each: Pass) -> bool:
    """Whether weights and padding are whole numbers."""
    return all(float(number).is_integer() for number in (*each.weights, each.cval))


def _commute(x: Array, out: Array, passes: list[Pass]) -> bool:
    """Whether the order of passes makes no difference but in the last bits of floats."""
    kinds = {each.kind for each in passes}
    if len(kinds) != 1 or len({each.axis for each in passes}) != len(passes):
        return False
    (kind,) = kinds
    if kind >= MAXIMUM:
        return x.dtype == out.dtype
    if any(each.boundary == "constant" and each.cval != 0 for each in passes):
        return False
    if out.dtype == np.uint64:  # a difference that wraps there is one of the numbers that doubles do not tell apart
        return False
    return out.dtype.kind == "f" or (kind == SUM and x.dtype.kind in "iub" and all(map(is_integral, passes)))


def _is_along(x: Array, out: Array, order: list[int], axis: int) -> bool:
    """Whether an axis is filtered along lines: few elements lie behind it, or none that lie as one."""
    inner = order[order.index(axis) + 1 :]
    return math.prod(x.shape[a] for a in inner) < _SHORT or merge(x, out, inner) is None
