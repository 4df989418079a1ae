# `make run` on a fresh machine sets up .venv and runs the whole series. Everything else is one line below.
# make run PROFILE=smoke NOTEBOOKS="04 05" ARGS="-p epochs=2" is effnet run 04 05 --profile smoke -p epochs=2.

PYTHON ?= python3
PROFILE ?= quick
NOTEBOOKS ?=
ROW ?=
PLATFORM ?=
REPOSITORY ?=
ARGS ?=

SHELL := bash
BIN := .venv/bin
STAMP := .venv/installed
SITE := .venv/installed-site
EFFNET := $(BIN)/python -m effnet_helpers
NBVAL = $(KEEP) $(BIN)/python -m pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 600
# Kernels come from .venv, whatever else the user's Jupyter knows under the name python3.
export JUPYTER_PREFER_ENV_PATH := 1
# Kernels that are not started by `effnet` keep freed memory, too: see effnet_helpers/machine/allocation.py.
KEEP = $(shell $(BIN)/python -c 'from effnet_helpers import machine; print(*map("=".join, machine.kernel_environment().items()))')

.DEFAULT_GOAL := help
.PHONY: help env run lab notebooks test test-release bench site kit publish clean-cache

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

env: $(STAMP) ## set up .venv with the tested versions

run: $(STAMP) ## run the series: table, pages and figures in runs/latest
	@$(EFFNET) run $(NOTEBOOKS) --profile $(PROFILE) $(ARGS)

lab: $(STAMP) ## open JupyterLab on the notebooks
	@$(KEEP) $(BIN)/jupyter lab --notebook-dir=notebooks

notebooks: $(STAMP) ## rebuild the committed notebooks and their outputs from notebooks/src
	@$(EFFNET) build $(NOTEBOOKS)

test: $(STAMP) ## lint, unit tests, lessons 00 to 03 cell by cell, the whole series small and on other data
	@echo "== 1 of 4: lint"
	@$(BIN)/ruff check effnet_helpers tests notebooks/src docs/site docs/kit setup.py
	@$(BIN)/ruff format --check effnet_helpers tests notebooks/src docs/site docs/kit setup.py
	@echo "== 2 of 4: unit tests, and the rules every notebook keeps to"
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not notebooks and not release"
	@echo "== 3 of 4: committed notebooks 00 to 03, every cell again (nbval)"
	@$(NBVAL) notebooks/0[0123]_*.ipynb
	@echo "== 4 of 4: the series, small: other parameters, Stanford Dogs in miniature, a folder with broken files"
	@$(BIN)/python -m pytest -m "notebooks and not release"
	@echo "== all tests passed"

test-release: site ## what only matters before a release: 04 to 09, A and B cell by cell, larger variants, bands
	@$(BIN)/python -m pytest -m release
	@$(NBVAL) notebooks/0[456789]_*.ipynb notebooks/[AB]_*.ipynb
	@echo "== all tests before a release passed"

bench: $(STAMP) ## compare with published recipes, or only ROW="start head": notebooks/results/bench.csv
	@PYTHONPATH=tests $(BIN)/python -m bench $(ROW) $(ARGS)

site: $(SITE) ## lessons, exercises, glossary, reference and slides as pages that need no network: site/index.html
	@$(BIN)/python docs/site/build.py && $(BIN)/python docs/site/slides.py
	@echo "Open site/index.html"

kit: site ## one archive for a room without network: dist/effnet-kit-….zip; PLATFORM=win_amd64 is for another system
	@$(BIN)/python docs/kit/build.py $(if $(PLATFORM),--platform $(PLATFORM))

publish: $(STAMP) ## write the course's address everywhere: make publish REPOSITORY=owner/name
	@$(EFFNET) publish "$(REPOSITORY)"

clean-cache: $(STAMP) ## delete cached features, activations and images
	@$(EFFNET) clean-cache

# Installed again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "This course needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot create environments. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up .venv: a few minutes, once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

$(SITE): $(STAMP)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[site]"
	@touch $@
