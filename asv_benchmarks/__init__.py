"""Benchmarks for airspeed velocity: `make asv-quick` runs each once."""
