"""Convolution by Fourier transforms, for work that sums would take many times longer over.

The transforms are SciPy's, or NumPy's where SciPy is not installed; nothing outside this module knows. Arrays are rows:
`x (B, S*)` and `w (B', K*)`, with one row of either for all of the other's, or as many. What is asked for is a part of
the full convolution, `sizes` elements from `starts` on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .problem import Array
from .threads import get_num_threads

# Nanoseconds of a step of a transform, of which n points take n log2(n).
_STEPS = {"float32": 0.34, "float64": 0.36, "complex64": 0.5, "complex128": 0.6}
LEAST = 20_000  # nanoseconds that a transform's call takes besides
_LONGER = 8  # a block is so many times longer than the kernel: what it shares with its neighbour is computed twice
_SHORTEST = 1024  # elements of a block
_MOST = 0.95  # of a transform: a part as large as that is returned as it lies
_CHUNK = 1 << 17  # elements of the blocks that are transformed in one call: they stay in cache


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What arrays of a dtype are transformed in."""
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    return dtype if dtype.name in _STEPS else np.dtype(np.float32)


def cost(
    dtype: np.dtype[Any], x_shape: Sequence[int], w_shape: Sequence[int], starts: Sequence[int], sizes: Sequence[int]
) -> float:
    """Nanoseconds that `convolve` takes, about."""
    rows = max(x_shape[0], w_shape[0])
    if math.prod(w_shape[1:]) > math.prod(x_shape[1:]):
        x_shape, w_shape = w_shape, x_shape
    length = _block_length(w_shape, sizes)
    if length:
        transforms = 2 * rows * -(-sizes[0] // (length - w_shape[1] + 1)) + w_shape[0]
        points = length
    else:
        transforms = x_shape[0] + w_shape[0] + rows
        points = math.prod(_whole_lengths(x_shape, w_shape, starts, sizes))
    return _STEPS[working_dtype(dtype).name] * transforms * points * math.log2(points + 1) + LEAST


def convolve(x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int]) -> Array:
    """A part of the full convolution of `x` and `w`, which have the same dtype, one of `working_dtype`."""
    if math.prod(w.shape[1:]) > math.prod(x.shape[1:]):
        x, w = w, x
    length = _block_length(w.shape, sizes)
    if length:
        return _by_blocks(x, w, starts[0], sizes[0], length)
    return _whole(x, w, starts, sizes)


def _block_length(w_shape: Sequence[int], sizes: Sequence[int]) -> int:
    """Elements of the blocks that long rows are cut into; 0: transform whole arrays.

    A power of two, or three quarters of one: other lengths take up to a third more for each element.
    """
    length = max(_SHORTEST, _LONGER * w_shape[-1])
    if len(w_shape) > 2 or length >= sizes[0] + w_shape[1]:
        return 0
    power = 1 << (length - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= length else power


def _whole_lengths(
    x_shape: Sequence[int], w_shape: Sequence[int], starts: Sequence[int], sizes: Sequence[int]
) -> list[int]:
    """Lengths of transforms, in which what goes round the end meets none of the part that is asked for."""
    numbers = zip(x_shape[1:], w_shape[1:], starts, sizes, strict=True)
    return [fast_length(max(n, k, n + k - 1 - start, start + size)) for n, k, start, size in numbers]


@functools.lru_cache(1024)
def fast_length(least: int) -> int:
    """The smallest product of twos, threes and fives of at least this size.

    >>> from fastconv.transforms import fast_length
    >>> fast_length(97), fast_length(1000)
    (100, 1000)
    """
    best, fives = 1 << (least - 1).bit_length(), 1
    while fives < best:
        odd = fives
        while odd < best:
            best = min(best, odd << (-(-least // odd) - 1).bit_length())
            odd *= 3
        fives *= 5
    return best


def _transforms(dtype: np.dtype[Any], threads: int) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """The transform over given lengths and axes, and its inverse."""
    module: Any = np.fft
    options = {}
    try:
        import scipy.fft

        module, options = scipy.fft, {"workers": threads}
    except ImportError:
        pass
    names = ("fftn", "ifftn") if dtype.kind == "c" else ("rfftn", "irfftn")
    forward, inverse = (functools.partial(getattr(module, name), **options) for name in names)
    return forward, inverse


def _whole(x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int]) -> Array:
    lengths, axes = _whole_lengths(x.shape, w.shape, starts, sizes), range(1, x.ndim)
    forward, inverse = _transforms(x.dtype, get_num_threads())
    first, second = forward(x, lengths, axes), forward(w, lengths, axes)
    is_first = len(first) >= len(second)  # which has a row for each result
    around = inverse(np.multiply(first, second, out=first if is_first else second), lengths, axes)
    part = around[(slice(None), *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True)))]
    is_whole = part.flags.c_contiguous and part.size >= _MOST * around.size
    return part if is_whole else part.copy()  # a view keeps all of it


def _by_blocks(x: Array, w: Array, start: int, size: int, length: int) -> Array:
    """Rows in blocks that overlap by what goes round the end of a transform and is spoilt (overlap-save)."""
    taps = w.shape[1]
    step, first = length - taps + 1, start - taps + 1
    blocks = -(-size // step)
    forward, inverse = _transforms(x.dtype, 1)  # SciPy starts its threads anew for each of many short calls
    spectra, out = forward(w, [length], [1]), np.empty((max(len(x), len(w)), size), x.dtype)
    padded = np.zeros((blocks - 1) * step + length, x.dtype)  # a row from `first` on
    held = slice(max(first, 0), min(first + padded.size, x.shape[1]))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::step]
    chunk = max(1, _CHUNK // length)
    for row in range(len(out)):
        padded[held.start - first : held.stop - first] = x[row % len(x), held]
        spectrum = spectra[row % len(w)]
        for block in range(0, blocks, chunk):
            part = inverse(forward(windows[block : block + chunk], [length], [1]) * spectrum, [length], [1])
            filled = out[row, block * step : (block + chunk) * step]
            filled[:] = part[:, taps - 1 :].reshape(-1)[: filled.size]
    return out
