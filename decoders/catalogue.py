"""What `decoders list` tells of the plugs that come with this package, written down beforehand: it is told, and a
mistake in a spec is found, without importing them, which takes torch and seconds.

`python -m decoders.catalogue` writes it down anew; a test says when that is due. Plugs of others are imported.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoders import specs
from decoders.errors import no_option
from decoders.tree import DISTRIBUTION

if TYPE_CHECKING:
    from decoders.models.families import Family
    from decoders.registry import Entry

FILE = Path(__file__).with_suffix(".json")
KINDS = ("strategies", "caches", "presets", "models", "tasks")

PRECISIONS = {"bf16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes of a weight."""

Plug = dict[str, Any]
"""What is told of one: `decoders.registry.Entry` as JSON holds it."""


@cache
def written_down() -> dict[str, Any]:
    """What is in the file: plugs by kind and entry point, and the families of checkpoints."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def own(kind: str, name: str) -> str | None:
    """The line of the entry point, if the name is that of a plug of this package and of no other's."""
    found = specs.table(kind).get(name, ())
    return f"{name} = {found[0].value}" if [specs.owner(e) for e in found] == [DISTRIBUTION] else None


def known(kind: str, name: str) -> Plug | None:
    """What is written down of a plug, if it is the one of this package that has the name."""
    line = own(kind, name)
    plug: Plug | None = written_down().get(kind, {}).get(line) if line else None
    return plug


def plugs(kind: str) -> list[Plug]:
    """All of a kind, by name."""
    return [known(kind, name) or imported(kind, name) for name in specs.table(kind)]


def imported(kind: str, name: str) -> Plug:
    """What the plug says of itself."""
    from decoders.registry import entry

    return told(entry(kind, name))


def told(e: Entry) -> Plug:
    from decoders.core import ATTESTED

    return {
        "name": e.name,
        "options": [option(o) for o in e.options],
        "summary": e.summary,
        "source": e.source,
        "attested": e.attested,
        "attested_by": ATTESTED[e.attested] if e.attested else "",
        "capabilities": list(e.capabilities),
        "rungs": list(e.rungs),
        "distribution": e.distribution,
        "older": e.older,
        "problem": e.problem,
    }


def option(o: Any) -> Plug:
    from decoders import registry

    default = o.default
    parts = o.part.known() if o.part else {}
    return {
        "name": o.name, "type": o.type,
        # as JSON can hold it: a plug becomes its spec
        "default": default if isinstance(default, bool | int | float | str | None) else registry.spelled(default),
        "spelled": registry.spelled(default), "min": o.min, "max": o.max, "help": o.help,
        "parts": [[registry.with_defaults(name, part), registry.summary_of(part)] for name, part in parts.items()],
    }


def families() -> list[dict[str, Any]]:
    """Every family of the table, with the defaults for it."""
    from decoders.models.families import FAMILIES

    return [family(f) for f in FAMILIES.values()]


def known_families() -> tuple[list[dict[str, Any]], list[str]]:
    """Those that are written down and those of other distributions, and why others of theirs are left out."""
    if not specs.table("families"):
        return written_down()["families"], []
    from decoders.models.recognition import installed

    added, problems = installed()
    return [*written_down()["families"], *map(family, added.values())], problems


def family(f: Family) -> dict[str, Any]:
    blocks = f.attention(f.example) != "bidirectional"
    told = f"config.json with {', '.join(f.keys)}" if f.keys else f"diffusion_family: {f.name}"
    return {
        "family": f.name,
        "example": f.example or f.name,
        "known_by": [*f.types, *f.architectures] if f.architectures else [told],
        "gigabytes": {name: f.billions * size for name, size in PRECISIONS.items()} if f.billions else None,
        "decoder": f.decoder,
        "cache": "exact",
        "block": (f.window or f.block) if blocks else None,
        "trust_remote_code": f.remote,
    }


def check(kind: str, spec: str) -> None:
    """Raises `UsageError` for a spec whose name, or the name of one of whose options, is known to be wrong; what it
    cannot say without importing anything is for whoever makes the plug."""
    name, given = specs.split(kind, spec)
    if ":" in name:
        return
    if name not in specs.names(kind):
        raise specs.unknown(kind, name)
    plug = known(kind, name)
    if plug is None or plug["older"]:
        return
    options = [o["name"] for o in plug["options"]]
    for key in given:
        if key not in options:
            raise no_option(name, key, options)


def write() -> None:
    """Write the file anew."""
    every: dict[str, Any] = {
        kind: {line: imported(kind, name) for name in specs.table(kind) if (line := own(kind, name))} for kind in KINDS
    }
    text = json.dumps(every | {"families": families()}, indent=1, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
