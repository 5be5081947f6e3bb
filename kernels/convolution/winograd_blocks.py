"""Blocks of Winograd's convolution: how far its loops run at a time, and where each part of the workspace begins."""

from typing import Any, NamedTuple

from ..jit import inlined, kernel, plain
from ..shapes import even_part
from ..simd.vectors import VECTOR_BYTES
from ..strided import compute_size, scratch
from .dense import VECTORS
from .operands import Operands

WORKSPACE_BYTES = 4 << 20
PACKED = 16  # input channels whose kernels are packed, and weighed, at a time
PHASE = 512 + 16  # elements of a phase of a channel, an odd number of cache lines
WIDTH_BYTES = VECTORS * VECTOR_BYTES  # a chunk of output channels
PLANES = 7  # of taps of a kernel
_LARGEST = 9 * PLANES  # taps of a kernel
_TILES = 128  # of a block
_COLUMNS = 64  # of tiles, where they have more rows than one
_FEW_COLUMNS = 8  # which are not worth splitting
_CHANNELS = 128  # of a block of kernels
_PANELS_BYTES = 3 << 19  # of a block of kernels, for all phases that run together
_FEWEST_CHANNELS = 32  # to have an image in one block, which then takes its kernels to the points but once
_KEPT_BYTES = 5 << 18  # kernels of a group that are kept: they stay in L3, each point's in L2 while it is used
_VALUES_BYTES = 5 << 17  # inputs at the points, beside kept kernels: in L2
_FEW_TILES = 256  # for which it is not worth it
_FEW_OUTPUTS = 10  # along an axis: rows of tiles are so short that leaving half ones out costs more
_CHUNKS = 256  # of output channels whose kernels are kept
_LINE = 64


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
    """Whether the last tile along an axis is one half, of 2 outputs at most: 1 or 0. Of few tiles, none is."""
    return int(axis.kernel > 1 and outputs_of(axis) > _FEW_OUTPUTS and 0 < outputs_of(axis) % 4 <= 2)


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
    lanes, width = VECTOR_BYTES // itemsize, WIDTH_BYTES // itemsize
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
    sums = blocks.size1 * inputs2 * PHASE * itemsize
    added = sums + blocks.size1 * blocks.columns * blocks.size2 * WIDTH_BYTES
    line = added + VECTOR_BYTES
    table = line + odd_lines((blocks.columns - 1) * blocks.size2 + inputs2 + lanes, itemsize) * itemsize
    limits = table + 16 * (_LARGEST + 1)
    measures = limits + 2 * _CHUNKS * itemsize
    marks = measures + 3 * measure_step * itemsize
    weights = marks + 8 * odd_lines(tiles * blocks.planes, 8)
    patch = weights + slots * count_weights(blocks) * weight_step * itemsize
    packed = min(call.channels, PACKED)
    taps_at = patch + odd_lines(packed * a0.kernel * points, itemsize) * itemsize
    tap_weights = taps_at + packed * a0.kernel * a1.kernel * row_taps * WIDTH_BYTES
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
    return (taps + 2 * a0.kernel) * WIDTH_BYTES


@plain
def choose_blocks(call, a0, a1, a2, phases, row_taps, itemsize):
    """The largest blocks that fit: whole rows of tiles, then images, or planes where they share inputs."""
    size1, size2 = size_of(a1.kernel), size_of(a2.kernel)
    points1, points2, width = size1 + a1.kernel - 1, size2 + a2.kernel - 1, WIDTH_BYTES // itemsize
    points = points1 * points2
    batch, chunks = count_images(call, a1, a2), -(-call.outputs // width)
    tiles1, tiles2 = -(-outputs_of(a1) // size1), -(-outputs_of(a2) // size2)
    kept = float(points * a0.kernel * call.channels) * chunks * phases * WIDTH_BYTES
    tiles = float(batch) * float(a0.out) * float(tiles1) * float(tiles2)
    keeps = int(kept <= _KEPT_BYTES and chunks * phases <= _CHUNKS and tiles > _FEW_TILES)
    channels = _PANELS_BYTES // (phases * points * WIDTH_BYTES) // PACKED * PACKED
    channels = most_channels = min(call.channels, _CHANNELS, max(channels, PACKED))
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
            channels = (channels - 1) // PACKED * PACKED  # the same ones are weighed together, whatever the blocks
        else:
            channels, most = most_channels, most * 7 // 8


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


@inlined
def part(task, offset, i):
    """Element `i` of a part of the workspace that begins at a byte."""
    out = task.operands.out.array
    return scratch(task.operands.workspace, offset + i * compute_size(out), out)


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
