"""What each output chunk takes of one axis of the input. Integers only: no Dask, no arrays.

A plan of an axis is one `Part` for each output chunk. Its pieces, laid one after the other, are the region of the axis
that the chunk's windows touch: cut off at the array's ends where the call pads by itself, and otherwise padded, element
by element, with what its boundary rule finds, wherever in the array that lies. Chunks may have any length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..kernels.shapes import CONSTANT, EDGE, REFLECT, SYMMETRIC, WRAP, Axis


class Piece(NamedTuple):
    """So many elements of one chunk from `start` on; a step of 0 repeats one."""

    chunk: int
    start: int
    step: int
    length: int

    @property
    def place(self) -> slice:
        """Where they lie in the chunk; of a repeated element, the one place."""
        if self.step == 0:
            return slice(self.start, self.start + 1)
        stop = self.start + self.step * self.length
        return slice(self.start, None if stop < 0 else stop, self.step)


class Part(NamedTuple):
    """What one output chunk takes of an axis, and what to keep of what is made of it."""

    outputs: int  # elements of the output chunk
    pieces: tuple[Piece, ...]
    before: int = 0  # padding of the region that is left to the call
    after: int = 0
    skip: int = 0  # elements that the call makes before those that are kept
    first: int = 0  # where the region begins on the axis, if it lies there in one run

    @property
    def kept(self) -> slice:
        """Where in what is made of the region the output chunk lies."""
        return slice(self.skip, self.skip + self.outputs)


def starts_of(chunks: Sequence[int]) -> list[int]:
    """Where each chunk begins, and the last one ends."""
    return list(accumulate(chunks, initial=0))


def unchanged(chunks: Sequence[int]) -> list[Part]:
    """The plan of an axis whose elements do not meet: a batch."""
    return [Part(n, (Piece(i, 0, 1, n),)) for i, n in enumerate(chunks)]


def windows(chunks: Sequence[int], axis: Axis, *, in_one: bool = False) -> list[Part]:
    """The plan of an axis that windows slide along.

    An output belongs to the chunk in which its window begins, padding before the array not counted: so "same" keeps the
    chunks where the stride is 1, and a stride keeps its phase across borders. Chunks in which no window begins have no
    counterpart. `in_one`: one output chunk is made of all.
    """
    starts = starts_of(chunks)
    ends = [0, axis.out] if in_one else [min(-(-start // axis.stride), axis.out) for start in starts[:-1]] + [axis.out]
    return [_window_part(starts, axis, first, end) for first, end in pairwise(ends) if first < end]


def _window_part(starts: list[int], axis: Axis, first: int, end: int) -> Part:
    size, count, skip = axis.size, end - first, 0
    low = first * axis.stride - axis.before
    high = (end - 1) * axis.stride - axis.before + axis.dilation * (axis.kernel - 1) + 1
    if axis.boundary != CONSTANT and (low < 0 or high > size):
        if count == axis.out:
            return Part(count, tuple(_run(starts, 0, size)), axis.before, axis.after)
        return Part(count, tuple(_pieces(starts, low, high, axis.boundary)))
    # Windows of padding only hold no element that could tell of the type and the other axes: more are made, up to one.
    if high <= 0:
        high = 1
    if low >= size:
        skip = -(-(low - size + 1) // axis.stride)
        low -= skip * axis.stride
    begin, stop = max(low, 0), min(high, size)
    # What hangs over more than the padding is `ceil_mode`'s, which the call knows by itself.
    after = max(min(high, size + axis.after) - size, 0)
    return Part(count, tuple(_run(starts, begin, stop)), max(-low, 0), after, skip, begin)


def neighbourhoods(chunks: Sequence[int], before: int, after: int, boundaries: Collection[int]) -> list[Part]:
    """The plan of an axis along which a filter reaches so far, at most, and keeps the size.

    The filter pads by itself at the array's ends, and makes something of its own where a region ends inside, which is
    cut off. Where it wraps round, a region goes on at the far side instead, and where some of its steps do so and
    others do not, it is all of the axis. `boundaries`: those of its steps along this axis.
    """
    starts = starts_of(chunks)
    size, plan = starts[-1], []
    mirrors, wraps = not {REFLECT, SYMMETRIC}.isdisjoint(boundaries), WRAP in boundaries
    for i, (first, end) in enumerate(pairwise(starts)):
        low, high = first - before, end + after
        if first == end or before == after == 0:
            plan.append(Part(end - first, (Piece(i, 0, 1, end - first),)))
            continue
        if wraps and (low < 0 or high > size):
            if len(boundaries) == 1 and high - low < size:
                plan.append(Part(end - first, tuple(_pieces(starts, low, high, WRAP)), skip=before))
                continue
            low, high = 0, size
        if mirrors:
            # What a step mirrors at an end must be as it is in the array, too: other ends lie far enough away.
            enough = before + after + 1
            low, high = min(low, size - enough) if high >= size else low, max(high, enough) if low <= 0 else high
        low, high = max(low, 0), min(high, size)
        plan.append(Part(end - first, tuple(_run(starts, low, high)), skip=first - low))
    return plan


class Term(NamedTuple):
    """A part of the sums over channels: those of some whole groups, or of a part of one."""

    groups: int
    outputs: tuple[int, int]  # of the output chunk, from and to
    inputs: tuple[int, int]  # of a group's channels


class Channels(NamedTuple):
    """What one output chunk takes of the channels: a piece for each of its terms, which are added in this order."""

    outputs: int
    first: int  # of them
    pieces: tuple[Piece, ...]
    terms: tuple[Term, ...]


def channels(chunks: Sequence[int], groups: int, outputs: int) -> list[Channels]:
    """The plan of the channels of a convolution with so many output channels for each group.

    An output chunk holds the groups that begin in one input chunk; where a group goes on in others, its sums are added
    chunk after chunk.
    """
    starts = starts_of(chunks)
    size = starts[-1] // groups  # of a group
    if size == 0:
        nothing = Term(groups, (0, groups * outputs), (0, 0))
        return [Channels(groups * outputs, 0, (Piece(0, 0, 1, 0),), (nothing,))]
    ends = [min(-(-start // size), groups) for start in starts[:-1]] + [groups]
    plan = []
    for first, end in pairwise(ends):
        if first == end:
            continue
        pieces, terms, place = list[Piece](), list[Term](), first * size
        while place < end * size:
            chunk = bisect_right(starts, place) - 1
            group, inside = divmod(place, size)
            whole = (min(starts[chunk + 1], end * size) - place) // size if inside == 0 else 0
            stop = place + whole * size if whole else min(starts[chunk + 1], (group + 1) * size)
            pieces.append(Piece(chunk, place - starts[chunk], 1, stop - place))
            taken = (group - first) * outputs, (group - first + max(whole, 1)) * outputs
            terms.append(Term(max(whole, 1), taken, (inside, size if whole else inside + stop - place)))
            place = stop
        plan.append(Channels((end - first) * outputs, first * outputs, tuple(pieces), tuple(terms)))
    return plan


def _run(starts: list[int], begin: int, stop: int) -> Iterator[Piece]:
    """The elements from `begin` on, in the order of the array."""
    chunk = bisect_right(starts, begin) - 1
    while begin < stop:
        end = min(stop, starts[chunk + 1])
        if end > begin:
            yield Piece(chunk, begin - starts[chunk], 1, end - begin)
        begin, chunk = max(begin, end), chunk + 1


def _pieces(starts: list[int], low: int, high: int, boundary: int) -> Iterator[Piece]:
    """The elements from `low` to `high`, those beyond the ends of the array by a boundary rule."""
    size = starts[-1]
    yield from _found(starts, [source(i, size, boundary) for i in range(low, min(high, 0))])
    yield from _run(starts, max(low, 0), min(high, size))
    yield from _found(starts, [source(i, size, boundary) for i in range(max(low, size), high)])


def source(i: int, size: int, boundary: int) -> int:
    """Which element of an axis stands at a place beyond its ends, by one of the rules that need no other value."""
    if boundary == EDGE:
        return min(max(i, 0), size - 1)
    if boundary == WRAP:
        return i % size
    period = 2 * size if boundary == SYMMETRIC else max(2 * size - 2, 1)
    i %= period
    return i if i < size else period - (boundary == SYMMETRIC) - i


def _found(starts: list[int], elements: list[int]) -> Iterator[Piece]:
    """Elements in any order, as few pieces of chunks, each in steps of 1, -1 or 0."""
    begin = 0
    while begin < len(elements):
        chunk = bisect_right(starts, elements[begin]) - 1
        low, high = starts[chunk], starts[chunk + 1]
        step, end = 1, begin + 1
        if end < len(elements) and abs(elements[end] - elements[begin]) <= 1:
            step = elements[end] - elements[begin]
            while end < len(elements) and elements[end] - elements[end - 1] == step and low <= elements[end] < high:
                end += 1
        yield Piece(chunk, elements[begin] - low, step, end - begin)
        begin = end
