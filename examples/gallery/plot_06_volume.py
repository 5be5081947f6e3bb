"""
A volume
========

Beads in noise, as a microscope sees them: 40 of them in 64 x 128 x 128 voxels. A Gaussian of the beads' size makes
them stand out, and a maximum over the neighbourhood finds them.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastconv import ndimage

rng = np.random.default_rng(0)
volume = rng.normal(0, 0.3, (64, 128, 128)).astype(np.float32)
places = rng.integers(6, np.array(volume.shape) - 6, (40, 3))
beads = np.zeros_like(volume)
beads[tuple(places.T)] = 60
volume += ndimage.gaussian_filter(beads, 1.5)

smooth = ndimage.gaussian_filter(volume, 1.5)
found = np.argwhere((smooth == ndimage.maximum_filter(smooth, size=7)) & (smooth > 0.35))
print(f"{len(places)} beads, {len(found)} found")

# %%
# Both pictures are the largest voxel along each line of sight.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
left.imshow(volume.max(0), cmap="magma")
left.set_title("as recorded")
right.imshow(smooth.max(0), cmap="magma")
right.plot(found[:, 2], found[:, 1], "o", markersize=11, markerfacecolor="none", markeredgecolor="white")
right.set_title("smooth, and what is found")
for ax in (left, right):
    ax.set_axis_off()
