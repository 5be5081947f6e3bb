"""Gradients of convolutions with respect to their weights."""

from .common import Family, measure
from .layers import GRADIENTS


class Gradients(Family):
    cases = GRADIENTS

    def setup_cache(self):
        return measure(self.cases)
