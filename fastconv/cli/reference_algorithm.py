"""The reference's convolution, step by step in NumPy: what the `orig_*` rows of `bench` time.

The library that fastconv answers builds every convolution from tensor operations: repeat, shrink, reshape, permute,
multiply, sum. The chain is repeated here with its copies; where NumPy would get by with a view, the copy that the
reference makes is asked for. Sizes are read as there: `i` input, `k` kernel, `o` output, `d` dilation, `s` stride.

Its simpler view for kernels no larger than their stride is left out: none of the six sizes takes it.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def convolve2d(x: Array, w: Array, *, groups: int = 1, stride: int = 1, dilation: int = 1) -> Array:
    """Convolve without padding: `x` (N, C, H, W) with `w` (O, C/groups, KH, KW)."""
    w = np.ascontiguousarray(w[:, :, ::-1, ::-1])
    kernel = w.shape[2:]
    x = np.pad(x, ((0, 0),) * 4)  # padding by nothing is a copy there too
    pooled = np.ascontiguousarray(_pool(x, kernel, stride, dilation))  # (N, C, *o, *k)
    n, channels, outputs = *pooled.shape[:2], pooled.shape[2:4]
    per_group, maps = channels // groups, w.shape[0] // groups

    grouped = pooled.reshape(n, groups, per_group, 1, *outputs, *kernel)
    expanded = np.broadcast_to(grouped, (n, groups, per_group, maps, *outputs, *kernel))
    # (N, g, C/g, O/g, *o, *k) -> (N, g, O/g, *o, C/g, *k): the reduced axes last
    patches = np.ascontiguousarray(expanded.transpose(0, 1, 3, 4, 5, 2, 6, 7))
    product = patches * w.reshape(1, groups, maps, 1, 1, per_group, *kernel)
    result: Array = product.sum(axis=(-3, -2, -1)).reshape(n, w.shape[0], *outputs)
    return result


def _pool(x: Array, kernel: tuple[int, ...], stride: int, dilation: int) -> Array:
    """Every window as a view of a repeated input: (N, C, *i) -> (N, C, *o, *k)."""
    lead, sizes = x.shape[:2], x.shape[2:]
    outputs = [(i - dilation * (k - 1) - 1) // stride + 1 for i, k in zip(sizes, kernel)]
    # The repeated axis is read with a period of i + d; doubled where the last stride would run over it.
    periods = [
        i * (2 if o * stride > i - dilation * (k - 1) else 1) + dilation for i, k, o in zip(sizes, kernel, outputs)
    ]
    x = _repeat(x, [-(-k * period // i) for i, k, period in zip(sizes, kernel, periods)])
    x = np.ascontiguousarray(_shrink(x, [k * period for k, period in zip(kernel, periods)]))
    x = x.reshape(*lead, *_interleave(kernel, periods))
    x = np.ascontiguousarray(_shrink(x, _interleave(kernel, [o * stride for o in outputs])))
    x = x.reshape(*lead, *_interleave(kernel, outputs, [stride] * len(outputs)))
    x = _shrink(x, _interleave(kernel, outputs, [1] * len(outputs)))
    x = x.reshape(*lead, *_interleave(kernel, outputs))
    return x.transpose(0, 1, 3, 5, 2, 4)


def _repeat(x: Array, times: list[int]) -> Array:
    """Repeat each spatial axis by expand and reshape, which copies."""
    lead, sizes = x.shape[:2], x.shape[2:]
    x = x.reshape(*lead, *_interleave([1] * len(sizes), sizes))
    x = np.broadcast_to(x, (*lead, *_interleave(times, sizes)))
    return x.reshape(*lead, *(prod(pair) for pair in zip(times, sizes)))


def _shrink(x: Array, sizes: list[int]) -> Array:
    index = (slice(None), slice(None), *map(slice, sizes))
    return x[index]


def _interleave(*lists: list[int] | tuple[int, ...]) -> list[int]:
    """[a, b], [c, d] -> [a, c, b, d]: one entry of each list for every spatial axis."""
    return [size for group in zip(*lists) for size in group]
