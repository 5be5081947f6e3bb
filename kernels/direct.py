"""Direct correlation over up to three spatial axes: a matrix product whose right operand is never built.

For each slab of the output (a few rows of one image and group), and each block of the reduction (channels and taps):

    pack      the slab's input, from any strides, into padded contiguous planes; a stride splits a plane into phases,
              so that neighbouring outputs always read neighbouring elements
    offsets   a table: where each tap's row starts in the packed slab; kernel shape, dilation and phases live here only
    tile      for each output channel, multiply-accumulate whole rows of the slab
    store     bias, activation and the copy of the valid runs to the output's strides

Rows of the slab are flattened: outputs that fall between two rows are computed and thrown away. The workspace holds one
slab, one table and one block of sums, whatever the size of the input.
"""

from typing import NamedTuple

from .activation import finish
from .jit import entry, kernel
from .pack import pack_slab
from .strided import compute_size, five_strides, is_whole, load, multiply_add, scratch, scratch_index, stride, zero
from .window import load_axis, load_call

SLAB_BYTES = 512 << 10  # half of a common L2
SUMS_BYTES = 256 << 10
TABLE_ENTRIES = 4096
WORKSPACE_BYTES = SLAB_BYTES + SUMS_BYTES + 8 * TABLE_ENTRIES


class Blocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    k0: int
    k1: int
    k2: int
    rows: int
    columns: int
    outputs: int


class Slab(NamedTuple):
    """Layout of the packed slab: `[channel][k0][phase1][phase2][row][column]`, sizes in elements."""

    planes: int  # along axis 0
    phases1: int
    phases2: int
    rows: int
    pitch: int
    channel: int


@kernel
def slab_layout(a1, a2, blocks, rows, columns):
    """Layout for a block of taps and an output of `rows` by `columns`."""
    phases1 = min(a1.stride, (blocks.k1 - 1) * a1.dilation + 1)
    phases2 = min(a2.stride, (blocks.k2 - 1) * a2.dilation + 1)
    rows += (blocks.k1 - 1) * a1.dilation // a1.stride
    pitch = columns + (blocks.k2 - 1) * a2.dilation // a2.stride
    return Slab(blocks.k0, phases1, phases2, rows, pitch, blocks.k0 * phases1 * phases2 * rows * pitch)


@kernel
def choose_blocks(call, a0, a1, a2, size):
    """The largest blocks whose slab, sums and table fit: columns first, then taps, channels, outputs and rows."""
    slab, sums = SLAB_BYTES // size, SUMS_BYTES // size
    k0, k1, k2, columns = a0.kernel, a1.kernel, a2.kernel, min(a2.out, 512)
    while True:
        channel = slab_layout(a1, a2, Blocks(1, k0, k1, k2, 1, columns, 1), 1, columns).channel
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
    channels = min(call.channels, TABLE_ENTRIES // (k0 * k1 * k2), slab // channel)
    outputs = min(call.outputs, max(1, sums // (8 * columns)))
    rows = 1
    while rows < a1.out:
        more = min(2 * rows, a1.out)
        layout = slab_layout(a1, a2, Blocks(1, k0, k1, k2, more, columns, 1), more, columns)
        if layout.channel * channels > slab or more * layout.pitch * outputs > sums:
            break
        rows = more
    return Blocks(channels, k0, k1, k2, rows, columns, outputs)


@entry
def correlate(x, w, bias, out, fill, numbers, workspace):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1. False: an array is not whole."""
    call = load_call(numbers.data)
    if not (is_whole(x, call.rank + 2) and is_whole(w, call.rank + 2) and is_whole(out, call.rank + 2)):
        return False
    a0, a1, a2 = load_axis(numbers.data, 0), load_axis(numbers.data, 1), load_axis(numbers.data, 2)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    blocks = choose_blocks(call, a0, a1, a2, compute_size(out))
    slabs1 = -(-a1.out // blocks.rows)
    slabs2 = -(-a2.out // blocks.columns)
    for item in range(call.batch * call.groups * a0.out * slabs1 * slabs2):
        item, s2 = divmod(item, slabs2)
        item, s1 = divmod(item, slabs1)
        item, p0 = divmod(item, a0.out)
        n, g = divmod(item, call.groups)
        p1, p2 = s1 * blocks.rows, s2 * blocks.columns
        rows, columns = min(blocks.rows, a1.out - p1), min(blocks.columns, a2.out - p2)
        slab = slab_layout(a1, a2, blocks, rows, columns)
        run = (rows - 1) * slab.pitch + columns
        for o in range(0, call.outputs, blocks.outputs):
            outputs = min(blocks.outputs, call.outputs - o)
            clear_sums(workspace, out, outputs * run)
            reduction = -(-call.channels // blocks.channels)
            reduction *= -(-a0.kernel // blocks.k0) * -(-a1.kernel // blocks.k1) * -(-a2.kernel // blocks.k2)
            for block in range(reduction):
                tap, part = reduction_block(call, a0, a1, a2, blocks, block, rows, columns, outputs)
                pack_slab(
                    x, xs, fill, workspace, a0, a1, a2, slab, part, (n, g * call.channels + tap[0], p0, p1, p2), tap
                )
                fill_table(workspace, a1, a2, slab, part)
                accumulate(w, ws, workspace, out, call, a0, a1, a2, part, run, g * call.outputs + o, tap)
            where = n * outs.batch + p0 * outs.s0 + p1 * outs.s1 + p2 * outs.s2
            store_slab(
                workspace, out, outs, bias, call, where, g * call.outputs + o, outputs, rows, columns, run, slab.pitch
            )
    return True


@kernel
def reduction_block(call, a0, a1, a2, blocks, block, rows, columns, outputs):
    """First channel and tap of a block of the reduction, and its sizes."""
    block, k2 = divmod(block, -(-a2.kernel // blocks.k2))
    block, k1 = divmod(block, -(-a1.kernel // blocks.k1))
    c, k0 = divmod(block, -(-a0.kernel // blocks.k0))
    tap = (c * blocks.channels, k0 * blocks.k0, k1 * blocks.k1, k2 * blocks.k2)
    part = Blocks(
        min(blocks.channels, call.channels - tap[0]),
        min(blocks.k0, a0.kernel - tap[1]),
        min(blocks.k1, a1.kernel - tap[2]),
        min(blocks.k2, a2.kernel - tap[3]),
        rows,
        columns,
        outputs,
    )
    return tap, part


@kernel
def clear_sums(workspace, out, count):
    sums = scratch(workspace, SLAB_BYTES, out)
    for i in range(count):
        sums[i] = zero(out)


@kernel
def fill_table(workspace, a1, a2, slab, part):
    """Where each tap's first element lies in the slab, taps in the kernel's own order."""
    table = scratch_index(workspace, SLAB_BYTES + SUMS_BYTES)
    e = 0
    for c in range(part.channels):
        for k0 in range(part.k0):
            for k1 in range(part.k1):
                row, phase1 = divmod(k1 * a1.dilation, a1.stride)
                for k2 in range(part.k2):
                    column, phase2 = divmod(k2 * a2.dilation, a2.stride)
                    plane = ((c * slab.planes + k0) * slab.phases1 + phase1) * slab.phases2 + phase2
                    table[e] = (plane * slab.rows + row) * slab.pitch + column
                    e += 1


@kernel
def accumulate(w, ws, workspace, out, call, a0, a1, a2, part, run, o, tap):
    """Add one block of the reduction to the sums, a whole run for each output channel and table entry."""
    slab, sums = scratch(workspace, 0, out), scratch(workspace, SLAB_BYTES, out)
    table = scratch_index(workspace, SLAB_BYTES + SUMS_BYTES)
    for i in range(part.outputs):
        e = 0
        for c in range(part.channels):
            for k0 in range(part.k0):
                for k1 in range(part.k1):
                    row = (o + i) * ws.batch + (tap[0] + c) * ws.channel
                    row += tap_index(call, a0, tap[1] + k0) * ws.s0 + tap_index(call, a1, tap[2] + k1) * ws.s1
                    for k2 in range(part.k2):
                        value = load(w, row + tap_index(call, a2, tap[3] + k2) * ws.s2)
                        start = table[e]
                        for j in range(run):
                            sums[i * run + j] = multiply_add(sums[i * run + j], value, slab[start + j])
                        e += 1


@kernel
def tap_index(call, axis, k):
    return axis.kernel - 1 - k if call.flip else k


@kernel
def store_slab(workspace, out, outs, bias, call, where, o, outputs, rows, columns, run, pitch):
    """Finish the sums that are outputs, and leave out those between two rows."""
    sums = scratch(workspace, SLAB_BYTES, out)
    for i in range(outputs):
        for r in range(rows):
            row = where + (o + i) * outs.channel + r * outs.s1
            for j in range(columns):
                finish(out, row + j * outs.s2, sums[i * run + r * pitch + j], bias, (o + i) * stride(bias, 0), call)
