"""Options that have moved: how a spec of an older spelling is read."""

from __future__ import annotations

from collections.abc import Mapping

from decoders.core import Part, options


def moved(
    given: dict[str, str], option: str, kind: type[Part], default: str, names: Mapping[str, str]
) -> dict[str, str]:
    """The written options, with those of `names` (old to new) as options of the part that `option` chooses among
    `kind`, or of `default` if it says nothing. What that part does not have had no effect, and is left out."""
    found = {new: given[old] for old, new in names.items() if old in given}
    if not found:
        return given
    rest = {key: text for key, text in given.items() if key not in names}
    part = rest.get(option, default)
    # unknown, or with options of its own: then nothing is old, and what does not fit is told
    if part not in kind.known():
        return given
    own = ",".join(f"{key}={text}" for key, text in found.items() if key in options(kind.known()[part]))
    return rest | ({option: f"({part}:{own})"} if own else {})
