"""What the arguments of a call in compiled code are: constants, numbers, arrays; and the messages that it may raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.cpython.unicode import _empty_string, _set_code_point
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype, from_dtype

from .. import problem as checks
from ..kernels.jit import part
from ..kernels.shapes import GIVEN

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


def dtype_of(function: str, kind: Any) -> np.dtype[Any] | None:
    """The dtype that is asked for, which must be a constant; None where there is none."""
    if isinstance(kind, (types.DType, types.NumberClass)):
        value = as_dtype(kind.dtype)
    else:
        value = name_of(function, "dtype", kind)
    asked: np.dtype[Any] | None = None if value is None else checked(checks.as_dtype, function, value)
    return asked


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


def padding_of(function: str, option: str, kind: Any, rank: int) -> tuple[int, list[tuple[Any, Any]]]:
    """Which padding is meant, and what gives the numbers before and after each axis."""
    none = [(lambda context, builder, value: _INT64(0),) * 2] * rank
    value = constant(kind)
    if isinstance(value, str) or value is None:
        return checked(checks.as_padding, function, option, value, rank)[0], none
    if isinstance(kind, types.UnicodeType):
        name_of(function, option, kind)
    pairs: list[tuple[Any, Any]] = []
    if isinstance(kind, types.BaseTuple) and any(isinstance(item, types.BaseTuple) for item in kind):
        if len(kind) != rank:
            raise TypingError(f"{function}(): {option} is {kind}, expected {rank} items, one for each spatial axis")
        for i, item in enumerate(kind):
            ends = ints_of(function, option, item, 2)
            pairs.append((_item(kind, i, ends[0]), _item(kind, i, ends[1])))
    else:
        pairs = [(read, read) for read in ints_of(function, option, kind, rank)]
    return GIVEN, pairs


@part
def first_of(first, second):  # type: ignore[no-untyped-def]
    """The first of two values."""
    return first


@part
def second_of(first, second):  # type: ignore[no-untyped-def]
    """The second of two values."""
    return second


def padding_beside(function: str, name: str, kind: Any, padding: Any) -> tuple[str, Any, Callable[..., Any]]:
    """The name and the type of the padding that is given, and what picks its value; the argument `name` goes first."""
    if constant(padding) is None:
        return name, kind, first_of
    if isinstance(kind, types.Type) and not isinstance(kind, types.Omitted):
        both = [each if constant(each) is ... else constant(each) for each in (kind, padding)]
        raise TypingError(str(checks.two_paddings(function, name, *both)))
    return "padding", padding, second_of


def truth_of(function: str, option: str, kind: Any) -> Callable[..., Any]:
    """What gives 0 or 1 from the argument's value."""
    value = constant(kind)
    if value is not ...:
        return lambda context, builder, given: _INT64(int(bool(value)))
    if isinstance(kind, (types.Boolean, types.Integer)):
        return lambda context, builder, given: context.cast(builder, given, kind, types.int64)
    raise TypingError(f"{function}(): {option} is {kind}, expected a bool")


def cast_to(kind: Any, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """What makes an argument an array of the dtype."""
    if not isinstance(kind, types.Array) or as_dtype(kind.dtype) == dtype:

        def convert(array):  # type: ignore[no-untyped-def]
            return array

    else:
        scalar = from_dtype(dtype)

        def convert(array):  # type: ignore[no-untyped-def]
            return array.astype(scalar)

    converter: Callable[..., Any] = part(convert)
    return converter


@intrinsic  # type: ignore[untyped-decorator]
def byte_at(typingctx: Any, address: Any, i: Any) -> Any:
    """A byte of a message."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(builder.add(*args), ir.IntType(8).as_pointer()))

    return types.uint8(types.intp, types.intp), codegen


@part
def message_at(address):  # type: ignore[no-untyped-def]
    """The text at an address, up to a zero."""
    size = 0
    while byte_at(address, size) != 0:
        size += 1
    text = _empty_string(1, size, 1)
    for i in range(size):
        _set_code_point(text, i, byte_at(address, i))
    return text


def holds(scalar: Any, kind: Any) -> bool:
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
