"""Grey morphology: minima and maxima under a window that may have heights, one after the other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..filters import MAXIMUM, MINIMUM
from ..problem import Array
from . import arguments as checks
from .arguments import IGNORED_SIZE, ZERO, RefusedError
from .extrema import filter_windows


def grey_erosion(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Erosion, minima under a window less its structure: a drop-in for `scipy.ndimage.grey_erosion`.

    Parameters
    ----------
    input : array_like
    size : int, or one per axis
        Of a window that is full and flat.
    footprint : array_like of bool
        Which elements of the window count, instead of `size`.
    structure : array_like
        Subtracted from the elements, instead of `size`.
    output, mode, cval, axes
        As for `maximum_filter`.
    origin : int, or one per axis
        As for `minimum_filter`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        For shapes and values; where SciPy raises a RuntimeError, it is one, too.
    TypeError
        For types: complex numbers have no order.

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.grey_erosion([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2., 0., 0., 0., 1., 1., 0., 0.])
    """
    return _erode("grey_erosion", input, output, size, footprint, structure, mode, cval, origin, axes)


def grey_dilation(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Dilation, maxima under a mirrored window plus its structure: a drop-in for `scipy.ndimage.grey_dilation`.

    Parameters
    ----------
    input : array_like
    size : int, or one per axis
        Of a window that is full and flat.
    footprint : array_like of bool
        Which elements of the window count, instead of `size`.
    structure : array_like
        Added to the elements, instead of `size`.
    output, mode, cval, axes
        As for `maximum_filter`.
    origin : int, or one per axis
        As for `maximum_filter`, but that positive numbers move the window to the right.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.grey_dilation([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8., 8., 8., 4., 9., 9., 9., 9.])
    """
    return _dilate("grey_dilation", input, output, size, footprint, structure, mode, cval, origin, axes)


def _erode(
    function: str,
    input: Any,
    output: Any,
    size: Any,
    footprint: Any,
    structure: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Array:
    _check_window(function, size, footprint, structure)
    return filter_windows(function, MINIMUM, input, size, footprint, structure, output, mode, cval, origin, axes)


def _dilate(
    function: str,
    input: Any,
    output: Any,
    size: Any,
    footprint: Any,
    structure: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Array:
    """The maximum under the window mirrored: its middle stays, or is the other one of two."""
    _check_window(function, size, footprint, structure)
    if structure is not None:
        structure = np.flip(checks.as_array(function, "structure", structure))
    if footprint is not None:
        footprint = np.flip(checks.as_array(function, "footprint", footprint))
    window = structure if footprint is None else footprint
    if window is None and type(size) is int and type(origin) is int:  # no axes to look up, as for most calls
        origin = checks.mirrored(function, origin, size)
    else:
        count = len(checks.as_axes(function, axes, np.ndim(input)))
        sizes = checks.per_axis(function, "size", size, count) if window is None else window.shape
        if len(sizes) != count:
            name = "structure" if footprint is None else "footprint"
            raise RefusedError(
                f"{function}(): {name}.ndim ({len(sizes)}) must match len(axes) ({count}): {name} has shape {sizes}"
            )
        origins = checks.per_axis(function, "origin", origin, count)
        origin = tuple(checks.mirrored(function, *each) for each in zip(origins, sizes))
    return filter_windows(function, MAXIMUM, input, size, footprint, structure, output, mode, cval, origin, axes)


def _open(function: str, x: Array, output: Any, *window: Any) -> Array:
    return _dilate(function, _erode(function, _held(x), None, *window), _output(x, output), *window)


def _close(function: str, x: Array, output: Any, *window: Any) -> Array:
    return _erode(function, _dilate(function, _held(x), None, *window), _output(x, output), *window)


def _held(x: Array) -> Array:
    """Bools as bytes: between two steps heights make more of them than True, and SciPy keeps that."""
    return x.view(np.uint8) if x.dtype == bool else x


def _output(x: Array, output: Any) -> Any:
    return bool if output is None and x.dtype == bool else output


def _check_window(function: str, size: Any, footprint: Any, structure: Any) -> None:
    if size is None and footprint is None and structure is None:
        raise ValueError(f"{function}(): size, footprint and structure are None, expected one of them")


def _one_window(size: Any, footprint: Any) -> Any:
    """The size, if it counts: one warning is enough for two filters."""
    if size is not None and footprint is not None:
        warnings.warn(IGNORED_SIZE, UserWarning, stacklevel=3)
        return None
    return size


def _apart(function: str, input: Any, output: Any) -> Array:
    """The input, copied where the output overwrites it before it is last read."""
    x = checks.as_array(function, "input", input)
    return x.copy() if isinstance(output, np.ndarray) and np.may_share_memory(x, output) else x


def grey_opening(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Opening, the dilation of an erosion: a drop-in for `scipy.ndimage.grey_opening`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As for `grey_erosion`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.grey_opening([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2., 2., 0., 1., 1., 1., 1., 0.])
    """
    size = _one_window(size, footprint)
    x = checks.as_array("grey_opening", "input", input)
    return _open("grey_opening", x, output, size, footprint, structure, mode, cval, origin, axes)


def grey_closing(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Closing, the erosion of a dilation: a drop-in for `scipy.ndimage.grey_closing`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As for `grey_erosion`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.grey_closing([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8., 8., 4., 4., 4., 9., 9., 9.])
    """
    size = _one_window(size, footprint)
    x = checks.as_array("grey_closing", "input", input)
    return _close("grey_closing", x, output, size, footprint, structure, mode, cval, origin, axes)


def white_tophat(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """What an opening takes away: a drop-in for `scipy.ndimage.white_tophat`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As for `grey_erosion`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.white_tophat([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([0., 6., 0., 3., 0., 8., 8., 0.])
    """
    size = _one_window(size, footprint)
    x = _apart("white_tophat", input, output)
    opened = _open("white_tophat", x, output, size, footprint, structure, mode, cval, origin, axes)
    return _subtract(x, opened, opened)


def black_tophat(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """What a closing adds: a drop-in for `scipy.ndimage.black_tophat`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As for `grey_erosion`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.black_tophat([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([6., 0., 4., 0., 3., 0., 0., 9.])
    """
    size = _one_window(size, footprint)
    x = _apart("black_tophat", input, output)
    closed = _close("black_tophat", x, output, size, footprint, structure, mode, cval, origin, axes)
    return _subtract(closed, x, closed)


def _subtract(a: Array, b: Array, out: Array) -> Array:
    ufunc = np.bitwise_xor if a.dtype == bool and b.dtype == bool else np.subtract
    ufunc(a, b, out=out)
    return out


def morphological_gradient(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """A dilation less an erosion: a drop-in for `scipy.ndimage.morphological_gradient`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As for `grey_erosion`, but that a dtype as
        `output` is not looked at, as in SciPy.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.morphological_gradient([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([6., 8., 8., 4., 8., 8., 9., 9.])
    """
    size = _one_window(size, footprint)
    given = output if isinstance(output, np.ndarray) else None
    dilated = _dilate("morphological_gradient", input, None, size, footprint, structure, mode, cval, origin, axes)
    eroded = _erode("morphological_gradient", input, given, size, footprint, structure, mode, cval, origin, axes)
    return np.subtract(dilated, eroded, out=eroded)


def morphological_laplace(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    structure: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = ZERO,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """A dilation and an erosion less the input twice: a drop-in for `scipy.ndimage.morphological_laplace`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As for `grey_erosion`, but that a dtype as
        `output` is not looked at, as in SciPy.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.morphological_laplace([2.0, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([ 6., -8.,  8., -4.,  8., -8., -9.,  9.])
    """
    size = _one_window(size, footprint)
    x = _apart("morphological_laplace", input, output)
    given = output if isinstance(output, np.ndarray) else None
    dilated = _dilate("morphological_laplace", x, None, size, footprint, structure, mode, cval, origin, axes)
    out = _erode("morphological_laplace", x, given, size, footprint, structure, mode, cval, origin, axes)
    np.add(dilated, out, out=out)
    np.subtract(out, x, out=out)
    np.subtract(out, x, out=out)
    return out
