"""A model, ready to run, with its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from decoders.core import Model


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...


def inner_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The token ids of a text that stands inside another one, without the tokens that the tokenizer puts before every
    text. A tokenizer that puts tokens before non-empty texts only has to define `inner` itself."""
    inner = getattr(tokenizer, "inner", None)
    ids: list[int] = inner(text) if inner else tokenizer.encode(text)[len(tokenizer.encode("")) :]
    return ids


Messages = Sequence[Mapping[str, str]]
"""A conversation, oldest message first; each has a `role` and a `content`."""


class Chat(Protocol):
    """A chat template: the token ids of a prompt that ends where the answer to `messages` begins, or after `begun`, the
    beginning of that answer. Control tokens that are written in a message or in `begun` are text, unless it has `holes`
    to fill, which are written as mask tokens."""

    def __call__(self, messages: Messages, holes: bool = False, begun: str = "") -> list[int]: ...


@dataclass(frozen=True)
class Loaded:
    """A model, ready to run, with its tokenizer and default settings."""

    model: Model
    tokenizer: Tokenizer
    name: str
    length: int
    """The default number of positions after the prompt."""
    block: int | None = None
    """The default window size; None: one window over the whole row."""
    positions: int | None = None
    """The longest row that the model was made for, prompt included; none: any."""
    never: tuple[int, ...] = ()
    """Token ids that are no text and are never generated: the mask token, the unknown token, and those that the
    tokenizer lacks."""
    chat: Chat | None = None
    """The chat template, for a checkpoint that has one."""
