# Everything runs in .venv, which the first target that needs it creates. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
OUT ?= out
CASE ?=
ARGS ?=
# More flags for pip. A machine without a GPU downloads far less with
#   make install PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
PYTEST_FLAGS ?= -n auto --maxprocesses 8 --dist loadfile

BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt
SITE := $(CURDIR)/build/site
# The folders that are there: a fresh scaffold has no benchmarks yet.
SOURCES := $(wildcard pinnsiren problems reference_solvers validation benchmarks tests)

.DEFAULT_GOAL := help
.PHONY: help venv install demo test test-slow lint format typecheck unit evidence bench clean distclean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

venv: install  ## The same as install

install: $(STAMP)  ## Create .venv and install the package, editable, with test and development tools

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pinnsiren needs Python 3.11 or newer, but \`$(PYTHON)\` is older: make install PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) setuptools wheel
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --no-build-isolation -e '.[test,dev]'
	@touch $@

demo: $(STAMP)  ## Solve a problem, check it against the grid, write the report to out/demo
	$(BIN)/python -m pinnsiren.validation.demo --out $(OUT)/demo

test: lint typecheck unit  ## What CI runs: lint, types of the built wheel, fast tests

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check $(SOURCES)

format: $(STAMP)  ## Let ruff mend what it can
	$(BIN)/ruff check --fix $(SOURCES)

# build/lib is emptied first: setuptools would carry modules deleted since into the wheel. mypy starts in an
# empty folder, since ./pinnsiren would shadow the wheel.
typecheck: $(STAMP)  ## Build the wheel, see that it holds pinnsiren alone, run mypy --strict on it
	@rm -rf build/lib build/bdist.* build/wheel build/site && mkdir -p build/empty
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target build/site build/wheel/pinnsiren-*.whl
	@others=$$(ls build/site | grep -v -x -e pinnsiren -e 'pinnsiren-.*\.dist-info' -e bin || true); \
	  [ -z "$$others" ] || { echo "the wheel puts these beside pinnsiren in site-packages:" $$others >&2; exit 1; }
	cd build/empty && MYPYPATH=$(SITE) $(BIN)/mypy --strict --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p pinnsiren

unit: $(STAMP)  ## The fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_FLAGS)

test-slow: $(STAMP)  ## The tests that train for minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_FLAGS) -m 'slow or evidence'

evidence: $(STAMP)  ## Recompute the numbers the documents print; CASE=name for one of them
	$(BIN)/python -m benchmarks.evidence $(if $(CASE),--case $(CASE)) $(ARGS)

bench: $(STAMP)  ## Measure speed and accuracy against peers; ARGS are passed on
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove what was built and computed, keep .venv
	rm -rf build dist $(OUT) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	rm -rf $(VENV)
