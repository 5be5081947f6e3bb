"""Hypothesis profiles. Both are derandomised: a run that fails, fails again."""

import os

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,  # the first call of a dtype compiles
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("default", max_examples=60, **_COMMON)
settings.register_profile("slow", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
