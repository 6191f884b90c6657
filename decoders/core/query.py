"""Query: the tokens that a strategy shows the model, and the predictions that it asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decoders.core.latents import Latents
from decoders.core.state import choose


@dataclass(frozen=True)
class Sight:
    """The attention mask of a window, for decoders that set it themselves: each position sees the columns left of
    `until`, except for an unseen stretch.

    It has to be transitive: if a position sees another one, it also sees everything that the other one sees. Reading
    stored keys and values relies on this.
    """

    until: Tensor  # (B, W) long  a position in the text, like `State.position`
    unseen: Tensor  # (B, W, 2) long  hides the positions from the first up to the second; none if they are equal


@dataclass(frozen=True)
class Candidates:
    """Alternative contents of a window that the same forward evaluates, each in place of the window's own tokens."""

    tokens: Tensor  # (B, A, W) long
    want: Tensor  # (B, A, W) bool  a candidate that wants nothing costs nothing


@dataclass(frozen=True)
class Query:
    """What to show the model, and which predictions to ask for. A decoder must set the same optional fields in every
    query, because its needs are read off its first query (`decoders.core.needs`)."""

    tokens: Tensor  # (B, W) long
    want: Tensor  # (B, W) bool  positions whose prediction will be read; the others get no logits
    causal: Tensor | None = None
    """(B,) bool: in these rows position i is predicted only from the shown tokens to its left. None: in no row."""
    sight: Sight | None = None
    """The attention mask of the window, in causal rows too; positions outside the window then attend to themselves and
    to their left. None: the model's own mask."""
    left_out: Tensor | None = None
    """(B, W) bool: wanted positions that are predicted without seeing their own token. For this, the model is shown a
    second copy of the wanted positions, made of mask tokens. They attend to the same positions as the originals except
    for the own token, and to each other, and no other position attends to them. It has no effect in causal rows, and
    cannot be combined with `sight`."""
    order: Tensor | None = None
    """(B, W) long: the window is read causally in this order, which has each number from 0 to W - 1 once: a position
    sees itself, all columns left of the window, and the positions of the window with lower numbers. Positions keep
    their places in the text, and wanted ones are predicted at their own mask tokens. It cannot be combined with
    `causal`, `sight` or `left_out`. None: the order of the text."""
    beside: Candidates | None = None
    """Candidates to evaluate in the same forward."""
    level: Tensor | None = None
    """(B,) float: a further input of some models: a noise level, or the temperature of the model's last prediction of
    the window, if that is an input. None: 1."""
    latents: Latents | None = None
    """For a model of latents (`Model.space`): the latents at the editable positions; `level` is then their noise
    level."""
    ahead: bool = False
    """Some causal row may want more than its leftmost open position, so that tokens to the left of a wanted position
    may not be final."""

    def __post_init__(self) -> None:
        if self.order is not None and any(x is not None for x in (self.causal, self.sight, self.left_out)):
            raise ValueError("a query with an order of its own cannot say causal, sight or left_out besides")


def either(rows: Tensor, a: Query, b: Query) -> Query:
    """Choose between two queries row by row: `a` where `rows (B,)`, else `b`. If only one of them sets the fields for
    causal rows, left-out positions or the level, the other one has none, none, and 1. Raises `ValueError` if only one
    sets a sight or an order, or shows candidates or latents."""
    if any((getattr(a, x) is None) != (getattr(b, x) is None) for x in ("sight", "order", "beside", "latents")):
        raise ValueError(
            "a query that says what positions see, or shows candidates or latents, cannot stand beside one that does "
            "not"
        )
    a, b = filled(a, b), filled(b, a)
    return replace(choose(rows, a, b), ahead=a.ahead or b.ahead)


def filled(q: Query, other: Query) -> Query:
    """The query, with neutral values in the fields that only the other one sets."""

    def said(own: Tensor | None, other: Tensor | None, nothing: float) -> Tensor | None:
        return torch.full_like(other, nothing) if own is None and other is not None else own

    return replace(
        q, causal=said(q.causal, other.causal, False), left_out=said(q.left_out, other.left_out, False),
        level=said(q.level, other.level, 1.0),
    )
