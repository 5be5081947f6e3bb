"""Pools and sliding filters: the largest, smallest or mean element of each window; the inverse of a largest one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import problem as checks
from .extending import offer
from .kernels.shapes import UNIT, three_axes
from .launch import POOLS, entry_point, import_kernels, window_numbers
from .problem import Array, Sliding, aligned
from .team import share
from .threads import get_num_threads
from .verbose import chosen, traced

_WINDOW_DOC = """
    Parameters
    ----------
    x : array_like, shape (N, C, {sizes})
        Any strides are read in place. Channels that come last, as a photograph's (H, W, 3), are not told from a spatial
        axis, and are pooled like one: ``np.moveaxis(x, -1, 0)[None]`` is (1, 3, H, W). The filters of
        ``fastconv.ndimage`` take such a photograph as it is, with a size of (k, k, 1).
    kernel_size : int, or one int per spatial axis
        Size of the window.
    stride : int, or one int per spatial axis, optional
        Step between windows, by default the window's size.
    dilation : int, or one int per spatial axis
        Step between the elements of a window.
    padding_spec : {{"valid", "same", "full"}}, int, or per spatial axis an int or a pair (before, after)
        Padding around the input. "same" gives ``ceil(size / stride)`` windows.
    padding : as `padding_spec`, optional
        The same under another name; both in one call are an error.
    ceil_mode : bool
        Whether a last window may hang over the end, if it starts inside the input or the padding before it.
    dtype : dtype, optional
        What {work} in and the result has, by default that of `x`{default}. `x` has to cast to it by "same_kind", or be
        a narrower integer where it is one; its elements are converted as they are read."""

_ERRORS_DOC = """
    Raises
    ------
    ValueError
        If a window does not fit the padded input, or a value is not of the stated form.
    TypeError
        If an argument has another type{order}.
"""


Run = Callable[[Array], Any]
_INDEX = np.dtype(np.int64)


def row_formats(dtype: str, result: str) -> tuple[str, ...]:
    """The formats of `pool_rows`' kernels."""
    return dtype, result, "int64", result, "int64", "uint8", "int64", "intp", "intp"


def extremum_formats(dtype: str, result: str) -> tuple[str, ...]:
    """The formats of `kernels.pool.extremum`."""
    return dtype, result, "int64", result, "int64", "boolean", "boolean"


def average_formats(dtype: str, result: str) -> tuple[str, ...]:
    """The formats of `kernels.pool.average`."""
    return dtype, result, "int64", "boolean", "boolean", "intp"


def scatter_formats(dtype: str) -> tuple[str, ...]:
    """The formats of `kernels.scatter`'s kernels."""
    return dtype, "int64", dtype, "int64", "int64", "uint8", "int64", "intp", "intp"


def spread_formats(dtype: str, result: str) -> tuple[str, ...]:
    """The formats of `kernels.spread.spread`."""
    return dtype, result, "int64", "boolean", "uint8", "int64", "intp", "intp"


def _preparing(prepare: Callable[..., Run]) -> Callable[..., Any]:
    """Run a pool. `prepare` checks the options and makes what runs, once for all calls alike.

    Messages speak of the padding by its name: calls that differ in that alone are alike.
    """
    prepared: dict[Any, Run] = {}

    def call(name: str, x: Any, padding_name: str, dtype: Any, *options: Any) -> Any:
        given = x
        if type(x) is not np.ndarray or not x.dtype.isnative:
            x = checks.as_array(name, "x", x)
        if not x.flags.aligned:
            x = x.copy()
        if dtype is not None:
            dtype = checks.as_dtype(name, dtype)
        exact = checks.key_of(options)
        key = (name, x.shape, x.strides, x.dtype, exact, dtype)
        run = prepared.get(key)
        if run is None:
            import_kernels(*POOLS)
            try:
                x = checks.as_array(name, "x", x)
                if dtype is not None:
                    checks.result_dtype(name, dtype, x=x)
                run = prepare(name, x, padding_name, dtype, *options)
            except (TypeError, ValueError) as error:
                raise checks.told_whole(name, error, [("x", given)]) from None
            checks.keep(prepared, exact and key, run)
        return run(x)

    return call


def _pool(function: str, x: Array, padding_name: str, rank: int, *options: Any) -> Sliding:
    kernel_size, stride, dilation, padding, ceil_mode = options
    return checks.window(function, x, rank, kernel_size, stride, dilation, padding_name, padding, ceil_mode, True)


def _filter(function: str, x: Array, padding_name: str, kernel_size: Any, stride: Any) -> Sliding:
    checks.check_sequence(function, "kernel_size", kernel_size)
    rank = len(kernel_size)
    checks.check_trailing(function, "x", x, rank)
    return checks.window(function, x, rank, kernel_size, stride, 1, padding_name, 0)


def prepare_extremum(
    problem: Sliding, x: Array, dtype: np.dtype[Any] | None, smallest: bool, return_indices: bool
) -> Run:
    """What gives the largest (smallest) values of windows over arrays like `x`, or values and flat indices."""
    from .kernels.windows import pool, pool_rows

    checks.check_ordered(problem.function, x, dtype)
    result = dtype or x.dtype
    lowest = outermost(result, smallest)
    types = (result, _INDEX) if return_indices else (result,)
    refused = _rows_refuse(problem, x, result)
    if refused is None:
        kernel = f"{'indexed_' if return_indices else ''}{'minimum' if smallest else 'maximum'}"
        return _traced(_by_rows(getattr(pool_rows, kernel), problem, x, types, lowest), problem, x, None)
    shape, numbers = problem.out_shape, window_numbers(problem)
    extremum = entry_point(pool.extremum, *extremum_formats(x.dtype.name, result.name))

    def run(x: Array) -> Any:
        out = np.empty(shape, result)
        indices = np.empty(shape if return_indices else 0, np.int64)
        extremum(aligned(x), out, indices, lowest, numbers, smallest, return_indices)
        return (out, indices) if return_indices else out

    return _traced(run, problem, x, refused)


def _rows_refuse(problem: Sliding, x: Array, result: np.dtype[Any]) -> str | None:
    """Why the vector kernels do not take a problem; None where they do."""
    from .kernels.windows import pool_rows

    if result.kind == "c":
        return "there are no vectors of complex numbers"
    facts = len(problem.axes), (problem.axes or (UNIT,))[-1], math.prod(x.shape)
    refusal = pool_rows.refuses(*facts)
    return pool_rows.reason(refusal, *facts) if refusal else None


_SHARED_BYTES = 600_000  # of input, 12 us or more on one core
_ELEMENT = 0.5  # nanoseconds of one core for an element, about


def _by_rows(
    kernel: Any,
    problem: Sliding,
    x: Array,
    dtypes: tuple[np.dtype[Any], ...],
    lowest: Array,
    include_padding: bool = False,
    divisor: int = 0,
) -> Run:
    """The row-wise kernel on new results of the given types, the only one or a tuple of them."""
    from .kernels.simd import fold as simd_fold
    from .kernels.windows import pool_rows

    numbers, rank, empty_is_zero = np.zeros(pool_rows.PLAN_WORDS, np.int64), len(problem.axes), x.dtype.kind in "biu"
    shape, axes = problem.out_shape, three_axes(problem.axes)
    means = include_padding, empty_is_zero, divisor
    pool_rows.write_plan(
        x.shape, x.strides, x.ndim - rank, rank, *axes, x.itemsize, dtypes[0].itemsize, *means, numbers
    )
    pool = entry_point(kernel, *row_formats(x.dtype.name, dtypes[0].name))
    size = simd_fold.WORKSPACE_BYTES
    empty, several, shared = 0 in shape, len(dtypes) > 1, x.nbytes >= _SHARED_BYTES
    work = _ELEMENT * (x.size + math.prod(shape) * sum(axis.kernel for axis in problem.axes))

    def run(x: Array) -> Any:
        results = tuple([np.empty(shape, dtype) for dtype in dtypes])
        out, indices = results[0], results[-1] if several else numbers
        if not empty:
            share(pool, (x, out, indices, lowest, numbers), size, get_num_threads() if shared else 1, work)
        return results if several else out

    return run


def _traced(run: Run, problem: Sliding, x: Array, refused: str | None) -> Run:
    name = "rows" if refused is None else "generic"
    chosen(problem, name, [] if refused is None else [f"rows: {refused}"])
    return traced(run, problem, name, x=x.shape, window=problem.window)


def outermost(dtype: np.dtype[Any], smallest: bool) -> Array:
    """What padding of a maximum (or minimum) holds: the value that loses against every other."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.array([limits.max if smallest else limits.min], dtype=dtype)
    if dtype.kind == "b":
        return np.array([smallest])
    return np.array([np.inf if smallest else -np.inf]).astype(dtype)


def mean_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of averages."""
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def prepare_average(
    problem: Sliding, x: Array, dtype: np.dtype[Any] | None, include_padding: bool, divisor: int = 0
) -> Run:
    """What averages arrays like `x`; a `divisor` stands for any count of elements."""
    from .kernels.windows import pool, pool_rows

    if dtype is not None:
        checks.check_mean(problem.function, dtype)
    empty_is_zero, result = x.dtype.kind in "biu", dtype or mean_dtype(x.dtype)
    refused = _rows_refuse(problem, x, result)
    if refused is None:
        by_rows = _by_rows(pool_rows.average, problem, x, (result,), np.zeros(1, result), include_padding, divisor)
        return _traced(by_rows, problem, x, None)
    shape, numbers = problem.out_shape, window_numbers(problem)
    average = entry_point(pool.average, *average_formats(x.dtype.name, result.name))

    def run(x: Array) -> Array:
        out = np.empty(shape, result)
        average(aligned(x), out, numbers, include_padding, empty_is_zero, divisor)
        return out

    return _traced(run, problem, x, refused)


def prepare_norm(problem: Sliding, x: Array, power: float) -> Run | None:
    """What gives ``(mean * taps) ** (1 / power)`` for means of powers; None for powers that no kernel takes."""
    from .kernels.windows import pool_rows

    result = mean_dtype(x.dtype)
    if power not in (1.0, 2.0) or _rows_refuse(problem, x, result):
        return None
    # Where all windows are whole, nothing is divided.
    is_whole = all((a.out - 1) * a.stride + (a.kernel - 1) * a.dilation < a.size for a in problem.axes)
    kernel = pool_rows.average if power == 1 else pool_rows.mean_square
    means = _by_rows(kernel, problem, x, (result,), np.zeros(1, result), True, int(is_whole))
    taps = result.type(problem.taps)

    def run(x: Array) -> Array:
        out: Array = means(x)
        if not is_whole:
            np.multiply(out, taps, out=out)
        return out if power == 1 else np.sqrt(out, out=out)

    return _traced(run, problem, x, None)


@_preparing
def _extremum_pool(
    name: str, x: Array, padding_name: str, dtype: Any, rank: int, smallest: bool, return_indices: bool, *options: Any
) -> Run:
    return prepare_extremum(_pool(name, x, padding_name, rank, *options), x, dtype, smallest, return_indices)


@_preparing
def _average_pool(
    name: str, x: Array, padding_name: str, dtype: Any, rank: int, include_padding: bool, *options: Any
) -> Run:
    return prepare_average(_pool(name, x, padding_name, rank, *options), x, dtype, include_padding)


@_preparing
def _extremum_filter(name: str, x: Array, padding_name: str, dtype: Any, smallest: bool, *options: Any) -> Run:
    return prepare_extremum(_filter(name, x, padding_name, *options), x, dtype, smallest, False)


@_preparing
def _average_filter(name: str, x: Array, padding_name: str, dtype: Any, *options: Any) -> Run:
    return prepare_average(_filter(name, x, padding_name, *options), x, dtype, True)


def only_padding(function: str, padding: Any, padding_spec: Any) -> tuple[str, Any]:
    """`padding` with its name, which may not be given beside `padding_spec`."""
    if padding_spec is not checks.DEFAULT_PADDING:
        raise checks.two_paddings(function, "padding_spec", padding_spec, padding)
    return "padding", padding


def _define_extremum(name: str, rank: int, smallest: bool) -> Callable[..., Any]:
    def function(
        x: Any,
        kernel_size: Any,
        *,
        stride: Any = None,
        dilation: Any = 1,
        padding_spec: Any = checks.DEFAULT_PADDING,
        padding: Any = None,
        ceil_mode: bool = False,
        return_indices: bool = False,
        dtype: Any = None,
    ) -> Any:
        label = "padding_spec"
        if padding is not None:
            label, padding_spec = only_padding(name, padding, padding_spec)
        options = kernel_size, stride, dilation, padding_spec, bool(ceil_mode)
        return _extremum_pool(name, x, label, dtype, rank, smallest, bool(return_indices), *options)

    word, limit = ("smallest", "highest") if smallest else ("largest", "lowest")
    answer = (
        {1: "array([1., 3.])", 2: "array([[1., 3.]])", 3: "array([[[1., 3.]]])"}
        if smallest
        else {1: "array([2., 4.])", 2: "array([[6., 8.]])", 3: "array([[[14., 16.]]])"}
    )
    return _document(
        function,
        name,
        f"""{word.capitalize()} element of each window; padding holds the dtype's {limit} value.
{_WINDOW_DOC}
    return_indices : bool
        Whether to return where the {word} elements were found, too.

    Returns
    -------
    ndarray, shape (N, C, {{outputs}})
        Values, of dtype `dtype`, or that of `x`. A NaN in a window gives NaN.
    ndarray of int64, shape (N, C, {{outputs}})
        With `return_indices`: flat indices over the spatial axes of `x`, the first {word} one winning; -1 for a
        window of padding only.
""",
        rank,
        " or `x` is complex",
        answer[rank],
    )


def _define_average(name: str, rank: int) -> Callable[..., Array]:
    def function(
        x: Any,
        kernel_size: Any,
        *,
        stride: Any = None,
        dilation: Any = 1,
        padding_spec: Any = checks.DEFAULT_PADDING,
        padding: Any = None,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        dtype: Any = None,
    ) -> Array:
        label = "padding_spec"
        if padding is not None:
            label, padding_spec = only_padding(name, padding, padding_spec)
        options = kernel_size, stride, dilation, padding_spec, bool(ceil_mode)
        result: Array = _average_pool(name, x, label, dtype, rank, bool(count_include_pad), *options)
        return result

    return _document(
        function,
        name,
        f"""Mean of each window; padding holds 0.
{_WINDOW_DOC}
    count_include_pad : bool
        Whether the mean is over the padding in a window too. What `ceil_mode` adds beyond it is never counted.

    Returns
    -------
    ndarray, shape (N, C, {{outputs}})
        Of dtype `dtype`, or that of `x`, float64 for integers and bools.
""",
        rank,
        "",
        {1: "array([1.5, 3.5])", 2: "array([[3.5, 5.5]])", 3: "array([[[7.5, 9.5]]])"}[rank],
    )


def _document(
    function: Callable[..., Any], name: str, text: str, rank: int, order: str, answer: str
) -> Callable[..., Any]:
    letters = checks.AXES[rank]
    shape = ", ".join(["2"] * (rank - 1) + ["4"])
    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        (text + _ERRORS_DOC).format(
            sizes=", ".join(letters),
            outputs=", ".join(f"P{letter}" for letter in letters),
            order=order,
            work="elements are compared" if order else "sums are made",
            default="" if order else ", float64 for integers and bools",
        )
        + f"""
    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(1.0, {2 ** (rank - 1) * 4 + 1}).reshape(1, 1, {shape})
    >>> fastconv.{name}(x, 2)[0, 0]
    {answer}
    """
    )
    return function


avg_pool1d = _define_average("avg_pool1d", 1)
avg_pool2d = _define_average("avg_pool2d", 2)
avg_pool3d = _define_average("avg_pool3d", 3)
max_pool1d = _define_extremum("max_pool1d", 1, smallest=False)
max_pool2d = _define_extremum("max_pool2d", 2, smallest=False)
max_pool3d = _define_extremum("max_pool3d", 3, smallest=False)
min_pool1d = _define_extremum("min_pool1d", 1, smallest=True)
min_pool2d = _define_extremum("min_pool2d", 2, smallest=True)
min_pool3d = _define_extremum("min_pool3d", 3, smallest=True)


def _define_unpool(name: str, rank: int) -> Callable[..., Array]:
    def function(
        values: Any,
        indices: Any,
        kernel_size: Any,
        *,
        stride: Any = None,
        dilation: Any = 1,
        padding_spec: Any = checks.DEFAULT_PADDING,
        padding: Any = None,
        output_size: Any = None,
    ) -> Array:
        values = checks.as_array(name, "values", values)
        misfits = checks.Misfits(name)
        indices = misfits.attempt(checks.as_indices, values, indices)
        misfits.attempt(checks.check_rank, "values", values, rank, "NC")
        label = "padding_spec"
        if padding is not None:
            label, padding_spec = only_padding(name, padding, padding_spec)
        options = kernel_size, stride, dilation, label, padding_spec, output_size
        size = checks.unpooled_size(name, values, rank, *options, misfits)
        return prepare_scatter(name, values, size)(values, indices)

    letters = checks.AXES[rank]
    outputs = ", ".join(f"P{letter}" for letter in letters)
    example = ", ".join(["1"] * (rank - 1) + ["4"])
    kernel = "2" if rank == 1 else f"({', '.join(['1'] * (rank - 1) + ['2'])})"
    answer = "[" * (rank - 1) + "[0., 3., 0., 4.]" + "]" * (rank - 1)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Put pooled values back where `max_pool{rank}d` found them; everything else is 0.

    Parameters
    ----------
    values, indices : array_like, shape (N, C, {outputs})
        What ``max_pool{rank}d(..., return_indices=True)`` returned. Of repeated indices the last wins.
    kernel_size, stride, dilation, padding_spec, padding
        Those of the pool; they give the size of the result where `output_size` does not.
    output_size : tuple of int, optional
        Spatial size of the result, or its full shape.

    Returns
    -------
    ndarray, shape (N, C, {", ".join(letters)})
        Of the dtype of `values`.

    Raises
    ------
    ValueError
        If an index lies outside the result, or shapes do not fit.
    TypeError
        If `indices` are not integers.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([1.0, 3.0, 2.0, 4.0]).reshape(1, 1, {example})
    >>> values, indices = fastconv.max_pool{rank}d(x, {kernel}, return_indices=True)
    >>> fastconv.{name}(values, indices, {kernel})[0, 0]
    array({answer})
    """
    return function


def prepare_scatter(
    name: str, values: Array, size: tuple[int, ...], adds: bool = False
) -> Callable[[Array, Array], Array]:
    """What puts arrays like `values` to flat indices of planes of a size, or `adds` them there."""
    import_kernels(*POOLS)
    from .kernels.windows import scatter

    leading, dtype = values.shape[: values.ndim - len(size)], values.dtype
    axes = tuple(UNIT._replace(size=n, out=n) for n in values.shape[len(leading) :])
    problem, shape = Sliding(name, leading, axes, dtype), (*leading, *size)
    numbers, is_empty = window_numbers(problem, plane=math.prod(size)), values.size == 0
    kernel = entry_point(scatter.scatter_add if adds else scatter.unpool, *scatter_formats(dtype.name))
    is_shared, work = math.prod(shape) * dtype.itemsize >= _SHARED_BYTES, _ELEMENT * (math.prod(shape) + values.size)

    def run(values: Array, indices: Array) -> Array:
        if is_empty:
            return np.zeros(shape, dtype)
        out, threads = np.empty(shape, dtype), get_num_threads() if is_shared else 1
        bad = np.full(threads, -1, np.int64)
        flat = indices.astype(np.int64, copy=False)
        share(kernel, (aligned(values), aligned(flat), out, bad, numbers), scatter.WORKSPACE_BYTES, threads, work)
        if bad.max() >= 0:
            raise checks.bad_index(name, indices, int(bad[bad >= 0].min()), size)
        return out

    return traced(run, problem._replace(axes=()), "planes", values=values.shape, out=shape)


max_unpool1d = _define_unpool("max_unpool1d", 1)
max_unpool2d = _define_unpool("max_unpool2d", 2)
max_unpool3d = _define_unpool("max_unpool3d", 3)


def _of_parts(run: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """What does to complex numbers what `run` does to their parts."""

    def run_both(x: Array) -> Array:
        real = run(x.real)
        out = np.empty(real.shape, x.dtype)
        out.real, out.imag = real, run(x.imag)
        return out

    return run_both


def prepare_mean_adjoint(problem: Sliding, grad: Array, include_padding: bool) -> Callable[[Array], Array]:
    """What takes gradients of the means of a problem's windows to those of its input."""
    from .kernels.windows import spread

    if grad.dtype.kind == "c":
        return _of_parts(prepare_mean_adjoint(problem, grad.real, include_padding))
    result = mean_dtype(grad.dtype)
    kernel, numbers = entry_point(spread.spread, *spread_formats(grad.dtype.name, result.name)), window_numbers(problem)
    shape = *problem.leading, *(axis.size for axis in problem.axes)
    is_empty, is_shared = 0 in shape, math.prod(shape) * result.itemsize >= _SHARED_BYTES
    work = _ELEMENT * (math.prod(shape) + grad.size)

    def run(grad: Array) -> Array:
        out = np.empty(shape, result)
        if not is_empty:
            arguments = aligned(grad), out, numbers, include_padding
            share(kernel, arguments, spread.WORKSPACE_BYTES, get_num_threads() if is_shared else 1, work)
        return out

    return traced(run, problem, "rows", grad_output=grad.shape, window=problem.window)


def _define_filter(
    name: str, text: str, result: str, error: str, answer: str, run: Callable[..., Any]
) -> Callable[..., Array]:
    def function(x: Any, kernel_size: tuple[int, ...], *, stride: Any = None) -> Array:
        filtered: Array = run(name, x, kernel_size, stride)
        return filtered

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{text} of each window over the last ``len(kernel_size)`` axes.

    Parameters
    ----------
    x : array_like, shape (..., S*)
    kernel_size : tuple of int
        Size of the window; its length says how many trailing axes it covers.
    stride : int, or one int per axis of the window, optional
        Step between windows, by default the window's size.

    Returns
    -------
    ndarray, shape (..., P*)
        Of the dtype of `x`{result}; ``P = (S - kernel) // stride + 1``.

    Raises
    ------
    ValueError
        If the window is larger than the input.
    TypeError
        If `kernel_size` is no tuple{error}.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.{name}(np.array([1.0, 5, 2, 3]), (2,), stride=1)
    array({answer})
    """
    return function


def _define_extremum_filter(name: str, word: str, smallest: bool, answer: str) -> Callable[..., Array]:
    def run(name: str, x: Any, *options: Any) -> Any:
        return _extremum_filter(name, x, "padding", None, smallest, *options)

    return _define_filter(name, f"{word} element", "", ", or `x` is complex", answer, run)


def _mean_filter(name: str, x: Any, *options: Any) -> Any:
    return _average_filter(name, x, "padding", None, *options)


maximum_filter = _define_extremum_filter("maximum_filter", "Largest", False, "[5., 5., 3.]")
minimum_filter = _define_extremum_filter("minimum_filter", "Smallest", True, "[1., 2., 2.]")
uniform_filter = _define_filter(
    "uniform_filter", "Mean", ", float64 for integers and bools", "", "[3. , 3.5, 2.5]", _mean_filter
)

for _rank in (1, 2, 3):
    offer(globals()[f"avg_pool{_rank}d"], "windows.average_pool", f"avg_pool{_rank}d", _rank)
    offer(globals()[f"max_unpool{_rank}d"], "windows.unpool", f"max_unpool{_rank}d", _rank)
    for _name, _smallest in ((f"max_pool{_rank}d", False), (f"min_pool{_rank}d", True)):
        offer(globals()[_name], "windows.extremum_pool", _name, _rank, _smallest)
for _each, _kind in ((maximum_filter, "maximum"), (minimum_filter, "minimum"), (uniform_filter, "average")):
    offer(_each, "windows.filter_of", _each.__name__, _kind)
