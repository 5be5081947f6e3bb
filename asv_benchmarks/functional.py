"""Transposed convolutions, under PyTorch's names."""

from .common import Family, measure
from .layers import FUNCTIONAL


class Functional(Family):
    cases = FUNCTIONAL

    def setup_cache(self):
        return measure(self.cases)
