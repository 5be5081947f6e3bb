"""Axes of one or two elements, with every padding and step around them, beside others that are longer or short as well.

Such an axis is easily taken for one that counts for nothing, by kernels that take fewer axes for it; an output may
meet padding alone all the same.
"""

import itertools

import numpy as np
import oracle
import pytest
from cases import check_windows, prepare_by, values
from fastconv.kernels.convolution.choose import FAMILIES
from test_functional import expect_transposed
from test_grad import expect_gradient
from test_grad_weights import expected as expect_weights

import fastconv.functional as F
import fastconv.grad as G

# size, kernel, stride, padding before and after
AXES = [
    (size, kernel, stride, before, after)
    for size, kernel, stride, before, after in itertools.product((1, 2), (1, 2), (1, 3), (0, 1, 2), (0, 1, 2))
    if size + before + after >= kernel
]
OTHERS = [((4, 2, 1, 0, 1), (5, 3, 2, 1, 0)), ((1, 1, 1, 0, 0), (1, 1, 1, 0, 0)), ((1, 1, 2, 1, 0), (6, 2, 1, 0, 0))]
LAYERS = [(1, 1, 1), (2, 1, 2), (1, 3, 5), (1, 17, 20)]  # groups, channels and outputs of each
BOUNDARIES = "constant", "edge"


def axes_of(place):
    """Every short axis at this place among three."""
    for short, others in itertools.product(AXES, OTHERS):
        yield zip(*others[:place], short, *others[place:], strict=True)


places = pytest.mark.parametrize("place", [0, 1, 2])


@places
def test_every_family_of_convolutions(place):
    played = dict.fromkeys((family.name for family in FAMILIES), 0)
    for number, (sizes, kernel, stride, *pads) in enumerate(axes_of(place)):
        groups, channels, outputs = LAYERS[number % len(LAYERS)]
        x = values((1, groups * channels, *sizes), "f4")
        w = values((groups * outputs, channels, *kernel), "f4", 1)
        for boundary in BOUNDARIES:
            options = {"groups": groups, "stride": stride, "boundary": boundary}
            options["padding_mode"] = tuple(zip(*pads, strict=True))
            expected = oracle.correlate(x, w, **options)
            for family in played:
                try:
                    run, shape, dtype = prepare_by(family, "correlate", x, w, **options)
                except ValueError:
                    continue
                out = np.full(shape, np.nan, dtype)
                run(x, w, None, np.zeros(1, dtype), out)
                times = 8 if family.startswith(("winograd", "fft")) else 1
                bound = np.full_like(expected.bound, times * expected.bound.max()) if times > 1 else expected.bound
                oracle.check(out, expected._replace(bound=bound), f"{family} {x.shape} {w.shape} {options}")
                played[family] += 1
    assert min(played[name] for name in ("depthwise", "dense", "direct", "generic")) > 50, played


@places
def test_windows(place):
    for sizes, kernel, stride, *pads in axes_of(place):
        x, padding = values((2, 3, *sizes), "f4"), tuple(zip(*pads, strict=True))
        for name in ("avg_pool3d", "max_pool3d"):
            check_windows(name, x, kernel, stride=stride, padding_spec=padding)
        patches = oracle.extract_patches(x, kernel, stride=stride, padding=padding)
        check_windows("extract_patches", x, kernel, stride=stride, padding=padding)
        check_windows("combine_patches", patches, sizes, kernel, stride=stride, padding=padding)


@places
def test_transposed_convolutions_and_gradients(place):
    for number, (sizes, kernel, stride, pads, after) in enumerate(axes_of(place)):
        if after[place]:  # there is one padding for both sides
            continue
        groups, channels, outputs = LAYERS[number % len(LAYERS)]
        x, w = values((2, groups * channels, *sizes), "f4"), values((groups * outputs, channels, *kernel), "f4", 1)
        inner = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(sizes, kernel, stride, pads, strict=True)]
        if min(inner) < 1:
            continue
        y, options = values((2, groups * outputs, *inner), "f4", 2), (stride, pads, (1, 1, 1), groups)
        oracle.check(G.conv3d_input(x.shape, w, y, *options), expect_gradient(x.shape, w, y, *options))
        oracle.check(G.conv3d_weight(x, w.shape, y, *options), expect_weights(x, w.shape, y, *options))
        transposed = y, w, None, stride, pads, (0, 0, 0), groups, (1, 1, 1)
        expected = expect_transposed(*transposed)
        if min(expected.value.shape) > 0:
            oracle.check(F.conv_transpose3d(*transposed), expected)
