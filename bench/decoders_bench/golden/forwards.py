"""Replay of single forward passes: the logits of a checkpoint under a recorded attention mask."""

from __future__ import annotations

import torch
from torch import Tensor

from decoders.core import Forward, Session, SessionSpec
from decoders.models.adapter import TransformersModel
from decoders_bench.golden.cases import Case, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.steps import check

TOLERANCE = 1e-10


def model_check(case: Case, models: Models) -> str:
    """Compare the recorded logits under the recorded mask; then, if a canvas of this library can have that mask, the
    same forward pass in a session, at once and block by block with stored keys and values. Raises `MismatchError`."""
    name, tensors = case.need("model"), case.tensors()
    tokens = torch.tensor(rows(case.need("prompt")))
    B, M = tokens.shape
    sees = tensors["allowed"].view(B, M, M)
    given = case.data.get("position_ids")
    position = torch.arange(M).expand(B, M) if given is None else torch.tensor(rows(given))
    attends = sees.any(-1)
    ours = whole(models.get(name, case.mask_id), tokens, position, sees)
    check("the logits", ours[attends], tensors["logits"][attends], TOLERANCE)
    pure = models.get(name, case.mask_id, pure=True)
    logits = whole(pure, tokens, position, sees)
    held = [session_check(pure, tokens[b], position[b], sees[b], logits[b]) for b in range(B)]
    return "; ".join(
        f"row {b} is compared without a session: our canvas has no such mask" for b in range(B) if not held[b]
    )


def whole(model: TransformersModel, tokens: Tensor, position: Tensor, sees: Tensor) -> Tensor:
    """(B, M, V) logits of one forward pass without stored keys and values, in which position i predicts position i."""
    logits = model.head(model.states(tokens, position, sees)[0])
    return torch.cat([logits[:, :1], logits[:, :-1]], 1) if model.shifted else logits


def session_check(model: TransformersModel, tokens: Tensor, position: Tensor, sees: Tensor, logits: Tensor) -> bool:
    """Compares one row of `M` tokens, `sees (M, M)` and `logits (M, V)`; False if the mask does not have the form of
    this library's: columns in order, each attending to those left of some bound, and probes. Padding, to which no
    column attends, is omitted. Raises `MismatchError`."""
    alone = sees.sum(0) == sees.diagonal().long()  # only the column itself attends to it
    twin = (position[:, None] == position).sum(0) > 1
    probe = alone & twin & sees.diagonal() & (tokens == model.mask_id)
    kept = sees.any(0) & ~probe
    n, own = int(kept.sum()), sees[kept][:, kept]
    until, at = own.sum(-1), position[probe] - position[kept][0]
    prefixes = torch.equal(own, torch.arange(n) < until[:, None])
    ordered = torch.equal(position[kept], position[kept][0] + torch.arange(n))
    causal = torch.equal(sees[probe][:, kept], torch.arange(n) < at[:, None]) and torch.equal(
        at, at[:1] + torch.arange(len(at))
    )
    if not (prefixes and ordered and causal) or (model.shifted and len(at)):
        return False

    def forward(session: Session, at: Tensor, compute: Tensor, want: Tensor, causal: bool) -> Tensor:
        bin_ = torch.zeros(1, dtype=torch.long)
        columns = torch.cat([compute, bin_.bool()])[None]
        f = Forward(
            tokens=torch.cat([tokens[kept], bin_])[None], until=torch.cat([until, bin_ + n])[None], compute=columns,
            outdated=torch.zeros_like(columns), given=torch.zeros_like(columns), at=at[None], want=want[None],
            causal=torch.tensor([causal]), entered=torch.tensor([False]), phase=torch.tensor([0]),
            unseen=torch.zeros(1, n + 1, 2, dtype=torch.long), left_out=torch.zeros_like(want[None]),
            candidate_tokens=at.new_zeros(1, 0, len(at)), candidate_want=want.new_zeros(1, 0, len(at)),
        )
        p = session(f)
        return p.logits[0][p.at[0] < p.width]

    column, every = torch.arange(n), torch.ones(n, dtype=torch.bool)
    spec = SessionSpec(1, n + 1, n, causal=bool((until < n).any()))
    ours = forward(model.session(spec), column, every, every, False)
    check("a session's logits", ours, logits[kept], TOLERANCE)
    session = model.session(spec)
    for end in until.unique().tolist():
        block = until == end
        check(
            f"the logits of the block up to {end}", forward(session, column, block, block, False), logits[kept][block],
            TOLERANCE,
        )
    if len(at):
        session = model.session(SessionSpec(1, n + 1, len(at), causal=True))
        ours = forward(session, at, every, torch.ones(len(at), dtype=torch.bool), True)
        check("the logits of the probes", ours, logits[probe], TOLERANCE)
    return True
