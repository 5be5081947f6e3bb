"""Direct correlation with vectors along output channels, over up to three spatial axes.

For each block of up to two vectors of output channels, of input channels and of positions:

    kernels   the block's kernels, transposed so that its output channels lie side by side
    tile      register tiles: a few positions by the vectors of output channels; input elements are broadcast
    store     sums are transposed back, and the bias added, straight to the output

Since input elements are read one by one, any strides are as good as any: the input is read in place. Taps that would
meet a padding of zeros are left out: a plane splits into an interior that all taps serve and borders with fewer.
Input in need of more (another boundary or fill value, types to convert) is packed into a padded slab first. A sum adds
its terms channel by channel, tap by tap, whatever the block.

A transposed convolution runs the phases of its last axis together: each has its taps among the packed kernels, and
their sums alternate, so that they are stored side by side. Its input is read in place.
"""

from typing import Any, NamedTuple

import numpy as np

from ..jit import entry, inlined, kernel, plain
from ..shapes import (
    CALL_FIELDS,
    CONSTANT,
    HUGE,
    LAST_CLAMP,
    NONE,
    PLAN,
    Axis,
    Phase,
    even_part,
    is_padded,
    make_all,
    pack_numbers,
    taps_of,
    whole_windows,
    widest_phase,
    words_of,
)
from ..simd.packing import (
    CHANNELS,
    TURNS,
    finish_transposed,
    pack_channels,
    pack_run,
    pack_transposed,
    pack_turns,
    prefetch_run,
)
from ..simd.tiles import CHANNEL_TILE, Inputs, Taps, Target, Weights, channel_tile
from ..simd.vectors import VECTOR_BYTES, Bounds, is_finite, lanes_of
from ..strided import (
    Strides,
    address,
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
    stride,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, phase_axis, real_taps, write_tuple
from .activation import bounds, finish
from .blocking import DENSE
from .costs import DENSE as DENSE_COSTS
from .costs import scale_of, whole_vectors
from .operands import Operand, Operands, OutputBlock, ReductionBlock, first_output
from .pack import SLACK, SlabLayout, are_taps_together, lies_in_order, pack_slab

POSITIONS, VECTORS = CHANNEL_TILE
SLAB_BYTES, _SUMS_BYTES = DENSE.slab_bytes, DENSE.sums_bytes
ENTRIES, TAPS = DENSE.entries, DENSE.taps
_SUMS = SLAB_BYTES + 64  # packing writes full vectors
_WEIGHTS = _SUMS + _SUMS_BYTES
_TABLE = _WEIGHTS + ENTRIES * VECTORS * VECTOR_BYTES
_BIAS = _TABLE + 16 * TAPS
WORKSPACE_BYTES = _BIAS + VECTORS * VECTOR_BYTES
_LINE = 64
MANY_TAPS, LARGE_WINDOW, NO_CHANNELS = 1, 2, 3  # why a call is refused


class DenseBlocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    chunks: int  # of output channels
    images: int
    rows: int
    columns: int


class Plan(NamedTuple):
    """The blocks where the input is packed, and where it is read in place; and what the last axis is made of.

    The phases follow. A call that is no transposed convolution has one, the axis itself.
    """

    packed: DenseBlocks
    in_place: DenseBlocks
    step: int  # outputs from one of a phase to its next
    phases: int
    taps: int  # of the last axis, in all phases
    size: int  # outputs of the last axis, in all phases


_PHASES, _PHASE_WORDS = PLAN + words_of(Plan), words_of(Phase)
_PLAN_WORDS = _PHASES + _PHASE_WORDS


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: `MANY_TAPS`, `LARGE_WINDOW` or `NO_CHANNELS`; 0: they should not."""
    (a0, a1, a2), itemsize = axes, element.itemsize
    if a0.kernel * a1.kernel * a2.kernel > TAPS:
        return MANY_TAPS
    reach1, reach2 = (a1.kernel - 1) * a1.dilation + 1, (a2.kernel - 1) * a2.dilation + 1
    if max(reach1, reach2) > SLAB_BYTES or 2 * a0.kernel * reach1 * reach2 * itemsize > SLAB_BYTES:
        return LARGE_WINDOW
    return NO_CHANNELS if call.channels == 0 else 0


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == MANY_TAPS:
        return f"the kernel has {taps_of(axes)} taps, expected {TAPS} or fewer"
    if refusal == LARGE_WINDOW:
        return "a window does not fit in the workspace"
    return "there are no channels"


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    (a0, a1, a2), costs = axes, DENSE_COSTS
    outputs, rows = whole_vectors(call.outputs, element), float(a0.out) * float(a1.out)
    row_terms = float(call.channels) * float(a0.kernel) * float(a1.kernel)
    terms, positions = row_terms * a2.kernel, rows * a2.out
    work = outputs * (positions * (terms * costs.mac + costs.output) + terms * costs.weight)
    each = costs.group + rows * (costs.row + row_terms * costs.row_terms) + work * scale_of(element)
    return call.groups * each


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` and its only phase behind the numbers of the call."""
    a0, a1, a2 = axes
    packed = choose_blocks(call, a0, a1, a2, False, element.itemsize, 1, a2.kernel)
    in_place = choose_blocks(call, a0, a1, a2, True, element.itemsize, 1, a2.kernel)
    end = write_tuple(numbers, PLAN, Plan(packed, in_place, 1, 1, a2.kernel, a2.out))
    write_tuple(numbers, end, Phase(0, 1, a2.kernel, 0, a2.size, a2.dilation, a2.before, a2.after, 0, a2.out))


def phase_numbers(call, axes, element, phases):
    """The numbers of a call that makes all outputs of its last axis, a transposed one, by these phases.

    None: kernels, or the sums of a few outputs, do not fit.
    """
    a0, a1, a2 = axes
    if (
        not make_all(a2, phases)
        or a0.kernel * a1.kernel * a2.kernel > TAPS
        or a2.stride > SLAB_BYTES // (VECTORS * VECTOR_BYTES) // POSITIONS
    ):
        return None
    widest = widest_phase(a2, phases)
    blocks = choose_blocks(call, a0, a1, widest, True, element.itemsize, a2.stride, a2.kernel)
    numbers = pack_numbers(call, (a0, a1, widest), _PHASES + len(phases) * _PHASE_WORDS)
    end = write_tuple(numbers, PLAN, Plan(blocks, blocks, a2.stride, len(phases), a2.kernel, a2.size))
    for phase in phases:
        end = write_tuple(numbers, end, phase)
    return numbers


@plain
def choose_blocks(call, a0, a1, a2, in_place, itemsize, step, taps2):
    """DenseBlocks whose kernels, sums and slab fit: `taps2` of the last axis, whose phases lie `step` apart."""
    bytes_of_sums = _SUMS_BYTES if step == 1 else SLAB_BYTES
    room, width = bytes_of_sums // (VECTORS * VECTOR_BYTES) // step, VECTORS * VECTOR_BYTES // itemsize
    taps = a0.kernel * a1.kernel * taps2
    channels = min(call.channels, ENTRIES // taps)
    columns = even_part(a2.out, room, POSITIONS)
    rows = even_part(a1.out, room // columns)
    while not in_place and packed_layout(a0, a1, a2, rows, columns).channel * channels > SLAB_BYTES // itemsize:
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
        inputs = columns * channels * min(min(a1.stride, HUGE) * min(a2.stride, HUGE), HUGE) * itemsize
        rows = even_part(a1.out, min(rows, max(1, SLAB_BYTES // inputs))) if chunks > 1 else rows
    elif rows == a1.out and columns == a2.out and a0.out == 1:  # kernels are packed again for each block
        images = max(1, min(call.batch, room // (rows * columns)))
    return DenseBlocks(channels, chunks, images, rows, columns)


@plain
def packed_layout(a0, a1, a2, rows, columns):
    """A padded slab under `rows` by `columns` outputs; channels lie an odd number of lines apart."""
    rows = min((rows - 1) * a1.stride + (a1.kernel - 1) * a1.dilation + 1, HUGE)
    pitch = min((columns - 1) * a2.stride + (a2.kernel - 1) * a2.dilation + 1, HUGE)
    plane = rows * pitch
    return SlabLayout(1, 1, rows, pitch, plane, plane, (-(-(a0.kernel * plane + SLACK) // _LINE) | 1) * _LINE)


# ---- kernels


class Kernels(NamedTuple):
    """The packed kernels of a block: `[channel][tap][width]`, so many vectors wide."""

    elements: Any
    width: int
    vectors: int
    channels: int
    taps: int
    flip: int


class Plane(NamedTuple):
    """An image in place, or its packed slab: some channels of up to three axes, under the windows of a block."""

    elements: Any
    start: int
    strides: Strides
    axes: tuple[Axis, Axis, Axis]
    first: tuple[int, int, int]  # the first output of each axis


class Sums(NamedTuple):
    """Sums of some output channels, side by side, position by position."""

    elements: Any
    start: int
    width: int


class Comb(NamedTuple):
    """Where a phase of the last axis has its taps in a packed kernel, and its outputs among the sums."""

    taps: int  # of the axis, in all phases
    tap: int  # the phase's first one
    tap_step: int
    apart: int  # positions from one of its outputs to the next
    pitch: int  # positions of a row, in all phases


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
    """DenseBlocks of the output."""
    chunks, images = -(-call.outputs // (width * blocks.chunks)), -(-call.batch // blocks.images)
    return call.groups * chunks * images * a0.out * -(-a1.out // blocks.rows) * -(-a2.out // blocks.columns)


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1.

    Returns False, nothing written, if a pointer or stride is misaligned, or if phases meet input that has to be packed.
    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 5  over blocks of the output (groups, output channels, images, positions), which threads take from a counter
    LOOP 4  over chunks of a block's output channels, as wide as a tile: all read the same input, which stays in L2
    LOOP 3  over blocks of the input channels, whose kernels are packed and stay in L2, as the chunk's sums do
    LOOP 2  over images, each read in place or packed into a slab in L2
    LOOP 1  over the tiles of a run of positions that have the same taps
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    axes = load_axes(numbers.data, CALL_FIELDS)
    a0, a1, a2 = axes
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    plan = load_tuple(numbers.data, PLAN, Plan)
    in_place = reads_in_place(x, xs, call, a0, a1, a2, fill)
    if plan.phases > 1 and not in_place:
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    width = VECTORS * lanes_of(scratch(workspace, 0, out))
    blocks = plan.in_place if in_place else plan.packed
    if threads > 1:
        blocks = split_blocks(call, a0, a1, a2, blocks, width, threads)
    items = count_items(call, a0, a1, a2, blocks, width)
    chunks = -(-call.outputs // (width * blocks.chunks))
    images = -(-call.batch // blocks.images)
    slabs1, slabs2 = -(-a1.out // blocks.rows), -(-a2.out // blocks.columns)
    packed, item = np.int64(-1), take_item(team) if threads > 1 else np.int64(0)
    while item < items:  # LOOP 5
        rest, s2 = divmod(item, slabs2)
        rest, s1 = divmod(rest, slabs1)
        rest, p0 = divmod(rest, a0.out)
        rest, i = divmod(rest, images)
        g, chunk = divmod(rest, chunks)
        p1, p2, n = s1 * blocks.rows, s2 * blocks.columns, i * blocks.images
        o = chunk * blocks.chunks * width
        for q in range(min(blocks.chunks, -(-(call.outputs - o) // width))):  # LOOP 4
            block = OutputBlock(
                g, o + q * width, min(width, call.outputs - o - q * width), n, min(blocks.images, call.batch - n),
                p0, p1, min(blocks.rows, a1.out - p1), p2, min(blocks.columns, a2.out - p2),
            )  # fmt: skip
            correlate_block(operands, call, axes, in_place, plan, blocks, block, q, packed == rest, numbers.data)
        packed = rest if blocks.channels == call.channels else -1
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


correlate_phases = correlate


@inlined
def split_blocks(call, a0, a1, a2, blocks, width, threads):
    """The blocks, of less if need be, so that there are two for each thread: of images, rows, outputs, or columns."""
    while count_items(call, a0, a1, a2, blocks, width) < 2 * threads:
        chunks, images, rows, columns = blocks.chunks, blocks.images, blocks.rows, blocks.columns
        if images > 1:
            images = (images + 1) // 2
        elif rows > 1:
            rows = (rows + 1) // 2
        elif chunks > 1:
            chunks = (chunks + 1) // 2
        elif columns > 2 * POSITIONS:
            columns = even_part(a2.out, (columns + 1) // 2, POSITIONS)
        else:
            break
        blocks = DenseBlocks(blocks.channels, chunks, images, rows, columns)
    return blocks


@kernel
def correlate_block(operands, call, axes, in_place, plan, blocks, block, q, is_packed, numbers):
    """Chunk `q` of a block of the output. `is_packed`: the workspace holds its kernels."""
    out, workspace = operands.out.array, operands.workspace
    a0, a1, a2 = axes
    sums = scratch(workspace, _SUMS if plan.step == 1 else 0, out)  # of phases, in the place of a slab
    table = scratch_index(workspace, _TABLE)
    vectors = -(-block.outputs // lanes_of(sums))
    width = vectors * lanes_of(sums)
    taps = a0.kernel * a1.kernel * plan.taps
    start2 = block.p2 * plan.step
    pitch = min((block.p2 + block.columns) * plan.step, plan.size) - start2
    for c in range(0, call.channels, blocks.channels):  # LOOP 3
        channels = min(blocks.channels, call.channels - c)
        weights = scratch(workspace, _WEIGHTS + q * channels * taps * VECTORS * VECTOR_BYTES, out)
        kernels = Kernels(weights, width, vectors, channels, taps, call.flip)
        if not is_packed:
            pack_kernels(operands.w, call, (a0, a1, with_kernel(a2, plan.taps)), block, c, kernels)
        for i in range(block.images):  # LOOP 2
            n, channel = block.n + i, block.group * call.channels + c
            for f in range(plan.phases):
                phase = load_tuple(numbers, _PHASES + f * _PHASE_WORDS, Phase)
                part = OutputBlock(
                    block.group, block.o, block.outputs, n, 1, block.p0, block.p1, block.rows,
                    block.p2, min(block.columns, phase.out - block.p2),
                )  # fmt: skip
                if in_place:
                    plane = plane_in_place(operands.x, (a0, a1, phase_axis(a2, phase)), part, channel)
                else:
                    plane = packed_plane(operands, axes, part, channel, channels, q > 0)
                comb = Comb(plan.taps, phase.tap, phase.tap_step, plan.step, pitch)
                target = Sums(sums, (i * block.rows * pitch + phase.first) * width, width)
                complete = multiply_plane(plane, part, table, kernels, target, comb, c > 0)
                # A sum of all taps is finite only if all kernels are; where one is not, padding times it is NaN.
                is_partial = in_place and (plan.phases > 1 or is_padded(a0, a1, a2))
                if is_partial and (complete < 0 or not is_finite(sums, complete, width)):
                    if not is_finite(weights, 0, channels * taps * width):
                        multiply_padding(plane, part, kernels, target, comb)
    results = OutputBlock(
        block.group, block.o, block.outputs, block.n, block.images, block.p0, block.p1, block.rows, start2, pitch
    )  # fmt: skip
    store_block(operands, call, results, Sums(sums, 0, width), scratch(workspace, _BIAS, out), 1)


@kernel
def with_kernel(axis, taps):
    """The axis, its kernel of so many taps."""
    return Axis(axis.size, taps, axis.stride, axis.dilation, axis.before, axis.after, axis.boundary, axis.out)


@inlined
def plane_in_place(x, axes, block, channel):
    """The plane of a block's image as it lies in the array."""
    start = block.n * x.strides.batch + channel * x.strides.channel
    return Plane(elements(x.array), start, x.strides, axes, (block.p0, block.p1, block.p2))


@inlined
def packed_plane(operands, axes, block, channel, channels, is_packed):
    """The plane of a block's image packed into a slab, unless it is there."""
    a0, a1, a2 = axes
    layout = packed_layout(a0, a1, a2, block.rows, block.columns)
    if not is_packed:
        steps_of_one = with_stride(a0, 1), with_stride(a1, 1), with_stride(a2, 1)
        first = block.n, channel, block.p0 * a0.stride, block.p1 * a1.stride, block.p2 * a2.stride
        terms = ReductionBlock(0, channels, 0, a0.kernel, 0, a1.kernel, 0, a2.kernel)
        pack_slab(operands.x, operands.fill, operands.workspace, steps_of_one, layout, first, terms)
    b0 = packed_axis(a0, 1, 1, a0.kernel)
    b1 = packed_axis(a1, a1.stride, a1.dilation, layout.rows)
    b2 = packed_axis(a2, a2.stride, a2.dilation, layout.pitch)
    strides = Strides(0, layout.channel, layout.plane, layout.pitch, 1)
    return Plane(scratch(operands.workspace, 0, operands.out.array), 0, strides, (b0, b1, b2), (0, 0, 0))


@kernel
def with_stride(axis, step):
    """The axis, its windows `step` apart."""
    return Axis(axis.size, axis.kernel, step, axis.dilation, axis.before, axis.after, axis.boundary, axis.out)


@kernel
def packed_axis(axis, step, dilation, size):
    """The axis of a slab, which holds its padding."""
    return Axis(size, axis.kernel, step, dilation, 0, 0, CONSTANT, axis.out)


@kernel
def multiply_plane(plane, block, table, kernels, sums, comb, accumulate):
    """Sums of one image's part of a block; taps that meet padding are left out.

    The result is where the sum of an output that all taps serve lies, or -1.
    """
    steps, width, rows, columns = plane.strides, sums.width, block.rows, block.columns
    apart, pitch = comb.apart * width, comb.pitch * width
    a0, a1, a2 = plane.axes
    p0, p1, p2 = plane.first
    taps0 = real_taps(a0, p0)
    start = plane.start + (p0 * a0.stride - a0.before) * steps.s0
    start += (p1 * a1.stride - a1.before) * steps.s1 + (p2 * a2.stride - a2.before) * steps.s2
    step1, step2 = a1.stride * steps.s1, a2.stride * steps.s2
    left, right = whole_windows(a2, p2, columns)
    top, bottom = whole_windows(a1, p1, rows)
    taps = Taps(table, 0, kernels.channels)
    for r in range(rows if left < right else 0):  # the columns that all taps of the last axis serve
        if r <= top or r >= bottom:
            taps = list_taps(table, plane, taps0, real_taps(a1, p1 + r), real_taps(a2, p2 + left), kernels, comb)
        inputs = Inputs(plane.elements, start + r * step1 + left * step2, steps.channel)
        target = Target(sums.elements, sums.start + r * pitch + left * apart, apart)
        multiply_run(inputs, step2, right - left, taps, kernels, target, accumulate)
    for j in range(columns):  # the others, downwards
        if left <= j < right:
            continue
        taps2, r = real_taps(a2, p2 + j), 0
        while r < rows:
            run = bottom - r if top <= r < bottom else 1
            taps = list_taps(table, plane, taps0, real_taps(a1, p1 + r), taps2, kernels, comb)
            inputs = Inputs(plane.elements, start + r * step1 + j * step2, steps.channel)
            target = Target(sums.elements, sums.start + r * pitch + j * apart, pitch)
            multiply_run(inputs, step1, run, taps, kernels, target, accumulate)
            r += run
    is_complete = left < right and top < bottom and taps0[1] - taps0[0] == a0.kernel
    return sums.start + top * pitch + left * apart if is_complete else -1


@kernel
def list_taps(table, plane, taps0, taps1, taps2, kernels, comb):
    """Three ranges of taps: where each tap lies in the plane and among the packed kernels."""
    a0, a1, a2 = plane.axes
    steps, count = plane.strides, 0
    for k0 in range(taps0[0], taps0[1]):
        for k1 in range(taps1[0], taps1[1]):
            for k2 in range(taps2[0], taps2[1]):
                table[2 * count] = (
                    k0 * a0.dilation * steps.s0 + k1 * a1.dilation * steps.s1 + k2 * a2.dilation * steps.s2
                )
                table[2 * count + 1] = packed_tap(plane.axes, kernels.flip, comb, k0, k1, k2) * kernels.width
                count += 1
    return Taps(table, count, kernels.channels)


@kernel
def packed_tap(axes, flip, comb, k0, k1, k2):
    """Which of the packed taps is a tap of a plane's axes."""
    a0, a1, a2 = axes
    if flip:
        k0, k1, k2 = a0.kernel - 1 - k0, a1.kernel - 1 - k1, a2.kernel - 1 - k2
    return (k0 * a1.kernel + k1) * comb.taps + comb.tap + k2 * comb.tap_step


@kernel
def multiply_run(inputs, step, count, taps, kernels, target, accumulate):
    """The sums of `count` outputs whose windows lie `step` apart, in tiles of about the same size."""
    start, to = inputs.start, target.start
    if taps.count == 0:
        for p in range(0 if accumulate else count):
            for o in range(kernels.width):
                target.elements[to + p * target.row + o] = 0
        return
    weights = Weights(kernels.elements, 0, 1, kernels.taps * kernels.width)
    while count > 0:  # LOOP 1
        # The last two are of even size, since a tile of few positions waits for its own sums.
        positions = min(count, POSITIONS if count >= 2 * POSITIONS else max((count + 1) // 2, 4))
        positions = count if count <= POSITIONS else positions
        channel_tile(
            positions, kernels.vectors, Inputs(inputs.elements, start, inputs.channel), step, taps,
            weights, Target(target.elements, to, target.row), accumulate,
        )  # fmt: skip
        start += positions * step
        to += positions * target.row
        count -= positions


@kernel
def multiply_padding(plane, block, kernels, sums, comb):
    """Add what `multiply_plane` leaves out: zeros times kernels, which is NaN where a kernel is infinite or NaN."""
    a0, a1, a2 = plane.axes
    p0, p1, p2 = plane.first
    taps0, width = real_taps(a0, p0), sums.width
    for r in range(block.rows):
        taps1 = real_taps(a1, p1 + r)
        for j in range(block.columns):
            taps2, at = real_taps(a2, p2 + j), sums.start + (r * comb.pitch + j * comb.apart) * width
            for tap in range(a0.kernel * a1.kernel * a2.kernel):
                k0, rest = divmod(tap, a1.kernel * a2.kernel)
                k1, k2 = divmod(rest, a2.kernel)
                is_inside = taps0[0] <= k0 < taps0[1] and taps1[0] <= k1 < taps1[1] and taps2[0] <= k2 < taps2[1]
                from_tap = packed_tap(plane.axes, kernels.flip, comb, k0, k1, k2)
                for c in range(0 if is_inside else kernels.channels):
                    for o in range(width):
                        sums.elements[at + o] += 0 * kernels.elements[(c * kernels.taps + from_tap) * width + o]


@kernel
def pack_kernels(w, call, axes, block, c, kernels):
    """Pack the kernels of a block from input channel `c` on."""
    start = (block.group * call.outputs + block.o) * w.strides.batch + c * w.strides.channel
    pack_outputs(w, start, call, axes, block.outputs, kernels)


@kernel
def pack_outputs(w, start, call, axes, outputs, kernels):
    """Pack the kernels of so many outputs, from element `start` on; those missing in the last vector are zero."""
    array, ws, width = w.array, w.strides, kernels.width
    lanes, count = lanes_of(kernels.elements), kernels.channels * kernels.taps
    if not lies_in_order(ws, call, axes):
        pack_scattered(w, start, axes, outputs, kernels)
        return
    past = (address(array) // item_size(array) + start) % lanes  # full cache lines, as for results
    for v in range(0, width, lanes):
        e = -past
        while e < count:
            first = max(e, 0)
            lines = min(e + lanes, count) - first
            pack_transposed(
                array, start + v * ws.batch + first, ws.batch, outputs - v, lines,
                kernels.elements, first * width + v, width,
            )  # fmt: skip
            e += lanes


@kernel
def pack_scattered(w, start, axes, outputs, kernels):
    """`pack_kernels` channel by channel, where those of a kernel do not lie side by side.

    Channels often lie pages apart, where no hardware foresees the next one.
    """
    array, ws, taps, width, lanes = w.array, w.strides, kernels.taps, kernels.width, lanes_of(kernels.elements)
    a0, a1, a2 = axes
    is_run, are_turns = ws.batch != 1 and are_taps_together(ws, axes), 1 < taps == ws.batch <= TURNS
    for channel in range(kernels.channels):
        source, at = start + channel * ws.channel, channel * taps * width
        if channel + 1 < kernels.channels and 0 < ws.batch <= 64:
            prefetch_run(array, source + ws.channel, outputs * ws.batch)
        if is_run and are_turns:
            pack_turns(kernels.elements, at, width, array, source, taps, outputs)
            continue
        if is_run and taps > CHANNELS:
            for v in range(0, width, lanes):
                for tap in range(0, taps, lanes):
                    pack_transposed(
                        array, source + v * ws.batch + tap, ws.batch, outputs - v, min(taps - tap, lanes),
                        kernels.elements, at + tap * width + v, width,
                    )  # fmt: skip
            continue
        for k0 in range(a0.kernel):
            for k1 in range(a1.kernel):
                row, k2 = source + k0 * ws.s0 + k1 * ws.s1, 0
                while k2 < a2.kernel:
                    one = row + k2 * ws.s2
                    if ws.s2 == 1 and ws.batch != 1 and k2 + CHANNELS <= a2.kernel:  # taps side by side
                        pack_channels(kernels.elements, at, width, array, one, ws.batch, outputs)
                        at += CHANNELS * width
                        k2 += CHANNELS
                        continue
                    if ws.batch == 1:
                        pack_run(kernels.elements, at, array, one, width, 1, 0, outputs, zero(array))
                    else:
                        for o in range(width):
                            value = load(array, one + o * ws.batch) if o < outputs else zero(array)
                            kernels.elements[at + o] = value
                    at += width
                    k2 += 1


@inlined
def store_block(operands, call, block, sums, added, apart):
    """Add the bias, activate, and write a block's sums to the output, to channels so far apart.

    There is room for a vector in `added`.
    """
    out, bias = operands.out, operands.bias
    outs, rows, columns = out.strides, block.rows, block.columns
    if outs.s1 == columns * outs.s2:  # the rows are one run
        rows, columns = 1, rows * columns
    first, o = first_output(outs, call, block), block.group * call.outputs + block.o
    for i in range(block.images):
        for r in range(rows):
            run = Sums(sums.elements, sums.start + (i * rows + r) * columns * sums.width, sums.width)
            where = first + i * outs.batch + r * outs.s1
            if call.activation > LAST_CLAMP:
                store_elements(out, bias, call, run, columns, o, block.outputs, apart, where)
            else:
                store_vectors(out, bias, added, call, run, columns, o, block.outputs, apart, where)


@kernel
def store_vectors(out, bias, added, call, sums, columns, o, outputs, apart, where):
    """Finish and store positions of some output channels, a square of vectors at a time.

    There is room for a vector of biases in `added`.
    """
    array, outs, lanes = out.array, out.strides, lanes_of(sums.elements)
    low, high = bounds(call, sums.elements, array)
    limits = Bounds(call.activation != NONE, low, high)
    for v in range(0, sums.width, lanes):
        for i in range(lanes):
            has = call.has_bias and v + i < outputs
            added[i] = load(bias, (o + (v + i) * apart) * stride(bias, 0)) if has else zero(array)
        # Full cache lines, from the first one on: half lines of many rows push each other out of the cache.
        to = where + v * apart * outs.channel
        past = (address(array) // item_size(array) + to) % lanes
        j = 0
        while j < columns:
            count = min(columns - j, lanes - past if j == 0 and columns > 4 * lanes else lanes)
            finish_transposed(
                array, to + j * outs.s2, apart * outs.channel, outs.s2, sums.elements, sums.start + j * sums.width + v,
                sums.width, count, outputs - v, added, limits,
            )  # fmt: skip
            j += count


@kernel
def store_elements(out, bias, call, sums, columns, o, outputs, apart, where):
    """`store_vectors` an element at a time."""
    outs = out.strides
    for i in range(outputs):
        for j in range(columns):
            at, total = where + i * apart * outs.channel + j * outs.s2, sums.elements[sums.start + j * sums.width + i]
            finish(out.array, at, total, bias, (o + i * apart) * stride(bias, 0), call)
