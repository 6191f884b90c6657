"""transformers' logits processors as a decoder and rules, as far as they do not need the text before a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.generation import logits_process
from transformers.generation.logits_process import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitNormalization,
    LogitsProcessor,
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    SequenceBiasLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from decoders.core import Decoder, Pred, Rule, State, Suppress, UsageError, options
from decoders.registry import unfolded
from decoders.specs import split
from decoders.stats.constants import constant
from decoders.strategies.nucleus import Nucleus

WARPERS = (
    TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper, TypicalLogitsWarper, EpsilonLogitsWarper, EtaLogitsWarper,
    *(getattr(logits_process, name) for name in ("TopHLogitsWarper",) if hasattr(logits_process, name)),
)
"""Processors that only read the distribution; transformers applies them in this order."""
OPTIONS = {TopKLogitsWarper: "top_k", TopPLogitsWarper: "top_p", MinPLogitsWarper: "min_p"}
"""Warpers that a decoder, or a nucleus around it, has an option for."""
TEXT = "it reads the text before a token, which may be open here"
WHY = {
    "UnbatchedClassifierFreeGuidanceLogitsProcessor": "use guidance=... for classifier-free guidance",
    "InfNanRemoveLogitsProcessor": "logits that are not finite are an error here",
    "SequenceBiasLogitsProcessor": f"of more than one token, {TEXT}",
    "NoBadWordsLogitsProcessor": f"of more than one token, {TEXT}",
    **dict.fromkeys(
        (
            "RepetitionPenaltyLogitsProcessor", "EncoderRepetitionPenaltyLogitsProcessor",
            "NoRepeatNGramLogitsProcessor", "EncoderNoRepeatNGramLogitsProcessor", "PrefixConstrainedLogitsProcessor",
            "WatermarkLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor",
        ),
        TEXT,
    ),
}
"""The reasons why processors cannot be honoured, by class."""


@dataclass(frozen=True)
class Biased:
    """Some logits are raised or lowered."""

    tokens: tuple[int, ...]
    by: tuple[float, ...]

    def __call__(self, s: State, p: Pred) -> Pred:
        ids = constant(self.tokens, p.logits.device)
        by = constant(self.by, p.logits.device, torch.double).to(p.logits.dtype)
        return replace(p, logits=p.logits.index_add(-1, ids, by.expand(*p.logits.shape[:-1], -1)))


@dataclass(frozen=True, eq=False)
class Within:
    """Some tokens are impossible at the positions from `first` up to `last` after each prompt."""

    lengths: Tensor  # (B,) long, of the prompts
    first: int
    last: int
    tokens: tuple[int, ...]

    def __call__(self, s: State, p: Pred) -> Pred:
        place = s.position - self.lengths[:, None]
        inside = ((place >= self.first) & (place < self.last)).gather(1, p.at.clamp(max=p.width - 1))
        rows = torch.where(inside.flatten()[:, None], p.without(self.tokens).rows, p.rows)
        return replace(p, logits=rows.view_as(p.logits), banned=())


@dataclass(frozen=True)
class Warped:
    """Only tokens are possible that warpers of transformers, applied one after the other, keep of the distribution at a
    temperature."""

    temperature: float
    warpers: tuple[Callable[..., Tensor], ...]

    def __call__(self, s: State, p: Pred) -> Pred:
        rows = p.filtered(self.temperature or 1.0).rows
        for warper in self.warpers:
            rows = warper(None, rows)
        return replace(p, logits=p.logits.masked_fill(rows.view_as(p.logits) == -torch.inf, -torch.inf))


def sampled(
    spec: str | Decoder, made: Decoder, processors: LogitsProcessorList, do_sample: bool, lengths: Tensor, padded: int
) -> tuple[Decoder, list[Rule]]:
    """The decoder `made` from a spec, at the temperature of the processors, and rules for the other processors.
    `lengths` (B,) long are those of the prompts, which transformers has padded to `padded` tokens. Raises `UsageError`
    for a processor that reads the tokens before a position, which may be open here, and for an unknown one."""
    warpers = [p for p in processors if isinstance(p, WARPERS)]
    heat = next((float(p.temperature) for p in processors if isinstance(p, TemperatureLogitsWarper)), 1.0)
    told = (TemperatureLogitsWarper, LogitNormalization, *WARPERS)
    rules = [rule for p in processors if not isinstance(p, told) for rule in ruled(p, lengths, padded)]
    return chosen(spec, made, heat, warpers, rules) if do_sample else (made, rules)


def ruled(p: LogitsProcessor, lengths: Tensor, padded: int) -> list[Rule]:
    """A processor as rules. Raises `UsageError`."""
    if isinstance(p, SuppressTokensLogitsProcessor):
        return [Suppress(tuple(p.suppress_tokens.tolist()))]
    if isinstance(p, MinNewTokensLengthLogitsProcessor):
        return [Within(lengths, 0, p.min_new_tokens, tuple(p.eos_token_id.tolist()))]
    if isinstance(p, MinLengthLogitsProcessor):
        return [Within(lengths, 0, p.min_length - padded, tuple(p.eos_token_id.tolist()))]
    if isinstance(p, SuppressTokensAtBeginLogitsProcessor):
        begin = p.begin_index - padded
        return [Within(lengths, begin, begin + 1, tuple(p.begin_suppress_tokens.tolist()))]
    if isinstance(p, SequenceBiasLogitsProcessor) and all(len(tokens) == 1 for tokens in p.sequence_bias):
        biases = {tokens[0]: float(by) for tokens, by in p.sequence_bias.items()}
        raised = {t: by for t, by in biases.items() if by != -torch.inf}
        never = tuple(t for t in biases if t not in raised)
        return [
            *([Suppress(never)] if never else []),
            *([Biased(tuple(raised), tuple(raised.values()))] if raised else []),
        ]
    name = type(p).__name__
    why = WHY.get(name, f"it is unknown, and may be one that {TEXT.removeprefix('it ')}")
    raise UsageError(f"{name} cannot be honoured: {why}; if it needs no text, write it as a rule, rules=[...]")


def chosen(
    spec: str | Decoder, made: Decoder, heat: float, warpers: Sequence[Any], rules: list[Rule]
) -> tuple[Decoder, list[Rule]]:
    """The decoder with the sampling settings, and rules for those that neither it nor a nucleus around it has an option
    for. The spec wins. Raises `UsageError` for a decoder that cannot sample."""
    cls: Any = type(made)
    known = options(cls)
    if "temperature" not in known:
        raise UsageError(f"do_sample cannot be honoured: {cls.__name__} has no option temperature; use do_sample=False")
    if isinstance(spec, str):
        said = set(split("strategies", unfolded(spec)[0])[1])
    else:
        said = {k for k, o in known.items() if getattr(made, k) != o.default}
    asked: dict[str, Any] = {"temperature": heat, "top_k": None, "top_p": None}
    simple = all(type(w) in OPTIONS for w in warpers)
    if simple:
        asked |= {name: getattr(w, name) for w in warpers for name in [OPTIONS[type(w)]]}
    made = replace(made, **{k: v for k, v in asked.items() if k in known and k not in said})
    rest = {k: v for k, v in asked.items() if k not in known and v is not None}
    if rest:
        made = Nucleus(made, **rest)
    if not simple:
        rules = [*rules, Warped(made.temperature, tuple(warpers))]  # type: ignore[attr-defined]
    return made, rules
