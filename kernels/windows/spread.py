"""The adjoint of average pools: each mean goes back, in equal parts, to the elements that it was taken of.

Means of boxes are separable, and so is this. For each row of the result

    fold rows      the rows of means whose windows cover it are added to one line, each divided by the elements that it
                   counts along the first two axes, and the line by those along the last
    spread         of the columns of the result, those `stride` apart lie under windows that are neighbours on the line:
                   these are added, one residue of the columns after the other, and stored in turns

    LOOP 4  planes, which threads share, and blocks of the columns of the result; LOOP 3  its rows
    LOOP 2  parts of the line under a block that fit in the workspace

An element's parts are added in one order, whatever the blocks are. Windows that cover whole rows are windows along
them, and a window that is all of a plane is one number for it.
"""

from typing import NamedTuple

from ..jit import entry, inlined, kernel
from ..shapes import HUGE, UNIT, Axis
from ..simd.spreads import GAP, TURNS, add_line, add_means, add_number, clear, copy_run, fill_run, store_turns
from ..strided import convert, load, mean, scratch, store, stride
from ..team import close_team, open_team, part_of, take_item
from ..window import axes_of_windows, load_axis, load_windows
from .pool import count_padded_axis

_COLUMNS = 2048  # LOOP 4: of the result
_LINE = 1024  # LOOP 2: means
_ITEM = 8192  # elements of planes that a thread takes at a time
# Where factors of columns and sums begin in the workspace, behind a line.
_FACTORS, _SUMS = 8 * (_LINE + 2 * GAP), 16 * (_LINE + 2 * GAP)
WORKSPACE_BYTES = _SUMS + 8 * (_COLUMNS + (TURNS + 1) * (GAP + 4))


class Steps(NamedTuple):
    """The steps between means, in elements."""

    s0: int
    s1: int
    s2: int


class Block(NamedTuple):
    """Columns of the result, how their sums lie, and the means that they get parts of."""

    column: int  # the first one
    begin: int  # where it is, counted from the first of the padding
    number: int  # which it is of its residue
    count: int
    turns: int  # residues that are summed apart; 1, where a sum lies next to the other
    length: int  # sums of a residue
    pitch: int  # from those of a residue to those of the next
    skipped: int  # the residue of the first column
    first: int  # mean
    end: int  # after the last one


@kernel
def windows_over(axis, i):
    """The windows of an axis that cover element `i`: from, to."""
    at = i + axis.before
    first = (at - axis.kernel) // axis.stride + 1
    return max(first, 0), min(at // axis.stride + 1, axis.out)


@inlined
def count_taps(axis, p, include_padding):
    """What a mean is divided by along an axis."""
    if include_padding:
        return count_padded_axis(axis, p)
    begin = p * axis.stride - axis.before
    return min(begin + axis.kernel, axis.size) - max(begin, 0)


@kernel
def axis_at(axes, trailing, i):
    """The last axis of the window (1), or one before it; of size 1 where it has none."""
    return load_axis(axes, axes.rank - i) if trailing >= i else UNIT


@kernel
def steps_of(means, axes, trailing):
    last = axes.rank - 1
    s0 = stride(means, last - 2) if trailing > 2 else 0
    return Steps(s0, stride(means, last - 1) if trailing > 1 else 0, stride(means, last))


@inlined
def add_row(means, out, start, step, count, rows, line, factors, is_first):
    """Add a row of means, divided by the elements of their windows, to a line."""
    factor = mean(out, convert(out, 1.0), rows)
    if step == 1:
        add_means(line, means, start, count, factor, factors, is_first)
        return
    for q in range(count):
        value = convert(out, load(means, start + q * step)) * (factor * factors[q])
        line[q] = value if is_first else line[q] + value


@inlined
def fold_rows(means, out, steps, a0, a1, over0, over1, at, count, include_padding, line, factors):
    """Add up the means from `at` on of all rows of windows; the line ends with zeros."""
    clear(line, count + GAP)
    is_first = True
    for p0 in range(over0[0], over0[1]):
        for p1 in range(over1[0], over1[1]):
            rows = count_taps(a0, p0, include_padding) * count_taps(a1, p1, include_padding)
            start = at + p0 * steps.s0 + p1 * steps.s1
            add_row(means, out, start, steps.s2, count, rows, line, factors, is_first)
            is_first = False


@kernel
def write_factors(out, axis, first, count, include_padding, factors):
    """What means are multiplied by for what they count along the last axis; then zeros."""
    clear(factors, count + GAP)
    for q in range(count):
        factors[q] = mean(out, convert(out, 1.0), count_taps(axis, first + q, include_padding))


@kernel
def block_from(axis, column):
    """The block of columns that begins with one."""
    begin, count = column + axis.before, min(_COLUMNS, axis.size - column)
    first, end = windows_over(axis, column)[0], windows_over(axis, column + count - 1)[1]
    if axis.stride > TURNS:
        return Block(column, begin, 0, count, 1, count, count, 0, first, end)
    number, skipped = divmod(begin, axis.stride)
    length = (skipped + count - 1) // axis.stride + 1
    return Block(column, begin, number, count, axis.stride, length, length + GAP, skipped, first, end)


@inlined
def add_runs(axis, block, first, count, line, sums):
    """Add a part of a line to the columns of its windows, runs of them."""
    for q in range(count):
        at = (first + q) * axis.stride - block.begin
        begin = max(at, 0)
        add_number(sums, begin, min(at + axis.kernel, block.count) - begin, line[q])


@inlined
def add_turns(axis, block, first, count, line, sums):
    """The same by residues of columns: number `m` of one lies under windows `m`, `m - 1` and so on."""
    residue = tap = 0
    for _ in range(axis.kernel):
        low = max(block.number, tap + first)
        high = min(block.number + block.length, tap + first + count)
        if low < high:
            add_line(sums, residue * block.pitch + low - block.number, line, low - tap - first, high - low)
        residue += 1
        if residue == axis.stride:
            residue, tap = 0, tap + 1


@inlined
def store_block(out, to, block, sums):
    """Store the columns of a block, those before the first whole turn one by one."""
    head = min(block.turns - block.skipped, block.count) if block.skipped > 0 else 0
    for j in range(head):
        store(out, to + j, sums[(block.skipped + j) * block.pitch])
    store_turns(out, to + head, block.count - head, sums, int(head > 0), block.pitch, block.turns)


@inlined
def spread_row(means, out, steps, a0, a1, a2, over0, over1, block, start, to, include_padding, workspace, known):
    """A block of a row of the result, from its rows of windows. `known`: the part of a line that factors are for."""
    line, factors, sums = scratch(workspace, 0, out), scratch(workspace, _FACTORS, out), scratch(workspace, _SUMS, out)
    clear(sums, block.turns * block.pitch)
    for first in range(block.first, block.end, _LINE):
        count = min(_LINE, block.end - first)
        if known != (first, count):
            write_factors(out, a2, first, count, include_padding, factors)
            known = first, count
        at = start + first * steps.s2
        fold_rows(means, out, steps, a0, a1, over0, over1, at, count, include_padding, line, factors)
        if a2.stride > TURNS:
            add_runs(a2, block, first, count, line, sums)
        else:
            add_turns(a2, block, first, count, line, sums)
    store_block(out, to, block, sums)
    return known


@inlined
def moved_on(axis, i, over):
    """`windows_over` element `i`, from that of the element before it."""
    first, end, at = over[0], over[1], i + axis.before
    while first < axis.out and first * axis.stride + axis.kernel <= at:
        first += 1
    while end < axis.out and end * axis.stride <= at:
        end += 1
    return first, end


@inlined
def spread_plane(means, out, steps, a0, a1, a2, block, start, to, include_padding, workspace, known):
    """LOOP 3. A row under the same windows as the one before it is a copy."""
    over0, row = windows_over(a0, 0), to + block.column
    for i0 in range(a0.size):
        over0 = moved_on(a0, i0, over0)
        over1, last = windows_over(a1, 0), (-1, -1)
        for i1 in range(a1.size):
            over1 = moved_on(a1, i1, over1)
            if over1 == last:
                copy_run(out, row, row - a2.size, block.count)
            else:
                known = spread_row(
                    means, out, steps, a0, a1, a2, over0, over1, block, start, row, include_padding, workspace, known
                )
            last, row = over1, row + a2.size
    return known


@kernel
def fill_planes(means, out, a2, axes, leading, begin, end, include_padding):
    """Planes that are single windows."""
    count = count_taps(a2, 0, include_padding)
    for number in range(begin, end):
        value = mean(out, convert(out, load(means, offset_of(means, axes, leading, number))), count)
        fill_run(out, number * a2.size, a2.size, value)


@kernel
def joins(first, second):
    """Whether two axes are one: windows cover all of the second and nothing else."""
    if max(first.kernel, first.before, first.after) >= HUGE or second.out > 1:
        return False
    return second.kernel == second.size and second.before + second.after == 0


@kernel
def joined(first, second):
    n = second.size
    return Axis(first.size * n, first.kernel * n, first.stride * n, 1, first.before * n, first.after * n, 0, first.out)


@kernel
def offset_of(means, axes, leading, number):
    """Where the means of a plane begin."""
    offset = 0
    for a in range(leading - 1, -1, -1):
        number, i = divmod(number, load_axis(axes, a).size)
        offset += i * stride(means, a)
    return offset


@entry
def spread(means, out, numbers, include_padding, workspace, team, threads, thread):
    """Write `out`, which is contiguous, of the size that the axes of `numbers` say. `means` has their outputs."""
    if threads > 1 and thread == 0:
        threads = open_team(team, (means, out, numbers, include_padding, workspace, team, threads), threads)
    windows = load_windows(numbers.data)
    axes = axes_of_windows(numbers.data, windows)
    leading, planes = windows.rank - windows.trailing, 1
    for a in range(leading):
        planes *= load_axis(axes, a).size
    a0, a1, a2 = (axis_at(axes, windows.trailing, 3), axis_at(axes, windows.trailing, 2),
                  axis_at(axes, windows.trailing, 1))  # fmt: skip
    steps, own = steps_of(means, axes, windows.trailing), part_of(workspace, thread * WORKSPACE_BYTES)
    size, known = a0.size * a1.size * a2.size, (-1, -1)
    if joins(a1, a2):
        a0, a1, a2, steps = UNIT, a0, joined(a1, a2), Steps(0, steps.s0, steps.s1)
        if joins(a1, a2):
            a1, a2, steps = UNIT, joined(a1, a2), Steps(0, 0, steps.s1)
    block = block_from(a2, 0)
    is_filled = a0.size * a1.size == 1 and a2.out == 1 and a2.kernel >= a2.size + a2.before
    together = max(_ITEM // max(size, 1), 1)
    item = 0 if threads == 1 else take_item(team)
    while item * together < planes:
        begin, end = item * together, min((item + 1) * together, planes)
        if is_filled:
            fill_planes(means, out, a2, axes, leading, begin, end, include_padding)
            begin = end
        for number in range(begin, end):
            start = offset_of(means, axes, leading, number)
            for column in range(0, a2.size, _COLUMNS):
                if column != block.column:
                    block = block_from(a2, column)
                known = spread_plane(
                    means, out, steps, a0, a1, a2, block, start, number * size, include_padding, own, known
                )
        item = item + 1 if threads == 1 else take_item(team)
    if threads > 1 and thread == 0:
        close_team(team)
    return True
