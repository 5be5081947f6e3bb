"""Correlation with one output channel, or few, per group: no product is shared between channels, so that input vectors
are shared between rows.

A row tile keeps `ROWS` rows of the output in registers and loads each input vector once for all the kernel rows that
use it. It finds its input rows through a table of addresses, and so has two sources:

    in place  rows side by side in memory. A row outside of the input is one row of fill values, columns outside of it
              are masked lanes.
    packed    a slab in the workspace, for everything else: other boundaries and strides, other storage types

Two phases of a transposed convolution, whose outputs alternate, are summed one after another and stored as one row.

Taps come in rectangles: kernel rows that lie a row of the table apart, and columns. Strides and dilations only
change the rectangles. A single row, such as a signal, is cut into rows of one vector each: its taps become a rectangle
as high as the kernel has vectors.

Threads share blocks of rows of one output plane; a block's sums are the same whoever computes it.
"""

import math
from typing import NamedTuple

from numba import types

from ..jit import entry, inlined, kernel, plain
from ..shapes import (
    CALL_FIELDS,
    CONSTANT,
    HUGE,
    LAST_CLAMP,
    NONE,
    PLAN,
    Axis,
    Call,
    Phase,
    even_part,
    make_all,
    pack_numbers,
    widest_phase,
    words_of,
)
from ..simd.packing import finish_pair
from ..simd.rows import OUTSIDE, ROWS, Finish, Rows, RowTarget, RowWeights, Window, row_tiles
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..strided import (
    Strides,
    address,
    compute_size,
    elements,
    five_strides,
    is_aligned,
    is_plain,
    load,
    load_tuple,
    scratch,
    scratch_index,
    stride,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, phase_axis, source_index, write_tuple
from .activation import bounds, finish_row
from .blocking import DEPTHWISE
from .costs import DEPTHWISE as DEPTHWISE_COSTS
from .costs import phases_of, scale_of, whole_vectors
from .operands import Operand, Operands, ReductionBlock
from .pack import SlabLayout, pack_slab, pack_weights

SLAB_BYTES, TAPS, _COLUMNS = DEPTHWISE.slab_bytes, DEPTHWISE.taps, DEPTHWISE.columns
_ENTRIES, _PLANES, _TURN_MACS = DEPTHWISE.entries, DEPTHWISE.planes, DEPTHWISE.turn_macs
OUTPUTS = 3  # of a group: where there are more, it is worth sharing what is loaded
_SUMS = SLAB_BYTES + 64  # packing writes whole vectors
_WEIGHTS = _SUMS + SLAB_BYTES
_TABLE = _WEIGHTS + 8 * TAPS
_INITIAL = _TABLE + 8 * _ENTRIES
WORKSPACE_BYTES = _INITIAL + 8 * _PLANES
FEW_CHANNELS, MANY_TAPS, LARGE_INPUT = 1, 2, 3  # why a call is refused


class Slab(NamedTuple):
    """A block of an output plane, and its input split into the phases of the strides."""

    out_rows: int
    out_columns: int
    phases1: int
    phases2: int
    rows: int
    pitch: int
    is_line: int  # a single row, cut into rows of a vector each
    rectangles: int  # how many there are


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


_WAYS = 8  # lines that a place in L1 holds, at least
_COUNT = PLAN + Slab._fields.index("rectangles")
_RECTANGLES, _FIELDS = PLAN + words_of(Slab), words_of(Rectangle)
_PHASES, _PHASE_WORDS = _RECTANGLES + _FIELDS, words_of(Phase)
_PAIR_BYTES = 32 << 10  # of the sums of two phases, for L1


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: `FEW_CHANNELS` (or many outputs), `MANY_TAPS` or `LARGE_INPUT`; 0: none."""
    _, a1, a2 = axes
    if call.outputs > OUTPUTS or call.outputs * call.channels == 0:
        return FEW_CHANNELS
    if a1.kernel * a2.kernel > TAPS:
        return MANY_TAPS
    if fits(slab_of(a1, a2, min(ROWS, a1.out), min(a2.out, _COLUMNS)), element.itemsize):  # as almost always
        return 0
    return LARGE_INPUT if choose_slab(a1, a2, element.itemsize).out_rows == 0 else 0


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == FEW_CHANNELS:
        return f"a group has {call.outputs} outputs and {call.channels} channels, expected 1 to {OUTPUTS} and some"
    if refusal == MANY_TAPS:
        return f"a plane of the kernel has more than {TAPS} taps"
    return "the input of a few rows of the output is too large"


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    (a0, a1, a2), costs, scale = axes, DEPTHWISE_COSTS, scale_of(element)
    (phases1, height), (phases2, width) = phases_of(a1), phases_of(a2)
    joined, positions = joins_phases(a1, a2), a1.out * whole_vectors(a2.out, element)
    s1, hop = phase_steps(a1)
    apart1, apart2 = min(s1, a1.kernel), min(phase_steps(a2)[0], a2.kernel)
    rows = -(-a1.kernel // apart1)
    passes = 1 if joined else apart1 * apart2 * (rows if hop > 1 else -(-rows // ROWS))
    plane = costs.plane + positions * a2.kernel * (float(a1.kernel) * costs.mac + passes * costs.load) * scale
    if a1.kernel == 1 and a1.out == 1:
        plane += positions * costs.line * scale
    if a2.stride > 1 and not joined:
        plane += costs.packed_plane + phases1 * phases2 * height * width * costs.packed * scale
    planes = float(call.groups) * float(call.outputs) * float(call.channels) * float(a0.kernel) * float(a0.out)
    return planes * plane


@plain
def phase_steps(axis):
    """How many taps apart those of one phase lie, and how many elements of it."""
    common = math.gcd(axis.stride, axis.dilation)
    return axis.stride // common, axis.dilation // common


@plain
def joins_phases(a1, a2):
    """With strides of 2, one tile does all phases of 3 x 3 or 5 x 5 taps."""
    is_square = (a1.kernel == 3 or a1.kernel == 5) and a1.kernel == a2.kernel
    return is_square and a1.stride == a2.stride == 2 and a1.dilation == a2.dilation == 1


@plain
def plan_words(call, axes, element):
    """How many numbers `write_plan` writes at most, those of the call included."""
    _, a1, a2 = axes
    s1, s2 = phase_steps(a1)[0], phase_steps(a2)[0]
    return _RECTANGLES + _FIELDS * max(min(s1, a1.kernel), 2) * min(s2, a2.kernel)


@plain
def write_plan(call, axes, element, numbers):
    """Write a `Slab` and its `Rectangle`s behind the numbers of the call."""
    _, a1, a2 = axes
    slab = choose_slab(a1, a2, element.itemsize)
    write_tuple(numbers, PLAN, slab)
    if slab.is_line:
        end = write_line_rectangles(a2, slab, VECTOR_BYTES // element.itemsize, numbers)
    else:
        end = write_plane_rectangles(a1, a2, slab, numbers)
    numbers[_COUNT] = (end - _RECTANGLES) // _FIELDS


@plain
def choose_slab(a1, a2, itemsize):
    """The largest block that fits: columns first, then rows; all blocks of about the same size. No rows: none fits."""
    lanes = VECTOR_BYTES // itemsize
    rows, columns = min(ROWS, a1.out), min(a2.out, _COLUMNS)
    while not fits(slab_of(a1, a2, rows, columns), itemsize):
        if columns <= 4 * lanes:
            return slab_of(a1, a2, 0, 0)
        columns = (columns // 2) // lanes * lanes
    columns = even_part(a2.out, columns, lanes)
    while rows < a1.out and fits(slab_of(a1, a2, rows + ROWS, columns), itemsize):
        rows += ROWS
    return slab_of(a1, a2, even_part(a1.out, rows, ROWS), columns)


def phase_numbers(call, axes, element, phases):
    """The numbers of a call that makes all outputs of its last axis, a transposed one, by these phases.

    None: they are not two, or a single row.
    """
    a0, a1, a2 = axes
    widest, itemsize = widest_phase(a2, phases), element.itemsize
    columns = even_part(widest.out, _PAIR_BYTES // itemsize // (2 * ROWS), VECTOR_BYTES // itemsize)
    rows = even_part(a1.out, _PAIR_BYTES // itemsize // (2 * columns), ROWS)
    slab = slab_of(a1, widest, rows, columns)
    if not make_all(a2, phases) or a2.stride != 2 or slab.is_line or not fits(slab, itemsize):
        return None
    numbers = pack_numbers(call, (a0, a1, widest), _PHASES + len(phases) * _PHASE_WORDS)
    write_tuple(numbers, PLAN, slab)
    write_plane_rectangles(a1, widest, slab, numbers)
    end = _PHASES
    for phase in phases:
        end = write_tuple(numbers, end, phase)
    numbers[_COUNT] = 1
    return numbers


@plain
def slab_of(a1, a2, rows, columns):
    """The slab of an output block. What is beyond every limit is cut, so that 64 bits hold products."""
    phases1 = min(a1.stride, (a1.kernel - 1) * a1.dilation + 1, HUGE)
    phases2 = min(a2.stride, (a2.kernel - 1) * a2.dilation + 1, HUGE)
    height = min(rows + (a1.kernel - 1) * a1.dilation // a1.stride, HUGE)
    pitch = min(columns + (a2.kernel - 1) * a2.dilation // a2.stride, HUGE)
    is_line = int(a1.kernel == 1 and a1.out == 1)
    if pitch % 256 == 0 and is_line == 0:  # rows a power of two apart would share few places in L1
        pitch += 16
    return Slab(rows, columns, phases1, phases2, height, pitch, is_line, 0)


@plain
def fits(slab, itemsize):
    """Whether a slab of the input does, and the table of its rows."""
    limit, phases = SLAB_BYTES // itemsize, slab.phases1 * slab.phases2
    rows = slab.pitch // (VECTOR_BYTES // itemsize) + 2 if slab.is_line else slab.phases1 * slab.rows
    return phases <= limit and phases * slab.rows * slab.pitch <= limit and rows <= _ENTRIES


@plain
def write_plane_rectangles(a1, a2, slab, numbers):
    """Taps of one phase of the rows and one of the columns."""
    (s1, hop1), (s2, hop2) = phase_steps(a1), phase_steps(a2)
    end = _RECTANGLES
    for k1 in range(min(s1, a1.kernel)):
        row, phase1 = divmod(k1 * a1.dilation, a1.stride)
        for k2 in range(min(s2, a2.kernel)):
            column, phase2 = divmod(k2 * a2.dilation, a2.stride)
            rectangle = Rectangle(
                entry=phase1 * slab.rows + row,
                column=phase2 * slab.rows * slab.pitch + column,
                rows=(a1.kernel - 1 - k1) // s1 + 1,
                row_step=hop1,
                columns=(a2.kernel - 1 - k2) // s2 + 1,
                hop=hop2,
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
    s2, hop = phase_steps(a2)
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


class Problem(NamedTuple):
    """A call as its plan describes it: three spatial axes, the block, and the numbers that hold the rectangles."""

    call: Call
    a0: Axis
    a1: Axis
    a2: Axis
    slab: Slab
    numbers: types.CPointer


class Buffers(NamedTuple):
    """What the workspace of a thread holds behind the slab, or the row of fill values for input read in place."""

    sums: types.CPointer  # of a block, where tiles cannot write the output
    weights: types.CPointer  # of a plane, converted
    table: types.CPointer  # where the input rows of a block lie
    initial: types.CPointer  # what the sums of each plane begin with


class Method(NamedTuple):
    """How the blocks of a call are computed."""

    is_direct: bool  # tiles write the output, with bias and activation; else sums, from which `finish_row` makes it
    is_dense: bool  # the input's rows hold the compute type, element by element: vectors can be loaded
    in_place: bool  # tiles read the input's rows; else a slab, but for parts of a single row, see `find_source`
    stride: int  # of the tiles: 2 if they do all phases of the input at once
    rectangles: int
    taps: Rectangle  # the only rectangle, if there is one
    low: float
    high: float


class Place(NamedTuple):
    """A block of the output: the first of each, and how many. The next `planes - 1` channels share what it says."""

    n: int
    o: int
    p0: int
    p1: int
    p2: int
    rows: int
    columns: int
    planes: int


class Plane(NamedTuple):
    """A plane of taps, and the plane of the input that it meets."""

    c: int  # of the group's channels
    k0: int
    channel: int
    i0: int  # -1: it is padding


class Source(NamedTuple):
    """Where tiles read the input."""

    rows: Rows
    entry: int  # of the table of rows, for the first output
    column: int  # under the first tap of the first output
    end: int  # of the rows


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1.

    Returns False, nothing written, if a pointer or a stride is misaligned. The numbers of the call are followed by
    those of `write_plan`. `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; `thread` is the
    number of this one, 0 that of the caller.

        LOOP 5  turns: the blocks that a thread takes at a time
        LOOP 4  blocks of an output plane; planes of one block that are read in place go together
        LOOP 3  planes of taps, by channel and first axis. Packed: a slab of the input, for L2, unless tiles read the
                input in place; converted weights, for L1
        LOOP 2  rectangles of the plane's taps
        LOOP 1  a few rows of the rectangle -> row_tiles, which keeps sums in registers
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    a0, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    slab = load_tuple(numbers.data, PLAN, Slab)
    problem = Problem(call, a0, a1, a2, slab, numbers.data)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    buffers = divide_workspace(workspace, w, out)
    method = choose_method(problem, operands)
    prepare_buffers(problem, operands, method, buffers)

    blocks1, blocks2 = -(-a1.out // slab.out_rows), -(-a2.out // slab.out_columns)
    blocks = call.batch * call.groups * call.outputs * a0.out * blocks1 * blocks2
    macs = slab.out_rows * slab.out_columns * call.channels * a0.kernel * a1.kernel * a2.kernel
    blocks_of_turn = max(min(_TURN_MACS // macs, blocks // (4 * threads)), 1) if threads > 1 else blocks
    # Planes of one block and one plane of taps lie evenly apart, and so do their kernels and results.
    planes = call.outputs * call.channels * a0.kernel * a0.out * blocks1 * blocks2
    is_joined = method.in_place and method.is_direct and planes == 1
    table_state = -1, False
    turn = take_item(team) if threads > 1 else 0
    while turn * blocks_of_turn < blocks:  # LOOP 5
        block, end = turn * blocks_of_turn, min((turn + 1) * blocks_of_turn, blocks)
        while block < end:  # LOOP 4
            planes = min(end - block, call.groups - block % call.groups, _PLANES) if is_joined else 1
            place = find_block(problem, block, blocks1, blocks2, planes)
            table_state = correlate_block(problem, operands, method, buffers, place, table_state)
            block += planes
        turn = take_item(team) if threads > 1 else turn + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@entry
def correlate_phases(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`correlate` for two phases of a transposed last axis. Returns False, too, where input cannot be read in place."""
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    a0, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    slab = load_tuple(numbers.data, PLAN, Slab)
    problem = Problem(call, a0, a1, a2, slab, numbers.data)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    part = part_of(workspace, thread * WORKSPACE_BYTES)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, part)
    method = choose_method(problem, operands)
    if not (method.in_place and is_plain(w) and is_plain(out) and outs.s2 == 1):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    buffers = divide_workspace(part, w, out)
    prepare_buffers(problem, operands, method, buffers)
    blocks1, blocks2 = -(-a1.out // slab.out_rows), -(-a2.out // slab.out_columns)
    blocks = call.batch * call.groups * call.outputs * a0.out * blocks1 * blocks2
    macs = 2 * slab.out_rows * slab.out_columns * call.channels * a0.kernel * a1.kernel * a2.kernel
    blocks_of_turn = max(min(_TURN_MACS // macs, blocks // (4 * threads)), 1) if threads > 1 else blocks
    table_state = -1, False
    turn = take_item(team) if threads > 1 else 0
    while turn * blocks_of_turn < blocks:
        for block in range(turn * blocks_of_turn, min((turn + 1) * blocks_of_turn, blocks)):
            place = find_block(problem, block, blocks1, blocks2, 1)
            table_state = correlate_pair(problem, operands, method, buffers, place, table_state)
        turn = take_item(team) if threads > 1 else turn + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@inlined
def correlate_pair(problem, operands, method, buffers, place, table_state):
    """`correlate_block` for two phases: their sums lie one behind the other, and are stored in turns."""
    call, a0, bias, (out, outs), (w, ws) = problem.call, problem.a0, operands.bias, operands.out, operands.w
    buffers.initial[0] = zero(out)
    even = odd = width = 0
    for f in range(2):
        phase = load_tuple(problem.numbers, _PHASES + f * _PHASE_WORDS, Phase)
        b2 = phase_axis(problem.a2, phase)
        of_phase = Problem(call, a0, problem.a1, b2, problem.slab, problem.numbers)
        of_taps = Strides(ws.batch, ws.channel, ws.s0, ws.s1, ws.s2 * phase.tap_step)
        given = Operands(operands.x, Operand(w, of_taps), bias, operands.out, operands.fill, operands.workspace)
        start, columns = f * place.rows * place.columns, max(min(place.columns, phase.out - place.p2), 0)
        target = RowTarget(buffers.sums, start, 0, place.columns, place.rows, columns)
        even, odd = (even, start) if phase.first > 0 else (start, odd)
        width += columns
        for i in range(call.channels * a0.kernel):
            c, k0 = divmod(i, a0.kernel)
            channel = place.o // call.outputs * call.channels + c
            i0 = source_index(place.p0 * a0.stride + k0 * a0.dilation - a0.before, a0.size, a0.boundary)
            if table_state != (place.p1, i0 >= 0):
                table_state = place.p1, i0 >= 0
                find_rows(
                    buffers.table, operands.x.strides, problem.a1, problem.slab, place.p1, compute_size(out), i0 >= 0
                )  # fmt: skip
            plane = Plane(c, k0, channel, i0)
            source = find_source(of_phase, given, method, buffers, place, plane)
            kernel_rows = find_weights(of_phase, given, buffers, place, plane)
            weights = RowWeights(
                kernel_rows.data, kernel_rows.start + phase.tap * ws.s2, ws.batch, kernel_rows.row_step,
                kernel_rows.column_step,
            )  # fmt: skip
            taps = Rectangle(
                0, 0, method.taps.rows, method.taps.row_step, phase.taps, method.taps.hop, 0, 0, 1, 0, 1
            )  # fmt: skip
            finish = Finish(i > 0, buffers.initial, False, method.low, method.high)
            correlate_rectangle(1, 1, source, taps, weights, target, finish)
    added = load(bias, place.o * stride(bias, 0)) if call.has_bias else zero(out)
    where = place.n * outs.batch + place.o * outs.channel + place.p0 * outs.s0 + place.p1 * outs.s1 + 2 * place.p2
    for row in range(place.rows):
        at = row * place.columns
        finish_pair(out, where + row * outs.s1, buffers.sums, even + at, odd + at, width, added)
    return table_state


@kernel
def divide_workspace(workspace, w, out):
    """The parts of a thread's workspace."""
    return Buffers(
        sums=scratch(workspace, _SUMS, out),
        weights=scratch(workspace, _WEIGHTS, w),
        table=scratch_index(workspace, _TABLE),
        initial=scratch(workspace, _INITIAL, out),
    )


@kernel
def choose_method(problem, operands):
    """Which arrays tiles read and write themselves, and with which rectangles of taps."""
    call, a1, a2, out = problem.call, problem.a1, problem.a2, operands.out.array
    low, high = bounds(call, elements(out), out)
    is_direct = is_plain(out) and operands.out.strides.s2 == 1 and call.activation <= LAST_CLAMP
    is_dense = operands.x.strides.s2 == 1 and a2.size < 1 << 30
    # Lanes beside the input are masked, and count as zeros.
    is_maskable = a2.boundary == CONSTANT and load(operands.fill, 0) == zero(out)
    joined = joins_phases(a1, a2)
    in_place = is_dense and (is_maskable or a2.before == 0 == a2.after) and not problem.slab.is_line
    in_place = in_place and (a2.stride == 1 or joined)
    # Rows a multiple of 2 KiB apart share few places in L1, which then holds fewer of them than a kernel meets.
    apart = operands.x.strides.s1 * compute_size(operands.x.array)
    in_place = in_place and (a1.kernel <= _WAYS or apart % 2048 != 0)
    # An input that is converted has the sums that it would have, converted, in place: the same bits.
    joined = joined and in_place and is_plain(out)
    is_dense = is_dense and is_plain(operands.x.array)
    in_place = in_place and is_dense
    if joined:
        taps = Rectangle(0, 0, a1.kernel, 1, a2.kernel, 1, 0, 0, 1, 0, 1)
        return Method(is_direct, is_dense, in_place, 2, 1, taps, low, high)
    taps = load_tuple(problem.numbers, _RECTANGLES, Rectangle)
    return Method(is_direct, is_dense, in_place, 1, problem.slab.rectangles, taps, low, high)


@kernel
def prepare_buffers(problem, operands, method, buffers):
    """Write what all blocks read: a row of fill values or, for slabs, the table of their rows."""
    a2, slab = problem.a2, problem.slab
    if not method.in_place:
        layout = slab_layout(slab, method)
        find_packed_rows(buffers.table, slab, layout, compute_size(operands.out.array), lanes_of(buffers.sums))
        return
    row, padding = scratch(operands.workspace, 0, operands.out.array), load(operands.fill, 0)
    for j in range((slab.out_columns + lanes_of(row)) * a2.stride + (a2.kernel - 1) * a2.dilation):
        row[j] = padding


@kernel
def slab_layout(slab, method):
    """The layout of a packed plane: rows that tiles read as they do in place are not split into phases."""
    phases2 = 1 if method.stride == 2 else slab.phases2
    return SlabLayout(slab.phases1, phases2, slab.rows, slab.phases2 // phases2 * slab.pitch, 0, 0, 0)


@kernel
def find_packed_rows(table, slab, layout, itemsize, lanes):
    """Write down where the rows of a slab lie, or the vectors of a single row, in bytes."""
    if slab.is_line:
        for row in range(slab.pitch // lanes + 2):
            table[row] = row * lanes * itemsize
        return
    for phase in range(slab.phases1):
        for row in range(slab.rows):
            table[phase * slab.rows + row] = (phase * layout.phases2 * slab.rows + row) * layout.pitch * itemsize


@kernel
def find_rows(table, xs, a1, slab, p1, itemsize, is_real):
    """Write down where the input rows of a block from output row `p1` on lie, in bytes from the plane's first element.

    `is_real`: the plane is part of the input, not padding.
    """
    for phase in range(slab.phases1):
        for row in range(slab.rows):
            i1 = source_index((p1 + row) * a1.stride + phase - a1.before, a1.size, a1.boundary)
            table[phase * slab.rows + row] = i1 * xs.s1 * itemsize if is_real and i1 >= 0 else OUTSIDE


@kernel
def find_block(problem, block, blocks1, blocks2, planes):
    """The place of a block: its number counts images, then outputs, then positions along each axis."""
    call, a0, slab = problem.call, problem.a0, problem.slab
    rest, b2 = divmod(block, blocks2) if blocks2 > 1 else (block, 0)
    rest, b1 = divmod(rest, blocks1) if blocks1 > 1 else (rest, 0)
    rest, p0 = divmod(rest, a0.out) if a0.out > 1 else (rest, 0)
    n, o = divmod(rest, call.groups * call.outputs)
    p1, p2 = b1 * slab.out_rows, b2 * slab.out_columns
    rows, columns = min(slab.out_rows, problem.a1.out - p1), min(slab.out_columns, problem.a2.out - p2)
    return Place(n, o, p0, p1, p2, rows, columns, planes)


@inlined
def correlate_block(problem, operands, method, buffers, place, table_state):
    """Correlate a block of the output.

    `table_state` says which rows the table of rows in place holds: the output row that the first of them belong to, and
    whether their plane is part of the input. Returned is the state after the block.
    """
    call, a0, slab, bias, (out, outs) = problem.call, problem.a0, problem.slab, operands.bias, operands.out
    where = place.n * outs.batch + place.o * outs.channel + place.p0 * outs.s0 + place.p1 * outs.s1 + place.p2 * outs.s2
    data, start, pitch = (elements(out), where, outs.s1) if method.is_direct else (buffers.sums, 0, place.columns)
    if slab.is_line:
        pitch = lanes_of(buffers.sums)
    target = RowTarget(data, start, outs.channel, pitch, place.rows, place.columns)
    bias_where = place.o * stride(bias, 0)
    for i in range(place.planes):
        has_bias = call.has_bias and method.is_direct
        buffers.initial[i] = load(bias, bias_where + i * stride(bias, 0)) if has_bias else zero(out)
    planes, has_depth = call.channels * a0.kernel, a0.size > 1 or a0.out > 1 or a0.kernel > 1 or a0.before > 0
    for i in range(planes):  # LOOP 3
        c, k0 = divmod(i, a0.kernel) if a0.kernel > 1 else (i, 0)
        channel = (place.o // call.outputs if call.outputs > 1 else place.o) * call.channels + c
        i0 = 0
        if has_depth:
            i0 = source_index(place.p0 * a0.stride + k0 * a0.dilation - a0.before, a0.size, a0.boundary)
        plane = Plane(c, k0, channel, i0)
        if method.in_place and table_state != (place.p1, i0 >= 0):
            table_state = place.p1, i0 >= 0
            find_rows(buffers.table, operands.x.strides, problem.a1, slab, place.p1, compute_size(out), i0 >= 0)
        source = find_source(problem, operands, method, buffers, place, plane)
        weights = find_weights(problem, operands, buffers, place, plane)
        is_clamped = method.is_direct and call.activation != NONE and i + 1 == planes
        finish = Finish(i > 0, buffers.initial, is_clamped, method.low, method.high)
        correlate_plane(problem, method, place.planes, source, weights, target, finish)
    if not method.is_direct:
        for row in range(place.rows):
            finish_row(
                out, where + row * outs.s1, outs.s2, place.columns,
                buffers.sums, row * place.columns, bias, bias_where, call,
            )  # fmt: skip
    return table_state


@inlined
def find_source(problem, operands, method, buffers, place, plane):
    """Where the tiles of a block read a plane of the input: in place, or from the slab, which is then packed."""
    a0, a1, a2, slab = problem.a0, problem.a1, problem.a2, problem.slab
    (x, xs), itemsize = operands.x, compute_size(operands.out.array)
    column, in_place = place.p2 * a2.stride - a2.before, method.in_place
    base = address(x) + (place.n * xs.batch + plane.channel * xs.channel + plane.i0 * xs.s0) * itemsize
    if slab.is_line:  # its vectors may lie anywhere: they are read in place where no padding is met
        i1 = source_index(place.p1 * a1.stride - a1.before, a1.size, a1.boundary)
        last = column + place.columns + (a2.kernel - 1) * a2.dilation
        is_inside = plane.i0 >= 0 and i1 >= 0 and column >= 0 and last <= a2.size
        in_place = method.is_dense and a2.stride == 1 and is_inside
        base += (i1 * xs.s1 + column) * itemsize
    if not in_place:
        step = a2.stride // method.stride
        b2 = Axis(a2.size, a2.kernel, step, a2.dilation, a2.before, a2.after, a2.boundary, a2.out)
        first = place.n, plane.channel, place.p0, place.p1, place.p2 * method.stride
        terms = ReductionBlock(plane.c, 1, plane.k0, 1, 0, a1.kernel, 0, a2.kernel)
        layout = slab_layout(slab, method)
        pack_slab(operands.x, operands.fill, operands.workspace, (a0, a1, b2), layout, first, terms)
        base = address(operands.workspace)
    # In place, columns are counted as those of the input, in the row of fill values, too.
    padding = address(operands.workspace) - max(column, 0) * itemsize
    rows = Rows(buffers.table, slab.rows, base, xs.channel * itemsize, padding)
    if method.in_place:
        return Source(rows, 0, column, a2.size)
    return Source(rows, 0, 0, 1 << 30)


@kernel
def find_weights(problem, operands, buffers, place, plane):
    """Where the weights of a plane of taps lie; those of another type than the compute type are converted first."""
    call, a0, a1, a2, (w, ws) = problem.call, problem.a0, problem.a1, problem.a2, operands.w
    if not is_plain(w):
        terms = ReductionBlock(plane.c, 1, plane.k0, 1, 0, a1.kernel, 0, a2.kernel)
        pack_weights(operands.w, buffers.weights, call, (a0, a1, a2), terms, place.o, 1)
        return RowWeights(buffers.weights, 0, ws.batch, a2.kernel, 1)
    start, s0, s1, s2 = place.o * ws.batch + plane.c * ws.channel, ws.s0, ws.s1, ws.s2
    if call.flip:  # from the last tap on, backwards
        start += (a0.kernel - 1) * s0 + (a1.kernel - 1) * s1 + (a2.kernel - 1) * s2
        s0, s1, s2 = -s0, -s1, -s2
    return RowWeights(elements(w), start + plane.k0 * s0, ws.batch, s1, s2)


@inlined
def correlate_plane(problem, method, planes, source, weights, target, finish):
    """Add the products of a plane of taps, in so many planes of the output."""
    for i in range(method.rectangles):  # LOOP 2
        taps = method.taps
        if method.rectangles > 1:
            taps = load_tuple(problem.numbers, _RECTANGLES + i * _FIELDS, Rectangle)
        is_clamped = finish.is_clamped and i + 1 == method.rectangles
        ends = Finish(finish.accumulate or i > 0, finish.initial, is_clamped, finish.low, finish.high)
        for part in range(2 if problem.slab.is_line else 1):
            part_source, part_target = source, target
            if problem.slab.is_line:
                part_source, part_target = split_line(source, target, taps, part)
            correlate_rectangle(method.stride, planes, part_source, taps, weights, part_target, ends)


@kernel
def split_line(source, target, taps, part):
    """A part of a single row: 0 is its whole vectors, each a row of its own, and 1 what is left of the last one."""
    lanes = lanes_of(target.data)
    first, rows, columns = 0, target.columns // lanes, lanes
    if part == 1:
        first, rows, columns = rows, 1, target.columns % lanes
    end = taps.column + (taps.columns - 1) * taps.hop + columns
    part_target = RowTarget(target.data, target.start + first * lanes, target.plane_step, lanes, rows, columns)
    return Source(source.rows, source.entry + first, source.column, end), part_target


@inlined
def correlate_rectangle(tile_stride, planes, source, taps, weights, target, finish):
    """Add the products of a rectangle of taps, in so many planes of the output."""
    start = weights.start + taps.k1 * weights.row_step + taps.k2 * weights.column_step
    row_step = taps.row1 * weights.row_step + taps.row2 * weights.column_step
    column_step = taps.column2 * weights.column_step
    k = 0
    while k < taps.rows:  # LOOP 1
        few = 1
        if taps.row_step == 1:
            left = taps.rows - k
            few = left if left <= 3 else 3 if left == 4 else 5 if left <= 6 else 7
        entry = source.entry + taps.entry + k * taps.row_step
        is_clamped = finish.is_clamped and k + few == taps.rows
        row_tiles(
            few,
            tile_stride,
            planes,
            source.rows,
            Window(entry, source.column + taps.column, source.end, taps.columns, taps.hop),
            RowWeights(weights.data, start + k * row_step, weights.plane_step, row_step, column_step),
            target,
            Finish(finish.accumulate or k > 0, finish.initial, is_clamped, finish.low, finish.high),
        )
        k += few
