"""Correlation of so little that to set up a faster kernel takes longer than the work.

Each vector of an output row is summed in a register, channel by channel, tap by tap: what padding there is comes from
masked lanes, and nothing is packed, written down or shared between threads. `small_images` is the same for more of such
images.
"""

from ..jit import entry, inlined, plain
from ..shapes import CALL_FIELDS, CONSTANT, HUGE, LAST_CLAMP, PLAN, is_padded
from ..simd.rows import SMALL_BYTES, Planes, RowTarget, RowWeights, Taps, small_tile
from ..simd.vectors import MASKED
from ..strided import elements, five_strides, is_aligned, item_size, load, stride, zero
from ..window import load_axes, load_call
from .activation import bounds

VECTORS = 170  # of input that are multiplied
WORKSPACE_BYTES = 0
_WINDOW = 1 << 13  # elements of the input that a window reaches over
ANOTHER_KIND, MANY_VECTORS, MANY_IMAGES = 1, 2, 3


@plain
def refuses(call, axes, element):
    """Why other kernels run a call: what `refuses_image` says, or its images take many vectors together."""
    refusal = refuses_image(call, axes, element)
    if refusal == 0 and (call.batch > VECTORS or call.batch * image_vectors(call, axes, element) > VECTORS):
        return MANY_IMAGES
    return refusal


@plain
def refuses_image(call, axes, element):
    """Why other kernels run an image: it has three axes, a step, or what masked lanes cannot do; or many vectors.

    `dense` takes all that is not refused: others that come with an image give it no other bits.
    """
    a0, a1, a2 = axes
    if not MASKED or a0.size != 1 or a0.kernel != 1 or a0.before + a0.after != 0 or a2.stride != 1:
        return ANOTHER_KIND
    if call.activation > LAST_CLAMP or (is_padded(a0, a1, a2) and (a1.boundary != CONSTANT or a2.boundary != CONSTANT)):
        return ANOTHER_KIND
    span1, span2 = (a1.kernel - 1) * a1.dilation, (a2.kernel - 1) * a2.dilation
    if max(a2.size, a2.before, span1, span2) >= HUGE or (span1 + 1) * (span2 + 1) > _WINDOW or call.channels == 0:
        return ANOTHER_KIND
    if max(call.groups * call.outputs, call.channels, a1.out, a2.out // SMALL_BYTES, a1.kernel, a2.kernel) > VECTORS:
        return MANY_VECTORS  # so that 64 bits hold the product
    return MANY_VECTORS if image_vectors(call, axes, element) > VECTORS else 0


@plain
def image_vectors(call, axes, element):
    """How many vectors are multiplied for an image."""
    _, a1, a2 = axes
    vectors = a2.out * element.itemsize // SMALL_BYTES + 1
    return call.groups * call.outputs * call.channels * a1.out * a1.kernel * a2.kernel * vectors


def reason(refusal, call, axes, element):
    """A refusal in words."""
    if refusal in (MANY_VECTORS, MANY_IMAGES):
        return f"{'an image takes' if refusal == MANY_VECTORS else 'its images take'} more than {VECTORS} vectors"
    return "it has three axes, a step along rows, a wide window, another boundary than zeros, or no cheap activation"


@plain
def plan_words(call, axes, element):
    """How many numbers a call takes; there is no plan."""
    return PLAN


@entry
def correlate(x, w, bias, out, fill, numbers):
    """`generic.correlate` of a call that is not refused.

    Returns False, nothing written, if a pointer or a stride is misaligned, or if the elements of a row do not lie next
    to each other.
    """
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    xs, outs = five_strides(x, call.rank), five_strides(out, call.rank)
    if xs.s2 != 1 or outs.s2 != 1:
        return False
    correlate_images(x, w, bias, out, fill, numbers, call, 0, call.batch)
    return True


@inlined
def correlate_images(x, w, bias, out, fill, numbers, call, first_image, end):
    """The images from the first one to before the end of a call, whose rows lie in one piece."""
    _, a1, a2 = load_axes(numbers.data, CALL_FIELDS)
    xs, ws, outs = five_strides(x, call.rank), five_strides(w, call.rank), five_strides(out, call.rank)
    low, high = bounds(call, elements(out), out)
    lanes, padding = SMALL_BYTES // item_size(out), load(fill, 0)
    w1, w2, corner = ws.s1, ws.s2, 0
    if call.flip:
        w1, w2, corner = -w1, -w2, (a1.kernel - 1) * w1 + (a2.kernel - 1) * w2
    for n in range(first_image, end):
        for group in range(call.groups):
            first = n * xs.batch + group * call.channels * xs.channel
            source = Planes(x, first, call.channels, xs.channel, xs.s1, padding)
            for o in range(group * call.outputs, (group + 1) * call.outputs):
                added = load(bias, o * stride(bias, 0)) if call.has_bias else zero(out)
                weights = RowWeights(elements(w), o * ws.batch + corner, ws.channel, w1, w2)
                for p1 in range(0, a1.out, 2):
                    rows = Taps(p1 * a1.stride - a1.before, a1.stride, a1.dilation, a1.kernel, a1.size)
                    where = n * outs.batch + o * outs.channel + p1 * outs.s1
                    for p2 in range(0, a2.out, lanes):
                        columns = Taps(p2 - a2.before, 1, a2.dilation, a2.kernel, a2.size)
                        target = RowTarget(elements(out), where + p2, 0, outs.s1, a1.out - p1, a2.out - p2)
                        small_tile(source, rows, columns, weights, target, added, low, high)
