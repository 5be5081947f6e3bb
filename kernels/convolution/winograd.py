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

The error of a tile grows with all of its inputs, that of a direct sum with those of its window. Hence a guard where
the algorithm is not asked for by name. If rounding errors are independent, as in Higham and Mary, "A new approach to
probabilistic rounding error analysis" (2019), inputs that outweigh a window by D change its output by the order of u
D |w|, where the direct sum's bound is n u |w|, with the weights of the window and of a kernel's taps on average and n
terms of a sum: the ratio is of the order of D / n. So tiles are summed directly

- that weigh more than `n / SPREAD` times the lightest of their windows, summed over the channels, times how much a
  kernel outweighs the lightest of its taps, summed likewise;
- where averages do not hold, for too few inputs make up a window: it weighs less than `FEW_INPUTS` times the largest
  input of the tile, or so little that the taps which its inputs meet may come to less than the largest; or twice as
  many times the largest as a kernel has tiny taps, which are all that the inputs might meet.

Measured on spikes, edges, ramps, gains, sparse data and uneven kernels of 8 to 256 channels, errors of what is left
are at most a tenth of four direct bounds; without the guard they are a hundred of them. What is not finite, or so
large or small that products could overflow or lose digits, counts as uneven, whoever asks. So a value that is not
finite reaches the outputs of its windows only, and zeros give zeros.

A sum adds its terms channel by channel, whatever the blocks, and the guard looks at single tiles, at chunks of output
channels and at as many input channels as are packed at a time, which depend on their numbers alone: threads and batch
size change no bit.
"""

from typing import Any, NamedTuple

import numpy as np

from ..jit import entry, inlined, kernel, plain
from ..shapes import AUTO, CALL_FIELDS, CONSTANT, PLAN, alike, axis_of, even_part, pack_numbers, words_of
from ..simd.packing import pack_run
from ..simd.tiles import Inputs, Taps, Target
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..simd.winograd import (
    POINTS,
    measure_tiles,
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
from .dense import VECTORS, Kernels, Sums, multiply_run, pack_kernels, store_block, with_kernel, with_stride
from .operands import Operand, Operands, OutputBlock
from .pack import columns_inside

WORKSPACE_BYTES = 4 << 20
SPREAD = 4
FEW_INPUTS, FEW_TAPS = 6, 12  # of the largest one's size that a window, and a kernel, at least weigh
_TILES = 128  # of a block
_COLUMNS = 64  # of tiles, where they have more rows than one
_FEW_COLUMNS = 8  # which are not worth splitting
_CHANNELS = 128  # of a block of kernels
_PACKED = 16  # of them that are packed, and weighed, at a time
_PACKED_TAPS = 9  # of a kernel: those of so many channels, by a chunk of outputs, stay in L1
_PANELS_BYTES = 3 << 19  # of a block of kernels, for all phases that run together
_FEWEST_CHANNELS = 32  # to have an image in one block, which then takes its kernels to the points but once
_KEPT_BYTES = 5 << 18  # kernels of a group that are kept: they stay in L3, each point's in L2 while it is used
_VALUES_BYTES = 5 << 17  # inputs at the points, beside kept kernels: in L2
_FEW_TILES = 256  # for which it is not worth it
_CHUNKS = 256  # of output channels whose kernels are kept
_PLANES = 7  # of a kernel
_TAPS = 9 * _PLANES
_MOST_DILATION = 8
_MOST_CHANNELS = 1 << 13  # bytes of a plane's channels at a point
_LEAST_TERMS = 216  # of sums: with fewer, the guard finds most tiles uneven where many inputs are zeros
_LEAST_OF_PAIRS = 96  # the same of kernels of two taps
_LINE = 64
_PHASE = 512 + 16  # elements of a phase of a channel, an odd number of cache lines
_WIDTH_BYTES = VECTORS * VECTOR_BYTES  # a chunk of output channels
(_A3, _B3), (_A2, _B2) = POINTS[3], POINTS[2]
OTHER_KERNEL, STEPS, LARGE_TILE, FEW_TERMS = range(1, 5)  # why a call is refused


class WinogradBlocks(NamedTuple):
    """How far each loop runs at a time, and the outputs of a tile along the last two axes."""

    size1: int
    size2: int
    points1: int  # and inputs of a tile
    points2: int
    channels: int
    images: int
    planes: int  # of outputs
    rows: int  # of tiles
    columns: int
    keeps: int  # whether the workspace holds all kernels of a group
    phases: int  # of a transposed last axis that are made together; else 1


class Room(NamedTuple):
    """Where each part of the workspace begins, in bytes, and steps between what lies in some of them, in elements."""

    sums: int
    added: int
    line: int
    table: int
    limits: int
    measures: int
    marks: int
    weights: int
    patch: int
    taps: int
    tap_weights: int
    kernels: int
    products: int
    values: int
    end: int
    measure_step: int
    weight_step: int
    kernel_step: int
    product_step: int
    value_step: int


class Plan(NamedTuple):
    """Blocks, and room for them; how the phases of a transposed last axis lie in its arrays. `Place`s follow."""

    blocks: WinogradBlocks
    room: Room
    begin: int  # of the input
    taps: int  # of a row of the kernel, those of all phases


class Place(NamedTuple):
    """Where a phase lies along the last axis."""

    tap: int  # its first one of the kernel
    tap_step: int
    first: int  # of its outputs
    step: int


_PLACES = PLAN + words_of(Plan)
_PLACE_WORDS = words_of(Place)


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: one of the four above; 0: they should not."""
    a0, a1, a2 = axes
    if min(a1.kernel, a2.kernel) < 1 or not 2 <= max(a1.kernel, a2.kernel) <= 3:
        return OTHER_KERNEL
    if a0.kernel > _PLANES or call.channels == 0:
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
    work = tiles * (products + WINOGRAD_COSTS.input * inputs + WINOGRAD_COSTS.output * outputs)
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


@plain
def size_of(taps):
    """Outputs of a tile along an axis."""
    return 4 if taps > 1 else 1


@plain
def outputs_of(axis):
    """Outputs along an axis of an image: one of as many as the dilation, which share no inputs. At least 1."""
    return max(-(-axis.out // axis.dilation), 1)


@plain
def has_half(axis):
    """Whether the last tile along an axis is one half, of 2 outputs at most: 1 or 0."""
    return int(axis.kernel > 1 and 0 < outputs_of(axis) % 4 <= 2)


@plain
def count_weighed(points):
    """How many of a tile's inputs along an axis are weighed one by one: the centre of 6, else all."""
    return 4 if points == 6 else points


@plain
def count_weights(blocks):
    """Rows that weights of tiles take: with the sum of all, and the largest."""
    return count_weighed(blocks.points1) * count_weighed(blocks.points2) + 2


@plain
def count_images(call, a1, a2):
    """Images of the batch, times those that dilations split each one into. At least 1."""
    return max(call.batch * a1.dilation * a2.dilation, 1)


@plain
def odd_lines(elements, itemsize):
    """So many elements, or more, that fill an odd number of cache lines: steps of them share few places in L1."""
    line = _LINE // itemsize
    return (-(-elements // line) | 1) * line


@plain
def find_room(call, a0, a1, a2, blocks, row_taps, itemsize):
    """The parts of the workspace, where rows of a kernel have so many taps.

    Full vectors are written: behind the last element there is room for one.
    """
    lanes, width = VECTOR_BYTES // itemsize, _WIDTH_BYTES // itemsize
    inputs2 = blocks.points2
    points, taps = blocks.points1 * inputs2, a0.kernel * a1.kernel * a2.kernel
    tiles, slots = blocks.images * blocks.rows * blocks.columns, blocks.planes + a0.kernel - 1
    measure_step = odd_lines(tiles * blocks.planes + lanes, itemsize)
    weight_step = odd_lines(tiles + lanes, itemsize)
    kernel_step = odd_lines(blocks.channels * width, itemsize)
    product_step = odd_lines(tiles * blocks.planes * width, itemsize)
    value_step = odd_lines(slots * call.channels * tiles + lanes, itemsize)
    panels = blocks.phases
    if blocks.keeps:
        panels *= a0.kernel * -(-call.outputs // width) * -(-call.channels // blocks.channels)
    sums = blocks.size1 * inputs2 * _PHASE * itemsize
    added = sums + blocks.size1 * blocks.columns * blocks.size2 * _WIDTH_BYTES
    line = added + VECTOR_BYTES
    table = line + odd_lines((blocks.columns - 1) * blocks.size2 + inputs2 + lanes, itemsize) * itemsize
    limits = table + 16 * (_TAPS + 1)
    measures = limits + 2 * _CHUNKS * itemsize
    marks = measures + 3 * measure_step * itemsize
    weights = marks + 8 * odd_lines(tiles * blocks.planes, 8)
    patch = weights + slots * count_weights(blocks) * weight_step * itemsize
    packed = min(call.channels, _PACKED)
    taps_at = patch + odd_lines(packed * a0.kernel * points, itemsize) * itemsize
    tap_weights = taps_at + packed * a0.kernel * a1.kernel * row_taps * _WIDTH_BYTES
    kernels = tap_weights + blocks.phases * bytes_of_weights(a0, taps)
    products = kernels + panels * points * kernel_step * itemsize
    values = products + blocks.phases * points * product_step * itemsize
    end = values + points * value_step * itemsize
    return Room(
        sums, added, line, table, limits, measures, marks, weights, patch, taps_at, tap_weights, kernels, products,
        values, end, measure_step, weight_step, kernel_step, product_step, value_step,
    )  # fmt: skip


@plain
def bytes_of_weights(a0, taps):
    """What `weigh_kernels` says of a chunk: for each tap, and twice for each tap of the first axis."""
    return (taps + 2 * a0.kernel) * _WIDTH_BYTES


@plain
def choose_blocks(call, a0, a1, a2, phases, row_taps, itemsize):
    """The largest blocks that fit: whole rows of tiles, then images, or planes where they share inputs."""
    size1, size2 = size_of(a1.kernel), size_of(a2.kernel)
    points1, points2, width = size1 + a1.kernel - 1, size2 + a2.kernel - 1, _WIDTH_BYTES // itemsize
    points = points1 * points2
    batch, chunks = count_images(call, a1, a2), -(-call.outputs // width)
    tiles1, tiles2 = -(-outputs_of(a1) // size1), -(-outputs_of(a2) // size2)
    kept = float(points * a0.kernel * call.channels) * chunks * phases * _WIDTH_BYTES
    tiles = float(batch) * float(a0.out) * float(tiles1) * float(tiles2)
    keeps = int(kept <= _KEPT_BYTES and chunks * phases <= _CHUNKS and tiles > _FEW_TILES)
    channels = _PANELS_BYTES // (phases * points * _WIDTH_BYTES) // _PACKED * _PACKED
    channels = most_channels = min(call.channels, _CHANNELS, max(channels, _PACKED))
    most = _TILES
    if keeps:
        most = max(min(most, _VALUES_BYTES // (points * call.channels * itemsize)), 1)
    while True:
        columns = even_part(tiles2, most if tiles1 == 1 else min(most, _COLUMNS))
        rows = even_part(tiles1, max(most // columns, 1))
        images = planes = 1
        if rows == tiles1 and columns == tiles2:
            if a0.kernel > 1:
                planes = even_part(max(a0.out, 1), max(most // (rows * columns) - a0.kernel + 1, 1))
            else:
                images = even_part(batch, max(most // (rows * columns), 1))
        blocks = WinogradBlocks(size1, size2, points1, points2, channels, images, planes, rows, columns, keeps, phases)
        if most == 1 or find_room(call, a0, a1, a2, blocks, row_taps, itemsize).end <= WORKSPACE_BYTES:
            return blocks
        if not keeps and rows == tiles1 and columns == tiles2 and channels > _FEWEST_CHANNELS:
            channels = (channels - 1) // _PACKED * _PACKED  # the same ones are weighed together, whatever the blocks
        else:
            channels, most = most_channels, most * 7 // 8


# ---- kernels


class Task(NamedTuple):
    """What a block's work has in common."""

    operands: Operands
    call: Any
    axes: Any
    blocks: WinogradBlocks
    room: Room
    planes: int  # of outputs, `block.images` images of each
    rows: int  # of tiles of a plane
    columns: int
    half1: int  # whether the last row of tiles has half of the outputs
    half2: int  # the last column
    tiles: int  # of the images
    points: int
    taps: int
    row_taps: int  # of the kernel, those of all phases
    place: Place


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


@inlined
def split_blocks(call, a0, a1, a2, blocks, chunks, threads):
    """The blocks, or less of images, rows or columns where they and chunks of outputs are fewer than threads."""
    batch = count_images(call, a1, a2)
    while True:
        images, rows, columns = blocks.images, blocks.rows, blocks.columns
        slabs = -(-a0.out // blocks.planes) * -(-outputs_of(a1) // (rows * blocks.size1))
        slabs *= -(-outputs_of(a2) // (columns * blocks.size2)) * -(-batch // images)
        if slabs * call.groups * min(chunks, threads) >= threads:
            return blocks
        if images > 1:
            images = (images + 1) // 2
        elif rows > 1:
            rows = (rows + 1) // 2
        elif columns > _FEW_COLUMNS:
            columns = (columns + 1) // 2
        else:
            return blocks
        blocks = WinogradBlocks(
            blocks.size1, blocks.size2, blocks.points1, blocks.points2, blocks.channels, images, blocks.planes, rows,
            columns, blocks.keeps, blocks.phases,
        )  # fmt: skip


@inlined
def part(task, offset, i):
    """Element `i` of a part of the workspace that begins at a byte."""
    out = task.operands.out.array
    return scratch(task.operands.workspace, offset + i * compute_size(out), out)


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
                multiply_run(Inputs(values, first + i, task.tiles), 1, run, taps, kernels, target, accumulate)


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
    for i in range(0, channels, _PACKED):
        for v in range(0, vectors, some):
            kernels = pack_taps(task, chunk, v, some, c + i, min(_PACKED, channels - i), plane_of(task, k0), 1)
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
                    a1.kernel, a2.kernel, phases, _PHASE, columns, tiles, target, room.value_step, weights,
                    room.weight_step,
                )  # fmt: skip


class Image(NamedTuple):
    """An image that dilations split another one into: its first output in a block, in the other's, and how many."""

    n: int
    first1: int
    first2: int
    rows: int
    columns: int


@kernel
def image_of(task, block, i):
    """Image `i` of a block."""
    _, a1, a2 = task.axes
    n, rest = divmod(block.n + i, a1.dilation * a2.dilation)
    phase1, phase2 = divmod(rest, a2.dilation)
    rows = min(-(-(a1.out - phase1) // a1.dilation) - block.p1, block.rows)
    columns = min(-(-(a2.out - phase2) // a2.dilation) - block.p2, block.columns)
    return Image(n, block.p1 * a1.dilation + phase1, block.p2 * a2.dilation + phase2, rows, columns)


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
        row, last, e = inputs2 * _PHASE, (task.rows - 1) * columns, inputs1 - 5
        second = last + columns
        for j2 in range(inputs2):
            at = j2 * _PHASE
            places = at + e * row + last, at + (e + 1) * row + last, at + (e + 2) * row + last
            fourth = at + (3 * row + last if e == 0 else second)
            halve(phases, (*places, fourth, at + e * row + second), columns, inputs1)
    if task.half2:
        for r in range((task.rows - 1) * size1 + inputs1):
            at = (r % size1 * inputs2 + inputs2 - 5) * _PHASE + (r // size1 + 1) * columns - 1
            halve(phases, (at, at + _PHASE, at + 2 * _PHASE, at + 3 * _PHASE, at + 4 * _PHASE), 1, inputs2)


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
        rows.size1, rows.taps2, rows.phases, _PHASE, rows.columns, x, start, step, ahead, rows.row, rows.rows,
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
def measure_block(task, block):
    """Of each tile of a block, by how much it outweighs the lightest of its windows, and its largest input does."""
    blocks, room = task.blocks, task.room
    a0, a1, a2 = task.axes
    size1, size2, step, to = blocks.size1, blocks.size2, room.weight_step, room.measure_step
    slot = count_weights(blocks) * step
    low, high = weight_range(part(task, 0, 0))
    for p in range(task.planes):
        measures, weights = part(task, room.measures, p * task.tiles), part(task, room.weights, p * slot)
        measure_tiles(a1.kernel, a2.kernel, weights, step, a0.kernel, slot, task.tiles, measures, to)
        for i in range(task.tiles):
            r, j = divmod(i % (task.rows * task.columns), task.columns)
            image = image_of(task, block, i // (task.rows * task.columns))
            windows1, windows2 = min(image.rows - r * size1, size1), min(image.columns - j * size2, size2)
            total, largest, lightest = measures[i], measures[to + i], measures[2 * to + i]
            if windows1 < size1 or windows2 < size2:
                lightest = lightest_window(task, weights, i, windows1, windows2)
            if windows1 < 1 or windows2 < 1:  # no outputs
                measures[i], measures[to + i] = low * 0, low * 0
            elif total != 0:  # also of a NaN
                is_safe = low <= total <= high and lightest > 0
                measures[i] = total / lightest if is_safe else high * high
                measures[to + i] = largest / lightest if is_safe else high * high


@kernel
def lightest_window(task, weights, i, windows1, windows2):
    """What `measure_tiles` says of tile `i`, where only the first windows of each axis are of outputs."""
    blocks, step = task.blocks, task.room.weight_step
    a0, a1, a2 = task.axes
    lightest, slot = weights[0] * 0 - 1, count_weights(blocks)
    rows1, rows2 = count_weighed(blocks.points1), count_weighed(blocks.points2)
    first1, first2 = int(blocks.points1 == 6), int(blocks.points2 == 6)
    # A half tile has no more than two of these inputs as they were.
    end1, end2 = 2 if task.half1 and windows1 <= 2 else rows1, 2 if task.half2 and windows2 <= 2 else rows2
    for i1 in range(windows1):
        for i2 in range(windows2):
            window = weights[0] * 0
            for k0 in range(a0.kernel):
                for c1 in range(max(i1 - first1, 0), min(i1 - first1 + a1.kernel, end1)):
                    for c2 in range(max(i2 - first2, 0), min(i2 - first2 + a2.kernel, end2)):
                        window += weights[(k0 * slot + c1 * rows2 + c2) * step + i]
            lightest = window if lightest < 0 or window < lightest else lightest
    return lightest


@kernel
def weight_range(numbers):
    """Sums of magnitudes whose products with each other neither overflow nor lose digits in a transform."""
    kind = type(numbers[0])
    if kind(2.0**100) * kind(2.0**100) > kind(2.0**127):
        return kind(2.0**-50), kind(2.0**56)
    return kind(2.0**-400), kind(2.0**400)


@kernel
def measure_kernels(task, outputs):
    """By how much a tile, and its largest input, may outweigh a window of it, for all kernels of a chunk."""
    lanes, taps, terms = lanes_of(part(task, 0, 0)), task.taps, task.call.channels * task.taps
    low, high = weight_range(part(task, 0, 0))
    kind, a0 = type(low), task.axes[0]
    rows = taps // a0.kernel + 2
    is_guarded = task.call.algorithm == AUTO
    most, most_of_one = high, high
    if is_guarded:
        most, most_of_one = kind(terms) / kind(SPREAD), 1 / kind(FEW_INPUTS)
    for i in range(outputs):
        weights = part(task, task.room.tap_weights, i // lanes * a0.kernel * rows * lanes + i % lanes)
        total, lightest, largest, tiny = weights[0] * 0, weights[0], weights[0] * 0, weights[0] * 0
        for k0 in range(a0.kernel):
            for t in range(rows - 2):
                total += weights[(k0 * rows + t) * lanes]
                lightest = min(lightest, weights[(k0 * rows + t) * lanes])
            largest = max(largest, weights[(k0 * rows + rows - 2) * lanes])
            tiny += weights[(k0 * rows + rows - 1) * lanes]
        if total != 0:  # also of a NaN
            is_safe = low <= total <= high and (FEW_TAPS * largest <= total or not is_guarded)
            # An input that meets but few of the taps: so many inputs meet one of them, at the least.
            if not is_safe:
                most, most_of_one = low * 0, low * 0
            elif is_guarded:
                most = min(most, kind(terms) / kind(SPREAD) * (taps * lightest / total))
                most_of_one = min(most_of_one, total / (kind(terms) * largest))
                if tiny > 0:  # half of a window at least meets other taps
                    most_of_one = min(most_of_one, 1 / (2 * tiny))
    return most, most_of_one


@kernel
def mark_tiles(task, most, most_of_one):
    """Mark the tiles that outweigh a window by more than `most`, or whose largest input does; whether there are any."""
    measures, marks = part(task, task.room.measures, 0), scratch_index(task.operands.workspace, task.room.marks)
    is_any = False
    for i in range(task.planes * task.tiles):
        is_even = measures[i] <= most and measures[task.room.measure_step + i] <= most_of_one
        marks[i] = 0 if is_even else 1
        is_any = is_any or not is_even
    return is_any


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
    for c in range(0, call.channels, _PACKED):
        channels = min(_PACKED, call.channels - c)
        kernels = pack_taps(task, chunk, 0, vectors, c, channels, 0, a0.kernel)
        for i in range(task.planes * task.tiles):
            if marks[i] == 0:
                continue
            pack_patch(task, chunk, i, c, channels)
            for row in range(blocks.size1):
                inputs = Inputs(patch, row * inputs2, a0.kernel * inputs1 * inputs2)
                to = row * blocks.size2 * room.product_step + i * width
                target = Target(products, to, room.product_step)
                multiply_run(inputs, 1, blocks.size2, Taps(table, taps, channels), kernels, target, c > 0)


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
    store_block(moved, task.call, done, sums, added)


@kernel
def copy_outputs(task, products, target, row, width, columns):
    """What `sum_directly` left, as `transform_outputs` would write it."""
    for i1 in range(task.blocks.size1):
        for i2 in range(columns):
            for o in range(width):
                value = products[(i1 * task.blocks.size2 + i2) * task.room.product_step + o]
                target[i1 * row + i2 * width + o] = value
