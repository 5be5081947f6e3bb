"""Convolutions and transposed convolutions under PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import problem as checks
from ..conv import converting, prepare_call
from ..dispatch import AUTO_NAME, Run, meant, resolved
from ..extending import offer
from ..kernels.shapes import CONSTANT, FAR, TOO_FAR, Axis, Call, count_outputs, pad_axis, transposed_size
from ..problem import Array, Misfits
from ..torch_names import as_bias, as_ints, check_filled, check_shape, check_weight, common_dtype, refusal
from ..transposed import prepare_transposed

# What runs a call, the shape and dtype of its result, what padding holds, and what makes the result.
Prepared = tuple[Run, tuple[int, ...], np.dtype[Any], Array, Callable[..., Array]]

_DOC = """{title} over {rank} spatial ax{es}, as `torch.nn.functional.{name}`.

    Parameters
    ----------
    input : array_like, shape (N, C, {sizes}) or (C, {sizes})
        A batch, or one example without one. Any strides are read in place.
    weight : array_like, shape ({weight})
        Kernels, of the dtype of `input`.
    bias : array_like, shape (O,), optional
        Added to each output channel; of the dtype of `input`.
    stride : int, or one int per spatial axis
        {stride}
    padding : {padding}{output_padding}{order}

    Returns
    -------
    ndarray, shape (N, O, {outputs}) or (O, {outputs})
        Of the inputs' dtype. float16 and bfloat16 accumulate in float32, integers wrap.

    Raises
    ------
    RuntimeError
        For shapes and values; it is a ValueError, too.
    TypeError
        For types: arrays of several dtypes, or of one that is not known.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv.functional as F
    >>> x = np.arange({start}, {stop}).reshape({shape})
    >>> F.{name}(x, np.ones({ones}){options})
    {answer}
    """
_DILATION = """
    dilation : int, or one int per spatial axis
        Step between the taps of the kernel."""
_GROUPS = """
    groups : int
        Channels are split into so many groups, each with kernels of its own."""
_TEXTS = {
    False: {
        "title": "Convolution, without a flipped kernel,",
        "stride": "Step between outputs.",
        "padding": """{"valid", "same"}, int, or one int per spatial axis
        Zeros on both sides of each axis. "same" keeps sizes, with strides of 1; an odd element goes after.""",
        "output_padding": "",
        "order": _DILATION + _GROUPS,
    },
    True: {
        "title": "Transposed convolution",
        "stride": "How far the outputs of neighbouring inputs are apart.",
        "padding": """int, or one int per spatial axis
        So many outputs are left out on both sides of each axis.""",
        "output_padding": """
    output_padding : int, or one int per spatial axis
        So many outputs more at the end of each axis; less than the stride, or than the dilation.""",
        "order": _GROUPS + _DILATION,
    },
}
_EXAMPLES = {  # per rank: end of the range, shape, kernel, and the answers of both
    1: ("6", "1, 5", "(1, 1, 2)", "array([[3., 5., 7., 9.]])", "array([[1., 1., 2., 2., 3., 3., 4., 4., 5., 5.]])"),
    2: (
        "5", "1, 2, 2", "(1, 1, 2, 2)", "array([[[10.]]])",
        "array([[[1., 1., 2., 2.],\n            [1., 1., 2., 2.],\n            [3., 3., 4., 4.],\n"
        "            [3., 3., 4., 4.]]])",
    ),
    3: (
        "3", "1, 1, 1, 2", "(1, 1, 1, 1, 2)", "array([[[[3.]]]])", "array([[[[1., 1., 0., 2., 2.]]]])",
    ),
}  # fmt: skip
_PLAIN = frozenset((int, str))


def _define(name: str, rank: int) -> Callable[..., Array]:
    """The function `name`, a convolution."""
    prepared: dict[Any, Prepared] = {}
    ndarray, get, one, auto = np.ndarray, prepared.get, 1, AUTO_NAME

    def function(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Array:
        if type(input) is not ndarray or type(weight) is not ndarray:
            input, weight = checks.as_arrays(name, ("input", input), ("weight", weight))
        if (
            (stride is one or type(stride) is int)
            and type(padding) in _PLAIN
            and (dilation is one or type(dilation) is int)
            and (groups is one or type(groups) is int)
        ):
            key: Any = (
                input.shape, weight.shape, input.dtype, weight.dtype, bias is None,
                stride, padding, dilation, groups, meant[auto],
            )  # fmt: skip
        else:
            options = checks.key_of((stride, padding, dilation, groups))
            key = options and (
                input.shape, weight.shape, input.dtype, weight.dtype, bias is None, options, meant[auto],
            )  # fmt: skip
        entry = get(key)
        if entry is None:
            try:
                entry = _prepare(name, rank, input, weight, bias is not None, stride, padding, dilation, groups)
            except (TypeError, ValueError) as error:
                raise refusal(error, x="input", w="weight") from None
            checks.keep(prepared, key, entry)
        return _perform(name, entry, input, weight, bias, weight.shape[0])

    return _documented(function, name, rank, False)


def _define_transposed(name: str, rank: int) -> Callable[..., Array]:
    """The function `name`, a transposed convolution."""
    prepared: dict[Any, Prepared] = {}
    ndarray, get, auto = np.ndarray, prepared.get, AUTO_NAME

    def function(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: Any = 1,
        dilation: Any = 1,
    ) -> Array:
        if type(input) is not ndarray or type(weight) is not ndarray:
            input, weight = checks.as_arrays(name, ("input", input), ("weight", weight))
        options = checks.key_of((stride, padding, output_padding, groups, dilation))
        key: Any = options and (
            input.shape, weight.shape, input.dtype, weight.dtype, bias is None, options, meant[auto],
        )  # fmt: skip
        entry = get(key)
        if entry is None:
            given = name, rank, input, weight, bias is not None
            try:
                entry = _prepare_transposed(*given, stride, padding, output_padding, groups, dilation)
            except (TypeError, ValueError) as error:
                raise refusal(error) from None
            checks.keep(prepared, key, entry)
        return _perform(name, entry, input, weight, bias, entry[1][-1 - rank])

    return _documented(function, name, rank, True)


def _documented(function: Callable[..., Array], name: str, rank: int, is_transposed: bool) -> Callable[..., Array]:
    stop, shape, ones, *answers = _EXAMPLES[rank]
    letters = checks.AXES[rank]
    kernel = ", ".join(f"K{letter}" for letter in letters)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(
        name=name,
        rank=rank,
        es="is" if rank == 1 else "es",
        sizes=", ".join(letters),
        outputs=", ".join(f"P{letter}" for letter in letters),
        weight=f"C, O // groups, {kernel}" if is_transposed else f"O, C // groups, {kernel}",
        start="1.0",
        stop=stop,
        shape=shape,
        ones=ones,
        options=f", stride={3 if rank == 3 else 2}" if is_transposed else "",
        answer=answers[is_transposed],
        **_TEXTS[is_transposed],
    )
    return function


def _perform(name: str, entry: Prepared, input: Array, weight: Array, bias: Any, outputs: int) -> Array:
    run, shape, dtype, fill, allocate = entry
    if bias is not None:
        try:
            bias = as_bias(name, bias, outputs, dtype)
        except (TypeError, ValueError) as error:
            raise refusal(error) from None
    out = allocate(shape, dtype)
    run(input, weight, bias, fill, out)
    return out


def _prepare(
    name: str,
    rank: int,
    input: Array,
    weight: Array,
    has_bias: bool,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Prepared:
    """What a call of a convolution needs besides its arrays."""
    misfits = Misfits(name)
    _check_arrays(misfits, input, weight, rank, "OI")
    strides = misfits.attempt(as_ints, "stride", stride, rank, 1)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    if not isinstance(padding, str):
        padding = misfits.attempt(as_ints, "padding", padding, rank, 0)
    elif padding not in ("valid", "same"):
        misfits.say(f"padding is {padding!r}, expected 'valid', 'same' or numbers")
    elif padding == "same" and strides and max(strides) > 1:
        misfits.say(f"padding is 'same' and stride is {stride!r}, expected a stride of 1")
    misfits.refuse()
    assert strides and dilations
    batch = input if input.ndim == rank + 2 else input[None]
    options = groups, strides, padding, dilations, "constant", None, resolved(AUTO_NAME), has_bias
    run, shape, dtype, fill = prepare_call(name, rank, False, batch, weight, *options, padding_name="padding")
    if 0 in batch.shape[2:]:  # of an empty batch: a shape as if there were something
        asked, pads = checks.as_padding(name, "padding", padding, rank)
        numbers = zip(batch.shape[2:], weight.shape[2:], strides, dilations, pads, strict=True)
        axes = [Axis(*each, *ends, CONSTANT, 0) for *each, ends in numbers]
        shape = (*shape[:2], *(_count_outputs(misfits, i, axis, asked) for i, axis in enumerate(axes)))
        misfits.refuse()
    return _of_rank(run, shape, dtype, fill, np.empty, input.ndim == rank + 2)


def _count_outputs(misfits: Misfits, i: int, axis: Axis, asked: int) -> int:
    """How many windows axis `i` has, be it empty."""
    before, after, room = pad_axis(axis, asked, False)
    if room < 0:
        misfits.say(checks.no_room("kernel", i, axis._replace(before=before, after=after)))
    return int(count_outputs(axis, room))


def _prepare_transposed(
    name: str,
    rank: int,
    input: Array,
    weight: Array,
    has_bias: bool,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Prepared:
    """What a call of a transposed convolution needs besides its arrays."""
    misfits = Misfits(name)
    _check_arrays(misfits, input, weight, rank, "IO")
    count = misfits.attempt(checks.as_int, "groups", groups, 1)
    strides = misfits.attempt(as_ints, "stride", stride, rank, 1)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    pads = misfits.attempt(as_ints, "padding", padding, rank, 0)
    more = misfits.attempt(as_ints, "output_padding", output_padding, rank, 0)
    misfits.refuse()
    assert count and strides and dilations and pads and more
    batch = input if input.ndim == rank + 2 else input[None]
    channels, outputs = weight.shape[:2]
    if batch.shape[1] != channels:
        misfits.say(
            f"weight has {channels} input channels, and input has {batch.shape[1]}; input has shape {input.shape}, "
            f"weight has shape {weight.shape}"
        )
    if channels % count:
        misfits.say(f"weight has {channels} input channels, which {count} groups cannot share evenly")
    axes = []
    for i, (size, k, s, d, p, extra) in enumerate(
        zip(batch.shape[2:], weight.shape[2:], strides, dilations, pads, more, strict=True)
    ):
        if extra >= max(s, d):
            misfits.say(
                f"output_padding is {output_padding!r}, expected less than the stride, {s}, or than the dilation, {d}, "
                f"of spatial axis {i}"
            )
        axis = Axis(0, k, *(min(number, FAR) for number in (s, d, p, p)), CONSTANT, size)
        out = transposed_size(axis, min(extra, FAR))
        if out == TOO_FAR:
            misfits.say(f"spatial axis {i} of the result would have a size that is more than memory can address")
        elif out < 1:
            misfits.say(
                f"spatial axis {i} of the result would have size {out}: ({size} - 1) * stride {s} - 2 * padding {p} + "
                f"dilation {d} * (kernel {k} - 1) + output_padding {extra} + 1"
            )
        axes.append(axis._replace(size=out))
    misfits.refuse()
    dtype = common_dtype(name, input=input, weight=weight)
    call = Call(batch.shape[0], count, channels // count, outputs, rank, 1, int(has_bias), 0, 0)
    shape = (batch.shape[0], count * outputs, *(axis.size for axis in axes))
    checks.check_size(name, shape, dtype.itemsize)
    run, allocate = prepare_transposed(name, call, tuple(axes), dtype, resolved(AUTO_NAME))
    if not (input.dtype.isnative and weight.dtype.isnative):
        run = converting(run, dtype, dtype)
    return _of_rank(run, shape, dtype, np.zeros(1, dtype), allocate, input.ndim == rank + 2)


def _check_arrays(misfits: Misfits, input: Array, weight: Array, rank: int, leading: str) -> None:
    misfits.attempt(checks.as_array, "input", input)
    misfits.attempt(checks.as_array, "weight", weight)
    misfits.attempt(common_dtype, input=input, weight=weight)
    check_shape(misfits, "input", input.shape, rank, "NC", may_lack="N")
    check_shape(misfits, "weight", weight.shape, rank, leading)
    misfits.refuse()
    check_filled(misfits, "input", input.shape if input.ndim == rank + 2 else (1, *input.shape), 2)
    check_weight(misfits, weight.shape)
    misfits.refuse()


def _of_rank(
    run: Run, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Array, allocate: Callable[..., Array], is_batch: bool
) -> Prepared:
    """What is prepared for a batch, for one example where the call has no batch."""
    if is_batch:
        return run, shape, dtype, fill, allocate

    def run_single(x: Array, w: Array, bias: Array | None, fill: Array, out: Array) -> None:
        run(x[None], w, bias, fill, out[None])

    return run_single, shape[1:], dtype, fill, allocate


DEFINED = [(f"conv{kind}{rank}d", rank) for kind in ("", "_transpose") for rank in (1, 2, 3)]
conv1d, conv2d, conv3d = (_define(*each) for each in DEFINED[:3])
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_define_transposed(*each) for each in DEFINED[3:])
for _name, _rank in DEFINED:
    offer(globals()[_name], f"functional.{'transposed' if 'transpose' in _name else 'convolution'}", _name, _rank)
