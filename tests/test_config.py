"""`show_config` against what others say of this machine."""

import json
import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from cases import slow
from subprocesses import ROOT, run_python

import fastconv

X86 = platform.machine().lower() in ("x86_64", "amd64")
KEYS = [
    "version",
    "python",
    "numpy",
    "numba",
    "llvmlite",
    "cpu",
    "vector_bits",
    "threads",
    "threading_layer",
    "scipy_patched",
    "cache_directory",
]


def python(code, **variables):
    """Run ``code`` in a new process; what it prints last is JSON."""
    environment = dict.fromkeys(name for name in os.environ if name.startswith(("NUMBA_", "XDG_CACHE")))
    return json.loads(run_python(code, **{**environment, **variables}).stdout.splitlines()[-1])


CONFIG = "import json, fastconv; print(json.dumps(fastconv.show_config('dicts')))"


def test_dicts():
    report = fastconv.show_config("dicts")
    assert list(report) == KEYS
    declared = re.search(r'^__version__ = "(.+)"$', (ROOT / "fastconv" / "__init__.py").read_text(), re.MULTILINE)
    assert report["version"] == fastconv.__version__ == declared[1]
    assert report["python"] == ".".join(map(str, sys.version_info[:3])) + sys.version.split()[0].lstrip("0123456789.")
    assert report["numpy"] == np.__version__
    assert report["numba"] == version("numba")
    assert report["llvmlite"] == version("llvmlite")
    assert report["threads"] == fastconv.get_num_threads()
    assert report["threading_layer"] == "fastconv (Python threads over compiled code without the GIL)"
    json.dumps(report)  # plain types only


def test_every_report_is_a_new_one():
    fastconv.show_config("dicts").clear()
    assert list(fastconv.show_config("dicts")) == KEYS


def test_stdout_is_the_default(capsys):
    report = fastconv.show_config("dicts")
    assert fastconv.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert fastconv.show_config("stdout") is None
    assert capsys.readouterr().out.splitlines() == lines
    column = max(map(len, KEYS)) + 2
    assert [line[:column].rstrip() for line in lines] == [key.replace("_", " ") for key in KEYS]
    assert [line[column:] for line in lines] == [str(report[key]) for key in KEYS]


@pytest.mark.parametrize("mode", ["json", "", None, "Dicts"])
def test_a_wrong_mode(mode):
    with pytest.raises(
        ValueError, match=rf"^show_config\(\): mode is {re.escape(repr(mode))}, expected one of 'stdout', 'dicts'$"
    ):
        fastconv.show_config(mode)


def test_the_cache_directory_is_where_kernels_are_kept(tmp_path):
    code = (
        "import numpy as np, fastconv; fastconv.max_unpool1d(np.ones((1, 1, 1)), np.zeros((1, 1, 1), int), 2)\n"
        + CONFIG
    )
    folder = Path(python(code, NUMBA_CACHE_DIR=str(tmp_path))["cache_directory"])
    assert tmp_path in folder.parents
    assert any(path.is_file() and path.stat().st_size > 1000 for path in folder.iterdir())


def test_no_cache_directory_where_none_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert python(CONFIG, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))["cache_directory"] is None


# Vector width --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not X86, reason="the flags are those of x86-64")
def test_vector_bits_are_what_the_processor_says():
    try:
        listed = Path("/proc/cpuinfo").read_text()
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    flags = set(re.search(r"^flags\s*:(.*)$", listed, re.MULTILINE)[1].split())
    bits = 512 if "avx512f" in flags else 256 if "avx" in flags else 128
    report = python(CONFIG)
    assert report["vector_bits"] == bits
    assert isinstance(report["cpu"], str)
    assert report["cpu"]


LOOP = """
import json, re, numba, numpy as np, fastconv

@numba.njit
def add(a, b):
    for i in range(a.size):
        a[i] += b[i]

add.compile("(float32[::1], float32[::1])")
assembly, = add.inspect_asm().values()
registers = [name for name in ("xmm", "ymm", "zmm") if re.search(rf"%{name}\\d", assembly)]
report = fastconv.show_config("dicts")
print(json.dumps([report["cpu"], report["vector_bits"], 128 << ["xmm", "ymm", "zmm"].index(registers[-1])]))
"""


@pytest.mark.skipif(not X86, reason="the names are those of x86-64")
@pytest.mark.parametrize(
    ("cpu", "features", "bits"),
    [
        ("generic", None, 128),
        slow(("generic", "+avx", 256)),
        ("generic", "+avx2", 256),  # AVX is implied
        slow(("generic", "+avx512f", 512)),
        slow(("x86-64", "", 128)),
        ("haswell", "", 256),  # by its name
        slow(("haswell", "-avx", 128)),
        ("znver4", "-avx512f", 256),
        slow(("znver4", "+sse2", 512)),
    ],
)
def test_vector_bits_follow_numbas_variables(cpu, features, bits):
    """And are those of the registers in what Numba then makes of a loop, which need not run here."""
    variables = {"NUMBA_CPU_NAME": cpu} | ({} if features is None else {"NUMBA_CPU_FEATURES": features})
    assert python(LOOP, **variables) == [cpu, bits, bits]
