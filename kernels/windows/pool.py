"""Pools over a window of any rank. The window covers every axis of the array, those that are not pooled with size 1."""

from ..jit import entry, kernel
from ..strided import convert, item_size, load, mean, store, zero
from ..window import (
    axes_of_windows,
    count_positions,
    load_axis,
    load_windows,
    window_element,
)


@entry
def extremum(x, out, indices, lowest, numbers, smallest, with_indices):
    """The largest element of each window, or the `smallest`, and its index: the first NaN, else the first of equals.

    A window of padding only has the value `lowest` and the index -1. `out` and `indices` are contiguous.
    """
    windows = load_windows(numbers.data)
    axes = axes_of_windows(numbers.data, windows)
    positions, taps = count_positions(axes)
    item_bytes = item_size(x)
    for position in range(positions):
        best, best_index = load(lowest, 0), -1
        for tap in range(taps):
            offset, index = window_element(x.strides, axes, windows.trailing, position, tap)
            if index < 0:
                continue
            value = convert(out, load(x, offset // item_bytes))
            if best_index < 0 or is_better(value, best, smallest):
                best, best_index = value, index
        store(out, position, best)
        if with_indices:
            indices.data[position] = best_index


@kernel
def is_better(value, best, smallest):
    """Whether a value comes before the best so far: a NaN before all but another."""
    if best != best:
        return False
    return value < best or value != value if smallest else value > best or value != value


@entry
def average(x, out, numbers, include_padding, empty_is_zero, divisor):
    """Mean of each window over its elements of the input, with `include_padding` over those of the padding, too.

    The mean of no elements is 0 where `empty_is_zero`, else NaN. A `divisor` that is not 0 stands for any count.
    """
    windows = load_windows(numbers.data)
    axes = axes_of_windows(numbers.data, windows)
    positions, taps = count_positions(axes)
    item_bytes = item_size(x)
    for position in range(positions):
        total, count = zero(out), 0
        for tap in range(taps):
            offset, index = window_element(x.strides, axes, windows.trailing, position, tap)
            if index >= 0:
                total = convert(out, total + convert(out, load(x, offset // item_bytes)))
                count += 1
        if include_padding:
            count = count_padded(axes, position)
        if divisor != 0:
            count = divisor
        if count == 0 and empty_is_zero:
            store(out, position, zero(out))
        else:
            store(out, position, mean(out, total, count))


@kernel
def count_padded(axes, position):
    """Taps of a window in the input or its padding: inside `[-before, size + after)` on every axis."""
    count = 1
    for a in range(axes.rank - 1, -1, -1):
        axis = load_axis(axes, a)
        position, p = divmod(position, axis.out)
        count *= count_padded_axis(axis, p)
    return count


@kernel
def count_padded_axis(axis, p):
    """Taps of window `p` of one axis in the input or its padding."""
    room = axis.size + axis.after + axis.before - 1 - p * axis.stride  # a window starts inside, at `-before` or later
    if room >= (axis.kernel - 1) * axis.dilation:
        return axis.kernel
    return room // axis.dilation + 1
