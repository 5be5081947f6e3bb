"""Convolution of rows: x `(B, S*)` and w `(B', K*)`, with one row of either for all of the other's, or as many.

Sums, by kernels, or a transform of whole arrays, where all kernels take longer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import transforms
from ..algorithms import explain, get_algorithm
from ..conv import convolve_nd
from ..problem import Array, cast

_RANK = 3  # axes that kernels slide over; further ones are summed one by one
_MACS = 25  # multiply-adds a nanosecond, about, of sums over more axes than kernels slide over
_ROUNDED = 2.0**42  # up to such a product of norms, a transform's error is below 1/2, and integers come out exactly


def middle_of(mode: str, x_sizes: Sequence[int], w_sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where along each axis what a mode keeps of the full convolution starts, and how long it is."""
    pairs = list(zip(x_sizes, w_sizes, strict=True))
    if mode == "full":
        return [0] * len(pairs), [n + k - 1 for n, k in pairs]
    if mode == "same":
        return [(k - 1) // 2 for n, k in pairs], [n for n, k in pairs]
    return [k - 1 for n, k in pairs], [n - k + 1 for n, k in pairs]


def convolved(x: Array, w: Array, starts: list[int], sizes: list[int], dtype: np.dtype[Any], method: str) -> Array:
    """A part of the full convolution of rows: `sizes` elements from `starts` on."""
    if method == "direct" or (method == "auto" and not is_for_transform(x, w, starts, sizes, dtype)):
        return _summed(x, w, starts, sizes, dtype, method)
    if method == "fft" and dtype.kind in "fc":
        ours = predict(x, w, starts, sizes, dtype, "fft").nanoseconds
        if ours < transforms.cost(dtype, x.shape, w.shape, starts, sizes):
            return _summed(x, w, starts, sizes, dtype, "fft")
    working = transforms.working_dtype(dtype)
    numbers, taps = cast(x, working), cast(w, working)
    if dtype.kind not in "biu":
        with np.errstate(all="ignore"):  # as kernels do
            return cast(transforms.convolve(numbers, taps, starts, sizes), dtype)
    if np.linalg.norm(numbers) * np.linalg.norm(taps) > _ROUNDED:
        return _summed(x, w, starts, sizes, dtype, "direct")
    return np.rint(transforms.convolve(numbers, taps, starts, sizes)).astype(np.int64).astype(dtype, copy=False)


def is_for_transform(x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether "auto" transforms whole arrays: numbers that it does not spoil, where all kernels take longer."""
    if dtype.kind not in "fc" or get_algorithm() == "direct":
        return False
    theirs = transforms.cost(dtype, x.shape, w.shape, starts, sizes)
    ours = predict(x, w, starts, sizes, dtype, "auto").nanoseconds
    return ours > theirs and bool(np.isfinite(x).all()) and bool(np.isfinite(w).all())


class _Predicted(NamedTuple):
    """What runs, and how many nanoseconds it takes, about: infinitely many if nothing can."""

    algorithm: str
    nanoseconds: float


_NOTHING = _Predicted("direct", math.inf)


def predict(
    x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int], dtype: np.dtype[Any], algorithm: str
) -> _Predicted:
    """What `_summed` has to do."""
    if x.ndim > 1 + _RANK:
        macs = max(len(x), len(w)) * math.prod(sizes) * min(math.prod(x.shape[1:]), math.prod(w.shape[1:]))
        return _Predicted("direct", macs / _MACS) if algorithm != "fft" else _NOTHING
    x, w, pads = _cut_rows(x, w, starts, sizes)
    images, kernels, groups = _as_channels(x, w)
    return _predict_shapes(images.shape, kernels.shape, dtype, groups, tuple(pads), algorithm)


@functools.lru_cache(1024)
def _predict_shapes(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: np.dtype[Any], groups: int,
    pads: tuple[tuple[int, int], ...], algorithm: str,
) -> _Predicted:  # fmt: skip
    x, w = (np.broadcast_to(np.zeros((), dtype), shape) for shape in (x_shape, w_shape))
    try:
        found = explain(x, w, operation="convolve", groups=groups, padding=pads, algorithm=algorithm)
    except ValueError:  # no kernels of that name can
        return _NOTHING
    times = [each.microseconds for each in found.candidates if each.implementation == found.implementation]
    return _Predicted(found.algorithm, 1e3 * (times[0] or 0.0))


def _cut_rows(
    x: Array, w: Array, starts: Sequence[int], sizes: Sequence[int]
) -> tuple[Array, Array, list[tuple[int, int]]]:
    """The longer rows, as much of them as counts, the shorter ones, and the padding that gives `sizes`."""
    if math.prod(w.shape[1:]) > math.prod(x.shape[1:]):
        x, w = w, x
    cut, pads = [slice(None)], []
    for start, size, n, k in zip(starts, sizes, x.shape[1:], w.shape[1:], strict=True):
        before, after = k - 1 - start, start + size - n
        cut.append(slice(max(0, -before), n - max(0, -after)))
        pads.append((max(0, before), max(0, after)))
    return x[tuple(cut)], w, pads


def _as_channels(x: Array, w: Array) -> tuple[Array, Array, int]:
    """Rows as `convolve_nd` takes them, and the groups."""
    return (x[None], w[:, None], len(x)) if 1 < len(w) == len(x) else (x[:, None], w[:, None], 1)


def _summed(
    x: Array, w: Array, starts: list[int], sizes: list[int], dtype: np.dtype[Any], algorithm: str = "auto"
) -> Array:
    """`convolved` by kernels."""
    x, w, pads = _cut_rows(x, w, starts, sizes)
    if x.ndim > 1 + _RANK:
        return _summed_further(x, w, pads, sizes, dtype)
    images, kernels, groups = _as_channels(x, w)
    return convolve_nd(images, kernels, groups=groups, padding=tuple(pads), algorithm=algorithm).reshape(-1, *sizes)


def _summed_further(x: Array, w: Array, pads: list[tuple[int, int]], sizes: list[int], dtype: np.dtype[Any]) -> Array:
    """`_summed` over more axes than kernels slide over: tap by tap along the first of them."""
    first = x.ndim - 1 - _RANK
    wide = np.result_type(dtype, np.float32) if dtype.name in ("float16", "bfloat16") else dtype  # rounded once
    x = np.pad(cast(x, wide), [(0, 0), *pads[:first], *[(0, 0)] * _RANK])
    w = cast(np.flip(w, tuple(range(1, 1 + first))), wide)
    out = np.zeros((max(len(x), len(w)), *sizes), wide)
    for row in range(len(out)):
        image, kernel = x[row % len(x)], w[row % len(w)]
        for tap in np.ndindex(kernel.shape[:first]):
            part = image[tuple(slice(t, t + size) for t, size in zip(tap, sizes, strict=False))]
            planes = part.reshape(-1, 1, *part.shape[first:])
            out[row] += convolve_nd(planes, kernel[tap][None, None], padding=tuple(pads[first:])).reshape(sizes)
    return cast(out, dtype)
