"""One output channel from one plane: no sum is shared between channels, so input vectors are shared between rows.

Depthwise layers and plain images land here. A row tile keeps several output rows in registers and loads each input
vector once for all of the kernel's rows that use it; kernel rows come in chunks of a few.
"""

from numba.extending import overload

from .jit import kernel
from .simd import ROW_VECTORS, ROWS, is_vector_type, lanes_of, row_tile


def _define_chunk(taps):
    @kernel
    def chunk(
        source,
        start,
        pitch,
        columns,
        table,
        first,
        count,
        w,
        w_start,
        w_tap,
        w_entry,
        target,
        to,
        step,
        accumulate,
        initial,
    ):
        """`ROWS` rows of the output, for `taps` rows of the kernel."""
        lanes = lanes_of(target)
        j = 0
        while j + ROW_VECTORS * lanes <= columns:
            row_tile(
                taps, ROW_VECTORS, source, start + j, pitch, table, first, count, w, w_start, w_tap, w_entry,
                target, to + j, step, accumulate, initial, lanes,
            )  # fmt: skip
            j += ROW_VECTORS * lanes
        while j < columns:
            row_tile(
                taps, 1, source, start + j, pitch, table, first, count, w, w_start, w_tap, w_entry,
                target, to + j, step, accumulate, initial, columns - j,
            )  # fmt: skip
            j += lanes

    return chunk


_CHUNK7, _CHUNK5, _CHUNK3, _CHUNK2, _CHUNK1 = map(_define_chunk, (7, 5, 3, 2, 1))


def multiply_plane(
    source, start, pitch, rows, columns, table, a1, part, w, w_start, w_entry, target, to, step, initial
):
    """`target[to + i * step + j] = initial + the sum of all taps`, for an output channel of at least `ROWS` rows.

    The last rows are computed twice where `ROWS` does not divide them.
    """
    raise NotImplementedError("compiled code only")


@overload(multiply_plane)
def _multiply_plane(
    source, start, pitch, rows, columns, table, a1, part, w, w_start, w_entry, target, to, step, initial
):
    def vectors(source, start, pitch, rows, columns, table, a1, part, w, w_start, w_entry, target, to, step, initial):
        n, tap = part.k2, a1.stride * part.k2 * w_entry
        for block in range(-(-rows // ROWS)):
            i = min(block * ROWS, rows - ROWS)
            s, t = start + i * pitch, to + i * step
            for plane in range(part.channels * part.k0):
                for phase in range(min(a1.stride, part.k1)):
                    k1 = phase
                    while k1 < part.k1:  # kernel rows of one phase lie one row of the slab apart
                        left = (part.k1 - 1 - k1) // a1.stride + 1
                        e = (plane * part.k1 + k1) * n
                        at, add = w_start + e * w_entry, plane + k1 > 0
                        row = (
                            source, s, pitch, columns, table, e, n, w, at, tap, w_entry, target, t, step, add, initial,
                        )  # fmt: skip
                        if left >= 7:
                            _CHUNK7(*row)
                            k1 += 7 * a1.stride
                        elif left >= 5:
                            _CHUNK5(*row)
                            k1 += 5 * a1.stride
                        elif left >= 3:
                            _CHUNK3(*row)
                            k1 += 3 * a1.stride
                        elif left == 2:
                            _CHUNK2(*row)
                            k1 += 2 * a1.stride
                        else:
                            _CHUNK1(*row)
                            k1 += a1.stride

    def scalars(source, start, pitch, rows, columns, table, a1, part, w, w_start, w_entry, target, to, step, initial):
        """Never reached: callers ask `has_vectors` first."""

    return vectors if is_vector_type(target.dtype) else scalars
