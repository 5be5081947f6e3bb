"""fastconv.functional's convolutions against their definition, and against PyTorch where that is installed."""

import importlib.util
import inspect
import itertools
import re
from importlib.metadata import entry_points

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, representative, slow, values
from fastconv.kernels.shapes import Axis, count_phases, phase_of, transposed_size
from fastconv.kernels.simd.vectors import VECTOR_BYTES
from hypothesis import assume, given
from hypothesis import strategies as st
from numba.core.errors import TypingError

import fastconv
import fastconv.functional as F
from fastconv import extending
from fastconv.dispatch import prepare_phases
from fastconv.torch_names import Refusal

RANKS = pytest.mark.parametrize("rank", [1, 2, 3])
WITH_TORCH = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")


@pytest.fixture(scope="module", autouse=True)
def told():
    """Numba finds fastconv by its entry point; where tests run without its metadata, they tell it."""
    if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
        extending.init()


# Transposed convolutions ---------------------------------------------------------------------------------------------


def spread(x, w, bias, stride, padding, output_padding, groups, dilation):
    """A transposed convolution by its definition: each input times the kernel is added to the outputs that it reaches.

    With the sums come those of magnitudes, and how many products each has.
    """
    wide, sizes, kernel = oracle.wide(x.dtype), x.shape[2:], w.shape[2:]
    outputs, channels = w.shape[1], w.shape[0] // groups
    numbers = zip(sizes, stride, dilation, kernel, output_padding, strict=True)
    full = [(n - 1) * s + d * (k - 1) + 1 + more for n, s, d, k, more in numbers]
    sums = np.zeros((x.shape[0], groups * outputs, *full), wide)
    scale, terms = np.zeros(sums.shape, abs(sums).dtype), np.zeros(sums.shape[2:])
    for tap in itertools.product(*map(range, kernel)):
        steps = zip(tap, dilation, sizes, stride, strict=True)
        where = tuple(slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in steps)
        terms[where] += channels
        for g in range(groups):
            inputs = slice(g * channels, (g + 1) * channels)
            part = (slice(None), slice(g * outputs, (g + 1) * outputs), *where)
            a, b = x[:, inputs].astype(wide), w[(inputs, slice(None), *tap)].astype(wide)
            sums[part] += np.einsum("nc...,co->no...", a, b)
            scale[part] += np.einsum("nc...,co->no...", abs(a), abs(b))
    if bias is not None:
        added = bias.astype(wide).reshape(-1, *[1] * len(sizes))
        sums, scale, terms = sums + added, scale + abs(added), terms + 1
    inner = (..., *(slice(p, size - p) for p, size in zip(padding, full, strict=True)))
    return sums[inner], scale[inner], terms[inner[1:]]


def expect_transposed(x, w, bias, *options):
    sums, scale, terms = spread(x, w, bias, *options)
    if not oracle.is_inexact(x.dtype):
        return oracle.expect_equal(sums.astype(x.dtype))
    return oracle.Expected(sums, oracle.rounding_bound(terms, scale, x.dtype), x.dtype)


def transposed(x, *arguments):
    return getattr(F, f"conv_transpose{x.ndim - 2}d")(x, *arguments)


@st.composite
def transposed_calls(draw):
    """Shapes and options of a call that has a result."""
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))

    def each(least, most):
        return [draw(st.integers(least, most)) for _ in range(rank)]

    channels, outputs = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 5, 17]))
    sizes, kernel, stride, dilation = each(1, 6), each(1, 4), each(1, 4), each(1, 4)
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    numbers = zip(sizes, stride, dilation, kernel, more, strict=True)
    full = [(n - 1) * s + d * (k - 1) + 1 + extra for n, s, d, k, extra in numbers]
    padding = [draw(st.integers(0, min((size - 1) // 2, 5))) for size in full]
    shapes = (draw(st.integers(0, 2)), groups * channels, *sizes), (groups * channels, outputs, *kernel)
    return *shapes, draw(st.booleans()), tuple(stride), tuple(padding), tuple(more), groups, tuple(dilation)


def arrays_of(call, dtype):
    x_shape, w_shape, has_bias, *options = call
    bias = values(w_shape[1] * options[3], dtype, 2) if has_bias else None
    return values(x_shape, dtype), values(w_shape, dtype, 1), bias, *options


@given(transposed_calls(), st.sampled_from(["f4", "f8"]))
def test_transposed_convolutions_are_their_definition(call, dtype):
    arguments = arrays_of(call, dtype)
    oracle.check(transposed(*arguments), expect_transposed(*arguments))


@pytest.mark.parametrize("dtype", representative(oracle.DTYPES))
@pytest.mark.parametrize("groups, outputs", [(1, 3), (2, 1), (4, 1), (2, 3)])
def test_every_dtype_is_transposed(dtype, groups, outputs):
    x, w, bias = values((2, 4, 5, 6), dtype), values((4, outputs, 3, 4), dtype, 1), values(groups * outputs, dtype, 2)
    arguments = x, w, bias, (2, 3), (1, 0), (1, 2), groups, (1, 2)
    oracle.check(transposed(*arguments), expect_transposed(*arguments))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_transposed_convolutions_read_any_layout(layout):
    x, w = values((2, 4, 5, 6), "f4"), values((4, 18, 4, 4), "f4", 1)
    got = F.conv_transpose2d(LAYOUTS[layout](x), LAYOUTS[layout](w), None, 2, 1)
    oracle.check(got, expect_transposed(x, w, None, (2, 2), (1, 1), (0, 0), 1, (1, 1)))


@pytest.mark.parametrize("shape, kernel, options", [
    ((2, 64, 30, 31), (64, 32, 4, 4), (None, 2, 1)),
    ((2, 64, 40, 41), (64, 8, 3, 3), (None, 3, 1, 0, 4)),
    ((3, 48, 500), (48, 40, 16), (None, 8, 4)),
    ((1, 32, 9, 20, 20), (32, 24, 2, 2, 2), (None, 2)),
])  # fmt: skip
def test_threads_and_batches_change_no_bit_of_transposed_convolutions(shape, kernel, options):
    x, w = values(shape, "f4"), values(kernel, "f4", 1)
    with fastconv.num_threads(1):
        want = transposed(x, w, *options)
    for count in (2, 3):
        with fastconv.num_threads(count):
            np.testing.assert_array_equal(transposed(x, w, *options), want)
    np.testing.assert_array_equal(transposed(x[1:], w, *options), want[1:])


@pytest.mark.parametrize("shape, kernel, options", [
    ((2, 33, 61), (33, 30, 7), (3, 4, 2, 1)),
    ((2, 20, 3, 13), (20, 30, 4, 5), (2, 1, 1, 1, (3, 1))),
    ((2, 6, 9, 37), (6, 1, 3, 3), (2, 1, 1, 6)),
    ((2, 6, 3, 40), (6, 2, 2, 5), ((1, 2), (0, 3), 0, 3, (1, 3))),
    ((2, 12, 15, 33), (12, 5, 3, 4), (2, 1, 0, 3)),
])  # fmt: skip
def test_phases_together_have_the_bits_of_each_alone(monkeypatch, shape, kernel, options):
    x, w = values(shape, "f4"), values(kernel, "f4", 1)
    x[0, 1, ..., 2], w[1, 0, ..., 0] = np.nan, np.inf
    stride, padding, more, groups, *dilation = options
    arguments = x, w, values(groups * kernel[1], "f4", 2), stride, padding, more, np.int64(groups), *dilation
    used = []  # calls with such a number are prepared each time

    def noting(*problem):
        call = prepare_phases(*problem)
        return call and (lambda *arrays: used.append(call(*arrays)) or used[-1])

    with fastconv.algorithm("direct"):
        monkeypatch.setattr("fastconv.transposed.prepare_phases", noting)
        together = transposed(*arguments)
        if not used and VECTOR_BYTES < 32:
            pytest.skip("with short vectors it is a call of kernels that know no phases")
        assert used and all(used)
        monkeypatch.setattr("fastconv.transposed.prepare_phases", lambda *problem: None)
        assert together.tobytes() == transposed(*arguments).tobytes()


def test_nothing_as_large_as_the_input_is_made_besides():
    x, w = values((1, 16, 256, 256), "f4"), values((16, 16, 4, 4), "f4", 1)
    F.conv_transpose2d(x, w, stride=2)
    import tracemalloc

    tracemalloc.start()
    with fastconv.num_threads(1):
        out = F.conv_transpose2d(x, w, stride=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out.nbytes + x.nbytes // 2


@given(*[st.integers(least, 9) for least in (1, 1, 1, 1, 0, 0)])
def test_phases_share_no_output_and_reach_all_that_taps_do(size, kernel, stride, dilation, padding, more):
    axis = Axis(0, kernel, stride, dilation, padding, padding, 0, size)
    axis = axis._replace(size=transposed_size(axis, more))
    met = {}
    for i, k in itertools.product(range(size), range(kernel)):
        met.setdefault(i * stride + k * dilation - padding, set()).add((i, k))
    made = {}
    for first in range(count_phases(axis)):
        phase = phase_of(axis, first)
        taps = range(phase.tap, kernel, phase.tap_step)
        assert phase.out == 0 or len(taps) == phase.taps
        for j in range(phase.out):
            at, pairs = phase.first + j * stride, set()
            assert 0 <= at < axis.size
            for t, k in enumerate(taps):  # the kernel is flipped
                i = phase.begin + j + (phase.taps - 1 - t) * phase.dilation - phase.before
                if phase.begin <= i < phase.end:
                    pairs.add((i, k))
            assert at not in made
            made[at] = pairs
    assert {at: pairs for at, pairs in made.items() if pairs} == {
        at: pairs for at, pairs in met.items() if 0 <= at < axis.size
    }


# Convolutions --------------------------------------------------------------------------------------------------------


@RANKS
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 2, "valid", "each"])
def test_convolutions_are_correlations(rank, groups, padding):
    x, w, bias = (
        values((2, 4, *(9, 8, 7)[:rank]), "f4"),
        values((6, 4 // groups, *(3, 2, 3)[:rank]), "f4", 1),
        values(6, "f4"),
    )
    padding = (1, 0, 2)[:rank] if padding == "each" else padding
    got = getattr(F, f"conv{rank}d")(x, w, bias, 2, padding, 2, groups)
    want = getattr(fastconv, f"correlate{rank}d")(x, w, bias=bias, stride=2, padding=padding, dilation=2, groups=groups)
    np.testing.assert_array_equal(got, want)


@RANKS
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_the_padding_same_keeps_sizes(rank, kernel):
    x, w = values((2, 3, *(9, 8, 7)[:rank]), "f8"), values((4, 3, *[kernel] * rank), "f8", 1)
    function = getattr(F, f"conv{rank}d")
    got = function(x, w, padding="same", dilation=3)
    before, after = 3 * (kernel - 1) // 2, 3 * (kernel - 1) - 3 * (kernel - 1) // 2
    padded = np.pad(x, [(0, 0), (0, 0), *[(before, after)] * rank])
    assert got.shape == (2, 4, *x.shape[2:])
    np.testing.assert_allclose(got, function(padded, w, dilation=3), atol=1e-12)


@RANKS
@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_an_input_without_a_batch(name, rank):
    x, w, bias = values((3, *(5, 6, 4)[:rank]), "f4"), values((3, 3, *(2, 3, 2)[:rank]), "f4", 1), values(3, "f4", 2)
    function = getattr(F, f"{name}{rank}d")
    np.testing.assert_array_equal(function(x, w, bias, stride=2), function(x[None], w, bias, stride=2)[0])


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_sequences_of_one_int_and_lists(name):
    x, w = values((1, 2, 5, 6), "f4"), values((2, 2, 3, 3), "f4", 1)
    function = getattr(F, name)
    want = function(x, w, None, 2, 1)
    for two, one in (((2,), (1,)), ([2, 2], [1, 1]), (np.int64(2), np.int64(1)), (np.array([2, 2]), (1, 1))):
        np.testing.assert_array_equal(function(x, w, None, two, one), want)
    np.testing.assert_array_equal(
        function(x.tolist(), w.tolist(), None, 2, 1), function(x.astype("f8"), w.astype("f8"), None, 2, 1)
    )


def test_empty_batches():
    x, w = np.zeros((0, 2, 4, 5), "f4"), np.zeros((2, 2, 3, 3), "f4")
    assert F.conv2d(x, w).shape == (0, 2, 2, 3)
    assert F.conv_transpose2d(x, w, stride=2).shape == (0, 2, 9, 11)
    assert F.conv2d(x[:, :, :0], w, padding=2).shape == (0, 2, 2, 7)
    assert F.conv_transpose2d(x[:, :, :0], w).shape == (0, 2, 2, 7)
    np.testing.assert_array_equal(
        F.conv2d(np.zeros((1, 0, 3, 3)), np.zeros((2, 0, 3, 3)), np.ones(2)), np.ones((1, 2, 1, 1))
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_signatures(rank):
    names = ["input", "weight", "bias", "stride", "padding"]
    convolution, turned = (getattr(F, f"{name}{rank}d") for name in ("conv", "conv_transpose"))
    assert list(inspect.signature(convolution).parameters) == [*names, "dilation", "groups"]
    assert list(inspect.signature(turned).parameters) == [*names, "output_padding", "groups", "dilation"]
    for function in (convolution, turned):
        defaults = {each.name: each.default for each in inspect.signature(function).parameters.values()}
        assert defaults["bias"] is None and defaults["stride"] == defaults["dilation"] == defaults["groups"] == 1
        assert defaults["padding"] == defaults.get("output_padding", 0) == 0


# Errors --------------------------------------------------------------------------------------------------------------

X, W = np.ones((1, 2, 4, 5), "f4"), np.ones((2, 2, 3, 3), "f4")
BOTH = [
    ((X[0, 0], W), {}, "input has shape (4, 5), expected 4 dimensions (N, C, H, W) or 3 dimensions (C, H, W)"),
    ((X, W[0]), {}, "weight has shape (2, 3, 3), expected 4 dimensions ("),
    ((X[:, :, :0], W), {}, "input has shape (1, 2, 0, 5), expected no empty spatial axis"),
    ((X, W[..., :0]), {}, "weight has shape (2, 2, 3, 0), expected no empty spatial axis"),
    ((X, W[:0]), {}, "weight has shape (0, 2, 3, 3), expected one channel or more in its first axis"),
    ((X, W), {"stride": 0}, "stride is 0, expected 1 or more"),
    ((X, W), {"stride": (1, 1, 1)}, "stride is (1, 1, 1), expected an int or 2 of them, one for each spatial axis"),
    ((X, W), {"padding": -1}, "padding is -1, expected 0 or more"),
    ((X, W), {"dilation": 0}, "dilation is 0, expected 1 or more"),
    ((X, W), {"groups": 0}, "groups is 0, expected 1 or more"),
    ((X, W), {"groups": 3}, ""),
    ((X, W[:1, :1]), {}, "weight has"),
    ((X, W, np.ones(3, "f4")), {}, "bias has shape (3,), expected (2,), one for each output channel"),
]
ONE = {
    "conv2d": [
        ((X, W), {"padding": "full"}, "padding is 'full', expected 'valid', 'same' or numbers"),
        ((X, W), {"padding": "same", "stride": 2}, "padding is 'same' and stride is 2, expected a stride of 1"),
        ((X, np.ones((2, 2, 5, 5), "f4")), {}, "the kernel is larger than the padded input on spatial axis 0"),
        ((X[:0, :, :0], W), {"padding": 0}, "the kernel is larger than the padded input on spatial axis 0"),
        ((X, W[:, :1]), {}, "weight has 1 input channels for each of 1 groups, 1 in all, and input has 2"),
    ],
    "conv_transpose2d": [
        (
            (X, W),
            {"output_padding": 1},
            "output_padding is 1, expected less than the stride, 1, or than the dilation, 1",
        ),
        ((X, W), {"output_padding": -1, "stride": 2}, "output_padding is -1, expected 0 or more"),
        ((X, W), {"padding": 3}, "spatial axis 0 of the result would have size 0: (4 - 1) * stride 1 - 2 * padding 3"),
        ((X[:, :1], W), {}, "weight has 2 input channels, and input has 1"),
        ((X, W), {"groups": 3}, "weight has 2 input channels, which 3 groups cannot share evenly"),
        ((X, W), {"stride": 2**62}, "the result would have a size that is more than memory can address"),
        ((X, W), {"stride": 2**58}, "more than memory can address"),
    ],
}
CASES = [(name, *case) for name, more in ONE.items() for case in (*BOTH, *more)]


@pytest.mark.parametrize("name, arguments, options, message", CASES)
def test_refusals(name, arguments, options, message):
    with pytest.raises(Refusal, match=rf"^{name}\(\): .*{re.escape(message)}") as caught:
        getattr(F, name)(*arguments, **options)
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_refusals_of_types(name):
    function = getattr(F, name)
    for arguments, options, message in (
        ((X, W.astype("f8")), {}, "input has dtype float32 and weight has dtype float64, expected one dtype for all"),
        ((X, W, np.ones(2)), {}, "bias has dtype float64 and input has dtype float32, expected one dtype for all"),
        ((X.astype("O"), W), {}, "input has dtype object"),
        ((X, W), {"stride": 2.0}, "stride is 2.0, expected an int"),
        ((X, W), {"padding": None}, "padding is None, expected an int"),
    ):
        with pytest.raises(TypeError, match=rf"^{name}\(\): .*{re.escape(message)}") as caught:
            function(*arguments, **options)
        assert not isinstance(caught.value, ValueError)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(Refusal, match=r"stride is 0.*; dilation is -1.*; padding is -2"):
        F.conv2d(X, W, stride=0, padding=-2, dilation=-1)


# Against PyTorch -----------------------------------------------------------------------------------------------------


def both(name, arguments, options):
    """What PyTorch and this package make of a call; an error's kind."""
    import torch

    tensors = [torch.from_numpy(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in arguments]
    try:
        want = getattr(torch.nn.functional, name)(*tensors, **options).numpy()
    except RuntimeError:
        want = RuntimeError
    try:
        got = getattr(F, name)(*arguments, **options)
    except RuntimeError:
        got = RuntimeError
    return got, want


@WITH_TORCH
@given(transposed_calls(), st.data())
def test_transposed_convolutions_are_pytorchs(call, data):
    x, w, bias, stride, padding, more, groups, dilation = arrays_of(call, "f8")
    assume(len(x))  # of an empty batch PyTorch takes any padding
    padding = tuple(data.draw(st.integers(0, 6)) for _ in padding)
    more = tuple(data.draw(st.integers(0, 4)) for _ in more)
    options = {"stride": stride, "padding": padding, "output_padding": more, "groups": groups, "dilation": dilation}
    got, want = both(f"conv_transpose{x.ndim - 2}d", (x, w, bias), options)
    if want is RuntimeError or got is RuntimeError:
        assert got is want
    else:
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-10)


@WITH_TORCH
@given(transposed_calls(), st.sampled_from([0, 1, 3, "same", "valid"]))
def test_convolutions_are_pytorchs(call, padding):
    x, w, _, stride, _, _, groups, dilation = arrays_of(call, "f8")
    w = values((groups * w.shape[1], w.shape[0] // groups, *w.shape[2:]), "f8")
    options = {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation}
    got, want = both(f"conv{x.ndim - 2}d", (x, w), options)
    if want is RuntimeError or got is RuntimeError:
        assert got is want
    else:
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-10)


@WITH_TORCH
@pytest.mark.parametrize("name, arguments, options, message", CASES)
def test_refusals_are_pytorchs(name, arguments, options, message):
    assert both(name, arguments, options) == (RuntimeError, RuntimeError)


# Compiled code -------------------------------------------------------------------------------------------------------


@numba.njit
def compiled_same(x, w):
    return F.conv2d(x, w, padding="same")


@numba.njit
def compiled_convolution(x, w, bias, stride, padding, dilation, groups):
    return F.conv2d(x, w, bias, stride, padding, dilation, groups)


@numba.njit
def compiled_single(x, w):
    return F.conv1d(x, w), F.conv_transpose1d(x, w, stride=2)


@numba.njit
def compiled_transposed(x, w, bias, stride, padding, output_padding, groups, dilation):
    return F.conv_transpose2d(x, w, bias, stride, padding, output_padding, groups, dilation)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(
    "stride, dilation", [slow(((1, 1), (1, 1))), ((2, 2), (1, 1)), slow(((3, 2), (2, 2))), slow(((2, 5), (4, 1)))]
)
def test_the_bits_of_calls_in_compiled_code(groups, stride, dilation):
    x, bias = values((2, 6, 9, 20), "f4"), values(18, "f4", 2)
    w = values((18, 6 // groups, 3, 4), "f4", 1)
    arguments = x, w, bias, stride, (2, 1), dilation, groups
    np.testing.assert_array_equal(compiled_convolution(*arguments), F.conv2d(*arguments))
    w = values((6, 18 // groups, 3, 4), "f4", 1)
    arguments = (
        x,
        w,
        bias,
        stride,
        (2, 1),
        tuple(max(pair) - 1 for pair in zip(stride, dilation, strict=True)),
        groups,
        dilation,
    )
    np.testing.assert_array_equal(compiled_transposed(*arguments), F.conv_transpose2d(*arguments))


def test_calls_in_compiled_code_by_words_and_without_a_batch():
    x, w = values((2, 9), "f4"), values((2, 2, 3), "f4", 1)
    for got, want in zip(compiled_single(x, w), (F.conv1d(x, w), F.conv_transpose1d(x, w, stride=2)), strict=True):
        np.testing.assert_array_equal(got, want)
    x, w = values((1, 2, 9, 8), "f4"), values((3, 2, 4, 3), "f4", 1)
    np.testing.assert_array_equal(compiled_same(x, w), F.conv2d(x, w, padding="same"))


def test_refusals_in_compiled_code():
    bias = np.ones(2, "f4")
    good = {"x": X, "w": W, "bias": bias, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    for change, message in (
        ({"w": W[:, :1].copy()}, "weight has 1 input channels for each of 1 groups, 1 in all, and input has 2"),
        ({"w": W[:0].copy()}, "weight has an empty axis, expected none"),
        ({"x": X[:, :, :0].copy()}, "input has an empty spatial axis, expected none"),
        ({"bias": np.ones(3, "f4")}, "bias has shape (3,), expected (2,), one for each output channel"),
    ):
        with pytest.raises(Refusal, match=rf"^conv2d\(\): {re.escape(message)}"):
            compiled_convolution(**(good | change))
    good = {key: value for key, value in good.items() if key != "dilation"} | {"output_padding": 0, "dilation": 1}
    for change, message in (
        ({"w": W[:1].copy()}, "weight has another number of input channels than input"),
        ({"groups": 3}, "weight has another number of input channels than input"),
        ({"w": W[:, :0].copy()}, "weight has an empty axis"),
        ({"x": X[:, :, :0].copy()}, "input has an empty spatial axis"),
        ({"stride": 0}, "stride, dilation and groups have to be 1 or more"),
        ({"output_padding": 1}, "output_padding is not less than the stride or than the dilation"),
        ({"padding": 4}, "the result would have a size of less than 1"),
        ({"bias": np.ones(3, "f4")}, "bias has not one element for each output channel"),
    ):
        with pytest.raises(Refusal, match=rf"^conv_transpose2d\(\): {re.escape(message)}"):
            compiled_transposed(**(good | change))


def test_refusals_of_types_in_compiled_code():
    for function, rest in ((compiled_convolution, (0, 1, 1)), (compiled_transposed, (0, 0, 1, 1))):
        for arguments, message in (
            ((X, W.astype("f8"), None, 1), "input has dtype float32 and weight has dtype float64, expected one dtype"),
            ((X[0, 0], W, None, 1), "input has 2 dimensions, expected 4, or 3 without a batch"),
            ((X, W[0], None, 1), "weight has 3 dimensions, expected 4"),
            ((X, W, np.ones((1, 2), "f4"), 1), "bias has 2 dimensions, expected 1"),
            ((X, W, None, (1, 1, 1)), "stride is .*, expected an int or 2 of them"),
        ):
            with pytest.raises(TypingError, match=message):
                function(*arguments, *rest)
    with pytest.raises(TypingError, match="padding is 'full', expected 'valid', 'same' or numbers"):
        numba.njit(lambda x, w: F.conv2d(x, w, padding="full"))(X, W)
    with pytest.raises(Refusal, match="padding is 'same', expected a stride of 1"):
        numba.njit(lambda x, w: F.conv2d(x, w, padding="same", stride=2))(X, W)
