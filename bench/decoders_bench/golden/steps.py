"""Replay of single selections and posteriors on given logits, without a model."""

from __future__ import annotations

import torch

from decoders import Decoder, Pred, State, get
from decoders.strategies.mdlm import absorbing_posterior
from decoders_bench.golden.cases import Case, MismatchError, rows
from decoders_bench.golden.models import Models

TOLERANCE = 1e-6  # the recorded posteriors are in float32


def state(tokens: torch.Tensor, mask_id: int, vocab: int, opened: torch.Tensor | None = None) -> State:
    """A new window of `tokens (B, W)`: the only one of its row, open where it contains the mask token."""
    (B, W), open = tokens.shape, tokens == mask_id
    zero, none = torch.zeros(B, dtype=torch.long), torch.full((B, W), -1)
    return State(
        tokens=tokens, open=open, editable=open, confidence=torch.zeros(B, W), committed_at=none,
        position=torch.arange(W).expand(B, W), size=zero + W, room=zero + W,
        opened=open.sum(-1) if opened is None else opened, windows=zero + 1, step=zero, clock=zero, key=zero,
        mask_id=mask_id, vocab=vocab,
    )


def selection(case: Case, decoder: Decoder, opened: torch.Tensor | None = None) -> str:
    """One step of a decoder on the candidate range of given logits. Raises `MismatchError`."""
    begin, end = case.need("block")
    before, after = (torch.tensor(rows(case.need("expected", key))) for key in ("before", "after"))
    logits = case.tensors()["logits"][:, begin:end].double()  # the reference computes its softmax in float64
    s = state(before[:, begin:end], case.mask_id, logits.shape[-1], opened)
    s = decoder.step(s, Pred(logits, torch.arange(end - begin).expand(len(before), -1), end - begin))
    ours = torch.cat([before[:, :begin], s.tokens, before[:, end:]], 1)
    where = [(row.nonzero().flatten() + begin).tolist() for row in (before[:, begin:end] == case.mask_id) & ~s.open]
    committed = case.need("expected").get("committed")
    for b in range(len(before)):
        if committed is not None and where[b] != sorted(committed[b]):
            raise MismatchError(f"row {b}: positions {where[b]} committed instead of {sorted(committed[b])}", 0)
        if not torch.equal(ours[b], after[b]):
            raise MismatchError(f"row {b}: {ours[b].tolist()} instead of {after[b].tolist()}", 0)
    return ""


def quotas(case: Case) -> str:
    """LLaDA's selection of the best positions of each row, an even share in each step. A window of n times the quota,
    to be filled in n steps, has that share in every step, however many positions are open; n is large enough for the
    open ones."""
    quota = torch.tensor(case.need("params", "num_transfer_tokens")).flatten()
    begin, end = case.need("block")
    return selection(case, get("llada", steps=end - begin), opened=quota * (end - begin))


def posterior(case: Case, models: Models) -> str:
    """MDLM's distribution at every position for the step from time t to s. Raises `MismatchError`."""
    tensors, mask_id = case.tensors(), case.mask_id
    tokens = torch.tensor(rows(case.need("expected", "tokens")))
    t, s = float(case.need("params", "t")), float(case.need("params", "s"))
    ours = absorbing_posterior(tensors["logits"], tokens, tokens == mask_id, mask_id, t, s)
    check("the posterior", ours, tensors["posterior"])
    chances(case, ours)
    return ""


def chances(case: Case, ours: torch.Tensor) -> None:
    """Compares the probabilities of unmasking and of masking again, from the distribution `ours (B, W, V)`. Raises
    `MismatchError`."""
    mask_id = case.mask_id
    for key, column in (("p_unmask", 1 - ours[..., mask_id]), ("p_remask", ours[..., mask_id])):
        expected = case.need("expected").get(key)
        for b, row in enumerate(rows(expected) if expected else []):
            known = torch.tensor([x is not None for x in row])
            check(
                f"{key}, row {b}", column[b][known],
                torch.tensor([x for x in row if x is not None], dtype=column.dtype),
            )


def check(what: str, ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = TOLERANCE) -> float:
    """The largest difference. Raises `MismatchError` if it exceeds `tolerance`, or is not a number."""
    if ours.shape != theirs.shape:
        raise MismatchError(f"{what} has shape {tuple(ours.shape)} instead of {tuple(theirs.shape)}")
    worst = float((ours.double() - theirs.double()).abs().max()) if ours.numel() else 0.0
    if not worst <= tolerance:
        raise MismatchError(f"{what} differs by {worst:.3g}, more than {tolerance:g}")
    return worst
