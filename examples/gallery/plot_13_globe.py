"""
Boundaries of a globe
=====================

A map of a planet goes round in longitude, and ends at the poles. One boundary for each axis says so, in the call
itself. The field is made: waves over a sphere, and a noise that is to be smoothed.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastconv

rng = np.random.default_rng(0)
latitude = np.deg2rad(np.arange(-88, 89, 4))[:, None]
longitude = np.deg2rad(np.arange(0, 360, 4))[None]
field = np.cos(latitude) * np.cos(3 * longitude) + np.sin(2 * latitude) + rng.normal(0, 0.5, (45, 90))

distance = np.arange(-8, 9)
bell = np.exp(-(distance**2) / 32)
kernel = (np.outer(bell, bell) / np.outer(bell, bell).sum())[None, None]


def smooth(boundary):
    return fastconv.correlate2d(field[None, None], kernel, padding="same", boundary=boundary)[0, 0]


globe, flat = smooth(("symmetric", "wrap")), smooth("constant")

# %%
# Both maps begin and end at the dateline. Where padding holds zeros, the planet has a seam there, and fades at its
# poles.

figure, axes = plt.subplots(1, 3, figsize=(11, 2.6), layout="constrained")
titles = "as measured", '("symmetric", "wrap")', '"constant"'
for ax, title, values in zip(axes, titles, (field, globe, flat)):
    ax.imshow(np.roll(values, 45, axis=1), cmap="RdBu_r", vmin=-1.5, vmax=1.5, extent=(-180, 180, -90, 90))
    ax.set_title(title, fontsize=10)
    ax.set(xticks=(-180, 0, 180), yticks=(-90, 0, 90))
for name, values in {"wrapped": globe, "constant": flat}.items():
    print(f"{name}: step over the meridian where the map was cut {abs(values[:, 0] - values[:, -1]).mean():.3f}")
