"""`fastconv.ndimage` against SciPy itself: its results, its signatures, its kinds of error, and its own tests.

`u` is the unit roundoff of the result, and `|f|(x)` the same filter of absolute weights and absolute values. A pass of
`n` taps is off by at most `(n + 2) u |f|(x)` here and in SciPy, and a chain of passes by the sum of these. For integers
results are equal: their sums are exact, or, for weights like a Gaussian's, made in SciPy's order and cut alike.
"""

import functools
import inspect
import os
import warnings

import numpy as np
import pytest
from cases import representative, rng, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from subprocesses import ROOT, run

import fastconv.ndimage as ours
from fastconv import problem
from fastconv.ndimage import running

scipy = pytest.importorskip("scipy.ndimage")
from scipy.ndimage._filters import _gaussian_kernel1d  # noqa: E402

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
ALIASES = ["grid-mirror", "grid-constant", "grid-wrap"]
DTYPES = ["f4", "f8", "u1", "i2", "?", "i1", "u2", "i4", "u4", "i8", "u8"]
TALL = ["f8", "u1", slow("i2")]  # what integers in steps of several filters are tried with

every_dtype = pytest.mark.parametrize("dtype", representative(DTYPES))


# ---- what is drawn


def drawn(test):
    return settings(max_examples=25)(given(st.data())(test))  # of each dtype


def numbers(shape, dtype, seed):
    """Integers that SciPy's doubles hold with room for sums, of the full range where it is small."""
    dtype, random = np.dtype(dtype), rng(seed, *shape)
    if dtype.kind == "b":
        return random.random(shape) < 0.4
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return random.integers(max(info.min, -(1 << 20)), min(info.max, 1 << 20), shape, endpoint=True).astype(dtype)
    if dtype.kind == "c":
        return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(dtype)
    return random.standard_normal(shape).astype(dtype)


LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "sliced": lambda a: np.repeat(a, 2, axis=0)[::2],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


@st.composite
def inputs(draw, dtype, ndim=(1, 4), sizes=(1, 9), layouts=tuple(LAYOUTS)):
    shape = tuple(draw(st.lists(st.integers(*sizes), min_size=ndim[0], max_size=ndim[1])))
    return LAYOUTS[draw(st.sampled_from(layouts))](numbers(shape, dtype, draw(st.integers(0, 99))))


modes = st.sampled_from([*MODES, *ALIASES])
cvals = st.sampled_from([0.0, 1.0, -0.0, 3, True, -1.25])


@st.composite
def somes(draw, ndim):
    """Axes that are filtered: as the argument, and as a list."""
    chosen = draw(st.none() | st.lists(st.integers(0, ndim - 1), unique=True, min_size=1))
    if chosen is None:
        return None, list(range(ndim))
    return tuple(axis - ndim if draw(st.booleans()) else axis for axis in chosen), chosen


@st.composite
def one_or_each(draw, strategy, count):
    return draw(strategy | st.lists(strategy, min_size=count, max_size=count).map(tuple))


def origins(size):
    return st.integers(-(size // 2), (size - 1) // 2)


def each(value, count):
    return list(value) if isinstance(value, tuple) else [value] * count


# ---- what is compared


def magnitude(x, passes, cval):
    """`|f|(x)` of passes (axis, weights, mode, origin), and the sum of their taps."""
    values, taps = abs(x).astype("f8"), 0
    for axis, weights, mode, origin in passes:
        values = scipy.correlate1d(values, abs(np.asarray(weights)), axis, None, mode, abs(cval), origin)
        taps += len(weights) + 2
    return values, taps


def bound_of(dtype, *parts):
    """How far two results of one filter may be apart: each part is `|f|(x)` and its count of roundings."""
    unit = 2.0 ** (-24 if np.dtype(dtype).name in ("float32", "complex64") else -53)
    return 2.01 * unit * sum(values * taps for values, taps in parts) + 1e-300


def check(got, expected, bound=None):
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert got.flags.c_contiguous
    if expected.dtype == bool:  # SciPy leaves other bytes than 0 and 1 there
        expected = np.ascontiguousarray(expected).view("u1") != 0
        assert set(np.unique(got.view("u1"))) <= {0, 1}
    if bound is None or expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, expected)
    else:
        assert np.all(abs(got - expected) <= bound)


def both(name, *args, **kwargs):
    """The result of SciPy and ours, computed twice: prepared, and as it is kept."""
    expected = getattr(scipy, name)(*args, **kwargs)
    function = getattr(ours, name)
    first, second = function(*args, **kwargs), function(*args, **kwargs)
    assert first is not second
    assert first.tobytes() == second.tobytes()
    return first, expected


# ---- sums


@every_dtype
@pytest.mark.parametrize("name", ["correlate1d", "convolve1d"])
@drawn
def test_one_axis(name, dtype, data):
    x = data.draw(inputs(dtype))
    weights = data.draw(kernels((data.draw(st.integers(1, 12)),), dtype))
    axis, mode, cval = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(modes), data.draw(cvals)
    origin = data.draw(origins(len(weights)))
    if name == "convolve1d":
        origin = -origin - (len(weights) + 1) % 2
    flipped = weights[::-1] if name == "convolve1d" else weights
    moved = -origin - (len(weights) + 1) % 2 if name == "convolve1d" else origin
    bound = bound_of(x.dtype, magnitude(x, [(axis, flipped, mode, moved)], cval))
    check(*both(name, x, weights, axis, None, mode, cval, origin), bound)


@pytest.mark.parametrize("dtype", ["f8", "i4"])
@pytest.mark.parametrize("sign", [1, -1], ids=["symmetric", "antisymmetric"])
@pytest.mark.parametrize("taps", [3, 5, 11])
def test_rows_that_share_lines_have_scipys_bits(taps, sign, dtype):
    weights = rng(taps).standard_normal(taps)
    weights = weights + sign * weights[::-1]
    for number, shape in enumerate([(4, 1), (5, 7), (7, 8), (8, 9), (11, 16), (13, 33), (40, 48), (3, 6, 5, 2)]):
        x, mode = numbers(shape, dtype, number), MODES[number % len(MODES)]
        for axis in {0, x.ndim // 2 - 1}:
            check(*both("correlate1d", x, weights, axis, np.float64, mode, 2.0))
        if dtype == "f8":
            got = x.copy()
            ours.correlate1d(got, weights, 0, got, mode, 2.0)
            np.testing.assert_array_equal(got, scipy.correlate1d(x, weights, 0, None, mode, 2.0))


@st.composite
def kernels(draw, shape, dtype):
    """Quarters for integers, whose products with small numbers doubles hold and add exactly; some are 0."""
    random = rng(draw(st.integers(0, 99)), *shape)
    weights = random.integers(-12, 13, shape) / 4 if np.dtype(dtype).kind in "iub" else random.standard_normal(shape)
    symmetric = draw(st.sampled_from([0, 0, 1, -1]))
    if symmetric:
        weights = weights + symmetric * np.flip(weights)
    return weights * (random.random(shape) < 0.8)


@every_dtype
@pytest.mark.parametrize("name", ["correlate", "convolve"])
@drawn
def test_several_axes(name, dtype, data):
    x = data.draw(inputs(dtype, sizes=(1, 6)))
    axes, chosen = data.draw(somes(x.ndim))
    shape = tuple(data.draw(st.integers(1, 4 if x.ndim < 4 else 2)) for _ in chosen)
    weights, mode, cval = data.draw(kernels(shape, dtype)), data.draw(modes), data.draw(cvals)
    origin = tuple(data.draw(origins(size)) for size in shape)
    if len(chosen) < x.ndim:  # weights lie in the order of the array, origins in that of `axes`: SciPy's own way
        origin = tuple(origin[sorted(chosen).index(axis)] for axis in chosen)
    if name == "convolve":
        order = [sorted(chosen).index(axis) for axis in chosen] if len(chosen) < x.ndim else range(x.ndim)
        origin = tuple(-o - (shape[i] + 1) % 2 for o, i in zip(origin, order))
    if len(shape) == 1:
        origin = origin[0]
    got, expected = both(name, x, weights, None, mode, cval, origin, axes=axes)
    values = getattr(scipy, name)(abs(x).astype("f8"), abs(weights), None, mode, abs(cval), origin, axes=axes)
    check(got, expected, bound_of(x.dtype, (values, weights.size + 2)))


@every_dtype
@drawn
def test_means(dtype, data):
    x = data.draw(inputs(dtype))
    axes, chosen = data.draw(somes(x.ndim))
    count = len(chosen)
    size = data.draw(one_or_each(st.integers(0, 12), count))
    mode, cval = data.draw(one_or_each(modes, count)), data.draw(cvals)
    origin = tuple(data.draw(origins(max(n, 1))) for n in each(size, count))
    got, expected = both("uniform_filter", x, size, None, mode, cval, origin, axes=axes)
    passes = [
        (axis, np.full(n, 1 / n), m, o)
        for axis, n, m, o in zip(chosen, each(size, count), each(mode, count), origin)
        if n > 1
    ]
    if x.dtype.kind == "f":  # SciPy's sums run on along the axis, and its errors with them
        expected = x.astype(x.dtype.newbyteorder("="))
        for axis, weights, m, o in passes:
            expected = scipy.correlate1d(expected, weights, axis, None, m, cval, o)
    check(got, np.ascontiguousarray(expected), bound_of(x.dtype, magnitude(x, passes, cval)))
    if passes:
        axis, weights, m, o = passes[0]
        got, expected = both("uniform_filter1d", x, len(weights), axis, None, m, cval, o)
        if x.dtype.kind == "f":
            expected = scipy.correlate1d(x, weights, axis, None, m, cval, o)
        check(got, expected, bound_of(x.dtype, magnitude(x, passes[:1], cval)))


@pytest.mark.parametrize("dtype", representative(["f4", "u1"]))
@pytest.mark.parametrize("size", [8, 31, 63, 64, 100, 511, 512, 700, 4096, 5000, slow(33_000)])
def test_long_means_are_sums_of_sums(size, dtype):
    rng = np.random.default_rng(size)
    x = rng.integers(0, 200, (2, 2 * size + 37)).astype(dtype)
    got = ours.uniform_filter1d(x, size, mode="wrap", origin=1)
    wide = np.pad(x.astype("i8"), [(0, 0), (size // 2 + 1, size)], mode="wrap").cumsum(axis=1)
    sums = (wide[:, size:] - wide[:, :-size])[:, : x.shape[1] - 1]
    expected = sums / size if x.dtype.kind == "f" else sums // size
    bound = (size + 2) * np.finfo(np.float32).eps * 200 if x.dtype.kind == "f" else 0
    assert np.all(abs(got[:, 1:] - expected) <= bound)


sigmas = st.sampled_from([0, 0.3, 0.7, 1, 1.5, 2.6])


@every_dtype
@drawn
def test_gaussians(dtype, data):
    x = data.draw(inputs(dtype))
    axes, chosen = data.draw(somes(x.ndim))
    count = len(chosen)
    most = 0 if dtype == "u8" else 3  # derivatives that wrap there are beyond what C casts
    sigma, order = data.draw(one_or_each(sigmas, count)), data.draw(one_or_each(st.integers(0, most), count))
    mode, cval = data.draw(one_or_each(modes, count)), data.draw(cvals)
    truncate, radius = data.draw(st.sampled_from([4.0, 2.5, 3])), data.draw(st.none() | st.integers(0, 6))
    options = {"truncate": truncate, "radius": radius}
    got, expected = both("gaussian_filter", x, sigma, order, None, mode, cval, axes=axes, **options)
    passes = [
        (axis, _gaussian_kernel1d(s, o, int(truncate * s + 0.5) if radius is None else radius)[::-1], m, 0)
        for axis, s, o, m in zip(chosen, each(sigma, count), each(order, count), each(mode, count))
        if s
    ]
    check(got, np.ascontiguousarray(expected), bound_of(x.dtype, magnitude(x, passes, cval)))
    s, o, m = each(sigma, count)[0] or 1, each(order, count)[0], each(mode, count)[0]
    got, expected = both("gaussian_filter1d", x, s, chosen[0], o, None, m, cval, **options)
    weights = _gaussian_kernel1d(s, o, int(truncate * s + 0.5) if radius is None else radius)[::-1]
    check(got, expected, bound_of(x.dtype, magnitude(x, [(chosen[0], weights, m, 0)], cval)))


@given(st.floats(0.01, 40), st.integers(0, 6), st.integers(0, 60))
def test_a_gaussian_has_scipys_weights(sigma, order, radius):
    from fastconv.ndimage.linear import gaussian_weights

    for value in (sigma, np.float32(sigma), int(sigma) + 1):
        got, expected = gaussian_weights("f", value, order, radius), _gaussian_kernel1d(value, order, radius)
        np.testing.assert_array_equal(got, expected)


def test_even_ground_stays_as_scipy_leaves_it():
    """The weights' sum is 1 or a little less: for integers it is the order of adding that decides."""
    for level in (1, 7, 100, 254, 255):
        flat = np.full((20, 30), level, "u1")
        for sigma in np.linspace(0.3, 5, 30):
            check(*both("gaussian_filter", flat, sigma))


@pytest.mark.parametrize("dtype", representative(DTYPES[:-1]))  # u8: as for derivatives above
@pytest.mark.parametrize("name", ["sobel", "prewitt"])
@drawn
def test_first_differences(name, dtype, data):
    x = data.draw(inputs(dtype))
    axis, cval = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(cvals)
    mode = data.draw(one_or_each(modes, x.ndim))
    smooth = [1, 2, 1] if name == "sobel" else [1, 1, 1]
    each_mode = each(mode, x.ndim)
    order = [axis % x.ndim, *(i for i in range(x.ndim) if i != axis % x.ndim)]
    passes = [(i, smooth if n else [-1, 0, 1], each_mode[i], 0) for n, i in enumerate(order)]
    check(*both(name, x, axis, None, mode, cval), bound_of(x.dtype, magnitude(x, passes, cval)))


@every_dtype
@drawn
def test_second_differences(dtype, data):
    x = data.draw(inputs(dtype))
    axes, chosen = data.draw(somes(x.ndim))
    mode, cval = data.draw(one_or_each(modes, len(chosen))), data.draw(cvals)
    got, expected = both("laplace", x, None, mode, cval, axes=axes)
    parts = [magnitude(x, [(a, [1, -2, 1], m, 0)], cval) for a, m in zip(chosen, each(mode, len(chosen)))]
    check(got, expected, bound_of(x.dtype, (sum(values for values, _ in parts), 6 * len(chosen))))
    if x.dtype.kind == "f":  # into another type: rounded per axis by SciPy
        for output in ("f4", "f8"):
            got, expected = both("laplace", x, np.dtype(output), mode, cval, axes=axes)
            check(got, expected, bound_of("f4", (sum(values for values, _ in parts), 6 * len(chosen))))
    for output in (np.int32, np.uint8):
        check(*both("laplace", x, output, mode, cval, axes=axes))


@pytest.mark.parametrize("dtype", TALL)
@pytest.mark.parametrize(("name", "order"), [("gaussian_laplace", 2), ("gaussian_gradient_magnitude", 1)])
@drawn
def test_gaussian_derivatives(name, order, dtype, data):
    x = data.draw(inputs(dtype, ndim=(1, 3)))
    if x.dtype.kind in "iu":
        x = x % 7  # squares that fit
    axes, chosen = data.draw(somes(x.ndim))
    count = len(chosen)
    # one of several sigmas is for an axis of `axes` in one function, of the array in the other
    sigma = data.draw(one_or_each(sigmas, count if order == 2 else x.ndim))
    mode, cval, truncate = (
        data.draw(one_or_each(modes, count)),
        data.draw(cvals),
        data.draw(st.sampled_from([4.0, 3.0])),
    )
    with np.errstate(invalid="ignore"):
        got, expected = both(name, x, sigma, None, mode, cval, axes=axes, truncate=truncate)
    spread = [0] * x.ndim
    if order == 2:
        for axis, value in zip(chosen, each(sigma, count)):
            spread[axis] = value
    else:
        spread = each(sigma, x.ndim)
    parts = []
    for axis, m in zip(chosen, each(mode, count)):
        passes = [
            (i, _gaussian_kernel1d(s, order if i == axis else 0, int(truncate * s + 0.5))[::-1], m, 0)
            for i, s in enumerate(spread)
            if s
        ]
        parts.append(magnitude(x, passes, cval))
    more = (sum(values for values, _ in parts), 4 + count)  # adding, squaring; a root is 1-Lipschitz in the parts
    check(got, np.ascontiguousarray(expected), bound_of(x.dtype, *parts, more))


def test_derivatives_of_ones_own():
    x = numbers((6, 7), "f8", 0)

    def second(input, axis, output, mode, cval, scale, power=1):
        return scipy.correlate1d(input, scale * np.array([1.0, -2, 1]) ** power, axis, output, mode, cval)

    for name in ("generic_laplace", "generic_gradient_magnitude"):
        options = {"extra_arguments": (2,), "extra_keywords": {"power": 2}}
        for axes in (None, 0, (1, 0), ()):
            got, expected = both(name, x, second, None, "wrap", 0.5, axes=axes, **options)
            check(got, expected)
        check(*both(name, x, ours.sobel, np.float32, ("wrap", "mirror")))


# ---- extrema


@every_dtype
@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
@drawn
def test_extrema(name, dtype, data):
    x = data.draw(inputs(dtype))
    axes, chosen = data.draw(somes(x.ndim))
    count = len(chosen)
    size = data.draw(one_or_each(st.integers(0, 12), count))
    mode, cval = data.draw(one_or_each(modes, count)), data.draw(cvals | st.sampled_from([300, -300.5, 1e6]))
    cval = abs(cval) if dtype == "u8" else cval  # a cval that wraps there is beyond what doubles tell apart
    origin = tuple(data.draw(origins(max(n, 1))) for n in each(size, count))
    check(*(np.ascontiguousarray(a) for a in both(name, x, size, None, None, mode, cval, origin, axes=axes)))
    n, m, o = each(size, count)[0] or 1, each(mode, count)[0], origin[0]
    check(*both(f"{name}1d", x, n, chosen[0], None, m, cval, o))
    for output in (np.float64, np.uint8):
        check(*both(name, x, size, None, output, mode, cval, origin, axes=axes))


def test_extrema_are_cast_between_passes():
    """Long windows, too, of which two passes would fold at once."""
    x = numbers((3, 5, 5, 3), "i8", 0)
    for size in (2, 8, 10):
        check(*both("maximum_filter", x, size, output=np.uint8))
        check(*both("minimum_filter", x, size, output=np.uint8))


@pytest.mark.slow
def test_heights_below_zero_of_the_widest_integers():
    x = np.array([722762, 441503], "u8")
    check(*both("grey_erosion", x, structure=[1, 2]))
    check(*both("grey_dilation", x, structure=[-1, -2]))


def test_filters_of_several_axes_are_those_of_one_after_the_other():
    x, modes = numbers((3, 3), "f8", 0), ["reflect", "wrap"]
    passes = ours.gaussian_filter1d(ours.gaussian_filter1d(x, 1, 0, mode=modes[0]), 1, 1, mode=modes[1])
    np.testing.assert_array_equal(ours.gaussian_filter(x, 1, mode=modes), passes)
    x = numbers((4, 5), "u8", 0)
    passes = ours.correlate1d(ours.correlate1d(x, [-1, 0, 1], 0), [1, 2, 1], 1)
    np.testing.assert_array_equal(ours.sobel(x, 0), passes)


@st.composite
def footprints(draw, shape):
    mask = rng(draw(st.integers(0, 99)), *shape).random(shape) < draw(st.sampled_from([0.5, 1.0]))
    mask[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return mask


@every_dtype
@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter"])
@drawn
def test_footprints(name, dtype, data):
    x = data.draw(inputs(dtype, sizes=(1, 6)))
    axes, chosen = data.draw(somes(x.ndim))
    shape = tuple(data.draw(st.integers(1, 4 if x.ndim < 4 else 2)) for _ in chosen)
    mode, cval = data.draw(modes), data.draw(cvals | st.sampled_from([300, -300.5]))
    cval = abs(cval) if dtype == "u8" else cval
    origin = 0 if min(shape) == 1 else data.draw(st.sampled_from([0, -1]))
    got, expected = both(name, x, None, data.draw(footprints(shape)), None, mode, cval, origin, axes=axes)
    check(got, np.ascontiguousarray(expected))


GREY = ["grey_erosion", "grey_dilation", "grey_opening", "grey_closing", "white_tophat", "black_tophat"]
MORPHOLOGICAL = ["morphological_gradient", "morphological_laplace"]  # not of bools: NumPy does not subtract them


@every_dtype
@pytest.mark.parametrize("name", [*GREY, *MORPHOLOGICAL])
@drawn
def test_grey_morphology(name, dtype, data):
    x = data.draw(inputs(dtype, sizes=(1, 6), ndim=(1, 3), layouts=("C", "Fortran", "sliced", "swapped")))
    if dtype == "?" and name in MORPHOLOGICAL:
        return
    axes, chosen = data.draw(somes(x.ndim))
    shape = tuple(data.draw(st.integers(1, 4)) for _ in chosen)
    mode, cval = data.draw(modes), data.draw(cvals)
    kind = data.draw(st.sampled_from(["size", "footprint", "structure", "both"]))
    window, origin = {}, 0
    if kind == "size":
        window["size"] = data.draw(st.sampled_from([shape[0], shape]))
    elif axes is not None:  # SciPy takes a window's parity from the place in `axes`, its lengths in the array's order
        axes = tuple(sorted(chosen))
    if kind in ("footprint", "both"):
        window["footprint"] = data.draw(footprints(shape))
    if kind in ("structure", "both") and len(chosen) == x.ndim:
        heights = data.draw(kernels(shape, "u1"))
        window["structure"] = abs(heights) if dtype == "u8" else heights
    elif kind == "structure":
        window["size"] = shape
    if "size" not in window and min(shape) > 1:
        origin = data.draw(st.sampled_from([0, -1]))
    if dtype == "u8":  # what wraps there is beyond what doubles tell apart
        cval = abs(cval)
    got, expected = both(name, x, output=None, mode=mode, cval=cval, origin=origin, axes=axes, **window)
    check(got, np.ascontiguousarray(expected))


# ---- where results go


def calls(x):
    """A call of each function, without `output`."""
    ndim = x.ndim
    kernel = numbers((3,) * ndim, "i2", 1) % 5 - 2.0
    structure = {"structure": numbers((3, 2, 3)[:ndim], "i2", 2) % 4}
    yield from (("correlate", (kernel,), {}), ("convolve", (kernel,), {"mode": "wrap"}))
    yield from (("correlate1d", ([1, 2, 4],), {}), ("convolve1d", ([1, 2],), {"axis": 0}))
    yield from (("uniform_filter", (3,), {}), ("uniform_filter1d", (2,), {"axis": 0}))
    yield from (("gaussian_filter", (0.8,), {}), ("gaussian_filter1d", (0.8,), {}))
    yield from (("sobel", (), {}), ("prewitt", (0,), {}), ("laplace", (), {}))
    yield from (("gaussian_laplace", (0.8,), {}), ("gaussian_gradient_magnitude", (0.8,), {}))
    yield from (("generic_laplace", (ours.sobel,), {}), ("generic_gradient_magnitude", (ours.prewitt,), {}))
    for name in ("maximum_filter", "minimum_filter"):
        yield from ((name, (3,), {}), (name, (), {"footprint": kernel > 0}), (f"{name}1d", (3,), {}))
    for name in (*GREY, *MORPHOLOGICAL):
        yield from ((name, (3,), {}), (name, (), {"footprint": kernel > 0}), (name, (), structure))


def named(name, x, args, kwargs, **more):
    return getattr(ours, name)(x, *args, **kwargs, **more)


@pytest.mark.parametrize("dtype", TALL)
def test_every_function_writes_where_it_is_told(dtype):
    x = abs(numbers((5, 6), dtype, 0)) % 16
    for name, args, kwargs in calls(x):
        plain = named(name, x, args, kwargs)
        room = np.full((12, 14), 77, x.dtype)
        for out in (np.empty_like(x), room[1:-1:2, -2:1:-2], np.empty((6, 5), dtype).T):
            assert named(name, x, args, kwargs, output=out) is out
            # Floats are added in the order of memory: some 20 terms, their absolute values below 500 in all.
            exactly = 0 if dtype != "f8" or out.flags.c_contiguous else 22 * 500 * 2.0**-53
            np.testing.assert_allclose(out, plain, rtol=0, atol=exactly, err_msg=name)
        room[1:-1:2, -2:1:-2] = 77
        assert (room == 77).all()
        swapped = np.empty(x.shape, x.dtype.newbyteorder())
        assert named(name, x, args, kwargs, output=swapped) is swapped
        np.testing.assert_array_equal(swapped, plain, err_msg=name)


@pytest.mark.parametrize("dtype", TALL)
def test_input_may_be_output(dtype):
    """The same memory, the same bytes as another type, and memory that only overlaps."""
    x = abs(numbers((5, 6), dtype, 0)) % 16
    for name, args, kwargs in calls(x):
        plain = named(name, x, args, kwargs)
        given_ = x.copy()
        assert named(name, given_, args, kwargs, output=given_) is given_
        np.testing.assert_array_equal(given_, plain, err_msg=name)
        store = np.zeros((7, 6), dtype)
        store[:5] = x
        named(name, store[:5], args, kwargs, output=store[2:])
        np.testing.assert_array_equal(store[2:], plain, err_msg=name)
        turned = x.copy()
        named(name, turned, args, kwargs, output=turned[::-1])
        np.testing.assert_array_equal(turned[::-1], plain, err_msg=name)
        assert named(name, x, args, kwargs) is not x


@pytest.mark.parametrize("dtype", ["f8", "u1"])
@pytest.mark.parametrize(
    "output", ["float32", np.float64, slow(np.dtype("i2")), np.uint8, slow(int), bool, np.dtype(">f4")]
)
def test_other_types_of_output(dtype, output):
    x = abs(numbers((5, 6), dtype, 0)) % 16
    for name, args, kwargs in calls(x):
        if name.startswith("generic") or "tophat" in name:
            continue  # NumPy does not cast what these subtract or add
        if np.dtype(output) == bool and ("gauss" in name or dtype == "f8"):
            continue
        first, second = (
            functools.partial(getattr(module, name), x, *args, **kwargs, output=output) for module in (ours, scipy)
        )
        try:
            expected = second()
        except TypeError as error:
            with pytest.raises(TypeError):
                first()
            assert "cast" in str(error).lower()
            continue
        close = 1e-5 if np.dtype(output).kind == "f" else None
        if np.dtype(output).kind in "iu" and x.dtype.kind == "f" and name.startswith("uniform"):
            continue  # SciPy's sums run on along the axis: what is cut differs
        got = first()
        assert got.dtype == expected.dtype
        if close:
            np.testing.assert_allclose(got, expected, atol=close)
        else:
            check(got.astype(got.dtype.newbyteorder("=")), expected)


def test_a_list_as_output_is_made_an_array():
    np.testing.assert_array_equal(ours.correlate1d([1, 2, 3], [2], output=[0, 0, 0]), [2, 4, 6])


# ---- complex numbers


@pytest.mark.parametrize("dtype", representative(["c8", "c16"]))
@drawn
def test_complex_input_and_weights(dtype, data):
    x = data.draw(inputs(data.draw(st.sampled_from([dtype, "f4", "f8"])), ndim=(1, 3), sizes=(1, 6)))
    weights = numbers((3,) * x.ndim, data.draw(st.sampled_from([dtype, "f8"])), 1)
    mode, complex_x = data.draw(modes), x.dtype.kind == "c"
    cval = data.draw(st.sampled_from([0.0, 1.5, 2 - 1j] if complex_x else [0.0, 1.5]))
    single = x.dtype.name in ("complex64", "float32")
    bound = bound_of("f4" if single else "f8", (scipy.correlate(abs(x), abs(weights), None, mode, abs(cval)), 100))
    for name in ("correlate", "convolve"):
        check(*both(name, x, weights, None, mode, cval), bound.max())
    line = weights[(0,) * (x.ndim - 1)]
    bound = 8 * bound_of("f4" if single else "f8", (abs(x).max() + abs(cval), 30 * abs(line).sum()))
    for name in ("correlate1d", "convolve1d"):
        check(*both(name, x, line, 0, None, mode, cval), bound)
    if complex_x:
        check(*both("gaussian_filter", x, 1.5, 0, None, mode, cval), bound * 20)
        check(*both("uniform_filter", x, 3, None, mode, cval), bound * 20)
        check(*both("uniform_filter1d", x, 3, 0, None, mode, cval), bound * 20)
        check(*both("sobel", x, 0, None, mode, cval), bound * 64)
        check(*both("laplace", x, None, mode, cval), bound * 20)


def test_complex_results_in_place_and_elsewhere():
    x, w = numbers((6, 7), "c16", 0), numbers((3, 3), "c16", 1)
    for name, args in (
        ("correlate", (w,)),
        ("convolve1d", (w[0],)),
        ("uniform_filter", (3,)),
        ("gaussian_filter", (1,)),
    ):
        plain, inside = getattr(ours, name)(x, *args), x.copy()
        assert getattr(ours, name)(inside, *args, output=inside) is inside
        np.testing.assert_array_equal(inside, plain)
    real = x.real.copy()
    with pytest.warns(UserWarning, match="promoting specified output dtype to complex"):
        assert ours.correlate(x, w, output=np.float32).dtype == np.complex64
    with pytest.warns(UserWarning, match="promoting specified output dtype to complex"):
        assert ours.correlate(x, w.real, output=np.float32).dtype == np.complex64
    with pytest.warns(UserWarning, match="promoting specified output dtype to complex"):  # and each time
        assert ours.correlate(x, w.real, output=np.float32).dtype == np.complex64
    for refused in (real, "float64"):
        with pytest.raises(RuntimeError, match=r"output has dtype float64, expected a complex one"):
            ours.convolve1d(x, w[0], output=refused)
    with pytest.raises(RuntimeError, match=r"input has dtype complex128 and output float64, expected both real"):
        ours.gaussian_filter(x, 1, output=real)


# ---- shapes without elements, or without axes


def test_nothing_in_nothing_out():
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 3)):
        x = np.zeros(shape, "f4")
        for name, args, kwargs in calls(x):
            if "structure" in kwargs:
                continue
            out = np.empty(shape, "f8")
            got = named(name, x, args, kwargs)
            assert (got.shape, got.dtype) == (shape, x.dtype)
            assert named(name, x, args, kwargs, output=out) is out


def test_a_number_is_an_array_without_axes():
    x = np.array(5.0)
    for name, args, kwargs in [
        ("correlate", (2.0,), {}),
        ("convolve", (2.0,), {}),
        ("gaussian_filter", (1,), {}),
        ("uniform_filter", (3,), {}),
        ("maximum_filter", (3,), {}),
        ("maximum_filter", (), {"footprint": True}),
        ("laplace", (), {}),
        ("grey_erosion", (3,), {}),
        ("grey_erosion", (), {"structure": 2.0}),
    ]:
        check(*both(name, x, *args, **kwargs))
    wide = numbers((3, 4), "f8", 0)
    check(*both("correlate", wide, 3.0, axes=()))
    check(*both("gaussian_filter", wide, 1, axes=()))
    check(*both("gaussian_gradient_magnitude", wide, 1, axes=()))


def test_weights_of_zero_count_for_nothing():
    x = np.array([[1.0, np.inf, 2], [np.nan, 3, 4]])
    weights = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 0]])
    check(*both("correlate", x, weights))
    check(*both("correlate", x, np.zeros((3, 3))))
    np.testing.assert_array_equal(ours.correlate(np.ones((2, 2)), [[1e-20]]), np.full((2, 2), 1e-20))  # unlike SciPy


def test_what_is_not_finite_stays_in_its_windows():
    x = np.ones((9, 9))
    x[4, 4] = np.nan
    reached = np.zeros((9, 9), bool)
    reached[3:6, 3:6] = True
    for got in (ours.uniform_filter(x, 3), ours.maximum_filter(x, 3), ours.minimum_filter(x, 3)):
        np.testing.assert_array_equal(np.isnan(got), reached)


# ---- arguments


@pytest.mark.parametrize("name", ours.__all__)
def test_signatures_are_scipys(name):
    mine, theirs = (inspect.signature(getattr(module, name)).parameters.values() for module in (ours, scipy))
    assert [(p.name, p.kind, p.default) for p in mine] == [(p.name, p.kind, p.default) for p in theirs]


def test_the_filters_of_scipy_that_are_here():
    named_here = "correlate convolve uniform gaussian maximum minimum sobel prewitt laplace gradient grey tophat morpho"
    expected = {name for name in scipy.__all__ if any(word in name for word in named_here.split())}
    assert set(ours.__all__) == expected - {"fourier_gaussian", "fourier_uniform", "maximum", "minimum"} - {
        name for name in expected if "position" in name
    }


def test_calls_that_look_alike_are_told_apart():
    """1 equals 1.0 and True, 0.0 equals -0.0, a footprint has a structure's bytes: each means something else."""
    running.prepared.clear()
    x = np.zeros((4, 4))
    ours.gaussian_filter(x, 1.0, 1)
    with pytest.raises(TypeError, match=r"gaussian_filter\(\): order is 1.0, expected an int"):
        ours.gaussian_filter(x, 1.0, 1.0)
    ours.uniform_filter(x, 3, origin=1)
    with pytest.raises(TypeError, match=r"uniform_filter\(\): origin is 1.0, expected an int"):
        ours.uniform_filter(x, 3, origin=1.0)
    with pytest.raises(TypeError, match=r"origin is 1.0"):
        ours.uniform_filter(x, 3, origin=(1.0, 1))
    far = {"mode": "constant", "origin": (-1, -1)}
    for cval in (0.0, -0.0, 0, 1, 1.0, True):
        got = ours.maximum_filter(x - 5, footprint=[[1, 0], [0, 0]], mode="constant", cval=cval)
        assert got[0, 0] == cval
        assert np.signbit(got[0, 0]) == np.signbit(cval)
    with pytest.raises(TypeError, match=r"cval is \(1\+0j\), expected a real number"):
        ours.maximum_filter(x - 5, footprint=[[1, 0], [0, 0]], mode="constant", cval=1 + 0j)
    window = np.array([[1.0, 2], [3, 4]])
    for _ in range(2):
        check(*both("grey_erosion", x, footprint=window))
        check(*both("grey_erosion", x, structure=window))
        check(*both("grey_dilation", x, structure=window.astype("f4")))
        check(*both("correlate", x + 1, window, **far))
        check(*both("correlate", x + 1, window.T, **far))
        check(*both("correlate", x + 1, window.astype("f4"), **far))
        check(*both("convolve", x + 1, window))
    for sigma in (np.float32(0.7), np.float64(np.float32(0.7)), np.array([0.7, 0.8]), np.array([0.7, 0.8], "f4")):
        kept = len(running.prepared)
        check(*both("gaussian_filter", x, sigma), 1e-12)
        assert len(running.prepared) == kept + 1
    weights = np.array([1.0, 2.0])
    first = ours.correlate1d([1.0, 1.0, 1.0], weights)
    weights[0] = 5
    assert ours.correlate1d([1.0, 1.0, 1.0], weights)[1] == first[1] + 4


def test_kept_calls_look_at_shapes_strides_and_alignment():
    x = numbers((6, 6), "f8", 0)
    raw = np.zeros(x.nbytes + 1, "u1")
    crooked = raw[1:].view("f8").reshape(6, 6)
    crooked[...] = x
    assert not crooked.flags.aligned
    for view in (x, x.T, x[::-1], x[:3], np.broadcast_to(x[:1], (6, 6)), crooked, x.astype(">f8"), x.astype("f4")):
        check(*both("gaussian_filter", view, 1.0), 1e-6)
        check(*both("maximum_filter", view, 2))
    assert ours.gaussian_filter(x, 1.0, output=crooked) is crooked
    np.testing.assert_array_equal(crooked, ours.gaussian_filter(x, 1.0))


def test_kept_calls_look_at_where_output_lies():
    x = np.arange(60.0).reshape(6, 10)
    memory = np.zeros((8, 10))
    expected = scipy.uniform_filter(x, 3)
    for out in (memory[:6], memory[2:], np.zeros((10, 6)).T, np.zeros((6, 10), np.float32), np.zeros((6, 10), ">f8")):
        for _ in range(3):  # the first is prepared, the others are not
            out[:] = 0
            assert ours.uniform_filter(x, 3, output=out) is out
            np.testing.assert_allclose(out, expected, rtol=1e-6)
    for _ in range(2):  # of the same shapes, strides and dtypes
        memory[:6] = x
        ours.uniform_filter(memory[:6], 3, output=memory[2:])
        np.testing.assert_allclose(memory[2:], expected)
        memory[:6] = x
        ours.uniform_filter(memory[:6], 3, output=memory[:6])
        np.testing.assert_allclose(memory[:6], expected)
    out = np.zeros((6, 10))
    ours.uniform_filter(x, 3, output=out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="output is read-only"):
        ours.uniform_filter(x, 3, output=out)


def test_only_so_many_calls_are_kept(monkeypatch):
    monkeypatch.setattr(problem, "KEPT", 3)
    running.prepared.clear()
    for n in range(1, 12):
        ours.uniform_filter1d(np.zeros(20), n)
        assert len(running.prepared) <= 3
    big = np.ones((91, 91)) / 91**2  # such weights are no part of a key
    before = len(running.prepared)
    ours.convolve(np.ones((4, 4)), big)
    assert len(running.prepared) == before


@pytest.mark.parametrize("name", GREY[2:])
def test_a_size_beside_a_footprint_is_ignored_once(name):
    with pytest.warns(UserWarning, match="ignoring size because footprint is set") as caught:
        got = getattr(ours, name)(np.arange(9.0), 5, [1, 1, 1])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(got, getattr(ours, name)(np.arange(9.0), 3))
    with pytest.warns(UserWarning, match="ignoring size because footprint is set"):
        ours.maximum_filter(np.arange(9.0), 5, [1, 0, 1])


X = np.arange(12.0).reshape(3, 4)
HALF = X.astype("f2")


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "kind", "message"),
    [
        (
            "correlate",
            (X, [1, 2]),
            {},
            ValueError,
            r"weights\.ndim \(1\) must match len\(axes\) \(2\): weights has shape",
        ),
        (
            "correlate",
            (X, np.ones((2, 0))),
            {},
            ValueError,
            r"weights has shape \(2, 0\), expected a length of 1 or more",
        ),
        (
            "correlate1d",
            (X, []),
            {},
            ValueError,
            r"no filter weights given: weights has shape \(0,\), expected one dim",
        ),
        ("correlate1d", (X, [[1, 2]]), {}, ValueError, r"no filter weights given: weights has shape \(1, 2\)"),
        ("correlate", (X, [["a"]]), {}, ValueError, r"correlate\(\): weights has dtype <U1, expected numbers"),
        ("correlate", ([[1], [2, 3]], [[1]]), {}, ValueError, r"correlate\(\): input cannot be made an array"),
        (
            "correlate",
            (X, np.ones((3, 3))),
            {"origin": 2},
            ValueError,
            r"invalid origin: it is 2, expected -1 to 1 for a",
        ),
        ("convolve", (X, np.ones((2, 3))), {"origin": (1, 0)}, None, None),
        ("convolve1d", (X, [1, 2]), {"origin": 1}, None, None),
        ("uniform_filter", (X, 3), {"origin": 2}, ValueError, r"uniform_filter\(\): invalid origin"),
        ("maximum_filter", (X, 3), {"origin": "a"}, TypeError, r"origin is 'a', expected an int"),
        (
            "uniform_filter",
            (X, 3),
            {"origin": (0,)},
            ValueError,
            r"origin is \(0,\), expected one, or one for each of 2",
        ),
        ("gaussian_filter", (X, (1, 2, 3)), {}, ValueError, r"sequence argument must have length equal to input rank"),
        (
            "correlate",
            (X, np.ones((3, 3))),
            {"mode": ("wrap", "wrap")},
            ValueError,
            r"mode is .*, expected one for all",
        ),
        ("maximum_filter", (X,), {"footprint": [[0, 1]], "mode": ["wrap"]}, ValueError, r"expected one for all axes"),
        (
            "uniform_filter",
            (X, 3),
            {"mode": "junk"},
            ValueError,
            r"mode is 'junk', expected one of 'reflect', 'grid-mi",
        ),
        ("correlate1d", (X, [1, 2]), {"mode": 4}, ValueError, r"correlate1d\(\): mode is 4, expected one of"),
        (
            "correlate1d",
            (X, [1, 2]),
            {"axis": 2},
            ValueError,
            r"correlate1d\(\): axis 2 is out of range, expected one of",
        ),
        ("correlate1d", (X, [1, 2]), {"axis": 2}, IndexError, r"axis 2 is out of range"),
        ("sobel", (X,), {"axis": 0.0}, None, None),
        (
            "correlate1d",
            (X, [1, 2]),
            {"axis": 1.0},
            TypeError,
            r"axis is 1.0, expected an int: it cannot be interpreted",
        ),
        ("laplace", (X,), {"axes": (0, 2)}, ValueError, r"laplace\(\): axes 2 is out of range"),
        ("laplace", (X,), {"axes": (0, -2)}, ValueError, r"laplace\(\): axes must be unique, but are \(0, -2\)"),
        ("laplace", (X,), {"axes": "ab"}, TypeError, r"axes is 'ab', expected an int"),
        ("laplace", (X,), {"axes": object()}, ValueError, r"axes is <object .*>, expected None, an int or several"),
        ("uniform_filter1d", (X, 0), {}, ValueError, r"incorrect filter size: it is 0, expected 1 or more"),
        ("minimum_filter1d", (X, 2.0), {}, TypeError, r"size is 2.0, expected an int"),
        ("maximum_filter", (X, "a"), {}, TypeError, r"size is 'a', expected a number"),
        ("uniform_filter", (X, np.inf), {}, OverflowError, r"size is inf, expected a finite number"),
        ("gaussian_filter", (X, "a"), {}, TypeError, r"sigma is 'a', expected a number"),
        ("gaussian_filter", (X, np.inf), {}, OverflowError, r"sigma is inf and truncate 4.0, expected finite numbers"),
        ("gaussian_filter1d", (X, 0), {}, ZeroDivisionError, r"sigma is 0, expected a number whose square is above 0"),
        ("gaussian_filter1d", (X, -1), {}, ValueError, r"radius is -3, expected a nonnegative integer"),
        ("gaussian_filter", (X, 1), {"radius": 1.0}, ValueError, r"radius is 1.0, expected a nonnegative integer"),
        ("gaussian_filter", (X, 1, -1), {}, ValueError, r"order must be non-negative, but is -1"),
        ("gaussian_filter", (X, 1, 1.5), {}, TypeError, r"order is 1.5, expected an int"),
        ("gaussian_filter", (X, 1), {"truncate": "a"}, TypeError, r"truncate is 'a', expected a number"),
        ("correlate1d", (X, [1, 2]), {"cval": 1j}, TypeError, r"cval is 1j, expected a real number"),
        ("correlate1d", (X, [1, 2]), {"cval": "a"}, TypeError, r"cval is 'a', expected a real number"),
        ("correlate1d", (X + 1j, [1, 2]), {"cval": None}, TypeError, r"cval is None, expected a number"),
        ("correlate1d", (X, [1, 2]), {"cval": 10**400}, OverflowError, r"expected a number that a float holds"),
        ("maximum_filter", (X,), {}, ValueError, r"no footprint provided, and no size: expected one of them"),
        (
            "maximum_filter",
            (X,),
            {"footprint": [[0, 0]]},
            ValueError,
            r"All-zero footprint is not supported, expected an",
        ),
        (
            "maximum_filter",
            (X,),
            {"footprint": [1, 0]},
            ValueError,
            r"footprint\.ndim \(1\) must match len\(axes\) \(2\)",
        ),
        (
            "maximum_filter",
            (X + 1j, 3),
            {},
            TypeError,
            r"input has dtype complex128, expected real numbers: complex type",
        ),
        ("grey_closing", (X + 1j, 3), {}, TypeError, r"grey_closing\(\): input has dtype complex128"),
        (
            "grey_erosion",
            (X,),
            {},
            ValueError,
            r"grey_erosion\(\): size, footprint and structure are None, expected one",
        ),
        ("grey_dilation", (X, 2.5), {}, TypeError, r"size is 2.5, expected an int"),
        (
            "correlate1d",
            (HALF, [1, 2]),
            {},
            RuntimeError,
            r"input has dtype float16, expected bool, an integer, float32",
        ),
        ("correlate", (HALF, [[1, 2]]), {}, TypeError, r"input has dtype float16, expected bool, an integer, float32"),
        ("maximum_filter", (X.astype(object), 3), {}, RuntimeError, r"input has dtype object, expected bool"),
        ("correlate", (X, [[1]]), {"output": np.longdouble}, RuntimeError, r"output has dtype (float128|longdouble)"),
        ("correlate", (X, [[1]]), {"output": complex}, RuntimeError, r"input has dtype float64 and output complex128"),
        (
            "correlate",
            (X, [[1]]),
            {"output": X[:2].copy()},
            ValueError,
            r"output has shape \(2, 4\), expected the input's",
        ),
        ("correlate", (X, [[1]]), {"output": "bool"}, ValueError, r"output is 'bool', expected a numeric dtype"),
        (
            "correlate",
            (X, [[1]]),
            {"output": np.broadcast_to(0.0, (3, 4))},
            ValueError,
            r"output is read-only, expected",
        ),
        ("gaussian_gradient_magnitude", (X, 1), {"junk": 3}, TypeError, r"unexpected keyword argument 'junk'"),
    ],
)
def test_errors(name, args, kwargs, kind, message):
    """Each is of SciPy's kind, too; `None`: SciPy's kind alone is looked at."""
    refusal = getattr(scipy, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            refusal(*args, **kwargs)
        except Exception as error:
            theirs = next(c for c in type(error).__mro__ if c.__module__ == "builtins" or "AxisError" in c.__name__)
        else:
            theirs = None
    if theirs is None:
        getattr(ours, name)(*args, **kwargs)
        return
    with pytest.raises(theirs, match=rf"{message}" if message else None):
        getattr(ours, name)(*args, **kwargs)
    if kind is not None:
        with pytest.raises(kind, match=rf"^{name}\(\): |unexpected|gaussian_filter"):
            getattr(ours, name)(*args, **kwargs)


def test_what_crashes_scipy_is_refused():
    """Its process, or its own arithmetic."""
    with pytest.raises(ValueError, match=r"structure\.ndim \(1\) must match len\(axes\) \(2\): structure has shape"):
        ours.grey_dilation(X, structure=[1, 0])
    with pytest.raises(ValueError, match=r"size is \(3,\), expected one, or one for each of 2 axes"):
        ours.grey_dilation(X, (3,))
    with pytest.raises(ValueError, match="All-zero footprint is not supported"):
        ours.grey_erosion(X, footprint=np.zeros((2, 2)), structure=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"structure has shape \(2, 2\), expected the footprint's \(2, 3\)"):
        ours.grey_dilation(X, structure=np.ones((2, 2)), footprint=np.ones((2, 3)))


# ---- SciPy's own tests

PLUGIN = """
import fastconv.ndimage as ours
from scipy import ndimage
from scipy._lib._array_api import xp_capabilities_table as known

for name in ours.__all__:
    function = getattr(ours, name)
    known[function] = known[getattr(ndimage, name)]
    setattr(ndimage, name, function)
"""


@pytest.mark.slow
def test_scipys_tests_pass(tmp_path):
    """Those about filters and grey morphology; but for two, which ask of sums in float32 what those in float64 have."""
    (tmp_path / "ours_for_scipys.py").write_text(PLUGIN)
    options = ["-q", "-p", "no:cacheprovider", "-p", "ours_for_scipys", "-c", "/dev/null", "--rootdir"]
    modules = "scipy.ndimage.tests.test_filters", "scipy.ndimage.tests.test_morphology"
    options[:0] = ["-k", "not test_gauss03 and not test_gauss_memory_overlap"]
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = run("-m", "pytest", *options, tmp_path, "--pyargs", *modules, cwd=tmp_path, PYTHONPATH=path, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 3000
