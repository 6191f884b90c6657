"""Full-bidirectional models in vLLM's pooling runner: the library's loop, its forwards elsewhere. Needs no Triton, so
no shim: plugins/vllm/test.sh runs this file alone and without conftest.py."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import decoders
from decoders.core import Blocks, Suppress, UsageError, decode

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))
from support import checkpoints

NANO = Path(decoders.__file__).parent / "models" / "nano"
TEXTS = ["Sort: d b a c\n", "Reverse: a b c d e f g\n", "Copy: x\n"]
SPECS = [
    "threshold", "threshold:tau=0.6,temperature=0.8", "llada:steps=8", "llada:steps=8,temperature=1.0,remasking=random",
    "dream:steps=8,by=entropy,alg_temp=0.2", "dream:steps=8,by=topk_margin", "factor", "ancestral:steps=8",
    "first_hitting",
]
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def nano() -> Any:
    return decoders.load(f"vllm:{NANO},rows=8,columns=256")


@pytest.fixture(scope="session")
def ours() -> Any:
    return decoders.load("nano")


def tokens(loaded: Any, spec: str, prompts: list[list[int]], **more: Any) -> list[Any]:
    rules = [Suppress(loaded.never)]
    seeds = list(range(len(prompts)))
    return decode(
        loaded.model, decoders.get(spec), prompts,
        **{"length": 16, "seeds": seeds, "rules": rules, "windows": Blocks(8), **more},
    )


@pytest.mark.parametrize("spec", SPECS)
def test_tokens_are_the_loops(nano: Any, ours: Any, spec: str) -> None:
    prompts = [ours.tokenizer.encode(t) for t in TEXTS]
    assert tokens(nano, spec, prompts) == tokens(ours, spec, prompts)


@pytest.mark.parametrize(
    ("spec", "whole"), [(s, False) for s in SPECS[:6]] + [("dream:steps=8,top_p=0.9,temperature=0.7", False)]
)
def test_only_answers_come_back(nano: Any, ours: Any, spec: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from decoders_vllm.pooling import PooledModel, PooledSession

    made: list[PooledSession] = []
    monkeypatch.setattr(PooledModel, "session", lambda self, spec: made.append(PooledSession(self)) or made[-1])
    prompts = [ours.tokenizer.encode(t) for t in TEXTS]
    assert tokens(nano, spec, prompts) == tokens(ours, spec, prompts)
    assert (made[0].whole_rows > 0) is whole
    assert (made[0].compact_rows > 0) is not whole


def test_who_watches_gets_whole_rows(nano: Any, ours: Any) -> None:
    prompts = [ours.tokenizer.encode(t) for t in TEXTS]
    seen: list[Any] = []
    theirs: list[Any] = []
    tokens(nano, "threshold", prompts, watch=lambda f, p, c: seen.append(p))
    tokens(ours, "threshold", prompts, watch=lambda f, p, c: theirs.append(p))
    for a, b in zip(seen, theirs, strict=True):
        torch.testing.assert_close(a.entropy(), b.entropy(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(a.best()[1], b.best()[1], atol=1e-4, rtol=1e-4)


def test_a_row_alone_and_in_a_batch(nano: Any, ours: Any) -> None:
    prompts = [ours.tokenizer.encode(t) for t in TEXTS]
    together = tokens(nano, "llada:steps=8,temperature=1.0", prompts)
    for i, p in enumerate(prompts):
        assert tokens(nano, "llada:steps=8,temperature=1.0", [p], seeds=[i]) == [together[i]]


def test_infilling(nano: Any, ours: Any) -> None:
    text = "Reverse: a b c\n"
    ids = ours.tokenizer.encode(text)
    holes = [*ids[:3], ours.model.mask_id, *ids[4:]]
    assert tokens(nano, "threshold", [holes], infill=True) == tokens(ours, "threshold", [holes], infill=True)


def test_text_in_text_out(nano: Any) -> None:
    theirs = decoders.Generator("nano", "threshold")(TEXTS, length=16)
    assert [g.tokens for g in decoders.Generator(nano, "threshold")(TEXTS, length=16)] == [g.tokens for g in theirs]


def test_what_it_cannot_do_is_refused(nano: Any) -> None:
    with pytest.raises(UsageError, match="makes causal forward passes"):
        decoders.Generator(nano, "s2d2")
    with pytest.raises(UsageError, match="keeps none; take exact or none"):
        decoders.Generator(nano, "threshold", "dual")


@pytest.fixture(params=["llada", "dream"])
def tiny(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    recipe = checkpoints.RECIPES[request.param]  # with attention heads of 32, which is the least that vLLM has on a CPU
    wide = {"hidden_size": 128}
    config = {**recipe.config, **({"d_model": 128} if request.param == "llada" else wide)}
    monkeypatch.setitem(
        checkpoints.RECIPES, request.param,
        dataclasses.replace(recipe, settings={**recipe.settings, **wide}, config=config)
    )
    checkpoints.write(tmp_path / "tiny", request.param)
    return tmp_path / "tiny"


def test_a_checkpoint_of_another_family(tiny: Path) -> None:
    theirs, ours = decoders.load(f"vllm:{tiny},rows=4"), decoders.load(str(tiny))
    assert (theirs.model.mask_id, theirs.model.stop_ids, theirs.never) == (
        ours.model.mask_id,
        ours.model.stop_ids,
        ours.never,
    )
    prompts = [[5, 9, 40, 60, 7], [7, 8, 9]]
    for spec in ("threshold:tau=0.3", "llada:steps=4,temperature=1.0", "dream:steps=4,by=entropy"):
        assert tokens(theirs, spec, prompts) == tokens(ours, spec, prompts)


def test_a_block_causal_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "sdar", "sdar")
    with pytest.raises(UsageError, match="decoders serve"):
        decoders.load(f"vllm:{tmp_path / 'sdar'}")
