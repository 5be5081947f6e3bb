"""The pipeline of docs/scikit-image.md on SciPy and on fastconv: its picture, and a table of times and differences.

``python docs/scikit_image.py [picture.png]``, where scikit-image and matplotlib are installed. Each of the two runs in
a process of its own, since scikit-image takes some of SciPy's functions when it is imported.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CODE = re.search(r"^```python\n(.*?)^```$", (HERE / "scikit-image.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)[1]
IMPORTS, STEPS = CODE.split("\n\n")
STEPS = STEPS.splitlines()
SECONDS = 0.5  # for each step
LARGEST = 1e-11  # difference between floating-point results, as the page says


def run_here(path):
    """Run the steps in this process; keep their results and the best time of each."""
    names, best = {}, []
    exec(IMPORTS, names)
    for step in STEPS:
        code, times, end = compile(step, "scikit-image.md", "exec"), [], None
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            exec(code, names)
            times.append(time.perf_counter() - start)
            end = end or time.perf_counter() + SECONDS  # after the first call, which may compile
        best.append(min(times))
    np.savez(path, seconds=best, **{name: names[name] for step in STEPS for name in assigned(step)})


def assigned(step):
    """The names that a step gives values to."""
    return step.partition(" = ")[0].split(", ")


def run_there(path, *options):
    command = [sys.executable, "-m", "fastconv", "run", *options, __file__, "--here", path]
    subprocess.run(command, check=True)
    with np.load(path) as found:
        return dict(found)


def difference(theirs, ours):
    """The largest between two results; none may differ in shape, and no counts, masks or places at all."""
    assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype)
    if theirs.dtype.kind != "f":
        assert np.array_equal(theirs, ours)
        return 0.0
    found = float(np.max(np.abs(theirs - ours)))
    assert found <= LARGEST
    return found


def draw(theirs, ours, path):
    """A row of pictures for each of the two."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained", facecolor="white")
    for row, (name, found) in zip(figure.subplots(2, 5), {"SciPy": theirs, "fastconv": ours}.items()):
        titles = {
            "smooth": f"gaussian, on {name}",
            "edges": "sobel",
            "local": "threshold_local",
            "flat": "white_tophat",
            "mask": f"threshold_otsu, {len(found['centres'])} peak_local_max",
        }
        for axes, (result, title) in zip(row, titles.items()):
            axes.imshow(found[result], cmap="gray")
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
        axes.plot(*found["centres"].T[::-1], "r+")
    figure.savefig(path, dpi=80)


def main(picture=HERE / "images" / "scikit-image.png"):
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = run_there(f"{folder}/scipy.npz"), run_there(f"{folder}/fastconv.npz", "--patch-scipy")
    print("| step | SciPy, ms | fastconv, ms | ratio | largest difference |\n|---|---:|---:|---:|---:|")
    for step, before, after in zip(STEPS, theirs["seconds"] * 1e3, ours["seconds"] * 1e3):
        largest = max(difference(theirs[name], ours[name]) for name in assigned(step))
        called = ", ".join(f"`{name}`" for name in re.findall(r"(?:filters|morphology|feature|metrics)\.(\w+)", step))
        if called:
            print(f"| {called} | {before:,.2f} | {after:,.2f} | {before / after:.2f} | {largest:.0e} |")
    draw(theirs, ours, picture)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        run_here(sys.argv[2])
    else:
        main(*sys.argv[1:])
