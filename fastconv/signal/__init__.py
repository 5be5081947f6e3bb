"""Functions of `scipy.signal` on fastconv's kernels, for arrays of any rank.

Arguments, shapes, dtypes and kinds of error are SciPy's. Sums are taken as they are written, in place and in the
result's precision, until a transform takes much less time (`fastconv.transforms`). SciPy is not needed; what has no
kernel here, such as longdouble, objects and recursive filters, is handed to it where it is installed.
"""

from .convolution import (
    choose_conv_method,
    convolve,
    convolve2d,
    correlate,
    correlate2d,
    correlation_lags,
    fftconvolve,
    oaconvolve,
)
from .filters import lfilter, resample_poly, savgol_filter, upfirdn

__all__ = [
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "fftconvolve",
    "lfilter",
    "oaconvolve",
    "resample_poly",
    "savgol_filter",
    "upfirdn",
]
