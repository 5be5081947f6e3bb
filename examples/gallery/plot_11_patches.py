"""
Patches
=======

Each window of a picture as a column of a matrix: the main directions of those columns are what the picture is made
of. With the first of them only, and the windows laid back over each other, noise is left out.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

import fastconv

photograph = plt.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))[40:240, 140:340]
clean = photograph @ np.array([0.299, 0.587, 0.114]) / 255
noisy = clean + np.random.default_rng(0).normal(0, 0.12, clean.shape)

columns = fastconv.extract_patches(noisy, (8, 8))
mean = columns.mean(axis=1, keepdims=True)
_, directions = np.linalg.eigh((columns - mean) @ (columns - mean).T)
first = directions[:, ::-1][:, :8]
kept = mean + first @ (first.T @ (columns - mean))

# %%
# `combine_patches` adds up what overlaps; the same of ones tells how many windows hold each pixel.

total = fastconv.combine_patches(kept, clean.shape, (8, 8))
count = fastconv.combine_patches(np.ones_like(kept), clean.shape, (8, 8))
restored = total / count
for name, picture in {"noisy": noisy, "restored": restored}.items():
    print(f"{name}: root of the mean square error {np.sqrt(np.mean((picture - clean) ** 2)):.3f}")

figure = plt.figure(figsize=(10, 3.3), layout="constrained")
left, middle, right = figure.subfigures(1, 3, width_ratios=[2, 2.2, 2])
for part, title, picture in ((left, "noisy", noisy), (right, "restored", restored)):
    ax = part.subplots()
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
middle.suptitle("the first eight directions", fontsize=10)
for ax, direction in zip(middle.subplots(2, 4).ravel(), first.T):
    ax.imshow(direction.reshape(8, 8), cmap="gray")
    ax.set_axis_off()
