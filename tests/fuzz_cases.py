"""Random calls of every public function, as plain numbers and names: drawn, and played against the oracles.

A case is a dict that JSON can hold, so that it can be printed, run again and shrunk. It names its family; a family is
how its cases are drawn and how one is played.
"""

import math
import random
from unittest import mock

import guarded  # noqa: F401 -- first: it stands for what the package takes arrays from
import numpy as np
import oracle
from cases import RANK_NAMES, noise, prepare_by, ties, values
from fastconv.kernels.convolution import choose, fft_planes
from fastconv.kernels.shapes import ALGORITHMS, BOUNDARIES
from fuzz_arrays import (
    ASKED,
    DTYPES,
    VIEWS,
    WORK,
    Family,
    Refused,
    array,
    call,
    check,
    convolution_shapes,
    expect,
    native,
    options_of,
    output,
    padding,
    per_axis,
    place,
    places_in,
    shorten,
    size,
    sizes,
)
from fuzz_drop_ins import DROP_INS
from test_functional import expect_transposed
from test_functional_pools import fold_windows, mean_of, shared, stepped, where_largest
from test_grad import expect_gradient
from test_grad_weights import expected as expect_weights

import fastconv
from fastconv import functional, grad

INEXACT = [dtype.name for dtype in (*oracle.FLOATS, *oracle.COMPLEX)]
READ = ["uint8", "int16", "float16", "float32"]  # converted where they are read
LARGE = 30_000_000  # multiplications of a case of many taps, or that no oracle plays, and elements of its result
SHARED = 8_000_000  # multiplications of a case whose work is cut for threads
TRANSFORMS = "winograd", "fft_tiles", "fft_planes"  # the families behind them


# Convolutions ---------------------------------------------------------------------------------------------------------


def draw_convolution(pick):
    rank = pick.choice([1, 2, 2, 2, 3, 4])
    groups = pick.choice([1, 1, 1, 2, 3, 5])
    x, w = convolution_shapes(pick, rank, groups)
    if pick.random() < 0.8:  # of the others no window may fit
        x[2:] = [max(n, k) for n, k in zip(x[2:], w[2:], strict=True)]
    x[2:], w[2:] = shorten(pick, x[2:], w[2:])
    dtype = pick.choice(["float32", "float32", "float64", *DTYPES])
    options = {
        "groups": groups,
        "padding_mode": padding(pick, rank),
        "algorithm": pick.choice([*ALGORITHMS, "auto", "direct"]),
    }
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


def draw_direct(pick):
    """What several families of direct sums take: few outputs or channels, or many groups; and one tap of many."""
    case = draw_convolution(pick)
    rank, groups = pick.choice([1, 2, 2, 3]), pick.choice([1, 2, 4, 7, 8, 9, 15, 16, 17, 33])
    channels, outputs = (pick.choice([1, 1, 2, 3, 4] if groups > 4 else [1, 2, 3, 16, 17, 33]) for _ in range(2))
    kernel = sizes(pick, rank, 25)
    if pick.random() < 0.15:
        groups, kernel = pick.choice([1, 1, 2]), [1] * rank
        channels, outputs = pick.choice([33, 95, 96, 97, 110]), pick.choice([31, 32, 33, 40, 140])
    work, most = (SHARED, 5000) if pick.random() < 0.1 else (WORK * 4, WORK * 4)
    room = min(max(work // (groups * channels * outputs * math.prod(kernel)), 27), most)
    spatial, kernel = shorten(pick, sizes(pick, rank, room), kernel)
    if pick.random() < 0.9:
        spatial = [max(n, k) for n, k in zip(spatial, kernel, strict=True)]
    kept = ("activation", "fillvalue")
    options = {name: value for name, value in case["options"].items() if name in kept}
    options |= {"groups": groups, "padding_mode": padding(pick, rank)}
    options["stride"] = per_axis(pick, rank, lambda: pick.choice([1, 1, 2, 3, 4]))
    options["dilation"] = per_axis(pick, rank, lambda: pick.choice([1, 1, 2, 3]))
    options["boundary"] = per_axis(pick, rank, lambda: pick.choice(["constant", "constant", *BOUNDARIES]))
    x, w = [pick.choice([1, 1, 2, 3]), groups * channels, *spatial], [groups * outputs, channels, *kernel]
    return case | {"x": x, "w": w, "options": options}


def play_direct(case):
    """By each family that takes it, not only by the one that would run it."""
    x, w = (array(case, case[name], case["dtypes"][i], i) for i, name in enumerate("xw"))
    x, w = (a.astype(a.dtype.newbyteorder("="), copy=False) for a in (x, w))
    options, dtype = options_of(case), np.result_type(x, w)
    bias = array(case, case["w"][:1], dtype, 2) if case["bias"] else None
    bias = None if bias is None else bias.astype(dtype)
    expected = expect(getattr(oracle, case["name"]), x, w, bias=bias, **options)
    if expected is None:
        raise Refused("no window fits")
    fill = np.full(1, options.pop("fillvalue", 0), dtype)
    for family in (each.name for each in choose.FAMILIES if each.algorithm == "direct"):
        try:
            run, *_ = prepare_by(family, case["name"], x, w, algorithm="direct", has_bias=bias is not None, **options)
        except ValueError:
            continue

        def perform(run=run):
            out = output(case, expected.value.shape, expected.dtype)
            out = np.empty(expected.value.shape, expected.dtype) if out is None else out
            run(x, w, bias, fill, out)
            return out

        check(call(case, expected, perform), expected)


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
    each = batch * groups * channels * outputs * math.prod(kernel)  # multiplications of a position
    found = sizes(pick, rank, max(min(room, LARGE // 2 // each), 27))
    spatial = [n + k - 1 for n, k in zip(found, kernel, strict=True)]
    padding = pick.choice(["valid", "same", "full", pick.randint(1, widest)])
    reaches = {"valid": -1, "same": 0, "full": 1}
    more = [2 * padding if isinstance(padding, int) else reaches[padding] * (k - 1) for k in kernel]
    padded = math.prod(n + m for n, m in zip(spatial, more, strict=True))
    return {
        "name": pick.choice(["correlate", "convolve"]),
        "x": [batch, groups * channels, *spatial],
        "w": [groups * outputs, channels, *kernel],
        "dtypes": [pick.choice(["float32", "float32", "float64"])],
        "data": [pick.choice(list(DATA)) for _ in range(2)],
        "options": {
            "groups": groups,
            "padding_mode": padding if padded * each <= LARGE else "valid",
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
    spatial, kernel = shorten(pick, sizes(pick, rank, min(room, 400)), kernel)
    return {
        "x": [pick.choice([1, 1, 2]), groups * channels, *spatial],
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
    own = [a if a is None else native(a) for a in (x, w, bias)]
    expected = expect(expect_transposed, *own, *numbers)
    if expected is not None and min(expected.value.shape, default=1) < 1:
        expected = None
    function = getattr(functional, f"conv_transpose{len(case['w']) - 2}d")
    check(call(case, expected, function, x, w, bias, *numbers), expected, 4)


def draw_batch(pick):
    """Layers too large for an oracle, whose blocks are many, and tiny ones: the bits are those of fewer images."""
    rank, groups = pick.choice([1, 2, 2, 3]), pick.choice([1, 1, 2, 16])
    kernel = [pick.choice([1, 2, 3, 3, 4, 5]) for _ in range(rank)]
    is_tiny = pick.random() < 0.3
    channels, outputs = (int(2 ** pick.uniform(0, 2.5 if is_tiny else 8.5)) for _ in range(2))
    room = max(LARGE // (groups * channels * outputs * math.prod(kernel)), 16)
    spatial = [max(n, 5) for n in sizes(pick, rank, min(room, 20_000))]
    if is_tiny:
        spatial = [pick.randint(5, 50 if rank == 1 else 12) for _ in range(rank)]
    case = {
        "name": pick.choice(["correlate", "correlate", "conv_transpose"]),
        "x": [pick.randint(2, 40 if is_tiny else 5), groups * channels, *spatial],
        "w": [outputs, channels, *kernel],
        "dtype": pick.choice(["float32", "float32", "float64", "float16", "complex64"]),
        "first": pick.randint(1, 4),
        "more": pick.choice([1, 2, 3]),
        "has_bias": pick.random() < 0.3,
        "options": {
            "algorithm": pick.choice(ALGORITHMS),
            "groups": groups,
            "stride": [pick.choice([1, 1, 2, 3]) for _ in range(rank)],
            "padding": [pick.randint(0, (k - 1) // 2) for k in kernel],
        },
        "spoilt": pick.choice([0] * 9 + [pick.randint(7, 2000)]),
    }
    batch, _, *spatial = case["x"]
    strides = case["options"]["stride"] if case["name"] == "conv_transpose" else []
    while math.prod([batch, groups, outputs, *spatial, *strides]) > LARGE:
        if max(spatial) > 5:
            spatial[spatial.index(max(spatial))] = max(max(spatial) // 2, 5)
        else:
            outputs //= 2
    case["x"][2:], case["w"][0] = spatial, outputs
    return case | place(pick)


def play_batch(case):
    outputs, channels, *kernel = case["w"]
    options, is_transposed = options_of(case), case["name"] == "conv_transpose"
    groups, rank = options["groups"], len(kernel)
    x = array(case, case["x"], case["dtype"], 0, noise)
    shape = [groups * channels, outputs, *kernel] if is_transposed else [groups * outputs, channels, *kernel]
    w = array(case, shape, case["dtype"], 1, noise)
    bias = noise(groups * outputs, case["dtype"], 2) if case["has_bias"] else None

    def run(some, algorithm):
        stride, padding = options["stride"], options["padding"]
        if is_transposed:
            function = getattr(functional, f"conv_transpose{rank}d")
            with fastconv.algorithm("direct" if algorithm == "direct" else "auto"):
                return function(some, w, bias, stride, padding, 0, groups)
        function = getattr(fastconv, f"correlate{rank}d")
        return function(some, w, bias=bias, stride=stride, padding_mode=padding, groups=groups, algorithm=algorithm)

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
    room = min(max(WORK // (channels * outputs * groups), 9), 400)
    if pick.random() < 0.3:
        groups, stride = pick.choice([1, 2, 4, 16, 32]), pick.choice([stride, [1] * rank])
        room = min(max(SHARED // (channels * outputs * groups * math.prod(kernel)), 9), 20_000)
    spatial, kernel = shorten(pick, sizes(pick, rank, room), kernel)
    numbers = zip(spatial, kernel, dilation, pads, strict=True)
    spatial = [max(n, d * (k - 1) + 1 - 2 * p) for n, k, d, p in numbers]
    return {
        "of": pick.choice(["input", "input", "weight", "weight", "bias"]),
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
    if case["of"] == "bias":
        y = array(case, y.shape, case["dtype"], 1, ties)  # whose sums are exact
        own = native(y)
        sums = own.astype(oracle.wide(own.dtype)).sum((0, *range(2, y.ndim)))
        check(call(case, True, function, y), sums.astype(own.dtype))
        return
    own = native(y)
    if case["of"] == "input":
        w = array(case, case["w"], case["dtype"], 0)
        given = native(w)
        expected = expect_gradient(tuple(case["x"]), given, own, stride, pads, dilation, groups)
        check(call(case, expected, function, tuple(case["x"]), w, y, stride, pads, dilation, groups), expected, 4)
    else:
        x = array(case, case["x"], case["dtype"], 0)
        given = native(x)
        expected = expect_weights(given, tuple(case["w"]), own, stride, pads, dilation, groups)
        check(call(case, expected, function, x, tuple(case["w"]), y, stride, pads, dilation, groups), expected, 4)


# Windows --------------------------------------------------------------------------------------------------------------


def draw_pool(pick):
    rank = pick.choice([1, 2, 2, 3])
    name = pick.choice(["max_pool", "min_pool", "avg_pool"])
    spatial, kernel = shorten(pick, sizes(pick, rank, 600), [pick.randint(1, 5) for _ in range(rank)])
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
        "x": [pick.choice([0, 1, 1, 2]), pick.choice([1, 3, 17]), *spatial],
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
    kernel = [pick.choice([1, 2, 3, 3, 4, 7]) for _ in range(rank)]
    spatial, kernel = shorten(pick, sizes(pick, rank, 400), kernel)
    return {
        "name": pick.choice(["extract_patches", "combine_patches", "im2col", "col2im"]),
        "x": [pick.choice([0, 1, 1, 2]), pick.choice([1, 3, 5]), *spatial],
        "kernel": kernel,
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
    spatial, kernel = shorten(pick, sizes(pick, rank, 600), [pick.randint(1, 5) for _ in range(rank)])
    return {
        "name": pick.choice(["maximum_filter", "minimum_filter", "uniform_filter"]),
        "x": spatial,
        "kernel": kernel,
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
    x = array(case, case["x"], case["dtype"], 0)
    indices = array(case, case["x"], "int64", 1, places_in(math.prod(inner)))
    expected = expect(oracle.max_unpool, x, indices, inner)
    check(call(case, expected, getattr(fastconv, f"max_unpool{rank}d"), x, indices, kernel), expected)


def draw_pool_gradient(pick):
    rank = pick.choice([1, 2, 2, 3])
    spatial, kernel = shorten(pick, sizes(pick, rank, 300), [pick.randint(1, 5) for _ in range(rank)])
    spatial = [max(n, k) for n, k in zip(spatial, kernel, strict=True)]
    return {
        "name": pick.choice(["avg_pool", "max_pool"]),
        "x": [pick.choice([0, 1, 2]), pick.choice([1, 3]), *spatial],
        "kernel": kernel,
        "dtype": pick.choice(["float32", "float64"]),
        "options": {
            "stride": [pick.randint(1, 4) for _ in range(rank)],
            "padding": [pick.randint(0, k // 2) for k in kernel],
            "ceil_mode": pick.random() < 0.3,
            "counted": pick.random() < 0.5,
        },
    } | place(pick)


def play_pool_gradient(case):
    kernel, (stride, pads, ceil_mode, counted) = tuple(case["kernel"]), options_of(case).values()
    shape, rank = tuple(case["x"]), len(kernel)
    numbers = list(zip(shape[2:], kernel, stride, pads, strict=True))
    if any(n < k or 2 * p > k for n, k, _, p in numbers):  # of a case that shrinks
        raise Refused("no window fits, or one lies in padding")
    axes = [stepped(n, k, s, p, 1, ceil_mode) for n, k, s, p in numbers]
    y = array(case, [*shape[:2], *map(len, axes)], case["dtype"], 0)
    wide = y.astype("f8")
    expected, scale = np.zeros(shape), np.zeros(shape)
    function = getattr(grad, f"{case['name']}{rank}d_input")
    if case["name"] == "max_pool":
        indices = array(case, y.shape, "int64", 1, places_in(math.prod(shape[2:])))
        for at in np.ndindex(shape[:2]):
            for sums, terms in ((expected, wide), (scale, abs(wide))):
                np.add.at(sums[at].reshape(-1), indices[at].reshape(-1), terms[at].reshape(-1))
        got = call(case, True, function, shape, indices, y)
    else:
        for at in np.ndindex(y.shape[2:]):
            windows = [axis[i] for axis, i in zip(axes, at, strict=True)]
            spans = [min(k, n + 2 * p - i * s) for i, (n, k, s, p) in zip(at, numbers, strict=True)]
            count = math.prod(spans if counted else map(len, windows))
            box = (..., *(slice(window[0], window[-1] + 1) for window in windows))
            for sums, terms in ((expected, wide), (scale, abs(wide))):
                sums[box] += (terms[(..., *at)] / count).reshape(*shape[:2], *[1] * rank)
        got = call(case, True, function, shape, y, kernel, stride, pads, ceil_mode, counted)
    bound = oracle.rounding_bound(math.prod(kernel) + math.prod(y.shape[2:]), scale, y.dtype)
    check(got, oracle.Expected(expected, bound, y.dtype.newbyteorder("=")))


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
    own = native(x)
    function = getattr(functional, f"{name}{rank}d")
    unit = float(np.finfo(own.dtype).eps)
    if name == "lp_pool":
        if any(n < k for n, k in zip(inner, out, strict=True)):
            raise Refused("no window fits")
        axes = [stepped(n, k, k) for n, k in zip(inner, out, strict=True)]
        wanted = fold_windows(own.astype("f8"), axes, lambda cut, _: (cut**2).sum(-1) ** 0.5, "f8")
        bound = (math.prod(out) + 4) * unit * abs(wanted)
        check(call(case, wanted, function, x, 2, out), oracle.Expected(wanted, bound, own.dtype))
        return
    axes = [shared(n, count) for n, count in zip(inner, out, strict=True)]
    if name == "adaptive_max_pool":
        got = call(case, axes, function, x, out, True)
        check(got[0], fold_windows(own, axes, lambda cut, _: cut.max(-1), own.dtype))
        check(got[1], fold_windows(own, axes, where_largest, "i8"))
        return
    wanted = fold_windows(own, axes, mean_of, "f8")
    largest = math.prod(max(map(len, axis)) for axis in axes)
    bound = (largest + 3) * unit * fold_windows(abs(own), axes, mean_of, "f8")
    check(call(case, wanted, function, x, out), oracle.Expected(wanted, bound, own.dtype))


FAMILIES = {
    "convolution": Family(8, draw_convolution, play_convolution),
    "direct": Family(4, draw_direct, play_direct),
    "chosen": Family(2, draw_chosen, play_chosen),
    "transposed": Family(3, draw_transposed, play_transposed),
    "batch": Family(1, draw_batch, play_batch),
    "gradient": Family(3, draw_gradient, play_gradient),
    "pool": Family(3, draw_pool, play_pool),
    "patches": Family(3, draw_patches, play_patches),
    "filter": Family(1, draw_filter, play_filter),
    "unpool": Family(1, draw_unpool, play_unpool),
    "pool_gradient": Family(1, draw_pool_gradient, play_pool_gradient),
    "adaptive": Family(1, draw_adaptive, play_adaptive),
    **DROP_INS,
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
