# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Inside your own Numba code
#
# A blurred photograph is made sharp again with the Richardson-Lucy method (W. H. Richardson, *Bayesian-based iterative
# method of image restoration*, JOSA 62, 1972; L. B. Lucy, *An iterative technique for the rectification of observed
# distributions*, AJ 79, 1974). Each step blurs the estimate, divides what was seen by that, and multiplies the estimate
# by the ratio, correlated with the blur. The whole loop is one function compiled with `numba.njit(parallel=True)`, and
# fastconv is called from inside it, on each worker of `prange`.

# %%
import ctypes

import matplotlib.pyplot as plt
import numba
import numpy as np
from scipy import fft, ndimage, signal

import fastconv
from fastconv.cli.bench import measure
from fastconv.cli.console import table
from fastconv.cli.demo import load

plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "font.size": 9})

photograph = load()[0]  # (3, H, W)
sharp = np.ascontiguousarray(photograph[:, np.newaxis, np.newaxis])  # (3, 1, 1, H, W): a batch of one for each colour
print(f"{sharp.shape}, {sharp.dtype}, {numba.get_num_threads()} threads")

# %% [markdown]
# ## What the camera saw
#
# The blur is a slanted stroke, as of a hand that moved, with a little noise on top. It holds 15 x 15 numbers, sums to
# one, and is the same for all colours.

# %%
rows, columns = np.mgrid[-7:8, -7:8]
stroke = np.exp(-(((rows - 0.6 * columns) / 1.2) ** 2)) * (np.abs(columns) <= 6)
blur = (stroke / stroke.sum()).astype(np.float32)[np.newaxis, np.newaxis]
options = {"padding_mode": "same", "boundary": "symmetric"}
noise = np.random.default_rng(0).normal(0, 0.012, sharp.shape).astype(np.float32)
seen = np.stack([fastconv.convolve2d(colour, blur, **options) for colour in sharp]) + noise
seen = seen.clip(1e-3, 1)

# %% [markdown]
# ## The loop, compiled
#
# `out=` puts each result into one of two planes that a worker keeps, so that nothing is allocated in the loop. The
# calls run on the worker that makes them, with the kernels that a call from Python would take.


# %%
@numba.njit(parallel=True)
def richardson_lucy(seen, blur, steps):
    estimate = seen.copy()
    for colour in numba.prange(seen.shape[0]):
        ratio, correction = np.empty_like(seen[colour]), np.empty_like(seen[colour])
        for _ in range(steps):
            fastconv.convolve2d(estimate[colour], blur, padding_mode="same", boundary="symmetric", out=ratio)
            for row in range(seen.shape[3]):
                for column in range(seen.shape[4]):
                    was = seen[colour, 0, 0, row, column]
                    ratio[0, 0, row, column] = was / max(ratio[0, 0, row, column], np.float32(1e-6))
            fastconv.correlate2d(ratio, blur, padding_mode="same", boundary="symmetric", out=correction)
            for row in range(seen.shape[3]):
                for column in range(seen.shape[4]):
                    estimate[colour, 0, 0, row, column] *= correction[0, 0, row, column]
    return estimate


# %% [markdown]
# Twice in NumPy and SciPy, as one would write it without: with `scipy.ndimage`, which sums directly, and with
# `scipy.signal.fftconvolve`, whose borders are padded by hand.


# %%
def with_ndimage(seen, blur, steps):
    estimate, kernel = seen.copy(), blur[0, 0]
    for colour in range(len(seen)):
        plane = estimate[colour, 0, 0]
        for _ in range(steps):
            ratio = seen[colour, 0, 0] / np.maximum(ndimage.convolve(plane, kernel, mode="reflect"), np.float32(1e-6))
            plane *= ndimage.correlate(ratio, kernel, mode="reflect")
    return estimate


def with_fft(seen, blur, steps):
    estimate, kernel = seen.copy(), blur[0, 0]

    def blurred(plane, kernel):
        return signal.fftconvolve(np.pad(plane, 7, mode="symmetric"), kernel, mode="valid")

    for colour in range(len(seen)):
        plane = estimate[colour, 0, 0]
        for _ in range(steps):
            ratio = seen[colour, 0, 0] / np.maximum(blurred(plane, kernel), np.float32(1e-6))
            plane *= blurred(ratio, kernel[::-1, ::-1])
    return estimate


# %%
steps = 20
restored = richardson_lucy(seen, blur, steps)
for other in (with_ndimage, with_fft):
    difference = np.abs(other(seen, blur, 5) - richardson_lucy(seen, blur, 5)).max()
    print(f"{other.__name__}: {difference:.1e} apart after 5 steps")
    assert difference < 1e-4


# %% [markdown]
# ## Pictures


# %%
def decibels(image):
    """How near an image is to the sharp one: the ratio of the largest signal to the error (PSNR)."""
    return 10 * np.log10(1 / np.mean((image - sharp) ** 2))


figure, grid = plt.subplots(2, 3, figsize=(8.4, 6.4), height_ratios=[1.2, 1])
for column, (title, image) in enumerate({"sharp": sharp, "seen": seen, f"{steps} steps": restored}.items()):
    picture = image[:, 0, 0].transpose(1, 2, 0).clip(0, 1)
    heading = title if image is sharp else f"{title}: {decibels(image):.1f} dB"
    for axes, part in zip(grid[:, column], (picture, picture[90:250, 180:380])):
        axes.imshow(part)
        axes.set_axis_off()
    grid[0, column].set_title(heading, fontsize=9)
plt.show()
assert decibels(restored) > decibels(seen) + 1

# %% [markdown]
# More steps sharpen, until the noise that they sharpen too outweighs it.

# %%
counts = [0, 2, 5, 10, 20, 30, 50, 80]
curve = [decibels(richardson_lucy(seen, blur, count)) for count in counts]
figure, axes = plt.subplots(figsize=(5, 2.6))
axes.plot(counts, curve, marker="o", markersize=4)
axes.set_xlabel("steps")
axes.set_ylabel("PSNR, dB")
axes.grid(alpha=0.3)
plt.show()


# %% [markdown]
# ## Time and memory
#
# The same five steps, medians of repeats. The compiled loop shares the three colours among as many threads as the table
# says; SciPy's functions run on one each, `ndimage` because it has no others, transforms unless `scipy.fft.set_workers`
# asks for more. Memory is the most that the process held above what it held before, as Linux
# counts it; 3.7 MB of it are the estimate itself. The compiled loop keeps two planes of 1.2 MB for each worker besides.


# %%
def held(call):
    """The most memory that a call held, in MB above what was held before; None where the system does not count it."""

    def count(name):
        with open("/proc/self/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith(name)).split()[1]) / 1e3

    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the largest so far is forgotten
        before = count("VmRSS")
        call()
        return max(count("VmHWM") - before, 0.0)
    except (OSError, AttributeError):
        return None


rows, times = [], {}
versions = {
    "njit, fastconv": (richardson_lucy, min(numba.get_num_threads(), len(seen))),
    "ndimage": (with_ndimage, 1),
    "fftconvolve": (with_fft, fft.get_workers()),
}
for name, (function, threads) in versions.items():

    def call(function=function):
        return function(seen, blur, 5)

    times[name] = measure(name, call, False, 0.5).median_ns / 1e6
    memory = held(call)
    rows.append([name, f"{threads}", f"{times[name]:.0f} ms", "not known" if memory is None else f"{memory:.1f} MB"])
print(table(["version", "threads", "5 steps", "held"], rows))

figure, axes = plt.subplots(figsize=(5, 1.8))
names = [f"{name}, {threads} thread{'s' * (threads > 1)}" for name, (_, threads) in versions.items()]
bars = axes.barh(names, list(times.values()), color=["tab:blue", "0.7", "0.7"])
axes.bar_label(bars, [f"{value:.0f} ms" for value in times.values()], padding=3)
axes.set_xlabel("5 steps of three colours, ms")
axes.set_xlim(0, max(times.values()) * 1.3)
axes.invert_yaxis()
plt.show()
