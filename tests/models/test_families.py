"""Every family of checkpoints: what loading makes of its files, and what a session predicts against a plain full
forward."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from decoders import Generator, UsageError, get, specs
from decoders.cli import main
from decoders.core import Blocks, decode
from decoders.models import families, recognition
from decoders.models.glance import glance
from decoders.models.loaded import Loaded
from decoders.models.source import Checkpoint, load_model, source_of
from decoders.testing.checkpoints import TEXT
from decoders_bench.golden.models import purify
from support.checkpoints import EOS, EXTRA, MASK, RECIPES, VOCAB, llada2_weights, write
from support.commands import call
from support.marks import thirds

SHIFTED = ("dream", "fast_dllm_v2", "causal")
BLOCKS = {"causal": 1, "sdar": 4, "sdar_moe": 4, "stable_diffcoder": 4, "fast_dllm_v2": 32, "llada2": 32}
OTHER_BLOCKS = {"nemotron_labs_diffusion": 8, "bd3lm": 4}
DECODERS = ("llada", "llada_moe", "illada", "dream", "a2d_qwen3", "a2d_qwen2", "a2d_llama", *BLOCKS)
ENCODERS = ("bert", "roberta", "distilbert", "modernbert")
KEEP_NOTHING = (*ENCODERS, "sedd", "sedd_uniform")
NOISE = ("diffusion_gemma", "sedd_uniform")
CAUSAL = ("llama", "qwen2", "qwen3", "wedlm", "idlm")
PROMPTS = [[3, 7, 30, 41, 5], [60, 61, 62, 2, 11, 12, 13, 9, 8, 1, 0]]


@pytest.fixture(autouse=True)
def modules_of_checkpoints(tmp_path, monkeypatch):
    """transformers copies the code of a checkpoint into a cache of modules before it runs it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [n for n in sys.modules if n.startswith("transformers_modules")]:
        del sys.modules[name]


def pure(model: nn.Module) -> Any:
    """In float64 throughout: `purify` does attention and angles, and the norms of transformers go through float32
    too."""
    model = model.double()
    if not type(model).__name__.startswith("LLaDA2"):
        purify(model)
        model.set_experts_implementation("eager")  # the others know no float64

    def exact(norm: nn.Module):
        return lambda x: norm.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon)

    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = exact(module)
    return model


def load(directory: Path, name: str, **options: Any) -> Loaded:
    return load_model(str(directory), **({"trust_remote_code": True} if name == "llada2" else {}), **options)


def full(model: Any, tokens: Tensor, block: int | None, shifted: bool) -> Tensor:
    """(L, V) one forward over a whole row, in which position i sees blocks up to its own, counted from the start of the
    row."""
    place = torch.arange(len(tokens))
    sees = (
        place[:, None] // block >= place // block if block else torch.ones(len(tokens), len(tokens), dtype=torch.bool)
    )
    bias = torch.zeros(sees.shape, dtype=torch.float64).masked_fill(~sees, torch.finfo(torch.float64).min)[None, None]
    with torch.inference_mode():
        logits = model(input_ids=tokens[None], attention_mask=bias, position_ids=place[None], use_cache=False).logits[0]
    return torch.cat([logits[:1], logits[:-1]]) if shifted else logits


@pytest.mark.parametrize("name", DECODERS)
def test_a_session_predicts_what_a_plain_full_forward_does(tmp_path, name):
    """In every forward of a run over several windows, ragged rows and stored keys: the logits of the wanted positions
    are those of the model that the files were made from, under transformers' own names, over the whole row."""
    length = 64 - len(PROMPTS[0]) if BLOCKS.get(name) == 32 else 24 - len(PROMPTS[0])
    # rows end where a block does: references pad, we cut
    prompts = PROMPTS if name not in BLOCKS else [PROMPTS[0], PROMPTS[1][:5]]
    original = write(tmp_path / "c", name)
    loaded = load(tmp_path / "c", name)
    assert type(loaded.model.model).__name__ == (RECIPES[name].native or "LLaDA2MoeModelLM")
    loaded.model.model = pure(loaded.model.model)
    reference = loaded.model.model if original is None else pure(original)
    errors = []

    def watch(f, p, c):
        for b, prompt in enumerate(prompts):
            tokens = f.tokens[b, : len(prompt) + length]
            want = full(reference, tokens, BLOCKS.get(name), name in SHIFTED)
            for n, w in enumerate(p.at[b].tolist()):
                if w < p.width:
                    errors.append((p.logits[b, n] - want[f.at[b, w]]).abs().max().item())

    windows = Blocks(loaded.block or 8, within=loaded.model.attention_block)
    decode(loaded.model, get("threshold:tau=0.5"), prompts, length=length, windows=windows, stop=False, watch=watch)
    assert len(errors) >= 2 * length
    # the router of Qwen3-MoE takes its softmax in float32
    assert max(errors) < (1e-5 if name in ("sdar_moe", "llada_moe") else 1e-9)


def test_a_context_that_was_computed_causally(tmp_path):
    """Every forward of a run: blocks of 8 from the end of the prompt see each other, and the rest of the row is
    causal. Queries are scaled by their place and frequencies interpolated (YaRN), from position 8 on."""
    name, length = "nemotron_labs_diffusion", 21
    original = pure(write(tmp_path / "c", name, shards=2))
    loaded, errors = load(tmp_path / "c", name), []
    loaded.model.model = pure(loaded.model.model)

    def watch(f, p, c):
        for b, prompt in enumerate(PROMPTS):
            n, start = len(prompt) + length, int(f.at[b, 0])
            place, end = torch.arange(n), min(start + 8, len(prompt) + length)
            within = (place >= start) & (place < end)
            sees = (place <= place[:, None]) | (within[:, None] & within)
            bias = torch.zeros(n, n, dtype=torch.float64).masked_fill(~sees, torch.finfo(torch.float64).min)[None, None]
            shown = {"input_ids": f.tokens[b : b + 1, :n], "attention_mask": bias, "position_ids": place[None]}
            with torch.inference_mode():
                want = original(**shown).logits[0]
            errors.extend(
                (p.logits[b, i] - want[f.at[b, w]]).abs().max().item()
                for i, w in enumerate(p.at[b].tolist()) if w < p.width
            )

    decode(loaded.model, get("threshold:tau=0.5"), PROMPTS, length=length, windows=Blocks(8), stop=False, watch=watch)
    assert len(errors) >= 2 * length
    assert max(errors) < 1e-9
    alone = load(tmp_path / "c", name, attention="causal")
    assert (alone.model.shifted, alone.block, alone.model.causal_context) == (True, 1, False)


def test_the_name_tells_how_a_model_was_taught_to_see(tmp_path):
    """Both kinds of A2D have the same config."""
    for kind, blocks in (("mdlm", None), ("bd3lm", 32)):
        write(tmp_path / f"Qwen3-0.6B-diffusion-{kind}-v0.1", "a2d_qwen3", shards=2)
        loaded = load_model(str(tmp_path / f"Qwen3-0.6B-diffusion-{kind}-v0.1"))
        assert (loaded.model.block_causal, loaded.block) == (blocks is not None, blocks)
    assert load_model(str(tmp_path / "Qwen3-0.6B-diffusion-bd3lm-v0.1"), attention="bidirectional").block is None


def test_blocks_of_a2d_predict_what_a_plain_full_forward_does(tmp_path):
    original = write(tmp_path / "c", "a2d_qwen3", shards=3)
    loaded = load_model(str(tmp_path / "c"), attention="block")
    loaded.model.model, reference, errors = pure(loaded.model.model), pure(original), []

    def watch(f, p, c):
        want = full(reference, f.tokens[0, :64], 32, False)
        errors.extend(
            (p.logits[0, n] - want[f.at[0, w]]).abs().max().item() for n, w in enumerate(p.at[0].tolist()) if w < 32
        )

    prompts = PROMPTS[:1]
    decode(loaded.model, get("threshold:tau=0.5"), prompts, length=59, windows=Blocks(32), stop=False, watch=watch)
    assert len(errors) >= 59
    assert max(errors) < 1e-9


@pytest.mark.parametrize("name", ENCODERS)
def test_a_masked_language_model_predicts_what_its_own_forward_does(tmp_path, name):
    original = write(tmp_path / "c", name).double()
    loaded = load(tmp_path / "c", name)
    loaded.model.model.double()
    prompts, length, errors = PROMPTS, 9, []
    first = 2 if name == "roberta" else 0  # its positions follow that of the padding token, 1, which a text may hold

    def watch(f, p, c):
        for b, prompt in enumerate(prompts):
            tokens = f.tokens[b : b + 1, : len(prompt) + length]
            place = {"position_ids": torch.arange(tokens.shape[1])[None] + first} if first else {}
            with torch.inference_mode():
                want = original(input_ids=tokens, **place).logits[0]
            errors.extend(
                (p.logits[b, n] - want[f.at[b, w]]).abs().max().item()
                for n, w in enumerate(p.at[b].tolist())
                if w < p.width
            )

    decode(loaded.model, get("threshold:tau=0.5"), prompts, length=length, stop=False, watch=watch)
    assert errors
    assert max(errors) < (1e-5 if name == "modernbert" else 1e-9)  # ModernBERT takes its angles in float32


@pytest.mark.parametrize("name", ["dream", "sdar", "diffusion_gemma"])
def test_ids_that_the_tokenizer_lacks_are_never_generated(tmp_path, name):
    """The head has 112 rows, and the tokenizer 99 tokens."""
    write(tmp_path / "c", name)
    loaded = load(tmp_path / "c", name)
    assert loaded.never[-13:] == tuple(range(99, 112))
    how = {"length": 16, "ignore_eos": True, "seeds": [1, 2, 3]}
    others = ["uniform_ddim"] if name == "diffusion_gemma" else ["ancestral", "left_to_right:temperature=5.0"]
    for spec in ("threshold:temperature=5.0", *others):
        made = Generator(loaded, spec)(["ab", "hello", "x"], **how)
        assert not {t for g in made for t in g.tokens} & set(loaded.never), spec
    free = Generator(replace(loaded, never=()), "threshold:temperature=5.0")(["ab", "hello", "x"], **how)
    assert {t for g in free for t in g.tokens} & set(loaded.never)


def test_experts_that_are_chosen_for_whole_blocks_are_refused(tmp_path):
    """LLaDA2.2; before it asks whether its code may run."""
    write(tmp_path / "c", "llada2", expert_capacity=48)
    for ask in (lambda: load_model(str(tmp_path / "c")), lambda: glance(str(tmp_path / "c"))):
        with pytest.raises(UsageError, match=r"expert_capacity=48, as those of LLaDA2\.2 do, whose experts are"):
            ask()


def test_tokens_that_ask_for_another_length_are_never_generated(tmp_path):
    """DreamOn's by its name, others by the config and by the generation settings."""
    write(tmp_path / "on", "dream")
    path = tmp_path / "on" / "tokenizer.json"
    path.write_text(path.read_text().replace("<|im_end|>", "<|expand|>"))
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (tmp_path / "on" / file).exists():
            file = tmp_path / "on" / file
            file.write_text(file.read_text().replace("<|im_end|>", "<|expand|>"))
    assert EXTRA in load_model(str(tmp_path / "on")).never
    write(tmp_path / "two", "llada2", delete_token_id=EXTRA, split_token_id=7)
    (tmp_path / "two" / "generation_config.json").write_text(json.dumps({"expand_token_id": 8}))
    loaded = load(tmp_path / "two", "llada2")
    assert {EXTRA, 7, 8} <= {*loaded.never}
    made = Generator(loaded, "threshold:temperature=5.0")(["ab", "x"], length=32, ignore_eos=True, seeds=[1, 2])
    assert not {t for g in made for t in g.tokens} & {EXTRA, 7, 8}
    write(tmp_path / "ends", "dream", delete_token_id=EOS)
    assert EOS not in load_model(str(tmp_path / "ends")).never  # it ends a text, and may delete too
    write(tmp_path / "bad", "dream", split_token_id="x")
    with pytest.raises(UsageError, match=r"split_token_id of .* must be a token id, not x"):
        load_model(str(tmp_path / "bad"))


TURNS = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} <|im_end|>\n{% endfor %}{% if add_generation_prompt %}bot{% "
    "endif %}"
)


@pytest.mark.parametrize(
    ("config", "roles", "chat", "stops"),
    [
        (EOS, {}, None, (EOS,)), (EOS, {"eos_token": "<|im_end|>"}, None, (EOS, EXTRA)), (EOS, {}, TURNS, (EOS, EXTRA)),
        (None, {"eos_token": "<|im_end|>"}, None, (EXTRA,)), (EOS, {}, "{{ raise_exception('no') }}", (EOS,)),
        (EOS, {"eos_token": None}, "{{ messages[0].content }}", (EOS,)),
    ],
)
def test_the_end_of_a_turn_that_only_the_tokenizer_names(tmp_path, config, roles, chat, stops):
    write(tmp_path / "c", "sdar", chat=chat, eos_token_id=config)
    path = tmp_path / "c" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | roles))
    assert load_model(str(tmp_path / "c")).model.stop_ids == stops


@pytest.mark.parametrize(
    ("name", "length", "block", "positions", "mask", "stops"),
    [
        ("llada", 128, None, 256, MASK, (EOS,)),
        ("illada", 128, None, 256, MASK, (EOS,)),
        ("dream", 128, None, 256, MASK, (EOS,)),
        ("sdar", 128, 4, 256, MASK, (EOS,)),
        ("sdar_moe", 128, 4, 256, MASK, (EOS,)),
        ("causal", 64, 1, 256, MASK, (EOS,)),
        ("fast_dllm_v2", 128, 8, 256, MASK, (EOS,)),
        ("llada2", 256, 32, 256, MASK, (EOS,)),
        ("diffusion_gemma", 256, 16, 256, None, (EOS,)),
        ("bert", 64, None, 128, MASK, (EOS,)),
        ("roberta", 64, None, 126, MASK, (EOS,)),
    ],
)
def test_what_a_family_brings(tmp_path, name, length, block, positions, mask, stops):
    write(tmp_path / "c", name)
    loaded = load(tmp_path / "c", name)
    m = loaded.model
    assert (loaded.length, loaded.block, loaded.positions) == (length, block, positions)
    assert (m.mask_id, m.stop_ids, m.vocab) == (mask, stops, VOCAB)
    absent = tuple(range(len(TEXT) + 3, VOCAB))  # ids of the head that the tokenizer lacks
    assert loaded.never == ((*absent,) if mask is None else (MASK, *absent))
    assert m.block_causal == (block is not None)
    assert m.attention_block == {"fast_dllm_v2": 32, "causal": 1}.get(name)


def test_every_family_has_a_checkpoint_here():
    made = {recognition.family_of(dict(r.config), name).name for name, r in RECIPES.items()}
    assert made == set(families.FAMILIES) - {"nano"}


def test_blocks_of_one_tell_idlm_from_sdar(tmp_path):
    """Whose outputs predict the next position, so that it is run as an autoregressive model."""
    write(tmp_path / "c", "idlm", use_regular_causal=True)
    model = load_model(str(tmp_path / "c")).model
    assert (model.shifted, model.attention_block, model.mask_id) == (True, 1, MASK)
    assert recognition.family_of({"model_type": "sdar", "architectures": ["SDARForCausalLM"]}, "x").name == "sdar"


def test_blocks_are_those_of_the_config(tmp_path):
    write(tmp_path / "sdar", "sdar", block_size=8)
    assert load_model(str(tmp_path / "sdar")).block == 8
    write(tmp_path / "fast", "fast_dllm_v2", bd_size=16)
    fast = load_model(str(tmp_path / "fast"))
    assert (fast.block, fast.model.attention_block) == (8, 16)


# ids


def test_ids_that_the_config_does_not_give_are_the_familys(tmp_path, monkeypatch):
    write(tmp_path / "c", "dream", mask_token_id=None)
    with pytest.raises(UsageError, match="no mask token with the id 151666"):
        load_model(str(tmp_path / "c"))
    monkeypatch.setitem(families.FAMILIES, "dream", replace(families.FAMILIES["dream"], mask=MASK))
    assert load_model(str(tmp_path / "c")).model.mask_id == MASK


@pytest.mark.parametrize(
    ("config", "generation", "ends", "stops"),
    [
        (EOS, None, (), (EOS,)),
        ([EOS, EXTRA], None, (), (EOS, EXTRA)),
        (EOS, EXTRA, (), (EOS, EXTRA)),
        (EOS, [EXTRA, EOS], (), (EOS, EXTRA)),
        (EOS, None, (EOS, EXTRA), (EOS, EXTRA)),
        # another tokenizer: the family's ids mean other things there, its own end token does not
        (EXTRA, None, (EOS, 5), (EXTRA, EOS)),
        (None, None, (EOS, 151643), (EOS,)),  # nor are ids beyond the vocabulary any use
    ],
)
def test_stop_tokens(tmp_path, monkeypatch, config, generation, ends, stops):
    monkeypatch.setitem(families.FAMILIES, "dream", replace(families.FAMILIES["dream"], ends=ends))
    write(tmp_path / "c", "dream", eos_token_id=config)
    if generation is not None:
        (tmp_path / "c" / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    assert load_model(str(tmp_path / "c")).model.stop_ids == stops


def test_the_real_ids(tmp_path):
    """So that nobody changes one by accident; where they come from stands in the table."""
    known = {
        f.name: (f.mask, f.ends, f.block, f.window, f.shifted, f.attentions[0]) for f in families.FAMILIES.values()
    }
    assert known["llada"] == (126336, (126081, 126348), 32, None, False, "bidirectional")
    assert known["llada_moe"] == (156895, (156892,), 32, None, False, "bidirectional")
    assert known["a2d"] == ("tokenizer", (), 32, None, False, "bidirectional")
    assert known["nemotron"] == (100, (11,), 32, None, False, "block")
    assert known["stable_diffcoder"] == (5, (2,), 4, None, False, "block")
    assert known["wedlm"] == (151665, (), 1, None, True, "causal")
    assert known["idlm"] == (151669, (), 1, None, True, "causal")
    assert known["illada"] == (5, (), 32, None, False, "bidirectional")
    assert known["dream"] == (151666, (151643, 151645), 32, None, True, "bidirectional")
    assert known["sdar"] == known["sdar_moe"] == (151669, (), 4, None, False, "block")
    assert known["fast_dllm_v2"] == (151665, (151645,), 32, 8, True, "block")
    assert known["mdlm"] == ("last", (50256,), 32, None, False, "bidirectional")
    assert known["bd3lm"] == ("last", (50256,), 4, None, False, "block")
    assert known["sedd"] == ("last", (50256,), 32, None, False, "bidirectional")
    assert known["llada2"] == (156895, (156892,), 32, None, False, "block")


# files


@pytest.mark.parametrize("name", ["llada", "llada_moe", "sdar_moe", "llada2", "wedlm", "bert"])
def test_shards_in_bfloat16_are_the_same_model(tmp_path, name):
    write(tmp_path / "one", name, dtype=torch.bfloat16)
    write(tmp_path / "many", name, dtype=torch.bfloat16, shards=3)
    assert len(list((tmp_path / "many").glob("*.safetensors"))) == 3
    one, many = (load(tmp_path / d, name).model.model for d in ("one", "many"))
    assert {p.dtype for p in many.parameters()} == {torch.float32}  # on a CPU
    assert [torch.equal(a, b) for a, b in zip(one.parameters(), many.parameters(), strict=True)] == [True] * len(
        list(one.parameters())
    )
    half = load(tmp_path / "many", name, dtype="bfloat16").model.model
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    tokens = torch.tensor(PROMPTS[:1])
    with torch.inference_mode():
        a, b = (m(input_ids=tokens, attention_mask=None).logits.float() for m in (one, half))
    assert 0 < (a - b).abs().max() < 0.1 * a.abs().max()


def test_the_tokenizer_may_be_a_vocabulary_and_merges(tmp_path):
    for files in ("json", "vocab"):
        write(tmp_path / files, "dream", files=files)
    a, b = (load_model(str(tmp_path / files)).tokenizer for files in ("json", "vocab"))
    text = "a <|mask|> b<|im_end|>"
    assert a.encode(text) == b.encode(text)
    assert MASK in b.encode(text)
    assert a.decode(a.encode(text)) == b.decode(b.encode(text)) == text


def test_the_code_of_a_checkpoint_runs_only_if_told_to(tmp_path):
    write(tmp_path / "c", "llada2")
    witness = tmp_path / "ran"
    for file in (tmp_path / "c").glob("*.py"):
        file.write_text(f"open({str(witness)!r}, 'w').close()\n" + file.read_text())
    with pytest.raises(UsageError, match="trust_remote_code=true"):
        load_model(str(tmp_path / "c"))
    assert not witness.exists()
    load_model(f"{tmp_path / 'c'}:trust_remote_code=true")
    assert witness.exists()


def test_a_native_family_never_runs_code_even_if_told_to(tmp_path):
    write(tmp_path / "c", "llada")
    witness = tmp_path / "ran"
    for file in ("configuration_llada.py", "modeling_llada.py"):
        (tmp_path / "c" / file).write_text(f"open({str(witness)!r}, 'w')\n")
    load_model(str(tmp_path / "c"), trust_remote_code=True)
    assert not witness.exists()


def test_code_for_transformers_4_gets_its_weights_and_its_angles(tmp_path):
    """The stand-in initialises as such code does: nothing of that may be left after loading."""
    write(tmp_path / "c", "llada2", seed=3)
    model = load(tmp_path / "c", "llada2").model.model
    torch.manual_seed(3)
    written, got = llada2_weights(), model.state_dict()
    assert set(written) == set(got)
    assert all(torch.equal(written[key], got[key]) for key in written)
    want = 1 / 600000.0 ** (torch.arange(0, 8, 2) / 8)
    assert torch.allclose(model.model.rotary_emb.inv_freq, want)
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert "default" not in ROPE_INIT_FUNCTIONS


def damage(directory: Path, name: str, how: str) -> None:
    files = sorted(directory.glob("*.safetensors"))
    if how == "missing shard":
        files[1].unlink()
    elif how == "no index":
        (directory / "model.safetensors.index.json").unlink()
    elif how == "bad index":
        (directory / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b.safetensors"}}')
    elif how == "bin":
        for file in files:
            file.unlink()
        (directory / "model.safetensors.index.json").unlink()
        torch.save({}, directory / "pytorch_model.bin")
    elif how == "no config":
        (directory / "config.json").unlink()
    elif how == "no tokenizer":
        (directory / "tokenizer.json").unlink()
    elif how == "cut":
        files[0].write_bytes(files[0].read_bytes()[:100])
    elif how == "page":
        files[1].write_text("<!DOCTYPE html><html>404: Not Found</html>")
    elif how.startswith("pointer "):
        at = files[2] if how.endswith("weights") else directory / how.removeprefix("pointer ")
        at.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 3087467144\n")
    elif how == "adapter":
        for file in (*files, directory / "config.json", directory / "model.safetensors.index.json"):
            file.unlink()
        (directory / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
        (directory / "adapter_model.safetensors").write_bytes(b"")
    elif how == "directory":
        (directory / "config.json").unlink()
        (directory / "config.json").mkdir()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing shard", "lacks 1 of its 3 shards, the first is model-00002-of-00003.safetensors"),
        ("no index", "no model.safetensors and no model.safetensors.index.json, only model-00001-of-00003.safetensors"),
        ("bad index", "weight_map does not map names to files beside it"),
        ("bin", "only pytorch_model.bin; other formats of weights are not read"),
        ("no config", "it has no config.json"),
        ("no tokenizer", "no tokenizer.json"),
        ("no index", "these are 3 shards, and the index says which weights lie in which"),
        ("cut", "cannot be read"),
        (
            "cut",
            r"00001-of-00003.safetensors cannot be read: it is no file of safetensors, "
            r"or not a whole one \(100 bytes\)",
        ),
        ("page", r"00002-of-00003.safetensors cannot be read: it is no file of safetensors"),
        (
            "pointer weights",
            r"00003-of-00003.safetensors is a pointer of git-lfs and not the file itself; run git lfs pull",
        ),
        ("pointer tokenizer.json", "tokenizer.json is a pointer of git-lfs"),
        ("pointer config.json", "config.json is a pointer of git-lfs"),
        ("adapter", r"holds an adapter \(LoRA\) for org/base and no model; merge it"),
        ("directory", "config.json cannot be read: Is a directory"),
    ],
)
def test_damage_is_one_clear_line(tmp_path, how, message):
    write(tmp_path / "c", "sdar", shards=3)
    damage(tmp_path / "c", "sdar", how)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "config.json", "[" * 100_000,
            "config.json cannot be read: not JSON that can be read: it is nested too deeply",
        ),
        ("config.json", "\ufeff{}", "names no diffusion_family"),
        ("config.json", "{", "config.json cannot be read: not JSON"),
        ("config.json", '{"mask_token_id": NaN}', "config.json cannot be read: not JSON: NaN is no number"),
        ("config.json", "[]", "it holds no JSON object"), ("config.json", "", "config.json cannot be read"),
        ("generation_config.json", '{"eos_token_id": [[1]]}', r"eos_token_id of .* must be a token id, not \[1\]"),
        ("generation_config.json", '{"eos_token_id": -1}', "eos_token_id of .* must be a token id, not -1"),
        (
            "generation_config.json", '{"eos_token_id": 96}',
            "gives the id 96 to its mask token and to a token that ends a text",
        ),
        ("tokenizer_config.json", '{"added_tokens_decoder": [1]}', "tokenizer"),
        ("tokenizer_config.json", '{"mask_token": 7}', "tokenizer"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}', "tokenizer"),
        ("special_tokens_map.json", '{"mask_token": "<|im_end|>"}', "disagrees with itself about its mask token"),
    ],
)
def test_a_file_of_a_checkpoint_that_says_nonsense_is_one_clear_line(tmp_path, file, content, message):
    write(tmp_path / "c", "sdar")
    if file == "special_tokens_map.json":
        path = tmp_path / "c" / "tokenizer_config.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "mask_token"}))
    (tmp_path / "c" / file).write_text(content, "utf-8")
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("diffusion_gemma", "config.json", {"canvas_length": None}, "config.json cannot be used: TypeError"),
        ("sdar", "model.safetensors.index.json", {"metadata": None}, "index.json cannot be read: it has no metadata"),
        ("sdar", "model.safetensors.index.json", {}, "index.json begins with a byte order mark"),
        ("sdar", "tokenizer.json", {}, "tokenizer.json begins with a byte order mark"),
        ("sdar", "tokenizer_config.json", {}, "tokenizer_config.json begins with a byte order mark"),
    ],
)
def test_what_the_libraries_below_cannot_read_is_told_of_the_right_file(tmp_path, name, file, change, message):
    """A value that nobody foresaw, or, where nothing is changed, a byte order mark."""
    write(tmp_path / "c", name, shards=3)
    path = tmp_path / "c" / file
    content = json.dumps(json.loads(path.read_text()) | change).encode()
    path.write_bytes(content if change else b"\xef\xbb\xbf" + content)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


def test_a_chat_template_that_is_none_is_passed_over(tmp_path):
    write(tmp_path / "c", "sdar")
    path = tmp_path / "c" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": True}))
    assert load_model(str(tmp_path / "c")).chat is None


@pytest.mark.parametrize("name", ["diffusion_gemma", "sdar", "bert"])
def test_generation_settings_of_other_kinds_are_of_no_concern(tmp_path, name):
    write(tmp_path / "c", name)
    said = {"temperature": 0.2, "do_sample": True, "sampler": [1], "eos_token_id": [97], "max_length": -3}
    (tmp_path / "c" / "generation_config.json").write_text(json.dumps(said))
    assert 97 in load_model(str(tmp_path / "c")).model.stop_ids


def test_a_config_behind_a_byte_order_mark_is_read(tmp_path):
    write(tmp_path / "c", "sdar")
    path = tmp_path / "c" / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_model(str(tmp_path / "c")).model.mask_id == MASK


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llada", {"model_type": "lladda"}, "model_type 'lladda' with LLaDAModelLM is none that is known"),
        ("llada", {"architectures": ["LLaDAMoEModel"]}, "LLaDAMoEModel is none that is known"),
        ("dream", {"architectures": ["DreamForCausalLM"]}, "DreamForCausalLM is none that is known"),
        ("sdar", {"model_type": "mdlm", "architectures": ["MDLMX"]}, "model_type 'mdlm' with MDLMX is none that is"),
        ("sdar", {"model_type": "sumi", "architectures": ["SumiX"]}, "is Sumi, whose attention has a softmax"),
        ("sdar", {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, "names no diffusion_family"),
        ("bert", {"architectures": ["GalaxyForMaskedLM"]}, "GalaxyForMaskedLM is not one of transformers"),
        ("llada", {"mask_token_id": 5}, "no mask token with the id 5"),
        ("llada", {"mask_token_id": 5000}, "no mask token with the id 5000"),
        (
            "sdar", {"mask_token_id": EOS},
            r"disagrees with itself about its mask token: it is 97 \(<\|endoftext\|>\) to the model,",
        ),
        ("sdar", {"mask_token_id": EXTRA}, "disagrees with itself about its mask token"),
        ("sdar", {"mask_token_id": -1}, "mask_token_id in .*config.json must be a token id, not -1"),
        ("sdar", {"mask_token_id": True}, "mask_token_id in .* must be a token id, not True"),
        ("sdar", {"mask_token_id": 1 << 40}, "mask_token_id in .* must be a token id"),
        ("sdar", {"mask_token_id": [96]}, r"mask_token_id in .* must be a token id, not \[96\]"),
        ("bert", {"mask_token_id": EOS}, "disagrees with itself about its mask token"),
        (
            "sdar", {"eos_token_id": [[1]]},
            "config.json does not describe weights of a Qwen3ForCausalLM: .*eos_token_id",
        ),
        ("sdar", {"eos_token_id": "2"}, "config.json does not describe weights .*eos_token_id"),
        ("sdar", {"eos_token_id": MASK}, "gives the id 96 to its mask token and to a token that ends a text"),
        ("sdar", {"block_size": -4}, "block_size in its config.json must be the size of a block, not -4"),
        ("sdar", {"block_size": "4"}, "block_size in its config.json must be the size of a block"),
        ("sdar", {"rope_scaling": "linear"}, "config.json does not describe"),
        ("dream", {"layer_types": 7}, "config.json does not describe"),
        ("bert", {"architectures": [3]}, "is none that is known"),
        ("diffusion_gemma", {"text_config": [1]}, "config.json"),
        ("llada", {"alibi": True}, "alibi=True, and only False is known"),
        ("llada", {"block_type": None}, "block_type='sequential', and only 'llama'"),
        ("llada", {"layer_norm_type": "default"}, "only 'rms'"),
        ("llada", {"activation_type": "gelu"}, "only 'silu'"),
        ("llada", {"rope": False}, "only True"),
        ("llada", {"include_qkv_bias": True}, "include_qkv_bias"),
        ("llada", {"scale_logits": True}, "scale_logits"),
        ("llada", {"use_scheduler_head": True}, "use_scheduler_head=True, which is not known"),
        ("llada", {"d_model": None}, "no d_model"),
        ("llada", {"n_layers": 3}, "do not fit LlamaForCausalLM"),
        ("llada", {"n_layers": 1}, "do not fit LlamaForCausalLM"),
        ("llada", {"mlp_hidden_size": 40}, r"down_proj.weight, \(32, 48\) where \(32, 40\) is needed"),
        ("llada_moe", {"shared_expert_intermediate_size": 24}, "shared_expert_intermediate_size=24"),
        ("llada_moe", {"moe_router_enable_expert_bias": True}, "moe_router_enable_expert_bias=True, and only None"),
        ("llada_moe", {"moe_layer_freq": [0, 1]}, "layers without experts"),
        ("llada_moe", {"qk_layernorm": False}, "qk_layernorm=False, and only True"),
        ("llada_moe", {"clip_qkv": 8.0}, "clip_qkv=8.0"),
        ("llada_moe", {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5, which is not known"),
        ("llada_moe", {"expert_intermediate_size": None}, "no expert_intermediate_size"),
        ("wedlm", {"qk_norm": False}, "does not set qk_norm"),
        ("nemotron_labs_diffusion", {"dlm_paradigm": "autoregressive"}, "only 'bidirectional' is known"),
        ("nemotron_labs_diffusion", {"sliding_window": 8}, "sliding window"),
        ("a2d_qwen3", {"use_sliding_window": True}, "sliding window"),
        ("illada", {"layer_norm_eps": 1e-5}, "only RMSNorm is known"),
        ("dream", {"use_mrope": True}, "use_mrope"),
        ("dream", {"use_sliding_window": True}, "sliding window"),
        ("dream", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rotary embedding 'dynamic'"),
        ("dream", {"logit_softcap": 30.0}, "logit_softcap=30.0, which is not known"),
        ("sdar", {"use_regular_causal": True}, "use_regular_causal"),
        ("sdar", {"hidden_size": 33}, "config.json|weights"),
        ("sdar_moe", {"num_experts": 5}, "weights"),
        ("fast_dllm_v2", {"layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
    ],
)
def test_a_config_that_is_not_known_is_refused_in_one_line(tmp_path, name, changes, message):
    write(tmp_path / "c", name, **changes)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
        # as transformers 5 writes it
        {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
        {"fancy_new_key": "of no meaning", "norm_topk_prob": False},
    ],
)
def test_a_config_may_say_more(tmp_path, changes):
    write(tmp_path / "c", "sdar", **changes)
    rope = load_model(str(tmp_path / "c")).model.model.config.rope_parameters
    assert rope["rope_theta"] == 1000000.0
    assert rope["rope_type"] in ("default", "linear", "yarn")


def test_tied_heads_need_no_weight_of_their_own(tmp_path):
    write(tmp_path / "c", "illada")
    from safetensors import safe_open

    with safe_open(tmp_path / "c" / "model.safetensors", "pt") as f:
        assert "lm_head.weight" not in f.keys()  # noqa: SIM118
    model = load_model(str(tmp_path / "c")).model.model
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_harmless_weights_may_lie_in_the_files(tmp_path):
    from safetensors.torch import load_file, save_file

    for name, extra in (
        ("illada", ("lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq")),
        ("bert", ("bert.pooler.dense.weight", "cls.seq_relationship.weight", "bert.embeddings.position_ids")),
    ):
        write(tmp_path / name, name)
        file = tmp_path / name / "model.safetensors"
        weights = load_file(file)
        more = {
            key: weights["model.embed_tokens.weight"].clone() if key == "lm_head.weight" else torch.zeros(3)
            for key in extra
        }
        save_file({**weights, **more}, file, metadata={"format": "pt"})
        load_model(str(tmp_path / name))
        save_file({**weights, "model.adapter.weight": torch.zeros(3)}, file, metadata={"format": "pt"})
        with pytest.raises(UsageError, match=r"do not fit .* the first is model\.adapter\.weight"):
            load_model(str(tmp_path / name))


def test_a_tokenizer_that_names_no_mask(tmp_path):
    write(tmp_path / "c", "bert")
    for name in ("tokenizer_config.json",):
        path = tmp_path / "c" / name
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "mask_token"}))
    with pytest.raises(UsageError, match="has no mask token"):
        load_model(str(tmp_path / "c"))


def test_code_that_fails_or_is_not_there(tmp_path):
    write(tmp_path / "c", "llada2")
    (tmp_path / "c" / "modeling_llada2_moe.py").write_text("raise RuntimeError('broken\\nin two lines')\n")
    with pytest.raises(UsageError, match=r"the code in .* cannot be run: RuntimeError: broken$"):
        load(tmp_path / "c", "llada2")
    write(tmp_path / "d", "llada2", auto_map=None)
    with pytest.raises(UsageError, match="names no code of its own in auto_map"):
        load(tmp_path / "d", "llada2")


# where and how


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "abacus"}, "the device 'abacus' cannot be used"),
        ({"dtype": "float8"}, "dtype must be one of auto, float32, bfloat16, float16, not 'float8'"),
        ({"device_map": "everywhere"}, "device_map must be one of"),
        ({"device_map": "auto", "tp": True}, "take one"),
        ({"device_map": "auto", "device": "meta"}, "device_map places the model itself"),
        ({"tp": True}, "torchrun"),
        ({"attention": "block"}, "the family llada knows the attention bidirectional, not 'block'"),
    ],
)
def test_options_that_cannot_be(tmp_path, monkeypatch, options, message):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    write(tmp_path / "c", "llada")
    with pytest.raises(UsageError, match=message):
        load_model(str(tmp_path / "c"), **options)
    written = ",".join(f"{key}={str(value).lower()}" for key, value in options.items())
    with pytest.raises(UsageError, match=message):
        load_model(f"{tmp_path / 'c'}:{written}")


@pytest.mark.parametrize("how", ["device_map=auto", "tp=true"])
def test_several_devices_need_accelerate(tmp_path, monkeypatch, how):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "accelerate" else found(name, *more)
    )
    monkeypatch.setenv("LOCAL_RANK", "0")
    write(tmp_path / "c", "llada")
    with pytest.raises(UsageError, match="pip install accelerate"):
        load_model(f"{tmp_path / 'c'}:{how}")


with_accelerate = pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="needs accelerate")


@pytest.mark.slow
@with_accelerate
@pytest.mark.parametrize("name", ["llada", "sdar_moe"])
def test_two_processes_share_one_model(tmp_path, name):
    write(tmp_path / "c", name)
    script = tmp_path / "shared.py"
    script.write_text(
        "import sys, torch\n"
        "from decoders.models.source import load_model\n"
        "whole, part = (load_model(sys.argv[1], tp=tp).model.model for tp in (False, True))\n"
        "a, b = (m.model.layers[0].self_attn.q_proj.weight for m in (whole, part))\n"
        "assert b.to_local().shape[0] * 2 == a.shape[0]\n"
        "tokens = torch.tensor([[3, 7, 30, 41, 5]])\n"
        "with torch.inference_mode():\n"
        "    assert torch.allclose(whole(input_ids=tokens).logits, part(input_ids=tokens).logits, atol=1e-4)\n"
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        script,
        tmp_path / "c",
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]


@with_accelerate
def test_device_map_gives_the_same_model(tmp_path):
    write(tmp_path / "c", "llada")
    a, b = (load_model(str(tmp_path / "c"), **how).model.model for how in ({}, {"device_map": "auto"}))
    tokens = torch.tensor(PROMPTS[:1], device=b.device)
    with torch.inference_mode():
        assert torch.allclose(a(input_ids=tokens.cpu()).logits, b(input_ids=tokens).logits.float().cpu(), atol=1e-3)


def test_options_beside_a_spec(tmp_path):
    write(tmp_path / "c", "llada")
    path = str(tmp_path / "c")
    assert (
        source_of(path, dtype="bfloat16") == source_of(f"{path}:dtype=bfloat16") == Checkpoint(path, dtype="bfloat16")
    )
    assert source_of(f"{path}:device=cpu", dtype="float16") == Checkpoint(path, device="cpu", dtype="float16")
    assert source_of(f"checkpoint-{path}"[11:]) == Checkpoint(path)
    with pytest.raises(UsageError, match="the option 'dtype' is given both in"):
        source_of(f"{path}:dtype=bfloat16", dtype="bfloat16")
    with pytest.raises(UsageError, match="did you mean 'dtype'"):
        source_of(path, dtyp="bfloat16")
    with pytest.raises(UsageError, match="dtype"):
        source_of("nano", dtype="bfloat16")
    with pytest.raises(UsageError, match="the option 'attention' is given both in"):
        source_of("nano:attention=block", attention="block")
    assert load_model("nano", attention="block").model.block_causal
    with pytest.raises(UsageError, match="there is no checkpoint directory"):
        source_of(str(tmp_path / "nowhere"), dtype="bfloat16")


def test_the_same_seed_writes_the_same_files(tmp_path):
    for d, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / d, "sdar", seed=seed)
    a, b, c = ((tmp_path / d / "model.safetensors").read_bytes() for d in "abc")
    assert a == b != c
    assert len(TEXT) < VOCAB


# the command line


@pytest.mark.parametrize("args", [["a <mask> b"], ["-n", "4", "a b"]])
def test_a_model_without_a_mask_token_has_no_holes_to_fill(tmp_path, args):
    write(tmp_path / "c", "diffusion_gemma")
    done = call("generate", "-m", tmp_path / "c", "--infill", *args)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "has no mask token, so a prompt cannot have holes to fill" in done.stderr


def settings_of(name: str) -> list[tuple[str, str]]:
    """Decoders and caches for a family: three decoders and every cache that its model can have, each at least once."""
    encoder, gemma, causal = name in KEEP_NOTHING, name in NOISE, name in CAUSAL
    specs = ["threshold:tau=0.5", "llada", "factor:f=1.0", *([] if gemma or causal else ["ancestral", "first_hitting"])]
    specs += [] if encoder or gemma else ["left_to_right"]
    specs += ["coupled"] if causal else []
    caches = ["exact", "none"]
    if not encoder:
        caches += ["prefix", "dual", "entropycache", "dkv", "interval"]
        caches += ["block"] if name in (*BLOCKS, *OTHER_BLOCKS) or gemma or causal else []
        caches += ["drift"] if name not in ("llada2", "diffusion_gemma") else []
    return (
        list(zip(cycle(specs), caches, strict=False))
        if len(caches) > len(specs)
        else list(zip(specs, cycle(caches), strict=False))
    )


@pytest.mark.parametrize("name", thirds(RECIPES, 0))
def test_every_family_decodes_from_the_command_line(tmp_path, name):
    write(tmp_path / "c", name)
    settings, made = settings_of(name), {}
    assert len({spec for spec, _ in settings}) >= 3
    for spec, cache in settings:
        arguments = [
            "generate", "-m", str(tmp_path / "c"), "-d", spec, "-c", cache, "-n", "8", "--ignore-eos", "--json",
            "ab(c",
        ]
        done = CliRunner().invoke(main, [*arguments, *(["--trust-remote-code"] if name == "llada2" else [])])
        assert done.exit_code == 0, done.stderr
        made[spec, cache] = json.loads(done.stdout)
    for (_, cache), row in made.items():
        assert len(row["tokens"]) <= 8  # cut before the first stop token
        assert row["finish_reason"] == "length"
        assert row["positions_computed"] > 0
        assert row["flops"] > 0
        assert (row["kv_bytes"] > 0) == (name not in KEEP_NOTHING)
        if cache == "none":
            assert row["cache_hit_rate"] == 0


@pytest.mark.parametrize(
    ("name", "cache"), [("bert", "dual"), ("bert", "drift"), ("diffusion_gemma", "drift"), ("llada", "block")]
)
def test_a_cache_that_a_family_cannot_have_is_one_line(tmp_path, name, cache):
    write(tmp_path / "c", name)
    done = CliRunner().invoke(main, ["generate", "-m", str(tmp_path / "c"), "-c", cache, "ab"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "the cache" in done.stderr


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"compression_config": {"format": "pack-quantized"}}, "by an unnamed method"),
    ],
)
def test_weights_that_were_quantised_are_refused(tmp_path, config, method):
    write(tmp_path / "c", "sdar")
    path = tmp_path / "c" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(UsageError, match=rf"are quantised \({method}\), and such checkpoints are not read here"):
        load_model(str(tmp_path / "c"))


# families of others


def plugged(monkeypatch, **families_by_name):
    """As if distributions had these entry points."""
    table = specs.table("families")
    found = {name: (EntryPoint(name, value, "decoders.families"),) for name, value in families_by_name.items()}
    monkeypatch.setattr(specs, "table", lambda kind, old=specs.table: found if kind == "families" else old(kind))
    assert table == {}


MOON = families.Family(
    "moon", ("qwen2",), ("MoonForCausalLM",), "Qwen2ForCausalLM", mask=MASK, shifted=True, settings=families.dream
)


def test_a_family_of_another_distribution_is_found_by_its_entry_point(tmp_path, monkeypatch):
    """Behind the rows of the table that name their architectures, and before those that take any."""
    write(tmp_path / "c", "qwen2", architectures=["MoonForCausalLM"])
    with pytest.raises(UsageError, match="MoonForCausalLM"):
        load_model(str(tmp_path / "c"))
    plugged(monkeypatch, moon=f"{__name__}:MOON")
    loaded = load_model(str(tmp_path / "c"))
    assert (loaded.model.shifted, loaded.model.mask_id, loaded.model.block_causal) == (True, MASK, False)
    assert recognition.get_family("moon") is MOON
    assert [f["family"] for f in json.loads(call("models", "--json").stdout)][-1] == "moon"
    write(tmp_path / "d", "dream")
    assert recognition.family_of(json.loads((tmp_path / "d" / "config.json").read_text()), "d").name == "dream"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("moon", "nowhere_at_all:MOON", r"family 'moon' of dllm-decoders cannot be loaded: ModuleNotFoundError"),
        ("sun", f"{__name__}:MOON", "family 'sun' calls itself 'moon'; its entry point has to have its name"),
        ("llada", f"{__name__}:MOON", "there is a built-in family 'llada', which another distribution cannot have"),
        ("moon", f"{__name__}:MASK", "family 'moon' is not a Family"),
    ],
)
def test_a_broken_family_is_left_out_and_told_where_none_fits(tmp_path, monkeypatch, name, value, told):
    plugged(monkeypatch, **{name: value})
    write(tmp_path / "c", "qwen2", architectures=["MoonForCausalLM"])
    with pytest.raises(UsageError, match=f"is none that is known.*; left out: {told}"):
        load_model(str(tmp_path / "c"))
    write(tmp_path / "d", "dream")
    assert load_model(str(tmp_path / "d")).model.shifted
    assert f"Warning: left out: {told}".split("'", 1)[0] in call("models").stderr


def test_a_family_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="unknown family 'lada'; did you mean 'llada'"):
        recognition.get_family("lada")
