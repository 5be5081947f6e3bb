"""Which family of kernels runs a convolution: one table, and one function that the frontend and compiled callers read.

A family is a module with:

    WORKSPACE_BYTES                              what it needs for each thread; 0: no workspace, no team and no plan
    cost(call, axes, element)                    nanoseconds that an image takes, as `costs` predicts them
    refuses(call, axes, element)                 0, or why others should run a call; a family without it takes all
    reason(refusal, call, axes, element)         the same in words, for people; plain Python
    plan_words(call, axes, element)              how many numbers a call and its plan take, at most
    write_plan(call, axes, element, numbers)     write the plan behind the numbers of the call; none without a plan
    correlate(x, w, bias, out, fill, numbers[, workspace, team, threads, thread])   True, or False with nothing written

and, where it can make all outputs of a transposed last axis by its phases at once, with the bits of each alone:

    phase_numbers(call, axes, element, phases)   the numbers of such a call, `axes[2]` as it is transposed; or None
    correlate_phases(...)                        as `correlate`

Of the families that take a call the one that costs least runs it, of direct sums the first that hardly costs more: a
rule of sizes, the same for any batch and any number of threads. Those without a cost are not compared: `small` runs
what it takes, `generic` what no other does. `small` alone counts the images, and so what it does with one of them must
be done with more by families that add up in its order: channel by channel, tap by tap, the bias last. They are
`in_order`, and others do not run such calls, but integers, whose order does not show.

`axes` are the first three, `element` is the `Element` that is computed with. `correlate` answers False if an array's
elements do not lie where it can take them: a family that `wants_rows` then leaves the call to the next one, others to a
copy.
"""

import math
from types import FunctionType
from typing import Any, NamedTuple

from ..jit import plain, plain_inlined
from ..shapes import ALGORITHMS, AUTO
from . import dense, depthwise, direct, fft_planes, fft_tiles, generic, grouped, small, small_images, winograd


class Family(NamedTuple):
    """A row of the table: what a family takes at all."""

    name: str
    algorithm: str  # what callers ask for with `algorithm=`
    module: Any
    most_axes: int = 3
    takes_complex: bool = False
    takes_converted: bool = False  # dtypes that are computed in another type
    takes_integers: bool = True
    wants_rows: bool = False  # of elements next to each other
    in_order: bool = False  # its sums have the bits of those of `small`


FAMILIES = (
    Family("small", "direct", small, wants_rows=True, in_order=True),
    Family("small_images", "direct", small_images, wants_rows=True, in_order=True),
    Family("depthwise", "direct", depthwise, takes_converted=True),
    Family("grouped", "direct", grouped, takes_converted=True, takes_integers=False, in_order=True),
    Family("dense", "direct", dense, takes_converted=True, in_order=True),
    Family("direct", "direct", direct, takes_complex=True, takes_converted=True),
    Family("generic", "direct", generic, most_axes=64, takes_complex=True, takes_converted=True),
    Family("winograd", "winograd", winograd, takes_integers=False),
    Family("fft_tiles", "fft", fft_tiles, takes_integers=False),
    Family("fft_planes", "fft", fft_planes, takes_complex=True, takes_integers=False),
)
_SMALL, _SMALL_IMAGES = 0, 1

# Times less does a later one of direct sums cost, if it has other bits: so calls alike, as phases of a kernel, are run
# alike. What `direct` reads in panels are no phases.
_CLEARLY = 1.15

# Why a family is out of the question; what `refuses` says is above 0.
OTHER_ALGORITHM, MANY_AXES, IS_COMPLEX, IS_CONVERTED, IS_INTEGER, OTHER_ORDER = -1, -2, -3, -4, -5, -6


@plain
def _takes_all(call, axes, element):
    return 0


def _refusing(family):
    """Why a family does not run a call; 0: it does."""
    number, most_axes = ALGORITHMS.index(family.algorithm), family.most_axes
    takes_complex, takes_converted = family.takes_complex, family.takes_converted
    takes_integers = family.takes_integers
    refuses = getattr(family.module, "refuses", _takes_all)

    def refusal(call, axes, element, algorithm):
        if algorithm != AUTO and algorithm != number:
            return OTHER_ALGORITHM
        if call.rank > most_axes:
            return MANY_AXES
        if element.is_complex and not takes_complex:
            return IS_COMPLEX
        if element.is_converted and not takes_converted:
            return IS_CONVERTED
        if element.is_integer and not takes_integers:
            return IS_INTEGER
        return refuses(call, axes, element)

    return plain_inlined(refusal)


def _costing_some(cost):
    """What a call costs, nothing if its result is empty."""

    def cost_of_some(call, axes, element):
        if min(call.groups, call.outputs, axes[0].out, axes[1].out, axes[2].out) == 0:
            return 0.0
        return cost(call, axes, element)

    return plain_inlined(cost_of_some)


def _from(place, refusal, following):
    """The first family from a place on that takes a call; `following` asks those behind this place."""
    is_in_order = FAMILIES[place].in_order

    def first_of(call, axes, element, algorithm, in_order, first):
        if first <= place and (is_in_order or not in_order) and refusal(call, axes, element, algorithm) == 0:
            return place
        return following(call, axes, element, algorithm, in_order, first)

    return plain_inlined(first_of)


def _cheaper(place, refusal, cost, following):
    """The family at a place, or one of those behind it, that costs less than what is chosen so far.

    Of direct sums those before the first that takes the call are out of the question.
    """
    is_transform = FAMILIES[place].algorithm != "direct"
    is_in_order = FAMILIES[place].in_order

    def cheapest(call, axes, element, algorithm, in_order, first, chosen, least):
        may = (is_transform or place > first) and (is_in_order or not in_order)
        if may and refusal(call, axes, element, algorithm) == 0:
            nanoseconds = cost(call, axes, element)
            is_sure = is_transform or in_order or direct.has_panels(call, axes, call.channels, call.outputs)
            if nanoseconds * (1.0 if is_sure else _CLEARLY) < least:
                chosen, least = place, nanoseconds
        return following(call, axes, element, algorithm, in_order, first, chosen, least)

    return plain_inlined(cheapest)


def _or_taken(place, refusal, following):
    """Whether the family at a place, or one of those behind it, takes a call; of those that are asked for by name."""

    def is_taken(call, axes, element, algorithm):
        return refusal(call, axes, element, algorithm) == 0 or following(call, axes, element, algorithm)

    return plain_inlined(is_taken)


def _keeping_order(refuses_images):
    """Whether a call's images are such as `small` runs one of, so that only families `in_order` run it."""

    def keeps_order(call, axes, element, algorithm):
        return not element.is_integer and refuses_images(call, axes, element, algorithm) == 0

    return plain_inlined(keeps_order)


def _choosing(first_of, cost, cheapest):
    """The family that runs a call, -1: none does; of direct sums, those before place `first` do not."""

    is_not_small = refusals[_SMALL]

    def choose(call, axes, element, algorithm, first):
        if first <= _SMALL and is_not_small(call, axes, element, algorithm) == 0:  # it takes as long as the asking
            return _SMALL
        in_order = keeps_order(call, axes, element, algorithm)
        place = first_of(call, axes, element, algorithm, in_order, max(first, _SMALL_IMAGES))
        least = cost(place, call, axes, element) if place >= 0 else math.inf
        if least == 0.0:  # there is nothing to compare with
            return place
        return cheapest(call, axes, element, algorithm, in_order, place, place, least)

    return plain_inlined(choose)


def _costing(place, own, following):
    """What a call costs in the family at a place."""

    def cost(family, call, axes, element):
        if family == place:
            return own(call, axes, element)
        return following(family, call, axes, element)

    return plain_inlined(cost)


def _sizing(place, plan_words, following):
    """How many numbers a call and its plan take in the family at a place."""

    def size(family, call, axes, element):
        if family == place:
            return plan_words(call, axes, element)
        return following(family, call, axes, element)

    return plain_inlined(size)


def _writing(place, write_plan, following):
    """Write the plan of the family at a place."""

    def write(family, call, axes, element, numbers):
        if family == place:
            write_plan(call, axes, element, numbers)
        else:
            following(family, call, axes, element, numbers)

    return plain_inlined(write)


@plain
def _none_chosen(call, axes, element, algorithm, in_order, first):
    return -1


@plain
def _not_taken(call, axes, element, algorithm):
    return False


@plain
def _chosen(call, axes, element, algorithm, in_order, first, chosen, least):
    return chosen


@plain
def _no_cost(family, call, axes, element):
    return 0.0


@plain
def _least_cost(call, axes, element):
    """Of families that nothing is compared with: calls that are too small, or of kinds that no transform takes."""
    return 0.0


@plain
def _no_words(family, call, axes, element):
    return 0


@plain
def _no_plan(call, axes, element, numbers):
    return None


@plain
def _nothing_written(family, call, axes, element, numbers):
    return None


# Called from Python, a function that is compiled only would end the process.
for _family in FAMILIES:
    for _name in ("refuses", "reason", "cost", "plan_words", "write_plan"):
        assert isinstance(getattr(_family.module, _name, _no_plan), FunctionType), (
            f"{_family.name}.{_name} is not plain"
        )

refusals = [_refusing(family) for family in FAMILIES]
costs = [_costing_some(each.module.cost) if hasattr(each.module, "cost") else _least_cost for each in FAMILIES]
first_of, cost_of, cheapest, is_transformed = _none_chosen, _no_cost, _chosen, _not_taken
plan_words, write_plan = _no_words, _nothing_written
for _place, _family in reversed(list(enumerate(FAMILIES))):
    if _family.algorithm == "direct":
        cost_of = _costing(_place, costs[_place], cost_of)
        first_of = _from(_place, refusals[_place], first_of)
    else:
        is_transformed = _or_taken(_place, refusals[_place], is_transformed)
    if hasattr(_family.module, "cost"):
        cheapest = _cheaper(_place, refusals[_place], costs[_place], cheapest)
    plan_words = _sizing(_place, _family.module.plan_words, plan_words)
    write_plan = _writing(_place, getattr(_family.module, "write_plan", _no_plan), write_plan)
keeps_order = _keeping_order(refusals[_SMALL_IMAGES])
choose = _choosing(first_of, cost_of, cheapest)


def candidates(element, rank):
    """The places of the families that may run convolutions of a type over so many spatial axes."""
    closed = set()  # algorithms of which an earlier family takes all
    for place, family in enumerate(FAMILIES):
        takes_type = (family.takes_complex or not element.is_complex) and (
            family.takes_converted or not element.is_converted
        )
        takes_type = takes_type and (family.takes_integers or not element.is_integer)
        if takes_type and rank <= family.most_axes and family.algorithm not in closed:
            yield place
            if not hasattr(family.module, "refuses"):
                closed.add(family.algorithm)


def refusal_of(place, call, axes, element, algorithm):
    """Why the family at a place may not run a call; 0: it may."""
    refusal = refusals[place](call, axes, element, algorithm)
    if refusal == 0 and not FAMILIES[place].in_order and keeps_order(call, axes, element, algorithm):
        return OTHER_ORDER
    return refusal


def reason(place, refusal, call, axes, element):
    """Why a family does not run a call, in words."""
    family = FAMILIES[place]
    if refusal == OTHER_ALGORITHM:
        return f"it is for algorithm {family.algorithm!r}"
    if refusal == MANY_AXES:
        return f"the call has {call.rank} spatial axes, expected {family.most_axes} or fewer"
    if refusal == IS_COMPLEX:
        return "the numbers are complex, expected real ones"
    if refusal == IS_CONVERTED:
        return "the numbers are computed in another type"
    if refusal == IS_INTEGER:
        return "the numbers are integers, expected floating-point ones"
    if refusal == OTHER_ORDER:
        return "a single image is so small that its terms are added in another order"
    return family.module.reason(refusal, call, axes, element)
