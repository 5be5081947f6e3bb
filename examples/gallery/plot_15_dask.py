"""
Dask arrays
===========

The same functions on arrays in chunks, lazily: a task for each block of the result, which reads just what its windows
reach.
"""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np

import fastconv.dask
from fastconv import ndimage

rng = np.random.default_rng(0)
mosaic = ndimage.gaussian_filter(rng.normal(size=(600, 900)), 3) + rng.normal(0, 0.05, (600, 900))
chunked = da.from_array(mosaic, chunks=(250, 400))

blurred = fastconv.dask.ndimage.gaussian_filter(chunked, 4)
print(blurred)
print(f"{len(blurred.__dask_graph__())} tasks, {blurred.npartitions} blocks")

# %%
# The blocks meet without a seam: the result is that of the whole array, to the last bit.

whole = ndimage.gaussian_filter(mosaic, 4)
result = blurred.compute()
print("equal:", np.array_equal(result, whole))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for ax, title, picture in ((left, "chunks of 250 x 400", mosaic), (right, "blurred, block by block", result)):
    ax.imshow(picture, cmap="gray")
    ax.set_title(title)
    ax.set_axis_off()
for row, column in ((250, 400), (500, 800)):
    left.axhline(row, color="tab:orange", linewidth=1)
    left.axvline(column, color="tab:orange", linewidth=1)
