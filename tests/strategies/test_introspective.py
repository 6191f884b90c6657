"""I-DLM's strided decoding: the tokens of autoregression, verified and drafted in one causal forward."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from decoders import Blocks, Generator, UsageError, decode, get, get_cache
from decoders.core import Forward, Trace
from decoders.models.adapter import TransformersModel
from decoders.models.source import load_model
from decoders.testing.oracle import Oracle, distance, floor
from decoders.testing.toy import ToyModel
from support.checkpoints import write
from support.laws import lawsuits

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [14, 15, 16, 17, 18]]
ORACLE = Oracle()


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Any, Any]:
    """I-DLM's on-disk format: the model of the library, and transformers' own beside it. Tokens are embedded nearly
    alike, so that what is drafted in masks is often what is said to stand there."""
    original = write(tmp_path / "c", "idlm")
    assert original is not None
    loaded = load_model(str(tmp_path / "c")).model
    for net in (original, loaded.model):  # type: ignore[attr-defined]
        weight = net.get_input_embeddings().weight
        with torch.no_grad():
            weight.copy_(weight[:1] + 0.15 * weight)
    return loaded, original


def plainly(net: Any, mask: int, prompt: list[int], length: int, stride: int) -> list[list[int]]:
    """The tokens that every forward gives: the rule written out for one row, without a store."""
    text, drafts, given = list(prompt), list[int](), list[list[int]]()
    while len(text) < len(prompt) + length:
        with torch.inference_mode():
            shown = [*text, *drafts, *[mask] * (stride - 1)]
            likeliest = net(input_ids=torch.tensor([shown])).logits[0].argmax(-1).tolist()[len(text) - 1 :]
        stand = next((i for i, x in enumerate(drafts) if x != likeliest[i]), len(drafts))
        new = likeliest[: stand + 1]
        drafts = likeliest[stand + 1 :][: stride - 1] if stand == len(drafts) else []
        given.append(new[: len(prompt) + length - len(text)])
        text += given[-1]
    return given


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_a_plain_python_twin_gives_the_same_tokens_forward_by_forward(checkpoint: Any, stride: int) -> None:
    model, net = checkpoint
    for prompt in PROMPTS:
        trace = Trace()
        (row,) = decode(model, get("introspective", stride=stride), [prompt], length=40, stop=False, watch=trace)
        theirs = plainly(net, model.mask_id, prompt, 40, stride)
        ends = [len(prompt), *(len(prompt) + 40 - int(c.open[0].sum()) for c in trace.canvases)]
        ours = [list(row.canvas[a:b]) for a, b in pairwise(ends)]
        assert ours == theirs
        assert {len(x) for x in theirs} > {1}, "no draft was accepted"


def test_a_forward_runs_the_drafts_the_masks_and_nothing_twice(checkpoint: Any) -> None:
    """Of a window of 2 * stride - 1 positions the last one is predicted and not shown."""
    model, _ = checkpoint
    ran: list[int] = []

    def watch(f: Forward, p: Any, c: Any) -> None:
        ran.append(int(f.compute.sum()))

    decode(model, get("introspective", stride=3), PROMPTS[:1], length=30, stop=False, watch=watch)
    assert ran[0] == len(PROMPTS[0]) + 2
    assert max(ran[1:]) <= 2 * 3 - 1  # the last token that was given, and all but one of the window


def test_a_batch_on_the_checkpoint_is_autoregression_in_fewer_forwards(checkpoint: Any) -> None:
    model, _ = checkpoint
    how: dict[str, Any] = {"length": 40, "windows": Blocks(1), "stop": False}
    ar, rows = (decode(model, get(x), PROMPTS, **how) for x in ("left_to_right", "introspective"))
    assert [row.tokens for row in rows] == [row.tokens for row in ar]
    assert all(a.nfe < b.nfe for a, b in zip(rows, ar, strict=True))


@pytest.mark.parametrize(("spec", "law"), lawsuits(["introspective:temperature=1.0,top_k=5,stride=3,keep=4"]))
def test_law(spec: str, law: Any) -> None:
    law(get(spec))


@pytest.mark.parametrize("spec", ["introspective:temperature=1.0", "introspective:temperature=1.0,stride=2"])
def test_samples_have_the_autoregressive_distribution(spec: str) -> None:
    mean, deviation = floor(ORACLE, 3000)
    tv, nfe = distance(get(spec), ORACLE, 3000)
    assert tv < mean + 4 * deviation
    assert nfe < ORACLE.length


@pytest.mark.parametrize("how", [{}, {"shifted": True}, {"block_causal": True}, {"block_causal": True, "turns": True}])
def test_the_likeliest_tokens_are_those_of_left_to_right(net: Any, how: dict[str, bool]) -> None:
    turns = {"causal_context": True, "causal_shift": True} if how.get("turns") else {}
    model = TransformersModel(net, mask_id=23, **({k: v for k, v in how.items() if k != "turns"} | turns))
    ar, rows = (
        decode(model, get(x), PROMPTS, length=13, windows=Blocks(4)) for x in ("left_to_right", "introspective")
    )
    assert [row.tokens for row in rows] == [row.tokens for row in ar]
    assert all(row.nfe <= 13 for row in rows)


def test_the_exact_cache_changes_nothing(checkpoint: Any) -> None:
    model, _ = checkpoint
    exact, none = (
        decode(model, get("introspective"), PROMPTS, length=24, cache=get_cache(c), seed=1) for c in ("exact", "none")
    )
    assert exact == none


def test_nano_takes_fewer_forwards_and_says_which() -> None:
    ar, row = (
        Generator("nano", x)(["Sort: d b a c f e"], length=6, ignore_eos=True)[0]
        for x in ("left_to_right", "introspective")
    )
    assert row.tokens == ar.tokens
    assert row.nfe == sum(row.forwards.values()) < ar.nfe
    assert min(row.forwards.values()) > 0


def test_a_causal_model_without_a_mask_token_is_refused() -> None:
    model = ToyModel(mask_id=None, block_causal=True)
    object.__setattr__(model, "attention_block", 1)
    assert decode(model, get("coupled"), PROMPTS[:1], length=3, windows=Blocks(1))[0].nfe
    with pytest.raises(UsageError, match="Introspective needs a model with a mask token, and this model has none"):
        decode(model, get("introspective"), PROMPTS[:1], length=3, windows=Blocks(1))
