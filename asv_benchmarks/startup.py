"""What is paid once: the import, the first call, the wheel."""

import os
from pathlib import Path

from .common import tracked

FIRST_CALL = """
import numpy, fastconv
fastconv.convolve2d(numpy.ones((1, 4, 16, 16), "float32"), numpy.ones((8, 4, 3, 3), "float32"))
"""
NOTHING_KEPT = """
import os, tempfile
folder = tempfile.TemporaryDirectory()
os.environ["NUMBA_CACHE_DIR"] = folder.name
"""


class Startup:
    """Every sample is a process of its own."""

    version = "1"
    timeout = 600
    rounds = 1
    repeat = 5
    warmup_time = 0

    def timeraw_import(self):
        return "import fastconv"

    def timeraw_first_call(self):
        return FIRST_CALL

    def timeraw_first_call_ever(self):
        return NOTHING_KEPT + FIRST_CALL

    timeraw_import.pretty_name = "startup: import"
    timeraw_first_call.pretty_name = "startup: first call, kernels kept on disk"
    timeraw_first_call_ever.pretty_name = "startup: first call, kernels compiled"
    timeraw_first_call_ever.repeat = 2


@tracked("bytes", "startup: size of the wheel")
def track_wheel():
    """asv keeps the wheels of the last commits in the environment's folder."""
    wheels = Path(os.environ.get("ASV_ENV_DIR", ""), "asv-build-cache", os.environ.get("ASV_COMMIT", ""))
    return sum(wheel.stat().st_size for wheel in wheels.glob("*.whl")) or float("nan")
