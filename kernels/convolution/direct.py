"""Direct correlation over up to three spatial axes: a matrix product whose right operand is never built.

For each slab of the output (a few rows of one image and group), and each block of the reduction (channels and taps):

    pack      the slab's input, from any strides, into contiguous planes; a stride splits a plane into phases, so that
              neighbouring outputs always read neighbouring elements. Rows of such elements are read in place.
    masks     zeros around the input need no room: which lanes a tap really meets is found once for all groups
    offsets   a table: where each tap's row starts in the slab; kernel shape, dilation and phases live here only
    panel     with kernels of one tap: what a tile reads, copied once more for all output channels, fills L1
    tile      register tiles of output channels by vectors of positions, over all taps and channels; with the whole
              reduction in one block, the bias, the activation and the output too
    store     otherwise: bias, activation and the copy of the sums to the output's strides

Vectors run on from row to row where little or nothing lies between rows, else each row has its own. The workspace holds
one slab, one table, one block of sums and the kernels of a few output channels, whatever the size of the input. A sum
adds its terms in an order that depends on the sizes of one image alone: threads and batch size change no bit.

Two phases of a transposed convolution, whose outputs alternate, are summed one after another, from input that is read
in place, and stored as one row. What the second one has in the workspace lies where a slab would.
"""

from typing import Any, NamedTuple

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
    is_padded,
    make_all,
    pack_numbers,
    widest_phase,
    words_of,
)
from ..simd.packing import finish_pair
from ..simd.tiles import TILES, Added, Inputs, Positions, Taps, Target, Weights, pack_panel, tile, tile_shape
from ..simd.vectors import MASKED, VECTOR_BYTES, Bounds, lanes_of
from ..strided import (
    Strides,
    compute_size,
    elements,
    five_strides,
    is_aligned,
    is_plain,
    load,
    load_tuple,
    scratch,
    scratch_index,
    stride,
    zero,
)  # fmt: skip
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, phase_axis, write_tuple
from .activation import bounds, finish_row
from .blocking import DIRECT
from .costs import DIRECT as DIRECT_COSTS
from .costs import phases_of, scale_of, whole_vectors
from .operands import Operand, Operands, OutputBlock, ReductionBlock, first_output
from .pack import SLACK, SlabLayout, pack_slab, pack_weights, tap_index

BAND, PANEL = TILES[0]  # output channels of the widest tile, and its vectors
SLAB_BYTES, SUMS_BYTES, TABLE_ENTRIES = DIRECT.slab_bytes, DIRECT.sums_bytes, DIRECT.table_entries
MASKS, COLUMNS, PANEL_OUTPUTS = DIRECT.masks, DIRECT.columns, DIRECT.panel_outputs
VECTORS = SUMS_BYTES // 3 // VECTOR_BYTES  # of a block of the output
PANEL_CHANNELS = 96  # at least: tiles of fewer are soon done, and write to more pages than are at hand
WEIGHT_BYTES = 8 * 16 * TABLE_ENTRIES  # a band of the widest type
_SUMS = SLAB_BYTES + 64  # packing writes full vectors
_TABLE = _SUMS + SUMS_BYTES
_OFFSETS = _TABLE + 24 * TABLE_ENTRIES
_MASKS = _OFFSETS + 16 * VECTORS
_ADDED = _MASKS + 4 * MASKS
_WEIGHTS = _ADDED + 16 * PANEL_OUTPUTS
_PANEL = _WEIGHTS + WEIGHT_BYTES
_PLACES = _PANEL + PANEL * VECTOR_BYTES * TABLE_ENTRIES
_PANEL_TAP = _PLACES + 16 * PANEL
_PANEL_MASKS = _PANEL_TAP + 24
WORKSPACE_BYTES = -(-(_PANEL_MASKS + 8 * PANEL) // 64) * 64
_LINE = 64 // 4  # elements of the longest vector, which rows of sums are rounded up to


class DirectBlocks(NamedTuple):
    """How far each loop runs at a time."""

    channels: int
    k0: int
    k1: int
    k2: int
    rows: int
    columns: int
    outputs: int


class Plan(NamedTuple):
    """Whether masks may stand for padding where the input is packed, and where it is read in place; and the blocks."""

    allows_packed: int
    allows_in_place: int
    packed: DirectBlocks  # without masks
    masked: DirectBlocks  # packed, with masks if they are allowed
    in_place: DirectBlocks


_PLAN_WORDS = PLAN + words_of(Plan)
_PHASE_WORDS = words_of(Phase)


class Source(NamedTuple):
    """Where the input is read, and whether masks stand for its padding: in place all, packed only that of columns."""

    in_place: bool
    masked: bool


# ---- what is known before the arrays are: plain Python


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    (a0, a1, a2), costs, scale = axes, DIRECT_COSTS, scale_of(element)
    (phases1, height), (phases2, width) = phases_of(a1), phases_of(a2)
    # Vectors run on from row to row, or each row has its own.
    positions = min(a1.out * whole_vectors(a2.out, element), a1.out * width + VECTOR_BYTES // element.itemsize)
    terms = float(call.channels) * (float(a0.kernel) * float(a1.kernel) * float(a2.kernel))
    together = PANEL_OUTPUTS if has_panels(call, axes, call.channels, call.outputs) else BAND  # share what is loaded
    sums = terms * (call.outputs * costs.mac + -(-call.outputs // together) * costs.load) + call.outputs * costs.output
    work = a0.out * (costs.plane + call.outputs * costs.row + positions * sums * scale)
    if max(a0.stride, a1.stride, a2.stride) > 1:
        planes, rows = float(call.channels) * a0.kernel * a0.out, phases1 * phases2 * height
        elements_of_rows = rows * width * scale if a2.stride > 1 else 0.0
        work += planes * (costs.packed_plane + rows * costs.packed_row + elements_of_rows * costs.packed)
    else:
        work += float(call.channels) * (float(a0.size) * float(a1.size) * float(a2.size)) * costs.input * scale
    return call.groups * work


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    write_tuple(numbers, PLAN, make_plan(call, axes, element.itemsize))


def phase_numbers(call, axes, element, phases):
    """The numbers of a call that makes all outputs of its last axis, a transposed one, by these phases.

    None: they are not two, or have too many terms for one block or for masks in place of padding.
    """
    a0, a1, a2 = axes
    widest = widest_phase(a2, phases)
    plan = make_plan(call, (a0, a1, widest), element.itemsize)
    blocks = plan.in_place
    is_one = (call.channels, a0.kernel, a1.kernel, widest.kernel) == blocks[:4]
    if not make_all(a2, phases) or a2.stride != 2 or element.is_complex or not (is_one and plan.allows_in_place):
        return None
    numbers = pack_numbers(call, (a0, a1, widest), _PLAN_WORDS + len(phases) * _PHASE_WORDS)
    end = write_tuple(numbers, PLAN, plan)
    for phase in phases:
        end = write_tuple(numbers, end, phase)
    return numbers


@plain
def make_plan(call, axes, itemsize):
    """The `Plan` of a call."""
    a0, a1, a2 = axes
    masked = allows_masks(call, a0, a1, a2, itemsize, False)
    return Plan(
        int(masked),
        int(allows_masks(call, a0, a1, a2, itemsize, True)),
        choose_blocks(call, a0, a1, a2, itemsize, False, False, masked),
        choose_blocks(call, a0, a1, a2, itemsize, False, masked, masked),
        choose_blocks(call, a0, a1, a2, itemsize, True, is_padded(a0, a1, a2), masked),
    )


@plain
def allows_masks(call, a0, a1, a2, itemsize, in_place):
    """Whether masks may stand for padding that is zeros: enough channels share them."""
    taps, channels = a1.kernel * a2.kernel, call.groups * call.channels
    lanes = VECTOR_BYTES // itemsize
    if not MASKED or taps > 4 * channels or (taps + 2) * (min(a2.out, COLUMNS) // lanes + 2) > MASKS:
        return False
    if in_place:
        return True
    # The columns of all taps lie in one block.
    rows = min((a1.kernel - 1) * a1.dilation + a1.stride, HUGE)
    row = min(max(a2.out * a2.stride, a2.size + a2.stride), HUGE)
    fits = a0.kernel * rows * row + SLACK <= SLAB_BYTES // itemsize and taps * a0.kernel <= TABLE_ENTRIES
    return fits and 2 * taps <= channels and a2.out <= COLUMNS


@plain
def has_panels(call, axes, channels, outputs):
    """Whether panels are worth their copy: taps, which share what they read, need none.

    Flipped kernels of one tap are most often phases of transposed ones, whose channels lie apart: packed, `dense` has
    them side by side.
    """
    are_many = channels >= PANEL_CHANNELS and outputs >= 4 * BAND
    return are_many and axes[0].kernel * axes[1].kernel * axes[2].kernel == 1 and not call.flip


@plain
def choose_blocks(call, a0, a1, a2, itemsize, in_place, has_masks, is_either):
    """The largest blocks whose slab, sums, masks and table fit: taps first, then channels, rows and outputs.

    Taps and channels are the same for any source, so that all layouts of an array give the same bits: where slabs may
    be masked or not (`is_either`), the larger has to fit.
    """
    slab, sums, lanes = SLAB_BYTES // itemsize, SUMS_BYTES // itemsize, VECTOR_BYTES // itemsize
    k0, k1, k2 = a0.kernel, a1.kernel, a2.kernel
    columns, masked = min(a2.out, COLUMNS), has_masks and not in_place
    while True:
        channel = packed_layout(a1, a2, False, DirectBlocks(1, k0, k1, k2, 1, columns, 1), 1, columns).channel
        if is_either:
            other = packed_layout(a1, a2, True, DirectBlocks(1, k0, k1, k2, 1, columns, 1), 1, columns).channel
            channel = max(channel, other)
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
    are_read_once = in_place and has_panels(call, (a0, a1, a2), channels, call.outputs)
    rows, row = 0, 0
    masks = a1.kernel * a2.kernel + 2 if has_masks else 2
    while rows < a1.out:
        layout = packed_layout(a1, a2, masked, DirectBlocks(1, k0, k1, k2, rows + 1, columns, 1), rows + 1, columns)
        positions = (rows + 1) * max(layout.pitch, -(-columns // lanes) * lanes)
        too_many = positions * min(BAND, call.outputs) > sums // 3 or (positions // lanes + 1) * masks > MASKS
        if rows > 0 and (too_many or (layout.channel * channels > slab and not are_read_once)):
            break
        rows, row = rows + 1, positions + _LINE
    rows = -(-a1.out // -(-a1.out // rows))  # slabs of even height
    # One block of the reduction: few outputs, whose sums stay in L1. Several: many, so that packing is rarer.
    outputs = BAND if one_block else max(BAND, sums // row // BAND * BAND)
    return DirectBlocks(channels, k0, k1, k2, rows, columns, min(outputs, call.outputs))


@plain
def packed_layout(a1, a2, masked, blocks, rows, columns):
    """Layout of a packed slab for a block of taps and an output of `rows` by `columns`."""
    phases1 = min(a1.stride, (blocks.k1 - 1) * a1.dilation + 1, HUGE)
    phases2 = min(a2.stride, (blocks.k2 - 1) * a2.dilation + 1, HUGE)
    rows = min(rows + (blocks.k1 - 1) * a1.dilation // a1.stride, HUGE)
    pitch = min(columns + (blocks.k2 - 1) * a2.dilation // a2.stride, HUGE)
    if masked:
        phases2 = phases2 if a2.before % a2.stride == 0 else a2.stride
        pitch = max(columns, -(-a2.size // a2.stride))
    phase = min(rows * pitch, HUGE)
    plane = min(min(phases1 * phases2, HUGE) * phase, HUGE)
    return SlabLayout(phases1, phases2, rows, pitch, phase, plane, blocks.k0 * plane + SLACK)


# ---- kernels


class Cover(NamedTuple):
    """How vectors cover the positions of a block of the output: all rows in one run (`is_flat`), or each on its own."""

    is_flat: bool
    step: int  # lanes from row to row
    vectors: int


class Product(NamedTuple):
    """What the tiles of a block have in common: the inputs of a block of terms, and what becomes of the sums."""

    inputs: Inputs
    taps: Taps
    offsets: Any  # as the masks, of `Positions`
    masks: Any
    vectors: int
    target: Target
    accumulate: bool
    is_direct: bool  # tiles add the bias and apply the activation, and the target is the output


@kernel
def choose_source(x, xs, fill, plan, a0, a1, a2):
    """Rows of neighbouring elements are read in place, if they meet no padding or masks stand for it."""
    is_converted = is_plain(fill) and not is_plain(x)
    padded = is_padded(a0, a1, a2)
    in_order = MASKED and xs.s2 == 1 and a0.stride * a1.stride * a2.stride == 1
    if in_order and is_converted:  # without masks, sums have the blocks that they have in place: the same bits
        return Source(False, False)
    in_place = in_order and is_plain(x)
    zeros = load(fill, 0) == zero(fill) and a0.boundary + a1.boundary + a2.boundary == CONSTANT
    masked = padded and zeros and (plan.allows_in_place if in_place else plan.allows_packed) != 0
    return Source(in_place and (masked or not padded), masked)


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1.

    Returns False, nothing written, if a pointer or stride is misaligned.
    The numbers of the call are followed by those of `write_plan`.
    `threads` share the work, each with `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 5  over blocks of the output (positions, images, groups), which threads take from a counter
    LOOP 4  over chunks of a block's output channels, whose sums stay in L2: all read the same slab of the input
    LOOP 3  over blocks of the reduction (channels, taps), whose slab is packed and stays in L2, or is read in place
    LOOP 2  over bands of output channels, whose weights stay in L1 or L2, packed only where they lie badly for it
    LOOP 1  over the register tiles of a band: some of its output channels by some vectors of positions
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
    source = choose_source(x, xs, fill, plan, a0, a1, a2)
    blocks = plan.in_place if source.in_place else plan.masked if source.masked else plan.packed
    slabs2, images = -(-a2.out // blocks.columns), call.batch * call.groups
    wanted = 4 * threads
    if threads > 1 and source.in_place and has_panels(call, axes, call.channels, call.outputs):
        least = 4 * PANEL * lanes_of(scratch(workspace, 0, out))  # positions that leave few lanes empty
        rows = max(-(-a1.out * a0.out * slabs2 * images // wanted), -(-least // blocks.columns))
        blocks, wanted = with_rows(blocks, min(blocks.rows, rows)), 2 * threads  # each packs panels of its own
    slabs = a0.out * -(-a1.out // blocks.rows) * slabs2
    parts, outputs = 1, call.outputs
    if slabs * images < wanted:  # few slabs: threads share their output channels, and each packs for itself
        parts = max(min(threads, -(-call.outputs // BAND)), 1)
        outputs = -(-call.outputs // (parts * BAND)) * BAND
    known, item = -1, take_item(team) if threads > 1 else 0
    while item < slabs * images * parts:  # LOOP 5
        slab, rest = divmod(item, images * parts)
        rest, part = divmod(rest, parts)
        n, g = divmod(rest, call.groups)
        rest, s2 = divmod(slab, slabs2)
        p0, s1 = divmod(rest, -(-a1.out // blocks.rows))
        p1, p2 = s1 * blocks.rows, s2 * blocks.columns
        rows, columns = min(blocks.rows, a1.out - p1), min(blocks.columns, a2.out - p2)
        o, end = part * outputs, min((part + 1) * outputs, call.outputs)
        while o < end:  # LOOP 4
            block = OutputBlock(g, o, end - o, n, 1, p0, p1, rows, p2, columns)
            done = correlate_block(operands, call, axes, blocks, source, block, o > part * outputs, slab == known)
            o, known = o + done, slab
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def with_rows(blocks, rows):
    """The blocks, of so many rows."""
    return DirectBlocks(blocks.channels, blocks.k0, blocks.k1, blocks.k2, rows, blocks.columns, blocks.outputs)


@entry
def correlate_phases(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`correlate` for two phases of a transposed last axis. Returns False, too, where input cannot be read in place."""
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    axes = load_axes(numbers.data, CALL_FIELDS)
    a0, a1, a2 = axes
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    plan = load_tuple(numbers.data, PLAN, Plan)
    source, blocks = choose_source(x, xs, fill, plan, a0, a1, a2), plan.in_place
    in_rows = source.in_place and is_plain(w) and outs.s2 == 1
    if not in_rows or ws.batch * compute_size(w) % 4096 == 0:  # kernels that would be copied
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    slabs1, slabs2 = -(-a1.out // blocks.rows), -(-a2.out // blocks.columns)
    chunks, images = -(-call.outputs // blocks.outputs), call.batch * call.groups
    known, item = -1, take_item(team) if threads > 1 else 0
    while item < a0.out * slabs1 * slabs2 * images * chunks:
        slab, rest = divmod(item, images * chunks)
        rest, chunk = divmod(rest, chunks)
        n, g = divmod(rest, call.groups)
        rest, s2 = divmod(slab, slabs2)
        p0, s1 = divmod(rest, slabs1)
        o, p1, p2 = chunk * blocks.outputs, s1 * blocks.rows, s2 * blocks.columns
        block = OutputBlock(
            g, o, min(blocks.outputs, call.outputs - o), n, 1, p0, p1, min(blocks.rows, a1.out - p1), p2, blocks.columns
        )  # fmt: skip
        correlate_pair(operands, call, axes, source, block, slab == known, numbers.data)
        known = slab
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def correlate_pair(operands, call, axes, source, block, is_known, numbers):
    """`correlate_block` for two phases, the columns of both together."""
    a0, a1, a2 = axes
    out, outs, bias, (w, ws) = operands.out.array, operands.out.strides, operands.bias, operands.w
    workspace, xs = operands.workspace, operands.x.strides
    sums = scratch(workspace, _SUMS, out)
    lanes = lanes_of(sums)
    layout = SlabLayout(1, 1, block.rows, xs.s1, 0, xs.s0, xs.channel)
    even = odd = Target(sums, 0, 0)
    even_step = odd_step = start = width = 0
    for f in range(2):
        phase = load_tuple(numbers, _PLAN_WORDS + f * _PHASE_WORDS, Phase)
        columns = min(block.columns, phase.out - block.p2)
        if columns <= 0:
            continue
        of_phase = a0, a1, phase_axis(a2, phase)
        of_taps = Strides(ws.batch, ws.channel, ws.s0, ws.s1, ws.s2 * phase.tap_step)
        given = Operands(operands.x, Operand(w, of_taps), bias, operands.out, operands.fill, workspace)
        part = OutputBlock(
            block.group, block.o, block.outputs, block.n, 1, block.p0, block.p1, block.rows, block.p2, columns
        )  # fmt: skip
        terms = ReductionBlock(0, call.channels, 0, a0.kernel, 0, a1.kernel, 0, phase.taps)
        table, offsets = scratch_index(workspace, _TABLE - f * _TABLE), scratch_index(workspace, _OFFSETS - f * _TABLE)
        masks = scratch(workspace, _MASKS - f * _TABLE, workspace)
        cover = choose_cover(part, xs.s1, -1, lanes)
        taps = Taps(table, a0.kernel * a1.kernel * phase.taps, call.channels)
        if not is_known:
            fill_offsets(offsets, part, cover, xs.s1, cover.step, lanes)
            fill_masks(masks, part, cover, of_phase, source, lanes)
            fill_table(table, of_taps, call, of_phase, layout, terms, source, part, cover.vectors)
            for t in range(taps.count):
                table[3 * t + 1] += phase.tap * ws.s2
        target = Target(sums, start, cover.vectors * lanes)
        inputs = find_inputs(operands.x, call, of_phase, part, terms)
        product = Product(inputs, taps, offsets, masks, cover.vectors, target, False, False)
        multiply_block(given, call, of_phase, part, terms, product)
        even, even_step = (even, even_step) if phase.first > 0 else (target, cover.step)
        odd, odd_step = (target, cover.step) if phase.first > 0 else (odd, odd_step)
        start += block.outputs * target.row
        width += columns
    where, o = first_output(outs, call, block) + block.p2 * outs.s2, block.group * call.outputs + block.o
    for i in range(block.outputs):
        added = load(bias, (o + i) * stride(bias, 0)) if call.has_bias else zero(out)
        for r in range(block.rows):
            finish_pair(
                out, where + i * outs.channel + r * outs.s1, sums, even.start + i * even.row + r * even_step,
                odd.start + i * odd.row + r * odd_step, width, added,
            )  # fmt: skip


@kernel
def correlate_block(operands, call, axes, blocks, source, block, is_packed, is_known):
    """The first outputs of a block; how many.

    `is_packed`: earlier outputs have packed the slab.
    `is_known`: the workspace holds the offsets and masks of a block of these positions.
    """
    out, outs, workspace = operands.out.array, operands.out.strides, operands.workspace
    layout = choose_layout(operands.x.strides, axes, blocks, source, block)
    table, masks = scratch_index(workspace, _TABLE), scratch(workspace, _MASKS, workspace)
    sums, offsets = scratch(workspace, _SUMS, out), scratch_index(workspace, _OFFSETS)
    lanes = lanes_of(sums)
    cover = choose_cover(block, layout.pitch, outs.s1, lanes)
    reduction = count_blocks(call, axes, blocks)
    # With all of the reduction in one block, tiles finish their sums and store them to the output.
    is_direct = reduction == 1 and is_plain(out) and outs.s2 == 1 and call.activation <= LAST_CLAMP
    is_direct = is_direct and (not cover.is_flat or outs.s1 == layout.pitch or block.rows == 1)
    # Others have room for the sums of a few outputs.
    are_all = is_direct and has_panels(call, axes, call.channels, block.outputs)
    outputs = block.outputs if are_all else min(block.outputs, blocks.outputs)
    block = OutputBlock(
        block.group, block.o, outputs, block.n, 1, block.p0, block.p1, block.rows, block.p2, block.columns
    )  # fmt: skip
    target = Target(sums, 0, cover.vectors * lanes)
    if is_direct:
        target = Target(elements(out), first_output(outs, call, block), outs.channel)
    if not is_known:
        fill_offsets(offsets, block, cover, layout.pitch, outs.s1 if is_direct else cover.step, lanes)
        fill_masks(masks, block, cover, axes, source, lanes)
    for i in range(reduction):  # LOOP 3
        terms = reduction_block(call, axes, blocks, i)
        inputs = Inputs(scratch(workspace, 0, operands.x.array), 0, layout.channel)
        if source.in_place:
            inputs = find_inputs(operands.x, call, axes, block, terms)
        elif reduction > 1 or not is_packed:
            pack_block(operands, call, axes, source, layout, block, terms)
        if reduction > 1 or not is_known:
            fill_table(table, operands.w.strides, call, axes, layout, terms, source, block, cover.vectors)
        taps = Taps(table, terms.taps0 * terms.taps1 * terms.taps2, terms.channels)
        product = Product(inputs, taps, offsets, masks, cover.vectors, target, i > 0, is_direct)
        multiply_block(operands, call, axes, block, terms, product)
    if not is_direct:
        store_block(operands, call, block, cover, target)
    return outputs


@inlined
def choose_layout(xs, axes, blocks, source, block):
    """The layout of a block's input: packed, or as it lies in the array."""
    if source.in_place:
        return SlabLayout(1, 1, block.rows, xs.s1, 0, xs.s0, xs.channel)
    return packed_layout(axes[1], axes[2], source.masked, blocks, block.rows, block.columns)


@inlined
def choose_cover(block, pitch, out_pitch, lanes):
    """Vectors run on from row to row if nothing lies between rows, or less than in the last vectors of rows."""
    rows, columns = block.rows, block.columns
    row = -(-columns // lanes) * lanes
    is_flat = pitch == columns == out_pitch or (pitch >= columns and 5 * pitch < row * 4)
    step = pitch if is_flat else row
    return Cover(is_flat, step, -(-((rows - 1) * step + columns) // lanes))


@inlined
def find_inputs(x, call, axes, block, terms):
    """Where the first terms of a block lie in the array."""
    xs = x.strides
    a0, a1, a2 = axes
    start = block.n * xs.batch + (block.group * call.channels + terms.c) * xs.channel
    start += (block.p0 + terms.k0 * a0.dilation - a0.before) * xs.s0
    start += (block.p1 + terms.k1 * a1.dilation - a1.before) * xs.s1
    start += block.p2 + terms.k2 * a2.dilation - a2.before
    return Inputs(elements(x.array), start, xs.channel)


@inlined
def pack_block(operands, call, axes, source, layout, block, terms):
    """Pack what a block of terms reads."""
    a0, a1, a2 = axes
    b2, p2 = a2, block.p2
    if source.masked:  # the slab holds whole rows, and no padding of columns
        b2, p2 = Axis(a2.size, a2.kernel, a2.stride, a2.dilation, 0, a2.after, a2.boundary, a2.out), 0
    first = block.n, block.group * call.channels + terms.c, block.p0, block.p1, p2
    pack_slab(operands.x, operands.fill, operands.workspace, (a0, a1, b2), layout, first, terms)


@inlined
def multiply_block(operands, call, axes, block, terms, product):
    """Multiply a block of terms with the weights of all its output channels."""
    w, ws, bias, out = operands.w.array, operands.w.strides, operands.bias, operands.out.array
    packed, added = scratch(operands.workspace, _WEIGHTS, w), scratch(operands.workspace, _ADDED, out)
    low, high = bounds(call, added, out)
    limits = Bounds(product.is_direct and call.activation != NONE, low, high)
    taps, target = product.taps, product.target
    # Kernels a multiple of 4 KiB apart share few places in L1: worth a copy where they are used often.
    is_copied = not is_plain(w) or (ws.batch * compute_size(w) % 4096 == 0 and product.vectors > 6)
    band, panels = BAND, has_panels(call, axes, terms.channels, block.outputs)
    if panels:  # which leave such kernels the places that they share; but channels should lie near
        is_copied = not is_plain(w) or abs(ws.batch) < abs(ws.channel)
        band = min(PANEL_OUTPUTS, WEIGHT_BYTES // (terms.channels * compute_size(w)) // BAND * BAND)
    for i in range(0, block.outputs, band):  # LOOP 2
        o, outputs = block.group * call.outputs + block.o + i, min(band, block.outputs - i)
        for m in range(outputs):
            has = product.is_direct and call.has_bias
            added[m] = load(bias, (o + m) * stride(bias, 0)) if has else zero(out)
        weights = Weights(elements(w), o * ws.batch + terms.c * ws.channel, ws.batch, ws.channel)
        if is_copied:
            weights = Weights(packed, 0, 1, taps.count * outputs)
            for t in range(taps.count):
                taps.table[3 * t + 1] = t * outputs
            pack_weights(operands.w, packed, call, axes, terms, o, outputs)
        rows = Target(target.elements, target.start + i * target.row, target.row)
        sums = Added(product.accumulate, added, 0)
        if panels:
            multiply_panels(operands, outputs, product, weights, rows, sums, limits)
        else:
            multiply_band(outputs, product, weights, rows, sums, limits)


@kernel
def multiply_panels(operands, outputs, product, weights, target, added, limits):
    """`multiply_band` for many output channels of one tap, panel by panel of positions."""
    workspace = operands.workspace
    panel, places = scratch(workspace, _PANEL, operands.x.array), scratch_index(workspace, _PLACES)
    masks, lanes, v = scratch(workspace, _PANEL_MASKS, workspace), lanes_of(panel), 0
    table = scratch_index(workspace, _PANEL_TAP)
    table[0], table[1], table[2] = 0, product.taps.table[1], PANEL
    while v < product.vectors:
        vectors = PANEL if v + PANEL <= product.vectors else 1
        pack_panel(vectors, product.inputs, product.taps, Positions(product.offsets, product.masks, v), panel)
        for j in range(vectors):
            places[2 * j], places[2 * j + 1] = j * lanes, product.offsets[2 * (v + j) + 1]
            masks[j], masks[PANEL + j] = product.masks[v + j], (1 << lanes) - 1
        inputs, taps = Inputs(panel, 0, vectors * lanes), Taps(table, 1, product.taps.channels)
        of_panel = Product(inputs, taps, places, masks, vectors, target, product.accumulate, product.is_direct)
        multiply_band(outputs, of_panel, weights, target, added, limits)
        v += vectors


@kernel
def multiply_band(outputs, product, weights, target, added, limits):
    """`tile` for any number of output channels and of vectors."""
    m = 0
    while m < outputs:  # LOOP 1
        rows, most = tile_shape(target.elements, outputs - m)
        of_rows = Weights(weights.elements, weights.start + m * weights.output, weights.output, weights.channel)
        to_rows = Target(target.elements, target.start + m * target.row, target.row)
        of_sums = Added(added.accumulate, added.values, m)
        v = 0
        while v < product.vectors:
            vectors = most if v + most <= product.vectors else 1
            positions = Positions(product.offsets, product.masks, v)
            tile(rows, vectors, product.inputs, product.taps, positions, of_rows, to_rows, of_sums, limits)
            v += vectors
        m += rows


@kernel
def fill_offsets(offsets, block, cover, pitch, target_pitch, lanes):
    """Where each vector of positions lies in the inputs and in the target."""
    rows, columns = block.rows, block.columns
    if cover.is_flat:
        rows, columns = 1, (rows - 1) * pitch + columns
    at = 0
    for r in range(rows):
        for j in range(0, columns, lanes):
            offsets[at] = r * pitch + j
            offsets[at + 1] = r * target_pitch + j
            at += 2


@kernel
def fill_masks(masks, block, cover, axes, source, lanes):
    """Masks of the block's vectors, one after another.

    The first ones tell which lanes are outputs. If masks stand for padding, those follow that tell for each tap of a
    plane which lanes meet an element of the input, and at last masks that are empty.
    """
    _, a1, a2 = axes
    rows, columns, vectors, step = block.rows, block.columns, cover.vectors, cover.step
    taps = a1.kernel * a2.kernel if source.masked else 0
    for i in range((taps + 2) * vectors):
        masks[i] = 0
    for tap in range(taps + 1):
        top, bottom, left, right = 0, rows, 0, columns
        if tap > 0:
            k1, k2 = divmod(tap - 1, a2.kernel)
            begin, end = outputs_inside(a2, k2)
            left, right = max(begin - block.p2, 0), min(end - block.p2, columns)
            if source.in_place:
                begin, end = outputs_inside(a1, k1)
                top, bottom = max(begin - block.p1, 0), min(end - block.p1, rows)
        for r in range(top, bottom if left < right else top):
            first_lane, last_lane = r * step + left, r * step + right - 1
            for v in range(first_lane // lanes, last_lane // lanes + 1):
                low, high = max(first_lane - v * lanes, 0), min(last_lane - v * lanes, lanes - 1)
                masks[tap * vectors + v] |= (2 << high) - (1 << low)


@kernel
def outputs_inside(axis, k):
    """Which outputs meet an element of the input at tap `k`: from, to."""
    at = k * axis.dilation - axis.before
    return -(at // axis.stride), (axis.size - 1 - at) // axis.stride + 1


@kernel
def fill_table(table, ws, call, axes, layout, terms, source, block, vectors):
    """For each tap: where its first element lies in the inputs, its weight in a kernel, and the masks of its inputs."""
    a0, a1, a2 = axes
    depth = a0.dilation if source.in_place else 1  # a packed slab holds only the planes that taps meet
    before = a2.before - block.p2 * a2.stride if source.masked and not source.in_place else 0
    e = 0
    for k0 in range(terms.taps0):
        i0 = block.p0 + (terms.k0 + k0) * a0.dilation - a0.before
        for k1 in range(terms.taps1):
            row, phase1 = divmod(k1 * a1.dilation, a1.stride)
            for k2 in range(terms.taps2):
                column, phase2 = divmod(k2 * a2.dilation - before, a2.stride)
                offset = k0 * depth * layout.plane + (phase1 * layout.phases2 + phase2) * layout.phase
                table[e] = offset + row * layout.pitch + column
                table[e + 1] = tap_index(call, a0, terms.k0 + k0) * ws.s0
                table[e + 1] += tap_index(call, a1, terms.k1 + k1) * ws.s1
                table[e + 1] += tap_index(call, a2, terms.k2 + k2) * ws.s2
                table[e + 2] = 0
                if source.masked:
                    tap = (terms.k1 + k1) * a2.kernel + terms.k2 + k2
                    if source.in_place and not 0 <= i0 < a0.size:
                        tap = a1.kernel * a2.kernel
                    table[e + 2] = (1 + tap) * vectors
                e += 3


@kernel
def count_blocks(call, axes, blocks):
    """DirectBlocks of the reduction. Without channels there is one, empty, which clears the sums."""
    a0, a1, a2 = axes
    taps = -(-a0.kernel // blocks.k0) * -(-a1.kernel // blocks.k1) * -(-a2.kernel // blocks.k2)
    return max(-(-call.channels // blocks.channels), 1) * taps


@inlined
def reduction_block(call, axes, blocks, i):
    """Block `i` of the reduction: channels outside, taps inside."""
    a0, a1, a2 = axes
    c, k0, k1, k2 = 0, 0, 0, 0
    if i > 0:
        i, k2 = divmod(i, -(-a2.kernel // blocks.k2))
        i, k1 = divmod(i, -(-a1.kernel // blocks.k1))
        c, k0 = divmod(i, -(-a0.kernel // blocks.k0))
        c, k0, k1, k2 = c * blocks.channels, k0 * blocks.k0, k1 * blocks.k1, k2 * blocks.k2
    return ReductionBlock(
        c, min(blocks.channels, call.channels - c), k0, min(blocks.k0, a0.kernel - k0),
        k1, min(blocks.k1, a1.kernel - k1), k2, min(blocks.k2, a2.kernel - k2),
    )  # fmt: skip


@inlined
def store_block(operands, call, block, cover, sums):
    """Finish the sums of a block and copy them to the output."""
    out, outs, bias = operands.out.array, operands.out.strides, operands.bias
    where, o = first_output(outs, call, block), block.group * call.outputs + block.o
    for i in range(block.outputs):
        for r in range(block.rows):
            finish_row(
                out, where + i * outs.channel + r * outs.s1, outs.s2, block.columns,
                sums.elements, i * sums.row + r * cover.step, bias, (o + i) * stride(bias, 0), call,
            )  # fmt: skip
