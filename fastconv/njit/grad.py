"""Gradients of weights and biases: what Numba compiles where a user's function calls one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl
from numba.np.numpy_support import from_dtype

from .. import problem as checks
from ..kernels.calls.frame import AT, IN_TABLE
from ..kernels.shapes import CONSTANT, UNIT, Call, element_of
from ..torch_names import Refusal, common_dtype
from .arguments import array_of, checked, ints_of, message_at, number_in_memory
from .frames import Frame
from .linking import Needs

_ONE = ir.IntType(64)(1)
_ZERO = ir.IntType(64)(0)


def begin(context: Any, builder: Any, name: str, needs: Needs, dtype: np.dtype[Any]) -> Frame:
    """A frame of a gradient."""
    context.environment.consts.append(needs)
    frame = Frame(context, builder, name, "padding")
    frame.put(AT.kernels, needs.kernels)
    frame.put(AT.element, *element_of(dtype.name))
    frame.put(AT.itemsize, dtype.itemsize)
    frame.put(AT.alignment, dtype.alignment)
    return frame


def put_call(frame: Frame, batch: Any, groups: Any, size: Sequence[Any]) -> None:
    """Write what the convolution is besides its axes."""
    frame.put(AT.call, *Call(batch, groups, size[1], size[0], len(size) - 2, 0, 0, 0, 0))
    for i in range(5 - len(size)):
        frame.put_axis(i, *UNIT)


def finish(context: Any, builder: Any, signature: Any, frame: Frame, shape: Sequence[Any]) -> Any:
    """Have a frame run; the address of a message, and the result, which has a shape."""
    kind = signature.return_type[1]
    result = cgutils.alloca_once(builder, context.get_value_type(kind), zfill=True)

    def allocate() -> None:
        array = _empty_nd_impl(context, builder, kind, shape)._getvalue()
        builder.store(array, result)
        frame.put_array(AT.out, kind, array)

    message = frame.perform(IN_TABLE.resolve_gradient, IN_TABLE.run_gradient, allocate)
    return context.make_tuple(builder, signature.return_type, [message, builder.load(result)])


def check_ranks(name: str, rank: int, **arrays: tuple[Any, str]) -> None:
    """Refuse arrays, by their names, with a number of axes that is not that of their leading and the spatial ones."""
    misfits = checks.Misfits(name)
    for label, (array, leading) in arrays.items():
        if array.ndim != rank + 2:
            misfits.say(f"{label} has {array.ndim} dimensions, expected {checks.dimensions(rank, leading)}")
    checked(misfits.refuse)


def weight_gradient(
    name: str, rank: int, /, input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any,
    groups: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `conv*d_weight`."""
    dtypes = array_of(name, "input", input), array_of(name, "grad_output", grad_output)
    given = {label: np.empty(0, each) for label, each in zip(("input", "grad_output"), dtypes, strict=True)}
    dtype = checked(common_dtype, name, **given)
    check_ranks(name, rank, input=(input, "NC"), grad_output=(grad_output, "NO"))
    if not isinstance(weight_size, types.BaseTuple) or len(weight_size) != rank + 2:
        raise TypingError(f"{name}(): weight_size is {weight_size}, expected {rank + 2} ints, the shape of the weights")
    sizes = ints_of(name, "weight_size", weight_size, rank + 2)
    strides, dilations = ints_of(name, "stride", stride, rank), ints_of(name, "dilation", dilation, rank)
    pads, group = ints_of(name, "padding", padding, rank), ints_of(name, "groups", groups, 1)[0]
    needs, kind = Needs("weights", dtype.name, dtype.name), types.Array(from_dtype(dtype), rank + 2, "C")

    @intrinsic  # type: ignore[untyped-decorator]
    def call(
        typingctx: Any, input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any,
        groups: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x_value, size_value, gradient_value, stride_value, padding_value, dilation_value, group_value = args
            frame = begin(context, builder, name, needs, dtype)
            x_shape = frame.put_array(AT.x, input, x_value)
            frame.put_array(AT.w, grad_output, gradient_value)
            size = [read(context, builder, size_value) for read in sizes]
            put_call(frame, x_shape[0], group(context, builder, group_value), size)
            for i in range(rank):
                step, gap, pad = (
                    readers[i](context, builder, value)
                    for readers, value in ((strides, stride_value), (dilations, dilation_value), (pads, padding_value))
                )
                frame.put_axis(3 - rank + i, x_shape[2 + i], size[2 + i], step, gap, pad, pad, CONSTANT, 0)
            return finish(context, builder, signature, frame, size)

        given = input, weight_size, grad_output, stride, padding, dilation, groups
        return types.Tuple((types.intp, kind))(*given), codegen

    def implementation(  # type: ignore[no-untyped-def]
        input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1
    ):
        message, out = call(input, weight_size, grad_output, stride, padding, dilation, groups)
        if message != 0:
            raise Refusal(message_at(message))
        return out

    return implementation


def bias_gradient(name: str, rank: int, /, grad_output: Any) -> Callable[..., Any]:
    """The implementation of `conv*d_bias`: one tap that meets an input of ones."""
    dtype = array_of(name, "grad_output", grad_output)
    check_ranks(name, rank, grad_output=(grad_output, "NO"))
    needs, scalar = Needs("weights", dtype.name, dtype.name), from_dtype(dtype)
    kind = types.Array(scalar, 1, "C")

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typingctx: Any, grad_output: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            frame = begin(context, builder, name, needs, dtype)
            batch, outputs, *positions = frame.put_array(AT.w, grad_output, args[0])
            one, _ = number_in_memory(context, builder, np.ones(1, dtype), None, None, scalar)
            frame.put_memory(AT.x, one, [batch, _ONE, *positions], [_ZERO] * (rank + 2))
            put_call(frame, batch, 1, [outputs, _ONE, *[_ONE] * rank])
            for i, size in enumerate(positions):
                frame.put_axis(3 - rank + i, size, 1, 1, 1, 0, 0, CONSTANT, 0)
            return finish(context, builder, signature, frame, [outputs])

        return types.Tuple((types.intp, kind))(grad_output), codegen

    def implementation(grad_output):  # type: ignore[no-untyped-def]
        message, out = call(grad_output)
        if message != 0:
            raise Refusal(message_at(message))
        return out

    return implementation
