"""How an array lies: axes in the order of memory, and those that can be seen as one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from ..problem import Array


class Extent(NamedTuple):
    """An axis, or several that lie as one. Steps are in bytes."""

    size: int
    x_step: int
    out_step: int
    axis: int  # the array's, the first of several; -1: none


ONE = Extent(1, 0, 0, -1)


def memory_order(array: Array) -> list[int]:
    """Axes from the largest step to the smallest."""
    return sorted(range(array.ndim), key=lambda a: (-abs(array.strides[a]), a))


def single(x: Array, out: Array, axis: int) -> Extent:
    """One axis."""
    return Extent(x.shape[axis], x.strides[axis], out.strides[axis], axis)


def merge(x: Array, out: Array, axes: list[int]) -> Extent | None:
    """Axes, in the order of memory, as one; None if they do not lie so, or are none."""
    axes = [a for a in axes if x.shape[a] > 1] or axes[-1:]
    if not axes:
        return None
    for a, b in pairwise(axes):
        if x.strides[a] != x.strides[b] * x.shape[b] or out.strides[a] != out.strides[b] * out.shape[b]:
            return None
    return Extent(math.prod(x.shape[a] for a in axes), x.strides[axes[-1]], out.strides[axes[-1]], axes[0])


def grouped(x: Array, out: Array, axis: int, inner: list[int]) -> tuple[Extent, int] | None:
    """An axis whose elements are groups of all that lies behind it, and the size of a group; None: there are none."""
    group, whole = merge(x, out, inner), merge(x, out, [axis, *inner])
    if group is None or whole is None:
        return None
    return Extent(x.shape[axis], whole.x_step, whole.out_step, axis), group.size


def others(x: Array, out: Array, used: set[int]) -> list[Extent]:
    """The other axes, those that lie as one joined."""
    joined: list[list[int]] = []
    for a in memory_order(out):
        if a in used or x.shape[a] == 1:
            continue
        if joined and merge(x, out, [*joined[-1], a]):
            joined[-1].append(a)
        else:
            joined.append([a])
    return [extent for axes in joined if (extent := merge(x, out, axes))]
