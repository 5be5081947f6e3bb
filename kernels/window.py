"""Sizes, padding and boundary rules of a sliding window, as the kernels see them."""

from typing import NamedTuple

import numpy as np

from .jit import kernel, plain
from .strided import load_tuple

CONSTANT, EDGE, REFLECT, SYMMETRIC, WRAP = range(5)
BOUNDARIES = {"constant": CONSTANT, "edge": EDGE, "reflect": REFLECT, "symmetric": SYMMETRIC, "wrap": WRAP}


class Call(NamedTuple):
    """What a call is besides its spatial axes. `channels` and `outputs` are those of one group."""

    batch: int
    groups: int
    channels: int
    outputs: int
    rank: int
    flip: int  # 1: the kernel runs backwards over every spatial axis, a convolution proper
    has_bias: int
    activation: int
    option: int  # what one operation needs beyond the others


class Axis(NamedTuple):
    """One spatial axis: output `o` and tap `k` meet at input `o * stride + k * dilation - before`."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    boundary: int
    out: int


HUGE = 1 << 20  # elements: plans cut what is larger than any workspace, so that 64 bits hold their products

CALL_FIELDS, AXIS_FIELDS = len(Call._fields), len(Axis._fields)


def pack_numbers(call, axes, words=0):
    """The numbers of a call as one int64 array, a `Call`, then an `Axis` for each spatial axis, in room for `words`."""
    fields = [*call, *(number for axis in axes for number in axis)]
    numbers = np.zeros(max(words, len(fields)), dtype=np.int64)
    numbers[: len(fields)] = fields
    return numbers


@kernel
def load_call(numbers):
    return load_tuple(numbers, 0, Call)


@kernel
def load_axis(numbers, i):
    return load_tuple(numbers, CALL_FIELDS + i * AXIS_FIELDS, Axis)


@kernel
def load_axes(numbers, at):
    """Three axes that begin at a number."""
    return (
        load_tuple(numbers, at, Axis),
        load_tuple(numbers, at + AXIS_FIELDS, Axis),
        load_tuple(numbers, at + 2 * AXIS_FIELDS, Axis),
    )


@plain
def write_tuple(numbers, at, fields):
    """Write what `load_tuple` reads; where the next one goes."""
    for i in range(len(fields)):
        numbers[at + i] = fields[i]
    return at + len(fields)


@plain
def is_padded(a0, a1, a2):
    return a0.before + a0.after + a1.before + a1.after + a2.before + a2.after > 0


@kernel
def real_range(i, taps, dilation, size):
    """Which taps meet an input element, not padding, in a window that starts at element `i`: from, to."""
    if i >= 0 and i + (taps - 1) * dilation < size:
        return 0, taps
    first = max(0, -(i // dilation))
    return first, max(first, min(taps, -((i - size) // dilation)))


@kernel
def real_taps(axis, p):
    """`real_range` at output `p`."""
    return real_range(p * axis.stride - axis.before, axis.kernel, axis.dilation, axis.size)


@plain
def whole_windows(axis, first, count):
    """Which of `count` outputs from `first` on have all taps in the input: from, to."""
    low = -(-axis.before // axis.stride)
    high = (axis.size + axis.before - (axis.kernel - 1) * axis.dilation - 1) // axis.stride + 1
    low = min(max(low - first, 0), count)
    return low, max(min(high - first, count), low)


@plain
def even_part(count, most, unit=1):
    """The largest part of `count`, `most` at most, that splits it evenly, rounded up to whole units."""
    if most >= count:
        return count
    most = max(most // unit * unit, 1)
    part = -(-count // -(-count // most))
    return min(-(-part // unit) * unit, count)


@kernel
def source_index(i, size, boundary):
    """Where padded coordinate `i` (0: the first real element) is read from; -1: from nowhere, it is the fill value.

    A pad wider than the axis repeats the rule, as `numpy.pad` does.
    """
    if 0 <= i < size:
        return i
    if boundary == CONSTANT:
        return -1
    if boundary == EDGE or size == 1:
        return 0 if i < 0 else size - 1
    if boundary == WRAP:
        return i % size
    if boundary == SYMMETRIC:
        i %= 2 * size
        return i if i < size else 2 * size - 1 - i
    i %= 2 * size - 2  # REFLECT
    return i if i < size else 2 * size - 2 - i


@kernel
def count_positions(call, numbers):
    """Output elements, and taps, of a window over all axes."""
    positions = taps = 1
    for a in range(call.rank):
        axis = load_axis(numbers, a)
        positions *= axis.out
        taps *= axis.kernel
    return positions, taps


@kernel
def window_element(strides, numbers, call, position, tap):
    """Offset of the element that a tap meets, and its flat index over the last `call.option` axes; -1: padding."""
    offset, index, extent = 0, 0, 1
    for a in range(call.rank - 1, -1, -1):
        axis = load_axis(numbers, a)
        position, p = divmod(position, axis.out)
        tap, k = divmod(tap, axis.kernel)
        i = p * axis.stride + k * axis.dilation - axis.before
        if i < 0 or i >= axis.size:
            return 0, -1
        offset += i * strides[a]
        if a >= call.rank - call.option:
            index += i * extent
            extent *= axis.size
    return offset, index


@kernel
def spatial_offset(strides, numbers, call, position, leading):
    """Offset, in the unit of the strides, of the output at a flat position; `leading` strides come before the axes'."""
    offset = 0
    for a in range(call.rank - 1, -1, -1):
        position, p = divmod(position, load_axis(numbers, a).out)
        offset += p * strides[leading + a]
    return offset


@kernel
def count_plane(numbers, call):
    plane = 1
    for a in range(call.rank - call.option, call.rank):
        plane *= load_axis(numbers, a).out
    return plane
