"""Replay of selectors that need only logits: KLASS, dInfer's decoders, and the mask mode of diffusers' block
refinement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from decoders import Decoder, Pred, State, choose, get
from decoders.core import Whole, Windows
from decoders.strategies.klass import KLASS, History
from decoders_bench.golden.acceptance import acceptance, uniform_refinement
from decoders_bench.golden.cases import Case, MismatchError, SkipError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import state
from decoders_bench.golden.trajectory import Setup, trajectory


class Memory(NamedTuple):
    """The memory of KLASS's reference over the whole answer."""

    history: History
    block: Tensor  # (B,) long  the block of the last forward pass
    began: Tensor  # (B,) long  the step at which that block began


@dataclass(frozen=True)
class Remembering(Decoder):
    """KLASS as in its reference, in blocks of one window: predictions are remembered across blocks, and the first
    `history` - 1 forward passes of each block commit the even share."""

    klass: KLASS
    block: int
    blocks: int

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return Whole()

    def begin(self, s: State) -> State:
        zero = torch.zeros_like(s.step)
        return replace(s, memo=Memory(self.klass.begin(s).memo, zero, zero))

    def step(self, s: State, p: Pred) -> State:
        m: Memory = s.memo
        block = s.open.long().argmax(-1) // self.block
        began = torch.where(block == m.block, m.began, s.step)
        here = torch.arange(s.tokens.shape[1]) // self.block == block[:, None]
        inner = replace(
            s, open=s.open & here, step=s.step - began, opened=torch.full_like(s.opened, self.block),
            windows=torch.full_like(s.windows, self.blocks), memo=m.history,
        )
        never = replace(self.klass, history=1 << 30)
        t = choose(inner.step >= self.klass.history - 1, self.klass.step(inner, p), never.step(inner, p))
        memo = Memory(t.memo, block, began)
        return replace(s, tokens=t.tokens, open=s.open & (t.open | ~here), memo=memo)


def klass(case: Case, models: Models) -> str:
    q = case.params
    temperature, unmask = q.get("temperature", 0.0), q.get("unmask_strategy", "all")
    if temperature or q["alg"] != "klass" or unmask == "random":
        raise SkipError(f"alg {q['alg']}, unmask_strategy {unmask}, temperature {temperature} cannot be replayed")
    tau, eps, history = q["conf_threshold"], q["kl_threshold"], q["kl_history_length"]
    rule = KLASS(tau=tau, eps=eps, history=history, unmask=unmask, steps=q["steps"])
    blocks = q["gen_length"] // q["block_length"]
    return trajectory(case, models, Setup(Remembering(rule, q["block_length"], blocks), Pred.best))


def dinfer(case: Case, models: Models) -> str:
    """A hierarchical decoder without a threshold gets one that nothing exceeds."""
    q, function = case.params, case.need("reference", "function")
    if "Credit" in function:
        decoder = get(
            "credit", tau=q["threshold"], alpha=q["credit_alpha"], decay=q["decay_beta"], gamma=q["boost_gamma"]
        )
    elif "ierarchy" in function:
        low, remask = (q.get(f"{x}_threshold", 0.0) for x in ("low", "remask"))
        decoder = get("hierarchy", tau=q.get("threshold", 1.0), low=low, remask=remask)
    else:
        decoder = get("credit", tau=q["threshold"], alpha=0.0)
    return steps(case, decoder)


def diffusers(case: Case, models: Models) -> str:
    q = case.params
    if "EntropyBound" in case.need("reference", "function"):
        return acceptance(case, models)
    if "mask_token_id" not in q:
        return uniform_refinement(case)
    edit, number = q.get("editing_threshold", 2.0), q["num_inference_steps"]
    return steps(case, get("llada2", tau_mask=q["threshold"], tau_edit=edit, block_steps=number))


def steps(case: Case, decoder: Decoder) -> str:
    """Consecutive steps of a decoder on given logits of one block, each from the reference's tokens. Raises
    `MismatchError`."""
    memo: Any = None
    for k, (recorded, logits) in enumerate(recordings(case)):
        begin = case.data.get("block", [0])[0]
        before, after = (torch.tensor(rows(recorded[key])) for key in ("before", "after"))
        end = begin + logits.shape[1]
        s = state(before[:, begin:end], case.mask_id, logits.shape[-1])
        given = torch.tensor(case.params.get("prompt_mask", [0] * logits.shape[1])).bool()
        s = replace(s, editable=~given.expand_as(s.open), step=s.step + recorded.get("timestep", k))
        s = replace(s, memo=memo) if k else decoder.begin(decoder.init(s))
        t = decoder.step(s, Pred(logits, torch.arange(logits.shape[1]).expand(len(before), -1), logits.shape[1]))
        memo = t.memo
        ours = torch.cat([before[:, :begin], t.tokens, before[:, end:]], 1)
        if not torch.equal(ours, after):
            raise MismatchError(f"{ours.tolist()} instead of {after.tolist()}", k)
        if t.open.ne(t.tokens == case.mask_id).any():
            raise MismatchError("a mask was decided", k)
    return ""


def recordings(case: Case) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The steps of a case and their (B, W, V) logits."""
    expected, logits = case.need("expected"), case.tensors()["logits"]
    if "steps" not in expected:
        yield expected, logits
        return
    if len(expected["steps"]) != len(logits):
        raise MismatchError(f"{len(expected['steps'])} steps need as many logits, not {len(logits)}")
    for recorded, x in zip(expected["steps"], logits, strict=True):
        yield recorded, x if x.dim() == 3 else x[None]
