"""Patches out of images, and back."""

from .common import Family, measure
from .layers import PATCHES


class Patches(Family):
    cases = PATCHES

    def setup_cache(self):
        return measure(self.cases)
