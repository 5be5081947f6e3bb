"""Direct correlation over up to three spatial axes: a matrix product whose right operand is never built.

For each slab of the output (a few rows of one image and group), and each block of the reduction (channels and taps):

    pack      the slab's input, from any strides, into padded contiguous planes; a stride splits a plane into phases, so
              that neighbouring outputs always read neighbouring elements. Input that is such a plane is read in place.
    offsets   a table: where each tap's row starts in the slab; kernel shape, dilation and phases live here only
    tile      register tiles of output channels by vectors of positions, over the whole table
    store     bias, activation and the copy of the valid runs to the output's strides

Rows of the slab are flattened: sums that fall between two rows are computed and thrown away. The workspace holds one
slab, one table, one block of sums and the kernels of a few output channels, whatever the size of the input. A sum adds
its terms in an order that depends on the sizes of one image alone: threads and batch size change no bit.
"""

from typing import NamedTuple

from .activation import RELU6, bounds, finish_row
from .jit import entry, kernel, overload
from .pack import SLACK, Slab, lies_in_order, pack_slab, pack_weights
from .simd import is_vector_type
from .simd_pack import finish_run
from .strided import (
    compute_size,
    elements,
    five_strides,
    is_plain,
    is_whole,
    load,
    scratch,
    scratch_index,
    stride,
    zero,
)  # fmt: skip
from .team import close_team, open_team, part_of, take_item
from .tile import BAND, multiply_band
from .window import CALL_FIELDS, is_padded, load_axes, load_call

SLAB_BYTES = 384 << 10  # under half of a common L2
SUMS_BYTES = 192 << 10
TABLE_ENTRIES = 2304
WEIGHT_BYTES = 8 * 16 * TABLE_ENTRIES  # a band of the widest type
_SUMS = SLAB_BYTES + 64  # packing writes whole vectors
_TABLE = _SUMS + SUMS_BYTES
_WEIGHTS = _TABLE + 8 * TABLE_ENTRIES
WORKSPACE_BYTES = _WEIGHTS + WEIGHT_BYTES
_LINE = 64 // 4  # elements that a row of sums is rounded up to


class Blocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    k0: int
    k1: int
    k2: int
    rows: int
    columns: int
    outputs: int


@kernel
def packed_layout(a1, a2, blocks, rows, columns):
    """Layout of a packed slab for a block of taps and an output of `rows` by `columns`."""
    phases1 = min(a1.stride, (blocks.k1 - 1) * a1.dilation + 1)
    phases2 = min(a2.stride, (blocks.k2 - 1) * a2.dilation + 1)
    rows += (blocks.k1 - 1) * a1.dilation // a1.stride
    pitch = columns + (blocks.k2 - 1) * a2.dilation // a2.stride
    phase = rows * pitch
    plane = phases1 * phases2 * phase
    return Slab(phases1, phases2, rows, pitch, phase, plane, blocks.k0 * plane + SLACK)


@kernel
def is_slab(x, xs, a0, a1, a2):
    """Whether the input can be read in place: plain elements side by side, no padding, no steps, dense rows."""
    steps = a0.stride * a1.stride * a2.stride
    waste = xs.s1 - a2.out
    in_order = is_plain(x) and xs.s2 == 1 and steps == 1 and not is_padded(a0, a1, a2)
    return in_order and (a1.out == 1 or 0 <= waste <= a2.out // 4 + 2)


@kernel
def choose_blocks(call, a0, a1, a2, size, in_place, pitch):
    """The largest blocks whose slab, sums and table fit: columns first, then taps, channels, outputs and rows."""
    slab, sums = SLAB_BYTES // size, SUMS_BYTES // size
    k0, k1, k2 = a0.kernel, a1.kernel, a2.kernel
    columns = a2.out if in_place and (pitch + 2 * _LINE) * BAND <= sums and a1.out > 1 else min(a2.out, 512)
    while True:
        channel = packed_layout(a1, a2, Blocks(1, k0, k1, k2, 1, columns, 1), 1, columns).channel
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
    rows = 1
    while rows < a1.out:
        more = rows + 1
        layout = packed_layout(a1, a2, Blocks(1, k0, k1, k2, more, columns, 1), more, columns)
        if layout.channel * channels > slab or more * max(layout.pitch, pitch) * min(BAND, call.outputs) > sums // 3:
            break
        rows = more
    rows = -(-a1.out // -(-a1.out // rows))  # slabs of even height
    row = rows * max(pitch, packed_layout(a1, a2, Blocks(1, k0, k1, k2, rows, columns, 1), rows, columns).pitch) + _LINE
    # One block of the reduction: few outputs, whose sums stay in L1. Several: many, so that packing is rarer.
    outputs = BAND if one_block else max(BAND, sums // row // BAND * BAND)
    return Blocks(channels, k0, k1, k2, rows, columns, min(outputs, call.outputs))


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1. False: an array is not whole.

    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; `thread` is which one this is, 0 who calls.
    """
    call = load_call(numbers.data)
    if not (is_whole(x, call.rank + 2) and is_whole(w, call.rank + 2) and is_whole(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    a0, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    in_place = is_slab(x, xs, a0, a1, a2)
    blocks = choose_blocks(call, a0, a1, a2, compute_size(out), in_place, xs.s1 if in_place and a1.out > 1 else 0)
    slabs1 = -(-a1.out // blocks.rows)
    slabs2 = -(-a2.out // blocks.columns)
    slabs = call.batch * call.groups * a0.out * slabs1 * slabs2
    outputs, parts = blocks.outputs, 1
    if slabs < 4 * threads:  # few slabs: threads share their output channels, and each packs the slab for itself
        parts = min(threads, -(-call.outputs // BAND))
        outputs = min(outputs, -(-call.outputs // (parts * BAND)) * BAND)
        blocks = Blocks(blocks.channels, blocks.k0, blocks.k1, blocks.k2, blocks.rows, blocks.columns, outputs)
    chunks = -(-call.outputs // outputs)
    part_chunks = -(-chunks // parts)
    reduction = count_blocks(call, a0, a1, a2, blocks)
    item = take_item(team) if threads > 1 else 0
    while item < slabs * parts:
        rest = item
        rest, s2 = divmod(rest, slabs2)
        rest, s1 = divmod(rest, slabs1)
        rest, p0 = divmod(rest, a0.out)
        rest, part = divmod(rest, parts)
        n, g = divmod(rest, call.groups)
        first = (n, g, p0, s1 * blocks.rows, s2 * blocks.columns)
        for chunk in range(part * part_chunks, min((part + 1) * part_chunks, chunks)):
            correlate_slab(
                x, xs, w, ws, bias, out, outs, fill, workspace, call, a0, a1, a2, blocks, reduction, first,
                chunk * blocks.outputs, chunk > part * part_chunks, in_place,
            )  # fmt: skip
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def correlate_slab(
    x, xs, w, ws, bias, out, outs, fill, workspace, call, a0, a1, a2, blocks, reduction, first, o, is_packed, in_place
):  # fmt: skip
    """Outputs of `blocks` from channel `o` and `first = (n, group, p0, p1, p2)`; `is_packed`: by an earlier chunk."""
    n, g, p0, p1, p2 = first
    rows, columns = min(blocks.rows, a1.out - p1), min(blocks.columns, a2.out - p2)
    outputs = min(blocks.outputs, call.outputs - o)
    o += g * call.outputs
    slab = packed_layout(a1, a2, blocks, rows, columns)
    if in_place:
        slab = Slab(1, 1, rows, xs.s1, 0, xs.s0, xs.channel)
    run = (rows - 1) * slab.pitch + columns
    sums, sums_row = scratch(workspace, _SUMS, out), -(-run // _LINE) * _LINE
    table = scratch_index(workspace, _TABLE)
    where = n * outs.batch + o * outs.channel + p0 * outs.s0 + p1 * outs.s1 + p2 * outs.s2
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
        source, start = scratch(workspace, 0, out), 0
        channel = g * call.channels + tap[0]
        if in_place:
            source = elements(x)
            start = n * xs.batch + channel * xs.channel + (p0 + tap[1] * a0.dilation) * xs.s0
            start += (p1 + tap[2] * a1.dilation) * xs.s1 + p2 + tap[3] * a2.dilation
        elif reduction > 1 or not is_packed:
            corner = n, channel, p0, p1, p2
            pack_slab(x, xs, fill, workspace, a0, a1, a2, slab, part.channels, part.k0, corner, tap)
        if reduction > 1 or not is_packed:
            fill_table(table, a0, a1, a2, slab, part, in_place)
        count = part.channels * part.k0 * part.k1 * part.k2
        for i in range(0, outputs, BAND):
            band = min(BAND, outputs - i)
            weights, at, row_step, entry_step = band_of_weights(
                w, ws, workspace, call, a0, a1, a2, part, o + i, band, tap, run
            )
            multiply_band(
                band, source, start, run, table, count, weights, at, row_step, entry_step,
                sums, i * sums_row, sums_row, block > 0,
            )  # fmt: skip
    for i in range(outputs):
        for r in range(rows):
            store_row(
                out, where + i * outs.channel + r * outs.s1, outs.s2, columns,
                sums, i * sums_row + r * slab.pitch, bias, (o + i) * stride(bias, 0), call,
            )  # fmt: skip


@kernel
def fill_table(table, a0, a1, a2, slab, part, in_place):
    """Where each tap's first element lies in the slab, taps in the kernel's own order."""
    depth = a0.dilation if in_place else 1  # a packed slab holds only the planes that taps meet
    taps = 0
    for k0 in range(part.k0):
        for k1 in range(part.k1):
            row, phase1 = divmod(k1 * a1.dilation, a1.stride)
            for k2 in range(part.k2):
                column, phase2 = divmod(k2 * a2.dilation, a2.stride) if a2.stride > 1 else (k2 * a2.dilation, 0)
                table[taps] = k0 * depth * slab.plane + (phase1 * slab.phases2 + phase2) * slab.phase
                table[taps] += row * slab.pitch + column
                taps += 1
    for c in range(1, part.channels):
        for tap in range(taps):
            table[c * taps + tap] = c * slab.channel + table[tap]


@kernel
def band_of_weights(w, ws, workspace, call, a0, a1, a2, part, o, rows, tap, run):
    """Kernels of `rows` output channels from `o` on: a pointer, where they start, the steps of channels and of entries.

    Read in place where they lie in the table's order, else packed.
    """
    taps = a0.kernel * a1.kernel * a2.kernel
    in_order = lies_in_order(ws, call, a0, a1, a2) and part.k0 * part.k1 * part.k2 == taps
    # Kernels a multiple of 4 KiB apart share few places in L1: worth a copy where they are used often.
    aliased = ws.batch * compute_size(w) % 4096 == 0 and run > 96
    if is_plain(w) and in_order and call.flip == 0 and not aliased:
        return elements(w), o * ws.batch + tap[0] * ws.channel, ws.batch, 1
    packed = scratch(workspace, _WEIGHTS, w)
    pack_weights(w, ws, packed, call, a0, a1, a2, part, o, rows, tap)
    return packed, 0, 1, rows


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
