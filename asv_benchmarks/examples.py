"""The jobs of docs/examples.md on SciPy, OpenCV and fastconv: a table for that page, not a history.

``python -m asv_benchmarks.examples [threads]``. A time is the best of all calls of a block as it stands on the page.
Results are compared. OpenCV is timed where it is installed and has a function that does the same. The ratio is that
of the faster one's time to fastconv's.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastconv

from .turns import best_seconds

PAGE = Path(__file__).parent.parent / "docs" / "examples.md"
ROUNDS, SECONDS = 3, 0.5  # in turns; for each block in each


class Job(NamedTuple):
    """A section of the page: what comes first, and two blocks that leave the same names behind."""

    title: str
    setup: str
    ours: str
    theirs: str


def read():
    """What all jobs start with, and the jobs."""
    head, *sections = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (first,) = code_blocks(head)
    return first, [Job(title, *job_blocks(code_blocks(text))) for title, text in zip(sections[::2], sections[1::2])]


def code_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def job_blocks(blocks):
    """A single block is SciPy's with the import in the comment of its first line."""
    if len(blocks) > 1:
        return blocks
    first, rest = blocks[0].split("\n", 1)
    ours, theirs = first.split("  # ")
    return "", f"{ours}\n{rest}", f"{theirs}\n{rest}"


def last_name(block):
    """What the last line of a block assigns."""
    return block.splitlines()[-1].partition(" = ")[0]


def with_opencv(names, threads):
    """By title, the same job in OpenCV."""
    import cv2

    cv2.setNumThreads(threads)
    photograph, grey, recording = (names[name] for name in ("photograph", "grey", "recording"))
    row, around = recording[np.newaxis], {"borderType": cv2.BORDER_REFLECT}

    def blur():
        return cv2.GaussianBlur(photograph, (17, 17), 2, **around)

    return {
        "Blur a photograph": blur,
        "Sharpen a photograph": lambda: photograph + 1.5 * (photograph - blur()),
        "Find edges": lambda: np.hypot(*(cv2.Sobel(grey, -1, dx, 1 - dx, **around) for dx in (0, 1))),
        "Keep a band of frequencies": lambda: cv2.filter2D(
            row, -1, names["taps"][np.newaxis], borderType=cv2.BORDER_CONSTANT
        )[0],
        "A moving average": lambda: cv2.blur(row, (400, 1), **around)[0],
    }


def caller(block, names):
    """A call that runs a block and returns what it leaves behind."""
    code, result = compile(block, PAGE.name, "exec"), last_name(block)

    def call():
        exec(code, names)
        return names[result]

    return call


def main(threads="1"):
    fastconv.set_num_threads(int(threads))
    first, jobs = read()
    names = {}
    exec(first, names)
    peers = with_opencv(names, int(threads)) if find_spec("cv2") else {}
    print("| job | SciPy, ms | OpenCV, ms | fastconv, ms | ratio |\n|---|---:|---:|---:|---:|")
    for job in jobs:
        exec(job.setup, names)
        calls = {"SciPy": caller(job.theirs, names), "fastconv": caller(job.ours, names)}
        if job.title in peers:
            calls["OpenCV"] = peers[job.title]
        wanted = calls["SciPy"]()
        for name, call in calls.items():
            np.testing.assert_allclose(call(), wanted, rtol=1e-4, atol=1e-4, err_msg=f"{job.title}, {name}")
        rounds = [{name: best_seconds(call, SECONDS) for name, call in calls.items()} for _ in range(ROUNDS)]
        best = {name: min(each[name] for each in rounds) * 1e3 for name in calls}
        shown = " | ".join(f"{best[name]:,.2f}" if name in best else "" for name in ("SciPy", "OpenCV", "fastconv"))
        ours = best.pop("fastconv")
        print(f"| {job.title} | {shown} | {min(best.values()) / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
