"""Which kernel runs a convolution: an ordered list of implementations, each of which says why it refuses a problem."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import workspace
from .launch import call_of, entry_point, numbers_of, sharing_formats, three_axes
from .problem import Array, Problem, aligned, check_name
from .threads import get_num_threads, share
from .verbose import chosen

Run = Callable[[Array, Array, Array | None, Array, Array], None]  # x, w, bias, fill, out


class Implementation(NamedTuple):
    """One way to run a convolution. `prepare` does once what a problem needs before its first run."""

    name: str
    algorithm: str  # what a caller asks for with `algorithm=`
    supports: Callable[[Problem], str | None]  # None, or the reason of a refusal
    prepare: Callable[[Problem], Run]


def select(problem: Problem) -> Implementation:
    """The first implementation that takes the problem."""
    check_algorithm(problem.function, problem.algorithm)
    reasons: list[str] = []
    for implementation in IMPLEMENTATIONS:
        if problem.algorithm in ("auto", implementation.algorithm):
            reason = implementation.supports(problem)
            if reason is None:
                chosen(problem, implementation.name, reasons)
                return implementation
            reasons.append(f"{implementation.name}: {reason}")
    raise ValueError(
        f"{problem.function}(): algorithm is {problem.algorithm!r}, which cannot do this call: {'; '.join(reasons)}"
    )


def check_algorithm(function: str, algorithm: Any) -> None:
    """Refuse what is not the name of an algorithm, and the names of those to come."""
    if isinstance(algorithm, str) and algorithm in _PLANNED:
        raise ValueError(
            f"{function}(): algorithm is {algorithm!r}, which cannot do this call: no implementation of it exists yet, "
            f"expected {', '.join(map(repr, ALGORITHMS))}"
        )
    check_name(function, "algorithm", algorithm, ALGORITHMS)


_SHARED_MACS = 3_000_000  # some 50 us on one core; a thread that sleeps takes 30 us to wake, and more to come
_ELEMENT_MACS = 2  # what reading an element of the input or writing one of the result takes, in multiply-adds


def _direct_supports(problem: Problem) -> str | None:
    rank = len(problem.axes)
    return None if rank <= 3 else f"the call has {rank} spatial axes, expected 3 or fewer"


def _vectors_support(problem: Problem) -> str | None:
    """What holds for all that compute in vectors of real numbers."""
    if problem.dtype.kind == "c":
        return _direct_supports(problem) or "the numbers are complex, expected real ones"
    return _direct_supports(problem)


def _compute_size(problem: Problem) -> int:
    """Bytes of an element in the type that kernels compute with."""
    from .kernels.strided import compute_dtype

    size: int = np.dtype(compute_dtype(problem.dtype.name)).itemsize
    return size


def _small_supports(problem: Problem) -> str | None:
    from .kernels.convolution import small
    from .kernels.strided import compute_dtype

    refused = _vectors_support(problem)
    if refused is not None:
        return refused
    if compute_dtype(problem.dtype.name) != problem.dtype.name:
        return f"{problem.dtype} is computed in another type"
    call, axes = call_of(problem, three_axes(problem))
    if small.is_small(call, *axes, problem.dtype.itemsize):
        return None
    return f"the call takes more than {small.TILES} vectors, or its window is of another kind"


def _depthwise_supports(problem: Problem) -> str | None:
    from .kernels.convolution import depthwise

    refused = _vectors_support(problem)
    if refused is not None:
        return refused
    if problem.outputs > depthwise.OUTPUTS or problem.channels == 0:
        return (
            f"a group has {problem.outputs} outputs and {problem.channels} channels, expected 1 to {depthwise.OUTPUTS}"
        )
    _, rows, columns = three_axes(problem)
    if depthwise.plan_words(rows, columns) and depthwise.choose_slab(rows, columns, _compute_size(problem)).out_rows:
        return None
    return "the input of a few rows of the output is too large"


def _dense_supports(problem: Problem) -> str | None:
    from .kernels.convolution import dense

    refused = _vectors_support(problem)
    if refused is not None:
        return refused
    size, (call, axes) = _compute_size(problem), call_of(problem, three_axes(problem))
    reason = dense.refuses(call, *axes, size)
    if reason == dense.MANY_TAPS:
        return f"the kernel has {problem.taps} taps, expected {dense.TAPS} or fewer"
    if reason == dense.LARGE_WINDOW:
        return "a window does not fit in the workspace"
    if reason == dense.WASTEFUL:
        share, lanes = dense.filled(problem.outputs, size), dense.VECTOR_BYTES // size
        return f"{problem.outputs} outputs in a group fill {share:.0%} of vectors of {lanes}"
    return None


def _prepare_small(problem: Problem) -> Run:
    from .kernels.convolution import small

    numbers = numbers_of(problem, three_axes(problem))
    correlate = entry_point(small.correlate, *[problem.dtype.name] * 5, "int64")
    second = next(each for each in IMPLEMENTATIONS[1:] if each.supports(problem) is None)
    prepare = functools.cache(lambda: second.prepare(problem))

    def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        if not correlate(x, w, fill if bias is None else bias, out, fill, numbers):
            prepare()(x, w, bias, fill, out)  # whatever the strides are

    return run


def _prepare_dense(problem: Problem) -> Run:
    from .kernels.convolution import dense

    return _sharing(problem, dense, dense.PLAN_WORDS)


def _prepare_direct(problem: Problem) -> Run:
    from .kernels.convolution import direct

    return _sharing(problem, direct, direct.PLAN_WORDS)


def _prepare_depthwise(problem: Problem) -> Run:
    from .kernels.convolution import depthwise

    return _sharing(problem, depthwise, depthwise.plan_words(*three_axes(problem)[1:]))


def _sharing(problem: Problem, kernels: Any, words: int) -> Run:
    """Run a module of kernels whose threads share the work; a call and its plan take so many words."""
    from .kernels.window import pack_numbers

    call, axes = call_of(problem, three_axes(problem))
    numbers, size = pack_numbers(call, axes, words), kernels.WORKSPACE_BYTES
    kernels.write_plan(call, *axes, _compute_size(problem), numbers)
    correlate = entry_point(kernels.correlate, *sharing_formats(problem.dtype.name))
    take, give = workspace.take, workspace.give

    planes, results = problem.batch * problem.groups * problem.channels, math.prod(problem.out_shape)
    elements = planes * math.prod(axis.size for axis in problem.axes) + results
    macs = results * problem.channels * problem.taps + _ELEMENT_MACS * elements
    shared = macs * (2 if problem.dtype.itemsize > 4 else 1) >= _SHARED_MACS

    def run_alone(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        scratch = take(size)
        whole = correlate(x, w, fill if bias is None else bias, out, fill, numbers, scratch, numbers, 1, 0)
        give(scratch)
        if not whole:
            _run_aligned(run_alone, x, w, bias, fill, out)

    def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        arrays = x, w, fill if bias is None else bias, out, fill, numbers
        if not share(correlate, arrays, size, get_num_threads()):
            _run_aligned(run, x, w, bias, fill, out)

    return run if shared else run_alone


def _run_aligned(run: Run, x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
    """`run` on arrays whose elements lie where their type may."""
    result = aligned(out)
    run(aligned(x), aligned(w), bias, fill, result)
    if result is not out:
        out[...] = result


def _prepare_generic(problem: Problem) -> Run:
    from .kernels.convolution import generic

    numbers = numbers_of(problem, problem.axes)
    correlate = entry_point(generic.correlate, *[problem.dtype.name] * 5, "int64")

    def run_whole(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        correlate(x, w, fill if bias is None else bias, out, fill, numbers)

    return functools.partial(_run_aligned, run_whole)


def _prepare_im2col(problem: Problem) -> Run:
    from .kernels.convolution import activation
    from .kernels.strided import compute_dtype

    compute, numbers = compute_dtype(problem.dtype.name), numbers_of(problem, problem.axes)
    finish_sums = entry_point(activation.finish_sums, compute, problem.dtype.name, problem.dtype.name, "int64")

    def run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        result = aligned(out)
        for g in range(problem.groups):
            channels = slice(g * problem.channels, (g + 1) * problem.channels)
            outputs = slice(g * problem.outputs, (g + 1) * problem.outputs)
            rows = w[outputs].astype(compute)
            if problem.flip:
                rows = np.flip(rows, tuple(range(2, rows.ndim)))
            rows = rows.reshape(problem.outputs, problem.channels * problem.taps)
            for n in range(problem.batch):
                columns = _columns(problem, x[n, channels], fill).astype(compute, copy=False)
                with np.errstate(all="ignore"):  # infinity and NaN are results like any other
                    sums = rows @ columns
                part = fill if bias is None else bias[outputs]
                finish_sums(np.ascontiguousarray(sums), part, result[n, outputs], numbers)
        if result is not out:
            out[...] = result

    return run


def _columns(problem: Problem, image: Array, fill: Array) -> Array:
    """The im2col matrix `(C * prod K, prod P)` of one image and group."""
    for a, axis in enumerate(problem.axes, start=1):
        pads = [(0, 0)] * image.ndim
        pads[a] = (axis.before, axis.after)
        if axis.boundary == "constant":
            image = np.pad(image, pads, constant_values=fill[0])
        else:
            image = np.pad(image, pads, mode=axis.boundary)  # type: ignore[call-overload]
    rank = len(problem.axes)
    reach = tuple(axis.dilation * (axis.kernel - 1) + 1 for axis in problem.axes)
    windows = np.lib.stride_tricks.sliding_window_view(image, reach, axis=tuple(range(1, rank + 1)))
    steps = [slice(0, axis.stride * (axis.out - 1) + 1, axis.stride) for axis in problem.axes]
    taps = [slice(None, None, axis.dilation) for axis in problem.axes]
    windows = windows[(slice(None), *steps, *taps)]
    order = (0, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1))
    return windows.transpose(order).reshape(problem.channels * problem.taps, problem.positions)


def _always(problem: Problem) -> str | None:
    return None


IMPLEMENTATIONS = (
    Implementation("small", "direct", _small_supports, _prepare_small),
    Implementation("depthwise", "direct", _depthwise_supports, _prepare_depthwise),
    Implementation("dense", "direct", _dense_supports, _prepare_dense),
    Implementation("direct", "direct", _direct_supports, _prepare_direct),
    Implementation("generic", "direct", _always, _prepare_generic),
    Implementation("im2col", "im2col", _always, _prepare_im2col),
)

ALGORITHMS = ("auto", *dict.fromkeys(each.algorithm for each in IMPLEMENTATIONS))  # what a caller may ask for
_PLANNED = ("winograd", "fft")
