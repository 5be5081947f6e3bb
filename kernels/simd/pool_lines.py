"""Vector code of the pools: the rows and columns of windows are folded, by way of lines of the workspace or without.

`fold_rows` folds rows of the input into a line, `store_columns` folds a line's columns into results; `fill` writes the
padding between, `fold_taps` folds a line with itself, `store_channels` transposes. `store_runs` and `pool_runs` are for
windows that are long runs of elements, `pool_in_registers` is for short ones.

What is emitted differs from kind to kind: `kind` is a literal string, the name of the pool.
"""

import functools
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..strided import StridedType
from .fold import MEANS, RECIPROCALS, SPARE, Fold, lane_count, line_type
from .vectors import VECTOR_BYTES, broadcast, first_lanes, for_vectors, load_vector, store_vector, unpack

HAS_MASKS = VECTOR_BYTES == 64  # AVX-512 reads and writes parts of vectors at no cost
SHUFFLED = 4  # the largest step at which neighbouring windows are taken out of whole vectors
_SQUARE = 16  # the most vectors that are transposed, or folded to one element each, in registers
_STREAMS = 4  # windows read at once: their sums hide each other's latency, their lines do not evict each other

# Taps and step of the windows that `pool_in_registers` knows, and the vectors of input that a block of them takes.
_SHORT = (2, 1, 1), (3, 1, 1), (2, 2, 1), (3, 2, 1), (2, 2, 2), (3, 2, 2)

_INT64, _BYTE = ir.IntType(64), ir.IntType(8)


class Arrays(NamedTuple):
    """The arrays of a call, and the two parts of the workspace that means need."""

    x: StridedType
    out: StridedType
    indices: StridedType
    lowest: StridedType  # one element: what padding holds
    workspace: StridedType
    taps: types.CPointer  # for each window of a line, those along the last axis that its mean counts
    divisors: types.CPointer  # for each window of a line, what its mean is divided by


class Place(NamedTuple):
    """An element of the input, or a step from one to another."""

    offset: int  # in memory, in elements
    index: int  # what indices say: elements of a plane, counted row by row


class Run(NamedTuple):
    """Elements of the input at one step."""

    first: Place
    step: Place
    count: int


class Rows(NamedTuple):
    """The rows of the input that one row of windows covers: `n0` by `n1`, and the steps between them."""

    n0: int
    step0: Place
    n1: int
    step1: Place


class Lines(NamedTuple):
    """Lines of the workspace, in elements."""

    start: int
    count: int
    pitch: int  # from one to the next


class Windows(NamedTuple):
    """Windows along a line: `j` and tap `k` meet at its element `j * stride + k * dilation`."""

    count: int
    taps: int
    dilation: int
    stride: int


class Target(NamedTuple):
    """Where results go, in elements."""

    start: int
    line: int  # from the results of a line to those of the next
    plane: int  # from plane to plane


class ShortWindows(NamedTuple):
    """Windows of a few columns, a block of which lies in one or two vectors of a row."""

    taps: int
    stride: int
    vectors: int  # of the input for a block
    count: int  # windows of a block


class RowEntry(NamedTuple):
    """What `pool_in_registers` is told of a row of windows."""

    offset: int  # from the plane's first element to that under the first tap, which may be padding before the row
    index: int  # of that
    taps: int  # rows of the input
    divisor: int  # for the caller


class BlockEntry(NamedTuple):
    """What `pool_in_registers` is told of a block of windows, as bits."""

    first: int  # elements of the first vector that are no padding
    second: int  # elements of the second vector
    results: int


class WindowEntry(NamedTuple):
    """What `store_windows` is told of a window."""

    first: int  # column of the line
    taps: int


class Table(NamedTuple):
    """So many entries, in the workspace."""

    words: types.CPointer
    count: int


class Planes(NamedTuple):
    """Planes of the input at one step, in elements."""

    first: int
    step: int
    count: int


def _named(builder, kind, value):
    """An argument; a NamedTuple, and those in it, with fields by name."""
    if not isinstance(kind, types.BaseNamedTuple):
        return value
    fields = unpack(builder, kind, value)
    return kind.instance_class(*(_named(builder, *field) for field in zip(kind, fields)))


def _open(context, builder, signature, args, keep_loops=True):
    """The `Fold` for an intrinsic of a kind, arrays and more; pointers to the arrays; the other arguments."""
    if keep_loops:
        _keep_loops(builder)
    (kind, arrays), values = signature.args[:2], [_named(builder, *pair) for pair in zip(signature.args, args)]
    pointers = Arrays(*(
        context.data_model_manager[array].get(builder, value, "data") if isinstance(array, StridedType) else value
        for array, value in zip(arrays, values[1])
    ))  # fmt: skip
    array = Arrays(*arrays)
    return Fold(context, builder, kind.literal_value, array.x, array.out, pointers.workspace), pointers, *values[2:]


def _keep_loops(builder):
    """Let LLVM unroll no loop of a function, and inline into it only what is small: as all do that hold vector code."""
    builder.function.attributes.add("optsize")


@intrinsic
def keep_loops(typingctx):
    """The same for a kernel that calls this."""

    def emit(context, builder, signature, args):
        _keep_loops(builder)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def dissolve(typingctx):
    """Have LLVM inline the kernel that calls this: it has many arguments, and is called in a loop."""

    def emit(context, builder, signature, args):
        builder.function.attributes.add("alwaysinline")
        return context.get_dummy_value()

    return types.void(), emit


def _number(value):
    return _INT64(value) if isinstance(value, int) else value


def _entry(builder, table, i, cls):
    """An entry of a table."""
    words = len(cls._fields)
    places = [_sum(builder, builder.mul(i, _INT64(words)), f) for f in range(words)]
    return cls(*(builder.load(builder.gep(table.words, [at])) for at in places))


def _sum(builder, *terms):
    return functools.reduce(builder.add, map(_number, terms))


def _moved(builder, place, count, step):
    """The place so many steps away."""
    return Place(*(builder.add(at, builder.mul(_number(count), by)) for at, by in zip(place, step)))


def _least(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _loop(builder, start, stop, step=1):
    """A loop over `range(start, stop, step)`."""
    return cgutils.for_range_slice(builder, _number(start), _number(stop), _number(step), inc=True)


def _switch(builder, value, cases, otherwise):
    """Code for each value, and for all others."""
    after, other = builder.append_basic_block("after"), builder.append_basic_block("otherwise")
    switch = builder.switch(value, other)
    for case, emit in cases.items():
        block = builder.append_basic_block(f"case_{case}")
        switch.add_case(_INT64(case), block)
        builder.position_at_end(block)
        emit()
        builder.branch(after)
    builder.position_at_end(other)
    otherwise()
    builder.branch(after)
    builder.position_at_end(after)


def _constant(kind, result, value):
    """An intrinsic's result, known where it is compiled."""

    def emit(context, builder, signature, args):
        return context.get_constant(result, value)

    return result(kind), emit


@intrinsic(prefer_literal=True)
def is_mean(typingctx, kind):
    return _constant(kind, types.boolean, kind.literal_value in MEANS)


@intrinsic(prefer_literal=True)
def has_index(typingctx, kind):
    return _constant(kind, types.boolean, kind.literal_value.startswith("indexed"))


@intrinsic(prefer_literal=True)
def vector_lanes(typingctx, kind, arrays):
    """Elements of a vector of a line."""
    array = Arrays(*arrays)
    lanes = lane_count(line_type(kind.literal_value, array.out))

    def emit(context, builder, signature, args):
        return _INT64(lanes)

    return types.intp(kind, arrays), emit


@intrinsic(prefer_literal=True)
def set_taps(typingctx, kind, arrays, j, count):
    """What the mean of window `j` counts along the last axis; nothing for other kinds."""

    def emit(context, builder, signature, args):
        fold, pointers, j, count = _open(context, builder, signature, args, keep_loops=False)
        if fold.is_mean:
            builder.store(builder.sitofp(count, fold.scalar), builder.gep(pointers.taps, [j]))
        return context.get_dummy_value()

    return types.void(kind, arrays, types.intp, types.intp), emit


@intrinsic(prefer_literal=True)
def set_divisors(typingctx, kind, arrays, count, rows):
    """`divisors[j] = taps[j] * rows` in whole vectors, and their reciprocals behind them; nothing for other kinds."""

    def emit(context, builder, signature, args):
        fold, pointers, count, rows = _open(context, builder, signature, args, keep_loops=False)
        if not fold.is_mean:
            return context.get_dummy_value()
        rows = broadcast(builder, builder.sitofp(rows, fold.scalar), fold.vector)
        one = ir.Constant(fold.vector, [1.0] * fold.lanes)
        with _loop(builder, 0, count, fold.lanes) as (j, _):
            product = builder.fmul(load_vector(builder, builder.gep(pointers.taps, [j]), fold.vector), rows)
            target = builder.gep(pointers.divisors, [j])
            store_vector(builder, product, target)
            target = builder.gep(builder.bitcast(target, _BYTE.as_pointer()), [_INT64(RECIPROCALS)], source_etype=_BYTE)
            store_vector(builder, builder.fdiv(one, product), builder.bitcast(target, pointers.divisors.type))
        return context.get_dummy_value()

    return types.void(kind, arrays, types.intp, types.intp), emit


@intrinsic(prefer_literal=True)
def fill(typingctx, kind, arrays, lines, count):
    """The first `count` elements of each line become what changes no result, and up to a vector more."""

    def emit(context, builder, signature, args):
        fold, pointers, lines, count = _open(context, builder, signature, args)
        with builder.if_then(builder.icmp_signed(">", count, _INT64(0))):
            neutral = fold.neutral(pointers.lowest)
            with _loop(builder, 0, lines.count) as (r, _):
                line = builder.add(lines.start, builder.mul(r, lines.pitch))
                with _loop(builder, 0, count, fold.lanes) as (j, _):
                    fold.write(neutral, builder.add(line, j))
        return context.get_dummy_value()

    return types.void(kind, arrays, lines, types.intp), emit


@intrinsic(prefer_literal=True)
def fold_rows(typingctx, kind, arrays, run, rows, lines, down, more):
    """Fold rows of the input into lines: `line[j] = fold over k0, k1 of x[k0 * step0 + k1 * step1 + run[j]]`.

    With `more`, what a line holds is folded, too; without it up to a vector past the run is written. The rows of each
    further line lie a step `down` in the input from those of the line before.
    """

    def emit(context, builder, signature, args):
        fold, pointers, *operands = _open(context, builder, signature, args)
        run, rows, _, _, more = operands

        def variant(lanes, known=None):
            _fold_rows(fold.of_lanes(lanes), pointers.x, *operands, known)

        # 0 is any window, 1 any with elements that are apart, others are known here.
        is_apart = builder.icmp_signed("!=", run.step.offset, _INT64(1))
        case, cases = builder.zext(is_apart, _INT64), {1: functools.partial(variant, 1)}
        if not HAS_MASKS:  # the common windows without a loop over their taps
            short = builder.and_(builder.icmp_signed("==", rows.n0, _INT64(1)), builder.not_(more))
            short = builder.and_(short, builder.icmp_signed("<=", rows.n1, _INT64(3)))
            short = builder.and_(short, builder.icmp_signed(">", rows.n1, _INT64(1)))
            short = builder.and_(short, builder.not_(is_apart))
            case = builder.select(short, rows.n1, case)
            cases |= {known: functools.partial(variant, fold.lanes, known) for known in (2, 3)}
        _switch(builder, case, cases, functools.partial(variant, fold.lanes))
        return context.get_dummy_value()

    return types.void(kind, arrays, run, rows, lines, down, types.boolean), emit


def _fold_rows(fold, x, run, rows, lines, down, more, known):
    """`fold_rows` in vectors of `fold`; `known` rows that are taps of one axis, or None: any."""
    builder, slots = fold.builder, fold.slots()

    def load(place, mask):
        return fold.load(x, place.offset, mask, place.index, run.step.index)

    def fold_known(parts, place, mask):
        for _ in range(1, known):
            place = _moved(builder, place, 1, rows.step1)
            parts = fold.combine(parts, load(place, mask))
        return parts

    def fold_any(place, mask):
        """LOOP 0: the rows but the first; at the end of axis 1 a jump leads to the next of axis 0."""
        jump = _moved(builder, rows.step0, builder.sub(_INT64(1), rows.n1), rows.step1)
        variables = [cgutils.alloca_once_value(builder, value) for value in (*place, _INT64(1))]
        with _loop(builder, 1, builder.mul(rows.n0, rows.n1)):
            *place, k1 = map(builder.load, variables)
            is_last = builder.icmp_signed("==", k1, rows.n1)
            place = Place(*(
                builder.add(at, builder.select(is_last, far, near)) for at, far, near in zip(place, jump, rows.step1)
            ))  # fmt: skip
            k1 = builder.add(builder.select(is_last, _INT64(0), k1), _INT64(1))
            for variable, value in zip(variables, (*place, k1)):
                builder.store(value, variable)
            fold.set(slots, fold.combine(fold.get(slots), load(place, mask)))

    def vector(r, offset, mask):
        at = _moved(builder, run.first, r, down)
        # Elements of a whole vector are neighbours.
        at = Place(
            builder.add(at.offset, builder.mul(offset, run.step.offset) if fold.lanes == 1 else offset),
            builder.add(at.index, builder.mul(offset, run.step.index)),
        )
        where = _sum(builder, lines.start, builder.mul(r, lines.pitch), offset)
        parts = load(at, mask)
        if known:
            fold.write(fold_known(parts, at, mask), where)
            return
        fold.set(slots, parts)
        fold_any(at, mask)
        with builder.if_then(more):
            old = fold.read(where)
            both = fold.combine(old, fold.get(slots), in_order=False)
            fold.set(slots, both if mask is None else [builder.select(mask, n, o) for n, o in zip(both, old)])
        fold.write(fold.get(slots), where)

    with _loop(builder, 0, lines.count) as (r, _):  # LOOP 2: lines
        for_vectors(builder, run.count, fold.lanes, functools.partial(vector, r))  # LOOP 1: vectors of a line


@intrinsic(prefer_literal=True)
def fold_taps(typingctx, kind, arrays, to, at, count, taps, step):
    """`line[to + j] = fold over k of line[at + j + k * step]`, in whole vectors; `to` may be `at`."""

    def emit(context, builder, signature, args):
        fold, _, to, at, count, taps, step = _open(context, builder, signature, args)
        slots = fold.slots()
        with _loop(builder, 0, count, fold.lanes) as (offset, _):
            first = builder.add(at, offset)
            fold.set(slots, fold.read(first))
            with _loop(builder, 1, taps) as (k, _):
                new = fold.read(builder.add(first, builder.mul(k, step)))
                fold.set(slots, fold.combine(fold.get(slots), new, in_order=False))
            fold.write(fold.get(slots), builder.add(to, offset))
        return context.get_dummy_value()

    return types.void(kind, arrays, *[types.intp] * 5), emit


@intrinsic(prefer_literal=True)
def store_columns(typingctx, kind, arrays, lines, windows, target):
    """Fold the columns of lines into results; means are divided by `divisors[j]`.

    Steps of 2 to 4 take as many vectors apart by shuffles, which with neighbouring taps serve that many of them.
    """

    def emit(context, builder, signature, args):
        fold, pointers, lines, windows, target = _open(context, builder, signature, args)
        tight = builder.icmp_signed("==", windows.dilation, _INT64(1))

        def variant(lanes, step=None, known=None):
            _store_columns(fold.of_lanes(lanes), pointers, lines, windows, target, tight, step, known)

        whole = functools.partial(variant, fold.lanes)
        is_shuffled = builder.icmp_signed("<=", windows.stride, _INT64(SHUFFLED))
        case = builder.select(is_shuffled, windows.stride, _INT64(0))
        cases = {step: functools.partial(whole, step) for step in range(1, SHUFFLED + 1)}
        if not HAS_MASKS:  # the common windows, of which 16 times the taps are added to the step
            short = builder.and_(tight, builder.icmp_signed("<=", windows.taps, _INT64(3)))
            short = builder.and_(short, builder.icmp_signed("<=", windows.stride, _INT64(2)))
            short = builder.and_(short, builder.icmp_signed(">", windows.taps, _INT64(1)))
            case = builder.add(case, builder.select(short, builder.mul(windows.taps, _INT64(16)), _INT64(0)))
            cases |= {step + 16 * known: functools.partial(whole, step, known) for step in (1, 2) for known in (2, 3)}
        _switch(builder, case, cases, functools.partial(variant, 1))
        return context.get_dummy_value()

    return types.void(kind, arrays, lines, windows, target), emit


def _store_columns(fold, pointers, lines, windows, target, tight, step, known):
    """`store_columns` in vectors of `fold`, for a known step, and `known` neighbouring taps; None: any."""
    builder, slots = fold.builder, fold.slots()

    def read(first):
        """As many vectors as the step has elements: those of each tap are spread over them."""
        rows = [fold.read(_sum(builder, first, v * fold.lanes)) for v in range(step or 1)]
        return list(zip(*rows))

    def pick(vectors, phase):
        return [fold.every(part, step or 1, phase) for part in vectors]

    def combine(parts):
        fold.set(slots, fold.combine(fold.get(slots), parts, in_order=False))

    def fold_known(first, vectors):
        for k in range(1, known):
            if k % step == 0:
                vectors = read(_sum(builder, first, k))
            combine(pick(vectors, k % step))

    def fold_any(first, vectors):
        """LOOP 0: groups of neighbouring taps that lie in the same vectors, then single taps."""
        done = cgutils.alloca_once_value(builder, _INT64(1))
        if step and step > 1:
            groups = builder.select(tight, builder.sdiv(windows.taps, _INT64(step)), _INT64(0))
            with builder.if_then(builder.icmp_signed(">", groups, _INT64(0))):
                for phase in range(1, step):
                    combine(pick(vectors, phase))
                with _loop(builder, 1, groups) as (g, _):
                    more = read(builder.add(first, builder.mul(g, _INT64(step))))
                    for phase in range(step):
                        combine(pick(more, phase))
                builder.store(builder.mul(groups, _INT64(step)), done)
        with _loop(builder, builder.load(done), windows.taps) as (k, _):
            combine(pick(read(builder.add(first, builder.mul(k, windows.dilation))), 0))

    def vector(r, offset, mask):
        first = builder.mul(offset, _number(step) if step else windows.stride)
        first = _sum(builder, lines.start, builder.mul(r, lines.pitch), first)
        vectors = read(first)
        fold.set(slots, pick(vectors, 0))
        (fold_known if known else fold_any)(first, vectors)
        to = _sum(builder, target.start, builder.mul(r, target.line), offset)
        divisors = fold.divisors(builder.gep(pointers.divisors, [offset]))
        fold.finish(fold.get(slots), pointers, to, divisors, mask)

    with _loop(builder, 0, lines.count) as (r, _):  # LOOP 2: lines
        for_vectors(builder, windows.count, fold.lanes, functools.partial(vector, r))  # LOOP 1: vectors of results


@intrinsic(prefer_literal=True)
def store_windows(typingctx, kind, arrays, lines, windows, target):
    """`store_columns` for windows at no step: `windows` is a `Table` of a `WindowEntry` each."""

    def emit(context, builder, signature, args):
        fold, pointers, lines, windows, target = _open(context, builder, signature, args)
        fold = fold.of_lanes(1)
        slots = [fold.slots() for _ in range(_STREAMS)]

        def fold_window(j, row, streams):
            """That window of so many lines, whose sums hide each other's latency."""
            first, taps = _entry(builder, windows, j, WindowEntry)
            rows = [_sum(builder, row, i) for i in range(streams)]
            starts = [_sum(builder, lines.start, builder.mul(r, lines.pitch), first) for r in rows]
            for start, total in zip(starts, slots):
                fold.set(total, fold.read(start))
            with _loop(builder, 1, taps) as (k, _):
                for start, total in zip(starts, slots):
                    fold.set(total, fold.combine(fold.get(total), fold.read(builder.add(start, k)), in_order=False))
            divisors = fold.divisors(builder.gep(pointers.divisors, [j]))
            for r, total in zip(rows, slots):
                to = _sum(builder, target.start, builder.mul(r, target.line), j)
                fold.finish(fold.get(total), pointers, to, divisors, None)

        whole = builder.sub(lines.count, builder.and_(lines.count, _INT64(_STREAMS - 1)))
        with _loop(builder, 0, whole, _STREAMS) as (row, _), _loop(builder, 0, windows.count) as (j, _):
            fold_window(j, row, _STREAMS)
        with _loop(builder, whole, lines.count) as (row, _), _loop(builder, 0, windows.count) as (j, _):
            fold_window(j, row, 1)
        return context.get_dummy_value()

    return types.void(kind, arrays, lines, windows, target), emit


@intrinsic(prefer_literal=True)
def store_channels(typingctx, kind, arrays, start, count, width, channels, target):
    """Transpose a line of `count` elements that are `width` channels each, of which the first `channels` are stored.

    `out[target + c * plane + j] = line[start + j * width + c]`; means are divided by `divisors[j]`.
    """

    def emit(context, builder, signature, args):
        fold, pointers, start, count, width, channels, target = _open(context, builder, signature, args)
        size = min(fold.lanes, _SQUARE)
        fold = fold.of_lanes(size)

        def square(channel, column):
            rows = []
            for i in range(size):
                j = _sum(builder, column, i)
                j = builder.select(builder.icmp_signed("<", j, count), j, column)
                rows.append(fold.read(_sum(builder, start, channel, builder.mul(j, width))))
            for i, parts in enumerate(fold.columns(rows)):
                fold.write(parts, _INT64(SPARE + i * size))
            mask = first_lanes(builder, builder.sub(count, column), size)
            left = _least(builder, builder.sub(channels, channel), _INT64(size))
            with _loop(builder, 0, left) as (c, _):
                plane = builder.mul(builder.add(channel, c), target.plane)
                parts = fold.read(_sum(builder, SPARE, builder.mul(c, _INT64(size))))
                divisors = fold.divisors(builder.gep(pointers.divisors, [column]))
                fold.finish(parts, pointers, _sum(builder, target.start, column, plane), divisors, mask)

        with _loop(builder, 0, channels, size) as (channel, _), _loop(builder, 0, count, size) as (column, _):
            square(channel, column)
        return context.get_dummy_value()

    return types.void(kind, arrays, *[types.intp] * 4, target), emit


@intrinsic(prefer_literal=True)
def store_runs(typingctx, kind, arrays, start, windows, to):
    """`store_columns` of one line from `start` on, for neighbouring taps at wide steps."""
    return _runs(kind, arrays, windows, from_input=False)


@intrinsic(prefer_literal=True)
def pool_runs(typingctx, kind, arrays, start, windows, to):
    """The same from the input: windows of contiguous elements from `start` on. Indices count from 0 in each."""
    return _runs(kind, arrays, windows, from_input=True)


def _runs(kind, arrays, windows, from_input):
    """A vector of windows at a time, each folded in a vector of its own, from a line or from the input."""

    def emit(context, builder, signature, args):
        fold, pointers, start, windows, to = _open(context, builder, signature, args)
        neutral, size = fold.neutral(pointers.lowest), min(fold.lanes, _SQUARE)
        rest = builder.and_(windows.taps, _INT64(fold.lanes - 1))
        end, inside = builder.sub(windows.taps, rest), first_lanes(builder, rest, fold.lanes)
        slots = [fold.slots() for _ in range(size)]

        def load(first, offset, mask=None):
            at = builder.add(first, offset)
            return fold.load(pointers.x, at, mask, offset, _INT64(1)) if from_input else fold.read(at)

        with _loop(builder, 0, windows.count, size) as (j, _):
            numbers = [_sum(builder, j, i) for i in range(size)]
            numbers = [builder.select(builder.icmp_signed("<", i, windows.count), i, j) for i in numbers]
            starts = [builder.add(start, builder.mul(i, windows.stride)) for i in numbers]
            for i in range(0, size, _STREAMS):
                streams = list(zip(starts, slots))[i : i + _STREAMS]
                for first, total in streams:  # what is left of each behind its last whole vector
                    parts = load(first, end, inside)
                    fold.set(total, [builder.select(inside, part, other) for part, other in zip(parts, neutral)])
                with _loop(builder, 0, end, fold.lanes) as (offset, _):
                    for first, total in streams:
                        fold.set(total, fold.combine(fold.get(total), load(first, offset), in_order=False))
            result, parts = fold.fold_lanes([fold.get(total) for total in slots])
            mask = first_lanes(builder, builder.sub(windows.count, j), size)
            divisors = result.divisors(builder.gep(pointers.divisors, [j]))
            result.finish(parts, pointers, builder.add(to, j), divisors, mask)
        return context.get_dummy_value()

    return types.void(kind, arrays, types.intp, windows, types.intp), emit


@intrinsic(prefer_literal=True)
def pool_in_registers(typingctx, kind, arrays, windows, rows, group, blocks, planes, step, target):
    """Pool rows of short windows of some planes in registers, without lines.

    `rows` is a `Table` of a `RowEntry` each, whose taps are a `step` apart, `blocks` one of a `BlockEntry` each. All
    rows have the divisors of the first line.
    """

    def emit(context, builder, signature, args):
        fold, pointers, windows, *operands = _open(context, builder, signature, args)
        case = builder.add(builder.mul(windows.taps, _INT64(16)), builder.mul(windows.stride, _INT64(4)))
        cases = {
            16 * taps + 4 * stride + vectors: functools.partial(
                _pool_in_registers, fold, pointers, ShortWindows(taps, stride, vectors, windows.count), *operands
            )
            for taps, stride, vectors in _SHORT
        }
        _switch(builder, builder.add(case, windows.vectors), cases, lambda: None)
        return context.get_dummy_value()

    return types.void(kind, arrays, windows, rows, types.intp, blocks, planes, step, target), emit


def _pool_in_registers(fold, pointers, windows, rows, group, blocks, planes, step, target):
    """`pool_in_registers` for windows of which all but their count is known."""
    builder, stride, vectors = fold.builder, windows.stride, windows.vectors
    result = fold.of_lanes(fold.lanes * vectors // stride)
    neutral, last = fold.neutral(pointers.lowest), fold.lanes * vectors - 1
    slots = [fold.slots() for _ in range(vectors)]

    def mask(word, lanes):
        word = builder.trunc(word, ir.IntType(lanes)) if lanes < 64 else word
        return builder.bitcast(word, ir.VectorType(ir.IntType(1), lanes))

    def pick(parts, k):
        """Tap `k` of each window."""
        order = [min(j * stride + k, last) for j in range(result.lanes)]
        order = ir.Constant(ir.VectorType(ir.IntType(32), result.lanes), order)
        return [builder.shuffle_vector(part[0], part[-1], order) for part in zip(*parts)]

    def pool_row(row, first, inside, stored, line, divisors):
        own = _entry(builder, rows, row, RowEntry)
        first = Place(builder.add(own.offset, first.offset), builder.add(own.index, first.index))

        def load(v, k):
            at = Place(*(_sum(builder, n, v * fold.lanes) for n in _moved(builder, first, k, step)))
            parts = fold.load(pointers.x, at.offset, inside[v], at.index, _INT64(1))
            return [builder.select(inside[v], part, other) for part, other in zip(parts, neutral)]

        for v in range(vectors):
            fold.set(slots[v], load(v, 0))
        with _loop(builder, 1, own.taps) as (k, _):
            for v in range(vectors):
                fold.set(slots[v], fold.combine(fold.get(slots[v]), load(v, k)))
        parts = [fold.get(slot) for slot in slots]
        best = pick(parts, 0)
        for k in range(1, windows.taps):
            best = result.combine(best, pick(parts, k), in_order=False)
        result.finish(best, pointers, builder.add(line, builder.mul(row, target.line)), divisors, stored)

    # LOOP 4: planes, LOOP 3: groups of rows, LOOP 2: blocks of windows, LOOP 1: rows, of which one block is made.
    with _loop(builder, 0, planes.count) as (plane, _), _loop(builder, 0, rows.count, group) as (row, _):
        stop = _least(builder, builder.add(row, group), rows.count)
        with _loop(builder, 0, blocks.count) as (block, _):
            own, offset = _entry(builder, blocks, block, BlockEntry), builder.mul(block, windows.count)
            inside = [mask(word, fold.lanes) for word in (own.first, own.second)[:vectors]]
            stored = mask(own.results, result.lanes)
            divisors = result.divisors(builder.gep(pointers.divisors, [offset]))
            column = builder.mul(offset, _INT64(stride))
            first = Place(_sum(builder, planes.first, builder.mul(plane, planes.step), column), column)
            line = _sum(builder, target.start, builder.mul(plane, target.plane), offset)
            with _loop(builder, row, stop) as (r, _):
                pool_row(r, first, inside, stored, line, divisors)
