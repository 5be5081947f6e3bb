"""Gradients of layers, as `torch.nn.grad` has them, and of pools and biases, on NumPy arrays and fastconv's kernels.

Names, order and defaults of arguments, shapes and dtypes are PyTorch's, which is not needed. Errors of shapes and
values are both ValueError and RuntimeError.
"""

from .inputs import conv1d_input, conv2d_input, conv3d_input
from .pools import (
    avg_pool1d_input,
    avg_pool2d_input,
    avg_pool3d_input,
    max_pool1d_input,
    max_pool2d_input,
    max_pool3d_input,
)
from .weights import conv1d_bias, conv1d_weight, conv2d_bias, conv2d_weight, conv3d_bias, conv3d_weight

__all__ = [
    "avg_pool1d_input",
    "avg_pool2d_input",
    "avg_pool3d_input",
    "conv1d_bias",
    "conv1d_input",
    "conv1d_weight",
    "conv2d_bias",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_bias",
    "conv3d_input",
    "conv3d_weight",
    "max_pool1d_input",
    "max_pool2d_input",
    "max_pool3d_input",
]
