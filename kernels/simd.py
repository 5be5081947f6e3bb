"""Vector code for the host's registers: the LLVM IR of the kernels' arithmetic, that of the pools apart.

An intrinsic here emits a whole register tile, so that its sums stay in registers from the first load to the store.
Widths come from the CPU that Numba compiles for, `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` included.
"""

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

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
# Rows and vectors of the register tiles: rows * vectors accumulators, the vectors and a broadcast fill the registers.
TILES = ((8, 3), (4, 6), (2, 6), (1, 6)) if REGISTERS == 32 else ((6, 2), (4, 3), (2, 4), (1, 6))

ROWS = 4  # rows of a row tile
ROW_VECTORS = 3 if REGISTERS == 32 else 1


def is_vector_type(element):
    """Whether a register tile exists for a Numba type: real numbers of 32 or 64 bits."""
    return element in _FLOATS or (isinstance(element, types.Integer) and element.bitwidth >= 32)


@intrinsic
def lanes_of(typingctx, pointer):
    """Elements of a vector of what a pointer points at."""

    def emit(context, builder, signature, args):
        return context.get_constant(types.intp, VECTOR_BYTES * 8 // pointer.dtype.bitwidth)

    return types.intp(pointer), emit


@intrinsic
def has_vectors(typingctx, pointer):
    """`is_vector_type` of what a pointer points at, known when compiling."""

    def emit(context, builder, signature, args):
        return context.get_constant(types.boolean, is_vector_type(pointer.dtype))

    return types.boolean(pointer), emit


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
    """
    element = source.dtype
    mr, nv = rows.literal_value, vectors.literal_value
    lane_count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        _, _, source, start, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate, lanes = (
            args
        )
        vector = ir.VectorType(context.get_value_type(element), lane_count)
        mask = first_lanes(builder, lanes, lane_count) if nv == 1 else None
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

        before = builder.block
        loop, after = builder.append_basic_block("entries"), builder.append_basic_block("store")
        builder.cbranch(builder.icmp_signed(">", count, _INT64(0)), loop, after)

        builder.position_at_end(loop)
        e = builder.phi(_INT64)
        e.add_incoming(_INT64(0), before)
        totals = [[builder.phi(vector) for _ in row] for row in where]
        base = builder.gep(source, [builder.load(builder.gep(table, [e]))])
        values = [load_vector(builder, builder.gep(base, [_INT64(j * lane_count)]), vector, mask) for j in range(nv)]
        entry = builder.gep(w, [builder.mul(e, w_entry)])
        results = []
        for m in range(mr):
            scalar = builder.load(builder.gep(entry, [builder.mul(w_row, _INT64(m))]))
            weight = broadcast(builder, scalar, vector)
            results.append([multiply_add(builder, element, values[j], weight, totals[m][j]) for j in range(nv)])
        following = builder.add(e, _INT64(1))
        e.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        for m in range(mr):
            for j in range(nv):
                totals[m][j].add_incoming(first[m][j], before)
                totals[m][j].add_incoming(results[m][j], loop)

        builder.position_at_end(after)
        for m in range(mr):
            for j in range(nv):
                total = builder.phi(vector)
                total.add_incoming(first[m][j], before)
                total.add_incoming(results[m][j], loop)
                results[m][j] = total
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


@intrinsic(prefer_literal=True)
def row_tile(typingctx, taps, vectors, source, start, pitch, table, first, count, w, w_start, w_tap, w_entry,
             target, to, target_pitch, accumulate, initial, lanes):  # fmt: skip
    """Register tile of `ROWS` rows of one output channel by `vectors` vectors, for `taps` kernel rows at a time.

    `target[i, j] = sum over e, q of w[q * w_tap + e * w_entry] * source[table[first + e] + (i + q) * pitch + j]`, added
    to what it holds (`accumulate`) or to `initial`: each input vector is loaded once for all the outputs that use it.
    With one vector, only its first `lanes` positions are touched.
    """
    element = source.dtype
    nq, nv = taps.literal_value, vectors.literal_value
    lane_count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        _, _, source, start, pitch, table, first, count, w, w_start, w_tap, w_entry, *rest = args
        target, to, target_pitch, accumulate, initial, lanes = rest
        vector = ir.VectorType(context.get_value_type(element), lane_count)
        mask = first_lanes(builder, lanes, lane_count) if nv == 1 else None
        source, w, table = builder.gep(source, [start]), builder.gep(w, [w_start]), builder.gep(table, [first])

        def position(pitch, i, j):
            return builder.add(builder.mul(pitch, _INT64(i)), _INT64(j * lane_count))

        target = builder.gep(target, [to])
        where = [[builder.gep(target, [position(target_pitch, i, j)]) for j in range(nv)] for i in range(ROWS)]
        old = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        fresh = broadcast(builder, initial, vector)
        begin = [[builder.select(old, load_vector(builder, p, vector, mask), fresh) for p in row] for row in where]

        before, loop = builder.block, builder.append_basic_block("columns")
        after = builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        e = builder.phi(_INT64)
        e.add_incoming(_INT64(0), before)
        totals = [[builder.phi(vector) for _ in row] for row in where]
        results = [list(row) for row in totals]
        base = builder.gep(source, [builder.load(builder.gep(table, [e]))])
        entry = builder.gep(w, [builder.mul(e, w_entry)])
        weights = [
            broadcast(builder, builder.load(builder.gep(entry, [builder.mul(w_tap, _INT64(q))])), vector)
            for q in range(nq)
        ]
        for row in range(ROWS + nq - 1):
            for j in range(nv):
                value = load_vector(builder, builder.gep(base, [position(pitch, row, j)]), vector, mask)
                for i in range(max(0, row - nq + 1), min(ROWS, row + 1)):
                    results[i][j] = multiply_add(builder, element, value, weights[row - i], results[i][j])
        following = builder.add(e, _INT64(1))
        e.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        for i in range(ROWS):
            for j in range(nv):
                totals[i][j].add_incoming(begin[i][j], before)
                totals[i][j].add_incoming(results[i][j], loop)

        builder.position_at_end(after)
        for i in range(ROWS):
            for j in range(nv):
                store_vector(builder, results[i][j], where[i][j], mask)
        return context.get_dummy_value()

    n = types.intp
    signature = types.void(taps, vectors, source, n, n, table, n, n, w, n, n, n, target, n, n, n, element, n)
    return signature, emit


@intrinsic(prefer_literal=True)
def pack_run(typingctx, target, to, source, start, count, step, left, right, padding):
    """`target[to + j] = source[start + j * step]` for `left <= j < right`, else `padding`; `j < count`, step 1 or 2.

    Nothing else of the source is touched; the target is written in whole vectors, up to one past the run.
    """
    element, every = source.dtype, step.literal_value
    lane_count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        target, to, source, start, count, _, left, right, padding = args
        vector = ir.VectorType(context.get_value_type(element), lane_count)
        target, source = builder.gep(target, [to]), builder.gep(source, [start])
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
                    builder.store(load_vector(builder, pointer, vector), result)
                with partly:
                    below = first_lanes(builder, builder.sub(end, at), lane_count)
                    above = builder.not_(first_lanes(builder, builder.sub(begin, at), lane_count))
                    builder.store(load_vector(builder, pointer, vector, builder.and_(below, above), filled), result)
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
    return types.void(target, n, source, n, n, step, n, n, element), emit


@intrinsic
def add_run(typingctx, target, to, source, start, count, value):
    """`target[to + j] = source[start + j] + value` for `j < count`. Whole vectors of the source are read."""
    lane_count = VECTOR_BYTES * 8 // target.dtype.bitwidth

    def emit(context, builder, signature, args):
        target, to, source, start, count, value = args
        vector = ir.VectorType(value.type, lane_count)
        added = broadcast(builder, value, vector)
        target, source = builder.gep(target, [to]), builder.gep(source, [start])

        def add(offset, mask):
            total = load_vector(builder, builder.gep(source, [offset]), vector)
            total = builder.fadd(total, added) if value.type in _LLVM_FLOATS else builder.add(total, added)
            store_vector(builder, total, builder.gep(target, [offset]), mask)

        for_vectors(builder, count, lane_count, add)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp, target.dtype), emit
