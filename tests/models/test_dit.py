"""Diffusion transformers (MDLM, BD3-LM, SEDD): their logits against a float64 forward of the mathematics, their noise
level, and their tokenizer, which no checkpoint brings."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file

from decoders import Generator, UsageError, get
from decoders.caches.fast_dllm import Dual
from decoders.core import Blocks, decode
from decoders.models import hub, recognition
from decoders.models.dit.sedd import denoised
from decoders.models.glance import glance
from decoders.models.quantised import Int4Linear
from decoders.models.source import load_model
from support import dit
from support.checkpoints import EOS, write
from support.dit import TOKENS

PROMPTS = [[3, 7, 30, 41, 5], [60, 61, 62, 2, 11, 12, 13, 9, 8, 1, 0]]
MASK = TOKENS


def written(directory, name, **how):
    """The model of a checkpoint in float64, and the weights of its files without a prefix."""
    write(directory, name, **how)
    loaded = load_model(str(directory))
    loaded.model.model.double()
    files = [load_file(file) for file in directory.glob("*.safetensors")]
    return loaded, {key.removeprefix("backbone."): x for w in files for key, x in w.items()}


def level_of(row):
    """The noise level at which a share of masks as in this row is expected, within those of the training."""
    share = min(max((row == MASK).double().mean().item(), 0.999e-3), 0.999)
    return -math.log1p(-share)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", ["mdlm", "bd3lm", "sedd"])
def test_a_session_predicts_what_the_mathematics_says(tmp_path, name, shards):
    """In every forward of a run over several windows, with ragged rows, where it can with stored keys."""
    loaded, w = written(tmp_path / "c", name, shards=shards)
    block, length, errors = 4 if name == "bd3lm" else None, 19, []
    prompts = [PROMPTS[0], PROMPTS[1][:9]] if block else PROMPTS  # rows end where a block does

    def watch(f, p, c):
        for b, prompt in enumerate(prompts):
            row = f.tokens[b, : len(prompt) + length]
            want = dit.forward(w, row, level_of(row) if name == "sedd" else 0.0, block)
            errors.extend(
                (p.logits[b, n] - want[f.at[b, i]]).abs().max().item()
                for n, i in enumerate(p.at[b].tolist()) if i < p.width
            )

    windows = Blocks(loaded.block or 8)
    decode(loaded.model, get("threshold:tau=0.5"), prompts, length=length, windows=windows, stop=False, watch=watch)
    assert len(errors) >= 2 * length
    assert max(errors) < 1e-9


@pytest.mark.parametrize("asked", ["coupled", "freedave", "drift"])
def test_what_else_a_session_can_be_asked(tmp_path, asked):
    """Causally, about candidates, and for its attention: by the code of every model of transformers."""
    write(tmp_path / "c", "mdlm")
    spec, cache = (asked, "exact") if asked != "drift" else ("threshold", asked)
    assert Generator(str(tmp_path / "c"), spec, cache=cache)(["ab(c"], length=12, ignore_eos=True)[0].tokens


def test_the_scores_of_sedd_are_read_as_probabilities(tmp_path):
    """Its code subtracts log(exp(sigma) - 1) and the logarithm of how many tokens there are from what the network
    says, and takes the exponent for a ratio of probabilities: that times exp(sigma) - 1 is a probability."""
    loaded, w = written(tmp_path / "c", "sedd")
    row = torch.tensor([3, MASK, 30, MASK, MASK, 5, 9, MASK])
    model, sigma = loaded.model, level_of(row)
    score = (dit.forward(w, row, sigma) - math.log(math.expm1(sigma)) - math.log(TOKENS)).exp()
    want = score[:, :-1] * math.expm1(sigma)
    with torch.inference_mode():
        logits = model.head(model.states(row[None], torch.tensor([len(row)])))[0]
    got = logits[:, :-1].softmax(-1)
    assert ((want / want.sum(-1, keepdim=True) - got)[row == MASK]).abs().max() < 1e-12
    assert MASK in loaded.never


@pytest.mark.parametrize("noise", [0.02, 0.4, 0.999])
def test_scores_of_uniform_noise_are_read_as_the_official_denoiser_does(noise):
    """Its `staggered_score` times its `transp_transition`, written out; and a model that knows the text exactly gives
    back what it knows."""
    torch.manual_seed(0)
    V, sigma = 7, -math.log1p(-noise)
    text, seen = torch.rand(2, 3, V).double().softmax(-1), torch.tensor([[0, 3, 6], [2, 2, 5]])
    a, u = 1 - noise, noise / V
    # from the text's token to the one that is seen
    moved = torch.full((V, V), u, dtype=torch.double) + a * torch.eye(V, dtype=torch.double)
    noised = text @ moved
    ratio = noised / noised.gather(-1, seen[..., None])
    own = 0.3 * torch.nn.functional.one_hot(seen, V)  # what the network says of the token that stands there
    got = denoised(ratio.log() + own, seen, torch.tensor([sigma] * 2, dtype=torch.double))
    want = text * moved[:, seen].permute(1, 2, 0)
    assert (got.softmax(-1) - want / want.sum(-1, keepdim=True)).abs().max() < 1e-9
    staggered = (math.exp(-sigma) - 1) / (V * math.exp(-sigma)) * ratio.sum(-1, keepdim=True) + ratio * math.exp(sigma)
    official = staggered * moved[seen]
    assert (got.softmax(-1) - official / official.sum(-1, keepdim=True)).abs().max() < 1e-9


@pytest.mark.parametrize("spec", ["uniform_ddim:steps=6", "block_refinement:tau=0.999", "gemma:block_steps=5"])
def test_decoders_of_noise_tell_the_network_how_much_is_left(tmp_path, spec):
    """Every forward of a run: the level is that of what is open, and the logits those of the mathematics."""
    loaded, w = written(tmp_path / "c", "sedd_uniform")
    assert (loaded.model.mask_id, loaded.model.vocab, loaded.never) == (None, TOKENS, ())
    errors, shares = [], []

    def watch(f, p, c):
        for b, prompt in enumerate(PROMPTS):
            n = len(prompt) + 12
            row, share = f.tokens[b, :n], f.open[b, :n].double().mean().item()
            if not f.want[b].any():
                continue
            shares.append(share)
            level = torch.tensor(min(max(-math.log1p(-share), 0.0001), 20.0), dtype=torch.double)
            want = denoised(dit.forward(w, row, level.item())[None], row[None], level[None])[0].softmax(-1)
            errors.extend(
                (p.logits[b, k].softmax(-1) - want[f.at[b, i]]).abs().max().item()
                for k, i in enumerate(p.at[b].tolist()) if i < p.width
            )

    decode(loaded.model, get(spec), PROMPTS, length=12, stop=False, watch=watch, seed=3)
    assert len(errors) >= 24
    assert max(errors) < 1e-9
    assert len({*shares}) > 2


@pytest.mark.parametrize(
    ("noise", "least", "most"),
    [("loglinear", 0.9995e-3, math.log(1000)), ("geometric", 0.0001, 20.0)],
)
def test_the_noise_level_is_read_off_the_row(tmp_path, noise, least, most):
    write(tmp_path / "c", "sedd", noise={**dit.SEDD["noise"], "type": noise})
    model = load_model(str(tmp_path / "c")).model
    rows = torch.tensor([[MASK] * 4, [1, 2, MASK, MASK], [1, 2, 3, MASK], [1, 2, 3, 4]])
    got = model.level(model.masked(rows), torch.tensor([4, 4, 3, 4]))
    assert got.tolist() == pytest.approx([most, math.log(2), least, least], rel=1e-3)


def test_what_its_columns_cost(tmp_path):
    """What is computed once a row, from the noise level, is not counted for its positions."""
    write(tmp_path / "c", "mdlm")
    work = load_model(str(tmp_path / "c")).model.work
    assert work.column == 2 * dit.LAYERS * 12 * dit.SIZE**2
    assert work.row == 2 * (TOKENS + 1) * dit.SIZE
    write(tmp_path / "s", "sedd")
    assert load_model(str(tmp_path / "s")).model.work(torch.tensor([3]), torch.tensor([2])).tolist() == [
        3 * work.column + 9 * work.pair + 2 * work.row
    ]


def test_the_cache_changes_what_is_computed(tmp_path):
    loaded, _ = written(tmp_path / "c", "bd3lm")
    how = {"length": 19, "windows": Blocks(4), "stop": False}
    exact, dual = (decode(loaded.model, get("threshold"), PROMPTS[:1], cache=c, **how)[0] for c in (None, Dual()))
    assert exact.positions_reused > 0
    assert dual.positions_reused >= exact.positions_reused


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mdlm", {"time_conditioning": True}, "time_conditioning=True, and only False is known"),
        ("bd3lm", {"causal": True}, "causal=True, which is not known"),
        ("bd3lm", {"adaln": False}, "adaln=False, and only True is known"),
        ("bd3lm", {"cross_attn": False}, "cross_attn=False, and only True is known"),
        ("bd3lm", {"block_size": 0.5}, "block_size in its config.json must be the size of a block, not 0.5"),
        ("mdlm", {"n_heads": None}, "its config.json has no n_heads"),
        ("mdlm", {"n_blocks": 3}, "do not fit Dit: 10 are wrong"),
        ("mdlm", {"hidden_dim": 64}, r"adaLN_modulation.bias, \(192,\) where \(384,\) is needed"),
        ("sedd", {"graph": {"type": "cyclic"}}, "the graph 'cyclic'; known is absorb, uniform"),
        ("sedd", {"graph": {"type": "uniform"}}, "do not fit Dit: 3 are wrong"),
        ("sedd", {"noise": {"type": "cosine"}}, "the noise 'cosine'; known is loglinear, geometric"),
        ("sedd", {"model": {**dit.SEDD["model"], "type": "mamba"}}, "a model of the type 'mamba'"),
        ("sedd", {"model": {"type": "ddit"}}, "its config.json has no hidden_size"),
        ("sedd", {"tokens": "many"}, "must be a token id, not many"),
    ],
)
def test_what_is_not_known_is_one_line(tmp_path, name, changes, message):
    write(tmp_path / "c", name, **changes)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


# the tokenizer


def test_the_mask_is_one_more_than_the_tokenizer_has(tmp_path):
    write(tmp_path / "c", "mdlm")
    loaded = load_model(str(tmp_path / "c"))
    assert (loaded.model.mask_id, loaded.model.stop_ids, loaded.never) == (MASK, (EOS,), (MASK,))
    assert loaded.tokenizer.encode("a<|mask|>b") == [64, MASK, 65]
    (made,) = Generator(loaded, "threshold")(["a<|mask|><|mask|>b"], length=0, infill=True, ignore_eos=True)
    assert (len(made.tokens), made.generated_tokens, made.tokens[0]) == (4, 2, 64)


def test_another_tokenizer_is_refused(tmp_path):
    write(tmp_path / "c", "mdlm", vocab_size=112)
    with pytest.raises(UsageError, match="has no mask token with the id 111"):
        load_model(str(tmp_path / "c"))


def test_a_checkpoint_without_a_tokenizer_takes_that_of_its_makers(tmp_path, monkeypatch):
    write(tmp_path / "c", "mdlm")
    home = tmp_path / "hub"
    home.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(tmp_path / "c" / name, home)
    asked = []
    monkeypatch.setattr(hub, "tokenizer_at", lambda r: asked.append(str(r)) or home)
    assert load_model(str(tmp_path / "c")).tokenizer.encode("a") == [64]
    assert asked == ["openai-community/gpt2"]

    def refuse(repository):
        raise UsageError("the hub is far away")

    monkeypatch.setattr(hub, "tokenizer_at", refuse)
    message = r"c brings no tokenizer\.json, and was trained with that of openai-community/gpt2: the hub is far away"
    with pytest.raises(UsageError, match=message):
        load_model(str(tmp_path / "c"))


def test_a_glance(tmp_path):
    for name in ("mdlm", "bd3lm", "sedd"):
        write(tmp_path / name, name)
    mdlm, bd3lm, sedd = (glance(str(tmp_path / name)) for name in ("mdlm", "bd3lm", "sedd"))
    assert (mdlm.family, mdlm.mask_id, mdlm.positions, mdlm.column) == ("mdlm", MASK, 256, 2 * 2 * dit.SIZE)
    assert (bd3lm.attention, bd3lm.block) == ("block", 4)
    assert (sedd.family, sedd.mask_id, sedd.positions, sedd.column) == ("sedd", MASK, 256, None)


def test_the_keys_of_a_config_tell_a_family_that_names_itself_in_no_other_way():
    assert recognition.family_of(dit.SEDD, "x").name == "sedd"
    with pytest.raises(UsageError, match="names no diffusion_family"):
        recognition.family_of({k: v for k, v in dit.SEDD.items() if k != "graph"}, "x")
    with pytest.raises(UsageError, match="names no diffusion_family"):
        recognition.family_of({**dit.SEDD, "model_type": "other"}, json.dumps("x"))


def test_its_head_keeps_its_precision(tmp_path):
    """It lies inside the base model, as nobody else's does."""
    write(tmp_path / "c", "mdlm")
    model = load_model(str(tmp_path / "c"), quantize="int4").model.model
    assert type(model.get_output_embeddings()) is torch.nn.Linear
    assert type(model.backbone.blocks[0].attn_out) is Int4Linear
