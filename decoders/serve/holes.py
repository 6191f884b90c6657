"""Where the text of an answer stands: behind the prompt, in holes of it, or between it and a suffix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from decoders.generator import Generator
from decoders.serve.asks import Ask
from decoders.serve.refusals import RefusedError
from decoders.text.encoding import Prompt
from decoders.text.records import Generation


@dataclass(frozen=True)
class Place:
    """`tokens`: those of the prompt that are no holes. `span`: the positions between a prompt and its suffix; None
    where all of the text is the answer."""

    decode: Callable[[Sequence[int]], str]
    hole: int | None = None
    suffixed: bool = False
    tokens: int = 0
    span: tuple[int, int] | None = None

    def found(self, prompt: Sequence[int]) -> Place:
        """The place in a prompt of these token ids."""
        holes = [i for i, token in enumerate(prompt) if token == self.hole]
        span = (holes[0], holes[-1] + 1) if self.suffixed else None
        return replace(self, tokens=len(prompt) - len(holes), span=span)

    def only(self, made: Generation) -> Generation:
        """What was made, without the prompt and the suffix."""
        if self.span is None:
            return made
        tokens = made.tokens[slice(*self.span)]
        return replace(made, tokens=tokens, text=self.decode(tokens))


def between(generator: Generator, ask: Ask, prompt: Any) -> tuple[Prompt, dict[str, Any], Place]:
    """The prompt for the generator, how it is decoded, and where the answer will stand. A suffix leaves as many holes
    as the answer has tokens. Raises `RefusedError`."""
    decode, model = generator.loaded.tokenizer.decode, generator.loaded.model
    if not ask.suffix:
        return cast(Prompt, prompt), ask.how, Place(decode, model.mask_id if ask.infill else None)
    mask = generator.mask
    if not mask:
        raise RefusedError(400, "the model has no mask token, so it cannot write before a suffix", "suffix")
    if mask in prompt or mask in ask.suffix:
        raise RefusedError(400, f"with a suffix neither text can hold {mask}", "suffix")
    holes = generator.loaded.length if ask.how["length"] is None else ask.how["length"]
    if generator.loaded.positions is not None and holes > generator.loaded.positions:
        raise RefusedError(400, f"max_tokens is beyond the {generator.loaded.positions} of the model", "max_tokens")
    how = ask.how | {"length": 0, "infill": True}
    return prompt + mask * holes + ask.suffix, how, Place(decode, model.mask_id, suffixed=True)
