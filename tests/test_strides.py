"""Views are read, and outputs written, in place: every layout of every argument gives the same result."""

import numpy as np
import oracle
import pytest
from cases import (
    ALGORITHMS,
    LAYOUTS,
    OUT_LAYOUTS,
    check_convolution,
    check_windows,
    noise,
    poison,
    prepare_by,
    rng,
    slow,
    unaligned,
    values,
)

import fastconv

DTYPES = ["f4", "f8", "u1", "c8", slow("i2"), slow("f2")]

every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@every_layout
@every_dtype
@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_inputs_and_kernels(layout, dtype, algorithm):
    view = LAYOUTS[layout]
    x, w = values((2, 3, 6, 7), dtype), values((4, 3, 2, 3), dtype, 1)
    for a, b in ((view(x), w), (x, view(w)), (view(x), view(w))):
        check_convolution("correlate", a, b, algorithm=algorithm)
        check_convolution("convolve", a, b, algorithm=algorithm, padding_mode="same", stride=(2, 1), boundary="wrap")


@every_layout
@pytest.mark.parametrize("rank", [1, 3, 4])
def test_other_ranks(layout, rank):
    view = LAYOUTS[layout]
    x, w = values((2, 2, 5, 4, 3, 3)[: 2 + rank], "f4"), values((3, 2, 2, 3, 2, 1)[: 2 + rank], "f4", 1)
    check_convolution("correlate", view(x), view(w), padding_mode=1, dilation=2, stride=2)


@pytest.mark.parametrize("layout", OUT_LAYOUTS)
@every_dtype
@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_outputs(layout, dtype, algorithm):
    x, w = values((2, 4, 6, 7), dtype), values((4, 2, 2, 3), dtype, 1)
    out = LAYOUTS[layout](poison((2, 4, 5, 5), dtype))
    check_convolution("correlate", x, w, groups=2, bias=values(4, dtype, 2), out=out, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_broadcast_inputs(algorithm, axis):
    """Stride 0: one stored plane, channel, row or element that stands for many."""
    shape = [2, 3, 6, 7]
    shape[axis] = 1
    x = np.broadcast_to(values(shape, "f4"), (2, 3, 6, 7))
    assert x.strides[axis] == 0
    w = values((4, 3, 2, 3), "f4", 1)
    check_convolution("correlate", x, w, algorithm=algorithm, padding_mode=1)
    w = np.broadcast_to(w[:1, :1], (4, 3, 2, 3))
    check_convolution("correlate", x, w, algorithm=algorithm)


def test_a_scalar_broadcast_to_everything():
    x, w = np.broadcast_to(np.float32(2), (2, 3, 6, 7)), np.broadcast_to(np.float32(3), (4, 3, 2, 2))
    got = check_convolution("correlate", x, w, bias=np.broadcast_to(np.float32(1), 4))
    assert (got == 2 * 3 * 12 + 1).all()


def test_sliding_windows_as_input():
    """Elements that overlap in memory."""
    x = np.lib.stride_tricks.sliding_window_view(values(20, "f4"), 7)[None, None]
    check_convolution("correlate", x, values((2, 1, 3, 3), "f4", 1), padding_mode=1)
    check_windows("max_pool2d", x, 3, padding_spec=1)


@pytest.mark.parametrize("axes", [(0, 1, 3, 2), (1, 0, 2, 3), (3, 2, 1, 0), (0, 3, 1, 2), (2, 3, 0, 1)])
def test_permuted_axes(axes):
    shape = (2, 3, 6, 7)
    x = values([shape[axes.index(i)] for i in range(4)], "f4").transpose(axes)
    assert x.shape == shape
    check_convolution("correlate", x, values((4, 3, 2, 3), "f4", 1))
    for name in ("max_pool2d", "avg_pool2d"):
        check_windows(name, x, 2, stride=1, padding_spec=1)
    check_windows("im2col", x, 2)


def test_the_same_array_as_input_and_kernel():
    x = values((3, 3, 4, 4), "f4")
    check_convolution("correlate", x, x, padding_mode=1)
    check_convolution("convolve", x, x[:, :, ::-1], padding_mode="same")


def test_real_and_imaginary_parts_and_fields():
    z = values((2, 3, 6, 7), "c16")
    check_convolution("correlate", z.real, z.imag[:, :, :2, :2])
    record = np.zeros((2, 3, 6, 7), [("tag", "u1"), ("value", "f4")])
    record["value"] = values((2, 3, 6, 7), "f4")
    view = record["value"]
    assert view.strides[-1] == 5
    check_convolution("correlate", view, values((2, 3, 3, 3), "f4", 1))
    check_convolution("correlate", view, values((2, 3, 3, 3), "f4", 1), algorithm="im2col", stride=2)
    check_windows("max_pool2d", view, 2)
    check_windows("avg_pool2d", view, 2)
    check_windows("extract_patches", view, (2, 2))
    out = np.zeros((2, 2, 4, 5), record.dtype)["value"]
    check_convolution("correlate", view, values((2, 3, 3, 3), "f4", 1), out=out)


@every_layout
@every_dtype
def test_pools_patches_and_filters(layout, dtype):
    view = LAYOUTS[layout]
    x = view(values((2, 3, 6, 7), dtype))
    check_windows("avg_pool2d", x, (2, 3), stride=1, padding_spec=1, count_include_pad=False)
    check_windows("uniform_filter", x, (2, 2))
    patches = check_windows("extract_patches", x, (3, 2), stride=2, padding=1)
    check_windows("combine_patches", view(patches), (6, 7), (3, 2), stride=2, padding=1)
    columns = check_windows("im2col", x, 2, dilation=2)
    check_windows("col2im", view(columns), (6, 7), 2, dilation=2)
    if dtype[0] != "c":
        check_windows("max_pool2d", x, (2, 3), stride=1, padding_spec=1)
        check_windows("min_pool2d", x, 2, ceil_mode=True)
        check_windows("maximum_filter", x, (2, 2))
        check_windows("minimum_filter", x, (3,), stride=1)


@every_layout
def test_unpooling(layout):
    import oracle

    import fastconv

    view = LAYOUTS[layout]
    v, at = values((2, 3, 3, 2), "f4"), rng(1).integers(0, 24, (2, 3, 3, 2))
    for a, b in ((view(v), at), (v, view(at)), (view(v), view(at))):
        got = fastconv.max_unpool2d(a, b, 2)
        oracle.check(got, oracle.expect_equal(oracle.max_unpool(v, at, (6, 4))))


def test_volumes_of_any_layout_in_one_dimension_pools():
    x = unaligned(values((2, 3, 12), "f8"))[:, ::-1, ::-2]
    for name in ("max_pool1d", "min_pool1d", "avg_pool1d"):
        check_windows(name, x, 3, stride=1, padding_spec=1)


@pytest.mark.parametrize("algorithm", ["direct", "winograd", "fft"])
def test_larger_layers_have_the_same_bits_in_any_layout(algorithm):
    x, w = values((2, 24, 30, 31), "f4"), values((32, 24, 3, 3), "f4", 1)
    expected = fastconv.correlate2d(x, w, padding_mode=1, algorithm=algorithm)
    for name, layout in LAYOUTS.items():
        got = fastconv.correlate2d(layout(x), layout(w), padding_mode=1, algorithm=algorithm)
        np.testing.assert_array_equal(got, expected, err_msg=name)


# Groups of more than three outputs that direct sums read in place, in slabs with masks or without: x, w, options.
FEW_OUTPUTS = {
    "in place": ((2, 5, 9, 40), (4, 5, 3, 3), {}),
    "masks": ((2, 24, 15, 31), (10, 12, 3, 3), {"padding_mode": 1, "groups": 2, "activation": "relu"}),
    "slabs": ((2, 6, 15, 31), (5, 6, 3, 5), {"padding_mode": (0, 9), "dilation": (1, 2)}),
    "steps": ((1, 24, 15, 31), (5, 24, 3, 3), {"padding_mode": 1, "stride": 2}),
    "reduction in blocks": ((2, 400, 1, 297), (5, 400, 1, 2), {"padding_mode": (0, 1)}),
}


@pytest.mark.parametrize("case", FEW_OUTPUTS)
def test_direct_sums_of_more_than_three_outputs_have_the_same_bits_in_any_layout(case):
    x_shape, w_shape, options = FEW_OUTPUTS[case]
    x, w, bias = noise(x_shape, "f4"), noise(w_shape, "f4", 1), noise(w_shape[:1], "f4", 2)
    run, shape, dtype = prepare_by("direct", "correlate", x, w, has_bias=True, **options)
    expected, fill = np.empty(shape, dtype), np.zeros(1, dtype)
    run(x, w, bias, fill, expected)
    oracle.check(expected, oracle.correlate(x, w, bias=bias, **options), case)
    for name in OUT_LAYOUTS:
        layout = LAYOUTS[name]
        for out in (np.empty(shape, dtype), layout(np.zeros(shape, dtype))):
            run(layout(x), layout(w), bias, fill, out)
            np.testing.assert_array_equal(out, expected, err_msg=name)
