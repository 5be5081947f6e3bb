"""Lines and rows that are combined with their neighbours, however many."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import VECTORS, add, lanes_in, larger, largest, llvm_type, outline, smaller, smallest
from .vectors import FLOATS, for_vectors, load_vector, store_vector

_INT64 = ir.IntType(64)


def _folding(combine, name):
    """Two intrinsics that combine neighbours: lines pair by pair, and all rows of a block."""

    @intrinsic
    def fold_lines(typingctx, target, to, a, b, count):
        """`target[to + i] = combine(target[a + i], target[b + i])`, in order: `to` may be `a`, if `b` > `a`."""
        kind = target.dtype
        vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

        def emit(context, builder, signature, args):
            def body(inner, data, to, a, b, count):
                def step(offset, mask):
                    left, right = (
                        load_vector(inner, inner.gep(data, [inner.add(i, offset)]), vector, mask) for i in (a, b)
                    )
                    store_vector(
                        inner, combine(inner, kind, left, right), inner.gep(data, [inner.add(to, offset)]), mask
                    )

                for_vectors(inner, count, vector.count, step)

            outline(builder, f"{name}_lines.{kind}", [args[0].type, *[_INT64] * 4], body)(args)
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
        vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

        def emit(context, builder, signature, args):
            def body(inner, data, pitch, kernel, rows, count):
                wide = inner.sub(count, inner.srem(count, _INT64(VECTORS * vector.count)))
                fold = _RowFold(inner, vector, lambda a, b: combine(inner, kind, a, b), data, pitch, kernel, rows)
                for begin, end, vectors in ((_INT64(0), wide, VECTORS), (wide, count, 1)):
                    step = _INT64(vectors * vector.count)
                    with cgutils.for_range_slice(inner, begin, end, step, inc=True) as (column, _):
                        fold.emit(column, vectors)

            data, at, *others = args
            kinds = [data.type, *[_INT64] * 4]
            outline(builder, f"{name}_rows.{kind}", kinds, body)([builder.gep(data, [at]), *others])
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


_, add_rows = _folding(add, "add")
max_lines, max_rows = _folding(largest, "max")
min_lines, min_rows = _folding(smallest, "min")
max_numbers, max_number_rows = _folding(larger, "max_number")  # where no element is a NaN
min_numbers, min_number_rows = _folding(smaller, "min_number")


@intrinsic
def holds_nan(typingctx, like, line, count):
    """Whether a NaN is among the elements, of what `like` points at, from an address on."""
    kind = like.dtype
    vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

    def emit(context, builder, signature, args):
        if kind not in FLOATS:
            return cgutils.false_bit
        _, line, count = args
        data = builder.inttoptr(line, vector.element.as_pointer())
        mask = ir.VectorType(ir.IntType(1), vector.count)
        found = cgutils.alloca_once_value(builder, ir.Constant(mask, None))
        builder.store(ir.Constant(mask, None), found)

        def body(offset, some):
            value = load_vector(builder, builder.gep(data, [offset], source_etype=vector.element), vector, some)
            builder.store(builder.or_(builder.load(found), builder.fcmp_unordered("uno", value, value)), found)

        for_vectors(builder, count, vector.count, body)
        word = ir.IntType(vector.count)
        return builder.icmp_unsigned("!=", builder.bitcast(builder.load(found), word), word(0))

    return types.boolean(like, types.intp, types.intp), emit
