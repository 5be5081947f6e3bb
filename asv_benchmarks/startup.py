"""What is paid once: the import, the first call, the wheel."""

import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .common import tracked
from .turns import REFERENCE, environment, in_groups, sources

FIRST_CALL = """
import numpy, fastconv
fastconv.convolve2d(numpy.ones((1, 4, 16, 16), "float32"), numpy.ones((8, 4, 3, 3), "float32"))
"""
NOTHING_KEPT = """
import os, tempfile
folder = tempfile.TemporaryDirectory()
os.environ["NUMBA_CACHE_DIR"] = folder.name
"""
# The code of a process, and how many turns it has.
CASES = {
    "import": ("import fastconv", 12),
    "first call, kernels kept on disk": (FIRST_CALL, 3),
    "first call, kernels compiled": (NOTHING_KEPT + FIRST_CALL, 3),
}


def seconds(code, folder, variables):
    """Of a process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, check=True)
    return time.perf_counter() - start


class Startup:
    params = [list(CASES)]
    param_names = ["case"]
    timeout = 900

    def setup_cache(self):
        found, reference = {}, sources(REFERENCE)
        with tempfile.TemporaryDirectory() as empty:
            for name, (code, turns) in CASES.items():
                if not code.startswith(NOTHING_KEPT):
                    seconds(code, empty, os.environ), seconds(code, reference, environment())
                pairs = [
                    (seconds(code, empty, os.environ), seconds(code, reference, environment())) for _ in range(turns)
                ]
                groups = in_groups(pairs)
                found[name] = {
                    "ratio": {"samples": [here / other for here, other in groups], "number": 1},
                    "time": {"samples": [here for here, _ in groups], "number": 1},
                }
        return found

    @tracked("x", "startup: time over the reference's", version=REFERENCE)
    def track_ratio(self, cache, case):
        return cache.get(case, {}).get("ratio", math.nan)

    @tracked("seconds", "startup: time")
    def track_time(self, cache, case):
        return cache.get(case, {}).get("time", math.nan)


@tracked("bytes", "startup: size of the wheel")
def track_wheel():
    """asv keeps the wheels of the last commits in the environment's folder."""
    wheels = Path(os.environ.get("ASV_ENV_DIR", ""), "asv-build-cache", os.environ.get("ASV_COMMIT", ""))
    return sum(wheel.stat().st_size for wheel in wheels.glob("*.whl")) or math.nan
