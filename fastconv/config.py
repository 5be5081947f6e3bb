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

    cpu, vector_bits = _target()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "llvmlite": version("llvmlite"),
        "cpu": cpu,
        "vector_bits": vector_bits,
        "threads": 1,
        "threading_layer": "none (serial)",
        "cache_directory": cache_directory(),
    }


# A sum of 512 bits: its assembly names the widest registers that there are.
_SUM = """
define <16 x float> @sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
"""


def _target() -> tuple[str, int]:
    """The CPU that Numba compiles for, and the bits of the widest vector register that its code may use.

    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES change both. A name implies features, and a feature implies others: no list
    holds them all, so LLVM is asked.
    """
    from llvmlite import binding
    from numba.core.registry import cpu_target

    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    assembly = machine.emit_assembly(binding.parse_assembly(_SUM))
    if "%zmm" in assembly:
        return cpu, 512
    if "%ymm" in assembly:
        return cpu, 256
    # SSE2 and NEON belong to every CPU of these two families.
    return cpu, 128 if platform.machine().lower() in {"x86_64", "amd64", "aarch64", "arm64"} else 64
