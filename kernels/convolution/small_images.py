"""Correlation of many images that `small` would run one by one: its tile and its sums, threads share the images."""

from ..jit import entry, plain
from ..shapes import PLAN
from ..simd.rows import SMALL_BYTES
from ..strided import five_strides, is_aligned
from ..team import close_team, open_team, take_item
from ..window import load_call
from . import small
from .costs import SMALL as SMALL_COSTS

IMAGES = 64  # that a thread takes at a time: tens of microseconds
WORKSPACE_BYTES = 64  # none is used, but threads have one each
refuses, reason = small.refuses_image, small.reason


@plain
def cost(call, axes, element):
    """Nanoseconds that an image takes, about."""
    (_, a1, a2), costs = axes, SMALL_COSTS
    lanes = SMALL_BYTES // element.itemsize
    tiles = call.groups * call.outputs * -(-a1.out // 2) * -(-a2.out // lanes)
    rows = call.channels * a1.kernel
    return costs.image + tiles * (costs.tile + rows * (costs.row + a2.kernel * costs.mac))


@plain
def plan_words(call, axes, element):
    """How many numbers a call takes; there is no plan."""
    return PLAN


@entry
def correlate(x, w, bias, out, fill, numbers, workspace, team, threads, thread):
    """`small.correlate`, whose images `threads` share; number `thread` runs this, the caller is 0."""
    call = load_call(numbers.data)
    if not (is_aligned(x, call.rank + 2) and is_aligned(w, call.rank + 2) and is_aligned(out, call.rank + 2)):
        return False
    if five_strides(x, call.rank).s2 != 1 or five_strides(out, call.rank).s2 != 1:
        return False
    if threads > 1 and thread == 0:
        threads = open_team(team, (x, w, bias, out, fill, numbers, workspace, team, threads), threads)
    item = take_item(team) if threads > 1 else 0
    while item * IMAGES < call.batch:
        first = item * IMAGES
        small.correlate_images(x, w, bias, out, fill, numbers, call, first, min(first + IMAGES, call.batch))
        item = take_item(team) if threads > 1 else item + 1
    if threads > 1 and thread == 0:
        close_team(team)
    return True
