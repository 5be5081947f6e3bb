"""Pools, filters and patches called from compiled code: what the frontend does in Python, without the interpreter."""

from ..jit import entry, kernel
from ..shapes import (
    AXIS_FIELDS,
    FAR,
    GIVEN,
    TOO_FAR,
    UNIT,
    Axis,
    Windows,
    count_windows,
    drop_steps,
    is_addressable,
    pad_axis,
    sharing_axis,
    unpooled_size,
)
from ..strided import address, load_tuple
from ..window import write_tuple
from ..windows import patches, pool_rows, scatter, spread
from .frame import (
    AT,
    AT_WINDOWS,
    array_at,
    give_block,
    invoke,
    is_aligned,
    is_true,
    load_axis,
    memory_at,
    shape_of,
    take_block,
    words_at,
    write_ends,
    write_steps,
)

# The functions of a dtype, in this order. What is found by rows has a second one for all that they do not take.
KINDS = (pool_rows.maximum, pool_rows.minimum, pool_rows.indexed_maximum, pool_rows.indexed_minimum, pool_rows.average,
         scatter.unpool, patches.extract, patches.combine, scatter.scatter_add, spread.spread)  # fmt: skip
NAMES = ("maximum", "minimum", "indexed_maximum", "indexed_minimum", "average", "unpool", "extract", "combine",
         "scatter_add", "spread")  # fmt: skip
(MAXIMUM, MINIMUM, INDEXED_MAXIMUM, INDEXED_MINIMUM, AVERAGE, UNPOOL, EXTRACT, COMBINE,
 SCATTER_ADD, SPREAD) = range(len(KINDS))  # fmt: skip
EXTREMUM, MEAN = len(KINDS), len(KINDS) + 1
FUNCTIONS = len(KINDS) + 2  # of a dtype

# Bits of the frame's `option`.
CEIL, INCLUDE_PADDING, EMPTY_IS_ZERO, IS_COMPLEX = 1, 2, 4, 8
# What PyTorch refuses: empty axes, but the batch, and the channels where these may be empty; and wide padding.
PYTORCH, FREE_CHANNELS, HALF_PADDING = 16, 32, 64
SHARED = 128  # an adaptive pool: kernels are the numbers of outputs, or `KEEP`, which is the axis's size
KEEP = -FAR
_PLANE = AT_WINDOWS + Windows._fields.index("plane")


@entry
def resolve_window(frame):
    """Check a frame's numbers and write the padding and the sizes of the result among them. True: ask `explain`."""
    words, kind = frame.data, frame.data[AT.kind]
    if kind == UNPOOL or kind == SCATTER_ADD:
        return resolve_unpool(words)
    windows, itemsize = load_tuple(words, AT_WINDOWS, Windows), words[AT.x_itemsize]
    leading, elements, taps, positions, planes = windows.rank - windows.trailing, 1.0, 1.0, 1.0, 1.0
    for i in range(leading):
        planes *= float(load_axis(words, i).size)
    if has_empty_axis(words, windows):
        return True
    for i in range(leading, windows.rank):
        if words[AT.option] & SHARED and not share_axis(words, i):
            return True
        axis = load_axis(words, i)
        if words[AT.option] & SHARED:
            elements, positions = elements * float(axis.size), positions * float(axis.out)
            continue
        if words[AT.option] & HALF_PADDING and float(axis.before) * 2.0 > float(axis.kernel):
            return True
        if words[AT.option] & PYTORCH and kind == AVERAGE and windows.trailing == 3 and axis.kernel > axis.size:
            return True
        before, after, room = pad_axis(axis, words[AT.padding], True)
        if room == TOO_FAR or axis.size < 0:
            return True
        out = count_windows(axis, before, room, words[AT.option] & CEIL)
        if out < 1 and axis.size > 0:
            return True
        out = max(out, 0)
        write_ends(words, i, before, after, out)
        elements, taps, positions = elements * float(axis.size), taps * float(axis.kernel), positions * float(out)
    largest = max(positions, elements if kind == COMBINE or kind == SPREAD else 0.0)
    if kind == EXTRACT:
        largest = positions * taps
    if not is_addressable(planes * largest, itemsize) or not is_addressable(taps, 1):
        return True
    if kind == COMBINE:
        rows, columns = shape_of(words, AT.x, leading), shape_of(words, AT.x, leading + 1)
        if rows != count_taps(words, windows) or float(columns) != positions:
            return True
        if words[AT.columns] >= 0 and shape_of(words, AT.x, 1) * rows != words[AT.columns]:  # channels and taps
            return True
    if kind == SPREAD and not has_shape_of_means(words, windows):
        return True
    for i in range(leading, windows.rank):
        write_steps(words, i, drop_steps(load_axis(words, i)))
    words[AT.padding], words[AT.is_resolved] = GIVEN, 1
    return False


@kernel
def has_empty_axis(words, windows):
    """Whether PyTorch would refuse an axis for its size."""
    option = words[AT.option]
    if not option & PYTORCH:
        return False
    for i in range(windows.rank - windows.trailing - (0 if option & FREE_CHANNELS else 1), windows.rank):
        if load_axis(words, i).size < 1:
            return True
    return False


@kernel
def share_axis(words, i):
    """Write the axis of an adaptive pool in the place of what it is asked for by."""
    axis = load_axis(words, i)
    out = axis.size if axis.kernel == KEEP else axis.kernel
    if out < 0 or float(axis.size) * float(out) >= FAR:
        return False
    write_tuple(words, AT.axes + i * AXIS_FIELDS, sharing_axis(axis.size, out))
    return True


@kernel
def has_shape_of_means(words, windows):
    """Whether what is spread has the shape of a pool's result."""
    for i in range(windows.rank):
        axis = load_axis(words, i)
        if shape_of(words, AT.x, i) != axis.out:
            return False
    return True


@kernel
def count_taps(words, windows):
    taps = 1
    for i in range(windows.rank - windows.trailing, windows.rank):
        taps *= load_axis(words, i).kernel
    return taps


@kernel
def resolve_unpool(words):
    """The sizes of what was pooled: those that are asked for, or those that the numbers of the pool give.

    What the kernel reads then are the axes of the values, and how many elements a plane of the result has.
    """
    windows = load_tuple(words, AT_WINDOWS, Windows)
    leading, planes, plane = windows.rank - windows.trailing, 1.0, 1.0
    for i in range(windows.rank):
        if shape_of(words, AT.indices, i) != shape_of(words, AT.x, i):
            return True
    option = words[AT.option]
    if has_empty_axis(words, windows):
        return True
    for i in range(leading):
        n = load_axis(words, i).size
        if words[AT.sizes + i] != n:
            return True
        planes *= float(n)
    for i in range(leading, windows.rank):
        axis, size = load_axis(words, i), words[AT.sizes + i]
        if min(axis.kernel, axis.stride, axis.dilation) < 1:
            return True
        if option & PYTORCH and words[AT.is_asked]:
            least = unpooled_size(axis, words[AT.padding])
            if words[AT.kind] == UNPOOL and (least == TOO_FAR or abs(size - least) >= axis.stride):
                return True
            if size < 1:
                return True
        if not words[AT.is_asked]:
            size = unpooled_size(axis, words[AT.padding])
            if size < 1 and axis.size > 0:
                return True
        if size < 0:
            return True
        plane *= float(size)
        words[AT.sizes + i] = size
    if not is_addressable(planes * plane, words[AT.x_itemsize]):
        return True
    outputs = 1
    for i in range(leading, windows.rank):
        outputs *= words[AT.sizes + i]
    for i in range(windows.rank):
        n = shape_of(words, AT.x, i)
        write_tuple(words, AT.axes + i * AXIS_FIELDS, Axis(n, 1, 1, 1, 0, 0, 0, n))
    words[_PLANE], words[AT.padding], words[AT.is_resolved] = outputs, GIVEN, 1
    return False


@entry
def run_window(frame):
    """Run a resolved frame as the frontend would. False: there is no memory, or elements lie where no type may."""
    words = frame.data
    table, kernels, kind = words_at(words[AT.table]).data, words[AT.kernels], words[AT.kind]
    windows, itemsize, alignment = load_tuple(words, AT_WINDOWS, Windows), words[AT.x_itemsize], words[AT.alignment]
    positions = elements = 1
    for i in range(windows.rank):
        axis = load_axis(words, i)
        positions, elements = positions * axis.out, elements * axis.size
    if (elements if kind == COMBINE or kind == SPREAD else positions) == 0:
        return True
    words[AT.numbers] = address(frame) + 8 * AT_WINDOWS
    rank = windows.rank - windows.trailing + 2 if kind == COMBINE else windows.rank
    if elements > 0 and not is_aligned(words, AT.x, rank, itemsize, alignment):
        return False
    x, out, indices, numbers = (
        array_at(frame, AT.x),
        array_at(frame, AT.out),
        array_at(frame, AT.indices),
        array_at(frame, AT.numbers),
    )
    if kind == UNPOOL or kind == SCATTER_ADD:
        if not is_aligned(words, AT.indices, rank, 8, 8):
            return False
        return run_alone(frame, kind, (x, indices, out, words_at(address(frame) + 8 * AT.bad_index), numbers))
    if kind == EXTRACT or kind == COMBINE:
        return run_alone(frame, kind, (x, out, numbers))
    if kind == SPREAD:
        return run_alone(frame, kind, (x, out, numbers, words[AT.option] & INCLUDE_PADDING != 0))
    lowest, option = array_at(frame, AT.fill), words[AT.option]
    last = load_axis(words, windows.rank - 1)
    if option & IS_COMPLEX == 0 and pool_rows.refuses(windows.trailing, last, elements) == 0:
        return run_rows(frame, windows, x, out, indices, lowest)
    padded, empty_is_zero = option & INCLUDE_PADDING != 0, option & EMPTY_IS_ZERO != 0
    if kind == AVERAGE:
        invoke(table[kernels + MEAN], (x, out, numbers, padded, empty_is_zero, words[AT.divisor]))
    else:
        smallest, indexed = kind == MINIMUM or kind == INDEXED_MINIMUM, kind >= INDEXED_MAXIMUM
        invoke(table[kernels + EXTREMUM], (x, out, indices, lowest, numbers, smallest, indexed))
    return True


@kernel
def run_rows(frame, windows, x, out, indices, lowest):
    words = frame.data
    leading, count = windows.rank - windows.trailing, windows.trailing
    a0 = load_axis(words, leading) if count > 2 else UNIT
    a1 = load_axis(words, windows.rank - 2) if count > 1 else UNIT
    shape, strides, option = words_at(words[AT.x + 1]).data, words_at(words[AT.x + 2]).data, words[AT.option]
    plan = words_at(address(frame) + 8 * AT.plan)
    a2, sizes = load_axis(words, windows.rank - 1), (words[AT.x_itemsize], words[AT.itemsize])
    pool_rows.write_plan(shape, strides, leading, count, a0, a1, a2, sizes[0], sizes[1],
                         option & INCLUDE_PADDING != 0, option & EMPTY_IS_ZERO != 0, words[AT.divisor],
                         plan.data)  # fmt: skip
    return run_alone(frame, words[AT.kind], (x, out, indices, lowest, plan))


@kernel
def run_alone(frame, kind, arrays):
    """Run a kernel that threads could share on this one, with a block of workspace."""
    words = frame.data
    table = words_at(words[AT.table])
    block = take_block(table)
    if block == 0:
        return False
    is_done = is_true(table.data[words[AT.kernels] + kind], (*arrays, memory_at(block), frame, 1, 0))
    give_block(table, block)
    return is_done
