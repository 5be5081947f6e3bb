"""The adjoint of average pools: each mean goes back, in equal parts, to the elements that it was taken of.

Means of boxes are separable, and so is this. For each row of the result

    fold rows      the rows of means whose windows cover it are added to one line, each divided by the elements that it
                   counts along the first two axes, and the line by those along the last
    spread         of the columns of the result, those `stride` apart lie under windows that are neighbours on the line:
                   these are added, one residue of the columns after the other, and stored in turns

    LOOP 4  planes, which threads share; LOOP 3  rows of the result
    LOOP 2  blocks of its columns, LOOP 1  parts of the line under a block that fit in the workspace

An element's parts are added in one order, whatever the blocks are. Loops over columns are plain ones, which LLVM makes
vector code of where elements of the means lie next to each other.
"""

from typing import NamedTuple

from ..jit import entry, kernel
from ..shapes import UNIT
from ..strided import convert, load, mean, scratch, store, stride, zero
from ..team import close_team, open_team, part_of, take_item
from ..window import axes_of_windows, load_axis, load_windows
from .pool import count_padded_axis

_COLUMNS = 2048  # LOOP 2: of the result
_LINE = 1024  # LOOP 1: means
_ITEM = 8192  # elements of planes that a thread takes at a time
_TURNS = 4  # the largest stride of windows whose columns are stored in turns: at larger ones, each has a run of them
_FACTORS, _SUMS = 16 * _LINE, 32 * _LINE  # where the factors of columns and the sums begin in the workspace
WORKSPACE_BYTES = _SUMS + 16 * (_COLUMNS + 64)


class Steps(NamedTuple):
    """The steps between means, in elements."""

    s0: int
    s1: int
    s2: int


class Block(NamedTuple):
    """Columns of the result, counted from the first of its padding, and how their sums lie."""

    begin: int
    count: int
    turns: int  # residues that are summed apart, each `length` sums; 1, where a sum lies next to the other
    length: int
    skipped: int  # the residue of the first column


@kernel
def windows_over(axis, i):
    """The windows of an axis that cover element `i`: from, to."""
    at = i + axis.before
    first = (at - axis.kernel) // axis.stride + 1
    return max(first, 0), min(at // axis.stride + 1, axis.out)


@kernel
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


@kernel
def add_row(means, out, start, step, count, rows, line):
    """Add a row of means, divided by the number of rows of their windows, to a line."""
    if rows == 1:
        for q in range(count):
            line[q] += convert(out, load(means, start + q * step))
        return
    factor = mean(out, convert(out, 1.0), rows)
    for q in range(count):
        line[q] += convert(out, load(means, start + q * step)) * factor


@kernel
def fold_rows(means, out, steps, a0, a1, over0, over1, at, count, include_padding, line, factors):
    """Add up the means from `at` on of all rows of windows, and divide them by the columns of their windows."""
    for q in range(count):
        line[q] = zero(out)
    for p0 in range(over0[0], over0[1]):
        for p1 in range(over1[0], over1[1]):
            rows = count_taps(a0, p0, include_padding) * count_taps(a1, p1, include_padding)
            start = at + p0 * steps.s0 + p1 * steps.s1
            if steps.s2 == 1:
                add_row(means, out, start, 1, count, rows, line)
            else:
                add_row(means, out, start, steps.s2, count, rows, line)
    for q in range(count):
        line[q] *= factors[q]


@kernel
def write_factors(out, axis, first, count, include_padding, factors):
    """What means are multiplied by for what they count along the last axis."""
    for q in range(count):
        factors[q] = mean(out, convert(out, 1.0), count_taps(axis, first + q, include_padding))


@kernel
def block_from(axis, column):
    """The block of columns that begins with one."""
    begin, count = column + axis.before, min(_COLUMNS, axis.size - column)
    if axis.stride > _TURNS:
        return Block(begin, count, 1, count, 0)
    skipped = begin % axis.stride
    return Block(begin, count, axis.stride, (skipped + count - 1) // axis.stride + 1, skipped)


@kernel
def add_runs(axis, block, first, count, line, sums):
    """Add a part of a line to the columns of its windows, runs of them."""
    for q in range(count):
        at = (first + q) * axis.stride - block.begin
        value = line[q]
        for j in range(max(at, 0), min(at + axis.kernel, block.count)):
            sums[j] += value


@kernel
def add_turns(axis, block, first, count, line, sums):
    """The same by residues of columns: number `m` of one lies under windows `m`, `m - 1` and so on."""
    begin = block.begin // axis.stride
    for residue in range(min(axis.stride, axis.kernel)):
        taps = (axis.kernel - residue - 1) // axis.stride + 1
        for tap in range(max(begin - first - count + 1, 0), min(taps, begin + block.length - first)):
            low, high = max(begin, tap + first), min(begin + block.length, tap + first + count)
            to, at = residue * block.length + low - begin, low - tap - first
            for m in range(high - low):
                sums[to + m] += line[at + m]


@kernel
def store_turns(out, to, block, begin, end, sums):
    """Store columns of a block from one to another, one by one."""
    for j in range(begin, end):
        m, residue = divmod(block.skipped + j, block.turns)
        store(out, to + j, sums[residue * block.length + m])


@kernel
def store_block(out, to, block, sums):
    """Store the columns of a block; between the first and the last whole turn, those of a turn together."""
    if block.turns == 1:
        for j in range(block.count):
            store(out, to + j, sums[j])
        return
    head = min((block.turns - block.skipped) % block.turns, block.count)
    whole, m, length = (block.count - head) // block.turns, (block.skipped + head) // block.turns, block.length
    store_turns(out, to, block, 0, head, sums)
    if block.turns == 2:
        for j in range(whole):
            store(out, to + head + 2 * j, sums[m + j])
            store(out, to + head + 2 * j + 1, sums[length + m + j])
    elif block.turns == 3:
        for j in range(whole):
            store(out, to + head + 3 * j, sums[m + j])
            store(out, to + head + 3 * j + 1, sums[length + m + j])
            store(out, to + head + 3 * j + 2, sums[2 * length + m + j])
    else:
        for j in range(whole):
            store(out, to + head + 4 * j, sums[m + j])
            store(out, to + head + 4 * j + 1, sums[length + m + j])
            store(out, to + head + 4 * j + 2, sums[2 * length + m + j])
            store(out, to + head + 4 * j + 3, sums[3 * length + m + j])
    store_turns(out, to, block, head + block.turns * whole, block.count, sums)


@kernel
def spread_row(means, out, steps, a0, a1, a2, over0, over1, start, to, include_padding, workspace, known):
    """One row of the result, from its rows of windows. `known`: for which part of a line factors are written down."""
    line, factors, sums = scratch(workspace, 0, out), scratch(workspace, _FACTORS, out), scratch(workspace, _SUMS, out)
    for column in range(0, a2.size, _COLUMNS):
        block = block_from(a2, column)
        for j in range(block.turns * block.length):
            sums[j] = zero(out)
        begin, end = windows_over(a2, column)[0], windows_over(a2, column + block.count - 1)[1]
        for first in range(begin, end, _LINE):
            count = min(_LINE, end - first)
            if known != (first, count):
                write_factors(out, a2, first, count, include_padding, factors)
                known = first, count
            at = start + first * steps.s2
            fold_rows(means, out, steps, a0, a1, over0, over1, at, count, include_padding, line, factors)
            if a2.stride > _TURNS:
                add_runs(a2, block, first, count, line, sums)
            else:
                add_turns(a2, block, first, count, line, sums)
        store_block(out, to + column, block, sums)
    return known


@kernel
def spread_plane(means, out, steps, a0, a1, a2, start, to, include_padding, workspace, known):
    """LOOP 3. A row under the same windows as the one before it is a copy."""
    for i0 in range(a0.size):
        over0, last = windows_over(a0, i0), (-1, -1)
        for i1 in range(a1.size):
            over1, row = windows_over(a1, i1), to + (i0 * a1.size + i1) * a2.size
            if over1 == last:
                for j in range(a2.size):
                    out.data[row + j] = out.data[row - a2.size + j]
                continue
            last = over1
            known = spread_row(
                means, out, steps, a0, a1, a2, over0, over1, start, row, include_padding, workspace, known
            )
    return known


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
    together = max(_ITEM // max(size, 1), 1)
    item = 0 if threads == 1 else take_item(team)
    while item * together < planes:
        for number in range(item * together, min((item + 1) * together, planes)):
            start = offset_of(means, axes, leading, number)
            known = spread_plane(means, out, steps, a0, a1, a2, start, number * size, include_padding, own, known)
        item = item + 1 if threads == 1 else take_item(team)
    if threads > 1 and thread == 0:
        close_team(team)
    return True
