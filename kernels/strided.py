"""How an array reaches a kernel: a pointer, a shape and strides, read straight from the ndarray.

One compiled kernel per element type serves every rank and memory layout. `load` and `store` convert between what memory
holds (the storage type) and what is computed with (the compute type):

========================  ==============  =======================================================
storage                   compute         remark
========================  ==============  =======================================================
float32, float64, complex the same
float16, bfloat16         float32         unpacked from 16 bits by hand: Numba has no such types
int8, int16, int32        int32           wraps at the end as it would have at each step
uint8, uint16, uint32     uint32          the same
int64, uint64             the same
bool                      int32           counts; any non-zero count is True
========================  ==============  =======================================================

An input may have another dtype than the result. It is then read as what the result is computed in.
"""

import operator
from typing import NamedTuple

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import (
    NativeValue,
    intrinsic,
    make_attribute_wrapper,
    models,
    register_model,
    unbox,
)
from numba.np.numpy_support import as_dtype

from .jit import kernel
from .shapes import DTYPES, compute_dtype


def assembly(source):
    """What LLVM makes of IR for the CPU that Numba compiles for: no list holds all that a CPU's name implies."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    return machine.emit_assembly(binding.parse_assembly(source))


# Where the CPU has no instruction for it, LLVM calls a function that processes may lack.
_WIDENED = """
define <8 x float> @widen(<8 x half> %a) {
  %b = fpext <8 x half> %a to <8 x float>
  ret <8 x float> %b
}
"""
_HAS_HALVES = "cvtph2ps" in assembly(_WIDENED)

_UNSIGNED = {"bool": types.uint8, "float16": types.uint16, "bfloat16": types.uint16}  # unpacked by hand
_STORAGE = {name: _UNSIGNED.get(name) or getattr(types, name) for name in DTYPES}


class StridedType(types.Type):
    """Type of an ndarray argument whose elements have the dtype `name`, of any rank and strides.

    `compute`: the name of the type that they are read as, where it is not the dtype's own compute type.
    """

    def __init__(self, name, compute=None):
        self.dtype = _STORAGE[name]
        self.unpacked = _STORAGE[compute_dtype(name)] if name in _UNSIGNED else self.dtype
        self.compute = _STORAGE[compute or compute_dtype(name)]
        self.format = name
        super().__init__(name=f"Strided({name}{f'->{compute}' if compute else ''})")


@register_model(StridedType)
class _StridedModel(models.StructModel):
    def __init__(self, manager, fe_type):
        members = [
            ("data", types.CPointer(fe_type.dtype)),
            ("shape", types.CPointer(types.intp)),
            ("strides", types.CPointer(types.intp)),  # in bytes, as NumPy's
        ]
        super().__init__(manager, fe_type, members)


for _field in ("data", "shape", "strides"):
    make_attribute_wrapper(StridedType, _field, _field)

_HEAD = object.__basicsize__  # 16 bytes, 32 in a free-threaded build


@unbox(StridedType)
def _unbox_strided(typ, obj, c):
    """Read `data`, `dimensions` and `strides` of NumPy's PyArrayObject, a layout fixed by NumPy's C ABI."""
    value = cgutils.create_struct_proxy(typ)(c.context, c.builder)
    pointer = ir.IntType(8).as_pointer()
    base = c.builder.bitcast(obj, pointer)
    for field, offset in (("data", _HEAD), ("shape", _HEAD + 16), ("strides", _HEAD + 24)):
        where = c.builder.gep(base, [ir.Constant(ir.IntType(64), offset)], source_etype=ir.IntType(8))
        target = getattr(value, field).type
        setattr(value, field, c.builder.load(c.builder.bitcast(where, target.as_pointer()), typ=target))
    return NativeValue(value._getvalue())


@intrinsic
def load_tuple(typingctx, pointer, i, tuple_type):
    """The NamedTuple of ints, and of such NamedTuples, that lies in memory from `pointer[i]` on."""
    result = _tuple_of(tuple_type.instance_class)

    def codegen(context, builder, signature, args):
        llvm_type = context.get_value_type(result)
        where = builder.gep(args[0], [args[1]], source_etype=ir.IntType(64))
        return builder.load(builder.bitcast(where, llvm_type.as_pointer()), typ=llvm_type, align=8)

    return result(pointer, types.intp, tuple_type), codegen


def _tuple_of(kind):
    """Numba's type of a NamedTuple of ints, and of such NamedTuples."""
    fields = [kind.__annotations__[name] for name in kind._fields]
    return types.BaseTuple.from_types([types.intp if each is int else _tuple_of(each) for each in fields], kind)


@intrinsic
def store_tuple(typingctx, pointer, i, fields):
    """Write what `load_tuple` reads; how many numbers that are."""

    def leaves(builder, kind, value):
        for j, each in enumerate(kind):
            item = builder.extract_value(value, j)
            yield from leaves(builder, each, item) if isinstance(each, types.BaseTuple) else [(each, item)]

    def codegen(context, builder, signature, args):
        numbers = [context.cast(builder, item, each, types.intp) for each, item in leaves(builder, fields, args[2])]
        for j, number in enumerate(numbers):
            builder.store(number, builder.gep(args[0], [builder.add(args[1], ir.IntType(64)(j))]))
        return context.get_constant(types.intp, len(numbers))

    return types.intp(pointer, types.intp, fields), codegen


def widen(builder, array, value):
    """From the storage type of `array` to its compute type: an element or a vector of them."""
    if array.format == "bool":
        value = builder.zext(builder.icmp_unsigned("!=", value, value.type(None)), _like(value, _INT32))
    elif array.format == "bfloat16":
        word = builder.shl(builder.zext(value, _like(value, _INT32)), _same(value, 16))
        value = builder.bitcast(word, _like(value, ir.FloatType()))
    elif array.format == "float16":
        value = _half_to_float(builder, value)
    return cast(builder, value, array.unpacked, array.compute)


def cast(builder, value, source, target):
    """From one type of numbers to another, as `astype` does: an element or, of real numbers, a vector of them."""
    if source == target:
        return value
    if isinstance(target, types.Complex):
        parts, real = (value, None), source
        if isinstance(source, types.Complex):
            parts, real = (builder.extract_value(value, i) for i in range(2)), source.underlying_float
        kind = _FLOATS[target.underlying_float]
        pair = ir.Constant(ir.LiteralStructType([kind] * 2), None)
        for i, part in enumerate(parts):
            if part is not None:
                pair = builder.insert_value(pair, cast(builder, part, real, target.underlying_float), i)
        return pair
    if isinstance(target, types.Float):
        kind = _like(value, _FLOATS[target])
        if isinstance(source, types.Float):
            return (builder.fpext if target.bitwidth > source.bitwidth else builder.fptrunc)(value, kind)
        return (builder.sitofp if source.signed else builder.uitofp)(value, kind)
    if source.bitwidth == target.bitwidth:
        return value
    kind = _like(value, ir.IntType(target.bitwidth))
    if source.bitwidth > target.bitwidth:
        return builder.trunc(value, kind)
    return (builder.sext if source.signed else builder.zext)(value, kind)


def narrow(builder, array, value):
    """From the compute type of `array` to its storage type, rounded (ties to even) or wrapped."""
    stored = _like(value, _INT16 if array.dtype == types.uint16 else _INT8)
    if array.format == "bool":
        return builder.zext(builder.icmp_unsigned("!=", value, value.type(None)), stored)
    if array.format == "bfloat16":
        word = builder.bitcast(value, _like(value, _INT32))
        top = builder.lshr(word, _same(value, 16))
        odd = builder.and_(top, _same(value, 1))
        rounded = builder.lshr(builder.add(builder.add(word, _same(value, 0x7FFF)), odd), _same(value, 16))
        quiet = builder.or_(top, _same(value, 0x40))
        return builder.trunc(builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded), stored)
    if array.format == "float16":
        return _float_to_half(builder, value)
    if array.dtype == array.compute:
        return value
    return builder.trunc(value, _like(value, ir.IntType(array.dtype.bitwidth)))


_INT8, _INT16, _INT32 = (ir.IntType(bits) for bits in (8, 16, 32))
_FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


def _like(value, element):
    """The type of as many elements as a value has."""
    return ir.VectorType(element, value.type.count) if isinstance(value.type, ir.VectorType) else element


def _same(value, number):
    """A 32-bit constant for each element of a value."""
    kind = _like(value, _INT32)
    return kind([number] * kind.count if kind is not _INT32 else number)


def _half_to_float(builder, value):
    """IEEE binary16, in a few operations where the hardware has none for it."""
    if _HAS_HALVES:
        return builder.fpext(builder.bitcast(value, _like(value, ir.HalfType())), _like(value, ir.FloatType()))
    word, floats = builder.zext(value, _like(value, _INT32)), _like(value, ir.FloatType())
    magnitude = builder.shl(builder.and_(word, _same(value, 0x7FFF)), _same(value, 13))
    # The exponents' biases differ by 112; a product also normalises subnormal numbers.
    scale = builder.bitcast(_same(value, (127 + 112) << 23), floats)
    scaled = builder.bitcast(builder.fmul(builder.bitcast(magnitude, floats), scale), word.type)
    # Infinity and NaN keep an exponent of all ones.
    special = builder.icmp_unsigned(">=", magnitude, _same(value, 0x7C00 << 13))
    bits = builder.select(special, builder.or_(magnitude, _same(value, 0x7F800000)), scaled)
    sign = builder.shl(builder.and_(word, _same(value, 0x8000)), _same(value, 16))
    return builder.bitcast(builder.or_(bits, sign), floats)


def _float_to_half(builder, value):
    if _HAS_HALVES:
        half, words = _like(value, ir.HalfType()), _like(value, _INT16)
        half = builder.bitcast(builder.fptrunc(value, half), words)
        nan, sign = (words([bits] * words.count if words is not _INT16 else bits) for bits in (0x7E00, 0x8000))
        nan = builder.or_(builder.and_(half, sign), nan)  # every NaN has the bits that are made below
        return builder.select(builder.fcmp_unordered("uno", value, value), nan, half)
    word = builder.bitcast(value, _like(value, _INT32))
    sign = builder.and_(builder.lshr(word, _same(value, 16)), _same(value, 0x8000))
    magnitude = builder.and_(word, _same(value, 0x7FFFFFFF))
    odd = builder.and_(builder.lshr(word, _same(value, 13)), _same(value, 1))
    bits = builder.add(builder.sub(magnitude, _same(value, 0x38000000 - 0xFFF)), odd)
    bits = builder.lshr(bits, _same(value, 13))
    # Below 2**-14, adding 0.5 leaves the subnormal's bits, rounded, at the end.
    half = _same(value, 0x3F000000)
    shifted = builder.fadd(builder.bitcast(magnitude, value.type), builder.bitcast(half, value.type))
    subnormal = builder.sub(builder.bitcast(shifted, word.type), half)
    bits = builder.select(builder.icmp_unsigned("<", magnitude, _same(value, 0x38800000)), subnormal, bits)
    # 65520, half way between 65504 and 2**16, rounds to infinity.
    large = builder.icmp_unsigned(">=", magnitude, _same(value, 0x477FF000))
    bits = builder.select(large, _same(value, 0x7C00), bits)
    bits = builder.select(builder.icmp_unsigned(">", magnitude, _same(value, 0x7F800000)), _same(value, 0x7E00), bits)
    return builder.trunc(builder.or_(bits, sign), _like(value, _INT16))


def data_of(context, builder, array, value):
    """The pointer to the first element of an array in a function."""
    return cgutils.create_struct_proxy(array)(context, builder, value=value).data


@intrinsic
def load(typingctx, array, i):
    """Element at offset `i` (in elements from the first), in the compute type."""

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[0])
        return widen(builder, array, builder.load(builder.gep(data, [args[1]])))

    return array.compute(array, types.intp), codegen


@intrinsic
def store(typingctx, array, i, value):
    """Write `value` at offset `i`, rounded or wrapped to the storage type."""

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[0])
        builder.store(narrow(builder, array, args[2]), builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.compute), codegen


@intrinsic
def zero(typingctx, array):
    """The compute type's zero."""

    def codegen(context, builder, signature, args):
        return context.get_constant_null(array.compute)

    return array.compute(array), codegen


@intrinsic
def add_product(typingctx, total, a, b):
    """`total + a * b` in the type of `a`: Numba alone would widen small integers to 64 bits."""

    def codegen(context, builder, signature, args):
        total, left, right = args
        if isinstance(a, types.Complex):
            multiply = context.get_function(operator.mul, a(a, a))
            add = context.get_function(operator.add, a(a, a))
            return add(builder, (total, multiply(builder, (left, right))))
        if isinstance(a, types.Float):
            product = builder.fmul(left, right, flags=("contract",))
            return builder.fadd(total, product, flags=("contract",))
        return builder.add(total, builder.mul(left, right))

    return a(a, a, a), codegen


@intrinsic
def item_size(typingctx, array):
    """Bytes of one element in memory."""
    return _size(array, array.dtype)


@intrinsic
def compute_size(typingctx, array):
    """Bytes of one element in the compute type."""
    return _size(array, array.compute)


@intrinsic
def is_plain(typingctx, array):
    """Whether memory holds the compute type itself."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.boolean, array.dtype == array.compute)

    return types.boolean(array), codegen


@intrinsic
def elements(typingctx, array):
    """The array's memory as a pointer to the compute type; meaningful where `is_plain`."""
    pointer = types.CPointer(array.compute)

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[0])
        return builder.bitcast(data, context.get_value_type(pointer))

    return pointer(array), codegen


@intrinsic
def alignment(typingctx, array):
    """Bytes that an element's address is a multiple of."""
    size = as_dtype(array.dtype).alignment

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, size)

    return types.intp(array), codegen


def _size(array, element):
    size = as_dtype(element).itemsize

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, size)

    return types.intp(array), codegen


@intrinsic
def stride(typingctx, array, axis):
    """Stride of an axis in elements. The frontend passes no array whose strides are not whole elements."""
    size = as_dtype(array.dtype).itemsize

    def codegen(context, builder, signature, args):
        strides = cgutils.create_struct_proxy(array)(context, builder, value=args[0]).strides
        return builder.sdiv(
            builder.load(builder.gep(strides, [args[1]])), ir.Constant(ir.IntType(64), size), flags=("exact",)
        )

    return types.intp(array, types.intp), codegen


@intrinsic
def address(typingctx, array):
    """Address of the first element."""

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[0])
        return builder.ptrtoint(data, ir.IntType(64))

    return types.intp(array), codegen


@intrinsic
def convert(typingctx, array, value):
    """`value` in the compute type of `array`; what its memory cannot hold wraps."""
    wraps = isinstance(array.compute, types.Integer) and array.unpacked == array.dtype
    stored = array.dtype if wraps else array.compute

    def codegen(context, builder, signature, args):
        return context.cast(builder, context.cast(builder, args[1], value, stored), stored, array.compute)

    return array.compute(array, value), codegen


@intrinsic
def mean(typingctx, array, total, count):
    """`total / count` in the compute type of `array`; the mean of nothing is NaN, for complex numbers too."""
    compute = array.compute

    def codegen(context, builder, signature, args):
        _, value, number = args
        if not isinstance(compute, types.Complex):
            return builder.fdiv(value, context.cast(builder, number, types.intp, compute))
        part = compute.underlying_float
        divisor = context.cast(builder, number, types.intp, part)
        value = context.make_complex(builder, compute, value)
        value.real, value.imag = builder.fdiv(value.real, divisor), builder.fdiv(value.imag, divisor)
        return value._getvalue()

    return compute(array, compute, types.intp), codegen


@kernel
def is_aligned(array, rank):
    """Whether every element lies a whole number of elements from the first, and that one where its type may lie."""
    bits = 0
    for axis in range(rank):
        bits |= array.strides[axis]
    return bits % item_size(array) == 0 and address(array) % alignment(array) == 0  # sizes are powers of two


class Strides(NamedTuple):
    """Strides in elements of an array with two leading axes and three spatial ones; those it does not have are 0."""

    batch: int
    channel: int
    s0: int
    s1: int
    s2: int


@kernel
def five_strides(array, rank):
    """Strides of `(N, C, *spatial)` with `rank` spatial axes, normalised to three."""
    return Strides(
        stride(array, 0),
        stride(array, 1),
        stride(array, rank - 1) if rank > 2 else 0,
        stride(array, rank) if rank > 1 else 0,
        stride(array, rank + 1),
    )


@intrinsic
def scratch(typingctx, workspace, offset, array):
    """The workspace from byte `offset` on, as a pointer to the compute type of `array`."""
    return _scratch(workspace, array.compute, (array,))


@intrinsic
def scratch_parts(typingctx, workspace, offset, array):
    """`scratch`, as a pointer to numbers: of complex ones, to their parts."""
    return _scratch(workspace, getattr(array.compute, "underlying_float", array.compute), (array,))


@intrinsic
def scratch_doubles(typingctx, workspace, offset):
    """The workspace from byte `offset` on, as a pointer to float64."""
    return _scratch(workspace, types.float64, ())


@intrinsic
def scratch_index(typingctx, workspace, offset):
    """The workspace from byte `offset` on, as a pointer to int64."""
    return _scratch(workspace, types.intp, ())


@intrinsic
def scratch_array(typingctx, workspace, offset, array):
    """The workspace from byte `offset` on, as an array of the type of `array`, without a shape."""

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, workspace, args[0])
        where = builder.gep(data, [args[1]], source_etype=ir.IntType(8))
        value = cgutils.create_struct_proxy(array)(context, builder)
        value.data = builder.bitcast(where, value.data.type)
        return value._getvalue()

    return array(workspace, types.intp, array), codegen


def _scratch(workspace, element, more):
    pointer = types.CPointer(element)

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, workspace, args[0])
        where = builder.gep(data, [args[1]], source_etype=ir.IntType(8))
        return builder.bitcast(where, context.get_value_type(pointer))

    return pointer(workspace, types.intp, *more), codegen
