"""What a run of the `Generator` does: prompts on their way to what becomes of them, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from decoders.core import Canvas, Event, Row, RowError, Rule, UsageError
from decoders.reasoning.base import ReasonerError, Reasoning
from decoders.settings import Setup
from decoders.text.encoding import Encoding, Prompt
from decoders.text.reasons import Reasons
from decoders.text.records import Generation
from decoders.text.stopping import NoStopInHoles, StopStrings
from decoders.text.written import Text, filled, written

Listener = Callable[[Event], None]
Result = tuple[int, Generation | UsageError]
"""The index of a prompt, and what became of it."""


class Batch(NamedTuple):
    """Prompts that are decoded together, a row each."""

    prompts: tuple[int, ...]
    """Their indices."""
    reasonings: tuple[Reasoning | None, ...]


@dataclass(frozen=True)
class Item:
    """A prompt on its way. `index` is its place among those of the run, `tokens` what it is to the model, once that is
    known."""

    index: int
    prompt: Prompt
    seed: int
    reasoning: Reasoning | None
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """What the prompts of a run have in common, checked and with its defaults filled in."""

    setup: Setup
    encoding: Encoding
    reasons: Reasons | None
    """None: no reasoner is asked, and what is in the items is taken."""
    length: int
    """Positions after each prompt."""
    template: tuple[int, ...]
    """The token ids of those positions, with their holes, where a constraint gives them."""
    infill: bool
    stop: tuple[str, ...]
    on_batch: Callable[[Batch], None] | None
    on_event: Listener | None
    how: dict[str, Any]
    """Further arguments of `decode`."""

    def results(self, items: Sequence[Item], size: int | None) -> Iterator[Result]:
        """What becomes of the items, so many of which are decoded together; None: all."""
        size = size or max(len(items), 1)
        for i in range(0, len(items), size):
            everyone = False
            for index, made in self.batch(items[i : i + size]):
                yield index, made
                everyone |= isinstance(made, ReasonerError) and made.everyone
            if everyone:
                return

    def batch(self, items: Sequence[Item]) -> Iterator[Result]:
        """What cannot be decoded comes first."""
        ready = []
        for item, reasoning in zip(items, self.reasonings(items), strict=True):
            made = self.encoded(item, reasoning)
            if isinstance(made, UsageError):
                yield item.index, made
            else:
                ready.append(made)
        yield from self.answered(ready)

    def reasonings(self, items: Sequence[Item]) -> Sequence[Reasoning | UsageError | None]:
        if self.reasons is None:
            return [x.reasoning for x in items]
        try:
            return self.reasons([x.prompt for x in items], [x.seed for x in items], self.length, self.infill)
        except UsageError as e:
            return [e] * len(items)

    def encoded(self, item: Item, reasoning: Reasoning | UsageError | None) -> Item | UsageError:
        """An item with its token ids, or why it has none."""
        if isinstance(reasoning, UsageError):
            return reasoning
        try:
            tokens = self.encoding.encode(item.prompt, self.length, self.infill, reasoning)
        except UsageError as e:
            return e
        if self.template and self.setup.model.mask_id in tokens:
            mask = self.encoding.mask
            return UsageError(f"with a template a prompt cannot hold {mask}; the holes are those of the template")
        return replace(item, reasoning=reasoning, tokens=tuple(tokens))

    def answered(self, items: Sequence[Item]) -> Iterator[Result]:
        """If not all of them can be decoded together, each is decoded by itself."""
        if not items:
            return
        try:
            made = self.decoded(items)
        except UsageError as e:
            if len(items) == 1:
                yield items[0].index, e
            else:
                for item in items:
                    yield from self.answered([item])
            return
        yield from zip((x.index for x in items), made, strict=True)

    def decoded(self, items: Sequence[Item]) -> list[Generation | UsageError]:
        """What becomes of a batch. Raises `UsageError` for what concerns all of it."""
        indices, rows = tuple(x.index for x in items), [[*x.tokens, *self.template] for x in items]
        if self.on_batch:
            self.on_batch(Batch(indices, tuple(x.reasoning for x in items)))
        halt, seen = StopStrings(self.encoding.loaded.tokenizer.decode, self.stop), list[Canvas]()
        began = time.perf_counter()
        done = self.setup.decode(
            rows, length=0 if self.template else self.length, rules=self.rules, infill=self.holes,
            seeds=[x.seed for x in items], halt=halt if self.stop else None,
            on_event=renumbered(self.on_event, indices), final=seen.append, **self.how,
        )
        seconds = time.perf_counter() - began
        texts = [self.text(item, seen[0], b, halt) for b, item in enumerate(items)]
        kv_bytes = self.setup.model.column_bytes * seen[0].tokens.shape[1]
        return [self.generation(*x, seconds, kv_bytes) for x in zip(items, done, texts, strict=True)]

    @property
    def holes(self) -> bool:
        """There are holes in the rows, and not only behind them."""
        return self.infill or bool(self.template)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those beyond the setup's."""
        if not (self.holes and self.setup.model.stop_ids):
            return ()
        behind = (0 if self.template else self.length) + self.setup.decoder.padding
        return (NoStopInHoles(behind, self.setup.model.stop_ids),)

    def text(self, item: Item, c: Canvas, row: int, halt: StopStrings) -> Text:
        """The text of an item, whose row is `row` of the canvas."""
        revises, tokenizer = self.setup.decoder.revises, self.encoding.loaded.tokenizer
        if not self.holes:
            return written(c, row, revises, halt)
        whole = filled(c, row, len(item.tokens) + len(self.template), revises, tokenizer)
        return whole.behind(len(item.tokens), tokenizer) if self.template else whole

    def generation(
        self, item: Item, row: Row, text: Text, seconds: float, kv_bytes: int
    ) -> Generation | RowError:
        if error := row.error():
            return error
        return Generation(
            text=text.text, tokens=text.tokens, nfe=row.nfe, generated_tokens=text.made, seconds=seconds,
            finish_reason="stop" if text.cut else row.finish_reason, decoder=self.setup.decoder_spec,
            cache=self.setup.cache_spec, seed=item.seed, positions_computed=row.positions_computed,
            cache_hit_rate=row.cache_hit_rate, flops=row.flops, kv_bytes=kv_bytes, reasoning=item.reasoning,
        )


def renumbered(listener: Listener | None, indices: Sequence[int]) -> Listener | None:
    """A listener who hears the index of a prompt in the place of its row."""
    return listener and (lambda e: listener(replace(e, row=indices[e.row])))
