# `make demo` on a fresh machine with Python and nothing else: sets up .venv, starts the example, says what to open.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo setup test lint types layers tests ordering campaign campaign-processes soak fuzz pykka bench clean

demo: setup
	$(BIN)/python -m examples.guild_presence serve $(ARGS)

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { echo "python3 has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	touch $@

test: lint types layers tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

# Four at a time: most tests wait, for nodes and processes, most of the time.
tests: setup
	$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

# The ordering suite alone, with more examples: make ordering ARGS="--hypothesis-profile=long"
ordering: setup
	$(BIN)/python -m pytest tests/ordering $(ARGS)

# Faults by the thousand on simulated nodes; for hours with ARGS="--schedules 1000000 --resume FILE", see docs/simulation.md
campaign: setup
	$(BIN)/python -m tests.campaign sim $(ARGS)

# The same on real processes, over ZeroMQ and a server of NATS, for half an hour; docs/simulation.md
campaign-processes: setup
	$(BIN)/python -m tests.campaign processes $(ARGS)

# Half an hour of traffic and faults on node processes: nothing may grow; writes bench/results/soak.json and soak.md
soak: setup
	$(BIN)/python -m tests.campaign soak $(ARGS)

# A million inputs, guided by coverage; tests/fuzz/README.md. More of one target: make fuzz ARGS="--target link --runs 1000000"
fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

$(VENV)/.fuzz: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris --editable '.[fuzz]' || { \
		echo "atheris, which guides the fuzzing, is not to be had for this Python and machine. The same targets run without it:"; \
		echo "    make tests ARGS='tests/fuzz --hypothesis-profile=long'"; exit 1; }
	touch $@

# Pykka's own test suite, run with manifold.Actor in the place of ThreadingActor.
pykka: setup
	$(BIN)/python -m tests.pykka_suite $(ARGS)

bench: setup
	$(BIN)/python -m bench local $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz
