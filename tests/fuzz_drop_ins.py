"""Random calls of functions under the names of NumPy and SciPy, and of compiled callers; see fuzz_cases.py."""

import math
from functools import cache

import numba
import numpy as np
import oracle
import scipy.ndimage
import scipy.signal
from cases import values
from fuzz_arrays import (
    Family,
    Refused,
    array,
    call,
    check,
    convolution_shapes,
    expect,
    native,
    options_of,
    place,
    size,
    sizes,
)
from test_ndimage import numbers
from test_numpy import expect as expect_numpy
from test_signal import check as check_signal
from test_signal import magnitude_of, near

import fastconv
from fastconv import extending, functional, grad, ndimage
from fastconv import numpy as drop_in_numpy
from fastconv import signal as drop_in_signal

FLOATS = ["float32", "float64"]
FILTERED = [*FLOATS, "uint8", "int16", "int32", "bool"]  # as SciPy has them


# Filters -------------------------------------------------------------------------------------------------------------

# Of linear filters: the sum of their absolute weights, and how many roundings a result has, by count of axes.
LINEAR = {
    "sobel": lambda rank: (2 * 4 ** (rank - 1), 8 * rank),
    "prewitt": lambda rank: (2 * 3 ** (rank - 1), 8 * rank),
    "laplace": lambda rank: (4 * rank, 8 * rank),
    "uniform_filter": lambda rank: (1, 40 * rank),
    "gaussian_filter": lambda rank: (1, 40 * rank),
    "gaussian_laplace": lambda rank: (16 * rank, 60 * rank),
    "gaussian_gradient_magnitude": lambda rank: (4 * rank, 60 * rank),
    "uniform_filter1d": lambda rank: (1, 40),
    "gaussian_filter1d": lambda rank: (1, 40),
}
WEIGHED = ["correlate", "convolve", "correlate1d", "convolve1d"]
EXTREMA = [f"{name}_filter{axis}" for name in ("maximum", "minimum") for axis in ("", "1d")]
EXTREMA += ["grey_erosion", "grey_dilation", "grey_opening", "grey_closing"]
SPREAD = ["laplace", "gradient_magnitude"]  # of integers, SciPy's wrap between passes
TOPHATS = ["white_tophat", "black_tophat", "morphological_gradient", "morphological_laplace"]  # differences of extrema
MOVED = ["uniform_filter", "uniform_filter1d", "maximum_filter", "minimum_filter1d", *WEIGHED]  # by an origin
MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]


def draw_ndimage(pick):
    rank = pick.choice([1, 2, 2, 3])
    name = pick.choice([*LINEAR, *EXTREMA, *TOPHATS, *WEIGHED])
    options = {"mode": pick.choice(MODES)}
    if name in MOVED and pick.random() < 0.4:
        options["origin"] = pick.choice([-1, 0, 1])
    return {
        "name": name,
        "x": sizes(pick, rank, 3000),
        "kernel": [pick.randint(1, 5) for _ in range(rank)],
        "axis": pick.randrange(rank),
        "dtype": pick.choice(FLOATS if name.startswith("gaussian_") and name[9:] in SPREAD else FILTERED),
        "options": options,
    } | place(pick)


def play_ndimage(case):
    name, kernel, rank = case["name"], tuple(case["kernel"]), len(case["x"])
    x = array(case, case["x"], case["dtype"], 0, numbers)  # SciPy's doubles hold their sums
    own, options = native(x), options_of(case)
    if name.startswith("morphological") and own.dtype == bool:
        raise Refused("NumPy does not subtract bools")
    weights = np.random.default_rng(case["seed"]).integers(-4, 5, kernel[:1] if name.endswith("1d") else kernel)
    weights = weights.astype("f8")
    first = 0.6 if name.startswith("gaussian") else weights if name in WEIGHED else kernel
    arguments = () if name in ("sobel", "prewitt", "laplace") else (first,)
    if name.endswith("1d"):
        arguments = (kernel[0] if first is kernel else first, case["axis"] % rank)
    with np.errstate(all="ignore"):
        wanted = expect(getattr(scipy.ndimage, name), own, *arguments, **options)
    got = call(case, wanted, getattr(ndimage, name), x, *arguments, **options)
    if name in EXTREMA + TOPHATS or own.dtype.kind not in "f":
        check(got, wanted)
        return
    scale, roundings = LINEAR.get(name, lambda _: (abs(weights).sum(), weights.size + 3))(rank)
    bound = roundings * float(np.finfo(own.dtype).eps) * scale * float(abs(own).max(initial=0))
    wide = getattr(scipy.ndimage, name)(own.astype("f8"), *arguments, **options)
    check(got, oracle.Expected(wide, np.full(wide.shape, bound), own.dtype))


SIDES = (0, "x"), (1, "w")


def few(shape, dtype, seed):
    """Integers of which sums of some thousands fit in sixteen bits."""
    return (values(shape, "u1", seed) % 4).astype(dtype)


def draw_sequences(pick):
    """Functions of NumPy and SciPy of two arrays."""
    module = pick.choice(["numpy", "signal"])
    name = pick.choice(["convolve", "correlate"])
    rank = 1 if module == "numpy" else pick.choice([1, 1, 2, 3])
    if module == "signal" and rank == 2 and pick.random() < 0.5:
        name += "2d"
    return {
        "module": module,
        "name": name,
        "x": sizes(pick, rank, 1200),
        "w": sizes(pick, rank, 200),
        "dtype": pick.choice(["float32", "float64", "complex64", "int16", "uint8", "int64"]),
        "options": {"mode": pick.choice(["full", "same", "valid"])},
    } | place(pick)


def play_sequences(case):
    # SciPy may take integers through transforms: their sums have to be small.
    x, w = (array(case, case[key], case["dtype"], at, few if case["dtype"][0] in "iu" else values) for at, key in SIDES)
    mode, name = case["options"]["mode"], case["name"]
    larger = [a >= b for a, b in zip(case["x"], case["w"], strict=True)]
    if mode == "valid" and case["module"] == "signal" and not (all(larger) or not any(larger)):
        raise Refused("neither holds the other")
    own = [native(a) for a in (x, w)]
    module = drop_in_numpy if case["module"] == "numpy" else drop_in_signal
    got = call(case, True, getattr(module, name), x, w, mode)
    if case["module"] == "numpy":
        check(got, expect_numpy(name, *own, mode))
    else:
        transformed = math.prod(a + b for a, b in zip(case["x"], case["w"], strict=True))
        check_signal(name, got, own, mode, transformed=transformed)


def draw_rows(pick):
    """SciPy's filters along an axis, and products of transforms."""
    rank = pick.choice([1, 1, 2, 3])
    name = pick.choice(["upfirdn", "resample_poly", "savgol_filter", "lfilter", "fftconvolve", "oaconvolve"])
    return {
        "name": name,
        "x": sizes(pick, rank, 3000),
        "taps": size(pick, 40),
        "axis": pick.randrange(rank),
        "dtype": pick.choice(FLOATS),
        "options": {"up": pick.randint(1, 9), "down": pick.randint(1, 9), "mode": pick.choice(["full", "same"])},
    } | place(pick)


def play_rows(case):
    name, (up, down, mode), taps = case["name"], case["options"].values(), case["taps"]
    axis = case["axis"] % len(case["x"])
    x = array(case, case["x"], case["dtype"], 0)
    weights = array(case, [taps], case["dtype"], 1)
    if name.endswith("convolve"):
        weights = array(case, [taps if a == axis else 1 for a in range(x.ndim)], case["dtype"], 1)
    arguments = {
        "upfirdn": (weights, x, up, down, axis),
        "resample_poly": (x, up, down, axis),
        "savgol_filter": (x, min(2 * (taps // 2) + 1, 21), up % 3, 0, 1.0, axis, "nearest"),
        "lfilter": (weights, [2.0], x, axis),
        "fftconvolve": (x, weights, mode, axis),
        "oaconvolve": (x, weights, mode, axis),
    }[name]
    plain = [native(each) if isinstance(each, np.ndarray) else each for each in arguments]
    wanted = expect(getattr(scipy.signal, name), *plain)
    got = call(case, wanted, getattr(drop_in_signal, name), *arguments)
    if name in ("upfirdn", "lfilter"):
        scale, roundings = magnitude_of(x, weights) * taps, taps + 3
    elif name.endswith("convolve"):  # as `check_signal` has it
        scale, roundings = np.linalg.norm(x) * np.linalg.norm(weights), 13 * np.log2(2 * (x.size + taps))
    else:  # of weights of their own, which are computed in other ways
        scale, roundings = 9 * magnitude_of(x), 1e4 if name == "savgol_filter" else 200
    near(got, wanted, scale, roundings)


# Compiled callers -----------------------------------------------------------------------------------------------------

extending.init()


@numba.njit
def compiled_correlate1d(x, w, stride, padding, dilation, groups):
    return fastconv.correlate1d(x, w, stride=stride, padding_mode=padding, dilation=dilation, groups=groups)


@numba.njit
def compiled_correlate2d(x, w, stride, padding, dilation, groups):
    return fastconv.correlate2d(x, w, stride=stride, padding_mode=padding, dilation=dilation, groups=groups)


@numba.njit
def compiled_convolve2d(x, w, stride, padding, dilation, groups):
    return fastconv.convolve2d(x, w, stride=stride, padding_mode=padding, dilation=dilation, groups=groups)


@numba.njit
def compiled_max_pool2d(x, k, stride):
    return fastconv.max_pool2d(x, k, stride=stride)


@numba.njit
def compiled_im2col(x, k, stride, padding):
    return fastconv.im2col(x, k, stride=stride, padding=padding)


# Of whole numbers, whose sums are exact in any order: what the same call gives from Python.
TWINS = {
    "uniform_filter": "ndimage.uniform_filter(x, k, mode='mirror')",
    "maximum_filter": "ndimage.maximum_filter(x, k, mode='constant', cval=2.0)",
    "gaussian_filter": "ndimage.gaussian_filter(x, 0.4 + 0.3 * k, mode='wrap')",
    "correlate1d": "ndimage.correlate1d(x, np.array([-1.0, 0.0, 1.0]), 0, mode='nearest')",
    "correlate": "ndimage.correlate(x, w, mode='reflect')",
    "convolve": "signal.convolve(x, w, mode='same')",
    "correlate2d": "signal.correlate2d(x, w, mode='full', boundary='symm')",
    "conv2d": "functional.conv2d(x[None, None], w[None, None], None, s, k)",
    "conv_transpose2d": "functional.conv_transpose2d(x[None, None], w[None, None], None, s)",
    "avg_pool2d": "functional.avg_pool2d(x[None], k, s)",
    "adaptive_max_pool2d": "functional.adaptive_max_pool2d(x[None], (k, s))",
    "conv2d_weight": (
        "grad.conv2d_weight(x[None, None], (1, 1, k, 1), functional.conv2d(x[None, None], np.ones((1, 1, k, 1))))"
    ),
}
MODULES = {"functional": functional, "grad": grad, "ndimage": ndimage, "signal": scipy.signal, "np": np}
WHOLE = numba.types.Array(numba.float64, 2, "A")


@cache
def twin(name):
    """A user's function, compiled for any strides."""
    scope = dict(MODULES)
    exec(f"def user(x, w, k, s): return {TWINS[name]}", scope)
    return numba.njit((WHOLE, WHOLE, numba.int64, numba.int64))(scope["user"])


def draw_twin(pick):
    return {
        "name": pick.choice(list(TWINS)),
        "x": sizes(pick, 2, 1500),
        "w": sizes(pick, 2, 25),
        "options": {"k": pick.randint(1, 7), "s": pick.randint(1, 3)},
    } | place(pick)


def play_twin(case):
    views = ["reversed" if view == "byteswapped" else view for view in case["views"]]
    x, w = (array(case | {"views": views}, case[key], "float64", at, few) for at, key in SIDES)
    function, (k, s) = twin(case["name"]), case["options"].values()
    expected = expect(function.py_func, x, w, k, s)
    if case["name"] == "convolve":  # SciPy's own, which may transform
        expected = np.rint(expected)
    check(call(case, expected, function, x, w, k, s), expected)


def draw_compiled(pick):
    name = pick.choice(["correlate1d", "correlate2d", "convolve2d", "max_pool2d", "im2col"])
    rank, groups = (1 if name.endswith("1d") else 2), pick.choice([1, 1, 2, 3])
    x, w = convolution_shapes(pick, rank, groups)
    if name in ("max_pool2d", "im2col"):
        x[2:] = sizes(pick, rank, 300)
    return {
        "name": name,
        "x": x,
        "w": w,
        "dtype": pick.choice(["float32", "float64"]),
        "options": {
            "stride": pick.randint(1, 3),
            "padding": pick.randint(0, 3),
            "dilation": pick.randint(1, 2),
            "groups": groups,
        },
    } | place(pick)


def play_compiled(case):
    """Compiled for C-contiguous arrays, and for any other layout once."""
    name, (stride, pads, dilation, groups) = case["name"], case["options"].values()
    views = [view if view in ("contiguous", "stepped") else "reversed" for view in case["views"]]
    case = case | {"views": views}
    x, w = array(case, case["x"], case["dtype"], 0), array(case, case["w"], case["dtype"], 1)
    function, kernel = globals()[f"compiled_{name}"], tuple(case["w"][2:])
    if name == "max_pool2d":
        expected = expect(oracle.max_pool, x, kernel, stride=stride)
        check(call(case, expected, function, x, kernel, stride), expected and expected[0])
    elif name == "im2col":
        expected = expect(oracle.im2col, x, kernel, stride=stride, padding=pads)
        check(call(case, expected, function, x, kernel, stride, pads), expected)
    else:
        options = {"stride": stride, "padding_mode": pads, "dilation": dilation, "groups": groups}
        expected = expect(getattr(oracle, name[:-2]), x, w, **options)
        check(call(case, expected, function, x, w, stride, pads, dilation, groups), expected, 4)


DROP_INS = {
    "ndimage": Family(3, draw_ndimage, play_ndimage),
    "sequences": Family(2, draw_sequences, play_sequences),
    "rows": Family(1, draw_rows, play_rows),
    "compiled": Family(2, draw_compiled, play_compiled),
    "twin": Family(1, draw_twin, play_twin),
}
