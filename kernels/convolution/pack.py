"""Packing: input of any strides becomes padded, contiguous planes in the compute type, the boundary rule applied."""

from typing import NamedTuple

from ..jit import kernel, overload
from ..shapes import CONSTANT
from ..simd.packing import CHANNELS, pack_channels, pack_run
from ..simd.vectors import is_vector_type
from ..strided import load, scratch
from ..window import source_index

SLACK = 16
_TOGETHER = 16  # channels: a line of memory that is fetched is used as a whole


class Slab(NamedTuple):
    """Layout of a slab: `[channel][k0][phase1][phase2][row][column]`, steps in elements.

    Channels lie at least `SLACK` further apart than their elements need, or there is one: whole vectors are written.
    """

    phases1: int
    phases2: int
    rows: int
    pitch: int
    phase: int
    plane: int
    channel: int


@kernel
def pack_slab(x, xs, fill, workspace, a0, a1, a2, slab, channels, depth, first, tap):
    """Fill the slab for outputs from `first = (n, channel, p0, p1, p2)` and taps from `tap = (_, k0, k1, k2)` on.

    It holds so many channels, and `depth` taps of the first spatial axis.
    """
    planes = scratch(workspace, 0, x)
    n, channel, p0, p1, p2 = first
    padding = load(fill, 0)
    column = p2 * a2.stride + tap[3] * a2.dilation - a2.before
    most = _TOGETHER if xs.channel == 1 and xs.s2 != 1 else 1
    c = 0
    while c < channels:
        together = max(min(channels - c, most) // CHANNELS * CHANNELS, 1)
        where = c * slab.channel
        xc = n * xs.batch + (channel + c) * xs.channel
        for k0 in range(depth):
            i0 = source_index(p0 * a0.stride + (tap[1] + k0) * a0.dilation - a0.before, a0.size, a0.boundary)
            for phase1 in range(slab.phases1):
                first_row = p1 * a1.stride + phase1 + tap[2] * a1.dilation - a1.before
                for phase2 in range(slab.phases2):
                    left, right = real_run(column + phase2, slab.pitch, a2)
                    for row in range(slab.rows):
                        i1 = source_index(first_row + row * a1.stride, a1.size, a1.boundary)
                        base = xc + i0 * xs.s0 + i1 * xs.s1
                        real = i0 >= 0 and i1 >= 0
                        pack_row(
                            x, base + (column + phase2) * xs.s2, a2.stride * xs.s2, planes, where, slab.pitch,
                            left if real else 0, right if real else 0, padding, together, slab.channel,
                        )  # fmt: skip
                        if real and right - left < slab.pitch and a2.boundary != CONSTANT:
                            for i in range(together):
                                pack_border(
                                    x, base + i * xs.channel, xs.s2, planes, where + i * slab.channel,
                                    left, right, slab.pitch, column + phase2, a2,
                                )  # fmt: skip
                        where += slab.pitch
        c += together


@kernel
def real_run(start, count, axis):
    """Which of `count` places, from padded coordinate `start` on, `axis.stride` apart, are in the input: from, to."""
    if axis.stride == 1:
        left, right = -start, axis.size - start
    else:
        left, right = -(start // axis.stride), -((start - axis.size) // axis.stride)
    left = min(max(left, 0), count)
    return left, min(max(right, left), count)


@kernel
def pack_border(x, base, xs, planes, where, left, right, count, start, axis):
    """The places of a row before `left` and from `right` on, where the boundary rule finds an element for each."""
    for j in range(count):
        if j < left or j >= right:
            planes[where + j] = load(x, base + source_index(start + j * axis.stride, axis.size, axis.boundary) * xs)


def pack_row(x, start, step, planes, where, count, left, right, padding, together, channel):
    """`planes[where + j] = x[start + j * step]` for `left <= j < right`, `padding` elsewhere, in the compute type.

    For `together` channels, side by side in `x` and `channel` apart in the planes.
    """
    raise NotImplementedError("compiled code only")


@overload(pack_row)
def _pack_row(x, start, step, planes, where, count, left, right, padding, together, channel):
    def vectors(x, start, step, planes, where, count, left, right, padding, together, channel):
        if together > 1:
            for i in range(0, together, CHANNELS):
                pack_channels(
                    planes, where + i * channel + left, channel, x, start + i + left * step, step, right - left
                )
            for i in range(together):
                at = where + i * channel
                for j in range(left):
                    planes[at + j] = padding
                for j in range(right, count):
                    planes[at + j] = padding
        elif step == 1:
            pack_run(planes, where, x, start, count, 1, left, right, padding)
        elif step == 2:
            pack_run(planes, where, x, start, count, 2, left, right, padding)
        else:
            pack_elements(x, start, step, planes, where, count, left, right, padding)

    def scalars(x, start, step, planes, where, count, left, right, padding, together, channel):
        for i in range(together):
            pack_elements(x, start + i, step, planes, where + i * channel, count, left, right, padding)

    return vectors if is_vector_type(x.compute) else scalars


@kernel
def pack_elements(x, start, step, planes, where, count, left, right, padding):
    for j in range(left):
        planes[where + j] = padding
    for j in range(left, right):
        planes[where + j] = load(x, start + j * step)
    for j in range(right, count):
        planes[where + j] = padding


@kernel
def lies_in_order(ws, call, a0, a1, a2):
    """Whether the taps of all channels of a kernel lie side by side, as in a C-contiguous array."""
    rows = (ws.s2 == 1 or a2.kernel == 1) and (ws.s1 == a2.kernel or a1.kernel == 1)
    planes = ws.s0 == a1.kernel * a2.kernel or a0.kernel == 1
    return rows and planes and (ws.channel == a0.kernel * a1.kernel * a2.kernel or call.channels == 1)


@kernel
def pack_weights(w, ws, packed, call, a0, a1, a2, part, o, rows, tap):
    """Kernels of `rows` output channels from `o` on, and the taps of one block, as `packed[entry][row]`."""
    e = 0
    for c in range(part.channels):
        for k0 in range(part.k0):
            for k1 in range(part.k1):
                where = o * ws.batch + (tap[0] + c) * ws.channel
                where += tap_index(call, a0, tap[1] + k0) * ws.s0 + tap_index(call, a1, tap[2] + k1) * ws.s1
                for k2 in range(part.k2):
                    source = where + tap_index(call, a2, tap[3] + k2) * ws.s2
                    for m in range(rows):
                        packed[e * rows + m] = load(w, source + m * ws.batch)
                    e += 1


@kernel
def tap_index(call, axis, k):
    return axis.kernel - 1 - k if call.flip else k
