"""Large kernels over planes and long signals: overlap-save, products of the spectra of blocks with those of kernels.

For each block of the output (of one image and output channel; two blocks at a time, see below):

    pack       the block's input, from any strides, into a matrix whose size has good factors; the boundary rule applied
    columns    transforms along columns, lanes across neighbouring columns
    rows       groups of rows, transposed so that lanes run across them: transformed, multiplied with the kernel's
               spectrum, transformed back and transposed again while they are in L1
    columns    transformed back
    store      bias, activation and the copy of the valid results to the output's strides

Real kernels keep real and imaginary parts apart: two blocks of real numbers are the parts of one complex block. A
signal is cut into rows of a matrix, too: its transform differs from that of a plane by factors between columns and rows
(Bailey, "FFTs in External or Hierarchical Memory", 1990). Terms of a sum, channels and taps of the first axis, are
added up in the spectrum. The spectra of a kernel are kept for all blocks of its output channel if they fit the
workspace. Errors are not those of direct sums: `fft_guard` has their bound, and finds what has to be summed directly.
"""

from ..fft import PASS_WORDS, Passes, Place, forward, frequency, inverse, root, write_passes
from ..jit import entry, kernel, overload, plain
from ..shapes import AUTO, CALL_FIELDS, CONSTANT, HUGE, PLAN, words_of
from ..simd.fft import Squares, multiply, transpose_squares, turn
from ..simd.magnitudes import find_largest
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..strided import (
    five_strides,
    is_aligned,
    load,
    load_tuple,
    scratch,
    scratch_doubles,
    scratch_index,
    scratch_parts,
    stride,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, write_tuple
from .activation import finish_elements, finish_row
from .costs import PLANES as PLANES_COSTS
from .costs import larger
from .fft_blocks import (
    FACTS,
    Block,
    Plan,
    Tools,
    blocks_together,
    count_terms,
    find_areas,
    find_term,
    first_weight,
    is_line,
    pack_blocks,
    patch_sizes,
    piece_of,
    reach_of,
)
from .fft_guard import Verdict, clear_largest, examine, repair_part, write_facts
from .operands import Operand, Operands

WORKSPACE_BYTES = 4 << 20

# Lengths of columns and rows that blocks are chosen from.
SIZES = 16, 24, 32, 40, 48, 64, 72, 80, 96, 120, 144, 160, 192, 240, 256, 320, 384, 512
_ROOTS = 256
SHORTEST = 225  # taps: of fewer, the bound of direct sums leaves a transform too little room
FEW_CHANNELS = 4  # of more, tiles of several outputs have less to do
LEAST = 2e6  # multiply-adds of a plane: of fewer, choosing blocks takes as long as direct sums
TOO_SHORT, OTHER_SUMS, TOO_SMALL = 1, 2, 3
_PLAN_WORDS = PLAN + words_of(Plan)


# ---- what is known before the arrays are: plain Python


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def refuses(call, axes, element):
    """A reason of `TOO_SHORT`, ..., or 0. Asked for by name, all that has terms is taken."""
    a0, a1, a2 = axes
    if call.channels == 0:
        return OTHER_SUMS
    if call.algorithm == AUTO:
        if call.channels > FEW_CHANNELS or a1.dilation * a2.dilation > 1:
            return OTHER_SUMS
        if a1.kernel * a2.kernel < SHORTEST or (min(a1.kernel, a2.kernel) < 8 and not is_line(axes)):
            return TOO_SHORT
        if float(a1.out) * a2.out * a1.kernel * a2.kernel < LEAST:
            return TOO_SMALL
    return 0


def reason(refusal, call, axes, element):
    """Why this family does not run a call, in words."""
    if refusal == OTHER_SUMS:
        return f"sums have no channel, more than {FEW_CHANNELS}, or gaps between their terms"
    if refusal == TOO_SMALL:
        return f"the plane is small, of fewer than {LEAST:.0f} multiply-adds"
    return f"the kernel has {axes[1].kernel} x {axes[2].kernel} taps in a plane, expected {SHORTEST} or more"


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    plan = choose_plan(call, axes, element)
    steps = plan_cost(plan, call, axes, element)
    if call.algorithm == AUTO:
        guard = PLANES_COSTS.small_cell if plan.cell == 2 else PLANES_COSTS.cell
        terms = call.groups * call.outputs * float(count_terms(call, axes, plan))
        steps += terms * count_turns(plan, axes, element) * plan.rows * plan.columns * guard
    return steps * PLANES_COSTS.step * larger(element) / (2 if element.is_complex else 1)


@plain
def plan_cost(plan, call, axes, element):
    """Steps of a plan's transforms, for one image: what is chosen by it must not change with the batch."""
    turns = count_turns(plan, axes, element)
    terms = float(count_terms(call, axes, plan))
    again = turns if plan.spectra < terms else 1.0  # a kernel's spectrum is made
    blocks = turns * (terms + 1) / 2 + again * terms / 2  # a transform there is half of what a block takes
    return call.groups * call.outputs * blocks * block_cost(plan.rows, plan.columns)


@plain
def count_turns(plan, axes, element):
    """Blocks of an output channel of an image; of real numbers two at a time."""
    return float(-(-axes[0].out * plan.blocks1 * plan.blocks2 // (1 if element.is_complex else 2)))


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    write_tuple(numbers, PLAN, choose_plan(call, axes, element))


@plain
def outputs_in(size, axis, is_piece):
    """Outputs that a block of so many inputs has, for a kernel or a piece of one.

    With a constant around the input, that on both sides may be the same elements of a block that holds all of an axis;
    each window begins within the block.
    """
    reach = reach_of(axis)
    if axis.boundary == CONSTANT and size >= reach and not is_piece:
        inputs = min((axis.out - 1) * axis.stride + reach, HUGE)
        if inputs - size <= min(axis.before, inputs - axis.before - axis.size, reach - 1):
            return axis.out
    return min((size - reach) // axis.stride + 1, axis.out) if size >= reach else 0


@plain
def block_cost(rows, columns):
    """Steps that a block takes, about: of transforms, and of all that is done once."""
    rows, columns = -(-rows // 16) * 16, -(-columns // 16) * 16
    twos, size = 0, rows * columns
    while size > 1:
        size, twos = size // 2, twos + 1
    return float(rows * columns * (8 * twos + 80))


@plain
def piece_taps(size, axis):
    """Taps of the pieces that a kernel is cut into for blocks of a size: all of them where their windows fit."""
    if reach_of(axis) <= size:
        return axis.kernel
    return max((size // 2 - 1) // axis.dilation + 1, 1)  # as many outputs as a piece reads


@plain
def choose_plan(call, axes, element):
    """The sizes of blocks that take least, the spectrum of the kernel included: small ones always fit."""
    a0, a1, a2 = axes
    part = element.itemsize // (2 if element.is_complex else 1)
    most, line = (1 << 19) // part, is_line(axes)
    best, best_cost = Plan(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1), 0.0
    for rows in SIZES:
        taps1 = 1 if line else piece_taps(rows, a1)
        b1 = piece_of(a1, 0, taps1)
        out_rows = 1 if line else outputs_in(rows, b1, taps1 < a1.kernel)
        if out_rows < 1 or (line and rows % 16 != 0):
            continue
        for columns in SIZES:
            size2 = rows * columns if line else columns
            if rows * columns > most or (line and (2 * rows < columns or rows > 2 * columns)):
                continue
            taps2 = piece_taps(size2, a2)
            b2 = piece_of(a2, 0, taps2)
            out_columns = outputs_in(size2, b2, taps2 < a2.kernel)
            if out_columns < 1:
                continue
            blocks1, blocks2 = -(-a1.out // out_rows), -(-a2.out // out_columns)
            cell = 2 if min(taps1, taps2) < 24 and not line else 4
            patch_rows, patch_pitch = patch_sizes((a0, b1, b2), VECTOR_BYTES // part, line)
            plan = Plan(
                int(line), rows, columns, -(-a1.out // blocks1), -(-a2.out // blocks2), blocks1, blocks2, HUGE, cell,
                (2 if element.is_complex else 1) * patch_rows * patch_pitch,
                taps1, taps2, -(-a1.kernel // taps1), -(-a2.kernel // taps2),
            )  # fmt: skip
            if best_cost == 0 or plan_cost(plan, call, axes, element) < best_cost:
                plan = keep_spectra(plan, call, axes, part)
                taken = plan_cost(plan, call, axes, element)
                if plan.spectra > 0 and (best_cost == 0 or taken < best_cost):
                    best, best_cost = plan, taken
            if not line and blocks2 == 1 and taps2 == a2.kernel:
                break  # larger ones hold no more
        if not line and out_rows == a1.out and taps1 == a1.kernel:
            break
    return best


@plain
def keep_spectra(plan, call, axes, part):
    """The plan, with as many spectra of an output channel's kernel as are kept: all, or one at a time; 0: none fits."""
    areas, terms = find_areas(plan, part), count_terms(call, axes, plan)
    room = (WORKSPACE_BYTES // part - areas.spectra - 64) // (areas.spectrum + FACTS)
    spectra = terms if terms <= room else min(room, 1)
    return Plan(
        plan.is_line, plan.rows, plan.columns, plan.out_rows, plan.out_columns, plan.blocks1, plan.blocks2,
        max(spectra, 0), plan.cell, plan.patch, plan.taps1, plan.taps2, plan.pieces1, plan.pieces2,
    )  # fmt: skip


# ---- kernels


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
        prepare(tools, plan, scratch_doubles(workspace, 0))
    while item < call.groups * call.outputs * call.batch * turns:
        rest, turn_number = divmod(item, turns)
        o, n = divmod(rest, call.batch)
        if o != known and plan.spectra == count_terms(call, axes, plan):
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


@kernel
def prepare(tools, plan, doubles):
    """Write all factors, and zeros where a matrix has no rows; `doubles` is the beginning of the workspace."""
    parts, areas, words = tools.parts, tools.areas, tools.columns.words
    end = write_passes(words, 0, plan.rows, parts, areas.twiddles)
    write_passes(words, PASS_WORDS, plan.columns, parts, end)
    if plan.is_line:
        write_turns(tools, plan, doubles)
    for i in range(areas.sums):
        parts[i] = 0


@kernel
def write_turns(tools, plan, roots):
    """The factors between columns and rows of a signal: of each row, for its first columns and for every square.

    Each is the product of two roots of unity: of those that follow each other, and of every 256th.
    """
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    size, squares = plan.rows * plan.columns, areas.all_columns // lanes
    for j in range(_ROOTS):
        roots[2 * j], roots[2 * j + 1] = root(j, size)
    for j in range(size // _ROOTS + 1):
        roots[2 * (_ROOTS + j)], roots[2 * (_ROOTS + j) + 1] = root(j * _ROOTS % size, size)
    for row in range(areas.all_rows):
        k = frequency(tools.columns, row) if row < plan.rows else 0
        group, lane = divmod(row, lanes)
        for kind in range(2):
            at, count, step = areas.fine + group * lanes * 2 * lanes + lane, lanes, k
            if kind == 1:
                at, count, step = areas.coarse + group * squares * 2 * lanes + lane, squares, k * lanes
            for i in range(count):
                coarse, fine = divmod(step * i % size, _ROOTS)
                a, b = roots[2 * fine], roots[2 * fine + 1]
                c, d = roots[2 * (_ROOTS + coarse)], roots[2 * (_ROOTS + coarse) + 1]
                parts[at + 2 * i * lanes], parts[at + (2 * i + 1) * lanes] = a * c - b * d, a * d + b * c


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
    parts, areas, lanes, w = tools.parts, tools.areas, lanes_of(tools.parts), operands.w.array
    place_of_term, (_, a1, a2) = find_term(axes, plan, term)
    start, step1, step2 = first_weight(operands, call, axes, o, place_of_term)
    for i in range(2 * plan.rows * areas.pitch):
        parts[i] = 0
    for k1 in range(a1.kernel):
        row = -k1 * a1.dilation % plan.rows
        for k2 in range(a2.kernel):
            column = -k2 * a2.dilation
            if plan.is_line:
                row, column = divmod(column % (plan.rows * plan.columns), plan.columns)
            else:
                column %= plan.columns
            weight = load(w, start + k1 * step1 + k2 * step2)
            store_parts(parts, 2 * row * areas.pitch + column, areas.pitch, weight, 1.0 / (plan.rows * plan.columns))
    transform_columns(plan, tools)
    clear_largest(tools)
    for group in range(areas.all_rows // lanes):
        place = load_group(plan, tools, group)
        at = areas.spectra + term % plan.spectra * areas.spectrum + group * plan.columns * 2 * lanes
        spectrum = Place(parts, at, at + lanes, 2 * lanes)
        forward(tools.rows, place, place, spectrum)
        find_largest(plan.columns, spectrum, areas.largest)
    write_facts(operands, call, axes, plan, tools, o, term)


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
    terms = count_terms(call, axes, plan)
    groups = areas.all_rows // lanes
    verdict = Verdict(False, 0.0)
    for term in range(terms):
        if plan.spectra < terms:
            transform_kernel(operands, call, axes, plan, tools, first.o, term)
        place_of_term, pieces = find_term(axes, plan, term)
        pack_blocks(operands, call, pieces, plan, tools, first, second, place_of_term)
        verdict = examine(operands, call, axes, plan, tools, first, second, term, verdict)
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
    if verdict.has_failed:
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
    """Multiply a group of a signal's rows with the factors of `write_turns`; conjugated, if parts are swapped."""
    parts, areas, lanes = tools.parts, tools.areas, lanes_of(tools.parts)
    squares = areas.all_columns // lanes
    fine, coarse = areas.fine + group * lanes * 2 * lanes, areas.coarse + group * squares * 2 * lanes
    fines = Place(parts, fine, fine + lanes, 2 * lanes)
    turn(squares, place, fines, Place(parts, coarse, coarse + lanes, 2 * lanes))


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
        finish_elements(out, where, step, count, sums, joined // 2, bias, bias_where, call)

    def of_real(out, where, step, count, tools, at, apart, bias, bias_where, call, workspace):
        if apart == 1:
            finish_row(out, where, step, count, tools.parts, at, bias, bias_where, call)
            return
        gathered = tools.areas.buffer
        for j in range(count):
            tools.parts[gathered + j] = tools.parts[at + j * apart]
        finish_row(out, where, step, count, tools.parts, gathered, bias, bias_where, call)

    return of_complex if hasattr(out.compute, "underlying_float") else of_real
