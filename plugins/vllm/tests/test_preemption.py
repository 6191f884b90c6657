"""An engine with too little memory for its requests: vLLM takes some out, and computes their keys and values anew when
they return."""

from __future__ import annotations

from engines import NANO, Served, engine

import decoders

SPECS = (
    "threshold:tau=0.9", "left_to_right:temperature=1.0", "sdar:block_steps=3,temperature=0.7",
    "hybrid:ar=wide,budget=20,temperature=0.7",
)


def test_rows_that_are_taken_out_go_on_where_they_were() -> None:
    """Decoders that draw by their clock and remember things come to the same tokens."""
    llm = engine(
        NANO, max_model_len=160, num_gpu_blocks_override=9, enable_prefix_caching=False, disable_log_stats=False
    )
    served = Served(llm, decoders.load("nano", attention="block"))
    prompt = served.loaded.tokenizer.encode("Shuffle: x y z d l m g")
    asked = [(prompt, served.params(SPECS[i % 4], 90, seed=i, ignore_eos=True)) for i in range(8)]
    found = served.tokens(asked)
    taken_out = next(m.value for m in llm.get_metrics() if m.name == "vllm:num_preemptions")
    assert taken_out >= 2
    assert found == [served.own(SPECS[i % 4], prompt, 90, seed=i, stop=False) for i in range(8)]
