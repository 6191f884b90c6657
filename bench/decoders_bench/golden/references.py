"""One adapter per reference: from the reference's own parameters to those of this library.

An adapter replays one case; it returns a note, or an empty text, if both agree, and raises `MismatchError` or
`SkipError` otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args, get_type_hints

from torch import Tensor

from decoders import Pred, get, get_cache
from decoders.strategies.dream import Dream
from decoders_bench.golden.acceptance import acceptance
from decoders_bench.golden.blocks import edited, filled, job_of
from decoders_bench.golden.cases import Case, MismatchError, SkipError
from decoders_bench.golden.dawn import dawn
from decoders_bench.golden.forwards import model_check
from decoders_bench.golden.latent import LATENT
from decoders_bench.golden.models import Models
from decoders_bench.golden.revision import p2, remdm, wino
from decoders_bench.golden.selectors import diffusers, dinfer, klass
from decoders_bench.golden.shelf import adablock, daedal, dreamon, dus, local_leap, pc_sampler, saber
from decoders_bench.golden.slow_fast import slow_fast
from decoders_bench.golden.speculation import llada2_s2d2, s2d2
from decoders_bench.golden.steps import posterior, quotas, selection
from decoders_bench.golden.streaming import wedlm
from decoders_bench.golden.trajectory import Job, Setup, free, trajectory


def greedy(case: Case) -> None:
    """Raises `SkipError` for a case that draws at random."""
    for key in ("temperature", "alg_temp"):
        if case.params.get(key):
            raise SkipError(f"{key} {case.params[key]}: its random numbers cannot be drawn again")


def llada(case: Case, models: Models) -> str:
    greedy(case)
    return trajectory(case, models, llada_setup(case))


def llada_setup(case: Case) -> Setup:
    q = case.params
    if q.get("remasking", "low_confidence") != "low_confidence":
        raise SkipError(f"remasking {q['remasking']}: its random numbers cannot be drawn again")
    return Setup(get("llada", steps=q.get("steps")), Pred.best, q.get("block_length"), float(q.get("cfg_scale", 0)))


def dream(case: Case, models: Models) -> str:
    greedy(case)
    return trajectory(case, models, dream_setup(case))


def dream_setup(case: Case) -> Setup:
    q = case.params
    by, known = q.get("alg", "origin"), get_args(get_type_hints(Dream)["by"])
    if by == "origin":
        raise SkipError("alg origin: its random numbers cannot be drawn again")
    if by not in known:
        raise SkipError(f"alg {by} does not exist here")
    top_p, top_k = q.get("top_p"), q.get("top_k") or None

    def score(p: Pred) -> tuple[Tensor, Tensor]:
        p = p.filtered(top_p=top_p).filtered(top_k=top_k)
        tokens, confidence = p.best()
        return tokens, p.margin() if by == "topk_margin" else -p.entropy() if by == "entropy" else confidence

    decoder = get(
        "dream", by=by, steps=q.get("steps"), eps=q.get("eps", 1e-3), top_p=top_p, top_k=top_k,
        tau=q.get("threshold", 0.9),
    )
    return Setup(decoder, score, padding="both")


def fast_dllm(case: Case, models: Models) -> str:
    greedy(case)
    q = case.params
    if case.data.get("kind") == "step":
        return selection(case, get(rule(case))) if "factor" in q or "threshold" in q else quotas(case)
    return trajectory(case, models, fast_dllm_setup(case))


def fast_dllm_setup(case: Case) -> Setup:
    said = f"{case.name} {(case.data.get('reference') or {}).get('function')}"
    cache = get_cache(next((x for x in ("prefix", "dual") if f"_{x}_" in said), "exact"))
    q = case.params
    if "factor" not in q and "threshold" not in q:
        return replace(llada_setup(case), cache=cache)
    return Setup(get(rule(case)), Pred.best, q.get("block_length"), cache=cache)


def rule(case: Case) -> str:
    """If both are given, the reference uses the factor."""
    q = case.params
    return f"factor:f={q['factor']}" if "factor" in q else f"threshold:tau={q['threshold']}"


def sdar(case: Case, models: Models) -> str:
    free(sdar_job(case, models))
    return ""


def sdar_job(case: Case, models: Models) -> Job:
    """The reference's random draws are recorded as the most likely tokens, with their probability at temperature 1."""
    q = case.params
    if q.get("temperature", 1.0) != 1.0 or q.get("top_k") or q.get("top_p", 1.0) != 1.0:
        raise SkipError("temperature, top_k or top_p: its random numbers cannot be drawn again")
    decoder = get(
        "sdar", by=q.get("remasking_strategy", "low_confidence_dynamic"), block_steps=q.get("denoising_steps"),
        tau=q.get("confidence_threshold", 0.85),
    )
    return job_of(case, models, decoder, q.get("stopping_criteria_idx", ()))


def llada2(case: Case, models: Models) -> str:
    """Also compares what each forward pass filled in, and what it edited."""
    greedy(case)
    trace = free(llada2_job(case, models))
    for name, ours in (("unmask", filled(trace)), ("edit", edited(trace))):
        theirs = case.need("expected", name)
        for k, (x, y) in enumerate(zip(ours, theirs, strict=True)):
            if x != (sorted(y) if name == "unmask" else y):
                raise MismatchError(f"{name} {x} instead of {y}", k)
    return ""


def llada2_job(case: Case, models: Models) -> Job:
    q = case.params
    decoder = get(
        "llada2", tau_mask=q.get("threshold", 0.95), tau_edit=q.get("editing_threshold", 0.9),
        at_least=q.get("num_to_transfer", 1), max_post=q.get("max_post_steps", 16),
    )
    return job_of(case, models, decoder, [q["eos_id"]] if q.get("eos_early_stop") else ())


def prophet(case: Case, models: Models) -> str:
    """Given tokens within the canvas become part of an infilled prompt."""
    greedy(case)
    q = case.params
    start, bars = int(q["answer_start_pos"]) - len(case.need("prompt")[0]), q["early_exit_thresholds"]
    block = q["block_length"] if q["block_length"] < q["gen_length"] else None
    base, length = get("llada", steps=q["steps"]), q["answer_length"]
    decoder = get("prophet", base=base, block=block, answer_start=start, answer_length=length, **bars)
    return trajectory(pinned(case, q.get("constraints") or {}), models, Setup(decoder, Pred.best))


def pinned(case: Case, tokens: dict[str, int]) -> Case:
    """The case; if there are `tokens`, at places counted from the end of the prompt, as an infilled prompt with holes
    elsewhere."""
    if not tokens:
        return case
    (prompt,), length = case.need("prompt"), case.params["gen_length"]
    canvas = [*prompt, *(tokens.get(str(i), case.mask_id) for i in range(length))]
    return replace(case, data={**case.data, "prompt": [canvas], "params": {**case.params, "gen_length": 0}})


REFERENCES: dict[str, Callable[[Case, Models], str]] = {
    "adablock": adablock,
    "daedal": daedal,
    "dawn": dawn,
    "diffusers": diffusers,
    "dinfer": dinfer,
    "dream": dream,
    "dreamon": dreamon,
    "dus": dus,
    "fast_dllm": fast_dllm,
    "klass": klass,
    **LATENT,
    "llada": llada,
    "llada2": llada2,
    "llada2_s2d2": llada2_s2d2,
    "local_leap": local_leap,
    "mdlm": posterior,
    "model_check": model_check,
    "p2": p2,
    "pc_sampler": pc_sampler,
    "prophet": prophet,
    "remdm": remdm,
    "s2d2": s2d2,
    "saber": saber,
    "sdar": sdar,
    "slow_fast": slow_fast,
    "transformers": acceptance,
    "wedlm": wedlm,
    "wino": wino,
}
