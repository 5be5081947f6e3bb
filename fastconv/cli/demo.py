"""Filter a photograph and write a picture of the input and the results.

A bank of edge, blur and sharpen filters, and one layer as networks have them: grouped, strided and dilated, with bias
and activation. The photograph is the portrait of Grace Hopper that matplotlib ships as sample data: a real one, with
faces, texture and edges, in the package that also draws the result, so that one dependency does both.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv.cli.console import progress

Array = NDArray[np.float32]

ANGLES = (0, 45, 90, 135)  # of the layer's filters, for each colour
COLOURS = {"red": (1, 0.5, 0.5), "green": (0.5, 1, 0.5), "blue": (0.5, 0.65, 1)}  # tints to draw them with


class Step(NamedTuple):
    """One call: `correlate2d(x, w, **options)`."""

    name: str
    note: str
    x: Array
    w: Array
    options: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `demo`."""
    parser.add_argument("--image", type=Path, metavar="PATH", help="another photograph")
    parser.add_argument("--output", type=Path, metavar="PATH", default="fastconv-demo.png", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Filter the photograph, write the picture and print where it is."""
    try:
        reason = _why_unwritable(args.output)  # drawing comes last; say now if it cannot
    except ImportError:
        print("demo needs matplotlib: pip install 'fastconv[demo]'", file=sys.stderr)
        return 1
    if reason:
        print(f"demo: cannot write the picture: {reason}", file=sys.stderr)
        return 1
    try:
        photograph = load(args.image)
    except OSError as error:
        print(f"demo: cannot read the image: {error}", file=sys.stderr)
        return 1
    steps = make_steps(photograph)
    results: dict[str, Array] = {}
    seconds: dict[str, float] = {}
    with progress(len(steps) + 2) as begin:
        begin("compile, or load what was compiled before")
        for step in steps:
            fastconv.correlate2d(step.x, step.w, **step.options)  # a smaller image might be filtered by another kernel
        for step in steps:
            begin(step.name)
            start = time.perf_counter()
            results[step.name] = fastconv.correlate2d(step.x, step.w, **step.options)
            seconds[step.name] = time.perf_counter() - start
        begin("draw")
        try:
            draw(photograph, steps, results, args.output)
        except (OSError, ValueError) as error:  # a full disk, or a name that no file can have
            print(f"demo: cannot write the picture: {error}", file=sys.stderr)
            return 1
    for step in steps:
        shapes = f"{_times(step.x.shape)} * {_times(step.w.shape)} -> {_times(results[step.name].shape)}"
        print(f"{step.name:8s} {seconds[step.name] * 1e3:8.2f} ms  {shapes}  {step.note}")
    print(f"Wrote {args.output.resolve()}")
    return 0


def _why_unwritable(path: Path) -> str | None:
    """Why no picture can be written there, if so; nothing is made."""
    from matplotlib.figure import Figure

    endings = Figure().canvas.get_supported_filetypes()
    if path.is_dir():
        return f"{path} is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{path} may not be written"
    if path.suffix[1:].lower() not in ("", *endings):
        return f"{path.suffix} is none of {', '.join(f'.{ending}' for ending in sorted(endings))}"
    return None


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def load(path: Path | None = None) -> Array:
    """The photograph as (1, 3, H, W) from 0 to 1."""
    from matplotlib import cbook
    from PIL import Image, ImageOps  # matplotlib depends on it

    source = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False) if path is None else path
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(source) as image:
                pixels = _colours(ImageOps.exif_transpose(image))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise OSError(f"it has more than {Image.MAX_IMAGE_PIXELS} pixels, the limit of Pillow") from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis])


def _colours(image: Any) -> Array:
    """A picture of Pillow's as (H, W, 3) from 0 to 1.

    Pillow would cut off grey of 16 bits, 32 bits or floats at 255. Integers are divided by the largest number of 16
    bits, floats are left as they are, and both are divided by their own largest value where that is larger.
    """
    if not image.mode.startswith(("I", "F")):
        return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    grey = np.asarray(image, np.float32)
    grey = grey / max(1 if image.mode == "F" else 65535, grey.max())
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def make_steps(photograph: Array) -> list[Step]:
    """The four calls, for a photograph (1, 3, H, W)."""
    grey = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), photograph[0], 1)[np.newaxis, np.newaxis]
    sobel = np.outer([1, 2, 1], [-1, 0, 1])
    blur = _gaussian(21, 4.0)
    sharpen = 3 * _gaussian(9, 0.0) - 2 * _gaussian(9, 1.5)
    same = {"padding_mode": "same", "boundary": "reflect"}
    colours = {**same, "groups": 3}
    bias = np.full(len(COLOURS) * len(ANGLES), -0.02, np.float32)
    layer = {**colours, "stride": 2, "dilation": 2, "bias": bias, "activation": "relu"}
    return [
        Step("edges", "Sobel, x and y", grey, _kernels(sobel, sobel.T), same),
        Step("blur", "Gaussian, sigma 4", photograph, _kernels(*[blur] * 3), colours),
        Step("sharpen", "unsharp mask", photograph, _kernels(*[sharpen] * 3), colours),
        Step("layer", "3 groups, stride 2, dilation 2, bias, relu", photograph, _layer(), layer),
    ]


def _kernels(*planes: NDArray[Any]) -> Array:
    """One output channel for each plane: (O, 1, K, K)."""
    return np.stack(planes).astype(np.float32)[:, np.newaxis]


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    """A normalised Gaussian; the unit impulse where sigma is 0."""
    offsets = np.arange(size) - size // 2
    row: NDArray[np.float64] = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma else (offsets == 0).astype(float)
    row /= row.sum()
    return np.outer(row, row)


def _layer() -> Array:
    """Oriented edge detectors for each colour: derivatives of a Gaussian."""
    y, x = np.mgrid[-3:4, -3:4]
    planes = [(x * np.cos(a) + y * np.sin(a)) * _gaussian(7, 1.2) for a in np.deg2rad(ANGLES)]
    return _kernels(*planes * len(COLOURS))


def draw(photograph: Array, steps: list[Step], results: dict[str, Array], path: Path) -> None:
    """Write one picture: the input and the bank on the left, the layer's channels on the right."""
    from matplotlib.figure import Figure

    notes = {step.name: step.note for step in steps}
    magnitude = np.hypot(*results["edges"][0])
    bank = {
        "input": _pixels(photograph),
        f"edges: {notes['edges']}": magnitude / max(float(np.quantile(magnitude, 0.995)), 1e-6),
        f"blur: {notes['blur']}": _pixels(results["blur"]),
        f"sharpen: {notes['sharpen']}": _pixels(results["sharpen"]),
    }
    # Two columns and two rows on the left are as high as three rows of four on the right.
    aspect = min(max(photograph.shape[2] / photograph.shape[3], 1 / 8), 8)  # strips get white borders
    column = 12 / (2 + 4 * 2 / 3)
    figure = Figure(figsize=(12, 2 * column * aspect + 0.8), layout="constrained", facecolor="white")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 4 * 2 / 3), squeeze=False).flat
    left.suptitle("One photograph and three filters", fontsize=11)
    for axes, (title, image) in zip(left.subplots(2, 2).flat, bank.items()):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    right.suptitle(f"One layer, {notes['layer']}", fontsize=11)
    maps = results["layer"][0].reshape(len(COLOURS), len(ANGLES), *results["layer"].shape[2:])
    maps = np.clip(maps / max(float(np.quantile(maps, 0.98)), 1e-6), 0, 1)
    grid = right.subplots(len(COLOURS), len(ANGLES))
    for row, (name, tint), planes in zip(grid, COLOURS.items(), maps):
        for axes, angle, plane in zip(row, ANGLES, planes):
            axes.imshow(plane[..., np.newaxis] * np.array(tint, np.float32))
            axes.set_title(f"{name}, {angle}°", fontsize=9)
            axes.set_axis_off()
    # Without a format, a path without an ending would have one added, and not be where the picture is.
    figure.savefig(path, dpi=100, format=path.suffix[1:] or "png")


def _pixels(image: Array) -> Array:
    """(1, 3, H, W) as matplotlib wants it."""
    pixels: Array = image[0].transpose(1, 2, 0).clip(0, 1)
    return pixels
