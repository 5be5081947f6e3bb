"""Boxes of elements, planes of rows of columns: copied, set to zero, added to others and stored, by whole vectors.

Columns of what is written lie next to each other; everything else lies at any steps. A row that is no whole number of
vectors ends with one that begins before the last one ends, in vectors as short as the row asks for: so nothing outside
of it is touched, and no CPU needs masks. Only sums, to which nothing may be added twice, end with less than a vector.
"""

import functools
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype

from ..strided import data_of, narrow, widen
from .elements import llvm_type
from .vectors import (
    VECTOR_BYTES,
    add,
    broadcast,
    first_lanes,
    keep_whole,
    load_vector,
    pick,
    prefetch,
    store_vector,
    transpose,
    unpack,
)

_INT64 = ir.IntType(64)
_FEW = 16  # columns that are written one below the other: for more of them, a call for each row is worth it
_SIDES = 16, 8, 4  # of squares that are transposed
STEPS = 4  # of columns that are read by whole vectors, at most
_STEPS = *range(1, STEPS + 1), -1, -2
_MOST = 4  # steps of columns that are written by whole vectors
PARTIAL = VECTOR_BYTES == 64  # whether parts of vectors of any elements are read as fast as whole ones


class Box(NamedTuple):
    """How many planes, rows of a plane and columns of a row."""

    planes: int
    rows: int
    columns: int


class Part(NamedTuple):
    """Rows and columns of a plane, from and to."""

    top: int
    bottom: int
    left: int
    right: int


class Place(NamedTuple):
    """Where a box begins, and the steps in it, all in elements."""

    start: int
    plane: int
    row: int
    column: int


def _bits(array):
    """Of an element in memory."""
    return 8 * as_dtype(array.dtype).itemsize


def _sides(bits):
    """Of squares that are transposed: rows that are no longer than a vector, for numbers of a few bits of one size."""
    return [side for side in _SIDES[: 3 if bits > 16 else 2] if side * bits <= max(VECTOR_BYTES * 8, 4 * bits)]


def _times(builder, count, number):
    return builder.mul(count, _INT64(number)) if number != 1 else count


def _at(builder, pointer, word, offset):
    return builder.gep(pointer, [offset], source_etype=word)


def _start(context, builder, array, value, place, word, words):
    """A pointer to the first word of a box, and the steps of the box in words."""
    steps = Place(*(_times(builder, step, words) for step in place))
    data = builder.bitcast(data_of(context, builder, array, value), word.as_pointer())
    return _at(builder, data, word, steps.start), steps


def _rows_of(builder, box, pointers, words, places, body):
    """`body(*rows)` with pointers to the rows of several boxes of one size."""
    box, places = _rows_inside(builder, box, places)
    with cgutils.for_range(builder, box.planes) as i, cgutils.for_range(builder, box.rows) as j:
        offsets = [builder.add(builder.mul(place.plane, i.index), builder.mul(place.row, j.index)) for place in places]
        rows = [_at(builder, *each) for each in zip(pointers, words, offsets, strict=True)]
        body(*rows)


def _rows_inside(builder, box, places):
    """The same boxes, whose planes are rows where planes have one: inner loops are long ones then."""
    is_row = builder.icmp_signed("==", box.rows, _INT64(1))

    def swapped(a, b):
        return builder.select(is_row, b, a), builder.select(is_row, a, b)

    planes, rows = swapped(box.planes, box.rows)
    turned = [swapped(place.plane, place.row) for place in places]
    return Box(planes, rows, box.columns), [
        place._replace(plane=plane, row=row) for place, (plane, row) in zip(places, turned, strict=True)
    ]


def _by_width(builder, count, widths, emit):
    """`emit(width)` for the first of the widths, largest first and 1 at last, that is no more than a count."""
    if len(widths) == 1:
        emit(widths[0])
        return
    with builder.if_else(builder.icmp_signed(">=", count, _INT64(widths[0]))) as (wide, narrower):
        with wide:
            emit(widths[0])
        with narrower:
            _by_width(builder, count, widths[1:], emit)


def _overlapping(builder, count, width, body):
    """`body(offset)` for vectors that cover a count, at least one: the last may begin before the one before it ends."""
    last = builder.sub(count, _INT64(width))
    with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(width), inc=True) as (offset, _):
        body(builder.select(builder.icmp_signed("<", offset, last), offset, last))


def _by_vectors(builder, count, lanes, emit):
    """`emit(vectors)` for one or two vectors of a count, where the last may be a part; for another number with None."""
    if not PARTIAL:
        emit(None)
        return
    with builder.if_else(builder.icmp_signed("<=", count, _INT64(lanes))) as (one, more):
        with one:
            emit(1)
        with more, builder.if_else(builder.icmp_signed("<=", count, _INT64(2 * lanes))) as (two, many):
            with two:
                emit(2)
            with many:
                emit(None)


def _without_overlap(builder, count, lanes, body, vectors=None):
    """`body(offset, lanes, mask)` for a count: whole vectors, then one with a mask where masks cost nothing, or halves.

    Without a mask it is None. Where the number of vectors is known no loop is made, so that LLVM unrolls one over rows.
    """
    if vectors is not None:
        for i in range(vectors - 1):
            body(_INT64(i * lanes), lanes, None)
        last = _INT64((vectors - 1) * lanes)
        body(last, lanes, first_lanes(builder, builder.sub(count, last), lanes))
        return
    rest = builder.and_(count, _INT64(lanes - 1))
    whole = builder.sub(count, rest)
    with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(lanes), inc=True) as (offset, _):
        body(offset, lanes, None)
    if PARTIAL:
        with builder.if_then(builder.icmp_signed(">", rest, _INT64(0))):
            body(whole, lanes, first_lanes(builder, rest, lanes))
        return
    while lanes > 1:
        lanes //= 2
        bit = builder.and_(count, _INT64(lanes))
        with builder.if_then(builder.icmp_signed("!=", bit, _INT64(0))):
            body(builder.and_(count, _INT64(-2 * lanes)), lanes, None)


@intrinsic
def copy_box(typingctx, array, source, out, target, box, are_gaps_free):
    """Copy a box of one array to another of the same type, bit by bit; both are a `Place`, and no size is 0.

    Rows that lie as far apart on both sides are copied as one where nothing lies between them, or `are_gaps_free`: the
    columns up to the next row of the target may then hold anything.
    """
    bits = _bits(array)
    word, words = ir.IntType(min(bits, 64)), max(bits // 64, 1)
    most = max(VECTOR_BYTES * 8 // bits, 1)
    widths = [1 << i for i in range(most.bit_length() - 1, -1, -1)]

    def vector(width):
        return ir.VectorType(word, width * words) if width * words > 1 else word

    def load(builder, pointer, width):
        if width * words > 1:
            return load_vector(builder, pointer, vector(width))
        return builder.load(pointer, typ=word)

    def store(builder, value, pointer):
        if isinstance(value.type, ir.VectorType):
            store_vector(builder, value, pointer)
        else:
            builder.store(value, pointer)

    def load_every(builder, pointer, width, step):
        """Elements that lie so far apart, those of lower addresses before the pointer's if the step is negative."""
        every, span = abs(step), (width - 1) * abs(step) + 1
        starts = [min(i * width, span - width) for i in range(every)]  # the last vector ends with the last element
        lowest = 0 if step > 0 else 1 - span
        vectors = [load(builder, _at(builder, pointer, word, _INT64((lowest + i) * words)), width) for i in starts]
        if step == 1 or width == 1:
            return vectors[0]
        owners = [min(i * every // width, every - 1) for i in range(width)]
        places = [(owner, i * every - starts[owner]) for i, owner in enumerate(owners)]
        return pick(builder, vectors, places[:: 1 if step > 0 else -1], words)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        x, source_value, y, target_value, box_value, free_value = args
        sizes = unpack(builder, box, box_value)
        first, source_steps = _start(context, builder, array, x, unpack(builder, source, source_value), word, words)
        goal, target_steps = _start(context, builder, out, y, unpack(builder, target, target_value), word, words)
        places = source_steps, target_steps

        def copy(step, sizes):
            """Columns that lie so far apart, by whole vectors."""

            def vectors(width):
                def row(read, write):
                    def body(offset):
                        at = _at(builder, read, word, _times(builder, offset, step * words))
                        to = _at(builder, write, word, _times(builder, offset, words))
                        store(builder, load_every(builder, at, width, step), to)

                    if width == most or step not in (1, 2):
                        _overlapping(builder, sizes.columns, width, body)
                    else:  # less than two of them, as of wider ones there is not one; LLVM then unrolls rows
                        body(_INT64(0))
                        body(builder.sub(sizes.columns, _INT64(width)))

                _rows_of(builder, sizes, (first, goal), (word, word), places, row)

            _by_width(builder, sizes.columns, widths, vectors)

        def copy_one_by_one():
            def row(read, write):
                with cgutils.for_range(builder, sizes.columns) as column:
                    at = _at(builder, read, word, builder.mul(column.index, source_steps.column))
                    value = load(builder, at, 1)
                    store(builder, value, _at(builder, write, word, _times(builder, column.index, words)))

            _rows_of(builder, sizes, (first, goal), (word, word), places, row)

        def copy_neighbours():
            alike = builder.icmp_signed("==", source_steps.row, target_steps.row)
            dense = builder.icmp_signed("==", target_steps.row, _times(builder, sizes.columns, words))
            alike = builder.and_(alike, builder.or_(free_value, dense))
            run = builder.mul(builder.sub(sizes.rows, _INT64(1)), target_steps.row)
            run = builder.sdiv(run, _INT64(words)) if words > 1 else run
            run = builder.add(run, sizes.columns)
            rows = builder.select(alike, _INT64(1), sizes.rows)
            copy(1, Box(sizes.planes, rows, builder.select(alike, run, sizes.columns)))

        def copy_transposed(sides, sizes, source_steps, target_steps):
            """Planes lie next to each other: squares of so many planes and columns are transposed."""

            def square(side):
                def row(read, write):
                    def at_columns(column):
                        start = _at(builder, read, word, builder.mul(column, source_steps.column))
                        end = _at(builder, write, word, column)

                        def at_planes(plane):
                            rows = []
                            for i in range(side):
                                at = builder.add(plane, builder.mul(source_steps.column, _INT64(i)))
                                rows.append(load(builder, _at(builder, start, word, at), side))
                            rows = transpose(builder, rows)
                            for i, value in enumerate(rows):
                                to = builder.mul(target_steps.plane, builder.add(plane, _INT64(i)))
                                store(builder, value, _at(builder, end, word, to))

                        _overlapping(builder, sizes.planes, side, at_planes)

                    _overlapping(builder, sizes.columns, side, at_columns)

                alone = sizes._replace(planes=_INT64(1))
                _rows_of(builder, alone, (first, goal), (word, word), (source_steps, target_steps), row)

            def cut(side):
                """The squares of boxes that are hardly smaller than one: what is missing is not read, nor written."""
                planes, columns = (first_lanes(builder, n, side) for n in (sizes.planes, sizes.columns))
                last = builder.sub(sizes.columns, _INT64(1))

                def row(read, write):
                    rows = []
                    for i in range(side):
                        column = builder.select(builder.icmp_signed("<", _INT64(i), last), _INT64(i), last)
                        at = _at(builder, read, word, builder.mul(source_steps.column, column))
                        rows.append(load_vector(builder, at, vector(side), planes))
                    for i, value in enumerate(transpose(builder, rows)):
                        with builder.if_then(builder.icmp_signed("<", _INT64(i), sizes.planes)):
                            to = _at(builder, write, word, builder.mul(target_steps.plane, _INT64(i)))
                            store_vector(builder, value, to, columns)

                alone = sizes._replace(planes=_INT64(1))
                _rows_of(builder, alone, (first, goal), (word, word), (source_steps, target_steps), row)

            def smaller(a, b):
                return builder.select(builder.icmp_signed("<", a, b), a, b)

            def whole():
                least = smaller(sizes.planes, sizes.columns)
                _by_width(builder, least, [*sides, 1], lambda side: square(side) if side > 1 else copy_one_by_one())

            if not PARTIAL or bits > 8:  # of wider elements, a few smaller squares are faster
                whole()
                return
            side, rest = sides[0], [builder.sub(_INT64(sides[0]), n) for n in (sizes.planes, sizes.columns)]
            fits = builder.and_(*(builder.icmp_unsigned("<", n, _INT64(side - sides[1])) for n in rest))
            with builder.if_else(fits) as (inside, outside):
                with inside:
                    cut(side)
                with outside:
                    whole()

        end = builder.append_basic_block("end")
        step = source_steps.column
        for number in _STEPS:
            with builder.if_then(builder.icmp_signed("==", step, _INT64(number * words))):
                copy_neighbours() if number == 1 else copy(number, sizes)
                builder.branch(end)
        sides = _sides(bits)
        if words == 1:
            by_plane = builder.icmp_signed("==", source_steps.plane, _INT64(1))
            by_row = builder.icmp_signed("==", source_steps.row, _INT64(1))
            with builder.if_then(builder.or_(by_plane, by_row)):

                def either(plane, row):
                    return builder.select(by_plane, plane, row), builder.select(by_plane, row, plane)

                turned = [
                    place._replace(plane=p, row=r) for place in places for p, r in [either(place.plane, place.row)]
                ]
                copy_transposed(sides, Box(*either(sizes.planes, sizes.rows), sizes.columns), *turned)
                builder.branch(end)
        copy_one_by_one()
        builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(array, source, out, target, box, types.boolean), emit


def _for_framed(builder, box, part, lanes, words, body):
    """`body(offset, mask)` for vectors of words that cover a plane as one run: which of them are of a part of it."""
    index, floats = ir.VectorType(ir.IntType(32), lanes), ir.VectorType(ir.FloatType(), lanes)
    top, bottom, left, right, columns = (
        broadcast(builder, builder.trunc(each, ir.IntType(32)), index)
        for each in (
            builder.mul(part.top, box.columns),
            builder.mul(part.bottom, box.columns),
            part.left,
            part.right,
            box.columns,
        )
    )
    size = _times(builder, builder.mul(box.rows, box.columns), words)
    with cgutils.for_range_slice(builder, _INT64(0), size, _INT64(lanes), inc=True) as (offset, _):
        places = builder.add(
            broadcast(builder, builder.trunc(offset, ir.IntType(32)), index), ir.Constant(index, list(range(lanes)))
        )
        places = builder.udiv(places, ir.Constant(index, [words] * lanes)) if words > 1 else places
        # Halfway between whole numbers, so that a quotient's error does not matter.
        middle = builder.fadd(builder.sitofp(places, floats), ir.Constant(floats, [0.5] * lanes))
        row = builder.fptosi(builder.fdiv(middle, builder.sitofp(columns, floats)), index)
        column = builder.sub(places, builder.mul(row, columns))
        mask = builder.icmp_signed(">=", places, top)
        for compare, value, bound in (("<", places, bottom), (">=", column, left), ("<", column, right)):
            mask = builder.and_(mask, builder.icmp_signed(compare, value, bound))
        body(offset, mask)


@intrinsic
def copy_framed(typingctx, array, source, out, target, box, part):
    """Copy a part of planes and set what is around it to zero, where rows of both follow each other without a gap.

    The source begins where the first element of a plane would lie, if that were of the part. It is one run then, of
    vectors with a mask that is the same for all planes.
    """
    bits = _bits(array)
    word, words = ir.IntType(min(bits, 64)), max(bits // 64, 1)
    lanes = VECTOR_BYTES * 8 // word.width

    def emit(context, builder, signature, args):
        keep_whole(builder)
        x, source_value, y, target_value, box_value, part_value = args
        sizes, inner = unpack(builder, box, box_value), unpack(builder, part, part_value)
        first, read = _start(context, builder, array, x, unpack(builder, source, source_value), word, words)
        goal, write = _start(context, builder, out, y, unpack(builder, target, target_value), word, words)
        size = _times(builder, builder.mul(sizes.rows, sizes.columns), words)

        def body(offset, mask):
            def planes(end):
                with cgutils.for_range(builder, sizes.planes) as plane:
                    at = builder.add(offset, builder.mul(read.plane, plane.index))
                    to = builder.add(offset, builder.mul(write.plane, plane.index))
                    value = load_vector(builder, _at(builder, first, word, at), ir.VectorType(word, lanes), mask)
                    store_vector(builder, value, _at(builder, goal, word, to), end)

            rest = builder.sub(size, offset)
            with builder.if_else(builder.icmp_signed(">=", rest, _INT64(lanes))) as (whole, last):
                with whole:
                    planes(None)
                with last:
                    planes(first_lanes(builder, rest, lanes))

        _for_framed(builder, sizes, inner, lanes, words, body)
        return context.get_dummy_value()

    return types.void(array, source, out, target, box, part), emit


@intrinsic
def prefetch_run(typingctx, array, start, count):
    """Ask for so many elements that lie next to each other, which will be read or written."""
    size = _bits(array) // 8

    def emit(context, builder, signature, args):
        data = builder.bitcast(data_of(context, builder, array, args[0]), ir.IntType(8).as_pointer())
        first = _at(builder, data, ir.IntType(8), _times(builder, args[1], size))
        end = _times(builder, args[2], size)
        with cgutils.for_range_slice(builder, _INT64(0), end, _INT64(64), inc=True) as (offset, _):
            prefetch(builder, _at(builder, first, ir.IntType(8), offset))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), emit


@intrinsic
def zero_box(typingctx, out, target, box):
    """Set a box to zero, none of whose sizes is 0."""
    bits = _bits(out)
    word, words = ir.IntType(min(bits, 64)), max(bits // 64, 1)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        y, target_value, box_value = args
        sizes = unpack(builder, box, box_value)
        goal, steps = _start(context, builder, out, y, unpack(builder, target, target_value), word, words)
        columns, zero = _times(builder, sizes.columns, words), word(0)
        sizes, (steps,) = _rows_inside(builder, sizes, (steps,))
        with builder.if_else(builder.icmp_signed("<", columns, _INT64(_FEW))) as (few, many):
            with few, cgutils.for_range(builder, sizes.planes) as i, cgutils.for_range(builder, columns) as j:
                first = _at(builder, goal, word, builder.add(builder.mul(steps.plane, i.index), j.index))
                with cgutils.for_range(builder, sizes.rows) as k:
                    builder.store(zero, _at(builder, first, word, builder.mul(steps.row, k.index)))
            with many:
                size = _times(builder, columns, word.width // 8)
                _rows_of(builder, sizes, (goal,), (word,), (steps,), lambda row: cgutils.memset(builder, row, size, 0))
        return context.get_dummy_value()

    return types.void(out, target, box), emit


def _parts(array):
    """The type of the numbers that sums are made of, and how many an element has: complex ones are two.

    Integers wrap as they are added, so that those of memory serve; of booleans the sum is a count.
    """
    if isinstance(array.compute, types.Integer) and array.format != "bool":
        return array.dtype, 1
    part = getattr(array.compute, "underlying_float", array.compute)
    return part, 1 if part == array.compute else 2


@intrinsic
def is_copied(typingctx, array):
    """Whether a sum of one element is that element: a True that is added is 1."""

    def emit(context, builder, signature, args):
        return context.get_constant(types.boolean, array.format != "bool")

    return types.boolean(array), emit


@intrinsic
def clear_sums(typingctx, sums, array, count):
    """Set the first sums to zero, so many elements of an array."""
    part, parts = _parts(array)

    def emit(context, builder, signature, args):
        size = builder.mul(args[2], _INT64(parts * part.bitwidth // 8))
        cgutils.memset(builder, args[0], size, 0)
        return context.get_dummy_value()

    return types.void(sums, array, types.intp), emit


@intrinsic
def add_box(typingctx, sums, target, array, source, box):
    """Add a box of an array to one of sums, in the type that is computed with; no size is 0.

    The steps of sums count elements, of which complex ones are two numbers; their columns lie next to each other.
    """
    part, parts = _parts(array)
    kind, lanes = llvm_type(part), VECTOR_BYTES * 8 // part.bitwidth
    stored = kind if parts > 1 else llvm_type(array.dtype)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        data, target_value, x, source_value, box_value = args
        sizes = unpack(builder, box, box_value)
        first, read = _start(context, builder, array, x, unpack(builder, source, source_value), stored, parts)
        write = Place(*(_times(builder, step, parts) for step in unpack(builder, target, target_value)))
        goal = _at(builder, builder.bitcast(data, kind.as_pointer()), kind, write.start)

        def load(pointer, lanes, mask):
            if lanes == 1:
                value = builder.load(pointer, typ=stored)
            else:
                value = load_vector(builder, pointer, ir.VectorType(stored, lanes), mask)
            return value if kind == stored else widen(builder, array, value)

        count = _times(builder, sizes.columns, parts)

        def neighbours(vectors, total, row):
            def body(offset, lanes, mask):
                at = _at(builder, total, kind, offset)
                value = load(_at(builder, row, stored, offset), lanes, mask)
                if lanes == 1:
                    builder.store(_add_one(builder, builder.load(at, typ=kind), value), at)
                    return
                old = load_vector(builder, at, ir.VectorType(kind, lanes), mask)
                store_vector(builder, add(builder, old, value), at, mask)

            _without_overlap(builder, count, lanes, body, vectors)

        def apart(total, row):
            with cgutils.for_range(builder, sizes.columns) as column:
                for i in range(parts):
                    from_ = builder.add(builder.mul(column.index, read.column), _INT64(i))
                    at = builder.add(_times(builder, column.index, parts), _INT64(i))
                    value, at = load(_at(builder, row, stored, from_), 1, None), _at(builder, total, kind, at)
                    builder.store(_add_one(builder, builder.load(at, typ=kind), value), at)

        def for_rows(body):
            _rows_of(builder, sizes, (goal, first), (kind, stored), (write, read), body)

        is_dense = builder.icmp_signed("==", read.column, _INT64(parts))
        with builder.if_else(is_dense) as (dense, strided):
            with dense:
                _by_vectors(builder, count, lanes, lambda vectors: for_rows(functools.partial(neighbours, vectors)))
            with strided:
                for_rows(apart)
        return context.get_dummy_value()

    return types.void(sums, target, array, source, box), emit


@intrinsic
def add_framed(typingctx, sums, target, array, source, box, part):
    """Add a part of planes to sums, of which rows of both follow each other without a gap, as for `copy_framed`.

    Of what follows a plane of sums a vector is read and written, as it is.
    """
    number, parts = _parts(array)
    kind, lanes = llvm_type(number), VECTOR_BYTES * 8 // number.bitwidth
    stored = kind if parts > 1 else llvm_type(array.dtype)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        data, target_value, x, source_value, box_value, part_value = args
        sizes, inner = unpack(builder, box, box_value), unpack(builder, part, part_value)
        first, read = _start(context, builder, array, x, unpack(builder, source, source_value), stored, parts)
        write = Place(*(_times(builder, step, parts) for step in unpack(builder, target, target_value)))
        goal = _at(builder, builder.bitcast(data, kind.as_pointer()), kind, write.start)

        def body(offset, mask):
            with cgutils.for_range(builder, sizes.planes) as plane:
                at = builder.add(offset, builder.mul(read.plane, plane.index))
                to = _at(builder, goal, kind, builder.add(offset, builder.mul(write.plane, plane.index)))
                value = load_vector(builder, _at(builder, first, stored, at), ir.VectorType(stored, lanes), mask)
                value = value if kind == stored else widen(builder, array, value)
                old = load_vector(builder, to, ir.VectorType(kind, lanes))
                store_vector(builder, add(builder, old, value), to)

        _for_framed(builder, sizes, inner, lanes, parts, body)
        return context.get_dummy_value()

    return types.void(sums, target, array, source, box, part), emit


def _add_one(builder, a, b):
    return builder.add(a, b) if isinstance(a.type, ir.IntType) else builder.fadd(a, b)


def _store_first(builder, value, pointer, count):
    """Write the first elements of a vector, all if there are so many."""
    lanes, element = value.type.count, value.type.element
    if PARTIAL:
        store_vector(builder, value, pointer, first_lanes(builder, count, lanes))
        return
    for i in range(lanes):
        with builder.if_then(builder.icmp_signed("<", _INT64(i), count)):
            builder.store(builder.extract_element(value, ir.IntType(32)(i)), _at(builder, pointer, element, _INT64(i)))


@intrinsic
def store_box(typingctx, out, target, sums, source, box, every, apart):
    """Write sums, rounded or wrapped as the array's type is, to a box of an array.

    Column `j * every + i` of a row is element `i * apart + j` of a row of sums.
    """
    number, parts = _parts(out)
    kind, lanes = llvm_type(number), VECTOR_BYTES * 8 // number.bitwidth
    stored = kind if parts > 1 else llvm_type(out.dtype)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        y, target_value, data, source_value, box_value, every, apart = args
        sizes = unpack(builder, box, box_value)
        goal, write = _start(context, builder, out, y, unpack(builder, target, target_value), stored, parts)
        read = Place(*(_times(builder, step, parts) for step in unpack(builder, source, source_value)))
        first = _at(builder, builder.bitcast(data, kind.as_pointer()), kind, read.start)
        gap = _times(builder, apart, parts)

        def finish(value):
            return value if kind == stored else narrow(builder, out, value)

        def load(at, lanes, mask=None):
            return load_vector(builder, at, ir.VectorType(kind, lanes), mask)

        def neighbours(total, row):
            def body(offset, lanes, mask):
                at, to = _at(builder, total, kind, offset), _at(builder, row, stored, offset)
                if lanes == 1:
                    builder.store(finish(builder.load(at, typ=kind)), to)
                else:
                    store_vector(builder, finish(load(at, lanes, mask)), to, mask)

            _without_overlap(builder, _times(builder, sizes.columns, parts), lanes, body)

        def zipped(step, total, row):
            """Columns of so many residues in turn, vectors of them; past the end lie other sums, or room."""
            width = max(lanes // parts, 1)
            count, ends = width * parts, _times(builder, sizes.columns, parts)

            def vectors(offset):
                at = _at(builder, total, kind, offset)
                residues = [load(_at(builder, at, kind, _times(builder, gap, i)), count) for i in range(step)]
                for i in range(step):
                    places = [(j % step, j // step) for j in range(i * width, (i + 1) * width)]
                    yield (
                        builder.add(_times(builder, offset, step), _INT64(i * count)),
                        pick(builder, residues, places, parts),
                    )

            whole = builder.udiv(ends, _INT64(step * count))
            whole = builder.mul(whole, _INT64(count))
            with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(count), inc=True) as (offset, _):
                for to, value in vectors(offset):
                    store_vector(builder, finish(value), _at(builder, row, stored, to))
            with builder.if_then(builder.icmp_signed("<", _times(builder, whole, step), ends)):
                for to, value in vectors(whole):
                    _store_first(builder, finish(value), _at(builder, row, stored, to), builder.sub(ends, to))

        def one_by_one(total, row):
            with cgutils.for_range(builder, every) as i:
                start = builder.mul(i.index, gap)
                with cgutils.for_range_slice(builder, i.index, sizes.columns, every, inc=True) as (to, j):
                    for k in range(parts):
                        at = builder.add(builder.add(start, _times(builder, j, parts)), _INT64(k))
                        value = finish(builder.load(_at(builder, total, kind, at), typ=kind))
                        at = builder.add(_times(builder, to, parts), _INT64(k))
                        builder.store(value, _at(builder, row, stored, at))

        def squares(side, total, row):
            """Residues and columns of them are transposed; then the columns of the last turn, which is not whole."""
            turns = builder.sdiv(sizes.columns, every)

            def at_residues(i):
                def at_columns(j):
                    residues = [builder.mul(builder.add(i, _INT64(k)), gap) for k in range(side)]
                    lines = [load(_at(builder, total, kind, builder.add(each, j)), side) for each in residues]
                    for k, value in enumerate(transpose(builder, lines)):
                        to = builder.add(builder.mul(builder.add(j, _INT64(k)), every), i)
                        store_vector(builder, finish(value), _at(builder, row, stored, to))

                _overlapping(builder, turns, side, at_columns)

            _overlapping(builder, every, side, at_residues)
            done = builder.mul(turns, every)
            with cgutils.for_range(builder, builder.sub(sizes.columns, done)) as i:
                value = builder.load(_at(builder, total, kind, builder.add(builder.mul(i.index, gap), turns)), typ=kind)
                builder.store(finish(value), _at(builder, row, stored, builder.add(done, i.index)))

        def for_rows(body):
            _rows_of(builder, sizes, (first, goal), (kind, stored), (read, write), body)

        end = builder.append_basic_block("end")
        for step in range(1, _MOST + 1):
            with builder.if_then(builder.icmp_signed("==", every, _INT64(step))):
                for_rows(neighbours if step == 1 else functools.partial(zipped, step))
                builder.branch(end)
        turns = builder.sdiv(sizes.columns, every)
        smaller = builder.select(builder.icmp_signed("<", turns, every), turns, every)
        sides = _sides(number.bitwidth) if parts == 1 else []
        _by_width(
            builder,
            smaller,
            [*sides, 1],
            lambda side: for_rows(functools.partial(squares, side) if side > 1 else one_by_one),
        )
        builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(out, target, sums, source, box, types.intp, types.intp), emit
