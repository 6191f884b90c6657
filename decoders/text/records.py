"""The result of a prompt, and its record for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from decoders.core import UsageError
from decoders.reasoning.base import Reasoning

if TYPE_CHECKING:
    from rich.console import Group

    from decoders.text.trace import Trace

KEYS = (
    "text", "tokens", "nfe", "generated_tokens", "tokens_per_forward", "seconds", "finish_reason", "decoder", "cache",
    "seed", "positions_computed", "cache_hit_rate", "flops", "kv_bytes",
)


@dataclass(frozen=True)
class Generation:
    """The result of decoding one prompt. Two are equal if their results are, whatever time these took."""

    text: str
    """The generated text; with `infill` the whole prompt with its holes filled, and what follows it."""
    tokens: tuple[int, ...]
    """Its token ids, without the stop token and everything after it."""
    nfe: int
    """Forward passes that this prompt took part in."""
    generated_tokens: int
    """How many of `tokens` were generated: filled holes count, the prompt and the first stop token do not."""
    seconds: float = field(compare=False)
    """Wall time from its first forward to its last, including the time of other prompts in the same forwards."""
    finish_reason: str
    """`stop` (a stop token, or a stop string), `length` or `max_steps`. With `ignore_eos` a text that ends before its
    length because of a stop token still says `length`, since all its positions were decoded."""
    decoder: str
    cache: str
    seed: int
    positions_computed: int
    """Positions that the model computed for this prompt, in all forwards."""
    cache_hit_rate: float
    """The share of positions whose stored keys and values were read instead."""
    flops: float
    """Floating point operations for this prompt, from the shapes of the model; 0 if it does not report them."""
    kv_bytes: int
    """Bytes of the keys and values that are stored for this prompt's row; 0 if none are, as without a cache."""
    waiting_seconds: float = field(default=0.0, compare=False)
    """Wall time before its first forward, while other prompts were decoded."""
    commit_steps: tuple[int, ...] = ()
    """For each generated token, left to right, the forward in which it was committed, counted from 0."""
    logprobs: tuple[float | None, ...] | None = None
    """For each generated token its log probability at temperature 1 in the forward that committed it; None for a token
    that this forward did not predict. Only if asked for."""
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    """For each generated token the likeliest tokens of that forward, likeliest first, with their log probabilities; the
    token itself is among them only if it was that likely. Only if asked for."""
    revisions: int = 0
    """How often a decided position was changed or reopened; counted if `logprobs` were asked for."""
    forwards: Mapping[str, int] = field(default_factory=dict)
    """The number of forward passes of each kind, for a decoder with several (`Decoder.phases`)."""
    reasoning: Reasoning | None = None
    """The reasoning that another model wrote between the prompt and the text, if the decoder asks for one. It is not
    counted in the fields above."""
    trace: Trace | None = field(default=None, repr=False, compare=False)
    """How the text was decoded, forward by forward. Only if asked for (`trace=True`)."""

    @property
    def tokens_per_forward(self) -> float:
        return self.generated_tokens / self.nfe

    def record(self) -> dict[str, Any]:
        """All fields in `KEYS`, for JSON; with several kinds of forwards also `forwards`, with a reasoning its text and
        cost (`Reasoning.record`), and with log probabilities those, `commit_steps`, `revisions` and, if they were asked
        for, `top_logprobs`."""
        own = {key: getattr(self, key) for key in KEYS} | {"tokens": list(self.tokens)}
        if self.logprobs is not None:
            own |= {"logprobs": self.logprobs, "commit_steps": self.commit_steps, "revisions": self.revisions}
        if self.top_logprobs is not None:
            own["top_logprobs"] = self.top_logprobs
        if self.forwards:
            own |= {"forwards": dict(self.forwards)}
        return own | (self.reasoning.record() if self.reasoning else {})

    def _repr_html_(self) -> str:
        """HTML for notebooks: the text, and with a `trace` its tokens coloured by confidence and a replay."""
        from decoders.text.shown import page

        return page(self)

    def __rich__(self) -> Group:
        """The output of `rich.print`: the text and, with a `trace`, the canvas after each forward."""
        from decoders.text.shown import table

        return table(self)


def or_raise(made: Generation | UsageError) -> Generation:
    """The result of a prompt; an error is raised."""
    if isinstance(made, UsageError):
        raise made
    return made


def with_trace(made: Generation | UsageError, trace: Trace) -> Generation | UsageError:
    """The result of a prompt, with its trace."""
    return replace(made, trace=trace) if isinstance(made, Generation) else made
