"""One call's numbers, checked and frozen: every argument check of the package and every message stands here.

A message names the function, the argument, what came and what is expected. Checks run before any memory is taken.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
ACTIVATIONS = (None, "relu", "relu6", "silu", "gelu", "tanh", "sigmoid")
ALGORITHMS = ("auto", "direct", "im2col", "winograd", "fft")
_FLOATING = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
_INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = frozenset(_INTEGERS + _FLOATING)
_LARGEST = 2**62  # sizes beyond it could overflow the kernels' 64-bit arithmetic
_DIFFERENCES = 1 << 18  # between places in an array, that are looked at one by one
AXES = {1: "W", 2: "HW", 3: "DHW"}
_HOST_COPY = {
    "dask": "call its .compute() first",
    "cupy": "copy it to the host with .get() first",
    "torch": "pass x.detach().cpu().numpy()",
    "tensorflow": "pass x.numpy()",
}


class Axis(NamedTuple):
    """One spatial axis: output `o` and tap `k` meet at input `o * stride + k * dilation - before`."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    boundary: str
    out: int


class Problem(NamedTuple):
    """A convolution, pool or patch extraction without its arrays. Hashable: it is the key of what is prepared once."""

    function: str
    batch: int
    groups: int
    channels: int  # of one group
    outputs: int  # of one group
    axes: tuple[Axis, ...]
    dtype: np.dtype[Any]
    flip: bool = False
    has_bias: bool = False
    activation: str | None = None
    algorithm: str = "auto"

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of a convolution's result."""
        return (self.batch, self.groups * self.outputs, *(axis.out for axis in self.axes))

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
        return math.prod(self.window)


# ---- arrays


def as_array(function: str, name: str, value: Any) -> Array:
    """`value` as a plain ndarray of a type that the kernels know, in native byte order."""
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
            "float64, complex64 or complex128"
        )
    array: Array = value
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


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


def check_rank(function: str, name: str, array: Array, rank: int, leading: str) -> None:
    """Refuse an array that has not its leading axes and `rank` spatial ones."""
    if array.ndim != len(leading) + rank:
        raise ValueError(f"{function}(): {name} has shape {array.shape}, expected {dimensions(rank, leading)}")


def dimensions(rank: int, leading: str) -> str:
    """What an array with leading axes and `rank` spatial ones has."""
    letters = ", ".join([*leading, *AXES.get(rank, [f"{leading[0]}{i}" for i in range(rank)])])
    return f"{len(leading) + rank} dimensions ({letters})"


def check_out(
    function: str, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], x: Array, w: Array, bias: Array | None
) -> None:
    """Refuse an `out` that cannot take the result whole."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{function}(): out is a {type(out).__name__}, expected a NumPy array")
    if out.dtype != dtype:
        raise TypeError(f"{function}(): out has dtype {out.dtype}, expected {dtype}")
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


def check_size(function: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse a result that no address space holds; what is merely too much for this machine is NumPy's MemoryError.

    It comes here, before a kernel is compiled: memory that is asked for and not written costs nothing.
    """
    size = math.prod(shape) * itemsize
    if size >= _LARGEST:
        raise ValueError(f"{function}(): the result would have shape {tuple(shape)}, more than memory can address")
    np.empty(size, dtype=np.uint8)


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
    return aligned(bias.astype(dtype, copy=False))


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


def as_padding(
    function: str,
    name: str,
    value: Any,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    flip: bool,
) -> tuple[tuple[int, int], ...]:
    """`(before, after)` of every spatial axis."""
    rank = len(sizes)
    if isinstance(value, str):
        if value == "valid":
            return ((0, 0),) * rank
        if value == "full":
            return tuple((d * (k - 1),) * 2 for k, d in zip(kernel, dilation, strict=True))
        if value == "same":
            return tuple(map(_same, sizes, kernel, stride, dilation, [flip] * rank))
        raise ValueError(f"{function}(): {name} is {value!r}, expected 'valid', 'same', 'full' or numbers")
    if not _is_sequence(value):
        return ((as_int(function, name, value, 0),) * 2,) * rank
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
    return tuple(pairs)


def _same(size: int, kernel: int, stride: int, dilation: int, flip: bool) -> tuple[int, int]:
    out = -(-size // stride)
    total = max((out - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    less, more = total // 2, total - total // 2
    return (more, less) if flip and kernel % 2 == 0 else (less, more)


def make_axes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[tuple[int, int]],
    boundary: Sequence[str],
    out_size: Callable[..., int],
) -> tuple[Axis, ...]:
    """The spatial axes, with `out_size(axis, size, kernel, stride, dilation, before, after)` outputs each."""
    axes = []
    for i, (size, k, s, d, pads, name) in enumerate(
        zip(sizes, kernel, stride, dilation, padding, boundary, strict=True)
    ):
        out = out_size(i, size, k, s, d, *pads)
        # A step that is never taken may have any length: 1 keeps the kernels' numbers small.
        before, after = pads
        axes.append(Axis(size, k, s if out > 1 else 1, d if k > 1 else 1, before, after, name, out))
    return tuple(axes)


def span(function: str, axis: int, size: int, kernel: int, dilation: int, before: int, after: int) -> int:
    """How far a window can move: the padded size less the dilated kernel."""
    if max(before, after, size + before + after, dilation * (kernel - 1)) >= _LARGEST:
        raise ValueError(
            f"{function}(): axis {axis} has size {size}, padding {before} + {after} and kernel "
            f"{dilation} * ({kernel} - 1) + 1, more than memory can address"
        )
    return size + before + after - (dilation * (kernel - 1) + 1)


_PLAIN = {int, bool, str, type(None)}


def key_of(options: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What tells a call's options from others, None for objects whose value may change: 1, 1.0 and True are equal."""
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
) -> Problem:
    """The problem of a correlation, or of a convolution (`flip`); `rank` None takes the rank from `w`."""
    if rank is None:
        rank = w.ndim - 2
        if rank < 1:
            raise ValueError(
                f"{function}(): w has shape {w.shape}, expected at least 3 dimensions (O, C/groups, K0, ...)"
            )
    check_rank(function, "w", w, rank, "OI")
    check_rank(function, "x", x, rank, "NC")
    groups = as_int(function, "groups", groups, 1)
    outputs, channels = w.shape[:2]
    if channels * groups != x.shape[1]:
        raise ValueError(
            f"{function}(): w has {channels} input channels for each of {groups} groups, {channels * groups} in all, "
            f"and x has {x.shape[1]}; x has shape {x.shape}, w has shape {w.shape}"
        )
    if outputs % groups:
        raise ValueError(f"{function}(): w has {outputs} output channels, which {groups} groups cannot share evenly")
    sizes, kernel = x.shape[2:], w.shape[2:]
    if 0 in kernel:
        raise ValueError(f"{function}(): w has shape {w.shape}, expected no empty spatial axis")
    strides = as_ints(function, "stride", stride, rank, 1)
    dilations = as_ints(function, "dilation", dilation, rank, 1)
    boundaries = as_names(function, "boundary", boundary, rank, BOUNDARIES)
    check_name(function, "activation", activation, ACTIVATIONS)
    check_name(function, "algorithm", algorithm, ALGORITHMS)
    check_activation(function, activation, dtype)
    padding = as_padding(function, "padding_mode", padding_mode, sizes, kernel, strides, dilations, flip)
    empty = 0 in sizes

    def out_size(axis: int, size: int, k: int, s: int, d: int, before: int, after: int) -> int:
        room = span(function, axis, size, k, d, before, after)
        if empty:
            return 0
        if room < 0:
            raise ValueError(
                f"{function}(): the kernel is larger than the padded input on spatial axis {axis}: "
                f"dilation {d} * (kernel {k} - 1) + 1 = {d * (k - 1) + 1} > {size} + padding {before} + {after} = "
                f"{size + before + after}"
            )
        return room // s + 1

    axes = make_axes(sizes, kernel, strides, dilations, padding, boundaries, out_size)
    problem = Problem(
        function, x.shape[0], groups, channels, outputs // groups, axes, dtype, flip, has_bias, activation, algorithm
    )
    check_size(function, problem.out_shape, dtype.itemsize)
    return problem


def check_activation(function: str, activation: str | None, dtype: np.dtype[Any]) -> None:
    """Refuse an activation that has no meaning for a dtype."""
    floating = dtype.kind == "f" or dtype.name == "bfloat16"
    if activation in ("relu", "relu6"):
        if not (floating or dtype.kind in "iu"):
            raise TypeError(f"{function}(): activation {activation!r} takes real numbers, the result has dtype {dtype}")
    elif activation is not None and not floating:
        raise TypeError(f"{function}(): activation {activation!r} takes floating point, the result has dtype {dtype}")


def check_ordered(function: str, x: Array) -> None:
    """Refuse complex numbers where the largest of a window is asked for."""
    if x.dtype.kind == "c":
        raise TypeError(f"{function}(): x has dtype {x.dtype}, which has no order; expected a real type")


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
) -> Problem:
    """A window over the last `rank` axes of `x`; the axes before them are the batch."""
    return sliding(
        function,
        x.shape[: x.ndim - rank],
        x.shape[x.ndim - rank :],
        x.dtype,
        kernel_size,
        stride,
        dilation,
        padding_name,
        padding,
        ceil_mode,
    )


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
) -> Problem:
    """A window over axes of the given sizes, which follow the leading ones."""
    rank = len(sizes)
    kernel = as_ints(function, "kernel_size", kernel_size, rank, 1)
    strides = kernel if stride is None else as_ints(function, "stride", stride, rank, 1)
    dilations = as_ints(function, "dilation", dilation, rank, 1)
    pads = as_padding(function, padding_name, padding, sizes, kernel, strides, dilations, flip=True)

    def out_size(axis: int, size: int, k: int, s: int, d: int, before: int, after: int) -> int:
        room = span(function, axis, size, k, d, before, after)
        out = room // s + 1
        if ceil_mode and room % s and out * s < size + before:  # a last window may hang over the end, PyTorch's rule
            out += 1
        if out < 1 and size > 0:
            raise ValueError(
                f"{function}(): the window is larger than the padded input on spatial axis {axis}: "
                f"dilation {d} * (kernel {k} - 1) + 1 = {d * (k - 1) + 1} > {size} + padding {before} + {after} = "
                f"{size + before + after}"
            )
        return max(out, 0)

    axes = make_axes(sizes, kernel, strides, dilations, pads, ("constant",) * rank, out_size)
    batch = math.prod(leading)
    check_size(function, [batch, *(axis.out for axis in axes)], dtype.itemsize)
    return Problem(function, batch, 1, 1, 1, axes, dtype)


def combination(
    function: str,
    name: str,
    patches: Array,
    output_size: Any,
    kernel_size: Any,
    stride: Any,
    dilation: Any,
    padding: Any,
) -> tuple[Problem, tuple[int, ...]]:
    """The window that `patches (..., K, P)` were extracted with, and their leading axes."""
    check_sequence(function, "output_size", output_size)
    check_sequence(function, "kernel_size", kernel_size)
    check_trailing(function, name, patches, 2)
    sizes = as_ints(function, "output_size", output_size, len(output_size), 0)
    leading = patches.shape[:-2]
    check_size(function, [*leading, *sizes], patches.itemsize)
    problem = sliding(function, leading, sizes, patches.dtype, kernel_size, stride, dilation, "padding", padding)
    if patches.shape[-2:] != (problem.taps, problem.positions):
        raise ValueError(
            f"{function}(): {name} has shape {patches.shape}, expected (..., {problem.taps}, {problem.positions}): the "
            f"window has {problem.taps} elements and {problem.positions} positions over output_size {sizes}"
        )
    return problem, leading


def check_columns(function: str, cols: Array, taps: int) -> None:
    """Refuse what `im2col` with a kernel of `taps` elements cannot have given."""
    if cols.ndim != 3 or cols.shape[1] % taps:
        raise ValueError(
            f"{function}(): cols has shape {cols.shape}, expected (N, C * {taps}, P) for a kernel of {taps} elements"
        )


def as_indices(function: str, values: Array, indices: Any) -> Array:
    """Indices for `values`, as int64."""
    indices = as_array(function, "indices", indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{function}(): indices has dtype {indices.dtype}, expected integers")
    if indices.shape != values.shape:
        raise ValueError(f"{function}(): indices has shape {indices.shape}, expected that of values, {values.shape}")
    flat: Array = indices.astype(np.int64, copy=False)
    return flat


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
    padding_spec: Any,
    output_size: Any,
) -> tuple[int, ...]:
    """Spatial size of what was pooled: the one asked for, or the least that a pool with these numbers reaches."""
    kernel = as_ints(function, "kernel_size", kernel_size, rank, 1)
    strides = kernel if stride is None else as_ints(function, "stride", stride, rank, 1)
    dilations = as_ints(function, "dilation", dilation, rank, 1)
    pooled = values.shape[2:]
    full = [(p - 1) * s + d * (k - 1) + 1 for p, s, d, k in zip(pooled, strides, dilations, kernel, strict=True)]
    if output_size is not None:
        size = output_size
        if _is_sequence(size) and len(size) == rank + 2:
            if tuple(size[:2]) != values.shape[:2]:
                raise ValueError(f"{function}(): output_size is {size!r}, expected it to start with {values.shape[:2]}")
            size = size[2:]
        sizes = as_ints(function, "output_size", size, rank, 0)
    elif isinstance(padding_spec, str) and padding_spec == "same":
        sizes = tuple(p * s for p, s in zip(pooled, strides, strict=True))
    else:
        pads = as_padding(function, "padding_spec", padding_spec, full, kernel, strides, dilations, flip=True)
        sizes = tuple(n - before - after if p else 0 for n, p, (before, after) in zip(full, pooled, pads, strict=True))
        if any(n < 1 for n, p in zip(sizes, pooled, strict=True) if p):
            raise ValueError(
                f"{function}(): padding_spec is {padding_spec!r}, which leaves the output a size of {sizes}"
            )
    check_size(function, [*values.shape[:2], *sizes], values.itemsize)
    return sizes
