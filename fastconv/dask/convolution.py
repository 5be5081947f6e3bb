"""Correlation and convolution of Dask arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

from .. import conv
from .. import problem as checks
from ..dispatch import IM2COL, MEANINGS, check_algorithm, place_of, resolved
from ..kernels.shapes import BOUNDARIES, Axis
from ..problem import Array
from .documents import describe
from .graph import Graph, Parts, as_dask, as_operand, empty, standing_in
from .halo import channels, unchanged, windows
from .region import Blocks, laid_together

_HALVES = "float16", "bfloat16"


class Options(NamedTuple):
    """What all blocks of a convolution are made with."""

    name: str
    axes: tuple[Axis, ...]  # of the whole input
    activation: str | None
    algorithm: str
    dtype: np.dtype[Any]
    read: np.dtype[Any]


def _define(name: str, rank: int | None, flip: bool) -> Callable[..., da.Array]:
    def function(
        x: Any,
        w: Any,
        *,
        groups: Any = 1,
        stride: Any = 1,
        padding_mode: Any = checks.DEFAULT_PADDING,
        padding: Any = None,
        dilation: Any = 1,
        fillvalue: Any = 0,
        bias: Any = None,
        boundary: Any = "constant",
        activation: str | None = None,
        algorithm: str = "auto",
        dtype: Any = None,
        out: None = None,
    ) -> da.Array:
        x = as_dask(name, "x", x)
        w, bias = (
            as_dask(name, label, value) if isinstance(value, da.Array) else value
            for label, value in (("w", w), ("bias", bias))
        )
        given = ("x", standing_in(x)), ("w", standing_in(w))
        told, thin = checks.as_arrays(name, *given)
        label = "padding_mode"
        if padding is not None:
            if padding_mode is not checks.DEFAULT_PADDING:
                raise checks.two_paddings(name, "padding_mode", padding_mode, padding)
            label, padding_mode = "padding", padding
        if dtype is not None:
            dtype = checks.as_dtype(name, dtype)
        if out is not None:
            raise TypeError(f"{name}(): out is a {type(out).__name__}, expected None: a lazy result has no memory yet")
        algorithm, bound = resolved(algorithm), standing_in(bias)
        try:
            result = checks.result_dtype(name, dtype, x=told, w=thin)
            options = groups, stride, padding_mode, dilation, boundary, activation, algorithm, bias is not None
            problem = checks.convolution(
                name, told, thin, result, rank, flip, *options, padding_name=label, in_chunks=True
            )
            check_algorithm(name, algorithm)
            if algorithm not in (*MEANINGS, IM2COL):
                place_of(problem)
            fill = checks.as_fill(name, fillvalue, result)
            if bias is not None:
                bound = checks.as_bias(name, bound, thin.shape[0], result)
        except (TypeError, ValueError) as error:
            raise conv.told_whole(error, name, given, told, thin, bound, fillvalue, None, dtype) from None
        if 0 in problem.out_shape:
            return empty(problem.out_shape, result)
        kept = Options(name, problem.axes, activation, algorithm, result, problem.read)
        plan: list[Sequence[Any]] = [
            unchanged(x.chunks[0]),
            channels(x.chunks[1], problem.call.groups, problem.call.outputs),
            *map(windows, x.chunks[2:], problem.axes),
        ]
        chunks = [[part.outputs for part in parts] for parts in plan]
        bias = bias if isinstance(bias, da.Array) else bound
        weights = w if isinstance(w, da.Array) else thin
        graph = Graph(name, x, correlate_block, kept, fill, as_operand(weights), as_operand(bias))
        return graph.array(plan, chunks, result)

    dims = rank or 2
    shape, kernel = (1, 1, *[6] * dims), (1, 1, *[3] * dims)
    example = f", da.ones({kernel}), padding_mode='same'"
    return describe(function, getattr(conv, name), example, f"{shape}", f"{((1,), (1,), *[(2, 2, 2)] * dims)}")


def correlate_block(options: Options, fill: Array, w: Array, bias: Array | None, parts: Parts, blocks: Blocks) -> Array:
    """A block of a convolution. Sums over channels that lie in several blocks are added in the channels' order."""
    batch, taken, *spatial = parts
    where = slice(taken.first, taken.first + taken.outputs)
    w, bias = w[where], None if bias is None else checks.cast(bias[where], options.dtype)
    if len(taken.pieces) == 1:
        return _sum(options, fill, w, bias, parts, blocks, 0)
    # Halves are computed as float32, and so are sums of them until the last is added.
    dtype = options.dtype if options.dtype.name not in _HALVES else np.dtype(np.float32)
    partial = options._replace(activation=None, dtype=dtype)
    total: Array | None = None
    for i, term in enumerate(taken.terms):
        more = _sum(partial, fill, checks.cast(w, options.dtype), None, parts, blocks, i)
        if total is None:
            total = np.zeros((len(more), taken.outputs, *more.shape[2:]), dtype)
        total[:, slice(*term.outputs)] += more
    assert total is not None
    if bias is not None or options.activation is not None:
        ones = np.ones((taken.outputs, 1, *[1] * len(spatial)), dtype)
        total = conv.correlate_nd(total, ones, groups=taken.outputs, bias=bias, activation=options.activation)
    return checks.cast(total, options.dtype)


def _sum(options: Options, fill: Array, w: Array, bias: Array | None, parts: Parts, blocks: Blocks, i: int) -> Array:
    """The sums over the channels of one term."""
    batch, taken, *spatial = parts
    term = taken.terms[i]
    outs = slice(*term.outputs)
    with laid_together([batch.pieces, (taken.pieces[i],), *[part.pieces for part in spatial]], blocks) as region:
        made = getattr(conv, options.name)(
            checks.cast(region, options.read),  # a half, before it is computed as another type
            w[outs, slice(*term.inputs)],
            groups=term.groups,
            stride=tuple(axis.stride for axis in options.axes),
            padding=tuple((part.before, part.after) for part in spatial),
            dilation=tuple(axis.dilation for axis in options.axes),
            fillvalue=fill[0],
            bias=None if bias is None else bias[outs],
            boundary=tuple(BOUNDARIES[axis.boundary] for axis in options.axes),
            activation=options.activation,
            algorithm=options.algorithm,
            dtype=options.dtype,
        )
    kept: Array = made[:, :, *[part.kept for part in spatial]]
    return kept


correlate1d, correlate2d, correlate3d, correlate_nd, convolve1d, convolve2d, convolve3d, convolve_nd = (
    _define(*each) for each in conv.DEFINED
)
