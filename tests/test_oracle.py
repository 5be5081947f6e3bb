"""The oracles against NumPy and SciPy, so that what the package is held against stands on its own feet."""

import itertools

import numpy as np
import oracle
import pytest
from cases import rng, ties, values

scipy_signal = pytest.importorskip("scipy.signal")
scipy_ndimage = pytest.importorskip("scipy.ndimage")


def exact(expected):
    return np.asarray(expected.value, np.complex128 if expected.dtype.kind == "c" else np.float64)


@pytest.mark.parametrize("mode", ["valid", "full"])
@pytest.mark.parametrize("sizes", [(7, 3), (4, 4), (1, 1), (9, 2)])
def test_convolve_1d_is_numpys(sizes, mode):
    x, w = values(sizes[0], "f8"), values(sizes[1], "f8", 1)
    got = oracle.convolve(x[None, None], w[None, None], padding_mode=mode)
    np.testing.assert_allclose(exact(got)[0, 0], np.convolve(x, w, mode), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("sizes", list(itertools.product([7, 8], [1, 2, 3, 4])))
def test_same_is_numpys_where_numpy_defines_it(sizes):
    # NumPy's "same" takes the middle of the full result, the odd element before: the rule for an even flipped kernel.
    x, w = values(sizes[0], "f8"), values(sizes[1], "f8", 1)
    got = oracle.convolve(x[None, None], w[None, None], padding_mode="same")
    np.testing.assert_allclose(exact(got)[0, 0], np.convolve(x, w, "same"), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("mode", ["valid", "full", "same"])
@pytest.mark.parametrize("dtype", ["f8", "c16", "i4"])
def test_two_axes_are_scipys(mode, dtype):
    x, w = values((6, 7), dtype) % 9 if dtype == "i4" else values((6, 7), dtype), ties((3, 3), dtype)
    got = oracle.convolve(x[None, None], w[None, None], padding_mode=mode)
    np.testing.assert_allclose(exact(got)[0, 0], scipy_signal.convolve2d(x, w, mode), rtol=1e-12, atol=1e-12)
    got = oracle.correlate(x[None, None], np.conj(w)[None, None], padding_mode=mode)
    np.testing.assert_allclose(exact(got)[0, 0], scipy_signal.correlate2d(x, w, mode), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "boundary, scipys",
    [("constant", "constant"), ("edge", "nearest"), ("reflect", "mirror"), ("symmetric", "reflect"), ("wrap", "wrap")],
)
@pytest.mark.parametrize("size", [2, 3, 5])
def test_boundaries_are_ndimages(boundary, scipys, size):
    """Also with pads wider than the input."""
    x, w = values((size, size + 1), "f8"), values((7, 5), "f8", 1)
    got = oracle.correlate(x[None, None], w[None, None], padding_mode="same", boundary=boundary, fillvalue=2.5)
    want = scipy_ndimage.correlate(x, w, mode=scipys, cval=2.5)
    np.testing.assert_allclose(exact(got)[0, 0], want, rtol=1e-12, atol=1e-12)


def test_stride_takes_every_nth_output_and_dilation_spreads_the_taps():
    x, w = values((1, 1, 11), "f8"), values((1, 1, 3), "f8", 1)
    dense = exact(oracle.correlate(x, w))
    np.testing.assert_array_equal(exact(oracle.correlate(x, w, stride=3)), dense[:, :, ::3])
    spread = np.zeros((1, 1, 5))
    spread[:, :, ::2] = w
    np.testing.assert_array_equal(exact(oracle.correlate(x, w, dilation=2)), exact(oracle.correlate(x, spread)))


def test_groups_are_separate_convolutions():
    x, w = values((2, 6, 5), "f8"), values((4, 3, 2), "f8", 1)
    parts = [exact(oracle.correlate(x[:, 3 * g : 3 * g + 3], w[2 * g : 2 * g + 2])) for g in range(2)]
    np.testing.assert_array_equal(exact(oracle.correlate(x, w, groups=2)), np.concatenate(parts, axis=1))


def test_integers_wrap_and_bools_are_logical():
    x, w = values((1, 1, 20), "u1"), values((1, 1, 5), "u1", 1)
    want = np.convolve(x[0, 0].astype(int), w[0, 0].astype(int), "valid") % 256
    np.testing.assert_array_equal(oracle.convolve(x, w).value[0, 0], want)
    x, w = values((1, 1, 20), "?"), values((1, 1, 5), "?", 1)
    np.testing.assert_array_equal(oracle.convolve(x, w).value[0, 0], np.convolve(x[0, 0], w[0, 0], "valid"))


@pytest.mark.parametrize("size, kernel", [((8, 8), (3, 2)), ((5, 9), (5, 4))])
def test_filters_are_ndimages_at_the_window_centres(size, kernel):
    x = rng(3).integers(0, 50, size).astype(float)
    inside = tuple(slice(k // 2, k // 2 + s - k + 1) for s, k in zip(size, kernel, strict=True))
    for name in ("maximum_filter", "minimum_filter"):
        got = getattr(oracle, name)(x, kernel, stride=1)
        np.testing.assert_array_equal(got, getattr(scipy_ndimage, name)(x, kernel)[inside])
    got = exact(oracle.uniform_filter(x, kernel, stride=1))
    np.testing.assert_allclose(got, scipy_ndimage.uniform_filter(x, kernel)[inside], rtol=1e-12)


@pytest.mark.parametrize("pick", ["max_pool", "min_pool"])
def test_pool_indices_point_at_the_values(pick):
    x = ties((2, 3, 7, 6), "f4")
    got, indices = getattr(oracle, pick)(x, 3, stride=2, padding_spec=1)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), indices.reshape(2, 3, -1), 2), got.reshape(2, 3, -1)
    )
    assert (indices >= 0).all()


def test_combine_is_the_adjoint_of_extract():
    options = {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 0), (2, 1))}
    x = rng(4).integers(-9, 9, (2, 6, 7))
    patches = oracle.extract_patches(x, (3, 2), **options)
    y = rng(5).integers(-9, 9, patches.shape)
    back = oracle.combine_patches(y, (6, 7), (3, 2), **options).value
    assert (patches * y).sum() == (x * back).sum()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_the_bound_holds_for_plain_loops_and_is_not_wide(dtype):
    """NumPy's own arithmetic in the promised accumulator stays inside; one part in a hundred is far outside."""
    x, w = values((1, 4, 30), dtype), values((2, 4, 5), dtype, 1)
    expected = oracle.correlate(x, w)
    accumulate = oracle.accumulator(np.dtype(dtype))
    got = np.zeros(expected.value.shape, accumulate)
    for o, c, k in itertools.product(range(2), range(4), range(5)):
        got[:, o] += x[:, c, k : k + 26].astype(accumulate) * w[o, c, k].astype(accumulate)
    oracle.check(got.astype(dtype), expected)
    with pytest.raises(AssertionError):
        oracle.check((got * accumulate.type(1.01)).astype(dtype), expected)
