"""`decoders bench train-roles`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import emit, json_option, progress


@click.command("train-roles")
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="write the head here, as safetensors")
@click.option("-n", "--items", "n", default=400, show_default=True, type=click.IntRange(1), help="training items per task")
@click.option("--seed", default=0, show_default=True)
@json_option
def train_roles(out: Path, n: int, seed: int, as_json: bool) -> None:
    """Train the role head of `logicdiff` on the embedded model's hidden states, and hold it against validation items. About two minutes."""
    import torch

    from decoders.strategies.logicdiff import ROLES
    from decoders_bench.nano.roles import TAUGHT, confusion, examples, train, write

    torch.set_num_threads(1)
    checked = max(1, n // 4)
    with progress() as bar:
        line = bar.add_task("hidden states", total=len(TAUGHT) * (n + checked))
        data, held = (examples(split, k, seed, lambda: bar.advance(line)) for split, k in (("train", n), ("validation", checked)))
    weights = train(data, seed=seed)
    write(out, weights)
    table = confusion(weights, held)
    right = table.diag() / table.sum(1).clamp(min=1)
    for name, share, count in zip(ROLES, right.tolist(), table.sum(1).tolist(), strict=True):
        click.echo(f"{name}: {100 * share:.0f} % of {count} found")
    whole = float(table.diag().sum() / table.sum())
    click.echo(f"all: {100 * whole:.1f} % of {int(table.sum())}; wrote {out}")
    if as_json:
        emit({"command": "train-roles", "file": str(out), "accuracy": whole, "confusion": table.tolist(), "roles": list(ROLES)})
