"""The same functions on Dask arrays, lazily: for images, volumes and recordings that outgrow memory or one machine.

Arguments, errors and results are those of the functions for NumPy arrays. Dask does the rest: nothing here schedules,
sends or tries again. `fastconv.dask.ndimage` holds the filters of `fastconv.ndimage`.
"""

try:
    import dask.array as _dask_array  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f"fastconv.dask needs Dask's arrays, which cannot be imported ({_error}): install fastconv[dask]"
    ) from None

from . import ndimage
from .convolution import (
    convolve1d,
    convolve2d,
    convolve3d,
    convolve_nd,
    correlate1d,
    correlate2d,
    correlate3d,
    correlate_nd,
)
from .windows import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    extract_patches,
    im2col,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    maximum_filter,
    min_pool1d,
    min_pool2d,
    min_pool3d,
    minimum_filter,
    uniform_filter,
)

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "convolve1d",
    "convolve2d",
    "convolve3d",
    "convolve_nd",
    "correlate1d",
    "correlate2d",
    "correlate3d",
    "correlate_nd",
    "extract_patches",
    "im2col",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "maximum_filter",
    "min_pool1d",
    "min_pool2d",
    "min_pool3d",
    "minimum_filter",
    "ndimage",
    "uniform_filter",
]
