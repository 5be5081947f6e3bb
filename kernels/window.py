"""Sizes, padding and boundary rules of a sliding window, as the kernels see them."""

from typing import Any, NamedTuple

from .jit import kernel, overload, plain
from .shapes import (
    AXIS_FIELDS,
    CALL_FIELDS,
    CONSTANT,
    EDGE,
    RULES,
    SYMMETRIC,
    WINDOWS_FIELDS,
    WRAP,
    Axis,
    Call,
    Windows,
    shared_window,
)
from .strided import load_tuple, store_tuple

for _rule in RULES:
    plain(_rule)


class Axes(NamedTuple):
    """Any number of axes in memory, as `load_axis` finds them."""

    numbers: Any  # a pointer to int64
    begin: int
    rank: int


@kernel
def load_call(numbers):
    return load_tuple(numbers, 0, Call)


@kernel
def load_windows(numbers):
    return load_tuple(numbers, 0, Windows)


@kernel
def axes_of_call(numbers, call):
    """The spatial axes; where there are fewer than three, those of size 1 come before them."""
    return Axes(numbers, CALL_FIELDS + max(3 - call.rank, 0) * AXIS_FIELDS, call.rank)


@kernel
def axes_of_windows(numbers, windows):
    return Axes(numbers, WINDOWS_FIELDS, windows.rank)


@kernel
def load_axis(axes, i):
    return load_tuple(axes.numbers, axes.begin + i * AXIS_FIELDS, Axis)


@kernel
def load_axes(numbers, at):
    """Three axes that begin at a number."""
    return (
        load_tuple(numbers, at, Axis),
        load_tuple(numbers, at + AXIS_FIELDS, Axis),
        load_tuple(numbers, at + 2 * AXIS_FIELDS, Axis),
    )


def write_tuple(numbers, at, fields):
    """Write what `load_tuple` reads: ints, and NamedTuples of them; where the next one goes."""
    for field in fields:
        if isinstance(field, tuple):
            at = write_tuple(numbers, at, field)
        else:
            numbers[at] = field
            at += 1
    return at


@overload(write_tuple)
def _write_tuple(numbers, at, fields):
    return lambda numbers, at, fields: at + store_tuple(numbers, at, fields)


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


@kernel
def phase_axis(axis, phase):
    """The axis of a phase of it, whose padding is less than none where it leaves out the input's first elements."""
    before = phase.before - phase.begin
    return Axis(axis.size, phase.taps, axis.stride, axis.dilation, before, phase.after, axis.boundary, phase.out)


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
def count_positions(axes):
    """Output elements, and taps, of a window over all axes."""
    positions = taps = 1
    for a in range(axes.rank):
        axis = load_axis(axes, a)
        positions *= axis.out
        taps *= axis.kernel
    return positions, taps


@kernel
def window_element(strides, axes, trailing, position, tap):
    """Offset of the element that a tap meets, and its flat index over the last `trailing` axes; -1: padding."""
    offset, index, extent = 0, 0, 1
    for a in range(axes.rank - 1, -1, -1):
        axis = load_axis(axes, a)
        position, p = divmod(position, axis.out)
        tap, k = divmod(tap, axis.kernel)
        i, end = p * axis.stride + k * axis.dilation - axis.before, axis.size
        if axis.stride == 0:
            begin, end = shared_window(axis, p)
            i = begin + k
        if i < 0 or i >= end:
            return 0, -1
        offset += i * strides[a]
        if a >= axes.rank - trailing:
            index += i * extent
            extent *= axis.size
    return offset, index


@kernel
def spatial_offset(strides, axes, position, leading):
    """Offset, in the unit of the strides, of the output at a flat position; `leading` strides come before the axes'."""
    offset = 0
    for a in range(axes.rank - 1, -1, -1):
        position, p = divmod(position, load_axis(axes, a).out)
        offset += p * strides[leading + a]
    return offset


@kernel
def count_plane(axes, trailing):
    """Outputs along the last axes."""
    plane = 1
    for a in range(axes.rank - trailing, axes.rank):
        plane *= load_axis(axes, a).out
    return plane
