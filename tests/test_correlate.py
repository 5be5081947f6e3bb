"""Every option of ``correlate*`` and ``convolve*`` against the oracle, through every algorithm there is."""

import itertools

import numpy as np
import pytest
from cases import ALGORITHMS, LAYOUTS, OUT_LAYOUTS, check_convolution, poison, representative, ties, values
from fastconv.kernels.shapes import ACTIVATIONS, BOUNDARIES

import fastconv

SIZES = {1: (9,), 2: (6, 7), 3: (5, 4, 6), 4: (3, 4, 3, 5)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 1), 4: (2, 1, 3, 2)}

operations = pytest.mark.parametrize("operation", ["correlate", "convolve"])
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)


def problem(rank, channels=2, outputs=3, groups=1, dtype="f4", batch=2):
    x = values((batch, channels, *SIZES[rank]), dtype)
    return x, values((outputs, channels // groups, *KERNELS[rank]), dtype, 1)


@operations
@algorithms
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_defaults(operation, algorithm, rank):
    check_convolution(operation, *problem(rank), algorithm=algorithm)


@operations
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_nd_reads_the_rank_from_the_kernel(operation, rank):
    x, w = problem(rank)
    named = getattr(fastconv, f"{operation}{rank}d")(x, w, stride=2, padding_mode=1)
    any_rank = getattr(fastconv, f"{operation}_nd")(x, w, stride=2, padding_mode=1)
    np.testing.assert_array_equal(any_rank, named)
    check_convolution(operation, x, w, stride=2, padding_mode=1)


@operations
@algorithms
@pytest.mark.parametrize(
    "padding",
    ["valid", "full", "same", 0, 1, 5, (2, 0), (0, 1), [1, 2], ((1, 2), (3, 0)), [[0, 0], [0, 4]], ((1, 1), (2, 2))],
    ids=str,
)
def test_padding_forms(operation, algorithm, padding):
    check_convolution(operation, *problem(2), padding_mode=padding, algorithm=algorithm)


@operations
@pytest.mark.parametrize(
    "padding", [(3,), ((1, 2),), [[0, 3]], np.int64(2), np.array(2), np.array([2]), np.array([[2, 1]])], ids=repr
)
def test_padding_forms_of_one_axis(operation, padding):
    check_convolution(operation, *problem(1), padding_mode=padding)


@operations
@pytest.mark.parametrize(
    "size, kernel, stride, dilation", list(itertools.product([1, 4, 5], [1, 2, 3, 4], [1, 2, 3], [1, 2]))
)
def test_same(operation, size, kernel, stride, dilation):
    x, w = values((1, 1, size), "f4"), values((1, 1, kernel), "f4", 1)
    got = check_convolution(operation, x, w, padding_mode="same", stride=stride, dilation=dilation)
    assert got.shape[2] == -(-size // stride)


@operations
@algorithms
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("padding", [1, ((2, 0), (0, 3)), "same", "full"], ids=str)
def test_boundaries(operation, algorithm, boundary, padding):
    check_convolution(
        operation, *problem(2), boundary=boundary, padding_mode=padding, fillvalue=-2, algorithm=algorithm
    )


@operations
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pads_wider_than_the_input(operation, boundary, size):
    x, w = values((1, 2, size), "f4"), values((1, 2, 2), "f4", 1)
    for pads in (((7, 0),), ((0, 8),), ((11, 5),)):
        check_convolution(operation, x, w, boundary=boundary, padding_mode=pads, fillvalue=3)


@operations
@pytest.mark.parametrize("boundary", list(itertools.product(BOUNDARIES, repeat=2)), ids="-".join)
def test_one_boundary_per_axis(operation, boundary):
    check_convolution(operation, *problem(2), boundary=boundary, padding_mode=((2, 3), (1, 2)), fillvalue=1.5)


def test_one_boundary_per_axis_of_a_volume():
    check_convolution("correlate", *problem(3), boundary=["wrap", "constant", "reflect"], padding_mode=2, fillvalue=-1)


@operations
@algorithms
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2), [3, 1], (7, 9), np.int32(2)], ids=str)
@pytest.mark.parametrize("dilation", [1, 2, (1, 3), (4, 1)], ids=str)
def test_strides_and_dilations(operation, algorithm, stride, dilation):
    x, w = values((2, 2, 9, 8), "f4"), values((3, 2, 3, 2), "f4", 1)
    check_convolution(operation, x, w, stride=stride, dilation=dilation, algorithm=algorithm)


@operations
@pytest.mark.parametrize("stride", [(1, 2, 3), 2])
@pytest.mark.parametrize("boundary", ["constant", ("wrap", "edge", "reflect")])
def test_everything_at_once_in_three_axes(operation, stride, boundary):
    x, w = values((2, 6, 6, 5, 7), "f4"), values((4, 3, 2, 3, 2), "f4", 1)
    bias = values(4, "f4", 2)
    check_convolution(
        operation,
        x,
        w,
        groups=2,
        stride=stride,
        dilation=(2, 1, 3),
        padding_mode=((1, 0), (2, 2), (0, 3)),
        boundary=boundary,
        fillvalue=0.5,
        bias=bias,
        activation="silu",
    )


@operations
@algorithms
@pytest.mark.parametrize(
    "channels, outputs, groups", [(4, 4, 4), (3, 6, 3), (4, 2, 2), (6, 3, 3), (4, 8, 2), (5, 7, 1), (1, 1, 1)]
)
@pytest.mark.parametrize("rank", [1, 2])
def test_groups(operation, algorithm, rank, channels, outputs, groups):
    x, w = problem(rank, channels, outputs, groups)
    check_convolution(operation, x, w, groups=groups, padding_mode=1, algorithm=algorithm)


@operations
@algorithms
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_bias(operation, algorithm, rank):
    check_convolution(operation, *problem(rank), bias=values(3, "f4", 2), algorithm=algorithm)


def test_bias_takes_any_layout_and_array_likes():
    x, w = problem(2)
    bias = values(6, "f4", 2)
    for b in (
        bias[::2],
        bias[::-2],
        bias[:3].tolist(),
        np.broadcast_to(np.float32(2), 3),
        bias[:3].astype("f8"),
        [1, 2, 3],
    ):
        check_convolution("correlate", x, w, bias=b)


@pytest.mark.parametrize(
    "fillvalue", [1, -2.5, np.float64(0.1), np.int8(3), True, float("inf"), float("nan"), np.array(2.0)]
)
def test_fill_values(fillvalue):
    check_convolution("correlate", *problem(2), padding_mode=((1, 0), (0, 2)), fillvalue=fillvalue)


@pytest.mark.parametrize(
    "dtype, fillvalue",
    [("f4", 2**100), ("f8", 10**308), ("f8", -(2**64)), ("u8", 2**64 - 1), ("i8", -(2**63))],
    ids=lambda v: str(v)[:9],
)
def test_large_integers_as_fill_values(dtype, fillvalue):
    one = np.ones((1, 1, 1), dtype)
    got = fastconv.correlate1d(one, one, padding_mode=1, fillvalue=fillvalue)
    np.testing.assert_array_equal(got[0, 0], np.array([fillvalue, 1, fillvalue], dtype))


def test_the_fill_value_belongs_to_the_results_dtype():
    x, w = values((1, 1, 1, 1, 1, 4), "u1"), values((1, 1, 1, 1, 1, 3), "i2", 1)  # a kernel that compiles soon
    options = {"padding_mode": (0, 0, 0, 2)}
    check_convolution("correlate", x, w, fillvalue=-10_000, **options)
    check_convolution("correlate", x, w.astype("f8"), fillvalue=0.25, **options)
    check_convolution("correlate", x.astype("f4"), w.astype("c8"), fillvalue=1 - 2j, **options)


@operations
@algorithms
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_activations(operation, algorithm, activation, dtype):
    x, w = problem(2, dtype=dtype)
    check_convolution(operation, 2 * x, w, activation=activation, bias=values(3, dtype, 2), algorithm=algorithm)


@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_activations_of_large_and_special_values(activation):
    """A kernel of one 1 leaves the activation alone; the ends are where naive formulas overflow."""
    x = np.array([-1e4, -800, -100, -30, -9, -6, -1, -1e-3, -0.0, 1e-6, 0.5, 3, 6, 7, 90, 800, 1e4, np.nan], "f4")[
        None, None
    ]
    check_convolution("correlate", x, np.ones((1, 1, 1), "f4"), activation=activation)
    check_convolution("correlate", x.astype("f8"), np.ones((1, 1, 1), "f8"), activation=activation)


@pytest.mark.parametrize(
    "activation, ends", [("relu", (0, np.inf)), ("relu6", (0, 6)), ("tanh", (-1, 1)), ("sigmoid", (0, 1))]
)
def test_activations_of_infinity(activation, ends):
    x = np.array([-np.inf, np.inf])[None, None]
    got = fastconv.correlate1d(x, np.ones((1, 1, 1)), activation=activation)
    np.testing.assert_array_equal(got[0, 0], ends)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("dtype", representative(["i1", "i2", "u1", "u2", "i8"]))
def test_clipping_activations_take_integers(activation, dtype):
    check_convolution("correlate", *problem(2, dtype=dtype), activation=activation)


@operations
@algorithms
@pytest.mark.parametrize("layout", OUT_LAYOUTS)
def test_out(operation, algorithm, layout):
    x, w = problem(2)
    store = LAYOUTS[layout](poison((2, 3, 4, 6), "f4"))
    check_convolution(operation, x, w, out=store, algorithm=algorithm)


@algorithms
def test_out_writes_nothing_beside_itself(algorithm):
    x, w = problem(2)
    store = np.full((4, 5, 9, 13), 7, "f4")
    view = store[1:3, 1:4, 2:6, 12:0:-2]
    check_convolution("correlate", x, w, out=view, algorithm=algorithm, bias=values(3, "f4", 2), activation="relu")
    view[...] = 7
    assert (store == 7).all()


def test_out_with_an_activation_and_groups():
    x, w = problem(2, 4, 4, 2)
    out = np.empty((2, 4, 4, 6), "f4")
    check_convolution("correlate", x, w, groups=2, bias=values(4, "f4", 2), activation="gelu", out=out)


def test_out_is_overwritten_each_time():
    x, w = problem(2)
    out = np.full((2, 3, 4, 6), np.nan, "f4")
    first = fastconv.correlate2d(x, w, out=out).copy()
    np.testing.assert_array_equal(fastconv.correlate2d(x, w, out=out), first)
    check_convolution("correlate", -x, w, out=out)


@operations
@algorithms
@pytest.mark.parametrize(
    "x_shape, w_shape, options",
    [
        ((0, 2, 5, 6), (3, 2, 2, 2), {}),
        ((0, 2, 0, 6), (3, 2, 2, 2), {}),
        ((2, 2, 0, 6), (3, 2, 2, 2), {}),
        ((2, 2, 6, 0), (3, 2, 9, 9), {}),
        ((2, 2, 0, 0), (3, 2, 2, 2), {"padding_mode": "full"}),
        ((2, 2, 0, 5), (3, 2, 2, 2), {"padding_mode": 3, "boundary": "wrap"}),
        ((2, 2, 0, 5), (3, 2, 2, 2), {"padding_mode": "same", "stride": 2}),
        ((2, 16, 0, 5), (16, 1, 2, 2), {"groups": 16}),
        ((2, 16, 5, 0), (16, 1, 1, 2), {"groups": 16, "stride": 2}),
        ((2, 16, 0), (16, 1, 1), {"groups": 16}),
    ],
    ids=str,
)
def test_empty_inputs_give_empty_results(operation, algorithm, x_shape, w_shape, options):
    x, w = np.zeros(x_shape, "f4"), np.ones(w_shape, "f4")
    got = check_convolution(operation, x, w, algorithm=algorithm, bias=np.ones(len(w), "f4"), **options)
    assert got.size == 0


@operations
@algorithms
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_kernel_of_one_element_and_an_input_of_one(operation, algorithm, rank):
    x, w = problem(rank)
    check_convolution(operation, x, w[(..., *(slice(0, 1),) * rank)], algorithm=algorithm)
    cut = tuple(slice(0, k) for k in w.shape[2:])
    check_convolution(operation, x[(..., *cut)], w, algorithm=algorithm)
    one = x[(..., *(slice(0, 1),) * rank)]
    check_convolution(operation, one, w, padding_mode="same", algorithm=algorithm)


@operations
@algorithms
@pytest.mark.parametrize("size", [15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100])
def test_sizes_around_vector_widths(operation, algorithm, size):
    x, w = values((1, 3, size), "f4"), values((5, 3, 4), "f4", 1)
    check_convolution(operation, x, w, algorithm=algorithm)
    check_convolution(operation, x, w, algorithm=algorithm, stride=2, padding_mode=1)


@algorithms
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5, 8, 12, 13, 17])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_channel_counts_around_register_tiles(algorithm, channels, outputs):
    x, w = values((1, channels, 7, 19), "f4"), values((outputs, channels, 3, 3), "f4", 1)
    check_convolution("correlate", x, w, algorithm=algorithm, padding_mode="same")


@pytest.mark.parametrize("width", [98_303, 98_304, 120_000])
@pytest.mark.parametrize("padding", [0, 1, ((0, 0), (2, 1))])
def test_rows_longer_than_any_block(width, padding):
    """They are read where they lie, with masks for what padding adds."""
    x, w = values((1, 4, 2, width), "f4"), values((8, 2, 1, 3), "f4", 1)
    check_convolution("correlate", x, w, groups=2, padding_mode=padding)


@algorithms
def test_a_reduction_that_is_longer_than_any_block(algorithm):
    x, w = values((1, 300, 6, 5), "f4"), values((3, 300, 3, 3), "f4", 1)
    check_convolution("correlate", x, w, algorithm=algorithm)


@algorithms
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("boundary", ["constant", "wrap"])
def test_a_non_finite_value_reaches_exactly_the_windows_that_hold_it(algorithm, bad, boundary):
    x, w = values((2, 3, 8, 9), "f4"), values((2, 3, 3, 3), "f4", 1)
    for at in [(0, 0, 0, 0), (1, 2, 7, 8), (0, 1, 4, 5)]:
        spoiled = x.copy()
        spoiled[at] = bad
        check_convolution("correlate", spoiled, w, algorithm=algorithm, padding_mode=1, boundary=boundary)
        check_convolution("correlate", spoiled, w, algorithm=algorithm, stride=2, dilation=2)


@algorithms
def test_non_finite_kernels_and_biases(algorithm):
    x, w = problem(2)
    w[1, 0, 1, 1] = np.inf
    check_convolution("correlate", x, w, algorithm=algorithm, padding_mode=2)
    check_convolution("correlate", *problem(2), algorithm=algorithm, bias=np.array([np.nan, np.inf, 1], "f4"))


@pytest.mark.slow
@operations
@algorithms
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_combination_of_options(operation, algorithm, rank):
    x, w = problem(rank, 4, 4, 2)
    for padding, boundary, stride, dilation, activation in itertools.product(
        ["valid", "full", "same", 2], BOUNDARIES, [1, 2, 3], [1, 2], [None, "relu"]
    ):
        if dilation == 2 and padding == "valid" and rank == 3:
            continue  # does not fit
        check_convolution(
            operation,
            x,
            w,
            groups=2,
            padding_mode=padding,
            boundary=boundary,
            stride=stride,
            dilation=dilation,
            activation=activation,
            algorithm=algorithm,
        )


@operations
@algorithms
def test_no_channels_and_no_outputs(operation, algorithm):
    """A sum over nothing is 0, and then there is the bias."""
    bias = values(3, "f4", 2)
    check_convolution(operation, np.zeros((2, 0, 5), "f4"), np.zeros((3, 0, 2), "f4"), bias=bias, algorithm=algorithm)
    check_convolution(operation, values((2, 3, 5), "f4"), np.zeros((0, 3, 2), "f4"), algorithm=algorithm)


class Step:
    """An int to `operator.index`, of which `repr` says nothing."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value

    def __repr__(self):
        return "Step()"


@pytest.mark.parametrize("option", ["stride", "dilation", "padding_mode", "groups"])
def test_a_call_does_not_take_over_the_options_of_one_that_looks_alike(option):
    x, w = ties((1, 4, 12), "f4"), ties((4, 2 if option == "groups" else 4, 3), "f4", 1)  # sums are exact
    for value in (2, 1) if option == "groups" else (1, 2, 3):
        if option == "groups" and value == 1:
            w = ties((4, 4, 3), "f4", 1)
        got = fastconv.correlate1d(x, w, **{option: Step(value)})
        np.testing.assert_array_equal(got, fastconv.correlate1d(x, w, **{option: value}))
    step = Step(1)
    first = fastconv.correlate1d(x, w, stride=step)
    step.value = 2
    np.testing.assert_array_equal(fastconv.correlate1d(x, w, stride=step), first[:, :, ::2])


def test_equal_options_of_other_types_are_still_refused():
    """1.0 and True equal 1, and a call with 1 may have been kept."""
    x, w = problem(1)
    check_convolution("correlate", x, w, stride=1, dilation=1, groups=1)
    for option in ("stride", "dilation", "groups"):
        with pytest.raises(TypeError, match=f"{option} is 1.0, expected an int"):
            fastconv.correlate1d(x, w, **{option: 1.0})
        with pytest.raises(TypeError, match=f"{option} is '1', expected an int"):
            fastconv.correlate1d(x, w, **{option: "1"})


def test_a_call_is_not_taken_for_one_of_other_dtypes_or_shapes():
    x, w = problem(1)
    for dtype in ("f4", "f8", "u1", ">f4", "f4"):
        check_convolution("correlate", *problem(1, dtype=dtype))
    check_convolution("correlate", x, w, bias=np.zeros(3, "f4"))
    check_convolution("correlate", x, w)
    check_convolution("correlate", x, w, fillvalue=2, padding_mode=1)
    check_convolution("correlate", x, w, padding_mode=1)
    check_convolution("correlate", x[:, :, :7], w)


def _source(i, size, boundary):
    """Where padded coordinate ``i`` is read from, in Python's own integers; None: the fill value."""
    if 0 <= i < size:
        return i
    if boundary == "constant":
        return None
    if boundary == "edge":
        return 0 if i < 0 else size - 1
    if boundary == "wrap":
        return i % size
    period = 2 * size if boundary == "symmetric" else 2 * size - 2
    i %= period
    return i if i < size else period - i - (boundary == "symmetric")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    "stride, dilation, before, after",
    [(2**40, 1, 2**40, 2**40), (2**40 + 1, 2**40, 3 * 2**40, 3 * 2**40), (2**39, 2**40 - 1, 2**41 + 5, 1)],
)
def test_steps_and_pads_far_beyond_the_input(boundary, stride, dilation, before, after):
    """Few outputs of an input that would be terabytes if it were padded."""
    x, w = [1, 2, 3, 4, 5], [1, 10, 100]
    got = fastconv.correlate1d(
        np.array([[x]], "f8"),
        np.array([[w]], "f8"),
        stride=stride,
        dilation=dilation,
        padding_mode=((before, after),),
        boundary=boundary,
        fillvalue=7,
    )
    want = []
    for p in range((5 + before + after - 2 * dilation - 1) // stride + 1):
        at = [_source(p * stride + k * dilation - before, 5, boundary) for k in range(3)]
        want.append(sum(weight * (7 if i is None else x[i]) for weight, i in zip(w, at, strict=True)))
    np.testing.assert_array_equal(got[0, 0], want)


@operations
@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS[2:]])
def test_more_axes_than_anyone_needs(operation, algorithm):
    x, w = values((2, 2, 3, 2, 3, 1, 2, 3), "f4"), values((2, 2, 2, 1, 2, 1, 2, 3), "f4", 1)
    check_convolution(operation, x, w, algorithm=algorithm)


@pytest.mark.parametrize("before, after", [(1, 0), (0, 1), (3, 2)])
def test_one_plane_with_padding_around_it(before, after):
    """An output may meet padding alone, though there is one of them, of one tap."""
    x, w = values((1, 1, 1, 4, 5), "f4"), values((1, 1, 1, 1, 1), "f4", 1)
    for size in ((1, 1), (4, 5)):
        padding = ((before, after), (0, 0), (0, 0))
        check_convolution("correlate", x[..., : size[0], : size[1]], w, stride=(9, 1, 1), padding_mode=padding)
