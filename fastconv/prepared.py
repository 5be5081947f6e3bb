"""Calls of drop-ins for PyTorch that are prepared once: checked, compiled, planned; and then found by what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import problem as checks
from .launch import import_kernels
from .problem import Array
from .torch_names import Refusal

Run = Callable[..., Any]


def taken(function: str, name: str, value: Any) -> Array:
    """An argument as an array that kernels read: itself, or a copy where it is none of a type, byte order or place."""
    if type(value) is not np.ndarray or not value.dtype.isnative:
        try:
            value = checks.as_array(function, name, value)
        except ValueError as error:
            raise Refusal(str(error)) from None
    array: Array = value
    return array if array.flags.aligned else array.copy()


def prepared(*modules: str) -> Callable[[Callable[..., Run]], Callable[..., Run]]:
    """Keep what a function makes of a name, an array's form and options: what runs all calls alike.

    It refuses by ValueError or TypeError, and needs so many modules of kernels.
    """

    def keeping(prepare: Callable[..., Run]) -> Callable[..., Run]:
        kept: dict[Any, Run] = {}

        def find(name: str, x: Array, *options: Any) -> Run:
            exact = checks.key_of(options)
            key = name, x.shape, x.strides, x.dtype, exact
            run = kept.get(key)
            if run is None:
                import_kernels(*modules)
                try:
                    run = prepare(name, x, *options)
                except ValueError as error:
                    raise Refusal(str(error)) from None
                checks.keep(kept, exact and key, run)
            return run

        return find

    return keeping
