"""`fastconv.functional`'s convolutions and `fastconv.grad`'s gradients of inputs in compiled code."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError

from ..conv import convolve3d
from ..kernels import shapes
from ..kernels.jit import part
from ..kernels.shapes import CONSTANT, GIVEN, Axis
from ..torch_names import Refusal, refusal
from .arguments import array_of, constant, message_at
from .convolution import caller, typed


def _rule(function: FunctionType) -> Callable[..., Any]:
    """A rule as callers compile it: what Numba knows under the rule's own name is a part of kernels."""
    compiled: Callable[..., Any] = part(FunctionType(function.__code__, function.__globals__))
    return compiled


count_phases, phase_of, transposed_size, pad_axis, count_outputs = (
    _rule(each)
    for each in (
        shapes.count_phases,
        shapes.phase_of,
        shapes.transposed_size,
        shapes.pad_axis,
        shapes.count_outputs,
    )
)

# What Numba cannot write for any number of axes.
_OF_BATCH = {False: part(lambda x: x), True: part(lambda x: x[None])}
_OF_RESULT = {False: part(lambda x: x), True: part(lambda x: x[0])}
_VOLUME = {
    1: part(lambda x: x[:, :, None, None, :]),
    2: part(lambda x: x[:, :, None, :, :]),
    3: part(lambda x: x[:, :, :, :, :]),
}
_SHAPE = {
    1: part(lambda n, c, a: (n, c, a[2].size)),
    2: part(lambda n, c, a: (n, c, a[1].size, a[2].size)),
    3: part(lambda n, c, a: (n, c, a[0].size, a[1].size, a[2].size)),
}
_SIZES = {
    1: part(lambda s: (1, 1, s[2])),
    2: part(lambda s: (1, s[2], s[3])),
    3: part(lambda s: (s[2], s[3], s[4])),
}
_EMPTY = "{}(): input has an empty spatial axis, expected none"
_NO_OUTPUTS = "{}(): weight has an empty axis, expected none"
_STRIDED = "{}(): padding is 'same', expected a stride of 1"


def convolution(
    name: str,
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Callable[..., Any]:
    """The implementation of `conv1d` and its like."""
    is_single = _check_arrays(name, rank, input, weight, bias)
    asked = constant(padding)
    if isinstance(asked, str) and asked not in ("valid", "same"):
        raise TypingError(f"{name}(): padding is {asked!r}, expected 'valid', 'same' or numbers")
    if not isinstance(asked, str):
        _three(name, "padding", padding, rank, 0)
    batch = types.Array(input.dtype, rank + 2, "A")
    try:
        known = typed(
            name, rank, False, batch, weight, groups, stride, ("padding", padding), dilation, 0, bias, "constant", None,
            "auto", None, None,
        )  # fmt: skip
    except TypingError as error:
        raise TypingError(str(refusal(error, x="input", w="weight"))) from None
    call, of_batch, of_result = caller(known, types.none), _OF_BATCH[is_single], _OF_RESULT[is_single]
    strides, is_same = _three(name, "stride", stride, rank, 1), asked == "same"
    empty, none, strided = _EMPTY.format(name), _NO_OUTPUTS.format(name), _STRIDED.format(name)

    def implementation(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):  # type: ignore[no-untyped-def]
        if weight.shape[0] == 0:
            raise Refusal(none)
        if is_same and max(strides(stride)) > 1:
            raise Refusal(strided)
        x = of_batch(input)
        for size in x.shape[2:]:
            if size == 0:
                raise Refusal(empty)
        message, result = call(x, weight, groups, stride, padding, dilation, 0, bias, None)
        if message != 0:
            raise Refusal(message_at(message))
        return of_result(result)

    return implementation


def transposed(
    name: str,
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Callable[..., Any]:
    """The implementation of `conv_transpose1d` and its like."""
    is_single = _check_arrays(name, rank, input, weight, bias)
    strides, dilations = (_three(name, *each, rank, 1) for each in (("stride", stride), ("dilation", dilation)))
    pads = _three(name, "padding", padding, rank, 0)
    more = _three(name, "output_padding", output_padding, rank, 0)
    has_bias = constant(bias) is not None
    of_batch, of_result = _OF_BATCH[is_single], _OF_RESULT[is_single]
    volume, shape_of, spread = _VOLUME[rank], _SHAPE[rank], _spread(has_bias)
    empty, none = _EMPTY.format(name), _NO_OUTPUTS.format(name)
    channels = f"{name}(): weight has another number of input channels than input, or groups cannot share them evenly"
    uneven = f"{name}(): output_padding is not less than the stride or than the dilation"
    small = f"{name}(): the result would have a size of less than 1, or of more than memory can address"
    biased = f"{name}(): bias has not one element for each output channel"
    number = f"{name}(): stride, dilation and groups have to be 1 or more, padding and output_padding 0 or more"

    def implementation(  # type: ignore[no-untyped-def]
        input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
    ):
        given = of_batch(input)
        x, w = volume(given), volume(weight)
        if w.size == 0:
            raise Refusal(none)
        if x.shape[2] * x.shape[3] * x.shape[4] == 0:
            raise Refusal(empty)
        steps, gaps, ends, extra = strides(stride), dilations(dilation), pads(padding), more(output_padding)
        if min(steps) < 1 or min(gaps) < 1 or min(ends) < 0 or min(extra) < 0 or groups < 1:
            raise Refusal(number)
        if x.shape[1] != w.shape[0] or w.shape[0] % groups != 0:
            raise Refusal(channels)
        axes = (
            transposed_axis(x.shape[2], w.shape[2], steps[0], gaps[0], ends[0], extra[0]),
            transposed_axis(x.shape[3], w.shape[3], steps[1], gaps[1], ends[1], extra[1]),
            transposed_axis(x.shape[4], w.shape[4], steps[2], gaps[2], ends[2], extra[2]),
        )
        for i in range(3):
            if extra[i] >= max(steps[i], gaps[i]):
                raise Refusal(uneven)
            if axes[i].size < 1:
                raise Refusal(small)
        if has_bias and bias.shape[0] != groups * w.shape[1]:
            raise Refusal(biased)
        out = np.zeros(shape_of(x.shape[0], groups * w.shape[1], axes), input.dtype)
        spread(x, w, bias, volume(out), axes, groups)
        return of_result(out)

    return implementation


@part
def transposed_axis(size, kernel, stride, dilation, padding, more):  # type: ignore[no-untyped-def]
    """The axis of the convolution that a transposed one turns around; its size is less than 1 where there is none."""
    axis = Axis(0, kernel, stride, dilation, padding, padding, CONSTANT, size)
    return Axis(transposed_size(axis, more), kernel, stride, dilation, padding, padding, CONSTANT, size)


def input_gradient(
    name: str,
    rank: int,
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Callable[..., Any]:
    """The implementation of `conv1d_input` and its like."""
    given = array_of(name, "weight", weight), array_of(name, "grad_output", grad_output)
    if given[0] != given[1]:
        raise TypingError(
            f"{name}(): weight has dtype {given[0]} and grad_output {given[1]}, expected one dtype for all"
        )
    for label, kind in (("weight", weight), ("grad_output", grad_output)):
        if kind.ndim != rank + 2:
            raise TypingError(f"{name}(): {label} has {kind.ndim} dimensions, expected {rank + 2}")
    if not (isinstance(input_size, types.BaseTuple) and len(input_size) == rank + 2):
        raise TypingError(f"{name}(): input_size is {input_size}, expected {rank + 2} ints")
    strides, dilations = (_three(name, *each, rank, 1) for each in (("stride", stride), ("dilation", dilation)))
    pads = _three(name, "padding", padding, rank, 0)
    volume, shape_of, sizes_of, spread = _VOLUME[rank], _SHAPE[rank], _SIZES[rank], _spread(False)
    number = f"{name}(): stride, dilation and groups have to be 1 or more, padding 0 or more"
    channels = (
        f"{name}(): weight has other channels than input_size and grad_output, or groups cannot share them evenly"
    )
    other = f"{name}(): grad_output has not the shape of the output"
    empty = f"{name}(): weight or a spatial axis of input_size is empty"

    def implementation(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):  # type: ignore[no-untyped-def]
        x, w = volume(grad_output), volume(weight)
        steps, gaps, ends = strides(stride), dilations(dilation), pads(padding)
        if min(steps) < 1 or min(gaps) < 1 or min(ends) < 0 or groups < 1:
            raise Refusal(number)
        sizes = sizes_of(input_size)
        if w.size == 0 or min(sizes) < 1:
            raise Refusal(empty)
        if w.shape[0] % groups != 0 or x.shape[1] != w.shape[0] or input_size[1] != groups * w.shape[1]:
            raise Refusal(channels)
        if input_size[0] != x.shape[0]:
            raise Refusal(other)
        axes = (
            convolved_axis(sizes[0], w.shape[2], steps[0], gaps[0], ends[0]),
            convolved_axis(sizes[1], w.shape[3], steps[1], gaps[1], ends[1]),
            convolved_axis(sizes[2], w.shape[4], steps[2], gaps[2], ends[2]),
        )
        for i in range(3):
            if axes[i].out != x.shape[2 + i]:
                raise Refusal(other)
        result = np.zeros(shape_of(x.shape[0], input_size[1], axes), weight.dtype)
        spread(x, w, None, volume(result), axes, groups)
        return result

    return implementation


@part
def convolved_axis(size, kernel, stride, dilation, padding):  # type: ignore[no-untyped-def]
    """An axis and its outputs, -1 where the kernel does not fit."""
    axis = Axis(size, kernel, stride, dilation, padding, padding, CONSTANT, 0)
    _, _, room = pad_axis(axis, GIVEN, False)
    out = count_outputs(axis, room) if room >= 0 else -1
    return Axis(size, kernel, stride, dilation, padding, padding, CONSTANT, out)


def _check_arrays(name: str, rank: int, input: Any, weight: Any, bias: Any) -> bool:
    """Refuse arrays of other types than PyTorch takes; whether the input lacks a batch."""
    given = {"input": array_of(name, "input", input), "weight": array_of(name, "weight", weight)}
    if constant(bias) is not None:
        given["bias"] = array_of(name, "bias", bias)
        if bias.ndim != 1:
            raise TypingError(f"{name}(): bias has {bias.ndim} dimensions, expected 1")
    if len(set(given.values())) > 1:
        shown = " and ".join(f"{label} has dtype {dtype}" for label, dtype in given.items())
        raise TypingError(f"{name}(): {shown}, expected one dtype for all")
    if input.ndim not in (rank + 1, rank + 2):
        raise TypingError(
            f"{name}(): input has {input.ndim} dimensions, expected {rank + 2}, or {rank + 1} without a batch"
        )
    if weight.ndim != rank + 2:
        raise TypingError(f"{name}(): weight has {weight.ndim} dimensions, expected {rank + 2}")
    return bool(input.ndim == rank + 1)


def _three(name: str, option: str, kind: Any, rank: int, alone: int) -> Callable[..., Any]:
    """What makes an option's value one int for each of three axes; axes of size 1 come first, with `alone`."""
    value = constant(kind)
    if isinstance(kind, types.BaseTuple) and [isinstance(item, types.Integer) for item in kind] == [True] * rank:
        several: Callable[..., Any] = part(
            {
                1: lambda value: (alone, alone, value[0]),
                2: lambda value: (alone, value[0], value[1]),
                3: lambda value: (value[0], value[1], value[2]),
            }[rank]
        )
        return several
    if isinstance(kind, types.Integer) or (type(value) is int):
        one: Callable[..., Any] = part(
            {
                1: lambda value: (alone, alone, value),
                2: lambda value: (alone, value, value),
                3: lambda value: (value, value, value),
            }[rank]
        )
        return one
    raise TypingError(f"{name}(): {option} is {kind}, expected an int or {rank} of them, one for each spatial axis")


def _spread(has_bias: bool) -> Callable[..., Any]:
    """What runs the phases of a transposed convolution over three axes, for a result that holds zeros."""

    @part
    def order(w, groups):  # type: ignore[no-untyped-def]
        """The kernel `(groups * channels, outputs, *K)` as `(groups * outputs, channels, *K)`."""
        if groups == 1:
            return w.transpose((1, 0, 2, 3, 4))[::1]
        channels, outputs = w.shape[0] // groups, w.shape[1]
        ordered = np.empty((groups * outputs, channels, w.shape[2], w.shape[3], w.shape[4]), w.dtype)
        for g in range(groups):
            for o in range(outputs):
                for c in range(channels):
                    ordered[g * outputs + o, c] = w[g * channels + c, o]
        return ordered[::1]

    @part
    def spread(x, w, bias, out, axes, groups):  # type: ignore[no-untyped-def]
        a0, a1, a2 = axes
        w = order(w, groups)
        if has_bias:
            for n in range(out.shape[0]):
                for o in range(out.shape[1]):
                    out[n, o] = bias[o]
        for t0 in range(count_phases(a0)):
            p0 = phase_of(a0, t0)
            for t1 in range(count_phases(a1)):
                p1 = phase_of(a1, t1)
                for t2 in range(count_phases(a2)):
                    p2 = phase_of(a2, t2)
                    if min(p0.out, p1.out, p2.out) > 0:
                        convolve3d(
                            x[:, :, p0.begin : p0.end, p1.begin : p1.end, p2.begin : p2.end],
                            w[:, :, p0.tap :: p0.tap_step, p1.tap :: p1.tap_step, p2.tap :: p2.tap_step],
                            groups=groups,
                            padding=((p0.before, p0.after), (p1.before, p1.after), (p2.before, p2.after)),
                            dilation=(p0.dilation, p1.dilation, p2.dilation),
                            bias=bias,
                            out=out[:, :, p0.first :: a0.stride, p1.first :: a1.stride, p2.first :: a2.stride],
                        )

    compiled: Callable[..., Any] = spread
    return compiled
