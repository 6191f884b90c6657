"""docs/llada-8b.md: its commands run as they stand there, on a tiny LLaDA behind a stand-in for the hub."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from support.checkpoints import write
from support.commands import DECODERS
from support.standin_hub import serving

PAGE = Path(__file__).parents[2] / "docs" / "llada-8b.md"
HERE = {"device=cuda,dtype=bfloat16": "device=cpu,dtype=float32", " -n 50 ": " -n 2 "}
"""What is changed: there is no GPU here, and there are two problems."""
FILES = {
    "gsm8k": [{"question": "What is 1 + 1?", "answer": "It is #### 2"}, {"question": "2 + 2?", "answer": "#### 4"}],
    "math500": [{"problem": "What is $1 + 1$?", "answer": "2"}, {"problem": "$2 + 2$?", "answer": "4"}],
    "humaneval": [
        {
            "task_id": f"t/{i}", "prompt": "def f(x):\n", "entry_point": "f", "canonical_solution": "    return x\n",
            "test": "def check(f):\n    assert f(1) == 1\n",
        }
        for i in range(2)
    ],
    "mbpp": [
        {"task_id": i, "text": "Write a function f.", "code": "def f(x): return x", "test_list": ["assert f(1) == 1"]}
        for i in range(2)
    ],
}


def commands():
    return [line for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S) for line in block.splitlines()]


def test_the_page_has_every_step():
    said = " ".join(commands())
    for step in ("decoders models", "decoders info", "decoders generate", "bench quality", "bench report"):
        assert step in said
    for old in HERE:
        assert old in said


@pytest.mark.slow
def test_the_commands_run_as_they_stand(tmp_path):
    write(tmp_path / "repository", "llada", max_sequence_length=1024, chat="{{ messages[0].content }}")
    for name, problems in FILES.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(p) + "\n" for p in problems))
    with serving({"GSAI-ML/LLaDA-8B-Instruct": tmp_path / "repository"}) as hub:
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        env.pop("HF_HUB_OFFLINE", None)
        for command in commands():
            if "--execute-code" in command and not shutil.which("bwrap"):
                continue
            for old, new in HERE.items():
                command = command.replace(old, new)
            program, *rest = shlex.split(command)
            assert program == "decoders"
            done = subprocess.run([DECODERS, *rest], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, (command, done.stderr[-2000:])
        rows = [json.loads(line) for line in (tmp_path / "llada" / "rows.jsonl").read_text().splitlines()]
        assert len(rows) == 2 * 2 * 3  # problems, sets, settings
        assert "<html" in (tmp_path / "llada.html").read_text()[:500].lower()
