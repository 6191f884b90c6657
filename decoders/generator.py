"""Text in, text out: a model, a decoder and a cache behind one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from decoders.constraints.base import Constraint, constraint_of
from decoders.constraints.bound import Bound
from decoders.core import Cache, Canvas, Decoder, Forward, Pred, UsageError
from decoders.core.around import bare
from decoders.engine import Graph
from decoders.job import Batch, How, Item, Job, Listener, Result
from decoders.models.loaded import Loaded
from decoders.models.source import load_model
from decoders.reasoning.base import Reasoner, Reasoning
from decoders.reasoning.reasoner import BUDGET, Reasoned, reasoner_of, wants
from decoders.settings import settings
from decoders.text.encoding import Encoding, Prompt, listed
from decoders.text.reasons import Reasons
from decoders.text.records import Generation, or_raise
from decoders.text.stopping import stop_strings

Watch = Callable[[Forward, Pred, Canvas], None]


def unconstrained(watch: Watch) -> Watch:
    """One who is to see canvases as the decoder under a constraint knows them."""
    return lambda f, p, c: watch(f, p, bare(c))


class Generator:
    """A model with a way of decoding it: `Generator("nano", "threshold:tau=0.9")(["Reverse: a b c"])`.

    `model`, `decoder` and `cache` are spec strings or objects; without a `cache` it is the decoder preset's, or
    `exact`. `guidance` above 0 is the scale of classifier-free guidance. The mask token and the unknown token are never
    generated, whatever the decoder (`Suppress`).

    `constraint`: what every text has to be, `json:SCHEMA.json`, `regex:PATTERN` or `template:FILE`, or an object;
    whatever the decoder, a text that is not cut short by `max_steps` is valid, and what cannot fit into the canvas is
    refused before the first forward.

    `chat`: whether a text is put to the model as a user's message, in the checkpoint's chat template. None: where it
    has one and nothing is to be filled in; True: always; False: never. `options` (`device`, `dtype`, ...) are those of
    `load_model`. Raises `UsageError`.

    `graph`: run steps as captured CUDA graphs (`decoders.engine.Graph`, of which one may be given); where that cannot
    be, a warning says why. A run with a `watch` is run eagerly, as somebody hears of every forward. `poll` is that of
    `decode`: what the host hears, events and stop strings included, it hears every so many forwards. `compile`:
    `torch.compile` the model.
    """

    def __init__(
        self, model: str | Loaded = "nano", decoder: str | Decoder = "threshold", cache: str | Cache | None = None, *,
        guidance: float = 0.0, chat: bool | None = None, constraint: str | Constraint | None = None,
        graph: bool | Graph = False, poll: int = 1, compile: bool = False, **options: Any,
    ) -> None:
        chosen = settings(decoder, cache, guidance)
        self.decoder, self.decoder_spec = chosen.decoder, chosen.decoder_spec
        self.cache, self.cache_spec = chosen.cache, chosen.cache_spec
        if options and not isinstance(model, str):
            raise UsageError(f"{', '.join(options)}: options of loading a model, and this one is loaded")
        self.loaded = load_model(model, **options) if isinstance(model, str) else model
        self.setup = chosen.on(self.loaded.model, self.loaded.never, self.loaded.block)
        self.model = self.setup.model
        self.encoding = Encoding(self.loaded, chat, boundary_of(self.decoder, self.loaded))
        self.graph, self.poll = Graph() if graph is True else graph or None, poll
        if compile:
            compile_model(self.loaded)
        constraint = constraint_of(constraint) if isinstance(constraint, str) else constraint
        self.constraint = Bound(constraint, self.encoding) if constraint else None
        self.reasons = reasons_of(self.decoder, self.encoding)

    @property
    def reasoner(self) -> Reasoner | None:
        """Who writes between the prompts and the answers, if the decoder asks for that."""
        return self.reasons.reasoner if self.reasons else None

    @property
    def boundary(self) -> str:
        """What stands between a reasoning and the answer, as text."""
        return self.encoding.boundary

    @property
    def mask(self) -> str:
        """How a hole is written in a prompt; empty if the model has no mask token."""
        return self.encoding.mask

    def ids(self, text: str) -> list[int]:
        """The token ids of a text that stands inside another: without what the tokenizer puts before every text."""
        return self.encoding.ids(text)

    def encode(
        self, prompt: Prompt, length: int | None = None, infill: bool = False, reasoning: Reasoning | None = None
    ) -> list[int]:
        """The token ids of a prompt, and of the reasoning after it. Raises `UsageError` if it cannot be decoded: empty,
        too long, or without a hole to fill."""
        return self.encoding.encode(prompt, length, infill, reasoning)

    def reason(
        self, prompts: Sequence[Prompt], *, seeds: Sequence[int], length: int | None = None, infill: bool = False
    ) -> Sequence[Reasoning | UsageError | None]:
        """What stands between each prompt and its answer, to be given to a run as its `reasonings`; none where the
        decoder asks for no reasoner. In the place of a prompt without one is the error that says why
        (`decoders.text.reasons`), and the others are not lost. Raises `UsageError` for what concerns all of them."""
        return self.reasons(prompts, seeds, length, infill) if self.reasons else [None] * len(prompts)

    def __call__(
        self, prompts: Prompt | Sequence[Prompt], *, length: int | None = None, block: int | None = None,
        stop: str | Sequence[str] = (), ignore_eos: bool = False, infill: bool = False, seed: int = 0,
        seeds: Sequence[int] | None = None, max_steps: int | None = None,
        reasonings: Sequence[Reasoning | None] | None = None, batch: int | None = None,
        logprobs: bool = False, on_batch: Callable[[Batch], None] | None = None, on_event: Listener | None = None,
        watch: Watch | None = None,
    ) -> list[Generation]:
        """What becomes of prompts, in their order: `run` with its first error raised. Raises `UsageError`."""
        asked = listed(prompts)
        if not asked:
            raise UsageError("there is no prompt")
        results = self.run(
            asked, length=length, block=block, stop=stop, ignore_eos=ignore_eos, infill=infill, seed=seed, seeds=seeds,
            max_steps=max_steps, reasonings=reasonings, batch=batch, logprobs=logprobs, on_batch=on_batch,
            on_event=on_event, watch=watch,
        )
        made = {index: or_raise(result) for index, result in results}
        return [made[i] for i in range(len(asked))]

    def run(
        self, prompts: Prompt | Sequence[Prompt], *, length: int | None = None, block: int | None = None,
        stop: str | Sequence[str] = (), ignore_eos: bool = False, infill: bool = False, seed: int = 0,
        seeds: Sequence[int] | None = None, max_steps: int | None = None,
        reasonings: Sequence[Reasoning | None] | None = None, batch: int | None = None,
        logprobs: bool = False, on_batch: Callable[[Batch], None] | None = None, on_event: Listener | None = None,
        watch: Watch | None = None,
    ) -> Iterator[Result]:
        """Decode prompts, and hand out the index of each with what became of it as soon as that is known. A text
        depends on its own prompt and seed alone. A prompt is a text, or a conversation: messages with a `role` and a
        `content`, oldest first.

        A prompt that cannot be decoded is handed out with the error that says why, and the others are decoded without
        it. If its reasoner says that other prompts would fare the same, those behind its batch are left out.

        `length`: positions after each prompt; by default the model's, with `infill` none. `block`: size of the windows;
        by default the model's, which may be one window over the whole row. `stop`: strings that end a text; it is cut
        before the first. `ignore_eos`: decode all positions even after a stop token; the text still ends before it.
        `infill`: mask tokens in a prompt are holes to fill; otherwise they are data. `seed` is every prompt's unless
        `seeds` gives each its own. `max_steps`: as of `decode`. `reasonings`: what `reason` gave for these prompts;
        without them it is asked here.

        `batch`: how many prompts are decoded together; by default all. `on_batch` hears of each batch before its first
        forward. `on_event` hears of news as in `decode`, a row being the index of its prompt, and `watch` of every
        forward of a batch.

        Raises `UsageError` at once for what concerns all prompts.
        """
        asked = listed(prompts)
        keys = seeds_of(len(asked), seed, seeds)
        if batch is not None and batch < 1:
            raise UsageError(f"a batch needs at least one prompt, not {batch}")
        ends = stop_strings(stop, infill)
        template = (self.constraint and self.constraint.canvas(infill)) or []
        size = len(template) or self.encoding.length(length, infill)
        reasons = self.reasons if reasonings is None else None
        if reasons and infill:
            reasons([], [], size, infill)
        plain = self.decoder.tokenized(self.ids)
        decoder = self.constraint.on(plain, size) if self.constraint else plain
        if watch and decoder is not plain:
            watch = unconstrained(watch)
        job = Job(
            setup=replace(self.setup.in_blocks(block), decoder=decoder), encoding=self.encoding, reasons=reasons,
            length=size, template=tuple(template), infill=infill, stop=ends, on_batch=on_batch, on_event=on_event,
            how=How(not ignore_eos, max_steps, logprobs, watch, self.poll, self.graph),
        )
        given = [None] * len(asked) if reasonings is None else reasonings
        return job.results([Item(*x) for x in zip(range(len(asked)), asked, keys, given, strict=True)], batch)


def boundary_of(decoder: Decoder, loaded: Loaded) -> str:
    """What stands between a reasoning and the answer, as text; empty if the decoder wants nothing there."""
    said = (isinstance(decoder, Reasoned) and decoder.boundary) or ""
    return said if isinstance(said, str) else loaded.tokenizer.decode(said)


def reasons_of(decoder: Decoder, encoding: Encoding) -> Reasons | None:
    """The reasoner that a decoder asks for; none if it asks for none. Raises `UsageError`."""
    said = wants(decoder)
    budget = (isinstance(decoder, Reasoned) and decoder.budget) or BUDGET
    return Reasons(reasoner_of(said), budget, encoding) if said else None


def seeds_of(prompts: int, seed: int, seeds: Sequence[int] | None) -> list[int]:
    """A seed for each of so many prompts: its own, else the one for all. Raises `UsageError`."""
    keys = [seed] * prompts if seeds is None else list(seeds)
    if any(not -(2**63) <= k < 2**63 for k in keys):
        raise UsageError("a seed must fit into 64 bits")
    if len(keys) != prompts:
        raise UsageError(f"{prompts} prompts need as many seeds, not {len(keys)}")
    return keys


def compile_model(loaded: Loaded) -> None:
    """Raises `UsageError` for a model that is none of transformers'."""
    from decoders.models.adapter import TransformersModel  # and with it transformers, which not every model needs

    if not isinstance(loaded.model, TransformersModel):
        raise UsageError(f"{loaded.name} is not run by a model of transformers that can be compiled")
    loaded.model.compile()
