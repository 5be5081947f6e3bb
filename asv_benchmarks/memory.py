"""What a call takes from the system at its peak, beyond what the process had before it."""

import ctypes
import gc
import math
import multiprocessing
import re
from pathlib import Path

import fastconv

from .common import tracked
from .layers import MEMORY
from .turns import Here


def peak(case):
    """Bytes, the result's included; a second call's, since the first one loads kernels."""
    if not Here().offers(case):
        return math.nan
    call = case.call()
    call()
    getattr(fastconv, "release_workspace", bool)()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system, to be taken anew
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(name):
    (kilobytes,) = re.findall(rf"^{name}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(kilobytes)


class Memory:
    params = [MEMORY]
    param_names = ["case"]
    timeout = 900

    def setup_cache(self):
        """Each in a process of its own."""
        if not Path("/proc/self/clear_refs").exists():  # Linux has it
            return {}
        context, found = multiprocessing.get_context("fork"), {}
        for case in MEMORY:
            with context.Pool(1) as pool:
                found[case.name] = pool.apply(peak, [case])
        return found

    @tracked("bytes", "memory: peak of a call above what the process had")
    def track_peak(self, cache, case):
        return cache.get(case.name, math.nan)
