"""Planning of passes: from what is asked for to the numbers of a step, its offsets of taps and its weights.

Plain Python over whatever can be indexed, for the frontend and for what is called from compiled code.
"""

from typing import NamedTuple

from ..jit import plain
from ..shapes import MEAN, SUM
from ..window import write_tuple
from .blocks import VALUES
from .layout import find_lines
from .step import (
    FUSED,
    ROUNDED,
    ROW_BYTES,
    ROWS,
    SIDE_FIELDS,
    STEP_FIELDS,
    Side,
    Step,
    count_levels,
    count_taps,
    cut,
    is_paired,
    power,
    scaled,
    shares_lines,
    tap_of,
)

_FEW, _FEW_INTEGERS = 7, 9  # elements that are combined one by one; of more, neighbours are folded


class Filtered(NamedTuple):
    """What a pass does with an axis."""

    axis: int  # -1: there is no pass
    kernel: int
    before: int
    boundary: int
    weights: int  # where those of a sum begin


class Manner(NamedTuple):
    """How a step computes."""

    kind: int
    x_format: int
    out_format: int
    compute_format: int
    itemsize: int  # bytes of an element that is computed with
    is_integer: int  # whether it is an integer
    order_across: int
    order_along: int
    rounded: int  # as of a `Step`
    is_settled: int  # sums of integers are made fast, and then settled in those orders
    in_place: int


@plain
def group_passes(pairs, at, are_along, count, commutes, may_pair):
    """Write which passes go together, in an order in which they may run: one across lines and one along them, -1: none.

    `are_along` has a bit for each pass. Where their order is free, the pass along lines goes with the nearest one
    across them. How many steps that are; `may_pair`: the first may be of two passes.
    """
    steps, across, along, i = 0, -1, -1, 0
    if commutes and are_along != (1 << count) - 1:
        for each in range(count):
            if (are_along >> each) & 1:
                along = each
            elif may_pair:
                across = each
        if across >= 0 or along >= 0:
            steps = write_pair(pairs, at, steps, across, along)
        for each in range(count):
            if (are_along >> each) & 1 and each != along:
                steps = write_pair(pairs, at, steps, -1, each)
        for each in range(count - 1, -1, -1):
            if not (are_along >> each) & 1 and each != across:
                steps = write_pair(pairs, at, steps, each, -1)
        return steps
    while i < count:
        if (are_along >> i) & 1:
            steps = write_pair(pairs, at, steps, -1, i)
        elif i == 0 and may_pair and count > 1 and (are_along >> 1) & 1:
            i, steps = 1, write_pair(pairs, at, steps, 0, 1)
        else:
            steps = write_pair(pairs, at, steps, i, -1)
        i += 1
    return steps


@plain
def write_pair(pairs, at, steps, across, along):
    """Write a step; how many there are."""
    pairs[at + 2 * steps] = across
    pairs[at + 2 * steps + 1] = along
    return steps + 1


@plain
def room_of_passes(rank, across, along):
    """How many numbers, and how many values, a step may have."""
    taps = across.kernel + along.kernel
    offsets = 4 * (taps + 2 * ROWS) + 2 * (across.kernel + ROWS) + 1
    return STEP_FIELDS + rank * SIDE_FIELDS + offsets, VALUES + taps + 4


@plain
def write_passes(numbers, values, exact, lying, across, along, manner, weights):
    """Write a step of one pass or two, across lines and along them, and its weights behind what padding holds.

    In `exact` the weights of sums that are settled go behind their errors. Numbers and values are zeros before.
    """
    rows, line, hop, outers, places = find_lines(numbers, lying, across.axis, along.axis)
    kind, rounded, itemsize, longest = manner.kind, manner.rounded, manner.itemsize, max(across.kernel, along.kernel)
    has_across, has_along = across.axis >= 0, along.axis >= 0
    is_folded = kind != SUM and longest > (_FEW_INTEGERS if manner.is_integer else _FEW)
    is_folded = is_folded or (kind == MEAN and rounded != 0)  # else means of few elements are sums of parts
    is_direct = not is_folded and has_across and not manner.in_place and manner.x_format == manner.compute_format
    is_direct = is_direct and line.x_step == itemsize
    is_direct = is_direct and (not has_along or line.size * hop * itemsize <= ROW_BYTES)
    side_across = Side(rows.size, rows.x_step, rows.out_step, across.kernel, across.before, across.boundary)
    side_along = Side(line.size, line.x_step, line.out_step, along.kernel, along.before, along.boundary)
    blocks = cut(is_folded, side_across, side_along, hop, itemsize, 1, places, False, is_direct, manner.in_place)
    at, value, pitch, group = STEP_FIELDS + outers * SIDE_FIELDS, VALUES, blocks.pitch, hop * itemsize
    columns = heights = together = settled_across = settled_along = taps_across = taps_along = 0
    if is_folded and kind == MEAN:
        taps_along = write_mean(values, along.kernel)
        if rounded == 0 and has_across:
            values[1] *= across.kernel  # what is padded along lines are sums across them
    is_mean = not is_folded and kind == MEAN
    if is_mean:
        values[1] *= scaled(across.kernel)
    if not is_folded:
        order_across, order_along = manner.order_across, manner.order_along
        if manner.is_settled:
            order_across, order_along = FUSED, FUSED
        if has_across:
            taps_across = count_taps(order_across, across.kernel)
            value = write_terms(values, value, order_across, across, kind, weights)
        if has_along:
            taps_along = count_taps(order_along, along.kernel)
            value = write_terms(values, value, order_along, along, kind, weights)
        together = at
        at = write_offsets(numbers, at, order_across, across.kernel, taps_across, pitch)
        at = write_offsets(numbers, at, order_along, along.kernel, taps_along, group)
        if is_paired(order_across):
            together = at
            at = write_offsets(numbers, at, FUSED, across.kernel, across.kernel, pitch)
        columns = int(has_across and across.kernel >= ROWS - 1 and shares_lines(order_across))
        heights = at
        numbers[at] = taps_across
        at += 1
        if manner.is_settled:
            value = VALUES
            if has_across:
                settled_across, terms = at, count_taps(manner.order_across, across.kernel)
                value = write_terms(exact, value, manner.order_across, across, kind, weights)
                at = write_offsets(numbers, at, manner.order_across, across.kernel, terms, pitch)
            else:
                value += 1  # for the one tap that there is
            if has_along:
                settled_along, terms = at, count_taps(manner.order_along, along.kernel)
                write_terms(exact, value, manner.order_along, along, kind, weights)
                write_offsets(numbers, at, manner.order_along, along.kernel, terms, group)
    is_plain = manner.out_format == manner.compute_format and line.out_step == itemsize
    step = Step(
        int(is_folded), manner.x_format, manner.out_format, manner.order_across, manner.order_along, columns, heights,
        0, together, settled_across, settled_along, 0, int(is_direct), int(is_plain), int(is_mean), rounded, outers, 1,
        taps_across, taps_along, hop, side_across, side_along, blocks,
    )  # fmt: skip
    write_tuple(numbers, 0, step)
    return step


@plain
def write_terms(values, at, order, filtered, kind, weights):
    """Write a pass's weights in the order of terms; where the next ones go."""
    terms = count_taps(order, filtered.kernel)
    for term in range(terms):
        value = 0.0
        if kind == SUM:
            value = weights[filtered.weights + tap_of(order, filtered.kernel, term, False)]
        elif kind == MEAN:  # exactly, and sums are in no danger to overflow
            value = scaled(filtered.kernel) / filtered.kernel
        values[at + term] = value
    return at + terms


@plain
def write_offsets(numbers, at, order, kernel, terms, unit):
    """Write offsets of taps, `unit` bytes apart, in the order of terms, and where the next ones go.

    Rows that are made together meet further ones.
    """
    if is_paired(order):
        for term in range(terms):
            numbers[at + 2 * term] = unit * tap_of(order, kernel, term, False)
            numbers[at + 2 * term + 1] = unit * tap_of(order, kernel, term, True)
    else:
        for term in range(terms):
            numbers[at + term] = unit * tap_of(order, kernel, term, False)
        if order != ROUNDED:
            for term in range(terms, terms + ROWS):
                numbers[at + term] = unit * term
    return at + 2 * (terms + ROWS)


@plain
def write_mean(values, along):
    """Write the weights of a long mean along lines, all 1: how many neighbours are summed at a time."""
    if along == 1:
        return 0
    levels, first = count_levels(along), 1
    while power(first + 1, levels) <= along:
        first += 1
    terms, rest = 0, along
    for level in range(levels - 1, -1, -1):
        terms += rest // power(first, level)
        rest %= power(first, level)
    for i in range(max(first, terms)):
        values[VALUES + i] = 1.0
    return first
