"""A run over a file that is killed again and again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest

ROWS = 120
TIMES = {"seconds", "waiting_seconds"}


def lines(path):
    """The rows without what depends on the clock."""
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [json.dumps({k: v for k, v in row.items() if k not in TIMES}) for row in rows]


@pytest.mark.slow
def test_ten_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    rng = random.Random(0)
    source, target, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    words = "a b c d e f g h".split()
    source.write_text("".join(
        json.dumps({"prompt": "Sort: " + " ".join(rng.sample(words, rng.randrange(2, 8))), "seed": i}) + "\n"
        for i in range(ROWS)
    ))
    command = [sys.executable, "-m", "decoders", "generate", "-d", "llada", "-n", "24", "--ignore-eos"]
    command += ["--batch", "4", "--input", str(source), "--output"]
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    kills = 0
    while kills < 10:
        before = target.read_bytes().count(b"\n") if target.exists() else 0
        run = subprocess.Popen([*command, str(target)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until = min(before + rng.randrange(1, 10), ROWS - 1)
        while (not target.exists() or target.read_bytes().count(b"\n") < until) and run.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.05)
        run.kill()
        _, told = run.communicate()
        assert run.returncode == -9, told
        kills += 1
    assert 10 <= target.read_bytes().count(b"\n") < ROWS
    subprocess.run([*command, str(target)], check=True, capture_output=True)
    assert lines(target) == lines(whole)
    assert [json.loads(x)["index"] for x in lines(target)] == list(range(ROWS))
