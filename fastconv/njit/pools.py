"""PyTorch's pools, folds and gradients of pools: what Numba compiles where a user's function calls one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError

from ..kernels.calls import windows as window_calls
from ..pool import mean_dtype
from ..problem import AXES
from ..torch_names import Refusal
from .arguments import array_of, cast_to, constant, ints_of, name_of, truth_of
from .windows import Reader, Window, average_of, caller, window_of

_INT64 = ir.IntType(64)
_POOL = window_calls.PYTORCH | window_calls.HALF_PADDING


def check_input(name: str, label: str, kind: Any, rank: int) -> np.dtype[Any]:
    """The dtype of a batch, or of a single one of it."""
    dtype = array_of(name, label, kind)
    if kind.ndim not in (rank + 1, rank + 2):
        letters = ", ".join(["C", *AXES[rank]])
        raise TypingError(
            f"{name}(): {label} has {kind.ndim} dimensions, expected {rank + 1} ({letters}) or "
            f"{rank + 2} (N, {letters})"
        )
    return dtype


def window(name: str, kind: int, input: Any, rank: int, padding: Any, **options: Any) -> Window:
    """A window over the last axes of an array."""
    ints_of(name, "padding", padding, rank)
    given = {"dilation": 1, **options}
    return window_of(name, kind, "input", input, input.ndim - rank, rank, padding=("padding", padding), **given)


def check_real(name: str, dtype: np.dtype[Any]) -> None:
    """Refuse complex numbers, which have no order."""
    if dtype.kind == "c":
        raise TypingError(f"{name}(): input has dtype {dtype}, expected a real type")


def maximum(
    name: str, rank: int, /, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any,
    return_indices: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `max_pool*d`."""
    dtype = check_input(name, "input", input, rank)
    check_real(name, dtype)
    indexed = bool(name_of(name, "return_indices", return_indices))
    kind = window_calls.INDEXED_MAXIMUM if indexed else window_calls.MAXIMUM
    results = (dtype, input.ndim), (np.dtype(np.int64), input.ndim)
    own = window(name, kind, input, rank, padding, kernel_size=kernel_size, stride=stride, dilation=dilation,
                 option=_POOL, flag=truth_of(name, "ceil_mode", ceil_mode))  # fmt: skip
    call = caller(own, *results[: 1 + indexed], error=Refusal)

    def implementation(  # type: ignore[no-untyped-def]
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    ):
        return call(input, None, kernel_size, stride, dilation, padding, ceil_mode, None)

    return implementation


def mean(
    name: str, rank: int, /, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any,
    count_include_pad: Any, divisor_override: Any = None,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `avg_pool*d`."""
    given = check_input(name, "input", input, rank)
    counted = bool(name_of(name, "count_include_pad", count_include_pad))
    option, result = average_of(name, input, counted)
    own = window(name, window_calls.AVERAGE, input, rank, padding, kernel_size=kernel_size, stride=stride,
                 option=option | _POOL, flag=truth_of(name, "ceil_mode", ceil_mode), result=result)  # fmt: skip
    has_divisor, is_truncated = constant(divisor_override) is not None, given == np.int64
    if has_divisor:
        own = own._replace(divisor=ints_of(name, "divisor_override", divisor_override, 1)[0])
    call, integers = caller(own, (result, input.ndim), error=Refusal), types.int64
    zero = f"{name}(): divisor_override is 0, expected another int"

    def of_one_axis(  # type: ignore[no-untyped-def]
        input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        out = call(input, None, kernel_size, stride, 1, padding, ceil_mode, None)
        return out.astype(integers) if is_truncated else out

    def of_more(  # type: ignore[no-untyped-def]
        input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        if has_divisor and divisor_override == 0:
            raise Refusal(zero)
        out = call(input, divisor_override, kernel_size, stride, 1, padding, ceil_mode, None)
        return out.astype(integers) if is_truncated else out

    return of_one_axis if rank == 1 else of_more


def shared(name: str, rank: int, input: Any, output_size: Any, kind: int, option: int, result: np.dtype[Any]) -> Window:
    """The windows of an adaptive pool, whose kernels are the numbers of outputs."""
    own = window(name, kind, input, rank, 0, kernel_size=1, stride=1, result=result,
                 option=option | window_calls.PYTORCH | window_calls.SHARED)  # fmt: skip
    return own._replace(kernel=_outputs_of(name, output_size, rank))


def _outputs_of(name: str, kind: Any, rank: int) -> list[Reader]:
    """For each axis, what gives how many outputs are asked for; None of several keeps an axis."""
    if rank == 1 or not isinstance(kind, types.BaseTuple) or len(kind) != rank:
        return ints_of(name, "output_size", kind, rank)
    readers: list[Reader] = []
    for i, item in enumerate(kind):
        if isinstance(item, types.NoneType):
            readers.append(lambda context, builder, value: _INT64(window_calls.KEEP))
        elif isinstance(item, types.Integer):

            def read(context: Any, builder: Any, value: Any, i: int = i, item: Any = item) -> Any:
                return context.cast(builder, builder.extract_value(value, i), item, types.int64)

            readers.append(read)
        else:
            raise TypingError(f"{name}(): output_size is {kind}, expected an int or {rank} of them or of None")
    return readers


def shared_maximum(name: str, rank: int, /, input: Any, output_size: Any, return_indices: Any) -> Callable[..., Any]:
    """The implementation of `adaptive_max_pool*d`."""
    dtype = check_input(name, "input", input, rank)
    check_real(name, dtype)
    indexed = bool(name_of(name, "return_indices", return_indices))
    kind = window_calls.INDEXED_MAXIMUM if indexed else window_calls.MAXIMUM
    results = (dtype, input.ndim), (np.dtype(np.int64), input.ndim)
    own = shared(name, rank, input, output_size, kind, 0, dtype)
    call = caller(own, *results[: 1 + indexed], error=Refusal)

    def implementation(input, output_size, return_indices=False):  # type: ignore[no-untyped-def]
        return call(input, None, output_size, 1, 1, 0, None, None)

    return implementation


def shared_mean(name: str, rank: int, /, input: Any, output_size: Any) -> Callable[..., Any]:
    """The implementation of `adaptive_avg_pool*d`."""
    check_input(name, "input", input, rank)
    option, result = average_of(name, input, False)
    option |= window_calls.FREE_CHANNELS if rank < 3 else 0
    own = shared(name, rank, input, output_size, window_calls.AVERAGE, option, result)
    call = caller(own, (result, input.ndim), error=Refusal)

    def implementation(input, output_size):  # type: ignore[no-untyped-def]
        return call(input, None, output_size, 1, 1, 0, None, None)

    return implementation


def indices_for(name: str, indices: Any, label: str, kind: Any) -> Callable[..., Any]:
    """What makes indices of an array's values int64."""
    dtype = array_of(name, "indices", indices)
    if dtype.kind not in "iu":
        raise TypingError(f"{name}(): indices has dtype {dtype}, expected integers")
    if indices.ndim != kind.ndim:
        raise TypingError(f"{name}(): indices has {indices.ndim} dimensions, expected those of {label}, {kind.ndim}")
    return cast_to(indices, np.dtype(np.int64))


def unpooled(
    name: str, rank: int, /, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Callable[..., Any]:
    """The implementation of `max_unpool*d`."""
    dtype = check_input(name, "input", input, rank)
    flat, size = indices_for(name, indices, "input", input), None
    if constant(output_size) is not None:
        is_whole = isinstance(output_size, types.BaseTuple) and len(output_size) == rank + 2
        size = ints_of(name, "output_size", output_size, rank + 2 * is_whole)[-rank:]
    own = window(name, window_calls.UNPOOL, input, rank, padding, kernel_size=kernel_size, stride=stride,
                 option=window_calls.PYTORCH, size=size)  # fmt: skip
    call = caller(own, (dtype, input.ndim), error=Refusal)

    def implementation(  # type: ignore[no-untyped-def]
        input, indices, kernel_size, stride=None, padding=0, output_size=None
    ):
        return call(input, flat(indices), kernel_size, stride, 1, padding, None, output_size)

    return implementation


def shape_of(name: str, input_size: Any, grad: Any) -> list[Reader]:
    """What gives each of the sizes of a pool's input."""
    if not isinstance(input_size, types.BaseTuple) or len(input_size) != grad.ndim:
        raise TypingError(f"{name}(): input_size is {input_size}, expected a shape of {grad.ndim} ints")
    return ints_of(name, "input_size", input_size, grad.ndim)


def scattered(name: str, rank: int, /, input_size: Any, indices: Any, grad_output: Any) -> Callable[..., Any]:
    """The implementation of `max_pool*d_input`."""
    dtype = check_input(name, "grad_output", grad_output, rank)
    flat = indices_for(name, indices, "grad_output", grad_output)
    own = window(name, window_calls.SCATTER_ADD, grad_output, rank, 0, kernel_size=1, stride=1,
                 option=window_calls.PYTORCH, size=shape_of(name, input_size, grad_output))  # fmt: skip
    call = caller(own, (dtype, grad_output.ndim), error=Refusal)

    def implementation(input_size, indices, grad_output):  # type: ignore[no-untyped-def]
        return call(grad_output, flat(indices), 1, 1, 1, 0, None, input_size)

    return implementation


def averaged(
    name: str, rank: int, /, input_size: Any, grad_output: Any, kernel_size: Any, stride: Any, padding: Any,
    ceil_mode: Any, count_include_pad: Any,
) -> Callable[..., Any]:  # fmt: skip
    """The implementation of `avg_pool*d_input`."""
    dtype = check_input(name, "grad_output", grad_output, rank)
    if dtype.kind == "c":
        raise TypingError(f"{name}(): grad_output has dtype {dtype}, expected a real type inside compiled code")
    counted, result = bool(name_of(name, "count_include_pad", count_include_pad)), mean_dtype(dtype)
    option = _POOL | window_calls.INCLUDE_PADDING * counted
    own = window(name, window_calls.SPREAD, grad_output, rank, padding, kernel_size=kernel_size, stride=stride,
                 option=option, flag=truth_of(name, "ceil_mode", ceil_mode), result=result,
                 size=shape_of(name, input_size, grad_output))  # fmt: skip
    call = caller(own, (result, grad_output.ndim), error=Refusal)

    def implementation(  # type: ignore[no-untyped-def]
        input_size, grad_output, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        return call(grad_output, None, kernel_size, stride, 1, padding, ceil_mode, input_size)

    return implementation


def unfolded(
    name: str, /, input: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Callable[..., Any]:
    """The implementation of `unfold`."""
    dtype, single = check_input(name, "input", input, 2), input.ndim == 3
    batch = types.Array(input.dtype, 4, input.layout)
    own = window(name, window_calls.EXTRACT, batch, 2, padding, kernel_size=kernel_size, stride=stride,
                 dilation=dilation, option=window_calls.PYTORCH, is_folded=True)  # fmt: skip
    call = caller(own, (dtype, 3), error=Refusal)

    def of_one(input, kernel_size, dilation=1, padding=0, stride=1):  # type: ignore[no-untyped-def]
        return call(np.expand_dims(input, 0), None, kernel_size, stride, dilation, padding, None, None)[0]

    def of_batch(input, kernel_size, dilation=1, padding=0, stride=1):  # type: ignore[no-untyped-def]
        return call(input, None, kernel_size, stride, dilation, padding, None, None)

    return of_one if single else of_batch


def folded(
    name: str, /, input: Any, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Callable[..., Any]:
    """The implementation of `fold`."""
    dtype = array_of(name, "input", input)
    if input.ndim not in (2, 3):
        raise TypingError(f"{name}(): input has {input.ndim} dimensions, expected 2 (C * K, L) or 3 (N, C * K, L)")
    batch = types.Array(input.dtype, 4, "A")
    own = window(name, window_calls.COMBINE, batch, 2, padding, kernel_size=kernel_size, stride=stride,
                 dilation=dilation, option=window_calls.PYTORCH, size=ints_of(name, "output_size", output_size, 2),
                 is_folded=True)  # fmt: skip
    call = caller(own, (dtype, 4), error=Refusal)

    def of_one(input, output_size, kernel_size, dilation=1, padding=0, stride=1):  # type: ignore[no-untyped-def]
        columns = np.expand_dims(input, 0)
        return call(columns, None, kernel_size, stride, dilation, padding, None, output_size)[0]

    def of_batch(input, output_size, kernel_size, dilation=1, padding=0, stride=1):  # type: ignore[no-untyped-def]
        return call(input, None, kernel_size, stride, dilation, padding, None, output_size)

    return of_one if input.ndim == 2 else of_batch
