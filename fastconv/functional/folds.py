"""PyTorch's sliding blocks of images: each window as a column, and columns added back to where they lay."""

from __future__ import annotations

from typing import Any

from .. import torch_windows as windows
from ..extending import offer
from ..launch import PATCHES
from ..patches import prepare_combine, prepare_extract
from ..prepared import Run, prepared, taken
from ..problem import Array


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    """Every window of images as a column that holds all channels.

    Parameters
    ----------
    input : array_like, shape (N, C, H, W) or (C, H, W)
        Any strides are read in place.
    kernel_size, dilation, padding, stride : int, or a pair of ints
        Padding holds 0.

    Returns
    -------
    ndarray, shape (N, C * prod(kernel_size), L) or (C * prod(kernel_size), L)
        Of the dtype of `input`; windows are the columns, in C order.

    Raises
    ------
    ValueError, also a RuntimeError
        If a window does not fit the padded input, an axis but the batch's is empty, or a value has not the stated form.
    TypeError
        If an argument has another type.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv.functional as F
    >>> F.unfold(np.arange(4).reshape(1, 1, 2, 2), (1, 2))
    array([[[0, 2],
            [1, 3]]])
    """
    input = taken("unfold", "input", input)
    result: Array = _unfold("unfold", input, kernel_size, dilation, padding, stride)(input)
    return result


@prepared(*PATCHES)
def _unfold(name: str, input: Array, *options: Any) -> Run:
    problem = windows.unfolded(name, input, *options)
    *batch, channels = problem.leading
    return prepare_extract(problem, input, (*batch, channels * problem.taps, problem.positions))


def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    """Add every column of `unfold` back to where it was taken from: its adjoint.

    Parameters
    ----------
    input : array_like, shape (N, C * prod(kernel_size), L) or (C * prod(kernel_size), L)
        Any strides are read in place.
    output_size : int, or a pair of ints
        Height and width of the result.
    kernel_size, dilation, padding, stride : int, or a pair of ints
        Those of `unfold`.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)
        Of the dtype of `input`; overlaps add.

    Raises
    ------
    ValueError, also a RuntimeError
        If `input` has not the shape that the other arguments give, or a value is not of the stated form.
    TypeError
        If an argument has another type.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv.functional as F
    >>> F.fold(np.ones((1, 2, 3)), (1, 4), (1, 2))
    array([[[[1., 2., 2., 1.]]]])
    """
    input = taken("fold", "input", input)
    result: Array = _fold("fold", input, output_size, kernel_size, dilation, padding, stride)(input)
    return result


@prepared(*PATCHES)
def _fold(name: str, input: Array, *options: Any) -> Run:
    return prepare_combine(windows.folded(name, input, *options), input)


offer(unfold, "pools.unfolded", "unfold")
offer(fold, "pools.folded", "fold")
