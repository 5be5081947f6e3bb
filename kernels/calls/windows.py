"""Pools, filters and patches called from compiled code: what the frontend does in Python, without the interpreter."""

from ..jit import entry, kernel
from ..strided import address, load_tuple
from ..window import AXIS_FIELDS, Axis, Call, write_tuple
from ..windows import patches, pool, pool_rows
from .frame import (
    AXES,
    BAD,
    BIASES,
    CALL,
    FILL,
    GIVEN,
    HAS_OUT,
    INDICES,
    ITEM,
    KERNELS,
    KIND,
    LARGEST,
    NUMBERS,
    OPTION,
    OUT,
    PADDING,
    PLAN,
    RESOLVED,
    SAME,
    TABLE,
    X,
    array_at,
    drop_steps,
    give_block,
    invoke,
    is_aligned,
    is_true,
    lies_whole,
    load_axis,
    memory_at,
    number_from,
    pad_axis,
    shape_of,
    take_block,
    words_at,
    write_ends,
)

# The functions of a dtype, in this order. What is found by rows has a second one for all that they do not take.
KINDS = (pool_rows.maximum, pool_rows.minimum, pool_rows.indexed_maximum, pool_rows.indexed_minimum, pool_rows.average,
         pool.unpool, patches.extract, patches.combine)  # fmt: skip
NAMES = "maximum", "minimum", "indexed_maximum", "indexed_minimum", "average", "unpool", "extract", "combine"
MAXIMUM, MINIMUM, INDEXED_MAXIMUM, INDEXED_MINIMUM, AVERAGE, UNPOOL, EXTRACT, COMBINE = range(len(KINDS))
EXTREMUM, MEAN = len(KINDS), len(KINDS) + 1
FUNCTIONS = len(KINDS) + 2  # of a dtype

# Bits of `OPTION`.
CEIL, INCLUDE_PADDING, IS_EXACT, IS_COMPLEX = 1, 2, 4, 8
_OUTPUTS = Call._fields.index("outputs")


@entry
def resolve_window(frame):
    """Check a frame's numbers and write the padding and the sizes of the result among them. True: ask `EXPLAIN`."""
    words = frame.data
    if words[KIND] == UNPOOL:
        return resolve_unpool(words)
    call = load_tuple(words, CALL, Call)
    leading, elements, taps, positions, planes = call.rank - call.option, 1.0, 1.0, 1.0, 1.0
    for i in range(leading):
        planes *= float(load_axis(words, i).size)
    for i in range(leading, call.rank):
        axis = load_axis(words, i)
        before, after, room = pad_axis(axis, words[PADDING], True)
        if room < -LARGEST or axis.size < 0:
            return True
        out = (room if axis.stride == 1 else room // axis.stride) + 1
        hangs = words[OPTION] & CEIL and room % axis.stride != 0  # over the end: `problem.sliding`
        if hangs and float(out) * float(axis.stride) < float(axis.size + before):
            out += 1
        if out < 1 and axis.size > 0:
            return True
        out = max(out, 0)
        write_ends(words, i, before, after, out)
        elements, taps, positions = elements * float(axis.size), taps * float(axis.kernel), positions * float(out)
    largest = max(positions, elements if words[KIND] == COMBINE else 0.0)
    if words[KIND] == EXTRACT:
        largest = positions * taps
    if planes * largest * 16 >= float(LARGEST) or taps >= float(LARGEST):
        return True
    if words[KIND] == COMBINE:
        rows, columns = shape_of(words, X, leading), shape_of(words, X, leading + 1)
        if rows != count_taps(words, call) or float(columns) != positions:
            return True
        if words[BIASES] >= 0 and shape_of(words, X, 1) * rows != words[BIASES]:  # `col2im`: channels and taps
            return True
    for i in range(leading, call.rank):
        drop_steps(words, i)
    words[PADDING], words[RESOLVED] = GIVEN, 1
    return False


@kernel
def count_taps(words, call):
    taps = 1
    for i in range(call.rank - call.option, call.rank):
        taps *= load_axis(words, i).kernel
    return taps


@kernel
def resolve_unpool(words):
    """`problem.unpooled_size`: an axis has the pooled size and, in `out`, the one that is asked for, if `HAS_OUT`.

    What is written is the shape of the values, as the kernel reads it, and each size of the result as padding.
    """
    call = load_tuple(words, CALL, Call)
    planes, plane = 1.0, 1.0
    for i in range(call.rank):
        if shape_of(words, INDICES, i) != shape_of(words, X, i):
            return True
    for i in range(call.rank - call.option):
        axis = load_axis(words, i)
        if axis.out != axis.size:
            return True
        planes *= float(axis.size)
    for i in range(call.rank - call.option, call.rank):
        axis = load_axis(words, i)
        if min(axis.kernel, axis.stride, axis.dilation) < 1:
            return True
        reach = float(axis.dilation) * float(axis.kernel - 1)
        if reach + float(axis.size) * float(axis.stride) >= LARGEST // 8:
            return True
        size = (axis.size - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1
        if words[HAS_OUT]:
            size = axis.out
        elif words[PADDING] == SAME:
            size = axis.size * axis.stride
        else:
            padded = Axis(size, axis.kernel, axis.stride, axis.dilation, axis.before, axis.after, 0, 0)
            before, after, room = pad_axis(padded, words[PADDING], True)
            if room < -LARGEST or (axis.size > 0 and size - before - after < 1):
                return True
            size = size - before - after if axis.size > 0 else 0
        if size < 0:
            return True
        plane *= float(size)
        words[PLAN + i] = size
    if planes * plane * 16 >= float(LARGEST):
        return True
    outputs = 1
    for i in range(call.rank - call.option, call.rank):
        outputs *= words[PLAN + i]
    for i in range(call.rank):
        n = shape_of(words, X, i)
        write_tuple(words, AXES + i * AXIS_FIELDS, Axis(n, 1, 1, 1, 0, 0, 0, n))
    words[CALL + _OUTPUTS], words[PADDING], words[RESOLVED] = outputs, GIVEN, 1
    return False


@entry
def run_window(frame):
    """Run a resolved frame as the frontend would. False: there is no memory, or an array is not whole."""
    words = frame.data
    table, kernels, kind = words_at(words[TABLE]).data, words[KERNELS], words[KIND]
    call = load_tuple(words, CALL, Call)
    positions = elements = 1
    for i in range(call.rank):
        axis = load_axis(words, i)
        positions, elements = positions * axis.out, elements * axis.size
    if (elements if kind == COMBINE else positions) == 0:
        return True
    words[NUMBERS] = address(frame) + 8 * CALL
    rank = call.rank - call.option + 2 if kind == COMBINE else call.rank
    if elements > 0 and not is_aligned(words, X, rank):
        return False
    x, out, indices, numbers = (
        array_at(frame, X),
        array_at(frame, OUT),
        array_at(frame, INDICES),
        array_at(frame, NUMBERS),
    )
    if kind == UNPOOL:
        if not lies_whole(words, INDICES, rank, 8, 8):
            return False
        words[BAD] = number_from(table[kernels + UNPOOL], (x, indices, out, numbers))
        return words[BAD] < 0
    if kind == EXTRACT or kind == COMBINE:
        invoke(table[kernels + kind], (x, out, numbers))
        return True
    lowest, option = array_at(frame, FILL), words[OPTION]
    if by_rows(words, call, elements):
        return run_rows(frame, call, x, out, indices, lowest)
    padded, exact = option & INCLUDE_PADDING != 0, option & IS_EXACT != 0
    if kind == AVERAGE:
        invoke(table[kernels + MEAN], (x, out, numbers, padded, exact))
    else:
        smallest, indexed = kind == MINIMUM or kind == INDEXED_MINIMUM, kind >= INDEXED_MAXIMUM
        invoke(table[kernels + EXTREMUM], (x, out, indices, lowest, numbers, smallest, indexed))
    return True


@kernel
def by_rows(words, call, elements):
    """`pool._rows_refuse`: whether the vector kernels take a problem."""
    last = load_axis(words, call.rank - 1)
    if words[OPTION] & IS_COMPLEX or not 1 <= call.option <= 3 or elements >= 1 << 31:
        return False
    return last.out == 1 or (last.kernel - 1) * last.dilation < pool_rows.REACH


@kernel
def run_rows(frame, call, x, out, indices, lowest):
    words = frame.data
    leading, count, table = call.rank - call.option, call.option, words_at(words[TABLE])
    a0 = load_axis(words, leading) if count > 2 else pool_rows.UNIT
    a1 = load_axis(words, call.rank - 2) if count > 1 else pool_rows.UNIT
    shape, strides, option = words_at(words[X + 1]).data, words_at(words[X + 2]).data, words[OPTION]
    plan = words_at(address(frame) + 8 * PLAN)
    pool_rows.write_plan(shape, strides, leading, count, a0, a1, load_axis(words, call.rank - 1), words[ITEM],
                         option & INCLUDE_PADDING != 0, option & IS_EXACT != 0, plan.data)  # fmt: skip
    block = take_block(table)
    if block == 0:
        return False
    arguments = x, out, indices, lowest, plan, memory_at(block), plan, 1, 0
    whole = is_true(table.data[words[KERNELS] + words[KIND]], arguments)
    give_block(table, block)
    return whole
