# Everything that development needs. `make PYTHON=python3.12 venv` picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NOTEBOOK := notebooks/00-quickstart.ipynb
# More arguments for pytest: make test ARGS='-k dockerfile'
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo lab test lint bench

help:
	@echo 'make venv    make .venv with everything that development needs'
	@echo 'make demo    run the quickstart notebook, keep the result below artifacts/'
	@echo 'make lab     open the quickstart in JupyterLab'
	@echo 'make test    run the tests; more arguments in ARGS'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   measure, on this machine'

venv: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'make venv: $(PYTHON) must be Python 3.11 or newer; name one: make venv PYTHON=/path/to/python3.11' >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(PYTHON) -c 'import virtualenv' 2>/dev/null || { \
	  echo 'make venv: $(PYTHON) lacks the module ensurepip, so it cannot make a virtual environment.' >&2; \
	  echo '  As root on Debian or Ubuntu:  apt-get install python3-venv' >&2; \
	  echo '  Without root:                 $(PYTHON) -m pip install --user virtualenv' >&2; \
	  echo '  Or name another interpreter:  make venv PYTHON=/path/to/python3' >&2; \
	  exit 1; }
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; \
	  then $(PYTHON) -m venv $(VENV); else $(PYTHON) -m virtualenv $(VENV); fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,lab]'
	@touch $@

demo: venv
	@mkdir -p artifacts
	PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m nbconvert --to notebook --execute \
	  --ExecutePreprocessor.timeout=900 --output-dir artifacts --output quickstart.ipynb $(NOTEBOOK)
	$(BIN)/python -m nbconvert --to html --output-dir artifacts --output quickstart.html artifacts/quickstart.ipynb
	@echo
	@echo "The quickstart ran on this machine. Look at it in a browser:"
	@echo "  $$PWD/artifacts/quickstart.html"
	@echo "and as a notebook with its outputs: artifacts/quickstart.ipynb"
	@echo "To run it yourself, cell by cell: make lab"

lab: venv
	PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m jupyterlab \
	  $$(test "$$(id -u)" -ne 0 || echo --allow-root) $(NOTEBOOK)

test: venv
	$(BIN)/python -m pytest $(ARGS)

lint: venv
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: venv
	@$(BIN)/python -c 'import os, platform; u = os.uname(); \
	  model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]; \
	  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9; \
	  print(f"{(model or [u.machine])[0]}, {len(os.sched_getaffinity(0))} processors, {memory:.1f} GB, " \
	        f"{u.sysname} {u.release}, Python {platform.python_version()}")'
	@failed=; for program in tests/bench/bench_*.py; do \
	  [ -e "$$program" ] || continue; \
	  echo; echo "== $$program"; \
	  $(BIN)/python "$$program" || failed="$$failed $$program"; \
	done; \
	if [ -n "$$failed" ]; then echo "make bench: these did not end well:$$failed" >&2; exit 1; fi
