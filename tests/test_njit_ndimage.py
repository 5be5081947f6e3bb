"""`fastconv.ndimage`'s filters in compiled code: what the same calls give from Python."""

import gc
import re
from contextlib import contextmanager
from importlib.metadata import entry_points

import numba
import numpy as np
import pytest
from cases import slow
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python, rtsys

from fastconv import extending, ndimage

scipy_ndimage = pytest.importorskip("scipy.ndimage")

if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    extending.init()

SHAPES = {1: [(11,), (300,)], 2: [(9, 70), (70, 6), (1, 4)], 3: [(5, 20, 3), (2, 4, 70)], 4: [(2, 3, 4, 5)]}
# Each dtype, number of dimensions and mode is compiled once, for all strides.
FLOATS, BYTES = ("f4", 3, "reflect"), ("u1", 2, "constant")
KINDS = [
    BYTES,
    ("?", 2, "wrap"),
    ("i1", 4, "mirror"),
    ("i2", 3, "constant"),
    ("u2", 1, "nearest"),
    ("i4", 2, "reflect"),
    ("u4", 2, "constant"),
    ("i8", 4, "constant"),
    ("u8", 3, "wrap"),
    ("f8", 4, "constant"),
    ("f4", 2, "constant"),
    ("f8", 1, "mirror"),
    ("u1", 3, "reflect"),
]
CALLS = {
    "correlate1d": "x, w, 0",
    "convolve1d": "x, w, origin=n",
    "gaussian_filter1d": "x, 0.6 + n, 0, truncate=3",
    "gaussian_filter": "x, 0.6 + n",
    "uniform_filter1d": "x, 3 + 7 * n, 0",
    "uniform_filter": "x, 3 + 7 * n",
    "maximum_filter1d": "x, 3 + 9 * n, origin=n",
    "maximum_filter": "x, 3 + 9 * n",
    "minimum_filter1d": "x, 3 + 9 * n, 0",
    "minimum_filter": "x, 3 + 9 * n, origin=-n",
}
QUICK = {"convolve1d", "gaussian_filter", "uniform_filter", "maximum_filter"}  # of bytes by default


def compiled(name, arguments, module=ndimage, signature=None):
    """A user's function of an array, weights, a number and what lies outside."""
    scope = {"ndimage": module, "np": np}
    exec(f"def user(x, w, n, cval): return ndimage.{name}({arguments})", scope)
    return numba.njit(signature)(scope["user"]) if signature else numba.njit(scope["user"])


def any_strides(dtype, ndim, weights_ndim):
    """The types of `compiled`'s arguments for arrays of any strides."""
    x, w = (
        numba.typeof(np.empty((2,) * rank, each)[..., ::-1]) for each, rank in ((dtype, ndim), ("f8", weights_ndim))
    )
    return [(x.copy(layout="A"), w.copy(layout="A"), numba.int64, numba.float64)]


def numbers(shape, dtype, seed=0):
    return (np.random.default_rng(seed).normal(size=shape) * 60).astype(dtype)


def layouts(x):
    return [x, x.T, x[..., ::-2]]


def same(got, expected, bound=0):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if got.dtype.kind == "f" and bound:
        np.testing.assert_allclose(got, expected, rtol=0, atol=bound)
    else:
        np.testing.assert_array_equal(got, expected)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("name", "dtype", "ndim", "mode"),
    [
        *((name, *FLOATS) for name in CALLS),
        *((name, *BYTES) if name in QUICK else slow((name, *BYTES)) for name in CALLS),
        *(slow((name, *kind)) for name in CALLS for kind in KINDS[1:]),
    ],
)
def test_passes_have_the_bits_of_calls_from_python(name, dtype, ndim, mode):
    function = compiled(name, f"{CALLS[name]}, mode={mode!r}, cval=cval", signature=any_strides(dtype, ndim, 1))
    for shape in SHAPES[ndim]:
        for x in layouts(numbers(shape, dtype)):
            for n, cval, w in ((0, 0.0, [1, 2, -1]), (1, -2.5, [0.3, 0.4, 0.3]), (1, 1000.0, [1, 0.5, 0, 2])):
                w = np.array(w, "f8")
                same(function(x, w, n, cval), function.py_func(x, w, n, cval))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("name", "dtype", "ndim", "mode"),
    [
        ("correlate", *FLOATS),
        ("convolve", *BYTES),
        *(slow((name, *kind)) for name in ("correlate", "convolve") for kind in KINDS[1:]),
        slow(("convolve", *FLOATS)),
        slow(("correlate", *BYTES)),
    ],
)
def test_windows(name, dtype, ndim, mode):
    """Terms of floats are added in another order than from Python."""
    unit = 2.0 ** (-23 if dtype == "f4" else -52)
    function = compiled(name, f"x, w, mode={mode!r}, cval=cval, origin=-n", signature=any_strides(dtype, ndim, ndim))
    for shape in SHAPES[ndim]:
        for seed, x in enumerate(layouts(numbers(shape, dtype))):
            w = np.random.default_rng(seed).normal(size=(3, 2, 4, 1)[: x.ndim])
            w[w < -1] = 0
            for weights in (w, np.rint(2 * w), w[..., :1]):
                got, expected = (each(x, weights, 0, 7.0) for each in (function, function.py_func))
                same(got, expected, 2 * weights.size * unit * abs(weights).sum() * 300)


def test_weights_of_nothing_but_zeros_sum_up_to_zero():
    function, x = compiled("correlate", "x, w"), np.full((3, 4), np.nan)
    same(function(x, np.zeros((2, 3)), 0, 0.0), np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gaussian_filter", "x, (1.5, 0, 1)"),
        ("uniform_filter", "x, (3, 1, 2), origin=(1, 0, -1)"),
        ("maximum_filter", "x, size=(2, 1, 5)"),
        ("correlate", "x, np.ones((2, 2, 3)), origin=(-1, 0, n)"),
        ("uniform_filter", "x"),
        ("uniform_filter", "x, 1"),
        ("gaussian_filter", "x, 0"),
        ("maximum_filter1d", "x, 1"),
        ("correlate1d", "x, w, -n, cval=2"),
        ("gaussian_filter", "x[:0], 1"),
    ],
)
def test_numbers_for_each_axis(name, arguments):
    function, x, w = compiled(name, arguments), numbers((4, 5, 6), "f8"), np.array([1.0, 2.0])
    same(function(x, w, 1, 0.0), function.py_func(x, w, 1, 0.0), 1e-12)


def test_names_of_scipy():
    for name, arguments in (("gaussian_filter", "x, 1.5"), ("maximum_filter", "x, 3"), ("correlate1d", "x, w")):
        function, ours = compiled(name, arguments, module=scipy_ndimage), compiled(name, arguments)
        x, w = numbers((20, 30), "f8"), np.array([1.0, 2.0, 3.0])
        same(function(x, w, 0, 0.0), ours.py_func(x, w, 0, 0.0))
        same(function(x, w, 0, 0.0), function.py_func(x, w, 0, 0.0), 1e-10)


@pytest.mark.slow
def test_many_threads_filter_at_once():
    @numba.njit(parallel=True)
    def blur(images):
        out = np.empty_like(images)
        for i in numba.prange(images.shape[0]):
            out[i] = ndimage.maximum_filter(ndimage.gaussian_filter(images[i], 1.2), 5)
        return out

    images = numbers((12, 33, 70), "f4")
    same(blur(images), np.stack([ndimage.maximum_filter(ndimage.gaussian_filter(x, 1.2), 5) for x in images]))


def test_a_window_that_needs_more_than_the_kept_workspace():
    function, x = compiled("maximum_filter1d", "x, 3000, 0"), numbers((4000, 130), "f8")
    same(function(x, None, 0, 0.0), function.py_func(x, None, 0, 0.0))


@contextmanager
def counted():
    """Have Numba count what it allocates."""
    _nrt_python.memsys_enable_stats()
    try:
        yield
    finally:
        _nrt_python.memsys_disable_stats()


def test_nothing_leaks():
    @numba.njit
    def repeat(x, w, count):
        total = 0.0
        for _ in range(count):
            total += ndimage.gaussian_filter(x, 1.5)[0, 0] + ndimage.correlate1d(x, w)[0, 0]
        return total

    x, w = numbers((30, 40), "f8"), np.ones(3)
    with counted():
        repeat(x, w, 1)
        gc.collect()
        before = rtsys.get_allocation_stats()
        repeat(x, w, 100)
        after = rtsys.get_allocation_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("correlate1d", "x, w, 2", "correlate1d(): axis 2 is out of range, expected one of 2 dimensions"),
        ("correlate1d", "x, w[:0]", "correlate1d(): no filter weights given: weights has shape (0,)"),
        ("correlate1d", "x, w, origin=2", "invalid origin: it is 2, expected -1 to 1 for a window of 3"),
        ("convolve", "x, np.ones((3, 3)), origin=-2", "convolve(): invalid origin: it is -2, expected -1 to 1"),
        ("correlate", "x, np.ones((3, 0))", "expected a length of 1 or more for each axis that is filtered"),
        ("uniform_filter", "x, 4, origin=2", "invalid origin: it is 2, expected -2 to 1 for a window of 4"),
        ("maximum_filter1d", "x, 0", "incorrect filter size: it is 0, expected 1 or more"),
        ("gaussian_filter", "x, np.inf", "expected finite numbers"),
        ("gaussian_filter1d", "x, 0", "expected a number whose square is above 0"),
        ("gaussian_filter", "x, 1, truncate=-3", "radius is -2, expected a nonnegative integer"),
    ],
)
def test_refusals_of_values(name, arguments, message):
    function, x, w = compiled(name, arguments), np.ones((4, 5)), np.ones(3)
    for call in (function, function.py_func):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(x, w, 0, 0.0)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("correlate1d", "w, (1, 2)", "weights is UniTuple(int64 x 2), expected an array"),
        ("correlate1d", "x, x", "weights has 2 dimensions, expected 1"),
        ("correlate", "x, w", "weights has 1 dimensions, expected 2"),
        ("correlate1d", "x, w * 1j", "weights has dtype complex128, expected real numbers inside compiled code"),
        ("correlate1d", "x * 1j, w", "input has dtype complex128, expected bool, an integer, float32 or float64"),
        ("correlate1d", "3, w", "input is Literal[int](3), expected an array"),
        ("uniform_filter", "x.reshape(1, 1, 1, 1, 1, 1, 1, 1, -1)", "input has 9 dimensions, expected 1 to 8"),
        ("uniform_filter", "x, output=x", "output is array(float64, 2d, C), expected None inside compiled code"),
        ("uniform_filter", "x, mode='full'", "mode is 'full', expected one of 'reflect'"),
        ("uniform_filter", "x, cval='a'", "cval is 'a', expected a real number"),
        ("uniform_filter", "x, cval=x", "cval is array(float64, 2d, C), expected a real number"),
        ("uniform_filter", "x, 2.5", "size is float64, expected an int or 2 of them, one for each axis"),
        ("uniform_filter", "x, (1, 2, 3)", "size is (1, 2, 3), expected an int or 2 of them"),
        ("uniform_filter", "x, 3, axes=(0,)", "axes is (0,), expected None inside compiled code"),
        ("maximum_filter", "x, footprint=x", "footprint is array(float64, 2d, C), expected None"),
        ("maximum_filter", "x", "size is None, expected an int or several"),
        ("gaussian_filter", "x, 1, order=1", "order is 1, expected 0, a constant, inside compiled code"),
        ("gaussian_filter", "x, 1, order=n", "order is int64, expected 0, a constant, inside compiled code"),
        ("gaussian_filter", "x, 1, radius=2", "radius is 2, expected None inside compiled code"),
        ("gaussian_filter", "x, 'wide'", "sigma is 'wide', expected a number or 2 of them"),
        ("gaussian_filter", "x, 1, fwhm=2", "there is no argument 'fwhm'"),
    ],
)
def test_refusals_of_types(name, arguments, message):
    with pytest.raises(TypingError, match=re.escape(message)):
        compiled(name, arguments)(np.ones((4, 5)), np.ones(3), 0, 0.0)


def test_modes_are_constants():
    @numba.njit
    def user(x, mode):
        return ndimage.uniform_filter(x, 3, mode=mode)

    with pytest.raises(TypingError, match="mode is a variable, expected a constant inside compiled code"):
        user(np.ones((4, 5)), "wrap")


def test_an_array_that_lies_where_its_type_may_not():
    memory = np.zeros(8 * 12 + 1, "u1")
    with pytest.raises(ValueError, match="an array's elements do not lie where their type may"):
        compiled("uniform_filter", "x, 3")(memory[1:].view("f8"), None, 0, 0.0)
