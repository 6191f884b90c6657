"""Options that have moved: reading specs in an older spelling."""

from __future__ import annotations

from collections.abc import Mapping

from decoders.core import Part, options


def moved(
    given: dict[str, str], option: str, kind: type[Part], default: str, names: Mapping[str, str]
) -> dict[str, str]:
    """The written options, with those of `names` (old to new) as options of the part that `option` chooses among
    `kind`, or of `default` if it says nothing. Options that this part does not have had no effect, and are left out."""
    found = {new: given[old] for old, new in names.items() if old in given}
    if not found:
        return given
    rest = {key: text for key, text in given.items() if key not in names}
    part = rest.get(option, default)
    # unknown, or with its own options: the spec is not an old one, and mistakes in it are reported as usual
    if part not in kind.known():
        return given
    own = ",".join(f"{key}={text}" for key, text in found.items() if key in options(kind.known()[part]))
    return rest | ({option: f"({part}:{own})"} if own else {})
