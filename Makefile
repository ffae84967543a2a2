# What a newcomer needs: `make demo` hears the shipped scene, `make test` runs the tests.
# Both build the environment in .venv first, from the locked versions.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built

.PHONY: demo test lint bench lock clean

demo: $(BUILT)
	@$(BIN)/streamdet file streamdet/demo/scene.flac --format jsonl

# Three at a time, a file in one piece: many of them wait for real sound.
test: $(BUILT)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

lint: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(BUILT)
	$(BIN)/python -m benchmarks

$(BUILT): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(BUILT)

# Newer versions of everything that pyproject.toml allows.
lock: $(BUILT)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra all --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra media --extra mqtt --extra webhook --extra web --universal \
		--python-version 3.11 --constraint requirements.lock --generate-hashes --no-header \
		--output-file deploy/requirements.lock

clean:
	rm -rf $(VENV)
