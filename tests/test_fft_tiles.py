"""Convolutions of many channels by transforms of tiles, asked for by name and chosen, against sums in float64."""

import itertools

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, OUT_LAYOUTS, poison, prepare_by, slow, values
from fastconv.kernels.convolution import costs, fft_tiles
from fastconv.kernels.shapes import ALGORITHMS, CONSTANT, Axis, Call, element_of

import fastconv

SINGLE, DOUBLE = "f4", slow("f8")
FFT = ALGORITHMS.index("fft")

# Shapes of inputs and kernels around the sizes of tiles, vectors and chunks of channels.
PROBLEMS = [
    ((1, 3, 16, 16), (5, 3, 5, 5), {}),  # one tile, filled
    ((1, 1, 5, 5), (1, 1, 5, 5), {}),  # one output
    ((2, 5, 13, 30), (17, 5, 5, 5), {"padding_mode": 2}),
    ((1, 4, 29, 31), (33, 4, 7, 7), {"padding_mode": "same"}),
    ((1, 2, 27, 40), (3, 2, 15, 15), {"padding_mode": "full"}),
    ((1, 2, 40, 33), (2, 2, 9, 16), {"padding_mode": ((3, 8), (0, 5))}),
    ((1, 70, 17, 18), (4, 70, 3, 3), {"padding_mode": 1}),  # three chunks of channels
    ((3, 6, 9, 21), (9, 2, 4, 6), {"groups": 3, "boundary": "reflect", "padding_mode": 3}),
    ((1, 4, 20, 21), (36, 2, 3, 5), {"groups": 2, "boundary": ("wrap", "symmetric"), "padding_mode": 4}),
    ((1, 3, 18, 18), (4, 3, 1, 6), {"boundary": "edge", "padding_mode": 2}),
    ((1, 3, 18, 18), (4, 3, 6, 1), {"fillvalue": -2, "padding_mode": 2}),
    ((2, 3, 7, 14, 15), (4, 3, 3, 5, 5), {"padding_mode": 1, "stride": (2, 1, 1), "dilation": (2, 1, 1)}),
    ((1, 40, 3, 13, 12), (2, 40, 2, 3, 3), {}),  # chunks of channels and planes
    ((1, 3, 31), (4, 3, 5), {"padding_mode": 2}),
    ((2, 3, 333), (17, 3, 31), {"padding_mode": "same", "boundary": "reflect"}),
    ((1, 34, 150), (4, 17, 16), {"groups": 2, "padding_mode": "full"}),
    ((1, 2, 701), (3, 2, 64), {"padding_mode": (70,), "boundary": "wrap"}),
    ((1, 2, 1700), (3, 2, 200), {"padding_mode": 5, "fillvalue": 1}),
    ((1, 2, 256), (3, 2, 256), {}),
]


@pytest.fixture(autouse=True)
def chosen(monkeypatch, request):
    """What is predicted to cost nothing is chosen wherever it may be, but by compiled code, which other tests have."""
    if "compiled" in request.node.name:
        return
    monkeypatch.setattr(fft_tiles, "TILES_COSTS", costs.TilesCosts(*[0.0] * 4))


def inputs(x_shape, w_shape, dtype="f4"):
    return values(x_shape, dtype), values(w_shape, dtype, 1), values(w_shape[0], dtype, 2)


def norm_bound(x, w, options):
    """What `fft_tiles` says about calls by name: so many units of roundoff times the norms of tile and kernel."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    u = np.finfo(x.dtype).eps / 2
    sizes = fft_tiles.SIZES[-1]
    rank, groups, outputs = w.ndim - 2, options.get("groups", 1), len(w)
    if rank == 1:  # rows of a signal reach into the next ones: no number is in a tile more than twice
        sizes, u = sizes**2 // 2, u * np.sqrt(2)
    pads = oracle.resolve_padding(
        x.shape[2:], w.shape[2:], (1,) * rank, (1,) * rank, options.get("padding_mode", "valid"), False
    )
    boundary = options.get("boundary", "constant")
    boundary = (boundary,) * rank if isinstance(boundary, str) else boundary
    x = oracle.pad_by_axis(x.astype(wide), pads, boundary, wide(options.get("fillvalue", 0)))
    squares = (x.reshape(len(x), groups, -1, *x.shape[2:]) ** 2).sum(2)
    # No tile reaches further from its output than this.
    flat = min(rank, 2)
    reach = [(0, 0)] * (squares.ndim - flat) + [(sizes, sizes)] * flat
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(squares, reach), (2 * sizes,) * flat, axis=tuple(range(-flat, 0))
    )
    norms = np.sqrt(windows.sum(tuple(range(-flat, 0))).max(tuple(range(2, squares.ndim))))
    kernels = np.sqrt((w.astype(wide) ** 2).reshape(groups, outputs // groups, -1).sum(-1))
    bound = fft_tiles.ERROR * u * norms[:, :, None] * kernels
    return bound.reshape(len(x), outputs, *(1,) * rank)


def call(operation, x, w, *, algorithm, bias=None, out=None, fillvalue=0, **options):
    """Run this family, whatever others would take the call."""
    given = {"algorithm": algorithm, "has_bias": bias is not None} | options
    run, shape, dtype = prepare_by("fft_tiles", operation, x, w, **given)
    out = poison(shape, dtype) if out is None else out
    run(x, w, bias, np.full(1, fillvalue, dtype), out)
    return out


def check_named(operation, x, w, **options):
    got = call(operation, x, w, algorithm="fft", **options)
    expected = getattr(oracle, operation)(x, w, **{k: v for k, v in options.items() if k != "out"})
    bound = norm_bound(x, w, options) + expected.bound
    error = abs(got - expected.value)
    assert (error <= bound).all(), f"{error.max()} at {np.argmax(error)}, {x.shape} {w.shape} {options}"
    return got


def expect(x, w, padding):
    """What the oracle says of planes and signals padded with zeros, by matrix products: it takes seconds for them."""
    if x.ndim == 3:
        value, bound, dtype = expect(np.pad(x, ((0, 0), (0, 0), (padding,) * 2))[:, :, None], w[:, :, None], 0)
        return oracle.Expected(value[:, :, 0], bound[:, :, 0], dtype)
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    windows, w = windows.transpose(0, 2, 3, 1, 4, 5), w.astype(np.float64).reshape(len(w), -1)
    matrix = windows.reshape(-1, w.shape[1])
    with np.errstate(all="ignore"):
        value, magnitude = (
            (a @ b.T).reshape(*windows.shape[:3], len(w)).transpose(0, 3, 1, 2)
            for a, b in ((matrix, w), (abs(matrix), abs(w)))
        )
    return oracle.Expected(value, oracle.rounding_bound(w.shape[1], magnitude, np.dtype("f4")), np.dtype("f4"))


def check_chosen(x, w, padding):
    """The bound that "auto" keeps: four times that of direct sums, output by output."""
    expected = expect(x, w, padding)
    oracle.check(
        call("correlate", x, w, algorithm="auto", padding_mode=padding), expected._replace(bound=4 * expected.bound)
    )


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
@pytest.mark.parametrize("operation", ["correlate", "convolve"])
def test_by_name(operation, dtype):
    for x_shape, w_shape, options in PROBLEMS:
        check_named(operation, *inputs(x_shape, w_shape, dtype)[:2], **options)


def test_arrays_of_any_strides():
    x, w, bias = inputs((2, 48, 25, 29), (32, 24, 6, 5))
    options = {"groups": 2, "padding_mode": 2}
    want = check_named("convolve", x, w, **options)
    for layout in OUT_LAYOUTS:
        out = LAYOUTS[layout](poison(want.shape, "f4"))
        got = call("convolve", LAYOUTS[layout](x), LAYOUTS[layout](w), algorithm="fft", out=out, **options)
        np.testing.assert_array_equal(got, want, err_msg=layout)
        got = call("convolve", LAYOUTS[layout](x), w, algorithm="auto", bias=bias, **options)
        np.testing.assert_array_equal(got, call("convolve", x, w, algorithm="auto", bias=bias, **options))


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "tanh"])
def test_bias_and_activation(activation):
    x, w, bias = inputs((1, 12, 27, 26), (18, 12, 5, 5))
    w /= 10
    for algorithm in ("fft", "auto"):
        got = call("correlate", x, w, algorithm=algorithm, bias=bias, activation=activation)
        expected = oracle.correlate(x, w, bias=bias, activation=activation)
        oracle.check(got, expected._replace(bound=4 * expected.bound))
        strided = LAYOUTS["stepped"](poison(got.shape, "f4"))
        call("correlate", x, w, algorithm=algorithm, bias=bias[::-1][::-1], activation=activation, out=strided)
        np.testing.assert_array_equal(strided, got)


def test_the_bits_depend_on_neither_threads_nor_batch():
    for shape, kernels, options in (
        ((5, 40, 30, 40), (70, 40, 5, 5), {"padding_mode": 2}),
        ((3, 2, 60, 70), (40, 2, 15, 15), {}),
        ((2, 12, 4, 20, 20), (34, 12, 2, 5, 5), {"padding_mode": 1}),
        ((2, 40, 900), (34, 40, 31), {"padding_mode": 1}),
    ):
        x, w, _ = inputs(shape, kernels)
        x[-1, 0, ..., 5:9] = 1e6  # tiles that are summed directly
        for algorithm in ("fft", "auto"):
            with fastconv.num_threads(1):
                want = call("correlate", x, w, algorithm=algorithm, **options)
                for n in range(len(x)):
                    alone = call("correlate", x[n : n + 1], w, algorithm=algorithm, **options)
                    np.testing.assert_array_equal(alone[0], want[n])
            for threads in (2, 3):
                with fastconv.num_threads(threads):
                    np.testing.assert_array_equal(call("correlate", x, w, algorithm=algorithm, **options), want)


@numba.njit
def compiled(x, w):
    return fastconv.correlate2d(x, w, padding_mode=2, algorithm="fft"), fastconv.correlate2d(x, w, padding_mode=2)


def test_from_compiled_code():
    x, w, _ = inputs((2, 16, 30, 29), (17, 16, 5, 5))
    x[1, :, 20:] = 0
    by_name, chosen = compiled(x, w)
    np.testing.assert_array_equal(by_name, fastconv.correlate2d(x, w, padding_mode=2, algorithm="fft"))
    np.testing.assert_array_equal(chosen, fastconv.correlate2d(x, w, padding_mode=2))


@numba.njit
def strided(x, w):
    return fastconv.correlate2d(x, w, algorithm="fft", stride=2)


def test_compiled_code_is_told_what_is_not_taken():
    with pytest.raises(
        ValueError, match=r"algorithm is 'fft', which cannot .* fft_tiles: the numbers are computed in another"
    ):
        strided(values((1, 1, 8, 8), "u1"), values((1, 1, 3, 3), "u1"))


def uneven_inputs():
    """Inputs of which some windows are far below the others, or kernels of which some taps are."""
    x, w, _ = inputs((1, 24, 28, 29), (32, 24, 5, 5))
    ramp = 10.0 ** np.linspace(-20, 20, x.shape[-1]).astype("f4")
    yield "ramp", x * ramp, w
    yield "ramp down", x * ramp[:28, None][::-1], w
    yield "kernels of a ramp", x, w * (10.0 ** np.linspace(-15, 15, 25).reshape(5, 5)).astype("f4")
    outlier = x.copy()
    outlier[0, 7, 13, 3] = 1e8
    yield "outlier", outlier, w
    islands = np.zeros_like(x)
    islands[0, 3, 4, 5], islands[0, 11, 20:23, 17:] = 1, x[0, 11, 20:23, 17:]
    yield "islands", islands, w
    board = 1e6 * (-1.0) ** np.add.outer(np.arange(28), np.arange(29)) + x
    yield "checkerboard", board.astype("f4"), w
    half = x.copy()
    half[..., 14:] *= 1e-4
    yield "two levels", half, w
    identity = np.zeros_like(w)
    identity[range(24), range(24), 2, 2] = 1
    yield "identity", x, identity
    yield "identity of an outlier", outlier, identity
    edges = w * (abs(w) > 1)
    yield "kernels with zeros", x, edges
    yield "kernels with zeros of two levels", half, edges
    for scale in (1e-45, 1e-38, 1e-30, 1e-22, 1e-15, 1e15, 1e18, 1e30):
        yield f"scale {scale}", x * np.float32(scale), w
        yield f"kernels of scale {scale}", x, w * np.float32(scale)
    yield "tiny both", x * np.float32(1e-18), w * np.float32(1e-18)
    yield "one channel", x * (np.arange(24) == 5)[:, None, None], w
    yield "plain", x, w


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("rank", [1, 2])
def test_what_is_chosen_is_as_good_as_direct_sums(rank, padding):
    for name, x, w in uneven_inputs():
        if rank == 1:
            x, w = x.reshape(*x.shape[:2], -1), w.reshape(*w.shape[:2], -1)
        try:
            check_chosen(x.astype("f4"), w.astype("f4"), padding)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def test_without_the_guard_it_would_not_be():
    """By name there is none for finite numbers: the same data break the bound."""
    broken = []
    for name, x, w in uneven_inputs():
        x, w = x.astype("f4"), w.astype("f4")
        expected = expect(x, w, 0)
        if (abs(call("correlate", x, w, algorithm="fft") - expected.value) > 4 * expected.bound).any():
            broken.append(name)
    assert {"ramp", "outlier", "islands", "two levels", "identity"} <= set(broken)


def test_even_numbers_are_transformed():
    """The bits of a call by name: nothing of normal numbers is summed directly, of those with many zeros little."""
    x, w, _ = inputs((1, 64, 28, 28), (16, 64, 5, 5))
    for data, part in ((x, 1.0), (abs(x), 1.0), (np.maximum(x, 0), 0.9)):
        same = call("correlate", data, w, algorithm="auto", padding_mode=2) == call(
            "correlate", data, w, algorithm="fft", padding_mode=2
        )
        assert same.mean() >= part


def test_zeros_are_exact():
    x, w, _ = inputs((1, 24, 28, 29), (32, 24, 5, 5))
    x[..., :20] = 0
    for algorithm in ("auto", "fft"):
        assert not call("correlate", 0 * x, w, algorithm=algorithm, padding_mode=2).any()
        assert not call("correlate", x, 0 * w, algorithm=algorithm).any()
    assert not call("correlate", x, w, algorithm="auto")[..., :16].any()


@pytest.mark.parametrize("algorithm", ["auto", "fft"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_its_windows_alone(value, algorithm):
    clean, w, _ = inputs((1, 24, 28, 29), (32, 24, 5, 5))
    bound = norm_bound(clean, w, {"padding_mode": 2})
    for place in itertools.product((0, 5, 11, 12, 15, 16, 27), (0, 11, 13, 28)):
        x = clean.copy()
        x[(0, place[0] % 24, *place)] = value
        got = call("correlate", x, w, algorithm=algorithm, padding_mode=2)
        expected = expect(x, w, 2)
        oracle.check(got, expected._replace(bound=expected.bound + bound))
    for place in ((0, 0, 0, 0), (3, 23, 4, 4), (31, 5, 2, 1)):
        kernels = w.copy()
        kernels[place] = value
        got = call("correlate", clean, kernels, algorithm=algorithm, padding_mode=2)
        oracle.check(got, expect(clean, kernels, 2))


@pytest.mark.parametrize("algorithm", ["auto", "fft"])
def test_tiles_of_packed_rows_are_summed_where_they_are(algorithm):
    """Rows that are not read in place are packed whole, with masks for padding; a tile begins within."""
    clean, w, _ = inputs((1, 64, 25, 29), (16, 64, 5, 5))
    x = LAYOUTS["reversed"](clean.copy())
    x[0, 0, 14, 20] = np.inf
    x[0, 3, 20, 2] = np.nan
    got = call("correlate", x, w, algorithm=algorithm, padding_mode=2)
    expected = expect(x, w, 2)
    oracle.check(got, expected._replace(bound=expected.bound + norm_bound(clean, w, {"padding_mode": 2})))


def axis(size, kernel, padding):
    return Axis(size, kernel, 1, 1, padding, padding, CONSTANT, size + 2 * padding - kernel + 1)


def test_every_plan_fits_the_workspace():
    tried = itertools.product(
        (1, 3, 900),
        (1, 7, 40, 700),
        (1, 30, 33, 2000),
        ((1, 3), (1, 5), (1, 8), (1, 9), (1, 16), (3, 3), (4, 16), (24, 5)),
        (0, 8),
        (16, 61, 3000),
        ("float32", "float64"),
    )
    for batch, channels, outputs, (depth, kernel), padding, size, dtype in tried:
        element = element_of(dtype)
        for columns in (size, 5000):
            axes = axis(depth + 2, depth, 0), axis(size, kernel, padding), axis(columns, kernel, padding)
            problem = Call(batch, 2, channels, outputs, 3, 0, 0, 0, FFT)
            assert not fft_tiles.refuses(problem, axes, element)
            blocks = fft_tiles.choose_blocks(problem, axes, fft_tiles.choose_size(problem, axes), element.itemsize)
            places = fft_tiles.find_places(problem, axes, blocks)
            assert places.end * element.itemsize <= fft_tiles.SPECTRA_BYTES, (problem, axes, blocks)
            assert fft_tiles.fits_strip(*axes, blocks, blocks.strip, blocks.columns, element.itemsize), (problem, axes)
            plane = fft_tiles.slab_layout(*axes, blocks.size, blocks.strip, blocks.columns).plane
            slabs = blocks.planes * -(-blocks.rows // blocks.strip)
            assert slabs * (plane + 15) <= fft_tiles.POSITIONS
            assert blocks.planes * blocks.rows * blocks.columns <= fft_tiles.TILES


@pytest.mark.parametrize(
    "x_shape, w_shape, dtype, options, reason",
    [
        ((1, 2, 300), (2, 2, 257), "f4", {}, "the kernel has 257 taps, expected 256 or fewer"),
        ((1, 2, 30, 30), (2, 2, 5, 5), "f4", {"stride": 2}, "expected stride and dilation 1"),
        ((1, 2, 30, 30), (2, 2, 17, 5), "f4", {}, "the kernel is 1 by 17 by 5, expected 16 by 16 or less"),
        ((1, 2, 30, 30), (2, 2, 5, 5), "i4", {}, "the numbers are integers, expected floating-point ones"),
    ],
)
def test_what_it_does_not_take(x_shape, w_shape, dtype, options, reason):
    with pytest.raises(ValueError, match=f"fft_tiles.*{reason}"):
        call("correlate", values(x_shape, dtype), values(w_shape, dtype, 1), algorithm="fft", **options)
