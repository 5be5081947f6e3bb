# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From reshapes to register tiles
#
# One convolution, computed in seven ways. The first is the algorithm that fastconv was written to answer: a chain of
# reshapes and copies. The last is what fastconv does, in fifty lines, and fastconv stands beside it. Each step in
# between removes a cost, or swaps it for another. All seven multiply as often as the formula does; the last part is
# about Winograd's and Fourier's ways to do with less.
#
# Every figure below was measured when this page was made, on the machine that the next cell names, on one thread.

# %%
import os
import re
import tracemalloc
from collections import Counter

for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"  # read once, when NumPy loads its BLAS

import matplotlib.pyplot as plt
import numba
import numpy as np
from fastconv.kernels.simd.tiles import CHANNEL_TILE
from fastconv.kernels.simd.vectors import VECTOR_BYTES, broadcast, load_vector, multiply_add, store_vector
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

import fastconv
from fastconv.cli.bench import SIZES, allocated, measure
from fastconv.cli.console import table
from fastconv.cli.reference_algorithm import convolve2d as convolve_by_reshapes

fastconv.set_num_threads(1)
fastconv.set_algorithm("direct")  # every multiplication of the formula, until the last part
plt.rcParams.update({"figure.dpi": 90, "figure.constrained_layout.use": True, "font.size": 9})
config = fastconv.show_config("dicts")
for name in ("python", "numpy", "numba", "cpu", "vector_bits"):
    print(f"{name:12s} {config[name]}")

# %% [markdown]
# ## The sum
#
# $$\mathrm{out}[n, o, i, j] = \sum_{c, p, q} x[n, c, i + p, j + q] \; w[o, c, p, q]$$
#
# Seven loops: four over the result, three over the terms of a sum. Each turn of the innermost is one multiply-add. The
# sizes are the largest in the log that this project answers: 8 channels of 32 x 32, and 16 kernels of 3 x 3. The log
# left them out as too slow.

# %%
x_shape, w_shape = SIZES["channels_32x32"]
rng = np.random.default_rng(0)
x = rng.standard_normal(x_shape, dtype=np.float32)
w = rng.standard_normal(w_shape, dtype=np.float32)
kernel = w.shape[2:]
out_shape = (len(x), len(w), *(i - k + 1 for i, k in zip(x.shape[2:], kernel)))
multiply_adds = int(np.prod(out_shape) * np.prod(w.shape[1:]))
print(f"x {x.shape}, w {w.shape} -> {out_shape}: {multiply_adds:,} multiply-adds")
print(f"x, w and the result together: {(x.size + w.size + int(np.prod(out_shape))) * x.itemsize:,} bytes")


# %% [markdown]
# ## 1. Reshapes and copies
#
# A library that has expand, reshape, permute, multiply and sum can write every convolution with them. Repeat the image
# until a reshape puts each window on an axis of its own; expand over the output channels; bring the summed axes to the
# end; multiply by the kernels; sum. Nothing in it is wrong, and each operation is fast by itself. But where strides
# cannot express the next shape, the data are copied, and the product holds *every term of every sum* as a number in
# memory. `fastconv/cli/reference_algorithm.py` has it in NumPy, copy for copy.


# %%
def reshapes(x, w):
    return convolve_by_reshapes(x, w[:, :, ::-1, ::-1])  # it flips the kernel, as a convolution does


peak = allocated(lambda: reshapes(x, w))
terms = multiply_adds * x.itemsize
print(f"all terms: {terms:,} bytes; the call's peak: {peak:,} bytes, {peak / terms:.1f} times that")
assert peak > 2 * terms  # the expanded windows and their products are held at the same time

# %% [markdown]
# ## 2. A view of the windows
#
# Strides can say "window" without a copy: moving a pixel to the right inside the window is the same step in memory as
# moving the window. `sliding_window_view` makes that view, and `einsum` sums over it. The copies are gone and most of
# the memory with them. The time is not: einsum's loops follow any strides, one element at a time.


# %%
def windows(x):
    return np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))  # (N, C, i, j, p, q)


def einsum(x, w):
    return np.einsum("ncijpq,ocpq->noij", windows(x), w)


assert np.shares_memory(windows(x), x)
print(f"the view has {windows(x).size:,} elements, in {x.size:,} that exist")

# %% [markdown]
# ## 3. im2col and a matrix product
#
# Copy the windows after all, once, as the columns of a matrix: then the sum is a matrix product, and BLAS libraries
# have tuned those for decades. It is what most libraries did for years. The price is that matrix: as many times the
# image as a kernel has taps, written and read back before the first result.


# %%
def im2col(x, w):
    n, channels, i, j, p, q = windows(x).shape
    columns = windows(x).transpose(0, 1, 4, 5, 2, 3).reshape(n, channels * p * q, i * j)
    return (w.reshape(len(w), -1) @ columns).reshape(n, len(w), i, j)


# %% [markdown]
# ## 4. The seven loops
#
# Compiled, the formula can be written as it stands. Nothing is built, and what would be the slowest way in Python is a
# fair one. But each sum is a chain: an addition waits for the one before it, and rounding does not allow a compiler to
# add in another order. So one lane of the vector unit works, and waits most of the time.


# %%
@numba.njit
def loop_nest(x, w, out):
    _, channels, rows, columns = w.shape
    for n, o, i, j in np.ndindex(out.shape):
        total = np.float32(0)
        for c in range(channels):
            for p in range(rows):
                for q in range(columns):
                    total += x[n, c, i + p, j + q] * w[o, c, p, q]
        out[n, o, i, j] = total


# %% [markdown]
# ## 5. Another order of the same loops
#
# Put the loop over the columns of the result innermost: its sums do not depend on each other, so that a vector holds
# several and one instruction adds a term to each. This is the only change, and no single sum is added in another order.
# What limits it now is traffic with the nearest cache: for each multiply-add the sum is loaded, and stored again.


# %%
@numba.njit
def columns_innermost(x, w, out):
    images, outputs, height, width = out.shape
    _, channels, rows, columns = w.shape
    out[:] = 0
    for n in range(images):
        for o in range(outputs):
            for i in range(height):
                for c in range(channels):
                    for p in range(rows):
                        for q in range(columns):
                            for j in range(width):
                                out[n, o, i, j] += x[n, c, i + p, j + q] * w[o, c, p, q]


# %% [markdown]
# ## 6. Sums that stay in registers for a while
#
# A register is the only memory that costs nothing. With the kernel's size known beforehand, the compiler unrolls the
# nine taps, and a vector of sums is loaded and stored once for nine multiply-adds. `contract` allows it to fuse a
# multiplication and an addition into one instruction, which rounds once instead of twice. Each element of the input is
# still loaded for each tap and for each output channel, and a row whose length is no multiple of a vector's ends in
# single elements.

# %%
ROWS, COLUMNS = kernel  # constants for the compiler


@numba.njit(fastmath={"contract"})
def nine_taps(x, w, out):
    images, outputs, height, width = out.shape
    channels = w.shape[1]
    out[:] = 0
    for n in range(images):
        for o in range(outputs):
            for i in range(height):
                for c in range(channels):
                    for j in range(width):
                        total = out[n, o, i, j]
                        for p in range(ROWS):
                            for q in range(COLUMNS):
                                total += x[n, c, i + p, j + q] * w[o, c, p, q]
                        out[n, o, i, j] = total


# %% [markdown]
# ## 7. The register tile
#
# A whole block of sums stays in registers from the first term to the last: a *register tile*, here of some positions by
# vectors of output channels. For each tap it loads one vector of kernels for all positions, and each input element for
# all output channels at once. As vectors lie along output channels, of which layers have round numbers, they are full,
# however long a row is; the last tile of a row overlaps the one before.
#
# Numba has no vectors, so three functions are written in LLVM's intermediate code, by llvmlite: sums of nothing, the
# sums after one more tap, and sums written to memory. `add_tap` is the whole of the arithmetic. Its loops run when it
# is compiled: what is left are loads, and a multiply-add for each vector of sums.

# %%
LANES, POSITIONS = VECTOR_BYTES // 4, CHANNEL_TILE[0]
VECTORS = -(-len(w) // LANES)
VECTOR, INDEX = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)


class Lanes(types.Type):
    """What Numba knows of a vector register: a name."""


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


SUMS = types.UniTuple(Lanes("lanes"), POSITIONS * VECTORS)


def place_of(context, builder, kind, array, index, more):
    """Where an element of an array without gaps lies, `more` after the one with this index."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [builder.add(index, INDEX(more))])


@intrinsic
def no_sums(typingctx):
    def emit(context, builder, signature, args):
        return context.make_tuple(builder, SUMS, [ir.Constant(VECTOR, None)] * SUMS.count)

    return SUMS(), emit


@intrinsic
def add_tap(typingctx, sums, x, start, w, tap):
    def emit(context, builder, signature, args):
        totals, x_at, w_at = cgutils.unpack_tuple(builder, args[0]), (x, *args[1:3]), (w, *args[3:])
        loads = (place_of(context, builder, *w_at, v * LANES) for v in range(VECTORS))
        kernels = [load_vector(builder, pointer, VECTOR) for pointer in loads]
        results = []
        for position in range(POSITIONS):
            inputs = broadcast(builder, builder.load(place_of(context, builder, *x_at, position)), VECTOR)
            for v in range(VECTORS):
                results.append(multiply_add(builder, types.float32, inputs, kernels[v], totals[len(results)]))
        return context.make_tuple(builder, SUMS, results)

    return SUMS(sums, x, types.intp, w, types.intp), emit


@intrinsic
def store_sums(typingctx, sums, block):
    def emit(context, builder, signature, args):
        for i, total in enumerate(cgutils.unpack_tuple(builder, args[0])):
            store_vector(builder, total, place_of(context, builder, block, args[1], INDEX(0), i * LANES))
        return context.get_dummy_value()

    return types.none(sums, block), emit


@numba.njit
def register_tile(x, w, out):
    images, outputs, height, width = out.shape
    _, channels, rows, columns = w.shape
    packed = np.zeros((channels, rows, columns, VECTORS * LANES), np.float32)  # taps, with their channels in a row
    packed[..., :outputs] = w.transpose(1, 2, 3, 0)
    block = np.empty((POSITIONS, VECTORS * LANES), np.float32)
    for n in range(images):
        for i in range(height):
            for first in range(0, width, POSITIONS):
                j = min(first, width - POSITIONS)
                sums, tap = no_sums(), 0
                for c in range(channels):
                    for p in range(rows):
                        start = ((n * channels + c) * x.shape[2] + i + p) * x.shape[3] + j
                        for q in range(columns):
                            sums = add_tap(sums, x, start + q, packed, tap)
                            tap += VECTORS * LANES
                store_sums(sums, block)
                for o in range(outputs):
                    for t in range(POSITIONS):
                        out[n, o, i, j + t] = block[t, o]


# %% [markdown]
# fastconv's kernels are made of such tiles: `kernels/simd/tiles.py` emits them for any type, and
# `kernels/convolution/dense.py` has the loops around them. They do what is left out here: arrays of any strides and
# shapes, results that are written in vectors, too, channels in pieces that stay in cache, padding, threads. Nothing is
# built: a call needs no memory but a bounded workspace, which is kept from call to call.

# %%
positions, most = CHANNEL_TILE
taps, needed = ROWS * COLUMNS, -(-len(w) * w.itemsize // VECTOR_BYTES)
print("loads and stores for one vector of multiply-adds:")
print(f"  5 columns innermost  {3:.2f}  an input, and the sum twice")
print(f"  6 nine taps          {(taps + 2) / taps:.2f}  an input, and the sum twice for all taps")
for vectors in sorted({min(needed, most), most}):
    loads, tile = positions + vectors, f"{positions} x {vectors} tile"
    print(f"  7 {tile:17s}  {loads / (positions * vectors):.2f}  {loads} for all sums of a tap")
width, lanes = out_shape[-1], VECTOR_BYTES // w.itemsize
left, extra = width % lanes, len(w) % lanes
print(f"left over by vectors of {lanes}: {left} of {width} columns, {extra} of {len(w)} output channels")

# %% [markdown]
# ## Do they agree?
#
# Seven orders of summation round in seven ways. Rounding of a sum of $n$ terms is at most about
# $n \, \varepsilon \sum |x| |w|$ whatever the order: so far may a result be from the one in float64, and no further.


# %%
def into_new(loops):
    """A call that makes the result and has compiled loops fill it."""

    def call(x, w):
        out = np.empty(out_shape, np.float32)
        loops(x, w, out)
        return out

    return call


steps = {
    "1 reshapes and copies": reshapes,
    "2 windows, einsum": einsum,
    "3 im2col, matmul": im2col,
    "4 seven loops": into_new(loop_nest),
    "5 columns innermost": into_new(columns_innermost),
    "6 nine taps": into_new(nine_taps),
    "7 register tile": into_new(register_tile),
    "fastconv": fastconv.correlate2d,
}
terms_of_a_sum = int(np.prod(w.shape[1:]))
exact = reshapes(x.astype(np.float64), w.astype(np.float64))
bound = terms_of_a_sum * np.finfo(np.float32).eps * reshapes(abs(x), abs(w))
for name, step in steps.items():
    result = step(x, w)
    assert result.shape == out_shape and result.dtype == np.float32
    error = float((abs(result - exact) / bound).max())
    assert error <= 1, name
    print(f"{name:22s} largest error: {error:.3f} of the bound")

# %% [markdown]
# ## Time and memory
#
# The time is the median of many calls, and the best of them. Where these lie far apart, something else had the machine
# meanwhile, or its memory. The memory is what one call takes at its peak, its result included, as tracemalloc sees it:
# all that NumPy, Numba and Python take. (BLAS keeps buffers of its own, which nothing here sees.) fastconv's workspace
# is kept from call to call: what it is shows as what a call leaves behind, beside its result, after a release. One
# block serves all calls of a family of kernels, whatever their sizes. It is asked for as a whole; pages of it that no
# call touches take no memory.

# %%
measured = {name: measure(name, lambda step=step: step(x, w), True, 1.0) for name, step in steps.items()}
result_bytes = int(np.prod(out_shape)) * x.itemsize
fastest = measured["fastconv"].min_ns
rows = [
    [
        name,
        f"{row.median_ns / 1e3:,.1f} us",
        f"{row.min_ns / 1e3:,.1f} us",
        f"{row.min_ns / fastest:,.1f} x",
        f"{2 * multiply_adds / row.min_ns:.2f}",
        f"{row.alloc_bytes:,} B",
        f"{row.alloc_bytes / result_bytes:,.2f} x",
    ]
    for name, row in measured.items()
]
print(table(["step", "median", "best", "vs best", "GFLOP/s", "memory", "vs result"], rows))


def kept(x_shape, w_shape):
    """Bytes that a call leaves behind for the next one."""
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    fastconv.correlate2d(x, w)  # what Python remembers of a first call is not meant
    fastconv.release_workspace()
    tracemalloc.start()
    result = fastconv.correlate2d(x, w)
    left = tracemalloc.get_traced_memory()[0] - result.nbytes
    tracemalloc.stop()
    return left


print("fastconv's workspace, kept from the first call on:")
larger = (1, 64, 56, 56), (64, 64, 3, 3)
workspaces = [kept(*shapes) for shapes in ((x_shape, w_shape), larger)]
for shapes, left in zip(((x_shape, w_shape), larger), workspaces):
    print(f"  {left:,} bytes for x {shapes[0]}, w {shapes[1]}")
assert measured["fastconv"].alloc_bytes < result_bytes + 4096  # the result, and Python's own small objects
assert max(workspaces) < 1 << 20 and max(workspaces) - min(workspaces) < 1024

# %% [markdown]
# What the compiler made of the three loop nests: arithmetic in single elements (`ss` on x86), in vectors (`ps`), fused
# (`fmadd`) or not. Each kind appears often, since loops are unrolled; the question is which kinds there are.

# %%
for loops in (loop_nest, columns_innermost, nine_taps):
    (code,) = loops.inspect_asm().values()
    found = Counter(re.findall(r"^\s+(vfn?madd\w+|v?mul[sp]s|v?add[sp]s|fmla|fmadd|fmul|fadd)\b", code, re.MULTILINE))
    print(f"{loops.__name__:18s}", ", ".join(f"{name} x {count}" for name, count in sorted(found.items())))

# %%
names = list(measured)[::-1]
microseconds = [measured[name].min_ns / 1e3 for name in names]
kilobytes = [measured[name].alloc_bytes / 1e3 for name in names]
colours = dict(zip(measured, plt.get_cmap("viridis")(np.linspace(0, 0.75, len(measured)))))

medians = [measured[name].median_ns / 1e3 for name in names]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
left.plot(medians, names, "|", color="black", markersize=14)
titles = "time, microseconds: the best, and the median (|)", "memory at its peak, kB"
for axes, values, ends, title in zip((left, right), (microseconds, kilobytes), (medians, kilobytes), titles):
    axes.barh(names, values, color=[colours[name] for name in names])
    for name, value, end in zip(names, values, ends):
        axes.annotate(f"{value:,.0f}", (end, name), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set(title=title, xlim=(0, max(ends) * 1.15))
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## The roofline
#
# A processor can do so many multiply-adds a second, and move so many bytes. A computation with few operations for each
# byte is held back by the second, one with many by the first. Both limits are measured here, as the best of many
# samples:
#
# - the flat roof: a large float32 matrix product, or the best layer below, whichever is faster;
# - two slopes: a copy between arrays that fit into the second-level cache, and one between arrays that fit into none.
#
# A point's height is its useful arithmetic (two operations for each multiply-add) over its best time. How far to the
# right it lies says how many operations it does for each byte. The bytes are those that it cannot avoid, input, kernels
# and result, and, once written and once read, what it takes at its peak beside the result. Memory that is freed and
# taken again within a call counts once, so that points 1 to 3 belong where they are or further to the left.


# %%
def best_seconds(call, seconds=0.5):
    return measure("", call, False, seconds).min_ns / 1e9


size = 512
a, b, c = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(3))
matmul_rate = 2 * size**3 / best_seconds(lambda: np.matmul(a, b, out=c), 1.0)


def copy_rate(count):
    """Bytes read and written in a second."""
    source, target = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    return 2 * count / best_seconds(lambda: np.copyto(target, source))


cache_rate, memory_rate = copy_rate(256 << 10), copy_rate(96 << 20)

layers = {  # name: x, w, options
    "3 x 3, 64 to 64 channels of 56 x 56": ((1, 64, 56, 56), (64, 64, 3, 3), {"padding_mode": 1}),
    "3 x 3, 128 to 128 of 28 x 28": ((1, 128, 28, 28), (128, 128, 3, 3), {"padding_mode": 1}),
    "1 x 1, 64 to 256 of 56 x 56": ((1, 64, 56, 56), (256, 64, 1, 1), {}),
    "3 x 3, 32 groups of 4 of 56 x 56": ((1, 128, 56, 56), (128, 4, 3, 3), {"padding_mode": 1, "groups": 32}),
    "3 x 3, depthwise, 144 of 56 x 56": ((1, 144, 56, 56), (144, 1, 3, 3), {"padding_mode": 1, "groups": 144}),
    "3 x 3, one image of 1080 x 1920": ((1, 1, 1080, 1920), (1, 1, 3, 3), {"padding_mode": 1}),
}
points = {}
for name, row in measured.items():
    moved = x.nbytes + w.nbytes + result_bytes + 2 * (row.alloc_bytes - result_bytes)
    points[name] = 2 * multiply_adds / moved, 2 * multiply_adds / row.min_ns * 1e9


def place(x_shape, w_shape, options):
    """Where a layer lies: operations for a byte, operations in a second."""
    x, w = (rng.standard_normal(shape, dtype=np.float32) for shape in (x_shape, w_shape))
    out = fastconv.correlate2d(x, w, **options)
    operations = 2 * out.size * int(np.prod(w_shape[1:]))
    seconds = best_seconds(lambda: fastconv.correlate2d(x, w, out=out, **options))
    return operations / (x.nbytes + w.nbytes + out.nbytes), operations / seconds


points |= {name: place(*layer) for name, layer in layers.items()}
roof = max(matmul_rate, *(rate for _, rate in points.values()))
print(f"matrix product   {matmul_rate / 1e9:6.1f} GFLOP/s")
print(f"roof             {roof / 1e9:6.1f} GFLOP/s")
print(f"copy in cache    {cache_rate / 1e9:6.1f} GB/s")
print(f"copy in memory   {memory_rate / 1e9:6.1f} GB/s")
print(
    table(
        ["", "operations for a byte", "GFLOP/s", "of the roof"],
        [[name, f"{i:.2f}", f"{rate / 1e9:.2f}", f"{rate / roof:.1%}"] for name, (i, rate) in points.items()],
    )
)

# %%
figure, axes = plt.subplots(figsize=(10, 5))
low, high = 0.05, 400
intensity = np.geomspace(low, high, 200)
for rate, name, style in ((cache_rate, "copy in cache", "--"), (memory_rate, "copy in memory", "-")):
    axes.plot(
        intensity, np.minimum(rate * intensity, roof) / 1e9, color="black", linestyle=style, linewidth=1.2, label=name
    )
for (name, (i, rate)), marker in zip(points.items(), ["o"] * len(steps) + list("sD^v<>")):
    colour = colours.get(name, "tab:red")
    axes.plot(i, rate / 1e9, marker, color=colour, markersize=8, markeredgecolor="black", linestyle="none", label=name)
    if name[0].isdigit() and name in steps:
        axes.annotate(name[0], (i, rate / 1e9), xytext=(-8, -3), textcoords="offset points", ha="right")
axes.text(low * 1.2, roof / 1e9, f"{roof / 1e9:.0f} GFLOP/s", va="center")
axes.set(
    xscale="log", yscale="log", xlim=(low, high), ylim=(min(rate for _, rate in points.values()) / 3e9, roof / 5e8),
    xlabel="operations for each byte", ylabel="GFLOP/s",
    title="The seven steps and fastconv (circles), and layers in fastconv (red), on one thread",
)  # fmt: skip
axes.grid(True, which="major", alpha=0.3)
axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
plt.show()

# %% [markdown]
# How to read it:
#
# - **1** lies far to the left: for each operation it moves several bytes, and no arithmetic, however fast, would bring
#   it above the slopes there.
# - **2** moves as little as 7, and lies at the bottom all the same: neither bytes nor multiply-adds hold it back, but
#   the instructions that find the next element.
# - **3** is a good matrix product behind a copy.
# - **4, 5 and 6** stand one above the other: they read and write the same arrays. The roofline sees memory, not
#   registers; what lifts them is that more lanes work, and that fewer loads and stores are done for each multiply-add.
# - **7** is on its way: it packs the kernels anew in each call, and writes its results element by element.
# - **fastconv** and its dense layers come near the flat roof. There another order of loops cannot help, only fewer
#   multiply-adds could.
# - **The depthwise layer and the single image** do few operations for each byte. They lie about where the slope for
#   memory meets the flat roof, above it if a cache holds their arrays: a faster multiply-add would change little for
#   them.

# %% [markdown]
# ## Fewer multiplications: Winograd
#
# Four neighbouring outputs of a row with 3 taps need 12 multiplications, and 6 inputs. But they hold no more than the
# product of two polynomials does, of degrees 3 and 2: a polynomial of degree 5, which its values at 6 points determine.
# At a point the value of a product is one multiplication. So: take inputs and taps to 6 points, multiply there, and
# take the products back (Toom and Cook did it for long numbers, Winograd for filters). For planes the same is done
# along rows and then along columns: 36 products for 16 outputs, 2.25 for each in place of 9.
#
# $$Y = A^T \left[ \sum_c \, (G \, w_c \, G^T) \odot (B \, x_c \, B^T) \right] A$$
#
# The three matrices follow from the points. "Infinity" is one, too: the value there is the leading coefficient.

# %%
# Outputs of a tile, and its points: plus and minus these, 0 and infinity.
PAIRS = {"2 x 2": [1], "4 x 4": [3 / 4, 3 / 2], "4 x 4, usual points": [1, 2], "6 x 6": [1, 2, 1 / 2]}


def matrices(points, outputs, taps=3):
    """A, B and G in float32, for these points and infinity: `len(points) + 1 = outputs + taps - 1`."""
    others = [np.delete(points, i) for i in range(len(points))]
    scales = [[np.prod(point - rest)] for point, rest in zip(points, others)]
    a = np.vander(points, outputs, increasing=True)  # values of a polynomial with so many coefficients
    g = np.vander(points, taps, increasing=True) / scales
    b = [[*np.poly(rest)[::-1], 0] for rest in others]  # Lagrange's polynomials, which are 0 at all other points
    a, g = (np.vstack([m, np.eye(m.shape[1])[-1]]) for m in (a, g))
    return tuple(np.array(m, np.float32) for m in (a, [*b, np.poly(points)[::-1]], g))


def points_of(pairs):
    return np.array([0.0, *(sign * point for point in pairs for sign in (1, -1))])


def winograd(x, w, pairs):
    """A correlation of one image with 3 x 3 kernels, whose result is made of whole tiles."""
    points = points_of(pairs)
    outputs, size = len(points) - 1, len(points) + 1
    a, b, g = matrices(points, outputs)
    tiles = np.lib.stride_tricks.sliding_window_view(x[0], (size, size), axis=(1, 2))[:, ::outputs, ::outputs]
    channels, rows, columns = tiles.shape[:3]
    inputs = (b @ tiles @ b.T).transpose(3, 4, 0, 1, 2).reshape(size, size, channels, -1)
    kernels = (g @ w @ g.T).transpose(2, 3, 0, 1)
    products = kernels @ inputs  # for each point a matrix product over the channels
    results = a.T @ products.reshape(size, size, len(w), rows, columns).transpose(2, 3, 4, 0, 1) @ a
    return results.transpose(0, 1, 3, 2, 4).reshape(1, len(w), rows * outputs, columns * outputs)


for name in ("2 x 2", "4 x 4"):
    points = points_of(PAIRS[name])
    print(f"tiles of {name} outputs, points {', '.join(f'{point:g}' for point in points)}, infinity")
    for letter, matrix in zip("ABG", matrices(points, len(points) - 1)):
        print(f"{letter} =", str(matrix.round(4) + 0).replace("\n", "\n    "))

# %% [markdown]
# The layer below has 64 channels of 50 x 50 and 64 kernels. Larger tiles take fewer products, and lose digits: at 2 the
# last coefficients weigh 4 and 8, and taps are divided by products of the points' distances, so that large terms cancel
# in the end. Points close to 1 and far from each other are best. 3/4 and 3/2 are such, and have few bits, so that A and
# B are exact; fastconv takes them.

# %%
layer_x = rng.standard_normal((1, 64, 50, 50), dtype=np.float32)
layer_w = rng.standard_normal((64, 64, 3, 3), dtype=np.float32)
exact = fastconv.correlate2d(layer_x, layer_w, dtype=np.float64)
magnitudes = fastconv.correlate2d(abs(layer_x), abs(layer_w), dtype=np.float64)
unit = np.finfo(np.float32).eps / 2


def worst(result, exact, magnitudes):
    """The largest error, in units of roundoff of the sum of the terms' magnitudes."""
    return (abs(result - exact) / magnitudes).max() / unit


results = {"direct": (9.0, fastconv.correlate2d(layer_x, layer_w))}
for name, pairs in PAIRS.items():
    outputs = len(points_of(pairs)) - 1
    results[f"tiles of {name}"] = (outputs + 2) ** 2 / outputs**2, winograd(layer_x, layer_w, pairs)
results["fastconv, winograd"] = 36 / 16, fastconv.correlate2d(layer_x, layer_w, algorithm="winograd")
errors = {name: worst(result, exact, magnitudes) for name, (_, result) in results.items()}
print(
    table(
        ["", "products for an output", "largest error, u |x| * |w|", "over direct's"],
        [[name, f"{results[name][0]:.2f}", f"{e:.3f}", f"{e / errors['direct']:.2f}"] for name, e in errors.items()],
    )
)
assert max(errors.values()) < 4 * 9 * 64  # what rounding may do to direct sums, four times

# %% [markdown]
# ## Fewer multiplications: Fourier
#
# Points on the unit circle are the best of all for digits, and a fast transform takes a tile there in $n \log n$ steps
# instead of $n^2$. Their price is that numbers are complex. But half of a real tile's spectrum tells the other half: a
# tile of 16 x 16 has 4 real numbers and 126 complex ones, of four products each. It gives 12 x 12 outputs of a 5 x 5
# kernel: 3.5 products for each in place of 25. The outputs beyond these, into which the tile's other end is wrapped,
# are dropped, so that tiles overlap by 4 inputs.


# %%
def fourier(x, w, size=16):
    """A correlation of one image, whose result is made of whole tiles."""
    step = size - w.shape[2] + 1
    tiles = np.lib.stride_tricks.sliding_window_view(x[0], (size, size), axis=(1, 2))[:, ::step, ::step]
    channels, rows, columns = tiles.shape[:3]
    inputs = np.fft.rfft2(tiles).transpose(3, 4, 0, 1, 2)
    kernels = np.fft.rfft2(w, (size, size)).conj().transpose(2, 3, 0, 1)  # conjugated: a correlation
    products = kernels @ inputs.reshape(*inputs.shape[:3], -1)  # for each frequency, over the channels
    spectra = products.reshape(*products.shape[:3], rows, columns).transpose(2, 3, 4, 0, 1)
    results = np.fft.irfft2(spectra, (size, size))[..., :step, :step]
    return results.transpose(0, 1, 3, 2, 4).reshape(1, len(w), rows * step, columns * step)


layer_x = rng.standard_normal((1, 64, 52, 52), dtype=np.float32)
layer_w = rng.standard_normal((64, 64, 5, 5), dtype=np.float32)
exact = fastconv.correlate2d(layer_x, layer_w, dtype=np.float64)
magnitudes = fastconv.correlate2d(abs(layer_x), abs(layer_w), dtype=np.float64)
results = {
    "direct": fastconv.correlate2d(layer_x, layer_w),
    "tiles of 16 x 16": fourier(layer_x, layer_w),
    "fastconv, fft": fastconv.correlate2d(layer_x, layer_w, algorithm="fft"),
}
for name, result in results.items():
    print(f"{name:18s} largest error: {worst(result, exact, magnitudes):.3f} u |x| * |w|")

# %% [markdown]
# A long signal is cut into blocks in the same way, which was called *overlap-save* when the blocks came from a tape.
# Here nothing is summed over channels, the transforms are all the work, and blocks are long: a million samples, 1024
# taps.

# %%
signal = rng.standard_normal(1 << 20, dtype=np.float32)
taps = rng.standard_normal(1024, dtype=np.float32)


def overlap_save(x, w, size=1 << 14):
    results = len(x) - len(w) + 1
    step = size - len(w) + 1
    blocks = np.lib.stride_tricks.sliding_window_view(np.pad(x, (0, -results % step)), size)[::step]
    spectra = np.fft.rfft(blocks) * np.fft.rfft(w, size).conj()
    return np.fft.irfft(spectra, size)[:, :step].ravel()[:results]


def filter_signal(algorithm):
    return lambda x, w: fastconv.correlate1d(x[None, None], w[None, None], algorithm=algorithm)[0, 0]


ways = {"direct": filter_signal("direct"), "overlap-save": overlap_save, "fastconv, fft": filter_signal("fft")}
for name, way in ways.items():
    milliseconds = 1e3 * best_seconds(lambda way=way: way(signal, taps), 0.2)
    print(f"{name:18s} {milliseconds:8.2f} ms")

# %% [markdown]
# Both transforms pay where kernels are large, and Winograd's where they are 3 x 3 (left). But their errors are those of
# a tile or block as a whole. Where a few large numbers lie beside small ones, direct sums of the small ones know
# nothing of the large; a transform drowns them (right: a signal whose third quarter is a million times louder). That is
# why `"auto"`, which fastconv's functions do by default, looks at each block that it transforms. What could err by more
# than four times the bound of direct sums, $(n + 2) \, u \, |x| * |w|$ at every output, it sums directly.

# %%
fastconv.set_algorithm("auto")
loud = signal[: 1 << 16].copy()
loud[len(loud) // 2 : len(loud) * 3 // 4] *= 1e6
exact = filter_signal("direct")(loud.astype(np.float64), taps.astype(np.float64))
magnitudes = filter_signal("direct")(abs(loud).astype(np.float64), abs(taps).astype(np.float64))
ways |= {"fastconv, auto": filter_signal("auto")}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
sizes = np.arange(2, 15)
left.plot(sizes, sizes**2, "o-", color="tab:red", label="direct")
for size, marker in ((16, "s-"), (32, "D-")):
    products = 2 * size**2 - 4  # four reals, and four products for each complex number
    left.plot(sizes, products / (size - sizes + 1) ** 2, marker, label=f"Fourier, tiles of {size} x {size}")
for name, marker in (("2 x 2", "v"), ("4 x 4", "^"), ("6 x 6", ">")):
    outputs = len(points_of(PAIRS[name])) - 1
    left.plot(3, (outputs + 2) ** 2 / outputs**2, marker, color="black", label=f"Winograd, {name} outputs")
left.set(yscale="log", ylim=(1, 4000), xlabel="taps along each axis", title="products for an output and a channel")
left.legend(frameon=False, loc="upper left")
for name, colour in zip(ways, ("tab:red", "tab:grey", "tab:orange", "tab:blue")):
    error = abs(ways[name](loud, taps) - exact) / ((len(taps) + 2) * unit * magnitudes)
    largest = error[: len(error) // 256 * 256].reshape(-1, 256).max(1)
    right.plot(np.arange(len(largest)) * 256, largest, color=colour, label=name)
right.axhline(4, color="black", linestyle="--", linewidth=1)
right.set(yscale="log", xlabel="sample", title="largest error over the bound of direct sums")
right.legend(frameon=False)
plt.show()

assert (abs(filter_signal("auto")(loud, taps) - exact) <= 4 * (len(taps) + 2) * unit * magnitudes).all()

# %% [markdown]
# ## The roofline, once more
#
# The same roof, the same two slopes. Heights are now those of the *formula's* operations: what a direct sum would have
# had to do in that time. Direct sums (filled) stay below the roof. Transforms (hollow, a line leads from the direct
# sums of the same layer) may be above it, by as much as they leave out, less what the transforms take.

# %%
layers = {  # name: x, w, options, algorithms
    "3 x 3, 64 to 64 channels of 56 x 56": (*layers["3 x 3, 64 to 64 channels of 56 x 56"], ("winograd", "fft")),
    "5 x 5, 64 to 64 of 36 x 36": ((1, 64, 36, 36), (64, 64, 5, 5), {"padding_mode": 2}, ("fft",)),
    "3 x 3, depthwise, 144 of 56 x 56": (*layers["3 x 3, depthwise, 144 of 56 x 56"], ()),
    "31 x 31, one image of 384 x 384": ((1, 1, 384, 384), (1, 1, 31, 31), {"padding_mode": 15}, ("fft",)),
}
points = {
    (name, algorithm): place(x_shape, w_shape, {**options, "algorithm": algorithm})
    for name, (x_shape, w_shape, options, transforms) in layers.items()
    for algorithm in ("direct", *transforms)
}
roof = max(roof, *(points[name, "direct"][1] for name in layers))
rows = [
    [
        name,
        algorithm,
        f"{i:.2f}",
        f"{rate / 1e9:.1f}",
        f"{rate / roof:.2f}",
        f"{rate / points[name, 'direct'][1]:.2f} x",
    ]
    for (name, algorithm), (i, rate) in points.items()
]
print(table(["", "algorithm", "operations for a byte", "GFLOP/s", "of the roof", "over direct"], rows))

# %%
figure, axes = plt.subplots(figsize=(10, 4.5))
intensity = np.geomspace(0.5, 2000, 200)
for rate, name, style in ((cache_rate, "copy in cache", "--"), (memory_rate, "copy in memory", "-")):
    axes.plot(
        intensity, np.minimum(rate * intensity, roof) / 1e9, color="black", linestyle=style, linewidth=1.2, label=name
    )
for name, colour in zip(layers, ("tab:red", "tab:orange", "tab:green", "tab:blue")):
    i, rate = points[name, "direct"]
    axes.plot(i, rate / 1e9, "o", color=colour, markersize=8, markeredgecolor="black", linestyle="none", label=name)
    for algorithm in layers[name][3]:
        _, faster = points[name, algorithm]
        axes.plot([i, i], [rate / 1e9, faster / 1e9], "-", color=colour, linewidth=1)
        axes.plot(
            i,
            faster / 1e9,
            "^" if algorithm == "winograd" else "s",
            color="white",
            markeredgecolor=colour,
            markersize=8,
        )
        axes.annotate(algorithm, (i, faster / 1e9), xytext=(-8, -3), textcoords="offset points", ha="right")
axes.text(0.6, 1.05 * roof / 1e9, f"{roof / 1e9:.0f} GFLOP/s")
axes.set(
    xscale="log", yscale="log", xlabel="operations of the formula for each byte", ylabel="GFLOP/s of the formula",
    title="What lies above the roof are multiplications that were not made",
)  # fmt: skip
axes.grid(True, which="major", alpha=0.3)
axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
plt.show()

# %% [markdown]
# How to read it:
#
# - **The 3 x 3 layer** does 2.25 products for an output and channel in place of 9 with Winograd. It does not rise four
#   times: its transforms are additions, and numbers that are written and read again.
# - **The 5 x 5 layer** rises higher with Fourier's tiles than the 3 x 3 layer, to which they give little room to save.
# - **The large kernel** rises most: 961 multiplications for each pixel, of which a transform's steps replace nearly
#   all.
# - **The depthwise layer** has no hollow mark. It sums over no channels, so that the transforms of a tile serve one
#   product only, and memory holds it back anyway.
#
# Which of them a call takes, and what each is predicted to take, `explain` tells:

# %%
shapes = layers["3 x 3, 64 to 64 channels of 56 x 56"][:2]
print(fastconv.explain(*(np.zeros(shape, np.float32) for shape in shapes), padding=1))
