"""How hypothesis draws, derandomised: a run that fails, fails again. Long sweeps say their own number of examples."""

import _thread
import gc
import sys
import threading

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fastconv",
    max_examples=60,
    deadline=None,  # the first call of a dtype compiles
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("fastconv")


if (trace := threading.gettrace()) is not None:  # coverage sees the threads that are not those of `threading`, too
    start = _thread.start_new_thread

    def start_traced(function, arguments, *keywords):
        def traced(*given, **named):
            sys.settrace(trace)
            function(*given, **named)

        return start(traced, arguments, *keywords)

    _thread.start_new_thread = start_traced


@pytest.fixture(autouse=True, scope="module")
def leave_what_was_compiled_to_itself():
    """Compiling leaves millions of objects: each collection of garbage would look through them, for seconds."""
    gc.set_threshold(20_000)
    yield
    gc.collect()
    gc.freeze()
