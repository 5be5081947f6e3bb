"""Filters of `fastconv.ndimage` called from compiled code: planned and run step by step, without the interpreter."""

from typing import NamedTuple

from ..filters.blocks import VALUES
from ..filters.layout import Lying, find_window, is_along, single
from ..filters.passes import Filtered, Manner, group_passes, room_of_passes, write_passes
from ..filters.step import FUSED, LARGEST, ROUNDED, ROWS, SIDE_FIELDS, SMALLEST, STEP_FIELDS, Side, Step, cut, order_of
from ..jit import entry, kernel
from ..shapes import CONSTANT, MAXIMUM, words_of
from ..strided import address, load_tuple
from ..window import write_tuple
from .frame import (
    AT,
    BLOCK_BYTES,
    FRAME,
    MOST_AXES,
    allocate,
    array_at,
    doubles_at,
    free,
    give_block,
    is_aligned,
    is_true,
    memory_at,
    shape_of,
    singles_at,
    take_block,
    words_at,
)


class Request(NamedTuple):
    """What a call asks for: passes over axes, or one window over all of them. It stands where a `Call` does.

    The frame's `indices` hold a `Filtered` for each pass, in the order of SciPy, or for each axis of a window; `w` has
    what lies outside, and then all weights, in float64; `fill` the first of these in the type that is computed with.
    """

    rank: int
    is_window: int
    passes: int
    kind: int
    x_format: int
    out_format: int
    compute_format: int
    itemsize: int  # bytes of an element that is computed with
    is_integer: int
    rounded: int  # bytes of what is rounded to between passes, 0: nothing is
    in_order: int  # sums are added up as SciPy does it
    commutes: int  # the order of passes makes no difference but in last bits


FILTERED_FIELDS = words_of(Filtered)
FIRST_WEIGHT = 1  # behind what lies outside
_AT_KERNEL = AT.call + words_of(Request)  # sizes of a window
_AT_STEPS = _AT_KERNEL + MOST_AXES  # pairs of passes
assert _AT_STEPS + 2 * MOST_AXES <= FRAME, "a request does not fit in a frame"


@entry
def run_filter(frame):
    """Run what a frame asks for. False: there is no memory, or elements lie where no type may."""
    words = frame.data
    request = load_tuple(words, AT.call, Request)
    for i in range(request.rank):
        if shape_of(words, AT.x, i) == 0:
            return True
    if not is_aligned(words, AT.x, request.rank, words[AT.itemsize], words[AT.alignment]):
        return False
    for i in range(request.rank):
        words[AT.sizes + i] = i  # the result lies in the order of its axes
    if request.is_window:
        return run_window(frame, request)
    none, source, lies, are_along = Filtered(-1, 1, 0, CONSTANT, 0), AT.x, lying(frame, request, AT.x), 0
    for i in range(request.passes):
        filtered = filtered_at(words, i)
        are_along |= int(filtered.kernel == 1 or is_along(lies, filtered.axis)) << i
    steps = group_passes(words, _AT_STEPS, are_along, request.passes, request.commutes, True)
    for i in range(steps):
        across, along = words[_AT_STEPS + 2 * i], words[_AT_STEPS + 2 * i + 1]
        first, second = filtered_at(words, max(across, 0)), filtered_at(words, max(along, 0))
        if across < 0:
            first = none
        if along < 0:
            second = none
        if not run_passes(frame, request, source, lying(frame, request, source), first, second):
            return False
        source = AT.out
    return True


@kernel
def lying(frame, request, source):
    """How the array that is read and the one that is written lie."""
    words = frame.data
    shape, x_steps = words_at(words[AT.out + 1]).data, words_at(words[source + 2]).data
    order = words_at(address(frame) + 8 * AT.sizes).data
    return Lying(shape, x_steps, words_at(words[AT.out + 2]).data, order, request.rank)


@kernel
def filtered_at(words, i):
    """What a call asks for, pass by pass, or axis by axis."""
    return load_tuple(words_at(words[AT.indices]).data, i * FILTERED_FIELDS, Filtered)


@kernel
def run_passes(frame, request, source, lies, across, along):
    """Plan and run a step of one pass or two."""
    words = frame.data
    given, order_across, order_along = doubles_at(words[AT.w]), FUSED, FUSED
    if request.kind >= MAXIMUM:
        order_across = order_along = LARGEST if request.kind == MAXIMUM else SMALLEST
    elif request.in_order:
        order_across = order_of(given.data, across.weights, across.kernel) if across.axis >= 0 else FUSED
        order_along = order_of(given.data, along.weights, along.kernel) if along.axis >= 0 else FUSED
    in_place = source == AT.out
    x_format = request.out_format if in_place else request.x_format
    manner = Manner(request.kind, x_format, request.out_format, request.compute_format, request.itemsize,
                    request.is_integer, order_across, order_along, request.rounded, 0, int(in_place))  # fmt: skip
    room, count = room_of_passes(request.rank, across, along)
    place = allocate_zeros(room + 2 * count)
    if place == 0:
        return False
    numbers, values = words_at(place), doubles_at(place + 8 * room)
    for i in range(VALUES):
        values.data[i] = given.data[0]
    step = write_passes(numbers.data, values.data, values.data, lies, across, along, manner, given.data)
    is_done = run_step(frame, request, source, step.blocks.workspace, numbers, values, count)
    free(place)
    return is_done


@kernel
def run_window(frame, request):
    """Plan and run a step of sums of windows over all axes."""
    words = frame.data
    lies, taps, counted, depth = lying(frame, request, AT.x), 1, 0, 1
    for i in range(request.rank):
        words[_AT_KERNEL + i] = window_side(words, lies, i).kernel
        taps *= words[_AT_KERNEL + i]
    given, lines = doubles_at(words[AT.w]), find_window(lies, words_at(address(frame) + 8 * _AT_KERNEL).data)
    for i in range(taps):
        counted += int(given.data[FIRST_WEIGHT + i] != 0)
    at = STEP_FIELDS + lines.outers * SIDE_FIELDS
    room, count = at + counted + ROWS, VALUES + counted
    place = allocate_zeros(room + 2 * count)
    if place == 0:
        return False
    numbers, values, size = words_at(place), doubles_at(place + 8 * room), request.itemsize
    for i in range(VALUES):
        values.data[i] = given.data[0]
    for i in range(lines.outers):
        side = window_side(words, lies, i)
        depth *= side.kernel
        write_tuple(numbers.data, STEP_FIELDS + i * SIDE_FIELDS, side)
    along, rows = window_side(words, lies, lines.line.axis), lines.rows
    along = Side(along.size, lines.line.x_step, lines.line.out_step, along.kernel, along.before, along.boundary)
    across = Side(rows.size, rows.x_step, rows.out_step, 1, 0, CONSTANT)
    if rows.axis >= 0:
        across = window_side(words, lies, rows.axis)
    blocks = cut(False, across, along, lines.hop, size, depth, lines.places, True, False, False)
    counted = 0
    for tap in range(taps):
        weight = given.data[FIRST_WEIGHT + tap]
        if weight != 0:
            rest, row, offset, planes = tap, 0, 0, 1
            for axis in range(request.rank - 1, -1, -1):
                rest, k = divmod(rest, words[_AT_KERNEL + axis])
                if axis == lines.line.axis:
                    offset = k * lines.hop * size
                elif axis == rows.axis:
                    row += k
                elif axis < lines.outers:
                    row += k * planes * blocks.rows
                    planes *= words[_AT_KERNEL + axis]
            numbers.data[at + counted] = row * blocks.pitch + offset
            values.data[VALUES + counted] = weight
            counted += 1
    is_plain = request.out_format == request.compute_format and along.out_step == size
    step = Step(
        0, request.x_format, request.out_format, ROUNDED if request.in_order else FUSED, FUSED, 0, at, 0, at, 0, 0, 1,
        0, int(is_plain), 0, 0, lines.outers, depth, counted, 0, lines.hop, across, along, blocks,
    )  # fmt: skip
    write_tuple(numbers.data, 0, step)
    is_done = run_step(frame, request, AT.x, blocks.workspace, numbers, values, count)
    free(place)
    return is_done


@kernel
def window_side(words, lies, axis):
    """What a window does with an axis."""
    each, extent = filtered_at(words, axis), single(lies, axis)
    return Side(extent.size, extent.x_step, extent.out_step, each.kernel, each.before, each.boundary)


@kernel
def allocate_zeros(count):
    """The address of so many words, 0 if there is no memory."""
    place = allocate(8 * count)
    if place != 0:
        for i in range(count):
            words_at(place).data[i] = 0
    return place


@kernel
def run_step(frame, request, source, workspace, numbers, values, count):
    """Run a step whose numbers are written; so much room as the values have follows them, for those of its type."""
    words = frame.data
    table, converted = words_at(words[AT.table]), address(values) + 8 * count
    if request.kind >= MAXIMUM:
        for i in range(VALUES * request.itemsize):
            memory_at(converted).data[i] = memory_at(words[AT.fill]).data[i % request.itemsize]
    else:
        for i in range(count):
            if request.itemsize == 8:
                doubles_at(converted).data[i] = values.data[i]
            else:
                singles_at(converted).data[i] = values.data[i]
    is_kept = workspace <= BLOCK_BYTES
    place = take_block(table) if is_kept else allocate(workspace + 63)
    if place == 0:
        return False
    block = (place + 63) // 64 * 64
    arguments = (array_at(frame, source), array_at(frame, AT.out), memory_at(converted), values, numbers,
                 memory_at(block), numbers, 1, 0)  # fmt: skip
    is_done = is_true(table.data[words[AT.kernels]], arguments)
    if is_kept:
        give_block(table, place)
    else:
        free(place)
    return is_done
