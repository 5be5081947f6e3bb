"""Packing: input of any strides becomes padded, contiguous planes in the compute type, the boundary rule applied."""

from typing import NamedTuple

from ..jit import kernel, overload, plain
from ..shapes import CONSTANT
from ..simd.boxes import PARTIAL, Box, Part, Place, copy_box, copy_framed, zero_box
from ..simd.packing import CHANNELS, pack_channels, pack_run
from ..simd.vectors import is_vector_type
from ..strided import load, scratch, scratch_array, zero
from ..window import source_index

SLACK = 16
_TOGETHER = 16  # channels that lie side by side are packed together, so that each cache line is fetched once


class SlabLayout(NamedTuple):
    """Layout of a slab: `[channel][k0][phase1][phase2][row][column]`, steps in elements.

    Full vectors are written, past a channel's end: channels lie `SLACK` further apart than their elements need.
    """

    phases1: int
    phases2: int
    rows: int
    pitch: int
    phase: int
    plane: int
    channel: int


@plain
def reach(axis, count):
    """From the first element that so many neighbouring windows meet to the last."""
    return (count - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1


@kernel
def pack_slab(x, fill, workspace, axes, layout, first, terms):
    """Fill the slab for outputs from `first = (n, channel, p0, p1, p2)` on, and the taps of a block of terms.

    It holds so many channels from `channel` on, so many planes of the first axis, and all that the layout has room for
    of the other two.
    """
    array, xs, planes = x.array, x.strides, scratch(workspace, 0, x.array)
    a0, a1, a2 = axes
    n, channel, p0, p1, p2 = first
    padding = load(fill, 0)
    column = p2 * a2.stride + terms.k2 * a2.dilation - a2.before
    most = _TOGETHER if xs.channel == 1 and xs.s2 != 1 else 1
    c = 0
    while c < terms.channels:
        together = max(min(terms.channels - c, most) // CHANNELS * CHANNELS, 1)
        where = c * layout.channel
        xc = n * xs.batch + (channel + c) * xs.channel
        for k0 in range(terms.taps0):
            i0 = source_index(p0 * a0.stride + (terms.k0 + k0) * a0.dilation - a0.before, a0.size, a0.boundary)
            for phase1 in range(layout.phases1):
                first_row = p1 * a1.stride + phase1 + terms.k1 * a1.dilation - a1.before
                for phase2 in range(layout.phases2):
                    left, right = columns_inside(column + phase2, layout.pitch, a2)
                    for row in range(layout.rows):
                        i1 = source_index(first_row + row * a1.stride, a1.size, a1.boundary)
                        base = xc + i0 * xs.s0 + i1 * xs.s1
                        is_inside = i0 >= 0 and i1 >= 0
                        run = Run(
                            base + (column + phase2) * xs.s2, a2.stride * xs.s2, layout.pitch,
                            left if is_inside else 0, right if is_inside else 0, together, layout.channel,
                        )  # fmt: skip
                        pack_row(array, planes, where, run, padding)
                        if is_inside and right - left < layout.pitch and a2.boundary != CONSTANT:
                            for i in range(together):
                                pack_border(
                                    array, base + i * xs.channel, xs.s2, planes, where + i * layout.channel,
                                    left, right, layout.pitch, column + phase2, a2,
                                )  # fmt: skip
                        where += layout.pitch
        c += together


@kernel
def columns_inside(start, count, axis):
    """Which of `count` places, from padded coordinate `start` on, `axis.stride` apart, are in the input: from, to."""
    if axis.stride == 1:
        left, right = -start, axis.size - start
    else:
        left, right = -(start // axis.stride), -((start - axis.size) // axis.stride)
    left = min(max(left, 0), count)
    return left, min(max(right, left), count)


@kernel
def pack_border(x, base, step, planes, where, left, right, count, start, axis):
    """The places of a row before `left` and from `right` on, where the boundary rule finds an element for each."""
    for j in range(count):
        if j < left or j >= right:
            planes[where + j] = load(x, base + source_index(start + j * axis.stride, axis.size, axis.boundary) * step)


class Run(NamedTuple):
    """A row of a slab: element `j` is read `j * step` from `start`, if `left <= j < right`; others are padding.

    It is there for `together` channels, side by side in the input and `channel` apart in the slab.
    """

    start: int
    step: int
    count: int
    left: int
    right: int
    together: int
    channel: int


def pack_row(x, planes, where, run, padding):
    """Pack a `Run` from element `where` of the slab on, in the compute type."""
    raise NotImplementedError("compiled code only")


@overload(pack_row)
def _pack_row(x, planes, where, run, padding):
    def vectors(x, planes, where, run, padding):
        start, step, count, left, right = run.start, run.step, run.count, run.left, run.right
        if run.together > 1:
            for i in range(0, run.together, CHANNELS):
                at = where + i * run.channel + left
                pack_channels(planes, at, run.channel, x, start + i + left * step, step, right - left)
            for i in range(run.together):
                at = where + i * run.channel
                for j in range(left):
                    planes[at + j] = padding
                for j in range(right, count):
                    planes[at + j] = padding
        elif step == 1:
            pack_run(planes, where, x, start, count, 1, left, right, padding)
        elif step == 2:
            pack_run(planes, where, x, start, count, 2, left, right, padding)
        else:
            pack_elements(x, start, planes, where, run, padding)

    def scalars(x, planes, where, run, padding):
        for i in range(run.together):
            pack_elements(x, run.start + i, planes, where + i * run.channel, run, padding)

    return vectors if is_vector_type(x.compute) else scalars


@kernel
def pack_elements(x, start, planes, where, run, padding):
    """One channel of a `Run`, which begins at `start`, an element at a time."""
    for j in range(run.left):
        planes[where + j] = padding
    for j in range(run.left, run.right):
        planes[where + j] = load(x, start + j * run.step)
    for j in range(run.right, run.count):
        planes[where + j] = padding


@kernel
def lies_in_order(ws, call, axes):
    """Whether the taps of all channels of a kernel lie side by side, as in a C-contiguous array."""
    a0, a1, a2 = axes
    is_next = ws.channel == a0.kernel * a1.kernel * a2.kernel or call.channels == 1
    return is_next and are_taps_together(ws, axes)


@kernel
def are_taps_together(ws, axes):
    """Whether the taps of a channel of a kernel lie side by side."""
    a0, a1, a2 = axes
    rows = (ws.s2 == 1 or a2.kernel == 1) and (ws.s1 == a2.kernel or a1.kernel == 1)
    return rows and (ws.s0 == a1.kernel * a2.kernel or a0.kernel == 1)


@kernel
def pack_weights(w, packed, call, axes, terms, o, outputs):
    """The weights of a block of terms, for so many output channels from `o` on, as `packed[term][output]`."""
    array, ws = w.array, w.strides
    a0, a1, a2 = axes
    at = 0
    for c in range(terms.channels):
        for k0 in range(terms.taps0):
            for k1 in range(terms.taps1):
                start = o * ws.batch + (terms.c + c) * ws.channel
                start += tap_index(call, a0, terms.k0 + k0) * ws.s0 + tap_index(call, a1, terms.k1 + k1) * ws.s1
                for k2 in range(terms.taps2):
                    source = start + tap_index(call, a2, terms.k2 + k2) * ws.s2
                    for m in range(outputs):
                        packed[at + m] = load(array, source + m * ws.batch)
                    at += outputs


@kernel
def tap_index(call, axis, k):
    """Where tap `k` lies in the kernel, which a convolution proper runs through backwards."""
    return axis.kernel - 1 - k if call.flip else k


def pack_box(array, source, workspace, offset, target, box, part):
    """Copy a part of a box, in the compute type, to the workspace, from a byte on, and set what is around it to zero.

    The source begins where the first element of the box would lie, if that were of the part.
    """
    raise NotImplementedError("compiled code only")


@overload(pack_box)
def _pack_box(array, source, workspace, offset, target, box, part):
    def copied(array, source, workspace, offset, target, box, part):
        goal = scratch_array(workspace, offset, array)
        if part.top >= part.bottom or part.left >= part.right:
            zero_box(goal, target, Box(box.planes, 1, box.rows * box.columns))
            return
        rows, columns = part.bottom - part.top, part.right - part.left
        is_whole = rows == box.rows and columns == box.columns
        if PARTIAL and not is_whole and source.column == 1 and source.row == box.columns and box.planes >= 4:
            copy_framed(array, source, goal, target, box, part)
            return
        at = Place(
            source.start + part.top * source.row + part.left * source.column, source.plane, source.row, source.column
        )
        inner = Place(target.start + part.top * box.columns + part.left, target.plane, box.columns, 1)
        copy_box(array, at, goal, inner, Box(box.planes, rows, columns), True)
        if part.left > 0:
            to = Place(target.start + part.top * box.columns, target.plane, box.columns, 1)
            zero_box(goal, to, Box(box.planes, rows, part.left))
        if part.right < box.columns:
            to = Place(target.start + part.top * box.columns + part.right, target.plane, box.columns, 1)
            zero_box(goal, to, Box(box.planes, rows, box.columns - part.right))
        if part.top > 0:
            zero_box(goal, target, Box(box.planes, 1, part.top * box.columns))
        if part.bottom < box.rows:
            to = Place(target.start + part.bottom * box.columns, target.plane, box.columns, 1)
            zero_box(goal, to, Box(box.planes, 1, (box.rows - part.bottom) * box.columns))

    def converted(array, source, workspace, offset, target, box, part):
        goal = scratch(workspace, offset, array)
        for plane in range(box.planes):
            for row in range(box.rows):
                at = source.start + plane * source.plane + row * source.row
                to = target.start + plane * target.plane + row * box.columns
                is_inside = part.top <= row < part.bottom
                for column in range(box.columns):
                    if is_inside and part.left <= column < part.right:
                        goal[to + column] = load(array, at + column * source.column)
                    else:
                        goal[to + column] = zero(array)

    return copied if array.dtype == array.compute else converted


@kernel
def pack_rows(array, source, workspace, offset, target, box, part):
    """`pack_box`, in which a column alone is a row."""
    if box.columns == 1 and part.left < part.right:
        at = Place(source.start, source.plane, source.column, source.row)
        pack_box(array, at, workspace, offset, target, Box(box.planes, 1, box.rows), Part(0, 1, part.top, part.bottom))
    else:
        pack_box(array, source, workspace, offset, target, box, part)
