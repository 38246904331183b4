# Everything runs in the Python environment that is active.
PYTHON ?= python3

.PHONY: install lint types unit test live format demo

install:
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

unit:
	$(PYTHON) -m pytest -q

test: install lint types unit

# Against a real local LLM: see CONTRIBUTING.md.
live:
	$(PYTHON) -m pytest -q -m live

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

demo:
	bestroute demo
