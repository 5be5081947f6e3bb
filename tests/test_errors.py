"""Every refusal, by the words that tell a user what to do: function, argument, what came, what is expected."""

import re
import time

import numpy as np
import oracle
import pytest
from fastconv.kernels.shapes import ACTIVATIONS, LAST_CLAMP
from subprocesses import run

import fastconv

X1, W1 = np.ones((2, 4, 9), "f4"), np.ones((6, 4, 3), "f4")
ONE = np.ones((1,) * 6, "f4")  # what runs it compiles soon in any dtype
X2, W2 = np.ones((2, 4, 8, 9), "f4"), np.ones((6, 4, 3, 2), "f4")
X3, W3 = np.ones((1, 2, 5, 6, 7), "f4"), np.ones((3, 2, 2, 2, 2), "f4")


def foreign(package):
    """What such a package's array looks like from here, installed or not."""
    return type("Tensor", (), {"__module__": f"{package}.core", "__array__": lambda *_, **__: np.ones((2, 4, 9))})()


def refuses(kind, message, name, *arguments, **options):
    """The message starts with the function's name."""
    with pytest.raises(kind, match=rf"^{name}\(\): .*{message}") as caught:
        getattr(fastconv, name)(*arguments, **options)
    assert type(caught.value) is kind


# What is true of every first argument ---------------------------------------------------------------------------------

TAKERS = {
    "correlate1d": (W1,),
    "convolve1d": (W1,),
    "correlate_nd": (W1,),
    "convolve_nd": (W1,),
    "avg_pool1d": (2,),
    "max_pool1d": (2,),
    "min_pool1d": (2,),
    "extract_patches": ((2,),),
    "im2col": (2,),
    "maximum_filter": ((2,),),
    "minimum_filter": ((2,),),
    "uniform_filter": ((2,),),
}
takers = pytest.mark.parametrize("name", TAKERS)


@takers
@pytest.mark.parametrize("dtype", ["O", "U1", "S3", "M8[s]", "m8[s]", "g", "G", [("a", "f4")]], ids=str)
def test_dtypes(name, dtype):
    x = np.zeros((2, 4, 9), dtype)
    refuses(
        TypeError, rf"x has dtype {re.escape(str(x.dtype))}, expected bool, an integer, float16", name, x, *TAKERS[name]
    )


@takers
def test_masked_arrays(name):
    refuses(TypeError, r"x is a masked array.*x\.filled\(value\)", name, np.ma.masked_array(X1, X1 > 3), *TAKERS[name])


@takers
@pytest.mark.parametrize(
    "package, advice",
    [
        ("dask", r"use fastconv\.dask, or call its \.compute\(\)"),
        ("cupy", r"\.get\(\)"),
        ("torch", r"\.numpy\(\)"),
        ("tensorflow", r"\.numpy\(\)"),
    ],
)
def test_foreign_arrays(name, package, advice):
    refuses(
        TypeError, f"x is a {package} Tensor, expected a NumPy array.*{advice}", name, foreign(package), *TAKERS[name]
    )


def test_foreign_arrays_that_are_installed():
    torch = pytest.importorskip("torch")
    refuses(TypeError, "x is a torch Tensor", "correlate1d", torch.ones(2, 4, 9), W1)
    refuses(TypeError, "w is a torch Tensor", "correlate1d", X1, torch.ones(6, 4, 3))


@takers
@pytest.mark.parametrize("x", [[[[1, 2], [3]]], [[1, [2]], 3]], ids=str)
def test_ragged_lists(name, x):
    refuses(ValueError, "x cannot be made an array", name, x, *TAKERS[name])


@takers
@pytest.mark.parametrize(
    "x", [None, "text", object(), {1: 2}, 10**30], ids=["None", "str", "object", "dict", "huge int"]
)
def test_things_that_are_no_arrays(name, x):
    refuses(TypeError, "x has dtype (object|<U4)", name, x, *TAKERS[name])


def test_second_arguments():
    refuses(TypeError, "w has dtype object", "correlate1d", X1, W1.astype(object))
    refuses(TypeError, "w is a masked array", "convolve2d", X2, np.ma.masked_array(W2))
    refuses(TypeError, "w is a cupy Tensor", "correlate1d", X1, foreign("cupy"))
    refuses(TypeError, "bias is a dask Tensor", "correlate1d", X1, W1, bias=foreign("dask"))
    refuses(TypeError, "bias has dtype object", "correlate1d", X1, W1, bias=np.zeros(6, object))


@pytest.mark.skipif(oracle.bfloat16 is None, reason="ml_dtypes is not installed")
@pytest.mark.parametrize("other", ["f2", "i2", "i8", "u4"])
def test_dtypes_that_do_not_promote(other):
    b = oracle.bfloat16
    refuses(
        TypeError,
        r"x has dtype bfloat16 and w has dtype \w+, which do not promote",
        "correlate1d",
        X1.astype(b),
        W1.astype(other),
    )
    refuses(
        TypeError,
        r"x has dtype \w+ and w has dtype bfloat16, which do not promote",
        "convolve1d",
        X1.astype(other),
        W1.astype(b),
    )


# Convolutions ---------------------------------------------------------------------------------------------------------

both = pytest.mark.parametrize("operation", ["correlate", "convolve"])


@both
@pytest.mark.parametrize(
    "rank, x, w, message",
    [
        (1, X2, W1, r"x has shape \(2, 4, 8, 9\), expected 3 dimensions \(N, C, W\)"),
        (1, X1, W2, r"w has shape \(6, 4, 3, 2\), expected 3 dimensions \(O, I, W\)"),
        (2, X1, W2, r"x has shape \(2, 4, 9\), expected 4 dimensions \(N, C, H, W\)"),
        (2, X2, W1, r"w has shape \(6, 4, 3\), expected 4 dimensions \(O, I, H, W\)"),
        (3, X2, W3, r"x has shape \(2, 4, 8, 9\), expected 5 dimensions \(N, C, D, H, W\)"),
        (3, X3, W2, r"w has shape \(6, 4, 3, 2\), expected 5 dimensions \(O, I, D, H, W\)"),
        (1, np.float32(1), W1, r"x has shape \(\), expected 3 dimensions"),
        ("_n", X1, W2, r"x has shape \(2, 4, 9\), expected 4 dimensions"),
        ("_n", np.ones((1, 2)), np.ones((1, 2)), r"w has shape \(1, 2\), expected at least 3 dimensions"),
        ("_n", 1.0, 1.0, r"w has shape \(\), expected at least 3 dimensions"),
        ("_n", np.ones((1,) * 7), np.ones((1,) * 6), r"x has shape \(1, 1, 1, 1, 1, 1, 1\), expected 6 dimensions"),
    ],
    ids=str,
)
def test_ranks(operation, rank, x, w, message):
    refuses(ValueError, message, f"{operation}{rank}d", x, w)


@both
@pytest.mark.parametrize(
    "x_channels, w_shape, groups, message",
    [
        (4, (6, 3, 3), 1, "w has 3 input channels for each of 1 groups, 3 in all, and x has 4"),
        (4, (6, 4, 3), 2, "w has 4 input channels for each of 2 groups, 8 in all, and x has 4"),
        (5, (6, 2, 3), 2, "w has 2 input channels for each of 2 groups, 4 in all, and x has 5"),
        (4, (5, 2, 3), 2, "w has 5 output channels, which 2 groups cannot share evenly"),
        (4, (2, 1, 3), 4, "w has 2 output channels, which 4 groups cannot share evenly"),
        (4, (6, 4, 3), 10**30, "in all, and x has 4"),
        (4, (6, 4, 0), 1, r"w has shape \(6, 4, 0\), expected no empty spatial axis"),
    ],
)
def test_channels_and_groups(operation, x_channels, w_shape, groups, message):
    refuses(
        ValueError, message, f"{operation}1d", np.ones((2, x_channels, 9), "f4"), np.ones(w_shape, "f4"), groups=groups
    )


@both
@pytest.mark.parametrize("name", ["groups", "stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1, -(10**30)])
def test_numbers_below_one(operation, name, value):
    refuses(ValueError, f"{name} is {value}, expected 1 or more", f"{operation}1d", X1, W1, **{name: value})


@both
@pytest.mark.parametrize("name", ["groups", "stride", "dilation", "padding_mode"])
@pytest.mark.parametrize("value", [1.0, None, 2j, b"1", {1}, np.float64(2)], ids=repr)
def test_numbers_that_are_no_integers(operation, name, value):
    refuses(
        TypeError,
        rf"{name} is .*{re.escape(repr(value))}.*, expected an int",
        f"{operation}1d",
        X1,
        W1,
        **{name: value},
    )


@both
@pytest.mark.parametrize("name", ["stride", "dilation"])
@pytest.mark.parametrize("value", [(1,), (1, 1, 1), [], np.ones(3, int)], ids=repr)
def test_a_number_of_numbers_that_is_not_the_rank(operation, name, value):
    refuses(
        ValueError,
        f"{name} is .*, expected an int or 2 of them, one for each spatial axis",
        f"{operation}2d",
        X2,
        W2,
        **{name: value},
    )


@pytest.mark.parametrize("name", ["stride", "dilation"])
def test_bad_numbers_within_a_tuple(name):
    refuses(ValueError, f"{name} is 0, expected 1 or more", "correlate2d", X2, W2, **{name: (1, 0)})
    refuses(TypeError, f"{name} is 1.5, expected an int", "correlate2d", X2, W2, **{name: (1.5, 1)})
    refuses(TypeError, rf"{name} is \(1, 1\), expected an int", "correlate2d", X2, W2, **{name: ((1, 1), 1)})


@both
@pytest.mark.parametrize(
    "padding, kind, message",
    [
        ("SAME", ValueError, "padding_mode is 'SAME', expected 'valid', 'same', 'full' or numbers"),
        ("", ValueError, "padding_mode is '', expected 'valid'"),
        (-1, ValueError, "padding_mode is -1, expected 0 or more"),
        ((0, -2), ValueError, "padding_mode is -2, expected 0 or more"),
        (((0, 1), (-3, 0)), ValueError, "padding_mode is -3, expected 0 or more"),
        ((1,), ValueError, r"padding_mode is \(1,\), expected an int, or for each of 2 spatial axes"),
        ((1, 2, 3), ValueError, r"padding_mode is \(1, 2, 3\), expected an int, or for each of 2 spatial axes"),
        (
            (1, 2, 3, 4),
            ValueError,
            r"expected an int, or for each of 2 spatial axes an int or a pair \(before, after\)",
        ),
        ((), ValueError, r"padding_mode is \(\), expected an int, or for each of 2 spatial axes"),
        (((1, 2, 3), 0), ValueError, r"padding_mode has \(1, 2, 3\) for an axis, expected an int or a pair"),
        (((1,), (2,)), ValueError, r"padding_mode has \(1,\) for an axis, expected an int or a pair"),
        ((1.5, 0), TypeError, "padding_mode is 1.5, expected an int"),
        (((1, 2.5), 0), TypeError, "padding_mode is 2.5, expected an int"),
        (("same", "valid"), TypeError, "padding_mode is 'same', expected an int"),
        ((((1, 2), (3, 4)), 0), TypeError, "padding_mode is .*, expected an int"),
        ((((1, 2), (3,)), 0), TypeError, "padding_mode is .*, expected an int"),
    ],
    ids=str,
)
def test_padding(operation, padding, kind, message):
    refuses(kind, message, f"{operation}2d", X2, W2, padding_mode=padding)


@both
def test_a_pair_for_one_axis_says_what_to_write(operation):
    refuses(ValueError, r"padding_mode is \(1, 2\).*write \(\(1, 2\),\)", f"{operation}1d", X1, W1, padding_mode=(1, 2))
    refuses(
        ValueError, r"padding_mode is \[3, 4\].*write \(\(3, 4\),\)", f"{operation}_nd", X1, W1, padding_mode=[3, 4]
    )


@both
@pytest.mark.parametrize(
    "options, equation",
    [
        ({}, r"axis 0: dilation 1 \* \(kernel 9 - 1\) \+ 1 = 9 > 8 \+ padding 0 \+ 0 = 8"),
        ({"dilation": (2, 1), "padding_mode": ((3, 4), 0)}, r"axis 0: .* = 17 > 8 \+ padding 3 \+ 4 = 15"),
        ({"dilation": (1, 9), "padding_mode": ((1, 0), (1, 2))}, r"axis 1: .* = 19 > 9 \+ padding 1 \+ 2 = 12"),
    ],
    ids=str,
)
def test_a_kernel_that_does_not_fit(operation, options, equation):
    message = f"the kernel is larger than the padded input on spatial {equation}"
    refuses(ValueError, message, f"{operation}2d", X2, np.ones((6, 4, 9, 3), "f4"), **options)


@both
@pytest.mark.parametrize(
    "name, value, kind, message",
    [
        ("boundary", "mirror", ValueError, "boundary is 'mirror', expected one of 'constant', 'edge', 'reflect'"),
        ("boundary", ("wrap", "zero"), ValueError, "boundary is 'zero', expected one of"),
        ("boundary", ("wrap",), ValueError, r"boundary is \('wrap',\), expected a name or 2 of them"),
        ("boundary", ["wrap"] * 3, ValueError, "boundary is .*, expected a name or 2 of them"),
        ("boundary", 0, TypeError, "boundary is 0, expected one of 'constant'"),
        ("boundary", None, (TypeError, ValueError), "boundary is None, expected one of 'constant'"),
        ("boundary", ("wrap", 1), TypeError, "boundary is 1, expected one of 'constant'"),
        ("activation", "elu", ValueError, "activation is 'elu', expected one of None, 'relu', 'relu6'"),
        ("activation", np.tanh, TypeError, "activation is <ufunc 'tanh'>, expected one of None, 'relu'"),
        ("activation", 1, TypeError, "activation is 1, expected one of None"),
        ("algorithm", "gemm", ValueError, "algorithm is 'gemm', expected one of 'auto', 'direct', 'im2col'"),
        ("algorithm", None, (TypeError, ValueError), "algorithm is None, expected one of 'auto'"),
        ("algorithm", 3, TypeError, "algorithm is 3, expected one of 'auto'"),
    ],
)
def test_names(operation, name, value, kind, message):
    with pytest.raises(kind, match=rf"^{operation}2d\(\): {message}"):
        getattr(fastconv, f"{operation}2d")(X2, W2, **{name: value})


@pytest.mark.parametrize("activation", ACTIVATIONS[LAST_CLAMP + 1 :])
@pytest.mark.parametrize("dtype", ["i4", "u1", "c8", "?"])
def test_smooth_activations_take_floats(activation, dtype):
    message = f"activation '{activation}' takes floating point, the result has dtype"
    refuses(TypeError, message, "correlate1d", X1.astype(dtype), W1.astype(dtype), activation=activation)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_clipping_activations_take_real_numbers(activation, dtype):
    message = f"activation '{activation}' takes real numbers, the result has dtype complex"
    refuses(TypeError, message, "convolve1d", X1.astype(dtype), W1, activation=activation)


@both
@pytest.mark.parametrize("shape", [(), (1,), (5,), (7,), (6, 1), (1, 6), (0,)], ids=str)
def test_shape_of_bias(operation, shape):
    message = rf"bias has shape {re.escape(str(shape))}, expected \(6,\), one for each output channel"
    refuses(ValueError, message, f"{operation}1d", X1, W1, bias=np.ones(shape, "f4"))


@pytest.mark.parametrize(
    "x, w, bias",
    [
        ("i4", "i4", "f4"),
        ("f4", "f4", "c8"),
        ("?", "?", "i1"),
        ("u1", "u1", "i1"),
        ("f8", "i8", "c16"),
        ("?", "?", "f8"),
    ],
)
def test_dtype_of_bias(x, w, bias):
    assert not np.can_cast(bias, np.result_type(x, w), "same_kind")
    message = rf"bias has dtype {np.dtype(bias)}, which does not cast to the result's {np.result_type(x, w)}"
    refuses(TypeError, message, "correlate_nd", ONE.astype(x), ONE.astype(w), bias=np.ones(1, bias))


@pytest.mark.parametrize(
    "dtype, fillvalue",
    [
        ("u1", -1),
        ("u1", 256),
        ("i1", 128),
        ("i1", -129),
        ("i4", 0.5),
        ("i4", np.nan),
        ("i4", np.inf),
        ("i4", 1j),
        ("i8", 2**63),
        ("i8", 2.0**63),
        ("u8", 2.0**64),
        ("u8", -1),
        ("i8", 10**30),
        ("?", 2),
        ("?", 0.5),
        ("f2", 1e6),
        ("f4", 1e300),
        ("f4", 10**300),
        ("f4", 10**308),
        ("f8", 10**309),
        ("f8", -(10**400)),
        ("i8", 10**400),
        ("f4", 1j),
        ("f8", 2 - 1j),
        ("c8", 1e300),
    ],
    ids=lambda v: str(v)[:9],
)
def test_fill_values_that_the_dtype_cannot_hold(dtype, fillvalue):
    message = rf"fillvalue is {re.escape(repr(fillvalue))}, which the result's dtype {np.dtype(dtype)} cannot hold"
    one = ONE.astype(dtype)
    refuses(ValueError, message, "correlate_nd", one, one, padding_mode=1, fillvalue=fillvalue)


@pytest.mark.parametrize(
    "fillvalue", ["0", None, [0], (1, 2), np.ones(3), object(), np.datetime64(1, "s")], ids=lambda v: type(v).__name__
)
def test_fill_values_that_are_no_numbers(fillvalue):
    refuses(TypeError, "fillvalue is .*, expected a number", "convolve1d", X1, W1, fillvalue=fillvalue)


# out ------------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("shape", [(2, 6, 8), (2, 6, 7, 1), (6, 7), (2, 6), (2, 7, 6), (1, 6, 7)], ids=str)
def test_shape_of_out(operation, shape):
    message = rf"out has shape {re.escape(str(shape))}, expected \(2, 6, 7\)"
    refuses(ValueError, message, f"{operation}1d", X1, W1, out=np.empty(shape, "f4"))


@both
@pytest.mark.parametrize("dtype", ["f8", "i4", "f2", ">f4", "c8", "O"])
def test_dtype_of_out(operation, dtype):
    message = rf"out has dtype {re.escape(str(np.dtype(dtype)))}, expected float32"
    hints = {"f8": "; for one like it pass dtype=np.float64", "f2": "; for one like it pass dtype=np.float16"}
    hints |= {">f4": "; for one like it pass dtype=np.float32", "c8": "; for one like it pass dtype=np.complex64"}
    message += f"{re.escape(hints.get(dtype, ''))}$"
    refuses(TypeError, message, f"{operation}1d", X1, W1, out=np.empty((2, 6, 7), dtype))


@pytest.mark.skipif(oracle.bfloat16 is None, reason="ml_dtypes is not installed")
def test_dtype_of_an_out_of_bfloat16():
    message = "out has dtype bfloat16, expected float32; for one like it pass dtype=ml_dtypes.bfloat16$"
    refuses(TypeError, message, "correlate1d", X1, W1, out=np.empty((2, 6, 7), oracle.bfloat16))


@pytest.mark.parametrize("dtype", ["spam", object, "O", np.longdouble, "M8[s]", [1], 3.5], ids=str)
@pytest.mark.parametrize("name, more", [("correlate1d", (W1,)), ("avg_pool1d", (2,)), ("max_pool1d", (2,))])
def test_dtype_is_one_that_kernels_know(name, more, dtype):
    message = rf"dtype is {re.escape(repr(dtype))}, expected bool, an integer, float16"
    refuses(TypeError, message, name, X1, *more, dtype=dtype)


@pytest.mark.parametrize(
    "x, w, dtype, wrong",
    [
        ("f4", "f4", "i4", "x"),
        ("u1", "f4", "i4", "w"),
        ("c8", "f4", "f4", "x"),
        ("i4", "i4", "?", "x"),
        ("i1", "i1", "u1", "x"),
    ],
)
def test_inputs_cast_to_dtype(x, w, dtype, wrong):
    given = np.dtype({"x": x, "w": w}[wrong])
    message = (
        rf"dtype is {np.dtype(dtype)}, and {wrong} has dtype {given}, which does not cast to it; expected a type of"
    )
    refuses(TypeError, message, "correlate1d", X1.astype(x), W1.astype(w), dtype=dtype)


@pytest.mark.parametrize("name", ["max_pool1d", "min_pool1d"])
def test_the_input_of_a_pool_casts_to_dtype(name):
    message = "dtype is int8, and x has dtype float32, which does not cast to it; expected a type of"
    refuses(TypeError, message, name, X1, 2, dtype=np.int8)


@pytest.mark.parametrize("dtype", ["i8", "u1", "?"])
def test_integers_hold_no_averages(dtype):
    message = f"dtype is {np.dtype(dtype)}, which holds no averages; expected a floating or complex type"
    refuses(TypeError, message, "avg_pool1d", X1.astype("?"), 2, dtype=dtype)


@pytest.mark.parametrize("name", ["max_pool1d", "min_pool1d"])
def test_nothing_is_compared_as_complex_numbers(name):
    message = "dtype is complex64, which has no order; expected a real type"
    refuses(TypeError, message, name, X1, 2, dtype="c8")


@both
@pytest.mark.parametrize("out", [[[1.0]], 1, (np.empty((2, 6, 7), "f4"),), "out", bytearray(336)], ids=type)
def test_out_is_an_array(operation, out):
    refuses(TypeError, f"out is a {type(out).__name__}, expected a NumPy array", f"{operation}1d", X1, W1, out=out)


def test_out_is_writable():
    out = np.empty((2, 6, 7), "f4")
    out.flags.writeable = False
    refuses(ValueError, "out is read-only", "correlate1d", X1, W1, out=out)


@both
def test_out_does_not_overlap_an_input(operation):
    store = np.ones(400, "f4")
    x, w, b = store[:72].reshape(2, 4, 9), store[72:144].reshape(6, 4, 3), store[144:150]
    f = f"{operation}1d"
    refuses(ValueError, "out overlaps x", f, x, W1, out=store[60:144].reshape(2, 6, 7))
    refuses(ValueError, "out overlaps x", f, x, W1, out=store[10:94].reshape(2, 6, 7)[:, ::-1])
    refuses(ValueError, "out overlaps w", f, X1, w, out=store[143:227].reshape(2, 6, 7))
    refuses(ValueError, "out overlaps bias", f, X1, W1, bias=b, out=store[149:233].reshape(2, 6, 7))
    assert (store == 1).all()


def test_out_beside_an_input_or_between_its_elements_is_fine():
    store = np.ones((2, 4, 18), "f4")
    out = np.empty((2, 4, 9), "f4")
    x, free = store[:, :, ::2], store[:, :, 1::2]
    w = np.ones((4, 4, 1), "f4")
    fastconv.correlate1d(x, w, out=free)
    fastconv.correlate1d(x, w, out=out)
    np.testing.assert_array_equal(free, out)
    assert (x == 1).all()


@pytest.mark.parametrize(
    "strides", [(0, 28, 4), (168, 0, 4), (168, 28, 0), (168, 24, 4), (4, 4, 4), (168, 28, 2), (28, 28, 4)], ids=str
)
def test_out_does_not_overlap_itself(strides):
    out = np.lib.stride_tricks.as_strided(np.ones(400, "f4"), (2, 6, 7), strides)
    refuses(ValueError, "out has strides .* that put several elements at one address", "correlate1d", X1, W1, out=out)


@pytest.mark.parametrize("strides", [(168, 4, 24), (4, 8, 48), (332, 52, 8), (-168, -28, -4), (8, 280, 16)], ids=str)
def test_out_of_odd_strides_that_do_not_overlap(strides):
    store = np.zeros(1000, "f4")
    start = -sum(min(step, 0) * (n - 1) for step, n in zip(strides, (2, 6, 7), strict=True)) // 4
    out = np.lib.stride_tricks.as_strided(store[start:], (2, 6, 7), strides)
    fastconv.correlate1d(X1, W1, out=out)
    np.testing.assert_array_equal(out, np.full((2, 6, 7), 12))
    assert np.count_nonzero(store) == 84


# Sizes ----------------------------------------------------------------------------------------------------------------


def at_once(kind, name, *arguments, message=None, **options):
    start = time.perf_counter()
    with pytest.raises(kind, match=message):
        getattr(fastconv, name)(*arguments, **options)
    assert time.perf_counter() - start < 30  # seconds: to take such memory page by page would be minutes


@pytest.mark.parametrize(
    "options",
    [
        {"padding_mode": 2**62},
        {"padding_mode": 10**30},
        {"dilation": 2**61},
        {"dilation": 10**40},
        {"padding_mode": ((0, 2**62),)},
    ],
    ids=str,
)
def test_sizes_that_overflow(options):
    at_once(
        ValueError,
        "correlate1d",
        X1,
        W1,
        message=r"^correlate1d\(\): axis 0 .*, more than memory can address",
        **options,
    )


def test_results_that_no_address_space_holds():
    message = r"^correlate1d\(\): the result would have shape \(2, 6, \d+\), more than memory can address"
    at_once(ValueError, "correlate1d", X1, W1, message=message, padding_mode=2**60)
    message = r"^correlate3d\(\): the result would have shape .*, more than memory can address"
    at_once(ValueError, "correlate3d", X3, W3, message=message, padding_mode=2**22)


def test_results_that_are_possible_but_not_to_be_had():
    at_once(MemoryError, "correlate1d", X1, W1, padding_mode=2**46)
    at_once(MemoryError, "correlate1d", X1, W1, padding_mode=2**46, algorithm="im2col")


def test_steps_that_are_never_taken_may_have_any_length():
    got = fastconv.correlate1d(X1, W1, stride=10**30)
    assert got.shape == (2, 6, 1) and (got == 12).all()
    got = fastconv.correlate1d(X1, W1[:, :, :1], dilation=10**30)
    assert got.shape == (2, 6, 9) and (got == 4).all()


def test_a_refused_call_leaves_out_alone():
    out = np.full((2, 6, 7), 5, "f4")
    for options in ({"stride": 0}, {"groups": 3}, {"activation": "elu"}, {"fillvalue": 1e300}, {"bias": np.ones(2)}):
        with pytest.raises(ValueError, match=r"^correlate1d\(\): "):
            fastconv.correlate1d(X1, W1, out=out, **options)
    assert (out == 5).all()


# Windows --------------------------------------------------------------------------------------------------------------

POOLS = ["avg_pool", "max_pool", "min_pool"]
pools = pytest.mark.parametrize("pool", POOLS)
FILTERS = ["maximum_filter", "minimum_filter", "uniform_filter"]


@pools
@pytest.mark.parametrize(
    "rank, x, message",
    [
        (1, X2, r"x has shape \(2, 4, 8, 9\), expected 3 dimensions \(N, C, W\)"),
        (2, X1, r"x has shape \(2, 4, 9\), expected 4 dimensions \(N, C, H, W\)"),
        (3, X2, r"x has shape \(2, 4, 8, 9\), expected 5 dimensions \(N, C, D, H, W\)"),
        (2, 1.5, r"x has shape \(\), expected 4 dimensions"),
    ],
    ids=str,
)
def test_ranks_of_pools(pool, rank, x, message):
    refuses(ValueError, message, f"{pool}{rank}d", x, 2)


@pytest.mark.parametrize("name", ["max_pool2d", "min_pool2d", "maximum_filter", "minimum_filter"])
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_numbers_have_no_order(name, dtype):
    message = rf"x has dtype {np.dtype(dtype)}, which has no order; expected a real type"
    refuses(TypeError, message, name, X2.astype(dtype), (2, 2))


WINDOWED = {
    **{f"{pool}2d": (X2, (2, 3)) for pool in POOLS},
    "extract_patches": (X2, (2, 3)),
    "combine_patches": (np.ones((2, 6, 49), "f4"), (8, 9), (2, 3)),
    "im2col": (X2, (2, 3)),
    "col2im": (np.ones((2, 6, 49), "f4"), (8, 9), (2, 3)),
    "max_unpool2d": (X2, np.zeros(X2.shape, int), (2, 3)),
    **dict.fromkeys(FILTERS, (X2, (2, 3))),
}
windowed = pytest.mark.parametrize("name", WINDOWED)


def options_of(name):
    if name.endswith("filter"):
        return ["stride"]
    return ["stride", "dilation", "padding_spec" if "pool" in name else "padding"]


@windowed
@pytest.mark.parametrize("value", [0, -3, -(10**30)])
def test_windows_with_numbers_below_one(name, value):
    for option in options_of(name)[:2]:
        refuses(ValueError, f"{option} is {value}, expected 1 or more", name, *WINDOWED[name], **{option: value})
    *arrays, _ = WINDOWED[name]
    refuses(ValueError, f"kernel_size is {value}, expected 1 or more", name, *arrays, (2, value))


@windowed
@pytest.mark.parametrize("value", [1.5, "2", b"2", np.float32(1), {2}], ids=repr)
def test_windows_with_numbers_that_are_no_integers(name, value):
    shown = re.escape(repr(value))
    for option in options_of(name)[:2]:
        refuses(TypeError, f"{option} is {shown}, expected an int", name, *WINDOWED[name], **{option: value})
        refuses(TypeError, f"{option} is {shown}, expected an int", name, *WINDOWED[name], **{option: (1, value)})
    *arrays, _ = WINDOWED[name]
    refuses(TypeError, f"kernel_size is {shown}, expected an int", name, *arrays, (2, value))


@windowed
@pytest.mark.parametrize("value", [(1,), (1, 1, 1), [], np.ones(3, int)], ids=repr)
def test_windows_with_a_number_of_numbers_that_is_not_the_rank(name, value):
    for option in options_of(name)[:2]:
        message = f"{option} is .*, expected an int or 2 of them, one for each spatial axis"
        refuses(ValueError, message, name, *WINDOWED[name], **{option: value})


@windowed
@pytest.mark.parametrize(
    "padding, kind, message",
    [
        ("SAME", ValueError, "'SAME', expected 'valid', 'same', 'full' or numbers"),
        (-1, ValueError, "-1, expected 0 or more"),
        (((0, 1), (-3, 0)), ValueError, "-3, expected 0 or more"),
        ((1, 2, 3), ValueError, r"\(1, 2, 3\), expected an int, or for each of 2 spatial axes"),
        (1.5, TypeError, "1.5, expected an int"),
        (((1, 2.5), 0), TypeError, "2.5, expected an int"),
    ],
    ids=str,
)
def test_padding_of_windows(name, padding, kind, message):
    if name in FILTERS:
        with pytest.raises(TypeError, match="padding"):
            getattr(fastconv, name)(*WINDOWED[name], padding=padding)
        return
    option = options_of(name)[2]
    refuses(kind, f"{option} is {message}", name, *WINDOWED[name], **{option: padding})


@windowed
def test_a_pad_of_three_numbers(name):
    if name not in FILTERS:
        option = options_of(name)[2]
        message = rf"{option} has \(1, 2, 3\) for an axis, expected an int or a pair"
        refuses(ValueError, message, name, *WINDOWED[name], **{option: ((1, 2, 3), 0)})


@pytest.mark.parametrize("name", ["max_pool1d", "avg_pool1d", "im2col"])
def test_a_pair_for_one_axis_of_a_window_says_what_to_write(name):
    option = options_of(name)[2]
    refuses(ValueError, rf"{option} is \(1, 2\).*write \(\(1, 2\),\)", name, X1, 2, **{option: (1, 2)})


@pools
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_a_window_that_does_not_fit(pool, ceil_mode):
    equation = r"axis 1: dilation 3 \* \(kernel 6 - 1\) \+ 1 = 16 > 9 \+ padding 1 \+ 2 = 12"
    message = f"the window is larger than the padded input on spatial {equation}"
    options = {"dilation": (1, 3), "padding_spec": ((0, 0), (1, 2)), "stride": 2, "ceil_mode": ceil_mode}
    refuses(ValueError, message, f"{pool}2d", X2, (2, 6), **options)


@pytest.mark.parametrize("name", ["extract_patches", "im2col", *FILTERS])
def test_a_patch_that_does_not_fit(name):
    message = r"the window is larger than the padded input on spatial axis 0: .* = 10 > 8 \+ padding 0 \+ 0 = 8"
    refuses(ValueError, message, name, X2, (10, 2))


@pytest.mark.parametrize("name", ["extract_patches", *FILTERS])
@pytest.mark.parametrize("kernel_size", [2, np.int64(3), None, 1.5, "23", {2, 3}], ids=repr)
def test_a_kernel_size_that_does_not_say_how_many_axes(name, kernel_size):
    message = (
        f"kernel_size is {re.escape(repr(kernel_size))}, expected a tuple with one int for each axis of the window"
    )
    refuses(TypeError, message, name, X2, kernel_size)


@pytest.mark.parametrize("name", ["extract_patches", *FILTERS])
def test_more_axes_than_there_are(name):
    refuses(ValueError, r"x has shape \(2, 4, 9\), expected at least 4 dimensions", name, X1, (1, 1, 2, 2))
    refuses(ValueError, r"x has shape \(\), expected at least 1 dimensions?", name, 1.0, (1,))


@pytest.mark.parametrize("name", ["combine_patches", "col2im"])
def test_output_size(name):
    arrays = np.ones((2, 6, 49), "f4"), (2, 3)
    message = "output_size is {}, expected a tuple with one int for each axis of the window"
    refuses(TypeError, message.format(8), name, arrays[0], 8, arrays[1])
    refuses(TypeError, message.format(None), name, arrays[0], None, arrays[1])
    refuses(ValueError, "output_size is -1, expected 0 or more", name, arrays[0], (8, -1), arrays[1])
    refuses(TypeError, "output_size is 8.0, expected an int", name, arrays[0], (8.0, 9), arrays[1])
    message = "kernel_size is .*, expected an int or 3 of them, one for each spatial axis"
    refuses(ValueError, message, name, arrays[0], (8, 9, 1), arrays[1])


def test_combine_patches_takes_a_tuple_as_kernel_size():
    message = "kernel_size is 2, expected a tuple with one int for each axis of the window"
    refuses(TypeError, message, "combine_patches", np.ones((2, 4, 49)), (8, 9), 2)


def test_patches_that_do_not_fit_their_output():
    message = (
        r"patches has shape \(2, 6, 48\), expected \(\.\.\., 6, 49\): the window has 6 elements and 49 positions over "
        r"output_size \(8, 9\)"
    )
    refuses(ValueError, message, "combine_patches", np.ones((2, 6, 48)), (8, 9), (2, 3))
    refuses(ValueError, r"expected \(\.\.\., 6, 49\)", "combine_patches", np.ones((2, 5, 49)), (8, 9), (2, 3))
    message = r"patches has shape \(6,\), expected at least 2 dimensions"
    refuses(ValueError, message, "combine_patches", np.ones(6), (8, 9), (2, 3))
    message = r"cols has shape .*, expected \(\.\.\., 6, 49\): the window has 6 elements and 49 positions"
    refuses(ValueError, message, "col2im", np.ones((2, 12, 48)), (8, 9), (2, 3))


@pytest.mark.parametrize("shape", [(12, 49), (2, 7, 49), (2, 2, 6, 49), (49,), ()], ids=str)
def test_columns_that_im2col_cannot_have_given(shape):
    message = rf"cols has shape {re.escape(str(shape))}, expected \(N, C \* 6, P\) for a kernel of 6 elements"
    refuses(ValueError, message, "col2im", np.ones(shape), (8, 9), (2, 3))


def test_all_that_is_wrong_with_patches_and_columns_is_told():
    options = {"stride": 0, "dilation": 2.5, "padding": -1}
    rest = "; stride is 0, expected 1 or more; dilation is 2.5, expected an int.*; padding is -1, expected .*"
    message = r"output_size is -8, expected 0 or more; kernel_size is .*" + rest
    refuses(ValueError, message, "combine_patches", np.ones((2, 6, 49)), (-8, 9), (2, 3, 4), **options)
    message = r"output_size is 8, .*; patches has shape \(6,\), expected at least 2 dimensions" + rest
    refuses(TypeError, message, "combine_patches", np.ones(6), 8, (2, 3), **options)
    message = (
        r"output_size is -8, .*; cols has shape \(2, 7, 49\), expected \(N, C \* 6, P\) for a kernel of 6 elements"
    )
    refuses(ValueError, message + rest, "col2im", np.ones((2, 7, 49)), (-8, 9), (2, 3), **options)
    message = "output_size is 8, expected a tuple .*; kernel_size is 2, expected a tuple"
    refuses(TypeError, message, "combine_patches", np.ones((2, 4, 49)), 8, 2)


def test_all_that_is_wrong_with_an_unpooling_is_told():
    message = (
        r"indices has dtype float32, expected integers; values has shape \(2, 3, 4\), expected 4 dimensions.*; "
        r"kernel_size is 0, expected 1 or more; stride is 0, expected 1 or more; output_size is -5, expected 0 or more"
    )
    options = {"stride": 0, "output_size": (-5, 9)}
    refuses(TypeError, message, "max_unpool2d", V, AT.astype("f4"), 0, **options)


def test_im2col_needs_a_batch_and_channels():
    for shape in ((), (3,), (3, 4)):
        message = rf"x has shape {re.escape(str(shape))}, expected at least 3 dimensions"
        refuses(ValueError, message, "im2col", np.ones(shape), 2)


V, AT = np.ones((2, 3, 4)), np.zeros((2, 3, 4), int)


@pytest.mark.parametrize("indices", [AT[:1], AT[:, :, :3], AT[0], AT[..., None], 0], ids=np.shape)
def test_shape_of_indices(indices):
    message = rf"indices has shape {re.escape(str(np.shape(indices)))}, expected that of values, \(2, 3, 4\)"
    refuses(ValueError, message, "max_unpool1d", V, indices, 2)


@pytest.mark.parametrize("dtype", ["f8", "?", "c8"])
def test_dtype_of_indices(dtype):
    message = rf"indices has dtype {np.dtype(dtype)}, expected integers"
    refuses(TypeError, message, "max_unpool1d", V, AT.astype(dtype), 2)


def test_other_arguments_of_unpool():
    refuses(TypeError, "values has dtype object", "max_unpool1d", V.astype(object), AT, 2)
    refuses(TypeError, "indices has dtype object", "max_unpool1d", V, AT.astype(object), 2)
    refuses(TypeError, "values is a masked array", "max_unpool1d", np.ma.masked_array(V), AT, 2)
    refuses(TypeError, "indices is a torch Tensor", "max_unpool1d", V, foreign("torch"), 2)
    refuses(ValueError, r"values has shape \(2, 3, 4\), expected 4 dimensions", "max_unpool2d", V, AT, 2)


@pytest.mark.parametrize(
    "size, kind, message",
    [
        ((2, 4, 8), ValueError, r"output_size is \(2, 4, 8\), expected it to start with \(2, 3\)"),
        ((8, 8), ValueError, r"output_size is \(8, 8\), expected an int or 1 of them"),
        ((-1,), ValueError, "output_size is -1, expected 0 or more"),
        ((8.0,), TypeError, "output_size is 8.0, expected an int"),
        ("8", TypeError, "output_size is '8', expected an int"),
    ],
    ids=str,
)
def test_output_size_of_unpool(size, kind, message):
    refuses(kind, message, "max_unpool1d", V, AT, 2, output_size=size)


@pytest.mark.parametrize("index", [-1, 8, 2**62, -(2**63)])
def test_indices_outside_the_output(index):
    indices = AT.copy()
    indices[1, 2, 3] = index
    message = rf"indices holds {index} at \(1, 2, 3\), expected 0 or more and less than the output's 8 = 8"
    refuses(ValueError, message, "max_unpool1d", V, indices, 2)
    with pytest.raises(ValueError, match=r"less than the output's 2 \* 8 = 16"):
        fastconv.max_unpool2d(V[:, :, None], np.full((2, 3, 1, 4), 16), 2)


def test_unsigned_indices_beyond_int64():
    indices = AT.astype("u8")
    indices[0, 0, 1] = 2**63 + 1
    refuses(ValueError, rf"indices holds {2**63 + 1} at \(0, 0, 1\)", "max_unpool1d", V, indices, 2)


def test_padding_that_leaves_an_unpooled_size_of_nothing():
    message = r"padding_spec is 9, which leaves the output a size of \(-10,\)"
    refuses(ValueError, message, "max_unpool1d", V, AT, 2, padding_spec=9)


@pytest.mark.parametrize(
    "name, arguments, options",
    [
        ("max_pool1d", (X1, 2), {"padding_spec": 2**62}),
        ("avg_pool1d", (X1, 2), {"padding_spec": 2**61, "stride": 1}),
        ("max_pool1d", (X1, 10**30), {}),
        ("min_pool1d", (X1, 2), {"dilation": 10**30}),
        ("extract_patches", (X1, (2**61,)), {"padding": 2**60}),
        ("im2col", (X1, 2), {"padding": 2**61}),
        ("col2im", (np.ones((1, 2, 1)), (2**62,), 2), {}),
        ("combine_patches", (np.ones((2, 1)), (2**61,), (2,)), {}),
        ("max_unpool1d", (V, AT, 2), {"output_size": (2**61,)}),
        ("max_unpool1d", (V, AT, 2), {"stride": 10**30}),
        ("maximum_filter", (X1, (10**30,)), {}),
    ],
)
def test_window_sizes_that_overflow(name, arguments, options):
    at_once(
        ValueError, name, *arguments, message=rf"^{name}\(\): .*(more than memory can address|larger than)", **options
    )


@pytest.mark.parametrize(
    "name, arguments, options",
    [
        ("max_pool1d", (X1, 2), {"padding_spec": 2**46}),
        ("avg_pool1d", (X1, 2), {"padding_spec": 2**46}),
        ("im2col", (X1, 2), {"padding": 2**46}),
        ("max_unpool1d", (V, AT, 2), {"output_size": (2**46,)}),
        ("combine_patches", (np.ones((2, 2)), (2**46,), (2,)), {"stride": 2**46 - 2}),
    ],
)
def test_window_results_that_are_possible_but_not_to_be_had(name, arguments, options):
    at_once(MemoryError, name, *arguments, **options)


# Several at once ------------------------------------------------------------------------------------------------------

IMAGE, KERNEL, PHOTO = np.ones((6, 7)), np.ones((3, 3)), np.ones((6, 7, 3))
BARE = "x has shape (6, 7), expected 4 dimensions (N, C, H, W): write x[None, None]"
PANDAS = type("Series", (), {"__module__": "pandas.core.series", "__array__": lambda *_, **__: np.ones(5)})


def tells(kind, name, arguments, options, *texts):
    """These, in this order, and nothing else."""
    with pytest.raises(kind) as caught:
        getattr(fastconv, name)(*arguments, **options)
    assert type(caught.value) is kind
    assert str(caught.value) == f"{name}(): " + "; ".join(texts)


@both
@pytest.mark.parametrize(
    "rank, expected", [("2d", "4 dimensions (O, I, H, W)"), ("_nd", "at least 3 dimensions (O, C/groups, K0, ...)")]
)
def test_an_image_and_a_kernel_as_they_are(operation, rank, expected):
    bare_kernel = f"w has shape (3, 3), expected {expected}: write w[None, None]"
    both_bare = f"fastconv.ndimage.{operation}(x, w) takes both as they are"
    tells(ValueError, operation + rank, (IMAGE, KERNEL), {}, BARE, bare_kernel, both_bare)
    photo = "x has shape (6, 7, 3), expected 4 dimensions (N, C, H, W): write np.moveaxis(x, -1, 0)[:, None] to filter"
    photo += " each channel, if they come last"
    tells(ValueError, operation + rank, (PHOTO, KERNEL), {}, photo, bare_kernel)


def test_what_is_said_to_write_is_right():
    for x, w, shape in (
        (IMAGE[None, None], KERNEL[None, None], (1, 1, 4, 5)),
        (np.moveaxis(PHOTO, -1, 0)[:, None], KERNEL[None, None], (3, 1, 4, 5)),
        (np.moveaxis(PHOTO, -1, 0)[None], np.ones((8, 3, 3, 3)), (1, 8, 4, 5)),
        (np.moveaxis(PHOTO[None], -1, 1), np.ones((8, 3, 3, 3)), (1, 8, 4, 5)),
    ):
        assert fastconv.correlate2d(x, w).shape == shape
    x, w = np.moveaxis(PHOTO, -1, 0)[None], KERNEL[None, None]
    assert fastconv.correlate2d(x, np.repeat(w, 3, 0), groups=3).shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    "x, w, text",
    [
        (PHOTO, W2, r"write np\.moveaxis\(x, -1, 0\)\[None\] if its channels come last$"),
        (np.ones((3, 6, 7)), W2, r"write x\[None\] for one image, x\[:, None\] for one channel$"),
        (X2, np.ones((4, 3, 3)), r"write w\[None\] for one output channel, w\[:, None\] for one input channel$"),
        (PHOTO[None], np.ones((8, 3, 3, 3)), r"write np\.moveaxis\(x, -1, 1\) if its channels come last$"),
        (X2, KERNEL[None, None], r"write np\.repeat\(w, 4, 0\) and groups=4 to filter each channel$"),
        (np.ones((1,) * 5), W2, r"expected 4 dimensions \(N, C, H, W\)$"),
    ],
)
def test_what_to_write(x, w, text):
    refuses(ValueError, text, "correlate2d", x, w)


def test_lists_and_tables():
    begin = "x has shape (5,), expected 3 dimensions (N, C, W): write x[None, None]"
    kernel = "w has shape (2,), expected 3 dimensions (O, I, W): write w[None, None]"
    arrays = "x is a pandas Series, begin with x.to_numpy()", "w is a list, begin with np.array(w)"
    bare = "fastconv.ndimage.correlate(x, w) takes both as they are"
    tells(ValueError, "correlate1d", (PANDAS(), [1, 2]), {}, begin, kernel, bare, *arrays)
    tells(ValueError, "max_pool1d", (PANDAS(), 2), {}, begin, arrays[0])
    tells(ValueError, "correlate1d", ([[[1, 2]]], [[[1]]]), {"stride": 0}, "stride is 0, expected 1 or more")


def test_nothing_at_all():
    kinds = "expected bool, an integer, float16, bfloat16, float32, float64, complex64 or complex128"
    x, w = (f"{name} has dtype object, {kinds}; {name} is None, which is no array" for name in "xw")
    tells(TypeError, "correlate1d", (None, W1), {}, x)
    tells(TypeError, "convolve2d", (None, None), {}, x, w)
    tells(TypeError, "max_pool1d", (None, 2), {}, x)


@both
def test_all_that_does_not_fit(operation):
    tells(
        ValueError,
        f"{operation}2d",
        (np.ones((1, 4, 5, 7)), np.ones((5, 3, 8, 3))),
        {"groups": 2, "dilation": (1, 4), "bias": np.ones(4), "out": np.ones(3, "f4"), "fillvalue": "1"},
        "w has 3 input channels for each of 2 groups, 6 in all, and x has 4; x has shape (1, 4, 5, 7), "
        "w has shape (5, 3, 8, 3)",
        "w has 5 output channels, which 2 groups cannot share evenly",
        "the kernel is larger than the padded input on spatial axis 0: dilation 1 * (kernel 8 - 1) + 1 = 8 > 5 + "
        "padding 0 + 0 = 5",
        "the kernel is larger than the padded input on spatial axis 1: dilation 4 * (kernel 3 - 1) + 1 = 9 > 7 + "
        "padding 0 + 0 = 7",
        "fillvalue is '1', expected a number",
        "bias has shape (4,), expected (5,), one for each output channel",
        "out has dtype float32, expected float64; for one like it pass dtype=np.float32",
    )
    tells(
        ValueError,
        f"{operation}2d",
        (X2, W2),
        {"stride": 1.5, "padding_mode": -1, "boundary": "zero", "activation": "elu", "groups": 0, "dilation": "2"},
        "groups is 0, expected 1 or more",
        "stride is 1.5, expected an int",
        "dilation is '2', expected an int",
        "boundary is 'zero', expected one of 'constant', 'edge', 'reflect', 'symmetric', 'wrap'",
        "activation is 'elu', expected one of " + ", ".join(map(repr, ACTIVATIONS)),
        "padding_mode is -1, expected 0 or more",
    )


def test_other_arguments_that_do_not_fit():
    """The arrays of a call like one before, which is not checked again."""
    fastconv.correlate1d(X1, W1)
    tells(
        ValueError,
        "correlate1d",
        (X1, W1),
        {"bias": np.ones(2), "fillvalue": 1e300, "out": np.empty((2, 6, 8), "f4")},
        "bias has shape (2,), expected (6,), one for each output channel",
        "fillvalue is 1e+300, which the result's dtype float32 cannot hold",
        "out has shape (2, 6, 8), expected (2, 6, 7)",
    )


@pools
def test_all_that_is_wrong_with_a_pool(pool):
    tells(
        ValueError,
        f"{pool}2d",
        (PHOTO, (2,)),
        {"stride": 0, "padding": "SAME"},
        "x has shape (6, 7, 3), expected 4 dimensions (N, C, H, W): write np.moveaxis(x, -1, 0)[None] if its channels "
        "come last",
        "kernel_size is (2,), expected an int or 2 of them, one for each spatial axis",
        "stride is 0, expected 1 or more",
        "padding is 'SAME', expected 'valid', 'same', 'full' or numbers",
    )
    size = (
        "the window is larger than the padded input on spatial axis {0}: dilation 1 * (kernel 10 - 1) + 1 = 10 > {1} "
    )
    size += "+ padding 0 + 0 = {1}"
    tells(ValueError, f"{pool}2d", (X2, 10), {}, size.format(0, 8), size.format(1, 9))


def test_a_fault_of_our_own_is_not_dressed_up(monkeypatch):
    def fail(*_):
        raise ValueError("a fault")

    monkeypatch.setattr(fastconv.conv, "prepare", fail)
    with pytest.raises(ValueError, match=r"^a fault$"):
        fastconv.correlate1d(X1, np.ones((6, 4, 5), "f4"), bias=np.ones(1))


# The rest -------------------------------------------------------------------------------------------------------------


def test_an_unhashable_option_is_refused_like_any_other():
    refuses(
        TypeError, r"activation is \['relu'\], expected one of None, 'relu'", "correlate1d", X1, W1, activation=["relu"]
    )
    refuses(TypeError, r"algorithm is \{\}, expected one of 'auto'", "correlate1d", X1, W1, algorithm={})


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="module 'fastconv' has no attribute 'correlate4d'"):
        fastconv.correlate4d  # noqa: B018


@pytest.mark.parametrize("mode", ["json", None, 3])
def test_show_config(mode):
    with pytest.raises(ValueError, match=rf"^show_config\(\): mode is {mode!r}, expected one of 'stdout', 'dicts'"):
        fastconv.show_config(mode=mode)


def test_algorithms_that_are_not_there():
    names = "expected one of 'auto', 'direct', 'im2col', 'winograd', 'fft'"
    refuses(ValueError, names, "correlate2d", X2, W2, algorithm="gemm")
    refuses(TypeError, "algorithm", "correlate2d", X2, W2, algorithm=3)


def test_options_are_keywords():
    for name in ("correlate1d", "convolve1d"):
        with pytest.raises(TypeError, match=r"positional argument"):
            getattr(fastconv, name)(X1, W1, 1)
        with pytest.raises(TypeError, match=r"strides"):
            getattr(fastconv, name)(X1, W1, strides=1)
    with pytest.raises(TypeError, match="positional argument"):
        fastconv.max_pool1d(X1, 2, 2)


def test_errors_do_not_carry_their_cause_about():
    """One error, not one "during handling of" another."""
    with pytest.raises(TypeError) as caught:
        fastconv.correlate1d(X1, W1, stride="2")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ == (
        caught.value.__context__ is not None
    )


def test_errors_are_raised_when_python_optimises():
    """None of them is an assert."""
    code = "import numpy as np, fastconv; fastconv.correlate1d(np.ones((1, 1, 3)), np.ones((1, 1, 3)), stride=0)"
    done = run("-O", "-c", code, check=False)
    assert "ValueError: correlate1d(): stride is 0" in done.stderr
