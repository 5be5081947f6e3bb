"""
Training
========

One layer of sixteen kernels, a pool and one dense layer learn to read digits: forward by `fastconv.functional`,
backward by `fastconv.grad`, the rest by NumPy.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastconv.functional as F
from fastconv import grad

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
train, test = slice(0, 1400), slice(1400, None)

rng = np.random.default_rng(0)
kernels = rng.normal(0, 0.4, (16, 1, 3, 3)).astype(np.float32)
dense = rng.normal(0, 0.1, (10, 256)).astype(np.float32)


def forward(x):
    hidden = F.conv2d(x, kernels, padding=1).clip(0)
    pooled, places = F.max_pool2d(hidden, 2, return_indices=True)
    scores = pooled.reshape(len(x), -1) @ dense.T
    chances = np.exp(scores - scores.max(1, keepdims=True))
    return hidden, pooled, places, chances / chances.sum(1, keepdims=True)


accuracy = []
for _ in range(20):
    for batch in rng.permutation(1400).reshape(-1, 50):
        x = images[batch]
        hidden, pooled, places, chances = forward(x)
        wrong = (chances - np.eye(10, dtype=np.float32)[labels[batch]]) / len(batch)
        back = grad.max_pool2d_input(hidden.shape, places, (wrong @ dense).reshape(pooled.shape)) * (hidden > 0)
        dense -= 0.5 * wrong.T @ pooled.reshape(len(x), -1)
        kernels -= 0.5 * grad.conv2d_weight(x, kernels.shape, back, padding=1)
    accuracy.append((forward(images[test])[3].argmax(1) == labels[test]).mean())
print(f"of {len(labels[test])} digits that it has not seen, {accuracy[-1]:.1%} are read right")

# %%
# What the kernels have become.

figure = plt.figure(figsize=(9, 3), layout="constrained")
left, right = figure.subfigures(1, 2)
ax = left.subplots()
ax.plot(np.arange(1, 21), accuracy, "o-")
ax.set(xlabel="epoch", ylabel="read right", xticks=(1, 5, 10, 15, 20))
for ax, kernel in zip(right.subplots(2, 8).ravel(), kernels[:, 0]):
    ax.imshow(kernel, cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_axis_off()
