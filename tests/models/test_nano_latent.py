"""nano-latent: what it is trained on, that the model that is loaded is the one that was trained, and how it decodes."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch

from decoders import UsageError, decode, get
from decoders.caches.none import NoCache
from decoders.core import Blocks, Forward, Latents
from decoders.core.model import SessionSpec
from decoders.models import nano_latent
from decoders.models.source import load_model
from decoders_bench.nano.batches import PAD_WEIGHT
from decoders_bench.nano.latents import HIGHEST, LOWEST, Pair, expected, hidden_of, latent_batches, losses
from decoders_bench.nano.tokenizer import Segmenter
from decoders_bench.nano.train import Plan, Run, steps
from decoders_bench.nano.train_latents import MIX, LatentRun, recipe
from decoders_bench.tasks import TASKS
from support.commands import call

EMBEDDED = Path(nano_latent.__file__).parent
SMALL = {"workers": 1, "hidden": 32, "layers": 2, "heads": 2, "inner": 32}


def plan_in(folder, **own):
    return replace(recipe(Plan(str(folder), **SMALL)), **{"positions": 300, "widest": 600, "steps": 6} | own)


def ran(plan, until=10**9):
    run = LatentRun(plan, 0)
    steps(run, lambda step: run.drawn(plan, step, [0]), None, until=until)
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = ran(plan_in(folder, save_every=2))
    run.export()
    return run


@pytest.fixture(scope="module")
def loaded(trained):
    return load_model(str(trained.out / "model"))


def batch(seed=0, positions=1200):
    return next(latent_batches(MIX, Random(seed), positions, 10**9))


def test_what_is_left_of_a_window_sees_no_latent_and_the_window_sees_all(trained):
    b = batch().to("cpu")
    for row in range(len(b.tokens)):
        P, total = int(b.begin[row]), int(b.total[row])
        assert torch.equal(b.sees[row, :P], torch.ones(P, b.tokens.shape[1]).tril().bool())
        assert (b.sees[row, P:total].sum(-1) == total).all()
        assert b.noisy[row].nonzero().flatten().tolist() == [
            i for i in range(P, total) if not b.shown[row, i]
        ]
        assert b.weight[row].sum() == pytest.approx(
            (b.noisy[row, : b.end[row]].sum() + PAD_WEIGHT * (total - int(b.end[row]))).item() ** 0.5, rel=1e-4
        )
    assert torch.equal(b.counts, b.noisy.flatten().nonzero().flatten())
    assert b.shown.any(), "some answers are given in part"
    assert b.width >= int((b.total - b.begin).max())


def test_batches_are_the_same_for_a_seed_and_hold_what_was_asked_for():
    one, two = batch(3), batch(3)
    assert torch.equal(one.tokens, two.tokens)
    assert torch.equal(one.begin, two.begin)
    narrow = list(latent_batches(MIX, Random(0), 1200, 400))
    assert len(narrow) > 1
    assert all(len(b.tokens) == 1 or int(b.total.max()) * len(b.tokens) <= 400 for b in narrow)


def test_levels_are_dense_where_the_loss_rises():
    pair = Pair(20, 16, 1, 2, 16)
    u = torch.linspace(0, 1, 1001)[:-1]
    even = pair.warp(u)
    assert even[0] == pytest.approx(LOWEST)
    assert (even.diff() > 0).all()
    assert even[-1] < HIGHEST
    pair.known.copy_(torch.where(torch.arange(40) < 20, 0.0, 3.0))  # it rises in the middle, at gamma 1
    steep = pair.warp(u)
    near = lambda levels: ((levels - 1).abs() < 1).float().mean()
    assert near(steep) > 0.7 > 0.3 > near(even)
    before = pair.known.clone()
    pair.learn(torch.full((50,), 1.01), torch.full((50,), 9.0))
    changed = (pair.known != before).nonzero().flatten().tolist()
    assert changed == [20]
    assert pair.known[20] == pytest.approx(3 + 0.3 * 6)


def test_every_weight_is_trained():
    pair = Pair(len(Segmenter()), 32, 1, 2, 32)
    dice = torch.Generator().manual_seed(0)
    denoiser, rounder = losses(pair, batch().to("cpu"), dice)
    (denoiser + rounder).backward()
    assert [name for name, p in pair.named_parameters() if p.grad is None] == []
    assert pair.denoiser.embedding.grad.norm() > 0
    assert pair.rounder.near.grad.abs() > 0


def test_a_run_that_was_interrupted_comes_to_the_same_weights(tmp_path, trained):
    ran(plan_in(tmp_path, save_every=2), until=3)
    again = ran(plan_in(tmp_path, save_every=2))
    assert again.step == 6
    for name, x in trained.model.state_dict().items():
        assert torch.equal(x, again.model.state_dict()[name]), name
    assert {"denoiser", "rounder", "latent"} == again.curve[-1]["loss"].keys()
    with pytest.raises(UsageError, match="another"):
        LatentRun(plan_in(tmp_path, hidden=16), 0)


def test_the_recipe_fits_its_size_and_names_tasks_that_there_are(tmp_path):
    run = LatentRun(recipe(Plan(str(tmp_path))), 0)
    assert 2 * sum(p.numel() for p in run.model.parameters()) < 8e6
    assert {name.partition("/")[0] for name in MIX} <= TASKS.keys()
    nano = Run(Plan(str(tmp_path)), 0).model
    layers = lambda net: [(n, tuple(p.shape)) for n, p in net.layers.named_parameters()]
    assert layers(run.model.denoiser.body) == layers(nano.model), "as large as nano"


def test_the_model_is_what_was_trained(trained, loaded, monkeypatch):
    """Both networks, on a batch of training in full precision."""
    monkeypatch.setattr(torch, "autocast", lambda *a, **k: nullcontext())
    b = batch(5, 300).to("cpu")
    N, T = b.tokens.shape
    pair = trained.model
    with torch.no_grad():
        for p in pair.parameters():
            p.copy_(p.bfloat16().float())
        z, said = torch.randn(2, N, T, 32).unbind()
        level = torch.linspace(-3, 4, N)
        hidden = hidden_of(pair, b, slice(None), z, said, level).flatten(0, 1)
        own = expected(pair, hidden, z.flatten(0, 1), level.repeat_interleave(T))[0].view(N, T, -1)
    for row in range(N):
        P, total = int(b.begin[row]), int(b.total[row])
        f = forward(b.tokens[row], P, total, b.shown[row], level[row], z[row], said[row])
        logits = loaded.model.session(SessionSpec(1, total + 1, total - P))(f).logits[0]
        there = b.noisy[row, P:total]
        assert torch.allclose(logits[there], own[row, P:total][there], atol=1e-3, rtol=1e-3)


def forward(tokens, P, total, shown, level, z, said):
    """The first forward of one row, whose window begins at P."""
    row = torch.cat([tokens[:total], tokens.new_zeros(1)])[None]
    column, at = torch.arange(total + 1), torch.arange(P, total)[None]
    until = torch.where(column < P, column + 1, total)[None]
    given = (column < P) | torch.cat([shown[:total], torch.zeros(1, dtype=torch.bool)])
    none = torch.zeros(1, dtype=torch.bool)
    return Forward(
        row, until, torch.ones_like(row).bool(), torch.zeros_like(row).bool(), given[None], at, ~given[at],
        none, ~none, torch.zeros(1, dtype=torch.long), torch.zeros(1, total + 1, 2).long(), torch.zeros_like(at).bool(),
        torch.zeros(1, 0, total - P).long(), torch.zeros(1, 0, total - P).bool(), level[None],
        Latents(z[None, P:total], said[None, P:total]),
    )


PROMPTS = [[600, 610, 620], [601], [599, 611, 612, 613, 640]]


@pytest.mark.parametrize("spec", ["ddim:steps=5", "ddpm:steps=4,clamp=1.0", "codar:denoiser=(dpmpp_2m:steps=4)"])
def test_a_row_has_the_same_tokens_alone_and_beside_others_and_with_no_store(loaded, spec):
    rows = decode(loaded.model, get(spec), PROMPTS, length=9, seeds=[1, 2, 3])
    alone = [decode(loaded.model, get(spec), [p], length=9, seeds=[i + 1])[0] for i, p in enumerate(PROMPTS)]
    bare = decode(loaded.model, get(spec), PROMPTS, length=9, seeds=[1, 2, 3], cache=NoCache())
    assert [r.tokens for r in rows] == [r.tokens for r in alone] == [r.tokens for r in bare]
    assert [r.nfe for r in rows] == [r.nfe for r in alone]


def test_a_prompt_is_read_once(loaded):
    (row,) = decode(loaded.model, get("ddim:steps=5"), [PROMPTS[2]], length=9)
    assert row.positions_computed == len(PROMPTS[2]) + 5 * 9


def test_what_is_left_of_a_window_is_read_again_as_text_when_the_next_one_begins(loaded):
    """Of windows of 4: each is run in all forwards, and once more from the left."""
    (row,) = decode(loaded.model, get("ddim:steps=3"), [PROMPTS[0]], length=8, windows=Blocks(4), stop=False)
    assert row.positions_computed == 3 + 3 * 4 + 4 + 3 * 4
    whole = decode(loaded.model, get("ddim:steps=3"), [PROMPTS[0] + list(row.canvas[3:7])], length=4, stop=False)
    assert whole[0].nfe == 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rounding_is_the_same_verified_and_one_by_one(loaded, temperature):
    spec = f"codar:denoiser=(ddim:steps=4),temperature={temperature}"
    one = decode(loaded.model, get(f"{spec},verify=false"), [*PROMPTS, []], length=9, stop=False, seeds=range(4))
    verified = decode(loaded.model, get(spec), [*PROMPTS, []], length=9, stop=False, seeds=range(4))
    assert [r.tokens for r in verified] == [r.tokens for r in one]
    assert [r.forwards[1] for r in one] == [9] * 4
    assert all(r.forwards[1] <= 9 for r in verified)


def test_holes_are_filled_around_what_is_given(loaded):
    mask = loaded.model.mask_id
    prompt = [600, mask, 620, mask, 640]
    (row,) = decode(loaded.model, get("ddim:steps=4"), [prompt], length=0, infill=True, stop=False)
    assert [row.canvas[i] for i in (0, 2, 4)] == [600, 620, 640]
    assert mask not in (row.canvas[1], row.canvas[3])


def test_the_config_says_where_it_denoises(trained, loaded):
    config = json.loads((trained.out / "model" / "config.json").read_text())
    levels = loaded.model.space.levels
    assert (levels[0], levels[-1]) == (pytest.approx(HIGHEST), pytest.approx(LOWEST))
    assert all(a > b for a, b in pairwise(levels))
    assert config["model_type"] == "nano_latent"
    assert loaded.model.space.width == config["latent_size"]


def test_the_embedded_one_sorts_and_is_watched():
    done = call("generate", "-m", "nano-latent", "-d", "dpmpp_2m:steps=16", "-n", 8, "--watch", "Sort: u l y r c x")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].strip() == "c l r u x y"
    assert len(done.output.splitlines()) > 16
    assert sum(p.stat().st_size for p in EMBEDDED.iterdir() if p.is_file()) < 8e6


def test_the_embedded_one_is_compared_with_its_rounder():
    done = call("compare", "-m", "nano-latent", "-d", "ddim", "-d", "codar", "Sort: u l y r c x")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("ddim", "codar"))]
    assert [row[0] for row in rows] == ["ddim", "codar"]
    assert rows[0][1:7] == rows[1][1:7] == "c l r u x y".split()


def test_a_masked_strategy_is_refused_on_it():
    done = call("generate", "-m", "nano-latent", "Sort: b a")
    assert done.exit_code != 0
    assert "take ddim" in done.output
