"""How large numbers in memory are: sums of magnitudes over small cells, and the largest one."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, larger, llvm_type
from .vectors import keep_whole, load_vector, store_vector, unpack

CELL = 4  # elements of a row that are added up

_INT64 = ir.IntType(64)


class Rows(NamedTuple):
    """Rows of elements in memory, the first of which begins at `start`."""

    elements: Any
    start: int
    row: int  # from one row to the next


@intrinsic
def survey(typingctx, rows, count, source, cells, largest):
    """Sums of magnitudes: `cells.elements[cells.start + i]` is that of columns from `i * CELL` on in all rows.

    `count` columns, whole vectors of them. The largest magnitude of each lane is put into the vector that begins at
    `largest` of the cells' elements, if it is larger than what is there. A NaN makes its cell's sum a NaN.
    """
    n, element = types.intp, source.types[0].dtype
    lanes = lanes_in(element)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        rows, count, source_value, cells_value, largest = args
        vector = ir.VectorType(llvm_type(element), lanes)
        first, target = unpack(builder, source, source_value), unpack(builder, cells, cells_value)
        most = builder.gep(target.elements, [largest])
        total = cgutils.alloca_once(builder, vector)
        top = cgutils.alloca_once_value(builder, load_vector(builder, most, vector))
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lanes), inc=True) as (offset, _):
            builder.store(ir.Constant(vector, None), total)
            with cgutils.for_range(builder, rows) as row:
                at = builder.add(builder.add(first.start, offset), builder.mul(row.index, first.row))
                value = magnitude(builder, load_vector(builder, builder.gep(first.elements, [at]), vector))
                builder.store(builder.fadd(builder.load(total), value), total)
                builder.store(larger(builder, element, value, builder.load(top)), top)
            sums = builder.load(total)
            width = min(CELL, lanes)
            step = 1
            while step < width:  # pairs, then pairs of pairs: the sums of cells stand in the first lane of each
                order = [lane ^ step for lane in range(lanes)]
                index = ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)
                sums = builder.fadd(sums, builder.shuffle_vector(sums, sums, index))
                step *= 2
            places = builder.add(target.start, builder.udiv(offset, _INT64(CELL)))
            heads = list(range(0, lanes, CELL))
            for i, head in enumerate(heads):
                cell = builder.extract_element(sums, ir.IntType(32)(head))
                pointer = builder.gep(target.elements, [builder.add(places, _INT64(i))])
                if lanes < CELL:  # the rest of the cell comes with the next vector
                    is_rest = builder.icmp_unsigned("!=", builder.urem(offset, _INT64(CELL)), _INT64(0))
                    before = builder.select(is_rest, builder.load(pointer), cell.type(0))
                    cell = builder.fadd(cell, before)
                builder.store(cell, pointer)
        store_vector(builder, builder.load(top), most)
        return context.get_dummy_value()

    return types.void(n, n, source, cells, n), emit


@intrinsic
def find_largest(typingctx, count, elements, start, largest):
    """Put the largest magnitudes of `count` elements, whole vectors, into the vector that begins at `largest`."""
    n, element = types.intp, elements.dtype
    lanes = lanes_in(element)

    def emit(context, builder, signature, args):
        count, pointer, start, largest = args
        vector = ir.VectorType(llvm_type(element), lanes)
        most = builder.gep(pointer, [largest])
        top = cgutils.alloca_once_value(builder, load_vector(builder, most, vector))
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lanes), inc=True) as (offset, _):
            value = load_vector(builder, builder.gep(pointer, [builder.add(start, offset)]), vector)
            builder.store(larger(builder, element, magnitude(builder, value), builder.load(top)), top)
        store_vector(builder, builder.load(top), most)
        return context.get_dummy_value()

    return types.void(n, elements, n, n), emit


def magnitude(builder, value):
    """Of floats: the absolute value."""
    name = f"llvm.fabs.v{value.type.count}{'f64' if isinstance(value.type.element, ir.DoubleType) else 'f32'}"
    kind = ir.FunctionType(value.type, [value.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])
