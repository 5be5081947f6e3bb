"""Correlation of many channels by Fourier transforms of overlapping tiles.

For each block of the output (some tiles and output channels), and each chunk of the input channels:

    inputs    the tiles' input, packed into a slab with its padding, transposed so that lanes are tiles and channels, and
              transformed; neighbouring tiles overlap by the reach of the kernel
    kernels   the block's kernels, lanes along output channels, transformed
    products  for each number of the spectra a small matrix product, [tiles x channels] by [channels x outputs]
    restore   the sums of all chunks transformed back, the bias added and the activation applied, and stored

A tile of 16 by 16 gives 12 by 12 outputs of a 5 by 5 kernel for 508 real products: 3.5 for each, in place of 25. The
planes of a third axis' taps count as channels of their own. A chunk has at most `CHUNK` terms, whatever the block, and
all else is done tile by tile: threads, batch size and the sizes of blocks change no bit.
"""

import math
from typing import Any, NamedTuple

from ..jit import entry, inlined, kernel, plain
from ..shapes import ALGORITHM, AUTO, CALL_FIELDS, LAST_CLAMP, NONE, PLAN, even_part, words_of
from ..simd.packing import finish_transposed
from ..simd.spectra import (
    LEVELS,
    PRODUCT,
    Factors,
    Rows,
    Spectra,
    Taps,
    add_magnitudes,
    count_below,
    multiply_spectra,
    restore_tiles,
    sum_of_squares,
    transform_kernels,
    transform_tiles,
)
from ..simd.vectors import VECTOR_BYTES, Bounds, lanes_of
from ..strided import (
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
from ..window import load_axes, load_call, write_tuple
from . import direct
from .activation import bounds, finish
from .dense import Kernels, pack_kernels
from .operands import Operand, Operands, OutputBlock, ReductionBlock, first_output
from .pack import SLACK, SlabLayout, lies_in_order, pack_slab, tap_index

SIZES = 16, 32  # of tiles; kernels reach over half of one at most
CHUNK = 32  # channels whose products are added up on their own: a sum of sums errs less
SLAB_BYTES = 256 << 10
POSITIONS = 16384  # of the slabs of a block, side by side, and
STRIP = 8192  # of one slab
ENTRIES = 8192  # tiles and channels of one slab
TAPS = 1024  # of all kernels that are packed together, a vector of output channels
_LARGEST = SIZES[-1]

_SUMS = SLAB_BYTES + 64  # packing writes full vectors
_SQUARES = _SUMS + 8 * POSITIONS
_WINDOWS = _SQUARES + 8 * POSITIONS
_TABLE = _WINDOWS + 3 * 8 * STRIP
_ROOM = _TABLE + 8 * (ENTRIES + 16)
_TILE = _ROOM + _LARGEST * (_LARGEST + 2) * VECTOR_BYTES
_TAPS = _TILE + _LARGEST * _LARGEST * VECTOR_BYTES
_BIAS = _TAPS + TAPS * VECTOR_BYTES
# Direct sums may overwrite what lies before this.
_LEVELS = max(_BIAS + VECTOR_BYTES, -(-direct.WORKSPACE_BYTES // 64) * 64)
_FLAGS = _LEVELS + 8 * (2 * LEVELS + 2)
_SPECTRA = _FLAGS + 8 * 1024
WORKSPACE_BYTES = 4 << 20
SPECTRA_BYTES = WORKSPACE_BYTES - _SPECTRA
TILES = 1024  # of a block
OTHER_AXES, INTEGERS, LARGE_KERNEL, SLOW = 1, 2, 3, 4  # why a call is refused


class TileBlocks(NamedTuple):
    """The tiles, and how far each loop runs at a time."""

    size: int  # of a tile
    channels: int  # of a chunk
    outputs: int
    planes: int  # of all images, and all places along the first axis
    rows: int  # of tiles
    columns: int
    strip: int  # rows of tiles that are packed together
    keeps_inputs: int  # the spectra of a block's input stay for all blocks of output channels
    keeps_kernels: int  # those of the kernels stay for all blocks of tiles


class Plan(NamedTuple):
    """The blocks, and those of direct sums, for tiles that no transform is good enough for."""

    tiles: TileBlocks
    sums: direct.Plan


_PLAN_WORDS = PLAN + words_of(Plan)


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: `OTHER_AXES`, `LARGE_KERNEL` or `SLOW`; 0: they should not."""
    a0, a1, a2 = axes
    if call.rank < 2 or a1.stride * a2.stride * a1.dilation * a2.dilation != 1:
        return OTHER_AXES
    if element.is_integer:
        return INTEGERS
    if call.channels == 0:
        return SLOW
    if max(a1.kernel, a2.kernel) * 2 > _LARGEST or a0.kernel * a1.kernel * a2.kernel > TAPS:
        return LARGE_KERNEL
    return 0


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == OTHER_AXES:
        return "the last two axes need a stride and dilation of 1"
    if refusal == INTEGERS:
        return "the numbers are integers, expected floats"
    if refusal == LARGE_KERNEL:
        return f"the kernel is {axes[1].kernel} by {axes[2].kernel}, expected {_LARGEST // 2} by {_LARGEST // 2} or less"
    return "direct sums take less time"


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    tiles = choose_blocks(call, axes, choose_size(call, axes), element.itemsize)
    write_tuple(numbers, PLAN, Plan(tiles, direct.make_plan(call, axes, element.itemsize)))


@plain
def cost(call, axes, size):
    """Multiply-adds of one image with tiles of a size; those of transforms count as much as they take time."""
    a0, a1, a2 = axes
    tiles = a0.out * float(-(-a1.out // (size - a1.kernel + 1))) * float(-(-a2.out // (size - a2.kernel + 1)))
    pairs = float(call.channels) * a0.kernel * call.outputs
    moved = tiles * (call.channels * a0.kernel + call.outputs) * 3 + pairs
    return call.groups * size * size * (2 * tiles * pairs + 5 * moved)


@plain
def choose_size(call, axes):
    """The size of tiles that costs least."""
    small, large = SIZES
    if 2 * max(axes[1].kernel, axes[2].kernel) > small or cost(call, axes, large) < cost(call, axes, small):
        return large
    return small


@plain
def choose_blocks(call, axes, size, itemsize):
    """The largest blocks whose spectra fit. The chunk of channels depends on nothing but sizes of one image."""
    a0, a1, a2 = axes
    lanes, room = VECTOR_BYTES // itemsize, SPECTRA_BYTES // (size * size * itemsize)
    rows, columns = -(-a1.out // (size - a1.kernel + 1)), -(-a2.out // (size - a2.kernel + 1))
    channels = even_part(max(call.channels, 1), max(CHUNK // a0.kernel, 1))
    outputs = min(-(-call.outputs // lanes) * lanes, PRODUCT[1] * lanes)
    while channels * a0.kernel * outputs > room // 3 and channels > 8:
        channels = (channels + 1) // 2
    if channels * a0.kernel * outputs > room // 3:
        outputs = lanes
    while channels * a0.kernel * outputs > room // 3 and channels > 1:
        channels = (channels + 1) // 2
    terms = channels * a0.kernel
    chunks = -(-call.channels // channels)
    # What each way to go through the blocks leaves for tiles, and how much it transforms more than once.
    with_inputs = (room - terms * outputs - 64 - 48 * chunks) // (chunks * terms + outputs)
    with_kernels = (room - chunks * (terms * outputs + 32) - 80) // (terms + outputs)
    tiles = (room - terms * outputs - 112) // (terms + outputs)
    every = float(call.batch) * a0.out * rows * columns
    chunked = chunks * terms * -(-call.outputs // outputs)
    keeps_inputs, keeps_kernels = 0, 0
    best = every * 2 * chunked + every / max(tiles, 1) * chunked * outputs
    if with_inputs >= min(every, 4.0):
        again = every * 2 * chunks * terms + max(every / with_inputs, 1.0) * chunked * outputs
        if again < best:
            best, tiles, keeps_inputs = again, with_inputs, 1
    if with_kernels >= min(every, 4.0):
        again = every * 2 * chunked + chunked * outputs
        if again < best:
            best, tiles, keeps_inputs, keeps_kernels = again, with_kernels, 0, 1
    return fit_tiles(call, axes, TileBlocks(size, channels, outputs, 1, 1, 1, 1, keeps_inputs, keeps_kernels),
                     min(max(tiles, 1), TILES), itemsize)  # fmt: skip


@plain
def fit_tiles(call, axes, blocks, tiles, itemsize):
    """Blocks of up to so many tiles, whose slabs fit."""
    a0, a1, a2 = axes
    step1, step2 = blocks.size - a1.kernel + 1, blocks.size - a2.kernel + 1
    all_rows, all_columns = -(-a1.out // step1), -(-a2.out // step2)
    most = min(tiles, STRIP // blocks.size // step2 - 1, ENTRIES // (blocks.channels * a0.kernel))
    columns = even_part(all_columns, most)
    while columns > 1 and slab_layout(a0, a1, a2, blocks.size, 1, columns).channel * blocks.channels > SLAB_BYTES // itemsize:
        columns = (columns + 1) // 2
    rows = even_part(all_rows, max(tiles // columns, 1))
    strip = rows
    while strip > 1 and not fits_strip(a0, a1, a2, blocks, strip, columns, itemsize):
        strip = (strip + 1) // 2
    positions = slab_layout(a0, a1, a2, blocks.size, strip, columns).plane + 16
    while rows > 1 and -(-rows // strip) * positions > POSITIONS:
        rows = (rows + 1) // 2
    planes = 1
    if rows == all_rows and columns == all_columns:
        planes = max(1, min(tiles // (rows * columns), POSITIONS // (-(-rows // strip) * positions)))
    return TileBlocks(blocks.size, blocks.channels, blocks.outputs, planes, rows, columns, strip,
                      blocks.keeps_inputs, blocks.keeps_kernels)  # fmt: skip


@plain
def fits_strip(a0, a1, a2, blocks, strip, columns, itemsize):
    """Whether a slab of so many rows of tiles fits."""
    layout = slab_layout(a0, a1, a2, blocks.size, strip, columns)
    entries = strip * columns * blocks.channels * a0.kernel
    return layout.channel * blocks.channels <= SLAB_BYTES // itemsize and layout.plane <= STRIP and entries <= ENTRIES


@plain
def slab_layout(a0, a1, a2, size, rows, columns):
    """The slab under so many tiles; channels lie an odd number of lines apart."""
    height, pitch = (rows - 1) * (size - a1.kernel + 1) + size, (columns - 1) * (size - a2.kernel + 1) + size
    plane = height * pitch
    return SlabLayout(1, 1, height, pitch, plane, plane, odd_lines(a0.kernel * plane + SLACK))


@plain
def odd_lines(count):
    """So many elements or more, an odd number of lines: runs so far apart lie in different places of the caches."""
    return (-(-count // 16) | 1) * 16


# ---- kernels


class Spectrum(NamedTuple):
    """Spectra of a block: where they begin, and the steps from part to part and from chunk to chunk."""

    elements: Any
    start: int
    part: int
    chunk: int


class TileBlock(NamedTuple):
    """A block of the work: the first plane, row and column of tiles, output channel; and how many."""

    group: int
    plane: int
    planes: int
    row: int
    rows: int
    column: int
    columns: int
    o: int
    outputs: int


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1.

    Returns False, nothing written, if a pointer or stride is misaligned.
    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 4  over parts of the work, some tiles and output channels of a group, which threads take from a counter
    LOOP 3  over blocks of tiles and output channels; one of the two inside, so that spectra of the other are kept
    LOOP 2  over chunks of the input channels
    LOOP 1  over the numbers of the spectra, and their register tiles
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
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    plan = load_tuple(numbers.data, PLAN, Plan)
    is_auto = numbers.data[ALGORITHM] == AUTO
    blocks = plan.tiles
    bands = -(-call.outputs // blocks.outputs)
    tiles = count_blocks(call, axes, blocks)
    band_parts, tile_parts = 1, tiles
    if blocks.keeps_kernels:
        band_parts, tile_parts = bands, 1
    # Each thread transforms for itself.
    if call.groups * band_parts * tile_parts < 2 * threads:
        wanted = -(-2 * threads // (call.groups * band_parts * tile_parts))
        if blocks.keeps_kernels:
            tile_parts = min(tiles, wanted)
        else:
            band_parts = min(bands, wanted)
    band_part, tile_part = -(-bands // band_parts), -(-tiles // tile_parts)
    known, item = -1, take_item(team) if threads > 1 else 0
    while item < call.groups * band_parts * tile_parts:  # LOOP 4
        g, rest = divmod(item, band_parts * tile_parts)
        i, j = divmod(rest, tile_parts)
        if g != known:
            judge_kernels(operands, call, axes, g, is_auto)
            known = g
        band, tile = i * band_part, j * tile_part
        correlate_part(
            operands, call, axes, plan, g, band, min(band_part, bands - band), tile, min(tile_part, tiles - tile), is_auto
        )
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def count_blocks(call, axes, blocks):
    """Blocks of tiles of a group."""
    a0, a1, a2 = axes
    rows, columns = -(-a1.out // (blocks.size - a1.kernel + 1)), -(-a2.out // (blocks.size - a2.kernel + 1))
    return -(-call.batch * a0.out // blocks.planes) * -(-rows // blocks.rows) * -(-columns // blocks.columns)


@kernel
def correlate_part(operands, call, axes, plan, group, band, bands, first, count, is_auto):
    """Some bands of output channels and some blocks of tiles of a group."""
    blocks = plan.tiles
    a0, a1, a2 = axes
    tiles = blocks.planes * blocks.rows * blocks.columns
    terms = blocks.channels * a0.kernel
    chunks = -(-call.channels // blocks.channels)
    numbers = blocks.size * blocks.size
    part = odd_lines(tiles * terms + 16)
    room = scratch(operands.workspace, _SPECTRA, operands.out.array)
    inputs = Spectrum(room, 0, part, numbers * part if blocks.keeps_inputs else 0)
    start = numbers * part * (chunks if blocks.keeps_inputs else 1)
    part = odd_lines(tiles * blocks.outputs)
    sums = Spectrum(room, start, part, 0)
    start += numbers * part
    part = odd_lines(terms * blocks.outputs)
    kernels = Spectrum(room, start, part, numbers * part if blocks.keeps_kernels else 0)
    for i in range(bands * count):  # LOOP 3
        if blocks.keeps_kernels:
            o, t = divmod(i, count)
        else:
            t, o = divmod(i, bands)
        block = find_block(call, axes, blocks, group, band + o, first + t)
        has_inputs = blocks.keeps_inputs != 0 and o > 0
        has_kernels = blocks.keeps_kernels != 0 and t > 0
        for chunk in range(chunks):  # LOOP 2
            c = chunk * blocks.channels
            channels = min(blocks.channels, call.channels - c)
            x = Spectra(room, inputs.start + chunk * inputs.chunk, inputs.part)
            w = Spectra(room, kernels.start + chunk * kernels.chunk, kernels.part)
            if not has_inputs:
                transform_inputs(operands, call, axes, blocks, block, c, channels, x, is_auto)
            if not has_kernels:
                transform_weights(operands, call, axes, blocks, block, c, channels, w)
            y = Spectra(room, sums.start, sums.part)
            multiply_block(blocks, block, channels * a0.kernel, x, w, y, chunk > 0)
        if not has_inputs:
            judge_tiles(operands, call, axes, blocks, block, is_auto)
        restore_block(operands, call, axes, blocks, block, Spectra(room, sums.start, sums.part))
        if not blocks.keeps_inputs:
            sum_tiles(operands, call, axes, plan, block, block.o, block.outputs)
        elif o == bands - 1:
            begin = band * blocks.outputs
            sum_tiles(operands, call, axes, plan, block, begin, block.o + block.outputs - begin)


@inlined
def find_block(call, axes, blocks, group, band, number):
    """Block `number` of the tiles, and a band of output channels."""
    a0, a1, a2 = axes
    rows, columns = -(-a1.out // (blocks.size - a1.kernel + 1)), -(-a2.out // (blocks.size - a2.kernel + 1))
    rest, j = divmod(number, -(-columns // blocks.columns))
    rest, i = divmod(rest, -(-rows // blocks.rows))
    o, plane, row, column = band * blocks.outputs, rest * blocks.planes, i * blocks.rows, j * blocks.columns
    return TileBlock(
        group, plane, min(blocks.planes, call.batch * a0.out - plane), row, min(blocks.rows, rows - row),
        column, min(blocks.columns, columns - column), o, min(blocks.outputs, call.outputs - o),
    )  # fmt: skip


@kernel
def transform_inputs(operands, call, axes, blocks, block, c, channels, spectra, is_auto):
    """The spectra `[number][tile][channel and plane]` of a chunk of the input of a block, and magnitudes of it."""
    a0, a1, a2 = axes
    workspace, size = operands.workspace, blocks.size
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    slab, table = scratch(workspace, 0, operands.x.array), scratch_index(workspace, _TABLE)
    room = scratch(workspace, _ROOM, operands.x.array)
    sums, squares = scratch(workspace, _SUMS, operands.x.array), scratch(workspace, _SQUARES, operands.x.array)
    terms, lanes, to, position = channels * a0.kernel, lanes_of(slab), spectra.start, 0
    for i in range(block.planes):
        n, p0 = divmod(block.plane + i, a0.out)
        for r in range(0, block.rows, blocks.strip):
            rows = min(blocks.strip, block.rows - r)
            layout = slab_layout(a0, a1, a2, size, rows, block.columns)
            first = n, block.group * call.channels + c, p0, (block.row + r) * step1, block.column * step2
            taps = ReductionBlock(0, channels, 0, a0.kernel, 0, a1.kernel, 0, a2.kernel)
            pack_slab(operands.x, operands.fill, workspace, axes, layout, first, taps)
            for k in range(a0.kernel):
                add_magnitudes(
                    slab, k * layout.plane, layout.channel, channels, layout.plane, sums, squares, position, c + k > 0
                )
            count = fill_table(table, layout, a0.kernel, rows, step1, block.columns, step2, channels, lanes)
            for v in range(0, count, lanes):
                transform_tiles(
                    size, Rows(slab, table, v, layout.pitch), room, Spectra(spectra.elements, to + v, spectra.step)
                )
            to += count
            position += -(-layout.plane // 16) * 16


@kernel
def fill_table(table, layout, planes, rows, step1, columns, step2, channels, lanes):
    """Where each tile of each channel and plane begins in a slab; the last vector's other lanes repeat the first one."""
    at = 0
    for r in range(rows):
        for q in range(columns):
            for c in range(channels):
                for k in range(planes):
                    table[at] = r * step1 * layout.pitch + q * step2 + c * layout.channel + k * layout.plane
                    at += 1
    for i in range(at, at + lanes):
        table[i] = 0
    return at


@kernel
def transform_weights(operands, call, axes, blocks, block, c, channels, spectra):
    """The spectra `[number][channel and plane][output]` of the kernels of a chunk."""
    a0, a1, a2 = axes
    workspace, array = operands.workspace, operands.w.array
    room, packed = scratch(workspace, _ROOM, array), scratch(workspace, _TAPS, array)
    lanes, taps, plane = lanes_of(room), a0.kernel * a1.kernel * a2.kernel, a1.kernel * a2.kernel
    most = TAPS // taps
    for v in range(0, block.outputs, lanes):
        outputs = OutputBlock(block.group, block.o + v, min(lanes, block.outputs - v), 0, 1, 0, 0, 1, 0, 1)
        for i in range(0, channels, most):
            count = min(most, channels - i)
            pack_kernels(operands.w, call, axes, outputs, c + i, Kernels(packed, lanes, 1, count, taps, call.flip))
            for j in range(count * a0.kernel):
                channel, k = divmod(j, a0.kernel)
                start = (channel * a0.kernel + tap_index(call, a0, k)) * plane * lanes
                row, column = a2.kernel * lanes, lanes
                if call.flip:
                    start, row, column = start + (plane - 1) * lanes, -row, -column
                to = spectra.start + (i * a0.kernel + j) * blocks.outputs + v
                transform_kernels(
                    blocks.size, Taps(packed, start, row, column, a1.kernel, a2.kernel), room,
                    Spectra(spectra.elements, to, spectra.step),
                )  # fmt: skip


@kernel
def multiply_block(blocks, block, terms, inputs, kernels, sums, accumulate):
    """The products of all numbers of the spectra of a block."""
    lanes, tiles = lanes_of(sums.elements), block.planes * block.rows * block.columns
    width = -(-block.outputs // lanes)
    for pair in range(blocks.size * blocks.size // 2):  # LOOP 1
        is_real = pair == 0 or pair == blocks.size // 2
        x, w = inputs.start + 2 * pair * inputs.step, kernels.start + 2 * pair * kernels.step
        y = sums.start + 2 * pair * sums.step
        for v in range(0, width, PRODUCT[1]):
            vectors, t = min(PRODUCT[1], width - v), 0
            while t < tiles:
                left = tiles - t
                count = -(-left // -(-left // PRODUCT[0]))
                multiply_spectra(
                    count, vectors, is_real,
                    Factors(inputs.elements, x + t * terms, inputs.step, terms),
                    Factors(kernels.elements, w + v * lanes, kernels.step, blocks.outputs), terms,
                    Factors(sums.elements, y + t * blocks.outputs + v * lanes, sums.step, blocks.outputs), accumulate,
                )  # fmt: skip
                t += count


@kernel
def restore_block(operands, call, axes, blocks, block, sums):
    """Transform a block's sums back, and finish and store them."""
    a0, a1, a2 = axes
    workspace, out, bias, outs = operands.workspace, operands.out.array, operands.bias, operands.out.strides
    room, restored, added = scratch(workspace, _ROOM, out), scratch(workspace, _TILE, out), scratch(workspace, _BIAS, out)
    flags, lanes, size = scratch_index(workspace, _FLAGS), lanes_of(sums.elements), blocks.size
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    low, high = bounds(call, room, out)
    limits = Bounds(call.activation != NONE, low, high)
    for v in range(0, block.outputs, lanes):
        o, outputs = block.group * call.outputs + block.o + v, min(lanes, block.outputs - v)
        for i in range(lanes):
            has = call.has_bias and i < outputs
            added[i] = load(bias, (o + i) * stride(bias, 0)) if has else zero(out)
        for tile in range(block.planes * block.rows * block.columns):
            if flags[tile] != 0:
                continue
            rest, q = divmod(tile, block.columns)
            i, r = divmod(rest, block.rows)
            n, p0 = divmod(block.plane + i, a0.out)
            p1, p2 = (block.row + r) * step1, (block.column + q) * step2
            rows, columns = min(step1, a1.out - p1), min(step2, a2.out - p2)
            where = n * outs.batch + o * outs.channel + p0 * outs.s0 + p1 * outs.s1 + p2 * outs.s2
            spectra = Spectra(sums.elements, sums.start + tile * blocks.outputs + v, sums.step)
            restore_tiles(size, spectra, room, rows, restored)
            for row in range(rows):
                to, start = where + row * outs.s1, row * size * lanes
                if outs.s2 == 1 and call.activation <= LAST_CLAMP:
                    for j in range(0, columns, lanes):
                        finish_transposed(
                            out, to + j, outs.channel, restored, start + j * lanes, lanes,
                            min(lanes, columns - j), outputs, added, limits,
                        )  # fmt: skip
                else:
                    for i in range(outputs):
                        for j in range(columns):
                            at = to + i * outs.channel + j * outs.s2
                            finish(out, at, restored[start + j * lanes + i], bias, (o + i) * stride(bias, 0), call)


@kernel
def judge_kernels(operands, call, axes, group, is_auto):
    """Whether the kernels of a group are finite, and how many small taps they have."""
    levels = scratch_index(operands.workspace, _LEVELS)
    for i in range(LEVELS + 1):
        levels[i] = 0


@kernel
def judge_tiles(operands, call, axes, blocks, block, is_auto):
    """Flag the tiles of a block that are to be summed directly."""
    flags = scratch_index(operands.workspace, _FLAGS)
    for tile in range(block.planes * block.rows * block.columns):
        flags[tile] = 0


@kernel
def sum_tiles(operands, call, axes, plan, block, o, outputs):
    """Sum the outputs of flagged tiles directly."""
    a0, a1, a2 = axes
    flags, size = scratch_index(operands.workspace, _FLAGS), plan.tiles.size
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    source = direct.choose_source(operands.x.array, operands.x.strides, operands.fill, plan.sums, a0, a1, a2)
    blocks = plan.sums.in_place if source.in_place else plan.sums.masked if source.masked else plan.sums.packed
    for tile in range(block.planes * block.rows * block.columns):
        if flags[tile] == 0:
            continue
        rest, q = divmod(tile, block.columns)
        i, r = divmod(rest, block.rows)
        n, p0 = divmod(block.plane + i, a0.out)
        p1, p2 = (block.row + r) * step1, (block.column + q) * step2
        rows, columns = min(step1, a1.out - p1), min(step2, a2.out - p2)
        for m in range(0, outputs, blocks.outputs):
            for i in range(0, rows, blocks.rows):
                for j in range(0, columns, blocks.columns):
                    part = OutputBlock(
                        block.group, o + m, min(blocks.outputs, outputs - m), n, 1,
                        p0, p1 + i, min(blocks.rows, rows - i), p2 + j, min(blocks.columns, columns - j),
                    )  # fmt: skip
                    direct.correlate_block(operands, call, axes, blocks, source, part, False, False)
