#!/usr/bin/env bash
# The environment of the vLLM tests: vLLM for CPU, this repository and its vLLM plugin, in .venv-vllm. About four minutes; a second run finds it done.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv="${VLLM_VENV:-$PWD/.venv-vllm}"
wanted="$(cat plugins/vllm/environment.txt plugins/vllm/environment.sh | sha256sum | cut -d' ' -f1)"
if [[ "$(cat "$venv/.built" 2>/dev/null || true)" != "$wanted" ]]; then
    rm -rf "$venv"
    python3.11 -m venv "$venv"
    "$venv/bin/pip" install -q torch==2.13.0
    "$venv/bin/pip" install -q --no-deps -r plugins/vllm/environment.txt
    "$venv/bin/pip" install -q --no-deps --require-hashes -r plugins/vllm/environment.vllm.txt
    echo "$wanted" > "$venv/.built"
fi
# Editable, so they follow the working tree; the metadata, entry points among it, is what these two lines bring up to date.
for part in . plugins/vllm; do
    "$venv/bin/pip" install -q --no-deps --no-build-isolation -e "$part"
done
