"""Block sizes: where the loops of each family are cut, and which cache the blocks fill.

There is one row for each width of vectors. Numbers are for a core with an L1 of 32 KiB or more and an L2 of about
1 MiB; smaller caches cost time only. Rows and vectors of a register tile depend on the registers: see `simd.tiles`.
"""

from typing import NamedTuple

from ..simd.vectors import VECTOR_BYTES


class DenseBlocking(NamedTuple):
    """Where `dense` cuts LOOP 5 (blocks of the output), LOOP 4 (output channels) and LOOP 3 (input channels)."""

    slab_bytes: int  # LOOP 5 and LOOP 3: the packed input, under half of L2
    sums_bytes: int  # LOOP 5: the sums of a block's positions for the output channels of one tile, in L2
    entries: int  # LOOP 3, then LOOP 4: taps of all input channels, a tile's output channels of which are packed, in L2
    positions: int  # LOOP 5: positions of a block, which are listed
    filled: int  # LOOP 5: positions of images side by side, so that few tiles are partly filled
    taps: int  # cuts nothing: kernels of more taps are left to others


class DirectBlocking(NamedTuple):
    """Where `direct` cuts LOOP 5 (blocks of the output), LOOP 4 (output channels) and LOOP 3 (the reduction)."""

    slab_bytes: int  # LOOP 3 and LOOP 5: the packed input, under half of L2
    sums_bytes: int  # LOOP 5, so that a band takes a third of them, and LOOP 4: the sums of a block, in L2
    table_entries: int  # LOOP 3: taps of all its channels; a band's weights for them fill L1, at most a part of L2
    masks: int  # LOOP 5, where masks stand for padding: words for the vectors of a block and the taps of a plane, in L2
    panel_outputs: int  # LOOP 2, where kernels have one tap: output channels whose rows are written side by side
    columns: int  # LOOP 5: columns of a block


class DepthwiseBlocking(NamedTuple):
    """Where `depthwise` cuts its loop over blocks of output planes, and what one call of its row tiles does."""

    slab_bytes: int  # blocks: the packed input, and as much room for sums, each under half of L2
    taps: int  # cuts nothing: kernels with planes of more taps are left to others
    columns: int  # blocks: their columns
    entries: int  # blocks: rows of the input, in a table of where they lie
    planes: int  # row tiles: planes that are read in place, one after another
    turn_macs: int  # multiply-adds of the blocks that a thread takes at a time: tens of microseconds


class GroupedBlocking(NamedTuple):
    """Where `grouped` cuts its loop over blocks of the output."""

    slab_bytes: int  # the packed input, under half of L2
    positions: int  # whose sums stay in L2, too
    taps: int  # cuts nothing: kernels with more, of all channels of a group, are left to others


class Blocking(NamedTuple):
    """The block sizes of all families."""

    dense: DenseBlocking
    direct: DirectBlocking
    depthwise: DepthwiseBlocking
    grouped: GroupedBlocking


_COMMON = Blocking(
    DenseBlocking(slab_bytes=384 << 10, sums_bytes=192 << 10, entries=2304, positions=2048, filled=512, taps=1024),
    DirectBlocking(
        slab_bytes=384 << 10, sums_bytes=192 << 10, table_entries=2304, masks=16384, panel_outputs=128, columns=512
    ),
    DepthwiseBlocking(slab_bytes=384 << 10, taps=16384, columns=4096, entries=8192, planes=1024, turn_macs=1 << 19),
    GroupedBlocking(slab_bytes=256 << 10, positions=1024, taps=1024),
)

BLOCKING = {16: _COMMON, 32: _COMMON, 64: _COMMON}  # by bytes of a vector: no width has needed numbers of its own yet

DENSE, DIRECT, DEPTHWISE, GROUPED = BLOCKING[VECTOR_BYTES]
