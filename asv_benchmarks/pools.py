"""Pools, and filters over images."""

from .common import Family, measure
from .layers import POOLS


class Pools(Family):
    cases = POOLS

    def setup_cache(self):
        return measure(self.cases)
