"""
A bank of Gabor filters
=======================

Waves under a Gaussian window answer to stripes of their own direction and width. Twelve kernels are twelve output
channels of one call; float32 images come as a batch, with channels first.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

import fastconv

photograph = plt.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))[::2, ::2]
grey = (photograph @ np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)

rows, columns = np.mgrid[-10:11, -10:11]
angles, lengths = np.pi * np.arange(6) / 6, (5, 9)
bank = np.array(
    [
        np.exp(-(rows**2 + columns**2) / (2 * (length / 2) ** 2))
        * np.cos(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / length)
        for length in lengths
        for angle in angles
    ],
    np.float32,
)
bank -= bank.mean((1, 2), keepdims=True)  # no answer where nothing changes

answers = fastconv.correlate2d(grey[None, None], bank[:, None], padding="same", boundary="reflect")[0]
print(grey.shape, bank.shape, answers.shape)

# %%
# Kernels above, what they find below.

figure, axes = plt.subplots(4, 6, figsize=(9, 7.6), height_ratios=[1, 2.2, 1, 2.2], layout="constrained")
for i, (kernel, answer) in enumerate(zip(bank, answers)):
    row, column = divmod(i, 6)
    axes[2 * row, column].imshow(kernel, cmap="gray")
    axes[2 * row + 1, column].imshow(abs(answer), cmap="magma")
for ax in axes.ravel():
    ax.set_axis_off()
