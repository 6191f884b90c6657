"""Weights in 8 or 4 bits: how far the logits are from those of the weights as they are stored, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from shutil import copytree

import pytest
import torch
from torch import nn

from decoders import Generator, UsageError
from decoders.models.quantised import GROUP, Int4Linear, quantise, weight_bytes
from decoders.models.source import load_model
from support import checkpoints
from support.checkpoints import write
from support.commands import call

torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
METHODS = [pytest.param("int8", marks=torchao), "int4"]


def logits(model):
    tokens = torch.arange(24)[None]
    with torch.inference_mode():
        return model(input_ids=tokens).logits.double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_in_4_bits_is_the_layer_with_its_weights_rounded(dtype, bias):
    torch.manual_seed(0)
    linear = nn.Linear(3 * GROUP, 32, bias).to(dtype)
    x = torch.randn(2, 5, 3 * GROUP, dtype=dtype)
    groups = linear.weight.detach().double().unflatten(1, (-1, GROUP))
    low, step = groups.amin(-1, keepdim=True), (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15
    rounded = (((groups - low) / step).round() * step + low).flatten(1)
    with torch.inference_mode():
        found = Int4Linear(linear)(x).double()
        expected = x.double() @ rounded.T + (linear.bias.double() if bias else 0)
    assert found.shape == (2, 5, 32)
    assert (found - expected).abs().max() < (1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("method", METHODS)
def test_nano_keeps_its_answers(method):
    plain, small = load_model("nano"), load_model("nano", quantize=method)
    assert weight_bytes(small.model.model) < (0.45 if method == "int8" else 0.35) * weight_bytes(plain.model.model)
    a, b = logits(plain.model.model), logits(small.model.model)
    assert 0 < (a - b).norm() / a.norm() < (0.02 if method == "int8" else 0.2)
    prompts = ["Sort: ba\n", "Copy: hello\n"]
    how = {"length": 16, "block": 8}
    if method == "int8":
        one, other = (Generator(x, "threshold")(prompts, **how) for x in (plain, small))
        assert [g.text for g in one] == [g.text for g in other]
    assert plain.model.work == small.model.work  # as many operations, whatever the weights are stored in


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["llada", "sdar", "wedlm", "bert", "mdlm", "sedd"])
def test_families_on_load(tmp_path, name, method):
    write(tmp_path / "c", name)
    done = call("generate", "-m", tmp_path / "c", "--quantize", method, "-n", "8", "--ignore-eos", "--json", "ab")
    assert done.exit_code == 0, done.stderr


def test_the_head_and_the_embeddings_stay(tmp_path):
    m = load_model("nano", quantize="int4").model.model
    kinds = {type(x) for x in m.model.modules()}
    assert Int4Linear in kinds
    assert nn.Linear not in kinds
    assert type(m.get_output_embeddings()) is nn.Linear
    assert m.get_input_embeddings().weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sdar_moe", {"quantize": "int4"}, "weights of experts that are stored together are not quantised here"),
        ("sdar", {"quantize": "int4", "device_map": "auto"}, "leave out device_map and tp"),
        ("sdar", {"quantize": "int3"}, "quantize must be one of int8, int4"),
    ],
)
def test_what_cannot_be(tmp_path, name, options, message):
    write(tmp_path / "c", name)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"), **options)
    assert "\n" not in str(e.value)


def test_without_torchao(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torchao" else found(name))
    with pytest.raises(UsageError, match=r"int8 on cpu needs the package torchao: pip install 'dllm-decoders\[quant"):
        load_model("nano", quantize="int8")


@torchao
def test_what_torchao_says_is_one_line(monkeypatch):
    import torchao.quantization

    def fail(*args, **kwargs):
        raise ImportError("Requires mslk\nand more")

    monkeypatch.setattr(torchao.quantization, "quantize_", fail)
    model = load_model("nano").model.model
    with pytest.raises(UsageError, match="torchao cannot quantise this model to int8 on cpu: Requires mslk") as e:
        quantise(model, "int8")
    assert "\n" not in str(e.value)


# weights that bitsandbytes quantised before they were written

WIDE = {"hidden_size": 64, "intermediate_size": 128}
"""Its kernel on a CPU has groups of 64."""


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A function that gives the directory of a checkpoint in so many bits, and the model of transformers that it is."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    transformers = pytest.importorskip("transformers")
    assert bitsandbytes

    def made(name, bits):
        recipe = checkpoints.RECIPES[name]
        monkeypatch.setitem(checkpoints.RECIPES, name, replace(recipe, settings={**recipe.settings, **WIDE}))
        write(tmp_path / "plain", name)
        own = load_model(str(tmp_path / "plain")).model.model
        own.save_pretrained(tmp_path / "native")
        nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32}
        how = transformers.BitsAndBytesConfig(**(nf4 if bits == 4 else {"load_in_8bit": True}))
        small = type(own).from_pretrained(tmp_path / "native", quantization_config=how, device_map={"": "cpu"})
        small.save_pretrained(tmp_path / "small")
        copytree(tmp_path / "plain", tmp_path / "c")
        (tmp_path / "small" / "model.safetensors").replace(tmp_path / "c" / "model.safetensors")
        said = json.loads((tmp_path / "small" / "config.json").read_text())["quantization_config"]
        config = json.loads((tmp_path / "c" / "config.json").read_text()) | {"quantization_config": said}
        (tmp_path / "c" / "config.json").write_text(json.dumps(config))
        return tmp_path, small

    return made


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", ["sdar", "dream"])
def test_a_checkpoint_of_bitsandbytes_is_what_transformers_makes_of_it(stored, name, bits):
    at, small = stored(name, bits)
    plain, found = load_model(str(at / "plain")), load_model(str(at / "c"))
    assert torch.equal(logits(found.model.model), logits(small))
    assert weight_bytes(found.model.model) < (0.3 if bits == 4 else 0.45) * weight_bytes(plain.model.model)
    assert plain.model.work == found.model.work
    [g] = Generator(found, "threshold")(["ab"], length=8, block=4)
    assert g.generated_tokens <= 8 < g.positions_computed


def test_what_info_says_of_quantised_weights(stored):
    at, _ = stored("sdar", 4)
    size = (at / "c" / "model.safetensors").stat().st_size
    told = json.loads(call("info", "-m", at / "c", "--json").stdout)
    assert told["quantised"] is True
    assert 0.5 * size < told["takes"]["quantised"] == told["bytes"] <= size
    assert call("info", "-m", at / "c").stdout.splitlines()[-1].endswith("free: weights fit (quantised)")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sdar", {"quantize": "int8"}, "are quantised already: leave out quantize"),
        ("llada", {}, "those of the family llada are not read so: take the checkpoint in bfloat16, with --quantize"),
    ],
)
def test_what_cannot_be_done_with_quantised_weights_is_one_line(tmp_path, name, options, said):
    pytest.importorskip("bitsandbytes")
    quantised_on_disk(tmp_path / "c", name)
    with pytest.raises(UsageError, match=said):
        load_model(str(tmp_path / "c"), **options)


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    quantised_on_disk(tmp_path / "c", "sdar")
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else there(name))
    with pytest.raises(UsageError, match=r"read with bitsandbytes and accelerate: pip install bitsandbytes$"):
        load_model(str(tmp_path / "c"))


def quantised_on_disk(directory, name):
    """A checkpoint whose config says that its weights are quantised."""
    write(directory, name)
    file = directory / "config.json"
    how = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    file.write_text(json.dumps(json.loads(file.read_text()) | how))
