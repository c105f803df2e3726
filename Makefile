# Everything from an empty checkout: each target makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SERIAL ?= phone
COUNTED := build/gate-arm64
BASELINE := benchmarks/arm64-baseline.json
GATE ?=
REQUIRE_ARM64 ?=

.PHONY: demo test test-fast test-device check gate-arm64 clean

demo: $(VENV)/.export  ## the whole line on real photographs, on this machine
	$(BIN)/mofa-deploy run --device host --out build

test: check  ## everything CI runs; without the emulated core, what needs it is skipped and named (REQUIRE_ARM64=1: fails)
	-$(BIN)/mofa-deploy runtime add --arm64
	$(BIN)/python -m pytest
	@if $(BIN)/mofa-deploy runtime add --arm64; then $(MAKE) gate-arm64; \
	else echo "SKIPPED: the gate on instructions, for want of the pieces named above" >&2; \
	test -z "$(REQUIRE_ARM64)"; fi

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow"

test-device: $(VENV)/.dev  ## what holds on every phone, on the one that is attached (SERIAL=...)
	MOFA_TEST_DEVICE=$(SERIAL) $(BIN)/python -m pytest -k attached tests/android_bench

# Nothing here is searched or timed, so that every machine makes the same graphs.
gate-arm64: $(VENV)/.export  ## are our own graphs heavier than the baseline? (GATE=--rebaseline: take them for it)
	$(BIN)/mofa-deploy runtime add --arm64
	rm -rf $(COUNTED)
	$(BIN)/mofa-deploy export --shape 1,3,64,64 --out $(COUNTED)
	$(BIN)/mofa-deploy quantize --target arm-cpu --preset fast --method percentile-99.99 \
		--crops 64 --out $(COUNTED)
	$(BIN)/mofa-deploy optimize --target arm-cpu --out $(COUNTED)
	$(BIN)/mofa-deploy gate --metric instructions --baseline $(BASELINE) --out $(COUNTED) $(GATE)

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
