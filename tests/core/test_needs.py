"""What a decoder asks of a model is read off what it does, and every host refuses by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from decoders import Decoder, Pred, Query, State, UsageError, decode, get
from decoders.core import SENTENCES, asks, candidates, either, leftmost, memo_bytes, refuse
from decoders.registry import entries
from decoders.testing.toy import ToyModel

NAMES = [e.name for e in entries("strategies") if e.distribution == "dllm-decoders"]
ASKED = {
    "left_to_right": {"causal"}, "s2d2": {"mask", "causal", "ahead"}, "coupled": {"mask", "causal", "ahead"},
    "s2d2_editing": {"mask", "causal", "ahead"}, "planned": {"causal", "sight"}, "wino": {"mask", "leave_one_out"},
    "freedave": {"candidates"}, "persistent_drafts": {"mask", "candidates"}, "dawn": {"attention"},
    "klass": {"vocabulary"}, "role_order:head=nano": {"hidden_states"}, "daedal": {"mask", "resizes"},
    "dreamon": {"mask", "resizes", "expand"},
    "eos_padding": {"padding"}, "hybrid:mode=block,ar=wide": {"causal", "blocks"},
    **{name: {"latents"} for name in ("ddim", "ddpm", "dpmpp_2m", "dpmpp_3m", "heun", "renoise", "bridge")},
    "codar": {"latents", "causal", "ahead"}, "nemotron_linear": {"mask", "causal", "ahead"},
    "introspective": {"mask", "causal", "ahead"}, "wedlm": {"mask", "order"},
}


@pytest.mark.parametrize("spec", sorted({*NAMES, *ASKED}))
def test_what_strategies_ask(spec):
    assert asks(get(spec)) - {"mask"} == ASKED.get(spec, set()) - {"mask"}


def test_candidates_are_counted_in_the_query():
    assert [candidates(get(spec)) for spec in ("persistent_drafts:ahead=5", "freedave:ahead=2", "threshold")] == [
        5,
        2,
        0,
    ]


def test_a_decoder_that_says_nothing_of_itself_asks_what_it_does():
    """Subclasses take over the methods and nothing else; there is no flag that they could forget."""

    @dataclass(frozen=True)
    class Bare(Decoder):
        def query(self, s: State) -> Query:
            return Query(s.tokens, s.editable, left_out=s.editable & ~s.open)

        def step(self, s: State, p: Pred) -> State:
            return s.commit(leftmost(s.open), *p.best())

    assert asks(Bare()) == {"leave_one_out"}
    seen = []
    decode(ToyModel(), Bare(), [[1]], length=3, watch=lambda f, p, c: seen.append(int(f.left_out.sum())))
    assert seen == [0, 1, 2]
    with pytest.raises(
        UsageError, match="Bare predicts positions without seeing their own token, and this model cannot do that"
    ):
        decode(replace_capabilities({"causal", "store"}), Bare(), [[1]], length=3)


def replace_capabilities(able: set[str]) -> ToyModel:
    @dataclass(frozen=True)
    class Less(ToyModel):
        capabilities: ClassVar[frozenset[str]] = frozenset(able)  # type: ignore[misc]

    return Less()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("left_to_right", "LeftToRight makes causal forward passes, and this model cannot do that"),
        ("planned", "Planned makes causal forward passes"),
        ("dawn", "DAWN reads attention maps, and this model gives none"),
        ("persistent_drafts", "PersistentDrafts evaluates several canvases of a row in one forward"),
        ("hybrid:mode=block", "Hybrid works on block-causal models only, and this model is not one"),
    ],
)
def test_the_loop_refuses_what_a_model_cannot_do(spec, says):
    with pytest.raises(UsageError, match=says):
        decode(replace_capabilities({"store"}), get(spec), [[1]], length=4)


def test_a_model_without_a_mask_token_is_refused_where_one_is_needed():
    with pytest.raises(UsageError, match="WINO needs a model with a mask token, and this model has none"):
        decode(ToyModel(mask_id=None), get("wino"), [[1]], length=4)
    decode(ToyModel(mask_id=None), get("threshold"), [[1]], length=4)


@dataclass(frozen=True)
class Fickle(Decoder):
    """Asks causally in windows of some widths only."""

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.open, torch.ones_like(s.key, dtype=torch.bool) if s.tokens.shape[1] > 8 else None)

    def step(self, s: State, p: Pred) -> State:
        return s.commit(leftmost(s.open), *p.best())


def test_a_query_that_asks_more_than_the_first_one_is_an_error():
    decode(ToyModel(), Fickle(), [[1]], length=7)
    with pytest.raises(
        UsageError,
        match="Fickle makes causal forward passes in some queries, but not in its first one",
    ):
        decode(ToyModel(), Fickle(), [[1]], length=9)


@dataclass(frozen=True)
class Reads(Decoder):
    """Looks at everything that a prediction may bring."""

    def step(self, s: State, p: Pred) -> State:
        assert p.attention is not None
        assert p.hidden_states is not None
        weight = p.attention.rows(s.position).sum(-1) + p.spread(p.hidden_states.flatten(0, 1).sum(-1))
        return s.commit(leftmost(s.open), p.best()[0], weight)


def test_what_is_read_of_a_prediction_is_noticed():
    assert asks(Reads()) == {"attention", "hidden_states"}
    (row,) = decode(ToyModel(), Reads(), [[1]], length=3)
    assert row.nfe == 3


def test_hosts_refuse_in_the_same_words():
    for need, (wants, lacks) in SENTENCES.items():
        with pytest.raises(UsageError, match=f"x {wants}, and a host {lacks}"):
            refuse("x", frozenset({need}), (), "a host")
        refuse("x", frozenset({need}), {need}, "a host")


def test_memo_bytes_are_known_before_anything_runs():
    assert memo_bytes(get("threshold"), 7, 11) == 0
    (row,) = decode(ToyModel(), get("klass"), [[1]], length=7)
    assert memo_bytes(get("klass"), 8, 11) == row.memo_bytes


def test_queries_side_by_side():
    rows, tokens = torch.tensor([True, False]), torch.zeros(2, 3, dtype=torch.long)
    want = torch.ones(2, 3, dtype=torch.bool)
    causal = Query(tokens, want, torch.ones(2, dtype=torch.bool), ahead=True)
    for first, found in ((causal, [True, False]), (Query(tokens, want), [False, True])):
        other = Query(tokens, want) if first is causal else causal
        q = either(rows, first, other)
        assert q.causal is not None
        assert q.causal.tolist() == found
        assert q.ahead
    assert either(rows, Query(tokens, want, level=torch.tensor([0.5, 0.5])), Query(tokens, want)).level.tolist() == [
        0.5,
        1.0,
    ]
    with pytest.raises(ValueError, match="cannot stand beside"):
        either(rows, replace(causal, sight=object()), causal)
