"""Numba kernels on raw strided memory: compiled loops that know nothing of the frontend.

Bottom to top: `jit` (compiling and caching), `strided` (how an ndarray reaches a kernel), `window` (sizes and padding),
then one module for each algorithm.
"""
