# Set-up in one word: `make demo` runs the main job on the embedded model, `make test` runs the default tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PAGES := @docs/pages.txt # the pages with generated parts
SHORT := chain answer_first extract sudoku list shuffle ledger/easy table/easy nest/easy edit/easy records/easy cycle/easy program/easy
NINE := left_to_right threshold:tau=0.5 threshold:tau=0.9 llada:steps=8 llada ancestral:temperature=0.0 dawn s2d2 factor:f=1.0
PAGES_OF_TEXT := ledger/hard table/hard nest/hard edit/hard records/hard cycle/hard program/hard

.PHONY: demo test slow lint docs site clean results smoke full gpu vllm plugins transformers real

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray,plots,dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/decoders bench demo
	@echo "Two decoders side by side, in a browser: $(BIN)/decoders serve, then http://127.0.0.1:8000"

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
	$(BIN)/python -m decoders_bench.site.replay > docs/canvas.svg
	$(BIN)/python -m decoders_bench.site.figures docs/figures

# The docs as pages for any static host, in build/site; a broken link fails. `make docs` draws the figures that are kept in docs/.
site: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build dist *.egg-info

# Every bench in small: that the commands run, and that what they promise holds.
smoke: $(VENV)/installed
	rm -rf build/smoke
	$(BIN)/decoders bench exactness -n 500
	$(BIN)/decoders bench constraints -n 50 --timed 1
	$(BIN)/decoders bench quality -n 20 -t chain/hard,sudoku/easy,shuffle/easy -d threshold -d llada -d left_to_right -o build/smoke/run
	$(BIN)/decoders bench report build/smoke/run -o build/smoke/report.html --json

vllm:
	plugins/vllm/test.sh

# What touches transformers, against the oldest version that is allowed and the newest.
transformers: $(VENV)/installed
	.ci/transformers.sh

# A real language model, from a package of PyPI.
real: $(VENV)/installed
	.ci/real.sh

plugins: $(VENV)/installed
	$(BIN)/python -m pytest -q -c pyproject.toml plugins/sglang
	plugins/lm-eval/test.sh

gpu: $(VENV)/installed
	$(BIN)/python -m pytest -m gpu
	bench/gpu.sh first

# Full sizes: hours.
full: $(VENV)/installed results
	$(BIN)/decoders bench quality -m nano --full -o build/quality-full
	$(BIN)/decoders bench peers -o bench/results/peers.json
	plugins/vllm/test.sh --full

results: $(VENV)/installed
	$(BIN)/decoders bench tasks -n 100 $(SHORT:%=-t %) -o bench/results/nano-tasks.json
	$(BIN)/decoders bench tasks -n 20 $(PAGES_OF_TEXT:%=-t %) -d left_to_right -d threshold:tau=0.9 \
		-o bench/results/nano-pages.json
	$(BIN)/decoders bench tasks -n 40 $(NINE:%=-d %) $(SHORT:%=-t %) -o bench/results/nano-spread.json
	$(BIN)/decoders bench step-time --clock cpu -o bench/results/step-time.json
	$(BIN)/decoders bench step-time --scaling -d threshold --dtype float32 --clock cpu -o bench/results/step-scaling.json
	$(BIN)/decoders bench row-time --clock cpu -o bench/results/row-time.json
	$(BIN)/decoders bench caches --clock cpu -o bench/results/caches.json
	$(BIN)/decoders bench calibrate-entropycache -o bench/results/caches-calibration.json
	$(BIN)/decoders bench cache-time --clock cpu -o bench/results/cache-time.json
	$(BIN)/decoders bench modes -n 25 $(SHORT:%=-t %) -o bench/results/modes.json
	$(BIN)/decoders bench modes -n 300 -t chain/hard -o bench/results/modes-scratchpad.json
	$(BIN)/decoders bench latents -o bench/results/latents.json
	$(BIN)/decoders bench quantised -n 25 -o bench/results/quantised.json
	$(BIN)/decoders bench exactness -o bench/results/exactness.json
	$(BIN)/decoders bench constraints -n 1000 --timed 10 -o bench/results/constraints.json
	$(BIN)/decoders bench calibration -o bench/results/calibration.json
	$(BIN)/decoders bench quality -m nano -n 5 $(SHORT:%=-t %) --traces 0 -o bench/results/quality
