"""`decoders list`: what there is, with options, source and owner."""

from __future__ import annotations

import json
from typing import Any

import click

from decoders import registry, specs
from decoders.cli.models import family_lines
from decoders.cli.show import is_terminal
from decoders.core import ATTESTED, Option, options
from decoders.registry import Entry

KINDS = ("strategies", "caches", "presets", "models")
STORE = (
    "Every policy keeps keys and values of all positions of a row, from its first forward on and without growth: "
    "2 x layers x key-value heads x head size numbers a position."
)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "-m", "--model", metavar="SPEC", help="Say how many bytes a position's keys and values take in this model."
)
@click.option("--json", "as_json", is_flag=True, help="A list of objects for one kind, an object of all lists without.")
def list_(kind: str | None, model: str | None, as_json: bool) -> None:
    """List strategies, caches, presets and models."""
    other = specs.other_owner()
    if other:
        click.echo(
            f"Warning: the distribution {other!r} also installs a package called decoders; uninstall one of the two",
            err=True,
        )
    kinds = (kind,) if kind else KINDS
    found = {k: registry.entries(k) for k in kinds}
    for e in (e for k in kinds for e in found[k] if e.problem):
        click.echo(f"Warning: left out: {e.problem}", err=True)
    usable = {k: [e for e in found[k] if not e.problem] for k in kinds}
    size = column_bytes(model) if model else None
    if as_json:
        described = {
            k: [described_as(e) | ({"kv_bytes_per_position": size} if k == "caches" else {}) for e in usable[k]]
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


def described_as(e: Entry) -> dict[str, Any]:
    return {
        "name": e.name,
        "options": [
            {"name": o.name, "type": o.type, "default": plain(o.default), "min": o.min, "max": o.max} for o in e.options
        ],
        "source": e.source,
        "attested": e.attested,
        "capabilities": list(e.capabilities),
        "distribution": e.distribution,
    }


def plain(default: Any) -> Any:
    """A default as JSON can hold it; a plug becomes its spec."""
    return default if default is None or isinstance(default, bool | int | float | str) else registry.spelled(default)


def written(e: Entry) -> str:
    """A paragraph about a plug."""
    head = click.style(e.name, bold=True) if is_terminal() else e.name
    known = ATTESTED[e.attested] if e.attested else ""
    facts = (e.source, known, ", ".join(x.replace("_", " ") for x in e.capabilities), f"from {e.distribution}")
    lines = [f"  {head}  ({'; '.join(f for f in facts if f)})", f"      {e.summary}"]
    for o in e.options:
        low, high = o.min is not None, o.max is not None
        bounds = (
            f", {o.min} to {o.max}"
            if low and high
            else f", at least {o.min}"
            if low
            else f", at most {o.max}"
            if high
            else ""
        )
        lines.append(f"      {o.name}={registry.spelled(o.default)}  {o.type}{bounds}{': ' if o.help else ''}{o.help}")
        lines += choices(o)
    return "\n".join(lines)


def choices(o: Option) -> list[str]:
    """A line about each part that an option chooses from, with the options of that."""
    known = o.part.known() if o.part else {}
    written = {
        name: {x.name: registry.spelled(x.default) for x in options(part).values()} for name, part in known.items()
    }
    return [
        f"          {specs.joined(name, written[name])}  {registry.summary_of(part)}" for name, part in known.items()
    ]
