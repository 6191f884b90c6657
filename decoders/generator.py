"""Text in, text out: a model, a decoder and a cache behind one call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, TypeVar, cast

from decoders.constraints.base import Constraint, constraint_of
from decoders.constraints.bound import Bound
from decoders.core import Cache, Canvas, Decoder, Forward, Pred, UsageError
from decoders.core.around import bare
from decoders.decide import Decisions, Question, Reading
from decoders.decide.decider import Decider
from decoders.engine import Engine, Graph, Service
from decoders.job import SLOTS, Batch, How, Item, Job, Listener, Result
from decoders.models.loaded import Loaded
from decoders.models.source import load_model
from decoders.reasoning.base import Reasoner, Reasoning
from decoders.reasoning.reasoner import BUDGET, Reasoned, reasoner_of, wants
from decoders.registry import spec_of
from decoders.settings import settings, with_options
from decoders.stream import Stream
from decoders.text.encoding import Encoding, Prompt, listed
from decoders.text.reasons import Reasons
from decoders.text.records import Generation, or_raise, with_trace
from decoders.text.stopping import stop_strings
from decoders.text.trace import Tracing, both

T = TypeVar("T")
Watch = Callable[[Forward, Pred, Canvas], None]

KEPT = 64
"""How many generators on the same model, with other decoders, caches or constraints, are kept for later calls."""


def unconstrained(watch: Watch) -> Watch:
    """A `watch` that sees the canvas as the decoder inside a constraint does."""
    return lambda f, p, c: watch(f, p, bare(c))


class Generator:
    """A model and a way to decode with it: `Generator("nano", "threshold:tau=0.9")(["Reverse: a b c"])`.

    `model`, `decoder` and `cache` are spec strings or objects; the default cache is that of the decoder preset, or
    `exact`. `guidance` above 0 is the scale of classifier-free guidance. The mask token and the unknown token are never
    generated, with any decoder (`Suppress`).

    `constraint` restricts every text: `json:SCHEMA.json`, `regex:PATTERN` or `template:FILE`, or an object. With any
    decoder, a text that is not cut short by `max_steps` is valid, and a constraint that no text of the canvas's length
    can satisfy is refused before the first forward.

    `chat`: whether a text becomes a user's message in the checkpoint's chat template. None: if there is a template and
    no hole is to be filled; True: always; False: never. `options` (`device`, `dtype`, ...) are those of `load_model`.
    Raises `UsageError`.

    `graph`: run steps as captured CUDA graphs (`True`, or a `decoders.engine.Graph`); if that is impossible, a warning
    says why. A run with a `watch` is not captured. `poll`, as in `decode`: the host looks for finished rows, events and
    stop strings every `poll` forwards. `compile`: `torch.compile` the model. `slots`: how many of the submitted prompts
    are decoded at a time. `memory`: bytes that canvases, keys and values, and logits may take; by default half of the
    free memory.
    """

    def __init__(
        self, model: str | Loaded = "nano", decoder: str | Decoder = "threshold", cache: str | Cache | None = None, *,
        guidance: float = 0.0, chat: bool | None = None, constraint: str | Constraint | None = None,
        graph: bool | Graph = False, poll: int = 1, compile: bool = False, slots: int = SLOTS,
        memory: int | None = None, **options: Any,
    ) -> None:
        chosen = settings(decoder, cache, guidance)
        self.decoder, self.decoder_spec = chosen.decoder, chosen.decoder_spec
        self.cache, self.cache_spec = chosen.cache, chosen.cache_spec
        if options and not isinstance(model, str):
            raise UsageError(f"{', '.join(options)}: options of loading a model, and this one is already loaded")
        self.loaded = load_model(model, **options) if isinstance(model, str) else model
        self.setup = chosen.on(self.loaded.model, self.loaded.never, self.loaded.block)
        self.model = self.setup.model
        self.guidance, self.slots, self.memory = guidance, slots, memory
        self.shared: dict[str, Any] = {"lock": Lock()}
        self.encoding = Encoding(self.loaded, chat, boundary_of(self.decoder, self.loaded))
        self.graph, self.poll = Graph() if graph is True else graph or None, poll
        if compile:
            compile_model(self.loaded)
        constraint = constraint_of(constraint) if isinstance(constraint, str) else constraint
        self.constraint = Bound(constraint, self.encoding) if constraint else None
        self.reasons = reasons_of(self.decoder, self.encoding)

    @property
    def reasoner(self) -> Reasoner | None:
        """The reasoner that writes between prompt and answer, if the decoder has one."""
        return self.reasons.reasoner if self.reasons else None

    @property
    def boundary(self) -> str:
        """The text between the reasoning and the answer."""
        return self.encoding.boundary

    @property
    def mask(self) -> str:
        """The text of the mask token, which marks a hole in a prompt; empty if the model has no mask token."""
        return self.encoding.mask

    def ids(self, text: str) -> list[int]:
        """The token ids of a text that stands inside another one, without the tokens that the tokenizer puts before
        every text."""
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
        """The reasoning for each prompt, which `run` takes as its `reasonings`; None if the decoder has no reasoner. If
        the reasoner fails for a prompt, the error takes its place (`decoders.text.reasons`), and the others are kept.
        Raises `UsageError` for errors that concern all prompts."""
        return self.reasons(prompts, seeds, length, infill) if self.reasons else [None] * len(prompts)

    def __call__(
        self, prompts: Prompt | Sequence[Prompt], *, progress: bool = False, **how: Any
    ) -> list[Generation]:
        """The results of any number of prompts, in their order. It takes the arguments of `run`, and raises the first
        error. `progress`: show a bar on stderr. Raises `UsageError`."""
        results = self.run(prompts, **how)
        if progress:
            results = followed(results, len(listed(prompts)) * (how.get("num_return_sequences") or how.get("n") or 1))
        made = {index: or_raise(result) for index, result in results}
        return [made[i] for i in range(len(made))]

    def run(
        self, prompts: Prompt | Sequence[Prompt], *, seed: int = 0, seeds: Sequence[int] | None = None, n: int = 1,
        reasonings: Sequence[Reasoning | None] | None = None, batch: int | None = None,
        on_batch: Callable[[Batch], None] | None = None, on_event: Listener | None = None, watch: Watch | None = None,
        trace: bool = False, num_return_sequences: int | None = None, **how: Any,
    ) -> Iterator[Result]:
        """Decode prompts, and yield the index of each with its result as soon as that is finished. A text depends only
        on its own prompt and seed. A prompt is a text, or a conversation: messages with a `role` and a `content`,
        oldest first.

        For a prompt that cannot be decoded, the error is yielded in place of a result, and the others are decoded
        without it. If its reasoner reports that other prompts would fail in the same way, the prompts after its batch
        are left out.

        `n` samples of each prompt follow one another, with the seeds after the prompt's; an index counts samples.
        `num_return_sequences` is another name for it, as `max_new_tokens` is for `length`. `trace`: results record how
        their texts were decoded (`Generation.trace`); a batch is then decoded together to its end.
        `decoder`, `cache`, `constraint` and options of the decoder (`temperature`, `top_p`, `top_k`, ...) replace the
        generator's own. `logprobs`: results have log probabilities (`Generation.logprobs`), and with `top_logprobs`
        also those of that many of the likeliest tokens.

        `length`: positions after each prompt; by default the model's, with `infill` none. `block`: size of the windows;
        by default the model's, which may be one window over the whole row. `stop`: strings that end a text; it is cut
        before the first. `ignore_eos`: decode all positions even after a stop token; the text still ends before it.
        `infill`: mask tokens in a prompt are holes to fill; otherwise they are data. `seed` applies to every prompt
        unless `seeds` gives each its own. `max_steps`: as in `decode`. `reasonings`: the results of `reason` for these
        prompts; by default the reasoner is asked here.

        `batch`: how many prompts are decoded at a time; by default 32. `on_batch` is called with the prompts that start
        together, before their first forward. `on_event` is called as in `decode`, with the index of the prompt as the
        row, and `watch` is called after every forward of a batch.

        Raises `UsageError` at once for errors that concern all prompts.
        """
        n = either("n", n if n != 1 else None, "num_return_sequences", num_return_sequences, 1)
        asked, keys = samples(listed(prompts), seed, seeds, n)
        if batch is not None and batch < 1:
            raise UsageError(f"a batch needs at least one prompt, not {batch}")
        tracing = Tracing(self.loaded.tokenizer.decode) if trace else None

        def begin(started: Batch) -> None:
            if tracing:
                tracing.begin(started.prompts)
            if on_batch:
                on_batch(started)

        job = self.job(asks=reasonings is None, watch=watch, tracing=tracing, **how)
        job = replace(job, on_batch=begin, on_event=on_event)
        given = [None] * len(asked) if reasonings is None else [x for x in reasonings for _ in range(n)]
        results = job.results([Item(*x) for x in zip(range(len(asked)), asked, keys, given, strict=True)], batch)
        return tracing.traced(results, with_trace) if tracing else results

    def submit(self, prompt: Prompt, *, seed: int = 0, deadline: float | None = None, **how: Any) -> Stream:
        """Start to decode one prompt, together with all others that were submitted, and return at once. The returned
        stream has the `result`, yields drafts with `for` or `async for`, and can be awaited and cancelled. At its
        `deadline`, a `time.monotonic`, it ends with `DeadlineError`. `how` as in `run`. Raises `UsageError` at once if
        the prompt cannot be decoded."""
        (text,), (key,) = samples([prompt], seed, None, 1)
        job = self.job(**how)
        item = Item(0, text, key, None)
        (reasoning,) = job.reasonings([item])
        made = job.encoded(item, reasoning)
        if isinstance(made, UsageError):
            raise made
        return Stream(self.service, job, made, deadline)

    def stream(self, prompt: Prompt, **how: Any) -> Stream:
        """The drafts of a text while it is decoded: `for draft in generator.stream("Sort: b a"): print(draft.text)`. It
        is another name for `submit`."""
        return self.submit(prompt, **how)

    def decide(self, state: Any, questions: Mapping[str, Question] | Sequence[Question]) -> Decisions:
        """Answer questions about `state`, a text or JSON, by a probability for each possible answer.

        Nothing is generated: every question is a separate row of the text, the question and a hole for a label, and
        rows of similar lengths share a forward, as far as there are slots; an answer does not depend on the other
        questions. `decoders.decide` has the types of questions: `Predicate`, `Choice` and `Score`. Raises
        `UsageError`."""
        return Decider(self).submit(state, questions).result()

    def read(self, text: str, labels: Sequence[str], holes: int | None = None) -> list[Reading]:
        """The probabilities of labels at the holes of a text. Holes are the mask tokens in it, or `holes` positions
        after it; the default is one position after it. The text is used as it is, without a chat template.

        A masked model reads all holes in one forward, each with the others undecided; a block-causal model reads those
        in the first block that has any, and a causal model the first. Labels include the space before them (" a").
        Labels of several tokens can be read at one hole after the text, which has as many positions as the longest
        label: by the chain rule, with a row for each prefix of a label, all rows in one forward. Raises
        `UsageError`."""
        return Decider(self).read(text, labels, holes).result()

    @property
    def service(self) -> Service:
        """The engine that decodes submitted prompts in a thread of its own. It is started when it is first needed, and
        shared with the generators that `using` makes."""
        with self.shared["lock"]:
            if self.shared.get("service") is None:
                self.shared["service"] = Service(Engine(self.model, self.slots, self.memory))
            return cast(Service, self.shared["service"])

    def using(
        self, decoder: str | Decoder | None = None, cache: str | Cache | None = None,
        constraint: Constraint | str | None = None, **options: float | None,
    ) -> Generator:
        """The same model with another decoder, cache or constraint; `options` (`temperature`, `top_p`, `top_k`, ...)
        are written into the decoder's spec. Raises `UsageError`."""
        given = {name: value for name, value in options.items() if value is not None}
        if decoder is None and cache is None and constraint is None and not given:
            return self
        spec = self.decoder_spec if decoder is None else decoder
        if given:
            spec = with_options(spec if isinstance(spec, str) else spec_of(spec), **given)
        policy = self.cache if cache is None and decoder is None else cache
        bound = self.constraint.constraint if constraint is None and self.constraint else constraint
        key = (spec, policy, bound)
        with self.shared["lock"]:
            known: OrderedDict[Any, Generator] = self.shared.setdefault("using", OrderedDict())
            if key not in known:
                known[key] = self.other(spec, policy, bound)
                if len(known) > KEPT:
                    known.popitem(last=False)
            known.move_to_end(key)
            return known[key]

    def other(
        self, decoder: str | Decoder, cache: str | Cache | None, constraint: Constraint | str | None
    ) -> Generator:
        """A generator on the same model, with the same engine."""
        made = Generator(
            self.loaded, decoder, cache, guidance=self.guidance, chat=self.encoding.chat, constraint=constraint,
            graph=self.graph or False, poll=self.poll, slots=self.slots, memory=self.memory,
        )
        made.model, made.setup, made.shared = self.model, replace(made.setup, model=self.model), self.shared
        return made

    def job(
        self, *, length: int | None = None, block: int | None = None, stop: str | Sequence[str] = (),
        ignore_eos: bool = False, infill: bool = False, max_steps: int | None = None, logprobs: bool = False,
        top_logprobs: int = 0, watch: Watch | None = None, asks: bool = True, decoder: str | Decoder | None = None,
        cache: str | Cache | None = None, constraint: Constraint | str | None = None,
        max_new_tokens: int | None = None, tracing: Tracing | None = None, **options: float | None,
    ) -> Job:
        """The settings that prompts of one call share; arguments as in `run`. `asks`: the decoder's reasoner, if it has
        one, is asked. Raises `UsageError` for errors that concern all prompts."""
        length = either("length", length, "max_new_tokens", max_new_tokens, None)
        run = self.using(decoder, cache, constraint, **options)
        if run is not self:
            return run.job(
                length=length, block=block, stop=stop, ignore_eos=ignore_eos, infill=infill, max_steps=max_steps,
                logprobs=logprobs, top_logprobs=top_logprobs, watch=watch, asks=asks, tracing=tracing,
            )
        if logprobs and self.decoder.moves_text:
            name = type(self.decoder).__name__
            raise UsageError(f"logprobs are kept by position, and {name} moves text; leave them out")
        ends = stop_strings(stop, infill)
        template = (self.constraint and self.constraint.canvas(infill)) or []
        size = len(template) or self.encoding.length(length, infill)
        reasons = self.reasons if asks else None
        if reasons and infill:
            reasons([], [], size, infill)
        plain = self.decoder.tokenized(self.ids)
        if tracing:
            tracing.decoder, watch = plain, both(watch, tracing.watch)
        bound = self.constraint.on(plain, size) if self.constraint else plain
        if watch and bound is not plain:
            watch = unconstrained(watch)
        return Job(
            setup=replace(self.setup.in_blocks(block), decoder=bound), encoding=self.encoding, reasons=reasons,
            length=size, template=tuple(template), infill=infill, stop=ends,
            how=How(not ignore_eos, max_steps, logprobs, top_logprobs, watch, self.poll, self.graph),
            memory=self.memory,
        )


def boundary_of(decoder: Decoder, loaded: Loaded) -> str:
    """The text between the reasoning and the answer; empty if the decoder puts none there."""
    said = (isinstance(decoder, Reasoned) and decoder.boundary) or ""
    return said if isinstance(said, str) else loaded.tokenizer.decode(said)


def reasons_of(decoder: Decoder, encoding: Encoding) -> Reasons | None:
    """The reasoner of a decoder; None if it has none. Raises `UsageError`."""
    said = wants(decoder)
    budget = (isinstance(decoder, Reasoned) and decoder.budget) or BUDGET
    return Reasons(reasoner_of(said), budget, encoding) if said else None


def samples(
    prompts: Sequence[Prompt], seed: int, seeds: Sequence[int] | None, n: int
) -> tuple[list[Prompt], list[int]]:
    """Each prompt `n` times in a row, and the seed of each sample. The first sample of a prompt has the prompt's own
    seed, or the one for all prompts; its further samples have the seeds after that. Raises `UsageError`."""
    keys = [seed] * len(prompts) if seeds is None else list(seeds)
    if n < 1:
        raise UsageError(f"n must be at least 1, not {n}")
    if any(not -(2**63) <= k < 2**63 for k in keys):
        raise UsageError("a seed must fit into 64 bits")
    if len(keys) != len(prompts):
        raise UsageError(f"{len(prompts)} prompts need {len(prompts)} seeds, not {len(keys)}")
    return [p for p in prompts for _ in range(n)], [wrapped(k + i) for k in keys for i in range(n)]


def either(name: str, value: T | None, other: str, second: T | None, default: T) -> T:
    """The value of an argument that has two names. Raises `UsageError` if both are given and differ."""
    if value is not None and second is not None and value != second:
        raise UsageError(f"{name}={value} and {other}={second} are two names for one thing; give one of them")
    found = value if value is not None else second
    return default if found is None else found


def followed(results: Iterator[Result], total: int) -> Iterator[Result]:
    """The results, with a bar on stderr that counts them."""
    from rich.console import Console
    from rich.progress import track

    yield from track(results, "decoding", total, console=Console(stderr=True))


def wrapped(number: int) -> int:
    """A whole number as one of 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def compile_model(loaded: Loaded) -> None:
    """Raises `UsageError` for a model that is not one of transformers."""
    from decoders.models.adapter import TransformersModel  # this imports transformers, which not every model needs

    if not isinstance(loaded.model, TransformersModel):
        raise UsageError(f"{loaded.name} is not run by a transformers model, so it cannot be compiled")
    loaded.model.compile()
