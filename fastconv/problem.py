"""One call's numbers, checked and frozen: every argument check of the package and every message stands here.

A message names the function, the argument, what came and what is expected. Checks run before any memory is taken.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .kernels import shapes
from .kernels.shapes import (
    ACTIVATIONS,
    ALGORITHMS,
    AUTO,
    BOUNDARIES,
    FAR,
    GIVEN,
    PADDINGS,
    TOO_FAR,
    Axis,
    Call,
    count_outputs,
    count_windows,
    drop_steps,
    is_addressable,
    is_read_as,
    misfit,
    pad_axis,
    taps_of,
)

Array = NDArray[Any]
T = TypeVar("T")
Pads = tuple[int, Sequence[tuple[int, int]]]  # how padding is asked for, and the numbers before and after each axis

DTYPES = frozenset(shapes.DTYPES)
_DIFFERENCES = 1 << 18  # between places in an array, that are looked at one by one
AXES = {1: "W", 2: "HW", 3: "DHW"}
KEPT = 4096  # prepared calls of a function; past it they are made anew
DEFAULT_PADDING = "".join(("val", "id"))  # an object of its own: a "valid" that a caller gives is told from it
_HOST_COPY = {
    "dask": "use fastconv.dask, or call its .compute() first",
    "cupy": "copy it to the host with .get() first",
    "torch": "pass x.detach().cpu().numpy()",
    "tensorflow": "pass x.numpy()",
}


class Problem(NamedTuple):
    """A convolution without its arrays. Hashable: it is the key of what is prepared once."""

    function: str
    call: Call
    axes: tuple[Axis, ...]
    dtype: np.dtype[Any]
    read: np.dtype[Any]  # the dtype in which kernels take the input: its own, where they can convert it
    algorithm: str = "auto"

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (self.call.batch, self.call.groups * self.call.outputs, *(axis.out for axis in self.axes))

    @property
    def positions(self) -> int:
        """Windows over one plane."""
        return math.prod(axis.out for axis in self.axes)

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return int(taps_of(self.axes))


class Sliding(NamedTuple):
    """A pool or an extraction of patches without its arrays: a window over the axes that follow the leading ones."""

    function: str
    leading: tuple[int, ...]
    axes: tuple[Axis, ...]
    dtype: np.dtype[Any]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of a pool's result."""
        return (*self.leading, *(axis.out for axis in self.axes))

    @property
    def positions(self) -> int:
        """Windows over one plane."""
        return math.prod(axis.out for axis in self.axes)

    @property
    def window(self) -> tuple[int, ...]:
        """Size of a window."""
        return tuple(axis.kernel for axis in self.axes)

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return int(taps_of(self.axes))


class Misfits:
    """All that is wrong with a call, told in one error of the kind of the first."""

    def __init__(self, function: str) -> None:
        self.function = function
        self.texts: list[str] = []
        self._kind: type[Exception] = ValueError

    def say(self, text: str, kind: type[Exception] = ValueError) -> None:
        """Note a misfit, without the function's name."""
        if not self.texts:
            self._kind = kind
        if text not in self.texts:
            self.texts.append(text)

    def attempt(self, check: Callable[..., T], *args: Any, **options: Any) -> T | None:
        """What a check gives, or None and a misfit."""
        try:
            return check(self.function, *args, **options)
        except (TypeError, ValueError) as error:
            self.say(str(error).removeprefix(f"{self.function}(): "), type(error))
            return None

    def error(self) -> Exception:
        """What to raise."""
        return self._kind(f"{self.function}(): {'; '.join(self.texts)}")

    def refuse(self) -> None:
        """Raise what there is to tell."""
        if self.texts:
            raise self.error()


def told_whole(
    function: str, error: Exception, given: Sequence[tuple[str, Any]] = (), rest: Sequence[tuple[Any, ...]] = ()
) -> Exception:
    """An error, and what the rest of the checks say of its call. `given`: arguments before they were made arrays."""
    if not str(error).startswith(f"{function}(): "):  # a fault of our own
        return error
    misfits = Misfits(function)
    misfits.say(str(error).removeprefix(f"{function}(): "), type(error))
    for check, *arguments in rest:
        misfits.attempt(check, *arguments)
    for name, value in given:
        if type(value) is not np.ndarray and any(f"{begin}{name}" in str(error) for begin in _WRITE):
            is_pandas, kind = type(value).__module__.startswith("pandas"), type(value).__name__
            array = f"{name}.to_numpy()" if is_pandas else f"np.array({name})"
            misfits.say(f"{name} is a {'pandas ' * is_pandas}{kind}, begin with {array}")
    return misfits.error()


# ---- arrays


def as_array(function: str, name: str, value: Any) -> Array:
    """`value` as a plain ndarray of a type that the kernels know, in native byte order."""
    missing = f"; {name} is None, which is no array" if value is None else ""
    if type(value) is not np.ndarray:
        package = type(value).__module__.partition(".")[0]
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{function}(): {name} is a masked array, expected a plain one; replace what is masked first, "
                f"with {name}.filled(value)"
            )
        if package in _HOST_COPY:
            raise TypeError(
                f"{function}(): {name} is a {package} {type(value).__name__}, expected a NumPy array; "
                f"{_HOST_COPY[package]}"
            )
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{function}(): {name} cannot be made an array: {error}") from None
    if value.dtype.name not in DTYPES:
        raise TypeError(
            f"{function}(): {name} has dtype {value.dtype}, expected bool, an integer, float16, bfloat16, float32, "
            f"float64, complex64 or complex128{missing}"
        )
    array: Array = value
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_arrays(function: str, *arguments: tuple[str, Any]) -> list[Any]:
    """Arguments by their names as `as_array` makes them. What is wrong with any is told at once."""
    misfits = Misfits(function)
    arrays = [misfits.attempt(as_array, name, value) for name, value in arguments]
    misfits.refuse()
    return arrays


def aligned(array: Array) -> Array:
    """The array, or a copy where an element's address or a stride is not a whole number of elements."""
    whole = array.flags.aligned and all(step % array.itemsize == 0 for step in array.strides)
    return array if whole else array.copy()


def common_dtype(function: str, **arrays: Array) -> np.dtype[Any]:
    """The dtype that all of the arrays promote to."""
    try:
        dtype = np.result_type(*arrays.values())
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in DTYPES:
        given = " and ".join(f"{name} has dtype {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"{function}(): {given}, which do not promote to a type of both; convert one of them")
    return dtype


def result_dtype(function: str, asked: np.dtype[Any] | None, **arrays: Array) -> np.dtype[Any]:
    """The dtype of sums and of the result: the one asked for, to which all of the arrays cast, or their common one."""
    if asked is None:
        return common_dtype(function, **arrays)
    for name, array in arrays.items():
        if not is_castable(array.dtype, asked):
            raise TypeError(
                f"{function}(): dtype is {asked}, and {name} has dtype {array.dtype}, which does not cast to it; "
                "expected a type of the same kind or a higher one, or a wider integer"
            )
    return asked


def as_dtype(function: str, dtype: Any) -> np.dtype[Any]:
    """The dtype that a caller asks for, in native byte order."""
    try:
        asked = np.dtype(dtype)
    except (TypeError, ValueError):
        asked = None
    if asked is None or asked.name not in DTYPES:
        raise TypeError(
            f"{function}(): dtype is {dtype!r}, expected bool, an integer, float16, bfloat16, float32, float64, "
            "complex64 or complex128"
        )
    native: np.dtype[Any] = asked.newbyteorder("=")
    return native


def is_castable(given: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Whether numbers may be cast: NumPy's "same_kind", and any integer to a wider one."""
    if given.kind in "iu" and dtype.kind in "iu" and given.itemsize < dtype.itemsize:
        return True
    # NumPy does not know what kind of number bfloat16 is.
    first, second = (np.dtype(np.float16) if each.name == "bfloat16" else each for each in (given, dtype))
    return bool(np.can_cast(first, second, "same_kind"))


def read_dtype(given: np.dtype[Any], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which kernels with a result of `dtype` take an input: its own, where they can convert it."""
    native: np.dtype[Any] = given.newbyteorder("=")
    return native if is_read_as(given.name, dtype.name) else dtype


def check_rank(function: str, name: str, array: Array, rank: int, leading: str, hint: str | None = None) -> None:
    """Refuse an array that has not its leading axes and `rank` spatial ones; by default it is told what to write."""
    if array.ndim != len(leading) + rank:
        hint = rank_hint(name, array.ndim, rank, leading, array.shape[-1:]) if hint is None else hint
        raise ValueError(f"{function}(): {name} has shape {array.shape}, expected {dimensions(rank, leading)}{hint}")


_WRITE = ": write ", ": write np.moveaxis("
_COLOURS = 4  # axes of so many elements or fewer, in the last place, are taken for channels


def rank_hint(name: str, ndim: int, rank: int, leading: str, last: Sequence[int] = ()) -> str:
    """What to write in place of an array that lacks some of the two leading axes; `last`: the size of its last one."""
    if rank > 0 and ndim == rank:
        return f": write {name}[None, None]"
    if rank > 0 and ndim == rank + 1:
        if leading == "OI":
            return f": write {name}[None] for one output channel, {name}[:, None] for one input channel"
        if last and last[0] <= _COLOURS:
            return f": write np.moveaxis({name}, -1, 0)[None] if its channels come last"
        return f": write {name}[None] for one image, {name}[:, None] for one channel"
    return ""


def check_ranks(function: str, x: Array, w: Array, rank: int | None) -> int:
    """The number of spatial axes, None taking it from `w`. What is wrong with both arrays is told at once."""
    misfits = Misfits(function)
    too_few = rank is None and w.ndim < 3
    if rank is None:
        rank = w.ndim if too_few else w.ndim - 2  # too few, it seems to be a kernel as it is
    is_bare, hint = w.ndim == rank, None
    if is_bare and x.ndim == rank + 1 and x.shape[-1] <= _COLOURS:
        hint = ": write np.moveaxis(x, -1, 0)[:, None] to filter each channel, if they come last"
    if rank > 0:
        misfits.attempt(check_rank, "x", x, rank, "NC", hint)
    if too_few:
        hint = rank_hint("w", w.ndim, rank, "OI")
        misfits.say(f"w has shape {w.shape}, expected at least 3 dimensions (O, C/groups, K0, ...){hint}")
    else:
        misfits.attempt(check_rank, "w", w, rank, "OI")
    if is_bare and x.ndim == rank > 0:
        operation = "convolve" if function.startswith("convolve") else "correlate"
        misfits.say(f"fastconv.ndimage.{operation}(x, w) takes both as they are")
    misfits.refuse()
    return rank


def dimensions(rank: int, leading: str) -> str:
    """What an array with leading axes and `rank` spatial ones has."""
    letters = ", ".join([*leading, *AXES.get(rank, [f"{leading[0]}{i}" for i in range(rank)])])
    return f"{len(leading) + rank} dimensions ({letters})"


def check_out(
    function: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], x: Array, w: Array, bias: Array | None
) -> None:
    """Refuse an `out` that cannot take the result whole."""
    check_type_of_out(function, out, dtype, x, w)
    if out.shape != shape:
        raise ValueError(f"{function}(): out has shape {out.shape}, expected {shape}")
    flags = out.flags
    if not flags.writeable:
        raise ValueError(f"{function}(): out is read-only, expected an array that can be written")
    if not flags.c_contiguous and _overlaps_itself(out):
        raise ValueError(f"{function}(): out has strides {out.strides} that put several elements at one address")
    for name, array in (("x", x), ("w", w), ("bias", bias)):
        if array is not None and np.may_share_memory(out, array) and np.shares_memory(out, array):
            raise ValueError(f"{function}(): out overlaps {name}, expected memory of its own")


def check_type_of_out(function: str, out: Any, dtype: np.dtype[Any], *arrays: Array) -> None:
    """Refuse an `out` of another type than the result's."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{function}(): out is a {type(out).__name__}, expected a NumPy array")
    if out.dtype != dtype:
        raise TypeError(f"{function}(): out has dtype {out.dtype}, expected {dtype}{dtype_hint(out.dtype, *arrays)}")


def dtype_hint(dtype: np.dtype[Any], *arrays: Array) -> str:
    """How to ask for results of a dtype, where it can be had; the end of a message."""
    if dtype.name not in DTYPES or not all(is_castable(array.dtype, dtype) for array in arrays):
        return ""
    return f"; for one like it pass dtype={'ml_dtypes' if dtype.name == 'bfloat16' else 'np'}.{dtype.name}"


def _overlaps_itself(array: Array) -> bool:
    """Whether two elements share a byte.

    Exact, but for strides that no slicing gives, over several axes of many elements: those are taken to overlap.
    """
    if array.size == 0:
        return False
    axes = sorted((abs(step), n) for step, n in zip(array.strides, array.shape, strict=True) if n > 1)
    reach, size = array.itemsize + sum(step * (n - 1) for step, n in axes), array.itemsize
    while axes:  # an axis that steps over all that the others reach changes nothing
        step, n = axes[-1]
        if step < reach - step * (n - 1):
            break
        reach -= step * (n - 1)
        axes.pop()
    if not axes:
        return False
    if axes[0][0] < size or math.prod(n for _, n in axes) * size > reach:
        return True
    axes.sort(key=lambda axis: axis[1])
    *others, (step, n) = axes
    if math.prod(2 * m - 1 for _, m in others) > _DIFFERENCES:
        return True
    apart = np.zeros(1, dtype=np.int64)  # how far two elements may be apart along all axes but the longest
    for other, m in others:
        apart = (apart[:, None] + other * np.arange(1 - m, m)).ravel()
    apart = np.delete(apart, apart.size // 2)  # the same place along all of them
    back, rest = np.divmod(apart, step)
    return bool((((rest < size) & (abs(back) < n)) | ((step - rest < size) & (abs(back + 1) < n))).any())


def check_size(function: str, shape: Sequence[int], itemsize: int, in_chunks: bool = False) -> None:
    """Refuse a result that no address space holds; what is merely too much for this machine is NumPy's MemoryError.

    It comes here, before a kernel is compiled: memory that is asked for and not written costs nothing. A result that is
    made `in_chunks` need not fit into this machine.
    """
    if not is_addressable(math.prod(map(float, shape)), itemsize):
        raise ValueError(f"{function}(): the result would have shape {tuple(shape)}, more than memory can address")
    if not in_chunks:
        np.empty(math.prod(shape) * itemsize, dtype=np.uint8)


def cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """An array in another type, itself where it has it. What does not fit becomes infinity, or 0, without a word.

    Kernels say none either, whatever `np.seterr` asks NumPy to say: results do not depend on which of the two casts.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def as_bias(function: str, bias: Any, outputs: int, dtype: np.dtype[Any]) -> Array:
    """`bias` in the result's dtype."""
    if (  # as most are: the checks below take longer than a small call
        type(bias) is np.ndarray
        and bias.dtype == dtype
        and bias.shape == (outputs,)
        and bias.strides == (bias.itemsize,)
        and bias.flags.aligned
    ):
        return bias
    bias = as_array(function, "bias", bias)
    if bias.shape != (outputs,):
        raise ValueError(
            f"{function}(): bias has shape {bias.shape}, expected ({outputs},), one for each output channel"
        )
    if not np.can_cast(bias.dtype, dtype, "same_kind"):
        raise TypeError(f"{function}(): bias has dtype {bias.dtype}, which does not cast to the result's {dtype}")
    return aligned(cast(bias, dtype))


_UNHELD = "{}(): fillvalue is {!r}, which the result's dtype {} cannot hold"


def as_fill(function: str, fillvalue: Any, dtype: np.dtype[Any]) -> Array:
    """`fillvalue` as an array of one element of the result's dtype."""
    value = np.asarray(fillvalue)
    if isinstance(fillvalue, int) and value.dtype == object:  # beyond 64 bits: a number, and too large for any integer
        try:
            value = np.asarray(float(fillvalue))
        except OverflowError:
            raise ValueError(_UNHELD.format(function, fillvalue, dtype)) from None
    if value.ndim or value.dtype.name not in DTYPES:
        raise TypeError(f"{function}(): fillvalue is {fillvalue!r}, expected a number")
    with np.errstate(all="ignore"):
        real = value if dtype.kind == "c" or value.dtype.kind != "c" else value.real
        fill = real.astype(dtype).reshape(1)
    exact = dtype.kind in "biu"
    lost = (fill[0] != value[()]) if exact else bool(np.isfinite(value)) and not bool(np.isfinite(fill[0]))
    if exact and value.dtype.kind in "fc" and not np.isfinite(value):
        lost = True
    if real is not value and value.imag != 0:
        lost = True
    if lost:
        raise ValueError(_UNHELD.format(function, fillvalue, dtype))
    return fill


# ---- numbers


def as_int(function: str, name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{function}(): {name} is {value!r}, expected an int") from None
    if number < least:
        raise ValueError(f"{function}(): {name} is {number}, expected {least} or more")
    return number


def as_ints(function: str, name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """An int for every spatial axis, or one for each."""
    if _is_sequence(value):
        if len(value) != rank:
            raise ValueError(
                f"{function}(): {name} is {value!r}, expected an int or {rank} of them, one for each spatial axis"
            )
        return tuple(as_int(function, name, item, least) for item in value)
    return (as_int(function, name, value, least),) * rank


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def as_names(function: str, name: str, value: Any, rank: int, names: Sequence[str]) -> tuple[str, ...]:
    """A name for every spatial axis, or one for each."""
    if isinstance(value, (tuple, list)):
        if len(value) != rank:
            raise ValueError(
                f"{function}(): {name} is {value!r}, expected a name or {rank} of them, one for each spatial axis"
            )
    else:
        value = (value,) * rank
    for item in value:
        check_name(function, name, item, names)
    return tuple(value)


def check_name(function: str, name: str, value: Any, names: Sequence[str | None]) -> None:
    """Refuse what is not one of the names."""
    if not (value is None or isinstance(value, str)):
        raise TypeError(f"{function}(): {name} is {value!r}, expected one of {', '.join(map(repr, names))}")
    if value not in names:
        raise ValueError(f"{function}(): {name} is {value!r}, expected one of {', '.join(map(repr, names))}")


def two_paddings(function: str, name: str, value: Any, padding: Any) -> ValueError:
    """What is wrong with a padding that is given by both of its names."""
    return ValueError(
        f"{function}(): {name} is {value!r} and padding is {padding!r}, expected one of them: both mean the same"
    )


def as_padding(function: str, name: str, value: Any, rank: int) -> Pads:
    """How padding is asked for, and `(before, after)` of every spatial axis where by numbers."""
    none = ((0, 0),) * rank
    if isinstance(value, str):
        if value not in PADDINGS:
            raise ValueError(f"{function}(): {name} is {value!r}, expected 'valid', 'same', 'full' or numbers")
        return PADDINGS.index(value), none
    if not _is_sequence(value):
        return GIVEN, ((as_int(function, name, value, 0),) * 2,) * rank
    if len(value) != rank:
        hint = f"; write (({value[0]!r}, {value[1]!r}),) for one axis" if rank == 1 and len(value) == 2 else ""
        raise ValueError(
            f"{function}(): {name} is {value!r}, expected an int, or for each of {rank} spatial axes an int or a pair "
            f"(before, after){hint}"
        )
    pairs = []
    for item in value:
        if _is_sequence(item):
            if len(item) != 2:
                raise ValueError(
                    f"{function}(): {name} has {item!r} for an axis, expected an int or a pair (before, after)"
                )
            pairs.append((as_int(function, name, item[0], 0), as_int(function, name, item[1], 0)))
        else:
            pairs.append((as_int(function, name, item, 0),) * 2)
    return GIVEN, pairs


def _place_axes(
    function: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Pads,
    boundary: Sequence[str],
    flip: bool,
) -> list[tuple[Axis, int]]:
    """The spatial axes, padded, and how far a window can move along each: less than 0 where it does not fit."""
    asked, pads = padding
    placed = []
    for i, (size, k, s, d, (before, after), name) in enumerate(
        zip(sizes, kernel, stride, dilation, pads, boundary, strict=True)
    ):
        numbers = (min(number, FAR) for number in (k, s, d, before, after))  # beyond, they all mean the same
        axis = Axis(size, *numbers, BOUNDARIES.index(name), 0)
        first, last, room = pad_axis(axis, asked, flip)
        if room == TOO_FAR:
            shown = f"{before} + {after}" if asked == GIVEN else repr(PADDINGS[asked])
            raise ValueError(
                f"{function}(): axis {i} has size {size}, padding {shown} and kernel {d} * ({k} - 1) + 1, "
                "more than memory can address"
            )
        placed.append((axis._replace(before=first, after=last), room))
    return placed


def no_room(what: str, i: int, axis: Axis) -> str:
    """What is wrong with an axis that a kernel or a window does not fit on."""
    reach = axis.dilation * (axis.kernel - 1) + 1
    return (
        f"the {what} is larger than the padded input on spatial axis {i}: dilation {axis.dilation} * "
        f"(kernel {axis.kernel} - 1) + 1 = {reach} > {axis.size} + padding {axis.before} + {axis.after} = "
        f"{axis.size + axis.before + axis.after}"
    )


_PLAIN = {int, bool, float, str, type(None)}


def key_of(options: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What tells a call's options from others, None for objects whose value may change: 1, 1.0 and True are equal.

    So are 0.0 and -0.0, which no option tells apart.
    """
    types = tuple(map(type, options))
    if _PLAIN.issuperset(types):
        return options, types
    parts: list[Any] = []
    for kind, item in zip(types, options, strict=True):
        if kind is tuple or kind is list:
            item = key_of(tuple(item))
            if item is None:
                return None
        elif kind not in _PLAIN:
            return None
        parts.append(item)
    return tuple(parts), types


def keep(prepared: dict[Any, T], key: Any, entry: T) -> None:
    """Keep what is prepared for all calls that a key tells from others; None: they cannot be told."""
    if len(prepared) >= KEPT:
        prepared.clear()
    if key is not None:
        prepared[key] = entry


# ---- operations


def convolution(
    function: str,
    x: Array,
    w: Array,
    dtype: np.dtype[Any],
    rank: int | None,
    flip: bool,
    groups: Any,
    stride: Any,
    padding_mode: Any,
    dilation: Any,
    boundary: Any,
    activation: Any,
    algorithm: Any,
    has_bias: bool,
    *,
    padding_name: str = "padding_mode",
    in_chunks: bool = False,
) -> Problem:
    """The problem of a correlation, or of a convolution (`flip`); `rank` None takes the rank from `w`."""
    rank = check_ranks(function, x, w, rank)
    misfits = Misfits(function)
    counted = misfits.attempt(as_int, "groups", groups, 1)
    outputs, channels = w.shape[:2]
    active = 0 if activation not in ACTIVATIONS else ACTIVATIONS.index(activation)  # checked below
    asked = ALGORITHMS.index(algorithm) if isinstance(algorithm, str) and algorithm in ALGORITHMS else AUTO
    call = Call(x.shape[0], min(counted or 1, FAR), channels, outputs, rank, int(flip), int(has_bias), active, asked)
    if counted is not None:
        _check_channels(misfits, call, counted, x, w)
    sizes, kernel = x.shape[2:], w.shape[2:]
    if 0 in kernel:
        misfits.say(f"w has shape {w.shape}, expected no empty spatial axis")
    strides = misfits.attempt(as_ints, "stride", stride, rank, 1)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    boundaries = misfits.attempt(as_names, "boundary", boundary, rank, BOUNDARIES)
    misfits.attempt(check_activation, activation, dtype)
    padding = misfits.attempt(as_padding, padding_name, padding_mode, rank)
    axes: list[Axis] = []
    if strides and dilations and boundaries and padding and 0 not in kernel:
        places = sizes, kernel, strides, dilations, padding, boundaries, flip
        for i, (axis, room) in enumerate(misfits.attempt(_place_axes, *places) or ()):
            if room < 0 and 0 not in sizes:
                misfits.say(no_room("kernel", i, axis))
            axes.append(drop_steps(axis._replace(out=0 if 0 in sizes else count_outputs(axis, room))))
    misfits.refuse()
    read = read_dtype(x.dtype, dtype)
    problem = Problem(function, call._replace(outputs=outputs // call.groups), tuple(axes), dtype, read, algorithm)
    check_size(function, problem.out_shape, dtype.itemsize, in_chunks)
    return problem


def _check_channels(misfits: Misfits, call: Call, groups: int, x: Array, w: Array) -> None:
    """Note channels that do not match, and outputs that groups cannot share; `groups` may be more than the call's."""
    outputs, channels, given = call.outputs, call.channels, x.shape[1]
    wrong = misfit(call, given, outputs)
    if wrong == shapes.MISFIT_CHANNELS:
        hint = ""
        if x.shape[-1] == channels * groups:
            hint = ": write np.moveaxis(x, -1, 1) if its channels come last"
        elif channels == groups == 1:
            hint = f": write np.repeat(w, {given}, 0) and groups={given} to filter each channel"
        misfits.say(
            f"w has {channels} input channels for each of {groups} groups, {channels * groups} in all, and x has "
            f"{given}; x has shape {x.shape}, w has shape {w.shape}{hint}"
        )
    if wrong and outputs % groups:
        misfits.say(f"w has {outputs} output channels, which {groups} groups cannot share evenly")


def check_activation(function: str, activation: str | None, dtype: np.dtype[Any]) -> None:
    """Refuse what is no activation, or one that has no meaning for a dtype."""
    check_name(function, "activation", activation, ACTIVATIONS)
    floating = dtype.kind == "f" or dtype.name == "bfloat16"
    if activation in ("relu", "relu6"):
        if not (floating or dtype.kind in "iu"):
            raise TypeError(f"{function}(): activation {activation!r} takes real numbers, the result has dtype {dtype}")
    elif activation is not None and not floating:
        raise TypeError(f"{function}(): activation {activation!r} takes floating point, the result has dtype {dtype}")


def check_ordered(function: str, x: Array, dtype: np.dtype[Any] | None = None) -> None:
    """Refuse complex numbers where the largest of a window is asked for, as `dtype` if it is given."""
    if x.dtype.kind == "c":
        raise TypeError(f"{function}(): x has dtype {x.dtype}, which has no order; expected a real type")
    if dtype is not None and dtype.kind == "c":
        raise TypeError(f"{function}(): dtype is {dtype}, which has no order; expected a real type")


def check_mean(function: str, dtype: np.dtype[Any]) -> None:
    """Refuse a dtype that holds no averages."""
    if dtype.kind in "biu":
        raise TypeError(f"{function}(): dtype is {dtype}, which holds no averages; expected a floating or complex type")


def check_sequence(function: str, name: str, value: Any) -> None:
    """Where the length says how many trailing axes are meant, an int says too little."""
    if not _is_sequence(value):
        raise TypeError(f"{function}(): {name} is {value!r}, expected a tuple with one int for each axis of the window")


def check_trailing(function: str, name: str, array: Array, rank: int, more: int = 0) -> None:
    """Refuse an array with fewer dimensions than a window and what comes before it have."""
    if array.ndim < rank + more:
        raise ValueError(f"{function}(): {name} has shape {array.shape}, expected at least {rank + more} dimensions")


def window(
    function: str,
    x: Array,
    rank: int,
    kernel_size: Any,
    stride: Any,
    dilation: Any,
    padding_name: str,
    padding: Any,
    ceil_mode: bool = False,
    is_pool: bool = False,
    in_chunks: bool = False,
) -> Sliding:
    """A window over the last `rank` axes of `x`; the axes before them are the batch, for pools a batch and channels."""
    misfits, options = Misfits(function), (kernel_size, stride, dilation, padding_name, padding, ceil_mode)
    leading, sizes = x.shape[: max(x.ndim - rank, 0)], x.shape[max(x.ndim - rank, 0) :]
    if is_pool:
        misfits.attempt(check_rank, "x", x, rank, "NC")
        sizes = (0,) * rank if misfits.texts else sizes  # nothing is said of windows over other axes
    return sliding(function, leading, sizes, x.dtype, *options, misfits, in_chunks)


def sliding(
    function: str,
    leading: Sequence[int],
    sizes: Sequence[int],
    dtype: np.dtype[Any],
    kernel_size: Any,
    stride: Any,
    dilation: Any,
    padding_name: str,
    padding: Any,
    ceil_mode: bool = False,
    misfits: Misfits | None = None,
    in_chunks: bool = False,
) -> Sliding:
    """A window over axes of the given sizes, which follow the leading ones; `misfits` are told with what is found."""
    rank, misfits = len(sizes), misfits or Misfits(function)
    kernel = misfits.attempt(as_ints, "kernel_size", kernel_size, rank, 1)
    strides = kernel if stride is None else misfits.attempt(as_ints, "stride", stride, rank, 1)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    pads, axes = misfits.attempt(as_padding, padding_name, padding, rank), list[Axis]()
    if None not in (kernel, strides, dilations, pads):
        places = sizes, kernel, strides, dilations, pads, BOUNDARIES[:1] * rank, True
        for i, (axis, room) in enumerate(misfits.attempt(_place_axes, *places) or ()):
            out = count_windows(axis, axis.before, room, ceil_mode)
            if out < 1 and axis.size > 0:
                misfits.say(no_room("window", i, axis))
            axes.append(drop_steps(axis._replace(out=max(out, 0))))
    misfits.refuse()
    problem = Sliding(function, tuple(leading), tuple(axes), dtype)
    check_size(function, problem.out_shape, dtype.itemsize, in_chunks)
    return problem


def combination(
    function: str,
    name: str,
    patches: Array,
    is_folded: bool,
    output_size: Any,
    kernel_size: Any,
    stride: Any,
    dilation: Any,
    padding: Any,
) -> Sliding:
    """The window that `patches (..., K, P)` were extracted with, or, `is_folded`, columns `(N, C * K, P)`."""
    misfits, shape = Misfits(function), patches.shape
    misfits.attempt(check_sequence, "output_size", output_size)
    if not is_folded:
        misfits.attempt(check_sequence, "kernel_size", kernel_size)
        misfits.attempt(check_trailing, name, patches, 2)
    given = next((size for size in (output_size, kernel_size) if _is_sequence(size)), None)
    if given is None:
        raise misfits.error()
    sizes = misfits.attempt(as_ints, "output_size", output_size, len(given), 0) if _is_sequence(output_size) else None
    if is_folded:
        kernel = misfits.attempt(as_ints, "kernel_size", kernel_size, len(given), 1)
        split = None if kernel is None else misfits.attempt(split_columns, patches, math.prod(kernel))
        shape = split or (0, 0)
    if sizes is not None:
        misfits.attempt(check_size, [*shape[:-2], *sizes], patches.itemsize)
    known = (0,) * len(given) if sizes is None else sizes  # nothing is said of windows over other axes
    options = kernel_size, stride, dilation, "padding", padding
    problem = sliding(function, shape[:-2], known, patches.dtype, *options, misfits=misfits)
    if shape[-2:] != (problem.taps, problem.positions):
        raise ValueError(
            f"{function}(): {name} has shape {shape}, expected (..., {problem.taps}, {problem.positions}): the "
            f"window has {problem.taps} elements and {problem.positions} positions over output_size {sizes}"
        )
    return problem


def split_columns(function: str, cols: Array, taps: int) -> tuple[int, ...]:
    """The shape `(N, C, K, P)` of columns; refuses what `im2col` with a kernel of `taps` elements cannot have given."""
    if cols.ndim != 3 or cols.shape[1] % taps:
        raise ValueError(
            f"{function}(): cols has shape {cols.shape}, expected (N, C * {taps}, P) for a kernel of {taps} elements"
        )
    return cols.shape[0], cols.shape[1] // taps, taps, cols.shape[2]


def as_indices(function: str, values: Array, indices: Any) -> Array:
    """Indices for `values`."""
    array = as_array(function, "indices", indices)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{function}(): indices has dtype {array.dtype}, expected integers")
    if array.shape != values.shape:
        raise ValueError(f"{function}(): indices has shape {array.shape}, expected that of values, {values.shape}")
    return array


def bad_index(function: str, indices: Array, position: int, size: Sequence[int]) -> ValueError:
    """What is wrong with the index at a flat position."""
    where = tuple(int(i) for i in np.unravel_index(position, indices.shape))
    return ValueError(
        f"{function}(): indices holds {int(indices[where])} at {where}, expected 0 or more and less than the output's "
        f"{' * '.join(map(str, size))} = {math.prod(size)}"
    )


def unpooled_size(
    function: str,
    values: Array,
    rank: int,
    kernel_size: Any,
    stride: Any,
    dilation: Any,
    padding_name: str,
    padding: Any,
    output_size: Any,
    misfits: Misfits | None = None,
) -> tuple[int, ...]:
    """Spatial size of what was pooled: the one asked for, or the least that a pool with these numbers reaches.

    `misfits` are told with what is found.
    """
    misfits, is_known = misfits or Misfits(function), values.ndim == rank + 2
    kernel = misfits.attempt(as_ints, "kernel_size", kernel_size, rank, 1)
    strides = kernel if stride is None else misfits.attempt(as_ints, "stride", stride, rank, 1)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    pooled, sizes = values.shape[2:] if is_known else (0,) * rank, None
    if output_size is not None:
        size = output_size
        if _is_sequence(size) and len(size) == rank + 2:
            if is_known and tuple(size[:2]) != values.shape[:2]:
                misfits.say(f"output_size is {size!r}, expected it to start with {values.shape[:2]}")
            size = size[2:]
        sizes = misfits.attempt(as_ints, "output_size", size, rank, 0)
    else:
        padded = misfits.attempt(as_padding, padding_name, padding, rank)
        if kernel is not None and strides is not None and dilations is not None and padded is not None:
            asked, pads = padded
            numbers = zip(pooled, kernel, strides, dilations, pads, strict=True)
            sizes = tuple(
                shapes.unpooled_size(Axis(p, *(min(n, FAR) for n in (k, s, d, *ends)), 0, 0), asked)
                for p, k, s, d, ends in numbers
            )
            if TOO_FAR in sizes:
                misfits.say(
                    f"kernel_size {kernel}, stride {strides}, dilation {dilations} and {padding_name} {padding!r} give "
                    "an output of more than memory can address"
                )
            elif any(n < 1 for n, p in zip(sizes, pooled, strict=True) if p):
                misfits.say(f"{padding_name} is {padding!r}, which leaves the output a size of {sizes}")
    if misfits.texts or sizes is None:
        raise misfits.error()
    check_size(function, [*values.shape[:2], *sizes], values.itemsize)
    return sizes
