"""Convolution and correlation of whole arrays."""

from __future__ import annotations

import math
import operator
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import problem as checks
from .. import transforms
from ..conv import convolve_nd
from ..extending import offer
from ..problem import Array
from .arguments import METHODS, MODES, Method, Mode, as_arrays, check_choice, common_dtype, is_known, scipys
from .rows import convolved, is_for_transform, middle_of, predict

# SciPy's names of what lies around an array, and NumPy's.
BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "symmetric",
    "symmetric": "symmetric",
}
_EMPTY = "{}(): in1 or in2 is empty, expected at least one element"


def convolve(in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", method: Method = "auto") -> Array:
    """Convolution of two arrays of the same rank: a drop-in for `scipy.signal.convolve`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
        All overlaps; the middle of them, of the shape of `in1`; or the complete ones.
    method : {"auto", "direct", "fft"}
        What is expected to be fastest, sums, or a Fourier transform. "auto" transforms finite floating-point numbers
        only.

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(in1, in2)``.

    Raises
    ------
    ValueError
        For arrays of different rank, an unknown name, or in mode "valid" neither array as large as the other.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.convolve([1, 2, 3], [0, 1, 0.5], mode="same")
    array([1. , 2.5, 4. ])
    """
    return _by_method("convolve", in1, in2, mode, method)


def correlate(in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", method: Method = "auto") -> Array:
    """Cross-correlation of two arrays, the second one conjugated: a drop-in for `scipy.signal.correlate`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
        As for `convolve`.
    method : {"auto", "direct", "fft"}
        As for `convolve`.

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(in1, in2)``.

    Raises
    ------
    ValueError
        As for `convolve`.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.correlate([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    return _by_method("correlate", in1, in2, mode, method)


def convolve2d(
    in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", boundary: str = "fill", fillvalue: Any = 0
) -> Array:
    """Convolution of two matrices, with a boundary: a drop-in for `scipy.signal.convolve2d`.

    Parameters
    ----------
    in1, in2 : array_like, two dimensions
    mode : {"full", "same", "valid"}
        As for `convolve`.
    boundary : {"fill", "wrap", "symm"}
        What lies around `in1`: `fillvalue`, `in1` again, or its mirror image. "pad", "circular" and "symmetric" mean
        the same.
    fillvalue : number

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(in1, in2)``.

    Raises
    ------
    ValueError
        For arrays of another rank, an unknown name, or in mode "valid" neither array as large as the other.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.convolve2d(np.eye(3), np.ones((2, 2)), mode="same", boundary="wrap")
    array([[2., 1., 1.],
           [1., 2., 1.],
           [1., 1., 2.]])
    """
    return _by_boundary("convolve2d", in1, in2, mode, boundary, fillvalue)


def correlate2d(
    in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", boundary: str = "fill", fillvalue: Any = 0
) -> Array:
    """Cross-correlation of two matrices, the second one conjugated: a drop-in for `scipy.signal.correlate2d`.

    Parameters
    ----------
    in1, in2 : array_like, two dimensions
    mode : {"full", "same", "valid"}
        As for `convolve`; the middle of an even size is one further than that of `correlate`.
    boundary : {"fill", "wrap", "symm"}
        As for `convolve2d`.
    fillvalue : number

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(in1, in2)``.

    Raises
    ------
    ValueError
        As for `convolve2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.correlate2d(np.arange(9).reshape(3, 3), [[1, 0], [0, 1]], mode="valid")
    array([[ 4,  6],
           [10, 12]])
    """
    return _by_boundary("correlate2d", in1, in2, mode, boundary, fillvalue)


def fftconvolve(in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", axes: Any = None) -> Array:
    """Convolution over some of the axes, the others broadcast: a drop-in for `scipy.signal.fftconvolve`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
        As for `convolve`.
    axes : int or sequence of ints, optional
        The axes to convolve over, all by default.

    Returns
    -------
    ndarray
        Of a floating dtype. Sums are taken where a transform would not be faster.

    Raises
    ------
    ValueError
        For arrays of different rank, shapes that do not broadcast, wrong axes, or an unknown mode.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.fftconvolve([[1, 2, 3], [4, 5, 6]], [[1, 1]], mode="valid", axes=1)
    array([[ 3.,  5.],
           [ 9., 11.]])
    """
    return _by_axes("fftconvolve", in1, in2, mode, axes)


def oaconvolve(in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", axes: Any = None) -> Array:
    """Convolution of long with short arrays over some of the axes: a drop-in for `scipy.signal.oaconvolve`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
        As for `convolve`.
    axes : int or sequence of ints, optional
        As for `fftconvolve`.

    Returns
    -------
    ndarray
        Of a floating dtype.

    Raises
    ------
    ValueError
        As for `fftconvolve`.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.oaconvolve([1, 2, 3, 4], [1, 1])
    array([1., 3., 5., 7., 4.])
    """
    return _by_axes("oaconvolve", in1, in2, mode, axes)


def choose_conv_method(in1: ArrayLike, in2: ArrayLike, mode: Mode = "full", measure: bool = False) -> Any:
    """What `convolve` with ``method="auto"`` would do: a drop-in for `scipy.signal.choose_conv_method`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
    measure : bool
        Run both, and choose the faster.

    Returns
    -------
    str
        "direct" or "fft".
    dict
        Seconds that each of the two took; with `measure` only.

    Raises
    ------
    ValueError
        As for `convolve`.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.choose_conv_method([1.0, 2.0, 3.0], [1.0, 1.0])
    'direct'
    """
    function = "choose_conv_method"
    x, w = as_arrays(function, in1=in1, in2=in2)
    check_choice(function, "mode", mode, MODES)
    _check_ranks(function, x, w)
    if measure:
        seconds = {method: _time_of(x, w, mode, method) for method in ("fft", "direct")}
        return min(seconds, key=seconds.__getitem__), seconds
    dtype = common_dtype(function, in1=x, in2=w)
    if not is_known(dtype) or x.ndim == 0 or x.size == 0 or w.size == 0:
        return "direct"
    x, w, _ = _swapped(function, mode, x, w, range(x.ndim))
    middle = middle_of(mode, x.shape, w.shape)
    is_transformed = is_for_transform(x[None], w[None], *middle, dtype)
    return "fft" if is_transformed or predict(x[None], w[None], *middle, dtype, "auto").algorithm == "fft" else "direct"


def correlation_lags(in1_len: int, in2_len: int, mode: Mode = "full") -> Array:
    """How far `correlate` shifts its second sequence for each element: a drop-in for `scipy.signal.correlation_lags`.

    Parameters
    ----------
    in1_len, in2_len : int
        Lengths of the sequences.
    mode : {"full", "same", "valid"}

    Returns
    -------
    ndarray
        Of integers.

    Raises
    ------
    ValueError
        For an unknown mode.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.correlation_lags(4, 2, mode="same")
    array([-1,  0,  1,  2])
    """
    check_choice("correlation_lags", "mode", mode, MODES)
    if mode == "valid":
        room = in1_len - in2_len
        return np.arange(min(room, 0), max(room, 0) + 1)
    lags = np.arange(1 - in2_len, in1_len)
    first = len(lags) // 2 - in1_len // 2
    return lags if mode == "full" else lags[first : first + in1_len]


def _check_ranks(function: str, x: Array, w: Array) -> None:
    if x.ndim != w.ndim:
        raise ValueError(f"{function}(): in1 and in2 have {x.ndim} and {w.ndim} dimensions, expected the same number")


def _swapped(function: str, mode: str, x: Array, w: Array, axes: Sequence[int]) -> tuple[Array, Array, bool]:
    """The two arrays, in mode "valid" the larger one first, and whether they are swapped."""
    if mode != "valid" or all(x.shape[a] >= w.shape[a] for a in axes):
        return x, w, False
    if any(x.shape[a] > w.shape[a] for a in axes):
        raise ValueError(
            f"{function}(): in1 and in2 have shapes {x.shape} and {w.shape}, expected one at least as large as the "
            "other on every axis in mode 'valid'"
        )
    return w, x, True


def _by_method(function: str, in1: Any, in2: Any, mode: Any, method: Any) -> Array:
    x, w = as_arrays(function, in1=in1, in2=in2)
    check_choice(function, "mode", mode, MODES)
    check_choice(function, "method", method, METHODS)
    _check_ranks(function, x, w)
    dtype = common_dtype(function, in1=x, in2=w)
    if not is_known(dtype):
        return scipys(function, f"dtype {dtype}")(x, w, mode, method)
    if function == "correlate":
        w = np.flip(w.conj() if w.dtype.kind == "c" else w)
    if x.ndim == 0:
        product: Array = x * w
        return product
    x, w, _ = _swapped(function, mode, x, w, range(x.ndim))
    starts, sizes = middle_of(mode, x.shape, w.shape)
    if x.size == 0 or w.size == 0:
        if (mode == "same" and w.size) or (mode == "valid" and x.ndim > 1):
            return np.zeros(sizes, dtype)  # as SciPy has it
        raise ValueError(_EMPTY.format(function))
    out: Array = convolved(x[None], w[None], starts, sizes, dtype, method)[0]
    if method == "fft" and not np.isfinite(out.flat[0]):
        warnings.warn(
            f"{function}(): in1 or in2 holds a NaN or an infinity, which method 'fft' spreads over the results; "
            "expected method 'direct'",
            RuntimeWarning,
            stacklevel=3,
        )
    return out


def _by_boundary(function: str, in1: Any, in2: Any, mode: Any, boundary: Any, fillvalue: Any) -> Array:
    x, w = as_arrays(function, in1=in1, in2=in2)
    for name, array in (("in1", x), ("in2", w)):
        if array.ndim != 2:
            raise ValueError(f"{function}(): {name} has shape {array.shape}, expected two dimensions")
    check_choice(function, "mode", mode, MODES)
    check_choice(function, "boundary", boundary, tuple(BOUNDARIES))
    dtype, correlates = common_dtype(function, in1=x, in2=w), function == "correlate2d"
    if not is_known(dtype):
        return scipys(function, f"dtype {dtype}")(x, w, mode, boundary, fillvalue)
    fill, around = _as_fill(function, fillvalue, dtype), BOUNDARIES[boundary]
    x, w, is_swapped = _swapped(function, mode, x, w, (0, 1))
    if correlates:
        w = np.flip(w.conj() if w.dtype.kind == "c" else w)
    starts, sizes = middle_of(mode, x.shape, w.shape)
    if correlates and mode == "same":  # the middle of the correlation, which is not that of a convolution
        starts = [k // 2 for k in w.shape]
    if x.size == 0 or w.size == 0:
        if min(sizes) < 0:
            raise ValueError(_EMPTY.format(function))
        return np.full(sizes, fill * w.sum(dtype=dtype), dtype)
    numbers = zip(starts, sizes, x.shape, w.shape, strict=True)
    pads = tuple((k - 1 - start, start + size - n) for start, size, n, k in numbers)
    if not any(map(any, pads)) or (around == "constant" and fill == 0):
        out = convolved(x[None], w[None], starts, sizes, dtype, "auto")[0]
    elif is_for_transform(x[None], w[None], starts, sizes, dtype):  # as no kernels do
        values = {"constant_values": fill} if around == "constant" else {}
        padded = np.pad(checks.cast(x, dtype), pads, around, **values)  # type: ignore[call-overload]
        out = convolved(padded[None], w[None], [k - 1 for k in w.shape], sizes, dtype, "fft")[0]
    else:
        out = convolve_nd(x[None, None], w[None, None], padding=pads, boundary=around, fillvalue=fill)[0, 0]
    return np.flip(out) if correlates and is_swapped else out


def _as_fill(function: str, fillvalue: Any, dtype: np.dtype[Any]) -> Any:
    """`fillvalue` in the result's dtype; for integers the whole part of it."""
    if type(fillvalue) is int and fillvalue == 0:
        return dtype.type(0)
    value = np.asarray(fillvalue)
    if value.size != 1:
        raise ValueError(f"{function}(): fillvalue has shape {value.shape}, expected a number")
    number: Any = value.reshape(())[()]
    if dtype.kind in "iu" and value.dtype.kind == "f" and np.isfinite(number):
        number = int(number)
    return checks.as_fill(function, number, dtype)[0]


def _by_axes(function: str, in1: Any, in2: Any, mode: Any, axes: Any) -> Array:
    x, w = as_arrays(function, in1=in1, in2=in2)
    if x.ndim == w.ndim == 0:
        product: Array = x * w
        return product
    _check_ranks(function, x, w)
    if x.size == 0 or w.size == 0:
        return np.array([])
    check_choice(function, "mode", mode, MODES)
    rank, over = x.ndim, _as_axes(function, axes, x.ndim)
    dtype = common_dtype(function, in1=x, in2=w)
    if not is_known(dtype):
        return scipys(function, f"dtype {dtype}")(x, w, mode, axes)
    over = [a for a in over if x.shape[a] != 1 and w.shape[a] != 1]  # along the others, there is nothing to sum
    others = [a for a in range(rank) if a not in over]
    if any(x.shape[a] != w.shape[a] and x.shape[a] != 1 != w.shape[a] for a in others):
        raise ValueError(
            f"{function}(): in1 and in2 have shapes {x.shape} and {w.shape}, expected sizes that are equal or 1 on "
            f"axes other than {tuple(over)}"
        )
    x, w, _ = _swapped(function, mode, x, w, over)
    if over:
        x, w = (checks.cast(array, transforms.working_dtype(array.dtype)) for array in (x, w))
        out = _convolved_over(over, others, x, w, mode)
    else:
        out = x * w
    if mode == "same":  # of what was broadcast, too
        firsts = [0 if a in over else (out.shape[a] - x.shape[a]) // 2 for a in range(rank)]
        out = out[tuple(slice(first, first + n) for first, n in zip(firsts, x.shape, strict=True))]
    return np.ascontiguousarray(out)


def _as_axes(function: str, axes: Any, rank: int) -> list[int]:
    if axes is None:
        return list(range(rank))
    try:
        numbers = [operator.index(axes)] if np.ndim(axes) == 0 else [operator.index(axis) for axis in axes]
    except TypeError:
        raise ValueError(f"{function}(): axes is {axes!r}, expected an int or a sequence of ints") from None
    placed = sorted({axis % rank for axis in numbers if -rank <= axis < rank})
    if not placed or len(placed) != len(numbers):
        raise ValueError(f"{function}(): axes is {axes!r}, expected different axes of the {rank} that in1 has")
    return placed


def _convolved_over(over: list[int], others: list[int], x: Array, w: Array, mode: str) -> Array:
    """Convolution over some axes, others being rows that are broadcast."""
    order = [*others, *over]
    x, w = x.transpose(order), w.transpose(order)
    batches, middle = len(others), middle_of(mode, x.shape[len(others) :], w.shape[len(others) :])
    batch = np.broadcast_shapes(x.shape[:batches], w.shape[:batches])
    rows = []
    for array in (x, w):
        if math.prod(array.shape[:batches]) > 1:
            array = np.broadcast_to(array, (*batch, *array.shape[batches:]))
        rows.append(array.reshape(-1, *array.shape[batches:]))
    out = convolved(rows[0], rows[1], *middle, np.result_type(x, w), "auto")
    return out.reshape(*batch, *middle[1]).transpose(np.argsort(order))


def _time_of(x: Array, w: Array, mode: Mode, method: Any) -> float:
    """Seconds of a call that is not the first."""
    convolve(x, w, mode, method)
    start = time.perf_counter()
    convolve(x, w, mode, method)
    return time.perf_counter() - start


offer(convolve, "signal.by_method", "convolve")
offer(correlate, "signal.by_method", "correlate")
offer(convolve2d, "signal.by_boundary", "convolve2d")
offer(correlate2d, "signal.by_boundary", "correlate2d")
