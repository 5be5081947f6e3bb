"""Runs and squares of elements, packed, transposed, converted and stored by whole vectors."""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import data_of, narrow, widen
from .vectors import (
    VECTOR_BYTES,
    add,
    broadcast,
    deinterleave,
    finish,
    first_lanes,
    for_vectors,
    is_apart,
    keep_whole,
    load_elements,
    load_vector,
    prefetch,
    scatter,
    split_turns,
    store_apart,
    store_vector,
    transpose,
    unpack,
    zip_orders,
)

_INT64 = ir.IntType(64)


@intrinsic(prefer_literal=True)
def pack_run(typingctx, target, to, array, start, count, step, left, right, padding):
    """`target[to + j] = array[start + j * step]` for `left <= j < right`, else `padding`; `j < count`, step 1 or 2.

    Nothing else of the array is touched. The target is written by full vectors: the last one may end past the run.
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
            """The vector at an offset of the source; lanes outside of `[begin, end)` are padding."""
            inside = builder.and_(
                builder.icmp_signed(">=", at, begin),
                builder.icmp_signed("<=", builder.add(at, _INT64(lane_count)), end),
            )
            pointer = builder.gep(source, [at])
            with builder.if_else(inside) as (full, partly):
                with full:
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


@intrinsic
def prefetch_run(typingctx, array, start, count):
    """Ask for the cache lines of `count` elements from `start` on."""
    line = 64 * 8 // array.dtype.bitwidth

    def emit(context, builder, signature, args):
        source, start, count = args
        source = builder.gep(data_of(context, builder, array, source), [start])
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(line), inc=True) as (offset, _):
            prefetch(builder, builder.gep(source, [offset]))
        prefetch(builder, builder.gep(source, [builder.sub(count, _INT64(1))]))  # of a line that none of these met
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), emit


CHANNELS = 4  # that `pack_channels` takes at a time


@intrinsic
def pack_channels(typingctx, target, to, target_step, array, start, step, count):
    """`target[to + c * target_step + j] = array[start + j * step + c]` for `j < count` and `CHANNELS` channels.

    The target is written by full vectors: the last one of a run may end past it.
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


def _load_rows(context, builder, array, source, step, rows, vector, mask):
    """As many rows as a vector has lanes; those from `rows` on repeat the last one: no address outside is formed."""
    values, last = [], builder.sub(rows, _INT64(1))
    for i in range(vector.count):
        row = _INT64(i)
        if mask is not None:
            row = builder.select(builder.icmp_signed("<", row, last), row, last)
        at = builder.gep(source, [builder.mul(step, row)])
        values.append(load_elements(context, builder, array, at, vector, mask))
    return values


@intrinsic
def pack_transposed(typingctx, array, start, step, rows, lanes, target, to, target_step):
    """`target[to + j * target_step + i] = array[start + i * step + j]` for `i < rows` and `j < lanes`.

    There are at most as many rows, and columns (`lanes`), as a vector has lanes. Full vectors are written: zeros
    where there is no row.
    """
    element = array.compute
    count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        source, start, step, rows, lanes, target, to, target_step = args
        vector = ir.VectorType(context.get_value_type(element), count)
        source, target = builder.gep(data_of(context, builder, array, source), [start]), builder.gep(target, [to])

        def columns(mask):
            return transpose(builder, _load_rows(context, builder, array, source, step, rows, vector, mask))

        full = builder.and_(
            builder.icmp_signed(">=", rows, _INT64(count)), builder.icmp_signed(">=", lanes, _INT64(count))
        )
        with builder.if_else(full) as (fully, partly):
            with fully:
                for j, row in enumerate(columns(None)):
                    store_vector(builder, row, builder.gep(target, [builder.mul(target_step, _INT64(j))]))
            with partly:
                real, zero = first_lanes(builder, rows, count), ir.Constant(vector, None)
                for j, row in enumerate(columns(first_lanes(builder, lanes, count))):
                    with builder.if_then(builder.icmp_signed("<", _INT64(j), lanes)):
                        row = builder.select(real, row, zero)
                        store_vector(builder, row, builder.gep(target, [builder.mul(target_step, _INT64(j))]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(array, n, n, n, n, target, n, n), emit


TURNS = 4  # that `pack_turns` takes at the most


@intrinsic
def pack_turns(typingctx, target, to, target_step, array, start, every, count):
    """`target[to + t * target_step + j] = array[start + j * every + t]` for `t < every <= TURNS` and `j < count`.

    Full vectors are written: zeros behind the last element.
    """
    element = array.compute
    lanes = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        target, to, target_step, source, start, every, count = args
        vector = ir.VectorType(context.get_value_type(element), lanes)
        target, source = builder.gep(target, [to]), builder.gep(data_of(context, builder, array, source), [start])

        def split(turns, offset, mask):
            begin = builder.mul(offset, _INT64(turns))
            rest = builder.sub(builder.mul(count, _INT64(turns)), begin)
            vectors = []
            for i in range(turns):
                some = () if mask is None else (first_lanes(builder, builder.sub(rest, _INT64(i * lanes)), lanes),)
                at = builder.gep(source, [builder.add(begin, _INT64(i * lanes))])
                vectors.append(load_elements(context, builder, array, at, vector, *some))
            for t, value in enumerate(split_turns(builder, vectors)):
                at = builder.add(builder.mul(target_step, _INT64(t)), offset)
                store_vector(builder, value, builder.gep(target, [at]))

        for turns in range(2, TURNS + 1):
            with builder.if_then(builder.icmp_signed("==", every, _INT64(turns))):
                for_vectors(builder, count, lanes, functools.partial(split, turns))
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, n, array, n, n, n), emit


@intrinsic
def finish_transposed(typingctx, array, to, target_step, apart, source, start, step, rows, lanes, added, bounds):
    """`array[to + j * target_step + i * apart] = clamp(source[start + i * step + j] + added[j])`.

    That is for `i < rows` and `j < lanes`, of which there are at most as many as a vector has lanes. Full vectors of
    the source and of `added` are read; a NaN stays a NaN.
    """
    element = source.dtype
    count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        target, to, target_step, apart, source, start, step, rows, lanes, added, limits = args
        limits = unpack(builder, bounds, limits)
        vector = ir.VectorType(context.get_value_type(element), count)
        source, target = builder.gep(source, [start]), builder.gep(data_of(context, builder, array, target), [to])
        added = load_vector(builder, added, vector)
        low, high = broadcast(builder, limits.low, vector), broadcast(builder, limits.high, vector)
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
        with builder.if_then(builder.icmp_signed("!=", limits.is_clamped, limits.is_clamped.type(0))):
            finished, within = [finish(builder, array, value, low, high) for value in values], builder.block
        columns = []
        for value, other in zip(plain, finished, strict=True):
            columns.append(builder.phi(value.type))
            columns[-1].add_incoming(value, before)
            columns[-1].add_incoming(other, within)
        pointers = [builder.gep(target, [builder.mul(target_step, _INT64(j))]) for j in range(count)]
        with builder.if_else(is_apart(builder, apart)) as (near, far):
            with far:
                few = builder.select(builder.icmp_signed("<", lanes, _INT64(count)), lanes, _INT64(count))
                scatter(builder, columns, target, target_step, apart, few, rows)
            with near, builder.if_else(full) as (fully, partly):
                with fully:
                    for column, at in zip(columns, pointers, strict=True):
                        store_apart(builder, column, at, apart)
                with partly:
                    for j, (column, at) in enumerate(zip(columns, pointers, strict=True)):
                        with builder.if_then(builder.icmp_signed("<", _INT64(j), lanes)):
                            store_apart(builder, column, at, apart, mask)
        return context.get_dummy_value()

    n = types.intp
    return types.void(array, n, n, n, source, n, n, n, n, source, bounds), emit


@intrinsic
def finish_run(typingctx, array, to, apart, source, start, count, added, low, high):
    """`array[to + j * apart] = clamp(source[start + j] + added, low, high)` for `j < count`; a NaN stays a NaN.

    Full vectors of the source are read.
    """
    element = source.dtype
    lane_count = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        target, to, apart, source, start, count, *numbers = args
        vector = ir.VectorType(context.get_value_type(element), lane_count)
        added, low, high = (broadcast(builder, number, vector) for number in numbers)
        target, source = builder.gep(data_of(context, builder, array, target), [to]), builder.gep(source, [start])

        def body(offset, mask):
            total = add(builder, load_vector(builder, builder.gep(source, [offset]), vector), added)
            at = builder.gep(target, [builder.mul(offset, apart)])
            value = finish(builder, array, total, low, high)
            with builder.if_else(is_apart(builder, apart)) as (near, far):
                with near:
                    store_apart(builder, value, at, apart, mask)
                with far:
                    left = _INT64(lane_count) if mask is None else builder.sub(count, offset)
                    scatter(builder, [value], at, _INT64(0), apart, _INT64(1), left)

        for_vectors(builder, count, lane_count, body)
        return context.get_dummy_value()

    n = types.intp
    return types.void(array, n, n, source, n, n, element, element, element), emit


@intrinsic
def finish_pair(typingctx, array, to, source, even, odd, count, added):
    """`array[to + 2 * j] = source[even + j] + added`, and `array[to + 2 * j + 1]` from `odd`: `count` elements in all.

    Full vectors of the source are read.
    """
    element = source.dtype
    lanes = VECTOR_BYTES * 8 // element.bitwidth

    def emit(context, builder, signature, args):
        target, to, source, even, odd, count, added = args
        vector = ir.VectorType(context.get_value_type(element), lanes)
        added = broadcast(builder, added, vector)
        target = builder.gep(data_of(context, builder, array, target), [to])
        starts = [builder.gep(source, [start]) for start in (even, odd)]

        def body(offset, mask):
            at = builder.lshr(offset, _INT64(1))
            pair = [add(builder, load_vector(builder, builder.gep(p, [at]), vector), added) for p in starts]
            for half, order in enumerate(zip_orders(lanes)):
                value = narrow(builder, array, builder.shuffle_vector(*pair, order))
                some = mask
                if mask is not None:
                    left = builder.sub(count, builder.add(offset, _INT64(half * lanes)))
                    some = first_lanes(builder, left, lanes)
                store_vector(builder, value, builder.gep(target, [builder.add(offset, _INT64(half * lanes))]), some)

        for_vectors(builder, count, 2 * lanes, body)
        return context.get_dummy_value()

    n = types.intp
    return types.void(array, n, source, n, n, n, element), emit
