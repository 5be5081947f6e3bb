# Everything here sets itself up: `python3`, `make` and a package index are all that a fresh clone needs.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= auto

PY := $(VENV)/bin/python
# Stamps, one per set of extras: set-up runs once, and again when pyproject.toml changes.
DEMO := $(VENV)/.installed-demo
BENCH := $(VENV)/.installed-bench
TEST := $(VENV)/.installed-test
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help venv demo bench test slow check asv-quick wheel clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

venv: $(PY)  ## an empty virtual environment in .venv

demo: $(DEMO)  ## filter a photograph, write fastconv-demo.png
	$(PY) -m fastconv demo

bench: $(BENCH)  ## time the reference's six sizes, with the peers that are installed in .venv
	$(PY) -m fastconv bench

test: $(TEST)  ## run the tests, long sweeps left out
	$(PY) -m pytest -n $(JOBS)

slow: $(TEST)  ## run the long sweeps
	$(PY) -m pytest -n $(JOBS) -m slow

check: $(DEV)  ## lint, format, types, import layers
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_layers.py

# asv keeps its machine file in the home directory: give it one of its own.
asv-quick: $(DEV)  ## run every benchmark once in .venv
	@mkdir -p .asv/home
	HOME=$(CURDIR)/.asv/home $(PY) -m asv machine --yes > /dev/null
	HOME=$(CURDIR)/.asv/home $(PY) -m asv run --quick --python=same --show-stderr

wheel: $(DEV)  ## build dist/*.whl and dist/*.tar.gz
	$(PY) -m build

clean:  ## remove everything that the targets made
	rm -rf $(VENV) .asv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis fastconv-demo.png
	find fastconv kernels tests asv_benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[$*]"
	@touch $@
