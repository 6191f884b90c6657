"""A run of the `Generator`: from prompts to results, batch by batch."""

from __future__ import annotations

import time
from collections import deque
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
    session_spec,
)
from decoders.core.model import row_bytes
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
"""The default number of rows that are decoded at a time."""
AHEAD = 4
"""Requests that wait in an engine, as a multiple of its slots; the others are made later, to save memory."""
WHOLE = 1 << 40
"""The size of a window over a whole row; more than any row has."""

Listener = Callable[[Event], None]
Result = tuple[int, Generation | UsageError]
"""The index of a prompt, and its result."""


class Batch(NamedTuple):
    """Prompts that are decoded together, a row each."""

    prompts: tuple[int, ...]
    """Their indices."""
    reasonings: tuple[Reasoning | None, ...]


@dataclass(frozen=True)
class Item:
    """A prompt of a run. `index` is its number in the run, `tokens` are its token ids, once they are known."""

    index: int
    prompt: Prompt
    seed: int
    reasoning: Reasoning | None
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class How:
    """Settings of a call, besides those that all rows share."""

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
        """Whether rows may join and leave. A `watch`, a `poll` above 1 and captured steps need batches that stay
        together."""
        return self.watch is None and self.runner is None and self.poll == 1


@dataclass(frozen=True)
class Job:
    """The settings that the prompts of a run share, checked and with defaults filled in."""

    setup: Setup
    encoding: Encoding
    reasons: Reasons | None
    """None: no reasoner is asked, and the reasonings in the items are used."""
    length: int
    """Positions after each prompt."""
    template: tuple[int, ...]
    """The token ids of those positions, with holes, if a constraint gives them."""
    infill: bool
    stop: tuple[str, ...]
    how: How
    memory: int | None = None
    """Bytes that an engine may take; None: half of the free memory."""
    on_batch: Callable[[Batch], None] | None = None
    on_event: Listener | None = None

    def results(self, items: Sequence[Item], size: int | None) -> Iterator[Result]:
        """The results of the items, of which at most `batch` are decoded at a time."""
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
        """The errors of items that cannot be decoded come first."""
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
        """An item with its token ids, or the error why it has none."""
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
        """Decode with an engine, in which a new row replaces one that has ended. If some rows have to wait, the longest
        start first, so that no long row starts late and ends last. `ran` is called with the engine at the end."""
        asked = dict[Request, Item]()
        engine = Engine(self.setup.model, slots, self.memory, began=lambda rs: self.tell([asked[r] for r in rs]))
        began = time.monotonic()
        longest = sorted(items, key=lambda x: -len(x.tokens)) if len(items) > slots > 1 else items
        later = deque(longest)
        while later or not engine.idle:
            while later and engine.queued < AHEAD * slots:
                item = later.popleft()
                r = self.request(item, asked_at=began)
                asked[r] = item
                try:
                    engine.submit(r)
                except UsageError as e:
                    del asked[r]
                    yield item.index, e
            for r in engine.step():
                yield asked.pop(r).index, outcome(r)
        ran(engine)

    def tell(self, items: Sequence[Item]) -> None:
        """Call `on_batch` with the items that start together."""
        if self.on_batch:
            self.on_batch(Batch(tuple(x.index for x in items), tuple(x.reasoning for x in items)))

    @cached_property
    def plan(self) -> Plan:
        """The plan for an engine. A window over a whole row has the largest size."""
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
        """Decode a batch; if its items cannot be decoded together, each is decoded alone."""
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
        """The results of a batch. Raises `UsageError` for errors that concern all of it."""
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
        """Positions after the given part of a row; a template is part of it, with its holes."""
        return 0 if self.template else self.length

    @property
    def holes(self) -> bool:
        """Whether there are holes inside the rows, and not only after them."""
        return self.infill or bool(self.template)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules besides those of the setup."""
        if not (self.holes and self.setup.model.stop_ids):
            return ()
        ends = self.setup.model.stop_ids
        if self.setup.decoder.moves_text:  # no position is behind the prompt for good, and the first one removes one
            return (Suppress(ends[1:]),)
        return (NoStopInHoles(self.behind + self.setup.decoder.padding, ends),)

    def text(self, item: Item, c: Canvas, row: int, halt: StopStrings) -> Text:
        """The text of an item, whose row is `row` of the canvas."""
        revises, tokenizer = self.setup.decoder.revises, self.encoding.loaded.tokenizer
        if not self.holes:
            return written(c, row, revises, halt)
        prompt = last_given(c, row) if self.setup.decoder.moves_text else len(item.tokens) + len(self.template)
        whole = filled(c, row, prompt, revises, tokenizer)
        return whole.behind(len(item.tokens), tokenizer) if self.template else whole

    def generation(
        self, item: Item, c: Canvas, place: int, row: Row, text: Text, seconds: float
    ) -> Generation | RowError:
        """The result of an item, which is the row `place` of the canvas."""
        if error := row.error():
            return error
        columns = int(c.limit[place]) + 1  # this includes the column that belongs to no row
        spec = replace(session_spec(self.plan, c), columns=columns)
        return Generation(
            text=text.text, tokens=text.tokens, nfe=row.nfe, generated_tokens=text.made, seconds=seconds,
            finish_reason="stop" if text.cut else row.finish_reason, decoder=self.setup.decoder_spec,
            cache=self.setup.cache_spec, seed=item.seed, positions_computed=row.positions_computed,
            cache_hit_rate=row.cache_hit_rate, flops=row.flops, reasoning=item.reasoning,
            kv_bytes=row_bytes(self.setup.model, spec),
            commit_steps=commit_steps(c, place, text.made),
            forwards=dict(zip(self.setup.decoder.phases, row.forwards, strict=True)),
        )


def outcome(r: Request) -> Generation | UsageError:
    """The result of a request. Raises errors that are not the user's."""
    if r.error is not None and not isinstance(r.error, UsageError):
        raise r.error
    return cast(Generation | UsageError, r.error or r.answer)


def renumbered(listener: Listener | None, indices: Sequence[int]) -> Listener | None:
    """A listener that gets the index of a prompt in place of its row."""
    return listener and (lambda e: listener(replace(e, row=indices[e.row])))
