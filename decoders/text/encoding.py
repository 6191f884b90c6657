"""Prompts to token ids: tokenizing, chat templates, and a reasoning between a prompt and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from decoders.core import UsageError
from decoders.models.loaded import Loaded, Messages, inner_ids
from decoders.reasoning.base import Reasoning

Prompt = str | Messages
"""A text, or a conversation."""


@dataclass(frozen=True)
class Encoding:
    """Encodes prompts for a model.

    `chat`: whether a text becomes a user's message in the checkpoint's chat template. None: if there is a template and
    no hole to fill. `boundary` is the text between a reasoning and the answer. Raises `UsageError` if the template is
    missing."""

    loaded: Loaded
    chat: bool | None = None
    boundary: str = ""

    def __post_init__(self) -> None:
        if self.chat and self.loaded.chat is None:
            raise UsageError(f"{self.loaded.name} has no chat template")

    @property
    def mask(self) -> str:
        """The text of the mask token, which marks a hole in a prompt; empty if the model has no mask token."""
        mask_id = self.loaded.model.mask_id
        return "" if mask_id is None else self.loaded.tokenizer.decode([mask_id])

    def length(self, length: int | None, infill: bool) -> int:
        """Positions after the prompt: as requested, else none after an infilled prompt and the model's default after
        others."""
        return length if length is not None else 0 if infill else self.loaded.length

    def ids(self, text: str) -> list[int]:
        """The token ids of a text that stands inside another one, without the tokens that the tokenizer puts before
        every text."""
        return inner_ids(self.loaded.tokenizer, text)

    def encode(
        self, prompt: Prompt, length: int | None = None, infill: bool = False, reasoning: Reasoning | None = None
    ) -> list[int]:
        """The token ids of a prompt, and of the reasoning after it. Raises `UsageError` if it cannot be decoded: empty,
        too long, or without a hole to fill."""
        tokens, length = self.tokens(prompt, infill, reasoning), self.length(length, infill)
        if not tokens:
            raise UsageError("the prompt is empty")
        if infill and self.loaded.model.mask_id is None:
            raise UsageError(f"{self.loaded.name} has no mask token, so a prompt cannot have holes to fill")
        if infill and length == 0 and self.loaded.model.mask_id not in tokens:
            raise UsageError(f"the prompt has no hole to fill: write {self.mask} where one is, or give a length")
        most = self.loaded.positions
        if most is not None and len(tokens) + length > most:
            has = "prompt and its reasoning have" if reasoning else "prompt has"
            beyond = f"beyond the {most} of {self.loaded.name}"
            raise UsageError(f"the {has} {len(tokens)} tokens; with {length} more that is {beyond}")
        return tokens

    def tokens(self, prompt: Prompt, infill: bool, reasoning: Reasoning | None = None) -> list[int]:
        """The token ids of a text or of a conversation, with the chat template if it is requested. Raises `UsageError`.

        A reasoning and the boundary follow: with a chat template as the beginning of the answer, otherwise as further
        text, on a new line unless it continues the prompt."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else conversation(prompt)
        for message in messages:
            check_unicode(message["content"])
        template, raw = self.loaded.chat, infill and isinstance(prompt, str)
        if template is not None and (not raw if self.chat is None else self.chat):
            return template(messages, infill, reasoning.text + self.boundary if reasoning else "")
        if not isinstance(prompt, str):
            why = f"{self.loaded.name} has none" if self.loaded.chat is None else "it was asked not to be applied"
            raise UsageError(f"a conversation needs a chat template, and {why}")
        if reasoning:
            prompt += ("" if reasoning.continues or prompt.endswith("\n") else "\n") + reasoning.text + self.boundary
        return self.loaded.tokenizer.encode(prompt)


def listed(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """The prompts as a list; a single prompt need not be in a list. A message is no prompt, so a sequence of messages
    is one conversation."""
    one = isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], Mapping))
    return [cast(Prompt, prompts)] if one else list(cast(Sequence[Prompt], prompts))


def conversation(messages: Messages) -> Messages:
    """The messages. Raises `UsageError` if they are no conversation."""
    for m in messages:
        if not (isinstance(m, Mapping) and all(isinstance(m.get(key), str) for key in ("role", "content"))):
            raise UsageError(f'a message needs a "role" and a "content" that are texts, not {m!r}')
    if not messages:
        raise UsageError("a conversation needs a message")
    return messages


def check_unicode(text: str) -> None:
    """Raises `UsageError` for a text that no tokenizer can read."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as e:
        raise UsageError(f"the prompt is not valid Unicode text: {e.reason} at character {e.start}") from None
