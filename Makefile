# Needs python3 (3.11 to 3.13) with venv, and make. Works with GNU make 3.81 and later, on Debian and macOS.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PEERS := .bench
BENCH_SOURCE ?= vcf_pipeline_tests/data/slivar__ashk-trio.vcf.gz
RARELY_RUN := /(tests?|pip|setuptools|mypyc?|pygments|playwright|cuda)/|/openai/types/
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check looks types collected suite acceptance chaos dev bench lock clean

help: ## what there is to type
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/installed ## the folder .venv with the command vcf-pipeline: a minute, 1.4 GB

$(VENV)/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No python3 from 3.11 to 3.13 found. Install one (Debian: apt-get install python3-venv), or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv. Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing into $(VENV) (about a minute, 1.4 GB)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m compileall -q -j 0 -x '$(RARELY_RUN)' $(VENV)/lib >/dev/null || true # pip does it on one core
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "compiling kernels and trying the installation (once, some seconds)"
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
		$(BIN)/vcf-pipeline run --home "$$home" --json vcf_pipeline_tests/data/scout__643594.clinical.vcf.gz >/dev/null
	@touch $@

demo: setup ## real VCFs by stream and by batch, equal results, and what is in them: half a minute
	@$(BIN)/vcf-pipeline demo

test: setup ## checks, and every quick test
	@$(MAKE) --no-print-directory -j 2 types looks collected
	@$(MAKE) --no-print-directory suite

check: looks types ## ruff, mypy, the direction of imports, the rules of the house

looks: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q vcf_pipeline_tests/test_house.py

types: setup
	$(BIN)/mypy

# pytest compiles each test when it is first collected: once here, before several workers would do it at a time
collected: setup
	@found=$$($(BIN)/pytest -qq --collect-only) || { echo "$$found"; exit 1; }

suite: setup
	$(BIN)/pytest -n 3 --dist loadgroup -m "not acceptance and not chaos" $(PYTEST_ARGS)

acceptance: setup ## the full lists, many minutes; ends with a table
	$(BIN)/python -m pytest -m acceptance -p vcf_pipeline_tests.acceptance_table --timeout=3600 $(PYTEST_ARGS)

chaos: setup ## real brokers killed, frozen and restarted at random under real senders, many minutes
	$(BIN)/python -m pytest -s -m chaos --timeout=5400 $(PYTEST_ARGS)

# A shell without job control ignores SIGINT in what it puts in the background, and Dagster handles SIGTERM as SIGINT.
HEARING = $(BIN)/python -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'

dev: setup ## Dagster's web server and daemon, with the sensors listening
	@exports=$$($(BIN)/vcf-pipeline env) && eval "$$exports" && \
		PYTHONWARNINGS='ignore:Function `dev_command`' exec $(HEARING) $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1

bench: setup $(PEERS)/installed ## our reader beside its peers, each by variants per CPU-second
	$(BIN)/python -m vcf_pipeline_tests.benchmarks.reader_rate --peers $(PEERS)/bin/python --source $(BENCH_SOURCE)

$(PEERS)/installed: vcf_pipeline_tests/benchmarks/peers.lock
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock: ## requirements.lock anew, from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --all-extras --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header --quiet --output-file requirements.lock pyproject.toml

clean: ## away with .venv and caches; your data in .vcf-pipeline stays
	rm -rf $(VENV) $(PEERS) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis build dist *.egg-info
	find vcf_pipeline vcf_pipeline_tests -name __pycache__ -type d -prune -exec rm -rf {} +
