"""Every refusal, by the words that tell a user what to do: function, argument, what came, what is expected."""

import re
import sys
import time

import numpy as np
import oracle
import pytest

import fastconv

X1, W1 = np.ones((2, 4, 9), "f4"), np.ones((6, 4, 3), "f4")
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
    [("dask", r"\.compute\(\)"), ("cupy", r"\.get\(\)"), ("torch", r"\.numpy\(\)"), ("tensorflow", r"\.numpy\(\)")],
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


@pytest.mark.parametrize("activation", ["silu", "gelu", "tanh", "sigmoid"])
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
    refuses(TypeError, message, "correlate1d", X1.astype(x), W1.astype(w), bias=np.ones(6, bias))


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
        ("f4", 1j),
        ("f8", 2 - 1j),
        ("c8", 1e300),
    ],
)
def test_fill_values_that_the_dtype_cannot_hold(dtype, fillvalue):
    message = rf"fillvalue is {re.escape(repr(fillvalue))}, which the result's dtype {np.dtype(dtype)} cannot hold"
    refuses(ValueError, message, "correlate1d", X1.astype(dtype), W1.astype(dtype), padding_mode=1, fillvalue=fillvalue)


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
    refuses(TypeError, message, f"{operation}1d", X1, W1, out=np.empty((2, 6, 7), dtype))


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
    assert time.perf_counter() - start < 2  # seconds, where taking such memory page by page would be minutes


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


def test_options_are_keywords():
    for name in ("correlate1d", "convolve1d"):
        with pytest.raises(TypeError, match=r"positional argument"):
            getattr(fastconv, name)(X1, W1, 1)
        with pytest.raises(TypeError, match=r"padding"):
            getattr(fastconv, name)(X1, W1, padding=1)
    with pytest.raises(TypeError, match="positional argument"):
        fastconv.max_pool1d(X1, 2, 2)


def test_errors_do_not_carry_their_cause_about():
    """One error, not one "during handling of" another."""
    with pytest.raises(TypeError) as caught:
        fastconv.correlate1d(X1, W1, stride="2")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ == (
        caught.value.__context__ is not None
    )


def test_errors_are_raised_when_python_optimises(tmp_path):
    """None of them is an assert."""
    import subprocess
    from pathlib import Path

    code = "import numpy as np, fastconv; fastconv.correlate1d(np.ones((1, 1, 3)), np.ones((1, 1, 3)), stride=0)"
    done = subprocess.run(
        [sys.executable, "-O", "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert "ValueError: correlate1d(): stride is 0" in done.stderr
