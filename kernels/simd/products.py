"""Register tiles of sums of outer products: numbers from anywhere times vectors of neighbouring channels."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import for_shape, lanes_in, llvm_type
from .vectors import REGISTERS, add, broadcast, load_vector, multiply_add, pin, store_vector

_INT64 = ir.IntType(64)

# Rows and vectors of the largest tile: a sum for each pair, the vectors and a broadcast number fill the registers.
TILE_ROWS, TILE_VECTORS = (13, 2) if REGISTERS == 32 else (6, 2)
_HALF = 7


@intrinsic
def product_tile(typingctx, rows, vectors, factors, step, source, width, table, count, target, pitch):
    """`target[m * pitch + j] += sum over i < count of factors[m * step + X] * source[W * width + j]`.

    There are `rows` up to `TILE_ROWS`, and lanes `j` of `vectors` up to `TILE_VECTORS`; the table has two words
    `X, W` for each `i`. A lane of a sum adds its products in order, from 0 on, and what comes of it to the target.
    """
    element = source.dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))

    def emit(context, builder, signature, args):
        shapes = [(m, n) for n in range(1, TILE_VECTORS + 1) for m in range(1, TILE_ROWS + 1)]

        def emit_tile(builder, m, n, *operands):
            _add_products(builder, element, vector, m, n, *operands)

        for_shape(builder, f"products.{element}", args[:2], shapes, args[2:], emit_tile)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, factors, n, source, n, table, n, target, n), emit


def _add_products(builder, element, vector, rows, vectors, factors, step, source, width, table, count, target, pitch):
    """The code of a tile of one shape."""
    zero = ir.Constant(vector, None)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
    offsets = [builder.mul(step, _INT64(m)) for m in range(_HALF + 1)]
    with cgutils.for_range(builder, count) as loop:
        pair = builder.gep(table, [builder.shl(loop.index, _INT64(1))])
        here = builder.gep(factors, [builder.load(pair)])
        first = builder.gep(source, [builder.mul(builder.load(builder.gep(pair, [_INT64(1)])), width)])
        values = [load_vector(builder, builder.gep(first, [_INT64(j * vector.count)]), vector) for j in range(vectors)]
        for m in range(rows):
            if m == _HALF:  # two bases: few enough offsets for the general registers
                here = builder.gep(here, [offsets[_HALF]])
            factor = broadcast(builder, builder.load(builder.gep(here, [offsets[m % _HALF]])), vector)
            for j, value in enumerate(values):
                total = multiply_add(builder, element, value, factor, builder.load(sums[m][j]))
                builder.store(pin(builder, total) if j == vectors - 1 else total, sums[m][j])
    for m, totals in enumerate(sums):
        line = builder.gep(target, [builder.mul(pitch, _INT64(m))])
        for j, total in enumerate(totals):
            place = builder.gep(line, [_INT64(j * vector.count)])
            store_vector(builder, add(builder, load_vector(builder, place, vector), builder.load(total)), place)
