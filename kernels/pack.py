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
        for k0 in range(slab.planes):
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
