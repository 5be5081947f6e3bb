"""How arrays lie, as the planning of kernels sees them."""

from __future__ import annotations

from typing import Any

from ..kernels.filters.layout import Lying
from ..problem import Array


def lying(x: Array, out: Array) -> Any:
    """How two arrays of one shape lie."""
    return Lying(x.shape, x.strides, out.strides, memory_order(out), out.ndim)


def memory_order(array: Array) -> list[int]:
    """Axes from the largest step to the smallest."""
    return sorted(range(array.ndim), key=lambda a: (-abs(array.strides[a]), a))
