"""OpenAI's forms of an answer: completions and chats, whole and in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from decoders.serve.asks import Kind
from decoders.serve.desk import Job
from decoders.serve.tools import call
from decoders.text.records import Generation


@dataclass(frozen=True)
class Form:
    """The answer to one request."""

    model: str
    kind: Kind
    decode: Callable[[Sequence[int]], str]
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def chat(self) -> bool:
        return self.kind.said

    def head(self, chunk: bool) -> dict[str, Any]:
        kind = "chat.completion" + ".chunk" * chunk if self.chat else "text_completion"
        name = f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}"
        return {"id": name, "object": kind, "created": self.created, "model": self.model}

    def whole(self, jobs: Sequence[Job], made: Sequence[Generation], tools: bool = False) -> dict[str, Any]:
        """All texts at once. `tools`: they may be calls of functions."""
        said = [self.called(g) if tools else self.text(self.shown(g)) | self.end(g) for g in made]
        choices = [{"index": i, **x} for i, x in enumerate(said)]
        return {**self.head(chunk=False), "choices": choices, "usage": usage(jobs, made)}

    def shown(self, made: Generation) -> str:
        """The text of an answer. Mercury puts a region between fences, and omits the end of the last line of a merged
        text."""
        if self.kind is Kind.EDIT:
            return "```\n" + made.text.rstrip("\n") + "\n```"
        return made.text.removesuffix("\n") if self.kind is Kind.APPLY else made.text

    def text(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}

    def called(self, made: Generation) -> dict[str, Any]:
        """A call of a function; a text if the answer is one, or was cut short."""
        calls, end = call(made.text), self.end(made)
        if calls is None:
            return self.text(made.text) | end
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        return end | {"message": message, "finish_reason": "tool_calls"}

    def chunk(self, index: int, text: str | None, **more: Any) -> dict[str, Any]:
        """A piece of a text, or of a call if there is no text."""
        said: dict[str, Any] = {"text": text}
        if self.chat:
            calls = {"tool_calls": [call]} if (call := more.pop("call", None)) else {}
            said = {"delta": {"role": "assistant", "content": text, **calls}}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": None, **more}
        return {**self.head(chunk=True), "choices": [choice]}

    def sums(self, jobs: Sequence[Job], made: Sequence[Generation]) -> dict[str, Any]:
        """The usage after the last chunk, if it was requested."""
        return {**self.head(chunk=True), "choices": [], "usage": usage(jobs, made)}

    def end(self, made: Generation) -> dict[str, Any]:
        """The fields of a finished text; `decoding` is our extension."""
        more = {
            "decoder": made.decoder, "cache": made.cache, "seed": made.seed, "forwards": made.nfe,
            "tokens_per_forward": per_forward(made.generated_tokens, made.nfe), "seconds": made.seconds,
            "waiting_seconds": made.waiting_seconds, "commit_steps": list(made.commit_steps),
            "finish_reason": made.finish_reason,
        }
        reason = "stop" if made.finish_reason == "stop" else "length"
        return {"finish_reason": reason, "logprobs": self.logprobs(made), "decoding": more}

    def logprobs(self, made: Generation) -> dict[str, Any] | None:
        """Of each token at its commitment; null for one that was not predicted then."""
        if made.logprobs is None or self.kind.edits:
            return None
        pieces = spelled(self.decode, made.tokens[: len(made.logprobs)])
        top = made.top_logprobs or [()] * len(pieces)
        likely = [[(inside(self.decode, token), value) for token, value in pairs] for pairs in top]
        told = list(zip(pieces, made.logprobs, likely, strict=True))
        if self.chat:
            said = [{**token_of(p, v), "top_logprobs": [token_of(*x) for x in pairs]} for p, v, pairs in told]
            return {"content": said, "refusal": None}
        # as with OpenAI, the chosen token is included even if others were likelier
        found = [{**dict(reversed(pairs)), **({} if v is None else {p: v})} for p, v, pairs in told]
        offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
        values, others = list(made.logprobs), found if made.top_logprobs is not None else None
        return {"tokens": pieces, "token_logprobs": values, "top_logprobs": others, "text_offset": offsets}


def token_of(piece: str, value: float | None) -> dict[str, Any]:
    """A token of a chat, and its log probability."""
    return {"token": piece, "logprob": value, "bytes": list(piece.encode())}


def inside(decode: Callable[[Sequence[int]], str], token: int) -> str:
    """The text of a token inside a text. It is decoded after another token, because some tokenizers drop a space at the
    start."""
    return decode([token, token])[len(decode([token])) :]


def spelled(decode: Callable[[Sequence[int]], str], tokens: Sequence[int]) -> list[str]:
    """The text that each token adds; empty for a token that begins a character which another one ends."""
    ends = [decode(tokens[:i]).rstrip("\N{REPLACEMENT CHARACTER}") for i in range(len(tokens) + 1)]
    return [after[len(before) :] for before, after in pairwise(ends)]


def per_forward(tokens: int, forwards: int) -> float:
    return tokens / forwards if forwards else 0.0


def usage(jobs: Sequence[Job], made: Sequence[Generation]) -> dict[str, Any]:
    """The usage of a request. A prompt with several samples is counted once."""
    prompt, tokens = sum(j.tokens for j in jobs if j.sample == 0), sum(g.generated_tokens for g in made)
    forwards = sum(g.nfe for g in made)
    return {
        "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens, "forwards": forwards,
        "tokens_per_forward": per_forward(tokens, forwards),
    }
