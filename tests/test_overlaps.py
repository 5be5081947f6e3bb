"""An `out` whose elements share memory is refused, and refused at once; nothing else is."""

import time
import tracemalloc

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from fastconv.problem import _overlaps_itself, check_out


def overlaps(shape, steps, size):
    """By looking at the addresses of all bytes."""
    offsets = np.zeros(1, np.int64)
    for step, n in zip(steps, shape, strict=True):
        offsets = (offsets[:, None] + step * np.arange(n)).ravel()
    taken = (offsets[:, None] + np.arange(size)).ravel()
    return np.unique(taken).size != taken.size


def test_small_arrays_of_any_strides():
    rng, found = np.random.default_rng(0), 0
    for _ in range(4000):
        shape, dtype = rng.integers(1, 6, rng.integers(1, 5)).tolist(), rng.choice(["u1", "i2", "f4"])
        size = np.dtype(dtype).itemsize
        steps = (rng.integers(-9, 40, len(shape)) * (size if rng.random() < 0.7 else 1)).tolist()
        expected = overlaps(shape, steps, size)
        # Most of it lies outside its memory, of which nothing is read.
        assert _overlaps_itself(as_strided(np.zeros(1, dtype), shape, steps)) == expected, (shape, steps, dtype)
        found += expected
    assert 500 < found < 3500


@pytest.mark.parametrize(
    "shape, steps, expected",
    [
        ((8000, 8000), (0, 0), True),
        ((8000, 8000), (4, 4), True),
        ((8000, 8000), (0, 4), True),
        ((8000, 8000), (8004, 4 * 8000), False),  # they meet after 8000 steps of one and 2001 of the other
        ((8001, 8000), (8004, 4 * 8000), True),
        ((8000, 8000), (8004, 4 * 8004), True),
        ((2000, 8000), (4 * 8000, 4), False),
        ((3, 2000, 2, 8000), (4, 12 * 8000 * 2, 12 * 8000, 12), False),
        ((8000, 2000), (12, 8), True),
        ((7, 8000), (12, 4 * 22), False),
        ((90, 90, 90, 90), (4000004, 4000036, 4000404, 400404), True),  # it may not: too many to look at
    ],
)
def test_large_arrays(shape, steps, expected):
    tracemalloc.start()
    begin = time.process_time()
    assert _overlaps_itself(as_strided(np.zeros(1, "f4"), shape, steps)) is expected
    assert time.process_time() - begin < 0.3
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_an_out_without_strides_is_refused():
    x, out = np.zeros((1, 1, 1, 1), "f4"), as_strided(np.zeros(1, "f4"), (1, 1, 8000, 8000), (0,) * 4)
    with pytest.raises(ValueError, match="several elements at one address"):
        check_out("correlate2d", out, out.shape, out.dtype, x, x, None)
