"""`FASTCONV_VERBOSE`: what it prints, and that it changes nothing else."""

import re

import pytest
from cases import slow
from fastconv.kernels.convolution.choose import FAMILIES
from subprocesses import run_python

CALLS = """
import numpy as np, fastconv
x, w = np.ones((2, 4, 8, 9), "f4"), np.ones((6, 2, 3, 2), "f4")
options = {"groups": 2, "stride": (2, 1), "padding_mode": ((1, 2), 0), "dilation": (1, 3), "boundary": "wrap"}
for _ in range(2):
    print(fastconv.correlate2d(x, w, bias=np.ones(6), activation="relu", **options).shape)
fastconv.correlate2d(x, w, groups=2, algorithm="im2col")
fastconv.convolve_nd(np.ones((1, 1, 3, 3, 3, 3)), np.ones((1, 1, 2, 2, 2, 2)))
values, indices = fastconv.max_pool2d(x, 2, padding_spec=1, return_indices=True)
fastconv.max_unpool2d(values, indices, 2, output_size=(8, 9))
fastconv.uniform_filter(x, (2, 2))
fastconv.maximum_filter(x, (1, 1, 2, 2))
fastconv.col2im(fastconv.im2col(x, 2), (8, 9), 2)
from fastconv import ndimage
y = x[0, 0]
for _ in range(2):
    ndimage.gaussian_filter(y, 1)
ndimage.uniform_filter1d(x, 5, axis=2, output="f8", mode="grid-wrap")
ndimage.correlate(y, np.ones((3, 2)), output=y[::-1], mode="mirror")
ndimage.maximum_filter(y, 1), ndimage.sobel(y[:0])
ndimage.grey_opening(y, footprint=[[0, 1, 1]], mode="constant")
"""
CONVOLUTION = (
    "correlate2d, {name}, float32, x 2x4x8x9, w 6x2x3x2, stride 2x1, padding 1:2x0:0, dilation 1x3, groups 2, "
    "boundary wrap/wrap, bias, relu"
)
LINES = [
    CONVOLUTION,
    CONVOLUTION,
    "correlate2d, im2col, float32, x 2x4x8x9, w 6x2x3x2, stride 1x1, padding 0:0x0:0, dilation 1x1, groups 2",
    "convolve_nd, generic, float64, x 1x1x3x3x3x3, w 1x1x2x2x2x2, stride 1x1x1x1, padding 0:0x0:0x0:0x0:0, "
    "dilation 1x1x1x1, groups 1",
    "max_pool2d, rows, float32, x 2x4x8x9, window 2x2, stride 2x2, padding 1:1x1:1, dilation 1x1, groups 1",
    "max_unpool2d, planes, float32, values 2x4x5x5, out 2x4x8x9",
    "uniform_filter, rows, float32, x 2x4x8x9, window 2x2, stride 2x2, padding 0:0x0:0, dilation 1x1, groups 1",
    "maximum_filter, generic, float32, x 2x4x8x9, window 1x1x2x2, stride 1x1x2x2, padding 0:0x0:0x0:0x0:0, "
    "dilation 1x1x1x1, groups 1",
    "im2col, blocks, float32, x 2x4x8x9, window 2x2, stride 1x1, padding 0:0x0:0, dilation 1x1, groups 1",
    "col2im, blocks, float32, patches 2x4x4x56, out 2x4x8x9, window 2x2, stride 1x1, padding 0:0x0:0, dilation 1x1, "
    "groups 1",
    "gaussian_filter, passes, float32, x 8x9, window 9x9, mode reflect/reflect",
    "gaussian_filter, passes, float32, x 8x9, window 9x9, mode reflect/reflect",
    "uniform_filter1d, passes, float32 to float64, x 2x4x8x9, window 1x1x5x1, mode wrap",
    "correlate, window, float32, x 8x9, window 3x2, mode mirror/mirror",
    "grey_opening, window, float32, x 8x9, window 1x3, mode constant/constant",
    "grey_opening, window, float32, x 8x9, window 1x3, mode constant/constant",
]
CHOICES = [
    "correlate2d, chosen, {name}",
    "correlate2d, chosen, im2col",
    "convolve_nd, refused, direct: the call has 4 spatial axes, expected 3 or fewer",
    "convolve_nd, chosen, generic",
    "max_pool2d, chosen, rows",
    "uniform_filter, chosen, rows",
    "maximum_filter, refused, rows: the window has 4 axes, expected 1 to 3",
    "maximum_filter, chosen, generic",
]


@pytest.mark.parametrize("level", ["", "1", slow("0"), slow("dispatch")])
def test_lines(level):
    done = run_python(CALLS, FASTCONV_VERBOSE=level)
    assert done.stdout == "(2, 6, 5, 6)\n" * 2
    calls, choices = [], []
    for line in done.stderr.splitlines():
        assert line.startswith("fastconv: ")
        call = re.fullmatch(r"fastconv: (.*), (\d+\.\d{4}) ms", line)
        if call:
            assert 0 < float(call[2]) < 60_000
            calls.append(call[1])
        else:
            choices.append(line.removeprefix("fastconv: "))
    name = calls[0].split(", ")[1] if calls else ""
    assert calls == ([line.format(name=name) for line in LINES] if level in ("1", "dispatch") else [])
    if level == "dispatch":
        assert name in {family.name for family in FAMILIES}
        assert {line.format(name=name) for line in CHOICES} <= set(choices)
        assert all(re.fullmatch(r"\w+, (chosen, \w+|refused, \w+: .+)", choice) for choice in choices)
        assert len(choices) == len(set(choices)), "a choice is told twice"
    else:
        assert not choices


def test_an_unknown_level():
    done = run_python(CALLS, check=False, FASTCONV_VERBOSE="2")
    assert done.returncode == 1
    assert "ValueError: FASTCONV_VERBOSE is '2', expected '0', '1' or 'dispatch'" in done.stderr
