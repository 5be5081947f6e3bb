"""What filters are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..kernels.shapes import MAXIMUM, MEAN, MINIMUM, SUM
from ..problem import Array

__all__ = ["MAXIMUM", "MEAN", "MINIMUM", "SUM", "Pass", "Run", "Window"]

Run = Callable[[Array, Array], None]  # x, out


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
