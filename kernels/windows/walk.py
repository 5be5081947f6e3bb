"""How windows' kernels walk over a grid of positions, or of elements: in blocks, along whatever axes there are."""

from typing import NamedTuple

from ..jit import kernel
from ..shapes import UNIT
from ..simd.boxes import Box
from ..strided import stride
from ..window import load_axis


class Walk(NamedTuple):
    """Blocks of a grid of positions, or of elements: along the leading axes, the window's last two, and the others."""

    leading: int  # leading axes, of which those before `joined` are walked over one place at a time
    joined: int
    planes: int  # places on the others
    step: int  # from one to the next, in elements of the array that is read
    rows: int
    columns: int
    block: Box  # the largest block
    across: int  # blocks along columns
    down: int  # along rows
    outers: int  # places on the axes of the window before the last two
    along: int  # blocks of planes
    items: int  # blocks in all


class Block(NamedTuple):
    """What is made at a time: a box of the grid, at a place on the axes before it."""

    image: int
    outer: int
    plane: int
    row: int
    column: int
    size: Box


@kernel
def extent(axis, is_sum):
    """How long an axis of the grid is."""
    return axis.size if is_sum else axis.out


@kernel
def spatial(axes, trailing, i):
    """The last axis of the window (1), or the one before it (2)."""
    return load_axis(axes, axes.rank - i) if trailing >= i else UNIT


@kernel
def reach(axis):
    """From the first element that a window meets on an axis, padding included, to the last, in elements."""
    return (axis.out - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1


@kernel
def joined_axes(array, axes, leading):
    """The last leading axes, those that lie as one: the first of them, the places on them, and the step between two."""
    planes, step, joined = 1, 0, leading
    while joined > 0:
        size, each = load_axis(axes, joined - 1).size, stride(array, joined - 1)
        if size > 1:
            if planes > 1 and each != planes * step:
                break
            step = each if planes == 1 else step
            planes *= size
        joined -= 1
    return joined, planes, step


@kernel
def walk_in(axes, leading, joined, planes, step, grid, block):
    """A walk over a grid, of so many places on the outer axes, rows and columns, in blocks of planes."""
    images = 1
    for a in range(joined):
        images *= load_axis(axes, a).size
    across, down, along = -(-grid.columns // block.columns), -(-grid.rows // block.rows), -(-planes // block.planes)
    return Walk(leading, joined, planes, step, grid.rows, grid.columns, block, across, down, grid.planes, along,
                images * along * grid.planes * down * across)  # fmt: skip


@kernel
def block_of(walk, item, by_plane):
    """The block of a number; `by_plane`: those that differ in planes only come one after the other."""
    most, plane = walk.block, 0
    if by_plane:
        item, plane = divmod(item, walk.along)
    item, i = divmod(item, walk.across)
    item, j = divmod(item, walk.down)
    image, outer = divmod(item, walk.outers)
    if not by_plane:
        image, plane = divmod(image, walk.along)
    column, row, plane = i * most.columns, j * most.rows, plane * most.planes
    size = Box(min(most.planes, walk.planes - plane), min(most.rows, walk.rows - row),
               min(most.columns, walk.columns - column))  # fmt: skip
    return Block(image, outer, plane, row, column, size)


@kernel
def image_offset(array, axes, walk, image):
    """Offset of a place on the axes before the joined ones."""
    offset = 0
    for a in range(walk.joined - 1, -1, -1):
        image, i = divmod(image, load_axis(axes, a).size)
        offset += i * stride(array, a)
    return offset


@kernel
def positions_of(axes, walk, outer, tap, is_sum):
    """From which positions on those axes a tap meets an element: whether from any, and their number.

    Elements are those of a result, or, unless it `is_sum`, of a padded input.
    """
    number, positions = 0, 1
    for a in range(axes.rank - 3, walk.leading - 1, -1):
        axis = load_axis(axes, a)
        outer, i = divmod(outer, axis.size if is_sum else reach(axis))
        tap, k = divmod(tap, axis.kernel)
        p, rest = divmod(i + (axis.before if is_sum else 0) - k * axis.dilation, axis.stride)
        if rest != 0 or p < 0 or p >= axis.out:
            return False, 0
        number += p * positions
        positions *= axis.out
    return True, number


@kernel
def grid_of(axes, trailing):
    """Taps of the window, and its positions."""
    taps = positions = 1
    for a in range(axes.rank - trailing, axes.rank):
        axis = load_axis(axes, a)
        taps, positions = taps * axis.kernel, positions * axis.out
    return taps, positions
