"""Gradients of weights with vectors along channels: of groups that have channels enough, `weights` chooses this.

The input under a block of positions becomes panels of channels, `[panel][image][k0][row][column][channel]`, padding
resolved. Taps read the same panel from other places on; those of the last axis lie side by side with their channels,
unless they are apart, so that vectors may reach from one to the next. Gradients of the output are numbers that tiles
multiply these vectors with, wherever they lie. No lane of a sum is ever added to another, and planes of any size do.
"""

from typing import NamedTuple

from ..jit import inlined, kernel, overload, plain
from ..shapes import HUGE
from ..simd.lines import pointer_at
from ..simd.packing import pack_run, pack_transposed, prefetch_run
from ..simd.products import TILE_ROWS, TILE_VECTORS, product_tile
from ..simd.vectors import VECTOR_BYTES, is_vector_type
from ..strided import compute_size, load, zero
from .dense import with_stride
from .pack import columns_inside

POSITIONS = 200  # of a block: what a tile reads of a panel and of the gradients stays in L1
STRETCH = 2  # places of the last axis for each that a tap reads: vectors read them side by side
_WHOLE = 0.7  # of the lanes of a tap's vectors, which are worth it
_FEWEST = 8, 4  # channels and outputs of a group


class Reach(NamedTuple):
    """Places of a panel along an axis: `turns` times `count`, places of a turn `step` apart in the input."""

    turns: int
    count: int
    step: int
    position: int  # from one output's place to the next one's
    tap: int


@plain
def adjoin(axis, taps, stretch):
    """Whether neighbouring taps read neighbouring places, whatever the outputs of a block."""
    return taps == 1 or (axis.dilation == 1 and axis.stride <= stretch * taps)


@plain
def reach_of(axis, outs, taps, stretch):
    """The places that so many outputs and taps need: all between, up to `stretch` for each, or those of each tap."""
    span = min((outs - 1) * axis.stride + min((taps - 1) * min(axis.dilation, HUGE), HUGE) + 1, HUGE)
    if span <= stretch * outs * taps if axis.dilation > 1 else axis.stride <= stretch * taps:
        return Reach(1, span, 1, axis.stride, axis.dilation)
    return Reach(taps, outs, axis.stride, 1, outs)


@plain
def whole_lanes(count, lanes):
    return -(-count // lanes) * lanes


@plain
def tap_step(axis, taps, width, lanes):
    """Lines from one tap of the last axis to the next: vectors of a panel `width` wide that reach over taps, or not."""
    return width if adjoin(axis, taps, STRETCH) else whole_lanes(width, lanes)


@plain
def run_lines(axis, taps, width, lanes):
    """Lines of a panel for all taps of the last axis."""
    return whole_lanes(taps * tap_step(axis, taps, width, lanes), lanes)


@plain
def count_lines(axis, taps, taps2, channels, lanes):
    """Lines of so many channels, for so many taps of the axes before, and those of the last one."""
    whole, rest = divmod(channels, TILE_VECTORS * lanes)
    lines = whole * run_lines(axis, taps2, TILE_VECTORS * lanes, lanes)
    return taps * (lines + (run_lines(axis, taps2, rest, lanes) if rest > 0 else 0))


@plain
def takes_panels(call, axis, element):
    """Whether vectors along channels are filled well enough, the last axis given."""
    lanes = VECTOR_BYTES // element.itemsize
    if element.is_complex or call.channels < max(_FEWEST[0], lanes) or call.outputs < _FEWEST[1]:
        return False
    lines = count_lines(axis, 1, axis.kernel, call.channels, lanes)
    return call.channels * axis.kernel >= _WHOLE * lines


@plain
def panel_taps(a1, a2, rows, columns, room, most):
    """Taps of the last two axes, `most` in all, whose places are no more than there is room for; a single tap's are."""
    taps1, taps2 = a1.kernel, a2.kernel
    while taps1 * taps2 > 1:
        if taps1 * taps2 <= most and count_places(a1, a2, rows, columns, taps1, taps2) <= room:
            break
        if taps1 > 1:
            taps1 = (taps1 + 1) // 2
        else:
            taps2 = (taps2 + 1) // 2
    return taps1, taps2


@plain
def count_places(a1, a2, rows, columns, taps1, taps2):
    """Places of an image's plane in a panel."""
    r1, r2 = reach_of(a1, rows, taps1, 1), reach_of(a2, columns, taps2, STRETCH)
    return r1.turns * r1.count * r2.turns * r2.count


# ---- packing


@kernel
def pack_places(x, start, step, channel, places, slab, at, width):
    """`slab[at + j * width + c] = x[start + j * step + c * channel]` for `j < places` and `c < width`.

    Full vectors are written: what is past the last place is to be written later, or not to be read.
    """
    lanes = VECTOR_BYTES // compute_size(x)
    if step == 1:
        last = (width - 1) // lanes * lanes
        for c in range(last, -1, -lanes):  # downwards: what is past the last channel is another place's first
            for j in range(0, places, lanes):
                pack_transposed(
                    x, start + j + c * channel, channel, min(lanes, width - c), min(lanes, places - j),
                    slab, at + j * width + c, width,
                )  # fmt: skip
    elif channel == 1:
        for j in range(places):
            pack_run(slab, at + j * width, x, start + j * step, width, 1, 0, width, zero(x))
    else:
        for j in range(places):
            for c in range(width):
                slab[at + j * width + c] = load(x, start + j * step + c * channel)


@kernel
def clear(slab, at, count, nothing):
    for i in range(at, at + count):
        slab[i] = nothing


@kernel
def pack_plane(x, xs, start, axes, r1, r2, i1, i2, slab, at, width):
    """Pack a panel's places of a plane, whose first one has the indices `i1` and `i2`; returns where they end."""
    a0, a1, a2 = axes
    b1, b2 = with_stride(a1, r1.step), with_stride(a2, r2.step)
    for turn1 in range(r1.turns):
        j1 = i1 + turn1 * a1.dilation
        top, bottom = columns_inside(j1, r1.count, b1)
        left, right = columns_inside(i2, r2.count, b2)
        step = r2.step * xs.s2
        if r2.turns == 1 and right - left == r2.count and r1.step * xs.s1 == r2.count * step:  # the rows are one run
            clear(slab, at, top * r2.count * width, zero(x))
            at += top * r2.count * width
            begin = start + (j1 + top * r1.step) * xs.s1 + i2 * xs.s2
            pack_places(x, begin, step, xs.channel, (bottom - top) * r2.count, slab, at, width)
            at += (bottom - top) * r2.count * width
            clear(slab, at, (r1.count - bottom) * r2.count * width, zero(x))
            at += (r1.count - bottom) * r2.count * width
            continue
        for row in range(r1.count):
            for turn2 in range(r2.turns):
                j2 = i2 + turn2 * a2.dilation
                left, right = columns_inside(j2, r2.count, b2)
                if row < top or row >= bottom:
                    left = right = 0
                clear(slab, at, left * width, zero(x))
                if left < right:
                    begin = start + (j1 + row * r1.step) * xs.s1 + (j2 + left * r2.step) * xs.s2
                    pack_places(x, begin, step, xs.channel, right - left, slab, at + left * width, width)
                clear(slab, at + right * width, (r2.count - right) * width, zero(x))
                at += r2.count * width
    return at


@kernel
def pack_panel(x, xs, call, axes, r1, r2, group, c, width, terms, segments, slab, at):
    """Pack a panel of `width` channels from `c` on, counted within the group; returns where it ends."""
    a0, a1, a2 = axes
    i1 = segments.p1 * a1.stride + terms.k1 * a1.dilation - a1.before
    i2 = segments.p2 * a2.stride + terms.k2 * a2.dilation - a2.before
    for s in range(segments.images):
        n, p0 = divmod(segments.first + s, a0.out)
        for k0 in range(terms.taps0):
            i0 = p0 * a0.stride + (terms.k0 + k0) * a0.dilation - a0.before
            if 0 <= i0 < a0.size:
                start = n * xs.batch + (group * call.channels + c) * xs.channel + i0 * xs.s0
                at = pack_plane(x, xs, start, axes, r1, r2, i1, i2, slab, at, width)
            else:
                count = r1.turns * r1.count * r2.turns * r2.count * width
                clear(slab, at, count, zero(x))
                at += count
    return at


@kernel
def fetch_panel(x, xs, call, axes, r1, r2, group, c, width, terms, segments):
    """Ask for what a panel will be packed from: no hardware foresees so many channels that lie apart."""
    a0, a1, a2 = axes
    i1 = segments.p1 * a1.stride + terms.k1 * a1.dilation - a1.before
    i2 = segments.p2 * a2.stride + terms.k2 * a2.dilation - a2.before
    top, bottom = columns_inside(i1, r1.count, with_stride(a1, r1.step))
    left, right = columns_inside(i2, r2.count, with_stride(a2, r2.step))
    rows, count = bottom - top, right - left
    if r1.step * xs.s1 == count:
        rows, count = 1, rows * count
    for s in range(segments.images):
        n, p0 = divmod(segments.first + s, a0.out)
        i0 = p0 * a0.stride + terms.k0 * a0.dilation - a0.before
        start = n * xs.batch + (group * call.channels + c) * xs.channel + i0 * xs.s0
        start += (i1 + top * r1.step) * xs.s1 + i2 + left
        for row in range(rows if 0 <= i0 < a0.size and xs.s2 == 1 else 0):
            for channel in range(width):
                prefetch_run(x, start + row * r1.step * xs.s1 + channel * xs.channel, count)


@kernel
def list_positions(table, segments, a0, r1, r2, places, taps0, gs, is_ready):
    """Two words for each position of a block: where its gradients lie, and which place of a panel is its first."""
    at = 0
    for s in range(segments.images):
        n, p0 = divmod(segments.first + s, a0.out)
        for r in range(segments.rows):
            for q in range(segments.columns):
                table[2 * at] = n * gs.batch + p0 * gs.s0 + r * gs.s1 + q * gs.s2 if is_ready else at
                table[2 * at + 1] = s * taps0 * places + (r * r1.position * r2.count * r2.turns + q * r2.position)
                at += 1
    return at


# ---- products


def add_panels(x, xs, slab, table, factors, call, axes, item, segments, coming, gs, is_ready, sums):
    """Pack the panels under a block of positions, group by group, and add their products to an item's sums."""
    raise NotImplementedError("compiled code only")


@overload(add_panels)
def _add_panels(x, xs, slab, table, factors, call, axes, item, segments, coming, gs, is_ready, sums):
    if not is_vector_type(x.compute):
        return lambda x, xs, slab, table, factors, call, axes, item, segments, coming, gs, is_ready, sums: None

    def vectors(x, xs, slab, table, factors, call, axes, item, segments, coming, gs, is_ready, sums):
        a0, a1, a2 = axes
        terms, lanes = item.terms, VECTOR_BYTES // compute_size(x)
        r1 = reach_of(a1, segments.rows, terms.taps1, 1)
        r2 = reach_of(a2, segments.columns, terms.taps2, STRETCH)
        places = r1.turns * r1.count * r2.turns * r2.count
        count = list_positions(table, segments, a0, r1, r2, places, terms.taps0, gs, is_ready)
        pitch = count_lines(a2, terms.taps0 * terms.taps1, terms.taps2, terms.channels, lanes)
        first = min(TILE_VECTORS * lanes, terms.channels)
        for g in range(item.groups):  # LOOP 2
            at, line = 0, g * item.outputs * pitch
            for c in range(0, terms.channels, TILE_VECTORS * lanes):
                width = min(TILE_VECTORS * lanes, terms.channels - c)
                group, channel = item.group + g, terms.c + c
                end = pack_panel(x, xs, call, axes, r1, r2, group, channel, width, terms, segments, slab, at)
                if c + width < terms.channels:
                    after = min(TILE_VECTORS * lanes, terms.channels - c - width)
                    fetch_panel(x, xs, call, axes, r1, r2, group, channel + width, after, terms, segments)
                elif g + 1 < item.groups:
                    fetch_panel(x, xs, call, axes, r1, r2, group + 1, 0, first, terms, segments)
                else:
                    fetch_panel(x, xs, call, axes, r1, r2, item.group, terms.c, first, terms, coming)
                start = factors.start + g * call.outputs * factors.step
                multiply_panel(
                    slab, at, width, lanes, a2, r1, r2, places, terms, factors, start, item.outputs, table, count, sums,
                    line, pitch,
                )  # fmt: skip
                at = end
                line += count_lines(a2, terms.taps0 * terms.taps1, terms.taps2, width, lanes)

    return vectors


@inlined
def multiply_panel(
    slab, at, width, lanes, a2, r1, r2, places, terms, factors, start, outputs, table, count, sums, line, pitch
):
    """Add the products of a panel to the sums of some outputs, from `sums[line]` on."""
    step = tap_step(a2, terms.taps2, width, lanes)
    turns, run = (1, terms.taps2 * width) if adjoin(a2, terms.taps2, STRETCH) else (terms.taps2, width)
    vectors = whole_lanes(run, lanes) // lanes
    lines = run_lines(a2, terms.taps2, width, lanes)
    blocks = -(-outputs // TILE_ROWS)
    height, higher = divmod(outputs, blocks)
    row = 0
    for m in range(blocks):  # LOOP 1
        rows, given = height + (m < higher), pointer_at(factors.elements, start + row * factors.step)
        to = row * pitch + line
        for k0 in range(terms.taps0):
            for k1 in range(terms.taps1):
                for k2 in range(turns):
                    place = k0 * places + k1 * r1.tap * r2.count * r2.turns + k2 * r2.tap
                    for v in range(0, vectors, TILE_VECTORS):
                        product_tile(
                            rows, min(TILE_VECTORS, vectors - v), given, factors.step,
                            pointer_at(slab, at + place * width + v * lanes), width, table, count,
                            pointer_at(sums, to + k2 * step + v * lanes), pitch,
                        )  # fmt: skip
                to += lines
        row += rows
