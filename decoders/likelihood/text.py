"""Likelihoods of texts under a loaded checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from decoders.core import Model, UsageError, is_causal
from decoders.likelihood.estimate import BATCH, DRAWS, Likelihood, Pair, check_pair, greedy, likelihoods
from decoders.models.loaded import Loaded, Messages
from decoders.text.encoding import check_unicode, conversation

Text = tuple[str | Messages, str]
"""The condition, a text or a conversation, and the answer to it. If the last message is the assistant's, it is the
beginning of the answer and part of the condition."""
Progress = Callable[[int], object]


@dataclass
class Laid:
    """Texts as token ids, each in one window or more."""

    pairs: list[Pair] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """The number of each pair's text."""
    cuts: list[int] = field(default_factory=list)
    """Tokens of the condition that were cut from each text."""
    problems: dict[int, UsageError] = field(default_factory=dict)
    """The errors of texts that have no likelihood."""


class Scorer:
    """The likelihood of answers: `Scorer(decoders.load("nano"))([("Sort: b a", " a b")])`.

    `model`: the model to evaluate, if it is not the loaded one itself (with guidance,
    `decoders.models.guidance.Guided`). The other options are those of `likelihoods`; `block` defaults to the
    checkpoint's own.

    For a text without a likelihood, the error takes the place of the result, and the others are kept."""

    def __init__(
        self, loaded: Loaded, *, model: Model | None = None, draws: int = DRAWS, batch: int = BATCH, seed: int = 0,
        block: int | None = None,
    ) -> None:
        self.loaded, self.model = loaded, model or loaded.model
        self.draws, self.batch, self.seed, self.block = draws, batch, seed, block or loaded.block

    def __call__(self, texts: Sequence[Text], progress: Progress | None = None) -> list[Likelihood | UsageError]:
        """The likelihood of each answer. If the model has no room for both, the condition is cut from the left, and an
        answer that is too long by itself is evaluated in windows (`windows`); `Likelihood.cut` and `Likelihood.windows`
        report it."""
        laid = self.laid(texts)
        found = likelihoods(
            self.model, laid.pairs, draws=self.draws, batch=self.batch, seed=self.seed, block=self.block,
            progress=progress,
        )
        sums: dict[int, Likelihood] = {}
        for i, x in zip(laid.owners, found, strict=True):
            sums[i] = together(sums[i], x) if i in sums else replace(x, cut=laid.cuts[i])
        return [laid.problems.get(i) or sums[i] for i in range(len(texts))]

    def greedy(self, texts: Sequence[Text], progress: Progress | None = None) -> list[bool | UsageError]:
        """Whether each answer is the model's own greedy answer (`decoders.likelihood.greedy`), without tokens that it
        never generates."""
        laid = self.laid(texts)
        found = greedy(
            self.model, laid.pairs, batch=self.batch, seed=self.seed, block=self.block, never=self.loaded.never,
            progress=progress,
        )
        said = [True] * len(texts)
        for i, right in zip(laid.owners, found, strict=True):
            said[i] = said[i] and right
        return [laid.problems.get(i, said[i]) for i in range(len(texts))]

    def laid(self, texts: Sequence[Text]) -> Laid:
        out = Laid()
        for i, text in enumerate(texts):
            out.cuts.append(0)
            try:
                given, answer = self.pair(*text)
                check_pair(self.model, given, answer)
            except UsageError as e:
                out.problems[i] = e
                continue
            parts = list(windows(given, answer, self.loaded.positions))
            out.cuts[i] = max(len(given) - len(parts[0][0]), 0)
            out.pairs += parts
            out.owners += [i] * len(parts)
        return out

    def pair(self, given: str | Messages, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of both. If the tokenizer merges the end of the condition with the answer, spaces there go to the
        answer. A conversation is put in the checkpoint's chat template; after an empty condition, a causal model's
        first token follows its first stop token. Raises `UsageError`."""
        check_unicode(answer)
        encode, text = self.encoder(given)
        alone, both = encode(text), encode(text + answer)
        if both[: len(alone)] != alone:
            bare = text.rstrip()
            alone, both = encode(bare), encode(text + answer)
        condition, rest = both[: len(alone)], both[len(alone) :]
        if not condition and is_causal(self.model):
            condition = list(self.model.stop_ids[:1])
        return condition, rest

    def encoder(self, given: str | Messages) -> tuple[Callable[[str], list[int]], str]:
        """A function that encodes a text after the condition, and the text that it follows: the condition, or the
        beginning of the answer."""
        if isinstance(given, str):
            check_unicode(given)
            return self.loaded.tokenizer.encode, given
        if self.loaded.chat is None:
            raise UsageError(f"a conversation needs a chat template, and {self.loaded.name} has none")
        for message in conversation(given):
            check_unicode(message["content"])
        begun = given[-1]["content"] if given[-1]["role"] == "assistant" else ""
        return partial(self.loaded.chat, given[:-1] if begun else given, False), begun


def windows(given: Sequence[int], answer: Sequence[int], positions: int | None) -> Iterator[Pair]:
    """An answer in as few windows as possible for a model with so many positions, each after as much preceding text as
    there is room for, and after at least one token if there is any."""
    row, start = [*given, *answer], len(given)
    room = len(row) if positions is None else positions
    while start < len(row):
        end = min(start + room - (start > 0), len(row))
        yield row[max(end - room, 0) : start], row[start:end]
        start = end


def together(a: Likelihood, b: Likelihood) -> Likelihood:
    """Of two windows of one answer."""
    return replace(
        a, nats=a.nats + b.nats, error=math.hypot(a.error, b.error), exact=a.exact and b.exact,
        tokens=a.tokens + b.tokens, forwards=a.forwards + b.forwards, windows=a.windows + b.windows,
    )
