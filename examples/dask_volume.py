"""A volume that two small workers cannot hold: a Gaussian, and a strided, grouped layer with bias and activation.

The volume is made of a photograph, shifted and lit otherwise in every plane, and lies in zarr. Results go back to zarr,
are held against NumPy in places, borders among them, and the peak of each worker's memory is told. With ``--kill`` one
worker is killed in the middle of a second Gaussian, whose result has to be the first one's, bit by bit.

    python examples/dask_volume.py                  # 64 MB, a minute
    python examples/dask_volume.py --gb 8 --kill    # 8 GB, with a limit of 1.5 GB a worker
"""

import argparse
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster

import fastconv
from fastconv import dask as lazy
from fastconv import ndimage
from fastconv.cli.console import progress, table

CHANNELS, SIGMA, REACH = 4, 2.0, 8  # of a Gaussian that ends at four sigmas
LAYER = {"groups": 2, "stride": 2, "padding": "same", "activation": "relu"}


def photograph():
    """Grey, from scikit-image's wheel."""
    from skimage import color, data

    return color.rgb2gray(data.astronaut()).astype(np.float32)


def plane_block(photo, block_info=None):
    """A block of the volume: (channel, plane, row, column)."""
    (channel, *_), spans = block_info[None]["chunk-location"], block_info[None]["array-location"]
    z, y, x = (np.arange(*span) for span in spans[1:])
    rows = (y[None] + 3 * z[:, None]) % photo.shape[0]
    columns = (x[None] + 5 * z[:, None] + 64 * channel) % photo.shape[1]
    light = 0.75 + 0.25 * np.cos(z / 50 + channel)
    return (photo[rows[:, :, None], columns[:, None, :]] * light[:, None, None])[None].astype(np.float32)


def make_volume(side, chunk):
    chunks = (1,) * CHANNELS, *(da.core.normalize_chunks(chunk, (side,)) * 3)
    photo = da.from_array(photograph(), chunks=-1).to_delayed().item()
    return da.map_blocks(plane_block, photo, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))


def weights():
    rng = np.random.default_rng(0)
    w, bias = rng.standard_normal((8, CHANNELS // 2, 3, 3, 3)), rng.standard_normal(8)
    return w.astype(np.float32), bias.astype(np.float32)


def store(client, name, result, path, victim=None):
    """Write to zarr, one file a block, which tells how far it is. Returns the opened array and the seconds."""
    shape, chunks = result.shape, result.chunksize
    target = zarr.create_array(str(path), shape=shape, chunks=chunks, dtype=result.dtype, compressors=None)
    begin, written, killed = time.perf_counter(), 0, False
    # Two tasks must never write to one chunk of zarr: those of a result that are not all alike are made so.
    future = client.compute(da.store(result.rechunk(chunks), target, lock=False, compute=False))
    with progress(result.npartitions) as step:
        while True:
            is_done = future.done()
            found = sum(1 for file in (path / "c").rglob("*") if file.is_file())
            for _ in range(found - written):
                step(name)
            written = max(found, written)
            if victim and not killed and written >= 0.4 * result.npartitions:
                os.kill(victim, signal.SIGKILL)
                killed = True
            if is_done:
                break
            time.sleep(0.2)
    future.result()
    if victim and not killed:
        raise RuntimeError("all was done before the worker could be killed")
    return target, time.perf_counter() - begin


def peaks(client):
    """Bytes that each worker has held at most."""
    return client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def places(shape, size, count=6):
    """Where boxes begin: both corners of the volume, and some in between."""
    rng, room = np.random.default_rng(1), [max(n - size, 0) for n in shape]
    yield [0] * len(shape)
    yield room
    yield from ([int(rng.integers(n + 1)) for n in room] for _ in range(count))


def check_gaussian(source, result, size=24):
    """Boxes of every channel against the filter for NumPy arrays, with what lies around them."""
    for corner in places(source.shape[1:], size):
        around = [slice(max(i - REACH, 0), i + size + REACH) for i in corner]
        inside = [slice(i - part.start, i - part.start + size) for i, part in zip(corner, around, strict=True)]
        at = tuple(slice(i, i + size) for i in corner)
        for channel in range(CHANNELS):
            want = ndimage.gaussian_filter(source[channel, *around], SIGMA)[*inside]
            np.testing.assert_allclose(result[channel, *at], want, rtol=0, atol=2e-6)


def check_layer(source, result, size=12):
    """Boxes of the layer against the call on NumPy arrays: on what their windows touch, padded where they hang over."""
    w, bias = weights()
    sizes = source.shape[1:]
    for corner in places(result.shape[2:], size):
        ends = [min(i + size, n) for i, n in zip(corner, result.shape[2:], strict=True)]
        lows = [2 * i - pad_before(n) for i, n in zip(corner, sizes, strict=True)]
        highs = [2 * (i - 1) - pad_before(n) + 3 for i, n in zip(ends, sizes, strict=True)]
        touched = [slice(max(low, 0), min(high, n)) for low, high, n in zip(lows, highs, sizes, strict=True)]
        padding = tuple((max(-low, 0), max(high - n, 0)) for low, high, n in zip(lows, highs, sizes, strict=True))
        want = fastconv.correlate3d(source[:, *touched][None], w, bias=bias, **LAYER | {"padding": padding})
        got = result[:, :, *[slice(*span) for span in zip(corner, ends, strict=True)]]
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


def pad_before(size):
    """What "same" adds before an axis, for a kernel of 3 and a stride of 2."""
    return max((-(-size // 2) - 1) * 2 + 3 - size, 0) // 2


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=0.064, help="size of the volume, by default 0.064")
    parser.add_argument(
        "--chunk", type=int, default=0, help="side of a chunk, by default 128, or a third of the volume's"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="1.5GB", help="limit of each worker, by default 1.5GB")
    parser.add_argument(
        "--folder", type=Path, help="where the volumes go; by default a temporary folder, removed at the end"
    )
    parser.add_argument("--kill", action="store_true", help="kill a worker in the middle of a second Gaussian")
    args = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="fastconv-", dir=args.folder))
    side = round((args.gb * 1e9 / 4 / CHANNELS) ** (1 / 3))
    chunk = args.chunk or min(128, -(-side // 3))
    options = {
        "n_workers": args.workers,
        "threads_per_worker": 1,
        "memory_limit": args.memory,
        "dashboard_address": ":0",
    }
    try:
        # A worker that is killed is told of at length.
        with (
            LocalCluster(processes=True, silence_logs=logging.CRITICAL, **options) as cluster,
            Client(cluster) as client,
        ):
            run(client, folder, side, chunk, args.kill)
    finally:
        shutil.rmtree(folder)
    return 0


def run(client, folder, side, chunk, kill):
    rows, (w, bias) = [], weights()

    def note(what, result, seconds, checked):
        most = " ".join(f"{bytes_ / 1e9:.2f}" for bytes_ in peaks(client).values())
        rate = result.nbytes / seconds / 1e6
        rows.append(
            [
                what,
                f"{result.nbytes / 1e9:.2f} GB",
                str(result.npartitions),
                f"{seconds:.1f} s",
                f"{rate:.0f} MB/s",
                most,
                checked,
            ]
        )

    volume = make_volume(side, chunk)
    source, seconds = store(client, "volume", volume, folder / "volume")
    note("volume", volume, seconds, "")
    x = da.from_zarr(source)
    smooth = lazy.ndimage.gaussian_filter(x, (0, SIGMA, SIGMA, SIGMA))
    first, seconds = store(client, "Gaussian", smooth, folder / "gaussian")
    check_gaussian(source, first)
    note("Gaussian", smooth, seconds, "as NumPy's")
    layer = lazy.correlate3d(x[None], w, bias=bias, **LAYER)
    second, seconds = store(client, "layer", layer, folder / "layer")
    check_layer(source, second)
    note("layer", layer, seconds, "as NumPy's")
    if kill:
        victim = next(iter(client.run(os.getpid).values()))
        again, seconds = store(client, "Gaussian, a worker killed", smooth, folder / "again", victim)
        equal = (da.from_zarr(first) == da.from_zarr(again)).all().compute()
        if not equal:
            raise AssertionError("the result is another one after a worker was killed")
        note("Gaussian, a worker killed", smooth, seconds, "the same bits")
    print(table(["", "Result", "Blocks", "Time", "Written", "Peak of each worker, GB", "Checked"], rows))


if __name__ == "__main__":
    sys.exit(main())
