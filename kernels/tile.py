"""From output channels and runs of positions to register tiles."""

from .jit import kernel, overload
from .simd import is_vector_type, lanes_of
from .simd_tiles import COMPLEX_TILES, TILES, tile

BAND = TILES[0][0]  # output channels of the widest tile


def _define_band(rows, vectors):
    @kernel
    def band(source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate):
        lanes = lanes_of(sums)
        j = 0
        while j + vectors * lanes <= run:
            tile(
                rows, vectors, source, start + j, table, count, w, w_start, w_row, w_entry,
                sums, sums_start + j, sums_row, accumulate, lanes,
            )  # fmt: skip
            j += vectors * lanes
        while j < run:  # the last vectors one by one, so that nothing past the run is read
            tile(
                rows, 1, source, start + j, table, count, w, w_start, w_row, w_entry,
                sums, sums_start + j, sums_row, accumulate, run - j,
            )  # fmt: skip
            j += lanes

    return band


_BANDS = {shape: _define_band(*shape) for shape in {*TILES, *COMPLEX_TILES}}


def _define_split(shapes):
    """Bands of as many rows as are left, of four shapes from the most rows to one."""
    first, second, third, last = (_BANDS[shape] for shape in shapes)
    (most, _), (many, _), (few, _), _ = shapes

    def split(
        rows, source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate
    ):
        m = 0
        while m < rows:
            at, to, left = w_start + m * w_row, sums_start + m * sums_row, rows - m
            if left >= most:
                first(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
                m += most
            elif left >= many:
                second(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
                m += many
            elif left >= few:
                third(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
                m += few
            else:
                last(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
                m += 1

    return split


_REAL, _COMPLEX = _define_split(TILES), _define_split((*COMPLEX_TILES, COMPLEX_TILES[-1]))


def multiply_band(
    rows, source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate
):
    """`sums[m, j] (+)= sum over e of w[m, e] * source[start + table[e] + j]`, up to `BAND` rows and a run of positions.

    A row of `sums` has room for whole vectors. Each sum adds its entries in the table's order, whatever the tile.
    """
    raise NotImplementedError("compiled code only")


@overload(multiply_band)
def _multiply_band(
    rows, source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate
):
    return _REAL if is_vector_type(sums.dtype) else _COMPLEX
