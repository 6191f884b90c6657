"""`decoders models`: the families of checkpoints, each with one that can be fetched and what it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from decoders.cli.show import aligned

if TYPE_CHECKING:
    from decoders.models.families import Family

PRECISIONS = {"bf16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes of a weight."""
HEAD = "family", "for example", "bf16 / int8 / int4", "decoder", "cache", "block"
NOTES = (
    "The weights of the example take about so much; what is computed with them comes on top.",
    "int8 and int4: --quantize, once they are read. Experts that are stored together are not brought to it.",
)


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
def models(as_json: bool) -> None:
    """Families of checkpoints: an example, memory, defaults."""
    found = described()
    click.echo(json.dumps(found) if as_json else "\n".join(table(found)))


def described() -> list[dict[str, Any]]:
    """Every family of the table, with the defaults for it. Nothing is the default for a model without a mask token,
    which takes a decoder that works on noise: that of its makers stands there."""
    from decoders.models.families import FAMILIES

    return [described_as(f) for f in FAMILIES.values()]


def described_as(f: Family) -> dict[str, Any]:
    blocks = f.attention(f.example) != "bidirectional"
    return {
        "family": f.name,
        "example": f.example or f.name,
        "known_by": [*f.types, *f.architectures] if f.architectures else [f"diffusion_family: {f.name}"],
        "gigabytes": {name: f.billions * size for name, size in PRECISIONS.items()} if f.billions else None,
        "decoder": "left_to_right" if f.attentions == ("causal",) else "gemma" if f.mask == "none" else "threshold",
        "cache": "exact",
        "block": (f.window or f.block) if blocks else None,
        "trust_remote_code": f.remote,
    }


def family_lines() -> list[str]:
    """The table of all families, indented, under a heading."""
    return ["families of checkpoints:", *(f"  {line}" for line in table(described()))]


def table(found: list[dict[str, Any]]) -> list[str]:
    """Lines for a terminal."""
    lines = aligned([HEAD, *map(row, found)])
    code = [f["family"] for f in found if f["trust_remote_code"]]
    return [*lines, *NOTES, f"Only with --trust-remote-code, because only its own code runs it: {', '.join(code)}."]


def row(f: dict[str, Any]) -> tuple[str, ...]:
    size = f["gigabytes"]
    unknown = "built in" if f["family"] == "nano" else "no example"
    memory = " / ".join(f"{size[p]:.3g}" for p in PRECISIONS) + " GB" if size else unknown
    block = "whole row" if f["block"] is None else str(f["block"])
    return f["family"], f["example"], memory, f["decoder"], f["cache"], block
