"""Register tiles: an intrinsic here emits a whole tile, so that its sums stay in registers from first load to store."""

import functools
import itertools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import (
    MASKED,
    REGISTERS,
    VECTOR_BYTES,
    broadcast,
    clamp,
    keep_whole,
    load_vector,
    multiply_add,
    pin,
    store_vector,
)

_INT64 = ir.IntType(64)

# Rows and vectors of the register tiles: rows * vectors accumulators, the vectors and a broadcast fill the registers.
TILES = ((8, 3), (4, 6), (2, 6), (1, 6)) if REGISTERS == 32 else ((6, 2), (4, 3), (2, 4), (1, 6))

# Positions and vectors of the largest tile with vectors along output channels; one more vector and a broadcast fit in.
CHANNEL_TILE = (13, 2) if REGISTERS == 32 else (6, 2)


def tile_shapes(element):
    """Rows and most vectors of the register tiles of a type, from the most rows to one."""
    if isinstance(element, types.Complex):  # an output is two rows: sums of products with real, with imaginary parts
        return tuple((rows // 2, vectors) for rows, vectors in TILES[:3])
    return TILES


@intrinsic
def tile_shape(typingctx, target, rows):
    """Rows of the largest tile of up to `rows`, and the most vectors that it has."""
    *shapes, last = tile_shapes(target.dtype)

    def emit(context, builder, signature, args):
        result = [_INT64(n) for n in last]
        for shape in reversed(shapes):
            fits = builder.icmp_signed(">=", args[1], _INT64(shape[0]))
            result = [builder.select(fits, _INT64(n), other) for n, other in zip(shape, result, strict=True)]
        return context.make_tuple(builder, signature.return_type, result)

    return types.UniTuple(types.intp, 2)(target, types.intp), emit


@intrinsic
def tile(typingctx, rows, vectors, source, start, table, taps, channels, source_channel, places, masks, v,
         w, w_start, w_row, w_channel, target, to, target_row, accumulate, initial, i, held, low, high):  # fmt: skip
    """Register tile of `rows` output channels by `vectors` vectors of neighbouring positions, a `tile_shape` or 1.

    `target[to + m * target_row + places[2 * v + 1] + j] = sum over t, c of w[w_start + m * w_row + c * w_channel +
    table[3 * t + 1]] * source[start + places[2 * v] + c * source_channel + table[3 * t] + j]`, added to what it holds
    (`accumulate`) or to `initial[i + m]`, then, if `held`, held between `low` and `high`. Lane `j` is stored where bit
    `j` of `masks[v]` is set; if `MASKED`, it is read for a tap where that of `masks[table[3 * t + 2] + v]` is, else 0.

    Complex numbers are pairs of lanes: `x * w` is `x * w.real` plus `x * w.imag` with its pairs swapped and the first
    of each negated, which is done once, to the sums.
    """
    element = source.dtype

    def emit(context, builder, signature, args):
        rows, vectors, *operands = args
        signature = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        done = builder.append_basic_block("done")
        switch = builder.switch(builder.add(builder.mul(vectors, _INT64(32)), rows), done)
        for m, most in tile_shapes(element):
            for n in (1, most):
                # A function each, so that none prepares what only others need.
                function = ir.Function(builder.module, signature, f"tile.{m}.{n}")
                function.linkage = "internal"
                function.attributes.add("noinline")
                body = ir.IRBuilder(function.append_basic_block())
                _tile(context, body, element, m, n, *function.args)
                body.ret_void()
                block = builder.append_basic_block(f"tile.{m}.{n}")
                switch.add_case(_INT64(32 * n + m), block)
                builder.position_at_end(block)
                builder.call(function, operands)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.intp
    weights = (w, n, n, n)
    return types.void(
        n, n, source, n, table, n, n, n, places, masks, n, *weights, target, n, n, n, initial, n, n, element, element
    ), emit


def _tile(
    context, builder, element, rows, vectors, source, start, table, taps, channels, source_channel, places, masks, v,
    w, w_start, w_row, w_channel, target, to, target_row, accumulate, initial, i, held, low, high,
):  # fmt: skip
    part = getattr(element, "underlying_float", element)
    parts, lanes = element.bitwidth // part.bitwidth, VECTOR_BYTES * 8 // element.bitwidth
    vector = ir.VectorType(context.get_value_type(part), lanes * parts)
    index = ir.VectorType(ir.IntType(32), vector.count)

    def at(pointer, *steps):
        return builder.gep(
            pointer, [functools.reduce(builder.add, [_INT64(s) if isinstance(s, int) else s for s in steps])]
        )

    def repeat(pointer):
        """A vector of one number."""
        value, pointer = ir.Constant(vector, ir.Undefined), builder.bitcast(pointer, vector.element.as_pointer())
        for i in range(parts):
            value = builder.insert_element(value, builder.load(at(pointer, i)), ir.IntType(32)(i))
        return builder.shuffle_vector(value, value, ir.Constant(index, [i % parts for i in range(vector.count)]))

    def lanes_in(word):
        bits = builder.bitcast(builder.trunc(word, ir.IntType(lanes)), ir.VectorType(ir.IntType(1), lanes))
        return builder.shuffle_vector(bits, bits, ir.Constant(index, [i // parts for i in range(vector.count)]))

    def where(m, j):
        return at(target, to, columns[j], builder.mul(target_row, _INT64(m)))

    stored = [builder.load(at(masks, v, j)) for j in range(vectors)]
    place = builder.shl(v, _INT64(1))
    pointers = [at(source, start, builder.load(at(places, place, 2 * j))) for j in range(vectors)]
    columns = [builder.load(at(places, place, 2 * j + 1)) for j in range(vectors)]
    totals = {
        (m, j): [cgutils.alloca_once(builder, vector) for _ in range(parts)]
        for m, j in itertools.product(range(rows), range(vectors))
    }
    zero = ir.Constant(vector, None)
    with builder.if_else(builder.icmp_signed("!=", accumulate, _INT64(0))) as (again, anew):
        with again:
            for (m, j), (total, *_) in totals.items():
                builder.store(load_vector(builder, where(m, j), vector), total)
        with anew:
            values = [repeat(at(initial, i, m)) for m in range(rows)]
            for (m, _), (total, *_) in totals.items():
                builder.store(values[m], total)
    for _, *by_imaginary in totals.values():
        for total in by_imaginary:
            builder.store(zero, total)

    with cgutils.for_range(builder, taps) as tap:
        entry = builder.mul(tap.index, _INT64(3))
        offset, weight, row = (builder.load(at(table, entry, i)) for i in range(3))
        read = [lanes_in(builder.load(at(masks, row, v, j))) if MASKED else None for j in range(vectors)]
        with cgutils.for_range(builder, channels) as channel:
            here = builder.add(offset, builder.mul(channel.index, source_channel))
            values = [load_vector(builder, at(p, here), vector, mask) for p, mask in zip(pointers, read, strict=True)]
            values[0] = pin(builder, values[0])
            there = at(w, w_start, weight, builder.mul(channel.index, w_channel))
            for m in range(rows):
                number = builder.bitcast(at(there, builder.mul(w_row, _INT64(m))), vector.element.as_pointer())
                for i in range(parts):
                    factor = broadcast(builder, builder.load(at(number, i)), vector)
                    for j, value in enumerate(values):
                        total = totals[m, j][i]
                        builder.store(multiply_add(builder, part, value, factor, builder.load(total)), total)

    for pair in totals.values():
        if parts == 2:
            builder.store(join_parts(builder, part, *map(builder.load, pair)), pair[0])
    if parts == 1:
        with builder.if_then(builder.icmp_signed("!=", held, _INT64(0))):
            low, high = broadcast(builder, low, vector), broadcast(builder, high, vector)
            for (total,) in totals.values():
                builder.store(clamp(builder, element, builder.load(total), low, high), total)
    for j, word in enumerate(stored):
        whole = builder.icmp_unsigned("==", word, word.type((1 << lanes) - 1))
        some = lanes_in(word)
        with builder.if_else(whole) as (then, otherwise):
            for block, mask in ((then, None), (otherwise, some)):
                with block:
                    for m in range(rows):
                        store_vector(builder, builder.load(totals[m, j][0]), where(m, j), mask)


def join_parts(builder, part, by_real, by_imaginary):
    """Complex sums, of products with real parts and with imaginary parts."""
    pairs = range(by_real.type.count)
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(pairs)), [i ^ 1 for i in pairs])
    signs = by_real.type([2.0 * (i % 2) - 1 for i in pairs])
    return multiply_add(builder, part, builder.shuffle_vector(by_imaginary, by_imaginary, order), signs, by_real)


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
