# `make demo` and `make test` set everything up by themselves; nothing outside this folder is touched.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo real real-short test test-slow lint docs clean

demo: $(READY)
	$(BIN)/unlearn-guard demo --out demo

# A pretrained model from the package index, unlearnt by every method: hours, and the same command goes on.
real: $(READY)
	$(BIN)/python -m benchmarks.real --work real --seeds 0,1,2 --write docs/real.md

# Two methods, 60 items a task, full and nf4.
real-short: $(READY)
	$(BIN)/python -m benchmarks.real --work real-short --short

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages of docs/ as a site, in site/; a link that leads nowhere ends it.
docs: $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt 'mkdocs-material>=9.6'
	$(BIN)/mkdocs build --strict --quiet

# torch first and alone: what comes after must not pull another build of it.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) site demo real real-short runs build dist
