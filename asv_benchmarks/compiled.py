"""Calls from users' own compiled code, without the step from Python."""

import math

from .common import tracked
from .layers import COMPILED
from .turns import REFERENCE, Elsewhere, Here, measure_times


def allocations(call):
    """How many pieces of memory Numba's runtime takes in each of the hundred calls."""
    from numba.core.runtime import _nrt_python, rtsys

    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats().alloc
    call()
    return (rtsys.get_allocation_stats().alloc - before) // 100


class FromCompiledCode:
    params = [COMPILED]
    param_names = ["case"]
    timeout = 900

    def setup_cache(self):
        here = Here()
        with Elsewhere() as reference:
            offered = [case for case in COMPILED if here.offers(case)]
            times = measure_times({case: [here, reference] for case in offered if reference.offers(case)})
        return {case.name: {**each, "allocations": allocations(case.call())} for case, each in times.items()}

    @tracked("x", "compiled: time over the reference's", version=REFERENCE)
    def track_ratio(self, cache, case):
        return cache.get(case.name, {}).get("ratio", math.nan)

    @tracked("seconds", "compiled: time of a hundred calls")
    def track_time(self, cache, case):
        return cache.get(case.name, {}).get("time", math.nan)

    @tracked("blocks", "compiled: allocations of a call")
    def track_allocations(self, cache, case):
        return cache.get(case.name, {}).get("allocations", math.nan)
