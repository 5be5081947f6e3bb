"""Register tiles of sums over positions: rows times lines that are shifted against them, vectors along positions."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import data_of
from .elements import for_shape, lanes_in, llvm_type
from .vectors import REGISTERS, add, first_lanes, load_elements, load_vector, multiply_add, pin, prefetch, store_vector

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
        shapes = [(m, n) for m in range(1, ROWS + 1) for n in range(1, (LINES if m > 1 else LINES_OF_ONE) + 1)]

        def emit_tile(builder, m, n, *operands):
            _add_dots(builder, element, vector, m, n, *operands)

        for_shape(builder, f"dots.{element}", args[:2], shapes, args[2:], emit_tile)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, source, offsets, factors, n, segments, n, n, target, n), emit


# Taps that `masked_dots` sums side by side, at most: of so many rows of the input, and of each so many.
MASKED_ROWS, MASKED_TAPS = 3, 4
_AHEAD = 16  # vectors further on, what is read is asked for: planes are short


@intrinsic
def masked_dots(
    typingctx, rows, taps, every, x, start, dilation, gradient, first, back, table, entries, places, images, target,
    pitch,
):  # fmt: skip
    """Sums of products of elements and gradients that lie anywhere, some lanes of their vectors left out.

    `target[r * pitch + k] += sum of gradient[first + G + g - r * back + i] * x[start + X + e + k * dilation + i *
    every]` for `r < rows` and `k < taps`, over images, with two words `X, G` of `places` each, over `entries` of the
    table and over lanes `i`. An entry has `e`, `g`, a word for each row with a bit for each lane that there is a
    gradient for, and one for each tap with bits `i * every` for lanes that meet an element: nothing else is touched,
    and other elements are zero. There are up to `MASKED_ROWS` rows and `MASKED_TAPS` taps, and steps `every` of 1, and
    of 2 for one row. Lanes of a sum, and what comes of them, are as in `dot_tile`.
    """
    element = x.compute
    lanes = lanes_in(element)
    vector = ir.VectorType(llvm_type(element), lanes)

    def emit(context, builder, signature, args):
        rows, taps, every, x_value, start, dilation, gradient_value, first, *others = args
        pointers = [
            builder.gep(data_of(context, builder, kind, value), [at])
            for kind, value, at in ((x, x_value, start), (gradient, gradient_value, first))
        ]

        def mask_of(builder, word):
            return builder.bitcast(builder.trunc(word, ir.IntType(lanes)), ir.VectorType(ir.IntType(1), lanes))

        def load_steps(builder, pointer, word, every):
            values = []
            for i in range(every):
                here, mask = (
                    builder.gep(pointer, [_INT64(i * lanes)]),
                    mask_of(builder, builder.lshr(word, _INT64(i * lanes))),
                )
                values.append(load_elements(context, builder, x, here, vector, mask))
            even = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(0, 2 * lanes, 2)))
            return values[0] if every == 1 else builder.shuffle_vector(*values, even)

        def emit_kind(builder, kind, taps, x_at, g_at, dilation, back, table, entries, places, images, target, pitch):
            rows, every = (kind, 1) if kind > 0 else (1, 2)
            zero = ir.Constant(vector, None)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(taps)] for _ in range(rows)]
            with cgutils.for_range(builder, entries) as entry:
                row = builder.gep(table, [builder.mul(entry.index, _INT64(2 + rows + taps))])
                e, g, *words = (builder.load(builder.gep(row, [_INT64(i)])) for i in range(2 + rows + taps))
                masks = [mask_of(builder, word) for word in words[:rows]]
                with cgutils.for_range(builder, images) as image:
                    pair = builder.gep(places, [builder.shl(image.index, _INT64(1))])
                    at = builder.gep(x_at, [builder.add(builder.load(pair), e)])
                    other = builder.gep(g_at, [builder.add(builder.load(builder.gep(pair, [_INT64(1)])), g)])
                    for pointer in (at, other):
                        prefetch(builder, builder.gep(pointer, [_INT64(_AHEAD * lanes)]))
                    factors = []
                    for mask in masks:
                        factors.append(load_elements(context, builder, gradient, other, vector, mask))
                        other = builder.gep(other, [builder.neg(back)])
                    for k in range(taps):
                        value = load_steps(builder, at, words[rows + k], every)
                        for factor, mask, totals in zip(factors, masks, sums, strict=True):
                            old = builder.load(totals[k])
                            total = multiply_add(builder, element, factor, value, old)
                            # An element that is not finite times a gradient that is not there is no number.
                            builder.store(builder.select(mask, total, old), totals[k])
                        at = builder.gep(at, [dilation])
            for r, totals in enumerate(sums):
                line = builder.gep(target, [builder.mul(pitch, _INT64(r))])
                totals = [builder.load(total) for total in totals]
                for k in range(0, taps, lanes):
                    _add_lanes(builder, totals[k : k + lanes], builder.gep(line, [_INT64(k)]), element.bitwidth)

        kind = builder.select(builder.icmp_signed("==", every, _INT64(2)), _INT64(0), rows)
        shapes = [(kind, k) for kind in range(MASKED_ROWS + 1) for k in range(1, MASKED_TAPS + 1)]
        name = f"masked.{x.format}.{gradient.format}"
        for_shape(builder, name, (kind, taps), shapes, [*pointers, dilation, *others], emit_kind)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, n, x, n, n, gradient, n, n, table, n, table, n, target, n), emit


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
