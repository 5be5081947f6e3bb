"""What is measured: layers of networks, images, signals, volumes, pools, patches, filters, the reference's own sizes.

Of each row asv shows the name, and `call()` makes the arrays and returns what is timed. Add rows freely; a row whose
numbers change needs another name, lest its curve compare two things.
"""

import functools
import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

import fastconv
from fastconv.cli import reference_algorithm


def random(*shapes: tuple[int, ...], dtype: str = "float32") -> list[np.ndarray]:
    """The same numbers in every run, at new addresses."""
    return [numbers.copy() for numbers in _random(shapes, dtype)]


@functools.lru_cache(4)
def _random(shapes: tuple[tuple[int, ...], ...], dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


class Layer(NamedTuple):
    """A correlation: shapes of the input and of the kernels, and numbers that hold for every spatial axis."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    dtype: str = "float32"
    algorithm: str = "auto"

    def __repr__(self) -> str:
        return self.name  # what asv shows

    @property
    def function(self) -> str:
        return f"correlate{len(self.x) - 2}d"

    @property
    def options(self) -> dict[str, int]:
        return {
            "stride": self.stride,
            "padding_mode": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "algorithm": self.algorithm,
        }

    @property
    def outputs(self) -> tuple[int, ...]:
        """Spatial sizes of the result."""
        return tuple(
            (size + 2 * self.padding - self.dilation * (kernel - 1) - 1) // self.stride + 1
            for size, kernel in zip(self.x[2:], self.w[2:])
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the direct algorithm."""
        return self.x[0] * math.prod(self.w) * math.prod(self.outputs)

    def call(self) -> Callable[[], np.ndarray]:
        x, w = random(self.x, self.w, dtype=self.dtype)
        function, options = getattr(fastconv, self.function), self.options
        return lambda: function(x, w, **options)


class Gradient(NamedTuple):
    """The gradient of a layer with respect to its "input" or "weight", for a batch of images."""

    of: str
    layer: Layer
    batch: int = 1

    def __repr__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.of} of {self.layer.name}"

    @property
    def function(self) -> str:
        return f"grad.conv{len(self.layer.x) - 2}d_{self.of}"

    @property
    def dtype(self) -> str:
        return self.layer.dtype

    @property
    def macs(self) -> int:
        return self.batch * self.layer.macs // self.layer.x[0]

    def call(self) -> Callable[[], np.ndarray]:
        layer, size = self.layer, (self.batch, *self.layer.x[1:])
        x, w, gradient = random(size, layer.w, (self.batch, layer.w[0], *layer.outputs), dtype=layer.dtype)
        arguments = (size, w, gradient) if self.of == "input" else (x, layer.w, gradient)
        function, options = attrgetter(self.function)(fastconv), (layer.stride, layer.padding, layer.dilation)
        return lambda: function(*arguments, *options, layer.groups)


class Window(NamedTuple):
    """A pool, filter or patch function: the shape of its input, its further arguments and options."""

    name: str
    function: str
    x: tuple[int, ...]
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"

    def __repr__(self) -> str:
        return self.name

    def call(self) -> Callable[[], np.ndarray]:
        (x,) = random(self.x, dtype=self.dtype)
        function, options = attrgetter(self.function)(fastconv), dict(self.options)
        return lambda: function(x, *self.arguments, **options)


class PoolGradient(NamedTuple):
    """The gradient of a pool: the shape of the pool's input, and the pool's further arguments."""

    name: str
    pool: str
    x: tuple[int, ...]
    arguments: tuple[Any, ...]
    dtype: str = "float32"

    def __repr__(self) -> str:
        return self.name

    @property
    def function(self) -> str:
        return f"grad.{self.pool}_input"

    def call(self) -> Callable[[], np.ndarray]:
        from fastconv import functional

        (x,) = random(self.x, dtype=self.dtype)
        function, pool = attrgetter(self.function)(fastconv), getattr(functional, self.pool)
        if self.pool.startswith("max"):
            y, indices = pool(x, *self.arguments, return_indices=True)
            return lambda: function(self.x, indices, y)
        y = pool(x, *self.arguments)
        return lambda: function(self.x, y, *self.arguments)


class Filter(NamedTuple):
    """A function of a drop-in for SciPy: the shapes of its input and of its weights, if any, and what follows."""

    name: str
    function: str
    x: tuple[int, ...]
    arguments: tuple[Any, ...] = ()
    weights: tuple[int, ...] = ()
    dtype: str = "float32"
    options: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        return self.name

    def call(self) -> Callable[[], np.ndarray]:
        x, *weights = random(self.x, *filter(None, [self.weights]))
        x = (64 * x).clip(-128, 127).astype(np.int8).view(np.uint8) if self.dtype == "uint8" else x.astype(self.dtype)
        function, options = attrgetter(self.function)(fastconv), dict(self.options)
        return lambda: function(x, *weights, *self.arguments, **options)


class Compiled(NamedTuple):
    """A hundred calls from a user's own compiled loop: the shapes of its arrays, and a number that follows them."""

    name: str
    function: str
    x: tuple[int, ...]
    w: tuple[int, ...] = ()
    number: int = 0
    dtype: str = "float32"

    def __repr__(self) -> str:
        return self.name

    def call(self) -> Callable[[], np.ndarray]:
        import numba

        function = getattr(fastconv, self.function)
        arrays = random(self.x, *filter(None, [self.w]), dtype=self.dtype)
        arguments = (*arrays, self.number) if self.number else tuple(arrays)

        @numba.njit
        def calls(arguments):
            for _ in range(100):
                result = function(*arguments)
            return result

        try:
            calls(arguments)
        except numba.TypingError:
            raise TypeError("this commit does not offer it to compiled code") from None
        return lambda: calls(arguments)


class Reference(NamedTuple):
    """A size of the reference's log: a plain `convolve2d` of ones, by the reference's algorithm or by ours."""

    name: str
    who: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    function = "convolve2d"
    dtype = "float32"

    def __repr__(self) -> str:
        return self.name

    @property
    def macs(self) -> int:
        return self.x[0] * math.prod(self.w) * math.prod(size - k + 1 for size, k in zip(self.x[2:], self.w[2:]))

    def call(self) -> Callable[[], np.ndarray]:
        x, w = (np.ones(shape, self.dtype) for shape in (self.x, self.w))
        function = {"opt": fastconv.convolve2d, "orig": reference_algorithm.convolve2d}[self.who]
        return lambda: function(x, w)


def _square(name: str, batch: int, channels: int, size: int, outputs: int, kernel: int, **options: Any) -> Layer:
    """A two-dimensional layer with square images and kernels."""
    w = (outputs, channels // options.get("groups", 1), kernel, kernel)
    return Layer(name, (batch, channels, size, size), w, **options)


def _depthwise(name: str, channels: int, size: int, kernel: int, stride: int = 1) -> Layer:
    return _square(name, 1, channels, size, channels, kernel, stride=stride, padding=kernel // 2, groups=channels)


CONV = [
    _square("resnet50 stem 7x7 stride 2", 1, 3, 224, 64, 7, stride=2, padding=3),
    _square("resnet50 1x1 64 to 256", 1, 64, 56, 256, 1),
    _square("resnet50 1x1 256 to 64", 1, 256, 56, 64, 1),
    _square("resnet50 1x1 2048 stride 2", 1, 1024, 14, 2048, 1, stride=2),
    _square("resnet50 3x3 64", 1, 64, 56, 64, 3, padding=1),
    _square("resnet50 3x3 128", 1, 128, 28, 128, 3, padding=1),
    _square("resnet50 3x3 128 float64", 1, 128, 28, 128, 3, padding=1, dtype="float64"),
    _square("resnet50 3x3 128 stride 2", 1, 128, 56, 128, 3, stride=2, padding=1),
    _square("resnet50 3x3 256", 1, 256, 14, 256, 3, padding=1),
    _square("resnet50 3x3 512", 1, 512, 7, 512, 3, padding=1),
    _square("vgg16 of cifar 3x3 512, 16 images of 2x2", 16, 512, 2, 512, 3, padding=1),
    _square("inception 5x5 64", 1, 64, 56, 64, 5, padding=2),
    _square("large kernels 7x7 64", 1, 64, 56, 64, 7, padding=3),
    _square("gabor bank 15x15", 1, 1, 256, 40, 15),
    _square("unet 3x3 32", 1, 32, 256, 32, 3, padding=1),
    _square("deeplab 3x3 256 dilation 2", 1, 256, 28, 256, 3, padding=2, dilation=2),
    _square("reference 1x3x64x64", 1, 3, 64, 32, 3),
    _square("reference 8x32x32x32", 8, 32, 32, 64, 3),
    _square("reference 8x32x32x32 float64", 8, 32, 32, 64, 3, dtype="float64"),
]
GROUPED = [
    _square("resnext50 128 in 32 groups", 1, 128, 56, 128, 3, padding=1, groups=32),
    _square("resnext50 512 in 32 groups", 1, 512, 14, 512, 3, padding=1, groups=32),
    _square("resnext50 128 in 32 groups float64", 1, 128, 56, 128, 3, padding=1, groups=32, dtype="float64"),
]
DEPTHWISE = [
    _depthwise("mobilenet2 3x3 96 stride 2", 96, 112, 3, stride=2),
    _depthwise("mobilenet2 3x3 144", 144, 56, 3),
    _depthwise("mobilenet2 3x3 384", 384, 14, 3),
    _depthwise("efficientnet 5x5 240", 240, 28, 5),
    _depthwise("convnext 7x7 96", 96, 56, 7),
    Layer("short rows 4x4 stride 4", (1, 192, 28, 28), (192, 1, 4, 4), stride=4, groups=192),
    Layer("volume 3x3x3 stride 2", (1, 96, 12, 12, 12), (96, 1, 3, 3, 3), stride=2, padding=1, groups=96),
]
IMAGES = [
    Layer(f"full HD {k}x{k}{suffix}", (1, 1, 1080, 1920), (1, 1, k, k), padding=k // 2, dtype=dtype)
    for k, suffix, dtype in (
        (3, "", "float32"),
        (5, "", "float32"),
        (5, " float64", "float64"),
        (11, "", "float32"),
        (31, "", "float32"),
    )
]
SIGNALS = [
    Layer("wavenet 2 taps dilation 256", (1, 64, 16_000), (128, 64, 2), dilation=256),
    Layer("filterbank 251 taps", (1, 1, 16_000), (80, 1, 251)),
    Layer("audio 31 taps 64", (1, 64, 4_000), (64, 64, 31), padding=15),
    Layer("audio stem 10 taps stride 5", (1, 1, 160_000), (512, 1, 10), stride=5),
    Layer("1000 signals 5 taps", (1000, 1, 100), (1, 1, 5)),
    *(
        Layer(f"1M samples {taps} taps float64", (1, 1, 10**6), (1, 1, taps), dtype="float64")
        for taps in (16, 128, 1024)
    ),
]
# Each algorithm by name, where it is at home, and direct sums beside it.
TRANSFORMS = [
    _square(f"{kind} {algorithm}", 1, channels, size, outputs, kernel, padding=kernel // 2, algorithm=algorithm, **more)
    for kind, channels, size, outputs, kernel, more, names in (
        ("3x3 64", 64, 56, 64, 3, {}, ("direct", "winograd", "fft")),
        ("3x3 64 float64", 64, 56, 64, 3, {"dtype": "float64"}, ("direct", "winograd", "fft")),
        ("5x5 64", 64, 56, 64, 5, {}, ("direct", "fft")),
        ("7x7 64", 64, 56, 64, 7, {}, ("direct", "fft")),
        ("40 gabors 15x15", 1, 256, 40, 15, {}, ("direct", "fft")),
        ("depthwise 31x31", 64, 56, 64, 31, {"groups": 64}, ("direct", "fft")),
        ("image 101x101", 1, 1024, 1, 101, {}, ("direct", "fft")),
    )
    for algorithm in names
]
TRANSFORMS += [
    Layer(f"{name} {algorithm}", (1, 1, n), (1, 1, k), padding=k - 1, algorithm=algorithm)
    for name, n, k in (("1M samples 1024 taps", 10**6, 1024), ("50,000 samples by 20,000", 50_000, 20_000))
    for algorithm in ("direct", "fft")
]
VOLUMES = [
    Layer("c3d 5x5x5 16", (1, 16, 16, 32, 32), (16, 16, 5, 5, 5), padding=2),
    Layer("c3d 3x3x3 64", (1, 64, 8, 28, 28), (64, 64, 3, 3, 3), padding=1),
    Layer("c3d stem 3x3x3", (1, 3, 16, 112, 112), (64, 3, 3, 3, 3), padding=1),
]
POOLS = [
    Window("max 3x3 stride 2", "max_pool2d", (8, 64, 112, 112), (3,), (("stride", 2), ("padding_spec", 1))),
    Window("max 2x2", "max_pool2d", (8, 64, 112, 112), (2,)),
    Window("average 3x3 stride 2", "avg_pool2d", (8, 64, 112, 112), (3,), (("stride", 2), ("padding_spec", 1))),
    Window("average 7x7", "avg_pool2d", (8, 512, 7, 7), (7,)),
    Window("F.max_pool2d 2x2", "functional.max_pool2d", (8, 64, 56, 56), (2,)),
    Window("F.adaptive_avg_pool2d 7x7 to 1", "functional.adaptive_avg_pool2d", (8, 512, 7, 7), (1,)),
    Window("F.adaptive_avg_pool2d 13x13 to 6x6", "functional.adaptive_avg_pool2d", (8, 256, 13, 13), (6,)),
    Window("F.adaptive_max_pool2d 13x13 to 6x6", "functional.adaptive_max_pool2d", (8, 256, 13, 13), (6,)),
    Window("F.lp_pool2d 2x2", "functional.lp_pool2d", (8, 64, 56, 56), (2, 2)),
    Window("F.unfold 3x3", "functional.unfold", (4, 64, 56, 56), (3, 1, 1)),
    PoolGradient("gradient of max 3x3 stride 2", "max_pool2d", (8, 64, 56, 56), (3, 2, 1)),
    PoolGradient("gradient of average 3x3 stride 2", "avg_pool2d", (8, 64, 56, 56), (3, 2, 1)),
    Window("maximum filter 9x9 stride 1", "maximum_filter", (1080, 1920), ((9, 9),), (("stride", 1),)),
    Window("uniform filter 9x9 stride 1", "uniform_filter", (1080, 1920), ((9, 9),), (("stride", 1),)),
]
PATCHES = [
    Window("extract 3x3", "extract_patches", (1, 64, 56, 56), ((3, 3),), (("padding", 1),)),
    Window("combine 3x3", "combine_patches", (1, 64, 9, 3136), ((56, 56), (3, 3)), (("padding", 1),)),
    Window("im2col 3x3", "im2col", (1, 64, 56, 56), (3,), (("padding", 1),)),
    Window("col2im 3x3", "col2im", (1, 576, 3136), ((56, 56), 3), (("padding", 1),)),
    Window("im2col 3x3 stride 2", "im2col", (1, 64, 56, 56), (3,), (("stride", 2), ("padding", 1))),
    Window("col2im 3x3 stride 2", "col2im", (1, 576, 784), ((56, 56), 3), (("stride", 2), ("padding", 1))),
    Window("im2col 16x16 stride 16", "im2col", (8, 3, 224, 224), (16,), (("stride", 16),)),
    Window("col2im 16x16 stride 16", "col2im", (8, 768, 196), ((224, 224), 16), (("stride", 16),)),
    Window("im2col 16x16 few", "im2col", (1, 64, 56, 56), (16,), (("stride", 16),)),
    Window("im2col 7x7 stride 2", "im2col", (1, 3, 224, 224), (7,), (("stride", 2), ("padding", 3))),
    Window("col2im 7x7 stride 2", "col2im", (1, 147, 12544), ((224, 224), 7), (("stride", 2), ("padding", 3))),
    Window("im2col 4x4 stride 4", "im2col", (1, 3, 224, 224), (4,), (("stride", 4),)),
    Window("col2im 4x4 stride 4", "col2im", (1, 48, 3136), ((224, 224), 4), (("stride", 4),)),
    Window("im2col 3x3 small planes", "im2col", (1, 512, 7, 7), (3,), (("padding", 1),)),
    Window("extract 9 samples", "extract_patches", (8, 100_000), ((9,),)),
    Window("combine 9 samples", "combine_patches", (8, 9, 99_992), ((100_000,), (9,))),
    Window("extract 3x3x3", "extract_patches", (16, 16, 28, 28), ((3, 3, 3),), (("padding", 1),)),
    Window("combine 3x3x3", "combine_patches", (16, 27, 12544), ((16, 28, 28), (3, 3, 3)), (("padding", 1),)),
]
_TWICE = (("stride", 2), ("padding", 1))
FUNCTIONAL = [  # transposed convolutions
    Filter("dcgan 4x4 stride 2", "functional.conv_transpose2d", (1, 512, 8, 8), (), (512, 256, 4, 4), options=_TWICE),
    Filter("decoder 4x4 stride 2", "functional.conv_transpose2d", (1, 64, 32, 32), (), (64, 32, 4, 4), options=_TWICE),
    Filter("dcgan to rgb", "functional.conv_transpose2d", (16, 64, 32, 32), (), (64, 3, 4, 4), options=_TWICE),
    Filter("unet 2x2 stride 2", "functional.conv_transpose2d", (1, 128, 64, 64), (None, 2), (128, 64, 2, 2)),
    Filter("hifigan 16 stride 8", "functional.conv_transpose1d", (1, 256, 200), (None, 8, 4), (256, 128, 16)),
    Filter("volume 2x2x2 stride 2", "functional.conv_transpose3d", (1, 64, 8, 16, 16), (None, 2), (64, 32, 2, 2, 2)),
    Filter("tiny 2x2 stride 2", "functional.conv_transpose2d", (1, 1, 4, 4), (None, 2), (1, 1, 2, 2)),
]
FILTERS = [
    Filter("gaussian full HD", "ndimage.gaussian_filter", (1080, 1920), (2.0,)),
    Filter(
        "gaussian photograph",
        "ndimage.gaussian_filter",
        (1080, 1920, 3),
        (2.0,),
        dtype="uint8",
        options=(("axes", (0, 1)),),
    ),
    *(Filter(f"mean {k}x{k}", "ndimage.uniform_filter", (1080, 1920), (k,)) for k in (5, 31)),
    *(Filter(f"maximum {k}x{k}", "ndimage.maximum_filter", (1080, 1920), (k,)) for k in (3, 25)),
    Filter("sobel", "ndimage.sobel", (1080, 1920)),
    *(Filter(f"correlate {k}x{k}", "ndimage.correlate", (1080, 1920), weights=(k, k)) for k in (3, 7)),
    Filter("gaussian volume", "ndimage.gaussian_filter", (96, 128, 128), (1.5,)),
    Filter("gaussian recordings, time first", "ndimage.gaussian_filter1d", (20_000, 64), (8.0, 0), dtype="float64"),
    Filter("signal.convolve 501 taps", "signal.convolve", (100_000,), weights=(501,)),
    Filter("signal.convolve2d 15x15", "signal.convolve2d", (512, 512), ("same", "symm"), weights=(15, 15)),
    Filter("signal.fftconvolve 64x64", "signal.fftconvolve", (512, 512), ("same",), weights=(64, 64)),
    Filter("signal.resample_poly 3 to 2", "signal.resample_poly", (480_000,), (2, 3)),
]

GRADIENTS = [
    Gradient("input", layer)
    for layer in (
        _square("resnet50 3x3 64", 1, 64, 56, 64, 3, padding=1),
        _square("resnet50 3x3 128 stride 2", 1, 128, 56, 128, 3, stride=2, padding=1),
        _square("resnext50 256 in 32 groups stride 2", 1, 256, 56, 256, 3, stride=2, padding=1, groups=32),
        _depthwise("mobilenet2 3x3 144", 144, 56, 3),
        _depthwise("mobilenet2 3x3 96 stride 2", 96, 112, 3, stride=2),
        _square("alexnet 11x11 stride 4", 1, 3, 224, 64, 11, stride=4, padding=2),
    )
]
GRADIENTS += [
    Gradient("weight", layer, 4)
    for layer in (CONV[0], CONV[4], CONV[8], GROUPED[0], DEPTHWISE[1], DEPTHWISE[4], SIGNALS[0], VOLUMES[1])
]

# Small, since they are computed anew in wider arithmetic.
ACCURACY = [
    _square(f"dense 3x3 {dtype}", 1, 32, 20, 32, 3, padding=1, dtype=dtype)
    for dtype in ("float16", "float32", "float64")
]
ACCURACY += [
    _square("dense 1x1", 1, 256, 14, 64, 1),
    _square("7x7 stride 2", 1, 3, 64, 16, 7, stride=2, padding=3),
    _square("3x3 in 8 groups", 1, 32, 28, 32, 3, padding=1, groups=8),
    _depthwise("depthwise 3x3", 32, 28, 3),
    Layer("image 11x11", (1, 1, 120, 160), (1, 1, 11, 11), padding=5),
    Layer("signal 1024 taps", (1, 1, 20_000), (1, 1, 1024)),
    Layer("signal 1024 taps float64", (1, 1, 20_000), (1, 1, 1024), dtype="float64"),
    Layer("volume 3x3x3", (1, 8, 8, 14, 14), (8, 8, 3, 3, 3), padding=1),
]

ACCURACY += [
    _square(f"{kind} {algorithm}", 1, channels, 40, outputs, kernel, padding=kernel // 2, algorithm=algorithm)
    for kind, channels, outputs, kernel in (("3x3 64", 64, 64, 3), ("7x7 32", 32, 32, 7), ("21x21", 1, 1, 21))
    for algorithm in ("direct", *(["winograd"] if kernel == 3 else []), "fft")
]

# Of each kind of work that threads share, one that is large enough.
SHARED = [CONV[0], CONV[1], CONV[4], GROUPED[0], DEPTHWISE[1], IMAGES[0], IMAGES[3], SIGNALS[1], VOLUMES[1]]
SHARED += [POOLS[0], POOLS[4], FILTERS[0], FILTERS[7], PATCHES[0]]

COMPILED = [
    Compiled("correlate2d 4x4", "correlate2d", (1, 1, 4, 4), (1, 1, 3, 3)),
    Compiled("correlate2d 16x16", "correlate2d", (1, 4, 16, 16), (8, 4, 3, 3)),
    Compiled("correlate1d 1000", "correlate1d", (1, 1, 1000), (1, 1, 16)),
    Compiled("max_pool2d 32x32", "max_pool2d", (1, 8, 32, 32), number=2),
    Compiled("im2col 8x8", "im2col", (1, 2, 8, 8), number=3),
]

MEMORY = [
    _square("vgg 3x3 64", 1, 64, 224, 64, 3, padding=1),
    IMAGES[3],
    SIGNALS[-1],
    POOLS[0],
    FILTERS[0],
]

# The six sizes of the reference's log, by its own algorithm and by ours.
REFERENCE = [
    Reference(f"{who} {size}", who, x, w)
    for who in ("opt", "orig")
    for size, x, w in (
        ("tiny_4x4", (1, 1, 4, 4), (1, 1, 3, 3)),
        ("small_8x8", (1, 1, 8, 8), (1, 1, 3, 3)),
        ("medium_16x16", (1, 4, 16, 16), (8, 4, 3, 3)),
        ("channels_32x32", (1, 8, 32, 32), (16, 8, 3, 3)),
        ("kernel_5x5", (1, 4, 16, 16), (8, 4, 5, 5)),
        ("batch_16x16", (4, 4, 16, 16), (8, 4, 3, 3)),
    )
]

# Those that `make regressions` compares.
FAMILIES = {
    "conv": CONV,
    "grouped": GROUPED,
    "depthwise": DEPTHWISE,
    "images": IMAGES,
    "signals": SIGNALS,
    "volumes": VOLUMES,
    "transforms": TRANSFORMS,
    "pools": POOLS,
    "patches": PATCHES,
    "filters": FILTERS,
    "functional": FUNCTIONAL,
    "gradients": GRADIENTS,
    "reference": REFERENCE,
    "compiled": COMPILED,
}
