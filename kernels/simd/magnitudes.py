"""How large numbers in memory are: sums of magnitudes over small cells, and the largest one; and scores of windows."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, larger, llvm_type
from .vectors import broadcast, for_several, for_vectors, keep_whole, load_vector, multiply_add, store_vector, unpack

CELLS = 2, 4  # elements of a row that are added up
_SEVERAL = 4  # vectors that are added up together

_INT64 = ir.IntType(64)


class Rows(NamedTuple):
    """Rows of elements in memory, the first of which begins at `start`."""

    elements: Any
    start: int
    row: int  # from one row to the next


@intrinsic
def survey(typingctx, size, rows, count, source, cells, largest):
    """Sums of magnitudes: `cells.elements[cells.start + i]` is that of columns from `i * size` on in all rows.

    `size` is one of `CELLS`. There are `count` columns, whole vectors and cells of them. The largest magnitude of each
    lane is put into the vector that begins at `largest` of the cells' elements, if it is larger than what is there, and
    the sum of squares is added to the next vector. A NaN makes its cell's sum a NaN.
    """
    n, element = types.intp, source.types[0].dtype
    lanes = lanes_in(element)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        size, rows, count, source_value, cells_value, largest = args
        vector = ir.VectorType(llvm_type(element), lanes)
        first, target = unpack(builder, source, source_value), unpack(builder, cells, cells_value)
        most = builder.gep(target.elements, [largest])
        squared = builder.gep(most, [_INT64(lanes)])
        top, squares = (cgutils.alloca_once_value(builder, load_vector(builder, at, vector)) for at in (most, squared))
        done = builder.append_basic_block("done")
        switch = builder.switch(size, done)
        for width in CELLS:
            block = builder.append_basic_block(f"cells{width}")
            switch.add_case(_INT64(width), block)
            builder.position_at_end(block)
            with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lanes), inc=True) as (offset, _):
                total = cgutils.alloca_once(builder, vector)
                builder.store(ir.Constant(vector, None), total)
                with cgutils.for_range(builder, rows) as row:
                    at = builder.add(builder.add(first.start, offset), builder.mul(row.index, first.row))
                    value = magnitude(builder, load_vector(builder, builder.gep(first.elements, [at]), vector))
                    builder.store(builder.fadd(builder.load(total), value), total)
                    builder.store(larger(builder, element, value, builder.load(top)), top)
                    builder.store(multiply_add(builder, element, value, value, builder.load(squares)), squares)
                at = builder.add(target.start, builder.udiv(offset, _INT64(width)))
                _store_cells(builder, builder.load(total), width, builder.gep(target.elements, [at]), offset)
            builder.branch(done)
        builder.position_at_end(done)
        store_vector(builder, builder.load(top), most)
        store_vector(builder, builder.load(squares), squared)
        return context.get_dummy_value()

    return types.void(n, n, n, source, cells, n), emit


def _store_cells(builder, sums, width, pointer, offset):
    """Add the lanes of each cell and store what there is."""
    lanes, index = sums.type.count, ir.IntType(32)
    step = 1
    while step < min(width, lanes):  # pairs, then pairs of pairs
        order = ir.Constant(ir.VectorType(index, lanes), [lane ^ step for lane in range(lanes)])
        sums = builder.fadd(sums, builder.shuffle_vector(sums, sums, order))
        step *= 2
    if lanes > width:
        heads = ir.Constant(ir.VectorType(index, lanes // width), list(range(0, lanes, width)))
        store_vector(builder, builder.shuffle_vector(sums, sums, heads), pointer)
        return
    cell = builder.extract_element(sums, index(0))
    if lanes < width:  # a vector brings only a part of a cell
        is_rest = builder.icmp_unsigned("!=", builder.urem(offset, _INT64(width)), _INT64(0))
        cell = builder.fadd(cell, builder.select(is_rest, builder.load(pointer), cell.type(0)))
    builder.store(cell, pointer)


@intrinsic
def find_largest(typingctx, count, numbers, largest):
    """Put the largest magnitude of parts, and the largest square of `count` complex vectors where `survey` has its own.

    Those are the vectors that begin at `largest`; in each lane, what is larger stays.
    """
    n, element = types.intp, numbers.types[0].dtype
    lanes = lanes_in(element)

    def emit(context, builder, signature, args):
        count, value, largest = args
        place = unpack(builder, numbers, value)
        vector = ir.VectorType(llvm_type(element), lanes)
        most = builder.gep(place.elements, [largest])
        squared = builder.gep(most, [_INT64(lanes)])
        top, squares = (cgutils.alloca_once_value(builder, load_vector(builder, at, vector)) for at in (most, squared))
        with cgutils.for_range(builder, count) as loop:
            offset, square = builder.mul(loop.index, place.step), ir.Constant(vector, None)
            for start in (place.real, place.imaginary):
                value = load_vector(builder, builder.gep(place.elements, [builder.add(start, offset)]), vector)
                builder.store(larger(builder, element, magnitude(builder, value), builder.load(top)), top)
                square = multiply_add(builder, element, value, value, square)
            builder.store(larger(builder, element, square, builder.load(squares)), squares)
        store_vector(builder, builder.load(top), most)
        store_vector(builder, builder.load(squares), squared)
        return context.get_dummy_value()

    return types.void(n, numbers, n), emit


@intrinsic
def sum_rows(typingctx, rows, count, source, target):
    """Add up columns: `target[i] = sum over r < rows of source[r, i]` for `i < count`."""
    element = source.types[0].dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))

    def emit(context, builder, signature, args):
        rows, count, source_value, target_value = args
        first, goal = unpack(builder, source, source_value), unpack(builder, target, target_value)

        def body(offset, vectors, mask):
            at = builder.add(first.start, offset)
            sums = _add_up(builder, vector, rows, first.elements, at, first.row, vectors, mask)
            for v, total in enumerate(sums):
                at = builder.add(builder.add(goal.start, offset), _INT64(v * vector.count))
                store_vector(builder, total, builder.gep(goal.elements, [at]), mask)

        for_several(builder, count, vector.count, _SEVERAL, body)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, source, target), emit


@intrinsic
def add_scores(typingctx, columns, count, weight, less, source, target):
    """`target[i] += weight * max(sum over c < columns of source[i + c] - less, 0)` for `i < count`."""
    element = source.types[0].dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))

    def emit(context, builder, signature, args):
        columns, count, weight, less, source_value, target_value = args
        first, goal = unpack(builder, source, source_value), unpack(builder, target, target_value)
        weight, less, zero = broadcast(builder, weight, vector), broadcast(builder, less, vector), vector(None)

        def body(offset, vectors, mask):
            at = builder.add(first.start, offset)
            sums = _add_up(builder, vector, columns, first.elements, at, _INT64(1), vectors, mask)
            for v, total in enumerate(sums):
                at = builder.add(builder.add(goal.start, offset), _INT64(v * vector.count))
                place, value = builder.gep(goal.elements, [at]), builder.fsub(total, less)
                value = larger(builder, element, value, zero)
                before = load_vector(builder, place, vector, mask)
                store_vector(builder, multiply_add(builder, element, value, weight, before), place, mask)

        for_several(builder, count, vector.count, _SEVERAL, body)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, element, element, source, target), emit


@intrinsic
def is_any_below(typingctx, limit, count, source):
    """Whether any of `count` elements is less than a limit, or a NaN."""
    element = source.types[0].dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))
    bits = ir.VectorType(ir.IntType(1), vector.count)

    def emit(context, builder, signature, args):
        limit, count, source_value = args
        first, limit = unpack(builder, source, source_value), broadcast(builder, limit, vector)
        found = cgutils.alloca_once_value(builder, bits(None))

        def body(offset, mask):
            place = builder.gep(first.elements, [builder.add(first.start, offset)])
            below = builder.fcmp_unordered("<", load_vector(builder, place, vector, mask), limit)
            below = below if mask is None else builder.and_(below, mask)
            builder.store(builder.or_(builder.load(found), below), found)

        for_vectors(builder, count, vector.count, body)
        whole = builder.bitcast(builder.load(found), ir.IntType(vector.count))
        return builder.icmp_unsigned("!=", whole, whole.type(0))

    return types.boolean(element, types.intp, source), emit


def _add_up(builder, vector, number, elements, start, step, vectors, mask):
    """Some neighbouring vectors, each the sum of so many that begin `step` elements apart."""
    sums = [cgutils.alloca_once(builder, vector) for _ in range(vectors)]
    for where in sums:
        builder.store(vector(None), where)
    with cgutils.for_range(builder, number) as loop:
        at = builder.add(start, builder.mul(loop.index, step))
        for v, where in enumerate(sums):
            place = builder.gep(elements, [builder.add(at, _INT64(v * vector.count))])
            builder.store(builder.fadd(builder.load(where), load_vector(builder, place, vector, mask)), where)
    return [builder.load(where) for where in sums]


def magnitude(builder, value):
    """Of floats: the absolute value."""
    name = f"llvm.fabs.v{value.type.count}{'f64' if isinstance(value.type.element, ir.DoubleType) else 'f32'}"
    kind = ir.FunctionType(value.type, [value.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])
