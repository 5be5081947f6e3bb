"""The guard of products of spectra: outputs that a transform could spoil are found, and summed directly.

A transform spreads its error over all of a block. With rounding errors taken as random (Higham and Mary, "A new
approach to probabilistic rounding error analysis", 2019), no result errs by more than about

    ERROR u r G,    r the root of the block's mean square, both parts of it, G the largest number of a kernel's spectrum

In the mean square that is more than `u log2(N)` times a small constant, the bound for any rounding errors (Higham,
"Accuracy and Stability of Numerical Algorithms", theorem 24.2), allows for a block of N numbers. The largest that was
measured is 13, of a sine that meets a kernel of its own frequency, and 10 of other data. Terms of a sum add up.

Direct sums err by `(n + 2) u (|x| * |w|)(o)` at most, and four times that is allowed for each output `o`, where "auto"
has chosen the transform. Of `(|x| * |w|)(o)` a lower bound is found: a window is cut into cores, in each of which all
weights but a few are some bound or more, and the few meet elements that are not larger than the block's largest one:

    (|x| * |w|)(o) >= sum over cores of weight (sum of |x| in the core - small max |x|)

So a window that is half in the padding counts by its other half. Sums of |x| are those of cells, small squares, which
lie in the cores of all outputs of a tile, a square of the same size. Where the bound is too low, and in any case where
a window meets what is not finite or so large that sums could overflow, the outputs of a tile are marked. Elements of
the latter kind are zeros to the transform.
"""

import math
from typing import NamedTuple

from ..jit import kernel, overload
from ..shapes import AUTO, CONSTANT, Axis
from ..simd.magnitudes import Rows, add_scores, is_any_below, sum_rows, survey
from ..simd.vectors import lanes_of
from ..simd.windows import HEIGHT, WindowWeights, add_windows
from ..strided import elements, load
from .fft_blocks import (
    FACTS,
    Block,
    Matrix,
    Term,
    blocks_together,
    clear_line,
    count_terms,
    find_term,
    first_weight,
    pack_plane,
    patch_sizes,
    piece_of,
    reach_of,
)

ERROR = 20.0  # some 5 sqrt(log2(N))
_CHUNK = 128  # sums that are made together
_LINE, _PLANE = (1, 7), (3, 3)  # cores along each axis

# Where a kernel's facts lie: the largest number of its spectrum, at most; the sum of all weights; and of each core what
# all weights but for a few are, at least (0: there is no such weight), and how many those few are.
GAIN, TOTAL, WEIGHTS = range(3)


class Verdict(NamedTuple):
    """What the terms of a block so far have told: whether any tile is marked, and which error is to be allowed for."""

    has_failed: bool
    error: float


@kernel
def facts_at(plan, tools, term):
    """Where the facts of a term's kernel lie."""
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
    while (plan.taps2 - 1) * axes[2].dilation + 1 > 64 * width:
        width *= 2
    return Grid(1, width, 1, -(-plan.rows * plan.columns // width))


@kernel
def write_facts(operands, call, axes, plan, tools, o, number):
    """Write the facts of a term's weights: of each core, of some bounds of its weights that which tells most.

    `find_largest` has seen its spectrum, which is scaled.
    """
    parts, w, at = tools.parts, operands.w.array, facts_at(plan, tools, number)
    term, (_, a1, a2) = find_term(axes, plan, number)
    start, step1, step2 = first_weight(operands, call, axes, o, term)
    grid = find_grid(axes, plan, tools)
    size1, size2 = grid.height, grid.width
    total = top = 0.0
    for k1 in range(a1.kernel):
        for k2 in range(a2.kernel):
            weight = abs(load(w, start + k1 * step1 + k2 * step2))
            total, top = total + weight, max(top, weight)
    gain = min(largest_number(tools) * plan.rows * plan.columns, total)
    for i in range(FACTS):
        parts[at + i] = 0
    parts[at + GAIN], parts[at + TOTAL] = gain, total
    if call.algorithm != AUTO or not (0 < top < math.inf):
        return
    cores1, cores2 = _LINE if plan.is_line else _PLANE
    for i in range(cores1 * cores2):
        first1, end1 = core_of(a1.kernel, size1, i // cores2, cores1)
        first2, end2 = core_of(a2.kernel, size2, i % cores2, cores2)
        if first1 == end1 or first2 == end2:  # no cells, and a small piece of the kernel ends before
            continue
        small = (0, 0, 0, 0, 0, 0)
        for k1 in range((first1 - 1) * size1 + 1, end1 * size1):
            for k2 in range((first2 - 1) * size2 + 1, end2 * size2):
                small = count_small(small, abs(load(w, start + k1 * step1 + k2 * step2)), top)
        room, bound, most = float((end1 - first1) * size1 * (end2 - first2) * size2), top, 0.0
        for few in small:
            # What do all cells of the core tell, if a block's largest element is 4 times its mean?
            if bound * (room - 4.0 * few) > most:
                most = bound * (room - 4.0 * few)
                parts[at + WEIGHTS + 2 * i], parts[at + WEIGHTS + 2 * i + 1] = bound, few
            bound /= 4


@kernel
def core_of(taps, size, i, cores):
    """Cells of core `i`, counted from a tile's own: the first, and the one behind the last.

    All cores together are the cells that lie within the windows of all outputs of a tile.
    """
    least = 1 if size > 1 else 0
    cells = max(taps // size - least, 0)
    return least + cells * i // cores, least + cells * (i + 1) // cores


@kernel
def count_small(small, weight, top):
    """Count a weight among those that are less than `top`, a fourth of it, and so on."""
    a, b, c, d, e, f = small
    a, b, c = a + (weight < top), b + (4 * weight < top), c + (16 * weight < top)
    return a, b, c, d + (64 * weight < top), e + (256 * weight < top), f + (1024 * weight < top)


@kernel
def error_unit(axes, call):
    """`ERROR`, over what is allowed of `(|x| * |w|)(o)`."""
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
def largest_number(tools):
    """The largest number of a spectrum, at most; by its square, if none can have been lost."""
    parts, lanes, low, part = (
        tools.parts,
        lanes_of(tools.parts),
        math.sqrt(safe_range(tools.parts)[0]),
        take_largest(tools),
    )
    square = 0.0
    for i in range(lanes, 2 * lanes):
        square = max(square, float(parts[tools.areas.largest + i]))
    return math.sqrt(square) if low < part < 1 / low else math.sqrt(2.0) * part


@kernel
def examine(operands, call, axes, plan, tools, first, second, term, verdict):
    """Look at the matrix as a term's blocks are packed into it, and mark tiles. The new verdict.

    Those that hold too little are marked when the last term is known.
    """
    parts, areas, at = tools.parts, tools.areas, facts_at(plan, tools, term)
    grid, (_, pieces) = find_grid(axes, plan, tools), find_term(axes, plan, term)
    count = survey_matrix(plan, tools, grid)
    largest, total = take_largest(tools), sum_cells(tools, count)
    (low, high), size = safe_range(parts), plan.rows * plan.columns
    has_failed, error = verdict.has_failed, verdict.error
    if not (total < high):
        if not has_failed:
            clear_fails(tools)
        has_failed = True
        largest, total = drop_unsafe(operands, pieces, plan, tools, grid, count, high)
    for part in range(2 if plan.is_line else 0):
        join_cells(parts, areas.cells + part * areas.cells_of_part, count, plan.cell, grid.width)
    gain = float(parts[at + GAIN])
    if not (float(parts[at + TOTAL]) < high and total * max(gain, 1.0) < high):
        error = math.inf
    elif call.algorithm == AUTO and largest > 0 and gain > 0:
        is_lost = not (min(min(largest, gain / size), largest * (gain / size)) > low)
        mean = mean_square_root(tools, largest, total, size, math.sqrt(low))
        error += math.inf if is_lost else error_unit(axes, call) * gain * mean
    together, last = blocks_together(operands.out.array), term == count_terms(call, axes, plan) - 1
    if error > 0 and together == 1:
        for i in range(grid.rows * grid.columns):
            parts[areas.cells + i] += parts[areas.cells + areas.cells_of_part + i]
    for part in range(together):
        block = second if part == 1 else first
        if block.rows > 0 and (call.algorithm == AUTO or error > 0):
            score_tiles(pieces, plan, tools, grid, block, part, term, largest)
            if last and error > 0:
                has_failed = mark_tiles(axes, tools, grid, block, part, error, has_failed)
    return Verdict(has_failed, error)


@kernel
def survey_matrix(plan, tools, grid):
    """Find the sums of all cells and the largest element; how many cells a part has. A signal's are not joined yet."""
    parts, areas = tools.parts, tools.areas
    columns = plan.columns if plan.is_line else areas.all_columns  # cells of a signal lie side by side
    clear_largest(tools)
    for part in range(2):
        at, to = part * areas.pitch, areas.cells + part * areas.cells_of_part
        for row in range(0, plan.rows, grid.height):
            height, source = min(grid.height, plan.rows - row), Rows(parts, at, 2 * areas.pitch)
            survey(plan.cell, height, areas.all_columns, source, Rows(parts, to, 0), areas.largest)
            at, to = at + 2 * height * areas.pitch, to + columns // plan.cell
    return -(-plan.rows // grid.height) * (columns // plan.cell)


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
    """Replace cells that are not finite, or huge, by zeros, and mark the tiles whose windows meet them.

    The largest of the other cells, and their sum.
    """
    parts, areas, (_, a1, a2) = tools.parts, tools.areas, axes
    columns = count if plan.is_line else grid.columns
    together = blocks_together(operands.out.array)
    largest = total = 0.0
    for part in range(2):
        fails = areas.fails + (part * areas.cells_of_part if together == 2 else 0)
        for i in range(count):
            at = areas.cells + part * areas.cells_of_part + i
            cell = float(parts[at])
            if cell < high / (2 * count):
                largest, total = max(largest, cell), total + cell
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
    return largest, total


@kernel
def score_tiles(axes, plan, tools, grid, block, part, term, largest):
    """Add what a term contributes to `(|x| * |w|)(o)`, at the least, in the windows of each tile of a block."""
    parts, areas, (_, a1, a2) = tools.parts, tools.areas, axes
    cells, scores = areas.cells + part * areas.cells_of_part, areas.scores + part * areas.cells_of_part
    tiles1, tiles2 = count_tiles(axes, grid, block)
    cores1, cores2 = _LINE if plan.is_line else _PLANE
    for i in range(tiles1):
        for begin in range(0, tiles2, _CHUNK):
            count, to = min(tiles2 - begin, _CHUNK), scores + i * grid.columns + begin
            for j in range(count if term == 0 else 0):
                parts[to + j] = 0
            for core1 in range(cores1):
                first1, end1 = core_of(a1.kernel, grid.height, core1, cores1)
                width = count + a2.kernel // grid.width
                above = sum_columns(tools, grid, cells, i + first1, i + end1, begin, width)
                for core2 in range(cores2):
                    at = facts_at(plan, tools, term) + WEIGHTS + 2 * (core1 * cores2 + core2)
                    if parts[at] > 0:
                        first2, end2 = core_of(a2.kernel, grid.width, core2, cores2)
                        less = parts[at + 1] * type(parts[at])(largest)
                        source, target = Rows(parts, above + first2, 0), Rows(parts, to, 0)
                        add_scores(end2 - first2, count, parts[at], less, source, target)


@kernel
def sum_columns(tools, grid, cells, top, bottom, begin, count):
    """The sums of some rows of cells, in the buffer: where the first of `count` lies.

    Cells behind the last one are elsewhere in the block: constants, which may be zeros.
    """
    parts, sums, inside = tools.parts, tools.areas.buffer, min(count, grid.columns - begin)
    source = Rows(parts, cells + top * grid.columns + begin, grid.columns)
    sum_rows(max(min(bottom, grid.rows) - top, 0), inside, source, Rows(parts, sums, 0))
    for j in range(inside, count):
        parts[sums + j] = 0
    return sums


@kernel
def count_tiles(axes, grid, block):
    """Rows and columns of tiles that a block's outputs lie in, those between kept ones included."""
    _, a1, a2 = axes
    rows, columns = (block.rows - 1) * a1.stride + 1, (block.columns - 1) * a2.stride + 1
    return -(-rows // grid.height), -(-columns // grid.width)


@kernel
def mark_tiles(axes, tools, grid, block, part, error, has_failed):
    """Mark the tiles of a block whose score is less than an error needs; whether any tile is marked."""
    parts, at = tools.parts, part * tools.areas.cells_of_part
    tiles1, tiles2 = count_tiles(axes, grid, block)
    limit, scores = type(parts[at])(error), tools.areas.scores + at
    for i in range(tiles1):
        row = i * grid.columns
        if not is_any_below(limit, tiles2, Rows(parts, scores + row, 0)):
            continue
        for j in range(row, row + tiles2):
            if not (parts[scores + j] >= limit):
                if not has_failed:
                    clear_fails(tools)
                has_failed = True
                parts[tools.areas.fails + at + j] = 1
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
    parts, areas, w, lanes = tools.parts, tools.areas, operands.w.array, lanes_of(tools.parts)
    terms = count_terms(call, axes, plan)
    target = Rows(parts, areas.buffer, lanes)
    clear_line(w, parts, areas.buffer, HEIGHT * lanes, 0, HEIGHT * lanes)
    for number in range(terms):
        term, pieces = find_term(axes, plan, number)
        is_finite = plan.spectra == terms and float(parts[facts_at(plan, tools, number) + TOTAL]) < math.inf
        if is_finite and load(operands.fill, 0) == 0:
            a0, a1, a2 = pieces
            top, bottom = taps_inside(a1, patch.p1, patch.rows)
            left, right = taps_inside(a2, patch.p2, patch.columns)
            term = Term(term.c, term.k0, term.k1 + top, term.k2 + left)
            pieces = a0, piece_of(a1, top, bottom - top), piece_of(a2, left, right - left)
        _, a1, a2 = pieces
        if a1.kernel == 0 or a2.kernel == 0:
            continue
        rows, pitch = patch_sizes(pieces, lanes, plan.is_line)
        matrix = Matrix(areas.sums, pitch, rows * pitch, rows, pitch, pitch)
        pack_plane(operands, call, pieces, parts, patch, term, matrix)
        start, step1, step2 = first_weight(operands, call, axes, patch.o, term)
        top, bottom, left, right = 0, a1.kernel, 0, a2.kernel
        if is_finite:
            top, bottom, left, right = taps_of_numbers(w, pieces, parts, matrix, patch)
        row = lanes if plan.is_line else pitch
        source = Rows(parts, areas.sums + top * a1.dilation * pitch + left * a2.dilation, row)
        weights = WindowWeights(elements(w), start + top * step1 + left * step2, step1, step2)
        steps = a1.dilation * pitch, a2.dilation
        add_windows(bottom - top, right - left, source, steps[0], steps[1], matrix.apart, weights, target)


@kernel
def taps_inside(axis, first, outputs):
    """The taps that any of some neighbouring windows has inside of the input, if constants lie around it: from, to."""
    if axis.boundary != CONSTANT:
        return 0, axis.kernel
    start = first - axis.before
    begin = min(max(-((start + outputs - 1) // axis.dilation), 0), axis.kernel)
    return begin, min(max(-((start - axis.size) // axis.dilation), begin), axis.kernel)


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
