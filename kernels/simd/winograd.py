"""Winograd's transforms, with the elements of a tile in registers.

An axis has windows of 3 or 2 taps and is cut into tiles of 4 outputs, which read 6 or 5 inputs; an axis of one tap has
tiles of one. The points are 0, +-3/4, +-3/2 and infinity for 3 taps, +-7/16, +-5/4 and infinity for 2: see
`convolution.winograd`. What is squared or multiplied of these points is exact in any type.
"""

import functools
import itertools

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
    split_turns,
    store_vector,
)

_INT64 = ir.IntType(64)
_LINE = 64
KINDS = [kind for kind in itertools.product((1, 2, 3), repeat=2) if kind != (1, 1)]  # of tiles: taps of both axes
TINY = 1 / 512  # of the mean of a kernel's taps
POINTS = {3: (0.75, 1.5), 2: (0.4375, 1.25)}  # by taps: two of each sign


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


def inputs_to_points(taps, do, d):
    """Of inputs along an axis, in order; the points in the order that the docstring of the module has."""
    if taps == 1:
        return d
    (a, b), d1, d2, d3, d4, d5 = POINTS[taps], *d[-5:]
    even_a, odd_a = do.plus_times(d4, d2, -(b**2)), do.plus_times(d3, d1, -(b**2))
    even_b, odd_b = do.plus_times(d4, d2, -(a**2)), do.plus_times(d3, d1, -(a**2))
    zero = [do.plus_times(even_a, do.plus_times(d2, d[0], -(b**2)), -(a**2))] if taps == 3 else []
    last = do.plus_times(do.plus_times(d5, d3, -(b**2)), odd_a, -(a**2))
    odd_a, odd_b = do.times(odd_a, a), do.times(odd_b, b)
    paired = do.plus(even_a, odd_a), do.minus(even_a, odd_a), do.plus(even_b, odd_b), do.minus(even_b, odd_b)
    return [*zero, *paired, last]


def kernels_to_points(taps, do, g):
    """Of taps along an axis."""
    if taps == 1:
        return g
    a, b = POINTS[taps]
    # A product of a point's differences to the others, to 0 as well where that is one.
    scale_a, scale_b = (1 / (2 * p ** (taps - 1) * (p**2 - q**2)) for p, q in ((a, b), (b, a)))
    even_a, even_b = do.times(g[0], scale_a), do.times(g[0], scale_b)
    odd_a, odd_b = do.times(g[1], scale_a * a), do.times(g[1], scale_b * b)
    if taps == 3:
        even_a, even_b = do.plus_times(even_a, g[2], scale_a * a**2), do.plus_times(even_b, g[2], scale_b * b**2)
    zero = [do.times(g[0], 1 / (a * b) ** 2)] if taps == 3 else []
    if taps == 2:  # the scale of the negative point is negative
        even_a, odd_a, even_b, odd_b = odd_a, even_a, odd_b, even_b
    paired = do.plus(even_a, odd_a), do.minus(even_a, odd_a), do.plus(even_b, odd_b), do.minus(even_b, odd_b)
    return [*zero, *paired, g[-1]]


def outputs_from_points(taps, do, m):
    """Of products at the points of an axis."""
    if taps == 1:
        return m
    (a, b), m1, m2, m3, m4, last = POINTS[taps], *m[-5:]
    even_a, odd_a = do.plus(m1, m2), do.times(do.minus(m1, m2), a)
    even_b, odd_b = do.plus(m3, m4), do.times(do.minus(m3, m4), b)
    even = do.plus(even_a, even_b)
    return [
        do.plus(m[0], even) if taps == 3 else even,
        do.plus(odd_a, odd_b),
        do.plus_times(do.times(even_b, b**2), even_a, a**2),
        do.plus_times(do.plus_times(last, odd_b, b**2), odd_a, a**2),
    ]


def size_of(taps):
    """Outputs of a tile."""
    return 4 if taps > 1 else 1


def points_of(taps):
    """Points, and inputs, of a tile."""
    return size_of(taps) + taps - 1


def weighed_of(taps):
    """The first of the inputs that are weighed one by one, and how many: the centre of a tile of 3 taps, else all."""
    return (1, 4) if taps == 3 else (0, points_of(taps))


def _for_kind(builder, taps, emit, kinds=KINDS):
    """Code for every kind of tile, of which what is for these taps runs: `emit` has them as numbers of Python's."""
    number = functools.reduce(lambda total, value: builder.add(builder.shl(total, _INT64(2)), value), taps)
    end = builder.append_basic_block()
    switch = builder.switch(number, end)
    for kind in kinds:
        block = builder.append_basic_block()
        switch.add_case(_INT64(functools.reduce(lambda total, value: 4 * total + value, kind)), block)
        builder.position_at_end(block)
        emit(*kind)
        builder.branch(end)
    builder.position_at_end(end)


def _vector_of(context, element):
    return ir.VectorType(context.get_value_type(element), VECTOR_BYTES * 8 // element.bitwidth)


def _offset(builder, pointer, *steps):
    """The pointer, so many elements further: each step is a number, or one and how often it is taken."""
    for step in steps:
        step, times = step if isinstance(step, tuple) else (step, 1)
        if times:
            pointer = builder.gep(pointer, [builder.mul(step, _INT64(times))])
    return pointer


@intrinsic
def pack_phases(
    typingctx, size1, taps2, target, plane, pitch, array, start, step, ahead, row, rows, count, left, right, padding
):
    """Pack rows of inputs, from number `row` on, by phases: what tiles have at the same place lies side by side.

    `target[phase * plane + r // size1 * pitch + i] = array[start + (r - row) * step + e]` where `left <= e < right`,
    else `padding`, for `row <= r < row + rows`, `i < count`, `e = size2 * i + j` and each of `inputs2` inputs `j` of a
    tile; the phase is `r % size1 * inputs2 + j`. Nothing else of the array, or of what a pointer points at, is touched;
    what lies `ahead` is asked to come into the cache. The target is written by full vectors, which may end past the
    last row of a phase.
    """
    is_pointer = isinstance(array, types.CPointer)
    element = array.dtype if is_pointer else array.compute

    def emit(context, builder, signature, args):
        keep_whole(builder)
        height, taps2, target, plane, pitch, source, start, step, ahead, row, rows, count, left, right, padding = args
        vector = _vector_of(context, element)
        lanes = vector.count
        index = ir.VectorType(ir.IntType(32), lanes)
        source = builder.gep(source if is_pointer else data_of(context, builder, array, source), [start])
        within = builder.sub(height, _INT64(1))  # a power of two less one: 1 or 4 rows
        filled = broadcast(builder, padding, vector)

        def shuffle(a, b, order):
            return builder.shuffle_vector(a, b, ir.Constant(index, list(order)))

        def load(pointer, *mask):
            if is_pointer:
                return load_vector(builder, pointer, vector, *mask)
            return load_elements(context, builder, array, pointer, vector, *mask)

        def emit_taps(taps):
            every, inputs = size_of(taps), points_of(taps)
            vectors = every + (every > 1)  # the last tile's last inputs are in one more

            def pack_rows(begin, offset, masks):
                with cgutils.for_range(builder, rows) as loop:
                    line = builder.gep(source, [builder.add(builder.mul(loop.index, step), begin)])
                    r = builder.add(row, loop.index)
                    phase = builder.mul(builder.and_(r, within), builder.mul(plane, _INT64(inputs)))
                    to = builder.gep(target, [builder.add(phase, offset)])
                    to = builder.gep(to, [builder.mul(builder.lshr(r, builder.ctpop(within)), pitch)])
                    values = [load(builder.gep(line, [_INT64(i * lanes)]), *mask) for i, mask in enumerate(masks)]
                    for i in range(0, every * VECTOR_BYTES, _LINE):
                        prefetch(builder, builder.gep(line, [builder.add(ahead, _INT64(i * 8 // element.bitwidth))]))
                    phases = split_turns(builder, values[:every])
                    for j in range(inputs - every):
                        phases.append(shuffle(phases[j], values[-1], [*range(1, lanes), lanes + j]))
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

        _for_kind(builder, (taps2,), emit_taps, ((1,), (2,), (3,)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, target, n, n, array, n, n, n, n, n, n, n, n, element), emit


@intrinsic
def transform_inputs(typingctx, taps1, taps2, planes, plane, pitch, count, target, step, weights, room):
    """Inputs of tiles as `pack_phases` left them, to points: `target[point * step + i]` for `i < count`.

    Input `j1, j2` of a tile lies in plane `(j1 % size1) * inputs2 + j2`, `j1 // size1 * pitch` further. Magnitudes are
    added to rows of `weights`, `room` apart: those of each input that `weighed_of` says, and then those of all; the row
    after them keeps the largest. Full vectors are written.
    """
    element = planes.dtype

    def emit(context, builder, signature, args):
        keep_whole(builder)
        taps1, taps2, planes, plane, pitch, count, target, step, weights, room = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)

        def emit_kind(*taps):
            size1, (n1, n2) = size_of(taps[0]), map(points_of, taps)
            (first1, rows1), (first2, rows2) = map(weighed_of, taps)

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
                        row, phase = divmod(j1, size1)
                        where = _offset(builder, below if row else first, (plane, phase * n2 + j2))
                        column.append(load_vector(builder, where, vector))
                        totals.append(do.magnitude(column[-1]))
                        if 0 <= j1 - first1 < rows1 and 0 <= j2 - first2 < rows2:
                            join((j1 - first1) * rows2 + j2 - first2, totals[-1], i, do.plus)
                    sums.append(functools.reduce(do.plus, totals))
                    largest.append(functools.reduce(do.larger, totals))
                    columns.append(inputs_to_points(taps[0], do, column))
                join(rows1 * rows2, functools.reduce(do.plus, sums), i, do.plus)
                join(rows1 * rows2 + 1, functools.reduce(do.larger, largest), i, do.larger)
                to = builder.gep(target, [i])
                for p1 in range(n1):
                    for p2, value in enumerate(inputs_to_points(taps[1], do, [column[p1] for column in columns])):
                        store_vector(builder, value, _offset(builder, to, (step, p1 * n2 + p2)))

        _for_kind(builder, (taps1, taps2), emit_kind)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, planes, n, n, n, planes, n, planes, n), emit


@intrinsic
def transform_kernels(typingctx, taps1, taps2, kernels, tap1, tap2, channels, channel, target, step, width):
    """A vector of output channels' kernels to points: `target[point * step + c * width]` for `c < channels`.

    Tap `k1, k2` lies at `kernels[c * channel + k1 * tap1 + k2 * tap2]`.
    """
    element = kernels.dtype

    def emit(context, builder, signature, args):
        keep_whole(builder)
        taps1, taps2, kernels, tap1, tap2, channels, channel, target, step, width = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)

        def emit_kind(*taps):
            points1, points2 = map(points_of, taps)
            with cgutils.for_range(builder, channels) as loop:
                first, columns = builder.gep(kernels, [builder.mul(loop.index, channel)]), []
                for k2 in range(taps[1]):
                    places = [_offset(builder, first, (tap1, k1), (tap2, k2)) for k1 in range(taps[0])]
                    columns.append(kernels_to_points(taps[0], do, [load_vector(builder, at, vector) for at in places]))
                to = builder.gep(target, [builder.mul(loop.index, width)])
                for p1 in range(points1):
                    for p2, value in enumerate(kernels_to_points(taps[1], do, [column[p1] for column in columns])):
                        store_vector(builder, value, _offset(builder, to, (step, p1 * points2 + p2)))

        _for_kind(builder, (taps1, taps2), emit_kind)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, kernels, n, n, n, n, kernels, n, n), emit


@intrinsic
def weigh_kernels(typingctx, taps1, taps2, kernels, tap1, tap2, channels, channel, weights):
    """Add the magnitudes of each tap of a vector of output channels, of all channels, to the vectors of `weights`.

    The vector after them keeps the largest of all, and to the one after that is added how many are `TINY` times the
    mean of these taps at most. Taps lie as for `transform_kernels`.
    """
    element = kernels.dtype

    def emit(context, builder, signature, args):
        keep_whole(builder)
        taps1, taps2, kernels, tap1, tap2, channels, channel, weights = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)

        def emit_kind(*taps):
            count = taps[0] * taps[1]
            places = [builder.gep(weights, [_INT64(t * vector.count)]) for t in range(count + 2)]
            old = [load_vector(builder, place, vector) for place in places]
            *sums, largest, tiny = (cgutils.alloca_once_value(builder, value) for value in old)

            def magnitudes(index):
                first = builder.gep(kernels, [builder.mul(index, channel)])
                steps = itertools.product(*map(range, taps))
                places = [_offset(builder, first, (tap1, k1), (tap2, k2)) for k1, k2 in steps]
                return [do.magnitude(load_vector(builder, place, vector)) for place in places]

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
                are_tiny = [builder.fcmp_ordered("<=", size, limit) for size in magnitudes(loop.index)]
                few = [builder.select(is_tiny, one, zero) for is_tiny in are_tiny]
                builder.store(do.plus(builder.load(tiny), functools.reduce(do.plus, few)), tiny)
            for place, total in zip(places, (*sums, largest, tiny), strict=True):
                store_vector(builder, builder.load(total), place)

        _for_kind(builder, (taps1, taps2), emit_kind)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, kernels, n, n, n, n, kernels), emit


@intrinsic
def transform_outputs(typingctx, taps1, taps2, points, step, vectors, target, row, column, columns):
    """The products of a tile, so many vectors of output channels, to outputs: `target[i1 * row + i2 * column]`.

    A point's vectors lie `step` from the last point's. Outputs from the column number `columns` on are left out.
    """
    element = points.dtype

    def emit(context, builder, signature, args):
        keep_whole(builder)
        taps1, taps2, points, step, vectors, target, row, column, columns = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)

        def emit_kind(*taps):
            (size1, size2), (n1, n2) = map(size_of, taps), map(points_of, taps)
            with cgutils.for_range(builder, vectors) as loop:
                offset = builder.mul(loop.index, _INT64(vector.count))
                first, to = builder.gep(points, [offset]), builder.gep(target, [offset])
                halves = []
                for p2 in range(n2):
                    products = [
                        load_vector(builder, _offset(builder, first, (step, p1 * n2 + p2)), vector) for p1 in range(n1)
                    ]
                    halves.append(outputs_from_points(taps[0], do, products))
                for i1 in range(size1):
                    values = outputs_from_points(taps[1], do, [half[i1] for half in halves])
                    start = _offset(builder, to, (row, i1))
                    store_vector(builder, values[0], start)
                    for i2 in range(1, size2):
                        with builder.if_then(builder.icmp_signed("<", _INT64(i2), columns), likely=True):
                            store_vector(builder, values[i2], _offset(builder, start, (column, i2)))

        _for_kind(builder, (taps1, taps2), emit_kind)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, points, n, n, points, n, n, n), emit


@intrinsic
def measure_tiles(typingctx, taps1, taps2, weights, room, slots, slot, count, target, step):
    """Of tiles whose `weights`, of so many slots, `transform_inputs` left: three rows of the target, for `i < count`.

    The sum of all inputs' magnitudes, the largest of them, and the lightest window's sum, which counts only what the
    window holds of the inputs that are weighed. Full vectors are written.
    """
    element = weights.dtype

    def emit(context, builder, signature, args):
        keep_whole(builder)
        taps1, taps2, weights, room, slots, slot, count, target, step = args
        vector = _vector_of(context, element)
        do = _Arithmetic(builder, element, vector)

        def emit_kind(*taps):
            (_, rows1), (_, rows2) = map(weighed_of, taps)
            rows = [do.plus] * (rows1 * rows2 + 1) + [do.larger]
            sums = [cgutils.alloca_once(builder, vector) for _ in rows]
            with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(vector.count), inc=True) as (i, _):
                for total in sums:
                    builder.store(ir.Constant(vector, None), total)
                with cgutils.for_range(builder, slots) as loop:
                    first = builder.gep(weights, [builder.add(builder.mul(loop.index, slot), i)])
                    for row, (join, total) in enumerate(zip(rows, sums, strict=True)):
                        value = load_vector(builder, _offset(builder, first, (room, row)), vector)
                        builder.store(join(builder.load(total), value), total)
                *weighed, total, largest = map(builder.load, sums)
                lines, windows = [weighed[j * rows2 : (j + 1) * rows2] for j in range(rows1)], []
                for some in _windows(taps[0], lines):
                    part = [functools.reduce(do.plus, column) for column in zip(*some, strict=True)]
                    windows += [functools.reduce(do.plus, window) for window in _windows(taps[1], part)]
                for row, value in enumerate((total, largest, functools.reduce(do.smaller, windows))):
                    store_vector(builder, value, builder.gep(_offset(builder, target, (step, row)), [i]))

        _for_kind(builder, (taps1, taps2), emit_kind)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, weights, n, n, n, n, weights, n), emit


def _windows(taps, weighed):
    """What each window of a tile holds of the inputs that are weighed."""
    first, _ = weighed_of(taps)
    return [weighed[max(i - first, 0) : i - first + taps] for i in range(size_of(taps))]
