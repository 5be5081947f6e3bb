"""Convolutions called from compiled code: what the frontend does in Python, without the interpreter."""

from ..convolution import dense, depthwise, direct, generic, small
from ..jit import entry, kernel
from ..strided import address, load_tuple
from ..window import AXIS_FIELDS, Call
from .frame import (
    AXES,
    BIAS,
    BIASES,
    CALL,
    FILL,
    FRAME,
    GIVEN,
    HAS_OUT,
    ITEM,
    KERNELS,
    LARGEST,
    NUMBERS,
    OUT,
    PADDING,
    RESOLVED,
    SIZE,
    TABLE,
    W,
    X,
    allocate,
    array_at,
    drop_steps,
    free,
    give_block,
    invoke,
    is_aligned,
    is_true,
    load_axis,
    memory_at,
    pad_axis,
    shape_of,
    step_of,
    take_block,
    words_at,
    write_ends,
)  # fmt: skip

KINDS = small, depthwise, dense, direct, generic  # the functions of a dtype, in this order; 0: there is none for it
SMALL, DEPTHWISE, DENSE, DIRECT, GENERIC = range(len(KINDS))
_OUTPUTS = Call._fields.index("outputs")
assert max(dense.PLAN_WORDS, direct.PLAN_WORDS) <= FRAME - CALL


@kernel
def overlaps(words, array, rank, out_rank):
    """Whether the memory from `out`'s first byte to its last holds some of another array's."""
    begin, end = extent(words, OUT, out_rank)
    first, last = extent(words, array, rank)
    return begin < last and first < end


@kernel
def extent(words, array, rank):
    begin = words[array]
    end = begin + words[ITEM]
    for i in range(rank):
        reach = (shape_of(words, array, i) - 1) * step_of(words, array, i)
        begin, end = begin + min(reach, 0), end + max(reach, 0)
    return begin, end


@kernel
def folds(words, rank):
    """Whether elements of `out` may share an address: no order of its axes has each step over all that is before it."""
    reach, taken = words[ITEM], 0
    for _ in range(rank):
        best = -1
        for i in range(rank):
            step = abs(step_of(words, OUT, i))
            if not (taken >> i) & 1 and (best < 0 or step < abs(step_of(words, OUT, best))):
                best = i
        taken |= 1 << best
        if shape_of(words, OUT, best) > 1:
            if abs(step_of(words, OUT, best)) < reach:
                return True
            reach += abs(step_of(words, OUT, best)) * (shape_of(words, OUT, best) - 1)
    return False


@entry
def resolve(frame):
    """Check a frame's numbers and write the padding and the sizes of the output among them. True: ask `EXPLAIN`.

    `outputs` counts the channels of all groups before, of one group after.
    """
    words = frame.data
    call, has_out = load_tuple(words, CALL, Call), words[HAS_OUT]
    if call.groups < 1 or float(call.channels) * float(call.groups) > LARGEST:
        return True
    if call.channels * call.groups != shape_of(words, X, 1) or (call.groups > 1 and call.outputs % call.groups != 0):
        return True
    if call.has_bias and words[BIASES] != call.outputs:
        return True
    is_empty, elements, first = False, float(call.batch) * float(call.outputs), max(3 - call.rank, 0)
    for i in range(first, first + call.rank):
        is_empty = is_empty or load_axis(words, i).size == 0
    for i in range(first, first + call.rank):
        axis = load_axis(words, i)
        before, after, room = pad_axis(axis, words[PADDING], call.flip)
        if room < (-LARGEST if is_empty else 0):
            return True
        out = 0 if is_empty else (room if axis.stride == 1 else room // axis.stride) + 1
        if has_out and shape_of(words, OUT, 2 + i - first) != out:
            return True
        elements *= float(out)
        write_ends(words, i, before, after, out)
    if elements * 16 >= float(LARGEST):
        return True
    if has_out and (shape_of(words, OUT, 0) != call.batch or shape_of(words, OUT, 1) != call.outputs):
        return True
    for i in range(first, first + call.rank):
        drop_steps(words, i)
    words[CALL + _OUTPUTS] = call.outputs // call.groups if call.groups > 1 else call.outputs
    words[PADDING], words[RESOLVED] = GIVEN, 1
    if not has_out or elements == 0:
        return False
    rank = call.rank + 2
    shared = overlaps(words, X, rank, rank) or overlaps(words, W, rank, rank)
    return shared or (call.has_bias and overlaps(words, BIAS, 1, rank)) or folds(words, rank)


@entry
def run(frame):
    """Run a resolved frame as the frontend would. False: there is no memory, or an array is not whole."""
    words = frame.data
    table = words_at(words[TABLE])
    call = load_tuple(words, CALL, Call)
    if call.has_bias and not is_aligned(words, BIAS, 1):
        return False
    if call.rank > 3:
        return run_generic(frame, call, table)
    a0, a1, a2 = load_axis(words, 0), load_axis(words, 1), load_axis(words, 2)
    if call.batch * call.groups * call.outputs * a0.out * a1.out * a2.out == 0:
        return True
    held, size, kernels = 0, words[SIZE], words[KERNELS]
    words[NUMBERS] = address(frame) + 8 * CALL
    if table.data[kernels + SMALL] != 0 and small.is_small(call, a0, a1, a2, size):
        if is_true(table.data[kernels + SMALL], arrays(frame)):
            return True
    kind, is_real = DIRECT, table.data[kernels + DEPTHWISE] != 0
    if is_real and 0 < call.outputs <= depthwise.OUTPUTS and call.channels > 0:
        room = depthwise.plan_words(a1, a2)
        if room > FRAME - CALL:
            held = allocate(8 * room)
            if held == 0:
                return False
            for i in range(AXES + 3 * AXIS_FIELDS - CALL):
                words_at(held).data[i] = words[CALL + i]
            words[NUMBERS] = held
        if room > 0 and depthwise.write_plan(call, a0, a1, a2, size, words_at(words[NUMBERS]).data) > 0:
            kind = DEPTHWISE
    if kind == DIRECT and is_real and dense.refuses(call, a0, a1, a2, size) == 0:
        kind = DENSE
    if kind == DENSE:
        dense.write_plan(call, a0, a1, a2, size, words_at(words[NUMBERS]).data)
    if kind == DIRECT:
        direct.write_plan(call, a0, a1, a2, size, words_at(words[NUMBERS]).data)
    block, whole = take_block(table), False
    if block != 0:
        alone = memory_at(block), frame, 1, 0  # the words of a team are not read
        whole = is_true(table.data[kernels + kind], arrays(frame) + alone)
        give_block(table, block)
    if held != 0:
        free(held)
    return whole


@kernel
def run_generic(frame, call, table):
    words, positions = frame.data, call.batch * call.groups * call.outputs
    words[NUMBERS] = address(frame) + 8 * CALL
    for i in range(call.rank):
        positions *= load_axis(words, i).out
    if positions == 0:
        return True
    for array in (X, W, OUT):
        if not is_aligned(words, array, call.rank + 2):
            return False
    invoke(table.data[words[KERNELS] + GENERIC], arrays(frame))
    return True


@kernel
def arrays(frame):
    return (array_at(frame, X), array_at(frame, W), array_at(frame, BIAS), array_at(frame, OUT), array_at(frame, FILL),
            array_at(frame, NUMBERS))  # fmt: skip
