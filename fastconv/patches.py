"""Sliding windows as explicit arrays, and their adjoints, which add overlaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import problem as checks
from .extending import offer
from .launch import PATCHES, entry_point, import_kernels, window_numbers
from .problem import Array, aligned
from .threads import get_num_threads, share
from .verbose import traced


def extract_patches(
    x: Any, kernel_size: tuple[int, ...], *, stride: Any = 1, dilation: Any = 1, padding: Any = 0
) -> Array:
    """Every window over the last ``len(kernel_size)`` axes, as columns.

    Parameters
    ----------
    x : array_like, shape (..., S*)
    kernel_size : tuple of int
        Size of the window; its length says how many trailing axes it covers.
    stride, dilation : int, or one int per axis of the window
    padding : {"valid", "same", "full"}, int, or per axis of the window an int or a pair (before, after)
        Padding with 0.

    Returns
    -------
    ndarray, shape (..., prod K, prod P)
        Of the dtype of `x`; windows are the columns, in C order.

    Raises
    ------
    ValueError
        If the window is larger than the padded input.
    TypeError
        If `kernel_size` is no tuple.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.extract_patches(np.array([1, 2, 3, 4]), (2,))
    array([[1, 2, 3],
           [2, 3, 4]])
    """
    x = checks.as_array("extract_patches", "x", x)
    checks.check_sequence("extract_patches", "kernel_size", kernel_size)
    checks.check_trailing("extract_patches", "x", x, len(kernel_size))
    return _extract("extract_patches", x, len(kernel_size), kernel_size, stride, dilation, padding)


def combine_patches(
    patches: Any,
    output_size: tuple[int, ...],
    kernel_size: tuple[int, ...],
    *,
    stride: Any = 1,
    dilation: Any = 1,
    padding: Any = 0,
) -> Array:
    """Adjoint of `extract_patches`: add every column back to where it was taken from.

    Parameters
    ----------
    patches : array_like, shape (..., prod K, prod P)
    output_size : tuple of int
        Sizes `S*` of the result's last axes.
    kernel_size, stride, dilation, padding
        As for `extract_patches`.

    Returns
    -------
    ndarray, shape (..., S*)
        Of the dtype of `patches`; overlaps add, as the dtype adds.

    Raises
    ------
    ValueError
        If `patches` has not the shape that the other arguments give.
    TypeError
        If `output_size` or `kernel_size` is no tuple.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.combine_patches(np.array([[1, 2, 3], [2, 3, 4]]), (4,), (2,))
    array([1, 4, 6, 4])
    """
    return _combine("combine_patches", "patches", patches, output_size, kernel_size, stride, dilation, padding)


def im2col(x: Any, kernel_size: Any, *, stride: Any = 1, dilation: Any = 1, padding: Any = 0) -> Array:
    """Every window of a batch of inputs as a column that holds all channels.

    Parameters
    ----------
    x : array_like, shape (N, C, S*)
    kernel_size : int, or one int per spatial axis
    stride, dilation : int, or one int per spatial axis
    padding : {"valid", "same", "full"}, int, or per spatial axis an int or a pair (before, after)
        Padding with 0.

    Returns
    -------
    ndarray, shape (N, C * prod K, prod P)

    Raises
    ------
    ValueError
        If the window is larger than the padded input.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.im2col(np.arange(4).reshape(1, 1, 2, 2), (1, 2))
    array([[[0, 2],
            [1, 3]]])
    """
    x = checks.as_array("im2col", "x", x)
    checks.check_trailing("im2col", "x", x, 1, more=2)
    patches = _extract("im2col", x, x.ndim - 2, kernel_size, stride, dilation, padding)
    return patches.reshape(x.shape[0], x.shape[1] * patches.shape[2], patches.shape[3])


def col2im(
    cols: Any, output_size: tuple[int, ...], kernel_size: Any, *, stride: Any = 1, dilation: Any = 1, padding: Any = 0
) -> Array:
    """Adjoint of `im2col`: add every column back to where it was taken from.

    Parameters
    ----------
    cols : array_like, shape (N, C * prod K, prod P)
    output_size : tuple of int
        Spatial sizes `S*` of the result.
    kernel_size, stride, dilation, padding
        As for `im2col`.

    Returns
    -------
    ndarray, shape (N, C, S*)

    Raises
    ------
    ValueError
        If `cols` has not the shape that the other arguments give.
    TypeError
        If `output_size` is no tuple.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.col2im(np.ones((1, 2, 3)), (4,), 2)
    array([[[1., 2., 2., 1.]]])
    """
    cols = checks.as_array("col2im", "cols", cols)
    checks.check_sequence("col2im", "output_size", output_size)
    kernel = checks.as_ints("col2im", "kernel_size", kernel_size, len(output_size), 1)
    taps = math.prod(kernel)
    checks.check_columns("col2im", cols, taps)
    split = cols.reshape(cols.shape[0], cols.shape[1] // taps, taps, cols.shape[2])
    return _combine("col2im", "cols", split, output_size, kernel, stride, dilation, padding)


def _extract(function: str, x: Array, rank: int, kernel_size: Any, stride: Any, dilation: Any, padding: Any) -> Array:
    import_kernels(*PATCHES)
    from .kernels.windows import patches as kernels

    problem = checks.window(function, x, rank, kernel_size, stride, dilation, "padding", padding)
    shape = (*problem.leading, problem.taps, problem.positions)
    checks.check_size(function, shape, x.itemsize)
    out = np.empty(shape, dtype=x.dtype)
    extract = entry_point(kernels.extract, *extract_formats(x.dtype.itemsize))
    run = traced(_shared(extract, 0, out.nbytes), problem, "blocks", x=x.shape, window=problem.window)
    if out.size > 0:
        run(aligned(x), out, window_numbers(problem))
    return out


def _combine(
    function: str, name: str, patches: Any, output_size: Any, kernel_size: Any, stride: Any, dilation: Any, padding: Any
) -> Array:
    import_kernels(*PATCHES)
    from .kernels.windows import patches as kernels

    patches = checks.as_array(function, name, patches)
    problem = checks.combination(function, name, patches, output_size, kernel_size, stride, dilation, padding)
    out = np.empty((*problem.leading, *(axis.size for axis in problem.axes)), dtype=patches.dtype)
    combine = _shared(
        entry_point(kernels.combine, *combine_formats(patches.dtype.name)), kernels.WORKSPACE_BYTES, patches.nbytes
    )
    run = traced(combine, problem, "blocks", patches=patches.shape, out=out.shape, window=problem.window)
    if out.size > 0:
        run(aligned(patches), out, window_numbers(problem))
    return out


_WORDS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "complex128"}
_SHARED_BYTES = 200_000  # of patches, 10 us or more on one core


def extract_formats(itemsize: int) -> tuple[str, ...]:
    """The formats of `kernels.patches.extract`, for all dtypes of one size."""
    return _WORDS[itemsize], _WORDS[itemsize], *_TEAM


def combine_formats(dtype: str) -> tuple[str, ...]:
    """The formats of `kernels.patches.combine`; integers wrap, with a sign or without."""
    dtype = dtype if dtype.startswith("u") or "int" not in dtype else f"u{dtype}"
    return dtype, dtype, *_TEAM


_TEAM = "int64", "uint8", "int64", "intp", "intp"


def _shared(kernel: Callable[..., bool], workspace: int, size: int) -> Callable[..., bool]:
    """A kernel on all threads, if it reads or writes patches of many bytes; each has so much workspace."""

    def run(*arguments: Any) -> bool:
        done: bool = share(kernel, arguments, workspace, get_num_threads() if size >= _SHARED_BYTES else 1)
        return done

    return run


for _function in (extract_patches, im2col):
    offer(_function, "windows.patches", _function.__name__)
offer(combine_patches, "windows.combination", "combine_patches", "patches")
offer(col2im, "windows.combination", "col2im", "cols")
