# Everything happens in .venv, which packaging/setup.sh makes; a second call finds it ready and starts in seconds.
.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test test-gpu bench bench-distillation torture lint format readme clean distclean

PYTHON ?= .venv/bin/python
PYTEST_ARGS ?=
TORTURE_ARGS ?=

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: setup ## Open the studio with the digits experiment (without a display: train it here and draw its figures)
	@packaging/run.sh

setup: ## Make .venv with all that the studio needs
	@packaging/setup.sh gui

setup-dev: ## The same with the tools of `make test` and `make lint`
	@packaging/setup.sh dev

# A file's tests stay together: its fixtures are made once. PYTEST_ARGS="-n 0 …" runs all in one process.
test: setup-dev ## Run every test but those that need a GPU, on all cores
	$(PYTHON) -m pytest -n logical --dist loadfile $(PYTEST_ARGS)

# Only the files that hold such tests are read, and only torch and what the engine imports is needed.
test-gpu: $(if $(filter .venv/%,$(PYTHON)),setup-dev) ## Run the tests that need a GPU (PYTHON=python3 for a Python of your own)
	PYTHONPATH=core:. $(PYTHON) -m pytest -o addopts= -o filterwarnings= --import-mode=importlib -ra -m gpu \
	    $$(grep -rl --include='test_*.py' 'mark[.]gpu' tests) $(PYTEST_ARGS)

bench: setup-dev ## Print the figures of speed and quality
	$(PYTHON) -m pytest -m benchmark -s -o faulthandler_timeout=0 tests/benchmarks $(PYTEST_ARGS)

bench-distillation: setup-dev ## Train students with every term of the loss and without, and print what it brought
	$(PYTHON) -m tests.benchmarks.distillation

torture: setup-dev ## Kill runs, fill disks and offer hostile files, and write docs/reliability.md's tables
	$(PYTHON) -m tests.torture --write $(TORTURE_ARGS)

lint: setup-dev ## Check style, types and imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright

format: setup-dev ## Put the code into the house style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

readme: setup-dev ## Write README's tables of flows, data sets and terms anew
	$(PYTHON) packaging/readme_tables.py

clean: ## Remove what tests, tools and builds left behind
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find core nfkd_gui tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## The same, and .venv
	rm -rf .venv
