"""What compiled callers and kernels share: frames of words, and the table of what is called.

A caller fills a frame on its stack, has it resolved, which gives the shape of the result, and has it run. What does
both is found, as are the kernels of each pair of dtypes, in a table of words that the frontend fills: callers know its
symbol.
"""

from itertools import accumulate
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..convolution import weights
from ..convolution.choose import FAMILIES
from ..jit import entry, kernel
from ..shapes import AXIS_FIELDS, CALL_FIELDS, WINDOWS_FIELDS, Axis, Element
from ..strided import StridedType, load_tuple
from ..team import exchange
from ..windows import patches, pool_rows, scatter, spread


class Frame(NamedTuple):
    """The fields of a frame: of each, how many words it has, or where it begins."""

    # Arrays: a pointer to the elements, one to the shape, one to the strides.
    x: int
    w: int
    bias: int
    out: int
    fill: int
    indices: int
    numbers: int  # what the kernel reads
    # Where things are found.
    table: int
    kernels: int  # in the table, those of the dtypes
    function: int  # the name of what was called
    padding_name: int  # and of the argument that gives its padding
    # What is known when the caller is compiled.
    element: int
    itemsize: int  # of the result
    alignment: int  # of the result, or of what windows move over
    x_itemsize: int
    algorithm: int
    padding: int
    has_out: int
    kind: int  # of windows
    # What is told when it is called.
    option: int  # of windows: bits
    biases: int  # how many there are
    divisor: int  # of means, 0 where they are over what windows cover
    columns: int  # rows of `col2im`'s matrix, -1 for everything else
    is_asked: int  # whether the sizes of the result are
    sizes: int  # those of an unpooled array
    # What the functions of the table say.
    bad_index: int  # where it is among the indices, -1: all are good
    message: int  # what the interpreter says: a pointer, 0 if nothing is wrong
    is_resolved: int
    # What the kernel reads, from `call` on: for windows, `Windows` stand before the axes in place of a `Call`.
    call: int
    axes: int
    plan: int  # of pools, which begins with no call


_ARRAY = 3
MOST_AXES = 8  # of an array that windows move over
_PLAN = 48  # what plans take beyond the axes; larger ones lie elsewhere
_WORDS = Frame(
    *[_ARRAY] * 7, table=1, kernels=1, function=1, padding_name=1, element=len(Element._fields), itemsize=1,
    alignment=1, x_itemsize=1, algorithm=1, padding=1, has_out=1, kind=1, option=1, biases=1, divisor=1, columns=1,
    is_asked=1, sizes=MOST_AXES, bad_index=1, message=1, is_resolved=1, call=CALL_FIELDS, axes=MOST_AXES * AXIS_FIELDS,
    plan=_PLAN,
)  # fmt: skip
FRAME = sum(_WORDS)
AT = Frame(*list(accumulate(_WORDS, initial=0))[:-1])  # where each field begins
AT_WINDOWS = AT.axes - WINDOWS_FIELDS
assert pool_rows.PLAN_WORDS <= _PLAN, "the plan of a pool does not fit in a frame"


class Table(NamedTuple):
    """The words of the table before the blocks of workspace and the functions of each pair of dtypes."""

    meaning: int  # of "auto": a place in `ALGORITHMS`
    resolve: int
    run: int
    resolve_window: int
    run_window: int
    resolve_gradient: int
    run_gradient: int
    run_filter: int
    exponential: int  # NumPy's loops, each with what it is given besides arrays
    exponential_data: int
    addition: int
    addition_data: int
    explain: int
    lose: int
    load: int
    refused: int  # texts
    unheld: int
    failed: int
    blocks: int


IN_TABLE = Table(*range(len(Table._fields)))
_KEPT = 24  # blocks of workspace
FUNCTIONS = IN_TABLE.blocks + _KEPT  # where the functions of each pair of dtypes begin

# What a block of workspace has to hold: any kernel's.
BLOCK_BYTES = max(
    each.WORKSPACE_BYTES
    for each in (pool_rows, patches, scatter, spread, weights, *(family.module for family in FAMILIES))
)

_STRIDE, _DILATION, _BEFORE, _AFTER, _OUT = map(Axis._fields.index, ("stride", "dilation", "before", "after", "out"))

_INT64 = ir.IntType(64)
WORDS, MEMORY, SINGLES, DOUBLES = map(StridedType, ("int64", "uint8", "float32", "float64"))


# ---- memory


def _lying(kind):
    @intrinsic
    def at(typingctx, place):
        """What lies at an address, as an array without a shape."""

        def codegen(context, builder, signature, args):
            array = cgutils.create_struct_proxy(kind)(context, builder)
            array.data = builder.inttoptr(args[0], array.data.type)
            return array._getvalue()

        return kind(types.intp), codegen

    return at


words_at, memory_at, singles_at, doubles_at = map(_lying, (WORDS, MEMORY, SINGLES, DOUBLES))


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
def tell(typingctx, function, frame, number):
    """Call a function of C, which takes two numbers and gives nothing, at an address."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_INT64, _INT64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@kernel
def take_block(table):
    """A block of workspace, aligned to 64 bytes, 0 if there is no memory. Before it stands what `free` takes."""
    for i in range(_KEPT):
        block = exchange(table, IN_TABLE.blocks + i, 0)
        if block != 0:
            return block
    start = allocate(BLOCK_BYTES + 72)
    if start == 0:
        return 0
    block = (start + 71) // 64 * 64
    words_at(block - 8).data[0] = start
    return block


@kernel
def give_block(table, block):
    """Keep a block for the next call, in place of one that another thread kept meanwhile."""
    for i in range(_KEPT):
        block = exchange(table, IN_TABLE.blocks + i, block)
        if block == 0:
            return
    free(words_at(block - 8).data[0])


@entry
def release_blocks(table):
    """Free what is kept."""
    for i in range(_KEPT):
        block = exchange(table, IN_TABLE.blocks + i, 0)
        if block != 0:
            free(words_at(block - 8).data[0])


# ---- what a frame holds


@kernel
def load_axis(words, i):
    return load_tuple(words, AT.axes + i * AXIS_FIELDS, Axis)


@kernel
def write_ends(words, i, before, after, out):
    at = AT.axes + i * AXIS_FIELDS
    words[at + _BEFORE], words[at + _AFTER], words[at + _OUT] = before, after, out


@kernel
def write_steps(words, i, axis):
    at = AT.axes + i * AXIS_FIELDS
    words[at + _STRIDE], words[at + _DILATION] = axis.stride, axis.dilation


@kernel
def shape_of(words, array, i):
    return words_at(words[array + 1]).data[i]


@kernel
def step_of(words, array, i):
    return words_at(words[array + 2]).data[i]


@kernel
def is_aligned(words, array, rank, itemsize, alignment):
    """Whether an array's elements lie whole numbers of them apart, and where their type may."""
    bits = 0
    for i in range(rank):
        bits |= step_of(words, array, i)
    return bits % itemsize == 0 and words[array] % alignment == 0  # sizes are powers of two


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


is_true, invoke = map(_invoking, (types.boolean, types.none))
