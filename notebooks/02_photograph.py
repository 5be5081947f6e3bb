# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A photograph
#
# Edges, blurs and a bank of Gabor filters on the portrait of Grace Hopper that matplotlib ships. Then what lies beyond
# the border of an image, results written where you want them, and views read where they lie.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.ticker import LogLocator, NullFormatter

import fastconv
from fastconv.cli.bench import allocated, measure
from fastconv.cli.console import table
from fastconv.cli.demo import load

plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "font.size": 9, "image.cmap": "gray"})

photograph = load()  # (1, 3, H, W): a batch of one, channels first
grey = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), photograph[0], 1)[np.newaxis, np.newaxis]
height, width = grey.shape[2:]
print(f"photograph {photograph.shape}, grey {grey.shape}, {grey.dtype}, from {grey.min():.2f} to {grey.max():.2f}")


def show(planes, columns, size=2.4, **options):
    """Pictures side by side: title to plane (H, W) or (H, W, 3)."""
    rows = -(-len(planes) // columns)
    aspect = max(plane.shape[0] / plane.shape[1] for plane in planes.values())
    figsize = size * columns, (size * aspect + 0.25) * rows
    figure, grid = plt.subplots(rows, columns, figsize=figsize, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, plane) in zip(grid.flat, planes.items()):
        axes.imshow(plane, **options)
        axes.set_title(title, fontsize=9)
    plt.show()


def pixels(image):
    """(1, 3, H, W) as matplotlib wants it."""
    return image[0].transpose(1, 2, 0).clip(0, 1)


# %% [markdown]
# ## Edges
#
# Sobel's two kernels measure how fast the brightness changes to the right and downwards. They are two output channels
# of one call, which reads the photograph once. Reflection at the border keeps it from being an edge.

# %%
sobel = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32)
w = np.stack([sobel, sobel.T])[:, np.newaxis]  # (O, C/g, K, K)
same = {"padding_mode": "same", "boundary": "reflect"}
right, down = fastconv.correlate2d(grey, w, **same)[0]
strength = np.hypot(right, down)

assert right.shape == (height, width)
inside = grey[0, 0]
by_hand = sum(sobel[p, q] * inside[p : height - 2 + p, q : width - 2 + q] for p in range(3) for q in range(3))
assert np.allclose(right[1:-1, 1:-1], by_hand, rtol=0, atol=9 * 8 * np.finfo(np.float32).eps)  # 9 terms, weights of 8

limit = np.quantile(strength, 0.99)
show(
    {
        "grey": grey[0, 0],
        "to the right": right / (2 * limit) + 0.5,
        "downwards": down / (2 * limit) + 0.5,
        "strength": strength / limit,
    },
    columns=4,
    vmin=0,
    vmax=1,
)

# %% [markdown]
# ## Blur: a square, or two lines
#
# A Gaussian is separable: the square kernel is the outer product of a line with itself. Two passes with lines of $k$
# taps give the same as one with $k^2$, by the law of association, and do $2k$ multiply-adds for each pixel instead of
# $k^2$. They read and write the image twice, so that the smallest kernels need not gain. `groups=3` blurs each colour
# by itself.


# %%
def gaussian(size, sigma):
    offsets = np.arange(size) - size // 2
    line = np.exp(-0.5 * (offsets / sigma) ** 2)
    return (line / line.sum()).astype(np.float32)


def blur_square(image, line):
    w = np.broadcast_to(np.outer(line, line), (3, 1, line.size, line.size))
    return fastconv.correlate2d(image, w, groups=3, **same)


def blur_lines(image, line):
    column = np.broadcast_to(line[:, np.newaxis], (3, 1, line.size, 1))
    row = np.broadcast_to(line, (3, 1, 1, line.size))
    return fastconv.correlate2d(fastconv.correlate2d(image, column, groups=3, **same), row, groups=3, **same)


line = gaussian(25, 4)
square, lines = blur_square(photograph, line), blur_lines(photograph, line)
difference = float(abs(square - lines).max())
bound = 2 * (line.size**2 + 2 * line.size) * np.finfo(np.float32).eps  # terms of sums of positive numbers up to 1
print(f"largest difference between the two: {difference:.1e}; rounding allows {bound:.1e}")
assert difference <= bound
blurs = {"photograph": photograph, "one square of 25 x 25": square, "25 x 1, then 1 x 25": lines}
show({title: pixels(image) for title, image in blurs.items()}, columns=3)

# %%
fastconv.set_num_threads(1)
sizes = [3, 5, 9, 13, 19, 25, 35]


def milliseconds(blur, size):
    line = gaussian(size, size / 6)
    return measure("", lambda: blur(photograph, line), False, 0.5).min_ns / 1e6


one_square = [milliseconds(blur_square, size) for size in sizes]
two_lines = [milliseconds(blur_lines, size) for size in sizes]

figure, axes = plt.subplots(figsize=(6.5, 3.4))
axes.plot(sizes, one_square, "o-", label="one square of k x k")
axes.plot(sizes, two_lines, "s-", label="k x 1, then 1 x k")
axes.set(
    xlabel="k", ylabel="milliseconds, best of many", yscale="log", xticks=sizes,
    title=f"Blur of {width} x {height} in three colours, one thread",
)  # fmt: skip
axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
axes.yaxis.set_major_formatter("{x:g}")
axes.yaxis.set_minor_formatter(NullFormatter())
axes.grid(alpha=0.3)
axes.legend(frameon=False)
plt.show()
rows = [[str(k), f"{a:.2f} ms", f"{b:.2f} ms"] for k, a, b in zip(sizes, one_square, two_lines)]
print(table(["k", "one square", "two lines"], rows))

# %% [markdown]
# ## A Gabor bank
#
# A Gabor filter is a wave under a Gaussian: it answers to stripes of one direction and one width. Eight directions,
# three wavelengths, and of each a cosine and a sine make 48 output channels of one call. The root of the squares of
# both answers is the energy of such stripes, wherever in their period they are.

# %%
angles, wavelengths, size = np.arange(8) * np.pi / 8, (4, 8, 16), 31
offsets = np.arange(size) - size // 2


def gabor(wavelength, angle):
    """A cosine and a sine under one envelope, without a mean, their weights 1 in absolute value together."""
    along = offsets * np.cos(angle) + offsets[:, np.newaxis] * np.sin(angle)
    envelope = np.exp(-0.5 * (offsets**2 + offsets[:, np.newaxis] ** 2) / (0.45 * wavelength) ** 2)
    wave = np.exp(2j * np.pi * along / wavelength)
    wave = envelope * (wave - (envelope * wave).sum() / envelope.sum())
    wave /= abs(wave).sum()
    return wave.real, wave.imag


bank = np.array([gabor(wavelength, angle) for wavelength in wavelengths for angle in angles])  # (24, 2, 31, 31)
w = bank.reshape(-1, 1, size, size).astype(np.float32)
answers = fastconv.correlate2d(grey, w, **same)
energy = np.hypot(answers[0, ::2], answers[0, 1::2]).reshape(len(wavelengths), len(angles), height, width)
print(f"one call: {grey.shape} and {w.shape} -> {answers.shape}")
flat = fastconv.correlate2d(np.ones_like(grey), w, **same)
assert abs(flat).max() <= size**2 * np.finfo(np.float32).eps  # nothing answers to a plain surface

figure, grid = plt.subplots(len(wavelengths), len(angles), figsize=(10, 5.1))
for k, wavelength in enumerate(wavelengths):
    limit = np.quantile(energy[k], 0.995)
    for a, angle in enumerate(angles):
        axes = grid[k, a]
        axes.imshow(energy[k, a], vmin=0, vmax=limit)
        axes.set_title(f"{np.degrees(angle):.1f}°, {wavelength} px", fontsize=8)
        axes.set_axis_off()
        inset = axes.inset_axes([0, 0, 0.32, 0.32 * width / height])
        inset.imshow(bank[k * len(angles) + a, 0])  # the cosine
        inset.set_axis_off()
plt.show()

# %% [markdown]
# The direction of each pixel's strongest stripes as a hue, their energy as brightness. The disc is the key: a line has
# the colour of the radius that runs as it does.


# %%
def coloured(nearest, brightness):
    return hsv_to_rgb(np.stack([nearest / len(angles), np.full_like(brightness, 0.85), brightness], axis=-1))


directions = {}
for wavelength, planes in zip(wavelengths, energy):
    strongest = planes.max(axis=0)
    brightness = np.clip(strongest / np.quantile(strongest, 0.98), 0, 1)
    directions[f"{wavelength} px"] = coloured(planes.argmax(axis=0), brightness)
y, x = np.mgrid[-1 : 1 : height * 1j, -width / height : width / height : width * 1j]
across = np.arctan2(y, x) + np.pi / 2  # waves run across their stripes
nearest = np.round(across / (np.pi / len(angles))) % len(angles)
directions["key"] = coloured(nearest, (np.hypot(x, y) < 0.7).astype(float))
show(directions, columns=4)

# %% [markdown]
# ## Beyond the border
#
# A window at the border needs pixels that do not exist. `boundary=` says which to take instead, by the names of
# `np.pad`. A kernel of one tap with the weight 1 copies what windows meet, first on four numbers and three more on
# either side. (`reflect` and `symmetric` differ by whether the last one is met twice, which no eye sees in a
# photograph.)

# %%
modes = ("constant", "edge", "reflect", "symmetric", "wrap")
numbers, one = np.array([[[1, 2, 3, 4]]], np.float32), np.ones((1, 1, 1), np.float32)
for mode in modes:
    met = fastconv.correlate1d(numbers, one, padding_mode=3, boundary=mode)
    before, real, after = (" ".join(f"{number:g}" for number in part) for part in np.split(met[0, 0], [3, 7]))
    print(f"{mode:9s}  {before} | {real} | {after}")

# %% [markdown]
# Then on the photograph, 120 pixels far, and below in its upper right corner once it is blurred: zeros darken the
# border, and `wrap` lets the flag and the uniform of the other sides through. For a plain background as here, the other
# three do as well as each other.

# %%
pad, corner = 120, 110
line = gaussian(61, 12)
square = np.outer(line, line)[np.newaxis, np.newaxis]
pictures = {}
for mode in modes:
    met = fastconv.correlate2d(grey, one[np.newaxis], padding_mode=pad, boundary=mode)
    assert np.array_equal(met, np.pad(grey, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode=mode))
    pictures[mode] = met[0, 0]
show(pictures, columns=5, size=2.1, vmin=0, vmax=1)
corners = {}
for mode in modes:
    blurred = fastconv.correlate2d(grey, square, padding_mode="same", boundary=mode)
    corners[f"{mode}, corner blurred"] = blurred[0, 0, :corner, -corner:]
show(corners, columns=5, size=2.1, vmin=0, vmax=1)

# %% [markdown]
# ## Results where you want them
#
# `out=` takes an array of the result's shape and type, with any strides, and the call makes none. Here the target is
# the right half of a wider canvas: the blurred photograph is written beside the sharp one.

# %%
canvas = np.zeros((1, 3, height, 2 * width), np.float32)
canvas[..., :width] = photograph
target = canvas[..., width:]
w = np.broadcast_to(square, (3, 1, *square.shape[2:]))
returned = fastconv.correlate2d(photograph, w, groups=3, out=target, **same)
assert returned is target
assert np.array_equal(target, fastconv.correlate2d(photograph, w, groups=3, **same))
assert np.array_equal(canvas[..., :width], photograph)

new = allocated(lambda: fastconv.correlate2d(photograph, w, groups=3, **same))
into = allocated(lambda: fastconv.correlate2d(photograph, w, groups=3, out=target, **same))
print(f"the result              {target.nbytes:>9,} bytes")
print(f"a call without out=     {new:>9,} bytes at its peak")
print(f"a call with out=        {into:>9,} bytes: Python's own small objects, no array")
assert new >= target.nbytes
assert into < 4096
show({"one canvas: the photograph, and what a call wrote beside it": pixels(canvas)}, columns=1, size=5)

# %% [markdown]
# ## Views, read where they lie
#
# A slice or a transposition of an array is a view: other strides, the same memory. fastconv follows the strides, so no
# view needs to be copied first, and the result is that of the copy to the last bit.

# %%
channels_last = np.ascontiguousarray(photograph[0].transpose(1, 2, 0))  # (H, W, 3), as image files are read
views = {
    "cropped": photograph[..., 40:360, 130:400],
    "upside down": photograph[..., ::-1, :],
    "mirrored": photograph[..., ::-1],
    "every second pixel": photograph[..., ::2, ::2],
    "channels last": channels_last.transpose(2, 0, 1)[np.newaxis],
    "transposed": photograph.transpose(0, 1, 3, 2),
}
relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
w = np.broadcast_to(relief, (3, 1, 3, 3))  # a view as well: one kernel, three times
rows, results = [], {}
for name, view in views.items():
    assert not view.flags.c_contiguous
    out = np.empty(view.shape, np.float32)
    peak = allocated(lambda view=view, out=out: fastconv.correlate2d(view, w, groups=3, out=out, **same))
    assert peak < 4096
    copy = np.ascontiguousarray(view)
    assert np.array_equal(out, fastconv.correlate2d(copy, w, groups=3, **same))
    rows.append([name, str(view.shape), str(view.strides), f"{copy.nbytes:,} B", f"{peak:,} B"])
    results[name] = pixels(out)
print(table(["view", "shape", "strides in bytes", "a copy would take", "the call takes"], rows))
show(results, columns=6, size=1.75)
