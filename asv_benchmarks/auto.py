"""What "auto" chooses beside the fastest of all algorithms, asked for by name."""

import math

from .common import tracked
from .layers import TRANSFORMS
from .turns import Here, best_seconds, measure_times

NEAR = 1.5  # what takes longer than so many times the fastest is out of the question


class Auto:
    params = [[case for case in TRANSFORMS if case.algorithm == "direct"]]
    param_names = ["case"]
    timeout = 900

    def setup_cache(self):
        sides = {}
        for case in self.params[0]:
            named = [Here(algorithm=name) for name in ("direct", "winograd", "fft")]
            able = {side: best_seconds(side.call_of(case), 0) for side in named if side.offers(case)}
            if len(able) > 1:
                near = [side for side, seconds in able.items() if seconds < NEAR * min(able.values())]
                sides[case] = [Here(algorithm="auto"), *near]
        return {case.name: each["ratio"] for case, each in measure_times(sides).items()}

    @tracked("x", 'auto: time of "auto" over the fastest algorithm\'s')
    def track_over_fastest(self, cache, case):
        return cache.get(case.name, math.nan)
