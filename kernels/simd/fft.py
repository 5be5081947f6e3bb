"""Discrete Fourier transforms of a few vectors, each done in registers: what longer transforms are made of.

Lanes run across independent transforms: neighbouring columns, rows, tiles or channels. Real and imaginary parts lie in
vectors of their own. All transforms are forward, `X[k] = sum over j of x[j] exp(-2 pi i j k / n)`, and none is scaled.
The inverse is the forward transform of numbers whose parts are swapped, and of the result: callers swap `real` and
`imaginary` of both. Factors (twiddles) are conjugated by that as well.
"""

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .elements import lanes_in, llvm_type, outline
from .vectors import FLOATS, broadcast, keep_whole, load_vector, multiply_add, store_vector, transpose, unpack

SIZES = 2, 3, 4, 5, 8, 16
REAL_SIZES = 8, 16
PASS_SIZES = SIZES[:-1]  # what a number of the run chooses from; 16, which compiles longest, has to be a literal

_INT64 = ir.IntType(64)


class Lines(NamedTuple):
    """Vectors of complex numbers in memory. Places and steps are in elements of the parts' type.

    Number `i` of a transform lies `i * step` from its first one, the transforms `next` apart, each of which stands for
    several with the same factors, `again` apart.
    """

    elements: Any  # a pointer
    real: int  # where the first real part lies
    imaginary: int
    step: int
    next: int
    again: int


class Place(NamedTuple):
    """Complex vectors in memory: where the parts of the first lie, and how far the next ones are apart."""

    elements: Any  # a pointer
    real: int
    imaginary: int
    step: int


@intrinsic(prefer_literal=True)
def transform(typingctx, size, source, target, count, repeats):
    """`repeats` times `count` transforms of a size in `SIZES`, or `PASS_SIZES`; the target may be the source."""
    return _passes(_transform, SIZES, size, source, target, count, repeats)


@intrinsic(prefer_literal=True)
def transform_twiddled(typingctx, size, source, target, count, repeats, twiddles, first):
    """`transform`, results multiplied by factors.

    There are `size - 1` for each of the `count`, for results 1, 2, ...: pairs of parts from `twiddles[first]` on.
    """
    return _passes(_transform_twiddled, SIZES, size, source, target, count, repeats, twiddles, first)


@intrinsic(prefer_literal=True)
def twiddle_transform(typingctx, size, source, target, count, repeats, twiddles, first):
    """`transform` of numbers multiplied by factors, which lie as those of `transform_twiddled`."""
    return _passes(_twiddle_transform, SIZES, size, source, target, count, repeats, twiddles, first)


@intrinsic(prefer_literal=True)
def transform_real(typingctx, size, source, target, count, repeats):
    """`transform` of real numbers of a size in `REAL_SIZES`: the first `size // 2 + 1` results, which tell the others.

    `source.imaginary` is not read. The target may be the source only where a number and its result lie apart.
    """
    return _passes(_transform_real, REAL_SIZES, size, source, target, count, repeats)


@intrinsic(prefer_literal=True)
def restore_real(typingctx, size, source, target, count, repeats):
    """The inverse of `transform_real` but for a factor of `size`: real numbers from the first half of their spectrum.

    `target.imaginary` is not written. Parts are not swapped here. Imaginary parts that ought to be zero are not read.
    """
    return _passes(_restore_real, REAL_SIZES, size, source, target, count, repeats)


@intrinsic
def multiply(typingctx, count, source, factors, target, accumulate):
    """`target[i] = source[i] * factors[i]` for `i < count`, added to what the target holds if `accumulate`."""
    n, element = types.intp, source.types[0].dtype

    def emit(context, builder, signature, args):
        count, *places, accumulate = args
        codelet = _Codelet(builder, element)
        source, factors, target = (codelet.place(value) for value in places)

        def products(add):
            with cgutils.for_range(builder, count) as loop:
                values = [codelet.load_at(place, loop.index) for place in (source, factors)]
                total = codelet.multiply(*values)
                codelet.store_at(
                    target, loop.index, codelet.add(total, codelet.load_at(target, loop.index)) if add else total
                )

        with builder.if_else(cgutils.is_not_null(builder, accumulate)) as (again, anew):
            with again:
                products(True)
            with anew:
                products(False)
        return context.get_dummy_value()

    return types.void(n, source, factors, target, types.boolean), emit


@intrinsic
def turn(typingctx, count, place, fine, coarse):
    """Multiply squares of vectors in place: vector `i` of square `s` by `fine[i] * coarse[s]`, for `s < count`."""
    n, element = types.intp, place.types[0].dtype

    def emit(context, builder, signature, args):
        codelet = _Codelet(builder, element)
        place, fine, coarse = (codelet.place(value) for value in args[1:])
        lanes = lanes_in(element)
        with cgutils.for_range(builder, args[0]) as square:
            whole = codelet.load_at(coarse, square.index)
            with cgutils.for_range(builder, _INT64(lanes)) as row:
                i = builder.add(builder.mul(square.index, _INT64(lanes)), row.index)
                factor = codelet.multiply(codelet.load_at(fine, row.index), whole)
                codelet.store_at(place, i, codelet.multiply(codelet.load_at(place, i), factor))
        return context.get_dummy_value()

    return types.void(n, place, fine, coarse), emit


class Squares(NamedTuple):
    """Squares of a vector's lanes in memory: their rows lie `row` elements apart, the squares `square`."""

    elements: Any
    start: int
    row: int
    square: int


@intrinsic
def transpose_squares(typingctx, count, source, target):
    """Rows of the source become columns of the target, in so many squares."""
    n, element = types.intp, source.types[0].dtype
    lanes = lanes_in(element)

    def emit(context, builder, signature, args):
        keep_whole(builder)
        vector = ir.VectorType(llvm_type(element), lanes)
        ends = [unpack(builder, kind, value) for kind, value in zip((source, target), args[1:], strict=True)]
        with cgutils.for_range(builder, args[0]) as loop:
            starts = [
                builder.gep(end.elements, [builder.add(end.start, builder.mul(loop.index, end.square))]) for end in ends
            ]
            places = [
                [builder.gep(start, [builder.mul(end.row, _INT64(i))]) for i in range(lanes)]
                for start, end in zip(starts, ends, strict=True)
            ]
            rows = [load_vector(builder, at, vector) for at in places[0]]
            for at, column in zip(places[1], transpose(builder, rows), strict=True):
                store_vector(builder, column, at)
        return context.get_dummy_value()

    return types.void(n, source, target), emit


def _passes(body, sizes, size, source, target, count, repeats, *twiddles):
    """The typing and the code of an intrinsic: a function for each size, which loops over its transforms."""
    n, element = types.intp, source.types[0].dtype
    is_literal = isinstance(size, types.IntegerLiteral)
    wanted = (size.literal_value,) if is_literal else PASS_SIZES if sizes == SIZES else sizes
    if element not in FLOATS or target.types[0].dtype != element or not set(wanted) <= set(sizes):
        return None
    size = size if is_literal else n
    pointer = ir.PointerType(ir.IntType(8))
    kinds = [pointer, *[_INT64] * 5] * 2 + [_INT64] * 2 + [pointer] * bool(twiddles)

    def emit(context, builder, signature, args):
        number, *operands = args
        values = []
        for value in operands[:2]:
            data, *steps = cgutils.unpack_tuple(builder, value)
            values += [builder.bitcast(data, pointer), *steps]
        values += operands[2:4]
        if twiddles:
            values.append(builder.bitcast(builder.gep(operands[4], [operands[5]]), pointer))
        done = builder.append_basic_block("done")
        switch = builder.switch(number, done)
        for each in wanted:
            block = builder.append_basic_block(f"size{each}")
            switch.add_case(_INT64(each), block)
            builder.position_at_end(block)
            name = f"fft{body.__name__}.{each}.{FLOATS[element]}"
            outline(builder, name, kinds, lambda inner, *a, each=each: _loop(inner, element, body, each, a))(values)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(size, source, target, n, n, *twiddles[:1], *[n] * len(twiddles[1:])), emit


def _loop(builder, element, body, size, args):
    """The code of a function for one size."""
    source, target, (count, repeats), twiddles = args[:6], args[6:12], args[12:14], args[14:]
    codelet = _Codelet(builder, element)
    parts = [
        [builder.gep(data, [start], source_etype=codelet.scalar) for start in (real, imaginary)]
        for data, real, imaginary, *_ in (source, target)
    ]
    with cgutils.for_range(builder, count) as transforms:
        factors = []
        if twiddles:
            at = builder.mul(transforms.index, _INT64(2 * (size - 1)))
            factors = [builder.gep(twiddles[0], [at], source_etype=codelet.scalar)]
        with cgutils.for_range(builder, repeats) as repeat:
            ends = []
            for (*_, step, following, again), pointers in zip((source, target), parts, strict=True):
                at = builder.add(builder.mul(transforms.index, following), builder.mul(repeat.index, again))
                pointers = [builder.gep(pointer, [at], source_etype=codelet.scalar) for pointer in pointers]
                ends.append((pointers, step))
            body(codelet, size, *ends, *factors)


def _transform(codelet, size, source, target):
    codelet.store(target, codelet.dft(codelet.load(source, size)))


def _transform_twiddled(codelet, size, source, target, factors):
    first, *others = codelet.dft(codelet.load(source, size))
    others = [codelet.multiply(value, codelet.factor(factors, i)) for i, value in enumerate(others)]
    codelet.store(target, [first, *others])


def _twiddle_transform(codelet, size, source, target, factors):
    first, *others = codelet.load(source, size)
    others = [codelet.multiply(value, codelet.factor(factors, i)) for i, value in enumerate(others)]
    codelet.store(target, codelet.dft([first, *others]))


def _transform_real(codelet, size, source, target):
    codelet.store(target, codelet.dft_of_real([codelet.load_part(source, 0, i) for i in range(size)]))


def _restore_real(codelet, size, source, target):
    half = size // 2
    inner = [(codelet.load_part(source, 0, i), codelet.load_part(source, 1, i)) for i in range(1, half)]
    first, last = ((codelet.load_part(source, 0, i), None) for i in (0, half))
    values = codelet.real_dft([first, *inner, last])
    codelet.store(target, [(value, None) for value in values])


class _Codelet:
    """Code for complex vectors: pairs of parts, of which None is zero."""

    def __init__(self, builder, element):
        self.builder, self.element, self.scalar = builder, element, llvm_type(element)
        self.vector = ir.VectorType(self.scalar, lanes_in(element))

    # ---- memory

    def _at(self, place, part, i):
        pointers, step = place
        return self.builder.gep(pointers[part], [self.builder.mul(step, _INT64(i))], source_etype=self.scalar)

    def load_part(self, place, part, i):
        return load_vector(self.builder, self._at(place, part, i), self.vector)

    def load(self, place, size):
        return [(self.load_part(place, 0, i), self.load_part(place, 1, i)) for i in range(size)]

    def place(self, value):
        """A `Place`, as `load_at` and `store_at` take it."""
        builder = self.builder
        elements, *starts, step = cgutils.unpack_tuple(builder, value)
        return [builder.gep(elements, [start], source_etype=self.scalar) for start in starts], step

    def load_at(self, place, i):
        pointers, step = place
        at = self.builder.mul(step, i)
        pointers = [self.builder.gep(pointer, [at], source_etype=self.scalar) for pointer in pointers]
        return tuple(load_vector(self.builder, pointer, self.vector) for pointer in pointers)

    def store_at(self, place, i, number):
        pointers, step = place
        at = self.builder.mul(step, i)
        for pointer, part in zip(pointers, number, strict=True):
            store_vector(self.builder, part, self.builder.gep(pointer, [at], source_etype=self.scalar))

    def store(self, place, values):
        """Store numbers; of those whose imaginary part is None, in results that are real, none is written."""
        is_real = all(imaginary is None for _, imaginary in values)
        for i, number in enumerate(values):
            for part in (0,) if is_real else (0, 1):
                value = self._zero() if number[part] is None else number[part]
                store_vector(self.builder, value, self._at(place, part, i))

    def factor(self, factors, i):
        """Factor `i` of a transform: in all lanes."""
        pointers = [self.builder.gep(factors, [_INT64(2 * i + part)], source_etype=self.scalar) for part in (0, 1)]
        return tuple(broadcast(self.builder, self.builder.load(p, typ=self.scalar), self.vector) for p in pointers)

    # ---- arithmetic

    def _zero(self):
        return ir.Constant(self.vector, None)

    def _constant(self, value):
        return self.vector([value] * self.vector.count)

    def _negate(self, a):
        return None if a is None else self.builder.fneg(a)

    def _sum(self, a, b):
        return b if a is None else a if b is None else self.builder.fadd(a, b)

    def _difference(self, a, b):
        return self._negate(b) if a is None else a if b is None else self.builder.fsub(a, b)

    def _scale(self, a, value):
        return None if a is None else self.builder.fmul(a, self._constant(value))

    def _add_scaled(self, a, value, b):
        """`a * value + b`."""
        if a is None or b is None:
            return b if a is None else self._scale(a, value)
        return multiply_add(self.builder, self.element, a, self._constant(value), b)

    def add(self, a, b):
        return self._sum(a[0], b[0]), self._sum(a[1], b[1])

    def subtract(self, a, b):
        return self._difference(a[0], b[0]), self._difference(a[1], b[1])

    def conjugate(self, a):
        return a[0], self._negate(a[1])

    def add_scaled(self, a, value, b):
        return self._add_scaled(a[0], value, b[0]), self._add_scaled(a[1], value, b[1])

    def multiply(self, a, b):
        """The product of two numbers of which no part is None."""
        builder, element = self.builder, self.element
        real = multiply_add(builder, element, builder.fneg(a[1]), b[1], builder.fmul(a[0], b[0]))
        return real, multiply_add(builder, element, a[1], b[0], builder.fmul(a[0], b[1]))

    def rotate(self, a, turns, n):
        """`a * exp(-2 pi i turns / n)`: quarters and eighths of a turn take less than a product."""
        (real, imaginary), turns = a, turns % n
        while 4 * turns >= n:
            real, imaginary, turns = imaginary, self._negate(real), turns - n / 4
        if turns == 0:
            return real, imaginary
        cosine, sine = math.cos(2 * math.pi * turns / n), math.sin(2 * math.pi * turns / n)
        if 8 * turns == n:
            total, difference = self._sum(real, imaginary), self._difference(imaginary, real)
            return self._scale(total, math.sqrt(0.5)), self._scale(difference, math.sqrt(0.5))
        return (
            self._add_scaled(imaginary, sine, self._scale(real, cosine)),
            self._add_scaled(real, -sine, self._scale(imaginary, cosine)),
        )

    # ---- transforms

    def dft(self, values):
        n = len(values)
        if n == 1:
            return values
        if n == 2:
            return [self.add(*values), self.subtract(*values)]
        if n == 3 or n == 5:
            return self._odd_dft(values)
        return self._joined_dft(values, 2 if n == 8 else math.isqrt(n))

    def _odd_dft(self, values):
        """Of a prime size: numbers `j` and `n - j` meet the same cosine and opposite sines."""
        n, first = len(values), values[0]
        pairs = [(values[j], values[n - j]) for j in range(1, n // 2 + 1)]
        sums = [self.add(a, b) for a, b in pairs]
        differences = [self.subtract(a, b) for a, b in pairs]
        results = [first] * n
        for total in sums:
            results[0] = self.add(results[0], total)  # so far the first number
        for k in range(1, n // 2 + 1):
            even, up = first, (None, None)
            for j, (total, difference) in enumerate(zip(sums, differences, strict=True), start=1):
                angle = 2 * math.pi * (j * k % n) / n
                even = self.add_scaled(total, math.cos(angle), even)
                up = self.add_scaled(difference, math.sin(angle), up)
            results[k], results[n - k] = self.add(even, self.rotate(up, 1, 4)), self.add(even, self.rotate(up, 3, 4))
        return results

    def _joined_dft(self, values, parts):
        """Transforms of every `parts`-th number, turned and joined (decimation in time)."""
        n, size = len(values), len(values) // parts
        rows = [self.dft(values[i::parts]) for i in range(parts)]
        results = [None] * n
        for k in range(size):
            results[k::size] = self.dft([self.rotate(row[k], i * k, n) for i, row in enumerate(rows)])
        return results

    def dft_of_real(self, values):
        """The first half of the spectrum of real vectors, the number in the middle included."""
        n = len(values)
        if n == 1:
            return [(values[0], None)]
        even, odd = self.dft_of_real(values[::2]), self.dft_of_real(values[1::2])
        results = [None] * (n // 2 + 1)
        for k in range(n // 4 + 1):
            turned = self.rotate(odd[k], k, n)
            results[n // 2 - k] = self.conjugate(self.subtract(even[k], turned))
            results[k] = self.add(even[k], turned)
        return results

    def real_dft(self, spectrum):
        """The real vectors, times their number, that `dft_of_real` makes a spectrum of."""
        n = 2 * (len(spectrum) - 1)
        if n == 0:
            return [spectrum[0][0]]
        even, odd = [], []
        for k in range(n // 4 + 1):
            mirrored = self.conjugate(spectrum[n // 2 - k])
            even.append(self.add(spectrum[k], mirrored))
            odd.append(self.rotate(self.subtract(spectrum[k], mirrored), -k, n))
        results = [None] * n
        results[::2], results[1::2] = self.real_dft(even), self.real_dft(odd)
        return results
