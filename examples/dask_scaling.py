"""From one machine to many: measure what a block, a task and a byte between workers take, and predict throughput.

The model and its assumptions stand in docs/scaling.md. All is measured where it happens, in workers: seconds of a
Gaussian (sigma 2, in three dimensions, float32) for a block of a small volume, with its halo; Dask's own time for a
task; what the two ends of a byte take that is sent from one worker to another. Predicted from
that: throughput on 1 to 1,000 workers of one thread each, and, as a check, the seconds and the blocks sent of a volume
on 1 and on 2 workers of this machine, which are then measured, too. Seconds are those of processors, so that what else
runs on the machine counts little.

    python examples/dask_scaling.py --plot docs/images/dask-scaling.png
"""

import argparse
import statistics
import sys
import time
from contextlib import contextmanager
from typing import NamedTuple

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

from fastconv import dask as lazy
from fastconv import ndimage
from fastconv.cli.console import progress, table

SIGMA, REACH, ITEM, NEIGHBOURS = 2.0, 8, 4, 27
WORKERS = 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000


def block_of_ones(block_info=None):
    """In memory of its own: Dask's ones are a single element, and sent as one."""
    return np.ones(block_info[None]["chunk-shape"], np.float32)


def ones(side, chunk):
    chunks = da.core.normalize_chunks(chunk, (side,) * 3)
    return da.map_blocks(block_of_ones, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 3, np.float32))


def smoothed(side, chunk, sigma=SIGMA):
    """The Gaussian of ones, blocks of which take little to make."""
    return lazy.ndimage.gaussian_filter(ones(side, chunk), sigma)


def cut(result):
    """An element of each block, so that nothing is collected."""
    return result.map_blocks(lambda block: block[:1, :1, :1].copy(), chunks=(1, 1, 1), dtype=result.dtype)


def seconds_of_block(chunk, count=4, runs=2):
    """To make and filter one of a small volume, whose blocks lie in memory that is new, and in no cache."""
    result, times = cut(smoothed(count * chunk, chunk)), []
    for _ in range(runs):
        begin = time.thread_time()
        result.compute(scheduler="sync")
        times.append(time.thread_time() - begin)
    return min(times) / result.npartitions


class Took(NamedTuple):
    """Seconds of a run: by the clock, of the processor by the busiest worker, and by the scheduler and the client."""

    clock: float
    worker: float
    scheduler: float
    fetched: float  # bytes that a worker fetched from others, in the mean


@contextmanager
def cluster_of(workers):
    quiet = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(processes=True, **quiet) as cluster, Client(cluster) as client:
        client.run(ndimage.gaussian_filter, np.ones((8, 8, 8), np.float32), SIGMA)  # kernels are read from disk
        yield client


def received(dask_worker):
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)


def run_on(workers, result):
    """A result on so many processes; nothing is collected."""
    with cluster_of(workers) as client:
        before, begin, own = client.run(time.process_time), time.perf_counter(), time.process_time()
        wait(client.persist(cut(result)))
        clock, own, after = time.perf_counter() - begin, time.process_time() - own, client.run(time.process_time)
        busiest = max(after[worker] - before[worker] for worker in after)
        return Took(clock, busiest, own, statistics.mean(client.run(received).values()))


def seconds_of_task(side=10):
    """The scheduler's, of which the client's part is little, and the worker's: blocks are so small that all is Dask's.

    A block takes 27, as larger ones do.
    """
    tiny = smoothed(side * 4, 4, SIGMA / 4)
    took, tasks = run_on(1, tiny), 2 * tiny.npartitions  # what cuts an element is one task with the filter
    return took.scheduler / tasks, took.worker / tasks


class Sent(NamedTuple):
    """What a byte takes from one worker's memory to the other's."""

    ends: float  # seconds of both workers' processors
    clock: float


def seconds_of_byte(client, chunk, count=26, runs=3):
    """Of blocks that one worker has and a task of the other takes."""
    first, second = client.nthreads()
    size, found = count * chunk**3 * ITEM, []
    for _ in range(runs):
        there = [client.submit(np.ones, chunk**3, np.float32, workers=[first], pure=False) for _ in range(count)]
        wait(there)
        before, begin = client.run(time.process_time), time.perf_counter()
        wait(client.submit(len, there, workers=[second], pure=False))
        clock, after = time.perf_counter() - begin, client.run(time.process_time)
        found.append(Sent(sum(after[worker] - before[worker] for worker in after) / size, clock / size))
    return min(found)


def fetched(blocks, workers):
    """How many a worker takes from others, at least and at most: its own are a cube, or were dealt out one by one."""
    own = blocks / workers
    return [min(n, blocks - own) for n in ((own ** (1 / 3) + 2) ** 3 - own, (NEIGHBOURS - 1) * own)]


def predicted(blocks, chunk, block_seconds, task, byte_seconds, workers):
    """Seconds, at least and at most: workers filter and fetch, or wait for the scheduler, which takes task by task."""
    own, (scheduler, worker) = blocks / workers, task
    work = own * (block_seconds + 2 * worker)
    return [
        max(work + moved * chunk**3 * ITEM * byte_seconds, 2 * blocks * scheduler) for moved in fetched(blocks, workers)
    ]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 128, 256], help="sides of chunks to predict for")
    parser.add_argument("--side", type=int, default=768, help="of the volume that checks the prediction")
    parser.add_argument("--terabytes", type=float, default=1.0, help="size of the volume that is predicted")
    parser.add_argument("--bandwidth", type=float, default=1.0, help="GB/s between machines, by default 1")
    parser.add_argument("--plot", help="where the plot goes")
    args = parser.parse_args(arguments)
    checked = args.chunks[len(args.chunks) // 2]
    block = {}
    with progress(len(args.chunks) + 4) as step:
        step("a task")
        task = seconds_of_task()
        with cluster_of(2) as client:
            step("bytes between workers")
            sent = seconds_of_byte(client, checked)
            worker = next(iter(client.nthreads()))
            for chunk in args.chunks:
                step(f"a block of {chunk}^3")
                block[chunk] = client.submit(seconds_of_block, chunk, workers=[worker]).result()
        volume, seconds = smoothed(args.side, checked), {}
        for workers in (1, 2):
            step(f"{args.side}^3 on {workers} worker{'s' * (workers > 1)}")
            seconds[workers] = run_on(workers, volume)
    between = max(sent.ends, 1e-9 / args.bandwidth)
    print(f"a task: {task[0] * 1e3:.2f} ms of the scheduler, {task[1] * 1e3:.2f} ms of the worker")
    print(f"a GB between workers: {sent.ends * 1e9:.2f} s of their processors, {sent.clock * 1e9:.2f} s by the clock")
    rows = []
    for chunk, each in block.items():
        halo = (chunk + 2 * REACH) ** 3 - chunk**3
        cells = f"{each * 1e3:.1f} ms", f"{chunk**3 * ITEM / each / 1e6:.0f} MB/s", f"{halo * ITEM / 1e6:.2f} MB"
        rows.append([f"{chunk}^3", *cells, f"{halo / chunk**3:.0%}", f"{each / (2 * task[0]) + task[1] / task[0]:.0f}"])
    print(table(["Block", "Time", "One thread", "Halo", "of the block", "Workers one scheduler feeds"], rows))
    rows = []
    for workers, took in seconds.items():
        _, expected = predicted(volume.npartitions, checked, block[checked], task, sent.ends, workers)
        cells = f"{expected:.1f} s", f"{took.worker:.1f} s", f"{took.worker / expected:.2f}", f"{took.clock:.1f} s"
        blocks = fetched(volume.npartitions, workers)[1], took.fetched / checked**3 / ITEM
        rows.append([str(workers), *cells, *[f"{n:.0f}" for n in blocks]])
    header = "Predicted", "Busiest worker's processor", "Ratio", "By the clock", "Blocks to fetch", "Fetched"
    print(table([f"Workers, {args.side}^3 in {checked}^3", *header], rows))
    curves = {}
    for chunk, each in block.items():
        blocks = args.terabytes * 1e12 / ITEM / chunk**3
        seconds_of = [predicted(blocks, chunk, each, task, between, n) for n in WORKERS]
        curves[chunk] = [[args.terabytes * 1e3 / bound for bound in bounds] for bounds in seconds_of]
    rows = [
        [str(n), *[f"{slow:.2f} to {fast:.2f}" for fast, slow in (curve[i] for curve in curves.values())]]
        for i, n in enumerate(WORKERS)
    ]
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
        fast, slow = zip(*curve, strict=True)
        (line,) = axis.loglog(WORKERS, fast, marker=".", label=f"blocks of {chunk}³, predicted")
        axis.loglog(WORKERS, slow, marker=".", color=line.get_color())
        axis.fill_between(WORKERS, slow, fast, color=line.get_color(), alpha=0.15)
    first = curves[max(curves)][0][0]
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
