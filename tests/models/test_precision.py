"""The precision in which a checkpoint computes on a CPU, where nobody says."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoders import load
from decoders.models import precision
from support.checkpoints import write
from support.commands import call


def stored_as(directory, dtype):
    """A checkpoint of random weights in this type."""
    write(directory, "llada")
    file = directory / "model.safetensors"
    save_file({k: w.to(dtype) for k, w in load_file(file).items()}, file, metadata={"format": "pt"})
    config = directory / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"torch_dtype": str(dtype).removeprefix("torch.")}))
    return str(directory)


@pytest.fixture
def large(monkeypatch):
    """What is small counts as large."""
    monkeypatch.setattr(precision, "LARGE", 1000)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("stored", "asked"), [
    (torch.bfloat16, "auto"), (torch.float32, "auto"), (torch.float16, "auto"), (torch.bfloat16, "float32"),
])
def test_bfloat16_where_the_hardware_and_the_files_have_it(tmp_path, monkeypatch, capsys, large, stored, asked, fast):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: fast)
    loaded = load(stored_as(tmp_path / "c", stored), dtype=asked)
    halved = fast and stored is torch.bfloat16 and asked == "auto"
    assert loaded.model.model.dtype == (torch.bfloat16 if halved else torch.float32)
    assert capsys.readouterr().err.count("computes in bfloat16") == halved


def test_small_and_quantised_ones_stay_in_float32(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    path = stored_as(tmp_path / "c", torch.bfloat16)
    assert load(path).model.model.dtype == torch.float32
    monkeypatch.setattr(precision, "LARGE", 1000)
    assert load(path, quantize="int4").model.model.dtype == torch.float32
    assert capsys.readouterr().err == ""


def test_the_command_says_it_and_can_be_told_otherwise(tmp_path, monkeypatch, large):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    path = stored_as(tmp_path / "c", torch.bfloat16)
    said = call("generate", "-m", path, "-n", "4", "--raw", "a b")
    assert said.exit_code == 0
    assert "computes in bfloat16" in said.stderr
    assert "dtype float32" in said.stderr
    said = call("generate", "-m", path, "-n", "4", "--raw", "--dtype", "float32", "a b")
    assert said.exit_code == 0
    assert "bfloat16" not in said.stderr


def test_a_torch_that_cannot_say_has_none(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not precision.multiplies_bfloat16()
