"""Extrema of windows: along axes, two at a time, and under footprints over all axes."""

from ..jit import entry, inlined, kernel
from ..simd.folds import max_lines, max_rows, min_lines, min_rows
from ..simd.lines import pointer_at, write_line
from ..simd.taps import largest_lines, largest_rows, lower_lines, raise_lines, smallest_lines, smallest_rows
from ..strided import item_size, load_tuple
from ..team import close_team, open_team, part_of
from .blocks import find_line, find_source, load_line, load_rows, pad_line, running, tapping, windowing
from .step import LARGEST, RAISED, SMALLEST, Step


@kernel
def choose(order, target, table, entry, shift, weights, weight, taps, count):
    """A line of extrema."""
    if order == LARGEST:
        largest_lines(target, table, entry, shift, weights.data, weight, taps, count)
    elif order == SMALLEST:
        smallest_lines(target, table, entry, shift, weights.data, weight, taps, count)
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
    else:
        smallest_rows(target, pitch, table, entry, shift, weights.data, weight, count, columns, where, more, hop)


@kernel
def settle(order, block, line, table, entry, shift, exact, weight, kernel, count, error):
    """Extrema are what they are."""


@inlined
def fold_block(step, numbers, memory, place, x, weights):
    """Extrema of many elements, in two passes, or one."""
    block, across, along, hop = memory.block, step.across, step.along, step.hop
    groups, lead = place.groups + along.kernel - 1, step.blocks.lead // item_size(weights)
    source = find_source(step, numbers, place.outer, 0, x)
    if across.kernel > 1:
        load_rows(step, numbers, memory, place, x, weights.data[0])
        if step.order_across == LARGEST:
            max_rows(block, -lead, memory.pitch, across.kernel, place.rows, lead + groups * hop)
        else:
            min_rows(block, -lead, memory.pitch, across.kernel, place.rows, lead + groups * hop)
    for row in range(place.rows):  # LOOP 2
        line = row * memory.pitch
        if across.kernel == 1:
            line = 0
            begin = find_line(across, source, place.row + row)
            load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
        else:
            pad_line(step, block, line, place, weights.data[1], False)
        fold_line(step.order_along, block, line, hop, along.kernel, place.groups * hop)
        target = place.out + row * across.out_step
        write_line(block, line, target, step.out_format, along.out_step, place.groups * hop)


@kernel
def fold_line(order, block, line, hop, kernel, count):
    """Extrema along a line, in its place: those of 2 m elements are made of two of m, others of two that overlap."""
    width = 1
    while width < kernel:
        grown = min(2 * width, kernel)
        far, more = (grown - width) * hop, (kernel - grown) * hop
        if order == LARGEST:
            max_lines(block, line, line, line + far, count + more)
        else:
            min_lines(block, line, line, line + far, count + more)
        width = grown


run_blocks = running(tapping(choose, choose_together, settle), fold_block, windowing(choose, choose_together, settle))


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
