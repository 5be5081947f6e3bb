"""Filters of arrays of any number of dimensions as `scipy.ndimage` has them, on fastconv's kernels.

Arguments, shapes, dtypes, rounding and kinds of error are SciPy's; SciPy is not needed. Results are exact for integers;
sums of floats differ by rounding. `output` may be `input`, and is correct also where SciPy's functions of several steps
overwrite what they still read.
"""

from ..extending import offer_drop_ins
from .derivatives import (
    gaussian_gradient_magnitude,
    gaussian_laplace,
    generic_gradient_magnitude,
    generic_laplace,
    laplace,
    prewitt,
    sobel,
)
from .extrema import maximum_filter, maximum_filter1d, minimum_filter, minimum_filter1d
from .linear import (
    convolve,
    convolve1d,
    correlate,
    correlate1d,
    gaussian_filter,
    gaussian_filter1d,
    uniform_filter,
    uniform_filter1d,
)
from .morphology import (
    black_tophat,
    grey_closing,
    grey_dilation,
    grey_erosion,
    grey_opening,
    morphological_gradient,
    morphological_laplace,
    white_tophat,
)

__all__ = [
    "black_tophat",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_gradient_magnitude",
    "generic_laplace",
    "grey_closing",
    "grey_dilation",
    "grey_erosion",
    "grey_opening",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "morphological_gradient",
    "morphological_laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
    "white_tophat",
]

offer_drop_ins("scipy.ndimage", globals())
