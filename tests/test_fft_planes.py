"""Products of spectra for large kernels: right for any shape, and never worse than "auto" promises."""

import itertools

import numpy as np
import oracle
import pytest
from cases import LAYOUTS, prepare_by, rng, slow, values
from fastconv.kernels.convolution import costs, fft_blocks, fft_guard, fft_planes

import fastconv

AUTO_FACTOR = 4  # of what direct sums may err, output by output


@pytest.fixture(autouse=True)
def chosen(monkeypatch):
    """What is predicted to cost nothing is chosen wherever it may be."""
    monkeypatch.setattr(fft_planes, "PLANES_COSTS", costs.PlanesCosts(*[0.0] * 3))
    monkeypatch.setattr(fft_planes, "LEAST", 0)


def check(operation, x, w, algorithm="fft", **options):
    """Hold a result against the oracle: no error is more than `AUTO_FACTOR` times what direct sums are allowed."""
    expected = getattr(oracle, operation)(x, w, **options)
    got = getattr(fastconv, f"{operation}_nd")(x, w, algorithm=algorithm, **options)
    oracle.check(got, expected._replace(bound=AUTO_FACTOR * expected.bound), f"{x.shape} {w.shape} {options}")
    return got


def prepare(x, w, **options):
    """Have this family run a call, as "auto" would."""
    prepare_by("fft_planes", "correlate", x, w, **options)


def takes(x, w, **options):
    """Whether "auto" leaves a call to this family."""
    try:
        prepare(x, w, **options)
    except ValueError:
        return False
    return True


SHAPES = [
    ((1, 1, 100, 130), (1, 1, 31, 31), {}),
    ((2, 2, 40, 50), (4, 1, 17, 16), {"groups": 2, "padding_mode": "full", "boundary": "reflect"}),
    ((1, 1, 300, 290), (2, 1, 20, 40), {"padding_mode": ((3, 0), (0, 11)), "fillvalue": 2, "activation": "relu"}),
    ((1, 1, 90, 90), (1, 1, 9, 25), {"stride": (3, 2), "padding_mode": "same", "boundary": "wrap"}),
    ((1, 1, 90, 90), (1, 1, 9, 15), {"dilation": (2, 3), "padding_mode": "same"}),
    ((1, 1, 1), (1, 1, 1), {}),
    ((1, 1, 1, 9), (1, 1, 3, 3), {"padding_mode": 5, "boundary": "symmetric"}),
    ((1, 3, 6, 40, 37), (2, 3, 3, 7, 9), {"padding_mode": "same", "stride": (2, 1, 1)}),
    ((2, 1, 5000), (1, 1, 300), {}),
    ((1, 2, 900), (3, 2, 700), {"padding_mode": "full", "stride": 3, "boundary": "edge"}),
    ((1, 1, 9, 600), (1, 1, 1, 250), {"padding_mode": "same"}),
    ((1, 1, 600, 9), (1, 1, 200, 1), {}),
    ((1, 1, 8000), (1, 1, 250), {"dilation": 7, "stride": 2}),
    # Kernels that are cut into pieces.
    ((1, 1, 3, 1200), (1, 1, 3, 600), {"padding_mode": "same"}),
    ((1, 1, 700, 40), (1, 1, 600, 3), {"dilation": (1, 9), "boundary": "wrap", "padding_mode": 5}),
    ((1, 1, 150050), (1, 1, 150000), {"stride": 2}),
]


@pytest.mark.parametrize("dtype", ["f4", *map(slow, ["c8", "f8", "c16"])])
def test_shapes(dtype):
    for (x_shape, w_shape, options), operation in zip(SHAPES, itertools.cycle(["correlate", "convolve"])):
        if np.dtype(dtype).kind == "c":
            options = {name: option for name, option in options.items() if name != "activation"}
        x, w = values(x_shape, dtype), values(w_shape, dtype, 1)
        check(operation, x, w, **options)
        check(operation, x, w, bias=values(w_shape[0], dtype, 2), **options)


@pytest.mark.parametrize("dtype", ["f4", slow("c8")])
@pytest.mark.parametrize("algorithm", ["auto", "fft"])
@pytest.mark.parametrize(
    "size, kernel, padding",
    [
        ((27, 27), (16, 16), (20, 20)),
        ((28, 97), (1, 1), (3, 0)),
        ((600,), (230,), (400,)),
        ((18, 9), (15, 15), (0, 30)),
    ],
    ids=str,
)
def test_padding_wider_than_kernels(size, kernel, padding, algorithm, dtype):
    """The last windows begin behind what a block holds, and where no element is met, the sum is 0 but for rounding."""
    x, w = values((1, 1, *size), dtype), values((1, 1, *kernel), dtype, 1)
    expected = oracle.correlate(x, w, padding_mode=padding)
    bound = expected.bound if algorithm == "auto" else np.full_like(expected.bound, expected.bound.max())
    got = fastconv.correlate_nd(x, w, algorithm=algorithm, padding_mode=padding)
    oracle.check(got, expected._replace(bound=AUTO_FACTOR * bound))


def test_layouts():
    x, w = values((2, 2, 60, 70), "f4"), values((2, 1, 16, 18), "f4", 1)
    expected = fastconv.correlate2d(x, w, groups=2, algorithm="fft")
    for view in LAYOUTS.values():
        if not view(expected).dtype.isnative:
            continue
        out = view(np.zeros_like(expected))
        got = fastconv.correlate2d(view(x), view(w), groups=2, algorithm="fft", out=out)
        assert got is out
        np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_converted_inputs():
    x, w = rng(1).integers(0, 256, (2, 2, 60, 70)).astype("u1"), values((2, 1, 16, 18), "f4", 1)
    expected = fastconv.correlate2d(x.astype("f4"), w, groups=2, algorithm="fft")
    np.testing.assert_array_equal(fastconv.correlate2d(x, w, groups=2, algorithm="fft", dtype="f4"), expected)


def test_bits_do_not_depend_on_threads_or_batch():
    x, w = values((3, 1, 500, 300), "f4"), values((2, 1, 21, 30), "f4", 1)
    with fastconv.num_threads(1):
        expected = fastconv.correlate2d(x, w, padding_mode="same", algorithm="fft")
    with fastconv.num_threads(2):
        got = [fastconv.correlate2d(x, w, padding_mode="same", algorithm="fft") for _ in range(5)]
    for each in got:
        np.testing.assert_array_equal(each, expected)
    for n in range(3):
        alone = fastconv.correlate2d(x[n : n + 1], w, padding_mode="same", algorithm="fft")
        np.testing.assert_array_equal(alone, expected[n : n + 1])


def spoil(name, x):
    """Data that a transform would spread over what lies around it."""
    x, last = x.copy(), x.shape[-1]
    if name == "ramp":
        x *= np.exp(np.linspace(-46, 46, last)).astype(x.dtype)
    elif name == "spike":
        x[..., last // 2] = 1e8
    elif name == "zeros":
        x[..., last // 4 : 3 * last // 4] = 0
    elif name == "island":
        x[..., : last // 2] = 0
        x[..., last // 2 + 2 :] = 0
    elif name == "checkerboard":
        x += 1e6 * (-1.0) ** np.indices(x.shape).sum(0)
    elif name == "subnormal":
        x *= x.real.dtype.type(1e-38)
    elif name == "huge":
        x *= x.real.dtype.type(1e30)
    elif name == "nothing":
        x[...] = 0
    elif name != "even":
        x[..., last // 3] = np.inf
        x[..., last // 2] = np.nan
    return x.astype(x.dtype)


SPOILED = "even", "ramp", "spike", "zeros", "island", "checkerboard", "subnormal", "huge", "nothing", "infinite"


def kernels_of(shape, dtype):
    """Weights of all kinds: noise, a bell, a box, a single one, and one that outweighs the others."""
    bell = np.ones(shape)
    for axis in range(2, len(shape)):
        n = shape[axis]
        bell *= np.exp(-(((np.arange(n) - n // 2) / (n / 6)) ** 2) / 2).reshape([-1] + [1] * (len(shape) - axis - 1))
    single = np.zeros(shape)
    single[(0, 0, *(n // 3 for n in shape[2:]))] = 1
    return [each.astype(dtype) for each in (values(shape, dtype, 1), bell, np.ones(shape), single, 1 + 1e6 * single)]


@pytest.mark.parametrize("dtype", ["f4", slow("f8"), slow("c8")])
@pytest.mark.parametrize("name", SPOILED)
def test_no_output_is_worse_than_auto_promises(name, dtype):
    for x_shape, w_shape, options in [
        ((1, 1, 100, 110), (1, 1, 20, 23), {"padding_mode": "same"}),
        ((1, 1, 4000), (1, 1, 260), {"padding_mode": "full", "boundary": "reflect"}),
        ((1, 1, 4000), (1, 1, 1300), {"stride": 3}),
        ((1, 2, 3, 70, 80), (1, 2, 2, 25, 23), {"padding_mode": "same"}),
    ]:
        x = spoil(name, values(x_shape, dtype))
        for w in kernels_of(w_shape, dtype):
            assert takes(x, w, **options)
            check("correlate", x, w, algorithm="auto", **options)


@pytest.mark.parametrize("columns", [27, 28, 29, 30])
def test_the_guard_looks_at_pieces_of_kernels(columns):
    """Each in blocks of its own: half of the windows meet nothing but zeros, or are weighed by them."""
    for seed in range(5):
        x, w = values((1, 1, 12, 44), "f4", seed), values((1, 1, 11, columns), "f4", seed + 1)
        x[..., :22], w[..., (columns + 1) // 2 :] = 0, 0
        assert takes(x, w)
        check("correlate", x, w, algorithm="auto")


def test_positive_images_pass_the_guard():
    x = rng(3).random((1, 1, 300, 300)).astype("f4")
    direct = fastconv.correlate2d(x, np.ones((1, 1, 25, 25), "f4"), algorithm="direct")
    for w in kernels_of((1, 1, 25, 25), "f4")[:3]:
        check("correlate", x, w, algorithm="auto", padding_mode="same")
        named = fastconv.correlate2d(x, w, algorithm="fft")
        np.testing.assert_array_equal(fastconv.correlate2d(x, w), named)  # nothing was summed directly
    assert (named != direct).any()


def test_the_guard_is_needed():
    """Asked for by name, nothing stands between a spike and what lies in its block."""
    x = spoil("spike", values((1, 1, 4000), "f4"))
    w = values((1, 1, 260), "f4", 1)
    expected = oracle.correlate(x, w)
    error = abs(fastconv.correlate1d(x, w, algorithm="fft") - expected.value)
    assert (error > AUTO_FACTOR * expected.bound).any()


@pytest.mark.parametrize("algorithm", ["auto", "fft"])
def test_what_is_not_finite_reaches_its_windows_only(algorithm):
    w = values((1, 1, 17, 19), "f4", 1)
    for at in [(0, 0), (35, 57), (69, 79), (16, 18)]:
        for value in (np.nan, np.inf):
            x = values((1, 1, 70, 80), "f4")
            x[0, 0, *at] = value
            got = check("correlate", x, w, algorithm=algorithm)
            i, j = np.indices(got.shape[2:])
            meets = (i <= at[0]) & (at[0] < i + 17) & (j <= at[1]) & (at[1] < j + 19)
            np.testing.assert_array_equal(~np.isfinite(got[0, 0]), meets)
    x = values((1, 2, 700), "f4")
    x[0, 1, 300] = np.nan
    w = values((1, 2, 240), "f4", 2)
    w[0, 0, 3] = np.inf
    check("correlate", x[:, 1:], w[:, 1:], algorithm=algorithm)
    if algorithm == "fft":
        check("correlate", x, w, algorithm=algorithm)
    x, w = values((1, 1, 60, 70), "f4"), values((1, 1, 17, 24), "f4", 1)
    for at in [(0, 0), (59, 69)]:  # blocks whose end and beginning are the same elements of padding
        spoiled = x.copy()
        spoiled[0, 0, *at] = np.inf
        for options in ({"fillvalue": 3}, {"fillvalue": np.nan}, {"padding_mode": ((2, 9), (20, 3))}):
            check("correlate", spoiled, w, algorithm=algorithm, **({"padding_mode": "same"} | options))


def test_refusals(monkeypatch):
    monkeypatch.undo()
    x, w = np.zeros((1, 1, 90, 90), "f4"), np.zeros((1, 1, 31, 31), "f4")
    refused = "algorithm is 'fft', which cannot do this call: .*fft_planes: "
    with pytest.raises(ValueError, match=f"{refused}the numbers are integers, expected floating-point ones"):
        fastconv.correlate2d(x.astype(int), w.astype(int), algorithm="fft")
    with pytest.raises(ValueError, match=f"{refused}the numbers are computed in another type"):
        fastconv.correlate2d(x.astype("f2"), w.astype("f2"), algorithm="fft")
    with pytest.raises(ValueError, match=f"{refused}sums have no channel, more than 4, or gaps"):
        fastconv.correlate2d(x[:, :0], w[:, :0], algorithm="fft")
    assert takes(x, w)
    many = np.zeros((1, 5, 90, 90), "f4"), np.zeros((1, 5, 31, 31), "f4")
    for arrays, options, why in [
        (many, {}, "sums have no channel, more than 4"),
        ((x, w), {"dilation": 2}, "gaps between their terms"),
        ((x, w[:, :, :14, :14]), {}, "the kernel has 14 x 14 taps in a plane, expected 225 or more"),
        (
            (x[:, :, :32, :32], w),
            {},
            "the plane is small, of fewer than 2000000 multiply-adds",
        ),
    ]:
        with pytest.raises(ValueError, match=f"fft_planes cannot do this call: .*{why}"):
            prepare(*arrays, **options)


def test_plans_fit_the_workspace():
    for dtype in ("f4", "f8", "c8", "c16"):
        for x_shape, w_shape in [
            ((1, 1, 2000, 2000), (1, 1, 31, 31)),
            ((1, 1, 2000, 2000), (1, 1, 200, 200)),
            ((1, 1, 1000000), (1, 1, 20000)),
            ((1, 9, 300000), (1, 9, 30000)),
            ((1, 40, 9, 99, 99), (1, 40, 5, 31, 31)),
            ((1, 1, 10000000), (1, 1, 5000000)),
            ((1, 1, 2000, 2000), (1, 1, 1500, 1000)),
            ((1, 1, 300, 4000), (1, 1, 20, 420)),
        ]:
            plan, part = plan_of(x_shape, w_shape, dtype)
            areas = fft_blocks.find_areas(plan, part)
            end = areas.spectra + plan.spectra * areas.spectrum
            assert 0 < end * part <= fft_planes.WORKSPACE_BYTES, (dtype, x_shape, w_shape, plan)
            reach = 64 if plan.is_line else plan.taps2 // plan.cell  # cells that it sums beside tiles
            assert 2 * fft_guard._CHUNK + reach <= areas.twiddles - areas.buffer, (dtype, x_shape, w_shape, plan)


def plan_of(x_shape, w_shape, dtype):
    from fastconv.dispatch import facts_of
    from fastconv.problem import convolution

    x, w = (
        np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, (0,) * len(shape)) for shape in (x_shape, w_shape)
    )
    options = 1, 1, "valid", 1, "constant", None, "fft", False
    facts = facts_of(convolution("correlate_nd", x, w, np.dtype(dtype), None, False, *options))
    return fft_planes.choose_plan(*facts), facts[2].itemsize // (2 if facts[2].is_complex else 1)
