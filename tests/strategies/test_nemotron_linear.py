"""Nemotron's linear self-speculation: the tokens of autoregression, from blocks that are drafted both ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from decoders import Blocks, Generator, decode, get, get_cache
from decoders.core import Trace
from decoders.models.adapter import TransformersModel
from decoders.models.source import load_model
from decoders.testing.oracle import Oracle, distance, floor
from decoders.testing.toy import ToyModel
from support.checkpoints import write
from support.laws import lawsuits

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [14, 15, 16, 17, 18]]
ORACLE = Oracle()


@pytest.mark.parametrize(("spec", "law"), lawsuits(["nemotron_linear:temperature=1.0,top_k=5,threshold=0.2"]))
def test_law(spec: str, law: Any) -> None:
    law(get(spec))


def test_samples_have_the_autoregressive_distribution() -> None:
    mean, deviation = floor(ORACLE, 1500)
    tv, nfe = distance(get("nemotron_linear:temperature=1.0"), ORACLE, 1500)
    assert tv < mean + 4 * deviation
    assert nfe <= 2 * ORACLE.length


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("how", [{}, {"shifted": True}, {"block_causal": True}, {"block_causal": True, "turns": True}])
def test_the_likeliest_tokens_are_those_of_left_to_right(net: Any, how: dict[str, bool], threshold: float) -> None:
    turns = {"causal_context": True, "causal_shift": True} if how.get("turns") else {}
    model = TransformersModel(net, mask_id=23, **({k: v for k, v in how.items() if k != "turns"} | turns))
    spec = f"nemotron_linear:threshold={threshold}"
    ar, rows = (decode(model, get(x), PROMPTS, length=13, windows=Blocks(4)) for x in ("left_to_right", spec))
    assert [row.tokens for row in rows] == [row.tokens for row in ar]
    assert all(row.nfe <= 2 * 13 for row in rows)


def test_a_round_in_which_no_draft_is_sure_gives_one_token() -> None:
    made = {x: Generator("nano", x)(["Sort: d b a c f e"], length=6, ignore_eos=True)[0] for x in (
        "left_to_right", "nemotron_linear:threshold=1.0", "nemotron_linear"
    )}
    ar, unsure, sure = made.values()
    assert ar.tokens == unsure.tokens == sure.tokens
    assert unsure.nfe == 2 * 6 > sure.nfe


@pytest.mark.parametrize("how", [{}, {"block_causal": True}, {"block_causal": True, "causal_context": True}])
def test_the_exact_cache_changes_nothing(net: Any, how: dict[str, bool]) -> None:
    model = TransformersModel(net, mask_id=23, causal_shift="causal_context" in how, **how)
    exact, none = (
        decode(model, get("nemotron_linear"), PROMPTS, length=12, windows=Blocks(4), cache=get_cache(c), seed=1)
        for c in ("exact", "none")
    )
    assert exact == none


def test_blocks_slide_along_the_row() -> None:
    """A block begins where the last round ended, and a round that agrees gives all of it."""
    model = ToyModel(vocab=24, mask_id=23, block_causal=True, causal_context=True, sharp=16.0)
    trace = Trace()
    (row,) = decode(model, get("nemotron_linear"), PROMPTS[:1], length=11, windows=Blocks(4), watch=trace)
    starts = [int(f.at[0, 0]) for f in trace.forwards]
    assert starts[::2] == starts[1::2]  # a draft and its verification have one block
    taken = [b - a for a, b in zip(starts[::2], [*starts[2::2], 14], strict=True)]
    assert all(1 <= n <= 4 for n in taken)
    assert sum(taken) == 11
    assert len(taken) == row.nfe / 2 > 11 / 4
    assert any(start % 4 != 3 for start in starts)


# Nemotron's own model, which predicts position i both ways


def test_what_is_asked_causally_is_the_next_token_prediction(tmp_path: Any) -> None:
    """In every verification of a run: the logits of position i are those of a causal forward at output i - 1."""
    original = write(tmp_path / "c", "nemotron_labs_diffusion")
    assert original is not None
    loaded, errors = load_model(str(tmp_path / "c")), []

    def watch(f: Any, p: Any, c: Any) -> None:
        for b, prompt in enumerate(PROMPTS):
            if not f.causal[b] or not f.want[b].any():
                continue
            with torch.inference_mode():
                want = original(input_ids=f.tokens[b : b + 1, : len(prompt) + 21]).logits[0]
            errors.extend(
                (p.logits[b, i] - want[f.at[b, w] - 1]).abs().max().item()
                for i, w in enumerate(p.at[b].tolist()) if w < p.width
            )

    decode(loaded.model, get("nemotron_linear"), PROMPTS, length=21, windows=Blocks(8), stop=False, watch=watch)
    assert len(errors) >= 3 * 21
    assert max(errors) < 2e-4


@pytest.mark.parametrize("spec", ["nemotron_linear", "coupled", "left_to_right"])
def test_its_tokens_are_those_of_its_autoregressive_mode(tmp_path: Any, spec: str) -> None:
    write(tmp_path / "c", "nemotron_labs_diffusion")
    both, alone = (load_model(str(tmp_path / "c"), attention=a).model for a in ("block", "causal"))
    how: dict[str, Any] = {"length": 21, "stop": False}
    ar = decode(alone, get("left_to_right"), PROMPTS, windows=Blocks(1), **how)
    rows = decode(both, get(spec), PROMPTS, windows=Blocks(8), **how)
    assert [row.tokens for row in rows] == [row.tokens for row in ar]
