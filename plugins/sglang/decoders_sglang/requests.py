"""The settings of requests. SGLang passes a request to its algorithm once, at admission, in the process that later runs
the model; the settings that its row needs are kept here until SGLang releases the request."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from decoders.constraints.automaton import Automaton
from decoders.constraints.constrained import hosted
from decoders.constraints.grammar import InlineSchema, Regex
from decoders.constraints.spelling import spellings
from decoders.core import Blocks, Decoder, UsageError, asks, refuse
from decoders.models.tokenizer import JsonTokenizer
from decoders.registry import get, unfolded
from decoders_sglang.rows import Left, RowPlan

OURS = ("seed", "stop_ids")
THEIRS = ("block_size", "capture_input_preparation")
"""Keys of `--dllm-algorithm-config` that are not options of the strategy."""
ABLE = {"mask", "blocks", "vocabulary"}
"""The needs of strategies that SGLang's loop can meet; it shows one block after the other, and each block sees all of
itself."""
CONSTRAINTS: dict[str, type[Regex | InlineSchema]] = {"regex": Regex, "json_schema": InlineSchema}
"""Sampling parameters that constrain a text, and their constraints."""
OTHERS = ("ebnf", "structural_tag")
"""Sampling parameters with constraints that cannot be applied to partial texts."""


@dataclass(frozen=True)
class Options:
    """`--dllm-algorithm` and `--dllm-algorithm-config`."""

    decoder: Decoder
    seed: int
    stop_ids: tuple[int, ...]
    """Empty: those of the model."""

    @classmethod
    def of(cls, spec: str, given: Mapping[str, Any]) -> Options:
        """Read them. Raises `UsageError` for a strategy that cannot be made or hosted."""
        decoder = get(spec, **{key: x for key, x in given.items() if key not in (*OURS, *THEIRS)})
        hostable(spec, decoder)
        return cls(decoder, int(given.get("seed", 0)), tuple(given.get("stop_ids") or ()))


def hostable(spec: str, decoder: Decoder) -> None:
    """Raises `UsageError` for a strategy that SGLang's loop cannot host."""
    if unfolded(spec)[1] is not None:
        raise UsageError(
            f"{spec} is a preset with a cache of its own, and under SGLang the cache is SGLang's; name the decoder "
            "alone"
        )
    refuse(spec, asks(decoder, block_causal=True), ABLE, "SGLang")
    asked = Blocks(8)
    if decoder.windows(asked, True) is not asked:
        raise UsageError(
            f"{spec} lays out the row itself, and SGLang shows one block after the other; take a strategy that does not"
        )


@dataclass
class Asked:
    """A request after it has been read."""

    held: weakref.ref[Any]
    plan: RowPlan
    left: Left | None = None

    @property
    def req(self) -> Any:
        """SGLang's request, which SGLang keeps for as long as this object is used."""
        return self.held()

    @property
    def seed(self) -> int | None:
        said: int | None = self.req.sampling_params.sampling_seed
        return said

    @property
    def limit(self) -> int:
        """The place where its row ends; SGLang may lower it after admission."""
        return len(self.req.origin_input_ids) + int(self.req.sampling_params.max_new_tokens)

    def windows(self, block: int) -> int:
        """The number of blocks in which its row has open positions."""
        first = len(self.req.origin_input_ids) // block * block
        return -(-(self.limit - first) // block)

    def abort(self, why: str) -> None:
        """Make the request end with an error when its block is reported as done."""
        from sglang.srt.managers.schedule_batch import FINISH_ABORT

        self.req.to_finish = FINISH_ABORT(why, HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError")


ADMITTED: dict[str, Asked] = {}
"""The admitted requests, by SGLang's request ids."""


def admit(spec: str, req: Any) -> None:
    """Read a request and keep its settings. Its constraint is removed from SGLang's parameters, because it is applied
    here, so SGLang compiles no grammar. Raises `UsageError` for an invalid request."""
    config, sp = req.dllm_config, req.sampling_params
    options, tokenizer = Options.of(spec, config.algorithm_config or {}), req.tokenizer
    ends = {*(req.eos_token_ids or ()), getattr(tokenizer, "eos_token_id", None)} - {None}
    stop_ids = options.stop_ids or tuple(sorted(ends))
    no_text = (config.mask_id, getattr(tokenizer, "unk_token_id", None), *absent(tokenizer, req.vocab_size))
    never = tuple(t for t in dict.fromkeys(no_text) if t is not None and t not in stop_ids)
    decoder = options.decoder.tokenized(reader(tokenizer).inner) if can_read(tokenizer) else options.decoder
    plan = RowPlan(held(decoder, req, never, stop_ids), never, stop_ids)
    check_budget(spec, plan.decoder, req)
    for name in CONSTRAINTS:
        setattr(sp, name, None)
    made = ADMITTED[req.rid] = Asked(weakref.ref(req), plan)
    weakref.finalize(req, forget, req.rid, made)


def forget(rid: str, asked: Asked) -> None:
    """Called when SGLang has released a request; another request may already have its id."""
    if ADMITTED.get(rid) is asked:
        del ADMITTED[rid]


def held(decoder: Decoder, req: Any, never: tuple[int, ...], ends: tuple[int, ...]) -> Decoder:
    """The decoder with the constraint of the request, if there is one. Raises `UsageError` for an invalid one."""
    sp = req.sampling_params
    for name in OTHERS:
        if getattr(sp, name, None) is not None:
            raise UsageError(f"{name} cannot be kept where positions are decided in any order; take regex, json_schema")
    said = [(name, getattr(sp, name)) for name in CONSTRAINTS if getattr(sp, name) is not None]
    if not said:
        return decoder
    if sp.max_new_tokens is None:
        raise UsageError("a constraint has to know how long the text may be; give max_new_tokens")
    automaton = automaton_of(req.tokenizer, req.vocab_size, never, ends, *said[0])
    return hosted(decoder, automaton, sp.max_new_tokens)


@lru_cache(maxsize=64)
def automaton_of(
    tokenizer: Any, vocab: int, never: tuple[int, ...], ends: tuple[int, ...], name: str, text: str
) -> Automaton:
    """The automaton of a constraint over the tokens of the served model. Raises `UsageError` for an invalid one."""
    if not can_read(tokenizer):
        raise UsageError("a constraint has to know what tokens write, and this server has no fast tokenizer")
    known = spellings(reader(tokenizer), vocab, (*never, *ends))
    made: Automaton = CONSTRAINTS[name](text).automaton(known, vocab, ends)
    return made


def can_read(tokenizer: Any) -> bool:
    """Whether the tokenizer is one of transformers' fast ones; a server may have no tokenizer at all."""
    return hasattr(tokenizer, "backend_tokenizer")


@lru_cache(maxsize=4)
def reader(tokenizer: Any) -> JsonTokenizer:
    return JsonTokenizer(tokenizer)


@lru_cache(maxsize=4)
def absent(tokenizer: Any, vocab: int) -> tuple[int, ...]:
    """The ids below `vocab` that no token has; empty if the server has no tokenizer."""
    if tokenizer is None:
        return ()
    known = {*tokenizer.get_vocab().values()}
    return tuple(i for i in range(vocab) if i not in known)


def check_budget(spec: str, decoder: Decoder, req: Any) -> None:
    """Raises `UsageError` unless a budget of steps for the whole row can be split evenly over its blocks."""
    steps = getattr(decoder, "steps", None)
    if steps is None:
        return
    if req.sampling_params.max_new_tokens is None:
        raise UsageError(f"{spec} has a budget of steps for the whole row; give max_new_tokens")
    count = Asked(weakref.ref(req), RowPlan(decoder, (), ())).windows(req.dllm_config.block_size)
    if count and steps % count:
        raise UsageError(
            f"{spec}: {steps} steps cannot be split evenly over {count} blocks; take a multiple of {count}"
        )
