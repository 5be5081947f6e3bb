"""Which passes go together: one across lines and one along them are one step, and read an array once."""

from __future__ import annotations

import numpy as np

from ..kernels.filters.layout import is_along
from ..kernels.filters.passes import group_passes
from ..problem import Array
from .calls import MAXIMUM, SUM, Pass
from .layout import lying

Pair = tuple[Pass | None, Pass | None]  # across lines, and along them; one may be missing


def group(x: Array, out: Array, passes: list[Pass]) -> list[Pair]:
    """Pairs of passes, in an order in which they may run."""
    lies, commutes = lying(x, out), _commute(x, out, passes)
    if commutes:
        passes = sorted(passes, key=lambda each: lies.order.index(each.axis))
    are_along = sum((each.size == 1 or is_along(lies, each.axis)) << i for i, each in enumerate(passes))
    # What is written cannot be read again.
    may_pair = not is_same(x, out) and len({each.kind for each in passes[:2]}) == 1
    # Extrema are cast between passes, which those that are folded in one step are not.
    may_pair = may_pair and (commutes or passes[0].kind < MAXIMUM)
    pairs = np.zeros(2 * len(passes), np.int64)
    steps = group_passes(pairs, 0, are_along, len(passes), commutes, may_pair)
    found = [passes[i] if i >= 0 else None for i in pairs[: 2 * steps].tolist()]
    return list(zip(found[::2], found[1::2], strict=True))


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
