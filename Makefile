# `make demo` asks the built-in model about the samples; `make test` runs every check.
# Both set up what they need first (scripts/setup.sh) and do nothing twice.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench wheel clean distclean

VENV ?= .venv
PYTEST_FLAGS ?= -n auto --dist loadfile
export VENV

help:
	@echo "make demo    set up, then ask about the sample clip and the sample album"
	@echo "make test    set up, then lint and every test"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make bench   measure the stages and the decoder's speed"
	@echo "make wheel   build the wheel into dist/"
	@echo "make clean   remove what the tools left behind (distclean: the environment too)"

setup:
	@scripts/setup.sh all

demo:
	@scripts/setup.sh engine
	@$(VENV)/bin/python scripts/demo.py

test: setup lint
	@$(VENV)/bin/python -m pytest $(PYTEST_FLAGS)

lint: setup
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo >.import-linter.log 2>&1 || { cat .import-linter.log; exit 1; }
	@echo "lint: ok"

format: setup
	@$(VENV)/bin/ruff check --quiet --fix .
	@$(VENV)/bin/ruff format --quiet .

bench:
	@scripts/setup.sh engine
	@$(VENV)/bin/otter bench
	@$(VENV)/bin/otter bench --against llama.cpp

wheel: setup
	@rm -rf build
	@$(VENV)/bin/pip wheel -q --no-deps --no-build-isolation -w dist .
	@ls -l dist

clean:
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -f .import-linter.log
	@find otter_desktop export training tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	@rm -rf $(VENV)
