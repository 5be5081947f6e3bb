"""Functions of `scipy.signal` on fastconv's kernels, for arrays of any rank.

Arguments, shapes, dtypes and kinds of error are SciPy's. Sums are taken as they are written, in place and in the
result's precision, until a transform takes much less time (`fastconv.transforms`). SciPy is not needed; what has no
kernel here, such as longdouble, objects and recursive filters, is handed to it where it is installed.
"""

from __future__ import annotations

import functools
import math
import operator
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from numpy.typing import ArrayLike

from . import problem as checks
from . import transforms
from .algorithms import explain, get_algorithm
from .conv import convolve_nd, correlate_nd
from .extending import offer
from .problem import DTYPES, Array
from .scipy_patch import original

__all__ = [
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "fftconvolve",
    "lfilter",
    "oaconvolve",
    "resample_poly",
    "savgol_filter",
    "upfirdn",
]

Mode: TypeAlias = Literal["full", "same", "valid"]
Method: TypeAlias = Literal["auto", "direct", "fft"]
MODES: tuple[str, ...] = get_args(Mode)
METHODS: tuple[str, ...] = get_args(Method)
# SciPy's names of what lies around an array, and NumPy's.
BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "symmetric",
    "symmetric": "symmetric",
}
_UPFIRDN = "constant", "wrap", "edge", "symmetric", "reflect"  # NumPy has the same names
_UPFIRDN_OF_SCIPY = "smooth", "antisymmetric", "antireflect", "line"
_SAVGOL = {"mirror": "reflect", "constant": "constant", "nearest": "edge", "wrap": "wrap", "interp": "constant"}
_BACKGROUNDS: dict[str, Any] = {"mean": np.mean, "median": np.median, "minimum": np.min, "maximum": np.max}
_LETTERS = "?bBhHiIlLqQefdFD"  # of the types that kernels know, all but bfloat16
_EMPTY = "{}(): in1 or in2 is empty, expected at least one element"
_RANK = 3  # axes that kernels slide over; further ones are summed one by one
_MACS = 25  # multiply-adds a nanosecond, about, of sums over more axes than kernels slide over
_ROUNDED = 2.0**42  # up to such a product of norms, a transform's error is below 1/2, and integers come out exactly
_NARROW = 16  # elements, some vectors
_WASTE = 2  # phases of a resampling share windows that are at most so many times longer than their filters


# ---- convolution and correlation


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
    x, w = _arrays(function, in1=in1, in2=in2)
    _check_choice(function, "mode", mode, MODES)
    _check_ranks(function, x, w)
    if measure:
        seconds = {method: _time_of(x, w, mode, method) for method in ("fft", "direct")}
        return min(seconds, key=seconds.__getitem__), seconds
    dtype = _common_dtype(function, in1=x, in2=w)
    if not _is_known(dtype) or x.ndim == 0 or x.size == 0 or w.size == 0:
        return "direct"
    x, w, _ = _swapped(function, mode, x, w, range(x.ndim))
    middle = _middle(mode, x.shape, w.shape)
    is_transformed = _is_for_transform(x[None], w[None], *middle, dtype)
    return (
        "fft" if is_transformed or _predict(x[None], w[None], *middle, dtype, "auto").algorithm == "fft" else "direct"
    )


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
    _check_choice("correlation_lags", "mode", mode, MODES)
    if mode == "valid":
        room = in1_len - in2_len
        return np.arange(min(room, 0), max(room, 0) + 1)
    lags = np.arange(1 - in2_len, in1_len)
    first = len(lags) // 2 - in1_len // 2
    return lags if mode == "full" else lags[first : first + in1_len]


# ---- filters along an axis


def lfilter(b: ArrayLike, a: ArrayLike, x: ArrayLike, axis: int = -1, zi: ArrayLike | None = None) -> Any:
    """Filter along an axis: a drop-in for `scipy.signal.lfilter`.

    Parameters
    ----------
    b, a : array_like, one dimension
        Numerator and denominator. With more than one element in `a`, the filter is recursive, and SciPy runs it.
    x : array_like
    axis : int
    zi : array_like, optional
        What earlier input adds to the first ``len(b) - 1`` outputs.

    Returns
    -------
    ndarray
        Of the shape of `x`.
    ndarray
        What this input adds to later outputs; with `zi` only.

    Raises
    ------
    ValueError
        For coefficients or a `zi` of a wrong shape.
    NotImplementedError
        Where none of the arrays is of a floating dtype.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.lfilter([0.5, 0.5], [1.0], [1, 3, 5])
    array([0.5, 2. , 4. ])
    """
    function = "lfilter"
    b, a, x = _arrays(function, b=b, a=a, x=x)
    b, a = np.atleast_1d(b), np.atleast_1d(a)
    for name, array in (("b", b), ("a", a)):
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"{function}(): {name} has shape {array.shape}, expected one dimension, not empty")
    state = {} if zi is None else {"zi": _arrays(function, zi=zi)[0]}
    dtype = _common_dtype(function, b=b, a=a, x=x, **state)
    if a.size > 1:
        return _scipys(function, f"a recursive filter (a has {a.size} coefficients)", ValueError)(b, a, x, axis, zi)
    if dtype.char in "gGO":
        return _scipys(function, f"dtype {dtype}")(b, a, x, axis, zi)
    if dtype.char not in "fdFD":
        raise NotImplementedError(
            f"{function}(): b, a and x promote to dtype {dtype}, expected float32, float64, complex64 or complex128; "
            "convert one of them"
        )
    if x.size == 0:
        raise ValueError(f"{function}(): x is empty, expected at least one element")
    axis, last = normalize_axis_index(axis, x.ndim), b.size - 1
    taps, x = b.astype(dtype)[::-1] / a.astype(dtype), x.astype(dtype, copy=False)
    if not state:
        return _along(x, taps, axis, (last, 0))
    sums, size = _along(x, taps, axis, (last, last)), x.shape[axis]
    _axis_slice(sums, axis, 0, last)[...] += _initial_state(function, state["zi"], x, axis, last)
    return _axis_slice(sums, axis, 0, size), _axis_slice(sums, axis, size, size + last)


def savgol_filter(
    x: ArrayLike,
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: float = 1.0,
    axis: int = -1,
    mode: str = "interp",
    cval: float = 0.0,
) -> Array:
    """Fit a polynomial to every window, by least squares: a drop-in for `scipy.signal.savgol_filter`.

    Parameters
    ----------
    x : array_like
    window_length : int
        Elements of a window.
    polyorder : int
        Order of the polynomial, less than `window_length`.
    deriv : int
        Which derivative is taken in the middle of the window.
    delta : float
        Distance between elements; for derivatives.
    axis : int
    mode : {"interp", "mirror", "constant", "nearest", "wrap"}
        Near the ends: values of the polynomial of the last window, or what lies around `x`.
    cval : float
        For mode "constant".

    Returns
    -------
    ndarray
        Of dtype float32 for float32, else float64. Sums are taken in float64.

    Raises
    ------
    ValueError
        For an unknown mode, an order that is too large, or in mode "interp" a window longer than `x`.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.savgol_filter([0, 1, 4, 9, 16], 3, 1, mode="nearest").round(3)
    array([ 0.333,  1.667,  4.667,  9.667, 13.667])
    """
    function = "savgol_filter"
    (x,) = _arrays(function, x=x)
    _check_choice(function, "mode", mode, tuple(_SAVGOL))
    window = checks.as_int(function, "window_length", window_length, 0)
    order = checks.as_int(function, "polyorder", polyorder, 0)
    deriv = checks.as_int(function, "deriv", deriv, 0)
    if order >= window:
        raise ValueError(f"{function}(): polyorder is {order}, expected less than window_length {window}")
    axis = normalize_axis_index(axis, x.ndim)
    if mode == "interp" and window > x.shape[axis]:
        raise ValueError(
            f"{function}(): window_length is {window}, expected at most the {x.shape[axis]} of x in mode 'interp'"
        )
    dtype = np.dtype(np.float32 if x.dtype == np.float32 else np.float64)
    if x.size == 0:
        return np.empty(x.shape, dtype)
    wide, half = x.astype(np.float64, copy=False), window // 2
    fit = _fits(window, order, deriv, delta, np.array([(window - 1) / 2]))[0]
    fill = cval if mode == "constant" else 0
    y = _along(wide, fit, axis, ((window - 1) // 2, half), boundary=_SAVGOL[mode], fillvalue=fill)
    if mode == "interp" and half:
        size = x.shape[axis]
        for begin, positions, at in (
            (0, np.arange(half), 0),
            (size - window, np.arange(window - half, window), size - half),
        ):
            rows = _fits(window, order, deriv, delta, positions)
            ends = np.tensordot(rows, _axis_slice(wide, axis, begin, begin + window), (1, axis))
            _axis_slice(y, axis, at, at + half)[...] = np.moveaxis(ends, 0, axis)
    return y.astype(dtype, copy=False)


def upfirdn(
    h: ArrayLike, x: ArrayLike, up: int = 1, down: int = 1, axis: int = -1, mode: str = "constant", cval: float = 0
) -> Array:
    """Insert zeros, filter, and keep every n-th element: a drop-in for `scipy.signal.upfirdn`.

    Parameters
    ----------
    h : array_like, one dimension
        The filter. What it would multiply by inserted zeros is not computed, nor what is not kept.
    x : array_like
    up, down : int
        After each element of `x` come ``up - 1`` zeros; of the filtered ones, every `down`-th is kept.
    axis : int
    mode : {"constant", "wrap", "edge", "symmetric", "reflect"}
        What lies around `x`. SciPy serves "smooth", "line", "antisymmetric" and "antireflect".
    cval : float
        For mode "constant".

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(h, x, np.float32)``.

    Raises
    ------
    ValueError
        For an `h` that is empty or has several dimensions, `up` or `down` below 1, or an unknown mode.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.upfirdn([1, 1, 1], [1, 2, 3], up=2)
    array([1., 1., 3., 2., 5., 3., 3.])
    """
    function = "upfirdn"
    h, x = _arrays(function, h=h, x=x)
    if h.ndim != 1 or h.size == 0:
        raise ValueError(f"{function}(): h has shape {h.shape}, expected one dimension, not empty")
    up, down = (_as_factor(function, name, value) for name, value in (("up", up), ("down", down)))
    boundary = mode.lower()
    _check_choice(function, "mode", boundary, (*_UPFIRDN, *_UPFIRDN_OF_SCIPY))
    dtype = np.result_type(_common_dtype(function, h=h, x=x), np.float32)
    if dtype.char not in "fdFD":
        return _scipys(function, f"dtype {dtype}")(h, x, up, down, axis, mode, cval)
    if boundary not in _UPFIRDN:
        return _scipys(function, f"mode {mode!r}", ValueError)(h, x, up, down, axis, mode, cval)
    axis = normalize_axis_index(axis, x.ndim)
    count = max(0, ((x.shape[axis] - 1) * up + h.size - 1) // down + 1)
    h, x = h.astype(dtype, copy=False), x.astype(dtype, copy=False)
    return _resampled(h, x, up, down, 0, count, axis, boundary, checks.as_fill(function, cval, dtype)[0])


def resample_poly(
    x: ArrayLike,
    up: int,
    down: int,
    axis: int = 0,
    window: Any = ("kaiser", 5.0),
    padtype: str = "constant",
    cval: float | None = None,
) -> Array:
    """Change the sampling rate by ``up / down``: a drop-in for `scipy.signal.resample_poly`.

    Parameters
    ----------
    x : array_like
    up, down : int
        The two factors.
    axis : int
    window : tuple, str or array_like
        ``("kaiser", beta)`` for the design of the filter, by SciPy any other that it knows, or the filter itself.
    padtype : str
        What lies around `x`: one of the modes of `upfirdn`, or its "mean", "median", "minimum" or "maximum".
    cval : float, optional
        For the `padtype` "constant".

    Returns
    -------
    ndarray
        With ``ceil(n * up / down)`` elements along the axis.

    Raises
    ------
    ValueError
        For factors that are not integers of at least 1, an unknown `padtype`, or a `cval` that has no effect.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.resample_poly(np.ones(6), 1, 2, padtype="edge").round(2)
    array([1., 1., 1.])
    """
    function = "resample_poly"
    (x,) = _arrays(function, x=x)
    up, down = (_as_factor(function, name, value, exact=True) for name, value in (("up", up), ("down", down)))
    if cval is not None and padtype != "constant":
        raise ValueError(f"{function}(): cval is {cval!r}, which has no effect on padtype {padtype!r}")
    _check_choice(function, "padtype", padtype, (*_BACKGROUNDS, *_UPFIRDN, *_UPFIRDN_OF_SCIPY))
    common = math.gcd(up, down)
    up, down = up // common, down // common
    if up == down == 1:
        return x.copy()
    axis = normalize_axis_index(axis, x.ndim)
    if np.result_type(x, np.float32).char not in "fdFD":
        return _scipys(function, f"dtype {x.dtype}")(x, up, down, axis, window, padtype, cval)
    if padtype in _UPFIRDN_OF_SCIPY:
        return _scipys(function, f"padtype {padtype!r}", ValueError)(x, up, down, axis, window, padtype, cval)
    h = _lowpass(function, window, max(up, down), x.dtype)
    h = h * h.dtype.type(up)
    count, dtype = -(-x.shape[axis] * up // down), np.result_type(h, x, np.float32)
    background, boundary = None, padtype
    if padtype in _BACKGROUNDS:
        background, boundary = _BACKGROUNDS[padtype](x, axis=axis, keepdims=True), "constant"
        x = np.asarray(x - background)
    fill = checks.as_fill(function, cval or 0, dtype)[0]
    h, x = h.astype(dtype, copy=False), x.astype(dtype, copy=False)
    y = _resampled(h, x, up, down, (h.size - 1) // 2, count, axis, boundary, fill)
    if background is not None:
        y += background
    return y


# ---- arguments


def _arrays(function: str, **given: Any) -> list[Array]:
    """Arguments as arrays, also of the types that SciPy knows and kernels do not."""
    arrays = []
    for name, value in given.items():
        if isinstance(value, (list, tuple, np.generic, int, float, complex)):
            value = np.asarray(value)
        if type(value) is not np.ndarray or (_is_known(value.dtype) and not value.dtype.isnative):
            value = checks.as_array(function, name, value)
        arrays.append(value)
    return arrays


def _is_known(dtype: np.dtype[Any]) -> bool:
    """Whether kernels know a type. A type makes up its name whenever it is asked, and has its letter."""
    return dtype.char in _LETTERS or dtype.name in DTYPES


def _common_dtype(function: str, **arrays: Array) -> np.dtype[Any]:
    """The dtype that all of the arrays promote to, which kernels need not know."""
    try:
        return np.result_type(*arrays.values())
    except TypeError:
        return checks.common_dtype(function, **arrays)  # raises, in words


def _scipys(
    function: str, what: str, error: type[Exception] = TypeError, name: str | None = None
) -> Callable[..., Array]:
    """SciPy's function of this name, or another, which serves what is not served here."""
    try:
        theirs: Callable[..., Array] = original("signal", name or function)
    except ImportError:
        raise error(f"{function}(): {what} needs SciPy: pip install scipy") from None
    return theirs


def _check_choice(function: str, name: str, value: Any, names: Sequence[str]) -> None:
    """Refuse what is not one of the names, by the ValueError that SciPy raises whatever came."""
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{function}(): {name} is {value!r}, expected one of {', '.join(map(repr, names))}")


def _check_ranks(function: str, x: Array, w: Array) -> None:
    if x.ndim != w.ndim:
        raise ValueError(f"{function}(): in1 and in2 have {x.ndim} and {w.ndim} dimensions, expected the same number")


def _as_factor(function: str, name: str, value: Any, exact: bool = False) -> int:
    factor = int(value)
    if exact and factor != value:
        raise ValueError(f"{function}(): {name} is {value!r}, expected an integer")
    if factor < 1:
        raise ValueError(f"{function}(): {name} is {value!r}, expected 1 or more")
    return factor


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


def _middle(mode: str, x_sizes: Sequence[int], w_sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where along each axis what a mode keeps of the full convolution starts, and how long it is."""
    pairs = list(zip(x_sizes, w_sizes, strict=True))
    if mode == "full":
        return [0] * len(pairs), [n + k - 1 for n, k in pairs]
    if mode == "same":
        return [(k - 1) // 2 for n, k in pairs], [n for n, k in pairs]
    return [k - 1 for n, k in pairs], [n - k + 1 for n, k in pairs]


# ---- convolution of whole arrays


def _by_method(function: str, in1: Any, in2: Any, mode: Any, method: Any) -> Array:
    x, w = _arrays(function, in1=in1, in2=in2)
    _check_choice(function, "mode", mode, MODES)
    _check_choice(function, "method", method, METHODS)
    _check_ranks(function, x, w)
    dtype = _common_dtype(function, in1=x, in2=w)
    if not _is_known(dtype):
        return _scipys(function, f"dtype {dtype}")(x, w, mode, method)
    if function == "correlate":
        w = np.flip(w.conj() if w.dtype.kind == "c" else w)
    if x.ndim == 0:
        product: Array = x * w
        return product
    x, w, _ = _swapped(function, mode, x, w, range(x.ndim))
    starts, sizes = _middle(mode, x.shape, w.shape)
    if x.size == 0 or w.size == 0:
        if (mode == "same" and w.size) or (mode == "valid" and x.ndim > 1):
            return np.zeros(sizes, dtype)  # as SciPy has it
        raise ValueError(_EMPTY.format(function))
    out: Array = _convolved(x[None], w[None], starts, sizes, dtype, method)[0]
    if method == "fft" and not np.isfinite(out.flat[0]):
        warnings.warn(
            f"{function}(): in1 or in2 holds a NaN or an infinity, which method 'fft' spreads over the results; "
            "expected method 'direct'",
            RuntimeWarning,
            stacklevel=3,
        )
    return out


def _by_boundary(function: str, in1: Any, in2: Any, mode: Any, boundary: Any, fillvalue: Any) -> Array:
    x, w = _arrays(function, in1=in1, in2=in2)
    for name, array in (("in1", x), ("in2", w)):
        if array.ndim != 2:
            raise ValueError(f"{function}(): {name} has shape {array.shape}, expected two dimensions")
    _check_choice(function, "mode", mode, MODES)
    _check_choice(function, "boundary", boundary, tuple(BOUNDARIES))
    dtype, correlates = _common_dtype(function, in1=x, in2=w), function == "correlate2d"
    if not _is_known(dtype):
        return _scipys(function, f"dtype {dtype}")(x, w, mode, boundary, fillvalue)
    fill, around = _as_fill(function, fillvalue, dtype), BOUNDARIES[boundary]
    x, w, is_swapped = _swapped(function, mode, x, w, (0, 1))
    if correlates:
        w = np.flip(w.conj() if w.dtype.kind == "c" else w)
    starts, sizes = _middle(mode, x.shape, w.shape)
    if correlates and mode == "same":  # the middle of the correlation, which is not that of a convolution
        starts = [k // 2 for k in w.shape]
    if x.size == 0 or w.size == 0:
        if min(sizes) < 0:
            raise ValueError(_EMPTY.format(function))
        return np.full(sizes, fill * w.sum(dtype=dtype), dtype)
    numbers = zip(starts, sizes, x.shape, w.shape, strict=True)
    pads = tuple((k - 1 - start, start + size - n) for start, size, n, k in numbers)
    if not any(map(any, pads)) or (around == "constant" and fill == 0):
        out = _convolved(x[None], w[None], starts, sizes, dtype, "auto")[0]
    elif _is_for_transform(x[None], w[None], starts, sizes, dtype):  # as no kernels do
        values = {"constant_values": fill} if around == "constant" else {}
        padded = np.pad(x.astype(dtype, copy=False), pads, around, **values)  # type: ignore[call-overload]
        out = _convolved(padded[None], w[None], [k - 1 for k in w.shape], sizes, dtype, "fft")[0]
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
    x, w = _arrays(function, in1=in1, in2=in2)
    if x.ndim == w.ndim == 0:
        product: Array = x * w
        return product
    _check_ranks(function, x, w)
    if x.size == 0 or w.size == 0:
        return np.array([])
    _check_choice(function, "mode", mode, MODES)
    rank, over = x.ndim, _as_axes(function, axes, x.ndim)
    dtype = _common_dtype(function, in1=x, in2=w)
    if not _is_known(dtype):
        return _scipys(function, f"dtype {dtype}")(x, w, mode, axes)
    over = [a for a in over if x.shape[a] != 1 and w.shape[a] != 1]  # along the others, there is nothing to sum
    others = [a for a in range(rank) if a not in over]
    if any(x.shape[a] != w.shape[a] and x.shape[a] != 1 != w.shape[a] for a in others):
        raise ValueError(
            f"{function}(): in1 and in2 have shapes {x.shape} and {w.shape}, expected sizes that are equal or 1 on "
            f"axes other than {tuple(over)}"
        )
    x, w, _ = _swapped(function, mode, x, w, over)
    if over:
        x, w = (array.astype(transforms.working_dtype(array.dtype), copy=False) for array in (x, w))
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
    batches, middle = len(others), _middle(mode, x.shape[len(others) :], w.shape[len(others) :])
    batch = np.broadcast_shapes(x.shape[:batches], w.shape[:batches])
    rows = []
    for array in (x, w):
        if math.prod(array.shape[:batches]) > 1:
            array = np.broadcast_to(array, (*batch, *array.shape[batches:]))
        rows.append(array.reshape(-1, *array.shape[batches:]))
    out = _convolved(rows[0], rows[1], *middle, np.result_type(x, w), "auto")
    return out.reshape(*batch, *middle[1]).transpose(np.argsort(order))


# ---- rows: x (B, S*) and w (B', K*), with one row of either for all of the other's, or as many


def _convolved(x: Array, w: Array, starts: list[int], sizes: list[int], dtype: np.dtype[Any], method: str) -> Array:
    """A part of the full convolution of rows: `sizes` elements from `starts` on."""
    if method == "direct" or (method == "auto" and not _is_for_transform(x, w, starts, sizes, dtype)):
        return _summed(x, w, starts, sizes, dtype, method)
    if method == "fft" and dtype.kind in "fc":
        ours = _predict(x, w, starts, sizes, dtype, "fft").nanoseconds
        if ours < transforms.cost(dtype, x.shape, w.shape, starts, sizes):
            return _summed(x, w, starts, sizes, dtype, "fft")
    working = transforms.working_dtype(dtype)
    numbers, taps = x.astype(working, copy=False), w.astype(working, copy=False)
    if dtype.kind not in "biu":
        return transforms.convolve(numbers, taps, starts, sizes).astype(dtype, copy=False)
    if np.linalg.norm(numbers) * np.linalg.norm(taps) > _ROUNDED:
        return _summed(x, w, starts, sizes, dtype, "direct")
    return np.rint(transforms.convolve(numbers, taps, starts, sizes)).astype(np.int64).astype(dtype, copy=False)


def _is_for_transform(x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether "auto" transforms whole arrays: numbers that it does not spoil, where all kernels take longer."""
    if dtype.kind not in "fc" or get_algorithm() == "direct":
        return False
    theirs = transforms.cost(dtype, x.shape, w.shape, starts, sizes)
    ours = _predict(x, w, starts, sizes, dtype, "auto").nanoseconds
    return ours > theirs and bool(np.isfinite(x).all()) and bool(np.isfinite(w).all())


class _Predicted(NamedTuple):
    """What runs, and how many nanoseconds it takes, about: infinitely many if nothing can."""

    algorithm: str
    nanoseconds: float


def _predict(
    x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int], dtype: np.dtype[Any], algorithm: str
) -> _Predicted:
    """What `_summed` has to do."""
    if x.ndim > 1 + _RANK:
        macs = max(len(x), len(w)) * math.prod(sizes) * min(math.prod(x.shape[1:]), math.prod(w.shape[1:]))
        return _Predicted("direct", macs / _MACS) if algorithm != "fft" else _NOTHING
    x, w, pads = _cut_rows(x, w, starts, sizes)
    images, kernels, groups = _as_channels(x, w)
    return _predict_shapes(images.shape, kernels.shape, dtype, groups, tuple(pads), algorithm)


@functools.lru_cache(1024)
def _predict_shapes(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: np.dtype[Any], groups: int,
    pads: tuple[tuple[int, int], ...], algorithm: str,
) -> _Predicted:  # fmt: skip
    x, w = (np.broadcast_to(np.zeros((), dtype), shape) for shape in (x_shape, w_shape))
    try:
        found = explain(x, w, operation="convolve", groups=groups, padding=pads, algorithm=algorithm)
    except ValueError:  # no kernels of that name can
        return _NOTHING
    times = [each.microseconds for each in found.candidates if each.implementation == found.implementation]
    return _Predicted(found.algorithm, 1e3 * (times[0] or 0.0))


_NOTHING = _Predicted("direct", math.inf)


def _cut_rows(
    x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int]
) -> tuple[Array, Array, list[tuple[int, int]]]:
    """The longer rows, as much of them as counts, the shorter ones, and the padding that gives `sizes`."""
    if math.prod(w.shape[1:]) > math.prod(x.shape[1:]):
        x, w = w, x
    cut, pads = [slice(None)], []
    for start, size, n, k in zip(starts, sizes, x.shape[1:], w.shape[1:], strict=True):
        before, after = k - 1 - start, start + size - n
        cut.append(slice(max(0, -before), n - max(0, -after)))
        pads.append((max(0, before), max(0, after)))
    return x[tuple(cut)], w, pads


def _as_channels(x: Array, w: Array) -> tuple[Array, Array, int]:
    """Rows as `convolve_nd` takes them, and the groups."""
    return (x[None], w[:, None], len(x)) if 1 < len(w) == len(x) else (x[:, None], w[:, None], 1)


def _summed(
    x: Array, w: Array, starts: list[int], sizes: list[int], dtype: np.dtype[Any], algorithm: str = "auto"
) -> Array:
    """`_convolved` by kernels."""
    x, w, pads = _cut_rows(x, w, starts, sizes)
    if x.ndim > 1 + _RANK:
        return _summed_further(x, w, pads, sizes, dtype)
    images, kernels, groups = _as_channels(x, w)
    return convolve_nd(images, kernels, groups=groups, padding=tuple(pads), algorithm=algorithm).reshape(-1, *sizes)


def _summed_further(x: Array, w: Array, pads: list[tuple[int, int]], sizes: list[int], dtype: np.dtype[Any]) -> Array:
    """`_summed` over more axes than kernels slide over: tap by tap along the first of them."""
    first = x.ndim - 1 - _RANK
    wide = np.result_type(dtype, np.float32) if dtype.name in ("float16", "bfloat16") else dtype  # rounded once
    x = np.pad(x.astype(wide, copy=False), [(0, 0), *pads[:first], *[(0, 0)] * _RANK])
    w = np.flip(w, tuple(range(1, 1 + first))).astype(wide, copy=False)
    out = np.zeros((max(len(x), len(w)), *sizes), wide)
    for row in range(len(out)):
        image, kernel = x[row % len(x)], w[row % len(w)]
        for tap in np.ndindex(kernel.shape[:first]):
            part = image[tuple(slice(t, t + size) for t, size in zip(tap, sizes, strict=False))]
            planes = part.reshape(-1, 1, *part.shape[first:])
            out[row] += convolve_nd(planes, kernel[tap][None, None], padding=tuple(pads[first:])).reshape(sizes)
    return out.astype(dtype, copy=False)


def _time_of(x: Array, w: Array, mode: Mode, method: Any) -> float:
    """Seconds of a call that is not the first."""
    convolve(x, w, mode, method)
    start = time.perf_counter()
    convolve(x, w, mode, method)
    return time.perf_counter() - start


# ---- one axis


def _along(x: Array, taps: Array, axis: int, pads: tuple[int, int], **options: Any) -> Array:
    """Correlation with taps along one axis of an array."""
    if _is_narrow(x, axis):
        return _back(_along(_rows(x, axis), taps, x.ndim - 1, pads, **options), axis)
    planes = _planes(x, axis)
    if planes.shape[3] == 1:
        sums = correlate_nd(planes[..., 0], taps[None, None], padding=(pads,), **options)
    else:
        sums = correlate_nd(planes, taps[None, None, :, None], padding=(pads, (0, 0)), **options)
    return sums.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])


def _is_narrow(x: Array, axis: int) -> bool:
    """Whether so little follows an axis in memory that vectors are better filled along it, from a copy."""
    return 1 < math.prod(x.shape[axis + 1 :]) < _NARROW


def _rows(x: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, axis, -1))


def _back(rows: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(rows, -1, axis))


def _planes(x: Array, axis: int) -> Array:
    """An array as `(before, 1, size of the axis, after)`."""
    return x.reshape(math.prod(x.shape[:axis]), 1, x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _axis_slice(x: Array, axis: int, start: int, stop: int) -> Array:
    return x[(*[slice(None)] * axis, slice(start, stop))]


def _initial_state(function: str, zi: Array, x: Array, axis: int, last: int) -> Array:
    """`zi`, of which axes of size 1 are broadcast."""
    expected = (*x.shape[:axis], last, *x.shape[axis + 1 :])
    fits = zi.ndim == x.ndim and all(
        n == m or (n == 1 and a != axis) for a, (n, m) in enumerate(zip(zi.shape, expected, strict=True))
    )
    if not fits:
        raise ValueError(f"{function}(): zi has shape {zi.shape}, expected {expected}")
    return np.broadcast_to(zi, expected)


def _fits(window: int, order: int, deriv: int, delta: float, positions: Array) -> Array:
    """What a window's elements weigh in a derivative of their polynomial: a row for each position in the window."""
    if deriv > order:
        return np.zeros((len(positions), window))
    middle = (window - 1) / 2
    scale = max(middle, 1.0)
    # Legendre polynomials over -1 to 1 are nearly orthogonal there; powers of large numbers lose all digits.
    legendre = np.polynomial.legendre
    coefficients = np.linalg.pinv(legendre.legvander((np.arange(window) - middle) / scale, order))
    derived = legendre.legder(coefficients, deriv, scl=1 / (scale * delta), axis=0)
    rows: Array = legendre.legvander((positions - middle) / scale, order - deriv) @ derived
    return rows


def _lowpass(function: str, window: Any, factor: int, dtype: np.dtype[Any]) -> Array:
    """The filter of `resample_poly`: the window itself where that is an array, or one that the window is put on."""
    if isinstance(window, (list, np.ndarray)):
        h = np.array(window)
        if h.ndim != 1 or h.size == 0:
            raise ValueError(f"{function}(): window has shape {h.shape}, expected one dimension, not empty")
        return h
    half = 10 * factor
    if isinstance(window, tuple) and len(window) == 2 and window[0] == "kaiser":
        h = np.sinc(np.arange(-half, half + 1) / factor) * np.kaiser(2 * half + 1, window[1])
        h /= h.sum()
    else:
        h = _scipys(function, f"window {window!r}", ValueError, "firwin")(2 * half + 1, 1 / factor, window=window)
    return h.astype(dtype, copy=False) if dtype.kind in "fc" else h


def _resampled(
    h: Array, x: Array, up: int, down: int, start: int, count: int, axis: int, boundary: str, fill: Any
) -> Array:
    """Of `x` with `up - 1` zeros after each element, convolved with `h`: elements from `start` on, `down` apart.

    Element `t` is a sum over the phase `h[t % up::up]`, which runs backwards from the input's element `t // up`. Phases
    come again after some outputs, and the input moves on by a whole step: for each phase, a correlation with a stride.
    Neighbouring phases are output channels of one correlation, and their windows are one.
    """
    if _is_narrow(x, axis):
        return _back(_resampled(h, _rows(x, axis), up, down, start, count, x.ndim - 1, boundary, fill), axis)
    out = np.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
    if out.size == 0 or x.size == 0:
        return out
    taps, size = -(-h.size // up), x.shape[axis]
    last = (start + (count - 1) * down) // up
    if boundary != "constant" or last - taps >= size - 1:  # the second: a window that lies behind the input
        before, after = max(0, taps - 1 - start // up), max(0, last - size + 1)
        values = {"constant_values": fill} if boundary == "constant" else {}
        pads = [(before, after) if a == axis else (0, 0) for a in range(x.ndim)]
        x = np.pad(x, pads, boundary, **values)  # type: ignore[call-overload]
        start += before * up
    planes, target = _planes(x, axis), _planes(out, axis)[:, 0]
    common = math.gcd(up, down)
    phases, step = up // common, down // common
    together = 1
    if phases > 1 and np.isfinite(x).all():  # what is not, times 0, would reach the neighbours of a phase
        together = max(1, (_WASTE - 1) * taps * up // down)
    whole = count // phases
    for first, repeated, among in ((0, whole, phases), (whole * phases, 1, count - whole * phases)):
        if repeated * among == 0:
            continue
        part = target[:, first : first + repeated * among]
        part = part.reshape(len(part), repeated, among, -1).swapaxes(1, 2)
        for phase in range(0, among, together):
            members = range(first + phase, first + min(phase + together, among))
            results = part[:, phase : phase + len(members)]
            _resample_phases(h, planes, up, [start + m * down for m in members], step, results, fill)
    return out


def _resample_phases(h: Array, planes: Array, up: int, times: list[int], step: int, out: Array, fill: Any) -> None:
    """One correlation for several outputs at times in the stuffed input, and those whole steps after them."""
    taps, begin = -(-h.size // up), times[0] // up
    bank = np.zeros((len(times), 1, times[-1] // up - begin + taps, 1), h.dtype)
    for row, time_ in zip(bank, times, strict=True):
        phase, end = h[time_ % up :: up][::-1], time_ // up - begin + taps
        row[0, end - phase.size : end, 0] = phase
    low = begin - taps + 1
    high = low + bank.shape[2] + (out.shape[2] - 1) * step
    size = planes.shape[2]
    cut, pads = planes[:, :, max(low, 0) : min(high, size)], (max(0, -low), max(0, high - size))
    if planes.shape[3] == 1:
        correlate_nd(cut[..., 0], bank[..., 0], stride=step, padding=(pads,), fillvalue=fill, out=out[..., 0])
    else:
        correlate_nd(cut, bank, stride=(step, 1), padding=(pads, (0, 0)), fillvalue=fill, out=out)


offer(convolve, "signal.by_method", "convolve")
offer(correlate, "signal.by_method", "correlate")
offer(convolve2d, "signal.by_boundary", "convolve2d")
offer(correlate2d, "signal.by_boundary", "correlate2d")
