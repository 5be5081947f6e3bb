"""Weighted sums and means: correlation along axes, two at a time, and with windows over all axes."""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import entry, inlined, kernel
from ..simd.folds import add_rows
from ..simd.lines import address_of, divide_line, pointer_at, write_line
from ..simd.settle import settle_line
from ..simd.taps import (
    difference_rows,
    pair_rows,
    weigh_differences,
    weigh_lines,
    weigh_pairs,
    weigh_rounded,
    weigh_rows,
)
from ..strided import item_size, load_tuple
from ..team import close_team, open_team, part_of
from .blocks import (
    VALUES,
    find_line,
    find_source,
    load_line,
    load_rows,
    pad_line,
    round_line,
    running,
    tapping,
    windowing,
)
from .step import DIFFERENCES, FUSED, PAIRS, ROUNDED, Step, count_levels, count_taps, scaled


@intrinsic
def is_double(typingctx, array):
    """Whether an array is one of float64."""

    def codegen(context, builder, signature, args):
        return cgutils.true_bit if array.dtype == types.float64 else cgutils.false_bit

    return types.boolean(array), codegen


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
def weigh_together(
    order, target, pitch, table, entry, shift, weights, weight, count, numbers, columns, heights, more, hop
):  # fmt: skip
    if is_double(weights) and order == PAIRS:
        pair_rows(target, pitch, table, entry, shift, weights.data, weight, numbers[heights], count)
        return
    if is_double(weights) and order == DIFFERENCES:
        difference_rows(target, pitch, table, entry, shift, weights.data, weight, numbers[heights], count)
        return
    where = pointer_at(numbers, heights)
    weigh_rows(target, pitch, table, entry, shift, weights.data, weight, count, columns, where, more, hop)


@kernel
def settle(order, block, line, table, entry, shift, exact, weight, kernel, count, error):
    """Make sums of integers what they are when they are made in the order of SciPy, in float64, and truncated."""
    terms = count_taps(order, kernel)
    kind = 1 if order == PAIRS else 2 if order == DIFFERENCES else 0
    settle_line(block, line, table, entry, shift, exact.data, weight, terms, count, kind, exact.data[error])


@inlined
def mean_block(step, orders, numbers, memory, place, x, weights):
    """Means of many elements. Nothing is taken off a sum again, so errors do not grow along an axis.

    Across, rows are added as `add_rows` says; along a line, groups of a few neighbours first, then groups of such
    groups, and so on. A sum of n elements has at most n - 1 roundings.
    """
    block, across, along, hop, size = memory.block, step.across, step.along, step.hop, item_size(weights)
    groups, exactly, count = place.groups + along.kernel - 1, step.rounded != 0, place.groups * hop
    source = find_source(step, numbers, place.outer, 0, x)
    if across.kernel > 1:
        load_rows(step, numbers, memory, place, x, weights.data[0])
        lead = step.blocks.lead // size
        add_rows(block, -lead, memory.pitch, across.kernel, place.rows, lead + groups * hop)
    for row in range(place.rows):  # LOOP 2
        line, target = row * memory.pitch, place.out + row * across.out_step
        if across.kernel == 1:
            line = 0
            begin = find_line(across, source, place.row + row)
            load_line(step, block, line, begin, place.group - along.before, groups, weights.data[1])
        else:
            if exactly or along.kernel == 1:
                divide_line(address_of(block, line), across.kernel, groups * hop, exactly, weights)
            if along.kernel > 1:
                if step.rounded:
                    round_line(step, memory, line, groups * hop)
                pad_line(step, block, line, place, weights.data[1], False)
        if along.kernel > 1:
            spare = memory.spare
            where, own = target if step.is_plain and not exactly else address_of(block, spare), address_of(block, line)
            first, levels = step.taps_along, count_levels(along.kernel)
            summed, span = own, 1
            for level in range(levels - 1):
                for term in range(first):
                    memory.table[term] = term * span * hop * size
                span *= first
                sums = address_of(block, memory.line + level * memory.pitch)
                weigh_lines(sums, memory.table, 0, summed, weights.data, VALUES, first,
                            count + (along.kernel - span) * hop)  # fmt: skip
                summed = sums
            done, terms = 0, 0
            for level in range(levels - 1, -1, -1):
                summed = own if level == 0 else address_of(block, memory.line + (level - 1) * memory.pitch)
                for _ in range((along.kernel - done) // span):
                    memory.table[terms] = summed - own + done * hop * size
                    done, terms = done + span, terms + 1
                span //= first
            weigh_lines(where, memory.table, 0, own, weights.data, VALUES, terms, count)
            line = spare
            divide_line(where, along.kernel if exactly else across.kernel * along.kernel, count, exactly, weights)
        if along.kernel == 1 or exactly or not step.is_plain:
            write_line(block, line, target, step.out_format, along.out_step, count)


@kernel
def find_orders(step, numbers, place, x, weights):
    return step.order_across, step.order_along


@kernel
def divide(step, line, count, weights):
    """Make a line of sums, whose weights are powers of two, means."""
    divide_line(line, scaled(step.across.kernel) * scaled(step.along.kernel), count, 0, weights)


run_blocks = running(
    find_orders,
    tapping(weigh, weigh_together, settle, divide),
    mean_block,
    windowing(weigh, weigh_together, settle),
)


@entry
def filter_sums(x, out, weights, exact, numbers, workspace, team, threads, thread):
    """Run a `Step` of weighted sums or means.

    `x` and `out` are known by the address of their first elements, `numbers` says how they lie. `weights` has the type
    that is computed with: what padding holds, across and along, then the weights in the order in which they are added.
    `exact` is for sums of integers that are settled: errors, across and along, then weights in SciPy's order.

        LOOP 3  blocks: a band of rows and a panel of columns, for each place on the outer axes
        LOOP 2  rows of results: a line of sums across the rows, then one along them
        LOOP 1  vectors of a line -> tap_lines, tap_rows, which keep sums in registers
    """
    step = load_tuple(numbers.data, 0, Step)
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, out, weights, exact, numbers, workspace, team, threads), threads)
    own = part_of(workspace, thread * step.blocks.workspace)
    run_blocks(step, x, out, weights, exact, numbers, own, team, threads)
    if threads > 1 and thread == 0:
        close_team(team)
    return True
