"""Lines of an array: converted when they are read and written, and combined, vector by vector.

Filters see an array as lines of elements that lie evenly apart. They copy lines, or as much of them as a block holds,
into a workspace of the type that they compute with; the dtypes of arrays are numbers here, places in `FORMATS`, so that
one kernel serves all of them.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import (
    FLOATS,
    VECTOR_BYTES,
    broadcast,
    for_vectors,
    load_vector,
    multiply_add,
    store_vector,
)

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
_VECTORS = 4  # in a tile: sums that are independent of each other


def converts(compute, x_format, out_format):
    """Whether lines of two dtypes are read and written in a third: all are names."""
    kind = _TYPES[compute]
    return x_format in _READ.get(kind, (compute,)) and out_format in _WRITTEN.get(kind, (compute,))


def _lanes(element):
    return VECTOR_BYTES * 8 // element.bitwidth


def _cast(builder, value, given, wanted, is_bool=False):
    """From one Numba type to another, as C casts: toward zero, and wrapped."""
    lanes = value.type.count if isinstance(value.type, ir.VectorType) else 0

    def like(kind):
        element = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}.get(kind)
        element = element or ir.IntType(kind.bitwidth)
        return ir.VectorType(element, lanes) if lanes else element

    def saturating(name, number):
        source, target = number.type, like(types.int64)
        names = (f"v{lanes}i64.v{lanes}f64" if lanes else "i64.f64") if given == types.float64 else (
            f"v{lanes}i64.v{lanes}f32" if lanes else "i64.f32"
        )  # fmt: skip
        function = ir.FunctionType(target, [source])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.sat.{names}"), [number]
        )

    if wanted in FLOATS:
        if given == wanted:
            return value
        if given in FLOATS:
            return (builder.fpext if wanted == types.float64 else builder.fptrunc)(value, like(wanted))
        return (builder.sitofp if given.signed else builder.uitofp)(value, like(wanted))
    if given in FLOATS:
        number = saturating("fptosi", value)
        if wanted == types.uint64:  # what only an unsigned number holds
            number = builder.select(
                builder.fcmp_ordered(">", value, ir.Constant(value.type, None)), saturating("fptoui", value), number
            )
        given, value = types.int64, number
    if is_bool:
        return builder.zext(builder.icmp_signed("!=", value, ir.Constant(value.type, None)), like(wanted))
    if given.bitwidth == wanted.bitwidth:
        return value
    if given.bitwidth > wanted.bitwidth:
        return builder.trunc(value, like(wanted))
    return (builder.sext if given.signed else builder.zext)(value, like(wanted))


def _llvm(kind):
    return {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}.get(kind) or ir.IntType(kind.bitwidth)


def _outline(builder, name, kinds, emit):
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
    given, wanted = _llvm(source_kind), _llvm(target_kind)
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

            _outline(builder, f"read.{name}.{kind}", [_INT64] * 4, body)([where, line, step, count])

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

            _outline(builder, f"write.{name}.{kind}", [_INT64] * 4, body)([where, line, step, count])

        _by_format(context, builder, number, _WRITTEN.get(kind, (str(kind),)), write)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, n, n), emit


def _add(builder, kind, a, b):
    return builder.fadd(a, b) if kind in FLOATS else builder.add(a, b)


def _subtract(builder, kind, a, b):
    return builder.fsub(a, b) if kind in FLOATS else builder.sub(a, b)


def _multiply(builder, kind, a, b):
    return builder.fmul(a, b) if kind in FLOATS else builder.mul(a, b)


def _largest(builder, kind, a, b):
    """The larger of two; a NaN, if one is."""
    if kind in FLOATS:
        more = builder.select(builder.fcmp_ordered(">", a, b), a, b)
        return builder.select(builder.fcmp_unordered("uno", a, a), a, more)
    compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
    return builder.select(compare(">", a, b), a, b)


def _smallest(builder, kind, a, b):
    if kind in FLOATS:
        less = builder.select(builder.fcmp_ordered("<", a, b), a, b)
        return builder.select(builder.fcmp_unordered("uno", a, a), a, less)
    compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
    return builder.select(compare("<", a, b), a, b)


def _folding(combine, name):
    @intrinsic
    def fold_lines(typingctx, target, to, a, b, count):
        """`target[to + i] = combine(target[a + i], target[b + i])`, from the first on: `to` may be `a`, if `b` > `a`."""
        kind = target.dtype
        vector = ir.VectorType(_llvm(kind), _lanes(kind))

        def emit(context, builder, signature, args):
            data, to, a, b, count = args

            def body(inner, data, to, a, b, count):
                def step(offset, mask):
                    left, right = (
                        load_vector(inner, inner.gep(data, [inner.add(i, offset)], source_etype=vector.element), vector, mask)
                        for i in (a, b)
                    )
                    where = inner.gep(data, [inner.add(to, offset)], source_etype=vector.element)
                    store_vector(inner, combine(inner, kind, left, right), where, mask)

                for_vectors(inner, count, vector.count, step)

            _outline(builder, f"{name}.{kind}", [data.type, *[_INT64] * 4], body)(args)
            return context.get_dummy_value()

        n = types.intp
        return types.void(target, n, n, n, n), emit

    return fold_lines


add_lines = _folding(_add, "add_lines")
max_lines = _folding(_largest, "max_lines")
min_lines = _folding(_smallest, "min_lines")


@intrinsic
def fill_line(typingctx, target, at, value, count):
    """`target[at + i] = value`."""
    kind = target.dtype
    vector = ir.VectorType(_llvm(kind), _lanes(kind))

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
def divide_line(typingctx, target, at, divisor, count, exactly):
    """`target[at + i] /= divisor`; if not `exactly`, by a product with its inverse."""
    kind = target.dtype
    vector = ir.VectorType(_llvm(kind), _lanes(kind))

    def emit(context, builder, signature, args):
        data, at, divisor, count, exactly = args
        if kind not in FLOATS:  # sums of integers are means of none
            return context.get_dummy_value()
        number = context.cast(builder, divisor, types.intp, kind)
        whole = broadcast(builder, number, vector)
        inverse = broadcast(builder, builder.fdiv(ir.Constant(vector.element, 1.0), number), vector)

        def run(operate, other):
            def body(offset, mask):
                where = builder.gep(data, [builder.add(at, offset)])
                store_vector(builder, operate(load_vector(builder, where, vector, mask), other), where, mask)

            for_vectors(builder, count, vector.count, body)

        with builder.if_else(cgutils.is_not_null(builder, exactly)) as (by_division, by_product):
            with by_division:
                run(builder.fdiv, whole)
            with by_product:
                run(builder.fmul, inverse)
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, n, n, n), emit


def _tapping(name, first, following, takes_pairs=False):
    """An intrinsic that combines the elements that taps meet, for all elements of a line."""

    @intrinsic
    def tap_lines(typingctx, target, table, entry, shift, weights, weight, taps, count):
        """`target[i] = combine over t < taps of weights[weight + t] and element i of the line of entry + t`.

        The target is an address. The table holds the addresses of lines, to which `shift` is added.
        """
        kind = weights.dtype
        scalar = _llvm(kind)
        vector, size = ir.VectorType(scalar, _lanes(kind)), kind.bitwidth // 8

        def emit(context, builder, signature, args):
            def body(inner, target, table, weights, shift, taps, count):
                tile = _Tile(inner, kind, vector, table, weights, shift, taps, first, following, takes_pairs)
                tile.run(target, count, size)

            target, table, entry, shift, weights, weight, taps, count = args
            table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
            kinds = [_INT64, table.type, weights.type, _INT64, _INT64, _INT64]
            _outline(builder, f"{name}.{kind}", kinds, body)([target, table, weights, shift, taps, count])
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, table, n, n, weights, n, n, n), emit

    return tap_lines


class _Tile:
    """The code of `tap_lines`: a few vectors at a time, and one at a time at the end."""

    def __init__(self, builder, kind, vector, table, weights, shift, taps, first, following, takes_pairs):
        self.builder, self.kind, self.vector, self.table, self.weights = builder, kind, vector, table, weights
        self.shift, self.taps, self.first, self.following = shift, taps, first, following
        self.width = 2 if takes_pairs else 1

    def run(self, target, count, size):
        builder, lanes = self.builder, self.vector.count
        wide = builder.sub(count, builder.srem(count, _INT64(_VECTORS * lanes)))
        with cgutils.for_range_slice(builder, _INT64(0), wide, _INT64(_VECTORS * lanes), inc=True) as (offset, _):
            self.store(target, offset, size, _VECTORS, None)

        def body(offset, mask):
            self.store(target, builder.add(wide, offset), size, 1, mask)

        for_vectors(builder, builder.sub(count, wide), lanes, body)

    def store(self, target, offset, size, vectors, mask):
        builder, start = self.builder, builder_offset(self.builder, offset, size)
        sums = [cgutils.alloca_once(builder, self.vector) for _ in range(vectors)]
        for value, where in zip(self.meet(_INT64(0), start, vectors, mask, None), sums, strict=True):
            builder.store(value, where)
        with cgutils.for_range_slice(builder, _INT64(1), self.taps, _INT64(1), inc=True) as (tap, _):
            before = [builder.load(where) for where in sums]
            for value, where in zip(self.meet(tap, start, vectors, mask, before), sums, strict=True):
                builder.store(value, where)
        for v, where in enumerate(sums):
            place = builder.add(target, builder.add(start, _INT64(v * VECTOR_BYTES)))
            store_vector(
                builder, builder.load(where), builder.inttoptr(place, self.vector.element.as_pointer()), mask
            )

    def meet(self, tap, start, vectors, mask, sums):
        """The sums after a tap: the first one, if there are none."""
        builder = self.builder
        weight = broadcast(builder, builder.load(builder.gep(self.weights, [tap])), self.vector)
        lines = []
        for i in range(self.width):
            index = builder.add(builder.mul(tap, _INT64(self.width)), _INT64(i))
            lines.append(builder.add(builder.add(builder.load(builder.gep(self.table, [index])), self.shift), start))
        results = []
        for v in range(vectors):
            elements = []
            for line in lines:
                place = builder.add(line, _INT64(v * VECTOR_BYTES))
                pointer = builder.inttoptr(place, self.vector.element.as_pointer())
                elements.append(load_vector(builder, pointer, self.vector, mask))
            if sums is None:
                results.append(self.first(builder, self.kind, elements, weight))
            else:
                results.append(self.following(builder, self.kind, elements, weight, sums[v]))
        return results


def builder_offset(builder, offset, size):
    """An offset in elements as bytes."""
    return builder.mul(offset, _INT64(size))


def _product(builder, kind, elements, weight):
    return _multiply(builder, kind, elements[0], weight)


def _add_product(builder, kind, elements, weight, total):
    return multiply_add(builder, kind, elements[0], weight, total)


def _add_rounded(builder, kind, elements, weight, total):
    return _add(builder, kind, total, _multiply(builder, kind, elements[0], weight))


def _add_pair(builder, kind, elements, weight, total):
    return _add_rounded(builder, kind, [_add(builder, kind, *elements)], weight, total)


def _add_difference(builder, kind, elements, weight, total):
    return _add_rounded(builder, kind, [_subtract(builder, kind, *elements)], weight, total)


# Weighted sums: with fused multiply-adds; rounded after every operation, as SciPy's sums in C are; and so by pairs of
# elements that have one weight, or opposite ones. The first pair is one element, twice, which is taken once.
weigh_lines = _tapping("weigh_lines", _product, _add_product)
weigh_rounded = _tapping("weigh_rounded", _product, _add_rounded)
weigh_pairs = _tapping("weigh_pairs", _product, _add_pair, takes_pairs=True)
weigh_differences = _tapping("weigh_differences", _product, _add_difference, takes_pairs=True)


def _raised(builder, kind, elements, weight):
    return _add(builder, kind, elements[0], weight)


def _lowered(builder, kind, elements, weight):
    return _subtract(builder, kind, elements[0], weight)


def _keep_largest(builder, kind, elements, weight, best):
    return _largest(builder, kind, best, _raised(builder, kind, elements, weight))


def _keep_smallest(builder, kind, elements, weight, best):
    return _smallest(builder, kind, best, _raised(builder, kind, elements, weight))


# Extrema of elements, each raised by a weight.
raise_lines = _tapping("raise_lines", _raised, _keep_largest)
lower_lines = _tapping("lower_lines", _raised, _keep_smallest)


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
