"""Weighted sums and means: correlation along axes, two at a time, and with windows over all axes."""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import entry, inlined, kernel
from ..simd.lines import (
    add_lines,
    address_of,
    divide_line,
    line_scratch,
    read_line,
    weigh_differences,
    weigh_lines,
    weigh_pairs,
    weigh_rounded,
    write_line,
)
from ..strided import address, item_size, load_tuple, scratch_index
from ..team import close_team, open_team, part_of, take_item
from .blocks import Memory, find_line, find_place, find_source, load_line, load_rows, pad_line
from .step import (
    CHUNK,
    FUSED,
    MEAN,
    PAIRS,
    ROUNDED,
    SIDE_FIELDS,
    STEP_FIELDS,
    Step,
    tap_of,
)

VALUES = 2  # of padding, across and along; the weights follow


@intrinsic
def is_double(typingctx, array):
    """Whether an array is one of float64."""

    def codegen(context, builder, signature, args):
        return cgutils.true_bit if array.dtype == types.float64 else cgutils.false_bit

    return types.boolean(array), codegen


@entry
def filter_sums(x, out, weights, numbers, workspace, team, threads, thread):
    """Run a `Step` whose kind is SUM or MEAN.

    `x` and `out` are known by the address of their first elements, `numbers` says how they lie. `weights` has the type
    that is computed with: what padding holds, across and along, then the weights in the order in which they are added.

        LOOP 3  blocks: a band of rows and a panel of columns, for each place on the outer axes
        LOOP 2  rows of outputs
        LOOP 1  a line of sums across the rows, then one along them -> tap_lines, which keeps sums in registers
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
    if step.is_direct:
        for i in range(pitch):
            memory.block[memory.padding + i] = weights.data[0]
    item = take_item(team) if threads > 1 else 0
    while item < blocks.items:  # LOOP 3
        place = find_place(step, numbers.data, item, address(out))
        if step.kind == MEAN:
            mean_block(step, numbers.data, memory, place, address(x), weights)
        elif step.is_window:
            window_block(step, numbers.data, memory, place, address(x), weights)
        else:
            sum_block(step, numbers.data, memory, place, address(x), weights)
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def weigh(order, target, table, entry, shift, weights, weight, taps, count):
    """A line of sums, rounded as asked for: another order than FUSED is for float64."""
    if not is_double(weights) or order == FUSED:
        weigh_lines(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == ROUNDED:
        weigh_rounded(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == PAIRS:
        weigh_pairs(target, table, entry, shift, weights.data, weight, taps, count)
    else:
        weigh_differences(target, table, entry, shift, weights.data, weight, taps, count)


@kernel
def taps_at(step):
    """Where the offsets of taps begin among the numbers: those across; those along follow, two for each term."""
    return STEP_FIELDS + step.outers * SIDE_FIELDS


@inlined
def sum_block(step, numbers, memory, place, x, weights):
    """Two passes over a block, or one."""
    across, along, hop, size = step.across, step.along, step.hop, item_size(weights)
    block = memory.block
    source = find_source(step, numbers, place.outer, 0, x)
    if across.kernel > 1 and not step.is_direct:
        load_rows(step, numbers, memory, place, x, weights.data[0])
    groups = place.groups + along.kernel - 1
    at = taps_at(step)
    for row in range(place.rows):  # LOOP 2
        target, line = place.out + row * across.out_step, memory.line
        ends, whole = along.kernel == 1, step.is_direct  # whether a line is padded after the first pass
        if across.kernel == 1:
            begin = find_line(across, source, place.row + row)
            load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
        else:
            where = address_of(block, line + along.before * hop if whole else line)
            if ends and step.is_plain:
                where = target
            if whole:
                point_to_lines(step, memory, place, source, row)
                weigh(step.order_across, where, memory.table, 0, place.group * hop * size,
                      weights, VALUES, step.taps_across, place.groups * hop)  # fmt: skip
            else:
                weigh(step.order_across, where, numbers, at, address_of(block, row * memory.pitch),
                      weights, VALUES, step.taps_across, groups * hop)  # fmt: skip
            if not ends:
                if step.rounded:
                    round_line(step, memory, line, groups * hop)
                pad_line(step, block, line, place, weights.data[1], whole)
        if not ends:
            where = target if step.is_plain else address_of(block, memory.spare)
            weigh(step.order_along, where, numbers, at + 2 * step.taps_across, address_of(block, line), weights,
                  VALUES + step.taps_across, step.taps_along, place.groups * hop)  # fmt: skip
            line = memory.spare
        if not step.is_plain:
            write_line(block, line, target, step.out_format, along.out_step, place.groups * hop)


@kernel
def point_to_lines(step, memory, place, source, row):
    """Write down where the lines lie that the terms of a row's sums take."""
    across, is_paired = step.across, step.order_across >= PAIRS
    padding = address_of(memory.block, memory.padding) - place.group * step.hop * step.along.x_step
    for term in range(step.taps_across):
        for second in range(2 if is_paired else 1):
            tap = tap_of(step.order_across, across.kernel, term, second == 1)
            line = find_line(across, source, place.row + row + tap - across.before)
            memory.table[2 * term + second if is_paired else term] = padding if line == 0 else line


@kernel
def round_line(step, memory, line, count):
    """Bring a line between two passes to what the result's dtype can hold."""
    spare = address_of(memory.block, memory.spare)
    write_line(memory.block, line, spare, step.out_format, step.rounded, count)
    read_line(memory.block, line, spare, step.out_format, step.rounded, count)


@inlined
def window_block(step, numbers, memory, place, x, weights):
    """Windows over all axes; their taps are offsets from the first line of a block."""
    load_rows(step, numbers, memory, place, x, weights.data[0])
    count = place.groups * step.hop
    for row in range(place.rows):  # LOOP 2
        target = place.out + row * step.across.out_step
        where = target if step.is_plain else address_of(memory.block, memory.spare)
        shift = address_of(memory.block, row * memory.pitch)
        weigh(step.order_across, where, numbers, taps_at(step), shift, weights, VALUES, step.taps_across, count)
        if not step.is_plain:
            write_line(memory.block, memory.spare, target, step.out_format, step.along.out_step, count)


@inlined
def mean_block(step, numbers, memory, place, x, weights):
    """Means by doubling: sums over 2 m elements are two sums over m. Nothing is taken off again, so errors do not grow.

    N elements take at most 2 log2 N additions, and the sum's error is at most log2 N roundings.
    """
    block, across, along, hop = memory.block, step.across, step.along, step.hop
    groups, exactly = place.groups + along.kernel - 1, step.rounded != 0
    source = find_source(step, numbers, place.outer, 0, x)
    if across.kernel > 1:
        load_rows(step, numbers, memory, place, x, weights.data[0])
        chunk = CHUNK // item_size(weights)
        for column in range(0, groups * hop, chunk):
            count = min(chunk, groups * hop - column)
            sum_doubling(block, column, memory.pitch, memory.sums, chunk, across.kernel, place.rows, count)
    for row in range(place.rows):
        line = row * memory.pitch
        if across.kernel == 1:
            line = 0
            begin = find_line(across, source, place.row + row)
            load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
        else:
            divide_line(block, line, across.kernel, groups * hop, exactly)
            if along.kernel > 1:
                if step.rounded:
                    round_line(step, memory, line, groups * hop)
                pad_line(step, block, line, place, weights.data[1], False)
        if along.kernel > 1:
            sum_doubling(block, line, hop, memory.sums, hop, along.kernel, 0, place.groups * hop)
            divide_line(block, line, along.kernel, place.groups * hop, exactly)
        target = place.out + row * across.out_step
        write_line(block, line, target, step.out_format, along.out_step, place.groups * hop)


@kernel
def sum_doubling(block, at, step, sums, sums_step, kernel, rows, count):
    """Sums over `kernel` elements `step` apart, in the place of the first; by rows, or (0 rows) along one line.

    Sums over 2 m elements, or 2 m + 1, are made of those over m, from the highest bit of `kernel` on.
    """
    bit = 1
    while 2 * bit <= kernel:
        bit *= 2
    width = 1
    while bit > 1:
        bit //= 2
        for extra in range(2 if kernel & bit else 1):
            # The sums over `width` lie in `block` at first, then in `sums`; the last ones go to `block` again.
            own, own_step = (at, step) if width == 1 else (sums, sums_step)
            more, more_step, far = (own, own_step, width) if extra == 0 else (at, step, width)
            grown = 2 * width if extra == 0 else width + 1
            to, to_step = (at, step) if grown == kernel else (sums, sums_step)
            left = kernel - grown  # further sums that are needed to make wider ones
            if rows == 0:
                add_lines(block, to, own, more + far * more_step, count + left * step)
            else:
                for row in range(rows + left):
                    add_lines(block, to + row * to_step, own + row * own_step, more + (row + far) * more_step, count)
            width = grown
