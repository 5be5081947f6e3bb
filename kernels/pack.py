"""Packing: input of any strides becomes padded, contiguous planes in the compute type, the boundary rule applied."""

from .jit import kernel
from .strided import load, scratch
from .window import source_index


@kernel
def pack_slab(x, xs, fill, workspace, a0, a1, a2, slab, part, first, tap):
    """Fill the slab for outputs from `first = (n, channel, p0, p1, p2)` and taps from `tap = (_, k0, k1, k2)` on."""
    planes = scratch(workspace, 0, x)
    n, channel, p0, p1, p2 = first
    padding = load(fill, 0)
    column = p2 * a2.stride + tap[3] * a2.dilation - a2.before
    where = 0
    for c in range(part.channels):
        xc = n * xs.batch + (channel + c) * xs.channel
        for k0 in range(part.k0):
            i0 = source_index(p0 * a0.stride + (tap[1] + k0) * a0.dilation - a0.before, a0.size, a0.boundary)
            for phase1 in range(slab.phases1):
                for phase2 in range(slab.phases2):
                    for row in range(slab.rows):
                        i1 = (p1 + row) * a1.stride + phase1 + tap[2] * a1.dilation - a1.before
                        i1 = source_index(i1, a1.size, a1.boundary)
                        if i0 >= 0 and i1 >= 0:
                            base = xc + i0 * xs.s0 + i1 * xs.s1
                            pack_row(x, base, xs.s2, planes, where, slab.pitch, column + phase2, a2, padding)
                        else:
                            for j in range(slab.pitch):
                                planes[where + j] = padding
                        where += slab.pitch


@kernel
def pack_row(x, base, xs, planes, where, count, start, axis, padding):
    """`count` elements of the row at `base`, from padded coordinate `start` on, `axis.stride` apart."""
    step = axis.stride
    left = min(max(-(start // step), 0), count)  # the first j with start + j * step >= 0
    right = min(max(-((start - axis.size) // step), left), count)
    if step * xs == 1:  # said aloud, so that the copy is vectorised
        for j in range(left, right):
            planes[where + j] = load(x, base + start * xs + j)
    else:
        for j in range(left, right):
            planes[where + j] = load(x, base + (start + j * step) * xs)
    for j in range(left):
        planes[where + j] = border(x, base, xs, start + j * step, axis, padding)
    for j in range(right, count):
        planes[where + j] = border(x, base, xs, start + j * step, axis, padding)


@kernel
def border(x, base, xs, i, axis, padding):
    i = source_index(i, axis.size, axis.boundary)
    return load(x, base + i * xs) if i >= 0 else padding


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
