"""The six sizes of the reference's log: convolve2d, valid, float32, ones."""

import numpy as np

import fastconv

from .common import REFERENCE_SIZES, bytes_above_output


class Convolve2d:
    param_names = ["size"]
    params = [list(REFERENCE_SIZES)]
    timeout = 300  # the first call compiles

    def setup(self, size):
        self.x, self.w = (np.ones(shape, np.float32) for shape in REFERENCE_SIZES[size])
        self.run()  # compile here, never in the timed call

    def run(self):
        return fastconv.convolve2d(self.x, self.w)

    def time_convolve2d(self, size):
        self.run()

    def track_bytes_above_output(self, size):
        return bytes_above_output(self.run)

    track_bytes_above_output.unit = "bytes"
