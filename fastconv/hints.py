"""What arguments may be, in the words of type checkers: one name for each form that several functions take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

ArrayT = TypeVar("ArrayT", bound=NDArray[Any])
ScalarT = TypeVar("ScalarT", bound=np.generic)
InexactT = TypeVar("InexactT", bound=np.inexact[Any])
# Two arrays of one of these types give a third. They are listed, since under a bound uint64 and int64 would pass for
# integers, and give float64.
SameT = TypeVar(
    "SameT",
    np.bool, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.float16, np.float32, np.float64, np.complex64, np.complex128,
)  # fmt: skip
DTypeOf: TypeAlias = type[ScalarT] | np.dtype[ScalarT]
Exact: TypeAlias = NDArray[np.integer[Any]] | NDArray[np.bool]

Integers: TypeAlias = NDArray[np.integer[Any]]
Size: TypeAlias = Sequence[SupportsIndex] | Integers  # one int for each axis
Ints: TypeAlias = SupportsIndex | Size  # or one for all
Number: TypeAlias = complex | np.number[Any] | np.bool
Padding: TypeAlias = (
    Literal["valid", "same", "full"] | SupportsIndex | Sequence[SupportsIndex | Sequence[SupportsIndex]] | Integers
)
Boundary: TypeAlias = Literal["constant", "edge", "reflect", "symmetric", "wrap"]
Boundaries: TypeAlias = Boundary | Sequence[Boundary]
