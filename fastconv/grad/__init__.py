"""Gradients of layers, as `torch.nn.grad` has them, on NumPy arrays and fastconv's kernels.

Names, order and defaults of arguments, shapes and dtypes are PyTorch's, which is not needed. Errors of shapes and
values are both ValueError and RuntimeError.
"""

from .inputs import conv1d_input, conv2d_input, conv3d_input

__all__ = ["conv1d_input", "conv2d_input", "conv3d_input"]
