"""Convolutions over three axes."""

from .common import Family, measure
from .layers import VOLUMES


class Volumes(Family):
    cases = VOLUMES

    def setup_cache(self):
        return measure(self.cases)
