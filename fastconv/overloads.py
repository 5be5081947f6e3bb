"""What Numba compiles where a user's function calls fastconv: a frame is filled and handed to `kernels/calls.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.cpython.unicode import _empty_string, _set_code_point
from numba.extending import intrinsic, register_jitable
from numba.np.arrayobj import _empty_nd_impl
from numba.np.numpy_support import as_dtype, from_dtype

from . import problem as checks
from .frames import Frame
from .kernels import activation as activations
from .kernels import calls, window
from .kernels.strided import compute_dtype
from .linking import Needs

_INT64 = ir.IntType(64)


def constant(kind: Any) -> Any:
    """What an argument is known to be when its caller is compiled; `...`: only its type is known."""
    if isinstance(kind, types.Omitted):
        return kind.value
    if isinstance(kind, types.Literal):
        return kind.literal_value
    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, types.BaseTuple) and all(constant(item) is not ... for item in kind):
        return tuple(constant(item) for item in kind)
    return ... if isinstance(kind, types.Type) else kind


def checked(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The result of a check of the frontend, whose refusal is a typing error."""
    try:
        return function(*args, **options)
    except (TypeError, ValueError) as error:
        raise TypingError(str(error)) from None


def name_of(function: str, option: str, kind: Any) -> Any:
    """A name, or several, which must be constants."""
    value = constant(kind)
    if value is ...:
        raise TypingError(f"{function}(): {option} is a variable, expected a constant inside compiled code")
    return value


def array_of(function: str, name: str, kind: Any) -> np.dtype[Any]:
    """The dtype of an array argument."""
    if not isinstance(kind, types.Array):
        raise TypingError(f"{function}(): {name} is {kind}, expected an array")
    checked(checks.as_array, function, name, np.empty(0, as_dtype(kind.dtype)))
    return as_dtype(kind.dtype)


def ints_of(function: str, option: str, kind: Any, rank: int) -> list[Callable[..., Any]]:
    """For each spatial axis, what gives its number from the argument's value."""
    if isinstance(kind, types.Omitted) or not isinstance(kind, types.Type):
        number = constant(kind)
        return [lambda context, builder, value: _INT64(number)] * rank
    if isinstance(kind, types.Integer):
        return [lambda context, builder, value: context.cast(builder, value, kind, types.int64)] * rank
    if isinstance(kind, types.BaseTuple) and [isinstance(item, types.Integer) for item in kind] == [True] * rank:
        return [_item(kind, i) for i in range(rank)]
    raise TypingError(f"{function}(): {option} is {kind}, expected an int or {rank} of them, one for each spatial axis")


def _item(kind: Any, i: int, then: Callable[..., Any] | None = None) -> Callable[..., Any]:
    def read(context: Any, builder: Any, value: Any) -> Any:
        item = builder.extract_value(value, i)
        return then(context, builder, item) if then else context.cast(builder, item, kind[i], types.int64)

    return read


def padding_of(function: str, kind: Any, rank: int) -> tuple[int, list[tuple[Any, Any]]]:
    """Which padding is meant, and what gives the numbers before and after each axis."""
    none = [(lambda context, builder, value: _INT64(0),) * 2] * rank
    value, ones = constant(kind), (1,) * rank
    if isinstance(value, str) or value is None:
        checked(checks.as_padding, function, "padding_mode", value, ones, ones, ones, ones, flip=False)
        return calls.PADDINGS.index(value), none
    if isinstance(kind, types.UnicodeType):
        name_of(function, "padding_mode", kind)
    pairs: list[tuple[Any, Any]] = []
    if isinstance(kind, types.BaseTuple) and any(isinstance(item, types.BaseTuple) for item in kind):
        if len(kind) != rank:
            raise TypingError(f"{function}(): padding_mode is {kind}, expected {rank} items, one for each spatial axis")
        for i, item in enumerate(kind):
            ends = ints_of(function, "padding_mode", item, 2)
            pairs.append((_item(kind, i, ends[0]), _item(kind, i, ends[1])))
    else:
        pairs = [(read, read) for read in ints_of(function, "padding_mode", kind, rank)]
    return calls.GIVEN, pairs


def cast_to(kind: Any, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """What makes an argument an array of the dtype."""
    if not isinstance(kind, types.Array) or as_dtype(kind.dtype) == dtype:

        def convert(array):  # type: ignore[no-untyped-def]
            return array

    else:
        scalar = from_dtype(dtype)

        def convert(array):  # type: ignore[no-untyped-def]
            return array.astype(scalar)

    converter: Callable[..., Any] = register_jitable(convert)
    return converter


@intrinsic  # type: ignore[untyped-decorator]
def byte_at(typingctx: Any, address: Any, i: Any) -> Any:
    """A byte of a message."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(builder.add(*args), ir.IntType(8).as_pointer()))

    return types.uint8(types.intp, types.intp), codegen


@register_jitable
def message_at(address):  # type: ignore[no-untyped-def]
    """The text at an address, up to a zero."""
    size = 0
    while byte_at(address, size) != 0:
        size += 1
    text = _empty_string(1, size, 1)
    for i in range(size):
        _set_code_point(text, i, byte_at(address, i))
    return text


def convolution(
    index: int,
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
    for label, array in (("x", x), ("w", w)):
        if array.ndim != rank + 2:
            raise TypingError(f"{name}(): {label} has {array.ndim} dimensions, expected {rank + 2}")
    if not 1 <= rank <= 3:
        raise TypingError(f"{name}(): w has {rank} spatial axes, expected 1 to 3 inside compiled code")
    dtype = checked(checks.common_dtype, name, x=np.empty(0, given[0]), w=np.empty(0, given[1]))
    boundaries = checked(
        checks.as_names, name, "boundary", name_of(name, "boundary", boundary), rank, checks.BOUNDARIES
    )
    active, chosen = name_of(name, "activation", activation), name_of(name, "algorithm", algorithm)
    checked(checks.check_name, name, "activation", active, checks.ACTIVATIONS)
    checked(checks.check_name, name, "algorithm", chosen, checks.ALGORITHMS)
    checked(checks.check_activation, name, active, dtype)
    if chosen not in ("auto", "direct"):
        raise TypingError(f"{name}(): algorithm is {chosen!r}, expected 'auto' or 'direct' inside compiled code")
    kind, pads = padding_of(name, padding_mode, rank)
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
    elif not _holds(scalar, fillvalue):
        raise TypingError(f"{name}(): fillvalue is {fillvalue}, expected {scalar}, the result's type, or a constant")
    needs, compute_size = Needs(dtype.name), np.dtype(compute_dtype(dtype.name)).itemsize
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
            frame = Frame(context, builder)
            frame.put(calls.KERNELS, needs.kernels, compute_size)
            frame.put(calls.PADDING, kind)
            frame.put(calls.HAS_OUT, has_out, index, dtype.itemsize)
            x_shape, w_shape = frame.put_array(calls.X, x, x_value), frame.put_array(calls.W, w, w_value)
            filled, is_lost = number_in_memory(context, builder, constant_fill, fill, fill_value, scalar)
            frame.put_scalar(calls.FILL, filled, dtype.itemsize)
            frame.put_scalar(calls.BIAS, filled, dtype.itemsize)  # not read, unless there is one
            if has_bias:
                frame.put(calls.BIASES, frame.put_array(calls.BIAS, bias, bias_value)[0])
            if has_out:
                frame.put_array(calls.OUT, out, out_value)
            count = group_count(context, builder, group_value)
            frame.put(calls.CALL, x_shape[0], count, w_shape[1], w_shape[0], rank, flip, has_bias, active_number, 0)
            for i in range(3 - rank):
                frame.put_axis(i, 1, 1, 1, 1, 0, 0, 0, 1)
            for i in range(rank):
                step, gap = (
                    read[i](context, builder, value)
                    for read, value in ((strides, stride_value), (dilations, dilation_value))
                )
                before, after = (read(context, builder, padding_value) for read in pads[i])
                sizes = x_shape[2 + i], w_shape[2 + i]
                frame.put_axis(3 - rank + i, *sizes, step, gap, before, after, window.BOUNDARIES[boundaries[i]], 0)

            message = cgutils.alloca_once_value(builder, _INT64(0))
            result = cgutils.alloca_once(builder, context.get_value_type(result_type), zfill=True)
            with builder.if_then(frame.call(calls.RESOLVE), likely=False):
                builder.store(frame.explain(), message)
            with builder.if_then(is_lost, likely=False):
                builder.store(frame.word_of_table(calls.UNHELD), message)
            with builder.if_then(cgutils.is_null(builder, builder.load(message))):
                if has_out:
                    context.nrt.incref(builder, result_type, out_value)
                    builder.store(out_value, result)
                else:
                    shape = [x_shape[0], w_shape[0], *(frame.out_size(3 - rank + i) for i in range(rank))]
                    array = _empty_nd_impl(context, builder, result_type, shape)._getvalue()
                    builder.store(array, result)
                    frame.put_array(calls.OUT, result_type, array)
                with builder.if_then(builder.not_(frame.call(calls.RUN)), likely=False):
                    builder.store(frame.word_of_table(calls.FAILED), message)
            values = [builder.load(message), builder.load(result)]
            return context.make_tuple(builder, signature.return_type, values)

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


def _holds(scalar: Any, kind: Any) -> bool:
    """Whether numbers of a type may fill a result: what is too large for it is found when the call runs."""
    if scalar == kind:
        return True
    floating = isinstance(scalar, (types.Float, types.Complex)) and scalar != types.float16
    return floating and isinstance(kind, (types.Integer, types.Float))


def _is_lost(context: Any, builder: Any, value: Any, kind: Any, scalar: Any) -> Any:
    """Whether a finite number becomes infinite in the result's type."""
    real = getattr(scalar, "underlying_float", scalar)
    if not isinstance(kind, types.Float) or kind.bitwidth <= real.bitwidth:
        return cgutils.false_bit
    wide = context.cast(builder, context.cast(builder, value, kind, real), real, kind)

    def is_finite(number: Any) -> Any:
        return builder.fcmp_ordered("==", builder.fsub(number, number), ir.Constant(number.type, 0))

    return builder.and_(is_finite(value), builder.not_(is_finite(wide)))


def number_in_memory(context: Any, builder: Any, known: Any, kind: Any, value: Any, scalar: Any) -> tuple[Any, Any]:
    """Where a number lies as one of type `scalar`, and whether that cannot hold it; `known` may be it, in an array."""
    place = cgutils.alloca_once(builder, context.get_data_type(scalar))
    if known is not ...:
        content = bytearray(known.tobytes())
        text = ir.Constant(ir.ArrayType(ir.IntType(8), len(content)), content)
        builder.store(text, builder.bitcast(place, text.type.as_pointer()))
        return place, cgutils.false_bit
    cast = context.cast(builder, value, kind, scalar)
    builder.store(context.data_model_manager[scalar].as_data(builder, cast), place)
    return place, _is_lost(context, builder, value, kind, scalar)


def sequences(name: str, a: Any, v: Any, mode: Any) -> Callable[..., Any]:
    """The implementation of `fastconv.numpy`'s `convolve` or `correlate` for arguments of the given types."""
    from .conv import convolve1d, correlate1d  # which offer themselves, and need this module for it
    from .numpy import EMPTY, MODES

    for label, kind in (("a", a), ("v", v)):
        array_of(name, label, kind)
        if kind.ndim != 1:
            raise TypingError(f"{name}(): {label} has {kind.ndim} dimensions, expected one")
    chosen = name_of(name, "mode", mode)
    checked(checks.check_name, name, "mode", chosen, MODES)
    is_full, is_same, flip = chosen == "full", chosen == "same", name == "convolve"
    empty = tuple(EMPTY.format(name, label) for label in "av")
    function = convolve1d if flip else correlate1d

    @register_jitable
    def slide(longer, shorter):  # type: ignore[no-untyped-def]
        last = shorter.size - 1
        before = last if is_full else (shorter.size // 2 if is_same else 0)
        after = last if is_full else (last - shorter.size // 2 if is_same else 0)
        return function(longer[None, None], shorter[None, None], padding_mode=((before, after),))[0, 0]

    if flip:

        def implementation(a, v, mode="full"):  # type: ignore[no-untyped-def]
            if a.size == 0:
                raise ValueError(empty[0])
            if v.size == 0:
                raise ValueError(empty[1])
            return slide(a, v) if a.size >= v.size else slide(v, a)

    else:

        def implementation(a, v, mode="valid"):  # type: ignore[no-untyped-def]
            if a.size == 0:
                raise ValueError(empty[0])
            if v.size == 0:
                raise ValueError(empty[1])
            if a.size < v.size:
                return np.conj(slide(v, np.conj(a)))[::-1]
            return slide(a, np.conj(v))[::1]

    return implementation
