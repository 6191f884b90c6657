#!/usr/bin/env bash
# The tests of what touches transformers, against the oldest version that pyproject.toml allows and the newest that there is. Each lies in an
# environment of its own, .venv-transformers-*, which sees this repository's own below it. Half a minute to build, two to run.
set -euo pipefail
cd "$(dirname "$0")/.."
base="${BASE_VENV:-$PWD/.venv}"
below="$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
oldest="$(sed -n 's/.*"transformers>=\([0-9.]*\)".*/\1/p' pyproject.toml)"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
for wanted in "transformers==$oldest.0" transformers; do
    venv="$PWD/.venv-transformers-$([[ $wanted == *==* ]] && echo oldest || echo newest)"
    if [[ ! -e "$venv/.built" || "$(cat "$venv/.built")" != "$wanted" ]]; then
        rm -rf "$venv"
        "$base/bin/python" -m venv "$venv"
        # the first directory may hold .pth files of its own (this repository, editable), which addsitedir reads too
        echo "import site; site.addsitedir('$below')" > "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/_below.pth"
        "$venv/bin/pip" install -q --disable-pip-version-check --upgrade "$wanted"
        echo "$wanted" > "$venv/.built"
    fi
    "$venv/bin/python" -c 'import transformers; print("transformers", transformers.__version__)'
    "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/models tests/hosts/test_custom_generate.py tests/hosts/test_hub_recipe.py \
        tests/hosts/test_generator.py -k "not from_the_command_line" "$@"
done
