"""Against PyTorch where it is installed: conventions of channels, groups, padding, ceil_mode and indices."""

import itertools
import warnings

import numpy as np
import oracle
import pytest
from cases import representative, ties, values
from fastconv.kernels.shapes import ACTIVATIONS

import fastconv

torch = pytest.importorskip("torch")
F = torch.nn.functional

SIZES = {1: (11,), 2: (8, 9), 3: (6, 5, 7)}
ranks = pytest.mark.parametrize("rank", [1, 2, 3])


def tensor(a):
    return torch.from_numpy(np.ascontiguousarray(a))


def close(got, want, terms, scale):
    """Two sums of the same products in the same precision: twice the bound of one."""
    want = want.numpy()
    assert got.shape == want.shape and got.dtype == want.dtype
    bound = 2 * oracle.rounding_bound(terms, np.full(got.shape, float(scale)), got.dtype)
    assert (abs(got - want) <= bound).all()


@ranks
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), (3, 2, 2), (1, 3, 2)])
def test_conv(rank, dtype, groups, stride, padding, dilation):
    x = values((2, 4, *SIZES[rank]), dtype)
    w = values((8, 4 // groups, *(3, 2, 3)[:rank]), dtype, 1)
    b = values(8, dtype, 2)
    got = getattr(fastconv, f"correlate{rank}d")(
        x, w, bias=b, groups=groups, stride=stride, padding_mode=padding, dilation=dilation
    )
    want = getattr(F, f"conv{rank}d")(
        tensor(x), tensor(w), tensor(b), stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    terms = w[0].size + 1
    close(got, want, terms, terms * abs(x).max() * max(abs(w).max(), abs(b).max(), 1))


@ranks
def test_conv_same(rank):
    x, w = values((2, 3, *SIZES[rank]), "f8"), values((4, 3, *(2, 3, 4)[:rank]), "f8", 1)
    got = getattr(fastconv, f"correlate{rank}d")(x, w, padding_mode="same", dilation=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a copy that PyTorch makes for even kernels
        want = getattr(F, f"conv{rank}d")(tensor(x), tensor(w), padding="same", dilation=2)
    close(got, want, w[0].size, w[0].size * abs(x).max() * abs(w).max())


@pytest.mark.parametrize("torchs, ours", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_boundaries(torchs, ours):
    x, w = values((2, 3, 8, 9), "f8"), values((4, 3, 3, 3), "f8", 1)
    got = fastconv.correlate2d(x, w, padding_mode=((2, 1), (0, 3)), boundary=ours)
    want = F.conv2d(F.pad(tensor(x), (0, 3, 2, 1), mode=torchs), tensor(w))
    close(got, want, 27, 27 * abs(x).max() * abs(w).max())


@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_activations(activation):
    x = np.linspace(-12, 12, 401)[None, None]
    got = fastconv.correlate1d(x, np.ones((1, 1, 1)), activation=activation)
    want = getattr(torch, activation, None) or getattr(F, activation)
    np.testing.assert_allclose(got, want(tensor(x)).numpy(), rtol=1e-13, atol=1e-15)


POOL_OPTIONS = [
    (kernel, stride, padding, dilation, ceil_mode)
    for kernel, stride, padding, dilation, ceil_mode in itertools.product(
        [2, 3], [1, 2, 3], [0, 1], [1, 2], [False, True]
    )
]


@ranks
@pytest.mark.parametrize("dtype", representative(["f4", "f8", "i2", "i8"]))
def test_max_pool(rank, dtype):
    x = ties((2, 3, *SIZES[rank]), dtype) if dtype[0] == "i" else values((2, 3, *SIZES[rank]), dtype)
    if dtype == "f4":
        x[0, 0].flat[7] = -np.inf
    for kernel, stride, padding, dilation, ceil_mode in POOL_OPTIONS:
        if dilation * (kernel - 1) >= min(SIZES[rank]) + 2 * padding:
            continue
        best, at = getattr(fastconv, f"max_pool{rank}d")(
            x, kernel, stride=stride, padding_spec=padding, dilation=dilation, ceil_mode=ceil_mode, return_indices=True
        )
        want, where = getattr(F, f"max_pool{rank}d")(
            tensor(x), kernel, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=True
        )
        np.testing.assert_array_equal(best, want.numpy())
        np.testing.assert_array_equal(at, where.numpy())


@ranks
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_avg_pool(rank, count_include_pad):
    x = values((2, 3, *SIZES[rank]), "f8")
    for kernel, stride, padding, dilation, ceil_mode in POOL_OPTIONS:
        if dilation > 1:  # PyTorch's average pools have none
            continue
        got = getattr(fastconv, f"avg_pool{rank}d")(
            x, kernel, stride=stride, padding_spec=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
        )
        want = getattr(F, f"avg_pool{rank}d")(
            tensor(x), kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
        )
        close(got, want, kernel**rank + 1, kernel**rank * abs(x).max())


@ranks
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 3, 1)])
def test_max_unpool(rank, kernel, stride, padding):
    x = values((2, 3, *SIZES[rank]), "f4")
    best, at = F.__dict__[f"max_pool{rank}d"](tensor(x), kernel, stride, padding, return_indices=True)
    options = {"stride": stride, "padding_spec": padding}
    unpool = getattr(fastconv, f"max_unpool{rank}d")
    want = getattr(F, f"max_unpool{rank}d")(best, at, kernel, stride, padding, output_size=x.shape)
    np.testing.assert_array_equal(
        unpool(best.numpy(), at.numpy(), kernel, output_size=x.shape, **options), want.numpy()
    )
    small = getattr(F, f"max_unpool{rank}d")(*_fitting(best, at), kernel, stride, padding)
    got = unpool(*(t.numpy() for t in _fitting(best, at)), kernel, **options)
    np.testing.assert_array_equal(got, small.numpy())


def _fitting(best, at):
    """The same maxima with indices that fit the default output size."""
    return best, torch.arange(best[0, 0].numel()).reshape(best.shape[2:]).expand(best.shape).contiguous()


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": (2, 1), "padding": (1, 2)}]
)
@pytest.mark.parametrize("kernel", [2, (3, 2)], ids=str)
def test_unfold_and_fold(kernel, options):
    x = values((2, 3, 8, 9), "f8")
    columns = fastconv.im2col(x, kernel, **options)
    np.testing.assert_array_equal(columns, F.unfold(tensor(x), kernel, **options).numpy())
    y = values(columns.shape, "f8", 1)
    got = fastconv.col2im(y, (8, 9), kernel, **options)
    close(got, F.fold(tensor(y), (8, 9), kernel, **options), 6, 6 * abs(y).max())
