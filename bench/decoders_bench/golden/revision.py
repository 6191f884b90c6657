"""Replay of decoders that take decided tokens back: ReMDM, P2, WINO.

Their trajectories have to agree without the tolerance for equal scores: `trajectory.forced` handles committed
positions, and not those that are taken back.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Self

import torch

from decoders import Pred, get
from decoders.caches.none import NoCache
from decoders.core import Forward, Session, SessionSpec, Trace
from decoders.models.adapter import TransformersModel
from decoders.strategies.mdlm import nucleus
from decoders.strategies.remdm import ReMDM, posterior
from decoders_bench.golden.cases import Case, MismatchError, SkipError, WrongReferenceError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import TOLERANCE, chances, check
from decoders_bench.golden.trajectory import Job, Setup, free, job_of


def remdm(case: Case, models: Models) -> str:
    """Compare the distribution at every position for the step from time t to s. Raises `MismatchError`, `SkipError`, or
    `WrongReferenceError` if the recorded values are no probabilities: then the reference's sigma exceeds its bound,
    which its forward-backward corrector ignores."""
    q, tensors = case.params, case.tensors()
    tokens = torch.tensor(rows(case.need("expected", "tokens")))
    open = tokens == case.mask_id
    logits = tensors["logits"].index_fill(-1, torch.tensor([case.mask_id]), -torch.inf)
    p = nucleus(Pred(logits, torch.arange(tokens.shape[1]).expand_as(tokens), tokens.shape[1]), float(q["nucleus_p"]))
    confidence = -tensors["conf"] if "conf" in tensors else torch.zeros(tokens.shape)
    t, s = (torch.full((len(tokens), 1), float(q[x]), dtype=torch.double) for x in "ts")
    ours = posterior(p.logits.softmax(-1), tokens, open, case.mask_id, decoder(case).rates(t, s, confidence, ~open))
    unmasked = rows(case.need("expected").get("p_unmask") or [[]])
    most = max((x for row in unmasked for x in row if x is not None), default=0.0)
    if most > 1 + TOLERANCE:
        bound = "sigma is at most (1 - alpha_s) / alpha_t (2503.00307, section 3)"
        raise WrongReferenceError(f"a position is unmasked with probability {most:.3g}; {bound}")
    check("the posterior", ours, tensors["posterior"])
    chances(case, ours)
    return ""


def decoder(case: Case) -> ReMDM:
    """The decoder of a case. The reference's sampler `mdlm` is `cap` with an eta of 0. Raises `SkipError` for a sampler
    that does not exist here."""
    q, name = case.params, str(case.params["sampler"]).removeprefix("remdm-").replace("-", "_")
    if name not in ("mdlm", "cap", "rescale", "conf", "loop", "forward_backward"):
        raise SkipError(f"sampler {name} does not exist here")
    eta = None if name in ("conf", "forward_backward") else float(q["eta"])
    loop = {k: float(q[k]) for k in ("t_on", "t_off", "alpha_on") if k in q}
    return ReMDM(schedule="cap" if name == "mdlm" else name, eta=eta, **loop)  # type: ignore[arg-type]


def wino(case: Case, models: Models) -> str:
    """Also compares what each forward pass took back."""
    q = case.params
    if q.get("temperature"):
        raise SkipError(f"temperature {q['temperature']}: its random numbers cannot be drawn again")
    trace = free(job_of(
        case, models,
        Setup(get("wino", tau=q["threshold"], tau_back=q["threshold_back"]), Pred.best, q["block_length"]),
    ))
    for k, (ours, theirs) in enumerate(zip(taken_back(trace), case.need("expected", "remasked"), strict=True)):
        if ours != sorted(theirs):
            raise MismatchError(f"positions {ours} taken back instead of {sorted(theirs)}", k)
    return ""


def taken_back(trace: Trace) -> list[list[int]]:
    """The positions that each forward pass of this library masked again, ascending, in a run of one row."""
    opens = [trace.canvases[0].editable[0], *(c.open[0] for c in trace.canvases)]
    return [(~before & after).nonzero().flatten().tolist() for before, after in pairwise(opens)]


def p2(case: Case, models: Models) -> str:
    """With a planner, every second forward pass is the planner's, and the data has the canvases after those."""
    q = case.params
    if q.get("tau"):
        raise SkipError(f"tau {q['tau']}: its random numbers cannot be drawn again")
    scores = {"logP": "drawn", "diff_top2": "diff_top2"}
    if q.get("kappa_fn", "identity") != "identity" or q.get("score_fn", "logP") not in scores:
        raise SkipError(f"kappa {q.get('kappa_fn')}, score {q.get('score_fn')}: they do not exist here")
    planned = bool(q.get("planner"))
    planner, score = "forward" if planned else "self", scores[q.get("score_fn", "logP")]
    decoder = get("p2", steps=q["num_steps"], eta=q["eta"], planner=planner, score=score)
    job = job_of(case, models, Setup(decoder, Pred.best, cache=NoCache()))
    if not planned:
        free(job)
        return ""
    model = PromptDrawn.of(models.get(case.need("model"), case.mask_id))
    free(replace(in_pairs(job, int(case.need("expected", "planner_forwards"))), model=model))
    return (
        "the reference shows its planner another prompt, which the denoiser has drawn; compared with a model that "
        "does so too"
    )


class PromptDrawn(TransformersModel):
    """Gives the planner of P2 the reference's input: the most likely tokens of the previous forward pass in place of
    the prompt."""

    @classmethod
    def of(cls, m: TransformersModel) -> Self:
        return cls(m.model, mask_id=m.mask_id)

    def session(self, need: SessionSpec) -> Session:
        inner, drawn = super().session(need), torch.zeros(0)

        def forward(f: Forward) -> Pred:
            nonlocal drawn
            if bool(f.phase.any()):
                return inner(replace(f, tokens=torch.where(f.given, drawn, f.tokens)))
            tokens, column = f.tokens[:, :-1], torch.arange(f.tokens.shape[1] - 1)
            sees = (column < f.until[:, :-1, None]).expand(-1, -1, -1)
            best = self.head(self.states(tokens, column.expand_as(tokens), sees)[0]).argmax(-1)
            drawn = torch.cat([best, f.tokens[:, -1:]], 1)
            return inner(f)

        return forward


def in_pairs(job: Job, planned: int) -> Job:
    """The job with the canvases before the planner's forward passes added: the denoiser's forward pass has not changed
    anything yet."""
    mask = job.model.mask_id
    assert mask is not None
    start = [[*p, *[mask] * job.length] for p in job.prompts]
    before = [start, *job.canvases[:-1]]
    return replace(
        job, nfe=job.nfe + planned,
        canvases=[c for old, new in zip(before, job.canvases, strict=True) for c in (old, new)],
    )
