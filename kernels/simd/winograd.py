"""Winograd's transforms, with the elements of a tile in registers.

An axis has windows of 3 taps and is cut into tiles of `size` outputs, which read `size + 2` inputs; an axis without
taps has tiles of one. Tiles of 4 have the points 0, +-3/4, +-3/2 and infinity, tiles of 2 have 0, +-1 and infinity: see
`convolution.winograd`. What is squared or multiplied of these points is exact in any type.
"""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import data_of
from .vectors import (
    FLOATS,
    VECTOR_BYTES,
    broadcast,
    first_lanes,
    keep_whole,
    load_elements,
    load_vector,
    multiply_add,
    prefetch,
    store_vector,
)

_INT64 = ir.IntType(64)
_LINE = 64
TINY = 1 / 512  # of the mean of a kernel's taps
_A, _B = 0.75, 1.5
_SCALE_A, _SCALE_B = 1 / (2 * _A**2 * (_A**2 - _B**2)), 1 / (2 * _B**2 * (_B**2 - _A**2))


class _Arithmetic:
    """Sums and products of vectors, and with constants."""

    def __init__(self, builder, element, vector):
        self.builder, self.element, self.vector = builder, element, vector

    def constant(self, number):
        return ir.Constant(self.vector, [number] * self.vector.count)

    def times(self, a, number):
        return self.builder.fmul(a, self.constant(number))

    def plus(self, a, b):
        return self.builder.fadd(a, b)

    def minus(self, a, b):
        return self.builder.fsub(a, b)

    def plus_times(self, total, a, number):
        """`total + number * a`"""
        return multiply_add(self.builder, self.element, a, self.constant(number), total)

    def magnitude(self, a):
        name = f"llvm.fabs.v{a.type.count}{FLOATS[self.element]}"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(a.type, [a.type]), name)
        return self.builder.call(function, [a])

    def larger(self, a, b):
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), b, a)

    def smaller(self, a, b):
        return self.builder.select(self.builder.fcmp_ordered("<", b, a), b, a)


def inputs_to_points(size, do, d):
    """Of inputs along an axis, in order; the points in the order that the docstring of the module has."""
    if size == 1:
        return d
    if size == 2:
        return [do.minus(d[0], d[2]), do.plus(d[2], d[1]), do.minus(d[2], d[1]), do.minus(d[3], d[1])]
    even_a, odd_a = do.plus_times(d[4], d[2], -(_B**2)), do.plus_times(d[3], d[1], -(_B**2))
    even_b, odd_b = do.plus_times(d[4], d[2], -(_A**2)), do.plus_times(d[3], d[1], -(_A**2))
    first = do.plus_times(even_a, do.plus_times(d[2], d[0], -(_B**2)), -(_A**2))
    last = do.plus_times(do.plus_times(d[5], d[3], -(_B**2)), odd_a, -(_A**2))
    odd_a, odd_b = do.times(odd_a, _A), do.times(odd_b, _B)
    return [
        first, do.plus(even_a, odd_a), do.minus(even_a, odd_a), do.plus(even_b, odd_b), do.minus(even_b, odd_b), last
    ]  # fmt: skip


def kernels_to_points(size, do, g):
    """Of taps along an axis."""
    if size == 1:
        return g
    if size == 2:
        even, odd = do.times(do.plus(g[0], g[2]), 0.5), do.times(g[1], 0.5)
        return [g[0], do.plus(even, odd), do.minus(even, odd), g[2]]
    even_a = do.plus_times(do.times(g[0], _SCALE_A), g[2], _SCALE_A * _A**2)
    even_b = do.plus_times(do.times(g[0], _SCALE_B), g[2], _SCALE_B * _B**2)
    odd_a, odd_b = do.times(g[1], _SCALE_A * _A), do.times(g[1], _SCALE_B * _B)
    return [
        do.times(g[0], 1 / (_A * _B) ** 2), do.plus(even_a, odd_a), do.minus(even_a, odd_a),
        do.plus(even_b, odd_b), do.minus(even_b, odd_b), g[2],
    ]  # fmt: skip


def outputs_from_points(size, do, m):
    """Of products at the points of an axis."""
    if size == 1:
        return m
    if size == 2:
        return [do.plus(m[0], do.plus(m[1], m[2])), do.plus(do.minus(m[1], m[2]), m[3])]
    even_a, odd_a = do.plus(m[1], m[2]), do.times(do.minus(m[1], m[2]), _A)
    even_b, odd_b = do.plus(m[3], m[4]), do.times(do.minus(m[3], m[4]), _B)
    return [
        do.plus(m[0], do.plus(even_a, even_b)),
        do.plus(odd_a, odd_b),
        do.plus_times(do.times(even_b, _B**2), even_a, _A**2),
        do.plus_times(do.plus_times(m[5], odd_b, _B**2), odd_a, _A**2),
    ]


def points_of(size):
    """Points, and inputs, of a tile."""
    return size + 2 if size > 1 else 1


def taps_of(size):
    """Taps of a window."""
    return 3 if size > 1 else 1


def _vector_of(context, element):
    return ir.VectorType(context.get_value_type(element), VECTOR_BYTES * 8 // element.bitwidth)


def _offset(builder, pointer, *steps):
    """The pointer, so many elements further: each step is a number, or one and how often it is taken."""
    for step in steps:
        step, times = step if isinstance(step, tuple) else (step, 1)
        if times:
            pointer = builder.gep(pointer, [builder.mul(step, _INT64(times))])
    return pointer


@intrinsic(prefer_literal=True)
def pack_phases(
    typingctx, size1, size2, target, plane, pitch, array, start, step, ahead, row, rows, count, left, right, padding
):
    """Pack rows of inputs, from number `row` on, by phases: what tiles have at the same place lies side by side.

    `target[phase * plane + r // size1 * pitch + i] = array[start + (r - row) * step + e]` where `left <= e < right`,
    else `padding`, for `row <= r < row + rows`, `i < count`, `e = size2 * i + j` and each of `inputs2` inputs `j` of a
    tile; the phase is `r % size1 * inputs2 + j`. Nothing else of the array, or of what a pointer points at, is touched;
    what lies `ahead` is asked to come into the cache. The target is written by full vectors, which may end past the
    last row of a phase.
    """
    is_pointer, height, every = isinstance(array, types.CPointer), size1.literal_value, size2.literal_value
    element, inputs = array.dtype if is_pointer else array.compute, points_of(every)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        _, _, target, plane, pitch, source, start, step, ahead, row, rows, count, left, right, padding = args
        vector = _vector_of(context, element)
        lanes = vector.count
        index = ir.VectorType(ir.IntType(32), lanes)
        source = builder.gep(source if is_pointer else data_of(context, builder, array, source), [start])
        filled = broadcast(builder, padding, vector)
        vectors = every + (every > 1)  # the last tile's last inputs are in one more

        def shuffle(a, b, order):
            return builder.shuffle_vector(a, b, ir.Constant(index, list(order)))

        def load(pointer, *mask):
            if is_pointer:
                return load_vector(builder, pointer, vector, *mask)
            return load_elements(context, builder, array, pointer, vector, *mask)

        def deinterleave(values):
            """Element `every * i + j` of all values comes to lane `i` of vector `j`."""
            if len(values) == 1:
                return values
            pairs = list(zip(values[::2], values[1::2], strict=True))
            even, odd = ([shuffle(a, b, range(part, 2 * lanes, 2)) for a, b in pairs] for part in (0, 1))
            result = [None] * len(values)
            result[::2], result[1::2] = deinterleave(even), deinterleave(odd)
            return result

        def pack_rows(begin, offset, masks):
            with cgutils.for_range(builder, rows) as loop:
                line = builder.gep(source, [builder.add(builder.mul(loop.index, step), begin)])
                r = builder.add(row, loop.index)
                phase = builder.mul(builder.urem(r, _INT64(height)), builder.mul(plane, _INT64(inputs)))
                to = builder.gep(target, [builder.add(phase, offset)])
                to = builder.gep(to, [builder.mul(builder.udiv(r, _INT64(height)), pitch)])
                values = [load(builder.gep(line, [_INT64(i * lanes)]), *mask) for i, mask in enumerate(masks)]
                for i in range(0, every * VECTOR_BYTES, _LINE):
                    prefetch(builder, builder.gep(line, [builder.add(ahead, _INT64(i * 8 // element.bitwidth))]))
                phases = deinterleave(values[:every])
                phases += [shuffle(phases[j], values[-1], [*range(1, lanes), lanes + j]) for j in range(inputs - every)]
                for j, value in enumerate(phases):
                    store_vector(builder, value, _offset(builder, to, (plane, j)))

        pieces = builder.sdiv(builder.add(count, _INT64(lanes - 1)), _INT64(lanes))
        # The last ones first: they end past their rows, where the first ones of the next rows will be.
        with cgutils.for_range(builder, pieces) as loop:
            offset = builder.mul(builder.sub(builder.sub(pieces, _INT64(1)), loop.index), _INT64(lanes))
            begin = builder.mul(offset, _INT64(every))
            end = builder.add(begin, _INT64(vectors * lanes))
            inside = builder.and_(builder.icmp_signed(">=", begin, left), builder.icmp_signed("<=", end, right))
            with builder.if_else(inside) as (whole, part):
                with whole:
                    pack_rows(begin, offset, [()] * vectors)
                with part:
                    masks = []
                    for i in range(vectors):
                        at = builder.add(begin, _INT64(i * lanes))
                        below = first_lanes(builder, builder.sub(right, at), lanes)
                        above = builder.not_(first_lanes(builder, builder.sub(left, at), lanes))
                        masks.append((builder.and_(below, above), filled))
                    pack_rows(begin, offset, masks)
        return context.get_dummy_value()

    n = types.intp
    return types.void(size1, size2, target, n, n, array, n, n, n, n, n, n, n, n, element), emit


@intrinsic(prefer_literal=True)
def transform_inputs(typingctx, size1, size2, planes, plane, pitch, count, target, step, weights, room):
    """Inputs of tiles as `pack_phases` left them, to points: `target[point * step + i]` for `i < count`.

    Input `j1, j2` of a tile lies in plane `(j1 % size1) * inputs2 + j2`, `j1 // size1 * pitch` further. Magnitudes are
    added to rows of `weights`, `room` apart: those of each input of the tiles' centres, as many as there are outputs,
    and then those of all; the row after them keeps the largest. Full vectors are written.
    """
    element = planes.dtype
    sizes = size1.literal_value, size2.literal_value

    def emit(context, builder, signature, args):
        keep_whole(builder)
        _, _, planes, plane, pitch, count, target, step, weights, room = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)
        n1, n2 = map(points_of, sizes)

        def join(row, value, i, how):
            where = builder.gep(_offset(builder, weights, (room, row)), [i])
            # Behind the tiles lie those of the next image.
            value = builder.select(first_lanes(builder, builder.sub(count, i), vector.count), value, vector(None))
            store_vector(builder, how(load_vector(builder, where, vector), value), where)

        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(vector.count), inc=True) as (i, _):
            first, sums, largest, columns = builder.gep(planes, [i]), [], [], []
            below = builder.gep(first, [pitch])
            for j2 in range(n2):
                column, totals = [], []
                for j1 in range(n1):
                    row, phase = divmod(j1, sizes[0])
                    where = _offset(builder, below if row else first, (plane, phase * n2 + j2))
                    column.append(load_vector(builder, where, vector))
                    totals.append(do.magnitude(column[-1]))
                    centre = [j - (n > 1) for j, n in ((j1, n1), (j2, n2))]
                    if 0 <= centre[0] < sizes[0] and 0 <= centre[1] < sizes[1]:
                        join(centre[0] * sizes[1] + centre[1], totals[-1], i, do.plus)
                sums.append(functools.reduce(do.plus, totals))
                largest.append(functools.reduce(do.larger, totals))
                columns.append(inputs_to_points(sizes[0], do, column))
            join(sizes[0] * sizes[1], functools.reduce(do.plus, sums), i, do.plus)
            join(sizes[0] * sizes[1] + 1, functools.reduce(do.larger, largest), i, do.larger)
            to = builder.gep(target, [i])
            for p1 in range(n1):
                for p2, value in enumerate(inputs_to_points(sizes[1], do, [column[p1] for column in columns])):
                    store_vector(builder, value, _offset(builder, to, (step, p1 * n2 + p2)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(size1, size2, planes, n, n, n, planes, n, planes, n), emit


@intrinsic(prefer_literal=True)
def transform_kernels(typingctx, size1, size2, taps, tap1, tap2, channels, channel, target, step, width):
    """A vector of output channels' kernels to points: `target[point * step + c * width]` for `c < channels`.

    Tap `k1, k2` lies at `taps[c * channel + k1 * tap1 + k2 * tap2]`.
    """
    element = taps.dtype
    sizes = size1.literal_value, size2.literal_value

    def emit(context, builder, signature, args):
        keep_whole(builder)
        _, _, taps, tap1, tap2, channels, channel, target, step, width = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)
        taps1, taps2 = map(taps_of, sizes)
        points2 = points_of(sizes[1])
        with cgutils.for_range(builder, channels) as loop:
            first, columns = builder.gep(taps, [builder.mul(loop.index, channel)]), []
            for k2 in range(taps2):
                places = [_offset(builder, first, (tap1, k1), (tap2, k2)) for k1 in range(taps1)]
                columns.append(kernels_to_points(sizes[0], do, [load_vector(builder, at, vector) for at in places]))
            to = builder.gep(target, [builder.mul(loop.index, width)])
            for p1 in range(points_of(sizes[0])):
                for p2, value in enumerate(kernels_to_points(sizes[1], do, [column[p1] for column in columns])):
                    store_vector(builder, value, _offset(builder, to, (step, p1 * points2 + p2)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(size1, size2, taps, n, n, n, n, taps, n, n), emit


@intrinsic(prefer_literal=True)
def weigh_kernels(typingctx, size1, size2, taps, tap, channels, channel, weights):
    """Add the magnitudes of each tap of a vector of output channels, of all channels, to the vectors of `weights`.

    The vector after them keeps the largest of all, and to the one after that is added how many are `TINY` times the
    mean of these taps at most. Taps lie `tap` elements apart.
    """
    element = taps.dtype
    count = taps_of(size1.literal_value) * taps_of(size2.literal_value)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        _, _, taps, tap, channels, channel, weights = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)
        places = [builder.gep(weights, [_INT64(t * vector.count)]) for t in range(count + 2)]
        old = [load_vector(builder, place, vector) for place in places]
        *sums, largest, tiny = (cgutils.alloca_once_value(builder, value) for value in old)

        def magnitudes(index):
            first = builder.gep(taps, [builder.mul(index, channel)])
            return [do.magnitude(load_vector(builder, _offset(builder, first, (tap, t)), vector)) for t in range(count)]

        with cgutils.for_range(builder, channels) as loop:
            sizes = magnitudes(loop.index)
            for total, size in zip(sums, sizes, strict=True):
                builder.store(do.plus(builder.load(total), size), total)
            builder.store(do.larger(builder.load(largest), functools.reduce(do.larger, sizes)), largest)
        added = [do.minus(builder.load(total), before) for total, before in zip(sums, old[:count], strict=True)]
        terms = builder.sitofp(builder.mul(channels, _INT64(count)), vector.element)
        mean = builder.fdiv(functools.reduce(do.plus, added), broadcast(builder, terms, vector))
        limit, one, zero = do.times(mean, TINY), do.constant(1.0), ir.Constant(vector, None)
        with cgutils.for_range(builder, channels) as loop:
            few = [
                builder.select(builder.fcmp_ordered("<=", size, limit), one, zero) for size in magnitudes(loop.index)
            ]
            builder.store(do.plus(builder.load(tiny), functools.reduce(do.plus, few)), tiny)
        for place, total in zip(places, (*sums, largest, tiny), strict=True):
            store_vector(builder, builder.load(total), place)
        return context.get_dummy_value()

    n = types.intp
    return types.void(size1, size2, taps, n, n, n, taps), emit


@intrinsic(prefer_literal=True)
def transform_outputs(typingctx, size1, size2, points, step, vectors, target, row, column, columns):
    """The products of a tile, so many vectors of output channels, to outputs: `target[i1 * row + i2 * column]`.

    A point's vectors lie `step` from the last point's. Outputs from the column number `columns` on are left out.
    """
    element = points.dtype
    sizes = size1.literal_value, size2.literal_value

    def emit(context, builder, signature, args):
        keep_whole(builder)
        _, _, points, step, vectors, target, row, column, columns = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)
        n1, n2 = map(points_of, sizes)
        with cgutils.for_range(builder, vectors) as loop:
            offset = builder.mul(loop.index, _INT64(vector.count))
            first, to = builder.gep(points, [offset]), builder.gep(target, [offset])
            halves = []
            for p2 in range(n2):
                products = [
                    load_vector(builder, _offset(builder, first, (step, p1 * n2 + p2)), vector) for p1 in range(n1)
                ]
                halves.append(outputs_from_points(sizes[0], do, products))
            for i1 in range(sizes[0]):
                values = outputs_from_points(sizes[1], do, [half[i1] for half in halves])
                start = _offset(builder, to, (row, i1))
                store_vector(builder, values[0], start)
                for i2 in range(1, sizes[1]):
                    with builder.if_then(builder.icmp_signed("<", _INT64(i2), columns), likely=True):
                        store_vector(builder, values[i2], _offset(builder, start, (column, i2)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(size1, size2, points, n, n, points, n, n, n), emit


@intrinsic(prefer_literal=True)
def measure_tiles(typingctx, size1, size2, weights, room, slots, slot, count, target, step):
    """Of tiles whose `weights`, of so many slots, `transform_inputs` left: three rows of the target, for `i < count`.

    The sum of all inputs' magnitudes, the largest of them, and the lightest window's sum, which counts only what the
    window holds of the tile's centre. Full vectors are written.
    """
    element = weights.dtype
    sizes = size1.literal_value, size2.literal_value

    def emit(context, builder, signature, args):
        keep_whole(builder)
        _, _, weights, room, slots, slot, count, target, step = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)
        rows = [do.plus] * (sizes[0] * sizes[1] + 1) + [do.larger]
        sums = [cgutils.alloca_once(builder, vector) for _ in rows]
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(vector.count), inc=True) as (i, _):
            for total in sums:
                builder.store(ir.Constant(vector, None), total)
            with cgutils.for_range(builder, slots) as loop:
                first = builder.gep(weights, [builder.add(builder.mul(loop.index, slot), i)])
                for row, (join, total) in enumerate(zip(rows, sums, strict=True)):
                    value = load_vector(builder, _offset(builder, first, (room, row)), vector)
                    builder.store(join(builder.load(total), value), total)
            *centre, total, largest = map(builder.load, sums)
            lines, windows = [centre[j * sizes[1] : (j + 1) * sizes[1]] for j in range(sizes[0])], []
            for some in _windows(lines):
                part = [functools.reduce(do.plus, column) for column in zip(*some, strict=True)]
                windows += [functools.reduce(do.plus, window) for window in _windows(part)]
            for row, value in enumerate((total, largest, functools.reduce(do.smaller, windows))):
                store_vector(builder, value, builder.gep(_offset(builder, target, (step, row)), [i]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(size1, size2, weights, n, n, n, n, weights, n), emit


def _windows(centre):
    """What each window of a tile holds of what lies within its first and last element."""
    return [centre[max(i - 1, 0) : i + 2] for i in range(len(centre))]
