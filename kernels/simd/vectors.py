"""Vectors of the host's registers, and what LLVM IR for them is built from.

Widths come from the CPU that Numba compiles for, `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` included. All IR for vectors
stands in this folder: register tiles in `tiles` and `rows`, packing and storing in `packing`, pools in `fold` and
`pool_lines`. Outside of it, `strided` has the IR for the layout of arrays and `frame` that for calls.
"""

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ..strided import assembly, narrow, widen

FLOATS = {types.float32: "f32", types.float64: "f64"}
_LLVM_FLOATS = (ir.FloatType(), ir.DoubleType())
_INT64 = ir.IntType(64)


# A sum of 512 bits: its assembly names the widest registers that there are.
_SUM = """
define <16 x float> @sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
"""


def target():
    """The CPU that Numba compiles for, the bytes of a vector register that its code may use, and how many there are.

    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES change all of it.
    """
    triple, cpu, _ = cpu_target.target_context.codegen().magic_tuple()
    text = assembly(_SUM)
    if "%zmm" in text:
        return cpu, 64, 32
    if "%ymm" in text:
        return cpu, 32, 16
    return cpu, 16, 32 if triple.startswith(("aarch64", "arm64")) else 16  # NEON, or SSE2


_, VECTOR_BYTES, REGISTERS = target()
# Whether lanes that are not read cost nothing: elsewhere LLVM reads them one by one.
MASKED = VECTOR_BYTES >= 32
_ARM = cpu_target.target_context.codegen().magic_tuple()[0].startswith(("aarch64", "arm64"))


def is_vector_type(element):
    """Whether a register tile exists for a Numba type: real numbers of 32 or 64 bits."""
    return element in FLOATS or (isinstance(element, types.Integer) and element.bitwidth >= 32)


@intrinsic
def lanes_of(typingctx, pointer):
    """Elements of a vector of what a pointer points at."""

    def emit(context, builder, signature, args):
        return context.get_constant(types.intp, VECTOR_BYTES * 8 // pointer.dtype.bitwidth)

    return types.intp(pointer), emit


def multiply_add(builder, element, a, b, total):
    """`a * b + total` on vectors: fused where the hardware fuses, never a call into the C library."""
    if element not in FLOATS:
        return builder.add(builder.mul(a, b), total)
    name = f"llvm.fmuladd.v{a.type.count}{FLOATS[element]}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, total])


def broadcast(builder, scalar, vector_type):
    """A vector of one value."""
    empty = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(first, empty, zeros)


def load_vector(builder, pointer, vector, mask=None, other=None):
    """A vector from any address of an element; lanes outside the mask are not touched and those of `other`, or zero."""
    if mask is None:
        return builder.load(pointer, typ=vector, align=_size(vector))
    signature = ir.FunctionType(vector, [pointer.type, ir.IntType(32), mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.masked.load.{_suffix(vector)}.p0")
    return builder.call(function, [pointer, ir.IntType(32)(_size(vector)), mask, other or ir.Constant(vector, None)])


def store_vector(builder, value, pointer, mask=None):
    """Write a vector to any address of an element; lanes outside the mask are not touched."""
    vector = value.type
    if mask is None:
        builder.store(value, builder.bitcast(pointer, vector.as_pointer()), align=_size(vector))
        return
    signature = ir.FunctionType(ir.VoidType(), [vector, pointer.type, ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.masked.store.{_suffix(vector)}.p0")
    builder.call(function, [value, pointer, ir.IntType(32)(_size(vector)), mask])


APART = 2  # steps between elements, at most, with which `store_apart` writes a vector


def store_apart(builder, value, pointer, step, mask=None):
    """`store_vector` to every element, or to every second one; those between are not touched."""
    lanes, index = value.type.count, ir.IntType(32)
    with builder.if_else(builder.icmp_signed("==", step, step.type(1))) as (together, apart):
        with together:
            store_vector(builder, value, pointer, mask)
        with apart:
            even = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1, 0] * (lanes // 2))
            for half in range(2):
                order = [(half * lanes + i) // 2 for i in range(lanes)]
                order = ir.Constant(ir.VectorType(index, lanes), order)
                some = even if mask is None else builder.and_(builder.shuffle_vector(mask, mask, order), even)
                spread = builder.shuffle_vector(value, value, order)
                store_vector(builder, spread, builder.gep(pointer, [_INT64(half * lanes)]), some)


def scatter(builder, columns, pointer, column_step, step, count, rows):
    """Write the first `rows` elements of `count` vectors, those of a vector `step` apart, vectors `column_step` apart.

    They pass through the stack, whence a loop takes them: in registers, each would need instructions of its own.
    """
    vector = columns[0].type
    square = cgutils.alloca_once(builder, vector, size=len(columns))
    for j, column in enumerate(columns):
        store_vector(builder, column, builder.gep(square, [_INT64(j)]))
    numbers = builder.bitcast(square, vector.element.as_pointer())
    with cgutils.for_range(builder, count) as column:
        source = builder.gep(numbers, [builder.mul(column.index, _INT64(vector.count))])
        target = builder.gep(pointer, [builder.mul(column.index, column_step)])
        with cgutils.for_range(builder, rows) as row:
            value = builder.load(builder.gep(source, [row.index]), typ=vector.element)
            builder.store(value, builder.gep(target, [builder.mul(row.index, step)]))


def is_apart(builder, step):
    """Whether `store_apart` takes a step."""
    last = _INT64(APART)
    return builder.and_(builder.icmp_signed(">=", step, _INT64(1)), builder.icmp_signed("<=", step, last))


def prefetch(builder, pointer):
    """Ask for a cache line that will be read, wherever it lies."""
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    pointer = builder.bitcast(pointer, function.args[0].type)  # that of the first call in the module
    builder.call(function, [pointer, number(0), number(3), number(1)])


def load_elements(context, builder, array, pointer, vector, mask=None, other=None):
    """`load_vector` from the memory of `array`, in its compute type."""
    stored = ir.VectorType(context.get_value_type(array.dtype), vector.count)
    value = widen(builder, array, load_vector(builder, pointer, stored, mask))
    return value if other is None else builder.select(mask, value, other)


def finish(builder, array, total, low, high):
    """Sums as memory holds them: wrapped to the storage type, clamped, and rounded; a NaN stays a NaN."""
    if array.compute not in FLOATS and array.format != "bool":
        total = widen(builder, array, narrow(builder, array, total))
    return narrow(builder, array, clamp(builder, array.compute, total, low, high))


def _size(vector):
    return {"i8": 1, "i16": 2, "i32": 4, "i64": 8, "float": 4, "double": 8}[str(vector.element)]


def _suffix(vector):
    element = str(vector.element)
    return f"v{vector.count}{ {'float': 'f32', 'double': 'f64'}.get(element, element) }"


def first_lanes(builder, count, lanes):
    """Mask of the first `count` of `lanes` lanes."""
    narrow = ir.IntType(32)
    index = ir.Constant(ir.VectorType(narrow, lanes), list(range(lanes)))
    few = builder.select(builder.icmp_signed("<", count, _INT64(lanes)), count, _INT64(lanes))
    few = builder.select(builder.icmp_signed(">", few, _INT64(0)), few, _INT64(0))
    return builder.icmp_signed("<", index, broadcast(builder, builder.trunc(few, narrow), index.type))


def for_vectors(builder, count, lanes, body):
    """`body(offset, mask)` for each vector of a run: no mask for whole ones, then one for what is left."""
    rest = builder.and_(count, _INT64(lanes - 1))
    whole = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(lanes), inc=True) as (offset, _):
        body(offset, None)
    with builder.if_then(builder.icmp_signed(">", rest, _INT64(0))):
        body(whole, first_lanes(builder, rest, lanes))


def for_several(builder, count, lanes, several, body):
    """`body(offset, vectors, mask)` for all of a run: several vectors at a time, then one by one as `for_vectors`."""
    wide = builder.sub(count, builder.srem(count, _INT64(several * lanes)))
    with cgutils.for_range_slice(builder, _INT64(0), wide, _INT64(several * lanes), inc=True) as (offset, _):
        body(offset, several, None)
    for_vectors(
        builder, builder.sub(count, wide), lanes, lambda offset, mask: body(builder.add(wide, offset), 1, mask)
    )  # fmt: skip


class Bounds(NamedTuple):
    """What an activation lets through, if it clamps at all: `low` to `high`."""

    is_clamped: bool
    low: Any
    high: Any


def clamp(builder, element, value, low, high):
    """The value, or the bound that it lies beyond; a NaN stays a NaN."""
    if element in FLOATS:
        less = builder.fcmp_ordered
    else:
        less = builder.icmp_signed if element.signed else builder.icmp_unsigned
    value = builder.select(less("<", value, low), low, value)
    return builder.select(less("<", high, value), high, value)


def add(builder, a, b):
    return builder.fadd(a, b) if a.type.element in _LLVM_FLOATS else builder.add(a, b)


def pin(builder, value):
    """The value, through an empty asm that stops LLVM from moving loads across it.

    Else LLVM gathers a tile's loads, which takes more registers than there are, and unrolls the loop around them.
    """
    kind = ir.FunctionType(value.type, [value.type])
    register = "w" if _ARM else "v" if VECTOR_BYTES == 64 else "x"
    assembly = ir.InlineAsm(kind, "", f"={register},0,~{{memory}}", side_effect=True)
    return builder.call(assembly, [value], attrs=("convergent",))


def keep_whole(builder):
    """Keep the function around a large intrinsic one piece of code, however many places call it."""
    builder.function.attributes.add("noinline")


def zip_orders(count, words=1):
    """Shuffles of two vectors: the first halves of both, element by element, and the second halves."""
    index = ir.VectorType(ir.IntType(32), count * words)
    zips = [[i // 2 + i % 2 * count for i in range(half * count, (half + 1) * count)] for half in (0, 1)]
    return [ir.Constant(index, [place * words + i for place in places for i in range(words)]) for places in zips]


def transpose(builder, rows, words=1):
    """Rows of a square of elements, each in so many lanes, become its columns.

    Each stage zips rows that lie half the square apart.
    """
    side, stage = len(rows), 1
    while stage < side:
        pairs = [(rows[i], rows[i + side // 2]) for i in range(side // 2)]
        rows = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in zip_orders(side, words)]
        stage *= 2
    return rows


def deinterleave(builder, rows):
    """Short rows become their columns: they are joined to whole vectors, whose even and odd elements are split."""
    index, count, width = ir.IntType(32), len(rows), rows[0].type.count

    def shuffle(a, b, order):
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(index, len(order)), list(order)))

    while len(rows) > width:
        size = 2 * rows[0].type.count
        rows = [shuffle(a, b, range(size)) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    stage = 1
    while stage < width:
        pairs = list(zip(rows[::2], rows[1::2], strict=True))
        rows = [shuffle(a, b, range(odd, 2 * count, 2)) for odd in (0, 1) for a, b in pairs]
        stage *= 2
    return rows


def pick(builder, vectors, places, words=1):
    """A vector of elements, of so many words, of vectors as long: at `j` what `places[j]` says, a vector and a place.

    A chain of shuffles of two vectors each.
    """
    result, count = vectors[0], len(places)
    for i in range(min(1, len(vectors) - 1), len(vectors)):
        order = []
        for j, (vector, place) in enumerate(places):
            mine = place if i < 2 else j  # of the vector so far; where a later one has its turn, anything
            order.append(count + place if vector == i > 0 else mine)
        index = ir.VectorType(ir.IntType(32), count * words)
        order = [place * words + k for place in order for k in range(words)]
        result = builder.shuffle_vector(result, vectors[i], ir.Constant(index, order))
    return result


def split_turns(builder, vectors, words=1):
    """Vectors of elements that take turns, one for each turn.

    By twos where their number is even: that takes the fewest shuffles.
    """
    every, count = len(vectors), vectors[0].type.count // words
    if every == 1:
        return vectors
    if every % 2 == 0:
        halves = []
        for odd in range(2):
            places = [divmod(2 * i + odd, count) for i in range(count)]
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            halves.append(split_turns(builder, [pick(builder, pair, places, words) for pair in pairs], words))
        return [vector for pair in zip(*halves, strict=True) for vector in pair]
    return [pick(builder, vectors, [divmod(i * every + r, count) for i in range(count)], words) for r in range(every)]


def join_turns(builder, residues, words=1):
    """What `split_turns` splits: the elements of vectors in turn, as many vectors of them."""
    every, count = len(residues), residues[0].type.count // words
    if every == 1:
        return residues
    if every % 2 == 0:
        pairs = zip(*(join_turns(builder, residues[odd::2], words) for odd in range(2)), strict=True)
        places = [[(i % 2, i // 2) for i in range(half * count, (half + 1) * count)] for half in range(2)]
        return [pick(builder, pair, each, words) for pair in pairs for each in places]
    places = [(i % every, i // every) for i in range(every * count)]
    return [pick(builder, residues, places[i * count : (i + 1) * count], words) for i in range(every)]


@intrinsic
def limits(typingctx, pointer):
    """The lowest and the highest value of what a pointer points at; complex numbers have none."""
    element = pointer.dtype

    def emit(context, builder, signature, args):
        if isinstance(element, types.Complex):
            return context.get_constant_null(signature.return_type)
        low, high = (-math.inf, math.inf) if element in FLOATS else (element.minval, element.maxval)
        return context.make_tuple(
            builder, signature.return_type, [context.get_constant(element, v) for v in (low, high)]
        )

    return types.UniTuple(element, 2)(pointer), emit


@intrinsic
def is_finite(typingctx, pointer, start, count):
    """Whether all of `count` numbers from `start` on, whole vectors of them, are finite."""
    element = pointer.dtype
    lanes = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        if element not in FLOATS:
            return context.get_constant(types.boolean, True)
        pointer, start, count = args
        pointer = builder.gep(pointer, [start])
        vector = ir.VectorType(context.get_value_type(element), lanes)
        zero = ir.Constant(vector, None)
        total = cgutils.alloca_once_value(builder, zero)
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lanes), inc=True) as (offset, _):
            value = load_vector(builder, builder.gep(pointer, [offset]), vector)
            builder.store(multiply_add(builder, element, value, zero, builder.load(total)), total)
        mask = builder.fcmp_unordered("uno", builder.load(total), zero)
        return builder.icmp_unsigned("==", builder.bitcast(mask, ir.IntType(lanes)), ir.IntType(lanes)(0))

    return types.boolean(pointer, types.intp, types.intp), emit


def unpack(builder, kind, value):
    """The fields of a NamedTuple, by name."""
    return kind.instance_class(*cgutils.unpack_tuple(builder, value, len(kind)))
