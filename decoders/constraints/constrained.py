"""Any decoder under a constraint, enforced where tokens are committed, on the whole partial canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.constraints.automaton import Automaton
from decoders.core import Around, Decoder, Pred, Query, State, UsageError, asks, choose, either, leftmost

PATIENCE = 4
"""After so many forwards without progress, the rest is completed without the decoder. A forward makes no progress if it
changes nothing, or if the constraint refused a change and no more positions are decided than before."""


class Held(NamedTuple):
    """The states of the automaton for a row."""

    origin: Tensor  # (B,) long  the place where the text begins
    left: Tensor  # (B, S) bool  states that the tokens left of the window may have led to
    through: Tensor  # (B, S) bool  and those that the window's tokens may have led to after them
    closing: Tensor  # (B,) bool  the rest is completed without the decoder
    fewest: Tensor  # (B,) long  the smallest number of open positions so far in the window
    still: Tensor  # (B,) long  forwards without progress since then, see `PATIENCE`


@dataclass(frozen=True)
class Constrained(Around):
    """A decoder whose text the automaton has to accept. It sees predictions in which tokens are impossible that do not
    fit the decided tokens to the left and right. That is not enough if several tokens are committed at once: each may
    be allowed alone, but not all together. So its changes are applied from left to right, as long as the canvas can
    still be completed; positions whose change would prevent that stay open. The leftmost change can always be applied,
    so there is progress.

    Positions that are open when the decoder is done, or after a few forwards without progress, are completed with the
    likeliest allowed tokens; otherwise a decoder that revises could request the same refused change forever. So every
    row ends with a valid text; `check_fits` refuses a constraint that no text of the length satisfies before the first
    forward.

    The tokens allowed at a position depend on its neighbours, so passes go over the window one position at a time,
    unlike in any strategy: they are Python loops of a fixed length that read nothing on the host. (A parallel scan
    would multiply S x S relations.)
    """

    everything: ClassVar[bool] = True
    base: Decoder
    automaton: Automaton
    most: int
    """Positions of the longest row, after its prompt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "latents" in asks(self.base):
            raise UsageError(
                f"{type(self.base).__name__} denoises latents; constraints are for decoders that commit tokens"
            )
        _ = self.reach  # a compiled step cannot work it out

    @cached_property
    def reach(self) -> Tensor:
        """(most + 1, S) bool: the states from which an accepting state can be reached by exactly so many tokens."""
        return self.automaton.reach(self.most)

    def own(self, s: State) -> Held:
        if s.rest is None:
            raise UsageError("a constraint needs the length of the row, which this engine does not report")
        origin = torch.where(leftmost(s.open), s.position, 0).sum(-1)
        start = torch.arange(len(self.automaton.accepting), device=s.key.device) == self.automaton.start
        start = start.expand(len(s.key), -1)
        zero = torch.zeros_like(s.key)
        return Held(origin, start, start, zero.bool(), zero, zero)

    def begin(self, s: State) -> State:
        held: Held = s.memo.own
        zero = torch.zeros_like(s.key)
        return super().begin(
            self.keeping(s, Held(held.origin, held.through, held.through, zero.bool(), s.open.sum(-1), zero))
        )

    def tables(self, s: State) -> Automaton:
        return self.automaton.to(s.key.device)

    def query(self, s: State) -> Query:
        asked = super().query(s)
        rest = replace(asked, tokens=s.tokens, want=s.open, causal=None)
        return either(s.memo.own.closing, rest, asked)

    def step(self, s: State, p: Pred) -> State:
        held: Held = s.memo.own
        left, right = self.left(s), self.right(s, s.open)
        # checked against the row's own canvas
        others = tuple(self.masked(s, other, left, right) for other in p.beside)
        p = replace(self.masked(s, p, left, right), beside=others)
        wish = super().step(s, p)
        rest = replace(s.commit(s.open, *p.best()), memo=wish.memo)
        after, through, refused = self.granted(s, choose(held.closing, rest, wish))
        changed = ((after.tokens != s.tokens) | (after.open != s.open)).any(-1)
        fewest = torch.minimum(held.fewest, after.open.sum(-1))
        still = torch.where(fewest < held.fewest, 0, held.still + (refused | ~changed))
        left_over = super().done(after) & after.open.any(-1)
        closing = held.closing | left_over | (still >= PATIENCE)
        return self.keeping(after, Held(held.origin, held.left, through, closing, fewest, still))

    def done(self, s: State) -> Tensor:
        held: Held = s.memo.own
        return (super().done(s) | held.closing) & ~s.open.any(-1)

    def counts(self, s: State) -> Tensor:
        """(B, W) bool: the positions of the text that are in the window."""
        held: Held = s.memo.own
        return (s.position >= held.origin[:, None]) & s.present

    def left(self, s: State) -> Tensor:
        """(B, W, S) bool: the states before each position to which the tokens on its left may have led."""
        a, counts = self.tables(s), self.counts(s)
        states, found = s.memo.own.left, []
        for i in range(s.tokens.shape[1]):
            found.append(states)
            moved = torch.where(s.open[:, i, None], a.after_any(states), a.after(states, s.tokens[:, i]))
            states = torch.where(counts[:, i, None], moved, states)
        return torch.stack(found, 1)

    def right(self, s: State, open: Tensor) -> Tensor:
        """(B, W, S) bool: the states after each position from which the canvas on its right can be completed; `open (B,
        W)` may take any token."""
        a, counts = self.tables(s), self.counts(s)
        states, found = self.remaining(s), []
        for i in reversed(range(s.tokens.shape[1])):
            found.append(states)
            moved = torch.where(open[:, i, None], a.before_any(states), a.before(states, s.tokens[:, i]))
            states = torch.where(counts[:, i, None], moved, states)
        return torch.stack(found[::-1], 1)

    def remaining(self, s: State) -> Tensor:
        """(B, S) bool: the states from which the canvas right of the window can be completed."""
        assert s.rest is not None
        left = (s.rest - self.padding).clamp(min=0, max=self.most)
        return self.reach.to(s.key.device)[left]

    def masked(self, s: State, p: Pred, left: Tensor, right: Tensor) -> Pred:
        """The prediction without tokens that are not allowed at their position."""
        place = p.at.clamp(max=p.width - 1)
        at = place[..., None].expand(-1, -1, left.shape[-1])
        allowed = self.tables(s).allowed(left.gather(1, at).flatten(0, 1), right.gather(1, at).flatten(0, 1))
        counts = self.counts(s).gather(1, place)[..., None]
        allowed = allowed.view(*p.at.shape, -1)[..., : p.logits.shape[-1]] | ~counts
        return replace(p, logits=p.logits.masked_fill(~allowed, -torch.inf))

    def granted(self, s: State, wish: State) -> tuple[State, Tensor, Tensor]:
        """The state with those changes of `wish`, from left to right, that leave a canvas which can be completed; (B,
        S) the states after the window; and (B,) bool whether a change was refused."""
        a, counts = self.tables(s), self.counts(s)
        new = ~wish.open & counts & (s.open | (wish.tokens != s.tokens))
        right = self.right(s, wish.open | new)
        states, fits, holds = s.memo.own.left, [], []
        for i in range(s.tokens.shape[1]):
            wished, kept = a.after(states, wish.tokens[:, i]), a.after(states, s.tokens[:, i])
            fit, hold = ((x & right[:, i]).any(-1) for x in (wished, kept))
            anything = a.after_any(states)
            taken = torch.where(
                (new[:, i] & fit)[:, None], wished, torch.where((~s.open[:, i] & hold)[:, None], kept, anything)
            )
            moved = torch.where(new[:, i, None], taken, torch.where(wish.open[:, i, None], anything, wished))
            states = torch.where(counts[:, i, None], moved, states)
            fits.append(fit)
            holds.append(hold)
        refused = new & ~torch.stack(fits, 1)
        back = refused & (s.open | torch.stack(holds, 1))
        after = replace(
            wish, tokens=torch.where(back, s.tokens, wish.tokens), open=torch.where(back, s.open, wish.open),
            confidence=torch.where(back, s.confidence, wish.confidence),
            committed_at=torch.where(back, s.committed_at, wish.committed_at),
        )
        return after.reopen(refused & ~back), states, refused.any(-1)


def check_fits(automaton: Automaton, length: int) -> None:
    """Raises `UsageError` unless a text that the automaton accepts fits into `length` positions."""
    if automaton.shortest(length) is not None:
        return
    more = automaton.shortest(min(4 * length + 64, 4096))
    if more is None:
        raise UsageError(
            f"no text that {automaton.text} allows can be written in {length} tokens; does it allow any at all?"
        )
    raise UsageError(f"{automaton.text} needs at least {more} tokens, and there is room for {length}; raise the length")


ROUNDED = 256
"""A constraint rounds lengths up to a multiple of this, so that an engine's requests of several lengths share their
steps."""


def hosted(base: Decoder, automaton: Automaton, length: int) -> Constrained:
    """A decoder under a constraint for an engine's request of `length` positions. Raises `UsageError` unless some text
    fits there."""
    check_fits(automaton, length)
    return Constrained(base, automaton, -(-length // ROUNDED) * ROUNDED)
