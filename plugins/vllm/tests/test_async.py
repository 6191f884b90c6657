"""Async scheduling, which vLLM turns off on a CPU, turned on all the same: the next step is scheduled before the last
one's tokens are known, so the sampler may need nothing from the host that only they tell."""

from __future__ import annotations

from typing import Any

import pytest
from engines import NANO, Served, engine

import decoders

SPECS = "threshold:tau=0.9", "left_to_right:temperature=1.0", "sdar:block_steps=3,temperature=0.7", "hybrid:budget=9"
TEXTS = (
    "Shuffle: x y z d l m g",
    "Sort: z d p k e h t y o b g j",
    "Q: Finn starts with 58 eggs: gives 8, gets 5, sells 6. Total?",
)


def test_tokens_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.platforms.cpu import CpuPlatform

    settle = CpuPlatform.check_and_update_config

    def and_async(vllm_config: Any) -> None:
        settle(vllm_config)
        vllm_config.scheduler_config.async_scheduling = True

    monkeypatch.setattr(CpuPlatform, "check_and_update_config", staticmethod(and_async))
    llm = engine(NANO, max_model_len=256, max_num_batched_tokens=48)
    core = llm.llm_engine.engine_core.engine_core
    assert type(core.scheduler).__name__ == "BlockAsyncScheduler"
    assert core.batch_queue is not None
    served = Served(llm, decoders.load("nano", attention="block"))
    mixed = [(served.loaded.tokenizer.encode(t), s, n) for t in TEXTS for s in SPECS for n in (32, 19)]
    for stop in (True, False):
        asked = [(p, served.params(s, n, seed=3, ignore_eos=not stop)) for p, s, n in mixed]
        assert served.tokens(asked) == [served.own(s, p, n, seed=3, stop=stop) for p, s, n in mixed]
    turns = [[*p, *served.own(s, p, n, stop=False), *p] for p, s, n in mixed]  # pages that finished rows left behind
    asked = [(p, served.params("threshold", 20, ignore_eos=True)) for p in turns]
    assert served.tokens(asked) == [served.own("threshold", p, 20, stop=False) for p in turns]
