"""Likelihoods of token ids, held against enumerations that know nothing of the package: plain forwards of a network in
float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch

from decoders.core import Blocks, Forward, ModelDefaults, Pred, SessionSpec, UsageError, decode
from decoders.likelihood import bounds, estimate, greedy, likelihoods
from decoders.likelihood.pieces import pieces
from decoders.models.adapter import TransformersModel
from decoders.models.guidance import Guided
from decoders.models.source import load_model as load
from decoders.registry import get
from decoders.testing.toy import CPU, ToyModel

MASK = 23
GIVEN, ANSWER = [3, 1, 4, 1, 5], [9, 2, 6, 5]


def log_probs(net, tokens, sees, shifted=False):
    """(L, V) float64, position i predicting position i, where position i sees the columns `sees[i]`."""
    L = len(tokens)
    bias = torch.full((1, 1, L, L), torch.finfo(torch.float64).min, dtype=torch.float64)
    for i, columns in enumerate(sees):
        bias[0, 0, i, list(columns)] = 0
    with torch.inference_mode():
        out = net(input_ids=torch.tensor([tokens]), attention_mask=bias, position_ids=torch.arange(L)[None]).logits[0]
    out = out.log_softmax(-1)
    return torch.cat([out[:1], out[:-1]]) if shifted else out


def enumerated(net, before, truth, sees, shifted=False):
    """The bound of one piece behind `before`, over all of its masks: 1 / (l C(L, l)) for each of l masked tokens."""
    L, total = len(truth), 0.0
    for hidden in list(product((False, True), repeat=L))[1:]:
        shown = [*before, *(MASK if h else t for h, t in zip(hidden, truth, strict=True))]
        p, n = log_probs(net, shown, sees, shifted), sum(hidden)
        total += sum(float(p[len(before) + i, truth[i]]) for i in range(L) if hidden[i]) / (n * math.comb(L, n))
    return total


@pytest.mark.parametrize("shifted", [False, True])
def test_a_masked_model_is_averaged_over_all_masks_where_there_are_few(net, shifted):
    model = TransformersModel(net, mask_id=MASK, shifted=shifted)
    (found,) = likelihoods(model, [(GIVEN, ANSWER)])
    exact = enumerated(net, GIVEN, ANSWER, [range(9)] * 9, shifted)
    assert found.nats == pytest.approx(exact, abs=1e-9)
    assert (found.error, found.exact, found.tokens, found.forwards) == (0.0, False, 4, 15)


def test_a_block_causal_model_takes_block_after_block_and_the_end_of_the_prompt_with_the_first(net):
    model = TransformersModel(net, mask_id=MASK, block_causal=True, attention_block=4)
    (found,) = likelihoods(model, [(GIVEN, ANSWER)])  # 3 places beside token 4 of the prompt, and 1 after
    sees = [range(min((i // 4 + 1) * 4, 8)) for i in range(8)]
    first = enumerated(net, GIVEN, ANSWER[:3], sees)
    second = enumerated(net, [*GIVEN, *ANSWER[:3]], ANSWER[3:], [*sees, range(9)])
    assert found.nats == pytest.approx(first + second, abs=1e-9)
    assert found.forwards == 7 + 1
    windows = replace_block(model)
    assert likelihoods(windows, [(GIVEN, ANSWER)], block=4) == [found]
    whole = enumerated(net, GIVEN, ANSWER, [range(9)] * 9)
    assert likelihoods(windows, [(GIVEN, ANSWER)])[0].nats == pytest.approx(whole, abs=1e-9)


def replace_block(model):
    """The same with blocks that follow the windows."""
    return TransformersModel(model.model, mask_id=model.mask_id, block_causal=True)


def test_a_causal_model_is_exact_in_one_forward(net):
    model = TransformersModel(net, mask_id=None, shifted=True, block_causal=True, attention_block=1)
    with torch.inference_mode():  # transformers' own causal forward
        p = net(torch.tensor([[*GIVEN, *ANSWER]])).logits[0].log_softmax(-1)
    exact = sum(float(p[len(GIVEN) - 1 + i, t]) for i, t in enumerate(ANSWER))
    (found,) = likelihoods(model, [(GIVEN, ANSWER)])
    assert found.nats == pytest.approx(exact, abs=1e-9)
    assert (found.error, found.exact, found.forwards) == (0.0, True, 1)
    text = list(GIVEN)
    with torch.inference_mode():
        for _ in range(4):
            text.append(int(net(torch.tensor([text])).logits[0, -1].argmax()))
    said = text[len(GIVEN) :]
    other = [*said[:3], (said[3] + 1) % 23]
    assert greedy(model, [(GIVEN, said), (GIVEN, other), (GIVEN, said[:1])]) == [True, False, True]


def test_one_masked_token_is_its_log_probability_and_no_bound(net):
    model = TransformersModel(net, mask_id=MASK)
    (found,) = likelihoods(model, [(GIVEN, [9])])
    assert found.nats == pytest.approx(float(log_probs(net, [*GIVEN, MASK], [range(6)] * 6)[5, 9]), abs=1e-9)
    assert found.exact


def test_guidance_hides_what_was_given_and_nothing_else(net):
    model = Guided(TransformersModel(net, mask_id=MASK), 0.5)
    (found,) = likelihoods(model, [(GIVEN, [9, 2])])
    total = 0.0
    for shown, weight in (([MASK, MASK], 0.5), ([MASK, 2], 0.5), ([9, MASK], 0.5)):
        sees = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
        with torch.inference_mode():
            c, u = (net(torch.tensor([[*g, *shown]]), attention_mask=sees).logits[0] for g in (GIVEN, [MASK] * 5))
        p = (u + 1.5 * (c - u)).log_softmax(-1)
        total += weight * sum(float(p[5 + i, t]) for i, t in enumerate((9, 2)) if shown[i] == MASK)
    assert found.nats == pytest.approx(total, abs=1e-9)


# Drawn bounds

LONG = [1, 0, 7, 3, 3, 9, 2, 6, 0, 4]


@pytest.mark.parametrize(
    ("model", "block"), [(ToyModel(), None), (ToyModel(block_causal=True), 9)], ids=["masked", "blocks"]
)
def test_drawn_bounds_are_right_in_the_mean_and_their_errors_are_honest(model, block):
    (exact,) = likelihoods(model, [([1, 2], LONG)], draws=1023, block=block)
    drawn = [likelihoods(model, [([1, 2], LONG)], draws=32, seed=s, block=block)[0] for s in range(80)]
    mean = sum(x.nats for x in drawn) / 80
    spread = math.sqrt(sum((x.nats - exact.nats) ** 2 for x in drawn) / 80)
    told = math.sqrt(sum(x.error**2 for x in drawn) / 80)
    assert exact.error == 0 < spread
    assert abs(mean - exact.nats) < 3 * spread / math.sqrt(80)
    assert 0.7 < told / spread < 1.4


def test_opposite_and_evenly_spaced_draws_spread_less_than_independent_ones():
    nano = load("nano")
    given, answer = (nano.tokenizer.encode(x) for x in ("Shuffle: a b c d e f g h", " h g f e d c a b"))
    (piece,), L = pieces(nano.model, given, answer), len(answer)
    bound, g = bounds.Masked(nano.model.mask_id), torch.Generator().manual_seed(0)
    every = bound.views(piece, 2**L - 1, 0)
    (found,) = estimate.terms(nano.model, bound, [(0, piece)], [every], 256, None)
    terms = dict(zip(map(tuple, every.want.tolist()), found, strict=True))
    exact, _ = every.total(torch.stack(list(terms.values())))
    views = [bound.views(piece, 64, s) for s in range(200)]
    ours = torch.tensor([v.total(torch.stack([terms[tuple(w)] for w in v.want.tolist()]))[0] for v in views])
    counts = torch.randint(1, L + 1, (200, 64), generator=g)
    hidden = torch.rand(200, 64, L, generator=g).argsort(-1).argsort(-1) < counts[..., None]
    plain = torch.stack([torch.stack([terms[tuple(h)] * L / sum(h) for h in row]).mean() for row in hidden.tolist()])
    assert (ours - exact).square().mean() < 0.25 * (plain - exact).square().mean()  # a hundred times less here


@pytest.mark.parametrize("model", [
    ToyModel(), ToyModel(block_causal=True), ToyModel(block_causal=True, causal_context=True), ToyModel(mask_id=None),
    ToyModel(mask_id=None, block_causal=True, causal_context=True),
], ids=["masked", "blocks", "canvases", "uniform", "uniform canvases"])  # fmt: skip
def test_a_number_depends_on_no_batch_and_no_neighbour(model):
    pairs = [([1, 2, 3], LONG), ([4], LONG[:3]), ([5] * 9, LONG[:8]), ([1, 2, 3], LONG[::-1])]
    alone = [likelihoods(model, [pair], draws=40, batch=1, block=4)[0] for pair in pairs]
    for batch in (1, 7, 64):
        assert likelihoods(model, pairs, draws=40, batch=batch, block=4) == alone
        assert likelihoods(model, pairs[::-1], draws=40, batch=batch, block=4) == alone[::-1]
    assert [greedy(model, [pair], batch=1, block=4)[0] for pair in pairs] == greedy(model, pairs, block=4)
    heard = []
    likelihoods(model, pairs, draws=40, block=4, progress=heard.append)
    assert heard == [1] * 4


def test_stored_blocks_change_nothing():
    @dataclass(frozen=True)
    class Forgetful(ToyModel):
        capabilities = ToyModel.capabilities - {"store"}

    for how in ({}, {"causal_context": True}):
        stored, computed = (m(block_causal=True, **how) for m in (ToyModel, Forgetful))
        assert likelihoods(stored, [([1, 2, 3], LONG)], block=4) == likelihoods(computed, [([1, 2, 3], LONG)], block=4)


def test_answers_to_one_question_meet_the_same_masks_and_other_questions_others():
    model, bound = ToyModel(), bounds.Masked(10)
    hidden = []
    for given, answer in (([1, 2], LONG), ([1, 2], LONG[::-1]), ([2, 1], LONG), ([0], LONG), ([0], LONG[::-1])):
        (piece,) = pieces(model, given, answer)
        hidden.append(bound.views(piece, 64, 0).want)
    assert torch.equal(hidden[0], hidden[1])
    assert not any(torch.equal(hidden[0], x) for x in hidden[2:])
    assert not torch.equal(hidden[3], hidden[4])  # a text as a whole behind its begin token


def test_draws_differ_with_the_seed_and_one_pair_of_them_tells_no_error():
    a, b = (likelihoods(ToyModel(), [([1, 2], LONG)], draws=16, seed=s)[0].nats for s in (0, 1))
    assert a != b
    assert math.isnan(likelihoods(ToyModel(), [([1, 2], LONG)], draws=1)[0].error)


# Uniform noise


@dataclass(frozen=True)
class Table(ModelDefaults):
    """Says of every text of `length` tokens what a table has."""

    length: int = 2
    vocab: int = 3
    mask_id: int | None = None
    device: torch.device = CPU

    @property
    def logits(self):
        """(vocab ** length, length, vocab)"""
        g = torch.Generator().manual_seed(0)
        return 2 * torch.randn(self.vocab**self.length, self.length, self.vocab, generator=g, dtype=torch.float64)

    def session(self, spec: SessionSpec):
        base = self.vocab ** torch.arange(self.length - 1, -1, -1)

        def run(f: Forward) -> Pred:
            row = (f.tokens[:, : self.length] * base).sum(-1)
            return Pred(self.logits[row], torch.where(f.want, torch.arange(self.length), self.length), self.length)

        return run


def test_the_uniform_bound_of_one_token_is_its_log_probability():
    @dataclass(frozen=True)
    class Constant(Table):
        length: int = 1

        @property
        def logits(self):
            return torch.tensor([[[0.2, 0.7, 0.1]]]).double().log().expand(3, 1, 3)

    for token, p in enumerate((0.2, 0.7, 0.1)):
        drawn = [likelihoods(Constant(), [([], [token])], draws=512, seed=s)[0] for s in range(16)]
        told = math.sqrt(sum(x.error**2 for x in drawn)) / 16
        assert sum(x.nats for x in drawn) / 16 == pytest.approx(math.log(p), abs=4 * told)
        assert told < 0.03
        assert not drawn[0].exact


def test_the_uniform_bound_is_below_what_the_reverse_process_makes_of_a_text():
    """The process itself: a Markov chain in continuous time on nine texts, from noise to text, by small steps of log(1
    - t)."""
    model = Table()
    texts = list(product(range(3), repeat=2))
    p = model.logits.softmax(-1)
    grid = torch.linspace(math.log(1e-5), 0, 3001, dtype=torch.float64)
    kept = ((grid[1:] + grid[:-1]) / 2).exp()
    rates = torch.zeros(len(kept), 9, 9, dtype=torch.float64)
    for a, z in enumerate(texts):
        for i, y in product(range(2), range(3)):
            if y != z[i]:
                q = 3 * kept[:, None] * p[a, i] + 1 - kept[:, None]
                rates[:, a, texts.index((*z[:i], y, *z[i + 1 :]))] = q[:, y] / q[:, z[i]] / 3
    rates -= torch.diag_embed(rates.sum(-1))
    law = torch.full((1, 9), 1 / 9, dtype=torch.float64)
    for step in torch.matrix_exp(rates * (grid[1] - grid[0])):
        law = law @ step
    gaps = []
    for text, mass in zip(texts, law[0].tolist(), strict=True):
        (found,) = likelihoods(model, [([], list(text))], draws=2048)
        gaps.append(math.log(mass) - found.nats)
        assert gaps[-1] > -4 * found.error
    assert max(gaps) < 3  # a bound, and no wild one


# What the model says itself


@pytest.mark.parametrize(
    "model", [ToyModel(), ToyModel(block_causal=True), ToyModel(block_causal=True, causal_context=True)]
)
def test_greedy_is_what_decoding_gives(model):
    for seed in range(4):
        made = replace(model, seed=seed)
        windows = Blocks(4) if model.block_causal else None
        (row,) = decode(made, get("llada"), [[1, 2, 3]], length=7, windows=windows, stop=False)
        said = row.canvas[3:]
        if 10 in said:
            continue
        for i, want in ((None, True), (0, False), (6, False)):
            changed = [(t + 1) % 10 if j == i else t for j, t in enumerate(said)]
            assert greedy(made, [([1, 2, 3], changed)], block=4) == [want]


# What has no likelihood


@pytest.mark.parametrize(("pair", "why"), [
    (([1], []), "empty answer"), (([1], [11]), "outside the vocabulary"), (([1], [2, 10]), "mask token"),
    (([10], [2]), "mask token"),
])  # fmt: skip
def test_what_has_no_likelihood_is_refused(pair, why):
    for f in (likelihoods, greedy):
        with pytest.raises(UsageError, match=why):
            f(ToyModel(), [pair])


def test_a_causal_model_needs_something_to_begin_with(net):
    model = TransformersModel(net, mask_id=None, shifted=True, block_causal=True, attention_block=1)
    with pytest.raises(UsageError, match="and the first one has none"):
        likelihoods(model, [([], [1])])


def test_predictions_that_are_no_numbers_are_an_error(net):
    broken = TransformersModel(type(net)(net.config).double(), mask_id=MASK)
    broken.model.lm_head.weight.data[0, 0] = math.nan
    with pytest.raises(UsageError, match="not finite numbers"):
        likelihoods(broken, [(GIVEN, ANSWER)])


@pytest.mark.parametrize("how", [{"draws": 0}, {"batch": 0}])
def test_numbers_below_one_are_refused(how):
    with pytest.raises(UsageError, match="at least 1, not 0"):
        likelihoods(ToyModel(), [([1], [2])], **how)
