# make demo   the first two papers, end to end
# make test   the whole suite
# make docs   the documentation as a site
# make notebooks   executes the notebooks and keeps their outputs
# All make a virtual environment in .venv first; PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

.PHONY: help demo test docs notebooks lint install constraints clean

help:
	@sed -nE 's/^# ((make|All) .*)/\1/p' Makefile
	@echo "make lint     ruff, with its format check"
	@echo "make constraints   writes the installed versions to constraints.txt"

install: $(STAMP)

$(STAMP): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ansatz needs Python 3.11 or newer; choose one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m projects.ntk.main --config=configs/ntk.py --workdir=runs/ntk
	$(BIN)/python -m projects.capacity.main --config=configs/capacity.py --workdir=runs/capacity

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist=loadgroup

# The site of the documentation, with warnings as errors: build/site/index.html
docs: $(VENV)/.docs
	DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo build/site/index.html

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[docs]'
	@touch $@

notebooks: $(STAMP)
	$(BIN)/python -m launch.notebooks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The versions that the suite was last run with, as pip reports them.
constraints: $(STAMP) $(VENV)/.docs
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
