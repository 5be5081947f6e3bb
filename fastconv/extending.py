"""What Numba is told: that fastconv's functions may be called from users' own `numba.njit` code.

Numba calls `init` before it first compiles, in every process, whether that uses fastconv or not: nothing is imported or
compiled here. Modules offer their functions; Numba is told of them once both have happened.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

# Compiled code calls through a table of addresses that it knows by the name of a symbol.
SYMBOL = "fastconv_table"
TABLE = np.zeros(512, np.int64)

# SciPy's functions, and who implements them: offered once compiled code speaks of one.
_SIGNAL = {
    "convolve": "signal.by_method",
    "correlate": "signal.by_method",
    "convolve2d": "signal.by_boundary",
    "correlate2d": "signal.by_boundary",
}

_offers: list[tuple[Any, ...]] = []
_is_told = False


def init() -> None:
    """Numba's entry point."""
    global _is_told
    import llvmlite.binding
    from numba.extending import typeof_impl

    llvmlite.binding.add_symbol(SYMBOL, TABLE.ctypes.data)
    _is_told = True
    for offered in _offers:
        _tell(*offered)
    generic = typeof_impl.dispatch(object)

    def typeof_function(value: Any, context: Any) -> Any:
        """What Numba asks of a function in compiled code, before it looks among those that it was told of."""
        _offer_signal(value)
        return generic(value, context)

    typeof_impl.register(FunctionType)(typeof_function)


def _offer_signal(function: Callable[..., Any]) -> None:
    signal = sys.modules.get("scipy.signal")
    for name in _SIGNAL:
        if function is getattr(signal, name, None):
            offer(function, _SIGNAL.pop(name), name)
            return


def offer(function: Callable[..., Any], maker: str, *facts: Any) -> None:
    """Have Numba know a function, which `njit.<maker>` implements, from facts and the types of arguments."""
    _offers.append((function, maker, *facts))
    if _is_told:
        _tell(function, maker, *facts)


def _tell(function: Callable[..., Any], maker: str, *facts: Any) -> None:
    from numba.core.registry import cpu_target
    from numba.extending import overload

    # Numba compares the signature with the implementation's, which has no annotations and, as all that it compiles, no
    # arguments that are keywords only.
    given = inspect.signature(function).parameters.values()
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(each.name, kind, default=each.default) for each in given]
    signature = inspect.Signature(parameters)

    def typing(*args: Any, **options: Any) -> Any:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        module, name = maker.split(".")
        makers = importlib.import_module(f".njit.{module}", __package__)  # when the first caller is compiled
        return getattr(makers, name)(*facts, **bound.arguments)

    typing.__signature__ = signature  # type: ignore[attr-defined]
    overload(function, prefer_literal=True)(typing)
    cpu_target.typing_context.refresh()  # it may be in the middle of a compilation that imported the function
