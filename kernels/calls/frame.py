"""What compiled callers and kernels share: frames of words, and the table of what is called.

A caller fills a frame on its stack, has it resolved, which gives the shape of the result, and run. What does both is
found, as are the kernels of each dtype, in a table of words that the frontend fills: callers know only its symbol.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..convolution import dense, depthwise, direct
from ..jit import entry, kernel
from ..simd import fold as simd_fold
from ..strided import StridedType, load_tuple
from ..team import exchange
from ..window import AXIS_FIELDS, CALL_FIELDS, Axis

# Words of a frame: the arrays first, each a pointer to its elements, its shape and its strides.
X, W, BIAS, OUT, FILL, NUMBERS = 0, 3, 6, 9, 12, 15
INDICES = W
TABLE, KERNELS, SIZE = 18, 19, 20
# What says more about the call, and about what is wrong with it.
PADDING, BIASES, HAS_OUT, FUNCTION, ITEM, ALIGNMENT, KIND, OPTION, BAD, RESOLVED = range(21, 31)
CALL = 32
AXES = CALL + CALL_FIELDS
MOST_AXES = 8  # of an array that windows move over
PLAN = AXES + MOST_AXES * AXIS_FIELDS  # of pools, whose numbers do not begin with those of the call
FRAME = PLAN + 48  # callers that were kept have frames of this size

# Words of the table.
RESOLVE, RUN, RESOLVE_WINDOW, RUN_WINDOW, EXPLAIN, REFUSED, UNHELD, FAILED, BLOCKS = range(9)
_KEPT = 24  # blocks of workspace
FUNCTIONS = 40  # BLOCKS + _KEPT and more

PADDINGS = "valid", "full", "same"
VALID, FULL, SAME, GIVEN = range(4)
LARGEST = 1 << 62
_BYTES = max(module.WORKSPACE_BYTES for module in (depthwise, dense, direct, simd_fold))

_STRIDE, _DILATION, _BEFORE, _AFTER, _OUT = map(Axis._fields.index, ("stride", "dilation", "before", "after", "out"))

_INT64 = ir.IntType(64)
WORDS, MEMORY = StridedType("int64"), StridedType("uint8")


# ---- memory


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


@kernel
def take_block(table):
    """A block of workspace, aligned to 64 bytes, 0 if there is no memory. Before it stands what `free` takes."""
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


# ---- what a frame holds


@kernel
def load_axis(words, i):
    return load_tuple(words, AXES + i * AXIS_FIELDS, Axis)


@kernel
def write_ends(words, i, before, after, out):
    at = AXES + i * AXIS_FIELDS
    words[at + _BEFORE], words[at + _AFTER], words[at + _OUT] = before, after, out


@kernel
def drop_steps(words, i):
    """As `problem.make_axes` does: a step that is never taken is 1."""
    axis, at = load_axis(words, i), AXES + i * AXIS_FIELDS
    words[at + _STRIDE] = axis.stride if axis.out > 1 else 1
    words[at + _DILATION] = axis.dilation if axis.kernel > 1 else 1


@kernel
def shape_of(words, array, i):
    return words_at(words[array + 1]).data[i]


@kernel
def step_of(words, array, i):
    return words_at(words[array + 2]).data[i]


@kernel
def is_aligned(words, array, rank):
    """Whether an array's elements lie whole numbers of them apart, and where their type may."""
    return lies_whole(words, array, rank, words[ITEM], words[ALIGNMENT])


@kernel
def lies_whole(words, array, rank, item, alignment):
    bits = 0
    for i in range(rank):
        bits |= step_of(words, array, i)
    return bits % item == 0 and words[array] % alignment == 0  # sizes are powers of two


@kernel
def pad_axis(axis, padding, flip):
    """Padding before and after an axis, and how far its window can move; no room: -1 - `LARGEST`, too much of it."""
    nothing = 0, 0, -1 - LARGEST
    if min(axis.kernel, axis.stride, axis.dilation) < 1 or float(axis.dilation) * float(axis.kernel) > LARGEST:
        return nothing
    reach = axis.dilation * (axis.kernel - 1)
    before, after = axis.before, axis.after
    if padding == VALID:
        before, after = 0, 0
    elif padding == FULL:
        before, after = reach, reach
    elif padding == SAME:
        out = axis.size if axis.stride == 1 else -(-axis.size // axis.stride)
        if float(out) * float(axis.stride) > LARGEST:
            return nothing
        total = max((out - 1) * axis.stride + reach + 1 - axis.size, 0)
        before, after = total // 2, total - total // 2
        if flip and axis.kernel % 2 == 0:
            before, after = after, before
    if min(before, after) < 0 or max(before, after, reach) >= LARGEST // 4:
        return nothing
    return before, after, axis.size + before + after - reach - 1


# ---- calling


@intrinsic
def array_at(typingctx, frame, at):
    """An array of a frame, of whatever dtype who is called with it expects."""

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(frame)(context, builder, value=args[0]).data
        value = cgutils.create_struct_proxy(MEMORY)(context, builder)
        for i, field in enumerate(("data", "shape", "strides")):
            word = builder.load(builder.gep(data, [builder.add(args[1], _INT64(i))]))
            setattr(value, field, builder.inttoptr(word, getattr(value, field).type))
        return value._getvalue()

    return MEMORY(frame, types.intp), codegen


@intrinsic
def memory_at(typingctx, place):
    """The bytes at an address, as an array without a shape."""

    def codegen(context, builder, signature, args):
        memory = cgutils.create_struct_proxy(MEMORY)(context, builder)
        memory.data = builder.inttoptr(args[0], memory.data.type)
        return memory._getvalue()

    return MEMORY(types.intp), codegen


def _invoking(result):
    @intrinsic
    def invoke(typingctx, place, arguments):
        """What the compiled function at an address gives for a tuple of arguments."""

        def codegen(context, builder, signature, args):
            kinds = list(arguments)
            values = [builder.extract_value(args[1], i) for i in range(len(kinds))]
            function = builder.inttoptr(args[0], context.call_conv.get_function_type(result, kinds).as_pointer())
            return context.call_conv.call_function(builder, function, result, kinds, values)[1]

        return result(types.intp, arguments), codegen

    return invoke


is_true, number_from, invoke = map(_invoking, (types.boolean, types.intp, types.none))
