"""What families of kernels take, predicted from sizes: the model by which "auto" chooses direct sums or a transform.

A family's `cost` adds up what its stages do, each times nanoseconds of one core for one thing done, in float32; numbers
of more bytes take as many times longer. They were fitted to times of the layers of published networks and of random
shapes on a Zen 4, and only their ratios matter: `asv_benchmarks/choices.py` shows how far the choice is from the best.
Costs are those of one image, so that a batch of any size has the same bits. Nothing is measured when a program runs.
"""

from typing import NamedTuple

from ..jit import plain
from ..shapes import Call
from ..simd.vectors import VECTOR_BYTES


class DirectCosts(NamedTuple):
    """Of direct sums: a multiply-add of a vector's element, and what comes with arrays that go through memory."""

    mac: float
    input: float  # an element that is read
    output: float  # one that is written


class WinogradCosts(NamedTuple):
    """Of Winograd's stages: a product, and how many of them a number at the points takes."""

    product: float
    input: float
    output: float
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

    dense: DirectCosts
    direct: DirectCosts
    depthwise: DirectCosts
    winograd: WinogradCosts
    tiles: TilesCosts
    planes: PlanesCosts


_COMMON = Costs(
    DirectCosts(mac=0.0175, input=0.04, output=0.17),
    DirectCosts(mac=0.0195, input=0.04, output=0.1),
    DirectCosts(mac=0.0185, input=0.055, output=0.05),
    WinogradCosts(product=0.0194, input=17.0, output=7.5, kept_kernel=16.0, kernel=6.0),
    TilesCosts(product=0.0476, input=0.086, output=0.083, kernel=0.027),
    PlanesCosts(step=0.0175, cell=50.0, small_cell=85.0),
)

COSTS = {16: _COMMON, 32: _COMMON, 64: _COMMON}  # by bytes of a vector; caches are as `blocking` says

DENSE, DIRECT, DEPTHWISE, WINOGRAD, TILES, PLANES = COSTS[VECTOR_BYTES]
LARGER = 1.1  # so much more than its bytes say does a larger number take in transforms: registers hold fewer of them


@plain
def direct_cost(call, axes, element, mac, read, written, filled):
    """Direct sums of an image, of whose vectors a part is filled."""
    a0, a1, a2 = axes
    inputs = float(call.groups * call.channels) * float(a0.size) * float(a1.size) * float(a2.size)
    outputs = float(call.groups * call.outputs) * float(a0.out) * float(a1.out) * float(a2.out)
    macs = outputs * call.channels * (float(a0.kernel) * float(a1.kernel) * float(a2.kernel))
    scale = element.itemsize / 4 * (2 if element.is_complex else 1)
    return scale * (macs / filled * mac + inputs * read + outputs * written)


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
