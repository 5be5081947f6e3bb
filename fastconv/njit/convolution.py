"""Convolutions: what Numba compiles where a user's function calls one. A frame is filled, resolved and run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl
from numba.np.numpy_support import as_dtype, from_dtype

from .. import problem as checks
from ..kernels.calls.frame import AT, IN_TABLE, MOST_AXES
from ..kernels.convolution.choose import FAMILIES
from ..kernels.shapes import ACTIVATIONS, ALGORITHMS, BOUNDARIES, UNIT, Call, element_of
from .arguments import (
    array_of,
    cast_to,
    checked,
    constant,
    dtype_of,
    holds,
    ints_of,
    message_at,
    name_of,
    number_in_memory,
    padding_beside,
    padding_of,
)
from .frames import Frame
from .linking import Needs

_INT64 = ir.IntType(64)
Reader = Callable[..., Any]


class Convolution(NamedTuple):
    """What is known of a call when its caller is compiled; a reader gives a number from the value of an argument."""

    name: str
    rank: int
    flip: bool
    dtype: np.dtype[Any]
    read: np.dtype[Any]  # the dtype in which kernels take the input
    groups: Reader
    strides: list[Reader]  # for each spatial axis
    dilations: list[Reader]
    padding_name: str
    padding: int
    pads: list[tuple[Reader, Reader]]
    boundaries: list[int]
    activation: int
    algorithm: int
    fill: Any  # an array of one element, or `...`: a variable
    has_bias: bool
    has_out: bool


def typed(
    name: str, rank: int | None, flip: bool, x: Any, w: Any, groups: Any, stride: Any, padding: tuple[str, Any],
    dilation: Any, fillvalue: Any, bias: Any, boundary: Any, activation: Any, algorithm: Any, dtype: Any, out: Any,
) -> Convolution:  # fmt: skip
    """Check all that the types of the arguments tell; what is wrong with them is a typing error.

    `padding` comes with its name.
    """
    given = array_of(name, "x", x), array_of(name, "w", w)
    rank = w.ndim - 2 if rank is None else rank
    misfits = checks.Misfits(name)
    for label, array, leading in (("x", x, "NC"), ("w", w, "OI")):
        if array.ndim != rank + 2:
            hint = checks.rank_hint(label, array.ndim, rank, leading)
            misfits.say(f"{label} has {array.ndim} dimensions, expected {checks.dimensions(rank, leading)}{hint}")
    checked(misfits.refuse)
    if not 1 <= rank <= MOST_AXES:
        raise TypingError(f"{name}(): w has {rank} spatial axes, expected 1 to {MOST_AXES} inside compiled code")
    empty = [np.empty(0, each) for each in given]
    dtype = checked(checks.result_dtype, name, dtype_of(name, dtype), x=empty[0], w=empty[1])
    boundaries = checked(checks.as_names, name, "boundary", name_of(name, "boundary", boundary), rank, BOUNDARIES)
    active, asked = name_of(name, "activation", activation), name_of(name, "algorithm", algorithm)
    checked(checks.check_activation, name, active, dtype)
    compiled = "auto", *dict.fromkeys(family.algorithm for family in FAMILIES)
    if asked not in compiled:
        raise TypingError(
            f"{name}(): algorithm is {asked!r}, expected {' or '.join(map(repr, compiled))} inside compiled code"
        )
    asked_padding, pads = padding_of(name, *padding, rank)
    strides, dilations = ints_of(name, "stride", stride, rank), ints_of(name, "dilation", dilation, rank)
    has_bias, has_out = constant(bias) is not None, constant(out) is not None
    if has_bias:
        offered = array_of(name, "bias", bias)
        checked(checks.as_bias, name, np.empty(1, offered), 1, dtype)
        if bias.ndim != 1:
            raise TypingError(f"{name}(): bias has {bias.ndim} dimensions, expected 1")
    if has_out:
        if array_of(name, "out", out) != dtype:
            offered = as_dtype(out.dtype)
            hint = checks.dtype_hint(offered, *empty)
            raise TypingError(f"{name}(): out has dtype {offered}, expected {dtype}{hint}")
        if out.ndim != rank + 2:
            raise TypingError(f"{name}(): out has {out.ndim} dimensions, expected {rank + 2}")
        if not out.mutable:
            raise TypingError(f"{name}(): out is read-only, expected an array that can be written")
    scalar, fill = from_dtype(dtype), constant(fillvalue)
    if fill is not ...:
        fill = checked(checks.as_fill, name, fill, dtype)
    elif not holds(scalar, fillvalue):
        raise TypingError(f"{name}(): fillvalue is {fillvalue}, expected {scalar}, the result's type, or a constant")
    return Convolution(
        name, rank, flip, dtype, checks.read_dtype(given[0], dtype), ints_of(name, "groups", groups, 1)[0], strides,
        dilations, padding[0], asked_padding, pads, [BOUNDARIES.index(each) for each in boundaries],
        ACTIVATIONS.index(active), ALGORITHMS.index(asked), fill, has_bias, has_out,
    )  # fmt: skip


def caller(known: Convolution, out: Any) -> Any:
    """An intrinsic that fills a frame, has it resolved and run, and gives a message's address and the result."""
    needs, rank, dtype = Needs("convolution", known.dtype.name, known.read.name, known.rank), known.rank, known.dtype
    first, scalar = max(3 - rank, 0), from_dtype(dtype)  # kernels know three axes, or all
    result_type = out if known.has_out else types.Array(scalar, rank + 2, "C")

    @intrinsic  # type: ignore[untyped-decorator]
    def call(
        typingctx: Any, x: Any, w: Any, groups: Any, stride: Any, padding: Any, dilation: Any, fill: Any, bias: Any,
        out: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            context.environment.consts.append(needs)
            x_value, w_value, group_value, stride_value, padding_value, dilation_value = args[:6]
            fill_value, bias_value, out_value = args[6:]
            frame = Frame(context, builder, known.name, known.padding_name)
            frame.put(AT.kernels, needs.kernels)
            frame.put(AT.element, *element_of(dtype.name))
            frame.put(AT.itemsize, dtype.itemsize)
            frame.put(AT.alignment, dtype.alignment)
            frame.put(AT.x_itemsize, known.read.itemsize)
            frame.put(AT.algorithm, known.algorithm)
            frame.put(AT.padding, known.padding)
            frame.put(AT.has_out, known.has_out)
            x_shape, w_shape = frame.put_array(AT.x, x, x_value), frame.put_array(AT.w, w, w_value)
            filled, is_lost = number_in_memory(context, builder, known.fill, fill, fill_value, scalar)
            frame.put_scalar(AT.fill, filled, dtype.itemsize)
            frame.put_scalar(AT.bias, filled, dtype.itemsize)  # not read, unless there is one
            frame.put(AT.biases, 0)
            if known.has_bias:
                frame.put(AT.biases, frame.put_array(AT.bias, bias, bias_value)[0])
            if known.has_out:
                frame.put_array(AT.out, out, out_value)
            count = known.groups(context, builder, group_value)
            numbers = Call(
                x_shape[0], count, w_shape[1], w_shape[0], rank, int(known.flip), int(known.has_bias), known.activation,
                known.algorithm,
            )  # fmt: skip
            frame.put(AT.call, *numbers)
            for i in range(first):
                frame.put_axis(i, *UNIT)
            for i in range(rank):
                step = known.strides[i](context, builder, stride_value)
                gap = known.dilations[i](context, builder, dilation_value)
                before, after = (read(context, builder, padding_value) for read in known.pads[i])
                sizes = x_shape[2 + i], w_shape[2 + i]
                frame.put_axis(first + i, *sizes, step, gap, before, after, known.boundaries[i], 0)

            result = cgutils.alloca_once(builder, context.get_value_type(result_type), zfill=True)

            def allocate() -> None:
                if known.has_out:
                    context.nrt.incref(builder, result_type, out_value)
                    builder.store(out_value, result)
                    return
                shape = [x_shape[0], w_shape[0], *(frame.out_size(first + i) for i in range(rank))]
                array = _empty_nd_impl(context, builder, result_type, shape)._getvalue()
                builder.store(array, result)
                frame.put_array(AT.out, result_type, array)

            message = frame.perform(IN_TABLE.resolve, IN_TABLE.run, allocate, is_lost)
            return context.make_tuple(builder, signature.return_type, [message, builder.load(result)])

        return types.Tuple((types.intp, result_type))(x, w, groups, stride, padding, dilation, fill, bias, out), codegen

    return call


def implement(name: str, rank: int | None, flip: bool, **arguments: Any) -> Callable[..., Any]:
    """The implementation for arguments of the given types."""
    label, kind, pick = padding_beside(name, "padding_mode", arguments.pop("padding_mode"), arguments.pop("padding"))
    known = typed(name, rank, flip, padding=(label, kind), **arguments)
    call = caller(known, arguments["out"])
    of_x = cast_to(arguments["x"], known.read)
    of_w, of_bias = (cast_to(arguments[each], known.dtype) for each in ("w", "bias"))

    def implementation(  # type: ignore[no-untyped-def]
        x,
        w,
        groups=1,
        stride=1,
        padding_mode="valid",
        padding=None,
        dilation=1,
        fillvalue=0,
        bias=None,
        boundary="constant",
        activation=None,
        algorithm="auto",
        dtype=None,
        out=None,
    ):
        pads = pick(padding_mode, padding)
        message, result = call(of_x(x), of_w(w), groups, stride, pads, dilation, fillvalue, of_bias(bias), out)
        if message != 0:
            raise ValueError(message_at(message))
        return result

    return implementation
