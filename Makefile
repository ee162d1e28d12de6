# Few, obvious targets. `make demo` and `make test` do everything they need on a fresh machine.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo demo-once test test-fast simulate bench-models bench bench-smoke bench-api faults lint lock clean

setup: $(READY)  ## virtual environment from the locked dependencies

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found: install Python 3.11 or 3.12, or say which: make PYTHON=python3.12 …" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	-$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib  # on all cores, without the packages' own tests: pip takes twice as long
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup  ## stream a real line to a live page; Ctrl-C stops it all
	@exec $(BIN)/chipquality demo $(ARGS)

demo-once: setup  ## stream everything once, measure, print one JSON line, exit
	@exec $(BIN)/chipquality demo --once $(ARGS)

test: setup  ## all checks and tests, on a real broker and real Ray
	BIN=$(BIN) sh tests/run.sh all

test-fast: setup  ## pure tests only, no broker, no Ray
	BIN=$(BIN) sh tests/run.sh fast

SEEDS ?= 2000
FIRST_SEED ?= 0
simulate: setup  ## seeds of the simulation: crashes, zombies, lost answers, torn transactions …; a failing seed prints itself
	@$(BIN)/python -m tests.simulation --seeds=$(SEEDS) --first-seed=$(FIRST_SEED) $(ARGS)

bench-models: setup  ## what judging costs: ratios with goals, and a table of all detectors; exit code 1 if a goal is missed
	@$(BIN)/python -m tests.bench.detectors $(ARGS)

bench: setup  ## the table of speed and size beside peers, more than an hour: ARGS="--only latency --rounds 1"; exit code 1 if a goal is missed
	@$(BIN)/python -m tests.bench $(ARGS)

bench-smoke: setup  ## a few ratios against recorded ones, 2 minutes; exit code 1 if one has lost a third
	@$(BIN)/python -m tests.bench --smoke $(ARGS)

bench-api: setup  ## the API while a pipeline streams, 100 readers, 50 live charts: ARGS="--haproxy /path/of/haproxy"; exit code 1 if a goal is missed
	@$(BIN)/python -m tests.bench.api $(ARGS)

faults: setup  ## the fault matrix on three brokers and several Ray nodes: ARGS="--list", "--quick", "--case owner --repeat 2"
	@$(BIN)/python -m tests.faults $(ARGS)

lint: setup  ## format, lint and types
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

lock: setup  ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock

clean:  ## remove what setup and runs have made
	rm -rf $(VENV) .chipquality build dist *.egg-info .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
