"""Vector code for the host's registers: the only LLVM IR of the kernels' arithmetic.

An intrinsic here emits a whole register tile, so that its accumulators stay in registers from the first load to the store.
Widths come from the CPU that Numba compiles for, `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` included.
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic

_FLOATS = {types.float32: "f32", types.float64: "f64"}
_INT64 = ir.IntType(64)


def _registers():
    """Bytes of a vector register, and how many there are."""
    listed = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    features = set(listed.split(","))
    if "+avx512f" in features:
        return 64, 32
    if "+avx" in features:
        return 32, 16
    return 16, 32 if platform.machine().lower() in ("aarch64", "arm64") else 16


VECTOR_BYTES, REGISTERS = _registers()
# Rows and vectors of the register tiles: rows * vectors accumulators, the vectors and a broadcast fill the registers.
TILES = ((8, 3), (4, 6), (2, 6), (1, 6)) if REGISTERS == 32 else ((6, 2), (4, 3), (2, 4), (1, 6))


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


def load_vector(builder, pointer, vector, mask=None):
    """A vector from any address of an element; lanes outside the mask are not touched."""
    element = vector.element
    size = {"i32": 4, "i64": 8, "float": 4, "double": 8}[str(element)]
    if mask is None:
        return builder.load(pointer, typ=vector, align=size)
    kind = {"float": "f32", "double": "f64"}.get(str(element), str(element))
    signature = ir.FunctionType(vector, [pointer.type, ir.IntType(32), mask.type, vector])
    name = f"llvm.masked.load.v{vector.count}{kind}.p0"
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, [pointer, ir.IntType(32)(size), mask, ir.Constant(vector, None)])


def store_vector(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=1)


def first_lanes(builder, count, lanes):
    """Mask of the first `count` of `lanes` lanes."""
    index = ir.Constant(ir.VectorType(_INT64, lanes), list(range(lanes)))
    return builder.icmp_signed("<", index, broadcast(builder, count, index.type))


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

    `sums[m, j] (+)= sum over e of w[w_start + m * w_row + e * w_entry] * source[start + table[e] + j]`. With one vector only its
    first `lanes` positions are read; the rest of the vector is stored, too, and means nothing.
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
