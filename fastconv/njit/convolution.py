"""Convolutions: what Numba compiles where a user's function calls one. A frame is filled, resolved and run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl
from numba.np.numpy_support import as_dtype, from_dtype

from .. import problem as checks
from ..kernels import window
from ..kernels.calls import frame as layout
from ..kernels.convolution import activation as activations
from ..kernels.strided import compute_dtype
from .arguments import (
    array_of,
    cast_to,
    checked,
    constant,
    holds,
    ints_of,
    message_at,
    name_of,
    number_in_memory,
    padding_of,
)
from .frames import Frame
from .linking import Needs

_INT64 = ir.IntType(64)


def implement(
    name: str,
    rank: int | None,
    flip: bool,
    x: Any,
    w: Any,
    groups: Any,
    stride: Any,
    padding_mode: Any,
    dilation: Any,
    fillvalue: Any,
    bias: Any,
    boundary: Any,
    activation: Any,
    algorithm: Any,
    out: Any,
) -> Callable[..., Any]:
    """The implementation for arguments of the given types."""
    given = array_of(name, "x", x), array_of(name, "w", w)
    rank = w.ndim - 2 if rank is None else rank
    for label, array, leading in (("x", x, "NC"), ("w", w, "OI")):
        if array.ndim != rank + 2:
            raise TypingError(
                f"{name}(): {label} has {array.ndim} dimensions, expected {checks.dimensions(rank, leading)}"
            )
    if not 1 <= rank <= layout.MOST_AXES:
        raise TypingError(f"{name}(): w has {rank} spatial axes, expected 1 to {layout.MOST_AXES} inside compiled code")
    dtype = checked(checks.common_dtype, name, x=np.empty(0, given[0]), w=np.empty(0, given[1]))
    boundaries = checked(
        checks.as_names, name, "boundary", name_of(name, "boundary", boundary), rank, checks.BOUNDARIES
    )
    active, chosen = name_of(name, "activation", activation), name_of(name, "algorithm", algorithm)
    checked(checks.check_name, name, "activation", active, checks.ACTIVATIONS)
    checked(checks.check_activation, name, active, dtype)
    if chosen not in ("auto", "direct"):
        raise TypingError(f"{name}(): algorithm is {chosen!r}, expected 'auto' or 'direct' inside compiled code")
    kind, pads = padding_of(name, "padding_mode", padding_mode, rank)
    strides, dilations = ints_of(name, "stride", stride, rank), ints_of(name, "dilation", dilation, rank)
    group_count = ints_of(name, "groups", groups, 1)[0]
    has_bias, has_out = constant(bias) is not None, constant(out) is not None
    if has_bias:
        offered = array_of(name, "bias", bias)
        checked(checks.as_bias, name, np.empty(1, offered), 1, dtype)
        if bias.ndim != 1:
            raise TypingError(f"{name}(): bias has {bias.ndim} dimensions, expected 1")
    if has_out:
        if array_of(name, "out", out) != dtype:
            raise TypingError(f"{name}(): out has dtype {as_dtype(out.dtype)}, expected {dtype}")
        if out.ndim != rank + 2:
            raise TypingError(f"{name}(): out has {out.ndim} dimensions, expected {rank + 2}")
        if not out.mutable:
            raise TypingError(f"{name}(): out is read-only, expected an array that can be written")
    scalar, constant_fill = from_dtype(dtype), constant(fillvalue)
    if constant_fill is not ...:
        constant_fill = checked(checks.as_fill, name, constant_fill, dtype)
    elif not holds(scalar, fillvalue):
        raise TypingError(f"{name}(): fillvalue is {fillvalue}, expected {scalar}, the result's type, or a constant")
    needs, compute_size = (
        Needs("convolution" if rank <= 3 else "generic", dtype.name),
        np.dtype(compute_dtype(dtype.name)).itemsize,
    )
    first = max(3 - rank, 0)  # of the axes in the frame: kernels know three, or all
    active_number = activations.NAMES.index(active)
    result_type = out if has_out else types.Array(scalar, rank + 2, "C")

    @intrinsic  # type: ignore[untyped-decorator]
    def call(
        typingctx: Any,
        x: Any,
        w: Any,
        groups: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        fill: Any,
        bias: Any,
        out: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            context.environment.consts.append(needs)
            x_value, w_value, group_value, stride_value, padding_value, dilation_value = args[:6]
            fill_value, bias_value, out_value = args[6:]
            frame = Frame(context, builder, name)
            frame.put(layout.KERNELS, needs.kernels, compute_size)
            frame.put(layout.PADDING, kind)
            frame.put(layout.HAS_OUT, has_out)
            frame.put(layout.ITEM, dtype.itemsize, dtype.alignment)
            x_shape, w_shape = frame.put_array(layout.X, x, x_value), frame.put_array(layout.W, w, w_value)
            filled, is_lost = number_in_memory(context, builder, constant_fill, fill, fill_value, scalar)
            frame.put_scalar(layout.FILL, filled, dtype.itemsize)
            frame.put_scalar(layout.BIAS, filled, dtype.itemsize)  # not read, unless there is one
            if has_bias:
                frame.put(layout.BIASES, frame.put_array(layout.BIAS, bias, bias_value)[0])
            if has_out:
                frame.put_array(layout.OUT, out, out_value)
            count = group_count(context, builder, group_value)
            frame.put(layout.CALL, x_shape[0], count, w_shape[1], w_shape[0], rank, flip, has_bias, active_number, 0)
            for i in range(first):
                frame.put_axis(i, 1, 1, 1, 1, 0, 0, 0, 1)
            for i in range(rank):
                step, gap = (
                    read[i](context, builder, value)
                    for read, value in ((strides, stride_value), (dilations, dilation_value))
                )
                before, after = (read(context, builder, padding_value) for read in pads[i])
                sizes = x_shape[2 + i], w_shape[2 + i]
                frame.put_axis(first + i, *sizes, step, gap, before, after, window.BOUNDARIES[boundaries[i]], 0)

            result = cgutils.alloca_once(builder, context.get_value_type(result_type), zfill=True)

            def allocate() -> None:
                if has_out:
                    context.nrt.incref(builder, result_type, out_value)
                    builder.store(out_value, result)
                    return
                shape = [x_shape[0], w_shape[0], *(frame.out_size(first + i) for i in range(rank))]
                array = _empty_nd_impl(context, builder, result_type, shape)._getvalue()
                builder.store(array, result)
                frame.put_array(layout.OUT, result_type, array)

            message = frame.perform(layout.RESOLVE, layout.RUN, allocate, is_lost)
            return context.make_tuple(builder, signature.return_type, [message, builder.load(result)])

        return types.Tuple((types.intp, result_type))(x, w, groups, stride, padding, dilation, fill, bias, out), codegen

    of_x, of_w, of_bias = (cast_to(array, dtype) for array in (x, w, bias))

    def implementation(  # type: ignore[no-untyped-def]
        x,
        w,
        groups=1,
        stride=1,
        padding_mode="valid",
        dilation=1,
        fillvalue=0,
        bias=None,
        boundary="constant",
        activation=None,
        algorithm="auto",
        out=None,
    ):
        message, result = call(of_x(x), of_w(w), groups, stride, padding_mode, dilation, fillvalue, of_bias(bias), out)
        if message != 0:
            raise ValueError(message_at(message))
        return result

    return implementation
