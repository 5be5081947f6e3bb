"""From output channels and runs of positions to register tiles."""

from numba.extending import overload

from .jit import kernel
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
_WHOLE, _BAND4, _BAND2, _BAND1 = [_BANDS[shape] for shape in TILES]
_COMPLEX_ROWS = COMPLEX_TILES[0][0]
_COMPLEX, _COMPLEX2, _COMPLEX1 = [_BANDS[shape] for shape in COMPLEX_TILES]


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
    return _vector_band if is_vector_type(sums.dtype) else _complex_band


def _vector_band(
    rows, source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate
):
    if rows == BAND:
        _WHOLE(source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate)
        return
    m = 0
    while m < rows:
        at, to = w_start + m * w_row, sums_start + m * sums_row
        if rows - m >= 4:
            _BAND4(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
            m += 4
        elif rows - m >= 2:
            _BAND2(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
            m += 2
        else:
            _BAND1(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
            m += 1


def _complex_band(
    rows, source, start, run, table, count, w, w_start, w_row, w_entry, sums, sums_start, sums_row, accumulate
):
    m = 0
    while m < rows:
        at, to = w_start + m * w_row, sums_start + m * sums_row
        if rows - m >= _COMPLEX_ROWS:
            _COMPLEX(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
            m += _COMPLEX_ROWS
        elif rows - m >= 2:
            _COMPLEX2(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
            m += 2
        else:
            _COMPLEX1(source, start, run, table, count, w, at, w_row, w_entry, sums, to, sums_row, accumulate)
            m += 1
