"""Lines of neighbours become neighbours of lines: copies that are transposed, by squares.

Lines may begin anywhere, as positions of windows do, so that a few rows of few columns fill squares, too.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import data_of
from .boxes import PARTIAL, _at, _bits, _by_width, _sides, _times
from .vectors import first_lanes, keep_whole, load_vector, store_vector, transpose

_INT64 = ir.IntType(64)


@intrinsic
def transpose_lines(typingctx, array, source, read, out, target, write, lines, count):
    """Copy element `i` of line `j` of an array to element `j` of line `i`, bit by bit: `lines` of so many neighbours.

    Lines lie `read` and `write` elements apart, or these are tables of where each begins.
    """
    bits = _bits(array)
    word, words = ir.IntType(min(bits, 64)), max(bits // 64, 1)
    sides = _sides(bits)
    steps = [each if isinstance(each, types.CPointer) else types.intp for each in (read, write)]

    def emit(context, builder, signature, args):
        keep_whole(builder)
        x, source, read, y, target, write, lines, count = args

        def at(pointer, offset):
            return _at(builder, pointer, word, _times(builder, offset, words))

        first, goal = (
            at(builder.bitcast(data_of(context, builder, *each), word.as_pointer()), start)
            for each, start in (((array, x), source), ((out, y), target))
        )

        def smaller(a, b):
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        def line(start, step, index):
            if isinstance(step.type, ir.PointerType):
                return at(start, builder.load(_at(builder, step, _INT64, index), typ=_INT64))
            return at(start, builder.mul(index, step))

        def for_squares(size, side, body):
            """The last one may begin before the one before it ends."""
            last = builder.sub(size, _INT64(side))
            last = builder.select(builder.icmp_signed(">", last, _INT64(0)), last, _INT64(0))
            with cgutils.for_range_slice(builder, _INT64(0), size, _INT64(side), inc=True) as (start, _):
                body(smaller(start, last))

        def squares(side, is_part):
            vector = ir.VectorType(word, side * words)

            def mask(size):
                size = _times(builder, smaller(size, _INT64(side)), words)
                return first_lanes(builder, size, side * words) if is_part else None

            used_lines, used_count = mask(lines), mask(count)

            def square(i, j):
                values = []
                for k in range(side):
                    index = builder.add(j, _INT64(k))
                    index = smaller(index, builder.sub(lines, _INT64(1))) if is_part else index
                    values.append(load_vector(builder, at(line(first, read, index), i), vector, used_count))
                for k, value in enumerate(transpose(builder, values, words)):
                    index = builder.add(i, _INT64(k))
                    to = at(line(goal, write, index), j)
                    if not is_part:
                        store_vector(builder, value, to)
                        continue
                    with builder.if_then(builder.icmp_signed("<", index, count)):
                        store_vector(builder, value, to, used_lines)

            for_squares(lines, side, lambda j: for_squares(count, side, lambda i: square(i, j)))

        def one_by_one():
            with cgutils.for_range(builder, lines) as j, cgutils.for_range(builder, count) as i:
                read_at = at(line(first, read, j.index), i.index)
                write_at = at(line(goal, write, i.index), j.index)
                for k in range(words):
                    value = builder.load(_at(builder, read_at, word, _INT64(k)), typ=word)
                    builder.store(value, _at(builder, write_at, word, _INT64(k)))

        def either(side):
            with builder.if_else(builder.icmp_signed(">=", least, _INT64(side))) as (whole, part):
                with whole:
                    squares(side, False)
                with part:
                    squares(side, True)

        least = smaller(lines, count)
        if PARTIAL:  # the smallest squares that hold the fewer
            _by_width(builder, builder.sub(_times(builder, least, 2), _INT64(1)), sides, either)
        else:
            _by_width(builder, least, [*sides, 1], lambda side: squares(side, False) if side > 1 else one_by_one())
        return context.get_dummy_value()

    return types.void(array, types.intp, steps[0], out, types.intp, steps[1], types.intp, types.intp), emit
