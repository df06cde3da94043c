# Two commands on a fresh machine: `make demo` and `make test`. Both install what they lack into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TABEMB_DATA ?= $(abspath $(wildcard ../shared/data))

.PHONY: demo test slow fuzz mutations docs lint clean

demo: $(VENV)/.demo
	$(BIN)/python -m experiments.demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

# the tests that draw at random, with all their draws; docs/reliability.md has the figures
FUZZ := tests/test_fuzz.py tests/test_files.py tests/saving/test_damage.py tests/spaces/test_damage.py
slow: $(VENV)/.dev
	TABEMB_SLOW=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal -m slow

fuzz: $(VENV)/.dev
	TABEMB_FUZZ=1 FUZZ_DRAWS=20000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rA -n auto --dist worksteal $(FUZZ)

# breaks the library on purpose; every break must turn a test red
mutations: $(VENV)/.dev
	$(BIN)/python tests/mutations.py

# the documentation site, below docs/_build/html; a warning of Sphinx or a broken link is an error
docs: $(VENV)/.docs
	rm -rf docs/reference/generated
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -c docs . docs/_build/html -W -n --keep-going --quiet
	$(BIN)/python docs/check_links.py docs/_build/html

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# constraints.txt pins what is tested; torch goes first, so that no other package draws in a larger build of it.
# The version stands in tabemb/__init__.py.
$(VENV)/.demo: pyproject.toml constraints.txt tabemb/__init__.py | $(BIN)/python
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[compare,maps]"
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache docs/_build docs/auto_gallery docs/reference/generated
