"""Benchmarks for airspeed velocity: `make asv-quick` runs each once.

They run on one thread, or on `FASTCONV_NUM_THREADS`.
"""

import os

os.environ.setdefault("FASTCONV_NUM_THREADS", "1")
