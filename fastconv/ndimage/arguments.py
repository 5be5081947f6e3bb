"""What `scipy.ndimage` takes as arguments, checked, and as the kernels read it."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import problem as checks
from ..problem import Array

BOUNDARIES = {  # SciPy's names, and NumPy's, which the kernels know
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "constant": "constant",
    "grid-constant": "constant",
    "nearest": "edge",
    "mirror": "reflect",
    "wrap": "wrap",
    "grid-wrap": "wrap",
}
REAL = frozenset(
    ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64"]
)
COMPLEX = frozenset(["complex64", "complex128"])
ZERO = 0.0  # the default of `cval`, told from a -0.0 by being this object
IGNORED_SIZE = "ignoring size because footprint is set"
_NUMBERS = {bool, int, float, complex}
_SMALL = 8192  # bytes of a kernel that is part of a key


class RefusedError(ValueError, RuntimeError):
    """A shape or value that does not fit: a ValueError as everywhere here, a RuntimeError as in SciPy."""


class RefusedTypeError(TypeError, RuntimeError):
    """A dtype without kernels: a TypeError as everywhere here, a RuntimeError as in SciPy."""


class RefusedNumberError(ValueError, OverflowError, ZeroDivisionError):
    """A number to which there is no Gaussian: a ValueError as everywhere here, and what SciPy's arithmetic raises."""


def as_array(function: str, name: str, value: Any) -> Array:
    """`value` as an ndarray, of any type."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{function}(): {name} cannot be made an array: {error}") from None


def as_weights(function: str, name: str, value: Any) -> Array:
    """`value` as float64 or complex128."""
    array = as_array(function, name, value)
    try:
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{function}(): {name} has dtype {array.dtype}, expected numbers: {error}") from None


def as_int(function: str, name: str, value: Any) -> int:
    """`value` as an int."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function}(): {name} is {value!r}, expected an int: it cannot be interpreted as an integer"
        ) from None


def as_order(function: str, order: Any) -> int:
    """Which derivative."""
    number = as_int(function, "order", order)
    if number < 0:
        raise ValueError(f"{function}(): order must be non-negative, but is {order!r}")
    return number


def as_axis(function: str, name: str, axis: Any, ndim: int) -> int:
    """`axis` counted from the first."""
    number = as_int(function, name, axis)
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(
            f"{function}(): {name} {number} is out of range, expected one of {ndim} dimensions"
        )
    return number % ndim


def as_axes(function: str, axes: Any, ndim: int) -> tuple[int, ...]:
    """The axes that are filtered, all where `axes` is None."""
    if axes is None:
        return tuple(range(ndim))
    if np.isscalar(axes):
        return (as_axis(function, "axes", axes, ndim),)
    if not isinstance(axes, Iterable):
        raise ValueError(f"{function}(): axes is {axes!r}, expected None, an int or several")
    found = tuple(as_axis(function, "axes", axis, ndim) for axis in axes)
    if len(set(found)) != len(found):
        raise ValueError(f"{function}(): axes must be unique, but are {axes!r}")
    return found


def per_axis(function: str, name: str, value: Any, count: int) -> list[Any]:
    """A value for each axis that is filtered."""
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise RefusedError(
            f"{function}(): {name} is {value!r}, expected one, or one for each of {count} axes: a "
            "sequence argument must have length equal to input rank"
        )
    return values


def as_boundary(function: str, mode: Any) -> str:
    """NumPy's name for one of SciPy's modes."""
    boundary = BOUNDARIES.get(mode) if isinstance(mode, str) else None
    if boundary is None:
        raise RefusedError(f"{function}(): mode is {mode!r}, expected one of {', '.join(map(repr, BOUNDARIES))}")
    return boundary


def as_one_boundary(function: str, mode: Any) -> str:
    """As `as_boundary`, where SciPy takes one mode for all axes."""
    if not isinstance(mode, str) and isinstance(mode, Iterable):
        raise RefusedError(f"{function}(): mode is {mode!r}, expected one for all axes")
    return as_boundary(function, mode)


def as_cval(function: str, cval: Any, is_complex: bool) -> Any:
    """`cval` as a float, or as a complex number for complex arrays."""
    try:
        if isinstance(cval, str) or (np.iscomplexobj(cval) and not is_complex):
            raise TypeError
        return complex(cval) if is_complex else float(cval)
    except TypeError:
        raise TypeError(f"{function}(): cval is {cval!r}, expected a {'' if is_complex else 'real '}number") from None
    except OverflowError:
        raise RefusedNumberError(f"{function}(): cval is {cval!r}, expected a number that a float holds") from None


def as_before(function: str, origin: Any, size: int) -> int:
    """How many elements of a window of the given size lie before the output."""
    number = as_int(function, "origin", origin)
    before = size // 2 + number
    if not 0 <= before < size:
        raise ValueError(
            f"{function}(): invalid origin: it is {origin!r}, expected {-(size // 2)} to {(size - 1) // 2} for a "
            f"window of {size}"
        )
    return before


def mirrored(function: str, origin: Any, size: Any) -> int:
    """The origin of a window that is turned round."""
    number = as_int(function, "origin", origin)
    return -number - (as_int(function, "size", size) + 1) % 2


def as_number(function: str, name: str, value: Any) -> float:
    """`value` as a float."""
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}(): {name} is {value!r}, expected a number") from None


def cut(function: str, size: Any) -> int:
    """A size that need not be whole, as SciPy's filters over several axes take it."""
    if not np.isfinite(size):
        raise RefusedNumberError(f"{function}(): size is {size!r}, expected a finite number")
    return int(size)


def as_size(function: str, size: Any) -> int:
    """The length of a window along one axis."""
    number = as_int(function, "size", size)
    if number < 1:
        raise RefusedError(f"{function}(): incorrect filter size: it is {size!r}, expected 1 or more")
    return number


def asked_output(function: str, output: Any, x: Array, promote: bool) -> tuple[Array | None, np.dtype[Any]]:
    """The array that takes the result, if one is given, and its dtype.

    `promote`: where the result is complex, so is its dtype; elsewhere what was asked for must be already.
    """
    if output is None:
        dtype = x.dtype.newbyteorder("=")
        return None, np.promote_types(dtype, np.complex64) if promote and dtype.kind in "biufc" else dtype
    if isinstance(output, (type, np.dtype)):
        dtype = np.dtype(output)
        if promote and dtype.kind != "c":
            warnings.warn("promoting specified output dtype to complex", UserWarning, stacklevel=5)
            dtype = np.promote_types(dtype, np.complex64)
        return None, dtype
    if isinstance(output, str):
        dtype = np.dtype(output)
        if not issubclass(dtype.type, np.number):
            raise RefusedError(f"{function}(): output is {output!r}, expected a numeric dtype")
        given = None
    else:
        given = as_array(function, "output", output)
        dtype = given.dtype
        if given.shape != x.shape:
            raise RefusedError(f"{function}(): output has shape {given.shape}, expected the input's {x.shape}")
    if promote and dtype.kind != "c":
        raise RefusedError(f"{function}(): output has dtype {dtype}, expected a complex one")
    return given, dtype


def check_dtypes(function: str, given: np.dtype[Any], result: np.dtype[Any]) -> None:
    """Refuse types without kernels, and a result that is complex where the input is not, or the other way round."""
    for name, dtype in (("input", given), ("output", result)):
        if dtype.name not in REAL and dtype.name not in COMPLEX:
            raise RefusedTypeError(
                f"{function}(): {name} has dtype {dtype}, expected bool, an integer, float32, float64, complex64 or "
                "complex128"
            )
    if (given.kind == "c") != (result.kind == "c"):
        raise RefusedTypeError(
            f"{function}(): input has dtype {given} and output {result}, expected both real or both complex"
        )


def refuse_complex(function: str, x: Array) -> None:
    """Complex numbers have no order."""
    if x.dtype.kind == "c":
        raise TypeError(f"{function}(): input has dtype {x.dtype}, expected real numbers: complex type not supported")


def call_key(function: str, x: Any, output: Any, cval: Any, *options: Any) -> tuple[Any, ...] | None:
    """What a prepared call is found by, None for calls that are not kept.

    Two calls have one key only if they mean the same: 1, 1.0 and True are told apart, 0.0 and -0.0 where it matters.
    """
    if type(x) is not np.ndarray or not x.flags.aligned:
        return None
    if type(output) is np.ndarray:
        output = _lie_together(x, output)
        if output is None:
            return None
    elif not (output is None or isinstance(output, (type, np.dtype))):
        return None
    if cval is not ZERO:
        if type(cval) not in _NUMBERS:
            return None
        cval = repr(cval)
    named = checks.key_of(options)
    if named is None:  # NumPy's numbers among them, which may count in another precision than Python's
        kinds = tuple(getattr(option, "dtype", None) for option in options)
        named = checks.key_of(
            tuple(option if kind is None else option.tolist() for option, kind in zip(options, kinds))
        )
        named = named and (named, kinds)
    if named is None:
        return None
    return function, x.shape, x.strides, x.dtype, output, cval, named


def _lie_together(x: Array, out: Array) -> tuple[Any, ...] | None:
    """What tells an array for results from others: None where it shares memory with the input, but is not the same."""
    flags = out.flags
    is_apart = not np.may_share_memory(x, out)
    if not flags.aligned or not flags.writeable or not (is_apart or x is out):
        return None
    return out.shape, out.strides, out.dtype, is_apart


def with_array(key: tuple[Any, ...] | None, name: str, array: Array) -> tuple[Any, ...] | None:
    """The key of a call that a small array belongs to, too."""
    if key is None or array.nbytes > _SMALL or array.dtype.hasobject:
        return None
    return *key, name, array.shape, array.dtype, array.tobytes()


def spread(values: Sequence[Any], axes: tuple[int, ...], ndim: int, other: Any) -> list[Any]:
    """Values for some axes among those of all; in the order of the array where they are for all, as in SciPy."""
    if len(axes) == ndim:
        return list(values)
    spreaded = [other] * ndim
    for axis, value in zip(axes, values, strict=True):
        spreaded[axis] = value
    return spreaded


def expand(function: str, name: str, window: Array, axes: tuple[int, ...], ndim: int) -> Array:
    """A window over some axes with a length of 1 along the others."""
    if window.ndim != len(axes) or window.size == 0:
        raise RefusedError(
            f"{function}(): {name}.ndim ({window.ndim}) must match len(axes) ({len(axes)}): {name} has shape "
            f"{window.shape}, expected a length of 1 or more for each axis that is filtered"
        )
    return np.expand_dims(window, tuple(axis for axis in range(ndim) if axis not in axes))
