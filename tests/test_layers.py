"""Imports run one way, kernels know nothing of the frontend, and one module spells Numba's flags."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Lowest first; a module imports from its own row and the rows before it. Packages stand for all that they hold.
LAYERS = [
    {"fastconv.kernels.shapes", "fastconv.kernels.sources", "fastconv.kernels.process", "fastconv.kernels"},
    {"fastconv.kernels.store"},
    {"fastconv.kernels.jit"},
    {"fastconv.kernels.strided"},
    {"fastconv.kernels.window", "fastconv.kernels.team", "fastconv.kernels.lessons"},
    {"fastconv.kernels.simd"},
    {"fastconv.kernels.fft"},
    {"fastconv.kernels.convolution", "fastconv.kernels.windows", "fastconv.kernels.filters"},
    {"fastconv.kernels.calls"},
    {"fastconv.hints", "fastconv.problem", "fastconv.scipy_patch", "fastconv.sources"},
    {"fastconv.torch_names"},
    {
        "fastconv.launch",
        "fastconv.workspace",
        "fastconv.limits",
        "fastconv.threads",
        "fastconv.verbose",
        "fastconv.extending",
    },
    {"fastconv.team"},
    {"fastconv.dispatch", "fastconv.config", "fastconv.transforms", "fastconv.prepared", "fastconv.torch_windows"},
    {"fastconv.algorithms", "fastconv.conv", "fastconv.pool", "fastconv.patches", "fastconv.filters"},
    {"fastconv.transposed"},
    {"fastconv.functional", "fastconv.grad", "fastconv.numpy", "fastconv.ndimage", "fastconv.signal"},
    {"fastconv.njit", "fastconv.dask"},
    {"fastconv"},
    {"fastconv.cli"},
    {"fastconv.__main__"},
]
KERNELS_IMPORT = {"numba", "numpy", "llvmlite", *sys.stdlib_module_names}
NUMBA_FLAGS = {"njit", "jit"}


def sources():
    """The text of every module, by its path in the repository."""
    paths = (path for folder in ("fastconv", "kernels") for path in sorted((ROOT / folder).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def module_name(path):
    """Kernels have the name that they are installed as."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"fastconv.{name}" if name.partition(".")[0] == "kernels" else name


def imports(tree, package):
    """Line and absolute name of all that a module imports, function bodies included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def layer(name):
    """Row of a module, or of the nearest package that has one; None for what is not listed."""
    parts = name.split(".")
    heads = [".".join(parts[:n]) for n in (3, 2) if len(parts) >= n and parts[n - 2] in ("kernels", "fastconv")]
    return next((row for head in heads or [name] for row, names in enumerate(LAYERS) if head in names), None)


def violations(texts):
    found = []
    for where, text in texts.items():
        name, tree = module_name(where), ast.parse(text)
        package = name if where.endswith("/__init__.py") else name.rpartition(".")[0]
        own = layer(name)
        if own is None:
            found.append(f"{where}: not in LAYERS")
            continue
        for line, target in imports(tree, package):
            top = target.partition(".")[0]
            if where.startswith("kernels/") and top not in KERNELS_IMPORT and not target.startswith("fastconv.kernels"):
                found.append(f"{where}:{line}: kernels import {target}")
            elif top == "fastconv" and target != "fastconv.__version__":  # a constant, in the package's file by custom
                row = layer(target)
                # `from fastconv import name`, where the name is no module, is an import of the package itself
                row = layer("fastconv") if row is None else row
                if row > own:
                    found.append(f"{where}:{line}: {name} imports {target}, which stands above it")
        if name != "fastconv.kernels.jit":
            found += [f"{where}:{line}: numba.{flag} outside kernels/jit.py" for line, flag in numba_flags(tree)]
    return found


def numba_flags(tree):
    """Where `numba.njit` or `numba.jit` is spelt, under any alias of numba."""
    aliases = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name for alias in node.names if alias.name == "numba"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba") and not node.level:
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in NUMBA_FLAGS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in NUMBA_FLAGS and ast.unparse(node.value) in aliases:
            yield node.lineno, node.attr


def test_layers():
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        ("kernels/jit.py", "import fastconv", "kernels import fastconv"),
        ("kernels/jit.py", "from fastconv.problem import Problem", "kernels import fastconv.problem.Problem"),
        ("kernels/jit.py", "from .. import problem", "kernels import fastconv.problem"),
        ("kernels/jit.py", "def late():\n    import scipy.fft", "kernels import scipy.fft"),
        ("kernels/convolution/direct.py", "from numba import njit", "numba.njit outside kernels/jit.py"),
        ("kernels/convolution/direct.py", "import numba as nb\nf = nb.njit(abs)", "numba.njit outside kernels/jit.py"),
        ("fastconv/conv.py", "import numba\n@numba.jit\ndef f(): pass", "numba.jit outside kernels/jit.py"),
        ("fastconv/problem.py", "from fastconv import dispatch", "fastconv.problem imports fastconv.dispatch"),
        ("fastconv/dispatch.py", "from .conv import correlate2d", "fastconv.dispatch imports fastconv.conv"),
        ("fastconv/conv.py", "from fastconv import correlate1d", "fastconv.conv imports fastconv.correlate1d"),
        ("fastconv/conv.py", "import fastconv.cli.bench", "fastconv.conv imports fastconv.cli.bench"),
        ("fastconv/stray.py", "", "not in LAYERS"),
        (
            "kernels/strided.py",
            "from .simd.vectors import add",
            "fastconv.kernels.strided imports fastconv.kernels.simd.",
        ),
        ("kernels/simd/rows.py", "from ..convolution import pack", "imports fastconv.kernels.convolution.pack, which"),
        ("kernels/shapes.py", "from .jit import plain", "fastconv.kernels.shapes imports fastconv.kernels.jit."),
    ],
)
def test_a_violation_is_found(path, line, complaint):
    texts = sources()
    (found,) = violations({path: f"{texts.get(path, '')}\n{line}\n"})
    assert complaint in found
