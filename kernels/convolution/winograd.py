"""Winograd's convolution: kernels of 3x3, 1x3 or 3x1 taps with step 1, over one to three spatial axes."""

from typing import Any, NamedTuple

import numpy as np

from ..jit import entry, kernel, plain
from ..shapes import CALL_FIELDS, PLAN, even_part, words_of
from ..simd.tiles import Inputs, Taps, Target
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..simd.winograd import pack_phases, transform_inputs, transform_kernels, transform_outputs
from ..strided import (
    compute_size,
    five_strides,
    is_aligned,
    load,
    load_tuple,
    scratch,
    scratch_index,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, source_index, write_tuple
from .dense import VECTORS, Kernels, Sums, multiply_run, pack_kernels, store_block
from .operands import Operand, Operands, OutputBlock
from .pack import columns_inside

WORKSPACE_BYTES = 4 << 20
_WIDTH_BYTES = VECTORS * VECTOR_BYTES  # output channels of a block
_LINE = 64
_PLANE = 512 + 16  # elements of a phase of a channel, an odd number of cache lines
_PLANES_BYTES = 24 * _PLANE * 8
_COLUMNS = 64  # tiles
_SUMS_BYTES = 16 * _COLUMNS * _WIDTH_BYTES
_POSITIONS = 128  # tiles of a block
_KEPT_BYTES = 5 << 18
_VALUES_BYTES = 5 << 17
_CHANNELS = 64
MANY_BLOCKS = 512
OTHER_KERNEL, STEPS, FEW_CHANNELS, IS_INTEGER, SMALL = range(1, 6)


class WinogradBlocks(NamedTuple):
    """How far each loop runs at a time."""

    size1: int  # outputs of a tile
    size2: int
    channels: int
    images: int
    planes: int  # of outputs
    rows: int  # of tiles
    columns: int
    keeps: int  # whether the workspace holds all kernels of a group


class Room(NamedTuple):
    """Where each part of the workspace begins, and steps between what lies in it, in elements."""

    sums: int
    weights: int
    added: int
    table: int
    spreads: int
    uneven: int
    patch: int
    taps: int
    kernels: int
    products: int
    values: int
    end: int
    weight_step: int
    kernel_step: int
    product_step: int
    value_step: int


class Plan(NamedTuple):
    """Blocks, and room for them."""

    blocks: WinogradBlocks
    room: Room


_PLAN_WORDS = PLAN + words_of(Plan)


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call."""
    a0, a1, a2 = axes
    if (a1.kernel != 3 and a1.kernel != 1) or (a2.kernel != 3 and a2.kernel != 1) or a1.kernel * a2.kernel == 1:
        return OTHER_KERNEL
    if a0.stride * a1.stride * a2.stride * a0.dilation * a1.dilation * a2.dilation != 1:
        return STEPS
    if call.channels < 8 or call.outputs < 8:
        return FEW_CHANNELS
    return 0


def reason(refusal, call, axes, element):
    """A refusal in words."""
    return "no"


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    a0, a1, a2 = axes
    blocks = choose_blocks(call, a0, a1, a2, element.itemsize)
    write_tuple(numbers, PLAN, Plan(blocks, find_room(call, a0, a1, a2, blocks, element.itemsize)))


@plain
def points_of(size):
    """Points, and inputs, of a tile."""
    return size + 2 if size > 1 else 1


@plain
def odd_lines(elements, itemsize):
    """So many elements, or a few more, that are an odd number of cache lines: few powers of two."""
    line = _LINE // itemsize
    return (-(-elements // line) | 1) * line


@plain
def find_room(call, a0, a1, a2, blocks, itemsize):
    """The parts of the workspace."""
    lanes, width = VECTOR_BYTES // itemsize, _WIDTH_BYTES // itemsize
    points = points_of(blocks.size1) * points_of(blocks.size2)
    tiles = blocks.images * blocks.rows * blocks.columns
    slots, taps = blocks.planes + a0.kernel - 1, a0.kernel * a1.kernel * a2.kernel
    weight_step = odd_lines(tiles + lanes, itemsize)
    kernel_step = odd_lines(blocks.channels * width, itemsize)
    product_step = odd_lines(tiles * blocks.planes * width, itemsize)
    value_step = odd_lines(slots * call.channels * tiles + lanes, itemsize)
    panels = a0.kernel
    if blocks.keeps:
        panels *= -(-call.outputs // width) * -(-call.channels // blocks.channels)
    sums = _PLANES_BYTES
    weights = sums + _SUMS_BYTES
    added = weights + (16 + 1) * slots * weight_step * itemsize
    table = added + 16 * _LINE
    spreads = table + 1024
    uneven = spreads + 8 * _POSITIONS
    patch = uneven + 8 * MANY_BLOCKS
    taps_at = patch + 36 * blocks.channels * itemsize
    kernels = taps_at + (blocks.channels * taps + 9 * 2) * width * itemsize
    products = kernels + panels * points * kernel_step * itemsize
    values = products + points * product_step * itemsize
    end = values + points * value_step * itemsize
    return Room(sums, weights, added, table, spreads, uneven, patch, taps_at, kernels, products, values, end,
                weight_step, kernel_step, product_step, value_step)  # fmt: skip


@plain
def choose_blocks(call, a0, a1, a2, itemsize):
    """Blocks that fit in the workspace."""
    size1, size2 = 4 if a1.kernel == 3 else 1, 4 if a2.kernel == 3 else 1
    width = _WIDTH_BYTES // itemsize
    tiles1, tiles2 = -(-a1.out // size1), -(-a2.out // size2)
    channels = min(call.channels, _CHANNELS)
    points = points_of(size1) * points_of(size2)
    kept = points * a0.kernel * call.channels * -(-call.outputs // width) * width * itemsize
    keeps = int(kept <= _KEPT_BYTES and -(-call.outputs // width) <= MANY_BLOCKS)
    most = _POSITIONS
    if keeps:
        most = max(min(most, _VALUES_BYTES // (points * call.channels * itemsize)), 1)
    while True:
        columns = even_part(tiles2, min(most, _COLUMNS))
        rows = even_part(tiles1, max(min(most // columns, 512 // columns - 1), 1))
        images = planes = 1
        if rows * columns == tiles1 * tiles2:
            if a0.kernel > 1:
                planes = even_part(a0.out, max(most // (rows * columns) - a0.kernel + 1, 1))
            else:
                images = even_part(call.batch, max(most // (rows * columns), 1))
        blocks = WinogradBlocks(size1, size2, channels, images, planes, rows, columns, keeps)
        if most == 1 or find_room(call, a0, a1, a2, blocks, itemsize).end <= WORKSPACE_BYTES:
            return blocks
        most = most * 7 // 8


class Values(NamedTuple):
    """The inputs of a block at the points: `[point][plane][channel][tile]`."""

    elements: Any
    tiles: int  # of all images
    plane: int
    step: int


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1."""
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    axes = load_axes(numbers.data, CALL_FIELDS)
    a0, a1, a2 = axes
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    plan = load_tuple(numbers.data, PLAN, Plan)
    blocks, room = plan.blocks, plan.room
    width = VECTORS * lanes_of(scratch(workspace, 0, out))
    chunks = -(-call.outputs // width)
    height, breadth = blocks.rows * blocks.size1, blocks.columns * blocks.size2
    slabs0, slabs1, slabs2 = -(-a0.out // blocks.planes), -(-a1.out // height), -(-a2.out // breadth)
    images = -(-call.batch // blocks.images)
    slabs = slabs0 * slabs1 * slabs2 * images
    parts = 1
    if threads > 1 and slabs * call.groups < 2 * threads:
        parts = min(chunks, threads)
    part_chunks = -(-chunks // parts)
    table = scratch_index(workspace, room.table)
    table[0], table[1] = 0, 0
    kept, item = np.int64(-1), take_item(team) if threads > 1 else np.int64(0)
    while item < call.groups * parts * slabs:
        rest, s2 = divmod(item, slabs2)
        rest, s1 = divmod(rest, slabs1)
        rest, s0 = divmod(rest, slabs0)
        owner, i = divmod(rest, images)
        g, part = divmod(owner, parts)
        n, p0, p1, p2 = i * blocks.images, s0 * blocks.planes, s1 * height, s2 * breadth
        o = part * part_chunks * width
        block = OutputBlock(
            g, o, min(part_chunks * width, call.outputs - o), n, min(blocks.images, call.batch - n),
            p0, p1, min(height, a1.out - p1), p2, min(breadth, a2.out - p2),
        )  # fmt: skip
        planes = min(blocks.planes, a0.out - p0)
        correlate_block(operands, call, axes, plan, block, planes, kept == owner)
        kept = owner if blocks.keeps else -1
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def correlate_block(operands, call, axes, plan, block, planes, is_kept):
    """Outputs of a block."""
    out, workspace = operands.out.array, operands.workspace
    a0, a1, a2 = axes
    blocks, room = plan.blocks, plan.room
    itemsize = compute_size(out)
    rows, columns = -(-block.rows // blocks.size1), -(-block.columns // blocks.size2)
    tiles = block.images * rows * columns
    points = points_of(blocks.size1) * points_of(blocks.size2)
    values = Values(scratch(workspace, room.values, out), tiles, call.channels * tiles, room.value_step)
    transform_block(operands, call, axes, plan, block, planes, values)
    lanes = lanes_of(values.elements)
    width = VECTORS * lanes
    blocks_of_channels = -(-call.channels // blocks.channels)
    taps = a0.kernel * a1.kernel * a2.kernel
    table = scratch_index(workspace, room.table)
    products = scratch(workspace, room.products, out)
    panel = a0.kernel * points * room.kernel_step
    for o in range(0, block.outputs, width):
        outputs = min(width, block.outputs - o)
        vectors = -(-outputs // lanes)
        chunk = OutputBlock(
            block.group, block.o + o, outputs, block.n, block.images, block.p0, block.p1, block.rows, block.p2,
            block.columns,
        )  # fmt: skip
        for b in range(blocks_of_channels):
            c = b * blocks.channels
            channels = min(blocks.channels, call.channels - c)
            start = 0
            if blocks.keeps:
                start = ((block.o + o) // width * blocks_of_channels + b) * panel
            if not is_kept:
                transform_panel(operands, call, axes, plan, chunk, c, channels, vectors, start)
            for k0 in range(a0.kernel):
                for point in range(points):
                    at = room.kernels + (start + (k0 * points + point) * room.kernel_step) * itemsize
                    kernels = Kernels(
                        scratch(workspace, at, out), vectors * lanes, vectors, channels, 1, 0
                    )
                    for p in range(planes):
                        first = point * values.step + (p + k0) * values.plane + c * tiles
                        inputs = Inputs(values.elements, first, tiles)
                        to = point * room.product_step + p * tiles * vectors * lanes
                        target = Target(products, to, vectors * lanes)
                        multiply_run(inputs, 1, tiles, Taps(table, 1, channels), kernels, target, b + k0 > 0)
        store_chunk(operands, call, axes, plan, chunk, planes, vectors)


@kernel
def transform_panel(operands, call, axes, plan, chunk, c, channels, vectors, start):
    """Kernels of a chunk of output channels and some input channels, to points."""
    out, workspace, blocks, room = operands.out.array, operands.workspace, plan.blocks, plan.room
    a0, a1, a2 = axes
    taps = a0.kernel * a1.kernel * a2.kernel
    packed = scratch(workspace, room.taps, out)
    lanes = lanes_of(packed)
    width = vectors * lanes
    pack_kernels(operands.w, call, axes, chunk, c, Kernels(packed, width, vectors, channels, taps, 0))
    weights = scratch(workspace, room.taps + blocks.channels * taps * VECTORS * VECTOR_BYTES, out)
    points = points_of(blocks.size1) * points_of(blocks.size2)
    for k0 in range(a0.kernel):
        first, step = k0 * a1.kernel * a2.kernel * width, width
        if call.flip:
            first, step = (taps - 1) * width - first, -width
        for v in range(vectors):
            from_ = scratch(workspace, room.taps + (first + v * lanes) * compute_size(out), out)
            to = scratch(
                workspace,
                room.kernels + (start + k0 * points * room.kernel_step + v * lanes) * compute_size(out), out,
            )
            transform_kernels(
                4, 4, from_, a2.kernel * step, step, channels, taps * width, to, room.kernel_step, width, weights
            )


@kernel
def transform_block(operands, call, axes, plan, block, planes, values):
    """The inputs of a block, to points."""
    x, xs, out, workspace = operands.x.array, operands.x.strides, operands.out.array, operands.workspace
    a0, a1, a2 = axes
    blocks, room = plan.blocks, plan.room
    rows, columns = -(-block.rows // blocks.size1), -(-block.columns // blocks.size2)
    tiles = rows * columns
    size1, size2 = blocks.size1, blocks.size2
    n2 = points_of(size2)
    phases, itemsize = scratch(workspace, 0, out), compute_size(out)
    padding = load(operands.fill, 0)
    reach = rows * size1 + (2 if size1 > 1 else 0)
    start = block.p2 - a2.before
    count = columns * size2 + (2 if size2 > 1 else 0)
    left, right = columns_inside(start, count, a2)
    for slot in range(planes + a0.kernel - 1):
        i0 = source_index(block.p0 + slot - a0.before, a0.size, a0.boundary)
        weights = scratch(workspace, room.weights + slot * 17 * room.weight_step * itemsize, out)
        for e in range(17 * room.weight_step):
            weights[e] = zero(out)
        for c in range(call.channels):
            for n in range(block.images):
                base = (block.n + n) * xs.batch + (block.group * call.channels + c) * xs.channel + i0 * xs.s0
                for row in range(reach):
                    i1 = source_index(block.p1 + row - a1.before, a1.size, a1.boundary)
                    is_inside = i0 >= 0 and i1 >= 0
                    at = row % size1 * n2 * _PLANE + row // size1 * columns
                    pack_phases(
                        4, scratch(workspace, at * itemsize, out), _PLANE, x, base + i1 * xs.s1 + start, columns,
                        left if is_inside else 0, right if is_inside else 0, padding,
                    )
                to = values.elements
                first = slot * values.plane + c * values.tiles + n * tiles
                transform_inputs(
                    4, 4, phases, _PLANE, columns, tiles,
                    scratch(workspace, room.values + first * itemsize, out), values.step,
                    scratch(workspace, room.weights + (slot * 17 * room.weight_step + n * tiles) * itemsize, out), room.weight_step,
                )


@kernel
def store_chunk(operands, call, axes, plan, chunk, planes, vectors):
    """Products to outputs, which are stored."""
    out, workspace, blocks, room = operands.out.array, operands.workspace, plan.blocks, plan.room
    sums = scratch(workspace, room.sums, out)
    width = vectors * lanes_of(sums)
    added = scratch(workspace, room.added, out)
    rows, columns = -(-chunk.rows // blocks.size1), -(-chunk.columns // blocks.size2)
    at = room.products
    for p in range(planes):
        for n in range(chunk.images):
            for r in range(rows):
                for j in range(columns):
                    left = chunk.columns - j * blocks.size2
                    transform_outputs(
                        4, 4, scratch(workspace, at, out), room.product_step, vectors,
                        scratch(workspace, room.sums + j * blocks.size2 * width * compute_size(out), out), chunk.columns * width, width, left,
                    )
                    at += width * compute_size(out)
                part = OutputBlock(
                    chunk.group, chunk.o, chunk.outputs, chunk.n + n, 1, chunk.p0 + p, chunk.p1 + r * blocks.size1,
                    min(blocks.size1, chunk.rows - r * blocks.size1), chunk.p2, chunk.columns,
                )
                store_block(operands, call, part, Sums(sums, 0, width), added)
