"""How two arrays of one shape lie: axes that can be seen as one, and which of them are rows, lines and groups.

Plain Python over whatever can be indexed, for the frontend and for what is called from compiled code.
"""

from typing import Any, NamedTuple

from ..jit import plain
from ..shapes import CONSTANT
from ..window import write_tuple
from .step import SIDE_FIELDS, STEP_FIELDS, Side

_SHORT = 16  # elements: shorter lines are filtered as groups of one long line


class Lying(NamedTuple):
    """An array that is read and one that is written. Steps are in bytes."""

    shape: Any
    x_steps: Any
    out_steps: Any
    order: Any  # axes from the largest step of the result to the smallest
    rank: int


class Extent(NamedTuple):
    """An axis, or several that lie as one; of size 0 where there is none."""

    size: int
    x_step: int
    out_step: int
    axis: int  # the array's, the first of several; -1: none


class Lines(NamedTuple):
    """What is seen as rows of lines. The axes that are left are written among a step's numbers."""

    rows: Extent
    line: Extent
    hop: int  # elements of a group
    outers: int
    places: int  # on the outer axes


@plain
def single(lying, axis):
    """One axis."""
    return Extent(lying.shape[axis], lying.x_steps[axis], lying.out_steps[axis], axis)


@plain
def join(outer, inner):
    """Two extents as one; one of size 1 is no part of it."""
    if outer.size == 0 or inner.size == 0:
        return Extent(0, 0, 0, -1)
    if inner.size == 1:
        return outer
    if outer.size == 1:
        return inner
    if outer.x_step != inner.x_step * inner.size or outer.out_step != inner.out_step * inner.size:
        return Extent(0, 0, 0, -1)
    return Extent(outer.size * inner.size, inner.x_step, inner.out_step, outer.axis)


@plain
def merge(lying, first):
    """The axes from a place in the order of memory on, as one."""
    found = Extent(0, 0, 0, -1)
    for place in range(first, lying.rank):
        each = single(lying, lying.order[place])
        found = join(found, each) if place > first else each
    return found


@plain
def place_of(lying, axis):
    """Where an axis is in the order of memory."""
    place = 0
    while lying.order[place] != axis:
        place += 1
    return place


@plain
def is_along(lying, axis):
    """Whether an axis is filtered along lines: few elements lie behind it, or none that lie as one."""
    inner, elements = place_of(lying, axis) + 1, 1
    for place in range(inner, lying.rank):
        elements *= lying.shape[lying.order[place]]
    return elements < _SHORT or merge(lying, inner).size == 0


@plain
def taken_from(lying, first):
    """A bit for each axis from a place in the order of memory on."""
    taken = 0
    for place in range(first, lying.rank):
        taken |= 1 << lying.order[place]
    return taken


@plain
def write_outers(numbers, lying, taken, across):
    """Write the axes that are left, joined where they lie as one. With no pass across, the last is the rows."""
    last, outers, places = Extent(0, 0, 0, -1), 0, 1
    for place in range(lying.rank):
        axis = lying.order[place]
        if (taken >> axis) & 1 == 0 and lying.shape[axis] > 1:
            each = single(lying, axis)
            joined = join(last, each)
            if last.size > 0 and joined.size == 0:
                places *= last.size
                outers = write_outer(numbers, outers, last)
            last = joined if joined.size > 0 else each
    if across >= 0:
        if last.size > 0:
            places *= last.size
            outers = write_outer(numbers, outers, last)
        last = single(lying, across)
    elif last.size == 0:
        last = Extent(1, 0, 0, -1)
    return last, outers, places


@plain
def write_outer(numbers, outers, extent):
    """Write an axis over which nothing is filtered; how many outer axes there are."""
    side = Side(extent.size, extent.x_step, extent.out_step, 1, 0, CONSTANT)
    write_tuple(numbers, STEP_FIELDS + outers * SIDE_FIELDS, side)
    return outers + 1


@plain
def find_lines(numbers, lying, across, along):
    """Rows and lines for a pass across an axis, one along an axis, or both; -1: there is none."""
    hop, rank = 1, lying.rank
    if along >= 0:
        place = place_of(lying, along)
        line, taken = single(lying, along), 1 << along
        if across < 0 or place_of(lying, across) < place:
            inner, whole = merge(lying, place + 1), merge(lying, place)
            if inner.size > 0 and whole.size > 0:
                line = Extent(line.size, whole.x_step, whole.out_step, along)
                hop, taken = inner.size, taken_from(lying, place)
    else:
        first = place_of(lying, across) + 1
        while first < rank and merge(lying, first).size == 0:
            first += 1
        line, taken = merge(lying, first), taken_from(lying, first)
        if first == rank:
            line = Extent(1, 0, 0, -1)
            if rank > 1:
                axis = lying.order[rank - 2]
                line, taken = single(lying, axis), 1 << axis
    if across >= 0:
        taken |= 1 << across
    rows, outers, places = write_outers(numbers, lying, taken, across)
    return Lines(rows, line, hop, outers, places)


@plain
def find_window(lying, kernel):
    """Rows and lines for windows, of a size along each axis; the outer axes are the first in the order of memory."""
    place, hop, outers, places = lying.rank, 1, 0, 1
    while place > 1 and kernel[lying.order[place - 1]] == 1:
        place -= 1
    inner, whole = merge(lying, place), merge(lying, place - 1)
    if inner.size == 0 or whole.size == 0:
        place = lying.rank
    line, rows = single(lying, lying.order[place - 1]), Extent(1, 0, 0, -1)
    if place < lying.rank:
        line, hop = Extent(line.size, whole.x_step, whole.out_step, line.axis), inner.size
    if place > 1:
        rows, outers = single(lying, lying.order[place - 2]), place - 2
    for i in range(outers):
        places *= lying.shape[lying.order[i]]
    return Lines(rows, line, hop, outers, places)
