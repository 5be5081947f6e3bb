"""Direct correlation with vectors along output channels, over up to three spatial axes.

For each block of up to two vectors of output channels, of input channels and of positions:

    kernels   the block's kernels, transposed so that its output channels lie side by side
    tile      register tiles: a few positions by the vectors of output channels; input elements are broadcast
    store     sums are transposed back, and the bias added, straight to the output

Since input elements are read one by one, any strides are as good as any: the input is read in place. Taps that would
meet a padding of zeros are left out: a plane splits into an interior that all taps serve and borders with fewer.
Input in need of more (another boundary or fill value, types to convert) is packed into a padded slab first. A sum adds
its terms channel by channel, tap by tap, whatever the block.
"""

from typing import NamedTuple

import numpy as np

from ..jit import entry, kernel, plain
from ..shapes import (
    CALL_FIELDS,
    CONSTANT,
    HUGE,
    NONE,
    PLAN,
    RELU6,
    Axis,
    even_part,
    is_padded,
    taps_of,
    whole_windows,
    words_of,
)
from ..simd.packing import pack_transposed, store_transposed
from ..simd.tiles import CHANNEL_TILE, channel_tile
from ..simd.vectors import VECTOR_BYTES, is_finite, lanes_of
from ..strided import (
    Strides,
    address,
    compute_size,
    elements,
    five_strides,
    is_plain,
    is_whole,
    item_size,
    load,
    load_tuple,
    scratch,
    scratch_index,
    stride,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, real_taps, write_tuple
from .activation import bounds, finish
from .pack import SLACK, Slab, lies_in_order, pack_slab

POSITIONS, VECTORS = CHANNEL_TILE
ENTRIES = 2304  # taps of all channels whose kernels are packed at a time
TAPS = 1024  # of one channel; larger kernels are left to others
SLAB_BYTES = 384 << 10  # under half of a common L2
_SUMS_BYTES = 192 << 10
_SUMS = SLAB_BYTES + 64  # packing writes whole vectors
_WEIGHTS = _SUMS + _SUMS_BYTES
_TABLE = _WEIGHTS + ENTRIES * VECTORS * VECTOR_BYTES
_BIAS = _TABLE + 16 * TAPS
WORKSPACE_BYTES = _BIAS + VECTORS * VECTOR_BYTES
_LINE = 64
MANY_TAPS, LARGE_WINDOW, WASTEFUL = 1, 2, 3  # why a call is refused


class Blocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    chunks: int  # of output channels
    images: int
    rows: int
    columns: int


class Plan(NamedTuple):
    """The blocks where the input is packed, and where it is read in place."""

    packed: Blocks
    in_place: Blocks


_PLAN_WORDS = PLAN + words_of(Plan)


class Place(NamedTuple):
    """A block of the output: first of each, and how many."""

    group: int
    o: int
    outputs: int
    n: int
    images: int
    p0: int
    p1: int
    rows: int
    p2: int
    columns: int


class Kernels(NamedTuple):
    """The packed kernels of a block: `[channel][tap][width]`, so many vectors wide."""

    width: int
    vectors: int
    channels: int
    taps: int
    flip: int


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: `MANY_TAPS`, `LARGE_WINDOW` or `WASTEFUL`; 0: they should not."""
    (a0, a1, a2), size = axes, element.itemsize
    if a0.kernel * a1.kernel * a2.kernel > TAPS:
        return MANY_TAPS
    reach1, reach2 = (a1.kernel - 1) * a1.dilation + 1, (a2.kernel - 1) * a2.dilation + 1
    if max(reach1, reach2) > SLAB_BYTES or 2 * a0.kernel * reach1 * reach2 * size > SLAB_BYTES:
        return LARGE_WINDOW
    # What "direct" wastes instead: positions between the rows, and in the last vector of a run; its packing of steps.
    wasted = 1.17 * (1 + (a2.kernel - 1) * a2.dilation / max(a2.out, 1))
    if a2.stride > 1:  # it splits rows into phases, one by one from steps of 3 on
        wasted *= 1.75 if a2.stride == 2 else 4.5
    return WASTEFUL if filled(call.outputs, size) * wasted < 1 or call.channels == 0 else 0


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == MANY_TAPS:
        return f"the kernel has {taps_of(axes)} taps, expected {TAPS} or fewer"
    if refusal == LARGE_WINDOW:
        return "a window does not fit in the workspace"
    part, lanes = filled(call.outputs, element.itemsize), VECTOR_BYTES // element.itemsize
    return f"{call.outputs} outputs in a group fill {part:.0%} of vectors of {lanes}"


@plain
def filled(outputs, size):
    """The part of its vectors that so many outputs fill."""
    lanes = VECTOR_BYTES // size
    return outputs / max(-(-outputs // lanes) * lanes, 1)


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    a0, a1, a2 = axes
    packed = choose_blocks(call, a0, a1, a2, False, element.itemsize)
    write_tuple(numbers, PLAN, Plan(packed, choose_blocks(call, a0, a1, a2, True, element.itemsize)))


@plain
def choose_blocks(call, a0, a1, a2, in_place, size):
    """Blocks whose kernels, sums and slab fit."""
    room, width = _SUMS_BYTES // (VECTORS * VECTOR_BYTES), VECTORS * VECTOR_BYTES // size
    taps = a0.kernel * a1.kernel * a2.kernel
    channels = min(call.channels, ENTRIES // taps)
    columns = even_part(a2.out, room, POSITIONS)
    rows = even_part(a1.out, room // columns)
    while not in_place and packed_layout(a0, a1, a2, rows, columns).channel * channels > SLAB_BYTES // size:
        if channels > 32:
            channels = (channels + 1) // 2
        elif rows > 1:
            rows = (rows + 1) // 2
        elif channels > 1:
            channels = (channels + 1) // 2
        else:
            columns = (columns + 1) // 2
    chunks = images = 1
    if channels == call.channels:  # kernels of several chunks fit: they share the block's input, which stays in L2
        chunks = max(1, min(-(-call.outputs // width), ENTRIES // (channels * taps)))
        inputs = columns * channels * min(min(a1.stride, HUGE) * min(a2.stride, HUGE), HUGE) * size
        rows = even_part(a1.out, min(rows, max(1, SLAB_BYTES // inputs))) if chunks > 1 else rows
    elif rows == a1.out and columns == a2.out and a0.out == 1:  # kernels are packed again for each block
        images = max(1, min(call.batch, room // (rows * columns)))
    return Blocks(channels, chunks, images, rows, columns)


@plain
def packed_layout(a0, a1, a2, rows, columns):
    """A padded slab under `rows` by `columns` outputs; channels lie an odd number of lines apart."""
    rows = min((rows - 1) * a1.stride + (a1.kernel - 1) * a1.dilation + 1, HUGE)
    pitch = min((columns - 1) * a2.stride + (a2.kernel - 1) * a2.dilation + 1, HUGE)
    plane = rows * pitch
    return Slab(1, 1, rows, pitch, plane, plane, (-(-(a0.kernel * plane + SLACK) // _LINE) | 1) * _LINE)


# ---- kernels


@kernel
def reads_in_place(x, xs, call, a0, a1, a2, fill):
    """Whether tiles can read the input where it lies."""
    if not is_plain(x):
        return False
    if is_padded(a0, a1, a2):
        zeros = load(fill, 0) == zero(fill) and a0.boundary + a1.boundary + a2.boundary == CONSTANT
        left, right = whole_windows(a2, np.int64(0), a2.out)
        # Borders are computed downwards: in low planes a position at a time.
        if not zeros or (a1.out < 4 and (right - left) * 4 < a2.out * 3):
            return False
    # Positions 1 KiB apart share few places in the caches; of few channels, each line is read again and again.
    return xs.channel != 1 or call.channels > 64 or xs.s2 * compute_size(x) % 1024 != 0


@kernel
def count_items(call, a0, a1, a2, blocks, width):
    """Blocks of the output."""
    chunks, images = -(-call.outputs // (width * blocks.chunks)), -(-call.batch // blocks.images)
    return call.groups * chunks * images * a0.out * -(-a1.out // blocks.rows) * -(-a2.out // blocks.columns)


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1. False: an array is not whole.

    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; `thread` is which one this is, 0 who calls.
    """
    call = load_call(numbers.data)
    if not (is_whole(x, call.rank + 2) and is_whole(w, call.rank + 2) and is_whole(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    a0, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    in_place = reads_in_place(x, xs, call, a0, a1, a2, fill)
    width = VECTORS * lanes_of(scratch(workspace, 0, out))
    plan = load_tuple(numbers.data, PLAN, Plan)
    blocks = plan.in_place if in_place else plan.packed
    while (
        threads > 1 and count_items(call, a0, a1, a2, blocks, width) < 2 * threads and blocks.images * blocks.rows > 1
    ):
        images, rows = blocks.images, blocks.rows
        if images > 1:
            images = (images + 1) // 2
        else:
            rows = (rows + 1) // 2
        blocks = Blocks(blocks.channels, blocks.chunks, images, rows, blocks.columns)
    items = count_items(call, a0, a1, a2, blocks, width)
    chunks = -(-call.outputs // (width * blocks.chunks))
    images = -(-call.batch // blocks.images)
    slabs1, slabs2 = -(-a1.out // blocks.rows), -(-a2.out // blocks.columns)
    packed, item = np.int64(-1), take_item(team) if threads > 1 else np.int64(0)
    while item < items:
        rest, s2 = divmod(item, slabs2)
        rest, s1 = divmod(rest, slabs1)
        rest, p0 = divmod(rest, a0.out)
        rest, i = divmod(rest, images)
        g, chunk = divmod(rest, chunks)
        p1, p2, n = s1 * blocks.rows, s2 * blocks.columns, i * blocks.images
        o = chunk * blocks.chunks * width
        for q in range(min(blocks.chunks, -(-(call.outputs - o) // width))):
            place = Place(
                g, o + q * width, min(width, call.outputs - o - q * width), n, min(blocks.images, call.batch - n),
                p0, p1, min(blocks.rows, a1.out - p1), p2, min(blocks.columns, a2.out - p2),
            )  # fmt: skip
            correlate_block(
                x, xs, w, ws, bias, out, outs, fill, workspace, call, a0, a1, a2, in_place, blocks, place, q,
                packed == rest,
            )  # fmt: skip
        packed = rest if blocks.channels == call.channels else -1
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def correlate_block(
    x, xs, w, ws, bias, out, outs, fill, workspace, call, a0, a1, a2, in_place, blocks, place, q, is_packed
):  # fmt: skip
    """Chunk `q` of a block of the output. `is_packed`: the workspace holds its kernels."""
    sums = scratch(workspace, _SUMS, out)
    slab, table = scratch(workspace, 0, out), scratch_index(workspace, _TABLE)
    vectors = -(-place.outputs // lanes_of(sums))
    width = vectors * lanes_of(sums)
    taps = a0.kernel * a1.kernel * a2.kernel
    plane = place.rows * place.columns * width
    layout = packed_layout(a0, a1, a2, place.rows, place.columns)
    for c in range(0, call.channels, blocks.channels):
        channels = min(blocks.channels, call.channels - c)
        kernels = Kernels(width, vectors, channels, taps, call.flip)
        weights = scratch(workspace, _WEIGHTS + q * channels * taps * VECTORS * VECTOR_BYTES, out)
        if not is_packed:
            pack_kernels(w, ws, weights, call, a0, a1, a2, place, c, kernels)
        channel = place.group * call.channels + c
        for i in range(place.images):
            n = place.n + i
            if in_place:
                source, steps, b0, b1, b2 = elements(x), xs, a0, a1, a2
                start, first = n * xs.batch + channel * xs.channel, (place.p0, place.p1, place.p2)
            else:
                source, steps = slab, Strides(0, layout.channel, layout.plane, layout.pitch, 1)
                b0 = packed_axis(a0, 1, 1, a0.kernel)
                b1 = packed_axis(a1, a1.stride, a1.dilation, layout.rows)
                b2 = packed_axis(a2, a2.stride, a2.dilation, layout.pitch)
                start, first = 0, (0, 0, 0)
                if q == 0:
                    c0, c1, c2 = with_stride(a0, 1), with_stride(a1, 1), with_stride(a2, 1)
                    corner = (n, channel, place.p0 * a0.stride, place.p1 * a1.stride, place.p2 * a2.stride)
                    pack_slab(x, xs, fill, workspace, c0, c1, c2, layout, channels, a0.kernel, corner, (0, 0, 0, 0))
            whole = multiply_plane(
                source, start, steps, b0, b1, b2, first, place, table, weights, kernels, sums, i * plane, c > 0
            )
            # A sum of all taps tells whether all of them are finite; only if not, padding under them is not nothing.
            if in_place and is_padded(a0, a1, a2) and (whole < 0 or not is_finite(sums, whole, width)):
                if not is_finite(weights, 0, channels * taps * width):
                    multiply_padding(a0, a1, a2, first, place, weights, kernels, sums, i * plane)
    store_block(sums, width, bias, out, outs, workspace, call, place)


@kernel
def with_stride(axis, step):
    return Axis(axis.size, axis.kernel, step, axis.dilation, axis.before, axis.after, axis.boundary, axis.out)


@kernel
def packed_axis(axis, step, dilation, size):
    """The axis of a slab, which holds its padding."""
    return Axis(size, axis.kernel, step, dilation, 0, 0, CONSTANT, axis.out)


@kernel
def multiply_plane(
    source, start, steps, a0, a1, a2, first, place, table, weights, kernels, sums, to, accumulate
):  # fmt: skip
    """Sums of a block of one image. `first` is the first output's place in the axes.

    The result is where the sum of an output that all taps serve lies, or -1.
    """
    p0, p1, p2 = first
    rows, columns, width = place.rows, place.columns, kernels.width
    taps0 = real_taps(a0, p0)
    start += (p0 * a0.stride - a0.before) * steps.s0
    start += (p1 * a1.stride - a1.before) * steps.s1 + (p2 * a2.stride - a2.before) * steps.s2
    step1, step2 = a1.stride * steps.s1, a2.stride * steps.s2
    left, right = whole_windows(a2, p2, columns)
    top, bottom = whole_windows(a1, p1, rows)
    for r in range(rows if left < right else 0):  # the columns that all taps of the last axis serve
        if r <= top or r >= bottom:
            taps = fill_table(table, steps, a0, a1, a2, taps0, real_taps(a1, p1 + r), real_taps(a2, p2 + left), kernels)
        multiply_run(
            source, start + r * step1 + left * step2, step2, right - left, table, taps,
            steps.channel, weights, kernels, sums, to + (r * columns + left) * width, width, accumulate,
        )  # fmt: skip
    for j in range(columns):  # the others, downwards
        if left <= j < right:
            continue
        taps2, r = real_taps(a2, p2 + j), 0
        while r < rows:
            run = bottom - r if top <= r < bottom else 1
            taps = fill_table(table, steps, a0, a1, a2, taps0, real_taps(a1, p1 + r), taps2, kernels)
            multiply_run(
                source, start + r * step1 + j * step2, step1, run, table, taps,
                steps.channel, weights, kernels, sums, to + (r * columns + j) * width, columns * width, accumulate,
            )  # fmt: skip
            r += run
    is_whole = left < right and top < bottom and taps0[1] - taps0[0] == a0.kernel
    return to + (top * columns + left) * width if is_whole else -1


@kernel
def fill_table(table, steps, a0, a1, a2, taps0, taps1, taps2, kernels):
    """Where each tap of three ranges lies in the source and among the packed kernels; how many there are."""
    count = 0
    for k0 in range(taps0[0], taps0[1]):
        for k1 in range(taps1[0], taps1[1]):
            for k2 in range(taps2[0], taps2[1]):
                tap = (k0 * a1.kernel + k1) * a2.kernel + k2
                table[2 * count] = (
                    k0 * a0.dilation * steps.s0 + k1 * a1.dilation * steps.s1 + k2 * a2.dilation * steps.s2
                )
                table[2 * count + 1] = (kernels.taps - 1 - tap if kernels.flip else tap) * kernels.width
                count += 1
    return count


@kernel
def multiply_run(
    source, start, step, count, table, taps, source_channel, weights, kernels, sums, to, sums_step, accumulate
):  # fmt: skip
    """Outputs `step` apart in the source, in tiles of even sizes."""
    if taps == 0:
        for p in range(0 if accumulate else count):
            for o in range(kernels.width):
                sums[to + p * sums_step + o] = 0
        return
    while count > 0:
        # The last two are of even size, since a tile of few positions waits for its own sums.
        positions = min(count, POSITIONS if count >= 2 * POSITIONS else max((count + 1) // 2, 4))
        positions = count if count <= POSITIONS else positions
        channel_tile(
            positions, kernels.vectors, source, start, step, table, taps, kernels.channels, source_channel,
            weights, kernels.taps * kernels.width, sums, to, sums_step, accumulate,
        )  # fmt: skip
        start += positions * step
        to += positions * sums_step
        count -= positions


@kernel
def multiply_padding(a0, a1, a2, first, place, weights, kernels, sums, to):
    """What `multiply_plane` leaves out: padding times kernels, not zero where a kernel is infinite or no number."""
    p0, p1, p2 = first
    taps0 = real_taps(a0, p0)
    for r in range(place.rows):
        taps1 = real_taps(a1, p1 + r)
        for j in range(place.columns):
            taps2, at = real_taps(a2, p2 + j), to + (r * place.columns + j) * kernels.width
            for tap in range(kernels.taps):
                k0, rest = divmod(kernels.taps - 1 - tap if kernels.flip else tap, a1.kernel * a2.kernel)
                k1, k2 = divmod(rest, a2.kernel)
                real = taps0[0] <= k0 < taps0[1] and taps1[0] <= k1 < taps1[1] and taps2[0] <= k2 < taps2[1]
                for c in range(0 if real else kernels.channels):
                    for o in range(kernels.width):
                        sums[at + o] += 0 * weights[(c * kernels.taps + tap) * kernels.width + o]


@kernel
def pack_kernels(w, ws, weights, call, a0, a1, a2, place, c, kernels):
    """`weights[channel][tap][output]` for a block; the outputs that are missing in the last vector are zero."""
    lanes, count = lanes_of(weights), kernels.channels * kernels.taps
    if not lies_in_order(ws, call, a0, a1, a2):
        pack_elements(w, ws, weights, call, a0, a1, a2, place, c, kernels)
        return
    start = (place.group * call.outputs + place.o) * ws.batch + c * ws.channel
    past = (address(w) // item_size(w) + start) % lanes  # whole cache lines, as for results
    for v in range(0, kernels.width, lanes):
        e = -past
        while e < count:
            first = max(e, 0)
            lines = min(e + lanes, count) - first
            pack_transposed(
                w, start + v * ws.batch + first, ws.batch, place.outputs - v, lines,
                weights, first * kernels.width + v, kernels.width,
            )  # fmt: skip
            e += lanes


@kernel
def pack_elements(w, ws, weights, call, a0, a1, a2, place, c, kernels):
    start = (place.group * call.outputs + place.o) * ws.batch + c * ws.channel
    at = 0
    for channel in range(kernels.channels):
        for k0 in range(a0.kernel):
            for k1 in range(a1.kernel):
                for k2 in range(a2.kernel):
                    source = start + channel * ws.channel + k0 * ws.s0 + k1 * ws.s1 + k2 * ws.s2
                    for o in range(kernels.width):
                        weights[at] = load(w, source + o * ws.batch) if o < place.outputs else zero(w)
                        at += 1


@kernel
def store_block(sums, width, bias, out, outs, workspace, call, place):
    """Add the bias, activate, and write a block's sums to the output."""
    o, rows, columns = place.group * call.outputs + place.o, place.rows, place.columns
    if outs.s1 == columns * outs.s2:  # the rows are one run
        rows, columns = 1, rows * columns
    for i in range(place.images):
        where = (place.n + i) * outs.batch + o * outs.channel
        where += place.p0 * outs.s0 + place.p1 * outs.s1 + place.p2 * outs.s2
        for r in range(rows):
            store_row(
                sums, (i * rows + r) * columns * width, width, columns, bias, o, out, where + r * outs.s1, outs,
                workspace, call, place.outputs,
            )  # fmt: skip


@kernel
def store_row(sums, start, width, columns, bias, o, out, where, outs, workspace, call, outputs):
    """Store neighbouring positions of some output channels."""
    if outs.s2 != 1 or call.activation > RELU6:
        store_elements(sums, start, width, columns, bias, o, out, where, outs, workspace, call, outputs)
        return
    lanes, added = lanes_of(sums), scratch(workspace, _BIAS, out)
    low, high = bounds(call, sums, out)
    for v in range(0, width, lanes):
        for i in range(lanes):
            has = call.has_bias and v + i < outputs
            added[i] = load(bias, (o + v + i) * stride(bias, 0)) if has else zero(out)
        # Whole cache lines, from the first one on: half lines of many rows push each other out of the cache.
        past = (address(out) // item_size(out) + where + v * outs.channel) % lanes
        j = 0
        while j < columns:
            count = min(columns - j, lanes - past if j == 0 and columns > 4 * lanes else lanes)
            store_transposed(
                sums, start + j * width + v, width, count, outputs - v,
                out, where + v * outs.channel + j, outs.channel, added, call.activation != NONE, low, high,
            )  # fmt: skip
            j += count


@kernel
def store_elements(sums, start, width, columns, bias, o, out, where, outs, workspace, call, outputs):
    for i in range(outputs):
        for j in range(columns):
            at = where + i * outs.channel + j * outs.s2
            finish(out, at, sums[start + j * width + i], bias, (o + i) * stride(bias, 0), call)
