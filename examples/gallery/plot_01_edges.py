"""
Edges
=====

Sobel's derivatives along rows and columns, and the length of the gradient, of a photograph that matplotlib ships.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

from fastconv import ndimage

photograph = plt.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) / np.float32(255)
grey = photograph @ np.array([0.299, 0.587, 0.114], np.float32)

# %%
# Derivatives may be negative: red is a rise, blue a fall.

down, right = ndimage.sobel(grey, axis=0), ndimage.sobel(grey, axis=1)
edges = np.hypot(down, right)

figure, axes = plt.subplots(1, 3, figsize=(9, 3.8), layout="constrained")
for ax, title, picture, limit in zip(axes, ("along rows", "along columns", "length"), (right, down, edges), (1, 1, 2)):
    colours = "gray" if picture is edges else "RdBu_r"
    ax.imshow(picture, cmap=colours, vmin=0 if picture is edges else -limit, vmax=limit)
    ax.set(title=title, xticks=[], yticks=[])

# %%
# A little blur before it leaves out what is no edge but grain: `ndimage.gaussian_gradient_magnitude` does both.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.8), layout="constrained")
for ax, sigma in zip(axes, (0.7, 2, 4)):
    ax.imshow(ndimage.gaussian_gradient_magnitude(grey, sigma), cmap="gray")
    ax.set(title=f"sigma {sigma}", xticks=[], yticks=[])
