"""Full HD images of one channel."""

from .common import Family, measure
from .layers import IMAGES


class Images(Family):
    cases = IMAGES

    def setup_cache(self):
        return measure(self.cases)
