"""Sequences: `fastconv.numpy`'s functions in compiled code, which call those of `fastconv`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import TypingError

from .. import problem as checks
from ..conv import convolve1d, correlate1d
from ..kernels.jit import part
from ..numpy import EMPTY, MODES
from .arguments import array_of, checked, name_of


def implement(name: str, a: Any, v: Any, mode: Any) -> Callable[..., Any]:
    """The implementation of `fastconv.numpy`'s `convolve` or `correlate` for arguments of the given types."""
    for label, kind in (("a", a), ("v", v)):
        array_of(name, label, kind)
        if kind.ndim != 1:
            raise TypingError(f"{name}(): {label} has {kind.ndim} dimensions, expected one")
    chosen = name_of(name, "mode", mode)
    checked(checks.check_name, name, "mode", chosen, MODES)
    is_full, is_same, flip = chosen == "full", chosen == "same", name == "convolve"
    empty = tuple(EMPTY.format(name, label) for label in "av")
    function = convolve1d if flip else correlate1d

    @part
    def slide(longer, shorter):  # type: ignore[no-untyped-def]
        last = shorter.size - 1
        before = last if is_full else (shorter.size // 2 if is_same else 0)
        after = last if is_full else (last - shorter.size // 2 if is_same else 0)
        return function(longer[None, None], shorter[None, None], padding_mode=((before, after),))[0, 0]

    if flip:

        def implementation(a, v, mode="full"):  # type: ignore[no-untyped-def]
            if a.size == 0:
                raise ValueError(empty[0])
            if v.size == 0:
                raise ValueError(empty[1])
            return slide(a, v) if a.size >= v.size else slide(v, a)

    else:

        def implementation(a, v, mode="valid"):  # type: ignore[no-untyped-def]
            if a.size == 0:
                raise ValueError(empty[0])
            if v.size == 0:
                raise ValueError(empty[1])
            if a.size < v.size:
                return np.conj(slide(v, np.conj(a)))[::-1]
            return slide(a, np.conj(v))[::1]

    return implementation
