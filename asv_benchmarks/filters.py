"""Filters of images, volumes and recordings, and functions of signals, under SciPy's names."""

from .common import Family, measure
from .layers import FILTERS


class Filters(Family):
    cases = FILTERS

    def setup_cache(self):
        return measure(self.cases)
