"""Checkpoints of models of latents: what is made of their files, and that they are decoded as any others."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn.functional import gelu, layer_norm, silu, softplus

from decoders import Generator, UsageError, get
from decoders.core import Blocks, decode
from decoders.models.latent import simplex
from decoders.models.source import load_model, source_of
from support.commands import call
from support.latent_checkpoints import HEADS, LATENT, VOCAB, WIDTH, WORDS, write_latents, write_simplex

FAMILIES = ("langflow", "plaid", "diffusion_lm", "diffuseq")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The four checkpoints, and the weights that were written."""
    folder = tmp_path_factory.mktemp("latents")
    return {name: (folder / name, write_latents(folder / name, name)) for name in FAMILIES}


def asked(model, B=2, L=5, level=(2.0, -1.0)):
    """Inputs of a network, with every position seen."""
    torch.manual_seed(1)
    z, said = torch.randn(2, B, L, model.space.width).unbind()
    return z, said, torch.tensor(level, dtype=torch.float64), torch.ones(B, L, L, dtype=torch.bool)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_has_the_same_tokens_alone_and_beside_longer_ones(made, family):
    loaded = load_model(str(made[family][0]))
    prompts = [[5, 6], [7], [4, 6, 8, 9, 10]]
    for spec in ("ddim:steps=5", "ddpm:steps=4,clamp=1.0,last=table"):
        rows = decode(loaded.model, get(spec), prompts, length=7, seeds=[1, 2, 3])
        alone = [decode(loaded.model, get(spec), [p], length=7, seed=i + 1)[0] for i, p in enumerate(prompts)]
        assert rows == alone
        assert [r.nfe for r in rows] == [get(spec).steps] * 3
        assert [r.positions_computed for r in rows] == [get(spec).steps * (len(p) + 7) for p in prompts]
        assert all(r.flops > 0 for r in rows)
    assert len({decode(loaded.model, get("ddim:steps=5"), [[5]], length=7, seed=s)[0].tokens for s in range(4)}) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_decodes_with_it(made, family):
    done = call("generate", "-m", made[family][0], "-d", "ddim:steps=4", "-n", "6", "--json", "a river")
    found = json.loads(done.stdout)
    assert (found["nfe"], found["decoder"]) == (4, "ddim:steps=4")
    assert found["finish_reason"] in ("stop", "length")


def test_what_a_prompt_says_is_seen(made):
    for family in FAMILIES:
        model = load_model(str(made[family][0])).model
        rows = decode(model, get("ddim:steps=4"), [[5, 6], [9, 10]], length=8, seeds=[0, 0])
        assert rows[0].tokens != rows[1].tokens


def test_plaid_is_what_its_formulas_say(made):
    """Written out again: one head after the other, and no module."""
    path, files = made["plaid"]
    model = load_model(str(path)).model
    z, said, level, sees = asked(model)
    w, E = files["model"], files["embedding_matrix"]["matrix"]
    E = E / E.norm(dim=1, keepdim=True)
    assert torch.allclose(model.table, E)
    a2, s2 = ((sign * level).sigmoid().float()[:, None, None] for sign in (-1, 1))
    rms = lambda x, scale: x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * scale
    angle = torch.linspace(-5, 5, 32, dtype=torch.float64).exp() * level[:, None]
    x = z / (a2 / LATENT + s2).sqrt() @ w["input_linear.weight"].T + said * LATENT**0.5 @ w["selfcond_linear.weight"].T
    x = x + (torch.cat([angle.sin(), angle.cos()], 1).float() @ w["gamma_linear.weight"].T)[:, None]
    size = WIDTH // HEADS
    place = torch.arange(5)[:, None] * w["rotary_emb.inv_freq"]
    for i in range(2):
        at = lambda name, i=i: w[f"blocks.{i}.{name}.weight"]
        qkv = rms(x, at("rmsnorm1")) @ at("attn_qkv").T
        heads = []
        for h in range(HEADS):
            q, k, v = (qkv[..., j * WIDTH + h * size :][..., :size] for j in range(3))
            (a, b), (c, d) = (u.chunk(2, -1) for u in (q, k))
            cos, sin = place.cos(), place.sin()
            q = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
            k = torch.cat([c * cos - d * sin, d * cos + c * sin], -1)
            heads.append((q @ k.mT / size**0.5).softmax(-1) @ v)
        x = x + torch.cat(heads, -1) @ at("attn_out").T / 2**0.5
        inner = gelu(rms(x, at("rmsnorm2")) @ at("mlp.fc1").T, approximate="tanh")
        x = x + inner @ at("mlp.fc2").T / 2**0.5
    hidden = layer_norm(x, (WIDTH,)) * w["output_norm.weight"] * 256 / WIDTH
    logits = hidden @ w["output_linear.weight"].T + w["output_linear.bias"] + a2.sqrt() / s2 * z @ E.T
    with torch.no_grad():
        found = model.network(z, said, level, sees).logits
    assert torch.allclose(found, logits, atol=1e-4, rtol=1e-4)


def test_plaids_levels_are_those_that_it_learnt(made):
    path, files = made["plaid"]
    levels = load_model(str(path)).model.space.levels
    assert (levels[0], levels[-1]) == (pytest.approx(6.0), pytest.approx(-3.0))
    n = files["noise_schedule"]
    raw = lambda t: (torch.tanh((t - 0.5) * softplus(n["W1"][:, 0]) + n["b1"]) * softplus(n["W2"][0])).sum()
    share = (raw(0.25) - raw(0.0)) / (raw(1.0) - raw(0.0))
    assert levels[3 * (len(levels) - 1) // 4] == pytest.approx(float(-3 + 9 * share), abs=1e-4)


def test_diffusion_lm_is_what_its_formulas_say(made):
    path, w = made["diffusion_lm"]
    model = load_model(str(path)).model
    step = torch.tensor([150, 3])
    z, said, _, sees = asked(model)
    level = torch.tensor(model.space.levels, dtype=torch.float64)[-1 - step]
    time = step * 1000 / 200
    angle = time[:, None] * 10000.0 ** -(torch.arange(8) / 8)
    waves = torch.cat([angle.cos(), angle.sin()], 1)
    lin = lambda x, name: x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
    norm = lambda x, name: layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)
    x = lin(lin(z, "input_up_proj.0").tanh(), "input_up_proj.2") + w["position_embeddings.weight"][:5]
    x = norm(x + lin(silu(lin(waves, "time_embed.0")), "time_embed.2")[:, None], "LayerNorm")
    for i in range(2):
        at = f"input_transformers.layer.{i}"
        q, k, v = (lin(x, f"{at}.attention.self.{name}") for name in ("query", "key", "value"))
        mixed = lin((q @ k.mT / 8).softmax(-1) @ v, f"{at}.attention.output.dense")
        x = norm(x + mixed, f"{at}.attention.output.LayerNorm")
        x = norm(x + lin(gelu(lin(x, f"{at}.intermediate.dense")), f"{at}.output.dense"), f"{at}.output.LayerNorm")
    point = lin(lin(x, "output_down_proj.0").tanh(), "output_down_proj.2")
    with torch.no_grad():
        found = model.network(z, said, level, sees)
    assert torch.allclose(found.point, point, atol=1e-4, rtol=1e-4)
    assert torch.allclose(found.logits, point @ w["word_embedding.weight"].T + w["lm_head.bias"], atol=1e-4, rtol=1e-4)


def test_diffusion_lm_reads_its_last_latent_with_the_heads_own_offset(made, tmp_path):
    """The text is then that of one token which the offset favours, whatever the latents are."""
    weights = made["diffusion_lm"][1]
    biased = tmp_path / "biased"
    write_latents(biased, "diffusion_lm")
    offset = torch.zeros(len(WORDS)).index_fill(0, torch.tensor([7]), 1e3)
    torch.save(weights | {"lm_head.bias": offset}, biased / "ema_0.9999_000200.pt")
    (row,) = decode(load_model(str(biased)).model, get("ddpm:steps=4,last=table"), [[5]], length=4, seed=0)
    assert row.tokens == (7,) * 4


def test_a_model_that_predicts_noise_says_the_latent_that_it_leaves(tmp_path):
    write_latents(tmp_path / "x", "diffusion_lm")
    write_latents(tmp_path / "noise", "diffusion_lm", predict_xstart=False)
    x, noise = (load_model(str(tmp_path / name)).model for name in ("x", "noise"))
    z, said, level, sees = asked(x)
    a, s = ((sign * level).sigmoid().sqrt().float()[:, None, None] for sign in (-1, 1))
    with torch.no_grad():
        own, other = (m.network(z, said, level, sees).point for m in (x, noise))
    assert torch.allclose(other, (z - s * own) / a, atol=1e-5, rtol=1e-5)


def test_diffuseq_takes_a_source_and_writes_a_target(made):
    loaded = load_model(str(made["diffuseq"][0]))
    ids = {word: i for i, word in enumerate(WORDS)}
    prompt = loaded.chat([{"role": "user", "content": "the river"}])
    assert prompt == [0, ids["the"], ids["river"], 1, 1]
    assert loaded.tokenizer.decode([ids["the"], ids["pub"]]) == "the pub"
    assert loaded.tokenizer.encode("the sea") == [0, ids["the"], ids["UNK"]]
    assert (loaded.length, loaded.positions, loaded.model.stop_ids) == (12, 40, (1,))
    assert loaded.never == (ids["UNK"],)


def test_the_weights_of_the_longest_training_are_taken(made, tmp_path):
    weights = write_latents(tmp_path / "two", "diffuseq")
    for step in ("001000", "000300"):
        torch.save(weights | {"lm_head.bias": torch.full((len(WORDS),), float(step))},
                   tmp_path / "two" / f"ema_0.9999_{step}.pt")
    assert float(load_model(str(tmp_path / "two")).model.network.lm_head.bias[0]) == 1000


def test_langflow_sees_what_it_said_last(made):
    model = load_model(str(made["langflow"][0])).model
    assert len(model.table) == VOCAB
    assert torch.allclose(model.table.norm(dim=-1), torch.tensor(WIDTH**0.5))
    z, said, level, sees = asked(model)
    with torch.no_grad():
        other, own = (model.network(z, x, level, sees).logits for x in (0 * said, said))
    assert not torch.equal(own, other)


def test_a_generator_counts_the_kinds_of_forwards_where_there_are_several(made):
    whole = Generator(str(made["langflow"][0]), decoder="ddim:steps=3")(["a"], length=4)[0]
    assert (whole.forwards, "forwards" in whole.record()) == ({}, False)
    with pytest.raises(UsageError, match="Codar makes causal forward passes"):
        Generator(str(made["langflow"][0]), decoder="codar")(["a"], length=4)
    (nano,) = Generator("nano:attention=block", decoder="s2d2")(["1 + 1 ="], length=8)
    assert sum(nano.forwards.values()) == nano.nfe
    assert nano.record()["forwards"] == {name: nano.forwards[name] for name in ("draft", "verify")}


REFUSED = {
    "Cola-DLM": {"config.json": {"model_type": "cola_dit"}},
    "TESS": {"config.json": {"model_type": "mistral", "architectures": ["CDCDMistralForDiffusionLM"]}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_be_run_is_refused_by_its_name(tmp_path, name):
    for file, content in REFUSED[name].items():
        (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=f"a checkpoint of {name}, which cannot be run here: its latents are"):
        source_of(str(tmp_path)).load()


@pytest.fixture(scope="module")
def ssd(tmp_path_factory):
    path = tmp_path_factory.mktemp("ssd") / "lm"
    return path, write_simplex(path)


def test_ssd_lm_is_what_its_algorithm_says(ssd):
    """Blocks from left to right; each sees the text before it as embeddings, and itself as a softmax of three times its
    numbers, with the time added."""
    path, layers = ssd
    loaded = load_model(str(path))
    prompt, seen = [5, 6, 7], []
    (row,) = decode(
        loaded.model, get("renoise:steps=4"), [prompt], length=40, windows=Blocks(loaded.block), seed=3,
        watch=lambda f, p, c: seen.append((f, p, c)),
    )
    assert row.nfe == len(seen) == 8
    model, embed = loaded.model.model, layers["embed_sum_layer"]["weight"]
    tokens = torch.tensor([row.canvas])
    for n, (f, p, _) in enumerate(seen):
        start, end = (0, 25) if n < 4 else (25, 43)
        text = model.get_input_embeddings()(tokens[:, :end])
        step = (1000, 667, 334, 1)[n % 4]
        time = step / 1000 * layers["timestep_layer"]["weight"][:, 0] + layers["timestep_layer"]["bias"]
        block = (3 * f.latents.z[:, : end - start]).softmax(-1) @ embed.T + time
        first = max(start, len(prompt))
        x = torch.cat([text[:, :first], block[:, first - start :]], 1)
        with torch.no_grad():
            logits = model(inputs_embeds=x).logits[:, first:]
        assert torch.allclose(p.logits[:, first - start : end - start], logits, atol=1e-4)
    left = float((-seen[1][0].level).sigmoid()[0])
    cos = lambda t: math.cos((t + 1e-4) / (1 + 1e-4) * math.pi / 2) ** 2
    assert left == pytest.approx(cos(0.667) / cos(0.0))
    before = seen[0][2].memo.x[0, 3:25]
    likely = seen[0][1].logits[0, 3:25].softmax(-1)
    for x, own in zip(before, likely, strict=True):
        order = own.argsort(descending=True, stable=True)
        count = 1 + int((own[order].cumsum(0) < 0.2).sum())
        assert sorted((x > 0).nonzero().flatten().tolist()) == sorted(order[:count].tolist())
        assert set(x.tolist()) <= {1.0, -1.0}


def test_ssd_lm_in_a_batch_and_by_the_command(ssd):
    loaded = load_model(str(ssd[0]))
    prompts = [[5, 6], [7], [4, 6, 8, 9, 10]]
    how = {"length": 30, "windows": Blocks(loaded.block)}
    decoder = get("renoise:steps=3")
    rows = decode(loaded.model, decoder, prompts, seeds=[1, 2, 3], **how)
    assert rows == [decode(loaded.model, decoder, [p], seed=i + 1, **how)[0] for i, p in enumerate(prompts)]
    done = call("generate", "-m", ssd[0], "-d", "renoise:steps=3", "-n", "5", "--json", "ab")
    assert json.loads(done.stdout)["nfe"] == 3


def test_latents_that_are_too_wide_are_refused(ssd, monkeypatch):
    monkeypatch.setattr(simplex, "MOST", 25 * VOCAB - 1)
    with pytest.raises(UsageError, match=f"SSD-LM, whose latents are as wide as its vocabulary of {VOCAB}: "):
        load_model(str(ssd[0]))


def broken(folder, family, how):
    write_latents(folder, family)
    how(folder)
    with pytest.raises(UsageError) as e:
        load_model(str(folder))
    assert "\n" not in str(e.value)
    return str(e.value)


class Code:
    """What a pickle may hold and no checkpoint."""


@pytest.mark.parametrize(
    ("family", "how", "message"),
    [
        ("plaid", lambda d: (d / "gamma_bounds.pt").unlink(), "has no gamma_bounds.pt"),
        ("plaid", lambda d: torch.save({"W1": torch.ones(2)}, d / "noise_schedule.pt"), "KeyError: 'b1'"),
        ("plaid", lambda d: torch.save({"matrix": Code()}, d / "embedding_matrix.pt"), "matrix.pt cannot be read"),
        ("plaid", lambda d: torch.save([1], d / "model.pt"), "does not map names to tensors"),
        ("plaid", lambda d: (d / "tokenizer.json").unlink(), "has no tokenizer.json"),
        ("langflow", lambda d: (d / "model.safetensors").unlink(), "has no model.safetensors"),
        ("langflow", lambda d: (d / "model.safetensors").write_bytes(b"0"), "model.safetensors cannot be read"),
        ("langflow", lambda d: (d / "config.json").write_text('{"model_type": "LangFlow"}'), "KeyError: 'hidden_size'"),
        ("diffuseq", lambda d: (d / "ema_0.9999_000200.pt").unlink(), "no ema_"),
        ("diffuseq", lambda d: (d / "training_args.json").write_text("{}"), "has the schedule None"),
        ("diffuseq", lambda d: (d / "vocab.json").write_text('{"a": 0}'), "has no word START"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(tmp_path, family, how, message):
    assert message in broken(tmp_path / "x", family, how)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_schedule": "odd"}, "the schedule 'odd'; known is sqrt"),
        ({"experiment_mode": "conditional_gen"}, "conditional_gen"),
        ({"learn_sigma": True}, "learn_sigma"),
    ],
)
def test_kinds_that_are_not_known_are_refused(tmp_path, changes, message):
    write_latents(tmp_path / "x", "diffusion_lm", **changes)
    with pytest.raises(UsageError, match=message):
        load_model(str(tmp_path / "x"))


def test_weights_that_do_not_fit_are_counted(tmp_path):
    weights = write_latents(tmp_path / "x", "diffusion_lm")
    torch.save(weights | {"extra.weight": torch.ones(1)}, tmp_path / "x" / "ema_0.9999_000200.pt")
    with pytest.raises(UsageError, match=r"do not fit BertDiffusion: 1 are wrong, the first is extra\.weight"):
        load_model(str(tmp_path / "x"))


def test_options_that_are_not_for_latents_are_refused(made):
    path = made["langflow"][0]
    for options in ({"attention": "block"}, {"tp": True}, {"trust_remote_code": True}, {"device_map": "auto"}):
        with pytest.raises(UsageError, match="holds a model of latents, whose options are device and dtype"):
            load_model(str(path), **options)
    assert load_model(str(path), dtype="bfloat16").model.table.dtype == torch.bfloat16


def test_strategies_for_tokens_are_refused(made):
    done = call("generate", "-m", made["langflow"][0], "-d", "threshold", "a")
    assert done.exit_code == 2
    assert "Threshold decides tokens, and this model denoises latents; take ddim" in done.stderr
