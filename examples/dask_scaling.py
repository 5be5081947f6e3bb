"""From one machine to many: measure what a block, a task and a byte between workers take, and predict throughput.

The model and its assumptions stand in docs/scaling.md. Measured here: seconds of a Gaussian (sigma 2, in three
dimensions, float32) for a block with its halo, on one thread; Dask's own time for a task; bytes a second from one
worker's memory to another's. Predicted from that: throughput on 1 to 1,000 workers of one thread each, and, as a check,
the seconds of a volume on 1 and on 2 workers of this machine, which are then measured, too. Seconds of blocks, of tasks
and of workers are those of processors, so that what else runs on the machine counts little.

    python examples/dask_scaling.py --plot docs/images/dask-scaling.png
"""

import argparse
import statistics
import sys
import time
from typing import NamedTuple

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

from fastconv import dask as lazy
from fastconv import ndimage
from fastconv.cli.console import progress, table

SIGMA, REACH, ITEM = 2.0, 8, 4
WORKERS = 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000


def smoothed(side, chunk, sigma=SIGMA):
    """Blocks of ones, which take next to nothing to make, and the Gaussian of them."""
    return lazy.ndimage.gaussian_filter(da.ones((side,) * 3, chunks=chunk, dtype=np.float32), sigma)


def seconds_of_block(chunk, runs=5):
    """A block in the middle of 27, which are in memory."""
    x = da.ones((3 * chunk,) * 3, chunks=chunk, dtype=np.float32).persist(scheduler="sync")
    block = lazy.ndimage.gaussian_filter(x, SIGMA).blocks[1, 1, 1]
    times = []
    for _ in range(runs + 1):
        begin = time.thread_time()
        block.compute(scheduler="sync")
        np.ones((chunk,) * 3, np.float32)  # a block of the input is made, too
        times.append(time.thread_time() - begin)
    return statistics.median(times[1:])


class Took(NamedTuple):
    """Seconds of a run: by the clock, of the processor by the busiest worker, and by the scheduler and the client."""

    clock: float
    worker: float
    scheduler: float


def run_on(workers, result):
    """A result on so many processes; nothing is collected."""
    quiet = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(processes=True, **quiet) as cluster, Client(cluster) as client:
        client.run(ndimage.gaussian_filter, np.ones((8, 8, 8), np.float32), SIGMA)  # kernels are read from disk
        sums = result.map_blocks(lambda block: block[:1, :1, :1], chunks=(1, 1, 1), dtype=result.dtype)
        before, begin, own = client.run(time.process_time), time.perf_counter(), time.process_time()
        wait(client.persist(sums))
        clock, own, after = time.perf_counter() - begin, time.process_time() - own, client.run(time.process_time)
        return Took(clock, max(after[worker] - before[worker] for worker in after), own)


def seconds_of_task(side=10):
    """The scheduler's, of which the client's part is little, and the worker's: blocks are so small that all is Dask's.

    A block takes 27, as larger ones do.
    """
    tiny = smoothed(side * 4, 4, SIGMA / 4)
    took, tasks = run_on(1, tiny), 2 * tiny.npartitions  # what cuts an element is one task with the filter
    return took.scheduler / tasks, took.worker / tasks


def bytes_a_second(size=1 << 27):
    """From one worker's memory to another's."""
    quiet = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(processes=True, **quiet) as cluster, Client(cluster) as client:
        first, second = client.nthreads()
        times = []
        for _ in range(8):
            there = client.submit(np.ones, size // 8, workers=[first], pure=False)
            wait(there)
            begin = time.perf_counter()
            wait(client.submit(len, there, workers=[second], pure=False))
            times.append(time.perf_counter() - begin)
            del there
        return size / min(times)


def predicted(blocks, chunk, block_seconds, task, bandwidth, workers):
    """Seconds: workers filter and fetch neighbours, or all wait for the scheduler, which handles one task at a time."""
    own = blocks / workers
    edge = own ** (1 / 3)  # of a worker's cube of blocks
    fetched = min((edge + 2) ** 3 - own, blocks - own) if workers > 1 else 0
    scheduler, worker = task
    return max(own * (block_seconds + 2 * worker) + fetched * chunk**3 * ITEM / bandwidth, 2 * blocks * scheduler)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 128, 256], help="sides of chunks to predict for")
    parser.add_argument("--side", type=int, default=768, help="of the volume that checks the prediction")
    parser.add_argument("--terabytes", type=float, default=1.0, help="size of the volume that is predicted")
    parser.add_argument(
        "--bandwidth", type=float, help="GB/s between machines, by default what this one's workers reach"
    )
    parser.add_argument("--plot", help="where the plot goes")
    args = parser.parse_args(arguments)
    checked = args.chunks[len(args.chunks) // 2]
    with progress(len(args.chunks) + 4) as step:
        step("a task")
        task = seconds_of_task()
        step("bytes between workers")
        measured = bytes_a_second()
        bandwidth = args.bandwidth * 1e9 if args.bandwidth else measured
        block = {}
        for chunk in args.chunks:
            step(f"a block of {chunk}^3")
            block[chunk] = seconds_of_block(chunk)
        volume, seconds = smoothed(args.side, checked), {}
        for workers in (1, 2):
            step(f"{args.side}^3 on {workers} worker{'s' * (workers > 1)}")
            seconds[workers] = run_on(workers, volume)
    print(f"a task: {task[0] * 1e3:.2f} ms of the scheduler, {task[1] * 1e3:.2f} ms of the worker")
    print(f"between workers: {measured / 1e9:.2f} GB/s; predicted with {bandwidth / 1e9:.2f} GB/s")
    rows = []
    for chunk, each in block.items():
        halo = (chunk + 2 * REACH) ** 3 - chunk**3
        cells = f"{each * 1e3:.1f} ms", f"{chunk**3 * ITEM / each / 1e6:.0f} MB/s", f"{halo * ITEM / 1e6:.2f} MB"
        rows.append([f"{chunk}^3", *cells, f"{halo / chunk**3:.0%}", f"{each / (2 * task[0]) + task[1] / task[0]:.0f}"])
    print(table(["Block", "Time", "One thread", "Halo", "of the block", "Workers one scheduler feeds"], rows))
    rows = []
    for workers, took in seconds.items():
        expected = predicted(volume.npartitions, checked, block[checked], task, measured, workers)
        cells = f"{expected:.1f} s", f"{took.worker:.1f} s", f"{took.worker / expected:.2f}", f"{took.clock:.1f} s"
        rows.append([str(workers), *cells])
    header = "Predicted", "Busiest worker's processor", "Ratio", "By the clock"
    print(table([f"Workers, {args.side}^3 in {checked}^3", *header], rows))
    curves = {
        chunk: [
            args.terabytes * 1e3 / predicted(args.terabytes * 1e12 / ITEM / chunk**3, chunk, each, task, bandwidth, n)
            for n in WORKERS
        ]
        for chunk, each in block.items()
    }
    rows = [[str(n), *[f"{curve[i]:.2f}" for curve in curves.values()]] for i, n in enumerate(WORKERS)]
    print(table([f"GB/s of {args.terabytes:g} TB, workers", *[f"{chunk}^3" for chunk in curves]], rows))
    if args.plot:
        rate = {n: volume.nbytes / 1e9 / took.worker for n, took in seconds.items()}
        plot(args.plot, curves, rate, checked)
    return 0


def plot(path, curves, measured, checked):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5), constrained_layout=True)
    for chunk, curve in curves.items():
        axis.loglog(WORKERS, curve, marker=".", label=f"blocks of {chunk}³, predicted")
    first = curves[max(curves)][0]
    axis.loglog(WORKERS, [first * n for n in WORKERS], color="0.8", zorder=0, label="in proportion to the workers")
    axis.loglog(*zip(*measured.items(), strict=True), "kx", label=f"blocks of {checked}³, measured")
    axis.set(
        xlabel="workers, one thread each", ylabel="GB/s of float32", title="A Gaussian in three dimensions, sigma 2"
    )
    axis.legend(frameon=False)
    axis.grid(True, which="major", color="0.92")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    with dask.config.set({"distributed.logging.distributed": "error"}):
        sys.exit(main())
