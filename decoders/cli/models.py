"""`decoders models`: the families of checkpoints, each with an example that can be downloaded and its memory."""

from __future__ import annotations

import json
from typing import Any

import click

from decoders import catalogue
from decoders.cli.terminal import aligned

HEAD = "family", "for example", "bf16 / int8 / int4", "decoder", "cache", "block"
NOTES = (
    "The sizes are those of the example's weights, approximately; activations and the KV cache come on top.",
    "int8 and int4: --quantize, after loading. Experts that are stored in one tensor are not converted.",
)


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def models(as_json: bool) -> None:
    """List families of checkpoints: an example, memory, defaults."""
    found = all_families()
    click.echo(json.dumps(found) if as_json else "\n".join(table(found)))


def all_families() -> list[dict[str, Any]]:
    """Every family; a warning gives the reason for each that is left out."""
    found, problems = catalogue.known_families()
    for problem in problems:
        click.echo(f"Warning: left out: {problem}", err=True)
    return found


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines for a terminal."""
    lines = aligned([HEAD, *map(row, found)])
    code = [f["family"] for f in found if f["trust_remote_code"]]
    return [*lines, *NOTES, f"Only with --trust-remote-code, because only its own code runs it: {', '.join(code)}."]


def row(f: dict[str, Any]) -> tuple[str, ...]:
    size = f["gigabytes"]
    unknown = {"nano": "built in", "causal": "made here"}.get(f["family"], "")
    memory = " / ".join(f"{size[p]:.3g}" for p in size) + " GB" if size else unknown
    block = "whole row" if f["block"] is None else str(f["block"])
    return f["family"], f["example"], memory, f["decoder"], f["cache"], block
