"""`decoders list`: all plugs, with options, source and owner."""

from __future__ import annotations

import json
from typing import Any

import click

from decoders import catalogue, specs
from decoders.catalogue import Plug
from decoders.cli.models import all_families, table
from decoders.cli.terminal import is_terminal

STORE = (
    "Keys and values of all positions of a row are stored, allocated at its first forward: "
    "2 x layers x key-value heads x head size numbers a position. Nothing is stored where every forward computes all "
    "positions: with none, and with exact if attention is bidirectional."
)
KINDS = (*catalogue.KINDS, "families")
TOLD = ("name", "options", "source", "attested", "capabilities", "distribution")
TOLD_OF_TASKS = ("name", "rungs", "summary", "capabilities", "distribution")
TOLD_OF_OPTIONS = ("name", "type", "default", "min", "max")
"""The fields in JSON."""


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "-m", "--model", metavar="SPEC", help="Show how many bytes the keys and values of a position take in this model."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list for one kind, or an object of all lists.")
def list_(kind: str | None, model: str | None, as_json: bool) -> None:
    """List strategies, caches, presets, models, families and tasks."""
    other = specs.other_owner()
    if other:
        click.echo(
            f"Warning: the distribution {other!r} also installs a package called decoders; uninstall one of the two",
            err=True,
        )
    kinds = (kind,) if kind else KINDS
    plugs = {k: usable(k) for k in kinds if k != "families"}
    families = all_families() if "families" in kinds or kind == "models" else []
    size = column_bytes(model) if model else None
    if as_json:
        described = {k: families if k == "families" else [described_as(k, p, size) for p in plugs[k]] for k in kinds}
        click.echo(json.dumps(described[kind] if kind else described))
        return
    for k in kinds:
        if k in plugs:
            click.echo("\n".join((f"{k}:", *map(written, plugs[k]))))
        if k == "families" or kind == "models":
            click.echo("\n".join(("families of checkpoints:", *(f"  {line}" for line in table(families)))))
        if k == "caches":
            click.echo(f"  {STORE}{f' In {model}: {size:,} bytes.' if model else ''}")


def usable(kind: str) -> list[Plug]:
    """All plugs of a kind that can be used; a warning on stderr names each of the others."""
    found = catalogue.plugs(kind)
    for plug in found:
        if plug["problem"]:
            click.echo(f"Warning: left out: {plug['problem']}", err=True)
    return [plug for plug in found if not plug["problem"]]


def column_bytes(model: str) -> int:
    from decoders.models.source import load_model

    return load_model(model).model.column_bytes


def described_as(kind: str, plug: Plug, size: int | None) -> dict[str, Any]:
    """A plug for JSON; for a cache also `size`, the bytes of a position in a model."""
    if kind == "tasks":
        return {name: plug[name] for name in TOLD_OF_TASKS}
    told = {name: plug[name] for name in TOLD}
    told["options"] = [{name: o[name] for name in TOLD_OF_OPTIONS} for o in plug["options"]]
    return told | ({"kv_bytes_per_position": size} if kind == "caches" else {})


def written(plug: Plug) -> str:
    """A plug as a paragraph."""
    head = click.style(plug["name"], bold=True) if is_terminal() else plug["name"]
    ways = ", ".join(x.replace("_", " ") for x in plug["capabilities"])
    facts = (plug["source"], plug["attested_by"], ", ".join(plug["rungs"]), ways, f"from {plug['distribution']}")
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
