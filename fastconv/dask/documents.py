"""Docstrings: what a function does stands with the one for NumPy arrays, and here what is different."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def describe(function: F, original: Callable[..., object], arguments: str, shape: str, chunks: str) -> F:
    """Give a function the name of `original`, and an example: of `chunks` for an input of ones, chunked in twos."""
    name, module = original.__name__, original.__module__.split(".")[1]
    home = "fastconv.ndimage" if module == "ndimage" else "fastconv"
    here = "fastconv.dask.ndimage" if module == "ndimage" else "fastconv.dask"
    first, taken = next(iter(inspect.signature(original).parameters)), "output" if module == "ndimage" else "out"
    if taken not in inspect.signature(original).parameters:
        unlike = ""
    elif taken == "out":
        unlike = ", but that `out` has to be None: a lazy result has no memory yet"
    else:
        unlike = ", but that `output` is None or a dtype: a lazy result has no memory yet"
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""`{home}.{name}` of a Dask array, lazily and chunk by chunk.

    Parameters
    ----------
    {first} : dask.array.Array
        In chunks of any sizes, which have to be known. A NumPy array is wrapped in one.
    ...
        As for `{home}.{name}`{unlike}.

    Returns
    -------
    dask.array.Array
        Each block is made by one task, of the blocks that hold what it needs.

    Raises
    ------
    ValueError, TypeError
        When the graph is made, as `{home}.{name}` raises them, and for unknown chunk sizes.

    Examples
    --------
    >>> import dask.array as da, fastconv.dask
    >>> x = da.ones({shape}, chunks=2)
    >>> {here}.{name}(x{arguments}).chunks
    {chunks}
    """
    return function
