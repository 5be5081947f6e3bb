"""The sizes of the log that this project answers: `orig` is the reference's algorithm in NumPy, `opt` is fastconv."""

from .common import Family, measure
from .layers import REFERENCE


class Reference(Family):
    cases = REFERENCE

    def setup_cache(self):
        return measure(self.cases)
