"""The kernels at every vector width, with planes around the sizes of vectors and tiles."""

import itertools

import numpy as np
import oracle
import pytest
from cases import LAYOUTS, channels_last, check_convolution, check_windows, slow, values

MORE = [*(dtype.name for dtype in oracle.HALVES), "c16", "i1", "i2", "u1", "u2", "?", "f4", "f8", "u8"]


def around_vectors_and_tiles(dtypes):
    """Widths around each vector of every width, rows around a row tile, output channels around every band."""
    for dtype in dtypes:
        for size in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 65):
            x = values((1, 2, 6, size + 1), dtype)
            w = values((3, 2, 2, 2), dtype, 1)
            check_convolution("correlate", x, w)
            check_convolution("correlate", x, values((2, 1, 3, 1), dtype, 1), groups=2, padding_mode=1, stride=(1, 2))
            for kernel in (3, 5):
                check_convolution(
                    "correlate", x, values((2, 1, kernel, kernel), dtype, 1), groups=2, padding_mode=2, stride=2
                )
        for outputs in range(1, 14):
            x, w = values((1, 3, 4, 9), dtype), values((outputs, 3, 2, 3), dtype, 1)
            check_convolution("convolve", x, w, padding_mode=(1, 0))
        for outputs, size in itertools.product((16, 31, 33), range(1, 29)):
            x, w = values((2, 2, 3, size + 2), dtype), values((outputs, 2, 3, 3), dtype, 1)
            check_convolution("convolve", x, w, padding_mode=1)
            check_convolution("correlate", x, w, padding_mode=1, boundary="edge", stride=(1, 2))
        for rows in range(1, 11):
            for kernel in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11):
                x = values((1, 2, rows + kernel - 1, 19), dtype)
                check_convolution("correlate", x, values((2, 1, kernel, 3), dtype, 1), groups=2)


def around_vectors(dtypes):
    """Rows around each vector, for types that are converted and for channels that lie side by side."""
    views = (np.asarray, channels_last)
    for dtype, view, size in itertools.product(dtypes, views, (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47)):
        x, bias = view(values((1, 10, 3, size), dtype)), values(17, dtype, 2)
        relu, relu6 = (None, None) if dtype in ("c8", "c16", "?") else ("relu", "relu6")
        check_convolution("correlate", x, values((8, 5, 2, 1), dtype, 1), groups=2, padding_mode=1, activation=relu)
        check_convolution("convolve", x, values((8, 5, 1, 2), dtype, 1), groups=2, padding_mode="full", stride=(1, 2))
        check_convolution(
            "correlate", x, values((4, 10, 2, 1), dtype, 1), bias=bias[:4], boundary="edge", padding_mode=2
        )
        w = values((17, 10, 1, 3), dtype, 1)
        check_convolution("convolve", x, w, bias=bias, padding_mode=1, activation=relu6)
        check_convolution("correlate", x, w, stride=(1, 2), padding_mode=2, boundary="wrap")


def pools_around_vectors(dtypes):
    """Every step that vectors are taken apart at, whole planes, channels beside each other, a NaN in every lane."""
    for dtype in dtypes:
        for size in (1, 3, 4, 5, 8, 9, 15, 16, 17, 33, 64, 65):
            x = values((1, 2, 3, size + 6), dtype)
            for pool in ("max_pool2d", "min_pool2d", "avg_pool2d"):
                for stride in (1, 2, 3, 4, 5):
                    check_windows(pool, x, (2, 3), stride=(1, stride), padding_spec=1)
                for kernel, stride in ((2, 2), (3, 1), (3, 2)):
                    check_windows(pool, values((3, 2, 4, size + 2), dtype), kernel, stride=stride, padding_spec=1)
                check_windows(pool, values((size, 1, 3, 7), dtype), (3, 7))
                check_windows(pool, LAYOUTS["channels_last"](values((1, size, 3, 5), dtype)), 2)
        if np.dtype(dtype).kind == "f":
            x = values((66, 1, 66), dtype)
            np.fill_diagonal(x[:, 0], np.nan)
            for kernel, stride in ((2, 1), (3, 2), (66, 1), (7, 7)):
                for pool in ("max_pool1d", "min_pool1d", "avg_pool1d"):
                    check_windows(pool, x, kernel, stride=stride)


def test_pools_around_vectors():
    pools_around_vectors(["f4", "u1"])


@pytest.mark.slow
def test_pools_around_vectors_of_other_types():
    pools_around_vectors(["f8", "f2", "i1", "i2", "u4", "i8", "u8", "?"])


@pytest.mark.parametrize("dtypes", [["f2", "c8"], slow(MORE)], ids=str)
def test_around_vectors(dtypes):
    around_vectors(dtypes)


def test_around_vectors_and_tiles():
    around_vectors_and_tiles(["f4", "f8"])


@pytest.mark.slow
def test_around_vectors_and_tiles_of_other_types():
    around_vectors_and_tiles(["i4", "i8", "u4", "u8"])


@pytest.mark.parametrize("steps", [1, 2, 3, -1, -2])
def test_rows_of_any_step(steps):
    """Rows are packed by whole vectors at steps 1 and 2, one element at a time at others."""
    for size in (1, 7, 8, 15, 16, 17, 33, 64, 65):
        x = values((1, 2, 5, abs(steps) * size), "f4")[..., ::steps]
        assert x.shape[-1] == size
        for stride in (1, 2):
            check_convolution(
                "correlate", x, values((2, 2, 2, 1), "f4", 1), stride=stride, padding_mode=((0, 1), (2, 3))
            )
            check_convolution(
                "correlate", x, np.ones((1, 2, 1, 1), "f4"), stride=(1, stride), boundary="wrap", padding_mode=1
            )
