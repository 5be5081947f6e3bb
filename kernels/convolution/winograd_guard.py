"""Which tiles of Winograd's convolution are so uneven that they are summed directly.

The error of a tile grows with all of its inputs, that of a direct sum with those of its window. Hence a guard where
the algorithm is not asked for by name. If rounding errors are independent, as in Higham and Mary, "A new approach to
probabilistic rounding error analysis" (2019), inputs that outweigh a window by D change its output by the order of u
D |w|, where the direct sum's bound is n u |w|, with the weights of the window and of a kernel's taps on average and n
terms of a sum: the ratio is of the order of D / n. So tiles are summed directly

- that weigh more than `n / SPREAD` times the lightest of their windows, summed over the channels, times how much a
  kernel outweighs the lightest of its taps, summed likewise;
- where averages do not hold, for too few inputs make up a window: it weighs less than `FEW_INPUTS` times the largest
  input of the tile, or so little that the taps which its inputs meet may come to less than the largest; or twice as
  many times the largest as a kernel has tiny taps, which are all that the inputs might meet.

Measured on spikes, edges, ramps, gains, sparse data and uneven kernels of 8 to 256 channels, errors of what is left
are at most a tenth of four direct bounds; without the guard they are a hundred of them. What is not finite, or so
large or small that products could overflow or lose digits, counts as uneven, whoever asks. So a value that is not
finite reaches the outputs of its windows only, and zeros give zeros.
"""

from ..jit import kernel
from ..shapes import AUTO
from ..simd.vectors import lanes_of
from ..simd.winograd import measure_tiles
from ..strided import scratch_index
from .winograd_blocks import count_weighed, count_weights, image_of, part

SPREAD = 4
FEW_INPUTS, FEW_TAPS = 6, 12  # of the largest one's size that a window, and a kernel, at least weigh


@kernel
def measure_block(task, block):
    """Of each tile of a block, by how much it outweighs the lightest of its windows, and its largest input does."""
    blocks, room = task.blocks, task.room
    a0, a1, a2 = task.axes
    size1, size2, step, to = blocks.size1, blocks.size2, room.weight_step, room.measure_step
    slot = count_weights(blocks) * step
    low, high = weight_range(part(task, 0, 0))
    for p in range(task.planes):
        measures, weights = part(task, room.measures, p * task.tiles), part(task, room.weights, p * slot)
        measure_tiles(a1.kernel, a2.kernel, weights, step, a0.kernel, slot, task.tiles, measures, to)
        for i in range(task.tiles):
            r, j = divmod(i % (task.rows * task.columns), task.columns)
            image = image_of(task, block, i // (task.rows * task.columns))
            windows1, windows2 = min(image.rows - r * size1, size1), min(image.columns - j * size2, size2)
            total, largest, lightest = measures[i], measures[to + i], measures[2 * to + i]
            if windows1 < size1 or windows2 < size2:
                lightest = lightest_window(task, weights, i, windows1, windows2)
            if windows1 < 1 or windows2 < 1:  # no outputs
                measures[i], measures[to + i] = low * 0, low * 0
            elif total != 0:  # also of a NaN
                is_safe = low <= total <= high and lightest > 0
                measures[i] = total / lightest if is_safe else high * high
                measures[to + i] = largest / lightest if is_safe else high * high


@kernel
def lightest_window(task, weights, i, windows1, windows2):
    """What `measure_tiles` says of tile `i`, where only the first windows of each axis are of outputs."""
    blocks, step = task.blocks, task.room.weight_step
    a0, a1, a2 = task.axes
    kind, slot = type(weights[0]), count_weights(blocks)
    lightest = kind(-1)
    rows1, rows2 = count_weighed(blocks.points1), count_weighed(blocks.points2)
    first1, first2 = int(blocks.points1 == 6), int(blocks.points2 == 6)
    # A half tile has no more than two of these inputs as they were.
    end1, end2 = 2 if task.half1 and windows1 <= 2 else rows1, 2 if task.half2 and windows2 <= 2 else rows2
    for i1 in range(windows1):
        for i2 in range(windows2):
            window = kind(0)
            for k0 in range(a0.kernel):
                for c1 in range(max(i1 - first1, 0), min(i1 - first1 + a1.kernel, end1)):
                    for c2 in range(max(i2 - first2, 0), min(i2 - first2 + a2.kernel, end2)):
                        window += weights[(k0 * slot + c1 * rows2 + c2) * step + i]
            lightest = window if lightest < 0 or window < lightest else lightest
    return lightest


@kernel
def weight_range(numbers):
    """Sums of magnitudes whose products with each other neither overflow nor lose digits in a transform."""
    kind = type(numbers[0])
    if kind(2.0**100) * kind(2.0**100) > kind(2.0**127):
        return kind(2.0**-50), kind(2.0**56)
    return kind(2.0**-400), kind(2.0**400)


@kernel
def measure_kernels(task, outputs):
    """By how much a tile, and its largest input, may outweigh a window of it, for all kernels of a chunk."""
    lanes, taps, terms = lanes_of(part(task, 0, 0)), task.taps, task.call.channels * task.taps
    low, high = weight_range(part(task, 0, 0))
    kind, a0 = type(low), task.axes[0]
    rows = taps // a0.kernel + 2
    is_guarded = task.call.algorithm == AUTO
    most, most_of_one = high, high
    if is_guarded:
        most, most_of_one = kind(terms) / kind(SPREAD), 1 / kind(FEW_INPUTS)
    for i in range(outputs):
        weights = part(task, task.room.tap_weights, i // lanes * a0.kernel * rows * lanes + i % lanes)
        total, lightest, largest, tiny = weights[0] * 0, weights[0], weights[0] * 0, weights[0] * 0
        for k0 in range(a0.kernel):
            for t in range(rows - 2):
                total += weights[(k0 * rows + t) * lanes]
                lightest = min(lightest, weights[(k0 * rows + t) * lanes])
            largest = max(largest, weights[(k0 * rows + rows - 2) * lanes])
            tiny += weights[(k0 * rows + rows - 1) * lanes]
        if total != 0:  # also of a NaN
            is_safe = low <= total <= high and (FEW_TAPS * largest <= total or not is_guarded)
            # An input that meets but few of the taps: so many inputs meet one of them, at the least.
            if not is_safe:
                most, most_of_one = low * 0, low * 0
            elif is_guarded:
                most = min(most, kind(terms) / kind(SPREAD) * (taps * lightest / total))
                most_of_one = min(most_of_one, total / (kind(terms) * largest))
                if tiny > 0:  # half of a window at least meets other taps
                    most_of_one = min(most_of_one, 1 / (2 * tiny))
    return most, most_of_one


@kernel
def mark_tiles(task, most, most_of_one):
    """Mark the tiles that outweigh a window by more than `most`, or whose largest input does; whether there are any."""
    measures, marks = part(task, task.room.measures, 0), scratch_index(task.operands.workspace, task.room.marks)
    is_any = False
    for i in range(task.planes * task.tiles):
        is_even = measures[i] <= most and measures[task.room.measure_step + i] <= most_of_one
        marks[i] = 0 if is_even else 1
        is_any = is_any or not is_even
    return is_any
