"""Gradients of pools: adjoint to the pools, against plain loops, and against PyTorch where it is installed."""

import numpy as np
import pytest
from cases import LAYOUTS, representative, slow, ties, values
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
import fastconv.grad as G
from fastconv.torch_names import Refusal

WINDOWS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2), (7, 7, 0), (4, 5, 1), (2, 9, 1), ((1, 11), (1, 2), 0),
           ((12, 11), 1, 0), ((3, 11), (2, 1), 0), (9, 8, 4)]  # fmt: skip


def adjoint(shape, grad, *options):
    """The gradient from its definition: that of each mean, as `avg_pool2d` weighs every single element."""
    out = np.zeros(shape)
    for place in np.ndindex(shape[2:]):
        unit = np.zeros((1, 1, *shape[2:]))
        unit[(0, 0, *place)] = 1
        out[(..., *place)] = (F.avg_pool2d(unit, *options) * grad).sum((2, 3))
    return out


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_gradients_of_means(window, ceil_mode, counted):
    options = (*window, ceil_mode, counted)
    grad = values((2, 3, *F.avg_pool2d(np.zeros((1, 12, 11)), *options).shape[1:]), "f8")
    got = G.avg_pool2d_input((2, 3, 12, 11), grad, *options)
    np.testing.assert_allclose(got, adjoint((2, 3, 12, 11), grad, *options), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(G.avg_pool2d_input((3, 12, 11), grad[1], *options), got[1])
    for layout in LAYOUTS.values():
        np.testing.assert_allclose(G.avg_pool2d_input([2, 3, 12, 11], layout(grad), *options),
                                   adjoint((2, 3, 12, 11), layout(grad), *options), rtol=1e-12, atol=1e-14)  # fmt: skip


@pytest.mark.parametrize("dtype", representative(["f4", "f8", "f2", "c8", "i2", "u1", "?", "i8", "c16"]))
@pytest.mark.parametrize("window", [(3, 2, 1), (3, 1, 1), (8, 9, 1), ((12, 11), 1, 0)], ids=str)
def test_gradients_of_dtypes(window, dtype):
    grad = ties((2, 3, *F.avg_pool2d(np.zeros((1, 12, 11)), *window).shape[1:]), dtype)
    got = G.avg_pool2d_input((2, 3, 12, 11), grad, *window)
    assert got.dtype == (np.float64 if grad.dtype.kind in "biu" else grad.dtype)
    expected = adjoint((2, 3, 12, 11), grad.real.astype("f8"), *window)
    limit = {"f2": 2e-3, "f4": 1e-6, "c8": 1e-6}.get(dtype, 1e-13)
    np.testing.assert_allclose(got.real.astype("f8"), expected, rtol=limit, atol=limit)
    indices = ties(grad.shape, "i8", 1)
    sums = np.zeros((6, 132), np.result_type(grad, "f8") if grad.dtype.kind in "fc" else grad.dtype)
    for plane, own, at in zip(sums, grad.reshape(6, -1), indices.reshape(6, -1), strict=True):
        np.add.at(plane, at, own)
    got = G.max_pool2d_input((2, 3, 12, 11), indices, grad)
    assert got.dtype == grad.dtype
    np.testing.assert_array_equal(got.reshape(6, -1), sums.astype(dtype))


def test_halves_are_rounded_once():
    """2048 ones and one more: halves alone would stay at 2048. Also in planes of several blocks."""
    ones = np.ones((1, 1, 2052), np.float16)
    got = G.max_pool1d_input((1, 1, 20000), np.full(ones.shape, 9000), ones)
    assert got[0, 0, 9000] == 2052 and np.count_nonzero(got) == 1


def test_long_rows():
    """Several blocks of columns, each under several parts of a line of means."""
    for kernel, stride in ((3, 1), (5, 2), (3000, 1), (4000, 7), (50, 50), (1500, 1400)):
        grad = values((2, 1, (9000 - kernel) // stride + 1), "f8")
        got = G.avg_pool1d_input((2, 1, 9000), grad, kernel, stride)
        spread = np.zeros((2, 1, 9000))
        for p in range(grad.shape[-1]):
            spread[..., p * stride : p * stride + kernel] += grad[..., p : p + 1] / kernel
        np.testing.assert_allclose(got, spread, rtol=1e-11, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_gradients_are_adjoint_to_pools(data):
    """`<pool(x), g> = <x, gradient(g)>`, of all ranks."""
    rank = data.draw(st.integers(1, 3))
    shape = (2, *data.draw(st.lists(st.integers(1, 9), min_size=rank + 1, max_size=rank + 1)))
    kernel = tuple(data.draw(st.integers(1, size)) for size in shape[2:])
    options = kernel, data.draw(st.integers(1, 9)), min(kernel) // 2, data.draw(st.booleans()), data.draw(st.booleans())
    x = values(shape, "f8")
    y = getattr(F, f"avg_pool{rank}d")(x, *options)
    g = values(y.shape, "f8", 1)
    got = getattr(G, f"avg_pool{rank}d_input")(shape, g, *options)
    np.testing.assert_allclose((x * got).sum(), (y * g).sum(), rtol=1e-10, atol=1e-10)
    y, at = getattr(F, f"max_pool{rank}d")(x, *options[:3], 1, options[3], return_indices=True)
    got = getattr(G, f"max_pool{rank}d_input")(shape, at, g)
    np.testing.assert_allclose((x * got).sum(), (y * g).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["f4", slow("f2")])
def test_threads_do_not_change_bits(dtype):
    x = values((16, 40, 40, 41), dtype)
    y, at = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    results = []
    for threads in (1, 2, 3):
        with fastconv.num_threads(threads):
            results.append((G.max_pool2d_input(x.shape, at, y), G.avg_pool2d_input(x.shape, y, 3, 2, 1),
                            F.adaptive_avg_pool2d(x, (7, 9)), F.lp_pool2d(x, 2, 3)))  # fmt: skip
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, expected)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_as_pytorch(data):
    torch = pytest.importorskip("torch")
    rank = data.draw(st.integers(1, 3))
    shape = (2, *data.draw(st.lists(st.integers(1, 9), min_size=rank + 1, max_size=rank + 1)))
    kernel = tuple(data.draw(st.integers(1, size)) for size in shape[2:])
    options = kernel, data.draw(st.integers(1, 5)), min(kernel) // 2, data.draw(st.booleans()), data.draw(st.booleans())
    x = torch.from_numpy(values(shape, "f8")).requires_grad_()
    y = getattr(torch.nn.functional, f"avg_pool{rank}d")(x, *options)
    g = values(tuple(y.shape), "f8", 1)
    (expected,) = torch.autograd.grad(y, x, torch.from_numpy(g))
    got = getattr(G, f"avg_pool{rank}d_input")(shape, g, *options)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-13)
    y, at = getattr(torch.nn.functional, f"max_pool{rank}d")(x, *options[:3], 1, options[3], return_indices=True)
    (expected,) = torch.autograd.grad(y, x, torch.from_numpy(g))
    got = getattr(G, f"max_pool{rank}d_input")(shape, at.numpy(), g)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-13)


def test_empty_batches():
    assert G.avg_pool2d_input((0, 3, 4, 4), np.zeros((0, 3, 2, 2)), 2).shape == (0, 3, 4, 4)
    assert G.max_pool2d_input((0, 3, 4, 4), np.zeros((0, 3, 2, 2), int), np.zeros((0, 3, 2, 2))).shape == (0, 3, 4, 4)


Y, AT = np.ones((1, 2, 2, 2)), np.zeros((1, 2, 2, 2), int)
REFUSED = [
    (lambda: G.max_pool2d_input((1, 2, 4, 4), AT - 1, Y), r"indices holds -1 at \(0, 0, 0, 0\), expected 0 or more"),
    (lambda: G.max_pool2d_input((1, 2, 4, 4), AT + 16, Y), r"max_pool2d_input\(\): indices holds 16"),
    (lambda: G.max_pool2d_input((1, 2, 4, 4), AT[:, 1:], Y), r"indices has shape \(1, 1, 2, 2\), expected that of"),
    (lambda: G.max_pool2d_input((1, 3, 4, 4), AT, Y), r"grad_output has shape \(1, 2, 2, 2\), expected that of a pool"),
    (lambda: G.max_pool2d_input((4, 4), AT, Y), r"input_size has shape \(4, 4\), expected 3 dimensions \(C, H, W\)"),
    (lambda: G.avg_pool2d_input((1, 2, 5, 5), Y, 2, 1), r"grad_output has shape .1, 2, 2, 2., expected .1, 2, 4, 4."),
    (lambda: G.avg_pool2d_input((1, 2, 0, 4), Y, 2), r"input_size has shape \(1, 2, 0, 4\), expected no empty axis"),
    (lambda: G.avg_pool2d_input((1, 2, 4, 4), Y, 3, 1, 2), r"padding is \(2, 2\), expected at most half"),
    (lambda: G.avg_pool2d_input((1, 2, 4, -4), Y, 2), r"input_size is -4, expected 0 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refusals(call, message):
    with pytest.raises(Refusal, match=message):
        call()


def test_wrong_types():
    with pytest.raises(TypeError, match="indices has dtype float64, expected integers"):
        G.max_pool2d_input((1, 2, 4, 4), Y, Y)
    with pytest.raises(TypeError, match="input_size is 4, expected a shape"):
        G.avg_pool2d_input(4, Y, 2)
    with pytest.raises(TypeError, match=r"kernel_size is 2\.5, expected an int"):
        G.avg_pool2d_input((1, 2, 4, 4), Y, 2.5)
