"""Numba kernels on raw strided memory: compiled loops that know nothing of the frontend.

Bottom to top: `shapes` (a call in numbers), `sources` (which version runs), `process` (interrupts and forks), `store`
(files of machine code), `jit` (compiling and caching), `strided` (how an ndarray reaches a kernel), `window` (windows
over axes) and `team` (threads); `simd` (LLVM IR); `convolution` and `windows` (families of kernels); `calls` (from
compiled code). `lessons` are the kernels as plain loops, to teach with.
"""

from importlib import import_module


def __getattr__(name: str) -> object:
    """`lessons` loads when it is asked for, as the public names of the package above do."""
    if name != "lessons":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    import_module(".process", __package__).import_modules((name,))
    return globals()[name]
