"""Lines of an array: converted when they are read and written, and combined, vector by vector.

Filters see an array as lines of elements that lie evenly apart. They copy lines, or as much of them as a block holds,
into a workspace of the type that they compute with; the dtypes of arrays are numbers here, places in `FORMATS`, so that
one kernel serves all of them.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, llvm_type, outline
from .vectors import FLOATS, VECTOR_BYTES, broadcast, for_vectors, load_vector, multiply_add, store_vector

_INT64, _BYTE = ir.IntType(64), ir.IntType(8)

# What lines of arrays may hold. A plan knows the place of a dtype in this tuple.
FORMATS = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float32", "float64"),
)
_SMALL = FORMATS[:5]
# Formats that are converted to a type, and from it; a type that is not here meets lines of its own kind only.
_READ = {types.float64: FORMATS, types.float32: (*_SMALL, "float32"), types.int16: _SMALL}
_WRITTEN = {types.float64: FORMATS, types.float32: (*_SMALL, "float32"), types.int16: _SMALL}
_TYPES = {name: getattr(types, name) for name in FORMATS[1:]} | {"bool": types.uint8}


def _cast(builder, value, given, wanted, is_bool=False):
    """From one Numba type to another, as C casts: toward zero, and wrapped."""
    lanes = value.type.count if isinstance(value.type, ir.VectorType) else 0

    def like(kind):
        element = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}.get(kind)
        element = element or ir.IntType(kind.bitwidth)
        return ir.VectorType(element, lanes) if lanes else element

    def whole_part(operate, low, high, kind):
        """The whole part, or that of the bound that is nearer; 0 for NaN. LLVM's own takes each lane by itself."""
        low, high, nothing = (
            ir.Constant(value.type, [bound] * lanes if lanes else bound) for bound in (low, high, 0.0)
        )
        number = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        number = builder.select(builder.fcmp_ordered(">", number, high), high, number)
        return operate(builder.select(builder.fcmp_unordered("uno", value, value), nothing, number), like(kind))

    if wanted in FLOATS:
        if given == wanted:
            return value
        if given in FLOATS:
            return (builder.fpext if wanted == types.float64 else builder.fptrunc)(value, like(wanted))
        return (builder.sitofp if given.signed else builder.uitofp)(value, like(wanted))
    if given in FLOATS:
        digits = 24 if given == types.float32 else 53
        bits = 32 if wanted.bitwidth < 32 else 64
        kind, high = types.int32 if bits == 32 else types.int64, 2.0 ** (bits - 1)
        number = whole_part(builder.fptosi, -high, high - 2.0 ** max(bits - 1 - digits, 0), kind)
        if wanted == types.uint64:  # what only an unsigned number holds
            above = builder.fcmp_ordered(">=", value, ir.Constant(value.type, [high] * lanes if lanes else high))
            unsigned = whole_part(builder.fptoui, 0.0, 2 * high - 2.0 ** (bits - digits), kind)
            number = builder.select(above, unsigned, number)
        given, value = kind, number
    if is_bool:
        return builder.zext(builder.icmp_signed("!=", value, ir.Constant(value.type, None)), like(wanted))
    if given.bitwidth == wanted.bitwidth:
        return value
    if given.bitwidth > wanted.bitwidth:
        return builder.trunc(value, like(wanted))
    return (builder.sext if given.signed else builder.zext)(value, like(wanted))


def _by_format(context, builder, number, names, emit):
    """`emit(name)` for the format of a number."""
    end = builder.append_basic_block("end")
    switch = builder.switch(number, end)
    for name in names:
        block = builder.append_basic_block(name)
        switch.add_case(_INT64(FORMATS.index(name)), block)
        builder.position_at_end(block)
        emit(name)
        builder.branch(end)
    builder.position_at_end(end)


def _copy(builder, source, source_kind, source_step, target, target_kind, target_step, count, is_bool=False):
    """Convert a line: by vectors where both sides lie densely, else element by element. Steps are in bytes."""
    given, wanted = llvm_type(source_kind), llvm_type(target_kind)
    lanes = VECTOR_BYTES * 8 // max(source_kind.bitwidth, target_kind.bitwidth)
    dense = builder.and_(
        builder.icmp_signed("==", source_step, _INT64(source_kind.bitwidth // 8)),
        builder.icmp_signed("==", target_step, _INT64(target_kind.bitwidth // 8)),
    )
    with builder.if_else(dense) as (by_vectors, by_elements):
        with by_vectors:
            vector = ir.VectorType(given, lanes)
            first = builder.inttoptr(source, given.as_pointer())
            last = builder.inttoptr(target, wanted.as_pointer())

            def body(offset, mask):
                value = load_vector(builder, builder.gep(first, [offset], source_etype=given), vector, mask)
                value = _cast(builder, value, source_kind, target_kind, is_bool)
                store_vector(builder, value, builder.gep(last, [offset], source_etype=wanted), mask)

            for_vectors(builder, count, lanes, body)
        with by_elements, cgutils.for_range(builder, count) as loop:
            start = builder.add(source, builder.mul(loop.index, source_step))
            value = builder.load(builder.inttoptr(start, given.as_pointer()), typ=given, align=1)
            value = _cast(builder, value, source_kind, target_kind, is_bool)
            stop = builder.add(target, builder.mul(loop.index, target_step))
            builder.store(value, builder.inttoptr(stop, wanted.as_pointer()), align=1)


@intrinsic
def read_line(typingctx, target, at, line, format, step, count):
    """`target[at + i]` becomes element `i` of a line of `format` that begins at an address, `step` bytes apart."""
    kind = target.dtype

    def emit(context, builder, signature, args):
        data, at, line, number, step, count = args
        where = builder.ptrtoint(builder.gep(data, [at]), _INT64)

        def read(name):
            def body(inner, where, line, step, count):
                _copy(inner, line, _TYPES[name], step, where, kind, _INT64(kind.bitwidth // 8), count)

            outline(builder, f"read.{name}.{kind}", [_INT64] * 4, body)([where, line, step, count])

        _by_format(context, builder, number, _READ.get(kind, (str(kind),)), read)
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, n, n, n, n), emit


@intrinsic
def write_line(typingctx, source, at, line, format, step, count):
    """What `read_line` read, the other way round: truncated and wrapped as C does."""
    kind = source.dtype

    def emit(context, builder, signature, args):
        data, at, line, number, step, count = args
        where = builder.ptrtoint(builder.gep(data, [at]), _INT64)

        def write(name):
            def body(inner, where, line, step, count):
                size = _INT64(kind.bitwidth // 8)
                _copy(inner, where, kind, size, line, _TYPES[name], step, count, is_bool=name == "bool")

            outline(builder, f"write.{name}.{kind}", [_INT64] * 4, body)([where, line, step, count])

        _by_format(context, builder, number, _WRITTEN.get(kind, (str(kind),)), write)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, n, n), emit


@intrinsic
def fill_line(typingctx, target, at, value, count):
    """`target[at + i] = value`."""
    kind = target.dtype
    vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

    def emit(context, builder, signature, args):
        data, at, value, count = args
        filled = broadcast(builder, value, vector)

        def body(offset, mask):
            store_vector(builder, filled, builder.gep(data, [builder.add(at, offset)]), mask)

        for_vectors(builder, count, vector.count, body)
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, kind, n), emit


@intrinsic
def divide_line(typingctx, line, divisor, count, exactly, like):
    """Divide the elements of a line that begins at an address, of the type of `like`; integers are left as they are.

    If not `exactly`, by a product with the inverse and a correction, a unit in the last place off at most.
    """
    kind = like.dtype
    vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

    def emit(context, builder, signature, args):
        line, divisor, count, exactly, _ = args
        if kind not in FLOATS:  # sums of integers are means of none
            return context.get_dummy_value()
        number = context.cast(builder, divisor, types.float64, kind)
        whole = broadcast(builder, number, vector)
        inverse = broadcast(builder, builder.fdiv(ir.Constant(vector.element, 1.0), number), vector)
        data = builder.inttoptr(line, vector.element.as_pointer())

        def by_inverse(value):
            quotient = builder.fmul(value, inverse)
            rest = multiply_add(builder, kind, builder.fneg(quotient), whole, value)
            better = multiply_add(builder, kind, rest, inverse, quotient)
            return builder.select(builder.fcmp_ordered("ord", rest, rest), better, quotient)

        def run(operate):
            def body(offset, mask):
                where = builder.gep(data, [offset], source_etype=vector.element)
                store_vector(builder, operate(load_vector(builder, where, vector, mask)), where, mask)

            for_vectors(builder, count, vector.count, body)

        with builder.if_else(cgutils.is_not_null(builder, exactly)) as (by_division, by_product):
            with by_division:
                run(lambda value: builder.fdiv(value, whole))
            with by_product:
                run(by_inverse)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, types.float64, n, n, like), emit


@intrinsic
def line_scratch(typingctx, workspace, offset, like):
    """The workspace from byte `offset` on, as a pointer to what memory of `like` holds."""
    pointer = types.CPointer(like.dtype)

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(workspace)(context, builder, value=args[0]).data
        where = builder.gep(data, [args[1]], source_etype=_BYTE)
        return builder.bitcast(where, context.get_value_type(pointer))

    return pointer(workspace, types.intp, like), codegen


@intrinsic
def address_of(typingctx, pointer, at):
    """The address of `pointer[at]`."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(builder.gep(args[0], [args[1]]), _INT64)

    return types.intp(pointer, types.intp), codegen


@intrinsic
def pointer_at(typingctx, pointer, at):
    """To `pointer[at]`."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen
