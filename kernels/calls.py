"""Convolutions called from compiled code: what the frontend does in Python, without the interpreter.

A caller fills a frame of words on its stack, `resolve`s it, which gives the shape of the result, and `run`s it. Both
are found, as are the kernels of each dtype, in a table of words that the frontend fills: callers know only its symbol.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import dense, depthwise, direct, small
from .jit import entry, kernel
from .strided import StridedType, address, load_tuple
from .team import exchange
from .window import AXIS_FIELDS, CALL_FIELDS, Axis, Call

# Words of a frame: the arrays first, each a pointer to its elements, its shape and its strides.
X, W, BIAS, OUT, FILL, NUMBERS = 0, 3, 6, 9, 12, 15
TABLE, KERNELS, SIZE = 18, 19, 20
PADDING, BIASES, HAS_OUT, FUNCTION, ITEM = 22, 23, 24, 25, 26  # what only `resolve` and `EXPLAIN` need
CALL = 32
FRAME = CALL + 96  # with room for all plans but some of `depthwise`; callers that were kept have frames of this size
assert max(dense.PLAN_WORDS, direct.PLAN_WORDS) <= FRAME - CALL

# Words of the table.
RESOLVE, RUN, EXPLAIN, REFUSED, UNHELD, FAILED, BLOCKS = 0, 1, 2, 3, 4, 5, 8
_KEPT = 24  # blocks of workspace
FUNCTIONS = BLOCKS + _KEPT
KINDS = small, depthwise, dense, direct  # the functions of a dtype, in this order; 0 where there is none for it
SMALL, DEPTHWISE, DENSE, DIRECT = range(len(KINDS))

PADDINGS = "valid", "full", "same"
VALID, FULL, SAME, GIVEN = range(4)
_LARGEST = 1 << 62
_BYTES = max(module.WORKSPACE_BYTES for module in KINDS[1:])

_OUTPUTS = Call._fields.index("outputs")
_STRIDE, _DILATION, _BEFORE, _AFTER, _OUT = map(Axis._fields.index, ("stride", "dilation", "before", "after", "out"))

_INT64 = ir.IntType(64)
WORDS, MEMORY = StridedType("int64"), StridedType("uint8")


@intrinsic
def words_at(typingctx, place):
    """The words at an address, as an array without a shape."""

    def codegen(context, builder, signature, args):
        words = cgutils.create_struct_proxy(WORDS)(context, builder)
        words.data = builder.inttoptr(args[0], words.data.type)
        return words._getvalue()

    return WORDS(types.intp), codegen


def _external(name, result, argument):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(result, [argument])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        value = builder.inttoptr(args[0], argument) if argument != args[0].type else args[0]
        value = builder.call(function, [value])
        return builder.ptrtoint(value, _INT64) if result != ir.VoidType() else context.get_dummy_value()

    return codegen


@intrinsic
def allocate(typingctx, size):
    """The C library's `malloc`."""
    return types.intp(types.intp), _external("malloc", ir.IntType(8).as_pointer(), _INT64)


@intrinsic
def free(typingctx, place):
    """The C library's `free`."""
    return types.void(types.intp), _external("free", ir.VoidType(), ir.IntType(8).as_pointer())


@intrinsic
def call_small(typingctx, function, frame):
    """The function `SMALL`."""
    return types.boolean(types.intp, frame), _calling


@intrinsic
def call_kernel(typingctx, function, frame, workspace):
    """One of the other functions, on one thread."""
    return types.boolean(types.intp, frame, types.intp), _calling


def _calling(context, builder, signature, args):
    place, words, *workspace = args
    data = cgutils.create_struct_proxy(signature.args[1])(context, builder, value=words).data

    def array(at):
        value = cgutils.create_struct_proxy(MEMORY)(context, builder)
        for i, field in enumerate(("data", "shape", "strides")):
            word = builder.load(builder.gep(data, [_INT64(at + i)]))
            setattr(value, field, builder.inttoptr(word, getattr(value, field).type))
        return value._getvalue()

    values, kinds = [array(at) for at in (X, W, BIAS, OUT, FILL, NUMBERS)], (MEMORY,) * 6
    for block in workspace:
        memory = cgutils.create_struct_proxy(MEMORY)(context, builder)
        memory.data = builder.inttoptr(block, memory.data.type)
        values += [memory._getvalue(), values[-1], _INT64(1), _INT64(0)]
        kinds += (MEMORY, MEMORY, types.intp, types.intp)
    kind = context.call_conv.get_function_type(types.boolean, kinds)
    function = builder.inttoptr(place, kind.as_pointer())
    return context.call_conv.call_function(builder, function, types.boolean, kinds, values)[1]


@kernel
def take_block(table):
    """A block of workspace, aligned to 64 bytes, where the C library's is kept, too: 8 bytes before it."""
    for i in range(_KEPT):
        block = exchange(table, BLOCKS + i, 0)
        if block != 0:
            return block
    start = allocate(_BYTES + 72)
    if start == 0:
        return 0
    block = (start + 71) // 64 * 64
    words_at(block - 8).data[0] = start
    return block


@kernel
def give_block(table, block):
    """Keep a block for the next call, in place of one that another thread kept meanwhile."""
    for i in range(_KEPT):
        block = exchange(table, BLOCKS + i, block)
        if block == 0:
            return
    free(words_at(block - 8).data[0])


@entry
def release_blocks(table):
    """Free what is kept."""
    for i in range(_KEPT):
        block = exchange(table, BLOCKS + i, 0)
        if block != 0:
            free(words_at(block - 8).data[0])


@kernel
def resolve_axis(axis, padding, flip, is_empty):
    """Padding before and after an axis and the size of its output; -1 where they do not fit."""
    if min(axis.kernel, axis.stride, axis.dilation) < 1 or float(axis.dilation) * float(axis.kernel) > _LARGEST:
        return 0, 0, -1
    reach = axis.dilation * (axis.kernel - 1)
    before, after = axis.before, axis.after
    if padding == VALID:
        before, after = 0, 0
    elif padding == FULL:
        before, after = reach, reach
    elif padding == SAME:
        out = axis.size if axis.stride == 1 else -(-axis.size // axis.stride)
        if float(out) * float(axis.stride) > _LARGEST:
            return 0, 0, -1
        total = max((out - 1) * axis.stride + reach + 1 - axis.size, 0)
        before, after = total // 2, total - total // 2
        if flip and axis.kernel % 2 == 0:
            before, after = after, before
    if min(before, after) < 0 or max(before, after, reach) >= _LARGEST // 4:
        return 0, 0, -1
    room = axis.size + before + after - reach - 1
    if room < 0 or is_empty:
        return before, after, 0 if is_empty else -1
    return before, after, (room if axis.stride == 1 else room // axis.stride) + 1


@kernel
def load_axis(words, i):
    return load_tuple(words, CALL + CALL_FIELDS + i * AXIS_FIELDS, Axis)


@kernel
def shape_of(words, array, i):
    return words_at(words[array + 1]).data[i]


@kernel
def step_of(words, array, i):
    return words_at(words[array + 2]).data[i]


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
    if call.groups < 1 or float(call.channels) * float(call.groups) > _LARGEST:
        return True
    if call.channels * call.groups != shape_of(words, X, 1) or (call.groups > 1 and call.outputs % call.groups != 0):
        return True
    if call.has_bias and words[BIASES] != call.outputs:
        return True
    is_empty, elements, first = False, float(call.batch) * float(call.outputs), 3 - call.rank
    for i in range(first, 3):
        is_empty = is_empty or load_axis(words, i).size == 0
    for i in range(first, 3):
        before, after, out = resolve_axis(load_axis(words, i), words[PADDING], call.flip, is_empty)
        if out < 0 or (has_out and shape_of(words, OUT, 2 + i - first) != out):
            return True
        elements *= float(out)
        at = CALL + CALL_FIELDS + i * AXIS_FIELDS
        words[at + _BEFORE], words[at + _AFTER], words[at + _OUT] = before, after, out
    if elements * 16 >= float(_LARGEST):
        return True
    if has_out and (shape_of(words, OUT, 0) != call.batch or shape_of(words, OUT, 1) != call.outputs):
        return True
    for i in range(first, 3):  # as `problem.make_axes` does: a step that is never taken is 1
        axis, at = load_axis(words, i), CALL + CALL_FIELDS + i * AXIS_FIELDS
        words[at + _STRIDE] = axis.stride if axis.out > 1 else 1
        words[at + _DILATION] = axis.dilation if axis.kernel > 1 else 1
    words[CALL + _OUTPUTS], words[PADDING] = call.outputs // call.groups if call.groups > 1 else call.outputs, GIVEN
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
    a0, a1, a2 = load_axis(words, 0), load_axis(words, 1), load_axis(words, 2)
    if call.batch * call.groups * call.outputs * a0.out * a1.out * a2.out == 0:
        return True
    held, size, kernels = 0, words[SIZE], words[KERNELS]
    words[NUMBERS] = address(frame) + 8 * CALL
    if table.data[kernels + SMALL] != 0 and small.is_small(call, a0, a1, a2, size):
        if call_small(table.data[kernels + SMALL], frame):
            return True
    kind, is_real = DIRECT, table.data[kernels + DEPTHWISE] != 0
    if is_real and 0 < call.outputs <= depthwise.OUTPUTS and call.channels > 0:
        room = depthwise.plan_words(a1, a2)
        if room > FRAME - CALL:
            held = allocate(8 * room)
            if held == 0:
                return False
            for i in range(CALL_FIELDS + 3 * AXIS_FIELDS):
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
    block = take_block(table)
    whole = False
    if block != 0:
        whole = call_kernel(table.data[kernels + kind], frame, block)
        give_block(table, block)
    if held != 0:
        free(held)
    return whole
