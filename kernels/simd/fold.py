"""Arithmetic of the pools on vectors: what memory holds is widened, folded, divided and narrowed.

What is folded is a value, or a value and its index. It lies in lines: runs of elements in the workspace, in the type
that windows are folded in. Where the place of the best element is wanted, a line of indices lies `INDICES` bytes behind
the line of values, in integers of the same width. Lines are read and written in whole vectors, arrays never beyond the
elements asked for.
"""

from llvmlite import ir
from numba.core import cgutils

from ..strided import narrow, widen
from .vectors import FLOATS, VECTOR_BYTES, assembly, broadcast, load_vector, store_vector, transpose, zip_orders

ROOM = 4096  # elements of a line
SLACK = 512  # what whole vectors at the largest step may touch past the end of a line
# Three lines: the input's rows folded, its columns folded, and a few vectors on their way to be transposed.
ROWS, COLUMNS, SPARE = 0, ROOM + SLACK, 2 * (ROOM + SLACK)
INDICES = 8 * (SPARE + SLACK)
TAPS = 2 * INDICES  # of the windows of a line of means, along it
DIVISORS = TAPS + 8 * (ROOM + SLACK)
RECIPROCALS = 8 * (ROOM + SLACK)  # from the divisors on
POSITIONS = DIVISORS + 2 * RECIPROCALS  # where results go, their divisor and channels, for each of some lines
WORKSPACE_BYTES = POSITIONS + 8 * ROOM

_INT64, _INT32, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_FUSED = (
    "declare float @llvm.fma.f32(float, float, float)\ndefine float @fused(float %a) {\n"
    "%b = call float @llvm.fma.f32(float %a, float %a, float %a)\nret float %b\n}"
)
# Without the instruction a fused multiply-add is a call into the C library for each lane.
_HAS_FMA = "fmaf" not in assembly(_FUSED)


def lane_count(element):
    return VECTOR_BYTES * 8 // element.bitwidth


def line_type(kind, x, out):
    """What a window is folded in: means in the result's type, what is only compared in its own where vectors can."""
    if kind == "average":
        return out.compute
    if kind.startswith("indexed") or x.compute in FLOATS:
        return x.compute
    return x.dtype


class Fold:
    """One kind of pool on vectors of some number of lanes: what is folded is a value, or a value and its index."""

    def __init__(self, context, builder, kind, x, out, workspace, lanes=None):
        self.context, self.builder = context, builder
        self.kind, self.x, self.out = kind, x, out
        self.element = line_type(kind, x, out)
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

    def _pointer(self, base, i, element):
        typed = self.builder.bitcast(base, element.as_pointer())
        return self.builder.gep(typed, [i], source_etype=element)

    def read(self, i):
        """What lies at element `i` of the lines."""
        parts = [load_vector(self.builder, self._pointer(self.values, i, self.scalar), self.vector)]
        if self.has_index:
            where = self._pointer(self.indices, i, self.index.element)
            parts.append(load_vector(self.builder, where, self.index))
        return parts

    def write(self, parts, i):
        """Put it there."""
        store_vector(self.builder, parts[0], self._pointer(self.values, i, self.scalar))
        if self.has_index:
            store_vector(self.builder, parts[1], self._pointer(self.indices, i, self.index.element))

    def slots(self):
        """Variables for what is folded."""
        kinds = (self.vector, self.index) if self.has_index else (self.vector,)
        return [cgutils.alloca_once(self.builder, kind) for kind in kinds]

    def set(self, slots, parts):
        """Fill variables."""
        for slot, part in zip(slots, parts):
            self.builder.store(part, slot)

    def get(self, slots):
        """What variables hold."""
        return [self.builder.load(slot) for slot in slots]

    def load(self, data, i, mask, index, step):
        """Elements of the input; their indices start at `index` and go on in steps."""
        storage = self.context.get_value_type(self.x.dtype)
        parts = [self.widen(load_vector(self.builder, self._pointer(data, i, storage), self._of(storage), mask))]
        if self.has_index:
            whole = self.index.element
            lane = ir.Constant(self.index, list(range(self.lanes)))
            first, step = (self._spread(self.builder.trunc(n, whole) if whole.width < 64 else n) for n in (index, step))
            parts.append(self.builder.add(first, self.builder.mul(lane, step)))
        return parts

    def neutral(self, lowest):
        """What changes no result: 0 in a sum, else the padding's value and an index after all others."""
        if self.kind == "average":
            return [ir.Constant(self.vector, None)]
        one = Fold(self.context, self.builder, self.kind, self.x, self.out, self.values, 1)
        storage = ir.VectorType(self.context.get_value_type(self.x.dtype), 1)
        value = one.widen(load_vector(self.builder, self._pointer(lowest, _INT64(0), storage.element), storage))
        value = self._spread(self.builder.extract_element(value, _INT32(0)))
        return [value, self._nowhere()] if self.has_index else [value]

    def _nowhere(self):
        """Indices of what was found in no element: after all others."""
        return ir.Constant(self.index, [2 ** (self.index.element.width - 1) - 1] * self.lanes)

    def _spread(self, scalar):
        """A vector of one value."""
        return broadcast(self.builder, scalar, ir.VectorType(scalar.type, self.lanes))

    def _of(self, element):
        return ir.VectorType(element, self.lanes)

    def combine(self, best, new, in_order=True):
        """The fold of two. Of equals the first index wins; `in_order` where `best` is known to come first."""
        builder = self.builder
        if self.kind == "average":
            return [builder.fadd(best[0], new[0])]
        if not self.has_index:
            return [self._extreme(best[0], new[0])]
        take = self._is_better(new[0], best[0])
        if not in_order:
            before = builder.icmp_signed("<", new[1], best[1])
            take = builder.or_(take, builder.and_(before, builder.not_(self._is_better(best[0], new[0]))))
        return [builder.select(take, n, b) for n, b in zip(new, best)]

    def _extreme(self, a, b):
        """NaN where one is; the sign of zero is not looked at."""
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
            number = self.builder.fcmp_ordered("ord", b, b)
            return self.builder.and_(self.builder.fcmp_unordered(sign, a, b), number)
        compare = self.builder.icmp_signed if self.element.signed else self.builder.icmp_unsigned
        return compare(sign, a, b)

    def widen(self, vector):
        """From what memory holds to what is folded."""
        builder, x = self.builder, self.x
        if x.format == "bool":
            vector = builder.select(builder.icmp_unsigned("!=", vector, ir.Constant(vector.type, None)),
                                    self._all(vector.type, 1), ir.Constant(vector.type, None))  # fmt: skip
        if x.format in ("float16", "bfloat16"):
            return widen(builder, x, vector)
        if x.dtype == self.element:
            return vector
        if self.is_float:
            return (builder.sitofp if x.dtype.signed else builder.uitofp)(vector, self.vector)
        return (builder.sext if x.dtype.signed else builder.zext)(vector, self.vector)

    def narrow(self, vector):
        """From what is folded to what memory holds."""
        builder, out = self.builder, self.out
        if out.format in ("float16", "bfloat16"):
            return narrow(builder, out, vector)
        return vector if out.dtype == self.element else builder.trunc(vector, self._of(ir.IntType(out.dtype.bitwidth)))

    def _all(self, kind, value):
        return ir.Constant(kind, [value] * self.lanes)

    def divisors(self, pointer):
        """What means are divided by, and the reciprocals of that; None where nothing is divided."""
        if self.kind != "average":
            return None
        builder, byte = self.builder, _BYTE.as_pointer()
        behind = builder.gep(builder.bitcast(pointer, byte), [_INT64(RECIPROCALS)], source_etype=_BYTE)
        typed = self.scalar.as_pointer()
        return [load_vector(builder, builder.bitcast(place, typed), self.vector) for place in (pointer, behind)]

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
        name = f"llvm.fma.v{self.lanes}{FLOATS[self.element]}"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
        return self.builder.call(function, [a, b, c])

    def finish(self, parts, target, divisors, mask):
        """Write results: `target` is the results' values, their indices and the position there."""
        builder, (data, indices, i) = self.builder, target
        value = parts[0]
        if divisors is not None:
            value = self.divide(value, *divisors)
        value = self.narrow(value)
        store_vector(builder, value, self._pointer(data, i, value.type.element), mask)
        if self.has_index:
            nowhere = builder.icmp_signed("==", parts[1], self._nowhere())
            index = builder.select(nowhere, self._all(self.index, -1), parts[1])
            index = index if self.index.element.width == 64 else builder.sext(index, self._of(_INT64))
            store_vector(builder, index, self._pointer(indices, i, _INT64), mask)

    def every(self, vectors, step, phase):
        """Each `step`-th lane from `phase` on of as many vectors put together."""
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
        """A vector of windows of as many parts, all folded in the same order; and the `Fold` of a vector of so many.

        Zips of two vectors that are half of them apart bring lanes that are half a vector apart above each other.
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
            fold = Fold(self.context, builder, self.kind, self.x, self.out, self.values, fold.lanes // 2)
            ends = [[*range(start, start + fold.lanes)] for start in (0, fold.lanes)]
            parts = fold.combine(*(
                [builder.shuffle_vector(part, part, ir.Constant(fold._of(_INT32), end)) for part in parts]
                for end in ends
            ), False)  # fmt: skip
        return fold, parts

    def columns(self, rows):
        """What lies in each lane of as many vectors, as a vector."""
        return list(zip(*(transpose(self.builder, parts) for parts in zip(*rows))))
