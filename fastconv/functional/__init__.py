"""Functions of neural networks as `torch.nn.functional` has them, on NumPy arrays and fastconv's kernels.

Names, order and defaults of arguments, shapes and dtypes are PyTorch's, which is not needed. Errors of shapes and
values are both ValueError and RuntimeError.
"""

from .convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
