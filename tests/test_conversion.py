"""Inputs of another dtype than the result: converted as they are read, with the bits of a call on a converted copy."""

import numpy as np
import oracle
import pytest
from cases import LAYOUTS, prepare_by, slow, values
from fastconv.kernels.convolution.choose import FAMILIES
from fastconv.kernels.simd.vectors import VECTOR_BYTES
from test_memory import STRIDED, WORKSPACE, traced

import fastconv

# Of the input and of the result: unsigned, signed, by hand, a truth value; into floats, integers, complex numbers.
PAIRS = [("u1", "f4"), ("f4", "f8"), ("u1", "i4"), ("f2", "f4"), ("?", "f4"), ("i2", "f8"), ("i4", "f4"), ("f8", "f4")]
PAIRS += [("i8", "i2"), ("i1", "u4"), ("u8", "f8"), ("u1", "f2"), ("f2", "f8"), ("i4", "i8")]
PAIRS += [("u1", "c8"), ("f8", "c8"), ("c16", "c8"), ("c8", "c16")]
if oracle.bfloat16 is not None:
    PAIRS += [("bfloat16", "f4"), ("i1", "bfloat16"), ("bfloat16", "f2")]
# Each compiles kernels that nothing else needs, those of transforms for ten seconds. They read as all others do: plain
# loops and pools are called with all pairs, other families with one for each kind of reading and each type of sums.
TRANSFORMED = [("u1", "f4"), ("f2", "f4"), ("f4", "f8"), ("u1", "c8"), ("c16", "c8")]
SUMMED = [*TRANSFORMED, ("u1", "i4"), ("i8", "i2"), ("u1", "f2")]
SUMMED += [("bfloat16", "f4")] if oracle.bfloat16 is not None else []

CALLS = {
    "small": [
        ((1, 1, 5, 12), (2, 1, 2, 3), {"padding": 1, "fillvalue": 1}),
        ((1, 2, 19), (1, 2, 3), {}),
    ],
    "small_images": [
        ((200, 1, 5, 12), (2, 1, 2, 3), {"padding": 1, "fillvalue": 1}),
        ((300, 2, 19), (1, 2, 3), {}),
    ],
    "fft_planes": [
        ((1, 2, 60, 70), (2, 1, 17, 20), {"groups": 2, "padding": "same", "algorithm": "fft"}),
        ((1, 1, 1500), (1, 1, 300), {"padding": "same", "boundary": "wrap", "algorithm": "fft"}),
    ],
    "depthwise": [
        ((1, 3, 19, 37), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
        ((2, 3, 19, 37), (3, 1, 3, 3), {"groups": 3, "padding": 1, "stride": 2}),
        ((1, 3, 18, 52), (3, 1, 5, 5), {"groups": 3, "padding": ((2, 1), (1, 2)), "stride": 2}),
        ((1, 2, 19, 37), (2, 1, 3, 3), {"groups": 2, "padding": 2, "boundary": "reflect", "stride": (1, 2)}),
        ((2, 2, 300), (2, 1, 31), {"groups": 2, "padding": "same"}),
        ((1, 3, 6, 9, 17), (3, 1, 3, 3, 3), {"groups": 3, "padding": 1}),
    ],
    "grouped": [
        ((1, 17, 9, 14), (17, 1, 3, 3), {"groups": 17, "padding": 1, "stride": 3}),
        ((2, 32, 7, 6), (16, 2, 3, 2), {"groups": 16, "padding": 2, "boundary": "reflect", "stride": (3, 1)}),
    ],
    "dense": [
        ((1, 9, 12, 21), (16, 9, 3, 3), {"padding": 1}),
        ((2, 9, 12, 21), (33, 9, 3, 3), {"stride": 2, "padding": 1, "boundary": "wrap"}),
        ((1, 300, 5, 6), (40, 300, 3, 3), {"padding": 1}),
    ],
    "direct": [
        ((2, 24, 15, 31), (5, 24, 3, 3), {"padding": 1}),
        ((1, 24, 15, 31), (5, 24, 3, 3), {"padding": 1, "fillvalue": 2}),
        ((1, 24, 15, 31), (5, 24, 3, 3), {"stride": (2, 3)}),
        ((1, 40, 4, 600), (5, 40, 3, 3), {"padding": 1}),
        ((1, 80, 5, 500), (4, 80, 3, 3), {"padding": 1}),  # channels that do not fit at once
    ],
    "fft_tiles": [
        ((2, 24, 15, 31), (17, 24, 5, 5), {"padding": 2, "algorithm": "fft"}),
        ((1, 6, 15, 31), (4, 3, 7, 9), {"padding": 2, "groups": 2, "fillvalue": 2, "algorithm": "fft"}),
    ],
    "winograd": [
        ((1, 32, 30, 30), (32, 32, 3, 3), {"padding": 1}),
        ((2, 32, 21, 30), (33, 32, 3, 3), {"padding": 2, "boundary": "wrap"}),
    ],
    "generic": [((1, 2, 4, 5, 3, 4), (3, 2, 2, 2, 2, 2), {"padding": 1})],
    "im2col": [((1, 4, 9, 11), (6, 2, 3, 3), {"groups": 2, "padding": 1, "fillvalue": 1, "algorithm": "im2col"})],
}


def assert_bits(got, want):
    """The same bits, but for those of a NaN."""
    assert got.dtype == want.dtype
    oracle.assert_same(got, want)


def only_first(cases):
    """The others are slow."""
    return [cases[0], *map(slow, cases[1:])]


@pytest.mark.parametrize(
    "family, given, dtype",
    [
        case
        for family in [*(family.name for family in FAMILIES), "im2col"]
        for case in (
            [slow((family, *pair)) for pair in TRANSFORMED]
            if family in ("winograd", "fft_tiles", "fft_planes")
            else only_first([(family, *pair) for pair in (PAIRS if family == "generic" else SUMMED)])
        )
    ],
)
def test_the_bits_of_a_convolution_of_a_converted_copy(family, given, dtype):
    for x_shape, w_shape, options in CALLS[family]:
        x, w = values(x_shape, given), values(w_shape, dtype, 1)
        for layout in ("contiguous", "fortran", "channels_last", "reversed", "swapped_axes"):
            if len(x_shape) < 4 and layout != "contiguous":
                continue
            view = LAYOUTS[layout]
            got = fastconv.correlate_nd(view(x), w, dtype=dtype, **options)
            with np.errstate(all="ignore"):
                want = fastconv.correlate_nd(view(x.astype(dtype)), w, **options)
            assert_bits(got, want)


@pytest.mark.slow
@pytest.mark.skipif(VECTOR_BYTES < 32, reason="kernels for short vectors take fewer calls")
def test_each_family_takes_its_calls():
    for family, calls in CALLS.items():
        for x_shape, w_shape, options in calls:
            known = {"padding_mode" if name == "padding" else name: value for name, value in options.items()}
            known.pop("fillvalue", None)
            if family != "im2col":  # refused where another has to
                prepare_by(family, "correlate", values(x_shape, "u1"), values(w_shape, "f4"), **known)


def test_mixed_types_are_converted_without_being_asked():
    x, w = values((1, 24, 15, 31), "u1"), values((5, 24, 3, 3), "f4", 1)
    assert_bits(fastconv.correlate2d(x, w), fastconv.correlate2d(x.astype("f4"), w))
    assert_bits(fastconv.convolve2d(w, x[:, :, :2, :2]), fastconv.convolve2d(w, x[:, :, :2, :2].astype("f4")))


def test_sums_of_bytes_do_not_wrap():
    x, w = np.full((1, 1, 5, 9), 255, np.uint8), np.full((1, 1, 3, 3), 100, np.int8)
    got = fastconv.correlate2d(x, w, dtype=np.int32)
    assert got.dtype == np.int32
    assert (got == 9 * 255 * 100).all()
    assert (fastconv.correlate2d(x, w, dtype=np.float32) == 9 * 255 * 100).all()


def test_dtype_may_be_spelled_as_numpy_takes_it():
    x, w = values((1, 1, 9), "u1"), values((1, 1, 3), "u1", 1)
    for dtype in ("float32", np.float32, np.dtype("f4"), ">f4"):
        got = fastconv.correlate1d(x, w, dtype=dtype, out=np.empty((1, 1, 7), "f4"))
        assert got.dtype == np.float32
        assert fastconv.max_pool1d(x, 2, dtype=dtype).dtype == np.float32


def test_what_does_not_promote_meets_in_a_dtype():
    if oracle.bfloat16 is None:
        pytest.skip("ml_dtypes is not installed")
    x, w = values((1, 2, 9), "f2"), values((3, 2, 3), oracle.bfloat16, 1)
    want = fastconv.correlate1d(x.astype("f4"), w.astype("f4"))
    assert_bits(fastconv.correlate1d(x, w, dtype=np.float32), want)


def test_options_are_of_the_results_dtype():
    x, w, bias = values((1, 2, 9), "u1"), values((3, 2, 3), "i1", 1), values(3, "f4", 2)
    got = fastconv.correlate1d(x, w, dtype="f4", padding=1, bias=bias, fillvalue=0.5, activation="tanh")
    copies = x.astype("f4"), w.astype("f4")
    assert_bits(got, fastconv.correlate1d(*copies, padding=1, bias=bias, fillvalue=0.5, activation="tanh"))


POOLS = [
    ((2, 3, 9, 21), {"kernel_size": 3}),
    ((2, 3, 19, 41), {"kernel_size": 2, "stride": 1, "padding": 1}),
    ((2, 3, 19, 41), {"kernel_size": (3, 5), "stride": (2, 1), "padding": ((2, 1), (2, 3)), "dilation": 2}),
    ((2, 70, 8, 8), {"kernel_size": 8}),
    ((1, 3, 5, 300), {"kernel_size": (2, 40), "stride": 3}),
    ((2, 3, 6, 6), {"kernel_size": 2, "stride": 5, "padding": ((0, 4), (0, 4))}),  # windows of padding only
]


@pytest.mark.parametrize("given, dtype", only_first(PAIRS))
@pytest.mark.parametrize("name", ["avg_pool2d", "max_pool2d"])
def test_the_bits_of_a_pool_of_a_converted_copy(name, given, dtype):
    x, kind = values((1, 1, 2, 2), given), np.zeros(1, dtype).dtype.kind
    if kind in "biu" if name == "avg_pool2d" else "c" in (x.dtype.kind, kind):
        with pytest.raises(TypeError, match=r"holds no averages|has no order"):
            getattr(fastconv, name)(x, 2, dtype=dtype)
        return
    pool = getattr(fastconv, name)
    for shape, options in POOLS:
        x = values(shape, given)
        for layout in ("contiguous", "channels_last", "reversed"):
            view = LAYOUTS[layout]
            with np.errstate(all="ignore"):
                copy = view(x.astype(dtype))
            for more in ({"count_include_pad": False},) if name == "avg_pool2d" else ({}, {"return_indices": True}):
                if shape == (2, 3, 6, 6) and name == "avg_pool2d" and x.dtype.kind in "biu":
                    more = {}  # the mean of no integers is 0
                got, want = pool(view(x), dtype=dtype, **options, **more), pool(copy, **options, **more)
                for a, b in zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]:
                    assert_bits(a, b)


@pytest.mark.parametrize("name", ["avg_pool", "max_pool"])
@pytest.mark.parametrize("given, dtype", [("u1", "f4"), slow(("i8", "i2")), slow(("f2", "f8"))])
def test_pools_by_plain_loops_convert(name, given, dtype):
    x = values((1, 1, 4500), given)  # windows too long for rows
    pool, options = getattr(fastconv, f"{name}1d"), {"kernel_size": 2100, "stride": 1500}
    if name == "max_pool" or dtype != "i2":
        assert_bits(pool(x, dtype=dtype, **options), pool(x.astype(dtype), **options))


def test_the_mean_of_no_integers_is_zero_in_any_dtype():
    x = values((1, 1, 3), "u1")
    for dtype in (None, np.float64, np.float32):
        got = fastconv.avg_pool1d(x, 2, stride=5, padding=((0, 4),), count_include_pad=False, dtype=dtype)
        assert got[0, 0, 1] == 0


def test_threads_share_what_they_convert():
    x, w = values((2, 24, 60, 61), "u1"), values((40, 24, 3, 3), "f4", 1)
    with fastconv.num_threads(1):
        want = fastconv.correlate2d(x.astype("f4"), w, algorithm="direct")
    with fastconv.num_threads(3):
        assert_bits(fastconv.correlate2d(x, w, algorithm="direct"), want)
        image = values((1, 3, 1000, 400), "u1")
        assert_bits(fastconv.max_pool2d(image, 2, dtype="f4"), fastconv.max_pool2d(image, 2).astype("f4"))


MEMORY = {
    "correlate2d": (lambda x, w: fastconv.correlate2d(x, w, stride=4, padding=1), (4, 3, 3, 3)),
    "outputs": (lambda x, w: fastconv.correlate2d(x, w, stride=4, padding=1), (16, 3, 3, 3)),
    "depthwise": (lambda x, w: fastconv.correlate2d(x, w, stride=4, padding=1, groups=3), (3, 1, 3, 3)),
    "avg_pool2d": (lambda x, w: fastconv.avg_pool2d(x, 4, dtype="f4"), (1, 1, 1, 1)),
    "max_pool2d": (lambda x, w: fastconv.max_pool2d(x, 4, dtype="f4"), (1, 1, 1, 1)),
}


@pytest.mark.parametrize("layout", ["contiguous", *STRIDED])
@pytest.mark.parametrize("name", MEMORY)
def test_nothing_is_converted_whole(name, layout):
    """3 MB of input, 12 when converted."""
    run, w_shape = MEMORY[name]
    x, w = {"contiguous": lambda a: a, **STRIDED}[layout](values((1, 3, 1024, 1024), "u1")), values(w_shape, "f4")
    peak, result = traced(lambda: run(x, w))
    assert result.dtype == np.float32
    assert peak - result.nbytes < WORKSPACE, f"{peak - result.nbytes} bytes beside the result"
