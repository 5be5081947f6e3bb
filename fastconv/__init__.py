"""Convolution for NumPy arrays on the CPU, compiled with Numba.

Importing this package imports no compiler: Numba is loaded when a kernel is first needed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "algorithms": "algorithm explain get_algorithm set_algorithm",
    "conv": "correlate1d correlate2d correlate3d correlate_nd convolve1d convolve2d convolve3d convolve_nd",
    "pool": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d min_pool1d min_pool2d min_pool3d "
    "max_unpool1d max_unpool2d max_unpool3d maximum_filter minimum_filter uniform_filter",
    "patches": "extract_patches combine_patches im2col col2im",
    "config": "show_config",
    "scipy_patch": "patch_scipy unpatch_scipy scipy_patched",
    "threads": "get_num_threads set_num_threads num_threads",
    "workspace": "release_workspace",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = ["__version__", *_HOME]

# Loaded when they are asked for, too. Not in `__all__`: `from fastconv import *` must not hide another numpy.
_SUBMODULES = "dask", "functional", "grad", "kernels", "ndimage", "numpy", "signal"

# What other libraries call it, and what to use here.
_LAYER = "correlate{0}, which does what networks call a convolution, or convolve{0}, which flips the kernel"
_SIGNAL = (
    "fftconvolve oaconvolve choose_conv_method correlation_lags lfilter savgol_filter upfirdn resample_poly"  # SciPy's
)
_NDIMAGE = (
    "gaussian_filter gaussian_filter1d maximum_filter1d minimum_filter1d uniform_filter1d sobel prewitt laplace "
    "gaussian_laplace gaussian_gradient_magnitude generic_laplace generic_gradient_magnitude grey_erosion "
    "grey_dilation grey_opening grey_closing white_tophat black_tophat morphological_gradient morphological_laplace"
)
_PLAIN = "{0}1d, {0}2d, {0}3d, {0}_nd, or {0} of fastconv.ndimage, fastconv.numpy or fastconv.signal"
_INSTEAD = {
    **{name: _PLAIN.format(name) for name in ("convolve", "correlate")},
    **{f"conv{rank}": _LAYER.format(rank) for rank in ("1d", "2d", "3d", "_nd")},
    **{f"{kind}_pool": f"{kind}_pool1d, {kind}_pool2d or {kind}_pool3d" for kind in ("avg", "max", "min")},
    **{f"mean_pool{rank}": f"avg_pool{rank}" for rank in ("1d", "2d", "3d")},
    "max_unpool": "max_unpool1d, max_unpool2d or max_unpool3d",
    "gaussianblur": "fastconv.ndimage.gaussian_filter",
    **{name: f"fastconv.ndimage.{name}" for name in _NDIMAGE.split()},
    "filter2d": "correlate2d",
    **{name: f"fastconv.signal.{name}" for name in _SIGNAL.split()},
    "unfold": "im2col or extract_patches",
    "fold": "col2im or combine_patches",
}

# In a checkout the kernels lie beside the package, where Python started from the root finds the package first.
_root = Path(__file__).parent.parent
if not (_root / "fastconv" / "kernels").exists() and (_root / "kernels" / "strided.py").exists():
    # On the package's path for this import alone: whatever lies at the root would be found inside the package.
    __path__.append(str(_root))
    import_module(".kernels", __name__)
    __path__.remove(str(_root))

import_module(".sources", __name__)  # notes what all files look like, before more of them are read
import_module(".limits", __name__)  # before others enter one


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        # With a name and no object, Python adds no guess of its own.
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}{_advice(name)}", name=name)
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, *(name for name in globals() if name.startswith("__"))})


def _advice(name: str) -> str:
    if name.startswith("_"):  # asked by tools, whether it is there
        return ""
    if instead := _INSTEAD.get(name.lower()):
        return f"; use {instead}"
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), [*_HOME, *_SUBMODULES], n=1, cutoff=0.85)
    return f"; did you mean {near[0]}?" if near else ""
