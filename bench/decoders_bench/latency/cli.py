"""`decoders bench latency`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import (
    clock_option,
    device_option,
    emit,
    json_option,
    length_option,
    progress,
    repeats_option,
    threads_option,
)

DECODERS = ("llada", "threshold:tau=0.9")
CACHES = ("none", "dual")


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A list of integers of at least 1, separated by commas."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(x) for x in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1,8,32", param, ctx)
        if min(found) < 1:
            self.fail(f"{value!r} has a number below 1", param, ctx)
        return found


@click.command("latency")
@click.option("-m", "--model", metavar="SPEC", help="a model or checkpoint, with its own predictions")
@click.option(
    "--shape",
    metavar="NAME",
    help="random weights: llada-8b, dream-7b, sdar-8b, nano, or one of the first three with -tiny  [default: nano]",
)
@click.option("--layers", type=click.IntRange(1), metavar="N", help="use only this many layers of the shape")
@click.option(
    "-d", "--decoder", "decoders", multiple=True, default=DECODERS, show_default=True,
    help="a decoder; may be repeated",
)
@click.option("--all", "every", is_flag=True, help="measure every installed strategy")
@click.option(
    "-c", "--cache", "caches", multiple=True, default=CACHES, show_default=True, help="a cache policy; may be repeated"
)
@click.option(
    "--peers/--no-peers",
    default=True,
    show_default=True,
    help=(
        "and a plain loop over the whole canvas, diffusers' schedulers if installed, and autoregression with a "
        "static cache"
    ),
)
@click.option("--batch", "batches", type=Numbers(), default="1", show_default=True, help="numbers of rows")
@click.option(
    "--prompt", default=64, show_default=True, type=click.IntRange(1), help="with --shape: positions of the prompt"
)
@length_option(64)
@click.option("--block", type=click.IntRange(1),
              help="positions of a window  [default: that of the model, or of a block-causal shape; else 32]")
@device_option
@click.option("--dtype", type=click.Choice(("float32", "bfloat16", "float16")),
              help="precision  [default: bfloat16; for a model, as it is loaded]")
@click.option("--steps", default=16, show_default=True, type=click.IntRange(1),
              help="with --shape: forwards to measure, rounded down to whole windows, at least one")
@repeats_option(3)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile the model's layers")
@click.option(
    "--graph", is_flag=True, help="capture steps as CUDA graphs; on a CPU a stand-in runs and no time is measured"
)
@click.option(
    "--poll", default=1, show_default=True, type=click.IntRange(1),
    help="check for finished rows every this many steps",
)
@click.option(
    "--roofline/--no-roofline", default=True, show_default=True,
    help="measure what the device can do, and compare steps with it",
)
@threads_option
@clock_option
@click.option("--recordings", type=click.Path(dir_okay=False, path_type=Path),
              help="JSON file of how many tokens nano committed in each forward; what is missing is added")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="append the results to this JSON file; what it holds already is not measured again",
)
@json_option
def latency(
    model: str | None, shape: str | None, layers: int | None, decoders: tuple[str, ...], every: bool,
    caches: tuple[str, ...], peers: bool, batches: tuple[int, ...], prompt: int, length: int, block: int | None,
    device: str, dtype: str | None, steps: int, repeats: int, compiled: bool, graph: bool, poll: int, roofline: bool,
    threads: int, clock: Any, recordings: Path | None, output: Path | None, as_json: bool,
) -> None:
    """Measure the milliseconds of a step and of its parts: the model's forward, cache traffic, assembling the forward,
    statistics of the logits, the decision, and the host; with p50 and p95, tokens a second, and peak memory. With
    --shape the weights are random, and each forward commits as many tokens as the same decoder and cache committed on
    nano. On a CUDA device, times are taken from events in its stream.

    The roof is a lower bound on the time of a step. It is computed from the bytes that the step moves and the
    operations that it does, and from the bandwidth and arithmetic rate of the device, which are measured first;
    "achieved" is the roof's share of the measured time."""
    import torch

    from decoders import UsageError
    from decoders.models.source import load_model
    from decoders_bench.common.replay import whole_blocks
    from decoders_bench.common.results import document, hardware, record
    from decoders_bench.common.shapes import scaled
    from decoders_bench.latency.measure import net_of
    from decoders_bench.latency.recordings import Recordings
    from decoders_bench.latency.rows import Case
    from decoders_bench.latency.run import Run, cases
    from decoders_bench.latency.tables import latency_table

    if model and (shape or layers):
        raise UsageError("-m takes a model's own weights, --shape and --layers make random ones; leave one out")
    torch.set_num_threads(threads)
    if model:
        loaded = load_model(model, device=device, **({"dtype": dtype} if dtype else {}))
        net = net_of(loaded)
        kind = str(net.dtype if net is not None else torch.get_default_dtype()).removeprefix("torch.")
        first = Case(
            model, device, kind, 1, 0, length, block or loaded.block or 32, "", "", None, compiled, graph, poll, clock
        )
    else:
        loaded, own = None, scaled(shape or "nano")
        window = block or (own.of.block if own.block_causal else 32)
        first = Case(
            shape or "nano", device, dtype or "bfloat16", 1, prompt, length, window, "", "", layers, compiled, graph,
            poll, clock,
        )
        whole_blocks(length, window)
    run = Run(Recordings(recordings), output, steps, repeats, roofline, loaded)
    asked = cases(first, decoders, caches, batches, every, peers and not model)
    with progress() as bar:
        step = bar.add_task("cases", total=len(asked))
        rows, absent = run(asked, lambda: bar.advance(step))
    click.echo(f"{hardware(device)}\n\n{latency_table(rows, absent)}")
    if as_json:
        emit(document("latency", rows, device, absent=[record(a) for a in absent]))
