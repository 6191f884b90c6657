"""dInfer's hierarchical decoding: divide and conquer, one token in every gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core import Attested, Decoder, Pred, Query, State, best_of_runs, only, option, top
from decoders.strategies.credit import guarded


@dataclass(frozen=True)
class Hierarchy(Decoder):
    """Commit every prediction above `tau`, in each contiguous run of open positions the best one if it is above `low`,
    and always the best of all. dInfer, 2510.08666, `HierarchyDecoder`.

    So tokens that are committed together are mostly far from each other, and the next forward divides every gap again.
    Both comparisons are strict; positions whose likeliest token is the mask are no candidates (see `guarded`).

    `remask` above 0 first reopens decided positions whose likeliest token is below it
    (`get_transfer_index_hierarchy_remask`); such a position may get a token again in the same step, or stays open. At
    least one more position is committed than was reopened, if necessary the best of the others, so a forward always
    decides more than it reopens.
    """

    source: ClassVar[str] = "dInfer, 2025, arXiv 2510.08666"
    attested: ClassVar[Attested] = "replayed"
    tau: float = option(0.9, "confidence above which a token is committed", min=0, max=1)
    low: float = option(
        0.4, "confidence above which the best token of a run is committed; the code's default is 0", min=0, max=1
    )
    remask: float = option(0.0, "confidence below which a decided position is opened again", min=0, max=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "revises", self.remask > 0)

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable if self.remask > 0 else s.open)

    def step(self, s: State, p: Pred) -> State:
        doubtful = s.decided & (p.best()[1] < self.remask)
        s = s.reopen(doubtful)
        tokens, confidence, score = guarded(s, p)
        sure = (score > self.tau) | (best_of_runs(s.open, score) & (score > self.low))
        short = doubtful.sum(-1) + 1 - sure.sum(-1)
        return s.commit(sure | top(only(~sure, score), short), tokens, confidence)
