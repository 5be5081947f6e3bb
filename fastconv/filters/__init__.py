"""Filters over the axes of one array, as it lies: weighted sums, means and extrema, along axes or under windows.

What `fastconv.ndimage` and others are made of. Nothing is copied but lines, a block at a time: any strides are read and
written in place, any real dtype is converted on the way, and passes may write to the array that they read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..launch import FILTERS, import_kernels
from ..problem import Array
from .calls import MAXIMUM, MEAN, MINIMUM, SUM, Pass, Run, Window

__all__ = ["MAXIMUM", "MEAN", "MINIMUM", "SUM", "Pass", "Run", "Window", "prepare_passes", "prepare_window"]


def prepare_passes(x: Array, out: Array, passes: Sequence[Pass]) -> Run:
    """What filters arrays that are like `x` and `out` in shape, strides and dtype, pass after pass.

    Results between two passes are of the dtype of `out`. If `out` is `x`, so have they to be when it runs.
    """
    import_kernels(*FILTERS)
    from .grouping import group, is_same
    from .steps import pass_step

    wanted = [each for each in passes if each.kind == SUM or each.size > 1]
    in_place = is_same(x, out)
    steps = [
        pass_step(out if i or in_place else x, out, pair, i > 0 or in_place)
        for i, pair in enumerate(group(x, out, wanted))
    ]
    if not steps:
        return _copy
    first, *others = steps
    if not others:
        return first

    def run(x: Array, out: Array) -> None:
        first(x, out)
        for step in others:
            step(out, out)

    return run


def prepare_window(x: Array, out: Array, window: Window) -> Run:
    """What filters arrays that are like `x` and `out` in shape, strides and dtype, with windows over all axes.

    The two lie in memory of their own.
    """
    import_kernels(*FILTERS)
    from .steps import window_step

    return window_step(x, out, window)


def _copy(x: Array, out: Array) -> None:
    if x is not out:
        with np.errstate(invalid="ignore"):
            np.copyto(out, x, casting="unsafe")
