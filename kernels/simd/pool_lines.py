"""Vector code of the pools: what is done to lines of the workspace, and what becomes of them in results."""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .fold import RECIPROCALS, SPARE, Fold, lane_count, line_type
from .vectors import VECTOR_BYTES, broadcast, first_lanes, for_vectors, load_vector, store_vector

HAS_MASKS = VECTOR_BYTES == 64  # AVX-512 reads and writes parts of vectors at no cost
BLOCK = 16  # the largest block of vectors that is transposed in registers
_STREAMS = 4  # windows read at once: their sums hide each other's latency, their lines do not evict each other

ROW = 4  # words that `pool_lines` has of a row of windows, the last of which is the caller's
# Taps and step of the windows that it knows, and the vectors of input that a block of them takes.
_WINDOWS = (2, 1, 1), (3, 1, 1), (2, 2, 1), (3, 2, 1), (2, 2, 2), (3, 2, 2)

_INT64, _BYTE = ir.IntType(64), ir.IntType(8)


def _data(context, builder, signature, args, *names):
    """Pointers of array arguments by position."""
    builder.function.attributes.add("optsize")  # no loop of a kernel that holds vector code is unrolled
    return [cgutils.create_struct_proxy(signature.args[i])(context, builder, value=args[i]).data for i in names]


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


@intrinsic(prefer_literal=True)
def vector_lanes(typingctx, kind, x, out):
    """Elements of a vector of a line."""
    lanes = lane_count(line_type(kind.literal_value, x, out))

    def emit(context, builder, signature, args):
        return _INT64(lanes)

    return types.intp(kind, x, out), emit


@intrinsic
def set_divisors(typingctx, taps, divisors, count, rows):
    """`divisors[j] = taps[j] * rows`, and their reciprocals behind them, in whole vectors."""
    element = divisors.dtype
    lanes = lane_count(element)

    def emit(context, builder, signature, args):
        taps, divisors, count, rows = args
        scalar = context.get_value_type(element)
        vector = ir.VectorType(scalar, lanes)
        rows = broadcast(builder, builder.sitofp(rows, scalar), vector)
        one = ir.Constant(vector, [1.0] * lanes)
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(lanes), inc=True) as (j, _):
            product = builder.fmul(load_vector(builder, builder.gep(taps, [j]), vector), rows)
            target = builder.gep(divisors, [j])
            store_vector(builder, product, target)
            target = builder.gep(builder.bitcast(target, _BYTE.as_pointer()), [_INT64(RECIPROCALS)], source_etype=_BYTE)
            store_vector(builder, builder.fdiv(one, product), builder.bitcast(target, divisors.type))
        return context.get_dummy_value()

    return types.void(taps, divisors, types.intp, types.intp), emit


@intrinsic(prefer_literal=True)
def pool_lines(typingctx, kind, x, out, indices, lowest, taps, stride, vectors, rows, row_count, group, blocks,
               block_count, size, first, step, planes, row_step, index_step, to, plane_size, line_size,
               divisors):  # fmt: skip
    """Rows of windows of so many planes, folded in registers, a block of `size` windows at a time.

    A row has `ROW` words in `rows`: the element that it begins at, the index of that, and how many taps it has. A block
    has three in `blocks`: the bits of what is real in its one or two vectors, and of its results. Planes are walked
    over by `group` rows of a block.
    """

    def emit(context, builder, signature, args):
        source, data, places, lowest = _data(context, builder, signature, args, 1, 2, 3, 4)
        *window, rows, row_count, group, blocks, block_count, size, first, step, planes = args[5:-6]
        row_step, index_step, to, plane_size, line_size, divisors = args[-6:]

        def add(*terms):
            return functools.reduce(builder.add, terms)

        zero, one = _INT64(0), _INT64(1)

        def loop(start, stop, step=one):
            return cgutils.for_range_slice(builder, start, stop, step, inc=True)

        def load_words(words, i, count):
            return [
                builder.load(builder.gep(words, [add(builder.mul(i, _INT64(count)), _INT64(f))])) for f in range(count)
            ]

        def bits(word, lanes):
            word = builder.trunc(word, ir.IntType(lanes)) if lanes < 64 else word
            return builder.bitcast(word, ir.VectorType(ir.IntType(1), lanes))

        def run(taps, stride, vectors):
            fold = Fold(context, builder, kind.literal_value, x, out, rows)
            result = Fold(context, builder, kind.literal_value, x, out, rows, fold.lanes * vectors // stride)
            neutral, last = fold.neutral(lowest), fold.lanes * vectors - 1
            slots = [fold.slots() for _ in range(vectors)]

            def pick(parts, k):
                """Tap `k` of each window."""
                order = [min(j * stride + k, last) for j in range(result.lanes)]
                order = ir.Constant(ir.VectorType(ir.IntType(32), result.lanes), order)
                return [builder.shuffle_vector(part[0], part[-1], order) for part in zip(*parts)]

            def pool_row(row, origin, shift, line, masks, divisor):
                begin, index, real, _ = load_words(rows, row, ROW)
                begin, index = add(begin, origin, shift), add(index, shift)

                def load(v, k):
                    at = add(begin, builder.mul(k, row_step), _INT64(v * fold.lanes))
                    here = add(index, builder.mul(k, index_step), _INT64(v * fold.lanes))
                    parts = fold.load(source, at, masks[v], here, one)
                    return [builder.select(masks[v], part, other) for part, other in zip(parts, neutral)]

                for v in range(vectors):
                    fold.set(slots[v], load(v, zero))
                with loop(one, real) as (k, _):
                    for v in range(vectors):
                        fold.set(slots[v], fold.combine(fold.get(slots[v]), load(v, k)))
                parts = [fold.get(slot) for slot in slots]
                best = pick(parts, 0)
                for k in range(1, taps):
                    best = result.combine(best, pick(parts, k), in_order=False)
                where = add(line, builder.mul(row, line_size))
                result.finish(best, (data, places, where), divisor, masks[-1])

            with loop(zero, planes) as (plane, _), loop(zero, row_count, group) as (row, _):
                stop = add(row, group)
                stop = builder.select(builder.icmp_signed("<", stop, row_count), stop, row_count)
                with loop(zero, block_count) as (block, _):
                    lanes = [fold.lanes] * vectors + [result.lanes]
                    *inside, stored = load_words(blocks, block, 3)
                    masks = [bits(word, n) for word, n in zip([*inside[:vectors], stored], lanes)]
                    offset = builder.mul(block, size)
                    divisor = result.divisors(builder.gep(divisors, [offset]))
                    origin, shift = add(first, builder.mul(plane, step)), builder.mul(offset, _INT64(stride))
                    line = add(to, builder.mul(plane, plane_size), offset)
                    with loop(row, stop) as (r, _):
                        pool_row(r, origin, shift, line, masks, divisor)

        case = builder.add(builder.mul(window[0], _INT64(16)), builder.mul(window[1], _INT64(4)))
        cases = {16 * known[0] + 4 * known[1] + known[2]: functools.partial(run, *known) for known in _WINDOWS}
        _switch(builder, builder.add(case, window[2]), cases, lambda: None)
        return context.get_dummy_value()

    n, words, pointer = types.intp, types.CPointer(types.intp), types.CPointer(out.compute)
    return types.void(kind, x, out, indices, lowest, n, n, n, words, n, n, words, *[n] * 10, pointer), emit


@intrinsic(prefer_literal=True)
def fill(typingctx, kind, x, out, workspace, lowest, to, count, lines, pitch):
    """`count` elements of each line from `to` on become what changes no result, and up to a vector more."""

    def emit(context, builder, signature, args):
        base, lowest = _data(context, builder, signature, args, 3, 4)
        fold = Fold(context, builder, kind.literal_value, x, out, base)
        _, _, _, _, _, to, count, lines, pitch = args
        with builder.if_then(builder.icmp_signed(">", count, _INT64(0))):
            neutral = fold.neutral(lowest)
            with cgutils.for_range_slice(builder, _INT64(0), lines, _INT64(1), inc=True) as (r, _):
                line = builder.add(to, builder.mul(r, pitch))
                with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(fold.lanes), inc=True) as (j, _):
                    fold.write(neutral, builder.add(line, j))
        return context.get_dummy_value()

    return types.void(kind, x, out, workspace, lowest, *[types.intp] * 4), emit


@intrinsic(prefer_literal=True)
def fold_rows(typingctx, kind, x, out, workspace, to, first, n0, step0, n1, step1, step, count,
              index, index0, index1, index_step, more, lines, pitch, next_first, next_index):  # fmt: skip
    """`line[to + j] = fold over k0, k1 of x[first + k0 * step0 + k1 * step1 + j * step]`, and of itself if `more`.

    The steps of the index follow those of the element. Without `more` up to a vector past the run is written, too. So
    for several lines, `pitch` apart in the workspace and `next_first` in the input.
    """

    def emit(context, builder, signature, args):
        base, data = _data(context, builder, signature, args, 3, 1)
        to, first, n0, step0, n1, step1, step, count, index, index0, index1, index_step, more, *rest = args[4:]
        lines, pitch, next_first, next_index = rest
        taps = builder.mul(n0, n1)
        jump = builder.sub(step0, builder.mul(step1, builder.sub(n1, _INT64(1))))
        index_jump = builder.sub(index0, builder.mul(index1, builder.sub(n1, _INT64(1))))

        def run(lanes=None, known=None):
            """Taps of one axis: a number known here, or None."""
            fold = Fold(context, builder, kind.literal_value, x, out, base, lanes)
            slots = fold.slots()

            def vector(r, offset, mask):
                begin = builder.add(first, builder.mul(r, next_first))
                at = builder.add(begin, builder.mul(offset, step) if lanes == 1 else offset)
                here = builder.add(builder.add(index, builder.mul(r, next_index)), builder.mul(offset, index_step))
                where = builder.add(builder.add(to, builder.mul(r, pitch)), offset)
                parts = fold.load(data, at, mask, here, index_step)
                for _ in range(1, known or 1):
                    at, here = builder.add(at, step1), builder.add(here, index1)
                    parts = fold.combine(parts, fold.load(data, at, mask, here, index_step))
                if known:
                    fold.write(parts, where)
                    return
                fold.set(slots, parts)
                variables = [cgutils.alloca_once_value(builder, value) for value in (at, here, _INT64(1))]
                with cgutils.for_range_slice(builder, _INT64(1), taps, _INT64(1), inc=True):
                    at, here, k1 = map(builder.load, variables)
                    last = builder.icmp_signed("==", k1, n1)
                    at = builder.add(at, builder.select(last, jump, step1))
                    here = builder.add(here, builder.select(last, index_jump, index1))
                    k1 = builder.add(builder.select(last, _INT64(0), k1), _INT64(1))
                    for variable, value in zip(variables, (at, here, k1)):
                        builder.store(value, variable)
                    fold.set(slots, fold.combine(fold.get(slots), fold.load(data, at, mask, here, index_step)))
                with builder.if_then(more):
                    old = fold.read(where)
                    both = fold.combine(old, fold.get(slots), in_order=False)
                    fold.set(slots, both if mask is None else [builder.select(mask, n, o) for n, o in zip(both, old)])
                fold.write(fold.get(slots), where)

            with cgutils.for_range_slice(builder, _INT64(0), lines, _INT64(1), inc=True) as (r, _):
                for_vectors(builder, count, fold.lanes, functools.partial(vector, r))

        # 0 is any window, 1 any with elements that are apart, others are known here.
        case, cases = builder.zext(builder.icmp_signed("!=", step, _INT64(1)), _INT64), {1: lambda: run(lanes=1)}
        if not HAS_MASKS:  # the common windows without a loop over their taps
            short = builder.and_(builder.icmp_signed("==", n0, _INT64(1)), builder.not_(more))
            short = builder.and_(short, builder.icmp_signed("<=", n1, _INT64(3)))
            short = builder.and_(short, builder.icmp_signed(">", n1, _INT64(1)))
            short = builder.and_(short, builder.icmp_signed("==", step, _INT64(1)))
            case = builder.select(short, n1, case)
            cases |= {known: functools.partial(run, known=known) for known in (2, 3)}
        _switch(builder, case, cases, run)
        return context.get_dummy_value()

    n = types.intp
    return types.void(kind, x, out, workspace, *[n] * 12, types.boolean, *[n] * 4), emit


@intrinsic(prefer_literal=True)
def fold_taps(typingctx, kind, x, out, workspace, to, at, count, taps, shift):
    """`line[to + j] = fold over k of line[at + j + k * shift]`, in whole vectors; `to` may be `at`."""

    def emit(context, builder, signature, args):
        (base,) = _data(context, builder, signature, args, 3)
        fold = Fold(context, builder, kind.literal_value, x, out, base)
        to, at, count, taps, shift = args[4:]
        slots = fold.slots()
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(fold.lanes), inc=True) as (offset, _):
            first = builder.add(at, offset)
            fold.set(slots, fold.read(first))
            with cgutils.for_range_slice(builder, _INT64(1), taps, _INT64(1), inc=True) as (k, _):
                new = fold.read(builder.add(first, builder.mul(k, shift)))
                fold.set(slots, fold.combine(fold.get(slots), new, in_order=False))
            fold.write(fold.get(slots), builder.add(to, offset))
        return context.get_dummy_value()

    return types.void(kind, x, out, workspace, *[types.intp] * 5), emit


@intrinsic(prefer_literal=True)
def store_columns(typingctx, kind, x, out, indices, workspace, to, at, count, taps, shift, stride, divisors,
                  lines, pitch, to_step):  # fmt: skip
    """`out[to + j] = fold over k of line[at + j * stride + k * shift]`; means are divided by `divisors[j]`.

    So for several lines, `pitch` apart in the workspace and `to_step` in the results.

    Steps of 2 to 4 take as many vectors apart by shuffles, which with neighbouring taps serve that many of them.
    """

    def emit(context, builder, signature, args):
        data, places, base = _data(context, builder, signature, args, 2, 3, 4)
        to, at, count, taps, shift, stride, divisors, lines, pitch, to_step = args[5:]
        tight = builder.icmp_signed("==", shift, _INT64(1))

        def run(step=None, known=None, lanes=None):
            """Step and neighbouring taps: numbers known here, or None."""
            fold = Fold(context, builder, kind.literal_value, x, out, base, lanes)
            slots = fold.slots()

            def read(first):
                rows = [fold.read(builder.add(first, _INT64(v * fold.lanes))) for v in range(step or 1)]
                return list(zip(*rows))

            def pick(vectors, phase):
                return [fold.every(part, step or 1, phase) for part in vectors]

            def vector(r, offset, mask):
                first = builder.add(at, builder.mul(r, pitch))
                first = builder.add(first, builder.mul(offset, _INT64(step) if step else stride))
                vectors = read(first)
                fold.set(slots, pick(vectors, 0))
                for k in range(1, known or 1):
                    if k % step == 0:
                        vectors = read(builder.add(first, _INT64(k)))
                    fold.set(slots, fold.combine(fold.get(slots), pick(vectors, k % step), in_order=False))
                if not known:
                    loop(first, vectors)
                where = builder.add(builder.add(to, builder.mul(r, to_step)), offset)
                fold.finish(
                    fold.get(slots), (data, places, where), fold.divisors(builder.gep(divisors, [offset])), mask
                )

            def loop(first, vectors):
                done = cgutils.alloca_once_value(builder, _INT64(1))
                if step and step > 1:
                    groups = builder.select(tight, builder.sdiv(taps, _INT64(step)), _INT64(0))
                    with builder.if_then(builder.icmp_signed(">", groups, _INT64(0))):
                        for phase in range(1, step):
                            fold.set(slots, fold.combine(fold.get(slots), pick(vectors, phase), in_order=False))
                        with cgutils.for_range_slice(builder, _INT64(1), groups, _INT64(1), inc=True) as (g, _):
                            more = read(builder.add(first, builder.mul(g, _INT64(step))))
                            for phase in range(step):
                                fold.set(slots, fold.combine(fold.get(slots), pick(more, phase), in_order=False))
                        builder.store(builder.mul(groups, _INT64(step)), done)
                with cgutils.for_range_slice(builder, builder.load(done), taps, _INT64(1), inc=True) as (k, _):
                    new = pick(read(builder.add(first, builder.mul(k, shift))), 0)
                    fold.set(slots, fold.combine(fold.get(slots), new, in_order=False))

            with cgutils.for_range_slice(builder, _INT64(0), lines, _INT64(1), inc=True) as (r, _):
                for_vectors(builder, count, fold.lanes, functools.partial(vector, r))

        case = builder.select(builder.icmp_signed("<=", stride, _INT64(4)), stride, _INT64(0))
        cases = {step: functools.partial(run, step) for step in (1, 2, 3, 4)}
        if not HAS_MASKS:  # the common windows, of which 16 times the taps are added to the step
            short = builder.and_(tight, builder.icmp_signed("<=", taps, _INT64(3)))
            short = builder.and_(short, builder.icmp_signed("<=", stride, _INT64(2)))
            short = builder.and_(short, builder.icmp_signed(">", taps, _INT64(1)))
            case = builder.add(case, builder.select(short, builder.mul(taps, _INT64(16)), _INT64(0)))
            cases |= {step + 16 * known: functools.partial(run, step, known) for step in (1, 2) for known in (2, 3)}
        _switch(builder, case, cases, functools.partial(run, lanes=1))
        return context.get_dummy_value()

    n, pointer = types.intp, types.CPointer(out.compute)
    return types.void(kind, x, out, indices, workspace, *[n] * 6, pointer, *[n] * 3), emit


def _runs(kind, x, out, indices, workspace, lowest, n, from_input):
    """Runs of taps, of a line or of the input: a vector of windows at a time, each folded in a vector of its own."""

    def emit(context, builder, signature, args):
        source, data, places, base, lowest = _data(context, builder, signature, args, 1, 2, 3, 4, 5)
        to, at, count, taps, stride, divisors = args[6:]
        fold = Fold(context, builder, kind.literal_value, x, out, base)
        neutral, size = fold.neutral(lowest), min(fold.lanes, BLOCK)
        rest = builder.and_(taps, _INT64(fold.lanes - 1))
        whole, inside = builder.sub(taps, rest), first_lanes(builder, rest, fold.lanes)
        slots = [fold.slots() for _ in range(size)]

        def load(first, offset, mask=None):
            here = builder.add(first, offset)
            return fold.load(source, here, mask, offset, _INT64(1)) if from_input else fold.read(here)

        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(size), inc=True) as (j, _):
            windows = [builder.add(j, _INT64(i)) for i in range(size)]
            windows = [builder.select(builder.icmp_signed("<", i, count), i, j) for i in windows]
            starts = [builder.add(at, builder.mul(i, stride)) for i in windows]
            for i in range(0, size, _STREAMS):
                streams = list(zip(starts, slots))[i : i + _STREAMS]
                for first, total in streams:
                    parts = load(first, whole, inside)
                    fold.set(total, [builder.select(inside, part, other) for part, other in zip(parts, neutral)])
                with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(fold.lanes), inc=True) as (offset, _):
                    for first, total in streams:
                        fold.set(total, fold.combine(fold.get(total), load(first, offset), in_order=False))
            result, parts = fold.fold_lanes([fold.get(total) for total in slots])
            mask = first_lanes(builder, builder.sub(count, j), size)
            result.finish(parts, (data, places, builder.add(to, j)), result.divisors(builder.gep(divisors, [j])), mask)
        return context.get_dummy_value()

    pointer = types.CPointer(out.compute)
    return types.void(kind, x, out, indices, workspace, lowest, *[n] * 5, pointer), emit


@intrinsic(prefer_literal=True)
def store_runs(typingctx, kind, x, out, indices, workspace, lowest, to, at, count, taps, stride, divisors):
    """`store_columns` for neighbouring taps at wide steps."""
    return _runs(kind, x, out, indices, workspace, lowest, to, from_input=False)


@intrinsic(prefer_literal=True)
def pool_runs(typingctx, kind, x, out, indices, workspace, lowest, to, at, count, taps, stride, divisors):
    """The same from the input: `count` windows of `taps` contiguous elements, `stride` apart, with indices from 0."""
    return _runs(kind, x, out, indices, workspace, lowest, to, from_input=True)


@intrinsic(prefer_literal=True)
def store_transposed(typingctx, kind, x, out, indices, workspace, to, step, at, width, lanes, count, divisors):
    """`out[to + c * step + j] = line[at + j * width + c]` for `c < lanes` and `j < count`."""

    def emit(context, builder, signature, args):
        data, places, base = _data(context, builder, signature, args, 2, 3, 4)
        to, step, at, width, lanes, count, divisors = args[5:]
        size = min(lane_count(line_type(kind.literal_value, x, out)), BLOCK)
        fold = Fold(context, builder, kind.literal_value, x, out, base, size)

        def block(channel, column):
            rows_ = []
            for i in range(size):
                j = builder.add(column, _INT64(i))
                j = builder.select(builder.icmp_signed("<", j, count), j, column)
                rows_.append(fold.read(builder.add(builder.add(at, channel), builder.mul(j, width))))
            for i, parts in enumerate(fold.columns(rows_)):
                fold.write(parts, _INT64(SPARE + i * size))
            mask = first_lanes(builder, builder.sub(count, column), size)
            left = builder.sub(lanes, channel)
            left = builder.select(builder.icmp_signed("<", left, _INT64(size)), left, _INT64(size))
            with cgutils.for_range_slice(builder, _INT64(0), left, _INT64(1), inc=True) as (c, _):
                where = builder.add(builder.add(to, column), builder.mul(builder.add(channel, c), step))
                parts = fold.read(builder.add(_INT64(SPARE), builder.mul(c, _INT64(size))))
                fold.finish(parts, (data, places, where), fold.divisors(builder.gep(divisors, [column])), mask)

        with cgutils.for_range_slice(builder, _INT64(0), lanes, _INT64(size), inc=True) as (channel, _):
            with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(size), inc=True) as (column, _):
                block(channel, column)
        return context.get_dummy_value()

    n, pointer = types.intp, types.CPointer(out.compute)
    return types.void(kind, x, out, indices, workspace, *[n] * 6, pointer), emit
