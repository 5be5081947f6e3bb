"""Results do not depend on what NumPy is to say of floating-point errors; all threads round as the caller does."""

import ctypes
import ctypes.util
import platform
import time

import numpy as np
import pytest
from fastconv.kernels.team import JOINED

import fastconv
import fastconv.functional
import fastconv.grad
import fastconv.ndimage
import fastconv.numpy
import fastconv.signal

# Halves, singles and doubles that do not fit in what they are computed as, and what is not finite.
TINY, HUGE = 1e-300, 1e300
X = np.array([1, 1e-7, 6e4, np.inf, np.nan, 0, -1e-7, 3, 2, 1, 5, 7]).reshape(1, 1, 12)
SINGLE, DOUBLE = X.astype("f4"), np.where(np.isfinite(X), X, 1) * np.resize([TINY, HUGE, 1], 12)
ONES = np.ones((1, 1, 3))
NOISY = np.array([0x7C01, 0x3C00, 0x0001, 0x7BFF], np.uint16).view("f2")[None, None]  # a signalling NaN first

CASES = {
    "bias": lambda: fastconv.correlate1d(SINGLE, ONES.astype("f4"), bias=np.array([TINY])),
    "bias too large": lambda: fastconv.correlate1d(SINGLE, ONES.astype("f4"), bias=np.array([HUGE])),
    "dtype": lambda: fastconv.correlate1d(DOUBLE, ONES * TINY, dtype="f4"),
    "mixed": lambda: fastconv.correlate1d(NOISY, ONES.astype("f4")),
    "im2col": lambda: fastconv.correlate1d(NOISY, ONES.astype("f2"), algorithm="im2col"),
    "im2col of doubles": lambda: fastconv.correlate1d(DOUBLE, ONES * HUGE, algorithm="im2col"),
    "fill": lambda: fastconv.correlate1d(SINGLE, ONES.astype("f4"), padding=1, fillvalue=TINY),
    "pool": lambda: fastconv.avg_pool1d(SINGLE, 3),
    "means": lambda: fastconv.uniform_filter(DOUBLE[0, 0], (3,)),
    "weights": lambda: fastconv.grad.conv1d_weight(SINGLE, (1, 1, 3), SINGLE[..., :10]),
    "functional": lambda: fastconv.functional.conv1d(SINGLE, ONES.astype("f4")),
    "powers": lambda: fastconv.functional.lp_pool1d(SINGLE * 1e30, 3.0, 2),
    "gaussian": lambda: fastconv.ndimage.gaussian_filter(DOUBLE[0, 0], 1.0, output="f4"),
    "constant": lambda: fastconv.ndimage.correlate(SINGLE[0, 0], [TINY, 1, HUGE], mode="constant", cval=HUGE),
    "maximum": lambda: fastconv.ndimage.maximum_filter(SINGLE[0, 0], 3, mode="constant", cval=HUGE),
    "magnitude": lambda: fastconv.ndimage.gaussian_gradient_magnitude(DOUBLE[0, 0], 1.0),
    "numpy": lambda: fastconv.numpy.convolve(DOUBLE[0, 0], [TINY, HUGE]),
    "signal": lambda: fastconv.signal.convolve(DOUBLE[0, 0], [HUGE, 1]),
    "transform": lambda: fastconv.signal.fftconvolve(DOUBLE[0, 0], np.full(5, HUGE)),
    "filter": lambda: fastconv.signal.lfilter([HUGE, TINY], [1.0], DOUBLE[0, 0]),
    "resampled": lambda: fastconv.signal.upfirdn([TINY, HUGE], SINGLE[0, 0], 2, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_errors_of_floating_point_are_not_asked_for(case):
    with np.errstate(all="ignore"):
        expected = CASES[case]()
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(CASES[case](), expected)


# What `fesetround` takes for towards positive and towards negative infinity.
MODES = {"x86_64": (0x800, 0x400), "aarch64": (0x400000, 0x800000)}


@pytest.mark.skipif(platform.machine() not in MODES or not ctypes.util.find_library("m"), reason="modes are not known")
@pytest.mark.parametrize("calls", ["short", "long"])
def test_all_threads_round_as_the_caller_does(calls, monkeypatch):
    if calls == "long":  # as those are made that take long
        monkeypatch.setattr(fastconv.team, "_LONG", 0)
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    random = np.random.default_rng(0)
    x, w = random.standard_normal((1, 32, 40, 40), "f4"), random.standard_normal((32, 32, 3, 3), "f4")
    with fastconv.num_threads(1):
        nearest, before = fastconv.correlate2d(x, w, algorithm="direct"), library.fegetround()
    try:
        for mode in MODES[platform.machine()]:
            library.fesetround(mode)
            with fastconv.num_threads(1):
                expected = fastconv.correlate2d(x, w, algorithm="direct")
            assert (expected != nearest).any()
            joined, end = 0, time.monotonic() + 60
            while joined < 20 and time.monotonic() < end:  # helpers may be late, not every time
                with fastconv.num_threads(2):
                    np.testing.assert_array_equal(fastconv.correlate2d(x, w, algorithm="direct"), expected)
                joined += 1 if calls == "long" else int(fastconv.team._teams["fastconv"].words[JOINED])
            assert joined >= 20
    finally:
        library.fesetround(before)
    with fastconv.num_threads(2):
        np.testing.assert_array_equal(fastconv.correlate2d(x, w, algorithm="direct"), nearest)
