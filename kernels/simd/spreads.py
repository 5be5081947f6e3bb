"""Vector code of the adjoint of average pools, on lines of floats in the workspace: added up, and stored in turns.

Lines are read and written in whole vectors, up to one past their ends: what is read soon is not written in part.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import cast, data_of, narrow, widen
from .vectors import VECTOR_BYTES, broadcast, first_lanes, for_vectors, load_vector, store_vector

TURNS = 8  # the most residues that are stored in turns
GAP = VECTOR_BYTES // 4  # elements between lines, which vectors may reach into
_INT64, _INT32 = ir.IntType(64), ir.IntType(32)


def _vector(context, pointer):
    """A vector of what a pointer points at."""
    return ir.VectorType(context.get_value_type(pointer.dtype), VECTOR_BYTES * 8 // pointer.dtype.bitwidth)


def _at(builder, pointer, *offsets):
    for offset in offsets:
        pointer = builder.gep(pointer, [offset])
    return pointer


def _for_whole(builder, count, lanes, body):
    """`body(offset)` for each vector of a run, the last of which may end past it."""
    with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lanes), inc=True) as (offset, _):
        body(offset)


@intrinsic
def add_means(typingctx, line, means, start, count, factor, factors, is_first):
    """`line[q] = means[start + q] * factor * factors[q]`, added to what the line holds unless this `is_first`.

    Past the end are zeros, if the factors are zeros there.
    """

    def emit(context, builder, signature, args):
        line_value, array, start, count, factor, factors_value, is_first = args
        vector, stored = _vector(context, line), context.get_value_type(means.dtype)
        same, data = broadcast(builder, factor, vector), _at(builder, data_of(context, builder, means, array), start)

        def step(offset, mask, adds):
            value = load_vector(builder, _at(builder, data, offset), ir.VectorType(stored, vector.count), mask)
            value = cast(builder, widen(builder, means, value), means.compute, line.dtype)
            both = builder.fmul(load_vector(builder, _at(builder, factors_value, offset), vector), same)
            product, target = builder.fmul(value, both), _at(builder, line_value, offset)
            if adds:
                product = builder.fadd(load_vector(builder, target, vector), product)
            store_vector(builder, product, target)

        with builder.if_else(is_first) as (first, more):
            with first:
                for_vectors(builder, count, vector.count, lambda offset, mask: step(offset, mask, False))
            with more:
                for_vectors(builder, count, vector.count, lambda offset, mask: step(offset, mask, True))
        return context.get_dummy_value()

    n = types.intp
    return types.void(line, means, n, n, line.dtype, factors, types.boolean), emit


@intrinsic
def add_line(typingctx, sums, to, line, at, count):
    """`sums[to + m] += line[at + m]`."""

    def emit(context, builder, signature, args):
        sums_value, to, line_value, at, count = args
        vector = _vector(context, sums)

        def step(offset):
            target, source = _at(builder, sums_value, to, offset), _at(builder, line_value, at, offset)
            store_vector(
                builder, builder.fadd(*(load_vector(builder, each, vector) for each in (target, source))), target
            )

        _for_whole(builder, count, vector.count, step)
        return context.get_dummy_value()

    n = types.intp
    return types.void(sums, n, line, n, n), emit


@intrinsic
def add_number(typingctx, sums, to, count, value):
    """`sums[to + m] += value`."""

    def emit(context, builder, signature, args):
        sums_value, to, count, value = args
        vector = _vector(context, sums)
        same = broadcast(builder, value, vector)

        def step(offset, mask):
            target = _at(builder, sums_value, to, offset)
            store_vector(builder, builder.fadd(load_vector(builder, target, vector, mask), same), target, mask)

        for_vectors(builder, count, vector.count, step)
        return context.get_dummy_value()

    return types.void(sums, types.intp, types.intp, sums.dtype), emit


@intrinsic
def clear(typingctx, sums, count):
    """So many zeros, and up to a vector more."""

    def emit(context, builder, signature, args):
        vector = _vector(context, sums)
        zeros = ir.Constant(vector, None)
        _for_whole(builder, args[1], vector.count,
                   lambda offset: store_vector(builder, zeros, _at(builder, args[0], offset)))  # fmt: skip
        return context.get_dummy_value()

    return types.void(sums, types.intp), emit


@intrinsic
def fill_run(typingctx, out, to, count, value):
    """`out[to + j] = value`, rounded to what the memory of `out` holds."""

    def emit(context, builder, signature, args):
        array, to, count, value = args
        data, value = _at(builder, data_of(context, builder, out, array), to), narrow(builder, out, value)
        same = broadcast(builder, value, ir.VectorType(value.type, VECTOR_BYTES * 8 // out.compute.bitwidth))
        for_vectors(builder, count, same.type.count,
                    lambda offset, mask: store_vector(builder, same, _at(builder, data, offset), mask))  # fmt: skip
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, out.compute), emit


@intrinsic
def copy_run(typingctx, out, to, at, count):
    """`out[to + j] = out[at + j]`, for runs that do not overlap."""

    def emit(context, builder, signature, args):
        array, to, at, count = args
        data = data_of(context, builder, out, array)
        vector = ir.VectorType(context.get_value_type(out.dtype), VECTOR_BYTES * 8 // out.compute.bitwidth)

        def step(offset, mask):
            value = load_vector(builder, _at(builder, data, at, offset), vector, mask)
            store_vector(builder, value, _at(builder, data, to, offset), mask)

        for_vectors(builder, count, vector.count, step)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, types.intp), emit


@intrinsic
def store_turns(typingctx, out, to, count, sums, at, pitch, turns):
    """`out[to + j] = sums[at + j % turns * pitch + j // turns]`, rounded, for `turns` from 1 to `TURNS`."""

    def emit(context, builder, signature, args):
        array, to, count, sums_value, at, pitch, turns = args
        vector = _vector(context, sums)
        data, lanes = _at(builder, data_of(context, builder, out, array), to), vector.count

        def weave(parts, v):
            """Vector `v` of those that the parts make in turns."""
            result = parts[0]
            for t in range(len(parts)):
                order = []
                for lane in range(lanes):
                    m, turn = divmod(v * lanes + lane, len(parts))
                    order.append(lanes + m if turn == t else lane)
                result = builder.shuffle_vector(result, parts[t], ir.Constant(ir.VectorType(_INT32, lanes), order))
            return result

        def of_turns(number):
            stride = number * lanes
            with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(stride), inc=True) as (offset, _):
                m = builder.sdiv(offset, _INT64(number)) if number > 1 else offset
                parts = [
                    load_vector(builder, _at(builder, sums_value, at, builder.mul(pitch, _INT64(t)), m), vector)
                    for t in range(number)
                ]
                left, target = builder.sub(count, offset), _at(builder, data, offset)
                vectors = [narrow(builder, out, weave(parts, v) if number > 1 else parts[0]) for v in range(number)]
                with builder.if_else(builder.icmp_signed(">=", left, _INT64(stride))) as (whole, part):
                    with whole:
                        for v, value in enumerate(vectors):
                            store_vector(builder, value, _at(builder, target, _INT64(v * lanes)))
                    with part:
                        for v, value in enumerate(vectors):
                            mask = first_lanes(builder, builder.sub(left, _INT64(v * lanes)), lanes)
                            store_vector(builder, value, _at(builder, target, _INT64(v * lanes)), mask)

        after = builder.append_basic_block("after")
        first = builder.append_basic_block("turns_1")
        switch = builder.switch(turns, first)
        for number in range(1, TURNS + 1):
            block = first if number == 1 else builder.append_basic_block(f"turns_{number}")
            if number > 1:
                switch.add_case(_INT64(number), block)
            builder.position_at_end(block)
            of_turns(number)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    n = types.intp
    return types.void(out, n, n, sums, n, n, n), emit
