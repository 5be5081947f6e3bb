"""What `FASTCONV_VERBOSE` asks for: a line on stderr for each call, and one for each choice of what runs it.

A call is wrapped when it is prepared, or not at all: without the variable, repeated calls never come here.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from .kernels.shapes import ACTIVATIONS, BOUNDARIES, CONSTANT
from .problem import Problem, Sliding

_LEVELS = {"": 0, "0": 0, "1": 1, "dispatch": 2}


@functools.cache
def _level() -> int:
    asked = os.environ.get("FASTCONV_VERBOSE", "")
    if asked not in _LEVELS:
        raise ValueError(f"FASTCONV_VERBOSE is {asked!r}, expected '0', '1' or 'dispatch'")
    return _LEVELS[asked]


def traced(
    run: Callable[..., Any], problem: Problem | Sliding, name: str, **shapes: tuple[int, ...]
) -> Callable[..., Any]:
    """`run`, the implementation `name` of a problem over arrays of the given shapes, with a line for each call."""
    return timed(run, lambda: f"{problem.function}, {name}, {problem.dtype.name}, {_describe(problem, shapes)}")


def timed(run: Callable[..., Any], describe: Callable[[], str]) -> Callable[..., Any]:
    """`run` with a line for each call: what `describe()` says, and the time."""
    if not _level():
        return run
    line = describe()

    def run_timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = run(*arguments)
        _print(f"{line}, {1e3 * (time.perf_counter() - start):.4f} ms")
        return result

    return run_timed


def chosen(problem: Problem | Sliding, name: str, refusals: Iterable[str] = ()) -> None:
    """Tell which implementation will run calls like this one, and why those before it do not."""
    if _level() > 1:
        for refusal in refusals:
            _print(f"{problem.function}, refused, {refusal}")
        _print(f"{problem.function}, chosen, {name}")


def _describe(problem: Problem | Sliding, shapes: dict[str, tuple[int, ...]]) -> str:
    parts = [f"{name} {times(shape)}" for name, shape in shapes.items()]
    if problem.axes:
        parts += [
            f"stride {times(axis.stride for axis in problem.axes)}",
            f"padding {times(f'{axis.before}:{axis.after}' for axis in problem.axes)}",
            f"dilation {times(axis.dilation for axis in problem.axes)}",
            f"groups {problem.call.groups if isinstance(problem, Problem) else 1}",
        ]
    if any(axis.boundary != CONSTANT for axis in problem.axes):
        parts.append("boundary " + "/".join(BOUNDARIES[axis.boundary] for axis in problem.axes))
    if isinstance(problem, Problem):
        parts += ["bias"] * problem.call.has_bias
        activation = ACTIVATIONS[problem.call.activation]
        parts += [activation] if activation else []
    return ", ".join(parts)


def times(values: Iterable[object]) -> str:
    """Numbers, or other words, one for each axis."""
    return "x".join(map(str, values))


def _print(line: str) -> None:
    sys.stderr.write(f"fastconv: {line}\n")  # in one piece, whatever other threads write
