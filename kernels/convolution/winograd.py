"""Winograd's convolution: windows of up to 3x3 taps with steps of 1, over one to three spatial axes.

An axis of 3 taps is cut into tiles of 4 outputs, which come from 6 inputs. Input tiles and kernels are taken to 6
points (36, of a plane's tiles and kernels), multiplied there and summed over the channels, and the sums are taken
back: 36 products instead of 144. With 2 taps, which phases of transposed convolutions have, they are 5 inputs and 5
points: 25 products instead of 64. Phases of the last axis that have the same inputs and as many taps share the points
of the inputs, and the cache lines of the kernels. The taps of a first axis, of any number, are summed like channels. A
dilation splits an image into as many along its axis, of which each has its own inputs and outputs.

For each block of tiles (some rows of tiles of an image, or whole images):

    pack       each channel's rows, from any strides, split into 4x4 phases: neighbouring tiles read neighbours
    inputs     to points, vectors along the tiles, as `[point][channel][tile]`; magnitudes are summed on the way
    kernels    transposed so that output channels lie side by side, and to points, as `[point][channel][output]`: once
               where all of them fit in the workspace, else for each block, by blocks of output and input channels
    tile       for each point, register tiles: some tiles by the vectors of output channels
    outputs    from points, vectors along the output channels, then transposed, with bias and activation, to the output

A last tile of 1 or 2 outputs needs no more points than 0, +-3/4 and infinity. Its last three inputs, which are not
needed, are made such that the same transform gives what these points ask for, and nothing at the others:
`d3, d4, d5 = a^2 d1, a^2 d2, d3 + (a^4 - a^2) d1` with a = 3/4. A third of the products at infinity stands for those at
3/2, and its negative for those at -3/2: so they come to the second output. With 2 taps there is no input d0, the
others are one place further to the front, and 1 / (2 b) stands for a third, where the larger points are +-b.

The points are 0, +-3/4, +-3/2 and infinity for 3 taps, +-7/16, +-5/4 and infinity for 2, whose squares and products
are exact; that such points err less is from Vincent, Stephano, Frumkin, Ginsburg and Demouth, "On improving the
numerical stability of Winograd convolutions" (2017). Barabasz, Anderson, Soodhalter and Gregg, "Error analysis and
improving the accuracy of Winograd convolution for deep neural networks" (2020), bound the error by what passes through
the transforms, with 25 roundings at most on the way of a value here, and one for each of C channels and planes of taps:

    |error(o)| <= (C + 25) u * 47 * sum over the channels of |w|_1 |x|_1

where `|w|_1` and `|x|_1` are sums of the magnitudes of a kernel's taps and of the inputs of the tile that holds `o`;
47 is the square of the largest `sum over points p of |A_p,i| max_j |B_p,j| max_k |G_p,k|`, of output i of an axis; for
2 taps it is 15. On noise of 16 to 64 channels in float32, the largest error is 0.9 to 2.5 times that of direct sums
with 3 taps, 0.7 to 1.9 times with 2.

The error of a tile grows with all of its inputs: tiles that `winograd_guard` finds uneven are summed directly.

A sum adds its terms channel by channel, whatever the blocks, and the guard looks at single tiles, at chunks of output
channels and at as many input channels as are packed at a time, which depend on their numbers alone: threads and batch
size change no bit.
"""

from typing import Any, NamedTuple

import numpy as np

from ..jit import entry, inlined, kernel, plain
from ..shapes import AUTO, CALL_FIELDS, CONSTANT, PLAN, alike, axis_of, pack_numbers, words_of
from ..simd.packing import pack_run
from ..simd.tiles import Inputs, Taps, Target, Weights, channel_tile
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..simd.winograd import (
    POINTS,
    pack_phases,
    transform_inputs,
    transform_kernels,
    transform_outputs,
    weigh_kernels,
)
from ..strided import Strides, compute_size, five_strides, is_aligned, load, load_tuple, scratch, scratch_index, zero
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, source_index, write_tuple
from .costs import WINOGRAD as WINOGRAD_COSTS
from .costs import larger, one_image
from .dense import VECTORS, Kernels, Sums, pack_kernels, store_block, tile_positions, with_kernel, with_stride
from .operands import Operand, Operands, OutputBlock
from .pack import columns_inside
from .winograd_blocks import (
    PACKED,
    PHASE,
    PLANES,
    WORKSPACE_BYTES,
    Place,
    Plan,
    Room,
    Task,
    bytes_of_weights,
    choose_blocks,
    count_images,
    count_weights,
    find_room,
    has_half,
    image_of,
    outputs_of,
    part,
    split_blocks,
)
from .winograd_guard import mark_tiles, measure_block, measure_kernels

_PACKED_TAPS = 9  # of a kernel: those of so many channels, by a chunk of outputs, stay in L1
_MOST_DILATION = 8
_MOST_CHANNELS = 1 << 13  # bytes of a plane's channels at a point
_LEAST_TERMS = 216  # of sums: with fewer, the guard finds most tiles uneven where many inputs are zeros
_LEAST_OF_PAIRS = 96  # the same of kernels of two taps
(_A3, _B3), (_A2, _B2) = POINTS[3], POINTS[2]
OTHER_KERNEL, STEPS, LARGE_TILE, FEW_TERMS = range(1, 5)  # why a call is refused
_PLACES = PLAN + words_of(Plan)
_PLACE_WORDS = words_of(Place)


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: one of the four above; 0: they should not."""
    a0, a1, a2 = axes
    if min(a1.kernel, a2.kernel) < 1 or not 2 <= max(a1.kernel, a2.kernel) <= 3:
        return OTHER_KERNEL
    if a0.kernel > PLANES or call.channels == 0:
        return OTHER_KERNEL
    if max(a0.stride, a1.stride, a2.stride, a0.dilation) > 1 or max(a1.dilation, a2.dilation) > _MOST_DILATION:
        return STEPS
    if call.channels > _MOST_CHANNELS // (a0.kernel * element.itemsize):
        return LARGE_TILE
    if call.algorithm == AUTO and call.channels * a0.kernel * a1.kernel * a2.kernel < least_terms(a1, a2):
        return FEW_TERMS
    return 0


@plain
def least_terms(a1, a2):
    """Terms that sums have at least: tiles of kernels of two taps have fewer inputs to outweigh a window with."""
    return _LEAST_OF_PAIRS if max(a1.kernel, a2.kernel) == 2 else _LEAST_TERMS


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == OTHER_KERNEL:
        kernel = "x".join(str(axis.kernel) for axis in axes)
        taps = f"the kernel has {kernel} taps of {call.channels} channels"
        return f"{taps}, expected 7x3x3 at most, and more than one along the last two axes"
    if refusal == STEPS:
        return f"an axis has a stride above 1, or a dilation above {_MOST_DILATION}"
    if refusal == LARGE_TILE:
        return f"a tile of {call.channels} channels does not fit in the workspace"
    return f"sums have {call.channels} channels' taps, expected {least_terms(*axes[1:])} terms: too few to be even"


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    a0, a1, a2 = axes
    blocks = choose_blocks(one_image(call), a0, a1, a2, 1, a2.kernel, element.itemsize)
    points, lanes = blocks.points1 * blocks.points2, VECTOR_BYTES // element.itemsize
    tiles1, tiles2 = -(-outputs_of(a1) // blocks.size1), -(-outputs_of(a2) // blocks.size2)
    tiles = float(count_images(one_image(call), a1, a2)) * float(a0.out) * float(tiles1) * float(tiles2)
    rounds = tiles / (blocks.images * blocks.planes * blocks.rows * blocks.columns)
    outputs = -(-call.outputs // lanes) * lanes
    plane = blocks.rows * blocks.columns  # tiles that vectors run along
    inputs = call.channels * (blocks.planes + a0.kernel - 1) / blocks.planes * (-(-plane // lanes) * lanes / plane)
    kernels = float(a0.kernel * call.channels) * outputs
    half1, half2 = has_half(a1) * 2 / blocks.points1 / tiles1, has_half(a2) * 2 / blocks.points2 / tiles2
    products = kernels * (1 - half1) * (1 - half2)
    apart = WINOGRAD_COSTS.dilated if max(a1.dilation, a2.dilation) > 1 else 1.0
    work = tiles * (products + apart * (WINOGRAD_COSTS.input * inputs + WINOGRAD_COSTS.output * outputs))
    work += kernels * (WINOGRAD_COSTS.kept_kernel if blocks.keeps else WINOGRAD_COSTS.kernel * max(rounds, 1.0))
    return call.groups * points * work * WINOGRAD_COSTS.product * larger(element)


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLACES + _PLACE_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` and its only `Place` behind the numbers of the call."""
    a0, a1, a2 = axes
    blocks = choose_blocks(call, a0, a1, a2, 1, a2.kernel, element.itemsize)
    plan = Plan(blocks, find_room(call, a0, a1, a2, blocks, a2.kernel, element.itemsize), 0, a2.kernel)
    write_tuple(numbers, write_tuple(numbers, PLAN, plan), Place(0, 1, 0, 1))


def phase_numbers(call, axes, element, phases):
    """The numbers of a call that makes some phases of its last axis, a transposed one.

    None: they do not have the same inputs and as many taps, or are too many for the workspace.
    """
    a0, a1, a2 = axes
    phase, *others = set(map(alike, phases))
    if others:
        return None
    axes = a0, a1, axis_of(phase)
    blocks = choose_blocks(call, *axes, len(phases), a2.kernel, element.itemsize)
    room = find_room(call, *axes, blocks, a2.kernel, element.itemsize)
    if room.end > WORKSPACE_BYTES:
        return None
    numbers = pack_numbers(call, axes, _PLACES + len(phases) * _PLACE_WORDS)
    end = write_tuple(numbers, PLAN, Plan(blocks, room, phase.begin, a2.kernel))
    for each in phases:
        end = write_tuple(numbers, end, Place(each.tap, each.tap_step, each.first, a2.stride))
    return numbers


# ---- kernels


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1; or what `phase_numbers` are of.

    Returns False, nothing written, if a pointer or stride is misaligned.
    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 4  over blocks of tiles, or some of a block's output channels, which threads take from a counter
    LOOP 3  over chunks of output channels, as wide as a register tile: all read the block's inputs at the points
    LOOP 2  over taps of the first axis and blocks of the input channels, whose kernels stay in L2; for each, phases
    LOOP 1  over the points, and for each the register tiles of a block
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    axes = load_axes(numbers.data, CALL_FIELDS)
    a0, a1, a2 = axes
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    plan, place = load_tuple(numbers.data, PLAN, Plan), load_tuple(numbers.data, _PLACES, Place)
    inputs = Operand(part_of(x, plan.begin * xs.s2), xs)
    operands = Operands(inputs, Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    width = VECTORS * lanes_of(scratch(workspace, 0, out))
    batch, chunks = count_images(call, a1, a2), -(-call.outputs // width)
    blocks = split_blocks(call, a0, a1, a2, plan.blocks, chunks, threads)
    out1, out2, images = outputs_of(a1), outputs_of(a2), -(-batch // blocks.images)
    height, breadth = blocks.rows * blocks.size1, blocks.columns * blocks.size2
    slabs0, slabs1, slabs2 = -(-a0.out // blocks.planes), -(-out1 // height), -(-out2 // breadth)
    slabs, parts = slabs0 * slabs1 * slabs2 * images, 1
    if slabs * call.groups < 2 * threads:  # few blocks: threads share their output channels, each with its own inputs
        parts = min(chunks, threads)
    part_outputs = -(-chunks // parts) * width
    kept, item = np.int64(-1), take_item(team) if threads > 1 else np.int64(0)
    while item < call.groups * parts * slabs:  # LOOP 4
        rest, s2 = divmod(item, slabs2)
        rest, s1 = divmod(rest, slabs1)
        rest, s0 = divmod(rest, slabs0)
        owner, i = divmod(rest, images)
        g, part = divmod(owner, parts)
        n, p0, p1, p2, o = i * blocks.images, s0 * blocks.planes, s1 * height, s2 * breadth, part * part_outputs
        block = OutputBlock(
            g, o, min(part_outputs, call.outputs - o), n, min(blocks.images, batch - n),
            p0, p1, min(height, out1 - p1), p2, min(breadth, out2 - p2),
        )  # fmt: skip
        rows, columns = -(-block.rows // blocks.size1), -(-block.columns // blocks.size2)
        task = Task(
            operands, call, axes, blocks, plan.room, min(blocks.planes, a0.out - p0), rows, columns,
            has_half(a1) * (p1 + block.rows == out1),
            has_half(a2) * (p2 + block.columns == out2),
            block.images * rows * columns, blocks.points1 * blocks.points2,
            a0.kernel * a1.kernel * a2.kernel, plan.taps, place,
        )  # fmt: skip
        correlate_block(task, block, kept == owner, numbers.data)
        kept = owner if blocks.keeps else -1
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


correlate_phases = correlate


@kernel
def correlate_block(task, block, is_kept, numbers):
    """Outputs of a block. `is_kept`: the workspace holds the kernels of its output channels."""
    phases = task.blocks.phases
    transform_block(task, block)
    measure_block(task, block)
    width = VECTORS * lanes_of(part(task, 0, 0))
    for i in range(0, block.outputs, width):  # LOOP 3
        chunk = OutputBlock(
            block.group, block.o + i, min(width, block.outputs - i), block.n, block.images,
            block.p0, block.p1, block.rows, block.p2, block.columns,
        )  # fmt: skip
        # Sums go through all channels for each plane of taps: so their order does not depend on blocks.
        for k0 in range(task.axes[0].kernel):  # LOOP 2
            for b in range(-(-task.call.channels // task.blocks.channels)):
                if not is_kept:
                    transform_panels(task, chunk, k0, b, numbers)
                for f in range(phases):
                    multiply_channels(place_task(task, f, numbers), chunk, k0, b, f)
        for f in range(phases):
            finish_chunk(place_task(task, f, numbers), chunk, f, is_kept)


@inlined
def place_task(task, f, numbers):
    """The task, of phase `f`: its taps and outputs, and its parts of the workspace."""
    x, w, bias, out, fill, workspace = task.operands
    place, room, outs = load_tuple(numbers, _PLACES + f * _PLACE_WORDS, Place), task.room, out.strides
    steps = Strides(outs.batch, outs.channel, outs.s0, outs.s1, outs.s2 * place.step)
    out = Operand(part_of(out.array, place.first * outs.s2), steps)
    tap_weights = room.tap_weights + f * bytes_of_weights(task.axes[0], task.taps)
    products = room.products + f * task.points * room.product_step * compute_size(out.array)
    room = Room(
        room.sums, room.added, room.line, room.table, room.limits, room.measures, room.marks, room.weights, room.patch,
        room.taps, tap_weights, room.kernels, products, room.values, room.end, room.measure_step, room.weight_step,
        room.kernel_step, room.product_step, room.value_step,
    )  # fmt: skip
    return Task(
        Operands(x, w, bias, out, fill, workspace), task.call, task.axes, task.blocks, room, task.planes, task.rows,
        task.columns, task.half1, task.half2, task.tiles, task.points, task.taps, task.row_taps, place,
    )  # fmt: skip


@inlined
def number_of(task, chunk, f):
    """Which of the kernels in the workspace are those of a chunk and phase `f`."""
    width = VECTORS * lanes_of(part(task, 0, 0))
    return (chunk.o // width if task.blocks.keeps else 0) * task.blocks.phases + f


@inlined
def panel_of(task, chunk, k0, b, f):
    """Where the kernels of a chunk, tap `k0`, block `b` of the input channels and phase `f` lie at the points."""
    panel, blocks = number_of(task, chunk, f), task.blocks
    if blocks.keeps:
        panel = (panel * task.axes[0].kernel + k0) * -(-task.call.channels // blocks.channels) + b
    return panel * task.points * task.room.kernel_step


@kernel
def multiply_channels(task, chunk, k0, b, f):
    """Products at all points of a chunk and phase, of tap `k0` of the first axis and block `b` of the channels."""
    call, blocks, room = task.call, task.blocks, task.room
    lanes, first, c = lanes_of(part(task, 0, 0)), panel_of(task, chunk, k0, b, f), b * blocks.channels
    vectors, channels = -(-chunk.outputs // lanes), min(blocks.channels, call.channels - c)
    table = scratch_index(task.operands.workspace, room.table)
    table[0] = table[1] = 0
    for point in range(task.points):  # LOOP 1
        panel = part(task, room.kernels, first + point * room.kernel_step)
        kernels = Kernels(panel, vectors * lanes, vectors, channels, 1, 0)
        multiply_point(task, point, k0, c, Taps(table, 1, channels), kernels, b + k0 > 0)


@kernel
def finish_chunk(task, chunk, f, is_kept):
    """Outputs of a chunk and phase from its products, or from direct sums where tiles are uneven."""
    lanes, limits, number = lanes_of(part(task, 0, 0)), part(task, task.room.limits, 0), number_of(task, chunk, f)
    vectors = -(-chunk.outputs // lanes)
    if not is_kept:
        limits[2 * number], limits[2 * number + 1] = measure_kernels(task, chunk.outputs)
    if mark_tiles(task, limits[2 * number], limits[2 * number + 1]):
        sum_directly(task, chunk, vectors)
    store_chunk(task, chunk, vectors)


@inlined
def multiply_point(task, point, k0, c, taps, kernels, accumulate):
    """Products at a point, with the kernels of some channels from `c` on and of tap `k0` of the first axis."""
    room, width, p1, p2 = task.room, kernels.width, *divmod(point, task.blocks.points2)
    values, products = part(task, room.values, 0), part(task, room.products, 0)
    # Half tiles are left out where they have nothing: runs end before them.
    last1, last2 = task.blocks.points1 - 1, task.blocks.points2 - 1
    rows = task.rows - task.half1 * (last1 - 2 <= p1 < last1)
    columns = task.columns - task.half2 * (last2 - 2 <= p2 < last2)
    run, step = rows * columns, task.rows * task.columns
    if run == step:
        run = step = task.tiles
    elif columns < task.columns:
        run, step = columns, task.columns
    for p in range(task.planes):
        first = point * room.value_step + ((p + k0) * task.call.channels + c) * task.tiles
        to = point * room.product_step + p * task.tiles * width
        for i in range(0, task.tiles if run > 0 else 0, step):
            if i // task.columns % task.rows < rows:
                target = Target(products, to + i * width, width)
                multiply_run(Inputs(values, first + i, task.tiles), run, taps, kernels, target, accumulate)


@kernel
def multiply_run(inputs, count, taps, kernels, target, accumulate):
    """The sums of `count` neighbouring windows, in tiles of about the same size."""
    start, to = inputs.start, target.start
    weights = Weights(kernels.elements, 0, 1, kernels.taps * kernels.width)
    while count > 0:
        positions = tile_positions(count)
        channel_tile(
            positions, kernels.vectors, Inputs(inputs.elements, start, inputs.channel), 1, taps,
            weights, Target(target.elements, to, target.row), accumulate,
        )  # fmt: skip
        start += positions
        to += positions * target.row
        count -= positions


@kernel
def pack_taps(task, chunk, v, vectors, c, channels, k0, planes):
    """Pack the kernels of some vectors of output channels of a chunk and some input channels, of all phases.

    Of the first axis they have so many taps from `k0` on, in the order of memory.
    """
    w, (a0, a1, a2), lanes = task.operands.w, task.axes, lanes_of(part(task, 0, 0))
    width, o = vectors * lanes, v * lanes
    some = OutputBlock(
        chunk.group, chunk.o + o, min(width, chunk.outputs - o), chunk.n, chunk.images,
        chunk.p0, chunk.p1, chunk.rows, chunk.p2, chunk.columns,
    )  # fmt: skip
    kernels = Kernels(
        part(task, task.room.taps, 0), width, vectors, channels, planes * a1.kernel * task.row_taps, 0
    )  # fmt: skip
    axes = with_kernel(a0, planes), a1, with_kernel(a2, task.row_taps)
    pack_kernels(Operand(part_of(w.array, k0 * w.strides.s0), w.strides), task.call, axes, some, c, kernels)
    return kernels


class PackedTaps(NamedTuple):
    """Where the first tap of a window's plane lies in a packed one, and how far it is to the next of each axis."""

    first: int
    step1: int
    step2: int


@inlined
def packed_taps(task):
    """Those of the phase of a task."""
    (_, a1, a2), row, place = task.axes, task.row_taps, task.place
    if not task.call.flip:
        return PackedTaps(place.tap, row, place.tap_step)
    return PackedTaps((a1.kernel - 1) * row + place.tap + (a2.kernel - 1) * place.tap_step, -row, -place.tap_step)


@inlined
def plane_of(task, k0):
    """Where tap `k0` of the first axis lies in memory."""
    return task.axes[0].kernel - 1 - k0 if task.call.flip else k0


@kernel
def transform_panels(task, chunk, k0, b, numbers):
    """Take the kernels of a chunk, of tap `k0` of the first axis and block `b` of the input channels, to the points.

    So few are packed at a time that their taps stay in L1, from where all phases have theirs.
    """
    blocks, lanes, c = task.blocks, lanes_of(part(task, 0, 0)), b * task.blocks.channels
    vectors, channels = -(-chunk.outputs // lanes), min(blocks.channels, task.call.channels - c)
    some = vectors if task.axes[1].kernel * task.row_taps <= _PACKED_TAPS else 1
    for i in range(0, channels, PACKED):
        for v in range(0, vectors, some):
            kernels = pack_taps(task, chunk, v, some, c + i, min(PACKED, channels - i), plane_of(task, k0), 1)
            for f in range(blocks.phases):
                for u in range(some):
                    to = panel_of(task, chunk, k0, b, f) + (i * vectors + v + u) * lanes
                    transform_vector(place_task(task, f, numbers), kernels, k0, v, u, to, vectors * lanes, c + i == 0)


@kernel
def transform_vector(task, kernels, k0, v, u, to, width, is_first):
    """Take vector `u` of some packed kernels, `v` of which are before them, to the points, and weigh it."""
    (a0, a1, a2), room, places, lanes = task.axes, task.room, packed_taps(task), lanes_of(part(task, 0, 0))
    source = part(task, room.taps, places.first * kernels.width + u * lanes)
    step1, step2, channel = places.step1 * kernels.width, places.step2 * kernels.width, kernels.taps * kernels.width
    rows = a1.kernel * a2.kernel + 2
    weights = part(task, room.tap_weights, ((v + u) * a0.kernel + k0) * rows * lanes)
    for e in range(rows * lanes if is_first else 0):
        weights[e] = zero(task.operands.out.array)
    target = part(task, room.kernels, to)
    transform_kernels(
        a1.kernel, a2.kernel, source, step1, step2, kernels.channels, channel, target, room.kernel_step, width
    )
    weigh_kernels(a1.kernel, a2.kernel, source, step1, step2, kernels.channels, channel, weights)


@kernel
def transform_block(task, block):
    """Pack the inputs of a block, channel by channel, and take them to the points."""
    call, blocks, room, columns, xs = task.call, task.blocks, task.room, task.columns, task.operands.x.strides
    a0, a1, a2 = task.axes
    tiles, rows = task.rows * columns, count_weights(blocks)
    phases, weights = part(task, 0, 0), part(task, room.weights, 0)
    slots = task.planes + a0.kernel - 1
    for e in range(slots * rows * room.weight_step):
        weights[e] = zero(task.operands.out.array)
    for slot in range(slots):
        i0 = source_index(block.p0 + slot - a0.before, a0.size, a0.boundary)
        for c in range(call.channels):
            for n in range(block.images):
                image = image_of(task, block, n)
                base = image.n * xs.batch + (block.group * call.channels + c) * xs.channel + i0 * xs.s0
                pack_channel(task, image, base, i0 >= 0)
                if task.half1 + task.half2 > 0:
                    halve_tiles(task)
                first = (slot * call.channels + c) * task.tiles + n * tiles
                target = part(task, room.values, first)
                weights = part(task, room.weights, slot * rows * room.weight_step + n * tiles)
                transform_inputs(
                    a1.kernel, a2.kernel, phases, PHASE, columns, tiles, target, room.value_step, weights,
                    room.weight_step,
                )  # fmt: skip


@inlined
def pack_channel(task, image, base, is_inside):
    """Pack an image's inputs of a block by phases; the first element of their plane lies at `base`, if it has any."""
    x, xs, blocks, columns = task.operands.x.array, task.operands.x.strides, task.blocks, task.columns
    _, a1, a2 = task.axes
    size1, size2, padding = blocks.size1, blocks.size2, load(task.operands.fill, 0)
    first_row, start = image.first1 - a1.before, image.first2 - a2.before
    height, count = (task.rows - 1) * size1 + blocks.points1, (columns - 1) * size2 + blocks.points2
    left, right = columns_inside(start, count, with_stride(a2, a2.dilation))
    top, bottom = columns_inside(first_row, height, with_stride(a1, a1.dilation))
    step1, step2 = a1.dilation * xs.s1, a2.dilation * xs.s2
    phases, line, row = part(task, 0, 0), part(task, task.room.line, 0), 0
    while row < height:
        i1, run = source_index(first_row + row * a1.dilation, a1.size, a1.boundary), 1
        if top <= row < bottom:
            run = bottom - row
        elif a1.boundary == CONSTANT:
            run = top - row if row < top else height - row
        is_real, at = is_inside and i1 >= 0, base + i1 * xs.s1 + start * xs.s2
        begin, end = left if is_real else 0, right if is_real else 0
        if step2 == 1 and (not is_real or a2.boundary == CONSTANT or right - left == count):
            rows = Rows(phases, size1, a2.kernel, row, run, columns)
            pack_rows(rows, x, at, step1, xs.channel, begin, end, padding)
        else:
            for r in range(run):
                first = at + r * step1
                read_line(line, x, first, step2, count, begin, end, padding)
                for j in range(count if is_real and a2.boundary != CONSTANT else 0):
                    if j < left or j >= right:
                        i2 = source_index(start + j * a2.dilation, a2.size, a2.boundary)
                        line[j] = load(x, first + (i2 - start) * xs.s2)
                pack_rows(Rows(phases, size1, a2.kernel, row + r, 1, columns), line, 0, 0, 0, 0, count, padding)
        row += run


@kernel
def halve_tiles(task):
    """Change the last inputs of half tiles, packed by phases, so that nothing is left of them at the larger points."""
    phases, columns, size1 = part(task, 0, 0), task.columns, task.blocks.size1
    inputs1, inputs2 = task.blocks.points1, task.blocks.points2
    if task.half1:
        row, last, e = inputs2 * PHASE, (task.rows - 1) * columns, inputs1 - 5
        second = last + columns
        for j2 in range(inputs2):
            at = j2 * PHASE
            places = at + e * row + last, at + (e + 1) * row + last, at + (e + 2) * row + last
            fourth = at + (3 * row + last if e == 0 else second)
            halve(phases, (*places, fourth, at + e * row + second), columns, inputs1)
    if task.half2:
        for r in range((task.rows - 1) * size1 + inputs1):
            at = (r % size1 * inputs2 + inputs2 - 5) * PHASE + (r // size1 + 1) * columns - 1
            halve(phases, (at, at + PHASE, at + 2 * PHASE, at + 3 * PHASE, at + 4 * PHASE), 1, inputs2)


@inlined
def halve(phases, places, count, inputs):
    """Change the inputs of some half tiles; where the last five of each lie."""
    kind, (d1, d2, d3, d4, d5) = type(phases[0]), places
    square, fourth = kind(_A3**2), kind(_A3**4 - _A3**2)
    if inputs == 5:
        square, fourth = kind(_A2**2), kind(_A2**4 - _A2**2)
    for i in range(count):
        phases[d5 + i] = phases[d3 + i] + fourth * phases[d1 + i]
        phases[d3 + i], phases[d4 + i] = square * phases[d1 + i], square * phases[d2 + i]


class Rows(NamedTuple):
    """Rows of a channel, to be packed by phases: those from number `row` on."""

    phases: Any
    size1: int
    taps2: int
    row: int
    rows: int
    columns: int  # of tiles


@kernel
def pack_rows(rows, x, start, step, ahead, left, right, padding):
    """`pack_phases`, called with little: who has a block's task at hand would hand all of it on."""
    pack_phases(
        rows.size1, rows.taps2, rows.phases, PHASE, rows.columns, x, start, step, ahead, rows.row, rows.rows,
        rows.columns, left, right, padding,
    )  # fmt: skip


@kernel
def read_line(line, x, start, step, count, left, right, padding):
    """A row of elements that do not lie side by side, or have more than zeros around them."""
    if step == 1:
        pack_run(line, 0, x, start, count, 1, left, right, padding)
    elif step == 2:
        pack_run(line, 0, x, start, count, 2, left, right, padding)
    else:
        for j in range(count):
            line[j] = load(x, start + j * step) if left <= j < right else padding


@kernel
def sum_directly(task, chunk, vectors):
    """Sums of the tiles that are marked: the first of a tile's products become its outputs."""
    operands, call, blocks, room, taps = task.operands, task.call, task.blocks, task.room, task.taps
    a0, a1, a2 = task.axes
    marks, lanes = scratch_index(operands.workspace, room.marks), lanes_of(part(task, 0, 0))
    width, inputs1, inputs2 = vectors * lanes, blocks.points1, blocks.points2
    table, places = scratch_index(operands.workspace, room.table), packed_taps(task)
    for t in range(taps):
        k0, rest = divmod(t, a1.kernel * a2.kernel)
        k1, k2 = divmod(rest, a2.kernel)
        plane = plane_of(task, k0) * a1.kernel * task.row_taps
        table[2 * t] = (k0 * inputs1 + k1) * inputs2 + k2
        table[2 * t + 1] = (plane + places.first + k1 * places.step1 + k2 * places.step2) * width
    patch, products = part(task, room.patch, 0), part(task, room.products, 0)
    for c in range(0, call.channels, PACKED):
        channels = min(PACKED, call.channels - c)
        kernels = pack_taps(task, chunk, 0, vectors, c, channels, 0, a0.kernel)
        for i in range(task.planes * task.tiles):
            if marks[i] == 0:
                continue
            pack_patch(task, chunk, i, c, channels)
            for row in range(blocks.size1):
                inputs = Inputs(patch, row * inputs2, a0.kernel * inputs1 * inputs2)
                to = row * blocks.size2 * room.product_step + i * width
                target = Target(products, to, room.product_step)
                multiply_run(inputs, blocks.size2, Taps(table, taps, channels), kernels, target, c > 0)


@kernel
def pack_patch(task, chunk, i, c, channels):
    """The inputs of tile `i`, as `[channel][plane][row][column]`."""
    x, xs, blocks = task.operands.x.array, task.operands.x.strides, task.blocks
    a0, a1, a2 = task.axes
    padding, patch, at = load(task.operands.fill, 0), part(task, task.room.patch, 0), 0
    p, rest = divmod(i, task.tiles)
    n, rest = divmod(rest, task.rows * task.columns)
    r, j = divmod(rest, task.columns)
    image = image_of(task, chunk, n)
    p0 = chunk.p0 + p - a0.before
    p1 = image.first1 + r * blocks.size1 * a1.dilation - a1.before
    p2 = image.first2 + j * blocks.size2 * a2.dilation - a2.before
    start = image.n * xs.batch + (chunk.group * task.call.channels + c) * xs.channel
    for channel in range(channels):
        for k0 in range(a0.kernel):
            i0 = source_index(p0 + k0, a0.size, a0.boundary)
            for k1 in range(blocks.points1):
                i1 = source_index(p1 + k1 * a1.dilation, a1.size, a1.boundary)
                for k2 in range(blocks.points2):
                    i2 = source_index(p2 + k2 * a2.dilation, a2.size, a2.boundary)
                    is_real = i0 >= 0 and i1 >= 0 and i2 >= 0
                    where = start + channel * xs.channel + i0 * xs.s0 + i1 * xs.s1 + i2 * xs.s2
                    patch[at] = load(x, where) if is_real else padding
                    at += 1


@kernel
def store_chunk(task, chunk, vectors):
    """Products of a chunk to outputs, a row of tiles at a time, which are finished and stored."""
    room, size1, size2 = task.room, task.blocks.size1, task.blocks.size2
    _, a1, a2 = task.axes
    sums, added = part(task, room.sums, 0), part(task, room.added, 0)
    marks = scratch_index(task.operands.workspace, room.marks)
    width, step, i = vectors * lanes_of(sums), room.product_step, 0
    for p in range(task.planes):
        for n in range(chunk.images):
            image = image_of(task, chunk, n)
            row = image.columns * width
            for r in range(task.rows):
                for j in range(task.columns):
                    products, target = part(task, room.products, i * width), part(task, room.sums, j * size2 * width)
                    columns, is_marked = image.columns - j * size2, marks[i] != 0
                    i += 1
                    if columns < 1:
                        continue
                    is_half1, is_half2 = r + task.half1 == task.rows, j + task.half2 == task.columns
                    if not is_marked:
                        complete_products(task, i - 1, width, is_half1, is_half2)
                    if is_marked:
                        copy_outputs(task, products, target, row, width, min(columns, size2))
                    else:
                        transform_outputs(a1.kernel, a2.kernel, products, step, vectors, target, row, width, columns)
                rows = min(size1, image.rows - r * size1)
                if rows > 0 and image.columns > 0:
                    store_rows(task, chunk, image, chunk.p0 + p, r * size1, rows, Sums(sums, 0, width), added)


@kernel
def complete_products(task, i, width, is_half1, is_half2):
    """Give tile `i` what it lacks at the larger points: then what it has at infinity comes to the second output."""
    step, products = task.room.product_step, part(task, task.room.products, i * width)
    points1, points2 = task.blocks.points1, task.blocks.points2
    for p in range(points2 if is_half1 else 0):
        complete(products, p * step, points2 * step, width, points1)
    for p in range(points1 if is_half2 else 0):
        complete(products, p * points2 * step, step, width, points2)


@inlined
def complete(products, at, step, width, points):
    """The products of a row or column of points."""
    kind, last = type(products[0]), at + (points - 1) * step
    part_of_it = kind(0.5 / _B3) if points == 6 else kind(0.5 / _B2)
    for o in range(width):
        value = products[last + o] * part_of_it
        products[last - 2 * step + o], products[last - step + o] = value, -value


@inlined
def store_rows(task, chunk, image, p0, row, rows, sums, added):
    """Finish and store some rows of outputs of an image, the first of which has the number `row` in the block."""
    operands, outs = task.operands, task.operands.out.strides
    _, a1, a2 = task.axes
    steps = Strides(outs.batch, outs.channel, outs.s0, a1.dilation * outs.s1, a2.dilation * outs.s2)
    first = (image.first1 + row * a1.dilation) * outs.s1 + image.first2 * outs.s2
    out = Operand(part_of(operands.out.array, first), steps)
    moved = Operands(operands.x, operands.w, operands.bias, out, operands.fill, operands.workspace)
    done = OutputBlock(
        chunk.group, chunk.o, chunk.outputs, image.n, 1, p0, 0, rows, 0, image.columns
    )  # fmt: skip
    store_block(moved, task.call, done, sums, added, 1)


@kernel
def copy_outputs(task, products, target, row, width, columns):
    """What `sum_directly` left, as `transform_outputs` would write it."""
    for i1 in range(task.blocks.size1):
        for i2 in range(columns):
            for o in range(width):
                value = products[(i1 * task.blocks.size2 + i2) * task.room.product_step + o]
                target[i1 * row + i2 * width + o] = value
