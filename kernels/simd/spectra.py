"""Spectra of square tiles of real numbers, lanes across tiles: transformed, multiplied and restored.

A tile of `size` by `size` numbers has as many different real numbers in its spectrum. Its rows become half spectra,
whose first and middle numbers are real; their columns then become spectra: those two columns, which are real, half of
theirs. They are kept as `size * size / 2` pairs of parts, each part a run of lanes, `step` elements apart:

    pair k                     number k of column 0, but for pair 0: numbers 0 and size / 2, which are real
    pair size / 2 + k          the same of column size / 2
    pair size * j + k          number k of column j, for 0 < j < size / 2
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, llvm_type, outline
from .fft import _Codelet
from .tiles import close_loop
from .vectors import (
    FLOATS,
    REGISTERS,
    broadcast,
    for_vectors,
    load_vector,
    multiply_add,
    pin,
    store_vector,
    transpose,
)

SIZES = 16, 32
LEVELS = 6  # of magnitudes that kernels' taps are told apart by

# Tiles and vectors of output channels of the largest product: twice as many sums, and the factors, fill the registers.
PRODUCT = (6, 2) if REGISTERS == 32 else (3, 2)

_INT64 = ir.IntType(64)


class Spectra(NamedTuple):
    """Spectra in memory: the first pair's real part lies at an element, each part `step` elements from the last one."""

    elements: Any  # a pointer
    start: int
    step: int


class Rows(NamedTuple):
    """Rows of tiles: a table says how many elements from the first one each tile begins; its rows lie `pitch` apart."""

    elements: Any
    table: Any  # of int64
    first: int  # the entry of the first lane
    pitch: int


@intrinsic
def transform_tiles(typingctx, size, rows, scratch, spectra):
    """The spectra of a vector of tiles. `scratch` has room for `size` rows of `size + 2` vectors."""
    element = scratch.dtype
    if element not in FLOATS:
        return None

    def body(codelet, n, args):
        data, table, pitch, room, target, step = args
        with cgutils.for_range(codelet.builder, _INT64(n)) as row:
            at = codelet.builder.mul(row.index, pitch)
            codelet.store_row(room, n, row.index, codelet.dft_of_real(codelet.gather(data, table, at, n)))
        codelet.transform_columns(room, n, target, step)

    def emit(context, builder, signature, args):
        number, rows_, room, out = args
        data, table, lane, pitch = cgutils.unpack_tuple(builder, rows_)
        target, first, step = cgutils.unpack_tuple(builder, out)
        values = [data, builder.gep(table, [lane]), pitch, room, builder.gep(target, [first]), step]
        return _emit(context, builder, "tiles", element, body, number, values)

    return types.void(types.intp, rows, scratch, spectra), emit


class Taps(NamedTuple):
    """Vectors of kernels' taps: the first one's place, the steps from row to row and from column to column."""

    elements: Any
    start: int
    row: int
    column: int
    rows: int
    columns: int


@intrinsic
def transform_kernel_rows(typingctx, size, taps, spectra):
    """Half spectra of the rows of kernels at the beginning of rows of zeros, `size` parts for each.

    There are up to `size / 2` columns. Part `row * size` and the next one are the first and the middle number, which
    are real.
    """
    element = taps.types[0].dtype
    if element not in FLOATS:
        return None

    def body(codelet, n, args):
        data, row_step, column_step, rows, columns, target, step = args
        builder, half, empty = codelet.builder, n // 2, codelet.constant(0)
        last = builder.sub(columns, _INT64(1))
        with cgutils.for_range(builder, rows) as row:
            first, vectors = codelet.address(data, builder.mul(row.index, row_step)), []
            for j in range(half):
                inside = builder.icmp_signed("<=", _INT64(j), last)
                at = builder.mul(builder.select(inside, _INT64(j), last), column_step)
                vectors.append(builder.select(inside, codelet.vector_at(first, at), empty))
            to = codelet.address(target, builder.mul(row.index, builder.mul(step, _INT64(n))))
            for i, value in enumerate(codelet.row_of(codelet.dft_of_real(vectors + [None] * half))):
                store_vector(builder, value, codelet.address(to, builder.mul(step, _INT64(i))))

    def emit(context, builder, signature, args):
        number, group, out = args
        data, start, *steps = cgutils.unpack_tuple(builder, group)
        target, first, step = cgutils.unpack_tuple(builder, out)
        values = [builder.gep(data, [start]), *steps, builder.gep(target, [first]), step]
        return _emit(context, builder, "kernel_rows", element, body, number, values)

    return types.void(types.intp, taps, spectra), emit


@intrinsic
def transform_kernel_columns(typingctx, size, rows, column, count, rows_spectra, spectra):
    """One column of what `transform_kernel_rows` makes, transformed: `size` pairs, of `count` elements each.

    Column 0 stands for both real ones.
    """
    element = spectra.types[0].dtype

    def body(codelet, n, args):
        rows, column, count, source, step, target, pair_step = args
        builder, half, empty = codelet.builder, n // 2, codelet.constant(0)
        first = codelet.address(source, builder.mul(builder.shl(column, _INT64(1)), step))
        insides = [builder.icmp_signed("<", _INT64(r), rows) for r in range(half)]
        row_step = builder.mul(step, _INT64(n))
        steps = [
            builder.select(inside, builder.mul(row_step, _INT64(r)), _INT64(0)) for r, inside in enumerate(insides)
        ]
        with builder.if_else(builder.icmp_signed("==", column, _INT64(0))) as branches:
            for branch, is_real in zip(branches, (True, False), strict=True):
                with (
                    branch,
                    cgutils.for_range_slice(builder, _INT64(0), count, _INT64(codelet.lanes), inc=True) as (offset, _),
                ):
                    at, to = codelet.address(first, offset), codelet.address(target, offset)
                    parts = [
                        [
                            builder.select(inside, codelet.vector_at(at, place, *[step] * part), empty)
                            for inside, place in zip(insides, steps, strict=True)
                        ]
                        for part in (0, 1)
                    ]
                    if is_real:
                        pairs = [pair for values in parts for pair in codelet.real_column(values + [None] * half)]
                    else:
                        pairs = codelet.dft_of_tile([*zip(*parts, strict=True)] + [(None, None)] * half)
                    for k, pair in enumerate(pairs):
                        codelet.store_pair(to, pair_step, _INT64(k), pair)

    def emit(context, builder, signature, args):
        number, height, which, elements, *groups = args
        values = [height, which, elements]
        for group in groups:
            data, start, step = cgutils.unpack_tuple(builder, group)
            values += [builder.gep(data, [start]), step]
        return _emit(context, builder, "kernel_columns", element, body, number, values)

    n = types.intp
    return types.void(n, n, n, n, rows_spectra, spectra), emit


@intrinsic
def restore_tiles(typingctx, size, spectra, scratch, count, target, start, pitch):
    """The first `count` rows of the tiles that a vector of spectra is of, of `size` vectors, `pitch` elements apart."""
    element = scratch.dtype
    if element not in FLOATS:
        return None

    def body(codelet, n, args):
        source, step, room, count, target, pitch = args
        codelet.restore_columns(source, step, n, room)
        with cgutils.for_range(codelet.builder, count) as row:
            codelet.restore_row(room, n, row.index, target, pitch)

    def emit(context, builder, signature, args):
        number, out, room, rows, to, at, pitch = args
        source, first, step = cgutils.unpack_tuple(builder, out)
        values = [builder.gep(source, [first]), step, room, rows, builder.gep(to, [at]), pitch]
        return _emit(context, builder, "restore", element, body, number, values)

    n = types.intp
    return types.void(n, spectra, scratch, n, target, n, n), emit


def _emit(context, builder, name, element, body, number, values):
    """A function for each size, and the call of one of them."""
    done = builder.append_basic_block("done")
    switch = builder.switch(number, done)
    for size in SIZES:
        block = builder.append_basic_block(f"{name}{size}")
        switch.add_case(_INT64(size), block)
        builder.position_at_end(block)

        def code(inner, *args, size=size):
            body(_TileCodelet(inner, element), size, args)

        kinds = [value.type for value in values]
        outline(builder, f"spectra.{name}.{size}.{FLOATS[element]}", kinds, code)(values)
        builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


class _TileCodelet(_Codelet):
    """Code for the passes over a vector of tiles. Rows of the scratch memory are odd multiples of a line apart."""

    def __init__(self, builder, element):
        super().__init__(builder, element)
        self.lanes = self.vector.count

    def address(self, pointer, *steps):
        for step in steps:
            step = _INT64(step) if isinstance(step, int) else step
            pointer = self.builder.gep(pointer, [step], source_etype=self.scalar)
        return pointer

    def vector_at(self, pointer, *steps):
        return load_vector(self.builder, self.address(pointer, *steps), self.vector)

    def constant(self, value):
        return self.vector([value] * self.lanes)

    def gather(self, data, table, at, n):
        """A row of each lane's tile: `n` vectors, across lanes."""
        builder = self.builder
        pointers = []
        for lane in range(self.lanes):
            offset = builder.load(builder.gep(table, [_INT64(lane)], source_etype=_INT64), typ=_INT64)
            pointers.append(self.address(data, at, offset))
        columns = []
        for first in range(0, n, self.lanes):
            columns += transpose(builder, [self.vector_at(pointer, first) for pointer in pointers])
        return columns

    def scratch_row(self, room, n, row):
        return self.address(room, self.builder.mul(row, _INT64((n + 2) * self.lanes)))

    def row_of(self, spectrum):
        """The parts of half a spectrum: the two real numbers first."""
        first, *inner, last = spectrum
        return [first[0], last[0], *(part for pair in inner for part in pair)]

    def real_column(self, values):
        """The pairs of a real column: the two numbers that are real are the first one."""
        first, *inner, last = self.dft_of_real(values)
        return [(first[0], last[0]), *inner]

    def store_row(self, room, n, row, spectrum):
        to = self.scratch_row(room, n, row)
        for i, value in enumerate(self.row_of(spectrum)):
            store_vector(self.builder, value, self.address(to, i * self.lanes))

    def dft_of_tile(self, values):
        return self._joined_dft(values, 2) if len(values) == 32 else self.dft(values)

    def transform_columns(self, room, n, target, step):
        """From half spectra of rows to pairs."""
        builder, half, pitch = self.builder, n // 2, (n + 2) * self.lanes
        for column in (0, 1):
            values = [self.vector_at(room, r * pitch + column * self.lanes) for r in range(n)]
            for k, pair in enumerate(self.real_column(values)):
                self.store_pair(target, step, _INT64(column * half + k), pair)
        with cgutils.for_range_slice(builder, _INT64(1), _INT64(half), _INT64(1), inc=True) as (j, _):
            column = self.address(room, builder.mul(j, _INT64(2 * self.lanes)))
            values = [tuple(self.vector_at(column, r * pitch + part * self.lanes) for part in (0, 1)) for r in range(n)]
            first = builder.mul(j, _INT64(n))
            for k, pair in enumerate(self.dft_of_tile(values)):
                self.store_pair(target, step, builder.add(first, _INT64(k)), pair)

    def store_pair(self, target, step, pair, parts):
        at = self.address(target, self.builder.mul(step, self.builder.shl(pair, _INT64(1))))
        store_vector(self.builder, parts[0], at)
        store_vector(self.builder, parts[1], self.address(at, step))

    def load_pair(self, source, step, pair):
        at = self.address(source, self.builder.mul(step, self.builder.shl(pair, _INT64(1))))
        return self.vector_at(at), self.vector_at(at, step)

    def restore_columns(self, source, step, n, room):
        """From pairs to half spectra of rows."""
        builder, half, pitch = self.builder, n // 2, (n + 2) * self.lanes
        for column in (0, 1):
            ends, *inner = (self.load_pair(source, step, _INT64(column * half + k)) for k in range(half))
            values = self.real_dft([(ends[0], None), *inner, (ends[1], None)])
            for r, value in enumerate(values):
                store_vector(builder, value, self.address(room, r * pitch + column * self.lanes))
        with cgutils.for_range_slice(builder, _INT64(1), _INT64(half), _INT64(1), inc=True) as (j, _):
            first = builder.mul(j, _INT64(n))
            pairs = [self.load_pair(source, step, builder.add(first, _INT64(k))) for k in range(n)]
            swapped = self.dft_of_tile([pair[::-1] for pair in pairs])
            column = self.address(room, builder.mul(j, _INT64(2 * self.lanes)))
            for r, (imaginary, real) in enumerate(swapped):
                store_vector(builder, real, self.address(column, r * pitch))
                store_vector(builder, imaginary, self.address(column, r * pitch + self.lanes))

    def restore_row(self, room, n, row, target, pitch):
        builder, at = self.builder, self.scratch_row(room, n, row)
        values = [self.vector_at(at, i * self.lanes) for i in range(n)]
        inner = list(zip(values[2::2], values[3::2], strict=True))
        to = self.address(target, builder.mul(row, pitch))
        scale = self.constant(1 / n**2)
        for i, value in enumerate(self.real_dft([(values[0], None), *inner, (values[1], None)])):
            store_vector(builder, builder.fmul(value, scale), self.address(to, i * self.lanes))


class Factors(NamedTuple):
    """One part of a product's factors, or of its sums. Parts are `part` apart, tiles or terms are `next` apart."""

    elements: Any
    start: int
    part: int
    next: int


@intrinsic
def multiply_spectra(typingctx, tiles, vectors, is_real, inputs, kernels, terms, sums, accumulate):
    """Products of one pair of the spectra of some tiles with that of some vectors of output channels' kernels.

    `sums[t, o] = sum over c < terms of inputs[t, c] * conj(kernels[c, o])`, added to what is there if `accumulate`;
    `inputs.next` leads to the next tile, whose terms lie side by side, `kernels.next` to the next term. `is_real`: the
    pair is two numbers that are real. There are up to `PRODUCT` tiles and vectors.
    """
    element = kernels.types[0].dtype

    def emit(context, builder, signature, args):
        count, width, real, *groups, again = args
        operands = []
        for value in (groups[0], groups[1], groups[3]):
            data, start, part, following = cgutils.unpack_tuple(builder, value)
            operands += [builder.gep(data, [start]), part, following]
        operands += [groups[2], builder.zext(again, _INT64) if again.type != _INT64 else again]
        done = builder.append_basic_block("done")
        number = builder.add(builder.shl(builder.zext(real, _INT64), _INT64(8)), builder.shl(width, _INT64(4)))
        switch = builder.switch(builder.add(number, count), done)
        for kind in (0, 1):
            for v in range(1, PRODUCT[1] + 1):
                for t in range(1, PRODUCT[0] + 1):
                    block = builder.append_basic_block(f"product{kind}.{t}.{v}")
                    switch.add_case(_INT64((kind << 8) + (v << 4) + t), block)
                    builder.position_at_end(block)

                    def code(inner, *values, kind=kind, t=t, v=v):
                        _Product(inner, element, t, v, kind == 1).emit(*values)

                    kinds = [value.type for value in operands]
                    outline(builder, f"spectra.product.{kind}.{t}.{v}.{FLOATS[element]}", kinds, code)(operands)
                    builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, types.boolean, inputs, kernels, n, sums, accumulate), emit


class _Product:
    """The code of `multiply_spectra` for one shape. Sums are values of the loop over terms."""

    def __init__(self, builder, element, tiles, vectors, is_real):
        self.builder, self.element, self.is_real = builder, element, is_real
        self.tiles, self.vectors = tiles, vectors
        self.scalar = llvm_type(element)
        self.vector = ir.VectorType(self.scalar, lanes_in(element))

    def at(self, pointer, *steps):
        for step in steps:
            step = _INT64(step) if isinstance(step, int) else step
            pointer = self.builder.gep(pointer, [step], source_etype=self.scalar)
        return pointer

    def emit(self, inputs, input_part, tile, kernels, kernel_part, term, sums, sum_part, following, terms, accumulate):
        builder, lanes = self.builder, self.vector.count
        tiles = [builder.mul(tile, _INT64(t)) for t in range(self.tiles)]
        before = builder.block
        loop, after = builder.append_basic_block("terms"), builder.append_basic_block("store")
        builder.branch(loop)
        builder.position_at_end(loop)
        c, x, w = builder.phi(_INT64), builder.phi(inputs.type), builder.phi(kernels.type)
        totals = [builder.phi(self.vector) for _ in range(2 * self.tiles * self.vectors)]
        parts = w, self.at(w, kernel_part)
        factors = [
            [load_vector(builder, self.at(part, v * lanes), self.vector) for part in parts] for v in range(self.vectors)
        ]
        results = []
        for t in range(self.tiles):
            place = self.at(x, tiles[t])
            real, imaginary = (
                broadcast(builder, builder.load(pointer, typ=self.scalar), self.vector)
                for pointer in (place, self.at(place, input_part))
            )
            for factor in factors:
                pair = totals[len(results) : len(results) + 2]
                results += self.add_product(real, imaginary, factor, pair)
            results[-1] = pin(builder, results[-1])
        next_c = builder.add(c, _INT64(1))
        next_x, next_w = self.at(x, 1), self.at(w, term)
        builder.cbranch(builder.icmp_signed("<", next_c, terms), loop, after)
        zero = ir.Constant(self.vector, None)
        close_loop(
            [c, x, w, *totals], (before, loop),
            ([_INT64(0), inputs, kernels, *[zero] * len(totals)], [next_c, next_x, next_w, *results]),
        )  # fmt: skip
        builder.position_at_end(after)
        places = [
            self.at(sums, builder.mul(following, _INT64(t)), v * lanes, *[sum_part] * part)
            for t in range(self.tiles)
            for v in range(self.vectors)
            for part in (0, 1)
        ]
        with builder.if_else(builder.icmp_signed("!=", accumulate, accumulate.type(0))) as (again, anew):
            with again:
                for place, total in zip(places, results, strict=True):
                    store_vector(builder, builder.fadd(load_vector(builder, place, self.vector), total), place)
            with anew:
                for place, total in zip(places, results, strict=True):
                    store_vector(builder, total, place)

    def add_product(self, real, imaginary, factor, totals):
        """Totals with the product of a number and a conjugate one added."""
        builder = self.builder

        def fused(a, b, total):
            return multiply_add(builder, self.element, a, b, total)

        if self.is_real:
            return [fused(real, factor[0], totals[0]), fused(imaginary, factor[1], totals[1])]
        return [
            fused(imaginary, factor[1], fused(real, factor[0], totals[0])),
            fused(builder.fneg(real), factor[1], fused(imaginary, factor[0], totals[1])),
        ]


@intrinsic
def add_magnitudes(typingctx, source, start, step, terms, count, sums, squares, to, accumulate):
    """`sums[to + i] = sum over c of |source[start + c * step + i]|` for `i < count`, and `squares` those of squares.

    They are added to what is there if `accumulate`. The arrays have room for whole vectors.
    """
    element = source.dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))

    def emit(context, builder, signature, args):
        data, start, step, terms, count, sums, squares, to, accumulate = args
        data, sums, squares = (builder.gep(p, [at]) for p, at in ((data, start), (sums, to), (squares, to)))
        magnitude = magnitude_of(builder, element, vector)
        again = builder.icmp_signed("!=", accumulate, accumulate.type(0))
        zero = ir.Constant(vector, None)
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(vector.count), inc=True) as (offset, _):
            places = [builder.gep(pointer, [offset]) for pointer in (sums, squares)]
            totals = [cgutils.alloca_once(builder, vector) for _ in places]
            for place, total in zip(places, totals, strict=True):
                builder.store(builder.select(again, load_vector(builder, place, vector), zero), total)
            with cgutils.for_range(builder, terms) as term:
                at = builder.add(offset, builder.mul(term.index, step))
                value = load_vector(builder, builder.gep(data, [at]), vector)
                builder.store(builder.fadd(builder.load(totals[0]), builder.call(magnitude, [value])), totals[0])
                builder.store(multiply_add(builder, element, value, value, builder.load(totals[1])), totals[1])
            for place, total in zip(places, totals, strict=True):
                store_vector(builder, builder.load(total), place)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, n, sums, squares, n, accumulate), emit


@intrinsic
def sum_of_squares(typingctx, source, start, count):
    """The sum of the squares of `count` numbers from `source[start]` on."""
    element = source.dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))

    def emit(context, builder, signature, args):
        data, start, count = args
        data = builder.gep(data, [start])
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))

        def body(offset, mask):
            value = load_vector(builder, builder.gep(data, [offset]), vector, mask)
            builder.store(multiply_add(builder, element, value, value, builder.load(total)), total)

        for_vectors(builder, count, vector.count, body)
        return reduce(builder, builder.load(total), builder.fadd)

    return element(source, types.intp, types.intp), emit


@intrinsic
def count_below(typingctx, source, start, count, counts, bound):
    """Add to `counts[i]` how many of `count` magnitudes from `source[start]` on are below `bound / 2**(i + 1)`.

    There are `LEVELS` counts.
    """
    element = source.dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))
    tally = ir.VectorType(ir.IntType(element.bitwidth), vector.count)

    def emit(context, builder, signature, args):
        data, start, count, counts, bound = args
        data = builder.gep(data, [start])
        magnitude = magnitude_of(builder, element, vector)
        totals = [cgutils.alloca_once_value(builder, ir.Constant(tally, None)) for _ in range(LEVELS)]
        bounds = [broadcast(builder, builder.fmul(bound, bound.type(0.5 ** (i + 1))), vector) for i in range(LEVELS)]

        def body(offset, mask):
            value = load_vector(builder, builder.gep(data, [offset]), vector, mask)
            value = builder.call(magnitude, [value])
            for limit, total in zip(bounds, totals, strict=True):
                below = builder.fcmp_ordered("<", value, limit)
                if mask is not None:
                    below = builder.and_(below, mask)
                builder.store(builder.sub(builder.load(total), builder.sext(below, tally)), total)

        for_vectors(builder, count, vector.count, body)
        for i, total in enumerate(totals):
            place = builder.gep(counts, [_INT64(i)])
            few = builder.zext(reduce(builder, builder.load(total), builder.add), _INT64)
            builder.store(builder.add(builder.load(place), few), place)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, counts, source.dtype), emit


def magnitude_of(builder, element, vector):
    kind = ir.FunctionType(vector, [vector])
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{vector.count}{FLOATS[element]}")


def reduce(builder, value, join):
    """All lanes of a vector, joined half by half."""
    count = value.type.count
    while count > 1:
        count //= 2
        halves = [
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(i, i + count)))
            )
            for i in (0, count)
        ]
        value = join(*halves)
    return builder.extract_element(value, ir.IntType(32)(0))


@intrinsic
def add_up(typingctx, source, start, step, terms, count, target):
    """`target[i] = sum over k < terms of source[start + i + k * step]` for `i < count`, by whole vectors."""
    element = source.dtype
    vector = ir.VectorType(llvm_type(element), lanes_in(element))

    def emit(context, builder, signature, args):
        data, start, step, terms, count, target = args
        data = builder.gep(data, [start])
        with cgutils.for_range_slice(builder, _INT64(0), count, _INT64(vector.count), inc=True) as (offset, _):
            here, total = builder.gep(data, [offset]), cgutils.alloca_once(builder, vector)
            builder.store(load_vector(builder, here, vector), total)
            with cgutils.for_range_slice(builder, _INT64(1), terms, _INT64(1), inc=True) as (term, _):
                value = load_vector(builder, builder.gep(here, [builder.mul(term, step)]), vector)
                builder.store(builder.fadd(builder.load(total), value), total)
            store_vector(builder, builder.load(total), builder.gep(target, [offset]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, n, target), emit
