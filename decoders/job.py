"""What a run of the `Generator` does: prompts on their way to what becomes of them, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

from decoders.core import (
    Blocks,
    Canvas,
    Event,
    Forward,
    Plan,
    Pred,
    Row,
    RowError,
    Rule,
    Runner,
    Suppress,
    Teller,
    UsageError,
    commit_steps,
    positive,
)
from decoders.engine import Engine, Request
from decoders.engine import Result as Outcome
from decoders.reasoning.base import ReasonerError, Reasoning
from decoders.settings import Setup
from decoders.text.encoding import Encoding, Prompt
from decoders.text.reasons import Reasons
from decoders.text.records import Generation
from decoders.text.stopping import NoStopInHoles, StopStrings
from decoders.text.written import Text, filled, last_given, written

SLOTS = 32
"""Rows that are decoded at a time, where nobody says."""
WHOLE = 1 << 40
"""Positions of a window over a whole row; no row has as many."""

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
class How:
    """How rows are decoded, beside what they have in common."""

    stop: bool = True
    """End a row at its first stop token."""
    max_steps: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    watch: Callable[[Forward, Pred, Canvas], None] | None = None
    poll: int = 1
    runner: Runner | None = None

    def __post_init__(self) -> None:
        positive(poll=self.poll, max_steps=self.max_steps)
        if self.top_logprobs < 0:
            raise UsageError(f"top_logprobs must be at least 0, not {self.top_logprobs}")

    @property
    def flows(self) -> bool:
        """Rows may come and go. Somebody who hears of every forward, a host that looks rarely and a captured step want
        batches that stay together."""
        return self.watch is None and self.runner is None and self.poll == 1


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
    how: How
    memory: int | None = None
    """Bytes that an engine may take; none: half of what is free."""
    on_batch: Callable[[Batch], None] | None = None
    on_event: Listener | None = None

    def results(self, items: Sequence[Item], size: int | None) -> Iterator[Result]:
        """What becomes of the items, so many of which are decoded at a time at most."""
        size = size or SLOTS
        together = size if self.reasons or not self.how.flows else max(len(items), 1)
        for i in range(0, len(items), together):
            everyone = False
            for index, made in self.batch(items[i : i + together], size):
                yield index, made
                everyone |= isinstance(made, ReasonerError) and made.everyone
            if everyone:
                return

    def batch(self, items: Sequence[Item], slots: int) -> Iterator[Result]:
        """What cannot be decoded comes first."""
        ready = list[Item]()
        for item, reasoning in zip(items, self.reasonings(items), strict=True):
            made = self.encoded(item, reasoning)
            if isinstance(made, UsageError):
                yield item.index, made
            else:
                ready.append(made)
        yield from self.flowing(ready, slots) if self.how.flows else self.answered(ready)

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

    def flowing(
        self, items: Sequence[Item], slots: int, ran: Callable[[Engine], None] = lambda engine: None
    ) -> Iterator[Result]:
        """Through an engine, in which a row takes the place of another that has ended. Where some have to wait for
        that, the longest go first, so that the last ones to end are not long ones that began late. `ran` is told of the
        engine at the end."""
        asked = dict[Request, Item]()
        engine = Engine(self.setup.model, slots, self.memory, began=lambda rs: self.tell([asked[r] for r in rs]))
        for item in sorted(items, key=lambda x: -len(x.tokens)) if len(items) > slots > 1 else items:
            r = self.request(item)
            asked[r] = item
            try:
                engine.submit(r)
            except UsageError as e:
                yield item.index, e
        while not engine.idle:
            for r in engine.step():
                yield asked[r].index, outcome(r)
        ran(engine)

    def tell(self, items: Sequence[Item]) -> None:
        """Who wants to know hears which items start together."""
        if self.on_batch:
            self.on_batch(Batch(tuple(x.index for x in items), tuple(x.reasoning for x in items)))

    @cached_property
    def plan(self) -> Plan:
        """How an engine decodes the rows. A window over a whole row is as large as any."""
        windows = self.setup.windows or Blocks(self.setup.model.attention_block or WHOLE)
        rules = (*self.setup.rules, *self.rules)
        return Plan(self.setup.decoder, windows, self.setup.cache, rules, self.how.stop)

    def request(self, item: Item, **more: Any) -> Request:
        """An item for an engine; its answer is a `Generation` or a `RowError`. `more`: further fields."""
        halt = StopStrings(self.encoding.loaded.tokenizer.decode, self.stop)

        def finished(c: Canvas, slot: int, result: Outcome) -> Generation | RowError:
            text = self.text(item, c, slot, halt)
            made = self.generation(item, c, slot, result.row, text, result.running)
            return made if isinstance(made, RowError) else replace(
                made, waiting_seconds=result.waiting, revisions=result.revised,
                logprobs=result.logprobs and result.logprobs[: text.made],
                top_logprobs=result.top_logprobs and result.top_logprobs[: text.made],
            )

        tell = self.on_event and Teller(self.on_event, item.index)
        fields: dict[str, Any] = {
            "max_steps": self.how.max_steps, "halt": halt if self.stop else None, "finished": finished,
            "hear": tell and (lambda draft: tell(draft.tokens, draft.settled)), "logprobs": self.how.logprobs,
            "top_logprobs": self.how.top_logprobs,
        }
        return Request((*item.tokens, *self.template), self.behind, self.plan, item.seed, self.holes, **fields | more)

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
        self.tell(items)
        halt, seen = StopStrings(self.encoding.loaded.tokenizer.decode, self.stop), list[Canvas]()
        began = time.perf_counter()
        done = self.setup.decode(
            rows, length=self.behind, rules=self.rules, infill=self.holes,
            seeds=[x.seed for x in items], halt=halt if self.stop else None,
            on_event=renumbered(self.on_event, indices), final=seen.append, stop=self.how.stop,
            max_steps=self.how.max_steps, watch=self.how.watch, poll=self.how.poll, runner=self.how.runner,
        )
        seconds, (c,) = time.perf_counter() - began, seen
        return [
            self.generation(item, c, b, row, self.text(item, c, b, halt), seconds)
            for b, (item, row) in enumerate(zip(items, done, strict=True))
        ]

    @property
    def behind(self) -> int:
        """Positions behind what a row is given: a template is given with its holes."""
        return 0 if self.template else self.length

    @property
    def holes(self) -> bool:
        """There are holes in the rows, and not only behind them."""
        return self.infill or bool(self.template)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those beyond the setup's."""
        if not (self.holes and self.setup.model.stop_ids):
            return ()
        ends = self.setup.model.stop_ids
        if self.setup.decoder.moves:  # no position is behind the prompt for good, and by the first one it asks for less
            return (Suppress(ends[1:]),)
        return (NoStopInHoles(self.behind + self.setup.decoder.padding, ends),)

    def text(self, item: Item, c: Canvas, row: int, halt: StopStrings) -> Text:
        """The text of an item, whose row is `row` of the canvas."""
        revises, tokenizer = self.setup.decoder.revises, self.encoding.loaded.tokenizer
        if not self.holes:
            return written(c, row, revises, halt)
        prompt = last_given(c, row) if self.setup.decoder.moves else len(item.tokens) + len(self.template)
        whole = filled(c, row, prompt, revises, tokenizer)
        return whole.behind(len(item.tokens), tokenizer) if self.template else whole

    def generation(
        self, item: Item, c: Canvas, place: int, row: Row, text: Text, seconds: float
    ) -> Generation | RowError:
        """What became of an item, which is the row `place` of the canvas."""
        if error := row.error():
            return error
        return Generation(
            text=text.text, tokens=text.tokens, nfe=row.nfe, generated_tokens=text.made, seconds=seconds,
            finish_reason="stop" if text.cut else row.finish_reason, decoder=self.setup.decoder_spec,
            cache=self.setup.cache_spec, seed=item.seed, positions_computed=row.positions_computed,
            cache_hit_rate=row.cache_hit_rate, flops=row.flops, reasoning=item.reasoning,
            # the column that belongs to no row is among them
            kv_bytes=self.setup.model.column_bytes * (int(c.limit[place]) + 1),
            commit_steps=commit_steps(c, place, text.made),
            forwards=dict(zip(self.setup.decoder.phases, row.forwards, strict=True)),
        )


def outcome(r: Request) -> Generation | UsageError:
    """What became of a request. Raises what is no fault of the user's."""
    if r.error is not None and not isinstance(r.error, UsageError):
        raise r.error
    return cast(Generation | UsageError, r.error or r.answer)


def renumbered(listener: Listener | None, indices: Sequence[int]) -> Listener | None:
    """A listener who hears the index of a prompt in the place of its row."""
    return listener and (lambda e: listener(replace(e, row=indices[e.row])))
