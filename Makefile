# Everything runs in the Python environment that is active.
PYTHON ?= python3
PYTEST = pytest pytest-asyncio pytest-socket pytest-timeout

.PHONY: install lint types unit test serve frameworks ray deploy docs wheel live format demo

install:
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

unit: # two processes, a module each
	$(PYTHON) -m pytest -q -n 2 --dist loadfile

test: install lint types unit

# The server, in a virtual environment of its own: LiteLLM's proxy pins what others need newer.
serve:
	$(PYTHON) -m venv .venv-serve
	.venv-serve/bin/pip install --quiet --editable ".[serve]" llm $(PYTEST)
	.venv-serve/bin/python -m pytest -q tests/integration_tests/test_serve.py

# One model name in frameworks that speak LiteLLM, in two environments of their own: CrewAI pins
# what the others need newer.
frameworks:
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/pip install --quiet --constraint constraints.txt --editable . dspy "openai-agents[litellm]" langchain-litellm llama-index-llms-litellm $(PYTEST)
	.venv-frameworks/bin/python -m pytest -q tests/integration_tests/test_provider_frameworks.py
	$(PYTHON) -m venv .venv-crewai
	.venv-crewai/bin/pip install --quiet --constraint constraints.txt --editable . "crewai>=1.15" $(PYTEST)
	.venv-crewai/bin/python -m pytest -q tests/integration_tests/test_provider_frameworks.py

# Collecting and scoring on a local Ray cluster of two workers.
ray:
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/pip install --quiet --constraint constraints.txt --editable ".[ray,cli]" $(PYTEST)
	.venv-ray/bin/python -m pytest -q tests/unit_tests/learning/test_on_ray.py

# Two servers behind nginx, one Redis: needs both on this machine (Debian: redis-server, nginx).
deploy: serve
	.venv-serve/bin/python -m pytest -q tests/integration_tests/test_deploy.py

docs:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet "mkdocs-material>=9.5" "mkdocstrings[python]>=0.26" ruff
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

# The built wheel in clean environments, with each extra alone: make wheel EXTRAS="none cli".
wheel:
	$(PYTHON) shared/scripts/check_wheel.py $(EXTRAS)

# Against a real local LLM: see CONTRIBUTING.md.
live:
	$(PYTHON) -m pytest -q -m live

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

demo:
	bestroute demo
