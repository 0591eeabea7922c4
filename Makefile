# cgstore: `make demo` takes the tour, `make test` runs all checks. Both set up $(VENV) first; nothing but Python is needed.
#   PYTHON=python3.12   the interpreter, 3.11 or newer        VENV=DIR        where everything is installed
#   PIP_ARGS="…"        more words for pip, such as the CPU index of torch (see constraints.txt)

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
TEST_ARGS ?=
DEMO ?= demo
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Those that compare with peers and need nothing; the others are studies of data or campaigns that they are given.
BENCHMARKS := reading ingest distributions bonded imc catalog objects loading tables sampling atomic kernels \
              calibration device force_matching diffusion

.DEFAULT_GOAL := help
.PHONY: help demo test check slow bench clean

help:
	@echo "make demo    the whole tour on the archive that ships with cgstore; results in $(DEMO)/"
	@echo "make test    format, lint, types, import contract, tests"
	@echo "make check   the same without the tests"
	@echo "make slow    the tests that take longer than a minute"
	@echo "make bench   the benchmarks"
	@echo "make clean   remove $(VENV) and all caches"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("cgstore needs Python 3.11 or newer, found %d.%d; name another: make PYTHON=python3.12" % v[:2])'
	@echo "Installing into $(VENV), once; this takes some minutes."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[test]"
	@touch $@

demo: $(READY)
	$(BIN)/cgstore demo $(DEMO)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n 2 --dist loadfile $(TEST_ARGS)  # what the tests of a file share is made once

slow: $(READY)
	$(BIN)/pytest -m slow $(TEST_ARGS)

bench: $(READY)
	@for name in $(BENCHMARKS); do echo "$$name"; $(BIN)/python "benchmarks/$$name.py" || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find cgstore tests -name __pycache__ -type d -prune -exec rm -rf {} +
