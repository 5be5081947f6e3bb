"""What lies behind the table that compiled callers know: found, or compiled, when they are.

Who calls on arrays of a dtype holds a `Needs` among its constants. Numba makes those anew when it reads the caller from
its cache, before its code is linked, and compiles the caller once more where that fails: after an upgrade.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import llvmlite.binding
import numpy as np

from .. import problem as checks
from .. import torch_windows, workspace
from ..dispatch import place_of
from ..extending import MEANING, SYMBOL, TABLE
from ..functional import convolution as functional
from ..grad.weights import weight_formats, weight_problem
from ..kernels.calls import convolution as calls
from ..kernels.calls import filters as filter_calls
from ..kernels.calls import gradients as gradient_calls
from ..kernels.calls import windows as window_calls
from ..kernels.calls.frame import AT, AT_WINDOWS, FRAME, FUNCTIONS, IN_TABLE, release_blocks
from ..kernels.convolution import choose, weights
from ..kernels.convolution.choose import FAMILIES
from ..kernels.filters import extrema, sums
from ..kernels.shapes import ALGORITHMS, AXIS_FIELDS, DTYPES, GIVEN, PADDINGS, Axis, Call, Windows, element_of
from ..kernels.windows import pool
from ..launch import entry_address, entry_point, family_formats, step_formats
from ..patches import combine_formats, extract_formats
from ..pool import average_formats, extremum_formats, outermost, row_formats, scatter_formats, spread_formats
from ..problem import Array
from ..sources import PACKAGE
from ..torch_names import refusal
from .frames import TEXT_BYTES

llvmlite.binding.add_symbol(SYMBOL, TABLE.ctypes.data)  # before any caller's code is linked

_FUNCTIONAL = {name for name, _ in functional.DEFINED}  # functions whose arguments have PyTorch's names
_PAIRS = len(DTYPES) ** 2
_CONVOLUTIONS = FUNCTIONS  # where the functions of each pair of dtypes stand in the table
_WINDOWS = _CONVOLUTIONS + len(FAMILIES) * _PAIRS
_FILTERS = _WINDOWS + window_calls.FUNCTIONS * _PAIRS  # those of each dtype
_FILTER_KERNELS = {"sums": sums.filter_sums, "extrema": extrema.filter_extrema}
_GRADIENTS = _FILTERS + len(_FILTER_KERNELS) * len(DTYPES)  # of weights, of each dtype
assert IN_TABLE.meaning == MEANING
assert TABLE.size >= _GRADIENTS + len(DTYPES), "the table has no room for all functions"
_TEXTS = [
    ctypes.create_string_buffer(text.encode())
    for text in (
        "the arguments of a call do not fit",
        "fillvalue is a number that the result's dtype cannot hold",
        "an array's elements do not lie where their type may, or there is no memory for the workspace",
    )
]


class Needs:
    """The functions of a kind for dtypes: whatever holds this has them at hand, also when it is read from a cache.

    The dtypes are those of the result and of the input. A convolution's functions are those for so many spatial axes.
    """

    def __init__(self, kind: str, dtype: str, x: str, rank: int = 0) -> None:
        self._asked = kind, dtype, x, rank
        self.kernels = _load(*self._asked)

    def __reduce__(self) -> tuple[Any, ...]:
        return _needs_of, (package_hash(), *self._asked)


def package_hash() -> str | None:
    """Of all that emits callers and is called by them, the hash; None if the sources have changed since the import."""
    digest: str | None = PACKAGE.hash()
    return digest


def _needs_of(version: str | None, *asked: Any) -> Needs:
    """What a caller that was kept needs. One that another version emitted knows other frames and another table."""
    if version is None or version != package_hash():
        raise OSError("the caller was compiled by another version")  # Numba takes the file for gone, and compiles anew
    return Needs(*asked)


@functools.cache
def _load(kind: str, dtype: str, x: str, rank: int) -> int:
    """Compile or read what calls on arrays of two dtypes need, and write down where it lies: the index of kernels."""
    if not TABLE[IN_TABLE.explain]:
        for at, text in zip((IN_TABLE.refused, IN_TABLE.unheld, IN_TABLE.failed), _TEXTS, strict=True):
            TABLE[at] = ctypes.addressof(text)
        release = entry_point(release_blocks, "int64")
        workspace.others.append(lambda: release(TABLE))
        TABLE[IN_TABLE.lose] = ctypes.cast(_lose, ctypes.c_void_p).value or 0
        TABLE[IN_TABLE.load] = ctypes.cast(_load_family, ctypes.c_void_p).value or 0
        TABLE[IN_TABLE.explain] = ctypes.cast(_explain, ctypes.c_void_p).value or 0
    if kind == "convolution":
        return _load_convolution(dtype, x, rank)
    if kind == "weights":
        return _load_gradient(dtype)
    return _load_filter(kind, dtype) if kind in _FILTER_KERNELS else _load_window(kind, dtype, x)


def _place(dtype: str, x: str) -> int:
    """The number of a pair of dtypes."""
    place: int = DTYPES.index(dtype) * len(DTYPES) + DTYPES.index(x)
    return place


def _pair(place: int) -> list[np.dtype[Any]]:
    """The dtypes of a number."""
    return [np.dtype(DTYPES[i]) for i in divmod(place, len(DTYPES))]


def _load_convolution(dtype: str, x: str, rank: int) -> int:
    TABLE[IN_TABLE.resolve] = entry_address(calls.resolve, "int64")
    TABLE[IN_TABLE.run] = entry_address(calls.run, "int64")
    kernels: int = _CONVOLUTIONS + len(FAMILIES) * _place(dtype, x)
    for place in choose.candidates(element_of(dtype), rank):
        if FAMILIES[place].algorithm == "direct":  # others are loaded when a call is first worth one
            TABLE[kernels + place] = _family_address(place, dtype, x)
    return kernels


def _family_address(place: int, dtype: str, x: str) -> int:
    module = FAMILIES[place].module
    return entry_address(module.correlate, *family_formats(module, dtype, x))


def _load_window(kind: str, dtype: str, x: str) -> int:
    TABLE[IN_TABLE.resolve_window] = entry_address(window_calls.resolve_window, "int64")
    TABLE[IN_TABLE.run_window] = entry_address(window_calls.run_window, "int64")
    kernels: int = _WINDOWS + window_calls.FUNCTIONS * _place(dtype, x)
    at = window_calls.NAMES.index(kind)
    kernel = window_calls.KINDS[at]
    if at in (window_calls.UNPOOL, window_calls.SCATTER_ADD):
        TABLE[kernels + at] = entry_address(kernel, *scatter_formats(dtype))
    elif at == window_calls.EXTRACT:
        TABLE[kernels + at] = entry_address(kernel, *extract_formats(np.dtype(dtype).itemsize))
    elif at == window_calls.COMBINE:
        TABLE[kernels + at] = entry_address(kernel, *combine_formats(dtype))
    elif at == window_calls.SPREAD:
        TABLE[kernels + at] = entry_address(kernel, *spread_formats(x, dtype))
    elif np.dtype(dtype).kind != "c":
        TABLE[kernels + at] = entry_address(kernel, *row_formats(x, dtype))
    if at == window_calls.AVERAGE:
        TABLE[kernels + window_calls.MEAN] = entry_address(pool.average, *average_formats(x, dtype))
    elif at < window_calls.AVERAGE:
        TABLE[kernels + window_calls.EXTREMUM] = entry_address(pool.extremum, *extremum_formats(x, dtype))
    return kernels


class _Ufunc(ctypes.Structure):
    """The head of NumPy's PyUFuncObject behind that of any object, a layout fixed by NumPy's C ABI."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("nin", "nout", "nargs", "identity")),
        *((name, ctypes.POINTER(ctypes.c_void_p)) for name in ("functions", "data")),
    )


def _write_loop(at: int, ufunc: np.ufunc, types: str) -> None:
    """Write down where the loop of a function of NumPy lies."""
    found = _Ufunc.from_address(id(ufunc) + object.__basicsize__)
    place = ufunc.types.index(types)
    TABLE[at], TABLE[at + 1] = found.functions[place] or 0, found.data[place] or 0 if found.data else 0


def _load_filter(kind: str, compute: str) -> int:
    _write_loop(IN_TABLE.exponential, np.exp, "d->d")
    _write_loop(IN_TABLE.addition, np.add, "dd->d")
    TABLE[IN_TABLE.run_filter] = entry_address(filter_calls.run_filter, "int64")
    at: int = _FILTERS + len(DTYPES) * list(_FILTER_KERNELS).index(kind) + DTYPES.index(compute)
    TABLE[at] = entry_address(_FILTER_KERNELS[kind], *step_formats(compute))
    return at


def _load_gradient(dtype: str) -> int:
    TABLE[IN_TABLE.resolve_gradient] = entry_address(gradient_calls.resolve_gradient, "int64")
    TABLE[IN_TABLE.run_gradient] = entry_address(gradient_calls.run_gradient, "int64")
    at: int = _GRADIENTS + DTYPES.index(dtype)
    TABLE[at] = entry_address(weights.differentiate, *weight_formats(dtype))
    return at


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)


@_CALLBACK  # type: ignore[untyped-decorator]
def _explain(frame: int, place: int) -> None:
    """Write at an address, in the frontend's words, what is wrong with a frame; its `message` is the address, or 0."""
    words = (ctypes.c_int64 * FRAME).from_address(frame)
    try:
        _check_frame(frame)
    except BaseException as error:  # an interrupt, too, refuses the call: nobody else can be told of it here
        text = (str(error) or type(error).__name__).encode("ascii", "replace")[: TEXT_BYTES - 1] + b"\0"
        ctypes.memmove(place, text, len(text))
        words[AT.message] = place
    else:
        words[AT.message] = 0


@_CALLBACK  # type: ignore[untyped-decorator]
def _load_family(frame: int, place: int) -> None:
    """Compile or read a family of kernels, for the first call that it runs; stopped by an interrupt, none is there."""
    words = (ctypes.c_int64 * FRAME).from_address(frame)
    dtype, read = _dtypes_of(words)
    with suppress(BaseException):
        TABLE[words[AT.kernels] + place] = _family_address(place, dtype.name, read.name)


class _LostError:
    """An error of a thread that is not Python's, where Numba drops it: Python's main thread raises it in its place.

    CPython calls a function of C there, between two instructions, as it handles signals. The one that is given asks an
    object whether it is true, and that raises.
    """

    _add = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(("Py_AddPendingCall", ctypes.pythonapi))
    _is_true = ctypes.cast(ctypes.pythonapi.PyObject_IsTrue, ctypes.c_void_p)

    def __init__(self) -> None:
        self._text: str | None = None

    def note(self, text: str) -> None:
        """Have it raised; of several, the last one.

        Each asks: the answer to an earlier one is lost where the main thread has an error of its own, or there is no
        room for it.
        """
        self._text = text
        self._ask_later()

    def _ask_later(self) -> None:
        self._add(self._is_true, id(self))

    def __bool__(self) -> bool:
        if self._text is None:  # told meanwhile
            return False
        if _is_busy(sys._getframe(1)):
            self._ask_later()
            return False
        text, self._text = self._text, None
        # What its own share of a loop has raised, the main thread was told of as a SystemError.
        if isinstance(sys.exception(), SystemError):
            return False
        raise ValueError(f"{text}; raised inside prange, where the results of other calls may be missing, too")


def _is_busy(frame: FrameType | None) -> bool:
    """Whether compiled code waits for Python code, ours or Numba's, and would not see an error of it."""
    while frame is not None:
        if frame.f_code.co_filename == __file__ or frame.f_code.co_name == "_numba_unpickle":
            return True
        frame = frame.f_back
    return False


_lost_error = _LostError()


@_CALLBACK  # type: ignore[untyped-decorator]
def _lose(frame: int, message: int) -> None:
    """Save an error from being lost, and have nobody take for data what lies in `out`."""
    _lost_error.note(ctypes.string_at(message).decode())
    words = (ctypes.c_int64 * FRAME).from_address(frame)
    if words[AT.kernels] < _WINDOWS and words[AT.has_out]:
        (dtype, read), rank = _dtypes_of(words), Call(*words[AT.call : AT.axes]).rank
        x, w, out = (_array(words, at, rank + 2, each) for at, each in ((AT.x, read), (AT.w, dtype), (AT.out, dtype)))
        if not (np.may_share_memory(out, x) or np.may_share_memory(out, w)):  # no call changes its input
            out[...] = outermost(dtype, smallest=True) if dtype.kind in "biu" else np.nan


def _dtypes_of(words: Any) -> list[np.dtype[Any]]:
    """Those of a convolution's result and of its input."""
    return _pair((words[AT.kernels] - _CONVOLUTIONS) // len(FAMILIES))


def _check_frame(frame: int) -> None:
    words = (ctypes.c_int64 * FRAME).from_address(frame)
    name, label = (ctypes.string_at(words[at]).decode() for at in (AT.function, AT.padding_name))
    if words[AT.kernels] >= _GRADIENTS:
        call = Call(*words[AT.call : AT.axes])
        _check_gradient(name, words, call, _axes(words, 3)[-call.rank :])
    elif words[AT.kernels] >= _WINDOWS:
        windows = Windows(*words[AT_WINDOWS : AT.axes])
        _check_window(name, label, words, windows, _axes(words, windows.rank))
    else:
        call = Call(*words[AT.call : AT.axes])
        _check_convolution(name, label, words, call, _axes(words, max(call.rank, 3))[-call.rank :])


def _axes(words: Any, count: int) -> list[Axis]:
    return [Axis(*words[i : i + AXIS_FIELDS]) for i in range(AT.axes, AT.axes + count * AXIS_FIELDS, AXIS_FIELDS)]


def _array(words: Any, at: int, rank: int, dtype: np.dtype[Any]) -> Array:
    shape, strides = ((ctypes.c_int64 * rank).from_address(words[at + i]) for i in (1, 2))
    element: Any = (ctypes.c_char * dtype.itemsize).from_address(words[at])
    memory = np.frombuffer(element, dtype)
    return np.lib.stride_tricks.as_strided(memory, tuple(shape), tuple(strides))


def _options(words: Any, axes: Sequence[Any]) -> tuple[Any, ...]:
    """Stride, dilation and padding, as who calls gave them."""
    padding: Any = tuple((axis.before, axis.after) for axis in axes)
    if words[AT.padding] != GIVEN:
        padding = PADDINGS[words[AT.padding]]
    return tuple(axis.stride for axis in axes), tuple(axis.dilation for axis in axes), padding


def _check_convolution(name: str, padding_name: str, words: Any, call: Any, axes: Sequence[Any]) -> None:
    dtype, read = _dtypes_of(words)
    rank = call.rank
    x, w = _array(words, AT.x, rank + 2, read), _array(words, AT.w, rank + 2, dtype)
    bias = _array(words, AT.bias, 1, dtype) if call.has_bias else None
    stride, dilation, padding = _options(words, axes)
    algorithm = ALGORITHMS[words[AT.algorithm]]
    options = call.groups, stride, padding, dilation, "constant", None, algorithm, bias is not None
    misfits, flip = checks.Misfits(name), bool(call.flip)
    problem = misfits.attempt(checks.convolution, x, w, dtype, rank, flip, *options, padding_name=padding_name)
    if bias is not None:
        misfits.attempt(checks.as_bias, bias, w.shape[0], dtype)
    if words[AT.has_out] and problem:
        out = _array(words, AT.out, rank + 2, dtype)
        misfits.attempt(checks.check_out, out, problem.out_shape, dtype, x, w, bias)
    try:
        misfits.refuse()
    except (TypeError, ValueError) as error:
        raise refusal(error, x="input", w="weight") if name in _FUNCTIONAL else error from None
    if problem:
        place_of(problem)  # refuses what nothing does by the algorithm that is asked for


def _check_window(name: str, padding_name: str, words: Any, windows: Windows, axes: Sequence[Axis]) -> None:
    _, dtype = _pair((words[AT.kernels] - _WINDOWS) // window_calls.FUNCTIONS)
    rank, kind, leading = windows.trailing, words[AT.kind], windows.rank - windows.trailing
    if words[AT.option] & window_calls.PYTORCH:
        _check_pytorch(name, words, windows, axes, dtype)
        return
    x = _array(words, AT.x, leading + 2 if kind == window_calls.COMBINE else windows.rank, dtype)
    kernel, (stride, dilation, padding) = tuple(axis.kernel for axis in axes[leading:]), _options(words, axes[leading:])
    if kind == window_calls.UNPOOL:
        indices = _array(words, AT.indices, windows.rank, np.dtype(np.int64))
        sizes = tuple(words[AT.sizes : AT.sizes + windows.rank])
        if words[AT.bad_index] >= 0:
            raise checks.bad_index(name, indices, words[AT.bad_index], sizes[leading:])
        checks.as_indices(name, x, indices)
        asked = sizes if words[AT.is_asked] else None
        if asked is not None and asked[:leading] == x.shape[:leading]:
            asked = asked[leading:]
        checks.unpooled_size(name, x, rank, kernel, stride, dilation, padding_name, padding, asked)
    elif kind == window_calls.COMBINE:
        sizes, label, is_folded = tuple(axis.size for axis in axes[leading:]), "patches", name == "col2im"
        if is_folded:
            columns = x.shape[0], words[AT.columns], x.shape[3]
            x, label = np.lib.stride_tricks.as_strided(x, columns, (0, 0, 0)), "cols"
        checks.combination(name, label, x, is_folded, sizes, kernel, stride, dilation, padding)
    else:
        ceil = bool(words[AT.option] & window_calls.CEIL)
        problem = checks.window(name, x, rank, kernel, stride, dilation, padding_name, padding, ceil)
        if kind == window_calls.EXTRACT:
            checks.check_size(name, (*x.shape[:leading], problem.taps, problem.positions), dtype.itemsize)


def _check_gradient(name: str, words: Any, call: Call, axes: Sequence[Axis]) -> None:
    dtype = np.dtype(DTYPES[words[AT.kernels] - _GRADIENTS])
    x, gradient = (_array(words, at, call.rank + 2, dtype) for at in (AT.x, AT.w))
    size = call.outputs, call.channels, *(axis.kernel for axis in axes)
    stride, dilation, pads = (
        [axis[i] for axis in axes] for i in map(Axis._fields.index, ("stride", "dilation", "before"))
    )
    try:
        weight_problem(name, call.rank, x, size, gradient, stride, pads, dilation, call.groups)
    except ValueError as error:
        raise refusal(error, x="input", w="weight") from None


def _check_pytorch(name: str, words: Any, frame: Windows, axes: Sequence[Axis], dtype: np.dtype[Any]) -> None:
    """The same of a function that has PyTorch's name."""
    rank, kind, leading = frame.trailing, words[AT.kind], frame.rank - frame.trailing
    own, ceil = axes[leading:], bool(words[AT.option] & window_calls.CEIL)
    kernel, stride, padding, dilation = (
        tuple(getattr(axis, each) for axis in own) for each in ("kernel", "stride", "before", "dilation")
    )
    x = _array(words, AT.x, leading + 2 if kind == window_calls.COMBINE else frame.rank, dtype)
    sizes = tuple(words[AT.sizes : AT.sizes + frame.rank])
    if kind in (window_calls.UNPOOL, window_calls.SCATTER_ADD):
        indices = _array(words, AT.indices, frame.rank, np.dtype(np.int64))
        if words[AT.bad_index] >= 0:
            raise checks.bad_index(name, indices, words[AT.bad_index], sizes[leading:])
        if kind == window_calls.SCATTER_ADD:
            torch_windows.scattered(name, x.shape, indices.shape, rank, sizes)
        else:
            torch_windows.check_indices(name, "input", x.shape, indices.shape)
            torch_windows.unpooled(
                name, x, rank, kernel, stride, padding, sizes[leading:] if words[AT.is_asked] else None
            )
    elif kind == window_calls.SPREAD:
        torch_windows.averaged(name, x, rank, tuple(axis.size for axis in axes), kernel, stride, padding, ceil)
    elif kind == window_calls.EXTRACT:
        torch_windows.unfolded(name, x, kernel, dilation, padding, stride)
    elif kind == window_calls.COMBINE:
        columns = np.lib.stride_tricks.as_strided(x, (x.shape[0], words[AT.columns], x.shape[3]), (0, 0, 0))
        torch_windows.folded(name, columns, tuple(axis.size for axis in own), kernel, dilation, padding, stride)
    elif words[AT.option] & window_calls.SHARED:
        outs = tuple(None if size == window_calls.KEEP else size for size in kernel)
        torch_windows.shared(name, x, rank, outs, int(bool(words[AT.option] & window_calls.FREE_CHANNELS)), True)
    else:
        problem = torch_windows.pool(name, x.shape, dtype, rank, kernel, stride, padding, dilation, ceil)
        if kind == window_calls.AVERAGE:
            torch_windows.check_volume(name, problem)
