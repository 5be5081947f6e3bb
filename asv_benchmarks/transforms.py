"""Each algorithm by name, where it is at home."""

from .common import Family, measure
from .layers import TRANSFORMS


class Transforms(Family):
    cases = TRANSFORMS

    def setup_cache(self):
        return measure(self.cases)
