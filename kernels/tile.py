"""From output channels and vectors of positions to register tiles."""

from .jit import kernel
from .simd_tiles import TILES, tile, tile_shape

BAND = TILES[0][0]  # output channels of the widest tile


@kernel
def multiply_band(
    rows, vectors, source, start, table, taps, channels, source_channel, places, masks,
    w, w_start, w_row, w_channel, target, to, target_row, accumulate, initial, held, low, high
):  # fmt: skip
    """`tile` for up to `BAND` output channels and any number of vectors."""
    m = 0
    while m < rows:
        few, most = tile_shape(target, rows - m)
        v = 0
        while v < vectors:
            together = most if v + most <= vectors else 1
            tile(
                few, together, source, start, table, taps, channels, source_channel, places, masks, v,
                w, w_start + m * w_row, w_row, w_channel, target, to + m * target_row, target_row,
                accumulate, initial, m, held, low, high,
            )  # fmt: skip
            v += together
        m += few
