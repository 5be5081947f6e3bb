"""Gradients of pools with respect to their input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import problem as checks
from ..launch import POOLS
from ..pool import prepare_mean_adjoint, prepare_scatter
from ..prepared import Run, prepared, taken
from ..problem import AXES, Array, Misfits
from ..refusals import Refusal
from ..windows import check_input, pool


def input_shape(function: str, input_size: Any, rank: int) -> tuple[int, ...]:
    """`input_size` as the shape of a pool's input, which has no empty axis but the batch's."""
    if not isinstance(input_size, Sequence) and not isinstance(input_size, np.ndarray):
        raise TypeError(f"{function}(): input_size is {input_size!r}, expected a shape")
    shape = tuple(checks.as_int(function, "input_size", size, 0) for size in input_size)
    check_input(function, shape, rank, name="input_size")
    return shape


@prepared(*POOLS)
def _maximum(name: str, grad: Array, rank: int, input_size: Any, kind: str, shape: tuple[int, ...]) -> Run:
    misfits = Misfits(name)
    if kind not in "iu":
        misfits.say("indices has another type, expected integers", TypeError)
    if shape != grad.shape:
        misfits.say(f"indices has shape {shape}, expected that of grad_output, {grad.shape}")
    size = misfits.attempt(input_shape, input_size, rank)
    if size and (grad.ndim != len(size) or grad.shape[:-rank] != size[:-rank]):
        misfits.say(f"grad_output has shape {grad.shape}, expected that of a pool of input_size {size}")
    misfits.refuse()
    assert size
    checks.check_size(name, size, grad.itemsize)
    return prepare_scatter(name, grad, size[-rank:], adds=True)


@prepared(*POOLS)
def _mean(
    name: str, grad: Array, rank: int, input_size: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    counted: bool,
) -> Run:  # fmt: skip
    size = input_shape(name, input_size, rank)
    problem = pool(name, size, grad.dtype, rank, kernel_size, stride, padding, 1, ceil_mode, "input_size")
    if grad.shape != problem.out_shape:
        raise ValueError(
            f"{name}(): grad_output has shape {grad.shape}, expected {problem.out_shape}, that of the pool"
        )
    checks.check_size(name, size, max(grad.itemsize, 8))
    return prepare_mean_adjoint(problem, grad, counted)


def _define_max(rank: int) -> Callable[..., Array]:
    name, sizes = f"max_pool{rank}d_input", ", ".join(AXES[rank])
    outputs = ", ".join(f"P{letter}" for letter in AXES[rank])

    def function(input_size: Any, indices: Any, grad_output: Any) -> Array:
        grad, indices = taken(name, "grad_output", grad_output), taken(name, "indices", indices)
        size = tuple(input_size) if isinstance(input_size, list) else input_size
        run = _maximum(name, grad, rank, size, indices.dtype.kind, indices.shape)
        try:
            result: Array = run(grad, indices.astype(np.int64, copy=False))
        except ValueError as error:
            raise Refusal(str(error)) from None
        return result

    example = ", ".join(["1"] * (rank + 1) + ["4"])
    kernel = f"({', '.join(['1'] * (rank - 1) + ['2'])},)"
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Gradient of `max_pool{rank}d` with respect to its input, from the indices that the pool gave.

    What several windows have taken gets the sum of their gradients, added in C order of the windows.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the pool's input, (N, C, {sizes}) or (C, {sizes}).
    indices : array_like of int, shape (N, C, {outputs}) or (C, {outputs})
        What the pool gave with ``return_indices=True``.
    grad_output : array_like, of the shape of `indices`
        Gradient with respect to the pool's result.

    Returns
    -------
    ndarray, shape `input_size`
        Of the dtype of `grad_output`.

    Raises
    ------
    ValueError, also a RuntimeError
        If an index lies outside the input, or shapes do not fit.
    TypeError
        If `indices` are not integers, or an argument has another type.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import functional, grad
    >>> x = np.array([1.0, 3.0, 2.0, 1.0]).reshape({example})
    >>> y, indices = functional.max_pool{rank}d(x, {kernel}, 1, return_indices=True)
    >>> grad.{name}(x.shape, indices, np.ones_like(y)).ravel()
    array([0., 2., 1., 0.])
    """
    return function


def _define_avg(rank: int) -> Callable[..., Array]:
    name, sizes = f"avg_pool{rank}d_input", ", ".join(AXES[rank])
    outputs = ", ".join(f"P{letter}" for letter in AXES[rank])

    def function(
        input_size: Any,
        grad_output: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Array:
        grad, size = taken(name, "grad_output", grad_output), input_size
        size = tuple(size) if isinstance(size, list) else size
        options = kernel_size, stride, padding, bool(ceil_mode), bool(count_include_pad)
        result: Array = _mean(name, grad, rank, size, *options)(grad)
        return result

    example = ", ".join(["1"] * (rank + 1) + ["4"])
    ones = ", ".join(["1"] * (rank + 1) + ["3"])
    kernel = f"({', '.join(['1'] * (rank - 1) + ['2'])},)"
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Gradient of `avg_pool{rank}d` with respect to its input: the pool's adjoint.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the pool's input, (N, C, {sizes}) or (C, {sizes}).
    grad_output : array_like, shape (N, C, {outputs}) or (C, {outputs})
        Gradient with respect to the pool's result; any strides are read in place.
    kernel_size, stride, padding : int, or one int per spatial axis
    ceil_mode, count_include_pad : bool
        Those of the pool.

    Returns
    -------
    ndarray, shape `input_size`
        Of the dtype of `grad_output`, float64 for bools and integers.

    Raises
    ------
    ValueError, also a RuntimeError
        If `grad_output` has not the shape of the pool's result, or a value is not of the stated form.
    TypeError
        If an argument has another type.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import grad
    >>> grad.{name}(({example}), np.ones(({ones})), {kernel}, 1).ravel()
    array([0.5, 1. , 1. , 0.5])
    """
    return function


max_pool1d_input, max_pool2d_input, max_pool3d_input = map(_define_max, (1, 2, 3))
avg_pool1d_input, avg_pool2d_input, avg_pool3d_input = map(_define_avg, (1, 2, 3))
