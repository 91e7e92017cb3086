# All commands use .venv, which packaging/setup.sh creates on the first call.
.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test test-gpu bench-gpu bench bench-peers bench-check bench-growth bench-distillation torture lint format tables screenshots animation lesson-run lesson-teacher clean distclean

PYTHON ?= .venv/bin/python
PYTEST_ARGS ?=
TORTURE_ARGS ?=
BENCH_ARGS ?=
PEERS_ARGS ?=
GROWTH_ARGS ?=
# Where this is set, every process would compile the program again.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: setup ## Open the studio with the digits experiment (without a display: train it here and draw its figures)
	@packaging/run.sh

setup: ## Create .venv with everything that the studio needs
	@packaging/setup.sh gui

setup-dev: ## The same, with the tools for `make test` and `make lint`
	@packaging/setup.sh dev

# The tests of one file run in one process, so that its fixtures are made once. PYTEST_ARGS="-n 0 …" uses one process.
# If a process crashes, the run ends: pytest-xdist would start another process and wait forever.
test: setup-dev ## Run every test except those that need a GPU, on all cores
	$(PYTHON) -m pytest -n logical --dist loadfile --max-worker-restart 0 $(PYTEST_ARGS)

# Reads only files with GPU tests; they need torch and what the engine imports, nothing else.
test-gpu: $(if $(filter .venv/%,$(PYTHON)),setup-dev) ## Run the tests that need a GPU (PYTHON=python3 for a Python of your own)
	PYTHONPATH=core:. $(PYTHON) -m pytest -o addopts= -o filterwarnings= --import-mode=importlib -ra -m gpu \
	    $$(grep -rl --include='test_*.py' 'mark[.]gpu' tests) $(PYTEST_ARGS)

# Without a GPU it says so. BENCH_ARGS="--device cpu --tiny" rehearses it.
bench-gpu: $(if $(filter .venv/%,$(PYTHON)),setup-dev) ## Measure training and sampling on a GPU, in at most ten minutes (PYTHON as for test-gpu)
	PYTHONPATH=core:. $(PYTHON) -m tests.benchmarks.gpu $(BENCH_ARGS)

bench: setup-dev ## Measure speed and quality, and print the figures
	$(PYTHON) -m pytest -m benchmark -s -o faulthandler_timeout=0 tests/benchmarks $(PYTEST_ARGS)

# Each runs in build/peers-env, where the other libraries are. PEERS_ARGS='--only MAF' measures some lines only.
bench-peers: setup-dev ## Measure speed beside normflows, zuko, nflows and FrEIA (PEERS_ARGS=--record to keep the ratios)
	packaging/peers.sh
	PYTHONPATH=core:. OMP_NUM_THREADS=1 build/peers-env/bin/python -m tests.benchmarks.peers $(PEERS_ARGS)

bench-check: setup-dev ## Compare these ratios with the recorded ones; fails if one is higher by more than 15 %
	packaging/peers.sh
	PYTHONPATH=core:. OMP_NUM_THREADS=1 build/peers-env/bin/python -m tests.benchmarks.peers --check $(PEERS_ARGS)

bench-growth: setup-dev ## Measure how costs grow with sizes (GROWTH_ARGS=--write for docs/benchmarks.md)
	PYTHONPATH=core:. OMP_NUM_THREADS=1 $(PYTHON) -m tests.benchmarks.growth $(GROWTH_ARGS)

bench-distillation: setup-dev ## Train students with and without each loss term, and print the gains
	$(PYTHON) -m tests.benchmarks.distillation

torture: setup-dev ## Kill runs, fill disks, read hostile files, and update docs/reliability.md
	$(PYTHON) -m tests.torture --write $(TORTURE_ARGS)

lint: setup-dev ## Check style, types and imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright

format: setup-dev ## Format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

screenshots: setup-dev ## Take pictures of every workspace and panel into build/screenshots, and of README's into resources
	PYTHONPATH=core:. $(PYTHON) packaging/screenshots.py

animation: setup-dev ## Film the lab for README's animated picture
	PYTHONPATH=core:. $(PYTHON) packaging/animation.py

lesson-run: setup-dev ## Train the digits flows of the lessons, and pack them into resources/lessons
	PYTHONPATH=core:. $(PYTHON) packaging/lesson_run.py

lesson-teacher: setup-dev ## Train the teacher with which the lab opens, and keep it in resources/lab
	PYTHONPATH=core:. $(PYTHON) packaging/lesson_teacher.py

tables: setup-dev ## Make the tables of flows, data sets and loss terms in README and docs again
	$(PYTHON) packaging/doc_tables.py

clean: ## Remove files left by tests, tools and builds
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find core nfkd_gui tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## The same, and .venv
	rm -rf .venv
