"""Derivatives, and what is made of several of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..filters import SUM, Pass, Window
from ..problem import Array
from . import arguments as checks
from .arguments import ZERO, call_key
from .linear import correlate1d, gaussian_filter
from .running import apply, prepared


def sobel(input: Any, axis: Any = -1, output: Any = None, mode: Any = "reflect", cval: Any = ZERO) -> Array:
    """Sobel's derivative along one axis, smoothed along the others: a drop-in for `scipy.ndimage.sobel`.

    Parameters
    ----------
    input : array_like
    axis : int
        Along which the derivative is taken.
    output, cval
        As for `correlate1d`.
    mode : as for `correlate1d`, or one per axis

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.sobel(np.arange(12).reshape(3, 4))
    array([[4, 8, 8, 4],
           [4, 8, 8, 4],
           [4, 8, 8, 4]])
    """
    return _derivative("sobel", (1.0, 2.0, 1.0), input, axis, output, mode, cval)


def prewitt(input: Any, axis: Any = -1, output: Any = None, mode: Any = "reflect", cval: Any = ZERO) -> Array:
    """Prewitt's derivative along one axis, smoothed along the others: a drop-in for `scipy.ndimage.prewitt`.

    Parameters
    ----------
    input, axis, output, mode, cval
        As for `sobel`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.prewitt(np.arange(12).reshape(3, 4))
    array([[3, 6, 6, 3],
           [3, 6, 6, 3],
           [3, 6, 6, 3]])
    """
    return _derivative("prewitt", (1.0, 1.0, 1.0), input, axis, output, mode, cval)


def _derivative(
    function: str, smoothing: tuple[float, ...], input: Any, axis: Any, output: Any, mode: Any, cval: Any
) -> Array:
    key = call_key(function, input, output, cval, axis, mode)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    axis = checks.as_axis(function, "axis", axis, x.ndim)
    cval = checks.as_cval(function, cval, x.dtype.kind == "c")
    boundaries = [checks.as_boundary(function, each) for each in checks.per_axis(function, "mode", mode, x.ndim)]
    others = [each for each in range(x.ndim) if each != axis]
    weights = {axis: (-1.0, 0.0, 1.0), **dict.fromkeys(others, smoothing)}
    steps = [Pass(each, SUM, 3, weights[each], 1, boundaries[each], cval) for each in weights]
    return apply(function, x, output, steps, key=key)


def laplace(input: Any, output: Any = None, mode: Any = "reflect", cval: Any = ZERO, *, axes: Any = None) -> Array:
    """The sum of second differences along the axes: a drop-in for `scipy.ndimage.laplace`.

    Parameters
    ----------
    input : array_like
    output, cval
        As for `correlate1d`.
    mode : as for `correlate1d`, or one per axis
    axes : int or tuple of int, optional
        The axes whose differences are added.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.laplace(np.arange(12).reshape(3, 4) ** 2)
    array([[ 17,  26,  34,  35],
           [ 41,  34,  34,  19],
           [-31, -54, -62, -93]])
    """
    function = "laplace"
    key = call_key(function, input, output, cval, mode, axes)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    filtered = checks.as_axes(function, axes, x.ndim)
    modes = checks.per_axis(function, "mode", mode, len(filtered))
    names = [checks.as_boundary(function, each) for each in modes]
    number = checks.as_cval(function, cval, x.dtype.kind == "c")
    _, dtype = checks.asked_output(function, output, x, False)
    if not 1 <= len(filtered) <= 3 or not _adds_up(x.dtype, dtype, number if "constant" in names else 0.0):

        def derivative(x: Array, axis: int, output: Any, mode: Any, cval: Any) -> Array:
            return correlate1d(x, [1, -2, 1], axis, output, mode, cval)

        return _add_derivatives(function, x, derivative, output, mode, cval, (), {}, filtered)
    boundaries = ["edge"] * x.ndim
    weights = np.zeros([3 if axis in filtered else 1 for axis in range(x.ndim)])
    centre = tuple(size // 2 for size in weights.shape)
    for axis, name in zip(filtered, names, strict=True):
        boundaries[axis] = name
        for side in (0, 2):
            weights[*centre[:axis], side, *centre[axis + 1 :]] = 1
    weights[centre] = -2 * len(filtered)
    window = Window(SUM, weights, weights != 0, centre, tuple(boundaries), number)
    return apply(function, x, output, window, key=key)


def _adds_up(given: np.dtype[Any], result: np.dtype[Any], cval: Any) -> bool:
    """Whether one sum over all axes is as exact as a sum of sums: whole numbers wrap alike, floats round less often."""
    if result.kind in "iu":
        return result == given and float(cval).is_integer()
    return result.kind == "f" or (result.kind == "c" and result == given)


def generic_laplace(
    input: Any,
    derivative2: Callable[..., Any],
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    extra_arguments: Any = (),
    extra_keywords: Any = None,
    *,
    axes: Any = None,
) -> Array:
    """The sum of a function's second derivatives along the axes: a drop-in for `scipy.ndimage.generic_laplace`.

    Parameters
    ----------
    input : array_like
    derivative2 : callable
        Called as ``derivative2(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``.
    output, mode, cval, axes
        As for `laplace`.
    extra_arguments : tuple
    extra_keywords : dict, optional

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> def second(input, axis, output, mode, cval):
    ...     return ndimage.correlate1d(input, [1, -2, 1], axis, output, mode, cval)
    >>> ndimage.generic_laplace([0, 1, 4, 9], second)
    array([ 1,  2,  2, -5])
    """
    function = "generic_laplace"
    x = checks.as_array(function, "input", input)
    axes = checks.as_axes(function, axes, x.ndim)
    return _add_derivatives(function, x, derivative2, output, mode, cval, extra_arguments, extra_keywords or {}, axes)


def _add_derivatives(
    function: str,
    x: Array,
    derivative: Callable[..., Any],
    output: Any,
    mode: Any,
    cval: Any,
    extra: Any,
    keywords: dict[str, Any],
    axes: tuple[int, ...],
    magnitude: bool = False,
) -> Array:
    """The sum along the axes, of squares for a magnitude, in place as SciPy makes it: integers wrap and are cut."""
    given, dtype = checks.asked_output(function, output, x, False)
    modes = checks.per_axis(function, "mode", mode, len(axes))
    out = np.empty(x.shape, dtype) if given is None else given
    if not axes:
        out[...] = x
        return out
    if np.may_share_memory(x, out):  # each derivative reads the input
        x = x.copy()
    with np.errstate(all="ignore"):  # as kernels do
        for axis, each in zip(axes, modes, strict=True):
            if axis == axes[0]:
                derivative(x, axis, out, each, cval, *extra, **keywords)
                if magnitude:
                    np.multiply(out, out, out)
                continue
            more = derivative(x, axis, out.dtype, each, cval, *extra, **keywords)
            if magnitude:
                np.multiply(more, more, more)
            out += more
        if magnitude:
            np.sqrt(out, out, casting="unsafe")
    return out


def gaussian_laplace(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> Array:
    """The sum of a Gaussian's second derivatives: a drop-in for `scipy.ndimage.gaussian_laplace`.

    Parameters
    ----------
    input : array_like
    sigma : float, or one per axis
    output, mode, cval, axes
        As for `laplace`; of several modes each is for the whole of one axis's derivative, as in SciPy.
    **kwargs
        For `gaussian_filter`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_laplace([0.0, 0.0, 1.0, 0.0, 0.0], sigma=1).round(3)
    array([ 0.197,  0.002, -0.399,  0.002,  0.197])
    """
    function = "gaussian_laplace"
    x = checks.as_array(function, "input", input)
    axes = checks.as_axes(function, axes, x.ndim)
    sigmas = checks.spread(checks.per_axis(function, "sigma", sigma, len(axes)), axes, x.ndim, 0)

    def derivative(x: Array, axis: int, output: Any, mode: Any, cval: Any) -> Array:
        order = [2 if each == axis else 0 for each in range(x.ndim)]
        return gaussian_filter(x, sigmas, order, output, mode, cval, **kwargs)

    return _add_derivatives(function, x, derivative, output, mode, cval, (), {}, axes)


def generic_gradient_magnitude(
    input: Any,
    derivative: Callable[..., Any],
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    extra_arguments: Any = (),
    extra_keywords: Any = None,
    *,
    axes: Any = None,
) -> Array:
    """The length of a function's gradient: a drop-in for `scipy.ndimage.generic_gradient_magnitude`.

    Parameters
    ----------
    input : array_like
    derivative : callable
        Called as ``derivative(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``.
    output, mode, cval, axes
        As for `laplace`.
    extra_arguments : tuple
    extra_keywords : dict, optional

    Returns
    -------
    ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.generic_gradient_magnitude(np.arange(6.0).reshape(2, 3), ndimage.sobel).round(2)
    array([[12.65, 14.42, 12.65],
           [12.65, 14.42, 12.65]])
    """
    function = "generic_gradient_magnitude"
    x = checks.as_array(function, "input", input)
    axes = checks.as_axes(function, axes, x.ndim)
    return _add_derivatives(
        function, x, derivative, output, mode, cval, extra_arguments, extra_keywords or {}, axes, magnitude=True
    )


def gaussian_gradient_magnitude(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    *,
    axes: Any = None,
    **kwargs: Any,
) -> Array:
    """The length of the gradient under a Gaussian: a drop-in for `scipy.ndimage.gaussian_gradient_magnitude`.

    Parameters
    ----------
    input : array_like
    sigma : float, or one per axis of `input`
    output, mode, cval, axes
        As for `laplace`; of several modes each is for the whole of one axis's derivative, as in SciPy.
    **kwargs
        For `gaussian_filter`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_gradient_magnitude([0.0, 0.0, 1.0, 0.0, 0.0], sigma=1).round(3)
    array([0.095, 0.241, 0.   , 0.241, 0.095])
    """
    function = "gaussian_gradient_magnitude"
    x = checks.as_array(function, "input", input)
    axes = checks.as_axes(function, axes, x.ndim)

    def derivative(x: Array, axis: int, output: Any, mode: Any, cval: Any) -> Array:
        order = [1 if each == axis else 0 for each in range(x.ndim)]
        return gaussian_filter(x, sigma, order, output, mode, cval, **kwargs)

    return _add_derivatives(function, x, derivative, output, mode, cval, (), {}, axes, magnitude=True)
