"""Fourier transforms in vectors, against sums of their definition in float64."""

import numpy as np
import pytest
from fastconv.kernels.convolution.fft_planes import SIZES as LENGTHS
from fastconv.kernels.fft import Passes, forward, frequency, inverse, write_passes
from fastconv.kernels.jit import compiled, entry
from fastconv.kernels.simd.fft import (
    REAL_SIZES,
    SIZES,
    Lines,
    Place,
    restore_real,
    transform,
    transform_real,
    transform_twiddled,
    twiddle_transform,
)
from fastconv.kernels.simd.vectors import VECTOR_BYTES
from fastconv.kernels.strided import StridedType

KINDS = TRANSFORM, AFTER, BEFORE, REAL, RESTORE = range(5)


@entry
def run(kind, size, x, out, twiddles, step, following, again, count, repeats, half):
    """One intrinsic over arrays whose imaginary parts lie `half` behind the real ones."""
    source = Lines(x.data, 0, half, step, following, again)
    target = Lines(out.data, 0, half, step, following, again)
    if size == 16 and kind == TRANSFORM:  # the size has to be a literal
        transform(16, source, target, count, repeats)
    elif size == 16 and kind == AFTER:
        transform_twiddled(16, source, target, count, repeats, twiddles.data, 0)
    elif size == 16 and kind == BEFORE:
        twiddle_transform(16, source, target, count, repeats, twiddles.data, 0)
    elif kind == TRANSFORM:
        transform(size, source, target, count, repeats)
    elif kind == AFTER:
        transform_twiddled(size, source, target, count, repeats, twiddles.data, 0)
    elif kind == BEFORE:
        twiddle_transform(size, source, target, count, repeats, twiddles.data, 0)
    elif kind == REAL:
        transform_real(size, source, target, count, repeats)
    else:
        restore_real(size, source, target, count, repeats)
    return True


def call(kind, size, x, twiddles, count, repeats):
    """`x[repeat, i, transform, lane]` through one intrinsic."""
    from numba import types

    kinds = [StridedType(x.real.dtype.name)] * 3
    function = compiled(run, types.intp, types.intp, *kinds, *[types.intp] * 6)
    lanes = x.shape[-1]
    parts = np.stack([x.real, x.imag]).copy()
    out = np.zeros_like(parts)
    flat = twiddles.view(parts.dtype).ravel()
    numbers = count * lanes, lanes, size * count * lanes, count, repeats, parts[0].size
    assert function(kind, size, parts.ravel(), out.reshape(-1), flat, *numbers)
    return out[0] + 1j * out[1]


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_transforms_are_sums_of_their_definition(size, name):
    rng = np.random.default_rng(size)
    lanes, u = VECTOR_BYTES // np.dtype(name).itemsize, np.finfo(name).eps / 2
    repeats, count = 2, 3
    shape = repeats, size, count, lanes
    x = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.result_type(name, np.complex64))
    factors = np.exp(-2j * np.pi * rng.random((count, size - 1))).astype(x.dtype)
    turns = np.ones((size, count, 1), complex)
    turns[1:, :, 0] = factors.T
    whole = x.astype(complex)
    bound = 2 * (np.log2(size) + 4) * u * np.linalg.norm(whole, axis=1, keepdims=True)
    for kind, expected in (
        (TRANSFORM, np.fft.fft(whole, axis=1)),
        (AFTER, np.fft.fft(whole, axis=1) * turns),
        (BEFORE, np.fft.fft(whole * turns, axis=1)),
    ):
        assert (abs(call(kind, size, x, factors, count, repeats) - expected) <= bound).all(), kind


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("size", REAL_SIZES)
def test_real_transforms_are_half_of_the_complex_ones(size, name):
    rng = np.random.default_rng(size)
    lanes, u = VECTOR_BYTES // np.dtype(name).itemsize, np.finfo(name).eps / 2
    x = rng.standard_normal((2, size, 3, lanes)).astype(name).astype(np.result_type(name, np.complex64))
    none = np.zeros(2, x.dtype)
    spectrum = call(REAL, size, x, none, 3, 2)
    half = size // 2 + 1
    bound = 2 * (np.log2(size) + 4) * u * np.linalg.norm(x, axis=1, keepdims=True)
    assert (abs(spectrum[:, :half] - np.fft.fft(x.astype(complex), axis=1)[:, :half]) <= bound).all()
    assert not spectrum[:, half:].any()
    spectrum[:, half:] = np.nan  # not read
    spectrum.imag[:, [0, size // 2]] = np.nan
    assert (abs(call(RESTORE, size, spectrum, none, 3, 2) - size * x) <= 3 * size * bound).all()


@entry
def run_long(n, words, twiddles, x, work, order, lanes, back):
    """A long transform of vectors whose parts lie side by side, with others in between; the order of its results."""
    write_passes(words.data, 0, n, twiddles.data, 0)
    passes = Passes(words.data, 0, twiddles.data)
    place, buffer = Place(x.data, 0, 2 * lanes, 3 * lanes), Place(work.data, 0, lanes, 2 * lanes)
    if back:
        inverse(passes, place, buffer, place)
    else:
        forward(passes, place, buffer, place)
    for i in range(n):
        order.data[i] = frequency(passes, i)
    return True


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_long_transforms(name):
    from numba import types

    rng, lanes, u = np.random.default_rng(1), VECTOR_BYTES // np.dtype(name).itemsize, np.finfo(name).eps / 2
    reals, words = StridedType(name), StridedType("int64")
    function = compiled(run_long, types.intp, words, reals, reals, reals, words, types.intp, types.intp)
    for n in (2, 3, 5, 8, *LENGTHS, 1000):
        data = rng.standard_normal((n, 3, lanes)).astype(name)
        x = data[:, 0].astype(float) + 1j * data[:, 2]
        passes, order = np.zeros(64, np.int64), np.zeros(n, np.int64)
        twiddles, work = np.zeros(8 * n, name), np.zeros(n * 2 * lanes, name)
        arguments = n, passes, twiddles, data, work, order, lanes
        between = data[:, 1].copy()
        assert function(*arguments, 0)
        expected = np.fft.fft(x, axis=0)[order]
        norm = np.linalg.norm(x, axis=0)
        assert (abs(data[:, 0] + 1j * data[:, 2] - expected) <= 4 * np.log2(n) * u * norm).all(), n
        assert function(*arguments, 1)
        assert (abs(data[:, 0] + 1j * data[:, 2] - n * x) <= 8 * np.log2(n) * u * n * norm).all(), n
        np.testing.assert_array_equal(data[:, 1], between)
