"""Transposed convolutions, which are gradients of inputs too: ordinary ones with the phases of a kernel, interleaved.

With strides of s, the outputs that are s apart are a convolution with steps of 1 of the input and every s-th tap of the
kernel. So a transposed convolution is as many of them as the strides' product, each of which reads a view of the kernel
and writes a view of the result. No input is stuffed with zeros, and nothing of the size of an array is made besides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .dispatch import Run, prepare
from .kernels.shapes import CONSTANT, Axis, Call, Phase, count_phases, drop_steps, phase_of
from .launch import CONVOLUTION, import_kernels
from .problem import Array, Problem
from .verbose import traced

Index = tuple[slice, ...]


class Transposed(NamedTuple):
    """What runs a transposed convolution: `allocate` makes a result of what nothing reaches."""

    run: Run
    allocate: Callable[..., Array]


class _Part(NamedTuple):
    """A phase of all axes: what runs it, on which parts of the arrays."""

    run: Run
    x: Index | None  # None: all of it
    w: Index
    out: Index


def prepare_transposed(
    function: str, call: Call, axes: tuple[Axis, ...], dtype: np.dtype[Any], algorithm: str
) -> Transposed:
    """What runs the transposed convolution of `axes`, each of which makes `axis.size` outputs of `axis.out` inputs.

    `call.channels` and `call.outputs` are those of a group of the transposed one; the kernel is
    `(groups * channels, outputs, *K)`.
    """
    import_kernels(*CONVOLUTION)
    problem = Problem(function, call, axes, dtype, dtype, algorithm)
    phases = [[phase_of(axis, tap) for tap in range(count_phases(axis))] for axis in axes]
    phases = [[phase for phase in each if phase.out > 0] for each in phases]
    parts = [_prepare_part(problem, chosen) for chosen in itertools.product(*phases)]
    sizes = [sum(phase.out for phase in each) for each in phases]  # no two phases share an output
    is_whole = sizes == [axis.size for axis in axes]
    order = _ordering(call)

    def run_one(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        part.run(x if part.x is None else x[part.x], order(w), bias, fill, out)

    def run_all(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        w = order(w)
        if bias is not None and not is_whole:
            out[...] = bias.reshape(-1, *[1] * len(axes))
        for each, of_x, of_w, of_out in parts:
            each(x if of_x is None else x[of_x], w[of_w], bias, fill, out[of_out])

    run: Run = run_all
    if is_whole and all(axis.stride == 1 for axis in axes):  # all of the kernel, to all of the result
        (part,) = parts
        run = run_one
    shapes = {
        "input": (call.batch, call.groups * call.channels, *(axis.out for axis in axes)),
        "weight": (call.groups * call.channels, call.outputs, *(axis.kernel for axis in axes)),
    }
    run = traced(run, problem, f"transposed, {len(parts)} phases", **shapes)
    return Transposed(run, np.empty if is_whole or call.has_bias else np.zeros)


def _prepare_part(transposed: Problem, phases: tuple[Phase, ...]) -> _Part:
    leading = (slice(None),) * 2
    axes = list(zip(transposed.axes, phases, strict=True))
    parts = [
        drop_steps(Axis(p.end - p.begin, p.taps, 1, p.dilation, p.before, p.after, CONSTANT, p.out)) for p in phases
    ]
    _, run = prepare(transposed._replace(axes=tuple(parts)), has_rows=transposed.axes[-1].stride == 1)
    is_all = all(p.end - p.begin == axis.out for axis, p in axes)
    return _Part(
        run,
        None if is_all else (*leading, *(slice(p.begin, p.end) for p in phases)),
        (*leading, *(slice(p.tap, None, p.tap_step) for p in phases)),
        (*leading, *(slice(p.first, None, axis.stride) for axis, p in axes)),
    )


def _ordering(call: Call) -> Callable[[Array], Array]:
    """What makes a kernel `(groups * channels, outputs, *K)` one of `(groups * outputs, channels, *K)`.

    Without groups, or where they have one channel or output, that is another view of it; else a copy of the kernel.
    """
    if call.groups == 1:
        return lambda w: w.swapaxes(0, 1)
    if call.channels == call.outputs == 1:
        return lambda w: w

    def split(w: Array) -> Array:
        kernel = w.shape[2:]
        by_group = w.reshape(call.groups, call.channels, call.outputs, *kernel).swapaxes(1, 2)
        return by_group.reshape(call.groups * call.outputs, call.channels, *kernel)

    return split
