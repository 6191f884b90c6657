"""`decoders bench demo`."""

from __future__ import annotations

import click

from decoders_bench.common.options import decoders_option, emit, json_option, tasks_option

DECODERS = ("left_to_right", "llada", "threshold:tau=0.9", "factor:f=1.0")
TASKS = ("chain/hard", "answer_first/hard", "extract/hard", "sudoku/easy", "shuffle/hard")


@click.command("demo")
@decoders_option(DECODERS)
@tasks_option(TASKS)
@click.option("-m", "--model", default="nano", show_default=True, help="model to decode with")
@click.option("--seed", default=0, show_default=True, help="another seed takes other test prompts")
@json_option
def demo(decoders: tuple[str, ...], tasks: tuple[str, ...], model: str, seed: int, as_json: bool) -> None:
    """Decode one test prompt of each task with several decoders, and show the answers, whether they are right, and the
    forward passes."""
    from decoders.cli.threads import one_thread_if_small
    from decoders.models.source import load_model
    from decoders_bench.demo.show import show
    from decoders_bench.tasks import chosen

    loaded = load_model(model)
    one_thread_if_small(loaded.model)
    rows = [row for task, rung in chosen(tasks) for row in show(task, rung, decoders, loaded, seed)]
    if as_json:
        emit({"command": "demo", "rows": rows})
