# Everything runs in .venv, which the targets make themselves from constraints.txt, the tested set of versions.
PYTHON ?= python3
BIN := .venv/bin
# one torch thread a process: with anything else running, two threads on two cores are slower than one
export OMP_NUM_THREADS ?= 1
# processes that share the tests: 'make test JOBS=8' with more cores; each takes a gigabyte and collects for itself
JOBS ?= 2
PYTEST = $(BIN)/pytest -n $(JOBS) --dist worksteal
LINT = $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
BENCHMARKS = $(subst /,.,$(basename $(filter-out benchmarks/stand_in/% %/reference_step.py %/step_cases.py,$(wildcard benchmarks/*/*.py))))

.PHONY: help demo test test-all lint format bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.venv/.created:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	touch $@

.venv/.demo: .venv/.created pyproject.toml constraints.txt
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[demo]'
	touch $@

.venv/.dev: .venv/.created pyproject.toml constraints.txt
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $@ .venv/.demo

demo: .venv/.demo ## make a synthetic set, train in two stages, compare, search by sentence (about 5 minutes)
	$(BIN)/prompt-clip demo --output_dir runs/demo --overwrite_output_dir

test: .venv/.dev ## lint, then all tests but the slow ones
	$(LINT)
	$(PYTEST)

test-all: .venv/.dev ## lint, then all tests
	$(LINT)
	$(PYTEST) -m ''

lint: .venv/.dev ## ruff: rules and format; mypy: types
	$(LINT)

format: .venv/.dev ## ruff: mend what can be mended
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: .venv/.dev ## run every benchmark and rewrite benchmarks/results
	for module in $(BENCHMARKS); do echo "== $$module"; $(BIN)/python -m $$module || exit 1; done

clean: ## remove the environment and everything that tools left
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
