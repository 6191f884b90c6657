"""Replay of single steps on uniform noise and given logits, from transformers and from diffusers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from decoders import Pred, State
from decoders.strategies.uniform import BlockRefinement, Gemma
from decoders_bench.golden.cases import Case, MismatchError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import state


def acceptance(case: Case, models: Models) -> str:
    """Which positions are accepted, and with which tokens if those are the most likely ones; noise is not compared. The
    logits of the transformers cases are those after the temperature. This library's run has one step more than the
    scheduler, with the same temperatures before it: the last step commits everything, which the reference leaves to its
    pipeline. Raises `MismatchError`."""
    q, expected = case.params, case.need("expected")
    logits = case.tensors()["logits"].double()
    before = torch.tensor(rows(case.need("expected", "current" if "current" in expected else "before")))
    t_max, t_min = (float(q.get(key, 1.0)) for key in ("t_max", "t_min"))
    steps = q.get("num_inference_steps", 48)
    decoder = Gemma(block_steps=steps + 1, bound=q["entropy_bound"], t_max=t_max, t_min=t_min - (t_max - t_min) / steps)
    s = decoder.begin(noise(before, torch.ones_like(before).bool(), logits.shape[-1], q.get("timestep", 0)))
    p = Pred(logits, torch.arange(logits.shape[1]).expand(len(before), -1), logits.shape[1])
    accepted = ~decoder.step(s, p).open
    theirs = torch.tensor(rows(case.need("expected", "accepted"))).bool()
    if not torch.equal(accepted, theirs):
        raise MismatchError(f"accepted {accepted.long().tolist()} instead of {theirs.long().tolist()}", 0)
    if "tokens" in expected:  # the most likely ones instead of samples
        best, tokens = p.best()[0], torch.tensor(rows(expected["tokens"]))
        if not torch.equal(torch.where(accepted, best, -1), tokens):
            raise MismatchError(f"tokens {torch.where(accepted, best, -1).tolist()} instead of {tokens.tolist()}", 0)
    return ""


def noise(tokens: Tensor, open: Tensor, vocab: int, step: int) -> State:
    """A window without a mask token, with tokens `(B, W)` of which those at `open (B, W)` are noise, before its step
    number `step`."""
    s = state(tokens, -1, vocab)  # no token is -1, so nothing is open yet
    everywhere = torch.ones_like(open)
    return replace(s, open=open, editable=everywhere, opened=everywhere.sum(-1), mask_id=None, step=s.step + step)


def uniform_refinement(case: Case) -> str:
    """Consecutive steps, each from the reference's state: the positions that the step commits, and all that are
    committed. Raises `MismatchError`."""
    q, logits = case.params, case.tensors()["logits"].double()
    decoder = BlockRefinement(block_steps=q["num_inference_steps"], tau=q["threshold"])
    open = torch.ones_like(torch.tensor(case.need("expected", "steps")[0]["before"])).bool()
    for k, recorded in enumerate(case.need("expected", "steps")):
        before, committed, tokens = (torch.tensor(recorded[key]) for key in ("before", "committed", "tokens"))
        B, W = before.shape
        s = noise(before, open, logits.shape[-1], recorded["timestep"])
        t = decoder.step(s, Pred(logits[k], torch.arange(W).expand(B, -1), W))
        if not torch.equal(~t.open, committed.bool()):
            raise MismatchError(f"committed {(~t.open).long().tolist()} instead of {committed.tolist()}", k)
        if not torch.equal(torch.where(t.open, -1, t.tokens), tokens):
            raise MismatchError(f"tokens {torch.where(t.open, -1, t.tokens).tolist()} instead of {tokens.tolist()}", k)
        open = t.open
    return ""
