"""Gradient of a convolution's weights: products whose reduction runs over batch and positions, over up to three axes.

`out[o, c, k] = sum over n, p of gradient[n, o, p] * x[n, c, p * stride + k * dilation - before]`, padding being zeros.

For each item, a block of groups, outputs, channels and taps and a part of the reduction, and each block of positions:

    lines   of the input, for each channel and each tap of the first and the last axis: all rows that the block needs,
            as wide as the gradient's, steps and padding resolved. They follow each other without a gap, so that the
            taps of the axis between are the same line from another row on. Rows that lie so are read in place.
    dots    register tiles of outputs by lines, vectors along positions; sums of lanes are added to the item's sums

An image is a plane of the last two axes. Where one is no whole number of vectors and there are outputs enough, all taps
have lines of their own, so that images follow each other without a gap, too.

Lone channels, those of depthwise layers, are read as they lie, and so are their gradients, if neighbours do so: lanes
of vectors that have no gradient, or meet no element, are masked, and vectors may go on from one row to the next.

Groups with channels enough have panels in place of lines, and vectors along channels: `weight_panels` says how. The
gradient of a bias is that of one tap which meets an input of ones, and is summed as it lies.

A sum has blocks of at most `V` vectors of `L` lanes, `V` being `SHARED`: a term meets up to `V + log2(L)` additions in
its block, of panels `POSITIONS`, then one for each block of its part, and one for each part. Of `B` blocks in `P` parts
an error is at most `(V + log2(L) + B / P + P + 3) u` times the sum of the terms' magnitudes, to first order, of panels
`(POSITIONS + B / P + P + 3) u`; direct sums have `n + 2` in place of that. Biases sum runs of up to `SHARED * SUMS`
vectors, then those of an image, of `SHARED` images, and all. All of it follows from sizes and strides: the same call
has the same bits for any number of threads.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..jit import entry, inlined, kernel, overload, plain
from ..shapes import CALL_FIELDS, HUGE, PLAN, even_part, words_of
from ..simd.boxes import Box, Part, Place
from ..simd.dots import (
    LINES,
    LINES_OF_ONE,
    MASKED_ROWS,
    MASKED_TAPS,
    ROWS,
    SUMS,
    dot_tile,
    masked_dots,
    sum_run,
)
from ..simd.lines import pointer_at
from ..simd.packing import prefetch_run
from ..simd.products import TILE_ROWS, TILE_VECTORS
from ..simd.vectors import MASKED, VECTOR_BYTES, is_vector_type
from ..strided import (
    Strides,
    add_product,
    compute_size,
    elements,
    five_strides,
    is_aligned,
    is_plain,
    item_size,
    load,
    load_tuple,
    scratch,
    scratch_index,
    store,
    zero,
)
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, write_tuple
from .operands import ReductionBlock
from .pack import columns_inside, pack_rows
from .weight_panels import (
    POSITIONS,
    add_panels,
    count_lines,
    count_places,
    panel_taps,
    run_lines,
    takes_panels,
    tap_step,
    whole_lanes,
)

SHARED, ALONE = 64, 50  # vectors of a block of positions: a tile's rows and lines, which taps share or not, fit in L1
LINE_BYTES, GRADIENT_BYTES, SUMS_BYTES, PARTS_BYTES = 256 << 10, 256 << 10, 256 << 10, 512 << 10
COLUMNS, SEGMENTS = 2048, 64  # lines of an item, with all taps; images of a block
_GROUPS = 16  # of an item, at most
_ITEMS, _PANEL_ITEMS, _ITEM_MACS = 12, 8, 1 << 20  # that threads share, where each is worth tens of microseconds
_JOINED = 32  # outputs that are worth a line for each tap
_COLUMNS = 32  # of a block whose rows are read by several taps: the fewer there are around it, the less is packed twice
_FEW_OUTPUTS, _MASKED_STEP, _SPARSE = 2, 2, 3  # of a lone channel: at most, so are steps, and lanes for each position
_TOGETHER, _RUN = 256, 1 << 16  # outputs that are summed at a time, of so many elements of an image
_WORTH = 64  # outputs that are worth to pack panels for
_SLACK = 64
_GRADIENT = LINE_BYTES + _SLACK
_SUMS = _GRADIENT + GRADIENT_BYTES + _SLACK
_PARTS = _SUMS + SUMS_BYTES + _SLACK
_OFFSETS = _PARTS + PARTS_BYTES + _SLACK
_SEGMENTS = _OFFSETS + 8 * COLUMNS
WORKSPACE_BYTES = _SEGMENTS + 16 * SEGMENTS


class Plan(NamedTuple):
    """How far each loop runs at a time."""

    columns: int
    rows: int
    images: int
    is_joined: int  # whether images follow each other without a gap
    taps0: int
    taps1: int
    taps2: int
    channels: int
    groups: int
    outputs: int
    parts: int  # of the reduction
    has_panels: int  # whether vectors lie along channels


class Turns(NamedTuple):
    """The rows of a line: first those of one turn, then those of the next, whose input rows begin `step` later."""

    count: int
    step: int
    rows: int
    is_shared: bool  # by the taps


class Segments(NamedTuple):
    """Positions of a block: images from `first` on, of each so many rows and columns."""

    first: int
    images: int
    p1: int
    rows: int
    p2: int
    columns: int


class Item(NamedTuple):
    """What is summed together: the first group and output and how many, the terms, and a part of the reduction."""

    group: int
    groups: int
    o: int
    outputs: int
    terms: ReductionBlock
    part: int


class Layout(NamedTuple):
    """How packed lines lie: `[channel][k0][k2][image][turn][row]`, joined ones `[...][turn][image][row]`."""

    turns: Turns
    image: int
    turn: int
    tap: int
    channel: int


class Steps(NamedTuple):
    """How far an item's sums of the next row, channel and tap are."""

    row: int
    channel: int
    k0: int
    k1: int
    k2: int


class Side(NamedTuple):
    """An operand of the tiles, in place or packed: it starts at an element; steps lead to the next row, or channel."""

    elements: Any
    start: int
    step: int


PLAN_WORDS = PLAN + words_of(Plan)


# ---- what is known before the arrays are: plain Python


@plain
def is_turned(a1, has_panels):
    """Whether a lone last axis becomes rows of one column: then all of its taps share a line."""
    return a1.kernel == 1 and a1.out == 1 and not has_panels


@plain
def turned(a0, a1, a2, has_panels):
    """The axes as the plan has them."""
    return (a0, a2, a1) if is_turned(a1, has_panels) else (a0, a1, a2)


@plain
def turns_of(axis, taps, rows, is_joined):
    """How the rows of a line lie, for so many taps and outputs along their axis."""
    reach = min((taps - 1) * min(axis.dilation, HUGE), HUGE)
    count = min(axis.stride, reach + 1)
    length = rows + reach // axis.stride
    if is_joined or reach == HUGE or count * length > taps * rows:
        return Turns(taps, axis.dilation, rows, False)
    return Turns(count, 1, length, True)


@plain
def count_blocks(call, a0, a1, a2, plan):
    """Blocks of the positions."""
    return -(-a1.out // plan.rows) * -(-a2.out // plan.columns) * -(-call.batch * a0.out // plan.images)


@plain
def count_items(call, a0, a1, a2, plan):
    """Items of one part of the reduction."""
    taps = -(-a0.kernel // plan.taps0) * -(-a1.kernel // plan.taps1) * -(-a2.kernel // plan.taps2)
    blocks = -(-call.channels // plan.channels) * -(-call.outputs // plan.outputs)
    return -(-call.groups // plan.groups) * blocks * taps


@plain
def choose_plan(call, axes, element):
    """A plan whose lines or panels, gradients and sums fit."""
    has_panels = int(takes_panels(call, axes[2], element))
    a0, a1, a2 = turned(axes[0], axes[1], axes[2], has_panels)
    if has_panels:
        plan = panel_plan(call, a0, a1, a2, element.itemsize)
    else:
        plan = line_plan(call, a0, a1, a2, element.itemsize)
    return split_plan(call, a0, a1, a2, plan, element.itemsize)


@plain
def line_plan(call, a0, a1, a2, itemsize):
    """The plan of vectors along positions."""
    lanes, room = VECTOR_BYTES // itemsize, LINE_BYTES // itemsize
    most = (SHARED if a1.kernel > 1 else ALONE) * lanes
    columns = even_part(a2.out, most, lanes)
    if is_alone(call, a2, lanes):  # rows may begin with a vector each
        room_of_row = whole_lanes(columns, lanes)
        rows = even_part(a1.out, most // room_of_row)
        most = most // room_of_row * columns
    else:
        rows = even_part(a1.out, most // columns)
    size, images = rows * columns, 1
    if rows == a1.out and columns == a2.out:
        images = min(call.batch * a0.out, SEGMENTS, most // size)
    wasted = -(-size // lanes) * lanes - size
    is_joined = int(images > 1 and call.outputs >= _JOINED and wasted * 12 > size)
    taps1 = even_part(a1.kernel, min(COLUMNS, room // (size * images)))
    turns = turns_of(a1, taps1, rows, is_joined != 0)
    line = turns.count * turns.rows * columns * images
    taps2 = even_part(a2.kernel, min(COLUMNS // taps1, room // line))
    taps0 = even_part(a0.kernel, min(COLUMNS // (taps1 * taps2), room // (line * taps2)))
    line, taps = line * taps2 * taps0, taps0 * taps1 * taps2
    channels = even_part(call.channels, min(COLUMNS // taps, room // line))
    groups = 1
    if channels == call.channels and taps == a0.kernel * a1.kernel * a2.kernel and call.outputs * channels <= 64:
        fits = min(COLUMNS // (channels * taps), room // (line * channels), _GROUPS)
        fits = min(fits, SUMS_BYTES // (itemsize * call.outputs * channels * taps))
        groups = even_part(call.groups, max(1, min(fits, GRADIENT_BYTES // (itemsize * size * images * call.outputs))))
    fits = min(SUMS_BYTES // (channels * taps), GRADIENT_BYTES // (size * images)) // (itemsize * groups)
    outputs = even_part(call.outputs, fits, ROWS)
    return Plan(columns, rows, images, is_joined, taps0, taps1, taps2, channels, groups, outputs, 1, 0)


@plain
def panel_plan(call, a0, a1, a2, itemsize):
    """The plan of vectors along channels."""
    lanes, room, sums = VECTOR_BYTES // itemsize, LINE_BYTES // itemsize, SUMS_BYTES // itemsize
    unit = TILE_VECTORS * lanes
    columns = even_part(a2.out, _COLUMNS if a1.kernel > 1 else POSITIONS)
    rows = even_part(a1.out, POSITIONS // columns)
    size, images = rows * columns, 1
    if rows == a1.out and columns == a2.out:
        images = min(even_part(call.batch * a0.out, POSITIONS // size), SEGMENTS)
    taps1, taps2 = panel_taps(a1, a2, rows, columns, room // (images * unit), sums // (unit * TILE_ROWS))
    places = images * count_places(a1, a2, rows, columns, taps1, taps2)
    most = max(int(math.sqrt(sums / (taps1 * taps2))), unit)
    channels = even_part(call.channels, min(room // places, most), unit)
    lines = count_lines(a2, taps1, taps2, channels, lanes)
    outputs = even_part(call.outputs, min(sums // lines, GRADIENT_BYTES // (size * images * itemsize)), ROWS)
    groups = 1
    if channels == call.channels and outputs == call.outputs:
        fits = min(sums // lines, GRADIENT_BYTES // (size * images * itemsize)) // outputs
        groups = even_part(call.groups, min(max(fits, 1), _GROUPS))
    return Plan(columns, rows, images, 0, 1, taps1, taps2, channels, groups, outputs, 1, 1)


@plain
def is_alone(call, a2, lanes):
    """Whether groups have one channel, too few outputs for packing lines of it, and rows that fill vectors enough."""
    is_filled = a2.out * _SPARSE >= whole_lanes(a2.out, lanes)
    return call.channels == 1 and call.outputs <= _FEW_OUTPUTS and is_filled


@plain
def split_plan(call, a0, a1, a2, plan, itemsize):
    """The plan, of smaller items if need be, so that threads have some to share."""
    weights = call.groups * call.outputs * call.channels * a0.kernel * a1.kernel * a2.kernel
    macs = float(weights) * call.batch * a0.out * a1.out * a2.out
    wanted = int(min(macs / _ITEM_MACS, _PANEL_ITEMS if plan.has_panels else _ITEMS))
    columns, rows, images, is_joined, taps0, taps1, taps2, channels, groups, outputs, parts, has_panels = plan
    unit = TILE_VECTORS * VECTOR_BYTES // itemsize if has_panels else 1
    missing = -(-wanted // count_items(call, a0, a1, a2, plan))
    fits = min(count_blocks(call, a0, a1, a2, plan), PARTS_BYTES // (itemsize * weights))
    parts = max(1, min(missing, fits))
    while count_items(call, a0, a1, a2, plan) * parts < wanted:
        is_split = channels * taps0 * taps1 * taps2 > 8 * LINES and channels > unit
        if is_split and (groups == 1 or has_panels):  # lines of several groups are of all their channels
            channels = even_part(channels, (channels + 1) // 2, unit)
        elif groups > 1:
            groups = (groups + 1) // 2
        elif outputs > (_WORTH if has_panels else 4 * ROWS):
            outputs = even_part(outputs, (outputs + 1) // 2, ROWS)
        else:
            break
        plan = Plan(columns, rows, images, is_joined, taps0, taps1, taps2, channels, groups, outputs, parts, has_panels)
    return Plan(columns, rows, images, is_joined, taps0, taps1, taps2, channels, groups, outputs, parts, has_panels)


@plain
def write_plan(call, axes, element, numbers):
    """Write the plan behind the numbers of the call."""
    write_tuple(numbers, PLAN, choose_plan(call, axes, element))


# ---- dots


def add_dots(rows, lines, source, offsets, factors, step, segments, count, length, target, pitch):
    """`dot_tile`, of complex numbers, too."""
    raise NotImplementedError("compiled code only")


@overload(add_dots)
def _add_dots(rows, lines, source, offsets, factors, step, segments, count, length, target, pitch):
    def vectors(rows, lines, source, offsets, factors, step, segments, count, length, target, pitch):
        dot_tile(rows, lines, source, offsets, factors, step, segments, count, length, target, pitch)

    def scalars(rows, lines, source, offsets, factors, step, segments, count, length, target, pitch):
        for m in range(rows):
            for j in range(lines):
                total = target[m * pitch + j]
                for s in range(count):
                    first, other = segments[2 * s] + offsets[j], segments[2 * s + 1] + m * step
                    for p in range(length):
                        total = add_product(total, factors[other + p], source[first + p])
                target[m * pitch + j] = total

    return vectors if is_vector_type(source.dtype) else scalars


# ---- kernels


@kernel
def layout_of(axes, plan, terms, segments):
    """The layout of the lines of a block."""
    turns = turns_of(axes[1], terms.taps1, plan.rows, plan.is_joined != 0)
    turn = turns.rows * segments.columns
    image = turn * turns.count
    if plan.is_joined:
        image, turn = turn, turn * plan.images
    tap = turns.count * turns.rows * segments.columns * plan.images
    return Layout(turns, image, turn, tap, tap * terms.taps0 * terms.taps2)


@kernel
def write_offsets(offsets, xs, axes, terms, layout, width):
    """Where the line of each channel and tap lies: packed, in rows of a width, or in the array, if that is 0."""
    a0, a1, a2 = axes
    at = 0
    for c in range(terms.channels):
        for k0 in range(terms.taps0):
            for k1 in range(terms.taps1):
                for k2 in range(terms.taps2):
                    if width == 0:
                        place = k0 * a0.dilation * xs.s0 + k1 * a1.dilation * xs.s1 + k2 * a2.dilation * xs.s2
                        place += c * xs.channel
                    else:
                        place = c * layout.channel + (k0 * terms.taps2 + k2) * layout.tap
                        if layout.turns.is_shared:
                            row, turn = divmod(k1 * a1.dilation, a1.stride)
                            place += turn * layout.turn + row * width
                        else:
                            place += k1 * layout.turn
                    offsets[at] = place
                    at += 1


@kernel
def spreads(step, size, count):
    """Whether so many rows, so far apart, do not share a few places in the caches."""
    return count <= 8 or (step * size + 128) % 4096 >= 256


@kernel
def reads_in_place(xs, size, axes, item, segments):
    """Whether lines lie in the array as tiles read them."""
    a0, a1, a2 = axes
    terms, is_column = item.terms, segments.columns == 1
    if not (is_column or a2.stride * xs.s2 == 1):
        return False
    if not (segments.rows == 1 or a1.stride * xs.s1 == segments.columns):
        return False
    return (
        is_inside(a0, 0, a0.out, terms.k0, terms.taps0)
        and is_inside(a1, segments.p1, segments.rows, terms.k1, terms.taps1)
        and is_inside(a2, segments.p2, segments.columns, terms.k2, terms.taps2)
        and spreads(xs.channel, size, terms.channels)
    )


@kernel
def is_inside(axis, p, count, k, taps):
    """Whether so many taps from one on meet input elements at so many outputs."""
    first = p * axis.stride + k * axis.dilation - axis.before
    return first >= 0 and first + (count - 1) * axis.stride + (taps - 1) * axis.dilation < axis.size


@kernel
def lines_in_place(x, xs, call, axes, item, segments):
    a0, a1, a2 = axes
    terms = item.terms
    start = (item.group * call.channels + terms.c) * xs.channel + (terms.k0 * a0.dilation - a0.before) * xs.s0
    start += (segments.p1 * a1.stride + terms.k1 * a1.dilation - a1.before) * xs.s1
    start += (segments.p2 * a2.stride + terms.k2 * a2.dilation - a2.before) * xs.s2
    return Side(elements(x), start, call.channels * xs.channel)


@kernel
def pack_lines(x, xs, workspace, call, axes, layout, item, segments):
    """Pack the lines of an item's channels under a block's positions."""
    a0, a1, a2 = axes
    terms, turns = item.terms, layout.turns
    planes = item.groups * terms.channels
    rows = segments.rows
    if turns.is_shared:
        rows += (terms.taps1 - 1) * a1.dilation // a1.stride
    box = Box(planes, rows, segments.columns)
    for k0 in range(terms.taps0):
        for k2 in range(terms.taps2):
            i2 = segments.p2 * a2.stride + (terms.k2 + k2) * a2.dilation - a2.before
            left, right = columns_inside(i2, segments.columns, a2)
            for turn in range(turns.count):
                i1 = segments.p1 * a1.stride + terms.k1 * a1.dilation + turn * turns.step - a1.before
                top, bottom = columns_inside(i1, rows, a1)
                for s in range(segments.images):
                    n, p0 = divmod(segments.first + s, a0.out)
                    i0 = p0 * a0.stride + (terms.k0 + k0) * a0.dilation - a0.before
                    start = n * xs.batch + (item.group * call.channels + terms.c) * xs.channel
                    start += i0 * xs.s0 + i1 * xs.s1 + i2 * xs.s2
                    source = Place(start, xs.channel, a1.stride * xs.s1, a2.stride * xs.s2)
                    to = (k0 * terms.taps2 + k2) * layout.tap + turn * layout.turn + s * layout.image
                    part = Part(top, bottom if 0 <= i0 < a0.size else top, left, right)
                    pack_rows(x, source, workspace, 0, Place(to, layout.channel, 0, 1), box, part)
    return Side(scratch(workspace, 0, x), 0, call.channels * layout.channel)


@kernel
def adjoins(gs, size, item, count, segments):
    """Whether the gradients of a block's positions lie side by side: those of one line are read row by row."""
    columns = segments.columns == 1 or gs.s2 == 1
    rows = segments.rows == 1 or gs.s1 == segments.columns
    return columns and rows and (count == 1 or spreads(gs.channel, size, item.outputs))


@kernel
def pack_gradients(gradient, gs, workspace, call, axes, item, segments):
    """Pack the gradients of an item's outputs at a block's positions."""
    size = segments.rows * segments.columns
    outputs = item.groups * item.outputs
    step = size * segments.images
    box, part = Box(outputs, segments.rows, segments.columns), Part(0, segments.rows, 0, segments.columns)
    for s in range(segments.images):
        n, p0 = divmod(segments.first + s, axes[0].out)
        start = n * gs.batch + (item.group * call.outputs + item.o) * gs.channel
        start += p0 * gs.s0 + segments.p1 * gs.s1 + segments.p2 * gs.s2
        source = Place(start, gs.channel, gs.s1, gs.s2)
        pack_rows(gradient, source, workspace, _GRADIENT, Place(s * size, step, 0, 1), box, part)
    return Side(scratch(workspace, _GRADIENT, gradient), 0, step)


def reads_by_masks(x, xs, gs, call, axes, terms):
    """Whether the rows of a lone channel are read as they lie, lanes of no element or gradient left out."""
    raise NotImplementedError("compiled code only")


@overload(reads_by_masks)
def _reads_by_masks(x, xs, gs, call, axes, terms):
    if not MASKED or not is_vector_type(x.compute):
        return lambda x, xs, gs, call, axes, terms: False

    def vectors(x, xs, gs, call, axes, terms):
        a0, _, a2 = axes
        if not is_alone(call, a2, VECTOR_BYTES // compute_size(x)):
            return False
        has_rows = xs.s2 == 1 and gs.s2 == 1 and a2.stride <= _MASKED_STEP
        fits = terms.taps1 * (3 * terms.taps2 + 1) * 8 * 2 * SHARED <= LINE_BYTES
        return has_rows and fits and is_inside(a0, 0, a0.out, terms.k0, terms.taps0)

    return vectors


class Bands(NamedTuple):
    """The tables of `masked_dots` under a block, one for each band of taps: so many rows of them, so many of a row."""

    rows: int
    taps: int
    pitch: int  # lanes from one row of the input to the next one
    entries: int


@kernel
def bands_of(xs, gs, axes, terms, segments, lanes):
    """Rows that follow each other need no vectors of their own, and all taps of a column of elements read them once."""
    _, a1, a2 = axes
    is_run = xs.s1 == gs.s1 == segments.columns and a1.stride == 1 and a2.stride == 1
    pitch = segments.columns if is_run else whole_lanes(segments.columns, lanes)
    has_rows = a1.stride == 1 and a2.stride == 1 and 2 * a1.dilation <= segments.rows
    rows = even_part(terms.taps1, MASKED_ROWS) if has_rows else 1
    lines = segments.rows + (rows - 1) * a1.dilation
    return Bands(rows, even_part(terms.taps2, MASKED_TAPS), pitch, -(-lines * pitch // lanes))


@kernel
def write_masks(table, bands, xs, gs, axes, terms, segments, lanes):
    """The tables under a block, band by band."""
    _, a1, a2 = axes
    at = 0
    for k1 in range(0, terms.taps1, bands.rows):
        rows = min(bands.rows, terms.taps1 - k1)
        lines = segments.rows + (rows - 1) * a1.dilation
        i1 = segments.p1 * a1.stride + (terms.k1 + k1) * a1.dilation - a1.before
        top, bottom = columns_inside(i1, lines, a1)
        for k2 in range(0, terms.taps2, bands.taps):
            taps = min(bands.taps, terms.taps2 - k2)
            words = 2 + rows + taps
            for i in range(bands.entries):
                r, q = divmod(i * lanes, bands.pitch)
                table[at + i * words] = r * a1.stride * xs.s1 + q * a2.stride
                table[at + i * words + 1] = r * gs.s1 + q
                for word in range(2, words):
                    table[at + i * words + word] = 0
            for r in range(rows):
                for row in range(segments.rows):
                    first = (row + r * a1.dilation) * bands.pitch
                    mark(table, at + 2 + r, words, first, first + segments.columns, 1, lanes)
            for k in range(taps):
                i2 = segments.p2 * a2.stride + (terms.k2 + k2 + k) * a2.dilation - a2.before
                left, right = columns_inside(i2, segments.columns, a2)
                for line in range(top, bottom):
                    first = line * bands.pitch
                    mark(table, at + 2 + rows + k, words, first + left, first + right, a2.stride, lanes)
            at += bands.entries * words


@kernel
def mark(table, at, words, first, last, every, lanes):
    """Set the bits of a run of lanes, `every` apart, in words of so many lanes."""
    i = first // lanes
    while i * lanes < last:
        low, high = max(first - i * lanes, 0), min(last - i * lanes, lanes)
        bits = (np.int64(1) << (high * every)) - (np.int64(1) << (low * every))
        table[at + i * words] |= bits & (0x55555555 if every == 2 else -1)
        i += 1


def add_masked(x, xs, gradient, gs, workspace, call, axes, item, segments, sums):
    """Add what a block gives to an item's sums, `[group][output][tap]`, of lone channels that are read as they lie."""
    raise NotImplementedError("compiled code only")


@overload(add_masked)
def _add_masked(x, xs, gradient, gs, workspace, call, axes, item, segments, sums):
    if not is_vector_type(x.compute):
        return lambda x, xs, gradient, gs, workspace, call, axes, item, segments, sums: None

    def vectors(x, xs, gradient, gs, workspace, call, axes, item, segments, sums):
        a0, a1, a2 = axes
        terms, lanes = item.terms, VECTOR_BYTES // compute_size(x)
        bands = bands_of(xs, gs, axes, terms, segments, lanes)
        places = scratch_index(workspace, _SEGMENTS)
        for s in range(segments.images):
            n, p0 = divmod(segments.first + s, a0.out)
            places[2 * s], places[2 * s + 1] = n * xs.batch + p0 * a0.stride * xs.s0, n * gs.batch + p0 * gs.s0
        line = 0
        for g in range(item.groups):  # LOOP 2
            begin = (item.group + g) * xs.channel + (terms.k0 * a0.dilation - a0.before) * xs.s0
            begin += (segments.p1 * a1.stride + terms.k1 * a1.dilation - a1.before) * xs.s1
            begin += segments.p2 * a2.stride + terms.k2 * a2.dilation - a2.before
            for o in range(item.outputs):
                first = ((item.group + g) * call.outputs + item.o + o) * gs.channel
                first += segments.p1 * gs.s1 + segments.p2
                for k0 in range(terms.taps0):
                    at = 0
                    for k1 in range(0, terms.taps1, bands.rows):
                        rows = min(bands.rows, terms.taps1 - k1)
                        for k2 in range(0, terms.taps2, bands.taps):  # LOOP 1
                            taps = min(bands.taps, terms.taps2 - k2)
                            start = begin + k0 * a0.dilation * xs.s0 + k1 * a1.dilation * xs.s1 + k2 * a2.dilation
                            masked_dots(
                                rows, taps, a2.stride, x, start, a2.dilation, gradient, first, a1.dilation * gs.s1,
                                scratch_index(workspace, at * 8), bands.entries, places, segments.images,
                                pointer_at(sums, line + k1 * terms.taps2 + k2), terms.taps2,
                            )  # fmt: skip
                            at += bands.entries * (2 + rows + taps)
                    line += terms.taps1 * terms.taps2

    return vectors


@kernel
def fetch_gradients(gradient, gs, call, axes, item, segments):
    """Ask for the gradients that will be packed: no hardware foresees so many outputs that lie apart."""
    rows, count = segments.rows, segments.columns
    if gs.s1 == count:
        rows, count = 1, rows * count
    for s in range(segments.images if gs.s2 == 1 else 0):
        n, p0 = divmod(segments.first + s, axes[0].out)
        start = n * gs.batch + (item.group * call.outputs + item.o) * gs.channel
        start += p0 * gs.s0 + segments.p1 * gs.s1 + segments.p2
        for o in range(item.groups * item.outputs):
            for row in range(rows):
                prefetch_run(gradient, start + o * gs.channel + row * gs.s1, count)


@inlined
def multiply(lines, offsets, factors, places, item, count, is_joined, segments, sums):
    """Add what a block gives to an item's sums, `[group][output][channel][tap]`."""
    images, length = segments.images, segments.rows * segments.columns
    if is_joined:
        images, length = 1, length * images
    chunks = -(-count // (LINES if item.outputs > 1 else LINES_OF_ONE))
    blocks = item.outputs if count == 1 else -(-item.outputs // ROWS)  # memory is read in order, for one line
    width, wider = divmod(count, chunks)
    height, higher = divmod(item.outputs, blocks)
    for g in range(item.groups):  # LOOP 2
        row = g * item.outputs
        for m in range(blocks):  # LOOP 1
            rows, line = height + (m < higher), 0
            for j in range(chunks):
                lines_here = width + (j < wider)
                add_dots(
                    rows, lines_here, pointer_at(lines.elements, lines.start + g * lines.step),
                    pointer_at(offsets, line), pointer_at(factors.elements, factors.start + row * factors.step),
                    factors.step, places, images, length, pointer_at(sums, row * count + line), count,
                )  # fmt: skip
                line += lines_here
            row += rows


@kernel
def first_weight(call, axes, item, row, c):
    """Where the weights of a row of an item, from its channel `c` and first taps on, lie in the result."""
    a0, a1, a2 = axes
    terms = item.terms
    o = item.group * call.outputs + item.o + row
    at = (o * call.channels + terms.c + c) * a0.kernel + terms.k0
    return (at * a1.kernel + terms.k1) * a2.kernel + terms.k2


@kernel
def store_sums(out, parts, sums, call, axes, item, is_whole, c, channels, at, steps):
    """Write an item's sums of some channels to the result, or to the sums of its part of the reduction.

    They lie from `at` on, `steps` from one row, channel and tap to the next one.
    """
    a0, a1, a2 = axes
    terms, first, apart = item.terms, item.part * count_weights(call, axes), a0.kernel * a1.kernel * a2.kernel
    for row in range(item.groups * item.outputs):
        start, place = first_weight(call, axes, item, row, c), at + row * steps.row
        if apart == 1:
            for i in range(channels):
                store_sum(out, parts, first, start + i, sums[place + i], is_whole)
            continue
        for i in range(channels):  # in the order of the result: scattered vectors take longer
            for k0 in range(terms.taps0):
                for k1 in range(terms.taps1):
                    to = start + i * apart + (k0 * a1.kernel + k1) * a2.kernel
                    here = place + i * steps.channel + k0 * steps.k0 + k1 * steps.k1
                    for k2 in range(terms.taps2):
                        store_sum(out, parts, first, to + k2, sums[here + k2 * steps.k2], is_whole)


@inlined
def store_sum(out, parts, first, i, value, is_whole):
    if is_whole:
        store(out, i, value)
    else:
        parts[first + i] = value


@kernel
def count_weights(call, axes):
    a0, a1, a2 = axes
    return call.groups * call.outputs * call.channels * a0.kernel * a1.kernel * a2.kernel


@kernel
def add_parts(out, workspace, call, axes, parts):
    """The result from the sums of all parts, in their order."""
    kept, count = scratch(workspace, _PARTS, out), count_weights(call, axes)
    for i in range(count):
        total = kept[i]
        for part in range(1, parts):
            total += kept[part * count + i]
        store(out, i, total)


@entry
def differentiate(x, gradient, out, numbers, workspace, team, threads, thread):
    """The gradient `out`, contiguous and not empty, of the weights of a correlation over three axes.

    Returns False, nothing written, if a pointer or stride is misaligned. `threads` share the work, each with
    `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 4  over items (groups, outputs, terms, parts of the reduction), which threads take from a counter
    LOOP 3  over blocks of the item's part of all positions, whose lines and gradients are packed where need be
    LOOP 2  over the item's groups
    LOOP 1  over tiles, those of the same outputs one after another: all read the same lines, shared by taps
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(gradient, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, gradient, out, numbers, workspace, team, threads), threads)
    plan = load_tuple(numbers.data, PLAN, Plan)
    b0, b1, b2 = load_axes(numbers.data, CALL_FIELDS)
    xs, gs = five_strides(x, call.rank), five_strides(gradient, call.rank)
    is_sum = sums_gradients(x, xs, call, b0, b1, b2)
    together = min(_TOGETHER, max(_RUN // (b0.out * b1.out * b2.out), 1))
    a0, a1, a2 = axes = (b0, b1, b2) if is_sum else turned(b0, b1, b2, plan.has_panels)
    if not is_sum and is_turned(b1, plan.has_panels):
        xs, gs = swapped(xs), swapped(gs)
    items = -(-call.outputs // together) if is_sum else count_items(call, a0, a1, a2, plan) * plan.parts
    own = part_of(workspace, thread * WORKSPACE_BYTES)
    item = take_item(team) if threads > 1 else np.int64(0)
    while item < items:  # LOOP 4
        if is_sum:
            first = item * together
            sums = scratch(own, _SUMS, out)
            sum_outputs(gradient, gs, out, sums, call, axes, first, min(together, call.outputs - first))
        else:
            sum_item(x, xs, gradient, gs, out, workspace, own, call, axes, plan, item_of(call, axes, plan, item))
        item = take_item(team) if threads > 1 else item + 1
    if thread == 0:
        if threads > 1:
            close_team(team)
        if plan.parts > 1 and not is_sum:
            add_parts(out, workspace, call, axes, plan.parts)
    return True


@kernel
def sums_gradients(x, xs, call, a0, a1, a2):
    """Whether the input is a one that is everywhere, and met by a single tap: then gradients are only summed."""
    if call.channels != 1 or call.groups != 1 or xs.batch | xs.s0 | xs.s1 | xs.s2 != 0 or load(x, 0) != 1:
        return False
    return is_bare(a0) and is_bare(a1) and is_bare(a2)


@kernel
def is_bare(axis):
    return axis.kernel == 1 and axis.out == axis.size and axis.before == 0 and axis.stride == 1


@kernel
def lies_by_channels(gs, a0, a1, a2):
    """Whether the gradients of neighbouring channels lie side by side, and those of neighbouring positions do not."""
    return gs.channel == 1 and (gs.s2 != 1 or a0.out * a1.out * a2.out == 1)


@kernel
def sum_outputs(gradient, gs, out, sums, call, axes, first, outputs):
    """The gradients of so many outputs, summed in the order of memory: over some positions or images, then over all."""
    a0, a1, a2 = axes
    n0, n1, n2 = a0.out, a1.out, a2.out
    by_channels = lies_by_channels(gs, a0, a1, a2)
    for i in range(2 * outputs):
        sums[i] = zero(out)
    if by_channels:
        rows = call.batch * n0 * n1 * n2
    else:
        rows = call.batch
        if gs.s1 == n2 * gs.s2:
            n1, n2 = 1, n1 * n2
            if gs.s0 == n2 * gs.s2:
                n0, n2 = 1, n0 * n2
    for row in range(rows):
        start = first * gs.channel
        if by_channels:
            rest, p2 = divmod(row, n2)
            rest, p1 = divmod(rest, n1)
            n, p0 = divmod(rest, n0)
            start += n * gs.batch + p0 * gs.s0 + p1 * gs.s1 + p2 * gs.s2
            for i in range(outputs):
                sums[outputs + i] += load(gradient, start + i)
        else:
            start += row * gs.batch
            for i in range(outputs):
                sums[outputs + i] += sum_plane(gradient, start + i * gs.channel, gs, n0, n1, n2)
        if row % SHARED == SHARED - 1 or row == rows - 1:
            for i in range(outputs):
                sums[i] += sums[outputs + i]
                sums[outputs + i] = zero(out)
    for i in range(outputs):
        store(out, first + i, sums[i])


@kernel
def sum_plane(gradient, start, gs, n0, n1, n2):
    """The sum of an output's gradients in an image, of blocks of its rows."""
    most = SHARED * SUMS * VECTOR_BYTES // compute_size(gradient)
    total = zero(gradient)
    for p0 in range(n0):
        for p1 in range(n1):
            for p2 in range(0, n2, most):
                at = start + p0 * gs.s0 + p1 * gs.s1 + p2 * gs.s2
                total += sum_line(gradient, at, gs.s2, min(most, n2 - p2))
    return total


def sum_line(array, start, step, count):
    """`sum_run` of elements that lie `step` apart, and of complex numbers."""
    raise NotImplementedError("compiled code only")


@overload(sum_line)
def _sum_line(array, start, step, count):
    def scalars(array, start, step, count):
        total = zero(array)
        for p in range(count):
            total += load(array, start + p * step)
        return total

    def vectors(array, start, step, count):
        if step == 1:
            return sum_run(array, start, count)
        total = zero(array)
        for p in range(count):
            total += load(array, start + p * step)
        return total

    return vectors if is_vector_type(array.compute) else scalars


@kernel
def swapped(strides):
    """The strides of axes that are `turned`."""
    return Strides(strides.batch, strides.channel, strides.s0, strides.s2, strides.s1)


@kernel
def item_of(call, axes, plan, item):
    """The item of a number."""
    a0, a1, a2 = axes
    item, part = divmod(item, plan.parts)
    item, i2 = divmod(item, -(-a2.kernel // plan.taps2))
    item, i1 = divmod(item, -(-a1.kernel // plan.taps1))
    item, i0 = divmod(item, -(-a0.kernel // plan.taps0))
    item, chunk = divmod(item, -(-call.channels // plan.channels))
    item, block = divmod(item, -(-call.outputs // plan.outputs))
    c, k0, k1, k2 = chunk * plan.channels, i0 * plan.taps0, i1 * plan.taps1, i2 * plan.taps2
    group, o = item * plan.groups, block * plan.outputs
    terms = ReductionBlock(
        c, min(plan.channels, call.channels - c), k0, min(plan.taps0, a0.kernel - k0), k1,
        min(plan.taps1, a1.kernel - k1), k2, min(plan.taps2, a2.kernel - k2),
    )  # fmt: skip
    outputs = min(plan.outputs, call.outputs - o)
    return Item(group, min(plan.groups, call.groups - group), o, outputs, terms, part)


@kernel
def segments_of(call, axes, plan, block):
    """The positions of a block."""
    a0, a1, a2 = axes
    rest, i = divmod(block, -(-call.batch * a0.out // plan.images))
    i1, i2 = divmod(rest, -(-a2.out // plan.columns))
    first, p1, p2 = i * plan.images, i1 * plan.rows, i2 * plan.columns
    images = min(plan.images, call.batch * a0.out - first)
    return Segments(first, images, p1, min(plan.rows, a1.out - p1), p2, min(plan.columns, a2.out - p2))


@kernel
def sum_item(x, xs, gradient, gs, out, base, workspace, call, axes, plan, item):
    """The sums of an item, and store them."""
    a0, a1, a2 = axes
    terms, sums, offsets = item.terms, scratch(workspace, _SUMS, out), scratch_index(workspace, _OFFSETS)
    lanes = VECTOR_BYTES // compute_size(out)
    if plan.has_panels:
        count = count_lines(a2, terms.taps0 * terms.taps1, terms.taps2, terms.channels, lanes)
    else:
        count = terms.channels * terms.taps0 * terms.taps1 * terms.taps2
    for i in range(item.groups * item.outputs * count):
        sums[i] = zero(out)
    known = np.int64(-1)  # of what width the offsets are known, 0: in place
    masked = np.int64(-1)  # of which first position the masks are known
    is_masked = reads_by_masks(x, xs, gs, call, axes, terms)
    blocks = count_blocks(call, a0, a1, a2, plan)
    last = (item.part + 1) * blocks // plan.parts - 1
    for block in range(item.part * blocks // plan.parts, last + 1):  # LOOP 3
        segments = segments_of(call, axes, plan, block)
        if is_masked:
            place = segments.p1 * a2.out + segments.p2
            if place != masked:
                bands = bands_of(xs, gs, axes, terms, segments, lanes)
                write_masks(scratch_index(workspace, 0), bands, xs, gs, axes, terms, segments, lanes)
                masked = place
            add_masked(x, xs, gradient, gs, workspace, call, axes, item, segments, sums)
            continue
        if plan.has_panels:
            is_ready = is_plain(gradient) and spreads(gs.channel, item_size(gradient), min(item.outputs, TILE_ROWS))
        else:
            adjoin = adjoins(gs, item_size(gradient), item, count, segments)
            is_ready = is_plain(gradient) and not plan.is_joined and adjoin
        if is_ready:
            start = (item.group * call.outputs + item.o) * gs.channel + segments.p1 * gs.s1 + segments.p2 * gs.s2
            factors = Side(elements(gradient), start, gs.channel)
        else:
            factors = pack_gradients(gradient, gs, workspace, call, axes, item, segments)
        if plan.has_panels:
            coming = segments_of(call, axes, plan, min(block + 1, last))
            panels = scratch(workspace, 0, x)
            if not is_ready:
                fetch_gradients(gradient, gs, call, axes, item, coming)
            add_panels(x, xs, panels, offsets, factors, call, axes, item, segments, coming, gs, is_ready, sums)
            continue
        in_place = is_plain(x) and not plan.is_joined and reads_in_place(xs, item_size(x), axes, item, segments)
        layout = layout_of(axes, plan, terms, segments)
        width = 0 if in_place else segments.columns
        if width != known:
            write_offsets(offsets, xs, axes, terms, layout, width)
            known = width
        if in_place:
            lines = lines_in_place(x, xs, call, axes, item, segments)
        else:
            lines = pack_lines(x, xs, workspace, call, axes, layout, item, segments)
        places = scratch_index(workspace, _SEGMENTS)
        for s in range(segments.images):
            n, p0 = divmod(segments.first + s, a0.out)
            places[2 * s] = n * xs.batch + p0 * a0.stride * xs.s0 if in_place else s * layout.image
            places[2 * s + 1] = n * gs.batch + p0 * gs.s0 if is_ready else s * segments.rows * segments.columns
        multiply(lines, offsets, factors, places, item, count, plan.is_joined, segments, sums)
    parts, is_whole, at, c = scratch(base, _PARTS, out), plan.parts == 1, np.int64(0), np.int64(0)
    while c < terms.channels:
        channels = terms.channels - c
        if plan.has_panels:
            channels = min(channels, TILE_VECTORS * lanes)
            k2, k1 = tap_step(a2, terms.taps2, channels, lanes), run_lines(a2, terms.taps2, channels, lanes)
            steps, size = Steps(count, 1, terms.taps1 * k1, k1, k2), terms.taps0 * terms.taps1 * k1
        else:
            k0 = terms.taps1 * terms.taps2
            steps, size = Steps(count, terms.taps0 * k0, k0, terms.taps2, 1), count
        store_sums(out, parts, sums, call, axes, item, is_whole, c, channels, at, steps)
        at, c = at + size, c + channels
