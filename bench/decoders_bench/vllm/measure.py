"""Requests and tokens per second: the library's own loop and vLLM with the plugin, on the embedded model, in one run.

Run it in the plugin's environment (plugins/vllm/environment.sh). On a CPU the small kernels of vLLM's Model Runner V2
run in Triton's interpreter, so its times are not those of a real server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import decoders
from decoders_bench.common.rates import Rates
from decoders_bench.tasks import TASKS

LENGTH, REQUESTS = 32, 16
IN_FLIGHT = (1, 4, 8)


@dataclass(frozen=True)
class Throughput(Rates):
    """One engine at one concurrency: medians over repeats of the same requests. Forward passes are summed over
    requests, each with those in which it took part; in vLLM they include those that only store a finished block."""

    engine: str
    decoder: str
    concurrency: int
    """The largest number of concurrent requests."""
    requests: int


def measured(run: Callable[[], tuple[int, int]], repeats: int) -> tuple[int, int, float]:
    """Forward passes, tokens and median seconds, after one warm-up run."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        forwards, tokens = run()
        times.append(time.perf_counter() - began)
    return forwards, tokens, median(times)


def own_loop(loaded: Any, decoder: str, prompts: Sequence[str], batch: int) -> tuple[int, int]:
    """Forward passes and tokens of the library's loop, with `batch` requests at a time."""
    done = decoders.Generator(loaded, decoder)(prompts, length=LENGTH, ignore_eos=True, batch=batch)
    return sum(x.nfe for x in done), LENGTH * len(done)


class Engine:
    """vLLM with the plugin, on the embedded model. Raises `UsageError` if they are not installed."""

    def __init__(self) -> None:
        try:
            from decoders_vllm.plugin import overrides
            from vllm import LLM
        except ImportError:
            raise decoders.UsageError(
                "vLLM and its plugin are not installed here; see plugins/vllm/environment.sh"
            ) from None
        directory = str(Path(decoders.__file__).parent / "models" / "nano")
        self.llm = LLM(
            directory, hf_overrides=overrides(directory), dtype="float32", enforce_eager=True, max_model_len=256,
            max_num_seqs=8, kv_cache_memory_bytes=64 << 20, enable_prefix_caching=False, disable_log_stats=False,
        )

    def steps(self) -> int:
        return sum(int(m.value) for m in self.llm.get_metrics() if m.name == "vllm:diffusion_num_denoising_steps")

    def run(self, decoder: str, ids: Sequence[list[int]], batch: int) -> tuple[int, int]:
        """Forward passes and tokens, with `batch` requests at a time."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=LENGTH, temperature=1.0, ignore_eos=True, extra_args={"decoder": decoder})
        asked, before = [{"prompt_token_ids": x} for x in ids], self.steps()
        outs = [
            o
            for i in range(0, len(asked), batch)
            for o in self.llm.generate(asked[i : i + batch], params, use_tqdm=False)
        ]
        return self.steps() - before, sum(len(o.outputs[0].token_ids) for o in outs)


def measure(decoder: str, repeats: int) -> list[Throughput]:
    engine, loaded = Engine(), decoders.load("nano", attention="block")
    prompts = [item.prompt for item in TASKS["chain"].items("hard", "test", REQUESTS)]
    ids = [loaded.tokenizer.encode(p) for p in prompts]
    ways = {
        "library loop": partial(own_loop, loaded, decoder, prompts),
        "vLLM, native path": partial(engine.run, decoder, ids),
    }
    return [
        Throughput(*measured(partial(run, batch), repeats), name, decoder, batch, REQUESTS)
        for batch in IN_FLIGHT for name, run in ways.items()
    ]
