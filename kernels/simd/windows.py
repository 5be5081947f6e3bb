"""Sums over the windows of a few outputs, whose input is packed: of those that a transform would spoil."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, llvm_type
from .vectors import broadcast, keep_whole, load_vector, multiply_add, store_vector, unpack

HEIGHT = 8  # rows of outputs, each of which is a vector

_INT64 = ir.IntType(64)


class WindowWeights(NamedTuple):
    """The weights of a window, from a first one on; the steps lead to the next row of them and to the next one."""

    elements: Any
    start: int
    row: int
    column: int


@intrinsic
def add_windows(typingctx, taps1, taps2, source, step1, step2, apart, weights, target):
    """Add the products of a window's elements and weights to each of `HEIGHT` vectors of outputs.

    The elements of output `j` of row `i` are `source.elements[source.start + i * source.row + j + k1 * step1 + k2 *
    step2]`, its weights `weights.elements[weights.start + k1 * weights.row + k2 * weights.column]`. Complex numbers
    have imaginary parts `apart` from the real ones, but for weights, which are pairs; both kinds of rows lie in the
    target, one behind the other.
    """
    n, element, weight = types.intp, source.types[0].dtype, weights.types[0].dtype
    lanes, parts = lanes_in(element), weight.bitwidth // element.bitwidth

    def emit(context, builder, signature, args):
        keep_whole(builder)
        taps1, taps2, source_value, step1, step2, apart, weights_value, target_value = args
        first, to = unpack(builder, source, source_value), unpack(builder, target, target_value)
        factors = unpack(builder, weights, weights_value)
        scalar = llvm_type(element)
        vector = ir.VectorType(scalar, lanes)
        places = [
            builder.gep(to.elements, [builder.add(to.start, builder.mul(to.row, _INT64(i)))])
            for i in range(parts * HEIGHT)
        ]
        sums = [cgutils.alloca_once_value(builder, load_vector(builder, place, vector)) for place in places]
        with cgutils.for_range(builder, taps1) as row, cgutils.for_range(builder, taps2) as column:
            at = builder.add(builder.mul(row.index, factors.row), builder.mul(column.index, factors.column))
            pointer = builder.gep(factors.elements, [builder.add(factors.start, at)])
            numbers = [builder.gep(pointer, [_INT64(part)], source_etype=scalar) for part in range(parts)]
            numbers = [broadcast(builder, builder.load(number, typ=scalar), vector) for number in numbers]
            begin = builder.add(first.start, builder.mul(row.index, step1))
            begin = builder.add(begin, builder.mul(column.index, step2))
            for i in range(HEIGHT):
                at = builder.add(begin, builder.mul(first.row, _INT64(i)))
                values = [
                    load_vector(builder, builder.gep(first.elements, [place]), vector)
                    for place in (at, builder.add(at, apart))[:parts]
                ]
                _add(builder, element, sums[i], values[0], numbers[0])
                if parts == 2:
                    _add(builder, element, sums[i], values[1], builder.fneg(numbers[1]))
                    _add(builder, element, sums[HEIGHT + i], values[0], numbers[1])
                    _add(builder, element, sums[HEIGHT + i], values[1], numbers[0])
        for place, total in zip(places, sums, strict=True):
            store_vector(builder, builder.load(total), place)
        return context.get_dummy_value()

    return types.void(n, n, source, n, n, n, weights, target), emit


def _add(builder, element, total, value, factor):
    builder.store(multiply_add(builder, element, value, factor, builder.load(total)), total)
