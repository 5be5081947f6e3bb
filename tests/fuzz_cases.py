"""Random calls of every public function, as plain numbers and names: drawn, and played against the oracles.

A case is a dict that JSON can hold, so that it can be printed, run again and shrunk. It names its family; a family is
how its cases are drawn and how one is played. Arrays lie in memory as `guarded` has them: what is read or written past
either end of one ends the process.
"""

import math
import random
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import guarded  # first: it stands for what the package takes arrays from
import numba
import numpy as np
import oracle
from cases import LAYOUTS, RANK_NAMES, noise, poison, prepare_by, ties, values
from fastconv.kernels.convolution import fft_planes
from fastconv.kernels.shapes import ALGORITHMS, BOUNDARIES
from test_functional import expect_transposed
from test_functional_pools import fold_windows, mean_of, shared, stepped, where_largest
from test_grad import expect_gradient
from test_grad_weights import expected as expect_weights
from test_ndimage import numbers
from test_numpy import expect as expect_numpy
from test_signal import check as check_signal

import fastconv
from fastconv import extending, functional, grad, ndimage
from fastconv import numpy as drop_in_numpy
from fastconv import signal as drop_in_signal

DTYPES = [dtype.name for dtype in oracle.DTYPES]
INEXACT = [dtype.name for dtype in (*oracle.FLOATS, *oracle.COMPLEX)]
FILTERED = ["float32", "float64", "uint8", "int16", "int32", "bool"]  # as SciPy has them
READ = ["uint8", "int16", "float16", "float32"]  # converted where they are read
VIEWS = [name for name in LAYOUTS if name != "unaligned"]  # which no guarded block keeps
# Vectors, tiles of transforms, blocks of columns and of channels: there is a boundary around each.
EDGES = [4, 6, 8, 14, 16, 28, 32, 48, 64, 96, 128, 256, 512, 1024]
WORK = 40_000  # multiplications, or elements of windows, of a case: a few milliseconds of the oracle
LARGE = 30_000_000  # the same of one that no oracle plays
ASKED = ("winograd", "fft")  # may refuse what the oracle does
TRANSFORMS = "winograd", "fft_tiles", "fft_planes"  # the families behind them


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

    kinds = [lambda: pick.choice(["valid", "full", "same"]), width, lambda: [width() for _ in range(rank)]]
    return pick.choice([*kinds, lambda: [[width(), width()] for _ in range(rank)]])()


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


# Arrays ---------------------------------------------------------------------------------------------------------------


def array(case, shape, dtype, which, make=values):
    """The `which`-th input of a case: read-only, between pages without rights."""
    made = make(tuple(shape), np.dtype(dtype), case["seed"] + which)
    if case.get("spoilt") and which == 0 and made.size and made.dtype in oracle.FLOATS:
        made.flat[:: case["spoilt"]] = [np.nan, np.inf, -np.inf, -0.0][case["seed"] % 4]
    return guarded.guarded(LAYOUTS[fitting(case["views"][which], made.ndim)](made), end=case["end"], read_only=True)


def fitting(view, ndim):
    """The view, or one that this many axes have: steps along all of five or more take hundreds of times the memory."""
    if view in ("channels_last", "swapped_axes") and ndim < 2:
        return "contiguous"
    return "reversed" if view in ("stepped", "reversed_stepped") and ndim > 4 else view


def output(case, shape, dtype):
    """What `out=` is given, or nothing."""
    view = case.get("out")
    if view in (None, "byteswapped"):
        return None
    return guarded.guarded(LAYOUTS[fitting(view, len(shape))](poison(shape, dtype)), end=case["end"])


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


# Convolutions ---------------------------------------------------------------------------------------------------------


def convolution_shapes(pick, rank, groups):
    """Of input, weights: few products for each output where outputs are many."""
    kernel = sizes(pick, rank, pick.choice([1, 9, 9, 25, 64]))
    channels, outputs = size(pick, 16), size(pick, 40)
    while groups * channels * outputs * math.prod(kernel) > 2000:  # a step of the oracle's loop each
        channels, outputs, kernel = (
            max(channels // 2, 1),
            max(outputs * 2 // 3, 1),
            [max(k * 2 // 3, 1) for k in kernel],
        )
    room = max(WORK * 8 // (groups * channels * outputs * math.prod(kernel)), 64)
    batch = pick.choice([0, 1, 1, 1, 2, 3])
    return [batch, groups * channels, *sizes(pick, rank, min(room, 3000))], [groups * outputs, channels, *kernel]


def draw_convolution(pick):
    rank = pick.choice([1, 2, 2, 2, 3, 4])
    groups = pick.choice([1, 1, 1, 2, 3, 5])
    x, w = convolution_shapes(pick, rank, groups)
    if pick.random() < 0.8:  # of the others no window may fit
        x[2:] = [max(n, k) for n, k in zip(x[2:], w[2:], strict=True)]
    dtype = pick.choice(["float32", "float32", "float64", *DTYPES])
    options = {"groups": groups, "padding_mode": padding(pick, rank), "algorithm": pick.choice(ALGORITHMS)}
    if pick.random() < 0.5:
        options["stride"] = per_axis(pick, rank, lambda: pick.randint(1, 4))
    if pick.random() < 0.4:
        options["dilation"] = per_axis(pick, rank, lambda: pick.choice([1, 1, 2, 3]))
    if pick.random() < 0.4:
        options["boundary"] = per_axis(pick, rank, lambda: pick.choice(BOUNDARIES))
    if pick.random() < 0.2:
        options["fillvalue"] = pick.randint(0 if dtype[0] in "ub" else -3, 1 if dtype == "bool" else 3)
    if dtype in ("float32", "float64", "float16") and pick.random() < 0.3:
        options["activation"] = pick.choice(list(oracle.ACTIVATIONS))
    return {
        "name": pick.choice(["correlate", "convolve"]),
        "x": x,
        "w": w,
        "dtypes": [pick.choice(READ) if dtype in ("float32", "float64") and pick.random() < 0.3 else dtype, dtype],
        "bias": pick.random() < 0.4,
        "options": options,
        "spoilt": pick.choice([0] * 9 + [7]),
        "out": pick.choice([None, *VIEWS]),
    } | place(pick)


def play_convolution(case):
    x = array(case, case["x"], case["dtypes"][0], 0)
    w = array(case, case["w"], case["dtypes"][1], 1)
    options = options_of(case)
    algorithm = options.get("algorithm", "auto")
    if case["bias"]:
        options["bias"] = array(case, case["w"][:1], np.result_type(x, w).newbyteorder("="), 2)
    plain = {name: value for name, value in options.items() if name != "algorithm"}
    expected = expect(getattr(oracle, case["name"]), x, w, **plain)
    if expected is not None:
        options["out"] = output(case, expected.value.shape, expected.dtype)
    function = getattr(fastconv, f"{case['name']}{RANK_NAMES.get(len(case['w']) - 2, '_nd')}")
    got = call(case, expected, function, x, w, **options)
    if algorithm in ASKED and expected.bound is not None and expected.bound.size:
        # Who asks for a transform takes its errors: they are as large as those of the largest sum that it is made of,
        # be that of windows which strides leave out, or of elements that no window meets.
        wide = expected.bound.dtype.type
        most = max(np.abs(x[np.isfinite(x)]).max(initial=0), abs(options.get("fillvalue", 0)))
        sums = np.abs(w).reshape(len(w), -1).sum(axis=1, dtype=wide)
        largest = oracle.rounding_bound(w[0].size, wide(most) * sums.max(initial=0), expected.dtype)
        largest = max(largest, np.fmax.reduce(expected.bound, axis=None))
        expected = expected._replace(bound=np.full_like(expected.bound, largest))
    check(got, expected, {"auto": 4, "winograd": 8, "fft": 8}.get(algorithm, 1))


# Data that a transform would spread over what lies around them, and others: of values and of random numbers.
DATA = {
    "any": lambda made, random: made,
    "positive": lambda made, random: np.abs(made),
    "decades": lambda made, random: made * 10.0 ** random.uniform(-9, 9, made.shape),
    "ramp": lambda made, random: made * np.exp(np.linspace(-20, 20, made.shape[-1])),
    "spikes": lambda made, random: np.where(random.random(made.shape) < 0.01, 1e8, made),
    "islands": lambda made, random: np.where(random.random(made.shape) < 0.02, made, 0),
    "halves": lambda made, random: np.where(np.arange(made.shape[-1]) < made.shape[-1] // 2, 0, made),
    "wave": lambda made, random: 1e6 * np.cos(np.pi * np.arange(made.shape[-1]) * random.integers(1, 9) / 8) + made,
    "constant": lambda made, random: np.full(made.shape, made.flat[0]),
}


def draw_chosen(pick):
    """What "auto" leaves to transforms where they take less time: few channels and many taps, or many and few."""
    rank = pick.choice([1, 2, 2, 3])
    groups, batch = pick.choice([1, 1, 2]), pick.choice([1, 1, 2])
    stride, widest = 1, 3
    if pick.random() < 0.4:
        stride, widest = pick.choice([1, 1, 2, 3]), 60 if rank < 3 else 20
        channels, outputs, room = pick.randint(1, 4), pick.randint(1, 3), 12000
        kernel = {1: [pick.randint(225, 900)], 2: [pick.randint(8, 40), pick.randint(29, 40)], 3: [1, 16, 17]}[rank]
    else:
        channels, outputs, room = pick.choice([16, 24, 33, 64]), pick.choice([1, 2, 3, 17]), 1500
        kernel = [pick.choice([3, 3, 5]) for _ in range(min(rank, 2))] + [pick.choice([1, 3])] * (rank == 3)
    spatial = [n + k - 1 for n, k in zip(sizes(pick, rank, room), kernel, strict=True)]
    return {
        "name": pick.choice(["correlate", "convolve"]),
        "x": [batch, groups * channels, *spatial],
        "w": [groups * outputs, channels, *kernel],
        "dtypes": [pick.choice(["float32", "float32", "float64"])],
        "data": [pick.choice(list(DATA)) for _ in range(2)],
        "options": {
            "groups": groups,
            "padding_mode": pick.choice(["valid", "same", "full", pick.randint(1, widest)]),
            "stride": stride,
            "boundary": pick.choice(["constant", "constant", *BOUNDARIES]),
        },
        "spoilt": pick.choice([0] * 9 + [pick.randint(7, 2000)]),
    } | place(pick)


def play_chosen(case):
    def made(which):
        def make(shape, dtype, seed):
            return DATA[case["data"][which]](values(shape, dtype, seed), np.random.default_rng(seed)).astype(dtype)

        return array(case, case["x"] if which == 0 else case["w"], case["dtypes"][0], which, make)

    case = case | {"views": ["offset" if view == "byteswapped" else view for view in case["views"]]}  # run as it is
    x, w = made(0), made(1)
    options, taken = options_of(case), False
    expected = expect(getattr(oracle, case["name"]), x, w, **options)
    if expected is None:
        raise Refused("no window fits")
    for family in TRANSFORMS:
        try:
            with mock.patch.object(fft_planes, "LEAST", 0):  # which does no more than save time
                run, *_ = prepare_by(family, case["name"], x, w, **options)
        except ValueError:
            continue
        taken = True

        def perform(run=run):
            out = np.empty(expected.value.shape, x.dtype)
            run(x, w, None, np.zeros(1, x.dtype), out)
            return out

        check(call(case, expected, perform), expected, 4)
    if not taken:
        raise Refused("none is for it")


def draw_transposed(pick):
    rank, groups = pick.choice([1, 2, 2, 3]), pick.choice([1, 1, 2, 3])
    kernel, channels, outputs = sizes(pick, rank, 16), size(pick, 17), size(pick, 17)
    stride = [pick.randint(1, 4) for _ in range(rank)]
    dilation = [pick.choice([1, 1, 2, 3]) for _ in range(rank)]
    more = [pick.randrange(max(s, d)) for s, d in zip(stride, dilation, strict=True)]
    room = max(WORK // (channels * outputs * groups), 9)
    return {
        "x": [pick.choice([1, 1, 2]), groups * channels, *sizes(pick, rank, min(room, 400))],
        "w": [groups * channels, outputs, *kernel],
        "dtype": pick.choice(["float32", "float32", "float64", *DTYPES]),
        "bias": pick.random() < 0.4,
        "options": {
            "stride": stride,
            "padding": [pick.choice([0, 0, 1, 1, 2, 3]) for _ in range(rank)],
            "output_padding": more,
            "groups": groups,
            "dilation": dilation,
        },
    } | place(pick)


def play_transposed(case):
    x, w = array(case, case["x"], case["dtype"], 0), array(case, case["w"], case["dtype"], 1)
    options = options_of(case)
    bias = array(case, [options["groups"] * case["w"][1]], case["dtype"], 2) if case["bias"] else None
    numbers = list(options.values())
    native = [a if a is None else a.astype(a.dtype.newbyteorder("=")) for a in (x, w, bias)]
    expected = expect(expect_transposed, *native, *numbers)
    if expected is not None and min(expected.value.shape, default=1) < 1:
        expected = None
    function = getattr(functional, f"conv_transpose{len(case['w']) - 2}d")
    check(call(case, expected, function, x, w, bias, *numbers), expected, 4)


def draw_batch(pick):
    """Layers too large for an oracle, whose blocks are many: images that come together have the bits of each alone."""
    rank, groups = pick.choice([1, 2, 2, 3]), pick.choice([1, 1, 2])
    kernel = [pick.choice([1, 2, 3, 3, 4, 5]) for _ in range(rank)]
    channels, outputs = (int(2 ** pick.uniform(0, 8.5)) for _ in range(2))
    room = max(LARGE // (groups * channels * outputs * math.prod(kernel)), 16)
    return {
        "name": pick.choice(["correlate", "correlate", "conv_transpose"]),
        "x": [pick.randint(2, 5), groups * channels, *(max(n, 5) for n in sizes(pick, rank, min(room, 20_000)))],
        "w": [outputs, channels, *kernel],
        "dtype": pick.choice(["float32", "float32", "float64", "float16", "complex64"]),
        "first": pick.randint(1, 4),
        "more": pick.choice([1, 2, 3]),
        "options": {
            "algorithm": pick.choice(ALGORITHMS),
            "groups": groups,
            "stride": [pick.choice([1, 1, 2, 3]) for _ in range(rank)],
            "padding": [pick.randint(0, (k - 1) // 2) for k in kernel],
        },
        "spoilt": pick.choice([0] * 9 + [pick.randint(7, 2000)]),
    } | place(pick)


def play_batch(case):
    outputs, channels, *kernel = case["w"]
    options, is_transposed = options_of(case), case["name"] == "conv_transpose"
    groups, rank = options["groups"], len(kernel)
    x = array(case, case["x"], case["dtype"], 0, noise)
    shape = [groups * channels, outputs, *kernel] if is_transposed else [groups * outputs, channels, *kernel]
    w = array(case, shape, case["dtype"], 1, noise)

    def run(some, algorithm):
        stride, padding = options["stride"], options["padding"]
        if is_transposed:
            function = getattr(functional, f"conv_transpose{rank}d")
            with fastconv.algorithm("direct" if algorithm == "direct" else "auto"):
                return function(some, w, None, stride, padding, 0, groups)
        function = getattr(fastconv, f"correlate{rank}d")
        return function(some, w, stride=stride, padding_mode=padding, groups=groups, algorithm=algorithm)

    first = min(case["first"], len(x) - 1)
    together = call(case, True, run, x, algorithm=options["algorithm"])
    with fastconv.num_threads(case["more"]):
        parts = [run(some, options["algorithm"]) for some in (x[:first], x[first:])]
    np.testing.assert_array_equal(np.concatenate(parts).view(np.uint8), together.view(np.uint8))


def draw_gradient(pick):
    rank, groups = pick.choice([1, 2, 2, 3]), pick.choice([1, 1, 2, 4])
    kernel, channels, outputs = sizes(pick, rank, 12), size(pick, 17), size(pick, 17)
    stride, dilation = ([pick.randint(1, 3) for _ in range(rank)] for _ in range(2))
    pads = [pick.randint(0, 3) for _ in range(rank)]
    room = max(WORK // (channels * outputs * groups), 9)
    numbers = zip(sizes(pick, rank, min(room, 400)), kernel, dilation, pads, strict=True)
    spatial = [max(n, d * (k - 1) + 1 - 2 * p) for n, k, d, p in numbers]
    return {
        "of": pick.choice(["input", "weight"]),
        "x": [pick.choice([1, 1, 2, 5]), groups * channels, *spatial],
        "w": [groups * outputs, channels, *kernel],
        "dtype": pick.choice(["float32", "float32", "float64", *DTYPES]),
        "options": {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups},
    } | place(pick)


def play_gradient(case):
    options = options_of(case)
    stride, pads, dilation, groups = options.values()
    rank = len(stride)
    axes = zip(case["x"][2:], case["w"][2:], stride, pads, dilation, strict=True)
    spatial = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    if min(spatial) < 1:
        raise Refused("no window fits")
    y = array(case, [case["x"][0], case["w"][0], *spatial], case["dtype"], 1)
    function = getattr(grad, f"conv{rank}d_{case['of']}")
    native = y.astype(y.dtype.newbyteorder("="))
    if case["of"] == "input":
        w = array(case, case["w"], case["dtype"], 0)
        given = w.astype(w.dtype.newbyteorder("="))
        expected = expect_gradient(tuple(case["x"]), given, native, stride, pads, dilation, groups)
        check(call(case, expected, function, tuple(case["x"]), w, y, stride, pads, dilation, groups), expected, 4)
    else:
        x = array(case, case["x"], case["dtype"], 0)
        given = x.astype(x.dtype.newbyteorder("="))
        expected = expect_weights(given, tuple(case["w"]), native, stride, pads, dilation, groups)
        check(call(case, expected, function, x, tuple(case["w"]), y, stride, pads, dilation, groups), expected, 4)


# Windows --------------------------------------------------------------------------------------------------------------


def draw_pool(pick):
    rank = pick.choice([1, 2, 2, 3])
    name = pick.choice(["max_pool", "min_pool", "avg_pool"])
    kernel = [pick.randint(1, 5) for _ in range(rank)]
    options = {
        "stride": pick.choice([None, per_axis(pick, rank, lambda: pick.randint(1, 4))]),
        "dilation": pick.choice([1, per_axis(pick, rank, lambda: pick.randint(1, 3))]),
        "padding_spec": padding(pick, rank),
        "ceil_mode": pick.random() < 0.3,
    }
    if name == "avg_pool":
        options["count_include_pad"] = pick.random() < 0.5
    return {
        "name": name,
        "x": [pick.choice([0, 1, 1, 2]), pick.choice([1, 3, 17]), *sizes(pick, rank, 600)],
        "kernel": kernel,
        "dtype": pick.choice(INEXACT + DTYPES if name == "avg_pool" else [d for d in DTYPES if "complex" not in d]),
        "indices": pick.random() < 0.3,
        "options": options,
        "spoilt": pick.choice([0, 0, 0, 5]),
    } | place(pick)


def play_pool(case):
    x, options = array(case, case["x"], case["dtype"], 0, pick_values(case)), options_of(case)
    kernel, name = tuple(case["kernel"]), case["name"]
    expected = expect(getattr(oracle, name), x, kernel, **options)
    function = getattr(fastconv, f"{name}{len(kernel)}d")
    if name == "avg_pool":
        check(call(case, expected, function, x, kernel, **options), expected)
    elif case["indices"]:
        got = call(case, expected, function, x, kernel, return_indices=True, **options)
        for each, wanted in zip(got, expected, strict=True):
            check(each, wanted)
    else:
        check(call(case, expected, function, x, kernel, **options), expected and expected[0])


def pick_values(case):
    """Where many are equal, the first of equals is told from the last."""
    return ties if case["seed"] % 3 == 0 else values


def draw_patches(pick):
    rank = pick.choice([1, 2, 2, 3])
    return {
        "name": pick.choice(["extract_patches", "combine_patches", "im2col", "col2im"]),
        "x": [pick.choice([0, 1, 1, 2]), pick.choice([1, 3, 5]), *sizes(pick, rank, 400)],
        "kernel": [pick.choice([1, 2, 3, 3, 4, 7]) for _ in range(rank)],
        "dtype": pick.choice(DTYPES),
        "options": {
            "stride": per_axis(pick, rank, lambda: pick.choice([1, 2, 2, 3, 4, 5, 7])),
            "dilation": pick.choice([1, 1, per_axis(pick, rank, lambda: pick.randint(1, 3))]),
            "padding": padding(pick, rank, 3),
        },
    } | place(pick)


def play_patches(case):
    name, kernel, options = case["name"], tuple(case["kernel"]), options_of(case)
    shape, inner = case["x"], tuple(case["x"][2:])
    if math.prod(kernel) * math.prod(inner) > WORK:
        raise Refused("more than the oracle has time for")
    gather = "extract_patches" if "patches" in name else "im2col"
    x = array(case, shape, case["dtype"], 0)
    expected = expect(getattr(oracle, gather), x, kernel, **options)
    function = getattr(fastconv, name)
    if name == gather:
        check(call(case, expected, function, x, kernel, **options), expected)
        return
    if expected is None:
        raise Refused("no patches")
    columns = array(case, expected.shape, case["dtype"], 1)
    expected = getattr(oracle, name)(columns, inner, kernel, **options)
    check(call(case, expected, function, columns, inner, kernel, **options), expected)


def draw_filter(pick):
    rank = pick.choice([1, 2, 2, 3])
    return {
        "name": pick.choice(["maximum_filter", "minimum_filter", "uniform_filter"]),
        "x": sizes(pick, rank, 600),
        "kernel": [pick.randint(1, 5) for _ in range(rank)],
        "dtype": pick.choice([d for d in DTYPES if "complex" not in d]),
        "options": {"stride": pick.choice([None, per_axis(pick, rank, lambda: pick.randint(1, 3))])},
        "spoilt": pick.choice([0, 0, 5]),
    } | place(pick)


def play_filter(case):
    x, kernel, options = array(case, case["x"], case["dtype"], 0), tuple(case["kernel"]), options_of(case)
    expected = expect(getattr(oracle, case["name"]), x, kernel, **options)
    check(call(case, expected, getattr(fastconv, case["name"]), x, kernel, **options), expected)


def draw_unpool(pick):
    rank = pick.choice([1, 2, 2, 3])
    return {
        "x": [pick.choice([0, 1, 2]), pick.choice([1, 3]), *sizes(pick, rank, 300)],
        "kernel": [pick.randint(1, 3) for _ in range(rank)],
        "dtype": pick.choice(DTYPES),
        "options": {},
    } | place(pick)


def play_unpool(case):
    rank, kernel = len(case["kernel"]), tuple(case["kernel"])
    inner = tuple(n * k for n, k in zip(case["x"][2:], kernel, strict=True))

    def places(shape, dtype, seed):
        return np.random.default_rng(seed).integers(0, math.prod(inner), shape).astype(dtype)

    x = array(case, case["x"], case["dtype"], 0)
    indices = array(case, case["x"], "int64", 1, places)
    expected = expect(oracle.max_unpool, x, indices, inner)
    check(call(case, expected, getattr(fastconv, f"max_unpool{rank}d"), x, indices, kernel), expected)


def draw_adaptive(pick):
    rank = pick.choice([1, 2, 2, 3])
    inner = sizes(pick, rank, 400)
    return {
        "name": pick.choice(["adaptive_avg_pool", "adaptive_max_pool", "lp_pool"]),
        "x": [pick.choice([1, 2]), pick.choice([1, 3]), *inner],
        "kernel": [pick.randint(1, 9) for _ in range(rank)],
        "dtype": pick.choice(["float32", "float64"]),
        "options": {},
    } | place(pick)


def play_adaptive(case):
    x, name, out = array(case, case["x"], case["dtype"], 0), case["name"], tuple(case["kernel"])
    rank, inner = len(out), case["x"][2:]
    native = x.astype(x.dtype.newbyteorder("="))
    function = getattr(functional, f"{name}{rank}d")
    unit = float(np.finfo(native.dtype).eps)
    if name == "lp_pool":
        if any(n < k for n, k in zip(inner, out, strict=True)):
            raise Refused("no window fits")
        axes = [stepped(n, k, k) for n, k in zip(inner, out, strict=True)]
        wanted = fold_windows(native.astype("f8"), axes, lambda cut, _: (cut**2).sum(-1) ** 0.5, "f8")
        bound = (math.prod(out) + 4) * unit * abs(wanted)
        check(call(case, wanted, function, x, 2, out), oracle.Expected(wanted, bound, native.dtype))
        return
    axes = [shared(n, count) for n, count in zip(inner, out, strict=True)]
    if name == "adaptive_max_pool":
        got = call(case, axes, function, x, out, True)
        check(got[0], fold_windows(native, axes, lambda cut, _: cut.max(-1), native.dtype))
        check(got[1], fold_windows(native, axes, where_largest, "i8"))
        return
    wanted = fold_windows(native, axes, mean_of, "f8")
    largest = math.prod(max(map(len, axis)) for axis in axes)
    bound = (largest + 3) * unit * fold_windows(abs(native), axes, mean_of, "f8")
    check(call(case, wanted, function, x, out), oracle.Expected(wanted, bound, native.dtype))


# Drop-ins -------------------------------------------------------------------------------------------------------------

# Of linear filters: the sum of their absolute weights, and how many roundings a result has, by count of axes.
LINEAR = {
    "sobel": lambda rank: (2 * 4 ** (rank - 1), 8 * rank),
    "prewitt": lambda rank: (2 * 3 ** (rank - 1), 8 * rank),
    "laplace": lambda rank: (4 * rank, 8 * rank),
    "uniform_filter": lambda rank: (1, 40 * rank),
    "gaussian_filter": lambda rank: (1, 40 * rank),
}
EXTREMA = ["maximum_filter", "minimum_filter", "grey_erosion", "grey_dilation", "grey_opening", "grey_closing"]
MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]


def draw_ndimage(pick):
    rank = pick.choice([1, 2, 2, 3])
    name = pick.choice([*LINEAR, *EXTREMA, "correlate", "convolve"])
    return {
        "name": name,
        "x": sizes(pick, rank, 3000),
        "kernel": [pick.randint(1, 5) for _ in range(rank)],
        "dtype": pick.choice(FILTERED),
        "options": {"mode": pick.choice(MODES)},
    } | place(pick)


def play_ndimage(case):
    import scipy.ndimage as theirs

    name, kernel, rank = case["name"], tuple(case["kernel"]), len(case["x"])
    x = array(case, case["x"], case["dtype"], 0, numbers)  # SciPy's doubles hold their sums
    native, options = x.astype(x.dtype.newbyteorder("=")), options_of(case)
    weights = np.random.default_rng(case["seed"]).integers(-4, 5, kernel).astype("f8")
    arguments = {"gaussian_filter": (0.6,), "correlate": (weights,), "convolve": (weights,)}.get(name, (kernel,))
    if name in ("sobel", "prewitt", "laplace"):
        arguments = ()
    with np.errstate(all="ignore"):
        wanted = getattr(theirs, name)(native, *arguments, **options)
    got = call(case, wanted, getattr(ndimage, name), x, *arguments, **options)
    if name in EXTREMA or native.dtype.kind not in "f":
        check(got, wanted)
        return
    scale, roundings = LINEAR.get(name, lambda _: (abs(weights).sum(), weights.size + 3))(rank)
    bound = roundings * float(np.finfo(native.dtype).eps) * scale * float(abs(native).max(initial=0))
    wide = getattr(theirs, name)(native.astype("f8"), *arguments, **options)
    check(got, oracle.Expected(wide, np.full(wide.shape, bound), native.dtype))


SIDES = (0, "x"), (1, "w")


def few(shape, dtype, seed):
    """Integers of which sums of some thousands fit in sixteen bits."""
    return (values(shape, "u1", seed) % 4).astype(dtype)


def draw_sequences(pick):
    """Functions of NumPy and SciPy of two arrays."""
    module = pick.choice(["numpy", "signal"])
    name = pick.choice(["convolve", "correlate"])
    rank = 1 if module == "numpy" else pick.choice([1, 1, 2, 3])
    if module == "signal" and rank == 2 and pick.random() < 0.5:
        name += "2d"
    return {
        "module": module,
        "name": name,
        "x": sizes(pick, rank, 1200),
        "w": sizes(pick, rank, 200),
        "dtype": pick.choice(["float32", "float64", "complex64", "int16", "uint8", "int64"]),
        "options": {"mode": pick.choice(["full", "same", "valid"])},
    } | place(pick)


def play_sequences(case):
    # SciPy may take integers through transforms: their sums have to be small.
    x, w = (array(case, case[key], case["dtype"], at, few if case["dtype"][0] in "iu" else values) for at, key in SIDES)
    mode, name = case["options"]["mode"], case["name"]
    larger = [a >= b for a, b in zip(case["x"], case["w"], strict=True)]
    if mode == "valid" and case["module"] == "signal" and not (all(larger) or not any(larger)):
        raise Refused("neither holds the other")
    native = [a.astype(a.dtype.newbyteorder("=")) for a in (x, w)]
    module = drop_in_numpy if case["module"] == "numpy" else drop_in_signal
    got = call(case, True, getattr(module, name), x, w, mode)
    if case["module"] == "numpy":
        check(got, expect_numpy(name, *native, mode))
    else:
        transformed = math.prod(a + b for a, b in zip(case["x"], case["w"], strict=True))
        check_signal(name, got, native, mode, transformed=transformed)


# Compiled callers -----------------------------------------------------------------------------------------------------

extending.init()


@numba.njit
def compiled_correlate1d(x, w, stride, padding, dilation, groups):
    return fastconv.correlate1d(x, w, stride=stride, padding_mode=padding, dilation=dilation, groups=groups)


@numba.njit
def compiled_correlate2d(x, w, stride, padding, dilation, groups):
    return fastconv.correlate2d(x, w, stride=stride, padding_mode=padding, dilation=dilation, groups=groups)


@numba.njit
def compiled_convolve2d(x, w, stride, padding, dilation, groups):
    return fastconv.convolve2d(x, w, stride=stride, padding_mode=padding, dilation=dilation, groups=groups)


@numba.njit
def compiled_max_pool2d(x, k, stride):
    return fastconv.max_pool2d(x, k, stride=stride)


@numba.njit
def compiled_im2col(x, k, stride, padding):
    return fastconv.im2col(x, k, stride=stride, padding=padding)


def draw_compiled(pick):
    name = pick.choice(["correlate1d", "correlate2d", "convolve2d", "max_pool2d", "im2col"])
    rank, groups = (1 if name.endswith("1d") else 2), pick.choice([1, 1, 2, 3])
    x, w = convolution_shapes(pick, rank, groups)
    if name in ("max_pool2d", "im2col"):
        x[2:] = sizes(pick, rank, 300)
    return {
        "name": name,
        "x": x,
        "w": w,
        "dtype": pick.choice(["float32", "float64"]),
        "options": {
            "stride": pick.randint(1, 3),
            "padding": pick.randint(0, 3),
            "dilation": pick.randint(1, 2),
            "groups": groups,
        },
    } | place(pick)


def play_compiled(case):
    """Compiled for C-contiguous arrays, and for any other layout once."""
    name, (stride, pads, dilation, groups) = case["name"], case["options"].values()
    views = [view if view in ("contiguous", "stepped") else "reversed" for view in case["views"]]
    case = case | {"views": views}
    x, w = array(case, case["x"], case["dtype"], 0), array(case, case["w"], case["dtype"], 1)
    function, kernel = globals()[f"compiled_{name}"], tuple(case["w"][2:])
    if name == "max_pool2d":
        expected = expect(oracle.max_pool, x, kernel, stride=stride)
        check(call(case, expected, function, x, kernel, stride), expected and expected[0])
    elif name == "im2col":
        expected = expect(oracle.im2col, x, kernel, stride=stride, padding=pads)
        check(call(case, expected, function, x, kernel, stride, pads), expected)
    else:
        options = {"stride": stride, "padding_mode": pads, "dilation": dilation, "groups": groups}
        expected = expect(getattr(oracle, name[:-2]), x, w, **options)
        check(call(case, expected, function, x, w, stride, pads, dilation, groups), expected, 4)


FAMILIES = {
    "convolution": Family(8, draw_convolution, play_convolution),
    "chosen": Family(2, draw_chosen, play_chosen),
    "transposed": Family(3, draw_transposed, play_transposed),
    "batch": Family(1, draw_batch, play_batch),
    "gradient": Family(3, draw_gradient, play_gradient),
    "pool": Family(3, draw_pool, play_pool),
    "patches": Family(3, draw_patches, play_patches),
    "filter": Family(1, draw_filter, play_filter),
    "unpool": Family(1, draw_unpool, play_unpool),
    "adaptive": Family(1, draw_adaptive, play_adaptive),
    "ndimage": Family(3, draw_ndimage, play_ndimage),
    "sequences": Family(2, draw_sequences, play_sequences),
    "compiled": Family(2, draw_compiled, play_compiled),
}


NAMED = "convolution", "pool", "patches", "filter"  # whose options are given by name, so that one may be left out


def draw(seed, number):
    """The case of this number."""
    pick = random.Random(f"{seed}:{number}")
    family = pick.choices(list(FAMILIES), [each.weight for each in FAMILIES.values()])[0]
    return {"family": family} | FAMILIES[family].draw(pick)


def play(case):
    """Nothing if all is well; `Refused` if both sides refuse; else whatever was raised."""
    FAMILIES[case["family"]].play(case)


# Shrinking ------------------------------------------------------------------------------------------------------------


def simpler(value):
    """Values to try instead, the simplest first."""
    if isinstance(value, bool):
        return [False] if value else []
    if isinstance(value, int):
        return sorted({least for least in (0, 1, value // 2, value - 1) if 0 <= least < value})
    if isinstance(value, list):
        return [[*value[:at], each, *value[at + 1 :]] for at, old in enumerate(value) for each in simpler(old)]
    return ["contiguous"] if value in VIEWS and value != "contiguous" else []


def smaller(case):
    """Cases with one thing less, or with one thing simpler."""
    options = case["options"]
    if case["family"] in NAMED:
        for name in options:
            yield case | {"options": {key: value for key, value in options.items() if key != name}}
    for name, value in options.items():
        for each in simpler(value):
            yield case | {"options": options | {name: each}}
    if case.get("out"):
        yield case | {"out": None}
    for name in case.keys() - {"family", "name", "module", "of", "options", "dtype", "dtypes", "out"}:
        for each in simpler(case[name]):
            yield case | {name: each}
