"""Large kernels over planes and long signals: overlap-save, products of the spectra of blocks with those of kernels.

For each block of the output (of one image and output channel; two blocks at a time, see below):

    pack       the block's input, from any strides, into a matrix whose size has good factors; the boundary rule applied
    columns    transforms along columns, lanes across neighbouring columns
    rows       groups of rows, transposed so that lanes run across them: transformed, multiplied with the kernel's
               spectrum, transformed back and transposed again while they are in L1
    columns    transformed back
    store      bias, activation and the copy of the valid results to the output's strides

Real kernels keep real and imaginary parts apart: two blocks of real numbers are the parts of one complex block. A signal
is cut into rows of a matrix, too: its transform differs from that of a plane by factors between columns and rows
(Bailey, "FFTs in External or Hierarchical Memory", 1990). Terms of a sum, channels and taps of the first axis, are added
up in the spectrum. The spectra of a kernel are kept for all blocks of its output channel if they fit the workspace.
"""

from typing import Any, NamedTuple

from ..fft import PASS_WORDS, Passes, Place, forward, frequency, inverse, root, write_passes
from ..jit import entry, inlined, kernel, overload, plain
from ..shapes import AUTO, CALL_FIELDS, CONSTANT, HUGE, PLAN, Axis, words_of
from ..simd.fft import Squares, multiply, transpose_squares, turn
from ..simd.packing import finish_run
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..strided import (
    five_strides,
    is_aligned,
    load,
    load_tuple,
    scratch,
    scratch_index,
    scratch_parts,
    stride,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, source_index, write_tuple
from .activation import finish_row
from .direct import store_row
from .operands import Operand, Operands
from .pack import Run, columns_inside, pack_border, pack_row, tap_index

WORKSPACE_BYTES = 4 << 20

# Lengths of columns and rows that blocks are chosen from.
SIZES = (
    16, 24, 32, 40, 48, 64, 72, 80, 96, 108, 120, 128, 144, 160, 180, 192, 216, 240, 256, 288, 320, 360, 384, 400, 432,
    480, 512,
)  # fmt: skip
_LINE = 64  # bytes of a cache line
SHORTEST = 225  # taps: of fewer, direct sums take less time
TOO_SHORT, TOO_LONG, MANY_CHANNELS = 1, 2, 3


class Plan(NamedTuple):
    """How a call is cut into blocks."""

    is_line: int  # blocks are pieces of rows, each cut into a matrix
    rows: int  # of a block's matrix
    columns: int
    out_rows: int  # of a block's outputs
    out_columns: int
    blocks1: int
    blocks2: int
    spectra: int  # of an output channel's kernel, that are kept; fewer than there are: one, which is made each time


class Areas(NamedTuple):
    """Where things lie in a workspace, in elements of a part; and what of the plan follows the vectors' width."""

    pitch: int  # from the real parts of a row to the imaginary ones, then to the next row
    all_rows: int  # rounded up to whole vectors, as all columns
    all_columns: int
    sums: int  # the first of all is the matrix
    buffer: int
    twiddles: int
    fine: int
    coarse: int
    words: int  # in bytes
    spectra: int
    spectrum: int  # elements of a spectrum


# ---- what is known before the arrays are: plain Python


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return PLAN + words_of(Plan)


@plain
def refuses(call, axes, element):
    """A reason of `TOO_SHORT`, ..., or 0. Asked for by name, all is taken that fits."""
    a0, a1, a2 = axes
    if call.algorithm == AUTO:
        if call.channels * a0.kernel > 1:
            return MANY_CHANNELS
        if a1.kernel * a2.kernel < SHORTEST:
            return TOO_SHORT
    if reach_of(a1) > SIZES[-1] // 2 or (reach_of(a2) > SIZES[-1] // 2 and not is_line(axes)):
        return TOO_LONG
    return TOO_LONG if choose_plan(call, axes, element).rows == 0 else 0


def reason(refusal, call, axes, element):
    """Why this family does not run a call, in words."""
    if refusal == MANY_CHANNELS:
        return "sums have several channels or planes, expected one"
    if refusal == TOO_SHORT:
        return f"the kernel has {axes[1].kernel * axes[2].kernel} taps in a plane, expected {SHORTEST} or more"
    return f"the kernel has {axes[1].kernel} x {axes[2].kernel} taps in a plane, with dilation too many for a block"


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    write_tuple(numbers, PLAN, choose_plan(call, axes, element))


@plain
def is_line(axes):
    """Whether the kernel has taps along the last axis only."""
    return axes[0].kernel == 1 and axes[1].kernel == 1


@plain
def reach_of(axis):
    """From the first tap of a window to the last, both included."""
    return min((axis.kernel - 1) * axis.dilation + 1, HUGE)


@plain
def outputs_in(size, axis):
    """Outputs that a block of so many inputs has."""
    reach = reach_of(axis)
    return min((size - reach) // axis.stride + 1, axis.out) if size >= reach else 0


@plain
def block_cost(rows, columns):
    """What a block takes, in units of an operation on an element, about: transforms, and all that is done once."""
    twos, size = 0, rows * columns
    while size > 1:
        size, twos = size // 2, twos + 1
    return rows * columns * (2 * twos + 20)


@plain
def choose_plan(call, axes, element):
    """The sizes of blocks that take least, the spectrum of the kernel included. No rows: there are none that fit."""
    a0, a1, a2 = axes
    part = element.itemsize // (2 if element.is_complex else 1)
    most = (1 << 19) // part
    together = 1 if element.is_complex else 2
    line = is_line(axes)
    best, best_cost = Plan(0, 0, 0, 0, 0, 0, 0, 0), 0
    for rows in SIZES:
        for columns in SIZES:
            if rows * columns > most or (line and (rows % 16 != 0 or 2 * rows < columns or rows > 2 * columns)):
                continue
            if line:
                out_rows, out_columns = 1, outputs_in(rows * columns, a2)
            else:
                out_rows, out_columns = outputs_in(rows, a1), outputs_in(columns, a2)
            if out_rows < 1 or out_columns < 1:
                continue
            blocks1, blocks2 = -(-a1.out // out_rows), -(-a2.out // out_columns)
            turns = -(-a0.out * blocks1 * blocks2 // together)
            cost = (2 * turns * call.batch + 1) * block_cost(-(-rows // 16) * 16, -(-columns // 16) * 16)
            if best_cost == 0 or cost < best_cost:
                out_rows, out_columns = -(-a1.out // blocks1), -(-a2.out // blocks2)
                best = Plan(int(line), rows, columns, out_rows, out_columns, blocks1, blocks2, 0)
                best_cost = cost
    if best.rows == 0:
        return best
    areas = find_areas(best, part)
    room = (WORKSPACE_BYTES // part - areas.spectra) // areas.spectrum
    terms = call.channels * a0.kernel
    spectra = terms if terms <= room else 1
    return Plan(
        best.is_line, best.rows, best.columns, best.out_rows, best.out_columns, best.blocks1, best.blocks2, spectra
    )


@plain
def find_areas(plan, part):
    """Where things lie in the workspace, for parts of so many bytes."""
    lanes, line = VECTOR_BYTES // part, _LINE // part
    all_rows, all_columns = -(-plan.rows // lanes) * lanes, -(-plan.columns // lanes) * lanes
    # An odd number of cache lines: the elements of a column spread over all sets of a cache.
    pitch = (-(-all_columns // line) | 1) * line
    matrix = all_rows * 2 * pitch
    buffer = 2 * matrix
    twiddles = buffer + 2 * max(all_rows, all_columns) * lanes
    fine = twiddles + 4 * (plan.rows + plan.columns)
    coarse = fine + 2 * all_rows * lanes
    words = coarse + 2 * all_rows * (all_columns // lanes)
    words = -(-words // line) * line
    spectra = words + -(-2 * PASS_WORDS * 8 // _LINE) * line
    return Areas(
        pitch, all_rows, all_columns, matrix, buffer, twiddles, fine, coarse, words * part, spectra,
        all_rows * 2 * plan.columns,
    )  # fmt: skip


# ---- kernels


class Tools(NamedTuple):
    """What all blocks of a thread use: its memory, and how lines are transformed."""

    parts: Any  # the workspace, as a pointer to parts
    areas: Areas
    columns: Passes
    rows: Passes


class Block(NamedTuple):
    """A block of the output: how many rows and columns it has, of which image and channels, and where it begins."""

    n: int
    o: int  # counted over all groups
    p0: int
    p1: int
    p2: int
    rows: int
    columns: int


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`direct.correlate` for kernels that `refuses` takes.

    Items are numbered so that those of an output channel are neighbours: they use the same spectra.
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    axes, plan = load_axes(numbers.data, CALL_FIELDS), load_tuple(numbers.data, PLAN, Plan)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    parts = scratch_parts(workspace, 0, out)
    areas = find_areas(plan, VECTOR_BYTES // lanes_of(parts))
    words = scratch_index(workspace, areas.words)
    tools = Tools(parts, areas, Passes(words, 0, parts), Passes(words, PASS_WORDS, parts))
    together = blocks_together(out)
    turns = -(-axes[0].out * plan.blocks1 * plan.blocks2 // together)
    known, item = -1, take_item(team) if threads > 1 else 0
    if item < call.groups * call.outputs * call.batch * turns:
        prepare(tools, plan)
    while item < call.groups * call.outputs * call.batch * turns:
        rest, turn_number = divmod(item, turns)
        o, n = divmod(rest, call.batch)
        if o != known and plan.spectra == call.channels * axes[0].kernel:
            for term in range(plan.spectra):
                transform_kernel(operands, call, axes, plan, tools, o, term)
        known = o
        first = find_block(axes, plan, n, o, turn_number * together)
        second = find_block(axes, plan, n, o, turn_number * together + 1)
        correlate_blocks(operands, call, axes, plan, tools, first, second)
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


def blocks_together(out):
    """Blocks that are the parts of one."""
    raise NotImplementedError("compiled code only")


@overload(blocks_together)
def _blocks_together(out):
    return (lambda out: 1) if hasattr(out.compute, "underlying_float") else (lambda out: 2)


@kernel
def prepare(tools, plan):
    """Write all factors, and zeros where a matrix has no rows."""
    parts, areas, words = tools.parts, tools.areas, tools.columns.words
    end = write_passes(words, 0, plan.rows, parts, areas.twiddles)
    write_passes(words, PASS_WORDS, plan.columns, parts, end)
    for i in range(areas.sums):
        parts[i] = 0
    if plan.is_line:
        write_turns(tools, plan)


@kernel
def write_turns(tools, plan):
    """The factors between columns and rows of a signal: for each row, those of its first columns and of every square."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    size, squares = plan.rows * plan.columns, areas.all_columns // lanes
    for row in range(areas.all_rows):
        k = frequency(tools.columns, row) if row < plan.rows else 0
        group, lane = divmod(row, lanes)
        at = areas.fine + group * lanes * 2 * lanes + lane
        for i in range(lanes):
            parts[at + 2 * i * lanes], parts[at + (2 * i + 1) * lanes] = root(k * i, size)
        at = areas.coarse + group * squares * 2 * lanes + lane
        for i in range(squares):
            parts[at + 2 * i * lanes], parts[at + (2 * i + 1) * lanes] = root(k * i * lanes % size, size)


@kernel
def find_block(axes, plan, n, o, number):
    """A block by its number among those of an image and output channel; one without rows if there are fewer."""
    a0, a1, a2 = axes
    rest, b2 = divmod(number, plan.blocks2)
    p0, b1 = divmod(rest, plan.blocks1)
    p1, p2 = b1 * plan.out_rows, b2 * plan.out_columns
    rows = min(plan.out_rows, a1.out - p1) if p0 < a0.out else 0
    return Block(n, o, p0, p1, p2, rows, min(plan.out_columns, a2.out - p2))


@kernel
def transform_kernel(operands, call, axes, plan, tools, o, term):
    """Write the spectrum of a term's kernel, for convolution: taps lie backwards from the first element."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    (w, ws), (a0, a1, a2) = operands.w, axes
    c, k0 = divmod(term, a0.kernel)
    for i in range(2 * plan.rows * areas.pitch):
        parts[i] = 0
    start = o * ws.batch + c * ws.channel + tap_index(call, a0, k0) * ws.s0
    for k1 in range(a1.kernel):
        row = -k1 * a1.dilation % plan.rows
        for k2 in range(a2.kernel):
            column = -k2 * a2.dilation
            if plan.is_line:
                row, column = divmod(column % (plan.rows * plan.columns), plan.columns)
            else:
                column %= plan.columns
            weight = load(w, start + tap_index(call, a1, k1) * ws.s1 + tap_index(call, a2, k2) * ws.s2)
            store_parts(parts, 2 * row * areas.pitch + column, areas.pitch, weight, 1.0 / (plan.rows * plan.columns))
    transform_columns(plan, tools)
    for group in range(areas.all_rows // lanes):
        place = Place(parts, 0, lanes, 2 * lanes)
        place = load_group(plan, tools, group)
        at = areas.spectra + term % plan.spectra * areas.spectrum + group * plan.columns * 2 * lanes
        forward(tools.rows, place, place, Place(parts, at, at + lanes, 2 * lanes))


def store_parts(parts, where, apart, value, scale):
    """Write the parts of a number, scaled."""
    raise NotImplementedError("compiled code only")


@overload(store_parts)
def _store_parts(parts, where, apart, value, scale):
    real = parts.dtype

    def of_complex(parts, where, apart, value, scale):
        parts[where], parts[where + apart] = value.real * real(scale), value.imag * real(scale)

    def of_real(parts, where, apart, value, scale):
        parts[where] = value * real(scale)

    return of_complex if hasattr(value, "underlying_float") else of_real


@kernel
def correlate_blocks(operands, call, axes, plan, tools, first, second):
    """The outputs of one block, or of two that are the parts of one."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    terms = call.channels * axes[0].kernel
    groups = areas.all_rows // lanes
    for term in range(terms):
        if plan.spectra < terms:
            transform_kernel(operands, call, axes, plan, tools, first.o, term)
        pack_blocks(operands, call, axes, plan, tools, first, second, term)
        transform_columns(plan, tools)
        for group in range(groups):
            place = load_group(plan, tools, group)
            forward(tools.rows, place, place, place)
            at = group * plan.columns * 2 * lanes
            of_kernel = areas.spectra + term % plan.spectra * areas.spectrum + at
            factors = Place(parts, of_kernel, of_kernel + lanes, 2 * lanes)
            if terms == 1:
                multiply(plan.columns, place, factors, place, False)
                store_group(plan, tools, group)
            else:
                sums = Place(parts, areas.sums + at, areas.sums + at + lanes, 2 * lanes)
                multiply(plan.columns, place, factors, sums, term > 0)
    if terms > 1:
        for group in range(groups):
            at = areas.sums + group * plan.columns * 2 * lanes
            buffer = areas.buffer
            for i in range(plan.columns * 2 * lanes):
                parts[buffer + i] = parts[at + i]
            store_group(plan, tools, group)
    restore_columns(plan, tools)
    store_blocks(operands, call, axes, plan, tools, first, second)


@kernel
def transform_columns(plan, tools):
    """Transform all columns of the matrix in place."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    buffer = Place(parts, areas.buffer, areas.buffer + lanes, 2 * lanes)
    for column in range(0, areas.all_columns, lanes):
        place = Place(parts, column, column + areas.pitch, 2 * areas.pitch)
        forward(tools.columns, place, buffer, place)


@kernel
def restore_columns(plan, tools):
    """Transform all columns of the matrix back."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    buffer = Place(parts, areas.buffer, areas.buffer + lanes, 2 * lanes)
    for column in range(0, areas.all_columns, lanes):
        place = Place(parts, column, column + areas.pitch, 2 * areas.pitch)
        inverse(tools.columns, place, buffer, place)


@kernel
def load_group(plan, tools, group):
    """Transpose a group of rows into the buffer, which is returned."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    squares, row = areas.all_columns // lanes, 2 * areas.pitch
    for part in range(2):
        source = Squares(parts, group * lanes * row + part * areas.pitch, row, lanes)
        target = Squares(parts, areas.buffer + part * lanes, 2 * lanes, 2 * lanes * lanes)
        transpose_squares(squares, source, target)
    place = Place(parts, areas.buffer, areas.buffer + lanes, 2 * lanes)
    if plan.is_line:
        turn_group(tools, group, place)
    return place


@kernel
def store_group(plan, tools, group):
    """Transform a group's spectrum, which is in the buffer, back, and transpose it into rows of the matrix."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    squares, row = areas.all_columns // lanes, 2 * areas.pitch
    place = Place(parts, areas.buffer, areas.buffer + lanes, 2 * lanes)
    inverse(tools.rows, place, place, place)
    if plan.is_line:
        turn_group(tools, group, Place(parts, place.imaginary, place.real, place.step))
    for part in range(2):
        source = Squares(parts, areas.buffer + part * lanes, 2 * lanes, 2 * lanes * lanes)
        target = Squares(parts, group * lanes * row + part * areas.pitch, row, lanes)
        transpose_squares(squares, source, target)


@kernel
def turn_group(tools, group, place):
    """Multiply a group of a signal's rows with the factors between columns and rows; conjugated, if parts are swapped."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    squares = areas.all_columns // lanes
    fine, coarse = areas.fine + group * lanes * 2 * lanes, areas.coarse + group * squares * 2 * lanes
    fines = Place(parts, fine, fine + lanes, 2 * lanes)
    turn(squares, place, fines, Place(parts, coarse, coarse + lanes, 2 * lanes))


# ---- input and output


@kernel
def pack_blocks(operands, call, axes, plan, tools, first, second, term):
    """Fill the matrix with what a term of one block reads, or of two."""
    pack_part(operands, call, axes, plan, tools, first, term, 0)
    if blocks_together(operands.out.array) == 2:
        pack_part(operands, call, axes, plan, tools, second, term, tools.areas.pitch)


@kernel
def pack_part(operands, call, axes, plan, tools, block, term, part):
    """Fill a part of the matrix with what a term of a block reads, and with zeros; without rows, with zeros alone."""
    parts, areas, (x, xs), (a0, a1, a2) = tools.parts, tools.areas, operands.x, axes
    c, k0 = divmod(term, a0.kernel)
    channel = block.o // call.outputs * call.channels + c
    i0 = source_index(block.p0 * a0.stride + k0 * a0.dilation - a0.before, a0.size, a0.boundary)
    base = block.n * xs.batch + channel * xs.channel + i0 * xs.s0
    first_row, column = block.p1 * a1.stride - a1.before, block.p2 * a2.stride - a2.before
    rows = (block.rows - 1) * a1.stride + reach_of(a1) if block.rows > 0 else 0
    columns = (block.columns - 1) * a2.stride + reach_of(a2)
    along = Axis(a2.size, a2.kernel, 1, 1, a2.before, a2.after, a2.boundary, a2.out)
    padding = load(operands.fill, 0)
    for row in range(plan.rows):
        at, count = 2 * row * areas.pitch + part, columns if row < rows else 0
        if plan.is_line:
            count = min(max(columns - row * plan.columns, 0), plan.columns) if rows > 0 else 0
        if count > 0:
            i1 = source_index(first_row + (0 if plan.is_line else row) * a1.stride, a1.size, a1.boundary)
            if not plan.is_line:
                i1 = source_index(first_row + row, a1.size, a1.boundary)
            start = column + row * plan.columns if plan.is_line else column
            is_inside = i0 >= 0 and i1 >= 0
            left, right = columns_inside(start, count, along) if is_inside else (0, 0)
            place = base + i1 * xs.s1
            pack_line(x, place, xs.s2, parts, at, areas.pitch, start, count, left, right, is_inside, along, padding)
        clear_line(x, parts, at, areas.pitch, count, areas.all_columns)


def pack_line(x, base, step, parts, at, apart, start, count, left, right, is_inside, axis, padding):
    """Pack a row of the matrix: padded coordinates of an axis from `start` on; complex numbers into two rows."""
    raise NotImplementedError("compiled code only")


@overload(pack_line)
def _pack_line(x, base, step, parts, at, apart, start, count, left, right, is_inside, axis, padding):
    def of_complex(x, base, step, parts, at, apart, start, count, left, right, is_inside, axis, padding):
        for j in range(count):
            value = padding
            if left <= j < right:
                value = load(x, base + (start + j) * step)
            elif is_inside and axis.boundary != CONSTANT:
                value = load(x, base + source_index(start + j, axis.size, axis.boundary) * step)
            parts[at + j], parts[at + apart + j] = value.real, value.imag

    def of_real(x, base, step, parts, at, apart, start, count, left, right, is_inside, axis, padding):
        pack_row(x, parts, at, Run(base + start * step, step, count, left, right, 1, 0), padding)
        if is_inside and right - left < count and axis.boundary != CONSTANT:
            pack_border(x, base, step, parts, at, left, right, count, start, axis)

    return of_complex if hasattr(x.compute, "underlying_float") else of_real


def clear_line(x, parts, at, apart, begin, end):
    """Zeros behind what a row of the matrix holds; of complex numbers, in both of its rows."""
    raise NotImplementedError("compiled code only")


@overload(clear_line)
def _clear_line(x, parts, at, apart, begin, end):
    def of_complex(x, parts, at, apart, begin, end):
        for j in range(begin, end):
            parts[at + j] = 0
            parts[at + apart + j] = 0

    def of_real(x, parts, at, apart, begin, end):
        for j in range(begin, end):
            parts[at + j] = 0

    return of_complex if hasattr(x.compute, "underlying_float") else of_real


@kernel
def store_blocks(operands, call, axes, plan, tools, first, second):
    """Finish the sums of one block, or of two, and copy them to the output."""
    store_part(operands, call, axes, plan, tools, first, 0)
    if blocks_together(operands.out.array) == 2 and second.rows > 0:
        store_part(operands, call, axes, plan, tools, second, tools.areas.pitch)


@kernel
def store_part(operands, call, axes, plan, tools, block, part):
    """Finish the sums in a part of the matrix."""
    (out, outs), areas, (a0, a1, a2) = operands.out, tools.areas, axes
    where = block.n * outs.batch + block.o * outs.channel + block.p0 * outs.s0 + block.p1 * outs.s1 + block.p2 * outs.s2
    bias, bias_where = operands.bias, block.o * stride(operands.bias, 0)
    for row in range(plan.rows if plan.is_line else block.rows):
        at, first, to, count = 2 * row * areas.pitch + part, 0, where, 0
        if plan.is_line:  # outputs are spread over the rows of the matrix
            output = -(-row * plan.columns // a2.stride)
            end = min(-(-(row + 1) * plan.columns // a2.stride), block.columns)
            first, count = output * a2.stride - row * plan.columns, end - output
            to += output * outs.s2
        else:
            at, count = 2 * row * a1.stride * areas.pitch + part, block.columns
            to += row * outs.s1
        if count > 0:
            store_line(
                out, to, outs.s2, count, tools, at + first, a2.stride, bias, bias_where, call, operands.workspace
            )


def store_line(out, where, step, count, tools, at, apart, bias, bias_where, call, workspace):
    """Finish numbers of a row of the matrix, so far apart."""
    raise NotImplementedError("compiled code only")


@overload(store_line)
def _store_line(out, where, step, count, tools, at, apart, bias, bias_where, call, workspace):
    def of_complex(out, where, step, count, tools, at, apart, bias, bias_where, call, workspace):
        areas, parts = tools.areas, tools.parts
        joined = areas.buffer
        for j in range(count):
            parts[joined + 2 * j] = parts[at + j * apart]
            parts[joined + 2 * j + 1] = parts[at + areas.pitch + j * apart]
        sums = scratch(workspace, 0, out)
        finish_row(out, where, step, count, sums, joined // 2, bias, bias_where, call)

    def of_real(out, where, step, count, tools, at, apart, bias, bias_where, call, workspace):
        if apart == 1:
            store_row(out, where, step, count, tools.parts, at, bias, bias_where, call)
            return
        gathered = tools.areas.buffer
        for j in range(count):
            tools.parts[gathered + j] = tools.parts[at + j * apart]
        store_row(out, where, step, count, tools.parts, gathered, bias, bias_where, call)

    return of_complex if hasattr(out.compute, "underlying_float") else of_real
