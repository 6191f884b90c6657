"""The comparisons: a decoding method of a peer, and the same algorithm in this library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Case:
    """One comparison. `options` are those of the peer, in the form that its script in `scripts/` reads."""

    peer: str
    """The peer in whose environment it runs."""
    named: str
    """The name of the peer's method, for the reader."""
    decoder: str = ""
    """The spec of this library's decoder; empty if there is no comparison and the peer is only tried."""
    cache: str = "exact"
    way: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    model: Literal["nano", "diffusion_gemma", "realistic"] = "nano"
    vocab: int = 0
    """The vocabulary size of a realistic model; 0 for the others."""
    attention: Literal["bidirectional", "block"] = "bidirectional"
    block: int = 16
    length: int = 32
    because: str = ""
    """Why tokens or forward passes differ, if they do."""

    def job(self, path: str, mask: int | None) -> dict[str, Any]:
        """The job that both sides receive."""
        own = {
            name: getattr(self, name) for name in ("decoder", "cache", "way", "model", "attention", "block", "length")
        }
        return {**own, "options": dict(self.options), "path": path, "mask": mask}


LAST_LOOK = "the pipeline runs once more after a block's last mask is filled, to see that nothing is left"
EXTRA_EDIT = "the bound on forwards without a mask is checked one forward later there"


def refinement(decoder: str, cache: str, because: str, **options: Any) -> Case:
    named = ", ".join(["`LLaDA2Pipeline`, `BlockRefinementScheduler`", *(f"{k}={v}" for k, v in options.items())])
    options = {"num_inference_steps": 8, "temperature": 0.0, "editing_threshold": 0.0, **options}
    return Case("diffusers", named, decoder, cache, "refinement", options, attention="block", block=8, because=because)


def canvases(peer: str, named: str, because: str = "", **options: Any) -> Case:
    decoder = "gemma:" + ",".join(f"{k}={v}" for k, v in options.items())
    return Case(
        peer, named, decoder, way="canvases", options=options, model="diffusion_gemma", length=64, because=because
    )


def reason(scheduler: str, decoder: str, steps: int, because: str = "") -> Case:
    named = f"`DiffusionSampler`, scheduler `{scheduler}`, {steps} steps"
    return Case("dllm-reason", named, decoder, options={"scheduler": scheduler, "num_steps": steps}, because=because)


def fast(loop: str, named: str, cache: str) -> Case:
    options = {"loop": loop, "threshold": 0.9}
    return Case("fast-dllm", f"`{loop}`, {named}", "threshold:tau=0.9", cache, options=options)


def served(named: str, decoder: str, because: str = "", **options: Any) -> Case:
    return Case("dlmserve", f"`Engine.generate`, {named}", decoder, way="engine", options=options, because=because)


SETTLES: Mapping[str, Any] = {
    "block_steps": 16,
    "bound": 2.0,
    "t_max": 0.1,
    "t_min": 0.05,
    "stability": 1,
    "confidence": 9.0,
}
RUNS_OUT: Mapping[str, Any] = {
    "block_steps": 16,
    "bound": 0.1,
    "t_max": 0.8,
    "t_min": 0.4,
    "stability": 1,
    "confidence": 0.005,
}
NOISE_STAYS = (
    "a canvas that has not settled after its last step keeps the noise of the positions that were not accepted there; "
    "the official "
    "sampler, and `gemma`, end with the likeliest tokens"
)
ALL_ANCHORS = (
    "there only the tokens of the fixed schedule are anchors; by the paper every prediction above the threshold is one"
)

CASES = (
    *(
        refinement("llada2:tau_mask=0.95,tau_edit=1.1,max_post=0", cache, LAST_LOOK, threshold=0.95)
        for cache in ("none", "exact")
    ),
    *(
        refinement("llada2:tau_mask=0.95,tau_edit=0.9", cache, EXTRA_EDIT, threshold=0.95, editing_threshold=0.9)
        for cache in ("none", "exact")
    ),
    canvases("diffusers", "`DiffusionGemmaPipeline`, `EntropyBoundScheduler`, canvases that settle", **SETTLES),
    canvases(
        "diffusers", "`DiffusionGemmaPipeline`, `EntropyBoundScheduler`, canvases that do not", NOISE_STAYS, **RUNS_OUT
    ),
    canvases("transformers", "`generate`, `EntropyBoundSampler`, canvases that settle", **SETTLES),
    canvases("transformers", "`generate`, `EntropyBoundSampler`, canvases that do not", **RUNS_OUT),
    reason("confidence", "llada", 32),
    reason("confidence", "llada:steps=16", 16),
    reason("entropy", "entropy_bound:bound=0", 32),
    reason("linear", "sdar:by=sequential", 32),
    served("32 steps", "llada", num_denoising_steps=32),
    served("16 steps", "llada:steps=16", num_denoising_steps=16),
    served("32 steps, LocalLeap", "local_leap", ALL_ANCHORS, num_denoising_steps=32, use_local_leap=True),
    Case("dlmserve", "`LLM(model)`, its own loader, on the directory of nano", way="loader"),
)


VOCABULARIES = (32_000, 126_464)
"""The vocabulary sizes of Llama 2 and of LLaDA."""


def realistic(vocab: int, length: int) -> tuple[Case, ...]:
    """The cases for a model of LLaDA's shape, with a canvas of `length` in blocks of 16: official loops, and their
    counterparts in other libraries."""
    steps, block = length // 2, 16
    decoder, editing = f"llada:steps={steps}", "llada2:tau_mask=0.95,tau_edit=1.1,max_post=0"
    options = {"threshold": 0.95, "num_inference_steps": block}
    cases = (
        Case("llada", f"`generate`, {steps} steps", decoder, "none", options={"steps": steps}),
        fast("generate", "threshold 0.9", "none"),
        fast("generate_with_prefix_cache", "threshold 0.9", "prefix"),
        fast("generate_with_dual_cache", "threshold 0.9", "dual"),
        *(refinement(editing, cache, LAST_LOOK, **options) for cache in ("none", "exact")),
        reason("confidence", decoder, steps),
        served(f"{steps} steps", decoder, num_denoising_steps=steps),
    )
    return tuple(replace(case, model="realistic", vocab=vocab, length=length, block=block) for case in cases)
