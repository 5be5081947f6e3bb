"""Pools over up to three spatial axes, a block of output rows at a time.

    fold rows      the rows of the input under a window become one line, in the compute type; columns of padding hold
                   what changes no result: 0 in a sum, the lowest value in a maximum
    split          a stride splits the lines into phases, so that neighbouring outputs always read neighbouring elements
    fold columns   the taps along the lines, for all lines of the block in one loop; what falls between two of them is
                   computed and thrown away
    store          divided and converted

Where the channels of the input lie next to each other, or rows are shorter than a vector, many channels are folded at
once: an element of a line is then a run of `lanes` channels, and there is nothing to split. A block holds at most LINE
elements, so that wide rows and windows are cut into blocks of columns and of taps; the workspace has the same size for
every input.
"""

import math
from typing import NamedTuple

from .jit import entry, kernel
from .pool import padded_taps
from .strided import convert, is_whole, load, mean, scratch, scratch_index, store, stride, zero
from .window import load_axis, load_call

LINE = 8192  # elements
BLOCK = 1024  # elements of a block of several lines: reading the next block should not wait long for this one
LANES = 64
WIDE = 12  # taps from which on doubling takes fewer passes than going from tap to tap
NOWHERE = 2**62  # the index of padding, after all others

# The workspace: four blocks of values of at most 16 bytes, three of indices.
_VALUES, _INDICES = 16 * LINE, 8 * LINE
COLUMNS, FOLDED, SPARE, DOUBLED = (_VALUES * i for i in range(4))
COLUMNS_AT, FOLDED_AT, SPARE_AT, WORKSPACE_BYTES = (4 * _VALUES + _INDICES * i for i in range(4))


class Planes(NamedTuple):
    """The input as planes of three axes: strides in elements, and how the planes lie."""

    s0: int
    s1: int
    s2: int
    lane: int  # of the channels, the last axis before the spatial ones
    leading: int  # axes before the spatial ones
    channels: int  # how many there are where they are folded together, else 1
    lanes: int  # channels folded at once
    rows: int  # output rows of a plane


class Block(NamedTuple):
    """What is done at a time: lines `pitch` columns apart, for so many outputs and taps of each."""

    lines: int
    pitch: int
    columns: int
    taps: int


class Part(NamedTuple):
    """One block: its first line, column and tap, and how many there are of each."""

    line: int
    lines: int
    column: int
    columns: int
    tap: int
    taps: int


@kernel
def load_planes(x, call, a2, rows):
    leading, rank = call.option, call.rank
    last, lane, channels = stride(x, leading + rank - 1), 0, 1
    if leading > 0 and x.shape[leading - 1] >= 8:
        lane = stride(x, leading - 1)
        if (lane == 1 and last != 1) or a2.size < 8:
            channels = x.shape[leading - 1]
    return Planes(
        stride(x, leading + rank - 3) if rank > 2 else 0,
        stride(x, leading + rank - 2) if rank > 1 else 0,
        last,
        lane,
        leading,
        channels,
        min(channels, LANES),
        rows,
    )


@kernel
def choose_block(a2, lanes):
    """As many taps as leave room for columns, the columns that fit, then as many lines as stay in the L1 cache."""
    room = LINE // lanes
    taps = min(a2.kernel, max(1, (room // 2 - 1) // a2.dilation + 1))
    reach = (taps - 1) * a2.dilation + 1
    columns = min(a2.out, (room - reach) // a2.stride)
    if columns < 2:
        return Block(1, reach, 1, taps)
    pitch = -(-((columns - 1) * a2.stride + reach) // a2.stride) * a2.stride
    return Block(max(1, BLOCK // (pitch * lanes)), pitch, columns, taps)


@kernel
def first_line(planes, row):
    """Where a split of all output rows splits the lines, which stand for the rows of several channels."""
    return -(-row // planes.channels) * -(-planes.channels // planes.lanes)


@kernel
def locate(planes, i):
    """Plane, row of the plane, and number of channels of line `i`."""
    if planes.lanes == 1:
        plane, row = divmod(i, planes.rows)
        return plane, row, 1
    i, block = divmod(i, -(-planes.channels // planes.lanes))
    plane, row = divmod(i, planes.rows)
    lane = block * planes.lanes
    return plane * planes.channels + lane, row, min(planes.lanes, planes.channels - lane)


@kernel
def following(planes, i, plane, row):
    """`locate` for the line after the one at `plane` and `row`, which most often takes no division."""
    if planes.lanes == 1:
        return (plane, row + 1, 1) if row + 1 < planes.rows else (plane + 1, 0, 1)
    return locate(planes, i)


@kernel
def plane_offset(x, leading, plane):
    offset = 0
    for a in range(leading - 1, -1, -1):
        plane, i = divmod(plane, x.shape[a])
        offset += i * stride(x, a)
    return offset


@kernel
def clip(axis, p):
    """First input element under the window at `p`, and the number of taps that meet one."""
    i = p * axis.stride - axis.before
    if i >= 0 and i + (axis.kernel - 1) * axis.dilation < axis.size:
        return i, axis.kernel
    first = max(0, -(i // axis.dilation))
    last = min(axis.kernel, -((i - axis.size) // axis.dilation))
    return i + first * axis.dilation, max(0, last - first)


@kernel
def clip_columns(a2, part):
    """Input column of a line's first element; its elements, the first of them that is real, and the end of those."""
    start = part.column * a2.stride + part.tap * a2.dilation - a2.before
    span = (part.columns - 1) * a2.stride + (part.taps - 1) * a2.dilation + 1
    low = min(max(-start, 0), span)
    return start, span, low, max(low, min(a2.size - start, span))


@kernel
def add(total, value):
    return total + value


@kernel
def larger(best, value):
    best = value if value > best else best
    return best if value == value else value


@kernel
def smaller(best, value):
    best = value if value < best else best
    return best if value == value else value


@kernel
def element(x, out, i):
    return convert(out, load(x, i))


@kernel
def item(line, out, i):
    return line[i]


@kernel
def split(line, phases, step, needed, length):
    """`phases[p * length + j] = line[p + j * step]` for the first `needed` of `step` phases."""
    if step == 2:
        for j in range(length):
            phases[j], phases[length + j] = line[2 * j], line[2 * j + 1]
    else:
        for p in range(needed):
            for j in range(length):
                phases[p * length + j] = line[p + j * step]


@kernel
def store_line(out, target, step, folded, where, width, lanes, columns):
    """A line of the result for each lane, `step` apart; `folded` holds `width` lanes for each column."""
    if width == 1:  # the literal makes the loads contiguous
        for j in range(columns):
            store(out, target + j, folded[where + j])
    else:
        for lane in range(lanes):
            for j in range(columns):
                store(out, target + lane * step + j, folded[where + j * width + lane])


# What follows is closures and not functions of functions: those would be variables, which Numba cannot cache, and
# arguments are no constants yet when Numba optimises a function.


def folding(combine, read, contiguous):
    @kernel
    def fold(source, first, step, tap, taps, out, line, where, count, more):
        """`line[where + j]` becomes the fold of `source[first + j * step + k * tap]`, and of itself if `more`."""
        if contiguous:
            step = 1
        k = 0
        if not more:
            for j in range(count):
                line[where + j] = read(source, out, first + j * step)
            k = 1
        while k < taps:
            at = first + k * tap
            for j in range(count):
                line[where + j] = combine(line[where + j], read(source, out, at + j * step))
            k += 1

    return fold


def folding_indexed(is_better):
    @kernel
    def fold(x, first, step, tap, taps, index, index_step, index_tap, line, indices, where, count, more):
        """The same for the best element and its index; those of `j` and `k` follow `index` in their own steps."""
        k = 0
        if not more:
            for j in range(count):
                line[where + j] = load(x, first + j * step)
                indices[where + j] = index + j * index_step
            k = 1
        while k < taps:
            at, index_k = first + k * tap, index + k * index_tap
            for j in range(count):
                value, best = load(x, at + j * step), line[where + j]
                better = is_better(value, best)
                line[where + j] = value if better else best
                indices[where + j] = index_k + j * index_step if better else indices[where + j]
            k += 1

    return fold


def folding_rows(combine):
    fold_contiguous, fold_strided = folding(combine, element, True), folding(combine, element, False)

    @kernel
    def fold_rows(x, planes, axes, block, part, padding, out, workspace):
        """One line for each output row of a block."""
        a0, a1, a2 = axes
        line = scratch(workspace, COLUMNS, out)
        start, span, low, high = clip_columns(a2, part)
        tap = a1.dilation * planes.s1
        plane, row, lanes = locate(planes, part.line)
        origin = plane_offset(x, planes.leading, plane)
        for r in range(part.lines):
            if r > 0:
                previous = plane
                plane, row, lanes = following(planes, part.line + r, plane, row)
                if plane != previous:
                    origin = plane_offset(x, planes.leading, plane)
            p0, p1 = (0, row) if a0.out == 1 else divmod(row, a1.out)
            i0, n0 = clip(a0, p0)
            i1, n1 = clip(a1, p1)
            end = high if n0 > 0 and n1 > 0 else low
            where = r * block.pitch * planes.lanes
            for j in range(low * planes.lanes):
                line[where + j] = padding
            for j in range(end * planes.lanes, span * planes.lanes):
                line[where + j] = padding
            where += low * planes.lanes
            first = origin + i0 * planes.s0 + i1 * planes.s1 + (start + low) * planes.s2
            # The elements are one run, or each has a run of channels, which may follow each other.
            runs, count, step = (1, end - low, planes.s2) if planes.lanes == 1 else (end - low, lanes, planes.lane)
            if step == 1 and planes.s2 == planes.lanes == lanes:
                runs, count = 1, runs * count
            for k0 in range(n0):
                for j in range(runs):
                    source, at = first + j * planes.s2, where + j * planes.lanes
                    if step == 1:
                        fold_contiguous(x, source, 1, tap, n1, out, line, at, count, k0 > 0)
                    else:
                        fold_strided(x, source, step, tap, n1, out, line, at, count, k0 > 0)
                first += a0.dilation * planes.s0

    return fold_rows


def folding_columns(combine):
    fold = folding(combine, item, True)

    @kernel
    def double(line, spare, doubled, taps, unit, length):
        """`doubled[j]` becomes the fold over `k` of `line[j + k * unit]`, by windows of 1, 2, 4, ... taps."""
        width, done = 1, 0
        while True:
            if taps & width:
                offset = done * unit
                if done == 0:
                    for j in range(length):
                        doubled[j] = line[j]
                else:
                    for j in range(length - offset):
                        doubled[j] = combine(doubled[j], line[offset + j])
                done += width
            if done == taps:
                return
            offset = width * unit
            length -= offset
            for j in range(length):
                spare[j] = combine(line[j], line[offset + j])
            line, spare = spare, line
            width *= 2

    @kernel
    def fold_columns(planes, a2, block, part, out, workspace):
        """The taps of all outputs of a block, those between two lines included."""
        line, spare = scratch(workspace, COLUMNS, out), scratch(workspace, SPARE, out)
        folded = scratch(workspace, FOLDED, out)
        step, lanes, taps = a2.stride, planes.lanes, part.taps
        count = (part.lines - 1) * (block.pitch // step) + part.columns
        if taps >= WIDE and taps > 4 * step:
            doubled = scratch(workspace, DOUBLED, out)
            length = ((count - 1) * step + (taps - 1) * a2.dilation + 1) * lanes
            double(line, spare, doubled, taps, a2.dilation * lanes, length)
            line, taps = doubled, 1
        if step == 1 or part.columns == 1:
            fold(line, 0, 1, a2.dilation * lanes, taps, out, folded, 0, count * lanes, part.tap > 0)
        elif lanes > 1:
            for j in range(count):
                at = j * lanes
                fold(line, at * step, 1, a2.dilation * lanes, taps, out, folded, at, lanes, part.tap > 0)
        else:
            length = part.lines * (block.pitch // step)
            split(line, spare, step, min(step, (taps - 1) * a2.dilation + 1), length)
            period = step // math.gcd(step, a2.dilation)  # so many taps further on the phase is the same
            for k in range(min(period, taps)):
                column, phase = divmod(k * a2.dilation, step)
                more, same = part.tap > 0 or k > 0, (taps - 1 - k) // period + 1
                first, tap = phase * length + column, period * a2.dilation // step
                fold(spare, first, 1, tap, same, out, folded, 0, count, more)

    return fold_columns


add_rows, add_columns = folding_rows(add), folding_columns(add)


@entry
def average(x, out, include_padding, is_exact, numbers, start, stop, workspace):
    """`pool.average` for the output rows from `start` to `stop`. False: `x` is not whole."""
    call = load_call(numbers.data)
    if not is_whole(x, call.option + call.rank):
        return False
    axes = load_axis(numbers.data, 0), load_axis(numbers.data, 1), load_axis(numbers.data, 2)
    a0, a1, a2 = axes
    planes = load_planes(x, call, a2, a0.out * a1.out)
    block = choose_block(a2, planes.lanes)
    folded = scratch(workspace, FOLDED, out)
    spacing, last = block.pitch // a2.stride * planes.lanes, first_line(planes, stop)
    for column in range(0, a2.out, block.columns):
        columns = min(block.columns, a2.out - column)
        low, high = whole_windows(a2, column, columns, include_padding)
        for line in range(first_line(planes, start), last, block.lines):
            lines = min(block.lines, last - line)
            for tap in range(0, a2.kernel, block.taps):
                part = Part(line, lines, column, columns, tap, min(block.taps, a2.kernel - tap))
                add_rows(x, planes, axes, block, part, zero(out), out, workspace)
                add_columns(planes, a2, block, part, out, workspace)
            plane, row, lanes = locate(planes, line)
            for r in range(lines):
                if r > 0:
                    plane, row, lanes = following(planes, line + r, plane, row)
                p0, p1 = (0, row) if a0.out == 1 else divmod(row, a1.out)
                rows = count_taps(a0, p0, include_padding) * count_taps(a1, p1, include_padding)
                where, width = r * spacing, planes.lanes
                for j in range(low):
                    divide(
                        out,
                        folded,
                        where + j * width,
                        width,
                        rows * count_taps(a2, column + j, include_padding),
                        is_exact,
                    )
                divide(out, folded, where + low * width, (high - low) * width, rows * a2.kernel, is_exact)
                for j in range(high, columns):
                    divide(
                        out,
                        folded,
                        where + j * width,
                        width,
                        rows * count_taps(a2, column + j, include_padding),
                        is_exact,
                    )
                target = (plane * planes.rows + row) * a2.out + column
                store_line(out, target, planes.rows * a2.out, folded, where, width, lanes, columns)
    return True


@kernel
def divide(out, folded, where, length, count, is_exact):
    """Sums become means over `count` taps; of nothing, that is 0 / 1 where `is_exact`, and else 0 / 0."""
    count = max(count, 1) if is_exact else count
    for j in range(where, where + length):
        folded[j] = mean(out, folded[j], count)


@kernel
def whole_windows(axis, first, count, include_padding):
    """First and last of `count` windows that have all of their taps in the input, or in its padding too."""
    before, after = (0, axis.after) if include_padding else (axis.before, 0)
    low = -(-before // axis.stride)
    room = axis.size + axis.before + after - (axis.kernel - 1) * axis.dilation
    high = max(low, -(-room // axis.stride))
    low = min(max(low - first, 0), count)
    return low, min(max(high - first, low), count)


@kernel
def count_taps(axis, p, include_padding):
    return padded_taps(axis, p) if include_padding else clip(axis, p)[1]


def extremum(name, combine):
    fold_rows, fold_columns = folding_rows(combine), folding_columns(combine)

    def best(x, out, lowest, numbers, start, stop, workspace):
        """Values of `pool.extremum` for the output rows from `start` to `stop`. False: `x` is not whole."""
        call = load_call(numbers.data)
        if not is_whole(x, call.option + call.rank):
            return False
        axes = load_axis(numbers.data, 0), load_axis(numbers.data, 1), load_axis(numbers.data, 2)
        a0, a1, a2 = axes
        planes = load_planes(x, call, a2, a0.out * a1.out)
        block = choose_block(a2, planes.lanes)
        folded = scratch(workspace, FOLDED, out)
        spacing, last = block.pitch // a2.stride * planes.lanes, first_line(planes, stop)
        for column in range(0, a2.out, block.columns):
            columns = min(block.columns, a2.out - column)
            for line in range(first_line(planes, start), last, block.lines):
                lines = min(block.lines, last - line)
                for tap in range(0, a2.kernel, block.taps):
                    part = Part(line, lines, column, columns, tap, min(block.taps, a2.kernel - tap))
                    fold_rows(x, planes, axes, block, part, load(lowest, 0), out, workspace)
                    fold_columns(planes, a2, block, part, out, workspace)
                plane, row, lanes = locate(planes, line)
                for r in range(lines):
                    if r > 0:
                        plane, row, lanes = following(planes, line + r, plane, row)
                    target = (plane * planes.rows + row) * a2.out + column
                    store_line(out, target, planes.rows * a2.out, folded, r * spacing, planes.lanes, lanes, columns)
        return True

    best.__name__ = best.__qualname__ = name
    return entry(best)


maximum, minimum = extremum("maximum", larger), extremum("minimum", smaller)


def indexed(name, is_better):
    fold = folding_indexed(is_better)

    @kernel
    def fold_rows(x, planes, axes, block, part, padding, out, workspace):
        a0, a1, a2 = axes
        line, indices = scratch(workspace, COLUMNS, out), scratch_index(workspace, COLUMNS_AT)
        start, span, low, high = clip_columns(a2, part)
        plane, row, lanes = locate(planes, part.line)
        for r in range(part.lines):
            if r > 0:
                plane, row, lanes = following(planes, part.line + r, plane, row)
            p0, p1 = (0, row) if a0.out == 1 else divmod(row, a1.out)
            i0, n0 = clip(a0, p0)
            i1, n1 = clip(a1, p1)
            end = high if n0 > 0 and n1 > 0 else low
            where = r * block.pitch * planes.lanes
            for j in range(span * planes.lanes):
                if j < low * planes.lanes or j >= end * planes.lanes:
                    line[where + j], indices[where + j] = padding, NOWHERE
            where += low * planes.lanes
            first = plane_offset(x, planes.leading, plane)
            first += i0 * planes.s0 + i1 * planes.s1 + (start + low) * planes.s2
            # The elements are one run, or each has a run of channels.
            runs, count, step = (1, end - low, planes.s2) if planes.lanes == 1 else (end - low, lanes, planes.lane)
            for k0 in range(n0):
                index = ((i0 + k0 * a0.dilation) * a1.size + i1) * a2.size + start + low
                for j in range(runs):
                    at, tap = first + k0 * a0.dilation * planes.s0 + j * planes.s2, a1.dilation * planes.s1
                    here, index_step = where + j * planes.lanes, 1 if planes.lanes == 1 else 0
                    index_tap = a1.dilation * a2.size
                    fold(x, at, step, tap, n1, index + j, index_step, index_tap, line, indices, here, count, k0 > 0)

    @kernel
    def wins(value, index, best, best_index):
        """Whether an element is better, or as good and before the other: columns are not met in the order of taps."""
        before = index < best_index
        same = (value == best) | ((value != value) & (best != best))
        return is_better(value, best) | (before & same)

    @kernel
    def fold_run(line, indices, first, folded, folded_at, where, count, more):
        if not more:
            for j in range(count):
                folded[where + j] = line[first + j]
                folded_at[where + j] = indices[first + j]
        else:
            for j in range(count):
                value, index = line[first + j], indices[first + j]
                best, best_index = folded[where + j], folded_at[where + j]
                better = wins(value, index, best, best_index)
                folded[where + j] = value if better else best
                folded_at[where + j] = index if better else best_index

    @kernel
    def fold_columns(planes, a2, block, part, out, workspace):
        line, indices = scratch(workspace, COLUMNS, out), scratch_index(workspace, COLUMNS_AT)
        folded, folded_at = scratch(workspace, FOLDED, out), scratch_index(workspace, FOLDED_AT)
        step, lanes = a2.stride, planes.lanes
        count = (part.lines - 1) * (block.pitch // step) + part.columns
        runs, run, length = 1, count * lanes, 0
        if step > 1 and part.columns > 1:
            if lanes > 1:
                runs, run = count, lanes
            else:
                length = part.lines * (block.pitch // step)
                needed = min(step, (part.taps - 1) * a2.dilation + 1)
                spare, spare_at = scratch(workspace, SPARE, out), scratch_index(workspace, SPARE_AT)
                split(line, spare, step, needed, length)
                split(indices, spare_at, step, needed, length)
                line, indices = spare, spare_at
        for k in range(part.taps):
            column = k * a2.dilation
            if length > 0:
                column, phase = divmod(column, step)
                column += phase * length
            for j in range(runs):
                first = (column + j * step) * lanes
                fold_run(line, indices, first, folded, folded_at, j * lanes, run, part.tap > 0 or k > 0)

    def best_and_index(x, out, indices, lowest, numbers, start, stop, workspace):
        """`pool.extremum` with indices, for the output rows from `start` to `stop`. False: `x` is not whole."""
        call = load_call(numbers.data)
        if not is_whole(x, call.option + call.rank):
            return False
        axes = load_axis(numbers.data, 0), load_axis(numbers.data, 1), load_axis(numbers.data, 2)
        a0, a1, a2 = axes
        planes = load_planes(x, call, a2, a0.out * a1.out)
        block = choose_block(a2, planes.lanes)
        folded, folded_at = scratch(workspace, FOLDED, out), scratch_index(workspace, FOLDED_AT)
        spacing, last = block.pitch // a2.stride * planes.lanes, first_line(planes, stop)
        for column in range(0, a2.out, block.columns):
            columns = min(block.columns, a2.out - column)
            for line in range(first_line(planes, start), last, block.lines):
                lines = min(block.lines, last - line)
                for tap in range(0, a2.kernel, block.taps):
                    part = Part(line, lines, column, columns, tap, min(block.taps, a2.kernel - tap))
                    fold_rows(x, planes, axes, block, part, load(lowest, 0), out, workspace)
                    fold_columns(planes, a2, block, part, out, workspace)
                plane, row, lanes = locate(planes, line)
                for r in range(lines):
                    if r > 0:
                        plane, row, lanes = following(planes, line + r, plane, row)
                    where, target = r * spacing, (plane * planes.rows + row) * a2.out + column
                    for j in range(where, where + columns * planes.lanes):
                        folded_at[j] = -1 if folded_at[j] == NOWHERE else folded_at[j]
                    store_line(out, target, planes.rows * a2.out, folded, where, planes.lanes, lanes, columns)
                    store_line(indices, target, planes.rows * a2.out, folded_at, where, planes.lanes, lanes, columns)
        return True

    best_and_index.__name__ = best_and_index.__qualname__ = name
    return entry(best_and_index)


@kernel
def is_larger(value, best):
    return (value > best) | ((value != value) & (best == best))


@kernel
def is_smaller(value, best):
    return (value < best) | ((value != value) & (best == best))


indexed_maximum, indexed_minimum = indexed("indexed_maximum", is_larger), indexed("indexed_minimum", is_smaller)
