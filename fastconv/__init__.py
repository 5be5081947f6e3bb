"""Convolution for NumPy arrays on the CPU, compiled with Numba.

Importing this package imports no compiler: Numba is loaded when a kernel is first needed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "conv": "correlate1d correlate2d correlate3d correlate_nd convolve1d convolve2d convolve3d convolve_nd",
    "pool": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d min_pool1d min_pool2d min_pool3d "
    "max_unpool1d max_unpool2d max_unpool3d maximum_filter minimum_filter uniform_filter",
    "patches": "extract_patches combine_patches im2col col2im",
    "config": "show_config",
    "threads": "get_num_threads set_num_threads num_threads",
    "workspace": "release_workspace",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = ["__version__", *_HOME]

# In a checkout the kernels lie beside the package, where Python started from the root finds the package first.
_root = Path(__file__).parent.parent
if not (_root / "fastconv" / "kernels").exists() and (_root / "kernels" / "strided.py").exists():
    __path__.append(str(_root))

import_module(".sources", __name__)  # notes what all files look like, before more of them are read


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
