"""`after_reasoning` with a stock vLLM server as its reasoner: another model's text between the prompt and the answer.
The server has no plugin of ours and no shim; plugins/vllm/test.sh runs this file alone and without conftest.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import decoders
from decoders.core import UsageError

NANO = Path(decoders.__file__).parent / "models" / "nano"


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as an ordinary causal one: without the files of its other heads, all of which vLLM would
    read."""
    directory = tmp_path_factory.mktemp("writer")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (directory / name).symlink_to(NANO / name)
    return directory


@pytest.fixture(scope="module")
def server(writer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stock server on a free port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(writer), "--served-model-name",
        "writer", "--port", str(port), "--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "256",
        "--max-num-seqs", "4", "--enforce-eager",
    ]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as out:
        alone = {**os.environ, "VLLM_PLUGINS": "none", "VLLM_CPU_KVCACHE_SPACE": "1"}
        running = subprocess.Popen(command, stdout=out, stderr=out, env=alone)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(300):
            assert running.poll() is None, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{url}/models", timeout=1).read()
                break
            except OSError:
                time.sleep(1)
        else:
            pytest.fail("the server is not ready after 300 s")
        yield url
    finally:
        running.terminate()
        running.wait(60)


def test_the_answer_follows_what_the_server_wrote(server: str) -> None:
    spec = f'after_reasoning:base=(llada:eos=suppress),reasoner="{server}?chat=false#writer",budget=8'
    prompts = ["Sort: d b a c\n", "Copy: x\n"]
    made = decoders.Generator("nano", spec)(prompts, length=16)
    for prompt, g in zip(prompts, made, strict=True):
        assert g.reasoning is not None
        assert g.reasoning.continues
        asked = urllib.request.Request(
            f"{server}/completions", method="POST", headers={"Content-Type": "application/json"},
            data=str.encode(json.dumps({"model": "writer", "prompt": prompt, "max_tokens": 8, "temperature": 0})),
        )
        said = json.loads(urllib.request.urlopen(asked, timeout=60).read())
        choice = said["choices"][0]
        assert g.reasoning.text == choice["text"]
        assert (g.reasoning.tokens, g.reasoning.finish_reason) == (
            said["usage"]["completion_tokens"],
            choice["finish_reason"],
        )
        assert g.tokens  # and the diffusion model answered
    again = decoders.Generator("nano", spec)(prompts, length=16)
    assert [g.tokens for g in again] == [g.tokens for g in made]


def test_what_the_server_says_of_a_mistake_is_one_line(server: str) -> None:
    spec = f'after_reasoning:reasoner="{server}?chat=false#nobody",budget=8'
    with pytest.raises(UsageError) as e:
        decoders.Generator("nano", spec)(["Copy: x\n"], length=8)
    assert "404" in str(e.value)
    assert "\n" not in str(e.value)
