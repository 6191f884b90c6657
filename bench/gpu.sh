#!/usr/bin/env bash
# What can be found out on a GPU in a few minutes, on a machine where nothing is installed; see docs/gpu.md.
#
#   bench/gpu.sh first [--seconds 540]    everything, in the order of its value; called again, what is missing
#   bench/gpu.sh nano --seconds 300       train the embedded model; called again, it goes on
#   bench/gpu.sh nano-latent --seconds 200    train the embedded model of latents; called again, it goes on
#   bench/gpu.sh versus --seconds 200     train the twins of bench versus; called again, it goes on
#   bench/gpu.sh record                   without a GPU: what `first` replays, beforehand
#
# Results and the log go to $OUT, by default bench/results/gpu.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
export OUT=${OUT:-bench/results/gpu}
export PYTHONPATH="$PWD:$PWD/bench${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
mkdir -p "$OUT"
"$python" -m decoders_bench.gpu "$@" 2>&1 | tee -a "$OUT/log.txt"
