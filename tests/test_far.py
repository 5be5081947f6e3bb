"""Elements that lie more than 2**31 elements from their neighbours, on every path: all offsets are of 64 bits."""

import math
import mmap
import sys

import numpy as np
import oracle
import pytest
from cases import prepare_by, values
from fastconv.kernels.simd.vectors import MASKED

import fastconv
from fastconv import functional, grad, ndimage

STEP = 2**31 + 3  # elements
SIZE = 12  # of an axis, at most
FLOAT = np.dtype("f4")


@pytest.fixture(scope="module")
def spaces():
    """Address space of which only those pages take memory that are written to: that of an input, and of an output."""
    if sys.platform != "linux":
        pytest.skip("what reserves no memory is not known")
    nothing_reserved = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    try:
        return [mmap.mmap(-1, (SIZE * STEP) * FLOAT.itemsize, flags=nothing_reserved) for _ in range(2)]
    except OSError as error:
        pytest.skip(f"there is no address space for it: {error}")


def far(space, shape, axis):
    """An array whose neighbours along an axis lie `STEP` elements apart, the others as in a contiguous one."""
    assert shape[axis] <= SIZE
    sizes = [1 if a == axis else n for a, n in enumerate(shape)]
    strides = [FLOAT.itemsize * math.prod(sizes[a + 1 :]) for a in range(len(shape))]
    strides[axis] = FLOAT.itemsize * STEP
    return np.ndarray(shape, FLOAT, space, 0, strides)


def placed(space, a, axis):
    view = far(space, a.shape, axis)
    view[...] = a
    return view


# For each family, what it takes; "fft" by name has errors of whole blocks.
CONVOLUTIONS = {
    "small": ((1, 2, 3, 7), (2, 2, 2, 3), {}),
    "small_images": ((2, 2, 3, 7), (2, 2, 2, 3), {}),
    "depthwise": ((2, 4, 9, 12), (4, 1, 3, 3), {"groups": 4, "padding_mode": 1}),
    "grouped": ((2, 12, 9, 11), (12, 1, 3, 3), {"groups": 12, "padding_mode": 1, "stride": 3}),
    "dense": ((2, 4, 9, 12), (12, 4, 3, 3), {"padding_mode": 1}),
    "direct": ((2, 4, 9, 12), (12, 4, 3, 3), {"padding_mode": 1, "stride": (1, 2)}),
    "generic": ((2, 3, 5, 7), (4, 3, 2, 3), {"boundary": "wrap", "padding_mode": 1}),
    "winograd": ((2, 4, 9, 12), (12, 4, 3, 3), {"padding_mode": 1}),
    "fft_tiles": ((2, 4, 9, 12), (12, 4, 5, 5), {"padding_mode": 2}),
    "fft_planes": ((2, 2, 12, 11), (3, 2, 7, 7), {"padding_mode": 3}),
}


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("family", CONVOLUTIONS)
def test_convolutions(spaces, family, axis):
    if family in ("small", "small_images") and not MASKED:
        pytest.skip("it takes vectors with masks")
    x_shape, w_shape, options = CONVOLUTIONS[family]
    x, w, bias = values(x_shape, "f4"), values(w_shape, "f4", 1), values(w_shape[0], "f4", 2)
    algorithm = {"winograd": "winograd", "fft_tiles": "fft", "fft_planes": "fft"}.get(family, "direct")
    expected = oracle.correlate(x, w, bias=bias, **options)
    if algorithm != "direct":
        expected = expected._replace(bound=np.full_like(expected.bound, 8 * expected.bound.max()))
    for far_x, far_w, far_out in ((True, False, False), (False, True, False), (False, False, True)):
        a = placed(spaces[0], x, axis) if far_x else x
        b = placed(spaces[0], w, axis) if far_w else w
        out = far(spaces[1], expected.value.shape, axis) if far_out else np.empty(expected.value.shape, "f4")
        run, *_ = prepare_by(family, "correlate", a, b, algorithm=algorithm, has_bias=True, **options)
        run(a, b, bias, np.zeros(1, "f4"), out)
        oracle.check(np.array(out), expected, f"{family}, {far_x, far_w, far_out}")


X, W, Y = (2, 4, 9, 12), (12, 4, 3, 3), (2, 12, 9, 12)
# Each with the shape of what is far, and what it is compared with: itself, of what lies together.
CALLS = {
    "max_pool": (X, lambda x: fastconv.max_pool2d(x, 3, stride=2, return_indices=True)),
    "avg_pool": (X, lambda x: fastconv.avg_pool2d(x, 3, stride=1, padding_spec=1)),
    "whole planes": (X, lambda x: fastconv.avg_pool2d(x, (9, 12))),
    "adaptive_avg_pool": (X, lambda x: functional.adaptive_avg_pool2d(x, 5)),
    "lp_pool": (X, lambda x: functional.lp_pool2d(x, 2.0, 3)),
    "max_unpool": (X, lambda x: fastconv.max_unpool2d(x, np.arange(x.size).reshape(x.shape) % 7, 2)),
    "extract_patches": (X, lambda x: fastconv.extract_patches(x, (3, 3), padding=1)),
    "patches of a stride": (X, lambda x: fastconv.extract_patches(x, (2, 3), stride=(3, 2))),
    "combine_patches": ((2, 3, 6, 12), lambda p: fastconv.combine_patches(p, (4, 6), (2, 3))),
    "patches apart": ((2, 3, 6, 12), lambda p: fastconv.combine_patches(p, (6, 12), (2, 3), stride=(2, 3))),
    "conv_transpose": (X, lambda x: functional.conv_transpose2d(x, values((4, 6, 3, 3), "f4", 3), stride=2, padding=1)),
    "gradient of an input": (Y, lambda y: grad.conv2d_input(X, values(W, "f4", 3), y, padding=1)),
    "gradient of a weight": (Y, lambda y: grad.conv2d_weight(values(X, "f4", 3), W, y, padding=1)),
    "gradient of a bias": (Y, grad.conv2d_bias),
    "correlate1d": (X, lambda x: ndimage.correlate1d(x, [1.0, 2, 3], axis=2)),
    "correlate": (X, lambda x: ndimage.correlate(x, values((1, 2, 3, 3), "f8", 3))),
    "gaussian_filter": (X, lambda x: ndimage.gaussian_filter(x, 1.0)),
    "uniform_filter": (X, lambda x: ndimage.uniform_filter(x, 9)),
    "maximum_filter": (X, lambda x: ndimage.maximum_filter(x, (1, 1, 5, 9))),
}


@pytest.mark.parametrize("name", CALLS)
def test_other_calls(spaces, name):
    shape, function = CALLS[name]
    a = values(shape, "f4")
    expected = function(a)
    for axis in range(a.ndim):
        got = function(placed(spaces[0], a, axis))
        for one, other in zip(*(each if isinstance(each, tuple) else (each,) for each in (got, expected)), strict=True):
            most = np.abs(other).max() * 1e-5 if other.dtype.kind == "f" else 0  # sums may be in another order
            np.testing.assert_allclose(one, other, rtol=0, atol=most, err_msg=f"axis {axis}")


# Who writes to arrays of any strides; results of pools and patches are new ones.
OUTPUTS = {
    "correlate1d": lambda x, out: ndimage.correlate1d(x, [1.0, 2, 3], axis=2, output=out),
    "gaussian_filter": lambda x, out: ndimage.gaussian_filter(x, 1.0, output=out),
    "uniform_filter": lambda x, out: ndimage.uniform_filter(x, 9, output=out),
    "maximum_filter": lambda x, out: ndimage.maximum_filter(x, (1, 1, 5, 9), output=out),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(spaces, name):
    x, expected = values(X, "f4"), np.empty(X, "f4")
    OUTPUTS[name](x, expected)
    for axis in range(x.ndim):
        out = far(spaces[1], X, axis)
        OUTPUTS[name](x, out)
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6, err_msg=f"axis {axis}")
