"""What families of kernels take, predicted from sizes: the model by which "auto" chooses direct sums or a transform.

A family's `cost` adds up what its stages do, each times nanoseconds of one core for one thing done, in float32; numbers
of more bytes take as many times longer. They were fitted to times of the layers of published networks and of random
shapes on a Zen 4, those of direct sums to 5,000 of them by least squares of relative errors, and only their ratios
matter: `asv_benchmarks/choices.py` shows how far the choice is from the best.
Costs are those of one image, so that a batch of any size has the same bits. Nothing is measured when a program runs.
"""

from typing import NamedTuple

from ..jit import plain
from ..shapes import CONSTANT, Call
from ..simd.vectors import VECTOR_BYTES


class SmallCosts(NamedTuple):
    """Of direct sums in vectors of two rows; twice what they take, as is predicted of `dense` for images so small."""

    image: float
    tile: float  # two vectors of an output
    row: float  # of taps
    mac: float


class DenseCosts(NamedTuple):
    """Of direct sums in vectors of outputs, counted with those that a vector has too many."""

    group: float
    row: float  # of positions
    box: float  # of positions that the same taps serve, for each tile's width of outputs
    mac: float  # with input, not padding
    weight: float  # as it is packed
    output: float


class DirectCosts(NamedTuple):
    """Of direct sums in vectors of positions, counted with those between rows and those that a vector has too many."""

    plane: float  # of positions
    row: float  # an output's part of them
    mac: float
    load: float  # an input, for each band of outputs
    output: float
    input: float  # where it is read in place
    packed_plane: float  # else, with its rows and elements
    packed_row: float
    packed: float


class DepthwiseCosts(NamedTuple):
    """Of direct sums of one output in vectors of positions, counted with those that a vector has too many."""

    plane: float  # of taps, at a plane of positions
    mac: float
    load: float  # an input, for each pass over rows of taps
    line: float  # a position of a single row
    packed_plane: float  # and its elements
    packed: float


class GroupedCosts(NamedTuple):
    """Of direct sums in vectors of groups, counted with those that a vector has too many."""

    block: float  # of positions, for a vector of groups
    line: float  # of input, as the next ones
    row: float  # of positions, of an output
    mac: float
    weight: float  # as it is packed
    input: float
    output: float


class WinogradCosts(NamedTuple):
    """Of Winograd's stages: a product, and how many of them a number at the points takes."""

    product: float
    input: float
    output: float
    dilated: float  # times as many for both, where elements of a tile lie apart
    kept_kernel: float  # where the workspace holds all of them
    kernel: float  # each time


class TilesCosts(NamedTuple):
    """Of `fft_tiles`: products, and elements of tiles times the logarithm of a tile's size."""

    product: float
    input: float
    output: float
    kernel: float


class PlanesCosts(NamedTuple):
    """Of `fft_planes`: a step of a block's transform, and how many of them the guard takes for an element of it."""

    step: float
    cell: float
    small_cell: float


class Costs(NamedTuple):
    """The constants of all families."""

    small: SmallCosts
    dense: DenseCosts
    direct: DirectCosts
    depthwise: DepthwiseCosts
    grouped: GroupedCosts
    winograd: WinogradCosts
    tiles: TilesCosts
    planes: PlanesCosts


_COMMON = Costs(
    SmallCosts(image=21.0, tile=15.0, row=9.2, mac=2.42),
    DenseCosts(group=50.0, row=26.0, box=62.0, mac=0.0164, weight=0.12, output=0.29),
    DirectCosts(
        plane=136.0,
        row=9.0,
        mac=0.0135,
        load=0.0303,
        output=0.123,
        input=0.0168,
        packed_plane=15.0,
        packed_row=3.8,
        packed=0.36,
    ),
    DepthwiseCosts(plane=48.0, mac=0.0127, load=0.0404, line=0.123, packed_plane=76.0, packed=0.34),
    GroupedCosts(block=344.0, line=20.6, row=25.8, mac=0.024, weight=0.24, input=0.131, output=0.158),
    WinogradCosts(product=0.0194, input=17.0, output=7.5, dilated=2.2, kept_kernel=16.0, kernel=6.0),
    TilesCosts(product=0.0476, input=0.086, output=0.083, kernel=0.027),
    PlanesCosts(step=0.0175, cell=50.0, small_cell=85.0),
)

COSTS = {16: _COMMON, 32: _COMMON, 64: _COMMON}  # by bytes of a vector; caches are as `blocking` says

SMALL, DENSE, DIRECT, DEPTHWISE, GROUPED, WINOGRAD, TILES, PLANES = COSTS[VECTOR_BYTES]
LARGER = 1.1  # so much more than its bytes say does a larger number take in transforms: registers hold fewer of them


@plain
def scale_of(element):
    """How many times longer direct sums of such numbers take than those of as many of float32."""
    return element.itemsize / 4 * (2.0 if element.is_complex else 1.0)


@plain
def phases_of(axis):
    """Into how many a stride splits the input, and how many outputs' worth of elements each has."""
    reach = (axis.kernel - 1) * axis.dilation
    return float(min(axis.stride, reach + 1)), float(axis.out) + reach // axis.stride


@plain
def unserved(axis):
    """How many of an axis's outputs have taps on padding of zeros, and how many such taps they have, about."""
    if axis.boundary != CONSTANT:
        return 0.0, 0.0
    span = (axis.kernel - 1) * axis.dilation
    low = min(max(-(-axis.before // axis.stride), 0), axis.out)
    high = min(max(axis.out - 1 - (axis.size + axis.before - span - 1) // axis.stride, 0), axis.out)
    past = float(axis.out - 1) * float(axis.stride) + span - axis.before - (axis.size - 1)
    taps = low * _taps_past(axis, float(axis.before), low) + high * _taps_past(axis, past, high)
    return min(float(low) + float(high), float(axis.out)), min(taps, float(axis.kernel) * float(axis.out))


@plain
def _taps_past(axis, most, count):
    """Taps past an end, on average, of the `count` windows that go past it, the first by `most` elements."""
    elements = most - 0.5 * axis.stride * (count - 1.0) + 0.5 * (axis.dilation - 1.0)
    return min(max(elements / axis.dilation, 0.0), float(axis.kernel))


@plain
def one_image(call):
    """The call for one image of its batch."""
    return Call(
        1,
        call.groups,
        call.channels,
        call.outputs,
        call.rank,
        call.flip,
        call.has_bias,
        call.activation,
        call.algorithm,
    )


@plain
def larger(element):
    """How many times longer transforms of such numbers take than those of float32."""
    return 1.0 if element.itemsize == 4 else element.itemsize / 4 * LARGER


@plain
def whole_vectors(count, element):
    """So many numbers, up to whole vectors."""
    lanes = VECTOR_BYTES // element.itemsize
    return float(-(-count // lanes) * lanes)
