"""Lines of columns in turns: element `m * every + r` of a padded line is that of turn `m` and residue `r`.

Windows that lie `every` columns apart meet, for each of their taps, the elements of one residue, which a row of patches
holds next to each other. So the residues of a line are split once, by shuffles of vectors that lie next to each other,
and written wherever a tap has them; for sums they are read from there, added up in registers, and joined to a line.

What a line meets stands in a table: `table[j]` to `table[j + 1]` are the places there of entries for row `j`, in the
order of the taps. An entry is where patches of a tap begin, in elements, for a window that begins at turn 0 and with
this tap at residue 0; the turn at which the tap lies in a window; and how many taps lie at this turn, one for each
residue. All vectors have masks. Sums of many residues are
made for squares of residues and turns, which are transposed.
"""

import functools
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import narrow, widen
from .boxes import _at, _bits, _parts, _start, _times
from .elements import llvm_type
from .vectors import (
    VECTOR_BYTES,
    add,
    first_lanes,
    for_vectors,
    join_turns,
    keep_whole,
    load_vector,
    split_turns,
    store_vector,
    transpose,
    unpack,
)

_INT64 = ir.IntType(64)
MOST = 8  # residues that lines are split to in registers; sums of more of them are transposed
PLANES = 4  # that are split
_SIDE = 16  # of squares of residues and turns
ENTRY = 3  # numbers of an entry


class Turns(NamedTuple):
    """Columns of a line, and the patches that they are of."""

    every: int  # residues
    groups: int  # turns that a window meets
    first: int  # turn
    end: int  # after the last one
    before: int  # columns of padding
    size: int  # columns between the padding
    positions: int
    step: int  # from the patches of a tap to those of the next


class Lines(NamedTuple):
    """Planes of rows, of which some are real and the others padding."""

    planes: int
    rows: int
    top: int
    bottom: int


def _between(builder, start, low, high, lanes, parts):
    """Which lanes, as bits, `parts` of them for each number from `start` on, are of numbers from `low` to `high`."""
    most, one = _INT64(lanes // parts), _INT64(1)

    def first(number):
        count = builder.sub(number, start)
        count = builder.select(builder.icmp_signed("<", count, most), count, most)
        count = builder.select(builder.icmp_signed(">", count, _INT64(0)), count, _INT64(0))
        bits = builder.sub(builder.shl(one, builder.and_(_times(builder, count, parts), _INT64(63))), one)
        if lanes == 64:
            bits = builder.select(builder.icmp_signed("==", count, most), _INT64(-1), bits)
        return bits

    return builder.and_(first(high), builder.not_(first(low)))


def _lanes_of(builder, bits, lanes):
    bits = builder.trunc(bits, ir.IntType(lanes)) if lanes < 64 else bits
    return builder.bitcast(bits, ir.VectorType(ir.IntType(1), lanes))


class _Masks:
    """Which lanes of vectors are used, for each vector of turns: of columns, and of patches for each group of taps."""

    def __init__(self, builder, data, turns, lanes, parts):
        self.builder, self.data, self.turns, self.lanes = builder, data, turns, lanes
        count = lanes // parts
        is_few = builder.icmp_signed("<=", turns.every, _INT64(MOST))
        columns = builder.select(is_few, turns.every, _INT64(0))
        self.each = builder.add(turns.groups, columns)
        # Where a block of turns ends another one begins.
        size = builder.sub(builder.mul(turns.end, turns.every), turns.before)
        size = builder.select(builder.icmp_signed("<", size, turns.size), size, turns.size)
        with cgutils.for_range_slice(builder, turns.first, turns.end, _INT64(count), inc=True) as (turn, number):
            row = builder.mul(number, self.each)
            with cgutils.for_range(builder, turns.groups) as group:
                high = builder.add(turns.positions, group.index)
                high = builder.select(builder.icmp_signed("<", high, turns.end), high, turns.end)
                bits = _between(builder, turn, group.index, high, lanes, parts)
                builder.store(bits, builder.gep(data, [builder.add(row, group.index)]))
            start = builder.sub(builder.mul(turn, turns.every), turns.before)
            with cgutils.for_range(builder, columns) as vector:
                column = builder.add(start, builder.mul(vector.index, _INT64(count)))
                bits = _between(builder, column, _INT64(0), size, lanes, parts)
                at = builder.add(builder.add(row, turns.groups), vector.index)
                builder.store(bits, builder.gep(data, [at]))

    def of_group(self, number, group):
        return self._load(_sum(self.builder, number, group))

    def of_column(self, number, i):
        return self._load(_sum(self.builder, number, self.turns.groups, _INT64(i)))

    def _load(self, at):
        return _lanes_of(self.builder, self.builder.load(self.builder.gep(self.data, [at]), typ=_INT64), self.lanes)


def _sum(builder, first, *more):
    for each in more:
        first = builder.add(first, each)
    return first


class _Chunk(NamedTuple):
    """A vector of turns for each residue, in a row of a plane."""

    every: int
    plane: Any
    row: Any
    turn: Any
    masks: Any  # where those of it begin


def _for_lines(builder, lines, body):
    """`body(plane, row)` for each of them."""
    with cgutils.for_range(builder, lines.planes) as plane, cgutils.for_range(builder, lines.rows) as row:
        body(plane.index, row.index)


def _for_turns(builder, turns, every, plane, row, masks, count, emit):
    """`emit(chunk)` for each vector of turns."""
    with cgutils.for_range_slice(builder, turns.first, turns.end, _INT64(count), inc=True) as (turn, number):
        emit(_Chunk(every, plane, row, turn, builder.mul(number, masks.each)))


def _by_residues(builder, lines, turns, masks, count, emit):
    """`emit(chunk)` for each plane, row and vector of turns, where residues are few."""
    end = builder.append_basic_block("end")
    for every in range(1, MOST + 1):
        with builder.if_then(builder.icmp_signed("==", turns.every, _INT64(every))):
            _for_lines(
                builder,
                lines,
                lambda plane, row, every=every: _for_turns(builder, turns, every, plane, row, masks, count, emit),
            )
            builder.branch(end)
    builder.branch(end)
    builder.position_at_end(end)


def _columns(builder, turns, chunk, i, count):
    """The first column of vector `i` of a number of turns."""
    column = builder.add(_times(builder, chunk.turn, chunk.every), _INT64(i * count))
    return builder.sub(column, turns.before)


def _for_taps(builder, table, turns, masks, chunk, body, start=None):
    """`body(residue, offset, mask)` for each tap that a row meets, in the order of the taps.

    Residues are those from `start` on, as many as the chunk has.
    """

    def load(at):
        return builder.load(builder.gep(table, [at]), typ=_INT64)

    begin, end = load(chunk.row), load(builder.add(chunk.row, _INT64(1)))
    with cgutils.for_range_slice(builder, begin, end, _INT64(ENTRY), inc=True) as (at, _):
        place, group, count = (load(builder.add(at, _INT64(i))) for i in range(ENTRY))
        first, mask = builder.add(place, chunk.turn), masks.of_group(chunk.masks, group)
        if start is not None:
            first, count = builder.add(first, builder.mul(start, turns.step)), builder.sub(count, start)

        def tap(residue):
            body(residue, builder.add(first, _times(builder, turns.step, residue)) if residue else first, mask)

        with builder.if_else(builder.icmp_signed(">=", count, _INT64(chunk.every))) as (all_, some):
            with all_:
                for residue in range(chunk.every):
                    tap(residue)
            with some:
                for residue in range(chunk.every - 1):
                    with builder.if_then(builder.icmp_signed("<", _INT64(residue), count)):
                        tap(residue)


def _lanes(bits):
    """Numbers in a vector. Rows of bytes are mostly short: wider vectors would be parts of vectors."""
    return (VECTOR_BYTES if bits > 8 else min(VECTOR_BYTES, 32)) * 8 // bits


@intrinsic
def split_lines(typingctx, array, source, out, target, lines, table, masks, turns):
    """Copy what taps meet in lines of an array to patches, bit by bit; what they meet elsewhere is zero.

    The source begins at the first column between the padding of row 0, and its columns lie next to each other.
    """
    bits = _bits(array)
    word, words = ir.IntType(min(bits, 64)), max(bits // 64, 1)
    lanes = _lanes(word.width)
    count, vector = lanes // words, ir.VectorType(word, lanes)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        x, source_value, y, target_value, lines_value, table, bits, turns_value = args
        sizes, turns_ = unpack(builder, lines, lines_value), unpack(builder, turns, turns_value)
        first, read = _start(context, builder, array, x, unpack(builder, source, source_value), word, words)
        goal, write = _start(context, builder, out, y, unpack(builder, target, target_value), word, words)

        masks_ = _Masks(builder, bits, turns_, lanes, words)

        def emit_chunk(chunk):
            every, row = chunk.every, chunk.row
            line = builder.add(builder.mul(read.plane, chunk.plane), builder.mul(read.row, row))
            line = _at(builder, first, word, line)
            is_real = builder.and_(
                builder.icmp_signed(">=", row, sizes.top), builder.icmp_signed("<", row, sizes.bottom)
            )
            vectors = []
            for i in range(every):
                column, mask = _columns(builder, turns_, chunk, i, count), masks_.of_column(chunk.masks, i)
                mask = builder.select(is_real, mask, ir.Constant(mask.type, None))
                at = _at(builder, line, word, _times(builder, column, words))
                vectors.append(load_vector(builder, at, vector, mask))
            residues = split_turns(builder, vectors, words)
            patches = _at(builder, goal, word, builder.mul(write.plane, chunk.plane))

            def body(residue, offset, mask):
                at = _at(builder, patches, word, _times(builder, offset, words))
                store_vector(builder, residues[residue], at, mask)

            _for_taps(builder, table, turns_, masks_, chunk, body)

        _by_residues(builder, sizes, turns_, masks_, count, emit_chunk)
        return context.get_dummy_value()

    return types.void(array, source, out, target, lines, table, masks, turns), emit


@intrinsic
def split_planes(typingctx, array, source, out, target, box):
    """Copy a box of a few planes whose elements take turns in memory, bit by bit."""
    bits = _bits(array)
    word, words = ir.IntType(min(bits, 64)), max(bits // 64, 1)
    lanes = _lanes(word.width)
    vector = ir.VectorType(word, lanes)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        x, source_value, y, target_value, box_value = args
        sizes = unpack(builder, box, box_value)
        first, read = _start(context, builder, array, x, unpack(builder, source, source_value), word, words)
        goal, write = _start(context, builder, out, y, unpack(builder, target, target_value), word, words)
        columns = _times(builder, sizes.columns, words)

        def split(planes, mixed, apart, offset, mask):
            start, rest = (_times(builder, each, planes) for each in (offset, builder.sub(columns, offset)))
            vectors = []
            for i in range(planes):
                before = _INT64(i * lanes)
                some = None if mask is None else first_lanes(builder, builder.sub(rest, before), lanes)
                at = _at(builder, mixed, word, builder.add(start, before))
                vectors.append(load_vector(builder, at, vector, some))
            for i, value in enumerate(split_turns(builder, vectors, words)):
                at = builder.add(_times(builder, write.plane, i), offset)
                store_vector(builder, value, _at(builder, apart, word, at), mask)

        for planes in range(2, PLANES + 1):
            is_it = builder.icmp_signed("==", sizes.planes, _INT64(planes))
            with builder.if_then(is_it), cgutils.for_range(builder, sizes.rows) as row:
                mixed = _at(builder, first, word, builder.mul(read.row, row.index))
                apart = _at(builder, goal, word, builder.mul(write.row, row.index))
                for_vectors(builder, columns, lanes, functools.partial(split, planes, mixed, apart))
        return context.get_dummy_value()

    return types.void(array, source, out, target, box), emit


@intrinsic
def join_lines(typingctx, out, target, array, source, lines, table, masks, turns):
    """Write the sums of what taps put into lines, from patches, in the type that is computed with.

    The target begins at the first column between the padding of row 0. Positions of patches lie next to each other.
    """
    part, parts = _parts(array)
    kind = llvm_type(part)
    stored = kind if parts > 1 else llvm_type(array.dtype)
    count = _lanes(part.bitwidth) // parts
    side = min(count, _SIDE)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        y, target_value, x, source_value, lines_value, table, bits, turns_value = args
        sizes, turns_ = unpack(builder, lines, lines_value), unpack(builder, turns, turns_value)
        first, read = _start(context, builder, array, x, unpack(builder, source, source_value), stored, parts)
        goal, write = _start(context, builder, out, y, unpack(builder, target, target_value), stored, parts)

        def add_up(chunk, lanes, masks, start=None):
            """The sums of a vector of turns for each residue of a chunk."""
            vector = ir.VectorType(kind, lanes)
            sums = [cgutils.alloca_once(builder, vector) for _ in range(chunk.every)]
            for total in sums:
                builder.store(ir.Constant(vector, None), total)
            patches = _at(builder, first, stored, builder.mul(read.plane, chunk.plane))

            def body(residue, offset, mask):
                at = _at(builder, patches, stored, _times(builder, offset, parts))
                value = load_vector(builder, at, ir.VectorType(stored, lanes), mask)
                value = value if kind == stored else widen(builder, array, value)
                builder.store(add(builder, builder.load(sums[residue]), value), sums[residue])

            _for_taps(builder, table, turns_, masks, chunk, body, start)
            return [builder.load(total) for total in sums]

        def line_of(plane, row):
            return _at(builder, goal, stored, builder.add(builder.mul(write.plane, plane), builder.mul(write.row, row)))

        def put(value, line, column, mask):
            value = value if kind == stored else narrow(builder, out, value)
            store_vector(builder, value, _at(builder, line, stored, _times(builder, column, parts)), mask)

        def by_residues():
            masks = _Masks(builder, bits, turns_, count * parts, parts)

            def emit_chunk(chunk):
                line = line_of(chunk.plane, chunk.row)
                for i, value in enumerate(join_turns(builder, add_up(chunk, count * parts, masks), parts)):
                    column, mask = _columns(builder, turns_, chunk, i, count), masks.of_column(chunk.masks, i)
                    put(value, line, column, mask)

            _by_residues(builder, sizes, turns_, masks, count, emit_chunk)

        def by_squares():
            lanes = side * parts
            masks = _Masks(builder, bits, turns_, lanes, parts)

            def emit_square(start, chunk):
                values = transpose(builder, add_up(chunk, lanes, masks, start), parts)
                line, rest = line_of(chunk.plane, chunk.row), builder.sub(turns_.every, start)
                for i, value in enumerate(values):
                    turn = builder.add(chunk.turn, _INT64(i))
                    column = builder.sub(builder.add(builder.mul(turn, turns_.every), start), turns_.before)
                    high = builder.add(column, rest)
                    high = builder.select(builder.icmp_signed("<", high, turns_.size), high, turns_.size)
                    high = builder.select(builder.icmp_signed("<", turn, turns_.end), high, _INT64(0))
                    used = _lanes_of(builder, _between(builder, column, _INT64(0), high, lanes, parts), lanes)
                    put(value, line, column, used)

            def emit_line(plane, row):
                last = builder.sub(turns_.every, _INT64(side))
                last = builder.select(builder.icmp_signed(">", last, _INT64(0)), last, _INT64(0))
                with cgutils.for_range_slice(builder, _INT64(0), turns_.every, _INT64(side), inc=True) as (residue, _):
                    start = builder.select(builder.icmp_signed("<", residue, last), residue, last)
                    emit = functools.partial(emit_square, start)
                    _for_turns(builder, turns_, side, plane, row, masks, side, emit)

            _for_lines(builder, sizes, emit_line)

        with builder.if_else(builder.icmp_signed("<=", turns_.every, _INT64(MOST))) as (few, many):
            with few:
                by_residues()
            with many:
                by_squares()
        return context.get_dummy_value()

    return types.void(out, target, array, source, lines, table, masks, turns), emit
