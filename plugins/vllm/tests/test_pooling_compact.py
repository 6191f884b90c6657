"""Compact answers without vLLM: a session that keeps its logits to itself and is only asked. Runs in the library's own
environment: `pytest --noconftest plugins/vllm/tests/test_pooling_compact.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from decoders import get
from decoders.core import Blocks, Pred, Suppress, decode
from decoders.testing.toy import ToyModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from decoders_vllm.compact import Compact, Ledger, answer, foreseen

COMPACT = [
    "threshold:temperature=0.7", "factor", "llada:temperature=1.0", "dream:by=topk_margin,temperature=0.5,top_p=0.8",
    "dream:by=entropy", "sdar:by=entropy_bounded,temperature=1.0,top_k=3", "ancestral:steps=4,temperature=1.0",
    "first_hitting",
]
WHOLE = ["klass"]


class Far:
    """`ToyModel`, whose predictions are made of answers that went through JSON, as they would over a wire."""

    def __init__(self, model: ToyModel) -> None:
        self.model, self.compact, self.whole = model, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def session(self, spec: Any) -> Any:
        forward, owner = self.model.session(spec), self

        class Session:
            plan: Any = None

            def foresee(self, plan: Any, c: Any, f: Any) -> None:
                self.plan, self.canvas = plan, c

            def __call__(self, f: Any) -> Pred:
                p = forward(f)
                asked = foreseen(self.plan, self.canvas, p.at, owner.vocab) if self.plan else None
                if asked is None:
                    owner.whole += 1
                    return p
                owner.compact += 1
                rows = torch.arange(p.at.numel())
                spoken = json.loads(json.dumps([q.spoken(rows) for q in asked]))
                answers = answer(p.logits.flatten(0, 1).float(), spoken)
                return Compact.of(
                    Ledger(p.at.numel(), owner.vocab, questions=asked, answers=answers), p.at, p.width, p.cost
                )

        return Session()


@pytest.mark.parametrize("spec", COMPACT + WHOLE)
def test_the_same_tokens_from_answers_alone(spec: str) -> None:
    near = ToyModel(mask_id=10)
    far = Far(near)
    how = {
        "length": 12,
        "windows": Blocks(4 if "steps" not in spec else 12),
        "seeds": [3, 4],
        "rules": [Suppress((2,))],
    }
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8]]
    assert decode(far, get(spec), prompts, **how) == decode(near, get(spec), prompts, **how)
    assert (far.whole > 0) is (spec in WHOLE)
    assert (far.compact > 0) is (spec in COMPACT)


def test_a_question_made_of_an_answer_is_not_foreseen() -> None:
    from dataclasses import dataclass

    from decoders.core import Decoder

    @dataclass(frozen=True)
    class Doubting(Decoder):
        """Asks how likely the drawn token is in another distribution."""

        def step(self, s: Any, p: Pred) -> Any:
            tokens, confidence = p.draw(s, 1.0)
            return s.commit(p.without((1,)).prob(tokens) >= 0, tokens, confidence)

    far = Far(ToyModel(mask_id=10))
    assert decode(far, Doubting(), [[1, 2]], length=6) == decode(far.model, Doubting(), [[1, 2]], length=6)
    assert (far.whole, far.compact) == (1, 0)
