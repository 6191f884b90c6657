"""A control set: strategies that each break one law, which show that the laws detect breaches. None is registered.

`CONTROLS` maps each of them to the name of the law that is meant for it; it may break others on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch

from decoders.core import Around, Decoder, Pred, Query, State, Windows, leftmost, only, top


def fair(s: State, p: Pred) -> State:
    """A lawful step: the first open position takes its likeliest token."""
    return s.commit(leftmost(s.open), *p.best())


@dataclass(frozen=True)
class Item(Decoder):
    """Reads a number on the host."""

    def step(self, s: State, p: Pred) -> State:
        most = int(s.open.sum(-1).max().item())
        return s.commit(top(only(s.open, p.best()[1]), most), *p.best())


@dataclass(frozen=True)
class Branch(Decoder):
    """Branches on a tensor."""

    def step(self, s: State, p: Pred) -> State:
        if s.open.any():
            return fair(s, p)
        return s


@dataclass(frozen=True)
class BooleanIndex(Decoder):
    """Has a shape that depends on values."""

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = s.tokens.clone(), p.best()[1]
        where = leftmost(s.open)
        tokens[where] = p.best()[0][where]
        return s.commit(where, tokens, confidence)


@dataclass(frozen=True)
class Nonzero(Decoder):
    """Asks for the places of true values."""

    def step(self, s: State, p: Pred) -> State:
        where = torch.zeros_like(s.open)
        row, column = leftmost(s.open).nonzero(as_tuple=True)
        return s.commit(where.index_put((row, column), torch.tensor(True)), *p.best())


@dataclass(frozen=True)
class ToHost(Decoder):
    """Moves a tensor to the host and back."""

    def step(self, s: State, p: Pred) -> State:
        return s.commit(leftmost(s.open.cpu()).to(s.open.device), *p.best())


@dataclass(frozen=True)
class ToList(Decoder):
    """Turns a tensor into a list."""

    def step(self, s: State, p: Pred) -> State:
        first = [row.index(True) if True in row else 0 for row in s.open.tolist()]
        return s.commit(torch.arange(s.open.shape[1]) == torch.tensor(first)[:, None], *p.best())


@dataclass(frozen=True)
class OtherDevice(Decoder):
    """Makes a tensor on the wrong device."""

    def step(self, s: State, p: Pred) -> State:
        confidence = p.best()[1] - torch.arange(s.open.shape[1]) / 100
        return s.commit(top(only(s.open, confidence), 1), *p.best())


@dataclass(frozen=True)
class RowLoop(Decoder):
    """Loops over rows."""

    def step(self, s: State, p: Pred) -> State:
        where = torch.stack([leftmost(s.open[b : b + 1])[0] for b in range(len(s.open))])
        return s.commit(where, *p.best())


@dataclass(frozen=True)
class PositionLoop(Decoder):
    """Loops over positions."""

    def step(self, s: State, p: Pred) -> State:
        free, where = torch.ones_like(s.step, dtype=torch.bool), []
        for i in range(s.open.shape[1]):
            where.append(s.open[:, i] & free)
            free = free & ~s.open[:, i]
        return s.commit(torch.stack(where, 1), *p.best())


@dataclass(frozen=True)
class InPlace(Decoder):
    """Writes into the state that it was given."""

    def step(self, s: State, p: Pred) -> State:
        where = leftmost(s.open)
        s.tokens.copy_(torch.where(where, p.best()[0], s.tokens))
        return replace(s, open=s.open & ~where)


@dataclass(frozen=True)
class Overwrites(Decoder):
    """Builds the state itself and takes the given tokens for open ones."""

    def step(self, s: State, p: Pred) -> State:
        return replace(s, tokens=p.best()[0], open=torch.zeros_like(s.open))


@dataclass(frozen=True)
class MaskIsOpen(Decoder):
    """Takes every mask token for an open position, given ones too."""

    def step(self, s: State, p: Pred) -> State:
        where = s.tokens == s.blank()
        return replace(s, tokens=torch.where(where, 0, s.tokens), open=s.open & ~where)


@dataclass(frozen=True)
class BatchMean(Decoder):
    """Shares one quota among the rows, as Dream's reference does."""

    def step(self, s: State, p: Pred) -> State:
        quota = (s.open.sum(-1).float().mean() / 2).ceil().long().expand_as(s.step)
        return s.commit(top(only(s.open, p.best()[1]), quota), *p.best())


@dataclass(frozen=True)
class PaddedQuota(Decoder):
    """Takes its quota from the shape of the window instead of its size."""

    def step(self, s: State, p: Pred) -> State:
        quota = torch.full_like(s.step, (s.open.shape[1] + 3) // 4)
        return s.commit(top(only(s.open, p.best()[1]), quota), *p.best())


@dataclass(frozen=True)
class GlobalRandom(Decoder):
    """Draws from torch's generator."""

    def step(self, s: State, p: Pred) -> State:
        score = torch.rand(s.open.shape, device=s.open.device)
        return s.commit(top(only(s.open, score), 1), *p.best())


@dataclass(frozen=True)
class Remembers(Decoder):
    """Keeps state in itself."""

    calls: list[int] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        """Lists are no options, so that nothing is checked."""

    def step(self, s: State, p: Pred) -> State:
        self.calls.append(1)
        return s.commit(top(only(s.open, p.best()[1]), len(self.calls) % 3 + 1), *p.best())


@dataclass(frozen=True)
class Endless(Decoder):
    """Decides nothing."""

    def step(self, s: State, p: Pred) -> State:
        return s


@dataclass(frozen=True)
class Undecided(Decoder):
    """Takes back what it has decided, for ever."""

    revises: ClassVar[bool] = True

    def step(self, s: State, p: Pred) -> State:
        return fair(s.reopen(~s.open), p)


@dataclass(frozen=True)
class SilentlyRevises(Decoder):
    """Changes what it has decided without saying so."""

    def step(self, s: State, p: Pred) -> State:
        return fair(s.edit(~s.open, torch.zeros_like(s.tokens), p.best()[1]), p)


@dataclass(frozen=True)
class GrowingMemo(Decoder):
    """Has a memo that gets longer."""

    def init(self, s: State) -> State:
        return replace(s, memo=s.tokens[:, :1])

    def step(self, s: State, p: Pred) -> State:
        return replace(fair(s, p), memo=torch.cat([s.memo, s.tokens[:, :1]], 1))


@dataclass(frozen=True)
class SometimesCausal(Decoder):
    """Asks causally in windows of some widths only."""

    def query(self, s: State) -> Query:
        return Query(s.tokens, leftmost(s.open), torch.ones_like(s.open[:, 0]) if s.tokens.shape[1] > 8 else None)

    def step(self, s: State, p: Pred) -> State:
        return fair(s, p)


@dataclass(frozen=True)
class UnsaidAhead(Decoder):
    """Asks causally about all that is open and does not say `ahead`."""

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.open, torch.ones_like(s.open[:, 0]))

    def step(self, s: State, p: Pred) -> State:
        return fair(s, p)


@dataclass(frozen=True)
class Grows(Decoder):
    """Sets the size of its window beyond the room that there is."""

    def step(self, s: State, p: Pred) -> State:
        return replace(fair(s, p), size=s.size + 1)


@dataclass(frozen=True)
class RawLogits(Decoder):
    """Takes the logit rows for positions."""

    def step(self, s: State, p: Pred) -> State:
        return s.commit(leftmost(s.open), p.logits.argmax(-1), p.best()[1])


@dataclass(frozen=True)
class Prints(Decoder):
    """Breaks the graph."""

    def step(self, s: State, p: Pred) -> State:
        torch._dynamo.graph_break()
        return fair(s, p)


@dataclass(frozen=True)
class Unwritable(Decoder):
    """Has an option that no spec string can write."""

    order: Any = field(default_factory=lambda: torch.tensor([0]))

    def __post_init__(self) -> None:
        """A tensor is no option, so that nothing is checked."""

    def step(self, s: State, p: Pred) -> State:
        return fair(s, p)


@dataclass(frozen=True)
class Fair(Decoder):
    """The control's control: breaks nothing."""

    def step(self, s: State, p: Pred) -> State:
        return fair(s, p)


class Undecorated(Fair):
    """Names an option, and is no dataclass itself."""

    tau: float = 0.5


@dataclass(frozen=True)
class LosesWindows(Around):
    """Works in the windows that were asked for, whatever its base works in."""

    base: Decoder = Fair()

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return asked


@dataclass(frozen=True)
class LosesPadding(Around):
    """Gives up the room behind the row that its base works with."""

    base: Decoder = Fair()

    @property
    def padding(self) -> int:
        return 0


CONTROLS: dict[type[Decoder], str] = {
    Item: "meta_safe", Branch: "meta_safe", BooleanIndex: "meta_safe", Nonzero: "meta_safe", ToHost: "meta_safe",
    ToList: "meta_safe", OtherDevice: "meta_safe", RowLoop: "no_loops", PositionLoop: "no_loops", InPlace: "pure",
    Overwrites: "given_stays_given", MaskIsOpen: "given_stays_given", BatchMean: "batch_invariant",
    PaddedQuota: "batch_invariant", GlobalRandom: "pure", Remembers: "pure", Endless: "terminates",
    Undecided: "terminates", SilentlyRevises: "moves_are_legal", GrowingMemo: "moves_are_legal",
    SometimesCausal: "asks_what_it_may", UnsaidAhead: "asks_what_it_may", Grows: "moves_are_legal",
    RawLogits: "packing", Prints: "compiles", Unwritable: "spec_round_trip", LosesWindows: "wraps",
    LosesPadding: "wraps", Undecorated: "written",
}
