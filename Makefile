# Needs python3 (3.11 or later) with venv, and make. Everything else is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN = $(VENV)/bin
STAMP = $(VENV)/installed

.PHONY: demo quick-demo test slow-test lint types contracts unit clean

demo: $(STAMP)
	$(BIN)/augment demo --out demo

quick-demo: $(STAMP)
	$(BIN)/augment demo --out demo-quick --quick

test: lint types contracts unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

contracts: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

slow-test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,report]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo demo-quick
