"""Direct correlation with vectors along groups, each lane with an input and a kernel of its own, over up to three axes.

For each vector of groups, as of channels of a depthwise layer, and block of positions:

    kernels   of one output of each group, transposed so that groups lie side by side
    slab      the input under the block, padded and transposed likewise, so that any stride is as good as any
    tile      register tiles: a few positions of a vector of groups
    store     sums are transposed back, and the bias added, straight to the output

That pays where rows are short or have steps, for which vectors along positions are split, or hardly filled. A sum adds
its terms channel by channel, tap by tap, whatever the block.
"""

from typing import NamedTuple

from ..jit import entry, kernel, plain
from ..shapes import CALL_FIELDS, HUGE, PLAN, even_part, taps_of, words_of
from ..simd.packing import pack_run, pack_transposed
from ..simd.tiles import LANE_TILE, Inputs, Taps, Target, Weights, lane_tile
from ..simd.vectors import VECTOR_BYTES, lanes_of
from ..strided import Strides, five_strides, is_aligned, load, load_tuple, scratch, scratch_index, zero
from ..team import close_team, open_team, part_of, take_item
from ..window import load_axes, load_call, source_index, write_tuple
from .blocking import GROUPED
from .costs import GROUPED as GROUPED_COSTS
from .costs import scale_of, whole_vectors
from .dense import Kernels, Sums, pack_outputs, store_block
from .operands import Operand, Operands, OutputBlock
from .pack import reach

SLAB_BYTES, POSITIONS, TAPS = GROUPED.slab_bytes, GROUPED.positions, GROUPED.taps
_SUMS = SLAB_BYTES
_WEIGHTS = _SUMS + POSITIONS * VECTOR_BYTES
_TABLE = _WEIGHTS + TAPS * VECTOR_BYTES
_BIAS = _TABLE + 16 * TAPS
WORKSPACE_BYTES = _BIAS + VECTOR_BYTES
_FEW = 4  # columns: of fewer, tiles run downwards
FEW_GROUPS, MANY_TAPS, LARGE_WINDOW = 1, 2, 3  # why a call is refused


class Plan(NamedTuple):
    """Rows and columns of a block of the output."""

    rows: int
    columns: int


_PLAN_WORDS = PLAN + words_of(Plan)


# ---- what is known before the arrays are: plain Python


@plain
def refuses(call, axes, element):
    """Why other kernels should run a call: `FEW_GROUPS`, `MANY_TAPS` or `LARGE_WINDOW`; 0: they should not."""
    a0, a1, a2 = axes
    if 2 * call.groups < VECTOR_BYTES // element.itemsize or call.outputs == 0:
        return FEW_GROUPS
    taps = a0.kernel * a1.kernel * a2.kernel
    if not 0 < taps <= TAPS or not 0 < call.channels <= TAPS // taps:
        return MANY_TAPS
    return 0 if choose_blocks(call, a0, a1, a2).rows > 0 else LARGE_WINDOW


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal == FEW_GROUPS:
        return f"groups: {call.groups}, expected half of {VECTOR_BYTES // element.itemsize} or more"
    if refusal == MANY_TAPS:
        return f"a kernel has {call.channels} channels of {taps_of(axes)} taps, expected 1 to {TAPS} in all"
    return "a window does not fit in the workspace"


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    (a0, a1, a2), costs, scale = axes, GROUPED_COSTS, scale_of(element)
    blocks = choose_blocks(call, a0, a1, a2)
    groups = whole_vectors(call.groups, element)
    vectors = groups * element.itemsize / VECTOR_BYTES
    count = float(-(-a1.out // blocks.rows)) * float(-(-a2.out // blocks.columns)) * a0.out
    lines = count * call.channels * a0.kernel * reach(a1, blocks.rows) * min(a1.kernel / a1.stride, 1.0)
    terms = float(call.channels) * (float(a0.kernel) * float(a1.kernel) * float(a2.kernel))
    rows, positions = float(a0.out) * min(a1.out, a2.out), float(a0.out) * float(a1.out) * float(a2.out)
    sums = terms * (count * costs.weight + positions * costs.mac) + positions * costs.output
    work = lines * reach(a2, blocks.columns) * costs.input + call.outputs * sums
    each = count * costs.block + lines * costs.line + call.outputs * rows * costs.row
    return vectors * each + groups * work * scale


@plain
def plan_words(call, axes, element):
    """How many numbers a call and its plan take."""
    return _PLAN_WORDS


@plain
def write_plan(call, axes, element, numbers):
    """Write the `Plan` behind the numbers of the call."""
    write_tuple(numbers, PLAN, choose_blocks(call, *axes))


@plain
def choose_blocks(call, a0, a1, a2):
    """The largest block whose slab and sums fit, rows first; no rows: none fits, or there is nothing to do."""
    room = SLAB_BYTES // VECTOR_BYTES // (call.channels * a0.kernel)
    least, row = min(reach(a1, 1), HUGE), min(a2.out, POSITIONS)  # 64 bits hold products
    while row > 1 and min(reach(a2, row), HUGE) * least > room:
        row = (row + 1) // 2
    if row == 0 or min(reach(a2, row), HUGE) * least > room:
        return Plan(0, 0)
    columns = even_part(a2.out, row)
    most = min((room // reach(a2, columns) - least) // a1.stride + 1, max(POSITIONS // columns, 1))
    return Plan(even_part(a1.out, most) if columns == a2.out else 1, columns)


# ---- kernels


class Slab(NamedTuple):
    """How the packed input lies: `[channel][k0][row][column][group]`, steps in elements."""

    rows: int
    columns: int
    row: int
    plane: int
    channel: int


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`generic.correlate` over exactly three spatial axes, missing ones of size 1.

    Returns False, nothing written, if a pointer or stride is misaligned. `threads` share the work, each with
    `WORKSPACE_BYTES` of the workspace; number `thread` runs this, the caller is 0.

    LOOP 3  over blocks of the output (vectors of groups, images, positions), which threads take from a counter
    LOOP 2  over the outputs of a group, whose kernels are packed and stay in L1: all read the slab
    LOOP 1  over the tiles of a row, or of a column where rows are shorter than a tile
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    a0, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    plan = load_tuple(numbers.data, PLAN, Plan)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    workspace = part_of(workspace, thread * WORKSPACE_BYTES)
    operands = Operands(Operand(x, xs), Operand(w, ws), bias, Operand(out, outs), fill, workspace)
    lanes = lanes_of(scratch(workspace, 0, out))
    rows, columns = plan.rows, plan.columns
    while rows > 1 and call.batch * -(-call.groups // lanes) * a0.out * -(-a1.out // rows) < 2 * threads:
        rows = (rows + 1) // 2
    blocks1, blocks2 = -(-a1.out // rows), -(-a2.out // columns)
    blocks = call.batch * -(-call.groups // lanes) * a0.out * blocks1 * blocks2
    item = take_item(team) if threads > 1 else 0
    while item < blocks:  # LOOP 3
        rest, b2 = divmod(item, blocks2)
        rest, b1 = divmod(rest, blocks1)
        rest, p0 = divmod(rest, a0.out)
        v, n = divmod(rest, call.batch)
        p1, p2 = b1 * rows, b2 * columns
        block = OutputBlock(
            0, v * lanes, min(lanes, call.groups - v * lanes), n, 1,
            p0, p1, min(rows, a1.out - p1), p2, min(columns, a2.out - p2),
        )  # fmt: skip
        correlate_block(operands, call, (a0, a1, a2), block)
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True


@kernel
def correlate_block(operands, call, axes, block):
    """A block of the output; its outputs are groups."""
    out, workspace, (w, ws) = operands.out.array, operands.workspace, operands.w
    sums, weights = scratch(workspace, _SUMS, out), scratch(workspace, _WEIGHTS, out)
    a0, a1, a2 = axes
    lanes, taps = lanes_of(sums), a0.kernel * a1.kernel * a2.kernel
    slab = slab_of(a0, a1, a2, block, lanes)
    pack_groups(operands, call, axes, block, slab)
    table = list_taps(scratch_index(workspace, _TABLE), axes, call.flip, slab, lanes)
    kernels = Kernels(weights, lanes, 1, call.channels, taps, call.flip)
    of_groups = Operand(w, Strides(ws.batch * call.outputs, ws.channel, ws.s0, ws.s1, ws.s2))
    for o in range(call.outputs):  # LOOP 2
        first = block.o * call.outputs + o
        pack_outputs(of_groups, first * ws.batch, call, axes, block.outputs, kernels)
        multiply(scratch(workspace, 0, out), slab, table, kernels, axes, block, sums)
        results = OutputBlock(
            0, first, block.outputs, block.n, 1, block.p0, block.p1, block.rows, block.p2, block.columns
        )
        store_block(operands, call, results, Sums(sums, 0, lanes), scratch(workspace, _BIAS, out), call.outputs)


@kernel
def slab_of(a0, a1, a2, block, lanes):
    """The slab of a block."""
    rows, columns = reach(a1, block.rows), reach(a2, block.columns)
    plane = rows * columns * lanes
    return Slab(rows, columns, columns * lanes, plane, a0.kernel * plane)


@kernel
def list_taps(table, axes, flip, slab, lanes):
    """Where each tap of a channel lies in the slab, and among the packed kernels."""
    a0, a1, a2 = axes
    taps = a0.kernel * a1.kernel * a2.kernel
    for tap in range(taps):
        rest, k2 = divmod(tap, a2.kernel)
        k0, k1 = divmod(rest, a1.kernel)
        table[2 * tap] = k0 * slab.plane + k1 * a1.dilation * slab.row + k2 * a2.dilation * lanes
        table[2 * tap + 1] = (taps - 1 - tap if flip else tap) * lanes
    return table


@kernel
def multiply(x, slab, table, kernels, axes, block, sums):
    """The sums of a block."""
    _, a1, a2 = axes
    lanes, taps = kernels.width, Taps(table, kernels.taps, kernels.channels)
    weights = Weights(kernels.elements, 0, 1, kernels.taps * lanes)
    lines, count, line, step = block.rows, block.columns, a1.stride * slab.row, a2.stride * lanes
    to_line, to_step = block.columns * lanes, lanes
    if block.columns < _FEW and block.columns < block.rows:
        lines, count, line, step, to_line, to_step = count, lines, step, line, to_step, to_line
    for i in range(lines):
        done = 0
        while done < count:  # LOOP 1
            # The last two are of even size, since a tile of few positions waits for its own sums.
            left = count - done
            few = LANE_TILE if left >= 2 * LANE_TILE else left if left <= LANE_TILE else (left + 1) // 2
            inputs = Inputs(x, i * line + done * step, slab.channel)
            lane_tile(few, inputs, step, taps, weights, Target(sums, i * to_line + done * to_step, to_step))
            done += few


@kernel
def pack_groups(operands, call, axes, block, slab):
    """Fill the slab: of each group of a block, what lies under it, rows that no tap meets left out."""
    (x, xs), planes, fill = operands.x, scratch(operands.workspace, 0, operands.x.array), load(operands.fill, 0)
    a0, a1, a2 = axes
    first_row, first_column = block.p1 * a1.stride - a1.before, block.p2 * a2.stride - a2.before
    for c in range(call.channels):
        start = block.n * xs.batch + (block.o * call.channels + c) * xs.channel
        for k0 in range(a0.kernel):
            i0 = source_index(block.p0 * a0.stride + k0 * a0.dilation - a0.before, a0.size, a0.boundary)
            for row in range(slab.rows):
                if not is_met(row, a1, block.rows):
                    continue
                i1 = source_index(first_row + row, a1.size, a1.boundary)
                to = c * slab.channel + k0 * slab.plane + row * slab.row
                if i0 < 0 or i1 < 0:
                    fill_lanes(planes, to, slab.row, fill)
                else:
                    where = start + i0 * xs.s0 + i1 * xs.s1
                    pack_line(
                        x, where, xs.s2, call.channels * xs.channel, block.outputs, a2, first_column, planes, to,
                        slab.columns, fill,
                    )  # fmt: skip


@kernel
def is_met(row, axis, count):
    """Whether a row of a slab is met by a tap of any of so many windows."""
    if axis.stride == 1 and axis.dilation == 1:
        return True
    for k in range(axis.kernel):
        p, rest = divmod(row - k * axis.dilation, axis.stride)
        if rest == 0 and 0 <= p < count:
            return True
    return False


@kernel
def fill_lanes(planes, to, count, value):
    """Set neighbours to a value."""
    for j in range(count):
        planes[to + j] = value


@kernel
def pack_line(x, where, step, apart, groups, axis, first, planes, to, columns, fill):
    """Pack a row of so many groups, `apart` in the input, from a padded column on; lanes without a group are zero."""
    lanes = lanes_of(planes)
    left, right = -first, axis.size - first
    left = min(max(left, 0), columns)
    right = min(max(right, left), columns)
    j = left
    while j < right:
        at, target = where + (first + j) * step, to + j * lanes
        if step == 1 and apart != 1:
            count = min(right - j, lanes)
            pack_transposed(x, at, apart, groups, count, planes, target, lanes)
            j += count
            continue
        if apart == 1:
            pack_run(planes, target, x, at, lanes, 1, 0, groups, zero(x))
        else:
            pack_column(x, at, apart, groups, planes, target)
        j += 1
    for j in range(columns):
        if left <= j < right:
            continue
        i = source_index(first + j, axis.size, axis.boundary)
        if i < 0:
            fill_lanes(planes, to + j * lanes, lanes, fill)
        else:
            pack_column(x, where + i * step, apart, groups, planes, to + j * lanes)


@kernel
def pack_column(x, at, apart, groups, planes, to):
    """Pack an element of so many groups."""
    for g in range(lanes_of(planes)):
        planes[to + g] = load(x, at + g * apart) if g < groups else zero(x)
