"""From passes or a window to a result: types that kernels do not know, memory that is shared, calls that are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np

from .. import problem as checks
from ..filters import MAXIMUM, MINIMUM, SUM, Pass, Window, prepare_passes, prepare_window
from ..problem import Array
from ..verbose import timed, times
from .arguments import BOUNDARIES, asked_output, check_dtypes
from .large import transforming

Steps: TypeAlias = Sequence[Pass] | Window
Run: TypeAlias = Callable[[Array, Array], None]
_MODES = {boundary: mode for mode, boundary in reversed(BOUNDARIES.items())}  # a synonym is told by its first name

prepared: dict[Any, Callable[[Array, Any], Array]] = {}  # of the input and `output`


_watched: ContextVar[list[Steps] | None] = ContextVar("_watched", default=None)


@contextmanager
def watching() -> Iterator[list[Steps]]:
    """The steps that calls ask for inside a ``with`` block, by whoever has to know how far a function reaches.

    Of calls on arrays without elements, which are never kept.
    """
    seen: list[Steps] = []
    token = _watched.set(seen)
    try:
        yield seen
    finally:
        _watched.reset(token)


def apply(function: str, x: Array, output: Any, steps: Steps, *, promote: bool = False, key: Any = None) -> Array:
    """The result of the steps, in `output` or in memory of its own; kept under `key` for calls like this one."""
    if (seen := _watched.get()) is not None:
        seen.append(steps)
    given, dtype = asked_output(function, output, x, promote)
    if given is not None and not given.flags.writeable:
        raise ValueError(f"{function}(): output is read-only, expected an array that can be written")
    if steps:
        check_dtypes(function, x.dtype, dtype)
    if not steps or not x.size:
        out = np.empty(x.shape, dtype) if given is None else given
        out[...] = x
        return out
    call = _prepare(function, x, dtype, steps) if given is None else _prepare_into(function, x, given, steps)
    if key is not None and (output is None or given is not None or dtype == output):  # a promotion warns each time
        checks.keep(prepared, key, call)
    return call(x, given)


def _prepare(function: str, x: Array, dtype: np.dtype[Any], steps: Steps) -> Callable[[Array, Any], Array]:
    """A function for arrays like `x`."""
    shape, empty = x.shape, np.empty
    native = dtype.newbyteorder("=")
    run = _traced(function, x, empty(shape, native), steps)

    def call(x: Array, output: Any) -> Array:
        out = empty(shape, native)
        run(x, out)
        return out

    return call if native == dtype else lambda x, output: call(x, output).astype(dtype)


def _prepare_into(function: str, x: Array, out: Array, steps: Steps) -> Callable[[Array, Any], Array]:
    """A function for arrays like `x` and `out`, which lie to each other as these do."""
    is_target = _is_apart(x, out, steps) and _is_plain(out)
    shape, native = x.shape, out.dtype.newbyteorder("=")
    run = _traced(function, x, out if is_target else np.empty(shape, native), steps)

    def call(x: Array, out: Any) -> Any:
        target = out if is_target else np.empty(shape, native)
        run(x, target)
        if target is not out:
            out[...] = target
        return out

    return call


def _traced(function: str, x: Array, out: Array, steps: Steps) -> Run:
    """The steps in terms of kernels, with a line for each call where `FASTCONV_VERBOSE` asks for it."""
    return timed(_lower(x, out, steps), lambda: _describe(function, x.shape, x.dtype, out.dtype, steps))


def _describe(function: str, shape: tuple[int, ...], given: np.dtype[Any], result: np.dtype[Any], steps: Steps) -> str:
    if isinstance(steps, Window):
        name, window, boundaries = "window", steps.footprint.shape, list(steps.boundaries)
    else:
        along = {step.axis: step for step in steps}
        window = tuple(along[axis].size if axis in along else 1 for axis in range(len(shape)))
        name, boundaries = "passes", [along[axis].boundary for axis in sorted(along)]
    dtypes = " to ".join(dict.fromkeys([given.name, result.name]))
    modes = "/".join(_MODES[boundary] for boundary in boundaries)
    return f"{function}, {name}, {dtypes}, x {times(shape)}, window {times(window)}, mode {modes}"


def _is_plain(array: Array) -> bool:
    return array.dtype.isnative and array.flags.aligned


def _is_apart(x: Array, out: Array, steps: Steps) -> bool:
    """Whether steps may write `out` while they read `x`: it is other memory, or each line of passes is the same one."""
    if not np.may_share_memory(x, out):
        return True
    if isinstance(steps, Window) or x.dtype != out.dtype or x.strides != out.strides:
        return False
    return bool(x.__array_interface__["data"][0] == out.__array_interface__["data"][0])


def _lower(x: Array, out: Array, steps: Steps) -> Run:
    """The steps in terms of kernels, which know native, aligned arrays of integers, float32 and float64."""
    if not _is_plain(x):
        native = x.astype(x.dtype.newbyteorder("="))
        run = _lower(native, out, steps)
        return lambda x, out: run(x.astype(native.dtype), out)
    if x.dtype.kind == "c":
        real = _lower(x.real, out.real, _with_cval(steps, "real"))
        imaginary = _lower(x.imag, out.imag, _with_cval(steps, "imag"))

        def run_parts(x: Array, out: Array) -> None:
            real(x.real, out.real)
            imaginary(x.imag, out.imag)

        return run_parts
    if x.dtype == bool:
        run = _lower(x.view(np.uint8), out, steps)
        return lambda x, out: run(x.view(np.uint8), out)
    if out.dtype == bool:  # the passes hold bytes, as SciPy's do; its results hold them, too
        run = _lower(x, out.view(np.uint8), steps)

        def run_bytes(x: Array, out: Array) -> None:
            held = out.view(np.uint8)
            run(x, held)
            np.not_equal(held, 0, out=out)

        return run_bytes
    if isinstance(steps, Window):
        return _lower_window(x, out, steps)
    if all(_is_held(step, dtype, out.dtype) for step, dtype in zip(steps, (x.dtype, *[out.dtype] * len(steps)))):
        run = prepare_passes(x, out, steps)
        if len(steps) == 1 and steps[0].kind == SUM and x is not out and not np.may_share_memory(x, out):
            run = transforming(x, out, _as_window(steps[0], x.ndim), run) or run
        return run
    return _compare_doubles(x, out, steps)


def _lower_window(x: Array, out: Array, window: Window) -> Run:
    if not window.footprint.any():  # a sum of nothing: extrema of nothing are refused before
        return lambda x, out: out.fill(0)
    if x.ndim == 0:
        ones = window._replace(
            weights=window.weights[None], footprint=window.footprint[None], before=(0,), boundaries=("edge",)
        )
        run = prepare_window(x[None], out[None], ones)
        return lambda x, out: run(x[None], out[None])
    if window.kind != SUM:
        window = window._replace(cval=_cut(window.cval, x.dtype))
        if window.weights[window.footprint].any():
            return _lower_heights(x, out, window)
    run = prepare_window(x, out, window)
    return transforming(x, out, window, run) or run


def _as_window(each: Pass, ndim: int) -> Window:
    """A pass of weights along one axis as a window over all."""
    shape = tuple(each.size if axis == each.axis else 1 for axis in range(ndim))
    before = tuple(each.before if axis == each.axis else 0 for axis in range(ndim))
    weights = np.array(each.weights).reshape(shape)
    return Window(SUM, weights, np.ones(shape, bool), before, (each.boundary,) * ndim, each.cval)


def _lower_heights(x: Array, out: Array, window: Window) -> Run:
    """As SciPy adds heights: to a window's first element in float64, to others in their own type, where it wraps."""
    taps = np.argwhere(window.footprint)
    first, rest = np.zeros_like(window.footprint), window.footprint.copy()
    first[tuple(taps[0])], rest[tuple(taps[0])] = True, False
    # Sums of integers wrap, and signed heights are the smaller numbers: doubles hold them.
    held = x.dtype if x.dtype.kind == "f" else np.dtype(f"i{x.dtype.itemsize}")
    cut = np.array([_cut(height, held) for height in window.weights.ravel()]).reshape(window.weights.shape)
    if x.dtype.kind == "f":
        return prepare_window(x, out, window._replace(weights=np.where(first, window.weights, cut)))
    whole, double = np.empty(x.shape, x.dtype), np.empty(x.shape)
    run_first = prepare_window(x, double, window._replace(footprint=first))
    run_rest = prepare_window(x, whole, window._replace(footprint=rest, weights=cut)) if rest.any() else None
    keep = np.maximum if window.kind == MAXIMUM else np.minimum

    def run(x: Array, out: Array) -> None:
        best = np.empty(x.shape)
        run_first(x, best)
        if run_rest is not None:
            others = np.empty(x.shape, x.dtype)
            run_rest(x, others)
            keep(best, others, out=best)
        cast = np.uint64 if out.dtype == np.uint64 else np.int64
        out[...] = best if out.dtype.kind == "f" else best.astype(cast)

    return run


def _compare_doubles(x: Array, out: Array, passes: Sequence[Pass]) -> Run:
    """As SciPy compares always: for a `cval` beyond what the type holds, which other elements never are."""
    double = x.astype(np.float64, order="C")  # as the result lies, which further passes read
    runs = [prepare_passes(double, out, [each]) for each in passes]

    def run(x: Array, out: Array) -> None:
        for each in runs:
            each(x.astype(np.float64, order="C"), out)
            x = out

    return run


def _is_held(step: Pass, dtype: np.dtype[Any], result: np.dtype[Any]) -> bool:
    """Whether an extremum of elements of `dtype` has the same result with `cval` rounded to that type.

    Rounding keeps the order, so it may come before or after, if it is to the same type.
    """
    if step.kind not in (MAXIMUM, MINIMUM) or step.boundary != "constant" or dtype == np.float64:
        return True
    cval = step.cval
    if dtype == np.float32:
        return dtype == result or math.isnan(cval) or float(np.float32(cval)) == cval
    if not math.isfinite(cval):
        return False
    limits = np.iinfo(dtype)
    return int(limits.min) <= int(cval) <= int(limits.max) and (cval == int(cval) or dtype == result)


def _cut(cval: float, dtype: np.dtype[Any]) -> float:
    """`cval` as an element of `dtype`, as C casts it: SciPy's windows that are not separable hold it so."""
    if dtype.kind == "f":
        return float(dtype.type(cval))
    whole = int(cval) if math.isfinite(cval) else 0
    element = int(np.array(whole & ((1 << 64) - 1), np.uint64).astype(dtype))
    held = float(element)
    return math.nextafter(held, 0) if held > np.iinfo(dtype).max else held


def _with_cval(steps: Steps, part: str) -> Steps:
    if isinstance(steps, Window):
        return steps._replace(cval=getattr(steps.cval, part))
    return [step._replace(cval=getattr(step.cval, part)) for step in steps]
