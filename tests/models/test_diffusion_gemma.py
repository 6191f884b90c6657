"""DiffusionGemma against transformers' own forward and its own `generate`, on a tiny random model."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DiffusionGemmaForBlockDiffusion, LogitsProcessorList

from decoders import Blocks, Decoder, UsageError, decode
from decoders.caches.block import Block
from decoders.caches.dkv import DKV
from decoders.caches.entropycache import EntropyCache
from decoders.caches.fast_dllm import Dual, Prefix
from decoders.caches.interval import Interval
from decoders.caches.none import NoCache
from decoders.core import Exact
from decoders.models.diffusion_gemma import DiffusionGemmaModel
from decoders.strategies.fast_dllm import Factor, Threshold
from decoders.strategies.llada import LLaDA
from support.gemma import CANVAS, PROMPTS, SLIDING, V, precise, tiny_gemma
from support.marks import slow, turns


@pytest.fixture(scope="module")
def tiny():
    return tiny_gemma()


@pytest.fixture
def model(tiny, monkeypatch):
    yield from precise(tiny, monkeypatch)


@dataclass(frozen=True)
class Patient(Decoder):
    """Commits nothing until the last of a window's steps, then everything."""

    waits: int = 3

    def step(self, s, p):
        return s.commit(s.open & (s.step == self.waits - 1)[:, None], *p.best())


@dataclass(frozen=True)
class Keep(Decoder):
    """Commits the noise that it finds, so that a text never changes."""

    def step(self, s, p):
        return s.commit(s.open, s.tokens, p.best()[1])


@dataclass
class Witness:
    """Holds every prediction against a plain forward of each row alone, conditioned by hand on that row's forward
    before."""

    model: DiffusionGemmaForBlockDiffusion
    tolerance: float = 1e-9
    forwards: int = 0

    def __post_init__(self):
        self.before = {}

    def __call__(self, f, p, c):
        for b in range(len(f.tokens)):
            if not f.want[b].any():
                continue
            start = int(f.at[b, 0])
            end = int(f.until[b, start])
            before = None if f.entered[b] else self.before[b]
            logits = self.model(
                input_ids=f.tokens[b : b + 1, :start], decoder_input_ids=f.tokens[b : b + 1, start:end],
                self_conditioning_logits=before
            ).logits
            self.before[b] = logits
            for row, at in zip(p.logits[b], p.at[b].tolist(), strict=True):
                if at < p.width:
                    assert f.want[b, at]
                    torch.testing.assert_close(row, logits[0, at], rtol=0, atol=self.tolerance)
            self.forwards += 1


STRATEGIES = [Threshold(tau=0.3), Factor(f=1.5), LLaDA(), LLaDA(remasking="random"), Patient(), Keep()]


@pytest.mark.parametrize(("decoder", "window"), turns(STRATEGIES, [3, CANVAS, 1]))
def test_ragged_rows_over_several_canvases_are_plain_forwards(model, decoder, window):
    """With the last canvas shorter, and contexts that are longer than the sliding window."""
    witness = Witness(model)
    rows = decode(DiffusionGemmaModel(model), decoder, PROMPTS, length=13, windows=Blocks(window), watch=witness)
    assert witness.forwards == sum(row.nfe for row in rows)
    assert all(len(row.tokens) == 13 for row in rows)


def test_a_row_alone_is_the_row_in_a_batch(model):
    run = lambda prompts: decode(
        DiffusionGemmaModel(model), Threshold(tau=0.3), prompts, length=13, windows=Blocks(CANVAS)
    )
    assert run(PROMPTS) == [run([prompt])[0] for prompt in PROMPTS]


def test_as_loaded_in_single_precision(tiny):
    witness = Witness(tiny, tolerance=2e-4)
    decode(DiffusionGemmaModel(tiny), Patient(), PROMPTS, length=13, windows=Blocks(CANVAS), watch=witness)
    assert witness.forwards == 27


def test_conditioning_matters_and_starts_anew_with_each_canvas(model):
    found = []
    decode(
        DiffusionGemmaModel(model), Patient(waits=2), PROMPTS[:1], length=2 * CANVAS, windows=Blocks(CANVAS),
        watch=lambda f, p, c: found.append((f.entered.item(), f.tokens.clone(), p.logits)),
    )
    assert [entered for entered, _, _ in found] == [True, False, True, False]
    for (_, shown, first), (_, again, second) in (found[:2], found[2:]):
        assert torch.equal(shown, again)
        assert (first - second).abs().max() > 1e-2


def test_denoising_steps_are_those_of_generate(model, monkeypatch):
    """transformers' own loop over two canvases, fed with our noise: the same logits at every step, the same text. Its
    temperature is taken out, on which it would also condition."""
    prompt, steps, ours = PROMPTS[0], 3, []
    rows = decode(
        DiffusionGemmaModel(model), Patient(waits=steps), [prompt], length=2 * CANVAS, windows=Blocks(CANVAS),
        watch=lambda f, p, c: ours.append((f.tokens.gather(1, f.at), p.logits)),
    )
    theirs = []

    class Fed:
        def initialize_canvas(self, batch_size, device):
            return ours[len(theirs)][0].clone()

        def accept_canvas(self, current, denoiser, logits, step):
            theirs.append(logits)
            return current

        def renoise_canvas(self, accepted, step):
            return accepted

    monkeypatch.setattr(model, "_prepare_sampler", lambda config: Fed())
    monkeypatch.setattr(model, "_prepare_logits_processor", lambda config, given: LogitsProcessorList())
    monkeypatch.setattr(model, "_prepare_diffusion_stopping_criteria", lambda config: None)
    out = model.generate(torch.tensor([prompt]), max_new_tokens=2 * CANVAS, max_denoising_steps=steps)
    assert len(ours) == len(theirs) == 2 * steps
    for (_, mine), logits in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, logits, rtol=0, atol=1e-9)
    assert out.sequences[0].tolist() == list(rows[0].canvas)


@pytest.mark.parametrize(
    "cache", [Block(), *slow(NoCache(), Prefix(), Dual(), DKV(), Interval(), EntropyCache())], ids=repr
)
def test_every_cache_comes_to_the_exact_rule(model, cache):
    run = lambda cache: decode(
        DiffusionGemmaModel(model), Threshold(tau=0.3), PROMPTS, length=13, windows=Blocks(CANVAS), cache=cache,
        watch=Witness(model),
    )
    exact, rows = run(Exact()), run(cache)
    assert [row.tokens for row in rows] == [row.tokens for row in exact]
    assert all(a.positions_computed >= b.positions_computed for a, b in zip(rows, exact, strict=True))


def test_the_context_is_encoded_once(model):
    """The prompt and every finished canvas but the last one, besides the canvas of each forward."""
    decoder = Patient(waits=3)
    rows = decode(DiffusionGemmaModel(model), decoder, PROMPTS, length=13, windows=Blocks(CANVAS))
    for row, prompt in zip(rows, PROMPTS, strict=True):
        assert row.positions_computed == len(prompt) + 2 * CANVAS + decoder.waits * 13


def test_operations_are_counted(model):
    """All matrix products outside the attention, as torch counts them; the attention by hand."""
    model.set_attn_implementation("eager")
    found = []
    counter = FlopCounterMode(display=False)
    prompt, length = [*PROMPTS[0], 3], CANVAS  # as many as forwards are padded to, two windows
    with counter:
        row = decode(
            DiffusionGemmaModel(model), Patient(waits=2), [prompt], length=length, windows=Blocks(CANVAS),
            watch=lambda f, p, c: found.append(p.cost),
        )[0]
    model.set_attn_implementation("sdpa")
    near, every = lambda n: min(n, SLIDING), lambda n: n
    pairs = lambda most, kept: sum(most(i + 1) for i in range(len(prompt))) + 2 * length * (length + kept)
    attention = 4 * (16 * pairs(near, SLIDING - 1) + 2 * 32 * pairs(every, len(prompt)))
    products = counter.get_flop_counts()["Global"]
    linear = sum(count for op, count in products.items() if "bmm" not in str(op))
    assert row.flops == linear + attention
    assert row.positions_computed == len(prompt) + 2 * length
    assert row.flops == sum(flops.item() for _, flops in found)


def test_facts(tiny):
    model = DiffusionGemmaModel(tiny, stop_ids=(1,))
    assert (model.mask_id, model.vocab, model.stop_ids, model.canvas) == (None, V, (1,), CANVAS)
    assert model.column_bytes == 4 * 2 * (2 * 8 + 16 + 16)  # the sliding layer has two heads of 8, the others one of 16


def test_a_bidirectional_encoder_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(tiny.config.text_config, "use_bidirectional_attention", "all")
    with pytest.raises(UsageError, match="encoder is bidirectional"):
        DiffusionGemmaModel(tiny)
