"""Gradients of layers with respect to their inputs and weights."""

from .common import Family, measure
from .layers import GRADIENTS


class Gradients(Family):
    cases = GRADIENTS

    def setup_cache(self):
        return measure(self.cases)
