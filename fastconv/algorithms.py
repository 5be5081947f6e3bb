"""What "auto" means: a setting of the process, and an explanation of what a call would run and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from . import dispatch
from . import problem as checks
from .dispatch import AUTO_NAME, MEANINGS, mean, meant
from .kernels.shapes import ALGORITHMS
from .launch import CONVOLUTION, import_kernels
from .problem import DEFAULT_PADDING


def get_algorithm() -> str:
    """What ``algorithm="auto"`` means to this process.

    By default `FASTCONV_ALGORITHM`, or else "auto".

    Returns
    -------
    str
        "auto": what is predicted to take least time, with error bounds of at most four times those of direct sums;
        "direct": direct sums.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.algorithm("direct"):
    ...     fastconv.get_algorithm()
    'direct'
    """
    return meant[AUTO_NAME]


def set_algorithm(name: str) -> None:
    """Set what ``algorithm="auto"`` means to this process, in Python and in compiled code.

    Parameters
    ----------
    name : {"auto", "direct"}
        With "direct" every sum is made directly, with bounds by components everywhere.

    Raises
    ------
    ValueError
        If `name` is neither.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_algorithm()
    >>> fastconv.set_algorithm("direct")
    >>> fastconv.set_algorithm(before)
    """
    checks.check_name("set_algorithm", "name", name, MEANINGS)
    mean(name)


@contextmanager
def algorithm(name: str) -> Iterator[None]:
    """Set what ``algorithm="auto"`` means inside a ``with`` block. It is the process's: other threads see it, too.

    Parameters
    ----------
    name : {"auto", "direct"}
        As for `set_algorithm`.

    Returns
    -------
    context manager
        It gives the former meaning back at its end.

    Raises
    ------
    ValueError
        If `name` is neither.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> with fastconv.algorithm("direct"):
    ...     fastconv.correlate1d(np.ones((1, 1, 4)), np.ones((1, 1, 2)))
    array([[[2., 2., 2.]]])
    """
    before = get_algorithm()
    try:
        set_algorithm(name)
        yield
    finally:
        set_algorithm(before)


class Candidate(NamedTuple):
    """A row of an `Explanation`."""

    implementation: str
    algorithm: str
    microseconds: float | None  # predicted for one thread; None: not predicted
    refusal: str | None  # why it cannot run the call


class Explanation(NamedTuple):
    """What `explain` returns. Printed, it is a table."""

    implementation: str
    algorithm: str
    reason: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        rows = [("", "implementation", "algorithm", "predicted", "refused")]
        for each in self.candidates:
            mark = "*" if each.implementation == self.implementation else ""
            time = "" if each.microseconds is None else f"{each.microseconds:.4g} us"
            rows.append((mark, each.implementation, each.algorithm, time, each.refusal or ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{self.implementation} runs it: {self.reason}"])


def explain(
    x: Any,
    w: Any,
    *,
    operation: str = "correlate",
    groups: Any = 1,
    stride: Any = 1,
    padding_mode: Any = DEFAULT_PADDING,
    padding: Any = None,
    dilation: Any = 1,
    bias: Any = None,
    boundary: Any = "constant",
    activation: str | None = None,
    algorithm: str = "auto",
    dtype: Any = None,
) -> Explanation:
    """What a convolution would run, and why, without running it.

    Parameters
    ----------
    x, w : array_like
        As for `correlate_nd`; only shapes and dtypes matter.
    operation : {"correlate", "convolve"}
        Which of the two.
    groups, stride, padding_mode, padding, dilation, bias, boundary, activation, algorithm, dtype
        As for `correlate_nd`.

    Returns
    -------
    Explanation
        ``implementation``, ``algorithm``, ``reason`` and ``candidates``: the time predicted for one thread, in
        microseconds, of each implementation that can run the call, and why the others cannot. ``print`` it.

    Raises
    ------
    ValueError, TypeError
        As `correlate_nd`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> found = fastconv.explain(np.ones((1, 1, 500, 500), "f4"), np.ones((1, 1, 101, 101), "f4"))
    >>> found.algorithm, found.implementation
    ('fft', 'fft_planes')
    """
    function = "explain"
    checks.check_name(function, "operation", operation, ("correlate", "convolve"))
    x, w = checks.as_arrays(function, ("x", x), ("w", w))
    label = "padding_mode"
    if padding is not None:
        if padding_mode is not DEFAULT_PADDING:
            raise checks.two_paddings(function, "padding_mode", padding_mode, padding)
        padding_mode, label = padding, "padding"
    x, w = checks.as_array(function, "x", x), checks.as_array(function, "w", w)
    result = checks.result_dtype(function, None if dtype is None else checks.as_dtype(function, dtype), x=x, w=w)
    options = groups, stride, padding_mode, dilation, boundary, activation, dispatch.resolved(algorithm)
    problem = checks.convolution(
        function, x, w, result, None, operation == "convolve", *options, bias is not None, padding_name=label
    )
    import_kernels(*CONVOLUTION)
    dispatch.check_algorithm(function, problem.algorithm)
    return _explained(problem)


def _explained(problem: checks.Problem) -> Explanation:
    from .kernels.convolution import choose

    facts, asked = dispatch.facts_of(problem), ALGORITHMS.index(problem.algorithm)
    rows = []
    for place, family in enumerate(choose.FAMILIES):
        refusal = choose.refusal_of(place, *facts, asked)
        if refusal:
            rows.append(Candidate(family.name, family.algorithm, None, choose.reason(place, refusal, *facts)))
        else:
            nanoseconds = choose.costs[place](*facts)
            predicted = problem.call.batch * nanoseconds / 1e3 if nanoseconds else None
            rows.append(Candidate(family.name, family.algorithm, predicted, None))
    takes_im2col = problem.algorithm in (AUTO_NAME, dispatch.IM2COL)
    why = "runs only where it is asked for by name" if problem.algorithm != dispatch.IM2COL else None
    why = why if takes_im2col else f"it is for algorithm {dispatch.IM2COL!r}"
    rows.append(Candidate(dispatch.IM2COL, dispatch.IM2COL, None, why))
    if problem.algorithm == dispatch.IM2COL:
        return Explanation(dispatch.IM2COL, dispatch.IM2COL, "it was asked for", tuple(rows))
    chosen = choose.FAMILIES[dispatch.place_of(problem)]
    return Explanation(chosen.name, chosen.algorithm, _reason(problem, chosen, rows), tuple(rows))


def _reason(problem: checks.Problem, chosen: Any, rows: list[Candidate]) -> str:
    if problem.algorithm != AUTO_NAME:
        return f"of what does it with algorithm {problem.algorithm!r}"
    rivals = [row for row in rows if row.refusal is None and row.implementation != chosen.name]
    if hasattr(chosen.module, "cost") and rivals:
        times = {row.implementation: row.microseconds for row in rows if row.microseconds}
        is_least = min(times.values(), default=0.0) == times.get(chosen.name, 0.0)
        return f"predicted to take {'' if is_least else 'hardly more than '}the least time"
    return "it runs all calls that are as small" if rivals[1:] else "no other can do it"
