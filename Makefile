# `make demo` installs streamdet and analyses the bundled scene. `make test` adds what the tests
# need to the same environment and runs them. Both use the locked versions.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base
FULL := $(VENV)/.full
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header

.PHONY: demo test lint bench lock clean

demo: $(BASE)
	@echo "Looking for gunshots in streamdet/demo/scene.flac (20 s)"
	@$(BIN)/streamdet file streamdet/demo/scene.flac --format table

# Four files at a time, on two cores: many tests wait for real time to pass.
test: $(FULL)
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile

lint: $(FULL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(FULL)
	$(BIN)/python -m benchmarks

$(BASE): requirements-base.lock pyproject.toml
	@echo "Creating a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing streamdet and its base packages (about 860 MB; a minute with a fast mirror)"
	@$(PIP) --require-hashes -r requirements-base.lock
	@$(PIP) --no-deps --editable .
	@touch $(BASE)

$(FULL): $(BASE) requirements.lock
	@echo "Installing the packages that the tests, training and benchmarks need (about 1.1 GB)"
	@$(PIP) --require-hashes -r requirements.lock
	@touch $(FULL)

# The newest versions that pyproject.toml allows. The deployment leaves out JAX and Flax.
lock: $(FULL)
	$(PIP) uv
	$(LOCK) --extra all --upgrade --output-file requirements.lock
	$(LOCK) --constraint requirements.lock --output-file requirements-base.lock
	$(LOCK) --extra media --extra mqtt --extra webhook --extra web --excludes deploy/excludes.txt \
		--constraint requirements.lock --output-file deploy/requirements.lock

clean:
	rm -rf $(VENV)
