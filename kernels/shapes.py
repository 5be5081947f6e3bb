"""A call in numbers: its names, its axes, and what follows from them. Plain Python, which needs no Numba.

The frontend runs these functions as they are; kernels, and what is called from compiled code, run them compiled:
`window` offers each of them to Numba. So a rule about padding, sizes or channels stands once, and both sides refuse the
same calls. Compiled, numbers have 64 bits: what could not be held is refused before it is multiplied or added.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# What padding holds, in `numpy.pad`'s words. An axis knows the place of a name in this tuple.
BOUNDARIES = "constant", "edge", "reflect", "symmetric", "wrap"
CONSTANT, EDGE, REFLECT, SYMMETRIC, WRAP = range(len(BOUNDARIES))

# What is applied to a sum before it is stored. A call knows the place of a name in this tuple.
ACTIVATIONS = None, "relu", "relu6", "silu", "gelu", "tanh", "sigmoid"
NONE, RELU, RELU6, SILU, GELU, TANH, SIGMOID = range(len(ACTIVATIONS))
LAST_CLAMP = RELU6  # up to this one, they hold a value between two bounds and do nothing else

# How padding is asked for: by one of these names, or by numbers.
PADDINGS = "valid", "full", "same"
VALID, FULL, SAME, GIVEN = range(len(PADDINGS) + 1)

# What filters make of the elements of a window.
SUM, MEAN, MAXIMUM, MINIMUM = range(4)

# What callers may ask for with `algorithm=`. The table of `convolution.choose` says which kernels each one is.
ALGORITHMS = "auto", "direct", "im2col", "winograd", "fft"
AUTO, DIRECT = 0, 1


class Element(NamedTuple):
    """The type that kernels compute with for arrays of a dtype."""

    itemsize: int  # bytes
    is_complex: int
    is_converted: int  # memory holds another type
    is_integer: int


# The dtypes of arrays, and the type that each is computed with where that is another one.
DTYPES = (
    *("float32", "float64", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("bool", "float16", "bfloat16"),
)
_COMPUTED = {"float16": "float32", "bfloat16": "float32", "bool": "int32"}
_COMPUTED |= {f"{sign}int{bits}": f"{sign}int32" for sign in ("", "u") for bits in (8, 16)}
_HALVES = "float16", "bfloat16"
_IN_HALVES = "bool", "int8", "uint8"  # whose every value a half holds


def compute_dtype(name: str) -> str:
    """NumPy's name of the type that a kernel computes with for arrays of dtype `name`."""
    return _COMPUTED.get(name, name)


def is_read_as(name: str, dtype: str) -> bool:
    """Whether elements of dtype `name` can be converted as they are read, with what `astype(dtype)` would give.

    Halves are computed as float32, which would keep what they do not hold.
    """
    return name == dtype or dtype not in _HALVES or name in _IN_HALVES


def read_format(name: str, dtype: str) -> str:
    """How kernels whose result has a dtype read an array of dtype `name`: as it is, or "name->compute type"."""
    compute = compute_dtype(dtype)
    return name if compute_dtype(name) == compute else f"{name}->{compute}"


def element_of(name: str) -> Element:
    """The `Element` of arrays of dtype `name`."""
    computed = np.dtype(compute_dtype(name))
    return Element(computed.itemsize, int(computed.kind == "c"), int(computed.name != name), int(computed.kind in "iu"))


class Call(NamedTuple):
    """What a convolution is besides its spatial axes. `channels` and `outputs` are those of one group."""

    batch: int
    groups: int
    channels: int
    outputs: int
    rank: int  # spatial axes
    flip: int  # 1: the kernel runs backwards over every spatial axis, a convolution proper
    has_bias: int
    activation: int
    algorithm: int  # what the caller asks for: a place in `ALGORITHMS`


class Windows(NamedTuple):
    """What a pool or an extraction of patches is besides its axes, which are all of the array's."""

    rank: int
    trailing: int  # so many of the axes, the last ones, are the window's; along the others it has the size 1
    plane: int  # elements of a plane of the result, where that is not the axes' to say


class Axis(NamedTuple):
    """One axis: output `o` and tap `k` meet at input `o * stride + k * dilation - before`.

    A stride of 0 says that windows share the axis out among themselves, as `shared_window` has it: an adaptive pool.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    boundary: int
    out: int


class Phase(NamedTuple):
    """What makes some outputs of a transposed axis: a convolution with steps of 1 of parts of input and kernel."""

    tap: int  # the first one of the kernel; others follow in steps of `tap_step`
    tap_step: int
    taps: int
    begin: int  # of the input, the elements from here to `end`
    end: int
    dilation: int
    before: int
    after: int
    first: int  # of the outputs; others follow in steps of the axis's stride
    out: int  # how many there are; 0: nothing reaches them


UNIT = Axis(size=1, kernel=1, stride=1, dilation=1, before=0, after=0, boundary=CONSTANT, out=1)
CALL_FIELDS, WINDOWS_FIELDS, AXIS_FIELDS = len(Call._fields), len(Windows._fields), len(Axis._fields)
PLAN = CALL_FIELDS + 3 * AXIS_FIELDS  # where the plan of a family begins, behind the numbers of its call

LARGEST = 1 << 62  # bytes: no array has as many
FAR = 1 << 61  # sizes, pads and reaches are less, so that 64 bits hold the sum of any three
TOO_FAR = -2 * FAR  # less than what is left of a size when pads and a reach are taken off
HUGE = 1 << 20  # elements: plans cut what is larger than any workspace, so that 64 bits hold their products

MISFIT_GROUPS, MISFIT_CHANNELS, MISFIT_OUTPUTS, MISFIT_BIAS = range(1, 5)


# ---- rules: each is compiled, too


def misfit(call: Call, channels: int, biases: int) -> int:
    """What of a convolution does not fit an input of so many channels and a bias of so many elements; 0: all fits.

    `call.outputs` counts the output channels of all groups here.
    """
    if call.groups < 1:
        return MISFIT_GROUPS
    if float(call.channels) * float(call.groups) >= FAR or call.channels * call.groups != channels:
        return MISFIT_CHANNELS
    if call.groups > 1 and call.outputs % call.groups != 0:
        return MISFIT_OUTPUTS
    return MISFIT_BIAS if call.has_bias and biases != call.outputs else 0


def pad_axis(axis: Axis, padding: int, flip: bool | int) -> tuple[int, int, int]:
    """Padding before and after an axis, and how far its window can move: less than 0 where the window does not fit.

    `TOO_FAR`: a number is below its least, or so large that 64 bits could not hold what follows.
    """
    refused = 0, 0, TOO_FAR
    if min(axis.kernel, axis.stride, axis.dilation) < 1 or axis.size >= FAR:
        return refused
    if float(axis.dilation) * float(axis.kernel - 1) >= FAR:
        return refused
    reach = axis.dilation * (axis.kernel - 1)
    before, after = axis.before, axis.after
    if padding == VALID:
        before, after = 0, 0
    elif padding == FULL:
        before, after = reach, reach
    elif padding == SAME:
        out = axis.size if axis.stride == 1 else -(-axis.size // axis.stride)
        if float(out - 1) * float(axis.stride) >= FAR:
            return refused
        total = max((out - 1) * axis.stride + reach + 1 - axis.size, 0)
        before, after = total // 2, total - total // 2
        if flip and axis.kernel % 2 == 0:
            before, after = after, before
    if min(before, after) < 0 or max(before, after) >= FAR:
        return refused
    return before, after, axis.size + before + after - reach - 1


def count_outputs(axis: Axis, room: int) -> int:
    """Outputs along an axis whose window can move so far."""
    return (room if axis.stride == 1 else room // axis.stride) + 1


def count_windows(axis: Axis, before: int, room: int, ceil_mode: bool | int) -> int:
    """The same of a pool. With `ceil_mode` a last window that begins before the end may hang over it, as PyTorch's."""
    out = count_outputs(axis, room)
    if ceil_mode:
        rest = room % axis.stride
        if rest != 0 and axis.stride - rest < axis.size + before - room:
            out += 1
    return out


def drop_steps(axis: Axis) -> Axis:
    """The axis with steps of 1 where none is taken: any length is allowed there, and kernels' numbers stay small."""
    stride, dilation = axis.stride if axis.out > 1 else 1, axis.dilation if axis.kernel > 1 else 1
    return Axis(axis.size, axis.kernel, stride, dilation, axis.before, axis.after, axis.boundary, axis.out)


def unpooled_size(axis: Axis, padding: int) -> int:
    """What was pooled to `axis.size`, at the least; `TOO_FAR` as for `pad_axis`."""
    n = axis.size
    if min(axis.kernel, axis.stride, axis.dilation) < 1:
        return TOO_FAR
    if float(axis.dilation) * float(axis.kernel - 1) + float(n) * float(axis.stride) >= FAR:
        return TOO_FAR
    if padding == SAME:
        return n * axis.stride
    size = (n - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1
    full = Axis(size, axis.kernel, axis.stride, axis.dilation, axis.before, axis.after, axis.boundary, axis.out)
    before, after, room = pad_axis(full, padding, True)
    if room == TOO_FAR:
        return TOO_FAR
    return size - before - after if n > 0 else 0


def transposed_size(axis: Axis, more: int) -> int:
    """What a transposed axis spreads `axis.out` elements over, and so many `more`; `TOO_FAR` as for `pad_axis`."""
    if min(axis.kernel, axis.stride, axis.dilation) < 1 or min(axis.before, axis.after, more) < 0:
        return TOO_FAR
    if max(axis.before, axis.after, more, axis.out) >= FAR:
        return TOO_FAR
    if float(axis.dilation) * float(axis.kernel - 1) + float(axis.out) * float(axis.stride) >= FAR:
        return TOO_FAR
    return (axis.out - 1) * axis.stride - axis.before - axis.after + axis.dilation * (axis.kernel - 1) + more + 1


def count_phases(axis: Axis) -> int:
    """How many phases a transposed axis has, some of which may be empty."""
    return min(axis.stride // math.gcd(axis.stride, axis.dilation), axis.kernel)


def phase_of(axis: Axis, tap: int) -> Phase:
    """The phase of a transposed axis that begins with a tap.

    The axis is that of the convolution whose input is made from its output: `axis.size` elements from `axis.out`. Input
    `i` reaches output `i * stride + k * dilation - before` through tap `k`. So the taps that reach an output are
    `stride / gcd(stride, dilation)` apart, and two such taps meet inputs `dilation / gcd(stride, dilation)` apart.
    """
    common = math.gcd(axis.stride, axis.dilation)
    step, dilation = axis.stride // common, axis.dilation // common
    taps = -(-(axis.kernel - tap) // step)
    # The first output is the one that the first tap and input `i` meet at, be it that there is no such input.
    i = -((tap * axis.dilation - axis.before) // axis.stride)
    first = i * axis.stride + tap * axis.dilation - axis.before
    out = max(-(-(axis.size - first) // axis.stride), 0)
    reach = (taps - 1) * dilation
    before, after = reach - i, i + out - axis.out
    begin, end = max(-before, 0), axis.out - max(-after, 0)
    if begin >= end:
        out = 0
    return Phase(tap, step, taps, begin, end, dilation, max(before, 0), max(after, 0), first, out)


def axis_of(phase: Phase) -> Axis:
    """The axis of the convolution that a phase is."""
    size = phase.end - phase.begin
    return drop_steps(Axis(size, phase.taps, 1, phase.dilation, phase.before, phase.after, CONSTANT, phase.out))


def alike(phase: Phase) -> Phase:
    """What phases have in common that have the same inputs and as many taps."""
    return phase._replace(tap=0, first=0)


def make_all(axis: Axis, phases: Sequence[Phase]) -> bool:
    """Whether phases make all outputs of a transposed axis."""
    return sum(phase.out for phase in phases) == axis.size


def widest_phase(axis: Axis, phases: Sequence[Phase]) -> Axis:
    """An axis with the most of what phases of a transposed one have."""
    taps, before = max(phase.taps for phase in phases), max(phase.before for phase in phases)
    after, out = max(phase.after for phase in phases), max(phase.out for phase in phases)
    return Axis(axis.out, taps, 1, phases[0].dilation, before, after, CONSTANT, out)


def sharing_axis(size: int, out: int) -> Axis:
    """The axis of an adaptive pool with so many outputs: one with a stride where that does the same."""
    if out == 0:
        return Axis(size, 1, 1, 1, 0, 0, CONSTANT, 0)
    if size % out == 0:
        return Axis(size, size // out, size // out, 1, 0, 0, CONSTANT, out)
    return Axis(size, min(size // out + 2, size), 0, 1, 0, 0, CONSTANT, out)


def shared_window(axis: Axis, p: int) -> tuple[int, int]:
    """Which elements an adaptive pool takes for output `p`: from, to. Windows overlap where `out` does not divide."""
    return p * axis.size // axis.out, ((p + 1) * axis.size + axis.out - 1) // axis.out


def is_addressable(elements: float, itemsize: int) -> bool:
    """Whether an array of so many elements, given as a float, can be had at all."""
    return elements * float(itemsize) < float(LARGEST)


def is_padded(a0: Axis, a1: Axis, a2: Axis) -> bool:
    """Whether any of three axes has padding."""
    return a0.before + a0.after + a1.before + a1.after + a2.before + a2.after > 0


def whole_windows(axis: Axis, first: int, count: int) -> tuple[int, int]:
    """Which of `count` outputs from `first` on have all taps in the input: from, to."""
    low = -(-axis.before // axis.stride)
    high = (axis.size + axis.before - (axis.kernel - 1) * axis.dilation - 1) // axis.stride + 1
    low = min(max(low - first, 0), count)
    return low, max(min(high - first, count), low)


def even_part(count: int, most: int, unit: int = 1) -> int:
    """The largest part of `count`, `most` at most, that splits it evenly, rounded up to whole units."""
    if most >= count:
        return count
    most = max(most // unit * unit, 1)
    part = -(-count // -(-count // most))
    return min(-(-part // unit) * unit, count)


RULES = (
    misfit, pad_axis, count_outputs, count_windows, drop_steps, unpooled_size, transposed_size, count_phases, phase_of,
    sharing_axis, shared_window, is_addressable, is_padded, whole_windows, even_part,
)  # fmt: skip


# ---- what is known before a kernel is compiled


def words_of(kind: Any) -> int:
    """How many numbers a NamedTuple of ints, and of such NamedTuples, holds."""
    return sum(1 if each is int else words_of(each) for each in map(kind.__annotations__.get, kind._fields))


def pack_numbers(call: Call | Windows, axes: Sequence[Axis], words: int = 0) -> NDArray[np.int64]:
    """What a kernel reads, as one int64 array: a `Call` or `Windows`, then its axes, in room for `words` numbers."""
    fields = [*call, *(number for axis in axes for number in axis)]
    numbers = np.zeros(max(words, len(fields)), dtype=np.int64)
    numbers[: len(fields)] = fields
    return numbers


def taps_of(axes: Sequence[Axis]) -> int:
    """Elements of a window."""
    return math.prod(axis.kernel for axis in axes)


def three_axes(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes, after so many of size 1 that they are three, if there are fewer."""
    return (UNIT,) * (3 - len(axes)) + tuple(axes)
