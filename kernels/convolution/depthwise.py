"""Correlation with one output channel, or few, per group: no product is shared between channels, so that input vectors
are shared between rows.

A row tile keeps `ROWS` rows of the output in registers and loads each input vector once for all the kernel rows that
use it. It finds its input rows through a table of addresses, and so has two sources:

    in place  rows side by side in memory. A row outside of the input is one row of fill values, columns outside of it
              are masked lanes.
    packed    a slab in the workspace, for everything else: other boundaries and strides, other storage types

Taps come in rectangles: kernel rows that lie a row of the table apart, and columns. Strides and dilations only
change the rectangles. A single row, such as a signal, is cut into rows of one vector each: its taps become a rectangle
as high as the kernel has vectors.

Threads share blocks of rows of one output plane; a block's sums are the same whoever computes it.
"""

import math
from typing import NamedTuple

from ..jit import entry, kernel, plain
from ..simd.rows import OUTSIDE, ROWS, row_tiles
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..strided import (
    address,
    compute_size,
    elements,
    five_strides,
    is_plain,
    is_whole,
    load,
    load_tuple,
    scratch,
    scratch_index,
    stride,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import (
    AXIS_FIELDS,
    CALL_FIELDS,
    CONSTANT,
    HUGE,
    even_part,
    load_axes,
    load_call,
    source_index,
    write_tuple,
)
from .activation import NONE, RELU6, bounds, finish_row
from .blocking import DEPTHWISE
from .operands import Operand, ReductionBlock
from .pack import SlabLayout, pack_slab, pack_weights

SLAB_BYTES, TAPS, _COLUMNS = DEPTHWISE.slab_bytes, DEPTHWISE.taps, DEPTHWISE.columns
_ENTRIES, _PLANES, _TURN_MACS = DEPTHWISE.entries, DEPTHWISE.planes, DEPTHWISE.turn_macs
OUTPUTS = 3  # of a group: where there are more, it is worth sharing what is loaded
_SUMS = SLAB_BYTES + 64  # packing writes whole vectors
_WEIGHTS = _SUMS + SLAB_BYTES
_TABLE = _WEIGHTS + 8 * TAPS
_INITIAL = _TABLE + 8 * _ENTRIES
WORKSPACE_BYTES = _INITIAL + 8 * _PLANES
_SLAB = CALL_FIELDS + 3 * AXIS_FIELDS  # where the numbers of a plan begin


class Slab(NamedTuple):
    """A block of an output plane, and its input split into the phases of the strides; what packing needs besides."""

    out_rows: int
    out_columns: int
    phases1: int
    phases2: int
    rows: int
    pitch: int
    is_line: int  # a single row, cut into rows of a vector each
    rectangles: int
    channels: int
    k0: int
    k1: int
    k2: int


class Rectangle(NamedTuple):
    """Taps whose rows lie `row_step` entries of the table apart, and whose columns `hop` elements.

    `k1, k2` is the first one; `row1, row2` and `column2` are what leads to the next row and column of taps.
    """

    entry: int
    column: int
    rows: int
    row_step: int
    columns: int
    hop: int
    k1: int
    k2: int
    row1: int
    row2: int
    column2: int


_COUNT = _SLAB + Slab._fields.index("rectangles")
_RECTANGLES, _FIELDS = _SLAB + len(Slab._fields), len(Rectangle._fields)


# ---- what is known before the arrays are: plain Python


@plain
def plan_words(a1, a2):
    """How many numbers `write_plan` writes at most, those of the call included; 0: too many taps."""
    if a1.kernel * a2.kernel > TAPS:
        return 0
    s1, s2 = a1.stride // math.gcd(a1.stride, a1.dilation), a2.stride // math.gcd(a2.stride, a2.dilation)
    return _RECTANGLES + _FIELDS * max(min(s1, a1.kernel), 2) * min(s2, a2.kernel)


@plain
def write_plan(call, a0, a1, a2, size, numbers):
    """Write a `Slab` and its `Rectangle`s behind the numbers of the call; where they end, or 0: no few rows fit."""
    slab = choose_slab(a1, a2, size)
    if slab.out_rows == 0:
        return 0
    write_tuple(numbers, _SLAB, slab)
    if slab.is_line:
        end = write_line_rectangles(a2, slab, VECTOR_BYTES // size, numbers)
    else:
        end = write_plane_rectangles(a1, a2, slab, numbers)
    numbers[_COUNT] = (end - _RECTANGLES) // _FIELDS
    return end


@plain
def choose_slab(a1, a2, size):
    """The largest block that fits: columns first, then rows; all blocks of about the same size. No rows: none fits."""
    lanes = VECTOR_BYTES // size
    rows, columns = min(ROWS, a1.out), min(a2.out, _COLUMNS)
    while not fits(slab_of(a1, a2, rows, columns), size):
        if columns <= 4 * lanes:
            return slab_of(a1, a2, 0, 0)
        columns = (columns // 2) // lanes * lanes
    columns = even_part(a2.out, columns, lanes)
    while rows < a1.out and fits(slab_of(a1, a2, rows + ROWS, columns), size):
        rows += ROWS
    return slab_of(a1, a2, even_part(a1.out, rows, ROWS), columns)


@plain
def slab_of(a1, a2, rows, columns):
    """The slab of an output block. What is beyond every limit is cut, so that 64 bits hold products."""
    phases1 = min(a1.stride, (a1.kernel - 1) * a1.dilation + 1, HUGE)
    phases2 = min(a2.stride, (a2.kernel - 1) * a2.dilation + 1, HUGE)
    height = min(rows + (a1.kernel - 1) * a1.dilation // a1.stride, HUGE)
    pitch = min(columns + (a2.kernel - 1) * a2.dilation // a2.stride, HUGE)
    is_line = int(a1.kernel == 1 and a1.out == 1)
    return Slab(rows, columns, phases1, phases2, height, pitch, is_line, 0, 1, 1, a1.kernel, a2.kernel)


@plain
def fits(slab, size):
    """Whether a slab of the input does, and the table of its rows."""
    limit, phases = SLAB_BYTES // size, slab.phases1 * slab.phases2
    rows = slab.pitch // (VECTOR_BYTES // size) + 2 if slab.is_line else slab.phases1 * slab.rows
    return phases <= limit and phases * slab.rows * slab.pitch <= limit and rows <= _ENTRIES


@plain
def write_plane_rectangles(a1, a2, slab, numbers):
    """Taps of one phase of the rows and one of the columns."""
    g1, g2 = math.gcd(a1.stride, a1.dilation), math.gcd(a2.stride, a2.dilation)
    s1, s2 = a1.stride // g1, a2.stride // g2
    end = _RECTANGLES
    for k1 in range(min(s1, a1.kernel)):
        row, phase1 = divmod(k1 * a1.dilation, a1.stride)
        for k2 in range(min(s2, a2.kernel)):
            column, phase2 = divmod(k2 * a2.dilation, a2.stride)
            rectangle = Rectangle(
                entry=phase1 * slab.rows + row,
                column=phase2 * slab.rows * slab.pitch + column,
                rows=(a1.kernel - 1 - k1) // s1 + 1,
                row_step=a1.dilation // g1,
                columns=(a2.kernel - 1 - k2) // s2 + 1,
                hop=a2.dilation // g2,
                k1=k1,
                k2=k2,
                row1=s1,
                row2=0,
                column2=s2,
            )
            end = write_tuple(numbers, end, rectangle)
    return end


@plain
def write_line_rectangles(a2, slab, lanes, numbers):
    """Taps of one phase of a single row that is cut into rows of `lanes`: those that lie whole rows apart."""
    g2 = math.gcd(a2.stride, a2.dilation)
    s2, hop = a2.stride // g2, a2.dilation // g2
    apart = lanes // math.gcd(lanes, hop)
    end = _RECTANGLES
    for first in range(min(s2, a2.kernel)):
        column, phase2 = divmod(first * a2.dilation, a2.stride)
        rows, rest = divmod((a2.kernel - 1 - first) // s2 + 1, apart)
        for begin, stop, height in ((0, rest, rows + 1), (rest, apart, rows)):
            if begin < stop and height > 0:
                rectangle = Rectangle(
                    entry=0,
                    column=phase2 * slab.pitch + column + begin * hop,
                    rows=height,
                    row_step=apart * hop // lanes,
                    columns=stop - begin,
                    hop=hop,
                    k1=0,
                    k2=first + begin * s2,
                    row1=0,
                    row2=apart * s2,
                    column2=s2,
                )
                end = write_tuple(numbers, end, rectangle)
    return end


# ---- kernels


@kernel
def find_rows(table, xs, a1, slab, p1, size, is_real):
    """Where the input rows of a block lie, in bytes from their plane's first element, if it `is_real`."""
    for phase in range(slab.phases1):
        for row in range(slab.rows):
            i1 = source_index((p1 + row) * a1.stride + phase - a1.before, a1.size, a1.boundary)
            table[phase * slab.rows + row] = i1 * xs.s1 * size if is_real and i1 >= 0 else OUTSIDE


@kernel
def find_packed_rows(table, slab, size, lanes):
    """Where the rows of a slab lie, or the vectors of a single row, in bytes."""
    if slab.is_line:
        for row in range(slab.pitch // lanes + 2):
            table[row] = row * lanes * size
        return
    for phase in range(slab.phases1):
        for row in range(slab.rows):
            table[phase * slab.rows + row] = (phase * slab.phases2 * slab.rows + row) * slab.pitch * size


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1. False: an array is not whole.

    The numbers of the call are followed by those of `write_plan`.
    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; `thread` is which one this is, 0 who calls.
    """
    call = load_call(numbers.data)
    if not (is_whole(x, call.rank + 2) and is_whole(w, call.rank + 2) and is_whole(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    a0, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    slab = load_tuple(numbers.data, _SLAB, Slab)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    sums, size = scratch(workspace, _SUMS, out), compute_size(out)
    lanes = lanes_of(sums)
    table, initial = scratch_index(workspace, _TABLE), scratch(workspace, _INITIAL, out)
    padding, slab_address = load(fill, 0), address(workspace)
    low, high = bounds(call, sums, out)
    is_direct = is_plain(out) and outs.s2 == 1 and call.activation <= RELU6
    dense = is_plain(x) and xs.s2 == 1 and a2.size < 1 << 30
    inner = (a2.boundary == CONSTANT and padding == zero(out)) or (a2.before == 0 and a2.after == 0)
    # With steps of 2, one tile does all phases of 3 x 3 or 5 x 5 taps.
    both = (
        (a1.kernel == 3 or a1.kernel == 5)
        and a1.kernel == a2.kernel
        and a1.stride == a2.stride == 2
        and a1.dilation == a2.dilation == 1
    )
    in_place = dense and inner and (a2.stride == 1 or both) and not slab.is_line
    step = 2 if both and in_place else 1
    count = slab.rectangles if step == 1 else 1
    taps = load_tuple(numbers.data, _RECTANGLES, Rectangle)
    if step == 2:
        taps = Rectangle(0, 0, a1.kernel, 1, a2.kernel, 1, 0, 0, 1, 0, 1)
    planes, has_planes = call.channels * a0.kernel, a0.size > 1 or a0.out > 1 or a0.kernel > 1
    is_held = is_direct and call.activation != NONE
    w0, w1, w2 = ws.s0, ws.s1, ws.s2
    if not is_plain(w):
        w0, w1, w2 = 0, a2.kernel, 1
    elif call.flip:
        w0, w1, w2 = -w0, -w1, -w2
    corner = -(a0.kernel - 1) * w0 - (a1.kernel - 1) * w1 - (a2.kernel - 1) * w2 if call.flip else 0
    if in_place:
        filled = scratch(workspace, 0, out)
        for j in range((slab.out_columns + lanes) * a2.stride + (a2.kernel - 1) * a2.dilation):
            filled[j] = padding
    else:
        find_packed_rows(table, slab, size, lanes)
    known = -1, False  # the first output row whose input rows the table holds, and whether their plane is real
    blocks1, blocks2 = -(-a1.out // slab.out_rows), -(-a2.out // slab.out_columns)
    blocks = call.batch * call.groups * call.outputs * a0.out * blocks1 * blocks2
    macs = slab.out_rows * slab.out_columns * planes * a1.kernel * a2.kernel
    size_of_turn = max(min(_TURN_MACS // macs, blocks // (4 * threads)), 1) if threads > 1 else blocks
    turn = take_item(team) if threads > 1 else 0
    # Planes that are read in place, one for each output, lie evenly apart, and so do their kernels and results.
    together = in_place and is_direct and call.outputs * planes * a0.out * blocks1 * blocks2 == 1
    while turn * size_of_turn < blocks:
        block, end = turn * size_of_turn, min((turn + 1) * size_of_turn, blocks)
        while block < end:
            run = min(end - block, call.groups - block % call.groups, _PLANES) if together else 1
            rest, b2 = divmod(block, blocks2) if blocks2 > 1 else (block, 0)
            rest, b1 = divmod(rest, blocks1) if blocks1 > 1 else (rest, 0)
            rest, p0 = divmod(rest, a0.out) if a0.out > 1 else (rest, 0)
            n, o = divmod(rest, call.groups * call.outputs)
            p1, p2 = b1 * slab.out_rows, b2 * slab.out_columns
            rows, columns = min(slab.out_rows, a1.out - p1), min(slab.out_columns, a2.out - p2)
            where = n * outs.batch + o * outs.channel + p0 * outs.s0 + p1 * outs.s1 + p2 * outs.s2
            target, to, pitch = (elements(out), where, outs.s1) if is_direct else (sums, 0, columns)
            if slab.is_line:
                pitch = lanes
            bias_where = o * stride(bias, 0)
            for i in range(run):
                initial[i] = load(bias, bias_where + i * stride(bias, 0)) if call.has_bias and is_direct else zero(out)
            column = p2 * a2.stride - a2.before
            for plane in range(planes):
                c, k0 = divmod(plane, a0.kernel) if a0.kernel > 1 else (plane, 0)
                channel = (o // call.outputs if call.outputs > 1 else o) * call.channels + c
                i0 = 0
                if has_planes:
                    i0 = source_index(p0 * a0.stride + k0 * a0.dilation - a0.before, a0.size, a0.boundary)
                terms = ReductionBlock(c, 1, k0, 1, 0, a1.kernel, 0, a2.kernel)
                base = address(x) + (n * xs.batch + channel * xs.channel + i0 * xs.s0) * size
                if is_plain(w):
                    weights, at = elements(w), o * ws.batch + c * ws.channel + k0 * w0 + corner
                else:
                    weights, at = scratch(workspace, _WEIGHTS, w), 0
                    pack_weights(Operand(w, ws), weights, call, (a0, a1, a2), terms, o, 1)

                is_read = in_place
                if slab.is_line:
                    i1 = source_index(p1 * a1.stride - a1.before, a1.size, a1.boundary)
                    last = column + columns + (a2.kernel - 1) * a2.dilation
                    is_read = dense and a2.stride == 1 and i0 >= 0 and i1 >= 0 and column >= 0 and last <= a2.size
                    base += (i1 * xs.s1 + column) * size
                if not is_read:
                    layout = SlabLayout(slab.phases1, slab.phases2, slab.rows, slab.pitch, 0, 0, 0)
                    first = n, channel, p0, p1, p2
                    pack_slab(Operand(x, xs), fill, workspace, (a0, a1, a2), layout, first, terms)
                    base = slab_address
                if in_place and known != (p1, i0 >= 0):
                    known = p1, i0 >= 0
                    find_rows(table, xs, a1, slab, p1, size, i0 >= 0)
                padded = slab_address - max(column, 0) * size  # columns are counted as those of the input

                for i in range(count):
                    if count > 1:
                        taps = load_tuple(numbers.data, _RECTANGLES + i * _FIELDS, Rectangle)
                    is_last = plane + 1 == planes and i + 1 == count
                    w_start = at + taps.k1 * w1 + taps.k2 * w2
                    w_row, w_column = taps.row1 * w1 + taps.row2 * w2, taps.column2 * w2
                    for part in range(2 if slab.is_line else 1):
                        top, height, width, first_column, end_column = 0, rows, columns, 0, 1 << 30
                        if slab.is_line:  # whole vectors, then what is left of the last one
                            top, height, width = 0, columns // lanes, lanes
                            if part == 1:
                                top, height, width = height, 1, columns % lanes
                            end_column = taps.column + (taps.columns - 1) * taps.hop + width
                        elif in_place:
                            first_column, end_column = column, a2.size
                        k = 0
                        while k < taps.rows:  # a few kernel rows at a time
                            few = 1
                            if taps.row_step == 1:
                                left = taps.rows - k
                                few = left if left <= 3 else 3 if left == 4 else 5 if left <= 6 else 7
                            row_tiles(
                                few, step, run, table, top + taps.entry + k * taps.row_step, slab.rows,
                                base, xs.channel * size, padded,
                                first_column + taps.column, end_column, taps.columns, taps.hop,
                                weights, w_start + k * w_row, ws.batch, w_row, w_column,
                                target, to + top * lanes, outs.channel, pitch, height, width,
                                plane + i + k > 0, initial, is_held and is_last and k + few == taps.rows, low, high,
                            )  # fmt: skip
                            k += few
            if not is_direct:
                for row in range(rows):
                    finish_row(
                        out, where + row * outs.s1, outs.s2, columns, sums, row * columns, bias, bias_where, call
                    )
            block += run
        turn = take_item(team) if threads > 1 else turn + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True
