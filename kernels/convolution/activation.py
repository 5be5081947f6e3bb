"""Activations, applied to a result before it is stored. Their names stand in `shapes`."""

import math

from numba import types

from ..jit import entry, kernel, overload
from ..shapes import GELU, LAST_CLAMP, RELU, RELU6, SIGMOID, SILU, TANH
from ..simd.packing import finish_run
from ..simd.vectors import is_vector_type, limits
from ..strided import item_size, load, store, stride, zero
from ..window import axes_of_call, count_positions, load_call, spatial_offset


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
def finish_elements(out, where, step, columns, sums, start, bias, bias_where, call):
    """`finish` for a row of sums, one by one."""
    for j in range(columns):
        finish(out, where + j * step, sums[start + j], bias, bias_where, call)


def finish_row(out, where, step, columns, sums, start, bias, bias_where, call):
    """`finish` for a row of sums, of which whole vectors are read."""
    raise NotImplementedError("compiled code only")


@overload(finish_row)
def _finish_row(out, where, step, columns, sums, start, bias, bias_where, call):
    def vectors(out, where, step, columns, sums, start, bias, bias_where, call):
        if call.activation <= LAST_CLAMP:
            low, high = bounds(call, sums, out)
            added = load(bias, bias_where) if call.has_bias else zero(out)
            finish_run(out, where, step, sums, start, columns, added, low, high)
        else:
            finish_elements(out, where, step, columns, sums, start, bias, bias_where, call)

    return vectors if is_vector_type(out.compute) else finish_elements.py_func


@entry
def finish_sums(sums, bias, out, numbers):
    """`finish` for contiguous sums `(O, P)` of one image, `out (O, P*)` of any strides."""
    call = load_call(numbers.data)
    axes = axes_of_call(numbers.data, call)
    positions, _ = count_positions(axes)
    itemsize = item_size(out)
    for o in range(call.outputs):
        for p in range(positions):
            where = (o * out.strides[0] + spatial_offset(out.strides, axes, p, 1)) // itemsize
            finish(out, where, load(sums, o * positions + p), bias, o * stride(bias, 0), call)
