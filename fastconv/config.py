"""What fastconv runs on: versions, CPU, vector width, threads, cache folder."""

import platform
from typing import Any, Literal, overload

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
        ``threads``, ``threading_layer`` and ``cache_directory`` (None where no folder can be written).

    Raises
    ------
    ValueError
        If `mode` is neither.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.show_config("dicts")["threads"]
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

    cpu, features = _target()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "llvmlite": version("llvmlite"),
        "cpu": cpu,
        "vector_bits": _vector_bits(platform.machine(), features),
        "threads": 1,
        "threading_layer": "none (serial)",
        "cache_directory": cache_directory(),
    }


def _target() -> tuple[str, frozenset[str]]:
    """The CPU that Numba compiles for, and its features: the host's, or NUMBA_CPU_NAME's and NUMBA_CPU_FEATURES'."""
    from llvmlite import binding
    from numba.core import codegen, config

    listed = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    features = frozenset(name[1:] for name in listed.split(",") if name.startswith("+"))
    return config.CPU_NAME or binding.get_host_cpu_name(), features


def _vector_bits(machine: str, features: frozenset[str]) -> int:
    """Bits of the widest vector register that compiled code may use."""
    if "avx512f" in features:
        return 512
    if "avx" in features:
        return 256
    # SSE2 and NEON belong to every CPU of these two families.
    if features & {"sse2", "neon"} or machine.lower() in {"x86_64", "amd64", "aarch64", "arm64"}:
        return 128
    return 64
