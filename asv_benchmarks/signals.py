"""Convolutions over one axis."""

from .common import Family, measure
from .layers import SIGNALS


class Signals(Family):
    cases = SIGNALS

    def setup_cache(self):
        return measure(self.cases)
