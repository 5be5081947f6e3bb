"""
Pools and unpooling
===================

A pool keeps one number of each window: its largest, its mean, its least. With the places of the largest, an unpool
puts them back where they were.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

import fastconv

photograph = plt.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))[40:296, 120:376]
grey = (photograph @ np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)[None, None]  # a batch, a channel

largest, places = fastconv.max_pool2d(grey, 8, return_indices=True)
pictures = {
    "as it is": grey,
    "max_pool2d": largest,
    "avg_pool2d": fastconv.avg_pool2d(grey, 8),
    "min_pool2d": fastconv.min_pool2d(grey, 8),
    "max_unpool2d": fastconv.max_unpool2d(largest, places, 8, output_size=grey.shape[2:]),
}
figure, axes = plt.subplots(1, 5, figsize=(11, 2.7), layout="constrained")
for ax, (title, picture) in zip(axes, pictures.items()):
    ax.imshow(picture[0, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(f"{title}, {picture.shape[2]} x {picture.shape[3]}", fontsize=9)
    ax.set_axis_off()
