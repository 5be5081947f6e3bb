"""Register tiles of output rows: an input vector is loaded once for all the output rows that use it.

`row_tiles` is for `depthwise`, `small_tile` for `small` and `small_images`, which prepare no table of rows.
"""

import functools
import itertools
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import StridedType, data_of
from .vectors import (
    VECTOR_BYTES,
    add,
    broadcast,
    clamp,
    first_lanes,
    load_elements,
    load_vector,
    multiply_add,
    pin,
    store_vector,
    unpack,
)

_INT64 = ir.IntType(64)

# Rows of a row tile: as many sums as hide the latency of a multiply-add; most planes of networks are multiples of 7.
ROWS = 7
OUTSIDE = -1 << 62  # in the table of rows: the row is padding

# Kernel rows of a row tile, the stride of both axes, and the kernel columns if their loop is unrolled, else 0.
ROW_TILES = ((3, 1, 3), (3, 2, 3), (5, 2, 5), (7, 1, 0), (5, 1, 0), (3, 1, 0), (2, 1, 0), (1, 1, 0))


class Rows(NamedTuple):
    """Rows of input planes. A table says how many bytes from its plane's first element each begins, or `OUTSIDE`."""

    table: types.CPointer  # of int64
    phase_step: int  # with strides of 2: entries of the table from rows of even numbers to those of odd ones
    base: int  # address of the first plane
    plane_step: int  # bytes from plane to plane
    padding: int  # address of what is read in place of rows outside


class Window(NamedTuple):
    """Which elements of the rows the taps meet: those of the first output, and the step from tap to tap."""

    entry: int  # of the table, for the first row of taps
    column: int  # for the first column of taps
    end: int  # columns before 0, and from this one on, are not read, and count as 0
    columns: int  # of taps
    hop: int  # columns of the input from one column of taps to the next


class RowWeights(NamedTuple):
    """The weights of the taps. Steps are in elements; each plane of the input has a plane of weights."""

    data: types.CPointer
    start: int
    plane_step: int
    row_step: int
    column_step: int


class RowTarget(NamedTuple):
    """Where results are written, so many rows and columns of each plane. Steps are in elements."""

    data: types.CPointer
    start: int
    plane_step: int
    pitch: int  # from row to row
    rows: int
    columns: int


class Finish(NamedTuple):
    """What a sum begins with, and whether it ends with the activation."""

    accumulate: bool  # begin with what the target holds
    initial: types.CPointer  # else with this number, one for each plane
    is_clamped: bool  # whether results are brought between `low` and `high`
    low: float
    high: float


@intrinsic
def row_tiles(typingctx, taps, stride, planes, rows, window, weights, target, finish):
    """Correlate some planes with `taps` rows of `window.columns` taps each; each plane gives a plane of the target.

    `target[i, j] = begin + sum over q, e of weights[q, e] * row(i, q)[window.column + e * window.hop + stride * j]`,
    where `begin` is `target[i, j]` or the plane's `initial`, as `finish` says. `row(i, q)` is the row of table entry
    `window.entry + i + q` or, with a stride of 2, `window.entry + i + q // 2 + q % 2 * rows.phase_step`.

    A tile is `ROWS` rows high and a vector wide: each input vector is loaded once for all the outputs that use it.
    `taps` and `stride` are those of one of `ROW_TILES`.
    """
    kinds, element = (rows, window, weights, target, finish), RowTarget(*target.types).data.dtype

    def emit(context, builder, signature, args):
        taps, stride, planes, *groups = args
        groups = [unpack(builder, kind, value) for kind, value in zip(kinds, groups, strict=True)]
        _, asked_window, *_ = groups
        operands = [planes, *itertools.chain(*groups)]  # one by one, so that LLVM leaves out those that a tile ignores
        shape = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        done = builder.append_basic_block("done")
        for tile in ROW_TILES:
            # A function each, so that none prepares what only others need.
            function = ir.Function(builder.module, shape, "row_tiles.{}.{}.{}".format(*tile))
            function.linkage = "internal"
            function.attributes.add("noinline")
            body = ir.IRBuilder(function.append_basic_block())
            fields = iter(function.args[1:])
            parameters = [kind.instance_class(*itertools.islice(fields, len(kind))) for kind in kinds]
            _RowTiles(body, element, tile, *parameters).emit(function.args[0])
            body.ret_void()
            asked = [(taps, tile[0]), (stride, tile[1])]
            if tile[2]:
                asked += [(asked_window.columns, tile[2]), (asked_window.hop, 1)]
            chosen = [builder.icmp_signed("==", value, _INT64(expected)) for value, expected in asked]
            call, following = builder.append_basic_block("call"), builder.append_basic_block("else")
            builder.cbranch(functools.reduce(builder.and_, chosen), call, following)
            builder.position_at_end(call)
            builder.call(function, operands)
            builder.branch(done)
            builder.position_at_end(following)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3, *kinds), emit


class _RowTiles:
    """The code of `row_tiles` for one of `ROW_TILES`."""

    def __init__(self, builder, element, tile, rows, window, weights, target, finish):
        taps, self.stride, self.unrolled = tile
        self.builder, self.element, self.lanes = builder, element, VECTOR_BYTES * 8 // element.bitwidth
        self.scalar = weights.data.type.pointee
        self.vector = ir.VectorType(self.scalar, self.lanes)
        # Rows of taps that share input rows: with strides of 2, the even ones, and the odd ones.
        self.phases = [range(phase, taps, self.stride) for phase in range(self.stride)]
        self.rows, self.window, self.weights, self.target, self.finish = rows, window, weights, target, finish
        self.columns, self.hop = window.columns, window.hop
        if self.unrolled:
            self.columns, self.hop = _INT64(self.unrolled), _INT64(1)
        self.low, self.high = (broadcast(builder, value, self.vector) for value in (finish.low, finish.high))
        self.accumulate, self.is_clamped = (
            builder.icmp_signed("!=", value, value.type(0)) for value in (finish.accumulate, finish.is_clamped)
        )

    def emit(self, planes):
        """The loops over planes, and over tiles from top to bottom."""
        builder, rows, weights, target = self.builder, self.rows, self.weights, self.target
        table = builder.gep(rows.table, [self.window.entry])
        with cgutils.for_range_slice(builder, _INT64(0), planes, _INT64(1), inc=True) as (plane, _):
            self.initial = broadcast(builder, builder.load(builder.gep(self.finish.initial, [plane])), self.vector)
            start = builder.add(weights.start, builder.mul(plane, weights.plane_step))
            self.plane_weights, self.kept = builder.gep(weights.data, [start]), {}
            if self.unrolled == 3:  # few enough for the registers
                for q, e in itertools.product(range(sum(map(len, self.phases))), range(self.unrolled)):
                    self.kept[q, e] = pin(builder, self.load_weight(q, _INT64(e)))
            base = builder.add(rows.base, builder.mul(plane, rows.plane_step))
            start = builder.add(target.start, builder.mul(plane, target.plane_step))
            plane_target = builder.gep(target.data, [start])
            with cgutils.for_range_slice(builder, _INT64(0), target.rows, _INT64(ROWS), inc=True) as (i, _):
                left, top = builder.sub(target.rows, i), builder.mul(i, target.pitch)
                self.point_to_rows(builder.gep(plane_target, [top]), left, builder.gep(table, [i]), base)
                self.emit_tiles()

    def point_to_rows(self, target, left, table, base):
        """Point to the rows of a tile: outputs from `target` on, `left` of them or fewer, and the inputs in `table`."""
        builder = self.builder
        self.exists = [builder.icmp_signed(">", left, _INT64(row)) for row in range(ROWS)]
        self.targets = []
        for row, exists in enumerate(self.exists):  # a row that does not exist lies on the first, and is not stored
            offset = builder.select(exists, builder.mul(_INT64(row), self.target.pitch), _INT64(0))
            self.targets.append(builder.gep(target, [offset]))
        self.pointers = []
        for phase, kernel_rows in enumerate(self.phases):
            last = builder.add(left, _INT64(len(kernel_rows) - 2))
            top = builder.gep(table, [builder.mul(self.rows.phase_step, _INT64(phase))])
            pointers = []
            for row in range(ROWS + len(kernel_rows) - 1):
                index = _INT64(row)
                if row >= len(kernel_rows):
                    index = builder.select(builder.icmp_signed("<", index, last), index, last)
                offset = builder.load(builder.gep(top, [index]))
                outside = builder.icmp_signed("==", offset, _INT64(OUTSIDE))
                address = builder.select(outside, self.rows.padding, builder.add(base, offset))
                pointers.append(builder.inttoptr(address, target.type))
            self.pointers.append(pointers)

    def emit_tiles(self):
        """The tiles of some rows, from left to right: without masks where a tile and all that it reads are inside."""
        builder, window, columns = self.builder, self.window, self.target.columns
        if self.stride == 1:
            before, reach = 0, builder.mul(builder.sub(self.columns, _INT64(1)), self.hop)
        else:  # only the vectors of the middle column are read without a mask
            before, reach = self.unrolled // 2, _INT64(self.unrolled // 2)
        reach = builder.add(reach, _INT64(self.stride * self.lanes))
        with cgutils.for_range_slice(builder, _INT64(0), columns, _INT64(self.lanes), inc=True) as (j, _):
            width = builder.sub(columns, j)
            first = builder.add(window.column, builder.mul(j, _INT64(self.stride)))
            is_full = builder.icmp_signed(">=", first, _INT64(-before))
            is_full = builder.and_(is_full, builder.icmp_signed("<=", builder.add(first, reach), window.end))
            is_full = builder.and_(is_full, builder.icmp_signed(">=", width, _INT64(self.lanes)))
            with builder.if_else(is_full) as (then, otherwise):
                with then:
                    self.emit_tile(first, j, self.lanes, None)
                with otherwise:
                    self.emit_masked_tile(first, j, width)

    def emit_masked_tile(self, first, j, width):
        """A tile with masks, of half vectors where they are enough and cost half: registers of 512 bits."""
        if VECTOR_BYTES < 64 or sum(map(len, self.phases)) < 3:
            self.emit_tile(first, j, self.lanes, width)
            return
        with self.builder.if_else(self.builder.icmp_signed("<=", width, _INT64(self.lanes // 2))) as (then, otherwise):
            with then:
                self.emit_tile(first, j, self.lanes // 2, width)
            with otherwise:
                self.emit_tile(first, j, self.lanes, width)

    def emit_tile(self, first, j, lanes, width):
        """A tile of output columns from `j` on; `width` of them are stored, or all (None).

        Its first output and the first column of taps meet column `first` of the input.
        """
        builder, where = self.builder, [self.builder.gep(target, [j]) for target in self.targets]
        self.vector = ir.VectorType(self.scalar, lanes)
        mask = None if width is None else first_lanes(builder, width, lanes)
        totals = self.begin(where, mask)
        for phase in range(self.stride):
            if not self.unrolled:
                totals = self.loop_over_columns(totals, phase, first, mask)
                continue
            for e in range(self.unrolled if self.stride == 1 else 1):
                totals = self.add_columns(totals, phase, _INT64(e), first, mask)
        for exists, value, pointer in zip(self.exists, self.end(totals), where, strict=True):
            with builder.if_then(exists, likely=True):
                store_vector(builder, value, pointer, mask)

    def begin(self, where, mask):
        """What the sums of a tile begin with."""
        builder, before, initial = self.builder, self.builder.block, self.narrow(self.initial)
        with builder.if_then(self.accumulate):
            old, loaded = [load_vector(builder, p, self.vector, mask) for p in where], builder.block
            old = [self.shuffle(value, value, self.places()) for value in old] if self.stride == 2 else old
        return [self.join(value, loaded, initial, before) for value in old]

    def end(self, totals):
        """The results of a tile, in the order of the output."""
        builder = self.builder
        if self.stride == 2:
            order = [self.places().index(lane) for lane in range(self.vector.count)]
            totals = [self.shuffle(total, total, order) for total in totals]
        before = builder.block
        with builder.if_then(self.is_clamped):
            low, high = self.narrow(self.low), self.narrow(self.high)
            within = [clamp(builder, self.element, total, low, high) for total in totals]
            clamped = builder.block
        return [self.join(a, clamped, b, before) for a, b in zip(within, totals, strict=True)]

    def narrow(self, value):
        """The lanes of a vector that the tile uses."""
        lanes = self.vector.count
        if lanes == self.lanes:
            return value
        return self.shuffle(value, value, range(lanes))

    def join(self, a, from_a, b, from_b):
        """`a` if control came from the block `from_a`, `b` if from the other."""
        phi = self.builder.phi(a.type)
        phi.add_incoming(a, from_a)
        phi.add_incoming(b, from_b)
        return phi

    def loop_over_columns(self, totals, phase, first, mask):
        """`add_columns` for all columns of taps, in a loop."""
        builder, before = self.builder, self.builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("columns", "column", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        e = builder.phi(_INT64)
        e.add_incoming(_INT64(0), before)
        phis = [builder.phi(self.vector) for _ in totals]
        for phi, total in zip(phis, totals, strict=True):
            phi.add_incoming(total, before)
        builder.cbranch(builder.icmp_signed("<", e, self.columns), body, after)
        builder.position_at_end(body)
        for phi, total in zip(phis, self.add_columns(phis, phase, e, first, mask), strict=True):
            phi.add_incoming(total, body)
        e.add_incoming(builder.add(e, _INT64(1)), body)
        builder.branch(head)
        builder.position_at_end(after)
        return phis

    def add_columns(self, totals, phase, e, first, mask):
        """Add the products of column `e` of the taps; with strides of 2, those of all columns."""
        builder, kernel_rows, totals = self.builder, self.phases[phase], list(totals)
        columns = [e] if self.stride == 1 else [_INT64(c) for c in range(self.unrolled)]
        if self.kept:
            weights = [[self.narrow(self.kept[q, c.constant]) for q in kernel_rows] for c in columns]
        else:
            weights = [[self.load_weight(q, c) for q in kernel_rows] for c in columns]
        first = builder.add(first, builder.mul(e, self.hop))
        for row, pointer in enumerate(self.pointers[phase]):
            for value, taps in zip(self.load_columns(pointer, first, mask), weights, strict=True):
                for i in range(max(0, row - len(taps) + 1), min(ROWS, row + 1)):
                    totals[i] = multiply_add(builder, self.element, value, taps[row - i], totals[i])
        return totals

    def load_weight(self, q, e):
        """The weight of tap `q, e`, in all lanes."""
        builder, weights = self.builder, self.weights
        at = builder.add(builder.mul(weights.row_step, _INT64(q)), builder.mul(weights.column_step, e))
        return broadcast(builder, builder.load(builder.gep(self.plane_weights, [at])), self.vector)

    def places(self):
        """With strides of 2, the output of each lane: 64 bits of the first half, 64 of the second, and so on."""
        lanes, piece = self.vector.count, 64 // self.element.bitwidth
        return [half + j for i in range(0, lanes // 2, piece) for half in (0, lanes // 2) for j in range(i, i + piece)]

    def load_columns(self, pointer, first, mask):
        """The elements of an input row that a column of taps meets; with strides of 2, those of each column.

        With strides of 2, the two vectors that the middle column spans are split into even and odd elements. What
        another column meets is one of those, moved by a lane, and one more element, which may lie outside of the row.
        The split leaves elements in their 128 bits: shuffles across them take units that multiply, too.
        """
        if self.stride == 1:
            return [self.load(pointer, first, mask)]
        builder, lanes, values, places = self.builder, self.vector.count, [], self.places()
        begin = builder.add(first, _INT64(self.unrolled // 2))
        pair = [self.load(pointer, at, mask) for at in (begin, builder.add(begin, _INT64(lanes)))]
        split = [self.shuffle(*pair, [2 * place + odd for place in places]) for odd in (0, 1)]
        for e in range(self.unrolled):
            moved, odd = divmod(e - self.unrolled // 2, 2)
            value = split[odd]
            if moved:
                new = self.load_lane(pointer, first, e if moved < 0 else e + 2 * (lanes - 1))
                sources = [place + moved for place in places]
                value = self.shuffle(value, new, [places.index(i) if 0 <= i < lanes else lanes for i in sources])
            values.append(value)
        return values

    def load_lane(self, pointer, first, offset):
        """One element of a row, or 0 outside of it, in the first lane of a vector; other lanes hold anything."""
        builder, at = self.builder, self.builder.add(first, _INT64(offset))
        least = ir.VectorType(self.scalar, 128 // self.element.bitwidth)  # the smallest that a mask is an operand of
        inside = builder.insert_element(
            ir.Constant(ir.VectorType(ir.IntType(1), least.count), None),
            builder.icmp_unsigned("<", at, self.window.end),
            ir.IntType(32)(0),
        )
        value = load_vector(builder, builder.gep(pointer, [at]), least, inside)
        return self.shuffle(value, value, [i % least.count for i in range(self.vector.count)])

    def load(self, pointer, first, mask):
        """A vector of a row. With a mask, lanes outside of the row are not read, and 0, whatever the mask."""
        builder, index = self.builder, ir.VectorType(ir.IntType(32), self.vector.count)
        if mask is not None:
            start, end = (broadcast(builder, builder.trunc(n, index.element), index) for n in (first, self.window.end))
            lane = builder.add(start, ir.Constant(index, list(range(index.count))))
            mask = builder.icmp_unsigned("<", lane, end)
        return load_vector(builder, builder.gep(pointer, [first]), self.vector, mask)

    def shuffle(self, a, b, order):
        """The lanes of `a` and, numbered on from those, of `b`, in the given order."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


SMALL_BYTES = min(VECTOR_BYTES, 32)  # of a vector that is mostly not full: wider ones lie across two cache lines


class Planes(NamedTuple):
    """Input planes, one for each channel of a group. Steps are in elements."""

    array: StridedType
    start: int
    channels: int
    channel_step: int
    row_step: int
    padding: float  # the value of elements outside of a plane


class Taps(NamedTuple):
    """The taps along an axis: tap `k` of the tile's output `i` meets element `first + i * stride + k * dilation`."""

    first: int
    stride: int
    dilation: int
    count: int
    size: int  # elements of the axis: others are padding


@intrinsic
def small_tile(typingctx, source, rows, columns, weights, target, added, low, high):
    """One vector of each of two output rows: the products of all channels and taps, and `added` last, clamped.

    `source` is `Planes`, `rows` and `columns` are `Taps`, of which `columns.stride` is 1; each channel has a plane of
    weights. Of the `target` one plane is written: `target.rows` rows of `target.columns` lanes, or as many as there
    are.
    """
    kinds, element = (source, rows, columns, weights, target), RowTarget(*target.types).data.dtype
    array = Planes(*source.types).array

    def emit(context, builder, signature, args):
        *groups, added, low, high = args
        source, rows, columns, weights, target = (
            unpack(builder, kind, value) for kind, value in zip(kinds, groups, strict=True)
        )
        lanes, zero = SMALL_BYTES * 8 // element.bitwidth, _INT64(0)
        vector = ir.VectorType(context.get_value_type(element), lanes)
        index = ir.VectorType(ir.IntType(32), lanes)
        padding, added, low, high = (broadcast(builder, v, vector) for v in (source.padding, added, low, high))
        totals = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(2)]
        order = ir.Constant(index, list(range(lanes)))

        def at(pointer, i, step):
            return builder.gep(pointer, [builder.mul(i, step)])

        pixels = data_of(context, builder, array, source.array)
        images, kernels = builder.gep(pixels, [source.start]), builder.gep(weights.data, [weights.start])
        with cgutils.for_range(builder, source.channels) as c:
            image, kernel = at(images, c.index, source.channel_step), at(kernels, c.index, weights.plane_step)
            with cgutils.for_range(builder, rows.count) as q:
                factors, lines = at(kernel, q.index, weights.row_step), []
                i = builder.add(rows.first, builder.mul(q.index, rows.dilation))
                for row in (i, builder.add(i, rows.stride)):
                    inside = builder.icmp_unsigned("<", row, rows.size)
                    end = builder.trunc(builder.select(inside, columns.size, zero), index.element)
                    line = at(image, builder.select(inside, row, zero), source.row_step)
                    lines.append((line, broadcast(builder, end, index)))
                with cgutils.for_range(builder, columns.count) as e:
                    first = builder.add(columns.first, builder.mul(e.index, columns.dilation))
                    lane = builder.add(broadcast(builder, builder.trunc(first, index.element), index), order)
                    factor = broadcast(builder, builder.load(at(factors, e.index, weights.column_step)), vector)
                    for total, (line, end) in zip(totals, lines, strict=True):
                        mask = builder.icmp_unsigned("<", lane, end)
                        value = load_elements(
                            context, builder, array, builder.gep(line, [first]), vector, mask, padding
                        )
                        builder.store(multiply_add(builder, element, value, factor, builder.load(total)), total)
        plane = builder.gep(target.data, [target.start])
        for i, total in enumerate(totals):
            value = clamp(builder, element, add(builder, builder.load(total), added), low, high)
            with builder.if_then(builder.icmp_signed(">", target.rows, _INT64(i))):
                mask = first_lanes(builder, target.columns, lanes)
                store_vector(builder, value, at(plane, _INT64(i), target.pitch), mask)
        return context.get_dummy_value()

    return types.void(*kinds, *[element] * 3), emit
