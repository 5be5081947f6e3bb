"""What lies behind the table that compiled callers know: found, or compiled, when they are.

Who calls on arrays of a dtype holds a `Needs` among its constants. Numba makes those anew when it reads the caller from
its cache, so that an upgrade asks nothing of code that was kept.
"""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from typing import Any

import numpy as np

from . import problem as checks
from . import workspace
from .extending import TABLE
from .launch import entry_address, entry_point, sharing_formats
from .problem import Array

_TEXTS = [
    ctypes.create_string_buffer(text.encode())
    for text in (
        "the arguments of a call do not fit; outside of prange the message says which",
        "fillvalue is a number that the result's dtype cannot hold",
        "an array's elements do not lie where their type may, or there is no memory for the workspace",
    )
]
_messages: deque[Any] = deque(maxlen=64)  # those that callers may still be reading


class Needs:
    """The functions of a dtype: whatever holds this has them at hand, also when it is read from a cache."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.kernels = dtype, _load(dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Needs, (self.dtype,)


@functools.cache
def _load(dtype: str) -> int:
    """Compile or read what calls on arrays of a dtype need, and write down where it lies; the index of its kernels."""
    from .kernels import calls
    from .kernels.strided import DTYPES, compute_dtype

    if not TABLE[calls.EXPLAIN]:
        for at, text in zip((calls.REFUSED, calls.UNHELD, calls.FAILED), _TEXTS, strict=True):
            TABLE[at] = ctypes.addressof(text)
        TABLE[calls.RESOLVE] = entry_address(calls.resolve, "int64")
        TABLE[calls.RUN] = entry_address(calls.run, "int64")
        release = entry_point(calls.release_blocks, "int64")
        workspace.others.append(lambda: release(TABLE))
        TABLE[calls.EXPLAIN] = ctypes.cast(_explain, ctypes.c_void_p).value or 0
    kernels: int = calls.FUNCTIONS + len(calls.KINDS) * DTYPES.index(dtype)
    kinds = [calls.DIRECT] if np.dtype(dtype).kind == "c" else [calls.DEPTHWISE, calls.DENSE, calls.DIRECT]
    for kind in kinds:
        TABLE[kernels + kind] = entry_address(calls.KINDS[kind].correlate, *sharing_formats(dtype))
    if len(kinds) > 1 and compute_dtype(dtype) == dtype:
        TABLE[kernels + calls.SMALL] = entry_address(calls.KINDS[calls.SMALL].correlate, *[dtype] * 5, "int64")
    return kernels


@ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)  # type: ignore[untyped-decorator]
def _explain(frame: int) -> int:
    """The address of what is wrong with a frame, in the frontend's words; 0 if nothing is."""
    try:
        _check_frame(frame)
        text = None
    except Exception as error:
        text = ctypes.create_string_buffer(str(error).encode("ascii", "replace"))
        _messages.append(text)
    return ctypes.addressof(text) if text is not None else 0


def _check_frame(frame: int) -> None:
    from . import conv  # which offers its functions, whose typing imports this module
    from .kernels import calls
    from .kernels.strided import DTYPES
    from .kernels.window import AXIS_FIELDS, CALL_FIELDS, Axis, Call

    words = (ctypes.c_int64 * calls.FRAME).from_address(frame)
    name, _, flip = conv.DEFINED[words[calls.FUNCTION]]
    dtype = np.dtype(DTYPES[(words[calls.KERNELS] - calls.FUNCTIONS) // len(calls.KINDS)])
    call = Call(*words[calls.CALL : calls.CALL + CALL_FIELDS])
    first = calls.CALL + CALL_FIELDS
    axes = [Axis(*words[first + i * AXIS_FIELDS : first + (i + 1) * AXIS_FIELDS]) for i in range(3 - call.rank, 3)]

    def array(at: int, rank: int) -> Array:
        shape, strides = ((ctypes.c_int64 * rank).from_address(words[at + i]) for i in (1, 2))
        memory = np.frombuffer((ctypes.c_char * dtype.itemsize).from_address(words[at]), dtype)
        return np.lib.stride_tricks.as_strided(memory, tuple(shape), tuple(strides))

    rank = call.rank
    x, w = array(calls.X, rank + 2), array(calls.W, rank + 2)
    bias = array(calls.BIAS, 1) if call.has_bias else None
    padding: Any = tuple((axis.before, axis.after) for axis in axes)
    if words[calls.PADDING] != calls.GIVEN:
        padding = calls.PADDINGS[words[calls.PADDING]]
    stride, dilation = (tuple(getattr(axis, option) for axis in axes) for option in ("stride", "dilation"))
    problem = checks.convolution(
        name,
        x,
        w,
        dtype,
        rank,
        flip,
        call.groups,
        stride,
        padding,
        dilation,
        "constant",
        None,
        "auto",
        bias is not None,
    )
    if bias is not None:
        checks.as_bias(name, bias, w.shape[0], dtype)
    if words[calls.HAS_OUT]:
        checks.check_out(name, array(calls.OUT, rank + 2), problem.out_shape, dtype, x, w, bias)
