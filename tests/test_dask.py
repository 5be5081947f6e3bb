"""Dask arrays: the results of the calls on NumPy arrays, from graphs of one task a block, for any chunks."""

import inspect
import itertools
import pickle
import re
import sys
import time
import warnings
from unittest import mock

import numpy as np
import oracle
import pytest
from cases import RANK_NAMES, slow, values
from fastconv.kernels.shapes import BOUNDARIES, WRAP
from hypothesis import given, settings
from hypothesis import strategies as st
from subprocesses import ROOT, run, run_python
from test_properties import MORE_MIXED, MORE_POOLED, axes, convolutions, ints, patches, pools

import fastconv
import fastconv.pool
import fastconv.problem
from fastconv import ndimage
from fastconv.cli import main, warmup

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")

import fastconv.dask as lazy  # noqa: E402
from fastconv.dask import halo  # noqa: E402

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]


@st.composite
def chunks(draw, size):
    """Of one axis: even ones, ones of any length, none among them too."""
    if draw(st.booleans()):
        return (draw(ints(1, max(size, 1))),)[0]
    ends = sorted(draw(st.lists(ints(0, size), max_size=4)))
    return tuple(b - a for a, b in itertools.pairwise([0, *ends, size]))


def chunked(data, x):
    return da.from_array(x, chunks=tuple(data.draw(chunks(n)) for n in x.shape))


def computed(*results):
    """As they are promised to be, shape, dtype and blocks."""
    arrays = dask.compute(*results, scheduler="sync")
    for result, array in zip(results, arrays, strict=True):
        assert type(array) is np.ndarray
        assert (result.shape, result.dtype) == (array.shape, array.dtype)
        assert (type(result._meta), result._meta.dtype) == (np.ndarray, array.dtype)
    return arrays if len(arrays) > 1 else arrays[0]


def blocks_fit(result):
    """Whether each block has the shape and dtype that the chunks say."""
    found = dask.compute(result.to_delayed().ravel().tolist(), scheduler="sync")[0]
    shapes = list(itertools.product(*result.chunks))
    return [(block.shape, block.dtype) for block in found] == [(shape, result.dtype) for shape in shapes]


# Plans ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_elements_beyond_the_ends_are_those_of_numpy_pad(mode, size):
    want = np.pad(np.arange(size), 3 * size, mode=mode)
    rule = BOUNDARIES.index(mode)
    assert [halo.source(i, size, rule) for i in range(-3 * size, 4 * size)] == want.tolist()


def test_an_output_is_in_the_chunk_in_which_its_window_begins():
    x = da.zeros((1, 1, 20), chunks=(1, 1, (7, 1, 12)))
    w = np.ones((1, 1, 3))
    assert lazy.correlate1d(x, w).chunks[2] == (7, 1, 10)
    assert lazy.correlate1d(x, w, padding="same").chunks[2] == (7, 1, 12)
    assert lazy.correlate1d(x, w, stride=3).chunks[2] == (3, 3)  # at 0, 3, 6; none in the second; 9, 12, 15
    assert lazy.correlate1d(x, w, stride=4, padding="same").chunks[2] == (2, 3)


def test_a_block_takes_what_its_windows_touch():
    """Cut off at the ends of the array; of chunks that are smaller than the window, several."""
    axis = fastconv.problem.sliding("f", (), (20,), np.dtype("f4"), (7,), 1, 1, "padding", "same").axes[0]
    first, second, *_, last = halo.windows((4,) * 5, axis)
    assert [piece.chunk for piece in first.pieces] == [0, 1]
    assert (first.before, sum(piece.length for piece in first.pieces)) == (3, 7)
    assert [(piece.chunk, piece.start, piece.length) for piece in second.pieces] == [(0, 1, 3), (1, 0, 4), (2, 0, 3)]
    assert (last.after, sum(piece.length for piece in last.pieces)) == (3, 7)


def test_wrapping_takes_from_the_far_side_only_what_it_needs():
    axis = fastconv.problem.sliding("f", (), (20,), np.dtype("f4"), (3,), 1, 1, "padding", "same").axes[0]
    first, *_ = halo.windows((5,) * 4, axis._replace(boundary=WRAP))
    assert first.pieces == (halo.Piece(3, 4, 1, 1), halo.Piece(0, 0, 1, 5), halo.Piece(1, 0, 1, 1))


# Results -------------------------------------------------------------------------------------------------------------


def convolution_agrees(problem, data):
    operation, x, w, options, _ = problem
    plain = {k: v for k, v in options.items() if k != "algorithm"}
    name = f"{operation}{RANK_NAMES.get(w.ndim - 2, '_nd')}"
    try:
        expected = getattr(oracle, operation)(x, w, **plain)
    except ValueError:
        with pytest.raises(ValueError, match=operation):
            getattr(lazy, name)(chunked(data, x), w, **options)
        return
    result = getattr(lazy, name)(chunked(data, x), w, **options)
    oracle.check(computed(result), expected, f"{name}(x {x.shape}, w {w.shape}, {options}) in {result.chunks}")


@given(convolutions(), st.data())
@settings(max_examples=60)
def test_convolution(problem, data):
    convolution_agrees(problem, data)


@pytest.mark.slow
@given(convolutions(MORE_MIXED), st.data())
@settings(max_examples=3000)
def test_many_convolutions(problem, data):
    convolution_agrees(problem, data)


def pool_agrees(problem, data):
    name, x, kernel, options = problem
    x_lazy = chunked(data, x)
    try:
        want = getattr(fastconv, name)(x, kernel, **options)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            getattr(lazy, name)(x_lazy, kernel, **options)
        return
    note = f"{name}(x {x.shape}, {kernel}, {options}) in {x_lazy.chunks}"
    if name.startswith("avg"):
        expected = oracle.avg_pool(x, kernel, **options)
        oracle.check(computed(getattr(lazy, name)(x_lazy, kernel, **options)), expected, note)
        return
    oracle.assert_same(computed(getattr(lazy, name)(x_lazy, kernel, **options)), want, note)
    _, places = getattr(fastconv, name)(x, kernel, return_indices=True, **options)
    got, found = computed(*getattr(lazy, name)(x_lazy, kernel, return_indices=True, **options))
    oracle.assert_same(got, want, note)
    oracle.assert_same(found, places, f"indices of {note}")


@given(pools(), st.data())
@settings(max_examples=60)
def test_pool(problem, data):
    pool_agrees(problem, data)


@pytest.mark.slow
@given(pools(MORE_POOLED), st.data())
@settings(max_examples=2000)
def test_many_pools(problem, data):
    pool_agrees(problem, data)


@given(patches(), st.data())
def test_patches(problem, data):
    x, kernel, options = problem
    names = ["extract_patches"] + ["im2col"] * (x.ndim == len(kernel) + 2)
    x_lazy = chunked(data, x)
    for name in names:
        try:
            want = getattr(fastconv, name)(x, kernel, **options)
        except ValueError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                getattr(lazy, name)(x_lazy, kernel, **options)
            continue
        result = getattr(lazy, name)(x_lazy, kernel, **options)
        oracle.assert_same(computed(result), want, f"{name}(x {x.shape}, {kernel}, {options}) in {x_lazy.chunks}")
        assert blocks_fit(result)


@given(st.data())
def test_filters(data):
    rank = data.draw(ints(1, 3))
    kernel = data.draw(st.tuples(*[ints(1, 3)] * rank))
    lead = data.draw(st.lists(ints(1, 3), max_size=2))
    x = values((*lead, *data.draw(st.tuples(*[ints(3, 8)] * rank))), data.draw(st.sampled_from(["f4", "u1"])))
    stride = data.draw(st.one_of(st.none(), axes(rank, ints(1, 3))))
    for name in ("maximum_filter", "minimum_filter", "uniform_filter"):
        want = getattr(oracle, name)(x, kernel, stride=stride)
        want = want if isinstance(want, oracle.Expected) else oracle.expect_equal(want)
        oracle.check(computed(getattr(lazy, name)(chunked(data, x), kernel, stride=stride)), want, name)


@pytest.mark.parametrize("padding", [60, ((0, 60),), ((60, 0),)])
@pytest.mark.parametrize("stride", [1, 7, 50])
def test_windows_of_padding_only(padding, stride):
    x = values((1, 2, 9), "f4")
    x_lazy = da.from_array(x, chunks=(1, 1, 4))
    w = values((2, 2, 3), "f4", 1)
    want = oracle.correlate(x, w, padding_mode=padding, stride=stride, fillvalue=2)
    oracle.check(computed(lazy.correlate1d(x_lazy, w, padding=padding, stride=stride, fillvalue=2)), want)
    want = fastconv.max_pool1d(x, 3, padding=padding, stride=stride, return_indices=True)
    for got, each in zip(
        computed(*lazy.max_pool1d(x_lazy, 3, padding=padding, stride=stride, return_indices=True)), want
    ):
        oracle.assert_same(got, each)
    got = computed(lazy.im2col(x_lazy, 3, padding=padding, stride=stride))
    oracle.assert_same(got, fastconv.im2col(x, 3, padding=padding, stride=stride))


@pytest.mark.parametrize("dtype", ["f2", "f4", *map(slow, ["c8", "i1", "?"])])
@pytest.mark.parametrize("parts", [(1,) * 12, (5, 7), (3, 6, 3), (4, 8), (2, 0, 10)])
@pytest.mark.parametrize("groups", [1, 3])
def test_channels_in_chunks(dtype, parts, groups):
    """Whole groups, parts of them and several at once; halves round once, after the last sum."""
    x, w = values((2, 12, 9), dtype), values((6, 12 // groups, 3), dtype, 1)
    options = {"groups": groups, "bias": values(6, dtype, 2), "padding_mode": "same", "stride": 2}
    if dtype in ("f2", "f4"):
        options["activation"] = "tanh"
    result = lazy.correlate1d(da.from_array(x, chunks=(1, parts, 4)), w, **options)
    assert sum(result.chunks[1]) == 6
    assert blocks_fit(result)
    oracle.check(computed(result), oracle.correlate(x, w, **options))


def test_groups_keep_apart():
    """An output chunk holds the groups that begin in one chunk of channels."""
    x = da.zeros((1, 12, 8), chunks=(1, (3, 3, 6), 8))
    assert lazy.correlate1d(x, np.zeros((8, 3, 3)), groups=4).chunks[1] == (2, 2, 4)
    assert lazy.correlate1d(x, np.zeros((4, 6, 3)), groups=2).chunks[1] == (2, 2)
    assert lazy.correlate1d(x, np.zeros((4, 12, 3))).chunks[1] == (4,)


@pytest.mark.parametrize("boundary", ["constant", "reflect", "wrap"])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd", "fft"])
def test_chunks_of_the_batch_change_no_bit(algorithm, boundary):
    x, w = values((6, 16, 20, 21), "f4"), values((8, 16, 3, 3), "f4", 1)
    options = {"padding": "same", "boundary": boundary, "algorithm": algorithm, "activation": "silu"}
    want = fastconv.correlate2d(x, w, **options)
    for parts in (1, 2, (1, 3, 2), 6):
        np.testing.assert_array_equal(
            computed(lazy.correlate2d(da.from_array(x, chunks=(parts, -1, -1, -1)), w, **options)), want
        )


def test_the_same_sums_have_the_same_bits():
    """Where a chunk cuts off nothing of the windows of the others: those of one chunk are the call's on it."""
    x, w = values((1, 3, 40, 30), "f4"), values((4, 3, 3, 3), "f4", 1)
    result = lazy.correlate2d(da.from_array(x, chunks=(1, 3, 10, 30)), w, algorithm="direct")
    np.testing.assert_array_equal(
        computed(result)[:, :, :10], fastconv.correlate2d(x[:, :, :12], w, algorithm="direct")
    )


def test_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, w = values((1, 4, 20), bfloat16), values((4, 4, 3), bfloat16, 1)
    result = lazy.correlate1d(da.from_array(x, chunks=(1, 2, 7)), w, padding="same")
    oracle.check(computed(result), oracle.correlate(x, w, padding_mode="same"))


@pytest.mark.slow
def test_wider_sums():
    x, w = values((1, 3, 30), "u1"), values((4, 3, 5), "u1", 1)
    result = lazy.correlate1d(da.from_array(x, chunks=(1, 2, 7)), w, dtype="i4", fillvalue=300, padding=4)
    np.testing.assert_array_equal(computed(result), fastconv.correlate1d(x, w, dtype="i4", fillvalue=300, padding=4))
    pooled = lazy.max_pool1d(da.from_array(x, chunks=(1, 2, 7)), 3, dtype="f4")
    np.testing.assert_array_equal(computed(pooled), fastconv.max_pool1d(x, 3, dtype="f4"))
    mean = lazy.avg_pool1d(da.from_array(x, chunks=(1, 2, 7)), 3, dtype="f4")
    np.testing.assert_array_equal(computed(mean), fastconv.avg_pool1d(x, 3, dtype="f4"))


def test_weights_and_bias_in_dask():
    x, w, bias = values((1, 3, 30), "f4"), values((4, 3, 5), "f4", 1), values(4, "f4", 2)
    x_lazy = da.from_array(x, chunks=(1, 3, 9))
    given = lazy.correlate1d(x_lazy, da.from_array(w, chunks=(2, 1, 5)), bias=da.from_array(bias, chunks=1))
    np.testing.assert_array_equal(computed(given), computed(lazy.correlate1d(x_lazy, w, bias=bias)))


def test_numpy_arrays_are_wrapped():
    x = values((1, 1, 9), "f4")
    result = lazy.max_pool1d(x, 3)
    assert isinstance(result, da.Array)
    np.testing.assert_array_equal(computed(result), fastconv.max_pool1d(x, 3))
    assert result.name == lazy.max_pool1d(x.copy(), 3).name


@pytest.mark.parametrize("shape", [(0, 2, 5), (2, 2, 0), (2, 0, 5)])
def test_nothing_to_do(shape):
    x, w = np.zeros(shape, "f4"), np.zeros((3, shape[1], 2), "f4")
    for name, *arguments in (("correlate1d", w), ("max_pool1d", 2), ("im2col", 2)):
        want = getattr(fastconv, name)(x, *arguments)
        np.testing.assert_array_equal(computed(getattr(lazy, name)(da.from_array(x, chunks=1), *arguments)), want)


# Filters of ndimage --------------------------------------------------------------------------------------------------

ARGUMENTS = {"convolve": ([[1, 2, 0], [0, -3, 1]],), "correlate": ([[1, 2, 0], [0, -3, 1]],)}
ARGUMENTS |= dict.fromkeys(("convolve1d", "correlate1d"), ([1, -2, 3, 1],))
ARGUMENTS |= {name: (1.2,) for name in ndimage.__all__ if name.startswith("gaussian")}
ARGUMENTS |= dict.fromkeys(("sobel", "prewitt", "laplace"), ())
GENERIC = "generic_laplace", "generic_gradient_magnitude"
FILTERS = [name for name in ndimage.__all__ if name not in GENERIC]
WINDOWED = [name for name in FILTERS if "footprint" in inspect.signature(getattr(ndimage, name)).parameters]


def filter_agrees(name, x, x_lazy, *args, **kwargs):
    want = getattr(ndimage, name)(x, *args, **kwargs)
    result = getattr(lazy.ndimage, name)(x_lazy, *args, **kwargs)
    assert result.chunks == x_lazy.chunks
    got = computed(result)
    note = f"{name}({x.dtype} {x.shape}, {args}, {kwargs}) in {x_lazy.chunks}"
    if want.dtype.kind in "fc":
        # Sums of a few dozen products of weights of one or two, or what a running sum or a transform makes of them.
        scale = np.abs(x.astype("c16")).max(initial=1) * 100
        np.testing.assert_allclose(got, want, rtol=0, atol=scale * np.finfo(want.dtype).eps, err_msg=note)
    else:
        np.testing.assert_array_equal(got, want, note)


@pytest.mark.parametrize("name", FILTERS)
@given(data=st.data())
@settings(max_examples=12)
def test_ndimage(name, data):
    random_filter_agrees(name, data, ["f4", "u1"])


@pytest.mark.slow
@pytest.mark.parametrize("name", FILTERS)
@given(data=st.data())
@settings(max_examples=300)
def test_ndimage_often(name, data):
    random_filter_agrees(name, data, ["f4", "f8", "u1", "i4"])


def random_filter_agrees(name, data, dtypes):
    x = values(data.draw(st.tuples(ints(1, 12), ints(1, 9))), data.draw(st.sampled_from(dtypes)))
    if x.dtype.kind in "iu":
        x = x % 100  # whose squares no type of the four cuts off, but bytes
    args = ARGUMENTS.get(name, (data.draw(ints(2, 5)),))
    options = {"mode": data.draw(st.sampled_from(MODES)), "cval": data.draw(ints(-2, 2))}
    parameters = inspect.signature(getattr(ndimage, name)).parameters
    if "origin" in parameters:
        options["origin"] = data.draw(ints(-1, 0))
    if "axis" in parameters:
        options["axis"] = data.draw(ints(0, 1))
    if name in WINDOWED and data.draw(st.booleans()):
        args, options["footprint"] = (), [[1, 0, 1], [0, 1, 1]]
    filter_agrees(name, x, chunked(data, x), *args, **options)


def test_every_name_is_there():
    assert lazy.ndimage.__all__ == ndimage.__all__


def test_ndimage_of_other_arguments():
    x = values((9, 8, 7), "f8")
    x_lazy = da.from_array(x, chunks=(4, 3, 7))
    filter_agrees("gaussian_filter", x, x_lazy, (1, 2), axes=(0, 2), mode=["wrap", "mirror"], radius=5)
    filter_agrees("gaussian_filter", x, x_lazy, 1, output=np.float32, order=(1, 0, 2))
    filter_agrees("gaussian_laplace", x, x_lazy, 1.0, mode=["wrap", "reflect", "constant"])
    filter_agrees("gaussian_gradient_magnitude", x, x_lazy, sigma=1.0, truncate=2.0)
    filter_agrees("grey_closing", x, x_lazy, structure=values((2, 3, 1), "f8", 1), mode="nearest")
    filter_agrees("uniform_filter", x, x_lazy, size=(3, 1, 4), origin=(-1, 0, 1), mode="wrap")
    filter_agrees("correlate", x > 0, x_lazy > 0, np.ones((3, 3, 3)), output=int)
    filter_agrees("correlate", values((9, 8), "c16"), da.from_array(values((9, 8), "c16"), chunks=3), [[1, 2j], [3, 4]])
    filter_agrees("gaussian_filter", x[:, 0, 0], x_lazy[:, 0, 0], 6)  # which reaches beyond both ends


def test_ndimage_takes_no_more_than_it_needs():
    """Halos of steps side by side are as wide as the widest, those of steps in sequence as all of them."""
    source = da.zeros((10, 100), chunks=(10, 10))

    def taken(result):
        tasks = result.__dask_graph__().layers[result.name]
        return {key[2] for key in tasks[(result.name, 0, 5)].dependencies if key[0] == source.name}

    assert taken(lazy.ndimage.gaussian_gradient_magnitude(source, 2.5)) == {4, 5, 6}
    assert taken(lazy.ndimage.grey_erosion(source, 19)) == {4, 5, 6}
    assert taken(lazy.ndimage.grey_opening(source, 11)) == {4, 5, 6}
    assert taken(lazy.ndimage.grey_opening(source, 19)) == {3, 4, 5, 6, 7}
    assert taken(lazy.ndimage.uniform_filter1d(source, 9, axis=0)) == {5}
    assert taken(lazy.ndimage.correlate1d(source, np.ones(8), origin=-4)) == {5, 6}


@pytest.mark.parametrize(("name", "own"), [("generic_laplace", "laplace"), ("generic_gradient_magnitude", "gradient")])
def test_generic_filters_take_functions_of_dask_arrays(name, own):
    def second(input, axis, output, mode, cval, scale=1, *, shift=0):
        module = lazy.ndimage if isinstance(input, da.Array) else ndimage
        return module.correlate1d(input, [scale, -2, 1], axis, output, mode, cval, origin=shift)

    x = values((9, 8), "f8")
    x_lazy = da.from_array(x, chunks=(4, 3))
    filter_agrees(name, x, x_lazy, second, mode=["wrap", "mirror"])
    filter_agrees(name, x, x_lazy, second, np.float32, extra_arguments=(2,), extra_keywords={"shift": 1}, axes=(1,))
    filter_agrees(name, x, x_lazy, second, axes=())
    with pytest.raises(TypeError, match=rf"{name}\(\): \w+ gives a ndarray, expected a Dask array: take a function of"):
        getattr(lazy.ndimage, name)(x_lazy, ndimage.sobel)


# Errors --------------------------------------------------------------------------------------------------------------

X, W = np.zeros((2, 4, 9, 9), "f4"), np.zeros((6, 4, 3, 3), "f4")
REFUSED = [
    ("correlate2d", (X[0], W), {}),
    ("correlate2d", (X, W[0]), {}),
    ("correlate_nd", (X, W[0, 0]), {}),
    ("correlate2d", (X, W), {"groups": 3}),
    ("correlate2d", (X, W), {"stride": 0, "dilation": "a", "bias": np.zeros(3), "fillvalue": "b"}),
    ("convolve2d", (X, W), {"padding": 1, "padding_mode": "same"}),
    ("convolve2d", (X, W), {"padding": (1, 2, 3)}),
    ("correlate2d", (X, W), {"dilation": 5}),
    ("correlate2d", (X, W), {"boundary": "mirror"}),
    ("correlate2d", (X, W), {"activation": "relu7"}),
    ("correlate2d", (X, W), {"algorithm": "fast"}),
    ("correlate2d", (X, np.zeros((6, 4, 4, 2), "f4")), {"algorithm": "winograd"}),
    ("correlate2d", (X, W), {"dtype": "i4"}),
    ("correlate2d", (X.astype("u1"), W.astype("u1")), {"fillvalue": 300}),
    ("correlate2d", (X.astype("O"), W), {}),
    ("max_pool2d", (X[0], 2), {}),
    ("max_pool2d", (X, 10), {}),
    ("max_pool2d", (X.astype("c8"), 2), {}),
    ("max_pool2d", (X, 2), {"padding": 1, "padding_spec": 1}),
    ("min_pool2d", (X, 2), {"stride": -1}),
    ("avg_pool2d", (X, 2), {"dtype": "i4"}),
    ("avg_pool2d", (X, 2), {"dtype": "S1"}),
    ("extract_patches", (X, 3), {}),
    ("extract_patches", (X, (3,) * 5), {}),
    ("im2col", (X[0, 0], 3), {}),
    ("im2col", (X, 3), {"padding": -1}),
    ("maximum_filter", (X, 3), {}),
    ("minimum_filter", (X.astype("c8"), (3,)), {}),
    ("uniform_filter", (X, (10,)), {}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), REFUSED, ids=[f"{i}-{r[0]}" for i, r in enumerate(REFUSED)])
def test_errors_are_those_of_the_numpy_call(name, arguments, options):
    """Word by word, and when the graph is made."""
    x, *rest = arguments
    with pytest.raises((TypeError, ValueError)) as numpys:
        getattr(fastconv, name)(x, *rest, **options)
    with pytest.raises(type(numpys.value), match=f"^{re.escape(str(numpys.value))}$"):
        getattr(lazy, name)(da.from_array(x, chunks=3), *rest, **options)


REFUSED_FILTERS = [
    ("gaussian_filter", ("wide",), {}),
    ("gaussian_filter", (1,), {"mode": "around"}),
    ("gaussian_filter", ((1, 2, 3),), {}),
    ("correlate", (np.ones(3),), {}),
    ("correlate1d", (np.ones(3),), {"axis": 5}),
    ("maximum_filter", (), {}),
    ("maximum_filter", (3,), {"origin": 2}),
    ("grey_opening", (), {}),
    ("uniform_filter1d", (0,), {}),
    ("sobel", (), {"output": "S1"}),
    ("laplace", (), {"axes": (0, 0)}),
    ("generic_laplace", (None,), {"axes": 7}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), REFUSED_FILTERS)
def test_errors_of_ndimage_are_those_of_the_numpy_call(name, arguments, options):
    x = np.zeros((9, 9), "f4")
    with pytest.raises(Exception, match=name) as numpys:
        getattr(ndimage, name)(x, *arguments, **options)
    with pytest.raises(type(numpys.value), match=f"^{re.escape(str(numpys.value))}$"):
        getattr(lazy.ndimage, name)(da.from_array(x, chunks=3), *arguments, **options)


class Other(np.ndarray):
    """Of a library of its own."""


def test_errors_that_numpy_arrays_have_not():
    x = da.zeros((1, 1, 9), chunks=3)
    unknown = x[..., da.arange(9, chunks=3) > 4]
    for call in (lambda: lazy.correlate1d(unknown, np.ones((1, 1, 2))), lambda: lazy.max_pool1d(unknown, 2)):
        with pytest.raises(
            ValueError, match=r"\(\): x has unknown chunk sizes .* call x\.compute_chunk_sizes\(\) first"
        ):
            call()
    with pytest.raises(ValueError, match="input has unknown chunk sizes"):
        lazy.ndimage.sobel(unknown)
    with pytest.raises(TypeError, match=r"max_pool1d\(\): x is a Dask array of masked arrays, expected one of plain"):
        lazy.max_pool1d(da.ma.masked_equal(x, 1), 2)
    with pytest.raises(TypeError, match=r"correlate1d\(\): out is a ndarray, expected None: a lazy result has no"):
        lazy.correlate1d(x, np.ones((1, 1, 2)), out=np.zeros((1, 1, 8)))
    with pytest.raises(TypeError, match=r"sobel\(\): output is a ndarray, expected None or a dtype: a lazy"):
        lazy.ndimage.sobel(x, output=np.zeros((1, 1, 9)))
    with pytest.raises(TypeError, match=r"correlate1d\(\): weights is a Dask array, expected a NumPy one; call its"):
        lazy.ndimage.correlate1d(x, da.ones(3))
    with pytest.raises(TypeError, match=r"gaussian_filter\(\): missing a required argument: 'sigma'"):
        lazy.ndimage.gaussian_filter(x)
    with pytest.raises(ValueError, match="more than memory can address"):
        lazy.correlate1d(da.zeros((1, 1, 1 << 59), chunks=1 << 58), np.ones((1 << 10, 1, 1)))
    with pytest.raises(TypeError, match=r"max_pool1d\(\): x is a Dask array of Other blocks, expected one of plain"):
        lazy.max_pool1d(da.Array(x.dask, x.name, x.chunks, meta=np.zeros((0, 0, 0)).view(Other)), 2)


def test_numpy_functions_name_fastconv_dask():
    x = da.zeros((1, 1, 9), chunks=3)
    for call in (lambda: fastconv.correlate1d(x, np.ones((1, 1, 2))), lambda: fastconv.max_pool1d(x, 2)):
        with pytest.raises(TypeError, match=r"x is a dask Array, expected a NumPy array; use fastconv\.dask, or call"):
            call()


def test_results_need_not_fit_into_memory():
    x = da.zeros((1, 1, 1 << 20, 1 << 22), chunks=(1, 1, 1 << 14, 1 << 15), dtype="f4")  # 16 TiB
    result = lazy.correlate2d(x, np.ones((1, 1, 3, 3), "f4"), padding="same")
    assert (result.shape, result.numblocks) == (x.shape, x.numblocks)
    assert lazy.max_pool2d(x, 2).nbytes == x.nbytes // 4
    assert lazy.ndimage.gaussian_gradient_magnitude(x, (0, 0, 1, 1)).nbytes == x.nbytes


# Graphs --------------------------------------------------------------------------------------------------------------


def own_tasks(result, source):
    return {key: task for key, task in result.__dask_graph__().items() if key not in source.__dask_graph__()}


def test_one_task_for_each_block_and_one_for_the_call():
    x = da.zeros((2, 4, 40, 40), chunks=(1, 2, 10, 10))
    w = np.ones((4, 2, 5, 5))
    result = lazy.correlate2d(x, w, groups=2, padding="same", stride=2)
    tasks = own_tasks(result, x)
    assert len(tasks) == result.npartitions + 1 == 65
    (shared,) = (key for key in tasks if isinstance(key, str))
    assert all(shared in task.dependencies for key, task in tasks.items() if key != shared)
    filtered = lazy.ndimage.gaussian_filter(x, (0, 0, 1, 1))
    assert len(own_tasks(filtered, x)) == x.npartitions + 1


def plane_of(side):
    return da.zeros((1, 1, side, side), chunks=(1, 1, 10, 10))


def volume_of(side):
    return da.zeros((side,) * 3, chunks=10)


@pytest.mark.parametrize(
    "filtered, array, sides",
    [
        (lambda x: lazy.correlate2d(x, np.ones((1, 1, 3, 3)), padding="same"), plane_of, (250, 1000)),
        (lambda x: lazy.ndimage.uniform_filter(x, 3), volume_of, (80, 220)),
    ],
    ids=["correlate2d", "uniform_filter"],
)
def test_ten_thousand_blocks_take_as_long_each_as_hundreds(filtered, array, sides):
    each = []
    for x in map(array, sides):
        times = []
        for _ in range(3):
            begin = time.process_time()
            count = filtered(x).npartitions
            times.append(time.process_time() - begin)
        each.append(min(times) / count)
    assert count >= 10_000
    assert each[1] < 5 * each[0]  # sixteen times as many blocks and more; the collector of garbage takes its part


def test_names_tell_calls_apart():
    x = da.zeros((1, 1, 20), chunks=5)
    w = np.ones((1, 1, 3))
    name = lazy.correlate1d(x, w).name
    assert name == lazy.correlate1d(da.zeros((1, 1, 20), chunks=5), w.copy(), groups=1).name
    others = [
        lazy.correlate1d(x, 2 * w),
        lazy.correlate1d(x, w, padding="same"),
        lazy.correlate1d(x, w, padding="same", boundary="wrap"),
        lazy.correlate1d(x, w, padding="same", fillvalue=1),
        lazy.correlate1d(x, w, stride=2),
        lazy.correlate1d(x, w, bias=[1.0]),
        lazy.correlate1d(x, w, activation="relu"),
        lazy.correlate1d(x, w, dtype="c16"),
        lazy.correlate1d(x, w, algorithm="direct"),
        lazy.correlate1d(x + 1, w),
        lazy.convolve1d(x, w),
        lazy.max_pool1d(x, 3),
        lazy.min_pool1d(x, 3),
        lazy.max_pool1d(x, 3, ceil_mode=True),
        *lazy.max_pool1d(x, 3, return_indices=True),
        lazy.avg_pool1d(x, 3),
        lazy.avg_pool1d(x, 3, count_include_pad=False),
        lazy.im2col(x, 3),
        lazy.extract_patches(x, (3,)),
        lazy.ndimage.gaussian_filter(x, 1),
        lazy.ndimage.gaussian_filter(x, 2),
        lazy.ndimage.gaussian_filter(x, 1, mode="wrap"),
    ]
    assert len({name, *(other.name for other in others)}) == len(others) + 1


def test_what_auto_means_is_that_of_who_makes_the_graph():
    x = da.zeros((1, 1, 20), chunks=5)
    w = np.ones((1, 1, 3))
    with fastconv.algorithm("direct"):
        assert lazy.correlate1d(x, w).name == lazy.correlate1d(x, w, algorithm="direct").name
    assert lazy.correlate1d(x, w).name != lazy.correlate1d(x, w, algorithm="direct").name


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_schedulers(scheduler):
    x, w = values((1, 2, 30, 30), "f4"), values((2, 2, 3, 3), "f4", 1)
    x_lazy = da.from_array(x, chunks=(1, 1, 13, 13))
    results = lazy.correlate2d(x_lazy, w), *lazy.max_pool2d(x_lazy, 2, return_indices=True)
    results = (*results, lazy.ndimage.gaussian_filter(x_lazy, (0, 0, 1, 1)))
    with dask.config.set(scheduler=scheduler):
        got = dask.compute(*results)
    wanted = fastconv.correlate2d(x, w), *fastconv.max_pool2d(x, 2, return_indices=True)
    for a, b in zip(got[1:3], wanted[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(got[0], wanted[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(got[3], ndimage.gaussian_filter(x, (0, 0, 1, 1)), rtol=0, atol=1e-5)


def test_several_results_share_work():
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones(block_info[None]["chunk-shape"], "f4")

    x = da.map_blocks(block, chunks=((1,), (1,), (5,) * 4), dtype="f4", meta=np.empty((0,) * 3, "f4"))
    values, indices = lazy.max_pool1d(x, 3, stride=1, return_indices=True)
    smooth = lazy.correlate1d(x, np.ones((1, 1, 3), "f4"), padding="same")
    pooled = mock.Mock(wraps=fastconv.pool.max_pool1d)
    with mock.patch.object(fastconv.pool, "max_pool1d", pooled):
        dask.compute(values, indices, smooth, smooth * 2, lazy.ndimage.sobel(x), scheduler="sync")
    assert sorted(read) == [(0, 0, i) for i in range(4)]
    assert pooled.call_count == values.npartitions


def test_graphs_can_be_pickled():
    x = da.from_array(values((1, 2, 30), "f4"), chunks=(1, 1, 7))
    for result in (
        lazy.correlate1d(x, np.ones((2, 2, 3), "f4")),
        lazy.ndimage.gaussian_filter(x, 1),
        lazy.im2col(x, 3),
    ):
        again = pickle.loads(pickle.dumps(result))
        assert again.name == result.name
        np.testing.assert_array_equal(computed(again), computed(result))


def test_tasks_run_on_one_thread_and_leave_the_number_as_it_was():
    """Also where several of them run at once, and in other threads than theirs."""
    from fastconv import threads

    seen = []

    def spy(x, *args, **kwargs):
        seen.append(fastconv.get_num_threads())
        return x

    with fastconv.num_threads(2):
        with threads.alone():
            assert fastconv.get_num_threads() == 1
            with threads.alone(), fastconv.num_threads(3):
                pass
            assert fastconv.get_num_threads() == 1
        assert fastconv.get_num_threads() == 2
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ndimage, "sobel", spy)
            dask.compute(
                dask.delayed(lazy.graph.run_block)(
                    lambda parts, blocks: spy(blocks[(0,)]), (halo.Part(1, (halo.Piece(0, 0, 1, 1),)),), np.zeros(1)
                ),
                scheduler="threads",
            )
        assert seen == [1]
        assert fastconv.get_num_threads() == 2


# Around it -----------------------------------------------------------------------------------------------------------


def test_xarray():
    xarray = pytest.importorskip("xarray")
    x = values((20, 30), "f8")
    field = xarray.DataArray(da.from_array(x, chunks=(7, 9)), dims=("lat", "lon"))
    smooth = xarray.apply_ufunc(lazy.ndimage.gaussian_filter, field, 1.5, dask="allowed", kwargs={"mode": "wrap"})
    assert isinstance(smooth.data, da.Array)
    np.testing.assert_allclose(
        smooth.compute(scheduler="sync"), ndimage.gaussian_filter(x, 1.5, mode="wrap"), rtol=1e-12
    )
    batch = field.expand_dims(("n", "c"))
    pooled = xarray.apply_ufunc(
        lazy.max_pool2d, batch, 2, dask="allowed", input_core_dims=[["lat", "lon"], []],
        output_core_dims=[["lat2", "lon2"]],
    )  # fmt: skip
    np.testing.assert_array_equal(pooled[0, 0], fastconv.max_pool2d(x[None, None], 2)[0, 0])


@pytest.fixture
def cluster():
    """Two workers in threads of this process: what they share, tests can look at."""
    distributed = pytest.importorskip("distributed")
    quiet = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**quiet) as cluster, distributed.Client(cluster) as client:
        yield client


def test_warmup_compiles_on_every_worker(cluster, monkeypatch, capsys):
    called = []
    calls = [warmup.Call(name, lambda ones, name=name: called.append((name, ones(2).dtype.name))) for name in "ab"]
    monkeypatch.setattr(warmup, "calls", lambda: calls)
    address = cluster.scheduler.address
    assert main(["warmup", "--dask", address, "--dtype", "float32", "int8"]) == 0
    assert sorted(called) == sorted([(name, dtype) for name in "ab" for dtype in ("float32", "int8")] * 2)
    printed = capsys.readouterr().out
    assert all(worker in printed for worker in cluster.nthreads())


def test_warmup_says_that_no_scheduler_answers(capsys, monkeypatch):
    pytest.importorskip("distributed")
    with dask.config.set({"distributed.comm.timeouts.connect": "200ms"}):
        assert main(["warmup", "--dask", "tcp://127.0.0.1:9"]) == 1
    assert "warmup: no scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["warmup", "--dask", "tcp://127.0.0.1:9"]) == 1
    assert "install fastconv[dask]" in capsys.readouterr().err


def test_a_cluster_has_the_same_results_and_no_warnings(cluster):
    """None about large graphs, least of all: they hold weights once."""
    x, w = values((2, 8, 40, 40), "f4"), values((64, 8, 5, 5), "f4", 1)
    x_lazy = da.from_array(x, chunks=(1, 8, 5, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = lazy.correlate2d(x_lazy, w, padding="same").compute()
    oracle.check(got, oracle.correlate(x, w, padding_mode="same"))


@pytest.mark.slow
def test_workers_that_start_together_share_a_cache_folder(tmp_path):
    """An empty one: both compile, and what is kept serves a second cluster."""
    pytest.importorskip("distributed")
    code = """
import dask.array as da
from distributed import Client, LocalCluster
from fastconv import dask as lazy

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        x = da.ones((2, 1, 40), chunks=(1, 1, 10), dtype="f4")
        print(lazy.max_pool1d(x, 2).sum().compute(), lazy.ndimage.sobel(x).sum().compute())
"""
    kept = []
    for _ in range(2):
        assert run("-c", code, NUMBA_CACHE_DIR=tmp_path).stdout.split() == ["40.0", "0.0"]
        kept.append(sorted(path for path in tmp_path.rglob("*") if path.is_file()))
    assert kept[0]
    assert kept[0] == kept[1]


def test_without_dask_it_is_said_what_to_install():
    code = "import sys; sys.modules['dask'] = None; import fastconv; fastconv.dask"
    done = run_python(code, check=False)
    assert "ImportError: fastconv.dask needs Dask's arrays" in done.stderr
    assert "install fastconv[dask]" in done.stderr


# Examples ------------------------------------------------------------------------------------------------------------


def example(name, *arguments):
    return run(ROOT / "examples" / f"{name}.py", *arguments)


def test_zarr_example():
    pytest.importorskip("zarr")
    assert "became shards of (16, 32, 32)" in example("dask_zarr", "--side", "70").stdout


@pytest.mark.slow
def test_volume_example():
    """Two processes, one of which is killed."""
    for module in ("zarr", "distributed", "skimage"):
        pytest.importorskip(module)
    printed = example("dask_volume", "--gb", "0.004", "--chunk", "16", "--kill").stdout
    assert "the same bits" in printed
