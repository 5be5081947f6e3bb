"""
Inside compiled code
====================

Two substances that react and spread (the model of Gray and Scott), 3,000 steps in one function that is compiled by
`numba.njit`. It calls fastconv as Python does; ``out=`` keeps it from taking memory in each step.
"""

import matplotlib.pyplot as plt
import numba
import numpy as np

import fastconv

spread = np.array([[0.05, 0.2, 0.05], [0.2, -1, 0.2], [0.05, 0.2, 0.05]], np.float32)[None, None]


@numba.njit
def react(u, v, spread, feed, kill, steps):
    du, dv = np.empty_like(u), np.empty_like(v)
    for _ in range(steps):
        fastconv.correlate2d(u, spread, padding="same", boundary="wrap", out=du)
        fastconv.correlate2d(v, spread, padding="same", boundary="wrap", out=dv)
        for i in range(u.shape[2]):
            for j in range(u.shape[3]):
                a, b = u[0, 0, i, j], v[0, 0, i, j]
                reaction = a * b * b
                u[0, 0, i, j] = a + np.float32(0.16) * du[0, 0, i, j] - reaction + feed * (np.float32(1) - a)
                v[0, 0, i, j] = b + np.float32(0.08) * dv[0, 0, i, j] + reaction - (feed + kill) * b


figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
rng = np.random.default_rng(0)
for ax, (feed, kill) in zip(axes, ((0.035, 0.065), (0.035, 0.06), (0.06, 0.062))):
    u, v = np.ones((2, 1, 1, 128, 128), np.float32)
    v *= 0
    for row, column in rng.integers(0, 118, (12, 2)):
        u[0, 0, row : row + 10, column : column + 10], v[0, 0, row : row + 10, column : column + 10] = 0.5, 0.25
    react(u, v, spread, np.float32(feed), np.float32(kill), 3000)
    ax.imshow(v[0, 0], cmap="magma")
    ax.set_title(f"feed {feed}, kill {kill}", fontsize=10)
    ax.set_axis_off()
