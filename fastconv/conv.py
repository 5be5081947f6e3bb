"""Correlation and convolution of batched, channels-first arrays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from . import problem as checks
from .dispatch import AUTO_NAME, Run, meant, prepare, resolved
from .extending import offer
from .kernels.shapes import ACTIVATIONS, ALGORITHMS, BOUNDARIES
from .launch import CONVOLUTION, import_kernels
from .problem import Array
from .verbose import traced

_DOC = """{title} of a batch of inputs with channels first{rank}.

    Parameters
    ----------
    x : array_like, shape (N, C, {sizes})
        Batch of `N` inputs with `C` channels; ``x[None, None]`` is a batch of one grey image or signal. Any strides are
        read in place.
    w : array_like, shape (O, C // groups, {kernel})
        Kernels, one for each of `O` output channels. {flipped}
    groups : int
        Channels are split into so many groups, each with kernels of its own; ``groups=C`` is depthwise.
    stride, dilation : int, or one int per spatial axis
        Steps between outputs, and between the taps of the kernel; a dilation of 1 is none.
    padding_mode : {{"valid", "same", "full"}}, int, or per spatial axis an int or a pair (before, after)
        "same" gives ``ceil(size / stride)`` outputs, an odd element of padding {uneven}; "full" is
        ``dilation * (k - 1)`` on both sides.
    padding : as `padding_mode`, optional
        The same under another name; both in one call are an error.
    fillvalue : number
        What constant padding holds; has no effect where no axis has any.
    bias : array_like, shape (O,), optional
        Added to each output channel.
    boundary : {boundaries}, or one name per spatial axis
        What padding holds, in the words of `numpy.pad`; has no effect without padding.
    activation : {activations}
        Applied after the bias, in the same pass.
    algorithm : {algorithms}
        "auto" chooses; any other is used, or refused with a reason.
    dtype : dtype, optional
        What sums are made in and the result has, by default ``np.result_type(x, w)``. Both inputs have to cast to it by
        "same_kind", or be narrower integers where it is one: sums of uint8 images in float32 or int32, say. `x` is
        converted as it is read, without a copy; see the guide for exceptions.
    out : ndarray, optional
        Where the result goes: of its exact shape and dtype, of any strides, in memory of its own.

    Returns
    -------
    ndarray, shape (N, O, {outputs})
        Of dtype `dtype`, or ``np.result_type(x, w)``. float16 and bfloat16 accumulate in float32 and round once,
        integers wrap, bool is the logical "any of and", complex numbers are not conjugated.

    Raises
    ------
    ValueError
        For shapes and values: a kernel larger than the padded input, channels that do not fit, an unknown name.
    TypeError
        For types: object arrays, masked arrays, tensors of other libraries, dtypes that do not promote, a `dtype` that
        inputs do not cast to.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(1.0, {stop}).reshape(1, 1, {shape})
    >>> w = np.{ones}
    >>> fastconv.{name}(x, w)[0, 0]
    {answer}
    """

_EXAMPLES = {  # per rank: end of the range, shape, kernel, and the answers of correlation and convolution
    1: ("6", "5", "array([[[1.0, 0.0, -1.0]]])", "array([-2., -2., -2.])", "array([2., 2., 2.])"),
    2: ("10", "3, 3", "ones((1, 1, 2, 2))", *("array([[12., 16.],\n           [24., 28.]])",) * 2),
    3: ("9", "2, 2, 2", "ones((1, 1, 2, 2, 2))", *("array([[[36.]]])",) * 2),
}
_PLAIN = frozenset((int, str))


def _define(name: str, rank: int | None, flip: bool) -> Callable[..., Array]:
    """The public function `name`. A call like an earlier one costs one look-up and one compiled call."""
    prepared: dict[Any, tuple[Run, tuple[int, ...], np.dtype[Any], Array]] = {}
    ndarray, empty, get, default_fill, one, valid = np.ndarray, np.empty, prepared.get, 0, 1, checks.DEFAULT_PADDING
    auto = AUTO_NAME

    def function(
        x: Any,
        w: Any,
        *,
        groups: Any = 1,
        stride: Any = 1,
        padding_mode: Any = valid,
        padding: Any = None,
        dilation: Any = 1,
        fillvalue: Any = 0,
        bias: Any = None,
        boundary: Any = "constant",
        activation: str | None = None,
        algorithm: str = "auto",
        dtype: Any = None,
        out: Array | None = None,
    ) -> Array:
        given: Any = ()
        if type(x) is not ndarray or type(w) is not ndarray:
            given = ("x", x), ("w", w)
            x, w = checks.as_arrays(name, *given)
        if padding is not None:
            if padding_mode is not valid:
                raise checks.two_paddings(name, "padding_mode", padding_mode, padding)
            padding_mode = padding
        if dtype is not None:
            dtype = checks.as_dtype(name, dtype)
        # An int is told from what equals it, a name equals names only; other options are looked at one by one.
        if (
            (groups is one or type(groups) is int)
            and (stride is one or type(stride) is int)
            and (dilation is one or type(dilation) is int)
            and (padding_mode is valid or type(padding_mode) in _PLAIN)
        ):
            key: Any = (
                x.shape, w.shape, x.dtype, w.dtype, bias is None,
                groups, stride, padding_mode, dilation, boundary, activation, algorithm, meant[auto], dtype,
            )  # fmt: skip
        else:
            named = checks.key_of((groups, stride, padding_mode, dilation, boundary, activation, algorithm))
            key = named and (x.shape, w.shape, x.dtype, w.dtype, bias is None, named, meant[auto], dtype)
        try:
            entry = get(key)
        except TypeError:  # a list
            key = entry = None
        if entry is None:
            numbers = groups, stride, padding_mode, dilation
            options = *numbers, boundary, activation, resolved(algorithm), bias is not None
            label = "padding_mode" if padding is None else "padding"
            try:
                entry = prepare_call(name, rank, flip, x, w, *options, padding_name=label, dtype=dtype)
            except (TypeError, ValueError) as error:
                raise told_whole(error, name, given, x, w, bias, fillvalue, out, dtype) from None
            checks.keep(prepared, key, entry)
        run, shape, result, fill = entry
        try:
            if bias is not None:
                bias = checks.as_bias(name, bias, w.shape[0], result)
            if fillvalue is not default_fill:
                fill = checks.as_fill(name, fillvalue, result)
            if out is None:
                out = empty(shape, result)
            else:
                checks.check_out(name, out, shape, result, x, w, bias)
        except (TypeError, ValueError) as error:
            raise told_whole(error, name, given, x, w, bias, fillvalue, out, dtype, shape) from None
        run(x, w, bias, fill, out)
        return out

    stop, shape, ones, *answers = _EXAMPLES[rank or 2]
    letters = checks.AXES.get(rank or 0, ("...",))
    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(
        name=name,
        title="Convolution" if flip else "Cross-correlation",
        rank=f", over {rank} spatial ax{'i' if rank == 1 else 'e'}s"
        if rank
        else ", over as many spatial axes as `w` has",
        sizes=", ".join(letters),
        kernel=", ".join(f"K{letter}" if rank else letter for letter in letters),
        outputs=", ".join(f"P{letter}" if rank else letter for letter in letters),
        flipped="They are flipped over every spatial axis." if flip else "They are not flipped, as in neural networks.",
        boundaries=_choice(BOUNDARIES),
        activations=_choice(ACTIVATIONS),
        algorithms=_choice(ALGORITHMS),
        uneven="before where the kernel is even" if flip else "after",
        stop=stop,
        shape=shape,
        ones=ones,
        answer=answers[flip],
    )
    return function


def _choice(names: tuple[str | None, ...]) -> str:
    """Names as docstrings list them."""
    return "{" + ", ".join("None" if name is None else f'"{name}"' for name in names) + "}"


def prepare_call(
    name: str,
    rank: int | None,
    flip: bool,
    x: Array,
    w: Array,
    *options: Any,
    padding_name: str = "padding_mode",
    only: str | None = None,
    dtype: np.dtype[Any] | None = None,
) -> tuple[Run, tuple[int, ...], np.dtype[Any], Array]:
    """What a call needs besides its arrays: checked once, and kept for all calls like it. `only`: see `prepare`."""
    given = x.dtype, w.dtype
    x, w = checks.as_array(name, "x", x), checks.as_array(name, "w", w)
    dtype = checks.result_dtype(name, dtype, x=x, w=w)
    problem = checks.convolution(name, x, w, dtype, rank, flip, *options, padding_name=padding_name)
    import_kernels(*CONVOLUTION)
    used, run = prepare(problem, only)
    if given != (problem.read, dtype):
        run = converting(run, problem.read, dtype)
    run = traced(run, problem, used, x=x.shape, w=w.shape)
    return run, problem.out_shape, dtype, np.zeros(1, dtype)


def told_whole(
    error: Exception,
    name: str,
    given: tuple[tuple[str, Any], ...],
    x: Array,
    w: Array,
    bias: Any,
    fillvalue: Any,
    out: Any,
    dtype: np.dtype[Any] | None,
    shape: tuple[int, ...] | None = None,
) -> Exception:
    """An error, and what is wrong with other arguments, as far as it is known what they have to fit."""
    rest: list[tuple[Any, ...]] = []
    with suppress(TypeError):  # the error says that there is no such type
        result = checks.result_dtype(name, dtype, x=x, w=w)
        rest.append((checks.as_fill, fillvalue, result))
        if bias is not None and w.ndim:
            rest.append((checks.as_bias, bias, w.shape[0], result))
        if out is not None and shape:
            rest.append((checks.check_out, out, shape, result, x, w, None))
        elif out is not None:
            rest.append((checks.check_type_of_out, out, result, x, w))
    return checks.told_whole(name, error, given, rest)


def converting(run: Run, read: np.dtype[Any], dtype: np.dtype[Any]) -> Run:
    """What converts the kernels, which are small, and of inputs those that cannot be converted as they are read."""

    def convert_and_run(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        run(checks.cast(x, read), checks.cast(w, dtype), bias, fill, out)

    return convert_and_run


DEFINED = [  # name, rank or None for any, whether the kernel is flipped
    (f"{operation}{rank}d" if rank else f"{operation}_nd", rank, operation == "convolve")
    for operation in ("correlate", "convolve")
    for rank in (1, 2, 3, None)
]
correlate1d, correlate2d, correlate3d, correlate_nd, convolve1d, convolve2d, convolve3d, convolve_nd = (
    _define(*each) for each in DEFINED
)
for _each in DEFINED:
    offer(globals()[_each[0]], "convolution.implement", *_each)
