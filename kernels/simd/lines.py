"""Lines of an array: converted when they are read and written, and combined, vector by vector.

Filters see an array as lines of elements that lie evenly apart. They copy lines, or as much of them as a block holds,
into a workspace of the type that they compute with; the dtypes of arrays are numbers here, places in `FORMATS`, so that
one kernel serves all of them.
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import (
    FLOATS,
    REGISTERS,
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
    """Two intrinsics that combine neighbours: lines pair by pair, and all rows of a block."""

    @intrinsic
    def fold_lines(typingctx, target, to, a, b, count):
        """`target[to + i] = combine(target[a + i], target[b + i])`, from the first on: `to` may be `a`, if `b` > `a`."""
        kind = target.dtype
        vector = ir.VectorType(_llvm(kind), _lanes(kind))

        def emit(context, builder, signature, args):
            def body(inner, data, to, a, b, count):
                def step(offset, mask):
                    left, right = (
                        load_vector(inner, inner.gep(data, [inner.add(i, offset)]), vector, mask) for i in (a, b)
                    )
                    store_vector(inner, combine(inner, kind, left, right), inner.gep(data, [inner.add(to, offset)]), mask)

                for_vectors(inner, count, vector.count, step)

            _outline(builder, f"{name}_lines.{kind}", [args[0].type, *[_INT64] * 4], body)(args)
            return context.get_dummy_value()

        n = types.intp
        return types.void(target, n, n, n, n), emit

    @intrinsic
    def fold_rows(typingctx, target, at, pitch, kernel, rows, count):
        """Combine each of `rows` rows with the `kernel - 1` rows after it, three operations an element.

        Rows lie in a workspace, `pitch` elements apart; whole vectors are written, the last of which may end past them.
        By groups of `kernel` rows: what follows a row in its group is combined from the last row upwards, what lies in
        the next group from its first row downwards (van Herk, Pattern Recognition Letters 13, 1992; Gil and Werman,
        IEEE PAMI 15, 1993).
        """
        kind = target.dtype
        vector = ir.VectorType(_llvm(kind), _lanes(kind))

        def emit(context, builder, signature, args):
            def body(inner, data, pitch, kernel, rows, count):
                wide = inner.sub(count, inner.srem(count, _INT64(_VECTORS * vector.count)))
                fold = _RowFold(inner, vector, lambda a, b: combine(inner, kind, a, b), data, pitch, kernel, rows)
                for begin, end, vectors in ((_INT64(0), wide, _VECTORS), (wide, count, 1)):
                    step = _INT64(vectors * vector.count)
                    with cgutils.for_range_slice(inner, begin, end, step, inc=True) as (column, _):
                        fold.emit(column, vectors)

            data, at, *others = args
            kinds = [data.type, *[_INT64] * 4]
            _outline(builder, f"{name}_rows.{kind}", kinds, body)([builder.gep(data, [at]), *others])
            return context.get_dummy_value()

        n = types.intp
        return types.void(target, n, n, n, n, n), emit

    return fold_lines, fold_rows


class _RowFold:
    """The code of `fold_rows` for some vectors of columns."""

    def __init__(self, builder, vector, combine, data, pitch, kernel, rows):
        self.builder, self.vector, self.combine = builder, vector, combine
        self.data, self.pitch, self.kernel, self.rows = data, pitch, kernel, rows

    def emit(self, column, vectors):
        builder, kernel, one = self.builder, self.kernel, _INT64(1)
        self.column, self.kept = column, [cgutils.alloca_once(builder, self.vector) for _ in range(vectors)]
        with cgutils.for_range_slice(builder, _INT64(0), self.rows, kernel, inc=True) as (first, _):
            last = builder.add(first, builder.sub(kernel, one))
            self.keep(self.load(last))
            with cgutils.for_range(builder, builder.sub(kernel, one)) as loop:
                row = builder.sub(builder.sub(last, one), loop.index)
                values = [self.combine(a, b) for a, b in zip(self.load(row), self.kept_values(), strict=True)]
                self.keep(values)
                self.store(row, values)
            left = builder.sub(self.rows, first)
            count = builder.select(builder.icmp_signed("<", left, kernel), left, kernel)
            with builder.if_then(builder.icmp_signed(">", count, one)):
                self.keep(self.load(builder.add(last, one)))
                self.join(builder.add(first, one))
            with cgutils.for_range_slice(builder, _INT64(2), count, one, inc=True) as (i, _):
                values = self.load(builder.add(last, i))
                self.keep([self.combine(a, b) for a, b in zip(self.kept_values(), values, strict=True)])
                self.join(builder.add(first, i))

    def join(self, row):
        """Combine a row with what is kept."""
        pairs = zip(self.load(row), self.kept_values(), strict=True)
        self.store(row, [self.combine(a, b) for a, b in pairs])

    def keep(self, values):
        for value, where in zip(values, self.kept, strict=True):
            self.builder.store(value, where)

    def kept_values(self):
        return [self.builder.load(where) for where in self.kept]

    def pointers(self, row):
        start = self.builder.add(self.builder.mul(row, self.pitch), self.column)
        return [
            self.builder.gep(self.data, [self.builder.add(start, _INT64(v * self.vector.count))])
            for v in range(len(self.kept))
        ]

    def load(self, row):
        return [load_vector(self.builder, pointer, self.vector) for pointer in self.pointers(row)]

    def store(self, row, values):
        for pointer, value in zip(self.pointers(row), values, strict=True):
            store_vector(self.builder, value, pointer)


_, add_rows = _folding(_add, "add")
max_lines, max_rows = _folding(_largest, "max")
min_lines, min_rows = _folding(_smallest, "min")


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


class _Terms(NamedTuple):
    """How the elements that taps meet are combined."""

    name: str
    first: Any  # (builder, kind, elements, weight) -> the value after the first tap
    following: Any  # (builder, kind, elements, weight, value before) -> the value after another one
    takes_pairs: bool = False  # of elements, for each tap
    takes_weights: bool = True


def _tapping(terms, slides=False):
    """An intrinsic that combines the elements that taps meet, for all elements of a line.

    Where it `slides`, lines lie in a workspace, and whole vectors around all that taps meet may be read.
    """

    @intrinsic
    def tap_lines(typingctx, target, table, entry, shift, weights, weight, taps, count):
        """`target[i] = combine over t < taps of weights[weight + t] and element i of the line of entry + t`.

        The target is an address. The table holds the addresses of lines, to which `shift` is added.
        """
        kind = weights.dtype
        vector = ir.VectorType(_llvm(kind), _lanes(kind))

        def emit(context, builder, signature, args):
            def body(inner, target, table, weights, shift, taps, count):
                is_sliding = slides and kind in _SLIDES and VECTOR_BYTES == 64
                tile = _Tile(inner, kind, vector, table, weights, shift, taps, terms, is_sliding)
                tile.run(target, count, kind.bitwidth // 8)

            target, table, entry, shift, weights, weight, taps, count = args
            table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
            kinds = [_INT64, table.type, weights.type, _INT64, _INT64, _INT64]
            name = f"{'slide' if slides else 'tap'}_{terms.name}.{kind}"
            _outline(builder, name, kinds, body)([target, table, weights, shift, taps, count])
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, table, n, n, weights, n, n, n), emit

    return tap_lines


def _weight(builder, terms, weights, at, vector):
    """A weight in all lanes, where terms have weights."""
    return broadcast(builder, builder.load(builder.gep(weights, [at])), vector) if terms.takes_weights else None


# Vectors of 64 bytes that do not begin where a cache line does take two reads. Put together of two aligned ones, they
# take one, and one for all their neighbours.
_SLIDES = {types.float32: ("ps", ir.IntType(32)), types.float64: ("pd", _INT64)}


class _Tile:
    """The code of `tap_lines`: a few vectors at a time, and one at a time at the end."""

    def __init__(self, builder, kind, vector, table, weights, shift, taps, terms, slides):
        self.builder, self.kind, self.vector, self.table, self.weights = builder, kind, vector, table, weights
        self.shift, self.taps, self.terms, self.slides = shift, taps, terms, slides
        self.width = 2 if terms.takes_pairs else 1

    def run(self, target, count, size):
        builder, lanes = self.builder, self.vector.count
        wide = builder.sub(count, builder.srem(count, _INT64(_VECTORS * lanes)))
        with cgutils.for_range_slice(builder, _INT64(0), wide, _INT64(_VECTORS * lanes), inc=True) as (offset, _):
            self.store(target, offset, size, _VECTORS, None)

        def body(offset, mask):
            self.store(target, builder.add(wide, offset), size, 1, mask)

        for_vectors(builder, builder.sub(count, wide), lanes, body)

    def store(self, target, offset, size, vectors, mask):
        builder, start = self.builder, self.builder.mul(offset, _INT64(size))
        sums = [cgutils.alloca_once(builder, self.vector) for _ in range(vectors)]
        for value, where in zip(self.meet(_INT64(0), start, vectors, mask, None), sums, strict=True):
            builder.store(value, where)
        with cgutils.for_range_slice(builder, _INT64(1), self.taps, _INT64(1), inc=True) as (tap, _):
            before = [builder.load(where) for where in sums]
            for value, where in zip(self.meet(tap, start, vectors, mask, before), sums, strict=True):
                builder.store(value, where)
        for v, where in enumerate(sums):
            place = self.pointer(builder.add(target, start), v)
            store_vector(builder, builder.load(where), place, mask)

    def pointer(self, address, v):
        """To vector `v` from an address on."""
        place = self.builder.add(address, _INT64(v * VECTOR_BYTES))
        return self.builder.inttoptr(place, self.vector.element.as_pointer())

    def meet(self, tap, start, vectors, mask, sums):
        """The sums after a tap: the first one, if there are none."""
        builder = self.builder
        weight = _weight(builder, self.terms, self.weights, tap, self.vector)
        elements = []
        for i in range(self.width):
            index = builder.add(builder.mul(tap, _INT64(self.width)), _INT64(i))
            line = builder.add(builder.add(builder.load(builder.gep(self.table, [index])), self.shift), start)
            load = self.slide if self.slides else self.load
            elements.append(load(line, vectors, mask))
        if sums is None:
            return [self.terms.first(builder, self.kind, each, weight) for each in zip(*elements, strict=True)]
        return [
            self.terms.following(builder, self.kind, each, weight, total)
            for *each, total in zip(*elements, sums, strict=True)
        ]

    def load(self, line, vectors, mask):
        return [load_vector(self.builder, self.pointer(line, v), self.vector, mask) for v in range(vectors)]

    def slide(self, line, vectors, mask):
        """Vectors that begin anywhere, made of those that begin where cache lines do."""
        builder, (suffix, index) = self.builder, _SLIDES[self.kind]
        lanes, size = self.vector.count, VECTOR_BYTES // self.vector.count
        base = builder.and_(line, _INT64(-VECTOR_BYTES))
        shift = builder.lshr(builder.and_(line, _INT64(VECTOR_BYTES - 1)), _INT64(size.bit_length() - 1))
        order = ir.VectorType(index, lanes)
        shift = builder.trunc(shift, index) if index.width < 64 else shift
        order = builder.add(ir.Constant(order, list(range(lanes))), broadcast(builder, shift, order))
        wholes = [builder.load(self.pointer(base, v), typ=self.vector, align=VECTOR_BYTES) for v in range(vectors + 1)]
        kind = ir.FunctionType(self.vector, [self.vector, order.type, self.vector])
        name = f"llvm.x86.avx512.vpermi2var.{suffix}.512"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return [builder.call(function, [a, order, b]) for a, b in zip(wholes, wholes[1:])]


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


def _raised(builder, kind, elements, weight):
    return _add(builder, kind, elements[0], weight)


def _keep_largest(builder, kind, elements, weight, best):
    return _largest(builder, kind, best, elements[0])


def _keep_smallest(builder, kind, elements, weight, best):
    return _smallest(builder, kind, best, elements[0])


def _keep_raised(builder, kind, elements, weight, best):
    return _largest(builder, kind, best, _raised(builder, kind, elements, weight))


def _keep_lowered(builder, kind, elements, weight, best):
    return _smallest(builder, kind, best, _raised(builder, kind, elements, weight))


def _itself(builder, kind, elements, weight):
    return elements[0]


# Weighted sums: with fused multiply-adds; rounded after every operation, as SciPy's sums in C are; and so by pairs of
# elements that have one weight, or opposite ones. The first pair is one element, twice, which is taken once.
_SUMS = _Terms("sums", _product, _add_product)
weigh_lines, slide_lines = _tapping(_SUMS), _tapping(_SUMS, slides=True)
weigh_rounded = _tapping(_Terms("rounded", _product, _add_rounded))
weigh_pairs = _tapping(_Terms("pairs", _product, _add_pair, takes_pairs=True))
weigh_differences = _tapping(_Terms("differences", _product, _add_difference, takes_pairs=True))
# Extrema; of elements as they are, and of those to which a weight is added.
_LARGEST = _Terms("largest", _itself, _keep_largest, takes_weights=False)
_SMALLEST = _Terms("smallest", _itself, _keep_smallest, takes_weights=False)
largest_lines, smallest_lines = _tapping(_LARGEST), _tapping(_SMALLEST)
raise_lines = _tapping(_Terms("raised", _raised, _keep_raised))
lower_lines = _tapping(_Terms("lowered", _raised, _keep_lowered))

ROWS = 4  # that are made together, and share the lines which they read


def _tapping_rows(terms):
    """An intrinsic that makes `ROWS` rows of what `_tapping` makes one of."""

    @intrinsic
    def tap_rows(typingctx, target, pitch, table, entry, shift, weights, weight, count, columns, heights, more, hop):
        """Rows of `count` results, `pitch` bytes apart, each from the next line on.

        Taps come in columns, of `heights[i]` each, three at least; a column has `heights[i] + ROWS - 1` entries of the
        table. `more` taps follow, with one entry each; their lines lie `hop` bytes apart.
        """
        kind = weights.dtype
        vector = ir.VectorType(_llvm(kind), _lanes(kind))

        def emit(context, builder, signature, args):
            def body(inner, target, pitch, table, shift, weights, count, *taps):
                tile = _RowsTile(inner, kind, vector, terms, target, pitch, table, shift, weights, *taps)
                lanes = vector.count
                wide = inner.sub(count, inner.srem(count, _INT64(_COLUMNS * lanes)))
                with cgutils.for_range_slice(inner, _INT64(0), wide, _INT64(_COLUMNS * lanes), inc=True) as (offset, _):
                    tile.emit(offset, _COLUMNS, None)
                for_vectors(
                    inner, inner.sub(count, wide), lanes,
                    lambda offset, mask: tile.emit(inner.add(wide, offset), 1, mask),
                )  # fmt: skip

            target, pitch, table, entry, shift, weights, weight, count, *taps = args
            table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
            values = [target, pitch, table, shift, weights, count, *taps]
            _outline(builder, f"rows_{terms.name}.{kind}", [value.type for value in values], body)(values)
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, n, table, n, n, weights, n, n, n, table, n, n), emit

    return tap_rows


_COLUMNS = 4 if REGISTERS >= 32 else 2  # vectors of each row in registers


class _RowsTile:
    """The code of `tap_rows`: results of some vectors in each row stay in registers, and so do as many weights."""

    def __init__(
        self, builder, kind, vector, terms, target, pitch, table, shift, weights, columns, heights, more, hop
    ):  # fmt: skip
        self.builder, self.kind, self.vector, self.terms, self.target = builder, kind, vector, terms, target
        self.pitch, self.table, self.shift, self.weights, self.columns, self.heights = (
            pitch, table, shift, weights, columns, heights,
        )  # fmt: skip
        self.more, self.hop = more, hop

    def emit(self, offset, vectors, mask):
        builder, self.mask = self.builder, mask
        self.start = builder.mul(offset, _INT64(self.kind.bitwidth // 8))
        self.results = [[cgutils.alloca_once(builder, self.vector) for _ in range(vectors)] for _ in range(ROWS)]
        self.kept = [cgutils.alloca_once(builder, self.vector) for _ in range(ROWS)]  # weights, the first row's first
        first = builder.load(self.heights)
        self.column(self.table, self.weights, first, is_first=True)
        entry = cgutils.alloca_once_value(builder, builder.add(first, _INT64(ROWS - 1)))
        tap = cgutils.alloca_once_value(builder, first)
        builder.store(builder.add(first, _INT64(ROWS - 1)), entry)
        builder.store(first, tap)
        with cgutils.for_range_slice(builder, _INT64(1), self.columns, _INT64(1), inc=True) as (column, _):
            taps = builder.load(builder.gep(self.heights, [column]))
            table = builder.gep(self.table, [builder.load(entry)])
            self.column(table, builder.gep(self.weights, [builder.load(tap)]), taps, is_first=False)
            builder.store(builder.add(builder.load(entry), builder.add(taps, _INT64(ROWS - 1))), entry)
            builder.store(builder.add(builder.load(tap), taps), tap)
        with cgutils.for_range(builder, self.more) as loop:
            weights = builder.gep(self.weights, [builder.add(builder.load(tap), loop.index)])
            self.single(builder.gep(self.table, [builder.add(builder.load(entry), loop.index)]), weights)
        for r, row in enumerate(self.results):
            address = builder.add(builder.add(self.target, builder.mul(self.pitch, _INT64(r))), self.start)
            for v, where in enumerate(row):
                store_vector(builder, builder.load(where), self.pointer(address, v), mask)

    def column(self, table, weights, taps, is_first):
        """A column of taps: its first and its last lines are met by some of the rows only."""
        builder = self.builder
        for q in range(ROWS - 1):
            self.line(table, weights, _INT64(q), range(q + 1), q if is_first else None)
        if is_first:  # the tap at which the last row begins
            with builder.if_else(builder.icmp_signed(">", taps, _INT64(ROWS - 1))) as (more, few):
                with more:
                    self.line(table, weights, _INT64(ROWS - 1), range(ROWS), ROWS - 1)
                with few:
                    self.line(table, None, _INT64(ROWS - 1), range(1, ROWS), ROWS - 1)
        first = _INT64(ROWS if is_first else ROWS - 1)
        with cgutils.for_range_slice(builder, first, taps, _INT64(1), inc=True) as (q, _):
            self.line(table, weights, q, range(ROWS), None)
        for q in range(ROWS - 1):
            rows = range(q + 1, ROWS)
            if q == 0 and is_first:
                with builder.if_then(builder.icmp_signed(">", taps, _INT64(ROWS - 1))):
                    self.line(table, None, taps, rows, None)
            else:
                self.line(table, None, builder.add(taps, _INT64(q)), rows, None)

    def line(self, table, weights, q, rows, beginning):
        """Combine what line `q` gives with rows: row `r` meets it with weight `q - r`; one row may be `beginning`."""
        builder, kept = self.builder, [None] * ROWS
        if self.terms.takes_weights:
            kept = [builder.load(where) for where in self.kept]
            new = kept[0] if weights is None else _weight(builder, self.terms, weights, q, self.vector)
            kept = [new, *kept[:-1]]
            for weight, where in zip(kept, self.kept, strict=True):
                builder.store(weight, where)
        address = builder.add(builder.add(builder.load(builder.gep(table, [q])), self.shift), self.start)
        for v in range(len(self.results[0])):
            element = load_vector(builder, self.pointer(address, v), self.vector, self.mask)
            for r in rows:
                self.combine(r, v, element, kept[r], is_first=r == beginning)

    def single(self, entry, weights):
        """A tap that shares no lines."""
        builder = self.builder
        weight = _weight(builder, self.terms, weights, _INT64(0), self.vector)
        address = builder.add(builder.add(builder.load(entry), self.shift), self.start)
        for r in range(ROWS):
            line = builder.add(address, builder.mul(self.hop, _INT64(r)))
            for v in range(len(self.results[0])):
                element = load_vector(builder, self.pointer(line, v), self.vector, self.mask)
                self.combine(r, v, element, weight, is_first=False)

    def combine(self, r, v, element, weight, is_first):
        builder, where = self.builder, self.results[r][v]
        if is_first:
            value = self.terms.first(builder, self.kind, [element], weight)
        else:
            value = self.terms.following(builder, self.kind, [element], weight, builder.load(where))
        builder.store(value, where)

    def pointer(self, address, v):
        place = self.builder.add(address, _INT64(v * VECTOR_BYTES))
        return self.builder.inttoptr(place, self.vector.element.as_pointer())


weigh_rows = _tapping_rows(_SUMS)
largest_rows, smallest_rows = _tapping_rows(_LARGEST), _tapping_rows(_SMALLEST)


@intrinsic
def settle_line(typingctx, target, at, table, entry, shift, weights, weight, taps, count, order, error):
    """Truncate a line of sums of integers, made in float32, as if they had been made as `order` says, in float64.

    A sum farther than `error` from all integers is truncated; others are made again, in float64, from what the table
    says about elements in the workspace. `order` is 0 for terms one by one, 1 for pairs and 2 for differences.
    """
    vector = ir.VectorType(ir.FloatType(), _lanes(types.float32))
    wide, kind = ir.VectorType(ir.DoubleType(), vector.count), types.float64

    def emit(context, builder, signature, args):
        if target.dtype != types.float32:
            return context.get_dummy_value()

        def call(inner, name, value):
            double = value.type == wide
            kind = ir.FunctionType(value.type, [value.type])
            name = f"llvm.{name}.v{vector.count}{'f64' if double else 'f32'}"
            return inner.call(cgutils.get_or_insert_function(inner.module, kind, name), [value])

        def again(inner, table, weights, shift, taps, paired, sign, out):
            """Sums of a vector in float64."""

            def element(index):
                place = inner.add(inner.load(inner.gep(table, [index])), shift)
                value = load_vector(inner, inner.inttoptr(place, vector.element.as_pointer()), vector)
                return inner.fpext(value, wide)

            def weigh(tap):
                return broadcast(inner, inner.load(inner.gep(weights, [tap])), wide)

            step = inner.add(paired, _INT64(1))
            total = cgutils.alloca_once(inner, wide)
            inner.store(inner.fmul(element(_INT64(0)), weigh(_INT64(0))), total)
            with cgutils.for_range_slice(inner, _INT64(1), taps, _INT64(1), inc=True) as (tap, _):
                index = inner.mul(tap, step)
                first, second = element(index), element(inner.add(index, paired))
                # One by one, the other element counts nothing; 0 is added, and -1 times it for differences.
                both = inner.fadd(first, inner.fmul(second, broadcast(inner, sign, wide)))
                value = inner.select(
                    broadcast(inner, inner.icmp_signed("!=", paired, _INT64(0)), ir.VectorType(ir.IntType(1), wide.count)),
                    both, first,
                )  # fmt: skip
                inner.store(inner.fadd(inner.load(total), inner.fmul(value, weigh(tap))), total)
            whole = inner.fptrunc(call(inner, "trunc", inner.load(total)), vector)
            store_vector(inner, whole, out)

        def body(inner, data, table, shift, weights, taps, count, paired, sign, error):
            near = broadcast(inner, error, vector)
            kinds = [table.type, weights.type, _INT64, _INT64, _INT64, sign.type, data.type]
            with cgutils.for_range_slice(inner, _INT64(0), count, _INT64(vector.count), inc=True) as (offset, _):
                where = inner.gep(data, [offset])
                value = load_vector(inner, where, vector)
                apart = call(inner, "fabs", inner.fsub(value, call(inner, "rint", value)))
                store_vector(inner, call(inner, "trunc", value), where)
                mask = inner.bitcast(inner.fcmp_ordered("<", apart, near), ir.IntType(vector.count))
                with inner.if_then(inner.icmp_unsigned("!=", mask, mask.type(0)), likely=False):
                    place = inner.add(shift, inner.mul(offset, _INT64(4)))
                    _outline(inner, "settle_again", kinds, again)([table, weights, place, taps, paired, sign, where])

        data, at, table, entry, shift, weights, weight, taps, count, order, error = args
        table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
        paired = builder.zext(builder.icmp_signed("!=", order, _INT64(0)), _INT64)
        double = ir.DoubleType()
        sign = builder.select(builder.icmp_signed("==", order, _INT64(2)), double(-1.0), double(1.0))
        error = builder.fptrunc(error, ir.FloatType())
        values = [builder.gep(data, [at]), table, shift, weights, taps, count, paired, sign, error]
        _outline(builder, "settle_line", [value.type for value in values], body)(values)
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, table, n, n, weights, n, n, n, n, types.float64), emit


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
