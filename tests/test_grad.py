"""fastconv.grad's gradients of inputs: adjoints of convolutions, and PyTorch's where that is installed."""

import importlib.util
import inspect
import re
from importlib.metadata import entry_points

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, representative, values
from hypothesis import given
from hypothesis import strategies as st
from numba.core.errors import TypingError
from test_functional import spread

import fastconv
import fastconv.functional as F
from fastconv import extending, grad
from fastconv.torch_names import Refusal

WITH_TORCH = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")


@pytest.fixture(scope="module", autouse=True)
def told():
    """Numba finds fastconv by its entry point; where tests run without its metadata, they tell it."""
    if not any(point.value == "fastconv.extending:init" for point in entry_points(group="numba_extensions")):
        extending.init()


def gradient(size, *arguments):
    return getattr(grad, f"conv{len(size) - 2}d_input")(size, *arguments)


def expect_gradient(size, w, y, stride, padding, dilation, groups):
    """A transposed convolution, and the rest that no window reaches."""
    rest = [
        (n + 2 * p - d * (k - 1) - 1) % s
        for n, p, d, k, s in zip(size[2:], padding, dilation, w.shape[2:], stride, strict=True)
    ]
    sums, scale, terms = spread(y, w, None, stride, padding, rest, groups, dilation)
    if not oracle.is_inexact(w.dtype):
        return oracle.expect_equal(sums.astype(w.dtype))
    return oracle.Expected(sums, oracle.rounding_bound(terms, scale, w.dtype), w.dtype)


@st.composite
def convolutions(draw):
    """The shapes of input, kernel and output, and the options, of a convolution."""
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))

    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    kernel, stride, dilation, padding, more = each(1, 4), each(1, 4), each(1, 3), each(0, 4), each(0, 6)
    numbers = zip(kernel, dilation, padding, more, strict=True)
    sizes = tuple(max(d * (k - 1) + 1 - 2 * p, 1) + extra for k, d, p, extra in numbers)
    numbers = zip(sizes, kernel, stride, dilation, padding, strict=True)
    outputs = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in numbers)
    batch, channels, out = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 17])), draw(st.integers(1, 3))
    size, w = (batch, groups * channels, *sizes), (groups * out, channels, *kernel)
    return size, w, (batch, groups * out, *outputs), stride, padding, dilation, groups


@given(convolutions(), st.sampled_from(["f4", "f8"]))
def test_gradients_are_their_definition(call, dtype):
    size, w_shape, y_shape, *options = call
    w, y = values(w_shape, dtype), values(y_shape, dtype, 1)
    oracle.check(gradient(size, w, y, *options), expect_gradient(size, w, y, *options))


@given(convolutions())
def test_gradients_are_adjoint_to_convolutions(call):
    """<conv(x), y> = <x, gradient(y)>."""
    size, w_shape, y_shape, *options = call
    x, w, y = values(size, "f8"), values(w_shape, "f8", 1), values(y_shape, "f8", 2)
    made = getattr(F, f"conv{len(size) - 2}d")(x, w, None, *options)
    assert made.shape == y_shape
    np.testing.assert_allclose((made * y).sum(), (x * gradient(size, w, y, *options)).sum(), atol=1e-9)


@pytest.mark.parametrize("dtype", representative(oracle.DTYPES))
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_every_dtype(dtype, groups):
    size, options = (2, 8, 9, 8), ((2, 3), (1, 0), (1, 2), groups)
    w, y = values((4, 8 // groups, 3, 3), dtype), values((2, 4, 5, 2), dtype, 1)
    oracle.check(gradient(size, w, y, *options), expect_gradient(size, w, y, *options))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read(layout):
    w, y = values((20, 6, 3, 3), "f4"), values((2, 20, 5, 6), "f4", 1)
    options = (2, 2), (1, 1), (1, 1), 1
    got = gradient((2, 6, 9, 12), LAYOUTS[layout](w), LAYOUTS[layout](y), *options)
    oracle.check(got, expect_gradient((2, 6, 9, 12), w, y, *options))


@pytest.mark.parametrize("channels, stride, groups", [(64, 1, 1), (64, 2, 1), (64, 2, 64), (64, 2, 8)])
def test_threads_change_no_bit(channels, stride, groups):
    y, w = values((2, channels, 28, 28), "f4"), values((channels, channels // groups, 3, 3), "f4", 1)
    arguments = (2, channels, 28 * stride, 28 * stride), w, y, stride, 1, 1, groups
    with fastconv.num_threads(1):
        want = grad.conv2d_input(*arguments)
    for count in (2, 3):
        with fastconv.num_threads(count):
            np.testing.assert_array_equal(grad.conv2d_input(*arguments), want)


def test_with_steps_of_one_it_is_one_convolution():
    """So that "auto" may choose a transform."""
    w, y = values((64, 48, 3, 3), "f4"), values((1, 64, 56, 56), "f4", 1)
    want = fastconv.convolve2d(y, w.swapaxes(0, 1), padding=1)
    np.testing.assert_array_equal(grad.conv2d_input((1, 48, 56, 56), w, y, padding=1), want)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_signatures(rank):
    function = getattr(grad, f"conv{rank}d_input")
    parameters = inspect.signature(function).parameters.values()
    bare = inspect.Signature([each.replace(annotation=each.empty) for each in parameters])
    assert str(bare) == "(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1)"
    if importlib.util.find_spec("torch"):
        import torch.nn.grad

        assert str(bare) == str(inspect.signature(getattr(torch.nn.grad, function.__name__)))


SIZE, W, Y = (1, 2, 4, 5), np.ones((3, 2, 2, 2), "f4"), np.ones((1, 3, 3, 4), "f4")
CASES = [
    (((4, 5), W, Y), {}, "input_size is (4, 5), expected an int or 4 of them"),
    (((1, 2, -4, 5), W, Y), {}, "input_size is -4, expected 0 or more"),
    (((1, 2, 0, 5), W, Y), {}, "input_size has shape (1, 2, 0, 5), expected no empty spatial axis"),
    ((SIZE, W[0], Y), {}, "weight has shape (2, 2, 2), expected 4 dimensions (O, I, H, W)"),
    ((SIZE, W, Y[0]), {}, "grad_output has shape (3, 3, 4), expected 4 dimensions (N, C, H, W)"),
    ((SIZE, W, Y[:, :, :2]), {}, "grad_output has shape (1, 3, 2, 4), expected (1, 3, 3, 4), that of the output"),
    ((SIZE, W, Y[:, :2]), {}, "grad_output has shape (1, 2, 3, 4), expected (1, 3, 3, 4), that of the output"),
    (((2, *SIZE[1:]), W, Y), {}, "grad_output has shape (1, 3, 3, 4), expected (2, 3, 3, 4), that of the output"),
    ((SIZE, W[:, :1], Y), {}, "weight has 1 input channels for each of 1 groups, 1 in all, and input has 2"),
    ((SIZE, W[..., :0], Y), {}, "weight has shape (3, 2, 2, 0), expected no empty spatial axis"),
    ((SIZE, W[:0], Y[:, :0]), {}, "weight has shape (0, 2, 2, 2), expected one channel or more in its first axis"),
    ((SIZE, W, Y), {"stride": 0}, "stride is 0, expected 1 or more"),
    ((SIZE, W, Y), {"padding": -1}, "padding is -1, expected 0 or more"),
    ((SIZE, W, Y), {"dilation": 0}, "dilation is 0, expected 1 or more"),
    ((SIZE, W, Y), {"groups": 0}, "groups is 0, expected 1 or more"),
    (((1, 2, 1, 5), W, Y), {}, "the kernel is larger than the padded input on spatial axis 0"),
    (((1, 2, 2**40, 2**40), W, Y), {}, "more than memory can address"),
]


@pytest.mark.parametrize("arguments, options, message", CASES)
def test_refusals(arguments, options, message):
    with pytest.raises(Refusal, match=rf"^conv2d_input\(\): .*{re.escape(message)}"):
        grad.conv2d_input(*arguments, **options)


def test_refusals_of_types():
    for arguments, message in (
        ((SIZE, W, Y.astype("f8")), "weight has dtype float32 and grad_output has dtype float64, expected one dtype"),
        ((SIZE, W.astype("O"), Y), "weight has dtype object"),
        (((1, 2, 4.0, 5), W, Y), "input_size is 4.0, expected an int"),
        ((SIZE, W, Y, 1, "same"), "padding is 'same', expected an int"),
    ):
        with pytest.raises(TypeError, match=rf"^conv2d_input\(\): .*{re.escape(message)}"):
            grad.conv2d_input(*arguments)


@WITH_TORCH
@given(convolutions())
def test_gradients_are_pytorchs(call):
    import torch

    size, w_shape, y_shape, *options = call
    w, y = values(w_shape, "f8"), values(y_shape, "f8", 1)
    name = f"conv{len(size) - 2}d_input"
    want = getattr(torch.nn.grad, name)(size, torch.from_numpy(w), torch.from_numpy(y), *options).numpy()
    np.testing.assert_allclose(gradient(size, w, y, *options), want, atol=1e-10)


@numba.njit
def compiled(size, w, y, stride, padding, dilation, groups):
    return grad.conv2d_input(size, w, y, stride, padding, dilation, groups)


@pytest.mark.parametrize("stride, dilation, groups", [((1, 1), (1, 1), 1), ((2, 1), (1, 2), 2), ((3, 2), (2, 1), 6)])
def test_the_bits_of_calls_in_compiled_code(stride, dilation, groups):
    x, w = values((2, 6, 11, 12), "f4"), values((18, 6 // groups, 3, 3), "f4", 1)
    options = stride, (1, 2), dilation, groups
    y = F.conv2d(x, w, None, *options)
    np.testing.assert_array_equal(compiled(x.shape, w, y, *options), grad.conv2d_input(x.shape, w, y, *options))


def test_refusals_in_compiled_code():
    for arguments, message in (
        (((1, 2, 0, 5), W, Y, 1, 0, 1, 1), "weight or a spatial axis of input_size is empty"),
        ((SIZE, W, Y, 0, 0, 1, 1), "stride, dilation and groups have to be 1 or more, padding 0 or more"),
        ((SIZE, W[:, :1].copy(), Y, 1, 0, 1, 1), "weight has other channels than input_size and grad_output"),
        (((2, *SIZE[1:]), W, Y, 1, 0, 1, 1), "grad_output has not the shape of the output"),
        ((SIZE, W, Y[:, :, :2].copy(), 1, 0, 1, 1), "grad_output has not the shape of the output"),
    ):
        with pytest.raises(Refusal, match=rf"^conv2d_input\(\): {re.escape(message)}"):
            compiled(*arguments)
    for arguments, message in (
        ((SIZE[1:], W, Y, 1, 0, 1, 1), "input_size is .*, expected 4 ints"),
        ((SIZE, W[0], Y, 1, 0, 1, 1), "weight has 3 dimensions, expected 4"),
        (
            (SIZE, W, Y.astype("f8"), 1, 0, 1, 1),
            "weight has dtype float32 and grad_output.*float64, expected one dtype",
        ),
    ):
        with pytest.raises(TypingError, match=message):
            compiled(*arguments)
