"""Scratch memory of the kernels: one bounded block for each call that runs at the same time, kept and used again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .problem import Array

_free: list[Array] = []
_NONE = np.zeros(0, np.uint8)
others: list[Callable[[], object]] = []  # which free what else is kept


def take(size: int, free: list[Array] = _free) -> Array:
    """A block of at least `size` bytes, aligned to 64; give it back with `give`, or to the list that it came from."""
    try:
        block = free.pop()  # atomic, so that threads never share a block
    except IndexError:
        block = _NONE
    return block if block.size >= size else _new(size)


give = _free.append  # keep a block for the next call


def release_workspace() -> None:
    """Free the scratch memory that is kept between calls.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.release_workspace()
    """
    _free.clear()
    for release in others:
        release()


def _new(size: int) -> Array:
    block = np.empty(size + 64, dtype=np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size]
