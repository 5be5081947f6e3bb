"""The hypothesis profile. Derandomised: a run that fails, fails again. Long sweeps say their own number of examples."""

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
