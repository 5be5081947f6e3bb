"""Copies of sliding windows, and their adjoint. The window covers every axis of the array, leading ones with size 1."""

from ..jit import entry, kernel
from ..strided import convert, item_size, load, store, zero
from ..window import axes_of_windows, count_plane, count_positions, load_axis, load_windows, window_element


@entry
def extract(x, out, numbers):
    """Copy every window of `x (..., S*)` to a column of `out (..., K, P)`, which is contiguous; padding is 0."""
    windows = load_windows(numbers.data)
    axes = axes_of_windows(numbers.data, windows)
    positions, taps = count_positions(axes)
    plane, size = count_plane(axes, windows.trailing), item_size(x)
    for position in range(positions):
        lead, p = divmod(position, plane)
        for tap in range(taps):
            offset, index = window_element(x.strides, axes, windows.trailing, position, tap)
            store(out, (lead * taps + tap) * plane + p, load(x, offset // size) if index >= 0 else zero(x))


@entry
def combine(patches, out, numbers):
    """Adjoint of `extract`: every element of `out (..., S*)`, contiguous, is the sum of what was copied from it."""
    windows = load_windows(numbers.data)
    axes = axes_of_windows(numbers.data, windows)
    _, taps = count_positions(axes)
    elements = 1
    for a in range(axes.rank):
        elements *= load_axis(axes, a).size
    lead_rank, size = windows.rank - windows.trailing, item_size(patches)
    for element in range(elements):
        total = zero(patches)
        for tap in range(taps):
            offset, column = patch_column(patches.strides, axes, lead_rank, element, tap)
            if column >= 0:
                offset += tap * patches.strides[lead_rank] + column * patches.strides[lead_rank + 1]
                total = convert(patches, total + load(patches, offset // size))
        store(out, element, total)


@kernel
def patch_column(strides, axes, lead_rank, element, tap):
    """Offset of the leading axes, and the column in which `element` is met by `tap`; -1 where it is not."""
    column, extent, offset = 0, 1, 0
    for a in range(axes.rank - 1, -1, -1):
        axis = load_axis(axes, a)
        element, i = divmod(element, axis.size)
        if a < lead_rank:
            offset += i * strides[a]
            continue
        tap, k = divmod(tap, axis.kernel)
        p, rest = divmod(i + axis.before - k * axis.dilation, axis.stride)
        if rest or p < 0 or p >= axis.out:
            return 0, -1
        column += p * extent
        extent *= axis.out
    return offset, column
