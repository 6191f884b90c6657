"""Refuses invalid requests before they reach the engine.

vLLM passes sampling parameters to the `validate_params` of a model's logits processors when a request is admitted, in
the process that talks to the client; a `ValueError` there becomes an HTTP 400 with its text. The class here is a logits
processor only for this purpose.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor

from decoders.core import UsageError
from decoders_vllm.requests import SAMPLES, STOPS, request_of
from decoders_vllm.served import Served

if TYPE_CHECKING:
    from vllm import SamplingParams

DROPPED = {
    "presence_penalty": (0.0, "no decoder reads it"),
    "frequency_penalty": (0.0, "no decoder reads it"),
    "repetition_penalty": (1.0, "no decoder reads it"),
    "top_p": (1.0, 'say it in vllm_xargs: {"top_p": ...}, for decoders that have it'),
    "top_k": (0, 'say it in vllm_xargs: {"top_k": ...}, for decoders that have it'),
    "logprobs": (None, "positions are decided together, so there are none to give"),
    "prompt_logprobs": (None, "a prompt is read in whole blocks, so there are none to give"),
    "logprob_token_ids": (None, "positions are decided together, so there are none to give"),
    "thinking_token_budget": (None, "take the budget of the decoder hybrid"),
}
"""Sampling parameters that would have no effect: the only value allowed, and what to do instead."""


class Requests(LogitsProcessor):
    """Refuses requests that cannot be run on the model `served`; it changes no logits."""

    served: Served

    @classmethod
    def validate_params(cls, params: SamplingParams) -> None:
        for name, (idle, instead) in DROPPED.items():
            value = getattr(params, name, idle)
            if value != idle and not (name == "top_k" and value == -1):
                raise UsageError(f"{name} has no effect on a diffusion model here: {instead}")
        if SAMPLES in (params.extra_args or {}):
            raise UsageError(f"{SAMPLES} is not for requests to say; say n")
        request_of(cls.served, params.extra_args, params.max_tokens, params.ignore_eos)
        if params.n > 1:
            params.extra_args = {**(params.extra_args or {}), SAMPLES: params.n}
        stops = list(
            dict.fromkeys([*(params.stop_token_ids or ()), *(() if params.ignore_eos else cls.served.stop_ids)])
        )
        if len(stops) >= STOPS:
            raise UsageError(f"{len(stops)} stop tokens are more than the {STOPS - 1} that a request may have")
        params.stop_token_ids = stops  # those of the family are not in every checkpoint's files

    def add_request(self, *args: Any, **more: Any) -> bool:
        return False

    def apply(self, logits: Any, *args: Any, **more: Any) -> Any:
        return logits


@cache
def __getattr__(name: str) -> type[Requests]:
    """`Requests_...` is the class for the model that the rest of the name encodes, because vLLM passes only names to
    its processes."""
    word, _, written = name.partition("_")
    if word != "Requests" or not written:
        raise AttributeError(name)
    return type(name, (Requests,), {"served": Served.read(written)})
