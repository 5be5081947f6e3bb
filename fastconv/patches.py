"""Sliding windows as explicit arrays, and their adjoints, which add overlaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import problem as checks
from .extending import offer
from .launch import PATCHES, entry_point, import_kernels, window_numbers
from .problem import Array, Sliding, aligned
from .team import share
from .threads import get_num_threads
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
    return _run(_prepare_extract, "extract_patches", "x", x, kernel_size, stride, dilation, padding)


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
    >>> fastconv.combine_patches(np.array([[1.0, 2, 3], [2, 3, 4]]), (4,), (2,))
    array([1., 4., 6., 4.])
    """
    options = output_size, kernel_size, stride, dilation, padding
    return _run(_prepare_combine, "combine_patches", "patches", patches, *options)


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
    return _run(_prepare_im2col, "im2col", "x", x, kernel_size, stride, dilation, padding)


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
    return _run(_prepare_col2im, "col2im", "cols", cols, output_size, kernel_size, stride, dilation, padding)


Run = Callable[[Array], Array]
_prepared: dict[Any, Run] = {}


def _run(prepare: Callable[..., Run], function: str, name: str, array: Any, *options: Any) -> Array:
    """Run a function on an array. `prepare` checks the options and makes what runs, once for all calls alike."""
    if type(array) is not np.ndarray or not array.dtype.isnative:
        array = checks.as_array(function, name, array)
    exact = checks.key_of(options)
    key = function, array.shape, array.dtype, exact
    run = _prepared.get(key)
    if run is None:
        import_kernels(*PATCHES)
        run = prepare(function, checks.as_array(function, name, array), *options)
        checks.keep(_prepared, exact and key, run)
    return run(aligned(array))


def _prepare_extract(function: str, x: Array, kernel_size: Any, *options: Any) -> Run:
    checks.check_sequence(function, "kernel_size", kernel_size)
    checks.check_trailing(function, "x", x, len(kernel_size))
    problem = checks.window(function, x, len(kernel_size), kernel_size, *_padded(options))
    return prepare_extract(problem, x, (*problem.leading, problem.taps, problem.positions))


def _prepare_im2col(function: str, x: Array, kernel_size: Any, *options: Any) -> Run:
    checks.check_trailing(function, "x", x, 1, more=2)
    problem = checks.window(function, x, x.ndim - 2, kernel_size, *_padded(options))
    return prepare_extract(problem, x, (x.shape[0], x.shape[1] * problem.taps, problem.positions))


def _prepare_combine(function: str, patches: Array, *options: Any) -> Run:
    return prepare_combine(checks.combination(function, "patches", patches, False, *options), patches)


def _prepare_col2im(function: str, cols: Array, *options: Any) -> Run:
    return prepare_combine(checks.combination(function, "cols", cols, True, *options), cols)


def _padded(options: Sequence[Any]) -> tuple[Any, ...]:
    """Stride, dilation and padding, with the name of the last."""
    *steps, padding = options
    return *steps, "padding", padding


def prepare_extract(problem: Sliding, x: Array, shape: tuple[int, ...]) -> Run:
    """`kernels.patches.extract` to a new array of a shape."""
    from .kernels.windows import patches as kernels

    checks.check_size(problem.function, shape, x.itemsize)
    numbers, dtype, count = window_numbers(problem), x.dtype, math.prod(shape)
    extract = entry_point(kernels.extract, *extract_formats(x.itemsize))
    extract = _shared(extract, kernels.WORKSPACE_BYTES, count * x.itemsize)

    def run(x: Array) -> Array:
        out = np.empty(shape, dtype)
        if count > 0:
            extract(x, out, numbers)
        return out

    return traced(run, problem, "blocks", x=x.shape, window=problem.window)


def prepare_combine(problem: Sliding, patches: Array) -> Run:
    """`kernels.patches.combine` of patches, or columns, to a new array."""
    from .kernels.windows import patches as kernels

    numbers, dtype = window_numbers(problem), patches.dtype
    shape = *problem.leading, *(axis.size for axis in problem.axes)
    split = *problem.leading, problem.taps, problem.positions
    combine = entry_point(kernels.combine, *combine_formats(dtype.name))
    combine = _shared(combine, kernels.WORKSPACE_BYTES, patches.nbytes)
    is_empty = 0 in shape

    def run(patches: Array) -> Array:
        out = np.empty(shape, dtype)
        if not is_empty:
            combine(patches.reshape(split), out, numbers)
        return out

    return traced(run, problem, "blocks", patches=split, out=shape, window=problem.window)


_WORDS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "complex128"}
_SHARED_BYTES = 1_000_000  # of patches, 40 us or more on one core
_BYTE = 0.3  # nanoseconds of one core, about: memory that is new to the process takes the most of them


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
        threads = get_num_threads() if size >= _SHARED_BYTES else 1
        done: bool = share(kernel, arguments, workspace, threads, _BYTE * size)
        return done

    return run


for _function in (extract_patches, im2col):
    offer(_function, "windows.patches", _function.__name__)
offer(combine_patches, "windows.combination", "combine_patches", "patches")
offer(col2im, "windows.combination", "col2im", "cols")
