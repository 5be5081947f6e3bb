"""Direct correlation with vectors along output channels, over up to three spatial axes.

For each block of up to two vectors of output channels, of input channels and of positions:

    kernels   the block's kernels, transposed so that its output channels lie side by side
    tile      register tiles: a few positions by the vectors of output channels; input elements are broadcast
    store     sums are transposed back, and the bias added, straight to the output

Since input elements are read one by one, any strides are as good as any: the input is read in place, and positions of
a tile lie anywhere, in several rows or images. Taps that would meet a padding of zeros are left out: a volume splits
into an interior that all taps serve and borders with fewer. Input in need of more (another boundary or fill value,
types to convert) is packed into a padded slab first. A sum adds its terms channel by channel, tap by tap, whatever the
block.

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
from ..simd.tiles import CHANNEL_TILE, Inputs, Places, Taps, Target, Weights, channel_tile
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
from .costs import scale_of, unserved, whole_vectors
from .operands import Operand, Operands, OutputBlock, ReductionBlock, first_output
from .pack import SLACK, SlabLayout, are_taps_together, lies_in_order, pack_slab, reach

POSITIONS, VECTORS = CHANNEL_TILE
SLAB_BYTES, _SUMS_BYTES = DENSE.slab_bytes, DENSE.sums_bytes
ENTRIES, TAPS, MOST, FILLED = DENSE.entries, DENSE.taps, DENSE.positions, DENSE.filled
_SUMS = SLAB_BYTES + 64  # packing writes full vectors
_WEIGHTS = _SUMS + _SUMS_BYTES
_TABLE = _WEIGHTS + ENTRIES * VECTORS * VECTOR_BYTES
_PLACES = _TABLE + 16 * TAPS
_BIAS = _PLACES + 16 * MOST
WORKSPACE_BYTES = _BIAS + VECTORS * VECTOR_BYTES
_LINE = 64
MANY_TAPS, LARGE_WINDOW, NO_CHANNELS = 1, 2, 3  # why a call is refused


class DenseBlocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    chunks: int  # of output channels
    images: int
    depths: int  # outputs of the first axis
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
    reach1, reach2 = reach(a1, 1), reach(a2, 1)
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
    costs, rows = DENSE_COSTS, float(axes[0].out) * float(axes[1].out)
    outputs, width = whole_vectors(call.outputs, element), VECTORS * VECTOR_BYTES // element.itemsize
    terms = products = float(call.channels)
    boxes = float(-(-call.outputs // width))
    for axis in axes:
        edges, lost = unserved(axis)
        boxes *= min(edges + 1.0, float(axis.out))
        terms *= float(axis.kernel)
        products *= float(axis.kernel) * float(axis.out) - lost
    work = outputs * (products * costs.mac + rows * axes[2].out * costs.output + terms * costs.weight)
    return call.groups * (costs.group + rows * costs.row + boxes * costs.box + work * scale_of(element))


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
    room, width = min(bytes_of_sums // (VECTORS * VECTOR_BYTES) // step, MOST), VECTORS * VECTOR_BYTES // itemsize
    taps = a0.kernel * a1.kernel * taps2
    channels = min(call.channels, ENTRIES // taps)
    columns = even_part(a2.out, room, POSITIONS)
    rows = even_part(a1.out, room // columns)
    while not in_place and packed_layout(a0, a1, a2, 1, rows, columns).channel * channels > SLAB_BYTES // itemsize:
        if channels > 32:
            channels = (channels + 1) // 2
        elif rows > 1:
            rows = (rows + 1) // 2
        elif channels > 1:
            channels = (channels + 1) // 2
        else:
            columns = (columns + 1) // 2
    chunks = images = depths = 1
    if channels == call.channels:  # kernels of several chunks fit: they share the block's input, which stays in L2
        chunks = max(1, min(-(-call.outputs // width), ENTRIES // (channels * taps)))
        inputs = channels * min(min(a1.stride, HUGE) * min(a2.stride, HUGE), HUGE) * itemsize
        room = min(room, FILLED) if chunks == 1 else min(room, FILLED, max(1, SLAB_BYTES // inputs))
        rows = even_part(a1.out, min(rows, max(1, SLAB_BYTES // (columns * inputs)))) if chunks > 1 else rows
    if rows == a1.out and columns == a2.out:  # positions of several planes and images share tiles, and packed kernels
        depths = even_part(a0.out, max(1, room // (rows * columns)))
        images = max(1, min(call.batch, room // (depths * rows * columns))) if depths == a0.out else 1
    slab = SLAB_BYTES // itemsize // channels
    while not in_place and depths + images > 2:
        if packed_layout(a0, a1, a2, depths, rows, columns).channel * images <= slab:
            break
        images, depths = (1, (depths + 1) // 2) if images == 1 else ((images + 1) // 2, depths)
    return DenseBlocks(channels, chunks, images, depths, rows, columns)


@plain
def packed_layout(a0, a1, a2, depths, rows, columns):
    """A padded slab under so many outputs of each axis; channels lie an odd number of lines apart."""
    # Of a single output, planes between taps are left out.
    planes = a0.kernel if depths == 1 else min(reach(a0, depths), HUGE)
    rows, pitch = min(reach(a1, rows), HUGE), min(reach(a2, columns), HUGE)
    plane = rows * pitch
    return SlabLayout(1, 1, rows, pitch, plane, plane, (-(-(planes * plane + SLACK) // _LINE) | 1) * _LINE)


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
    """Images in place, or packed side by side: some channels of up to three axes, under the windows of a block."""

    elements: Any
    start: int
    strides: Strides
    axes: tuple[Axis, Axis, Axis]
    first: tuple[int, int, int]  # the first output of each axis


class Box(NamedTuple):
    """Outputs of all images of a block: the first of each axis, counted from the block's, and how many."""

    p0: int
    depths: int
    p1: int
    rows: int
    p2: int
    columns: int


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
    if is_padded(a0, a1, a2) and (load(fill, 0) != zero(fill) or a0.boundary + a1.boundary + a2.boundary != CONSTANT):
        return False
    # Positions 1 KiB apart share few places in the caches; of few channels, each line is read again and again.
    return xs.channel != 1 or call.channels > 64 or xs.s2 * compute_size(x) % 1024 != 0


@kernel
def count_items(call, a0, a1, a2, blocks, width):
    """DenseBlocks of the output."""
    chunks, images = -(-call.outputs // (width * blocks.chunks)), -(-call.batch // blocks.images)
    slabs = -(-a0.out // blocks.depths) * -(-a1.out // blocks.rows) * -(-a2.out // blocks.columns)
    return call.groups * chunks * images * slabs


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1.

    Returns False, nothing written, if a pointer or stride is misaligned, or if phases meet input that has to be packed.
    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 5  over blocks of the output (groups, output channels, images, positions), which threads take from a counter
    LOOP 4  over chunks of a block's output channels, as wide as a tile: all read the same input, which stays in L2
    LOOP 3  over blocks of the input channels, whose kernels are packed and stay in L2, as the chunk's sums do
    LOOP 2  over boxes of positions that have the same taps, of input read in place or packed into a slab in L2
    LOOP 1  over the tiles of a box
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
    slabs0, slabs1, slabs2 = -(-a0.out // blocks.depths), -(-a1.out // blocks.rows), -(-a2.out // blocks.columns)
    packed, item = np.int64(-1), take_item(team) if threads > 1 else np.int64(0)
    while item < items:  # LOOP 5
        rest, s2 = divmod(item, slabs2)
        rest, s1 = divmod(rest, slabs1)
        rest, s0 = divmod(rest, slabs0)
        rest, i = divmod(rest, images)
        g, chunk = divmod(rest, chunks)
        p0, p1, p2, n = s0 * blocks.depths, s1 * blocks.rows, s2 * blocks.columns, i * blocks.images
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
    """The blocks, of less if need be, so that there are two for each thread: of images, positions, or outputs."""
    while count_items(call, a0, a1, a2, blocks, width) < 2 * threads:
        chunks, images, depths, rows, columns = blocks.chunks, blocks.images, blocks.depths, blocks.rows, blocks.columns
        if images > 1:
            images = (images + 1) // 2
        elif depths > 1:
            depths = (depths + 1) // 2
        elif rows > 1:
            rows = (rows + 1) // 2
        elif chunks > 1:
            chunks = (chunks + 1) // 2
        elif columns > 2 * POSITIONS:
            columns = even_part(a2.out, (columns + 1) // 2, POSITIONS)
        else:
            break
        blocks = DenseBlocks(blocks.channels, chunks, images, depths, rows, columns)
    return blocks


@kernel
def correlate_block(operands, call, axes, in_place, plan, blocks, block, q, is_packed, numbers):
    """Chunk `q` of a block of the output. `is_packed`: the workspace holds its kernels."""
    out, workspace = operands.out.array, operands.workspace
    a0, a1, a2 = axes
    sums = scratch(workspace, _SUMS if plan.step == 1 else 0, out)  # of phases, in the place of a slab
    vectors = -(-block.outputs // lanes_of(sums))
    width = vectors * lanes_of(sums)
    taps, depths = a0.kernel * a1.kernel * plan.taps, min(blocks.depths, a0.out - block.p0)
    start2 = block.p2 * plan.step
    pitch = min((block.p2 + block.columns) * plan.step, plan.size) - start2
    for c in range(0, call.channels, blocks.channels):  # LOOP 3
        channels, channel = min(blocks.channels, call.channels - c), block.group * call.channels + c
        weights = scratch(workspace, _WEIGHTS + q * channels * taps * VECTORS * VECTOR_BYTES, out)
        kernels = Kernels(weights, width, vectors, channels, taps, call.flip)
        if not is_packed:
            pack_kernels(operands.w, call, (a0, a1, with_kernel(a2, plan.taps)), block, c, kernels)
        for f in range(plan.phases):
            phase = load_tuple(numbers, _PHASES + f * _PHASE_WORDS, Phase)
            box = Box(0, depths, 0, block.rows, 0, min(block.columns, phase.out - block.p2))
            if in_place:
                plane = plane_in_place(operands.x, (a0, a1, phase_axis(a2, phase)), block, channel)
            else:
                plane = packed_plane(operands, axes, block, depths, channel, channels, q > 0)
            comb = Comb(plan.taps, phase.tap, phase.tap_step, plan.step, pitch)
            target = Sums(sums, phase.first * width, width)
            complete = multiply_plane(plane, block.images, box, workspace, kernels, target, comb, c > 0)
            # A sum of all taps is finite only if all kernels are; where one is not, padding times it is NaN.
            is_partial = in_place and (plan.phases > 1 or is_padded(a0, a1, a2))
            if is_partial and (complete < 0 or not is_finite(sums, complete, width)):
                if not is_finite(weights, 0, channels * taps * width):
                    multiply_padding(plane, block.images, box, kernels, target, comb)
    for i in range(block.images):
        for d in range(depths):
            results = OutputBlock(
                block.group, block.o, block.outputs, block.n + i, 1, block.p0 + d, block.p1, block.rows, start2, pitch
            )  # fmt: skip
            image = Sums(sums, (i * depths + d) * block.rows * pitch * width, width)
            store_block(operands, call, results, image, scratch(workspace, _BIAS, out), 1)


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
def packed_plane(operands, axes, block, depths, channel, channels, is_packed):
    """The plane of a block's images packed into a slab, unless it is there; with several outputs of the first axis,
    between the first element that they meet and the last.
    """
    a0, a1, a2 = axes
    layout = packed_layout(a0, a1, a2, depths, block.rows, block.columns)
    planes, apart, step = a0.kernel, a0.dilation, np.int64(1)
    if depths > 1:
        planes, apart, step = reach(a0, depths), np.int64(1), a0.stride
    slab, image = scratch(operands.workspace, 0, operands.out.array), channels * layout.channel
    of_planes = Axis(a0.size, planes, 1, apart, a0.before, a0.after, a0.boundary, a0.out)  # each stands for a tap
    for i in range(0 if is_packed else block.images):
        first = block.n + i, channel, block.p0 * a0.stride, block.p1 * a1.stride, block.p2 * a2.stride
        terms = ReductionBlock(0, channels, 0, planes, 0, a1.kernel, 0, a2.kernel)
        workspace = part_of(operands.workspace, i * image * (VECTOR_BYTES // lanes_of(slab)))
        steps_of_one = of_planes, with_stride(a1, 1), with_stride(a2, 1)
        pack_slab(operands.x, operands.fill, workspace, steps_of_one, layout, first, terms)
    b0 = packed_axis(a0, step, a0.dilation if depths > 1 else 1, planes)
    b1 = packed_axis(a1, a1.stride, a1.dilation, layout.rows)
    b2 = packed_axis(a2, a2.stride, a2.dilation, layout.pitch)
    strides = Strides(image, layout.channel, layout.plane, layout.pitch, 1)
    return Plane(slab, 0, strides, (b0, b1, b2), (0, 0, 0))


@kernel
def with_stride(axis, step):
    """The axis, its windows `step` apart."""
    return Axis(axis.size, axis.kernel, step, axis.dilation, axis.before, axis.after, axis.boundary, axis.out)


@kernel
def packed_axis(axis, step, dilation, size):
    """The axis of a slab, which holds its padding."""
    return Axis(size, axis.kernel, step, dilation, 0, 0, CONSTANT, axis.out)


@kernel
def multiply_plane(plane, images, box, workspace, kernels, sums, comb, accumulate):
    """Sums of some images' part of a block; taps that meet padding are left out.

    The result is where the sum of an output that all taps serve lies, or -1.
    """
    table = scratch_index(workspace, _TABLE)
    places = Places(scratch_index(workspace, _PLACES), scratch_index(workspace, _PLACES + 8 * MOST), 0)
    a0, a1, a2 = plane.axes
    p0, p1, p2 = plane.first
    front, back = whole_windows(a0, p0, box.depths)
    top, bottom = whole_windows(a1, p1, box.rows)
    left, right = whole_windows(a2, p2, box.columns)
    d = np.int64(0)
    while d < box.depths:
        depths = back - d if front <= d < back else 1
        r = np.int64(0)
        while r < box.rows:
            rows = bottom - r if top <= r < bottom else 1
            j = np.int64(0)
            while j < box.columns:
                columns = right - j if left <= j < right else 1
                taps0, taps1, taps2 = real_taps(a0, p0 + d), real_taps(a1, p1 + r), real_taps(a2, p2 + j)
                taps = list_taps(table, plane, taps0, taps1, taps2, kernels, comb)
                part = Box(d, depths, r, rows, j, columns)
                multiply_box(plane, images, box, part, places, taps, kernels, sums, comb, accumulate)
                j += columns
            r += rows
        d += depths
    if front == back or top == bottom or left == right:
        return -1
    return sums.start + ((front * box.rows + top) * comb.pitch + left * comb.apart) * sums.width


@inlined
def multiply_box(plane, images, box, part, places, taps, kernels, sums, comb, accumulate):
    """Sums of a part of a box, which have the same taps: short rows share tiles, long ones the list of one's places."""
    a0, a1, _ = plane.axes
    steps, lines = plane.strides, images * part.depths * part.rows
    listed = Box(part.p0, 1, part.p1, 1, part.p2, part.columns)
    if part.columns < 2 * POSITIONS:
        listed, lines = part, 1
    count = list_places(places, plane, images if lines == 1 else 1, box, listed, comb, sums.width)
    for line in range(lines):
        rest, r = divmod(line, part.rows)
        i, d = divmod(rest, part.depths)
        start = i * steps.batch + d * a0.stride * steps.s0 + r * a1.stride * steps.s1
        to = sums.start + ((i * box.depths + d) * box.rows + r) * comb.pitch * sums.width
        inputs, target = Inputs(plane.elements, start, steps.channel), Sums(sums.elements, to, sums.width)
        multiply_places(inputs, places, count, taps, kernels, target, accumulate)


@inlined
def list_places(places, plane, images, box, part, comb, width):
    """Where the positions of a part of a box lie, in the plane and among the sums, image by image; how many."""
    steps, inputs, sums, count = plane.strides, places.inputs, places.sums, 0
    a0, a1, a2 = plane.axes
    p0, p1, p2 = plane.first
    first = plane.start + ((p0 + part.p0) * a0.stride - a0.before) * steps.s0
    first += ((p1 + part.p1) * a1.stride - a1.before) * steps.s1 + ((p2 + part.p2) * a2.stride - a2.before) * steps.s2
    step2, apart, pitch = a2.stride * steps.s2, comb.apart * width, comb.pitch * width
    for i in range(images):
        for d in range(part.depths):
            for r in range(part.rows):
                start = first + i * steps.batch + d * a0.stride * steps.s0 + r * a1.stride * steps.s1
                to = ((i * box.depths + part.p0 + d) * box.rows + part.p1 + r) * pitch + part.p2 * apart
                for j in range(part.columns):
                    inputs[count + j] = start + j * step2
                    sums[count + j] = to + j * apart
                count += part.columns
    return count


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
def multiply_places(inputs, places, count, taps, kernels, target, accumulate):
    """The sums of so many places, in tiles of about the same size."""
    width = kernels.width
    if taps.count == 0:
        for p in range(0 if accumulate else count):
            for o in range(width):
                target.elements[target.start + places.sums[p] + o] = 0
        return
    weights, done = Weights(kernels.elements, 0, 1, kernels.taps * width), 0
    while done < count:  # LOOP 1
        positions = tile_positions(count - done)
        channel_tile(
            positions, kernels.vectors, inputs, Places(places.inputs, places.sums, done), taps,
            weights, Target(target.elements, target.start, width), accumulate,
        )  # fmt: skip
        done += positions


@kernel
def tile_positions(count):
    """How many of so many positions the next tile has: the last two are of even size, since few wait for their sums."""
    if count <= POSITIONS:
        return count
    return POSITIONS if count >= 2 * POSITIONS else (count + 1) // 2


@kernel
def multiply_padding(plane, images, box, kernels, sums, comb):
    """Add what `multiply_plane` leaves out: zeros times kernels, which is NaN where a kernel is infinite or NaN."""
    a0, a1, a2 = plane.axes
    p0, p1, p2 = plane.first
    width = sums.width
    for place in range(images * box.depths * box.rows * box.columns):
        rest, j = divmod(place, box.columns)
        image_depth, r = divmod(rest, box.rows)
        taps0, taps1 = real_taps(a0, p0 + image_depth % box.depths), real_taps(a1, p1 + r)
        taps2, at = real_taps(a2, p2 + j), sums.start + (rest * comb.pitch + j * comb.apart) * width
        for tap in range(a0.kernel * a1.kernel * a2.kernel):
            k0, rest0 = divmod(tap, a1.kernel * a2.kernel)
            k1, k2 = divmod(rest0, a2.kernel)
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
