"""From a problem to a compiled kernel and the numbers that it reads. Numba is imported here, at the first need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .problem import Array, Axis, Problem


def entry_point(kernel: Any, *formats: str) -> Callable[..., Any]:
    """The compiled kernel for arrays of the given dtypes; a name that is no dtype is that of a Numba scalar."""
    from numba import types

    from .kernels.jit import compiled
    from .kernels.strided import DTYPES, StridedType

    function: Callable[..., Any] = compiled(
        kernel, *(StridedType(name) if name in DTYPES else getattr(types, name) for name in formats)
    )
    return function


def call_of(problem: Problem, axes: tuple[Axis, ...], trailing: int | None = None) -> tuple[Any, list[Any]]:
    """A call and its axes as kernels know them. Where `axes` are all of an array's, `trailing` counts the window's."""
    from .kernels import activation, window

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


def numbers_of(problem: Problem, axes: tuple[Axis, ...], trailing: int | None = None, words: int = 0) -> Array:
    """What the kernels read, in room for so many words."""
    from .kernels import window

    numbers: Array = window.pack_numbers(*call_of(problem, axes, trailing), words)
    return numbers


UNIT = Axis(size=1, kernel=1, stride=1, dilation=1, before=0, after=0, boundary="constant", out=1)


def three_axes(problem: Problem) -> tuple[Axis, ...]:
    """The spatial axes, after so many of size 1 that they are three."""
    return (UNIT,) * (3 - len(problem.axes)) + problem.axes


def all_axes(problem: Problem, leading: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes of a whole array: the leading ones are windows of size 1."""
    return tuple(Axis(n, 1, 1, 1, 0, 0, "constant", n) for n in leading) + problem.axes
