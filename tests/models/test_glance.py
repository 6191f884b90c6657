"""`decoders info`: what a checkpoint is, without a look at its weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from decoders import UsageError
from decoders.cli import info
from decoders.models import nano
from decoders.models.glance import glance
from decoders.models.source import load_model
from support.checkpoints import write
from support.commands import call

FAMILIES = "llada", "dream", "sdar", "fast_dllm_v2", "diffusion_gemma"


@pytest.fixture
def place(tmp_path):
    """Where a checkpoint is written."""
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shards", [1, 2])
def test_it_says_what_loading_finds(family, shards, place):
    write(place, family, shards=shards)
    found, loaded = glance(str(place)), load_model(str(place), dtype="float32")
    assert found.family == family
    assert (found.mask_id, found.block, found.positions) == (loaded.model.mask_id, loaded.block, loaded.positions)
    assert found.shifted == getattr(loaded.model, "shifted", False)
    assert (found.attention == "block") == loaded.model.block_causal
    if found.column:
        assert 4 * found.column == loaded.model.column_bytes
    names = {p.data_ptr(): p.numel() for p in loaded.model.model.state_dict().values() if p.is_floating_point()}
    assert 0.9 < found.parameters / sum(names.values()) < 1.5  # files may hold what is tied twice, and buffers
    assert found.bytes == sum(f.stat().st_size for f in place.glob("*.safetensors")) - headers(place)


def headers(directory):
    """Bytes of the headers of all files of weights."""
    return sum(8 + int.from_bytes(f.read_bytes()[:8], "little") for f in directory.glob("*.safetensors"))


def test_code_of_its_own_is_not_run(place):
    write(place, "llada2")
    found = glance(str(place))
    assert (found.family, found.remote, found.column) == ("llada2", True, None)


def test_the_command_says_what_fits(place, monkeypatch):
    write(place, "sdar")
    found = glance(str(place))
    monkeypatch.setattr(info, "memory", lambda: {"cpu": 3 * found.parameters, "cuda:0": found.parameters})
    lines = call("info", "-m", place).output.splitlines()
    assert lines[0] == str(place)
    assert "  family      sdar" in lines
    assert any(line.startswith("  cpu ") and line.endswith("free: weights fit (bfloat16)") for line in lines)
    assert any(line.startswith("  cuda:0 ") and line.endswith("free: weights do not fit") for line in lines)
    said = json.loads(call("info", "-m", place, "--json").output)
    assert said["takes"] == {"float32": 4 * found.parameters, "bfloat16": 2 * found.parameters}
    assert said["free"] == {"cpu": 3 * found.parameters, "cuda:0": found.parameters}


def test_the_embedded_model_goes_by_its_name():
    lines = call("info", "-m", "nano").output.splitlines()
    assert "  family      nano" in lines
    assert glance("nano") == glance(str(Path(nano.__file__).parent))


def test_what_is_no_checkpoint_is_one_line(place, tmp_path):
    with pytest.raises(UsageError, match="there is no checkpoint directory"):
        glance(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"is no checkpoint: it has no config\.json"):
        glance(str(tmp_path))
    write(place, "sdar")
    (place / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
    done = call("info", "-m", place)
    assert done.exit_code == 2
    assert "known is" in done.output


def test_the_memory_of_this_machine():
    assert info.memory()["cpu"] > 1 << 20
    assert set(info.memory()) == {"cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))}
