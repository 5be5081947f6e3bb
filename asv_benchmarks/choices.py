"""How far "auto" is from the best: a table for docs/performance.md, not a history.

``python -m asv_benchmarks.choices [shapes] [seed]`` forces every implementation that may run a layer, for the layers of
networks and for so many random shapes, on one thread, and tells how often what "auto" chooses takes no more than 1.1
times as long as the fastest of them.
"""

import functools
import sys

import numpy as np

import fastconv
from fastconv.conv import prepare_call

from .layers import CONV, DEPTHWISE, GROUPED, IMAGES, SIGNALS, TRANSFORMS, VOLUMES, Layer, random
from .turns import best_seconds

MARGIN, MOST_MACS = 1.1, 1_500_000_000


def random_layer(rng):
    """A shape of one of the kinds that there are implementations for."""
    kinds = ["dense", "dense", "dense", "groups", "few", "last", "plane", "depthwise", "signal", "volume", "low"]
    kind = rng.choice(kinds)
    dtype = str(rng.choice(["float32", "float32", "float32", "float64"]))
    size, kernel = int(2 ** rng.uniform(2.5, 7)), int(rng.choice([2, 3, 3, 3, 4, 5, 6, 7, 9, 11]))
    channels, outputs = (int(2 ** rng.uniform(2, 8)) for _ in range(2))
    rank, groups, batch = 2, 1, 1
    if kind == "groups":
        groups = int(rng.choice([2, 4, 16]))
        channels, outputs = (-(-n // groups) * groups for n in (channels, outputs))
    elif kind == "few":
        channels, outputs, kernel = int(rng.integers(1, 8)), int(rng.integers(1, 64)), int(rng.integers(2, 24))
        size *= 3
    elif kind == "last":
        outputs = int(rng.integers(1, 4))
    elif kind == "plane":
        channels = outputs = 1
        size, kernel = int(2 ** rng.uniform(5, 10)), int(2 ** rng.uniform(1.5, 6.3))
    elif kind == "depthwise":
        groups = outputs = channels
        kernel = int(2 ** rng.uniform(1.5, 5))
    elif kind == "signal":
        rank, size, kernel = 1, int(2 ** rng.uniform(6, 20)), int(2 ** rng.uniform(1, 13))
        channels = outputs = int(rng.choice([1, 1, 16]))
    elif kind == "volume":
        rank, size, kernel = 3, int(rng.integers(6, 32)), int(rng.choice([3, 3, 5]))
        channels, outputs = (int(rng.integers(4, 64)) for _ in range(2))
    elif kind == "low":  # few outputs an image
        rank, size, kernel, batch = (int(rng.integers(*ends)) for ends in ((1, 4), (2, 9), (1, 6), (1, 17)))
    stride, dilation = int(rng.choice([1, 1, 1, 2, 3])), int(rng.choice([1, 1, 1, 2, 3]))
    if kind in ("plane", "signal"):
        stride = dilation = 1
    padding = int(rng.choice([0, dilation * (kernel // 2)]))
    x, w = (batch, channels, *[size] * rank), (outputs, channels // groups, *[kernel] * rank)
    return Layer(f"random {kind}", x, w, stride, padding, dilation, groups, dtype)


def times_of(layer):
    """Seconds of each implementation that "auto" may choose, and the name of the one that it does."""
    x, w = random(layer.x, layer.w, dtype=layer.dtype)
    found = fastconv.explain(x, w, **{**layer.options, "algorithm": "auto"})
    able = [each.implementation for each in found.candidates if each.refusal is None and each.microseconds]
    given = layer.groups, layer.stride, layer.padding, layer.dilation, "constant", None, "auto", False
    times, fill = {}, np.zeros(1, x.dtype)
    for name in able:
        run, shape, dtype, _ = prepare_call(layer.function, None, False, x, w, *given, only=name)
        times[name] = best_seconds(functools.partial(run, x, w, None, fill, np.empty(shape, dtype)), 0.1)
    return times, found.implementation


def main(shapes="300", seed="0"):
    fastconv.set_num_threads(1)
    rng, layers = np.random.default_rng(int(seed)), [*CONV, *GROUPED, *DEPTHWISE, *IMAGES, *SIGNALS, *VOLUMES]
    layers += [layer for layer in TRANSFORMS if layer.algorithm == "direct"]
    while len(layers) < int(shapes) + 40:
        layer = random_layer(rng)
        if all(n > 0 for n in layer.outputs) and 100_000 < layer.macs < MOST_MACS:
            layers.append(layer)
    ratios = []
    print("| layer | x | w | chosen | fastest | ratio |\n|---|---|---|---|---|---:|")
    for layer in layers:
        times, chosen = times_of(layer)
        if chosen not in times:  # too small for anything to be compared
            continue
        fastest = min(times, key=times.get)
        ratios.append(times[chosen] / times[fastest])
        if ratios[-1] > MARGIN:
            print(f"| {layer}, {layer.dtype} | {layer.x} | {layer.w} | {chosen} | {fastest} | {ratios[-1]:.2f} |")
    within = np.mean(np.array(ratios) <= MARGIN)
    mean = np.exp(np.mean(np.log(ratios)))
    print(f"\n{within:.1%} of {len(ratios)} are within {MARGIN} of the fastest; geometric mean {mean:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
