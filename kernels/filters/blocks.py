"""Blocks of an array: which one a number means, and how its lines come into the workspace."""

from typing import Any, NamedTuple

from ..jit import inlined, kernel
from ..shapes import CONSTANT
from ..simd.lines import fill_line, read_line
from ..strided import item_size, load_tuple
from ..window import source_index
from .step import SIDE_FIELDS, STEP_FIELDS, Side


class Memory(NamedTuple):
    """A thread's workspace; places in it are counted in elements."""

    block: Any  # a pointer to what is computed with
    table: Any  # to int64
    line: int  # between two passes
    spare: int  # before it is converted
    padding: int  # a line of it
    sums: int
    pitch: int  # from line to line in the block


class Place(NamedTuple):
    """A block of the result."""

    row: int
    rows: int
    group: int  # along the lines
    groups: int
    outer: int  # number of the place on the outer axes
    out: int  # address of its first element


@kernel
def find_place(step, numbers, item, out):
    """The block of a number: bands go fastest, so that rows that two of them read are still in a cache."""
    blocks = step.blocks
    rest, band = divmod(item, blocks.bands) if blocks.bands > 1 else (item, 0)
    outer, panel = divmod(rest, blocks.panels) if blocks.panels > 1 else (rest, 0)
    row, group = band * blocks.band, panel * blocks.panel
    number = outer
    for i in range(step.outers - 1, -1, -1):
        side = load_tuple(numbers, STEP_FIELDS + i * SIDE_FIELDS, Side)
        number, position = divmod(number, side.size)
        out += position * side.out_step
    out += row * step.across.out_step + group * step.hop * step.along.out_step
    rows, groups = min(blocks.band, step.across.size - row), min(blocks.panel, step.along.size - group)
    return Place(row, rows, group, groups, outer, out)


@kernel
def find_source(step, numbers, outer, tap, x):
    """Where the rows begin that a tap over the outer axes meets; 0: in padding."""
    for i in range(step.outers - 1, -1, -1):
        side = load_tuple(numbers, STEP_FIELDS + i * SIDE_FIELDS, Side)
        outer, position = divmod(outer, side.size)
        if side.kernel > 1:
            tap, k = divmod(tap, side.kernel)
            position = source_index(position + k - side.before, side.size, side.boundary)
            if position < 0:
                return 0
        x += position * side.x_step
    return x


@kernel
def find_line(side, source, row):
    """Where a row that may lie outside the array is read; 0: it is padding."""
    i = source_index(row, side.size, side.boundary)
    return source + i * side.x_step if source != 0 and i >= 0 else 0


@kernel
def load_line(step, block, at, line, first, groups, value):
    """Read groups of a line, from `first` on, which may lie outside: padding there holds what the boundary says.

    `line` is the address of the line's first element, or 0: all is padding.
    """
    side, hop = step.along, step.hop
    if line == 0:
        fill_line(block, at, value, groups * hop)
        return
    low, high = max(first, 0), min(first + groups, side.size)
    if low < high:
        where = line + low * hop * side.x_step
        read_line(block, at + (low - first) * hop, where, step.x_format, side.x_step, (high - low) * hop)
    if low != first:
        load_padding(step, block, at, line, first, first, min(first + groups, 0), value)
    if high != first + groups:
        load_padding(step, block, at, line, first, max(first, side.size), first + groups, value)


@kernel
def load_padding(step, block, at, line, first, begin, end, value):
    """Groups from `begin` to `end` of `load_line`, none of them in the array."""
    side, hop = step.along, step.hop
    for i in range(begin, end):
        source, where = source_index(i, side.size, side.boundary), at + (i - first) * hop
        if source < 0:
            fill_line(block, where, value, hop)
        else:
            read_line(block, where, line + source * hop * side.x_step, step.x_format, side.x_step, hop)


@kernel
def load_rows(step, numbers, memory, place, x, value):
    """Read all lines that a block needs."""
    blocks, at = step.blocks, 0
    first, groups = place.group - step.along.before, place.groups + step.along.kernel - 1
    for tap in range(step.depth):
        source = find_source(step, numbers, place.outer, tap, x)
        for row in range(place.rows + step.across.kernel - 1):
            line = find_line(step.across, source, place.row + row - step.across.before)
            load_line(step, memory.block, at + row * memory.pitch, line, first, groups, value)
        at += blocks.rows * memory.pitch


@kernel
def pad_line(step, block, at, place, value, is_whole):
    """Write the padding of a line that a pass has made: where that is a constant, or where nothing else is there.

    `is_whole`: the line holds all its groups and room for padding.
    """
    side, hop = step.along, step.hop
    if side.kernel == 1 or not (is_whole or side.boundary == CONSTANT):
        return
    first, groups = place.group - side.before, place.groups + side.kernel - 1
    for part in range(2):
        begin, end = (first, min(0, first + groups)) if part == 0 else (max(side.size, first), first + groups)
        for i in range(begin, end):
            source = source_index(i, side.size, side.boundary)
            for j in range((i - first) * hop, (i - first + 1) * hop):
                block[at + j] = value if source < 0 else block[at + j + (source - i) * hop]
