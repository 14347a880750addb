# Everything a fresh machine needs: Python 3.11 and make. Each target sets up what it uses.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: install demo test test-long check format bench ablation systems lock docs

install: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# Compiled once, and not by every start: where PYTHONDONTWRITEBYTECODE is set nothing is kept.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch .venv/.installed

demo: install
	$(BIN)/gorae demo

# Files are shared out to processes; the fixtures of a file are made once.
test: install
	$(BIN)/python -m pytest -m "not long" --numprocesses auto --maxprocesses 4 --dist loadfile

test-long: install
	$(BIN)/python -m pytest -m long

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	bash benchmarks/run.sh

# Trains for about an hour; goes on where it was stopped.
ablation: install
	$(BIN)/python benchmarks/ablation.py

# The source systems by one command each; goes on where it was stopped.
systems: install
	$(BIN)/python benchmarks/systems.py

lock: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --group dev pyproject.toml --output-file requirements.lock

docs: install
	$(BIN)/python docs/build.py
