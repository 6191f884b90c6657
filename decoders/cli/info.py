"""`decoders info`: describes a checkpoint, its memory, and whether it fits on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from decoders.files import readable

if TYPE_CHECKING:
    from decoders.models.glance import Glance

TAKES = {"float32": 4, "bfloat16": 2}
"""Bytes of a weight, for the values of `--dtype`."""


@click.command("info")
@click.option(
    "-m", "--model", required=True, metavar="PATH",
    help="The directory of a checkpoint, nano, or ORG/NAME[@REVISION] on the hub, of which no weights are fetched.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def info(model: str, as_json: bool) -> None:
    """Describe a checkpoint, and say whether it fits on this machine."""
    from decoders.models.glance import glance

    found, free = glance(model), memory()
    if as_json:
        click.echo(json.dumps(asdict(found) | {"takes": takes(found), "free": free}))
        return
    click.echo("\n".join([*about(found), *fits(found, free)]))


def takes(g: Glance) -> dict[str, int]:
    """Bytes of the weights in each precision, or as they are stored if they are quantised."""
    if g.quantised:
        return {"quantised": g.bytes}
    return {name: g.parameters * size for name, size in TAKES.items()}


def memory() -> dict[str, int]:
    """Free bytes on each device of this machine."""
    import torch

    from decoders.engine.sizes import free_bytes

    cards = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return {name: free_bytes(torch.device(name)) for name in ("cpu", *cards)}


def about(g: Glance) -> list[str]:
    kinds = ", ".join(f"{n:,} in {kind}" for kind, n in g.stored.items())
    block = "one window over the whole row" if g.block is None else f"windows of {g.block}"
    unmasked = "autoregressive" if g.attention == "causal" else "no mask token: blanks are noise"
    mask = unmasked if g.mask_id is None else f"mask token {g.mask_id}"
    lines = [
        g.where, f"  family      {g.family}",
        f"  attention   {g.attention}, {block}",
        f"  predicts    position i {'+ 1 ' if g.shifted else ''}at output i; {mask}",
        f"  weights     {kinds}: {readable(g.bytes)}",
    ]
    if g.positions:
        lines.append(f"  positions   {g.positions:,} at most, prompt included")
    if g.column:
        lines.append(f"  cache       {readable(2 * g.column)} a position and row in bfloat16")
    if g.remote:
        lines.append("  code        only its own runs it: --trust-remote-code")
    return lines


def fits(g: Glance, free: dict[str, int]) -> list[str]:
    """What the weights take, and for each device how they fit into its free memory."""
    sizes = takes(g)
    parts = (f"{readable(size)} ({name})" for name, size in sizes.items())
    head = "  takes       " + ", ".join(parts)
    rows = []
    for device, room in free.items():
        good = ", ".join(name for name, size in sizes.items() if size <= room)
        rows.append(f"  {device:<11} {readable(room)} free: weights {f'fit ({good})' if good else 'do not fit'}")
    return [head, *rows]
