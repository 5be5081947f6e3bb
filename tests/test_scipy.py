"""Against SciPy, which has been right about this for twenty years."""

import numpy as np
import oracle
import pytest
from cases import representative, rng, values

import fastconv

signal = pytest.importorskip("scipy.signal")
ndimage = pytest.importorskip("scipy.ndimage")

MODES = ["full", "same", "valid"]
# ndimage's and signal's names of NumPy's boundaries
NDIMAGE = {"constant": "constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}


def close(got, want, x, w):
    """Both sum the same products, at most ``w.size`` of them; SciPy may do it in the same precision."""
    dtype = got.dtype
    magnitude = np.full(got.shape, float(abs(x).max()) * float(abs(w).sum()))
    bound = 2 * oracle.rounding_bound(w.size, magnitude, dtype)
    assert got.shape == want.shape
    assert (abs(got - want) <= bound).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", representative(["f4", "f8", "c8", "c16"]))
@pytest.mark.parametrize("shapes", [((17,), (4,)), ((17,), (5,)), ((9, 8), (3, 3)), ((6, 5, 7), (3, 2, 3))], ids=str)
def test_convolve(mode, dtype, shapes):
    x, w = values(shapes[0], dtype), values(shapes[1], dtype, 1)
    rank = x.ndim
    got = getattr(fastconv, f"convolve{rank}d")(x[None, None], w[None, None], padding_mode=mode)[0, 0]
    close(got, signal.convolve(x, w, mode, method="direct"), x, w)


@pytest.mark.parametrize("mode", ["full", "valid"])
@pytest.mark.parametrize("dtype", representative(["f4", "c8", "c16"]))
def test_correlate_of_a_conjugate(mode, dtype):
    """SciPy conjugates its second argument; fastconv's contract says that nothing is."""
    x, w = values((9, 8), dtype), values((3, 2), dtype, 1)
    got = fastconv.correlate2d(x[None, None], w.conj()[None, None], padding_mode=mode)[0, 0]
    close(got, signal.correlate(x, w, mode, method="direct"), x, w)


@pytest.mark.parametrize("boundary", NDIMAGE)
@pytest.mark.parametrize("kernel", [(3, 3), (5, 1), (1, 7), (5, 3)], ids=str)
@pytest.mark.parametrize("shape", [(2, 3), (8, 9)], ids=str)
def test_boundaries(boundary, kernel, shape):
    """The smaller input is narrower than the pads."""
    x, w = values(shape, "f8"), values(kernel, "f8", 1)
    options = {"padding_mode": "same", "boundary": boundary, "fillvalue": 1.25}
    for operation in ("correlate", "convolve"):
        got = getattr(fastconv, f"{operation}2d")(x[None, None], w[None, None], **options)[0, 0]
        close(got, getattr(ndimage, operation)(x, w, mode=NDIMAGE[boundary], cval=1.25), abs(x) + 1.25, w)


@pytest.mark.parametrize("boundaries", [("wrap", "reflect"), ("edge", "constant"), ("symmetric", "wrap")], ids=str)
def test_one_boundary_per_axis(boundaries):
    """A separable kernel, so that ndimage can treat the axes one after the other."""
    x, u, v = values((8, 9), "f8"), values(3, "f8", 1), values(5, "f8", 2)
    got = fastconv.correlate2d(x[None, None], np.outer(u, v)[None, None], padding_mode="same", boundary=boundaries)
    want = ndimage.correlate1d(x, u, axis=0, mode=NDIMAGE[boundaries[0]])
    want = ndimage.correlate1d(want, v, axis=1, mode=NDIMAGE[boundaries[1]])
    np.testing.assert_allclose(got[0, 0], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
def test_extreme_filters(name, size):
    """At every place where the whole window lies inside; ndimage centres it on ``size // 2``."""
    x = rng(size).integers(0, 99, (12, 13))
    got = getattr(fastconv, name)(x, (size, size), stride=1)
    inside = slice(size // 2, size // 2 + 13 - size), slice(size // 2, size // 2 + 14 - size)
    np.testing.assert_array_equal(got, getattr(ndimage, name)(x, size)[inside])


@pytest.mark.parametrize("size", [2, 3, 5])
def test_uniform_filter(size):
    x = values((12, 13), "f8")
    got = fastconv.uniform_filter(x, (size, size), stride=1)
    inside = slice(size // 2, size // 2 + 13 - size), slice(size // 2, size // 2 + 14 - size)
    np.testing.assert_allclose(got, ndimage.uniform_filter(x, size)[inside], rtol=1e-12, atol=1e-13)


def test_max_pool_is_a_filter_of_every_nth():
    x = values((15, 16), "f4")
    got = fastconv.max_pool2d(x[None, None], 3, stride=2, padding_spec=1)[0, 0]
    want = ndimage.maximum_filter(x, 3, mode="constant", cval=-np.inf)[::2, ::2]
    np.testing.assert_array_equal(got, want)
