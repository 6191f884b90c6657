"""Unlikely tokens cut away, around any rule, from every door."""

from __future__ import annotations

import json
import math

import pytest
import torch

from decoders import Generator, Pred, decode, get
from decoders.settings import with_options
from decoders.testing.toy import ToyModel
from support.commands import call

P = torch.tensor([[[0.4, 0.3, 0.2, 0.06, 0.04]]], dtype=torch.double)


def left(spec: str, temperature: float = 1.0) -> list[int]:
    """The tokens that a nucleus leaves of `P`."""
    decoder = get(spec.format(f"(threshold:temperature={temperature})"))
    cut = decoder.cut(Pred(P.log(), torch.zeros(1, 1, dtype=torch.long), 1))
    return [v for v, x in enumerate(cut.logits.flatten().tolist()) if x > -math.inf]


@pytest.mark.parametrize(
    ("spec", "temperature", "tokens"),
    [
        ("nucleus:base={}", 1.0, 5), ("nucleus:base={},top_k=2", 1.0, 2), ("nucleus:base={},top_p=0.8", 1.0, 3),
        ("nucleus:base={},top_p=0.69", 1.0, 2), ("nucleus:base={},min_p=0.45", 1.0, 3),
        ("nucleus:base={},min_p=0", 1.0, 5),
        ("nucleus:base={},min_p=1", 1.0, 1), ("nucleus:base={},top_k=3,min_p=0.7", 1.0, 2),
        ("nucleus:base={},top_p=0.69", 3.0, 3),  # what is flatter takes more tokens for the same share
        ("nucleus:base={},min_p=0.45", 3.0, 5), ("nucleus:base={},top_p=0", 1.0, 1),
        ("nucleus:base={},top_k=99", 1.0, 5),
    ],
)
def test_what_is_left(spec, temperature, tokens):
    assert left(spec, temperature) == list(range(tokens))


def test_what_is_banned_counts_for_nothing():
    p = Pred(P.log(), torch.zeros(1, 1, dtype=torch.long), 1).without((0,))
    assert get("nucleus:top_k=2").cut(p).best()[0].tolist() == [[1]]
    assert get("nucleus:min_p=0.9").cut(p).rows.isfinite().nonzero()[:, 1].tolist() == [1]
    beside = Pred(P.log(), torch.zeros(1, 1, dtype=torch.long), 1, beside=(p,))
    assert get("nucleus:top_k=2").cut(beside).beside[0].rows.isfinite().nonzero()[:, 1].tolist() == [1, 2]


def test_no_sample_is_outside():
    model, alone = ToyModel(sharp=1.0), get("ancestral:steps=40")
    free = decode(model, alone, [[1, 2], [3]], length=30)
    cut = decode(model, get("nucleus:base=(ancestral:steps=40),top_k=1"), [[1, 2], [3]], length=30)
    assert [r.tokens for r in free] != [r.tokens for r in cut]
    best = decode(model, get("left_to_right"), [[1, 2], [3]], length=30)
    assert decode(model, get("nucleus:base=(left_to_right:temperature=1.0),top_k=1"), [[1, 2], [3]], length=30) == best
    assert decode(model, get("nucleus:base=(ancestral:steps=40)"), [[1, 2], [3]], length=30) == free


def test_flags_that_a_decoder_lacks_are_a_nucleus_around_it():
    assert with_options("threshold:tau=0.5", top_k=3) == "nucleus:base=(threshold:tau=0.5),top_k=3"
    assert with_options("dream", top_k=3, temperature=0.5) == "dream:top_k=3,temperature=0.5"
    assert with_options("fast-dllm", top_p=0.9, temperature=1.0) == "nucleus:base=(threshold:temperature=1.0),top_p=0.9"
    assert with_options("fast-dllm", temperature=1.0) == "fast-dllm:temperature=1.0"
    flags = "-d", "threshold", "--temperature", 1, "--top-k", 2, "--top-p", 0.9, "--seed", 3, "-n", 8, "--json"
    row = json.loads(call("generate", *flags, "Sort: b a c").stdout)
    spec = "nucleus:base=(threshold:temperature=1.0),top_p=0.9,top_k=2"
    assert row["decoder"] == spec
    assert row["tokens"] == list(Generator("nano", spec)("Sort: b a c", length=8, seed=3)[0].tokens)
