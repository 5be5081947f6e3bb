"""What a task takes of its blocks, laid together in memory that the next task takes over.

A region, and what a filter makes of it, are as large as the block. Memory that the system hands out anew is zeroed page
by page, and Dask has its workers give back what they free at once: that takes longer than the copy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from .. import workspace
from ..problem import Array
from .halo import Piece

Blocks: TypeAlias = dict[tuple[int, ...], Array]  # by their place in the input

_MOST = 1 << 28  # bytes: above, a block takes so long that its memory counts little, and is much to keep
_kept: list[Array] = []  # two for each thread of Dask's, at most
workspace.others.append(_kept.clear)


@contextmanager
def borrowed(shape: Sequence[int], dtype: np.dtype[Any]) -> Iterator[Array]:
    """An array in memory that was used before, and will be again after the ``with`` block: copy what shall stay."""
    size = math.prod(shape) * dtype.itemsize
    memory = workspace.take(size, _kept)
    yield memory[:size].view(dtype).reshape(shape)
    if len(memory) <= _MOST:
        _kept.append(memory)


@contextmanager
def laid_together(pieces: Sequence[tuple[Piece, ...]], blocks: Blocks) -> Iterator[Array]:
    """The region that pieces of each axis make: a view where one block holds it, else a borrowed array."""
    first = blocks[tuple(axis[0].chunk for axis in pieces)]
    if all(len(axis) == 1 and axis[0].step for axis in pieces):
        yield first[tuple(axis[0].place for axis in pieces)]
        return
    placed, sizes = [], []
    for axis in pieces:
        ends = [0, *itertools.accumulate(piece.length for piece in axis)]
        placed.append([(piece.chunk, piece.place, slice(*span)) for piece, span in zip(axis, itertools.pairwise(ends))])
        sizes.append(ends[-1])
    with borrowed(sizes, first.dtype) as region:
        for corner in itertools.product(*placed):
            chunk, source, target = zip(*corner)
            region[target] = blocks[chunk][source]
        yield region
