"""What a constraint is: `KIND:TEXT`, where everything after the first colon is literal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from decoders import specs
from decoders.constraints.automaton import Automaton
from decoders.core import UsageError
from decoders.files import expanded, read_text


@dataclass(frozen=True)
class Constraint:
    """A condition on a text. Subclass it as a frozen dataclass and write `automaton`, or `canvas` if the text is given
    except for its holes."""

    text: str
    """The text after the colon."""

    def automaton(self, spellings: Mapping[int, bytes], vocab: int, ends: tuple[int, ...]) -> Automaton | None:
        """The allowed texts over token ids below `vocab`; `spellings` are the bytes that tokens write, and `ends` the
        stop tokens. None: all texts. Raises `UsageError`."""
        return None

    def canvas(self, encode: Callable[[str], list[int]], mask: str) -> list[int] | None:
        """The token ids of the text, with mask tokens at its holes; `mask` is the text of a mask token. None: the
        constraint gives no text."""
        return None


def constraint_of(spec: str) -> Constraint:
    """The constraint that `KIND:TEXT` describes, or `module:Class:TEXT` with nothing installed. Raises
    `UsageError`."""
    kind, _, text = spec.partition(":")
    path = specs.named(spec, specs.table("constraints"))
    if ":" in path and len(path) < len(spec):
        kind, text = path, spec[len(path) + 1 :]
    if not text:
        raise UsageError(
            f"cannot read the constraint {spec!r}; write {', '.join(f'{k}:...' for k in specs.table('constraints'))}"
        )
    cls = specs.load("constraints", kind)
    if not (isinstance(cls, type) and issubclass(cls, Constraint)):
        raise UsageError(f"constraint {kind!r} is not a Constraint")
    return cls(text)


def read_file(kind: str, path: str) -> str:
    """The text of the file that a constraint names, as an editor shows it: without a byte order mark, its lines ended
    by line feeds. Raises `UsageError`."""
    try:
        return read_text(expanded(path))
    except UsageError as e:
        raise UsageError(f"the constraint {kind}:{e}") from e
