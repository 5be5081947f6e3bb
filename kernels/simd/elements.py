"""Arithmetic on vectors of any type of elements: floats, and integers that wrap; and functions around loops of it."""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .vectors import FLOATS, VECTOR_BYTES

_INT64 = ir.IntType(64)
VECTORS = 4  # of results that are made together, where nothing else takes registers


def lanes_in(element):
    return VECTOR_BYTES * 8 // element.bitwidth


def llvm_type(kind):
    return {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}.get(kind) or ir.IntType(kind.bitwidth)


def outline(builder, name, kinds, emit):
    """A function of its own, made once in a module, and a call of it."""

    def call(args):
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            body = ir.IRBuilder(function.append_basic_block())
            emit(body, *function.args)
            body.ret_void()
        builder.call(function, args)

    return call


def for_shape(builder, name, numbers, shapes, operands, emit):
    """Call the code of the shape that two numbers tell, each one a function of its own, which `emit` writes."""
    first, second = numbers
    switch = builder.switch(builder.add(builder.mul(second, _INT64(32)), first), builder.append_basic_block("done"))
    kinds = [operand.type for operand in operands]
    for shape in shapes:
        m, n = shape
        block = builder.append_basic_block(f"{name}.{m}.{n}")
        switch.add_case(_INT64(32 * n + m), block)
        builder.position_at_end(block)
        outline(builder, f"{name}.{m}.{n}", kinds, functools.partial(_emit_shape, emit, shape))(operands)
        builder.branch(switch.default)
    builder.position_at_end(switch.default)


def _emit_shape(emit, shape, builder, *operands):
    emit(builder, *shape, *operands)


def add(builder, kind, a, b):
    return builder.fadd(a, b) if kind in FLOATS else builder.add(a, b)


def subtract(builder, kind, a, b):
    return builder.fsub(a, b) if kind in FLOATS else builder.sub(a, b)


def multiply(builder, kind, a, b):
    return builder.fmul(a, b) if kind in FLOATS else builder.mul(a, b)


def _selecting(sign, keeps_nan):
    """The larger of two (`sign` is ">") or the smaller one; a NaN, if one is, or either of the two."""

    def select(builder, kind, a, b):
        if kind not in FLOATS:
            compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
            return builder.select(compare(sign, a, b), a, b)
        chosen = builder.select(builder.fcmp_ordered(sign, a, b), a, b)
        return builder.select(builder.fcmp_unordered("uno", a, a), a, chosen) if keeps_nan else chosen

    return select


largest, smallest = _selecting(">", True), _selecting("<", True)
larger, smaller = _selecting(">", False), _selecting("<", False)  # of numbers that are no NaN, in a third of the time


def rounded(builder, value):
    """A float, or a vector of floats, rounded as it is: LLVM fuses no product with a sum across this."""
    element = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    name = "f64" if isinstance(element, ir.DoubleType) else "f32"
    if element is not value.type:
        name = f"v{value.type.count}{name}"
    kind = ir.FunctionType(value.type, [value.type])
    fence = cgutils.get_or_insert_function(builder.module, kind, f"llvm.arithmetic.fence.{name}")
    return builder.call(fence, [value])
