"""The order of roles: premises first, conclusions last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, UsageError, only, option, top
from decoders.stats.constants import among

ROLES = ("premise", "connective", "derived", "conclusion", "filler")
HEURISTIC = "heuristic"
SHIPPED = {"nano": Path(__file__).parent / "nano_roles.safetensors"}


@dataclass(frozen=True)
class RoleHead:
    """A classifier of hidden states: two linear layers with a ReLU between them."""

    hidden: Tensor  # (H, D)
    hidden_bias: Tensor  # (H,)
    out: Tensor  # (R, H), a row for each of `ROLES`
    out_bias: Tensor  # (R,)

    def __call__(self, states: Tensor) -> Tensor:
        """(..., R) logits of the roles, from `states (..., D)`."""
        hidden, hidden_bias, out, out_bias = (
            x.to(states) for x in (self.hidden, self.hidden_bias, self.out, self.out_bias)
        )
        return (states @ hidden.T + hidden_bias).relu() @ out.T + out_bias


@cache
def read_head(path: str) -> RoleHead:
    """The head in a file of safetensors with `hidden`, `hidden_bias`, `out` and `out_bias`. Raises `UsageError`."""
    from safetensors.torch import load_file

    try:
        found = load_file(path)
        head = RoleHead(*(found[name].float() for name in ("hidden", "hidden_bias", "out", "out_bias")))
    except Exception as e:  # a missing file, another format, a missing tensor
        raise UsageError(f"the role head {path} cannot be read: {str(e).splitlines()[0] or type(e).__name__}") from None
    (h, _), r = head.hidden.shape, len(ROLES)
    if head.out.shape != (r, h) or head.hidden_bias.shape != (h,) or head.out_bias.shape != (r,):
        raise UsageError(
            f"the role head {path} has {tuple(head.out.shape)} in `out`; it needs a row for each of {', '.join(ROLES)}"
        )
    return head


@dataclass(frozen=True)
class RoleOrder(Decoder):
    """Commit in the order of the roles that open positions are likely to have: premises, connectives, derived
    statements, conclusions, and filler last. With a `head` it is LogicDiff, Aman 2026, 2603.26771; the heuristic that
    finds the roles without one is ours.

    The priority, lowest first, is 0.7 role / 4 + 0.3 (1 - confidence); a fixed number of positions is committed a
    forward, as in LLaDA. The paper trains a two-layer head on hidden states, with a layer norm before it (`head`: a
    safetensors file, see `read_head`, in which the norm has to be folded into the first layer; `nano`: the head for
    that model, made by `decoders bench train-roles`). The `heuristic` uses the likeliest token itself: stop tokens are
    filler, the tokens of `connectives` and `conclusions` have these roles, tokens that are decided elsewhere in the
    window are premises, and the rest is derived. Only the paper's abstract and second-hand notes were available.
    """

    source: ClassVar[str] = "after Aman 2026, arXiv 2603.26771"
    attested: ClassVar[Attested] = "ours"
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    head: str = option(HEURISTIC, "what finds the roles: heuristic, nano, or a file of safetensors")
    connectives: str | tuple[int, ...] = option((), "heuristic: tokens that connect; a text is every token of it")
    conclusions: str | tuple[int, ...] = option((), "heuristic: tokens that conclude; a text is every token of it")
    classify: ClassVar[RoleHead | None] = None
    """The head, which is read when the strategy is made."""
    weight: float = option(0.7, "weight of the role in the priority; the rest is 1 - confidence", min=0, max=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        head = None if self.head == HEURISTIC else read_head(str(SHIPPED.get(self.head, self.head)))
        object.__setattr__(self, "classify", head)

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        connectives, conclusions = (
            tuple(encode(x)) if isinstance(x, str) else x for x in (self.connectives, self.conclusions)
        )
        return replace(self, connectives=connectives, conclusions=conclusions)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        role = self.heuristic(s, tokens) if self.head == HEURISTIC else self.learned(p)
        priority = self.weight * role / (len(ROLES) - 1) + (1 - self.weight) * (1 - confidence)
        return s.commit(top(only(s.open, -priority), s.quota(self.steps)), tokens, confidence)

    def learned(self, p: Pred) -> Tensor:
        """(B, W) long: the role that the head finds likeliest."""
        head = self.classify
        assert head is not None
        assert p.hidden_states is not None
        if head.hidden.shape[1] != p.hidden_states.shape[-1]:
            reads, has = head.hidden.shape[1], p.hidden_states.shape[-1]
            raise UsageError(
                f"the role head {self.head} reads {reads} numbers, and this model's hidden states have {has}"
            )
        return p.spread(head(p.hidden_states).argmax(-1).flatten())

    def heuristic(self, s: State, tokens: Tensor) -> Tensor:
        """(B, W) long"""
        decided = torch.where(s.present & ~s.open, s.tokens, -1)
        given = (tokens[..., None] == decided[:, None]).any(-1)
        role = torch.where(given, ROLES.index("premise"), ROLES.index("derived"))
        for name, ids in (("connective", self.connectives), ("conclusion", self.conclusions)):
            known = among(tokens, () if isinstance(ids, str) else ids)
            role = torch.where(known, ROLES.index(name), role)
        return torch.where(s.is_stop(tokens), ROLES.index("filler"), role)
