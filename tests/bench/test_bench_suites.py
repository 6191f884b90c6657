"""The suites of pytest-benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from decoders_bench.step_time.measure import prepared

ROOT = Path(__file__).parents[2]
SMALL = ("-q", "-p", "no:cacheprovider", "--benchmark-max-time", "0.01", "--benchmark-min-rounds", "1")


def shell(*command):
    # under which pytest-benchmark measures nothing
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    return subprocess.run(
        [str(c) for c in command], cwd=ROOT, capture_output=True, text=True, env=env | {"OMP_NUM_THREADS": "1"}
    )


def test_a_prepared_step_commits_and_can_be_repeated():
    import torch

    step, bare = prepared("threshold", torch.float32, 2, block=4, vocab=50)
    first, second = step(), step()
    assert torch.equal(first.tokens, second.tokens)
    assert bool((first.committed_at == 0).any(-1).all())
    assert bare().values.shape == (2, 4)


@pytest.mark.slow
def test_suites_run_by_hand_and_show_regressions(tmp_path):
    run = (
        sys.executable, "-m", "pytest", "bench/suites", *SMALL, "-k", "bench_step and threshold", "--benchmark-storage",
        tmp_path,
    )
    first = shell(*run, "--benchmark-autosave")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "bench_step[threshold]" in first.stdout
    (saved,) = tmp_path.glob("*/*.json")
    before = json.loads(saved.read_text())
    for b in before["benchmarks"]:
        b["stats"]["median"] /= 100
    saved.write_text(json.dumps(before))
    second = shell(*run, "--benchmark-compare", "--benchmark-compare-fail", "median:100%")
    assert "(NOW)" in second.stdout
    assert "Performance has regressed" in second.stdout + second.stderr
    assert second.returncode != 0
