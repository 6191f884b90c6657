"""What `decoders list` shows of the built-in plugs, stored in a file: so the command lists them, and finds a mistake in
a spec, without importing them, which takes torch and seconds.

`python -m decoders.catalogue` writes the file; a test fails if it is out of date. Plugs of other distributions are
imported.
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
"""The description of a plug: a `decoders.registry.Entry` as JSON."""


@cache
def written_down() -> dict[str, Any]:
    """The content of the file: plugs by kind and entry point, and the families of checkpoints."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def own(kind: str, name: str) -> str | None:
    """The line of the entry point, if this package and no other distribution has a plug of that name."""
    found = specs.table(kind).get(name, ())
    return f"{name} = {found[0].value}" if [specs.owner(e) for e in found] == [DISTRIBUTION] else None


def known(kind: str, name: str) -> Plug | None:
    """The stored description of a plug, if the name is that of a built-in one."""
    line = own(kind, name)
    plug: Plug | None = written_down().get(kind, {}).get(line) if line else None
    return plug


def plugs(kind: str) -> list[Plug]:
    """All plugs of a kind, ordered by name."""
    return [known(kind, name) or imported(kind, name) for name in specs.table(kind)]


def imported(kind: str, name: str) -> Plug:
    """The description that a plug gives of itself when it is imported."""
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
        # JSON cannot hold a plug, so its spec stands for it
        "default": default if isinstance(default, bool | int | float | str | None) else registry.spelled(default),
        "spelled": registry.spelled(default), "min": o.min, "max": o.max, "help": o.help,
        "parts": [[registry.with_defaults(name, part), registry.summary_of(part)] for name, part in parts.items()],
    }


def families() -> list[dict[str, Any]]:
    """Every family of the table, with its defaults."""
    from decoders.models.families import FAMILIES

    return [family(f) for f in FAMILIES.values()]


def known_families() -> tuple[list[dict[str, Any]], list[str]]:
    """The stored families and those of other distributions, and for each that had to be left out the reason."""
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
    """Raises `UsageError` for a spec with an unknown name or an unknown option. Mistakes that only show when the plug
    is imported are found when it is made."""
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
    """Write the file."""
    every: dict[str, Any] = {
        kind: {line: imported(kind, name) for name in specs.table(kind) if (line := own(kind, name))} for kind in KINDS
    }
    text = json.dumps(every | {"families": families()}, indent=1, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
