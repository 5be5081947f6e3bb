"""The three filters: windows over the last axes, next to each other unless a stride says otherwise."""

import numpy as np
import pytest
from cases import check_windows, ties, values

import fastconv

FILTERS = ["maximum_filter", "minimum_filter", "uniform_filter"]
filters = pytest.mark.parametrize("name", FILTERS)


@filters
@pytest.mark.parametrize("stride", [None, 1, 2, (1, 3), [4, 1]], ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2), (6, 7)], ids=str)
def test_two_axes(name, kernel, stride):
    check_windows(name, values((2, 6, 7), "f4"), kernel, stride=stride)


@filters
@pytest.mark.parametrize("shape", [(9,), (2, 9), (2, 3, 9), (2, 1, 3, 9), (2, 1, 2, 3, 9)], ids=str)
def test_any_number_of_axes_before(name, shape):
    check_windows(name, values(shape, "f8"), (4,))
    check_windows(name, ties(shape, "u1"), (3,), stride=2)


@filters
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_every_axis(name, rank):
    x = values((5, 4, 6, 3)[:rank], "f4")
    check_windows(name, x, (2, 2, 3, 1)[:rank])
    check_windows(name, x, (2, 2, 3, 1)[:rank], stride=1)


def test_by_hand():
    x = np.array([[1, 5, 2, 0], [3, 4, 8, 6]])
    np.testing.assert_array_equal(fastconv.maximum_filter(x, (2, 2)), [[5, 8]])
    np.testing.assert_array_equal(fastconv.minimum_filter(x, (2, 2)), [[1, 0]])
    np.testing.assert_array_equal(fastconv.uniform_filter(x, (2, 2)), [[3.25, 4.0]])
    np.testing.assert_array_equal(fastconv.maximum_filter(x, (2,), stride=1), [[5, 5, 2], [4, 8, 8]])
    # Over the last axis alone, and a rest that fills no window is left out.
    np.testing.assert_array_equal(fastconv.minimum_filter(x, (3,)), [[1], [3]])


@filters
def test_not_a_number_spoils_its_windows(name):
    x = values((8, 9), "f4")
    x[3, 4] = np.nan
    x[6, 1] = np.inf
    check_windows(name, x, (3, 2), stride=1)


@filters
@pytest.mark.parametrize("shape", [(0, 9), (3, 0), (0, 0)], ids=str)
def test_empty_inputs(name, shape):
    got = check_windows(name, np.zeros(shape, "f4"), (2,))
    assert got.size == 0


@filters
@pytest.mark.parametrize("size", [15, 16, 17, 33, 65])
def test_sizes_around_vector_widths(name, size):
    check_windows(name, values((3, size), "f4"), (2, 3), stride=1)
    check_windows(name, values((3, size), "f4"), (9,), stride=2)
