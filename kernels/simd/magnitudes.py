"""How large numbers in memory are: sums of magnitudes over small cells, and the largest one."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, larger, llvm_type
from .vectors import keep_whole, load_vector, multiply_add, store_vector, unpack

CELLS = 2, 4  # elements of a row that are added up

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


def magnitude(builder, value):
    """Of floats: the absolute value."""
    name = f"llvm.fabs.v{value.type.count}{'f64' if isinstance(value.type.element, ir.DoubleType) else 'f32'}"
    kind = ir.FunctionType(value.type, [value.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])
