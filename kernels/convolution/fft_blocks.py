"""Blocks of overlap-save: how a call is cut into them, where they lie in a workspace, and how they are packed.

The input of a block is a matrix of complex numbers, whose parts are two blocks of real ones, where numbers are real. Of
a plane it holds rows and columns; a signal is cut into its rows.
"""

from typing import Any, NamedTuple

from ..fft import PASS_WORDS, Passes
from ..jit import kernel, overload, plain
from ..shapes import CONSTANT, HUGE, Axis
from ..simd.vectors import VECTOR_BYTES
from ..simd.windows import HEIGHT
from ..strided import load
from ..window import source_index
from .pack import Run, pack_row, tap_index

_LINE = 64  # bytes of a cache line
CORES = 9  # of a window, at most, that the guard looks at
FACTS = 2 + 2 * CORES  # numbers that it knows of a kernel


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
    cell: int  # columns of the cells that the guard looks at, and their rows, but for lines
    patch: int  # elements of what a few outputs read
    taps1: int  # of a piece of the kernel, whose pieces are terms of a sum; fewer in the last one
    taps2: int
    pieces1: int
    pieces2: int


class Term(NamedTuple):
    """A term of a sum: a channel, a plane of taps, and the first tap of a piece of them."""

    c: int  # counted within the group
    k0: int
    k1: int
    k2: int


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
    cells: int
    cells_of_part: int  # elements
    fails: int
    scores: int
    largest: int
    words: int  # in bytes
    facts: int  # of each spectrum
    spectra: int
    spectrum: int  # elements of a spectrum


@plain
def is_line(axes):
    """Whether the kernel has taps along the last axis only."""
    return axes[0].kernel == 1 and axes[1].kernel == 1


@plain
def reach_of(axis):
    """From the first tap of a window to the last, both included."""
    return min((axis.kernel - 1) * axis.dilation + 1, HUGE)


@plain
def piece_of(axis, first, taps):
    """The axis of a kernel that has only some of an axis's taps."""
    before = axis.before - first * axis.dilation
    return Axis(axis.size, taps, axis.stride, axis.dilation, before, axis.after, axis.boundary, axis.out)


@plain
def count_terms(call, axes, plan):
    """Terms of each sum."""
    return call.channels * axes[0].kernel * plan.pieces1 * plan.pieces2


@kernel
def find_term(axes, plan, number):
    """A term by its number, and the axes of a kernel that has its taps only."""
    a0, a1, a2 = axes
    rest, piece2 = divmod(number, plan.pieces2)
    rest, piece1 = divmod(rest, plan.pieces1)
    c, k0 = divmod(rest, a0.kernel)
    k1, k2 = piece1 * plan.taps1, piece2 * plan.taps2
    b1, b2 = piece_of(a1, k1, min(plan.taps1, a1.kernel - k1)), piece_of(a2, k2, min(plan.taps2, a2.kernel - k2))
    return Term(c, k0, k1, k2), (a0, b1, b2)


@kernel
def first_weight(operands, call, axes, o, term):
    """Where the first weight of a term lies, and the steps to the next row of weights and the next one."""
    ws, (a0, a1, a2) = operands.w.strides, axes
    start = o * ws.batch + term.c * ws.channel + tap_index(call, a0, term.k0) * ws.s0
    start += tap_index(call, a1, term.k1) * ws.s1 + tap_index(call, a2, term.k2) * ws.s2
    return start, -ws.s1 if call.flip else ws.s1, -ws.s2 if call.flip else ws.s2


@plain
def patch_sizes(axes, lanes, is_line):
    """Rows that a few outputs read, vectors above each other or, of signals, one behind another; and their distance."""
    if is_line:
        return 1, reach_of(axes[2]) - 1 + HEIGHT * lanes
    return reach_of(axes[1]) - 1 + HEIGHT, reach_of(axes[2]) - 1 + lanes


@plain
def find_areas(plan, part):
    """Where things lie in the workspace, for parts of so many bytes."""
    lanes, line = VECTOR_BYTES // part, _LINE // part
    unit = max(lanes, 4)
    all_rows, all_columns = -(-plan.rows // lanes) * lanes, -(-plan.columns // unit) * unit
    # An odd number of cache lines: the elements of a column spread over all sets of a cache.
    pitch = (-(-all_columns // line) | 1) * line
    matrix = all_rows * 2 * pitch
    buffer = matrix + -(-max(matrix, plan.patch + lanes) // line) * line  # packing writes whole vectors
    twiddles = buffer + max(2 * max(all_rows, all_columns) * lanes, 512)  # the guard sums there, too
    fine = twiddles + 4 * (plan.rows + plan.columns)
    coarse = fine + 2 * all_rows * lanes
    cells = coarse + 2 * all_rows * (all_columns // lanes)
    cells_of_part = -(-plan.rows // (1 if plan.is_line else plan.cell)) * (all_columns // plan.cell)
    fails = cells + 2 * cells_of_part
    scores = fails + 2 * cells_of_part
    largest = -(-(scores + 2 * cells_of_part) // line) * line
    words = largest + 2 * line
    facts = words + -(-2 * PASS_WORDS * 8 // _LINE) * line
    terms = plan.spectra if plan.spectra < HUGE else 1
    spectra = -(-(facts + terms * FACTS) // line) * line
    return Areas(
        pitch, all_rows, all_columns, matrix, buffer, twiddles, fine, coarse, cells, cells_of_part, fails, scores,
        largest, words * part, facts, spectra, all_rows * 2 * plan.columns,
    )  # fmt: skip


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


def blocks_together(out):
    """Blocks that are the parts of one."""
    raise NotImplementedError("compiled code only")


@overload(blocks_together)
def _blocks_together(out):
    return (lambda out: 1) if hasattr(out.compute, "underlying_float") else (lambda out: 2)


@kernel
def pack_blocks(operands, call, axes, plan, tools, first, second, term):
    """Fill the matrix with what a term of one block reads, or of two; the axes are the term's."""
    areas = tools.areas
    for part in range(blocks_together(operands.out.array)):
        block, at = second if part == 1 else first, part * areas.pitch
        if plan.is_line:
            pack_signal(operands, call, axes, plan, tools, block, term, at)
        else:
            window = Matrix(at, 2 * areas.pitch, areas.pitch, plan.rows, plan.columns, areas.all_columns)
            pack_plane(operands, call, axes, tools.parts, block, term, window)


class Matrix(NamedTuple):
    """Where a block's input is put: real parts from `start` on, imaginary ones `apart` from them, rows `row` apart."""

    start: int
    row: int
    apart: int
    rows: int
    columns: int
    width: int  # with zeros behind the columns


@kernel
def find_plane(operands, call, axes, block, term):
    """Where the plane lies that a term of a block reads, and whether it is part of the input; its first row."""
    xs, a0 = operands.x.strides, axes[0]
    channel = block.o // call.outputs * call.channels + term.c
    i0 = source_index(block.p0 * a0.stride + term.k0 * a0.dilation - a0.before, a0.size, a0.boundary)
    return block.n * xs.batch + channel * xs.channel + i0 * xs.s0, i0 >= 0


@kernel
def pack_plane(operands, call, axes, parts, block, term, matrix):
    """Fill a matrix with what a term of a block reads, and zeros behind; of a block without rows, with zeros alone."""
    (x, xs), (_, a1, a2), padding = operands.x, axes, load(operands.fill, 0)
    base, is_real = find_plane(operands, call, axes, block, term)
    first_row, column = block.p1 * a1.stride - a1.before, block.p2 * a2.stride - a2.before
    rows = (block.rows - 1) * a1.stride + reach_of(a1) if block.rows > 0 else 0
    columns = min((block.columns - 1) * a2.stride + reach_of(a2), matrix.columns)
    for row in range(matrix.rows):
        at, count = matrix.start + row * matrix.row, 0
        if row < rows:
            count, i1 = columns, source_index(first_row + row, a1.size, a1.boundary)
            is_inside = is_real and i1 >= 0
            pack_line(x, base + i1 * xs.s1, xs.s2, parts, at, matrix.apart, column, count, is_inside, a2, padding)
        clear_line(x, parts, at, matrix.apart, count, matrix.width)


@kernel
def pack_signal(operands, call, axes, plan, tools, block, term, at):
    """Cut what a term of a block reads into rows of the matrix."""
    (x, xs), (_, a1, a2), padding, areas = operands.x, axes, load(operands.fill, 0), tools.areas
    base, is_real = find_plane(operands, call, axes, block, term)
    i1 = source_index(block.p1 * a1.stride - a1.before, a1.size, a1.boundary)
    is_inside, base = is_real and i1 >= 0, base + i1 * xs.s1
    left, column = 0, block.p2 * a2.stride - a2.before
    if block.rows > 0:
        left = (block.columns - 1) * a2.stride + reach_of(a2)
    for _row in range(plan.rows):
        count = min(left, plan.columns)
        if count > 0:
            pack_line(x, base, xs.s2, tools.parts, at, areas.pitch, column, count, is_inside, a2, padding)
        clear_line(x, tools.parts, at, areas.pitch, count, areas.all_columns)
        left, column, at = left - count, column + count, at + 2 * areas.pitch


def pack_line(x, base, step, parts, at, apart, start, count, is_inside, axis, padding):
    """Pack a row: `count` padded coordinates of an axis from `start` on; complex numbers into two rows."""
    raise NotImplementedError("compiled code only")


@overload(pack_line)
def _pack_line(x, base, step, parts, at, apart, start, count, is_inside, axis, padding):
    def of_complex(x, base, step, parts, at, apart, start, count, is_inside, axis, padding):
        left, right = inside_line(start, count, is_inside, axis)
        for j in range(count):
            value = padding
            if left <= j < right:
                value = load(x, base + (start + j) * step)
            elif is_inside and axis.boundary != CONSTANT:
                value = load(x, base + source_index(start + j, axis.size, axis.boundary) * step)
            parts[at + j], parts[at + apart + j] = value.real, value.imag

    def of_real(x, base, step, parts, at, apart, start, count, is_inside, axis, padding):
        left, right = inside_line(start, count, is_inside, axis)
        pack_row(x, parts, at, Run(base + start * step, step, count, left, right, 1, 0), padding)
        if is_inside and right - left < count and axis.boundary != CONSTANT:
            for j in range(count):
                if j < left or j >= right:
                    parts[at + j] = load(x, base + source_index(start + j, axis.size, axis.boundary) * step)

    return of_complex if hasattr(x.compute, "underlying_float") else of_real


@kernel
def inside_line(start, count, is_inside, axis):
    """Which of `count` padded coordinates from `start` on are in the input: from, to."""
    left = min(max(-start, 0), count) if is_inside else 0
    return left, max(min(axis.size - start, count), left) if is_inside else 0


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
