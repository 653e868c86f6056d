# Everything a newcomer needs, each target with its own set-up. Needs: make, git, Python 3.11+.
#
#   make demo       a chat room and an echo lab in your browser
#   make test       the quick tests (core, bindings, command line, project rules)
#
# Another Python: `make test PYTHON=python3.12`. All of it goes into .venv; `make clean` removes it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Tests wait for sockets and for time now and then, so three at once keep two processors busy.
WORKERS ?= -n 3 --dist worksteal

# A stamp says that the venv holds what its group asks for. It is older than pyproject.toml after
# a change of the dependencies, and then pip runs again; else set-up costs nothing.
VENV_STAMP    := $(VENV)/.made
DEMO_STAMP    := $(VENV)/.demo-installed
DEV_STAMP     := $(VENV)/.dev-installed
BUILD_STAMP   := $(VENV)/.built
JUST_BUILT    := $(VENV)/.just-built
INTEROP_STAMP := $(VENV)/.interop-installed
BENCH_STAMP   := $(VENV)/.bench-installed
NODE_STAMP    := tests/interop/node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test build check lint types format coverage browser interop autobahn faults flood fuzz bench guard clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: $(DEMO_STAMP) ## start the demo and print its address (ARGS="--port 9000" are handed on)
	$(BIN)/wsview demo $(ARGS)

build: $(BUILD_STAMP) ## the compiled build, in place (`make test` does it too)

test: $(BUILD_STAMP) ## the quick tests
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: lint types test coverage ## what CI asks of every change, without browser and peers

lint: $(DEV_STAMP) ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_STAMP) ## ruff: repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INTEROP_STAMP) ## mypy, strict (the tests with peers, too)
	$(BIN)/mypy

coverage: $(DEV_STAMP) ## every branch of the core, reached by the core's own tests
	WSPROTO_PURE=1 $(BIN)/coverage run -m pytest tests/core -q -m "not exhaustive"
	$(BIN)/coverage report

browser: $(INTEROP_STAMP) ## the demo in headless Chromium
	$(BIN)/python -m pytest tests/browser $(ARGS)

interop: $(INTEROP_STAMP) $(NODE_STAMP) ## peers that others wrote: websockets, aiohttp, node's ws
	$(BIN)/python -m pytest tests/interop $(ARGS)

autobahn: $(BUILD_STAMP) ## the Autobahn test suite, both roles (ARGS="--profile short")
	$(BIN)/python tests/autobahn/run.py $(ARGS)

faults: $(BUILD_STAMP) ## every system call and await of a session fails once (ARGS="--runtime trio")
	$(BIN)/python -m tests.faults $(ARGS)

flood: $(BUILD_STAMP) ## what floods of 50 MB cost in memory (ARGS="--runtime trio --flood pings")
	$(BIN)/python -m tests.bindings.flood $(ARGS)

fuzz: $(BUILD_STAMP) $(INTEROP_STAMP) ## fuzz every target until stopped (ARGS="client_frames --runs 100000")
	PYTHONPATH=src:src/bindings $(BIN)/python -m fuzz $(or $(ARGS),all)

bench: $(BENCH_STAMP) ## speed, beside the peers (ARGS="--quick asyncio-small", ARGS="profile tls-lat")
	$(BIN)/python -m benchmarks $(ARGS)

guard: $(BUILD_STAMP) ## count what a message costs on both builds, and compare (ARGS="--update"; needs valgrind)
	WSPROTO_PURE=1 PYTHONPATH=src:src/bindings $(BIN)/python -m benchmarks.guard $(ARGS)
	PYTHONPATH=src:src/bindings $(BIN)/python -m benchmarks.guard $(ARGS)

clean: ## remove what these targets have made
	rm -rf $(VENV) .venv-autobahn reports tests/interop/node_modules .coverage \
	  benchmarks/.build benchmarks/servers/node_modules tests/faults/.build

# ------------------------------------------------------------------------------------- set-up

$(VENV_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed; name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is incomplete (on Debian: apt install python3-venv)" >&2; exit 1; }
	@# Dependency groups need pip 25.1, and the pip that comes with Python may be older.
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(DEMO_STAMP): $(VENV_STAMP) pyproject.toml
	$(PIP) install --editable ".[cli]"
	@touch $@

$(DEV_STAMP): $(VENV_STAMP) pyproject.toml
	$(PIP) install --editable ".[all]" --group dev
	@touch $@ $(DEMO_STAMP)
	@# Expanded before pip runs: whether it was built before, and might now be of older sources.
	@test -n "$(wildcard src/wsproto_core/octets.*.so)" || ! ls src/wsproto_core/octets.*.so >/dev/null 2>&1 || touch $(JUST_BUILT)

# Installing has built it; this does it again after a change. Where there is no compiler, or where
# WSPROTO_PURE is set, the pure build is used. A changed .pxd changes modules that do not lie beside
# it as well, so then all are made anew.
$(BUILD_STAMP): $(DEV_STAMP) $(wildcard src/*/*.py src/*/*.pyx src/*/*.pxd src/*/extensions/*.py src/*/extensions/*.pxd src/bindings/*/*.py src/bindings/*/*.pxd)
ifndef WSPROTO_PURE
	@test -e $(JUST_BUILT) || $(BIN)/python -c 'import setuptools; setuptools.setup()' --quiet build_ext --inplace $(if $(filter %.pxd,$?),--force)
	@rm -rf build
endif
	@rm -f $(JUST_BUILT)
	@touch $@

$(INTEROP_STAMP): $(DEV_STAMP)
	$(PIP) install --group interop
	@touch $@

# A peer that cannot be had here is told as missing by the benchmarks; the others go on.
$(BENCH_STAMP): $(DEV_STAMP)
	$(PIP) install --group bench
	-cd benchmarks/servers && npm install --no-audit --no-fund --no-package-lock --loglevel=error
	@touch $@

# npm's lock file is not kept: it would record where the package came from on one machine.
$(NODE_STAMP): tests/interop/package.json
	cd tests/interop && npm install --no-audit --no-fund --no-package-lock --loglevel=error
	@touch $@
