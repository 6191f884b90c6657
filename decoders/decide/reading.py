"""Reading: logits at holes as distributions over labels, on tensors alone."""

from __future__ import annotations

import torch
from torch import Tensor


def at_columns(logits: Tensor, column: Tensor, holes: Tensor) -> Tensor:
    """(H, V): of `logits (N, V)`, whose rows predict the columns `column (N,)` long, those of the columns `holes (H,)`
    long; NaN for a column that none of them predicts."""
    same = holes[:, None] == column
    picked = logits.index_select(0, same.long().argmax(-1)).to(torch.promote_types(logits.dtype, torch.float))
    return torch.where(same.any(-1, keepdim=True), picked, torch.nan)


def log_probabilities(logits: Tensor, hole: Tensor, token: Tensor, never: Tensor) -> Tensor:
    """(C,) double: the log probability of each `token (C,)` long at its `hole (C,)` long, a row of `logits (H, V)`,
    among all tokens but those `never (K,)` long generated."""
    return logits.index_fill(-1, never, -torch.inf).double().log_softmax(-1)[hole, token]


def over_labels(log_p: Tensor, path: Tensor) -> Tensor:
    """(L,) double: the log probability of each label, by the chain rule the sum over its tokens, `path (L, D)` long, of
    their `log_p (C,)` double behind the tokens before them. C pads a path."""
    return torch.cat([log_p, log_p.new_zeros(1)])[path].sum(-1)


def over_lists(log_p: Tensor, reference: Tensor) -> Tensor:
    """(L,) double: one distribution over the labels of several lists, of which each also had a label for none of the
    others. `log_p (L,)` is of a label in its own list, and `reference (L,)` that of none of them there; 0 where there
    was one list and no such label, which makes it the distribution given that one of the labels stands there. Odds
    against none of them compare across lists where Luce's axiom holds: that the odds of two answers do not depend on
    what else may be answered (Luce 1959, Individual Choice Behavior)."""
    return (log_p - reference).softmax(-1)
