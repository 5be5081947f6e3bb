"""Numbers and arrays of random calls: what sizes, strides and paddings are drawn, and how arrays lie in memory.

They lie between protected pages, as `guarded` has them: what is read or written past either end ends the process.
"""

import math
import random
from collections.abc import Callable
from typing import NamedTuple

import guarded  # first: it stands for what the package takes arrays from
import numpy as np
import oracle
from cases import LAYOUTS, poison, values

import fastconv

DTYPES = [dtype.name for dtype in oracle.DTYPES]
VIEWS = [name for name in LAYOUTS if name != "unaligned"]  # which no guarded block keeps
# Vectors, tiles of transforms, blocks of columns and of channels: there is a boundary around each.
EDGES = [4, 6, 8, 14, 16, 28, 32, 48, 64, 96, 128, 256, 512, 1024]
WORK = 40_000  # multiplications, or elements of windows, of a case: a few milliseconds of the oracle
SPREAD = 2**24  # elements from the first of a view to its last
ASKED = ("winograd", "fft")  # may refuse what the oracle does


class Refused(Exception):
    """Both sides refuse the call, with the error that was to be expected."""


class Family(NamedTuple):
    weight: int  # how often it is drawn
    draw: Callable[[random.Random], dict]
    play: Callable[[dict], None]


# Numbers --------------------------------------------------------------------------------------------------------------


def size(pick, most):
    """Small, or around an edge."""
    if pick.random() < 0.5 or most < 4:
        return pick.randint(1, min(most, 9))
    edge = pick.choice([edge for edge in EDGES if edge <= most])
    return min(max(edge * pick.choice([1, 1, 1, 2, 3]) + pick.randint(-1, 1), 1), most)


def sizes(pick, rank, room):
    """One for each axis, whose product is at most `room`."""
    found = []
    for _ in range(rank):
        found.append(size(pick, max(room // math.prod(found), 1)))
    pick.shuffle(found)
    return found


def per_axis(pick, rank, draw):
    return draw() if pick.random() < 0.5 else [draw() for _ in range(rank)]


def padding(pick, rank, most=4):
    def width():
        return pick.randint(0, most)

    def sides():
        return pick.choice([[width(), width()], [width(), 0], [0, width()]])

    kinds = [lambda: pick.choice(["valid", "full", "same"]), width, lambda: [width() for _ in range(rank)]]
    return pick.choice([*kinds, lambda: [sides() for _ in range(rank)]])()


def shorten(pick, spatial, kernel):
    """Both, now and then with axes that count for nothing, except in their padding and strides."""
    if pick.random() < 0.7:
        return spatial, kernel
    lone = [(1, 1), (1, 1), (2, 1), (1, 2)]
    both = [pick.choice(lone) if pick.random() < 0.6 else each for each in zip(spatial, kernel, strict=True)]
    return tuple(map(list, zip(*both, strict=True)))


def place(pick):
    """How arrays lie in memory, and how the call is run."""
    return {
        "views": [pick.choice(VIEWS) for _ in range(3)],
        "end": pick.random() < 0.5,
        "threads": pick.choice([1, 1, 2, 3]),
        "release": pick.random() < 0.1,
        "seed": pick.randint(0, 999),
    }


def options_of(case):
    """The options, lists as the tuples that they were."""

    def hashable(value):
        return tuple(hashable(each) for each in value) if isinstance(value, list) else value

    return {name: hashable(value) for name, value in case["options"].items()}


def convolution_shapes(pick, rank, groups):
    """Of input, weights: few products for each output where outputs are many."""
    kernel = sizes(pick, rank, pick.choice([1, 9, 9, 25, 64]))
    channels, outputs = pick.choice([(1, pick.randint(1, 3)), *[(size(pick, 16), size(pick, 40))] * 3])
    while groups * channels * outputs * math.prod(kernel) > 2000:  # a step of the oracle's loop each
        channels, outputs, kernel = (
            max(channels // 2, 1),
            max(outputs * 2 // 3, 1),
            [max(k * 2 // 3, 1) for k in kernel],
        )
    room = max(WORK * 8 // (groups * channels * outputs * math.prod(kernel)), 64)
    batch = pick.choice([0, 1, 1, 1, 2, 3])
    return [batch, groups * channels, *sizes(pick, rank, min(room, 3000))], [groups * outputs, channels, *kernel]


# Arrays ---------------------------------------------------------------------------------------------------------------


def array(case, shape, dtype, which, make=values):
    """The `which`-th input of a case: read-only, between pages without rights."""
    made = make(tuple(shape), np.dtype(dtype), case["seed"] + which)
    if case.get("spoilt") and which == 0 and made.size and made.dtype in oracle.FLOATS:
        made.flat[:: case["spoilt"]] = [np.nan, np.inf, -np.inf, -0.0][case["seed"] % 4]
    return guarded.guarded(LAYOUTS[fitting(case["views"][which], made.shape)](made), end=case["end"], read_only=True)


def native(a):
    """The array in the machine's order of bytes."""
    return a.astype(a.dtype.newbyteorder("="))


def places_in(count):
    """What makes indices of so many elements."""
    return lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, count, shape).astype(dtype)


def fitting(view, shape):
    """The view, or one that arrays of this shape have: steps of three along all axes take so many times the memory."""
    if view in ("channels_last", "swapped_axes") and len(shape) < 2:
        return "contiguous"
    is_stepped = view in ("stepped", "reversed_stepped")
    return "reversed" if is_stepped and math.prod(3 * n + 2 for n in shape) > SPREAD else view


def output(case, shape, dtype):
    """What `out=` is given, or nothing."""
    view = case.get("out")
    if view in (None, "byteswapped"):
        return None
    return guarded.guarded(LAYOUTS[fitting(view, shape)](poison(shape, dtype)), end=case["end"])


def expect(define, *arguments, **options):
    """What the definition says; None where it refuses."""
    try:
        return define(*arguments, **options)
    except ValueError:
        return None


def call(case, expected, function, *arguments, **options):
    """Run it between guards; where there is nothing to expect, it has to refuse."""
    if case["release"]:
        fastconv.release_workspace()
    refused = None
    allocations = guarded.Allocations(case["end"])
    with fastconv.num_threads(case["threads"]), allocations:
        try:
            got = function(*arguments, **options)
        except ValueError as error:
            refused = error
    if refused is not None:
        if expected is None or options.get("algorithm") in ASKED:
            raise Refused(str(refused))
        raise AssertionError(f"refused: {refused}")
    assert expected is not None, "a call was done that the definition refuses"
    out = options.get("out")
    assert out is None or got is out, "out is what is returned"
    return got


def check(got, expected, times=1):
    if not isinstance(expected, oracle.Expected):
        expected = oracle.expect_equal(expected)
    if times > 1 and expected.bound is not None:
        expected = expected._replace(bound=times * expected.bound)
    oracle.check(got, expected)
