"""Extrema of windows: along axes, two at a time, and under footprints over all axes."""

from ..jit import entry, inlined, kernel
from ..simd.lines import (
    address_of,
    line_scratch,
    lower_lines,
    max_lines,
    min_lines,
    raise_lines,
    write_line,
)
from ..strided import address, item_size, load_tuple, scratch_index
from ..team import close_team, open_team, part_of, take_item
from .blocks import Memory, find_line, find_place, find_source, load_line, load_rows, pad_line
from .step import CHUNK, MAXIMUM, SIDE_FIELDS, STEP_FIELDS, Step
from .sums import VALUES


@entry
def filter_extrema(x, out, weights, numbers, workspace, team, threads, thread):
    """Run a `Step` whose kind is MAXIMUM or MINIMUM; `sums.filter_sums` says what the arguments are.

    A NaN is the extremum of all windows that hold it.

        LOOP 3  blocks: a band of rows and a panel of columns, for each place on the outer axes
        LOOP 2  columns of a few vectors, so that all lines of them lie in L1; then rows
        LOOP 1  pairs of lines, of which one is the extremum -> max_lines, min_lines
    """
    step = load_tuple(numbers.data, 0, Step)
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, out, weights, numbers, workspace, team, threads), threads)
    blocks, size = step.blocks, item_size(weights)
    part = part_of(workspace, thread * blocks.workspace)
    lines, pitch = blocks.lines // size, blocks.pitch // size
    memory = Memory(
        line_scratch(part, 0, weights), scratch_index(part, blocks.table),
        lines, lines + pitch, lines + 2 * pitch, blocks.sums // size, pitch,
    )  # fmt: skip
    item = take_item(team) if threads > 1 else 0
    while item < blocks.items:  # LOOP 3
        place = find_place(step, numbers.data, item, address(out))
        if step.is_window:
            window_block(step, numbers.data, memory, place, address(x), weights)
        else:
            extremum_block(step, numbers.data, memory, place, address(x), weights)
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@inlined
def extremum_block(step, numbers, memory, place, x, weights):
    """Two passes over a block, or one."""
    block, across, along, hop = memory.block, step.across, step.along, step.hop
    groups = place.groups + along.kernel - 1
    source = find_source(step, numbers, place.outer, 0, x)
    if across.kernel > 1:
        load_rows(step, numbers, memory, place, x, weights.data[0])
        chunk = CHUNK // item_size(weights)
        for column in range(0, groups * hop, chunk):  # LOOP 2
            count = min(chunk, groups * hop - column)
            fold(step.kind, block, column, memory.pitch, across.kernel, place.rows, count)
    for row in range(place.rows):
        line = row * memory.pitch
        if across.kernel == 1:
            line = 0
            begin = find_line(across, source, place.row + row)
            load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
        else:
            pad_line(step, block, line, place, weights.data[1], False)
        if along.kernel > 1:
            fold(step.kind, block, line, hop, along.kernel, 0, place.groups * hop)
        target = place.out + row * across.out_step
        write_line(block, line, target, step.out_format, along.out_step, place.groups * hop)


@kernel
def fold(kind, block, at, step, kernel, rows, count):
    """Extrema of `kernel` elements `step` apart, in the place of the first; by rows, or (0 rows) along one line.

    Those of 2 m elements are made of two of m, those of any number of two that overlap.
    """
    width = 1
    while width < kernel:
        grown = min(2 * width, kernel)
        far, left = (grown - width) * step, kernel - grown
        for row in range(rows + left if rows > 0 else 1):
            where = at + row * step if rows > 0 else at
            lane_count = count if rows > 0 else count + left * step
            if kind == MAXIMUM:
                max_lines(block, where, where, where + far, lane_count)
            else:
                min_lines(block, where, where, where + far, lane_count)
        width = grown


@inlined
def window_block(step, numbers, memory, place, x, weights):
    """Extrema under a footprint, whose taps are offsets from the first line of a block."""
    load_rows(step, numbers, memory, place, x, weights.data[0])
    count, taps = place.groups * step.hop, STEP_FIELDS + step.outers * SIDE_FIELDS
    for row in range(place.rows):
        target, shift = place.out + row * step.across.out_step, address_of(memory.block, row * memory.pitch)
        where = target if step.is_plain else address_of(memory.block, memory.spare)
        if step.kind == MAXIMUM:
            raise_lines(where, numbers, taps, shift, weights.data, VALUES, step.taps_across, count)
        else:
            lower_lines(where, numbers, taps, shift, weights.data, VALUES, step.taps_across, count)
        if not step.is_plain:
            write_line(memory.block, memory.spare, target, step.out_format, step.along.out_step, count)
