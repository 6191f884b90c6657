"""`decoders list`: what there is, with options, source and owner."""

from __future__ import annotations

import json
from typing import Any

import click

from decoders import catalogue, specs
from decoders.catalogue import KINDS, Plug
from decoders.cli.models import family_lines
from decoders.cli.terminal import is_terminal

STORE = (
    "Every policy keeps keys and values of all positions of a row, from its first forward on and without growth: "
    "2 x layers x key-value heads x head size numbers a position."
)
TOLD = ("name", "options", "source", "attested", "capabilities", "distribution")
TOLD_OF_OPTIONS = ("name", "type", "default", "min", "max")
"""What is in the JSON."""


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "-m", "--model", metavar="SPEC", help="Show how many bytes the keys and values of a position take in this model."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list for one kind, or an object of all lists.")
def list_(kind: str | None, model: str | None, as_json: bool) -> None:
    """List strategies, caches, presets and models."""
    other = specs.other_owner()
    if other:
        click.echo(
            f"Warning: the distribution {other!r} also installs a package called decoders; uninstall one of the two",
            err=True,
        )
    kinds = (kind,) if kind else KINDS
    found = {k: catalogue.plugs(k) for k in kinds}
    for plug in (plug for k in kinds for plug in found[k] if plug["problem"]):
        click.echo(f"Warning: left out: {plug['problem']}", err=True)
    usable = {k: [plug for plug in found[k] if not plug["problem"]] for k in kinds}
    size = column_bytes(model) if model else None
    if as_json:
        described = {
            k: [described_as(p) | ({"kv_bytes_per_position": size} if k == "caches" else {}) for p in usable[k]]
            for k in kinds
        }
        click.echo(json.dumps(described[kind] if kind else described))
        return
    for k in kinds:
        for text in (f"{k}:", *map(written, usable[k])):
            click.echo(text)
        if kind == "models":
            click.echo("\n".join(family_lines()))
        if k == "caches":
            click.echo(f"  {STORE}{f' In {model}: {size:,} bytes.' if model else ''}")


def column_bytes(model: str) -> int:
    from decoders.models.source import load_model

    return load_model(model).model.column_bytes


def described_as(plug: Plug) -> dict[str, Any]:
    told = {name: plug[name] for name in TOLD}
    return told | {"options": [{name: o[name] for name in TOLD_OF_OPTIONS} for o in plug["options"]]}


def written(plug: Plug) -> str:
    """A paragraph about a plug."""
    head = click.style(plug["name"], bold=True) if is_terminal() else plug["name"]
    ways = ", ".join(x.replace("_", " ") for x in plug["capabilities"])
    facts = (plug["source"], plug["attested_by"], ways, f"from {plug['distribution']}")
    lines = [f"  {head}  ({'; '.join(f for f in facts if f)})", f"      {plug['summary']}"]
    for o in plug["options"]:
        told = f"{o['type']}{bounds(o['min'], o['max'])}{': ' if o['help'] else ''}{o['help']}"
        lines.append(f"      {o['name']}={o['spelled']}  {told}")
        lines += [f"          {spec}  {summary}" for spec, summary in o["parts"]]
    return "\n".join(lines)


def bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f", at most {high}"
    return f", at least {low}" if high is None else f", {low} to {high}"
