"""Layers of a few outputs an image: positions of several rows, planes and images lie in one register tile."""

import numpy as np
import oracle
import pytest
from cases import noise, run_by, values
from test_functional import expect_transposed

import fastconv
from fastconv import functional

LAYERS = {  # x, w, options: with borders and without, images that do not fill a block, kernels that do not fit in one
    "one output": ((17, 20, 3, 3), (40, 20, 3, 3), {}),
    "2x2": ((20, 24, 2, 2), (33, 24, 3, 3), {"padding_mode": 1}),
    "2x2 with steps": ((5, 40, 4, 4), (17, 40, 3, 3), {"padding_mode": 1, "stride": 2}),
    "3x5": ((9, 8, 3, 5), (20, 8, 5, 3), {"padding_mode": (2, 1), "dilation": (1, 2)}),
    "groups": ((6, 32, 4, 3), (34, 16, 3, 3), {"padding_mode": 1, "groups": 2}),
    "rows": ((4, 16, 2, 27), (18, 16, 3, 3), {"padding_mode": 1}),
    "1-D": ((33, 30, 7), (40, 30, 5), {"padding_mode": 2}),
    "volumes": ((7, 16, 4, 4, 4), (20, 16, 3, 3, 3), {"padding_mode": 1}),
    "low volumes": ((3, 9, 12, 2, 3), (17, 9, 3, 2, 3), {"padding_mode": (1, 0, 1), "stride": (2, 1, 1)}),
    "many channels": ((3, 300, 4, 4, 2), (16, 300, 3, 3, 3), {"padding_mode": 1}),
    "volumes apart": ((3, 8, 9, 5, 5), (20, 8, 3, 2, 2), {"dilation": (2, 1, 1), "stride": (1, 3, 2)}),
}
ARE_PACKED = {"boundary": "edge"}, {"boundary": "wrap"}


@pytest.mark.parametrize("layer", LAYERS)
def test_sums(layer):
    x_shape, w_shape, options = LAYERS[layer]
    x, w, bias = values(x_shape, "f4"), values(w_shape, "f4", 1), values(w_shape[:1], "f4", 2)
    channels_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    expected = oracle.correlate(x, w, bias=bias, **options)
    for each in (x, channels_last, x[::-1][::-1]):
        oracle.check(run_by("dense", each, w, bias, **options), expected, layer)
    for more in ARE_PACKED if "padding_mode" in options else ():
        oracle.check(
            run_by("dense", x, w, **options, **more), oracle.correlate(x, w, **options, **more), f"{layer}, {more}"
        )
    half = x.astype("f2")  # is converted, so it is packed
    oracle.check(run_by("dense", half, w, **options), oracle.correlate(half, w, **options), f"{layer}, converted")


@pytest.mark.parametrize("layer", LAYERS)
def test_bits_are_those_of_each_image_alone(layer):
    x_shape, w_shape, options = LAYERS[layer]
    x, w = noise(x_shape, "f4", 0), noise(w_shape, "f4", 1)
    for more in ({}, *ARE_PACKED):
        together = run_by("dense", x, w, **options, **more)
        with fastconv.num_threads(2):
            shared = run_by("dense", x, w, **options, **more)
        alone = np.concatenate([run_by("dense", x[n : n + 1], w, **options, **more) for n in range(len(x))])
        np.testing.assert_array_equal(together.view(np.uint32), alone.view(np.uint32))
        np.testing.assert_array_equal(together.view(np.uint32), shared.view(np.uint32))


@pytest.mark.parametrize("layer", [name for name, (*_, options) in LAYERS.items() if "padding_mode" in options])
def test_padding_times_what_is_not_finite(layer):
    x_shape, w_shape, options = LAYERS[layer]
    x, w = values(x_shape, "f4"), values(w_shape, "f4", 1)
    for tap in {0, w[0].size // 2, w[0].size - 1}:  # in a corner of a window, and in its middle
        for value in (np.inf, np.nan):
            spoilt = w.copy()
            spoilt[3].flat[tap] = value
            oracle.check(
                run_by("dense", x, spoilt, **options), oracle.correlate(x, spoilt, **options), f"{layer}, {tap}"
            )


@pytest.mark.parametrize("shape", [(9, 20, 3, 3), (5, 20, 1, 2), (2, 20, 7, 4)])
def test_transposed(shape):
    x, w = values(shape, "f4"), values((20, 18, 4, 5), "f4", 1)
    got = functional.conv_transpose2d(x, w, None, (2, 3), (1, 2), (1, 0))
    oracle.check(got, expect_transposed(x, w, None, (2, 3), (1, 2), (1, 0), 1, (1, 1)))
    parts = [functional.conv_transpose2d(x[n : n + 1], w, None, (2, 3), (1, 2), (1, 0)) for n in range(len(x))]
    np.testing.assert_array_equal(got.view(np.uint32), np.concatenate(parts).view(np.uint32))
