#!/usr/bin/env bash
# The vLLM plugin's tests, in its own environment: plugins/vllm/test.sh [--full]. Engines run one after the other, each in a process of its own.
set -uo pipefail
cd "$(dirname "$0")/../.."
soak=50
[[ "${1:-}" == "--full" ]] && soak=500
plugins/vllm/environment.sh
venv="${VLLM_VENV:-$PWD/.venv-vllm}"
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_LOGGING_LEVEL=ERROR OMP_NUM_THREADS=1
export VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind TRITON_INTERPRET=1 PYTHONPATH="$PWD/plugins/vllm/tests/shim"
run() { "$venv/bin/python" -m pytest -q -c plugins/vllm/tests/pytest.ini "$@"; }
for part in rows openai nano async preemption; do
    VLLM_ENABLE_V1_MULTIPROCESSING=0 run "plugins/vllm/tests/test_$part.py"
done
for family in sdar sdar_moe fast_dllm_v2 llada2; do
    VLLM_ENABLE_V1_MULTIPROCESSING=0 run plugins/vllm/tests/test_families.py --family "$family"
done
# vLLM's DiffusionGemma imports a processor for pictures, and that torchvision; beside a torch for CPU its operators are names alone.
[[ -d "$venv/torchvision" ]] || "$venv/bin/pip" install -q --no-deps --target "$venv/torchvision" torchvision==0.28.0
VLLM_ENABLE_V1_MULTIPROCESSING=0 PYTHONPATH="$PYTHONPATH:$venv/torchvision:$PWD/plugins/vllm/tests/shim/torchvision_on_cpu" run \
    plugins/vllm/tests/test_gemma.py
run plugins/vllm/tests/test_server.py --soak "$soak"
run plugins/vllm/tests/test_parallel.py
# Pooling and the stock server are on vLLM's older runner, which needs no Triton and fails beside the shim.
plain() { env -u TRITON_INTERPRET -u PYTHONPATH "$venv/bin/python" -m pytest -q -c plugins/vllm/tests/pytest.ini --noconftest "$@"; }
VLLM_ENABLE_V1_MULTIPROCESSING=0 plain plugins/vllm/tests/test_pooling_compact.py plugins/vllm/tests/test_pooling.py
plain plugins/vllm/tests/test_two_model.py
