"""`decoders bench train-nano` and `train-roles`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import emit, json_option, progress, seed_option, tracked, workers_option
from decoders_bench.nano.mixes import LATER


@click.command("train-nano")
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False), help="directory of the run, and of its checkpoint"
)
@click.option("--steps", default=7000, show_default=True, type=click.IntRange(1), help="optimiser steps")
@click.option(
    "--start", type=click.Path(exists=True, file_okay=False), metavar="DIR",
    help="begin with the weights of an earlier model, which knows the short tasks",
)
@click.option(
    "--mix", type=click.Choice(list(LATER)),
    help="with --start, the tasks: lists, then texts of a page (pages, the default); mostly what a model of those has "
    "not learnt (unlearnt); mostly edits and brackets (places)",
)
@click.option("--latent", is_flag=True, help="the model of latents, nano-latent, with its rounder")
@workers_option
@seed_option
@json_option
def train_nano(
    out: str, steps: int, start: str | None, mix: str | None, latent: bool, workers: int, seed: int, as_json: bool
) -> None:
    """Train the embedded model; the directory for `-m` is OUT/model. A step takes each process 0.8 to 1.3 s. An
    interrupted run goes on from its last checkpoint when the same command is given again, also with another number of
    steps."""
    from decoders_bench.nano.train import Plan, Run, train, warmed

    if latent and start:
        raise click.UsageError("--latent begins with random weights; leave out --start")
    if mix and not start:
        raise click.UsageError("--mix is for a run that begins with a model; give --start")
    kind, plan = Run, Plan(out, workers=workers, seed=seed)
    if start:
        plan = warmed(plan, start, mix or "pages")
    if latent:
        from decoders_bench.nano.train_latents import LatentRun, recipe

        kind, plan = LatentRun, recipe(plan)
    last: dict[str, Any] = {}
    with progress() as bar:
        line = bar.add_task("training", total=steps)

        def notify(row: dict[str, Any]) -> None:
            bar.update(line, completed=row["step"])
            last.update(row)
            if row["step"] % 25 == 0:
                loss = ", ".join(f"{mode} {x:.2f}" for mode, x in sorted(row["loss"].items()))
                click.echo(f"step {row['step']}, {row['minutes']:.1f} min, {row['examples']} examples, loss: {loss}")

        train(replace(plan, steps=steps), notify, kind)
    click.echo(f"wrote {out}/model")
    if as_json:
        last["loss"] = {mode: float(x) for mode, x in last.get("loss", {}).items()}
        emit({"command": "train-nano", "model": f"{out}/model", **last})


@click.command("train-roles")
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="write the head here, as safetensors",
)
@click.option(
    "-n", "--items", "n", default=400, show_default=True, type=click.IntRange(1), help="training items per task"
)
@seed_option
@json_option
def train_roles(out: Path, n: int, seed: int, as_json: bool) -> None:
    """Train the role head of `role_order` on the embedded model's hidden states, and measure it on validation items. It
    takes two minutes."""
    import torch

    from decoders.strategies.role_order import ROLES
    from decoders_bench.nano.roles import TAUGHT, confusion, examples, train, write

    torch.set_num_threads(1)
    checked = max(1, n // 4)
    with tracked("hidden states", len(TAUGHT) * (n + checked)) as advance:
        data, held = (examples(split, k, seed, advance) for split, k in (("train", n), ("validation", checked)))
    weights = train(data, seed=seed)
    write(out, weights)
    table = confusion(weights, held)
    right = table.diag() / table.sum(1).clamp(min=1)
    for name, share, count in zip(ROLES, right.tolist(), table.sum(1).tolist(), strict=True):
        click.echo(f"{name}: {100 * share:.0f} % of {count} found")
    whole = float(table.diag().sum() / table.sum())
    click.echo(f"all: {100 * whole:.1f} % of {int(table.sum())}; wrote {out}")
    if as_json:
        emit({
            "command": "train-roles", "file": str(out), "accuracy": whole, "confusion": table.tolist(),
            "roles": list(ROLES),
        })
