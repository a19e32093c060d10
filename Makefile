# Every target sets up what it needs: `.venv`, the project in it, Java. Paths are relative, so that a checkout may lie anywhere.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
SUITE ?= engine
ARGS ?=
export PYTHON

run := .venv/bin/python
# For the recipes that start Spark; a recipe's first line, as it may install Java.
java = JAVA_HOME="$$(.ci/system java)" && export JAVA_HOME

.PHONY: help demo test faults quick bench check format clean

help: ## show this
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1@/p' Makefile | awk -F@ '{ printf "%-16s %s\n", $$1, $$2 }'

demo: .venv/.has-demo ## train LeNet in a Spark ML pipeline on real digits, score it, save it, ask it in SQL
	@$(java) && $(run) -m nnframes.demo $(ARGS)

test: .venv/.has-test ## run all tests; ARGS="-k name" goes to pytest
	@$(java) && $(run) -m pytest -m "not faults" $(ARGS)

faults: .venv/.has-test ## try all faults: processes killed, sockets cut, disks full, strangers; ARGS="-k driver" chooses
	@$(java) && $(run) -m pytest -m faults $(ARGS)

quick: .venv/.has-test ## run the tests that need no Spark session and take less than 5 s each
	@$(java) && $(run) -m pytest -m "not slow" $(ARGS)

bench: .venv/.has-bench ## compare with the peers: SUITE=engine, spark, sync, full, features or footprint; ARGS="--json FILE" keeps the figures
	@$(java) && $(run) -m tests.bench $(SUITE) $(ARGS)

check: .venv/.has-test ## formatter, linter, types, import rules
	@$(run) -m ruff format --check --quiet . || { echo "Run 'make format'."; exit 1; }
	@$(run) -m ruff check --quiet .
	@$(run) -m mypy
	@$(run) -c 'from importlinter.cli import lint_imports_command; lint_imports_command(["--no-logo", "--no-cache"])'

format: .venv/.has-test ## format, and repair what the linter can
	@$(run) -m ruff format .
	@$(run) -m ruff check --fix .

clean: ## remove all that make made, .venv included
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf spark-warehouse metastore_db derby.log
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp an extra, so that the demo does not fetch the linters, nor the tests PyTorch.
.venv/.has-%: .venv/.made setup.cfg pyproject.toml kernels/version.py
	@echo "Installing nnframes[$*] into .venv (the first time about 1 GB of packages, most of it Spark and MKL)"
	@$(run) -m pip install -qq --disable-pip-version-check --editable '.[$*]'
	@touch $@

.venv/.made:
	@python="$$(.ci/system python)" && echo "Making .venv with $$("$$python" --version)" && "$$python" -m venv --clear .venv
	@.ci/system gomp
	@touch $@
