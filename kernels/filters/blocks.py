"""Blocks of an array: which one a number means, how its lines come into the workspace, and what is done with them."""

from typing import Any, NamedTuple

from ..jit import inlined, kernel
from ..shapes import CONSTANT
from ..simd.lines import address_of, fill_line, line_scratch, read_line, write_line
from ..strided import address, item_size, load_tuple, scratch_index
from ..team import take_item
from ..window import source_index
from .step import FUSED, ROWS, SIDE_FIELDS, STEP_FIELDS, Side, count_taps, is_paired, tap_of

VALUES = 2  # weights begin with what padding holds, across and along


class Memory(NamedTuple):
    """A thread's workspace; places in it are counted in elements."""

    block: Any  # a pointer to what is computed with
    table: Any  # to int64
    line: int  # between two passes
    spare: int  # before it is converted
    padding: int  # a line of it
    pitch: int  # from line to line


class Place(NamedTuple):
    """A block of the result."""

    row: int
    rows: int
    group: int  # along the lines
    groups: int
    outer: int  # number of the place on the outer axes
    out: int  # address of its first element


@kernel
def open_memory(step, workspace, weights):
    """The parts of a workspace."""
    size = item_size(weights)
    start, pitch = step.blocks.lines // size, step.blocks.pitch // size
    block = line_scratch(workspace, step.blocks.lead, weights)
    table = scratch_index(workspace, step.blocks.table)
    memory = Memory(block, table, start, start + ROWS * pitch, start + (ROWS + 1) * pitch, pitch)
    if step.is_direct:
        fill_line(block, memory.padding - step.blocks.lead // size, weights.data[0], pitch)
    return memory


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
        load_padding(step, block, at, line, first, first, min(first + groups, 0), low, high, value)
    if high != first + groups:
        load_padding(step, block, at, line, first, max(first, side.size), first + groups, low, high, value)


@kernel
def load_padding(step, block, at, line, first, begin, end, low, high, value):
    """Groups from `begin` to `end` of `load_line`, none of them in the array; those from `low` to `high` are read."""
    side, hop = step.along, step.hop
    for i in range(begin, end):
        source, where = source_index(i, side.size, side.boundary), at + (i - first) * hop
        if source < 0:
            fill_line(block, where, value, hop)
        elif low <= source < high:
            for j in range(hop):
                block[where + j] = block[where + j + (source - i) * hop]
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


@kernel
def point_to_lines(step, memory, place, source, row, rows):
    """Write down where the lines lie that the terms of a row take, or all lines of several rows, in their order."""
    across, order, table, terms = step.across, step.order_across, memory.table, step.taps_across
    if rows > 1:
        order, terms = FUSED, across.kernel + rows - 1
    first, pairs = place.row + row - across.before, is_paired(order)
    if source != 0 and first >= 0 and first + across.kernel + rows - 1 <= across.size:  # as almost always
        begin, hop = source + first * across.x_step, across.x_step
        for term in range(terms):
            if pairs:
                table[2 * term] = begin + tap_of(order, across.kernel, term, False) * hop
                table[2 * term + 1] = begin + tap_of(order, across.kernel, term, True) * hop
            else:
                table[term] = begin + tap_of(order, across.kernel, term, False) * hop
        return
    padding = address_of(memory.block, memory.padding) - place.group * step.hop * step.along.x_step
    for term in range(terms):
        for second in range(2 if pairs else 1):
            line = find_line(across, source, first + tap_of(order, across.kernel, term, second == 1))
            table[2 * term + second if pairs else term] = padding if line == 0 else line


@kernel
def taps_at(step):
    """Where the offsets of taps begin among the numbers: those across; those along follow, two for each term."""
    return STEP_FIELDS + step.outers * SIDE_FIELDS


def tapping(tap_line, tap_rows, settle, divide):
    """What filters a block by the terms of taps: in two passes, or one.

    `tap_line(order, target, table, entry, shift, weights, weight, taps, count)` makes a line, and
    `tap_rows` makes `ROWS` of them. `settle` brings sums of integers to what SciPy's are, `divide` makes sums means.
    """

    def end_row(step, order, numbers, memory, place, weights, exact, target, line):
        """What follows the pass across: rounding, padding, the pass along a line, and conversion."""
        across, along, block = step.across, step.along, memory.block
        ends, count = step.taps_along == 0, place.groups * step.hop
        where = target if step.is_plain else address_of(block, line)
        if across.kernel > 1 and not ends:
            if step.rounded:
                round_line(step, memory, line, count + (along.kernel - 1) * step.hop)
            pad_line(step, block, line, place, weights.data[1], step.is_direct)
        if not ends:
            where, own = target if step.is_plain else address_of(block, memory.spare), address_of(block, line)
            entry, weight = taps_at(step) + 2 * (step.taps_across + ROWS), VALUES + step.taps_across
            tap_line(order, where, numbers, entry, own, weights, weight, step.taps_along, count)
            line = memory.spare
            if step.settled_along:
                settle(step.order_along, block, line, numbers, step.settled_along, own, exact,
                       VALUES + count_taps(step.order_across, across.kernel), along.kernel, count, 1)  # fmt: skip
        if step.is_mean:
            divide(step, where, count, weights)
        if not step.is_plain:
            write_line(block, line, target, step.out_format, along.out_step, count)

    end_row = inlined(end_row)

    def tap_block(step, orders, numbers, memory, place, x, weights, exact):
        across, along, size = step.across, step.along, item_size(weights)
        block, line, ends = memory.block, memory.line, step.taps_along == 0
        groups = place.groups + along.kernel - 1
        source = find_source(step, numbers, place.outer, 0, x)
        if across.kernel > 1 and not step.is_direct:
            load_rows(step, numbers, memory, place, x, weights.data[0])
        width = (place.groups if step.is_direct else groups) * step.hop
        where, pitch = address_of(block, line), memory.pitch * size
        if step.is_direct and not ends:
            where += along.before * step.hop * size
        row = 0
        while row < place.rows:  # LOOP 2
            target, rows = place.out + row * across.out_step, 1
            if ends and step.is_plain:
                where, pitch = target, across.out_step
            if across.kernel > 1:
                rows = ROWS if step.columns > 0 and row + ROWS <= place.rows else 1
                table, entry, shift = numbers, taps_at(step), address_of(block, row * memory.pitch)
                if rows > 1:
                    entry = step.together
                if step.is_direct:
                    point_to_lines(step, memory, place, source, row, rows)
                    table, entry, shift = memory.table, 0, place.group * step.hop * size
                if rows > 1:
                    tap_rows(orders[0], where, pitch, table, entry, shift, weights, VALUES, width,
                             numbers, step.columns, step.heights, 0, 0)  # fmt: skip
                else:
                    tap_line(orders[0], where, table, entry, shift, weights, VALUES, step.taps_across, width)
            else:
                begin = find_line(across, source, place.row + row)
                load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
            for r in range(rows):
                own = line + r * memory.pitch
                if step.settled_across:
                    first = address_of(block, (row + r) * memory.pitch)
                    settle(step.order_across, block, own, numbers, step.settled_across, first, exact, VALUES,
                           across.kernel, width, 0)  # fmt: skip
                end_row(step, orders[1], numbers, memory, place, weights, exact, target + r * across.out_step, own)
            row += rows

    return inlined(tap_block)


def windowing(tap_line, tap_rows, settle):
    """What filters a block with windows over all axes; `tapping` says what the functions do.

    The taps are offsets from the first line of a block. Where rows are made together, columns of taps come first.
    """

    def window_block(step, numbers, memory, place, x, weights, exact):
        across, at, size, block = step.across, taps_at(step), item_size(weights), memory.block
        load_rows(step, numbers, memory, place, x, weights.data[0])
        count, row = place.groups * step.hop, 0
        while row < place.rows:  # LOOP 2
            target, shift = place.out + row * across.out_step, address_of(block, row * memory.pitch)
            where, pitch = address_of(block, memory.line), memory.pitch * size
            if step.is_plain:
                where, pitch = target, across.out_step
            rows = ROWS if step.columns > 0 and row + ROWS <= place.rows else 1
            if rows > 1:
                tap_rows(step.order_across, where, pitch, numbers, step.together, shift, weights, VALUES, count,
                         numbers, step.columns, step.heights, step.more, memory.pitch * size)  # fmt: skip
            else:
                tap_line(step.order_across, where, numbers, at, shift, weights, VALUES, step.taps_across, count)
            for r in range(rows):
                line, stop = memory.line + r * memory.pitch, target + r * across.out_step
                if step.settled_across:
                    settle(step.order_across, block, line, numbers, step.settled_across,
                           shift + r * memory.pitch * size, exact, VALUES, step.taps_across, count, 0)  # fmt: skip
                if not step.is_plain:
                    write_line(block, line, stop, step.out_format, step.along.out_step, count)
            row += rows

    return inlined(window_block)


def running(find_orders, tap_block, fold_block, window_block):
    """What runs a step: all its blocks, or those that other threads leave.

    `find_orders(step, numbers, place, x, weights)` says how terms are combined in a block, across and along.
    """

    def run_blocks(step, x, out, weights, exact, numbers, workspace, team, threads):
        blocks, memory = step.blocks, open_memory(step, workspace, weights)
        item = take_item(team) if threads > 1 else 0
        while item < blocks.items:  # LOOP 3
            place = find_place(step, numbers.data, item, address(out))
            if step.is_window:
                window_block(step, numbers.data, memory, place, address(x), weights, exact)
            else:
                orders = find_orders(step, numbers.data, place, address(x), weights)
                if step.is_folded:
                    fold_block(step, orders, numbers.data, memory, place, address(x), weights)
                else:
                    tap_block(step, orders, numbers.data, memory, place, address(x), weights, exact)
            item = take_item(team) if threads > 1 else item + 1

    return inlined(run_blocks)


@kernel
def round_line(step, memory, line, count):
    """Bring a line between two passes to what the result's dtype can hold."""
    spare = address_of(memory.block, memory.spare)
    write_line(memory.block, line, spare, step.out_format, step.rounded, count)
    read_line(memory.block, line, spare, step.out_format, step.rounded, count)
