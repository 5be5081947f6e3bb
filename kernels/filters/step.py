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

SUM, MEAN, MAXIMUM, MINIMUM = range(4)
# How sums are rounded: by fused multiply-adds; or as C does, one by one, or by pairs of elements.
FUSED, ROUNDED, PAIRS, DIFFERENCES = range(4)

_BLOCK = 256 << 10  # bytes of a block: half of a small L2 cache
_ONE_LINE = 16 << 10  # bytes of a block that has one line: half of an L1 cache
_LEAST = 256  # bytes of a line in a block, at least
_BAND = 32  # rows of outputs at a time, of which those before and after are read again
ROW_BYTES = 64 << 10  # bytes of a line that is read where it lies and then padded
_CACHE_LINE = 64
CHUNK = 512  # bytes of lines that are folded at a time, so that all rows of them lie in L1
LINES = 3  # lines beside the block: between the two passes, before results are converted, and of padding


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
    sums: int  # where partial sums of means begin
    workspace: int  # for each thread


class Step(NamedTuple):
    """All of a step but the outer axes, which follow it, and the offsets of taps, which follow those."""

    kind: int
    x_format: int
    out_format: int
    order_across: int
    order_along: int
    is_window: int
    is_direct: int  # the pass across reads lines where they lie
    is_plain: int  # results have the type that is computed with, and lie side by side
    rounded: int  # bytes of the dtype that is rounded to between two passes, 0: none
    outers: int
    depth: int  # taps over the outer axes
    taps_across: int  # in a window: all of them
    taps_along: int
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
def cut(kind, across, along, hop, itemsize, depth, outer, is_window, is_direct, is_in_place):
    """How a step over `outer` places of the outer axes is cut."""
    rest, group = across.kernel - 1, hop * itemsize
    is_lines = across.kernel == 1 and not is_window  # each line is filtered by itself
    band, panel = min(across.size, _BAND), along.size
    if kind != SUM and not is_window:
        band = min(across.size, max(_BAND, 2 * rest))
    if is_in_place and not is_lines:  # all rows are read before the first is overwritten
        band = across.size
    if is_lines:
        if not is_in_place:
            panel = max(max(_ONE_LINE, 4 * (along.kernel - 1) * group) // group, 1)
    elif not is_direct or along.kernel == 1:
        most = max(_BLOCK // (depth * (band + rest)), _LEAST, 4 * (along.kernel - 1) * group) // group
        panel = max(most - along.kernel + 1, 1)
    panel = min(panel, along.size)
    bands, panels = -(-across.size // band), -(-along.size // panel)
    panel = -(-along.size // panels)
    rows = 1 if is_lines else band + rest
    pitch = round_up((panel + along.kernel - 1) * group, _CACHE_LINE) + _CACHE_LINE
    if pitch // _CACHE_LINE % 2 == 0:  # lines apart by powers of two would share few places of a cache
        pitch += _CACHE_LINE
    table = 0 if is_direct else depth * rows * pitch
    lines = round_up(table + (16 * across.kernel if is_direct else 0), _CACHE_LINE)
    sums = lines + LINES * pitch
    workspace = sums
    if kind == MEAN:
        workspace += max(rows * CHUNK, pitch)
    return Blocks(band, panel, bands, panels, outer * bands * panels, rows, pitch, table, lines, sums, workspace)


@plain
def count_taps(order, kernel):
    """Terms of a sum."""
    return 1 + kernel // 2 if order >= PAIRS else kernel


@plain
def tap_of(order, kernel, term, second):
    """The tap that a term of a sum takes, or the second tap of a pair.

    The order of SciPy's sums: the last tap is the first term; of pairs it is the middle one, by itself.
    """
    if order == FUSED:
        return term
    if order == ROUNDED:
        return term - 1 if term > 0 else kernel - 1
    if term == 0:
        return kernel // 2
    return kernel - term if second else term - 1
