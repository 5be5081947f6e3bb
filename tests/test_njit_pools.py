"""PyTorch's pools and their gradients called from compiled code of users: bits and errors of the call from Python."""

from importlib.metadata import entry_points

import numba
import numpy as np
import pytest
from cases import LAYOUTS, slow, ties, values
from numba.core.errors import TypingError

import fastconv.functional as F
import fastconv.grad as G
from fastconv import extending
from fastconv.torch_names import Refusal

if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
    extending.init()

LAYOUT_NAMES = "contiguous", "reversed"  # callers are compiled for layouts: in one piece, or any


def agrees(function, *arguments):
    """Both answer alike, or refuse in the same words."""
    try:
        want = function.py_func(*arguments)
    except Refusal as error:
        with pytest.raises(Refusal) as raised:
            function(*arguments)
        assert str(raised.value) == str(error)
        return False
    got = function(*arguments)
    for mine, theirs in zip(*(each if isinstance(each, tuple) else (each,) for each in (got, want)), strict=True):
        assert mine.dtype == theirs.dtype and mine.flags.c_contiguous
        np.testing.assert_array_equal(mine, theirs)
    return True


@numba.njit
def largest(x, kernel, stride, padding, dilation, ceil):
    return F.max_pool2d(x, kernel, stride, padding, dilation, ceil, True)


@numba.njit
def means(x, kernel, stride, padding, ceil, divisor):
    return F.avg_pool2d(x, kernel, stride, padding, ceil, False), F.avg_pool2d(x, kernel, divisor_override=divisor)


@numba.njit
def shared(x, sizes):
    return F.adaptive_avg_pool2d(x, sizes), *F.adaptive_max_pool2d(x, sizes, True)


@numba.njit
def kept(x):
    return F.adaptive_avg_pool2d(x, (None, 3)), F.adaptive_max_pool2d(x, (2, None)), F.adaptive_avg_pool2d(x, 2)


@numba.njit
def restored(x, kernel, stride, padding, shape):
    best, at = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    return F.max_unpool2d(best, at, kernel, stride, padding), F.max_unpool2d(best, at, kernel, stride, padding, shape)


@numba.njit
def gradients(shape, grad, indices, kernel, stride, padding, ceil):
    return (
        G.max_pool2d_input(shape, indices, grad),
        G.avg_pool2d_input(shape, grad, kernel, stride, padding, ceil),
        G.avg_pool2d_input(shape, grad, kernel, stride, padding, ceil, False),
    )


@numba.njit
def folds(x, kernel, dilation, padding, stride):
    columns = F.unfold(x, kernel, dilation, padding, stride)
    return columns, F.fold(columns, x.shape[-2:], kernel, dilation, padding, stride)


@numba.njit
def lines_and_volumes(x1, x3):
    best, at = F.max_pool3d(x3, 2, return_indices=True)
    return (
        F.avg_pool1d(x1, 3, 2, 1),
        F.adaptive_avg_pool1d(x1, 4),
        F.avg_pool3d(x3, 2, 1),
        F.adaptive_max_pool3d(x3, (None, 2, 3)),
        G.max_pool3d_input(x3.shape, at, best),
        G.avg_pool1d_input(x1.shape, x1[..., :-1], 2, 1),
    )


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
@pytest.mark.parametrize("dtype", ["f4", slow("i2")])
def test_pools(dtype, layout):
    x = LAYOUTS[layout](values((2, 3, 9, 10), dtype))
    for each in (x, x[1]):
        assert agrees(largest, each, 3, 2, 1, 2, True)
        assert agrees(means, each, (3, 2), 2, (1, 0), True, -7)
        assert agrees(shared, each, (4, 7)) and agrees(shared, each, (12, 5)) and agrees(kept, each)
        assert agrees(restored, each, (3, 2), (3, 2), (0, 0), (9, 10))


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
@pytest.mark.parametrize("dtype", ["f4", slow("i2")])
def test_gradients_and_folds(dtype, layout):
    grad, at = (LAYOUTS[layout](values((2, 3, 5, 6), dtype)), ties((2, 3, 5, 6), "i8"))
    for shape, g, indices in (((2, 3, 10, 12), grad, at), ((3, 10, 12), grad[1], at[1])):
        assert agrees(gradients, shape, g, indices, 3, 2, 1, False)
        assert agrees(folds, g, (2, 3), 1, 1, 2)


def test_other_ranks():
    assert agrees(lines_and_volumes, values((3, 9), "f4"), values((2, 2, 4, 5, 6), "f4"))
    assert agrees(largest, values((0, 3, 4, 4), "f4"), 2, 2, 0, 1, False)
    x = np.arange(8).reshape(1, 2, 4) - 4
    mean = numba.njit(lambda x: F.avg_pool1d(x, 2))
    assert mean(x).dtype == np.int64 and agrees(mean, x)


def test_refusals():
    """In the words of the call from Python, as errors of both kinds."""
    x = values((1, 2, 4, 4), "f4")
    calls = [
        (largest, x, 3, 2, 2, 1, False),
        (largest, x, 5, 1, 0, 1, False),
        (largest, x[:, :, :0], 2, 2, 0, 1, False),
        (largest, x, 0, 1, 0, 1, False),
        (means, x, (2, 2), 1, (0, 0), False, 0),
        (shared, x, (-1, 2)),
        (shared, x[:, :, :, :0], (1, 2)),
        (restored, x, (2, 2), (2, 2), (0, 0), (9, 4)),
        (gradients, (1, 2, 10, 10), x, ties(x.shape, "i8"), 2, 2, 0, False),
        (gradients, (1, 2, 8, 8), x, ties(x.shape, "i8") + 63, 2, 2, 0, False),
        (gradients, (1, 3, 8, 8), x, ties(x.shape, "i8"), 2, 2, 0, False),
        (gradients, (1, 2, 8, 8), x, ties((1, 2, 4, 3), "i8"), 2, 2, 0, False),
        (folds, x, (5, 5), 1, 0, 1),
        (folds, x[:, :0], (2, 2), 1, 0, 1),
    ]
    for function, *arguments in calls:
        assert not agrees(function, *arguments)


def test_refusals_of_types():
    x, at = values((1, 2, 4, 4), "f4"), ties((1, 2, 4, 4), "i8")
    calls = [
        (lambda x, at: F.max_pool2d(x[0, 0], 2), r"input has 2 dimensions, expected 3 \(C, H, W\) or 4 \(N, C, H, W\)"),
        (lambda x, at: F.max_pool2d(x.astype(np.complex64), 2), "input has dtype complex64, expected a real type"),
        (lambda x, at: F.max_unpool2d(x, x, 2), "indices has dtype float32, expected integers"),
        (lambda x, at: F.max_unpool2d(x, at[0], 2), "indices has 3 dimensions, expected those of input, 4"),
        (
            lambda x, at: F.adaptive_avg_pool2d(x, (None, 2.0)),
            "output_size is .*, expected an int or 2 of them or of None",
        ),
        (lambda x, at: G.max_pool2d_input(4, at, x), "input_size is .*, expected a shape of 4 ints"),
        (lambda x, at: G.avg_pool2d_input((1, 2, 8, 8), x.astype(np.complex64), 2), "grad_output has dtype complex64"),
        (lambda x, at: F.fold(x, (4, 4), 2), r"input has 4 dimensions, expected 2 \(C \* K, L\) or 3"),
    ]
    for function, message in calls:
        with pytest.raises(TypingError, match=message):
            numba.njit(function)(x, at)
