"""What lies behind the table that compiled callers know: found, or compiled, when they are.

Who calls on arrays of a dtype holds a `Needs` among its constants. Numba makes those anew when it reads the caller from
its cache, before its code is linked, and compiles the caller once more where that fails: after an upgrade.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any

import llvmlite.binding
import numpy as np

from .. import problem as checks
from .. import workspace
from ..extending import SYMBOL, TABLE
from ..kernels.calls import convolution as calls
from ..kernels.calls import frame as layout
from ..kernels.calls import windows as window_calls
from ..kernels.strided import DTYPES, compute_dtype
from ..kernels.window import Axis, Call
from ..kernels.windows import pool
from ..launch import entry_address, entry_point, sharing_formats
from ..pool import average_formats, extremum_formats, mean_dtype, row_formats, unpool_formats
from ..problem import Array
from ..sources import PACKAGE
from .frames import TEXT_BYTES

llvmlite.binding.add_symbol(SYMBOL, TABLE.ctypes.data)  # before any caller's code is linked

_CONVOLUTIONS = layout.FUNCTIONS  # where the functions of each dtype stand in the table
_WINDOWS = _CONVOLUTIONS + len(calls.KINDS) * len(DTYPES)
_TEXTS = [
    ctypes.create_string_buffer(text.encode())
    for text in (
        "the arguments of a call do not fit; outside of prange the message says which",
        "fillvalue is a number that the result's dtype cannot hold",
        "an array's elements do not lie where their type may, or there is no memory for the workspace",
    )
]


class Needs:
    """The functions of a kind for a dtype: whatever holds this has them at hand, also when it is read from a cache."""

    def __init__(self, kind: str, dtype: str) -> None:
        self.kind, self.dtype, self.kernels = kind, dtype, _load(kind, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return _needs_of, (package_hash(), self.kind, self.dtype)


def package_hash() -> str | None:
    """Of all that emits callers and is called by them, the hash; None if the sources have changed since the import."""
    digest: str | None = PACKAGE.hash()
    return digest


def _needs_of(version: str | None, kind: str, dtype: str) -> Needs:
    """What a caller that was kept needs. One that another version emitted knows other frames and another table."""
    if version is None or version != package_hash():
        raise OSError("the caller was compiled by another version")  # Numba takes the file for gone, and compiles anew
    return Needs(kind, dtype)


@functools.cache
def _load(kind: str, dtype: str) -> int:
    """Compile or read what calls on arrays of a dtype need, and write down where it lies; the index of its kernels."""
    if not TABLE[layout.EXPLAIN]:
        for at, text in zip((layout.REFUSED, layout.UNHELD, layout.FAILED), _TEXTS, strict=True):
            TABLE[at] = ctypes.addressof(text)
        release = entry_point(layout.release_blocks, "int64")
        workspace.others.append(lambda: release(TABLE))
        TABLE[layout.EXPLAIN] = ctypes.cast(_explain, ctypes.c_void_p).value or 0
    if kind in ("convolution", "generic"):
        return _load_convolution(kind, dtype)
    return _load_window(kind, dtype)


def _load_convolution(kind: str, dtype: str) -> int:
    TABLE[layout.RESOLVE] = entry_address(calls.resolve, "int64")
    TABLE[layout.RUN] = entry_address(calls.run, "int64")
    kernels: int = _CONVOLUTIONS + len(calls.KINDS) * DTYPES.index(dtype)
    alone, is_real = (*[dtype] * 5, "int64"), np.dtype(dtype).kind != "c"
    if kind == "generic":
        TABLE[kernels + calls.GENERIC] = entry_address(calls.KINDS[calls.GENERIC].correlate, *alone)
        return kernels
    for at in (calls.DEPTHWISE, calls.DENSE, calls.DIRECT) if is_real else (calls.DIRECT,):
        TABLE[kernels + at] = entry_address(calls.KINDS[at].correlate, *sharing_formats(dtype))
    if is_real and compute_dtype(dtype) == dtype:
        TABLE[kernels + calls.SMALL] = entry_address(calls.KINDS[calls.SMALL].correlate, *alone)
    return kernels


def _load_window(kind: str, dtype: str) -> int:
    TABLE[layout.RESOLVE_WINDOW] = entry_address(window_calls.resolve_window, "int64")
    TABLE[layout.RUN_WINDOW] = entry_address(window_calls.run_window, "int64")
    kernels: int = _WINDOWS + window_calls.FUNCTIONS * DTYPES.index(dtype)
    at = window_calls.NAMES.index(kind)
    kernel = window_calls.KINDS[at]
    mean = mean_dtype(np.dtype(dtype)).name
    if at == window_calls.UNPOOL:
        TABLE[kernels + at] = entry_address(kernel, *unpool_formats(dtype))
    elif at > window_calls.UNPOOL:
        TABLE[kernels + at] = entry_address(kernel, dtype, dtype, "int64")
    elif np.dtype(dtype).kind != "c":
        TABLE[kernels + at] = entry_address(kernel, *row_formats(dtype, mean if kind == "average" else dtype))
    if at == window_calls.AVERAGE:
        TABLE[kernels + window_calls.MEAN] = entry_address(pool.average, *average_formats(dtype, mean))
    elif at < window_calls.AVERAGE:
        TABLE[kernels + window_calls.EXTREMUM] = entry_address(pool.extremum, *extremum_formats(dtype))
    return kernels


@ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)  # type: ignore[untyped-decorator]
def _explain(frame: int, place: int) -> int:
    """Write at an address, in the frontend's words, what is wrong with a frame: that address, or 0 if nothing is."""
    try:
        _check_frame(frame)
    except BaseException as error:  # an interrupt, too, refuses the call: nobody else can be told of it here
        text = (str(error) or type(error).__name__).encode("ascii", "replace")[: TEXT_BYTES - 1] + b"\0"
        ctypes.memmove(place, text, len(text))
        return place
    return 0


def _check_frame(frame: int) -> None:
    words = (ctypes.c_int64 * layout.FRAME).from_address(frame)
    call, size = Call(*words[layout.CALL : layout.AXES]), len(Axis._fields)
    name = ctypes.string_at(words[layout.FUNCTION]).decode()
    is_window = words[layout.KERNELS] >= _WINDOWS
    count = call.rank if is_window else max(call.rank, 3)
    axes = [Axis(*words[i : i + size]) for i in range(layout.AXES, layout.AXES + count * size, size)]
    (_check_window if is_window else _check_convolution)(name, words, call, axes[count - call.rank :])


def _array(words: Any, at: int, rank: int, dtype: np.dtype[Any]) -> Array:
    shape, strides = ((ctypes.c_int64 * rank).from_address(words[at + i]) for i in (1, 2))
    element: Any = (ctypes.c_char * dtype.itemsize).from_address(words[at])
    memory = np.frombuffer(element, dtype)
    return np.lib.stride_tricks.as_strided(memory, tuple(shape), tuple(strides))


def _options(words: Any, axes: Sequence[Any]) -> tuple[Any, ...]:
    """Stride, dilation and padding, as who calls gave them."""
    padding: Any = tuple((axis.before, axis.after) for axis in axes)
    if words[layout.PADDING] != layout.GIVEN:
        padding = layout.PADDINGS[words[layout.PADDING]]
    return tuple(axis.stride for axis in axes), tuple(axis.dilation for axis in axes), padding


def _check_convolution(name: str, words: Any, call: Any, axes: Sequence[Any]) -> None:
    dtype, rank = np.dtype(DTYPES[(words[layout.KERNELS] - _CONVOLUTIONS) // len(calls.KINDS)]), call.rank
    x, w = _array(words, layout.X, rank + 2, dtype), _array(words, layout.W, rank + 2, dtype)
    bias = _array(words, layout.BIAS, 1, dtype) if call.has_bias else None
    stride, dilation, padding = _options(words, axes)
    options = call.groups, stride, padding, dilation, "constant", None, "auto", bias is not None
    problem = checks.convolution(name, x, w, dtype, rank, bool(call.flip), *options)
    if bias is not None:
        checks.as_bias(name, bias, w.shape[0], dtype)
    if words[layout.HAS_OUT]:
        checks.check_out(name, _array(words, layout.OUT, rank + 2, dtype), problem.out_shape, dtype, x, w, bias)


def _check_window(name: str, words: Any, call: Any, axes: Sequence[Any]) -> None:
    dtype = np.dtype(DTYPES[(words[layout.KERNELS] - _WINDOWS) // window_calls.FUNCTIONS])
    rank, kind, leading = call.option, words[layout.KIND], call.rank - call.option
    x = _array(words, layout.X, leading + 2 if kind == window_calls.COMBINE else call.rank, dtype)
    kernel, (stride, dilation, padding) = tuple(axis.kernel for axis in axes[leading:]), _options(words, axes[leading:])
    if kind == window_calls.UNPOOL:
        indices = _array(words, layout.INDICES, call.rank, np.dtype(np.int64))
        if words[layout.BAD] >= 0:
            raise checks.bad_index(
                name, indices, words[layout.BAD], words[layout.PLAN + leading : layout.PLAN + call.rank]
            )
        checks.as_indices(name, x, indices)
        asked = tuple(axis.out for axis in axes) if words[layout.HAS_OUT] else None
        if asked is not None and asked[:leading] == x.shape[:leading]:
            asked = asked[leading:]
        checks.unpooled_size(name, x, rank, kernel, stride, dilation, padding, asked)
    elif kind == window_calls.COMBINE:
        if name == "col2im" and min(kernel) > 0:
            columns = x.shape[0], words[layout.BIASES], x.shape[3]
            checks.check_columns(name, np.lib.stride_tricks.as_strided(x, columns, (0, 0, 0)), math.prod(kernel))
        sizes = tuple(axis.size for axis in axes[leading:])
        label = "cols" if name == "col2im" else "patches"
        checks.combination(name, label, x, sizes, kernel, stride, dilation, padding)
    else:
        label, ceil = "padding_spec" if "pool" in name else "padding", bool(words[layout.OPTION] & window_calls.CEIL)
        problem = checks.window(name, x, rank, kernel, stride, dilation, label, padding, ceil)
        if kind == window_calls.EXTRACT:
            checks.check_size(name, (*x.shape[:leading], problem.taps, problem.positions), dtype.itemsize)
