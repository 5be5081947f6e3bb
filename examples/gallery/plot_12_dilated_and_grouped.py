"""
Dilated and grouped layers
==========================

Taps that lie apart see further with as many multiplications. With groups, each channel has kernels of its own. What
one output sees is found by a gradient: how much of each input reaches it.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastconv
from fastconv import grad

kernel = np.ones((1, 1, 3, 3), np.float32)
point = np.zeros((1, 1, 41, 41), np.float32)
point[..., 20, 20] = 1

figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
seen = point
for ax, dilation in zip(axes, (1, 2, 4, 8)):
    seen = grad.conv2d_input(seen.shape, kernel, seen, padding=dilation, dilation=dilation)
    ax.imshow(seen[0, 0] ** 0.3, cmap="magma")
    ax.set_title(f"after a dilation of {dilation}: {np.count_nonzero(seen[0, 0].any(0))} wide", fontsize=9)
    ax.set_axis_off()

# %%
# Two channels, four kernels: two for each channel with ``groups=2``.

rng = np.random.default_rng(0)
image = rng.normal(size=(1, 2, 64, 64)).astype(np.float32)
across, down = np.zeros((2, 1, 9, 9), np.float32)
across[0, 4], down[0, :, 4] = 1 / 9, 1 / 9
w = np.stack([across, down, across, down])
outputs = fastconv.correlate2d(image, w, groups=2, padding="same", boundary="wrap")
print(image.shape, w.shape, outputs.shape)

figure, axes = plt.subplots(1, 6, figsize=(11, 2.2), layout="constrained")
titles = "channel 0", "across", "down", "channel 1", "across", "down"
for ax, title, picture in zip(axes, titles, (image[0, 0], *outputs[0, :2], image[0, 1], *outputs[0, 2:])):
    ax.imshow(picture, cmap="gray")
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()
