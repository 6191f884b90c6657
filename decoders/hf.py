"""`decoders.generate`: a generation function for transformers, `model.generate(input_ids,
custom_generate=decoders.generate, ...)`.

transformers prepares the generation config, the logits processors and the stopping criteria, and passes them to
`generate` below. Settings that apply to a canvas that is filled in any order are honoured, and all others are refused
by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.configuration_utils import GenerationMode
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer
from transformers.utils.generic import ModelOutput

from decoders.core import Cache, Decoder, Event, Model, Row, Rule, UsageError, sound
from decoders.handed import Telling, handed_to_transformers
from decoders.models.families import Attention
from decoders.models.native import adapt
from decoders.models.tokenizer import absent
from decoders.processors import sampled
from decoders.reasoning.reasoner import wants
from decoders.settings import settings


@dataclass
class GenerateOutput(ModelOutput):
    """The result of `generate` with `return_dict_in_generate=True`."""

    sequences: Tensor | None = None
    """(B, S) long: each prompt unchanged, the generated tokens with the stop token, and padding."""
    nfe: Tensor | None = None
    """(B,) long: forward passes that a row took part in."""
    generated_tokens: Tensor | None = None
    """(B,) long: tokens generated, without the stop token."""
    positions_computed: Tensor | None = None
    """(B,) long: positions that the model ran for a row, in all forwards."""
    positions_reused: Tensor | None = None
    """(B,) long: positions whose stored keys and values were read instead."""
    finish_reason: tuple[str, ...] | None = None
    """`stop`, `length` or `max_steps`, for each row."""


def generate(
    model: PreTrainedModel, input_ids: Tensor, logits_processor: LogitsProcessorList | None = None,
    stopping_criteria: StoppingCriteriaList | None = None, generation_config: GenerationConfig | None = None,
    synced_gpus: bool = False, streamer: BaseStreamer | None = None, *, decoder: str | Decoder = "threshold",
    kv_policy: str | Cache | None = None, block: int | None = None, mask_id: int | None = None,
    shifted: bool | None = None, attention: Attention | None = None, guidance: float = 0.0, rules: Sequence[Rule] = (),
    seed: int | Sequence[int] | None = None, max_steps: int | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None, kept: Mapping[str, Any] | None = None, **model_kwargs: Any,
) -> Tensor | GenerateOutput:
    """Decode by one of this package's strategies: `model.generate(..., custom_generate=decoders.generate, ...)`.

    `decoder`, `kv_policy`: spec strings or objects, of a decoder and of the cache policy; the default policy is `none`
    with `use_cache=False`, else the decoder preset's, else `exact`. `mask_id`, `shifted` (the output i predicts
    position i + 1) and `attention` (`bidirectional` or `block`) describe the model's training; for a known family they
    come from its config, and any other model needs `mask_id`. `block`: size of the windows. `guidance` is the scale of
    classifier-free guidance. `rules` change predictions before the strategy reads them. `seed` is every row's seed, or
    a seed for each row; the copies of a row that `num_return_sequences` makes count up from it. None draws from torch's
    global generator. `max_steps` forwards end a row. `kept` are the arguments that transformers does not pass on, if
    the caller has them. The model is in evaluation mode meanwhile.

    Of transformers' own arguments these are honoured: `attention_mask` (padding is removed, so that a row gives the
    same as alone), `max_new_tokens`, `max_length`, `eos_token_id`, `pad_token_id`, `do_sample` with `temperature`,
    `top_k`, `top_p`, `min_p` and similar ones if the decoder has a temperature (the decoder's spec wins),
    `suppress_tokens`, `bad_words_ids` and `sequence_bias` of single tokens, `min_new_tokens`, `num_return_sequences`,
    `stopping_criteria` (asked about each settled token in turn, with no scores), `stop_strings` with their `tokenizer`,
    `streamer` (for one row; it gets tokens when no position to their left is open), `return_dict_in_generate`. The mask
    token is never generated, nor are ids that the tokenizer lacks; the tokenizer is the given one, else the one in the
    directory of the model. Raises `UsageError` for any other argument, and if the prompts cannot be decoded.
    """
    generation_config = present(generation_config)
    caller = handed_to_transformers() if kept is None else kept
    streamer = streamer or caller.get("streamer")
    if streamer and len(input_ids) > 1:
        raise UsageError(f"a streamer shows one row, not {len(input_ids)}")
    criteria = stopping_criteria or StoppingCriteriaList()
    length, stop_ids, criteria = ends(criteria, generation_config, input_ids.shape[1])
    with modes_kept(model):
        adapted, window = adapt(model, mask_id, shifted, attention, block, stop_ids)
        refuse(generation_config, caller, synced_gpus, model_kwargs)
        prompts = unpadded(input_ids, model_kwargs)
        chosen = settings(decoder, kv_policy or ("none" if generation_config.use_cache is False else None), guidance)
        processors, sampling = logits_processor or LogitsProcessorList(), bool(generation_config.do_sample)
        lengths = torch.tensor([len(p) for p in prompts], device=adapted.device)
        strategy, own = sampled(decoder, chosen.decoder, processors, sampling, lengths, input_ids.shape[1])
        strategy = with_ids(strategy, tokenizer)
        never = textless(adapted, model.name_or_path or "", tokenizer, said=mask_id is not None)
        halt = Halt(input_ids, criteria)
        feed = Feed(streamer, halt) if streamer else None
        rows = replace(chosen, decoder=strategy).on(adapted, never, window).decode(
            prompts, length=length, rules=[*own, *rules], stop=bool(adapted.stop_ids),
            seeds=seeds(seed, len(prompts), generation_config.num_return_sequences or 1), max_steps=max_steps,
            halt=halt if criteria else None, on_event=feed,
        )
    ended = enumerate(zip(sound(rows), prompts, strict=True))
    made = [text(row, len(p), b, halt, adapted.stop_ids) for b, (row, p) in ended]
    sequences = padded(input_ids, made, generation_config.pad_token_id, adapted.stop_ids)
    if feed:
        feed.end(made[0])
    as_dict = generation_config.return_dict_in_generate
    return described(sequences, rows, made, halt, adapted.stop_ids) if as_dict else sequences


def present(config: GenerationConfig | None) -> GenerationConfig:
    """The generation config from transformers. Raises `UsageError` if transformers is not the caller."""
    if config is None:
        raise UsageError(
            "decoders.generate is for model.generate(..., custom_generate=decoders.generate), and cannot be called "
            "alone"
        )
    return config


def with_ids(decoder: Decoder, tokenizer: PreTrainedTokenizerBase | None) -> Decoder:
    """The decoder with token ids in place of texts among its options. Raises `UsageError` for a decoder that works on
    text."""
    if wants(decoder):
        raise UsageError(
            "this decoder has a reasoner, which writes text, and transformers passes token ids; use decoders.Generator"
        )
    if tokenizer is None:
        return decoder
    return decoder.tokenized(lambda text: list(tokenizer.encode(text, add_special_tokens=False)))


generate.__signature__ = Telling(  # type: ignore[attr-defined]
    list(inspect.signature(generate).parameters.values())
)


@contextmanager
def modes_kept(model: PreTrainedModel) -> Iterator[None]:
    """Afterwards each module of the model is in training or evaluation mode as before."""
    training = [(m, m.training) for m in model.modules()]
    try:
        yield
    finally:
        for module, mode in training:
            module.training = mode


def described(
    sequences: Tensor, rows: Sequence[Row], made: list[list[int]], halt: Halt, stop_ids: tuple[int, ...]
) -> GenerateOutput:
    """The sequences with their costs; `made` are the generated tokens of each row."""
    return GenerateOutput(
        sequences=sequences,
        nfe=torch.tensor([r.nfe for r in rows]),
        generated_tokens=torch.tensor([len([t for t in m if t not in stop_ids]) for m in made]),
        positions_computed=torch.tensor([r.positions_computed for r in rows]),
        positions_reused=torch.tensor([r.positions_reused for r in rows]),
        finish_reason=tuple("stop" if b in halt.cut else r.finish_reason for b, r in enumerate(rows)),
    )


HARMLESS = frozenset("attention_mask position_ids cache_position logits_to_keep use_cache".split())
"""Arguments that transformers always passes on, and the mask, which `unpadded` reads."""


def refuse(
    config: GenerationConfig, caller: Mapping[str, Any], synced_gpus: bool, model_kwargs: dict[str, Any]
) -> None:
    """Raises `UsageError` for arguments that cannot be honoured."""
    mode = config.get_generation_mode(caller.get("assistant_model"))
    if mode not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        raise UsageError(
            f"{mode.value.replace('_', ' ')} cannot be honoured: the decoder alone decides how a canvas is decoded"
        )
    if synced_gpus or caller.get("synced_gpus"):
        raise UsageError("synced_gpus cannot be honoured: rows on other devices may need more forwards")
    if config.return_dict_in_generate:
        for name in ("output_scores", "output_logits", "output_attentions", "output_hidden_states"):
            if getattr(config, name, False):
                raise UsageError(f"{name} cannot be honoured: a token has no single prediction")
    for name in ("past_key_values", "cache"):  # 5.24 renamed the one to the other
        past = model_kwargs.pop(name, None)
        if past is not None and past.get_seq_length():
            raise UsageError(f"{name} cannot be honoured: the library has its own store of keys and values")
    unknown = sorted(k for k, v in model_kwargs.items() if v is not None and k not in HARMLESS)
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)} cannot be honoured: its decoder gives the model tokens, positions and a mask"
        )


def unpadded(input_ids: Tensor, model_kwargs: dict[str, Any]) -> list[list[int]]:
    """The prompts without padding. Raises `UsageError` for positions that are not consecutive from 0."""
    mask, position = model_kwargs.get("attention_mask"), model_kwargs.get("position_ids")
    keep = torch.ones_like(input_ids, dtype=torch.bool) if mask is None else mask.bool()
    out = []
    for b, (row, kept) in enumerate(zip(input_ids, keep, strict=True)):
        if not bool(kept.any()):
            raise UsageError(f"row {b} is padding only")
        if position is not None and position.expand_as(input_ids)[b][kept].tolist() != list(range(int(kept.sum()))):
            raise UsageError("position_ids cannot be honoured: positions count the tokens of a row from 0")
        out.append(row[kept].tolist())
    return out


def ends(
    criteria: StoppingCriteriaList, config: GenerationConfig, given: int
) -> tuple[int, tuple[int, ...], StoppingCriteriaList]:
    """The number of positions to generate after `given` ones, the stop tokens, and all other criteria."""
    most = [c.max_length for c in criteria if isinstance(c, MaxLengthCriteria)]
    stops = [c.eos_token_id.tolist() for c in criteria if isinstance(c, EosTokenCriteria)]
    others = [c for c in criteria if not isinstance(c, MaxLengthCriteria | EosTokenCriteria)]
    length = min(most, default=config.max_length) - given
    return length, tuple(dict.fromkeys(t for ids in stops for t in ids)), StoppingCriteriaList(others)


def textless(model: Model, name: str, tokenizer: PreTrainedTokenizerBase | None, said: bool) -> tuple[int, ...]:
    """The ids that are no text: the mask token, and ids that the tokenizer, or the one in the directory `name`, lacks.
    Raises `UsageError` if the tokenizer has another mask token than the model, unless the caller `said` which is
    right."""
    if tokenizer is None:
        missing = absent(name, model.vocab)
    else:
        known = {*tokenizer.get_vocab().values()}
        missing = tuple(i for i in range(model.vocab) if i not in known)
        if not said and tokenizer.mask_token_id not in (None, model.mask_id):
            raise UsageError(
                f"the model's mask token is {model.mask_id} and the tokenizer's {tokenizer.mask_token_id}: say mask_id="
            )
    return tuple(t for t in (model.mask_id, *missing) if t is not None and t not in model.stop_ids)


def seeds(seed: int | Sequence[int] | None, rows: int, copies: int) -> list[int]:
    """A seed for every row."""
    if seed is None:
        return cast(list[int], torch.randint(2**63 - 1, (rows,)).tolist())
    return [seed + b % copies for b in range(rows)] if isinstance(seed, int) else list(seed)


class Halt:
    """A `halt` for `decode` that calls transformers' stopping criteria for each new settled token of a row."""

    def __init__(self, given: Tensor, criteria: StoppingCriteriaList) -> None:
        self.given, self.criteria = given, criteria
        self.asked: dict[int, int] = {}
        self.cut: dict[int, int] = {}
        """The number of tokens that remain of a row that the criteria ended."""

    def __call__(self, row: int, tokens: Sequence[int]) -> bool:
        return self.kept(row, tokens) < len(tokens) or row in self.cut

    def kept(self, row: int, tokens: Sequence[int]) -> int:
        """The number of settled tokens of a row that remain: up to and including the first at which a criterion
        stops."""
        for n in range(self.asked.get(row, 0) + 1, len(tokens) + 1) if self.criteria and row not in self.cut else ():
            new = torch.tensor([tokens[:n]], device=self.given.device)
            self.asked[row] = n
            if bool(self.criteria(torch.cat([self.given[row : row + 1], new], 1), None).all()):
                self.cut[row] = n
                break
        return self.cut.get(row, len(tokens))


class Feed:
    """Passes committed tokens to a streamer of transformers; transformers itself has passed the prompt."""

    def __init__(self, streamer: BaseStreamer, halt: Halt) -> None:
        self.streamer, self.halt = streamer, halt
        self.tokens: list[int] = []
        self.told = 0
        """The number of tokens that the streamer has got."""

    def __call__(self, e: Event) -> None:
        if e.kind == "committed":
            self.tokens += [t for t in e.tokens if t is not None]
            self.put(self.tokens[: self.halt.kept(e.row, self.tokens)])

    def put(self, tokens: list[int]) -> None:
        if len(tokens) > self.told:
            self.streamer.put(torch.tensor(tokens[self.told :]))
            self.told = len(tokens)

    def end(self, tokens: list[int]) -> None:
        """Pass the rest of the generated tokens, including the stop token."""
        self.put(tokens)
        self.streamer.end()


def text(row: Row, prompt: int, index: int, halt: Halt, stop_ids: tuple[int, ...]) -> list[int]:
    """The generated tokens of a row, with the stop token that ended it, which transformers keeps."""
    tokens = list(row.tokens)
    tokens = tokens[: halt.kept(index, tokens)]
    rest = row.canvas[prompt + len(tokens) :]
    return [*tokens, rest[0]] if index not in halt.cut and rest and rest[0] in stop_ids else tokens


def padded(given: Tensor, made: list[list[int]], pad: int | None, stop_ids: tuple[int, ...]) -> Tensor:
    """(B, S) long: the prompts unchanged, the generated tokens, and padding: the pad token, else the stop token. Raises
    `UsageError` if padding is needed and there is neither."""
    longest = max(map(len, made))
    if pad is None:
        pad = stop_ids[0] if stop_ids else None
    if pad is None and any(len(m) < longest for m in made):
        raise UsageError("rows end at different places, so pad_token_id is needed")
    rows = [[*m, *[pad or 0] * (longest - len(m))] for m in made]
    return torch.cat([given, torch.tensor(rows, dtype=torch.long, device=given.device).view(len(made), longest)], 1)
