"""Draw what blocks of a result take of chunks of the input, for dask.md: python docs/dask_halo.py."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from fastconv.kernels.shapes import BOUNDARIES
from matplotlib.patches import Rectangle

from fastconv.dask import halo
from fastconv.problem import sliding

IMAGE = Path(__file__).parent / "images" / "dask-halo.png"
CHUNKS = (8, 8, 3, 9), (10, 7, 11)
KERNEL, STRIDE = 5, 2
CASES = (  # boundary, block of the result
    ("constant", (1, 1)),
    ("constant", (2, 2)),
    ("wrap", (0, 0)),
)


def plans(boundary):
    sizes = tuple(map(sum, CHUNKS))
    axes = sliding("picture", (), sizes, np.dtype("f4"), KERNEL, STRIDE, 1, "padding", "same").axes
    axes = [axis._replace(boundary=BOUNDARIES.index(boundary)) for axis in axes]
    return [halo.windows(chunks, axis) for chunks, axis in zip(CHUNKS, axes, strict=True)]


def spans(part, chunks):
    """From and to of each piece, in elements of the axis."""
    starts = halo.starts_of(chunks)
    return [(starts[piece.chunk] + piece.start, piece.length) for piece in part.pieces]


def grid(axis, chunks, title):
    rows, columns = map(halo.starts_of, chunks)
    for row in rows:
        axis.plot([0, columns[-1]], [row, row], color="0.35", lw=0.8)
    for column in columns:
        axis.plot([column, column], [0, rows[-1]], color="0.35", lw=0.8)
    axis.set(title=title, xlim=(-1, 29), ylim=(rows[-1] + 1, -1), aspect="equal")
    axis.axis("off")


def draw():
    figure, panels = plt.subplots(2, len(CASES), figsize=(9.5, 5.4), height_ratios=(28, 14), layout="constrained")
    for (above, below), (boundary, block) in zip(panels.T, CASES, strict=True):
        plan = plans(boundary)
        rows, columns = (parts[i] for parts, i in zip(plan, block, strict=True))
        grid(above, CHUNKS, f'input, boundary "{boundary}"')
        for top, height in spans(rows, CHUNKS[0]):
            for left, width in spans(columns, CHUNKS[1]):
                above.add_patch(Rectangle((left, top), width, height, color="tab:blue", alpha=0.45, lw=0))
        outputs = [[part.outputs for part in parts] for parts in plan]
        grid(below, outputs, f"result, stride {STRIDE}")
        top, left = (halo.starts_of(chunks)[i] for chunks, i in zip(outputs, block, strict=True))
        below.add_patch(Rectangle((left, top), columns.outputs, rows.outputs, color="tab:orange", alpha=0.7, lw=0))
    figure.savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    draw()
