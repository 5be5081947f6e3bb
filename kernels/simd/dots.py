"""Register tiles of sums over positions: rows times lines that are shifted against them, vectors along positions."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import data_of
from .elements import lanes_in, llvm_type
from .vectors import REGISTERS, add, first_lanes, load_elements, load_vector, multiply_add, pin, store_vector

_INT64 = ir.IntType(64)

# Rows and lines of the largest tile: a sum for each pair, the rows' vectors and one of a line fill the registers.
ROWS, LINES = (4, 6) if REGISTERS == 32 else (3, 4)
LINES_OF_ONE = 2 * LINES  # where there is one row


@intrinsic
def dot_tile(typingctx, rows, lines, source, offsets, factors, step, segments, count, length, target, pitch):
    """`target[m * pitch + j] += sum of factors[m * step + G + p] * source[offsets[j] + X + p]` over segments and `p`.

    There are `rows` up to `ROWS` and `lines` up to `LINES`, of one row up to `LINES_OF_ONE`, and for each of `count`
    segments, of `length` positions `p`, two words `X, G`. Nothing beyond a segment is read. A lane of a sum adds its
    positions in order, from 0 on; lanes are then added by halves, and what comes of it to the target.
    """
    element = source.dtype
    lanes = lanes_in(element)
    vector = ir.VectorType(llvm_type(element), lanes)

    def emit(context, builder, signature, args):
        rows, lines, *operands = args
        kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        done = builder.append_basic_block("done")
        switch = builder.switch(builder.add(builder.mul(lines, _INT64(8)), rows), done)
        for m in range(1, ROWS + 1):
            for n in range(1, (LINES if m > 1 else LINES_OF_ONE) + 1):
                function = ir.Function(builder.module, kind, f"dots.{m}.{n}.{element}")
                function.linkage = "internal"
                function.attributes.add("noinline")
                _add_dots(ir.IRBuilder(function.append_basic_block()), element, vector, m, n, *function.args)
                block = builder.append_basic_block(f"dots.{m}.{n}")
                switch.add_case(_INT64(8 * n + m), block)
                builder.position_at_end(block)
                builder.call(function, operands)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, source, offsets, factors, n, segments, n, n, target, n), emit


SUMS = 4  # of lanes that `sum_run` makes side by side: one alone would wait for each addition


@intrinsic
def sum_run(typingctx, array, start, count):
    """The sum of `array[start + p]` over `p < count`, in what is computed with.

    Vectors are added to sums of lanes in turn, what is left of them to the first and the second one. These are then
    added, and their lanes by halves.
    """
    element = array.compute
    lanes = lanes_in(element)
    vector = ir.VectorType(llvm_type(element), lanes)

    def emit(context, builder, signature, args):
        value, start, count = args
        line = builder.gep(data_of(context, builder, array, value), [start])
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(SUMS)]
        rest = builder.and_(count, _INT64(lanes - 1))
        whole = builder.sub(count, rest)
        turns = builder.and_(whole, _INT64(-SUMS * lanes))
        few = first_lanes(builder, rest, lanes)

        def add_vector(at, total, mask=None):
            loaded = load_elements(context, builder, array, builder.gep(line, [at]), vector, mask)
            builder.store(add(builder, builder.load(total), loaded), total)

        with cgutils.for_range_slice(builder, _INT64(0), turns, _INT64(SUMS * lanes), inc=True) as (at, _):
            for i, total in enumerate(sums):
                add_vector(builder.add(at, _INT64(i * lanes)), total)
        with cgutils.for_range_slice(builder, turns, whole, _INT64(lanes), inc=True) as (at, _):
            add_vector(at, sums[0])
        with builder.if_then(builder.icmp_signed(">", rest, _INT64(0))):
            add_vector(whole, sums[1], few)
        totals = [builder.load(total) for total in sums]
        while len(totals) > 1:
            totals = [add(builder, *totals[i : i + 2]) for i in range(0, len(totals), 2)]
        total = totals[0]
        while total.type.count > 1:
            total = _halved(builder, total, total, [0], total.type.count)
        return builder.extract_element(total, _INT64(0))

    n = types.intp
    return element(array, n, n), emit


def _add_dots(builder, element, vector, rows, lines, source, offsets, factors, step, segments, count, length, target,
              pitch):  # fmt: skip
    """The code of a tile of one shape."""
    zero = ir.Constant(vector, None)
    firsts = [builder.gep(source, [builder.load(builder.gep(offsets, [_INT64(j)]))]) for j in range(lines)]
    others = [builder.gep(factors, [builder.mul(step, _INT64(m))]) for m in range(rows)]
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(lines)] for _ in range(rows)]
    rest = builder.and_(length, _INT64(vector.count - 1))
    whole = builder.sub(length, rest)
    few = first_lanes(builder, rest, vector.count)

    def add_vector(at, within, mask):
        """The products of a vector of positions."""
        begins = [
            [builder.gep(pointer, [builder.add(at, within)]) for pointer in pointers] for at, pointers in
            zip(at, (others, firsts), strict=True)
        ]  # fmt: skip
        multipliers = [load_vector(builder, pointer, vector, mask) for pointer in begins[0]]
        multipliers[0] = pin(builder, multipliers[0])
        for j, pointer in enumerate(begins[1]):
            value = load_vector(builder, pointer, vector, mask)
            for m, multiplier in enumerate(multipliers):
                total = sums[m][j]
                builder.store(multiply_add(builder, element, multiplier, value, builder.load(total)), total)

    with cgutils.for_range(builder, count) as segment:
        pair = builder.gep(segments, [builder.shl(segment.index, _INT64(1))])
        at = [builder.load(builder.gep(pair, [_INT64(i)])) for i in (1, 0)]
        with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(vector.count), inc=True) as (within, _):
            add_vector(at, within, None)
        with builder.if_then(builder.icmp_signed(">", rest, _INT64(0))):
            add_vector(at, whole, few)
    for m, totals in enumerate(sums):
        line = builder.gep(target, [builder.mul(pitch, _INT64(m))])
        totals = [builder.load(total) for total in totals]
        for first in range(0, lines, vector.count):
            place = builder.gep(line, [_INT64(first)])
            _add_lanes(builder, totals[first : first + vector.count], place, element.bitwidth)
    builder.ret_void()


def _add_lanes(builder, totals, pointer, bits):
    """Add the sum of each vector's lanes to numbers that lie side by side: no more vectors than each has lanes."""
    count, lanes, width = len(totals), totals[0].type.count, totals[0].type.count
    size = 1 << (count - 1).bit_length()
    totals = [*totals, *[ir.Constant(totals[0].type, None)] * (size - count)]
    orders = [[i] for i in range(size)]  # whose lanes each vector has, `width` of each
    while width > 1:
        # Blocks of both vectors, one after the other, or in turn where that moves none to another part of 128 bits.
        in_turn = width * bits <= 128
        if len(totals) > 1:
            pairs = [(2 * i, 2 * i + 1) for i in range(len(totals) // 2)]
            blocks = _joined(range(0, lanes, width), range(lanes, 2 * lanes, width), in_turn)
            totals = [_halved(builder, totals[a], totals[b], blocks, width) for a, b in pairs]
            orders = [_joined(orders[a], orders[b], in_turn) for a, b in pairs]
        else:
            totals = [_halved(builder, totals[0], totals[0], [*range(0, len(orders[0]) * width, width)], width)]
        width //= 2
    (total,), (order,) = totals, orders
    places = [order.index(i) for i in range(size)]
    if places != sorted(places):
        total = builder.shuffle_vector(total, total, ir.Constant(ir.VectorType(ir.IntType(32), size), places))
    mask = ir.Constant(ir.VectorType(ir.IntType(1), size), [i < count for i in range(size)])
    store_vector(builder, add(builder, load_vector(builder, pointer, total.type, mask), total), pointer, mask)


def _joined(a, b, in_turn):
    """The items of two lists, one after the other or in turn."""
    return [item for pair in zip(a, b, strict=True) for item in pair] if in_turn else [*a, *b]


def _halved(builder, a, b, blocks, width):
    """The sums of both halves of blocks of lanes of two vectors, from the given ones on."""
    half = width // 2
    index = ir.VectorType(ir.IntType(32), len(blocks) * half)
    first, second = (
        builder.shuffle_vector(a, b, ir.Constant(index, [block + start + i for block in blocks for i in range(half)]))
        for start in (0, half)
    )
    return add(builder, first, second)
