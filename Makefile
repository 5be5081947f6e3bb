# Everything here sets itself up: `python3`, `make` and a package index are all that a fresh clone needs.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= auto
# Of the history: how many commits at most, the folder of their results, where the page is served, which benchmarks.
N ?= 12
MACHINE ?= local
PORT ?= 8080
BENCH ?= .
# Of the fuzz: how many cases, for how long at most, what they are drawn from; or one case that a failure printed.
CASES ?= 20000
SECONDS ?= 600
SEED ?= 1
CASE ?=
# Of the tests on an emulated ARM machine: the folder with its system, as CONTRIBUTING.md has it; which tests.
ARM ?= /srv/arm64
TESTS ?= -q tests/test_reference.py tests/test_correlate.py tests/test_dtypes.py tests/test_patches.py tests/test_pool.py

PY := $(VENV)/bin/python
# Stamps, one per set of extras: set-up runs once, and again when pyproject.toml changes.
DEMO := $(VENV)/.installed-demo
BENCHED := $(VENV)/.installed-bench
TEST := $(VENV)/.installed-test
DEV := $(VENV)/.installed-dev
DASHBOARD := $(VENV)/.installed-dashboard
DOCS := $(VENV)/.installed-docs
SITE := $(VENV)/.installed-site
NOTEBOOKS := $(VENV)/.installed-notebooks
# The text is what git keeps. Jupyter's own files are made from it, or it from them where they were edited later.
PAIR := $(PY) -m jupytext --quiet --sync notebooks/*.py

.DEFAULT_GOAL := help
.PHONY: help venv demo bench test slow coverage fuzz check asv-quick history regressions test-dashboard test-arm notebooks test-notebooks docs-notebooks docs docs-serve test-docs wheel clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

venv: $(PY)  ## an empty virtual environment in .venv

demo: $(DEMO)  ## filter a photograph, write fastconv-demo.png
	$(PY) -m fastconv demo

bench: $(BENCHED)  ## time the reference's six sizes, with the peers that are installed in .venv
	$(PY) -m fastconv bench

# Neighbouring tests call the same kernels: a worker keeps to its own part until nothing of it is left.
PYTEST := $(PY) -m pytest -n $(JOBS) --dist worksteal

test: $(TEST)  ## run the tests, for one dtype of each kind, long sweeps left out
	$(PYTEST)

slow: $(TEST)  ## run the tests of the other dtypes, and the long sweeps
	$(PYTEST) -m slow

coverage: $(TEST)  ## the lines and branches of fastconv/ that the tests do not reach; fails where they are over 5 %
	$(PYTEST) --cov --cov-report=term

fuzz: $(TEST)  ## random calls between protected pages against the oracles: CASES=20000 SECONDS=600 SEED=1, or CASE='{...}'
	$(PY) tests/fuzz.py $(if $(CASE),--case '$(CASE)',--cases $(CASES) --seconds $(SECONDS) --seed $(SEED))

check: $(DEV)  ## lint, format, types, stubs, import layers, workflows
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy.stubtest fastconv --concise --mypy-config-file pyproject.toml --allowlist tests/typing/stubtest.txt
	$(PY) -m pytest -q tests/test_layers.py
	$(VENV)/bin/zizmor --offline --quiet .github/workflows

asv-quick: $(DEV)  ## run every benchmark once in .venv
	$(PY) -m history.asv check --environment existing:same
	$(PY) -m history.run --quick

history: $(DEV)  ## benchmark N more commits where they differ, and serve the page: N=12 MACHINE=local PORT=8080 BENCH=.
	$(PY) -m history.run --last $(N) --machine $(MACHINE) --bench '$(BENCH)'
	$(PY) -m history.publish --machine $(MACHINE)
	$(PY) -m http.server --bind 127.0.0.1 --directory .asv/page $(PORT)

regressions: $(DEV)  ## fail if this tree is slower or takes more than where it left the default branch: BENCH=.
	$(PY) -m history.regressions --bench '$(BENCH)'

test-dashboard: $(DASHBOARD)  ## look at the history's page in the system's Chromium; screenshots in .asv/screenshots
	$(PY) -m pytest -m dashboard tests/test_dashboard.py

test-arm: $(TEST)  ## as root, run core tests on an emulated ARM machine: ARM=/srv/arm64 TESTS='...'
	$(PY) tests/emulated.py $(ARM) $(TESTS)

notebooks: $(NOTEBOOKS)  ## open the notebooks in JupyterLab
	$(PAIR)
	$(PY) -m jupyterlab notebooks

test-notebooks: $(NOTEBOOKS)  ## run every cell of the notebooks
	$(PAIR)
	$(PY) -m pytest --nbmake notebooks

docs-notebooks: $(NOTEBOOKS)  ## run the notebooks and make pages of them in docs/notebooks
	$(PAIR)
	rm -rf docs/notebooks
	$(PY) -m nbconvert --execute --CoalesceStreamsPreprocessor.enabled=True --to markdown \
		--output-dir docs/notebooks notebooks/*.ipynb

# Without its history, or a part of it, a clone has a site without the history's pages.
docs: $(DOCS)  ## build the site in docs/_build/html, warnings are errors
	$(PY) -m history.publish || echo "the history's pages are left out: this clone does not have them"
	$(PY) -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html

docs-serve: docs  ## build the site, and serve it on 127.0.0.1: PORT=8080
	$(PY) -m http.server --bind 127.0.0.1 --directory docs/_build/html $(PORT)

test-docs: $(SITE) docs  ## read the site in the system's Chromium; screenshots in docs/_build/screenshots
	$(PY) -m pytest -m site tests/test_site.py

wheel: $(DEV)  ## build dist/*.whl and dist/*.tar.gz
	$(PY) -m build

clean:  ## remove everything that the targets made
	rm -rf $(VENV) .asv build dist *.egg-info .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis fastconv-demo.png
	rm -rf notebooks/*.ipynb notebooks/.ipynb_checkpoints docs/_build docs/gallery docs/api/generated
	find fastconv kernels tests asv_benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[$*]"
	@touch $@
