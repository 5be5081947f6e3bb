"""Lines that taps meet, combined: weighted sums and extrema, of vectors that stay in registers."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import (
    VECTORS,
    add,
    lanes_in,
    larger,
    largest,
    llvm_type,
    multiply,
    outline,
    rounded,
    smaller,
    smallest,
    subtract,
)
from .vectors import (
    FLOATS,
    REGISTERS,
    VECTOR_BYTES,
    broadcast,
    for_several,
    for_vectors,
    load_vector,
    multiply_add,
    store_vector,
)

_INT64 = ir.IntType(64)


class _Terms(NamedTuple):
    """How the elements that taps meet are combined."""

    name: str
    first: Any  # (builder, kind, elements, weight) -> the value after the first tap
    following: Any  # (builder, kind, elements, weight, value before) -> the value after another one
    takes_pairs: bool = False  # of elements, for each tap
    takes_weights: bool = True


# Lines begin anywhere: a vector of 64 bytes always lies on two cache lines, of those of 32 bytes every other one does.
_BYTES = min(VECTOR_BYTES, 32)
_VECTORS = 8 if _BYTES == 32 else VECTORS


def _tapping(terms):
    """An intrinsic that combines the elements that taps meet, for all elements of a line."""

    @intrinsic
    def tap_lines(typingctx, target, table, entry, shift, weights, weight, taps, count):
        """`target[i] = combine over t < taps of weights[weight + t] and element i of the line of entry + t`.

        The target is an address. The table holds the addresses of lines, to which `shift` is added.
        """
        kind = weights.dtype
        vector = ir.VectorType(llvm_type(kind), _BYTES * 8 // kind.bitwidth)

        def emit(context, builder, signature, args):
            def body(inner, target, table, weights, shift, taps, count):
                tile = _Tile(inner, kind, vector, table, weights, shift, taps, terms)
                tile.run(target, count, kind.bitwidth // 8)

            target, table, entry, shift, weights, weight, taps, count = args
            table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
            kinds = [_INT64, table.type, weights.type, _INT64, _INT64, _INT64]
            outline(builder, f"tap_{terms.name}.{kind}", kinds, body)([target, table, weights, shift, taps, count])
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, table, n, n, weights, n, n, n), emit

    return tap_lines


def _weight(builder, terms, weights, at, vector):
    """A weight in all lanes, where terms have weights."""
    return broadcast(builder, builder.load(builder.gep(weights, [at])), vector) if terms.takes_weights else None


class _Tile:
    """The code of `tap_lines`: several vectors at a time, fewer of what is left, and one at a time at the end."""

    def __init__(self, builder, kind, vector, table, weights, shift, taps, terms):
        self.builder, self.kind, self.vector, self.table, self.weights = builder, kind, vector, table, weights
        self.shift, self.taps, self.terms = shift, taps, terms
        self.width = 2 if terms.takes_pairs else 1

    def run(self, target, count, size):
        builder, lanes, done = self.builder, self.vector.count, _INT64(0)
        for vectors in (_VECTORS, _VECTORS // 2):  # a sum of one vector waits for itself
            wide = builder.sub(count, builder.srem(count, _INT64(vectors * lanes)))
            with cgutils.for_range_slice(builder, done, wide, _INT64(vectors * lanes), inc=True) as (offset, _):
                self.store(target, offset, size, vectors, None)
            done = wide

        def body(offset, mask):
            self.store(target, builder.add(done, offset), size, 1, mask)

        for_vectors(builder, builder.sub(count, done), lanes, body)

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
        place = self.builder.add(address, _INT64(v * _BYTES))
        return self.builder.inttoptr(place, self.vector.element.as_pointer())

    def meet(self, tap, start, vectors, mask, sums):
        """The sums after a tap: the first one, if there are none."""
        builder = self.builder
        weight = _weight(builder, self.terms, self.weights, tap, self.vector)
        elements = []
        for i in range(self.width):
            index = builder.add(builder.mul(tap, _INT64(self.width)), _INT64(i))
            line = builder.add(builder.add(builder.load(builder.gep(self.table, [index])), self.shift), start)
            places = [self.pointer(line, v) for v in range(vectors)]
            elements.append([load_vector(builder, place, self.vector, mask) for place in places])
        if sums is None:
            return [self.terms.first(builder, self.kind, each, weight) for each in zip(*elements, strict=True)]
        return [
            self.terms.following(builder, self.kind, each, weight, total)
            for *each, total in zip(*elements, sums, strict=True)
        ]


def _product(builder, kind, elements, weight):
    return multiply(builder, kind, elements[0], weight)


def _add_product(builder, kind, elements, weight, total):
    return multiply_add(builder, kind, elements[0], weight, total)


def _add_rounded(builder, kind, elements, weight, total):
    product = multiply(builder, kind, elements[0], weight)
    return add(builder, kind, total, rounded(builder, product) if kind in FLOATS else product)


def _add_pair(builder, kind, elements, weight, total):
    return _add_rounded(builder, kind, [add(builder, kind, *elements)], weight, total)


def _add_difference(builder, kind, elements, weight, total):
    return _add_rounded(builder, kind, [subtract(builder, kind, *elements)], weight, total)


def _raised(builder, kind, elements, weight):
    return add(builder, kind, elements[0], weight)


def _keep_largest(builder, kind, elements, weight, best):
    return largest(builder, kind, best, elements[0])


def _keep_smallest(builder, kind, elements, weight, best):
    return smallest(builder, kind, best, elements[0])


def _keep_larger(builder, kind, elements, weight, best):
    return larger(builder, kind, best, elements[0])


def _keep_smaller(builder, kind, elements, weight, best):
    return smaller(builder, kind, best, elements[0])


def _keep_raised(builder, kind, elements, weight, best):
    return largest(builder, kind, best, _raised(builder, kind, elements, weight))


def _keep_lowered(builder, kind, elements, weight, best):
    return smallest(builder, kind, best, _raised(builder, kind, elements, weight))


def _itself(builder, kind, elements, weight):
    return elements[0]


# Weighted sums: with fused multiply-adds; rounded after every operation, as SciPy's sums in C are; and so by pairs of
# elements that have one weight, or opposite ones. The first pair is one element, twice, which is taken once.
_SUMS = _Terms("sums", _product, _add_product)
_PAIRS = _Terms("pairs", _product, _add_pair, takes_pairs=True)
_DIFFERENCES = _Terms("differences", _product, _add_difference, takes_pairs=True)
weigh_lines = _tapping(_SUMS)
weigh_rounded = _tapping(_Terms("rounded", _product, _add_rounded))
weigh_pairs, weigh_differences = _tapping(_PAIRS), _tapping(_DIFFERENCES)
# Extrema; of elements as they are, and of those to which a weight is added.
_LARGEST = _Terms("largest", _itself, _keep_largest, takes_weights=False)
_SMALLEST = _Terms("smallest", _itself, _keep_smallest, takes_weights=False)
_LARGER = _Terms("larger", _itself, _keep_larger, takes_weights=False)
_SMALLER = _Terms("smaller", _itself, _keep_smaller, takes_weights=False)
largest_lines, smallest_lines = _tapping(_LARGEST), _tapping(_SMALLEST)
larger_lines, smaller_lines = _tapping(_LARGER), _tapping(_SMALLER)
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
        vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

        def emit(context, builder, signature, args):
            def body(inner, target, pitch, table, shift, weights, count, *taps):
                tile = _RowsTile(inner, kind, vector, terms, target, pitch, table, shift, weights, *taps)
                for_several(inner, count, vector.count, _COLUMNS, tile.emit)

            target, pitch, table, entry, shift, weights, weight, count, *taps = args
            table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
            values = [target, pitch, table, shift, weights, count, *taps]
            outline(builder, f"rows_{terms.name}.{kind}", [value.type for value in values], body)(values)
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, n, table, n, n, weights, n, n, n, table, n, n), emit

    return tap_rows


_COLUMNS = 4 if REGISTERS >= 32 else 2  # vectors of each row in registers
_PAIRED = 2  # the same of paired rows: one of 32 bytes would read each cache line twice


def _vector_at(builder, vector, address, v):
    """A pointer to vector `v` from an address on."""
    place = builder.add(address, _INT64(v * VECTOR_BYTES))
    return builder.inttoptr(place, vector.element.as_pointer())


def _store_rows(builder, vector, target, pitch, rows, mask):
    """Store what variables hold, the vectors of some rows."""
    for r, row in enumerate(rows):
        address = builder.add(target, builder.mul(pitch, _INT64(r)))
        for v, where in enumerate(row):
            store_vector(builder, builder.load(where), _vector_at(builder, vector, address, v), mask)


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
        _store_rows(builder, self.vector, builder.add(self.target, self.start), self.pitch, self.results, mask)

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
            element = load_vector(builder, _vector_at(builder, self.vector, address, v), self.vector, self.mask)
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
                element = load_vector(builder, _vector_at(builder, self.vector, line, v), self.vector, self.mask)
                self.combine(r, v, element, weight, is_first=False)

    def combine(self, r, v, element, weight, is_first):
        builder, where = self.builder, self.results[r][v]
        if is_first:
            value = self.terms.first(builder, self.kind, [element], weight)
        else:
            value = self.terms.following(builder, self.kind, [element], weight, builder.load(where))
        builder.store(value, where)


def _pairing_rows(terms):
    """An intrinsic that makes `ROWS` rows of what `_tapping` makes one of by pairs."""

    @intrinsic
    def pair_rows(typingctx, target, pitch, table, entry, shift, weights, weight, pairs, count):
        """Rows of `count` results, `pitch` bytes apart, each from the next line on, of so many terms.

        The table holds the lines in their order: `2 * pairs - 1` of the first row, and one more for each other.
        """
        kind = weights.dtype
        vector = ir.VectorType(llvm_type(kind), lanes_in(kind))

        def emit(context, builder, signature, args):
            def body(inner, target, pitch, table, shift, weights, pairs, count):
                tile = _PairedTile(inner, kind, vector, terms, target, pitch, table, shift, weights, pairs)
                for_several(inner, count, vector.count, _PAIRED, tile.emit)

            target, pitch, table, entry, shift, weights, weight, pairs, count = args
            table, weights = builder.gep(table, [entry]), builder.gep(weights, [weight])
            values = [target, pitch, table, shift, weights, pairs, count]
            outline(builder, f"rows_{terms.name}.{kind}", [value.type for value in values], body)(values)
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, n, table, n, n, weights, n, n, n), emit

    return pair_rows


class _PairedTile:
    """The code of `pair_rows`. From term to term each row meets the next line on one side, the one before on the other.

    So lines that neighbouring rows have met stay in registers, and a term reads one more on each side.
    """

    def __init__(self, builder, kind, vector, terms, target, pitch, table, shift, weights, pairs):
        self.builder, self.kind, self.vector, self.terms, self.target = builder, kind, vector, terms, target
        self.pitch, self.table, self.shift, self.weights, self.count = pitch, table, shift, weights, pairs

    def emit(self, offset, vectors, mask):
        builder, self.vectors, self.mask = self.builder, vectors, mask
        self.start = builder.mul(offset, _INT64(self.kind.bitwidth // 8))
        last = builder.mul(_INT64(2), builder.sub(self.count, _INT64(1)))  # line of the first row
        middle = builder.sub(self.count, _INT64(1))
        weight = _weight(builder, self.terms, self.weights, _INT64(0), self.vector)
        results = [
            [self.variable(self.terms.first(builder, self.kind, [element], weight)) for element in line]
            for line in (self.line(builder.add(middle, _INT64(r))) for r in range(ROWS))
        ]
        near = [[self.variable(each) for each in self.line(_INT64(r))] for r in range(ROWS - 1)]
        far = [[self.variable(each) for each in self.line(builder.add(last, _INT64(r)))] for r in range(1, ROWS)]
        with cgutils.for_range_slice(builder, _INT64(1), self.count, _INT64(1), inc=True) as (term, _):
            weight = _weight(builder, self.terms, self.weights, term, self.vector)
            left = [*map(self.values, near), self.line(builder.add(term, _INT64(ROWS - 2)))]
            right = [self.line(builder.sub(builder.add(last, _INT64(1)), term)), *map(self.values, far)]
            for r, row in enumerate(results):
                for v, where in enumerate(row):
                    pair = [left[r][v], right[r][v]]
                    value = self.terms.following(builder, self.kind, pair, weight, builder.load(where))
                    builder.store(value, where)
            for line, kept in zip(left[1:] + right[:-1], near + far, strict=True):
                for element, where in zip(line, kept, strict=True):
                    builder.store(element, where)
        _store_rows(builder, self.vector, builder.add(self.target, self.start), self.pitch, results, mask)

    def variable(self, value):
        where = cgutils.alloca_once(self.builder, self.vector)
        self.builder.store(value, where)
        return where

    def values(self, line):
        return [self.builder.load(where) for where in line]

    def line(self, q):
        """The vectors of line `q` of the table."""
        builder = self.builder
        address = builder.add(builder.add(builder.load(builder.gep(self.table, [q])), self.shift), self.start)
        places = [_vector_at(builder, self.vector, address, v) for v in range(self.vectors)]
        return [load_vector(builder, place, self.vector, self.mask) for place in places]


weigh_rows = _tapping_rows(_SUMS)
pair_rows, difference_rows = _pairing_rows(_PAIRS), _pairing_rows(_DIFFERENCES)
largest_rows, smallest_rows = _tapping_rows(_LARGEST), _tapping_rows(_SMALLEST)
larger_rows, smaller_rows = _tapping_rows(_LARGER), _tapping_rows(_SMALLER)
