"""Pools, filters and patches called from users' own compiled code: the bits and the errors of the call from Python."""

import functools
from importlib.metadata import entry_points

import numba
import numpy as np
import pytest
from cases import LAYOUTS, representative, slow, ties, values
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import extending

if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    extending.init()

# Each takes an array and numbers that may change from call to call: kernel, stride, dilation, pads, whether to ceil.
FUNCTIONS = {
    "max": lambda x, k, s, d, p, c: fastconv.max_pool2d(
        x, k, stride=s, dilation=d, padding_spec=p, ceil_mode=c, return_indices=True
    ),
    "min": lambda x, k, s, d, p, c: fastconv.min_pool2d(x, k, stride=s, dilation=d, padding_spec=p, ceil_mode=c),
    "mean": lambda x, k, s, d, p, c: fastconv.avg_pool2d(x, k, stride=s, dilation=d, padding_spec=p, ceil_mode=c),
    "mean of real elements": lambda x, k, s, d, p, c: fastconv.avg_pool2d(
        x, k, stride=s, dilation=d, padding_spec=p, ceil_mode=c, count_include_pad=False
    ),
    "patches": lambda x, k, s, d, p, c: fastconv.extract_patches(x, k, stride=s, dilation=d, padding=p),
    "im2col": lambda x, k, s, d, p, c: fastconv.im2col(x, k, stride=s, dilation=d, padding=p),
}
NUMBERS = numba.types.UniTuple(numba.int64, 2)
OPTIONS = (NUMBERS, NUMBERS, NUMBERS, numba.types.UniTuple(NUMBERS, 2), numba.boolean)


def strided(dtype, ndim):
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "A")


@functools.cache
def compiled(name, dtype):
    return numba.njit((strided(dtype, 4), *OPTIONS))(FUNCTIONS[name])


def same(got, want):
    got, want = (each if isinstance(each, tuple) else (each,) for each in (got, want))
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.flags.c_contiguous
        np.testing.assert_array_equal(mine, theirs)


def agrees(function, *arguments):
    """Both answer alike, or refuse in the same words."""
    try:
        want = function.py_func(*arguments)
    except ValueError as error:
        with pytest.raises(ValueError) as raised:
            function(*arguments)
        assert str(raised.value) == str(error)
        return False
    same(function(*arguments), want)
    return True


pairs = st.tuples(st.integers(-1, 3), st.integers(-1, 3))


@pytest.mark.parametrize(
    "name, dtype", [*((name, "f4") for name in FUNCTIONS), slow(("max", "i2")), slow(("mean", "i2"))]
)
@given(
    st.tuples(*[st.integers(0, 3), st.sampled_from([0, 1, 2, 9, 70]), st.integers(0, 9), st.integers(0, 40)]),
    st.tuples(st.integers(0, 4), st.integers(0, 5)),
    pairs,
    pairs,
    st.tuples(pairs, pairs),
    st.booleans(),
    st.sampled_from([layout for layout in LAYOUTS if layout not in ("unaligned", "byteswapped")]),
)
@settings(max_examples=150)
def test_numbers_of_all_sorts(name, dtype, shape, kernel, stride, dilation, pads, ceil, layout):
    x = LAYOUTS[layout](ties(shape, dtype))
    agrees(compiled(name, dtype), x, kernel, stride, dilation, pads, ceil)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (1, 1), (7, 7), (2, 40)])
def test_planes_of_a_network(name, kernel):
    for shape in ((2, 3, 33, 40), (1, 70, 7, 40)):
        for layout in ("contiguous", "channels_last", "stepped"):
            x = LAYOUTS[layout](values(shape, "f4"))
            assert agrees(compiled(name, "f4"), x, kernel, (2, 2), (1, 1), ((0, 0), (0, 0)), False)


@numba.njit
def defaults(x):
    return (
        fastconv.max_pool2d(x, 2),
        fastconv.avg_pool2d(x, (2, 3), padding_spec="same"),
        fastconv.min_pool2d(x, 2, stride=1, padding_spec="full", ceil_mode=True),
        fastconv.max_pool1d(x[0], 3),
        fastconv.avg_pool3d(x[None], 2),
        fastconv.min_pool3d(x[:, None], (1, 2, 2)),
        fastconv.maximum_filter(x, (2, 2)),
        fastconv.minimum_filter(x, (1, 1, 2, 2), stride=1),
        fastconv.uniform_filter(x[0, 0, 0], (2,)),
        fastconv.im2col(x, 2),
        fastconv.extract_patches(x, (2,), padding=1),
    )


@pytest.mark.parametrize("dtype", representative(["f8", "u1", "i8"]))
def test_defaults_names_and_ranks(dtype):
    x = values((2, 3, 8, 9), dtype)
    same(defaults(x), defaults.py_func(x))


def test_complex_means():
    function = numba.njit(lambda x: (fastconv.avg_pool2d(x, 2), fastconv.uniform_filter(x, (2, 3))))
    x = values((2, 3, 8, 9), "c8")
    same(function(x), function.py_func(x))


@numba.njit
def round_trip(x, kernel, stride, pads):
    patches = fastconv.extract_patches(x, kernel, stride=stride, padding=pads)
    columns = fastconv.im2col(x, kernel, stride=stride, padding=pads)
    size = x.shape[2:]
    return (
        fastconv.combine_patches(patches, size, kernel, stride=stride, padding=pads),
        fastconv.col2im(columns, size, kernel, stride=stride, padding=pads),
        fastconv.col2im(columns[::-1, :, ::-1], size, kernel, stride=stride, padding=pads),
    )


@pytest.mark.parametrize("dtype", ["f4", "u1"])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 2), (0, 1))])
def test_columns_are_put_back(dtype, pads):
    x = values((2, 3, 8, 9), dtype)
    same(round_trip(x, (2, 3), (2, 1), pads), round_trip.py_func(x, (2, 3), (2, 1), pads))


@numba.njit
def to_columns(columns, size, kernel, stride):
    return fastconv.col2im(columns, size, kernel, stride=stride)


@numba.njit
def to_patches(patches, size, kernel, stride):
    return fastconv.combine_patches(patches, size, kernel, stride=stride)


@pytest.mark.parametrize(
    "shape, size, kernel, stride",
    [
        ((2, 7, 6), (3, 4), (2, 2), (1, 1)),  # rows that are no multiple of the taps
        ((2, 8, 5), (3, 4), (2, 2), (1, 1)),
        ((2, 8, 6), (-3, 4), (2, 2), (1, 1)),
        ((2, 8, 6), (3, 4), (0, 2), (1, 1)),
        ((2, 8, 6), (3, 4), (2, 2), (0, 1)),
        ((2, 8, 6), (3, 4), (1 << 40, 1 << 40), (1, 1)),
        ((2, 8, 6), (1 << 40, 1 << 40), (2, 2), (1, 1)),
        ((2, 0, 6), (3, 4), (2, 2), (1, 1)),
        ((2, 8, 6), (3, 4), (2, 2), (1, 1)),
    ],
)
def test_columns_that_do_not_fit(shape, size, kernel, stride):
    fits = agrees(to_columns, np.ones(shape), size, kernel, stride)
    assert fits == (
        min(size) > 0 and max(size) < 9 and shape in ((2, 8, 6), (2, 0, 6)) and kernel == (2, 2) and stride == (1, 1)
    )
    agrees(to_patches, np.ones((shape[0], shape[1] // 4, 4, shape[2])), size, kernel, stride)
    agrees(to_patches, np.ones(shape[:2]), size, kernel, stride)


@numba.njit
def unpooled(values, indices, kernel, stride, pads):
    return fastconv.max_unpool2d(values, indices, kernel, stride=stride, padding_spec=pads)


@numba.njit
def unpooled_to(values, indices, size):
    return fastconv.max_unpool2d(values, indices, 2, output_size=size)


@pytest.mark.parametrize("dtype, index", [("f4", "i8"), slow(("i2", "u2"))])
def test_unpooling(dtype, index):
    x = values((2, 3, 8, 9), dtype)
    pooled, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    indices = indices.astype(index)
    assert agrees(unpooled, pooled, indices, (2, 3), (2, 2), ((0, 0), (0, 0)))
    assert agrees(unpooled_to, pooled, indices, (8, 9))
    assert agrees(unpooled_to, pooled[:, :, ::-1], indices[:, :, ::-1], x.shape)
    assert agrees(unpooled_to, pooled, indices, 9)
    assert not agrees(unpooled_to, pooled, indices, (2, 2, 8, 9))
    assert not agrees(unpooled_to, pooled, indices, (3, 9))
    assert not agrees(unpooled_to, pooled, indices, (-1, 9))
    assert not agrees(unpooled_to, pooled, indices[:1], (8, 9))
    for kernel, stride, pads in (
        ((0, 2), (2, 2), ((0, 0), (0, 0))),
        ((2, 2), (2, -1), ((0, 0), (0, 0))),
        ((2, 2), (2, 2), ((9, 9), (0, 0))),
        ((1 << 62, 2), (2, 2), ((0, 0), (0, 0))),
        ((2, 2), (1 << 62, 2), ((0, 0), (0, 0))),
        ((2, 2), (2, 2), ((-1, 0), (0, 0))),
    ):
        assert not agrees(unpooled, pooled, indices, kernel, stride, pads)


def test_numbers_near_the_end_of_64_bits():
    """One rule says what is too far, for the interpreter's integers, too."""
    x, far = np.ones((1, 1, 2, 2)), 1 << 59
    indices = np.zeros(x.shape, np.int64)
    assert agrees(unpooled, x, indices, (1, 1), (far, 1), ((far - 1, 0), (0, 0)))
    for beyond in (4 * far, (1 << 63) - 1):
        assert not agrees(unpooled, x, indices, (1, 1), (beyond, 1), ((beyond - 1, 0), (0, 0)))


def test_an_index_outside_of_the_result():
    x, indices = np.ones((1, 2, 2, 2)), np.zeros((1, 2, 2, 2), np.int64)
    for bad in (16, -1, 1 << 40):
        indices[0, 1, 0, 1] = bad
        assert not agrees(unpooled, x, indices, (2, 2), (2, 2), ((0, 0), (0, 0)))


def test_a_window_over_no_axes():
    function = numba.njit(lambda x: (fastconv.maximum_filter(x, ()), fastconv.extract_patches(x, ())))
    x = values((2, 3), "f4")
    same(function(x), function.py_func(x))


@numba.njit(parallel=True)
def in_prange(images):
    out = np.empty((images.shape[0], 3, 16, 16), np.float32)
    for i in numba.prange(images.shape[0]):
        out[i] = fastconv.max_pool2d(images[i : i + 1], 2)[0]
    return out


@pytest.mark.slow
def test_inside_prange():
    images = values((16, 3, 32, 32), "f4")
    np.testing.assert_array_equal(in_prange(images), fastconv.max_pool2d(images, 2))


def test_elements_that_lie_between_addresses_of_their_type_are_refused():
    with pytest.raises(ValueError, match="an array's elements do not lie where their type may"):
        numba.njit(lambda x: fastconv.max_pool2d(x, 2))(LAYOUTS["unaligned"](values((1, 1, 4, 4), "f4")))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: fastconv.max_pool2d(x + 0j, 2), "x has dtype complex128, which has no order"),
        (lambda x: fastconv.max_pool1d(x, 2), "x has 4 dimensions, expected 3"),
        (lambda x: fastconv.max_pool2d(x, 2, return_indices=x.shape[0] > 1), "return_indices is a variable"),
        (lambda x: fastconv.max_pool2d(x, 2.5), "kernel_size is float64, expected an int or 2 of them"),
        (lambda x: fastconv.max_pool2d(x, 2, padding_spec="mid"), "padding_spec is 'mid', expected 'valid'"),
        (lambda x: fastconv.avg_pool2d(x, 2, ceil_mode=0.5), "ceil_mode is float64, expected a bool"),
        (lambda x: fastconv.maximum_filter(x, 2), "kernel_size is 2, expected a tuple"),
        (lambda x: fastconv.maximum_filter(x, (2,) * 5), "x has 4 dimensions, expected at least 5"),
        (lambda x: fastconv.extract_patches(x, x.shape[0]), "kernel_size is int64, expected a tuple"),
        (lambda x: fastconv.col2im(x, (2,), 2), "cols has 4 dimensions, expected 3"),
        (lambda x: fastconv.combine_patches(x, (2,), (2, 2)), "kernel_size is .*, expected 1 ints"),
        (lambda x: fastconv.max_unpool2d(x, x, 2), "indices has dtype float64, expected integers"),
    ],
)
def test_what_types_tell_is_a_typing_error(call, words):
    with pytest.raises(numba.TypingError, match=words):
        numba.njit(call)(np.ones((1, 1, 4, 4)))
