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

import math
from typing import Any, NamedTuple

from ..fft import PASS_WORDS, Passes, Place, forward, frequency, inverse, root, write_passes
from ..jit import entry, kernel, overload, plain
from ..shapes import AUTO, CALL_FIELDS, CONSTANT, HUGE, PLAN, Axis, words_of
from ..simd.fft import Squares, multiply, transpose_squares, turn
from ..simd.magnitudes import Rows, find_largest, survey
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..simd.windows import HEIGHT, WindowWeights, add_windows
from ..strided import (
    elements,
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
from .blocking import DEPTHWISE
from .direct import store_row
from .operands import Operand, Operands
from .pack import Run, pack_row, tap_index

WORKSPACE_BYTES = 4 << 20

# Lengths of columns and rows that blocks are chosen from.
SIZES = (
    16, 24, 32, 40, 48, 64, 72, 80, 96, 108, 120, 128, 144, 160, 180, 192, 216, 240, 256, 288, 320, 360, 384, 400, 432,
    480, 512,
)  # fmt: skip
_LINE = 64  # bytes of a cache line
FACTS = 8
GAIN, WEIGHT, SMALL, TOTAL, FIRST1, LAST1, FIRST2, LAST2 = range(FACTS)
ERROR = 20.0  # see above: of a transform of up to 2**17 points, with both others that a product takes
SHORTEST = 225  # taps: of fewer, direct sums take less time
TOO_SHORT, TOO_LONG, OTHER_SUMS, SLOW = 1, 2, 3, 4
MARGIN = 1.25  # of a direct call's time, that would pay for blocks summed directly after all


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


_PLAN_WORDS = PLAN + words_of(Plan)


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
    largest: int
    words: int  # in bytes
    facts: int  # of each spectrum
    spectra: int
    spectrum: int  # elements of a spectrum


# ---- what is known before the arrays are: plain Python


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def refuses(call, axes, element):
    """A reason of `TOO_SHORT`, ..., or 0. Asked for by name, all is taken that fits."""
    a0, a1, a2 = axes
    if call.channels == 0:
        return OTHER_SUMS
    if call.algorithm == AUTO:
        if call.channels * a0.kernel > 1 or a1.dilation * a2.dilation > 1:
            return OTHER_SUMS
        if a1.kernel * a2.kernel < SHORTEST or (min(a1.kernel, a2.kernel) < 8 and not is_line(axes)):
            return TOO_SHORT
    plan = choose_plan(call, axes, element)
    if plan.rows == 0:
        return TOO_LONG
    if call.algorithm == AUTO and MARGIN * plan_cost(plan, call, axes, element) > direct_cost(call, axes, element):
        return SLOW
    return 0


def reason(refusal, call, axes, element):
    """Why this family does not run a call, in words."""
    if refusal == OTHER_SUMS:
        return "sums have no channel, several channels or planes, or gaps between their terms"
    taps = f"{axes[1].kernel} x {axes[2].kernel} taps in a plane"
    if refusal == TOO_SHORT:
        return f"the kernel has {taps}, expected {SHORTEST} or more"
    if refusal == SLOW:
        return f"the kernel has {taps}, of which direct sums are expected to take less than {MARGIN} times as long"
    return f"the kernel has {taps}, with dilation too many for a block"


@plain
def cost(call, axes, element):
    """What an image of a call takes, in multiply-adds of direct sums of the same type, about."""
    return plan_cost(choose_plan(call, axes, element), call, axes, element)


@plain
def plan_cost(plan, call, axes, element):
    """`cost` of a plan, for one image: what is chosen by it must not change with the batch."""
    together = 1 if element.is_complex else 2
    turns = float(-(-axes[0].out * plan.blocks1 * plan.blocks2 // together))
    terms = float(call.channels) * axes[0].kernel
    again = turns if plan.spectra < terms else 1.0  # a kernel's spectrum is made
    blocks = turns * (terms + 1) / 2 + again * terms / 2  # a transform there is half of what a block takes
    return call.groups * call.outputs * blocks * block_cost(plan.rows, plan.columns)


@plain
def direct_cost(call, axes, element):
    """The same of direct sums: in planes of many taps they run at less than half their speed."""
    a0, a1, a2 = axes
    sums = float(call.groups) * call.outputs * a0.out * a1.out * a2.out
    macs = sums * call.channels * a0.kernel * a1.kernel * a2.kernel
    return macs * (4 if element.is_complex else 1) * (2 if a1.kernel * a2.kernel > DEPTHWISE.taps else 1)


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
    """Outputs that a block of so many inputs has.

    With a constant around the input, that on both sides may be the same elements of a block that holds all of an axis.
    """
    reach = reach_of(axis)
    if axis.boundary == CONSTANT and size >= reach:
        inputs = min((axis.out - 1) * axis.stride + reach, HUGE)
        if inputs - size <= min(axis.before, inputs - axis.before - axis.size):
            return axis.out
    return min((size - reach) // axis.stride + 1, axis.out) if size >= reach else 0


@plain
def block_cost(rows, columns):
    """What a block takes, in multiply-adds of direct sums, about: transforms, and all that is done once."""
    rows, columns = -(-rows // 16) * 16, -(-columns // 16) * 16
    twos, size = 0, rows * columns
    while size > 1:
        size, twos = size // 2, twos + 1
    return float(rows * columns * (8 * twos + 80))


@plain
def choose_plan(call, axes, element):
    """The sizes of blocks that take least, the spectrum of the kernel included. No rows: there are none that fit."""
    a0, a1, a2 = axes
    part = element.itemsize // (2 if element.is_complex else 1)
    most = (1 << 19) // part
    line = is_line(axes)
    patch_rows, patch_pitch = patch_sizes(axes, VECTOR_BYTES // part)
    patch = (2 if element.is_complex else 1) * min(patch_rows * patch_pitch, HUGE)
    cell = 2 if min(a1.kernel, a2.kernel) < 24 and not line else 4
    best, best_cost = Plan(0, 0, 0, 0, 0, 0, 0, 0, cell, patch), 0.0
    for rows in SIZES:
        out_rows = 1 if line else outputs_in(rows, a1)
        if out_rows < 1 or (line and rows % 16 != 0):
            continue
        for columns in SIZES:
            out_columns = outputs_in(rows * columns if line else columns, a2)
            if out_columns < 1 or rows * columns > most or (line and (2 * rows < columns or rows > 2 * columns)):
                continue
            blocks1, blocks2 = -(-a1.out // out_rows), -(-a2.out // out_columns)
            plan = Plan(
                int(line), rows, columns, -(-a1.out // blocks1), -(-a2.out // blocks2), blocks1, blocks2, HUGE, cell,
                patch,
            )  # fmt: skip
            taken = plan_cost(plan, call, axes, element)
            fits = 2 * rows * columns < most or end_of(find_areas(plan, part)) * part <= WORKSPACE_BYTES
            if fits and (best_cost == 0 or taken < best_cost):
                best, best_cost = plan, taken
            if not line and blocks2 == 1:
                break  # larger ones hold no more
        if not line and out_rows == a1.out:
            break
    if best.rows == 0:
        return best
    areas = find_areas(best, part)
    terms = call.channels * a0.kernel
    spectra = terms if terms <= (WORKSPACE_BYTES // part - areas.spectra - _LINE) // (areas.spectrum + FACTS) else 1
    return Plan(
        best.is_line, best.rows, best.columns, best.out_rows, best.out_columns, best.blocks1, best.blocks2, spectra,
        cell, patch,
    )  # fmt: skip


@plain
def patch_sizes(axes, lanes):
    """Rows that a few outputs read, vectors above each other or, of signals, one behind another; and their distance."""
    if is_line(axes):
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
    twiddles = buffer + 2 * max(all_rows, all_columns) * lanes
    fine = twiddles + 4 * (plan.rows + plan.columns)
    coarse = fine + 2 * all_rows * lanes
    cells = coarse + 2 * all_rows * (all_columns // lanes)
    cells_of_part = -(-plan.rows // (1 if plan.is_line else plan.cell)) * (all_columns // plan.cell)
    fails = cells + 2 * cells_of_part
    largest = -(-(fails + 2 * cells_of_part) // line) * line
    words = largest + 2 * line
    facts = words + -(-2 * PASS_WORDS * 8 // _LINE) * line
    terms = plan.spectra if plan.spectra < HUGE else 1
    spectra = -(-(facts + terms * FACTS) // line) * line
    return Areas(
        pitch, all_rows, all_columns, matrix, buffer, twiddles, fine, coarse, cells, cells_of_part, fails, largest,
        words * part, facts, spectra, all_rows * 2 * plan.columns,
    )  # fmt: skip


@plain
def end_of(areas):
    """Where a workspace ends that keeps one spectrum."""
    return areas.spectra + areas.spectrum


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
    blocks = axes[0].out * plan.blocks1 * plan.blocks2
    turns = -(-blocks // together)
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
        second = find_block(axes, plan, n, o, turn_number * together + 1 if together == 2 else blocks)
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
    clear_largest(tools)
    for group in range(areas.all_rows // lanes):
        place = load_group(plan, tools, group)
        at = areas.spectra + term % plan.spectra * areas.spectrum + group * plan.columns * 2 * lanes
        forward(tools.rows, place, place, Place(parts, at, at + lanes, 2 * lanes))
        find_largest(plan.columns * 2 * lanes, parts, at, areas.largest)
    gain = take_largest(tools) * math.sqrt(2.0) * plan.rows * plan.columns
    write_facts(operands, call, axes, plan, tools, o, term, gain)


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
    has_failed = False
    for term in range(terms):
        if plan.spectra < terms:
            transform_kernel(operands, call, axes, plan, tools, first.o, term)
        pack_blocks(operands, call, axes, plan, tools, first, second, term)
        has_failed = examine(operands, call, axes, plan, tools, first, second, term, has_failed)
        transform_columns(plan, tools)
        for group in range(groups):
            place = load_group(plan, tools, group)
            forward(tools.rows, place, place, place)
            at = group * plan.columns * 2 * lanes
            of_kernel = areas.spectra + term % plan.spectra * areas.spectrum + at
            factors = Place(parts, of_kernel, of_kernel + lanes, 2 * lanes)
            if terms == 1:
                multiply(plan.columns, place, factors, place, False)
                store_group(plan, tools, group, place)
            else:
                sums = Place(parts, areas.sums + at, areas.sums + at + lanes, 2 * lanes)
                multiply(plan.columns, place, factors, sums, term > 0)
    if terms > 1:
        for group in range(groups):
            at = areas.sums + group * plan.columns * 2 * lanes
            store_group(plan, tools, group, Place(parts, at, at + lanes, 2 * lanes))
    restore_columns(plan, tools)
    if has_failed:
        for part in range(blocks_together(operands.out.array)):
            repair_part(operands, call, axes, plan, tools, second if part == 1 else first, part)
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
def store_group(plan, tools, group, spectrum):
    """Transform a group's spectrum back, through the buffer, and transpose it into rows of the matrix."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    squares, row = areas.all_columns // lanes, 2 * areas.pitch
    place = Place(parts, areas.buffer, areas.buffer + lanes, 2 * lanes)
    inverse(tools.rows, spectrum, place, place)
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


# ---- the guard: where errors of a block's transform might be more than four times the bound of direct sums


class Facts(NamedTuple):
    """What the guard knows of a kernel: numbers in the workspace, in the type of parts.

    Windows are looked at through their core, a part of theirs in which few weights are small: cells of the input that
    lie there for all outputs of a tile are `first1 ... last1` and `first2 ... last2` further than the tile's own.
    """

    gain: int  # the largest number of the spectrum, at most
    weight: int  # what all weights of the core but for a few are, at least; 0: there is no such weight
    small: int  # how many those few are
    total: int  # the sum of all weights
    first1: int
    last1: int
    first2: int
    last2: int


@kernel
def facts_at(plan, tools, term):
    """Where the `Facts` of a term's kernel lie."""
    return tools.areas.facts + term % plan.spectra * FACTS


class Grid(NamedTuple):
    """The cells of a matrix: their sizes, and how many there are. Outputs are marked by tiles of the same sizes."""

    height: int
    width: int
    rows: int
    columns: int


@kernel
def find_grid(axes, plan, tools):
    """The cells that tiles are compared by. Of a signal some 64th of a window."""
    if plan.is_line == 0:
        return Grid(plan.cell, plan.cell, -(-plan.rows // plan.cell), tools.areas.all_columns // plan.cell)
    width = plan.cell
    while reach_of(axes[2]) > 64 * width:
        width *= 2
    return Grid(1, width, 1, -(-plan.rows * plan.columns // width))


@kernel
def write_facts(operands, call, axes, plan, tools, o, term, gain):
    """Write the `Facts` of a term's kernel: of three cores and some bounds of their weights, those that allow most."""
    parts, (w, ws), (a0, a1, a2) = tools.parts, operands.w, axes
    at, c, k0 = facts_at(plan, tools, term), term // a0.kernel, term % a0.kernel
    start = o * ws.batch + c * ws.channel + tap_index(call, a0, k0) * ws.s0
    grid = find_grid(axes, plan, tools)
    size1, size2 = grid.height, grid.width
    total = top = 0.0
    for k1 in range(a1.kernel):
        for k2 in range(a2.kernel):
            weight = abs(load(w, start + tap_index(call, a1, k1) * ws.s1 + tap_index(call, a2, k2) * ws.s2))
            total, top = total + weight, max(top, weight)
    gain, best = min(gain, total), 0.0
    for i in range(FACTS):
        parts[at + i] = 0
    parts[at + GAIN], parts[at + TOTAL] = gain, total
    if not (0 < top < math.inf) or a1.dilation * a2.dilation > 1:  # of a window with gaps, cells tell nothing
        return
    step1, step2 = -ws.s1 if call.flip else ws.s1, -ws.s2 if call.flip else ws.s2
    start += tap_index(call, a1, 0) * ws.s1 + tap_index(call, a2, 0) * ws.s2
    for share in range(1, 5):
        first1, last1 = core_of(a1.kernel, size1, share)
        first2, last2 = core_of(a2.kernel, size2, share)
        if last1 < first1 or last2 < first2:
            return
        small = (0, 0, 0, 0, 0, 0)
        for k1 in range((first1 - 1) * size1 + 1, (last1 + 1) * size1):
            for k2 in range((first2 - 1) * size2 + 1, (last2 + 1) * size2):
                small = count_small(small, abs(load(w, start + k1 * step1 + k2 * step2)), top)
        room, bound = float((last1 - first1 + 1) * size1 * (last2 - first2 + 1) * size2), top
        for few in small:
            # What would a window need, if a block's largest element were 4 times its mean?
            need = 2 * allowed_error(axes, call) * gain / bound + 4.0 * few
            if room / need > best:
                best = room / need
                parts[at + WEIGHT], parts[at + SMALL] = bound, few
                parts[at + FIRST1], parts[at + LAST1] = first1, last1
                parts[at + FIRST2], parts[at + LAST2] = first2, last2
            bound /= 4


@kernel
def core_of(taps, size, share):
    """Cells that lie within the core of the windows of all outputs of a tile, counted from the tile's own: first, last.

    The core is so many fourths of the window, as near to its middle as can be.
    """
    least = 1 if size > 1 else 0
    cells = max((taps // size - least) * share // 4, 1)
    first = max((taps - size * (cells + 1) + 1) // 2 + 2 * size - 2, 0) // size
    first = max(min(first, taps // size - cells), least)
    return first, min(first + cells, taps // size) - 1


@kernel
def count_small(small, weight, top):
    """Count a weight among those that are less than `top`, a fourth of it, and so on."""
    a, b, c, d, e, f = small
    a, b, c = a + (weight < top), b + (4 * weight < top), c + (16 * weight < top)
    return a, b, c, d + (64 * weight < top), e + (256 * weight < top), f + (1024 * weight < top)


@kernel
def allowed_error(axes, call):
    """What the error of a transform is, at most, over what it may be, in units that the docstring explains."""
    terms = float(call.channels) * axes[0].kernel * axes[1].kernel * axes[2].kernel
    return ERROR / (4 * (terms + 2))


@kernel
def clear_largest(tools):
    """Set the vectors of the largest numbers and of sums of squares to zero."""
    for i in range(2 * lanes_of(tools.parts)):
        tools.parts[tools.areas.largest + i] = 0


@kernel
def take_largest(tools):
    """The largest number that was found since `clear_largest`."""
    largest = 0.0
    for i in range(lanes_of(tools.parts)):
        largest = max(largest, float(tools.parts[tools.areas.largest + i]))
    return largest


@kernel
def examine(operands, call, axes, plan, tools, first, second, term, has_failed):
    """Mark tiles of outputs that have to be summed directly, in the matrix as it is packed. Whether there are any.

    What is not finite is replaced by zeros. `has_failed`: an earlier term has marked some.
    """
    parts, areas = tools.parts, tools.areas
    grid, count = find_grid(axes, plan, tools), areas.cells_of_part
    clear_largest(tools)
    for part in range(2):
        at, to = part * areas.pitch, areas.cells + part * areas.cells_of_part
        for row in range(0, plan.rows, grid.height):
            height = min(grid.height, plan.rows - row)
            survey(
                plan.cell,
                height,
                areas.all_columns,
                Rows(parts, at, 2 * areas.pitch),
                Rows(parts, to, 0),
                areas.largest,
            )
            # The cells of a signal lie side by side: none of a row's end.
            to += (plan.columns if plan.is_line else areas.all_columns) // plan.cell
            at += 2 * height * areas.pitch
    if plan.is_line:
        count = plan.rows * plan.columns // plan.cell
    largest, at = take_largest(tools), facts_at(plan, tools, term)
    gain, total = float(parts[at + GAIN]), sum_cells(tools, count)
    low, high = safe_range(parts)
    if not (total < high):
        if not has_failed:
            clear_fails(tools)
            has_failed = True
        drop_unsafe(operands, axes, plan, tools, grid, count, high)
        largest, total = 0.0, 0.0
        for part in range(2):
            for i in range(count):
                cell = float(parts[areas.cells + part * areas.cells_of_part + i])
                if cell == cell:
                    largest, total = max(largest, cell), total + cell
    need = -1.0
    is_safe = float(parts[at + TOTAL]) < high and total * max(gain, 1.0) < high
    if call.algorithm == AUTO and is_safe and largest > 0 and gain > 0:
        need, weight = math.inf, float(parts[at + WEIGHT])
        scaled = gain / (plan.rows * plan.columns)
        if weight > 0 and min(min(largest, scaled), largest * scaled) > low:
            mean = mean_square_root(tools, largest, total, plan.rows * plan.columns, math.sqrt(low))
            need = allowed_error(axes, call) * gain / weight * mean + float(parts[at + SMALL]) * largest
    if not is_safe:
        need = math.inf
    for part in range(2 if plan.is_line else 0):
        join_cells(parts, areas.cells + part * areas.cells_of_part, count, plan.cell, grid.width)
    if need < 0:
        return has_failed
    together = blocks_together(operands.out.array)
    if together == 1:
        for i in range(grid.rows * grid.columns):
            parts[areas.cells + i] += parts[areas.cells + areas.cells_of_part + i]
    for part in range(together):
        block = second if part == 1 else first
        if block.rows > 0:
            has_failed = compare_tiles(axes, plan, tools, grid, block, part, term, need, has_failed)
    return has_failed


@kernel
def mean_square_root(tools, largest, total, size, low):
    """The root of the mean square of a matrix, at most; that of the sum of squares if no square can have been lost."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    mean, squares = math.sqrt(largest * (total / size)), 0.0
    for i in range(lanes):
        squares += float(parts[areas.largest + lanes + i])
    return min(mean, math.sqrt(squares / size)) if low < largest < 1 / low else mean


def safe_range(parts):
    """Between which magnitudes nothing overflows in a transform, and what is lost to underflow is no matter."""
    raise NotImplementedError("compiled code only")


@overload(safe_range)
def _safe_range(parts):
    low, high = (1e-30, 1e30) if parts.dtype.bitwidth == 32 else (1e-280, 1e280)
    return lambda parts: (low, high)


@kernel
def sum_cells(tools, count):
    """The sum of all cells of both parts: NaN or infinite, if anything in the matrix is."""
    parts, areas = tools.parts, tools.areas
    lanes, sums = 64, areas.buffer
    for j in range(lanes):
        parts[sums + j] = 0
    for part in range(2):
        at = areas.cells + part * areas.cells_of_part
        for i in range(0, count - count % lanes, lanes):
            for j in range(lanes):
                parts[sums + j] += parts[at + i + j]
        for i in range(count - count % lanes, count):
            parts[sums] += parts[at + i]
    total = 0.0
    for j in range(lanes):
        total += float(parts[sums + j])
    return total


@kernel
def join_cells(parts, at, count, width, wanted):
    """Join cells until they have a width."""
    while width < wanted:
        pairs = count // 2
        for i in range(pairs):
            parts[at + i] = parts[at + 2 * i] + parts[at + 2 * i + 1]
        if count % 2 == 1:
            parts[at + pairs] = parts[at + count - 1]
        width, count = 2 * width, count - pairs


@kernel
def clear_fails(tools):
    for i in range(2 * tools.areas.cells_of_part):
        tools.parts[tools.areas.fails + i] = 0


@kernel
def drop_unsafe(operands, axes, plan, tools, grid, count, high):
    """Replace cells that are not finite, or huge, by zeros, and mark the tiles whose windows meet them."""
    parts, areas, (_, a1, a2) = tools.parts, tools.areas, axes
    columns = count if plan.is_line else grid.columns
    together = blocks_together(operands.out.array)
    for part in range(2):
        fails = areas.fails + (part * areas.cells_of_part if together == 2 else 0)
        for i in range(count):
            at = areas.cells + part * areas.cells_of_part + i
            if float(parts[at]) < high / (2 * count):
                continue
            parts[at] = math.nan
            row, column = i // columns * grid.height, i % columns * plan.cell
            for r in range(grid.height):
                for j in range(plan.cell):
                    r1, c1 = row + r, column + j
                    if plan.is_line:
                        r1, c1 = divmod(c1, plan.columns)
                    if r1 < plan.rows:
                        parts[2 * r1 * areas.pitch + part * areas.pitch + c1] = 0
            # Windows that run over the end of a block meet its beginning.
            for over1 in range(1 if plan.is_line else 2):
                for over2 in range(2):
                    row1, column1 = row + over1 * plan.rows, column + over2 * plan.columns
                    if plan.is_line:
                        column1 = column + over2 * plan.rows * plan.columns
                    top = max(row1 - reach_of(a1) + 1, 0) // grid.height
                    left = max(column1 - reach_of(a2) + 1, 0) // grid.width
                    for tile1 in range(top, min(row1 // grid.height + 1, grid.rows)):
                        for tile2 in range(left, min((column1 + plan.cell - 1) // grid.width + 1, grid.columns)):
                            parts[fails + tile1 * grid.columns + tile2] = 1


@kernel
def compare_tiles(axes, plan, tools, grid, block, part, term, need, has_failed):
    """Mark the tiles of a block whose windows hold less than they need."""
    parts, areas, (_, a1, a2) = tools.parts, tools.areas, axes
    at, columns = facts_at(plan, tools, term), grid.columns
    cells, fails = areas.cells + part * areas.cells_of_part, areas.fails + part * areas.cells_of_part
    first1, last1 = int(parts[at + FIRST1]), int(parts[at + LAST1])
    first2, last2 = int(parts[at + FIRST2]), int(parts[at + LAST2])
    tiles1 = -(-((block.rows - 1) * a1.stride + 1) // grid.height)
    tiles2 = -(-((block.columns - 1) * a2.stride + 1) // grid.width)
    along, sums = areas.sums, areas.sums + areas.cells_of_part  # neither a sum of spectra nor a patch is there now
    # Cells behind the last one are elsewhere in the block: constants, which may be zeros.
    for i in range(min(tiles1 + last1, grid.rows)):
        for j in range(tiles2):
            parts[along + i * columns + j] = 0
        for k in range(first2, last2 + 1):
            for j in range(min(tiles2, columns - k)):
                parts[along + i * columns + j] += parts[cells + i * columns + j + k]
    for i in range(tiles1):
        for j in range(tiles2):
            parts[sums + j] = 0
        for k in range(first1, min(last1 + 1, grid.rows - i)):
            for j in range(tiles2):
                parts[sums + j] += parts[along + (i + k) * columns + j]
        for j in range(tiles2):
            if not (float(parts[sums + j]) >= need):
                if not has_failed:
                    clear_fails(tools)
                    has_failed = True
                parts[fails + i * columns + j] = 1
    return has_failed


@kernel
def repair_part(operands, call, axes, plan, tools, block, part):
    """Sum a few outputs of a block directly, into the matrix, where any tile of theirs is marked."""
    areas, lanes, (a0, a1, a2) = tools.areas, lanes_of(tools.parts), axes
    grid = find_grid(axes, plan, tools)
    rows, columns = (block.rows - 1) * a1.stride + 1, (block.columns - 1) * a2.stride + 1
    height, width = (1, HEIGHT * lanes) if plan.is_line else (HEIGHT, lanes)
    fails = areas.fails + part * areas.cells_of_part
    if block.rows == 0:
        rows = 0
    # Outputs between those that are kept are summed, too.
    b1 = Axis(a1.size, a1.kernel, 1, a1.dilation, a1.before, a1.after, a1.boundary, a1.out)
    b2 = Axis(a2.size, a2.kernel, 1, a2.dilation, a2.before, a2.after, a2.boundary, a2.out)
    for row in range(0, rows, height):
        for column in range(0, columns, width):
            is_marked, end1, end2 = False, min(row + height, rows), min(column + width, columns)
            for tile1 in range(row // grid.height, (end1 - 1) // grid.height + 1):
                for tile2 in range(column // grid.width, (end2 - 1) // grid.width + 1):
                    is_marked = is_marked or tools.parts[fails + tile1 * grid.columns + tile2] != 0
            if is_marked:
                p1, p2 = block.p1 * a1.stride + row, block.p2 * a2.stride + column
                patch = Block(block.n, block.o, block.p0, p1, p2, height, width)
                sum_patch(operands, call, (a0, b1, b2), plan, tools, patch)
                copy_patch(operands, plan, tools, part, row, column, end1 - row, end2 - column)


@kernel
def sum_patch(operands, call, axes, plan, tools, patch):
    """Sum a few outputs directly, into the buffer: vectors of real parts, then those of imaginary ones."""
    parts, areas, (a0, a1, a2), (w, ws) = tools.parts, tools.areas, axes, operands.w
    lanes = lanes_of(parts)
    rows, pitch = patch_sizes(axes, lanes)
    matrix = Matrix(areas.sums, pitch, rows * pitch, rows, pitch, pitch)
    target = Rows(parts, areas.buffer, lanes)
    clear_line(w, parts, areas.buffer, HEIGHT * lanes, 0, HEIGHT * lanes)
    step1, step2 = -ws.s1 if call.flip else ws.s1, -ws.s2 if call.flip else ws.s2
    for term in range(call.channels * a0.kernel):
        pack_plane(operands, call, axes, parts, patch, term, matrix)
        start = patch.o * ws.batch + term // a0.kernel * ws.channel + tap_index(call, a0, term % a0.kernel) * ws.s0
        start += tap_index(call, a1, 0) * ws.s1 + tap_index(call, a2, 0) * ws.s2
        top, bottom, left, right = 0, a1.kernel, 0, a2.kernel
        if plan.spectra > term and float(parts[facts_at(plan, tools, term) + TOTAL]) < math.inf:
            top, bottom, left, right = taps_of_numbers(w, axes, parts, matrix, patch)
        row = lanes if plan.is_line else pitch
        source = Rows(parts, areas.sums + top * a1.dilation * pitch + left * a2.dilation, row)
        weights = WindowWeights(elements(w), start + top * step1 + left * step2, step1, step2)
        steps = a1.dilation * pitch, a2.dilation
        add_windows(bottom - top, right - left, source, steps[0], steps[1], matrix.apart, weights, target)


@kernel
def taps_of_numbers(w, axes, parts, matrix, patch):
    """The rows and columns of taps that meet anything but zeros in a patch: from, to, each; finite weights add none."""
    _, a1, a2 = axes
    top, bottom, left, right = matrix.rows, 0, matrix.columns, 0
    for row in range(matrix.rows):
        at = matrix.start + row * matrix.row
        begin, end = some_numbers(w, parts, at, matrix.apart, matrix.columns)
        if begin < end:
            top, bottom = min(top, row), row + 1
            left, right = min(left, begin), max(right, end)
    top = max(-(-(top - patch.rows + 1) // a1.dilation), 0)
    left = max(-(-(left - patch.columns + 1) // a2.dilation), 0)
    bottom = min((bottom + a1.dilation - 1) // a1.dilation, a1.kernel)
    right = min((right + a2.dilation - 1) // a2.dilation, a2.kernel)
    return top, max(bottom, top), left, max(right, left)


@kernel
def copy_patch(operands, plan, tools, part, row, column, rows, columns):
    """Copy sums from the buffer to where they belong in the matrix."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    for kind in range(3 - blocks_together(operands.out.array)):
        source, to = areas.buffer + kind * HEIGHT * lanes, (part + kind) * areas.pitch
        for r in range(rows):
            for j in range(columns):
                at = 2 * (row + r) * areas.pitch + column + j
                if plan.is_line:
                    line, first = divmod(column + j, plan.columns)
                    at = 2 * line * areas.pitch + first
                parts[to + at] = parts[source + r * lanes + j]


def some_numbers(w, parts, at, apart, count):
    """From where on, and to where, a row holds other numbers than zero."""
    raise NotImplementedError("compiled code only")


@overload(some_numbers)
def _some_numbers(w, parts, at, apart, count):
    def of_complex(w, parts, at, apart, count):
        begin, end = 0, count
        while begin < count and parts[at + begin] == 0 and parts[at + apart + begin] == 0:
            begin += 1
        while end > begin and parts[at + end - 1] == 0 and parts[at + apart + end - 1] == 0:
            end -= 1
        return begin, end

    def of_real(w, parts, at, apart, count):
        begin, end = 0, count
        while begin < count and parts[at + begin] == 0:
            begin += 1
        while end > begin and parts[at + end - 1] == 0:
            end -= 1
        return begin, end

    return of_complex if hasattr(w.compute, "underlying_float") else of_real


# ---- input and output


@kernel
def pack_blocks(operands, call, axes, plan, tools, first, second, term):
    """Fill the matrix with what a term of one block reads, or of two."""
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
    c, k0 = divmod(term, a0.kernel)
    channel = block.o // call.outputs * call.channels + c
    i0 = source_index(block.p0 * a0.stride + k0 * a0.dilation - a0.before, a0.size, a0.boundary)
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


@kernel
def store_blocks(operands, call, axes, plan, tools, first, second):
    """Finish the sums of one block, or of two, and copy them to the output."""
    for part in range(blocks_together(operands.out.array)):
        block = second if part == 1 else first
        if block.rows > 0:
            store_part(operands, call, axes, plan, tools, block, part * tools.areas.pitch)


@kernel
def store_part(operands, call, axes, plan, tools, block, part):
    """Finish the sums in a part of the matrix."""
    (out, outs), areas, (_, a1, a2) = operands.out, tools.areas, axes
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
