"""The worst error of small calls, in units of what rounding allows: above 1, something is wrong."""

import math

import numpy as np

from .common import tracked
from .layers import ACCURACY, random
from .turns import Here


def worst_error(layer):
    """The largest error of an element over its bound.

    A sum of n products, each rounded, in any order is within gamma(n) = n u / (1 - n u) of the exact one, times the sum
    of their magnitudes; u is half the distance of the type's 1 from its next number. Halves are summed in float32 and
    rounded once.
    """
    got = layer.call()()
    x, w = random(layer.x, layer.w, dtype=layer.dtype)
    value, magnitude = exact(layer, x, w), exact(layer, abs(x), abs(w))
    dtype = np.dtype(layer.dtype)
    unit = np.finfo(np.result_type(dtype, np.float32)).eps / 2
    n = math.prod(w.shape[1:]) + 1
    bound = n * unit / (1 - n * unit) * magnitude
    if dtype.itemsize == 2:
        bound += np.finfo(dtype).eps / 2 * abs(value)
    return float((abs(got - value) / bound).max())


def exact(layer, x, w):
    """The correlation, tap by tap, in arithmetic with more digits."""
    wide = np.longdouble if layer.dtype == "float64" else np.float64
    rank, groups, step = len(layer.outputs), layer.groups, layer.stride
    x = np.pad(x.astype(wide), [(0, 0)] * 2 + [(layer.padding,) * 2] * rank)
    total = np.zeros((len(x), groups, len(w) // groups, *layer.outputs), wide)
    for tap in np.ndindex(w.shape[2:]):
        starts = [layer.dilation * i for i in tap]
        window = x[(..., *(slice(at, at + step * (size - 1) + 1, step) for at, size in zip(starts, layer.outputs)))]
        window = window.reshape(len(x), groups, w.shape[1], *layer.outputs)
        taps = w[(..., *tap)].astype(wide).reshape(groups, -1, w.shape[1])
        total += np.einsum("ngi...,goi->ngo...", window, taps)
    return total.reshape(len(x), len(w), *layer.outputs)


class Accuracy:
    params = [ACCURACY]
    param_names = ["case"]
    timeout = 600

    def setup_cache(self):
        return {case.name: worst_error(case) for case in ACCURACY if Here().offers(case)}

    @tracked("x", "accuracy: worst error over its bound")
    def track_error(self, cache, case):
        return cache.get(case.name, math.nan)
