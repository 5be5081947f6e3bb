"""`padding` beside `padding_mode` and `padding_spec`: the same results, and errors that speak of what was given."""

import numba
import numpy as np
import oracle
import pytest
from cases import values
from fastconv.kernels.shapes import PADDINGS

import fastconv

CONVOLUTIONS = [f"{operation}{rank}" for operation in ("correlate", "convolve") for rank in ("1d", "2d", "3d", "_nd")]
POOLS = [f"{kind}_pool{rank}d" for kind in ("avg", "max", "min") for rank in (1, 2, 3)]
UNPOOLS = [f"max_unpool{rank}d" for rank in (1, 2, 3)]
X, W = values((2, 2, 6, 7), "f4"), values((3, 2, 3, 2), "f4", 1)
MAXIMA, AT = values((2, 2, 4, 4), "f4"), np.broadcast_to(2 * np.arange(16).reshape(4, 4), (2, 2, 4, 4))


def older_name(name):
    return "padding_spec" if "pool" in name else "padding_mode"


def arguments_of(name):
    """Small arrays that a function takes."""
    rank = 2 if name.endswith("_nd") else int(name[-2])
    x = values((1, 1, *(5, 6, 4)[:rank]), "f4")
    if name in POOLS:
        return x, 2
    return (x, np.zeros(x.shape, int), 2) if name in UNPOOLS else (x, values((2, 1, 3, 2, 2)[: rank + 2], "f4", 1))


@pytest.mark.parametrize("padding", [*PADDINGS, 1, (0, 2), [[1, 2], [3, 0]], np.array([1, 2])], ids=str)
@pytest.mark.parametrize("operation", ["correlate", "convolve"])
def test_convolutions_against_the_oracle(operation, padding):
    expected = getattr(oracle, operation)(X, W, padding_mode=padding, stride=2)
    oracle.check(getattr(fastconv, f"{operation}2d")(X, W, padding=padding, stride=2), expected, operation)


@pytest.mark.parametrize("padding", [*PADDINGS, 1, ((1, 0), (0, 1))], ids=str)
def test_pools_against_the_oracle(padding):
    expected = oracle.avg_pool(X, 2, stride=1, padding_spec=padding)
    oracle.check(fastconv.avg_pool2d(X, 2, stride=1, padding=padding), expected, "avg_pool2d")
    expected, places = oracle.max_pool(X, 2, padding_spec=padding)
    got, indices = fastconv.max_pool2d(X, 2, padding=padding, return_indices=True)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(indices, places)


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *POOLS, *UNPOOLS])
def test_either_name_and_none_means_not_given(name):
    function, arguments, older = getattr(fastconv, name), arguments_of(name), older_name(name)
    np.testing.assert_array_equal(function(*arguments, padding=1), function(*arguments, **{older: 1}))
    np.testing.assert_array_equal(function(*arguments, padding=None, **{older: 1}), function(*arguments, **{older: 1}))
    np.testing.assert_array_equal(function(*arguments, padding=None), function(*arguments))


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *POOLS, *UNPOOLS])
def test_errors_name_what_was_given(name):
    function, arguments, older = getattr(fastconv, name), arguments_of(name), older_name(name)
    for label in ("padding", older):
        with pytest.raises(ValueError, match=rf"^{name}\(\): {label} is 'mid', expected 'valid', 'same', 'full' or"):
            function(*arguments, **{label: "mid"})
        with pytest.raises(ValueError, match=rf"^{name}\(\): {label} is -1, expected 0 or more"):
            function(*arguments, **{label: -1})
        with pytest.raises(TypeError, match=rf"^{name}\(\): {label} is 1.5, expected an int"):
            function(*arguments, **{label: 1.5})


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *POOLS, *UNPOOLS])
@pytest.mark.parametrize("value", ["valid", "same", 1, ((0, 1),)], ids=str)
def test_both_are_an_error(name, value):
    """Even where they agree, or the older one has its default."""
    older = older_name(name)
    with pytest.raises(ValueError, match=rf"^{name}\(\): {older} is .* and padding is .*, expected one of them"):
        getattr(fastconv, name)(*arguments_of(name), padding="valid", **{older: value})


@pytest.mark.parametrize("label", ["padding", "padding_spec"])
def test_what_unpools_cannot_reach(label):
    with pytest.raises(ValueError, match=rf"{label} is 9, which leaves the output a size of"):
        fastconv.max_unpool2d(MAXIMA, AT, 2, **{label: 9})
    with pytest.raises(ValueError, match=rf"and {label} 1 give an output of more than memory can address"):
        fastconv.max_unpool2d(MAXIMA, AT, 2, stride=2**61, **{label: 1})


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric", "wrap"])
def test_what_has_no_effect(boundary):
    """A boundary without padding, and a fill value without constant padding."""
    np.testing.assert_array_equal(fastconv.correlate2d(X, W, boundary=boundary), fastconv.correlate2d(X, W))
    options = {"padding": 2, "boundary": boundary}
    np.testing.assert_array_equal(
        fastconv.correlate2d(X, W, fillvalue=7, **options), fastconv.correlate2d(X, W, **options)
    )


# ---- inside compiled code


@numba.njit
def constants(x, w, maxima, at):
    return (
        fastconv.correlate2d(x, w, padding="same"),
        fastconv.convolve2d(x, w, padding=((1, 0), (2, 3)), stride=2),
        fastconv.correlate_nd(x, w, padding=(0, 1)),
        fastconv.convolve1d(x[:, :, 0], w[:, :, 0], padding=1),
        fastconv.correlate2d(x, w, padding=None),
        fastconv.correlate2d(x, w, padding=None, padding_mode="full"),
        fastconv.max_pool2d(x, 2, padding="full"),
        fastconv.min_pool2d(x, 2, padding=1, ceil_mode=True),
        fastconv.avg_pool2d(x, (2, 3), padding=((1, 0), (0, 1)), count_include_pad=False),
        fastconv.max_unpool2d(maxima, at, 2, padding=1, output_size=(6, 7)),
        fastconv.max_unpool2d(maxima, at, 2, padding=1, stride=3),
    )


def test_constants_in_compiled_code():
    for got, want in zip(constants(X, W, MAXIMA, AT), constants.py_func(X, W, MAXIMA, AT), strict=True):
        np.testing.assert_array_equal(got, want)


@numba.njit
def convolved(x, w, padding):
    return fastconv.correlate2d(x, w, padding=padding)


@numba.njit
def pooled(x, padding):
    return fastconv.avg_pool2d(x, 2, padding=padding)


@numba.njit
def unpooled(maxima, at, padding):
    return fastconv.max_unpool2d(maxima, at, 2, padding=padding)


@numba.njit
def older(x, w, padding):
    return fastconv.correlate2d(x, w, padding_mode=padding)


@pytest.mark.parametrize("padding", [0, np.int32(2), (1, 2), ((1, 0), (2, 3))], ids=str)
def test_variables_in_compiled_code(padding):
    np.testing.assert_array_equal(convolved(X, W, padding), fastconv.correlate2d(X, W, padding=padding))
    np.testing.assert_array_equal(pooled(X, padding), fastconv.avg_pool2d(X, 2, padding=padding))


@pytest.mark.parametrize(
    "function, arguments, label",
    [(convolved, (X, W), "padding"), (older, (X, W), "padding_mode"), (pooled, (X,), "padding"),
     (unpooled, (MAXIMA, AT), "padding")],
)  # fmt: skip
def test_errors_of_variables_name_what_was_given(function, arguments, label):
    for padding in (-1, (0, -2)):
        with pytest.raises(ValueError, match=rf"\(\): {label} is -\d, expected 0 or more"):
            function(*arguments, padding)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda x, w: fastconv.correlate2d(x, w, padding="mid"),
            r"correlate2d\(\): padding is 'mid', expected 'valid'",
        ),
        (lambda x, w: fastconv.max_pool2d(x, 2, padding="mid"), r"max_pool2d\(\): padding is 'mid', expected 'valid'"),
        (lambda x, w: fastconv.avg_pool2d(x, 2, padding=0.5), r"avg_pool2d\(\): padding is float64, expected an int"),
        (
            lambda x, w: fastconv.correlate2d(x, w, padding_mode="valid", padding="same"),
            r"correlate2d\(\): padding_mode is 'valid' and padding is 'same', expected one of them",
        ),
        (
            lambda x, w: fastconv.convolve2d(x, w, padding_mode=x.shape[0], padding=1),
            r"convolve2d\(\): padding_mode is int64 and padding is 1, expected one of them",
        ),
        (
            lambda x, w: fastconv.min_pool2d(x, 2, padding_spec=1, padding=1),
            r"min_pool2d\(\): padding_spec is 1 and padding is 1, expected one of them",
        ),
        (
            lambda x, w: fastconv.max_unpool2d(x, x.astype(np.int64), 2, padding_spec=1, padding=1),
            r"max_unpool2d\(\): padding_spec is 1 and padding is 1, expected one of them",
        ),
    ],
)
def test_what_types_tell_is_a_typing_error(call, words):
    with pytest.raises(numba.TypingError, match=words):
        numba.njit(call)(X, W)
