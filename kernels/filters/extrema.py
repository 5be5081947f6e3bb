"""Extrema of windows: along axes, two at a time, and under footprints over all axes."""

from ..jit import entry, inlined, kernel
from ..simd.folds import (
    holds_nan,
    max_lines,
    max_number_rows,
    max_numbers,
    max_rows,
    min_lines,
    min_number_rows,
    min_numbers,
    min_rows,
)
from ..simd.lines import pointer_at, write_line
from ..simd.taps import (
    larger_lines,
    larger_rows,
    largest_lines,
    largest_rows,
    lower_lines,
    raise_lines,
    smaller_lines,
    smaller_rows,
    smallest_lines,
    smallest_rows,
)
from ..strided import item_size, load_tuple
from ..team import close_team, open_team, part_of
from .blocks import find_line, find_source, load_line, load_rows, pad_line, running, tapping, windowing
from .step import LARGER, LARGEST, RAISED, SMALLER, SMALLEST, Step


@kernel
def choose(order, target, table, entry, shift, weights, weight, taps, count):
    """A line of extrema."""
    if order == LARGEST:
        largest_lines(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == SMALLEST:
        smallest_lines(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == LARGER:
        larger_lines(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == SMALLER:
        smaller_lines(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == RAISED:
        raise_lines(target, table, entry, shift, weights.data, weight, taps, count)
    else:
        lower_lines(target, table, entry, shift, weights.data, weight, taps, count)


@kernel
def choose_together(
    order, target, pitch, table, entry, shift, weights, weight, count, numbers, columns, heights, more, hop
):  # fmt: skip
    where = pointer_at(numbers, heights)
    if order == LARGEST:
        largest_rows(target, pitch, table, entry, shift, weights.data, weight, count, columns, where, more, hop)
    elif order == LARGER:
        larger_rows(target, pitch, table, entry, shift, weights.data, weight, count, columns, where, more, hop)
    elif order == SMALLER:
        smaller_rows(target, pitch, table, entry, shift, weights.data, weight, count, columns, where, more, hop)
    else:
        smallest_rows(target, pitch, table, entry, shift, weights.data, weight, count, columns, where, more, hop)


@kernel
def settle(order, block, line, table, entry, shift, exact, weight, kernel, count, error):
    """Extrema are what they are."""


@kernel
def divide(step, line, count, weights):
    """Extrema are no sums."""


@kernel
def find_orders(step, numbers, place, x, weights):
    """Where no element that a block meets is a NaN, comparing takes a third of the time: look first."""
    across, along, hop, size = step.across, step.along, step.hop, item_size(weights)
    safe = step.order_across, step.order_along
    values = weights.data
    if step.order_across > SMALLEST or values[0] != values[0] or values[1] != values[1]:
        return safe
    if along.x_step != size or step.x_format != step.out_format:
        return safe
    source = find_source(step, numbers, place.outer, 0, x)
    first, end = place.group - along.before, place.group - along.before + place.groups + along.kernel - 1
    if first < 0 or end > along.size:  # padding may hold any element of a line
        first, end = 0, along.size
    for row in range(place.rows + across.kernel - 1):
        line = find_line(across, source, place.row + row - across.before)
        if line != 0 and holds_nan(values, line + first * hop * size, (end - first) * hop):
            return safe
    quick = LARGER if step.order_across == LARGEST else SMALLER
    return quick, quick


@inlined
def fold_block(step, orders, numbers, memory, place, x, weights):
    """Extrema of many elements, in two passes, or one."""
    block, across, along, hop = memory.block, step.across, step.along, step.hop
    groups, lead = place.groups + along.kernel - 1, step.blocks.lead // item_size(weights)
    source = find_source(step, numbers, place.outer, 0, x)
    if across.kernel > 1:
        load_rows(step, numbers, memory, place, x, weights.data[0])
        fold_rows(orders[0], block, -lead, memory.pitch, across.kernel, place.rows, lead + groups * hop)
    for row in range(place.rows):  # LOOP 2
        line = row * memory.pitch
        if across.kernel == 1:
            line = 0
            begin = find_line(across, source, place.row + row)
            load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
        else:
            pad_line(step, block, line, place, weights.data[1], False)
        fold_line(orders[1], block, line, hop, along.kernel, place.groups * hop)
        target = place.out + row * across.out_step
        write_line(block, line, target, step.out_format, along.out_step, place.groups * hop)


@kernel
def fold_rows(order, block, at, pitch, kernel, rows, count):
    """Extrema of each row and those after it, in its place."""
    if order == LARGEST:
        max_rows(block, at, pitch, kernel, rows, count)
    elif order == SMALLEST:
        min_rows(block, at, pitch, kernel, rows, count)
    elif order == LARGER:
        max_number_rows(block, at, pitch, kernel, rows, count)
    else:
        min_number_rows(block, at, pitch, kernel, rows, count)


@kernel
def fold_line(order, block, line, hop, kernel, count):
    """Extrema along a line, in its place: those of 2 m elements are made of two of m, others of two that overlap."""
    width = 1
    while width < kernel:
        grown = min(2 * width, kernel)
        far, more = (grown - width) * hop, (kernel - grown) * hop
        if order == LARGEST:
            max_lines(block, line, line, line + far, count + more)
        elif order == SMALLEST:
            min_lines(block, line, line, line + far, count + more)
        elif order == LARGER:
            max_numbers(block, line, line, line + far, count + more)
        else:
            min_numbers(block, line, line, line + far, count + more)
        width = grown


run_blocks = running(
    find_orders,
    tapping(choose, choose_together, settle, divide),
    fold_block,
    windowing(choose, choose_together, settle),
)


@entry
def filter_extrema(x, out, weights, exact, numbers, workspace, team, threads, thread):
    """Run a `Step` of extrema; `sums.filter_sums` says what the arguments are.

    A NaN is the extremum of all windows that hold it.

        LOOP 3  blocks: a band of rows and a panel of columns, for each place on the outer axes
        LOOP 2  rows of results, from all rows of the block or some of them, then along lines
        LOOP 1  vectors of a line -> tap_lines, tap_rows; fold_rows, fold_lines where windows are long
    """
    step = load_tuple(numbers.data, 0, Step)
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, out, weights, exact, numbers, workspace, team, threads), threads)
    own = part_of(workspace, thread * step.blocks.workspace)
    run_blocks(step, x, out, weights, exact, numbers, own, team, threads)
    if threads > 1 and thread == 0:
        close_team(team)
    return True
