"""PyTorch's pools: windows of one size, adaptive ones, power means, and the inverse of a maximum pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import problem as checks
from .. import torch_windows as windows
from ..extending import offer
from ..launch import POOLS
from ..pool import mean_dtype, prepare_average, prepare_extremum, prepare_norm, prepare_scatter
from ..prepared import Run, prepared, taken
from ..problem import AXES, Array, Sliding
from ..torch_names import Refusal

_BLOCK = 1 << 16  # elements of the input whose powers are taken at a time
_INT64 = np.dtype(np.int64)


@prepared(*POOLS)
def _maximum(name: str, input: Array, rank: int, return_indices: bool, *options: Any) -> Run:
    check_real(name, input)
    return prepare_extremum(
        windows.pool(name, input.shape, input.dtype, rank, *options), input, None, False, return_indices
    )


@prepared(*POOLS)
def _mean(
    name: str, input: Array, rank: int, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, counted: bool,
    divisor: Any,
) -> Run:  # fmt: skip
    problem = windows.pool(name, input.shape, input.dtype, rank, kernel_size, stride, padding, 1, ceil_mode)
    windows.check_volume(name, problem)
    number = 0 if divisor is None else checks.as_int(name, "divisor_override", divisor, -(1 << 62))
    if divisor is not None and number == 0:
        raise ValueError(f"{name}(): divisor_override is 0, expected another int")
    return _truncated(prepare_average(problem, input, None, counted, number), input)


def _truncated(run: Run, input: Array) -> Run:
    """Means of int64 are int64, as PyTorch's."""
    return (lambda x: run(x).astype(np.int64)) if input.dtype == _INT64 else run


@prepared(*POOLS)
def _shared_maximum(name: str, input: Array, rank: int, return_indices: bool, output_size: Any) -> Run:
    check_real(name, input)
    problem = windows.shared(name, input, rank, output_size, 0, rank > 1)
    return prepare_extremum(problem, input, None, False, return_indices)


@prepared(*POOLS)
def _shared_mean(name: str, input: Array, rank: int, output_size: Any) -> Run:
    problem = windows.shared(name, input, rank, output_size, int(rank < 3), rank > 1)
    return prepare_average(problem, input, None, False)


def check_real(function: str, input: Array) -> None:
    """Refuse complex numbers, which have no order and no real powers."""
    if input.dtype.kind == "c":
        raise TypeError(f"{function}(): input has dtype {input.dtype}, expected a real type")


@prepared(*POOLS)
def _norm(name: str, input: Array, rank: int, norm_type: Any, kernel_size: Any, stride: Any, ceil_mode: bool) -> Run:
    check_real(name, input)
    if isinstance(norm_type, bool) or not isinstance(norm_type, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}(): norm_type is {norm_type!r}, expected a number")
    if norm_type == 0:
        raise ValueError(f"{name}(): norm_type is 0, expected another number")
    problem = windows.pool(name, input.shape, input.dtype, rank, kernel_size, stride, 0, 1, ceil_mode)
    if norm_type == math.inf:  # a maximum pool's windows
        return _largest_magnitude(problem, input)
    windows.check_volume(name, problem)
    run = prepare_norm(problem, input, float(norm_type))
    return _in_blocks(problem, input, float(norm_type), ceil_mode) if run is None else run


def _largest_magnitude(problem: Sliding, input: Array) -> Run:
    """The limit of the power means of magnitudes."""
    result = mean_dtype(input.dtype)
    largest, smallest = (prepare_extremum(problem, input, result, is_least, False) for is_least in (False, True))

    def run(x: Array) -> Array:
        out: Array = largest(x)
        np.maximum(out, -smallest(x), out=out)
        return out

    return run


def _in_blocks(problem: Sliding, input: Array, power: float, ceil_mode: bool) -> Run:
    """Power means by way of the powers of so many elements as the caches hold, or of those under a row of windows."""
    result, rank = mean_dtype(input.dtype), len(problem.axes)
    work = np.dtype(np.float32) if result.itemsize == 2 else result
    first, parts = problem.axes[0], list(_blocks(problem))
    options = [tuple(getattr(axis, each) for axis in problem.axes) for each in ("kernel", "stride")]

    def run(x: Array) -> Array:
        out = np.empty(problem.out_shape, result)
        with np.errstate(all="ignore"):
            for lead, begin, end in parts:
                stop = min((end - 1) * first.stride + first.kernel, first.size)
                rows = (*lead, slice(begin * first.stride, stop))
                powers = np.power(x[rows], work.type(power), dtype=work)
                means = _mean("lp_pool", powers, rank, *options, 0, ceil_mode, True, None)(powers)
                means *= work.type(problem.taps)
                out[(*lead, slice(begin, end))] = np.power(means, work.type(1 / power), out=means)
        return out

    return run


def _blocks(problem: Sliding) -> Iterator[tuple[tuple[Any, ...], int, int]]:
    """Places on the leading axes, and outputs along the first axis of the window: from, to."""
    *before, channels = problem.leading
    first, *others = problem.axes
    row = math.prod(axis.size for axis in others)
    together = max(_BLOCK // (row * first.size), 1)
    most = first.out if together > 1 else max((_BLOCK // row - first.kernel) // first.stride + 1, 1)
    for place in np.ndindex(*before):
        for channel in range(0, channels, together):
            for begin in range(0, first.out, most):
                lead = *place, slice(channel, channel + together)
                yield lead, begin, min(begin + most, first.out)


def _define_max(rank: int) -> Callable[..., Any]:
    name = f"max_pool{rank}d"

    def function(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        input = taken(name, "input", input)
        options = kernel_size, stride, padding, dilation, bool(ceil_mode)
        return _maximum(name, input, rank, bool(return_indices), *options)(input)

    return _document(
        function,
        name,
        rank,
        f"""Largest element of each window.

    Parameters
    ----------
    {_INPUT}
    {_WINDOW}
    padding : int, or one int per spatial axis
        At most half of the window; it never wins.
    dilation : int, or one int per spatial axis
    {_CEIL}
    return_indices : bool
        Whether to return where the largest elements were found, too.

    Returns
    -------
    ndarray, shape (N, C, {{outputs}}) or (C, {{outputs}})
        Of the dtype of `input`.
    ndarray of int64, of the same shape
        With `return_indices`: flat indices over the spatial axes; the first of equals, or the first NaN.
""",
        ", or `input` is complex",
        "2",
        {1: "array([2., 4.])", 2: "array([[6., 8.]])", 3: "array([[[14., 16.]]])"}[rank],
    )


def _define_avg(rank: int) -> Callable[..., Array]:
    name = f"avg_pool{rank}d"

    # Along one axis PyTorch takes no divisor.
    def of_one_axis(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Array:  # fmt: skip
        input = taken(name, "input", input)
        options = kernel_size, stride, padding, bool(ceil_mode), bool(count_include_pad), None
        result: Array = _mean(name, input, rank, *options)(input)
        return result

    def of_more(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Array:  # fmt: skip
        input = taken(name, "input", input)
        options = kernel_size, stride, padding, bool(ceil_mode), bool(count_include_pad), divisor_override
        result: Array = _mean(name, input, rank, *options)(input)
        return result

    divisor = """
    divisor_override : int, optional
        What sums are divided by in place of the number of elements.""" * (rank > 1)
    return _document(
        of_one_axis if rank == 1 else of_more,
        name,
        rank,
        f"""Mean of each window; padding holds 0.

    Parameters
    ----------
    {_INPUT}
    {_WINDOW}
    padding : int, or one int per spatial axis
        At most half of the window.
    {_CEIL}
    count_include_pad : bool
        Whether the mean is over the padding in a window too. What `ceil_mode` adds beyond it is never counted.{divisor}

    Returns
    -------
    ndarray, shape (N, C, {{outputs}}) or (C, {{outputs}})
        Of the dtype of `input`; float64 for bools and integers, but for int64, whose means are truncated as PyTorch's.
""",
        "",
        "2",
        {1: "array([1.5, 3.5])", 2: "array([[3.5, 5.5]])", 3: "array([[[7.5, 9.5]]])"}[rank],
    )


def _define_lp(rank: int) -> Callable[..., Array]:
    name = f"lp_pool{rank}d"

    def function(input: Any, norm_type: Any, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Array:
        input = taken(name, "input", input)
        result: Array = _norm(name, input, rank, norm_type, kernel_size, stride, bool(ceil_mode))(input)
        return result

    return _document(
        function,
        name,
        rank,
        f"""Power mean of each window, times its size: ``sum(x ** norm_type) ** (1 / norm_type)``.

    As in PyTorch no magnitudes are taken, and a window that `ceil_mode` lets hang over the end stands for a whole one.
    For a norm of 1 or 2 powers are taken as elements are read, and the relative error is a mean's of such powers; for
    others they are written down for some planes at a time, or for the rows under one row of windows.

    Parameters
    ----------
    {_INPUT}
    norm_type : float
        The power, not 0; with infinity it is the largest magnitude, as in PyTorch.
    {_WINDOW}
    {_CEIL}

    Returns
    -------
    ndarray, shape (N, C, {{outputs}}) or (C, {{outputs}})
        Of the dtype of `input`, float64 for bools and integers.
""",
        ", or `input` is complex",
        "1, 2",
        {1: "array([3., 7.])", 2: "array([[14., 22.]])", 3: "array([[[60., 76.]]])"}[rank],
    )


def _define_adaptive_avg(rank: int) -> Callable[..., Array]:
    name = f"adaptive_avg_pool{rank}d"

    def function(input: Any, output_size: Any) -> Array:
        input = taken(name, "input", input)
        result: Array = _shared_mean(name, input, rank, output_size)(input)
        return result

    return _document(
        function,
        name,
        rank,
        f"""Mean of each window, where windows share the input out among so many outputs.

    Output `i` of `P` along an axis of size `S` is over elements from ``i * S // P`` to ``ceil((i + 1) * S / P)``.

    Parameters
    ----------
    {_INPUT}
    {_OUTPUT}{_KEEPS * (rank > 1)}

    Returns
    -------
    ndarray, shape (N, C, {{outputs}}) or (C, {{outputs}})
        Of the dtype of `input`, float64 for bools and integers.
""",
        "",
        "1",
        {1: "array([2.5])", 2: "array([[4.5]])", 3: "array([[[8.5]]])"}[rank],
    )


def _define_adaptive_max(rank: int) -> Callable[..., Any]:
    name = f"adaptive_max_pool{rank}d"

    def function(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        input = taken(name, "input", input)
        return _shared_maximum(name, input, rank, bool(return_indices), output_size)(input)

    return _document(
        function,
        name,
        rank,
        f"""Largest element of each window, where windows share the input out among so many outputs.

    Output `i` of `P` along an axis of size `S` is over elements from ``i * S // P`` to ``ceil((i + 1) * S / P)``.

    Parameters
    ----------
    {_INPUT}
    {_OUTPUT}{_KEEPS * (rank > 1)}
    return_indices : bool
        Whether to return where the largest elements were found, too.

    Returns
    -------
    ndarray, shape (N, C, {{outputs}}) or (C, {{outputs}})
        Of the dtype of `input`.
    ndarray of int64, of the same shape
        With `return_indices`: flat indices over the spatial axes; the first of equals, or the first NaN.
""",
        ", or `input` is complex",
        "1",
        {1: "array([4.])", 2: "array([[8.]])", 3: "array([[[16.]]])"}[rank],
    )


def _define_unpool(rank: int) -> Callable[..., Array]:
    name = f"max_unpool{rank}d"

    def function(
        input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
    ) -> Array:
        input, indices = taken(name, "input", input), taken(name, "indices", indices)
        options = kernel_size, stride, padding, output_size, indices.dtype.name, indices.shape
        run = _unpooled(name, input, rank, *options)
        try:
            result: Array = run(input, indices)
        except ValueError as error:
            raise Refusal(str(error)) from None
        return result

    letters = AXES[rank]
    outputs = ", ".join(f"P{letter}" for letter in letters)
    example, kernel = ", ".join(["1"] * rank + ["4"]), f"({', '.join(['1'] * (rank - 1) + ['2'])},)"
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Put pooled values back where `max_pool{rank}d` found them; everything else is 0.

    Parameters
    ----------
    input : array_like, shape (N, C, {outputs}) or (C, {outputs})
        The values that ``max_pool{rank}d(..., return_indices=True)`` returned.
    indices : array_like of int
        The indices that it returned, of the same shape. Of repeated ones the last wins.
    kernel_size, stride, padding : int, or one int per spatial axis
        Those of the pool.
    output_size : sequence of int, optional
        Spatial size of the result, or a full shape, of which the first two are not read: less than a stride from what
        the other arguments give.

    Returns
    -------
    ndarray, shape (N, C, {", ".join(letters)}) or (C, {", ".join(letters)})
        Of the dtype of `input`.

    Raises
    ------
    ValueError, also a RuntimeError
        If an index lies outside the result, or shapes do not fit.
    TypeError
        If `indices` are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv.functional as F
    >>> x = np.array([1.0, 3.0, 2.0, 4.0]).reshape({example})
    >>> values, indices = F.max_pool{rank}d(x, {kernel}, return_indices=True)
    >>> F.{name}(values, indices, {kernel}).ravel()
    array([0., 3., 0., 4.])
    """
    return function


@prepared(*POOLS)
def _unpooled(
    name: str, input: Array, rank: int, kernel_size: Any, stride: Any, padding: Any, output_size: Any, given: str,
    shape: tuple[int, ...],
) -> Run:  # fmt: skip
    if "int" not in given:
        raise TypeError(f"{name}(): indices has dtype {given}, expected integers")
    windows.check_indices(name, "input", input.shape, shape)
    size = windows.unpooled(name, input, rank, kernel_size, stride, padding, output_size)
    return prepare_scatter(name, input, size)


_INPUT = """input : array_like, shape (N, C, {sizes}) or (C, {sizes})
        Any strides are read in place."""
_WINDOW = """kernel_size : int, or one int per spatial axis
        Size of the window.
    stride : int, or one int per spatial axis, optional
        Step between windows, by default the window's size."""
_CEIL = """ceil_mode : bool
        Whether a last window may hang over the end, if it starts inside the input or the padding before it."""
_OUTPUT = "output_size : int, or one int per spatial axis"
_KEEPS = "\n        None for an axis keeps its size."


def _document(
    function: Callable[..., Any], name: str, rank: int, text: str, order: str, arguments: str, answer: str
) -> Callable[..., Any]:
    letters, shape = AXES[rank], ", ".join(["2"] * (rank - 1) + ["4"])
    function.__name__ = function.__qualname__ = name
    text += f"""
    Raises
    ------
    ValueError, also a RuntimeError
        If a window does not fit the padded input, an axis but the batch's is empty, or a value has not the stated form.
    TypeError
        If an argument has another type{order}.
"""
    function.__doc__ = (
        text.format(sizes=", ".join(letters), outputs=", ".join(f"P{letter}" for letter in letters))
        + f"""
    Examples
    --------
    >>> import numpy as np
    >>> import fastconv.functional as F
    >>> x = np.arange(1.0, {2 ** (rank - 1) * 4 + 1}).reshape(1, 1, {shape})
    >>> F.{name}(x, {arguments})[0, 0]
    {answer}
    """
    )
    return function


max_pool1d, max_pool2d, max_pool3d = map(_define_max, (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = map(_define_avg, (1, 2, 3))
lp_pool1d, lp_pool2d, lp_pool3d = map(_define_lp, (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(_define_adaptive_avg, (1, 2, 3))
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = map(_define_adaptive_max, (1, 2, 3))
max_unpool1d, max_unpool2d, max_unpool3d = map(_define_unpool, (1, 2, 3))

for _rank in (1, 2, 3):
    for _name, _maker in (
        ("max_pool", "maximum"),
        ("avg_pool", "mean"),
        ("adaptive_avg_pool", "shared_mean"),
        ("adaptive_max_pool", "shared_maximum"),
        ("max_unpool", "unpooled"),
    ):
        offer(globals()[f"{_name}{_rank}d"], f"pools.{_maker}", f"{_name}{_rank}d", _rank)
