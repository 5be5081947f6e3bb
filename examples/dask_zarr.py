"""From zarr to zarr in shards: smooth a volume, keep every second element, write what a shard holds at once.

A zarr array of version 3 writes whole shards, of many chunks each. Two tasks that write chunks of one shard at the same
time both read it, change it and write it back, and one of the two changes is lost. A stride makes output chunks of
other sizes than the input's, which shards need not be made of; so the result is rechunked to shards before it is
written, and every shard has one task that writes it.

    python examples/dask_zarr.py --side 96
"""

import argparse
import sys
import tempfile
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from dask.diagnostics import ProgressBar

from fastconv import dask as lazy
from fastconv import ndimage


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=96, help="of the volume, in elements")
    side = parser.parse_args(arguments).side
    with tempfile.TemporaryDirectory() as folder, dask.config.set(scheduler="threads"), ProgressBar(out=sys.stderr):
        volume = np.random.default_rng(0).random((side,) * 3, dtype=np.float32)
        source = zarr.create_array(str(Path(folder, "in.zarr")), data=volume, chunks=(20, 32, 32))

        smooth = lazy.ndimage.gaussian_filter(da.from_zarr(source), 1.5)
        half = smooth[::2, ::2, ::2]

        target = zarr.create_array(
            str(Path(folder, "out.zarr")), shape=half.shape, dtype=half.dtype, chunks=(8, 8, 8), shards=(16, 32, 32)
        )
        da.store(half.rechunk(target.shards), target, lock=False)

        np.testing.assert_allclose(target[:], ndimage.gaussian_filter(volume, 1.5)[::2, ::2, ::2], rtol=0, atol=1e-6)
        print(f"chunks of {half.chunks[0][:3]}... became shards of {target.shards}, each of chunks of {target.chunks}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
