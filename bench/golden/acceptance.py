"""Replay of one acceptance of `gemma` on given logits, from transformers and from diffusers."""

from __future__ import annotations

from dataclasses import replace

import torch

from decoders import Pred
from decoders.strategies.uniform import Gemma
from decoders_bench.golden.cases import Case, MismatchError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import state


def acceptance(case: Case, models: Models) -> str:
    """Which positions are accepted, and with which tokens where those are the likeliest; noise is not compared. The logits of the
    transformers cases are those after the temperature. Raises `MismatchError`."""
    q, expected = case.params, case.need("expected")
    logits = case.tensors()["logits"].double()
    before = torch.tensor(rows(case.need("expected", "current" if "current" in expected else "before")))
    t_max, t_min = (float(q.get(key, 1.0)) for key in ("t_max", "t_min"))
    decoder = Gemma(block_steps=q.get("num_inference_steps", 48), bound=q["entropy_bound"], t_max=t_max, t_min=t_min)
    s = state(before, -1, logits.shape[-1])  # no token is -1, so nothing is open yet
    everywhere = torch.ones_like(s.open)
    step = s.step + q.get("timestep", 0)
    s = decoder.begin(replace(s, open=everywhere, editable=everywhere, mask_id=None, step=step))
    p = Pred(logits, torch.arange(logits.shape[1]).expand(len(before), -1), logits.shape[1])
    accepted = ~decoder.step(s, p).open
    theirs = torch.tensor(rows(case.need("expected", "accepted"))).bool()
    if not torch.equal(accepted, theirs):
        raise MismatchError(f"accepted {accepted.long().tolist()} instead of {theirs.long().tolist()}", 0)
    if "tokens" in expected:  # the likeliest ones, in place of samples
        best, tokens = p.best()[0], torch.tensor(rows(expected["tokens"]))
        if not torch.equal(torch.where(accepted, best, -1), tokens):
            raise MismatchError(f"tokens {torch.where(accepted, best, -1).tolist()} instead of {tokens.tolist()}", 0)
    return ""
