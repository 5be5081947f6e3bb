"""Copies of sliding windows, and their adjoint, over windows of any rank, in blocks of positions.

    extract    for each tap, the elements that it meets from all positions of a block are a box of the input: it is
               copied, and what of the block lies in padding is set to zero
    combine    for each tap, in their order, the patches that it puts into a block of the result are a box, too: it is
               added to sums in the workspace, and these are stored in the end

A block is a part of the last two axes of the window, at one place on those before them, or all of the two at several
places on the last leading axes, those that lie as one: planes. So boxes are large where planes are small. What lies
under a block stays in the first caches from tap to tap, and blocks are what threads share. No element has sums in two
blocks, and each adds its taps in one order: results do not depend on blocks or threads.

Where patches are put down `stride` columns apart, the sums of each residue of the columns lie next to each other, and
so all sums are made by vectors; they are put in order as they are stored. At large strides, where boxes are small, the
taps of a row of the window are one box. Where no windows overlap at such strides, boxes go straight to the result.

Input whose columns lie apart is copied to the workspace first where all taps can share the copy: planes with their
columns together, which are read as whole ones or by squares.

`turns` makes what it can line by line instead: small strides, inputs whose columns lie apart, and most sums.
"""

from ..jit import entry, kernel
from ..shapes import even_part
from ..simd.boxes import (
    PARTIAL,
    STEPS,
    Box,
    Part,
    Place,
    add_box,
    add_framed,
    clear_sums,
    copy_box,
    copy_framed,
    is_copied,
    prefetch_run,
    store_box,
    zero_box,
)
from ..simd.squares import transpose_lines
from ..simd.turns import MOST
from ..simd.vectors import VECTOR_BYTES
from ..strided import item_size, scratch_array, scratch_index, scratch_parts, stride
from ..team import close_team, open_team, part_of, take_item
from ..window import axes_of_windows, load_axis, load_windows
from . import turns
from .walk import block_of, extent, grid_of, image_offset, joined_axes, positions_of, spatial, walk_in

_ROOM = 4096  # elements of a block: what lies under it, for all taps, stays in the first cache
_WIDTH = 16  # planes of a block whose elements lie next to each other, plane by plane
_LARGE = 512  # elements of a plane that is a block of its own: so results are written from first to last
_TAPS = 1 << 17  # positions times taps of a block, so that large windows have several
_LEAST = 256
_APART = 1 << 15  # elements of a result that are copied
_FAR = 1 << 21  # bytes of a result that does not stay in a cache of one core
_FRAMED = 4  # planes of a block, from which on it pays to tell which of their elements a tap meets
_GAP = VECTOR_BYTES // 4  # elements between rows of sums: a vector that is read was not just written in part
_SHORT = 16  # columns of a row, from which on squares need not go over several rows
_PLACES = turns.COPIED  # where a table of positions begins in the workspace
WORKSPACE_BYTES = max(16 * (_ROOM + 2 * _GAP), turns.WORKSPACE_BYTES, _PLACES + 8 * _ROOM)


@kernel
def walk_over(array, axes, trailing, taps, is_sum, is_wide, copied):
    """How to walk over a grid; `is_wide`: elements of planes that lie next to each other are read together.

    `copied`: elements of a copy of what lies under a block, or 0.
    """
    leading, outers = axes.rank - trailing, 1
    joined, planes, step = joined_axes(array, axes, leading)
    for a in range(leading, axes.rank - 2):
        outers *= extent(load_axis(axes, a), is_sum)
    last, room = spatial(axes, trailing, 1), max(_LEAST, min(_ROOM, _TAPS // taps))
    rows, columns = extent(spatial(axes, trailing, 2), is_sum), extent(last, is_sum)
    few = even_part(planes, _WIDTH) if is_wide and step == 1 else 1
    width = even_part(columns, room // (2 if is_sum else few))
    pitch = sums_of(last, width)[2] if is_sum else width
    height = even_part(rows, max(room // (few * pitch), 1)) if width == columns else 1
    if height == rows and width == columns and (is_sum or rows * columns < _LARGE):
        few = even_part(planes, max(room // (rows * pitch), 1))
    above = spatial(axes, trailing, 2)
    if few * span(above, height) * span(last, width) > copied > 0:
        most = (copied // (few * span(above, 1)) - span(last, 1)) // last.stride + 1
        if most >= min(width, _WIDTH):
            width = even_part(width, most)
            most = (copied // (few * span(last, width)) - span(above, 1)) // above.stride + 1
            height = even_part(height, most) if width == columns else 1
    return walk_in(axes, leading, joined, planes, step, Box(outers, rows, columns), Box(few, height, width))


@kernel
def span(axis, count):
    """Elements of an axis, padding included, from the first that so many neighbours of positions meet to the last."""
    return (count - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1


@kernel
def room_of_copies(x, axes, trailing, taps):
    """Elements of a block that is copied before it is read, where columns do not lie next to each other.

    What is copied is read as whole planes, or by squares; in between, at small strides, nothing is won.
    """
    every = spatial(axes, trailing, 1).stride
    is_apart = 0 < trailing <= 2 and taps > 1 and stride(x, axes.rank - 1) != 1
    return turns.COPIED // item_size(x) if is_apart and (every == 1 or every > STEPS) else 0


@kernel
def part_under(axis, first, count):
    """What of an axis so many positions meet from the first on: from, to."""
    start = first * axis.stride - axis.before
    low = min(max(start, 0), axis.size)
    return low, max(min(start + span(axis, count), axis.size), low)


@kernel
def sums_of(axis, columns):
    """Of a row of sums, the residues, the length of one, and how far it is to the next row."""
    residues, length = min(axis.stride, columns), -(-columns // axis.stride)
    return residues, length, (residues * length + 2 * _GAP - 1) // _GAP * _GAP


@kernel
def source_of(x, axes, walk, outer, tap):
    """Where a tap is on the axes of the window before the last two: whether in the input, and its offset."""
    offset = 0
    for a in range(axes.rank - 3, walk.leading - 1, -1):
        axis = load_axis(axes, a)
        outer, p = divmod(outer, axis.out)
        tap, k = divmod(tap, axis.kernel)
        i = p * axis.stride + k * axis.dilation - axis.before
        if i < 0 or i >= axis.size:
            return False, 0
        offset += i * stride(x, a)
    return True, offset


@kernel
def multiples_between(start, step, end, most):
    """For which `0 <= j < most` the number `start + j * step` is in `[0, end)`: from, to."""
    if start >= 0 and start + (most - 1) * step < end:
        return 0, most
    first = min(max(-(start // step), 0), most)
    return first, min(max(-((start - end) // step), first), most)


@kernel
def extract_block(x, out, axes, trailing, taps, positions, walk, block, workspace, room):
    """All taps at the positions of a block; from a copy of what lies under it, if that has room and is not sparse."""
    a1, a2, size = spatial(axes, trailing, 2), spatial(axes, trailing, 1), block.size
    s1, s2 = stride(x, axes.rank - 2) if trailing > 1 else 0, stride(x, axes.rank - 1) if trailing > 0 else 0
    source = Place(image_offset(x, axes, walk, block.image) + block.plane * walk.step, walk.step, s1, s2)
    top, bottom = part_under(a1, block.row, size.rows)
    left, right = part_under(a2, block.column, size.columns)
    under = Box(size.planes, bottom - top, right - left)
    cells = under.rows * under.columns
    is_far = taps * positions * walk.planes > _FAR // item_size(out)
    if 0 < cells <= min(room // size.planes, 2 * taps * size.rows * size.columns):
        copied = scratch_array(workspace, 0, x)
        at = moved(source, top * s1 + left * s2)
        turns.copy_planes(x, at, copied, Place(0, cells, under.columns, 1), under)
        at = Place(-top * under.columns - left, cells, under.columns, 1)
        extract_from(copied, at, out, axes, trailing, taps, positions, walk, block, workspace, False)
    else:
        extract_from(x, source, out, axes, trailing, taps, positions, walk, block, workspace, is_far)


@kernel
def extract_from(x, origin, out, axes, trailing, taps, positions, walk, block, workspace, is_far):
    """All taps at the positions of a block, from where the first plane of it begins."""
    a1, a2 = spatial(axes, trailing, 2), spatial(axes, trailing, 1)
    size, start, s1, s2 = block.size, origin.start, origin.row, origin.column
    begin = block.outer * walk.rows * walk.columns + block.row * walk.columns + block.column
    begin += (block.image * walk.planes + block.plane) * taps * positions
    is_framed = is_run(walk, size, a2) and a1.stride == 1 and a2.stride == 1 and s2 == 1 and s1 == walk.columns
    together = taps_of_squares(a1, a2, s2, block)
    if together > 1 and is_far and size.rows * size.columns == positions:
        fetch_planes(x, origin, out, begin, taps * positions, size.planes, part_under(a1, 0, size.rows), a2.size)
    places, is_turned = scratch_index(workspace, _PLACES), together > 1 and size.columns < _SHORT
    if is_turned:
        write_places(places, size.rows, size.columns, a1.stride * s1, a2.stride)
    for tap in range(0, taps, together):
        rest, k2 = divmod(tap, a2.kernel)
        rest, k1 = divmod(rest, a1.kernel)
        is_inside, offset = source_of(x, axes, walk, block.outer, rest)
        i1 = block.row * a1.stride + k1 * a1.dilation - a1.before
        i2 = block.column * a2.stride + k2 * a2.dilation - a2.before
        top, bottom = multiples_between(i1, a1.stride, a1.size, size.rows)
        left, right = multiples_between(i2, a2.stride, a2.size, size.columns)
        to = Place(begin + tap * positions, taps * positions, walk.columns, 1)
        if not is_inside or top == bottom or left == right:
            zero_box(out, Place(to.start, to.plane, positions, 1), Box(size.planes, together, size.rows * size.columns))
            continue
        at = start + offset + (i1 + top * a1.stride) * s1 + (i2 + left * a2.stride) * s2
        if is_framed:
            source = Place(start + offset + i1 * s1 + i2, origin.plane, s1, 1)
            copy_framed(x, source, out, to, size, Part(top, bottom, left, right))
            continue
        if is_turned:  # nothing lies between the rows of a block
            for plane in range(size.planes):
                goal = to.start + plane * to.plane
                turn(x, at + plane * origin.plane, places, out, goal, positions, size.rows * size.columns, together)
            continue
        inner = Place(to.start + top * to.row, to.plane, to.row, 1)
        box = Box(size.planes, bottom - top, right - left)
        source = Place(at, origin.plane, a1.stride * s1, a2.stride * s2)
        goal, repeats = moved(inner, left), 1
        if together > 1:  # planes of a box are taps
            source, goal = Place(at, 1, source.row, source.column), Place(goal.start, positions, to.row, 1)
            box, repeats = Box(together, box.rows, box.columns), size.planes
        for plane in range(repeats):
            copy(x, moved(source, plane * origin.plane), out, moved(goal, plane * to.plane), box, True)
        # Rows of a block that are not the only one are whole: between them, and before and after, lies nothing else.
        if left > 0:
            zero_box(out, inner, Box(size.planes, box.rows, left))
        if right < size.columns:
            zero_box(out, moved(inner, right), Box(size.planes, box.rows, size.columns - right))
        if top > 0:
            zero_box(out, to, Box(size.planes, 1, top * size.columns))
        if bottom < size.rows:
            zero_box(out, moved(to, bottom * to.row), Box(size.planes, 1, (size.rows - bottom) * size.columns))


@kernel
def fetch_planes(x, origin, out, begin, count, planes, rows, columns):
    """Ask for planes and for all their patches in the order of memory: squares come in one that no CPU foresees."""
    for plane in range(planes):
        for row in range(rows[0], rows[1]):
            prefetch_run(x, origin.start + plane * origin.plane + row * origin.row, columns)
        prefetch_run(out, begin + plane * count, count)


@kernel
def taps_of_squares(a1, a2, step, block):
    """How many taps, neighbours in a row, are squares with columns that lie far apart; none may meet padding."""
    is_far = a2.stride > STEPS or (a2.stride == STEPS and block.size.columns < _SHORT)
    is_square = step == 1 and a2.dilation == 1 and is_far and a2.kernel >= STEPS
    is_clear = meets_all(a1, block.row, block.size.rows) and meets_all(a2, block.column, block.size.columns)
    return a2.kernel if is_square and is_clear else 1


@kernel
def meets_all(axis, start, count):
    """Whether all taps meet elements from so many positions on."""
    first = start * axis.stride - axis.before
    return first >= 0 and first + (count - 1) * axis.stride + (axis.kernel - 1) * axis.dilation < axis.size


@kernel
def taps_without_overlap(last, block):
    """How many taps, neighbours in a row, put the same patches next to each other."""
    return last.kernel if columns_of(last, block, 0) == columns_of(last, block, last.kernel - 1) else 1


@kernel
def columns_of(last, block, k):
    """The positions that meet a tap of a row in a block of sums, and the column of the first, in strides."""
    start = k * last.dilation - last.before - block.column
    left, right = multiples_between(start, last.stride, block.size.columns, last.out)
    return left, right, start // last.stride + left


@kernel
def is_run(walk, size, last):
    """Whether a block is of several planes, whole ones, in whose rows every `stride`-th column has a window."""
    is_whole = PARTIAL and size.planes >= _FRAMED and size.rows == walk.rows and size.columns == walk.columns
    return is_whole and last.out == -(-last.size // last.stride)


@kernel
def copy(x, source, out, target, box, are_gaps_free):
    """A function of its own: within loops, LLVM makes slower ones of those over rows."""
    copy_box(x, source, out, target, box, are_gaps_free)


@kernel
def turn(x, start, read, out, goal, write, lines, count):
    """A function of its own, too."""
    transpose_lines(x, start, read, out, goal, write, lines, count)


@kernel
def write_places(table, rows, columns, row, column):
    """Where columns of rows lie, from the first one on."""
    for i in range(rows):
        for j in range(columns):
            table[i * columns + j] = i * row + j * column


@kernel
def moved(place, offset):
    """The place so many elements away."""
    return Place(place.start + offset, place.plane, place.row, place.column)


@kernel
def lie_apart(axes, trailing):
    """Whether no two windows have an element in common, nor gaps along the last axis: sums are copies."""
    for a in range(axes.rank - trailing, axes.rank):
        axis = load_axis(axes, a)
        if axis.out > 1 and axis.stride < (axis.kernel - 1) * axis.dilation + 1:
            return False
    return spatial(axes, trailing, 1).dilation == 1


@kernel
def are_whole(axes, trailing):
    """Whether windows that lie apart leave no element out."""
    for a in range(axes.rank - trailing, axes.rank):
        axis = load_axis(axes, a)
        if axis.kernel < axis.stride or axis.dilation > 1 or axis.out * axis.stride < axis.size + axis.before:
            return False
    return True


@kernel
def walk_apart(patches, axes, trailing):
    """A walk over the result; blocks are rows of windows."""
    leading, outers = axes.rank - trailing, 1
    joined, planes, step = joined_axes(patches, axes, leading)
    for a in range(leading, axes.rank - 2):
        outers *= load_axis(axes, a).size
    a1, a2 = spatial(axes, trailing, 2), spatial(axes, trailing, 1)
    width = even_part(a2.size, _APART, a2.stride)
    height = even_part(a1.size, max(_APART // width, 1), a1.stride) if width == a2.size else 1
    few = even_part(planes, max(_APART // (height * width), 1)) if height == a1.size else 1
    return walk_in(axes, leading, joined, planes, step, Box(outers, a1.size, a2.size), Box(few, height, width))


@kernel
def put_block(patches, out, axes, trailing, taps, walk, block, is_whole, places):
    """The block of a result where windows lie apart."""
    a1, a2, size = spatial(axes, trailing, 2), spatial(axes, trailing, 1), block.size
    tap_step, step = stride(patches, walk.leading), stride(patches, walk.leading + 1)
    start = image_offset(patches, axes, walk, block.image) + block.plane * walk.step
    plane = walk.rows * walk.columns
    at = ((block.image * walk.planes + block.plane) * walk.outers + block.outer) * plane
    at += block.row * walk.columns + block.column
    if not is_whole:
        zero_box(out, Place(at, walk.outers * plane, walk.columns, 1), size)
    together, height = taps_without_overlap(a2, block), -(-size.rows // a1.stride) + 1
    is_turned = together > 1 and step == 1 and a2.out < _SHORT and height * a2.out <= _ROOM
    for tap in range(0, taps, together):
        rest, k2 = divmod(tap, a2.kernel)
        rest, k1 = divmod(rest, a1.kernel)
        is_met, outer = positions_of(axes, walk, block.outer, rest, True)
        i1, i2 = k1 * a1.dilation - a1.before - block.row, k2 - a2.before - block.column
        top, bottom = multiples_between(i1, a1.stride, size.rows, a1.out)
        left, right = multiples_between(i2, a2.stride, size.columns, a2.out)
        if not is_met or top == bottom or left == right:
            continue
        position = (outer * a1.out + top) * a2.out + left
        source = Place(start + tap * tap_step + position * step, step, a2.out * step, tap_step)
        to = at + (i1 + top * a1.stride) * walk.columns + i2 + left * a2.stride
        rows, columns = bottom - top, right - left
        if is_turned and (columns == a2.out or rows == 1):
            write_places(places, rows, columns, a1.stride * walk.columns, a2.stride)
            for i in range(size.planes):
                goal = to + i * walk.outers * plane
                turn(patches, source.start + i * walk.step, tap_step, out, goal, places, together, rows * columns)
            continue
        goal, box = Place(to, a2.stride, a1.stride * walk.columns, 1), Box(columns, rows, together)
        for i in range(size.planes):
            copy(patches, moved(source, i * walk.step), out, moved(goal, i * walk.outers * plane), box, False)


@kernel
def combine_block(patches, out, axes, trailing, taps, walk, block, sums):
    """The sums of a block, and store them."""
    a1, a2, size = spatial(axes, trailing, 2), spatial(axes, trailing, 1), block.size
    tap_step, step = stride(patches, walk.leading), stride(patches, walk.leading + 1)
    residues, length, pitch = sums_of(a2, size.columns)
    height = -(-size.rows // a1.stride)
    phases, apart = min(a1.stride, size.rows), (height * length + _GAP - 1) // _GAP * _GAP
    is_framed = is_run(walk, size, a2) and step == 1 and size.planes * phases * residues * apart <= _ROOM
    if is_framed:  # the sums of each residue of rows and of columns are a plane
        to = Place(0, phases * residues * apart, length, 1)
    else:
        phases, apart, to = 1, length, Place(0, size.rows * pitch, pitch, 1)
    clear_sums(sums, out, size.planes * to.plane)
    start = image_offset(patches, axes, walk, block.image) + block.plane * walk.step
    together = 1 if is_framed or size.planes >= a2.kernel else taps_without_overlap(a2, block)
    for tap in range(0, taps, together):
        rest, k2 = divmod(tap, a2.kernel)
        rest, k1 = divmod(rest, a1.kernel)
        is_met, outer = positions_of(axes, walk, block.outer, rest, True)
        i1 = k1 * a1.dilation - a1.before - block.row
        i2 = k2 * a2.dilation - a2.before - block.column
        top, bottom = multiples_between(i1, a1.stride, size.rows, a1.out)
        left, right = multiples_between(i2, a2.stride, size.columns, a2.out)
        if not is_met or top == bottom or left == right:
            continue
        column, residue = divmod(i2 + left * a2.stride, a2.stride)
        if is_framed:
            row, turn = divmod(i1 + top * a1.stride, a1.stride)
            position = (outer * a1.out + top - row) * a2.out + left - column
            source = Place(start + tap * tap_step + position, walk.step, a2.out, 1)
            part = Part(row, row + bottom - top, column, column + right - left)
            goal = moved(to, (turn * residues + residue) * apart)
            add_framed(sums, goal, patches, source, Box(size.planes, height, length), part)
            continue
        position = (outer * a1.out + top) * a2.out + left
        source = Place(start + tap * tap_step + position * step, walk.step, a2.out * step, step)
        at = (i1 + top * a1.stride) * to.row + residue * apart + column
        goal = Place(at, to.plane, a1.stride * to.row, 1)
        box, repeats = Box(size.planes, bottom - top, right - left), 1
        if together > 1:
            source, goal = Place(source.start, tap_step, source.row, step), Place(at, a2.dilation * apart, goal.row, 1)
            box, repeats = Box(together, box.rows, box.columns), size.planes
        for plane in range(repeats):
            add_box(sums, moved(goal, plane * to.plane), patches, moved(source, plane * walk.step), box)
    plane = walk.rows * walk.columns
    at = ((block.image * walk.planes + block.plane) * walk.outers + block.outer) * plane
    at += block.row * walk.columns + block.column
    if is_framed and phases * residues == 1:
        size = Box(size.planes, 1, size.rows * size.columns)
    for turn in range(phases):
        goal = Place(at + turn * walk.columns, walk.outers * plane, phases * walk.columns, 1)
        box = Box(size.planes, (size.rows - turn + phases - 1) // phases, size.columns)
        store_box(out, goal, sums, moved(to, turn * residues * apart), box, residues, apart)


@kernel
def next_item(team, threads, item):
    """The number of the block after one."""
    return item + 1 if threads == 1 else take_item(team)


@entry
def extract(x, out, numbers, workspace, team, threads, thread):
    """Copy every window of `x (..., S*)` to a column of `out (..., K, P)`, which is contiguous; padding is 0.

    Bits are copied: dtypes of one size are alike. `threads` share the blocks; this is number `thread`, 0 the one that
    calls. Each thread has `WORKSPACE_BYTES` of the workspace.
    """
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, out, numbers, workspace, team, threads), threads)
    windows = load_windows(numbers.data)
    axes, own = axes_of_windows(numbers.data, windows), part_of(workspace, thread * WORKSPACE_BYTES)
    taps, positions = grid_of(axes, windows.trailing)
    by_lines = turns.goes_by_lines(x, axes, windows.trailing, taps, positions, False)
    room = room_of_copies(x, axes, windows.trailing, taps)
    if by_lines:
        walk = turns.walk_lines(x, axes, windows.trailing, taps, False)
    else:
        is_wide = windows.trailing > 0 and stride(x, axes.rank - 1) * spatial(axes, windows.trailing, 1).stride != 1
        walk = walk_over(x, axes, windows.trailing, taps, False, is_wide, room)
    item, last = next_item(team, threads, -1), (-1, -1)
    while item < walk.items:
        block = block_of(walk, item, by_lines)
        if by_lines:
            is_known = last == (block.outer, block.row)
            turns.split_block(x, out, axes, windows.trailing, taps, positions, walk, block, own, is_known)
            last = block.outer, block.row
        else:
            extract_block(x, out, axes, windows.trailing, taps, positions, walk, block, own, room)
        item = next_item(team, threads, item)
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@entry
def combine(patches, out, numbers, workspace, team, threads, thread):
    """Adjoint of `extract`: every element of `out (..., S*)`, contiguous, is the sum of what was copied from it.

    Each thread has `WORKSPACE_BYTES` of the workspace.
    """
    if threads > 1 and thread == 0:
        threads = open_team(team, (patches, out, numbers, workspace, team, threads), threads)
    windows = load_windows(numbers.data)
    axes, own = axes_of_windows(numbers.data, windows), part_of(workspace, thread * WORKSPACE_BYTES)
    taps, positions = grid_of(axes, windows.trailing)
    is_apart = windows.trailing > 0 and is_copied(out) and lie_apart(axes, windows.trailing)
    by_lines = turns.goes_by_lines(patches, axes, windows.trailing, taps, positions, True)
    if by_lines and not (is_apart and spatial(axes, windows.trailing, 1).stride > MOST):
        walk, is_apart = turns.walk_lines(patches, axes, windows.trailing, taps, True), False
    elif is_apart:
        walk, by_lines = walk_apart(patches, axes, windows.trailing), False
    else:
        walk = walk_over(patches, axes, windows.trailing, taps, True, False, 0)
    is_whole, sums = is_apart and are_whole(axes, windows.trailing), scratch_parts(own, 0, out)
    places = scratch_index(own, 0)
    item, last = next_item(team, threads, -1), (-1, -1)
    while item < walk.items:
        block = block_of(walk, item, by_lines)
        if by_lines:
            is_known = last == (block.outer, block.row)
            turns.join_block(patches, out, axes, windows.trailing, taps, walk, block, own, is_known)
            last = block.outer, block.row
        elif is_apart:
            put_block(patches, out, axes, windows.trailing, taps, walk, block, is_whole, places)
        else:
            combine_block(patches, out, axes, windows.trailing, taps, walk, block, sums)
        item = next_item(team, threads, item)
    if threads > 1 and thread == 0:
        close_team(team)
    return True
