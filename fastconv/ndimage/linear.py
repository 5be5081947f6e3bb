"""Sums: correlations, Gaussians and means."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from ..filters import MEAN, SUM, Pass, Window
from ..problem import Array
from . import arguments as checks
from .arguments import ZERO, RefusedError, RefusedNumberError, call_key, with_array
from .running import apply, prepared


def correlate1d(
    input: Any,
    weights: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
) -> Array:
    """Correlation along one axis: a drop-in for `scipy.ndimage.correlate1d`.

    Parameters
    ----------
    input : array_like
    weights : array_like, one-dimensional
    axis : int
    output : dtype or ndarray, optional
        The dtype of the result, or where it goes; `input` itself is allowed.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}
        What lies outside, "reflect" repeating the edge; "grid-mirror", "grid-constant" and "grid-wrap" are synonyms.
    cval : number
        What lies outside where `mode` is "constant".
    origin : int
        How far the window is moved: 0 centres it over the output, positive numbers move it to the left.

    Returns
    -------
    ndarray
        Of the input's shape and, unless `output` says another, its dtype. Integers are cut towards zero.

    Raises
    ------
    ValueError
        For shapes and values; where SciPy raises a RuntimeError, it is one, too.
    TypeError
        For types.

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([ 8, 26,  8, 12,  7, 28, 36,  9])
    """
    return _correlate_axis("correlate1d", input, weights, axis, output, mode, cval, origin, False)


def convolve1d(
    input: Any,
    weights: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
) -> Array:
    """Convolution along one axis: a drop-in for `scipy.ndimage.convolve1d`.

    Parameters
    ----------
    input, weights, axis, output, mode, cval, origin
        As for `correlate1d`; a positive `origin` moves the window to the right.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    return _correlate_axis("convolve1d", input, weights, axis, output, mode, cval, origin, True)


def _correlate_axis(
    function: str, input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any, flip: bool
) -> Array:
    if type(weights) is not np.ndarray:
        weights = checks.as_array(function, "weights", weights)
    key = with_array(call_key(function, input, output, cval, axis, mode, origin), "weights", weights)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    weights = checks.as_weights(function, "weights", weights)
    if weights.ndim != 1 or weights.size == 0:
        raise RefusedError(
            f"{function}(): no filter weights given: weights has shape {weights.shape}, expected one dimension and an "
            "element"
        )
    axis = checks.as_axis(function, "axis", axis, x.ndim)
    before = checks.as_before(function, origin, weights.size)
    if flip:
        weights, before = weights[::-1], weights.size - 1 - before
    boundary = checks.as_boundary(function, mode)

    def apply_real(x: Array, weights: Array, output: Any, cval: Any, key: Any) -> Array:
        each = Pass(axis, SUM, weights.size, tuple(weights.tolist()), before, boundary, cval)
        return apply(function, x, output, [each], promote=x.dtype.kind == "c", key=key)

    return _sum_parts(function, apply_real, x, weights if flip else weights.conj(), output, cval, key)


def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Correlation over any number of axes: a drop-in for `scipy.ndimage.correlate`.

    Parameters
    ----------
    input : array_like
    weights : array_like
        Of as many dimensions as axes are filtered. Weights of exactly zero count for nothing, even times infinity;
        SciPy takes weights up to 2.2e-16 for zero, too.
    output, mode, cval
        As for `correlate1d`.
    origin : int, or one int per axis
        As for `correlate1d`.
    axes : int or tuple of int, optional
        The axes that are filtered.

    Returns
    -------
    ndarray
        As of `correlate1d`. Complex `weights` are conjugated.

    Raises
    ------
    ValueError
        For shapes and values; where SciPy raises a RuntimeError, it is one, too.
    TypeError
        For types.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.correlate(np.arange(12).reshape(3, 4), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    array([[ 5,  9, 14, 18],
           [21, 25, 30, 34],
           [37, 41, 46, 50]])
    """
    return _correlate("correlate", input, weights, output, mode, cval, origin, axes, False)


def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Convolution over any number of axes: a drop-in for `scipy.ndimage.convolve`.

    Parameters
    ----------
    input, weights, output, mode, cval, origin, axes
        As for `correlate`; a positive `origin` moves the window to the right.

    Returns
    -------
    ndarray
        As of `correlate`; complex `weights` are not conjugated.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.convolve(np.arange(12).reshape(3, 4), [[1, 0], [0, -1]], mode="constant")
    array([[  5,   5,   5,  -3],
           [  5,   5,   5,  -7],
           [ -8,  -9, -10, -11]])
    """
    return _correlate("convolve", input, weights, output, mode, cval, origin, axes, True)


def _correlate(
    function: str, input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, flip: bool
) -> Array:
    if type(weights) is not np.ndarray:
        weights = checks.as_array(function, "weights", weights)
    key = with_array(call_key(function, input, output, cval, mode, origin, axes), "weights", weights)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    axes = checks.as_axes(function, axes, x.ndim)
    weights = checks.expand(function, "weights", checks.as_weights(function, "weights", weights), axes, x.ndim)
    origins = checks.spread(checks.per_axis(function, "origin", origin, len(axes)), axes, x.ndim, 0)
    before = tuple(checks.as_before(function, *each) for each in zip(origins, weights.shape))
    boundaries = (checks.as_one_boundary(function, mode),) * x.ndim
    if flip:
        weights = np.flip(weights)
        before = tuple(size - 1 - taps for size, taps in zip(weights.shape, before))
    else:
        weights = weights.conj()

    def apply_real(x: Array, weights: Array, output: Any, cval: Any, key: Any) -> Array:
        window = Window(SUM, weights.copy(order="C"), weights != 0, before, boundaries, cval)
        return apply(function, x, output, window, promote=x.dtype.kind == "c", key=key)

    return _sum_parts(function, apply_real, x, weights, output, cval, key)


def _sum_parts(
    function: str,
    apply_real: Callable[[Array, Array, Any, Any, Any], Array],
    x: Array,
    weights: Array,
    output: Any,
    cval: Any,
    key: Any,
) -> Array:
    """The sum for complex weights in terms of real ones, as SciPy composes it."""
    cval = checks.as_cval(function, cval, x.dtype.kind == "c")
    if weights.dtype.kind != "c":
        return apply_real(x, weights, output, cval, key)
    given, dtype = checks.asked_output(function, output, x, True)
    checks.check_dtypes(function, x.dtype if x.dtype.kind == "c" else np.dtype(np.complex64), dtype)
    part = np.empty(0, dtype).real.dtype
    if x.dtype.kind == "c":
        total = apply_real(x, weights.real, dtype, cval, None)
        turned = apply_real(x, weights.imag, dtype, cval, None)
        total.real -= turned.imag
        total.imag += turned.real
    else:
        total = np.empty(x.shape, dtype)
        total.real = apply_real(x, weights.real, part, cval, None)
        total.imag = apply_real(x, weights.imag, part, cval, None)
    if given is None:
        return total
    given[...] = total
    return given


def gaussian_filter1d(
    input: Any,
    sigma: Any,
    axis: Any = -1,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    truncate: Any = 4.0,
    *,
    radius: Any = None,
) -> Array:
    """A Gaussian, or its derivative, along one axis: a drop-in for `scipy.ndimage.gaussian_filter1d`.

    Parameters
    ----------
    input : array_like
    sigma : float
        Standard deviation.
    axis, output, mode, cval
        As for `correlate1d`.
    order : int
        Of the derivative; 0 is the Gaussian itself.
    truncate : float
        The window ends at so many standard deviations.
    radius : int, optional
        The window reaches so far to both sides, whatever `truncate` says.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(3)
    array([1.427, 2.068, 3.   , 3.932, 4.573])
    """
    function = "gaussian_filter1d"
    key = call_key(function, input, output, cval, sigma, axis, order, mode, truncate, radius)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    axis = checks.as_axis(function, "axis", axis, x.ndim)
    cval = checks.as_cval(function, cval, x.dtype.kind == "c")
    steps = [_gaussian(function, axis, sigma, order, mode, cval, truncate, radius)]
    return apply(function, x, output, steps, promote=x.dtype.kind == "c", key=key)


def gaussian_filter(
    input: Any,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    truncate: Any = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> Array:
    """A Gaussian, or its derivatives, over any number of axes: a drop-in for `scipy.ndimage.gaussian_filter`.

    One axis is filtered after the other, each rounding to the result's dtype.

    Parameters
    ----------
    input : array_like
    sigma, order, mode, radius : as for `gaussian_filter1d`, or one per axis
        Axes with a `sigma` of 0 are left as they are.
    output, cval, truncate
        As for `gaussian_filter1d`.
    axes : int or tuple of int, optional
        The axes that are filtered.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_filter(np.eye(3), sigma=0.5).round(2)
    array([[0.81, 0.18, 0.01],
           [0.18, 0.64, 0.18],
           [0.01, 0.18, 0.81]])
    """
    function = "gaussian_filter"
    key = call_key(function, input, output, cval, sigma, order, mode, truncate, radius, axes)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    axes = checks.as_axes(function, axes, x.ndim)
    cval = checks.as_cval(function, cval, x.dtype.kind == "c")
    orders, sigmas, modes, radii = (
        checks.per_axis(function, name, value, len(axes))
        for name, value in (("order", order), ("sigma", sigma), ("mode", mode), ("radius", radius))
    )
    steps = [
        _gaussian(function, axis, each, order, mode, cval, truncate, radius)
        for axis, each, order, mode, radius in zip(axes, sigmas, orders, modes, radii, strict=True)
        if checks.as_number(function, "sigma", each) > 1e-15
    ]
    return apply(function, x, output, steps, key=key)


def _gaussian(
    function: str, axis: int, sigma: Any, order: Any, mode: Any, cval: Any, truncate: Any, radius: Any
) -> Pass:
    if radius is None:
        reach = checks.as_number(function, "truncate", truncate) * checks.as_number(function, "sigma", sigma) + 0.5
        if not np.isfinite(reach):
            raise RefusedNumberError(
                f"{function}(): sigma is {sigma!r} and truncate {truncate!r}, expected finite numbers"
            )
        radius = int(reach)
    if not isinstance(radius, Integral) or radius < 0:
        raise ValueError(f"{function}(): radius is {radius!r}, expected a nonnegative integer")
    order = checks.as_order(function, order)
    weights = gaussian_weights(function, sigma, order, int(radius))[::-1]
    return Pass(axis, SUM, weights.size, tuple(weights.tolist()), int(radius), checks.as_boundary(function, mode), cval)


def gaussian_weights(function: str, sigma: Any, order: int, radius: int) -> Array:
    """A Gaussian's derivative at the integers up to `radius`: the Gaussian, of sum 1, times a polynomial."""
    variance = sigma * sigma
    if variance == 0:
        raise RefusedNumberError(f"{function}(): sigma is {sigma!r}, expected a number whose square is above 0")
    x = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 / variance * x**2)
    bell = bell / bell.sum()
    # (q * bell)' = (q' - x / variance * q) * bell, for the coefficients of q as a matrix
    powers = np.arange(order + 1)
    step = np.diag(powers[1:], 1) + np.diag(np.ones(order) / -variance, -1)
    polynomial = np.zeros(order + 1)
    polynomial[0] = 1
    for _ in range(order):
        polynomial = step.dot(polynomial)
    weights: Array = (x[:, None] ** powers).dot(polynomial) * bell if order else bell
    return weights


def uniform_filter1d(
    input: Any,
    size: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
) -> Array:
    """Means along one axis: a drop-in for `scipy.ndimage.uniform_filter1d`.

    Parameters
    ----------
    input : array_like
    size : int
        Of the window.
    axis, output, mode, cval, origin
        As for `correlate1d`.

    Returns
    -------
    ndarray

    Notes
    -----
    A value that is not finite reaches the outputs whose window holds it; in SciPy, whose sums run on, all that follow.

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    function = "uniform_filter1d"
    key = call_key(function, input, output, cval, size, axis, mode, origin)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    steps = [box(function, MEAN, x, axis, size, mode, cval, origin)]
    return apply(function, x, output, steps, promote=x.dtype.kind == "c", key=key)


def uniform_filter(
    input: Any,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Means over any number of axes: a drop-in for `scipy.ndimage.uniform_filter`.

    One axis is filtered after the other, each rounding to the result's dtype.

    Parameters
    ----------
    input : array_like
    size, mode, origin : as for `uniform_filter1d`, or one per axis
        Axes with a `size` of 1 or less are left as they are.
    output, cval
        As for `uniform_filter1d`.
    axes : int or tuple of int, optional
        The axes that are filtered.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.uniform_filter(np.arange(12).reshape(3, 4) ** 2, size=3)
    array([[ 6,  9, 15, 19],
           [29, 35, 46, 54],
           [52, 62, 79, 90]])
    """
    function = "uniform_filter"
    key = call_key(function, input, output, cval, size, mode, origin, axes)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    steps = boxes(function, MEAN, x, size, mode, cval, origin, axes)
    return apply(function, x, output, steps, promote=x.dtype.kind == "c", key=key)


def boxes(function: str, kind: int, x: Array, size: Any, mode: Any, cval: Any, origin: Any, axes: Any) -> list[Pass]:
    """A pass along each axis whose window is longer than 1."""
    axes = checks.as_axes(function, axes, x.ndim)
    sizes, modes, origins = (
        checks.per_axis(function, name, value, len(axes))
        for name, value in (("size", size), ("mode", mode), ("origin", origin))
    )
    return [
        box(function, kind, x, axis, checks.cut(function, size), mode, cval, origin)
        for axis, size, mode, origin in zip(axes, sizes, modes, origins, strict=True)
        if checks.as_number(function, "size", size) > 1
    ]


def box(function: str, kind: int, x: Array, axis: Any, size: Any, mode: Any, cval: Any, origin: Any) -> Pass:
    """A pass of equal taps."""
    axis = checks.as_axis(function, "axis", axis, x.ndim)
    size = checks.as_size(function, size)
    before = checks.as_before(function, origin, size)
    cval = checks.as_cval(function, cval, x.dtype.kind == "c")
    return Pass(axis, kind, size, (), before, checks.as_boundary(function, mode), cval)
