"""Register tiles of output rows: an input vector is loaded once for all the rows that use it.

`row_tiles` is the one of `depthwise`; `small_tile` sets nothing up.
"""

import itertools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vectors import (
    VECTOR_BYTES,
    broadcast,
    clamp,
    first_lanes,
    load_vector,
    multiply_add,
    pin,
    store_vector,
)

_INT64 = ir.IntType(64)

# Rows of a row tile: as many sums as hide the latency of a multiply-add; most planes of networks are multiples of 7.
ROWS = 7
OUTSIDE = -1 << 62  # in place of where a row lies: it is padding

# Kernel rows of a row tile, the steps of both axes, and kernel columns side by side where their loop is unrolled, or 0.
ROW_TILES = ((3, 1, 3), (3, 2, 3), (5, 2, 5), (7, 1, 0), (5, 1, 0), (3, 1, 0), (2, 1, 0), (1, 1, 0))


@intrinsic
def row_tiles(typingctx, taps, step, planes, table, entry, phase, base, base_step, padded, column, size, count, hop,
              w, w_start, w_step, w_row, w_column, target, to, to_step, pitch, rows, columns, accumulate, initial,
              held, low, high):  # fmt: skip
    """`rows` by `columns` of each of some output channels, for `taps` kernel rows and `count` kernel columns.

    `target[to + i * pitch + j] = sum over q, e of w[w_start + q * w_row + e * w_column] * row(i, q)[column + e * hop +
    step * j]`, added to what it holds (`accumulate`) or to `initial[0]`, then, if `held`, held between `low` and
    `high`. From plane to plane the next of `initial` is taken, and `base`, `w_start` and `to` go on by their steps.
    `row(i, q)` is `row[entry + i + q]` or, with steps of 2, `row[entry + i + q // 2 + q % 2 * phase]`; `row[k]` lies
    `table[k]` bytes from the address `base`, or at the address `padded` if that is `OUTSIDE`. Columns outside of
    `[0, size)` are 0, and are not read.

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
                for operand, expected in ((operands[9], columns), (operands[10], 1)):
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
    weights, targets = (w, n, n, n, n), (target, *[n] * 6)
    return types.void(*[n] * 3, table, *[n] * 9, *weights, *targets, initial, n, x, x), emit


class _RowTiles:
    """The code of `row_tiles` for one of `ROW_TILES`."""

    def __init__(
        self, context, builder, element, taps, step, known, planes, table, entry, phase, base, base_step, padded,
        column, size, count, hop, w, w_start, w_step, w_row, w_column, target, to, to_step, pitch, rows, columns,
        accumulate, initial, held, low, high,
    ):  # fmt: skip
        self.builder, self.element, self.step, self.known = builder, element, step, known
        self.lanes = VECTOR_BYTES * 8 // element.bitwidth
        self.scalar, self.vector = w.type.pointee, ir.VectorType(w.type.pointee, self.lanes)
        self.parts = [range(part, taps, step) for part in range(step)]  # kernel rows that share input rows
        self.size, self.count, self.hop = size, count, hop
        if known:
            self.count, self.hop = _INT64(known), _INT64(1)
        self.w_row, self.w_column, self.pitch = w_row, w_column, pitch
        self.low, self.high = (broadcast(builder, value, self.vector) for value in (low, high))
        self.accumulate = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        self.held = builder.icmp_signed("!=", held, held.type(0))
        table = builder.gep(table, [entry])
        with cgutils.for_range_slice(builder, _INT64(0), planes, _INT64(1), inc=True) as (plane, _):
            self.initial = broadcast(builder, builder.load(builder.gep(initial, [plane])), self.vector)
            self.w = builder.gep(w, [builder.add(w_start, builder.mul(plane, w_step))])
            self.weights = {}
            if known == 3:  # few enough for the registers
                for q, e in itertools.product(range(taps), range(known)):
                    self.weights[q, e] = pin(builder, self.load_weight(q, _INT64(e)))
            first = builder.add(base, builder.mul(plane, base_step))
            self.target = builder.gep(target, [builder.add(to, builder.mul(plane, to_step))])
            with cgutils.for_range_slice(builder, _INT64(0), rows, _INT64(ROWS), inc=True) as (i, _):
                self.find_rows(i, builder.sub(rows, i), builder.gep(table, [i]), phase, first, padded)
                self.tiles(column, columns)

    def find_rows(self, i, left, table, phase, base, padded):
        """Where the rows of the tiles from output row `i` on lie, of which `left` are there."""
        builder = self.builder
        self.valid = [builder.icmp_signed(">", left, _INT64(row)) for row in range(ROWS)]
        self.targets = []
        top = builder.gep(self.target, [builder.mul(i, self.pitch)])
        for row, valid in enumerate(self.valid):  # rows that are not there lie on the first one, and are not stored
            offset = builder.select(valid, builder.mul(_INT64(row), self.pitch), _INT64(0))
            self.targets.append(builder.gep(top, [offset]))
        self.pointers = []
        for part, kernel_rows in enumerate(self.parts):
            last = builder.add(left, _INT64(len(kernel_rows) - 2))
            top = builder.gep(table, [builder.mul(phase, _INT64(part))])
            pointers = []
            for row in range(ROWS + len(kernel_rows) - 1):
                index = _INT64(row)
                if row >= len(kernel_rows):
                    index = builder.select(builder.icmp_signed("<", index, last), index, last)
                offset = builder.load(builder.gep(top, [index]))
                outside = builder.icmp_signed("==", offset, _INT64(OUTSIDE))
                address = builder.select(outside, padded, builder.add(base, offset))
                pointers.append(builder.inttoptr(address, self.target.type))
            self.pointers.append(pointers)

    def tiles(self, column, columns):
        """The tiles of some rows."""
        builder = self.builder
        if self.step == 1:
            begin, reach = 0, builder.mul(builder.sub(self.count, _INT64(1)), self.hop)
        else:  # only the vectors of the middle column are read without a mask
            begin, reach = self.known // 2, _INT64(self.known // 2)
        reach = builder.add(reach, _INT64(self.step * self.lanes))
        with cgutils.for_range_slice(builder, _INT64(0), columns, _INT64(self.lanes), inc=True) as (j, _):
            width = builder.sub(columns, j)
            first = builder.add(column, builder.mul(j, _INT64(self.step)))
            whole = builder.icmp_signed(">=", first, _INT64(-begin))
            whole = builder.and_(whole, builder.icmp_signed("<=", builder.add(first, reach), self.size))
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
            old = [self.shuffle(value, value, self.places()) for value in old] if self.step == 2 else old
        totals = [self.either(value, loaded, initial, before) for value in old]
        for part in range(self.step):
            if not self.known:
                totals = self.loop(totals, part, first, mask)
                continue
            for e in range(self.known if self.step == 1 else 1):
                totals = self.add_columns(totals, part, _INT64(e), first, mask)
        if self.step == 2:
            order = [self.places().index(lane) for lane in range(lanes)]
            totals = [self.shuffle(total, total, order) for total in totals]
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
        for phi, total in zip(phis, self.add_columns(phis, part, e, first, mask), strict=True):
            phi.add_incoming(total, body)
        e.add_incoming(builder.add(e, _INT64(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        return phis

    def add_columns(self, totals, part, e, first, mask):
        """Add the products of kernel column `e`; with steps of 2, those of all columns."""
        builder, kernel_rows, totals = self.builder, self.parts[part], list(totals)
        columns = [e] if self.step == 1 else [_INT64(c) for c in range(self.known)]
        if self.weights:
            weights = [[self.narrow(self.weights[q, c.constant]) for q in kernel_rows] for c in columns]
        else:
            weights = [[self.load_weight(q, c) for q in kernel_rows] for c in columns]
        first = builder.add(first, builder.mul(e, self.hop))
        for row, pointer in enumerate(self.pointers[part]):
            for value, taps in zip(self.load_columns(pointer, first, mask), weights, strict=True):
                for i in range(max(0, row - len(taps) + 1), min(ROWS, row + 1)):
                    totals[i] = multiply_add(builder, self.element, value, taps[row - i], totals[i])
        return totals

    def load_weight(self, q, e):
        builder = self.builder
        at = builder.add(builder.mul(self.w_row, _INT64(q)), builder.mul(self.w_column, e))
        return broadcast(builder, builder.load(builder.gep(self.w, [at])), self.vector)

    def places(self):
        """With steps of 2, the output that each lane holds: those of each half, in turn, in pieces of 64 bits."""
        lanes, piece = self.vector.count, 64 // self.element.bitwidth
        return [half + j for i in range(0, lanes // 2, piece) for half in (0, lanes // 2) for j in range(i, i + piece)]

    def load_columns(self, pointer, first, mask):
        """What the lanes of a row meet at a kernel column; with steps of 2, at each column from that on.

        Two vectors, from the middle column on, are parted into even and odd elements: what other columns meet is the
        same but for a lane, and that one may lie outside of the row. What is parted stays in its 128 bits: shuffles
        across them take units that multiply, too.
        """
        if self.step == 1:
            return [self.load(pointer, first, mask)]
        builder, lanes, values, places = self.builder, self.vector.count, [], self.places()
        begin = builder.add(first, _INT64(self.known // 2))
        pair = [self.load(pointer, at, mask) for at in (begin, builder.add(begin, _INT64(lanes)))]
        parted = [self.shuffle(*pair, [2 * place + odd for place in places]) for odd in (0, 1)]
        for e in range(self.known):
            moved, odd = divmod(e - self.known // 2, 2)
            value = parted[odd]
            if moved:
                new = self.load_lane(pointer, first, e if moved < 0 else e + 2 * (lanes - 1))
                sources = [place + moved for place in places]
                value = self.shuffle(value, new, [places.index(i) if 0 <= i < lanes else lanes for i in sources])
            values.append(value)
        return values

    def load_lane(self, pointer, first, offset):
        """An element of a row in the first lane of a vector, or 0."""
        builder, at = self.builder, self.builder.add(first, _INT64(offset))
        least = ir.VectorType(self.scalar, 128 // self.element.bitwidth)  # the smallest that a mask is an operand of
        inside = builder.insert_element(
            ir.Constant(ir.VectorType(ir.IntType(1), least.count), None),
            builder.icmp_unsigned("<", at, self.size),
            ir.IntType(32)(0),
        )
        value = load_vector(builder, builder.gep(pointer, [at]), least, inside)
        return self.shuffle(value, value, [i % least.count for i in range(self.vector.count)])

    def load(self, pointer, first, mask):
        """A vector of a row; unless all of it lies in the row (no mask), the lanes that do."""
        builder, index = self.builder, ir.VectorType(ir.IntType(32), self.vector.count)
        if mask is not None:
            lane = broadcast(builder, builder.trunc(first, index.element), index)
            lane = builder.add(lane, ir.Constant(index, list(range(index.count))))
            mask = builder.icmp_unsigned("<", lane, broadcast(builder, builder.trunc(self.size, index.element), index))
        return load_vector(builder, builder.gep(pointer, [first]), self.vector, mask)

    def shuffle(self, a, b, order):
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


SMALL_BYTES = min(VECTOR_BYTES, 32)  # of a vector that is mostly not full: wider ones lie across two cache lines


@intrinsic
def small_tile(typingctx, source, start, source_channel, source_row, row, hop, row_step, rows, column, column_step,
               columns, w, w_start, w_channel, w_row, w_column, channels, taps1, taps2, target, to, to_row, height,
               width, initial, padding, low, high):  # fmt: skip
    """One vector of each of two output rows: `initial` and the sum over all channels and taps, held between two bounds.

    Tap `q, e` of channel `c` meets row `row + i * hop + q * row_step` for output row `i` and, in lane `j`, column
    `column + e * column_step + j` of that channel's `rows` by `columns`; outside of them lies padding. `height` rows of
    `width` lanes are stored, or as many as there are.
    """
    element = target.dtype

    def emit(context, builder, signature, args):
        (source, start, source_channel, source_row, row, hop, row_step, rows, column, column_step, columns, w, w_start,
         w_channel, w_row, w_column, channels, taps1, taps2, target, to, to_row, height, width, initial, padding, low,
         high) = args  # fmt: skip
        lanes, zero = SMALL_BYTES * 8 // element.bitwidth, _INT64(0)
        vector = ir.VectorType(context.get_value_type(element), lanes)
        index = ir.VectorType(ir.IntType(32), lanes)
        padding, initial, low, high = (broadcast(builder, value, vector) for value in (padding, initial, low, high))
        totals = [cgutils.alloca_once_value(builder, initial) for _ in range(2)]
        order = ir.Constant(index, list(range(lanes)))

        def at(pointer, i, step):
            return builder.gep(pointer, [builder.mul(i, step)])

        source, w = builder.gep(source, [start]), builder.gep(w, [w_start])
        with cgutils.for_range(builder, channels) as c:
            image, kernel = at(source, c.index, source_channel), at(w, c.index, w_channel)
            with cgutils.for_range(builder, taps1) as q:
                weights, i, lines = at(kernel, q.index, w_row), builder.add(row, builder.mul(q.index, row_step)), []
                for there in (i, builder.add(i, hop)):
                    inside = builder.icmp_unsigned("<", there, rows)
                    size = builder.trunc(builder.select(inside, columns, zero), index.element)
                    lines.append(
                        (at(image, builder.select(inside, there, zero), source_row), broadcast(builder, size, index))
                    )
                with cgutils.for_range(builder, taps2) as e:
                    first = builder.add(column, builder.mul(e.index, column_step))
                    lane = builder.add(broadcast(builder, builder.trunc(first, index.element), index), order)
                    factor = broadcast(builder, builder.load(at(weights, e.index, w_column)), vector)
                    for total, (line, size) in zip(totals, lines, strict=True):
                        mask = builder.icmp_unsigned("<", lane, size)
                        value = load_vector(builder, builder.gep(line, [first]), vector, mask, padding)
                        builder.store(multiply_add(builder, element, value, factor, builder.load(total)), total)
        target = builder.gep(target, [to])
        for i, total in enumerate(totals):
            value = clamp(builder, element, builder.load(total), low, high)
            with builder.if_then(builder.icmp_signed(">", height, _INT64(i))):
                store_vector(builder, value, at(target, _INT64(i), to_row), first_lanes(builder, width, lanes))
        return context.get_dummy_value()

    n, x = types.intp, element
    return types.void(source, *[n] * 10, w, *[n] * 7, target, *[n] * 4, *[x] * 4), emit
