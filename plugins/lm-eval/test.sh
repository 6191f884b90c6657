#!/usr/bin/env bash
# The lm-eval plugin's tests, with the harness in an environment of its own, .venv-lm-eval, which sees this repository's own below it. Half a minute to build.
set -euo pipefail
cd "$(dirname "$0")/../.."
base="${BASE_VENV:-$PWD/.venv}"
venv="${LM_EVAL_VENV:-$PWD/.venv-lm-eval}"
if [[ ! -e "$venv/.built" ]]; then
    rm -rf "$venv"
    python3.11 -m venv "$venv"
    below="$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
    # the first directory may hold .pth files of its own (this repository, editable), which addsitedir reads too
    echo "import site; site.addsitedir('$below')" > "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/_below.pth"
    "$venv/bin/pip" install -q 'setuptools>=77' lm-eval==0.4.13
    touch "$venv/.built"
fi
"$venv/bin/pip" install -q --no-deps --no-build-isolation --force-reinstall ./plugins/lm-eval  # not editable: the .pth file is what is tested
rm -rf plugins/lm-eval/build plugins/lm-eval/*.egg-info
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 OMP_NUM_THREADS=1
exec "$venv/bin/python" -m pytest -q -c plugins/lm-eval/tests/pytest.ini plugins/lm-eval/tests "$@"
