"""From a problem to a compiled kernel and the numbers that it reads. Numba is imported here, at the first need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .kernels.process import import_modules
from .kernels.shapes import DTYPES, UNIT, Windows, pack_numbers, read_format
from .problem import Array, Sliding

_imported: set[str] = set()
CONVOLUTION = "convolution.choose", "convolution.activation"
POOLS = "windows.pool", "windows.pool_rows", "windows.scatter", "windows.spread"
PATCHES = ("windows.patches",)
FILTERS = "filters.sums", "filters.extrema"


def import_kernels(*names: str) -> None:
    """Import modules of kernels, and with them Numba, so that an interrupt or another thread finds all of it or none.

    Everything that prepares a call begins with it. No lock is held meanwhile: a signal handler or a finalizer may call.
    """
    if not _imported.issuperset(names):
        import_modules(names)
        _imported.update(names)


def entry_point(kernel: Any, *formats: str) -> Callable[..., Any]:
    """The compiled kernel for arrays of the given dtypes; a name that is no dtype is that of a Numba scalar.

    "uint8->float32" are arrays whose elements are read as another type.
    """
    from .kernels.jit import compiled

    function: Callable[..., Any] = compiled(kernel, *_types(formats))
    return function


def entry_address(kernel: Any, *formats: str) -> int:
    """Where the machine code of `entry_point` lies, for callers that are compiled themselves."""
    entry_point(kernel, *formats)
    code = kernel.overloads[_types(formats)]
    address: int = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
    return address


def _types(formats: tuple[str, ...]) -> tuple[Any, ...]:
    from numba import types

    from .kernels.strided import StridedType

    parts = [name.split("->") for name in formats]
    return tuple(StridedType(*names) if names[0] in DTYPES else getattr(types, names[0]) for names in parts)


def family_formats(module: Any, dtype: str, x: str) -> tuple[str, ...]:
    """The formats of a family's `correlate`: five arrays, numbers; then workspace, team, threads, if it takes them.

    All arrays have the result's dtype, but for the input, whose dtype is `x`.
    """
    more = ("uint8", "int64", "intp", "intp") if module.WORKSPACE_BYTES else ()
    return (read_format(x, dtype), *[dtype] * 4, "int64", *more)


def step_formats(compute: str) -> tuple[str, ...]:
    """The formats of a filter's kernel that computes in a type: two arrays are known by where they lie."""
    return "uint8", "uint8", compute, "float64", "int64", "uint8", "int64", "intp", "intp"


def window_numbers(problem: Sliding, plane: int = 0) -> Array:
    """What kernels read whose windows cover all axes of an array, the leading ones with the size 1."""
    leading = [UNIT._replace(size=n, out=n) for n in problem.leading]
    axes = [*leading, *problem.axes]
    numbers: Array = pack_numbers(Windows(len(axes), len(problem.axes), plane), axes)
    return numbers
