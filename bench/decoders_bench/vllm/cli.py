"""`decoders bench vllm`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import finish, json_option, output_option, repeats_option


@click.command("vllm")
@click.option("-d", "--decoder", default="threshold:tau=0.9", show_default=True, help="decoder spec")
@repeats_option(5)
@output_option
@json_option
def vllm(decoder: str, repeats: int, output: Path | None, as_json: bool) -> None:
    """Tokens per second of the library's loop and of vLLM, at 1, 4 and 8 requests in flight."""
    import torch

    from decoders_bench.vllm.measure import measure
    from decoders_bench.vllm.tables import throughput_table

    torch.set_num_threads(1)
    rows = measure(decoder, repeats)
    finish("vllm", rows, throughput_table(rows), output, as_json)
