# The README's commands. Each one sets up what it needs: a virtual environment from hash-pinned locks.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
SUPPORTED := $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m))
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test pytest check bench chaos clean
help:           ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/'

demo: .venv/run.stamp    ## set-up and the main job on real tickets
	@$(BIN)/triage demo

# Tests start our program a hundred times, so it is compiled once; and several runs of tests have the cores already.
test: export PYTHONDONTWRITEBYTECODE =
test: export OPENBLAS_NUM_THREADS = 1
test: .venv/dev.stamp    ## set-up and all tests, lint, types, import contracts
	@$(MAKE) --no-print-directory --jobs=2 check pytest

pytest: .venv/compiled.stamp
	$(BIN)/pytest --numprocesses=5 --dist=loadscope --no-loadscope-reorder

check: .venv/dev.stamp   ## lint and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev.stamp   ## how fast it is, as ratios: a table, and benchmarks/results.json (ROUNDS=5 SECONDS=10)
	@$(BIN)/python -m benchmarks --rounds $(or $(ROUNDS),5) --seconds $(or $(SECONDS),10)

chaos: .venv/dev.stamp   ## whether anything is lost or doubled while every process is killed and frozen (SECONDS=600 SEED=1)
	@$(BIN)/python tests/chaos --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)

clean:          ## removes .venv, caches and the demo's data; never .triage
	rm -rf .venv .triage-demo .triage-bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Triage needs Python 3.11 or 3.12: install it and run make again." >&2; exit 1; }
	@test -n "$(SUPPORTED)" || echo "Not Linux on x86-64: install Postgres (postgres, initdb) and redis-server or valkey-server, and keep them on PATH." >&2
	@echo "Setting up .venv with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --require-hashes -r requirements-pip.lock

.venv/run.stamp: requirements.lock pyproject.toml | .venv/bin/python
	@test -f .venv/dev.stamp || { echo "Installing what Triage needs ..."; $(INSTALL) --require-hashes -r requirements.lock; }
	@$(INSTALL) --no-deps --no-build-isolation --no-index -e .
	@touch $@

.venv/dev.stamp: requirements-dev.lock pyproject.toml | .venv/bin/python
	@echo "Installing what Triage and its tests need ..."
	@$(INSTALL) --no-compile --require-hashes -r requirements-dev.lock
	@$(INSTALL) --no-deps --no-build-isolation --no-index -e .
	@touch $@ .venv/run.stamp

# Else each of the processes that run tests would compile for itself what all of them load.
.venv/compiled.stamp: .venv/dev.stamp
	@$(BIN)/pytest --collect-only --quiet >/dev/null; touch $@
