# Only Python 3.11+, make and git are needed: every target sets up what it needs by itself.
# Settings can be given to every target: make run RECORDED=../shared/data/candles PROFILE=swing
# (make hands them to the commands as environment variables; .env.example lists them all).

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
# Without .pyc files each of some twenty processes would compile what it imports again, for seconds;
# uv leaves compiling to the first import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help environment setup run test test-deep soak check format bench materialize evaluate \
	paper-exchange status doctor clean clean-worlds

help: ## show this list
	@echo "make <target> [SETTING=value ...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings: see .env.example; for example make run RECORDED=../shared/data/candles PROFILE=swing"

environment: # the virtual environment in .venv; at once when it is whole
	@sh deploy/local/install.sh

setup: environment ## prepare the environment, the folders and the databases
	@$(BIN)/trading-assets setup

run: environment ## start everything and show the first signals; Ctrl-C stops it
	@exec $(BIN)/trading-assets run

test: environment ## run the tests (ARGS="..." goes to pytest)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not deep" $(ARGS)

test-deep: environment ## run every test, those that take many minutes too
	@HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

soak: environment ## trade for SOAK_SECONDS=600 amid random faults and kills, then compare all books
	@$(BIN)/python -m trading_assets_tests.trading.soak

check: environment ## lint, format check, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: environment ## format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: environment ## run the benchmarks and print their tables
	@for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

materialize: environment ## collect, train and signal once for all markets, without servers
	@$(BIN)/trading-assets materialize

evaluate: environment ## after materialize: what would each profile have earned, which one is traded
	@$(BIN)/trading-assets evaluate

paper-exchange: environment ## serve the paper exchange alone; Ctrl-C stops it
	@exec $(BIN)/trading-assets paper-exchange

status: environment ## print signals, account, positions, leases and halts
	@$(BIN)/trading-assets status

doctor: environment ## check everything and say what mends what
	@$(BIN)/trading-assets doctor

clean: ## remove the environment, caches and build files (no data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		build *.egg-info .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-worlds: ## remove all sandbox and recorded worlds (never paper or live)
	rm -rf data/sandbox-* data/recorded-* mlruns/sandbox-* mlruns/recorded-*
