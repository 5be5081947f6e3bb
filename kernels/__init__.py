"""Numba kernels on raw strided memory: compiled loops that know nothing of the frontend.

Bottom to top: `shapes` (a call in numbers), `sources` (which version runs), `process` (interrupts and forks), `jit`
(compiling and caching), `strided` (how an ndarray reaches a kernel), `window` (windows over axes) and `team` (threads);
`simd` (LLVM IR); `convolution` and `windows` (families of kernels); `calls` (from compiled code). `lessons` are the
kernels as plain loops, to teach with.
"""
