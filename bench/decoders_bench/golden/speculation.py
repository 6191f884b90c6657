"""Replay of S2D2 on SDAR's and on LLaDA2.1's base rule.

The uniform random numbers of every verification are recorded and replace this library's (`S2D2.coin`); the references'
sampling from the residual was replaced by its argmax, and so is this library's (`S2D2.pick`). The comparison goes round
by round (a draft, and its verification if there is one): the route and its score, the span, the count of random
numbers, and how every position was decided. `blocks` describes which forward passes are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from decoders import Blocks, Plan, Pred, State, apply, first_run, prepare
from decoders.core import Exact, Shape, layout, session_spec, view
from decoders.strategies.s2d2 import S2D2, EditingS2D2
from decoders.strategies.speculation.acceptance import Lenient
from decoders.strategies.speculation.base import Dynamic, Joint, Static
from decoders.strategies.speculation.draft import Draft, residual
from decoders.strategies.speculation.estimators import ESTIMATORS, acceptance, expected_length
from decoders.strategies.speculation.routes import UCB, Bandit, Hysteresis, MinSpan, Route, Score
from decoders_bench.golden.blocks import shared
from decoders_bench.golden.cases import Case, MismatchError, SkipError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import check, state

RTOL = 1e-5  # the references compute their softmax in float32
THEIRS = {
    "soft_entropy_negexp": ("soft_entropy", "ssd_entropy_temperature"),
    "hard_margin_threshold": ("hard_margin", "ssd_confidence_margin_threshold"),
    "hard_entropy_threshold": ("hard_entropy", "ssd_entropy_threshold"),
    "soft_confidence_power": ("confidence_power", "ssd_confidence_power"),
    "soft_clipped_linear_margin": ("clipped_margin", "ssd_confidence_margin_coef"),
    "soft_renyi_2_entropy": ("renyi2", ""),
}
"""The reference's name of each estimator, with this library's name and the reference's name of its parameter."""


class Told(S2D2):
    """Takes its random numbers from a record, if there is one: a forward pass that does not verify has none."""

    draws: Tensor | None

    def coin(self, s: State) -> Tensor:
        """(B, W): the k-th number belongs to the k-th position of the span."""
        if self.draws is None:
            return super().coin(s)
        rank = (first_run(s.open).cumsum(-1) - 1).clamp(min=0, max=self.draws.shape[-1] - 1)
        return self.draws.expand(len(s.tokens), -1).gather(1, rank)

    def pick(self, weight: Tensor, u: Tensor) -> Tensor:
        return weight.argmax(-1)


@dataclass(frozen=True)
class ToldS2D2(Told):
    draws: Tensor | None = None


@dataclass(frozen=True)
class ToldEditing(Told, EditingS2D2):
    draws: Tensor | None = None


@dataclass
class Round:
    """A draft, and its verification if there was one."""

    span: list[int]
    score: float
    bucket: int
    verified: bool = False
    how: dict[int, str] = field(default_factory=dict)
    """The outcome of each decided column."""
    edits: list[list[int]] = field(default_factory=list)
    """[column, old token, new token]"""
    canvas: list[int] = field(default_factory=list)
    """The canvas after the round."""


def routing(case: Case) -> Route:
    """The route, from the reference's parameters."""
    q = case.params
    estimator, parameter = THEIRS[q.get("token_acceptance_estimator", "soft_entropy_negexp")]
    scored: dict[str, Any] = {
        "estimator": estimator, "parameter": q.get(parameter), "cost": float(q.get("score_penalty_coef", 1)),
        "dynamic": q.get("do_verify_score_type") == "difference_dynamic",
    }
    match q.get("do_verify_policy"):
        case "mask_span_length":
            return MinSpan(q["min_ssd_span_length"])
        case "score_threshold":
            return Score(on=q["do_verify_score_threshold"], **scored)
        case "score_hysteresis":
            return Hysteresis(on=q["hysteresis_threshold_on"], off=q["hysteresis_threshold_off"], **scored)
        case "contextual_bandit_ucb":
            return UCB(q["ucb_beta"])
    raise SkipError(f"the policy {q.get('do_verify_policy')} does not exist here")


def greedy(case: Case) -> None:
    """Raises `SkipError` for drafts that are sampled, and for filters, which argmax drafts do not have here."""
    q = case.params
    if q.get("do_sample") or q.get("temperature") not in (0.0, 1.0) or q.get("top_k") or q.get("top_p", 1.0) < 1:
        raise SkipError("only argmax drafts at temperature 1 can be replayed")


def run(case: Case, models: Models, decoder: ToldS2D2 | ToldEditing, forwards: int) -> Iterator[Round]:
    """This library's rounds, in the given number of forward passes, with rows of whole blocks. Raises `MismatchError`
    if there are too few recorded numbers, and if a round is incomplete at the end."""
    (prompt,), block = rows(case.need("prompt")), int(case.need("params", "block_length"))
    model, draws = models.get(case.need("model"), case.mask_id), iter(case.need("expected", "draws"))
    length = -(-(len(prompt) + int(case.need("params", "gen_length"))) // block) * block - len(prompt)
    plan = Plan(decoder, Blocks(block), Exact(), stop=False)
    c = layout(Shape.of(model), decoder, [prompt], length=length, keys=[0], windows=plan.windows)
    forward, now = model.session(session_spec(plan, c)), Round([], 0.0, 0)
    for k in range(forwards):
        s, f = view(c), prepare(plan, c)
        p, verify = forward(f), bool(f.phase)
        span, told = first_run(s.open)[0].nonzero().flatten().tolist(), plan
        if verify:
            numbers: list[float] = next(draws, [])
            if len(numbers) != len(span):
                raise MismatchError(f"the reference verifies {len(numbers)} positions and ours {len(span)}", k)
            told = replace(plan, decoder=replace(decoder, draws=torch.tensor([numbers], dtype=torch.float64)))
        else:
            draft = Draft.of(s, p, decoder.keep, True, decoder.tau)
            now = Round(span, float(decoder.route.score(s, p, draft)) if isinstance(decoder.route, Score) else 0.0, 0)
        c = apply(told, c, f, p)
        if not verify and isinstance(c.memo.route, Bandit):
            now.bucket = int(c.memo.route.bucket)
        how = decoder.outcome(view(c))[0].tolist()
        tokens = c.tokens.gather(1, f.at)[0].tolist()
        for i, (column, was) in enumerate(zip(f.at[0].tolist(), s.open[0].tolist(), strict=True)):
            if was and not bool(c.open[0, column]):
                now.how[column] = decoder.outcomes[how[i]]
            elif not was and tokens[i] != int(s.tokens[0, i]):
                now.edits.append([column, int(s.tokens[0, i]), tokens[i]])
        now.verified, now.canvas = verify, c.tokens[0, :-1].tolist()
        if not bool(decoder.phase(view(c))):
            yield now
    if bool(decoder.phase(view(c))):
        raise MismatchError("ours goes on to verify where the reference ends", forwards)
    if next(draws, None) is not None:
        raise MismatchError("the reference verifies more often than ours", forwards)


def same(what: str, ours: Any, theirs: Any, k: int) -> None:
    """Raises `MismatchError` unless both are equal; numbers may differ within `RTOL`."""
    near = isinstance(theirs, float) and abs(ours - theirs) <= RTOL * max(abs(theirs), 1)
    if not near and ours != theirs:
        raise MismatchError(f"{what} {ours} instead of {theirs} in round {k}", k)


def marked(how: dict[int, str], marks: dict[str, tuple[int, float]]) -> list[float]:
    """Each position in the notation of the data: a sign and a fraction for each outcome."""
    return sorted(round(marks[name][0] * (column + marks[name][1]), 1) for column, name in how.items())


def s2d2(case: Case, models: Models) -> str:
    """One case on SDAR's base rule. Raises `MismatchError` or `SkipError`."""
    if case.data.get("kind") == "step":
        return estimators(case) if "by_estimator" in case.need("expected") else residuals(case)
    greedy(case)
    q = case.params
    base = Static if q["remasking_strategy"] == "low_confidence_static" else Dynamic
    accept = Lenient(
        temper=q.get("ssd_ratio_tempering_factor", 1.0), ratio=q.get("ssd_ratio_threshold"),
        resample=q.get("allow_resample", True), confident=q.get("always_check_high_confidence", False),
    )
    decoder = ToldS2D2(
        route=routing(case), accept=accept, base=base(q["denoising_steps"]), tau=q["confidence_threshold"]
    )
    kinds, canvases = case.need("expected", "forwards"), case.need("expected", "canvases")
    forwards = shared(case)
    ends = [
        k for k, then in zip(forwards, [*forwards[1:], None], strict=True) if then is None or kinds[then] == "denoise"
    ]
    marks = {"base": (-1, 0.0), "accepted": (1, 0.0), "resampled": (1, 0.5), "ratio": (1, 0.2), "confident": (-1, 0.4)}
    expected = zip(case.need("expected", "decisions"), case.need("expected", "decoding_order"), ends, strict=True)
    ours = list(run(case, models, decoder, len(forwards)))
    for k, (now, (decision, order, end)) in enumerate(zip(ours, expected, strict=True)):
        same("verified:", now.verified, decision["verify"], k)
        same("the span", now.span, decision["span"], k)
        if decision["score"] is not None:
            same("the score", now.score, decision["score"], k)
        if decision["bucket"] is not None:
            same("the bucket", now.bucket, decision["bucket"], k)
        same("decided:", marked(now.how, marks), sorted(x for x in order if x != "|"), k)
        same("the canvas", now.canvas, canvases[end], k)
    return ending(
        ours, case.need("expected", "tokens"), q.get("stopping_criteria_idx") or [], len(case.need("prompt")[0])
    )


def ending(ours: Sequence[Round], tokens: list[int], stop: Sequence[int], given: int) -> str:
    """Raises `MismatchError` if this library's run does not end with `tokens`, up to and without a stop token."""
    last = ours[-1].canvas
    cut = next((i for i in range(given, len(last)) if last[i] in stop), len(last))
    same("the tokens", last[:cut], tokens, len(ours) - 1)
    return ""


def llada2_s2d2(case: Case, models: Models) -> str:
    """One case on LLaDA2.1's base rule. Its forward passes have no names: each round has one, and each verification
    another. Raises `MismatchError` or `SkipError`."""
    greedy(case)
    q, (prompt,) = case.params, case.need("prompt")
    if q["num_to_transfer"] != 1:
        raise SkipError("a quota other than one position does not exist here")
    base = Joint(tau_edit=q["editing_threshold"], max_post=q["max_post_steps"])
    decoder = ToldEditing(route=routing(case), base=base, tau=q["threshold"])
    unmask, edit, draws = (case.need("expected", key) for key in ("unmask", "edit", "draws"))
    forwards, block = len(unmask) + len(draws), q["block_length"]
    blocks = -(-(len(prompt) + q["gen_length"]) // block) - len(prompt) // block
    spent = int(len(prompt) >= block) + forwards + blocks - 1  # a prefill, and a commit of every block but the last
    same("the forwards, with theirs,", spent, case.need("expected", "nfe"), 0)
    marks = {"base": (1, 0.0), "accepted": (-1, 0.0), "resampled": (-1, 0.5)}
    scores = iter(case.need("expected", "scores") if "score" in q["do_verify_policy"] else [])
    ours = list(run(case, models, decoder, forwards))
    for k, (now, filled, edited) in enumerate(zip(ours, unmask, edit, strict=True)):
        if now.span and "score" in q["do_verify_policy"]:
            same("the score", now.score, next(scores, None), k)
        same("decided:", marked(now.how, marks), sorted(filled), k)
        same("edited:", now.edits, edited, k)
    tokens = case.need("expected", "tokens")
    same("the tokens", ours[-1].canvas[: len(tokens)], tokens, len(ours) - 1)
    return ""


def estimators(case: Case) -> str:
    """Every estimator and score on given logits of the recorded span: the span is an input, and may be only the
    beginning of the run of masks. Raises `MismatchError`."""
    q, logits = case.params, case.tensors()["logits"]
    masked, span = torch.tensor([case.need("block", "masked")]), case.need("block", "span")
    s = state(torch.where(masked, case.mask_id, 0), case.mask_id, logits.shape[-1])
    p = Pred(logits, torch.arange(logits.shape[1])[None], logits.shape[1])
    tokens, confidence = p.best()
    same("the span", first_run(s.open)[0].nonzero().flatten().tolist()[: len(span)], span, 0)
    asked = torch.isin(torch.arange(logits.shape[1]), torch.tensor(span))[None]
    same("the drafts", tokens[0].tolist(), case.need("expected", "draft_tokens"), 0)
    check("the confidence", confidence[0], torch.tensor(case.need("expected", "draft_confidence")), RTOL)
    for theirs, found in case.need("expected", "by_estimator").items():
        name, parameter = THEIRS[theirs]
        value = q.get(parameter, ESTIMATORS[name][1])
        alpha = acceptance(name, value, s, p, confidence)  # type: ignore[arg-type]
        check(f"{name}: alpha", alpha[0, span], torch.tensor(found["alpha"]), RTOL)
        same(f"{name}: the expected length", float(expected_length(alpha, asked)), found["k_hat"], 0)
        for kind, score in found["scores"].items():
            _, cost, c = kind.split("_")
            dynamic, at = cost == "dynamic", float(c[1:])
            route = Score(estimator=name, parameter=value, dynamic=dynamic, cost=at)  # type: ignore[arg-type]
            draft = Draft.of(s, p, 1, True, q["confidence_threshold"])
            same(f"{name}, {kind}: the score", float(route.worth(s, p, draft, asked)), score, 0)
    return ""


def residuals(case: Case) -> str:
    """The distribution from which a rejected draft is resampled. Raises `MismatchError`."""
    t = case.tensors()
    tokens = torch.arange(t["p"].shape[-1]).expand_as(t["p"])
    ours = residual(t["q"], tokens, t["p"])
    check("the residual", ours / ours.sum(-1, keepdim=True), t["residual"])
    same("the argmax", ours.argmax(-1).tolist(), case.need("expected", "argmax"), 0)
    return ""
