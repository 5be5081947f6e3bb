"""Arithmetic of the pools on vectors: elements are widened, folded, divided and narrowed.

To fold is to add, or to keep the better of two elements. What is folded is a value, or a value and its index. It lies
in lines: runs of elements in the workspace, in the type that windows are folded in. Where the index of the best element
is wanted, a line of indices lies `INDICES` bytes behind the line of values, in integers of the same width. Lines are
read and written in whole vectors, arrays never beyond the elements asked for.
"""

from llvmlite import ir
from numba.core import cgutils

from ..strided import cast, narrow, widen
from .vectors import FLOATS, VECTOR_BYTES, assembly, broadcast, load_vector, store_vector, transpose, zip_orders

ROOM = 4096  # elements of a line
SLACK = 512  # elements that whole vectors at the largest step may touch past the end of a line
# Where lines begin, in elements: the input's rows folded, its columns folded, and a few vectors to be transposed.
ROWS, COLUMNS, SPARE = 0, ROOM + SLACK, 2 * (ROOM + SLACK)
# Where the rest of the workspace begins, in bytes.
INDICES = 8 * (SPARE + SLACK)  # of lines: behind the same line's values
TAPS = 2 * INDICES  # for each window of a line, those along the last axis that its mean counts
DIVISORS = TAPS + 8 * (ROOM + SLACK)  # for each window of a line
RECIPROCALS = 8 * (ROOM + SLACK)  # of the divisors: behind them
GROUPS = DIVISORS + 2 * RECIPROCALS  # lines that are stored together
SHARES = GROUPS + 8 * ROOM  # where on a line the windows of an adaptive pool begin and end
WORKSPACE_BYTES = SHARES + 8 * ROOM

_INT64, _INT32, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_FUSED = (
    "declare float @llvm.fma.f32(float, float, float)\ndefine float @fused(float %a) {\n"
    "%b = call float @llvm.fma.f32(float %a, float %a, float %a)\nret float %b\n}"
)
# Without the instruction a fused multiply-add is a call into the C library for each lane.
_HAS_FMA = "fmaf" not in assembly(_FUSED)


MEANS = "average", "mean_square"  # the kinds whose windows are summed and divided


def lane_count(element):
    """Elements of a vector."""
    return VECTOR_BYTES * 8 // element.bitwidth


def line_type(kind, out):
    """The type that windows are folded in: the result's, where vectors can compare it."""
    if kind in MEANS or kind.startswith("indexed") or out.compute in FLOATS:
        return out.compute
    return out.dtype


class Fold:
    """One kind of pool on vectors of some number of lanes: what is folded is a value, or a value and its index."""

    def __init__(self, context, builder, kind, x, out, workspace, lanes=None):
        self.context, self.builder = context, builder
        self.kind, self.x, self.out = kind, x, out
        self.is_mean = kind in MEANS
        self.element = line_type(kind, out)
        self.lanes = lanes or lane_count(self.element)
        self.scalar = context.get_value_type(self.element)
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.is_float = self.element in FLOATS
        self.has_index = kind.startswith("indexed")
        self.index = ir.VectorType(ir.IntType(self.element.bitwidth), self.lanes)
        self.is_least = kind.endswith("minimum")
        byte = _BYTE.as_pointer()
        self.values = builder.bitcast(workspace, byte)
        self.indices = builder.gep(self.values, [_INT64(INDICES)], source_etype=_BYTE)

    def of_lanes(self, lanes):
        """The same on vectors of so many lanes."""
        return Fold(self.context, self.builder, self.kind, self.x, self.out, self.values, lanes)

    def _pointer(self, base, i, element):
        typed = self.builder.bitcast(base, element.as_pointer())
        return self.builder.gep(typed, [i], source_etype=element)

    def read(self, i):
        """The vector at element `i` of the lines."""
        parts = [load_vector(self.builder, self._pointer(self.values, i, self.scalar), self.vector)]
        if self.has_index:
            where = self._pointer(self.indices, i, self.index.element)
            parts.append(load_vector(self.builder, where, self.index))
        return parts

    def write(self, parts, i):
        """Write a vector to element `i` of the lines."""
        store_vector(self.builder, parts[0], self._pointer(self.values, i, self.scalar))
        if self.has_index:
            store_vector(self.builder, parts[1], self._pointer(self.indices, i, self.index.element))

    def slots(self):
        """Variables for what is folded."""
        vectors = (self.vector, self.index) if self.has_index else (self.vector,)
        return [cgutils.alloca_once(self.builder, vector) for vector in vectors]

    def set(self, slots, parts):
        """Write variables."""
        for slot, part in zip(slots, parts):
            self.builder.store(part, slot)

    def get(self, slots):
        """Read variables."""
        return [self.builder.load(slot) for slot in slots]

    def load(self, data, i, mask, index, step):
        """A vector of the input from element `i` on; its indices are `index`, `index + step`, and so on."""
        storage = self.context.get_value_type(self.x.dtype)
        vector = load_vector(self.builder, self._pointer(data, i, storage), self._of(storage), mask)
        value = self.widen(vector, self.x)
        parts = [self.builder.fmul(value, value) if self.kind == "mean_square" else value]
        if self.has_index:
            word = self.index.element
            lane = ir.Constant(self.index, list(range(self.lanes)))
            first, step = (self._spread(self.builder.trunc(n, word) if word.width < 64 else n) for n in (index, step))
            parts.append(self.builder.add(first, self.builder.mul(lane, step)))
        return parts

    def neutral(self, lowest):
        """What changes no result: 0 in a sum, else the padding's value `lowest` and an index after all others."""
        if self.is_mean:
            return [ir.Constant(self.vector, None)]
        one = self.of_lanes(1)
        storage = ir.VectorType(self.context.get_value_type(self.out.dtype), 1)
        value = load_vector(self.builder, self._pointer(lowest, _INT64(0), storage.element), storage)
        value = one.widen(value, self.out)
        value = self._spread(self.builder.extract_element(value, _INT32(0)))
        return [value, self._no_index()] if self.has_index else [value]

    def _no_index(self):
        """The index of padding: after all others. It is stored as -1."""
        return ir.Constant(self.index, [2 ** (self.index.element.width - 1) - 1] * self.lanes)

    def _spread(self, scalar):
        """A vector of one value."""
        return broadcast(self.builder, scalar, ir.VectorType(scalar.type, self.lanes))

    def _of(self, element):
        """The type of a vector of as many elements of another type."""
        return ir.VectorType(element, self.lanes)

    def combine(self, best, new, in_order=True):
        """The fold of two vectors, lane by lane. Of equals the first index wins, which `best` has if `in_order`."""
        builder = self.builder
        if self.is_mean:
            return [builder.fadd(best[0], new[0])]
        if not self.has_index:
            return [self._extreme(best[0], new[0])]
        take = self._is_better(new[0], best[0])
        if not in_order:
            before = builder.icmp_signed("<", new[1], best[1])
            take = builder.or_(take, builder.and_(before, builder.not_(self._is_better(best[0], new[0]))))
        return [builder.select(take, n, b) for n, b in zip(new, best)]

    def _extreme(self, a, b):
        """The larger (smaller) element; NaN if one is NaN. Of two zeros it may be either."""
        if self.is_float:
            name, flags = ("llvm.minimum" if self.is_least else "llvm.maximum"), ("nsz",)
            name = f"{name}.v{self.lanes}{FLOATS[self.element]}"
        else:
            sign, flags = "s" if self.element.signed else "u", ()
            name = f"llvm.{sign}{'min' if self.is_least else 'max'}.v{self.lanes}i{self.element.bitwidth}"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(a.type, [a.type] * 2), name)
        return self.builder.call(function, [a, b], fastmath=flags)

    def _is_better(self, a, b):
        """Whether `a` beats `b`; a NaN beats all but another."""
        sign = "<" if self.is_least else ">"
        if self.is_float:
            is_number = self.builder.fcmp_ordered("ord", b, b)
            return self.builder.and_(self.builder.fcmp_unordered(sign, a, b), is_number)
        compare = self.builder.icmp_signed if self.element.signed else self.builder.icmp_unsigned
        return compare(sign, a, b)

    def widen(self, vector, array):
        """From the type that an array's memory holds to that of lines."""
        builder = self.builder
        if array.format == "bool":
            vector = builder.select(builder.icmp_unsigned("!=", vector, ir.Constant(vector.type, None)),
                                    self._all(vector.type, 1), ir.Constant(vector.type, None))  # fmt: skip
        if array.format in ("float16", "bfloat16"):
            return cast(builder, widen(builder, array, vector), array.unpacked, self.element)
        source = array.dtype
        if not self.is_float:  # what the result cannot hold wraps before it is compared
            vector, source = cast(builder, vector, source, self.out.dtype), self.out.dtype
        return cast(builder, vector, source, self.element)

    def narrow(self, vector):
        """From the type of lines to that which the result's memory holds."""
        builder, out = self.builder, self.out
        if out.format in ("float16", "bfloat16"):
            return narrow(builder, out, vector)
        return vector if out.dtype == self.element else builder.trunc(vector, self._of(ir.IntType(out.dtype.bitwidth)))

    def _all(self, vector, value):
        """A constant vector of one value."""
        return ir.Constant(vector, [value] * self.lanes)

    def divisors(self, pointer):
        """A vector of what means are divided by, and one of the reciprocals; None for other kinds."""
        if not self.is_mean:
            return None
        builder, byte = self.builder, _BYTE.as_pointer()
        reciprocals = builder.gep(builder.bitcast(pointer, byte), [_INT64(RECIPROCALS)], source_etype=_BYTE)
        element = self.scalar.as_pointer()
        return [load_vector(builder, builder.bitcast(at, element), self.vector) for at in (pointer, reciprocals)]

    def divide(self, total, divisor, reciprocal):
        """The correctly rounded quotient, where it is normal.

        A vector division takes some 16 cycles. From the rounded reciprocal it is a product and two fused operations
        (Markstein 1990; algorithm 1 of Brisebarre, Muller and Raina, "Accelerating correctly rounded floating-point
        division when the divisor is known in advance", 2004). An exact product stays as it is, for the sign of zero,
        and so does one that is not finite.
        """
        builder = self.builder
        if not _HAS_FMA:
            return builder.fdiv(total, divisor)
        quotient = builder.fmul(total, reciprocal)
        error = self._fused(builder.fneg(quotient), divisor, total)
        inexact = builder.fcmp_ordered("!=", error, ir.Constant(self.vector, None))
        return builder.select(inexact, self._fused(error, reciprocal, quotient), quotient)

    def _fused(self, a, b, c):
        """`a * b + c`, rounded once."""
        name = f"llvm.fma.v{self.lanes}{FLOATS[self.element]}"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
        return self.builder.call(function, [a, b, c])

    def finish(self, parts, arrays, i, divisors, mask):
        """Write a vector of results, and their indices, from element `i` of the results on."""
        builder, value = self.builder, parts[0]
        if divisors is not None:
            value = self.divide(value, *divisors)
        value = self.narrow(value)
        store_vector(builder, value, self._pointer(arrays.out, i, value.type.element), mask)
        if self.has_index:
            is_padding = builder.icmp_signed("==", parts[1], self._no_index())
            index = builder.select(is_padding, self._all(self.index, -1), parts[1])
            index = index if self.index.element.width == 64 else builder.sext(index, self._of(_INT64))
            store_vector(builder, index, self._pointer(arrays.indices, i, _INT64), mask)

    def every(self, vectors, step, phase):
        """Lanes `phase`, `phase + step`, `phase + 2 * step`, ... of `step` neighbouring vectors, as one vector."""
        result = vectors[0]
        for v in range(1, step):
            lanes = []
            for lane in range(self.lanes):
                vector, at = divmod(step * lane + phase, self.lanes)
                if vector == v:
                    lanes.append(self.lanes + at)
                elif vector < v:
                    lanes.append(at if v == 1 else lane)
                else:
                    lanes.append(0)
            result = self.builder.shuffle_vector(result, vectors[v], ir.Constant(self._of(_INT32), lanes))
        return result

    def fold_lanes(self, windows):
        """Fold each of some vectors to one element; these as a vector, and the `Fold` of vectors of so many lanes.

        All are folded in the same order. Zips of two vectors that are half of them apart bring lanes that are half a
        vector apart above each other.
        """
        builder, fold, size, zips = self.builder, self, len(windows), zip_orders(self.lanes)
        while len(windows) > 1:
            half = len(windows) // 2
            windows = [
                self.combine(*([builder.shuffle_vector(p, q, order) for p, q in zip(a, b)] for order in zips), False)
                for a, b in zip(windows[:half], windows[half:])
            ]
        (parts,) = windows
        while fold.lanes > size:
            fold = self.of_lanes(fold.lanes // 2)
            ends = [[*range(start, start + fold.lanes)] for start in (0, fold.lanes)]
            parts = fold.combine(*(
                [builder.shuffle_vector(part, part, ir.Constant(fold._of(_INT32), end)) for part in parts]
                for end in ends
            ), False)  # fmt: skip
        return fold, parts

    def columns(self, rows):
        """The columns of a square whose rows are vectors, as vectors."""
        return list(zip(*(transpose(self.builder, parts) for parts in zip(*rows))))
