"""Activations, applied to a result before it is stored. Each has a number, which travels with the call."""

import math

from numba import types

from ..jit import entry, kernel, overload
from ..simd.vectors import limits
from ..strided import item_size, load, store, stride, zero
from ..window import count_positions, load_call, spatial_offset

NAMES = (None, "relu", "relu6", "silu", "gelu", "tanh", "sigmoid")
NONE, RELU, RELU6, SILU, GELU, TANH, SIGMOID = range(7)


def activate(activation, value):
    """The activation's value; a NaN stays a NaN."""
    raise NotImplementedError("compiled code only")


@overload(activate)
def _activate(activation, value):
    if isinstance(value, types.Complex):
        return lambda activation, value: value
    if isinstance(value, types.Integer):
        return _activate_integer
    return _activate_float


def _activate_integer(activation, value):
    if activation == RELU:
        return max(value, type(value)(0))
    if activation == RELU6:
        return min(max(value, type(value)(0)), type(value)(6))
    return value


def _activate_float(activation, value):
    one = type(value)(1)
    if activation == RELU:
        return type(value)(0) if value <= 0 else value
    if activation == RELU6:
        return type(value)(0) if value <= 0 else type(value)(6) if value > 6 else value
    if activation == SILU:
        return value / (one + math.exp(-value))
    if activation == GELU:  # Hendrycks and Gimpel, "Gaussian Error Linear Units", section 2: the exact form
        return type(value)(0.5) * value * (one + math.erf(value * type(value)(math.sqrt(0.5))))
    if activation == TANH:
        return type(value)(math.tanh(value))
    if activation == SIGMOID:
        return one / (one + math.exp(-value))
    return value


@kernel
def bounds(call, sums, out):
    """The lowest and highest value that relu and relu6 let through; for others the type's own, which clamp nothing."""
    low, high = limits(sums)
    if call.activation == RELU or call.activation == RELU6:
        low = zero(out)
    return low, type(low)(6) if call.activation == RELU6 else high


def finish(out, where, total, bias, bias_where, call):
    """Add the bias, activate and store. Integers wrap to the result's type before the activation sees them."""
    raise NotImplementedError("compiled code only")


@overload(finish)
def _finish(out, where, total, bias, bias_where, call):
    wrap = out.compute if isinstance(out.compute, (types.Float, types.Complex)) or out.format == "bool" else out.dtype

    def impl(out, where, total, bias, bias_where, call):
        if call.has_bias:
            total = total + load(bias, bias_where)
        store(out, where, activate(call.activation, wrap(total)))

    return impl


@kernel
def finish_row(out, where, step, columns, sums, start, bias, bias_where, call):
    """`finish` for a row of sums."""
    for j in range(columns):
        finish(out, where + j * step, sums[start + j], bias, bias_where, call)


@entry
def finish_sums(sums, bias, out, numbers):
    """`finish` for contiguous sums `(O, P)` of one image, `out (O, P*)` of any strides."""
    call = load_call(numbers.data)
    positions, _ = count_positions(call, numbers.data)
    itemsize = item_size(out)
    for o in range(call.outputs):
        for p in range(positions):
            where = (o * out.strides[0] + spatial_offset(out.strides, numbers.data, call, p, 1)) // itemsize
            finish(out, where, load(sums, o * positions + p), bias, o * stride(bias, 0), call)
