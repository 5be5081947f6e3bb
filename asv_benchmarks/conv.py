"""Dense convolutions of published networks."""

from .common import Family, measure
from .layers import CONV


class Conv(Family):
    cases = CONV

    def setup_cache(self):
        return measure(self.cases)
