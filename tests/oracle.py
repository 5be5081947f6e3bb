"""Slow, plain NumPy versions of every operation, and the one rule by which a result is held against them.

Nothing here is shared with the package: each oracle follows the definition, tap by tap or window by window. An oracle
answers with an ``Expected``: the value (exact for integers and bool, in wider arithmetic for floats) and how far a
correctly working implementation may be from it. ``check`` is the only comparison.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

HALVES = tuple(np.dtype(t) for t in (np.float16, bfloat16) if t is not None)
INTEGERS = tuple(np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOATS = (*HALVES, np.dtype(np.float32), np.dtype(np.float64))
COMPLEX = (np.dtype(np.complex64), np.dtype(np.complex128))
REAL = (np.dtype(np.bool_), *INTEGERS, *FLOATS)
DTYPES = (*REAL, *COMPLEX)


class Expected(NamedTuple):
    value: np.ndarray  # in the result's dtype where ``bound`` is None, else wider
    bound: np.ndarray | None  # largest error before the rounding to ``dtype``; None: equal
    dtype: np.dtype


# Arithmetic -----------------------------------------------------------------------------------------------------------


def is_inexact(dtype):
    return dtype in FLOATS or dtype in COMPLEX


def wide(dtype):
    """What the oracle computes in: with at least twice the digits where the platform has them, exact otherwise."""
    if dtype in COMPLEX:
        return np.dtype(np.clongdouble if dtype == np.complex128 else np.complex128)
    if dtype in FLOATS:
        return np.dtype(np.longdouble if dtype == np.float64 else np.float64)
    return dtype


def accumulator(dtype):
    """What the package promises to accumulate in."""
    return np.dtype(np.float32) if dtype in HALVES else dtype


def rounding_bound(terms, magnitude, dtype):
    """How far a sum of ``terms`` products may be from the exact one; ``magnitude`` is the sum of their absolute values.

    Each product is rounded once and passes through fewer than ``terms`` additions, so that in any order of summation,
    with or without fused multiply-adds, it is multiplied by at most ``terms`` factors 1 + d, |d| <= u = eps / 2. Their
    product differs from 1 by at most gamma(n) = n u / (1 - n u), hence |error| <= gamma(n) * magnitude. Each part of a
    complex product is a sum of two real ones with |xr wr| + |xi wi| <= |x| |w|, hence twice the terms, and the same
    magnitude. One more term pays for the oracle's own error where long double is no wider than double; the last
    summand pays for products that underflow. A half precision type adds its one rounding in ``check``.
    """
    info = np.finfo(accumulator(dtype))
    n = (np.asarray(terms, np.float64) * (2 if dtype in COMPLEX else 1) + 1) * float(info.eps) / 2
    real = np.zeros(0, wide(dtype)).real.dtype
    gamma = (n / (1 - n)).astype(real)
    with np.errstate(all="ignore"):  # an infinite input has an infinite magnitude
        return gamma * magnitude.astype(real) + (np.asarray(terms) + 1) * real.type(info.smallest_subnormal)


def check(got, expected, note=""):
    """Assert that ``got`` is what was expected, dtype and shape included."""
    value, bound, dtype = expected
    assert type(got) is np.ndarray, f"{note}: not an array but {type(got)}"
    assert got.dtype == dtype, f"{note}: dtype {got.dtype}, expected {dtype}"
    assert got.shape == value.shape, f"{note}: shape {got.shape}, expected {value.shape}"
    if bound is None:
        assert_same(got, value, note)
    elif dtype in COMPLEX:
        # Which parts of a complex product with an infinite factor are NaN is no one's promise: IEEE 754 does not say.
        finite = np.isfinite(value) & np.isfinite(bound)
        np.testing.assert_array_equal(np.isfinite(got), finite, err_msg=note)
        _check_real(got.real[finite], value.real[finite], bound[finite], got.real.dtype, note)
        _check_real(got.imag[finite], value.imag[finite], bound[finite], got.real.dtype, note)
    else:
        _check_real(got, value, bound, dtype, note)


def assert_same(got, want, note=""):
    """Equal, NaN to NaN. NumPy's testing does not know what a NaN of bfloat16 is; float64 holds every half exactly."""
    if want.dtype in HALVES:
        assert got.dtype == want.dtype, f"{note}: dtype {got.dtype}, expected {want.dtype}"
        with np.errstate(invalid="ignore"):  # a signalling NaN
            got, want = got.astype(np.float64), want.astype(np.float64)
    np.testing.assert_array_equal(got, want, err_msg=note)


def _check_real(got, value, bound, dtype, note):
    """Rounding is monotone: a sum within ``value +- bound``, rounded, lies between the two ends, rounded."""
    with np.errstate(all="ignore"):
        bound = np.where(np.isfinite(value), bound, 0)
        low = (value - bound).astype(accumulator(dtype)).astype(dtype)
        high = (value + bound).astype(accumulator(dtype)).astype(dtype)
        good = ((low <= got) & (got <= high)) | (np.isnan(value) & np.isnan(got))
    if not good.all():
        at = tuple(int(i) for i in np.argwhere(~good)[0])
        raise AssertionError(
            f"{note}: {np.count_nonzero(~good)} of {good.size} elements are wrong, first at {at}: got {got[at]}, "
            f"expected {value[at]} +- {bound[at]}"
        )


def expect_equal(value):
    return Expected(value, None, value.dtype)


# Shapes ---------------------------------------------------------------------------------------------------------------


def per_axis(option, rank):
    return (int(option),) * rank if np.ndim(option) == 0 else tuple(int(v) for v in option)


def resolve_padding(sizes, kernel, stride, dilation, padding, flipped):
    """``(before, after)`` for each spatial axis. ``flipped``: the rule of ``convolve`` and of pools."""
    pads = []
    for axis, (s, k, step, d) in enumerate(zip(sizes, kernel, stride, dilation, strict=True)):
        reach = d * (k - 1)
        if isinstance(padding, str) and padding == "same":
            total = max((math.ceil(s / step) - 1) * step + reach + 1 - s, 0)
            half, odd = divmod(total, 2)
            pads.append((half + odd, half) if flipped and k % 2 == 0 else (half, half + odd))
        elif isinstance(padding, str):
            pads.append({"valid": (0, 0), "full": (reach, reach)}[padding])
        elif np.ndim(padding) == 0:
            pads.append((padding, padding))
        else:
            pads.append((padding[axis], padding[axis]) if np.ndim(padding[axis]) == 0 else tuple(padding[axis]))
    return pads


def output_sizes(sizes, kernel, stride, dilation, pads, ceil_mode=False):
    out = []
    for s, k, step, d, (before, after) in zip(sizes, kernel, stride, dilation, pads, strict=True):
        room = s + before + after - (d * (k - 1) + 1)
        p = room // step + 1
        if ceil_mode and room % step != 0 and p * step < s + before:
            p += 1  # hangs over the end, and starts inside the input or the padding before it
        if s == 0:
            p = max(p, 0)
        elif p < 1:
            raise ValueError(f"no window of {k} (dilation {d}) fits into {s} + {before} + {after}")
        out.append(p)
    return tuple(out)


def pad_by_axis(x, pads, boundary, fill):
    """``np.pad`` on the last axes, one boundary per axis; a constant axis wins in the corners in any order."""
    lead = x.ndim - len(pads)
    for axis, (width, mode) in enumerate(zip(pads, boundary, strict=True)):
        widths = [(0, 0)] * x.ndim
        widths[lead + axis] = width
        x = np.pad(x, widths, constant_values=fill) if mode == "constant" else np.pad(x, widths, mode=mode)
    return x


def tap_view(padded, tap, stride, dilation, out):
    """What kernel tap ``tap`` meets at each output position."""
    index = [slice(d * t, d * t + s * (p - 1) + 1, s) for t, s, d, p in zip(tap, stride, dilation, out, strict=True)]
    return padded[(..., *index)]


# Convolution ----------------------------------------------------------------------------------------------------------


def correlate(
    x,
    w,
    *,
    groups=1,
    stride=1,
    padding_mode="valid",
    dilation=1,
    fillvalue=0,
    bias=None,
    boundary="constant",
    activation=None,
    flip=False,
):
    """One multiplication and one addition per input channel and tap, on the planes of all outputs of a group."""
    x, w = np.asarray(x), np.asarray(w)
    dtype = np.result_type(x, w).newbyteorder("=")
    rank = w.ndim - 2
    kernel, sizes = w.shape[2:], x.shape[2:]
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
    boundary = (boundary,) * rank if isinstance(boundary, str) else tuple(boundary)
    fill = np.asarray(fillvalue).astype(dtype).astype(wide(dtype))
    x, w = x.astype(dtype).astype(wide(dtype)), w.astype(dtype).astype(wide(dtype))
    n, o = x.shape[0], w.shape[0]
    if 0 in sizes:
        empty = np.zeros((n, o, *(0,) * rank), wide(dtype))
        return Expected(empty, abs(empty).real if is_inexact(dtype) else None, dtype)
    pads = resolve_padding(sizes, kernel, stride, dilation, padding_mode, flip)
    out = output_sizes(sizes, kernel, stride, dilation, pads)
    padded = pad_by_axis(x, pads, boundary, fill)

    total = np.zeros((n, o, *out), wide(dtype))
    magnitude = np.zeros((n, o, *out), np.zeros(0, wide(dtype)).real.dtype)
    per_group = w.shape[1]
    with np.errstate(all="ignore"):
        for tap in itertools.product(*map(range, kernel)):
            met = tap_view(padded, tap, stride, dilation, out)
            weight = w[(..., *(k - 1 - t if flip else t for k, t in zip(kernel, tap, strict=True)))]
            for group, ic in itertools.product(range(groups), range(per_group)):
                outputs = slice(group * (o // groups), (group + 1) * (o // groups))
                plane = met[:, group * per_group + ic, None]
                factor = weight[outputs, ic].reshape(-1, *(1,) * rank)
                if dtype == np.bool_:
                    total[:, outputs] |= plane & factor
                else:
                    total[:, outputs] += plane * factor
                    if is_inexact(dtype):
                        magnitude[:, outputs] += abs(plane) * abs(factor)
        if bias is not None:
            b = np.asarray(bias).astype(dtype).astype(wide(dtype)).reshape(-1, *(1,) * rank)
            total = total | b if dtype == np.bool_ else total + b
            magnitude = magnitude + abs(b).astype(magnitude.dtype)
    terms = per_group * math.prod(kernel) + (bias is not None)
    bound = rounding_bound(terms, magnitude, dtype) if is_inexact(dtype) else None
    return activate(Expected(total, bound, dtype), activation)


def convolve(x, w, **options):
    return correlate(x, w, flip=True, **options)


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _logistic(z):
    return 1 / (1 + np.exp(-z))


# name: function, largest slope
ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), 1.0),
    "relu6": (lambda z: np.minimum(np.maximum(z, 0), 6), 1.0),
    "silu": (lambda z: z * _logistic(z), 1.1),
    "gelu": (lambda z: z * (1 + _erf(z / math.sqrt(2))) / 2, 1.13),
    "tanh": (np.tanh, 1.0),
    "sigmoid": (_logistic, 0.25),
}


def activate(expected, activation):
    """The error before is stretched by the slope; the function itself is a handful of operations on values no larger
    than 1 or its argument, each within an ulp or two: 8 eps (1 + |z|)."""
    if activation is None:
        return expected
    z, bound, dtype = expected
    function, slope = ACTIVATIONS[activation]
    if bound is None:
        return Expected(function(z).astype(dtype), None, dtype)
    with np.errstate(all="ignore"):
        value = function(z)
        bound = slope * bound
        if activation not in ("relu", "relu6"):
            bound = bound + 8 * float(np.finfo(accumulator(dtype)).eps) * (1 + abs(z))
    return Expected(value, bound, dtype)


# Windows --------------------------------------------------------------------------------------------------------------


class Windows:
    """Every window over the last axes of an input: which input elements it holds, and how many taps it counts."""

    def __init__(self, sizes, kernel_size, stride, dilation, padding, ceil_mode=False):
        rank = len(sizes)
        self.sizes = tuple(sizes)
        self.kernel = per_axis(kernel_size, rank)
        self.stride = self.kernel if stride is None else per_axis(stride, rank)
        self.dilation = per_axis(dilation, rank)
        self.pads = resolve_padding(sizes, self.kernel, self.stride, self.dilation, padding, flipped=True)
        self.out = output_sizes(sizes, self.kernel, self.stride, self.dilation, self.pads, ceil_mode)

    def __iter__(self):
        """``position, coordinates of real elements per axis, taps within the padded input, taps within the input``."""
        for position in np.ndindex(*self.out):
            real, padded = [], 1
            for p, s, k, step, d, (before, after) in zip(
                position, self.sizes, self.kernel, self.stride, self.dilation, self.pads, strict=True
            ):
                taps = [p * step - before + d * t for t in range(k)]
                real.append([t for t in taps if 0 <= t < s])
                padded *= sum(-before <= t < s + after for t in taps)
            yield position, real, padded, math.prod(map(len, real))

    def met_by(self, tap):
        """The elements of a padded input that a tap meets, one for each position."""
        steps = zip(tap, self.dilation, self.out, self.stride, strict=True)
        return (..., *(slice(t * d, t * d + out * step, step) for t, d, out, step in steps))


def avg_pool(x, kernel_size, *, stride=None, dilation=1, padding_spec="valid", ceil_mode=False, count_include_pad=True):
    x = np.asarray(x)
    dtype = np.dtype(x.dtype.newbyteorder("=")) if is_inexact(x.dtype.newbyteorder("=")) else np.dtype(np.float64)
    windows = Windows(x.shape[2:], kernel_size, stride, dilation, padding_spec, ceil_mode)
    return _average(x, windows, dtype, count_include_pad)


def _average(x, windows, dtype, count_include_pad):
    lead = x.shape[: x.ndim - len(windows.sizes)]
    exact_input = not is_inexact(x.dtype.newbyteorder("="))
    x = x.astype(wide(dtype))
    value = np.zeros((*lead, *windows.out), wide(dtype))
    bound = np.zeros(value.shape, np.zeros(0, wide(dtype)).real.dtype)
    with np.errstate(all="ignore"):
        for position, real, padded, count in windows:
            held = x[(..., *np.ix_(*real))].reshape(*lead, count)
            divisor = padded if count_include_pad else count
            here = (..., *position)
            if divisor == 0:
                value[here] = 0 if exact_input else np.nan
                continue
            value[here] = held.sum(axis=-1) / divisor
            # The division, or the product with a rounded reciprocal, and the conversion of an int64 round too.
            bound[here] = rounding_bound(count + 3, abs(held).sum(axis=-1) / divisor, dtype)
    return Expected(value, bound, dtype)


def _lowest(dtype):
    if dtype == np.bool_:
        return False
    return dtype.type(-np.inf) if dtype in FLOATS else np.iinfo(dtype).min


def _highest(dtype):
    if dtype == np.bool_:
        return True
    return dtype.type(np.inf) if dtype in FLOATS else np.iinfo(dtype).max


def _extreme(x, windows, pick, padding):
    """``(values, indices)``; ``pick`` is ``np.argmax`` or ``np.argmin``, which return the first NaN, or else the first
    of the largest (smallest)."""
    dtype = x.dtype.newbyteorder("=")
    x = x.astype(dtype)
    lead = x.shape[: x.ndim - len(windows.sizes)]
    values = np.full((*lead, *windows.out), padding, dtype)
    indices = np.full((*lead, *windows.out), -1, np.int64)
    flat = np.arange(math.prod(windows.sizes)).reshape(windows.sizes)
    for position, real, _, count in windows:
        if count == 0:
            continue
        held = x[(..., *np.ix_(*real))].reshape(*lead, count)
        comparable = held.astype(wide(dtype)) if dtype in HALVES else held
        if 0 in lead:
            continue
        first = pick(comparable, axis=-1)
        values[(..., *position)] = np.take_along_axis(held, first[..., None], axis=-1)[..., 0]
        indices[(..., *position)] = flat[np.ix_(*real)].reshape(count)[first]
    return values, indices


def max_pool(x, kernel_size, *, stride=None, dilation=1, padding_spec="valid", ceil_mode=False):
    x = np.asarray(x)
    windows = Windows(x.shape[2:], kernel_size, stride, dilation, padding_spec, ceil_mode)
    return _extreme(x, windows, np.argmax, _lowest(x.dtype.newbyteorder("=")))


def min_pool(x, kernel_size, *, stride=None, dilation=1, padding_spec="valid", ceil_mode=False):
    x = np.asarray(x)
    windows = Windows(x.shape[2:], kernel_size, stride, dilation, padding_spec, ceil_mode)
    return _extreme(x, windows, np.argmin, _highest(x.dtype.newbyteorder("=")))


def max_unpool(values, indices, output_size):
    """Written one by one in C order, so that the last of equal indices stays."""
    values, indices = np.asarray(values), np.asarray(indices)
    n, c = values.shape[:2]
    out = np.zeros((n, c, math.prod(output_size)), values.dtype.newbyteorder("="))
    for i, j in np.ndindex(n, c):
        for v, at in zip(values[i, j].ravel(), indices[i, j].ravel(), strict=True):
            out[i, j, at] = v
    return out.reshape(n, c, *output_size)


# Patches --------------------------------------------------------------------------------------------------------------


def extract_patches(x, kernel_size, *, stride=1, dilation=1, padding=0):
    x = np.asarray(x)
    rank = len(kernel_size)
    windows = Windows(x.shape[x.ndim - rank :], kernel_size, stride, dilation, padding)
    lead = x.shape[: x.ndim - rank]
    padded = pad_by_axis(x, windows.pads, ("constant",) * rank, 0)
    patches = np.zeros((*lead, math.prod(windows.kernel), *windows.out), x.dtype.newbyteorder("="))
    for row, tap in enumerate(itertools.product(*map(range, windows.kernel))):
        patches[(*(slice(None),) * len(lead), row)] = padded[windows.met_by(tap)]
    return patches.reshape(*lead, math.prod(windows.kernel), math.prod(windows.out))


def combine_patches(patches, output_size, kernel_size, *, stride=1, dilation=1, padding=0):
    patches = np.asarray(patches)
    dtype = patches.dtype.newbyteorder("=")
    windows = Windows(output_size, kernel_size, stride, dilation, padding)
    lead = patches.shape[:-2]
    source = patches.astype(wide(dtype)).reshape(*lead, math.prod(windows.kernel), *windows.out)
    canvas = tuple(s + before + after for s, (before, after) in zip(output_size, windows.pads, strict=True))
    total = np.zeros((*lead, *canvas), wide(dtype))
    magnitude = np.zeros((*lead, *canvas), np.zeros(0, wide(dtype)).real.dtype)
    with np.errstate(all="ignore"):
        for row, tap in enumerate(itertools.product(*map(range, windows.kernel))):
            met, elements = windows.met_by(tap), source[(*(slice(None),) * len(lead), row)]
            if dtype == np.bool_:
                total[met] |= elements
                continue
            total[met] += elements
            if is_inexact(dtype):
                magnitude[met] += abs(elements)
    crop = (..., *(slice(b, b + s) for s, (b, _) in zip(output_size, windows.pads, strict=True)))
    terms = math.prod(windows.kernel)
    bound = rounding_bound(terms, magnitude, dtype)[crop] if is_inexact(dtype) else None
    return Expected(total[crop], bound, dtype)


def im2col(x, kernel_size, *, stride=1, dilation=1, padding=0):
    x = np.asarray(x)
    kernel = per_axis(kernel_size, x.ndim - 2)
    patches = extract_patches(x, kernel, stride=stride, dilation=dilation, padding=padding)
    return patches.reshape(x.shape[0], x.shape[1] * patches.shape[2], patches.shape[3])


def col2im(cols, output_size, kernel_size, *, stride=1, dilation=1, padding=0):
    cols = np.asarray(cols)
    kernel = per_axis(kernel_size, len(output_size))
    patches = cols.reshape(cols.shape[0], cols.shape[1] // math.prod(kernel), math.prod(kernel), cols.shape[2])
    return combine_patches(patches, output_size, kernel, stride=stride, dilation=dilation, padding=padding)


# Filters --------------------------------------------------------------------------------------------------------------


def maximum_filter(x, kernel_size, *, stride=None):
    x = np.asarray(x)
    windows = Windows(x.shape[x.ndim - len(kernel_size) :], kernel_size, stride, 1, "valid")
    return _extreme(x, windows, np.argmax, _lowest(x.dtype.newbyteorder("=")))[0]


def minimum_filter(x, kernel_size, *, stride=None):
    x = np.asarray(x)
    windows = Windows(x.shape[x.ndim - len(kernel_size) :], kernel_size, stride, 1, "valid")
    return _extreme(x, windows, np.argmin, _highest(x.dtype.newbyteorder("=")))[0]


def uniform_filter(x, kernel_size, *, stride=None):
    x = np.asarray(x)
    native = x.dtype.newbyteorder("=")
    windows = Windows(x.shape[x.ndim - len(kernel_size) :], kernel_size, stride, 1, "valid")
    return _average(x, windows, native if is_inexact(native) else np.dtype(np.float64), True)
