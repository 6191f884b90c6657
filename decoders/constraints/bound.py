"""A constraint over the tokens of one model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from decoders.constraints.automaton import Automaton
from decoders.constraints.base import Constraint
from decoders.constraints.constrained import Constrained, check_fits
from decoders.constraints.spelling import spellings
from decoders.core import Decoder, UsageError
from decoders.text.encoding import Encoding


@dataclass(frozen=True)
class Bound:
    """A constraint with a model's tokenizer and vocabulary."""

    constraint: Constraint
    encoding: Encoding

    def canvas(self, infill: bool) -> list[int] | None:
        """The token ids of the whole text with its holes, if the constraint is a template. Raises `UsageError`."""
        if infill:
            raise UsageError("a constraint is about the text after a prompt, so it cannot be used with infill")
        return self.constraint.canvas(self.encoding.ids, self.encoding.mask)

    @cached_property
    def compiled(self) -> Automaton | None:
        """The automaton, built at the first use because that can take seconds. Raises `UsageError`."""
        loaded = self.encoding.loaded
        model, ends = loaded.model, loaded.model.stop_ids
        known = spellings(loaded.tokenizer, model.vocab, (*loaded.never, *ends))
        found = self.constraint.automaton(known, model.vocab, ends)
        return found and found.to(model.device)

    def automaton(self, length: int) -> Automaton | None:
        """The allowed texts; None: all. Raises `UsageError` if none of them fits into `length` positions."""
        if self.compiled:
            check_fits(self.compiled, length)
        return self.compiled

    def on(self, decoder: Decoder, length: int) -> Decoder:
        """A decoder that satisfies the constraint in the `length` positions after a prompt. Raises `UsageError` as
        `automaton` does."""
        automaton = self.automaton(length)
        return Constrained(decoder, automaton, length) if automaton else decoder
