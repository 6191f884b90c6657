"""Finds the family of a config.json: one of the table, or one of another distribution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from decoders import specs
from decoders.core import UsageError, suggest
from decoders.models.families import FAMILIES, Family

ABSENT = {
    "sumi": "Sumi, whose attention has a softmax with one more term",
}
"""Families that are known but not supported: the start of their type or architecture, in small letters and digits."""


def family_of(config: Mapping[str, Any], where: str) -> Family:
    """The family that a config names: by `diffusion_family`, or by `model_type` and `architectures`. Raises
    `UsageError` if it names none or one that is not known."""
    name = config.get("diffusion_family")
    if isinstance(name, str) and name in FAMILIES:
        return FAMILIES[name]  # without importing other packages
    added, problems = installed()
    every = FAMILIES | added
    left_out = "".join(f"; left out: {problem}" for problem in problems)
    if isinstance(name, str):
        if name not in every:
            raise UsageError(f"{where} is of the unknown family {name!r}{suggest(name, every)}{left_out}")
        return every[name]
    if told := next((f for f in every.values() if recognised(f, config)), None):
        return told
    wide = {f.name for f in FAMILIES.values() if any(a.startswith("*") for a in f.architectures)}
    for f in sorted(every.values(), key=lambda f: (f.name in wide, f.name in added)):
        if claims(f, config):
            return f
    kind, made = named(config)
    names = [re.sub(r"[^a-z0-9]", "", x.lower()) for x in (kind, *made) if isinstance(x, str)]
    if known := next((title for part, title in ABSENT.items() if any(x.startswith(part) for x in names)), None):
        raise UsageError(f"{where} is {known}, which is not among the families that are run here (decoders models)")
    said = f"model_type {kind!r} with {', '.join(made) or 'no architecture'}"
    known = ", ".join(
        f"{' or '.join(f.types) or 'any'} with {' or '.join(f.architectures)}"
        for f in every.values() if f.architectures
    )
    raise UsageError(
        f"the config.json of {where} names no diffusion_family, and {said} is none that is known; known is "
        f"{known}{left_out}"
    )


def named(config: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The type and the architectures of a config."""
    made = config.get("architectures")
    return config.get("model_type"), [a for a in made if isinstance(a, str)] if isinstance(made, list) else []


def recognised(family: Family, config: Mapping[str, Any]) -> bool:
    """Whether a config that has neither type nor architectures has the keys of a family."""
    kind, made = named(config)
    return kind is None and not made and bool(family.keys) and {*family.keys} <= {*config}


def claims(family: Family, config: Mapping[str, Any]) -> bool:
    """Whether the type and the architectures of a config are those of a family."""
    kind, made = named(config)
    typed = kind in family.types if family.types else bool(made)
    known = family.architectures
    fitting = bool(known) and typed and all(any(fits(a, one) for one in known) for a in made)
    fitting = fitting and all(config.get(key) == value for key, value in family.only.items())
    return fitting and (not family.settled or is_settled(config, made))


def installed() -> tuple[dict[str, Family], list[str]]:
    """The families of other distributions (entry points `decoders.families`) by their names, and the reasons why others
    are left out. They come after the built-in families that name their architectures, and before those that accept
    any."""
    found, problems = dict[str, Family](), list[str]()
    for name in specs.table("families"):
        try:
            found[name] = plugged(name)
        except UsageError as e:
            problems.append(str(e))
    return found, problems


def plugged(name: str) -> Family:
    """A family of an entry point, or of `module:NAME` with nothing installed. Raises `UsageError`."""
    found = specs.load("families", name)
    if not isinstance(found, Family):
        raise UsageError(f"family {name!r} is not a Family")
    if ":" not in name and name in FAMILIES:
        raise UsageError(f"there is a built-in family {name!r}, which another distribution cannot have")
    if ":" not in name and name != found.name:
        raise UsageError(f"family {name!r} calls itself {found.name!r}; its entry point has to have its name")
    return found


def get_family(spec: str) -> Family:
    """A family by its name, or by `module:NAME` with nothing installed. Raises `UsageError`."""
    if spec in FAMILIES:
        return FAMILIES[spec]
    if ":" not in spec and spec not in specs.table("families"):
        raise UsageError(f"unknown family {spec!r}{suggest(spec, {*FAMILIES, *specs.table('families')})}")
    return plugged(spec)


def is_settled(config: Mapping[str, Any], made: list[str]) -> bool:
    """Whether a config has no sign of diffusion or of its own code, and its type and class are those of an
    autoregressive model of transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as PAIRS

    foreign = config.get("auto_map") or config.get("mask_token_id") is not None
    return not foreign and made == [PAIRS.get(str(config.get("model_type")))]


def fits(architecture: str, known: str) -> bool:
    return architecture.endswith(known[1:]) if known.startswith("*") else architecture == known
