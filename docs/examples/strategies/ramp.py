"""Options and their checks."""

from dataclasses import dataclass

from decoders import Decoder, Pred, State, UsageError, above, only, option


@dataclass(frozen=True)
class Ramp(Decoder):
    """A threshold that falls from `start` to `end` as the window fills."""

    start: float = option(0.95, "threshold while everything is open", min=0, max=1)
    end: float = option(0.6, "threshold when little is open", min=0, max=1)

    def __post_init__(self) -> None:
        super().__post_init__()  # the type and the range of every option
        if self.end > self.start:
            raise UsageError(f"Ramp: end must be at most start, {self.start}, not {self.end}")

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        still_open = s.open.sum(-1) / s.opened.clamp(min=1)  # (B,)
        tau = self.end + (self.start - self.end) * still_open
        score = only(s.open, confidence)
        return s.commit(above(score, score >= tau[:, None]), tokens, confidence)
