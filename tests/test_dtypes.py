"""What is computed in which type: every dtype, mixtures, byte orders, array-likes."""

import numpy as np
import oracle
import pytest
from cases import (
    ALGORITHMS,
    LAYOUTS,
    REPRESENTATIVE,
    check_convolution,
    check_windows,
    representative,
    slow,
    ties,
    unaligned,
    values,
)
from fastconv.kernels.shapes import ACTIVATIONS

import fastconv

every_dtype = pytest.mark.parametrize("dtype", representative(oracle.DTYPES), ids=str)
real_dtype = pytest.mark.parametrize("dtype", representative(oracle.REAL), ids=str)


@every_dtype
@pytest.mark.parametrize("operation", ["correlate", "convolve"])
@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_convolution(dtype, operation, algorithm):
    x, w = values((2, 4, 6, 7), dtype), values((6, 2, 3, 2), dtype, 1)
    check_convolution(operation, x, w, groups=2, algorithm=algorithm)
    bias = values(6, dtype, 2)
    check_convolution(operation, x, w, groups=2, stride=(1, 2), padding_mode="same", bias=bias, algorithm=algorithm)
    check_convolution(
        operation,
        x,
        w,
        groups=2,
        dilation=2,
        padding_mode=2,
        boundary=("reflect", "constant"),
        fillvalue=1,
        algorithm=algorithm,
    )


@every_dtype
@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_of_other_ranks(dtype, rank):
    x, w = values((1, 2, *(5, 4, 6)[:rank]), dtype), values((3, 2, *(3, 2, 2)[:rank]), dtype, 1)
    out = np.zeros((1, 3, *(5, 5, 7)[:rank]), dtype)
    check_convolution("correlate", x, w, padding_mode=1, fillvalue=1, out=out)


@every_dtype
def test_average_pools(dtype):
    x = values((2, 2, 7, 8), dtype)
    check_windows("avg_pool2d", x, 3)
    check_windows("avg_pool2d", x, (2, 3), stride=1, padding_spec=1, count_include_pad=False)
    check_windows("avg_pool2d", x, 3, stride=2, padding_spec=1, ceil_mode=True)


@real_dtype
@pytest.mark.parametrize("name", ["max_pool2d", slow("min_pool2d")])
def test_extreme_pools(dtype, name):
    for x in (values((2, 2, 7, 8), dtype), ties((2, 2, 7, 8), dtype)):
        check_windows(name, x, 3)
        check_windows(name, x, (2, 3), stride=1, padding_spec=1)
        check_windows(name, x, 3, stride=2, padding_spec=((1, 0), (2, 3)), dilation=(1, 2), ceil_mode=True)


@every_dtype
def test_unpooling(dtype):
    v = values((2, 2, 3), dtype)
    at = np.array([[[5, 0, 3], [2, 2, 1]], [[0, 1, 2], [5, 4, 5]]])
    got = fastconv.max_unpool1d(v, at, 2)
    oracle.check(got, oracle.expect_equal(oracle.max_unpool(v, at, (6,))))


@every_dtype
def test_patches(dtype):
    x = values((2, 3, 6, 5), dtype)
    options = {"stride": (2, 1), "dilation": (1, 2), "padding": 1}
    patches = check_windows("extract_patches", x, (3, 2), **options)
    check_windows("combine_patches", patches, (6, 5), (3, 2), **options)
    columns = check_windows("im2col", x, (3, 2), **options)
    check_windows("col2im", columns, (6, 5), (3, 2), **options)


@every_dtype
def test_filters(dtype):
    x = values((3, 8, 9), dtype)
    check_windows("uniform_filter", x, (2, 3))
    check_windows("uniform_filter", x, (3,), stride=1)
    if dtype in oracle.REAL:
        check_windows("maximum_filter", x, (2, 3))
        check_windows("minimum_filter", x, (2, 3), stride=1)


@pytest.mark.parametrize("dtype", representative(oracle.HALVES), ids=str)
def test_halves_accumulate_in_float32_and_round_once(dtype):
    """2048 + 1 is 2048 in float16 (256 + 1 in bfloat16): a sum in half precision would stay where it starts."""
    one = int(2 / np.finfo(np.float16).eps) if dtype == np.float16 else 256
    x, w = np.ones((1, 1, 65), dtype), np.ones((1, 1, 65), dtype)
    w[0, 0, 0] = one
    for algorithm in ALGORITHMS[1:]:
        got = fastconv.correlate1d(x, w, algorithm=algorithm)
        assert got.dtype == dtype
        assert got[0, 0, 0] == dtype.type(one + 64)
    x[0, 0, 0] = one
    check_windows("avg_pool1d", x, 65)
    check_windows("uniform_filter", x, (65,))
    # Tap k of patch p lands on element k + p - 64: 65 of them on the only one.
    patches = np.ones((65, 65), dtype)
    patches[64, 0] = one
    assert fastconv.combine_patches(patches, (1,), (65,), padding=64)[0] == dtype.type(one + 64)


@pytest.mark.parametrize("dtype", representative(oracle.HALVES), ids=str)
def test_halves_round_after_the_bias(dtype):
    """A tie before the bias, pulled down by it: rounding twice would go up and stay there."""
    eps = float(np.finfo(np.float16).eps) if dtype == np.float16 else 2.0**-7
    x = np.ones((1, 1, 3), dtype)
    w = np.array([[[1 + eps, eps / 2, 0]]]).astype(dtype)
    bias = np.array([-eps / 8]).astype(dtype)
    assert fastconv.correlate1d(x, w)[0, 0, 0] == dtype.type(1 + 2 * eps)
    assert fastconv.correlate1d(x, w, bias=bias)[0, 0, 0] == dtype.type(1 + eps)


@pytest.mark.parametrize("dtype", representative(oracle.HALVES), ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_every_half_survives(dtype, algorithm):
    """Infinities, NaNs and subnormal numbers included."""
    x = np.arange(2**16, dtype=np.uint16).view(dtype)[None, None]
    oracle.assert_same(fastconv.correlate1d(x, np.ones((1, 1, 1), dtype), algorithm=algorithm), x)


@pytest.mark.parametrize("dtype", representative(oracle.HALVES), ids=str)
@pytest.mark.parametrize("factor", [0.333, 1.5, 2.0**-5, 300.0, 1 + 2.0**-7])
def test_rounding_to_halves_is_numpys(dtype, factor):
    """Products of two halves are exact in float32: every rounding case, overflow and subnormals included."""
    x = np.arange(0, 2**16, 7, dtype=np.uint16).view(dtype)[None, None]
    w = np.array([[[factor]]]).astype(dtype)
    with np.errstate(all="ignore"):
        want = (x.astype("f4") * w.astype("f4")).astype(dtype)
    for algorithm in ALGORITHMS[1:]:
        oracle.assert_same(fastconv.correlate1d(x, w, algorithm=algorithm), want)


@pytest.mark.parametrize("dtype", representative(oracle.HALVES), ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_halves_round_after_the_activation(dtype, activation):
    check_convolution("correlate", values((1, 2, 9), dtype), values((3, 2, 2), dtype, 1), activation=activation)


@pytest.mark.parametrize("dtype", representative(oracle.INTEGERS), ids=str)
def test_integers_wrap(dtype):
    top = np.iinfo(dtype).max
    x, w = np.full((1, 1, 3), top, dtype), np.full((1, 1, 3), 2, dtype)
    got = fastconv.correlate1d(x, w, bias=np.array([7], dtype))
    assert got.dtype == dtype
    bits = 8 * dtype.itemsize
    want = (int(top) * 6 + 7) % 2**bits
    assert int(got[0, 0, 0]) % 2**bits == want


def test_bool_is_any_of_and():
    x, w = np.ones((1, 1, 4), bool), np.ones((1, 1, 2), bool)
    got = fastconv.correlate1d(x, w, padding_mode=((2, 0),))
    assert got.dtype == bool
    np.testing.assert_array_equal(got[0, 0], [False, True, True, True, True])
    assert fastconv.correlate1d(~x, w, bias=np.array([True])).all()
    assert fastconv.correlate1d(~x, w, padding_mode=2, fillvalue=True)[0, 0].tolist() == [
        True,
        True,
        False,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.slow
def test_bools_of_any_bit_pattern_are_true():
    """A bool view of bytes other than 0 and 1 is legal, and true."""
    raw = np.array([[[0, 2, 0, 255, 0, 0]]], np.uint8)
    got = fastconv.correlate1d(raw.view(bool), np.ones((1, 1, 2), bool))
    np.testing.assert_array_equal(got.view(np.uint8)[0, 0], [1, 1, 1, 1, 0])
    got = fastconv.correlate1d(raw.view(bool), np.ones((1, 1, 2), np.int32))
    np.testing.assert_array_equal(got[0, 0], [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(fastconv.avg_pool1d(raw.view(bool), 2)[0, 0], [0.5, 0.5, 0])


@pytest.mark.parametrize("dtype", representative(oracle.COMPLEX), ids=str)
def test_nothing_is_conjugated(dtype):
    x, w = np.array([[[1 + 2j, 3 - 1j]]], dtype), np.array([[[2 - 1j, 1j]]], dtype)
    # (1+2i)(2-i) + (3-i)i = (4+3i) + (1+3i)
    assert fastconv.correlate1d(x, w)[0, 0, 0] == 5 + 6j
    # (1+2i)i + (3-i)(2-i) = (-2+i) + (5-5i)
    assert fastconv.convolve1d(x, w)[0, 0, 0] == 3 - 4j


PAIRS = [
    ("i1", "u1"),
    ("i2", "i8"),
    ("u4", "i4"),
    ("u8", "i8"),
    ("?", "i1"),
    ("?", "f4"),
    ("i2", "f4"),
    ("i4", "f4"),
    ("i1", "f2"),
    ("i2", "f2"),
    ("f2", "f4"),
    ("f4", "f8"),
    ("f8", "c8"),
    ("f4", "c8"),
    ("i8", "c8"),
    ("?", "f2"),
    ("u1", "c16"),
]


def mixed(first, second):
    """Of so many axes that the kernel of the least code runs them: each pair of dtypes compiles its own."""
    return values((1, 2, 1, 2, 1, 9), first), values((3, 2, 1, 2, 1, 3), second, 1)


def _decisive(pair):
    """Of the dtypes that a kernel is compiled for, the input's and the result's, one that is not representative."""
    first, result = np.dtype(pair[0]), np.result_type(*pair)
    return result if first in REPRESENTATIVE else first


@pytest.mark.parametrize("first, second", representative([*PAIRS, *(p[::-1] for p in PAIRS)], _decisive))
def test_mixed_types_meet_in_numpys(first, second):
    x, w = mixed(first, second)
    got = check_convolution("correlate", x, w, padding_mode=1)
    assert got.dtype == np.result_type(x, w)


@pytest.mark.skipif(oracle.bfloat16 is None, reason="ml_dtypes is not installed")
@pytest.mark.parametrize(
    "other, result",
    [("f4", "float32"), *map(slow, [("?", "bfloat16"), ("i1", "bfloat16"), ("f8", "float64"), ("c8", "complex64")])],
)
def test_bfloat16_meets_others(other, result):
    for first, second in ((oracle.bfloat16, other), (other, oracle.bfloat16)):
        got = check_convolution("correlate", *mixed(first, second))
        assert got.dtype.name == result


@pytest.mark.parametrize("dtype", representative(["i2", "i8", "f2", "f4", "f8", "c8", "c16", "u4"]))
def test_foreign_byte_order(dtype):
    x, w, b = values((2, 2, 9), dtype), values((3, 2, 3), dtype, 1), values(3, dtype, 2)
    swap = LAYOUTS["byteswapped"]
    for arrays in ((swap(x), w, b), (x, swap(w), b), (x, w, swap(b)), (swap(x), swap(w), swap(b))):
        got = check_convolution("convolve", *arrays[:2], bias=arrays[2], padding_mode=1)
        assert got.dtype.isnative
    check_windows("avg_pool1d", swap(x), 2)
    check_windows("im2col", swap(x), 2)
    check_windows("uniform_filter", swap(x), (2,))
    patches = check_windows("extract_patches", swap(x), (2,))
    check_windows("combine_patches", swap(patches), (9,), (2,))
    if dtype[0] != "c":
        check_windows("max_pool1d", swap(x), 2)
        check_windows("minimum_filter", swap(x), (2,))


@pytest.mark.parametrize("dtype", representative(["i2", "f2", "f4", "f8", "c8", "c16", "u8"]))
def test_unaligned_arrays(dtype):
    x, w, b = (unaligned(a) for a in (values((2, 2, 9), dtype), values((3, 2, 3), dtype, 1), values(3, dtype, 2)))
    assert not x.flags.aligned
    out = unaligned(np.zeros((2, 3, 7), dtype))
    check_convolution("correlate", x, w, bias=b, out=out)
    check_convolution("correlate", x, w, algorithm="im2col")
    check_windows("avg_pool1d", x, 2)
    check_windows("extract_patches", x, (2,))
    check_windows("col2im", x.reshape(2, 2, 9), (10,), 2)
    if dtype[0] != "c":
        check_windows("max_pool1d", x, 2)
        check_windows("maximum_filter", x, (3,))


def test_array_likes_are_converted():
    check_convolution("correlate", [[[[[[1, 2, 3, 4]]]]]], [[[[[[1, 0]]]]]])
    check_convolution("correlate", [[[1.5, 2, 3, 4]]], np.ones((1, 1, 2), "f4"))
    check_convolution("convolve", ((((((True, False),),),),),), [[[[[[1]]]]]], bias=(3,))
    check_windows("max_pool1d", [[[1.0, 5, 2, 2]]], 2)
    check_windows("avg_pool1d", [[[1.0, 5, 2, 2]]], 2)
    check_windows("extract_patches", [1, 2, 3], (2,))
    check_windows("uniform_filter", [1.0, 2, 3], (2,))

    class Array:
        def __array__(self, dtype=None, copy=None):
            return np.arange(6.0, dtype=dtype).reshape(1, 1, 6)

    check_convolution("correlate", Array(), np.ones((1, 1, 2)))


def test_a_subclass_gives_a_plain_array():
    class Sub(np.ndarray):
        pass

    x, w = values((1, 1, 5), "f4").view(Sub), values((1, 1, 2), "f4", 1).view(Sub)
    assert type(fastconv.correlate1d(x, w)) is np.ndarray
    assert type(fastconv.avg_pool1d(x, 2)) is np.ndarray
    check_convolution("correlate", np.asarray(x), np.asarray(w))


def test_read_only_and_memory_mapped_inputs(tmp_path):
    x, w = values((1, 2, 9), "f4"), values((3, 2, 3), "f4", 1)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    w.flags.writeable = False
    check_convolution("correlate", mapped, w)
    check_windows("max_pool1d", mapped, 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", oracle.DTYPES, ids=str)
def test_all_pairs(dtype):
    for other in oracle.DTYPES:
        try:
            np.result_type(dtype, other)
        except TypeError:
            continue
        check_convolution("correlate", *mixed(dtype, other), padding_mode=1)
