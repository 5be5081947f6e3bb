"""What Numba is told: that fastconv's functions may be called from users' own `numba.njit` code.

Numba calls `init` before it first compiles, in every process, whether that uses fastconv or not: nothing is imported or
compiled here. Modules offer their functions; Numba is told of them once both have happened.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

# Compiled code calls through a table of addresses that it knows by the name of a symbol. Another number stands for
# another layout of the table or of frames: code that was kept goes on, or is not found.
SYMBOL = "fastconv_table_1"
TABLE = np.zeros(512, np.int64)

_offers: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
_is_told = False


def init() -> None:
    """Numba's entry point."""
    global _is_told
    import llvmlite.binding

    llvmlite.binding.add_symbol(SYMBOL, TABLE.ctypes.data)
    _is_told = True
    for offered in _offers:
        _tell(*offered)


def offer(function: Callable[..., Any], typing: Callable[..., Any]) -> None:
    """Have Numba know a function, whose implementation `typing` gives for the types of its arguments."""
    _offers.append((function, typing))
    if _is_told:
        _tell(function, typing)


def _tell(function: Callable[..., Any], typing: Callable[..., Any]) -> None:
    from numba.core.registry import cpu_target
    from numba.extending import overload

    overload(function, prefer_literal=True)(typing)
    cpu_target.typing_context.refresh()  # it may be in the middle of a compilation that imported the function


# Typings have no annotations, since Numba compares their signatures with those of implementations. What they need is
# imported when the first caller is compiled.


def convolution(*facts: Any) -> Callable[..., Any]:
    """The typing of a function of `conv.DEFINED`, of which facts are known."""

    def typing(  # type: ignore[no-untyped-def]
        x,
        w,
        groups=1,
        stride=1,
        padding_mode="valid",
        dilation=1,
        fillvalue=0,
        bias=None,
        boundary="constant",
        activation=None,
        algorithm="auto",
        out=None,
    ):
        options = groups, stride, padding_mode, dilation, fillvalue, bias, boundary, activation, algorithm, out
        return _overloads().convolution(*facts, x, w, *options)

    return typing


def numpy_convolve(a, v, mode="full"):  # type: ignore[no-untyped-def]
    """The typing of `fastconv.numpy.convolve`."""
    return _overloads().sequences("convolve", a, v, mode)


def numpy_correlate(a, v, mode="valid"):  # type: ignore[no-untyped-def]
    """The typing of `fastconv.numpy.correlate`."""
    return _overloads().sequences("correlate", a, v, mode)


def _overloads() -> Any:
    return importlib.import_module(".overloads", __package__)
