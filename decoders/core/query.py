"""Query: what a strategy shows the model and asks of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sight:
    """What the positions of a window see, where a decoder says so itself: the columns left of `until`, less a unseen stretch.

    It has to be transitive: what a position sees sees nothing that the position does not. Stored keys and values are trusted on
    that ground.
    """

    until: Tensor  # (B, W) long  a place in the text, like `State.position`
    unseen: Tensor  # (B, W, 2) long  the places from the first up to the second are not seen; none if they are equal


@dataclass(frozen=True)
class Candidates:
    """Other contents of a window that the same forward is asked about, each as though it stood there in place of what stands there."""

    tokens: Tensor  # (B, A, W) long
    want: Tensor  # (B, A, W) bool  an candidate that wants nothing costs nothing


@dataclass(frozen=True)
class Query:
    """What to show the model and what to ask of it."""

    tokens: Tensor  # (B, W) long
    want: Tensor  # (B, W) bool  positions whose prediction will be read; the others get no logits
    causal: Tensor  # (B,)   bool  True: position i is predicted from the shown tokens left of it, and from nothing else
    sight: Sight | None = None
    """None: positions see what the model has them see. Otherwise they see this, in causal rows too, and what is outside of the window
    sees itself and what is left of it. A decoder always or never says it, and then declares `needs_sight`."""
    left_out: Tensor | None = None
    """(B, W) bool: wanted positions that are predicted without their own token in sight: from a shadow of the wanted positions, mask
    tokens in their places that see what the positions see but the own token, and each other, and that nobody else sees. In causal rows
    it means nothing. A decoder always or never says it, then declares `needs_leave_one_out`, and has no `sight`."""
    beside: Candidates | None = None
    """What else to show the model in the same forward. A decoder always or never says it, and then declares `needs_candidates`."""
    level: Tensor | None = None
    """(B,) float: the temperature at which a model that conditions on its own last prediction of the window sees it; None: 1."""
    extent: Tensor | None = None
    """(B,) long: how many of the window's positions there are yet; nothing sees the others, and none of them is wanted. None: all. A
    decoder that says it declares `resizes`."""
