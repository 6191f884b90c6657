"""Requests and tokens per second: the library's own loop and vLLM with the plugin, on the embedded model, side by side in one run.

Run it in the plugin's environment (plugins/vllm/environment.sh). On a CPU the small kernels of vLLM's Model Runner V2 run in Triton's
interpreter, so its times are those of a test bench and not of a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click

from decoders_bench.common.options import emit, json_option

LENGTH, REQUESTS = 32, 16


@dataclass(frozen=True)
class Throughput:
    """One engine at one concurrency: medians over repeats of the same requests."""

    engine: str
    decoder: str
    concurrency: int
    """Requests in flight at most."""
    requests: int
    tokens: int
    """Generated ones of all requests; neither prompt nor padding counts."""
    forwards: int
    """Forwards that the requests took part in, summed; in vLLM with those that only store a finished block."""
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_forward(self) -> float:
        return self.tokens / self.forwards


def table(rows: Sequence[Throughput]) -> str:
    """Markdown: engines against concurrency."""
    lines = ["| engine | concurrency | tokens/s | seconds | forwards | tokens per forward |", "|---|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {r.engine} | {r.concurrency} | {r.tokens_per_second:.0f} | {r.seconds:.2f} | {r.forwards} | {r.tokens_per_forward:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def read(path: Path) -> list[Throughput]:
    import json

    return [Throughput(**row) for row in json.loads(path.read_text())["rows"]]


def measured(run: Callable[[], tuple[int, int]], repeats: int) -> tuple[int, int, float]:
    """Tokens, forwards and median seconds, after one run to warm up."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        tokens, forwards = run()
        times.append(time.perf_counter() - began)
    return tokens, forwards, median(times)


def own_loop(loaded: Any, decoder: str, prompts: Sequence[str], batch: int) -> tuple[int, int]:
    """Tokens and forwards of the library's loop, `batch` requests at a time."""
    import decoders

    done = decoders.Generator(loaded, decoder)(prompts, length=LENGTH, ignore_eos=True, batch=batch)
    return LENGTH * len(done), sum(x.nfe for x in done)


@click.command("vllm")
@click.option("-d", "--decoder", default="threshold:tau=0.9", show_default=True, help="decoder spec")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def vllm_command(decoder: str, repeats: int, output: Path | None, as_json: bool) -> None:
    """Tokens per second of the library's loop and of vLLM, at 1, 4 and 8 requests in flight."""
    import torch

    import decoders

    try:
        from decoders_vllm.plugin import overrides
        from vllm import LLM, SamplingParams
    except ImportError:
        raise decoders.UsageError("vLLM and its plugin are not installed here; see plugins/vllm/environment.sh") from None
    from decoders_bench.common.results import document, save
    from decoders_bench.tasks import TASKS

    torch.set_num_threads(1)
    loaded = decoders.load("nano", attention="block")
    prompts = [item.prompt for item in TASKS["chain"].items("hard", "test", REQUESTS)]
    directory = str(Path(decoders.__file__).parent / "models" / "nano")
    llm = LLM(
        directory, hf_overrides=overrides(directory), dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=8,
        kv_cache_memory_bytes=64 << 20, enable_prefix_caching=False, disable_log_stats=False,
    )
    params = SamplingParams(max_tokens=LENGTH, temperature=1.0, ignore_eos=True, extra_args={"decoder": decoder})
    ids = [{"prompt_token_ids": loaded.tokenizer.encode(p)} for p in prompts]

    def steps() -> int:
        return sum(int(m.value) for m in llm.get_metrics() if m.name == "vllm:diffusion_num_denoising_steps")

    def engine(batch: int) -> tuple[int, int]:
        before = steps()
        outs = [o for i in range(0, len(ids), batch) for o in llm.generate(ids[i : i + batch], params, use_tqdm=False)]
        return sum(len(o.outputs[0].token_ids) for o in outs), steps() - before

    rows = []
    for batch in (1, 4, 8):
        for name, run in (("library loop", partial(own_loop, loaded, decoder, prompts)), ("vLLM, native path", engine)):
            rows.append(Throughput(name, decoder, batch, REQUESTS, *measured(partial(run, batch), repeats)))
    if output:
        save(output, rows)
    click.echo(table(rows))
    if as_json:
        emit(document("vllm", rows))
