"""Pools, filters and patches: what Numba compiles where a user's function calls one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl
from numba.np.numpy_support import from_dtype

from .. import problem as checks
from ..kernels.calls import windows as window_calls
from ..kernels.calls.frame import AT, AT_WINDOWS, IN_TABLE, MOST_AXES
from ..kernels.jit import part
from ..kernels.shapes import CONSTANT, Windows
from ..pool import mean_dtype, outermost
from .arguments import (
    array_of,
    cast_to,
    checked,
    constant,
    dtype_of,
    ints_of,
    message_at,
    name_of,
    number_in_memory,
    padding_beside,
    padding_of,
    truth_of,
)
from .frames import Frame
from .linking import Needs

_INT64 = ir.IntType(64)
Reader = Callable[..., Any]


class Window(NamedTuple):
    """What is known of a call when its caller is compiled; a reader gives a number from the value of an argument."""

    name: str
    kind: int  # one of `window_calls.KINDS`
    dtype: np.dtype[Any]
    result: np.dtype[Any]
    leading: int  # axes before those of the window
    kernel: list[Reader]  # for each axis of the window
    stride: list[Reader] | None  # None: the window's size
    dilation: list[Reader]
    padding_name: str
    padding: int
    pads: list[tuple[Reader, Reader]]
    option: int
    flag: Reader | None  # whether to ceil
    size: list[Reader] | None  # that of the result, if it is asked for
    is_folded: bool  # channels and window share an axis of the columns: `im2col`, `col2im`
    divisor: Reader | None = None  # of means, from the argument `indices`


def window_of(
    name: str, kind: int, label: str, x: Any, leading: int, rank: int, kernel_size: Any, stride: Any, dilation: Any,
    padding: Sequence[Any], option: int = 0, flag: Reader | None = None, size: list[Reader] | None = None,
    is_folded: bool = False, result: np.dtype[Any] | None = None,
) -> Window:  # fmt: skip
    """A window over `rank` axes behind the leading ones; `padding` comes with its name, no `result` is x's dtype."""
    dtype = array_of(name, label, x)
    kernel, dilations = ints_of(name, "kernel_size", kernel_size, rank), ints_of(name, "dilation", dilation, rank)
    strides = None if constant(stride) is None else ints_of(name, "stride", stride, rank)
    if leading + rank > MOST_AXES:
        raise TypingError(
            f"{name}(): {label} has {leading + rank} axes, expected {MOST_AXES} or fewer inside compiled code"
        )
    padding_name, padding_kind = padding
    pads = padding_of(name, padding_name, padding_kind, rank)
    return Window(
        name, kind, dtype, result or dtype, leading, kernel, strides, dilations, padding_name, *pads, option, flag,
        size, is_folded,
    )  # fmt: skip


def caller(
    window: Window, *results: tuple[np.dtype[Any], int], error: type[Exception] = ValueError
) -> Callable[..., Any]:
    """What fills a frame, and gives a message's address and the results, of so many axes each; it raises `error`."""
    needs = Needs(window_calls.NAMES[window.kind], window.result.name, window.dtype.name)
    kinds = [types.Array(from_dtype(dtype), ndim, "C") for dtype, ndim in results]
    rank, leading = len(window.kernel), window.leading
    is_unpool = window.kind in (window_calls.UNPOOL, window_calls.SCATTER_ADD)

    @intrinsic  # type: ignore[untyped-decorator]
    def call(
        typingctx: Any, x: Any, indices: Any, kernel_size: Any, stride: Any, dilation: Any, padding: Any, flag: Any,
        size: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            context.environment.consts.append(needs)
            x_value, indices_value, kernel_value, stride_value, dilation_value, padding_value, flag_value = args[:7]
            size_value, frame = args[7], Frame(context, builder, window.name, window.padding_name)
            frame.put(AT.kernels, needs.kernels)
            frame.put(AT.padding, window.padding)
            frame.put(AT.itemsize, window.result.itemsize)
            frame.put(AT.x_itemsize, window.dtype.itemsize)
            frame.put(AT.alignment, window.dtype.alignment)
            frame.put(AT.kind, window.kind)
            option: Any = _INT64(window.option)
            if window.flag is not None:
                given = builder.icmp_signed("!=", window.flag(context, builder, flag_value), _INT64(0))
                option = builder.select(given, _INT64(window.option | window_calls.CEIL), option)
            frame.put(AT.option, option)
            frame.put(AT.divisor, window.divisor(context, builder, indices_value) if window.divisor else 0)
            frame.put(AT_WINDOWS, *Windows(rank=leading + rank, trailing=rank, plane=0))
            kernel = [read(context, builder, kernel_value) for read in window.kernel]
            asked: Any = None if window.size is None else [read(context, builder, size_value) for read in window.size]
            frame.put(AT.columns, -1)
            if window.is_folded and window.kind == window_calls.COMBINE:
                shape = put_columns(frame, x, x_value, kernel)
            else:
                shape = frame.put_array(AT.x, x, x_value)
            if is_unpool:
                frame.put_array(AT.indices, indices, indices_value)
                frame.put(AT.is_asked, asked is not None)
            elif window.kind < window_calls.UNPOOL:
                lowest = outermost(window.result, window.kind % 2 == window_calls.MINIMUM)
                place, _ = number_in_memory(context, builder, lowest, None, None, from_dtype(window.result))
                frame.put_scalar(AT.fill, place, window.result.itemsize)
                frame.put_scalar(AT.indices, place, window.result.itemsize)  # not written, unless there are some
            whole = asked if window.kind == window_calls.SPREAD else shape
            for i in range(leading):
                frame.put_axis(i, whole[i], 1, 1, 1, 0, 0, 0, whole[i])
            if is_unpool:
                known = shape[:leading] if asked is None or len(asked) == rank else []  # else a full shape is asked for
                frame.put(AT.sizes, *known, *(asked or []))
            sizes = asked if window.kind == window_calls.COMBINE else whole[leading : leading + rank]
            for i in range(rank):
                step = kernel[i] if window.stride is None else window.stride[i](context, builder, stride_value)
                gap = window.dilation[i](context, builder, dilation_value)
                before, after = (read(context, builder, padding_value) for read in window.pads[i])
                frame.put_axis(leading + i, sizes[i], kernel[i], step, gap, before, after, CONSTANT, 0)
            values = [cgutils.alloca_once(builder, context.get_value_type(kind), zfill=True) for kind in kinds]

            def allocate() -> None:
                dims = result_shape(builder, frame, window, shape, asked, kernel)
                for kind, value, at in zip(kinds, values, (AT.out, AT.indices), strict=False):
                    array = _empty_nd_impl(context, builder, kind, dims)
                    builder.store(array._getvalue(), value)
                    frame.put_array(at, kind, array._getvalue())
                    if is_unpool and not window.option & window_calls.PYTORCH:  # of no values, too
                        cgutils.memset(builder, array.data, builder.mul(array.nitems, array.itemsize), 0)

            message = frame.perform(IN_TABLE.resolve_window, IN_TABLE.run_window, allocate)
            return context.make_tuple(builder, signature.return_type, [message, *map(builder.load, values)])

        given = x, indices, kernel_size, stride, dilation, padding, flag, size
        return types.Tuple((types.intp, *kinds))(*given), codegen

    # Numba's compiler reads what follows: without annotations, and one return type each.
    def one_result(x, indices, kernel_size, stride, dilation, padding, flag, size):  # type: ignore[no-untyped-def]
        message, out = call(x, indices, kernel_size, stride, dilation, padding, flag, size)
        if message != 0:
            raise error(message_at(message))
        return out

    def two_results(x, indices, kernel_size, stride, dilation, padding, flag, size):  # type: ignore[no-untyped-def]
        message, out, found = call(x, indices, kernel_size, stride, dilation, padding, flag, size)
        if message != 0:
            raise error(message_at(message))
        return out, found

    run: Callable[..., Any] = part(two_results if len(results) > 1 else one_result)
    return run


def put_columns(frame: Frame, kind: Any, value: Any, kernel: list[Any]) -> list[Any]:
    """`(N, C * taps, P)` as `(N, C, taps, P)`; the second axis stands in the frame's `columns`."""
    builder = frame.builder
    array = frame.context.make_array(kind)(frame.context, builder, value)
    (n, rows, columns), steps = (cgutils.unpack_tuple(builder, t, 3) for t in (array.shape, array.strides))
    taps = functools.reduce(builder.mul, kernel, _INT64(1))
    taps = builder.select(builder.icmp_signed("<", taps, _INT64(1)), _INT64(1), taps)  # is refused later
    shape = [n, builder.sdiv(rows, taps), taps, columns]
    frame.put_memory(AT.x, array.data, shape, [steps[0], builder.mul(steps[1], taps), *steps[1:]])
    frame.put(AT.columns, rows)
    return shape


def result_shape(builder: Any, frame: Frame, window: Window, shape: list[Any], asked: Any, kernel: list[Any]) -> Any:
    """The sizes of the result, once the frame is resolved."""
    leading, rank = window.leading, len(kernel)
    if window.kind == window_calls.COMBINE:
        return [*shape[:leading], *asked]
    if window.kind == window_calls.SPREAD:
        return asked
    if window.kind in (window_calls.UNPOOL, window_calls.SCATTER_ADD):
        return [*shape[:leading], *(frame.word(AT.sizes + leading + i) for i in range(rank))]
    outs = [frame.out_size(leading + i) for i in range(rank)]
    if window.kind != window_calls.EXTRACT:
        return [*shape[:leading], *outs]
    taps, positions = (functools.reduce(builder.mul, numbers, _INT64(1)) for numbers in (kernel, outs))
    if window.is_folded:
        return [shape[0], builder.mul(shape[1], taps), positions]
    return [*shape[:leading], taps, positions]


# ---- the functions


def extremum_pool(
    name: str, rank: int, smallest: bool, /, x: Any, padding_spec: Any, padding: Any, return_indices: Any, dtype: Any,
    **options: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `max_pool*d` and `min_pool*d`."""
    rank_of(name, "x", x, rank)
    indexed = bool(name_of(name, "return_indices", return_indices))
    result = ordered(name, x, dtype_of(name, dtype))
    results = (result, x.ndim), (np.dtype(np.int64), x.ndim)
    kind = (window_calls.INDEXED_MAXIMUM if indexed else window_calls.MAXIMUM) + smallest
    *named, pick = padding_beside(name, "padding_spec", padding_spec, padding)
    call = caller(pool_window(name, kind, x, rank, named, result=result, **options), *results[: 1 + indexed])

    def implementation(  # type: ignore[no-untyped-def]
        x, kernel_size, stride=None, dilation=1, padding_spec="valid", padding=None, ceil_mode=False,
        return_indices=False, dtype=None,
    ):  # fmt: skip
        return call(x, None, kernel_size, stride, dilation, pick(padding_spec, padding), ceil_mode, None)

    return implementation


def average_pool(
    name: str, rank: int, /, x: Any, padding_spec: Any, padding: Any, count_include_pad: Any, dtype: Any, **options: Any
) -> Callable[..., Any]:
    """The implementation of `avg_pool*d`."""
    rank_of(name, "x", x, rank)
    counted = bool(name_of(name, "count_include_pad", count_include_pad))
    option, result = average_of(name, x, counted, dtype_of(name, dtype))
    *named, pick = padding_beside(name, "padding_spec", padding_spec, padding)
    window = pool_window(name, window_calls.AVERAGE, x, rank, named, option=option, result=result, **options)
    call = caller(window, (result, x.ndim))

    def implementation(  # type: ignore[no-untyped-def]
        x, kernel_size, stride=None, dilation=1, padding_spec="valid", padding=None, ceil_mode=False,
        count_include_pad=True, dtype=None,
    ):  # fmt: skip
        return call(x, None, kernel_size, stride, dilation, pick(padding_spec, padding), ceil_mode, None)

    return implementation


def pool_window(
    name: str, kind: int, x: Any, rank: int, padding: Sequence[Any] = ("padding", "valid"), ceil_mode: Any = False,
    option: int = 0, **options: Any,
) -> Window:  # fmt: skip
    """A window over the last axes of an array; `padding` comes with its name."""
    return window_of(
        name, kind, "x", x, x.ndim - rank, rank, padding=padding, option=option,
        flag=truth_of(name, "ceil_mode", ceil_mode), **options,
    )  # fmt: skip


def filter_of(name: str, kind: str, /, x: Any, kernel_size: Any, stride: Any) -> Callable[..., Any]:
    """The implementation of `maximum_filter`, `minimum_filter` and `uniform_filter`."""
    rank, number, option = rank_of_tuple(name, "kernel_size", kernel_size), window_calls.NAMES.index(kind), 0
    at_least(name, "x", x, rank)
    if kind == "average":
        option, result = average_of(name, x, True)
    else:
        result = ordered(name, x)
    window = pool_window(
        name, number, x, rank, option=option, result=result, kernel_size=kernel_size, stride=stride, dilation=1
    )
    call = caller(window, (result, x.ndim))

    def implementation(x, kernel_size, stride=None):  # type: ignore[no-untyped-def]
        return call(x, None, kernel_size, stride, 1, None, None, None)

    return implementation


def ordered(name: str, x: Any, asked: np.dtype[Any] | None = None) -> np.dtype[Any]:
    """The dtype of largest elements of an array."""
    given = np.empty(0, array_of(name, "x", x))
    checked(checks.check_ordered, name, given, asked)
    result: np.dtype[Any] = checked(checks.result_dtype, name, asked, x=given)
    return result


def average_of(
    name: str, x: Any, include_padding: bool, asked: np.dtype[Any] | None = None
) -> tuple[int, np.dtype[Any]]:
    """How averages of an array are taken, and their dtype."""
    given = np.empty(0, array_of(name, "x", x))
    empty_is_zero, result = given.dtype.kind in "biu", mean_dtype(given.dtype)
    if asked is not None:
        checked(checks.check_mean, name, asked)
        result = checked(checks.result_dtype, name, asked, x=given)
    option = window_calls.INCLUDE_PADDING * include_padding | window_calls.EMPTY_IS_ZERO * empty_is_zero
    return option | window_calls.IS_COMPLEX * (result.kind == "c"), result


def unpool(
    name: str, rank: int, /, values: Any, indices: Any, padding_spec: Any, padding: Any, output_size: Any,
    **options: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `max_unpool*d`."""
    rank_of(name, "values", values, rank)
    index = array_of(name, "indices", indices)
    if index.kind not in "iu":
        raise TypingError(f"{name}(): indices has dtype {index}, expected integers")
    if indices.ndim != values.ndim:
        raise TypingError(f"{name}(): indices has {indices.ndim} dimensions, expected those of values, {values.ndim}")
    size = None
    if constant(output_size) is not None:
        is_whole = isinstance(output_size, types.BaseTuple) and len(output_size) == rank + 2
        size = ints_of(name, "output_size", output_size, rank + 2 * is_whole)
    *named, pick = padding_beside(name, "padding_spec", padding_spec, padding)
    window = window_of(name, window_calls.UNPOOL, "values", values, 2, rank, padding=named, size=size, **options)
    call, flat = caller(window, (window.dtype, values.ndim)), cast_to(indices, np.dtype(np.int64))

    def implementation(  # type: ignore[no-untyped-def]
        values, indices, kernel_size, stride=None, dilation=1, padding_spec="valid", padding=None, output_size=None
    ):
        pads = pick(padding_spec, padding)
        return call(values, flat(indices), kernel_size, stride, dilation, pads, None, output_size)

    return implementation


def patches(name: str, /, x: Any, kernel_size: Any, padding: Any, **options: Any) -> Callable[..., Any]:
    """The implementation of `extract_patches` and `im2col`."""
    is_folded = name == "im2col"
    if is_folded:
        at_least(name, "x", x, 3)
        leading = 2
    else:
        rank = rank_of_tuple(name, "kernel_size", kernel_size)
        at_least(name, "x", x, rank)
        leading = x.ndim - rank
    window = window_of(name, window_calls.EXTRACT, "x", x, leading, x.ndim - leading, kernel_size,
                       padding=("padding", padding), is_folded=is_folded, **options)  # fmt: skip
    call = caller(window, (window.dtype, 3 if is_folded else leading + 2))

    def implementation(x, kernel_size, stride=1, dilation=1, padding=0):  # type: ignore[no-untyped-def]
        return call(x, None, kernel_size, stride, dilation, padding, None, None)

    return implementation


def combination(
    name: str, label: str, /, output_size: Any, kernel_size: Any, padding: Any, **options: Any
) -> Callable[..., Any]:
    """The implementation of `combine_patches` and `col2im`."""
    x, is_folded = options.pop(label), name == "col2im"
    rank = rank_of_tuple(name, "output_size", output_size)
    at_least(name, label, x, 3 if is_folded else 2)
    if is_folded and x.ndim != 3:
        raise TypingError(f"{name}(): cols has {x.ndim} dimensions, expected 3")
    if not is_folded and rank_of_tuple(name, "kernel_size", kernel_size) != rank:
        raise TypingError(f"{name}(): kernel_size is {kernel_size}, expected {rank} ints, as output_size has")
    window = window_of(name, window_calls.COMBINE, label, x, 2 if is_folded else x.ndim - 2, rank, kernel_size,
                       padding=("padding", padding), size=ints_of(name, "output_size", output_size, rank),
                       is_folded=is_folded, **options)  # fmt: skip
    call = caller(window, (window.dtype, window.leading + rank))

    def of_columns(cols, output_size, kernel_size, stride=1, dilation=1, padding=0):  # type: ignore[no-untyped-def]
        return call(cols, None, kernel_size, stride, dilation, padding, None, output_size)

    def of_patches(patches, output_size, kernel_size, stride=1, dilation=1, padding=0):  # type: ignore[no-untyped-def]
        return call(patches, None, kernel_size, stride, dilation, padding, None, output_size)

    return of_columns if is_folded else of_patches


def rank_of(name: str, label: str, x: Any, rank: int) -> None:
    """Refuse an array that has not two axes before `rank` more."""
    array_of(name, label, x)
    if x.ndim != rank + 2:
        hint = checks.rank_hint(label, x.ndim, rank, "NC")
        raise TypingError(f"{name}(): {label} has {x.ndim} dimensions, expected {checks.dimensions(rank, 'NC')}{hint}")


def at_least(name: str, label: str, x: Any, rank: int) -> None:
    """Refuse an array of too few axes."""
    array_of(name, label, x)
    if x.ndim < rank:
        raise TypingError(f"{name}(): {label} has {x.ndim} dimensions, expected at least {rank}")


def rank_of_tuple(name: str, option: str, kind: Any) -> int:
    """How many axes a tuple speaks of."""
    value = constant(kind)
    shown = kind if value is ... else value
    if not isinstance(kind, types.BaseTuple):
        checked(checks.check_sequence, name, option, shown)
    return len(kind if isinstance(kind, types.BaseTuple) else value)
