"""The tests of kernels once more, with the vectors of older x86-64 processors."""

from pathlib import Path

import pytest
from subprocesses import run

HERE = Path(__file__).parent
CPUS = {"haswell": (32, "avx2"), "x86-64": (16, "sse2")}  # by LLVM's name; bytes of a vector, as /proc/cpuinfo has it
FILES = (
    "conversion", "convolve", "correlate", "dtypes", "fft", "fft_planes", "fft_tiles", "filters", "functional",
    "functional_pools", "grad_pools", "grad_weights", "ndimage", "overlaps", "padding", "panels", "patches", "pool",
    "properties", "reference", "simd", "strides", "winograd",
)  # fmt: skip

CODE = """
import sys, pytest
from fastconv.kernels.simd.vectors import VECTOR_BYTES
assert VECTOR_BYTES == int(sys.argv[1])
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", sys.argv[2]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("cpu", CPUS)
def test_narrower_vectors(cpu, file):
    width, feature = CPUS[cpu]
    try:
        known = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        known = []
    if feature not in known:
        pytest.skip(f"the machine has no {feature}, or does not say so")
    run("-c", CODE, width, HERE / f"test_{file}.py", NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="")
