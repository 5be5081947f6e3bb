"""Calls from users' own compiled code, without the step from Python."""

import numba
import numpy as np

import fastconv


class FromCompiledCode:
    version = "1"
    timeout = 600

    def setup(self):
        @numba.njit
        def calls(x, w, count):
            total = 0.0
            for _ in range(count):
                total += fastconv.correlate2d(x, w)[0, 0, 0, 0]
            return total

        self.calls, self.x, self.w = calls, np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32)
        try:
            calls(self.x, self.w, 1)
        except numba.TypingError:
            raise NotImplementedError("this commit has no functions for compiled code") from None

    def time_thousand_calls(self):
        self.calls(self.x, self.w, 1000)

    time_thousand_calls.pretty_name = "compiled code: 1000 calls, 4 x 4"
