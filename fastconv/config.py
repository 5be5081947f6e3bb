"""What fastconv runs on: versions, CPU, vector width, threads, cache folder."""

import platform
from typing import Any, Literal, overload

from .scipy_patch import is_patched
from .threads import get_num_threads

MODES = ("stdout", "dicts")


@overload
def show_config(mode: Literal["stdout"] = ...) -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show what fastconv runs on.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print the report, or return it.

    Returns
    -------
    dict or None
        With ``"dicts"``: ``version``, ``python``, ``numpy``, ``numba``, ``llvmlite``, ``cpu``, ``vector_bits``,
        ``threads``, ``threading_layer``, ``scipy_patched`` (whether `patch_scipy` is in force) and ``cache_directory``
        (None where there is none and none can be made, or others may write it).

    Raises
    ------
    ValueError
        If `mode` is neither.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(1):
    ...     fastconv.show_config("dicts")["threads"]
    1
    """
    if mode not in MODES:
        raise ValueError(f"show_config(): mode is {mode!r}, expected one of {', '.join(map(repr, MODES))}")
    report = _report()
    if mode == "dicts":
        return report
    width = max(map(len, report))
    for name, value in report.items():
        print(f"{name.replace('_', ' '):{width}s}  {value}")
    return None


def _report() -> dict[str, Any]:
    # All of it costs time to import, Numba most; `import fastconv` must not pay.
    from importlib.metadata import version

    from fastconv import __version__
    from fastconv.kernels.jit import cache_directory
    from fastconv.kernels.simd.vectors import VECTOR_BYTES, target

    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "llvmlite": version("llvmlite"),
        "cpu": target()[0],
        "vector_bits": 8 * VECTOR_BYTES,
        "threads": get_num_threads(),
        "threading_layer": "fastconv (Python threads over compiled code without the GIL)",
        "scipy_patched": is_patched(),
        "cache_directory": cache_directory(),
    }
