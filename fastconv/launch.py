"""From a problem to a compiled kernel and the numbers that it reads. Numba is imported here, at the first need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .kernels.process import import_modules
from .problem import Array, Axis, Problem

_imported: set[str] = set()
CONVOLUTION = tuple(
    f"convolution.{name}" for name in ("small", "depthwise", "dense", "direct", "generic", "activation")
)
POOLS = "windows.pool", "windows.pool_rows", "convolution.activation"  # the last for `call_of`
PATCHES = "windows.patches", "convolution.activation"


def import_kernels(*names: str) -> None:
    """Import modules of kernels, and with them Numba, so that an interrupt or another thread finds all of it or none.

    Everything that prepares a call begins with it. No lock is held meanwhile: a signal handler or a finalizer may call.
    """
    if not _imported.issuperset(names):
        import_modules(names)
        _imported.update(names)


def entry_point(kernel: Any, *formats: str) -> Callable[..., Any]:
    """The compiled kernel for arrays of the given dtypes; a name that is no dtype is that of a Numba scalar."""
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

    from .kernels.strided import DTYPES, StridedType

    return tuple(StridedType(name) if name in DTYPES else getattr(types, name) for name in formats)


def sharing_formats(dtype: str) -> tuple[str, ...]:
    """The formats of a convolution whose threads share the work: five arrays, numbers, workspace, team, threads."""
    return (*[dtype] * 5, "int64", "uint8", "int64", "intp", "intp")


def call_of(problem: Problem, axes: tuple[Axis, ...], trailing: int | None = None) -> tuple[Any, list[Any]]:
    """A call and its axes as kernels know them. Where `axes` are all of an array's, `trailing` counts the window's."""
    from .kernels import window
    from .kernels.convolution import activation

    call = window.Call(
        problem.batch,
        problem.groups,
        problem.channels,
        problem.outputs,
        len(problem.axes) if trailing is None else len(axes),
        int(problem.flip),
        int(problem.has_bias),
        activation.NAMES.index(problem.activation),
        trailing or 0,
    )
    return call, [axis._replace(boundary=window.BOUNDARIES[axis.boundary]) for axis in axes]


def numbers_of(problem: Problem, axes: tuple[Axis, ...], trailing: int | None = None) -> Array:
    """What the kernels read."""
    from .kernels import window

    numbers: Array = window.pack_numbers(*call_of(problem, axes, trailing))
    return numbers


UNIT = Axis(size=1, kernel=1, stride=1, dilation=1, before=0, after=0, boundary="constant", out=1)


def three_axes(problem: Problem) -> tuple[Axis, ...]:
    """The spatial axes, after so many of size 1 that they are three."""
    return (UNIT,) * (3 - len(problem.axes)) + problem.axes


def all_axes(problem: Problem, leading: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes of a whole array: the leading ones are windows of size 1."""
    return tuple(Axis(n, 1, 1, 1, 0, 0, "constant", n) for n in leading) + problem.axes
