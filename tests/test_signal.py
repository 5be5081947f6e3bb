"""`fastconv.signal` against SciPy: arguments, shapes, dtypes, errors, and values within the rounding of sums."""

import inspect
import itertools
import warnings

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, representative, slow, values
from hypothesis import given, settings
from hypothesis import strategies as st
from subprocesses import run_python

import fastconv
import fastconv.signal as ours
from fastconv import transforms
from fastconv.extending import init
from fastconv.signal import convolution, rows

scipys = pytest.importorskip("scipy.signal")

FUNCTIONS = [
    name for name in vars(ours) if not name.startswith("_") and inspect.isfunction(getattr(scipys, name, None))
]
MODES = ["full", "same", "valid"]
# Two of one dtype, and some that have to meet. All of them give representative ones.
PAIRS = [("f4", "f4"), ("f8", "f8"), ("u1", "u1")]
MORE_PAIRS = [
    ("c8", "c8"),
    ("c16", "c16"),
    ("i2", "i2"),
    ("u1", "f4"),
    ("f8", "f4"),
    ("i2", "u1"),
    ("i4", "i4"),
    ("i8", "i8"),
    ("u8", "i8"),
    ("f8", "c8"),
    ("i8", "f4"),
    ("u4", "u2"),
    ("?", "i4"),
]

longer_run = settings(max_examples=200)


X, W = np.ones((3, 4)), np.ones((2, 2))


# ---- how far from SciPy


def check(name, got, arrays, *options, transformed=0):
    """Against SciPy in a wider type, and with the dtype and shape that it has for these arrays.

    `transformed` is the length of Fourier transforms, if there were any: each of the three is within 4 log2(n) units of
    rounding of its 2-norm, and an element of the result is at most the product of both arrays' norms.
    """
    theirs, note = getattr(scipys, name), f"{name}, {[(a.dtype, a.shape) for a in arrays]}, {options}"
    dtype = quietly(theirs, *arrays, *options).dtype
    if not oracle.is_inexact(dtype):
        oracle.check(got, oracle.expect_equal(theirs(*arrays, *options)), note)
        return
    wide = [array.astype(oracle.wide(dtype)) for array in arrays]
    expected, magnitude = (theirs(*each, *options) for each in (wide, [abs(array) for array in wide]))
    if transformed:
        unit = float(np.finfo(oracle.accumulator(dtype)).eps) / 2
        bound = 13 * np.log2(transformed) * unit * float(np.prod([np.linalg.norm(array) for array in wide]))
        bound = np.full(expected.shape, bound)
    else:
        bound = oracle.rounding_bound(min(array.size for array in arrays), magnitude.real, dtype)
    oracle.check(got, oracle.Expected(expected, bound, dtype), note)


def quietly(function, *args, **named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **named)


def both(name, arrays, *options, **named):
    """Call it; where SciPy refuses, ours has to, with the same kind of error."""
    try:
        quietly(getattr(scipys, name), *arrays, *options, **named)
    except Exception as error:
        with pytest.raises(type(error)):
            getattr(ours, name)(*arrays, *options, **named)
        return None
    before = [np.copy(array) for array in arrays]
    got = getattr(ours, name)(*arrays, *options, **named)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    return got


def near(got, want, scale, factor=1e3):
    """For what SciPy computes in several steps, of which each rounds: some units of rounding of the largest number."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    unit = float(np.finfo(want.dtype).eps) if want.dtype.kind in "fc" else 0  # a copy of integers
    np.testing.assert_allclose(got, want, rtol=0, atol=factor * unit * max(float(scale), 1e-30))


# ---- arguments


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_scipys(name):
    def numbers(function):
        return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]

    assert numbers(getattr(ours, name)) == numbers(getattr(scipys, name))


def test_all_that_is_promised_is_there():
    promised = (
        "convolve correlate convolve2d correlate2d fftconvolve oaconvolve choose_conv_method correlation_lags "
        "lfilter savgol_filter upfirdn resample_poly"
    )
    assert sorted(FUNCTIONS) == sorted(promised.split())


# ---- convolution


@st.composite
def two_arrays(draw, which, rank=4, largest=6):
    """Two arrays of one rank; every other time the second fits into the first."""
    rank = draw(st.integers(1, rank)) if rank != 2 else 2
    shapes = [draw(st.tuples(*[st.integers(1, largest)] * rank)) for _ in range(2)]
    if draw(st.booleans()):
        shapes[1] = tuple(map(min, *shapes))
    arrays = [
        values(shape, dtype, i)
        for i, (shape, dtype) in enumerate(zip(shapes, draw(st.sampled_from(which)), strict=True))
    ]
    layouts = [draw(st.sampled_from(["contiguous", "fortran", "reversed", "reversed_stepped"])) for _ in arrays]
    return [LAYOUTS[layout](array) for layout, array in zip(layouts, arrays, strict=True)]


def check_by_method(arrays, mode, method):
    for name in ("convolve", "correlate"):
        got = both(name, arrays, mode, method)
        if got is None:
            continue
        is_transformed = method == "fft" or (method == "auto" and ours.choose_conv_method(*arrays, mode) == "fft")
        check(name, got, arrays, mode, "direct", transformed=is_transformed and np.prod(np.add(*map(np.shape, arrays))))


@given(two_arrays(PAIRS), st.sampled_from(MODES), st.sampled_from(["auto", "direct", "fft"]))
def test_methods(arrays, mode, method):
    check_by_method(arrays, mode, method)


@pytest.mark.slow
@longer_run
@given(two_arrays(MORE_PAIRS, largest=7), st.sampled_from(MODES), st.sampled_from(["auto", "direct", "fft"]))
def test_methods_of_other_dtypes(arrays, mode, method):
    check_by_method(arrays, mode, method)


def check_by_boundary(arrays, mode, boundary, fillvalue):
    for name in ("convolve2d", "correlate2d"):
        got = both(name, arrays, mode, boundary, fillvalue)
        if got is None:
            continue
        check(name, got, arrays, mode, boundary, fillvalue)


BOUNDARIES = st.sampled_from(["fill", "wrap", "symm"])


@given(two_arrays(PAIRS, rank=2), st.sampled_from(MODES), BOUNDARIES, st.sampled_from([0, 3]))
def test_boundaries(arrays, mode, boundary, fillvalue):
    check_by_boundary(arrays, mode, boundary, fillvalue)


@pytest.mark.slow
@longer_run
@given(two_arrays(MORE_PAIRS, rank=2, largest=12), st.sampled_from(MODES), BOUNDARIES, st.sampled_from([0, 3]))
def test_boundaries_of_other_dtypes(arrays, mode, boundary, fillvalue):
    check_by_boundary(arrays, mode, boundary, fillvalue)


@pytest.mark.parametrize("boundary", list(convolution.BOUNDARIES))
def test_every_name_of_a_boundary(boundary):
    x, w = np.arange(12.0).reshape(3, 4), np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(
        ours.convolve2d(x, w, boundary=boundary, fillvalue=2), scipys.convolve2d(x, w, boundary=boundary, fillvalue=2)
    )


@pytest.mark.parametrize("fillvalue", [[2], np.array([2.0]), 2.5, np.float32(2)])
def test_fill_values_are_cast_as_scipys(fillvalue):
    x = np.arange(9, dtype=np.uint8).reshape(3, 3)
    w = np.ones((2, 2), np.uint8)
    np.testing.assert_array_equal(ours.convolve2d(x, w, fillvalue=fillvalue), scipys.convolve2d(x, w, fillvalue=2))


@st.composite
def arrays_and_axes(draw, which):
    """Axes to convolve over; along others, sizes are the same, or 1 in one of the arrays."""
    first, second = draw(two_arrays(which))
    axes = draw(st.none() | st.sets(st.integers(0, first.ndim - 1), min_size=1).map(sorted))
    over = range(first.ndim) if axes is None else axes
    shape = [second.shape[a] if a in over or draw(st.booleans()) else first.shape[a] for a in range(first.ndim)]
    shape = [n if a in over or n == first.shape[a] else 1 for a, n in enumerate(shape)]
    if axes is not None and draw(st.booleans()):
        axes = [a - first.ndim for a in axes]
    return [first, values(shape, second.dtype, 1)], axes


def check_by_axes(arrays, axes, mode):
    for name in ("fftconvolve", "oaconvolve"):
        got = both(name, arrays, mode, axes)
        if got is not None and got.dtype.kind in "fc":
            exact = [array.astype(oracle.wide(got.dtype)) for array in arrays]
            want = getattr(scipys, name)(*exact, mode, axes)
            scale = np.linalg.norm(exact[0]) * np.linalg.norm(exact[1])
            assert got.dtype == getattr(scipys, name)(*arrays, mode, axes).dtype
            near(
                got.astype(want.dtype),
                want,
                scale * np.finfo(got.dtype).eps / np.finfo(want.dtype).eps,
                2 + arrays[1].size,
            )
        elif got is not None:
            np.testing.assert_array_equal(got, getattr(scipys, name)(*arrays, mode, axes))


@given(arrays_and_axes(PAIRS), st.sampled_from(MODES))
def test_axes(arrays_axes, mode):
    check_by_axes(*arrays_axes, mode)


@pytest.mark.slow
@longer_run
@given(arrays_and_axes(MORE_PAIRS), st.sampled_from(MODES))
def test_axes_of_other_dtypes(arrays_axes, mode):
    check_by_axes(*arrays_axes, mode)


@pytest.mark.parametrize("dtype", ["?", "f2"])
@pytest.mark.parametrize("mode", MODES)
def test_bools_and_halves(dtype, mode):
    """SciPy serves them along one axis; here they have any number."""
    a, b = values((40,), dtype), values((7,), dtype, 1)
    for name in ("convolve", "correlate"):
        got = getattr(ours, name)(a, b, mode)
        if dtype == "?":
            np.testing.assert_array_equal(got, getattr(scipys, name)(a, b, mode))
        else:
            check(name, got, [a, b], mode)
        for rank in (2, 4):
            further = getattr(ours, name)(*(v.reshape(-1, *[1] * (rank - 1)) for v in (a, b)), mode)
            np.testing.assert_array_equal(further.ravel(), got)


def test_numbers_are_multiplied():
    for name in ("convolve", "correlate", "fftconvolve", "oaconvolve"):
        assert getattr(ours, name)(2, 3.5) == getattr(scipys, name)(2, 3.5) == 7
    assert ours.correlate(2j, 3j) == scipys.correlate(2j, 3j) == 6


@pytest.mark.parametrize(
    "shapes", [((0,), (2,)), ((2,), (0,)), ((0, 3), (2, 2)), ((3, 3), (0, 2)), ((2, 0), (2, 2)), ((0, 2), (0, 2))]
)
@pytest.mark.parametrize("mode", MODES)
def test_empty_arrays(shapes, mode):
    arrays = [np.ones(shape) for shape in shapes]
    names = [
        "convolve",
        "correlate",
        "fftconvolve",
        "oaconvolve",
        *["convolve2d", "correlate2d"] * (len(shapes[0]) == 2),
    ]
    for name in names:
        got = both(name, arrays, mode)
        if got is not None:
            want = quietly(getattr(scipys, name), *arrays, mode)
            assert (got.shape, got.dtype) == (want.shape, want.dtype)


def test_an_empty_array_lies_amid_what_fills():
    for arrays in ((np.ones((0, 3)), W), (X, np.ones((0, 2)))):
        got, want = ours.convolve2d(*arrays, fillvalue=2), scipys.convolve2d(*arrays, fillvalue=2)
        np.testing.assert_array_equal(got, want)


# ---- transforms


@pytest.fixture
def transformed(monkeypatch):
    """How often something was transformed, as a whole or by kernels."""
    calls, convolve, convolve_nd = [], transforms.convolve, fastconv.convolve_nd

    def counted(*args):
        calls.append(1)
        return convolve(*args)

    def counted_nd(x, w, **options):
        asked = {name: value for name, value in options.items() if name != "fillvalue"}
        calls.extend([1] * (fastconv.explain(x, w, operation="convolve", **asked).algorithm == "fft"))
        return convolve_nd(x, w, **options)

    monkeypatch.setattr(transforms, "convolve", counted)
    for module in (convolution, rows):
        monkeypatch.setattr(module, "convolve_nd", counted_nd)
    return calls


LARGE = [
    ((30_000,), (900,)),
    ((900,), (30_000,)),
    ((5000,), (5000,)),
    ((300, 200), (60, 70)),
    ((40, 50, 60), (20, 20, 20)),
]


@pytest.mark.parametrize("shapes", LARGE, ids=str)
@pytest.mark.parametrize("dtype", representative(["f4", "f8", "c16"]))
def test_large_arrays_are_transformed(shapes, dtype, transformed):
    arrays = [values(shape, dtype, i) for i, shape in enumerate(shapes)]
    wide = [array.astype(np.result_type(dtype, np.float64)) for array in arrays]
    size = np.prod([a + b for a, b in zip(*shapes, strict=True)])
    expected = 0
    unit = 13 * np.log2(size) * np.finfo(dtype).eps * np.prod([np.linalg.norm(array) for array in wide])
    for mode, name in itertools.product(MODES, ("convolve", "correlate", "fftconvolve", "oaconvolve")):
        got, want = getattr(ours, name)(*arrays, mode), getattr(scipys, name)(*wide, mode)
        assert (got.dtype, got.shape) == (np.dtype(dtype), want.shape)
        np.testing.assert_allclose(got, want, rtol=0, atol=unit)
        expected += ours.choose_conv_method(*arrays, mode) == "fft"
    assert len(transformed) == expected >= 4  # all in mode "full", while others may have little to sum


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_large_boundaries_are_transformed(name, boundary, transformed):
    x, w = values((120, 130), "f8"), values((64, 48), "f8", 1)
    for mode in MODES:
        got, want = getattr(ours, name)(x, w, mode, boundary, 3), getattr(scipys, name)(x, w, mode, boundary, 3)
        near(got, want, 9 * np.linalg.norm(x) * np.linalg.norm(w), 13 * 16)
    assert len(transformed) == 3


def test_rows_are_transformed_together(transformed):
    x, one, many = values((3, 5, 6000), "f8"), values((1, 1, 700), "f8", 1), values((3, 1, 700), "f8", 2)
    for w in (one, many):
        for first, second in ((x, w), (w, x)):
            got, want = ours.oaconvolve(first, second, axes=2), scipys.fftconvolve(first, second, axes=2)
            near(got, want, np.linalg.norm(x[0, 0]) * np.linalg.norm(w[0, 0]), 13 * 13)
    assert len(transformed) == 4


def test_what_a_transform_would_spoil_is_summed(transformed):
    x, w = np.ones(20_000), np.ones(3000)
    x[10_000] = np.inf
    got = ours.convolve(x, w)
    assert np.flatnonzero(np.isinf(got)).tolist() == list(range(10_000, 13_000))
    assert np.isfinite(got).sum() == got.size - 3000
    assert len(transformed) == 1  # by kernels, which look at what they transform
    integers = values((20_000,), "i2")
    assert ours.choose_conv_method(integers, integers[:3000]) == "direct"
    np.testing.assert_array_equal(ours.convolve(integers[:4000], integers), np.convolve(integers[:4000], integers))
    assert len(transformed) == 1


def test_integers_by_method_fft_are_rounded():
    a, b = np.arange(300, dtype=np.uint8), np.arange(40, dtype=np.uint8)
    np.testing.assert_array_equal(ours.convolve(a, b, method="fft"), ours.convolve(a, b, method="direct"))
    a, b = a.astype(np.int64), -b.astype(np.int64)
    np.testing.assert_array_equal(ours.convolve(a, b, method="fft"), scipys.convolve(a, b, method="fft"))
    a, b = values((50,), "?"), values((9,), "?", 1)
    np.testing.assert_array_equal(ours.convolve(a, b, method="fft"), np.convolve(a, b))
    a, b = values((50,), "i8"), values((9,), "i8", 1)  # too large for that
    np.testing.assert_array_equal(ours.convolve(a, b, method="fft"), np.convolve(a, b))


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_method_fft_warns_of_what_is_not_finite(name):
    with pytest.warns(RuntimeWarning, match=rf"{name}\(\): in1 or in2 holds a NaN or an infinity, which method 'fft'"):
        getattr(ours, name)(np.array([np.nan, 1, 2]), np.ones(2), method="fft")


def test_methods_can_be_measured():
    chosen, seconds = ours.choose_conv_method(np.ones(9), np.ones(3), measure=True)
    assert sorted(seconds) == ["direct", "fft"]
    assert chosen == min(seconds, key=seconds.get)
    for nothing in ((np.ones(0), np.ones(0)), (1, 2), (np.ones(3, object), np.ones(2))):
        assert ours.choose_conv_method(*nothing) == "direct"


@pytest.mark.parametrize("mode", MODES)
def test_lags(mode):
    for n, m in itertools.product(range(1, 9), repeat=2):
        got, want = ours.correlation_lags(n, m, mode), scipys.correlation_lags(n, m, mode)
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


# ---- filters along an axis

FLOATS = [("f4", "f4"), ("f8", "f8"), ("c8", "c8"), ("u1", "f8"), ("f4", "f8")]
AROUND = ["constant", "wrap", "edge", "symmetric", "reflect"]


def around(x, axis):
    """SciPy divides by 0, which ends the process, where a single element is to be reflected."""
    return AROUND if x.shape[axis] > 1 else AROUND[:-1]


@st.composite
def one_array(draw, dtypes):
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    layout = draw(st.sampled_from(["contiguous", "fortran", "reversed", "stepped"]))
    return LAYOUTS[layout](values(shape, draw(st.sampled_from(dtypes)))), axis


def magnitude_of(*arrays):
    return np.prod([float(np.abs(np.asarray(array).astype(np.complex128)).max()) for array in arrays])


@given(st.data(), st.sampled_from(FLOATS), st.integers(1, 12), st.integers(1, 7), st.integers(1, 7))
def test_upfirdn(data, dtypes, taps, up, down):
    x, axis = data.draw(one_array(dtypes[:1]))
    h, mode = values((taps,), dtypes[1], 1), data.draw(st.sampled_from(around(x, axis)))
    options = up, down, axis, mode, data.draw(st.sampled_from([0.0, 2.5]))
    near(
        ours.upfirdn(h, x, *options),
        scipys.upfirdn(h, x, *options),
        max(magnitude_of(x), 2.5) * magnitude_of(h) * taps,
        taps + 2,
    )


def test_upfirdn_of_an_empty_array():
    for x in (np.ones((0, 3)), np.ones((3, 0))):
        for axis in (0, 1):
            np.testing.assert_array_equal(ours.upfirdn([1.0, 2], x, axis=axis), scipys.upfirdn([1.0, 2], x, axis=axis))


def test_phases_that_share_windows():
    x = values((3, 400), "f8")
    h = values((601,), "f8", 1)
    for up, down in ((30, 7), (7, 30), (1, 12), (12, 1), (16, 4)):
        for array, axis in ((x, 1), (x.T, 0), (np.stack([x] * 20, -1), 1)):
            got, want = ours.upfirdn(h, array, up, down, axis), scipys.upfirdn(h, array, up, down, axis)
            near(got, want, magnitude_of(x, h) * 601, 601)
    x[1, 200] = np.inf
    got, want = ours.upfirdn(h, x, 30, 7), scipys.upfirdn(h, x, 30, 7)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


@pytest.mark.parametrize("dtypes", [["f4", "f8", "u1"], slow(["c8", "i4"])], ids=" ".join)
@given(st.data(), st.integers(1, 7), st.integers(1, 7))
def test_resample_poly(dtypes, data, up, down):
    x, axis = data.draw(one_array(dtypes))
    padtype = data.draw(st.sampled_from([*around(x, axis), "mean", "median", "minimum", "maximum"]))
    window = data.draw(st.sampled_from([("kaiser", 5.0), ("kaiser", 8.0), "hamming", [1.0, 2.0, 3.0, 1.0], np.ones(9)]))
    got = both("resample_poly", [x], up, down, axis, window, padtype)
    if got is not None:
        want = scipys.resample_poly(x, up, down, axis, window, padtype)
        near(got, want, 9 * magnitude_of(x), 200)


def test_resample_poly_with_a_constant_around():
    x = np.arange(6.0)
    near(ours.resample_poly(x, 3, 2, cval=4.0), scipys.resample_poly(x, 3, 2, cval=4.0), 10)
    near(ours.resample_poly(x.astype("f2"), 3, 2), scipys.resample_poly(x.astype("f2"), 3, 2), 10)
    same = ours.resample_poly(x, 2, 2)
    np.testing.assert_array_equal(same, x)
    assert not np.shares_memory(same, x)


@given(st.data(), st.integers(1, 9), st.integers(0, 4), st.integers(0, 3))
def test_savgol_filter(data, window, order, deriv):
    x, axis = data.draw(one_array(["f4", "f8", "u1", "i2"]))
    mode = data.draw(st.sampled_from(["interp", "mirror", "constant", "nearest", "wrap"]))
    options = window, order, deriv, 0.5, axis, mode, 1.5
    got = both("savgol_filter", [x], *options)
    if got is not None:
        want = scipys.savgol_filter(x, *options)
        near(got, want, max(magnitude_of(x), 1.5) * 4.0**deriv, 1e4)


def test_savgol_filter_of_wide_windows():
    """SciPy's powers of large numbers lose digits; a polynomial is what the filter gives back."""
    t = np.linspace(-1, 1, 301)
    polynomial = np.polynomial.Polynomial([1, -2, 3, 0.5, -1, 2, 1, -1])
    for deriv in (0, 1, 2):
        want = polynomial.deriv(deriv)(t) if deriv else polynomial(t)
        got = ours.savgol_filter(t * 0 + polynomial(t), 151, 7, deriv, t[1] - t[0])
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * 150**deriv)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0)])
def test_savgol_filter_of_an_empty_array(shape):
    assert ours.savgol_filter(np.ones(shape), 3, 1, mode="wrap").shape == shape


@given(st.data(), st.sampled_from(FLOATS), st.integers(1, 9))
def test_lfilter(data, dtypes, taps):
    x, axis = data.draw(one_array(dtypes[:1]))
    b, zi = values((taps,), dtypes[1], 1), None
    if data.draw(st.booleans()):
        shape = [1 if a != axis % x.ndim and data.draw(st.booleans()) else n for a, n in enumerate(x.shape)]
        shape[axis] = taps - 1
        zi = values(shape, dtypes[1], 2)
    got, want = ours.lfilter(b, [2.0], x, axis, zi), scipys.lfilter(b, [2.0], x, axis, zi)
    for mine, theirs in zip(*((got, want) if zi is not None else ([got], [want])), strict=True):
        near(
            mine,
            theirs,
            magnitude_of(x, b) * taps + (3.0 * magnitude_of(zi) if zi is not None and zi.size else 0),
            taps + 3,
        )


# ---- what SciPy serves


def test_what_kernels_do_not_know_is_scipys():
    objects, long = np.array([1, 2, 10**30], dtype=object), np.arange(5, dtype=np.longdouble) / 3
    for name in ("convolve", "correlate"):
        np.testing.assert_array_equal(getattr(ours, name)(objects, objects), getattr(scipys, name)(objects, objects))
        np.testing.assert_array_equal(getattr(ours, name)(long, long), getattr(scipys, name)(long, long))
    square = np.outer(long, long)
    np.testing.assert_array_equal(
        ours.convolve2d(square, square, boundary="wrap"), scipys.convolve2d(square, square, boundary="wrap")
    )
    assert ours.fftconvolve(long, long).dtype == np.longdouble
    np.testing.assert_array_equal(ours.lfilter(long, [1.0], long), scipys.lfilter(long, [1.0], long))
    np.testing.assert_array_equal(
        ours.lfilter([1.0], [1.0, -0.5], np.ones(9)), scipys.lfilter([1.0], [1.0, -0.5], np.ones(9))
    )
    for mode in ("smooth", "line", "antisymmetric", "antireflect"):
        x = np.arange(5.0)
        np.testing.assert_array_equal(
            ours.upfirdn([1.0, 2, 1], x, 2, mode=mode), scipys.upfirdn([1.0, 2, 1], x, 2, mode=mode)
        )
        np.testing.assert_array_equal(
            ours.resample_poly(x, 2, 3, padtype=mode), scipys.resample_poly(x, 2, 3, padtype=mode)
        )


WITHOUT = """
import sys
sys.modules["scipy"] = None
import re
import numpy as np
from fastconv import signal

def refused(error, words, call):
    try:
        call()
    except error as raised:
        assert re.fullmatch(words + r" needs SciPy: pip install scipy", str(raised)), raised
    else:
        raise AssertionError(words)

x, w, long = np.arange(20_000.0) % 7, np.arange(2000.0) % 5, np.ones(3, np.longdouble)
assert signal.choose_conv_method(x, w) == "fft"
np.testing.assert_allclose(signal.convolve(x, w), np.convolve(x, w), rtol=1e-11, atol=1e-9)
np.testing.assert_allclose(signal.oaconvolve(x, w, "same"), np.convolve(x, w, "same"), rtol=1e-11, atol=1e-9)
single = signal.fftconvolve(x.astype("f4"), w.astype("f4"))
assert single.dtype == np.float32
np.testing.assert_allclose(single, np.convolve(x, w), rtol=1e-4, atol=1)
turned = signal.correlate(1j * x, w, method="fft")
np.testing.assert_allclose(turned, 1j * np.correlate(x, w, "full"), atol=1e-7)
square = np.outer(x[:200], x[:190])
got = signal.convolve2d(square, np.ones((60, 60)), "valid")
np.testing.assert_allclose(got[0, 0], square[:60, :60].sum(), rtol=1e-11)
assert signal.resample_poly(x, 3, 2).shape == (30_000,)
assert signal.lfilter([1.0, 1], [2.0], [1.0, 2]).tolist() == [0.5, 1.5]
np.testing.assert_allclose(signal.savgol_filter(x[:7], 3, 1), x[:7], atol=1e-12)
dtype = re.escape(str(long.dtype))
for name in ("convolve", "correlate", "fftconvolve", "oaconvolve"):
    refused(TypeError, rf"{name}\\(\\): dtype {dtype}", lambda: getattr(signal, name)(long, long))
refused(TypeError, rf"convolve2d\\(\\): dtype {dtype}", lambda: signal.convolve2d(long[None], long[None]))
refused(TypeError, rf"lfilter\\(\\): dtype {dtype}", lambda: signal.lfilter([1.0], [1.0], long))
recursive = r"lfilter\\(\\): a recursive filter \\(a has 2 coefficients\\)"
refused(ValueError, recursive, lambda: signal.lfilter([1.0], [1.0, 2], x))
refused(TypeError, rf"upfirdn\\(\\): dtype {dtype}", lambda: signal.upfirdn(long, x))
refused(ValueError, r"upfirdn\\(\\): mode 'smooth'", lambda: signal.upfirdn([1.0], x, mode="smooth"))
refused(TypeError, rf"resample_poly\\(\\): dtype {dtype}", lambda: signal.resample_poly(long, 2, 1))
refused(ValueError, r"resample_poly\\(\\): padtype 'line'", lambda: signal.resample_poly(x, 2, 1, padtype="line"))
refused(ValueError, r"resample_poly\\(\\): window 'hann'", lambda: signal.resample_poly(x, 2, 1, window="hann"))
"""


def test_without_scipy():
    run_python(WITHOUT)


# ---- errors

ERRORS = [
    ("convolve", (X, W, "most"), ValueError, "mode is 'most', expected one of 'full', 'same', 'valid'"),
    ("correlate", (X, W, 1), ValueError, "mode is 1, expected one of 'full'"),
    ("convolve", (X, W, "full", "sum"), ValueError, "method is 'sum', expected one of 'auto', 'direct', 'fft'"),
    ("convolve", (X, W[0]), ValueError, r"in1 and in2 have 2 and 1 dimensions, expected the same number"),
    ("fftconvolve", (X, W[0]), ValueError, r"in1 and in2 have 2 and 1 dimensions, expected the same number"),
    (
        "correlate",
        (X, np.ones((4, 2)), "valid"),
        ValueError,
        r"in1 and in2 have shapes \(3, 4\) and \(4, 2\), expected one at least as large as the other on every axis",
    ),
    ("convolve", ([], [1.0]), ValueError, "in1 or in2 is empty, expected at least one element"),
    (
        "convolve2d",
        (np.ones((0, 2)), np.ones((0, 2))),
        ValueError,
        "in1 or in2 is empty, expected at least one element",
    ),
    ("convolve2d", (X, W[0]), ValueError, r"in2 has shape \(2,\), expected two dimensions"),
    ("correlate2d", (X[0], W), ValueError, r"in1 has shape \(4,\), expected two dimensions"),
    ("convolve2d", (X, W, "full", "edge"), ValueError, "boundary is 'edge', expected one of 'fill', 'pad', 'wrap'"),
    ("convolve2d", (X, W, "full", "fill", [1, 2]), ValueError, r"fillvalue has shape \(2,\), expected a number"),
    ("fftconvolve", (X, W, "full", 1.5), ValueError, "axes is 1.5, expected an int or a sequence of ints"),
    ("fftconvolve", (X, W, "full", 2), ValueError, "axes is 2, expected different axes of the 2 that in1 has"),
    ("oaconvolve", (X, W, "full", (0, 0)), ValueError, r"axes is \(0, 0\), expected different axes of the 2"),
    ("oaconvolve", (X, W, "full", ()), ValueError, r"axes is \(\), expected different axes of the 2"),
    ("oaconvolve", (X, W, "most"), ValueError, "mode is 'most', expected one of"),
    (
        "fftconvolve",
        (X, W, "full", 0),
        ValueError,
        r"in1 and in2 have shapes \(3, 4\) and \(2, 2\), expected sizes that are equal or 1 on axes other than \(0,\)",
    ),
    ("choose_conv_method", (X, W, "most"), ValueError, "mode is 'most', expected one of"),
    ("correlation_lags", (3, 4, "most"), ValueError, "mode is 'most', expected one of"),
    ("lfilter", ([], [1.0], X), ValueError, r"b has shape \(0,\), expected one dimension, not empty"),
    ("lfilter", ([1.0], [[1.0]], X), ValueError, r"a has shape \(1, 1\), expected one dimension, not empty"),
    (
        "lfilter",
        ([1], [1], [1, 2]),
        NotImplementedError,
        "b, a and x promote to dtype int64, expected float32, float64",
    ),
    ("lfilter", ([1.0, 2], [1.0], []), ValueError, "x is empty, expected at least one element"),
    ("lfilter", ([1.0, 2], [1.0], X, 1, W), ValueError, r"zi has shape \(2, 2\), expected \(3, 1\)"),
    ("lfilter", ([1.0, 2], [1.0], X, 1, [1.0]), ValueError, r"zi has shape \(1,\), expected \(3, 1\)"),
    ("lfilter", ([1.0, 2], [1.0], X, 2), ValueError, "axis 2 is out of bounds for array of dimension 2"),
    ("savgol_filter", (X, 3, 1, 0, 1, 1, "edge"), ValueError, "mode is 'edge', expected one of 'mirror', 'constant'"),
    ("savgol_filter", (X, 3, 3), ValueError, "polyorder is 3, expected less than window_length 3"),
    ("savgol_filter", (X, 5, 1), ValueError, "window_length is 5, expected at most the 4 of x in mode 'interp'"),
    ("savgol_filter", (X, 3, -1), ValueError, "polyorder is -1, expected 0 or more"),
    ("savgol_filter", (X, 3, 1, -1), ValueError, "deriv is -1, expected 0 or more"),
    ("savgol_filter", (X, 3, 1, 0, 1, 2), IndexError, "axis 2 is out of bounds for array of dimension 2"),
    ("upfirdn", ([], X), ValueError, r"h has shape \(0,\), expected one dimension, not empty"),
    ("upfirdn", (W, X), ValueError, r"h has shape \(2, 2\), expected one dimension, not empty"),
    ("upfirdn", ([1.0], X, 0), ValueError, "up is 0, expected 1 or more"),
    ("upfirdn", ([1.0], X, 1, -1), ValueError, "down is -1, expected 1 or more"),
    ("upfirdn", ([1.0], X, 1, 1, 1, "mirror"), ValueError, "mode is 'mirror', expected one of 'constant', 'wrap'"),
    ("upfirdn", ([1.0], X, 1, 1, 2), IndexError, "axis 2 is out of bounds for array of dimension 2"),
    ("resample_poly", (X, 1.5, 1), ValueError, "up is 1.5, expected an integer"),
    ("resample_poly", (X, 1, 0), ValueError, "down is 0, expected 1 or more"),
    ("resample_poly", (X, 2, 1, 0, "hann", "mirror"), ValueError, "padtype is 'mirror', expected one of 'mean'"),
    (
        "resample_poly",
        (X, 2, 1, 0, "hann", "mean", 1.0),
        ValueError,
        "cval is 1.0, which has no effect on padtype 'mean'",
    ),
    (
        "resample_poly",
        (X, 2, 1, 0, [[1.0]]),
        ValueError,
        r"window has shape \(1, 1\), expected one dimension, not empty",
    ),
    ("resample_poly", (X, 2, 1, 2), IndexError, "axis 2 is out of bounds for array of dimension 2"),
]


@pytest.mark.parametrize("name, arguments, error, words", ERRORS)
def test_errors(name, arguments, error, words):
    """The words are ours, the kind is SciPy's."""
    prefix = "" if words.startswith("axis 2") else rf"{name}\(\): "
    with pytest.raises(error, match=prefix + words):
        getattr(ours, name)(*arguments)
    with pytest.raises(error):
        quietly(getattr(scipys, name), *arguments)


def test_types_that_do_not_promote():
    brain, half = np.ones(3, pytest.importorskip("ml_dtypes").bfloat16), np.ones(3, np.float16)
    with pytest.raises(
        TypeError, match=r"convolve\(\): in1 has dtype bfloat16 and in2 has dtype float16, which do not"
    ):
        ours.convolve(brain, half)


@pytest.mark.slow
def test_what_only_numpy_promotes():
    brain = np.ones(3, pytest.importorskip("ml_dtypes").bfloat16)
    got = ours.convolve(brain, brain)
    assert got.dtype == brain.dtype
    assert got.tolist() == [1, 2, 3, 2, 1]


def test_masked_arrays_are_refused():
    with pytest.raises(TypeError, match=r"convolve\(\): in1 is a masked array, expected a plain one"):
        ours.convolve(np.ma.ones(3), [1.0])


# ---- compiled code


@pytest.mark.parametrize(
    "name", [pytest.param("convolve"), slow("correlate"), slow("convolve2d"), pytest.param("correlate2d")]
)
def test_inside_compiled_code(name):
    init()
    function, a, b = getattr(ours, name), values((7, 6), "f8"), values((3, 2), "f8", 1)
    compiled = numba.njit(lambda a, b: function(a, b, mode="same"))
    near(compiled(a, b), function(a, b, mode="same"), magnitude_of(a, b) * 6, 8)
