"""`scipy.signal`'s `convolve`, `correlate`, `convolve2d` and `correlate2d` in compiled code, on fastconv's kernels.

Arguments, sizes and results are SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import TypingError

from .. import problem as checks
from ..conv import convolve_nd, correlate_nd
from ..kernels.jit import part
from .arguments import array_of, checked, name_of

_MODES = ("full", "valid", "same")
_BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "symmetric",
    "symmetric": "symmetric",
}
# What Numba cannot write for any number of axes.
_REVERSED = {1: lambda a: a[::-1], 2: lambda a: a[::-1, ::-1], 3: lambda a: a[::-1, ::-1, ::-1]}


def by_method(name: str, in1: Any, in2: Any, mode: Any, method: Any) -> Callable[..., Any]:
    """The implementation of `convolve` and `correlate`."""
    asked = name_of(name, "method", method)
    checked(checks.check_name, name, "method", asked, ("auto", "direct"))
    slide = _slide(name, in1, in2, mode, "constant", swaps=True, algorithm=asked)

    def implementation(in1, in2, mode="full", method="auto"):  # type: ignore[no-untyped-def]
        return slide(in1, in2, 0)

    return implementation


def by_boundary(name: str, in1: Any, in2: Any, mode: Any, boundary: Any, fillvalue: Any) -> Callable[..., Any]:
    """The implementation of `convolve2d` and `correlate2d`."""
    given = name_of(name, "boundary", boundary)
    checked(checks.check_name, name, "boundary", given, tuple(_BOUNDARIES))
    for label, kind in (("in1", in1), ("in2", in2)):
        array_of(name, label, kind)
        if kind.ndim != 2:
            raise TypingError(f"{name}(): {label} has {kind.ndim} dimensions, expected 2")
    slide = _slide(name, in1, in2, mode, _BOUNDARIES[given], swaps=False)

    def implementation(in1, in2, mode="full", boundary="fill", fillvalue=0):  # type: ignore[no-untyped-def]
        return slide(in1, in2, fillvalue)

    return implementation


def _slide(
    name: str, in1: Any, in2: Any, mode: Any, boundary: str, swaps: bool, algorithm: str = "auto"
) -> Callable[..., Any]:
    """A function of two arrays and what lies around the first. `swaps`: the larger may stand in for the first."""
    kinds = [array_of(name, label, kind).kind for label, kind in (("in1", in1), ("in2", in2))]
    rank = in1.ndim
    if in2.ndim != rank or not 1 <= rank <= 3:
        raise TypingError(f"{name}(): in1 and in2 have {rank} and {in2.ndim} dimensions, expected 1 to 3 of both")
    chosen = name_of(name, "mode", mode)
    checked(checks.check_name, name, "mode", chosen, _MODES)
    correlates, conjugates = name.startswith("correlate"), name.startswith("correlate") and "c" in kinds
    may_swap, is_valid = chosen == "valid" or (swaps and chosen == "full"), chosen == "valid"
    # The middle of SciPy's correlate, for even kernels, is that of a convolution, and that of its correlate2d is not.
    is_plain, reversed_ = name == "correlate2d", part(_REVERSED[rank])
    function = correlate_nd if is_plain else convolve_nd
    empty = f"{name}(): in1 or in2 is empty, expected at least one element"
    misfit = "For 'valid' mode, one must be at least as large as the other in every dimension"

    # Numba compiles what follows; it drops the branches of what is known by now.
    @part
    def run(x, w, fillvalue):  # type: ignore[no-untyped-def]
        kernel = np.conj(w) if conjugates else w
        if correlates and not is_plain:
            kernel = reversed_(kernel)
        x, kernel = x[None, None], kernel[None, None]
        sums = function(x, kernel, padding_mode=chosen, boundary=boundary, fillvalue=fillvalue, algorithm=algorithm)
        return sums[0, 0]

    @part
    def is_swapped(shape1, shape2):  # type: ignore[no-untyped-def]
        larger, smaller, size1, size2 = True, True, 1, 1
        for i in range(rank):
            larger, smaller = larger and shape1[i] >= shape2[i], smaller and shape1[i] <= shape2[i]
            size1, size2 = size1 * shape1[i], size2 * shape2[i]
        if is_valid:
            if not (larger or smaller):
                raise ValueError(misfit)
            return not larger
        return size2 > size1

    def slide(in1, in2, fillvalue):  # type: ignore[no-untyped-def]
        if in1.size == 0 or in2.size == 0:
            raise ValueError(empty)
        if may_swap and is_swapped(in1.shape, in2.shape):
            swapped = run(in2, in1, fillvalue)
            if not correlates:
                return swapped
            turned = reversed_(swapped).copy()
            return np.conj(turned) if conjugates and not is_plain else turned  # nor does SciPy's correlate2d
        return run(in1, in2, fillvalue)

    compiled: Callable[..., Any] = part(slide)
    return compiled
