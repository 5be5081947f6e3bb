"""A step of a filter, in numbers: one or two passes over an array, or windows over all of its axes.

An array is seen as lines along one axis, rows of lines along another, and outer axes. The elements of a line may be
groups, `hop` elements that lie side by side: the colours of a pixel, or all that the axes behind this one hold.

Passes filter across the rows first, then along the lines; either may have a kernel of 1. Windows have taps over all
axes. Lines are copied into a block in the workspace, converted and padded, unless the pass across can read them where
they lie.
"""

from typing import NamedTuple

from ..jit import plain
from ..shapes import words_of
from ..simd.taps import ROWS

# How terms are combined. Sums: by fused multiply-adds; or rounded as C does, one by one, or by pairs of elements.
# Extrema: of elements as they are, of those to which weights are added, or where no element is a NaN.
FUSED, ROUNDED, PAIRS, DIFFERENCES, LARGEST, SMALLEST, RAISED, LOWERED, LARGER, SMALLER = range(10)

_BLOCK = 256 << 10  # bytes of a block: half of a small L2 cache
_ONE_LINE = 32 << 10  # bytes of a block that has one line
_LEAST = 256  # bytes of a line in a block, at least
_BAND = 32  # rows of outputs at a time, of which those before and after are read again
ROW_BYTES = 64 << 10  # bytes of a line that is read where it lies and then padded
_SUMMED = 8  # neighbours that a long mean adds up at a time, about
_CACHE_LINE = 64
_EPSILON = 2.0**-52  # of float64
LINES = ROWS + 2  # lines beside the block: between the two passes, before results are converted, and of padding


class Side(NamedTuple):
    """One axis. Steps are in bytes, along a line those from element to element."""

    size: int
    x_step: int
    out_step: int
    kernel: int
    before: int
    boundary: int


class Blocks(NamedTuple):
    """How a step is cut. `pitch` and what follows it are bytes."""

    band: int  # rows of outputs
    panel: int  # groups along a line
    bands: int
    panels: int
    items: int  # blocks in all
    rows: int  # lines that are read for a band, for each tap over the outer axes
    pitch: int  # from line to line
    table: int  # where the addresses of lines begin, in a thread's workspace
    lines: int  # where `LINES` lines begin
    lead: int  # before each line, so that results lie where vectors do
    workspace: int  # for each thread


class Step(NamedTuple):
    """All of a step but the outer axes, which follow it, and the offsets of taps, which follow those."""

    is_folded: int  # passes combine neighbours; else the terms of taps
    x_format: int
    out_format: int
    order_across: int
    order_along: int
    columns: int  # of taps, where rows of results are made together; 0: they are made one by one
    heights: int  # where the heights of columns begin among the numbers
    more: int  # taps that are in no column
    together: int  # where the offsets of what rows together meet begin: of columns and further taps, or of lines
    settled_across: int  # where the offsets begin by which sums are settled, 0: they are not
    settled_along: int
    is_window: int
    is_direct: int  # the pass across reads lines where they lie
    is_plain: int  # results have the type that is computed with, and lie side by side
    is_mean: int  # sums of terms are divided
    rounded: int  # bytes of the dtype that is rounded to between two passes, 0: none
    outers: int
    depth: int  # taps over the outer axes
    taps_across: int  # terms; in a window: all of its taps
    taps_along: int  # of a mean: how many neighbours are summed first
    hop: int  # elements of a group
    across: Side
    along: Side
    blocks: Blocks


SIDE_FIELDS, STEP_FIELDS = words_of(Side), words_of(Step)


@plain
def round_up(number, unit):
    """The next multiple of a unit."""
    return -(-number // unit) * unit


@plain
def cut(is_folded, across, along, hop, itemsize, depth, outer, is_window, is_direct, is_in_place):
    """How a step over `outer` places of the outer axes is cut."""
    rest, group = across.kernel - 1, hop * itemsize
    is_lines = across.kernel == 1 and not is_window  # each line is filtered by itself
    band, panel = min(across.size, _BAND), along.size
    if is_folded and not is_lines:
        band = min(across.size, max(_BAND, 2 * rest))
    if is_in_place and not is_lines:  # all rows are read before the first is overwritten
        band = across.size
    if is_lines:
        if not is_in_place:
            panel = max(max(_ONE_LINE, 4 * (along.kernel - 1) * group) // group, 1)
    elif not is_direct or along.kernel == 1:
        most = _BLOCK // (depth * (band + rest))
        most = max(most, _LEAST, 4 * (along.kernel - 1) * group) // group
        panel = max(most - along.kernel + 1, 1)
    panel = min(panel, along.size)
    bands, panels = -(-across.size // band), -(-along.size // panel)
    panel = -(-along.size // panels)
    rows = 1 if is_lines else band + rest
    padding = along.before * group
    lead = round_up(padding, _CACHE_LINE) - padding
    pitch = round_up(lead + (panel + along.kernel - 1) * group, _CACHE_LINE) + _CACHE_LINE
    if pitch // _CACHE_LINE % 2 == 0:  # lines apart by powers of two would share few places of a cache
        pitch += _CACHE_LINE
    table = 0 if is_direct else depth * rows * pitch
    entries = across.kernel + ROWS if is_direct else along.kernel if is_folded else 0
    lines = round_up(table + 16 * entries, _CACHE_LINE)
    workspace = lines + LINES * pitch + 2 * _CACHE_LINE  # vectors beyond the last line are read, and left out
    return Blocks(band, panel, bands, panels, outer * bands * panels, rows, pitch, table, lines, lead, workspace)


@plain
def scaled(number):
    """A positive integer over the smallest power of two that is as large."""
    scale = 1
    while scale < number:
        scale *= 2
    return number / scale


@plain
def power(base, exponent):
    """Of integers."""
    product = 1
    for _ in range(exponent):
        product *= base
    return product


@plain
def count_levels(kernel):
    """How many sums the terms of a long mean along a line go through, of eight or fewer each if lines are left."""
    levels = 2
    while levels <= ROWS and power(_SUMMED, levels) <= kernel:
        levels += 1
    return levels


@plain
def is_paired(order):
    """Whether a term takes two elements."""
    return order == PAIRS or order == DIFFERENCES


@plain
def shares_lines(order):
    """Whether rows of results may be made together, `ROWS` at a time."""
    return order == FUSED or order == LARGEST or order == SMALLEST or is_paired(order)


@plain
def order_of(weights, first, kernel):
    """How SciPy adds up the terms of a sum along an axis, whose weights begin at `first`."""
    symmetric = antisymmetric = kernel % 2 == 1
    for i in range(kernel // 2):
        left, right = weights[first + i], weights[first + kernel - 1 - i]
        symmetric = symmetric and abs(left - right) <= _EPSILON
        antisymmetric = antisymmetric and abs(left + right) <= _EPSILON
    return PAIRS if symmetric else DIFFERENCES if antisymmetric else ROUNDED


@plain
def count_taps(order, kernel):
    """Terms of a sum."""
    return 1 + kernel // 2 if is_paired(order) else kernel


@plain
def tap_of(order, kernel, term, second):
    """The tap that a term of a sum takes, or the second tap of a pair.

    The order of SciPy's sums: the last tap is the first term; of pairs it is the middle one, by itself.
    """
    if order == ROUNDED:
        return term - 1 if term > 0 else kernel - 1
    if not is_paired(order):
        return term
    if term == 0:
        return kernel // 2
    return kernel - term if second else term - 1
