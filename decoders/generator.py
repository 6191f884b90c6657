"""Text in, text out: a model, a decoder and a cache behind one call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from decoders.constraints.automaton import Automaton
from decoders.constraints.base import Constraint, constraint_of
from decoders.constraints.constrained import Constrained, check_fits
from decoders.constraints.spelling import spellings
from decoders.core import (
    Blocks,
    Cache,
    Canvas,
    Decoder,
    Event,
    Forward,
    Model,
    Pred,
    Rule,
    State,
    Suppress,
    UsageError,
    check,
    decode,
    generated,
)
from decoders.engine import Graph
from decoders.models.guidance import Guided
from decoders.models.loaded import Loaded, Messages, Tokenizer
from decoders.models.source import load_model
from decoders.reasoning.base import Reasoner, Reasoning
from decoders.reasoning.reasoner import BUDGET, Reasoned, reasoner_of, wants
from decoders.registry import get, get_cache, spec_of, unfolded

Watch = Callable[[Forward, Pred, Canvas], None]
Prompt = str | Messages
"""A text, or a conversation."""
KEYS = (
    "text", "tokens", "nfe", "generated_tokens", "tokens_per_forward", "seconds", "finish_reason", "decoder", "cache", "seed",
    "positions_computed", "cache_hit_rate", "flops", "kv_bytes",
)


@dataclass(frozen=True)
class Generation:
    """What became of one prompt."""

    text: str
    """The generated text; with `infill` the whole prompt with its holes filled, and what follows it."""
    tokens: tuple[int, ...]
    """Its token ids. Neither a stop token nor what follows one is among them."""
    nfe: int
    """Forward passes that this prompt took part in."""
    generated_tokens: int
    """How many of `tokens` were generated: filled holes count, the prompt and the first stop token do not."""
    seconds: float
    """Wall time of the whole batch that the prompt was in, without loading the model."""
    finish_reason: str
    """`stop` (a stop token, or a stop string), `length` or `max_steps`. With `ignore_eos` a text that ends before its length
    because of a stop token still says `length`, since all its positions were decoded."""
    decoder: str
    cache: str
    seed: int
    positions_computed: int
    """Positions that the model ran for this prompt, in all forwards."""
    cache_hit_rate: float
    """The share of positions whose stored keys and values were read instead."""
    flops: float
    """Floating point operations spent on this prompt, from the shapes of the model; 0 if it does not tell."""
    kv_bytes: int
    """What the keys and values of this prompt's row take in the store, which is the same under every cache policy."""
    reasoning: Reasoning | None = None
    """What another model wrote between the prompt and the text, where the decoder asks for that. Nothing above counts any of it."""

    @property
    def tokens_per_forward(self) -> float:
        return self.generated_tokens / self.nfe

    def record(self) -> dict[str, Any]:
        """Everything, under `KEYS`, as JSON can hold it; with a reasoning also what that was and took (`Reasoning.record`)."""
        own = {key: getattr(self, key) for key in KEYS} | {"tokens": list(self.tokens)}
        return own | (self.reasoning.record() if self.reasoning else {})


@dataclass(frozen=True, eq=False)
class NoStopInHoles:
    """Stop tokens are impossible inside a prompt with holes: text stands right of them."""

    lengths: Tensor  # (B,) long, of the prompts
    stop_ids: tuple[int, ...]

    def __call__(self, s: State, p: Pred) -> Pred:
        inside = (s.position < self.lengths[:, None]).gather(1, p.at.clamp(max=p.width - 1))
        rows = torch.where(inside.flatten()[:, None], p.without(self.stop_ids).rows, p.rows)
        return replace(p, logits=rows.view_as(p.logits), banned=())


class Generator:
    """A model with a way of decoding it: `Generator("nano", "threshold:tau=0.9")(["Reverse: a b c"])`.

    `model`, `decoder` and `cache` are spec strings or objects; without a `cache` it is the decoder preset's, or `exact`. `guidance`
    above 0 is the scale of classifier-free guidance. The mask token and the unknown token are never generated, whatever the decoder
    (`Suppress`).

    `constraint`: what every text has to be, `json:SCHEMA.json`, `regex:PATTERN` or `template:FILE`, or an object; whatever the decoder,
    a text that is not cut short by `max_steps` is valid, and what cannot fit into the canvas is refused before the first forward.

    `chat`: whether a text is put to the model as a user's message, in the checkpoint's chat template. None: where it has one and
    nothing is to be filled in; True: always; False: never. `options` (`device`, `dtype`, ...) are those of `load_model`. Raises
    `UsageError`.

    `graph`: run steps as captured CUDA graphs (`decoders.engine.Graph`, of which one may be given); where that cannot be, a warning says
    why. A call with a `watch` is run eagerly, as somebody hears of every forward. `poll` is that of `decode`: what the host hears, events
    and stop strings included, it hears every so many forwards. `compile`: `torch.compile` the model.
    """

    def __init__(
        self, model: str | Loaded = "nano", decoder: str | Decoder = "threshold", cache: str | Cache | None = None, *,
        guidance: float = 0.0, chat: bool | None = None, constraint: str | Constraint | None = None, graph: bool | Graph = False,
        poll: int = 1, compile: bool = False, **options: Any,
    ) -> None:
        self.decoder = get(decoder) if isinstance(decoder, str) else decoder
        self.decoder_spec = decoder if isinstance(decoder, str) else spec_of(decoder)
        if cache is None:
            cache = (unfolded(decoder)[1] if isinstance(decoder, str) else None) or "exact"
        self.cache = get_cache(cache) if isinstance(cache, str) else cache
        self.cache_spec = cache if isinstance(cache, str) else spec_of(cache, "caches")
        if not (math.isfinite(guidance) and guidance >= 0):
            raise UsageError(f"guidance must be at least 0, not {guidance}")
        if options and not isinstance(model, str):
            raise UsageError(f"{', '.join(options)}: options of loading a model, and this one is loaded")
        self.loaded = load_model(model, **options) if isinstance(model, str) else model
        if chat and self.loaded.chat is None:
            raise UsageError(f"{self.loaded.name} has no chat template")
        self.chat = chat
        self.model: Model = Guided(self.loaded.model, guidance) if guidance else self.loaded.model
        check(self.model, self.decoder, self.cache)
        self.graph, self.poll = Graph() if graph is True else graph or None, poll
        if compile:
            from decoders.models.adapter import TransformersModel  # and with it transformers, which not every model needs

            if not isinstance(self.loaded.model, TransformersModel):
                raise UsageError(f"{self.loaded.name} is not run by a model of transformers that can be compiled")
            self.loaded.model.compile()
        self.constraint = constraint_of(constraint) if isinstance(constraint, str) else constraint
        self.compiled: list[Automaton | None] = []  # at the first call, since it can take seconds
        said = wants(self.decoder)
        self.reasoner: Reasoner | None = reasoner_of(said) if said else None

    @property
    def boundary(self) -> str:
        """What stands between a reasoning and the answer, as text."""
        said = (isinstance(self.decoder, Reasoned) and self.decoder.boundary) or ""
        return said if isinstance(said, str) else self.loaded.tokenizer.decode(said)

    def ids(self, text: str) -> list[int]:
        """The token ids of a text that stands inside another: without what the tokenizer puts before every text."""
        encode = self.loaded.tokenizer.encode
        return encode(text)[len(encode("")) :]

    @property
    def mask(self) -> str:
        """How a hole is written in a prompt; empty if the model has no mask token."""
        return "" if self.model.mask_id is None else self.loaded.tokenizer.decode([self.model.mask_id])

    def length(self, length: int | None, infill: bool) -> int:
        """Positions after the prompt: as asked, else none after an infilled prompt and the model's default after others."""
        return length if length is not None else 0 if infill else self.loaded.length

    def encode(
        self, prompt: Prompt, length: int | None = None, infill: bool = False, reasoning: Reasoning | None = None
    ) -> list[int]:
        """The token ids of a prompt, and of the reasoning after it. Raises `UsageError` if it cannot be decoded: empty, too long, or
        without a hole to fill."""
        tokens, length = self.tokens(prompt, infill, reasoning), self.length(length, infill)
        if not tokens:
            raise UsageError("the prompt is empty")
        if infill and length == 0 and self.model.mask_id not in tokens:
            raise UsageError(f"the prompt has no hole to fill: write {self.mask} where one is, or give a length")
        most = self.loaded.positions
        if most is not None and len(tokens) + length > most:
            has = "prompt and its reasoning have" if reasoning else "prompt has"
            raise UsageError(f"the {has} {len(tokens)} tokens; with {length} more that is beyond the {most} of {self.loaded.name}")
        return tokens

    def tokens(self, prompt: Prompt, infill: bool, reasoning: Reasoning | None = None) -> list[int]:
        """The token ids of a text or of a conversation, with the chat template where that is asked for.

        A reasoning and the boundary follow: as the beginning of the answer where there is a chat template, elsewhere as more of the
        text, on a line of its own unless it continues the prompt."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else checked(prompt)
        for text in (m["content"] for m in messages):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as e:
                raise UsageError(f"the prompt is not valid Unicode text: {e.reason} at character {e.start}") from None
        wanted = self.chat if self.chat is not None else self.loaded.chat is not None and not (infill and isinstance(prompt, str))
        if wanted and self.loaded.chat is not None:
            return self.loaded.chat(messages, infill, reasoning.text + self.boundary if reasoning else "")
        if not isinstance(prompt, str):
            why = f"{self.loaded.name} has none" if self.loaded.chat is None else "it was asked not to be applied"
            raise UsageError(f"a conversation needs a chat template, and {why}")
        if reasoning:
            prompt += ("" if reasoning.continues or prompt.endswith("\n") else "\n") + reasoning.text + self.boundary
        return self.loaded.tokenizer.encode(prompt)

    def reason(
        self, prompts: Sequence[Prompt], *, seeds: Sequence[int], length: int | None = None, infill: bool = False
    ) -> list[Reasoning | UsageError | None]:
        """What stands between each prompt and its answer, to be given to the call as its `reasonings`; none where the decoder asks
        for no reasoner. In the place of a prompt without one is the error that says why, and the others are not lost: the reasoner
        failed, or the prompt cannot be decoded, alone (then it is not reasoned about) or with its reasoning. Raises `UsageError` for
        what concerns all of them."""
        if self.reasoner is None:
            return [None] * len(prompts)
        if infill:
            raise UsageError("a reasoner writes what comes between a prompt and its answer, so it cannot be used with infill")
        found: list[Reasoning | UsageError | None] = [self.problem(p, length) for p in prompts]
        todo = [i for i, problem in enumerate(found) if problem is None]
        budget = (isinstance(self.decoder, Reasoned) and self.decoder.budget) or BUDGET
        asked, keys = [prompts[i] for i in todo], [seeds[i] for i in todo]
        written = self.reasoner.write(asked, seeds=keys, boundary=self.boundary, budget=budget) if todo else []
        for i, made in zip(todo, written, strict=True):
            found[i] = made if isinstance(made, UsageError) else self.problem(prompts[i], length, made) or made
        return found

    def problem(self, prompt: Prompt, length: int | None, reasoning: Reasoning | None = None) -> UsageError | None:
        """Why a prompt cannot be decoded, if so."""
        try:
            self.encode(prompt, length, reasoning=reasoning)
        except UsageError as e:
            return e
        return None

    def __call__(
        self, prompts: Prompt | Sequence[Prompt], *, length: int | None = None, block: int | None = None, stop: str | Sequence[str] = (),
        ignore_eos: bool = False, infill: bool = False, seed: int = 0, seeds: Sequence[int] | None = None, max_steps: int | None = None,
        reasonings: Sequence[Reasoning | None] | None = None, on_event: Callable[[Event], None] | None = None, watch: Watch | None = None,
    ) -> list[Generation]:
        """Decode prompts in one batch; a text depends on its own prompt and seed alone. A prompt is a text, or a conversation:
        messages with a `role` and a `content`, oldest first.

        `length`: positions after each prompt; by default the model's, with `infill` none. `block`: size of the windows; by default
        the model's, which may be one window over the whole row. `stop`: strings that end a text; it is cut before the first.
        `ignore_eos`: decode all positions even after a stop token; the text still ends before it. `infill`: mask tokens in a prompt
        are holes to fill; otherwise they are data. `seed` is every prompt's unless `seeds` gives each its own. `reasonings`: what
        `reason` gave for these prompts; without them it is asked here, and its first error raised. `max_steps`, `on_event` and `watch`
        are those of `decode`.
        """
        prompts = listed(prompts)
        ends = [stop] if isinstance(stop, str) else list(stop)
        if not all(ends):
            raise UsageError("a stop string is empty")
        if ends and infill:
            raise UsageError("stop strings end a text from left to right, so they cannot be used with infill")
        keys = [seed] * len(prompts) if seeds is None else list(seeds)
        if any(not -(2**63) <= k < 2**63 for k in keys):
            raise UsageError("a seed must fit into 64 bits")
        canvas = self.template(infill)
        size = len(canvas) if canvas else self.length(length, infill)
        automaton = self.automaton(size)
        if reasonings is None:
            found = self.reason(prompts, seeds=keys, length=size, infill=infill)
            for problem in found:
                if isinstance(problem, UsageError):
                    raise problem
            reasonings = cast(list[Reasoning | None], found)
        rows = [self.encode(p, size, infill, r) for p, r in zip(prompts, reasonings, strict=True)]
        given = [len(row) for row in rows]
        if canvas:
            if any(self.model.mask_id in row for row in rows):
                raise UsageError(f"with a template a prompt cannot hold {self.mask}; the holes are those of the template")
            rows, size, infill = [[*row, *canvas] for row in rows], 0, True
        window = block if block is not None else self.loaded.block
        windows = None if window is None else Blocks(window, self.model.attention_block)
        rules: list[Rule] = [Suppress(self.loaded.never)]
        if infill and self.model.stop_ids:
            rules.append(NoStopInHoles(torch.tensor([len(r) for r in rows], device=self.model.device), self.model.stop_ids))
        seen, halt, decoder = Last(), Enough(self, ends), self.decoder.tokenized(self.ids)
        if automaton:
            decoder = Constrained(decoder, automaton, size)
        began = time.perf_counter()
        done = decode(
            self.model, decoder, rows, length=size, windows=windows, cache=self.cache, rules=rules,
            stop=not ignore_eos, infill=infill, seeds=keys, max_steps=max_steps, on_event=on_event, watch=watch,
            halt=halt if ends else None, poll=self.poll, runner=self.graph, final=seen,
        )
        seconds = time.perf_counter() - began
        out = []
        for b, (row, key) in enumerate(zip(done, keys, strict=True)):
            text = self.filled(seen.canvas, b, len(rows[b])) if infill else self.written(seen.canvas, b, halt)
            text = text.behind(given[b], self.loaded.tokenizer) if canvas else text
            reason = "stop" if text.cut else row.finish_reason
            spent = row.positions_computed, row.cache_hit_rate, row.flops, self.model.column_bytes * seen.canvas.tokens.shape[1]
            out.append(
                Generation(
                    text.text, text.tokens, row.nfe, text.made, seconds, reason, self.decoder_spec, self.cache_spec, key, *spent,
                    reasoning=reasonings[b],
                )
            )
        return out

    def template(self, infill: bool) -> list[int] | None:
        """The token ids of the whole text with its holes, if the constraint is a template. Raises `UsageError`."""
        if self.constraint is None:
            return None
        if infill:
            raise UsageError("a constraint is about the text after a prompt, so it cannot be used with infill")
        return self.constraint.canvas(self.ids, self.mask)

    def automaton(self, size: int) -> Automaton | None:
        """What the constraint allows, which `size` positions have room for. Raises `UsageError` if they have none."""
        if self.constraint is None:
            return None
        if not self.compiled:
            vocab, ends = self.model.vocab, self.model.stop_ids
            known = spellings(self.loaded.tokenizer, vocab, (*self.loaded.never, *ends))
            found = self.constraint.automaton(known, vocab, ends)
            self.compiled.append(found and found.to(self.model.device))
        automaton = self.compiled[0]
        if automaton:
            check_fits(automaton, size)
        return automaton

    def written(self, c: Canvas, row: int, halt: Enough) -> Text:
        """What follows the prompt, cut before a stop string; only settled text can hold one."""
        tokens, settled = generated(c, row, self.decoder.revises)
        kept = [t for t in tokens if t is not None]
        sure = halt.ended.get(row) or [t for t in tokens[:settled] if t is not None]
        decoded = self.loaded.tokenizer.decode
        cut = halt.find(sure)
        if cut is None:
            return Text(tuple(kept), decoded(kept), len(kept))
        text = decoded(sure)[:cut]
        count = next(n for n in range(len(sure) + 1) if decoded(sure[:n]).startswith(text))
        return Text(tuple(sure[:count]), text, count, cut=True)

    def filled(self, c: Canvas, row: int, prompt: int) -> Text:
        """The prompt with its holes filled and what follows it; an undecided hole is still a mask token."""
        tokens, _ = generated(c, row, self.decoder.revises)
        holes = int(c.editable[row, :prompt].sum())
        whole = [*c.tokens[row, :prompt].tolist(), *(t for t in tokens[holes:] if t is not None)]
        return Text(tuple(whole), self.loaded.tokenizer.decode(whole), sum(t is not None for t in tokens))


def listed(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """The prompts; one alone may stand for itself. A message is no prompt, so a sequence of messages is one conversation."""
    one = isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], Mapping))
    return [cast(Prompt, prompts)] if one else list(cast(Sequence[Prompt], prompts))


def checked(messages: Messages) -> Messages:
    """A conversation. Raises `UsageError` if it is none."""
    for m in messages:
        if not (isinstance(m, Mapping) and all(isinstance(m.get(key), str) for key in ("role", "content"))):
            raise UsageError(f'a message needs a "role" and a "content" that are texts, not {m!r}')
    if not messages:
        raise UsageError("a conversation needs a message")
    return messages


class Text(NamedTuple):
    """The text of a row: `made` of its tokens were generated; `cut`: a stop string ended it."""

    tokens: tuple[int, ...]
    text: str
    made: int
    cut: bool = False

    def behind(self, prompt: int, tokenizer: Tokenizer) -> Text:
        """Without the prompt, of so many tokens."""
        return self._replace(tokens=self.tokens[prompt:], text=tokenizer.decode(self.tokens[prompt:]))


class Last:
    """Remembers the canvas at the end of a run."""

    canvas: Canvas

    def __call__(self, c: Canvas) -> None:
        self.canvas = c


class Enough:
    """A `halt` for `decode`: true once the settled text of a row holds a stop string. `ended` keeps the tokens that did."""

    def __init__(self, generator: Generator, ends: Sequence[str]) -> None:
        self.generator, self.ends = generator, ends
        self.seen: dict[int, int] = {}
        self.ended: dict[int, list[int]] = {}

    def __call__(self, row: int, tokens: Sequence[int]) -> bool:
        if self.seen.get(row) != len(tokens) and self.find(tokens) is not None:
            self.ended[row] = list(tokens)
        self.seen[row] = len(tokens)
        return row in self.ended

    def find(self, tokens: Sequence[int]) -> int | None:
        """Where the first of the stop strings begins in the text of `tokens`."""
        text = self.generator.loaded.tokenizer.decode(tokens) if self.ends else ""
        return min((i for end in self.ends if (i := text.find(end)) >= 0), default=None)
