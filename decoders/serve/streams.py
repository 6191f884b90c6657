"""Streams of texts: settled text in OpenAI's chunks, or whole drafts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from decoders.engine import Draft
from decoders.serve.asks import Ask
from decoders.serve.desk import Desk, Job
from decoders.serve.forms import Form, inside
from decoders.serve.tools import Calling, is_call
from decoders.text.records import Generation
from decoders.text.stopping import sure

UNDECIDED = "\N{LIGHT SHADE}"
"""The character for an open position in the text of a draft."""


class Settling:
    """The settled text of a row, piece by piece. Text that may become part of a stop string is held back, and so are
    the first bytes of an incomplete character."""

    def __init__(self, form: Form, stop: Sequence[str]) -> None:
        self.form, self.stop, self.sent = form, stop, 0

    def __call__(self, draft: Draft) -> str:
        return self.rest(self.whole(draft))

    def whole(self, draft: Draft) -> str:
        """All of it."""
        tokens = [t for t in draft.tokens[: draft.settled] if t is not None]
        text = self.form.decode(tokens).rstrip("\N{REPLACEMENT CHARACTER}")
        return text[: sure(text, self.stop)]

    def rest(self, text: str) -> str:
        """The part of a text that has not been sent."""
        new, self.sent = text[self.sent :], max(self.sent, len(text))
        return new


class Pieces:
    """The text of single tokens inside a text. A stop token writes nothing."""

    def __init__(self, form: Form, stop_ids: Sequence[int]) -> None:
        self.form, self.known = form, dict.fromkeys(stop_ids, "")

    def __call__(self, token: int) -> str:
        if token not in self.known:
            self.known[token] = inside(self.form.decode, token)
        return self.known[token]

    def draft(self, draft: Draft) -> dict[str, Any]:
        """A draft, in our own form: the text of every position, null if it is open; the first `settled` are final.
        OpenAI's field contains the whole text, which replaces the previous one."""
        pieces = [None if t is None else self(t) for t in draft.tokens]
        return {"step": draft.step, "settled": draft.settled, "pieces": pieces}


def shown(draft: dict[str, Any]) -> str:
    return "".join(UNDECIDED if piece is None else piece for piece in draft["pieces"])


async def chunks(desk: Desk, ask: Ask, form: Form) -> AsyncGenerator[dict[str, Any], None]:
    """The chunks of an answer. Leaving early cancels texts that have not ended."""
    async with desk.jobs(ask) as jobs:
        made: dict[int, Generation] = {}
        source = merged([of_draft(desk, ask, form, i, job, made) for i, job in enumerate(jobs)])
        async with aclosing(source):
            async for chunk in source:
                yield chunk
        if ask.usage:
            yield form.sums(jobs, [made[i] for i in range(len(jobs))])


async def of_draft(
    desk: Desk, ask: Ask, form: Form, index: int, job: Job, made: dict[int, Generation]
) -> AsyncIterator[dict[str, Any]]:
    """The chunks of one text; at its end the text is put into `made`."""
    settling, pieces = Settling(form, ask.how["stop"]), Pieces(form, desk.generator.model.stop_ids)
    calling = Calling() if ask.tools else None
    async for draft in job.drafts():
        if ask.diffusing:
            said = pieces.draft(draft)
            yield form.chunk(index, shown(said), draft=said)
        elif calling and begins(text := settling.whole(draft)):
            for call in calling(text):
                yield form.chunk(index, None, call=call)
        elif not ask.kind.edits and (text := settling(draft)):
            yield form.chunk(index, text)
    made[index] = g = job.ended(desk.metrics)
    text, end, called = form.shown(g), form.end(g), is_call(g.text)
    if calling and (calling.id or called):
        for call in calling(text, called):
            yield form.chunk(index, None, call=call)
        yield form.chunk(index, None, **end | ({"finish_reason": "tool_calls"} if called else {}))
    else:
        yield form.chunk(index, text if ask.diffusing else settling.rest(text), **end)


def begins(text: str) -> bool:
    """Whether a text begins like a call, or is too short to tell."""
    return text.lstrip()[:1] in ("", "{")


async def merged(sources: Sequence[AsyncIterator[dict[str, Any]]]) -> AsyncGenerator[dict[str, Any], None]:
    """The items of several sources, in the order in which they arrive."""
    queue: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue(len(sources))

    async def pump(source: AsyncIterator[dict[str, Any]]) -> None:
        try:
            async for item in source:
                await queue.put(item)
            await queue.put(None)
        except Exception as e:
            await queue.put(e)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    try:
        ended = 0
        while ended < len(sources):
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                ended += 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
