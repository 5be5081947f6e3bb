"""Windows and passes that are so long that a transform takes less time than the passes of `fastconv.filters`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..algorithms import explain
from ..conv import correlate_nd
from ..filters import SUM, Run, Window
from ..problem import Array, cast

_LEAST = 225  # taps: of fewer, nothing is asked
_RANK = 3  # kernels that transform slide over so many axes


def transforming(x: Array, out: Array, window: Window, run: Run) -> Run | None:
    """What filters by a transform, if that is predicted to take least; `run` sums directly."""
    # Others than these are summed in float64, or exactly.
    is_float = out.dtype == np.float64 or (out.dtype == np.float32 and np.can_cast(x.dtype, np.float32))
    if window.kind != SUM or window.footprint.size < _LEAST or not 1 <= x.ndim <= _RANK or not is_float:
        return None
    weights = np.where(window.footprint, window.weights, 0)[np.newaxis, np.newaxis]
    pads = tuple((before, size - 1 - before) for before, size in zip(window.before, weights.shape[2:], strict=True))
    options: dict[str, Any] = {"padding": pads, "boundary": window.boundaries, "dtype": out.dtype}
    weights = cast(weights, out.dtype)
    held = cast(np.asarray(window.cval), out.dtype)[()]
    if not (np.isfinite(weights).all() and np.isfinite(held)):
        return None
    if explain(x[np.newaxis, np.newaxis], weights, **options).algorithm == "direct":
        return None
    has_gaps = bool((weights == 0).any())

    def run_transform(x: Array, out: Array) -> None:
        correlate_nd(x[np.newaxis, np.newaxis], weights, fillvalue=held, out=out[np.newaxis, np.newaxis], **options)
        if has_gaps and np.isnan(out).any():  # a weight of 0 keeps out what is not finite
            run(x, out)

    return run_transform
