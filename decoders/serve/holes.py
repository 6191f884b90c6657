"""The place of an answer: after the prompt, in holes of it, or between it and a suffix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from decoders.constraints.merge import Merge
from decoders.generator import Generator
from decoders.serve.asks import Ask, Kind
from decoders.serve.edits import Region, Update
from decoders.serve.refusals import RefusedError
from decoders.text.encoding import Prompt
from decoders.text.records import Generation

Canvas = tuple[Prompt, dict[str, Any], "Place"]
"""A prompt for the generator, how it is decoded, and the place of the answer."""


@dataclass(frozen=True)
class Place:
    """`tokens`: those of the prompt that are no holes. `span`: the positions between a prompt and a suffix; None if the
    whole text is the answer. `stop`: strings that end the answer."""

    decode: Callable[[Sequence[int]], str]
    hole: int | None = None
    inside: bool = False
    tokens: int = 0
    span: tuple[int, int | None] | None = None
    stop: tuple[str, ...] = ()

    def found(self, prompt: Sequence[int]) -> Place:
        """The place in a prompt of these token ids."""
        holes = [i for i, token in enumerate(prompt) if token == self.hole]
        between = (holes[0], holes[-1] + 1) if holes else (len(prompt), None)
        span = between if self.inside else None
        return replace(self, tokens=len(prompt) - len(holes), span=span)

    def only(self, made: Generation) -> Generation:
        """The generated text, without the prompt and the suffix, up to a stop string."""
        if self.span is None:
            return made
        tokens = made.tokens[slice(*self.span)]
        text = self.decode(tokens)
        cut = min((i for end in self.stop if (i := text.find(end)) >= 0), default=None)
        if cut is None:
            return replace(made, tokens=tokens, text=text)
        kept = next(n for n in range(len(tokens) + 1) if self.decode(tokens[:n]).startswith(text[:cut]))
        return replace(
            made, tokens=tokens[:kept], text=text[:cut], generated_tokens=kept, finish_reason="stop",
            commit_steps=made.commit_steps[:kept], logprobs=made.logprobs and made.logprobs[:kept],
            top_logprobs=made.top_logprobs and made.top_logprobs[:kept],
        )


def canvases(generator: Generator, ask: Ask, prompt: Any) -> list[Canvas]:
    """Those for one text; where there are several, one of them will be chosen. A suffix leaves as many holes as the
    answer has tokens. Raises `RefusedError`."""
    decode, model = generator.loaded.tokenizer.decode, generator.loaded.model
    if isinstance(prompt, Region):
        tokens, most = len(generator.ids(prompt.code)), ask.how["length"]
        sizes = prompt.sizes(tokens, most)
        if prompt.after.strip():
            return [between(generator, ask, prompt.before, n, prompt.after) for n in sizes]
        room = tokens + generator.loaded.length
        return [between(generator, ask, prompt.before, 0, "", behind=min(room, most or room))]
    if isinstance(prompt, Update):
        return [merging(generator, ask, prompt)]
    if not ask.suffix:
        return [(cast(Prompt, prompt), ask.how, Place(decode, model.mask_id if ask.infill else None))]
    holes = generator.loaded.length if ask.how["length"] is None else ask.how["length"]
    return [between(generator, ask, prompt, holes, ask.suffix)]


def between(generator: Generator, ask: Ask, before: str, holes: int, after: str, behind: int = 0) -> Canvas:
    """A canvas with so many holes between two texts. Raises `RefusedError`."""
    mask, most, what = generator.mask, generator.loaded.positions, "messages" if ask.kind is Kind.EDIT else "suffix"
    if not mask:
        raise RefusedError(400, "the model has no mask token, so it cannot write between two texts", what)
    if generator.decoder.moves_text:
        name = type(generator.decoder).__name__
        raise RefusedError(400, f"{name} moves text; send one prompt with {mask} where it writes, and infill", what)
    if mask in before or mask in after:
        raise RefusedError(400, f"neither text can hold {mask}, which stands for the answer", what)
    if most is not None and holes > most:
        raise RefusedError(400, f"max_tokens is beyond the {most} of the model", "max_tokens")
    how = ask.how | {"length": behind, "infill": True, "stop": (), "logprobs": ask.how.get("logprobs", True)}
    place = Place(
        generator.loaded.tokenizer.decode, generator.loaded.model.mask_id, inside=True, stop=ask.how["stop"]
    )
    return before + mask * holes + after, how, place


def merging(generator: Generator, ask: Ask, update: Update) -> Canvas:
    """The merge of an update, with room for both whole texts and a stop token."""
    merge = Merge(
        "the merge of the update into the original", update.original, update.pieces, update.opens, update.closes,
        generator.ids,
    )
    room, most = merge.longest + bool(generator.model.stop_ids), generator.loaded.positions
    if most is not None and room > most:
        raise RefusedError(400, f"the merge may need {room} tokens, beyond the {most} of the model", "messages")
    length = room if ask.how["length"] is None else min(ask.how["length"], room)
    how = ask.how | {"length": length, "constraint": merge}
    return update.prompt, how, Place(generator.loaded.tokenizer.decode)
