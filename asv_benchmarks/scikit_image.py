"""scikit-image's functions on SciPy and on fastconv: the table of docs/performance.md, not a history.

``python -m asv_benchmarks.scikit_image [threads]``, where scikit-image is installed. Processes with and without
fastconv in SciPy's place take turns; a time is the best of all calls. Results are compared.
"""

import json
import subprocess
import sys
from operator import attrgetter

import numpy as np

import fastconv

from .turns import best_seconds

SIDE, ROUNDS, SECONDS = 1024, 3, 1.0  # of the image; of processes; for each function in each
# What is called, its arguments after the image, and options.
FUNCTIONS = [
    ("filters.gaussian", (2.0,), {}),
    ("filters.gaussian", (10.0,), {}),
    ("filters.difference_of_gaussians", (1.0, 12.0), {}),
    ("filters.unsharp_mask", (3.0,), {}),
    ("filters.sobel", (), {}),
    ("filters.laplace", (), {}),
    ("filters.threshold_local", (51,), {}),
    ("filters.threshold_sauvola", (), {}),
    ("filters.sato", (), {"sigmas": (1, 2)}),
    ("feature.canny", (2.0,), {}),
    ("feature.corner_harris", (), {}),
    ("feature.structure_tensor", (1.5,), {}),
    ("feature.peak_local_max", (10,), {}),
    ("feature.blob_dog", (), {"max_sigma": 8}),
    ("morphology.opening", (np.ones((9, 9)),), {}),
    ("morphology.white_tophat", (np.ones((15, 15)),), {}),
    ("metrics.structural_similarity", (None,), {"data_range": 1.0}),  # None: another image
    ("segmentation.slic", (), {"sigma": 2.0, "channel_axis": None, "max_num_iter": 2}),
    ("transform.pyramid_reduce", (), {}),
]


def image(seed):
    """A smooth texture with grain, from 0 to 1."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 4) + 0.02 * rng.standard_normal((SIDE, SIDE))
    return (texture - texture.min()) / np.ptp(texture)


def measure_here(threads):
    """Of each function the seconds of a call and the means of its results, in this process."""
    import skimage

    pixels, other = image(0), image(1)
    fastconv.set_num_threads(threads)
    for name, arguments, options in FUNCTIONS:
        function, given = attrgetter(name)(skimage), [other if each is None else each for each in arguments]

        def call(function=function, given=given, options=options):
            return function(pixels, *given, **options)

        results = call()
        means = [float(np.mean(each)) for each in (results if isinstance(results, (tuple, list)) else [results])]
        yield best_seconds(call, SECONDS), means


def run_all(threads, *options):
    command = [
        sys.executable,
        "-m",
        "fastconv",
        "run",
        *options,
        "-m",
        "asv_benchmarks.scikit_image",
        "--here",
        threads,
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(threads="1"):
    rounds = [(run_all(threads), run_all(threads, "--patch-scipy")) for _ in range(ROUNDS)]
    print(f"| {SIDE} x {SIDE}, float64 | SciPy, ms | fastconv, ms | ratio |\n|---|---:|---:|---:|")
    for i, (name, arguments, _) in enumerate(FUNCTIONS):
        theirs, ours = ([each[i] for each in of] for of in zip(*rounds, strict=True))
        np.testing.assert_allclose(ours[0][1], theirs[0][1], rtol=1e-3, atol=1e-9, err_msg=name)
        before, after = (min(seconds for seconds, _ in of) for of in (theirs, ours))
        shown = ", ".join([f"`{name}`", *(repr(each) for each in arguments if isinstance(each, (int, float)))])
        print(f"| {shown} | {before * 1e3:,.1f} | {after * 1e3:,.1f} | {before / after:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(list(measure_here(int(sys.argv[2])))))
    else:
        main(*sys.argv[1:])
