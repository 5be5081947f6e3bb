"""Draw the picture of `how-it-works.md`: `python docs/layers.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

LAYERS = {
    "names": "ndimage   signal   numpy   functional   grad   dask   njit",
    "operations": "conv   pool   patches   filters:  a call becomes a problem, checked",
    "dispatch": "which family takes it, and is predicted to take least",
    "kernels": "Numba: loops over blocks, shared among threads",
    "vectors": "LLVM: register tiles, packing, transforms",
}

figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
for i, (name, words) in enumerate(LAYERS.items()):
    height = 4 - i
    colour = plt.get_cmap("viridis")(0.15 + 0.16 * i)
    axes.add_patch(FancyBboxPatch((0.5, height), 9, 0.62, boxstyle="round,pad=0.05", color=colour))
    ink = "white" if i < 3 else "black"
    axes.text(0.7, height + 0.31, name, color=ink, weight="bold", va="center", size=12)
    axes.text(2.6, height + 0.31, words, color=ink, va="center", size=10)
    if i:
        axes.add_patch(
            FancyArrowPatch((9.1, height + 1), (9.1, height + 0.66), arrowstyle="-|>", mutation_scale=12, color="0.3")
        )
axes.text(0.5, 4.85, "x, w, options", size=10, color="0.3")
axes.text(9.5, -0.3, "the result, written once", size=10, color="0.3", ha="right")
axes.set(xlim=(0.3, 9.7), ylim=(-0.45, 5.05))
axes.set_axis_off()
figure.savefig(Path(__file__).parent / "images" / "layers.png", dpi=110, facecolor="white")
