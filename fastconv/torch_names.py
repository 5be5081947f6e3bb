"""Arguments of convolutions as PyTorch has them: names in messages, forms of numbers, one dtype for all arrays.

It raises RuntimeError where users of NumPy expect ValueError: errors are both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import problem as checks
from .problem import Array, Misfits


class Refusal(ValueError, RuntimeError):
    """A wrong shape or value, under PyTorch's names of functions and arguments."""


def refusal(error: Exception, **names: str) -> Exception:
    """An error as PyTorch's functions raise it, of arguments by their names there: `x="input"`."""
    text = str(error)
    for name, theirs in names.items():
        text = re.sub(rf"\b{name}\b", theirs, text)
    return (TypeError if isinstance(error, TypeError) else Refusal)(text)


def common_dtype(function: str, **arrays: Array) -> np.dtype[Any]:
    """The one dtype that all of the arrays have, in native byte order: PyTorch promotes none of a convolution's."""
    given = {array.dtype.newbyteorder("=") for array in arrays.values()}
    if len(given) > 1:
        shown = " and ".join(f"{name} has dtype {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"{function}(): {shown}, expected one dtype for all; convert one of them with .astype")
    return given.pop()


def as_bias(function: str, bias: Any, outputs: int, dtype: np.dtype[Any]) -> Array:
    """`bias`, which has to have the dtype of the other arrays."""
    if type(bias) is not np.ndarray or bias.dtype != dtype:
        bias = checks.as_array(function, "bias", bias)
        common_dtype(function, bias=bias, input=np.empty(0, dtype))
    return checks.as_bias(function, bias, outputs, dtype)


def as_ints(function: str, name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """An int for every spatial axis, or one for each; a sequence of one is an int here, and a bool is none."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    if any(isinstance(each, (bool, np.bool)) for each in (value if isinstance(value, (tuple, list)) else [value])):
        raise TypeError(f"{function}(): {name} is {value!r}, expected an int")
    return checks.as_ints(function, name, value, rank, least)


def check_shape(misfits: Misfits, name: str, shape: Sequence[int], rank: int, leading: str, may_lack: str = "") -> None:
    """Note a number of dimensions that does not fit; a batch that `may_lack` need not be there."""
    if len(shape) != rank + len(leading) and not (may_lack and len(shape) == rank + len(leading) - 1):
        others = f" or {checks.dimensions(rank, leading.removeprefix(may_lack))}" if may_lack else ""
        misfits.say(f"{name} has shape {tuple(shape)}, expected {checks.dimensions(rank, leading)}{others}")


def check_filled(misfits: Misfits, name: str, shape: Sequence[int], leading: int) -> None:
    """Note an empty spatial axis, which PyTorch takes of an empty batch only."""
    if 0 in shape[leading:] and shape[0] != 0:
        misfits.say(f"{name} has shape {tuple(shape)}, expected no empty spatial axis")


def check_weight(misfits: Misfits, shape: Sequence[int]) -> None:
    """Note a kernel without elements, or none at all."""
    if 0 in shape[2:]:
        misfits.say(f"weight has shape {tuple(shape)}, expected no empty spatial axis")
    elif shape[0] == 0:
        misfits.say(f"weight has shape {tuple(shape)}, expected one channel or more in its first axis")
