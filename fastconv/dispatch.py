"""Which kernel runs a convolution, and what runs it: families of compiled kernels, or a matrix product by NumPy."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import workspace
from .extending import MEANING, TABLE
from .kernels.shapes import (
    ALGORITHMS,
    BOUNDARIES,
    CONSTANT,
    Axis,
    Phase,
    compute_dtype,
    element_of,
    pack_numbers,
    three_axes,
    widest_phase,
)
from .launch import entry_point, family_formats
from .problem import Array, Problem, aligned, cast, check_name
from .team import share
from .threads import get_num_threads
from .verbose import chosen

Run = Callable[[Array, Array, Array | None, Array, Array], None]  # x, w, bias, fill, out
IM2COL = "im2col"
MEANINGS = "auto", "direct"  # what "auto" may mean: the first two of `ALGORITHMS`
AUTO_NAME = MEANINGS[0]
_SHARED_MACS = 3_000_000  # some 50 us on one core; a thread that sleeps takes 30 us to wake, and more to come
_ELEMENT_MACS = 2  # what reading an element of the input or writing one of the result takes, in multiply-adds
_STEP_MACS = 24  # and what it takes to write one that does not lie beside the last


def mean(name: str) -> None:
    """Let "auto" mean one of `MEANINGS`, here and in compiled code."""
    meant[AUTO_NAME] = name
    TABLE[MEANING] = MEANINGS.index(name)


def resolved(algorithm: Any) -> Any:
    """What a caller's `algorithm` means now."""
    return meant[AUTO_NAME] if isinstance(algorithm, str) and algorithm == AUTO_NAME else algorithm


def _default_meaning() -> str:
    asked = os.environ.get("FASTCONV_ALGORITHM", "") or AUTO_NAME
    if asked not in MEANINGS:
        raise ValueError(f"FASTCONV_ALGORITHM is {asked!r}, expected {' or '.join(map(repr, MEANINGS))}")
    return asked


meant: dict[str, str] = {}
mean(_default_meaning())


def prepare(problem: Problem, only: str | None = None, has_rows: bool = True) -> tuple[str, Run]:
    """The name of what runs a problem, and the function that does, on arrays.

    `only` names a family that has to, whatever others would: for tests. Without `has_rows`, elements of the result's
    rows do not lie side by side: no family that wants them is asked.
    """
    check_algorithm(problem.function, problem.algorithm)
    is_empty = 0 in problem.out_shape
    if problem.algorithm == IM2COL:
        chosen(problem, IM2COL)
        return IM2COL, _do_nothing if is_empty else _run_im2col(problem)
    place = place_of(problem, only)
    while not has_rows and _families()[place].wants_rows:
        place = place_of(problem, first=place + 1)
    name = _families()[place].name
    chosen(problem, name, _refusals(problem, place))
    return name, _do_nothing if is_empty else _run_family(problem, place, has_rows)


def prepare_phases(problem: Problem, name: str, phases: list[Phase]) -> Callable[..., Any] | None:
    """What runs phases of a transposed last axis in one call of the family of that name, which would run each of them.

    It answers False with nothing written where the arrays do not allow that. None: the family does not do it.
    """
    place = [family.name for family in _families()].index(name) if name != IM2COL else -1
    module = _families()[place].module
    if place < 0 or 0 in problem.out_shape or not hasattr(module, "phase_numbers"):
        return None
    numbers = module.phase_numbers(*facts_of(problem), phases)
    if numbers is None:
        return None
    last, results = problem.axes[-1], sum(phase.out for phase in phases)
    as_one = problem._replace(axes=(*problem.axes[:-1], widest_phase(last, phases)._replace(out=results)))
    correlate = entry_point(module.correlate_phases, *family_formats(module, problem.dtype.name, problem.read.name))
    return _calling(as_one, place, correlate, numbers, True)


def check_algorithm(function: str, algorithm: Any) -> None:
    """Refuse what is not the name of an algorithm."""
    check_name(function, "algorithm", algorithm, ALGORITHMS)


def _do_nothing(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
    """The result is empty."""


def _families() -> Any:
    from .kernels.convolution.choose import FAMILIES

    return FAMILIES


def facts_of(problem: Problem) -> tuple[Any, ...]:
    """What families are chosen by: call, three axes, element."""
    return problem.call, three_axes(problem.axes)[:3], element_of(problem.dtype.name)


def place_of(problem: Problem, only: str | None = None, first: int = 0) -> int:
    """The place of the family that runs a problem: of those from a place on, or the one that has to."""
    from .kernels.convolution import choose

    algorithm = ALGORITHMS.index(problem.algorithm)
    if only is not None:
        place = [family.name for family in choose.FAMILIES].index(only)
        refusal = choose.refusals[place](*facts_of(problem), algorithm)
        if refusal:
            why = choose.reason(place, refusal, *facts_of(problem))
            raise ValueError(f"{problem.function}(): {only} cannot do this call: {why}")
        return place
    place = choose.choose(*facts_of(problem), algorithm, first)
    if place < 0:
        why = "; ".join(_refusals(problem, len(choose.FAMILIES)))
        raise ValueError(f"{problem.function}(): algorithm is {problem.algorithm!r}, which cannot do this call: {why}")
    return int(place)


def _refusals(problem: Problem, end: int) -> Iterator[str]:
    """Why the families before a place do not run a problem."""
    from .kernels.convolution import choose

    facts, algorithm = facts_of(problem), ALGORITHMS.index(problem.algorithm)
    for place, family in enumerate(choose.FAMILIES[:end]):
        refusal = choose.refusal_of(place, *facts, algorithm)
        if refusal:
            yield f"{family.name}: {choose.reason(place, refusal, *facts)}"


def _run_family(problem: Problem, place: int, has_rows: bool = True) -> Run:
    """What runs a problem with the kernels of a family."""
    family = _families()[place]
    module, facts = family.module, facts_of(problem)
    numbers = pack_numbers(problem.call, three_axes(problem.axes), module.plan_words(*facts))
    if hasattr(module, "write_plan"):
        module.write_plan(*facts, numbers)
    correlate = entry_point(module.correlate, *family_formats(module, problem.dtype.name, problem.read.name))
    retry = _by_next_family(problem, place) if family.wants_rows else _run_aligned
    if module.WORKSPACE_BYTES:
        call = _calling(problem, place, correlate, numbers, has_rows)

        def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
            if not call(x, w, bias, fill, out):
                retry(run, x, w, bias, fill, out)

    else:

        def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
            if not correlate(x, w, fill if bias is None else bias, out, fill, numbers):
                retry(run, x, w, bias, fill, out)

    return run


def _by_next_family(problem: Problem, place: int) -> Callable[..., None]:
    """What runs arrays whose rows do not lie as the family at a place wants them."""
    following: list[Run] = []  # made at the first need

    def run_instead(run: Run, x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        if not following:
            following.append(_run_family(problem, place_of(problem, first=place + 1)))
        following[0](x, w, bias, fill, out)

    return run_instead


def _calling(problem: Problem, place: int, correlate: Any, numbers: Array, has_rows: bool) -> Callable[..., Any]:
    """What calls kernels that take a workspace, and share their work among threads where there is enough of it."""
    from .kernels.convolution import choose

    take, give, size = workspace.take, workspace.give, choose.FAMILIES[place].module.WORKSPACE_BYTES
    call, results = problem.call, math.prod(problem.out_shape)
    elements = call.batch * call.groups * call.channels * math.prod(axis.size for axis in problem.axes) + results
    macs = results * (call.channels * problem.taps + (0 if has_rows else _STEP_MACS)) + _ELEMENT_MACS * elements
    work = problem.call.batch * choose.costs[place](*facts_of(problem))
    shared = macs * (2 if problem.dtype.itemsize > 4 else 1) >= _SHARED_MACS

    def call_alone(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> Any:
        scratch = take(size)
        done = correlate(x, w, fill if bias is None else bias, out, fill, numbers, scratch, numbers, 1, 0)
        give(scratch)
        return done

    def call_shared(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> Any:
        arrays = x, w, fill if bias is None else bias, out, fill, numbers
        return share(correlate, arrays, size, get_num_threads(), work)

    return call_shared if shared else call_alone


def _run_aligned(run: Run, x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
    """`run` on arrays whose elements lie where their type may."""
    result = aligned(out)
    run(aligned(x), aligned(w), bias, fill, result)
    if result is not out:
        out[...] = result


def _run_im2col(problem: Problem) -> Run:
    """What runs a problem as the product of the kernels with a matrix of windows, image by image and group by group."""
    from .kernels.convolution import activation

    call, taps = problem.call, problem.taps
    compute, numbers = np.dtype(compute_dtype(problem.dtype.name)), pack_numbers(call, three_axes(problem.axes))
    finish_sums = entry_point(activation.finish_sums, compute.name, problem.dtype.name, problem.dtype.name, "int64")

    def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        result = aligned(out)
        for g in range(call.groups):
            channels = slice(g * call.channels, (g + 1) * call.channels)
            outputs = slice(g * call.outputs, (g + 1) * call.outputs)
            rows = cast(w[outputs], compute)
            if call.flip:
                rows = np.flip(rows, tuple(range(2, rows.ndim)))
            rows = rows.reshape(call.outputs, call.channels * taps)
            for n in range(call.batch):
                columns = cast(_columns(problem.axes, cast(x[n, channels], problem.dtype), fill), compute)
                with np.errstate(all="ignore"):  # infinity and NaN are results like any other
                    sums = rows @ columns
                part = fill if bias is None else bias[outputs]
                finish_sums(np.ascontiguousarray(sums), part, result[n, outputs], numbers)
        if result is not out:
            out[...] = result

    return run


def _columns(axes: tuple[Axis, ...], image: Array, fill: Array) -> Array:
    """The im2col matrix `(C * prod K, prod P)` of one image and group."""
    for a, axis in enumerate(axes, start=1):
        pads = [(0, 0)] * image.ndim
        pads[a] = (axis.before, axis.after)
        if axis.boundary == CONSTANT:
            image = np.pad(image, pads, constant_values=fill[0])
        else:
            image = np.pad(image, pads, mode=BOUNDARIES[axis.boundary])
    rank = len(axes)
    reach = tuple(axis.dilation * (axis.kernel - 1) + 1 for axis in axes)
    windows = np.lib.stride_tricks.sliding_window_view(image, reach, axis=tuple(range(1, rank + 1)))
    steps = [slice(0, axis.stride * (axis.out - 1) + 1, axis.stride) for axis in axes]
    taps = [slice(None, None, axis.dilation) for axis in axes]
    windows = windows[(slice(None), *steps, *taps)]
    order = (0, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1))
    windows = windows.transpose(order)
    return windows.reshape(math.prod(windows.shape[: rank + 1]), math.prod(windows.shape[rank + 1 :]))
