"""Layers whose work threads share, on two of them."""

import math
import os

from .common import Family, measure, tracked
from .layers import SHARED
from .turns import Here, measure_times

THREADS = 2


class Threads(Family):
    cases = SHARED

    def setup_cache(self):
        if os.cpu_count() < THREADS:
            return {}
        found = measure(self.cases, THREADS)
        offered = [case for case in self.cases if case.name in found]
        for case, each in measure_times({case: [Here(THREADS), Here()] for case in offered}).items():
            found[case.name]["over_one"] = each["ratio"]
        return found

    @tracked("x", "threads: time on two over that on one", version="1")
    def track_over_one(self, cache, case):
        return cache.get(case.name, {}).get("over_one", math.nan)
