"""Vector code for the host's registers: the LLVM IR of the kernels' arithmetic, that of the pools apart.

An intrinsic here emits a whole register tile, so that its sums stay in registers from the first load to the store.
Widths come from the CPU that Numba compiles for, `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` included.
"""

import functools
import itertools
import math

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .strided import data_of, narrow, widen

_FLOATS = {types.float32: "f32", types.float64: "f64"}
_LLVM_FLOATS = (ir.FloatType(), ir.DoubleType())
_INT64 = ir.IntType(64)


# A sum of 512 bits: its assembly names the widest registers that there are.
_SUM = """
define <16 x float> @sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
"""


def assembly(source):
    """What LLVM makes of IR for the CPU that Numba compiles for: no list holds all that a CPU's name implies."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    return machine.emit_assembly(binding.parse_assembly(source))


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
_ARM = cpu_target.target_context.codegen().magic_tuple()[0].startswith(("aarch64", "arm64"))
# Rows and vectors of the register tiles: rows * vectors accumulators, the vectors and a broadcast fill the registers.
TILES = ((8, 3), (4, 6), (2, 6), (1, 6)) if REGISTERS == 32 else ((6, 2), (4, 3), (2, 4), (1, 6))
# A complex output is two rows: sums of products with a kernel's real, and with its imaginary parts.
COMPLEX_TILES = tuple((rows // 2, vectors) for rows, vectors in TILES[:3])

# Positions and vectors of the largest tile with vectors along output channels; one more vector and a broadcast fit in.
CHANNEL_TILE = (13, 2) if REGISTERS == 32 else (6, 2)

# Rows of a row tile: as many sums as hide the latency of a multiply-add; most planes of networks are multiples of 7.
ROWS = 7


def is_vector_type(element):
    """Whether a register tile exists for a Numba type: real numbers of 32 or 64 bits."""
    return element in _FLOATS or (isinstance(element, types.Integer) and element.bitwidth >= 32)


@intrinsic
def lanes_of(typingctx, pointer):
    """Elements of a vector of what a pointer points at."""

    def emit(context, builder, signature, args):
        return context.get_constant(types.intp, VECTOR_BYTES * 8 // pointer.dtype.bitwidth)

    return types.intp(pointer), emit


def multiply_add(builder, element, a, b, total):
    """`a * b + total` on vectors: fused where the hardware fuses, never a call into the C library."""
    if element not in _FLOATS:
        return builder.add(builder.mul(a, b), total)
    name = f"llvm.fmuladd.v{a.type.count}{_FLOATS[element]}"
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


def load_elements(context, builder, array, pointer, vector, mask=None, other=None):
    """`load_vector` from the memory of `array`, in its compute type."""
    stored = ir.VectorType(context.get_value_type(array.dtype), vector.count)
    value = widen(builder, array, load_vector(builder, pointer, stored, mask))
    return value if other is None else builder.select(mask, value, other)


def finish(builder, array, total, low, high):
    """What is stored of sums: wrapped, held between two bounds, and rounded; a NaN stays a NaN."""
    if array.compute not in _FLOATS and array.format != "bool":
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


@intrinsic(prefer_literal=True)
def tile(
    typingctx,
    rows,
    vectors,
    source,
    start,
    table,
    count,
    w,
    w_start,
    w_row,
    w_entry,
    sums,
    sums_start,
    sums_row,
    accumulate,
    lanes,
):
    """Register tile of `rows` output channels by `vectors` vectors of neighbouring positions.

    `sums[m, j] (+)= sum over e of w[w_start + m * w_row + e * w_entry] * source[start + table[e] + j]`. With one vector
    only its first `lanes` positions are read; the rest of the vector is stored, too, and means nothing.

    Complex numbers are pairs of lanes: `x * w` is `x * w.real` plus `x * w.imag` with its pairs swapped and the first
    of each negated, which is done once, to the sums.
    """
    element = source.dtype
    mr, nv = rows.literal_value, vectors.literal_value
    lane_count = VECTOR_BYTES * 8 // element.bitwidth
    part = getattr(element, "underlying_float", element)
    parts = element.bitwidth // part.bitwidth

    def emit(context, builder, signature, args):
        _, _, source, start, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate, lanes = (
            args
        )
        vector = ir.VectorType(context.get_value_type(part), lane_count * parts)
        mask = first_lanes(builder, builder.mul(lanes, _INT64(parts)), vector.count) if nv == 1 else None
        source = builder.gep(source, [start])
        w = builder.gep(w, [w_start])
        where = [
            [
                builder.gep(
                    sums,
                    [builder.add(sums_start, builder.add(builder.mul(sums_row, _INT64(m)), _INT64(j * lane_count)))],
                )
                for j in range(nv)
            ]
            for m in range(mr)
        ]
        old = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        zero = ir.Constant(vector, None)
        first = [[builder.select(old, load_vector(builder, p, vector), zero) for p in row] for row in where]
        if parts == 2:
            held, first = first, [[zero] * nv for _ in range(2 * mr)]

        before = builder.block
        loop, after = builder.append_basic_block("entries"), builder.append_basic_block("store")
        builder.cbranch(builder.icmp_signed(">", count, _INT64(0)), loop, after)

        builder.position_at_end(loop)
        e = builder.phi(_INT64)
        e.add_incoming(_INT64(0), before)
        totals = [[builder.phi(vector) for _ in row] for row in first]
        base = builder.gep(source, [builder.load(builder.gep(table, [e]))])
        values = [load_vector(builder, builder.gep(base, [_INT64(j * lane_count)]), vector, mask) for j in range(nv)]
        entry = builder.gep(w, [builder.mul(e, w_entry)])
        results = []
        for m in range(mr * parts):
            scalar = builder.gep(entry, [builder.mul(w_row, _INT64(m // parts))])
            scalar = builder.gep(builder.bitcast(scalar, vector.element.as_pointer()), [_INT64(m % parts)])
            weight = broadcast(builder, builder.load(scalar), vector)
            results.append([multiply_add(builder, part, values[j], weight, totals[m][j]) for j in range(nv)])
        following = builder.add(e, _INT64(1))
        e.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        for m in range(mr * parts):
            for j in range(nv):
                totals[m][j].add_incoming(first[m][j], before)
                totals[m][j].add_incoming(results[m][j], loop)

        builder.position_at_end(after)
        for m in range(mr * parts):
            for j in range(nv):
                total = builder.phi(vector)
                total.add_incoming(first[m][j], before)
                total.add_incoming(results[m][j], loop)
                results[m][j] = total
        if parts == 2:
            results = [
                [builder.fadd(old, join_parts(builder, part, *pair)) for old, *pair in zip(*rows, strict=True)]
                for rows in zip(held, results[::2], results[1::2], strict=True)
            ]
        for m in range(mr):
            for j in range(nv):
                store_vector(builder, results[m][j], where[m][j])
        return context.get_dummy_value()

    integer = types.intp
    signature = types.void(
        rows,
        vectors,
        source,
        integer,
        table,
        integer,
        w,
        integer,
        integer,
        integer,
        sums,
        integer,
        integer,
        integer,
        integer,
    )
    return signature, emit


def join_parts(builder, part, by_real, by_imaginary):
    """Complex sums, of products with real parts and with imaginary parts."""
    pairs = range(by_real.type.count)
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(pairs)), [i ^ 1 for i in pairs])
    signs = by_real.type([2.0 * (i % 2) - 1 for i in pairs])
    return multiply_add(builder, part, builder.shuffle_vector(by_imaginary, by_imaginary, order), signs, by_real)


# Kernel rows of a row tile, the steps of both axes, and kernel columns side by side where their loop is unrolled, or 0.
ROW_TILES = ((3, 1, 3), (3, 2, 3), (5, 2, 5), (7, 1, 0), (5, 1, 0), (3, 1, 0), (2, 1, 0), (1, 1, 0))


@intrinsic
def row_tiles(typingctx, taps, step, table, entry, phase, column, size, count, hop, w, w_start, w_row,
              w_column, target, to, pitch, rows, columns, accumulate, initial, held, low, high):  # fmt: skip
    """`rows` by `columns` of one output channel, for `taps` kernel rows and `count` kernel columns.

    `target[to + i * pitch + j] = sum over q, e of w[w_start + q * w_row + e * w_column] * row(i, q)[column + e * hop +
    step * j]`, added to what it holds (`accumulate`) or to `initial`, then, if `held`, held between `low` and `high`.
    `table` holds the addresses of rows: `row(i, q)` is `table[entry + i + q]` or, with steps of 2, `table[entry + i +
    q // 2 + q % 2 * phase]`. Columns outside of `[0, size)` are 0, and are not read.

    A tile is `ROWS` rows high and a vector wide: each input vector is loaded once for all the outputs that use it.
    `taps, step` are those of one of `ROW_TILES`.
    """
    element = target.dtype

    def emit(context, builder, signature, args):
        taps, step, *operands = args
        shape = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        done = builder.append_basic_block("done")
        for rows, every, columns in ROW_TILES:
            # A function each, so that none prepares what only others need.
            function = ir.Function(builder.module, shape, f"row_tiles.{rows}.{every}.{columns}")
            function.linkage = "internal"
            function.attributes.add("noinline")
            body = ir.IRBuilder(function.append_basic_block())
            _RowTiles(context, body, element, rows, every, columns, *function.args)
            body.ret_void()
            chosen = builder.and_(
                builder.icmp_signed("==", taps, _INT64(rows)), builder.icmp_signed("==", step, _INT64(every))
            )
            if columns:
                for operand, expected in ((operands[5], columns), (operands[6], 1)):
                    chosen = builder.and_(chosen, builder.icmp_signed("==", operand, _INT64(expected)))
            call, following = builder.append_basic_block("call"), builder.append_basic_block("else")
            builder.cbranch(chosen, call, following)
            builder.position_at_end(call)
            builder.call(function, operands)
            builder.branch(done)
            builder.position_at_end(following)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n, x = types.intp, element
    weights = (w, n, n, n)
    return types.void(n, n, table, n, n, n, n, n, n, *weights, target, n, n, n, n, n, x, n, x, x), emit


class _RowTiles:
    """The code of `row_tiles` for one of `ROW_TILES`."""

    def __init__(
        self, context, builder, element, taps, step, known, table, entry, phase, column, size, count, hop,
        w, w_start, w_row, w_column, target, to, pitch, rows, columns, accumulate, initial, held, low, high,
    ):  # fmt: skip
        self.builder, self.element, self.step, self.known = builder, element, step, known
        self.lanes = VECTOR_BYTES * 8 // element.bitwidth
        self.scalar, self.vector = w.type.pointee, ir.VectorType(w.type.pointee, self.lanes)
        self.parts = [range(part, taps, step) for part in range(step)]  # kernel rows that share input rows
        self.size, self.count, self.hop = size, count, hop
        if known:
            self.count, self.hop = _INT64(known), _INT64(1)
        self.w, self.w_row, self.w_column = builder.gep(w, [w_start]), w_row, w_column
        self.initial = broadcast(builder, initial, self.vector)
        self.low, self.high = (broadcast(builder, value, self.vector) for value in (low, high))
        self.accumulate = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        self.held = builder.icmp_signed("!=", held, held.type(0))
        self.weights = {}
        if known == 3:  # few enough for the registers
            for q, e in itertools.product(range(taps), range(known)):
                self.weights[q, e] = pin(builder, self.load_weight(q, _INT64(e)))
        reach = builder.mul(builder.sub(self.count, _INT64(1)), self.hop)
        reach = builder.add(reach, _INT64(step * self.lanes))
        table, target = builder.gep(table, [entry]), builder.gep(target, [to])

        with cgutils.for_range_slice(builder, _INT64(0), rows, _INT64(ROWS), inc=True) as (i, _):
            left = builder.sub(rows, i)
            top = builder.gep(table, [i])
            self.valid = [builder.icmp_signed(">", left, _INT64(row)) for row in range(ROWS)]
            self.targets = []
            for row, valid in enumerate(self.valid):  # rows that are not there lie on the first one, and are not stored
                at = builder.add(i, builder.select(valid, _INT64(row), _INT64(0)))
                self.targets.append(builder.gep(target, [builder.mul(at, pitch)]))
            self.pointers = []
            for part, kernel_rows in enumerate(self.parts):
                last = builder.add(left, _INT64(len(kernel_rows) - 2))
                base = builder.gep(top, [builder.mul(phase, _INT64(part))])
                pointers = []
                for row in range(ROWS + len(kernel_rows) - 1):
                    index = _INT64(row)
                    if row >= len(kernel_rows):
                        index = builder.select(builder.icmp_signed("<", index, last), index, last)
                    pointers.append(builder.inttoptr(builder.load(builder.gep(base, [index])), target.type))
                self.pointers.append(pointers)
            with cgutils.for_range_slice(builder, _INT64(0), columns, _INT64(self.lanes), inc=True) as (j, _):
                width = builder.sub(columns, j)
                first = builder.add(column, builder.mul(j, _INT64(step)))
                whole = builder.icmp_signed(">=", first, _INT64(0))
                whole = builder.and_(whole, builder.icmp_signed("<=", builder.add(first, reach), size))
                whole = builder.and_(whole, builder.icmp_signed(">=", width, _INT64(self.lanes)))
                with builder.if_else(whole) as (then, otherwise):
                    with then:
                        self.tile(first, j, self.lanes, None)
                    with otherwise:
                        self.rest(first, j, width)

    def rest(self, first, j, width):
        """A tile with masks, of half vectors where they are enough and cost half: registers of 512 bits."""
        if VECTOR_BYTES < 64 or sum(map(len, self.parts)) < 3:
            self.tile(first, j, self.lanes, width)
            return
        with self.builder.if_else(self.builder.icmp_signed("<=", width, _INT64(self.lanes // 2))) as (then, otherwise):
            with then:
                self.tile(first, j, self.lanes // 2, width)
            with otherwise:
                self.tile(first, j, self.lanes, width)

    def tile(self, first, j, lanes, width):
        """A tile whose first column meets column `first` of the input; `width`: lanes that are stored, if not all."""
        builder, where = self.builder, [self.builder.gep(target, [j]) for target in self.targets]
        self.vector = ir.VectorType(self.scalar, lanes)
        mask = None if width is None else first_lanes(builder, width, lanes)
        before, initial = builder.block, self.narrow(self.initial)
        with builder.if_then(self.accumulate):
            old, loaded = [load_vector(builder, p, self.vector, mask) for p in where], builder.block
        totals = [self.either(value, loaded, initial, before) for value in old]
        for part in range(self.step):
            if not self.known:
                totals = self.loop(totals, part, first, mask)
                continue
            together = 1 if self.step == 1 else 3
            for e in range(0, self.known, together):
                totals = self.add_columns(totals, part, _INT64(e), min(together, self.known - e), first, mask)
        before = builder.block
        with builder.if_then(self.held):
            low, high = self.narrow(self.low), self.narrow(self.high)
            within = [clamp(builder, self.element, total, low, high) for total in totals]
            clamped = builder.block
        results = [self.either(a, clamped, b, before) for a, b in zip(within, totals, strict=True)]
        for valid, value, pointer in zip(self.valid, results, where, strict=True):
            with builder.if_then(valid, likely=True):
                store_vector(builder, value, pointer, mask)

    def narrow(self, value):
        """The lanes of a vector that the tile uses."""
        lanes = self.vector.count
        if lanes == self.lanes:
            return value
        return self.shuffle(value, value, range(lanes))

    def either(self, a, from_a, b, from_b):
        phi = self.builder.phi(a.type)
        phi.add_incoming(a, from_a)
        phi.add_incoming(b, from_b)
        return phi

    def loop(self, totals, part, first, mask):
        """`add_columns` for all kernel columns."""
        builder, before = self.builder, self.builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("columns", "column", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        e = builder.phi(_INT64)
        e.add_incoming(_INT64(0), before)
        phis = [builder.phi(self.vector) for _ in totals]
        for phi, total in zip(phis, totals, strict=True):
            phi.add_incoming(total, before)
        builder.cbranch(builder.icmp_signed("<", e, self.count), body, after)
        builder.position_at_end(body)
        for phi, total in zip(phis, self.add_columns(phis, part, e, 1, first, mask), strict=True):
            phi.add_incoming(total, body)
        e.add_incoming(builder.add(e, _INT64(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        return phis

    def add_columns(self, totals, part, e, together, first, mask):
        """Add the products of kernel column `e` and, with steps of 2, of those that are loaded together with it."""
        builder, kernel_rows, totals = self.builder, self.parts[part], list(totals)
        if self.weights:
            weights = [[self.narrow(self.weights[q, e.constant + c]) for q in kernel_rows] for c in range(together)]
        else:
            columns = [builder.add(e, _INT64(c)) for c in range(together)]
            weights = [[self.load_weight(q, c) for q in kernel_rows] for c in columns]
        first = builder.add(first, builder.mul(e, self.hop))
        for row, pointer in enumerate(self.pointers[part]):
            for value, taps in zip(self.load_columns(pointer, first, together, mask), weights, strict=True):
                for i in range(max(0, row - len(taps) + 1), min(ROWS, row + 1)):
                    totals[i] = multiply_add(builder, self.element, value, taps[row - i], totals[i])
        return totals

    def load_weight(self, q, e):
        builder = self.builder
        at = builder.add(builder.mul(self.w_row, _INT64(q)), builder.mul(self.w_column, e))
        return broadcast(builder, builder.load(builder.gep(self.w, [at])), self.vector)

    def load_columns(self, pointer, first, together, mask):
        """What the lanes of a row meet at a kernel column; with steps of 2, at up to 3 columns from that on."""
        if self.step == 1:
            return [self.load(pointer, first, mask)]
        builder, lanes = self.builder, self.vector.count
        begin = builder.add(first, _INT64(1)) if together == 3 else first
        pair = [self.load(pointer, at, mask) for at in (begin, builder.add(begin, _INT64(lanes)))]
        values = [self.shuffle(*pair, range(odd, 2 * lanes, 2)) for odd in (0, 1)]
        if together < 3:
            return values[:together]
        # The first column meets what the last one does, one lane later.
        if mask is None:
            element = builder.load(builder.gep(pointer, [first]))
            before = builder.insert_element(ir.Constant(self.vector, ir.Undefined), element, ir.IntType(32)(0))
        else:
            before = self.load(pointer, first, mask, 1)
        return [self.shuffle(before, values[1], [0, *range(lanes, 2 * lanes - 1)]), *values]

    def load(self, pointer, first, mask, count=None):
        """A vector of a row; unless all of it lies in the row (no mask), those of the first `count` lanes that do."""
        builder, index = self.builder, ir.VectorType(ir.IntType(32), self.vector.count)
        if mask is not None:
            lane = broadcast(builder, builder.trunc(first, index.element), index)
            lane = builder.add(lane, ir.Constant(index, list(range(index.count))))
            mask = builder.icmp_unsigned("<", lane, broadcast(builder, builder.trunc(self.size, index.element), index))
            if count is not None:
                mask = builder.and_(mask, ir.Constant(mask.type, [i < count for i in range(index.count)]))
        return load_vector(builder, builder.gep(pointer, [first]), self.vector, mask)

    def shuffle(self, a, b, order):
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


def clamp(builder, element, value, low, high):
    """The value between two bounds; a NaN stays a NaN."""
    if element in _FLOATS:
        less = builder.fcmp_ordered
    else:
        less = builder.icmp_signed if element.signed else builder.icmp_unsigned
    value = builder.select(less("<", value, low), low, value)
    return builder.select(less("<", high, value), high, value)


def keep_whole(builder):
    """Keep the function around a large intrinsic one piece of code, however many places call it."""
    builder.function.attributes.add("noinline")


@intrinsic
def channel_tile(typingctx, positions, vectors, source, start, step, table, taps, channels, source_channel,
                 w, w_channel, sums, to, sums_step, accumulate):  # fmt: skip
    """Register tile of `positions` outputs by `vectors` vectors of neighbouring output channels, up to `CHANNEL_TILE`.

    `sums[to + p * sums_step + o] (+)= sum over c, t of source[start + p * step + c * source_channel + table[2 t]] *
    w[c * w_channel + table[2 t + 1] + o]`, channels outside, taps inside; there is at least one of each.
    """
    element = source.dtype

    def emit(context, builder, signature, args):
        vector = ir.VectorType(context.get_value_type(element), VECTOR_BYTES * 8 // element.bitwidth)
        keep_whole(builder)
        shapes = [(p, v) for v in range(1, CHANNEL_TILE[1] + 1) for p in range(1, CHANNEL_TILE[0] + 1)]
        blocks = [builder.append_basic_block(f"tile{p}x{v}") for p, v in shapes]
        done = builder.append_basic_block("done")
        number = builder.add(builder.mul(args[1], _INT64(32)), args[0])
        switch = builder.switch(number, done)
        for (p, v), block in zip(shapes, blocks, strict=True):
            switch.add_case(_INT64(32 * v + p), block)
            builder.position_at_end(block)
            _channel_tile(builder, element, vector, p, v, *args[2:])
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, source, n, n, table, n, n, n, w, n, sums, n, n, n), emit


_HALF = 7
_CHAINS = 4  # sums at a time that wait for each other no longer


def pin(builder, value):
    """The value, after all loads before this point and before all loads after it.

    It keeps LLVM from gathering a tile's loads, which takes more registers than there are, and from unrolling its loop.
    """
    kind = ir.FunctionType(value.type, [value.type])
    register = "w" if _ARM else "v" if VECTOR_BYTES == 64 else "x"
    assembly = ir.InlineAsm(kind, "", f"={register},0,~{{memory}}", side_effect=True)
    return builder.call(assembly, [value], attrs=("convergent",))


def _channel_tile(builder, element, vector, positions, vectors, source, start, step, table, taps, channels,
                  source_channel, w, w_channel, sums, to, sums_step, accumulate):  # fmt: skip
    source, sums = builder.gep(source, [start]), builder.gep(sums, [to])
    offsets = [builder.mul(step, _INT64(p)) for p in range(_HALF + 1)]
    where = []
    for p in range(positions):
        row = builder.gep(sums, [builder.mul(sums_step, _INT64(p))])
        where += [builder.gep(row, [_INT64(v * vector.count)]) for v in range(vectors)]
    old, zero = builder.icmp_signed("!=", accumulate, accumulate.type(0)), ir.Constant(vector, None)
    first = [builder.select(old, load_vector(builder, p, vector), zero) for p in where]

    before = builder.block
    outer, inner = builder.append_basic_block("channels"), builder.append_basic_block("taps")
    latch, after = builder.append_basic_block("next_channel"), builder.append_basic_block("store")
    builder.branch(outer)

    builder.position_at_end(outer)
    c, base, weights = builder.phi(_INT64), builder.phi(source.type), builder.phi(w.type)
    carried = [builder.phi(vector) for _ in where]
    builder.branch(inner)

    builder.position_at_end(inner)
    t = builder.phi(_INT64)
    totals = [builder.phi(vector) for _ in where]
    pair = builder.gep(table, [builder.shl(t, _INT64(1))])
    here = builder.gep(base, [builder.load(pair)])
    entry = builder.gep(weights, [builder.load(builder.gep(pair, [_INT64(1)]))])
    kernels = [load_vector(builder, builder.gep(entry, [_INT64(v * vector.count)]), vector) for v in range(vectors)]
    results = []
    for p in range(positions):
        if p == _HALF:  # two bases: few enough offsets for the general registers
            here = builder.gep(here, [offsets[_HALF]])
        value = broadcast(builder, builder.load(builder.gep(here, [offsets[p % _HALF]])), vector)
        results += [multiply_add(builder, element, value, k, totals[len(results) + v]) for v, k in enumerate(kernels)]
        results[-1] = pin(builder, results[-1])
    next_t = builder.add(t, _INT64(1))
    builder.cbranch(builder.icmp_signed("<", next_t, taps), inner, latch)

    builder.position_at_end(latch)
    next_c = builder.add(c, _INT64(1))
    next_base, next_weights = builder.gep(base, [source_channel]), builder.gep(weights, [w_channel])
    builder.cbranch(builder.icmp_signed("<", next_c, channels), outer, after)

    for phi, begin, again in ((c, _INT64(0), next_c), (base, source, next_base), (weights, w, next_weights)):
        phi.add_incoming(begin, before)
        phi.add_incoming(again, latch)
    t.add_incoming(_INT64(0), outer)
    t.add_incoming(next_t, inner)
    for i in range(len(where)):
        carried[i].add_incoming(first[i], before)
        carried[i].add_incoming(results[i], latch)
        totals[i].add_incoming(carried[i], outer)
        totals[i].add_incoming(results[i], inner)

    builder.position_at_end(after)
    for pointer, total in zip(where, results, strict=True):
        store_vector(builder, total, pointer)


def transpose(builder, rows):
    """Rows of a square of vectors become its columns: each stage zips rows that lie half the square apart."""
    lanes = len(rows)
    index = ir.VectorType(ir.IntType(32), lanes)
    zips = [
        ir.Constant(index, [i // 2 + i % 2 * lanes for i in range(half * lanes, (half + 1) * lanes)]) for half in (0, 1)
    ]
    stage = 1
    while stage < lanes:
        pairs = [(rows[i], rows[i + lanes // 2]) for i in range(lanes // 2)]
        rows = [builder.shuffle_vector(a, b, halves) for a, b in pairs for halves in zips]
        stage *= 2
    return rows


def _square(context, builder, array, source, step, rows, lanes, vector, mask):
    """The vectors of `rows` rows; missing ones are zero, and no address outside is formed for them."""
    values = []
    for i in range(vector.count):
        if mask is None:
            at = builder.gep(source, [builder.mul(step, _INT64(i))])
            values.append(load_elements(context, builder, array, at, vector))
            continue
        inside = builder.icmp_signed("<", _INT64(i), rows)
        at = builder.gep(source, [builder.select(inside, builder.mul(step, _INT64(i)), _INT64(0))])
        row_mask = builder.and_(mask, broadcast(builder, inside, mask.type))
        values.append(load_elements(context, builder, array, at, vector, row_mask))
    return values


@intrinsic
def pack_transposed(typingctx, array, start, step, rows, lanes, target, to, target_step):
    """`target[to + j * target_step + i] = array[start + i * step + j]` for `i < rows` and `j < lanes`.

    Of both there is up to a vector. Whole vectors are written: zeros where there is no row.
    """
    element = array.compute
    count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        source, start, step, rows, lanes, target, to, target_step = args
        vector = ir.VectorType(context.get_value_type(element), count)
        source, target = builder.gep(data_of(context, builder, array, source), [start]), builder.gep(target, [to])

        def columns(mask):
            return transpose(builder, _square(context, builder, array, source, step, rows, lanes, vector, mask))

        full = builder.and_(
            builder.icmp_signed(">=", rows, _INT64(count)), builder.icmp_signed(">=", lanes, _INT64(count))
        )
        with builder.if_else(full) as (whole, partly):
            with whole:
                for j, row in enumerate(columns(None)):
                    store_vector(builder, row, builder.gep(target, [builder.mul(target_step, _INT64(j))]))
            with partly:
                mask = first_lanes(builder, lanes, count)
                for j, row in enumerate(columns(mask)):
                    with builder.if_then(builder.icmp_signed("<", _INT64(j), lanes)):
                        store_vector(builder, row, builder.gep(target, [builder.mul(target_step, _INT64(j))]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(array, n, n, n, n, target, n, n), emit


@intrinsic
def store_transposed(typingctx, source, start, step, rows, lanes, array, to, target_step, added, held, low, high):
    """`array[to + j * target_step + i] = source[start + i * step + j] + added[j]`, clamped if `held`, for `i < rows`,
    `j < lanes`, up to a vector each. Whole vectors of the source and of `added` are read; a NaN stays a NaN.
    """
    element = source.dtype
    count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        source, start, step, rows, lanes, target, to, target_step, added, held, low, high = args
        vector = ir.VectorType(context.get_value_type(element), count)
        source, target = builder.gep(source, [start]), builder.gep(data_of(context, builder, array, target), [to])
        added = load_vector(builder, added, vector)
        low, high = broadcast(builder, low, vector), broadcast(builder, high, vector)
        values = []
        for i in range(count):
            inside = builder.icmp_signed("<", _INT64(i), rows)
            at = builder.select(inside, builder.mul(step, _INT64(i)), _INT64(0))
            value = load_vector(builder, builder.gep(source, [at]), vector)
            values.append(add(builder, value, added))
        mask = first_lanes(builder, rows, count)
        full = builder.and_(
            builder.icmp_signed(">=", rows, _INT64(count)), builder.icmp_signed(">=", lanes, _INT64(count))
        )
        values = transpose(builder, values)
        plain, before = [narrow(builder, array, value) for value in values], builder.block
        with builder.if_then(builder.icmp_signed("!=", held, held.type(0))):
            finished, within = [finish(builder, array, value, low, high) for value in values], builder.block
        columns = []
        for value, other in zip(plain, finished, strict=True):
            columns.append(builder.phi(value.type))
            columns[-1].add_incoming(value, before)
            columns[-1].add_incoming(other, within)
        with builder.if_else(full) as (whole, partly):
            with whole:
                for j, column in enumerate(columns):
                    store_vector(builder, column, builder.gep(target, [builder.mul(target_step, _INT64(j))]))
            with partly:
                for j, column in enumerate(columns):
                    with builder.if_then(builder.icmp_signed("<", _INT64(j), lanes)):
                        store_vector(builder, column, builder.gep(target, [builder.mul(target_step, _INT64(j))]), mask)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, n, array, n, n, source, types.boolean, element, element), emit


def add(builder, a, b):
    return builder.fadd(a, b) if a.type.element in _LLVM_FLOATS else builder.add(a, b)


@intrinsic
def limits(typingctx, pointer):
    """The lowest and the highest value of what a pointer points at."""
    element = pointer.dtype

    def emit(context, builder, signature, args):
        low, high = (-math.inf, math.inf) if element in _FLOATS else (element.minval, element.maxval)
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
        if element not in _FLOATS:
            return context.get_constant(types.boolean, True)
        pointer, start, count = args
        pointer = builder.gep(pointer, [start])
        vector = ir.VectorType(context.get_value_type(element), lanes)
        zero = ir.Constant(vector, None)
        totals = [cgutils.alloca_once_value(builder, zero) for _ in range(_CHAINS)]
        step = _INT64(_CHAINS * lanes)
        with cgutils.for_range_slice(builder, _INT64(0), count, step, inc=True) as (offset, _):
            for i, total in enumerate(totals):
                at = builder.add(offset, _INT64(i * lanes))
                at = builder.select(builder.icmp_signed("<", at, count), at, offset)
                value = load_vector(builder, builder.gep(pointer, [at]), vector)
                builder.store(multiply_add(builder, element, value, zero, builder.load(total)), total)
        total = functools.reduce(builder.fadd, [builder.load(total) for total in totals])
        mask = builder.fcmp_unordered("uno", total, zero)
        return builder.icmp_unsigned("==", builder.bitcast(mask, ir.IntType(lanes)), ir.IntType(lanes)(0))

    return types.boolean(pointer, types.intp, types.intp), emit


@intrinsic(prefer_literal=True)
def pack_run(typingctx, target, to, array, start, count, step, left, right, padding):
    """`target[to + j] = array[start + j * step]` for `left <= j < right`, else `padding`; `j < count`, step 1 or 2.

    Nothing else of the array is touched; the target is written in whole vectors, up to one past the run.
    """
    element, every = array.compute, step.literal_value
    lane_count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        target, to, source, start, count, _, left, right, padding = args
        vector = ir.VectorType(context.get_value_type(element), lane_count)
        target, source = builder.gep(target, [to]), builder.gep(data_of(context, builder, array, source), [start])
        filled = broadcast(builder, padding, vector)
        begin = builder.mul(left, _INT64(every))
        # With steps, the element after the last one may lie outside its array.
        end = builder.sub(builder.mul(right, _INT64(every)), _INT64(every - 1))
        result = cgutils.alloca_once(builder, vector)

        def load(at):
            """The vector at an offset of the source, padding in lanes outside of [begin, end)."""
            inside = builder.and_(
                builder.icmp_signed(">=", at, begin),
                builder.icmp_signed("<=", builder.add(at, _INT64(lane_count)), end),
            )
            pointer = builder.gep(source, [at])
            with builder.if_else(inside) as (whole, partly):
                with whole:
                    builder.store(load_elements(context, builder, array, pointer, vector), result)
                with partly:
                    below = first_lanes(builder, builder.sub(end, at), lane_count)
                    above = builder.not_(first_lanes(builder, builder.sub(begin, at), lane_count))
                    mask = builder.and_(below, above)
                    builder.store(load_elements(context, builder, array, pointer, vector, mask, filled), result)
            return builder.load(result)

        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lane_count), inc=True) as (offset, _):
            at = builder.mul(offset, _INT64(every))
            value = load(at)
            if every == 2:
                even = ir.Constant(ir.VectorType(ir.IntType(32), lane_count), list(range(0, 2 * lane_count, 2)))
                value = builder.shuffle_vector(value, load(builder.add(at, _INT64(lane_count))), even)
            store_vector(builder, value, builder.gep(target, [offset]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, array, n, n, step, n, n, element), emit


CHANNELS = 4  # that `pack_channels` takes at a time


@intrinsic
def pack_channels(typingctx, target, to, target_step, array, start, step, count):
    """`target[to + c * target_step + j] = array[start + j * step + c]` for `j < count` and `CHANNELS` channels.

    The target is written in whole vectors, up to one past each run.
    """
    element = array.compute
    lanes = VECTOR_BYTES * 8 // element.bitwidth
    width = min(CHANNELS, lanes)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        target, to, target_step, source, start, step, count = args
        target, source = builder.gep(target, [to]), builder.gep(data_of(context, builder, array, source), [start])
        few = ir.VectorType(context.get_value_type(array.dtype), width)

        def square(offset, rows):
            """Transpose the channels of a vector of positions; those past `rows`, if given, repeat the last one."""
            values = []
            for i in range(lanes):
                place = _INT64(i)
                if rows is not None:
                    last = builder.sub(rows, _INT64(1))
                    place = builder.select(builder.icmp_signed("<", place, last), place, last)
                values.append(builder.gep(source, [builder.mul(builder.add(offset, place), step)]))
            for c in range(0, CHANNELS, width):
                columns = [load_vector(builder, builder.gep(pointer, [_INT64(c)]), few) for pointer in values]
                columns = [widen(builder, array, column) for column in deinterleave(builder, columns)]
                for i, column in enumerate(columns):
                    at = builder.add(builder.mul(target_step, _INT64(c + i)), offset)
                    store_vector(builder, column, builder.gep(target, [at]))

        rest = builder.and_(count, _INT64(lanes - 1))
        whole = builder.sub(count, rest)
        with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(lanes), inc=True) as (offset, _):
            square(offset, None)
        with builder.if_then(builder.icmp_signed(">", rest, _INT64(0))):
            square(whole, rest)
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, n, array, n, n, n), emit


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


@intrinsic
def finish_run(typingctx, array, to, source, start, count, added, low, high):
    """`array[to + j] = clamp(source[start + j] + added, low, high)` for `j < count`; a NaN stays a NaN.

    Whole vectors of the source are read.
    """
    element = source.dtype
    lane_count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        target, to, source, start, count, *numbers = args
        vector = ir.VectorType(context.get_value_type(element), lane_count)
        added, low, high = (broadcast(builder, number, vector) for number in numbers)
        target, source = builder.gep(data_of(context, builder, array, target), [to]), builder.gep(source, [start])

        def body(offset, mask):
            total = add(builder, load_vector(builder, builder.gep(source, [offset]), vector), added)
            store_vector(builder, finish(builder, array, total, low, high), builder.gep(target, [offset]), mask)

        for_vectors(builder, count, lane_count, body)
        return context.get_dummy_value()

    n = types.intp
    return types.void(array, n, source, n, n, element, element, element), emit
