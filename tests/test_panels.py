"""Kernels of one tap with many output channels, whose tiles read panels: copies of a few vectors of all channels."""

import numpy as np
import oracle
import pytest
from cases import noise, prepare_by, run_by, values
from fastconv.kernels.convolution.direct import BAND, PANEL_OUTPUTS, TABLE_ENTRIES
from fastconv.kernels.convolution.direct import PANEL_CHANNELS as CHANNELS
from test_strides import LAYOUTS, OUT_LAYOUTS

import fastconv

LAYERS = {  # x, w, options
    "few": ((1, CHANNELS, 5, 7), (4 * BAND, CHANNELS, 1, 1), {}),
    "outputs that do not fill a band": ((2, 100, 9, 11), (PANEL_OUTPUTS + 5, 100, 1, 1), {}),
    "outputs of two rounds": ((1, 97, 14, 14), (2 * PANEL_OUTPUTS + 4 * BAND, 97, 1, 1), {}),
    "a step": ((2, 99, 13, 17), (50, 99, 1, 1), {"stride": (2, 3)}),
    "padding": ((2, 96, 6, 21), (44, 96, 1, 1), {"padding_mode": (1, 2)}),
    "groups": ((3, 200, 8, 8), (72, 100, 1, 1), {"groups": 2}),
    "a signal of two slabs": ((1, 98, 700), (40, 98, 1), {}),
    "a volume": ((1, 99, 3, 4, 30), (36, 99, 1, 1, 1), {"stride": (1, 2, 1)}),
    "kernels 4 KiB apart": ((1, 1024, 4, 33), (36, 1024, 1, 1), {}),
    "channels of two blocks": ((1, TABLE_ENTRIES + CHANNELS, 2, 9), (40, TABLE_ENTRIES + CHANNELS, 1, 1), {}),
    "too few channels in the second": ((1, TABLE_ENTRIES + 1, 2, 9), (40, TABLE_ENTRIES + 1, 1, 1), {}),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_sums(layer):
    x_shape, w_shape, options = LAYERS[layer]
    x, w, bias = values(x_shape, "f4"), values(w_shape, "f4", 1), values(w_shape[:1], "f4", 2)
    oracle.check(run_by("direct", x, w, bias, **options), oracle.correlate(x, w, bias=bias, **options), layer)
    oracle.check(run_by("direct", x, w, **options), oracle.correlate(x, w, **options), layer)


@pytest.mark.parametrize("dtype", ["f8", "c8", "i4", "f2"])
@pytest.mark.parametrize("layer", ["outputs that do not fill a band", "padding"])
def test_sums_of_other_types(layer, dtype):
    x_shape, w_shape, options = LAYERS[layer]
    x, w = values(x_shape, dtype), values(w_shape, dtype, 1)
    oracle.check(run_by("direct", x, w, **options), oracle.correlate(x, w, **options), f"{layer}, {dtype}")


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_sums_are_clamped(activation):
    x_shape, w_shape, options = LAYERS["outputs that do not fill a band"]
    x, w, bias = noise(x_shape, "f4"), noise(w_shape, "f4", 1), noise(w_shape[:1], "f4", 2)
    clamped = run_by("direct", x, w, bias, activation=activation, **options)
    most = {"relu": np.inf, "relu6": 6}[activation]
    np.testing.assert_array_equal(clamped, run_by("direct", x, w, bias, **options).clip(0, np.float32(most)))


@pytest.mark.parametrize("layer", [name for name, (*_, options) in LAYERS.items() if "groups" not in options])
def test_bits_are_those_of_a_few_outputs_alone(layer):
    x_shape, w_shape, options = LAYERS[layer]
    x, w, bias = noise(x_shape, "f4"), noise(w_shape, "f4", 1), noise(w_shape[:1], "f4", 2)
    together = run_by("direct", x, w, bias, **options)
    for first in range(0, len(w), 3 * BAND):
        few = slice(first, first + 3 * BAND)
        alone = run_by("direct", x, w[few], bias[few], **options)
        np.testing.assert_array_equal(together[:, few].view(np.uint32), alone.view(np.uint32))


@pytest.mark.parametrize("layer", LAYERS)
def test_bits_are_those_of_any_layout_and_number_of_threads(layer):
    x_shape, w_shape, options = LAYERS[layer]
    x, w, bias = noise(x_shape, "f4"), noise(w_shape, "f4", 1), noise(w_shape[:1], "f4", 2)
    run, shape, dtype = prepare_by("direct", "correlate", x, w, has_bias=True, **options)
    expected, fill = run_by("direct", x, w, bias, **options), np.zeros(1, dtype)
    for name in OUT_LAYOUTS:
        layout = LAYOUTS[name]
        for out in (np.empty(shape, dtype), layout(np.zeros(shape, dtype))):
            run(layout(x), layout(w), bias, fill, out)
            np.testing.assert_array_equal(out.view(np.uint32), expected.view(np.uint32), err_msg=name)
    with fastconv.num_threads(2):
        np.testing.assert_array_equal(run_by("direct", x, w, bias, **options), expected)


def test_what_is_not_finite_stays_where_it_is():
    x, w = noise((1, CHANNELS, 6, 9), "f4"), noise((4 * BAND, CHANNELS, 1, 1), "f4", 1)
    x[0, 3, 2, 4], w[7, 5] = np.nan, np.inf
    got = run_by("direct", x, w, padding_mode=1)
    oracle.check(got, oracle.correlate(x, w, padding_mode=1))
    assert np.isnan(got[0, 7, 0]).all()  # padding of zeros times infinity
