"""Gradients of convolutions with respect to their inputs, which are transposed convolutions of gradients of outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import problem as checks
from ..conv import converting
from ..dispatch import AUTO_NAME, Run, meant, resolved
from ..extending import offer
from ..problem import Array, Misfits
from ..torch_names import as_ints, check_filled, check_shape, check_weight, common_dtype, refusal
from ..transposed import prepare_transposed

Prepared = tuple[Run, tuple[int, ...], np.dtype[Any], Array, Callable[..., Array]]

_DOC = """Gradient of `fastconv.functional.conv{rank}d` with respect to its input, as `torch.nn.grad.{name}`.

    Parameters
    ----------
    input_size : sequence of int, (N, C, {sizes})
        Shape of the input.
    weight : array_like, shape (O, C // groups, {kernel})
        The kernels.
    grad_output : array_like, shape (N, O, {outputs})
        Gradient with respect to the output; of the dtype of `weight`. Any strides are read in place.
    stride, padding, dilation : int, or one int per spatial axis
        Those of the convolution.
    groups : int
        That of the convolution.

    Returns
    -------
    ndarray, shape (N, C, {sizes})
        Of the arrays' dtype; 0 where no window has reached the input.

    Raises
    ------
    RuntimeError
        For shapes and values; it is a ValueError, too.
    TypeError
        For types: arrays of several dtypes, or of one that is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import grad
    >>> grad.{name}((1, 1, {example}), np.ones((1, 1, {taps})), np.ones((1, 1, {answers})), stride=2)
    {answer}
    """
_EXAMPLES = {  # per rank: sizes of the input, the kernel and the output, and the answer
    1: ("6", "3", "2", "array([[[1., 1., 2., 1., 1., 0.]]])"),
    2: ("1, 5", "1, 3", "1, 2", "array([[[[1., 1., 2., 1., 1.]]]])"),
    3: ("1, 1, 4", "1, 1, 2", "1, 1, 2", "array([[[[[1., 1., 1., 1.]]]]])"),
}


def _define(name: str, rank: int) -> Callable[..., Array]:
    """The function `name`."""
    prepared: dict[Any, Prepared] = {}
    ndarray, get, auto = np.ndarray, prepared.get, AUTO_NAME

    def function(
        input_size: Any,
        weight: Any,
        grad_output: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Array:
        if type(weight) is not ndarray or type(grad_output) is not ndarray:
            weight, grad_output = checks.as_arrays(name, ("weight", weight), ("grad_output", grad_output))
        options = checks.key_of((input_size, stride, padding, dilation, groups))
        key: Any = options and (
            weight.shape, grad_output.shape, weight.dtype, grad_output.dtype, options, meant[auto],
        )  # fmt: skip
        entry = get(key)
        if entry is None:
            try:
                entry = _prepare(name, rank, input_size, weight, grad_output, stride, padding, dilation, groups)
            except (TypeError, ValueError) as error:
                raise refusal(error, x="input", w="weight") from None
            checks.keep(prepared, key, entry)
        run, shape, dtype, fill, allocate = entry
        result = allocate(shape, dtype)
        run(grad_output, weight, None, fill, result)
        return result

    sizes, taps, outputs, answer = _EXAMPLES[rank]
    letters = checks.AXES[rank]
    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(
        name=name,
        rank=rank,
        sizes=", ".join(letters),
        kernel=", ".join(f"K{letter}" for letter in letters),
        outputs=", ".join(f"P{letter}" for letter in letters),
        example=sizes,
        taps=taps,
        answers=outputs,
        answer=answer,
    )
    return function


def _prepare(
    name: str,
    rank: int,
    input_size: Any,
    weight: Array,
    grad_output: Array,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Prepared:
    """What a call needs besides its arrays."""
    misfits = Misfits(name)
    misfits.attempt(checks.as_array, "weight", weight)
    misfits.attempt(checks.as_array, "grad_output", grad_output)
    dtype = misfits.attempt(common_dtype, weight=weight, grad_output=grad_output)
    size = misfits.attempt(checks.as_ints, "input_size", input_size, rank + 2, 0)
    check_shape(misfits, "weight", weight.shape, rank, "OI")
    check_shape(misfits, "grad_output", grad_output.shape, rank, "NC")
    misfits.refuse()
    assert dtype and size
    check_filled(misfits, "input_size", size, 2)
    check_weight(misfits, weight.shape)
    strides = misfits.attempt(as_ints, "stride", stride, rank, 1)
    pads = misfits.attempt(as_ints, "padding", padding, rank, 0)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    checks.check_size(name, size, dtype.itemsize)
    misfits.refuse()
    forward = np.broadcast_to(np.zeros((), dtype), size)
    options = groups, strides, pads, dilations, "constant", None, resolved(AUTO_NAME), False
    problem = checks.convolution(name, forward, weight, dtype, rank, False, *options, padding_name="padding")
    if grad_output.shape != problem.out_shape and 0 not in size:
        misfits.say(f"grad_output has shape {grad_output.shape}, expected {problem.out_shape}, that of the output")
    misfits.refuse()
    call = problem.call
    call = call._replace(channels=call.outputs, outputs=call.channels, flip=1)
    run, allocate = prepare_transposed(name, call, problem.axes, dtype, problem.algorithm)
    if not (weight.dtype.isnative and grad_output.dtype.isnative):
        run = converting(run, dtype, dtype)
    return run, size, dtype, np.zeros(1, dtype), allocate


DEFINED = [(f"conv{rank}d_input", rank) for rank in (1, 2, 3)]
conv1d_input, conv2d_input, conv3d_input = (_define(*each) for each in DEFINED)
for _name, _rank in DEFINED:
    offer(globals()[_name], "functional.input_gradient", _name, _rank)
