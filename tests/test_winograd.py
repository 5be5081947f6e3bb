"""Winograd's convolution: right for every shape, within its bounds, and no worse than four direct sums if chosen."""

import itertools

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, OUT_LAYOUTS, call_convolution, noise, poison, values
from fastconv.kernels.convolution import costs, winograd, winograd_blocks
from fastconv.kernels.convolution.choose import FAMILIES, refusals
from fastconv.kernels.shapes import (
    ALGORITHMS,
    AUTO,
    CONSTANT,
    PLAN,
    UNIT,
    Axis,
    Call,
    count_phases,
    element_of,
    phase_of,
)
from fastconv.kernels.simd.vectors import VECTOR_BYTES
from fastconv.kernels.simd.winograd import KINDS
from subprocesses import run_python
from test_functional import expect_transposed, transposed

import fastconv
from fastconv import dispatch, extending

PLACE = [family.name for family in FAMILIES].index("winograd")
WINOGRAD = ALGORITHMS.index("winograd")


@pytest.fixture(autouse=True)
def chosen(monkeypatch, request):
    """What is predicted to cost nothing is chosen wherever it may be, but by compiled code, which other tests have."""
    if "compiled" in request.node.name:
        return
    monkeypatch.setattr(winograd, "WINOGRAD_COSTS", costs.WinogradCosts(*[0.0] * 6))


def call_of(shape, outputs, algorithm=AUTO, groups=1, kernel=(3, 3), pad=1, **steps):
    """A call of two axes, and what families are asked about it."""
    batch, channels, *sizes = shape
    axes = [
        Axis(
            size,
            k,
            steps.get("stride", 1),
            steps.get("dilation", 1),
            p,
            p,
            0,
            size + 2 * p - steps.get("dilation", 1) * (k - 1),
        )
        for size, k, p in ((size, k, pad if k > 1 else 0) for size, k in zip(sizes, kernel, strict=True))
    ]
    call = Call(batch, groups, channels, outputs, 2, 0, 0, 0, algorithm)
    return call, (UNIT, *axes), element_of("float32")


def check(operation, x, w, algorithm="winograd", times=4, **options):
    """Each output within so many of the direct sum's bounds."""
    got = call_convolution(operation, x, w, algorithm=algorithm, **options)
    expected = getattr(oracle, operation)(x, w, **{name: option for name, option in options.items() if name != "out"})
    oracle.check(got, expected._replace(bound=times * expected.bound), f"{operation}({x.shape}, {w.shape}, {options})")
    return got


# Planes that tiles and blocks fit and do not fit, rows and columns, signals, volumes, many and few channels, groups.
SHAPES = [
    ((2, 16, 12, 16), (16, 16, 3, 3), {}),
    ((3, 9, 7, 22), (17, 9, 3, 3), {"padding_mode": 1, "boundary": "reflect"}),
    ((1, 20, 5, 300), (48, 20, 3, 3), {"padding_mode": ((2, 0), (0, 2)), "fillvalue": 3}),
    ((1, 130, 14, 14), (70, 130, 3, 3), {"padding_mode": "same"}),
    ((2, 32, 6, 3), (34, 16, 3, 3), {"groups": 2, "padding_mode": "full", "boundary": "wrap"}),
    ((1, 16, 9, 40), (16, 16, 1, 3), {"padding_mode": 1, "boundary": "edge"}),
    ((1, 16, 40, 9), (16, 16, 3, 1), {"padding_mode": "same", "boundary": "symmetric"}),
    ((3, 16, 700), (20, 16, 3), {"padding_mode": 1}),
    ((1, 12, 4, 9, 10), (16, 12, 3, 3, 3), {"padding_mode": 1, "boundary": ("edge", "constant", "wrap")}),
    ((1, 12, 5, 9, 10), (16, 12, 2, 1, 3), {}),
    ((1, 24, 600, 3), (40, 24, 3, 3), {"padding_mode": 1}),
    ((2, 16, 13, 19), (16, 16, 3, 3), {"dilation": (2, 3), "padding_mode": 2, "boundary": ("constant", "reflect")}),
    ((1, 16, 3, 40), (32, 16, 1, 3), {"dilation": 5}),
    ((1, 3, 8, 8), (2, 3, 3, 3), {}),
    ((2, 32, 14, 13), (40, 32, 3, 3), {"padding_mode": 1, "boundary": "reflect"}),
    ((1, 16, 4, 17), (16, 16, 3, 3), {}),
    ((3, 24, 19, 3), (33, 24, 3, 3), {"dilation": (2, 1), "padding_mode": 1}),
    ((2, 32, 12, 17), (33, 32, 2, 2), {"padding_mode": 1, "boundary": ("wrap", "edge")}),
    ((3, 24, 7, 15), (20, 24, 2, 2), {}),
    ((1, 20, 22, 19), (48, 20, 3, 2), {"padding_mode": ((1, 0), (0, 1))}),
    ((1, 20, 6, 300), (17, 20, 2, 3), {"padding_mode": "same"}),
    ((2, 32, 9, 40), (34, 16, 1, 2), {"groups": 2}),
    ((1, 24, 43, 9), (16, 24, 2, 1), {"padding_mode": 1, "boundary": "reflect"}),
    ((3, 16, 702), (20, 16, 2), {"padding_mode": 1, "dilation": 3}),
    ((1, 12, 4, 9, 10), (16, 12, 2, 2, 2), {"padding_mode": 1}),
]


@pytest.mark.parametrize("x_shape, w_shape, options", SHAPES, ids=str)
def test_shapes(x_shape, w_shape, options, dtypes=("f4", "f8")):
    for operation, dtype in zip(("correlate", "convolve"), dtypes, strict=False):
        x, w, bias = noise(x_shape, dtype), noise(w_shape, dtype, 1), noise(w_shape[0], dtype, 2)
        check(operation, x, w, bias=bias, activation="relu" if operation == "correlate" else "gelu", times=8, **options)


@pytest.mark.parametrize("taps, constant", [(3, 47), (2, 15)])
def test_the_bound_of_tiles(taps, constant):
    """Asked for by name, each output is within the bound that the module states."""
    inputs, reach = taps + 3, taps - 1
    for seed, (scale, size) in enumerate(
        itertools.product((0, 1, 4), (24, 22, 21))
    ):  # outputs: the last tiles are halves
        shape = 24 + reach, 24 + reach
        x = noise((1, 24, *shape), seed=seed) * 10 ** np.random.default_rng(seed).uniform(-scale, scale, shape)
        x, w = x.astype("f4"), noise((16, 24, taps, taps), seed=seed + 9)
        x[:, :, size + reach :] = x[:, :, :, size + reach :] = 0
        got = fastconv.correlate2d(x[:, :, : size + reach, : size + reach], w, algorithm="winograd")[0]
        expected = oracle.correlate(x, w).value[0, :, :size, :size]
        windows = np.lib.stride_tricks.sliding_window_view(abs(x[0].astype("f8")), (inputs, inputs), (1, 2))
        tiles = windows[:, ::4, ::4].sum((3, 4))
        bound = (24 + 25) * 2.0**-24 * constant * np.einsum("oc,chw->ohw", abs(w.astype("f8")).sum((2, 3)), tiles)
        assert (abs(got - expected) <= bound.repeat(4, 1).repeat(4, 2)[:, :size, :size]).all()


def test_strides_and_outputs():
    x, w = values((2, 16, 9, 10), "f4"), values((17, 16, 3, 3), "f4", 1)
    want = fastconv.correlate2d(x, w, padding_mode=1, algorithm="winograd")
    for name, layout in LAYOUTS.items():
        got = fastconv.correlate2d(layout(x), layout(w), padding_mode=1, algorithm="winograd")
        np.testing.assert_array_equal(got, want, err_msg=name)
    for name in OUT_LAYOUTS:
        out = LAYOUTS[name](poison(want.shape, "f4"))
        assert fastconv.correlate2d(x, w, padding_mode=1, algorithm="winograd", out=out) is out
        np.testing.assert_array_equal(out, want, err_msg=name)


@pytest.mark.slow
def test_an_input_of_another_dtype():
    x, w = values((1, 16, 9, 10), "u1"), values((16, 16, 3, 3), "f4", 1)
    want = fastconv.correlate2d(x.astype("f4"), w, algorithm="winograd")
    np.testing.assert_array_equal(fastconv.correlate2d(x, w, dtype="float32", algorithm="winograd"), want)


@pytest.fixture
def threads():
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


def test_the_same_bits_from_any_number_of_threads_and_images(threads):
    for x_shape, w_shape in (
        ((1, 64, 14, 14), (16, 64, 3, 3)), ((2, 64, 6, 90), (17, 64, 2, 2)), ((5, 64, 14, 14), (130, 64, 3, 3)),
        ((1, 96, 30, 50), (96, 96, 3, 3)), ((3, 96, 14, 31), (70, 96, 2, 2)), ((1, 96, 9, 300), (20, 96, 1, 2)),
    ):  # fmt: skip
        x, w = noise(x_shape), noise(w_shape, seed=1)
        x[0, 3, 4, 5] = 1e6  # tiles that are summed directly, too
        fastconv.set_num_threads(1)
        want = fastconv.correlate2d(x, w, padding_mode=1)
        for n in range(len(x)):
            np.testing.assert_array_equal(fastconv.correlate2d(x[n : n + 1], w, padding_mode=1)[0], want[n])
        for count in (2, 3):
            fastconv.set_num_threads(count)
            np.testing.assert_array_equal(fastconv.correlate2d(x, w, padding_mode=1), want)


def test_the_same_bits_from_compiled_code():
    extending.init()
    x, w = noise((1, 32, 20, 20)), noise((32, 32, 3, 3), seed=1)

    @numba.njit
    def both(x, w):
        return fastconv.correlate2d(x, w), fastconv.correlate2d(x, w, algorithm="winograd")

    assert not refusals[PLACE](*call_of(x.shape, 32, pad=0), AUTO)
    for got, algorithm in zip(both(x, w), ("auto", "winograd"), strict=True):
        np.testing.assert_array_equal(got, fastconv.correlate2d(x, w, algorithm=algorithm))


# Phases of 2x2 taps; of 3x3 to 2x2; of 2x2 to 1x1, in groups; of two taps of a signal; of volumes.
TRANSPOSED = [
    ((2, 24, 13, 14), (24, 16, 4, 4), (2, 2), (1, 1), (0, 0), 1),
    ((1, 27, 9, 12), (27, 20, 5, 5), (2, 2), (2, 2), (1, 1), 1),
    ((1, 54, 10, 9), (54, 17, 3, 3), (2, 2), (1, 1), (1, 1), 2),
    ((2, 48, 70), (48, 16, 16), (8,), (4,), (0,), 1),
    ((1, 14, 3, 9, 8), (14, 16, 4, 4, 4), (2, 2, 2), (1, 1, 1), (0, 0, 0), 1),
]


@pytest.mark.parametrize("call", TRANSPOSED, ids=str)
def test_phases_of_transposed_convolutions(call, threads, monkeypatch):
    x_shape, w_shape, stride, padding, more, groups = call
    names, prepare = [], dispatch.prepare

    def recording(*arguments, **options):
        names.append(prepare(*arguments, **options)[0])
        return prepare(*arguments, **options)

    monkeypatch.setattr("fastconv.transposed.prepare", recording)
    x, w, bias = noise(x_shape), noise(w_shape, seed=1), noise(groups * w_shape[1], seed=2)
    arguments = x, w, bias, stride, padding, more, groups, (1,) * len(stride)
    fastconv.set_num_threads(1)
    got, expected = transposed(*arguments), expect_transposed(*arguments)
    oracle.check(got, expected._replace(bound=4 * expected.bound))
    assert "winograd" in names
    fastconv.set_num_threads(2)
    np.testing.assert_array_equal(transposed(*arguments), got)
    x[..., 2] = np.nan
    finite = np.isfinite(transposed(*arguments))
    np.testing.assert_array_equal(finite, np.isfinite(expect_transposed(*arguments).value))


@pytest.mark.parametrize("call", [
    ((2, 56, 37), (56, 70, 16), (8,), (4,), (0,), 1, (1,)),  # four begin an element later than the others
    ((3, 72, 400), (72, 20, 9), (3,), (3,), (0,), 1, (1,)),  # kernels are kept
    ((2, 72, 50), (72, 50, 9), (4,), (6,), (3,), 1, (3,)),
    ((1, 72, 9, 14), (72, 20, 3, 4), (1, 2), (1, 2), (0, 0), 2, (1, 1)),
    ((1, 80, 4, 5, 9), (80, 20, 2, 3, 6), (2, 1, 3), (0, 1, 0), (0, 0, 0), 2, (1, 1, 1)),
], ids=str)  # fmt: skip
def test_phases_together_have_the_bits_of_each_alone(call, threads, monkeypatch):
    x_shape, w_shape, *options = call
    x, w, used = noise(x_shape), noise(w_shape, seed=1), []
    x[0, 1, ..., 2], x[0, 2, ..., 5], w[3, 1, ..., 0] = np.nan, 1e6, np.inf  # some tiles are summed directly

    def noting(problem, name, phases):
        call = dispatch.prepare_phases(problem, name, phases)
        return call and (lambda *arrays: used.append((name, call(*arrays))) or used[-1][1])

    arguments = x, w, noise(w_shape[1] * options[3], seed=2), *options[:3], np.int64(options[3]), options[4]
    monkeypatch.setattr("fastconv.transposed.prepare_phases", lambda *_: None)
    fastconv.set_num_threads(1)
    alone = transposed(*arguments)
    monkeypatch.setattr("fastconv.transposed.prepare_phases", noting)
    for count in (1, 2, 3):
        fastconv.set_num_threads(count)
        assert transposed(*arguments).tobytes() == alone.tobytes()
    assert ("winograd", True) in used


@pytest.mark.parametrize("stride, fits", [(8, True), (100, True), (5_000, False), (50_000, False)])
def test_phases_that_do_not_fit_the_workspace_run_alone(stride, fits):
    axis = Axis(4 * stride, 2 * stride, stride, 1, 0, 0, CONSTANT, 3)
    phases = [phase_of(axis, tap) for tap in range(count_phases(axis))]
    assert len(phases) == stride
    call, element = Call(1, 1, 64, 4, 1, 0, 0, 0, 0), element_of("float32")
    numbers = winograd.phase_numbers(call, (UNIT, UNIT, axis), element, phases)
    assert (numbers is not None) == fits
    if fits:
        end = PLAN + len(winograd_blocks.WinogradBlocks._fields) + winograd_blocks.Room._fields.index("end")
        assert numbers[end] <= winograd.WORKSPACE_BYTES


# In a process of its own, whose compiled code has not been told that Winograd costs nothing.
COMPILED = """
import numba, numpy as np, fastconv
from fastconv import extending, grad
extending.init()
random = np.random.default_rng(0)
y, w = (random.standard_normal(shape).astype("f4") for shape in ((1, 96, 28, 28), (96, 64, 3, 3)))
size = 1, 64, 56, 56

@numba.njit
def compiled(w, y):
    return grad.conv2d_input((1, 64, 56, 56), w, y, 2, 1)

got = grad.conv2d_input(size, w, y, 2, 1)
np.testing.assert_array_equal(compiled(w, y), got)
wide = grad.conv2d_input(size, w.astype("f8"), y.astype("f8"), 2, 1)
weight = grad.conv2d_input(size, abs(w).astype("f8"), abs(y).astype("f8"), 2, 1)
assert (abs(got - wide) <= 4 * (96 * 4 + 2) * 2.0**-24 * weight).all()
with fastconv.algorithm("direct"):
    assert (got != grad.conv2d_input(size, w, y, 2, 1)).any()  # a transform made it
"""


@pytest.mark.slow
def test_gradients_of_inputs_from_compiled_code_have_the_same_bits():
    run_python(COMPILED)


def ramps(shape):
    """Exponential, over forty decades."""
    return noise(shape) * np.exp(np.linspace(-46, 46, shape[-1]))


def spike(shape):
    x = noise(shape)
    x[0, 3, 11, 13] = 1e8
    return x


def islands(shape):
    x = np.zeros(shape)
    x[..., 5:9, 6:20] = noise(x[..., 5:9, 6:20].shape)
    return x


def checkerboards(shape):
    return noise(shape) + 1e6 * (-1.0) ** np.indices(shape[2:]).sum(0)


def gains(shape):
    return noise(shape) * 10 ** np.random.default_rng(1).uniform(-3, 3, shape[2:])


def sparse(shape):
    return noise(shape) * (np.random.default_rng(1).random(shape) < 0.02)


def denormal(shape):
    return noise(shape) * 1e-41


def huge(shape):
    return noise(shape) * 1e35


DATA = [ramps, spike, islands, checkerboards, gains, sparse, denormal, huge, noise]


def smooth(shape):
    return np.outer([1, 2, 1], [1, 2, 1]) * noise((*shape[:2], 1, 1), seed=1)


def edges(shape):
    return np.outer([1, 2, 1], [1, 0, -1]) * noise((*shape[:2], 1, 1), seed=1)


def identity(shape):
    return np.eye(*shape[:2])[:, :, None, None] * np.eye(9)[4].reshape(3, 3)


def pruned(shape):
    return noise(shape, seed=1) * (np.random.default_rng(2).random(shape) < 0.1)


def one_tap(shape):
    return noise(shape, seed=1) * np.where(np.eye(9)[2].reshape(3, 3), 1e4, 1)


KERNELS = [lambda shape: noise(shape, seed=1), smooth, edges, identity, pruned, one_tap]


@pytest.mark.parametrize("taps", [3, 2])
@pytest.mark.parametrize("data", DATA)
def test_what_is_chosen_errs_no_more_than_four_direct_sums(data, taps):
    """With tiny and huge numbers products underflow or overflow, so that only kernels of ones are tried with them."""
    for channels, dtype in ((24, "f4"), (48, "f4"), (24, "f8")):
        shape = 1, channels, 22, 22
        assert not refusals[PLACE](*call_of(shape, 16, kernel=(taps, taps)), AUTO)
        x = data(shape).astype(dtype)
        for kernel in KERNELS if data not in (denormal, huge) and dtype == "f4" else KERNELS[:1]:
            w = kernel((16, channels, 3, 3))[:, :, :taps, :taps].astype(dtype)
            w = np.sign(w) if data in (denormal, huge) else w
            with np.errstate(all="ignore"):
                check("correlate", x, w, algorithm="auto", padding_mode=1)


def test_inputs_and_taps_that_miss_each_other():
    """Channel by channel, while sums over the channels are even: direct sums of two columns of three are 0."""
    channel = np.arange(63)[:, None, None] % 3
    x = noise((1, 63, 30, 30)) * (np.arange(30) % 3 == channel)
    w = noise((32, 63, 3, 3), seed=1) * (np.arange(3) % 3 == (channel + 1) % 3)
    check("correlate", x.astype("f4"), w.astype("f4"), algorithm="auto")


def test_the_guard_is_needed():
    """Without it, which is so where the algorithm is asked for by name, a spike spoils its neighbours."""
    x, w = spike((1, 64, 30, 30)), noise((32, 64, 3, 3), seed=1)
    x = x.astype("f4")
    check("correlate", x, w, algorithm="auto", padding_mode=1)
    with pytest.raises(AssertionError, match="elements are wrong"):
        check("correlate", x, w, algorithm="winograd", padding_mode=1)


def test_zeros_give_zeros():
    x, w = np.zeros((1, 32, 30, 30), "f4"), noise((32, 32, 3, 3), seed=1)
    x[:, :, 15:] = noise((1, 32, 15, 30))
    got = fastconv.correlate2d(x, w, padding_mode=1)
    assert not got[:, :, :14].any()
    assert got[:, :, 14:].all()


@pytest.mark.parametrize("taps", [3, 2])
@pytest.mark.parametrize("shape, first", [((14, 18), (4, 8)), ((16, 20), (10, 14))], ids=["whole", "half"])
@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_a_value_that_is_not_finite_reaches_its_windows_only(algorithm, shape, first, taps):
    w = noise((16, 54, taps, taps), seed=1)
    shape = shape[0] + taps - 3, shape[1] + taps - 3
    for i, value in zip(range(36), np.tile([np.nan, np.inf, -np.inf], 12), strict=True):
        x = noise((1, 54, *shape))
        row, column = first[0] + i // 6 + taps - 3, first[1] + i % 6 + taps - 3
        x[0, i % 54, row, column] = value
        got = fastconv.correlate2d(x, w, algorithm=algorithm)
        reached = np.zeros(got.shape, bool)
        reached[:, :, row + 1 - taps : row + 1, column + 1 - taps : column + 1] = True
        np.testing.assert_array_equal(~np.isfinite(got), reached)


@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_a_kernel_that_is_not_finite_reaches_its_outputs_only(algorithm):
    x, w = noise((1, 16, 14, 18)), noise((40, 16, 3, 3), seed=1)
    w[35, 2, 1, 1], w[3, 0, 0, 0] = np.inf, np.nan
    got = fastconv.correlate2d(x, w, padding_mode=1, algorithm=algorithm)
    assert np.isnan(got[:, 3]).all()
    assert not np.isfinite(got[:, 35]).any()
    assert np.isfinite(np.delete(got, [3, 35], 1)).all()
    # Zeros of the padding times infinity are NaN, at the borders only.
    w[35, 2, 1, 1], w[35, 2, 0, 0] = 1, np.inf
    expected = oracle.correlate(x, w, padding_mode=1)
    with np.errstate(all="ignore"):
        got = fastconv.correlate2d(x, w, padding_mode=1, algorithm=algorithm)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected.value))


@pytest.mark.parametrize(
    "shape, outputs, options, why",
    [
        ((1, 16, 30, 30), 16, {"kernel": (5, 3)}, "the kernel has 1x5x3 taps of 16 channels, expected 7x3x3 at most"),
        ((1, 16, 30, 30), 16, {"kernel": (1, 1)}, "the kernel has 1x1x1 taps .* more than one along"),
        ((1, 0, 30, 30), 16, {}, "of 0 channels"),
        ((1, 16, 30, 30), 16, {"stride": 2}, "an axis has a stride above 1, or a dilation above 8"),
        ((1, 16, 30, 30), 16, {"dilation": 9}, "an axis has a stride above 1, or a dilation above 8"),
        ((1, 4096, 8, 8), 16, {}, "a tile of 4096 channels does not fit in the workspace"),
        ((1, 23, 30, 30), 23, {}, "sums have 23 channels' taps, expected 216 terms: too few to be even"),
        ((1, 23, 30, 30), 23, {"kernel": (2, 2)}, "sums have 23 channels' taps, expected 96 terms"),
        ((1, 0, 30, 30), 16, {"kernel": (2, 4)}, "the kernel has 1x2x4 taps of 0 channels"),
    ],
    ids=str,
)
def test_what_is_left_to_others(shape, outputs, options, why):
    facts = call_of(shape, outputs, **options)
    refusal = winograd.refuses(*facts)
    assert refusal > 0
    with pytest.raises(ValueError, match=why):
        raise ValueError(winograd.reason(refusal, *facts))


def test_the_call_says_why_not():
    x, w = np.ones((1, 8, 9, 9), "i4"), np.ones((8, 8, 3, 3), "i4")
    with pytest.raises(ValueError, match=r"correlate2d.*'winograd'.*: the numbers are integers, expected floating"):
        fastconv.correlate2d(x, w, algorithm="winograd")
    with pytest.raises(ValueError, match=r"convolve2d.*'winograd', which cannot do this call: .*winograd: an axis has"):
        fastconv.convolve2d(x.astype("f4"), w.astype("f4"), stride=2, algorithm="winograd")


def test_nothing_to_do():
    kernels = (64, 64, 3, 3)
    for x_shape, w_shape in (
        ((0, 64, 9, 9), kernels), ((1, 64, 0, 9), kernels), ((1, 64, 9, 9), (0, 64, 3, 3)), ((1, 0, 9, 9), (8, 0, 3, 3))
    ):  # fmt: skip
        check("correlate", np.ones(x_shape, "f4"), np.ones(w_shape, "f4"), algorithm="auto")


def test_the_choice_does_not_depend_on_the_batch():
    for channels, size in itertools.product((8, 16, 64, 300), (3, 5, 7, 8, 14, 30)):
        choices = {refusals[PLACE](*call_of((n, channels, size, size), channels), AUTO) for n in (1, 2, 8, 100)}
        assert len(choices) == 1


def test_bits_do_not_depend_on_the_batch():
    """Planes of taps, and channels of which there is room for some: sums go through them in one order all the same."""
    x, w = noise((3, 91, 4, 36, 36)), noise((16, 91, 3, 3, 3), seed=1)
    together = fastconv.correlate3d(x, w, padding_mode=(0, 1, 1), algorithm="winograd")
    for i in range(3):
        alone = fastconv.correlate3d(x[i : i + 1], w, padding_mode=(0, 1, 1), algorithm="winograd")
        np.testing.assert_array_equal(together[i], alone[0])


@pytest.mark.parametrize("value", [-np.inf, np.nan])
@pytest.mark.parametrize("algorithm", ["winograd", "auto"])
@pytest.mark.parametrize("size", [17, 18, 19])  # the last tile has some of four outputs
def test_what_is_not_finite_changes_no_bit_of_other_tiles(size, algorithm, value):
    x, w = noise((3, 80, size)), noise((33, 80, 3), seed=1)
    spoilt = x.copy()
    spoilt[0, :, 0] = value  # where the first tile of a block begins
    plain, got = (fastconv.correlate1d(each, w, padding_mode=1, algorithm=algorithm) for each in (x, spoilt))
    np.testing.assert_array_equal(got[0, :, 4:], plain[0, :, 4:])
    np.testing.assert_array_equal(got[1:], plain[1:])


@pytest.mark.parametrize("itemsize", [4, 8])
def test_plans_fit_the_workspace(itemsize):
    sizes = np.random.default_rng(itemsize)
    for _ in range(300):
        rank0, kernel = int(sizes.integers(1, 5)), KINDS[sizes.integers(len(KINDS))]
        shape = [int(2 ** sizes.uniform(0, most)) for most in (6, 10, 9, 9)]
        call, (_, a1, a2), _ = call_of(shape, int(2 ** sizes.uniform(0, 10)), WINOGRAD, kernel=kernel, pad=1)
        a0 = Axis(rank0 + 7, rank0, 1, 1, 0, 0, 0, 8)
        if min(a1.out, a2.out) < 1:
            continue
        element = element_of("float32" if itemsize == 4 else "float64")
        assert winograd.refuses(call, (a0, a1, a2), element) in (0, winograd.LARGE_TILE)
        if winograd.refuses(call, (a0, a1, a2), element) == 0:
            blocks = winograd_blocks.choose_blocks(call, a0, a1, a2, 1, a2.kernel, itemsize)
            room = winograd_blocks.find_room(call, a0, a1, a2, blocks, a2.kernel, itemsize)
            assert room.end <= winograd.WORKSPACE_BYTES
            assert all(offset % VECTOR_BYTES == 0 for offset in room[: room._fields.index("end")])
            lanes = winograd_blocks.VECTOR_BYTES // itemsize
            assert (blocks.rows + 1) * blocks.columns + lanes <= winograd_blocks.PHASE
