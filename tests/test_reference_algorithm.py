"""The reference's algorithm, which `bench` times as `orig_*`: right, and with the copies that it is known for."""

import math

import numpy as np
import oracle
import pytest
from cases import values
from hypothesis import given
from hypothesis import strategies as st

from fastconv.cli import bench
from fastconv.cli.reference_algorithm import convolve2d


def agrees(x, w, **options):
    oracle.check(convolve2d(x, w, **options), oracle.convolve(x, w, **options), f"{x.shape} * {w.shape} {options}")


@pytest.mark.parametrize("size", bench.SIZES)
def test_the_six_sizes(size):
    x, w = bench.SIZES[size]
    agrees(values(x, "f4"), values(w, "f4", 1))
    ones = convolve2d(np.ones(x, "f4"), np.ones(w, "f4"))
    assert np.unique(ones).tolist() == [math.prod(w[1:])]


def test_a_worked_example():
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    got = convolve2d(x, np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert got.tolist() == [[[[23, 33], [53, 63]]]]  # 1 * 5 + 2 * 4 + 3 * 2 + 4 * 1, ...


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2), (4, 4)])
def test_options(groups, stride, dilation, kernel):
    for height, width in [(10, 10), (11, 13), (17, 12)]:
        x = values((2, 4, height, width), "f8")
        w = values((8, 4 // groups, *kernel), "f8", 1)
        agrees(x, w, groups=groups, stride=stride, dilation=dilation)


@given(st.data())
def test_any_size(data):
    def ints(low, high):
        return data.draw(st.integers(low, high))

    kernel, dilation, groups = (ints(1, 4), ints(1, 4)), ints(1, 3), ints(1, 3)
    sizes = [dilation * (k - 1) + ints(1, 9) for k in kernel]  # down to one window
    channels, maps = groups * ints(1, 2), groups * ints(1, 2)
    x = values((ints(1, 2), channels, *sizes), "f8")
    w = values((maps, channels // groups, *kernel), "f8", 1)
    agrees(x, w, groups=groups, stride=ints(1, 4), dilation=dilation)


def test_inputs_are_not_written_to():
    x, w = values((1, 2, 6, 6), "f4"), values((3, 2, 3, 3), "f4", 1)
    x.flags.writeable = w.flags.writeable = False
    agrees(x, w)


@pytest.mark.parametrize("size", ["medium_16x16", "channels_32x32", "kernel_5x5", "batch_16x16"])
def test_its_windows_are_copied_for_every_output_channel(size):
    """The expanded windows and their product with the kernel are held at once."""
    (n, c, *sizes), (o, _, *kernel) = bench.SIZES[size]
    x, w = np.ones((n, c, *sizes), "f4"), np.ones((o, c, *kernel), "f4")
    positions = math.prod(s - k + 1 for s, k in zip(sizes, kernel, strict=True))
    expanded = 4 * n * o * c * math.prod(kernel) * positions
    assert bench.allocated(lambda: convolve2d(x, w)) >= 2 * expanded
