PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHECKED := domain projections consumers infra examples benchmarks tests
# The project itself, as `kehu` on the path of the virtual environment.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
# Tests in two processes. A file goes to one of them, in the order of the folders: those whose tests start processes come
# early, and many short ones even out the end.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help

.PHONY: help demo setup test test-kafka faults campaign mutants fuzz fuzz-guided bench lint format lock clean

help: ## Print every target with a sentence
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/dev.stamp: requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(INSTALL)
	@touch $@

$(VENV)/run.stamp: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(INSTALL)
	@touch $@

demo: $(VENV)/run.stamp ## Run the main job on throw-away servers and show it
	$(BIN)/kehu demo

setup: $(VENV)/dev.stamp ## Make the virtual environment from the lock file

test: setup ## Set up everything and pass the tests
	$(BIN)/python -m pytest $(TWO)

test-kafka: setup ## Pass the tests that need Apache Kafka (from Maven Central; needs Java 17 and Maven)
	$(BIN)/python -m pytest $(TWO) -m kafka

faults: campaign mutants ## Both of the next two (SEED=1 FAULTS=60); side by side with `make --jobs=2 faults`

campaign: setup ## Kill, freeze and cut off workers and servers; nothing may be lost or stored twice
	$(BIN)/python -m tests.faults.campaign --seed $(or $(SEED),1) --faults $(or $(FAULTS),60)

mutants: setup ## Hunt builds that are wrong on purpose: the campaign must catch each
	$(BIN)/python -m tests.faults.mutants --seed $(or $(SEED),1)

fuzz: setup ## Decode damaged messages, INPUTS of them (INPUTS=100000 SEED=1)
	$(BIN)/python -m tests.fuzz.decode --inputs $(or $(INPUTS),100000) --seed $(or $(SEED),1)

fuzz-guided: setup ## The same, guided by coverage; needs atheris, and says how to get it (INPUTS=100000 SEED=1)
	$(BIN)/python -m tests.fuzz.guided --inputs $(or $(INPUTS),100000) --seed $(or $(SEED),1)

bench: setup ## Measure ingest, latency and rebuild beside their limits, in less than ten minutes
	$(BIN)/python -m benchmarks all

lint: setup ## Check style, types and the import contracts
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(BIN)/kehu verify

format: setup ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Pin every dependency with hashes (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --extra dev pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements-dev.lock pyproject.toml -o requirements.lock

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
