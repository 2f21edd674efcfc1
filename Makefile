# Every target sets up what it needs: `make demo` and `make test` work on a fresh clone with Python 3.11+, pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# On Linux the package index may serve torch with CUDA, several GB. TORCH_INDEX=URL takes torch from an index of CPU builds.
TORCH_INDEX ?=
WORKERS ?= auto

.PHONY: help setup demo serve test test-all lint types bench audit clean

help: ## Say what the targets do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

$(STAMP): pyproject.toml clients/python/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "amstream needs Python 3.11 or newer, not " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable clients/python --editable '.[dev]'
	touch $@

setup: $(STAMP) ## Install everything into .venv

demo: $(STAMP) ## The main job on real input, through a kill -9; ends by itself
	$(BIN)/python -m benchmarks.demo

serve: $(STAMP) ## Run the service on embedded defaults
	$(BIN)/amstream serve

test: $(STAMP) ## The tests, without the long ones
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup -m "not long"

test-all: $(STAMP) ## All tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup

lint: $(STAMP) ## Style, formatting, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy
	$(BIN)/mypy tests

bench: $(STAMP) ## The benchmarks at quick scale
	$(BIN)/python -m benchmarks run online.digits
	$(BIN)/python -m benchmarks run step-time
	$(BIN)/python -m benchmarks run faults

audit: $(STAMP) ## Known vulnerabilities of the dependencies
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

clean: ## Remove what the targets made
	rm -rf $(VENV) .foreign .benchmarks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info clients/python/*.egg-info build
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
