"""
Blur
====

The last axis of a photograph holds its colours: a sigma, or a size, for each axis leaves them apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

from fastconv import ndimage

photograph = plt.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))[:400, 60:460] / np.float32(255)

pictures = {
    "as it is": photograph,
    "Gaussian, sigma 4": ndimage.gaussian_filter(photograph, (4, 4, 0)),
    "mean of 15 x 15": ndimage.uniform_filter(photograph, (15, 15, 1)),
    "along rows only, sigma 8": ndimage.gaussian_filter(photograph, (0, 8, 0)),
}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for ax, (title, picture) in zip(axes, pictures.items()):
    ax.imshow(picture)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()

# %%
# What lies beyond the border is named by `mode`, as in SciPy. A corner, blurred by sigma 20:

figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for ax, mode in zip(axes, ("reflect", "nearest", "constant", "wrap")):
    ax.imshow(ndimage.gaussian_filter(photograph, (20, 20, 0), mode=mode)[:100, :100])
    ax.set_title(mode, fontsize=10)
    ax.set_axis_off()
