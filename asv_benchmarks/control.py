"""The fixed version beside itself: what these curves show, no commit did."""

import math

from .common import tracked
from .layers import SHARED
from .turns import REFERENCE, Elsewhere, measure_times


class Control:
    params = [SHARED[::3]]
    param_names = ["case"]
    timeout = 900

    def setup_cache(self):
        with Elsewhere() as one, Elsewhere() as other:
            offered = [case for case in self.params[0] if one.offers(case) and other.offers(case)]
            times = measure_times({case: [one, other] for case in offered})
        return {case.name: each["ratio"] for case, each in times.items()}

    @tracked("x", "control: the reference's time over itself", version=REFERENCE)
    def track_ratio(self, cache, case):
        return cache.get(case.name, math.nan)
