# Everything runs in .venv, which the first target that needs it creates: no root, no Docker.
VENV := .venv
BIN := $(VENV)/bin
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c '$(FITS)' 2>/dev/null && echo $$each && break; done)
UV_VERSION := 0.13.9
SQL := include/sql

.PHONY: demo test test-others test-unit test-integration test-dags test-e2e check format bench docs env lock clean

demo: $(VENV)/ready  ## run the main job of every system in a real Airflow; ARGS=--exit ends by itself
	$(BIN)/python -m sandbox demo $(ARGS)

# The end-to-end tests mostly wait: the others take what the processor has left, and each tier shows all of its output
# when it is done.
test: $(VENV)/ready  ## all four tiers
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-e2e test-others

test-others: $(VENV)/ready
	nice -n 19 $(MAKE) --no-print-directory test-unit test-integration test-dags

test-unit: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 tests/unit $(ARGS)

test-integration: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 tests/integration $(ARGS)

test-dags: $(VENV)/ready
	$(BIN)/python -m pytest tests/dags $(ARGS)

test-e2e: $(VENV)/ready
	$(BIN)/python -m pytest --timeout=3600 tests/e2e $(ARGS)

check: $(VENV)/ready  ## style, types, import rules, SQL, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.:plugins $(BIN)/lint-imports
	$(BIN)/sqlfluff lint --processes 1 $(SQL)/commercial_log
	$(BIN)/sqlfluff lint --processes 1 --config $(SQL)/cvas/duckdb.sqlfluff $(SQL)/cvas
	PYTHONPATH=.:plugins $(BIN)/python -m dagkit.docs --check docs/DAGS.md

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/ready  ## every data job against the tool's limit and the usual way
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/ready  ## generate docs/DAGS.md
	PYTHONPATH=.:plugins $(BIN)/python -m dagkit.docs docs/DAGS.md

env:  ## make .env with generated secrets for docker compose; needs nothing but Python
	$(PYTHON) -m include.scripts.make_env

lock: $(VENV)/ready  ## resolve requirements.txt and the dev group anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		requirements.txt --group dev --output-file constraints.txt

clean:  ## remove the environment and the demo's state
	rm -rf $(VENV) .sandbox

# Byte-compiled, as every Airflow process starts two seconds later without it.
$(VENV)/ready: requirements.txt constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found; name one with PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
		--requirements requirements.txt --group dev --constraints constraints.txt
	touch $@
