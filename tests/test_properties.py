"""Random problems: shapes, layouts, dtypes and options drawn together. Either both the package and the oracle answer,
and alike, or both refuse."""

import math

import numpy as np
import oracle
import pytest
from cases import (
    ALGORITHMS,
    LAYOUTS,
    OUT_LAYOUTS,
    RANK_NAMES,
    call_convolution,
    check_convolution,
    check_windows,
    poison,
    values,
)
from fastconv.kernels.shapes import BOUNDARIES
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fastconv

DTYPES = ["f4", "f8", "u1", "c8"]
MIXED = [*zip(DTYPES, DTYPES), ("u1", "f4"), ("f8", "f4"), ("c8", "f4")]
# For long runs.
MORE_MIXED = ("i2", "i2"), ("f2", "f2"), ("i2", "f4")
MORE_POOLED = "f8", "i2"


def ints(low, high):
    return st.integers(low, high)


def axes(rank, element):
    return st.one_of(element, st.tuples(*[element] * rank))


def paddings(rank, widest=4):
    width = ints(0, widest)
    pair = st.tuples(width, width)
    return st.one_of(
        st.sampled_from(["valid", "full", "same"]), width, st.tuples(*[width] * rank), st.tuples(*[pair] * rank)
    )


@st.composite
def convolutions(draw, more=()):
    rank = draw(ints(1, 4))
    groups = draw(ints(1, 3))
    channels, outputs = draw(ints(1, 3)), groups * draw(st.one_of(ints(1, 3), st.sampled_from([8, 13, 16, 31, 32, 33])))
    largest = {1: 40, 2: 9, 3: 6, 4: 4}[rank]
    sizes = draw(st.tuples(*[ints(1, largest)] * rank))
    kernel = draw(st.tuples(*[ints(1, 4)] * rank))
    dtypes = draw(st.sampled_from([*MIXED, *more]))
    x = values((draw(ints(0, 3)), groups * channels, *sizes), dtypes[0])
    w = values((outputs, channels, *kernel), dtypes[1], 1)
    options = {
        "groups": groups,
        "stride": draw(axes(rank, ints(1, 3))),
        "dilation": draw(axes(rank, ints(1, 3))),
        "padding_mode": draw(paddings(rank)),
        "boundary": draw(axes(rank, st.sampled_from(BOUNDARIES))),
        "fillvalue": draw(ints(0, 3) if dtypes == ("u1", "u1") else ints(-3, 3)),
        "algorithm": draw(st.sampled_from(ALGORITHMS)),
    }
    result = np.result_type(x, w)
    if draw(st.booleans()):
        options["bias"] = values(outputs, result, 2)
    if result.kind == "f":
        options["activation"] = draw(st.sampled_from([None, "relu", "tanh"]))
    x = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)
    w = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](w)
    return draw(st.sampled_from(["correlate", "convolve"])), x, w, options, draw(st.sampled_from([None, *OUT_LAYOUTS]))


def convolution_agrees(problem):
    operation, x, w, options, out = problem
    plain = {k: v for k, v in options.items() if k != "algorithm"}
    try:
        expected = getattr(oracle, operation)(x, w, **plain)
    except ValueError:
        with pytest.raises(ValueError, match=operation):
            call_convolution(operation, x, w, **options)
        return
    if out is not None:
        options["out"] = LAYOUTS[out](poison(expected.value.shape, expected.dtype))
    check_convolution(operation, x, w, **options)


@given(convolutions())
@settings(max_examples=200)
def test_convolution(problem):
    convolution_agrees(problem)


@pytest.mark.slow
@given(convolutions(MORE_MIXED))
@settings(max_examples=5000)
def test_many_convolutions(problem):
    convolution_agrees(problem)


@st.composite
def pools(draw, more=()):
    rank = draw(ints(1, 3))
    name = draw(st.sampled_from(["max_pool", "min_pool", "avg_pool"]))
    sizes = draw(st.tuples(*[ints(1, {1: 30, 2: 9, 3: 5}[rank])] * rank))
    dtype = draw(st.sampled_from([*(DTYPES if name == "avg_pool" else ["f4", "u1"]), *more]))
    x = values((draw(ints(0, 2)), draw(ints(1, 3)), *sizes), dtype)
    if dtype[0] == "f" and x.size and draw(st.booleans()):
        x.flat[:: draw(ints(2, 9))] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))
    options = {
        "stride": draw(st.one_of(st.none(), axes(rank, ints(1, 4)))),
        "dilation": draw(axes(rank, ints(1, 3))),
        "padding_spec": draw(paddings(rank)),
        "ceil_mode": draw(st.booleans()),
    }
    if name == "avg_pool":
        options["count_include_pad"] = draw(st.booleans())
    x = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)
    return f"{name}{RANK_NAMES[rank]}", x, draw(axes(rank, ints(1, 4))), options


def pool_agrees(problem):
    name, x, kernel, options = problem
    layout = (options[k] for k in ("stride", "dilation", "padding_spec", "ceil_mode"))
    try:
        oracle.Windows(x.shape[2:], kernel, *layout)
    except ValueError:
        with pytest.raises(ValueError, match=name):
            getattr(fastconv, name)(x, kernel, **options)
        return
    check_windows(name, x, kernel, **options)


@given(pools())
@settings(max_examples=200)
def test_pool(problem):
    pool_agrees(problem)


@pytest.mark.slow
@given(pools(MORE_POOLED))
@settings(max_examples=2500)
def test_many_pools(problem):
    pool_agrees(problem)


@st.composite
def patches(draw):
    rank = draw(ints(1, 4))
    sizes = draw(st.tuples(*[ints(1, {1: 30, 2: 8, 3: 5, 4: 3}[rank])] * rank))
    width = ints(0, 3)
    options = {
        "stride": draw(axes(rank, ints(1, 3))),
        "dilation": draw(axes(rank, ints(1, 3))),
        "padding": draw(st.one_of(width, st.tuples(*[width] * rank), st.tuples(*[st.tuples(width, width)] * rank))),
    }
    lead = draw(st.lists(ints(0, 2), max_size=2))
    kernel = draw(st.tuples(*[ints(1, 3)] * rank))
    x = values((*lead, *sizes), draw(st.sampled_from(DTYPES)))
    return (
        LAYOUTS[draw(st.sampled_from([n for n in LAYOUTS if n not in ("channels_last", "swapped_axes")]))](x),
        kernel,
        options,
    )


def patches_agree(problem):
    x, kernel, options = problem
    sizes = x.shape[x.ndim - len(kernel) :]
    try:
        oracle.Windows(sizes, kernel, *options.values())
    except ValueError:
        with pytest.raises(ValueError, match="extract_patches"):
            fastconv.extract_patches(x, kernel, **options)
        return
    got = check_windows("extract_patches", x, kernel, **options)
    check_windows("combine_patches", got, sizes, kernel, **options)
    if x.ndim == len(kernel) + 2:
        columns = check_windows("im2col", x, kernel, **options)
        check_windows("col2im", columns, sizes, kernel, **options)


@given(patches())
@settings(max_examples=100)
def test_patches(problem):
    patches_agree(problem)


@pytest.mark.slow
@given(patches())
@settings(max_examples=3000)
def test_many_patches(problem):
    patches_agree(problem)


@given(st.data())
def test_filters(data):
    rank = data.draw(ints(1, 4))
    kernel = data.draw(st.tuples(*[ints(1, 3)] * rank))
    sizes = [k + data.draw(ints(0, 4)) for k in kernel]
    lead = data.draw(st.lists(ints(0, 2), max_size=2))
    name = data.draw(st.sampled_from(["maximum_filter", "minimum_filter", "uniform_filter"]))
    stride = data.draw(st.one_of(st.none(), axes(rank, ints(1, 3))))
    check_windows(name, values((*lead, *sizes), data.draw(st.sampled_from(["f4", "u1"]))), kernel, stride=stride)


# Laws, on small integers in float64, where every sum is exact ---------------------------------------------------------


@given(st.data())
def test_linearity(data):
    size, kernel = data.draw(ints(1, 30)), data.draw(ints(1, 5))
    options = {"padding_mode": data.draw(ints(4, 6)), "stride": data.draw(ints(1, 3))}
    options["boundary"] = data.draw(st.sampled_from(BOUNDARIES))

    def small(*shape):
        return data.draw(
            st.builds(lambda seed: np.random.default_rng(seed).integers(-9, 9, shape), ints(0, 99))
        ).astype(float)

    x, y, v, w = small(1, 2, size), small(1, 2, size), small(3, 2, kernel), small(3, 2, kernel)
    f = fastconv.correlate1d
    np.testing.assert_array_equal(f(2 * x + 3 * y, w, **options), 2 * f(x, w, **options) + 3 * f(y, w, **options))
    np.testing.assert_array_equal(f(x, v - w, **options), f(x, v, **options) - f(x, w, **options))


@given(ints(1, 3), ints(1, 5), ints(0, 4), st.sampled_from(["correlate", "convolve"]))
@example(1, 1, 0, "correlate")
def test_a_unit_impulse_shifts(rank, size, at, operation):
    """A kernel that holds one 1 moves the input, whatever the rank."""
    kernel = (5,) * rank
    w = np.zeros((1, 1, *kernel))
    w[(0, 0, *(at,) * rank)] = 1
    x = np.arange(1.0, 1 + size**rank).reshape(1, 1, *(size,) * rank)
    got = call_convolution(operation, x, w, padding_mode="full")
    start = 4 - at if operation == "correlate" else at
    want = np.zeros((1, 1, *(size + 4,) * rank))
    want[(0, 0, *(slice(start, start + size),) * rank)] = x[0, 0]
    np.testing.assert_array_equal(got, want)


@given(ints(1, 20), ints(1, 20))
def test_full_convolution_is_numpys(size, kernel):
    x, w = np.arange(size) % 7 - 3.0, np.arange(kernel) % 5 - 2.0
    got = fastconv.convolve1d(x[None, None], w[None, None], padding_mode="full")
    np.testing.assert_array_equal(got[0, 0], np.convolve(x, w))


@given(ints(1, 3), ints(1, 4), ints(1, 3), st.booleans())
def test_max_and_min_mirror_each_other(rank, kernel, stride, ceil_mode):
    x = values((1, 2, *(7, 6, 5)[:rank]), "f4")
    options = {"stride": stride, "padding_spec": kernel // 2, "ceil_mode": ceil_mode, "return_indices": True}
    best, at = getattr(fastconv, f"max_pool{rank}d")(x, kernel, **options)
    worst, where = getattr(fastconv, f"min_pool{rank}d")(-x, kernel, **options)
    np.testing.assert_array_equal(best, -worst)
    np.testing.assert_array_equal(at, where)


@given(ints(1, 3), ints(1, 4))
def test_an_average_is_a_correlation_with_equal_weights(rank, kernel):
    x = (np.arange(6**rank) % 11 - 5.0).reshape(1, 1, *(6,) * rank)
    w = np.ones((1, 1, *(kernel,) * rank))
    got = getattr(fastconv, f"avg_pool{rank}d")(x, kernel, stride=1)
    want = call_convolution("correlate", x, w) / math.prod(w.shape)
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15)
