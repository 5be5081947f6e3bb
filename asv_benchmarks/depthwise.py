"""Convolutions with a group for each channel."""

from .common import Family, measure
from .layers import DEPTHWISE


class Depthwise(Family):
    cases = DEPTHWISE

    def setup_cache(self):
        return measure(self.cases)
