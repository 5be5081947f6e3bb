"""What the benchmarks share. Nothing here reads fastconv's own tables: asv runs this file against older commits too."""

import time
import tracemalloc

import numba  # noqa: F401  # measurements that are forked need not import it again

# The reference's log, name: shapes of x and w
REFERENCE_SIZES = {
    "tiny_4x4": ((1, 1, 4, 4), (1, 1, 3, 3)),
    "small_8x8": ((1, 1, 8, 8), (1, 1, 3, 3)),
    "medium_16x16": ((1, 4, 16, 16), (8, 4, 3, 3)),
    "channels_32x32": ((1, 8, 32, 32), (16, 8, 3, 3)),
    "kernel_5x5": ((1, 4, 16, 16), (8, 4, 5, 5)),
    "batch_16x16": ((4, 4, 16, 16), (8, 4, 3, 3)),
}


def bytes_above_output(call):
    """Bytes that one call takes at its peak on top of the array that it returns, as tracemalloc sees them."""
    tracemalloc.start()
    try:
        output_bytes = call().nbytes
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - held - output_bytes
    finally:
        tracemalloc.stop()


def best_seconds(call, budget=0.05):
    """Time of the fastest of several calls, as many as fit into so many seconds, and three at the least."""
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
