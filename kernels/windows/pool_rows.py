"""Pools over up to three spatial axes, a few output rows at a time.

    fold rows      the rows of the input under a row of windows become one line, between columns of padding
    fold columns   the taps along the line, at any step, are folded, divided, converted and stored in one pass

Where a vector may be read in part, short windows are folded in registers instead, without lines: which elements of a
row's vectors are no padding, and where rows begin, is written down once for all planes.

A window that covers whole rows is one along them: a mean over contiguous planes is a mean of runs. Where a row of
windows is a single one, as there, its columns are folded to one vector as they are read. Where the channels of the
input lie next to each other, an element of a line is a run of channels, and results are transposed on their way out.
Windows of adaptive pools lie at no step: which rows each has is told from row to row, which columns from a table.

    LOOP 6  shares of the lines, one of which a thread takes at a time                      `run`
    LOOP 5  blocks of columns, so that a line fits in the workspace                         `pool_share`
    LOOP 4  blocks of lines that stay in the first cache between both folds                 `pool_by_lines`
    LOOP 3  groups of lines that cover rows of the input alike: fold rows; then all again: fold columns
                                                                                            `fold_lines`, `store_lines`
    LOOP 2, 1, 0  lines of a group, vectors of a line, taps: vector code, in `pool_lines`

`pool_planes`, `pool_short` and `pool_across` stand in for LOOP 4 and what is below. A line is a row of windows of one
plane, or of a run of channels; `divmod` takes the number of a line apart. `write_plan` decides all that once for inputs
of one shape and strides. The workspace has the same size for every input.
"""

from typing import NamedTuple

import numpy as np

from ..jit import entry, kernel, plain
from ..shapes import HUGE, UNIT, Axis, shared_window, whole_windows, words_of
from ..simd.fold import COLUMNS, DIVISORS, GROUPS, ROOM, ROWS, SHARES, TAPS, WORKSPACE_BYTES
from ..simd.pool_lines import (
    HAS_MASKS,
    SHUFFLED,
    Arrays,
    BlockEntry,
    Lines,
    Place,
    Planes,
    RowEntry,
    Rows,
    Run,
    ShortWindows,
    Table,
    Target,
    WindowEntry,
    Windows,
    dissolve,
    fill,
    fold_rows,
    fold_taps,
    has_index,
    is_mean,
    keep_loops,
    pool_in_registers,
    pool_runs,
    set_divisors,
    set_taps,
    store_channels,
    store_columns,
    store_runs,
    store_windows,
    vector_lanes,
)
from ..simd.vectors import VECTOR_BYTES
from ..strided import load_tuple, scratch, scratch_index, stride
from ..team import close_team, open_team, part_of, take_item
from ..window import real_range, write_tuple
from .pool import count_padded_axis

SHARE = 1 << 21  # LOOP 6: elements of the input, at most about: a call that is stopped ends all that are begun
LINES = 1024  # LOOP 4: elements of several lines, which are written before the first is read again
WIDTH = 64  # channels folded at once
REACH = ROOM // 2  # LOOP 5: the longest window, from its first tap to its last, of which a row may have several
MANY_AXES, LONG_WINDOW, MANY_ELEMENTS = 1, 2, 3  # why a call is refused
SMALL_PLANE = 1024  # elements of a plane that is walked over column by column: in larger ones a cache would miss more
DOUBLED = 12  # taps from which on doubling takes fewer passes than going from tap to tap


class Walk(NamedTuple):
    """How an input is walked over; strides in elements."""

    s0: int
    s1: int
    s2: int
    leading: int  # axes before the spatial ones
    plane_step: int  # from plane to plane, 0 where it varies
    channels: int  # of an image, where they are folded together, else 1
    width: int  # channels that are folded together: an element of a line
    rows: int  # output rows of a plane
    lines: int  # in all: a line is a row of windows, of `width` channels
    columns: int  # outputs of a line that are made at a time
    pitch: int  # elements from line to line in the workspace
    include_padding: int  # whether means count padding
    empty_is_zero: int  # whether the mean of no elements is 0, else NaN
    divisor: int  # of means, 0 where they are over what windows cover
    is_contiguous: int  # planes are single windows that lie in one piece, evenly spaced
    is_shared: int  # windows of some axis lie at no step, and a line holds a row of the input
    is_short: int  # windows of two or three columns, none only of padded rows


class Plan(NamedTuple):
    """A walk, and the axes that it walks over."""

    walk: Walk
    a0: Axis
    a1: Axis
    a2: Axis


class Share(NamedTuple):
    """Lines of one thread."""

    begin: int
    end: int


class Position(NamedTuple):
    """A line: its plane (image, where channels are folded together), its row on both axes, its first channel."""

    plane: int
    p0: int
    p1: int
    channel: int


class Columns(NamedTuple):
    """Outputs of a line that are made at a time, and the columns of the input under them."""

    first: int  # output
    count: int  # outputs
    start: int  # first column of the input, before it in padding
    span: int  # columns of the input
    left: int  # those that are no padding, from the start: from `left`
    right: int  # to `right`


class Group(NamedTuple):
    """Lines that are stored together, which have one divisor."""

    target: int  # first result
    divisor: int  # taps that their means count along the first two axes
    channels: int
    lines: int


PLAN_WORDS = words_of(Plan)
_GROUP, _ROW, _BLOCK, _WINDOW = (len(cls._fields) for cls in (Group, RowEntry, BlockEntry, WindowEntry))


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
def write_plan(shape, strides, leading, count, a0, a1, a2, item_size, result_size, include_padding, empty_is_zero,
               divisor, numbers):  # fmt: skip
    """Write a `Plan` for three axes, of which the last `count` are those of the window, the others `UNIT`.

    `shape` and `strides`, in bytes, are those of the input, with `leading` axes before them; elements of the input and
    of the result have the two sizes.
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
    channels_last = leading > 0 and s2 != 1 and strides[leading - 1] == item_size and shape[leading - 1] >= 8
    if channels_last and a2.out == 1 and count < 3:
        a0, a1, a2, s0, s1, s2 = a1, a2, UNIT, s1, s2, 0
    reach = min((a2.kernel - 1) * a2.dilation + 1, HUGE)
    channels_last = channels_last and reach * WIDTH <= ROOM
    channels = shape[leading - 1] if channels_last else 1
    width, rows = min(channels, WIDTH), a0.out * a1.out
    planes, regular = 1, leading > 0 and not channels_last
    for a in range(leading - 1):
        regular = regular and strides[a] == shape[a + 1] * strides[a + 1]
    for a in range(leading - 1 if channels_last else leading):
        planes *= shape[a]
    step = strides[leading - 1] // item_size if regular else 0
    columns, span = 1, reach
    if a2.stride == 0:
        columns = max(min(a2.out, ROOM // (2 * width), (ROOM // width - 2) * a2.out // a2.size), 1)
        span = min(columns * a2.size // a2.out + 2, ROOM // width)
    elif a2.out > 1:
        columns = min(a2.out, (ROOM // width - reach) // a2.stride + 1)
        span = (columns - 1) * a2.stride + reach
    vector = VECTOR_BYTES // min(
        item_size, result_size
    )  # at most: what is written past a line must not reach the next one
    pitch = (-(-span * width // vector) + 1) * vector
    contiguous = step != 0 and is_unit(a0) and is_unit(a1) and s2 == 1 and a2.out == 1 and is_one_window(a2)
    short = HAS_MASKS and not channels_last and s2 == 1 and a2.out > 1 and a0.kernel == 1
    short = (
        short and 2 <= a2.kernel <= 3 and 1 <= a2.stride <= 2 and a2.dilation == 1 and meets_all(a0) and meets_all(a1)
    )
    shared = width == 1 and a2.out > 1 and min(a0.stride, a1.stride, a2.stride) == 0
    lines, means = planes * -(-channels // width) * rows, (int(include_padding), int(empty_is_zero), divisor)
    walk = Walk(s0, s1, s2, leading, step, channels, width, rows, lines, columns, pitch, *means, int(contiguous),
                int(shared), int(short))  # fmt: skip
    write_tuple(numbers, 0, Plan(walk, a0, a1, a2))


@plain
def is_unit(axis):
    """Whether an axis has one element, which is a window."""
    return axis.size == 1 and axis.kernel == 1 and axis.out == 1 and axis.before + axis.after == 0


@plain
def is_one_window(axis):
    """Whether a window covers all of an axis and nothing else."""
    return axis.kernel == axis.size and axis.dilation == 1 and axis.before + axis.after == 0


@plain
def joins(first, second, step, inner):
    """Whether two axes are one: windows cover all of the second, whose elements go on from row to row at one step."""
    if max(first.kernel, first.before, first.after) >= HUGE or first.stride == 0 or first.dilation > 1:
        return False
    if second.out > 1:
        return False
    return is_one_window(second) and step == second.size * inner


@plain
def joined(first, second):
    """That axis."""
    n = second.size
    return Axis(first.size * n, first.kernel * n, first.stride * n, 1, first.before * n, first.after * n, 0, first.out)


@plain
def meets_all(axis):
    """Whether every window has an element of the input."""
    first, last = -axis.before, (axis.out - 1) * axis.stride - axis.before
    return axis.dilation == 1 and first + axis.kernel > 0 and last < axis.size and axis.size > 0


@kernel
def plane_offset(x, walk, plane):
    """Offset of a plane's first element."""
    if walk.plane_step != 0:
        return plane * walk.plane_step
    offset = 0
    for a in range(walk.leading - 1, -1, -1):
        plane, i = divmod(plane, x.shape[a])
        offset += i * stride(x, a)
    return offset


@kernel
def clip(axis, p):
    """Of window `p`, the first element that is no padding, and how many there are."""
    if axis.stride == 0:
        begin, end = shared_window(axis, p)
        return begin, end - begin
    i = p * axis.stride - axis.before
    first, last = real_range(i, axis.kernel, axis.dilation, axis.size)
    return i + first * axis.dilation, last - first


@kernel
def count_taps(walk, axis, p):
    """What a mean is divided by, on one axis. That of no elements is 0 / 1 where `empty_is_zero`, else 0 / 0."""
    count = count_padded_axis(axis, p) if walk.include_padding else clip(axis, p)[1]
    return max(count, walk.empty_is_zero)


@kernel
def count_columns(walk, axis, p):
    """What a mean is divided by along the last axis; all of it, where that is the caller's."""
    return walk.divisor if walk.divisor != 0 else count_taps(walk, axis, p)


@kernel
def moved(place, count, step):
    """The place so many steps away."""
    return Place(place.offset + count * step.offset, place.index + count * step.index)


@kernel
def low_bits(count):
    """A word of so many set bits."""
    return np.int64(-1) if count >= 64 else (np.int64(1) << max(count, 0)) - 1


@kernel
def position_of(plan, line):
    """The line of a number."""
    line, block = divmod(line, -(-plan.walk.channels // plan.walk.width))
    plane, row = divmod(line, plan.walk.rows)
    p0, p1 = divmod(row, plan.a1.out)
    return Position(plane, p0, p1, block * WIDTH)


@kernel
def line_after(plan, position, rows):
    """The line after so many rows of one plane and channels."""
    plane, p0, p1, channel = position.plane, position.p0, position.p1 + rows - 1, position.channel + WIDTH
    if channel >= plan.walk.channels:
        channel, p1 = 0, p1 + 1
        if p1 == plan.a1.out:
            p0, p1 = p0 + 1, 0
            if p0 == plan.a0.out:
                plane, p0 = plane + 1, 0
    return Position(plane, p0, p1, channel)


@kernel
def columns_from(plan, first):
    """The block of columns that begins with an output."""
    axis, count = plan.a2, min(plan.walk.columns, plan.a2.out - first)
    if axis.stride == 0:
        start, span = shared_window(axis, first)[0], shared_window(axis, first + count - 1)[1]
        return Columns(first, count, start, span - start, 0, span - start)
    start = first * axis.stride - axis.before
    span = (count - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
    left = min(max(-start, 0), span)
    return Columns(first, count, start, span, left, max(left, min(axis.size - start, span)))


@kernel
def rows_under(plan, clipped0, clipped1):
    """The rows of the input under a line, and where the first begins, from what `clip` says of both axes."""
    walk, a0, a1, plane = plan.walk, plan.a0, plan.a1, plan.a1.size * plan.a2.size
    (i0, n0), (i1, n1) = clipped0, clipped1
    rows = Rows(
        n0 if n1 > 0 else 0,  # none if all is padding
        Place(a0.dilation * walk.s0, a0.dilation * plane),
        n1,
        Place(a1.dilation * walk.s1, a1.dilation * plan.a2.size),
    )
    return rows, Place(i0 * walk.s0 + i1 * walk.s1, i0 * plane + i1 * plan.a2.size)


@kernel
def count_rows(kind, plan, position):
    """What the means of a line are divided by along the first two axes."""
    dissolve()
    if not is_mean(kind) or plan.walk.divisor != 0:
        return 1
    return count_taps(plan.walk, plan.a0, position.p0) * count_taps(plan.walk, plan.a1, position.p1)


@kernel
def pool_planes(kind, arrays, plan, share):
    """Planes that are single windows."""
    taps, step, block = plan.a2.size, plan.walk.plane_step, max(1, LINES // vector_lanes(kind, arrays))
    for j in range(block if is_mean(kind) else 0):
        set_taps(kind, arrays, j, count_columns(plan.walk, plan.a2, 0))
    set_divisors(kind, arrays, block, 1)
    for plane in range(share.begin, share.end, block):
        pool_runs(kind, arrays, plane * step, Windows(min(block, share.end - plane), taps, 1, step), plane)


@kernel
def short_blocks(kind, arrays, plan, columns):
    """Windows of two or three columns in blocks, and the `Table` of these."""
    taps, stride, lanes = plan.a2.kernel, plan.a2.stride, vector_lanes(kind, arrays)
    vectors = stride if (columns.count - 1) * stride + taps > lanes else 1
    count = (vectors * lanes - taps) // stride + 1
    table = Table(scratch_index(arrays.workspace, 8 * COLUMNS), -(-columns.count // count))
    for block in range(table.count):
        start = columns.start + block * count * stride
        first = low_bits(plan.a2.size - start) & ~low_bits(-start)
        second = low_bits(plan.a2.size - start - lanes) & ~low_bits(-start - lanes)
        results = low_bits(min(count, columns.count - block * count))
        write_tuple(table.words, _BLOCK * block, BlockEntry(first, second, results))
    return ShortWindows(taps, stride, vectors, count), table


@kernel
def write_rows(kind, plan, columns, first, rows):
    """Fill the `Table` of rows of windows, which are the same in all planes, from row `first` on."""
    keep_loops()
    for r in range(rows.count):
        p0, p1 = divmod(first + r, plan.a1.out)
        position = Position(0, p0, p1, 0)
        under, place = rows_under(plan, clip(plan.a0, p0), clip(plan.a1, p1))
        divisor = count_rows(kind, plan, position)
        row = RowEntry(place.offset + columns.start, place.index + columns.start, under.n1, divisor)
        write_tuple(rows.words, _ROW * r, row)


@kernel
def rows_alike(rows, first):
    """How many rows from `first` on have its divisor."""
    divisor, end = load_tuple(rows.words, _ROW * first, RowEntry).divisor, first + 1
    while end < rows.count and load_tuple(rows.words, _ROW * end, RowEntry).divisor == divisor:
        end += 1
    return end - first


@kernel
def pool_short(kind, arrays, plan, columns, share):
    """Pool windows of two or three columns in registers.

    LOOP 4: as many planes as the first cache holds, or a part of one plane
    LOOP 3: rows with one divisor; what is below is `pool_in_registers`
    """
    walk, a2, plane_size = plan.walk, plan.a2, plan.a0.size * plan.a1.size * plan.a2.size
    words = scratch_index(arrays.workspace, ROWS)
    windows, blocks = short_blocks(kind, arrays, plan, columns)
    group, near = walk.rows if plane_size <= SMALL_PLANE else 1, max(1, ROOM // plane_size)
    divisor, known, line = -1, (-1, -1), share.begin  # divisors and rows that were written down last
    while line < share.end:
        plane, row = divmod(line, walk.rows)
        count, planes = min(walk.rows - row, share.end - line, ROOM // _ROW), 1
        if count == walk.rows and walk.plane_step != 0:
            planes = min((share.end - line) // count, near)
        rows = Table(words, count)
        if (row, count) != known:
            write_rows(kind, plan, columns, row, rows)
        known, r = (row, count), 0
        while r < count:
            alike, first = rows_alike(rows, r), load_tuple(words, _ROW * r, RowEntry).divisor
            if is_mean(kind) and first != divisor:
                divisor = first
                set_divisors(kind, arrays, columns.count, divisor)
            here = Table(scratch_index(arrays.workspace, ROWS + 8 * _ROW * r), alike)
            source = Planes(plane_offset(arrays.x, walk, plane), walk.plane_step, planes)
            target = Target((line + r) * a2.out + columns.first, a2.out, walk.rows * a2.out)
            pool_in_registers(kind, arrays, windows, here, group, blocks, source, Place(walk.s1, a2.size), target)
            r += alike
        line += planes * count


@kernel
def fold_window(kind, arrays, rows, run, at, lanes):
    """Fold all elements under one window to a vector of so many lanes: a `run` of columns of each of its rows."""
    line, none = Lines(at, 1, 0), Place(0, 0)
    fill(kind, arrays, line, lanes)
    for k0 in range(rows.n0):
        done, count = 0, lanes
        while done < run.count:  # whole vectors of columns lie above each other as rows do, then what is left
            if done + count > run.count:
                count = run.count - done
            chunks = (run.count - done) // lanes if count == lanes else 1
            first = moved(moved(run.first, k0, rows.step0), done, run.step)
            above = Rows(rows.n1, rows.step1, chunks, moved(none, lanes, run.step))
            fold_rows(kind, arrays, Run(first, run.step, count), above, line, none, True)
            done += chunks * count


@kernel
def pool_windows(kind, arrays, plan, columns, position, lines):
    """LOOP 3 where a row of windows is a single one: the line of each is one vector. Returns the next line."""
    dissolve()
    walk, axis, lanes = plan.walk, plan.a2, lines.pitch
    one, windows = Lines(lines.start, 1, lanes), Windows(lines.count, lanes, 1, lanes)
    i2, n2 = clip(axis, columns.first)
    step, number = Place(axis.dilation * walk.s2, axis.dilation), (position.plane * plan.a0.out + position.p0)
    target = Target(number * plan.a1.out + position.p1, 1, 1)
    for j in range(lines.count):
        set_taps(kind, arrays, j, count_rows(kind, plan, position) * count_columns(walk, axis, columns.first))
        rows, first = rows_under(plan, clip(plan.a0, position.p0), clip(plan.a1, position.p1))
        offset = plane_offset(arrays.x, walk, position.plane) + i2 * walk.s2
        run = Run(Place(first.offset + offset, first.index + i2), step, n2)
        fold_window(kind, arrays, rows, run, lines.start + j * lanes, lanes)
        position = line_after(plan, position, one.count)
    set_divisors(kind, arrays, lines.count, 1)
    store_lines(kind, arrays, one, windows, walk.width, walk.width, target)
    return position


@kernel
def fold_lines(kind, arrays, plan, columns, rows, first, lines, channels):
    """Fold the rows under some lines, `first` being the element under their first column; fill what is padding."""
    walk, width = plan.walk, plan.walk.width
    left, right = columns.left, columns.right
    if rows.n0 == 0:
        left = right = columns.span
    runs, count, step, column = 1, right - left, Place(walk.s2, 1), Place(walk.s2, 1)
    if width > 1:  # each element is a run of channels, and runs that touch are one
        runs, count, step = right - left, channels, Place(1, 0)
        if walk.s2 == width == channels and not has_index(kind):
            runs, count = 1, runs * channels
    down = Place(plan.a1.stride * walk.s1, plan.a1.stride * plan.a2.size)
    fill(kind, arrays, lines, left * width)
    for j in range(left, left + runs if left < right else left):
        line = Lines(lines.start + j * width, lines.count, lines.pitch)
        fold_rows(kind, arrays, Run(moved(first, j, column), step, count), rows, line, down, False)
    fill(kind, arrays, Lines(lines.start + right * width, lines.count, lines.pitch), (columns.span - right) * width)


@kernel
def fold_groups(kind, arrays, plan, columns, inner, position, lines):
    """LOOP 3: fold rows. Lines from `position` on are written, and the groups that they are.

    Lines of outputs in `inner` have all their rows in the input: neighbours are folded alike. Returns the next line and
    the number of groups.
    """
    dissolve()
    walk, a1, a2, groups = plan.walk, plan.a1, plan.a2, scratch_index(arrays.workspace, GROUPS)
    g = done = 0
    while done < lines.count:
        count, divisor = 1, count_rows(kind, plan, position)
        if walk.width == 1 and inner[0] <= position.p1 < inner[1]:
            count = min(lines.count - done, inner[1] - position.p1)
        plane = position.plane * walk.channels
        rows, first = rows_under(plan, clip(plan.a0, position.p0), clip(plan.a1, position.p1))
        offset = plane_offset(arrays.x, walk, plane) + position.channel + columns.start * walk.s2
        first = Place(first.offset + offset, first.index + columns.start)
        channels = min(walk.width, walk.channels - position.channel)
        group = Lines(lines.start + done * lines.pitch, count, lines.pitch)
        fold_lines(kind, arrays, plan, columns, rows, first, group, channels)
        row = (plane + position.channel) * walk.rows + position.p0 * a1.out + position.p1
        write_tuple(groups, _GROUP * g, Group(row * a2.out + columns.first, divisor, channels, count))
        g, done = g + 1, done + count
        position = line_after(plan, position, count)
    return position, g


@kernel
def write_windows(arrays, plan, columns):
    """Fill the table of where on a line the windows of an adaptive pool lie."""
    words = scratch_index(arrays.workspace, SHARES)
    for j in range(columns.count):
        begin, end = shared_window(plan.a2, columns.first + j)
        write_tuple(words, _WINDOW * j, WindowEntry(begin - columns.start, end - begin))


@kernel
def fold_channels(kind, arrays, start, windows, width):
    """Fold the columns of a line whose elements are `width` channels to another line, which begins at `COLUMNS`."""
    if windows.stride == 0:
        words = scratch_index(arrays.workspace, SHARES)
        for j in range(windows.count):
            own = load_tuple(words, _WINDOW * j, WindowEntry)
            fold_taps(kind, arrays, COLUMNS + j * width, start + own.first * width, width, own.taps, width)
        return
    runs, count = (1, windows.count * width) if windows.stride == 1 else (windows.count, width)
    for j in range(runs):
        at = start + j * windows.stride * width
        fold_taps(kind, arrays, COLUMNS + j * width, at, count, windows.taps, windows.dilation * width)


@kernel
def double_taps(kind, arrays, lines, windows, width):
    """Fold lines to windows of 2, 4, 8, ... taps, in place; the windows that are left, of two of the last."""
    taps, step, wide = windows.taps, windows.dilation * width, 1
    length = (lines.count - 1) * lines.pitch + (windows.count - 1) * windows.stride * width + (taps - 1) * step + width
    while 2 * wide <= taps:
        length -= wide * step
        fold_taps(kind, arrays, lines.start, lines.start, length, 2, wide * step)
        wide *= 2
    return Windows(windows.count, 2, (taps - wide) * windows.dilation, windows.stride)


@kernel
def store_lines(kind, arrays, lines, windows, width, channels, target):
    """Fold the columns of lines whose elements are `width` channels, and store the first `channels` of these."""
    if width == 1 and windows.stride > SHUFFLED and windows.dilation == 1:
        for r in range(lines.count):
            store_runs(kind, arrays, lines.start + r * lines.pitch, windows, target.start + r * target.line)
        return
    if width == 1 and windows.stride == 0:
        store_windows(kind, arrays, lines, Table(scratch_index(arrays.workspace, SHARES), windows.count), target)
        return
    if windows.taps >= DOUBLED and windows.stride > 0 and not is_mean(kind):
        windows = double_taps(kind, arrays, lines, windows, width)
    if width > 1:  # of one line: columns first, to another line
        fold_channels(kind, arrays, lines.start, windows, width)
        if target.plane > 1:
            store_channels(kind, arrays, COLUMNS, windows.count, width, channels, target)
            return
        lines, windows = Lines(COLUMNS, 1, 0), Windows(channels, 1, 1, 1)
    store_columns(kind, arrays, lines, windows, target)


@kernel
def store_groups(kind, arrays, plan, columns, lines, count, divisor):
    """LOOP 3 again: fold columns, and store. `divisor` was used last; returns the one that was used now."""
    walk, axis, groups = plan.walk, plan.a2, scratch_index(arrays.workspace, GROUPS)
    windows, start = Windows(columns.count, axis.kernel, axis.dilation, axis.stride), lines.start
    for g in range(count):
        group = load_tuple(groups, _GROUP * g, Group)
        if is_mean(kind) and group.divisor != divisor:
            divisor = group.divisor
            set_divisors(kind, arrays, max(columns.count, walk.width), divisor)
        target = Target(group.target, axis.out, walk.rows * axis.out)
        store_lines(kind, arrays, Lines(start, group.lines, lines.pitch), windows, walk.width, group.channels, target)
        start += group.lines * lines.pitch
    return divisor


@kernel
def pool_by_lines(kind, arrays, plan, columns, share):
    """LOOP 4: blocks of lines, folded and stored."""
    is_single = plan.walk.width == 1 and plan.a2.out == 1
    pitch = vector_lanes(kind, arrays) if is_single else plan.walk.pitch
    inner = np.int64(0), np.int64(0)  # rows of windows at no step are folded one by one
    if plan.a1.stride > 0:
        inner = whole_windows(plan.a1, np.int64(0), plan.a1.out)
    position, divisor, line = position_of(plan, share.begin), np.int64(-1), share.begin
    while line < share.end:
        lines = Lines(ROWS, min(max(1, LINES // pitch), share.end - line), pitch)
        if is_single:
            position = pool_windows(kind, arrays, plan, columns, position, lines)
        else:
            position, groups = fold_groups(kind, arrays, plan, columns, inner, position, lines)
            divisor = store_groups(kind, arrays, plan, columns, lines, groups, divisor)
        line += lines.count


@kernel
def pool_across(kind, arrays, plan, columns, share):
    """LOOP 4 where windows lie at no step, with no padding: of some planes at once, rows of one number are a group."""
    walk, a2, divisor, line = plan.walk, plan.a2, np.int64(-1), share.begin
    windows = Windows(columns.count, a2.kernel, a2.dilation, a2.stride)
    most = max(1, min(ROOM, max(LINES, 4 * walk.pitch)) // walk.pitch)
    while line < share.end:
        plane, row = divmod(line, walk.rows)
        count, planes = min(walk.rows - row, share.end - line), 1
        if count == walk.rows and walk.plane_step != 0:
            planes = min((share.end - line) // count, most)
        offset, lines = plane_offset(arrays.x, walk, plane) + columns.start * walk.s2, Lines(ROWS, planes, walk.pitch)
        for r in range(row, row + count):
            p0, p1 = divmod(r, plan.a1.out)
            rows, first = rows_under(plan, clip(plan.a0, p0), clip(plan.a1, p1))
            run = Run(Place(first.offset + offset, first.index + columns.start), Place(walk.s2, 1), columns.span)
            fold_rows(kind, arrays, run, rows, lines, Place(walk.plane_step, 0), False)
            taps = count_rows(kind, plan, Position(plane, p0, p1, 0))
            if is_mean(kind) and taps != divisor:
                divisor = taps
                set_divisors(kind, arrays, columns.count, divisor)
            target = Target((plane * walk.rows + r) * a2.out + columns.first, walk.rows * a2.out, 1)
            store_lines(kind, arrays, lines, windows, 1, 1, target)
        line += planes * count


@kernel
def pool_share(kind, arrays, plan, share):
    """LOOP 5: blocks of columns."""
    keep_loops()
    walk, axis = plan.walk, plan.a2
    for first in range(0, axis.out, walk.columns):
        columns = columns_from(plan, first)
        # Where a plane is one result, those of a line are channels of one window.
        step = 0 if walk.rows * axis.out == 1 else 1
        for j in range(max(columns.count, walk.width) if is_mean(kind) else 0):
            set_taps(kind, arrays, j, count_columns(walk, axis, first + j * step))
        if axis.stride == 0:
            write_windows(arrays, plan, columns)
        if walk.is_contiguous:
            pool_planes(kind, arrays, plan, share)
        elif walk.is_short:
            pool_short(kind, arrays, plan, columns, share)
        elif walk.is_shared:
            pool_across(kind, arrays, plan, columns, share)
        else:
            pool_by_lines(kind, arrays, plan, columns, share)


@kernel
def count_elements(plan):
    """Elements of the input that lines read, each once."""
    walk, a0, a1, a2 = plan.walk, plan.a0, plan.a1, plan.a2
    return walk.lines // walk.rows * walk.width * a0.size * a1.size * a2.size


def pool(kind):
    """The kernel of one kind of pool."""

    def run(x, out, indices, lowest, numbers, workspace, team, threads, thread):
        """All results. `lowest` is the padding's value, `indices` are written by the kinds that have some.

        `numbers` are those of `write_plan`. `threads` share the work, each with `WORKSPACE_BYTES` of the workspace;
        this is number `thread`, 0 the one that calls.
        """
        if threads > 1 and thread == 0:
            threads = open_team(team, (x, out, indices, lowest, numbers, workspace, team, threads), threads)
        plan, own = load_tuple(numbers.data, 0, Plan), part_of(workspace, thread * WORKSPACE_BYTES)
        arrays = Arrays(x, out, indices, lowest, own, scratch(own, TAPS, out), scratch(own, DIVISORS, out))
        shares = 1 if threads == 1 else max(4 * threads, count_elements(plan) // SHARE)
        taken = 0 if shares == 1 else take_item(team)
        while taken < shares:
            lines = plan.walk.lines
            pool_share(kind, arrays, plan, Share(lines * taken // shares, lines * (taken + 1) // shares))
            taken = shares if shares == 1 else take_item(team)
        if threads > 1 and thread == 0:
            close_team(team)
        return True

    run.__name__ = run.__qualname__ = kind
    return entry(run)


average, mean_square = pool("average"), pool("mean_square")
maximum, minimum = pool("maximum"), pool("minimum")
indexed_maximum, indexed_minimum = pool("indexed_maximum"), pool("indexed_minimum")
