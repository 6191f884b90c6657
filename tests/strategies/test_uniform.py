"""Strategies for uniform noise: `gemma` against transformers' own sampler, and the law of `uniform_ddim`."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from transformers.models.diffusion_gemma import generation_diffusion_gemma as generation

from decoders import Blocks, decode, get
from decoders.core import asks
from decoders.models.diffusion_gemma import DiffusionGemmaModel
from decoders.strategies.uniform import Gemma, UniformDDIM
from decoders.testing.toy import ToyModel
from support.gemma import CANVAS, PROMPTS, V, precise, tiny_gemma


@pytest.fixture(scope="module")
def tiny():
    return tiny_gemma()


@pytest.fixture
def model(tiny, monkeypatch):
    yield from precise(tiny, monkeypatch)


@dataclass(frozen=True)
class Recorded(Gemma):
    """With what it drew."""

    drawn: list = field(default_factory=list, compare=False)

    def step(self, s, p):
        self.drawn.append(p.cooled(self.temperature(s.step)).draw(s)[0])
        return super().step(s, p)


@pytest.mark.parametrize(
    ("confidence", "stability", "bound", "t_max", "t_min", "nfe"),
    [
        (9.0, 1, 2.0, 0.8, 0.4, 12), (9.0, 0, 2.0, 0.8, 0.4, 2), (1e-9, 1, 8.0, 0.8, 0.4, 12),
        (9.0, 1, 1e9, 0.02, 0.01, None),
    ],
)
def test_gemma_is_transformers_generate_for_the_same_draws(
    model, monkeypatch, confidence, stability, bound, t_max, t_min, nfe
):
    """Over two canvases: its own sampler, temperature and stop, given our noise and our samples; the same tokens and
    forwards."""
    prompt, steps = PROMPTS[0], 6 if nfe else 30
    decoder = Recorded(
        block_steps=steps, bound=bound, t_max=t_max, t_min=t_min, confidence=confidence, stability=stability
    )
    asks(decoder, block_causal=True)  # which takes a step, and that is recorded too
    decoder.drawn.clear()
    shown = []
    row = decode(
        DiffusionGemmaModel(model), decoder, [prompt], length=2 * CANVAS, windows=Blocks(CANVAS), seed=4,
        watch=lambda f, p, c: shown.append((bool(f.entered), f.tokens.gather(1, f.at))),
    )[0]
    noises = []
    for k, (_, tokens) in enumerate(shown):
        noises.append(tokens)
        if k + 1 == len(shown) or shown[k + 1][0]:
            noises.append(torch.zeros_like(tokens))  # that of a canvas's last step is thrown away
    drawn = iter(decoder.drawn)

    def multinomial(probs, num_samples):
        return next(drawn).view(-1, 1)

    given = iter(noises)
    monkeypatch.setattr(generation.EntropyBoundSampler, "initialize_canvas", lambda *_, **__: next(given).clone())
    monkeypatch.setattr(torch, "multinomial", multinomial)
    config = generation.DiffusionGemmaGenerationConfig(
        max_denoising_steps=steps, t_min=t_min, t_max=t_max, stability_threshold=stability,
        confidence_threshold=confidence, sampler_config=generation.EntropyBoundSamplerConfig(entropy_bound=bound),
        max_new_tokens=2 * CANVAS, disable_compile=True,
    )
    out = model.generate(torch.tensor([prompt]), generation_config=config)
    assert out.sequences[0].tolist() == list(row.canvas)
    assert list(drawn) == list(given) == []
    assert row.nfe == nfe if nfe else 2 * stability < row.nfe < 2 * steps  # it settles where it hardly draws at all


def test_gemma_stops_when_the_prediction_is_sure_and_stays_the_same():
    still = ToyModel(mask_id=None, sharp=400.0, block_causal=True, causal_context=True)
    rows = decode(still, Gemma(block_steps=40, bound=0.0), [[1, 2], [3]], length=6)
    assert all(len(row.tokens) == 6 for row in rows)
    patient = decode(still, Gemma(block_steps=40, bound=0.0, confidence=0.0), [[1, 2], [3]], length=6)
    assert [row.nfe for row in patient] == [40, 40]


def test_gemma_accepts_more_with_a_larger_bound():
    """With no bound all are accepted, so that no noise is left after the first step."""
    shown = {}
    for bound in (0.0, 1e9):
        shown[bound] = []
        decode(
            ToyModel(mask_id=None), Gemma(block_steps=4, bound=bound, confidence=0.0), [[1, 2]], length=8,
            watch=lambda f, p, c, bound=bound: shown[bound].append(int(c.open.sum())),
        )
    assert shown[1e9] == [0, 0, 0, 0]
    assert shown[0.0][:3] == [7, 7, 7]


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_uniform_ddim_changes_as_many_positions_as_its_law_says(eta):
    """From t to s a position is left alone with probability (1 - eta) s / t, whatever it holds."""
    n, steps = 4000, 4
    spec = UniformDDIM(steps=steps, eta=eta)
    kept = []

    def watch(f, p, c):
        kept.append(float((c.tokens == f.tokens)[0, :n].float().mean()))

    decode(ToyModel(mask_id=None, vocab=64, sharp=0.0), spec, [[]], length=n, watch=watch, seed=5)
    for i, share in enumerate(kept):
        t, s = 1 - i / steps, 1 - (i + 1) / steps
        stays = (1 - eta) * s / t
        assert share == pytest.approx(stays + (1 - stays) / 64, abs=0.03)
    assert len(kept) == steps


def test_uniform_ddim_on_a_model_with_a_mask_token_is_the_absorbing_process():
    rows = [decode(ToyModel(), get(f"uniform_ddim:eta={eta}"), [[1, 2]], length=40, seed=2)[0] for eta in (0.0, 0.7)]
    assert all(10 not in row.tokens and len(row.tokens) == 40 for row in rows)
    opened = []
    spec = get("uniform_ddim:eta=0.7,steps=10")
    decode(ToyModel(), spec, [[1, 2]], length=40, seed=2, watch=lambda f, p, c: opened.append(c.open.clone()))
    assert any(bool((later & ~sooner).any()) for sooner, later in pairwise(opened))


def test_v_is_the_vocabulary_of_the_tiny_model(tiny):
    assert DiffusionGemmaModel(tiny).vocab == V
