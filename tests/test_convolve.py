"""What is ``convolve``'s own: the flip, its side of ``"same"``, and its laws. Options are swept in test_correlate."""

import itertools

import numpy as np
import pytest
from cases import ALGORITHMS, check_convolution, representative, rng, values

import fastconv


def small(shape, *seed, dtype="f8"):
    """Small integers: every sum is exact, so that laws hold to the last bit."""
    return rng(*seed, *shape).integers(-8, 9, shape).astype(dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 3, 6, 7), (1, 2, 4, 5, 6)], ids=str)
def test_convolving_is_correlating_with_the_kernel_flipped_over_its_spatial_axes_alone(algorithm, shape):
    rank = len(shape) - 2
    x, w = small(shape, 0), small((4, shape[1], *range(2, 2 + rank)), 1)
    flipped = np.flip(w, tuple(range(2, 2 + rank)))
    for options in ({}, {"stride": 2, "padding_mode": 1}, {"dilation": 2, "padding_mode": "full"}):
        got = getattr(fastconv, f"convolve{rank}d")(x, w, algorithm=algorithm, **options)
        want = getattr(fastconv, f"correlate{rank}d")(x, flipped, algorithm=algorithm, **options)
        np.testing.assert_array_equal(got, want)
        check_convolution("convolve", x, w, algorithm=algorithm, **options)


@pytest.mark.parametrize("kernel, size", list(itertools.product([1, 2, 3, 4, 5, 6], [5, 6, 9])))
def test_same_is_numpys(kernel, size):
    x, w = small((size,), 2), small((min(kernel, size),), 3)
    got = fastconv.convolve1d(x[None, None], w[None, None], padding_mode="same")
    np.testing.assert_array_equal(got[0, 0], np.convolve(x, w, "same"))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_of_a_unit_impulse_shows_the_side(kernel):
    """The odd element of the padding: before for convolve and an even kernel, after for correlate."""
    x = np.zeros((1, 1, 7))
    x[0, 0, 3] = 1
    w = np.arange(1.0, kernel + 1)[None, None]
    convolved = np.zeros(7)
    start = 3 - (kernel - 1) + (kernel // 2 if kernel % 2 == 0 else (kernel - 1) // 2)
    convolved[start : start + kernel] = w[0, 0]
    np.testing.assert_array_equal(fastconv.convolve1d(x, w, padding_mode="same")[0, 0], convolved)
    correlated = np.zeros(7)
    start = 3 - (kernel - 1) + (kernel - 1) // 2
    correlated[start : start + kernel] = w[0, 0, ::-1]
    np.testing.assert_array_equal(fastconv.correlate1d(x, w, padding_mode="same")[0, 0], correlated)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_full_convolution_commutes(rank):
    x, w = small((1, 1, *range(4, 4 + rank)), 4), small((1, 1, *range(3, 3 + rank)), 5)
    name = f"convolve{rank}d"
    np.testing.assert_array_equal(
        getattr(fastconv, name)(x, w, padding_mode="full"), getattr(fastconv, name)(w, x, padding_mode="full")
    )
    check_convolution("convolve", x, w, padding_mode="full")


def test_convolution_associates():
    x, v, w = small((1, 1, 9), 6), small((1, 1, 4), 7), small((1, 1, 3), 8)
    once = fastconv.convolve1d(fastconv.convolve1d(x, v, padding_mode="full"), w, padding_mode="full")
    np.testing.assert_array_equal(
        once, fastconv.convolve1d(x, fastconv.convolve1d(v, w, padding_mode="full"), padding_mode="full")
    )


def test_full_convolution_multiplies_polynomials():
    # (1 + 2x + 3x^2)(4 + 5x) = 4 + 13x + 22x^2 + 15x^3
    got = fastconv.convolve1d(np.array([[[1.0, 2, 3]]]), np.array([[[4.0, 5]]]), padding_mode="full")
    np.testing.assert_array_equal(got[0, 0], [4, 13, 22, 15])


@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize(("algorithm", "dtype"), [("winograd", "f4"), ("fft", "i4")])
def test_algorithms_that_cannot_do_the_call_say_why(operation, algorithm, dtype):
    x, w = values((1, 1, 8, 8), dtype), values((1, 1, 4, 2), dtype, 1)
    with pytest.raises(ValueError, match=f"{operation}2d.*{algorithm}.{{20,}}"):
        getattr(fastconv, f"{operation}2d")(x, w, algorithm=algorithm)


@pytest.mark.parametrize("dtype", representative(["f4", "f8", "i2", "i4", "c8"]))
def test_algorithms_agree_to_the_last_bit_where_sums_are_exact(dtype):
    x, w = small((2, 4, 9, 8), 9, dtype=dtype), small((6, 2, 3, 2), 10, dtype=dtype)
    options = {"groups": 2, "stride": (1, 2), "padding_mode": "same", "boundary": "reflect"}
    results = [fastconv.convolve2d(x, w, algorithm=a, **options) for a in ALGORITHMS]
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
    check_convolution("convolve", x, w, **options)
