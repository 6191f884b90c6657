"""Strategies made of strategies: they need what their parts need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from decoders.core import Decoder, Pred, State
from decoders.core.around import inherit


@dataclass(frozen=True)
class Composed(Decoder):
    """A decoder that hands its steps on to others. Raises `UsageError` for one whose forwards show more than the window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inherit(self, self.parts(), everything=False)

    def parts(self) -> Sequence[Decoder]:
        """Those that may come to act."""
        raise NotImplementedError

    @property
    def attention_from(self) -> float:
        """Of the part that reads attention maps; of several, what the one asks that leaves out most."""
        return max((d.attention_from for d in self.parts()), default=0.0)

    @property
    def steps(self) -> int | None:
        """The part's budget of forwards for the whole row, if one has one."""
        return next((steps for d in self.parts() if (steps := getattr(d, "steps", None)) is not None), None)


def only_where(s: State, where: Tensor) -> State:
    """The state with nothing open but what is open in `where (B, W)`."""
    return replace(s, open=s.open & where)


def step_within(decoder: Decoder, s: State, p: Pred, where: Tensor) -> State:
    """A step of a decoder that knows of no open position outside `where (B, W)`, and so leaves them as they are."""
    t = decoder.step(only_where(s, where), p)
    return replace(t, open=t.open | (s.open & ~where))
