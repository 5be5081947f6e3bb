"""`convolve` and `correlate` as NumPy has them, on fastconv's kernels.

Arguments, shapes, dtypes and kinds of error are NumPy's. What has no kernel, longdouble and objects, NumPy computes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conv import convolve1d, correlate1d
from .extending import offer
from .hints import SameT
from .problem import DTYPES, Array, check_name

EMPTY = "{}(): {} is empty, expected at least one element"
Mode: TypeAlias = Literal["full", "same", "valid"]
MODES: tuple[str, ...] = get_args(Mode)


@overload
def convolve(a: NDArray[SameT], v: NDArray[SameT], mode: Mode = "full") -> NDArray[SameT]: ...
@overload
def convolve(a: ArrayLike, v: ArrayLike, mode: Mode = "full") -> Array: ...
def convolve(a: Any, v: Any, mode: Mode = "full") -> Array:
    """Discrete convolution of two sequences: a drop-in for `numpy.convolve`.

    Parameters
    ----------
    a, v : array_like, shape (N,) and (M,)
    mode : {"full", "same", "valid"}
        All overlaps, ``N + M - 1``; the middle ``max(N, M)``; or the ``max(N, M) - min(N, M) + 1`` complete ones.

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(a, v)``.

    Raises
    ------
    ValueError
        If a sequence is empty or has more than one dimension, or the mode is unknown.

    Examples
    --------
    >>> import fastconv.numpy as fnp
    >>> fnp.convolve([1, 2, 3], [0, 1, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    a, v = _sequences("convolve", a, v, mode, ndmin=1)
    if _is_foreign(a, v):
        return np.convolve(a, v, mode=mode)
    if v.size > a.size:
        a, v = v, a
    result: Array = convolve1d(a[None, None], v[None, None], padding_mode=(_padding(mode, v.size),))[0, 0]
    return result


@overload
def correlate(a: NDArray[SameT], v: NDArray[SameT], mode: Mode = "valid") -> NDArray[SameT]: ...
@overload
def correlate(a: ArrayLike, v: ArrayLike, mode: Mode = "valid") -> Array: ...
def correlate(a: Any, v: Any, mode: Mode = "valid") -> Array:
    """Cross-correlation of two sequences, the second one conjugated: a drop-in for `numpy.correlate`.

    Parameters
    ----------
    a, v : array_like, shape (N,) and (M,)
    mode : {"valid", "same", "full"}
        As for `convolve`.

    Returns
    -------
    ndarray
        Of dtype ``np.result_type(a, v)``.

    Raises
    ------
    ValueError
        If a sequence is empty or has more than one dimension, or the mode is unknown.

    Examples
    --------
    >>> import fastconv.numpy as fnp
    >>> fnp.correlate([1, 2, 3], [0, 1, 0.5])
    array([3.5])
    """
    a, v = _sequences("correlate", a, v, mode, ndmin=0)
    if _is_foreign(a, v):
        return np.correlate(a, v, mode=mode)
    if v.size > a.size:
        return correlate(v, a, mode)[::-1].conj()
    result: Array = correlate1d(a[None, None], v.conj()[None, None], padding_mode=(_padding(mode, v.size),))[0, 0]
    return result


def _sequences(function: str, a: Any, v: Any, mode: Any, ndmin: int) -> tuple[Array, Array]:
    check_name(function, "mode", mode, MODES)
    arrays = np.array(a, copy=None, ndmin=ndmin), np.array(v, copy=None, ndmin=ndmin)
    for name, array in zip("av", arrays, strict=True):
        if array.ndim != 1:
            raise ValueError(f"{function}(): {name} has shape {array.shape}, expected one dimension")
        if array.size == 0:
            raise ValueError(EMPTY.format(function, name))
    return arrays


def _is_foreign(a: Array, v: Array) -> bool:
    return np.result_type(a, v).name not in DTYPES


def _padding(mode: str, size: int) -> tuple[int, int]:
    """Padding around the longer sequence for a shorter one of the given size."""
    if mode == "full":
        return size - 1, size - 1
    return (size // 2, size - 1 - size // 2) if mode == "same" else (0, 0)


offer(convolve, "sequences.implement", "convolve")
offer(correlate, "sequences.implement", "correlate")
