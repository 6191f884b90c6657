"""Reads the settings of a request, and refuses those that the engine cannot handle. Does not import vLLM."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from decoders import registry
from decoders.constraints.automaton import Automaton
from decoders.constraints.constrained import hosted
from decoders.constraints.grammar import InlineSchema, Regex
from decoders.constraints.spelling import spellings
from decoders.core import Decoder, UsageError, asks, refuse, suggest
from decoders.reasoning.reasoner import wants
from decoders.settings import with_options
from decoders.strategies.hybrid import Hybrid
from decoders_vllm.rows import FREE, RowPlan
from decoders_vllm.served import Served

NUMBERS = "temperature", "top_p", "top_k", "min_p"
"""Options of the decoder that a request may give without writing them into its spec."""
OPTIONS = "decoder", "seed", *NUMBERS, "infill", "constraint"
"""The keys of `extra_args` that this plugin reads."""
SAMPLES = "decoders_samples"
"""The number of samples of a request, if it is above one; the plugin sets it at admission, and clients must not."""
OTHERS = "kv_transfer_params", "ec_transfer_params", SAMPLES
"""The keys of `extra_args` that vLLM and this plugin set themselves."""
CONSTRAINTS = {"regex": Regex, "json": InlineSchema}
"""The kinds of constraints that a request may have: a pattern, or a JSON schema."""
STOPS = 32
"""The stop tokens for which a request has room."""


@dataclass(frozen=True)
class Request:
    """A request after it has been read."""

    plan: RowPlan
    seed: int
    pins: tuple[int, ...]
    """The given tokens after the prompt, FREE at positions to fill."""


ABLE = {"mask", "blocks", "causal", "ahead"}
"""The needs of decoders that the engine can meet."""
ELSEWHERE = "the library's own loop runs it (decoders.Generator, decoders generate)"
"""How to run a decoder that the engine cannot host, for messages."""


@lru_cache(maxsize=1024)
def plan_of(served: Served, spec: str, stop: bool, infill: bool) -> RowPlan:
    """The plan for the decoder of a spec on this model. Raises `UsageError` if the engine cannot host it."""
    only_registered(spec)
    if registry.unfolded(spec)[1] is not None:
        raise UsageError(
            f"{spec!r} is a preset with a cache, and vLLM keeps keys and values itself; name its decoder alone"
        )
    decoder = registry.get(spec).tokenized(served.tokenizer.inner)
    check(served, decoder, spec, infill)
    return RowPlan(decoder, served.windows, stop, infill)


def check(served: Served, decoder: Decoder, spec: str, infill: bool) -> None:
    """Raises `UsageError` for a decoder that the engine cannot host."""
    if wants(decoder):
        raise UsageError(
            f"{spec} asks another model to reason; do that first, put it into the prompt, and name the decoder of the "
            "answer"
        )
    asked = asks(decoder, block_causal=True)
    if served.mask_id is None:
        refuse(spec, asked & {"mask"}, (), f"the family {served.family}")
    if served.causal and ("causal" in asked or decoder.windows(served.windows, True) != served.windows):
        raise UsageError(
            f"{spec} makes causal forward passes, or works on less than whole canvases, which the family "
            f"{served.family} does "
            "not carry; take a diffusion decoder such as gemma"
        )
    if "ahead" in asked and not served.shifted:
        raise UsageError(
            f"{spec} verifies several positions in one causal forward; output i of the family {served.family} "
            "predicts position i, which takes a doubled sequence that vLLM's attention does not carry; take "
            f"left_to_right or a diffusion decoder; {ELSEWHERE}"
        )
    try:
        refuse(spec, asked, ABLE, "vLLM")
    except UsageError as e:
        raise UsageError(f"{e}; {ELSEWHERE}") from None
    if infill and isinstance(decoder, Hybrid) and decoder.windows(served.windows, True) != served.windows:
        raise UsageError(f"{spec} reasons in windows of one position, which is not for infill here; say ar=wide")


def constrained(served: Served, decoder: Decoder, constraint: Any, max_tokens: int | None, infill: bool) -> Decoder:
    """The decoder with a constraint, `regex:PATTERN` or `json:SCHEMA` with the schema itself. Raises `UsageError` for
    an invalid one."""
    if infill:
        raise UsageError("a constraint is about the text after a prompt, so it cannot be used with infill")
    if max_tokens is None:
        raise UsageError("a constraint has to know how long the text may be; give max_tokens")
    kind, _, text = constraint.partition(":") if isinstance(constraint, str) else ("", "", "")
    if kind not in CONSTRAINTS or not text:
        raise UsageError(f"constraint must be regex:PATTERN or json:SCHEMA, with the schema itself, not {constraint!r}")
    return hosted(decoder, automaton_of(served, kind, text), max_tokens)


@lru_cache(maxsize=64)
def automaton_of(served: Served, kind: str, text: str) -> Automaton:
    """The automaton of a constraint over the tokens of the served model. Raises `UsageError` for an invalid one."""
    known = spellings(served.tokenizer, served.vocab, (*served.never, *served.stop_ids))
    return CONSTRAINTS[kind](text).automaton(known, served.vocab, served.stop_ids)


def only_registered(spec: str) -> None:
    """Raises `UsageError` for a spec that names a class by its module, because then every client could import any
    module."""
    for _ in registry.options_given(spec):
        pass


def request_of(served: Served, args: Mapping[str, Any] | None, max_tokens: int | None, ignore_eos: bool) -> Request:
    """Read `extra_args`. Raises `UsageError` for invalid ones."""
    said = {key: x for key, x in (args or {}).items() if key not in OTHERS}
    for key in said:
        if key not in OPTIONS:
            raise UsageError(f"there is no option {key!r} in extra_args (vllm_xargs){suggest(key, OPTIONS)}")
    spec, seed, holes = said.get("decoder", served.decoder), said.get("seed", 0), said.get("infill", ())
    if not isinstance(spec, str):
        raise UsageError(f"decoder must be a text such as threshold:tau=0.9, not {spec!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not -(2**63) <= seed < 2**63:
        raise UsageError(f"seed must be an integer of 64 bits, not {seed!r}")
    numbers = {key: said.get(key) for key in NUMBERS}
    for key, value in numbers.items():
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
        ):
            raise UsageError(f"{key} must be a number, not {value!r}")
    if any(value is not None for value in numbers.values()):
        only_registered(spec)
        spec = with_options(spec, **numbers)
    pins = pinned(served, holes)
    constraint = said.get("constraint")
    plan = plan_of(served, spec, not ignore_eos, bool(pins))
    if constraint is not None:
        plan = replace(plan, decoder=constrained(served, plan.decoder, constraint, max_tokens, bool(pins)))
    if max_tokens is not None:
        if max_tokens < 1:
            raise UsageError("max_tokens must be at least 1: a canvas has no room for less")
        if len(pins) > max_tokens:
            raise UsageError(f"infill has {len(pins)} positions, and max_tokens is {max_tokens}; give at least as many")
        check_budget(plan.decoder, served, max_tokens - (pins.index(FREE) if pins else 0), spec)
    elif getattr(plan.decoder, "steps", None) is not None:
        raise UsageError(f"{spec} has a budget of steps for the whole row; give max_tokens")
    return Request(plan, seed, pins)


def of_sample(asked: Request, args: Mapping[str, Any] | None, request_id: str) -> Request:
    """The request for one of its samples, which vLLM numbers before the request's name: the first has the seed of the
    request, the others have the seeds after it."""
    if SAMPLES not in (args or {}):
        return asked
    seed = asked.seed + int(request_id.partition("_")[0])
    return replace(asked, seed=(seed + (1 << 63)) % (1 << 64) - (1 << 63))


def pinned(served: Served, holes: Any) -> tuple[int, ...]:
    """`infill` as `Request.pins`."""
    if holes and served.mask_id is None:
        raise UsageError(f"infill needs a mask token for the holes, and the family {served.family} has none")
    if not isinstance(holes, list | tuple) or any(isinstance(t, bool) or not isinstance(t, int) for t in holes):
        raise UsageError(
            f"infill must be a list of token ids, with the mask token {served.mask_id} where a hole is, not {holes!r}"
        )
    if any(not 0 <= t < served.vocab for t in holes):
        raise UsageError(f"infill holds token ids outside the vocabulary of {served.vocab}")
    if holes and served.mask_id not in holes:
        raise UsageError(f"infill has no hole to fill: write the mask token {served.mask_id} where one is")
    return tuple(FREE if t == served.mask_id else t for t in holes)


def check_budget(decoder: Decoder, served: Served, length: int, spec: str) -> None:
    """A budget of steps for the whole row has to be divisible by the number of its windows. That number depends on
    where in a block the prompt ends, which is unknown here. Raises `UsageError` unless all possible ones divide it."""
    steps = getattr(decoder, "steps", None)
    if steps is None:
        return
    counts = {-(-n // served.window) for n in (length, length + served.window - 1)}
    if any(steps % count for count in counts):
        raise UsageError(
            f"{spec}: {steps} steps cannot be split evenly over {' or '.join(map(str, sorted(counts)))} blocks, as it "
            "may be with "
            f"{length} positions; take a multiple of {math.lcm(*counts)}"
        )
