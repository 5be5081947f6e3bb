"""Correlation as plain strided loops: any rank, any type, nothing packed. The yardstick of the faster kernels."""

from ..jit import entry, kernel, plain
from ..shapes import AXIS_FIELDS, CALL_FIELDS
from ..strided import add_product, is_aligned, item_size, load, stride, zero
from ..window import axes_of_call, count_positions, load_axis, load_call, source_index, spatial_offset
from .activation import finish

WORKSPACE_BYTES = 0


@plain
def plan_words(call, axes, element):
    """How many numbers a call takes; there is no plan."""
    return CALL_FIELDS + max(call.rank, 3) * AXIS_FIELDS


@entry
def correlate(x, w, bias, out, fill, numbers):
    """`out[n, o, p] = activate(bias[o] + sum over c, k of w[o, c, k] * x[n, c, p * stride + k * dilation - before])`.

    `x (N, C, S*)`, `w (O, C/g, K*)`, `bias (O,)`, `out (N, O, P*)`; `fill` holds the padding's value. False, nothing
    written: an array's elements do not lie where their type may.
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    axes = axes_of_call(numbers.data, call)
    positions, taps = count_positions(axes)
    for n in range(call.batch):
        for o in range(call.groups * call.outputs):
            channel = o // call.outputs * call.channels
            for position in range(positions):
                total = zero(out)
                for tap in range(taps):
                    inside, xi, wi = input_and_tap(x, w, axes, call.flip, position, tap)
                    for c in range(call.channels):
                        xc = n * stride(x, 0) + (channel + c) * stride(x, 1)
                        value = load(x, xc + xi) if inside else load(fill, 0)
                        total = add_product(total, value, load(w, o * stride(w, 0) + c * stride(w, 1) + wi))
                where = n * stride(out, 0) + o * stride(out, 1)
                where += spatial_offset(out.strides, axes, position, 2) // item_size(out)
                finish(out, where, total, bias, o * stride(bias, 0), call)
    return True


@kernel
def input_and_tap(x, w, axes, flip, position, tap):
    """Spatial offsets of the input element and of the tap that meet; whether the element is a real one."""
    xi = wi = 0
    inside = True
    for a in range(axes.rank - 1, -1, -1):
        axis = load_axis(axes, a)
        position, p = divmod(position, axis.out)
        tap, k = divmod(tap, axis.kernel)
        i = source_index(p * axis.stride + k * axis.dilation - axis.before, axis.size, axis.boundary)
        inside = inside and i >= 0
        xi += i * stride(x, a + 2)
        wi += (axis.kernel - 1 - k if flip else k) * stride(w, a + 2)
    return inside, xi, wi
