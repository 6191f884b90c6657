"""One adapter per reference: from the reference's own parameters to ours.

An adapter replays one case; it returns a note, or nothing, if ours agrees, and raises `MismatchError` or `SkipError` otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args, get_type_hints

from torch import Tensor

from decoders import Pred, get, get_cache
from decoders.strategies.dream import Dream
from decoders_bench.golden.cases import Case, SkipError
from decoders_bench.golden.forwards import model_check
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import posterior, quotas, selection
from decoders_bench.golden.trajectory import Setup, trajectory


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
        "dream", by=by, steps=q.get("steps"), eps=q.get("eps", 1e-3), top_p=top_p, top_k=top_k, tau=q.get("threshold", 0.9),
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
    """Where both are given, the reference goes by the factor."""
    q = case.params
    return f"factor:f={q['factor']}" if "factor" in q else f"threshold:tau={q['threshold']}"


REFERENCES: dict[str, Callable[[Case, Models], str]] = {
    "dream": dream,
    "fast_dllm": fast_dllm,
    "llada": llada,
    "mdlm": posterior,
    "model_check": model_check,
}
