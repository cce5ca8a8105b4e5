# The two commands that matter: make demo, make test. Both set up what is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NAME ?= all

.PHONY: setup demo test lint check bench clean help

help:
	@echo "make demo   run the whole line on the demo client (sets up .venv when missing)"
	@echo "make test   run the tests"
	@echo "make lint   ruff, mypy, import rules"
	@echo "make check  lint and test: what CI runs"
	@echo "make bench  measure speed (make bench NAME=training_matrix_rate for one)"
	@echo "make clean  remove the environment and everything that the line wrote here"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q delivery flows
	-$(BIN)/python -m flows.server
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/delivery demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks.run $(NAME)

clean:
	rm -rf $(VENV) .delivery build dist .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +
