# The public names as type checkers see them. `make check` holds each signature to the one that runs. Functions that one
# factory makes have one signature, which stands here under the first of their names.

from typing import Any, Literal, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import dask as dask
from . import functional as functional
from . import grad as grad
from . import kernels as kernels
from . import ndimage as ndimage
from . import numpy as numpy
from . import signal as signal
from .algorithms import algorithm as algorithm
from .algorithms import explain as explain
from .algorithms import get_algorithm as get_algorithm
from .algorithms import set_algorithm as set_algorithm
from .config import show_config as show_config
from .hints import ArrayT, Boundaries, DTypeOf, Exact, InexactT, Ints, Number, Padding, SameT, ScalarT, Size
from .scipy_patch import patch_scipy as patch_scipy
from .scipy_patch import scipy_patched as scipy_patched
from .scipy_patch import unpatch_scipy as unpatch_scipy
from .threads import get_num_threads as get_num_threads
from .threads import num_threads as num_threads
from .threads import set_num_threads as set_num_threads
from .workspace import release_workspace as release_workspace

__all__ = [  # noqa: RUF022  # as fastconv/__init__.py groups them
    "__version__",
    "algorithm", "explain", "get_algorithm", "set_algorithm",
    "correlate1d", "correlate2d", "correlate3d", "correlate_nd",
    "convolve1d", "convolve2d", "convolve3d", "convolve_nd",
    "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d",
    "min_pool1d", "min_pool2d", "min_pool3d",
    "max_unpool1d", "max_unpool2d", "max_unpool3d",
    "maximum_filter", "minimum_filter", "uniform_filter",
    "extract_patches", "combine_patches", "im2col", "col2im",
    "show_config",
    "patch_scipy", "unpatch_scipy", "scipy_patched",
    "get_num_threads", "set_num_threads", "num_threads",
    "release_workspace",
]  # fmt: skip

__version__: str

# ---- correlation and convolution

@overload
def correlate1d(
    x: NDArray[SameT],
    w: NDArray[SameT],
    *,
    groups: SupportsIndex = 1,
    stride: Ints = 1,
    padding_mode: Padding = "valid",
    padding: Padding | None = None,
    dilation: Ints = 1,
    fillvalue: Number = 0,
    bias: ArrayLike | None = None,
    boundary: Boundaries = "constant",
    activation: str | None = None,
    algorithm: str = "auto",
    dtype: None = None,
    out: None = None,
) -> NDArray[SameT]: ...
@overload
def correlate1d(
    x: ArrayLike,
    w: ArrayLike,
    *,
    groups: SupportsIndex = 1,
    stride: Ints = 1,
    padding_mode: Padding = "valid",
    padding: Padding | None = None,
    dilation: Ints = 1,
    fillvalue: Number = 0,
    bias: ArrayLike | None = None,
    boundary: Boundaries = "constant",
    activation: str | None = None,
    algorithm: str = "auto",
    dtype: DTypeOf[ScalarT],
    out: None = None,
) -> NDArray[ScalarT]: ...
@overload
def correlate1d(
    x: ArrayLike,
    w: ArrayLike,
    *,
    groups: SupportsIndex = 1,
    stride: Ints = 1,
    padding_mode: Padding = "valid",
    padding: Padding | None = None,
    dilation: Ints = 1,
    fillvalue: Number = 0,
    bias: ArrayLike | None = None,
    boundary: Boundaries = "constant",
    activation: str | None = None,
    algorithm: str = "auto",
    dtype: DTypeLike | None = None,
    out: None = None,
) -> NDArray[Any]: ...
@overload
def correlate1d(
    x: ArrayLike,
    w: ArrayLike,
    *,
    groups: SupportsIndex = 1,
    stride: Ints = 1,
    padding_mode: Padding = "valid",
    padding: Padding | None = None,
    dilation: Ints = 1,
    fillvalue: Number = 0,
    bias: ArrayLike | None = None,
    boundary: Boundaries = "constant",
    activation: str | None = None,
    algorithm: str = "auto",
    dtype: DTypeLike | None = None,
    out: ArrayT,
) -> ArrayT: ...

correlate2d = correlate1d
correlate3d = correlate1d
correlate_nd = correlate1d
convolve1d = correlate1d
convolve2d = correlate1d
convolve3d = correlate1d
convolve_nd = correlate1d

# ---- pools and filters

@overload
def avg_pool1d(
    x: NDArray[InexactT],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dtype: None = None,
) -> NDArray[InexactT]: ...
@overload
def avg_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dtype: DTypeOf[ScalarT],
) -> NDArray[ScalarT]: ...
@overload
def avg_pool1d(
    x: Exact,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dtype: None = None,
) -> NDArray[np.float64]: ...
@overload
def avg_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dtype: DTypeLike | None = None,
) -> NDArray[Any]: ...

avg_pool2d = avg_pool1d
avg_pool3d = avg_pool1d

@overload
def max_pool1d(
    x: NDArray[ScalarT],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    dtype: None = None,
) -> NDArray[ScalarT]: ...
@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    dtype: DTypeOf[ScalarT],
) -> NDArray[ScalarT]: ...
@overload
def max_pool1d(
    x: NDArray[ScalarT],
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    dtype: None = None,
) -> tuple[NDArray[ScalarT], NDArray[np.int64]]: ...
@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    dtype: DTypeOf[ScalarT],
) -> tuple[NDArray[ScalarT], NDArray[np.int64]]: ...
@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    dtype: DTypeLike | None = None,
) -> NDArray[Any]: ...
@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: Literal[True],
    dtype: DTypeLike | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64]]: ...
@overload
def max_pool1d(
    x: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    ceil_mode: bool = False,
    return_indices: bool,
    dtype: DTypeLike | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.int64]]: ...

max_pool2d = max_pool1d
max_pool3d = max_pool1d
min_pool1d = max_pool1d
min_pool2d = max_pool1d
min_pool3d = max_pool1d

@overload
def max_unpool1d(
    values: NDArray[ScalarT],
    indices: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    output_size: Ints | None = None,
) -> NDArray[ScalarT]: ...
@overload
def max_unpool1d(
    values: ArrayLike,
    indices: ArrayLike,
    kernel_size: Ints,
    *,
    stride: Ints | None = None,
    dilation: Ints = 1,
    padding_spec: Padding = "valid",
    padding: Padding | None = None,
    output_size: Ints | None = None,
) -> NDArray[Any]: ...

max_unpool2d = max_unpool1d
max_unpool3d = max_unpool1d

@overload
def maximum_filter(x: NDArray[ScalarT], kernel_size: Size, *, stride: Ints | None = None) -> NDArray[ScalarT]: ...
@overload
def maximum_filter(x: ArrayLike, kernel_size: Size, *, stride: Ints | None = None) -> NDArray[Any]: ...

minimum_filter = maximum_filter

@overload
def uniform_filter(x: NDArray[InexactT], kernel_size: Size, *, stride: Ints | None = None) -> NDArray[InexactT]: ...
@overload
def uniform_filter(x: Exact, kernel_size: Size, *, stride: Ints | None = None) -> NDArray[np.float64]: ...
@overload
def uniform_filter(x: ArrayLike, kernel_size: Size, *, stride: Ints | None = None) -> NDArray[Any]: ...

# ---- patches

@overload
def extract_patches(
    x: NDArray[ScalarT], kernel_size: Size, *, stride: Ints = 1, dilation: Ints = 1, padding: Padding = 0
) -> NDArray[ScalarT]: ...
@overload
def extract_patches(
    x: ArrayLike, kernel_size: Size, *, stride: Ints = 1, dilation: Ints = 1, padding: Padding = 0
) -> NDArray[Any]: ...
@overload
def combine_patches(
    patches: NDArray[ScalarT],
    output_size: Size,
    kernel_size: Size,
    *,
    stride: Ints = 1,
    dilation: Ints = 1,
    padding: Padding = 0,
) -> NDArray[ScalarT]: ...
@overload
def combine_patches(
    patches: ArrayLike,
    output_size: Size,
    kernel_size: Size,
    *,
    stride: Ints = 1,
    dilation: Ints = 1,
    padding: Padding = 0,
) -> NDArray[Any]: ...
@overload
def im2col(
    x: NDArray[ScalarT], kernel_size: Ints, *, stride: Ints = 1, dilation: Ints = 1, padding: Padding = 0
) -> NDArray[ScalarT]: ...
@overload
def im2col(
    x: ArrayLike, kernel_size: Ints, *, stride: Ints = 1, dilation: Ints = 1, padding: Padding = 0
) -> NDArray[Any]: ...
@overload
def col2im(
    cols: NDArray[ScalarT],
    output_size: Size,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    dilation: Ints = 1,
    padding: Padding = 0,
) -> NDArray[ScalarT]: ...
@overload
def col2im(
    cols: ArrayLike,
    output_size: Size,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    dilation: Ints = 1,
    padding: Padding = 0,
) -> NDArray[Any]: ...
