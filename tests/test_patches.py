"""Patches and columns against the oracle, the order of rows by hand, and the adjoint."""

import itertools
import math

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, check_windows, rng, slow, values
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv

OPTIONS = [
    {},
    {"stride": 2},
    {"stride": (2, 3)},
    {"dilation": 2},
    {"dilation": [1, 2]},
    {"padding": 1},
    {"padding": (0, 2)},
    {"padding": ((1, 0), (2, 3))},
    {"stride": 2, "dilation": (2, 1), "padding": ((0, 3), (1, 1))},
]
options_ = pytest.mark.parametrize("options", OPTIONS, ids=str)


@options_
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 2)], ids=str)
def test_extract_and_combine(options, lead):
    x = values((*lead, 6, 7), "f4")
    patches = check_windows("extract_patches", x, (3, 2), **options)
    check_windows("combine_patches", patches, (6, 7), (3, 2), **options)


@options_
@pytest.mark.parametrize("kernel", [2, (3, 2), (1, 1)], ids=str)
def test_columns(options, kernel):
    x = values((2, 3, 6, 7), "f4")
    columns = check_windows("im2col", x, kernel, **options)
    check_windows("col2im", columns, (6, 7), kernel, **options)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_ranks(rank):
    shape, kernel = (4, 3, 4, 3)[:rank], (2, 1, 3, 2)[:rank]
    x = values((2, 2, *shape), "f8")
    patches = check_windows("extract_patches", x, kernel, stride=2, padding=1)
    check_windows("combine_patches", patches, shape, kernel, stride=2, padding=1)
    columns = check_windows("im2col", x, kernel, padding=1)
    check_windows("col2im", columns, shape, kernel, padding=1)


def test_the_order_of_rows_and_columns():
    x = np.arange(1, 10).reshape(3, 3)
    want = [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    np.testing.assert_array_equal(fastconv.extract_patches(x, (2, 2)), want)
    two = np.stack([x, 10 * x])[None]
    np.testing.assert_array_equal(fastconv.im2col(two, 2)[0], [*want, *(10 * np.array(want)).tolist()])


def test_overlaps_add():
    got = fastconv.combine_patches(np.ones((4, 4), int), (3, 3), (2, 2))
    np.testing.assert_array_equal(got, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    got = fastconv.col2im(np.arange(1.0, 7)[None].reshape(1, 2, 3), (4,), 2)
    np.testing.assert_array_equal(got[0, 0], [1, 2 + 4, 3 + 5, 6])


def test_padding_is_zero_and_what_falls_into_it_is_dropped():
    np.testing.assert_array_equal(fastconv.extract_patches(np.array([7, 8]), (2,), padding=1), [[0, 7, 8], [7, 8, 0]])
    np.testing.assert_array_equal(fastconv.combine_patches(np.ones((2, 3)), (2,), (2,), padding=1), [2, 2])


def test_a_window_over_no_axes_holds_one_element():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(fastconv.extract_patches(x, ()), x[..., None, None])
    np.testing.assert_array_equal(fastconv.combine_patches(x[..., None, None], (), ()), x)
    for name in ("maximum_filter", "minimum_filter", "uniform_filter"):
        np.testing.assert_array_equal(getattr(fastconv, name)(x, ()), x)


def test_elements_that_no_patch_holds_stay_zero():
    got = fastconv.combine_patches(np.ones((2, 2)), (7,), (2,), stride=3)
    np.testing.assert_array_equal(got, [1, 1, 0, 1, 1, 0, 0])


@options_
def test_combine_is_the_adjoint_of_extract(options):
    """<extract(x), y> = <x, combine(y)>, in integers and thus exactly."""
    x = rng(1).integers(-99, 99, (2, 6, 7))
    patches = fastconv.extract_patches(x, (3, 2), **options)
    y = rng(2).integers(-99, 99, patches.shape)
    assert (patches * y).sum() == (x * fastconv.combine_patches(y, (6, 7), (3, 2), **options)).sum()


def test_a_product_with_columns_is_a_correlation():
    x, w = (rng(i).integers(-9, 9, shape).astype("f4") for i, shape in ((3, (2, 3, 6, 7)), (4, (4, 3, 3, 2))))
    for stride, dilation, padding in itertools.product([1, 2], [1, 2], [0, (1, 2)]):
        columns = fastconv.im2col(x, (3, 2), stride=stride, dilation=dilation, padding=padding)
        got = fastconv.correlate2d(x, w, stride=stride, dilation=dilation, padding_mode=padding)
        np.testing.assert_array_equal(got.reshape(2, 4, -1), w.reshape(4, -1) @ columns)


@pytest.mark.parametrize(
    "shape, kernel, padding",
    [((0, 5), (2,), 0), ((3, 0), (2,), 0), ((3, 0), (2,), 1), ((3, 0), (2,), 3), ((2, 0, 4), (3, 2), ((1, 1), (0, 0)))],
    ids=str,
)
def test_empty_inputs_follow_the_formula(shape, kernel, padding):
    x = np.zeros(shape, "f4")
    patches = check_windows("extract_patches", x, kernel, padding=padding)
    check_windows("combine_patches", patches, shape[len(shape) - len(kernel) :], kernel, padding=padding)


def test_infinities_and_nans_stay_where_they_are():
    x = values((1, 1, 5, 5), "f4")
    x[0, 0, 2, 2], x[0, 0, 0, 4] = np.nan, np.inf
    columns = check_windows("im2col", x, 2, padding=1)
    check_windows("col2im", columns, (5, 5), 2, padding=1)


@pytest.mark.parametrize("size", [15, 16, 17, 33, 65])
def test_sizes_around_vector_widths(size):
    x = values((2, 4, size), "f4")
    patches = check_windows("extract_patches", x, (2, 3), stride=(1, 2), padding=1)
    check_windows("combine_patches", patches, (4, size), (2, 3), stride=(1, 2), padding=1)


def steps(canvas, kernel, stride, dilation):
    """What each tap meets, as slices of the last axes of a padded array; and how many positions there are on each."""
    sizes = canvas.shape[canvas.ndim - len(kernel) :]
    numbers = list(zip(sizes, kernel, stride, dilation, strict=True))
    outs = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in numbers)
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        places = zip(tap, outs, stride, dilation, strict=True)
        taps.append((..., *(slice(t * d, t * d + (p - 1) * s + 1, s) for t, p, s, d in places)))
    return taps, outs


def pad(x, pads):
    return np.pad(x, [(0, 0)] * (x.ndim - len(pads)) + list(pads))


def by_slices(x, kernel, stride, dilation, pads):
    """`extract_patches` by NumPy, and its adjoint, with sums in the order of the taps."""
    canvas = pad(x, pads)
    taps, outs = steps(canvas, kernel, stride, dilation)
    lead = x.shape[: x.ndim - len(kernel)]
    patches = np.stack([canvas[tap] for tap in taps], len(lead)).reshape(*lead, len(taps), math.prod(outs))
    back = np.zeros_like(canvas)
    for i, tap in enumerate(taps):
        back[tap] += patches[(*[slice(None)] * len(lead), i)].reshape(*lead, *outs)
    crop = [slice(before, n - after) for n, (before, after) in zip(back.shape[len(lead) :], pads, strict=True)]
    return patches, back[(..., *crop)]


def check_by_slices(x, kernel, stride=1, dilation=1, pads=None):
    rank = len(kernel)
    stride, dilation = (n if isinstance(n, tuple) else (n,) * rank for n in (stride, dilation))
    pads = pads or ((0, 0),) * rank
    options = {"stride": stride, "dilation": dilation, "padding": pads}
    patches, back = by_slices(x, kernel, stride, dilation, pads)
    got = fastconv.extract_patches(x, kernel, **options)
    oracle.assert_same(got, patches, f"extract_patches({x.dtype} {x.shape}, {kernel}, {options})")
    got = fastconv.combine_patches(patches, x.shape[x.ndim - rank :], kernel, **options)
    oracle.assert_same(got, np.ascontiguousarray(back), f"combine_patches({x.dtype} {x.shape}, {kernel}, {options})")


# More than a block of positions, in every way that blocks are cut.
LARGE = [
    ((20_001,), (3,), 1, 1, ((1, 1),)),
    ((2, 9000), (4,), 3, 2, ((5, 0),)),
    ((9001,), (2,), 4500, 1, None),  # a stride that is longer than a block
    ((3, 9000), (2,), 7000, 1, None),
    ((70, 90), (3, 3), 1, 1, ((1, 1), (1, 1))),
    ((3, 65, 131), (3, 5), 2, 1, ((2, 0), (1, 3))),
    ((700, 7, 7), (3, 3), 1, 1, ((1, 1), (1, 1))),
    ((30, 5, 40, 7, 7), (3, 2), 2, 1, ((1, 0), (0, 1))),
    ((5000, 6), (3,), 1, 1, None),
    ((5000, 6), (2,), 2, 1, ((1, 1),)),
    ((3, 12, 20, 30), (2, 3, 3), (2, 1, 1), (1, 2, 1), ((0, 1), (2, 2), (1, 1))),
    ((2, 6, 5, 9, 70), (2, 1, 2, 2), (1, 2, 1, 3), 1, ((1, 0), (0, 0), (0, 2), (1, 1))),
    ((2, 3, 40, 40), (20, 20), 1, 1, None),
    ((4, 20, 30), (3, 3), 1, 1, ((40, 0), (0, 50))),  # more padding than input
    ((9, 20, 40), (1, 1), 1, 1, None),
    ((9, 20, 40), (4, 4), 4, 1, None),
]


@pytest.mark.parametrize("dtype", ["f4", slow("f8"), "u1", slow("i2"), slow("c8"), slow("c16")])
@pytest.mark.parametrize("shape, kernel, stride, dilation, pads", LARGE, ids=str)
def test_blocks(shape, kernel, stride, dilation, pads, dtype):
    check_by_slices(values(shape, dtype), kernel, stride, dilation, pads)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 37, 9, 21), (1, 5, 40, 130), (3, 18, 4, 4)], ids=str)
def test_layouts(layout, shape):
    x = values(shape, "f4")
    given = LAYOUTS[layout](x)
    for stride, pads in ((1, 1), (2, 0), ((1, 3), 2)):
        options = {"stride": stride, "padding": pads}
        want = fastconv.extract_patches(x, (3, 3), **options)
        oracle.assert_same(fastconv.extract_patches(given, (3, 3), **options), want, layout)
        back = fastconv.combine_patches(want, shape[2:], (3, 3), **options)
        got = fastconv.combine_patches(LAYOUTS[layout](want), shape[2:], (3, 3), **options)
        oracle.assert_same(got, back, layout)
        columns = LAYOUTS[layout](want).reshape(shape[0], shape[1] * 9, -1)
        oracle.assert_same(fastconv.col2im(columns, shape[2:], 3, **options), back, layout)


def test_gaps_between_windows_are_zeros_where_patches_lie_as_far_apart():
    patches = values((1, 5, 2, 1, 2, 2), "f4") + 1
    columns = np.asfortranarray(patches.reshape(1, 10, 4))
    for held in (columns, np.asfortranarray(np.repeat(columns, 2, axis=1))[:, ::2]):
        got = fastconv.col2im(held, (8, 5), (2, 1), stride=4)
        want = np.zeros((1, 5, 8, 5), "f4")
        for i, j in np.ndindex(2, 2):
            want[:, :, 4 * i : 4 * i + 2, 4 * j] = patches[:, :, :, 0, i, j]
        oracle.assert_same(got, want)


VIEWS = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1, :, ::-2],
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape)[..., ::3],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_any_steps(view):
    x = view(values((19, 21, 23), "i4"))
    check_by_slices(x, (3, 2), 1, 2, ((1, 0), (2, 1)))
    check_by_slices(x, (2, 2, 3), (1, 2, 1), 1, ((1, 0), (2, 1), (0, 0)))
    check_by_slices(np.broadcast_to(x[:1], (4, *x.shape[1:])), (3, 3), 2)


@pytest.mark.parametrize("dtype", ["f4", "u1", slow("i2"), slow("f8"), slow("c8"), slow("c16")])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
def test_columns_that_lie_apart_or_run_backwards(stride, dtype):
    """From less than a vector to several, read from arrays that end with the row."""
    for size in (1, 2, 3, 5, 7, 14, 17, 30, 65, 130):
        x = values((2, 3, 4, size), dtype)
        backwards = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
        for each in (x, backwards, np.repeat(x, 2, -1)[..., 1::2], np.repeat(x, 2, -1)[..., ::-2]):
            check_by_slices(each, (1, 1), (1, stride))
            check_by_slices(each, (2, 3), (1, stride), 1, ((1, 0), (1, 1)))


@pytest.mark.parametrize("dtype", ["f4", "u1", slow("f2"), slow("f8"), slow("c8"), slow("c16")])
@pytest.mark.parametrize("size", [(1, 7), (7, 1), (2, 3), (7, 7), (14, 14), (9, 8)], ids=str)
def test_many_small_planes(size, dtype):
    """Elements of a row have as many windows as strides, or not; planes lie next to each other, or apart."""
    x = values((2, 70, *size), dtype)
    x = np.round(x * 4) if dtype == "f2" else x  # whose sums are exact
    for each in (x, np.repeat(x, 2, 1)[:, ::3]):
        for stride in (1, 2, 3, (2, 1), (9, 9)):
            check_by_slices(each, (3, 3), stride, 1, ((1, 1), (1, 1)))
            check_by_slices(each, (1, 1), stride)
            check_by_slices(each, (1, 4), stride, 2, ((0, 0), (4, 2)))


@pytest.mark.parametrize("dtype", ["f4", "u1", slow("i2"), slow("f8"), slow("c8"), slow("c16")])
@pytest.mark.parametrize(
    "kernel, stride, dilation, pads",
    [
        ((8, 8), 8, 1, None),
        ((16, 16), 16, 1, None),
        ((5, 5), 5, 1, None),
        ((4, 4), 9, 2, None),
        ((6, 11), (2, 5), 1, None),  # squares, but columns overlap
        ((8, 8), 8, 1, ((5, 5), (0, 0))),
        ((4, 8), (1, 8), 1, ((5, 3), (0, 0))),  # rows of the window that meet nothing
        ((4, 5), (1, 6), 1, ((1, 1), (2, 3))),
        ((3, 3), (4, 6), 2, ((2, 2), (1, 5))),
        ((2, 2), 3, 1, ((1, 0), (1, 1))),
    ],
    ids=str,
)
def test_large_strides(kernel, stride, dilation, pads, dtype):
    """Taps of a row of the window at a time, or not."""
    for shape in ((3, 48, 48), (2, 3, 20, 70), (40, 20, 21), (1, 33, 300)):
        x = values(shape, dtype)
        check_by_slices(x, kernel, stride, dilation, pads)
        check_by_slices(x[..., ::-1], kernel, stride, dilation, pads)
    check_by_slices(values((2, 5, 20, 33), dtype), (3, 2, 8), (2, 1, 8), 1, ((1, 2), (0, 0), (0, 0)))


@pytest.mark.parametrize("dtype", ["f4", "u1", slow("f2"), slow("f8"), slow("c16")])
@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 3), (1, 9), (4, 4), (2, 13), (5, 15), (17, 1), (300, 3)])
def test_squares_of_a_few_positions(rows, columns, dtype):
    """Grids of fewer positions than a side, of as many and of more; apart, side by side, overlapping, in padding."""
    for taps in (4, 5, 8, 9, 13, 16, 17, 33):
        for step in {taps, max(taps - 3, 4), taps + 2}:
            size = (rows + 1, (columns - 1) * step + taps)
            check_by_slices(values((3, *size), dtype), (2, taps), (1, step))
            check_by_slices(values((2, *size), dtype), (2, taps), (1, step), 1, ((1, 0), (0, step)))


@pytest.mark.parametrize("dtype", ["f4", "u1", slow("f8"), slow("c8"), slow("c16")])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16])
def test_lines_in_turns(stride, dtype):
    """Windows of less than a turn, of whole ones and of more; rows of several blocks, of padding, and of no window."""
    for shape, rows in (((2, 9, 40), 1), ((3, 20, 300), 2), ((1, 70, 130), 5)):
        x = values(shape, dtype)
        for each in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0), np.repeat(x, 3, -1)[..., ::3]):
            for columns in (stride, stride + 1, 2 * stride):
                check_by_slices(each, (3, columns), (rows, stride), 1, ((7, 1), (0, columns + 3)))
    check_by_slices(values((2, 3, 20_000), dtype), (1, 3), (1, stride), 1, ((0, 0), (2, 0)))
    check_by_slices(values((2, 5, 4, 90), dtype), (2, 3, 3), (2, 1, stride), (2, 1, 1), ((1, 2), (1, 0), (1, 1)))


@pytest.mark.parametrize("dtype", ["f4", "u1", slow("f2"), slow("f8"), slow("c8"), slow("c16")])
def test_frames_that_overlap_and_colours_that_take_turns(dtype):
    def numbers(shape):
        return np.round(values(shape, dtype) * 4) if dtype == "f2" else values(shape, dtype)  # whose sums are exact

    for size, kernel, stride, pads in ((20_000, 400, 160, (0, 0)), (9000, 33, 10, (30, 7)), (70, 17, 9, (9, 9))):
        check_by_slices(numbers((2, size)), (kernel,), stride, 1, (pads,))
    for planes in (1, 2, 3, 4, 5):
        x = np.moveaxis(numbers((2, 40, 75, planes)), -1, 1)
        for kernel, stride in ((16, 16), (9, 6), (4, 4), (3, 2)):
            check_by_slices(x, (kernel, kernel), stride, 1, ((2, 0), (0, 3)))
    check_by_slices(numbers((12, 3, 128, 130)), (8, 8), 8)  # more than a cache holds
    for size in (9 * 11, 16 * 15, 12 * 16 + 3):  # nearly squares of taps and positions
        for kernel in (11, 12, 16):
            check_by_slices(numbers((2, 4, size)), (2, kernel), (2, kernel))


@pytest.mark.parametrize("dtype", ["f4", slow("?")])
def test_windows_apart_are_put_where_they_were(dtype):
    """Sums of one element each, and zeros where no window is, from patches in any layout."""
    for kernel, stride, padding in ((9, 9, 0), (16, 16, 4), (9, 12, 3), (10, 11, ((5, 0), (0, 9)))):
        x = rng(5).integers(0, 2, (2, 3, 50, 61)).astype(dtype)
        options = {"stride": stride, "padding": padding}
        patches = fastconv.extract_patches(x, (kernel, kernel), **options)
        kept = fastconv.extract_patches(np.ones_like(x), (kernel, kernel), **options)
        met = fastconv.combine_patches(kept, (50, 61), (kernel, kernel), **options)
        for layout in LAYOUTS.values():
            got = fastconv.combine_patches(layout(patches), (50, 61), (kernel, kernel), **options)
            oracle.assert_same(got, np.where(met, x, np.zeros_like(x)), f"{kernel} {options}")
    assert not met.all()


@pytest.mark.parametrize("dtype", ["u1", *map(slow, ["i1", "u2", "i2"])])
def test_sums_of_small_integers_wrap(dtype):
    columns = np.full((9, 40), np.iinfo(dtype).max, dtype)
    for stride, size in ((1, 42), (2, 81), (3, 120)):
        padded = ((1, 1), (0, 0))
        got = fastconv.combine_patches(columns, (1, size), (3, 3), stride=(1, stride), padding=padded)
        want = np.zeros(size, dtype)
        for tap in range(3):  # of the three rows of the window, one meets the only row that there is
            want[tap : tap + 39 * stride + 1 : stride] += columns[tap]
        np.testing.assert_array_equal(got[0], want)
    assert want.max() == np.iinfo(dtype).max  # at a stride of 3 nothing overlaps
    assert fastconv.combine_patches(np.ones((256, 1), bool), (16, 16), (16, 16)).all()
    assert fastconv.combine_patches(np.ones((300, 300), bool), (599,), (300,)).all()  # 300 of them are not 44


@given(st.data())
@settings(max_examples=60)
def test_any_window(data):
    rank, lead = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    draw = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(rank))  # noqa: E731
    kernel, stride, dilation = draw(1, 4), draw(1, 5), draw(1, 3)
    pads = tuple(zip(draw(0, 5), draw(0, 5), strict=True))
    least = [max(1, d * (k - 1) + 1 - sum(p)) for k, d, p in zip(kernel, dilation, pads, strict=True)]
    sizes = tuple(n + more for n, more in zip(least, draw(0, 20), strict=True))
    shape = (*(data.draw(st.integers(1, 20)) for _ in range(lead)), *sizes)
    order = data.draw(st.permutations(range(len(shape))))
    x = values(tuple(shape[i] for i in order), data.draw(st.sampled_from(["f4", "u1", "c8"])))
    x = x.transpose(np.argsort(order))[tuple(slice(None, None, data.draw(st.sampled_from([1, -1, -2]))) for _ in shape)]
    check_by_slices(x, kernel, stride, dilation, pads)


def test_bits_depend_on_no_threads_and_no_batch():
    x = values((6, 32, 40, 40), "f4")
    columns = fastconv.im2col(x, 3, padding=1)
    with fastconv.num_threads(1):
        alone, back = fastconv.im2col(x, 3, padding=1), fastconv.col2im(columns, (40, 40), 3, padding=1)
    for count in (2, 3):
        with fastconv.num_threads(count):
            oracle.assert_same(fastconv.im2col(x, 3, padding=1), alone, f"{count} threads")
            oracle.assert_same(fastconv.col2im(columns, (40, 40), 3, padding=1), back, f"{count} threads")
    oracle.assert_same(fastconv.col2im(columns[2:3], (40, 40), 3, padding=1), back[2:3], "one of a batch")


def test_compiled_callers_run_the_same_kernels():
    @numba.njit
    def call(x):
        columns = fastconv.im2col(x, (3, 2), stride=(1, 2), padding=((1, 1), (0, 3)))
        return columns, fastconv.col2im(columns, (40, 41), (3, 2), stride=(1, 2), padding=((1, 1), (0, 3)))

    for x in (values((3, 20, 40, 41), "f4"), values((3, 40, 41, 20), "f4").transpose(0, 3, 1, 2)):
        columns, back = call(x)
        options = {"stride": (1, 2), "padding": ((1, 1), (0, 3))}
        oracle.assert_same(columns, fastconv.im2col(x, (3, 2), **options), "im2col")
        oracle.assert_same(back, fastconv.col2im(columns, (40, 41), (3, 2), **options), "col2im")
