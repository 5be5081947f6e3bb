"""The process's peak memory in a call, beside that of a process that does all but the call."""

import fastconv

from .common import is_offered, tracked
from .layers import MEMORY


class Memory:
    params = [MEMORY]
    param_names = ["case"]
    timeout = 600

    def setup_cache(self):
        """Compile, so that no process that is measured has to."""
        for case in MEMORY:
            if is_offered(case):
                case.call()()

    def setup(self, case):
        if not is_offered(case):
            raise NotImplementedError(case.function)
        self.call = case.call()
        fastconv.correlate1d([[[1.0]]], [[[1.0]]])  # imports Numba

    @tracked("bytes", "memory: peak of a process with the call")
    def peakmem_call(self, case):
        self.call()

    @tracked("bytes", "memory: peak of a process without the call")
    def peakmem_baseline(self, case):
        pass
