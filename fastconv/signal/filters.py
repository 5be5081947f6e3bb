"""Filters along an axis: finite impulse responses, polynomials, changes of the sampling rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from numpy.typing import ArrayLike

from .. import problem as checks
from ..conv import correlate_nd
from ..problem import Array
from .arguments import as_arrays, check_choice, common_dtype, scipys

_UPFIRDN = "constant", "wrap", "edge", "symmetric", "reflect"  # NumPy has the same names
_UPFIRDN_OF_SCIPY = "smooth", "antisymmetric", "antireflect", "line"
_SAVGOL = {"mirror": "reflect", "constant": "constant", "nearest": "edge", "wrap": "wrap", "interp": "constant"}
_BACKGROUNDS: dict[str, Any] = {"mean": np.mean, "median": np.median, "minimum": np.min, "maximum": np.max}
_NARROW = 16  # elements, some vectors
_WASTE = 2  # phases of a resampling share windows that are at most so many times longer than their filters


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
    b, a, x = as_arrays(function, b=b, a=a, x=x)
    b, a = np.atleast_1d(b), np.atleast_1d(a)
    for name, array in (("b", b), ("a", a)):
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"{function}(): {name} has shape {array.shape}, expected one dimension, not empty")
    state = {} if zi is None else {"zi": as_arrays(function, zi=zi)[0]}
    dtype = common_dtype(function, b=b, a=a, x=x, **state)
    if a.size > 1:
        return scipys(function, f"a recursive filter (a has {a.size} coefficients)", ValueError)(b, a, x, axis, zi)
    if dtype.char in "gGO":
        return scipys(function, f"dtype {dtype}")(b, a, x, axis, zi)
    if dtype.char not in "fdFD":
        raise NotImplementedError(
            f"{function}(): b, a and x promote to dtype {dtype}, expected float32, float64, complex64 or complex128; "
            "convert one of them"
        )
    if x.size == 0:
        raise ValueError(f"{function}(): x is empty, expected at least one element")
    axis, last = normalize_axis_index(axis, x.ndim), b.size - 1
    taps, x = checks.cast(b, dtype)[::-1] / checks.cast(a, dtype), checks.cast(x, dtype)
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
    (x,) = as_arrays(function, x=x)
    check_choice(function, "mode", mode, tuple(_SAVGOL))
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
    return checks.cast(y, dtype)


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
    h, x = as_arrays(function, h=h, x=x)
    if h.ndim != 1 or h.size == 0:
        raise ValueError(f"{function}(): h has shape {h.shape}, expected one dimension, not empty")
    up, down = (_as_factor(function, name, value) for name, value in (("up", up), ("down", down)))
    boundary = mode.lower()
    check_choice(function, "mode", boundary, (*_UPFIRDN, *_UPFIRDN_OF_SCIPY))
    dtype = np.result_type(common_dtype(function, h=h, x=x), np.float32)
    if dtype.char not in "fdFD":
        return scipys(function, f"dtype {dtype}")(h, x, up, down, axis, mode, cval)
    if boundary not in _UPFIRDN:
        return scipys(function, f"mode {mode!r}", ValueError)(h, x, up, down, axis, mode, cval)
    axis = normalize_axis_index(axis, x.ndim)
    count = max(0, ((x.shape[axis] - 1) * up + h.size - 1) // down + 1)
    h, x = checks.cast(h, dtype), checks.cast(x, dtype)
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
    (x,) = as_arrays(function, x=x)
    up, down = (_as_factor(function, name, value, exact=True) for name, value in (("up", up), ("down", down)))
    if cval is not None and padtype != "constant":
        raise ValueError(f"{function}(): cval is {cval!r}, which has no effect on padtype {padtype!r}")
    check_choice(function, "padtype", padtype, (*_BACKGROUNDS, *_UPFIRDN, *_UPFIRDN_OF_SCIPY))
    common = math.gcd(up, down)
    up, down = up // common, down // common
    if up == down == 1:
        return x.copy()
    axis = normalize_axis_index(axis, x.ndim)
    if np.result_type(x, np.float32).char not in "fdFD":
        return scipys(function, f"dtype {x.dtype}")(x, up, down, axis, window, padtype, cval)
    if padtype in _UPFIRDN_OF_SCIPY:
        return scipys(function, f"padtype {padtype!r}", ValueError)(x, up, down, axis, window, padtype, cval)
    h = _lowpass(function, window, max(up, down), x.dtype)
    h = h * h.dtype.type(up)
    count, dtype = -(-x.shape[axis] * up // down), np.result_type(h, x, np.float32)
    background, boundary = None, padtype
    if padtype in _BACKGROUNDS:
        background, boundary = _BACKGROUNDS[padtype](x, axis=axis, keepdims=True), "constant"
        x = np.asarray(x - background)
    fill = checks.as_fill(function, cval or 0, dtype)[0]
    h, x = checks.cast(h, dtype), checks.cast(x, dtype)
    y = _resampled(h, x, up, down, (h.size - 1) // 2, count, axis, boundary, fill)
    if background is not None:
        y += background
    return y


def _as_factor(function: str, name: str, value: Any, exact: bool = False) -> int:
    factor = int(value)
    if exact and factor != value:
        raise ValueError(f"{function}(): {name} is {value!r}, expected an integer")
    if factor < 1:
        raise ValueError(f"{function}(): {name} is {value!r}, expected 1 or more")
    return factor


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
        h = scipys(function, f"window {window!r}", ValueError, "firwin")(2 * half + 1, 1 / factor, window=window)
    return checks.cast(h, dtype) if dtype.kind in "fc" else h


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
