"""Transposed convolutions, which are gradients of inputs too: ordinary ones with the phases of a kernel, interleaved.

With strides of s, the outputs that are s apart are a convolution with steps of 1 of the input and every s-th tap of the
kernel. So a transposed convolution is as many of them as the strides' product, each of which reads a view of the kernel
and writes a view of the result. No input is stuffed with zeros, and nothing of the size of an array is made besides.
Phases of the last axis run together, where kernels do that, and are stored side by side; or those that read alike do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .dispatch import Run, prepare, prepare_phases
from .kernels.shapes import Axis, Call, Phase, alike, axis_of, count_phases, phase_of
from .launch import CONVOLUTION, import_kernels
from .problem import Array, Problem
from .verbose import traced

Index = tuple[slice, ...]


class Transposed(NamedTuple):
    """What runs a transposed convolution: `allocate` makes a result of what nothing reaches."""

    run: Run
    allocate: Callable[..., Array]


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
    *leading, last = phases
    parts = [part for chosen in itertools.product(*leading) for part in _prepare_row(problem, chosen, last)]
    sizes = [sum(phase.out for phase in each) for each in phases]  # no two phases share an output
    is_whole = sizes == [axis.size for axis in axes]
    order = _ordering(call)

    def run_one(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        part(x, order(w), bias, fill, out)

    def run_all(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        w = order(w)
        if bias is not None and not is_whole:
            out[...] = bias.reshape(-1, *[1] * len(axes))
        for each in parts:
            each(x, w, bias, fill, out)

    run: Run = run_all
    if is_whole and all(axis.stride == 1 for axis in axes):  # all of the kernel, to all of the result
        (part,) = parts
        run = run_one
    shapes = {
        "input": (call.batch, call.groups * call.channels, *(axis.out for axis in axes)),
        "weight": (call.groups * call.channels, call.outputs, *(axis.kernel for axis in axes)),
    }
    run = traced(run, problem, f"transposed, {math.prod(map(len, phases))} phases", **shapes)
    return Transposed(run, np.empty if is_whole or call.has_bias else np.zeros)


def _prepare_row(transposed: Problem, leading: tuple[Phase, ...], last: list[Phase]) -> list[Run]:
    """What runs a phase of the leading axes and these of the last one: a call for all, for those alike, or for each."""
    prepared = [_prepare_part(transposed, (*leading, phase)) for phase in last]
    together = _prepare_together(transposed, leading, last, prepared)
    if together is not None:
        return [together]
    groups: dict[Phase, list[int]] = {}
    for i, phase in enumerate(last):
        groups.setdefault(alike(phase), []).append(i)
    runs = []
    for places in groups.values():
        some = [prepared[i] for i in places]
        # All of them were asked for above.
        together = None if len(groups) == 1 else _prepare_together(transposed, leading, [last[i] for i in places], some)
        runs += [run for _, run in some] if together is None else [together]
    return runs


def _prepare_together(
    transposed: Problem, leading: tuple[Phase, ...], last: list[Phase], prepared: list[tuple[str, Run]]
) -> Run | None:
    """What runs some phases of the last axis in one call, where the kernels that would run each of them do that."""
    if len(last) < 2 or len({name for name, _ in prepared}) > 1:
        return None
    axis = transposed.axes[-1]
    together = prepare_phases(transposed._replace(axes=(*map(axis_of, leading), axis)), prepared[0][0], last)
    if together is None:
        return None
    everything = Phase(0, 1, axis.kernel, 0, axis.out, 1, 0, 0, 0, axis.size)
    of_x, of_w, of_out = _indices((*leading, everything), (*(axis.stride for axis in transposed.axes[:-1]), 1))

    def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        if not together(x[of_x], w[of_w], bias, fill, out[of_out]):
            for _, part in prepared:
                part(x, w, bias, fill, out)

    return run


def _prepare_part(transposed: Problem, phases: tuple[Phase, ...]) -> tuple[str, Run]:
    """What runs a phase of all axes, and its name."""
    axes = tuple(map(axis_of, phases))
    name, run = prepare(transposed._replace(axes=axes), has_rows=transposed.axes[-1].stride == 1)
    of_x, of_w, of_out = _indices(phases, tuple(axis.stride for axis in transposed.axes))

    def run_part(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        run(x[of_x], w[of_w], bias, fill, out[of_out])

    return name, run_part


def _indices(phases: tuple[Phase, ...], strides: tuple[int, ...]) -> tuple[Index, Index, Index]:
    """Which parts of the input, of the kernel and of the result phases read and write."""
    leading = (slice(None),) * 2
    return (
        (*leading, *(slice(p.begin, p.end) for p in phases)),
        (*leading, *(slice(p.tap, None, p.tap_step) for p in phases)),
        (*leading, *(slice(p.first, None, stride) for p, stride in zip(phases, strides, strict=True))),
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
