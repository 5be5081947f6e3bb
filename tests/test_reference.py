"""Worked examples as numbers: the reference's own, and others that a pencil settles."""

import numpy as np
import pytest

import fastconv

NINE = np.arange(1.0, 10).reshape(1, 1, 3, 3)
SIXTEEN = np.arange(1.0, 17).reshape(1, 1, 4, 4)
ONES = np.ones((1, 1, 2, 2))


def row(*numbers):
    return np.array(numbers, float)[None, None]


def test_convolve1d():
    np.testing.assert_array_equal(fastconv.convolve1d(row(1, 2, 3, 4, 5), row(1, 0, -1)), row(2, 2, 2))


def test_correlate1d():
    np.testing.assert_array_equal(fastconv.correlate1d(row(1, 2, 3, 4, 5), row(1, 0, -1)), row(-2, -2, -2))


def test_convolve2d_same_puts_the_odd_element_before():
    got = fastconv.convolve2d(NINE, ONES, padding_mode="same")
    np.testing.assert_array_equal(got[0, 0], [[1, 3, 5], [5, 12, 16], [11, 24, 28]])


def test_correlate2d_same_puts_the_odd_element_after():
    got = fastconv.correlate2d(NINE, ONES, padding_mode="same")
    np.testing.assert_array_equal(got[0, 0], [[12, 16, 9], [24, 28, 15], [15, 17, 9]])


def test_full_and_valid():
    got = fastconv.convolve2d(NINE, ONES, padding_mode="full")
    np.testing.assert_array_equal(got[0, 0], [[1, 3, 5, 3], [5, 12, 16, 9], [11, 24, 28, 15], [7, 15, 17, 9]])
    np.testing.assert_array_equal(fastconv.convolve2d(NINE, ONES)[0, 0], [[12, 16], [24, 28]])


@pytest.mark.parametrize("operation", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize(
    "x, w, taps",
    [
        ((1, 1, 4, 4), (1, 1, 3, 3), 9),
        ((1, 1, 8, 8), (1, 1, 3, 3), 9),
        ((1, 4, 16, 16), (8, 4, 3, 3), 36),
        ((1, 8, 32, 32), (16, 8, 3, 3), 72),
        ((1, 4, 16, 16), (8, 4, 5, 5), 100),
        ((4, 4, 16, 16), (8, 4, 3, 3), 36),
    ],
    ids=str,
)
def test_the_six_sizes_of_the_benchmark(operation, x, w, taps):
    """All ones, as there: every output counts its taps."""
    got = getattr(fastconv, operation)(np.ones(x, np.float32), np.ones(w, np.float32))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.full((x[0], w[0], x[2] - w[2] + 1, x[3] - w[3] + 1), taps))


def test_the_kernel_is_flipped_over_both_axes():
    w = np.array([[[[1.0, 2], [3, 4]]]])
    # 1*1 + 2*2 + 4*3 + 5*4 = 37 as it is; 1*4 + 2*3 + 4*2 + 5*1 = 23 flipped
    np.testing.assert_array_equal(fastconv.correlate2d(NINE, w)[0, 0], [[37, 47], [67, 77]])
    np.testing.assert_array_equal(fastconv.convolve2d(NINE, w)[0, 0], [[23, 33], [53, 63]])


def test_stride_and_dilation():
    x = row(1, 2, 3, 4, 5, 6, 7)
    np.testing.assert_array_equal(fastconv.correlate1d(x, row(1, 10), stride=2), row(21, 43, 65))
    np.testing.assert_array_equal(fastconv.correlate1d(x, row(1, 10), dilation=3), row(41, 52, 63, 74))
    np.testing.assert_array_equal(fastconv.convolve1d(x, row(1, 10), dilation=3), row(14, 25, 36, 47))
    np.testing.assert_array_equal(fastconv.correlate1d(x, row(1, 10, 100), stride=3, dilation=2), row(531))
    assert fastconv.correlate2d(SIXTEEN, ONES, stride=(2, 1)).tolist() == [[[[14, 18, 22], [46, 50, 54]]]]
    assert fastconv.correlate2d(SIXTEEN, ONES, dilation=(1, 3)).tolist() == [[[[18], [34], [50]]]]


def test_groups():
    x = np.array([[[1.0, 2, 3], [10, 20, 30]]])
    w = np.array([[[1.0, 1]], [[1, -1]], [[2, 0]], [[0, 2]]])
    got = fastconv.correlate1d(x, w, groups=2)
    np.testing.assert_array_equal(got, [[[3, 5], [-1, -1], [20, 40], [40, 60]]])
    both = fastconv.correlate1d(x, np.array([[[1.0, 1], [0, 1]]]))
    np.testing.assert_array_equal(both, [[[3 + 20, 5 + 30]]])


def test_bias_and_activation():
    x, w = row(1, 2, 3), np.array([[[1.0, -2]], [[2.0, 1]]])
    got = fastconv.correlate1d(x, w, bias=np.array([1, 0.5]))
    np.testing.assert_array_equal(got, [[[-2, -3], [4.5, 7.5]]])
    got = fastconv.correlate1d(x, w, bias=np.array([1, 0.5]), activation="relu6")
    np.testing.assert_array_equal(got, [[[0, 0], [4.5, 6]]])


@pytest.mark.parametrize(
    "boundary, padded",
    [
        ("constant", [9, 9, 9, 1, 2, 3, 9, 9, 9, 9]),
        ("edge", [1, 1, 1, 1, 2, 3, 3, 3, 3, 3]),
        ("reflect", [2, 3, 2, 1, 2, 3, 2, 1, 2, 3]),
        ("symmetric", [3, 2, 1, 1, 2, 3, 3, 2, 1, 1]),
        ("wrap", [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]),
    ],
)
def test_what_a_boundary_holds(boundary, padded):
    """Through a kernel of one 1, with pads as wide as the input and wider."""
    got = fastconv.correlate1d(row(1, 2, 3), row(1), padding_mode=((3, 4),), boundary=boundary, fillvalue=9)
    np.testing.assert_array_equal(got, row(*padded))


def test_a_globe_wraps_in_longitude_and_reflects_in_latitude():
    got = fastconv.correlate2d(NINE, np.ones((1, 1, 1, 1)), padding_mode=1, boundary=("reflect", "wrap"))
    want = [[6, 4, 5, 6, 4], [3, 1, 2, 3, 1], [6, 4, 5, 6, 4], [9, 7, 8, 9, 7], [6, 4, 5, 6, 4]]
    np.testing.assert_array_equal(got[0, 0], want)


def test_three_axes():
    x = np.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert fastconv.correlate3d(x, np.ones((1, 1, 2, 2, 2))).tolist() == [[[[[28]]]]]
    w = np.zeros((1, 1, 2, 2, 2))
    w[0, 0, 0, 0, 1] = 1
    assert fastconv.correlate3d(x, w).ravel().tolist() == [1]
    assert fastconv.convolve3d(x, w).ravel().tolist() == [6]


def test_pools():
    assert fastconv.max_pool2d(SIXTEEN, 2).tolist() == [[[[6, 8], [14, 16]]]]
    assert fastconv.min_pool2d(SIXTEEN, 2).tolist() == [[[[1, 3], [9, 11]]]]
    assert fastconv.avg_pool2d(SIXTEEN, 2).tolist() == [[[[3.5, 5.5], [11.5, 13.5]]]]
    best, at = fastconv.max_pool2d(SIXTEEN, 2, return_indices=True)
    assert at.tolist() == [[[[5, 7], [13, 15]]]]
    back = fastconv.max_unpool2d(best, at, 2)
    assert back.tolist() == [[[[0, 0, 0, 0], [0, 6, 0, 8], [0, 0, 0, 0], [0, 14, 0, 16]]]]
    assert fastconv.max_pool1d(row(1, 3, 2, 5, 4), 2, stride=1).tolist() == [[[3, 3, 5, 5]]]
    assert fastconv.max_pool1d(row(1, 3, 2, 5, 4), 2, ceil_mode=True).tolist() == [[[3, 5, 4]]]
    assert fastconv.avg_pool1d(row(1, 3, 2, 5, 4), 2, ceil_mode=True).tolist() == [[[2, 3.5, 4]]]


def test_patches():
    x = np.arange(1, 5)
    assert fastconv.extract_patches(x, (2,)).tolist() == [[1, 2, 3], [2, 3, 4]]
    assert fastconv.combine_patches(fastconv.extract_patches(x, (2,)), (4,), (2,)).tolist() == [1, 4, 6, 4]
    assert fastconv.im2col(SIXTEEN, 2, stride=2).tolist() == [
        [[1, 3, 9, 11], [2, 4, 10, 12], [5, 7, 13, 15], [6, 8, 14, 16]]
    ]


def test_filters():
    x = SIXTEEN[0, 0]
    assert fastconv.maximum_filter(x, (2, 2)).tolist() == [[6, 8], [14, 16]]
    assert fastconv.minimum_filter(x, (2, 2)).tolist() == [[1, 3], [9, 11]]
    assert fastconv.uniform_filter(x, (2, 2)).tolist() == [[3.5, 5.5], [11.5, 13.5]]
    assert fastconv.uniform_filter(x, (4,), stride=1).tolist() == [[2.5], [6.5], [10.5], [14.5]]
