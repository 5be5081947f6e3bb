"""Gradients of pools with respect to their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import problem as checks
from .. import torch_windows as windows
from ..extending import offer
from ..launch import POOLS
from ..pool import prepare_mean_adjoint, prepare_scatter
from ..prepared import Run, prepared, taken
from ..problem import AXES, Array
from ..torch_names import Refusal


@prepared(*POOLS)
def _maximum(name: str, grad: Array, rank: int, input_size: Any, given: str, shape: tuple[int, ...]) -> Run:
    if "int" not in given:
        raise TypeError(f"{name}(): indices has dtype {given}, expected integers")
    size = windows.scattered(name, grad.shape, shape, rank, input_size)
    checks.check_size(name, (*grad.shape[:-rank], *size), grad.itemsize)
    return prepare_scatter(name, grad, size, adds=True)


@prepared(*POOLS)
def _mean(name: str, grad: Array, rank: int, input_size: Any, *options: Any) -> Run:
    *window, counted = options
    return prepare_mean_adjoint(windows.averaged(name, grad, rank, input_size, *window), grad, counted)


def _define_max(rank: int) -> Callable[..., Array]:
    name, sizes = f"max_pool{rank}d_input", ", ".join(AXES[rank])
    outputs = ", ".join(f"P{letter}" for letter in AXES[rank])

    def function(input_size: Any, indices: Any, grad_output: Any) -> Array:
        grad, indices = taken(name, "grad_output", grad_output), taken(name, "indices", indices)
        size = tuple(input_size) if isinstance(input_size, list) else input_size
        run = _maximum(name, grad, rank, size, indices.dtype.name, indices.shape)
        try:
            result: Array = run(grad, indices)
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

for _rank in (1, 2, 3):
    offer(globals()[f"max_pool{_rank}d_input"], "pools.scattered", f"max_pool{_rank}d_input", _rank)
    offer(globals()[f"avg_pool{_rank}d_input"], "pools.averaged", f"avg_pool{_rank}d_input", _rank)
