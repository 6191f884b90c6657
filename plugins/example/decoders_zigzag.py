"""Decode even positions before odd ones."""

from dataclasses import dataclass

from decoders import Decoder, Pred, State, only, option, share, top


@dataclass(frozen=True)
class ZigZag(Decoder):
    """Commit even positions first, the most confident ones, an even share a step."""

    block_steps: int = option(8, "forwards per block", min=1)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        score = only(s.open, confidence - s.position % 2)
        quota = share(s.opened, self.block_steps, s.step).clamp(min=1)
        return s.commit(top(score, quota), tokens, confidence)
