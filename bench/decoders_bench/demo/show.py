"""One test prompt of a task under several decoders, with grades of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from decoders import Generator
from decoders.models.loaded import Loaded
from decoders_bench.tasks import GENERATED, items


def show(task_name: str, rung: str, decoders: Sequence[str], model: Loaded, seed: int) -> list[dict[str, Any]]:
    """Print the prompt, then a table: decoder, answer, right or wrong, forward passes, tokens per forward pass,
    seconds. The rows are also returned as records."""
    records = []
    task = GENERATED[task_name]
    (item,) = items(task, rung, "test", 1, seed)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=120)
    console.print(Text(f"{task_name}/{rung}: ", style="bold") + Text(item.prompt))
    table = Table(
        Column("decoder", no_wrap=True), Column("answer", ratio=1), "right", "NFE", "tokens/NFE", "seconds",
        expand=True,
    )
    for spec in decoders:
        (g,) = Generator(model, spec)([item.prompt], length=task.length[rung], seed=seed)
        grade = task.grade(item.problem, g.text)
        verdict = "yes" if grade.exact and grade.work is not False else "answer only" if grade.exact else "no"
        records.append({"task": task_name, "rung": rung, "prompt": item.prompt, "verdict": verdict, **g.record()})
        table.add_row(
            Text(g.decoder), Text(g.text), Text(verdict, style="green" if verdict == "yes" else "red"),
            str(g.nfe), f"{g.tokens_per_forward:.1f}", f"{g.seconds:.2f}",
        )
    console.print(table)
    return records
