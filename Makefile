# Everything a day's work needs. Each target sets up what it uses; a second call installs nothing.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

EXP ?= lathadapter_fewshot
GRID ?= fewshot
SWEEP ?= lathadapter
SEED ?= 1
DEVICES ?= 1
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup train grid sweep ablate reproduce test lint format bench bench-gpu golden fuzz docs pretrain clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Experiments: $$(ls experiments/*.yaml | xargs -n1 basename | sed 's/.yaml//' | grep -v '^base$$' | tr '\n' ' ')"
	@echo "  Example:     make train EXP=lathadapter_fewshot SEED=1 ARGS=\"--data.shots 4\""

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "hierfit needs Python 3.10 or newer; $$($(PYTHON) --version) was found. Set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt -e ".[plot]"
	@touch $@

$(VENV)/.installed-sweep: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e ".[sweep]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

setup: $(VENV)/.installed ## create .venv and install the pinned versions

train: $(VENV)/.installed ## train, test and print the table: EXP= SEED= DEVICES= ARGS="--key value"
	@$(BIN)/hierfit fit $(EXP) --seed_everything $(SEED) --trainer.devices $(DEVICES) $(ARGS)

experiments/grids/$(GRID).yaml:
	@echo "There is no experiments/grids/$(GRID).yaml. There are: $$(ls experiments/grids | sed 's/.yaml//' | tr '\n' ' ')"; exit 2

grid: $(VENV)/.installed experiments/grids/$(GRID).yaml ## run many cells side by side, none twice: GRID= ARGS="--jobs 2 --dry-run"
	@$(BIN)/hierfit grid experiments/grids/$(GRID).yaml $(ARGS)

experiments/sweeps/$(SWEEP).yaml:
	@echo "There is no experiments/sweeps/$(SWEEP).yaml. There are: $$(ls experiments/sweeps | sed 's/.yaml//' | tr '\n' ' ')"; exit 2

sweep: $(VENV)/.installed-sweep experiments/sweeps/$(SWEEP).yaml ## search hyper-parameters on val, by W&B or here: SWEEP= ARGS="--trials 30"
	@$(BIN)/hierfit sweep experiments/sweeps/$(SWEEP).yaml $(ARGS)

ablate: $(VENV)/.installed ## does the tree help? true, shuffled, flat, …: EXP= ARGS="--seeds 1 2 3"
	@$(BIN)/hierfit ablate-tree $(EXP) $(ARGS)

reproduce: $(VENV)/.installed ## run the cheap experiments again: inside or outside what they state? ARGS="--seed 2"
	@$(BIN)/hierfit reproduce $(ARGS)

test: $(VENV)/.installed-dev ## run the whole test suite: ARGS="-k taxonomy"
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/.installed-dev ## style (ruff), types (mypy) and which room may import which (import-linter)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev ## put the code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## measure what is claimed of speed, as ratios in one run (about 10 minutes): ARGS="--only step"
	@$(BIN)/python tests/bench/run.py $(ARGS)

bench-gpu: $(VENV)/.installed-dev ## what only a GPU can tell, on one (about 6 minutes): ARGS=--cpu tries the script without
	@$(BIN)/python tests/bench/bench_gpu.py $(ARGS)

golden: $(VENV)/.installed-dev ## what the cheap runs give, to the bit, before work on the code; ARGS=--check after it
	@$(BIN)/python tests/bench/golden.py $(ARGS)

fuzz: $(VENV)/.installed-dev ## read damaged and hostile files of every kind, and count how that ends: ARGS="--cases 2000"
	@$(BIN)/python tests/bench/fuzz.py $(ARGS)

docs: $(VENV)/.installed-dev ## build the documentation, docs/_build/html/index.html; a warning ends it
	@$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

pretrain: $(VENV)/.installed ## train the bundled tiny CLIP again (about 40 minutes on 2 cores)
	$(BIN)/python -m hierfit.fieldguide.pretrain $(ARGS)

clean: ## remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist docs/_build *.egg-info
