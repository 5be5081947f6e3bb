"""Gradients of weights and biases against sums over positions, tap by tap."""

import inspect
import itertools
import math

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, rng, slow, values
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import grad

# input, weight_size, options
CASES = [
    ((2, 3, 17), (4, 3, 3), {}),
    ((2, 4, 40), (6, 2, 5), {"stride": 3, "padding": 2, "groups": 2}),
    ((2, 6, 33), (6, 1, 9), {"padding": 4, "groups": 6, "dilation": 2}),
    ((2, 3, 7, 9), (4, 3, 3, 3), {"padding": 1}),
    ((2, 3, 8, 9), (5, 3, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 4, 17, 19), (6, 2, 3, 5), {"stride": (3, 2), "padding": 2, "dilation": (2, 1), "groups": 2}),
    ((2, 3, 9, 9), (7, 3, 1, 1), {}),
    ((2, 3, 9, 9), (7, 3, 1, 1), {"stride": 2, "padding": (0, 3)}),
    ((2, 8, 12, 13), (16, 1, 3, 3), {"padding": 1, "groups": 8}),
    ((1, 2, 30, 31), (2, 2, 11, 11), {"stride": 4, "padding": 2}),
    ((2, 2, 9, 5), (3, 2, 5, 5), {"dilation": (2, 1), "padding": (3, 4)}),
    ((2, 3, 5, 6, 7), (4, 3, 3, 2, 3), {"padding": 1, "stride": (1, 2, 1)}),
    ((2, 4, 4, 5, 6), (4, 1, 3, 3, 3), {"padding": 1, "groups": 4}),
    ((1, 2, 3, 4, 5), (3, 2, 1, 1, 1), {}),
    # lone channels, whose rows are read as they lie: one run, apart, every second element
    ((5, 6, 14, 14), (6, 1, 5, 5), {"padding": 2, "groups": 6}),
    ((2, 3, 12, 15), (6, 1, 7, 4), {"padding": (5, 1), "dilation": (2, 3), "groups": 3}),
    ((2, 5, 13, 27), (5, 1, 3, 3), {"padding": 1, "groups": 5, "stride": 2}),
]
# Groups with channels enough for vectors along them: taps side by side, apart, with places of their own along either
# axis; channels that are no whole number of vectors, in one panel and in several.
CHANNELS = [
    ((2, 16, 9, 11), (10, 8, 3, 3), {"padding": 1, "groups": 2}),
    ((3, 24, 7, 7), (5, 24, 3, 3), {"padding": 2, "stride": 2}),
    ((2, 40, 8, 19), (6, 40, 2, 3), {"dilation": (2, 3), "padding": 3}),
    ((2, 48, 7, 7), (4, 48, 1, 1), {}),
    ((2, 35, 10, 12), (4, 35, 1, 1), {"stride": (2, 3), "padding": (1, 2)}),
    ((2, 16, 70), (28, 16, 2), {"dilation": 16}),
    ((2, 16, 60), (4, 16, 5), {"dilation": 11, "padding": 9}),
    ((1, 64, 50), (8, 32, 4), {"stride": 3, "padding": 4, "groups": 2}),
    ((2, 12, 4, 5, 9), (4, 12, 3, 2, 3), {"padding": 1, "stride": (2, 1, 1)}),
    ((1, 8, 9, 40), (4, 8, 3, 2), {"stride": (4, 7)}),
]
# Of more than one block: positions of one row, rows, images that follow each other, taps, channels, outputs, groups,
# parts of the reduction.
LARGE = [
    ((1, 2, 2600), (3, 2, 4), {"padding": 3}),
    ((1, 2, 2500), (2, 1, 900), {"groups": 2, "dilation": 2}),
    ((2, 3, 60, 50), (5, 3, 3, 3), {"padding": 1}),
    ((1, 2, 3, 2300), (3, 2, 2, 3), {"stride": (1, 2), "padding": 1}),
    ((70, 5, 7, 7), (36, 5, 3, 3), {"padding": 1}),
    ((3, 70, 8, 8), (70, 70, 3, 3), {"padding": 1}),
    ((33, 40, 7, 7), (80, 20, 1, 1), {"groups": 2}),
    ((4, 96, 20, 20), (96, 1, 5, 5), {"padding": 2, "groups": 96, "stride": 2}),
    ((2, 64, 32, 32), (96, 64, 1, 1), {}),  # channels so far apart that they share places in the caches
    ((2, 3, 70, 70), (24, 3, 7, 7), {"padding": 3, "stride": 2}),
    ((9, 200, 7, 7), (150, 200, 1, 1), {}),
    ((2, 50, 33, 35), (70, 50, 3, 3), {"padding": 1, "stride": 2}),
    ((3, 64, 6, 30, 9), (33, 64, 3, 3, 3), {"padding": 1}),
    ((2, 160, 15, 14), (160, 16, 3, 3), {"padding": 1, "groups": 10}),
    ((1, 8, 60, 60), (8, 8, 31, 30), {"padding": 1}),
    ((1, 256, 28, 28), (256, 8, 3, 3), {"padding": 1, "groups": 32}),  # items of several groups, which threads share
    ((5, 128, 177, 3), (160, 4, 7, 3), {"groups": 32}),
    ((1, 60, 1, 166, 1), (16, 15, 1, 9, 1), {"padding": (2, 0, 2), "groups": 4}),
    ((2, 40, 32, 32), (40, 40, 3, 3), {"padding": 1}),  # outputs so far apart that they share places in the caches
]


def output_shape(x, size, stride=1, padding=0, dilation=1, groups=1):
    numbers = (oracle.per_axis(option, len(x) - 2) for option in (stride, padding, dilation))
    axes = zip(x[2:], size[2:], *numbers, strict=True)
    return x[0], size[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)


def expected(x, size, g, stride=1, padding=0, dilation=1, groups=1):
    """The gradient tap by tap, and the bound of any order of summation."""
    dtype, rank = x.dtype.newbyteorder("="), x.ndim - 2
    stride, padding, dilation = (oracle.per_axis(option, rank) for option in (stride, padding, dilation))
    x = np.pad(x.astype(oracle.wide(dtype)), [(0, 0), (0, 0), *((p, p) for p in padding)])
    g, n, outs = g.astype(oracle.wide(dtype)), x.shape[0], g.shape[2:]
    g = g.reshape(n, groups, size[0] // groups, math.prod(outs))
    total = np.zeros(size, oracle.wide(dtype))
    magnitude = abs(total)
    for tap in itertools.product(*map(range, size[2:])):
        places = zip(tap, outs, stride, dilation, strict=True)
        cut = (slice(None), slice(None), *(slice(k * d, k * d + (p - 1) * s + 1, s) for k, p, s, d in places))
        part = x[cut].reshape(n, groups, size[1], math.prod(outs)).swapaxes(-1, -2)
        with np.errstate(all="ignore"):
            at = (slice(None), slice(None), *tap)
            total[at] = np.matmul(g, part).sum(0, dtype=total.dtype).reshape(size[:2])
            if oracle.is_inexact(dtype):
                magnitude[at] = np.matmul(abs(g), abs(part)).sum(0).reshape(size[:2])
    if not oracle.is_inexact(dtype):
        return oracle.expect_equal(total.astype(dtype))
    return oracle.Expected(total, oracle.rounding_bound(n * math.prod(outs), magnitude, dtype), dtype)


def gradient(x, size, g, **options):
    return getattr(grad, f"conv{x.ndim - 2}d_weight")(x, size, g, **options)


def check(x, size, g, **options):
    before = x.copy(), g.copy()
    got = gradient(x, size, g, **options)
    oracle.check(got, expected(x, size, g, **options), f"{x.shape} {size} {options}")
    for a, b in zip(before, (x, g), strict=True):
        oracle.assert_same(a, b, "an input has changed")
    return got


def arrays(case, dtype, seed=0):
    x, size, options = case
    return values(x, dtype, seed), size, values(output_shape(x, size, **options), dtype, seed + 1), options


# Each takes long to compile, and whole numbers of a size are multiplied and added alike, signed or not.
COMMON = {np.dtype(name) for name in ("f4", "f8")}
UNSIGNED = {np.dtype(name) for name in ("u2", "u4", "u8")}
every_dtype = pytest.mark.parametrize(
    "dtype", [dtype if dtype in COMMON else slow(dtype) for dtype in oracle.DTYPES if dtype not in UNSIGNED], ids=str
)


@pytest.mark.parametrize("case", [*CASES, *CHANNELS], ids=str)
@every_dtype
def test_weights(case, dtype):
    x, size, g, options = arrays(case, dtype)
    check(x, size, g, **options)


@pytest.mark.parametrize("case", LARGE, ids=str)
@pytest.mark.parametrize("dtype", ["f4", slow("f8"), slow("i8"), slow("c8")])
def test_blocks(case, dtype):
    """Of several blocks, and their bits do not depend on who computes them."""
    x, size, g, options = arrays(case, dtype)
    with fastconv.num_threads(1):
        alone = check(x, size, g, **options)
    for count in (2, 3):
        with fastconv.num_threads(count):
            oracle.assert_same(gradient(x, size, g, **options), alone, f"{count} threads")


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_what_plans_take_together_fits(dtype):
    """Items of calls of all sizes: several groups only with all that they hold, and nothing larger than its room."""
    from fastconv.kernels.convolution import weights
    from fastconv.kernels.shapes import UNIT, Call, element_of
    from fastconv.kernels.simd.vectors import VECTOR_BYTES

    random, element = rng(8), element_of(np.dtype(dtype).name)
    lanes, room = VECTOR_BYTES // element.itemsize, weights.LINE_BYTES // element.itemsize
    several = 0
    for _ in range(6_000):
        batch, groups, channels, outputs = (int(2 ** random.uniform(0, most)) for most in (4, 7, 8, 8))
        axes = []
        for most in (4, 7, 9):
            kernel, out = (int(2 ** random.uniform(0, at)) if random.random() < 0.8 else 1 for at in (most / 2, most))
            stride, dilation = (int(random.choice([1, 1, 2, 3, 7])) for _ in range(2))
            axes.append(UNIT._replace(kernel=kernel, stride=stride, dilation=dilation, out=out))
        call = Call(batch, groups, channels, outputs, 3, 0, 0, 0, 0)
        plan = weights.choose_plan(call, axes, element)
        _, a1, a2 = weights.turned(*axes, plan.has_panels)
        taps, size = plan.taps0 * plan.taps1 * plan.taps2, plan.images * plan.rows * plan.columns
        if plan.has_panels:
            count = weights.count_lines(a2, plan.taps0 * plan.taps1, plan.taps2, plan.channels, lanes)
            places = weights.count_places(a1, a2, plan.rows, plan.columns, plan.taps1, plan.taps2)
            held = plan.images * plan.taps0 * places * plan.channels
            assert size <= weights.POSITIONS <= weights.COLUMNS // 2
            fits = held <= room
        else:
            turns = weights.turns_of(a1, plan.taps1, plan.rows, plan.is_joined != 0)
            count = plan.channels * taps
            line = turns.count * turns.rows * plan.columns * plan.images * plan.taps0 * plan.taps2
            fits = line * plan.groups * plan.channels <= room
            assert count <= weights.COLUMNS
        said = f"{call} {axes} {plan}"
        assert fits and plan.images <= weights.SEGMENTS, said
        assert plan.groups * plan.outputs * size * element.itemsize <= weights.GRADIENT_BYTES, said
        assert plan.groups * plan.outputs * count * element.itemsize <= weights.SUMS_BYTES, said
        held = plan.parts * groups * outputs * channels * math.prod(axis.kernel for axis in axes)
        assert plan.parts == 1 or held * element.itemsize <= weights.PARTS_BYTES, said
        if plan.groups > 1:
            several += 1
            assert plan.outputs == outputs and (plan.has_panels or plan.channels == channels), said
    assert several > 100


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [CASES[1], CASES[3], CASES[6], CASES[8], LARGE[4], *CHANNELS[:5], LARGE[12]], ids=str)
def test_layouts(layout, case):
    x, size, g, options = arrays(case, "f4")
    check(LAYOUTS[layout](x), size, g, **options)
    check(x, size, LAYOUTS[layout](g), **options)
    check(np.broadcast_to(x[:1], x.shape), size, np.broadcast_to(g[:, :1], g.shape), **options)


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(2, 3, 5), (3, 70, 9, 8), (2, 1, 3, 40, 41), (150, 300, 1, 1), (1, 2, 5000)], ids=str
)
def test_biases(shape, layout, dtype):
    g = LAYOUTS[layout](values(shape, dtype))
    ones = np.ones((shape[0], 1, *shape[2:]), dtype)
    want = expected(ones, (shape[1], 1, *(1,) * (len(shape) - 2)), g)
    flat = want._replace(value=want.value.ravel(), bound=None if want.bound is None else want.bound.ravel())
    bias = getattr(grad, f"conv{len(shape) - 2}d_bias")
    with fastconv.num_threads(1):
        alone = bias(g)
    oracle.check(alone, flat)
    with fastconv.num_threads(3):
        oracle.assert_same(bias(g), alone, "3 threads")


@st.composite
def problems(draw):
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    channels = draw(st.sampled_from([1, 2, 3, 4, 8, 11, 17]))
    size = groups * draw(st.integers(1, 5)), channels, *(draw(st.integers(1, 4)) for _ in range(rank))
    stride, dilation, padding = (tuple(draw(st.integers(least, 3)) for _ in range(rank)) for least in (1, 1, 0))
    sizes = [
        max(d * (k - 1) + 1 - 2 * p, 1) + draw(st.integers(0, 20))
        for k, d, p in zip(size[2:], dilation, padding, strict=True)
    ]
    options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    return (draw(st.integers(1, 3)), groups * size[1], *sizes), size, options


@settings(max_examples=80)
@given(problems())
def test_properties(case):
    x, size, g, options = arrays(case, "f4")
    check(x, size, g, **options)


@given(problems())
def test_the_gradient_is_the_adjoint_of_a_convolution(case):
    """<correlate(x, w), g> = <w, gradient(x, g)>, of small whole numbers and thus exactly."""
    x, size, options = case
    random = rng(4)
    x, w = random.integers(-9, 9, x).astype("f8"), random.integers(-9, 9, size).astype("f8")
    out = fastconv.correlate_nd(x, w, **{("padding_mode" if k == "padding" else k): v for k, v in options.items()})
    g = random.integers(-9, 9, out.shape).astype("f8")
    assert (out * g).sum() == (w * gradient(x, size, g, **options)).sum()


@pytest.mark.parametrize("shape, size", [((0, 2, 5, 5), (2, 2, 3, 3)), ((2, 0, 5, 5), (2, 0, 3, 3))])
def test_empty_sums_are_zero(shape, size):
    g = np.ones(output_shape(shape, size), "f4")
    got = gradient(np.ones(shape, "f4"), size, g)
    np.testing.assert_array_equal(got, np.zeros(size, "f4"), strict=True)
    np.testing.assert_array_equal(grad.conv2d_bias(g), np.full(2, 9 * shape[0], "f4"), strict=True)


@pytest.mark.parametrize("dtype", ["f4", slow("f2"), slow("f8")])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_value_that_is_not_finite_reaches_the_taps_that_see_it(groups, padding, dtype):
    """Vectors end within rows, and lines within memory that holds anything: no other tap may see it."""
    for width, place in itertools.product((5, 17, 18, 33), itertools.product((0, 2, 4), (0, 3, -1))):
        x = np.ones((2, 3, 5, width), dtype)
        x[1, 1, *place] = np.inf
        size, options = (3 if groups == 3 else 2, 3 // groups, 3, 3), {"padding": padding, "groups": groups}
        g = np.ones(output_shape(x.shape, size, **options), dtype)
        got = check(x, size, g, **options)
        row, column = place[0] + padding, place[1] % width + padding
        seen = [[0 <= row - i < g.shape[2] and 0 <= column - j < g.shape[3] for j in range(3)] for i in range(3)]
        of_it, others = (got[:, 1], got[:, ::2]) if groups == 1 else (got[1], got[::2])
        np.testing.assert_array_equal(np.isinf(of_it), [seen] * len(of_it))
        assert np.isfinite(others).all()
        g[1, 0, 0, -1] = np.nan
        got = check(x, size, g, **options)
        assert np.isnan(got[0]).all() and not np.isnan(got[1]).any()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "case",
    [((1, 2, 300_000), (3, 2, 1), {}), ((2, 3, 300, 301), (4, 3, 3, 3), {}), ((2, 16, 300, 301), (4, 16, 3, 3), {})],
    ids=str,
)
def test_errors_of_long_sums_are_those_of_their_blocks(case, dtype):
    """Numbers of one sign, whose errors in a sum one by one grow with its length: the bound of the kernel's module."""
    from fastconv.kernels.convolution import weights
    from fastconv.kernels.shapes import UNIT, Call, element_of
    from fastconv.kernels.simd.vectors import VECTOR_BYTES

    x, size, g, options = arrays(case, dtype)
    x, g = abs(x), abs(g)
    got, want = gradient(x, size, g, **options), expected(x, size, g, **options).value
    sizes = zip(x.shape[2:], size[2:], g.shape[2:], strict=True)
    axes = [UNIT._replace(size=n, kernel=k, out=p) for n, k, p in sizes]
    axes = [UNIT] * (3 - len(axes)) + axes
    call = Call(x.shape[0], 1, size[1], size[0], x.ndim - 2, 0, 0, 0, 0)
    plan = weights.choose_plan(call, axes, element_of(x.dtype.name))
    blocks = weights.count_blocks(call, *weights.turned(*axes, plan.has_panels), plan)
    block = weights.POSITIONS if plan.has_panels else weights.SHARED + math.log2(VECTOR_BYTES // x.itemsize)
    depth = block + blocks / plan.parts + plan.parts + 3
    assert plan.has_panels == (size[1] == 16) and depth < g[:, 0].size / (100 if VECTOR_BYTES > 16 else 50)
    assert (abs(got - want) / want).max() <= depth * np.finfo(dtype).eps / 2


def test_signatures_are_those_of_torch():
    names = ["input", "weight_size", "grad_output", "stride", "padding", "dilation", "groups"]
    for rank in (1, 2, 3):
        parameters = inspect.signature(getattr(grad, f"conv{rank}d_weight")).parameters
        assert list(parameters) == names
        assert [parameters[name].default for name in names[3:]] == [1, 0, 1, 1]
        assert list(inspect.signature(getattr(grad, f"conv{rank}d_bias")).parameters) == ["grad_output"]


X, G = np.zeros((2, 4, 6, 7), "f4"), np.zeros((2, 6, 4, 5), "f4")


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((X, (6, 4, 3, 3), G[:, :, 1:]), {}, r"grad_output has shape \(2, 6, 3, 5\), expected \(2, 6, 4, 5\), that of"),
        ((X, (6, 4, 3), G), {}, r"weight_size is \(6, 4, 3\), expected 4 ints, the shape of the weights"),
        ((X, 3, G), {}, r"weight_size is 3, expected 4 ints"),
        ((X, (6, 4, 0, 3), G), {}, r"weight_size is 0, expected 1 or more"),
        ((X, (0, 4, 3, 3), G), {}, r"weight_size is 0, expected 1 or more"),
        ((X, (6, 3, 3, 3), G), {}, r"weight has 3 input channels for each of 1 groups, 3 in all, and input has 4"),
        ((X, (6, 1, 3, 3), G), {"groups": 4}, r"weight has 6 output channels, which 4 groups cannot share evenly"),
        ((X, (6, 4, 8, 3), G), {}, r"the kernel is larger than the padded input on spatial axis 0"),
        ((X[0], (6, 4, 3, 3), G), {}, r"input has shape \(4, 6, 7\), expected 4 dimensions \(N, C, H, W\)"),
        ((X, (6, 4, 3, 3), G[0]), {}, r"grad_output has shape \(6, 4, 5\), expected 4 dimensions \(N, O, H, W\)"),
        ((X[:, :, :0], (6, 4, 3, 3), G), {"padding": 3}, r"input has shape \(2, 4, 0, 7\), expected no empty spatial"),
        ((X, (6, 4, 3, 3), G), {"stride": 0}, r"stride is 0, expected 1 or more"),
        ((X, (6, 4, 3, 3), G), {"padding": (1, 2, 3)}, r"padding is \(1, 2, 3\), expected an int or 2 of them"),
        ((X, (6, 4, 3, 3), G), {"dilation": -1}, r"dilation is -1, expected 1 or more"),
        ((X, (6, 4, 3, 3), G), {"groups": 0}, r"groups is 0, expected 1 or more"),
        ((X, (1 << 31, 1 << 31, 3, 3), G), {}, r"more than memory can address"),
        ((X, (6, 4), G[0]), {"stride": 0}, r"weight_size is .*; grad_output has shape .*; stride is 0"),
    ],
)
def test_values_are_refused(arguments, options, message):
    for kind in (ValueError, RuntimeError):
        with pytest.raises(kind, match=rf"^conv2d_weight\(\): .*{message}"):
            grad.conv2d_weight(*arguments, **options)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (
            (X, (6, 4, 3, 3), G.astype("f8")),
            {},
            r"input has dtype float32 and grad_output has dtype float64, expected one",
        ),
        ((X.astype("O"), (6, 4, 3, 3), G), {}, r"input has dtype object, expected bool"),
        ((X, (6, 4, 3, 3), None), {}, r"grad_output has dtype object, expected .*; grad_output is None"),
        ((X, (6, 4, 3.0, 3), G), {}, r"weight_size is 3.0, expected an int"),
        ((X, (6, 4, 3, 3), G), {"padding": "same"}, r"padding is 'same', expected an int"),
        ((X, (6, 4, 3, 3), G), {"stride": 1.5}, r"stride is 1.5, expected an int"),
    ],
)
def test_types_are_refused(arguments, options, message):
    with pytest.raises(TypeError, match=rf"^conv2d_weight\(\): {message}"):
        grad.conv2d_weight(*arguments, **options)


def test_biases_are_refused():
    with pytest.raises(RuntimeError, match=r"^conv2d_bias\(\): grad_output has shape \(4, 5\), expected 4 dimensions"):
        grad.conv2d_bias(np.zeros((4, 5)))
    with pytest.raises(TypeError, match=r"^conv1d_bias\(\): grad_output has dtype object"):
        grad.conv1d_bias(None)


def compiled(rank):
    weight, bias = getattr(grad, f"conv{rank}d_weight"), getattr(grad, f"conv{rank}d_bias")

    @numba.njit
    def call(x, size, g, stride, padding, dilation, groups):
        return weight(x, size, g, stride, padding, dilation, groups), bias(g)

    return call


@pytest.mark.parametrize(
    "rank, dtype", [(2, "f4"), (1, "f8"), (3, "f4"), slow((2, "c8")), slow((1, "i2")), slow((3, "?"))]
)
def test_compiled_callers_get_the_same_bits(rank, dtype):
    call = compiled(rank)
    for case in (*CASES, *CHANNELS, *LARGE[:5]):
        if len(case[0]) == rank + 2:
            x, size, g, options = arrays(case, dtype)
            named = {"stride": 1, "padding": 0, "dilation": 1, **options}
            numbers = (oracle.per_axis(named[name], rank) for name in ("stride", "padding", "dilation"))
            for layout in ("contiguous", "reversed_stepped"):
                x, g = LAYOUTS[layout](x), LAYOUTS[layout](g)
                weight, bias = call(x, size, g, *numbers, options.get("groups", 1))
                oracle.assert_same(weight, gradient(x, size, g, **options), f"{case} {layout}")
                oracle.assert_same(bias, getattr(grad, f"conv{rank}d_bias")(g), f"{case} {layout}")
                numbers = (oracle.per_axis(named[name], rank) for name in ("stride", "padding", "dilation"))


def test_compiled_callers_know_defaults_and_empty_sums():
    @numba.njit
    def call(input, grad_output):
        return grad.conv2d_weight(input, (2, input.shape[1], 3, 3), grad_output=grad_output)

    for shape in ((2, 3, 5, 6), (0, 3, 5, 6), (2, 0, 5, 6)):
        x, g = values(shape, "f4"), values((shape[0], 2, 3, 4), "f4")
        oracle.assert_same(call(x, g), grad.conv2d_weight(x, (2, shape[1], 3, 3), g))


@pytest.mark.parametrize(
    "x, size, g, message",
    [
        (X, (6, 4, 3, 3), G[:, :, 1:], r"grad_output has shape \(2, 6, 3, 5\), expected \(2, 6, 4, 5\), that of"),
        (X, (6, 3, 3, 3), G, r"weight has 3 input channels for each of 1 groups, 3 in all, and input has 4"),
        (X, (6, 4, 0, 3), G, r"weight_size is 0, expected 1 or more"),
        (X[:, :, :0], (6, 4, 3, 3), G, r"input has shape \(2, 4, 0, 7\), expected no empty spatial axis"),
        (X, (6, 4, 8, 3), G, r"the kernel is larger than the padded input on spatial axis 0"),
    ],
)
def test_compiled_callers_are_refused(x, size, g, message):
    for kind in (ValueError, RuntimeError):
        with pytest.raises(kind, match=rf"^conv2d_weight\(\): .*{message}"):
            compiled(2)(x, size, g, (1, 1), (0, 0), (1, 1), 1)


@pytest.mark.parametrize(
    "x, size, g, message",
    [
        (X, (6, 4, 3), G, r"weight_size is .*, expected 4 ints, the shape of the weights"),
        (X[0], (6, 4, 3, 3), G, r"input has 3 dimensions, expected 4 dimensions \(N, C, H, W\)"),
        (X, (6, 4, 3, 3), G.astype("f8"), r"input has dtype float32 and grad_output has dtype float64, expected one"),
    ],
)
def test_types_of_compiled_callers_are_refused(x, size, g, message):
    with pytest.raises(numba.TypingError, match=rf"conv2d_weight\(\): {message}"):
        compiled(2)(x, size, g, (1, 1), (0, 0), (1, 1), 1)


@pytest.mark.parametrize("case", [*CASES, *CHANNELS, *LARGE], ids=str)
def test_torch(case):
    torch = pytest.importorskip("torch")
    x, size, g, options = arrays(case, "f8")
    name = f"conv{x.ndim - 2}d_weight"
    theirs = getattr(torch.nn.grad, name)(torch.from_numpy(x), size, torch.from_numpy(g), **options).numpy()
    want = expected(x, size, g, **options)
    ours = getattr(grad, name)(x, size, g, **options)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert (abs(ours - theirs) <= 2 * want.bound).all()
