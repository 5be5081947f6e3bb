"""Maxima and minima."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..filters import MAXIMUM, MINIMUM, Window
from ..problem import Array
from . import arguments as checks
from .arguments import IGNORED_SIZE, ZERO, RefusedError, call_key, with_array
from .linear import box, boxes
from .running import apply, prepared


def maximum_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Maximum of the elements around each: a drop-in for `scipy.ndimage.maximum_filter`.

    Parameters
    ----------
    input : array_like
    size : int, or one per axis
        Of a window that is full.
    footprint : array_like of bool
        Which elements of the window count, instead of `size`.
    output : dtype or ndarray, optional
        The dtype of the result, or where it goes; `input` itself is allowed.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, or one per axis where the window is full
        What lies outside, "reflect" repeating the edge; "grid-mirror", "grid-constant" and "grid-wrap" are synonyms.
    cval : float
        What lies outside where `mode` is "constant".
    origin : int, or one per axis
        How far the window is moved: 0 centres it over the output, positive numbers move it to the left.
    axes : int or tuple of int, optional
        The axes that are filtered.

    Returns
    -------
    ndarray
        Of the input's shape and, unless `output` says another, its dtype.

    Raises
    ------
    ValueError
        For shapes and values; where SciPy raises a RuntimeError, it is one, too.
    TypeError
        For types: complex numbers have no order.

    Notes
    -----
    A NaN in a window gives NaN; what it gives in SciPy depends on where it lies.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.maximum_filter(np.arange(12.0).reshape(3, 4), size=3)
    array([[ 5.,  6.,  7.,  7.],
           [ 9., 10., 11., 11.],
           [ 9., 10., 11., 11.]])
    """
    return filter_windows("maximum_filter", MAXIMUM, input, size, footprint, None, output, mode, cval, origin, axes)


def minimum_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Minimum of the elements around each: a drop-in for `scipy.ndimage.minimum_filter`.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As for `maximum_filter`.

    Returns
    -------
    ndarray
        Of the input's shape and, unless `output` says another, its dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.minimum_filter(np.arange(12.0).reshape(3, 4), size=3)
    array([[0., 0., 1., 2.],
           [0., 0., 1., 2.],
           [4., 4., 5., 6.]])
    """
    return filter_windows("minimum_filter", MINIMUM, input, size, footprint, None, output, mode, cval, origin, axes)


def maximum_filter1d(
    input: Any,
    size: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
) -> Array:
    """Maximum along one axis: a drop-in for `scipy.ndimage.maximum_filter1d`.

    Parameters
    ----------
    input : array_like
    size : int
        Of the window.
    axis : int
    output, mode, cval, origin
        As for `maximum_filter`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.maximum_filter1d([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8., 8., 8., 4., 9., 9., 9., 9.])
    """
    return _filter_axis("maximum_filter1d", MAXIMUM, input, size, axis, output, mode, cval, origin)


def minimum_filter1d(
    input: Any,
    size: Any,
    axis: Any = -1,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
) -> Array:
    """Minimum along one axis: a drop-in for `scipy.ndimage.minimum_filter1d`.

    Parameters
    ----------
    input : array_like
    size : int
        Of the window.
    axis : int
    output, mode, cval, origin
        As for `minimum_filter`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.minimum_filter1d([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2., 0., 0., 0., 1., 1., 0., 0.])
    """
    return _filter_axis("minimum_filter1d", MINIMUM, input, size, axis, output, mode, cval, origin)


def _filter_axis(
    function: str, kind: int, input: Any, size: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any
) -> Array:
    key = call_key(function, input, output, cval, size, axis, mode, origin)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    checks.refuse_complex(function, x)
    return apply(function, x, output, [box(function, kind, x, axis, size, mode, cval, origin)], key=key)


def filter_windows(
    function: str,
    kind: int,
    input: Any,
    size: Any,
    footprint: Any,
    structure: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Array:
    """Extrema over several axes: one after the other, or where not all of a flat window counts, in one."""
    key = call_key(function, input, output, cval, kind, size, mode, origin, axes)
    if footprint is not None:
        if size is not None:
            warnings.warn(IGNORED_SIZE, UserWarning, stacklevel=3)
        footprint = checks.as_array(function, "footprint", footprint)
        key = with_array(key, "footprint", footprint)
    if structure is not None:
        structure = checks.as_array(function, "structure", structure)
        key = with_array(key, "structure", structure)
    if (call := prepared.get(key)) is not None:
        return call(input, output)
    x = checks.as_array(function, "input", input)
    checks.refuse_complex(function, x)
    axes = checks.as_axes(function, axes, x.ndim)
    if footprint is not None:
        footprint = footprint.astype(bool, copy=False)
        if not footprint.any():
            raise ValueError(f"{function}(): All-zero footprint is not supported, expected an element that counts")
    if structure is not None:
        structure = checks.as_weights(function, "structure", structure).real
    if structure is None and (footprint is None or footprint.all()):
        if footprint is not None:
            size = footprint.shape
        if size is None:
            raise RefusedError(f"{function}(): no footprint provided, and no size: expected one of them")
        return apply(function, x, output, boxes(function, kind, x, size, mode, cval, origin, axes), key=key)
    if structure is None:
        structure = np.zeros(footprint.shape)
    elif footprint is None:
        footprint = np.ones(structure.shape, bool)
    if structure.shape != footprint.shape:
        raise RefusedError(
            f"{function}(): structure has shape {structure.shape}, expected the footprint's {footprint.shape}"
        )
    footprint = checks.expand(function, "footprint", footprint, axes, x.ndim)
    weights = structure.reshape(footprint.shape)
    origins = checks.spread(checks.per_axis(function, "origin", origin, len(axes)), axes, x.ndim, 0)
    before = tuple(checks.as_before(function, *each) for each in zip(origins, footprint.shape))
    boundaries = (checks.as_one_boundary(function, mode),) * x.ndim
    cval = checks.as_cval(function, cval, False)
    weights = -weights if kind == MINIMUM else weights.copy(order="C")
    window = Window(kind, weights, footprint.copy(order="C"), before, boundaries, cval)
    return apply(function, x, output, window, key=key)
