"""Register tiles: an intrinsic here emits a whole tile, so that its sums stay in registers from first load to store."""

import functools
import itertools
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import (
    MASKED,
    REGISTERS,
    VECTOR_BYTES,
    add,
    broadcast,
    clamp,
    keep_whole,
    load_vector,
    multiply_add,
    pin,
    store_vector,
    unpack,
)

_INT64 = ir.IntType(64)

# Rows and vectors of the register tiles: rows * vectors accumulators, the vectors and a broadcast fill the registers.
TILES = ((8, 3), (4, 6), (2, 6), (1, 6)) if REGISTERS == 32 else ((6, 2), (4, 3), (2, 4), (1, 6))

# Positions and vectors of the largest tile with vectors along output channels; one more vector and a broadcast fit in.
CHANNEL_TILE = (13, 2) if REGISTERS == 32 else (6, 2)


LANE_TILE = 12  # positions of the largest tile with vectors along groups; one more vector fits in, or two


class Inputs(NamedTuple):
    """What a tile multiplies: it starts at an element, and its channels lie `channel` elements apart."""

    elements: Any  # a pointer
    start: int
    channel: int


class Weights(NamedTuple):
    """What inputs are multiplied with: the steps lead to the next output channel and to the next channel."""

    elements: Any
    start: int
    output: int
    channel: int


class Taps(NamedTuple):
    """The terms of each sum: `count` taps of each of so many channels."""

    table: Any  # words for each tap: where it lies in the inputs, in the weights
    count: int
    channels: int


class Places(NamedTuple):
    """Positions anywhere, from number `first` on."""

    inputs: Any  # a word for each: where it lies in the inputs
    sums: Any  # where in the target
    first: int


class Positions(NamedTuple):
    """Vectors of positions, from number `first` on."""

    offsets: Any  # two for each vector: where it lies in the inputs, and where in the target
    masks: Any  # words with a bit for each lane: those of the vectors to be stored, then others that the taps name
    first: int


class Target(NamedTuple):
    """Where sums are stored, the rows of a tile `row` elements apart."""

    elements: Any
    start: int
    row: int


class Added(NamedTuple):
    """What is added to sums: first what the target holds (`accumulate`), last a value, from that of row `first` on."""

    accumulate: bool
    values: Any
    first: int


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
def tile(typingctx, rows, vectors, inputs, taps, positions, weights, target, added, bounds):
    """Register tile of `rows` output channels by `vectors` vectors of neighbouring positions, a `tile_shape` or 1.

    `target[m * target.row + j] = sum over t, c of weights[m * weights.output + c * weights.channel + W] *
    inputs[c * inputs.channel + X + j] + added[m]`, clamped to the bounds. The table has three words `X, W, M` for each
    tap, and vectors begin at their `positions.offsets`. Lane `j` of vector `v` is stored where bit `j` of
    `positions.masks[v]` is set; if `MASKED`, it is read for a tap where bit `j` of `positions.masks[M + v]` is set,
    else 0 stands for it.

    Complex numbers are pairs of lanes: `x * w` is `x * w.real` plus `x * w.imag` with its pairs swapped and the first
    of each negated, which is done once, to the sums.
    """
    element = Inputs(*inputs.types).elements.dtype
    kinds = inputs, taps, positions, weights, target, added, bounds

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
                groups = [unpack(body, kind, value) for kind, value in zip(kinds, function.args, strict=True)]
                _Tile(context, body, element, m, n, groups).emit()
                body.ret_void()
                block = builder.append_basic_block(f"tile.{m}.{n}")
                switch.add_case(_INT64(32 * n + m), block)
                builder.position_at_end(block)
                builder.call(function, operands)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, *kinds), emit


@intrinsic
def pack_panel(typingctx, vectors, inputs, taps, positions, panel):
    """What a `tile` of so many vectors, the most of its shape or 1, reads: `panel[tap][channel][vector]`."""
    element = Inputs(*inputs.types).elements.dtype

    def emit(context, builder, signature, args):
        vectors, *operands = args
        panel = operands.pop()
        groups = [unpack(builder, kind, value) for kind, value in zip(signature.args[1:-1], operands, strict=True)]
        done = builder.append_basic_block("done")
        most = tile_shapes(element)[0][1]
        blocks = [(n, builder.append_basic_block(f"panel{n}")) for n in (1, most)]
        switch = builder.switch(vectors, done)
        for n, block in blocks:
            switch.add_case(_INT64(n), block)
            builder.position_at_end(block)
            _Panel(context, builder, element, n, *groups).emit(panel)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(types.intp, inputs, taps, positions, panel), emit


class _Reader:
    """The code that reads vectors of inputs, tap by tap and channel by channel."""

    def __init__(self, context, builder, element, vectors, inputs, taps, positions):
        self.builder, self.element, self.vectors = builder, element, vectors
        self.inputs, self.taps, self.positions = inputs, taps, positions
        self.part = getattr(element, "underlying_float", element)
        self.parts = element.bitwidth // self.part.bitwidth
        self.lanes = VECTOR_BYTES * 8 // element.bitwidth  # elements of a vector
        self.vector = ir.VectorType(context.get_value_type(self.part), self.lanes * self.parts)
        self.index = ir.VectorType(ir.IntType(32), self.vector.count)

    def offsets(self, of_target):
        """Where the vectors lie in the inputs, or in the target."""
        pair, first = self.builder.shl(self.positions.first, _INT64(1)), int(of_target)
        return [self.builder.load(self.at(self.positions.offsets, pair, 2 * j + first)) for j in range(self.vectors)]

    def at(self, pointer, *steps):
        """The pointer, so many elements further."""
        steps = [_INT64(step) if isinstance(step, int) else step for step in steps]
        return self.builder.gep(pointer, [functools.reduce(self.builder.add, steps)])

    def lanes_in(self, word):
        """The mask of a vector from a word of bits: one for each element, for both parts of it."""
        builder = self.builder
        bits = builder.bitcast(builder.trunc(word, ir.IntType(self.lanes)), ir.VectorType(ir.IntType(1), self.lanes))
        order = [i // self.parts for i in range(self.vector.count)]
        return builder.shuffle_vector(bits, bits, ir.Constant(self.index, order))

    def is_whole(self, word):
        """Whether a word has a bit for each lane."""
        return self.builder.icmp_unsigned("==", word, word.type((1 << self.lanes) - 1))

    def read(self, use):
        """`use(values, weight, tap, channel)` with the vectors of each tap and channel."""
        builder, taps, positions = self.builder, self.taps, self.positions
        pointers = [self.at(self.inputs.elements, self.inputs.start, offset) for offset in self.offsets(False)]
        with cgutils.for_range(builder, taps.count) as tap:
            entry = builder.mul(tap.index, _INT64(3))
            offset, weight, row = (builder.load(self.at(taps.table, entry, i)) for i in range(3))

            def read_tap(masks):
                with cgutils.for_range(builder, taps.channels) as channel:
                    here = builder.add(offset, builder.mul(channel.index, self.inputs.channel))
                    values = [
                        load_vector(builder, self.at(pointer, here), self.vector, mask)
                        for pointer, mask in zip(pointers, masks, strict=True)
                    ]
                    values[0] = pin(builder, values[0])
                    use(values, weight, tap.index, channel.index)

            unmasked = [None] * self.vectors
            if not MASKED:
                read_tap(unmasked)
            else:
                words = [builder.load(self.at(positions.masks, row, positions.first, j)) for j in range(self.vectors)]
                # A masked read takes a turn of the units that multiply on some processors.
                with builder.if_else(self.is_whole(functools.reduce(builder.and_, words))) as (then, otherwise):
                    with then:
                        read_tap(unmasked)
                    with otherwise:
                        read_tap([self.lanes_in(word) for word in words])


class _Panel(_Reader):
    """The code of `pack_panel` for so many vectors."""

    def emit(self, panel):
        builder = self.builder
        panel = builder.bitcast(panel, self.vector.as_pointer())

        def store(values, weight, tap, channel):
            first = builder.mul(builder.add(builder.mul(tap, self.taps.channels), channel), _INT64(self.vectors))
            for j, value in enumerate(values):
                store_vector(builder, value, self.at(panel, first, j))

        self.read(store)


class _Tile(_Reader):
    """The code of `tile` for one shape. Sums are variables, which LLVM keeps in registers."""

    def __init__(self, context, builder, element, rows, vectors, operands):
        inputs, taps, positions, self.weights, self.target, self.added, self.bounds = operands
        super().__init__(context, builder, element, vectors, inputs, taps, positions)
        self.rows = rows

    def emit(self):
        builder, positions = self.builder, self.positions
        stored = [builder.load(self.at(positions.masks, positions.first, j)) for j in range(self.vectors)]
        self.columns = self.offsets(True)
        self.sums = {
            (m, j): [cgutils.alloca_once(builder, self.vector) for _ in range(self.parts)]
            for m, j in itertools.product(range(self.rows), range(self.vectors))
        }
        self.begin()
        self.read(self.add_products)
        self.finish()
        self.store(stored)

    def stored_at(self, m, j):
        """Where vector `j` of row `m` is stored."""
        target = self.target
        return self.at(target.elements, target.start, self.columns[j], self.builder.mul(target.row, _INT64(m)))

    def repeat(self, pointer):
        """A vector of one number, both parts of it."""
        builder, numbers = self.builder, self.vector.element.as_pointer()
        value, pointer = ir.Constant(self.vector, ir.Undefined), builder.bitcast(pointer, numbers)
        for i in range(self.parts):
            value = builder.insert_element(value, builder.load(self.at(pointer, i)), ir.IntType(32)(i))
        order = [i % self.parts for i in range(self.vector.count)]
        return builder.shuffle_vector(value, value, ir.Constant(self.index, order))

    def begin(self):
        """What the sums start from: zero, or what the target holds."""
        builder, accumulate = self.builder, self.added.accumulate
        for total in itertools.chain(*self.sums.values()):
            builder.store(ir.Constant(self.vector, None), total)
        with builder.if_then(builder.icmp_signed("!=", accumulate, accumulate.type(0))):
            for (m, j), (total, *_) in self.sums.items():
                builder.store(load_vector(builder, self.stored_at(m, j), self.vector), total)

    def add_products(self, values, weight, tap, channel):
        """Add the products of a tap's vectors of one channel with the weight of each row."""
        builder, weights, numbers = self.builder, self.weights, self.vector.element.as_pointer()
        first = self.at(weights.elements, weights.start, weight, builder.mul(channel, weights.channel))
        for m in range(self.rows):
            number = builder.bitcast(self.at(first, builder.mul(weights.output, _INT64(m))), numbers)
            for i in range(self.parts):
                factor = broadcast(builder, builder.load(self.at(number, i)), self.vector)
                for j, value in enumerate(values):
                    total = self.sums[m, j][i]
                    builder.store(multiply_add(builder, self.part, value, factor, builder.load(total)), total)

    def finish(self):
        """Join the parts of complex sums; add what is added last; clamp real ones."""
        builder, added, bounds = self.builder, self.added, self.bounds
        if self.parts == 2:
            for pair in self.sums.values():
                builder.store(join_parts(builder, self.part, *map(builder.load, pair)), pair[0])
        values = [self.repeat(self.at(added.values, added.first, m)) for m in range(self.rows)]
        for (m, _), (total, *_) in self.sums.items():
            builder.store(add(builder, builder.load(total), values[m]), total)
        if self.parts == 2:
            return
        with builder.if_then(builder.icmp_signed("!=", bounds.is_clamped, bounds.is_clamped.type(0))):
            low, high = (broadcast(builder, bound, self.vector) for bound in (bounds.low, bounds.high))
            for (total,) in self.sums.values():
                builder.store(clamp(builder, self.element, builder.load(total), low, high), total)

    def store(self, words):
        """Store the lanes of each vector that a word has bits for."""
        builder = self.builder
        for j, word in enumerate(words):
            some = self.lanes_in(word)
            with builder.if_else(self.is_whole(word)) as (then, otherwise):
                for block, mask in ((then, None), (otherwise, some)):
                    with block:
                        for m in range(self.rows):
                            store_vector(builder, builder.load(self.sums[m, j][0]), self.stored_at(m, j), mask)


def join_parts(builder, part, by_real, by_imaginary):
    """Complex sums, of products with real parts and with imaginary parts."""
    pairs = range(by_real.type.count)
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(pairs)), [i ^ 1 for i in pairs])
    signs = by_real.type([2.0 * (i % 2) - 1 for i in pairs])
    return multiply_add(builder, part, builder.shuffle_vector(by_imaginary, by_imaginary, order), signs, by_real)


@intrinsic
def channel_tile(typingctx, positions, vectors, inputs, where, taps, weights, target, accumulate):
    """Register tile of `positions` outputs by `vectors` vectors of neighbouring output channels, up to `CHANNEL_TILE`.

    `target[p * target.row + o] = sum over c, t of inputs[p * where + c * inputs.channel + X] * weights[c *
    weights.channel + W + o]`, added to what the target holds if `accumulate`. The table has two words `X, W` for each
    tap. Channels outside, taps inside; there is at least one of each. Neighbouring weights are neighbouring outputs'.
    `Places` instead of a step say for each position what stands for `p * where`, and for `p * target.row`.
    """
    element = Inputs(*inputs.types).elements.dtype
    kind = _PlaceTile if isinstance(where, types.BaseTuple) else _ChannelTile

    def emit(context, builder, signature, args):
        positions, vectors, inputs, where, taps, weights, target, accumulate = (
            unpack(builder, kind, value) if isinstance(kind, types.BaseTuple) else value
            for kind, value in zip(signature.args, args, strict=True)
        )
        vector = ir.VectorType(context.get_value_type(element), VECTOR_BYTES * 8 // element.bitwidth)
        keep_whole(builder)
        shapes = [(p, v) for v in range(1, CHANNEL_TILE[1] + 1) for p in range(1, CHANNEL_TILE[0] + 1)]
        blocks = [builder.append_basic_block(f"tile{p}x{v}") for p, v in shapes]
        done = builder.append_basic_block("done")
        switch = builder.switch(builder.add(builder.mul(vectors, _INT64(32)), positions), done)
        for (p, v), block in zip(shapes, blocks, strict=True):
            switch.add_case(_INT64(32 * v + p), block)
            builder.position_at_end(block)
            kind(builder, element, vector, p, v).emit(inputs, where, taps, weights, target, accumulate)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.intp
    where = where if kind is _PlaceTile else n
    return types.void(n, n, inputs, where, taps, weights, target, accumulate), emit


@intrinsic
def lane_tile(typingctx, positions, inputs, step, taps, weights, target):
    """`channel_tile` of a vector of outputs, up to `LANE_TILE` positions: each of its lanes has inputs of its own."""
    element = Inputs(*inputs.types).elements.dtype

    def emit(context, builder, signature, args):
        positions, inputs, step, taps, weights, target = (
            unpack(builder, kind, value) if isinstance(kind, types.BaseTuple) else value
            for kind, value in zip(signature.args, args, strict=True)
        )
        vector = ir.VectorType(context.get_value_type(element), VECTOR_BYTES * 8 // element.bitwidth)
        keep_whole(builder)
        done = builder.append_basic_block("done")
        blocks = [builder.append_basic_block(f"lanes{p}") for p in range(1, LANE_TILE + 1)]
        switch = builder.switch(positions, done)
        for p, block in enumerate(blocks, 1):
            switch.add_case(_INT64(p), block)
            builder.position_at_end(block)
            tile = _LaneTile(builder, element, vector, p, 1)
            tile.emit(inputs, step, taps, weights, target, ir.Constant(ir.IntType(1), 0))
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, inputs, n, taps, weights, target), emit


_HALF = 7


class _ChannelTile:
    """The code of `channel_tile` for one shape. Sums are values of the loops over channels and, within, over taps."""

    def __init__(self, builder, element, vector, positions, vectors):
        self.builder, self.element, self.vector = builder, element, vector
        self.positions, self.vectors = positions, vectors

    def emit(self, inputs, where, taps, weights, target, accumulate):
        builder, vector = self.builder, self.vector
        first_input = builder.gep(inputs.elements, [inputs.start])
        first_weight = builder.gep(weights.elements, [weights.start])
        offsets, sums = self.input_offsets(where), self.positions * self.vectors

        before, load = builder.block, builder.append_basic_block("load")
        outer, inner = builder.append_basic_block("channels"), builder.append_basic_block("taps")
        latch, after = builder.append_basic_block("next_channel"), builder.append_basic_block("store")
        builder.cbranch(builder.icmp_signed("!=", accumulate, accumulate.type(0)), load, outer)

        builder.position_at_end(load)
        old = [load_vector(builder, pointer, vector) for pointer in self.target_pointers(target, where)]
        builder.branch(outer)

        builder.position_at_end(outer)
        c, base, kernel = builder.phi(_INT64), builder.phi(first_input.type), builder.phi(first_weight.type)
        carried = [builder.phi(vector) for _ in range(sums)]
        builder.branch(inner)

        builder.position_at_end(inner)
        t = builder.phi(_INT64)
        totals = [builder.phi(vector) for _ in range(sums)]
        pair = builder.gep(taps.table, [builder.shl(t, _INT64(1))])
        results = self.add_products(pair, base, kernel, offsets, totals)
        next_t = builder.add(t, _INT64(1))
        builder.cbranch(builder.icmp_signed("<", next_t, taps.count), inner, latch)

        builder.position_at_end(latch)
        next_c = builder.add(c, _INT64(1))
        next_base, next_kernel = builder.gep(base, [inputs.channel]), builder.gep(kernel, [weights.channel])
        builder.cbranch(builder.icmp_signed("<", next_c, taps.channels), outer, after)

        begin, new = [_INT64(0), first_input, first_weight], [ir.Constant(vector, None)] * sums
        outer_values = [*begin, *new], [*begin, *old], [next_c, next_base, next_kernel, *results]
        close_loop([c, base, kernel, *carried], (before, load, latch), outer_values)
        close_loop([t, *totals], (outer, inner), ([_INT64(0), *carried], [next_t, *results]))

        builder.position_at_end(after)
        for pointer, total in zip(self.target_pointers(target, where), results, strict=True):
            store_vector(builder, total, pointer)

    def input_offsets(self, step):
        """What `input_pointers` adds for positions."""
        return [self.builder.mul(step, _INT64(p)) for p in range(_HALF + 1)]

    def input_pointers(self, here, offsets):
        """Where the inputs of a tap lie, position by position."""
        for p in range(self.positions):
            if p == _HALF:  # two bases: few enough offsets for the general registers
                here = self.builder.gep(here, [offsets[_HALF]])
            yield self.builder.gep(here, [offsets[p % _HALF]])

    def target_rows(self, row, step):
        """Where in the target the sums of each position lie."""
        return [self.builder.mul(row, _INT64(p)) for p in range(self.positions)]

    def target_pointers(self, target, where):
        """Where each vector of sums is stored, position by position."""
        builder, pointers = self.builder, []
        first = builder.gep(target.elements, [target.start])
        for offset in self.target_rows(target.row, where):
            row = builder.gep(first, [offset])
            pointers += [builder.gep(row, [_INT64(v * self.vector.count)]) for v in range(self.vectors)]
        return pointers

    def add_products(self, pair, base, kernel, offsets, totals):
        """The sums with the products of one tap of one channel added; `pair`: its words in the table."""
        builder, vector, results = self.builder, self.vector, []
        here = builder.gep(base, [builder.load(pair)])
        entry = builder.gep(kernel, [builder.load(builder.gep(pair, [_INT64(1)]))])
        factors = [
            load_vector(builder, builder.gep(entry, [_INT64(v * vector.count)]), vector) for v in range(self.vectors)
        ]
        for pointer in self.input_pointers(here, offsets):
            value = self.load_input(pointer)
            results += [
                pin(builder, multiply_add(builder, self.element, value, factor, totals[len(results) + v]))
                for v, factor in enumerate(factors)
            ]
        return results

    def load_input(self, pointer):
        """An input, for all outputs of a vector."""
        return broadcast(self.builder, self.builder.load(pointer), self.vector)


class _PlaceTile(_ChannelTile):
    """The code of `channel_tile` for one shape, and places."""

    def input_offsets(self, places):
        words = self.words(places.inputs, places.first)
        return [self.builder.load(word) if p < _HALF else word for p, word in enumerate(words)]

    def input_pointers(self, here, offsets):
        for p, offset in enumerate(offsets):  # the first stay in general registers, the others are read each time
            yield self.builder.gep(here, [offset if p < _HALF else self.builder.load(offset)])

    def target_rows(self, row, places):
        return [self.builder.load(word) for word in self.words(places.sums, places.first)]

    def words(self, table, first):
        """Where the word of each position lies."""
        return [self.builder.gep(table, [self.builder.add(first, _INT64(p))]) for p in range(self.positions)]


class _LaneTile(_ChannelTile):
    """The code of `lane_tile` for one shape."""

    def load_input(self, pointer):
        return load_vector(self.builder, pointer, self.vector)


def close_loop(phis, blocks, values):
    """Give each phi of a loop its value from each block before and from the loop's end."""
    for block, incoming in zip(blocks, values, strict=True):
        for phi, value in zip(phis, incoming, strict=True):
            phi.add_incoming(value, block)
