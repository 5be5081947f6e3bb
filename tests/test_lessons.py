"""The kernels to teach with: each against its twin in NumPy and against fastconv, and called from compiled code."""

import inspect

import numba
import numpy as np
import oracle
import pytest
from cases import LAYOUTS, ties, values
from fastconv.kernels import lessons
from subprocesses import run, run_python

import fastconv

CASES = [  # shape, kernel, stride, dilation
    ((2, 4, 7, 8), (3, 2), (1, 1), (1, 1)),
    ((1, 2, 9, 10), (2, 3), (2, 1), (1, 2)),
    ((1, 6, 5, 5), (5, 5), (3, 3), (1, 1)),
    ((1, 2, 6, 9), (1, 1), (2, 4), (1, 1)),
]
LAYOUTS = {name: LAYOUTS[name] for name in ("contiguous", "channels_last", "reversed_stepped")}
each = pytest.mark.parametrize("shape, kernel, stride, dilation", CASES)
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def test_every_kernel_has_a_twin_and_says_what_it_does():
    kernels = {name for name, value in vars(lessons).items() if isinstance(value, numba.core.dispatcher.Dispatcher)}
    twins = {name.removesuffix("_numpy") for name in vars(lessons) if name.endswith("_numpy")}
    assert kernels == twins
    assert len(kernels) == 7
    for name in kernels:
        kernel, twin = getattr(lessons, name), getattr(lessons, f"{name}_numpy")
        assert inspect.signature(kernel.py_func) == inspect.signature(twin)
        assert kernel.py_func.__doc__ and twin.__doc__


@each
@layouts
def test_windows(shape, kernel, stride, dilation, layout):
    x = LAYOUTS[layout](values(shape, "f4"))
    view = lessons.windows(x, kernel, stride, dilation)
    assert np.shares_memory(view, x)
    np.testing.assert_array_equal(view, lessons.windows_numpy(x, kernel, stride, dilation))


def test_windows_larger_than_the_input():
    with pytest.raises(ValueError, match=r"windows\(\): the kernel is larger than the input"):
        lessons.windows(np.ones((1, 1, 3, 3)), (3, 4), (1, 1), (1, 1))


@each
@layouts
@pytest.mark.parametrize("groups", [1, 2])
def test_correlate(shape, kernel, stride, dilation, layout, groups):
    x = LAYOUTS[layout](values(shape, "f4"))
    w = values((4, shape[1] // groups, *kernel), "f4", 1)
    expected = oracle.correlate(x, w, groups=groups, stride=stride, dilation=dilation)
    oracle.check(lessons.correlate(x, w, groups, stride, dilation), expected)
    oracle.check(lessons.correlate_numpy(x, w, groups, stride, dilation), expected)
    oracle.check(fastconv.correlate2d(x, w, groups=groups, stride=stride, dilation=dilation), expected)


@each
@layouts
def test_columns(shape, kernel, stride, dilation, layout):
    x = LAYOUTS[layout](ties(shape, "f4"))
    options = {"stride": stride, "dilation": dilation}
    columns = lessons.im2col(x, kernel, stride, dilation)
    np.testing.assert_array_equal(columns, lessons.im2col_numpy(x, kernel, stride, dilation))
    np.testing.assert_array_equal(columns, fastconv.im2col(x, kernel, **options))
    back = lessons.col2im(columns, shape, kernel, stride, dilation)
    np.testing.assert_array_equal(back, lessons.col2im_numpy(columns, shape, kernel, stride, dilation))
    np.testing.assert_array_equal(back, fastconv.col2im(columns, shape[2:], kernel, **options))


@each
@layouts
@pytest.mark.parametrize("nan", [False, True])
def test_pools(shape, kernel, stride, dilation, layout, nan):
    x = ties(shape, "f4")
    if nan:
        x[:, 0, 2:4, 1:3] = np.nan
    x, arguments = LAYOUTS[layout](x), (kernel, stride, dilation)
    options = {"stride": stride, "dilation": dilation}
    found = lessons.max_pool(x, *arguments)
    for other in (
        lessons.max_pool_numpy(x, *arguments),
        fastconv.max_pool2d(x, kernel, return_indices=True, **options),
    ):
        for mine, theirs in zip(found, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    back = lessons.max_unpool(*found, shape)
    if stride == kernel or kernel == (1, 1):  # windows do not overlap, so that no index comes twice
        np.testing.assert_array_equal(back, lessons.max_unpool_numpy(*found, shape))
    np.testing.assert_array_equal(back, fastconv.max_unpool2d(*found, kernel, output_size=shape))
    expected = oracle.avg_pool(x, kernel, **options)
    for mean in (lessons.avg_pool, lessons.avg_pool_numpy):
        oracle.check(mean(x, *arguments), expected)


@numba.njit
def features(x, w):
    return lessons.max_pool(lessons.correlate(x, w, 1, (1, 1), (1, 1)), (2, 2), (2, 2), (1, 1))[0]


def test_inside_compiled_code():
    x, w = values((1, 2, 8, 8), "f8"), values((3, 2, 3, 3), "f8", 1)
    np.testing.assert_array_equal(features(x, w), features.py_func(x, w))


OUTSIDE = """
import numpy as np
from fastconv.kernels.jit import lesson
lesson(lambda x, i: x[i])(np.zeros(3), 3)
"""


@pytest.mark.slow
def test_within_bounds():
    """All of this with Numba's own checks of indices, of lessons and of what the package's kernels index."""
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", __file__, NUMBA_BOUNDSCHECK=1)
    assert " passed" in done.stdout and "skipped" not in done.stdout
    found = run_python(OUTSIDE, check=False, NUMBA_BOUNDSCHECK=1)
    assert "IndexError: index is out of bounds" in found.stderr, "indices are not checked at all"
