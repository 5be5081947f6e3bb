"""Numba kernels on raw strided memory: compiled loops that know nothing of the frontend.

Bottom to top: `sources` (which version runs), `process` (interrupts and forks), `jit` (compiling and caching),
`strided` (how an ndarray reaches a kernel), `window` (sizes and padding) and `team` (threads); `simd` (all LLVM IR);
`convolution` and `windows` (the families of kernels); `calls` (from compiled code). `lessons` are the kernels as plain
loops, to teach with.
"""
