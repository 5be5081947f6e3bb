"""Pools and unpools against the oracle, and their rules by hand."""

import itertools

import numpy as np
import oracle
import pytest
from cases import LAYOUTS, check_windows, representative, rng, slow, ties, values

import fastconv

SIZES = {1: (9,), 2: (6, 7), 3: (5, 4, 6)}
EXTREMES = ["max_pool", "min_pool"]
POOLS = [*EXTREMES, "avg_pool"]

pools = pytest.mark.parametrize("pool", POOLS)
ranks = pytest.mark.parametrize("rank", [1, 2, 3])


@pools
@ranks
def test_defaults_and_kernel_forms(pool, rank):
    x = values((2, 3, *SIZES[rank]), "f4")
    for kernel in (1, 2, np.int64(3), tuple(range(1, rank + 1)), list(range(rank, 0, -1)), SIZES[rank]):
        check_windows(f"{pool}{rank}d", x, kernel)


@pools
@pytest.mark.parametrize("stride", [None, 1, 2, 3, (1, 2), (9, 4)], ids=str)
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)], ids=str)
def test_strides_and_dilations(pool, stride, dilation):
    x = values((2, 2, 9, 8), "f4")
    check_windows(f"{pool}2d", x, (3, 2), stride=stride, dilation=dilation)


@pools
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    "padding", ["valid", "same", "full", 0, 1, 4, (2, 0), [0, 1], ((1, 2), (0, 0)), ((5, 0), (0, 6))], ids=str
)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_forms(pool, padding, ceil_mode, stride):
    """Also pads so wide that windows hold no real element."""
    x = values((2, 2, 6, 7), "f4")
    check_windows(f"{pool}2d", x, (3, 2), stride=stride, padding_spec=padding, ceil_mode=ceil_mode)
    if pool == "avg_pool":
        options = {"stride": stride, "padding_spec": padding, "ceil_mode": ceil_mode}
        check_windows("avg_pool2d", x, (3, 2), count_include_pad=False, **options)


@pools
@pytest.mark.parametrize("size", range(1, 8))
def test_ceil_mode_of_one_axis(pool, size):
    x = values((1, 1, size), "f4")
    for kernel, stride, before, after, dilation in itertools.product(
        [1, 2, 3], [1, 2, 3, 4], [0, 1, 3], [0, 2], [1, 2]
    ):
        options = {"stride": stride, "padding_spec": ((before, after),), "dilation": dilation, "ceil_mode": True}
        try:
            oracle.Windows((size,), kernel, stride, dilation, ((before, after),), True)
        except ValueError:
            with pytest.raises(ValueError, match=f"{pool}1d"):
                getattr(fastconv, f"{pool}1d")(x, kernel, **options)
            continue
        check_windows(f"{pool}1d", x, kernel, **options)
        if pool == "avg_pool":
            check_windows("avg_pool1d", x, kernel, count_include_pad=False, **options)


def test_same_follows_the_convolve_rule():
    """An even window: the odd element of padding goes before; the result has ceil(S / stride) elements."""
    x = np.arange(1.0, 7)[None, None]
    np.testing.assert_array_equal(fastconv.max_pool1d(x, 2, stride=1, padding_spec="same")[0, 0], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(fastconv.min_pool1d(x, 2, stride=1, padding_spec="same")[0, 0], [1, 1, 2, 3, 4, 5])
    got = fastconv.avg_pool1d(x, 2, stride=1, padding_spec="same")
    np.testing.assert_array_equal(got[0, 0], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    # Odd window, stride 2: 5 taps reach over 6 elements and one more, which goes after.
    np.testing.assert_array_equal(fastconv.max_pool1d(x, 3, stride=2, padding_spec="same")[0, 0], [3, 5, 6])


def test_the_divisor():
    x = np.array([[[1.0, 2, 3, 4]]])
    pool = fastconv.avg_pool1d
    np.testing.assert_allclose(pool(x, 3, stride=2, padding_spec=1)[0, 0], [1, 3], rtol=1e-15)
    np.testing.assert_allclose(
        pool(x, 3, stride=2, padding_spec=1, count_include_pad=False)[0, 0], [1.5, 3], rtol=1e-15
    )
    # ceil_mode adds a third window at 3, 4 and 5: 4 is padding and counts, 5 was added and never does.
    got = pool(x, 3, stride=2, padding_spec=1, ceil_mode=True)
    np.testing.assert_allclose(got[0, 0], [1, 3, 2], rtol=1e-15)
    got = pool(x, 3, stride=2, padding_spec=1, ceil_mode=True, count_include_pad=False)
    np.testing.assert_allclose(got[0, 0], [1.5, 3, 4], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_are_correctly_rounded_quotients(dtype):
    """One real element over padding: the sum is the element itself, the mean what NumPy's division gives."""
    bits = rng().integers(0, 2 ** np.finfo(dtype).nmant, 3000) | 1 << np.finfo(dtype).nmant
    x = np.ldexp(bits, rng(1).integers(-50, 50, bits.size)).astype(dtype) * rng(2).choice([-1, 1], bits.size)
    x = np.concatenate([x, [0.0, -0.0, np.inf, -np.inf, np.nan]]).astype(dtype)
    for count in range(1, 50):
        means = fastconv.avg_pool2d(x[None, None, None], (count, 1), stride=1, padding_spec=((count - 1, 0), (0, 0)))
        for mean in means[0, 0]:
            oracle.assert_same(mean, x / np.array(count, dtype))


def test_windows_without_a_real_element():
    x = np.array([[[1.0, 2]]])
    pads = {"stride": 2, "padding_spec": ((4, 2),)}  # windows over -4 -3, -2 -1, 0 1, 2 3
    best, at = fastconv.max_pool1d(x, 2, return_indices=True, **pads)
    np.testing.assert_array_equal(best[0, 0], [-np.inf, -np.inf, 2, -np.inf])
    np.testing.assert_array_equal(at[0, 0], [-1, -1, 1, -1])
    best, at = fastconv.min_pool1d(x, 2, return_indices=True, **pads)
    np.testing.assert_array_equal(best[0, 0], [np.inf, np.inf, 1, np.inf])
    np.testing.assert_array_equal(at[0, 0], [-1, -1, 0, -1])
    np.testing.assert_array_equal(fastconv.avg_pool1d(x, 2, **pads)[0, 0], [0, 0, 1.5, 0])
    got = fastconv.avg_pool1d(x, 2, count_include_pad=False, **pads)
    np.testing.assert_array_equal(got[0, 0], [np.nan, np.nan, 1.5, np.nan])
    got = fastconv.avg_pool1d(x.astype(int), 2, count_include_pad=False, **pads)
    np.testing.assert_array_equal(got[0, 0], [0, 0, 1.5, 0])
    assert got.dtype == np.float64


@pytest.mark.parametrize("dtype", representative([*oracle.INTEGERS, np.dtype(bool)]), ids=str)
def test_the_padding_of_integers_is_their_lowest_and_highest(dtype):
    x = np.zeros((1, 1, 1), dtype)
    low, high = (False, True) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert fastconv.max_pool1d(x, 1, padding_spec=((1, 0),))[0, 0, 0] == low
    assert fastconv.min_pool1d(x, 1, padding_spec=((1, 0),))[0, 0, 0] == high


@pytest.mark.parametrize("dtype", representative(["f8", "f4", "f2", "i2", "u1", "u8"]))
def test_elements_that_equal_the_padding_win_over_it(dtype):
    for pool, worst in (("max_pool1d", oracle._lowest), ("min_pool1d", oracle._highest)):
        x = np.full((1, 1, 3), worst(np.dtype(dtype)), dtype)
        best, at = getattr(fastconv, pool)(x, 3, stride=1, padding_spec=2, return_indices=True)
        np.testing.assert_array_equal(best[0, 0], np.full(5, x[0, 0, 0]))
        np.testing.assert_array_equal(at[0, 0], [0, 0, 0, 1, 2])


@pytest.mark.parametrize("pool", EXTREMES)
@pytest.mark.parametrize("dtype", representative(["f4", "f2", "i1", "i2", "u1", "u8", "?"]))
def test_the_first_of_equals_wins(pool, dtype):
    x = ties((2, 3, 7, 8), dtype)
    check_windows(f"{pool}2d", x, 3, stride=1, padding_spec=1)
    check_windows(f"{pool}2d", x, (2, 3), stride=(2, 1), dilation=(3, 2))
    flat = np.ones((1, 1, 6), dtype)
    _, at = getattr(fastconv, f"{pool}1d")(flat, 3, stride=1, return_indices=True)
    np.testing.assert_array_equal(at[0, 0], [0, 1, 2, 3])


@pools
@pytest.mark.parametrize("dtype", ["f4", "f8", slow("f2")])
def test_not_a_number_wins(pool, dtype):
    x = values((2, 2, 8, 9), dtype)
    x[0, 0, 0, 0] = x[0, 1, 7, 8] = x[1, 0, 3, 4] = x[1, 0, 3, 5] = x[1, 0, 4, 4] = np.nan
    x[1, 1, 2, 2], x[1, 1, 5, 5] = np.inf, -np.inf
    check_windows(f"{pool}2d", x, 3, stride=1, padding_spec=1)
    check_windows(f"{pool}2d", x, 2, dilation=2, stride=1)


def test_the_first_nan_is_the_one_pointed_at():
    x = np.array([[[3, np.nan, np.inf, np.nan]]])
    for pool in ("max_pool1d", "min_pool1d"):
        best, at = getattr(fastconv, pool)(x, 4, return_indices=True)
        assert np.isnan(best[0, 0, 0]) and at[0, 0, 0] == 1


@pytest.mark.parametrize("pool", EXTREMES)
@ranks
def test_indices_are_int64_and_flat_over_the_spatial_axes(pool, rank):
    x = rng(rank).permutation(2 * 3 * int(np.prod(SIZES[rank]))).reshape(2, 3, *SIZES[rank]).astype("f4")
    best, at = getattr(fastconv, f"{pool}{rank}d")(x, 2, stride=1, return_indices=True)
    assert at.dtype == np.int64 and at.shape == best.shape
    picked = np.take_along_axis(x.reshape(2, 3, -1), at.reshape(2, 3, -1), 2).reshape(best.shape)
    np.testing.assert_array_equal(picked, best)


@pytest.mark.parametrize("dtype", representative(["i1", "i2", "u1", "i4", "u8", "i8", "?"]))
def test_averages_of_integers_are_float64(dtype):
    x = values((2, 2, 6, 6), dtype)
    got = check_windows("avg_pool2d", x, 2)
    assert got.dtype == np.float64
    tall = x.reshape(2, 2, 3, 2, 3, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(got, tall, rtol=1e-12, atol=1e-12 * float(abs(x.astype(float)).max()))


@pools
@pytest.mark.parametrize(
    "shape, options",
    [
        ((0, 2, 6), {}),
        ((2, 0, 6), {}),
        ((2, 2, 0), {}),
        ((2, 2, 0), {"padding_spec": 1}),
        ((2, 2, 0), {"padding_spec": 3, "stride": 1}),
        ((2, 2, 0), {"padding_spec": "same"}),
        ((2, 2, 0), {"padding_spec": 2, "stride": 3, "ceil_mode": True}),
    ],
    ids=str,
)
def test_empty_inputs_follow_the_formula(pool, shape, options):
    check_windows(f"{pool}1d", np.zeros(shape, "f4"), 3, **options)


@pools
@pytest.mark.parametrize("shape", [(2, 3, 0, 18), (2, 3, 4, 0), (2, 3, 4, 18), (2, 0, 4, 5), (2, 2, 3, 4, 18)], ids=str)
def test_rows_of_padding_only(pool, shape):
    x, rank = np.arange(np.prod(shape), dtype="f4").reshape(shape), len(shape) - 2
    check_windows(f"{pool}{rank}d", x, 3, stride=1, padding_spec=((2, 2),) * (rank - 2) + ((4, 3), (2, 2)))


@pytest.mark.parametrize("size", [15, 16, 17, 31, 33, 64, 65, 130])
@pools
def test_sizes_around_vector_widths(pool, size):
    x = values((1, 2, 5, size), "f4")
    check_windows(f"{pool}2d", x, 2)
    check_windows(f"{pool}2d", x, 3, stride=1, padding_spec="same")
    check_windows(f"{pool}2d", x, (3, 9), stride=(1, 2), padding_spec=1)


# The kernels by rows: where lines, blocks of columns and taps, and channels folded together begin and end ------------


def options_of(pool):
    return [{}, {"count_include_pad": False}] if pool == "avg_pool" else [{}]


@pools
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_every_width(pool, stride, dilation):
    for width in range(1, 71):
        x = values((1, 2, 3, width), "f4")
        for options in options_of(pool):
            check_windows(f"{pool}2d", x, (2, 3), stride=(1, stride), dilation=(1, dilation), padding_spec=4, **options)


@pools
@pytest.mark.parametrize("kernel", [11, 12, 13, 31, 64, 100])
@pytest.mark.parametrize("stride", [1, 2, 7, 40])
def test_wide_windows(pool, kernel, stride):
    """Among them those that are folded by doubling."""
    x = values((1, 2, 150), "f4")
    x[0, 1, 70] = np.nan
    for options in options_of(pool):
        check_windows(f"{pool}1d", x, kernel, stride=stride, padding_spec=((5, 60),), **options)
    check_windows(f"{pool}1d", values((1, 2, 400), "f8"), kernel, stride=stride, dilation=3)


@pools
@pytest.mark.parametrize(
    "size, kernel, options",
    [
        (9000, 2, {"stride": 1}),
        (9000, 3, {"stride": 2, "padding_spec": 1}),
        (9000, 4100, {"stride": 700}),
        (9000, 8999, {"stride": 1}),
        (20000, 20000, {}),
        (20000, 3, {"stride": 9000}),
        (20000, 3, {"stride": 1500, "dilation": 8500}),
        (3, 3, {"stride": 1000, "dilation": 10**9, "padding_spec": 10**9}),
    ],
    ids=str,
)
def test_rows_and_windows_that_are_cut_into_blocks(pool, size, kernel, options):
    x = values((1, 1, size), "f4")
    if options.get("dilation") == 10**9:
        options = {**options, "stride": 10**9}
    check_windows(f"{pool}1d", x, kernel, **options)


@pools
@pytest.mark.parametrize("dtype", representative(["f4", "f2", "i1", "u1", "?", "f8"]))
@pytest.mark.parametrize("channels", [7, 8, 63, 64, 65, 130])
def test_channels_that_lie_next_to_each_other(pool, dtype, channels):
    x = LAYOUTS["channels_last"](values((2, channels, 6, 9), dtype))
    check_windows(f"{pool}2d", x, 3, stride=2, padding_spec=1)
    check_windows(f"{pool}2d", x, 2, stride=1)
    check_windows(f"{pool}2d", x, (1, 14), stride=1, padding_spec=((0, 0), (9, 2)))
    check_windows(f"{pool}2d", x[:, 1:], (2, 3), dilation=(1, 2))


@pools
@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_short_rows(pool, width):
    for channels in (1, 8, 70):
        x = values((2, channels, 7, width), "f4")
        check_windows(f"{pool}2d", x, (7, width))
        check_windows(f"{pool}2d", x, 3, stride=1, padding_spec=1)
        check_windows(f"{pool}2d", x[:, ::-1, :, ::-1], 2, stride=2, padding_spec=1)
    check_windows(f"{pool}3d", values((2, 9, 4, 5, width), "f4"), 2, stride=1, padding_spec=1)


@pytest.mark.parametrize("pool", EXTREMES)
@pytest.mark.parametrize("dtype", representative(["f4", "f2", "u1", "i2", "?"]))
def test_the_first_of_equals_over_rows_and_columns(pool, dtype):
    for shape in ((2, 3, 9, 40), (2, 16, 9, 6)):
        x = ties(shape, dtype)
        for stride in (1, 2, 3):
            check_windows(f"{pool}2d", x, (3, 5), stride=stride, padding_spec=2)
            check_windows(f"{pool}2d", LAYOUTS["channels_last"](x), (4, 3), stride=stride, dilation=2)


@pytest.mark.parametrize("pool", EXTREMES)
def test_the_first_nan_of_volumes(pool):
    x = ties((1, 2, 4, 5, 20), "f4")
    x[:, :, ::2, 1::3, ::4] = np.nan
    check_windows(f"{pool}3d", x, (2, 3, 3), stride=(1, 1, 2), padding_spec=1)


def test_options_that_are_equal_are_not_the_same():
    """1, 1.0 and True are one key of a dictionary."""
    x = values((1, 1, 9), "f4")
    fastconv.max_pool1d(x, 2, stride=1)
    with pytest.raises(TypeError, match=r"max_pool1d.*stride"):
        fastconv.max_pool1d(x, 2, stride=1.0)
    fastconv.max_pool1d(x, (2,), stride=(1,))
    with pytest.raises(TypeError, match=r"max_pool1d.*kernel_size"):
        fastconv.max_pool1d(x, (2.0,), stride=(1,))
    kernel = np.array([2])
    assert fastconv.max_pool1d(x, kernel, stride=1).shape == (1, 1, 8)
    kernel[0] = 3
    assert fastconv.max_pool1d(x, kernel, stride=1).shape == (1, 1, 7)


# Unpooling ------------------------------------------------------------------------------------------------------------


@ranks
@pytest.mark.parametrize("options", [{}, {"stride": 3}, {"stride": 1}, {"padding_spec": 1}, {"dilation": 2}], ids=str)
def test_unpool_inverts_the_choice_of_a_max_pool(rank, options):
    """What it puts back are the maxima at their places, zeros elsewhere."""
    x = values((2, 2, *(7, 7, 9)[:rank]), "f4")
    best, at = getattr(fastconv, f"max_pool{rank}d")(x, 3, return_indices=True, **options)
    got = getattr(fastconv, f"max_unpool{rank}d")(best, at, 3, output_size=x.shape[2:], **options)
    oracle.check(got, oracle.expect_equal(oracle.max_unpool(best, at, x.shape[2:])))
    chosen = np.zeros((2, 2, x[0, 0].size), bool)
    np.put_along_axis(chosen, at.reshape(2, 2, -1), True, 2)
    np.testing.assert_array_equal(got, np.where(chosen.reshape(x.shape), x, 0))


@pytest.mark.parametrize(
    "options, size",
    [({}, 6), ({"stride": 1}, 4), ({"stride": 3, "padding_spec": 1}, 6), ({"padding_spec": ((0, 1),)}, 5)],
    ids=str,
)
def test_the_default_output_size_is_the_smallest_input(options, size):
    """(P - 1) stride + kernel - padding."""
    v, at = np.array([[[5.0, 6, 7]]]), np.array([[[0, 1, 3]]])
    got = fastconv.max_unpool1d(v, at, 2, **options)
    np.testing.assert_array_equal(got[0, 0], np.array([5.0, 6, 0, 7, 0, 0])[:size])


@pytest.mark.parametrize(
    "padding", [(0, 1), [0, 1], np.array([0, 1]), ((0, 0), (1, 1)), np.array([[0, 0], [1, 1]])], ids=repr
)
def test_padding_forms_of_unpool(padding):
    v, at = np.ones((1, 1, 2, 2)), np.arange(4).reshape(1, 1, 2, 2)
    assert fastconv.max_unpool2d(v, at, 2, padding_spec=padding).shape == (1, 1, 4, 2)


def test_a_full_shape_is_an_output_size():
    v, at = np.array([[[5.0, 6, 7]]]), np.array([[[0, 1, 6]]])
    for size in ((7,), [7], (1, 1, 7)):
        got = fastconv.max_unpool1d(v, at, 2, output_size=size)
        np.testing.assert_array_equal(got[0, 0], [5, 6, 0, 0, 0, 0, 7])


def test_the_last_of_repeated_indices_wins():
    v, at = np.arange(1.0, 9).reshape(1, 1, 2, 4), np.array([[[[3, 3, 0, 1], [3, 2, 0, 0]]]])
    got = fastconv.max_unpool2d(v, at, 1, stride=1, output_size=(2, 4))
    np.testing.assert_array_equal(got[0, 0], [[8, 4, 6, 5], [0, 0, 0, 0]])


@pytest.mark.parametrize("index", [-1, 6, 2**40, -(2**63)])
def test_indices_outside_are_refused(index):
    v, at = np.ones((1, 2, 3)), np.array([[[0, 1, 2], [0, 1, index]]])
    with pytest.raises(ValueError, match=rf"max_unpool1d.*indices.*{index}"):
        fastconv.max_unpool1d(v, at, 2)


def test_unpooling_nothing():
    got = fastconv.max_unpool1d(np.zeros((0, 2, 3)), np.zeros((0, 2, 3), int), 2)
    assert got.shape == (0, 2, 6)


def test_steps_and_pads_far_beyond_the_input():
    """Windows at -B, -B/2, 0 and at 0, B/2, B, of which only element 0 is real."""
    x, far = np.arange(1.0, 6)[None, None], 2**40
    options = {"stride": far, "padding_spec": far, "dilation": far // 2}
    best, at = fastconv.max_pool1d(x, 3, return_indices=True, **options)
    np.testing.assert_array_equal(best[0, 0], [1, 1])
    np.testing.assert_array_equal(at[0, 0], [0, 0])
    np.testing.assert_array_equal(fastconv.avg_pool1d(x, 3, **options)[0, 0], [1 / 3, 1 / 3])
    got = fastconv.avg_pool1d(x, 3, count_include_pad=False, **options)
    np.testing.assert_array_equal(got[0, 0], [1, 1])
