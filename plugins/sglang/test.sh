#!/usr/bin/env bash
# The SGLang plugin in SGLang's own loops: fetches its wheel (39 MB, not installed) and runs the tests on the files in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source="${SGLANG_SOURCE:-$PWD/.sglang-source}"
python="${BASE_VENV:-$PWD/.venv}/bin/python"
if [[ ! -d "$source/sglang" ]]; then
    mkdir -p "$source"
    "$python" -m pip download -q --no-deps -d "$source" sglang==0.5.23
    "$python" -m zipfile -e "$source"/sglang-*.whl "$source"
    rm "$source"/sglang-*.whl
fi
SGLANG_SOURCE="$source" exec "$python" -m pytest -q -c pyproject.toml plugins/sglang "$@"
