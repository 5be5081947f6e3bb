"""PyTorch's pools and folds: against plain loops, and against PyTorch where it is installed."""

import inspect
import itertools

import numpy as np
import pytest
from cases import LAYOUTS, representative, slow, ties, values
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.torch_names import Refusal

SHAPES = {1: (2, 3, 9), 2: (2, 3, 6, 7), 3: (2, 2, 4, 5, 6)}
SIGNATURES = {
    "max_pool": "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False)",
    "avg_pool": "(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, "
    "divisor_override=None)",
    "lp_pool": "(input, norm_type, kernel_size, stride=None, ceil_mode=False)",
    "adaptive_avg_pool": "(input, output_size)",
    "adaptive_max_pool": "(input, output_size, return_indices=False)",
    "max_unpool": "(input, indices, kernel_size, stride=None, padding=0, output_size=None)",
}
NAMES = [*SIGNATURES]
ranks = pytest.mark.parametrize("rank", [1, 2, 3])


def shared(size, out):
    """The elements of each window of an adaptive pool."""
    return [range(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def stepped(size, kernel, stride, padding=0, dilation=1, ceil_mode=False):
    """The real elements of each window."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    out = room // stride + 1
    if ceil_mode and room % stride and out * stride < size + padding:
        out += 1
    starts = range(-padding, out * stride - padding, stride)
    return [
        [i for i in range(start, start + dilation * (kernel - 1) + 1, dilation) if 0 <= i < size] for start in starts
    ]


def fold_windows(x, axes, fold, dtype):
    """`fold` of the elements of each window, as rows of a matrix, and of their flat indices."""
    rank = len(axes)
    flat = np.arange(np.prod(x.shape[-rank:])).reshape(x.shape[-rank:])
    out = np.empty((*x.shape[:-rank], *map(len, axes)), dtype)
    for place in itertools.product(*(range(len(axis)) for axis in axes)):
        box = np.ix_(*(list(axis[i]) for axis, i in zip(axes, place, strict=True)))
        cut = x[(..., *box)].reshape(*x.shape[:-rank], -1)
        out[(..., *place)] = fold(cut, flat[box].ravel())
    return out


def mean_of(cut, flat):
    wide = cut.astype(np.complex128 if cut.dtype.kind == "c" else np.float64)
    return wide.mean(-1)


def where_largest(cut, flat):
    """The index of the first largest element, or of the first NaN."""
    if not flat.size:
        return -1
    return flat[np.argmax(cut, -1)]


def close(got, expected):
    kind = got.dtype if got.dtype.kind in "fc" else np.dtype("f8")
    limit = {"float16": 4e-3, "float32": 1e-5, "complex64": 1e-5}.get(kind.name, 1e-12)
    np.testing.assert_allclose(got, expected, rtol=limit, atol=limit)


@ranks
@pytest.mark.parametrize("name", NAMES)
def test_signatures(name, rank):
    expected = SIGNATURES[name]
    if (name, rank) == ("avg_pool", 1):
        expected = expected.replace(", divisor_override=None", "")
    signature = inspect.signature(getattr(F, f"{name}{rank}d"))
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", [(3, 4), (6, 7), (5, 1), (9, 11), (1, 5), (6, 4)], ids=str)
def test_adaptive_pools_of_any_strides(sizes, layout):
    x = LAYOUTS[layout](values((2, 3, 6, 7), "f4"))
    axes = [shared(n, out) for n, out in zip((6, 7), sizes, strict=True)]
    close(F.adaptive_avg_pool2d(x, sizes), fold_windows(x, axes, mean_of, "f4"))
    best, at = F.adaptive_max_pool2d(x, sizes, True)
    np.testing.assert_array_equal(at, fold_windows(x, axes, where_largest, "i8"))
    np.testing.assert_array_equal(best, fold_windows(x, axes, lambda cut, _: cut.max(-1), "f4"))
    np.testing.assert_array_equal(F.adaptive_max_pool2d(x, sizes), best)


@pytest.mark.parametrize("dtype", representative(["f4", "f8", "f2", "c8", "i2", "u1", "?", "i8", "u4", "c16"]))
def test_adaptive_pools_of_dtypes(dtype):
    x = ties((2, 3, 7, 10), dtype)
    axes, result = [shared(7, 3), shared(10, 4)], "f8" if np.dtype(dtype).kind in "biu" else dtype
    got = F.adaptive_avg_pool2d(x, (3, 4))
    assert got.dtype == result
    close(got, fold_windows(x, axes, mean_of, result))
    if np.dtype(dtype).kind != "c":
        best, at = F.adaptive_max_pool2d(x, (3, 4), True)
        assert best.dtype == dtype
        np.testing.assert_array_equal(at, fold_windows(x, axes, where_largest, "i8"))
        np.testing.assert_array_equal(best, fold_windows(x, axes, lambda cut, _: cut.max(-1), dtype))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_adaptive_pools_of_any_sizes(data):
    rank = data.draw(st.integers(1, 3))
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=rank, max_size=rank))
    outs = data.draw(st.lists(st.integers(1, 14), min_size=rank, max_size=rank))
    leading = data.draw(st.sampled_from([(3,), (2, 2), (5, 9)]))
    x = values((*leading, *sizes), "f8", 3)
    if data.draw(st.booleans()):
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, len(leading) - 1, -1)), -1, len(leading) - 1)
    if data.draw(st.booleans()):
        x = x.copy()
        x.ravel()[::7] = np.nan
    axes = [shared(*each) for each in zip(sizes, outs, strict=True)]
    got = getattr(F, f"adaptive_avg_pool{rank}d")(x, tuple(outs))
    np.testing.assert_allclose(got, fold_windows(x, axes, mean_of, "f8"), rtol=1e-12, atol=1e-13)
    _, at = getattr(F, f"adaptive_max_pool{rank}d")(x, tuple(outs), return_indices=True)
    np.testing.assert_array_equal(at, fold_windows(x, axes, where_largest, "i8"))


def test_adaptive_pools_of_long_rows():
    """Windows that no line of the workspace holds, and results that several blocks of columns make."""
    x = values((2, 20001), "f8")
    for out in (2, 3, 7, 4000, 20002):
        axes = [shared(20001, out)]
        close(F.adaptive_avg_pool1d(x, out), fold_windows(x, axes, mean_of, "f8"))
        np.testing.assert_array_equal(
            F.adaptive_max_pool1d(x, out, True)[1], fold_windows(x, axes, where_largest, "i8")
        )


def test_sizes_that_are_kept():
    x = values((2, 3, 6, 7), "f4")
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, (None, 3)), F.adaptive_avg_pool2d(x, (6, 3)))
    np.testing.assert_array_equal(F.adaptive_max_pool2d(x, [2, None]), F.adaptive_max_pool2d(x, (2, 7)))
    assert F.adaptive_avg_pool2d(x, 0).shape == (2, 3, 0, 0)
    assert F.adaptive_avg_pool2d(x[:, :0], 2).shape == (2, 0, 2, 2)


@ranks
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("power", [1, 2, 3, 2.5, -1, np.inf])
def test_power_means(power, ceil_mode, rank):
    """A window that hangs over stands for a whole one. No magnitudes: powers of 1 keep signs."""
    x = values(SHAPES[rank], "f8")
    x = x if power in (1, 2, np.inf) else abs(x) + 0.1
    axes = [stepped(n, 3, 2, 0, 1, ceil_mode) for n in x.shape[2:]]

    def norm(cut, flat):
        if power == np.inf:
            return abs(cut).max(-1)
        return np.nan_to_num((cut**power).mean(-1) * 3**rank, nan=np.nan) ** (1 / power)

    got = getattr(F, f"lp_pool{rank}d")(x, power, 3, 2, ceil_mode)
    np.testing.assert_allclose(got, fold_windows(x, axes, norm, "f8"), rtol=1e-12, atol=1e-13)


def test_power_means_of_long_and_of_many_planes():
    x = abs(values((2, 3, 50, 4000), "f4")) + 0.1
    axes = [stepped(50, 3, 1), stepped(4000, 2500, 1000)]
    for power in (2, 3):
        got = F.lp_pool2d(x, power, (3, 2500), (1, 1000))
        close(got, fold_windows(x, axes, lambda cut, _, p=power: (cut.astype("f8") ** p).sum(-1) ** (1 / p), "f4"))


@pytest.mark.slow
def test_power_means_of_integers_are_float64():
    assert F.lp_pool1d(np.arange(4, dtype="i2")[None], 2, 2).dtype == np.float64


@pytest.mark.parametrize("divisor", [1, 7, -3])
@pytest.mark.parametrize("kernel", [2, 3, (6, 7), (1, 7)], ids=str)
@pytest.mark.parametrize("dtype", representative(["f4", "f8", "f2", "c8", "i2", "u1"]))
def test_divisors(dtype, kernel, divisor):
    x = ties((2, 9, 6, 7), dtype)
    kernel = (kernel,) * 2 if isinstance(kernel, int) else kernel
    for each in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)):
        got = F.avg_pool2d(each, kernel, 1, ceil_mode=True, divisor_override=divisor)
        axes = [stepped(n, k, 1, 0, 1, True) for n, k in zip((6, 7), kernel, strict=True)]
        wide = fold_windows(x, axes, lambda cut, _: cut.astype("c16").sum(-1) / divisor, "c16")
        close(got, wide if got.dtype.kind == "c" else wide.real)


def test_means_of_int64_are_truncated():
    x = np.array([[1, 2, -1, -2]])
    got = F.avg_pool1d(x, 2)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, [[1, -1]])
    assert F.avg_pool1d(x.astype("u1"), 2).dtype == np.float64


@ranks
@pytest.mark.parametrize("dtype", ["f4", slow("i2")])
def test_pools_are_those_of_fastconv(rank, dtype):
    """Batches and what is none: the same bits."""
    x = values(SHAPES[rank], dtype)
    expected, found = getattr(fastconv, f"max_pool{rank}d")(x, 3, stride=2, padding=1, return_indices=True)
    got, at = getattr(F, f"max_pool{rank}d")(x, (3,), 2, 1, 1, False, True)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(at, found)
    np.testing.assert_array_equal(getattr(F, f"max_pool{rank}d")(x[1], 3, 2, 1), expected[1])
    means = getattr(fastconv, f"avg_pool{rank}d")(x, 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    np.testing.assert_array_equal(getattr(F, f"avg_pool{rank}d")(x, 3, 2, 1, True, False), means)
    np.testing.assert_array_equal(getattr(F, f"avg_pool{rank}d")(x[0], 3, 2, 1, True, False), means[0])
    whole = getattr(F, f"max_unpool{rank}d")(got[0], at[0], 3, 2, 1, output_size=x.shape[2:])
    np.testing.assert_array_equal(
        whole.ravel()[at[0, -1].ravel() + (x[0, 0].size * (x.shape[1] - 1))], got[0, -1].ravel()
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_unpooled_values(threads, dtype):
    """Of repeated indices the last wins, in planes that threads share, too."""
    values_, indices = values((40, 30, 9, 9), dtype), ties((40, 30, 9, 9), "i8") * 100
    with fastconv.num_threads(threads):
        got = F.max_unpool2d(np.asfortranarray(values_), indices, 3)
    assert got.shape == (40, 30, 27, 27)
    expected = np.zeros((1200, 729), dtype)
    for plane, (own, at) in enumerate(zip(values_.reshape(1200, -1), indices.reshape(1200, -1), strict=True)):
        for value, i in zip(own, at, strict=True):
            expected[plane, i] = value
    np.testing.assert_array_equal(got.reshape(1200, -1), expected)


def test_folds():
    x = values((2, 3, 6, 7), "f4")
    options = {"dilation": (2, 1), "padding": (1, 2), "stride": (1, 3)}
    columns = F.unfold(x, (2, 3), **options)
    np.testing.assert_array_equal(columns, fastconv.im2col(x, (2, 3), **options))
    np.testing.assert_array_equal(F.unfold(x[1], (2, 3), **options), columns[1])
    back = F.fold(columns, (6, 7), (2, 3), **options)
    np.testing.assert_array_equal(back, fastconv.col2im(columns, (6, 7), (2, 3), **options))
    np.testing.assert_array_equal(F.fold(columns[1], (6, 7), (2, 3), **options), back[1])
    assert F.unfold(x[:0], 2).shape == (0, 12, 30)
    assert F.fold(columns[:0], (6, 7), (2, 3), **options).shape == (0, 3, 6, 7)


X, AT = np.zeros((1, 2, 4, 4), "f4"), np.zeros((1, 2, 4, 4), int)
REFUSED = [
    (lambda: F.max_pool2d(X[0, 0], 2), r"max_pool2d\(\): input has shape \(4, 4\), expected 3 dimensions"),
    (lambda: F.max_pool2d(X[:, :0], 2), r"max_pool2d\(\): input has shape \(1, 0, 4, 4\), expected no empty axis"),
    (lambda: F.avg_pool1d(X[0, :, :0], 2), r"avg_pool1d\(\): input has shape \(2, 0, 4\), expected no empty"),
    (lambda: F.max_pool2d(X, 3, padding=2), r"padding is \(2, 2\), expected at most half of kernel_size \(3, 3\)"),
    (lambda: F.max_pool2d(X, 3, padding=-1), r"padding is -1, expected 0 or more"),
    (lambda: F.max_pool2d(X, 5), r"larger than the padded input"),
    (lambda: F.max_pool2d(X, (2, 2, 2)), r"kernel_size is \(2, 2, 2\), expected an int or 2"),
    (lambda: F.max_pool2d(X, 2, 0), r"stride is 0, expected 1 or more"),
    (lambda: F.max_pool2d(X, 0, dilation=0), r"kernel_size is 0.*; dilation is 0, expected 1 or more"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), r"divisor_override is 0, expected another int"),
    (lambda: F.avg_pool3d(X[None], (2, 5, 2), ceil_mode=True), r"kernel_size is \(2, 5, 2\), expected at most the inp"),
    (lambda: F.lp_pool2d(X, 0, 2), r"norm_type is 0, expected another number"),
    (lambda: F.adaptive_avg_pool2d(X, -1), r"output_size is -1, expected 0 or more"),
    (lambda: F.adaptive_avg_pool2d(X, (2,)), r"output_size is \(2,\), expected an int or 2"),
    (lambda: F.adaptive_max_pool2d(X[:, :0], 2), r"expected no empty axis"),
    (lambda: F.adaptive_avg_pool2d(X, 1 << 60), r"output_size is 1152921504606846976, more than memory"),
    (lambda: F.unfold(X[:, :, :0], 2), r"unfold\(\): input has shape \(1, 2, 0, 4\)"),
    (lambda: F.unfold(X, (2,)), r"kernel_size is \(2,\), expected an int or 2"),
    (lambda: F.unfold(X, 6), r"larger than the padded input"),
    (lambda: F.fold(X, 4, 2), r"fold\(\): input has shape \(1, 2, 4, 4\), expected \(C \* 4, L\)"),
    (lambda: F.fold(X[0], 3, 3), r"input has 4 rows, expected a multiple of kernel_size \(3, 3\)'s 9"),
    (lambda: F.fold(X[0], 4, 2), r"input has 4 columns, expected 9"),
    (lambda: F.fold(X[0], (4,), 2), r"output_size is \(4,\), expected an int or 2"),
    (lambda: F.max_unpool2d(X, AT + 99, 2), r"max_unpool2d\(\): indices holds 99 at \(0, 0, 0, 0\), expected 0"),
    (lambda: F.max_unpool2d(X, AT[:, :, 1:], 2), r"indices has shape \(1, 2, 3, 4\), expected that of input"),
    (lambda: F.max_unpool2d(X, AT, 2, output_size=(10, 8)), r"expected more than 6 and less than 10 on spatial axis 0"),
    (lambda: F.max_unpool2d(X, AT, 2, output_size=8), r"output_size is 8, expected 2 or 4 ints"),
    (lambda: F.max_unpool2d(X, AT, 2, 1, 9), r"padding is 9, which leaves the output a size of"),
    (lambda: F.max_pool2d([[1, 2], [3]], 2), r"input cannot be made an array"),
]  # fmt: skip
MISTYPED = [
    (lambda: F.max_pool2d(X, 2.0), "kernel_size is 2.0, expected an int"),
    (lambda: F.max_pool2d(X, True), "kernel_size is True, expected an int"),
    (lambda: F.max_pool2d(X, 2, padding="same"), "padding is 'same', expected an int"),
    (lambda: F.max_pool2d(X.astype("c8"), 2), "input has dtype complex64, expected a real type"),
    (lambda: F.lp_pool2d(X, "2", 2), "norm_type is '2', expected a number"),
    (lambda: F.adaptive_avg_pool1d(X[0], (None,)), r"output_size is None, expected an int"),
    (lambda: F.max_unpool2d(X, X, 2), "indices has dtype float32, expected integers"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refusals(call, message):
    """Each is a ValueError and a RuntimeError."""
    with pytest.raises(Refusal, match=message):
        call()
    assert issubclass(Refusal, ValueError) and issubclass(Refusal, RuntimeError)


@pytest.mark.parametrize(("call", "message"), MISTYPED)
def test_wrong_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_as_pytorch(data):
    torch = pytest.importorskip("torch")
    rank = data.draw(st.integers(1, 3))
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank))
    leading = data.draw(st.sampled_from([(2,), (0, 2), (2, 3)]))
    kernel = tuple(data.draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank)))
    stride = data.draw(st.sampled_from([None, 1, 2, 3]))
    padding = data.draw(st.integers(0, 2))
    ceil_mode, counted = data.draw(st.booleans()), data.draw(st.booleans())
    x = values((*leading, *sizes), "f8", 5)
    calls = [
        ("max_pool", (kernel, stride, padding, data.draw(st.integers(1, 2)), ceil_mode, True)),
        ("avg_pool", (kernel, stride, padding, ceil_mode, counted)),
        ("lp_pool", (2, kernel if rank > 1 else kernel[0], stride, ceil_mode)),
        ("adaptive_avg_pool", (kernel,)),
        ("adaptive_max_pool", (kernel, True)),
    ]
    for name, arguments in calls:
        ours, theirs = getattr(F, f"{name}{rank}d"), getattr(torch.nn.functional, f"{name}{rank}d")
        try:
            expected = theirs(torch.from_numpy(x), *arguments)
        except RuntimeError:
            with pytest.raises(Refusal, match=f"{name}{rank}d"):
                ours(x, *arguments)
            continue
        got = ours(x, *arguments)
        if isinstance(got, tuple):
            real = got[1] >= 0  # PyTorch gives windows of padding only the index of no element
            np.testing.assert_array_equal(got[1][real], expected[1].numpy()[real])
            got, expected = got[0], expected[0]
        assert got.shape == tuple(expected.shape)
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-13)
