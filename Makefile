# Set-up in one word: `make demo` runs the main job on the embedded model, `make test` runs the default tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PAGES := README.md docs/benchmarks.md docs/cli.md docs/strategies.md

.PHONY: demo test slow lint docs clean results

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/decoders bench demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m cogapp --check $(PAGES)

docs: $(VENV)/installed
	$(BIN)/python -m cogapp -r $(PAGES)

clean:
	rm -rf $(VENV) build dist *.egg-info

results: $(VENV)/installed
	$(BIN)/decoders bench tasks -n 100 -t chain -t answer_first -t extract -t sudoku -t list -t shuffle -t ledger/easy \
		-o bench/results/nano-tasks.json
	$(BIN)/decoders bench tasks -n 10 -t ledger/hard -o bench/results/nano-ledger.json
	$(BIN)/decoders bench step-time -o bench/results/step-time.json
	$(BIN)/decoders bench caches --clock cpu -o bench/results/caches.json
	$(BIN)/decoders bench calibrate-entropycache -o bench/results/caches-calibration.json
	$(BIN)/decoders bench cache-time --clock cpu -o bench/results/cache-time.json
	$(BIN)/decoders bench modes -n 25 -o bench/results/modes.json
	$(BIN)/decoders bench modes -n 300 -t chain/hard -o bench/results/modes-scratchpad.json
