"""Patches by lines: what each line of an input meets is written while it is in registers, and the adjoint.

    split      a line of the padded input is read once, split by residues of its columns, and written to the rows of
               patches that meet it, as many as the window has rows and columns over it
    join       the rows of patches that meet a line of the result are added up, by residues, in registers, and joined
               at large strides, as of frames of a signal, residues and turns are transposed by squares instead

Blocks are rows of planes, whole ones if they are not longer than a block. Which rows of patches each line meets is the
same for all planes: it is written to a table once for several blocks. Input whose columns do not lie next to each other
is copied to the workspace block by block, which large windows make up for: of planes that lie next to each other, a
cache line of them at a time.
"""

from ..jit import kernel
from ..shapes import even_part
from ..simd.boxes import PARTIAL, Box, Place, copy_box
from ..simd.turns import ENTRY, MOST, PLANES, Lines, Turns, join_lines, split_lines, split_planes
from ..simd.vectors import VECTOR_BYTES
from ..strided import item_size, scratch_array, scratch_index, stride
from ..window import load_axis
from .walk import image_offset, joined_axes, positions_of, reach, spatial, walk_in

COPIED = 1 << 16  # bytes of a block that is copied
_LINE = 64  # bytes that a cache reads: of planes that lie next to each other, as many as have elements in it are copied
_LARGE = 8192  # elements of another block
_ROWS = 512  # of a block
_ENTRIES = 1024  # of a table
_MASKS = 1024  # of vectors of a row
# Where masks and copies begin in the workspace, behind the table.
_BITS = 8 * (_ROWS + 1 + ENTRY * _ENTRIES)
_COPY = _BITS + 8 * _MASKS
WORKSPACE_BYTES = _COPY + COPIED
_LEAST = VECTOR_BYTES // 16  # elements of a vector
_TURNS = 16  # of a block, at the least
_MOST = 5  # residues that lines are split to, in registers: more of them are transposed faster
_SPARSE = 4  # elements of a padded input for each of patches, from which on most of them meet no tap


@kernel
def groups_of(axis):
    """Taps of a residue along an axis, gaps between taps included."""
    return (axis.kernel - 1) * axis.dilation // axis.stride + 1


@kernel
def entries_of(last, taps):
    """Entries that a row has at most."""
    return taps // last.kernel * -(-last.kernel // last.stride)


@kernel
def masks_of(axis):
    """Masks of a vector of turns."""
    return groups_of(axis) + (axis.stride if axis.stride <= MOST else 0)


@kernel
def goes_by_lines(array, axes, trailing, taps, positions, is_sum):
    """Whether patches of these axes are made here, or made to sums."""
    if not PARTIAL or trailing == 0:
        return False
    last = load_axis(axes, axes.rank - 1)
    if (last.stride > 1 and last.dilation > 1) or entries_of(last, taps) > _ENTRIES or masks_of(last) > _MASKS:
        return False
    if is_sum:
        return stride(array, axes.rank - trailing + 1) == 1
    is_dense = stride(array, axes.rank - 1) == 1
    if taps == 1 or last.stride > _MOST or (last.stride == 1 and is_dense):
        return False
    cells, strides = 1.0, 1
    for a in range(axes.rank - trailing, axes.rank):
        axis = load_axis(axes, a)
        cells, strides = cells * reach(axis), min(strides * axis.stride, taps)
    # Rows that are less than a vector are worth it only if each of their elements is written several times.
    if last.out < VECTOR_BYTES // item_size(array) and (not is_dense or trailing == 1 or taps <= strides):
        return False
    return cells <= _SPARSE * float(taps) * positions


@kernel
def walk_lines(array, axes, trailing, taps, is_sum):
    """Rows are those of elements that taps meet, columns are turns."""
    leading, outers = axes.rank - trailing, 1
    joined, planes, step = joined_axes(array, axes, leading)
    for a in range(leading, axes.rank - 2):
        axis = load_axis(axes, a)
        outers *= axis.size if is_sum else reach(axis)
    a1, a2 = spatial(axes, trailing, 2), spatial(axes, trailing, 1)
    rows = a1.size if is_sum else reach(a1)
    first, end = turns_of(a2, is_sum)
    columns = end - first
    least, room = 1, _LARGE
    if not is_sum and stride(array, axes.rank - 1) != 1:
        least, room = even_part(planes, _LINE // item_size(array)) if step == 1 else 1, COPIED // item_size(array)
    turns = min(max(room // (least * a2.stride), _TURNS), _LEAST * (_MASKS // masks_of(a2)))
    width = even_part(columns, turns)
    most = min(room // (least * width * a2.stride), _ROWS, _ENTRIES // entries_of(a2, taps))
    height = even_part(rows, max(most, 1)) if width == columns else 1
    few = least
    if height == rows and width == columns:
        few = even_part(planes, max(room // (rows * columns * a2.stride), 1))
    return walk_in(axes, leading, joined, planes, step, Box(outers, rows, columns), Box(few, height, width))


@kernel
def turns_of(axis, is_sum):
    """The turns of a line: from, to."""
    if is_sum:
        return axis.before // axis.stride, (axis.before + axis.size - 1) // axis.stride + 1
    return 0, axis.out + groups_of(axis) - 1


@kernel
def write_table(table, axes, trailing, walk, block, taps, step, is_sum):
    """What the rows of a block meet; the patches of two taps are `step` apart."""
    a1, a2 = spatial(axes, trailing, 2), spatial(axes, trailing, 1)
    at = block.size.rows + 1
    for j in range(block.size.rows):
        table[j] = at
        row = block.row + j + (a1.before if is_sum else 0)
        for rest in range(taps // (a1.kernel * a2.kernel)):
            is_met, outer = positions_of(axes, walk, block.outer, rest, is_sum)
            if not is_met:
                continue
            p, residue = divmod(row, a1.stride)
            for k in range(a1.kernel):
                if residue == 0 and 0 <= p < a1.out:
                    place = (rest * a1.kernel + k) * a2.kernel * step + (outer * a1.out + p) * a2.out
                    at = write_entries(table, at, a2, place, step)
                residue -= a1.dilation
                while residue < 0:
                    residue, p = residue + a1.stride, p - 1
    table[block.size.rows] = at


@kernel
def write_entries(table, at, axis, place, step):
    """Those of a row of taps; where the next ones go. Taps with gaps between them are of one residue."""
    for tap in range(0, axis.kernel, axis.stride):
        turn = tap // axis.stride * axis.dilation
        table[at], table[at + 1] = place + tap * step - turn, turn
        table[at + 2] = min(axis.kernel - tap, axis.stride)
        at += ENTRY
    return at


@kernel
def outer_source(x, axes, walk, outer):
    """Where a place on the axes of the window before the last two is: whether in the input, and its offset."""
    offset = 0
    for a in range(axes.rank - 3, walk.leading - 1, -1):
        axis = load_axis(axes, a)
        outer, i = divmod(outer, reach(axis))
        i -= axis.before
        if i < 0 or i >= axis.size:
            return False, 0
        offset += i * stride(x, a)
    return True, offset


@kernel
def tables(workspace):
    """Of what rows meet, and of masks."""
    return scratch_index(workspace, 0), scratch_index(workspace, _BITS)


@kernel
def copy_planes(x, source, copied, target, box):
    """Copy a box; what a few planes have next to each other, as images of colours do, is read once for all of them."""
    is_mixed = source.plane == 1 and source.column == box.planes and 1 < box.planes <= PLANES
    if PARTIAL and is_mixed:
        split_planes(x, source, copied, target, box)
    else:
        copy_box(x, source, copied, target, box, True)


@kernel
def split_block(x, out, axes, trailing, taps, positions, walk, block, workspace, is_known):
    """All that taps meet in the lines of a block."""
    a1, a2 = spatial(axes, trailing, 2), spatial(axes, trailing, 1)
    s1, s2 = stride(x, axes.rank - 2) if trailing > 1 else 0, stride(x, axes.rank - 1)
    size, (table, masks) = block.size, tables(workspace)
    if not is_known:
        write_table(table, axes, trailing, walk, block, taps, positions, False)
    is_real, offset = outer_source(x, axes, walk, block.outer)
    top = min(max(a1.before - block.row, 0), size.rows)
    bottom = max(min(a1.size + a1.before - block.row, size.rows), top) if is_real else top
    start = image_offset(x, axes, walk, block.image) + block.plane * walk.step + offset
    start += (block.row - a1.before) * s1
    to = (block.image * walk.planes + block.plane) * taps * positions
    left = max(block.column * a2.stride - a2.before, 0)
    right = min((block.column + size.columns) * a2.stride - a2.before, a2.size)
    turns = Turns(
        a2.stride, groups_of(a2), block.column, block.column + size.columns, a2.before, right, a2.out, positions
    )
    lines, target = Lines(size.planes, size.rows, top, bottom), Place(to, taps * positions, 0, 1)
    if s2 == 1:
        split_lines(x, Place(start, walk.step, s1, 1), out, target, lines, table, masks, turns)
        return
    copied, width = scratch_array(workspace, _COPY, x), right - left
    if top < bottom and width > 0:
        source = Place(start + top * s1 + left * s2, walk.step, s1, s2)
        box = Box(size.planes, bottom - top, width)
        copy_planes(x, source, copied, Place(0, box.rows * width, width, 1), box)
    source = Place(-top * width - left, (bottom - top) * width, width, 1)
    split_lines(copied, source, out, target, lines, table, masks, turns)


@kernel
def join_block(patches, out, axes, trailing, taps, walk, block, workspace, is_known):
    """The sums of the lines of a block."""
    a1, a2 = spatial(axes, trailing, 2), spatial(axes, trailing, 1)
    step = stride(patches, walk.leading)
    size, (table, masks) = block.size, tables(workspace)
    if not is_known:
        write_table(table, axes, trailing, walk, block, taps, step, True)
    start = image_offset(patches, axes, walk, block.image) + block.plane * walk.step
    plane = a1.size * a2.size
    to = ((block.image * walk.planes + block.plane) * walk.outers + block.outer) * plane + block.row * a2.size
    first = turns_of(a2, True)[0] + block.column
    turns = Turns(a2.stride, groups_of(a2), first, first + size.columns, a2.before, a2.size, a2.out, step)
    lines = Lines(size.planes, size.rows, 0, size.rows)
    target = Place(to, walk.outers * plane, a2.size, 1)
    join_lines(out, target, patches, Place(start, walk.step, 0, 1), lines, table, masks, turns)
