"""Arrays whose neighbours in memory are pages that may not be touched. Run as ``python guarded.py CASE``.

A read or write past either end of such an array, and a write to a read-only one, ends the process: test_memory.py runs
every case in a process of its own and reports the last line that it printed.
"""

import ctypes
import faulthandler
import functools
import itertools
import mmap
import sys
import weakref

import numpy as np
import oracle
from cases import ALGORITHMS, LAYOUTS, check_convolution, check_windows, rng, values

import fastconv

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
NONE, READ, READ_WRITE = 0, mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

numpy_empty, numpy_zeros, numpy_full = np.empty, np.zeros, np.full


def _protect(address, size, rights):
    if _libc.mprotect(address, size, rights):
        raise OSError(ctypes.get_errno(), "mprotect")


class Block:
    """``size`` bytes between two pages without any rights, next to the one after (``end``) or the one before."""

    def __init__(self, size, end):
        self.pages = max(-(-size // PAGE), 1) * PAGE
        start = _libc.mmap(None, self.pages + 2 * PAGE, NONE, PRIVATE, -1, 0)
        if start in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "mmap")
        self.start = start + PAGE
        self.address = self.start + (self.pages - size if end else 0)
        _protect(self.start, self.pages, READ_WRITE)
        self.bytes = (ctypes.c_ubyte * size).from_address(self.address)
        # Every view holds ``bytes``. At exit arrays may outlive it, and the process ends anyway.
        weakref.finalize(self.bytes, _libc.munmap, start, self.pages + 2 * PAGE).atexit = False
        ctypes.memset(self.start, 0xFF, self.pages)  # NaN in every float type

    def seal(self):
        _protect(self.start, self.pages, READ)


def guarded(a, *, end, read_only=False):
    """The values of ``a``, in its strides, in a block that its first and last byte fill exactly."""
    low, high = np.lib.array_utils.byte_bounds(a) if a.size else (a.ctypes.data, a.ctypes.data)
    block = Block(high - low, end)
    view = np.ndarray(a.shape, a.dtype, block.bytes, a.ctypes.data - low, a.strides)
    view[...] = a
    if read_only:
        block.seal()
    return view


class Allocations:
    """While this is entered, ``np.empty`` and its kin give guarded arrays: results and NumPy-side workspaces."""

    current = None

    def __init__(self, end):
        self.end, self.ranges = end, []

    def __enter__(self):
        Allocations.current = self if self.end is not None else None

    def __exit__(self, *_):
        Allocations.current = None

    def empty(self, plain):
        block = Block(plain.nbytes, self.end)
        self.ranges.append((block.address, block.address + plain.nbytes))
        return np.ndarray(plain.shape, plain.dtype, block.bytes, 0, plain.strides)

    def hold(self, a):
        return a.size == 0 or any(low <= a.ctypes.data < high for low, high in self.ranges)


def _guarding(allocate):
    """Stands for ``allocate`` for good, since modules may keep a reference to it."""

    def function(*args, **kwargs):
        plain = allocate(*args, **kwargs)
        if Allocations.current is None or plain.dtype.hasobject:
            return plain
        guarded_array = Allocations.current.empty(plain)
        if allocate is not numpy_empty:
            guarded_array[...] = plain
        return guarded_array

    return function


# Before the package's own modules are imported, which it does at the first use.
np.empty, np.zeros, np.full = map(_guarding, (numpy_empty, numpy_zeros, numpy_full))

from fastconv import functional, grad, ndimage  # noqa: E402

# What lies at the outer ends of memory differs: the first and the last element, rows of a step, reversed axes.
VIEWS = {
    **{name: LAYOUTS[name] for name in ("contiguous", "fortran", "channels_last", "reversed")},
    "stepped": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed_rows": lambda a: np.repeat(a, 3, axis=-1)[..., ::-3],
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
}
DTYPES = ["f4", "f2", "c8", "u1"]
MORE = ["f8", "i1", "i2", "i8", "?"]


def placements(dtypes, views=VIEWS):
    for dtype, (name, view), end in itertools.product(dtypes, views.items(), (False, True)):
        print(f"{dtype} {name}, {'end' if end else 'start'} of the block", flush=True)
        yield dtype, view, end


CONVOLUTIONS = [
    ((2, 4, 17), (6, 2, 3), {"groups": 2}),
    ((1, 2, 35), (3, 2, 4), {"padding_mode": "same", "boundary": "wrap"}),
    ((1, 3, 7, 18), (4, 3, 3, 2), {}),
    ((2, 4, 6, 9), (4, 1, 3, 3), {"groups": 4, "padding_mode": 1, "stride": 2}),
    ((1, 2, 9, 8), (2, 2, 2, 3), {"dilation": (3, 2), "padding_mode": ((1, 0), (0, 4)), "boundary": "reflect"}),
    ((1, 2, 2, 3), (2, 2, 3, 3), {"padding_mode": 6, "boundary": "symmetric", "stride": (2, 3)}),
    ((1, 2, 4, 5, 6), (2, 2, 2, 3, 2), {"padding_mode": "full", "stride": (1, 2, 1)}),
    ((1, 1, 3, 2, 4, 3), (2, 1, 2, 1, 2, 2), {}),
    ((1, 1, 1), (1, 1, 1), {}),
    ((2, 2, 5), (3, 2, 2), {"stride": 9}),
    ((2, 3, 17), (16, 3, 3), {"padding_mode": 2, "stride": 2}),
    ((2, 2, 6, 16), (34, 1, 3, 3), {"groups": 2, "padding_mode": 1, "fillvalue": 1}),
    ((1, 2, 3, 5, 4), (33, 2, 2, 3, 2), {"padding_mode": "same", "boundary": "wrap"}),
    ((1, 10, 3, 17), (8, 5, 2, 2), {"groups": 2, "padding_mode": 1}),
    ((1, 6, 2, 18), (17, 6, 1, 3), {"boundary": "edge", "padding_mode": 1}),
]


def convolution(algorithm, dtypes=DTYPES):
    for dtype, view, end in placements(dtypes):
        for (x_shape, w_shape, options), operation in zip(CONVOLUTIONS, itertools.cycle(["correlate", "convolve"])):
            x = guarded(view(values(x_shape, dtype)), end=end, read_only=True)
            w = guarded(view(values(w_shape, dtype, 1)), end=end, read_only=True)
            bias = guarded(values(w_shape[0], dtype, 2), end=end, read_only=True)
            check_convolution(operation, x, w, algorithm=algorithm, **options)
            allocations = Allocations(end)
            with allocations:
                got = getattr(fastconv, f"{operation}_nd")(x, w, bias=bias, algorithm=algorithm, **options)
            assert allocations.hold(got), "the result was not made by np.empty, np.zeros or np.full"
            oracle.check(got, getattr(oracle, operation)(x, w, bias=bias, **options))


TILED = [
    ((2, 24, 28, 29), (20, 24, 5, 5), {"padding_mode": 2}),
    ((1, 24, 28, 28), (17, 24, 5, 5), {}),
    ((1, 4, 30, 31), (6, 2, 3, 9), {"groups": 2, "padding_mode": 1, "boundary": "wrap"}),
    ((1, 3, 4, 19, 17), (4, 3, 2, 5, 4), {"padding_mode": "same"}),
    ((1, 24, 800), (32, 24, 25), {}),
    ((2, 3, 301), (4, 3, 40), {"padding_mode": "same", "boundary": "edge"}),
]

# Sizes at which a slab, the table of taps or the sums are cut into blocks.
BLOCKED = [
    ((1, 1, 700), (1, 1, 500), {"padding_mode": "same", "boundary": "reflect"}),
    ((1, 2, 9000), (2, 2, 5000), {"stride": 700}),
    ((1, 3, 40, 1200), (3, 3, 5, 2), {"dilation": (7, 1)}),
    ((1, 70, 9, 12), (5, 70, 8, 9), {}),
    ((1, 2, 90, 95), (2, 2, 3, 3), {"dilation": 40, "stride": (3, 2), "padding_mode": ((0, 2), (4, 0))}),
    ((1, 300, 5, 6), (40, 300, 3, 3), {"padding_mode": 1}),
    ((1, 2, 20, 21, 22), (2, 2, 17, 16, 18), {}),
    ((1, 300, 5, 6), (40, 300, 3, 3), {"padding_mode": 1, "boundary": "edge"}),
    ((40, 2, 7, 8), (32, 2, 3, 3), {"padding_mode": 1}),
    ((1, 2, 2, 1600), (17, 2, 1, 3), {"padding_mode": 1, "boundary": "reflect"}),
    ((1, 9, 32, 64), (16, 9, 3, 3), {"padding_mode": 1}),
    ((1, 1, 300, 1100), (2, 1, 2, 2), {"stride": 5, "boundary": "wrap", "padding_mode": 3}),
    ((2, 1030, 3, 7), (1030, 1, 3, 3), {"groups": 1030, "padding_mode": 1}),
    ((2, 1030, 5, 7), (1030, 1, 3, 3), {"groups": 1030, "padding_mode": 1, "stride": 2}),
    ((2, 4, 3, 9, 17), (4, 1, 3, 3, 3), {"groups": 4, "padding_mode": 1}),
    ((2, 18, 40, 70), (18, 1, 3, 5), {"groups": 18, "stride": 3, "padding_mode": 2}),  # vectors of groups
    ((1, 34, 9, 9), (51, 2, 3, 2), {"groups": 17, "boundary": "reflect", "padding_mode": 1}),
    ((1, 16, 5000), (32, 1, 9), {"groups": 16, "stride": 2, "dilation": 3}),
    ((1, 33, 5, 6, 4), (33, 1, 2, 3, 1), {"groups": 33, "stride": 2, "padding_mode": 1}),
]


def arrays_of(dtype):
    """The dtypes of the input and of the other arrays: "u1-f4" is an input of bytes that is read as float32."""
    given, _, other = dtype.partition("-")
    return given, other or given


def blocks(dtype):
    """The kept workspace is given up, so that each call takes one between guards."""
    given, dtype = arrays_of(dtype)
    for (x_shape, w_shape, options), end in itertools.product(BLOCKED, (False, True)):
        print(f"{dtype} {x_shape} {w_shape}, {'end' if end else 'start'} of the block", flush=True)
        x = guarded(values(x_shape, given), end=end, read_only=True)
        w = guarded(values(w_shape, dtype, 1), end=end, read_only=True)
        fastconv.release_workspace()
        with Allocations(end):
            check_convolution("correlate", x, w, algorithm="direct", **options)
        fastconv.release_workspace()


# One output of a group: rows are read in place, and what lies past their ends is known only to masks.
DEPTHWISE = [
    ((3, 3), {"padding_mode": 1}),
    ((3, 3), {"padding_mode": ((0, 1), (1, 0)), "stride": 2, "fillvalue": 2}),
    ((3, 3), {"stride": 2}),
    ((5, 5), {"padding_mode": ((2, 1), (1, 2)), "stride": 2}),
    ((2, 5), {"padding_mode": ((2, 0), (0, 7)), "fillvalue": -1, "activation": "relu6"}),
    ((9, 2), {"padding_mode": 8, "activation": "relu"}),
    ((5, 4), {"dilation": (2, 3), "padding_mode": 6, "stride": (3, 1)}),
    ((3, 3), {"padding_mode": ((1, 2), (2, 3)), "boundary": "reflect", "stride": (1, 2)}),
    ((4, 3), {"padding_mode": ((1, 0), (0, 0)), "boundary": "wrap", "activation": "tanh"}),
    ((1, 9), {"padding_mode": "same", "boundary": "symmetric"}),
]


def depthwise(dtype):
    """Rows around the sizes of vectors, columns around those of tiles, and signals that are cut into vectors."""
    given, dtype = arrays_of(dtype)
    lanes = 64 // np.dtype(dtype).itemsize
    widths = [n + more for n in (lanes // 4, lanes // 2, lanes, 2 * lanes) for more in (-1, 0, 1)]
    for width, rows, end in itertools.product(widths, (3, 7, 8), (False, True)):
        print(f"{dtype} {rows} x {width}, {'end' if end else 'start'} of the block", flush=True)
        bias = values(2, dtype, 2)
        x = values((1, 2, rows, width + 2), given)
        x[0, 1, 1, 1] = np.nan if x.dtype.kind == "f" else 7
        x = guarded(x, end=end, read_only=True)
        line = guarded(values((2, 2, 5 * width), given), end=end, read_only=True)
        fastconv.release_workspace()
        with Allocations(end):
            for kernel, options in DEPTHWISE:
                w = guarded(values((2, 1, *kernel), dtype, 1), end=end, read_only=True)
                if x.dtype.kind != "f":
                    options = {name: value for name, value in options.items() if name != "activation"}
                check_convolution("correlate", x, w, groups=2, bias=bias, **options)
            for taps in (1, lanes // 2 + 1, lanes, 2 * lanes + 3):
                w = guarded(values((2, 1, taps), dtype, 1), end=end, read_only=True)
                for options in ({"padding_mode": "same"}, {"padding_mode": "full", "stride": 2}, {"dilation": 2}):
                    if options.get("dilation", 1) * (taps - 1) < line.shape[-1]:
                        check_convolution("convolve", line, w, groups=2, **options)
    fastconv.release_workspace()


# More outputs of a group, too few for vectors of them: masks stand for the padding of input read in place.
GROUPED = [
    (4, (3, 3), {"padding_mode": 1, "activation": "relu6"}),
    (5, (3, 3), {"padding_mode": 1, "stride": 2}),
    (4, (1, 1), {"padding_mode": ((0, 1), (1, 2)), "stride": (1, 2)}),
    (9, (2, 5), {"padding_mode": ((3, 0), (1, 7)), "dilation": (1, 2)}),
    (4, (3, 2), {}),
    (6, (3, 3), {"padding_mode": 1, "fillvalue": -1}),
    (4, (2, 3), {"padding_mode": ((0, 2), (2, 1)), "stride": 3}),
]


def grouped(dtype):
    """Widths around the sizes of vectors, heights that make a plane one run of them or rows of their own."""
    given, dtype = arrays_of(dtype)
    lanes = 64 // np.dtype(dtype).itemsize
    widths = [n + more for n in (lanes // 2, lanes, 2 * lanes) for more in (-1, 0, 1)]
    for width, rows, end in itertools.product(widths, (1, 4, 7), (False, True)):
        print(f"{dtype} {rows} x {width}, {'end' if end else 'start'} of the block", flush=True)
        x = guarded(values((2, 4, rows + 2, width + 1), given), end=end, read_only=True)
        fastconv.release_workspace()
        with Allocations(end):
            for outputs, kernel, options in GROUPED:
                if x.dtype.kind != "f":
                    options = {name: value for name, value in options.items() if name != "activation"}
                w = guarded(values((2 * outputs, 2, *kernel), dtype, 1), end=end, read_only=True)
                bias = guarded(values(2 * outputs, dtype, 2), end=end, read_only=True)
                check_convolution("correlate", x, w, groups=2, bias=bias, **options)
    fastconv.release_workspace()


# Phases of the last axis together: in vectors along output channels, rows, and register tiles; and each alone.
TRANSPOSED = [
    ((2, 3, 5, 0), (3, 32, 2, 4), {"stride": 2, "padding": 1}),
    ((1, 3, 3, 0), (3, 32, 1, 7), {"stride": (1, 3), "padding": (0, 5), "output_padding": (0, 2)}),
    ((2, 3, 8, 0), (3, 1, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 3}),
    ((1, 3, 3, 0), (3, 2, 5, 4), {"stride": (1, 2), "padding": (2, 3), "dilation": (1, 3), "groups": 3}),
    ((2, 8, 4, 0), (8, 5, 3, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ((1, 8, 3, 0), (8, 5, 2, 5), {"stride": (1, 4), "padding": (0, 2), "groups": 2}),
]


def transposed(dtype):
    """Widths around the sizes of vectors: results have the bits of those from arrays among others."""
    lanes = 64 // np.dtype(dtype).itemsize
    widths = [n + more for n in (lanes // 2, lanes, 2 * lanes) for more in (-1, 0, 1)]
    for ((*shape, _), kernel, options), width, end in itertools.product(TRANSPOSED, widths, (False, True)):
        print(f"{dtype} {shape} x {width} by {kernel}, {'end' if end else 'start'} of the block", flush=True)
        arrays = (
            values((*shape, width), dtype),
            values(kernel, dtype, 1),
            values(kernel[1] * options.get("groups", 1), dtype),
        )
        want = functional.conv_transpose2d(*arrays, **options)
        fastconv.release_workspace()
        with Allocations(end):
            got = functional.conv_transpose2d(*(guarded(a, end=end, read_only=True) for a in arrays), **options)
        assert got.tobytes() == want.tobytes()
    fastconv.release_workspace()


def outputs(algorithm, dtypes=DTYPES):
    for dtype, view, end in placements(dtypes, {n: f for n, f in VIEWS.items() if n != "broadcast"}):
        for (x_shape, w_shape, options), operation in zip(CONVOLUTIONS, itertools.cycle(["correlate", "convolve"])):
            x, w, bias = values(x_shape, dtype), values(w_shape, dtype, 1), values(w_shape[0], dtype, 2)
            shape = getattr(oracle, operation)(x, w, **options).value.shape
            out = guarded(view(numpy_zeros(shape, dtype)), end=end)
            check_convolution(operation, x, w, bias=bias, algorithm=algorithm, out=out, **options)


def _windows(end, name, x, *sizes, **options):
    allocations = Allocations(end)
    with allocations:
        got = [getattr(fastconv, name)(x, *sizes, **options)]
        if name.startswith(("max_pool", "min_pool")):
            got += getattr(fastconv, name)(x, *sizes, return_indices=True, **options)
    assert all(map(allocations.hold, got)), f"the result of {name} was not made by np.empty, np.zeros or np.full"
    return check_windows(name, x, *sizes, **options)


def fft_tiles(dtype):
    """Tiles that end inside, at the end of and beyond planes, transformed and summed directly."""
    for end, (x_shape, w_shape, options) in itertools.product((True, False), TILED):
        for algorithm, view in (("fft", "contiguous"), ("fft", "reversed"), ("auto", "contiguous")):
            x, w = LAYOUTS[view](values(x_shape, dtype)), LAYOUTS[view](values(w_shape, dtype, 1))
            if algorithm == "auto":
                x[..., :3] *= 1e3
            x, w = guarded(x, end=end, read_only=True), guarded(w, end=end, read_only=True)
            bias = guarded(values(w_shape[0], dtype, 2), end=end, read_only=True)
            with Allocations(end):
                got = fastconv.correlate_nd(x, w, bias=bias, algorithm=algorithm, **options)
                want = fastconv.correlate_nd(x, w, bias=bias, algorithm="direct", **options)
            size = abs(want).max()
            np.testing.assert_allclose(got, want, atol=1e-4 * size, rtol=0)


def pools(dtypes=DTYPES):
    shapes = {1: (2, 2, 19), 2: (1, 2, 5, 18), 3: (1, 2, 3, 3, 5)}
    for dtype, view, end in placements(dtypes):
        for rank, shape in shapes.items():
            x = guarded(view(values(shape, dtype)), end=end, read_only=True)
            for options in (
                {},
                {"stride": 1, "padding_spec": 1},
                {"stride": 2, "ceil_mode": True},
                {"dilation": 2, "stride": 3, "padding_spec": ((0, 4),) * rank},
            ):
                _windows(end, f"avg_pool{rank}d", x, 3, **options)
                if dtype[0] != "c":
                    _windows(end, f"max_pool{rank}d", x, 3, **options)
                    _windows(end, f"min_pool{rank}d", x, 2, **options)


# Sizes around vectors of 16, 32 and 64 bytes, windows around the steps that vectors are taken apart at.
def pool_vectors(dtype):
    for end, size in itertools.product((False, True), (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130)):
        print(f"{dtype} {size}, {'end' if end else 'start'} of the block", flush=True)
        row = guarded(values((2, 3, size), dtype), end=end, read_only=True)
        planes = guarded(values((size, 1, 5, 7), dtype), end=end, read_only=True)
        last = guarded(LAYOUTS["channels_last"](values((2, size, 3, 4), dtype)), end=end, read_only=True)
        for name in ("avg_pool", "max_pool"):
            for kernel, options in ((2, {}), (3, {"stride": 2, "padding_spec": 1}), (size, {}), (1, {"stride": 1})):
                if kernel <= size:
                    _windows(end, f"{name}1d", row, kernel, **options)
            for kernel, options in (
                (2, {"stride": 1}),
                (3, {"stride": 1}),
                (3, {}),
                (4, {"stride": 4, "padding_spec": 1}),
                (5, {"stride": 6}),
            ):
                if kernel <= size + 2 * options.get("padding_spec", 0):
                    _windows(end, f"{name}1d", row, kernel, **options)
            _windows(end, f"{name}2d", planes, (5, 7))
            _windows(end, f"{name}2d", planes, 3, stride=2, padding_spec=1)
            _windows(end, f"{name}2d", last, 2, stride=1)
            _windows(end, f"{name}2d", last, (3, 4))


def converted_pools():
    """The same sizes, of elements that are read as others."""
    for given, dtype in (("u1", "f4"), ("f8", "f4")):
        for end, size in itertools.product((False, True), (1, 7, 8, 15, 16, 17, 33, 63, 64, 65, 130)):
            print(f"{given} as {dtype} {size}, {'end' if end else 'start'} of the block", flush=True)
            row = guarded(values((2, 3, size), given), end=end, read_only=True)
            last = guarded(LAYOUTS["channels_last"](values((2, size, 3, 4), given)), end=end, read_only=True)
            for name in ("avg_pool", "max_pool"):
                for x, rank in ((row, 1), (last, 2)):
                    pool = getattr(fastconv, f"{name}{rank}d")
                    for options in ({"padding": 1}, {"stride": 1, "padding": 1}):
                        with Allocations(end):
                            got = pool(x, 2, dtype=dtype, **options)
                        oracle.assert_same(got, pool(x.astype(dtype), 2, **options))


def unpools(dtypes=DTYPES):
    for dtype, view, end in placements(dtypes):
        v = guarded(view(values((2, 2, 3, 5), dtype)), end=end, read_only=True)
        at = guarded(view(rng(1).integers(0, 60, (2, 2, 3, 5))), end=end, read_only=True)
        allocations = Allocations(end)
        with allocations:
            got = fastconv.max_unpool2d(v, at, 2)
        assert allocations.hold(got)
        oracle.check(got, oracle.expect_equal(oracle.max_unpool(v, at, (6, 10))))


def shared_pools(dtype):
    """Adaptive pools and power means around the sizes of vectors, and the gradients of pools."""
    for end, size in itertools.product((False, True), (1, 3, 5, 8, 9, 15, 16, 17, 31, 33, 65, 130)):
        print(f"{dtype} {size}, {'end' if end else 'start'} of the block", flush=True)
        planes = guarded(values((3, 2, 5, size), dtype), end=end, read_only=True)
        last = guarded(LAYOUTS["channels_last"](values((2, size, 5, 7), dtype)), end=end, read_only=True)
        fastconv.release_workspace()
        allocations = Allocations(end)
        for x, sizes in ((planes, (3, max(size // 2, 1))), (planes, (4, size + 3)), (last, (3, 4)), (last, (9, 2))):
            with allocations:
                got = [functional.adaptive_avg_pool2d(x, sizes), functional.lp_pool2d(x, 2, (2, 1), 1)]
                got += functional.adaptive_max_pool2d(x, sizes, return_indices=True)
            assert all(map(allocations.hold, got))
            plain = functional.adaptive_avg_pool2d(np.ascontiguousarray(x), sizes)
            np.testing.assert_allclose(got[0], plain, rtol=1e-5, atol=1e-5)
        for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2), (5, 7, 1), (5, 9, 0)):
            if 5 + 2 * padding < kernel or size + 2 * padding < kernel:
                continue
            y, at = functional.max_pool2d(planes, kernel, stride, padding, return_indices=True)
            y, at = guarded(y, end=end, read_only=True), guarded(at, end=end, read_only=True)
            with allocations:
                got = [grad.avg_pool2d_input(planes.shape, y, kernel, stride, padding)]
                got += [grad.max_pool2d_input(planes.shape, at, y)]
            assert all(map(allocations.hold, got))
            np.testing.assert_allclose(got[1].sum(), y.sum(), rtol=1e-3, atol=1e-3)
    fastconv.release_workspace()


def patches(dtypes=DTYPES):
    for dtype, view, end in placements(dtypes):
        x = guarded(view(values((2, 2, 5, 9), dtype)), end=end, read_only=True)
        for options in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": ((2, 0), (0, 3))}):
            y = _windows(end, "extract_patches", x, (3, 2), **options)
            y = guarded(view(y), end=end, read_only=True)
            _windows(end, "combine_patches", y, (5, 9), (3, 2), **options)
            y = _windows(end, "im2col", x, (3, 2), **options)
            y = guarded(view(y), end=end, read_only=True)
            _windows(end, "col2im", y, (5, 9), (3, 2), **options)


def patch_boxes(dtype):
    """Rows around vectors, squares that are transposed, rows and planes that are copied as one."""
    for end, size in itertools.product((False, True), (1, 2, 5, 8, 17, 33, 65)):
        print(f"{dtype} {size}, {'end' if end else 'start'} of the block", flush=True)
        rows = values((2, 2, 3, size), dtype)
        last = LAYOUTS["channels_last"](values((2, size, 3, 18), dtype))
        turned, planes = values((2, size, 18), dtype).swapaxes(1, 2), values((9, size % 9 + 1, 7), dtype)
        views = rows, rows[..., ::-1], np.repeat(rows, 2, -1)[..., ::-2], turned, planes
        for x, kernel in ((rows, (1, 1)), (last, (2, 4)), (rows[0], (3, 1)), *((view, (2, 3)) for view in views)):
            x = guarded(x, end=end, read_only=True)
            for options in (
                {"padding": 1},
                *({"stride": (1, n), "padding": 1} for n in (2, 4)),
                {"stride": 3, "padding": 2},
            ):
                _there_and_back(end, x, kernel, options)
        _there_and_back(end, guarded(values((2, 3, 5 * size), dtype), end=end, read_only=True), (1, 5), {"stride": 5})


def patch_lines(dtype):
    """Lines in turns of each number of residues, around vectors; copies of lines; windows that lie apart."""
    for end, size in itertools.product((False, True), (1, 16, 33)):
        print(f"{dtype} {size}, {'end' if end else 'start'} of the block", flush=True)
        for every in range(1, 10):
            x = values((2, 3, every * size + 1), dtype)
            views = x, x[..., ::-1], LAYOUTS["channels_last"](x[:, None])[:, 0], np.repeat(x, 3, -1)[..., ::3]
            for view, kernel in itertools.product(views, ((2, 2 * every + 1), (2, every), (1, 1))):
                for padding in (every + 1, ((1, 0), (1, every))):
                    options = {"stride": (1, every), "padding": padding}
                    _there_and_back(end, guarded(view, end=end, read_only=True), kernel, options)
        x = guarded(x[..., :size], end=end, read_only=True)
        _there_and_back(end, x, (2, 1), {"stride": 3, "dilation": 2, "padding": 2})
        for every in (9, 16):
            x = guarded(values((2, 2 * every + 1, 3 * every + size), dtype), end=end, read_only=True)
            for kernel, padding in ((every, 0), (every - 1, 5), (4, 0)):
                _there_and_back(end, x, (kernel, kernel), {"stride": every, "padding": padding})
            x = guarded(values((2, 4, 12 * every + 3), dtype), end=end, read_only=True)  # nearly squares
            _there_and_back(end, x, (2, every), {"stride": (2, every)})
        for every in (4, 7, 9, 16):  # squares of a few positions
            x = guarded(values((2, 2 * every, (size % 4 + 1) * every), dtype), end=end, read_only=True)
            _there_and_back(end, x, (every, every), {"stride": every})
        for every, planes in ((2, 2), (4, 3), (9, 4), (16, 3), (20, 1)):  # that take turns in memory
            x = LAYOUTS["channels_last"](values((1, planes, 4, 3 * every + size), dtype))[0]
            for kernel, padding in (((3, every), 0), ((2, 2 * every + 1), ((1, 0), (3, every)))):
                options = {"stride": (1, every), "padding": padding}
                _there_and_back(end, guarded(x, end=end, read_only=True), kernel, options)


def _there_and_back(end, x, kernel, options):
    y = guarded(_windows(end, "extract_patches", x, kernel, **options), end=end, read_only=True)
    _windows(end, "combine_patches", y, x.shape[-2:], kernel, **options)


def filters(dtypes=DTYPES):
    for dtype, view, end in placements(dtypes):
        x = guarded(view(values((3, 6, 19), dtype)), end=end, read_only=True)
        for kernel, stride in (((3,), None), ((2, 3), 1), ((2, 4), None), ((3, 6, 19), 2)):
            _windows(end, "uniform_filter", x, kernel, stride=stride)
            if dtype[0] != "c":
                _windows(end, "maximum_filter", x, kernel, stride=stride)
                _windows(end, "minimum_filter", x, kernel, stride=stride)


class Steps:
    """While this is entered, steps of filters get their numbers, their weights and no byte of workspace more than they
    ask for, all guarded."""

    end = None

    def __init__(self, end):
        self.own = end

    def __enter__(self):
        Steps.end = self.own

    def __exit__(self, *_):
        Steps.end = None


def _guarding_steps(entry_point, workspace_at):
    """Stands for ``entry_point`` where steps are made. Of their numbers, one says how large a workspace is."""

    def function(*formats):
        compiled = entry_point(*formats)

        def run(x, out, weights, exact, numbers, workspace, team, threads, thread):
            if Steps.end is not None:
                size = int(numbers[workspace_at]) * threads
                workspace = np.ndarray(size, "u1", Block(size, Steps.end).bytes)
                weights, exact, numbers = (guarded(a, end=Steps.end, read_only=True) for a in (weights, exact, numbers))
            return compiled(x, out, weights, exact, numbers, workspace, team, threads, thread)

        return run

    return function


NDIMAGE = ["f4", "f8", "u1", "i2", "u1-f4", "f4-i2"]


def ndimage_calls(ndim):
    """Filters for every kind of step, with windows that are shorter and longer than axes."""
    narrow, tall = [(5,), (5, 4), (3, 4, 2), (2, 3, 2, 2)][ndim - 1], [(23,), (9, 7), (7, 5, 3), (1, 1, 5, 3)][ndim - 1]
    for size in (2, 3, 8, 21):
        yield from ((name, (size,), {}) for name in ("uniform_filter", "maximum_filter"))
        for name in ("uniform_filter1d", "minimum_filter1d"):
            yield name, (size,), {"axis": size % ndim, "origin": size // 2 - 1}
    for weights in ([1, 2, 1], [0.3, 0.5, 0.2], [-1, 0, 1], [0.1, 0.2, 0.4, 0.2], [0.25] * 9):
        yield from (("correlate1d", (weights,), {"axis": axis}) for axis in range(ndim))
    for shape in (narrow, tall):
        heights = values(shape, "f8", 3)
        for kernel in (heights, np.rint(heights)):
            yield from (("correlate", (kernel,), {}), ("grey_dilation", (), {"structure": kernel}))
        yield "minimum_filter", (), {"footprint": heights < 0.5}
        yield "maximum_filter", (), {"footprint": heights**2 > 0}
    yield from (("gaussian_filter", (sigma,), {}) for sigma in (0.6, 1.5, 4))
    yield from ((name, (), {}) for name in ("sobel", "laplace"))


FILTERED = [(1,), (17,), (300,), (7, 19), (40, 33), (9, 70, 3), (5, 6, 7), (3, 2, 5, 9)]
FILTERED_VIEWS = {
    **{name: LAYOUTS[name] for name in ("contiguous", "fortran", "reversed")},
    "first_axis_last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
    "stepped": VIEWS["stepped"],
    "reversed_rows": lambda a: np.repeat(a, 2, axis=0)[::-2],
}
# How steps are cut: as they are, and so that small arrays have blocks of all kinds, which threads share.
CUTS = {}, {"_BLOCK": 2048, "_ONE_LINE": 320, "_LEAST": 64, "_BAND": 5}


def ndimage_filters(dtype):
    """Results have to be those of arrays that lie alike, without guards, on one thread.

    They lie at both ends of a block; those of the default run, float32, at one of them, drawn for each call.
    """
    from fastconv.kernels.filters import step as plan

    from fastconv.filters import steps

    given, result = arrays_of(dtype)
    steps.entry_point = _guarding_steps(steps.entry_point, plan.STEP_FIELDS - 1)
    modes, random = itertools.cycle(["reflect", "constant", "nearest", "mirror", "wrap"]), rng(7)
    for sizes, shape, (name, view) in itertools.product(CUTS, FILTERED, FILTERED_VIEWS.items()):
        print(f"{dtype} {shape} {name}, cut {'small' if sizes else 'as it is'}", flush=True)
        vars(plan).update(sizes)
        ndimage.running.prepared.clear()
        if sizes:
            steps._SHARED = 0
        for (function, arguments, options), mode in zip(ndimage_calls(len(shape)), modes):
            call = functools.partial(getattr(ndimage, function), mode=mode, cval=3, **options)

            def results(end, x, out, call=call, arguments=arguments):
                """What is made in memory of its own, in other memory, and in the input's."""
                with Allocations(end), Steps(end):
                    yield call(x, *arguments, output=out.dtype)
                    yield call(x, *arguments, output=out)
                    if x.dtype == out.dtype:
                        out[...] = x
                        yield call(out, *arguments, output=out)

            fastconv.set_num_threads(1)
            plain, room = view(values(shape, given)), view(numpy_zeros(shape, result))
            expected = [each.copy() for each in results(None, plain, room)]
            for end in [bool(random.integers(2))] if dtype == "f4" else (False, True):
                fastconv.set_num_threads(random.integers(1, 3))
                x, out = guarded(plain, end=end, read_only=True), guarded(room, end=end)
                for got, wanted in zip(results(end, x, out), expected, strict=True):
                    np.testing.assert_array_equal(got, wanted, err_msg=f"{function}{arguments} {mode}")


WEIGHTS = [
    ((2, 4, 37), (6, 2, 3), {"groups": 2, "padding": 1}),
    ((1, 2, 70), (3, 2, 4), {"stride": 3, "dilation": 2}),
    ((2, 3, 9, 18), (5, 3, 3, 2), {}),
    ((2, 6, 7, 9), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    ((1, 2, 13, 15), (4, 2, 5, 3), {"stride": (4, 2), "padding": (2, 1)}),
    ((2, 3, 8, 17), (4, 3, 1, 1), {}),
    ((2, 2, 4, 5, 6), (3, 2, 3, 2, 3), {"padding": (1, 0, 1)}),
    ((9, 2, 7, 7), (33, 2, 3, 3), {"padding": 1}),
    ((2, 20, 7, 9), (5, 20, 3, 3), {"padding": 1}),
    ((1, 16, 9, 21), (8, 8, 1, 3), {"groups": 2, "stride": (2, 3)}),
    ((2, 35, 5, 5), (4, 35, 1, 1), {}),
    ((1, 9, 40), (14, 9, 2), {"dilation": 7, "padding": 3}),
    ((2, 3, 11, 20), (3, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    ((2, 3, 9, 18), (6, 1, 5, 5), {"groups": 3}),
]


def weights(dtype):
    """Results have to be those of arrays that lie alike, without guards."""
    from fastconv import grad

    for (name, view), end in itertools.product(VIEWS.items(), (False, True)):
        print(f"{dtype} {name}, {'end' if end else 'start'} of the block", flush=True)
        for shape, size, options in WEIGHTS:
            padding = options.get("padding", 0)
            forward = {**options, "padding_mode": padding}
            forward.pop("padding", None)
            out = fastconv.correlate_nd(numpy_zeros(shape, "f4"), numpy_zeros(size, "f4"), **forward).shape
            x, g = view(values(shape, dtype)), view(values(out, dtype, 1))
            run = getattr(grad, f"conv{len(size) - 2}d_weight")
            expected = run(x, size, g, **options)
            x, g = (guarded(a, end=end, read_only=True) for a in (x, g))
            fastconv.release_workspace()
            with Allocations(end):
                got, sums = run(x, size, g, **options), getattr(grad, f"conv{len(size) - 2}d_bias")(g)
            assert Allocations.current is None and sums.shape == size[:1]
            oracle.assert_same(got, expected, f"{shape} {size} {options}")
            fastconv.release_workspace()


# Each has to die: what the cases above rely on.


def read_after():
    ctypes.string_at(guarded(numpy_zeros(5, "f4"), end=True).ctypes.data, 21)


def read_before():
    ctypes.string_at(guarded(numpy_zeros(5, "f4"), end=False).ctypes.data - 1, 1)


def write_after():
    ctypes.memset(guarded(numpy_zeros((5, 3), "f4")[:, ::2], end=True).ctypes.data, 0, 61)


def write_read_only():
    guarded(numpy_zeros(5, "f4"), end=True, read_only=True)[0] = 1


# Tiles that fit and do not fit, of planes, rows, columns, signals and volumes, and what is summed directly.
TILED = [
    ((1, 16, 9, 22), (17, 16, 3, 3), {"padding_mode": 1}),
    ((2, 9, 5, 70), (16, 9, 3, 3), {"padding_mode": ((2, 0), (1, 3)), "boundary": "wrap"}),
    ((2, 16, 40), (16, 8, 3), {"groups": 2, "padding_mode": "full"}),
    ((1, 12, 17, 6), (16, 12, 3, 1), {}),
    ((1, 9, 11, 13), (16, 9, 3, 3), {"dilation": (2, 3), "padding_mode": (1, 3), "boundary": "edge"}),
    ((1, 12, 3, 6, 9), (16, 12, 3, 3, 3), {"padding_mode": 1, "boundary": "reflect"}),
    ((2, 9, 6, 71), (16, 9, 2, 2), {"padding_mode": ((1, 0), (0, 1))}),
    ((1, 16, 41), (17, 16, 2), {}),
    ((1, 12, 18, 6), (16, 12, 2, 3), {"padding_mode": 1}),
]


# Blocks of one plane and of pieces of it, of a signal, and what is summed directly.
TRANSFORMED = [
    ((1, 1, 70, 81), (1, 1, 16, 17), {"padding_mode": "same"}),
    ((1, 1, 9, 301), (1, 1, 9, 25), {"boundary": "reflect", "padding_mode": ((3, 0), (0, 4))}),
    ((2, 2, 40, 33), (2, 1, 17, 16), {"groups": 2, "stride": (2, 3)}),
    ((1, 1, 3001), (2, 1, 300), {}),
    ((1, 2, 700), (1, 2, 250), {"padding_mode": "full", "stride": 3, "boundary": "wrap"}),
]


def transformed(algorithm, calls, most, dtype):
    """Errors of `most` bounds. The kept workspace is given up, so that each call takes one between guards."""
    given, dtype = arrays_of(dtype)
    for (x_shape, w_shape, options), view, end in itertools.product(calls, LAYOUTS.values(), (False, True)):
        print(f"{dtype} {x_shape} {w_shape}, {'end' if end else 'start'} of the block", flush=True)
        for spoils in (False, True):
            x, w = values(x_shape, given), values(w_shape, dtype, 1)
            if spoils and x.dtype.kind in "fc":
                x[..., -1] = np.nan
            x, w = guarded(view(x), end=end, read_only=True), guarded(view(w), end=end, read_only=True)
            fastconv.release_workspace()
            with Allocations(end):
                out = fastconv.correlate_nd(x, w, algorithm=algorithm, dtype=dtype, **options)
            expected = oracle.correlate(x.astype(dtype), w, **options)
            oracle.check(out, expected._replace(bound=most * expected.bound))
            fastconv.release_workspace()


CASES = {
    **{f"transformed-{dtype}": (transformed, "fft", TRANSFORMED, 4, dtype) for dtype in ("f4", "f8", "c8", "u1-f4")},
    **{f"{f.__name__}-{a}": (f, a) for f in (convolution, outputs) for a in ALGORITHMS[1:]},
    **{f"{f.__name__}-{a}-more": (f, a, MORE) for f in (convolution, outputs) for a in ALGORITHMS[1:]},
    **{f"blocks-{dtype}": (blocks, dtype) for dtype in ("f4", "c16", "f2", "i8", "u1-f4")},
    **{f"depthwise-{dtype}": (depthwise, dtype) for dtype in ("f4", "f8", "i4", "f2", "u1-f4", "f4-f8")},
    **{f"grouped-{dtype}": (grouped, dtype) for dtype in ("f4", "f8", "c8", "f2", "u1-f4", "f4-f8")},
    **{f"transposed-{dtype}": (transposed, dtype) for dtype in ("f4", "f8")},
    **{f"tiled-{dtype}": (transformed, "winograd", TILED, 8, dtype) for dtype in ("f4", "f8", "u1-f4")},
    **{f"fft_tiles-{dtype}": (fft_tiles, dtype) for dtype in ("f4", "f8")},
    **{f"pool_vectors-{dtype}": (pool_vectors, dtype) for dtype in ("f4", "f8", "u1", "i1")},
    **{f"shared_pools-{dtype}": (shared_pools, dtype) for dtype in ("f4", "f8", "f2", "u1")},
    **{f"patch_boxes-{dtype}": (patch_boxes, dtype) for dtype in ("f4", "f8", "u1", "f2", "c16")},
    **{f"patch_lines-{dtype}": (patch_lines, dtype) for dtype in ("f4", "u1", "f2", "c16")},
    **{f"ndimage-{dtype}": (ndimage_filters, dtype) for dtype in NDIMAGE},
    **{f"weights-{dtype}": (weights, dtype) for dtype in ("f4", "f8", "f2", "c8", "i8")},
    **{f.__name__: (f,) for f in (pools, converted_pools, unpools, patches, filters)},
    **{f"{f.__name__}-more": (f, MORE) for f in (pools, unpools, patches, filters)},
}
FAULTS = {f.__name__: (f,) for f in (read_after, read_before, write_after, write_read_only)}

if __name__ == "__main__":
    faulthandler.enable()
    case, *arguments = {**CASES, **FAULTS}[sys.argv[1]]
    case(*arguments)
    print("done", flush=True)
