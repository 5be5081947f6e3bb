"""What Numba is told: that fastconv's functions may be called from users' own `numba.njit` code.

Numba calls `init` before it first compiles, in every process, whether that uses fastconv or not: nothing is imported or
compiled here. Modules offer their functions, and Numba is told of one when compiled code first speaks of it: by the
thread that compiles, which has Numba's lock. Nobody waits for that lock while a module is imported: who has it may be
waiting for the module.
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
TABLE = np.zeros(8192, np.int64)
MEANING = 0  # the word that says what "auto" means: a place in `ALGORITHMS`

# SciPy's functions, and who implements them: offered once compiled code speaks of one.
_SCIPY = {
    "scipy.signal": {
        "convolve": "signal.by_method",
        "correlate": "signal.by_method",
        "convolve2d": "signal.by_boundary",
        "correlate2d": "signal.by_boundary",
    },
    "scipy.ndimage": {
        "correlate1d": "ndimage.weighted_axis",
        "convolve1d": "ndimage.weighted_axis",
        "correlate": "ndimage.weighted_window",
        "convolve": "ndimage.weighted_window",
        "gaussian_filter1d": "ndimage.gaussian_axis",
        "gaussian_filter": "ndimage.gaussian",
        "uniform_filter1d": "ndimage.box_axis",
        "uniform_filter": "ndimage.mean",
        "maximum_filter1d": "ndimage.box_axis",
        "maximum_filter": "ndimage.extremum",
        "minimum_filter1d": "ndimage.box_axis",
        "minimum_filter": "ndimage.extremum",
    },
}

_offers: dict[Any, tuple[Any, ...]] = {}
_told: set[Any] = set()  # the functions among them that Numba knows
_is_asked = False  # whether Numba asks about functions


def init() -> None:
    """Numba's entry point."""
    global _is_asked
    from numba.extending import typeof_impl

    generic = typeof_impl.dispatch(object)

    def typeof_function(value: Any, context: Any) -> Any:
        """What Numba asks of a function in compiled code, before it looks among those that it was told of."""
        _offer_scipy(value)
        if value in _offers and value not in _told:
            _tell(value)
        return generic(value, context)

    typeof_impl.register(FunctionType)(typeof_function)
    _is_asked = True


def _offer_scipy(function: Callable[..., Any]) -> None:
    patch = sys.modules.get(f"{__package__}.scipy_patch")
    for name, makers in _SCIPY.items():
        if (module := sys.modules.get(name)) is None:
            continue
        for label, maker in makers.items():
            # Imported by its name before it was patched, too.
            theirs = patch.original(name.partition(".")[2], label) if patch else None
            if function is getattr(module, label, None) or function is theirs:
                _offers.setdefault(function, (maker, label))


def offer_drop_ins(module: str, functions: dict[str, Any]) -> None:
    """Have Numba know functions by whose names SciPy's are known."""
    for name, maker in _SCIPY[module].items():
        offer(functions[name], maker, name)


def offer(function: Callable[..., Any], maker: str, *facts: Any) -> None:
    """Have Numba know a function, which `njit.<maker>` implements, from facts and the types of arguments."""
    _offers[function] = maker, *facts
    if not _is_asked and "numba.core.entrypoints" in sys.modules:
        init()  # Numba calls it in one thread, while others compile


def _tell(function: Callable[..., Any]) -> None:
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    from .kernels.jit import overload_part

    with global_compiler_lock:
        if function in _told:  # another thread was first
            return
        maker, *facts = _offers[function]
        overload_part(function)(_typing(function, maker, facts))
        cpu_target.typing_context.refresh()  # it is in the middle of a compilation
        _told.add(function)


class _Signature(inspect.Signature):
    """A signature that says which argument was meant: Numba tells who compiles a call what `bind` says."""

    def bind(self, /, *args: Any, **options: Any) -> inspect.BoundArguments:
        for option in options:
            if option not in self.parameters:
                import difflib

                meant = difflib.get_close_matches(option, self.parameters, 1, cutoff=0.5)
                hint = f"; did you mean {meant[0]!r}?" if meant else f"; the arguments are {', '.join(self.parameters)}"
                raise TypeError(f"there is no argument {option!r}{hint}")
        return super().bind(*args, **options)


def _typing(function: Callable[..., Any], maker: str, facts: list[Any]) -> Callable[..., Any]:
    # Numba compares the signature with the implementation's, which has no annotations and, as all that it compiles, no
    # arguments that are keywords only.
    given = inspect.signature(function).parameters.values()
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(each.name, kind, default=each.default) for each in given]
    signature = _Signature(parameters)

    def typing(*args: Any, **options: Any) -> Any:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        module, name = maker.split(".")
        makers = importlib.import_module(f".njit.{module}", __package__)  # when the first caller is compiled
        return getattr(makers, name)(*facts, **bound.arguments)

    typing.__signature__ = signature  # type: ignore[attr-defined]
    return typing
