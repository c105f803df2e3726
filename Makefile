# Everything from an empty checkout: each target makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SERIAL ?= phone

.PHONY: demo test test-fast test-device check clean

demo: $(VENV)/.export  ## the whole line on real photographs, on this machine
	$(BIN)/mofa-deploy run --device host --out build

test: check  ## everything CI runs
	$(BIN)/python -m pytest

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow"

test-device: $(VENV)/.dev  ## what holds on every phone, on the one that is attached (SERIAL=...)
	MOFA_TEST_DEVICE=$(SERIAL) $(BIN)/python -m pytest -k attached tests/android_bench

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.export: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export]'
	touch $@

$(VENV)/.dev: $(VENV)/.export
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf build $(VENV)
