# Needs Python >= 3.10 with venv, pip and a package index; everything is installed into .venv, nothing outside of it.
# Another Python: `make study PYTHON=python3.12`. A part of the tests: `make test TESTS="tests/test_style.py -x"`.
# More hostile inputs, others, or one again: `make fuzz FUZZ=100000`, `make fuzz SEED=1`, `make fuzz REPLAY=FOLDER`.

PYTHON ?= python3
TESTS ?=
FUZZ ?= 10000
SEED ?= 0
REPLAY ?=
override VENV := .venv
BIN := $(VENV)/bin
# Each pytest worker keeps to one core, and so do the workers that the tests start.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help study test fuzz bench docs package lint format install install-dev clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

study: $(VENV)/.installed  ## install, run the built-in study `demo`, write its tables and figures into runs/demo
	@$(BIN)/smoothmorph run demo --out runs/demo

test: $(VENV)/.installed-dev  ## install, then run every check: style, types, layers, unit, property, parity, end to end
	@$(ONE_THREAD) $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(TESTS)

fuzz: $(VENV)/.installed-dev  ## read FUZZ (10000) hostile inputs of SEED (0); those that find a fault are kept in build/fuzz
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run --inputs $(FUZZ) --seed $(SEED) $(if $(REPLAY),--replay $(REPLAY))

bench: $(VENV)/.installed-dev  ## measure speed and memory against official VoxelMorph, some 15 minutes; keep the machine quiet
	@$(BIN)/python benchmarks/bench.py $(CASES)

docs: $(VENV)/.installed-dev  ## build the documentation into build/site, without the network; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'Open build/site/index.html; for its search: $(BIN)/python -m mkdocs serve'

package: $(VENV)/.installed-dev  ## build the sdist and the wheel into dist/, and let twine check them
	@rm -rf dist && $(BIN)/python -m build --outdir dist . && $(BIN)/python -m twine check --strict dist/*

lint: $(VENV)/.installed-dev  ## ruff, pyright and the layers only
	@$(BIN)/python -m pytest -q tests/test_style.py

format: $(VENV)/.installed-dev  ## let ruff sort the imports, fix what it can and format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

install: $(VENV)/.installed  ## install the project into .venv (editable, with the versions of constraints.txt)
install-dev: $(VENV)/.installed-dev  ## the same with the tests' tools

clean:  ## remove .venv, builds and caches; the results in runs/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps are newer than what they were installed from, and are written only when pip succeeded.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(call pip_install,.)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(call pip_install,.[dev])
	@touch $(VENV)/.installed $@

# One line for each downloaded file; all that pip says is in .venv/install.log, and its end is shown when pip failed.
define pip_install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "smoothmorph needs Python >= 3.10, and $(PYTHON) is not: try make PYTHON=python3.12"; exit 1; }
@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	echo "Creating $(VENV) with `$(PYTHON) --version`"; $(PYTHON) -m venv $(VENV); }
@echo 'Installing smoothmorph ($(1)) into $(VENV): some minutes the first time'
@rm -f $(VENV)/status; { $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '$(1)' 2>&1; \
	echo $$? >$(VENV)/status; } | tee $(VENV)/install.log \
	| grep --line-buffered -oE '^ *(Downloading|Using cached|Processing) [^ ]*(whl|gz)( [(][^a-z]*B[)])?|^Installing collected packages'; \
	test "`cat $(VENV)/status`" = 0 || { tail -n 25 $(VENV)/install.log; echo 'The installation failed.'; exit 1; }
endef
