"""What arguments are, in SciPy's words: names of modes, arrays of types that kernels need not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from .. import problem as checks
from ..problem import DTYPES, Array
from ..scipy_patch import original

Mode: TypeAlias = Literal["full", "same", "valid"]
Method: TypeAlias = Literal["auto", "direct", "fft"]
MODES: tuple[str, ...] = get_args(Mode)
METHODS: tuple[str, ...] = get_args(Method)
_LETTERS = "?bBhHiIlLqQefdFD"  # of the types that kernels know, all but bfloat16


def as_arrays(function: str, **given: Any) -> list[Array]:
    """Arguments as arrays, also of the types that SciPy knows and kernels do not."""
    arrays = []
    for name, value in given.items():
        if isinstance(value, (list, tuple, np.generic, int, float, complex)):
            value = np.asarray(value)
        if type(value) is not np.ndarray or (is_known(value.dtype) and not value.dtype.isnative):
            value = checks.as_array(function, name, value)
        arrays.append(value)
    return arrays


def is_known(dtype: np.dtype[Any]) -> bool:
    """Whether kernels know a type. A type makes up its name whenever it is asked, and has its letter."""
    return dtype.char in _LETTERS or dtype.name in DTYPES


def common_dtype(function: str, **arrays: Array) -> np.dtype[Any]:
    """The dtype that all of the arrays promote to, which kernels need not know."""
    try:
        return np.result_type(*arrays.values())
    except TypeError:
        return checks.common_dtype(function, **arrays)  # raises, in words


def scipys(
    function: str, what: str, error: type[Exception] = TypeError, name: str | None = None
) -> Callable[..., Array]:
    """SciPy's function of this name, or another, which serves what is not served here."""
    try:
        theirs: Callable[..., Array] = original("signal", name or function)
    except ImportError:
        raise error(f"{function}(): {what} needs SciPy: pip install scipy") from None
    return theirs


def check_choice(function: str, name: str, value: Any, names: Sequence[str]) -> None:
    """Refuse what is not one of the names, by the ValueError that SciPy raises whatever came."""
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{function}(): {name} is {value!r}, expected one of {', '.join(map(repr, names))}")
