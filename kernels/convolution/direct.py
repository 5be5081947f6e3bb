"""Direct correlation over up to three spatial axes: a matrix product whose right operand is never built.

For each slab of the output (a few rows of one image and group), and each block of the reduction (channels and taps):

    pack      the slab's input, from any strides, into contiguous planes; a stride splits a plane into phases, so that
              neighbouring outputs always read neighbouring elements. Rows of such elements are read in place.
    masks     zeros around the input need no room: which lanes a tap really meets is found once for all groups
    offsets   a table: where each tap's row starts in the slab; kernel shape, dilation and phases live here only
    tile      register tiles of output channels by vectors of positions, over all taps and channels; with the whole
              reduction in one block, the bias, the activation and the output too
    store     otherwise: bias, activation and the copy of the sums to the output's strides

Vectors run on from row to row where little or nothing lies between rows, else each row has its own. The workspace holds
one slab, one table, one block of sums and the kernels of a few output channels, whatever the size of the input. A sum
adds its terms in an order that depends on the sizes of one image alone: threads and batch size change no bit.
"""

from typing import NamedTuple

from ..jit import entry, kernel, overload, plain
from ..shapes import CALL_FIELDS, CONSTANT, HUGE, NONE, PLAN, RELU6, Axis, is_padded, words_of
from ..simd.packing import finish_run
from ..simd.tiles import TILES, tile, tile_shape
from ..simd.vectors import MASKED, VECTOR_BYTES, is_vector_type, lanes_of
from ..strided import (
    compute_size,
    elements,
    five_strides,
    is_plain,
    is_whole,
    load,
    load_tuple,
    scratch,
    scratch_index,
    stride,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, write_tuple
from .activation import bounds, finish_row
from .pack import SLACK, Slab, pack_slab, pack_weights, tap_index

BAND = TILES[0][0]  # output channels of the widest tile
SLAB_BYTES = 384 << 10  # under half of a common L2
SUMS_BYTES = 192 << 10
TABLE_ENTRIES = 2304
VECTORS = SUMS_BYTES // 3 // VECTOR_BYTES  # of a slab of the output
MASKS = 16384  # words of a vector each
WEIGHT_BYTES = 8 * 16 * TABLE_ENTRIES  # a band of the widest type
COLUMNS = 512  # of a slab, at most
_SUMS = SLAB_BYTES + 64  # packing writes whole vectors
_TABLE = _SUMS + SUMS_BYTES
_PLACES = _TABLE + 24 * TABLE_ENTRIES
_MASKS = _PLACES + 16 * VECTORS
_INITIAL = _MASKS + 4 * MASKS
_WEIGHTS = _INITIAL + 16 * BAND
WORKSPACE_BYTES = _WEIGHTS + WEIGHT_BYTES
_LINE = 64 // 4  # elements of the longest vector, which rows of sums are rounded up to


class Blocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    k0: int
    k1: int
    k2: int
    rows: int
    columns: int
    outputs: int


class Plan(NamedTuple):
    """Whether masks may stand for padding where the input is packed, and where it is read in place; and the blocks."""

    allows_packed: int
    allows_in_place: int
    packed: Blocks  # without masks
    masked: Blocks  # packed, with masks if they are allowed
    in_place: Blocks


_PLAN_WORDS = PLAN + words_of(Plan)


class Source(NamedTuple):
    """Where the input is read, and whether masks stand for its padding: in place all, packed only that of columns."""

    in_place: bool
    masked: bool


# ---- what is known before the arrays are: plain Python


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    (a0, a1, a2), size = axes, element.itemsize
    masked = allows_masks(call, a0, a1, a2, size, False)
    plan = Plan(
        int(masked),
        int(allows_masks(call, a0, a1, a2, size, True)),
        choose_blocks(call, a0, a1, a2, size, False, False),
        choose_blocks(call, a0, a1, a2, size, False, masked),
        choose_blocks(call, a0, a1, a2, size, True, is_padded(a0, a1, a2)),
    )
    write_tuple(numbers, PLAN, plan)


@plain
def allows_masks(call, a0, a1, a2, size, in_place):
    """Whether masks may stand for padding that is zeros: enough channels share them."""
    taps, channels = a1.kernel * a2.kernel, call.groups * call.channels
    lanes = VECTOR_BYTES // size
    if not MASKED or taps > 4 * channels or (taps + 2) * (min(a2.out, COLUMNS) // lanes + 2) > MASKS:
        return False
    if in_place:
        return True
    # The columns of all taps lie in one block.
    rows = min((a1.kernel - 1) * a1.dilation + a1.stride, HUGE)
    row = min(max(a2.out * a2.stride, a2.size + a2.stride), HUGE)
    fits = a0.kernel * rows * row + SLACK <= SLAB_BYTES // size and taps * a0.kernel <= TABLE_ENTRIES
    return fits and 2 * taps <= channels and a2.out <= COLUMNS


@plain
def choose_blocks(call, a0, a1, a2, size, in_place, has_masks):
    """The largest blocks whose slab, sums, masks and table fit: taps first, then channels, rows and outputs."""
    slab, sums, lanes = SLAB_BYTES // size, SUMS_BYTES // size, VECTOR_BYTES // size
    k0, k1, k2 = a0.kernel, a1.kernel, a2.kernel
    columns, masked = min(a2.out, COLUMNS), has_masks and not in_place
    while True:
        channel = packed_layout(a1, a2, masked, Blocks(1, k0, k1, k2, 1, columns, 1), 1, columns).channel
        if k0 * k1 * k2 <= TABLE_ENTRIES and channel <= slab:
            break
        if k0 > 1:
            k0 = (k0 + 1) // 2
        elif k1 > 1:
            k1 = (k1 + 1) // 2
        elif k2 > 1:
            k2 = (k2 + 1) // 2
        else:
            columns = (columns + 1) // 2
    channels = min(max(call.channels, 1), TABLE_ENTRIES // (k0 * k1 * k2), slab // channel)
    one_block = channels == call.channels and k0 == a0.kernel and k1 == a1.kernel and k2 == a2.kernel
    rows, row = 0, 0
    masks = a1.kernel * a2.kernel + 2 if has_masks else 2
    while rows < a1.out:
        layout = packed_layout(a1, a2, masked, Blocks(1, k0, k1, k2, rows + 1, columns, 1), rows + 1, columns)
        positions = (rows + 1) * max(layout.pitch, -(-columns // lanes) * lanes)
        too_many = positions * min(BAND, call.outputs) > sums // 3 or (positions // lanes + 1) * masks > MASKS
        if rows > 0 and (too_many or layout.channel * channels > slab):
            break
        rows, row = rows + 1, positions + _LINE
    rows = -(-a1.out // -(-a1.out // rows))  # slabs of even height
    # One block of the reduction: few outputs, whose sums stay in L1. Several: many, so that packing is rarer.
    outputs = BAND if one_block else max(BAND, sums // row // BAND * BAND)
    return Blocks(channels, k0, k1, k2, rows, columns, min(outputs, call.outputs))


@plain
def packed_layout(a1, a2, masked, blocks, rows, columns):
    """Layout of a packed slab for a block of taps and an output of `rows` by `columns`."""
    phases1 = min(a1.stride, (blocks.k1 - 1) * a1.dilation + 1, HUGE)
    phases2 = min(a2.stride, (blocks.k2 - 1) * a2.dilation + 1, HUGE)
    rows = min(rows + (blocks.k1 - 1) * a1.dilation // a1.stride, HUGE)
    pitch = min(columns + (blocks.k2 - 1) * a2.dilation // a2.stride, HUGE)
    if masked:
        phases2 = phases2 if a2.before % a2.stride == 0 else a2.stride
        pitch = max(columns, -(-a2.size // a2.stride))
    phase = min(rows * pitch, HUGE)
    plane = min(min(phases1 * phases2, HUGE) * phase, HUGE)
    return Slab(phases1, phases2, rows, pitch, phase, plane, blocks.k0 * plane + SLACK)


# ---- kernels


@kernel
def choose_source(x, xs, fill, plan, a0, a1, a2):
    """The `Source`: rows of neighbouring elements are read in place, if no padding is theirs or masks stand for it."""
    padded = is_padded(a0, a1, a2)
    in_place = MASKED and is_plain(x) and xs.s2 == 1 and a0.stride * a1.stride * a2.stride == 1
    zeros = load(fill, 0) == zero(fill) and a0.boundary + a1.boundary + a2.boundary == CONSTANT
    masked = padded and zeros and (plan.allows_in_place if in_place else plan.allows_packed) != 0
    return Source(in_place and (masked or not padded), masked)


@kernel
def is_flat(columns, pitch, out_pitch, lanes):
    """Whether vectors run on from row to row: nothing lies between rows, or less than in the last vectors of rows."""
    return pitch == columns == out_pitch or (pitch >= columns and 5 * pitch < -(-columns // lanes) * lanes * 4)


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1. False: an array is not whole.

    The numbers of the call are followed by those of `write_plan`.
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
    plan = load_tuple(numbers.data, PLAN, Plan)
    source = choose_source(x, xs, fill, plan, a0, a1, a2)
    blocks = plan.in_place if source.in_place else plan.masked if source.masked else plan.packed
    slabs2 = -(-a2.out // blocks.columns)
    slabs = a0.out * -(-a1.out // blocks.rows) * slabs2
    images = call.batch * call.groups
    outputs, parts = blocks.outputs, 1
    if slabs * images < 4 * threads:  # few slabs: threads share their output channels, and each packs for itself
        parts = min(threads, -(-call.outputs // BAND))
        outputs = min(outputs, -(-call.outputs // (parts * BAND)) * BAND)
        blocks = Blocks(blocks.channels, blocks.k0, blocks.k1, blocks.k2, blocks.rows, blocks.columns, outputs)
    chunks = -(-call.outputs // outputs)
    part_chunks = -(-chunks // parts)
    reduction = count_blocks(call, a0, a1, a2, blocks)
    known, item = -1, take_item(team) if threads > 1 else 0
    while item < slabs * images * parts:
        slab, rest = divmod(item, images * parts)
        rest, part = divmod(rest, parts)
        n, g = divmod(rest, call.groups)
        rest, s2 = divmod(slab, slabs2)
        p0, s1 = divmod(rest, -(-a1.out // blocks.rows))
        first = (n, g, p0, s1 * blocks.rows, s2 * blocks.columns)
        for chunk in range(part * part_chunks, min((part + 1) * part_chunks, chunks)):
            correlate_slab(
                x, xs, w, ws, bias, out, outs, fill, workspace, call, a0, a1, a2, blocks, reduction, first,
                chunk * blocks.outputs, chunk > part * part_chunks, slab == known, source,
            )  # fmt: skip
            known = slab
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def correlate_slab(
    x, xs, w, ws, bias, out, outs, fill, workspace, call, a0, a1, a2, blocks, reduction, first, o, is_packed, is_known,
    source,
):  # fmt: skip
    """Outputs of `blocks` from channel `o` and `first = (n, group, p0, p1, p2)`.

    `is_packed`: by an earlier chunk; `is_known`: the workspace holds the places and masks of such a slab.
    """
    n, g, p0, p1, p2 = first
    rows, columns = min(blocks.rows, a1.out - p1), min(blocks.columns, a2.out - p2)
    outputs = min(blocks.outputs, call.outputs - o)
    o += g * call.outputs
    slab = packed_layout(a1, a2, source.masked, blocks, rows, columns)
    if source.in_place:
        slab = Slab(1, 1, rows, xs.s1, 0, xs.s0, xs.channel)
    sums, table = scratch(workspace, _SUMS, out), scratch_index(workspace, _TABLE)
    places, masks = scratch_index(workspace, _PLACES), scratch(workspace, _MASKS, workspace)
    initial = scratch(workspace, _INITIAL, out)
    lanes = lanes_of(sums)
    flat = is_flat(columns, slab.pitch, outs.s1, lanes)
    step = slab.pitch if flat else -(-columns // lanes) * lanes
    vectors = -(-((rows - 1) * step + columns) // lanes)
    low, high = bounds(call, sums, out)
    # With all of the reduction in one block, tiles finish their sums and store them to the output.
    is_direct = reduction == 1 and is_plain(out) and outs.s2 == 1 and call.activation <= RELU6
    is_direct = is_direct and (not flat or outs.s1 == slab.pitch or rows == 1)
    where = n * outs.batch + o * outs.channel + p0 * outs.s0 + p1 * outs.s1 + p2 * outs.s2
    target, to, target_row = sums, 0, vectors * lanes
    if is_direct:
        target, to, target_row = elements(out), where, outs.channel
    if not is_known:
        fill_places(places, slab.pitch, outs.s1 if is_direct else step, rows, columns, flat, lanes)
        fill_masks(masks, vectors, step, first, rows, columns, a1, a2, source, lanes)
    for block in range(reduction):
        tap = first_tap(a0, a1, a2, blocks, block) if reduction > 1 else (0, 0, 0, 0)
        part = Blocks(
            min(blocks.channels, call.channels - tap[0]),
            min(blocks.k0, a0.kernel - tap[1]),
            min(blocks.k1, a1.kernel - tap[2]),
            min(blocks.k2, a2.kernel - tap[3]),
            rows,
            columns,
            outputs,
        )
        values, start = scratch(workspace, 0, out), 0
        channel = g * call.channels + tap[0]
        if source.in_place:
            values = elements(x)
            start = n * xs.batch + channel * xs.channel + (p0 + tap[1] * a0.dilation - a0.before) * xs.s0
            start += (p1 + tap[2] * a1.dilation - a1.before) * xs.s1 + p2 + tap[3] * a2.dilation - a2.before
        elif reduction > 1 or not is_packed:
            b2 = a2
            if source.masked:
                b2 = Axis(a2.size, a2.kernel, a2.stride, a2.dilation, 0, a2.after, a2.boundary, a2.out)
            pack_slab(x, xs, fill, workspace, a0, a1, b2, slab, part.channels, part.k0, (n, channel, p0, p1, p2), tap)
        if reduction > 1 or not is_known:
            fill_table(table, ws, call, a0, a1, a2, slab, part, tap, source, p0, vectors)
        taps = part.k0 * part.k1 * part.k2
        for i in range(0, outputs, BAND):
            band = min(BAND, outputs - i)
            for m in range(band):
                initial[m] = load(bias, (o + i + m) * stride(bias, 0)) if is_direct and call.has_bias else zero(out)
            weights, at = elements(w), (o + i) * ws.batch + tap[0] * ws.channel
            w_row, w_channel = ws.batch, ws.channel
            # Kernels a multiple of 4 KiB apart share few places in L1: worth a copy where they are used often.
            if not is_plain(w) or (ws.batch * compute_size(w) % 4096 == 0 and vectors > 6):
                weights, at, w_row, w_channel = scratch(workspace, _WEIGHTS, w), 0, 1, taps * band
                for t in range(taps):
                    table[3 * t + 1] = t * band
                pack_weights(w, ws, weights, call, a0, a1, a2, part, o + i, band, tap)
            multiply_band(
                band, vectors, values, start, table, taps, part.channels, slab.channel, places, masks,
                weights, at, w_row, w_channel, target, to + i * target_row, target_row,
                block > 0, initial, is_direct and call.activation != NONE, low, high,
            )  # fmt: skip
    if not is_direct:
        for i in range(outputs):
            for r in range(rows):
                store_row(
                    out, where + i * outs.channel + r * outs.s1, outs.s2, columns,
                    sums, i * target_row + r * step, bias, (o + i) * stride(bias, 0), call,
                )  # fmt: skip


@kernel
def multiply_band(
    rows, vectors, source, start, table, taps, channels, source_channel, places, masks,
    w, w_start, w_row, w_channel, target, to, target_row, accumulate, initial, held, low, high
):  # fmt: skip
    """`tile` for up to `BAND` output channels and any number of vectors."""
    m = 0
    while m < rows:
        few, most = tile_shape(target, rows - m)
        v = 0
        while v < vectors:
            together = most if v + most <= vectors else 1
            tile(
                few, together, source, start, table, taps, channels, source_channel, places, masks, v,
                w, w_start + m * w_row, w_row, w_channel, target, to + m * target_row, target_row,
                accumulate, initial, m, held, low, high,
            )  # fmt: skip
            v += together
        m += few


@kernel
def fill_places(places, pitch, target_pitch, rows, columns, flat, lanes):
    """Where each vector of positions lies in the slab and in the target."""
    if flat:
        rows, columns = 1, (rows - 1) * pitch + columns
    v = 0
    for r in range(rows):
        for j in range(0, columns, lanes):
            places[v] = r * pitch + j
            places[v + 1] = r * target_pitch + j
            v += 2


@kernel
def fill_masks(masks, vectors, step, first, rows, columns, a1, a2, source, lanes):
    """Which lanes are outputs and, if masks stand for padding, for which each tap of a plane is real; at last, none."""
    _, _, _, p1, p2 = first
    taps = a1.kernel * a2.kernel if source.masked else 0
    for i in range((taps + 2) * vectors):
        masks[i] = 0
    for tap in range(taps + 1):
        top, bottom, left, right = 0, rows, 0, columns
        if tap > 0:
            k1, k2 = divmod(tap - 1, a2.kernel)
            begin, end = real_outputs(a2, k2)
            left, right = max(begin - p2, 0), min(end - p2, columns)
            if source.in_place:
                begin, end = real_outputs(a1, k1)
                top, bottom = max(begin - p1, 0), min(end - p1, rows)
        for r in range(top, bottom if left < right else top):
            first_lane, last_lane = r * step + left, r * step + right - 1
            for v in range(first_lane // lanes, last_lane // lanes + 1):
                low, high = max(first_lane - v * lanes, 0), min(last_lane - v * lanes, lanes - 1)
                masks[tap * vectors + v] |= (2 << high) - (1 << low)


@kernel
def real_outputs(axis, k):
    """Which outputs meet an element of the input at tap `k`: from, to."""
    at = k * axis.dilation - axis.before
    return -(at // axis.stride), (axis.size - 1 - at) // axis.stride + 1


@kernel
def fill_table(table, ws, call, a0, a1, a2, slab, part, tap, source, p0, vectors):
    """For each tap: where its first element lies in the slab, its weight in a kernel, and the masks of its input."""
    depth = a0.dilation if source.in_place else 1  # a packed slab holds only the planes that taps meet
    before = a2.before if source.masked and not source.in_place else 0
    e = 0
    for k0 in range(part.k0):
        i0 = p0 + (tap[1] + k0) * a0.dilation - a0.before
        for k1 in range(part.k1):
            row, phase1 = divmod(k1 * a1.dilation, a1.stride)
            for k2 in range(part.k2):
                column, phase2 = divmod(k2 * a2.dilation - before, a2.stride)
                offset = k0 * depth * slab.plane + (phase1 * slab.phases2 + phase2) * slab.phase
                table[e] = offset + row * slab.pitch + column
                table[e + 1] = tap_index(call, a0, tap[1] + k0) * ws.s0
                table[e + 1] += tap_index(call, a1, tap[2] + k1) * ws.s1
                table[e + 1] += tap_index(call, a2, tap[3] + k2) * ws.s2
                table[e + 2] = 0
                if source.masked:
                    plane = (tap[2] + k1) * a2.kernel + tap[3] + k2
                    if source.in_place and not 0 <= i0 < a0.size:
                        plane = a1.kernel * a2.kernel
                    table[e + 2] = (1 + plane) * vectors
                e += 3


@kernel
def count_blocks(call, a0, a1, a2, blocks):
    """Blocks of the reduction. Without channels there is one, empty, which clears the sums."""
    taps = -(-a0.kernel // blocks.k0) * -(-a1.kernel // blocks.k1) * -(-a2.kernel // blocks.k2)
    return max(-(-call.channels // blocks.channels), 1) * taps


@kernel
def first_tap(a0, a1, a2, blocks, block):
    """First channel and taps of a block of the reduction."""
    block, k2 = divmod(block, -(-a2.kernel // blocks.k2))
    block, k1 = divmod(block, -(-a1.kernel // blocks.k1))
    c, k0 = divmod(block, -(-a0.kernel // blocks.k0))
    return c * blocks.channels, k0 * blocks.k0, k1 * blocks.k1, k2 * blocks.k2


def store_row(out, where, step, columns, sums, start, bias, bias_where, call):
    """Finish one row of sums."""
    raise NotImplementedError("compiled code only")


@overload(store_row)
def _store_row(out, where, step, columns, sums, start, bias, bias_where, call):
    def vectors(out, where, step, columns, sums, start, bias, bias_where, call):
        if call.activation <= RELU6 and step == 1:
            low, high = bounds(call, sums, out)
            added = load(bias, bias_where) if call.has_bias else zero(out)
            finish_run(out, where, sums, start, columns, added, low, high)
        else:
            finish_row(out, where, step, columns, sums, start, bias, bias_where, call)

    return vectors if is_vector_type(out.compute) else finish_row.py_func
