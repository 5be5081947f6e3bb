"""Convolutions in a few groups."""

from .common import Family, measure
from .layers import GROUPED


class Grouped(Family):
    cases = GROUPED

    def setup_cache(self):
        return measure(self.cases)
