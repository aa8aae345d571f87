# `make demo` tells the story, `make test` proves it.  Both install what they need into .venv first, from hash locks.

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PACKAGES := identity netstack crdt sync apps
JS := tests/interop/js
# -n 2: the suite is made of many short tests and a few that wait for other processes
PYTEST_FLAGS ?= -n 2 --dist worksteal

# Tests find node and kithkin by name, whether they come from the system or from the venv.
export PATH := $(BIN):$(PATH)
# Nothing that is started here meets the public DHT or this network's neighbours; tests and demo bring a DHT of their own.
export KITHKIN_BOOTSTRAP :=
export KITHKIN_LAN := off

.PHONY: venv test check format demo docs coverage bench bench-trust soak lock clean

venv: .stamps/python .stamps/node

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What the demo needs: no system package, no compiler.
.stamps/runtime: requirements/build.txt requirements/runtime.txt pyproject.toml
	@mkdir -p .stamps
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.stamps/system: .ci/system
	@mkdir -p .stamps
	bash .ci/system
	@touch $@

.stamps/python: requirements/dev.txt .stamps/runtime .stamps/system
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

.stamps/node: $(JS)/package-lock.json requirements/node.txt .stamps/python
	bash .ci/node $(BIN)/python
	cd $(JS) && npm ci --no-audit --no-fund
	@touch $@

check: .stamps/python
	ruff check .
	ruff format --check .
	mypy --strict $(PACKAGES) benchmarks docs/site $(wildcard examples/*.py) tests
	lint-imports

test: venv check
	pytest $(PYTEST_FLAGS)

format: .stamps/python
	ruff check --fix .
	ruff format .

demo: .stamps/runtime
	kithkin demo

# What the site needs: no system package, no compiler, no network once it is installed.
.stamps/docs: requirements/docs.txt .stamps/runtime
	$(PIP) --require-hashes -r requirements/docs.txt
	@touch $@

# The site, into build/site.  A warning (a dead link, a name that is not in the source) is an error.
docs: .stamps/docs
	python docs/site/build.py

# The suite, with every process that it starts measured; docs/evidence/coverage.txt has the figure and what it means.
coverage: venv
	@mkdir -p build
	set -o pipefail; pytest $(PYTEST_FLAGS) --cov --cov-report=term | tee build/coverage.txt

# About a quarter of an hour, four minutes of it Autobase; the raw rounds are kept.
bench: venv
	@mkdir -p docs/evidence
	python -m benchmarks --out docs/evidence/bench-latest.json

# The figures of trust alone, in under ten minutes on a quiet machine.
bench-trust: venv
	@mkdir -p docs/evidence
	python -m benchmarks.trust --out docs/evidence/bench-trust-latest.jsonl

# Hours, not minutes; the log is evidence and is committed.
soak: venv
	@mkdir -p docs/evidence
	set -o pipefail; pytest --soak -m soak -v -s 2>&1 | tee docs/evidence/soak.txt

# Three of the long runs, each by itself.  They go on where their logs end, so they may be done in pieces.
histories: venv
	python -m tests.property.membership.soak_histories --log docs/evidence/histories.txt

clocks: venv
	python -m tests.simulation.soak_clocks --log docs/evidence/clocks.txt

exploration: venv
	python -m tests.property.exploration.soak --log docs/evidence/exploration.txt

lock: .stamps/python
	bash .ci/lock

clean:
	rm -rf .stamps .venv build *.egg-info $(JS)/node_modules

SHELL := /bin/bash
