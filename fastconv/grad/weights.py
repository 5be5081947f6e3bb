"""Gradients of convolutions with respect to their weights and biases, which are sums over batch and positions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import problem as checks
from ..dispatch import AUTO_NAME
from ..extending import offer
from ..kernels.shapes import element_of, pack_numbers, three_axes
from ..launch import entry_point, import_kernels
from ..problem import Array, Misfits, Problem, aligned
from ..team import share
from ..threads import get_num_threads
from ..torch_names import as_ints, check_filled, check_shape, common_dtype, refusal
from ..verbose import traced

_WEIGHT_DOC = """Gradient of a convolution with respect to its weights, as `torch.nn.grad.{name}`.

    Parameters
    ----------
    input : array_like, shape (N, C, {sizes})
        The input. Any strides are read in place.
    weight_size : sequence of int, (O, C // groups, {kernel})
        Shape of the weights.
    grad_output : array_like, shape (N, O, {outputs})
        Gradient with respect to the output; of the dtype of `input`. Any strides are read in place.
    stride, padding, dilation : int, or one int per spatial axis
        Those of the convolution.
    groups : int
        That of the convolution.

    Returns
    -------
    ndarray, of shape `weight_size`
        Of the arrays' dtype. float16 and bfloat16 are summed in float32 and rounded once, integers wrap, bool is any of
        and. Complex numbers are not conjugated: PyTorch's backward passes give what `input.conj()` gives here.

    Raises
    ------
    RuntimeError
        For shapes and values; it is a ValueError, too.
    TypeError
        For types: arrays of several dtypes, or of one that is not known.

    Notes
    -----
    Each thread works in some 1.3 MB, whatever the sizes. The result has the same bits for any number of threads.
    Sums are made in blocks, so that their error grows with the logarithm of their length more than with the length:
    `kernels/convolution/weights.py` has the bound. Padding holds zeros, which count: an infinite gradient times one of
    them is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import grad
    >>> grad.{name}(np.arange({count}.0).reshape(1, 1, {example}), (1, 1, {taps}), np.ones((1, 1, {answers})))
    {answer}
    """
_BIAS_DOC = """Gradient of a convolution with respect to its bias: sums over the batch and all positions.

    Parameters
    ----------
    grad_output : array_like, shape (N, O, {outputs})
        Gradient with respect to the output. Any strides are read in place.

    Returns
    -------
    ndarray, shape (O,)
        Of the dtype of `grad_output`, summed as the gradient of the weights is.

    Raises
    ------
    RuntimeError
        For a wrong number of dimensions; it is a ValueError, too.
    TypeError
        For a dtype that is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import grad
    >>> grad.{name}(np.ones((2, 3, {answers})))
    array([{sum}., {sum}., {sum}.])
    """
_EXAMPLES: dict[int, tuple[str, ...]] = {  # per rank: elements and sizes of the input, the kernel, the output, answers
    1: ("4", "4", "3", "2", "array([[[1., 3., 5.]]])", "4"),
    2: ("8", "2, 4", "1, 3", "2, 2", "array([[[[10., 14., 18.]]]])", "8"),
    3: ("8", "2, 1, 4", "1, 1, 3", "2, 1, 2", "array([[[[[10., 14., 18.]]]]])", "8"),
}
_SHARED_MACS, _SHARED_SUMS = 3_000_000, 500_000  # some 50 us on one core
_MAC_BYTE = 0.005  # nanoseconds of one core that a multiply-add takes, for each byte of a number
WEIGHTS = ("convolution.weights",)
Run = Callable[..., Array]  # of input and grad_output, or grad_output alone
_prepared: dict[Any, Run] = {}


def _define_weight(name: str, rank: int) -> Callable[..., Array]:
    """The function `name`."""
    ndarray, get = np.ndarray, _prepared.get

    def function(
        input: Any,
        weight_size: Any,
        grad_output: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Array:
        if type(input) is not ndarray or type(grad_output) is not ndarray:
            input, grad_output = checks.as_arrays(name, ("input", input), ("grad_output", grad_output))
        options = checks.key_of((weight_size, stride, padding, dilation, groups))
        key: Any = options and (name, input.shape, grad_output.shape, input.dtype, grad_output.dtype, options)
        run = get(key)
        if run is None:
            arguments = input, weight_size, grad_output, stride, padding, dilation, groups
            run = _keep(key, name, _prepare_weight, rank, *arguments)
        return run(input, grad_output)

    function.__doc__ = _WEIGHT_DOC.format(**_words(name, rank))
    function.__name__ = function.__qualname__ = name
    return function


def _define_bias(name: str, rank: int) -> Callable[..., Array]:
    """The function `name`."""

    def function(grad_output: Any) -> Array:
        if type(grad_output) is not np.ndarray:
            (grad_output,) = checks.as_arrays(name, ("grad_output", grad_output))
        key = name, grad_output.shape, grad_output.dtype
        run = _prepared.get(key) or _keep(key, name, _prepare_bias, rank, grad_output)
        return run(grad_output)

    function.__doc__ = _BIAS_DOC.format(**_words(name, rank))
    function.__name__ = function.__qualname__ = name
    return function


def _words(name: str, rank: int) -> dict[str, str]:
    """What docstrings say of a rank."""
    count, example, taps, answers, answer, total = _EXAMPLES[rank]
    sizes = checks.AXES[rank]
    return {
        "name": name,
        "sizes": ", ".join(sizes),
        "kernel": ", ".join(f"K{letter}" for letter in sizes),
        "outputs": ", ".join(f"P{letter}" for letter in sizes),
        "count": count,
        "example": example,
        "taps": taps,
        "answers": answers,
        "answer": answer,
        "sum": total,
    }


def _keep(key: Any, name: str, prepare: Callable[..., Run], *arguments: Any) -> Run:
    """What runs a call, made once for all calls alike, if they can be told by a key."""
    try:
        run = prepare(name, *arguments)
    except (TypeError, ValueError) as error:
        raise refusal(error, x="input", w="weight") from None
    checks.keep(_prepared, key, run)
    return run


def _prepare_weight(name: str, rank: int, input: Array, weight_size: Any, *arguments: Any) -> Run:
    """What runs a gradient of weights."""
    return _prepare(weight_problem(name, rank, input, weight_size, *arguments), tuple(weight_size))


def weight_problem(
    name: str,
    rank: int,
    input: Array,
    weight_size: Any,
    grad_output: Array,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Problem:
    """The convolution whose gradient is asked for; all that does not fit is told at once."""
    misfits = Misfits(name)
    misfits.attempt(checks.as_array, "input", input)
    misfits.attempt(checks.as_array, "grad_output", grad_output)
    misfits.attempt(common_dtype, input=input, grad_output=grad_output)
    size = misfits.attempt(as_shape, weight_size, rank + 2)
    check_shape(misfits, "input", input.shape, rank, "NC")
    check_shape(misfits, "grad_output", grad_output.shape, rank, "NO")
    strides = misfits.attempt(as_ints, "stride", stride, rank, 1)
    pads = misfits.attempt(as_ints, "padding", padding, rank, 0)
    dilations = misfits.attempt(as_ints, "dilation", dilation, rank, 1)
    misfits.refuse()
    check_filled(misfits, "input", input.shape, 2)
    dtype = input.dtype.newbyteorder("=")
    misfits.attempt(checks.check_size, size or (), dtype.itemsize)
    if size and not misfits.texts:
        weight = np.broadcast_to(np.zeros((), dtype), size)
        options = groups, strides, pads, dilations, "constant", None, AUTO_NAME, False
        problem = misfits.attempt(
            checks.convolution, input, weight, dtype, rank, False, *options, padding_name="padding"
        )
        if problem and grad_output.shape != problem.out_shape:
            misfits.say(f"grad_output has shape {grad_output.shape}, expected {problem.out_shape}, that of the output")
    misfits.refuse()
    assert problem
    return problem


def as_shape(function: str, value: Any, count: int) -> tuple[int, ...]:
    """The shape of weights: so many ints, of which only the number of channels may be 0."""
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise ValueError(f"{function}(): weight_size is {value!r}, expected {count} ints, the shape of the weights")
    return tuple(checks.as_int(function, "weight_size", each, int(i != 1)) for i, each in enumerate(value))


def _prepare_bias(name: str, rank: int, grad_output: Array) -> Run:
    """What runs the gradient of a bias: that of one tap which meets an input of ones."""
    grad_output = checks.as_array(name, "grad_output", grad_output)
    misfits = Misfits(name)
    check_shape(misfits, "grad_output", grad_output.shape, rank, "NO")
    misfits.refuse()
    (n, outputs, *positions), one = grad_output.shape, np.ones((), grad_output.dtype)
    ones, weight = np.broadcast_to(one, (n, 1, *positions)), np.broadcast_to(one, (outputs, 1, *(1,) * rank))
    options = 1, 1, 0, 1, "constant", None, AUTO_NAME, False
    problem = checks.convolution(name, ones, weight, grad_output.dtype, rank, False, *options)
    return functools.partial(_prepare(problem, (outputs,), _SHARED_SUMS), ones)


def _prepare(problem: Problem, shape: tuple[int, ...], least: int = _SHARED_MACS) -> Run:
    """What runs a gradient with respect to weights that have a shape; threads share `least` products or more."""
    call, axes, dtype = problem.call, three_axes(problem.axes), problem.dtype
    macs = math.prod(shape) * call.batch * problem.positions
    if macs == 0:
        return lambda input, grad_output: np.zeros(shape, dtype)
    import_kernels(*WEIGHTS)
    from ..kernels.convolution import weights as kernels

    numbers = pack_numbers(call, axes, kernels.PLAN_WORDS)
    kernels.write_plan(call, axes, element_of(dtype.name), numbers)
    differentiate = entry_point(kernels.differentiate, *weight_formats(dtype.name))
    is_shared, work = macs * (2 if dtype.itemsize > 4 else 1) >= least, macs * dtype.itemsize * _MAC_BYTE

    def run(input: Array, grad_output: Array) -> Array:
        out, count = np.empty(shape, dtype), get_num_threads() if is_shared else 1
        arrays = checks.cast(input, dtype), checks.cast(grad_output, dtype)
        if not share(differentiate, (*arrays, out, numbers), kernels.WORKSPACE_BYTES, count, work):
            arrays = aligned(arrays[0]), aligned(arrays[1])
            share(differentiate, (*arrays, out, numbers), kernels.WORKSPACE_BYTES, count, work)
        return out

    return traced(run, problem, "dots", weight=shape)


def weight_formats(dtype: str) -> tuple[str, ...]:
    """The formats of `kernels.weights.differentiate`."""
    return dtype, dtype, dtype, "int64", "uint8", "int64", "intp", "intp"


DEFINED = [(f"conv{rank}d", rank) for rank in (1, 2, 3)]
conv1d_weight, conv2d_weight, conv3d_weight = (_define_weight(f"{name}_weight", rank) for name, rank in DEFINED)
conv1d_bias, conv2d_bias, conv3d_bias = (_define_bias(f"{name}_bias", rank) for name, rank in DEFINED)
for _name, _rank in DEFINED:
    offer(globals()[f"{_name}_weight"], "grad.weight_gradient", f"{_name}_weight", _rank)
    offer(globals()[f"{_name}_bias"], "grad.bias_gradient", f"{_name}_bias", _rank)
