"""Patches and columns against the oracle, the order of rows by hand, and the adjoint."""

import itertools

import numpy as np
import pytest
from cases import check_windows, rng, values

import fastconv

OPTIONS = [
    {},
    {"stride": 2},
    {"stride": (2, 3)},
    {"dilation": 2},
    {"dilation": [1, 2]},
    {"padding": 1},
    {"padding": (0, 2)},
    {"padding": ((1, 0), (2, 3))},
    {"stride": 2, "dilation": (2, 1), "padding": ((0, 3), (1, 1))},
]
options_ = pytest.mark.parametrize("options", OPTIONS, ids=str)


@options_
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 2)], ids=str)
def test_extract_and_combine(options, lead):
    x = values((*lead, 6, 7), "f4")
    patches = check_windows("extract_patches", x, (3, 2), **options)
    check_windows("combine_patches", patches, (6, 7), (3, 2), **options)


@options_
@pytest.mark.parametrize("kernel", [2, (3, 2), (1, 1)], ids=str)
def test_columns(options, kernel):
    x = values((2, 3, 6, 7), "f4")
    columns = check_windows("im2col", x, kernel, **options)
    check_windows("col2im", columns, (6, 7), kernel, **options)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_ranks(rank):
    shape, kernel = (4, 3, 4, 3)[:rank], (2, 1, 3, 2)[:rank]
    x = values((2, 2, *shape), "f8")
    patches = check_windows("extract_patches", x, kernel, stride=2, padding=1)
    check_windows("combine_patches", patches, shape, kernel, stride=2, padding=1)
    columns = check_windows("im2col", x, kernel, padding=1)
    check_windows("col2im", columns, shape, kernel, padding=1)


def test_the_order_of_rows_and_columns():
    x = np.arange(1, 10).reshape(3, 3)
    want = [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    np.testing.assert_array_equal(fastconv.extract_patches(x, (2, 2)), want)
    two = np.stack([x, 10 * x])[None]
    np.testing.assert_array_equal(fastconv.im2col(two, 2)[0], [*want, *(10 * np.array(want)).tolist()])


def test_overlaps_add():
    got = fastconv.combine_patches(np.ones((4, 4), int), (3, 3), (2, 2))
    np.testing.assert_array_equal(got, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    got = fastconv.col2im(np.arange(1.0, 7)[None].reshape(1, 2, 3), (4,), 2)
    np.testing.assert_array_equal(got[0, 0], [1, 2 + 4, 3 + 5, 6])


def test_padding_is_zero_and_what_falls_into_it_is_dropped():
    np.testing.assert_array_equal(fastconv.extract_patches(np.array([7, 8]), (2,), padding=1), [[0, 7, 8], [7, 8, 0]])
    np.testing.assert_array_equal(fastconv.combine_patches(np.ones((2, 3)), (2,), (2,), padding=1), [2, 2])


def test_a_window_over_no_axes_holds_one_element():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(fastconv.extract_patches(x, ()), x[..., None, None])
    np.testing.assert_array_equal(fastconv.combine_patches(x[..., None, None], (), ()), x)
    for name in ("maximum_filter", "minimum_filter", "uniform_filter"):
        np.testing.assert_array_equal(getattr(fastconv, name)(x, ()), x)


def test_elements_that_no_patch_holds_stay_zero():
    got = fastconv.combine_patches(np.ones((2, 2)), (7,), (2,), stride=3)
    np.testing.assert_array_equal(got, [1, 1, 0, 1, 1, 0, 0])


@options_
def test_combine_is_the_adjoint_of_extract(options):
    """<extract(x), y> = <x, combine(y)>, in integers and thus exactly."""
    x = rng(1).integers(-99, 99, (2, 6, 7))
    patches = fastconv.extract_patches(x, (3, 2), **options)
    y = rng(2).integers(-99, 99, patches.shape)
    assert (patches * y).sum() == (x * fastconv.combine_patches(y, (6, 7), (3, 2), **options)).sum()


def test_a_product_with_columns_is_a_correlation():
    x, w = rng(3).integers(-9, 9, (2, 3, 6, 7)), rng(4).integers(-9, 9, (4, 3, 3, 2))
    for stride, dilation, padding in itertools.product([1, 2], [1, 2], [0, (1, 2)]):
        columns = fastconv.im2col(x, (3, 2), stride=stride, dilation=dilation, padding=padding)
        got = fastconv.correlate2d(x, w, stride=stride, dilation=dilation, padding_mode=padding)
        np.testing.assert_array_equal(got.reshape(2, 4, -1), w.reshape(4, -1) @ columns)


@pytest.mark.parametrize(
    "shape, kernel, padding",
    [((0, 5), (2,), 0), ((3, 0), (2,), 0), ((3, 0), (2,), 1), ((3, 0), (2,), 3), ((2, 0, 4), (3, 2), ((1, 1), (0, 0)))],
    ids=str,
)
def test_empty_inputs_follow_the_formula(shape, kernel, padding):
    x = np.zeros(shape, "f4")
    patches = check_windows("extract_patches", x, kernel, padding=padding)
    check_windows("combine_patches", patches, shape[len(shape) - len(kernel) :], kernel, padding=padding)


def test_infinities_and_nans_stay_where_they_are():
    x = values((1, 1, 5, 5), "f4")
    x[0, 0, 2, 2], x[0, 0, 0, 4] = np.nan, np.inf
    columns = check_windows("im2col", x, 2, padding=1)
    check_windows("col2im", columns, (5, 5), 2, padding=1)


@pytest.mark.parametrize("size", [15, 16, 17, 33, 65])
def test_sizes_around_vector_widths(size):
    x = values((2, 4, size), "f4")
    patches = check_windows("extract_patches", x, (2, 3), stride=(1, 2), padding=1)
    check_windows("combine_patches", patches, (4, size), (2, 3), stride=(1, 2), padding=1)
