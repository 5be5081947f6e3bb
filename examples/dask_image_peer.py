"""dask-image's filters and fastconv's on the same chunks: seconds, tasks of the graph, and how far results are apart.

Each pair is timed in turn, and the best of several runs counts. The volume is in memory: only filters are timed.

    python examples/dask_image_peer.py                              # threads, 128 x 128 x 128
    python examples/dask_image_peer.py --side 512 --cluster         # 2 processes instead
"""

import argparse
import sys
import time

import dask
import dask.array as da
import numpy as np
from dask_image import ndfilters

from fastconv import dask as lazy
from fastconv.cli.console import progress, table

BOX = np.random.default_rng(1).random((5, 5, 5)).astype(np.float32)
FILTERS = {
    "gaussian_filter, sigma 2": (
        lambda x: ndfilters.gaussian_filter(x, 2),
        lambda x: lazy.ndimage.gaussian_filter(x, 2),
    ),
    "convolve, 5 x 5 x 5": (lambda x: ndfilters.convolve(x, BOX), lambda x: lazy.ndimage.convolve(x, BOX)),
    "uniform_filter, 5": (lambda x: ndfilters.uniform_filter(x, 5), lambda x: lazy.ndimage.uniform_filter(x, 5)),
}


def reduced(result):
    """One number of each block, so that no result is collected."""
    return result.map_blocks(lambda block: block.sum(keepdims=True), chunks=(1,) * result.ndim, dtype=result.dtype)


def best(result, runs):
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        reduced(result).compute()
        times.append(time.perf_counter() - begin)
    return min(times)


def compare(side, chunk, runs):
    x = da.random.default_rng(0).random((side,) * 3, chunks=chunk, dtype=np.float32).persist()
    rows = []
    with progress(len(FILTERS) * (runs + 1)) as step:
        for name, (theirs, ours) in FILTERS.items():
            step(f"{name}: difference")
            results = theirs(x), ours(x)
            apart = float(abs(results[0] - results[1]).max().compute())
            times = [float("inf")] * 2
            for _ in range(runs):
                step(name)
                times = [min(seconds, best(result, 1)) for seconds, result in zip(times, results, strict=True)]
            tasks = [len(result.__dask_graph__()) - len(x.__dask_graph__()) for result in results]
            rate = x.nbytes / times[1] / 1e6
            cells = f"{times[0]:.2f} s", f"{times[1]:.2f} s", f"{times[0] / times[1]:.1f}", f"{rate:.0f} MB/s"
            rows.append([name, *cells, str(tasks[0]), str(tasks[1]), f"{apart:.1e}"])
    header = ["", "dask-image", "fastconv", "ratio", "throughput", "its tasks", "ours", "apart"]
    print(f"{side}^3 float32 in {x.npartitions} chunks of {chunk}^3")
    print(table(header, rows))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cluster", action="store_true", help="a LocalCluster of 2 processes instead of threads")
    args = parser.parse_args(arguments)
    if not args.cluster:
        with dask.config.set(scheduler="threads"):
            compare(args.side, args.chunk, args.runs)
        return 0
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster):
        compare(args.side, args.chunk, args.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
