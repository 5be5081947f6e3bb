"""Layers of published networks, images, signals, volumes and pools: time, time per multiply-accumulate, and memory."""

import math
from typing import NamedTuple

import numpy as np

import fastconv

from .common import best_seconds, bytes_above_output


class Layer(NamedTuple):
    """Shapes of the input and of the kernels, and numbers that hold for every spatial axis."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    dtype: str = "float32"

    def count_macs(self):
        """Multiply-accumulates of the direct algorithm."""
        outputs = [
            (size + 2 * self.padding - self.dilation * (kernel - 1) - 1) // self.stride + 1
            for size, kernel in zip(self.x[2:], self.w[2:])
        ]
        return self.x[0] * math.prod(self.w) * math.prod(outputs)


def _square(batch, channels, size, outputs, kernel, **options):
    """A two-dimensional layer with square images and kernels."""
    w = (outputs, channels // options.get("groups", 1), kernel, kernel)
    return Layer((batch, channels, size, size), w, **options)


def _depthwise(channels, size, kernel, stride=1):
    return _square(1, channels, size, channels, kernel, stride=stride, padding=kernel // 2, groups=channels)


DENSE = {
    "resnet50_stem_7x7_stride2": _square(1, 3, 224, 64, 7, stride=2, padding=3),
    "resnet50_1x1_64_to_256": _square(1, 64, 56, 256, 1),
    "resnet50_1x1_256_to_64": _square(1, 256, 56, 64, 1),
    "resnet50_1x1_1024_to_2048_stride2": _square(1, 1024, 14, 2048, 1, stride=2),
    "resnet50_3x3_64": _square(1, 64, 56, 64, 3, padding=1),
    "resnet50_3x3_64_batch16": _square(16, 64, 56, 64, 3, padding=1),
    "resnet50_3x3_128": _square(1, 128, 28, 128, 3, padding=1),
    "resnet50_3x3_128_float64": _square(1, 128, 28, 128, 3, padding=1, dtype="float64"),
    "resnet50_3x3_128_stride2": _square(1, 128, 56, 128, 3, stride=2, padding=1),
    "resnet50_3x3_256": _square(1, 256, 14, 256, 3, padding=1),
    "resnet50_3x3_512": _square(1, 512, 7, 512, 3, padding=1),
    "vgg_3x3_64": _square(1, 64, 224, 64, 3, padding=1),
    "vgg_3x3_512": _square(1, 512, 28, 512, 3, padding=1),
    "unet_3x3_32": _square(1, 32, 256, 32, 3, padding=1),
    "deeplab_3x3_256_dilation2": _square(1, 256, 28, 256, 3, padding=2, dilation=2),
    # What the reference measures beside its log, in both precisions.
    **{
        f"reference_batch{batch}_{channels}x{size}x{size}_{dtype}": _square(
            batch, channels, size, outputs, 3, dtype=dtype
        )
        for dtype in ("float32", "float64")
        for batch, channels, size, outputs in ((1, 3, 64, 32), (8, 32, 32, 64), (16, 64, 16, 128))
    },
}
GROUPED = {
    "mobilenet2_depthwise_3x3_96_stride2": _depthwise(96, 112, 3, stride=2),
    "mobilenet2_depthwise_3x3_144": _depthwise(144, 56, 3),
    "mobilenet2_depthwise_3x3_384": _depthwise(384, 14, 3),
    "efficientnet_depthwise_5x5_240": _depthwise(240, 28, 5),
    "convnext_depthwise_7x7_96": _depthwise(96, 56, 7),
    "resnext50_3x3_128_groups32": _square(1, 128, 56, 128, 3, padding=1, groups=32),
    "resnext50_3x3_512_groups32": _square(1, 512, 14, 512, 3, padding=1, groups=32),
}
SIGNALS = {
    "wavenet_2_taps_dilation256": Layer((1, 64, 16_000), (128, 64, 2), dilation=256),
    "audio_filterbank_251_taps": Layer((1, 1, 16_000), (80, 1, 251)),
    "audio_stem_10_taps_stride5": Layer((1, 1, 160_000), (512, 1, 10), stride=5),
    **{f"signal_1M_{taps}_taps": Layer((1, 1, 1_000_000), (1, 1, taps), dtype="float64") for taps in (16, 128, 1024)},
}
VOLUMES = {
    "c3d_3x3x3_64": Layer((1, 64, 8, 28, 28), (64, 64, 3, 3, 3), padding=1),
    "c3d_stem_3x3x3": Layer((1, 3, 16, 112, 112), (64, 3, 3, 3, 3), padding=1),
}
IMAGES = {
    f"full_hd_{k}x{k}_{dtype}": Layer((1, 1, 1080, 1920), (1, 1, k, k), padding=k // 2, dtype=dtype)
    for k, dtype in ((3, "float32"), (5, "float32"), (5, "float64"), (11, "float32"), (31, "float32"))
}
LAYERS = {**DENSE, **GROUPED, **SIGNALS, **VOLUMES, **IMAGES}

# name: function, shape of the input, window, options
POOLS = {
    "max_3x3_stride2": ("max_pool2d", (8, 64, 112, 112), 3, {"stride": 2, "padding_spec": 1}),
    "max_2x2": ("max_pool2d", (8, 64, 112, 112), 2, {}),
    "avg_3x3_stride2": ("avg_pool2d", (8, 64, 112, 112), 3, {"stride": 2, "padding_spec": 1}),
    "avg_7x7": ("avg_pool2d", (8, 512, 7, 7), 7, {}),
}


def _random(*shapes, dtype="float32"):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


class Convolutions:
    param_names = ["layer"]
    params = [list(LAYERS)]
    timeout = 300  # the first call compiles

    def setup(self, name):
        layer = LAYERS[name]
        x, w = _random(layer.x, layer.w, dtype=layer.dtype)
        function = getattr(fastconv, f"correlate{len(layer.x) - 2}d")
        options = {"stride": layer.stride, "padding_mode": layer.padding, "dilation": layer.dilation}
        self.run = lambda: function(x, w, groups=layer.groups, **options)
        self.run()  # compile here, never in the timed call

    def time_correlate(self, name):
        self.run()

    def track_picoseconds_per_mac(self, name):
        return best_seconds(self.run) * 1e12 / LAYERS[name].count_macs()

    track_picoseconds_per_mac.unit = "ps"

    def track_bytes_above_output(self, name):
        return bytes_above_output(self.run)

    track_bytes_above_output.unit = "bytes"


class Pools:
    param_names = ["pool"]
    params = [list(POOLS)]
    timeout = 300

    def setup(self, name):
        function, shape, window, options = POOLS[name]
        (x,) = _random(shape)
        self.run = lambda: getattr(fastconv, function)(x, window, **options)
        self.run()

    def time_pool(self, name):
        self.run()

    def track_bytes_above_output(self, name):
        return bytes_above_output(self.run)

    track_bytes_above_output.unit = "bytes"
