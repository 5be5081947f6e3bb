"""
Local maxima
============

Summits: where the ground is as high as the highest point around it, within a window. Heights of the Jacksboro fault,
which matplotlib ships.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

from fastconv import ndimage

heights = cbook.get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype(np.float32)
smooth = ndimage.gaussian_filter(heights, 2)
highest, lowest = ndimage.maximum_filter(smooth, size=31), ndimage.minimum_filter(smooth, size=31)
summits = np.argwhere((smooth == highest) & (highest - lowest > 100))
print(f"{len(summits)} summits that rise more than 100 m above the lowest point near them")

# %%
# A top hat, which takes away all that is wider than its window, shows ridges.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.imshow(heights, cmap="gist_earth")
left.plot(summits[:, 1], summits[:, 0], "^", color="white", markeredgecolor="black")
left.set_title("summits")
right.imshow(ndimage.white_tophat(smooth, size=31), cmap="magma")
right.set_title("white_tophat, 31 x 31")
for ax in (left, right):
    ax.set_axis_off()
