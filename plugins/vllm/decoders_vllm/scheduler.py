"""vLLM's schedulers for diffusion models, with prefills cut at the blocks of the model's attention, and canvases never
cut.

A chunk that ended inside a block would store keys and values that have not seen the rest of the block, and a part of a
canvas would be decoded as if it were all of it. The base class has one hook that can shorten a chunk, which is meant
for recurrent layers; models with blocks have no such layers.

Rows share pages with the same tokens. That is correct as long as the keys and values are those of a prefill, which the
commit of a block ensures; but a row that reasons in windows of one position (`hybrid`) keeps autoregressive ones, by
design. So the pages that such a request fills after its prompt get names that no other request has.

A row that cannot go on, because its logits are not finite or its decoder commits nothing, ends with an error. The
reason is passed in vLLM's count of NaNs, the only number about a request that a sampler can return. If the logits were
not finite, the row's pages are also removed from the prefix cache.
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
    """A chunk of a prefill ends at the end of a block or of the prompt; a canvas that does not fit into the rest of a
    step's token budget waits for the next step."""

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
                self.grammar_compile_error_reqs.add(request_id)  # these end with an error in this step
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
    """The page names, changed so that no other request has them."""
    return lambda request: [sha256(request.request_id.encode() + name).digest() for name in names(request)]


class BlockScheduler(WholeBlocks, DiffusionScheduler):
    """The scheduler of engines that wait for each step."""


class BlockAsyncScheduler(WholeBlocks, DiffusionAsyncScheduler):
    """The scheduler of engines that schedule the next step during the present one."""


def scheduler(vllm_config: Any, **more: Any) -> Scheduler:
    """The scheduler of an engine; the platform has chosen its kind, after the models' own settings were applied."""
    cls = BlockAsyncScheduler if vllm_config.scheduler_config.async_scheduling else BlockScheduler
    return cls(vllm_config, **more)
