"""The filters of `fastconv.ndimage` on Dask arrays, lazily: chunks of any sizes, which the results keep.

There is one mechanism for all of them. A filter of a chunk is the filter for NumPy arrays on the chunk and what lies
around it; how much that is, a call of the same function on an empty array tells, which also refuses what is wrong with
the arguments and says what dtype the result has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np

from .. import ndimage
from ..filters import Window
from ..kernels.shapes import BOUNDARIES
from ..ndimage import arguments
from ..ndimage.running import Steps, watching
from ..problem import Array
from .documents import describe
from .graph import Graph, Parts, as_dask
from .halo import neighbourhoods
from .region import Blocks, borrowed, laid_together

__all__ = [
    "black_tophat",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_gradient_magnitude",
    "generic_laplace",
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "morphological_gradient",
    "morphological_laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
    "white_tophat",
]

# Functions whose second step reads what the first has made; in all others, steps read the input side by side.
_IN_SEQUENCE = "grey_opening", "grey_closing", "white_tophat", "black_tophat"


def _define(name: str, arguments: str) -> Callable[..., da.Array]:
    original = getattr(ndimage, name)
    signature = inspect.signature(original)

    def function(input: Any, *args: Any, **kwargs: Any) -> da.Array:
        x = as_dask(name, "input", input)
        like = np.empty((0,) * x.ndim, x.dtype)
        options = _options(name, signature, like, args, kwargs)
        with watching() as seen:
            result = original(**options)
        del options["input"]
        options["output"] = result.dtype
        if options.get("footprint") is not None:
            options["size"] = None  # it counts for nothing, of which each block would warn
        plan = [neighbourhoods(n, *reach) for n, reach in zip(x.chunks, _reaches(name, seen, x.ndim))]
        return Graph(name, x, filter_block, name, options).array(plan, x.chunks, result.dtype)

    function.__signature__ = signature  # type: ignore[attr-defined]
    return describe(function, original, arguments, "(4, 4)", "((2, 2), (2, 2))")


def _options(
    name: str, signature: inspect.Signature, like: Array, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments by their names, the input being `like` it."""
    try:
        options = signature.bind(like, *args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None
    options |= options.pop("kwargs", {})
    for label, value in options.items():
        if label == "output" and isinstance(value, (np.ndarray, da.Array)):
            raise TypeError(
                f"{name}(): output is a {type(value).__name__}, expected None or a dtype: a lazy result has no memory "
                "yet"
            )
        if isinstance(value, da.Array):
            raise TypeError(f"{name}(): {label} is a Dask array, expected a NumPy one; call its .compute() first")
    return options


def _reaches(name: str, seen: list[Steps], ndim: int) -> list[tuple[int, int, set[int]]]:
    """How far the steps of a filter reach before and after along each axis, and by which rules beyond the ends."""
    reaches: list[tuple[int, int, set[int]]] = [(0, 0, set())] * ndim
    join = sum if name in _IN_SEQUENCE else max
    for steps in seen:
        for axis, before, size, boundary in _axes_of(steps):
            if size > 1:
                low, high, boundaries = reaches[axis]
                ends = join((low, before)), join((high, size - 1 - before))
                reaches[axis] = (*ends, boundaries | {BOUNDARIES.index(boundary)})
    return reaches


def _axes_of(steps: Steps) -> list[tuple[int, int, int, str]]:
    """Of each axis that steps go along: its number, elements before the output, the window's size, the boundary."""
    if isinstance(steps, Window):
        return list(zip(range(steps.footprint.ndim), steps.before, steps.footprint.shape, steps.boundaries))
    return [(step.axis, step.before, step.size, step.boundary) for step in steps]


def filter_block(name: str, options: dict[str, Any], parts: Parts, blocks: Blocks) -> Array:
    """A block, filtered together with what lies around it, which is cut off."""
    filtered = getattr(ndimage, name)
    with laid_together([part.pieces for part in parts], blocks) as region:
        if region.shape == tuple(part.outputs for part in parts):
            made: Array = filtered(region, **options)
            return made
        with borrowed(region.shape, options["output"]) as whole:
            filtered(region, **options | {"output": whole})
            kept: Array = whole[tuple(part.kept for part in parts)].copy()
    return kept


def _define_generic(name: str, magnitude: bool) -> Callable[..., da.Array]:
    """A sum of derivatives, which a function of Dask arrays makes: how far it reaches is its own affair."""
    original = getattr(ndimage, name)
    signature = inspect.signature(original)
    label = list(signature.parameters)[1]

    def function(input: Any, *args: Any, **kwargs: Any) -> da.Array:
        x = as_dask(name, "input", input)
        like = np.empty((0,) * x.ndim, x.dtype)
        options = _options(name, signature, like, args, kwargs)
        derivative, output, mode, cval, extra, keywords, axes = (
            options.get(parameter.name, parameter.default) for parameter in list(signature.parameters.values())[1:]
        )
        axes = arguments.as_axes(name, axes, x.ndim)
        modes = arguments.per_axis(name, "mode", mode, len(axes))
        dtype = arguments.asked_output(name, output, like, False)[1]

        def derived(x: da.Array, axis: int, mode: Any) -> Any:
            return derivative(x, axis, dtype, mode, cval, *extra, **(keywords or {}))

        total = None
        for axis, each in zip(axes, modes):
            if not isinstance(made := derived(da.from_array(like), axis, each), da.Array):
                raise TypeError(
                    f"{name}(): {label} gives a {type(made).__name__}, expected a Dask array: take a function of Dask "
                    "arrays, as those of fastconv.dask.ndimage"
                )
            more = derived(x, axis, each)
            more = more * more if magnitude else more
            total = more if total is None else total + more
        if total is None:
            return x.astype(dtype)
        return (da.sqrt(total) if magnitude else total).astype(dtype)

    function.__signature__ = signature  # type: ignore[attr-defined]
    return describe(function, original, ", fastconv.dask.ndimage.sobel", "(4, 4)", "((2, 2), (2, 2))")


# With an example's arguments besides the input.
black_tophat = _define("black_tophat", ", 3")
convolve = _define("convolve", ", [[0, 1, 0], [1, 1, 1], [0, 1, 0]]")
convolve1d = _define("convolve1d", ", [1, 2, 1]")
correlate = _define("correlate", ", [[0, 1, 0], [1, 1, 1], [0, 1, 0]]")
correlate1d = _define("correlate1d", ", [1, 2, 1]")
gaussian_filter = _define("gaussian_filter", ", 1.5")
gaussian_filter1d = _define("gaussian_filter1d", ", 1.5")
gaussian_gradient_magnitude = _define("gaussian_gradient_magnitude", ", 1.5")
gaussian_laplace = _define("gaussian_laplace", ", 1.5")
generic_gradient_magnitude = _define_generic("generic_gradient_magnitude", magnitude=True)
generic_laplace = _define_generic("generic_laplace", magnitude=False)
grey_closing = _define("grey_closing", ", 3")
grey_dilation = _define("grey_dilation", ", 3")
grey_erosion = _define("grey_erosion", ", 3")
grey_opening = _define("grey_opening", ", 3")
laplace = _define("laplace", "")
maximum_filter = _define("maximum_filter", ", 3")
maximum_filter1d = _define("maximum_filter1d", ", 3")
minimum_filter = _define("minimum_filter", ", 3")
minimum_filter1d = _define("minimum_filter1d", ", 3")
morphological_gradient = _define("morphological_gradient", ", 3")
morphological_laplace = _define("morphological_laplace", ", 3")
prewitt = _define("prewitt", "")
sobel = _define("sobel", "")
uniform_filter = _define("uniform_filter", ", 3")
uniform_filter1d = _define("uniform_filter1d", ", 3")
white_tophat = _define("white_tophat", ", 3")
