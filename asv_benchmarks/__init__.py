"""Benchmarks for airspeed velocity, a file for each family of calls; docs/benchmarks.md says how to read them."""

import os
import sys
from pathlib import Path

# A folder for each commit: compiled kernels of one must never serve another. asv names neither where it runs in place.
if "ASV_ENV_DIR" in os.environ and "ASV_COMMIT" in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(Path(os.environ["ASV_ENV_DIR"], "kernels", os.environ["ASV_COMMIT"]))

# `--launch-method forkserver` forks every measurement from one process: what each would import is imported once.
if "run_server" in sys.argv:
    import numba  # noqa: F401
