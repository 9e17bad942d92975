# Every target makes what it needs: the first one that needs Python packages installs them into .venv, from requirements.lock.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.kontor-installed
# Seconds after which a test run that hangs is ended; it takes about a quarter of that.
TEST_SECONDS ?= 2400
PYTEST ?=
# Its makers' advertisement says nothing about our pages.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
# How many processes run the tests; 0 runs them in one, with output as it comes.
JOBS ?= 2
# How many orders, kills and faults `make chaos` deals out, and from which seed.
N ?= 200
SEED ?= 1
# How long it takes the Prefect API away from a worker, and keeps 120 runs a minute on SQLite, in seconds.
OUTAGE ?= 60
LOAD ?= 600
# How long the streams suffer in `make chaos`, and in `make soak`.
MINUTES ?= 10
HOURS ?= 1
CHAOS ?=
# Campaigns of `make chaos` that bring up desks of their own.
DESKS ?= nights alerts upgrade doctor stops killed

.PHONY: help up down test check docs bench store-dump chaos soak clean lock browser venv

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: venv ## Bring the desk up; Ctrl-C brings it down
	@$(BIN)/kontor up

down: venv ## Bring down a desk that runs in the background
	@$(BIN)/kontor down

test: venv browser ## Run all tests, the desk and the browser included
	@$(BIN)/python -m pytest -n $(JOBS) --session-timeout=$(TEST_SECONDS) $(PYTEST)

check: venv ## Lint, format, types, import rules, links in the documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(MKDOCS) build --quiet --site-dir "$$folder"

docs: venv ## Build the documentation into site/, reference included; a broken link ends it
	@$(MKDOCS) build --quiet
	@echo "open site/index.html"

bench: venv ## Measure Kontor against what one would use instead
	@$(BIN)/python -m benchmarks $(BENCH)

store-dump: venv ## Write down a store of the newest schema revision, for the tests of later migrations
	@$(BIN)/python -m tests.support.old_stores tests/contract/store/released

chaos: venv ## Break the desk on purpose, for longer than the tests do; CHAOS=--prefect kills the worker of a whole desk
	@$(BIN)/python -m tests.chaos.refused --seed $(SEED)
	@$(BIN)/python -m tests.chaos.streams --minutes $(MINUTES) --seed $(SEED)
	@$(BIN)/python -m tests.chaos.campaign --orders $(N) --seed $(SEED) $(CHAOS)
	@$(BIN)/python -m tests.chaos.trading_day --hours 24 --seed $(SEED)
	@$(BIN)/python -m pytest -q $(DESKS:%=tests/chaos/desk_%.py) tests/chaos/server_alerts.py
	@KONTOR_OUTAGE_SECONDS=$(OUTAGE) KONTOR_LOAD_SECONDS=$(LOAD) $(BIN)/python -m pytest -q tests/flows/worker/test_server_life.py

soak: venv ## A whole desk under faults for HOURS real hours, then 24 simulated ones: memory, tasks, sockets, file handles
	@$(BIN)/python -m tests.chaos.desk_soak --minutes $$(( $(HOURS) * 60 )) --seed $(SEED)
	@$(BIN)/python -m tests.chaos.long_day --hours 24 --seed $(SEED)

clean: ## Remove what can be made again; a desk's state in KONTOR_HOME stays
	@rm -rf $(VENV) build site ./*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -not -path './.kontor/*' -prune -exec rm -rf {} +
	@echo "clean; the state of a desk is left alone"

lock: venv ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pipx install uv"; exit 1; }
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header -o requirements.lock

browser:
	@./.ci/browser

venv:
	@./.ci/venv $(VENV) $(STAMP)
