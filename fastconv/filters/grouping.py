"""Which passes go together: one across lines and one along them are one step, and read an array once."""

from __future__ import annotations

from ..kernels.filters.layout import is_along
from ..problem import Array
from .calls import MAXIMUM, SUM, Pass
from .layout import lying

Pair = tuple[Pass | None, Pass | None]  # across lines, and along them; one may be missing


def group(x: Array, out: Array, passes: list[Pass]) -> list[Pair]:
    """Pairs of passes, in an order in which they may run."""
    lies, in_place = lying(x, out), is_same(x, out)
    are_along = [each.size == 1 or is_along(lies, each.axis) for each in passes]
    if _commute(x, out, passes):
        across = sorted(
            (each for each, is_line in zip(passes, are_along, strict=True) if not is_line),
            key=lambda each: lies.order.index(each.axis),
        )
        along = [each for each, is_line in zip(passes, are_along, strict=True) if is_line]
        # The pass along lines goes with the nearest one across them. What is written cannot be read again.
        first: Pair = across.pop() if across and not in_place else None, along.pop() if along else None
        further = [*((None, each) for each in along), *((each, None) for each in reversed(across))]
        return [first, *further] if first != (None, None) else further
    pairs: list[Pair] = []
    for i, (each, is_line) in enumerate(zip(passes, are_along, strict=True)):
        if i == 1 and is_line and pairs[0][1] is None and not in_place and each.kind == passes[0].kind:
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
    return out.dtype.kind == "f" or (kind == SUM and x.dtype.kind in "iub" and all(map(is_integral, passes)))
