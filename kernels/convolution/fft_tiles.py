"""Correlation of many channels by Fourier transforms of overlapping tiles.

After Zlateski, Jia, Li and Durand, "FFT Convolutions are Faster than Winograd on Modern CPUs, Here is Why" (2018). For
each block of the output (some tiles and output channels), and each chunk of the input channels:

    inputs    the tiles' input, packed into a slab with its padding, transposed so that lanes are tiles and channels,
              and transformed; neighbouring tiles overlap by the reach of the kernel
    kernels   the rows of the block's kernels transformed, lanes along output channels
    products  column by column of the spectra: the kernels' transforms completed, and for each number a small matrix
              product, [tiles x channels] by [channels x outputs]
    restore   the sums of all chunks transformed back, the bias added and the activation applied, and stored

A tile of 16 by 16 gives 12 by 12 outputs of a 5 by 5 kernel for 508 real products: 3.5 for each, in place of 25. The
planes of a third axis' taps count as channels of their own. The chunk depends on sizes of one image alone, and all else
is done tile by tile: threads, batch size and the sizes of blocks change no bit.

Accuracy. With `u` the unit roundoff, `|x|` the root of the sum of squares over a tile and all channels, and `|w|` that
of an output channel's kernels, an output errs by `ERROR u |x| |w|` at most, but for its own rounding. A transform of
`n` points errs by a multiple of `u log2(n)` of the norm (Higham, "Accuracy and Stability of Numerical Algorithms",
24.2), and products by Parseval's theorem and Cauchy's inequality by a multiple of `u |x| |w|`; where rounding errors do
not conspire, they grow as the root of their number (Higham and Mary, "A New Approach to Probabilistic Rounding Error
Analysis", 2019), here of some 50. `ERROR` is not that worst case, but above the largest of all data that were tried:
0.05 to 0.8 for normal numbers, 2.5 for constants, cosines and ramps, 3.6 for a single number times kernels over many
decades.

Called by "auto", outputs whose bound would be more than four times that of direct sums, `(n + 2) u (|x| * |w|)(o)` with
`n` terms, are summed directly. `(|x| * |w|)(o)` is found from below: with `a` the sum of the magnitudes in the window,
`b` that of their squares, and `k` taps of an output channel below `t`, it is `t (a - sqrt(k b))` at least, since those
that meet one of these taps sum to `sqrt(k b)` at most (Cauchy). The largest of this for `LEVELS` values of `t`, each
with the largest `k` of all output channels, has to reach `ERROR |x| |w| / 4 (n + 2)`. In any case tiles whose sum of
squares is not finite are summed directly, and for kernels like that everything is.
"""

import math
from typing import NamedTuple

from ..jit import entry, inlined, kernel, plain
from ..shapes import AUTO, CALL_FIELDS, LAST_CLAMP, NONE, PLAN, Axis, even_part, words_of
from ..simd.packing import finish_transposed
from ..simd.spectra import (
    LEVELS,
    PRODUCT,
    Factors,
    Rows,
    Spectra,
    Taps,
    add_magnitudes,
    add_up,
    count_below,
    multiply_spectra,
    restore_tiles,
    sum_of_squares,
    transform_kernel_columns,
    transform_kernel_rows,
    transform_tiles,
)
from ..simd.vectors import VECTOR_BYTES, Bounds, lanes_of
from ..strided import (
    address,
    compute_size,
    elements,
    five_strides,
    is_aligned,
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
from .costs import TILES as TILES_COSTS
from .costs import larger, whole_vectors
from .dense import Kernels, pack_kernels
from .operands import Operand, Operands, OutputBlock, ReductionBlock
from .pack import SLACK, SlabLayout, lies_in_order, pack_slab, tap_index

SIZES = 16, 32  # of tiles; kernels reach over half of one at most
ERROR = 4.0  # see above
EVEN = 0.012  # a fifth of what sums of normal numbers reach, half of what they do where half of them are zero
CHUNK = 32  # channels whose products are added up on their own: a sum of sums errs less
SLAB_BYTES = 256 << 10
POSITIONS = 16384  # of the slabs of a block, side by side, and
STRIP = 8192  # of one slab
ENTRIES = 8192  # tiles and channels of one slab
TAPS = 1024  # of all kernels that are packed together, a vector of output channels
TILES = 1024  # of a block
JOINED = 2048  # places of tiles that are stored together, a vector of output channels
_LARGEST = SIZES[-1]

_SUMS = SLAB_BYTES + 64  # packing writes full vectors
_SQUARES = _SUMS + 8 * POSITIONS
_WINDOWS = _SQUARES + 8 * POSITIONS
_TABLE = _WINDOWS + 3 * 8 * STRIP
_ROOM = _TABLE + 8 * (ENTRIES + 16)
_TILE = _ROOM + _LARGEST * (_LARGEST + 2) * VECTOR_BYTES
_TAPS = _TILE + JOINED * VECTOR_BYTES
_BIAS = _TAPS + TAPS * VECTOR_BYTES
# Direct sums may overwrite what lies before this.
_LEVELS = max(_BIAS + VECTOR_BYTES, -(-direct.WORKSPACE_BYTES // 64) * 64)
_BOXES = _LEVELS + 64 * 4
_SPECTRA = _BOXES + 4 * 8 * TILES
WORKSPACE_BYTES = 4 << 20
SPECTRA_BYTES = WORKSPACE_BYTES - _SPECTRA
OTHER_AXES, LARGE_KERNEL, FEW_TERMS = 1, 2, 3  # why a call is refused


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


class Places(NamedTuple):
    """Where the spectra of a block lie, which begins with those of the input, and the steps from part to part."""

    input: int  # step
    input_chunk: int  # from chunk to chunk
    sums: int
    sum: int  # step
    column: int  # of the kernels' spectra
    kernels: int  # their rows' spectra
    kernel: int  # step, of the column too
    kernel_chunk: int
    end: int


_PLAN_WORDS = PLAN + words_of(Plan)


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: `OTHER_AXES`, `LARGE_KERNEL` or `FEW_TERMS`; 0: they should not."""
    a0, a1, a2 = axes
    if a1.stride != 1 or a2.stride != 1 or a1.dilation != 1 or a2.dilation != 1:
        return OTHER_AXES
    b0, b1, b2 = tile_axes(call, axes, _LARGEST)
    if max(b1.kernel, b2.kernel) * 2 > _LARGEST or a0.kernel > CHUNK or a0.kernel * a1.kernel * a2.kernel > TAPS:
        return LARGE_KERNEL
    if slab_layout(b0, b1, b2, _LARGEST, 1, 1).channel > SLAB_BYTES // element.itemsize:
        return LARGE_KERNEL
    if call.channels == 0:
        return FEW_TERMS
    if call.algorithm == AUTO:
        return FEW_TERMS if unevenness(call, axes, choose_size(call, axes)) > EVEN else 0
    return 0


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == OTHER_AXES:
        return "expected stride and dilation 1 along the last two axes"
    if refusal == LARGE_KERNEL:
        most = _LARGEST // 2
        if call.rank == 1:
            return f"the kernel has {axes[2].kernel} taps, expected {most**2} or fewer"
        return f"the kernel is {' by '.join(str(axis.kernel) for axis in axes)}, expected {most} by {most} or less"
    return "a sum has so few terms that direct sums' bound leaves a transform too little room"


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    size = choose_size(call, axes)
    a0, a1, a2 = tile_axes(call, axes, size)
    tiles = a0.out * float(-(-a1.out // (size - a1.kernel + 1))) * float(-(-a2.out // (size - a2.kernel + 1)))
    terms, outputs = float(call.channels) * a0.kernel, whole_vectors(call.outputs, element)
    transforms = tiles * (terms * TILES_COSTS.input + outputs * TILES_COSTS.output)
    transforms = math.log2(size) * (transforms + terms * outputs * TILES_COSTS.kernel)
    products = tiles * terms * outputs * TILES_COSTS.product
    return call.groups * size * size * larger(element) * (products + transforms)


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    size = choose_size(call, axes)
    tiles = choose_blocks(call, tile_axes(call, axes, size), size, element.itemsize)
    write_tuple(numbers, PLAN, Plan(tiles, direct.make_plan(call, axes, element.itemsize)))


@plain
def tile_axes(call, axes, size):
    """The axes that tiles lie over.

    A signal is a plane whose rows follow each other in it: output `p` is output `p % width` of row `p // width`, which
    meets as many rows of taps as its kernel has, `width` taps each. Rows of input reach into the next ones.
    """
    a0, a1, a2 = axes
    if call.rank > 1:
        return a0, a1, a2
    width = size // 2 if a2.kernel > size // 2 else size - a2.kernel + 1
    rows, taps = -(-a2.out // width), -(-a2.kernel // width)
    b1 = Axis(rows + taps - 1, taps, a1.stride, a1.dilation, a1.before, a1.after, a1.boundary, rows)
    return a0, b1, Axis(size, min(a2.kernel, width), a1.stride, a1.dilation, a1.before, a1.after, a1.boundary, width)


@plain
def tile_cost(call, axes, size):
    """What an image takes with tiles of a size, in multiply-adds of the products."""
    a0, a1, a2 = tile_axes(call, axes, size)
    tiles = a0.out * float(-(-a1.out // (size - a1.kernel + 1))) * float(-(-a2.out // (size - a2.kernel + 1)))
    terms = float(call.channels) * a0.kernel
    # Measured: a number of a tile that is transformed takes 20 with tiles of 16, of a kernel 10, and one restored 15.
    transforms = tiles * (4 * terms + 3 * call.outputs) + 2 * terms * call.outputs
    return call.groups * size * size * (2 * tiles * terms * call.outputs + 1.25 * math.log2(size) * transforms)


@plain
def choose_size(call, axes):
    """The size of tiles that costs least, if neither is too large for sums to be even."""
    small, large = SIZES
    _, a1, a2 = tile_axes(call, axes, small)
    if 2 * max(a1.kernel, a2.kernel) > small:
        return large
    if call.algorithm == AUTO and unevenness(call, axes, large) > EVEN:
        return small
    return large if tile_cost(call, axes, large) < tile_cost(call, axes, small) else small


@plain
def unevenness(call, axes, size):
    """What part of a kernel's and the input's mean magnitudes, multiplied, sums have to reach to be transformed."""
    a0, a1, a2 = tile_axes(call, axes, size)
    plane = float(a1.kernel * a2.kernel)
    return ERROR / 4 * size / (call.channels * a0.kernel * plane * math.sqrt(plane))


@plain
def choose_blocks(call, axes, size, itemsize):
    """The largest blocks whose spectra fit. The chunk of channels depends on nothing but sizes of one image."""
    a0, a1, a2 = axes
    lanes, room = VECTOR_BYTES // itemsize, SPECTRA_BYTES // itemsize
    rows, columns = -(-a1.out // (size - a1.kernel + 1)), -(-a2.out // (size - a2.kernel + 1))
    channels = even_part(max(call.channels, 1), max(CHUNK // a0.kernel, 1))
    while channels > 1 and slab_layout(a0, a1, a2, size, 1, 1).channel * channels > SLAB_BYTES // itemsize:
        channels = (channels + 1) // 2
    outputs = min(-(-call.outputs // lanes) * lanes, PRODUCT[1] * lanes)
    while size * (a1.kernel + 2) * channels * a0.kernel * outputs > room // 3 and channels > 8:
        channels = (channels + 1) // 2
    if size * (a1.kernel + 2) * channels * a0.kernel * outputs > room // 3:
        outputs = lanes
    while size * (a1.kernel + 2) * channels * a0.kernel * outputs > room // 3 and channels > 1:
        channels = (channels + 1) // 2
    terms = channels * a0.kernel
    chunks = -(-call.channels // channels)
    # What each way to go through the blocks leaves for tiles, and how much it transforms more than once.
    kernels, area = size * a1.kernel * (terms * outputs + 32), size * size
    room -= 2 * size * (terms * outputs + 32) + area * 80
    with_inputs = (room - kernels - area * 48 * chunks) // (area * (chunks * terms + outputs))
    with_kernels = (room - chunks * kernels) // (area * (terms + outputs))
    tiles = (room - kernels) // (area * (terms + outputs))
    every = float(call.batch) * a0.out * rows * columns
    chunked = chunks * terms * -(-call.outputs // outputs)
    keeps_inputs, keeps_kernels = 0, 0
    best = every * 2 * chunked + every / max(tiles, 1) * chunked * outputs
    if with_inputs >= min(every, 4.0):
        again = every * 2 * chunks * terms + max(every / with_inputs, 1.0) * chunked * outputs
        if again < best:
            best, tiles, keeps_inputs = again, with_inputs, 1
    if with_kernels >= min(every, 4.0):
        again = every * 2 * chunked + 0.6 * max(every / with_kernels, 1.0) * chunked * outputs
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
    while (
        columns > 1
        and slab_layout(a0, a1, a2, blocks.size, 1, columns).channel * blocks.channels > SLAB_BYTES // itemsize
    ):
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
        planes = min(tiles // (rows * columns), POSITIONS // (-(-rows // strip) * positions), call.batch * a0.out)
        planes = max(planes, 1)
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
def find_places(call, axes, blocks):
    """Where the spectra of a block lie."""
    area, terms = blocks.size * blocks.size, blocks.channels * axes[0].kernel
    chunks, tiles = -(-call.channels // blocks.channels), blocks.planes * blocks.rows * blocks.columns
    inputs, sums, kernels = (
        odd_lines(tiles * terms + 16),
        odd_lines(tiles * blocks.outputs),
        odd_lines(terms * blocks.outputs),
    )
    input_chunk = area * inputs if blocks.keeps_inputs else 0
    kernel_chunk = blocks.size * axes[1].kernel * kernels if blocks.keeps_kernels else 0
    at_sums = area * inputs + (chunks - 1) * input_chunk
    column = at_sums + area * sums
    at_kernels = column + 2 * blocks.size * kernels
    end = at_kernels + blocks.size * axes[1].kernel * kernels + (chunks - 1) * kernel_chunk
    return Places(inputs, input_chunk, at_sums, sums, column, at_kernels, kernels, kernel_chunk, end)


@plain
def odd_lines(count):
    """So many elements or more, an odd number of lines: runs so far apart lie in different places of the caches."""
    return (-(-count // 16) | 1) * 16


# ---- kernels


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


class Work(NamedTuple):
    """A part of the work of a group: the first band of output channels and block of tiles, and how many."""

    group: int
    band: int
    bands: int
    first: int
    count: int


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
    bands = -(-call.outputs // plan.tiles.outputs)
    tiled = tile_axes(call, axes, plan.tiles.size)
    plan = Plan(split_blocks(call, tiled, plan.tiles, bands, threads), plan.sums)
    blocks = plan.tiles
    tiles = count_blocks(call, tiled, blocks)
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
            judge_kernels(operands, call, axes, tiled, g)
            known = g
        band, tile = i * band_part, j * tile_part
        work = Work(g, band, min(band_part, bands - band), tile, min(tile_part, tiles - tile))
        correlate_part(operands, call, axes, tiled, plan, work)
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


@inlined
def split_blocks(call, axes, blocks, bands, threads):
    """The blocks, of fewer tiles if need be: so that there is one for each thread."""
    planes, rows, columns = blocks.planes, blocks.rows, blocks.columns
    while call.groups * bands * count_blocks(call, axes, blocks) < threads and planes * rows * columns > 1:
        if planes > 1:
            planes = (planes + 1) // 2
        elif rows > 1:
            rows = (rows + 1) // 2
        else:
            columns = (columns + 1) // 2
        blocks = TileBlocks(
            blocks.size, blocks.channels, blocks.outputs, planes, rows, columns, min(blocks.strip, rows),
            blocks.keeps_inputs, blocks.keeps_kernels,
        )  # fmt: skip
    return blocks


@kernel
def correlate_part(operands, call, axes, tiled, plan, work):
    """Some bands of output channels and some blocks of tiles of a group."""
    blocks = plan.tiles
    a0, a1, _ = tiled
    chunks = -(-call.channels // blocks.channels)
    room, places = scratch(operands.workspace, _SPECTRA, operands.out.array), find_places(call, tiled, blocks)
    boxes = scratch_index(operands.workspace, _BOXES)
    known = -1  # the band whose kernels' spectra are complete
    for i in range(work.bands * work.count):  # LOOP 3
        if blocks.keeps_kernels:
            o, t = divmod(i, work.count)
        else:
            t, o = divmod(i, work.bands)
        block = find_block(call, tiled, blocks, work.group, work.band + o, work.first + t)
        if scratch_index(operands.workspace, _LEVELS)[0] != 0:
            sum_everything(operands, call, axes, tiled, plan, block)
            continue
        has_inputs, has_kernels = blocks.keeps_inputs != 0 and o > 0, blocks.keeps_kernels != 0 and o == known
        is_lost = has_inputs and is_all_direct(tiled, blocks, block, boxes)
        for chunk in range(0 if is_lost else chunks):  # LOOP 2
            c = chunk * blocks.channels
            channels = min(blocks.channels, call.channels - c)
            x = Spectra(room, chunk * places.input_chunk, places.input)
            w = Spectra(room, places.kernels + chunk * places.kernel_chunk, places.kernel)
            column, y = Spectra(room, places.column, places.kernel), Spectra(room, places.sums, places.sum)
            if not has_inputs:
                transform_inputs(operands, call, axes, tiled, blocks, block, c, channels, x)
                if chunk == 0:  # data that are too uneven here are so elsewhere: spare the rest
                    judge_tiles(operands, call, axes, tiled, blocks, block, channels, True)
                    is_lost = is_all_direct(tiled, blocks, block, boxes)
            if is_lost:
                break
            if not has_kernels:
                transform_weights(operands, call, axes, tiled, blocks, block, c, channels, w)
            multiply_block(blocks, block, a1.kernel, channels * a0.kernel, x, w, column, y, chunk > 0)
        if not is_lost:
            known = o
            if not has_inputs and chunks > 1:
                judge_tiles(operands, call, axes, tiled, blocks, block, call.channels, False)
            restore_block(operands, call, axes, tiled, blocks, block, Spectra(room, places.sums, places.sum))
        if not blocks.keeps_inputs:
            sum_tiles(operands, call, axes, tiled, plan, block, block.o, block.outputs)
        elif o == work.bands - 1:
            begin = work.band * blocks.outputs
            sum_tiles(operands, call, axes, tiled, plan, block, begin, block.o + block.outputs - begin)


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
def transform_inputs(operands, call, axes, tiled, blocks, block, c, channels, spectra):
    """The spectra `[number][tile][channel and plane]` of a chunk of the input of a block, and magnitudes of it."""
    a0, a1, a2 = tiled
    workspace, size = operands.workspace, blocks.size
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    slab, table = scratch(workspace, 0, operands.x.array), scratch_index(workspace, _TABLE)
    room = scratch(workspace, _ROOM, operands.x.array)
    sums, squares = scratch(workspace, _SUMS, operands.x.array), scratch(workspace, _SQUARES, operands.x.array)
    lanes, to, position = lanes_of(slab), spectra.start, 0
    for i in range(block.planes):
        n, p0 = divmod(block.plane + i, a0.out)
        for r in range(0, block.rows, blocks.strip):
            rows = min(blocks.strip, block.rows - r)
            layout = slab_layout(a0, a1, a2, size, rows, block.columns)
            first = n, block.group * call.channels + c, p0, (block.row + r) * step1, block.column * step2
            if call.rank > 1:
                terms = ReductionBlock(0, channels, 0, a0.kernel, 0, a1.kernel, 0, a2.kernel)
                pack_slab(operands.x, operands.fill, workspace, axes, layout, first, terms)
            else:
                pack_rows(operands, axes, layout, first, channels, a2.out)
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
def pack_rows(operands, axes, layout, first, channels, width):
    """Fill the slab with the rows of a signal, each of which reaches into the next one."""
    n, channel, p0, row, _ = first
    one = SlabLayout(1, 1, 1, layout.pitch, layout.pitch, layout.pitch, layout.channel)
    terms = ReductionBlock(0, channels, 0, 1, 0, 1, 0, axes[2].kernel)
    for r in range(layout.rows):
        room = part_of(operands.workspace, r * layout.pitch * compute_size(operands.x.array))
        pack_slab(operands.x, operands.fill, room, axes, one, (n, channel, p0, 0, (row + r) * width), terms)


@kernel
def fill_table(table, layout, planes, rows, step1, columns, step2, channels, lanes):
    """Where each tile of each channel and plane begins in a slab; lanes that are left over repeat the first one."""
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
def transform_weights(operands, call, axes, tiled, blocks, block, c, channels, spectra):
    """The spectra `[row][number][channel and plane][output]` of the rows of a chunk's kernels."""
    a0, a1, a2 = axes
    _, b1, b2 = tiled
    workspace, array = operands.workspace, operands.w.array
    packed, room, size = scratch(workspace, _TAPS, array), spectra.elements, blocks.size
    lanes, taps, plane = lanes_of(packed), a0.kernel * a1.kernel * a2.kernel, a1.kernel * a2.kernel
    most = TAPS // taps
    for v in range(0, block.outputs, lanes):
        outputs = OutputBlock(block.group, block.o + v, min(lanes, block.outputs - v), 0, 1, 0, 0, 1, 0, 1)
        for i in range(0, channels, most):
            count = min(most, channels - i)
            pack_kernels(operands.w, call, axes, outputs, c + i, Kernels(packed, lanes, 1, count, taps, call.flip))
            for j in range(count * a0.kernel):
                channel, k = divmod(j, a0.kernel)
                start = (channel * a0.kernel + tap_index(call, a0, k)) * plane * lanes
                row, column = b2.kernel * lanes, lanes
                if call.flip:
                    start, row, column = start + (plane - 1) * lanes, -row, -column
                to = spectra.start + (i * a0.kernel + j) * blocks.outputs + v
                # The last row of a signal's kernel may be shorter.
                full = b1.kernel if call.rank > 1 else a2.kernel // b2.kernel
                transform_kernel_rows(
                    size, Taps(packed, start, row, column, full, b2.kernel), Spectra(room, to, spectra.step)
                )
                if full < b1.kernel:
                    start, to = start + full * row, to + full * size * spectra.step
                    rest = Taps(packed, start, row, column, 1, a2.kernel - full * b2.kernel)
                    transform_kernel_rows(size, rest, Spectra(room, to, spectra.step))


@kernel
def multiply_block(blocks, block, rows, terms, inputs, kernels, column, sums, accumulate):
    """The products of all numbers of the spectra of a block.

    The kernels' spectra are completed column by column, so that they are in the caches when they are used.
    """
    lanes, tiles, size = lanes_of(sums.elements), block.planes * block.rows * block.columns, blocks.size
    width = -(-block.outputs // lanes)
    for j in range(size // 2):
        transform_kernel_columns(size, rows, j, terms * blocks.outputs, kernels, column)
        for k in range(size):  # LOOP 1
            is_real = j == 0 and (k == 0 or k == size // 2)
            pair = j * size + k
            x, y = inputs.start + 2 * pair * inputs.step, sums.start + 2 * pair * sums.step
            w = column.start + 2 * k * column.step
            for v in range(0, width, PRODUCT[1]):
                vectors, t = min(PRODUCT[1], width - v), 0
                while t < tiles:
                    left = tiles - t
                    count = -(-left // -(-left // PRODUCT[0]))
                    multiply_spectra(
                        count, vectors, is_real,
                        Factors(inputs.elements, x + t * terms, inputs.step, terms),
                        Factors(column.elements, w + v * lanes, column.step, blocks.outputs), terms,
                        Factors(sums.elements, y + t * blocks.outputs + v * lanes, sums.step, blocks.outputs),
                        accumulate,
                    )  # fmt: skip
                    t += count


@kernel
def restore_block(operands, call, axes, tiled, blocks, block, sums):
    """Transform a block's sums back, and finish and store them."""
    a0, a1, a2 = tiled
    workspace, out, bias, outs = operands.workspace, operands.out.array, operands.bias, operands.out.strides
    room, restored, added = (
        scratch(workspace, _ROOM, out),
        scratch(workspace, _TILE, out),
        scratch(workspace, _BIAS, out),
    )
    boxes, lanes, size = scratch_index(workspace, _BOXES), lanes_of(sums.elements), blocks.size
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    low, high = bounds(call, room, out)
    limits = Bounds(call.activation != NONE, low, high)
    step = outs.s1 if call.rank > 1 else a2.out * outs.s2
    most = max((JOINED // step1 - (size - step2)) // step2, 1)  # neighbours that are stored together
    for v in range(0, block.outputs, lanes):
        o, outputs = block.group * call.outputs + block.o + v, min(lanes, block.outputs - v)
        for i in range(lanes):
            has = call.has_bias and i < outputs
            added[i] = load(bias, (o + i) * stride(bias, 0)) if has else zero(out)
        for i in range(block.planes * block.rows):
            plane, r = divmod(i, block.rows)
            n, p0 = divmod(block.plane + plane, a0.out)
            for q in range(0, block.columns, most):
                count, tile = min(most, block.columns - q), i * block.columns + q
                p1, p2 = (block.row + r) * step1, (block.column + q) * step2
                rows, columns = min(step1, a1.out - p1), min(count * step2, a2.out - p2)
                pitch = (count * step2 + size - step2) * lanes
                for j in range(count):
                    if is_direct(tiled, blocks, block, boxes, tile + j):
                        continue  # its outputs are written later
                    spectra = Spectra(sums.elements, sums.start + (tile + j) * blocks.outputs + v, sums.step)
                    restore_tiles(size, spectra, room, rows, restored, j * step2 * lanes, pitch)
                where = n * outs.batch + o * outs.channel + p0 * outs.s0 + p1 * step + p2 * outs.s2
                for row in range(rows):
                    to, start = where + row * step, row * pitch
                    if call.rank == 1:
                        columns = min(a2.out, axes[2].out - (p1 + row) * a2.out)
                    if outs.s2 != 1 or call.activation > LAST_CLAMP:
                        store_elements(out, to, outs, restored, start, lanes, columns, outputs, bias, o, call)
                        continue
                    past = (address(out) // item_size(out) + to) % lanes  # full cache lines, from the first one on
                    j = 0
                    while j < columns:
                        some = min(columns - j, lanes - past if j == 0 and columns > 4 * lanes else lanes)
                        finish_transposed(
                            out,
                            to + j,
                            outs.channel,
                            1,
                            restored,
                            start + j * lanes,
                            lanes,
                            some,
                            outputs,
                            added,
                            limits,
                        )
                        j += some


@kernel
def store_elements(out, to, outs, restored, start, lanes, columns, outputs, bias, o, call):
    """Finish and store one row, an element at a time."""
    for i in range(outputs):
        for j in range(columns):
            at = to + i * outs.channel + j * outs.s2
            finish(out, at, restored[start + j * lanes + i], bias, (o + i) * stride(bias, 0), call)


# ---- which blocks are summed directly


@kernel
def norm_limits(array):
    """The least and the most that sums of squares may be: less are no longer exact, more overflow in a transform."""
    return (1e-30, 1e30) if compute_size(array) == 4 else (1e-280, 1e300)


@kernel
def judge_kernels(operands, call, axes, tiled, group):
    """How many of the taps of a group's kernels are small, in the words at `_LEVELS`.

    Word 0: 1 if the kernels are such that no tile may be transformed. Word `i`: how many taps of a kernel are below
    `2**-i` of the root of its mean square, at most.
    """
    a0, a1, a2 = axes
    w, levels = operands.w, scratch_index(operands.workspace, _LEVELS)
    run = scratch(operands.workspace, _TAPS, w.array)
    taps = a0.kernel * a1.kernel * a2.kernel
    none = a0.kernel * tiled[1].kernel * tiled[2].kernel - taps  # taps of a window that no kernel has
    least, most = norm_limits(w.array)
    in_order = lies_in_order(w.strides, call, axes)
    for i in range(LEVELS + 1):
        levels[i] = 0
    counts = scratch_index(operands.workspace, _LEVELS + 8 * (LEVELS + 1))
    for o in range(call.outputs):
        start = (group * call.outputs + o) * w.strides.batch
        square = zero(w.array)
        if in_order:
            square = sum_of_squares(elements(w.array), start, call.channels * taps)
        else:
            for c in range(call.channels):
                copy_kernel(w, start + c * w.strides.channel, axes, run)
                square += sum_of_squares(run, 0, taps)
        if not square < most or (call.algorithm == AUTO and 0 < square < least):
            levels[0] = 1
        if call.algorithm != AUTO or square == 0:
            continue
        root = type(square)(math.sqrt(square / (call.channels * taps)))
        for i in range(LEVELS):
            counts[i] = 0
        if in_order:
            count_below(elements(w.array), start, call.channels * taps, counts, root)
        else:
            for c in range(call.channels):
                copy_kernel(w, start + c * w.strides.channel, axes, run)
                count_below(run, 0, taps, counts, root)
        for i in range(LEVELS):
            levels[1 + i] = max(levels[1 + i], counts[i] + call.channels * none)


@kernel
def copy_kernel(w, start, axes, run):
    """The taps of a kernel, one after another."""
    a0, a1, a2 = axes
    at = 0
    for k0 in range(a0.kernel):
        for k1 in range(a1.kernel):
            for k2 in range(a2.kernel):
                run[at] = load(w.array, start + k0 * w.strides.s0 + k1 * w.strides.s1 + k2 * w.strides.s2)
                at += 1


@kernel
def judge_tiles(operands, call, axes, tiled, blocks, block, channels, is_first):
    """Write, at `_BOXES`, of each tile of a block the first and last row and column of what is to be summed directly.

    If only some channels were seen, the others are taken to be like them. What `is_first` finds to be all of a tile
    stays so.
    """
    _, a1, a2 = tiled
    workspace, size, array = operands.workspace, blocks.size, operands.x.array
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    boxes = scratch_index(workspace, _BOXES)
    sums, squares = scratch(workspace, _SUMS, array), scratch(workspace, _SQUARES, array)
    low = scratch(workspace, _WINDOWS, array)
    least, most = norm_limits(array)
    n, share = call.channels * axes[0].kernel * axes[1].kernel * axes[2].kernel, channels / call.channels
    factor, tile, position = ERROR * math.sqrt(n * share) / (4 * (n + 2)), 0, 0
    for _ in range(block.planes):
        for r in range(0, block.rows, blocks.strip):
            rows = min(blocks.strip, block.rows - r)
            layout = slab_layout(axes[0], a1, a2, size, rows, block.columns)
            if call.algorithm == AUTO:
                find_least(operands, a1, a2, layout, sums, squares, position, share)
            for i in range(rows):
                for q in range(block.columns):
                    at = i * step1 * layout.pitch + q * step2
                    height = min(step1, a1.out - (block.row + r + i) * step1)
                    width = min(step2, a2.out - (block.column + q) * step2)
                    total, square = sum_tile(sums, squares, position + at, layout.pitch, size)
                    box = 0, 0, 0, 0
                    if not square < most or (not is_first and is_direct(tiled, blocks, block, boxes, tile)):
                        box = 0, height, 0, width
                    elif call.algorithm == AUTO and total != 0:
                        box = 0, height, 0, width
                        if least < square:
                            box = box_below(low, at, layout.pitch, height, width, factor * math.sqrt(square))
                    for k in range(4):
                        boxes[4 * tile + k] = box[k]
                    tile += 1
            position += -(-layout.plane // 16) * 16


@kernel
def is_direct(tiled, blocks, block, boxes, tile):
    """Whether all of a tile is summed directly."""
    (rows, columns), at = tile_extent(tiled, blocks, block, tile), 4 * tile
    return boxes[at + 1] - boxes[at] == rows and boxes[at + 3] - boxes[at + 2] == columns


@kernel
def is_all_direct(tiled, blocks, block, boxes):
    """Whether all tiles of a block are summed directly."""
    for tile in range(block.planes * block.rows * block.columns):
        if not is_direct(tiled, blocks, block, boxes, tile):
            return False
    return True


@kernel
def tile_extent(tiled, blocks, block, tile):
    """Rows and columns of outputs of a tile."""
    _, a1, a2 = tiled
    step1, step2 = blocks.size - a1.kernel + 1, blocks.size - a2.kernel + 1
    r, q = tile // block.columns % block.rows, tile % block.columns
    return min(step1, a1.out - (block.row + r) * step1), min(step2, a2.out - (block.column + q) * step2)


@kernel
def sum_tile(sums, squares, start, pitch, size):
    """The sums of a tile's magnitudes and of their squares."""
    total = square = 0.0
    for i in range(size):
        for j in range(size):
            total += sums[start + i * pitch + j]
            square += squares[start + i * pitch + j]
    return total, square


@kernel
def box_below(low, start, pitch, rows, columns, bound):
    """The smallest box that holds the outputs of a tile that are below a bound; all of it, if that is most of it."""
    top, bottom, left, right = rows, 0, columns, 0
    for i in range(rows):
        for j in range(columns):
            if not low[start + i * pitch + j] >= bound:
                top, bottom, left, right = min(top, i), i + 1, min(left, j), max(right, j + 1)
    if bottom == 0:
        return 0, 0, 0, 0
    if 2 * (bottom - top) * (right - left) > rows * columns:
        return 0, rows, 0, columns
    return top, bottom, left, right


@kernel
def find_least(operands, a1, a2, layout, sums, squares, position, share):
    """Write to the words at `_WINDOWS` what sums of products of magnitudes are, at least, for each window of a slab.

    The unit is the root of the mean square of a kernel. Of a window's magnitudes, those that meet one of `count` taps
    below a level sum to `sqrt(count * sum of squares)` at most; the others are multiplied by the level or by more.
    """
    workspace, levels = operands.workspace, scratch_index(operands.workspace, _LEVELS)
    low = scratch(workspace, _WINDOWS, operands.x.array)
    total = scratch(workspace, _WINDOWS + 8 * STRIP, operands.x.array)
    square = scratch(workspace, _WINDOWS + 16 * STRIP, operands.x.array)
    for source, target in ((sums, total), (squares, square)):
        add_up(source, position, 1, a2.kernel, layout.plane, low)
        add_up(low, 0, layout.pitch, a1.kernel, layout.plane - (a1.kernel - 1) * layout.pitch, target)
    for i in range(layout.plane):
        square[i] = math.sqrt(square[i])
        low[i] = 0
    level = zero(operands.x.array) + 1
    for k in range(LEVELS):
        level = level / 2
        count = type(level)(math.sqrt(share * levels[1 + k]))
        for i in range(layout.plane):
            low[i] = max(low[i], level * (total[i] - count * square[i]))


@kernel
def sum_everything(operands, call, axes, tiled, plan, block):
    """Sum all outputs of a block directly."""
    boxes = scratch_index(operands.workspace, _BOXES)
    for tile in range(block.planes * block.rows * block.columns):
        boxes[4 * tile] = boxes[4 * tile + 2] = 0
        boxes[4 * tile + 1], boxes[4 * tile + 3] = tile_extent(tiled, plan.tiles, block, tile)
    sum_tiles(operands, call, axes, tiled, plan, block, block.o, block.outputs)


@kernel
def sum_tiles(operands, call, axes, tiled, plan, block, o, outputs):
    """Sum directly what the boxes of a block's tiles say; tiles that are summed as a whole, together."""
    a0, a1, a2 = tiled
    boxes, size = scratch_index(operands.workspace, _BOXES), plan.tiles.size
    step1, step2 = size - a1.kernel + 1, size - a2.kernel + 1
    p1, p2 = block.row * step1, block.column * step2
    if is_all_direct(tiled, plan.tiles, block, boxes):
        rows, columns = min(block.rows * step1, a1.out - p1), min(block.columns * step2, a2.out - p2)
        for i in range(block.planes):
            n, p0 = divmod(block.plane + i, a0.out)
            sum_box(
                operands, call, axes, tiled, plan, OutputBlock(block.group, o, outputs, n, 1, p0, p1, rows, p2, columns)
            )
        return
    for tile in range(block.planes * block.rows * block.columns):
        rest, q = divmod(tile, block.columns)
        i, r = divmod(rest, block.rows)
        n, p0 = divmod(block.plane + i, a0.out)
        top, bottom, left, right = boxes[4 * tile], boxes[4 * tile + 1], boxes[4 * tile + 2], boxes[4 * tile + 3]
        i1, i2 = p1 + r * step1 + top, p2 + q * step2 + left
        box = OutputBlock(block.group, o, outputs, n, 1, p0, i1, bottom - top, i2, right - left)
        sum_box(operands, call, axes, tiled, plan, box)


@kernel
def sum_box(operands, call, axes, tiled, plan, box):
    """Sum a block of the output directly; of a signal, whole rows."""
    a0, a1, a2 = axes
    source = direct.choose_source(operands.x.array, operands.x.strides, operands.fill, plan.sums, a0, a1, a2)
    blocks = plan.sums.in_place if source.in_place else plan.sums.masked if source.masked else plan.sums.packed
    if call.rank == 1:
        begin, end = box.p1 * tiled[2].out, min((box.p1 + box.rows) * tiled[2].out, a2.out)
        box = OutputBlock(box.group, box.o, box.outputs, box.n, 1, box.p0, 0, 1, begin, end - begin)
    for i in range(0, box.rows, blocks.rows):
        for j in range(0, box.columns, blocks.columns):
            for m in range(0, box.outputs, blocks.outputs):
                part = OutputBlock(
                    box.group, box.o + m, min(blocks.outputs, box.outputs - m), box.n, 1, box.p0,
                    box.p1 + i, min(blocks.rows, box.rows - i), box.p2 + j, min(blocks.columns, box.columns - j),
                )  # fmt: skip
                direct.correlate_block(operands, call, axes, blocks, source, part, m > 0, m > 0)
