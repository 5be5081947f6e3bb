"""Pools over up to three spatial axes, a few output rows at a time.

    fold rows      the rows of the input under a row of windows become one line, between columns of padding
    fold columns   the taps along the line, at any step, are folded, divided, converted and stored in one pass

Where a vector may be read in part, short windows are folded in registers instead, without lines: what is real in a
row's vectors, and where rows begin, is written down once for all planes.

A window that covers whole rows is one along them: a mean over contiguous planes is a mean of runs. Where a row of
windows is a single one, as there, its columns are folded to one vector as they are read. Where the channels of the
input lie next to each other, an element of a line is a run of channels, and results are transposed on their way out.

`write_plan` decides all that once for inputs of one shape and strides. Wide rows are cut into blocks of columns; the
workspace has the same size for every input.
"""

from typing import NamedTuple

import numpy as np

from ..jit import entry, kernel, plain
from ..shapes import AXIS_FIELDS, HUGE, UNIT, Axis, whole_windows
from ..simd.fold import COLUMNS, DIVISORS, POSITIONS, ROOM, ROWS, TAPS, WORKSPACE_BYTES
from ..simd.pool_lines import (
    HAS_MASKS,
    ROW,
    fill,
    fold_rows,
    fold_taps,
    pool_lines,
    pool_runs,
    set_divisors,
    store_columns,
    store_runs,
    store_transposed,
    vector_lanes,
)
from ..simd.vectors import VECTOR_BYTES
from ..strided import load_tuple, scratch, scratch_index, stride
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, real_range, write_tuple
from .pool import padded_taps

LINES = 1024  # elements of several lines, which are written before the first is read again
LANES = 64  # channels folded at once
REACH = ROOM // 2  # the longest window, from its first tap to its last, of which a row may have several
MANY_AXES, LONG_WINDOW, MANY_ELEMENTS = 1, 2, 3  # why a call is refused
PAGE = 1024  # elements of a plane that is walked over column by column: in larger ones a cache would miss more
WIDE = 12  # taps from which on doubling takes fewer passes than going from tap to tap
STEPS = 4  # up to which neighbouring windows are taken from whole vectors


class Plan(NamedTuple):
    """How an input is walked over; strides in elements."""

    s0: int
    s1: int
    s2: int
    leading: int  # axes before the spatial ones
    step: int  # from plane to plane, 0 where it varies
    channels: int  # how many there are where they are folded together, else 1
    lanes: int  # channels folded at once
    rows: int  # output rows of a plane
    lines: int  # in all: a line is a row of windows, of so many channels
    columns: int  # outputs of a line that are made at a time
    pitch: int  # elements from line to line in the workspace
    include_padding: int  # what means are divided by
    is_exact: int  # the mean of nothing is 0, else NaN
    is_contiguous: int  # planes are single windows that lie in one piece, evenly spaced
    is_short: int  # windows of two or three columns, none only of padded rows


_AXES = len(Plan._fields)  # where the axes begin
PLAN_WORDS = _AXES + 3 * AXIS_FIELDS


@plain
def refuses(count, last, elements):
    """Why plain loops should pool: windows of so many axes, of which this is the last, over so many elements; or 0."""
    if not 1 <= count <= 3:
        return MANY_AXES
    if last.out > 1 and (last.kernel - 1) * last.dilation >= REACH:
        return LONG_WINDOW
    return MANY_ELEMENTS if elements >= 1 << 31 else 0


def reason(refusal, count, last, elements):
    """A refusal in words."""
    if refusal == MANY_AXES:
        return f"the window has {count} axes, expected 1 to 3"
    if refusal == LONG_WINDOW:
        return f"a window of {(last.kernel - 1) * last.dilation + 1} columns does not fit in the workspace"
    return f"x has {elements} elements, expected fewer than 2**31"


@plain
def write_plan(shape, strides, leading, count, a0, a1, a2, item_size, include_padding, is_exact, numbers):
    """Write a `Plan` and the three axes that go with it, of which the last `count` are those of the window.

    `shape` and `strides`, in bytes, are those of the input, with so many `leading` axes.
    """
    s2 = strides[leading + count - 1] // item_size
    s1 = strides[leading + count - 2] // item_size if count > 1 else 0
    s0 = strides[leading] // item_size if count > 2 else 0
    if count > 1 and joins(a1, a2, s1, s2):
        a0, a1, a2, s0, s1, count = UNIT, a0, joined(a1, a2), 0, s0, count - 1
        if count > 1 and joins(a1, a2, s1, s2):
            a1, a2, s1, count = UNIT, joined(a1, a2), 0, count - 1
    elif count > 2 and joins(a0, a1, s0, s1):
        a0, a1, s0, count = UNIT, joined(a0, a1), 0, count - 1
    # A line of channels has all the taps that it can above each other.
    beside = leading > 0 and s2 != 1 and strides[leading - 1] == item_size and shape[leading - 1] >= 8
    if beside and a2.out == 1 and count < 3:
        a0, a1, a2, s0, s1, s2 = a1, a2, UNIT, s1, s2, 0
    reach = min((a2.kernel - 1) * a2.dilation + 1, HUGE)
    beside = beside and reach * LANES <= ROOM
    channels = shape[leading - 1] if beside else 1
    lanes, rows = min(channels, LANES), a0.out * a1.out
    planes, regular = 1, leading > 0 and not beside
    for a in range(leading - 1):
        regular = regular and strides[a] == shape[a + 1] * strides[a + 1]
    for a in range(leading - 1 if beside else leading):
        planes *= shape[a]
    step = strides[leading - 1] // item_size if regular else 0
    columns = min(a2.out, (ROOM // lanes - reach) // a2.stride + 1) if a2.out > 1 else 1
    vector = VECTOR_BYTES // item_size  # at most: what is written past a line must not reach the next one
    pitch = (-(-((columns - 1) * a2.stride + reach) * lanes // vector) + 1) * vector
    contiguous = step != 0 and is_unit(a0) and is_unit(a1) and s2 == 1 and a2.out == 1 and is_one_window(a2)
    short = HAS_MASKS and not beside and s2 == 1 and a2.out > 1 and a0.kernel == 1
    short = short and 2 <= a2.kernel <= 3 and a2.stride <= 2 and a2.dilation == 1 and meets_all(a0) and meets_all(a1)
    walk = Plan(s0, s1, s2, leading, step, channels, lanes, rows, planes * -(-channels // lanes) * rows, columns, pitch,
                int(include_padding), int(is_exact), int(contiguous), int(short))  # fmt: skip
    end = write_tuple(numbers, 0, walk)
    for axis in (a0, a1, a2):
        end = write_tuple(numbers, end, axis)


@plain
def is_unit(axis):
    return axis.size == 1 and axis.kernel == 1 and axis.out == 1 and axis.before + axis.after == 0


@plain
def is_one_window(axis):
    """Whether a window covers all of an axis and nothing else."""
    return axis.kernel == axis.size and axis.dilation == 1 and axis.before + axis.after == 0


@plain
def joins(first, second, step, inner):
    """Whether windows over whole rows are such along them: what the second axis holds lies in one piece."""
    if max(first.kernel, first.before, first.after) >= HUGE or first.dilation > 1 or second.out > 1:
        return False
    return is_one_window(second) and step == second.size * inner


@plain
def joined(first, second):
    n = second.size
    return Axis(first.size * n, first.kernel * n, first.stride * n, 1, first.before * n, first.after * n, 0, first.out)


@plain
def meets_all(axis):
    """Whether every window has an element of the input."""
    first, last = -axis.before, (axis.out - 1) * axis.stride - axis.before
    return axis.dilation == 1 and first + axis.kernel > 0 and last < axis.size and axis.size > 0


@kernel
def plane_offset(x, walk, plane):
    if walk.step != 0:
        return plane * walk.step
    offset = 0
    for a in range(walk.leading - 1, -1, -1):
        plane, i = divmod(plane, x.shape[a])
        offset += i * stride(x, a)
    return offset


@kernel
def clip(i, taps, dilation, size):
    """Of a window that starts at element `i`, the first one that is real, and the number of taps that meet one."""
    first, last = real_range(i, taps, dilation, size)
    return i + first * dilation, last - first


@kernel
def count_taps(walk, axis, p):
    """What a mean is divided by, on one axis; that of nothing is 0 / 1 where `is_exact`, and else 0 / 0."""
    count = clip(p * axis.stride - axis.before, axis.kernel, axis.dilation, axis.size)[1]
    return max(padded_taps(axis, p) if walk.include_padding else count, walk.is_exact)


@kernel
def line_after(walk, a0, a1, plane, p0, p1, lane):
    """Plane, output row and first channel of the next line."""
    lane += LANES
    if lane >= walk.channels:
        lane, p1 = 0, p1 + 1
        if p1 == a1.out:
            p0, p1 = p0 + 1, 0
            if p0 == a0.out:
                plane, p0 = plane + 1, 0
    return plane, p0, p1, lane


@kernel
def low_bits(count):
    """A word of so many set bits."""
    return np.int64(-1) if count >= 64 else (np.int64(1) << max(count, 0)) - 1


def pool(kind):
    is_mean, has_index = kind == "average", kind.startswith("indexed")

    @kernel
    def pool_planes(x, out, indices, lowest, workspace, walk, taps, along, divisors, begin, end, block):
        """Planes that are single windows."""
        for j in range(block if is_mean else 0):
            along[j] = taps
        if is_mean:
            set_divisors(along, divisors, block, 1)
        for plane in range(begin, end, block):
            pool_runs(kind, x, out, indices, workspace, lowest, plane, plane * walk.step, min(block, end - plane),
                      taps, walk.step, divisors)  # fmt: skip

    @kernel
    def pool_short(x, out, indices, lowest, workspace, walk, a0, a1, a2, along, divisors, begin, end, column,
                   columns):  # fmt: skip
        """Windows of two or three columns: their places are the same in all planes, and written down first."""
        rows, blocks = scratch_index(workspace, ROWS), scratch_index(workspace, 8 * COLUMNS)
        lanes, taps, stride = vector_lanes(kind, x, out), a2.kernel, a2.stride
        vectors = stride if (columns - 1) * stride + taps > lanes else 1
        size = (vectors * lanes - taps) // stride + 1
        block_count, left = -(-columns // size), column * stride - a2.before
        for block in range(block_count):
            for v in range(vectors):
                start = left + block * size * stride + v * lanes
                blocks[3 * block + v] = low_bits(a2.size - start) & ~low_bits(-start)
            blocks[3 * block + 2] = low_bits(min(size, columns - block * size))
        group = walk.rows if a0.size * a1.size * a2.size <= PAGE else 1
        near, divisor, known, line = max(1, ROOM // (a0.size * a1.size * a2.size)), -1, (-1, -1), begin
        while line < end:
            plane, row = divmod(line, walk.rows)
            count, planes = min(walk.rows - row, end - line, ROOM // ROW), 1
            if count == walk.rows and walk.step != 0:
                planes = min((end - line) // count, near)
            for r in range(count if (row, count) != known else 0):
                p0, p1 = divmod(row + r, a1.out)
                i0 = p0 * a0.stride
                i1, n1 = clip(p1 * a1.stride - a1.before, a1.kernel, 1, a1.size)
                rows[ROW * r] = i0 * walk.s0 + i1 * walk.s1 + left
                rows[ROW * r + 1] = (i0 * a1.size + i1) * a2.size + left
                rows[ROW * r + 2] = n1
                rows[ROW * r + 3] = count_taps(walk, a0, p0) * count_taps(walk, a1, p1) if is_mean else 1
            known, r = (row, count), 0
            while r < count:
                alike = 1  # rows with one divisor
                while r + alike < count and rows[ROW * (r + alike) + 3] == rows[ROW * r + 3]:
                    alike += 1
                if is_mean and rows[ROW * r + 3] != divisor:
                    divisor = rows[ROW * r + 3]
                    set_divisors(along, divisors, columns, divisor)
                here = scratch_index(workspace, ROWS + 8 * ROW * r)
                pool_lines(kind, x, out, indices, lowest, taps, stride, vectors, here, alike, group, blocks,
                           block_count, size, plane_offset(x, walk, plane), walk.step, planes, walk.s1, a2.size,
                           (line + r) * a2.out + column, walk.rows * a2.out, a2.out, divisors)  # fmt: skip
                r += alike
            line += planes * count

    @kernel
    def fold_run(x, out, lowest, workspace, where, first, n0, step0, n1, step1, n2, step,
                 index, index0, index1, dilation, pitch):  # fmt: skip
        """All elements under one window as one vector: rows of its taps lie above each other, whole ones first."""
        fill(kind, x, out, workspace, lowest, where, pitch, 1, 0)
        for k0 in range(n0):
            done, count = 0, pitch
            while done < n2:
                if done + count > n2:
                    count = n2 - done
                chunks = (n2 - done) // pitch if count == pitch else 1
                fold_rows(kind, x, out, workspace, where, first + k0 * step0 + done * step, n1, step1,
                          chunks, pitch * step, step, count, index + k0 * index0 + done * dilation, index1,
                          pitch * dilation, dilation, True, 1, 0, 0, 0)  # fmt: skip
                done += chunks * count

    @kernel
    def fold_lines(x, out, lowest, workspace, walk, where, many, lanes, first, n0, step0, n1, step1,
                   index, index0, index1, next_first, next_index, left, right, span):  # fmt: skip
        """So many lines alike: of their `span` elements those from `left` to `right` are real."""
        runs, count, step, index_step = 1, right - left, walk.s2, 1
        if walk.lanes > 1:  # each element is a run of channels, and runs that touch are one
            runs, count, step, index_step = right - left, lanes, 1, 0
            if walk.s2 == walk.lanes == lanes and not has_index:
                runs, count = 1, runs * lanes
        begin, end = where + left * walk.lanes, where + right * walk.lanes
        fill(kind, x, out, workspace, lowest, where, begin - where, many, walk.pitch)
        for j in range(runs if left < right else 0):
            fold_rows(kind, x, out, workspace, begin + j * walk.lanes, first + j * walk.s2, n0, step0, n1, step1,
                      step, count, index + j, index0, index1, index_step, False, many, walk.pitch, next_first,
                      next_index)  # fmt: skip
        fill(kind, x, out, workspace, lowest, end, (span - right) * walk.lanes, many, walk.pitch)

    @kernel
    def store_lines(x, out, indices, lowest, workspace, where, columns, taps, shift, step, divisors, width, plane,
                    lines, pitch, target, to_step, lanes):  # fmt: skip
        """Rows of windows from their lines: `width` channels of which `lanes` are real, `plane` results apart."""
        if width == 1 and step > STEPS and shift == 1:
            for r in range(lines):
                store_runs(kind, x, out, indices, workspace, lowest, target + r * to_step, where + r * pitch,
                           columns, taps, step, divisors)  # fmt: skip
            return
        if taps >= WIDE and not is_mean:  # windows of 2, 4, 8, ... taps, two of the last in the end
            length, wide = (lines - 1) * pitch + ((columns - 1) * step + (taps - 1) * shift + 1) * width, 1
            while 2 * wide <= taps:
                length -= wide * shift * width
                fold_taps(kind, x, out, workspace, where, where, length, 2, wide * shift * width)
                wide *= 2
            shift, taps = (taps - wide) * shift, 2
        if width > 1:
            runs, count = (1, columns * width) if step == 1 else (columns, width)
            for j in range(runs):
                at = where + j * step * width
                fold_taps(kind, x, out, workspace, COLUMNS + j * width, at, count, taps, shift * width)
            if plane > 1:
                store_transposed(kind, x, out, indices, workspace, target, plane, COLUMNS, width, lanes, columns,
                                 divisors)  # fmt: skip
                return
            where, columns, taps, step = COLUMNS, lanes, 1, 1
        store_columns(kind, x, out, indices, workspace, target, where, columns, taps, shift, step, divisors,
                      lines, pitch, to_step)  # fmt: skip

    def run(x, out, indices, lowest, numbers, workspace, team, threads, thread):
        """All results. `lowest` is the padding's value, `indices` are written by the kinds that have some.

        `numbers` are those of `write_plan`. `threads` share the work, each with `WORKSPACE_BYTES` of the workspace;
        this is number `thread`, 0 the one that calls.
        """
        if threads > 1 and thread == 0:
            threads = open_team(team, (x, out, indices, lowest, numbers, workspace, team, threads), threads)
        workspace, parts = part_of(workspace, thread * WORKSPACE_BYTES), 1 if threads == 1 else 4 * threads
        walk, (a0, a1, a2) = load_tuple(numbers.data, 0, Plan), load_axes(numbers.data, _AXES)
        along, divisors = scratch(workspace, TAPS, out), scratch(workspace, DIVISORS, out)
        groups = scratch_index(workspace, POSITIONS)
        is_run = walk.lanes == 1 and a2.out == 1
        pitch = vector_lanes(kind, x, out) if is_run else walk.pitch
        taps, shift, step = (pitch, 1, pitch) if is_run else (a2.kernel, a2.dilation, a2.stride)
        block = max(1, LINES // pitch)
        blocks, plane_size = -(-walk.channels // walk.lanes), walk.rows * a2.out
        step0, step1 = a0.dilation * walk.s0, a1.dilation * walk.s1
        index0, index1 = a0.dilation * a1.size * a2.size, a1.dilation * a2.size
        inner, outer = whole_windows(a1, np.int64(0), a1.out)
        taken = 0 if parts == 1 else take_item(team)
        while taken < parts:
            begin, end = walk.lines * taken // parts, walk.lines * (taken + 1) // parts
            for column in range(0, a2.out, walk.columns):
                columns = min(walk.columns, a2.out - column)
                rows = -1  # that the divisors are for
                for j in range(max(columns, walk.lanes) if is_mean else 0):
                    along[j] = count_taps(walk, a2, column + (0 if plane_size == 1 else j))
                start = column * a2.stride - a2.before
                span = (columns - 1) * a2.stride + (a2.kernel - 1) * a2.dilation + 1
                low = min(max(-start, 0), span)
                high = max(low, min(a2.size - start, span))
                i2, n2 = clip(start, a2.kernel, a2.dilation, a2.size)
                first = (i2 if is_run else start + low) * walk.s2
                if walk.is_contiguous:
                    pool_planes(x, out, indices, lowest, workspace, walk, n2, along, divisors, begin, end, block)
                    continue

                if walk.is_short:
                    pool_short(x, out, indices, lowest, workspace, walk, a0, a1, a2, along, divisors, begin, end,
                               column, columns)  # fmt: skip
                    continue

                group, lane = divmod(begin, blocks)
                plane, row = divmod(group, walk.rows)
                (p0, p1), lane = divmod(row, a1.out), lane * LANES
                line = begin
                while line < end:
                    lines, r, done = min(block, end - line), 0, 0
                    while done < lines:
                        i0, n0 = clip(p0 * a0.stride - a0.before, a0.kernel, a0.dilation, a0.size)
                        i1, n1 = clip(p1 * a1.stride - a1.before, a1.kernel, a1.dilation, a1.size)
                        origin = plane_offset(x, walk, plane * walk.channels)
                        source = origin + lane + i0 * walk.s0 + i1 * walk.s1 + first
                        index = (i0 * a1.size + i1) * a2.size
                        lanes = min(walk.lanes, walk.channels - lane)
                        where, divisor, many = ROWS + done * pitch, 1, 1
                        if is_mean:
                            divisor = count_taps(walk, a0, p0) * count_taps(walk, a1, p1)
                        if is_run:
                            if is_mean:
                                along[done] = divisor * count_taps(walk, a2, 0)
                            fold_run(x, out, lowest, workspace, where, source, n0 if n1 > 0 else 0, step0, n1, step1,
                                     n2, a2.dilation * walk.s2, index + i2, index0, index1, a2.dilation,
                                     pitch)  # fmt: skip
                        else:
                            left, right = (low, high) if n0 > 0 and n1 > 0 else (span, span)
                            if walk.lanes == 1 and inner <= p1 < outer:
                                many = min(lines - done, outer - p1)
                            fold_lines(x, out, lowest, workspace, walk, where, many, lanes, source, n0, step0, n1,
                                       step1, index + start + left, index0, index1, a1.stride * walk.s1,
                                       a1.stride * a2.size, left, right, span)  # fmt: skip
                        target = plane * walk.channels + lane
                        groups[4 * r] = target * plane_size + (p0 * a1.out + p1) * a2.out + column
                        groups[4 * r + 1], groups[4 * r + 2], groups[4 * r + 3] = divisor, lanes, many
                        r, done = r + 1, done + many
                        plane, p0, p1, lane = line_after(walk, a0, a1, plane, p0, p1 + many - 1, lane)
                    line += lines
                    windows, where = columns, ROWS
                    if is_run:  # the lines are the windows of one group
                        windows, r, rows, groups[1] = lines, 1, -1, 1
                    for g in range(r):
                        if is_mean and groups[4 * g + 1] != rows:
                            rows = groups[4 * g + 1]
                            set_divisors(along, divisors, max(windows, walk.lanes), rows)
                        many = groups[4 * g + 3]
                        store_lines(x, out, indices, lowest, workspace, where, windows, taps, shift, step, divisors,
                                    walk.lanes, plane_size, many, pitch, groups[4 * g], a2.out,
                                    groups[4 * g + 2])  # fmt: skip
                        where += many * pitch
            taken = parts if parts == 1 else take_item(team)
        if threads > 1 and thread == 0:
            close_team(team)
        return True

    run.__name__ = run.__qualname__ = kind
    return entry(run)


average = pool("average")
maximum, minimum = pool("maximum"), pool("minimum")
indexed_maximum, indexed_minimum = pool("indexed_maximum"), pool("indexed_minimum")
