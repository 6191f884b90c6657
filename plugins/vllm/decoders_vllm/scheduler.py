"""vLLM's schedulers for diffusion models, with prefills cut at the blocks of the model's attention, and canvases never
cut.

A chunk that ended inside a block would leave keys and values behind that have not seen the rest of it, and a part of a
canvas would be decoded as though it were all of it. The base class has one place where a chunk can be made shorter,
which it keeps for recurrent layers; models with blocks have none of those.

Pages are shared by what tokens they hold. That is right as long as the keys and values are those of a prefill, which
the commit of a block makes sure of; but a row that reasons in windows of one position (`hybrid`) keeps autoregressive
ones, by design. So the pages that such a request fills after its prompt are under names of its own.

A row that cannot go on, because the model says nothing of it or its decoder commits nothing, ends with an error: why
stands where vLLM's samplers count NaNs, which is the one number that a sampler can say of a request. What it leaves in
pages is found by nobody again.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from vllm.logger import init_logger
from vllm.v1.core.sched.diffusion_scheduler import DiffusionAsyncScheduler, DiffusionScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from decoders_vllm.requests import request_of
from decoders_vllm.rows import FAILURES, UNDEFINED
from decoders_vllm.served import Served

logger = init_logger("vllm.decoders")


class WholeBlocks(Scheduler):
    """Chunks of a prefill end where a block does, or the prompt; a canvas for which the budget of a step has not enough
    tokens left waits for the next one."""

    def __init__(self, vllm_config: Any, *args: Any, **more: Any) -> None:
        super().__init__(vllm_config, *args, **more)
        self.canvas = vllm_config.diffusion_config.canvas_length
        self.served = Served.read(vllm_config.model_config.hf_config.decoders_served)
        self.need_mamba_block_aligned_split = True

    def add_request(self, request: Any) -> None:
        p = request.sampling_params
        plan = request_of(self.served, p.extra_args, p.max_tokens, p.ignore_eos).plan
        if request._block_hasher is not None and plan.windows != plan.asked:
            request._block_hasher = private(request._block_hasher)
        super().add_request(request)

    def update_from_output(self, scheduled: Any, output: Any) -> Any:
        for request_id, why in (output.num_nans_in_logits or {}).items():
            if why:
                logger.error("request %s ends with an error: %s", request_id, FAILURES[why])
                self.grammar_compile_error_reqs.add(request_id)  # those that are ended with an error in this step
            if why == UNDEFINED:
                held = self.kv_cache_manager.get_block_ids(request_id)
                self.kv_cache_manager.evict_blocks({page for group in held for page in group})
        return super().update_from_output(scheduled, output)

    def _mamba_block_aligned_split(self, request: Any, num_new_tokens: int, local: int = 0, external: int = 0) -> int:
        start = request.num_computed_tokens + local + external
        end = start + num_new_tokens
        if end >= request.num_tokens:
            whole = request.num_tokens_with_spec + request.num_output_placeholders
            most = self.max_model_len - self.num_sampled_tokens_per_step
            return num_new_tokens if end >= min(whole, most) else 0
        return max(end // self.canvas * self.canvas - start, 0)


def private(names: Callable[[Any], list[bytes]]) -> Callable[[Any], list[bytes]]:
    """Names of pages that no other request has."""
    return lambda request: [sha256(request.request_id.encode() + name).digest() for name in names(request)]


class BlockScheduler(WholeBlocks, DiffusionScheduler):
    """For engines that wait for each step."""


class BlockAsyncScheduler(WholeBlocks, DiffusionAsyncScheduler):
    """For engines that schedule the next step meanwhile."""


def scheduler(vllm_config: Any, **more: Any) -> Scheduler:
    """The one of them that an engine takes; the platform has decided which, after the models' say."""
    cls = BlockAsyncScheduler if vllm_config.scheduler_config.async_scheduling else BlockScheduler
    return cls(vllm_config, **more)
