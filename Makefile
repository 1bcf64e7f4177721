# Every target sets up what it needs: the first one called creates .venv from the pinned versions in
# constraints.txt, later ones start at once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-all lint format proto serve bench clean

demo: $(INSTALLED)  ## train on a sample dataset, see the leaderboard, predict
	$(BIN)/python examples/demo.py

test: $(INSTALLED)  ## lint, then every test that is not marked slow
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED)  ## every test
	$(MAKE) --no-print-directory lint
	$(PYTEST)

lint: $(INSTALLED)  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(INSTALLED)  ## generate the Python stubs from proto/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/generate_stubs.py

serve: $(INSTALLED)  ## serve on 127.0.0.1:8470; this folder may be read
	$(BIN)/seedbed serve --allow-root .

bench: $(INSTALLED)  ## list the benchmarks
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "seedbed needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable ".[dev]"
	touch $@
