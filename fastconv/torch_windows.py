"""What PyTorch's windows are, and what it refuses of them: checks under its names of arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import problem as checks
from .kernels.shapes import FAR, is_addressable, sharing_axis
from .problem import AXES, Array, Misfits, Sliding
from .torch_names import as_ints


def check_input(function: str, shape: tuple[int, ...], rank: int, may_be_empty: int = 0, name: str = "input") -> None:
    """Refuse what is no batch and no single one of it, and empty axes but the batch's; so many more may be."""
    if len(shape) not in (rank + 1, rank + 2):
        letters = ", ".join(["C", *AXES[rank]])
        raise ValueError(
            f"{function}(): {name} has shape {shape}, expected {rank + 1} dimensions ({letters}) or {rank + 2} "
            f"(N, {letters})"
        )
    if 0 in shape[len(shape) - rank - 1 + may_be_empty :]:
        raise ValueError(f"{function}(): {name} has shape {shape}, expected no empty axis besides the batch")


def check_volume(function: str, problem: Sliding) -> None:
    """Refuse, as PyTorch does of averages over volumes, windows that are larger than the input without its padding."""
    if len(problem.axes) == 3 and any(axis.kernel > axis.size for axis in problem.axes):
        sizes = tuple(axis.size for axis in problem.axes)
        raise ValueError(f"{function}(): kernel_size is {problem.window}, expected at most the input's sizes, {sizes}")


def check_padding(function: str, padding: Sequence[int], kernel: Sequence[int]) -> None:
    """Refuse padding of more than half a window."""
    if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{function}(): padding is {tuple(padding)}, expected at most half of kernel_size {tuple(kernel)}"
        )


def pool(
    function: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    rank: int,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    name: str = "input",
) -> Sliding:
    """The window of a pool over the last `rank` axes; a stride of None, or none at all, is the window's size."""
    misfits = Misfits(function)
    misfits.attempt(check_input, shape, rank, name=name)
    kernel = misfits.attempt(as_ints, "kernel_size", kernel_size, rank, 1)
    is_own = stride is None or (isinstance(stride, (tuple, list)) and len(stride) == 0)
    steps = kernel if is_own else misfits.attempt(as_ints, "stride", stride, rank, 1)
    pads = misfits.attempt(as_ints, "padding", padding, rank, 0)
    gaps = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    if kernel and pads:
        misfits.attempt(check_padding, pads, kernel)
    if misfits.texts or kernel is None or pads is None:
        raise misfits.error()
    return checks.sliding(
        function, shape[:-rank], shape[-rank:], dtype, kernel, steps, gaps, "padding", pads, ceil_mode
    )


def shared(function: str, input: Array, rank: int, output_size: Any, may_be_empty: int, none_keeps: bool) -> Sliding:
    """The windows of an adaptive pool; None among the sizes keeps that of an axis, where it `none_keeps`."""
    misfits = Misfits(function)
    misfits.attempt(check_input, input.shape, rank, may_be_empty)
    sizes = (1,) * rank if misfits.texts else input.shape[input.ndim - rank :]
    asked = output_size
    if none_keeps and isinstance(asked, (tuple, list)) and len(asked) == rank:
        asked = tuple(size if each is None else each for each, size in zip(asked, sizes, strict=True))
    if isinstance(asked, (tuple, list)) and len(asked) != rank:
        misfits.say(f"output_size is {output_size!r}, expected an int or {rank} of them, one for each spatial axis")
    outs = misfits.attempt(as_ints, "output_size", asked, rank, 0) if not misfits.texts else None
    if outs is None:
        raise misfits.error()
    if not all(is_addressable(float(size) * float(out), 1) for size, out in zip(sizes, outs, strict=True)):
        raise ValueError(f"{function}(): output_size is {output_size!r}, more than memory can address")
    axes = tuple(sharing_axis(size, out) for size, out in zip(sizes, outs, strict=True))
    problem = Sliding(function, input.shape[: input.ndim - rank], axes, input.dtype)
    checks.check_size(function, problem.out_shape, max(input.itemsize, 8))
    return problem


def unpooled(
    function: str, input: Array, rank: int, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> tuple[int, ...]:
    """The spatial sizes of what was pooled: those asked for, less than a stride from what the pool's numbers give."""
    misfits = Misfits(function)
    misfits.attempt(check_input, input.shape, rank)
    sizes = (1,) * rank if misfits.texts else input.shape[input.ndim - rank :]
    kernel = misfits.attempt(as_ints, "kernel_size", kernel_size, rank, 1)
    is_own = stride is None or (isinstance(stride, (tuple, list)) and len(stride) == 0)
    steps = kernel if is_own else misfits.attempt(as_ints, "stride", stride, rank, 1)
    pads = misfits.attempt(as_ints, "padding", padding, rank, 0)
    if misfits.texts or kernel is None or steps is None or pads is None:
        raise misfits.error()
    given = zip(sizes, kernel, steps, pads, strict=True)
    least = tuple((size - 1) * min(step, FAR) + k - 2 * pad for size, k, step, pad in given)
    if output_size is None:
        outs = least
        if min(outs) < 1:
            raise ValueError(f"{function}(): padding is {padding!r}, which leaves the output a size of {outs}")
    else:
        if isinstance(output_size, (tuple, list)) and len(output_size) == rank + 2:
            output_size = output_size[2:]
        if not isinstance(output_size, (tuple, list)) or len(output_size) != rank:
            raise ValueError(f"{function}(): output_size is {output_size!r}, expected {rank} or {rank + 2} ints")
        outs = as_ints(function, "output_size", tuple(output_size), rank, 1)
        for i, (out, size, step) in enumerate(zip(outs, least, steps, strict=True)):
            if not size - step < out < size + step:
                raise ValueError(
                    f"{function}(): output_size is {outs}, expected more than {size - step} and less than "
                    f"{size + step} on spatial axis {i}"
                )
    checks.check_size(function, (*input.shape[: input.ndim - rank], *outs), input.itemsize)
    return outs


def check_indices(function: str, name: str, shape: tuple[int, ...], indices: tuple[int, ...]) -> None:
    """Refuse indices of another shape than that of an array."""
    if indices != shape:
        raise ValueError(f"{function}(): indices has shape {indices}, expected that of {name}, {shape}")


def as_shape(function: str, input_size: Any, rank: int) -> tuple[int, ...]:
    """`input_size` as the shape of a pool's input, which has no empty axis but the batch's."""
    if not isinstance(input_size, (tuple, list)):
        raise TypeError(f"{function}(): input_size is {input_size!r}, expected a shape")
    shape = tuple(checks.as_int(function, "input_size", size, 0) for size in input_size)
    check_input(function, shape, rank, name="input_size")
    return shape


def scattered(
    function: str, shape: tuple[int, ...], indices: tuple[int, ...], rank: int, input_size: Any
) -> tuple[int, ...]:
    """The spatial sizes of what a maximum pool took, where gradients of a shape go by indices of another."""
    misfits = Misfits(function)
    misfits.attempt(check_indices, "grad_output", shape, indices)
    size = misfits.attempt(as_shape, input_size, rank)
    if size and (len(shape) != len(size) or shape[:-rank] != size[:-rank]):
        misfits.say(f"grad_output has shape {shape}, expected that of a pool of input_size {size}")
    if misfits.texts or size is None:
        raise misfits.error()
    return size[-rank:]


def averaged(
    function: str, grad: Array, rank: int, input_size: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> Sliding:
    """The windows of an average pool, of whose result `grad` has the shape."""
    size = as_shape(function, input_size, rank)
    problem = pool(function, size, grad.dtype, rank, kernel_size, stride, padding, 1, ceil_mode, "input_size")
    if grad.shape != problem.out_shape:
        raise ValueError(
            f"{function}(): grad_output has shape {grad.shape}, expected {problem.out_shape}, that of the pool"
        )
    checks.check_size(function, size, max(grad.itemsize, 8))
    return problem


def unfolded(function: str, input: Array, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Sliding:
    """The windows over images that are written down as columns."""
    misfits = Misfits(function)
    misfits.attempt(check_input, input.shape, 2)
    kernel, steps, gaps, pads = windows_of_images(misfits, kernel_size, dilation, padding, stride)
    misfits.refuse()
    leading, sizes = input.shape[:-2], input.shape[-2:]
    return checks.sliding(function, leading, sizes, input.dtype, kernel, steps, gaps, "padding", pads)


def folded(
    function: str,
    input: Array,
    output_size: Any,
    kernel_size: Any,
    dilation: Any,
    padding: Any,
    stride: Any,
) -> Sliding:
    """The windows that columns were taken with, over images whose sizes are `output_size`."""
    misfits = Misfits(function)
    sizes = misfits.attempt(pair, "output_size", output_size, 1)
    options = windows_of_images(misfits, kernel_size, dilation, padding, stride)
    if input.ndim not in (2, 3) or 0 in input.shape[input.ndim - 2 :]:
        misfits.say(
            f"input has shape {input.shape}, expected (C * {math.prod(options[0])}, L) or "
            f"(N, C * {math.prod(options[0])}, L), and no empty axis besides the batch"
        )
    if misfits.texts or sizes is None:
        raise misfits.error()
    kernel, steps, gaps, pads = options
    *batch, rows, columns = input.shape
    taps = math.prod(kernel)
    if rows % taps:
        raise ValueError(f"{function}(): input has {rows} rows, expected a multiple of kernel_size {kernel}'s {taps}")
    channels = rows // taps
    problem = checks.sliding(function, (*batch, channels), sizes, input.dtype, kernel, steps, gaps, "padding", pads)
    if columns != problem.positions:
        raise ValueError(
            f"{function}(): input has {columns} columns, expected {problem.positions}, the positions of the window "
            f"over output_size {sizes}"
        )
    checks.check_size(function, (*batch, channels, *sizes), input.itemsize)
    return problem


def pair(function: str, name: str, value: Any, least: int) -> tuple[int, ...]:
    """Two ints; one stands for both, but not in a tuple."""
    if isinstance(value, (tuple, list)) and len(value) != 2:
        raise ValueError(f"{function}(): {name} is {value!r}, expected an int or 2 of them, one for each spatial axis")
    return as_ints(function, name, value, 2, least)


def windows_of_images(
    misfits: Misfits, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, ...], ...]:
    """Sizes, steps, gaps and padding of windows over images; ones for what is wrong, of which the misfits know."""
    given = ("kernel_size", kernel_size, 1), ("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)
    return tuple(misfits.attempt(pair, *each) or (1, 1) for each in given)
